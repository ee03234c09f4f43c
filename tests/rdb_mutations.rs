//! Whole snapshot files, spoilt in every way: each is read as it is at the start, by a server without its network. It is
//! refused, or what is there afterwards can be written and read again. Nothing panics, takes memory by a length that is only
//! claimed, or goes on for ever.
//!
//! `WEIR_MUTATIONS=1000000` spoils as many; `WEIR_MUTATION=17` only that one, and leaves it in the folder of temporary files.

#[path = "rdb_mutations/files.rs"]
mod files;
#[path = "in_process/mod.rs"]
mod in_process;

use files::sum_up;
use in_process::random::Rng;
use in_process::{InProcess, append_command, facts, now_us};
use std::alloc::{GlobalAlloc, Layout, System};
use std::env;
use std::fs;
use std::panic;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;
use weir::server::Server;

/// Files that are spoilt unless the environment says otherwise.
const MUTATIONS: u64 = 1_500;
/// Bytes that reading may take besides some hundred for each byte of the file, as compressed strings do: buffers, batches,
/// and a table made beforehand.
const BYTES: usize = 48 << 20;
const BYTES_A_BYTE: usize = 300;
/// How long reading one file may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// What has been accepted is written and read again one time in so many.
const AGAIN_EVERY: u64 = 8;
/// Turns of the loop that what is due in one file may take.
const TURNS_MAX: usize = 1_000_000;

struct Peak;

static LIVE_BYTES: AtomicUsize = AtomicUsize::new(0);
static PEAK_BYTES: AtomicUsize = AtomicUsize::new(0);

fn took(bytes: usize) {
    let live = LIVE_BYTES.fetch_add(bytes, Ordering::Relaxed).wrapping_add(bytes);
    PEAK_BYTES.fetch_max(live, Ordering::Relaxed);
}

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Peak {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Peak = Peak;

/// The mutation that is being read.
static AT: AtomicU64 = AtomicU64::new(u64::MAX);

struct World {
    host: InProcess,
    client: usize,
    dump: PathBuf,
}

impl World {
    fn start(folder: &Path) -> World {
        let dir = folder.to_str().expect("a name in UTF-8");
        let mut host = InProcess::start(&["--dir", dir, "--enable-debug-command", "yes", "--databases", "4"], facts());
        let client = host.connect(false);
        World { host, client, dump: folder.join("dump.rdb") }
    }

    fn call(&mut self, words: &[&str]) -> String {
        let mut bytes = Vec::new();
        append_command(&mut bytes, words);
        self.host.arrive(self.client, &bytes);
        self.host.turn();
        String::from_utf8_lossy(&std::mem::take(&mut self.host.connections[self.client].received)).into_owned()
    }

    /// Reads the file as the only data.
    fn reads(&mut self) -> bool {
        let reply = self.call(&["DEBUG", "RELOAD", "NOSAVE"]);
        assert!(reply.starts_with("+OK") || reply.starts_with("-ERR Error trying to load"), "{reply}");
        self.settle();
        reply.starts_with('+')
    }

    /// Does what is due at once: what messages and leases say of times that have passed takes turns, and how many depends on how
    /// fast these are.
    fn settle(&mut self) {
        let now_ms = u64::try_from(now_us() / 1000).expect("it is after 1970");
        for _ in 0..TURNS_MAX {
            self.host.turn();
            let Server { broker, registry, .. } = &self.host.server;
            let due_ms = [broker.next_alarm_ms(), registry.next_alarm_ms()].into_iter().flatten().min();
            if !broker.has_news_of_policies() && !broker.has_due() && due_ms.is_none_or(|due_ms| due_ms > now_ms) {
                return;
            }
        }
        panic!("what is due has no end");
    }

    fn digest(&mut self) -> String {
        self.call(&["DEBUG", "DIGEST"])
    }
}

/// Files that are whole, in the forms that the server writes and in others.
fn seeds(world: &mut World) -> Vec<Vec<u8>> {
    let mut seeds = files::by_hand();
    for (at, seed) in seeds.iter().enumerate() {
        fs::write(&world.dump, seed).expect("a file");
        // Those with data of modules are refused, at their key.
        assert_eq!(world.reads(), !seed.starts_with(b"REDIS0011"), "by hand: {at}");
    }
    world.call(&["FLUSHALL"]);
    world.call(&["FUNCTION", "FLUSH"]);
    for words in files::commands() {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let reply = world.call(&words);
        assert!(!reply.starts_with('-'), "{words:?}: {reply}");
    }
    let digest = world.digest();
    for (compression, dialect) in [("yes", "redis"), ("no", "redis"), ("no", "valkey")] {
        world.call(&["CONFIG", "SET", "rdbcompression", compression, "rdb-dialect", dialect]);
        assert_eq!(world.call(&["SAVE"]), "+OK\r\n");
        seeds.push(fs::read(&world.dump).expect("a snapshot"));
        assert!(world.reads());
        assert_eq!(world.digest(), digest);
    }
    // Without what only newer versions know: what both camps load.
    for words in [&["DEL", "fields", "sent"][..], &["HPERSIST", "big-hash", "FIELDS", "2", "f7", "f8"], &["SAVE"]] {
        assert!(!world.call(words).starts_with('-'), "{words:?}");
    }
    seeds.push(fs::read(&world.dump).expect("a snapshot"));
    assert!(seeds.last().is_some_and(|seed| seed.starts_with(b"REDIS0011")));
    seeds
}

/// A file that is spoilt in a few places, and which seed it is of.
fn spoilt(seeds: &[Vec<u8>], rng: &mut Rng) -> (usize, Vec<u8>) {
    let from = rng.below(seeds.len());
    let mut file = seeds[from].clone();
    for _ in 0..=rng.below(3) {
        // Heads are near the beginning, the end of the last value and the checksum at the end.
        let at = match rng.below(8) {
            0 => rng.below(file.len().min(64)),
            1 => file.len().saturating_sub(1 + rng.below(24)),
            _ => rng.below(file.len()),
        };
        if file.is_empty() {
            break;
        }
        match rng.below(14) {
            0 => file.truncate(at),
            1 => drop(file.drain(at..(at + 1 + rng.below(40)).min(file.len()))),
            2 => {
                let piece = file[at..(at + rng.below(60)).min(file.len())].to_vec();
                file.splice(at..at, piece);
            }
            3 | 4 => {
                // A piece of another file, in place of what is here or in front of it.
                let other = &seeds[rng.below(seeds.len())];
                let begin = rng.below(other.len());
                let piece = &other[begin..(begin + rng.below(200)).min(other.len())];
                let end = if rng.below(2) == 0 { at } else { (at + piece.len()).min(file.len()) };
                file.splice(at..end, piece.iter().copied());
            }
            5 => {
                // A length in place of a byte.
                let length: Vec<u8> = match rng.below(4) {
                    0 => vec![0x40 | rng.below(64) as u8, rng.next() as u8],
                    1 => [&[0x80][..], &(rng.next() as u32 >> rng.below(32)).to_be_bytes()].concat(),
                    2 => [&[0x81][..], &(rng.next() >> rng.below(64)).to_be_bytes()].concat(),
                    _ => [&[0x81][..], &[0xFF; 8]].concat(),
                };
                file.splice(at..=at, length);
            }
            6 => file[at] = file[at].wrapping_add(1),
            7 => file[at] = file[at].wrapping_sub(1),
            8 => file[at] = [0, 0xFF, 0x81, 0xC3, 0x7F, 0x40][rng.below(6)],
            9 => file[at] = rng.next() as u8,
            _ => file[at] ^= 1 << rng.below(8),
        }
    }
    match rng.below(8) {
        0 => {}
        1 => file.iter_mut().rev().take(8).for_each(|byte| *byte = 0),
        _ => sum_up(&mut file),
    }
    (from, file)
}

/// Says which file it was, whoever panics. A thread that reads and is no more would be waited for.
fn tell_of_panics(dump: PathBuf) {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        usual(info);
        eprintln!("it was mutation {}", AT.load(Ordering::Relaxed));
        let kept = env::temp_dir().join("weir-mutation.rdb");
        if fs::copy(&dump, &kept).is_ok() {
            eprintln!("the file is {}", kept.display());
        }
        process::abort();
    }));
}

/// Ends the process when one file takes too long.
fn watch() {
    thread::spawn(|| {
        let mut last = AT.load(Ordering::Relaxed);
        loop {
            thread::park_timeout(PATIENCE);
            let at = AT.load(Ordering::Relaxed);
            assert!(at != last || at == u64::MAX, "it takes too long");
            last = at;
        }
    });
}

#[test]
fn spoilt_snapshots_are_refused_or_their_data_can_be_written_and_read_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut world = World::start(folder.path());
    tell_of_panics(world.dump.clone());
    watch();
    let seeds = seeds(&mut world);
    let number = |name: &str| env::var(name).ok().and_then(|text| text.parse().ok());
    let only: Option<u64> = number("WEIR_MUTATION");
    let from = only.or_else(|| number("WEIR_MUTATIONS_FROM")).unwrap_or(0);
    let count = if only.is_some() { 1 } else { number("WEIR_MUTATIONS").unwrap_or(MUTATIONS) };
    let (mut accepted, mut most_bytes) = (0, 0);
    let mut accepted_of = vec![0_u64; seeds.len()];
    for at in from..from + count {
        AT.store(at, Ordering::Relaxed);
        let (seed, file) = spoilt(&seeds, &mut Rng(at));
        fs::write(&world.dump, &file).expect("a file");
        if only.is_some() {
            fs::write(env::temp_dir().join("weir-mutation.rdb"), &file).expect("a file");
        }
        let before = LIVE_BYTES.load(Ordering::Relaxed);
        PEAK_BYTES.store(before, Ordering::Relaxed);
        let is_read = world.reads();
        let bytes = PEAK_BYTES.load(Ordering::Relaxed).saturating_sub(before);
        most_bytes = most_bytes.max(bytes);
        assert!(bytes <= BYTES + BYTES_A_BYTE * file.len(), "{bytes} bytes for a file of {}", file.len());
        if !is_read {
            continue;
        }
        accepted += 1;
        accepted_of[seed] += 1;
        let digest = world.digest();
        if at % AGAIN_EVERY == 0 || only.is_some() {
            assert_eq!(world.call(&["SAVE"]), "+OK\r\n");
            assert!(world.reads(), "what was written is not read");
            assert_eq!(world.digest(), digest);
        }
    }
    let file_bytes = seeds.iter().map(Vec::len).max().unwrap_or(0);
    println!("{count} spoilt files of up to {file_bytes} bytes: {accepted} accepted, {most_bytes} bytes at most");
    if only.is_none() {
        assert!(accepted > count / 100 && accepted < count, "{accepted} of {count}");
        println!("by seed: {accepted_of:?}");
    }
}
