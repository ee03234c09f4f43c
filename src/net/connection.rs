//! One connection: what has come in and is not yet executed, and what has to go out.
//!
//! A connection that has nothing to say holds no buffers: input is read into a buffer of the loop and cut in a borrowed
//! batch, replies are written from a borrowed buffer, and only what stays behind is kept here.

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

/// A socket of either kind.
#[derive(Debug)]
pub(super) enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// Unix.
    Unix(UnixStream),
}

impl Stream {
    /// As `read(2)`.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(s) => s.read(buffer),
            Stream::Unix(s) => s.read(buffer),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(s) => s.write(bytes),
            Stream::Unix(s) => s.write(bytes),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Stream::Tcp(s) => s.write_vectored(slices),
            Stream::Unix(s) => s.write_vectored(slices),
        }
    }
}

impl mio::event::Source for Stream {
    fn register(&mut self, r: &mio::Registry, token: mio::Token, interest: mio::Interest) -> io::Result<()> {
        match self {
            Stream::Tcp(s) => s.register(r, token, interest),
            Stream::Unix(s) => s.register(r, token, interest),
        }
    }

    fn reregister(&mut self, r: &mio::Registry, token: mio::Token, interest: mio::Interest) -> io::Result<()> {
        match self {
            Stream::Tcp(s) => s.reregister(r, token, interest),
            Stream::Unix(s) => s.reregister(r, token, interest),
        }
    }

    fn deregister(&mut self, r: &mio::Registry) -> io::Result<()> {
        match self {
            Stream::Tcp(s) => s.deregister(r),
            Stream::Unix(s) => s.deregister(r),
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

    fn heap_bytes(&self) -> usize {
        match self {
            Chunk::Own(bytes) => bytes.capacity(),
            Chunk::Blob(_) | Chunk::Shared(_) => 0,
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
            last.extend_from_slice(more);
            return;
        }
        self.chunks.push_back(chunk);
    }
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
    /// Unix time in ms since which the soft limit on output is exceeded; 0 if it is not.
    pub(super) soft_limit_since_ms: i64,
    pub(super) wait: Wait,
    /// Is in the list of connections to be read.
    pub(super) queued: bool,
    /// Something may be there to read.
    pub(super) readable: bool,
    /// Bytes that are here already may hold more commands.
    pub(super) uncut: bool,
    /// The peer has closed its end.
    pub(super) hung_up: bool,
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
            soft_limit_since_ms: 0,
            wait: Wait::Nothing,
            queued: false,
            readable: false,
            uncut: false,
            hung_up: false,
            closing: false,
        }
    }

    /// Bytes of replies that wait.
    pub(super) fn pending_bytes(&self) -> usize {
        self.pending.as_ref().map_or(0, |p| p.bytes)
    }

    /// Chunks of replies that wait.
    pub(super) fn pending_chunks(&self) -> usize {
        self.pending.as_ref().map_or(0, |p| p.chunks.len())
    }

    /// Bytes of heap behind its buffers.
    pub(super) fn heap_bytes(&self) -> usize {
        let input = self.held.as_ref().map_or(0, |held| held.0.heap_bytes());
        input + self.pending.as_ref().map_or(0, |p| p.chunks.iter().map(Chunk::heap_bytes).sum::<usize>())
    }

    /// Puts a message behind what waits.
    pub(super) fn push(&mut self, message: Arc<[u8]>) {
        self.pending.get_or_insert_default().push(Chunk::Shared(message));
    }

    /// Writes replies, or puts behind what waits what cannot be written now. Returns the bytes that went out and the
    /// buffer, to be used again.
    pub(super) fn send(&mut self, out: Output) -> io::Result<(usize, Option<Vec<u8>>)> {
        let (bytes, blobs) = out.into_parts();
        if self.pending.is_some() {
            self.keep(bytes, blobs, 0);
            return Ok((0, None));
        }
        if blobs.is_empty() {
            let sent = match self.stream.write(&bytes) {
                Ok(sent) => sent,
                Err(e) if is_temporary(&e) => 0,
                Err(e) => return Err(e),
            };
            if sent == bytes.len() {
                return Ok((sent, Some(bytes)));
            }
            self.keep(bytes, blobs, sent);
            return Ok((sent, None));
        }
        self.keep(bytes, blobs, 0);
        Ok((self.flush()?, None))
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

    /// Writes what waits, as much as goes out now. Returns how much that was, in bytes.
    pub(super) fn flush(&mut self) -> io::Result<usize> {
        let mut total = 0;
        while let Some(pending) = &mut self.pending {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let mut used = 0;
            for (slice, chunk) in slices.iter_mut().zip(&pending.chunks) {
                let from = if used == 0 { pending.sent } else { 0 };
                *slice = IoSlice::new(&chunk.bytes()[from..]);
                used += 1;
            }
            let mut sent = match self.stream.write_vectored(&slices[..used]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => sent,
                Err(e) if is_temporary(&e) => return Ok(total),
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
                pending.chunks.pop_front();
            }
            if pending.chunks.is_empty() {
                self.pending = None;
            }
        }
        Ok(total)
    }

    /// Reads once, up to the length of `buffer`. Returns how many bytes came and what to do next.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> (usize, ReadEnd) {
        match self.stream.read(buffer) {
            Ok(0) => (0, ReadEnd::Closed),
            Ok(n) if n == buffer.len() || self.hung_up => (n, ReadEnd::More),
            Ok(n) => (n, ReadEnd::Drained),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => (0, ReadEnd::More),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => (0, ReadEnd::Drained),
            Err(_) => (0, ReadEnd::Closed),
        }
    }
}

fn is_temporary(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
