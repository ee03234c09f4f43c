//! Digests of data for DEBUG DIGEST: equal for equal data, in whatever order they were written.
//!
//! The algorithm is that of Redis, since tests compare the digests of different servers. It has two steps: *adding* a text
//! exclusive-ors its SHA-1 to the digest, so that order does not matter; *chaining* adds a text and then replaces the
//! digest by its own SHA-1, so that order does.

use crate::store::{EntryRef, Store, StrView};
use sha1::{Digest, Sha1};
use std::fmt;
use std::io::Write as _;
use std::ops::ControlFlow;
use weir_structs::hash::HashRef;
use weir_structs::list::{End, ListRef};
use weir_structs::number::format_i64;
use weir_structs::set::SetRef;
use weir_structs::stream::{Stream, StreamId};
use weir_structs::value::ValueRef;
use weir_structs::zset::ZsetRef;

/// A digest of values, keys or whole data sets.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct DataDigest([u8; 20]);

/// Numbers of the types in the digest of a value.
const STRING: u32 = 0;
const LIST: u32 = 1;
const SET: u32 = 2;
const ZSET: u32 = 3;
const HASH: u32 = 4;
const STREAM: u32 = 6;
const QUEUE: u32 = 7;
const EXCHANGE: u32 = 8;
const TREE: u32 = 9;

impl DataDigest {
    /// Of all databases. Keys whose time has come do not count.
    pub(super) fn of_store(store: &mut Store) -> DataDigest {
        let now_ms = store.now_ms();
        let mut whole = DataDigest::default();
        for index in 0..store.databases() {
            let db = store.db(index);
            if db.is_empty() {
                continue;
            }
            whole.chain(&(index as u32).to_be_bytes());
            for entry in db.iter().filter(|entry| entry.expire_at().is_none_or(|at| at > now_ms)) {
                let mut digest = DataDigest::default();
                digest.chain(entry.key());
                digest.chain_value(entry, now_ms);
                whole.add(&digest.0);
            }
        }
        whole
    }

    /// Of a value and whether it has a deadline. Fields whose time has come do not count.
    pub(super) fn of_value(entry: EntryRef<'_>, now_ms: i64) -> DataDigest {
        let mut digest = DataDigest::default();
        digest.chain_value(entry, now_ms);
        digest
    }

    fn chain_value(&mut self, entry: EntryRef<'_>, now_ms: i64) {
        if let Some(list) = ListRef::of(entry) {
            self.chain(&LIST.to_be_bytes());
            list.visit(0, list.len(), End::Back, |element| {
                self.chain(element.text().as_bytes());
                ControlFlow::Continue(())
            });
        } else if let Some(set) = SetRef::of(entry) {
            self.chain(&SET.to_be_bytes());
            for member in set.iter() {
                self.add(member.text().as_bytes());
            }
        } else if let Some(zset) = ZsetRef::of(entry) {
            self.chain(&ZSET.to_be_bytes());
            zset.for_each(|member, score| self.add_chained(&[member, general_17(score).as_bytes()]));
        } else if let Some(hash) = HashRef::of(entry) {
            self.chain(&HASH.to_be_bytes());
            hash.for_each(now_ms, |field, value| self.add_chained(&[field.text().as_bytes(), value.text().as_bytes()]));
        } else if let ValueRef::Stream(stream) = entry.value() {
            self.chain(&STREAM.to_be_bytes());
            self.chain_stream(stream);
        } else if let ValueRef::Queue(queue) = entry.value() {
            self.chain(&QUEUE.to_be_bytes());
            queue.encode(&mut |piece| self.chain(piece));
        } else if let ValueRef::Exchange(exchange) = entry.value() {
            self.chain(&EXCHANGE.to_be_bytes());
            exchange.encode(&mut |piece| self.chain(piece));
        } else if let ValueRef::Tree(tree) = entry.value() {
            self.chain(&TREE.to_be_bytes());
            tree.encode_contents(&mut |piece| self.chain(piece));
        } else {
            self.chain(&STRING.to_be_bytes());
            match entry.str() {
                Some(StrView::Int(int)) => self.chain(format_i64(int).as_bytes()),
                Some(StrView::Bytes(bytes)) => self.chain(bytes),
                Some(StrView::Blob(blob)) => self.chain(blob.as_bytes()),
                None => {}
            }
        }
        if entry.expire_at().is_some() {
            self.add(b"!!expire!!");
        }
    }

    fn chain_stream(&mut self, stream: &Stream) {
        let mut id = Vec::new();
        for entry in stream.log().range(StreamId::MIN, StreamId::MAX) {
            id.clear();
            // Writing to a vector cannot fail.
            let _ = write!(id, "{}-{}", entry.id.ms, entry.id.seq);
            self.chain(&id);
            for (field, value) in entry.pairs() {
                self.chain(field);
                value.with_text(|text| self.chain(text));
            }
        }
    }

    /// Adds the digest of texts whose order among themselves matters.
    fn add_chained(&mut self, texts: &[&[u8]]) {
        let mut digest = DataDigest::default();
        texts.iter().for_each(|text| digest.chain(text));
        self.add(&digest.0);
    }

    fn add(&mut self, text: &[u8]) {
        self.xor(Sha1::digest(text).into());
    }

    fn chain(&mut self, text: &[u8]) {
        self.add(text);
        self.0 = Sha1::digest(self.0).into();
    }

    fn xor(&mut self, other: [u8; 20]) {
        self.0.iter_mut().zip(other).for_each(|(own, other)| *own ^= other);
    }
}

impl fmt::Display for DataDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A score as C's `%.17g` writes it.
fn general_17(score: f64) -> String {
    const DIGITS: i32 = 17;
    if !score.is_finite() {
        return format!("{score}").to_lowercase();
    }
    let scientific = format!("{score:.*e}", DIGITS as usize - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let without_zeros = |digits: &str| match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => digits.to_owned(),
    };
    if (-4..DIGITS).contains(&exponent) {
        let places = usize::try_from(DIGITS - 1 - exponent).unwrap_or(0);
        return without_zeros(&format!("{score:.places$}"));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", without_zeros(mantissa), exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{ExpireChange, NewStr};

    fn set(store: &mut Store, db: usize, name: &[u8], value: &[u8], expire: ExpireChange) {
        let key = store.key(name);
        store.db(db).set(key, NewStr::Bytes(value), expire);
    }

    #[test]
    fn digests_are_those_of_redis_and_do_not_depend_on_order() {
        let mut store = Store::new(16, 1, 1, 0);
        assert_eq!(DataDigest::of_store(&mut store).to_string(), "0".repeat(40));
        set(&mut store, 0, b"a", b"1", ExpireChange::Clear);
        set(&mut store, 0, b"b", b"2", ExpireChange::Clear);
        assert_eq!(DataDigest::of_store(&mut store).to_string(), "7dff4aa4711992a6870417c26949f355d23a7cac");
        set(&mut store, 1, b"a", b"1", ExpireChange::Clear);
        assert_eq!(DataDigest::of_store(&mut store).to_string(), "24fdd250bbf9277b1745cabbf2abf04e5a5e4d8f");
        set(&mut store, 1, b"a", b"1", ExpireChange::At(1_000_000));
        let key = store.key(b"a");
        let value = DataDigest::of_value(store.db(1).peek(key).unwrap(), 0);
        assert_eq!(value.to_string(), "5279988c5d1911f474bcbbf2f0a87012d40f8459");
    }
}
