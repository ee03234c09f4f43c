//! The limit on memory, with real memory behind it.

use crate::weir::{Weir, eventually};
use crate::wire::{Wire, request};
use std::io::Write;
use std::thread;

/// Commands that are sent at once, so that sending is not what takes the time.
const BATCH: usize = 100;

/// What is put up with above the limit when a command has run: what a few more commands allocate.
const SLACK: u64 = 1 << 20;

fn fill(wire: &mut Wire, keys: std::ops::Range<usize>, option: &[&str]) {
    let mut sender = wire.sender();
    let commands: Vec<Vec<u8>> = keys
        .map(|number| {
            let (key, value) = (format!("key:{number}"), "v".repeat(100));
            let mut words = vec!["SET", &key, &value];
            words.extend(option);
            request(&words)
        })
        .collect();
    let count = commands.len();
    let sending = thread::spawn(move || {
        commands.chunks(BATCH).for_each(|batch| sender.write_all(&batch.concat()).expect("the server reads"));
    });
    (0..count).for_each(|_| wire.expect("+OK\r\n"));
    sending.join().expect("the sender");
}

#[test]
fn a_cache_stays_below_its_limit_by_any_policy() {
    let weir = Weir::with([]);
    let mut wire = weir.wire();
    for policy in [
        "allkeys-lru",
        "allkeys-lfu",
        "allkeys-lrm",
        "allkeys-random",
        "volatile-lru",
        "volatile-lfu",
        "volatile-lrm",
        "volatile-random",
        "volatile-ttl",
    ] {
        assert_eq!(wire.call(&["CONFIG", "SET", "maxmemory", "0", "maxmemory-policy", policy]), "+OK");
        wire.is("FLUSHALL", "+OK");
        eventually("what was flushed is freed", || weir.info("lazyfree_pending_objects") == 0);
        wire.is("CONFIG RESETSTAT", "+OK");
        let limit = weir.info("used_memory") + (4 << 20);
        assert_eq!(wire.call(&["CONFIG", "SET", "maxmemory", &limit.to_string()]), "+OK");
        fill(&mut wire, 0..100_000, if policy.starts_with("volatile") { &["EX", "10000"] } else { &[] });
        let used = weir.info("used_memory");
        assert!(used < limit + SLACK, "{policy}: {used} bytes of {limit}");
        // To ask takes memory too, and so may evict.
        wire.is("CONFIG SET maxmemory 0", "+OK");
        let (evicted, keys) = (weir.info("evicted_keys"), wire.run("DBSIZE"));
        assert_eq!(keys, format!(":{}", 100_000 - evicted), "{policy}");
        assert!((50_000..90_000).contains(&evicted), "{policy}: {evicted}");
    }
}

#[test]
fn few_keys_with_a_deadline_are_found_among_many_without() {
    let weir = Weir::with([]);
    let mut wire = weir.wire();
    fill(&mut wire, 0..100_000, &[]);
    fill(&mut wire, 100_000..100_100, &["EX", "10000"]);
    for policy in ["volatile-lru", "volatile-ttl", "volatile-random", "volatile-lfu"] {
        assert_eq!(wire.call(&["CONFIG", "SET", "maxmemory", "1", "maxmemory-policy", policy]), "+OK");
        eventually("only keys without a deadline are left", || wire.run("DBSIZE") == ":100000");
        assert!(wire.run("SET k v").starts_with("-OOM "));
        wire.is("CONFIG SET maxmemory 0", "+OK");
        fill(&mut wire, 100_000..100_100, &["EX", "10000"]);
    }
}

#[test]
fn memory_that_is_on_its_way_back_is_no_reason_to_evict_more() {
    let weir = Weir::with([]);
    let mut wire = weir.wire();
    for thousand in 0..300 {
        let names: Vec<String> = (0..1000).map(|number| format!("member:{thousand}:{number}")).collect();
        let words = ["SADD", "big"].into_iter().chain(names.iter().map(String::as_str)).collect::<Vec<_>>();
        assert_eq!(wire.call(&words), ":1000");
    }
    wire.is("EXPIRE big 100", ":1");
    fill(&mut wire, 0..20_000, &["EX", "10000"]);
    let limit = weir.info("used_memory") - (4 << 20);
    wire.is("CONFIG SET maxmemory-policy volatile-ttl", "+OK");
    assert_eq!(wire.call(&["CONFIG", "SET", "maxmemory", &limit.to_string()]), "+OK");
    eventually("the big set is freed", || weir.info("lazyfreed_objects") == 1);
    assert_eq!((weir.info("evicted_keys"), wire.run("EXISTS big")), (1, ":0".to_owned()));
    wire.is("DBSIZE", ":20000");
}

#[test]
fn a_limit_below_what_is_used_is_reached_without_a_command() {
    let weir = Weir::with([]);
    let mut wire = weir.wire();
    fill(&mut wire, 0..50_000, &[]);
    // One command may take hardly any time for it, so the most is done between commands.
    let settings = ["maxmemory-eviction-tenacity", "0", "maxmemory-policy", "allkeys-lru", "maxmemory", "1"];
    assert_eq!(wire.call(&[&["CONFIG", "SET"], &settings[..]].concat()), "+OK");
    eventually("every key is evicted", || wire.run("DBSIZE") == ":0");
    assert_eq!(weir.info("evicted_keys"), 50_000);
    wire.is("CONFIG SET maxmemory 0", "+OK");
    wire.is("SET k v", "+OK");
    assert_eq!(weir.info("current_eviction_exceeded_time"), 0);
}

#[test]
fn hot_keys_are_found_among_many() {
    let weir = Weir::with([]);
    let mut wire = weir.wire();
    wire.is("HOTKEYS START METRICS 2 CPU NET COUNT 3 SAMPLE 3", "+OK");
    let mut sender = wire.sender();
    let sending = thread::spawn(move || {
        let set = |number: usize| {
            let key =
                if number.is_multiple_of(10) { format!("hot:{}", number / 10 % 3) } else { format!("cold:{number}") };
            request(&["SET", &key, "value"])
        };
        for first in (0..60_000).step_by(BATCH) {
            let batch: Vec<u8> = (first..first + BATCH).flat_map(set).collect();
            sender.write_all(&batch).expect("the server reads");
        }
    });
    (0..60_000).for_each(|_| wire.expect("+OK\r\n"));
    sending.join().expect("the sender");
    wire.is("HOTKEYS STOP", "+OK");
    let report = wire.run("HOTKEYS GET");
    let (_, by_bytes) = report.split_once("by-net-bytes").expect("the list by bytes");
    let mut hot: Vec<&str> = by_bytes.split(' ').filter(|word| word.contains("hot:")).collect();
    hot.sort_unstable();
    assert_eq!(hot, ["hot:0", "hot:1", "hot:2"], "{report}");
}
