//! The client's side of AMQP 0-9-1, as much of it as the scenarios need.
//!
//! Written by hand so that the load generator costs as little as the one for Weir does: requests are appended to a buffer and
//! leave in one call, and what comes is looked at where it lies. One channel a connection. Anything that the other side says
//! and that is not expected ends the scenario.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpStream;

use crate::Outcome;
use crate::incoming::Incoming;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const FRAME_END: u8 = 0xCE;
const FRAME_BYTES_MAX: u32 = 131_072;
/// Class and method as one number.
type Method = (u16, u16);
const CONNECTION_START: Method = (10, 10);
const CONNECTION_TUNE: Method = (10, 30);
const CONNECTION_OPEN_OK: Method = (10, 41);
const CONNECTION_CLOSE: Method = (10, 50);
const CHANNEL_OPEN_OK: Method = (20, 11);
const CHANNEL_CLOSE: Method = (20, 40);
const EXCHANGE_DECLARE_OK: Method = (40, 11);
const QUEUE_DECLARE_OK: Method = (50, 11);
const BASIC_QOS_OK: Method = (60, 11);
const BASIC_CONSUME_OK: Method = (60, 21);
const BASIC_DELIVER: Method = (60, 60);
const BASIC_ACK: Method = (60, 80);
const CONFIRM_SELECT_OK: Method = (85, 11);
/// The property "delivery mode" is there.
const HAS_DELIVERY_MODE: u16 = 1 << 12;
const PERSISTENT: u8 = 2;
const DURABLE: u8 = 1 << 1;
const PASSIVE: u8 = 1;
const NO_WAIT_OF_BINDING: u8 = 1;
const NO_WAIT_OF_DECLARATION: u8 = 1 << 4;

/// A connection with one open channel.
pub(crate) struct Amqp {
    socket: TcpStream,
    incoming: Incoming,
    outgoing: Vec<u8>,
}

/// The value of an argument of a declaration.
pub(crate) enum Value<'a> {
    Text(&'a str),
    Number(i64),
}

/// A method or a content frame, as it lies in the buffer.
struct Frame<'a> {
    kind: u8,
    payload: &'a [u8],
}

impl Amqp {
    pub(crate) fn connect(port: u16) -> Outcome<Amqp> {
        let socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_nodelay(true)?;
        let mut amqp = Amqp { incoming: Incoming::new(socket.try_clone()?), socket, outgoing: Vec::new() };
        amqp.outgoing.extend_from_slice(b"AMQP\x00\x00\x09\x01");
        amqp.wait_for(CONNECTION_START)?;
        amqp.method(0, (10, 11), |to| {
            put_u32(to, 0);
            put_short_text(to, "PLAIN");
            put_long_text(to, "\0guest\0guest");
            put_short_text(to, "en_US");
        });
        amqp.wait_for(CONNECTION_TUNE)?;
        amqp.method(0, (10, 31), |to| {
            put_u16(to, 1);
            put_u32(to, FRAME_BYTES_MAX);
            put_u16(to, 0);
        });
        amqp.method(0, (10, 40), |to| {
            put_short_text(to, "/");
            put_short_text(to, "");
            to.push(0);
        });
        amqp.wait_for(CONNECTION_OPEN_OK)?;
        amqp.method(1, (20, 10), |to| put_short_text(to, ""));
        amqp.wait_for(CHANNEL_OPEN_OK)?;
        Ok(amqp)
    }

    /// Declares a durable queue, without an answer; a later request that is answered shows that it is there.
    pub(crate) fn declare_queue(&mut self, name: &str, arguments: &[(&str, Value<'_>)]) -> Outcome<()> {
        self.method(1, (50, 10), |to| {
            put_u16(to, 0);
            put_short_text(to, name);
            to.push(DURABLE | NO_WAIT_OF_DECLARATION);
            put_table(to, arguments);
        });
        self.flush_from(1 << 16)
    }

    /// How many messages of a queue are ready. Everything that this channel has sent for the queue comes before.
    pub(crate) fn ready(&mut self, name: &str) -> Outcome<u32> {
        self.method(1, (50, 10), |to| {
            put_u16(to, 0);
            put_short_text(to, name);
            to.push(PASSIVE);
            put_u32(to, 0);
        });
        let reply = self.wait_for(QUEUE_DECLARE_OK)?;
        let mut reader = Reader(&reply);
        reader.short_text()?;
        reader.u32()
    }

    /// Declares a durable exchange.
    pub(crate) fn declare_exchange(&mut self, name: &str, kind: &str) -> Outcome<()> {
        self.method(1, (40, 10), |to| {
            put_u16(to, 0);
            put_short_text(to, name);
            put_short_text(to, kind);
            to.push(DURABLE);
            put_u32(to, 0);
        });
        self.wait_for(EXCHANGE_DECLARE_OK).map(drop)
    }

    /// Asks for a binding without an answer; a later request that is answered shows that it is there.
    pub(crate) fn bind(&mut self, exchange: &str, queue: &str, key: &str) -> Outcome<()> {
        self.method(1, (50, 20), |to| {
            put_u16(to, 0);
            put_short_text(to, queue);
            put_short_text(to, exchange);
            put_short_text(to, key);
            to.push(NO_WAIT_OF_BINDING);
            put_u32(to, 0);
        });
        self.flush_from(1 << 16)
    }

    /// From now on what is published is confirmed.
    pub(crate) fn select_confirms(&mut self) -> Outcome<()> {
        self.method(1, (85, 10), |to| to.push(0));
        self.wait_for(CONFIRM_SELECT_OK).map(drop)
    }

    /// How many messages may be out at once at each consumer that begins behind it (0: any number).
    pub(crate) fn set_prefetch(&mut self, prefetch: u16) -> Outcome<()> {
        self.method(1, (60, 10), |to| {
            put_u32(to, 0);
            put_u16(to, prefetch);
            to.push(0);
        });
        self.wait_for(BASIC_QOS_OK).map(drop)
    }

    /// Waits until the channel has been through all that was sent before.
    pub(crate) fn sync(&mut self) -> Outcome<()> {
        // Requests of a channel are carried out in order, and this one is answered.
        self.set_prefetch(0)
    }

    /// Consumes a queue, which is to be empty, so that no message comes before the answer.
    pub(crate) fn consume(&mut self, queue: &str) -> Outcome<()> {
        self.method(1, (60, 20), |to| {
            put_u16(to, 0);
            put_short_text(to, queue);
            put_short_text(to, queue);
            to.push(0);
            put_u32(to, 0);
        });
        self.wait_for(BASIC_CONSUME_OK).map(drop)
    }

    /// Appends a persistent message.
    pub(crate) fn put_message(&mut self, exchange: &str, key: &str, body: &[u8]) {
        self.method(1, (60, 40), |to| {
            put_u16(to, 0);
            put_short_text(to, exchange);
            put_short_text(to, key);
            to.push(0);
        });
        let at = self.open_frame(HEADER, 1);
        put_u16(&mut self.outgoing, 60);
        put_u16(&mut self.outgoing, 0);
        self.outgoing.extend_from_slice(&(body.len() as u64).to_be_bytes());
        put_u16(&mut self.outgoing, HAS_DELIVERY_MODE);
        self.outgoing.push(PERSISTENT);
        self.close_frame(at);
        for part in body.chunks(FRAME_BYTES_MAX as usize - 8) {
            let at = self.open_frame(BODY, 1);
            self.outgoing.extend_from_slice(part);
            self.close_frame(at);
        }
    }

    /// Appends an acknowledgement of everything up to a tag.
    pub(crate) fn put_ack_up_to(&mut self, tag: u64) {
        self.method(1, BASIC_ACK, |to| {
            to.extend_from_slice(&tag.to_be_bytes());
            to.push(1);
        });
    }

    /// Sends what has been appended.
    pub(crate) fn flush(&mut self) -> Outcome<()> {
        self.socket.write_all(&self.outgoing)?;
        self.outgoing.clear();
        Ok(())
    }

    /// Sends what has been appended if it is so much at least.
    pub(crate) fn flush_from(&mut self, bytes: usize) -> Outcome<()> {
        if self.outgoing.len() >= bytes { self.flush() } else { Ok(()) }
    }

    /// The receiving half for another thread: what it reads this connection does not see.
    pub(crate) fn receiver(&self) -> Outcome<Confirms> {
        Ok(Confirms { incoming: Incoming::new(self.socket.try_clone()?), first_open: 1, ahead: BTreeSet::new() })
    }

    /// Waits for deliveries and hands over tag and body of all that are there whole.
    pub(crate) fn deliveries(&mut self, take: &mut dyn FnMut(u64, &[u8]) -> Outcome<()>) -> Outcome<()> {
        loop {
            let mut some = false;
            while let Some((tag, body, used)) = delivery(self.incoming.bytes())? {
                take(tag, body)?;
                some = true;
                self.incoming.consume(used);
            }
            if some {
                return Ok(());
            }
            self.incoming.more()?;
        }
    }

    fn method(&mut self, channel: u16, (class, method): Method, arguments: impl FnOnce(&mut Vec<u8>)) {
        let at = self.open_frame(METHOD, channel);
        put_u16(&mut self.outgoing, class);
        put_u16(&mut self.outgoing, method);
        arguments(&mut self.outgoing);
        self.close_frame(at);
    }

    fn open_frame(&mut self, kind: u8, channel: u16) -> usize {
        self.outgoing.push(kind);
        put_u16(&mut self.outgoing, channel);
        let at = self.outgoing.len();
        put_u32(&mut self.outgoing, 0);
        at
    }

    fn close_frame(&mut self, at: usize) {
        let length = (self.outgoing.len() - at - 4) as u32;
        self.outgoing[at..at + 4].copy_from_slice(&length.to_be_bytes());
        self.outgoing.push(FRAME_END);
    }

    /// Sends everything, and returns the arguments of the method that is to come next.
    fn wait_for(&mut self, wanted: Method) -> Outcome<Vec<u8>> {
        self.flush()?;
        loop {
            if let Some((frame, used)) = frame(self.incoming.bytes())? {
                let (method, arguments) = method_of(&frame)?;
                if method != wanted {
                    return Err(unexpected(method, arguments));
                }
                let arguments = arguments.to_vec();
                self.incoming.consume(used);
                return Ok(arguments);
            }
            self.incoming.more()?;
        }
    }
}

/// What comes back to a publisher.
pub(crate) struct Confirms {
    incoming: Incoming,
    first_open: u64,
    /// Confirmed ones behind one that is not.
    ahead: BTreeSet<u64>,
}

impl Confirms {
    /// Waits for confirmations; how many messages are confirmed in all.
    pub(crate) fn wait(&mut self) -> Outcome<u64> {
        loop {
            let mut some = false;
            while let Some((frame, used)) = frame(self.incoming.bytes())? {
                let (method, arguments) = method_of(&frame)?;
                if method != BASIC_ACK {
                    return Err(unexpected(method, arguments));
                }
                let mut reader = Reader(arguments);
                let (tag, up_to) = (reader.u64()?, reader.u8()? & 1 == 1);
                self.note(tag, up_to);
                some = true;
                self.incoming.consume(used);
            }
            if some {
                return Ok(self.first_open - 1 + self.ahead.len() as u64);
            }
            self.incoming.more()?;
        }
    }

    fn note(&mut self, tag: u64, up_to: bool) {
        if up_to {
            self.first_open = self.first_open.max(tag + 1);
            self.ahead = self.ahead.split_off(&self.first_open);
        } else if tag != self.first_open {
            self.ahead.insert(tag);
            return;
        } else {
            self.first_open += 1;
        }
        while self.ahead.remove(&self.first_open) {
            self.first_open += 1;
        }
    }
}

/// The frame at the start of these bytes and its length, if it is there whole.
fn frame(bytes: &[u8]) -> Outcome<Option<(Frame<'_>, usize)>> {
    let Some(head) = bytes.get(..7) else { return Ok(None) };
    let length = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
    if length > FRAME_BYTES_MAX as usize {
        return Err(format!("a frame of {length} bytes").into());
    }
    let Some(rest) = bytes.get(7..7 + length + 1) else { return Ok(None) };
    if rest[length] != FRAME_END {
        return Err("a frame does not end where it should".into());
    }
    Ok(Some((Frame { kind: head[0], payload: &rest[..length] }, length + 8)))
}

/// The delivery at the start of these bytes, with a body in one frame: tag, body, length.
fn delivery(bytes: &[u8]) -> Outcome<Option<(u64, &[u8], usize)>> {
    let Some((first, used)) = frame(bytes)? else { return Ok(None) };
    let (method, arguments) = method_of(&first)?;
    if method != BASIC_DELIVER {
        return Err(unexpected(method, arguments));
    }
    let mut reader = Reader(arguments);
    reader.short_text()?;
    let tag = reader.u64()?;
    let Some((header, header_bytes)) = frame(&bytes[used..])? else { return Ok(None) };
    if header.kind != HEADER {
        return Err("no header behind a delivery".into());
    }
    let used = used + header_bytes;
    let Some((body, body_bytes)) = frame(&bytes[used..])? else { return Ok(None) };
    if body.kind != BODY {
        return Err("no body behind a header".into());
    }
    Ok(Some((tag, body.payload, used + body_bytes)))
}

fn method_of<'a>(frame: &Frame<'a>) -> Outcome<(Method, &'a [u8])> {
    if frame.kind != METHOD {
        return Err(format!("a frame of kind {} where a method was expected", frame.kind).into());
    }
    let mut reader = Reader(frame.payload);
    Ok(((reader.u16()?, reader.u16()?), reader.0))
}

fn unexpected(method: Method, arguments: &[u8]) -> Box<dyn std::error::Error + Send + Sync> {
    if method == CONNECTION_CLOSE || method == CHANNEL_CLOSE {
        let mut reader = Reader(arguments);
        let code = reader.u16().unwrap_or_default();
        let text = reader.short_text().unwrap_or_default();
        return format!("RabbitMQ closes: {code} {}", String::from_utf8_lossy(text)).into();
    }
    format!("RabbitMQ says {method:?}, which was not expected").into()
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Outcome<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or("a frame is too short")?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Outcome<[u8; N]> {
        Ok(self.take(N)?.try_into()?)
    }

    fn u8(&mut self) -> Outcome<u8> {
        Ok(self.array::<1>()?[0])
    }

    fn u16(&mut self) -> Outcome<u16> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    fn u32(&mut self) -> Outcome<u32> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn u64(&mut self) -> Outcome<u64> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    fn short_text(&mut self) -> Outcome<&'a [u8]> {
        let length = self.u8()?;
        self.take(length.into())
    }
}

fn put_u16(to: &mut Vec<u8>, number: u16) {
    to.extend_from_slice(&number.to_be_bytes());
}

fn put_u32(to: &mut Vec<u8>, number: u32) {
    to.extend_from_slice(&number.to_be_bytes());
}

fn put_short_text(to: &mut Vec<u8>, text: &str) {
    to.push(u8::try_from(text.len()).expect("names of the scenarios are short"));
    to.extend_from_slice(text.as_bytes());
}

fn put_long_text(to: &mut Vec<u8>, text: &str) {
    put_u32(to, text.len() as u32);
    to.extend_from_slice(text.as_bytes());
}

fn put_table(to: &mut Vec<u8>, pairs: &[(&str, Value<'_>)]) {
    let mut table = Vec::new();
    for (name, value) in pairs {
        put_short_text(&mut table, name);
        match value {
            Value::Text(text) => {
                table.push(b'S');
                put_long_text(&mut table, text);
            }
            Value::Number(number) => {
                table.push(b'l');
                table.extend_from_slice(&number.to_be_bytes());
            }
        }
    }
    put_u32(to, table.len() as u32);
    to.extend_from_slice(&table);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_cut_where_they_end_and_broken_ones_refused() {
        let whole = [1, 0, 1, 0, 0, 0, 4, 0, 10, 0, 11, FRAME_END];
        for cut in 0..whole.len() {
            assert!(frame(&whole[..cut]).expect("not broken").is_none());
        }
        let (found, used) = frame(&whole).expect("not broken").expect("whole");
        assert_eq!((found.kind, found.payload, used), (1, &whole[7..11], whole.len()));
        assert!(frame(&[&whole[..11], &[0]].concat()).is_err());
        assert!(frame(&[1, 0, 1, 0xFF, 0, 0, 0]).is_err());
    }

    #[test]
    fn confirmations_in_any_order_are_counted_once() -> Outcome<()> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let socket = TcpStream::connect(listener.local_addr()?)?;
        let mut confirms = Confirms { incoming: Incoming::new(socket), first_open: 1, ahead: BTreeSet::new() };
        for (tag, up_to, first_open, ahead) in
            [(2, false, 1, 1), (1, false, 3, 0), (5, false, 3, 1), (4, true, 6, 0), (9, false, 6, 1), (8, true, 10, 0)]
        {
            confirms.note(tag, up_to);
            assert_eq!((confirms.first_open, confirms.ahead.len()), (first_open, ahead));
        }
        Ok(())
    }
}
