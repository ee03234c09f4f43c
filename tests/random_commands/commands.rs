//! Commands made up from the rows that describe them, with few keys and odd values.
//!
//! A row's tree of arguments says what a right call looks like; what is wrong with a call is added afterwards. Values are
//! chosen for the places where they hurt: limits of numbers, lengths at which a string is stored in another way, bytes
//! that are no text.

use super::choices::Choices;
use std::sync::OnceLock;
use weir::command::spec::{Arg, ArgKind};
use weir::config::{Directive, directives};
use weir::server::table::{Command, commands};
use weir::store::BLOB_MIN;

/// A command's name and arguments.
pub(super) type Words = Vec<Vec<u8>>;

/// What a command may speak of.
pub(super) struct Scene {
    /// Clients that are connected: number and address.
    pub(super) clients: Vec<(u64, String)>,
    /// Unix time in ms.
    pub(super) now_ms: i64,
}

/// Longest value that a command brings.
const LONG_BYTES: usize = 64 * 1024;
/// Deepest nesting of arguments that is followed.
const DEPTH_MAX: usize = 6;

const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "3",
    "10",
    "100",
    "-2",
    "-100",
    "-0",
    "+1",
    "01",
    " 1",
    "1 ",
    "",
    "1.5",
    "0x10",
    "127",
    "128",
    "255",
    "32767",
    "65535",
    "65536",
    "1048575",
    "1048576",
    "8388607",
    "8388608",
    "2147483647",
    "-2147483648",
    "2147483648",
    "4294967295",
    "4294967296",
    "9223372036854775",
    "9223372036854776",
    "9223372036854775806",
    "9223372036854775807",
    "-9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999999",
    "1e3",
    "nan",
    "\u{661}",
];

const DOUBLES: &[&str] = &[
    "0",
    "1",
    "-1",
    "0.1",
    "-0",
    "-0.0",
    "1.5",
    "3.0e3",
    "1e400",
    "-1e400",
    "1e308",
    "1e-400",
    "5e-324",
    "1e-17",
    "17976931348623157e292",
    "inf",
    "-inf",
    "+inf",
    "infinity",
    "nan",
    "-nan",
    "0x1p3",
    "1e4932",
    "9007199254740993",
    "9223372036854775807",
    "0.30000000000000004",
    "123456789012345678901234567890.123456789",
    "1 ",
    " 1",
    "",
    ".5",
    "5.",
    "1e",
    "--1",
];

const PATTERNS: &[&str] = &[
    "*",
    "a*",
    "?",
    "[ab]",
    "[^a]*",
    "[a-",
    "\\",
    "\\*",
    "*a*a*a*a*a*b",
    "[",
    "[]",
    "k:[0-9]",
    "",
    "{t}*",
    "maxmem*",
    "*-*",
];

/// Names of things and words that some argument somewhere understands.
const TEXTS: &[&str] = &[
    "normal",
    "pubsub",
    "replica",
    "master",
    "default",
    "lib",
    "1.2.3",
    "redirect",
    "id",
    "string",
    "list",
    "all",
    "everything",
    "server",
    "clients",
    "memory",
    "keyspace",
    "commandstats",
    "latencystats",
    "errorstats",
    "modules",
    "command",
    "fast-command",
    "expire-cycle",
    "event",
    "read",
    "write",
    "dangerous",
    "lib-name",
    "LIB-VER",
    "slow",
    "large-request",
    "large-reply",
    "127.0.0.1:50000",
    "127.0.0.1",
    "N",
    "OT",
    "r",
    "0123456789abcdef",
    "ab cd",
    "POST",
    "Host:",
];

const SETTINGS: &[&str] = &[
    "yes",
    "no",
    "",
    "0",
    "1",
    "-1",
    "2",
    "100%",
    "50%",
    "101%",
    "1gb",
    "1mb",
    "1k",
    "3tb",
    "16777216gb",
    "always",
    "everysec",
    "noeviction",
    "allkeys-lru",
    "volatile-lru",
    "allkeys-lfu",
    "volatile-lfu",
    "allkeys-random",
    "volatile-ttl",
    "normal 0 0 0",
    "normal 100 50 1 pubsub 1mb 512k 60",
    "replica 1 2",
    "900 1",
    "900 1 300 10",
    "-1 5",
    "KEA",
    "Kg$lx",
    "zzz",
    "debug",
    "warning",
    "nothing",
    "json",
    "iso8601",
    "0 200 800",
    "50 99 99.9",
    "nan",
    "101",
    "-5 5",
    "local",
    "secret",
    "{title} {port}",
    "{nope}",
    "C",
    "en_US.UTF-8",
    "\u{fc}\u{0}x",
];

/// DEBUG's subcommands with what may stand behind them; those that are there to end the process are not.
const DEBUG_TOOLS: &[(&str, &[Value])] = &[
    ("AOF-FLUSH-SLEEP", &[Value::Number]),
    ("CHANGE-REPL-ID", &[]),
    ("CLIENT-ENFORCE-REPLY-LIST", &[Value::Number]),
    ("CLIENT-EVICTION", &[]),
    ("CONFIG-REWRITE-FORCE-ALL", &[]),
    ("DICT-RESIZING", &[Value::Number]),
    ("DIGEST", &[]),
    ("DIGEST-VALUE", &[Value::Key, Value::Key, Value::Key]),
    ("ERROR", &[Value::Text]),
    ("HELP", &[]),
    ("HTSTATS", &[Value::Number, Value::Word("full")]),
    ("HTSTATS", &[Value::Number]),
    ("HTSTATS-KEY", &[Value::Key]),
    ("LISTPACK", &[Value::Key]),
    ("LOG", &[Value::Text]),
    ("OBJECT", &[Value::Key]),
    ("OBJECT", &[Value::Key, Value::Word("fast")]),
    ("PAUSE-CRON", &[Value::Number]),
    ("POPULATE", &[Value::Small]),
    ("POPULATE", &[Value::Many]),
    ("POPULATE", &[Value::Small, Value::Key]),
    ("POPULATE", &[Value::Small, Value::Key, Value::Small]),
    ("PROTOCOL", &[Value::Sample]),
    ("QUICKLIST", &[Value::Key, Value::Number]),
    ("QUICKLIST-PACKED-THRESHOLD", &[Value::Setting]),
    ("RELOAD", &[Value::Word("NOSAVE")]),
    ("REPLICATE", &[Value::Text]),
    ("REPLYBUFFER", &[Value::Word("RESIZING"), Value::Number]),
    ("SDSLEN", &[Value::Key]),
    ("SET-ACTIVE-EXPIRE", &[Value::Number]),
    ("SET-SKIP-CHECKSUM-VALIDATION", &[Value::Number]),
    ("SLEEP", &[Value::Double]),
    ("STRUCTSIZE", &[]),
];

const SAMPLES: &[&str] = &[
    "string", "integer", "double", "null", "array", "set", "map", "attrib", "push", "verbatim", "true", "false",
    "bignum", "what",
];

/// A kind of argument.
#[derive(Clone, Copy)]
enum Value {
    Key,
    Number,
    Double,
    /// A number that costs nothing as a number of things.
    Small,
    /// So many keys that the table of a database has several segments.
    Many,
    Text,
    Setting,
    Sample,
    Word(&'static str),
}

impl Value {
    fn make(self, choices: &mut Choices<'_>) -> Vec<u8> {
        match self {
            Value::Key => key(choices),
            Value::Number => number(choices),
            Value::Double => choices.pick(DOUBLES).as_bytes().to_vec(),
            Value::Small => choices.byte().to_string().into_bytes(),
            Value::Many => choices.pick(&["4000", "6000"]).as_bytes().to_vec(),
            Value::Text => text(choices),
            Value::Setting => choices.pick(SETTINGS).as_bytes().to_vec(),
            Value::Sample => choices.pick(SAMPLES).as_bytes().to_vec(),
            Value::Word(word) => word.as_bytes().to_vec(),
        }
    }
}

/// A call of some command of the table, mostly a right one.
pub(super) fn from_table(choices: &mut Choices<'_>, scene: &Scene) -> Words {
    let Callable { name, command } = choices.pick(callable());
    let mut words: Words = name.split('|').map(|part| part.as_bytes().to_vec()).collect();
    let mut call = Call { choices, scene, words: &mut words, count_at: None };
    if name.starts_with("command|getkeys") {
        // Its argument is a call.
        let inner = from_table(call.choices, scene);
        words.extend(inner);
        return words;
    }
    for arg in command.spec.args {
        call.add(arg, 0);
    }
    if words.len() < usize::from(command.spec.arity.unsigned_abs()) && !choices.once_in(4) {
        // What the row says nothing of.
        let missing = usize::from(command.spec.arity.unsigned_abs()) - words.len();
        words.extend((0..missing).map(|_| text(choices)));
    }
    spoil(choices, &mut words);
    words
}

/// A call of a command on strings, so that there are data: the table has many other rows.
pub(super) fn on_strings(choices: &mut Choices<'_>, scene: &Scene) -> Words {
    let word = |text: &str| text.as_bytes().to_vec();
    let key_name = key(choices);
    let mut words = match choices.below(12) {
        0..=2 => vec![word("SET"), key_name, value(choices)],
        3 => vec![word("SET"), key_name, value(choices), word("PX"), moment(choices, "ttl-milliseconds", scene)],
        4 => vec![word("APPEND"), key_name, value(choices)],
        5 => vec![word("SETRANGE"), key_name, number(choices), value(choices)],
        6 => vec![word("SETBIT"), key_name, number(choices), word(["0", "1"][choices.below(2)])],
        7 => vec![word("PEXPIREAT"), key_name, moment(choices, "milliseconds", scene)],
        8 => vec![word("GET"), key_name],
        9 => vec![word("DEL"), key_name],
        10 => vec![word("INCRBY"), key_name, number(choices)],
        _ => vec![word("RENAME"), key_name, key(choices)],
    };
    spoil(choices, &mut words);
    words
}

/// A call that changes how a client is served, this one or another.
pub(super) fn on_clients(choices: &mut Choices<'_>, scene: &Scene) -> Words {
    let (id, addr) = if scene.clients.is_empty() { &(1, String::new()) } else { choices.pick(&scene.clients) };
    let id = id.to_string();
    let ms = (choices.below(2000)).to_string();
    let call: &[&str] = match choices.below(37) {
        0 => &["CLIENT", "KILL", "ID", &id],
        1 => &["CLIENT", "KILL", "ID", &id, "SKIPME", "no"],
        2 => &["CLIENT", "KILL", addr],
        3 => &["CLIENT", "KILL", "TYPE", "normal", "MAXAGE", "100"],
        4 | 5 => &["CLIENT", "PAUSE", &ms],
        6 | 7 => &["CLIENT", "PAUSE", &ms, "WRITE"],
        8 | 32..=35 => &["CLIENT", "UNPAUSE"],
        9 => &["CLIENT", "REPLY", "OFF"],
        10 => &["CLIENT", "REPLY", "SKIP"],
        11 => &["CLIENT", "REPLY", "ON"],
        12 => &["CLIENT", "NO-TOUCH", "on"],
        13 => &["CLIENT", "NO-TOUCH", "off"],
        14 => &["MONITOR"],
        15 | 16 => &["HELLO", "3"],
        17 => &["HELLO", "2"],
        18 => &["HELLO", "3", "AUTH", "default", "secret", "SETNAME", "me"],
        19 => &["RESET"],
        20 => &["QUIT"],
        21 => &["AUTH", "secret"],
        22 => &["CONFIG", "SET", "requirepass", "secret"],
        23..=26 => &["CONFIG", "SET", "requirepass", "", "maxclients", "10000"],
        27 => &["CLIENT", "LIST"],
        28 => &["FLUSHALL"],
        29 => &["SWAPDB", "0", "1"],
        30 => &["CONFIG", "SET", "maxmemory", "0", "timeout", &ms],
        31 => &["CONFIG", "SET", "latency-monitor-threshold", "1", "slowlog-log-slower-than", "0"],
        _ => &["SELECT", "1"],
    };
    let mut words: Words = call.iter().map(|word| word.as_bytes().to_vec()).collect();
    spoil(choices, &mut words);
    words
}

/// CONFIG SET of some directives, but not of those that name files and sockets.
pub(super) fn on_settings(choices: &mut Choices<'_>) -> Words {
    let mut words: Words = ["CONFIG", "SET"].map(|word| word.as_bytes().to_vec()).into();
    for _ in 0..=choices.below(2) {
        let directive = choices.pick(changeable());
        words.push(directive.name.as_bytes().to_vec());
        words.push(match choices.below(4) {
            0 => directive.default.as_bytes().to_vec(),
            1 => number(choices),
            _ => choices.pick(SETTINGS).as_bytes().to_vec(),
        });
    }
    words
}

/// A call of DEBUG.
pub(super) fn on_debug(choices: &mut Choices<'_>) -> Words {
    let (tool, values) = choices.pick(DEBUG_TOOLS);
    let mut words = vec![b"DEBUG".to_vec(), tool.as_bytes().to_vec()];
    words.extend(values.iter().map(|value| value.make(choices)));
    words
}

/// What must not be run: it would end the process, or the test's patience and memory. `words` is any command that has
/// arrived, however it was made.
pub(super) fn is_forbidden<'w>(mut words: impl Iterator<Item = &'w [u8]>) -> bool {
    const POPULATE_KEYS_MAX: u64 = 20_000;
    const POPULATE_BYTES_MAX: u64 = 4 << 20;
    const REPEATED_MAX: u64 = 20_000;
    let is = |word: &[u8], name: &str| word.eq_ignore_ascii_case(name.as_bytes());
    let name = words.next().unwrap_or_default();
    // They would end the process, write files, or talk to other servers.
    if ["shutdown", "save", "bgsave", "bgrewriteaof", "migrate"].iter().any(|command| is(name, command)) {
        return true;
    }
    if ["srandmember", "zrandmember", "hrandfield"].iter().any(|sampling| is(name, sampling)) {
        // Members that may repeat: as many as the number says, whatever there is.
        let count = words.nth(1).and_then(|word| word.strip_prefix(b"-")).map_or(0, plain_number);
        return count > REPEATED_MAX;
    }
    let Some(sub) = words.next().filter(|_| is(name, "debug") || is(name, "config")) else { return false };
    if is(name, "config") {
        let kept = ["proto-max-bulk-len", "appendonly"];
        return is(sub, "set") && words.step_by(2).any(|directive| kept.iter().any(|name| is(directive, name)));
    }
    if is(sub, "populate") {
        let numbers: Vec<u64> = words.map(plain_number).collect();
        let (count, size) = (numbers.first().unwrap_or(&0), numbers.get(2).unwrap_or(&0));
        return *count > POPULATE_KEYS_MAX || count.saturating_mul(*size) > POPULATE_BYTES_MAX;
    }
    ["panic", "segfault", "reload", "loadaof"].iter().any(|tool| is(sub, tool))
}

fn plain_number(word: &[u8]) -> u64 {
    std::str::from_utf8(word).ok().and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// A command under its full name.
struct Callable {
    name: &'static str,
    command: &'static Command,
}

/// Every command that is not made in a way of its own.
fn callable() -> &'static [Callable] {
    static CALLABLE: OnceLock<Vec<Callable>> = OnceLock::new();
    CALLABLE.get_or_init(|| {
        let mut found = Vec::new();
        for command in commands().iter().filter(|command| !["shutdown", "debug"].contains(&command.full_name)) {
            found.push(Callable { name: command.full_name, command });
            found.extend(command.subs.iter().map(|sub| Callable { name: sub.full_name, command: sub }));
        }
        found
    })
}

fn changeable() -> &'static [&'static Directive] {
    static CHANGEABLE: OnceLock<Vec<&'static Directive>> = OnceLock::new();
    const LEFT_ALONE: [&str; 5] = ["dir", "logfile", "port", "bind", "proto-max-bulk-len"];
    CHANGEABLE.get_or_init(|| directives().filter(|directive| !LEFT_ALONE.contains(&directive.name)).collect())
}

/// A call that is being written from a row.
struct Call<'c, 'i, 's> {
    choices: &'c mut Choices<'i>,
    scene: &'s Scene,
    words: &'c mut Words,
    /// Where a number of things stands that are still to come.
    count_at: Option<usize>,
}

impl Call<'_, '_, '_> {
    fn add(&mut self, arg: &Arg, depth: usize) {
        if depth > DEPTH_MAX || (arg.optional && self.choices.once_in(2)) {
            return;
        }
        let times = match arg.multiple {
            false => 1,
            true if self.choices.once_in(32) => 40,
            true => 1 + self.choices.below(3),
        };
        if arg.multiple
            && let Some(at) = self.count_at.take()
            && !self.choices.once_in(4)
        {
            self.words[at] = times.to_string().into_bytes();
        }
        for time in 0..times {
            if let Some(token) = arg.token.filter(|_| time == 0 || arg.multiple_token) {
                self.words.push(token.as_bytes().to_vec());
            }
            match arg.kind {
                ArgKind::PureToken => {}
                ArgKind::OneOf if arg.parts.is_empty() => {}
                ArgKind::OneOf => {
                    let part = &arg.parts[self.choices.below(arg.parts.len())];
                    self.add(part, depth + 1);
                }
                ArgKind::Block => arg.parts.iter().for_each(|part| self.add(part, depth + 1)),
                _ => {
                    if arg.name == "numkeys" {
                        self.count_at = Some(self.words.len());
                    }
                    let word = self.value(arg);
                    self.words.push(word);
                }
            }
        }
    }

    fn value(&mut self, arg: &Arg) -> Vec<u8> {
        let choices = &mut *self.choices;
        match (arg.kind, arg.name.strip_prefix("not-").unwrap_or(arg.name)) {
            (ArgKind::Key, _) => key(choices),
            (ArgKind::Double, _) => choices.pick(DOUBLES).as_bytes().to_vec(),
            (ArgKind::Pattern, _) => choices.pick(PATTERNS).as_bytes().to_vec(),
            (ArgKind::UnixTime, name) => moment(choices, name, self.scene),
            (ArgKind::Integer, "client-id") if !self.scene.clients.is_empty() => {
                choices.pick(&self.scene.clients).0.to_string().into_bytes()
            }
            (ArgKind::Integer, "seconds" | "milliseconds") if choices.once_in(2) => {
                choices.below(5000).to_string().into_bytes()
            }
            (ArgKind::Integer, "db" | "index" | "destination-db" | "count") if choices.once_in(2) => {
                choices.below(4).to_string().into_bytes()
            }
            (ArgKind::Integer, "cursor") if choices.once_in(2) => b"0".to_vec(),
            (ArgKind::Integer, _) => number(choices),
            (_, "addr" | "old-format") if !self.scene.clients.is_empty() => {
                choices.pick(&self.scene.clients).1.clone().into_bytes()
            }
            (_, "command" | "command-name") => choices.pick(callable()).name.as_bytes().to_vec(),
            (_, "parameter") => choices.pick(changeable()).name.as_bytes().to_vec(),
            (_, "value" | "comparison-value" | "different-value") => value(choices),
            _ => text(choices),
        }
    }
}

/// Sometimes makes a right call wrong.
fn spoil(choices: &mut Choices<'_>, words: &mut Words) {
    let wrong = choices.below(64);
    let at = if wrong > 0 && wrong < 8 && !words.is_empty() { choices.below(words.len()) } else { return };
    match wrong {
        7 => words.truncate(at.max(1)),
        1 => words.push(text(choices)),
        2 => words.insert(at, number(choices)),
        3 => words[at] = number(choices),
        4 => words[at].make_ascii_lowercase(),
        5 => words[at] = value(choices),
        _ => {
            let again = words[at].clone();
            words.push(again);
        }
    }
}

/// One of few names, so that commands meet each other's keys.
fn key(choices: &mut Choices<'_>) -> Vec<u8> {
    match choices.below(32) {
        0..=7 => b"a".to_vec(),
        8..=13 => b"b".to_vec(),
        14..=23 => format!("k:{}", choices.below(64)).into_bytes(),
        24 => b"{t}c".to_vec(),
        25 => Vec::new(),
        26 => b"\x00\xff\r\n\"'\\ ".to_vec(),
        27 => vec![b'n'; 255],
        28 => vec![b'n'; 256 + choices.below(600)],
        29 => vec![b'a'; LONG_BYTES],
        _ => b"key:0".to_vec(),
    }
}

fn number(choices: &mut Choices<'_>) -> Vec<u8> {
    match choices.below(4) {
        0 => choices.below(20).to_string().into_bytes(),
        1 => (choices.below(1 << 21) as i64 - (1 << 20)).to_string().into_bytes(),
        _ => choices.pick(NUMBERS).as_bytes().to_vec(),
    }
}

/// What is stored.
fn value(choices: &mut Choices<'_>) -> Vec<u8> {
    match choices.below(16) {
        0..=2 => number(choices),
        3 => choices.pick(DOUBLES).as_bytes().to_vec(),
        4 => Vec::new(),
        5 => b"\x00\x80\xff\r\n$-1\r\n".to_vec(),
        6 => vec![b'x'; LONG_BYTES],
        7 => vec![b'y'; BLOB_MIN - 2 + choices.below(4)],
        8 => vec![b'a'; choices.below(5000)],
        9 => vec![b'z'; 40 + choices.below(8)],
        10 => choices.take(12).to_vec(),
        _ => vec![b'v'; choices.below(300)],
    }
}

fn text(choices: &mut Choices<'_>) -> Vec<u8> {
    match choices.below(8) {
        0 => value(choices),
        1 => key(choices),
        _ => choices.pick(TEXTS).as_bytes().to_vec(),
    }
}

/// A moment near now, or a number; in ms if the argument's name says so. A name that begins with `ttl` is a time to live.
fn moment(choices: &mut Choices<'_>, name: &str, scene: &Scene) -> Vec<u8> {
    if choices.once_in(4) {
        return number(choices);
    }
    let ms = if name.starts_with("ttl") { 0 } else { scene.now_ms } + choices.below(20_000) as i64 - 2_000;
    let time = if name.ends_with("milliseconds") { ms } else { ms / 1000 };
    time.to_string().into_bytes()
}
