//! One TLS connection on a socket that never waits.
//!
//! ```text
//!  socket ─► scratch (behind what was left of a record) ─► records, decrypted one by one ─► the caller's buffer
//!  the caller's bytes ─► records of up to 16 KiB in the scratch ─► socket; what it does not take is kept, encrypted
//! ```
//!
//! Between two calls a connection keeps the beginning of one record that came in, and at most [`WRITE_BYTES`] of what
//! goes out; both are usually empty and then hold no memory. Everything else is in buffers that all connections of a
//! thread share. Nothing decrypted stays here but what came right behind the handshake.
//!
//! What must stay true: the session is always shown the bytes that it has not used up, also when there is only something
//! to send: it has notes of where messages begin in them.

use super::connection::ReadEnd;
use crate::tls::PeerNames;
use mio::net::TcpStream;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus};
use std::cell::RefCell;
use std::io::{self, IoSlice, Read, Write};

/// Bytes that are encrypted before the socket is asked whether it takes them: what a slow reader costs beside its replies.
const WRITE_BYTES: usize = 32 * 1024;
/// Most bytes in a record before it is encrypted.
const RECORD_BYTES: usize = 16 * 1024;
/// Bytes that may have come in without a whole record, or message of the handshake, among them. A record has at most
/// 18 KiB; the longest message is a chain of certificates.
const INCOMING_BYTES_MAX: usize = 32 * 1024;
/// Bytes read at once while shaking hands.
const HANDSHAKE_READ_BYTES: usize = 16 * 1024;
/// How a record begins that belongs to a handshake, as the first one does.
const RECORD_OF_HANDSHAKE: u8 = 22;

/// Buffers that the connections of a thread share.
#[derive(Default)]
struct Scratch {
    incoming: Vec<u8>,
    plain: Vec<u8>,
    outgoing: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// A TLS connection.
pub(super) struct TlsStream {
    socket: TcpStream,
    session: UnbufferedServerConnection,
    /// What came in and is not used up: less than a record, or part of a message of the handshake.
    incoming: Vec<u8>,
    /// Decrypted: what came right behind the handshake.
    early: Vec<u8>,
    /// Encrypted, and not taken by the socket yet.
    outgoing: Vec<u8>,
    /// Bytes of it that the socket has taken.
    sent: usize,
    /// Nothing has come in yet.
    is_new: bool,
    /// Nothing more will come in.
    ended: bool,
}

/// How far a handshake got.
#[derive(Debug)]
pub(super) enum Progress {
    /// Something must come in first, or go out.
    Waits,
    /// Both sides have what they need. There may be something to read.
    Done,
    /// The peer has gone, or has sent what cannot be.
    Failed(io::Error),
}

impl std::fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TlsStream({} bytes came in, {} wait)", self.incoming.len(), self.unsent_bytes())
    }
}

impl TlsStream {
    pub(super) fn new(socket: TcpStream, session: UnbufferedServerConnection) -> TlsStream {
        let (incoming, early, outgoing) = <(Vec<u8>, Vec<u8>, Vec<u8>)>::default();
        TlsStream { socket, session, incoming, early, outgoing, sent: 0, is_new: true, ended: false }
    }

    /// The socket, to be watched.
    pub(super) fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// Drops what waits: the socket takes nothing any more.
    pub(super) fn forget_unsent(&mut self) {
        self.outgoing = Vec::new();
        self.sent = 0;
    }

    /// Bytes that are encrypted and wait for the socket.
    pub(super) fn unsent_bytes(&self) -> usize {
        self.outgoing.len() - self.sent
    }

    /// Bytes of heap behind its buffers.
    pub(super) fn heap_bytes(&self) -> usize {
        self.incoming.capacity() + self.early.capacity() + self.outgoing.capacity()
    }

    /// The names in the certificate that the peer has shown, if it has shown one.
    pub(super) fn peer_names(&self) -> Option<PeerNames> {
        let chain = self.session.peer_certificates()?;
        chain.first().map(|certificate| PeerNames::of(certificate))
    }

    /// Goes on with the handshake: reads what is there, and answers. Costs a signature where it answers the client's first
    /// message.
    pub(super) fn shake_hands(&mut self) -> Progress {
        let mut early = Vec::new();
        loop {
            let end = match self.flush_unsent().and_then(|_| self.read(&mut early, HANDSHAKE_READ_BYTES, false)) {
                Ok((_, end)) => end,
                Err(error) => return Progress::Failed(error),
            };
            if !self.session.is_handshaking() {
                self.early = early;
                return Progress::Done;
            }
            match end {
                ReadEnd::More => {}
                ReadEnd::Drained => return Progress::Waits,
                ReadEnd::Closed => return Progress::Failed(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }

    /// Reads the socket once, up to `wanted` bytes, and appends what they mean. Returns how many bytes that was, and what
    /// to do next. `hung_up`: the system has said that the peer's end is closed, and will not say it again.
    ///
    /// # Errors
    /// The connection is broken, or the peer breaks the protocol, which it has been told where that was possible.
    pub(super) fn read(&mut self, into: &mut Vec<u8>, wanted: usize, hung_up: bool) -> io::Result<(usize, ReadEnd)> {
        let before = into.len();
        into.append(&mut std::mem::take(&mut self.early));
        let end = SCRATCH.with_borrow_mut(|scratch| self.read_by(&mut scratch.incoming, into, wanted, hung_up))?;
        let came = into.len() - before;
        // Whoever is told of the end looks at nothing else.
        Ok((came, if came > 0 && end == ReadEnd::Closed { ReadEnd::More } else { end }))
    }

    fn read_by(
        &mut self,
        buffer: &mut Vec<u8>,
        into: &mut Vec<u8>,
        wanted: usize,
        hung_up: bool,
    ) -> io::Result<ReadEnd> {
        if self.ended {
            return Ok(ReadEnd::Closed);
        }
        let kept = self.incoming.len();
        if buffer.len() < kept + wanted {
            buffer.resize(kept + wanted, 0);
        }
        let count = match self.socket.read(&mut buffer[kept..kept + wanted]) {
            Ok(0) => {
                self.ended = true;
                return Ok(ReadEnd::Closed);
            }
            Ok(count) => count,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(ReadEnd::Drained),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Ok(ReadEnd::More),
            Err(error) => return Err(error),
        };
        buffer[..kept].copy_from_slice(&self.incoming);
        if self.is_new && buffer[0] != RECORD_OF_HANDSHAKE {
            // Somebody who does not speak TLS would take an alert for an answer.
            return Err(io::Error::other("the peer does not speak TLS"));
        }
        self.is_new = false;
        let used = self.process(&mut buffer[..kept + count], into);
        if let Err(error) = self.flush_unsent() {
            if self.session.is_handshaking() {
                return Err(error);
            }
            // What the peer has sent before it went has come all the same. Who writes to it will see.
            self.forget_unsent();
        }
        let left = &buffer[used?..kept + count];
        if left.is_empty() {
            self.incoming = Vec::new();
        } else {
            self.incoming.clear();
            self.incoming.extend_from_slice(left);
        }
        if left.len() > INCOMING_BYTES_MAX {
            return Err(io::Error::other("the peer sends a message without end"));
        }
        Ok(if count == wanted || hung_up || self.ended { ReadEnd::More } else { ReadEnd::Drained })
    }

    /// Shows the session what came in. What it means is appended to `into`, what is to be answered to what waits. Returns
    /// how many bytes are used up.
    fn process(&mut self, input: &mut [u8], into: &mut Vec<u8>) -> io::Result<usize> {
        let mut at = 0;
        loop {
            let UnbufferedStatus { mut discard, state } = self.session.process_tls_records(&mut input[at..]);
            match state {
                Ok(ConnectionState::ReadTraffic(mut records)) => {
                    while let Some(record) = records.next_record() {
                        let record = record.map_err(io::Error::other)?;
                        discard += record.discard;
                        into.extend_from_slice(record.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, &mut self.outgoing)?,
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.ended = true,
                Ok(ConnectionState::ReadEarlyData(_)) => {
                    return Err(io::Error::other("the peer sends data in front of the handshake"));
                }
                Ok(_) => return Ok(at + discard),
                Err(error) => {
                    self.ended = true;
                    self.collect_alert(&mut input[at + discard..]);
                    return Err(io::Error::other(error));
                }
            }
            at += discard;
        }
    }

    /// After an error: what the peer is to be told of it. The session is asked once: what it has to say comes first, and
    /// then it would go on with the input that it has just refused.
    fn collect_alert(&mut self, input: &mut [u8]) {
        if let Ok(ConnectionState::EncodeTlsData(data)) = self.session.process_tls_records(input).state {
            // Without it the peer only sees that the connection ends.
            let _ = encode(data, &mut self.outgoing);
        }
    }

    /// Sends what is encrypted and waits. Returns whether nothing waits any more.
    pub(super) fn flush_unsent(&mut self) -> io::Result<bool> {
        while self.unsent_bytes() > 0 {
            match self.socket.write(&self.outgoing[self.sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => self.sent += sent,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.sent > 0 {
            self.outgoing = Vec::new();
            self.sent = 0;
        }
        Ok(true)
    }

    /// As `writev(2)`: takes some of the bytes, at most [`WRITE_BYTES`], or says that it would have to wait. What it has
    /// taken may still wait here.
    pub(super) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if !self.flush_unsent()? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let bytes = match slices {
                [] => return Ok(0),
                [first, rest @ ..] if rest.is_empty() || first.len() >= RECORD_BYTES => {
                    &first[..first.len().min(WRITE_BYTES)]
                }
                slices => {
                    // Records are made of what lies together.
                    scratch.plain.clear();
                    for slice in slices {
                        let room = WRITE_BYTES - scratch.plain.len();
                        scratch.plain.extend_from_slice(&slice[..slice.len().min(room)]);
                    }
                    &scratch.plain[..]
                }
            };
            if bytes.is_empty() {
                return Ok(0);
            }
            let count = self.encrypt(bytes, &mut scratch.outgoing)?;
            self.send(&scratch.outgoing[..count])?;
            Ok(bytes.len())
        })
    }

    /// Sends encrypted bytes, and keeps what the socket does not take.
    fn send(&mut self, encrypted: &[u8]) -> io::Result<()> {
        if self.unsent_bytes() > 0 {
            // The session itself had something to say in front of them, such as that keys change.
            self.outgoing.extend_from_slice(encrypted);
            return self.flush_unsent().map(drop);
        }
        let sent = loop {
            match self.socket.write(encrypted) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => break sent,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break 0,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        };
        self.outgoing.extend_from_slice(&encrypted[sent..]);
        Ok(())
    }

    /// Puts the records of some bytes, and whatever must go out before them, into `out`. Returns how many bytes that is.
    fn encrypt(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<usize> {
        // Enough unless keys change as well.
        let enough = 2 * WRITE_BYTES;
        if out.len() < enough {
            out.resize(enough, 0);
        }
        self.with_traffic(|traffic| {
            loop {
                match traffic.encrypt(bytes, out) {
                    Ok(count) => return Ok(count),
                    Err(EncryptError::InsufficientSize(size)) => out.resize(size.required_size, 0),
                    Err(error @ EncryptError::EncryptExhausted) => return Err(io::Error::other(error)),
                }
            }
        })
    }

    /// Lets the session do something with a connection that has shaken hands.
    fn with_traffic<T>(
        &mut self,
        act: impl FnOnce(&mut rustls::unbuffered::WriteTraffic<'_, ServerConnectionData>) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut incoming = std::mem::take(&mut self.incoming);
        let (mut act, mut result) = (Some(act), None);
        while result.is_none() {
            let UnbufferedStatus { mut discard, state } = self.session.process_tls_records(&mut incoming);
            match state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => result = act.take().map(|act| act(&mut traffic)),
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, &mut self.outgoing)?,
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::ReadTraffic(mut records)) => {
                    while let Some(record) = records.next_record() {
                        let record = record.map_err(io::Error::other)?;
                        discard += record.discard;
                        self.early.extend_from_slice(record.payload);
                    }
                }
                Ok(ConnectionState::PeerClosed) => self.ended = true,
                Ok(_) => result = Some(Err(io::ErrorKind::BrokenPipe.into())),
                Err(error) => result = Some(Err(io::Error::other(error))),
            }
            incoming.drain(..discard);
        }
        self.incoming = incoming;
        result.unwrap_or_else(|| Err(io::ErrorKind::BrokenPipe.into()))
    }

    /// Tells the peer that nothing more will come, if that goes out at once.
    pub(super) fn say_goodbye(&mut self) {
        if self.session.is_handshaking() || self.unsent_bytes() > 0 {
            return;
        }
        let mut goodbye = [0; 256];
        let made = self.with_traffic(|traffic| traffic.queue_close_notify(&mut goodbye).map_err(io::Error::other));
        if let Ok(count) = made {
            // The connection ends either way.
            let _ = self.send(&goodbye[..count]);
        }
    }
}

/// Appends what the session itself has to say.
fn encode(mut data: EncodeTlsData<'_, ServerConnectionData>, out: &mut Vec<u8>) -> io::Result<()> {
    let before = out.len();
    loop {
        match data.encode(&mut out[before..]) {
            Ok(count) => {
                out.truncate(before + count);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(size)) => out.resize(before + size.required_size, 0),
            Err(error @ EncodeError::AlreadyEncoded) => return Err(io::Error::other(error)),
        }
    }
}
