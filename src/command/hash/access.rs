//! Looking a hash up to read or to change it, and what is told of a change.

use crate::command::effects::EventClass;
use crate::command::reply::Reply;
use crate::command::{Cx, Error};
use crate::config::Config;
use crate::store::{PackedKind, Write};
use weir_structs::hash::{HashLimits, HashMut, HashRef};

/// Gives the hash at argument 1 to `read`, or nothing where there is no such key, of which is told.
///
/// # Errors
/// The key holds something else.
#[inline]
pub(super) fn read<'c, T>(
    cx: &mut Cx<'c>,
    read: impl FnOnce(&mut Reply<'c>, Option<HashRef<'_>>) -> T,
) -> Result<T, Error> {
    let key = cx.key(1);
    if let Some(entry) = cx.store.db(cx.db_index).get(key) {
        let hash = HashRef::of(entry).ok_or(Error::WRONG_TYPE)?;
        return Ok(read(&mut cx.reply, Some(hash)));
    }
    cx.effects.event(EventClass::MISS, "keymiss", key.name, cx.db_index);
    Ok(read(&mut cx.reply, None))
}

/// Whether there is a hash at argument 1; leaves no trace.
///
/// # Errors
/// The key holds something else.
pub(super) fn exists(cx: &mut Cx<'_>) -> Result<bool, Error> {
    let key = cx.key(1);
    match cx.db().peek(key) {
        None => Ok(false),
        Some(entry) => HashRef::of(entry).map(|_| true).ok_or(Error::WRONG_TYPE),
    }
}

/// What a command did to a hash.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Changes {
    /// How many, as they are counted for `rdb_changes_since_last_save`; with 0 nobody hears of anything.
    pub(super) count: usize,
    /// How many fields expired, or were found expired and set anew.
    pub(super) expired: usize,
}

/// What followed from them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Done<T> {
    /// What the command wanted to know.
    pub(super) result: T,
    /// The key did not exist before, and does now.
    created: bool,
    /// The key does not exist any more.
    removed: bool,
}

/// Gives the hash at argument 1 to `change`. Nothing if there is no such key. A hash that is left empty is removed.
///
/// # Errors
/// The key holds something else; or what `change` says, which then changed nothing.
#[inline]
pub(super) fn change<'c, T>(
    cx: &mut Cx<'c>,
    change: impl FnOnce(&mut Reply<'c>, &mut HashMut<'_, '_>) -> Result<(Changes, T), Error>,
) -> Result<Option<Done<T>>, Error> {
    let key = cx.key(1);
    let Some(entry) = cx.store.db(cx.db_index).get_mut(key) else { return Ok(None) };
    let (changes, done) = apply(entry, false, &mut cx.reply, cx.config, change)?;
    cx.store.count_expired_fields(changes.expired);
    cx.effects.changed(changes.count as u64);
    Ok(Some(done))
}

/// The same, of a new hash where there is no such key.
#[inline]
pub(super) fn change_or_create<'c, T>(
    cx: &mut Cx<'c>,
    change: impl FnOnce(&mut Reply<'c>, &mut HashMut<'_, '_>) -> Result<(Changes, T), Error>,
) -> Result<Done<T>, Error> {
    let key = cx.key(1);
    let (entry, created) = cx.store.db(cx.db_index).get_or_create(key, PackedKind::Hash);
    let (changes, done) = apply(entry, created, &mut cx.reply, cx.config, change)?;
    cx.store.count_expired_fields(changes.expired);
    cx.effects.changed(changes.count as u64);
    Ok(done)
}

#[inline]
fn apply<'c, T>(
    mut entry: Write<'_>,
    created: bool,
    reply: &mut Reply<'c>,
    config: &Config,
    change: impl FnOnce(&mut Reply<'c>, &mut HashMut<'_, '_>) -> Result<(Changes, T), Error>,
) -> Result<(Changes, Done<T>), Error> {
    let (outcome, is_empty) = entry.try_change(|value| {
        let Some(mut hash) = HashMut::of(value, limits(config)) else {
            return (false, (Err(Error::WRONG_TYPE), false));
        };
        let outcome = change(reply, &mut hash);
        let changed = outcome.as_ref().is_ok_and(|(changes, _)| changes.count > 0);
        (changed, (outcome, hash.as_ref().is_empty()))
    });
    if is_empty {
        entry.remove();
    }
    let (changes, result) = outcome?;
    Ok((changes, Done { result, created: created && !is_empty, removed: is_empty && !created }))
}

pub(in crate::command) fn limits(config: &Config) -> HashLimits {
    HashLimits {
        fields: usize::try_from(config.hash_max_listpack_entries).unwrap_or(usize::MAX),
        value_bytes: usize::try_from(config.hash_max_listpack_value).unwrap_or(usize::MAX),
    }
}

impl<T> Done<T> {
    /// Tells what happened, in order; before it that the key is new, after it that it is gone.
    pub(super) fn tell(&self, cx: &mut Cx<'_>, events: &[&'static str]) {
        if self.created {
            cx.effects.event(EventClass::NEW, "new", cx.arg(1), cx.db_index);
        }
        tell(cx, events, self.removed);
    }
}

/// Tells what happened to the hash at argument 1, and that it is gone.
pub(super) fn tell(cx: &mut Cx<'_>, events: &[&'static str], removed: bool) {
    let key = cx.arg(1);
    for event in events {
        cx.effects.event(EventClass::HASH, event, key, cx.db_index);
    }
    if removed {
        cx.effects.event(EventClass::GENERIC, "del", key, cx.db_index);
    }
}
