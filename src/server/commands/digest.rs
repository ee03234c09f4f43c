//! Digests of data for DEBUG DIGEST: equal for equal data, in whatever order they were written.
//!
//! The algorithm is that of Redis, since tests compare the digests of different servers. It has two steps: *adding* a text
//! exclusive-ors its SHA-1 to the digest, so that order does not matter; *chaining* adds a text and then replaces the
//! digest by its own SHA-1, so that order does.

use crate::store::{EntryRef, Store, StrView};
use sha1::{Digest, Sha1};
use std::fmt;
use weir_structs::number::format_i64;

/// A digest of values, keys or whole data sets.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct DataDigest([u8; 20]);

/// Number of the type in the digest of a value.
const STRING: u32 = 0;

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
                digest.chain_value(entry);
                whole.add(&digest.0);
            }
        }
        whole
    }

    /// Of a value and whether it has a deadline.
    pub(super) fn of_value(entry: EntryRef<'_>) -> DataDigest {
        let mut digest = DataDigest::default();
        digest.chain_value(entry);
        digest
    }

    fn chain_value(&mut self, entry: EntryRef<'_>) {
        self.chain(&STRING.to_be_bytes());
        match entry.str() {
            Some(StrView::Int(int)) => self.chain(format_i64(int).as_bytes()),
            Some(StrView::Bytes(bytes)) => self.chain(bytes),
            Some(StrView::Blob(blob)) => self.chain(blob.as_bytes()),
            None => {}
        }
        if entry.expire_at().is_some() {
            self.add(b"!!expire!!");
        }
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
        let value = DataDigest::of_value(store.db(1).peek(key).unwrap());
        assert_eq!(value.to_string(), "5279988c5d1911f474bcbbf2f0a87012d40f8459");
    }
}
