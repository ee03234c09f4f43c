//! Connections of one thread: what is ready is read, handed to the protocol, and what that says is sent. Ten thousand of them
//! cost a poll and a read for each that has something.

use std::io::{self, Read, Write};
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::Outcome;
use crate::session::{Heard, Session};

/// One call of the system takes so much at most.
const RECEIVE_BYTES: usize = 1 << 18;
/// Longer than anything takes that goes well.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// All connections of a scenario.
pub(crate) struct Connections {
    poll: Poll,
    events: Events,
    all: Vec<Connection>,
    received: Box<[u8]>,
}

struct Connection {
    socket: TcpStream,
    session: Box<dyn Session>,
    /// What has come and is not whole yet.
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    sent: usize,
    is_blocked: bool,
}

/// Which connection of [`Connections`].
pub(crate) type At = usize;

impl Connections {
    pub(crate) fn new() -> Outcome<Connections> {
        let received = vec![0; RECEIVE_BYTES].into_boxed_slice();
        Ok(Connections { poll: Poll::new()?, events: Events::with_capacity(4096), all: Vec::new(), received })
    }

    /// One more, ready for requests.
    pub(crate) fn open(&mut self, port: u16, session: Box<dyn Session>) -> Outcome<At> {
        let socket = std::net::TcpStream::connect(("127.0.0.1", port))?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let mut socket = TcpStream::from_std(socket);
        let at = self.all.len();
        self.poll.registry().register(&mut socket, Token(at), Interest::READABLE | Interest::WRITABLE)?;
        let mut connection =
            Connection { socket, session, incoming: Vec::new(), outgoing: Vec::new(), sent: 0, is_blocked: false };
        connection.session.greet(&mut connection.outgoing);
        self.all.push(connection);
        let mut is_ready = false;
        self.send(at)?;
        while !is_ready {
            self.turn(|from, heard| {
                is_ready |= from == at && heard == Heard::Ready;
                Ok(())
            })?;
        }
        Ok(at)
    }

    /// Asks for something; it leaves with `send` or at the end of a turn in which something came for it.
    pub(crate) fn ask(&mut self, at: At, ask: impl FnOnce(&mut dyn Session, &mut Vec<u8>)) {
        let connection = &mut self.all[at];
        ask(&mut *connection.session, &mut connection.outgoing);
    }

    /// Sends what is to be sent, as far as the system takes it; the rest follows by itself.
    pub(crate) fn send(&mut self, at: At) -> Outcome<()> {
        self.all[at].send()
    }

    /// Waits until something comes, and hands over all that has come. Nothing for a minute is an error.
    pub(crate) fn turn(&mut self, mut look: impl FnMut(At, Heard<'_>) -> Outcome<()>) -> Outcome<()> {
        match self.poll.poll(&mut self.events, Some(SILENCE_MAX)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        if self.events.is_empty() {
            return Err("the registry says nothing any more".into());
        }
        for event in &self.events {
            let at = event.token().0;
            let connection = &mut self.all[at];
            if event.is_writable() {
                connection.is_blocked = false;
            }
            if event.is_readable() || event.is_read_closed() {
                connection.receive(&mut self.received, &mut |heard| look(at, heard))?;
            }
            connection.send()?;
        }
        Ok(())
    }
}

impl Connection {
    fn receive(&mut self, received: &mut [u8], heard: &mut dyn FnMut(Heard<'_>) -> Outcome<()>) -> Outcome<()> {
        loop {
            let read = match self.socket.read(received) {
                Ok(0) => return Err("the registry has closed the connection".into()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let bytes = &received[..read];
            if self.incoming.is_empty() {
                let used = self.session.hear(bytes, &mut self.outgoing, heard)?;
                self.incoming.extend_from_slice(&bytes[used..]);
            } else {
                self.incoming.extend_from_slice(bytes);
                let used = self.session.hear(&self.incoming, &mut self.outgoing, heard)?;
                self.incoming.drain(..used);
            }
            // There is no more: the system would have given it.
            if read < received.len() {
                return Ok(());
            }
        }
    }

    fn send(&mut self) -> Outcome<()> {
        while self.sent < self.outgoing.len() && !self.is_blocked {
            match self.socket.write(&self.outgoing[self.sent..]) {
                Ok(written) => self.sent += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.is_blocked = true,
                Err(error) => return Err(error.into()),
            }
        }
        if self.sent == self.outgoing.len() {
            self.outgoing.clear();
            self.sent = 0;
        }
        Ok(())
    }
}
