//! What a socket has sent and nobody has looked at yet.

use std::io::{self, Read};
use std::net::TcpStream;

/// One call takes so much at most.
const RECEIVE_BYTES: usize = 1 << 18;

/// The receiving half of a connection.
pub(crate) struct Incoming {
    socket: TcpStream,
    buffer: Box<[u8]>,
    from: usize,
    to: usize,
}

impl Incoming {
    pub(crate) fn new(socket: TcpStream) -> Incoming {
        Incoming { socket, buffer: vec![0; 2 * RECEIVE_BYTES].into_boxed_slice(), from: 0, to: 0 }
    }

    /// What is there.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[self.from..self.to]
    }

    /// So many bytes of it are done with.
    pub(crate) fn consume(&mut self, bytes: usize) {
        self.from += bytes;
    }

    /// Waits for more. The end of the connection is an error.
    pub(crate) fn more(&mut self) -> io::Result<()> {
        if self.from > 0 {
            self.buffer.copy_within(self.from..self.to, 0);
            self.to -= self.from;
            self.from = 0;
        }
        if self.to == self.buffer.len() {
            let mut larger = vec![0; self.buffer.len() * 2].into_boxed_slice();
            larger[..self.to].copy_from_slice(&self.buffer);
            self.buffer = larger;
        }
        let space = self.buffer.len().min(self.to + RECEIVE_BYTES);
        match self.socket.read(&mut self.buffer[self.to..space])? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the broker has closed the connection")),
            read => {
                self.to += read;
                Ok(())
            }
        }
    }
}
