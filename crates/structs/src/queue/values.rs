//! Which ready messages have which value of a header.

use std::collections::BTreeMap;

use super::Parcel;
use super::keys::Keys;

/// What a value takes beside its bytes, about.
const VALUE_BYTES: usize = size_of::<(Box<[u8]>, Keys)>() * 3 / 2 + 16;
/// What a message takes, about.
const MESSAGE_BYTES: usize = 12;

/// Ready messages by the value of a header.
#[derive(Clone, Debug)]
pub(super) struct Values {
    header: Box<[u8]>,
    by_value: BTreeMap<Box<[u8]>, Keys>,
    bytes: usize,
}

impl Values {
    pub(super) fn new(header: &[u8]) -> Values {
        Values { header: header.into(), by_value: BTreeMap::new(), bytes: 0 }
    }

    /// Knows of no message any more. Gives what it knew.
    pub(super) fn forget(&mut self) -> Values {
        let none = Values::new(&self.header);
        std::mem::replace(self, none)
    }

    /// The value that a message has.
    pub(super) fn of<'p>(&self, parcel: &'p Parcel) -> Option<&'p [u8]> {
        parcel.header(&self.header)
    }

    /// The highest place of a ready message with a value.
    pub(super) fn last(&self, value: &[u8]) -> Option<u64> {
        self.by_value.get(value)?.last()
    }

    /// The lowest place of one.
    pub(super) fn first(&self, value: &[u8]) -> Option<u64> {
        self.by_value.get(value)?.first()
    }

    /// The message at a place is ready.
    pub(super) fn enter(&mut self, parcel: &Parcel, key: u64) {
        let Some(value) = parcel.header(&self.header) else { return };
        self.bytes += MESSAGE_BYTES;
        match self.by_value.get_mut(value) {
            Some(keys) => keys.insert(key),
            None => {
                self.bytes += VALUE_BYTES + value.len();
                self.by_value.insert(value.into(), Keys::One(key));
            }
        }
    }

    /// It is not any more.
    pub(super) fn leave(&mut self, parcel: &Parcel, key: u64) {
        let Some(value) = parcel.header(&self.header) else { return };
        let Some(keys) = self.by_value.get_mut(value) else { return };
        self.bytes -= MESSAGE_BYTES;
        keys.remove(key);
        if keys.is_empty() {
            self.by_value.remove(value);
            self.bytes -= VALUE_BYTES + value.len();
        }
    }

    /// Bytes on the heap, about.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Values>() + self.header.len() + self.bytes
    }
}
