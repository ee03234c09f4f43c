//! Types of values, as TYPE replies them.

use crate::store::{EntryRef, Kind};

/// The type of a value.
pub(super) fn type_name(entry: EntryRef<'_>) -> &'static str {
    match entry.kind() {
        Kind::Int | Kind::Str | Kind::StrRaw | Kind::Blob => "string",
        Kind::HashPacked | Kind::Hash => "hash",
        Kind::SetInts | Kind::SetPacked | Kind::Set => "set",
        Kind::ZsetPacked | Kind::Zset => "zset",
        Kind::ListPacked | Kind::List => "list",
        Kind::Stream => "stream",
        Kind::Queue => "mq.queue",
        Kind::Exchange => "mq.exchange",
        Kind::Tree => "cfg.store",
    }
}
