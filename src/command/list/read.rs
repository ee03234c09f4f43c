//! Looking at lists.

use super::ends::{place, range, reply_element, reply_elements};
use crate::command::args;
use crate::command::effects::EventClass;
use crate::command::reply::Reply;
use crate::command::spec::{Acl, Arg, ArgKind, Flags, Group, KeyFlags, KeySpec, Spec};
use crate::command::table::{DataFn, Row};
use crate::command::{Cx, Error};
use std::ops::ControlFlow;
use weir_structs::list::{End, ListRef};

const ACL_READ_LIST_SLOW: Acl = Acl::READ.union(Acl::LIST).union(Acl::SLOW);
const KEY_RO_ACCESS: KeyFlags = KeyFlags::RO.union(KeyFlags::ACCESS);

/// Rows of this file.
pub const COMMANDS: &[Row<DataFn>] = &[
    Row::new(
        Spec::new(
            "llen",
            2,
            Flags::READONLY.union(Flags::FAST),
            Acl::READ.union(Acl::LIST).union(Acl::FAST),
            Group::List,
            "1.0.0",
        )
        .keys(&[KeySpec::one(1, KeyFlags::RO)])
        .doc("O(1)", "Counts the elements of a list.")
        .args(&[Arg::key("key", 0)]),
        llen_command,
    ),
    Row::new(
        Spec::new("lindex", 3, Flags::READONLY, ACL_READ_LIST_SLOW, Group::List, "1.0.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .doc(
                "O(N) where N is the distance of the element from the nearer end.",
                "Returns the element of a list at an index.",
            )
            .args(&[Arg::key("key", 0), Arg::new("index", ArgKind::Integer)]),
        lindex_command,
    ),
    Row::new(
        Spec::new("lrange", 4, Flags::READONLY, ACL_READ_LIST_SLOW, Group::List, "1.0.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .doc(
                "O(S+N) where S is the distance of the range from the nearer end and N its length.",
                "Returns the elements of a list between two indexes.",
            )
            .args(&[Arg::key("key", 0), Arg::new("start", ArgKind::Integer), Arg::new("stop", ArgKind::Integer)]),
        lrange_command,
    ),
    Row::new(
        Spec::new("lpos", -3, Flags::READONLY, ACL_READ_LIST_SLOW, Group::List, "6.0.6")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .doc(
                "O(N) where N is the number of elements compared.",
                "Finds the indexes at which an element stands in a list.",
            )
            .args(&[
                Arg::key("key", 0),
                Arg::new("element", ArgKind::String),
                Arg::new("rank", ArgKind::Integer).token("RANK").optional(),
                Arg::new("num-matches", ArgKind::Integer).token("COUNT").optional(),
                Arg::new("len", ArgKind::Integer).token("MAXLEN").optional(),
            ]),
        lpos_command,
    ),
];

/// Looks at the list at argument 1, or tells of the miss.
#[inline]
fn with_list<'c, T>(
    cx: &mut Cx<'c>,
    look: impl FnOnce(&mut Reply<'c>, Option<ListRef<'_>>) -> Result<T, Error>,
) -> Result<T, Error> {
    let key = cx.key(1);
    match cx.store.db(cx.db_index).get(key) {
        Some(entry) => {
            let list = ListRef::of(entry).ok_or(Error::WRONG_TYPE)?;
            look(&mut cx.reply, Some(list))
        }
        None => {
            cx.effects.event(EventClass::MISS, "keymiss", key.name, cx.db_index);
            look(&mut cx.reply, None)
        }
    }
}

fn llen_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    with_list(cx, |reply, list| {
        reply.count(list.map_or(0, ListRef::len));
        Ok(())
    })
}

fn lindex_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let index = cx.int(2);
    with_list(cx, |reply, list| {
        let Some(list) = list else {
            reply.null();
            return Ok(());
        };
        let at = place(index?, list.len());
        if at.and_then(|at| list.get(at, |element| reply_element(reply, element))).is_none() {
            reply.null();
        }
        Ok(())
    })
}

fn lrange_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (start, stop) = (cx.int(2)?, cx.int(3)?);
    with_list(cx, |reply, list| {
        let wanted = list.map_or(0..0, |list| range(start, stop, list.len()));
        reply.array(wanted.len());
        if let Some(list) = list {
            reply_elements(reply, list, wanted.start, wanted.len(), End::Back);
        }
        Ok(())
    })
}

/// What LPOS is asked for.
struct Search {
    /// Matches are looked for from this end on,
    end: End,
    /// and from this one on they count.
    rank: u64,
    /// How many to tell: 0 for all; `None` for one, not in an array.
    count: Option<usize>,
    /// How many elements to look at.
    walk_max: usize,
}

impl Search {
    fn read(cx: &Cx<'_>) -> Result<Search, Error> {
        let mut search = Search { end: End::Front, rank: 1, count: None, walk_max: usize::MAX };
        let mut words = cx.words(3);
        while words.left() > 0 {
            // A word without a number behind it is as good as any other.
            if words.left() == 1 {
                return Err(Error::SYNTAX);
            }
            if words.accept("RANK") {
                let rank = args::int_in(words.expect()?, -i64::MAX, i64::MAX)?;
                if rank == 0 {
                    return Err(Error::RANK_ZERO);
                }
                search.end = if rank < 0 { End::Back } else { End::Front };
                search.rank = rank.unsigned_abs();
            } else if words.accept("COUNT") {
                search.count = Some(not_negative(words.expect()?).ok_or(Error::COUNT_NEGATIVE)?);
            } else if words.accept("MAXLEN") {
                let most = not_negative(words.expect()?).ok_or(Error::MAXLEN_NEGATIVE)?;
                search.walk_max = if most == 0 { usize::MAX } else { most };
            } else {
                return Err(Error::SYNTAX);
            }
        }
        Ok(search)
    }
}

fn not_negative(arg: &[u8]) -> Option<usize> {
    args::int(arg).ok().and_then(|n| usize::try_from(n).ok())
}

fn lpos_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let search = Search::read(cx)?;
    let element = cx.arg(2);
    with_list(cx, |reply, list| {
        let header = search.count.map(|_| reply.deferred_array());
        let (mut passed, mut told) = (0, 0);
        let most = match search.count {
            None => 1,
            Some(0) => usize::MAX,
            Some(count) => count,
        };
        if let Some(list) = list {
            list.search(element, search.end, search.walk_max, |index| {
                passed += 1;
                if passed >= search.rank {
                    reply.count(index);
                    told += 1;
                }
                if told < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
        }
        match header {
            Some(header) => reply.close(header, told),
            None if told == 0 => reply.null(),
            None => {}
        }
        Ok(())
    })
}
