//! As much of HTTP/2 (RFC 9113) as a client of gRPC needs towards one server: requests with a small body, answers with a body of any
//! length. Header fields are sent from the table that both sides keep (RFC 7541), so that a request's take a few
//! bytes; those of answers are not looked at, for what is wanted stands in bodies, and an answer without one is an error.

use std::collections::{HashMap, VecDeque};

use crate::Outcome;

/// The number of a stream: a request and its answer.
pub(crate) type Stream = u32;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD_BYTES: usize = 9;
/// What the other side may send without being asked for more: as much as can be said.
const WINDOW_MAX: u32 = (1 << 31) - 1;
const WINDOW_AT_FIRST: u32 = 65_535;
/// Having taken so much of the connection's window, it is given back.
const WINDOW_STEP: u32 = 1 << 24;
/// The first index of the table behind those that are fixed.
const TABLE_FIRST: usize = 62;
// Where the names of header fields stand in the fixed table.
const NAME_AUTHORITY: u8 = 1;
const NAME_PATH: u8 = 4;
const NAME_CONTENT_TYPE: u8 = 31;
/// It is not there.
const NAME_TE: u8 = 0;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const SETTING_INITIAL_WINDOW_SIZE: u16 = 4;

/// What an answer brings.
pub(crate) enum Came<'a> {
    /// A message of gRPC.
    Message(Stream, &'a [u8]),
    /// The stream is over; the block of header fields that it ended with, as it was sent.
    End(Stream, &'a [u8]),
}

/// One connection.
pub(crate) struct Http2 {
    next_stream: Stream,
    /// The values that the table of header fields holds, oldest first.
    said: Vec<&'static str>,
    /// How much of bodies may be sent now.
    window: i64,
    /// Requests that the window has no room for.
    held: VecDeque<(usize, Vec<u8>)>,
    /// What has been taken and not been given back to the other side.
    taken: u32,
    /// The beginnings of messages that are not whole.
    partial: HashMap<Stream, Vec<u8>>,
}

impl Http2 {
    pub(crate) fn new() -> Http2 {
        Http2 {
            next_stream: 1,
            said: Vec::new(),
            window: i64::from(WINDOW_AT_FIRST),
            held: VecDeque::new(),
            taken: 0,
            partial: HashMap::new(),
        }
    }

    pub(crate) fn greet(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(PREFACE);
        frame(to, SETTINGS, 0, 0, |to| {
            to.extend_from_slice(&SETTING_INITIAL_WINDOW_SIZE.to_be_bytes());
            to.extend_from_slice(&WINDOW_MAX.to_be_bytes());
        });
        give_back(to, WINDOW_MAX - WINDOW_AT_FIRST);
    }

    /// Begins a stream with one message of gRPC. `is_last`: no other follows on it.
    pub(crate) fn request(&mut self, path: &'static str, message: &[u8], is_last: bool, to: &mut Vec<u8>) -> Stream {
        let stream = self.next_stream;
        self.next_stream += 2;
        let mut frames = Vec::with_capacity(2 * FRAME_HEAD_BYTES + 64 + message.len());
        frame(&mut frames, HEADERS, END_HEADERS, stream, |to| self.fields(path, to));
        self.body(stream, message, is_last, frames, to);
        stream
    }

    /// One more message on a stream.
    pub(crate) fn message(&mut self, stream: Stream, message: &[u8], to: &mut Vec<u8>) {
        self.body(stream, message, false, Vec::new(), to);
    }

    fn body(&mut self, stream: Stream, message: &[u8], is_last: bool, mut frames: Vec<u8>, to: &mut Vec<u8>) {
        frame(&mut frames, DATA, if is_last { END_STREAM } else { 0 }, stream, |to| {
            to.push(0);
            to.extend_from_slice(&(message.len() as u32).to_be_bytes());
            to.extend_from_slice(message);
        });
        self.held.push_back((5 + message.len(), frames));
        self.release(to);
    }

    /// Sends what there is room for, in the order in which it was asked for.
    fn release(&mut self, to: &mut Vec<u8>) {
        while let Some((bytes, _)) = self.held.front()
            && *bytes as i64 <= self.window
            && let Some((bytes, frames)) = self.held.pop_front()
        {
            self.window -= bytes as i64;
            to.extend_from_slice(&frames);
        }
    }

    /// The header fields of a request; `:method: POST` and `:scheme: http` are in the fixed table.
    fn fields(&mut self, path: &'static str, to: &mut Vec<u8>) {
        to.extend_from_slice(&[0x80 | 3, 0x80 | 6]);
        self.field(NAME_AUTHORITY, "localhost", to);
        self.field(NAME_PATH, path, to);
        self.field(NAME_CONTENT_TYPE, "application/grpc", to);
        self.field(NAME_TE, "trailers", to);
    }

    /// One of them: a byte, where it has been said before.
    fn field(&mut self, name: u8, value: &'static str, to: &mut Vec<u8>) {
        match self.said.iter().position(|said| *said == value) {
            // The newest one comes first.
            Some(at) => to.push(0x80 | (TABLE_FIRST + self.said.len() - 1 - at) as u8),
            None => {
                to.push(0x40 | name);
                if name == NAME_TE {
                    text(to, "te");
                }
                text(to, value);
                self.said.push(value);
            }
        }
    }

    /// Looks at what has come; how many bytes of it are done with.
    pub(crate) fn hear(
        &mut self,
        bytes: &[u8],
        to: &mut Vec<u8>,
        came: &mut dyn FnMut(Came<'_>) -> Outcome<()>,
    ) -> Outcome<usize> {
        let mut used = 0;
        while let Some((head, rest)) = bytes[used..].split_at_checked(FRAME_HEAD_BYTES) {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let Some(payload) = rest.get(..length) else { break };
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & WINDOW_MAX;
            self.frame(head[3], head[4], stream, payload, to, came)?;
            used += FRAME_HEAD_BYTES + length;
        }
        Ok(used)
    }

    fn frame(
        &mut self,
        kind: u8,
        flags: u8,
        stream: Stream,
        payload: &[u8],
        to: &mut Vec<u8>,
        came: &mut dyn FnMut(Came<'_>) -> Outcome<()>,
    ) -> Outcome<()> {
        match kind {
            DATA => {
                if flags & PADDED != 0 {
                    return Err("the server pads its frames".into());
                }
                self.taken += payload.len() as u32;
                if self.taken >= WINDOW_STEP {
                    give_back(to, std::mem::take(&mut self.taken));
                }
                self.data(stream, payload, came)?;
                if flags & END_STREAM != 0 { came(Came::End(stream, b"")) } else { Ok(()) }
            }
            HEADERS if flags & END_STREAM != 0 => {
                self.partial.remove(&stream);
                came(Came::End(stream, payload))
            }
            SETTINGS if flags & ACK == 0 => {
                frame(to, SETTINGS, ACK, 0, |_| {});
                Ok(())
            }
            PING if flags & ACK == 0 => {
                frame(to, PING, ACK, 0, |to| to.extend_from_slice(payload));
                Ok(())
            }
            WINDOW_UPDATE if stream == 0 => {
                self.window += i64::from(u32::from_be_bytes(payload.try_into()?));
                self.release(to);
                Ok(())
            }
            RST_STREAM | GOAWAY => {
                Err(format!("the server ends it: frame {kind}, {}", String::from_utf8_lossy(payload)).into())
            }
            _ => Ok(()),
        }
    }

    /// Cuts a stream's body into messages.
    fn data(&mut self, stream: Stream, payload: &[u8], came: &mut dyn FnMut(Came<'_>) -> Outcome<()>) -> Outcome<()> {
        // Nearly always nothing is left of any.
        let before = if self.partial.is_empty() { None } else { self.partial.remove(&stream) };
        let mut joined = before.unwrap_or_default();
        let mut rest = if joined.is_empty() {
            payload
        } else {
            joined.extend_from_slice(payload);
            &joined
        };
        while let Some((head, after)) = rest.split_at_checked(5) {
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
            let Some((message, after)) = after.split_at_checked(length) else { break };
            came(Came::Message(stream, message))?;
            rest = after;
        }
        if !rest.is_empty() {
            let left = rest.to_vec();
            self.partial.insert(stream, left);
        }
        Ok(())
    }
}

fn text(to: &mut Vec<u8>, text: &str) {
    debug_assert!(text.len() < 127);
    to.push(text.len() as u8);
    to.extend_from_slice(text.as_bytes());
}

fn give_back(to: &mut Vec<u8>, bytes: u32) {
    frame(to, WINDOW_UPDATE, 0, 0, |to| to.extend_from_slice(&bytes.to_be_bytes()));
}

fn frame(to: &mut Vec<u8>, kind: u8, flags: u8, stream: Stream, put: impl FnOnce(&mut Vec<u8>)) {
    let start = to.len();
    to.extend_from_slice(&[0, 0, 0, kind, flags]);
    to.extend_from_slice(&stream.to_be_bytes());
    put(to);
    let length = (to.len() - start - FRAME_HEAD_BYTES) as u32;
    to[start..start + 3].copy_from_slice(&length.to_be_bytes()[1..]);
}
