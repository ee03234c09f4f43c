//! The append-only file: what is there after whatever end, what is refused, and what happens when the disk takes no more.

use crate::weir::{Start, Weir, eventually, run};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// What is answered is on disk, so that a kill may come at any moment: with `everysec` what is written while the disk is busy
/// waits in the server.
fn start(folder: TempDir, options: &[&str]) -> Start {
    Start::appending("always").folder(folder).options(options.iter().copied())
}

fn fresh(options: &[&str]) -> Weir {
    start(TempDir::new().expect("a temporary folder"), options).start()
}

/// Values of every type, with deadlines on keys and on fields, in two databases, and a function.
fn fill(weir: &Weir) {
    let mut wire = weir.wire();
    for request in [
        "SET text hello",
        "SET number 12345",
        "SET gone v PX 1",
        "RPUSH list a 1 bb 70000",
        "SADD integers 1 -40000 5000000000",
        "SADD words a b c d e",
        "SPOP words 2",
        "ZADD scores 1.5 a -inf b 1e300 c 0.1 d",
        "HSET hash f v g 7",
        "HPEXPIREAT hash 4000000000000 FIELDS 1 g",
        "XADD stream 5-1 f v",
        "XADD stream 6-1 f v",
        "XADD emptied 1-1 f v",
        "XDEL emptied 1-1",
        "XGROUP CREATE stream group 0",
        "XGROUP CREATECONSUMER stream group idle",
        "XREADGROUP GROUP group consumer COUNT 1 STREAMS stream >",
        "PFADD log a b c",
        "EXPIREAT text 4000000000",
        "SELECT 3",
        "SET elsewhere 1",
        "SELECT 0",
        "MULTI",
        "INCR number",
        "LPUSH list x",
        "EXEC",
    ] {
        assert!(!wire.run(request).starts_with('-'), "{request}");
    }
    for command in ["HSET", "ZADD", "RPUSH", "SADD"] {
        let key = format!("big-{command}");
        let mut words: Vec<String> = vec![command.to_owned(), key];
        // So many that they are given to a rewrite in parts.
        for n in 0..3000 {
            match command {
                "HSET" => words.extend([format!("field{n}"), format!("value{n}")]),
                "ZADD" => words.extend([format!("{n}.5"), format!("member{n}")]),
                _ => words.push(format!("element{n}")),
            }
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        assert!(wire.call(&words).starts_with(':'));
    }
    for n in 1..=2000 {
        wire.send(crate::wire::request(&["XADD", "big-XADD", &format!("{n}-0"), "field", &format!("value{n}")]));
    }
    for _ in 1..=2000 {
        assert!(wire.reply().starts_with('$'));
    }
    for request in [
        "XGROUP CREATE big-XADD group 0",
        "XREADGROUP GROUP group one COUNT 700 STREAMS big-XADD >",
        "XREADGROUP GROUP group two COUNT 5 STREAMS big-XADD >",
        "XNACK big-XADD group FAIL IDS 2 7-0 8-0",
        "XDEL big-XADD 1500-0 1999-0",
        "XADD big-XADD IDMP p 1 * f v",
        "XADD big-XADD IDMP q 1 * f v",
        "XADD sent 1-1 f v",
        "XCFGSET sent IDMP-DURATION 3600 IDMP-MAXSIZE 7",
        "XADD sent IDMP p 1 * f v",
        "XADD sent IDMPAUTO p * f v",
        "XADD settings 1-1 f v",
        "XCFGSET settings IDMP-MAXSIZE 8",
    ] {
        assert!(!wire.run(request).starts_with('-'), "{request}");
    }
    assert!(wire.run("HPEXPIREAT big-HSET 4000000000000 FIELDS 1 field7").starts_with('*'));
    let library = "#!lua name=lib\nredis.register_function('f', function() return 'loaded' end)";
    assert!(wire.call(&["FUNCTION", "LOAD", library]).starts_with('$'));
    eventually("the short-lived key has gone", || wire.run("EXISTS gone") == ":0");
}

/// What can be asked of the data beside the digest.
fn look(weir: &Weir) -> Vec<String> {
    let mut wire = weir.wire();
    [
        "DEBUG DIGEST",
        "EXPIRETIME text",
        "HPEXPIRETIME hash FIELDS 2 f g",
        "HPEXPIRETIME big-HSET FIELDS 2 field7 field8",
        "XPENDING stream group",
        "XPENDING big-XADD group",
        "XINFO STREAM emptied",
        "XADD big-XADD IDMP q 1 * f v",
        "XINFO STREAM sent",
        "XINFO STREAM settings",
        "XINFO GROUPS stream",
        "FCALL f 0",
    ]
    .map(|request| wire.run(request))
    .to_vec()
}

fn aof_folder(folder: &Path) -> PathBuf {
    folder.join("appendonlydir")
}

fn manifest(folder: &Path) -> String {
    fs::read_to_string(aof_folder(folder).join("appendonly.aof.manifest")).expect("a manifest")
}

fn rewrite(weir: &Weir) {
    let before = weir.info("aof_rewrites");
    assert!(weir.wire().run("BGREWRITEAOF").starts_with('+'));
    eventually("it is rewritten", || {
        let [rewrites_now, rewriting] = weir.infos(["aof_rewrites", "aof_rewrite_in_progress"]);
        rewrites_now > before && rewriting == 0
    });
}

#[test]
fn large_requests_stand_in_their_places_in_the_file() {
    for policy in ["always", "everysec", "no"] {
        let weir = fresh(&["--appendfsync", policy]);
        let mut wire = weir.wire();
        let large = |byte: &str| byte.repeat(300_000);
        let requests = [
            vec!["SET".into(), "before".into(), "1".into()],
            vec!["SET".into(), "key".into(), large("a")],
            vec!["APPEND".into(), "key".into(), "b".into()],
            vec!["SELECT".into(), "5".into()],
            vec!["APPEND".into(), "key".into(), large("c")],
            vec!["MULTI".into()],
            vec!["APPEND".into(), "key".into(), large("d")],
            vec!["APPEND".into(), "key".into(), "e".into()],
            vec!["EXEC".into()],
            vec!["SELECT".into(), "0".into()],
            vec!["APPEND".into(), "key".into(), large("f")],
            vec!["SET".into(), "huge".into(), "g".repeat(3_000_000)],
            vec!["RENAME".into(), "before".into(), "behind".into()],
        ];
        // All in one turn, perhaps.
        let words = requests.iter().map(|request| request.iter().map(String::as_str).collect::<Vec<_>>());
        wire.send(words.map(|request| crate::wire::request(&request)).collect::<Vec<_>>().concat());
        for request in &requests {
            let reply = wire.reply();
            assert!(!reply.starts_with('-'), "{}: {reply}", request[0]);
        }
        let digest = weir.wire().run("DEBUG DIGEST");
        weir.wire().is("DEBUG LOADAOF", "+OK");
        assert_eq!(weir.wire().run("DEBUG DIGEST"), digest, "{policy}");
        weir.wire().is("STRLEN key", ":600001");
    }
}

#[test]
fn what_the_file_takes_is_in_the_figures() {
    let weir = fresh(&["--appendfsync", "everysec"]);
    let mut wire = weir.wire();
    eventually("some microseconds were counted", || {
        assert_eq!(wire.call(&["SET", "key", &"v".repeat(10_000)]), "+OK");
        !wire.run("INFO debug").contains("eventloop_duration_aof_sum:0\r")
    });
    let stats: HashMap<String, redis::Value> =
        redis::cmd("MEMORY").arg("STATS").query(&mut weir.client()).expect("MEMORY STATS");
    let Some(redis::Value::Int(bytes)) = stats.get("aof.buffer") else { panic!("no aof.buffer in {stats:?}") };
    assert!((10_000..1_000_000).contains(bytes), "{bytes}");
    assert!(weir.info("mem_aof_buffer") >= 10_000);
}

#[test]
fn everything_is_there_again_after_a_kill_rewritten_or_not_in_either_form() {
    for preamble in ["yes", "no"] {
        let options = ["--aof-use-rdb-preamble", preamble, "--aof-timestamp-enabled", "yes"];
        let weir = fresh(&options);
        fill(&weir);
        let before = look(&weir);
        let weir = start(weir.killed(), &options).start();
        assert_eq!(look(&weir), before, "from commands, preamble {preamble}");
        rewrite(&weir);
        let form = if preamble == "yes" { "rdb" } else { "aof" };
        let expected =
            format!("file appendonly.aof.2.base.{form} seq 2 type b\nfile appendonly.aof.2.incr.aof seq 2 type i\n");
        assert_eq!(manifest(weir.dir()), expected);
        let weir = start(weir.killed(), &options).start();
        assert_eq!(look(&weir), before, "from the base, preamble {preamble}");
        weir.wire().is("SET after 1", "+OK");
        weir.wire().is("DEBUG LOADAOF", "+OK");
        weir.wire().is("GET after", "$1 1");
        weir.wire().is("DEL after", ":1");
        assert_eq!(look(&weir), before, "read again, preamble {preamble}");
        let names =
            fs::read_dir(aof_folder(weir.dir())).expect("the folder").map(|entry| entry.expect("a name").file_name());
        // The journal comes when it is made.
        let left: Vec<_> = names.filter(|name| !name.to_string_lossy().ends_with(".journal")).collect();
        assert_eq!(left.len(), 4, "base, increment, manifest, lock: {left:?}");
    }
}

#[test]
fn what_a_consumer_without_a_name_has_and_what_was_given_back_stay_apart() {
    // With so many entries a stream is given to a rewrite in parts.
    for (preamble, entries) in [("yes", 5), ("yes", 3000), ("no", 5), ("no", 3000)] {
        let options = ["--aof-use-rdb-preamble", preamble];
        let weir = fresh(&options);
        let mut wire = weir.wire();
        for n in 1..=entries {
            assert!(wire.run(&format!("XADD s {n}-1 f v")).starts_with('$'));
        }
        wire.is("XGROUP CREATE s g 0", "+OK");
        for (consumer, count) in [("", "2"), ("named", "1"), ("", "2")] {
            let read = ["XREADGROUP", "GROUP", "g", consumer, "COUNT", count, "STREAMS", "s", ">"];
            assert!(wire.call(&read).starts_with('*'));
        }
        assert_eq!(wire.run("XNACK s g FAIL IDS 1 2-1"), ":1");
        wire.call(&["XGROUP", "CREATECONSUMER", "s", "g", "\0"]);
        let look = |weir: &Weir| ["XPENDING s g", "XINFO GROUPS s"].map(|request| weir.wire().run(request));
        let before = look(&weir);
        rewrite(&weir);
        let weir = start(weir.killed(), &options).start();
        assert_eq!(look(&weir), before, "preamble {preamble}, {entries} entries");
    }
}

#[test]
fn a_torn_end_is_cut_off_wherever_it_is_and_refused_where_that_is_wanted() {
    let weir = fresh(&[]);
    weir.wire().is("SET a 1", "+OK");
    weir.wire().is("SET b 2", "+OK");
    let mut folder = weir.stop();
    let path = aof_folder(folder.path()).join("appendonly.aof.1.incr.aof");
    let whole = fs::read(&path).expect("the increment");
    let last = b"*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$1\r\n2\r\n".len();
    for missing in 1..=last {
        fs::write(&path, &whole[..whole.len() - missing]).expect("a writable file");
        let weir = start(folder, &[]).start();
        assert_eq!(weir.wire().run("MGET a b"), "*2 $1 1 $-1", "{missing}");
        assert_eq!(weir.log().contains("Truncating the AOF"), missing < last);
        weir.wire().is("SET c 3", "+OK");
        let weir = start(weir.killed(), &["--aof-load-truncated", "no"]).start();
        assert_eq!(weir.wire().run("MGET a c"), "*2 $1 1 $1 3", "{missing}");
        folder = weir.stop();
    }
    fs::write(&path, &whole[..whole.len() - 1]).expect("a writable file");
    let (status, log) = start(folder, &["--aof-load-truncated", "no"]).fail();
    assert!(!status.success() && log.contains("Unexpected end of file reading the append only file"), "{log}");
}

#[test]
fn a_transaction_that_is_not_complete_is_not_run_at_all() {
    let weir = fresh(&[]);
    let mut wire = weir.wire();
    for request in ["SET a 1", "MULTI", "SET a 2", "SET b 2", "EXEC"] {
        wire.run(request);
    }
    let folder = weir.stop();
    let path = aof_folder(folder.path()).join("appendonly.aof.1.incr.aof");
    let whole = fs::read(&path).expect("the increment");
    fs::write(&path, &whole[..whole.len() - 14]).expect("a writable file");
    let weir = start(folder, &[]).start();
    weir.wire().is("MGET a b", "*2 $1 1 $-1");
    weir.wait_for_log("Revert incomplete MULTI/EXEC transaction");
}

/// A folder with one increment.
fn with_increment(parts: &[&str]) -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    let dir = aof_folder(folder.path());
    fs::create_dir(&dir).expect("a writable folder");
    fs::write(dir.join("appendonly.aof.manifest"), "file appendonly.aof.1.incr.aof seq 1 type i\n").expect("writable");
    fs::write(dir.join("appendonly.aof.1.incr.aof"), parts.concat()).expect("writable");
    folder
}

#[test]
fn trimming_is_run_as_redis_and_valkey_write_it() {
    // Of `MAXLEN ~ 3 LIMIT 2` they write what came of it, and leave the limit there.
    let add = |n: usize| format!("*5\r\n$4\r\nXADD\r\n$1\r\ns\r\n$3\r\n{n}-0\r\n$1\r\nf\r\n$1\r\nv\r\n");
    let trim = "*10\r\n$4\r\nXADD\r\n$1\r\ns\r\n$6\r\nMAXLEN\r\n$1\r\n=\r\n$1\r\n2\r\n$5\r\nLIMIT\r\n$1\r\n1\r\n$3\r\n6-0\r\n\
                $1\r\nf\r\n$1\r\nv\r\n";
    let weir = start(with_increment(&[&add(1), &add(2), &add(3), trim]), &[]).start();
    weir.wire().is("XRANGE s - +", "*2 *2 $3 3-0 *2 $1 f $1 v *2 $3 6-0 *2 $1 f $1 v");
    assert!(weir.wire().run("XADD s MAXLEN = 2 LIMIT 1 * f v").starts_with("-ERR syntax error, LIMIT cannot be used"));
}

#[test]
fn what_is_broken_in_the_middle_is_refused_with_its_place_and_can_be_cut_off() {
    const SET: &str = "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n";
    for (broken, words) in [("!!!", "Bad file format"), ("*1\r\n$4\r\nNOPE\r\n", "Unknown command 'NOPE'")] {
        let (status, log) = start(with_increment(&[SET, broken, SET]), &[]).fail();
        let place = if words.starts_with("Bad") { SET.len() } else { SET.len() + broken.len() };
        assert!(!status.success() && log.contains(words) && log.contains(&format!("byte {place}")), "{log}");
    }
    let folder = with_increment(&[SET, "!!!", SET]);
    let manifest = aof_folder(folder.path()).join("appendonly.aof.manifest");
    let manifest = manifest.to_str().expect("a plain name");
    let told = run(["check-aof", manifest], "");
    assert!(!told.status.success() && String::from_utf8_lossy(&told.stdout).contains("is not valid"));
    let told = run(["check-aof", "--fix", manifest], "n\n");
    assert!(!told.status.success() && String::from_utf8_lossy(&told.stdout).contains("Aborting"));
    let told = run(["check-aof", "--fix", manifest], "y\n");
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stdout));
    let weir = start(folder, &["--aof-load-truncated", "no"]).start();
    weir.wire().is("GET a", "$1 1");
}

#[test]
fn the_single_file_of_old_servers_becomes_the_base() {
    let folder = TempDir::new().expect("a temporary folder");
    let set = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n";
    fs::write(folder.path().join("appendonly.aof"), set).expect("a writable folder");
    let weir = start(folder, &[]).start();
    weir.wire().is("GET k", "$1 v");
    assert!(!weir.dir().join("appendonly.aof").exists());
    let expected = "file appendonly.aof seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n";
    assert_eq!(manifest(weir.dir()), expected);
    rewrite(&weir);
    assert!(!aof_folder(weir.dir()).join("appendonly.aof").exists());
    weir.wire().is("DEBUG LOADAOF", "+OK");
    weir.wire().is("GET k", "$1 v");
}

#[test]
fn two_servers_do_not_share_the_files_but_one_after_the_other_does() {
    let weir = fresh(&[]);
    let dir = weir.dir().to_str().expect("a plain name").to_owned();
    let (status, log) = Start::new().options(["--appendonly", "yes", "--dir", &dir]).fail();
    assert!(!status.success() && log.contains("another server is writing the append-only file"), "{log}");
    let other = Start::new()
        .options(["--appendonly", "yes", "--save", "", "--appendfilename", "other.aof", "--dir", &dir])
        .start();
    other.wire().is("SET k other", "+OK");
    let third = Start::new().options(["--appendonly", "no", "--save", "", "--dir", &dir]).start();
    let refused = third.wire().run("CONFIG SET appendonly yes");
    assert!(refused.ends_with("Unable to turn on AOF. Check server logs."), "{refused}");
    third.wire().is("CONFIG GET appendonly", "*2 $10 appendonly $2 no");
    drop(third);
    weir.wire().is("SET k v", "+OK");
    drop(other);
    let weir = start(weir.killed(), &[]).start();
    weir.wire().is("GET k", "$1 v");
}

#[test]
fn it_is_switched_on_and_off_at_run_time() {
    let weir = fresh(&["--appendonly", "no"]);
    assert_eq!(
        weir.wire().run("WAITAOF 1 0 0"),
        "-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled."
    );
    weir.wire().is("SET before 1", "+OK");
    weir.wire().is("CONFIG SET appendonly yes", "+OK");
    weir.wire().is("SET meanwhile 2", "+OK");
    eventually("there is a base", || weir.info("aof_rewrite_in_progress") == 0);
    weir.wire().is("SET after 3", "+OK");
    weir.wire().is("WAITAOF 1 0 5000", "*2 :1 :0");
    weir.wire().is("CONFIG SET appendonly no", "+OK");
    weir.wire().is("SET unwritten 4", "+OK");
    let weir = start(weir.killed(), &[]).start();
    weir.wire().is("MGET before meanwhile after unwritten", "*4 $1 1 $1 2 $1 3 $-1");
}

#[test]
fn replies_come_in_order_and_only_for_what_is_on_disk_with_fsync_always() {
    let weir = fresh(&[]);
    let mut wires: Vec<_> = (0..8).map(|_| weir.wire()).collect();
    for round in 0..50 {
        for (at, wire) in wires.iter_mut().enumerate() {
            let mut pipeline = crate::wire::request(&["INCR", &format!("n{at}")]);
            pipeline.extend(crate::wire::request(&["ECHO", &format!("{round}")]));
            pipeline.extend(crate::wire::request(&["GET", &format!("n{at}")]));
            wire.send(pipeline);
        }
        for wire in &mut wires {
            assert_eq!(wire.reply(), format!(":{}", round + 1));
            let echoed = format!("{round}");
            assert_eq!(wire.reply(), format!("${} {echoed}", echoed.len()));
            let number = format!("{}", round + 1);
            assert_eq!(wire.reply(), format!("${} {number}", number.len()));
        }
    }
    let weir = start(weir.killed(), &[]).start();
    weir.wire().is("MGET n0 n7", "*2 $2 50 $2 50");
}

pub(crate) fn limit_file_size(weir: &Weir, bytes: &str) -> bool {
    let limited =
        Command::new("prlimit").args(["--pid", &weir.pid().to_string(), &format!("--fsize={bytes}:")]).status();
    limited.is_ok_and(|status| status.success())
}

#[test]
fn a_disk_that_takes_no_more_has_writes_refused_until_it_does() {
    let weir = fresh(&["--auto-aof-rewrite-percentage", "0", "--appendfsync", "no"]);
    weir.wire().is("SET before 1", "+OK");
    if !limit_file_size(&weir, "20000") {
        println!("skipped: there is no prlimit here");
        return;
    }
    let value = "x".repeat(3000);
    let mut acknowledged = 0;
    eventually("the file is full", || {
        let refused = weir
            .wire()
            .run(&format!("SET k{acknowledged} {value}"))
            .starts_with("-MISCONF Errors writing to the AOF file");
        acknowledged += usize::from(!refused);
        refused
    });
    assert!(acknowledged < 20, "{acknowledged}");
    weir.wire().is("GET before", "$1 1");
    for request in [&["PING"][..], &["EVAL", "return redis.call('SET', 'before', '2')", "0"], &["DEL", "before"]] {
        let refused = weir.wire().call(request);
        assert!(refused.starts_with("-MISCONF Errors writing to the AOF file"), "{request:?}: {refused}");
    }
    assert!(weir.wire().run("INFO persistence").contains("aof_last_write_status:err"));
    assert!(limit_file_size(&weir, "unlimited"));
    eventually("it writes again", || weir.wire().run("SET after 1") == "+OK");
    let weir = start(weir.killed(), &["--aof-load-truncated", "no"]).start();
    weir.wire().is("MGET before after", "*2 $1 1 $1 1");
    assert_eq!(weir.wire().run("DBSIZE"), format!(":{}", acknowledged + 2));
}

#[test]
fn what_the_disk_did_not_take_is_not_done_twice_after_a_rewrite() {
    let weir = fresh(&["--auto-aof-rewrite-percentage", "0", "--appendfsync", "no", "--rdb-key-save-delay", "500000"]);
    if !limit_file_size(&weir, "20000") {
        println!("skipped: there is no prlimit here");
        return;
    }
    let value = "x".repeat(3000);
    let mut acknowledged = 0;
    eventually("the file is full", || {
        let refused = weir.wire().run(&format!("APPEND k {value}")).starts_with("-MISCONF");
        acknowledged += usize::from(!refused);
        refused
    });
    // The new increment has room for what the old one has not.
    assert!(weir.wire().run("BGREWRITEAOF").starts_with("+Background"));
    eventually("the rewrite has ended", || {
        let [rewrites, rewriting] = weir.infos(["aof_rewrites", "aof_rewrite_in_progress"]);
        rewriting == 0 || rewrites == 2
    });
    assert!(limit_file_size(&weir, "unlimited"));
    // Another one follows, since what could not be written may be lost; before it is over, the files are those of the first.
    eventually("the next one has begun", || weir.info("aof_rewrites") == 2);
    let weir = start(weir.killed(), &["--aof-load-truncated", "no", "--rdb-key-save-delay", "0"]).start();
    assert_eq!(weir.wire().run("STRLEN k"), format!(":{}", acknowledged * value.len()));
}

#[test]
fn it_ends_rather_than_acknowledge_what_cannot_be_written_with_fsync_always() {
    let mut weir = fresh(&["--auto-aof-rewrite-percentage", "0"]);
    weir.wire().is("SET before 1", "+OK");
    if !limit_file_size(&weir, "2000") {
        println!("skipped: there is no prlimit here");
        return;
    }
    let mut wire = weir.wire();
    wire.send(crate::wire::request(&["SET", "lost", &"x".repeat(3000)]));
    assert!(wire.is_closed());
    assert!(!weir.wait().success());
    let weir = start(weir.take_folder(), &["--aof-load-truncated", "no"]).start();
    weir.wire().is("MGET before lost", "*2 $1 1 $-1");
}

#[test]
fn what_cannot_be_used_is_refused_with_a_reason() {
    let check = |prepare: fn(&Path), words: &str| {
        let folder = TempDir::new().expect("a temporary folder");
        prepare(folder.path());
        let (status, log) = start(folder, &[]).fail();
        assert!(!status.success() && log.contains(words), "{words}: {log}");
    };
    check(|dir| fs::write(aof_folder(dir), "").expect("writable"), "cannot be used");
    let with_manifest = |dir: &Path, text: &str| {
        fs::create_dir(aof_folder(dir)).expect("writable");
        fs::write(aof_folder(dir).join("appendonly.aof.manifest"), text).expect("writable");
    };
    const MISSING: &str = "file appendonly.aof.1.incr.aof seq 1 type i\n";
    check(
        |dir| {
            fs::create_dir(aof_folder(dir)).expect("writable");
            fs::write(aof_folder(dir).join("appendonly.aof.manifest"), MISSING).expect("writable");
        },
        "No such file or directory",
    );
    check(
        |dir| fs::create_dir_all(aof_folder(dir).join("appendonly.aof.manifest")).expect("writable"),
        "cannot be used",
    );
    let folder = TempDir::new().expect("a temporary folder");
    with_manifest(folder.path(), MISSING);
    fs::create_dir(aof_folder(folder.path()).join("appendonly.aof.1.incr.aof")).expect("writable");
    let (status, log) = start(folder, &[]).fail();
    assert!(!status.success() && log.contains("is a directory"), "{log}");
}

#[test]
fn what_a_file_holds_that_changes_no_data_does_nothing_to_the_server() {
    let hostile: &[&[&str]] = &[
        &["SELECT", "3"],
        &["RESET"],
        &["SHUTDOWN", "NOSAVE"],
        &["DEBUG", "LOADAOF"],
        &["DEBUG", "SEGFAULT"],
        &["CONFIG", "SET", "appendonly", "no"],
        &["CLIENT", "PAUSE", "1000000"],
        &["SUBSCRIBE", "channel"],
        &["WATCH", "key"],
        &["MONITOR"],
        &["BLPOP", "nothing", "0"],
        &["EXEC"],
        &["HELLO", "3"],
        &["RPUSH", "key", "1"],
    ];
    let file: Vec<u8> = hostile.iter().flat_map(|words| crate::wire::request(words)).collect();
    let file = String::from_utf8(file).expect("plain words");
    let weir = start(with_increment(&[&file]), &[]).start();
    let mut wire = weir.wire();
    wire.is("SELECT 3", "+OK");
    wire.is("LRANGE key 0 -1", "*1 $1 1");
    wire.is("PUBLISH channel message", ":0");
    wire.is("CONFIG GET appendonly", "*2 $10 appendonly $3 yes");
    wire.is("RPUSH key 2", ":2");
    let weir = start(weir.killed(), &[]).start();
    let mut wire = weir.wire();
    wire.is("SELECT 3", "+OK");
    wire.is("LRANGE key 0 -1", "*2 $1 1 $1 2");
    assert!(weir.log().contains("SHUTDOWN was answered ERR This command changes no data"), "{}", weir.log());
}

#[test]
fn what_would_lead_to_other_data_is_refused() {
    const SET: &str = "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n";
    let refused = |words: &[&str], why: &str| {
        let between = String::from_utf8(crate::wire::request(words)).expect("plain words");
        let (status, log) = start(with_increment(&[SET, &between, SET]), &["--databases", "4"]).fail();
        let place = format!("before byte {}", SET.len() + between.len());
        assert!(!status.success() && log.contains(why) && log.contains(&place), "{log}");
    };
    refused(&["SELECT", "4"], "SELECT 4 was answered ERR DB index is out of range");
    refused(&["SET", "b"], "wrong number of arguments for 'set' command");
    refused(&["NOPE"], "Unknown command 'NOPE'");
    let (_, log) = start(with_increment(&[SET, "*1\r\n$5\r\nMULTI\r\n", SET, "!!!", SET]), &[]).fail();
    assert!(log.contains(&format!("up to byte {} it is fine", SET.len())), "{log}");
}

#[test]
fn a_torn_end_is_cut_off_where_only_empty_files_follow() {
    const SET: &str = "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n";
    let folder = |behind: &str| {
        let folder = with_increment(&[SET, &SET[..20]]);
        let dir = aof_folder(folder.path());
        let manifest = "file appendonly.aof.1.incr.aof seq 1 type i\nfile appendonly.aof.2.incr.aof seq 2 type i\n";
        fs::write(dir.join("appendonly.aof.manifest"), manifest).expect("writable");
        fs::write(dir.join("appendonly.aof.2.incr.aof"), behind).expect("writable");
        folder
    };
    let (status, log) = start(folder(SET), &[]).fail();
    assert!(!status.success() && log.contains("it is not the last one"), "{log}");
    let (status, log) = start(folder(""), &["--aof-load-truncated", "no"]).fail();
    assert!(!status.success() && log.contains("or set aof-load-truncated to yes"), "{log}");
    let weir = start(folder(""), &[]).start();
    weir.wire().is("GET a", "$1 1");
    weir.wire().is("SET b 2", "+OK");
    let weir = start(weir.killed(), &["--aof-load-truncated", "no"]).start();
    weir.wire().is("MGET a b", "*2 $1 1 $1 2");
    // A base is whole, or something else than a crash has happened to it.
    let with_base = folder("");
    let manifest_of = |folder: &TempDir| aof_folder(folder.path()).join("appendonly.aof.manifest");
    let base_first = "file appendonly.aof.1.incr.aof seq 1 type b\nfile appendonly.aof.2.incr.aof seq 2 type i\n";
    fs::write(manifest_of(&with_base), base_first).expect("writable");
    let (status, log) = start(with_base, &[]).fail();
    assert!(!status.success() && log.contains("it is not the last one"), "{log}");
    for (behind, fixed) in [(SET, false), ("", true)] {
        let folder = folder(behind);
        let manifest = manifest_of(&folder);
        let told = run(["check-aof", "--fix", manifest.to_str().expect("a plain name")], "y\n");
        assert_eq!(told.status.success(), fixed, "{}", String::from_utf8_lossy(&told.stdout));
    }
}

#[test]
fn who_waits_for_the_disk_is_told_when_there_is_no_file_any_more() {
    let weir = fresh(&["--appendfsync", "no"]);
    let mut waiter = weir.wire();
    waiter.is("SET a 1", "+OK");
    waiter.begin("WAITAOF 1 0 0");
    eventually("it waits", || weir.info("blocked_clients") == 1);
    weir.wire().is("CONFIG SET appendonly no", "+OK");
    assert_eq!(waiter.reply(), "-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.");
    assert_eq!(waiter.run("WAITAOF 0 x 0"), "-ERR value is out of range, must be positive");
}

#[test]
fn the_file_goes_on_where_it_could_not_be_read_again() {
    let weir = fresh(&[]);
    let mut wire = weir.wire();
    wire.is("SET a 1", "+OK");
    let path = aof_folder(weir.dir()).join("appendonly.aof.manifest");
    let before = fs::read_to_string(&path).expect("a manifest");
    fs::write(&path, format!("{before}file gone seq 2 type i\n")).expect("writable");
    assert_eq!(wire.run("DEBUG LOADAOF"), "-ERR Error trying to load the AOF files, check server logs.");
    fs::write(&path, before).expect("writable");
    wire.is("SET b 2 PX 1", "+OK");
    eventually("deadlines come", || wire.run("GET b") == "$-1");
    wire.is("SET b 2", "+OK");
    let weir = start(weir.killed(), &[]).start();
    weir.wire().is("MGET a b", "*2 $1 1 $1 2");
}

#[test]
fn a_first_base_that_cannot_be_written_keeps_nobody_from_writing_and_the_server_from_nothing() {
    let weir = fresh(&["--appendonly", "no"]);
    weir.wire().is(&format!("SET a {}", "x".repeat(100_000)), "+OK");
    if !limit_file_size(&weir, "50000") {
        println!("skipped: there is no prlimit here");
        return;
    }
    weir.wire().is("CONFIG SET rdbcompression no", "+OK");
    weir.wire().is("CONFIG SET appendonly yes", "+OK");
    eventually("it has failed often", || weir.info("aof_rewrites_consecutive_failures") == 3);
    weir.wait_for_log("has repeatedly failed and triggered the limit, will retry in 1 minutes");
    weir.wire().is("SET b 1", "+OK");
    let info = weir.wire().run("INFO persistence");
    for field in ["aof_rewrite_scheduled:1", "aof_last_bgrewrite_status:err", "aof_rewrites_consecutive_failures:3"] {
        assert!(info.contains(field), "{field}: {info}");
    }
    weir.stop();
}

#[test]
fn a_rewrite_is_counted_when_it_begins_and_nothing_else_is_written_meanwhile() {
    let weir = fresh(&["--rdb-key-save-delay", "10000000"]);
    let mut wire = weir.wire();
    wire.is("SET a 1", "+OK");
    wire.is("SET b 1", "+OK");
    wire.send([crate::wire::request(&["BGREWRITEAOF"]), crate::wire::request(&["BGSAVE"])].concat());
    assert_eq!(wire.reply(), "+Background append only file rewriting started");
    assert!(wire.reply().starts_with("-ERR Another child process is active (AOF?)"));
    wire.is("BGSAVE SCHEDULE", "+Background saving scheduled");
    assert_eq!(weir.infos(["aof_rewrites", "aof_rewrite_in_progress", "rdb_bgsave_in_progress"]), [1, 1, 0]);
    eventually("changes go to the new increment", || manifest(weir.dir()).contains("incr.aof seq 2"));
    wire.is("SET c 1", "+OK");
    wire.is("CONFIG SET rdb-key-save-delay 0", "+OK");
    eventually("both are written", || {
        weir.infos(["aof_rewrite_in_progress", "rdb_bgsave_in_progress", "rdb_saves"]) == [0, 0, 1]
    });
    let [rewrites, current, base] = weir.infos(["aof_rewrites", "aof_current_size", "aof_base_size"]);
    assert_eq!((rewrites, current), (1, base), "what was changed during the rewrite counts");
}
