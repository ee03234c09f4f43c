//! A snapshot has everything as it was when it began, whatever happens while it is written.
//!
//! Data of all types, small and big, in several databases; a digest of them; BGSAVE; then thousands of changes of every
//! kind between the slices. What another server loads from the file has the digest of the beginning.

#[path = "in_process/mod.rs"]
mod in_process;

use in_process::random::Rng;
use in_process::{InProcess, append_command, facts};
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use weir::disk::{DataFile, Disk, FileLock, InPlaceFile, RealDisk};
use weir::server::Facts;

const DATABASES: usize = 3;
const KEYS: usize = 120;
/// Elements of a big collection at the beginning.
const BIG: usize = 4_000;
const BIG_KEYS: [&str; 6] = ["hash", "fields", "set", "zset", "list", "stream"];
const SEEDS: u64 = 6;
/// Commands that run between two turns of the loop, at most.
const COMMANDS_A_TURN: usize = 12;
const TURNS_MAX: usize = 100_000;
/// Together twice as much as may wait for the disk.
const KEYS_OF_SLOW: usize = 9_000;
const VALUE_BYTES: usize = 15_000;
/// A collection that many slices give, and keys that are as much as may wait for the disk, and half as much again.
const MEMBERS_OF_LONG: usize = 300_000;
const KEYS_BEHIND: usize = 800;
/// Big sets, so many that one slice does not give half of them.
const SETS: usize = 300;

struct World {
    host: InProcess,
    client: usize,
}

impl World {
    fn start(folder: &Path, more: &[&str]) -> World {
        World::on_disk(folder, more, Arc::new(RealDisk))
    }

    fn on_disk(folder: &Path, more: &[&str], disk: Arc<dyn Disk>) -> World {
        let folder = folder.to_str().expect("a name in UTF-8");
        let mut options = vec!["--dir", folder, "--save", "", "--enable-debug-command", "yes", "--databases", "3"];
        options.extend_from_slice(more);
        let mut host = InProcess::start(&options, Facts { disk, ..facts() });
        let client = host.connect(false);
        World { host, client }
    }

    fn call(&mut self, words: &[&str]) -> String {
        let mut bytes = Vec::new();
        append_command(&mut bytes, words);
        self.send(&bytes)
    }

    /// Sends commands, has a turn of the loop, and returns what came back.
    fn send(&mut self, bytes: &[u8]) -> String {
        self.host.arrive(self.client, bytes);
        self.host.turn();
        String::from_utf8_lossy(&std::mem::take(&mut self.host.connections[self.client].received)).into_owned()
    }

    fn info(&mut self, field: &str) -> usize {
        // Another client: the first one may have to wait.
        let client = self.host.connect(false);
        let mut bytes = Vec::new();
        append_command(&mut bytes, &["INFO", "persistence"]);
        self.host.arrive(client, &bytes);
        self.host.turn();
        let text = String::from_utf8_lossy(&self.host.connections[client].received).into_owned();
        self.host.disconnect(client);
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.and_then(|line| line.trim().parse().ok()).expect("the field is there")
    }

    fn is_saving(&mut self) -> bool {
        self.info("rdb_bgsave_in_progress") == 1
    }

    fn fill(&mut self, rng: &mut Rng) {
        for db in 0..DATABASES {
            self.call(&["SELECT", &db.to_string()]);
            for key in BIG_KEYS {
                for from in (0..BIG + db * 100).step_by(50) {
                    self.send(&some_of_big(key, from, rng));
                }
            }
            for _ in 0..KEYS * 3 {
                let mut bytes = Vec::new();
                append_command(&mut bytes, &change(rng, false));
                self.send(&bytes);
            }
        }
        self.call(&["SELECT", "0"]);
    }
}

/// Fifty more elements of a big collection.
fn some_of_big(key: &str, from: usize, rng: &mut Rng) -> Vec<u8> {
    let mut bytes = Vec::new();
    let numbers = from..from + 50;
    let words: Vec<String> = match key {
        "hash" => numbers.flat_map(|n| [format!("field:{n}"), format!("{}", n * 7)]).collect(),
        "fields" => numbers.flat_map(|n| [format!("f{n}"), "v".repeat(n % 90)]).collect(),
        "set" => numbers.map(|n| format!("member:{n}")).collect(),
        "zset" => numbers.flat_map(|n| [rng.below(1_000).to_string(), format!("member:{n}")]).collect(),
        "list" => numbers.map(|n| "x".repeat(n % 61)).collect(),
        _ => {
            for n in numbers {
                append_command(&mut bytes, &["XADD", key, &format!("{}-0", n + 1), "field", &n.to_string()]);
            }
            if from == 0 {
                append_command(&mut bytes, &["XGROUP", "CREATE", key, "group", "0"]);
            }
            append_command(&mut bytes, &["XREADGROUP", "GROUP", "group", "c1", "COUNT", "9", "STREAMS", key, ">"]);
            return bytes;
        }
    };
    let name = match key {
        "set" => "SADD",
        "zset" => "ZADD",
        "list" => "RPUSH",
        _ => "HSET",
    };
    let words: Vec<&str> = [name, key].into_iter().chain(words.iter().map(String::as_str)).collect();
    append_command(&mut bytes, &words);
    if key == "fields" {
        append_command(&mut bytes, &["HPEXPIREAT", key, "4000000000000", "FIELDS", "1", &format!("f{from}")]);
    }
    bytes
}

/// Some change. `any`: also of everything at once, and of big collections.
fn change(rng: &mut Rng, any: bool) -> Vec<String> {
    let small = |rng: &mut Rng, kind: &str| format!("{kind}{}", rng.below(KEYS / 6));
    let of = |rng: &mut Rng, kind: &str| if any && rng.below(2) == 0 { kind.to_owned() } else { small(rng, kind) };
    let number = |rng: &mut Rng| rng.below(BIG + 400).to_string();
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    let pattern = rng.below(if any { 64 } else { 40 });
    let n = number(rng);
    match pattern {
        0..=3 => words(&["SET", &small(rng, "string"), &n]),
        4 => words(&["APPEND", &small(rng, "string"), "more"]),
        5 => words(&["SETRANGE", &small(rng, "string"), &format!("{}", rng.below(40_000)), "x"]),
        6 => words(&["SET", &small(rng, "string"), &n, "EX", "1000000"]),
        7 => words(&["DEL", &small(rng, "string")]),
        8..=9 => words(&["HSET", &of(rng, "hash"), &format!("field:{n}"), "new"]),
        10 => words(&["HDEL", &of(rng, "hash"), &format!("field:{n}")]),
        11 => words(&["HINCRBY", &of(rng, "hash"), &format!("field:{n}"), "1"]),
        12..=13 => words(&["SADD", &of(rng, "set"), &format!("member:{n}")]),
        14 => words(&["SREM", &of(rng, "set"), &format!("member:{n}")]),
        15 => words(&["SPOP", &of(rng, "set")]),
        16..=17 => words(&["ZADD", &of(rng, "zset"), &n, &format!("member:{}", number(rng))]),
        18 => words(&["ZREM", &of(rng, "zset"), &format!("member:{n}")]),
        19 => words(&["ZINCRBY", &of(rng, "zset"), "5", &format!("member:{n}")]),
        20 => words(&[["ZPOPMIN", "ZPOPMAX"][rng.below(2)], &of(rng, "zset"), "3"]),
        21..=22 => words(&[["RPUSH", "LPUSH"][rng.below(2)], &of(rng, "list"), &n, "b"]),
        23 => words(&[["RPOP", "LPOP"][rng.below(2)], &of(rng, "list"), "5"]),
        24 => words(&["LSET", &of(rng, "list"), &n, "set"]),
        25 => words(&["LINSERT", &of(rng, "list"), "BEFORE", &n, "inserted"]),
        26 => words(&["LREM", &of(rng, "list"), "2", "b"]),
        27..=28 => words(&["XADD", &of(rng, "stream"), "*", "field", &n]),
        29 => words(&["XDEL", &of(rng, "stream"), &format!("{n}-0")]),
        30 => words(&[
            "XREADGROUP",
            "GROUP",
            "group",
            &format!("c{}", rng.below(3)),
            "COUNT",
            "5",
            "STREAMS",
            "stream",
            ">",
        ]),
        31 => words(&["XACK", "stream", "group", &format!("{n}-0")]),
        32 => words(&["EXPIRE", &small(rng, "hash"), "100000"]),
        33 => words(&["PERSIST", &small(rng, "string")]),
        34 => words(&["INCR", &small(rng, "string")]),
        35 => words(&["HPEXPIREAT", &of(rng, "hash"), "4000000000000", "FIELDS", "1", &format!("field:{n}")]),
        36 => words(&["COPY", &small(rng, "list"), &small(rng, "list"), "REPLACE"]),
        37 => words(&["RENAME", &small(rng, "set"), &small(rng, "set")]),
        38 => words(&["PFADD", &small(rng, "string"), &n]),
        39 => words(&["SET", &small(rng, "string"), &"long".repeat(rng.below(9_000))]),
        40 => words(&["LTRIM", "list", &format!("{}", rng.below(50)), &format!("-{}", 1 + rng.below(50))]),
        41 => words(&["XTRIM", "stream", "MAXLEN", &(3_000 - rng.below(1_000)).to_string()]),
        42 => words(&["ZREMRANGEBYRANK", "zset", &n, &format!("{}", rng.below(BIG))]),
        43 => words(&["SWAPDB", &rng.below(DATABASES).to_string(), &rng.below(DATABASES).to_string()]),
        44..=47 => words(&["SELECT", &rng.below(DATABASES).to_string()]),
        48 if rng.below(12) == 0 => words(&["FLUSHDB"]),
        49 => words(&["DEL", BIG_KEYS[rng.below(BIG_KEYS.len())]]),
        50 => words(&["RENAME", BIG_KEYS[rng.below(BIG_KEYS.len())], &format!("moved{}", rng.below(5))]),
        51 => words(&["RENAME", &format!("moved{}", rng.below(5)), BIG_KEYS[rng.below(BIG_KEYS.len())]]),
        52 => words(&["MOVE", BIG_KEYS[rng.below(BIG_KEYS.len())], &rng.below(DATABASES).to_string()]),
        53 => words(&["COPY", BIG_KEYS[rng.below(BIG_KEYS.len())], &format!("moved{}", rng.below(5)), "REPLACE"]),
        54 => words(&["SUNIONSTORE", "set", "set", &small(rng, "set")]),
        55 => words(&["SORT", "list", "ALPHA", "LIMIT", "0", "2000", "STORE", "list"]),
        56 => words(&["UNLINK", &format!("moved{}", rng.below(5))]),
        57 => words(&["PEXPIRE", BIG_KEYS[rng.below(BIG_KEYS.len())], "1"]),
        58 => words(&["XGROUP", "DESTROY", "stream", "group"]),
        59 => words(&["XGROUP", "CREATE", "stream", "group", "0"]),
        60 => words(&["XGROUP", "DELCONSUMER", "stream", "group", "c1"]),
        61 => words(&["XCLAIM", "stream", "group", "c2", "0", &format!("{n}-0")]),
        62 => words(&["SET", BIG_KEYS[rng.below(BIG_KEYS.len())], "a string now"]),
        _ => words(&["HDEL", "fields", &format!("f{n}"), &format!("f{}", rng.below(BIG))]),
    }
}

fn digest(folder: &Path) -> String {
    let mut world = World::start(folder, &[]);
    world.host.server.load_at_start().expect("a whole file");
    for _ in 0..TURNS_MAX {
        world.host.turn();
        if !world.host.server.is_loading() {
            return world.call(&["DEBUG", "DIGEST"]);
        }
    }
    panic!("loading does not end");
}

/// A disk that writes nothing until it is told to, and counts.
#[derive(Debug, Default)]
struct SlowDisk {
    disk: RealDisk,
    /// Bytes that may be written by now.
    allowed: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct SlowFile {
    file: Box<dyn DataFile>,
    allowed: Arc<AtomicUsize>,
    written: usize,
}

impl Write for SlowFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        while self.written >= self.allowed.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        let written = self.file.write(&bytes[..bytes.len().min(64 * 1024)])?;
        self.written += written;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl DataFile for SlowFile {
    fn sync_data(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn sync_all(&mut self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn another(&self) -> io::Result<Box<dyn DataFile>> {
        self.file.another()
    }
}

impl Disk for SlowDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DataFile>> {
        Ok(Box::new(SlowFile { file: self.disk.create(path)?, allowed: Arc::clone(&self.allowed), written: 0 }))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn DataFile>> {
        self.disk.append(path)
    }

    fn open(&self, path: &Path, from: u64) -> io::Result<(Box<dyn Read + Send>, u64)> {
        self.disk.open(path, from)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn make_folder(&self, path: &Path) -> io::Result<()> {
        self.disk.make_folder(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        self.disk.list(folder)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(path)
    }

    fn copy_mode(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.copy_mode(from, to)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.disk.sync_folder(folder)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn FileLock>>> {
        self.disk.lock(path)
    }

    fn in_place(&self, path: &Path, bytes: u64) -> io::Result<Box<dyn InPlaceFile>> {
        self.disk.in_place(path, bytes)
    }

    fn boot(&self) -> u128 {
        self.disk.boot()
    }
}

#[test]
fn memory_stays_bounded_while_a_slow_disk_takes_a_snapshot_and_changes_go_on_when_it_comes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let allowed = Arc::new(AtomicUsize::new(0));
    let disk = SlowDisk { disk: RealDisk, allowed: Arc::clone(&allowed) };
    let mut world = World::on_disk(folder.path(), &[], Arc::new(disk));
    let value = "v".repeat(VALUE_BYTES);
    let set = |world: &mut World, n: usize| world.call(&["SET", &format!("key:{n}"), &value]);
    for n in 0..KEYS_OF_SLOW {
        set(&mut world, n);
    }
    let before = world.call(&["DEBUG", "DIGEST"]);
    assert!(world.call(&["BGSAVE"]).starts_with('+'));
    // Nothing goes to the disk, and every change leaves its value of before.
    let (mut changed, mut held) = (0, false);
    while changed < KEYS_OF_SLOW && !held {
        held = world.call(&["APPEND", &format!("key:{changed}"), "x"]).is_empty();
        changed += 1;
    }
    assert!(held, "all changes were taken: {}", world.info("current_cow_size"));
    let kept = world.info("current_cow_size");
    assert!((64 << 20..80 << 20).contains(&kept), "{kept} bytes are kept for the snapshot");
    let other = world.host.connect(false);
    let mut bytes = Vec::new();
    append_command(&mut bytes, &["GET", "key:0"]);
    world.host.arrive(other, &bytes);
    world.host.turn();
    assert!(world.host.connections[other].received.starts_with(b"$"), "who reads does not wait");
    allowed.store(usize::MAX, Ordering::SeqCst);
    let mut turns = 0_u64;
    while !world.send(b"").starts_with(':') {
        turns += 1;
        assert!(turns < 1 << 32, "changes are held for ever");
    }
    while world.is_saving() {}
    drop(world);
    assert_eq!(digest(folder.path()), before);
}

#[test]
fn a_big_collection_goes_on_however_much_waits_behind_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut world = World::start(folder.path(), &[]);
    let mut rng = Rng(0);
    for from in (0..MEMBERS_OF_LONG).step_by(50) {
        world.send(&some_of_big("zset", from, &mut rng));
    }
    let value = "v".repeat(VALUE_BYTES);
    for n in 0..KEYS_BEHIND {
        world.call(&["SET", &format!("key:{n}"), &value]);
    }
    let before = world.call(&["DEBUG", "DIGEST"]);
    // It is frozen when it is changed, and the first slice begins to give it.
    let mut bytes = Vec::new();
    append_command(&mut bytes, &["BGSAVE"]);
    append_command(&mut bytes, &["ZADD", "zset", "1", "another"]);
    assert!(world.send(&bytes).starts_with('+'));
    bytes.clear();
    for n in 0..KEYS_BEHIND {
        append_command(&mut bytes, &["APPEND", &format!("key:{n}"), "x"]);
    }
    world.send(&bytes);
    // More than may wait for the disk stands behind the rest of the collection, and nothing of it waits for the disk.
    assert!(world.info("current_cow_size") > 8 << 20, "{}", world.info("current_cow_size"));
    let mut turns = 0;
    while world.is_saving() {
        turns += 1;
        assert!(turns < TURNS_MAX, "the snapshot does not end");
    }
    drop(world);
    assert_eq!(digest(folder.path()), before);
}

#[test]
fn what_has_left_the_keyspace_is_counted_until_it_is_given() {
    let folder = tempfile::tempdir().expect("a folder");
    let allowed = Arc::new(AtomicUsize::new(0));
    let disk = SlowDisk { disk: RealDisk, allowed: Arc::clone(&allowed) };
    let mut world = World::on_disk(folder.path(), &[], Arc::new(disk));
    for from in (0..BIG).step_by(50) {
        world.send(&some_of_big("set", from, &mut Rng(0)));
    }
    let names: Vec<String> = (0..SETS).map(|n| format!("set:{n}")).collect();
    for name in &names {
        world.call(&["COPY", "set", name]);
    }
    let before = world.call(&["DEBUG", "DIGEST"]);
    let bytes: usize = world.call(&["MEMORY", "USAGE", "set"])[1..].trim().parse().expect("a number");
    let mut both = Vec::new();
    append_command(&mut both, &["BGSAVE"]);
    let words: Vec<&str> = ["UNLINK"].into_iter().chain(names.iter().map(String::as_str)).collect();
    append_command(&mut both, &words);
    assert!(world.send(&both).ends_with(&format!(":{SETS}\r\n")));
    assert!(world.info("current_cow_size") > SETS / 2 * bytes, "{} of {bytes} each", world.info("current_cow_size"));
    allowed.store(usize::MAX, Ordering::SeqCst);
    while world.is_saving() {}
    assert_eq!(world.info("current_cow_size"), 0);
    assert!(world.info("rdb_last_cow_size") > SETS / 2 * bytes);
    drop(world);
    assert_eq!(digest(folder.path()), before);
}

#[test]
fn what_is_due_in_a_queue_does_not_wait_for_the_disk_that_takes_a_snapshot() {
    let folder = tempfile::tempdir().expect("a folder");
    let allowed = Arc::new(AtomicUsize::new(0));
    let disk = SlowDisk { disk: RealDisk, allowed: Arc::clone(&allowed) };
    let mut world = World::on_disk(folder.path(), &[], Arc::new(disk));
    world.call(&["MQ.QUEUE", "DECLARE", "q"]);
    world.call(&["MQ.PUSH", "q", "later", "DELAY", "50"]);
    assert!(world.call(&["BGSAVE"]).starts_with('+'));
    while world.host.server.idle_time().is_zero() {
        world.host.turn();
    }
    in_process::move_clock(50_000);
    world.host.server.begin_turn();
    assert!(world.host.server.idle_time().is_zero());
    world.host.turn();
    assert!(!world.host.server.idle_time().is_zero() && world.is_saving());
    assert!(world.call(&["MQ.GET", "COMPACT", "QUEUES", "1", "q"]).contains("later"));
    allowed.store(usize::MAX, Ordering::SeqCst);
}

#[test]
fn a_snapshot_is_of_one_moment_whatever_changes_while_it_is_written() {
    for seed in 0..SEEDS {
        let folder = tempfile::tempdir().expect("a folder");
        let mut rng = Rng(seed);
        let mut world = World::start(folder.path(), &["--rdb-key-save-delay", &(rng.below(4) * 50).to_string()]);
        world.fill(&mut rng);
        let before = world.call(&["DEBUG", "DIGEST"]);
        assert!(world.call(&["BGSAVE"]).starts_with('+'));
        let mut changes = 0;
        let mut turns = 0;
        while world.is_saving() {
            let mut bytes = Vec::new();
            for _ in 0..rng.below(COMMANDS_A_TURN) {
                append_command(&mut bytes, &change(&mut rng, true));
                changes += 1;
            }
            world.send(&bytes);
            in_process::move_clock(1_000);
            turns += 1;
            assert!(turns < TURNS_MAX, "the snapshot does not end");
        }
        let after = world.call(&["DEBUG", "DIGEST"]);
        assert_ne!(before, after, "seed {seed}: {changes} changes");
        drop(world);
        assert_eq!(digest(folder.path()), before, "seed {seed}: {changes} changes, {turns} turns");
    }
}
