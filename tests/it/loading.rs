//! The time while data are read: who is answered what, and how it ends.

use crate::weir::{Start, Weir, eventually};
use std::fs;

const KEYS: usize = 3_000;
/// If each claim were believed, this file would take half an hour.
const CLAIMS_BYTES: usize = 16 << 20;

/// A folder with a snapshot of many keys.
fn snapshot() -> tempfile::TempDir {
    let weir = Weir::with([]);
    let mut wire = weir.wire();
    let words: Vec<String> = (0..KEYS).flat_map(|n| [format!("key:{n}"), format!("value {n}")]).collect();
    let words: Vec<&str> = ["MSET"].into_iter().chain(words.iter().map(String::as_str)).collect();
    assert_eq!(wire.call(&words), "+OK");
    wire.is("SADD set a b", ":2");
    weir.stop()
}

/// A server that takes a minute to read it, unless it is told to hurry.
fn slow_start() -> Weir {
    let options = ["--key-load-delay", "20000", "--enable-debug-command", "yes"];
    Start::new().folder(snapshot()).options(options).start_loading()
}

#[test]
fn while_data_are_read_clients_are_told_so_and_how_far_it_is() {
    let weir = slow_start();
    let mut wire = weir.wire();
    wire.is("GET key:1", "-LOADING Redis is loading the dataset in memory");
    assert!(wire.run("SET key:1 v").starts_with("-LOADING"));
    assert!(wire.call(&["EVAL", "return 1", "0"]).starts_with("-LOADING"));
    assert!(wire.run("SAVE").starts_with("-LOADING"));
    wire.is("MULTI", "+OK");
    assert!(wire.run("GET key:1").starts_with("-LOADING"));
    assert!(wire.run("EXEC").starts_with("-EXECABORT"));
    wire.is("CONFIG SET key-load-delay 10000", "+OK");
    assert!(wire.run("HELLO 2").starts_with('*'));
    // What is being read would be missing in a file that begins now.
    for settings in [&["appendonly", "yes"][..], &["appendonly", "perhaps"], &["maxmemory", "0", "appendonly", "yes"]] {
        let reply = wire.call(&[&["CONFIG", "SET"], settings].concat());
        assert_eq!(reply, "-LOADING Redis is loading the dataset in memory", "{settings:?}");
    }
    assert_eq!(weir.info("loading"), 1);
    assert!(weir.info("loading_total_bytes") > 30_000 && weir.info("loading_start_time") > 1_600_000_000);
    eventually("some of it is there", || weir.info("loading_loaded_bytes") > 0);
    assert!(!weir.log().contains("Ready to accept connections"));
    wire.is("CONFIG SET key-load-delay 0", "+OK");
    weir.wait_for_log("Ready to accept connections");
    assert_eq!(weir.info("loading"), 0);
    assert_eq!(wire.run("DBSIZE"), format!(":{}", KEYS + 1));
    wire.is("CONFIG SET appendonly yes", "+OK");
    wire.is("GET key:7", "$7 value 7");
    assert_eq!(
        (weir.info("rdb_last_load_keys_loaded"), weir.info("rdb_changes_since_last_save")),
        (KEYS as u64 + 1, 0)
    );
}

#[test]
fn what_ends_meanwhile_saves_nothing() {
    for by_signal in [false, true] {
        let mut weir = slow_start();
        let mut wire = weir.wire();
        let before = fs::read(weir.dir().join("dump.rdb")).expect("a snapshot");
        assert_eq!(weir.info("loading"), 1);
        if by_signal {
            weir.signal("TERM");
        } else {
            wire.begin("SHUTDOWN");
        }
        assert!(weir.wait().success());
        assert_eq!(fs::read(weir.dir().join("dump.rdb")).expect("a snapshot"), before);
    }
}

#[test]
fn an_error_behind_much_data_ends_the_process_and_leaves_the_file() {
    let folder = snapshot();
    let path = folder.path().join("dump.rdb");
    let whole = fs::read(&path).expect("a snapshot");
    let cut = &whole[..whole.len() - 40];
    fs::write(&path, cut).expect("a snapshot");
    let (status, log) = Start::new().options(["--dir", &folder.path().display().to_string()]).fail();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("dump.rdb cannot be loaded: at byte"), "{log}");
    assert!(log.contains("Terminating server after rdb file reading failure."), "{log}");
    assert!(!log.contains("Ready to accept connections"), "{log}");
    assert_eq!(fs::read(&path).expect("the file"), cut);
}

#[test]
fn collections_without_elements_are_passed_over_and_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut file = b"REDIS0011\xfe\x00".to_vec();
    file.extend_from_slice(b"\x02\x05empty\x00\x00\x04full\x01v\xff\0\0\0\0\0\0\0\0");
    fs::write(folder.path().join("dump.rdb"), file).expect("a file");
    let weir = Start::new().folder(folder).start();
    weir.wire().is("DBSIZE", ":1");
    weir.wire().is("GET full", "$1 v");
    let log = weir.log();
    assert!(log.contains("skipping empty key: empty") && log.contains("empty keys skipped: 1"), "{log}");
}

#[test]
fn a_file_that_claims_sizes_again_and_again_is_read_all_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut file = b"REDIS0011\xfe\x00".to_vec();
    while file.len() < CLAIMS_BYTES {
        // Four thousand million keys, and none of them with a deadline.
        file.extend_from_slice(b"\xfb\x80\xff\xff\xff\xff\x00");
    }
    file.extend_from_slice(b"\x00\x04full\x01v\xff\0\0\0\0\0\0\0\0");
    fs::write(folder.path().join("dump.rdb"), file).expect("a file");
    let weir = Start::new().folder(folder).start();
    weir.wire().is("GET full", "$1 v");
    assert!(weir.rss_peak_bytes() < 1 << 28, "{} bytes", weir.rss_peak_bytes());
}

#[test]
fn a_library_of_functions_is_looked_at_when_it_comes() {
    // What is behind it is not needed to know that it is wrong, nor is it kept until then.
    let file = b"REDIS0011\xf5\x04none\xf5\x04none\xfe";
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("dump.rdb"), file).expect("a file");
    let (status, log) = Start::new().options(["--dir", &folder.path().display().to_string()]).fail();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("a library of functions in the snapshot is refused"), "{log}");
}

#[test]
fn a_newer_version_is_refused_unless_it_may_be_tried() {
    let file = b"REDIS0099\xfe\x00\x00\x01k\x01v\xff\0\0\0\0\0\0\0\0";
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("dump.rdb"), file).expect("a file");
    let (status, log) = Start::new().options(["--dir", &folder.path().display().to_string()]).fail();
    assert_eq!(status.code(), Some(1), "{log}");
    let weir = Start::new().folder(folder).options(["--rdb-version-check", "relaxed"]).start();
    weir.wire().is("GET k", "$1 v");
}
