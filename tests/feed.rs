//! The feed, command by command: what is repeated in place of each, and that repeating it makes the same data.
//!
//! `tests/feed/transcript.txt` is a table: a command, and below it what it puts into the feed. A command that writes and is
//! not in it fails a test. Every block is repeated as well, on another server and later.
//!
//! `WEIR_BLESS=1 cargo test --test feed` writes what the feed has into the table, to be read before it is believed.

mod in_process;
#[path = "feed/random.rs"]
mod random;

use in_process::random::Rng;
use in_process::repeat::{repeat, same, shown_command};
use in_process::{BEGIN_US, InProcess, append_command, facts, move_clock, now_us};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use weir::command::spec::Flags;
use weir::server::table::commands;
use weir_resp::{Batch, Limits, Parser};

/// What the servers are started with.
const OPTIONS: [&str; 6] = ["--enable-debug-command", "yes", "--save", "", "--appendonly", "no"];
const BEGIN_MS: i64 = BEGIN_US / 1000;
/// Moments closer to the beginning are told by the time since.
const NEAR_MS: i64 = 10_000_000_000;
/// How much later a feed is repeated.
const LATER_US: i64 = 1_000_000_000_000;

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/feed/transcript.txt")
}

/// A line of the table with what it puts into the feed.
struct Step {
    line: String,
    fed: Vec<String>,
}

/// The table, cut into blocks; lines that do nothing are kept.
fn blocks(text: &str) -> Vec<Vec<Step>> {
    let mut blocks: Vec<Vec<Step>> = vec![Vec::new()];
    for line in text.lines() {
        if line.starts_with("== ") {
            blocks.push(Vec::new());
        }
        let block = blocks.last_mut().expect("there is one");
        match (line.strip_prefix("  "), block.last_mut()) {
            (Some(fed), Some(step)) => step.fed.push(fed.to_owned()),
            _ => block.push(Step { line: line.to_owned(), fed: Vec::new() }),
        }
    }
    blocks
}

/// Words between spaces; in double quotes with escapes. `T+100` is a moment.
fn words(line: &str) -> Vec<Vec<u8>> {
    let mut words: Vec<Vec<u8>> = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let word;
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut bytes = Vec::new();
            let mut chars = quoted.char_indices();
            let end = loop {
                match chars.next().expect("a quote is closed") {
                    (at, '"') => break at + 1,
                    (_, '\\') => match chars.next().expect("something is escaped").1 {
                        'n' => bytes.push(b'\n'),
                        'r' => bytes.push(b'\r'),
                        'x' => {
                            let digits: String = chars.by_ref().take(2).map(|(_, digit)| digit).collect();
                            bytes.push(u8::from_str_radix(&digits, 16).expect("two hexadecimal digits"));
                        }
                        other => bytes.push(other as u8),
                    },
                    (_, other) => bytes.push(other as u8),
                }
            };
            word = bytes;
            rest = &quoted[end..];
        } else {
            let end = rest.find(' ').unwrap_or(rest.len());
            let (plain, behind) = rest.split_at(end);
            word = absolute(plain).into_bytes();
            rest = behind;
        }
        words.push(word);
        rest = rest.trim_start();
    }
    words
}

/// `T+100` and `T+100-0` with the moment in its place.
fn absolute(word: &str) -> String {
    let Some(signed) = word.strip_prefix('T').filter(|rest| rest.starts_with(['+', '-'])) else {
        return word.to_owned();
    };
    let end = signed[1..].find(|c: char| !c.is_ascii_digit()).map_or(signed.len(), |end| end + 1);
    let Ok(ms) = signed[..end].parse::<i64>() else { return word.to_owned() };
    format!("{}{}", BEGIN_MS + ms, &signed[end..])
}

/// Moments near the beginning as the time since.
fn relative(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let end = rest[start..].find(|c: char| !c.is_ascii_digit()).map_or(rest.len(), |end| start + end);
        shown.push_str(&rest[..start]);
        match rest[start..end].parse::<i64>().map(|ms| ms - BEGIN_MS) {
            Ok(ms) if end - start == 13 && ms.abs() < NEAR_MS => {
                let _ = write!(shown, "T{ms:+}");
            }
            _ => shown.push_str(&rest[start..end]),
        }
        rest = &rest[end..];
    }
    shown + rest
}

/// The commands of a feed as text.
fn told(feed: &[u8]) -> Vec<String> {
    let (mut parser, mut batch) = (Parser::new(), Batch::new());
    batch.read_buffer().extend_from_slice(feed);
    let mut lines = Vec::new();
    loop {
        let limits = Limits { authenticated: true, ..Limits::default() };
        parser.parse(&mut batch, &limits).expect("the feed is protocol");
        if batch.is_empty() {
            assert!(batch.tail().is_empty(), "the feed ends in the middle of a command");
            return lines;
        }
        lines.extend(batch.commands().map(|argv| relative(&shown_command(argv.iter()))));
        batch.discard_complete();
    }
}

/// Follows a block and returns what each of its lines has put into the feed, and all of it as bytes.
fn follow(block: &[Step]) -> (Vec<Vec<String>>, Vec<u8>, InProcess) {
    let mut host = InProcess::start(&OPTIONS, facts());
    host.server.want_feed(true);
    let mut clients: BTreeMap<String, usize> = BTreeMap::new();
    let mut client = "a".to_owned();
    let (mut fed, mut all) = (Vec::new(), Vec::new());
    for step in block {
        let (verb, rest) = step.line.split_once(' ').unwrap_or((&step.line, ""));
        match verb {
            "@" => rest.clone_into(&mut client),
            "+" => host.pass(Duration::from_millis(rest.parse().expect("milliseconds"))),
            ">" => {
                let peer = *clients.entry(client.clone()).or_insert_with(|| host.connect(false));
                let mut bytes = Vec::new();
                append_command(&mut bytes, &words(rest));
                host.arrive(peer, &bytes);
                host.turn();
            }
            _ => {}
        }
        let bytes = host.server.take_feed();
        let mut lines = told(&bytes);
        if all.is_empty() && lines.first().is_some_and(|line| line == "SELECT 0") {
            lines.remove(0);
        }
        all.extend_from_slice(&bytes);
        fed.push(lines);
    }
    (fed, all, host)
}

#[test]
fn every_command_is_repeated_as_the_table_says_and_makes_the_same_data() {
    let text = fs::read_to_string(path()).expect("the table");
    let blocks = blocks(&text);
    let (mut failures, mut blessed) = (String::new(), String::new());
    for block in &blocks {
        let title = block.first().map_or("", |step| &step.line);
        let (fed, feed, mut host) = follow(block);
        for (step, fed) in block.iter().zip(&fed) {
            let _ = writeln!(blessed, "{}", step.line);
            fed.iter().for_each(|line| blessed.push_str(&format!("  {line}\n")));
            if *fed != step.fed {
                let _ = writeln!(failures, "{title}\n{}\n  expected {:#?}\n  got {fed:#?}", step.line, step.fed);
            }
        }
        move_clock(LATER_US);
        let repeated = repeat(&feed, &OPTIONS).and_then(|mut other| same(&mut host.server, &mut other));
        if let Err(what) = repeated {
            let _ = writeln!(failures, "{title}: {what}");
        }
    }
    if std::env::var_os("WEIR_BLESS").is_some() {
        fs::write(path(), blessed).expect("the table can be written");
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn every_command_that_writes_is_in_the_table() {
    let text = fs::read_to_string(path()).expect("the table");
    let mut told: BTreeSet<String> = BTreeSet::new();
    for step in blocks(&text).iter().flatten().filter(|step| !step.fed.is_empty()) {
        let Some(call) = step.line.strip_prefix("> ") else { continue };
        let mut words = call.split(' ').map(str::to_lowercase);
        let name = words.next().unwrap_or_default();
        told.insert(format!("{name}|{}", words.next().unwrap_or_default()));
        told.insert(name);
    }
    let all = commands().iter().flat_map(|command| std::iter::once(command).chain(&command.subs));
    let writing = all.filter(|command| command.flags().contains(Flags::WRITE) && command.subs.is_empty());
    // There is no other server here to move keys to. Until when a message is lent, and to which connection its queue sends
    // it, is not repeated, nor until when a lease lasts. What a call puts into a queue has a token in it that nobody can foresee.
    let left_out = ["migrate", "mq.touch", "mq.sub", "mq.call", "cfg.lease|keepalive"];
    let writing = writing.filter(|command| !left_out.contains(&command.full_name));
    let missing: Vec<&str> = writing.map(|command| command.full_name).filter(|name| !told.contains(*name)).collect();
    assert_eq!(missing, Vec::<&str>::new(), "commands that write and are not in {}", path().display());
}

/// Conversations at random, and steps of each.
const CONVERSATIONS: u64 = 60;
const STEPS: usize = 600;
const CLIENTS: usize = 4;
/// Steps that are told of a conversation that fails.
const TOLD_STEPS: usize = 3_000;

#[test]
fn random_commands_of_all_families_are_repeated_to_the_same_data() {
    let mut names: BTreeSet<String> = BTreeSet::new();
    for seed in 0..CONVERSATIONS {
        if let Err((what, steps)) = converse(seed, &mut names) {
            panic!("conversation {seed}, of which the last steps are\n{}\n{what}", steps.join("\n"));
        }
    }
    let wanted =
        ["EXEC", "XCLAIM", "XACK", "HPEXPIREAT", "SREM", "LPOP", "ZPOPMIN", "XIDMPRECORD", "UNLINK", "HPERSIST"];
    let missing: Vec<&str> = wanted.into_iter().filter(|name| !names.contains(*name)).collect();
    assert_eq!(missing, Vec::<&str>::new(), "in none of them, which have {names:?}");
}

/// Holds a conversation, and repeats what it has done. `names`: the commands in its feed.
fn converse(seed: u64, names: &mut BTreeSet<String>) -> Result<(), (String, Vec<String>)> {
    let mut host = InProcess::start(&OPTIONS, facts());
    host.server.want_feed(true);
    let mut rng = Rng(seed);
    let (mut feed, mut steps, mut in_multi) = (Vec::new(), Vec::new(), [false; CLIENTS]);
    for _ in 0..CLIENTS {
        host.connect(false);
    }
    for _ in 0..STEPS {
        if rng.below(6) == 0 {
            let ms = rng.below(120);
            steps.push(format!("+ {ms}"));
            host.pass(Duration::from_millis(ms as u64));
        }
        let client = rng.below(CLIENTS);
        let words = match (in_multi[client], rng.below(25)) {
            (true, 0..=5) => vec!["EXEC".to_owned()],
            (false, 0) => vec!["MULTI".to_owned()],
            _ => random::command(&mut rng, now_us() / 1000),
        };
        in_multi[client] = (in_multi[client] || words[0] == "MULTI") && words[0] != "EXEC";
        steps.push(format!("{client} {words:?}"));
        let mut bytes = Vec::new();
        append_command(&mut bytes, &words);
        host.arrive(client, &bytes);
        host.turn();
        let fed = host.server.take_feed();
        for line in told(&fed) {
            names.extend(line.split(' ').next().map(str::to_uppercase));
            steps.push(format!("    {line}"));
        }
        feed.extend_from_slice(&fed);
    }
    feed.append(&mut host.server.take_feed());
    move_clock(LATER_US);
    let repeated = repeat(&feed, &OPTIONS).and_then(|mut other| same(&mut host.server, &mut other));
    repeated.map_err(|what| (what, steps.split_off(steps.len().saturating_sub(TOLD_STEPS))))
}

#[test]
fn what_a_slow_script_does_is_fed_as_a_whole_when_it_is_over() {
    const SCRIPT: &str = "redis.call('incr', 'k') for i = 1, 20000000 do end redis.call('incr', 'k') return 1";
    let mut host = InProcess::start(&[&OPTIONS[..], &["--busy-reply-threshold", "1"]].concat(), facts());
    host.server.want_feed(true);
    let (caller, other) = (host.connect(false), host.connect(false));
    let send = |host: &mut InProcess, client, words: &[&str]| {
        let mut bytes = Vec::new();
        append_command(&mut bytes, words);
        host.arrive(client, &bytes);
        host.turn();
    };
    send(&mut host, other, &["SET", "a", "1"]);
    assert_eq!(told(&host.server.take_feed()), ["SELECT 0", "SET a 1"]);
    send(&mut host, caller, &["EVAL", SCRIPT, "0"]);
    assert!(host.server.is_in_script() && !host.server.feed_is_between_units());
    while host.server.is_in_script() {
        assert_eq!(told(&host.server.take_feed()), Vec::<String>::new());
        // It is refused, and must not end the unit.
        send(&mut host, other, &["SET", "a", "2"]);
        send(&mut host, other, &["MULTI"]);
        send(&mut host, other, &["DISCARD"]);
    }
    assert!(host.server.feed_is_between_units());
    let fed = told(&host.server.take_feed());
    assert_eq!(fed.get(..4), Some(&["MULTI", "incr k", "incr k", "EXEC"].map(str::to_owned)[..]), "{fed:?}");
}
