//! Entries as replies.

use crate::command::reply::Reply;
use weir_structs::stream::{Entry, StreamId, Value};

/// An id.
pub(super) fn reply_id(reply: &mut Reply<'_>, id: StreamId) {
    reply.bulk(&id.text());
}

/// An entry: its id and its fields and values.
#[inline]
pub(super) fn reply_entry(reply: &mut Reply<'_>, entry: &Entry<'_>) {
    reply.array(2);
    reply_id(reply, entry.id);
    reply_pairs(reply, entry);
}

/// The fields and values of an entry, in one array.
#[inline]
pub(super) fn reply_pairs(reply: &mut Reply<'_>, entry: &Entry<'_>) {
    let pairs = entry.pairs();
    reply.array(pairs.len() * 2);
    for (field, value) in pairs {
        reply.bulk(field);
        match value {
            Value::Int(number) => reply.bulk_int(number),
            Value::Bytes(bytes) => reply.bulk(bytes),
        }
    }
}

/// An array of entries.
pub(super) fn reply_entries<'e>(reply: &mut Reply<'_>, entries: impl Iterator<Item = Entry<'e>>) {
    let array = reply.deferred_array();
    let mut count = 0;
    for entry in entries {
        reply_entry(reply, &entry);
        count += 1;
    }
    reply.close(array, count);
}
