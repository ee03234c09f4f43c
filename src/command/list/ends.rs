//! What commands on lists share: taking elements from an end, moving one between lists, and telling of it.

use crate::command::effects::EventClass;
use crate::command::reply::Reply;
use crate::command::{Cx, Error};
use crate::config::Config;
use crate::store::{BLOB_MIN, Key, PackedKind, Store, Write};
use std::ops::ControlFlow;
use weir_structs::list::{Element, End, Limits, ListMut, ListRef};

/// The limits in force.
#[inline]
pub(super) fn limits(cx: &Cx<'_>) -> Limits {
    limits_by(cx.config, cx.store)
}

/// The same outside of a command.
#[inline]
pub(in crate::command) fn limits_by(config: &Config, store: &Store) -> Limits {
    let depth = usize::try_from(config.list_compress_depth).unwrap_or(usize::MAX);
    let limits = Limits::new(i64::from(config.list_max_listpack_size), depth);
    match store.list_apart_from() {
        None => limits,
        Some(bytes) => limits.apart_from(bytes),
    }
}

/// `LEFT` or `RIGHT`.
pub(super) fn end(arg: &[u8]) -> Result<End, Error> {
    match arg {
        _ if arg.eq_ignore_ascii_case(b"LEFT") => Ok(End::Front),
        _ if arg.eq_ignore_ascii_case(b"RIGHT") => Ok(End::Back),
        _ => Err(Error::SYNTAX),
    }
}

/// Replies with an element: a large one by reference.
#[inline]
pub(super) fn reply_element(reply: &mut Reply<'_>, element: Element<'_>) {
    match element {
        Element::Int(int) => reply.bulk_int(int),
        Element::Bytes(bytes) => reply.bulk(bytes),
        Element::Blob(blob) if blob.len() >= BLOB_MIN => reply.bulk_blob(blob),
        Element::Blob(blob) => reply.bulk(blob),
    }
}

/// Replies with up to `count` elements, from the one with `from` in front of it on towards an end.
pub(super) fn reply_elements(reply: &mut Reply<'_>, list: ListRef<'_>, from: usize, count: usize, towards: End) {
    list.visit(from, count, towards, |element| {
        reply_element(reply, element);
        ControlFlow::Continue(())
    });
}

/// The list at a key, to be changed.
///
/// # Errors
/// The value is no list.
#[inline]
pub(super) fn list_to_change<'s>(store: &'s mut Store, db: usize, key: Key<'_>) -> Result<Option<Write<'s>>, Error> {
    let write = store.db(db).get_mut(key);
    match &write {
        Some(write) if ListRef::of(write.as_ref()).is_none() => Err(Error::WRONG_TYPE),
        _ => Ok(write),
    }
}

/// Changes a list. `change` says whether it did: otherwise nobody hears of it, though the list's encoding may be another.
#[inline]
pub(super) fn change_list<T>(
    write: &mut Write<'_>,
    limits: Limits,
    change: impl FnOnce(&mut ListMut<'_, '_>) -> (bool, T),
) -> Result<T, Error> {
    write.try_change(|value| match ListMut::of(value, limits) {
        None => (false, Err(Error::WRONG_TYPE)),
        Some(mut list) => {
            let (changed, result) = change(&mut list);
            (changed, Ok(result))
        }
    })
}

/// How many elements are asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wanted {
    /// One, by itself.
    One,
    /// Up to so many, in an array.
    UpTo(usize),
}

/// Takes elements from an end of the list at a key and replies with them, after what `before` replies; `false` if there is no
/// list. Tells of the change.
///
/// # Errors
/// The value is no list.
#[inline]
pub(super) fn take(
    cx: &mut Cx<'_>,
    key: Key<'_>,
    end: End,
    wanted: Wanted,
    before: impl FnOnce(&mut Reply<'_>),
) -> Result<bool, Error> {
    let limits = limits(cx);
    let mut found = cx.store.db(cx.db_index).get_mut(key);
    let Some(write) = &mut found else { return Ok(false) };
    let list = ListRef::of(write.as_ref()).ok_or(Error::WRONG_TYPE)?;
    let len = list.len();
    before(&mut cx.reply);
    let count = match wanted {
        Wanted::One => 1,
        Wanted::UpTo(most) => {
            let count = most.min(len);
            cx.reply.array(count);
            count
        }
    };
    let emptied = count == len;
    if count == 1 && !emptied {
        pop(write, limits, end, |element| reply_element(&mut cx.reply, element));
    } else {
        let (from, towards) = match end {
            End::Front => (0, End::Back),
            End::Back => (len - 1, End::Front),
        };
        reply_elements(&mut cx.reply, list, from, count, towards);
        if !emptied {
            cut(write, limits, end, count);
        } else if let Some(write) = found {
            write.remove();
        }
    }
    tell_taken(cx, key, end, count, emptied);
    Ok(true)
}

/// Removes the element at an end of a list of several, after a look at it.
#[inline]
fn pop(write: &mut Write<'_>, limits: Limits, end: End, look: impl FnOnce(Element<'_>)) {
    let mut value = write.value_mut();
    let Some(mut list) = ListMut::of(&mut value, limits) else { return };
    let ((), rest) = list.pop(end, look);
    value.free(rest);
}

/// Removes some of a list's elements, not all of them.
fn cut(write: &mut Write<'_>, limits: Limits, end: End, count: usize) {
    let mut value = write.value_mut();
    let Some(mut list) = ListMut::of(&mut value, limits) else { return };
    let rest = list.cut(end, count);
    value.free(rest);
}

/// Tells that elements were taken from an end, and whether the list is gone now.
#[inline]
pub(super) fn tell_taken(cx: &mut Cx<'_>, key: Key<'_>, end: End, count: usize, emptied: bool) {
    cx.effects.changed(count as u64);
    let event = match end {
        End::Front => "lpop",
        End::Back => "rpop",
    };
    cx.effects.event(EventClass::LIST, event, key.name, cx.db_index);
    if emptied {
        cx.effects.event(EventClass::GENERIC, "del", key.name, cx.db_index);
    }
}

/// The command that takes elements from an end of one list.
pub(super) fn pop_name(end: End) -> &'static [u8] {
    match end {
        End::Front => b"LPOP",
        End::Back => b"RPOP",
    }
}

/// The event of adding elements at an end.
pub(super) fn push_event(end: End) -> &'static str {
    match end {
        End::Front => "lpush",
        End::Back => "rpush",
    }
}

/// Moves an element from one end of the list at argument 1 to an end of the list at argument 2, and replies with it; `false`
/// if there is no first list.
///
/// # Errors
/// A value is no list. Nothing has been changed then.
pub(super) fn move_element(cx: &mut Cx<'_>, from: End, to: End) -> Result<bool, Error> {
    let limits = limits(cx);
    let (source, target) = (cx.key(1), cx.key(2));
    let Some(write) = list_to_change(cx.store, cx.db_index, source)? else { return Ok(false) };
    let list = ListRef::of(write.as_ref()).ok_or(Error::WRONG_TYPE)?;
    let len = list.len();
    let at = match from {
        End::Front => 0,
        End::Back => len - 1,
    };
    let Some(element) = list.get(at, |element| element.keep()) else { return Ok(false) };
    let element = element.as_element();
    let is_same = source.name == target.name;
    if !is_same {
        list_to_change(cx.store, cx.db_index, target)?;
    }
    let (mut write, created) = cx.store.db(cx.db_index).get_or_create(target, PackedKind::List);
    let mut value = write.value_mut();
    let mut list = ListMut::of(&mut value, limits).ok_or(Error::WRONG_TYPE)?;
    if is_same {
        let rest = list.rotate(from, to, element);
        value.free(rest);
    } else {
        list.expect_element(element);
        list.push(to, element);
    }
    drop(value);
    reply_element(&mut cx.reply, element);
    if created {
        cx.effects.event(EventClass::NEW, "new", target.name, cx.db_index);
    }
    cx.effects.event(EventClass::LIST, push_event(to), target.name, cx.db_index);
    let emptied = !is_same && len == 1;
    if !is_same && let Some(mut write) = list_to_change(cx.store, cx.db_index, source)? {
        if emptied {
            write.remove();
        } else {
            pop(&mut write, limits, from, |_| ());
        }
    }
    tell_taken(cx, source, from, 1, emptied);
    Ok(true)
}

/// The element with an index, which counts from the back if it is negative: how many are in front of it. `None` beyond the
/// ends.
#[inline]
pub(super) fn place(index: i64, len: usize) -> Option<usize> {
    let from_front = usize::try_from(index.unsigned_abs()).ok()?;
    if index >= 0 { (from_front < len).then_some(from_front) } else { len.checked_sub(from_front) }
}

/// The elements from one index to another, both included, which count from the back if they are negative; what is beyond the
/// ends is left out.
#[inline]
pub(super) fn range(start: i64, stop: i64, len: usize) -> std::ops::Range<usize> {
    let resolved = |index: i64| {
        let distance = usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX);
        if index >= 0 { Some(distance) } else { len.checked_sub(distance) }
    };
    let start = resolved(start).unwrap_or(0);
    let end = resolved(stop).map_or(0, |stop| stop.saturating_add(1).min(len));
    if start < end { start..end } else { 0..0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_count_from_both_ends() {
        assert_eq!(
            [0, 2, 3, -1, -3, -4].map(|index| place(index, 3)),
            [Some(0), Some(2), None, Some(2), Some(0), None]
        );
        assert_eq!([i64::MAX, i64::MIN].map(|index| place(index, 3)), [None, None]);
    }

    #[test]
    fn ranges_are_cut_at_both_ends() {
        for (start, stop, expected) in [
            (0, -1, 0..5),
            (1, 3, 1..4),
            (-3, -2, 2..4),
            (-100, 100, 0..5),
            (i64::MIN, i64::MAX, 0..5),
            (4, 4, 4..5),
            (5, 9, 0..0),
            (3, 2, 0..0),
            (0, -6, 0..0),
            (0, -5, 0..1),
            (i64::MAX, i64::MAX, 0..0),
            (i64::MIN, i64::MIN, 0..0),
        ] {
            assert_eq!(range(start, stop, 5), expected, "{start} {stop}");
        }
    }
}
