//! Bodies of long queues that are in files, not in memory: nobody can tell but who counts memory.

use crate::weir::{Start, Weir, eventually};
use crate::wire::{Wire, number, request};
use std::fs;
use tempfile::TempDir;

/// Bodies are of so many bytes.
const BODY_BYTES: usize = 2_000;

fn start(folder: TempDir, more: &[&str]) -> Weir {
    let options = ["--mq-page-after", "100kb", "--enable-debug-command", "yes"];
    Start::appending("always").folder(folder).options(options).options(more.iter().copied()).start()
}

fn fresh(more: &[&str]) -> Weir {
    start(TempDir::new().expect("a temporary folder"), more)
}

fn body(number: usize) -> String {
    format!("{number:08}").repeat(BODY_BYTES / 8)
}

/// Puts messages with numbers into a queue.
fn publish(wire: &mut Wire, exchange: &str, rkey: &str, numbers: std::ops::Range<usize>) {
    for numbers in numbers.collect::<Vec<_>>().chunks(100) {
        let commands = numbers.iter().flat_map(|number| request(&["MQ.PUB", exchange, rkey, &body(*number)]));
        wire.send(commands.collect::<Vec<u8>>());
        for _ in numbers {
            let reply = wire.reply();
            assert!(reply.starts_with(['$', ':', '*']), "{reply}");
        }
    }
}

/// A queue with so many messages, most of whose bodies are in files.
fn long_queue(weir: &Weir, name: &str, count: usize) -> Wire {
    let mut wire = weir.wire();
    wire.run(&format!("MQ.QUEUE DECLARE {name}"));
    publish(&mut wire, "", name, 0..count);
    bodies_go(weir, count * BODY_BYTES - 100 * 1024);
    wire
}

/// Waits until so many bytes of bodies are in files.
fn bodies_go(weir: &Weir, bytes: usize) {
    eventually("bodies are moved", || weir.info("mq_paged_bytes") as usize >= bytes);
}

/// Takes the next message: which one it is.
#[track_caller]
fn next(wire: &mut Wire, queue: &str) -> Option<usize> {
    body_of(&wire.run(&format!("MQ.GET NOACK COMPACT QUEUES 1 {queue}")))
}

/// The number of the one message in a reply.
#[track_caller]
fn body_of(reply: &str) -> Option<usize> {
    let body = reply.split(' ').find(|word| word.len() == BODY_BYTES)?;
    let number = body[..8].parse().expect("a number");
    assert_eq!(body, self::body(number));
    Some(number)
}

#[track_caller]
fn drains(wire: &mut Wire, queue: &str, numbers: std::ops::Range<usize>) {
    for number in numbers {
        assert_eq!(next(wire, queue), Some(number), "of {queue}");
    }
    assert_eq!(next(wire, queue), None, "of {queue}");
}

#[test]
fn a_long_queue_takes_little_memory_and_gives_all_of_it() {
    let weir = fresh(&[]);
    let mut wire = long_queue(&weir, "q", 5_000);
    let [bytes, paged, file_bytes, lost] =
        weir.infos(["mq_bytes", "mq_paged_bytes", "mq_page_file_bytes", "mq_bodies_lost"]);
    assert_eq!((bytes, lost), (5_000 * BODY_BYTES as u64, 0));
    assert!(paged >= bytes - 100 * 1024 && file_bytes >= paged);
    let stats = wire.run("MQ.QUEUE INFO q");
    assert_eq!((number(&stats, "bytes"), number(&stats, "paged-bytes")), (bytes, paged));
    let usage: u64 = wire.run("MEMORY USAGE q").trim_start_matches(':').parse().expect("bytes");
    assert!(usage < 5_000 * 200 + 100 * 1024, "{usage}");
    // Files are in the data folder, and have no names there.
    let names = fs::read_dir(weir.dir()).expect("the folder").map(|entry| entry.expect("an entry").file_name());
    assert_eq!(names.filter(|name| name.to_string_lossy().contains("bodies")).count(), 0);
    // Both ends can be looked at, and commands in a block wait for nothing.
    assert_eq!(body_of(&wire.run("MQ.PEEK q COUNT 1")), Some(0));
    assert_eq!(body_of(&wire.run("MQ.PEEK q COUNT -1")), Some(4_999));
    assert_eq!(wire.run("MQ.PEEK q COUNT 5000").matches(" $2000 ").count(), 5_000);
    drains(&mut wire, "q", 0..5_000);
    eventually("the files are gone", || weir.infos(["mq_page_files", "mq_page_file_bytes"]) == [0, 0]);
}

#[test]
fn every_way_out_of_a_queue_has_the_bodies() {
    let weir = fresh(&[]);
    let mut wire = long_queue(&weir, "q", 600);
    // In the middle, where bodies are in files: taken and given back, in a transaction, in a script.
    let passed = wire.run("MQ.GET COUNT 300 COMPACT CONSUMER c QUEUES 1 q");
    assert_eq!(passed.matches(" $2000 ").count(), 300);
    let receipts: Vec<&str> = passed.split(' ').filter(|word| word.contains('@')).collect();
    assert_eq!(receipts.len(), 300);
    wire.is(&format!("MQ.NACK q SILENT IDS 1 {}", receipts[299]), "*1 :1");
    wire.is(&format!("MQ.ACK q IDS 299 {}", receipts[..299].join(" ")), &format!("*299{}", " :1".repeat(299)));
    wire.is("MULTI", "+OK");
    wire.is("MQ.GET NOACK COMPACT QUEUES 1 q", "+QUEUED");
    wire.is("MQ.GET NOACK COMPACT QUEUES 1 q", "+QUEUED");
    let both = wire.run("EXEC");
    assert!(both.contains(&body(299)) && both.contains(&body(300)), "{both}");
    let script = "return redis.call('MQ.GET', 'NOACK', 'COMPACT', 'QUEUES', 1, KEYS[1])";
    assert_eq!(body_of(&wire.call(&["EVAL", script, "1", "q"])), Some(301));
    // A copy, and a payload.
    wire.is("COPY q copy", ":1");
    let mut connection = weir.client();
    let payload: Vec<u8> = redis::cmd("DUMP").arg("q").query(&mut connection).expect("a payload");
    redis::cmd("RESTORE").arg("restored").arg(0).arg(payload).exec(&mut connection).expect("a queue");
    drains(&mut wire, "copy", 302..600);
    drains(&mut wire, "restored", 302..600);
    // Pushed ones.
    let mut consumer = weir.wire();
    assert!(consumer.run("HELLO 3").starts_with('%'));
    assert!(consumer.run("MQ.SUB q TAG t PREFETCH 1000 NOACK").starts_with('%'));
    for number in 302..600 {
        assert_eq!(body_of(&consumer.reply()), Some(number));
    }
}

#[test]
fn what_several_queues_have_is_in_a_file_once() {
    let weir = fresh(&[]);
    let mut wire = weir.wire();
    wire.run("MQ.EXCHANGE DECLARE x TYPE fanout");
    for queue in ["a", "b", "c"] {
        wire.run(&format!("MQ.QUEUE DECLARE {queue}"));
        wire.run(&format!("MQ.BIND x QUEUE {queue} r"));
    }
    publish(&mut wire, "x", "r", 0..2_000);
    bodies_go(&weir, 3 * (2_000 * BODY_BYTES - 100 * 1024));
    let file_bytes = weir.info("mq_page_file_bytes");
    assert!(file_bytes < 3 * 2_000 * BODY_BYTES as u64 / 2, "{file_bytes}");
    for queue in ["a", "b", "c"] {
        drains(&mut wire, queue, 0..2_000);
    }
}

#[test]
fn everything_is_there_after_a_kill_and_after_a_snapshot() {
    let mut weir = fresh(&[]);
    long_queue(&weir, "q", 1_000);
    weir = start(weir.killed(), &[]);
    let mut wire = weir.wire();
    bodies_go(&weir, 1_000 * BODY_BYTES - 100 * 1024);
    publish(&mut wire, "", "q", 1_000..1_500);
    wire.run("BGREWRITEAOF");
    for number in 0..200 {
        assert_eq!(next(&mut wire, "q"), Some(number));
    }
    eventually("the file is rewritten", || weir.infos(["aof_rewrite_in_progress", "aof_rewrite_scheduled"]) == [0, 0]);
    weir = start(weir.killed(), &[]);
    let mut wire = weir.wire();
    bodies_go(&weir, 1_300 * BODY_BYTES - 100 * 1024);
    wire.is("DEBUG RELOAD", "+OK");
    bodies_go(&weir, 1_300 * BODY_BYTES - 100 * 1024);
    wire.is("SAVE", "+OK");
    let folder = weir.stop();
    let copied = TempDir::new().expect("a temporary folder");
    fs::copy(folder.path().join("dump.rdb"), copied.path().join("dump.rdb")).expect("a snapshot");
    let weir = Start::new().folder(copied).options(["--appendonly", "no", "--mq-page-after", "100kb"]).start();
    drains(&mut weir.wire(), "q", 200..1_500);
}

#[test]
fn bodies_in_files_do_not_count_against_the_limit_of_memory() {
    let weir = fresh(&["--mq-maxmemory", "300kb"]);
    let mut wire = long_queue(&weir, "q", 140);
    for start in (140..2_000).step_by(20) {
        publish(&mut wire, "", "q", start..start + 20);
        bodies_go(&weir, (start + 20) * BODY_BYTES - 100 * 1024);
    }
    assert_eq!(weir.infos(["mq_bytes", "mq_ready"]), [2_000 * BODY_BYTES as u64, 2_000]);
    // Nothing more goes: what is too much is refused, and what is in files stays there.
    wire.is("CONFIG SET mq-page-after 0", "+OK");
    let refused = (0..300).map(|number| wire.call(&["MQ.PUB", "", "q", &body(number)]));
    assert!(refused.filter(|reply| reply.starts_with("-OOM")).count() > 100);
    for number in 0..2_000 {
        assert_eq!(next(&mut wire, "q"), Some(number));
    }
}

#[test]
fn where_files_cannot_be_made_everything_stays_in_memory() {
    let weir = Start::new().options(["--mq-page-after", "100kb"]).start();
    let mut wire = weir.wire();
    // The superuser may write anywhere, but not in a folder that is gone.
    fs::remove_dir_all(weir.dir()).expect("the folder is gone");
    wire.run("MQ.QUEUE DECLARE q");
    publish(&mut wire, "", "q", 0..500);
    eventually("an error is counted", || weir.info("mq_page_errors") > 0);
    fs::create_dir(weir.dir()).expect("the folder");
    assert_eq!(weir.info("mq_paged_bytes"), 0);
    drains(&mut wire, "q", 0..500);
}

#[test]
fn delays_priorities_and_dead_letters_are_as_in_memory() {
    let weir = fresh(&[]);
    let mut wire = weir.wire();
    for words in [
        "MQ.EXCHANGE DECLARE dlx TYPE fanout",
        "MQ.QUEUE DECLARE dead",
        "MQ.BIND dlx QUEUE dead r",
        "MQ.QUEUE DECLARE q MAXPRIORITY 1 DLX dlx",
    ] {
        let reply = wire.run(words);
        assert!(!reply.starts_with('-'), "{words}: {reply}");
    }
    // The delayed ones come last, so that all others are in front of them however long this takes.
    for number in (0..300).filter(|number| number % 3 != 1).chain((1..300).step_by(3)) {
        let more = ["PRIORITY 1", "DELAY 200", "PRIORITY 0"][number % 3].split(' ');
        let body = body(number);
        let words: Vec<&str> = ["MQ.PUSH", "q", &body].into_iter().chain(more).collect();
        assert!(wire.call(&words).starts_with('$'));
    }
    bodies_go(&weir, 300 * BODY_BYTES - 100 * 1024);
    eventually("all are ready", || number(&wire.run("MQ.QUEUE INFO q"), "ready") == 300);
    let expected: Vec<usize> = [0, 2, 1].iter().flat_map(|kind| (0..300).filter(move |n| n % 3 == *kind)).collect();
    // All are rejected, and found among the dead in the same order, once more from files.
    for number in &expected {
        let taken = wire.run("MQ.GET COMPACT CONSUMER c QUEUES 1 q");
        assert_eq!(body_of(&taken), Some(*number));
        let receipt = taken.split(' ').find(|word| word.contains('@')).expect("a receipt");
        wire.is(&format!("MQ.NACK q FATAL IDS 1 {receipt}"), "*1 :1");
    }
    bodies_go(&weir, 300 * BODY_BYTES - 100 * 1024);
    wire.is("MQ.REDRIVE dead ORIGIN", ":300");
    let mut found: Vec<usize> = (0..300).filter_map(|_| next(&mut wire, "q")).collect();
    found.sort_unstable();
    assert!(found.into_iter().eq(0..300));
    assert_eq!(weir.info("mq_bodies_lost"), 0);
}

#[test]
fn what_cannot_be_read_any_more_is_said_and_comes_back_with_a_restart() {
    let weir = fresh(&[]);
    let mut wire = long_queue(&weir, "q", 500);
    let fds = fs::read_dir(format!("/proc/{}/fd", weir.pid())).expect("the open files");
    let nameless = fds.map(|fd| fd.expect("an open file").path()).filter(|fd| {
        let name = fs::read_link(fd).unwrap_or_default();
        name.starts_with(weir.dir()) && name.to_string_lossy().ends_with("(deleted)")
    });
    let cut = nameless.map(|fd| fs::OpenOptions::new().write(true).open(fd).and_then(|file| file.set_len(0)));
    assert_eq!(cut.map(|cut| cut.expect("a file is cut")).count(), 1);
    // What is in memory is given, the first ones and the last; the rest is out of the way.
    let given: Vec<usize> = std::iter::from_fn(|| next(&mut wire, "q")).collect();
    assert!(given.is_sorted() && given.first() == Some(&0) && given.len() < 60, "{given:?}");
    let [ready, delayed, lost] = weir.infos(["mq_ready", "mq_delayed", "mq_bodies_lost"]);
    assert!((ready, delayed) == (0, 500 - given.len() as u64) && lost >= delayed);
    weir.wait_for_log("cannot be read");
    assert_eq!(wire.run("MQ.PEEK q COUNT 10"), "*0");
    assert!(wire.run("SAVE").starts_with("-ERR"));
    wire.run("BGREWRITEAOF");
    eventually("the rewrite has failed", || {
        weir.wire().run("INFO persistence").contains("aof_last_bgrewrite_status:err")
    });
    let weir = start(weir.killed(), &[]);
    let mut wire = weir.wire();
    let rest: Vec<usize> = std::iter::from_fn(|| next(&mut wire, "q")).collect();
    assert!(rest.into_iter().eq((0..500).filter(|number| !given.contains(number))));
}

#[test]
fn what_several_queues_have_is_in_a_snapshot_once_and_in_memory_once_behind_it() {
    let weir = Start::appending("always").options(["--rdbcompression", "no"]).start();
    let mut wire = weir.wire();
    wire.run("MQ.EXCHANGE DECLARE x TYPE fanout");
    let queues: Vec<String> = (0..20).map(|number| format!("q{number}")).collect();
    for queue in &queues {
        wire.run(&format!("MQ.QUEUE DECLARE {queue}"));
        wire.run(&format!("MQ.BIND x QUEUE {queue} r"));
    }
    // Short ones that are written at once, and one that is written in parts.
    publish(&mut wire, "", "q7", 1_000..1_300);
    publish(&mut wire, "x", "r", 0..50);
    let used = weir.info("used_memory");
    let once = (300 + 50) * BODY_BYTES as u64;
    let length = |weir: &Weir, name: &str| fs::metadata(weir.dir().join(name)).expect("a file").len();
    wire.is("SAVE", "+OK");
    assert!((once..once * 11 / 10).contains(&length(&weir, "dump.rdb")), "{}", length(&weir, "dump.rdb"));
    wire.run("BGREWRITEAOF");
    eventually("the file is rewritten", || weir.infos(["aof_rewrite_in_progress", "aof_rewrite_scheduled"]) == [0, 0]);
    let [base] = weir.infos(["aof_base_size"]);
    assert!((once..once * 11 / 10).contains(&base), "{base}");
    let weir = Start::appending("always").folder(weir.killed()).start();
    let mut wire = weir.wire();
    assert!(weir.info("used_memory") < used + once / 2, "shared again");
    for queue in &queues {
        if queue == "q7" {
            for number in 1_000..1_300 {
                assert_eq!(next(&mut wire, queue), Some(number));
            }
        }
        drains(&mut wire, queue, 0..50);
    }
}
