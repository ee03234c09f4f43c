//! Data that cannot be saved, and data that are not to come back.

use crate::weir::{Start, Weir, eventually};
use std::fs;

#[test]
fn while_snapshots_fail_nothing_may_be_changed() {
    let weir = Weir::with(["--save", "3600 1000000"]);
    let mut wire = weir.wire();
    assert_eq!(wire.call(&["SET", "k", "v"]), "+OK");
    let path = weir.dir().join("dump.rdb");
    fs::create_dir(&path).expect("a folder in its place");
    fs::write(path.join("file"), "").expect("a file");
    wire.call(&["BGSAVE"]);
    eventually("it has failed", || wire.call(&["INFO", "persistence"]).contains("rdb_last_bgsave_status:err"));
    assert!(wire.call(&["SET", "k", "w"]).starts_with("-MISCONF Redis is configured to save RDB snapshots"));
    assert!(wire.call(&["EVAL", "return redis.call('SET', 'k', 'w')", "1", "k"]).starts_with("-MISCONF"));
    assert_eq!(wire.call(&["EVAL", "return redis.call('GET', 'k')", "1", "k"]), "$1 v");
    assert!(wire.call(&["EVAL", "#!lua\nreturn 1", "0"]).starts_with("-MISCONF"), "it may want to write");
    assert_eq!(wire.call(&["EVAL", "#!lua flags=no-writes\nreturn 1", "0"]), ":1");
    assert_eq!(wire.call(&["GET", "k"]), "$1 v");
    assert_eq!(wire.call(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]), "+OK");
    assert_eq!(wire.call(&["SET", "k", "w"]), "+OK");
    assert_eq!(wire.call(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "yes"]), "+OK");
    assert!(wire.call(&["SET", "k", "x"]).starts_with("-MISCONF"));
    fs::remove_dir_all(&path).expect("the folder goes");
    wire.call(&["BGSAVE"]);
    eventually("it is saved", || wire.call(&["INFO", "persistence"]).contains("rdb_last_bgsave_status:ok"));
    assert_eq!(wire.call(&["SET", "k", "x"]), "+OK");
}

#[test]
fn what_was_flushed_does_not_come_back() {
    let weir = Weir::with(["--save", "3600 1000000"]);
    let mut wire = weir.wire();
    assert_eq!(wire.call(&["SET", "k", "v"]), "+OK");
    assert_eq!(wire.call(&["SAVE"]), "+OK");
    assert_eq!(wire.call(&["SET", "k", "w"]), "+OK");
    assert_eq!(wire.call(&["FLUSHALL"]), "+OK");
    assert_eq!(weir.info("rdb_changes_since_last_save"), 0);
    let weir = Start::new().folder(weir.killed()).start();
    assert_eq!(weir.wire().call(&["DBSIZE"]), ":0");
}
