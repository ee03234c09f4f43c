//! etcd as the scenarios see it: calls of gRPC, with the few fields of its messages that are needed. Names and numbers of fields
//! are those of etcd's `rpc.proto` and `kv.proto`.

use std::collections::HashMap;

use crate::Outcome;
use crate::http2::{Came, Http2, Stream};
use crate::session::{Heard, Observed, Session, Tag};

const PUT: &str = "/etcdserverpb.KV/Put";
const RANGE: &str = "/etcdserverpb.KV/Range";
const WATCH: &str = "/etcdserverpb.Watch/Watch";

// What a field is encoded as.
const WIRE_NUMBER: u64 = 0;
const WIRE_BYTES: u64 = 2;

/// A connection to etcd.
pub(crate) struct Etcd {
    http: Http2,
    /// Whether reads may be answered without asking the other members, of which there are none, whether it still leads.
    is_serializable: bool,
    is_greeted: bool,
    asked: HashMap<Stream, (Kind, Tag, bool)>,
    /// The stream that carries all observations of this connection.
    watch: Option<Stream>,
    message: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Put,
    Get,
    List,
}

impl Etcd {
    pub(crate) fn new(is_serializable: bool) -> Etcd {
        Etcd {
            http: Http2::new(),
            is_serializable,
            is_greeted: false,
            asked: HashMap::new(),
            watch: None,
            message: Vec::new(),
        }
    }

    fn call(&mut self, kind: Kind, tag: Tag, path: &'static str, to: &mut Vec<u8>) {
        let stream = self.http.request(path, &self.message, true, to);
        self.asked.insert(stream, (kind, tag, false));
    }

    /// An answer, or what is observed.
    fn came(
        asked: &mut HashMap<Stream, (Kind, Tag, bool)>,
        watch: Option<Stream>,
        came: Came<'_>,
        heard: &mut dyn FnMut(Heard<'_>) -> Outcome<()>,
    ) -> Outcome<()> {
        match came {
            Came::Message(stream, message) if Some(stream) == watch => observed(message, heard),
            Came::Message(stream, message) => {
                let (kind, tag, is_answered) = asked.get_mut(&stream).ok_or("an answer to nothing")?;
                *is_answered = true;
                match kind {
                    Kind::Put => heard(Heard::Written(*tag, revision(message)?)),
                    Kind::Get => heard(Heard::Value(*tag, first_value(message)?)),
                    // RangeResponse.count
                    Kind::List => heard(Heard::Listed(*tag, Fields(message).number(4)?)),
                }
            }
            Came::End(stream, trailers) => match asked.remove(&stream) {
                Some((_, _, true)) => Ok(()),
                _ => Err(format!("etcd ends a stream: {}", String::from_utf8_lossy(trailers)).into()),
            },
        }
    }
}

/// WatchResponse: watch_id 2, created 3, canceled 4, events 11. Event: type 1, kv 2.
fn observed(message: &[u8], heard: &mut dyn FnMut(Heard<'_>) -> Outcome<()>) -> Outcome<()> {
    let mut fields = Fields(message);
    let mut id = 0;
    while let Some((field, content)) = fields.next()? {
        match (field, content) {
            (2, Content::Number(number)) => id = number,
            (3, Content::Number(1)) => heard(Heard::Observing(id))?,
            (4, Content::Number(1)) => return Err("etcd cancels a watch".into()),
            (11, Content::Bytes(event)) => {
                heard(Heard::Event(Fields(Fields(event).bytes(2)?.unwrap_or_default()).bytes(5)?.unwrap_or_default()))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// ResponseHeader, field 1 of every answer: its revision, 3.
fn revision(message: &[u8]) -> Outcome<u64> {
    Fields(Fields(message).bytes(1)?.unwrap_or_default()).number(3)
}

/// RangeResponse: kvs 2. KeyValue: value 5.
fn first_value(message: &[u8]) -> Outcome<Option<&[u8]>> {
    match Fields(message).bytes(2)? {
        Some(pair) => Ok(Some(Fields(pair).bytes(5)?.unwrap_or_default())),
        None => Ok(None),
    }
}

impl Session for Etcd {
    fn greet(&mut self, to: &mut Vec<u8>) {
        self.http.greet(to);
    }

    fn create(&mut self, tag: Tag, path: &[u8], value: &[u8], to: &mut Vec<u8>) {
        self.put(tag, path, value, to);
    }

    /// PutRequest: key 1, value 2.
    fn put(&mut self, tag: Tag, path: &[u8], value: &[u8], to: &mut Vec<u8>) {
        self.message.clear();
        put_bytes(&mut self.message, 1, path);
        put_bytes(&mut self.message, 2, value);
        self.call(Kind::Put, tag, PUT, to);
    }

    /// RangeRequest: key 1, serializable 7.
    fn get(&mut self, tag: Tag, path: &[u8], to: &mut Vec<u8>) {
        self.message.clear();
        put_bytes(&mut self.message, 1, path);
        if self.is_serializable {
            put_number(&mut self.message, 7, 1);
        }
        self.call(Kind::Get, tag, RANGE, to);
    }

    /// RangeRequest: range_end 2, keys_only 8.
    fn list(&mut self, tag: Tag, path: &[u8], to: &mut Vec<u8>) {
        let prefix = [path, b"/"].concat();
        self.message.clear();
        put_bytes(&mut self.message, 1, &prefix);
        put_bytes(&mut self.message, 2, &behind(&prefix));
        put_number(&mut self.message, 8, 1);
        self.call(Kind::List, tag, RANGE, to);
    }

    /// WatchRequest: create_request 1. WatchCreateRequest: key 1, range_end 2, start_revision 3, watch_id 7.
    fn observe(&mut self, tag: Tag, observed: Observed<'_>, to: &mut Vec<u8>) {
        let mut create = Vec::new();
        put_bytes(&mut create, 1, observed.path);
        if observed.is_prefix {
            put_bytes(&mut create, 2, &behind(observed.path));
        }
        if observed.from > 0 {
            put_number(&mut create, 3, observed.from);
        }
        put_number(&mut create, 7, tag);
        self.message.clear();
        put_bytes(&mut self.message, 1, &create);
        match self.watch {
            Some(stream) => self.http.message(stream, &self.message, to),
            None => self.watch = Some(self.http.request(WATCH, &self.message, false, to)),
        }
    }

    fn hear(
        &mut self,
        bytes: &[u8],
        to: &mut Vec<u8>,
        heard: &mut dyn FnMut(Heard<'_>) -> Outcome<()>,
    ) -> Outcome<usize> {
        let Etcd { http, asked, watch, .. } = self;
        let used = http.hear(bytes, to, &mut |came| Etcd::came(asked, *watch, came, heard))?;
        if used > 0 && !self.is_greeted {
            self.is_greeted = true;
            heard(Heard::Ready)?;
        }
        Ok(used)
    }
}

/// The end of everything that begins with `prefix`, whose last byte is not the greatest.
fn behind(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

/// The fields of a message, where they lie.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a [u8]);

#[derive(Debug, PartialEq, Eq)]
enum Content<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Fields<'a> {
    fn next(&mut self) -> Outcome<Option<(u64, Content<'a>)>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let content = match key & 7 {
            WIRE_NUMBER => Content::Number(self.varint()?),
            WIRE_BYTES => {
                let length = self.varint()? as usize;
                let (bytes, rest) = self.0.split_at_checked(length).ok_or("a message that ends too early")?;
                self.0 = rest;
                Content::Bytes(bytes)
            }
            other => return Err(format!("a field of the kind {other}").into()),
        };
        Ok(Some((key >> 3, content)))
    }

    fn varint(&mut self) -> Outcome<u64> {
        let mut number = 0;
        for (at, &byte) in self.0.iter().take(10).enumerate() {
            number |= u64::from(byte & 0x7f) << (7 * at);
            if byte < 0x80 {
                self.0 = &self.0[at + 1..];
                return Ok(number);
            }
        }
        Err("a number that does not end".into())
    }

    /// The first field of that number.
    fn bytes(mut self, wanted: u64) -> Outcome<Option<&'a [u8]>> {
        while let Some((field, content)) = self.next()? {
            if let (true, Content::Bytes(bytes)) = (field == wanted, content) {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    /// The same of a number; 0, if it is not there.
    fn number(mut self, wanted: u64) -> Outcome<u64> {
        while let Some((field, content)) = self.next()? {
            if let (true, Content::Number(number)) = (field == wanted, content) {
                return Ok(number);
            }
        }
        Ok(0)
    }
}

fn put_bytes(to: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_varint(to, field << 3 | WIRE_BYTES);
    put_varint(to, bytes.len() as u64);
    to.extend_from_slice(bytes);
}

fn put_number(to: &mut Vec<u8>, field: u64, number: u64) {
    put_varint(to, field << 3 | WIRE_NUMBER);
    put_varint(to, number);
}

fn put_varint(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_they_are_written() -> Outcome<()> {
        let mut message = Vec::new();
        put_number(&mut message, 3, 300);
        put_bytes(&mut message, 2, b"key");
        put_number(&mut message, 11, 0);
        let mut fields = Fields(&message);
        assert_eq!(fields.next()?, Some((3, Content::Number(300))));
        assert_eq!(fields.next()?, Some((2, Content::Bytes(b"key"))));
        assert_eq!(fields.next()?, Some((11, Content::Number(0))));
        assert_eq!(fields.next()?, None);
        assert!(Fields(&message[..5]).bytes(2).is_err());
        Ok(())
    }

    #[test]
    fn an_event_gives_its_value() -> Outcome<()> {
        let (mut pair, mut event, mut message) = (Vec::new(), Vec::new(), Vec::new());
        put_bytes(&mut pair, 1, b"/a");
        put_bytes(&mut pair, 5, b"x");
        put_bytes(&mut event, 2, &pair);
        put_number(&mut message, 2, 7);
        put_bytes(&mut message, 11, &event);
        let mut all = Vec::new();
        observed(&message, &mut |heard| {
            all.push(format!("{heard:?}"));
            Ok(())
        })?;
        assert_eq!(all, ["Event([120])"]);
        Ok(())
    }
}
