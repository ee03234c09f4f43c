//! Stores of the registry that are large: saved, rewritten and copied while they are written, and read again after a kill.

use crate::weir::{Start, Weir, eventually};
use crate::wire::{Wire, request};

/// Paths of the store: more than are saved in one step, by far.
const PATHS: usize = 30_000;

/// Writes a part of the store, some paths more than once, and deletes some.
fn write(wire: &mut Wire, numbers: std::ops::Range<usize>) {
    let numbers: Vec<usize> = numbers.collect();
    for numbers in numbers.chunks(500) {
        let mut requests = Vec::new();
        for &number in numbers {
            let path = format!("/service-{}/setting-{number}", number % 97);
            requests.extend(request(&["CFG.PUT", "s", &path, &format!("value of {number}")]));
            let other = format!("/service-{}/setting-{}", number / 2 % 97, number / 2);
            match number % 3 {
                0 => requests.extend(request(&["CFG.PUT", "s", &other, "again"])),
                1 => requests.extend(request(&["CFG.DEL", "s", &other])),
                _ => requests.extend(request(&["GET", "nothing"])),
            }
        }
        wire.send(&requests);
        for _ in 0..2 * numbers.len() {
            assert!(!wire.reply().starts_with('-'));
        }
    }
}

/// What is in the store, whatever its epoch.
fn digest(wire: &mut Wire) -> String {
    wire.run("DEBUG DIGEST-VALUE s")
}

#[test]
fn a_large_store_is_saved_as_it_was_while_it_is_written() {
    let weir = Weir::appending("everysec");
    let mut wire = weir.wire();
    write(&mut wire, 0..PATHS);
    let then = digest(&mut wire);
    assert!(!wire.run("BGSAVE").starts_with('-'));
    write(&mut wire, PATHS..PATHS + 3_000);
    let now = digest(&mut wire);
    assert_ne!(then, now);
    eventually("the snapshot is there", || weir.info("rdb_bgsave_in_progress") == 0);
    let saved = weir.stop();
    std::fs::remove_dir_all(saved.path().join("appendonlydir")).expect("the append-only file");
    let weir = Start::in_memory().folder(saved).start();
    assert_eq!(digest(&mut weir.wire()), then);
}

#[test]
fn a_file_is_rewritten_with_commands_while_a_large_store_is_written_and_read_after_a_kill() {
    let weir = Start::appending("everysec").options(["--aof-use-rdb-preamble", "no"]).start();
    let mut wire = weir.wire();
    write(&mut wire, 0..PATHS);
    assert!(!wire.run("BGREWRITEAOF").starts_with('-'));
    write(&mut wire, PATHS..PATHS + 3_000);
    eventually("the file is rewritten", || weir.info("aof_rewrite_in_progress") == 0);
    let now = digest(&mut wire);
    wire.is("DEBUG LOADAOF", "+OK");
    assert_eq!(digest(&mut wire), now);
    let base = std::fs::read_dir(weir.dir().join("appendonlydir")).expect("a folder");
    let names: Vec<_> = base.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    assert!(names.iter().any(|name| name.ends_with("base.aof")), "{names:?}");
    // What was said to be there is in the file, once that has been written.
    wire.is("WAITAOF 1 0 10000", "*2 :1 :0");
    let again = Start::appending("everysec").folder(weir.killed()).options(["--aof-use-rdb-preamble", "no"]).start();
    assert_eq!(digest(&mut again.wire()), now);
}

#[test]
fn a_store_goes_through_payloads_copies_and_other_names() {
    let weir = Weir::appending("everysec");
    let mut wire = weir.wire();
    write(&mut wire, 0..2_000);
    assert_eq!(wire.run("CFG.LEASE GRANT s 100000 ID 7").chars().next(), Some('*'));
    assert_eq!(wire.run("CFG.PUT s /leased 1 LEASE 7").chars().next(), Some(':'));
    let was = digest(&mut wire);
    wire.is("TYPE s", "+cfg.store");
    wire.is("OBJECT ENCODING s", "$4 tree");
    wire.is("COPY s copy", ":1");
    wire.is("RENAME s other", "+OK");
    wire.is("CFG.GET s /leased", "$-1");
    wire.is("RENAME copy s", "+OK");
    assert_eq!(digest(&mut wire), was);
    wire.is("SWAPDB 0 5", "+OK");
    wire.is("CFG.GET s /leased", "$-1");
    wire.is("SWAPDB 0 5", "+OK");
    wire.is("CFG.GET other /leased", "$1 1");
    wire.is("DEBUG RELOAD", "+OK");
    assert_eq!(digest(&mut wire), was);
    wire.is("SET text 1", "+OK");
    for command in ["CFG.GET text /a", "CFG.PUT text /a 1", "LPUSH s 1", "GET s"] {
        assert!(wire.run(command).starts_with("-WRONGTYPE"), "{command}");
    }
    wire.is("FLUSHALL", "+OK");
    wire.is("CFG.GET s /leased", "$-1");
    wire.is("CFG.PUT s /a 1", ":1");
}

#[test]
fn stores_are_never_evicted() {
    let weir = Start::appending("everysec").options(["--maxmemory-policy", "allkeys-random"]).start();
    let mut wire = weir.wire();
    write(&mut wire, 0..500);
    let was = digest(&mut wire);
    for number in 0..200 {
        wire.run(&format!("SET key:{number} {}", "x".repeat(1_000)));
    }
    // No room at all: everything goes that may.
    wire.is("CONFIG SET maxmemory 1", "+OK");
    eventually("all strings are gone", || weir.wire().run("DBSIZE") == ":1");
    wire.is("CONFIG SET maxmemory 0", "+OK");
    assert_eq!(digest(&mut wire), was);
}
