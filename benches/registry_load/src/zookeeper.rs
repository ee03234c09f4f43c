//! ZooKeeper as the scenarios see it: its protocol is numbers in network order, texts with their lengths before them, and a
//! length before each packet. Requests of a connection are answered in order; what is observed comes in between.
//!
//! An observation is a persistent watch (ZooKeeper 3.6 and newer), of a path or of everything below one. It tells the path
//! that has changed and not the value, so each notice is answered with a request for that.

use std::collections::VecDeque;

use crate::Outcome;
use crate::session::{Heard, Observed, Session, Tag};

const CREATE: i32 = 1;
const GET_DATA: i32 = 4;
const SET_DATA: i32 = 5;
const GET_CHILDREN: i32 = 8;
const ADD_WATCH: i32 = 106;
/// The number of a packet that nobody asked for.
const XID_OF_NOTICE: i32 = -1;
/// The name of the event that a node's content is another one; of the others none is caused here while somebody observes.
const NODE_DATA_CHANGED: i32 = 3;
const WATCH_PERSISTENT: i32 = 0;
const WATCH_PERSISTENT_RECURSIVE: i32 = 1;
const PERMISSIONS_ALL: i32 = 31;
const ANY_VERSION: i32 = -1;
/// No scenario lasts as long; so there is no need for heartbeats.
const SESSION_MS: i32 = 600_000;

/// A session of ZooKeeper.
#[derive(Default)]
pub(crate) struct ZooKeeper {
    is_greeted: bool,
    /// What the answers to come belong to.
    asked: VecDeque<(Kind, Tag)>,
}

#[derive(Clone, Copy)]
enum Kind {
    Write,
    Get,
    List,
    Observe,
    /// The value behind a notice.
    ReadBack,
}

impl ZooKeeper {
    fn ask(&mut self, kind: Kind, tag: Tag, operation: i32, to: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) {
        self.asked.push_back((kind, tag));
        packet(to, |to| {
            // Numbers need not differ: answers come in order.
            put_i32(to, 1);
            put_i32(to, operation);
            put(to);
        });
    }

    fn get_data(&mut self, kind: Kind, tag: Tag, path: &[u8], to: &mut Vec<u8>) {
        self.ask(kind, tag, GET_DATA, to, |to| {
            put_bytes(to, path);
            to.push(0);
        });
    }

    fn packet(
        &mut self,
        mut packet: Fields<'_>,
        to: &mut Vec<u8>,
        heard: &mut dyn FnMut(Heard<'_>) -> Outcome<()>,
    ) -> Outcome<()> {
        if !self.is_greeted {
            self.is_greeted = true;
            let (_version, timeout_ms) = (packet.i32()?, packet.i32()?);
            return if timeout_ms > 0 { heard(Heard::Ready) } else { Err("ZooKeeper gives no session".into()) };
        }
        let (xid, zxid, error) = (packet.i32()?, packet.i64()?, packet.i32()?);
        if xid == XID_OF_NOTICE {
            let (kind, _state) = (packet.i32()?, packet.i32()?);
            if kind == NODE_DATA_CHANGED {
                heard(Heard::Notice)?;
                self.get_data(Kind::ReadBack, 0, packet.bytes()?.ok_or("a notice of no path")?, to);
            }
            return Ok(());
        }
        if error != 0 {
            return Err(format!("ZooKeeper answers error {error}").into());
        }
        let (kind, tag) = self.asked.pop_front().ok_or("an answer to nothing")?;
        match kind {
            Kind::Write => heard(Heard::Written(tag, zxid as u64)),
            Kind::Get => heard(Heard::Value(tag, packet.bytes()?)),
            Kind::List => heard(Heard::Listed(tag, packet.i32()? as u64)),
            Kind::Observe => heard(Heard::Observing(tag)),
            Kind::ReadBack => heard(Heard::Event(packet.bytes()?.unwrap_or_default())),
        }
    }
}

impl Session for ZooKeeper {
    fn greet(&mut self, to: &mut Vec<u8>) {
        packet(to, |to| {
            put_i32(to, 0);
            to.extend_from_slice(&0_i64.to_be_bytes());
            put_i32(to, SESSION_MS);
            to.extend_from_slice(&0_i64.to_be_bytes());
            put_bytes(to, &[0; 16]);
            to.push(0);
        });
    }

    fn create(&mut self, tag: Tag, path: &[u8], value: &[u8], to: &mut Vec<u8>) {
        self.ask(Kind::Write, tag, CREATE, to, |to| {
            put_bytes(to, path);
            put_bytes(to, value);
            put_i32(to, 1);
            put_i32(to, PERMISSIONS_ALL);
            put_bytes(to, b"world");
            put_bytes(to, b"anyone");
            put_i32(to, 0);
        });
    }

    fn put(&mut self, tag: Tag, path: &[u8], value: &[u8], to: &mut Vec<u8>) {
        self.ask(Kind::Write, tag, SET_DATA, to, |to| {
            put_bytes(to, path);
            put_bytes(to, value);
            put_i32(to, ANY_VERSION);
        });
    }

    fn get(&mut self, tag: Tag, path: &[u8], to: &mut Vec<u8>) {
        self.get_data(Kind::Get, tag, path, to);
    }

    fn list(&mut self, tag: Tag, path: &[u8], to: &mut Vec<u8>) {
        self.ask(Kind::List, tag, GET_CHILDREN, to, |to| {
            put_bytes(to, path);
            to.push(0);
        });
    }

    fn observe(&mut self, tag: Tag, observed: Observed<'_>, to: &mut Vec<u8>) {
        let mode = if observed.is_prefix { WATCH_PERSISTENT_RECURSIVE } else { WATCH_PERSISTENT };
        self.ask(Kind::Observe, tag, ADD_WATCH, to, |to| {
            put_bytes(to, observed.path.strip_suffix(b"/").unwrap_or(observed.path));
            put_i32(to, mode);
        });
    }

    fn hear(
        &mut self,
        bytes: &[u8],
        to: &mut Vec<u8>,
        heard: &mut dyn FnMut(Heard<'_>) -> Outcome<()>,
    ) -> Outcome<usize> {
        let mut used = 0;
        loop {
            let mut rest = Fields { bytes: &bytes[used..] };
            let Ok(Some(body)) = rest.bytes() else { return Ok(used) };
            used += 4 + body.len();
            self.packet(Fields { bytes: body }, to, heard)?;
        }
    }
}

/// The parts of a packet.
struct Fields<'a> {
    bytes: &'a [u8],
}

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Outcome<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or("a packet that ends too early")?;
        self.bytes = rest;
        Ok(taken)
    }

    fn i32(&mut self) -> Outcome<i32> {
        Ok(i32::from_be_bytes(self.take(4)?.try_into()?))
    }

    fn i64(&mut self) -> Outcome<i64> {
        Ok(i64::from_be_bytes(self.take(8)?.try_into()?))
    }

    /// Bytes with their length before them; a negative length is none.
    fn bytes(&mut self) -> Outcome<Option<&'a [u8]>> {
        match usize::try_from(self.i32()?) {
            Ok(length) => self.take(length).map(Some),
            Err(_) => Ok(None),
        }
    }
}

fn packet(to: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) {
    let start = to.len();
    put_i32(to, 0);
    put(to);
    let length = (to.len() - start - 4) as i32;
    to[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

fn put_i32(to: &mut Vec<u8>, number: i32) {
    to.extend_from_slice(&number.to_be_bytes());
}

fn put_bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    put_i32(to, bytes.len() as i32);
    to.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_belong_to_requests_in_order_and_notices_ask_for_the_value() -> Outcome<()> {
        let mut session = ZooKeeper { is_greeted: true, ..ZooKeeper::default() };
        let mut sent = Vec::new();
        session.put(7, b"/a", b"x", &mut sent);
        session.get(8, b"/a", &mut sent);
        let mut came = Vec::new();
        let head = |to: &mut Vec<u8>, xid: i32, zxid: i64| {
            put_i32(to, xid);
            to.extend_from_slice(&zxid.to_be_bytes());
            put_i32(to, 0);
        };
        packet(&mut came, |to| head(to, 1, 5));
        packet(&mut came, |to| {
            head(to, XID_OF_NOTICE, -1);
            put_i32(to, NODE_DATA_CHANGED);
            put_i32(to, 3);
            put_bytes(to, b"/a");
        });
        packet(&mut came, |to| {
            head(to, 1, 5);
            put_bytes(to, b"x");
        });
        packet(&mut came, |to| {
            head(to, 1, 6);
            put_bytes(to, b"y");
        });
        let mut all = Vec::new();
        let whole = came.len();
        for cut in 0..4 {
            assert_eq!(session.hear(&came[..cut], &mut sent, &mut |_| Err("too early".into()))?, 0);
        }
        sent.clear();
        let used = session.hear(&came, &mut sent, &mut |heard| {
            all.push(format!("{heard:?}"));
            Ok(())
        })?;
        assert_eq!(used, whole);
        assert_eq!(all, ["Written(7, 5)", "Notice", "Value(8, Some([120]))", "Event([121])"]);
        let mut asked = Vec::new();
        ZooKeeper::default().get(0, b"/a", &mut asked);
        assert_eq!(sent, asked);
        Ok(())
    }
}
