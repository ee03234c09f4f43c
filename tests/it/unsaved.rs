//! Data that cannot be saved, and data that are not to come back.

use crate::weir::{Start, Weir, eventually};
use std::fs;

#[test]
fn while_snapshots_fail_nothing_may_be_changed() {
    let weir = Weir::with(["--save", "3600 1000000"]);
    let mut wire = weir.wire();
    wire.is("SET k v", "+OK");
    let path = weir.dir().join("dump.rdb");
    fs::create_dir(&path).expect("a folder in its place");
    fs::write(path.join("file"), "").expect("a file");
    wire.run("BGSAVE");
    eventually("it has failed", || wire.run("INFO persistence").contains("rdb_last_bgsave_status:err"));
    assert!(wire.run("SET k w").starts_with("-MISCONF Redis is configured to save RDB snapshots"));
    assert!(wire.call(&["EVAL", "return redis.call('SET', 'k', 'w')", "1", "k"]).starts_with("-MISCONF"));
    assert_eq!(wire.call(&["EVAL", "return redis.call('GET', 'k')", "1", "k"]), "$1 v");
    assert!(wire.call(&["EVAL", "#!lua\nreturn 1", "0"]).starts_with("-MISCONF"), "it may want to write");
    assert_eq!(wire.call(&["EVAL", "#!lua flags=no-writes\nreturn 1", "0"]), ":1");
    wire.is("GET k", "$1 v");
    wire.is("CONFIG SET stop-writes-on-bgsave-error no", "+OK");
    wire.is("SET k w", "+OK");
    wire.is("CONFIG SET stop-writes-on-bgsave-error yes", "+OK");
    assert!(wire.run("SET k x").starts_with("-MISCONF"));
    fs::remove_dir_all(&path).expect("the folder goes");
    wire.run("BGSAVE");
    eventually("it is saved", || wire.run("INFO persistence").contains("rdb_last_bgsave_status:ok"));
    wire.is("SET k x", "+OK");
}

#[test]
fn what_was_flushed_does_not_come_back() {
    let weir = Weir::with(["--save", "3600 1000000"]);
    let mut wire = weir.wire();
    wire.is("SET k v", "+OK");
    wire.is("SAVE", "+OK");
    wire.is("SET k w", "+OK");
    wire.is("FLUSHALL", "+OK");
    assert_eq!(weir.info("rdb_changes_since_last_save"), 0);
    let weir = Start::new().folder(weir.killed()).start();
    weir.wire().is("DBSIZE", ":0");
}

#[test]
fn a_rewrite_that_is_under_way_when_everything_is_flushed_begins_anew() {
    for switched_on_late in [false, true] {
        // So slowly that it cannot be over before.
        let slow = ["--save", "3600 1000000", "--rdb-key-save-delay", "1000000"];
        let weir = Start::appending("always").options(slow);
        let weir = if switched_on_late { weir.options(["--appendonly", "no"]) } else { weir }.start();
        let mut wire = weir.wire();
        wire.is("DEBUG POPULATE 1000", "+OK");
        let begin = if switched_on_late { "CONFIG SET appendonly yes" } else { "BGREWRITEAOF" };
        assert!(wire.run(begin).starts_with('+'));
        eventually("keys are written", || weir.info("current_save_keys_total") == 1000);
        wire.is("SET before v", "+OK");
        wire.is("FLUSHALL", "+OK");
        wire.is("CONFIG SET rdb-key-save-delay 0", "+OK");
        wire.is("SET after v", "+OK");
        eventually("it is rewritten", || {
            weir.infos(["aof_rewrite_in_progress", "aof_rewrite_scheduled"]) == [0, 0]
                && weir.log().contains("AOF rewrite finished")
        });
        assert!(weir.log().contains("everything was flushed"), "{}", weir.log());
        wire.is("SET behind v", "+OK");
        let weir = Start::appending("always").folder(weir.killed()).start();
        let mut wire = weir.wire();
        wire.is("DBSIZE", ":2");
        wire.is("MGET after behind", "*2 $1 v $1 v");
    }
}
