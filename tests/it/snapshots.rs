//! Snapshots: what is in them, when they are written and read, and what happens to broken ones.

use crate::weir::{Start, Weir, eventually};
use std::fs;
use std::path::Path;

/// Values of every type, with deadlines on keys and on fields, in two databases, and a function.
fn fill(weir: &Weir) {
    let mut wire = weir.wire();
    for request in [
        "SET text hello",
        "SET number 12345",
        "SET short-lived v PX 60",
        "RPUSH list a 1 bb 70000",
        "SADD integers 1 -40000 5000000000",
        "SADD words a b c",
        "ZADD scores 1.5 a -inf b 1e300 c",
        "HSET hash f v g 7",
        "HPEXPIREAT hash 4000000000000 FIELDS 1 g",
        "XADD stream 5-1 f v",
        "XGROUP CREATE stream group 0",
        "XREADGROUP GROUP group consumer STREAMS stream >",
        "PFADD log a b c",
        "EXPIREAT text 4000000000",
        "SELECT 3",
        "SET elsewhere 1",
        "SELECT 0",
    ] {
        assert!(!wire.run(request).starts_with('-'), "{request}");
    }
    let many: Vec<String> = (0..2000).flat_map(|n| [format!("field{n}"), format!("value{n}")]).collect();
    let words: Vec<&str> = ["HSET", "big"].into_iter().chain(many.iter().map(String::as_str)).collect();
    assert_eq!(wire.call(&words), ":2000");
    let library = "#!lua name=lib\nredis.register_function('f', function() return 'loaded' end)";
    assert!(wire.call(&["FUNCTION", "LOAD", library]).starts_with('$'));
    eventually("the short-lived key has gone", || wire.run("EXISTS short-lived") == ":0");
}

fn digest(weir: &Weir) -> String {
    weir.wire().run("DEBUG DIGEST")
}

fn in_folder(folder: tempfile::TempDir) -> Start {
    Start::new().folder(folder).options(["--enable-debug-command", "yes"])
}

#[test]
fn what_was_there_at_the_end_is_there_again_at_the_next_start() {
    let weir = Weir::with(["--enable-debug-command", "yes"]);
    fill(&weir);
    let before = digest(&weir);
    let weir = in_folder(weir.stop()).start();
    assert_eq!(digest(&weir), before);
    assert_eq!(weir.info("rdb_last_load_keys_loaded"), 11);
    let mut wire = weir.wire();
    wire.is("EXPIRETIME text", ":4000000000");
    wire.is("HPEXPIRETIME hash FIELDS 2 f g", "*2 :-1 :4000000000000");
    wire.is("XPENDING stream group", "*4 :1 $3 5-1 $3 5-1 *1 *2 $8 consumer $1 1");
    wire.is("FCALL f 0", "$6 loaded");
}

#[test]
fn who_sent_a_message_once_may_send_it_again_after_a_restart() {
    let weir = Weir::with(["--enable-debug-command", "yes"]);
    let mut wire = weir.wire();
    let mut add = |request: &str| wire.call(&request.split(' ').collect::<Vec<_>>());
    add("XADD old 1-1 f v");
    add("XADD tuned 1-1 f v");
    add("XCFGSET tuned IDMP-DURATION 3600 IDMP-MAXSIZE 3");
    for n in 1..=1500 {
        add(&format!("XADD many IDMP p{} m{} * f v", n % 700, n / 700));
    }
    let sends = ["XADD few IDMP p 1 * f v", "XADD few IDMPAUTO p * f w", "XADD many IDMP p5 m1 * f v"];
    let first = sends.map(&mut add);
    let asked = ["XINFO STREAM many", "XINFO STREAM few", "XINFO STREAM tuned"];
    let before = asked.map(&mut add);
    assert!(add("XINFO STREAM many").contains("pids-tracked :700 $12 iids-tracked :1500"), "{}", before[0]);
    let snapshot = |folder: &Path| fs::read(folder.join("dump.rdb")).expect("a snapshot");
    assert_eq!(add("DEBUG RELOAD"), "+OK");
    assert_eq!(asked.map(&mut add), before);
    let folder = weir.stop();
    assert!(snapshot(folder.path()).starts_with(b"REDIS0013"));
    let weir = in_folder(folder).start();
    let mut wire = weir.wire();
    let mut add = |request: &str| wire.call(&request.split(' ').collect::<Vec<_>>());
    assert_eq!(asked.map(&mut add), before);
    assert_eq!(sends.map(&mut add), first, "they are the entries of before");
    assert_eq!([add("XLEN few"), add("XLEN many")], [":2", ":1500"]);
    // Without anything that only newer servers know, older ones read the file as well.
    for request in ["DEL few many", "XCFGSET tuned IDMP-DURATION 100 IDMP-MAXSIZE 100", "SAVE"] {
        assert!(!add(request).starts_with('-'), "{request}");
    }
    assert!(snapshot(weir.dir()).starts_with(b"REDIS0011"));
    // Valkey has no form for it.
    for request in ["XADD few IDMP p 1 * f v", "CONFIG SET rdb-dialect valkey", "DEBUG RELOAD"] {
        assert!(!add(request).starts_with('-'), "{request}");
    }
    assert!(snapshot(weir.dir()).starts_with(b"REDIS0011"));
    add("XADD few IDMP p 1 * f v");
    assert_eq!(add("XLEN few"), ":2");
}

#[test]
fn nothing_is_saved_at_the_end_unless_snapshots_are_wanted_or_asked_for() {
    let folder = {
        let weir = Weir::with(["--save", ""]);
        weir.wire().run("SET k v");
        weir.stop()
    };
    assert!(!folder.path().join("dump.rdb").exists());
    let mut weir = Start::new().folder(folder).options(["--save", "", "--dbfilename", "other.rdb"]).start();
    weir.wire().run("SET k v");
    weir.wire().begin("SHUTDOWN SAVE");
    assert!(weir.wait().success());
    let folder = weir.take_folder();
    assert!(folder.path().join("other.rdb").exists());
    let weir = Start::new().folder(folder).options(["--dbfilename", "other.rdb"]).start();
    weir.wire().is("GET k", "$1 v");
}

#[test]
fn save_replaces_the_file_as_a_whole_and_counts() {
    let weir = Weir::with(["--enable-debug-command", "yes"]);
    fill(&weir);
    let mut wire = weir.wire();
    assert!(weir.info("rdb_changes_since_last_save") > 0);
    wire.is("SAVE", "+OK");
    assert_eq!((weir.info("rdb_changes_since_last_save"), weir.info("rdb_saves")), (0, 1));
    assert!(wire.run("INFO persistence").contains("rdb_last_bgsave_time_sec:-1\r\n"), "it was none in the background");
    assert_eq!(wire.run("LASTSAVE"), format!(":{}", weir.info("rdb_last_save_time")));
    let (before, bytes) = (digest(&weir), fs::read(weir.dir().join("dump.rdb")).expect("a snapshot"));
    assert!(bytes.starts_with(b"REDIS0012"), "fields that expire need it");
    wire.is("DEBUG RELOAD", "+OK");
    assert_eq!(digest(&weir), before);
    wire.is("FLUSHALL", "+OK");
    wire.is("SET k v", "+OK");
    wire.is("SAVE", "+OK");
    let bytes = fs::read(weir.dir().join("dump.rdb")).expect("a snapshot");
    assert!(bytes.starts_with(b"REDIS0011"), "both camps read it");
    assert_eq!(temporary_files(&weir), [""; 0]);
}

fn temporary_files(weir: &Weir) -> Vec<String> {
    let names = fs::read_dir(weir.dir()).expect("a folder").map(|file| file.expect("a file").file_name());
    names.map(|name| name.to_string_lossy().into_owned()).filter(|name| name.starts_with("temp-")).collect()
}

#[test]
fn bgsave_writes_while_commands_go_on_and_can_be_called_off() {
    let weir = Weir::with(["--enable-debug-command", "yes", "--rdb-key-save-delay", "10000000"]);
    fill(&weir);
    let mut wire = weir.wire();
    let before = digest(&weir);
    for answer in ["Background saving is currently not in progress or scheduled"; 2] {
        assert_eq!(wire.run("BGSAVE CANCEL"), format!("-ERR {answer}"));
    }
    wire.is("BGSAVE NOW", "-ERR syntax error");
    wire.is("BGSAVE SCHEDULE NOW", "-ERR syntax error");
    wire.is("BGSAVE", "+Background saving started");
    assert_eq!(weir.info("rdb_bgsave_in_progress"), 1);
    for words in [&["BGSAVE"][..], &["BGSAVE", "SCHEDULE"], &["SAVE"]] {
        assert_eq!(wire.call(words), "-ERR Background save already in progress");
    }
    eventually("there is a file", || temporary_files(&weir).len() == 1);
    wire.is("BGSAVE CANCEL", "+Background saving cancelled");
    assert_eq!(weir.info("rdb_bgsave_in_progress"), 0);
    eventually("the file is taken away", || temporary_files(&weir).is_empty());
    assert!(!weir.dir().join("dump.rdb").exists());
    // In a transaction one is scheduled, and begins behind it.
    wire.is("MULTI", "+OK");
    wire.is("BGSAVE", "+QUEUED");
    wire.is("EXEC", "*1 +Background saving scheduled");
    eventually("it has begun", || weir.info("rdb_bgsave_in_progress") == 1);
    wire.is("SET later 1", "+OK");
    wire.is("DEL big", ":1");
    wire.is("CONFIG SET rdb-key-save-delay 0", "+OK");
    eventually("it is written", || weir.info("rdb_bgsave_in_progress") == 0);
    assert_eq!(weir.info("rdb_changes_since_last_save"), 2);
    // What was called off counts as well, as in Redis.
    assert_eq!((weir.info("rdb_saves"), temporary_files(&weir).len()), (2, 0));
    let file = fs::read(weir.dir().join("dump.rdb")).expect("a snapshot");
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("dump.rdb"), file).expect("a copy");
    let other = in_folder(folder).start();
    assert_eq!(digest(&other), before);
}

#[test]
fn save_points_write_snapshots_by_themselves() {
    let weir = Weir::with(["--save", "1 2"]);
    let mut wire = weir.wire();
    wire.is("SET one 1", "+OK");
    wire.is("SET two 2", "+OK");
    eventually("a snapshot is written", || weir.info("rdb_changes_since_last_save") == 0);
    assert_eq!(weir.info("rdb_saves"), 1);
    weir.wait_for_log("2 changes in 1 seconds. Saving...");
    assert!(weir.dir().join("dump.rdb").exists());
}

#[test]
fn a_snapshot_that_is_being_written_is_given_up_at_the_end() {
    let mut weir = Weir::with(["--rdb-key-save-delay", "10000000", "--enable-debug-command", "yes"]);
    fill(&weir);
    let mut wire = weir.wire();
    wire.is("BGSAVE", "+Background saving started");
    eventually("there is a file", || !temporary_files(&weir).is_empty());
    wire.begin("SHUTDOWN NOSAVE");
    assert!(weir.wait().success());
    assert_eq!((temporary_files(&weir), weir.dir().join("dump.rdb").exists()), (Vec::new(), false));
}

#[test]
fn a_snapshot_that_cannot_be_written_is_an_error_and_the_server_stays() {
    let mut weir = Weir::with([]);
    fs::create_dir(weir.dir().join("dump.rdb")).expect("a folder in its place");
    fs::write(weir.dir().join("dump.rdb/file"), "").expect("a file");
    let mut wire = weir.wire();
    wire.is("SET k v", "+OK");
    wire.is("SAVE", "-ERR");
    assert!(wire.run("SHUTDOWN").starts_with("-ERR Errors trying to SHUTDOWN"));
    weir.signal("TERM");
    weir.wait_for_log("SIGTERM received but errors trying to shut down");
    wire.is("GET k", "$1 v");
    assert!(weir.log().contains("could not save the data to "));
    // Only what was to be written in the background says that snapshots fail.
    assert!(wire.run("INFO persistence").contains("rdb_last_bgsave_status:ok"));
    wire.is("SET k w", "+OK");
    // The stop did not come about: who interrupts it now is the first to ask.
    weir.signal("INT");
    weir.wait_for_log("SIGINT received but errors trying to shut down");
    wire.is("GET k", "$1 w");
    wire.begin("SHUTDOWN FORCE");
    assert!(weir.wait().success());
}

#[test]
fn a_broken_snapshot_is_a_reason_not_to_start_and_is_left_as_it_is() {
    let weir = Weir::with([]);
    fill(&weir);
    let folder = weir.stop();
    let path = folder.path().join("dump.rdb");
    let whole = fs::read(&path).expect("a snapshot");
    let start = |bytes: &[u8], folder: &Path| {
        fs::write(folder.join("dump.rdb"), bytes).expect("a snapshot");
        let (status, log) = Start::new().options(["--dir", &folder.display().to_string()]).fail();
        assert_eq!(status.code(), Some(1), "{log}");
        assert_eq!(fs::read(folder.join("dump.rdb")).expect("a snapshot"), bytes);
        log
    };
    let log = start(&whole[..whole.len() - 30], folder.path());
    assert!(log.contains("dump.rdb cannot be loaded: at byte") && log.contains("the end is missing"), "{log}");
    let mut spoilt = whole.clone();
    let middle = spoilt.len() / 2;
    spoilt[middle] ^= 1;
    let log = start(&spoilt, folder.path());
    assert!(log.contains("dump.rdb cannot be loaded: at byte"), "{log}");
    let log = start(b"not a snapshot", folder.path());
    assert!(log.contains("does not begin as a snapshot"), "{log}");
    let log = start(b"REDIS9999", folder.path());
    assert!(log.contains("a version that is not known: 9999"), "{log}");
}

#[test]
fn a_snapshot_runs_no_commands_but_those_of_policies_and_schedules() {
    let file = |commands: &[&[&str]]| {
        let commands: Vec<u8> = commands.iter().flat_map(|words| crate::wire::request(words)).collect();
        let length = [0x40 | (commands.len() >> 8) as u8, commands.len() as u8];
        let aux = [b"\xfa\x0dweir-commands", &length[..], &commands].concat();
        [b"REDIS0011", &aux[..], b"\xfe\x00\x00\x01k\x01v\xff", &[0; 8]].concat()
    };
    let folder = |bytes: &[u8]| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("dump.rdb"), bytes).expect("a snapshot");
        folder
    };
    let policy = ["MQ.POLICY", "SET", "p", "PATTERN", "q*", "APPLY", "queues", "PRIORITY", "1", "DEF", "1"];
    let policy = [&policy[..], &["MAXLEN", "5"]].concat();
    for other in
        [&["SHUTDOWN", "NOSAVE"][..], &["CONFIG", "SET", "maxmemory", "1"], &["FLUSHALL"], &["MQ.POLICY", "DEL", "p"]]
    {
        let folder = folder(&file(&[&policy, other]));
        let (status, log) = Start::new().options(["--dir", &folder.path().display().to_string()]).fail();
        assert_eq!(status.code(), Some(1), "{log}");
        assert!(log.contains("the commands in the snapshot are broken"), "{log}");
    }
    let weir = in_folder(folder(&file(&[&["SELECT", "0"], &policy]))).start();
    weir.wire().is("GET k", "$1 v");
    assert!(weir.wire().run("MQ.POLICY LIST").starts_with("*1 "), "{}", weir.wire().run("MQ.POLICY LIST"));
}
