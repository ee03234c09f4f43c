//! Where the commands of this family find sorted sets, and how they tell of changes.

use crate::command::effects::{Effects, EventClass};
use crate::command::{Cx, Error};
use crate::config::Config;
use crate::store::{Key, Store, Write};
use weir_structs::zset::{ZsetLimits, ZsetMut, ZsetRef};

/// Up to where sorted sets are kept small.
#[inline]
pub(in crate::command) fn limits(config: &Config) -> ZsetLimits {
    let count = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    ZsetLimits { entries: count(config.zset_max_listpack_entries), value_bytes: count(config.zset_max_listpack_value) }
}

/// Looks a sorted set up to read it; `None` if there is no such key. Counts a hit or a miss, and tells of the miss.
///
/// # Errors
/// The value is no sorted set.
#[inline]
pub(in crate::command) fn read<'s>(
    store: &'s mut Store,
    db: usize,
    key: Key<'_>,
    effects: &mut Effects,
) -> Result<Option<ZsetRef<'s>>, Error> {
    match store.db(db).get(key) {
        Some(entry) => ZsetRef::of(entry).ok_or(Error::WRONG_TYPE).map(Some),
        None => {
            effects.event(EventClass::MISS, "keymiss", key.name, db);
            Ok(None)
        }
    }
}

/// Looks a sorted set up to change it; `None` if there is no such key.
///
/// # Errors
/// The value is no sorted set.
#[inline]
pub(super) fn find<'s>(store: &'s mut Store, db: usize, key: Key<'_>) -> Result<Option<Write<'s>>, Error> {
    match store.db(db).get_mut(key) {
        Some(write) if ZsetRef::of(write.as_ref()).is_none() => Err(Error::WRONG_TYPE),
        found => Ok(found),
    }
}

/// The sorted set that [`find`] has found.
#[inline]
pub(super) fn set_of<'w>(write: &'w Write<'_>) -> Result<ZsetRef<'w>, Error> {
    ZsetRef::of(write.as_ref()).ok_or(Error::WRONG_TYPE)
}

/// Removes the members of some ranks, and with the last one the key. The ranks are those of members. Says whether the key
/// is gone.
pub(super) fn remove_ranks(mut write: Write<'_>, ranks: std::ops::Range<u64>, limits: ZsetLimits) -> bool {
    let len = ZsetRef::of(write.as_ref()).map_or(0, ZsetRef::len);
    if ranks == (0..len) {
        write.remove();
        return true;
    }
    if let Some(mut zset) = ZsetMut::of(&mut write.value_mut(), limits) {
        zset.remove_ranks(ranks, |_, _| ());
    }
    false
}

/// Tells of `count` members that were taken out by `event`, perhaps the last ones.
#[inline]
pub(super) fn tell_removed(cx: &mut Cx<'_>, key: Key<'_>, event: &'static str, count: u64, emptied: bool) {
    cx.effects.changed(count);
    cx.effects.event(EventClass::ZSET, event, key.name, cx.db_index);
    if emptied {
        cx.effects.event(EventClass::GENERIC, "del", key.name, cx.db_index);
    }
}
