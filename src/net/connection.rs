//! One connection: what has come in and is not yet executed, and what has to go out.
//!
//! A connection that has nothing to say holds no buffers: input is read into a buffer of the loop and cut in a borrowed
//! batch, replies are written from a borrowed buffer, and only what stays behind is kept here.

use super::tls::TlsStream;
use crate::command::reply::{BlobAt, Output};
use crate::server::client::{ClientId, Slot};
use crate::store::Blob;
use mio::net::{TcpStream, UnixStream};
use std::collections::VecDeque;
use std::io::{self, IoSlice, Read, Write};
use std::sync::Arc;
use weir_resp::{Batch, Parser, ProtocolError};

/// Slices in one call to the system.
const SLICES_MAX: usize = 64;
/// About as much is written to one connection before others have their turn.
const FLUSH_BYTES: usize = 256 * 1024;

/// An argument of at least so many bytes is shown without what came before it in its command.
const BIG_ARGUMENT_BYTES: usize = 32 * 1024;

/// A socket of any kind.
#[derive(Debug)]
pub(super) enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// Unix.
    Unix(UnixStream),
    /// TLS over TCP, after the handshake.
    Tls(Box<TlsStream>),
}

impl Stream {
    /// Whoever is at the other end takes nothing any more; what it has sent may still be read.
    fn forget_unsent(&mut self) {
        if let Stream::Tls(s) = self {
            s.forget_unsent();
        }
    }

    /// Bytes that it has taken and that wait for the system to take them.
    fn unsent_bytes(&self) -> usize {
        match self {
            Stream::Tcp(_) | Stream::Unix(_) => 0,
            Stream::Tls(s) => s.unsent_bytes(),
        }
    }

    /// Sends what it has taken. Returns whether nothing waits any more.
    fn flush(&mut self) -> io::Result<bool> {
        match self {
            Stream::Tcp(_) | Stream::Unix(_) => Ok(true),
            Stream::Tls(s) => s.flush_unsent(),
        }
    }

    /// Tells the peer that the connection ends on purpose, where there are words for that.
    pub(super) fn say_goodbye(&mut self) {
        if let Stream::Tls(s) = self {
            s.say_goodbye();
        }
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Stream::Tcp(_) | Stream::Unix(_) => 0,
            Stream::Tls(s) => s.heap_bytes(),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(s) => s.write(bytes),
            Stream::Unix(s) => s.write(bytes),
            Stream::Tls(s) => s.write(&[IoSlice::new(bytes)]),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Stream::Tcp(s) => s.write_vectored(slices),
            Stream::Unix(s) => s.write_vectored(slices),
            Stream::Tls(s) => s.write(slices),
        }
    }
}

impl mio::event::Source for Stream {
    fn register(&mut self, r: &mio::Registry, token: mio::Token, interest: mio::Interest) -> io::Result<()> {
        match self {
            Stream::Tcp(s) => s.register(r, token, interest),
            Stream::Unix(s) => s.register(r, token, interest),
            Stream::Tls(s) => s.socket().register(r, token, interest),
        }
    }

    fn reregister(&mut self, r: &mio::Registry, token: mio::Token, interest: mio::Interest) -> io::Result<()> {
        match self {
            Stream::Tcp(s) => s.reregister(r, token, interest),
            Stream::Unix(s) => s.reregister(r, token, interest),
            Stream::Tls(s) => s.socket().reregister(r, token, interest),
        }
    }

    fn deregister(&mut self, r: &mio::Registry) -> io::Result<()> {
        match self {
            Stream::Tcp(s) => s.deregister(r),
            Stream::Unix(s) => s.deregister(r),
            Stream::Tls(s) => s.socket().deregister(r),
        }
    }
}

/// Something that waits to go out.
#[derive(Debug)]
enum Chunk {
    Own(Vec<u8>),
    Blob(Blob),
    Shared(Arc<[u8]>),
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        match self {
            Chunk::Own(bytes) => bytes,
            Chunk::Blob(blob) => blob,
            Chunk::Shared(bytes) => bytes,
        }
    }

    /// Bytes of heap, and bytes that lie elsewhere.
    fn weight(&self) -> (usize, usize) {
        match self {
            Chunk::Own(bytes) => (bytes.capacity(), 0),
            Chunk::Blob(_) | Chunk::Shared(_) => (0, self.bytes().len()),
        }
    }
}

/// What waits to go out, in order.
#[derive(Debug, Default)]
pub(super) struct Pending {
    chunks: VecDeque<Chunk>,
    /// Bytes of the first chunk that have gone out.
    sent: usize,
    /// Bytes that have not gone out.
    bytes: usize,
    /// Bytes of heap behind the chunks.
    heap: usize,
    /// Bytes of chunks that lie elsewhere.
    referenced: usize,
}

impl Pending {
    fn push(&mut self, chunk: Chunk) {
        let len = chunk.bytes().len();
        if len == 0 {
            return;
        }
        self.bytes += len;
        // Small pieces are put together, so that a slow reader of many small messages costs no chunk for each.
        if let (Some(Chunk::Own(last)), Chunk::Own(more)) = (self.chunks.back_mut(), &chunk)
            && last.len() + more.len() <= 16 * 1024
        {
            let before = last.capacity();
            last.extend_from_slice(more);
            self.heap += last.capacity() - before;
            return;
        }
        let (heap, referenced) = chunk.weight();
        self.heap += heap + size_of::<Chunk>();
        self.referenced += referenced;
        self.chunks.push_back(chunk);
    }

    /// The first chunk has gone out.
    fn pop(&mut self) {
        if let Some(chunk) = self.chunks.pop_front() {
            let (heap, referenced) = chunk.weight();
            self.heap -= heap + size_of::<Chunk>();
            self.referenced -= referenced;
        }
    }
}

/// What [`Connection::send`] did.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// Bytes that went out.
    pub(super) bytes: usize,
    /// More could go out at once.
    pub(super) more: bool,
    /// The buffer, to be used again.
    pub(super) buffer: Option<Vec<u8>>,
}

/// What a read found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ReadEnd {
    /// Everything that was there has been read.
    Drained,
    /// There may be more.
    More,
    /// The peer will send nothing more, or the connection is broken.
    Closed,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: Stream,
    pub(super) slot: Slot,
    pub(super) id: ClientId,
    pub(super) parser: Parser,
    /// Commands, or part of one, that came in and are not executed; how many of the commands are.
    pub(super) held: Option<Box<(Batch, usize)>>,
    pub(super) error: Option<ProtocolError>,
    pending: Option<Box<Pending>>,
    /// Bytes for it that the loop keeps back until changes are on disk.
    pub(super) kept_back: usize,
    /// Unix time in ms since which the soft limit on output is exceeded; 0 if it is not.
    pub(super) soft_limit_since_ms: i64,
    pub(super) wait: Wait,
    /// Is in the list of connections to be read.
    pub(super) queued: bool,
    /// Something may be there to read.
    pub(super) readable: bool,
    /// Bytes that are here already may hold more commands.
    pub(super) uncut: bool,
    /// The system has said that the peer has closed its end; what it sent before may not have been read yet.
    pub(super) hung_up: bool,
    /// Everything that the peer will ever send has been read.
    pub(super) ended: bool,
    /// Is in the list of connections to be written to.
    pub(super) flushing: bool,
    /// The system takes no more, and will say when it does.
    pub(super) full: bool,
    /// Bytes that the argument which is coming in still lacks.
    pub(super) missing: usize,
    /// Nothing can be sent to it any more: replies are dropped. What it has sent before is executed.
    pub(super) deaf: bool,
    /// To be closed when everything has gone out.
    pub(super) closing: bool,
}

/// Why commands of a connection are not executed although they are there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wait {
    /// They are.
    Nothing,
    /// CLIENT PAUSE.
    Pause,
    /// Its replies must go out first.
    Output,
    /// The last command that ran waits for data.
    Data,
    /// The last command that ran is a script, and in the middle of it.
    Script,
    /// Nothing is in the way any more: it is in the list of connections whose commands go on.
    Turn,
}

impl Connection {
    pub(super) fn new(stream: Stream, slot: Slot, id: ClientId) -> Connection {
        Connection {
            stream,
            slot,
            id,
            parser: Parser::new(),
            held: None,
            error: None,
            pending: None,
            kept_back: 0,
            soft_limit_since_ms: 0,
            wait: Wait::Nothing,
            queued: false,
            readable: false,
            uncut: false,
            hung_up: false,
            ended: false,
            flushing: false,
            full: false,
            missing: 0,
            deaf: false,
            closing: false,
        }
    }

    /// Bytes that came in and are not executed; of an argument that is on its way and fills the buffer, only its own.
    pub(super) fn query_bytes(&mut self) -> usize {
        let begins = self.parser.argument_begins().filter(|_| self.missing > 0).unwrap_or(0);
        self.held.as_mut().map_or(0, |held| {
            let bytes = held.0.read_buffer().len();
            let own = held.0.tail().len().saturating_sub(begins);
            if begins > 0 && own >= BIG_ARGUMENT_BYTES { own } else { bytes }
        })
    }

    /// Bytes of replies that wait.
    pub(super) fn pending_bytes(&self) -> usize {
        self.pending.as_ref().map_or(0, |p| p.bytes) + self.stream.unsent_bytes() + self.kept_back
    }

    /// Chunks of replies that wait.
    pub(super) fn pending_chunks(&self) -> usize {
        self.pending.as_ref().map_or(0, |p| p.chunks.len())
    }

    /// Bytes of heap behind its buffers.
    pub(super) fn heap_bytes(&self) -> usize {
        let input = self.held.as_ref().map_or(0, |held| held.0.heap_bytes());
        input + self.stream.heap_bytes() + self.pending.as_ref().map_or(0, |p| p.heap)
    }

    /// Bytes that wait and lie elsewhere.
    pub(super) fn referenced_bytes(&self) -> usize {
        self.pending.as_ref().map_or(0, |p| p.referenced)
    }

    /// Sends a message that others get as well: writes it, or puts behind what waits what cannot be written now. Returns how
    /// much went out.
    #[inline]
    pub(super) fn send_shared(&mut self, message: &Arc<[u8]>) -> io::Result<usize> {
        let mut sent = 0;
        if self.pending.is_none() && !matches!(self.stream, Stream::Tls(_)) {
            sent = loop {
                match self.stream.write(message) {
                    Ok(sent) => break sent,
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => break 0,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) => return Err(e),
                }
            };
            if sent == message.len() {
                return Ok(sent);
            }
        }
        self.push(Arc::clone(message));
        if let Some(pending) = self.pending.as_deref_mut().filter(|_| sent > 0) {
            pending.sent = sent;
            pending.bytes -= sent;
        }
        Ok(sent)
    }

    /// Nothing can be sent any more. What has come in, and waits in the socket, is what is left of it.
    pub(super) fn deafen(&mut self) {
        self.deaf = true;
        self.hung_up = true;
        self.readable = !self.ended;
        self.pending = None;
        self.stream.forget_unsent();
    }

    /// Whether there is somebody to whom messages can be sent.
    #[inline]
    pub(super) fn hears(&self) -> bool {
        !self.closing && !self.deaf
    }

    /// Puts a message behind what waits.
    pub(super) fn push(&mut self, message: Arc<[u8]>) {
        self.pending.get_or_insert_default().push(Chunk::Shared(message));
    }

    /// Writes replies, or puts behind what waits what cannot be written now. Returns what went out.
    pub(super) fn send(&mut self, out: Output) -> io::Result<Sent> {
        let (bytes, blobs) = out.into_parts();
        if self.pending.is_some() {
            self.keep(bytes, blobs, 0);
            return Ok(Sent::default());
        }
        if !blobs.is_empty() {
            self.keep(bytes, blobs, 0);
            let (sent, more) = self.flush()?;
            return Ok(Sent { bytes: sent, more, buffer: None });
        }
        let sent = loop {
            match self.stream.write(&bytes) {
                Ok(sent) => break sent,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break 0,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        };
        if sent == bytes.len() {
            return Ok(Sent { bytes: sent, more: false, buffer: Some(bytes) });
        }
        self.keep(bytes, blobs, sent);
        if matches!(self.stream, Stream::Tls(_)) {
            // It takes so much at once, which does not mean that it is full.
            let (flushed, more) = self.flush()?;
            return Ok(Sent { bytes: sent + flushed, more, buffer: None });
        }
        Ok(Sent { bytes: sent, more: false, buffer: None })
    }

    /// Puts replies behind what waits.
    pub(super) fn put_behind(&mut self, out: Output) {
        let (bytes, blobs) = out.into_parts();
        self.keep(bytes, blobs, 0);
    }

    fn keep(&mut self, bytes: Vec<u8>, blobs: Vec<BlobAt>, sent: usize) {
        let pending = self.pending.get_or_insert_default();
        let mut from = 0;
        for blob in blobs {
            pending.push(Chunk::Own(bytes[from..blob.at].to_vec()));
            pending.push(Chunk::Blob(blob.blob));
            from = blob.at;
        }
        if from == 0 && sent == 0 {
            pending.push(Chunk::Own(bytes));
        } else {
            pending.push(Chunk::Own(bytes[from.max(sent)..].to_vec()));
        }
    }

    /// Writes what waits, as much as goes out now but not much more than [`FLUSH_BYTES`]. Returns how much that was, in
    /// bytes, and whether more could go out at once.
    pub(super) fn flush(&mut self) -> io::Result<(usize, bool)> {
        let mut total = 0;
        if !self.stream.flush()? {
            return Ok((total, false));
        }
        while let Some(pending) = &mut self.pending {
            if total >= FLUSH_BYTES {
                return Ok((total, true));
            }
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let (mut used, mut room) = (0, 2 * FLUSH_BYTES);
            for (slice, chunk) in slices.iter_mut().zip(&pending.chunks) {
                let from = if used == 0 { pending.sent } else { 0 };
                let bytes = &chunk.bytes()[from..];
                *slice = IoSlice::new(&bytes[..bytes.len().min(room)]);
                used += 1;
                room -= slice.len();
                if room == 0 {
                    break;
                }
            }
            self.full = false;
            let mut sent = match self.stream.write_vectored(&slices[..used]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => sent,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.full = true;
                    return Ok((total, false));
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            total += sent;
            pending.bytes -= sent;
            while let Some(first) = pending.chunks.front() {
                let left = first.bytes().len() - pending.sent;
                if sent < left {
                    pending.sent += sent;
                    break;
                }
                sent -= left;
                pending.sent = 0;
                pending.pop();
            }
            if pending.chunks.is_empty() {
                self.pending = None;
            }
        }
        Ok((total, false))
    }

    /// Whether there is something to be done for it: bytes that may have come in, or commands to be cut from those that
    /// are here. A batch that is full of commands takes no more until those are executed, and neither does one of which some
    /// were left by the last turn.
    pub(super) fn wants_turn(&self) -> bool {
        match self.wait {
            Wait::Nothing => self.uncut || self.readable,
            Wait::Turn => false,
            _ => !self.uncut && self.readable,
        }
    }

    /// Whether the peer has gone and reading would not show it: there are commands enough, or something that is no command,
    /// in front of its end.
    pub(super) fn has_gone_unread(&self) -> bool {
        self.hung_up && (self.uncut || self.error.is_some())
    }

    /// Whether the system says that nothing can be sent any more either.
    pub(super) fn is_broken(&mut self) -> bool {
        self.flush().is_err()
    }

    /// Reads once, up to the length of `buffer`, and appends what came. Returns how many bytes that is, and what to do next.
    pub(super) fn read(&mut self, buffer: &mut [u8], into: &mut Vec<u8>) -> (usize, ReadEnd) {
        let read = match &mut self.stream {
            Stream::Tcp(s) => s.read(buffer),
            Stream::Unix(s) => s.read(buffer),
            Stream::Tls(s) => {
                return match s.read(into, buffer.len(), self.hung_up) {
                    Ok((0, ReadEnd::Drained)) if self.deaf => (0, ReadEnd::Closed),
                    read => read.unwrap_or((0, ReadEnd::Closed)),
                };
            }
        };
        match read {
            Ok(0) => (0, ReadEnd::Closed),
            Ok(n) => {
                // What is known to come is made room for, no more than there is already: an argument that comes in many pieces is
                // not moved with each, and none doubles the buffer that it fills.
                into.reserve_exact(n.max(self.missing.min(into.len())));
                into.extend_from_slice(&buffer[..n]);
                (n, if n == buffer.len() || self.hung_up { ReadEnd::More } else { ReadEnd::Drained })
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => (0, ReadEnd::More),
            // Who takes nothing any more is not waited for either.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock && !self.deaf => (0, ReadEnd::Drained),
            Err(_) => (0, ReadEnd::Closed),
        }
    }
}
