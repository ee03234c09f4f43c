//! Values as payloads that any server can make a key of: DUMP and RESTORE. What the payloads look like is the matter of
//! `weir_rdb`.

use crate::command::effects::EventClass;
use crate::command::spec::{Acl, Arg, ArgKind, Flags, Group, KeyFlags, KeySpec, Spec};
use crate::command::table::{DataFn, Row};
use crate::command::{Cx, Error, args, hash, list, set, stream, zset};
use crate::config::{Config, RdbDialect, RdbVersionCheck};
use crate::store::{Key, Removal, Store};
use weir_rdb::build::{Builder, Limits};
use weir_rdb::encode::Forms;
use weir_rdb::payload::{self, Trust};
use weir_rdb::value::{Dialect, complaint};
use weir_structs::keyspace::{OwnedValue, TakenValue};
use weir_structs::number::format_i64;
use weir_structs::value::Big;

const ACL_RESTORE: Acl = Acl::KEYSPACE.union(Acl::WRITE).union(Acl::SLOW).union(Acl::DANGEROUS);
const RESTORE_KEYS: &[KeySpec] = &[KeySpec::range(1, 1, 1, KeyFlags::OW.union(KeyFlags::UPDATE))];
const RESTORE_COMPLEXITY: &str = "O(N) where N is the size of the value; O(N*log(N)) for sorted sets.";
const RESTORE_HISTORY: &[(&str, &str)] = &[
    ("3.0.0", "Gained the `REPLACE` option."),
    ("5.0.0", "Gained the `ABSTTL` option."),
    ("5.0.0", "Gained the `IDLETIME` and `FREQ` options."),
];
const RESTORE_ARGS: &[Arg] = &[
    Arg::key("key", 0),
    Arg::new("ttl", ArgKind::Integer),
    Arg::new("serialized-value", ArgKind::String),
    Arg::word("replace", "REPLACE").since("3.0.0").optional(),
    Arg::word("absttl", "ABSTTL").since("5.0.0").optional(),
    Arg::new("seconds", ArgKind::Integer).token("IDLETIME").since("5.0.0").optional(),
    Arg::new("frequency", ArgKind::Integer).token("FREQ").since("5.0.0").optional(),
];

/// Commands on payloads.
pub const COMMANDS: &[Row<DataFn>] = &[
    Row::new(
        Spec::new("dump", 2, Flags::READONLY, Acl::KEYSPACE.union(Acl::READ).union(Acl::SLOW), Group::Generic, "2.6.0")
            .keys(&[KeySpec::range(1, 1, 1, KeyFlags::RO.union(KeyFlags::ACCESS))])
            .tips(&["nondeterministic_output"])
            .doc("O(N) where N is the size of the value.", "Answers a value as bytes of which RESTORE makes it again.")
            .args(&[Arg::key("key", 0)]),
        dump_command,
    ),
    Row::new(
        Spec::new("restore", -4, Flags::WRITE.union(Flags::DENYOOM), ACL_RESTORE, Group::Generic, "2.6.0")
            .keys(RESTORE_KEYS)
            .doc(RESTORE_COMPLEXITY, "Makes a key of what DUMP has answered.")
            .history(RESTORE_HISTORY)
            .args(RESTORE_ARGS),
        restore_command,
    ),
    // In append-only files of cluster nodes that keys have been moved to.
    Row::new(
        Spec::new("restore-asking", -4, RESTORE_ASKING_FLAGS, ACL_RESTORE, Group::Server, "3.0.0")
            .keys(RESTORE_KEYS)
            .doc(RESTORE_COMPLEXITY, "Does what RESTORE does, for a key that a cluster is moving here.")
            .history(RESTORE_HISTORY)
            .args(RESTORE_ARGS),
        restore_command,
    ),
];

const RESTORE_ASKING_FLAGS: Flags = Flags::WRITE.union(Flags::DENYOOM).union(Flags::ASKING).union(Flags::SYSCMD);

fn dump_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let key = cx.key(1);
    let forms = value_forms(cx.config);
    let payload = cx.db().get(key).map(|entry| payload::dump(entry, forms));
    match payload {
        Some(payload) => cx.reply.bulk(&payload),
        None => {
            super::keys::tell_miss(cx, key);
            cx.reply.null();
        }
    }
    Ok(())
}

/// What RESTORE is told besides the payload.
#[derive(Default)]
struct Options {
    replace: bool,
    absolute: bool,
    idle_s: Option<u64>,
    frequency: Option<u8>,
}

impl Options {
    fn parse(cx: &Cx<'_>) -> Result<Options, Error> {
        let mut options = Options::default();
        let mut words = cx.words(4);
        while words.peek().is_some() {
            if words.accept("REPLACE") {
                options.replace = true;
            } else if words.accept("ABSTTL") {
                options.absolute = true;
            } else if options.frequency.is_none() && words.accept("IDLETIME") {
                let idle_s = args::int(words.expect()?)?;
                options.idle_s = Some(u64::try_from(idle_s).map_err(|_| Error::INVALID_IDLETIME)?);
            } else if options.idle_s.is_none() && words.accept("FREQ") {
                let frequency = args::int(words.expect()?)?;
                options.frequency = Some(u8::try_from(frequency).map_err(|_| Error::INVALID_FREQ)?);
            } else {
                return Err(Error::SYNTAX);
            }
        }
        Ok(options)
    }
}

fn restore_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let options = Options::parse(cx)?;
    let key = cx.key(1);
    if !options.replace && cx.db().get_mut(key).is_some() {
        return Err(Error::BUSYKEY);
    }
    let ttl_ms = cx.int(2)?;
    if ttl_ms < 0 {
        return Err(Error::INVALID_TTL);
    }
    let (dialect, value) = payload::open(cx.arg(3), trust(cx)).ok_or(Error::BAD_PAYLOAD)?;
    let now_ms = cx.now_ms();
    let mut builder = Builder::new(cx.store.hasher().clone(), value_limits(cx.config, cx.store), cx.due_ms());
    let built = payload::read(dialect, value, &mut builder).and_then(|()| builder.take());
    let value = built.map_err(|problem| {
        let kind = value.first().copied().unwrap_or_default();
        tracing::warn!("a payload was refused: {}", complaint(kind, problem));
        Error::BAD_DATA_FORMAT
    })?;
    if let Some(TakenValue { value: OwnedValue::Big(Big::Queue(queue)), .. }) = &value
        && !queue.has_ids_left()
    {
        return Err(Error::BAD_DATA_FORMAT);
    }
    let expire_at = match ttl_ms {
        0 => None,
        at if options.absolute => Some(at),
        after => Some(now_ms.saturating_add(after)),
    };
    let value = value.filter(|_| expire_at.is_none_or(|at| at > cx.due_ms()));
    let Some(mut value) = value else {
        // What would be gone at once is not made. What it replaces goes all the same.
        if cx.db().remove(key) == Removal::Removed {
            cx.effects.feed_as(&[b"DEL", key.name]);
            cx.effects.changed(1);
            cx.effects.event(EventClass::GENERIC, "del", key.name, cx.db_index);
        }
        cx.reply.ok();
        return Ok(());
    };
    value.expire_at = expire_at;
    cx.db().remove(key);
    cx.db().put_used(key, value, options.idle_s, options.frequency);
    if builder.has_left_out() {
        feed_restored(cx, key, expire_at);
    } else if !options.absolute {
        feed_absolute(cx, expire_at);
    }
    cx.effects.changed(1);
    cx.effects.event(EventClass::NEW, "new", key.name, cx.db_index);
    cx.effects.event(EventClass::GENERIC, "restore", key.name, cx.db_index);
    cx.reply.ok();
    Ok(())
}

/// Has RESTORE repeated with the deadline as a moment.
fn feed_absolute(cx: &mut Cx<'_>, expire_at: Option<i64>) {
    if let Some(at) = expire_at {
        let (argv, at_ms) = (cx.argv, format_i64(at));
        let words = argv.iter().take(2).chain([&at_ms[..]]).chain(argv.iter().skip(3)).chain([b"ABSTTL".as_slice()]);
        cx.effects.feed_words(argv.len() + 1, words);
    }
}

/// Has a value repeated that is less than the payload: fields had expired, but when it is repeated none has.
fn feed_restored(cx: &mut Cx<'_>, key: Key<'_>, expire_at: Option<i64>) {
    if !cx.effects.feeds() {
        return;
    }
    let forms = value_forms(cx.config);
    let Some(payload) = cx.db().peek(key).map(|entry| payload::dump(entry, forms)) else { return };
    let at_ms = format_i64(expire_at.unwrap_or(0));
    cx.effects.feed_as(&[b"RESTORE", key.name, &at_ms, &payload, b"REPLACE", b"ABSTTL"]);
}

/// What of a payload is believed.
fn trust(cx: &Cx<'_>) -> Trust {
    match cx.config.rdb_version_check {
        _ if cx.store.skips_checksums() => Trust::NoChecksum,
        RdbVersionCheck::Relaxed => Trust::AnyVersion,
        RdbVersionCheck::Strict => Trust::Strict,
    }
}

/// How values are written.
pub fn value_forms(config: &Config) -> Forms {
    let dialect = match config.rdb_dialect {
        RdbDialect::Redis => Dialect::Redis,
        RdbDialect::Valkey => Dialect::Valkey,
    };
    Forms { compress: config.rdbcompression, dialect }
}

/// The limits in force for all types.
pub fn value_limits(config: &Config, store: &Store) -> Limits {
    Limits {
        list: list::ends::limits_by(config, store),
        set: set::place::limits(config),
        hash: hash::access::limits(config),
        zset: zset::place::limits(config),
        stream: stream::append::node_limits(config),
    }
}
