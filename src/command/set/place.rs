//! Where the commands of this family find sets, and how they tell of changes.

use crate::command::effects::{Effects, EventClass};
use crate::command::reply::Reply;
use crate::command::{Cx, Error};
use crate::config::Config;
use crate::store::{Key, Store};
use weir_structs::packed::Element;
use weir_structs::set::{Member, SetLimits, SetRef};

/// Up to where sets are kept small.
#[inline]
pub(in crate::command) fn limits(config: &Config) -> SetLimits {
    let count = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    SetLimits {
        ints_max: count(config.set_max_intset_entries),
        packed_max: count(config.set_max_listpack_entries),
        packed_len_max: count(config.set_max_listpack_value),
    }
}

/// Looks a set up to read it; `None` if there is no such key. Counts a hit or a miss, and tells of the miss.
///
/// # Errors
/// The value is no set.
#[inline]
pub(super) fn read<'s>(
    store: &'s mut Store,
    db: usize,
    key: Key<'_>,
    effects: &mut Effects,
) -> Result<Option<SetRef<'s>>, Error> {
    match store.db(db).get(key) {
        Some(entry) => SetRef::of(entry).ok_or(Error::WRONG_TYPE).map(Some),
        None => {
            effects.event(EventClass::MISS, "keymiss", key.name, db);
            Ok(None)
        }
    }
}

/// Replies a member.
#[inline]
pub(super) fn reply_member(reply: &mut Reply<'_>, member: Member<'_>) {
    match member {
        Element::Int(value) => reply.bulk_int(value),
        Element::Bytes(bytes) => reply.bulk(bytes),
    }
}

/// Tells of members that were added, to a key that is perhaps new.
#[inline]
pub(super) fn tell_added(cx: &mut Cx<'_>, key: Key<'_>, is_new: bool) {
    if is_new {
        cx.effects.event(EventClass::NEW, "new", key.name, cx.db_index);
    }
    cx.effects.event(EventClass::SET, "sadd", key.name, cx.db_index);
}

/// Tells of members that were taken out by `event`, perhaps the last ones.
#[inline]
pub(super) fn tell_removed(cx: &mut Cx<'_>, key: Key<'_>, event: &'static str, emptied: bool) {
    cx.effects.event(EventClass::SET, event, key.name, cx.db_index);
    if emptied {
        cx.effects.event(EventClass::GENERIC, "del", key.name, cx.db_index);
    }
}
