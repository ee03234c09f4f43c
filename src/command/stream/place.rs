//! The stream at a key.

use crate::command::Error;
use crate::command::effects::{Effects, EventClass};
use crate::store::{Big, Db, Key, ValueRef};
use weir_structs::stream::Stream;

/// The stream at a key, to be read; `None`, of which is told, if there is no such key. Moves the key's access clock.
pub(super) fn read<'a>(db: Db<'a>, effects: &mut Effects, key: Key<'_>) -> Result<Option<&'a Stream>, Error> {
    let index = db.index();
    match db.get(key).map(|entry| entry.value()) {
        None => {
            effects.event(EventClass::MISS, "keymiss", key.name, index);
            Ok(None)
        }
        Some(ValueRef::Stream(stream)) => Ok(Some(stream)),
        Some(_) => Err(Error::WRONG_TYPE),
    }
}

/// The stream at a key that [`read`] has found, once more in the same command.
pub(super) fn peek<'a>(db: Db<'a>, key: Key<'_>) -> Option<&'a Stream> {
    match db.peek(key)?.value() {
        ValueRef::Stream(stream) => Some(stream),
        _ => None,
    }
}

/// Lets `change` change the stream at a key; `None` if there is no such key. If its result is a change of the key, as
/// `is_change` says, whoever watches the key or waits at it hears of it; nobody does if it failed.
#[inline]
pub(super) fn change<R>(
    db: Db<'_>,
    key: Key<'_>,
    change: impl FnOnce(&mut Stream) -> Result<R, Error>,
    is_change: impl FnOnce(&R) -> bool,
) -> Result<Option<R>, Error> {
    let Some(mut entry) = db.get_mut(key) else { return Ok(None) };
    entry.try_change(|value| {
        let Some(mut stream) = value.stream_mut() else { return (false, Err(Error::WRONG_TYPE)) };
        let result = change(&mut stream);
        (result.as_ref().is_ok_and(is_change), result.map(Some))
    })
}

/// Lets `note` change what a stream keeps about its readers and producers, which is no change of the key.
#[inline]
pub(super) fn note<R>(
    db: Db<'_>,
    key: Key<'_>,
    note: impl FnOnce(&mut Stream) -> Result<R, Error>,
) -> Result<Option<R>, Error> {
    change(db, key, note, |_| false)
}

/// The same where those who wait at the key may get something else afterwards, if `wakes` says so of the result.
pub(super) fn note_and_wake<R>(
    db: Db<'_>,
    key: Key<'_>,
    note: impl FnOnce(&mut Stream) -> Result<R, Error>,
    wakes: impl FnOnce(&R) -> bool,
) -> Result<Option<R>, Error> {
    let Some(mut entry) = db.get_mut(key) else { return Ok(None) };
    let result = match entry.value_mut_unheard().stream_mut() {
        Some(mut stream) => note(&mut stream)?,
        None => return Err(Error::WRONG_TYPE),
    };
    if wakes(&result) {
        entry.wake_waiters();
    }
    Ok(Some(result))
}

/// Puts a stream at a key that is not there.
pub(super) fn create(db: Db<'_>, key: Key<'_>, stream: Box<Stream>) {
    db.put_big(key, Big::Stream(stream));
}
