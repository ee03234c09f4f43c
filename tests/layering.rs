//! The architecture as a test: which room may use which, where unsafe code may be, and how a file looks.
//!
//! A room is a folder or a file right below `src/`; `docs/architecture.md` describes them. A use is a path that begins
//! with `crate::room`, in an import or anywhere else; in `main.rs` one that begins with `weir::room`. The table below is
//! the whole truth: a use that it lacks fails, and so does an edge that nobody uses any more.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Each room, lower ones first, and the rooms it may use.
const ROOMS: &[(&str, &[&str])] = &[
    ("threads", &[]),
    ("allocator", &["threads"]),
    ("disk", &[]),
    ("config", &["disk"]),
    ("logging", &[]),
    ("migrate", &[]),
    ("process", &[]),
    ("stats", &[]),
    ("pubsub", &[]),
    ("tracking", &[]),
    ("store", &[]),
    ("tls", &["config"]),
    ("command", &["config", "store"]),
    ("persist", &["disk", "store", "threads"]),
    ("check", &["disk", "persist"]),
    ("script", &["command", "config"]),
    ("broker", &["command", "store"]),
    ("registry", &["command", "store"]),
    ("acl", &["command", "config"]),
    (
        "server",
        &[
            "acl", "broker", "command", "config", "disk", "logging", "migrate", "persist", "pubsub", "registry",
            "script", "stats", "store", "threads", "tls", "tracking",
        ],
    ),
    ("net", &["command", "config", "server", "store", "tls"]),
    ("main", &["allocator", "check", "config", "disk", "logging", "net", "process", "server", "stats", "threads"]),
];

/// Files outside of `crates/structs` that may hold unsafe code: calls of the operating system and of the allocator.
const UNSAFE_FILES: &[&str] = &[
    "src/allocator.rs",
    "src/logging/local_time.rs",
    "src/logging/sink.rs",
    "src/process/crash.rs",
    "src/process/daemon.rs",
    "src/process/huge_pages.rs",
    "src/process/lone_process.rs",
    "src/process/open_files.rs",
    "src/process/signals.rs",
    "src/process/stack.rs",
    "src/process/supervisor.rs",
    "src/process/title.rs",
    "src/script/engine.rs",
    "src/script/lib/stack.rs",
    "src/script/lua.rs",
    "src/server/running.rs",
    "src/stats/process.rs",
    "src/stats/ticks.rs",
    "src/threads.rs",
    "tests/rdb_mutations.rs",
];

/// Files that ask the system for the time: everybody else is told. The name of a temporary file is one of the
/// reasons, and a thread that waits for a disk another.
const CLOCK_FILES: &[&str] = &[
    "src/config/rewrite.rs",
    "src/logging/local_time.rs",
    "src/main.rs",
    "src/net/sleep.rs",
    "src/persist/aof/keeper.rs",
    "src/persist/aof/log.rs",
    "src/persist/aof/syncer.rs",
    "src/stats/ticks.rs",
];

/// Names that say nothing about what is in a file.
const EMPTY_NAMES: [&str; 10] =
    ["util", "utils", "helper", "helpers", "common", "misc", "manager", "managers", "shared", "stuff"];

const LINES_MAX: usize = 1_500;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A file of Rust, by its path from the root of the repository.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The text without comments and literals, so that only code is left; lines stay where they are.
    fn code(&self) -> String {
        without_comments_and_literals(&self.text)
    }

    fn room(&self) -> Option<String> {
        let below = self.path.strip_prefix("src/")?;
        let first = below.split('/').next()?;
        Some(first.trim_end_matches(".rs").to_owned())
    }
}

fn sources(folders: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    for folder in folders {
        walk(&root().join(folder), &mut found);
    }
    assert!(!found.is_empty(), "no sources in {folders:?}");
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn walk(folder: &Path, found: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("an entry of the folder").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "target" && name != "corpus" {
                walk(&path, found);
            }
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(&path).expect("a source file");
            let path = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
            found.push(Source { path, text });
        }
    }
}

/// Blanks out comments, strings and characters. Knows as much of Rust as that takes.
fn without_comments_and_literals(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let in_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
        let len = if rest.starts_with(b"//") {
            rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len())
        } else if rest.starts_with(b"/*") {
            block_comment_len(rest)
        } else if let Some(len) = (!in_word).then(|| raw_string_len(rest)).flatten() {
            len
        } else if rest[0] == b'"' {
            quoted_len(rest, b'"')
        } else if rest[0] == b'\'' && (rest.get(1) == Some(&b'\\') || character_len(rest).is_some()) {
            character_len(rest).unwrap_or_else(|| quoted_len(rest, b'\''))
        } else {
            code.push(rest[0]);
            at += 1;
            continue;
        };
        code.extend(rest[..len].iter().map(|&b| if b == b'\n' { b'\n' } else { b' ' }));
        at += len;
    }
    String::from_utf8_lossy(&code).into_owned()
}

fn block_comment_len(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// Of `r"..."`, `r#"..."#` and the same with a `b` or `c` in front.
fn raw_string_len(rest: &[u8]) -> Option<usize> {
    let prefix = usize::from(matches!(rest[0], b'b' | b'c'));
    if rest.get(prefix) != Some(&b'r') {
        return None;
    }
    let hashes = rest[prefix + 1..].iter().take_while(|&&b| b == b'#').count();
    let open = prefix + 1 + hashes;
    if rest.get(open) != Some(&b'"') {
        return None;
    }
    let end: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let body = rest[open + 1..].windows(end.len()).position(|window| window == end)?;
    Some(open + 1 + body + end.len())
}

fn quoted_len(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b if b == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// Of a character in single quotes; `None` for a lifetime.
fn character_len(rest: &[u8]) -> Option<usize> {
    if rest.get(1) == Some(&b'\\') {
        return Some(quoted_len(rest, b'\''));
    }
    let text = String::from_utf8_lossy(rest.get(1..rest.len().min(6))?).into_owned();
    let first = text.chars().next()?;
    (rest.get(1 + first.len_utf8()) == Some(&b'\'')).then_some(2 + first.len_utf8())
}

/// The rooms that `code` names behind `prefix`: `crate::store::Store`, `crate::{net, store::{Db, Key}}`.
fn rooms_named(code: &str, prefix: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for (at, _) in code.match_indices(prefix) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let rest = code[at + prefix.len()..].trim_start();
        match rest.strip_prefix('{') {
            Some(group) => named.extend(group_heads(group)),
            None => named.extend(first_word(rest)),
        }
    }
    named
}

/// The first word of each part of a group, whose opening brace is gone.
fn group_heads(group: &str) -> Vec<String> {
    let mut heads = Vec::new();
    let (mut depth, mut begin) = (0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                heads.extend(first_word(group[begin..at].trim_start()));
                begin = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    heads
}

fn first_word(text: &str) -> Option<String> {
    let word: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!word.is_empty()).then_some(word)
}

/// Every use of one room by another: from, to, and a file where it is.
fn edges(sources: &[Source]) -> BTreeMap<(String, String), String> {
    let mut edges = BTreeMap::new();
    for source in sources {
        let Some(room) = source.room().filter(|room| room != "lib") else { continue };
        let prefix = if room == "main" { "weir::" } else { "crate::" };
        for used in rooms_named(&source.code(), prefix) {
            let is_room = ROOMS.iter().any(|(name, _)| *name == used);
            // Main names things of its own by `crate::` too, and macros stand at the root.
            if is_room && used != room {
                edges.entry((room.clone(), used)).or_insert_with(|| source.path.clone());
            }
        }
    }
    edges
}

#[test]
fn rooms_use_only_what_they_may_and_may_use_only_what_they_do() {
    let found = edges(&sources(&["src"]));
    let declared: BTreeSet<(String, String)> = ROOMS
        .iter()
        .flat_map(|(room, uses)| uses.iter().map(|used| ((*room).to_owned(), (*used).to_owned())))
        .collect();
    let undeclared: Vec<String> = found
        .iter()
        .filter(|(edge, _)| !declared.contains(*edge))
        .map(|((from, to), path)| format!("{from} uses {to} in {path}"))
        .collect();
    let unused: Vec<String> = declared
        .iter()
        .filter(|edge| !found.contains_key(*edge))
        .map(|(from, to)| format!("{from} may use {to} but does not"))
        .collect();
    assert!(undeclared.is_empty() && unused.is_empty(), "\n{}\n", [undeclared, unused].concat().join("\n"));
}

#[test]
fn every_room_is_in_the_table_and_lower_rooms_stand_first() {
    let present: BTreeSet<String> =
        sources(&["src"]).iter().filter_map(Source::room).filter(|room| room != "lib").collect();
    let declared: BTreeSet<String> = ROOMS.iter().map(|(room, _)| (*room).to_owned()).collect();
    assert_eq!(present, declared);
    for (at, (room, uses)) in ROOMS.iter().enumerate() {
        for used in *uses {
            assert!(
                ROOMS[..at].iter().any(|(name, _)| name == used),
                "{room} may not use {used}, which stands above it"
            );
        }
    }
}

#[test]
fn leaf_crates_know_nothing_of_the_server() {
    for source in sources(&["crates/rdb/src", "crates/resp/src", "crates/structs/src"]) {
        let others: &[&str] = match source.path.split('/').nth(1) {
            Some("rdb") => &["weir_resp::"],
            Some("resp") => &["weir_rdb::", "weir_structs::"],
            _ => &["weir_rdb::", "weir_resp::"],
        };
        for name in others.iter().chain(&["weir::"]) {
            assert!(rooms_named(&source.code(), name).is_empty(), "{} uses {name}", source.path);
        }
    }
}

#[test]
fn unsafe_code_is_only_where_it_is_listed() {
    let sources = sources(&["src", "crates", "tests", "benches", "fuzz"]);
    let with_unsafe: BTreeSet<&str> = sources
        .iter()
        .filter(|source| has_word(&source.code(), "unsafe"))
        .map(|source| source.path.as_str())
        .filter(|path| !path.starts_with("crates/structs/"))
        .collect();
    let listed: BTreeSet<&str> = UNSAFE_FILES.iter().copied().collect();
    let unlisted: Vec<_> = with_unsafe.difference(&listed).collect();
    let idle: Vec<_> = listed.difference(&with_unsafe).collect();
    assert!(unlisted.is_empty() && idle.is_empty(), "not listed: {unlisted:?}; listed for nothing: {idle:?}");
}

#[test]
fn the_system_is_asked_for_the_time_only_where_it_is_listed() {
    let sources = sources(&["src", "crates/rdb/src", "crates/resp/src", "crates/structs/src"]);
    let asking: BTreeSet<&str> = sources
        .iter()
        .filter(|source| ["Instant", "SystemTime"].iter().any(|clock| has_word(&source.code(), clock)))
        .map(|source| source.path.as_str())
        .collect();
    assert_eq!(asking, CLOCK_FILES.iter().copied().collect());
}

#[test]
fn only_the_network_knows_the_event_loop() {
    for source in sources(&["src"]).iter().filter(|source| has_word(&source.code(), "mio")) {
        assert!(source.path.starts_with("src/net/"), "{} uses mio", source.path);
    }
}

#[test]
fn every_file_opens_by_saying_what_lives_in_it() {
    let silent: Vec<String> = sources(&["src", "crates", "tests", "benches", "fuzz"])
        .into_iter()
        .filter(|source| !source.text.trim_start_matches("#![no_main]").trim_start().starts_with("//! "))
        .map(|source| source.path)
        .collect();
    assert!(silent.is_empty(), "without //! at the top: {silent:#?}");
}

#[test]
fn no_file_has_an_empty_name() {
    for source in sources(&["src", "crates", "tests", "benches", "fuzz"]) {
        for part in source.path.split('/') {
            let stem = part.trim_end_matches(".rs");
            assert!(!EMPTY_NAMES.contains(&stem), "{}: {stem} says nothing about what is in it", source.path);
        }
    }
}

#[test]
fn lints_are_expected_with_a_reason_and_never_allowed() {
    for source in sources(&["src", "crates", "tests", "benches", "fuzz"]) {
        let code = source.code();
        for attribute in ["#[allow(", "#![allow("] {
            assert!(!code.contains(attribute), "{} has {attribute}", source.path);
        }
        for (at, _) in code.match_indices("#[expect(") {
            let end = code[at..].find(")]").map_or(code.len(), |end| at + end);
            assert!(code[at..end].contains("reason"), "{} expects a lint without a reason", source.path);
        }
    }
}

#[test]
fn no_file_is_too_long_to_be_read() {
    for source in sources(&["src", "crates", "tests", "benches", "fuzz"]) {
        let lines = source.text.lines().count();
        assert!(lines <= LINES_MAX, "{} has {lines} lines", source.path);
    }
}

fn has_word(code: &str, word: &str) -> bool {
    code.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|found| found == word)
}

/// The walk itself: it sees what it must and is not misled.
mod walk {
    use super::*;

    fn named(code: &str) -> Vec<String> {
        rooms_named(&without_comments_and_literals(code), "crate::").into_iter().collect()
    }

    #[test]
    fn sees_uses_in_imports_groups_and_expressions() {
        assert_eq!(named("use crate::store::Store;"), ["store"]);
        assert_eq!(named("use crate::{net, store::{Db, Key}, server::{self, Server}};"), ["net", "server", "store"]);
        assert_eq!(named("use crate::{\n    net::{a::{b, c}, d},\n    store,\n};"), ["net", "store"]);
        assert_eq!(named("fn f(x: &crate::config::Config) { crate::net::run() }"), ["config", "net"]);
        assert_eq!(named("pub(in crate::server) fn f() {}"), ["server"]);
    }

    #[test]
    fn is_not_misled_by_text() {
        assert_eq!(named("// crate::net\n/* crate::net /* */ crate::net */ //! [`crate::net`]"), [""; 0]);
        assert_eq!(named(r##"let s = ("crate::net \" crate::net", r#"" crate::net"#, b"crate::net");"##), [""; 0]);
        assert_eq!(named("let c = ('\"', '\\'', '\\\\', 'x'); fn f<'a>(x: &'a str) -> crate::net::X<'a>"), ["net"]);
        assert_eq!(named("$crate::net::x(); mycrate::net::x(); other::crate::net"), ["net"]);
    }

    #[test]
    fn tells_unsafe_code_from_words() {
        let code = without_comments_and_literals("// unsafe\n#![forbid(unsafe_code)] fn f() { \"unsafe\"; }");
        assert!(!has_word(&code, "unsafe"));
        assert!(has_word("unsafe{x}", "unsafe"));
    }
}
