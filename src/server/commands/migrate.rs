//! MIGRATE.

use crate::command::args::{int, is};
use crate::command::blocking::{Awaited, Block, TimeoutReply};
use crate::command::error::Error;
use crate::command::spec::{Acl, Arg, ArgKind, BeginSearch, FindKeys, Flags, Group, KeyFlags, KeySpec, Spec};
use crate::command::table::Row;
use crate::migrate::{Login, Request};
use crate::server::migrating::{Migrated, Migration};
use crate::server::{ServerCx, ServerFn};
use std::time::Duration;

/// The key, or nothing where KEYS names several.
const KEY_AT: usize = 3;
/// The first word of the options.
const OPTIONS_AT: usize = 6;
/// How long each step may take where the timeout is 0 or less.
const TIMEOUT_MS_DEFAULT: u64 = 1_000;

const KEY_FLAGS: KeyFlags = KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE);

/// Commands that send data elsewhere.
pub(super) const COMMANDS: &[Row<ServerFn>] = &[Row::new(
    Spec::new(
        "migrate",
        -6,
        Flags::WRITE.union(Flags::MOVABLEKEYS),
        Acl::KEYSPACE.union(Acl::WRITE).union(Acl::SLOW).union(Acl::DANGEROUS),
        Group::Generic,
        "2.6.0",
    )
    .keys(&[
        KeySpec::one(3, KEY_FLAGS),
        KeySpec {
            flags: KEY_FLAGS.union(KeyFlags::INCOMPLETE),
            begin: BeginSearch::Keyword("KEYS", -2),
            find: FindKeys::Range { last: -1, step: 1, limit: 0 },
            notes: "",
        },
    ])
    .tips(&["nondeterministic_output"])
    .doc(
        "O(N) where N is the size of the values, for DUMP and DEL here and RESTORE there, and for sending them.",
        "Moves keys to another server, or copies them there.",
    )
    .history(&[
        ("3.0.0", "Gained the `COPY` and `REPLACE` options."),
        ("3.0.6", "Gained the `KEYS` option."),
        ("4.0.7", "Gained the `AUTH` option."),
        ("6.0.0", "Gained the `AUTH2` option."),
    ])
    .args(&[
        Arg::new("host", ArgKind::String),
        Arg::new("port", ArgKind::Integer),
        Arg::one_of("key-selector", &[Arg::key("key", 0), Arg::word("empty-string", "")]),
        Arg::new("destination-db", ArgKind::Integer),
        Arg::new("timeout", ArgKind::Integer),
        Arg::word("copy", "COPY").since("3.0.0").optional(),
        Arg::word("replace", "REPLACE").since("3.0.0").optional(),
        Arg::one_of(
            "authentication",
            &[
                Arg::new("auth", ArgKind::String).token("AUTH").display("password").since("4.0.7"),
                Arg::block("auth2", &[Arg::new("username", ArgKind::String), Arg::new("password", ArgKind::String)])
                    .token("AUTH2")
                    .since("6.0.0"),
            ],
        )
        .optional(),
        Arg::key("keys", 1).token("KEYS").display("key").since("3.0.6").optional().multiple(),
    ]),
    migrate_command,
)];

fn migrate_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let (mut copy, mut replace, mut login, mut keys_at) = (false, false, None, None);
    let mut words = cx.words(OPTIONS_AT);
    let mut at = OPTIONS_AT;
    while let Some(word) = words.peek() {
        words.next();
        at += 1;
        if is(word, "COPY") {
            copy = true;
        } else if is(word, "REPLACE") {
            replace = true;
        } else if is(word, "AUTH") {
            let password = words.next().ok_or(Error::SYNTAX)?.to_vec();
            login = Some(Login { user: None, password });
            at += 1;
        } else if is(word, "AUTH2") {
            let user = words.next().ok_or(Error::SYNTAX)?.to_vec();
            let password = words.next().ok_or(Error::SYNTAX)?.to_vec();
            login = Some(Login { user: Some(user), password });
            at += 2;
        } else if is(word, "KEYS") {
            if !cx.arg(KEY_AT).is_empty() {
                return Err(Error::MIGRATE_KEY_AND_KEYS);
            }
            keys_at = Some(at);
            break;
        } else {
            return Err(Error::SYNTAX);
        }
    }
    let timeout_ms = u64::try_from(int(cx.arg(5))?).ok().filter(|&ms| ms > 0).unwrap_or(TIMEOUT_MS_DEFAULT);
    let db_there = int(cx.arg(4))?;
    let port = int(cx.arg(2)).ok().and_then(|port| u16::try_from(port).ok()).unwrap_or(0);
    let request = Request {
        host: String::from_utf8_lossy(cx.arg(1)).into_owned(),
        port,
        db: db_there,
        timeout: Duration::from_millis(timeout_ms),
        login,
        replace,
        parcels: Vec::new(),
        now_ms: cx.server.store.now_ms(),
    };
    let (slot, db, argv) = (cx.slot, cx.client().db, cx.argv);
    let migration = Migration { request, copy };
    let migrated = match keys_at {
        Some(at) => cx.server.migrate(slot, db, migration, argv.skip(at).iter()),
        None => cx.server.migrate(slot, db, migration, std::iter::once(argv.at(KEY_AT))),
    };
    match migrated {
        Migrated::NoKey => cx.reply.simple("NOKEY"),
        Migrated::Ended(result) => {
            result?;
            cx.reply.ok();
        }
        Migrated::Later => {
            cx.server.effects.block = Some(Box::new(Block::without_keys(Awaited::Reply, None, TimeoutReply::Null)));
        }
    }
    Ok(())
}
