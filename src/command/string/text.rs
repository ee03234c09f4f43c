//! A string value as the bytes that clients see, and the bytes of a client as the value to store.
//!
//! Integers are stored as such, eight bytes and no more, where their text is what an integer would be written as. Their
//! digits exist only while somebody looks at them.

use crate::command::effects::EventClass;
use crate::command::{Cx, Error};
use crate::store::{Blob, ExpireChange, Key, NewStr, StrView};
use std::ops::Deref;
use weir_structs::number::{self, I64_TEXT_MAX, IntegerText};

/// The bytes of a stored string, without an allocation.
pub(in crate::command) enum Text<'v> {
    /// Of an integer.
    Digits(IntegerText),
    /// As they are stored.
    Stored(&'v [u8]),
}

impl<'v> Text<'v> {
    /// Of a value.
    pub(in crate::command) fn of(value: &'v StrView<'v>) -> Text<'v> {
        match value {
            StrView::Int(int) => Text::Digits(number::format_i64(*int)),
            StrView::Bytes(bytes) => Text::Stored(bytes),
            StrView::Blob(blob) => Text::Stored(blob),
        }
    }
}

impl Deref for Text<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Text::Digits(digits) => digits.as_bytes(),
            Text::Stored(bytes) => bytes,
        }
    }
}

/// The bytes of a stored string that outlive a look at another key; a big one is shared.
pub(in crate::command) enum KeptText {
    /// Copied.
    Copied(Box<[u8]>),
    /// Shared.
    Shared(Blob),
}

impl KeptText {
    /// Of a value; nothing of a missing one.
    pub(in crate::command) fn of(value: Option<StrView<'_>>) -> KeptText {
        match value {
            None => KeptText::Copied(Box::default()),
            Some(StrView::Blob(blob)) => KeptText::Shared(Blob::clone(&blob)),
            Some(value) => KeptText::Copied((*Text::of(&value)).into()),
        }
    }
}

impl Deref for KeptText {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            KeptText::Copied(bytes) => bytes,
            KeptText::Shared(blob) => blob,
        }
    }
}

/// What is stored for a client's bytes: an integer if they are exactly how one is written.
#[inline]
pub(super) fn to_store(bytes: &[u8]) -> NewStr<'_> {
    if bytes.len() <= I64_TEXT_MAX
        && let Some(int) = number::parse_i64(bytes)
    {
        return NewStr::Int(int);
    }
    NewStr::Bytes(bytes)
}

/// Sets a key to a string and tells so: one change, and the events of SET.
#[inline]
pub(super) fn set_and_tell(cx: &mut Cx<'_>, key: Key<'_>, value: &[u8], expiry: ExpireChange) {
    cx.overwrites(key, "string");
    let is_new = cx.db().set(key, to_store(value), expiry);
    changed(cx, key, is_new, "set");
    if let ExpireChange::At(_) = expiry {
        cx.effects.event(EventClass::GENERIC, "expire", key.name, cx.db_index);
    }
}

/// Tells of one change of a string.
#[inline]
pub(super) fn changed(cx: &mut Cx<'_>, key: Key<'_>, is_new: bool, event: &'static str) {
    cx.effects.changed(1);
    if is_new {
        cx.effects.event(EventClass::NEW, "new", key.name, cx.db_index);
    }
    cx.effects.event(EventClass::STRING, event, key.name, cx.db_index);
}

/// Looks a string up to read it and gives it to `read`, or tells of the miss and gives nothing. Counts a hit or a miss.
///
/// # Errors
/// The value is no string.
#[inline]
pub(in crate::command) fn with_string<'c, T>(
    cx: &mut Cx<'c>,
    key: Key<'_>,
    read: impl FnOnce(&mut crate::command::reply::Reply<'c>, Option<StrView<'_>>) -> T,
) -> Result<T, Error> {
    match cx.store.db(cx.db_index).get(key) {
        Some(entry) => {
            let value = entry.str().ok_or(Error::WRONG_TYPE)?;
            Ok(read(&mut cx.reply, Some(value)))
        }
        None => {
            cx.effects.event(EventClass::MISS, "keymiss", key.name, cx.db_index);
            Ok(read(&mut cx.reply, None))
        }
    }
}
