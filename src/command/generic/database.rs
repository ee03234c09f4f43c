//! Commands on whole databases. Emptying one takes the same short time whatever is in it: the old contents are freed in the
//! background, with SYNC too, since nobody can see the difference.

use crate::command::args;
use crate::command::spec::{Acl, Arg, ArgKind, DatabaseArgs, Flags, Group, Spec};
use crate::command::table::{DataFn, Row};
use crate::command::{Cx, Error};
use std::ops::Range;

const ACL_KEYSPACE_WRITE_SLOW_DANGEROUS: Acl = Acl::KEYSPACE.union(Acl::WRITE).union(Acl::SLOW).union(Acl::DANGEROUS);

/// Commands on whole databases.
pub const COMMANDS: &[Row<DataFn>] = &[
    Row::new(
        Spec::new(
            "dbsize",
            1,
            Flags::READONLY.union(Flags::FAST),
            Acl::KEYSPACE.union(Acl::READ).union(Acl::FAST),
            Group::Server,
            "1.0.0",
        )
        .tips(&["request_policy:all_shards", "response_policy:agg_sum"])
        .doc("O(1)", "Counts the keys of the database."),
        dbsize_command,
    ),
    Row::new(
        Spec::new("flushdb", -1, Flags::WRITE, ACL_KEYSPACE_WRITE_SLOW_DANGEROUS, Group::Server, "1.0.0")
            .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
            .doc("O(N) where N is the number of keys in the database.", "Deletes every key of the database.")
            .history(&[("4.0.0", "Gained the `ASYNC` option."), ("6.2.0", "Gained the `SYNC` option.")])
            .args(&[Arg::one_of(
                "flush-type",
                &[Arg::word("async", "ASYNC").since("4.0.0"), Arg::word("sync", "SYNC").since("6.2.0")],
            )
            .optional()]),
        flushdb_command,
    ),
    Row::new(
        Spec::new("flushall", -1, Flags::WRITE, ACL_KEYSPACE_WRITE_SLOW_DANGEROUS, Group::Server, "1.0.0")
            .databases(DatabaseArgs::Every)
            .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
            .doc("O(N) where N is the number of keys in all databases.", "Deletes every key of every database.")
            .history(&[("4.0.0", "Gained the `ASYNC` option."), ("6.2.0", "Gained the `SYNC` option.")])
            .args(&[Arg::one_of(
                "flush-type",
                &[Arg::word("async", "ASYNC").since("4.0.0"), Arg::word("sync", "SYNC").since("6.2.0")],
            )
            .optional()]),
        flushall_command,
    ),
    Row::new(
        Spec::new(
            "swapdb",
            3,
            Flags::WRITE.union(Flags::FAST),
            Acl::KEYSPACE.union(Acl::WRITE).union(Acl::FAST).union(Acl::DANGEROUS),
            Group::Server,
            "4.0.0",
        )
        .databases(DatabaseArgs::At(&[1, 2]))
        .doc(
            "O(N) where N is the number of clients that watch or wait for their keys.",
            "Exchanges two databases, so that clients of one see the keys of the other.",
        )
        .args(&[Arg::new("index1", ArgKind::Integer), Arg::new("index2", ArgKind::Integer)]),
        swapdb_command,
    ),
];

fn dbsize_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let len = cx.db().len();
    cx.reply.count(len);
    Ok(())
}

fn flushdb_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let only = cx.db_index;
    flush(cx, only..only + 1)
}

fn flushall_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let all = cx.store.databases();
    flush(cx, 0..all)?;
    cx.effects.flushed_all = true;
    Ok(())
}

fn flush(cx: &mut Cx<'_>, databases: Range<usize>) -> Result<(), Error> {
    let mut words = cx.words(1);
    // Databases are freed elsewhere in any case.
    let lazily = if words.accept("ASYNC") {
        true
    } else if words.accept("SYNC") {
        false
    } else {
        cx.config.lazyfree_lazy_user_flush
    };
    if words.left() > 0 {
        return Err(Error::SYNTAX);
    }
    // Also where there is nothing to empty.
    let argv = cx.argv;
    cx.effects.feed_words(argv.len(), argv.iter());
    for index in databases {
        let keys = cx.store.flush(index, lazily);
        cx.effects.changed(keys as u64);
    }
    cx.reply.ok();
    Ok(())
}

fn swapdb_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let index =
        |arg: &[u8], error: Error| args::int_in(arg, i64::from(i32::MIN), i64::from(i32::MAX)).map_err(|_| error);
    let first = index(cx.arg(1), Error::INVALID_FIRST_DB)?;
    let second = index(cx.arg(2), Error::INVALID_SECOND_DB)?;
    let checked =
        |index: i64| usize::try_from(index).ok().filter(|&i| i < cx.store.databases()).ok_or(Error::DB_OUT_OF_RANGE);
    let (first, second) = (checked(first)?, checked(second)?);
    cx.store.swap(first, second);
    cx.effects.changed(1);
    cx.reply.ok();
    Ok(())
}
