//! Members by chance: SPOP takes them out, SRANDMEMBER shows them.

use super::place::{limits, read, reply_member, tell_removed};
use crate::command::kept_words::KeptWords;
use crate::command::spec::{Acl, Arg, ArgKind, Flags, Group, KeyFlags, KeySpec, Spec};
use crate::command::table::{DataFn, Row};
use crate::command::{Cx, Error, args, repeats};
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};
use weir_structs::set::{SetMut, SetRef};

const WRITE_FAST: Flags = Flags::WRITE.union(Flags::FAST);
const ACL_READ_SET_SLOW: Acl = Acl::READ.union(Acl::SET).union(Acl::SLOW);
const ACL_WRITE_SET_FAST: Acl = Acl::WRITE.union(Acl::SET).union(Acl::FAST);
const KEY_RO_ACCESS: KeyFlags = KeyFlags::RO.union(KeyFlags::ACCESS);
const KEY_RW_ACCESS_DELETE: KeyFlags = KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE);

/// Members that are named in one command in place of SPOP.
const FED_MEMBERS: usize = 1024;

/// Commands that take or show members by chance.
pub const COMMANDS: &[Row<DataFn>] = &[
    Row::new(
        Spec::new("spop", -2, WRITE_FAST, ACL_WRITE_SET_FAST, Group::Set, "1.0.0")
            .keys(&[KeySpec::one(1, KEY_RW_ACCESS_DELETE)])
            .tips(&["nondeterministic_output"])
            .doc(
                "O(1) for one member, O(N) where N is the absolute value of the count.",
                "Takes members picked at random from a set.",
            )
            .history(&[("3.2.0", "Gained the `count` argument.")])
            .args(&[Arg::key("key", 0), Arg::new("count", ArgKind::Integer).since("3.2.0").optional()]),
        spop_command,
    ),
    Row::new(
        Spec::new("srandmember", -2, Flags::READONLY, ACL_READ_SET_SLOW, Group::Set, "1.0.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .tips(&["nondeterministic_output"])
            .doc(
                "O(1) for one member, O(N) where N is the absolute value of the count.",
                "Returns members of a set picked at random.",
            )
            .history(&[("2.6.0", "Gained the `count` argument.")])
            .args(&[Arg::key("key", 0), Arg::new("count", ArgKind::Integer).since("2.6.0").optional()]),
        srandmember_command,
    ),
];

fn spop_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let key = cx.key(1);
    let count = match cx.argc() {
        2 => None,
        3 => Some(cx.int(2).ok().and_then(|count| usize::try_from(count).ok()).ok_or(Error::NOT_POSITIVE)?),
        _ => return Err(Error::SYNTAX),
    };
    let mut rng = rng(cx);
    let Some(mut entry) = cx.store.db(cx.db_index).get_mut(key) else {
        match count {
            None => cx.reply.null(),
            Some(_) => cx.reply.set(0),
        }
        return Ok(());
    };
    let len = SetRef::of(entry.as_ref()).ok_or(Error::WRONG_TYPE)?.len();
    let popped = count.unwrap_or(1).min(len);
    if count.is_some() {
        cx.reply.set(popped);
    }
    if popped == 0 {
        return Ok(());
    }
    let (limits, reply) = (limits(cx.config), &mut cx.reply);
    let (feeds, mut picked) = (cx.effects.feeds(), KeptWords::default());
    if popped == len {
        if let Some(set) = SetRef::of(entry.as_ref()) {
            set.iter().for_each(|member| reply_member(reply, member));
        }
        entry.remove();
    } else {
        let mut value = entry.value_mut();
        let freed = SetMut::of(&mut value, &limits).map(|mut set| {
            set.pop_several(popped, &mut || rng.next_u64(), &mut |member| {
                if feeds {
                    picked.push(&member.text());
                }
                reply_member(reply, member);
            })
        });
        freed.into_iter().for_each(|freed| value.free(freed));
    }
    if popped == len {
        let name: &[u8] = if cx.config.lazyfree_lazy_server_del { b"UNLINK" } else { b"DEL" };
        cx.effects.feed_as(&[name, key.name]);
    }
    for members in picked.chunks(FED_MEMBERS) {
        cx.effects.feed_list(&[b"SREM", key.name], members);
    }
    tell_removed(cx, key, "spop", popped == len);
    cx.effects.changed(popped as u64);
    Ok(())
}

fn srandmember_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let key = cx.key(1);
    let count = match cx.argc() {
        2 => None,
        3 => Some(args::int_in(cx.arg(2), -i64::MAX, i64::MAX)?),
        _ => return Err(Error::SYNTAX),
    };
    let mut rng = rng(cx);
    let rng = &mut || rng.next_u64();
    let (set, reply) = (read(cx.store, cx.db_index, key, cx.effects)?, &mut cx.reply);
    match (set, count) {
        (None, None) => reply.null(),
        (None, Some(_)) => reply.array(0),
        (Some(set), None) => {
            if let Some(member) = set.random(rng) {
                reply_member(reply, member);
            }
        }
        (Some(set), Some(count @ 0..)) => {
            let count = usize::try_from(count).unwrap_or(usize::MAX).min(set.len());
            reply.array(count);
            set.random_distinct(count, rng, &mut |member| reply_member(reply, member));
        }
        (Some(set), Some(count)) => {
            repeats::check(count.unsigned_abs(), set.len() as u64, set.memory_bytes())?;
            let count = usize::try_from(count.unsigned_abs()).map_err(|_| Error::OUT_OF_RANGE)?;
            reply.array(count);
            set.random_repeated(count, rng, &mut |member| reply_member(reply, member));
        }
    }
    Ok(())
}

/// A generator for the rest of a command, which has the store's own in its hands no more once it has looked up a key.
fn rng(cx: &mut Cx<'_>) -> SmallRng {
    SmallRng::seed_from_u64(cx.store.random_u64())
}
