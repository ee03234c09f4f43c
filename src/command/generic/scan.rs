//! Commands that find keys: SCAN a bit at a time, KEYS all at once. Expired keys that SCAN meets are removed.

use crate::command::cursor::{self, Found, ScanOptions, Walked};
use crate::command::spec::{Acl, Arg, ArgKind, Flags, Group, Spec};
use crate::command::table::{DataFn, Row};
use crate::command::value_type::type_name;
use crate::command::{Cx, Error};
use weir_structs::glob::GlobPattern;

/// Commands that find keys.
pub const COMMANDS: &[Row<DataFn>] = &[
    Row::new(
        Spec::new(
            "scan",
            -2,
            Flags::READONLY,
            Acl::KEYSPACE.union(Acl::READ).union(Acl::SLOW),
            Group::Generic,
            "2.8.0",
        )
        .tips(&["nondeterministic_output", "request_policy:special", "response_policy:special"])
        .doc(
            "O(1) for each call, O(N) for a whole walk where N is the number of keys.",
            "Walks the keys of the database, some of them with each call.",
        )
        .history(&[("6.0.0", "Gained the `TYPE` option.")])
        .args(&[
            Arg::new("cursor", ArgKind::Integer),
            Arg::new("pattern", ArgKind::Pattern).token("MATCH").optional(),
            Arg::new("count", ArgKind::Integer).token("COUNT").optional(),
            Arg::new("type", ArgKind::String).token("TYPE").since("6.0.0").optional(),
        ]),
        scan_command,
    ),
    Row::new(
        Spec::new(
            "keys",
            2,
            Flags::READONLY,
            Acl::KEYSPACE.union(Acl::READ).union(Acl::SLOW).union(Acl::DANGEROUS),
            Group::Generic,
            "1.0.0",
        )
        .tips(&["request_policy:all_shards", "nondeterministic_output_order"])
        .doc("O(N) where N is the number of keys in the database.", "Lists every key whose name matches a pattern.")
        .args(&[Arg::new("pattern", ArgKind::Pattern)]),
        keys_command,
    ),
];

fn scan_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let cursor = cursor::parse(cx.arg(1))?;
    let options = ScanOptions::parse(cx.words(2), Walked::Keys)?;
    let (mut found, mut expired) = (Found::default(), Vec::<Box<[u8]>>::new());
    let due_ms = cx.due_ms();
    let db = cx.store.db(cx.db_index);
    let cursor = options.step(cursor, |cursor, seen| {
        db.scan(cursor, &mut |entry| {
            *seen += 1;
            if !options.fits(entry.key()) || options.wanted_type.is_some_and(|wanted| wanted != type_name(entry)) {
                return;
            }
            if entry.expire_at().is_some_and(|at| at <= due_ms) {
                expired.push(entry.key().into());
                return;
            }
            found.push(entry.key());
        })
    });
    for name in &expired {
        let key = cx.store.key(name);
        // Looking at it is what removes an expired key.
        cx.db().peek(key);
    }
    found.reply(&mut cx.reply, cursor);
    Ok(())
}

fn keys_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let pattern = GlobPattern::new(cx.arg(1), false);
    if let Some(name) = pattern.literal() {
        let key = cx.store.key(name);
        let there = cx.db().peek(key).is_some();
        cx.reply.array(usize::from(there));
        if there {
            cx.reply.bulk(name);
        }
        return Ok(());
    }
    let due_ms = cx.due_ms();
    let list = cx.reply.deferred_array();
    let mut found = 0;
    let db = cx.store.db(cx.db_index);
    for entry in db.iter() {
        let name = entry.key();
        if (pattern.is_all() || pattern.matches(name)) && entry.expire_at().is_none_or(|at| at > due_ms) {
            cx.reply.bulk(name);
            found += 1;
        }
    }
    cx.reply.close(list, found);
    Ok(())
}
