//! Observing stores of the registry: what is told, in which order, to whom, however often they go and come back.

use crate::weir::{Start, Weir, eventually};
use crate::wire::{Wire, number, request};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A connection that frames can be sent to.
fn watcher(weir: &Weir) -> Wire {
    let mut wire = weir.wire();
    assert!(wire.run("HELLO 3").starts_with('%'));
    wire
}

/// Kind, id and revision of a frame.
#[track_caller]
fn head(frame: &str) -> (&str, &str, u64) {
    let words: Vec<&str> = frame.split(' ').collect();
    assert!(words[0].starts_with('>'), "{frame} is no frame");
    let at = if words[2] == "cfg.cancel" { 7 } else { 5 };
    let revision = words[at].strip_prefix(':').and_then(|number| number.parse().ok());
    (words[2], words[4], revision.unwrap_or_else(|| panic!("no revision in {frame}")))
}

fn put(path: &str, value: &str, create: u64, revision: u64, version: u64) -> String {
    let (of_path, of_value) = (path.len(), value.len());
    format!("*7 $3 put ${of_path} {path} ${of_value} {value} :{create} :{revision} :{version} :0")
}

fn del(path: &str, revision: u64) -> String {
    format!("*7 $3 del ${} {path} _ :0 :{revision} :0 :0", path.len())
}

fn event(id: &str, revision: u64, events: &[String]) -> String {
    format!(">4 $9 cfg.event ${} {id} :{revision} *{} {}", id.len(), events.len(), events.join(" "))
}

#[test]
fn a_change_of_a_path_is_told_to_who_watches_it_its_prefix_or_its_range() {
    let weir = Weir::in_memory();
    let (mut writer, mut wire) = (weir.wire(), watcher(&weir));
    let reply = wire.run("CFG.WATCH s /a/b ID one");
    assert_eq!(reply, "%3 $2 id $3 one $8 revision :0 $5 epoch :0");
    wire.run("CFG.WATCH s /a/ PREFIX ID all PREV");
    wire.run("CFG.WATCH s /a/b TO /a/c ID some NODEL");
    wire.run("CFG.WATCH s /a PREFIX ID gone NOPUT ONCE");
    wire.is("CFG.WATCH s /a ID one", "-CFGWATCH id is in use on this connection");
    writer.is("CFG.PUT s /a/b 1", ":1");
    let mut frames: Vec<String> = (0..3).map(|_| wire.reply()).collect();
    frames.sort();
    let prev = |frame: &str, prev: &str| frame.replace("*7 ", "*8 ") + " " + prev;
    assert_eq!(
        frames,
        [
            prev(&event("all", 1, &[put("/a/b", "1", 1, 1, 1)]), "_"),
            event("one", 1, &[put("/a/b", "1", 1, 1, 1)]),
            event("some", 1, &[put("/a/b", "1", 1, 1, 1)]),
        ]
    );
    writer.is("CFG.PUT s /a/x 2", ":2");
    assert_eq!(wire.reply(), prev(&event("all", 2, &[put("/a/x", "2", 2, 2, 1)]), "_"));
    writer.run("CFG.DEL s /a/b");
    let mut frames: Vec<String> = (0..3).map(|_| wire.reply()).collect();
    frames.sort();
    assert_eq!(
        frames,
        [
            prev(&event("all", 3, &[del("/a/b", 3)]), "$1 1"),
            event("one", 3, &[del("/a/b", 3)]),
            event("gone", 3, &[del("/a/b", 3)]),
        ]
    );
    wire.is("CFG.UNWATCH gone", "-CFGWATCH no such id on this connection");
    wire.is("CFG.UNWATCH all", "+OK");
    wire.is("CFG.UNWATCH some", "+OK");
    wire.is("CFG.PROGRESS one", "+OK");
    assert_eq!(wire.reply(), ">3 $12 cfg.progress $3 one :3");
    writer.is("CFG.PUT s /b 2", ":4");
    wire.is("CFG.UNWATCH one", "+OK");
    writer.is("CFG.PUT s /a/b 2", ":5");
    wire.is("PING", "+PONG");
    assert_eq!(weir.info("cfg_watches"), 0);
}

#[test]
fn a_transaction_and_a_script_are_one_revision_that_is_never_split() {
    let weir = Weir::in_memory();
    let (mut writer, mut wire) = (weir.wire(), watcher(&weir));
    wire.run("CFG.WATCH s / PREFIX ID w");
    writer.is("MULTI", "+OK");
    for words in ["CFG.PUT s /a 1", "CFG.PUT s /b 1", "CFG.DEL s /b", "CFG.PUT s /a 2"] {
        writer.is(words, "+QUEUED");
    }
    writer.run("EXEC");
    assert_eq!(wire.reply(), event("w", 1, &[put("/a", "2", 1, 1, 1)]));
    let script = "redis.call('CFG.PUT', KEYS[1], '/c', '1') redis.call('CFG.DEL', KEYS[1], '/a') return 1";
    assert_eq!(writer.call(&["EVAL", script, "1", "s"]), ":1");
    assert_eq!(wire.reply(), event("w", 2, &[put("/c", "1", 2, 2, 1), del("/a", 2)]));
    let script = "return redis.pcall('CFG.WATCH', 's', '/a')";
    assert!(wire.call(&["EVAL", script, "0"]).starts_with("-ERR"));
    // Who begins to watch in the middle of a unit is told all of it.
    for words in ["MULTI", "CFG.PUT s /d 1", "CFG.WATCH s /d ID d", "CFG.PUT s /d 2"] {
        wire.run(words);
    }
    let reply = wire.run("EXEC");
    assert!(reply.contains("$8 revision :2"), "{reply}");
    let mut frames = [wire.reply(), wire.reply()];
    frames.sort();
    assert_eq!(frames, ["d", "w"].map(|id| event(id, 3, &[put("/d", "2", 3, 3, 1)])));
}

#[test]
fn who_cannot_be_pushed_to_is_told_so() {
    let weir = Weir::in_memory();
    let mut wire = weir.wire();
    assert!(wire.run("CFG.WATCH s /a").starts_with("-NOPROTO"));
    let mut wire = watcher(&weir);
    for (words, wanted) in [
        ("CFG.WATCH s /a SNAPSHOT FROM 1", "-ERR syntax error"),
        ("CFG.WATCH s /a EPOCH 1", "-ERR syntax error"),
        ("CFG.WATCH s /a CHILDREN", "-ERR syntax error"),
        ("CFG.WATCH s /a FROM 2", "-CFGFUTURE 0"),
        ("CFG.WATCH s /a FROM 0", "-CFGCOMPACTED 0"),
        ("CFG.WATCH s /a FROM 1 EPOCH 7", "-CFGEPOCH 0"),
        ("CFG.PROGRESS nobody", "-CFGWATCH no such id on this connection"),
    ] {
        wire.is(words, wanted);
    }
    assert!(wire.run("CFG.WATCH s a//b").starts_with("-CFGPATH"));
    assert!(wire.run("CFG.WATCH s /a//b").starts_with("-CFGPATH"));
    assert!(wire.call(&["CFG.WATCH", "s", "/a\0b"]).starts_with("-CFGPATH"));
    assert!(wire.call(&["CFG.WATCH", "s", &format!("/{}", "a".repeat(65_536)), "PREFIX"]).starts_with("-CFGPATH"));
    wire.is("CFG.WATCH s /a FROM -1", "-ERR value is not an integer or out of range");
    wire.is(&format!("CFG.WATCH s /a ID {}", "i".repeat(65)), "-CFGWATCH an id has 1 to 64 bytes");
    wire.is("SET s x", "+OK");
    assert!(wire.run("CFG.WATCH s /a").starts_with("-WRONGTYPE"));
    assert!(wire.run("CFG.POLL STORES 1 s /a EXACT 1 0").starts_with("-WRONGTYPE"));
    // Who changes to RESP2, or begins anew, is sent nothing more.
    wire.run("CFG.WATCH t /a");
    assert!(wire.run("HELLO 2").starts_with('*'));
    wire.is("CFG.PUT t /a 1", ":1");
    wire.is("PING", "+PONG");
    assert!(wire.run("HELLO 3").starts_with('%'));
    wire.run("CFG.WATCH t /a");
    wire.is("RESET", "+RESET");
    wire.is("CFG.PUT t /a 1", ":2");
    wire.is("PING", "+PONG");
}

#[test]
fn a_frame_comes_before_the_reply_of_a_later_command_and_behind_that_of_its_own() {
    let weir = Weir::in_memory();
    let (mut writer, mut wire) = (weir.wire(), watcher(&weir));
    wire.run("CFG.WATCH s / PREFIX ID w");
    // In one turn, the writer's commands first, then a look of the watcher.
    for round in 1..=100_u64 {
        weir.while_stopped(|| {
            writer.begin("CFG.PUT s /a 1");
            wire.begin("CFG.GET s /a META");
        });
        writer.reply();
        let mut told = 0;
        loop {
            let reply = wire.reply();
            if reply.starts_with('>') {
                told = head(&reply).2;
                continue;
            }
            let seen = if reply == "_" { 0 } else { number(&reply, "mod") };
            assert!(told >= seen || seen == round - 1, "told of {told} at a reply that has seen {seen}");
            if told < round {
                assert_eq!(head(&wire.reply()).2, round);
            }
            break;
        }
    }
    // A pipeline of one's own.
    let mut batch = Vec::new();
    for value in 0..50 {
        batch.extend(request(&["CFG.PUT", "s", "/own", &value.to_string()]));
    }
    wire.send(batch);
    for revision in 101..151 {
        assert_eq!(wire.reply(), format!(":{revision}"));
        assert_eq!(head(&wire.reply()), ("cfg.event", "w", revision));
    }
}

#[test]
fn a_snapshot_comes_whole_and_then_what_is_new() {
    let weir = Weir::in_memory();
    let (mut writer, mut wire) = (weir.wire(), watcher(&weir));
    let reply = wire.run("CFG.WATCH none / PREFIX ID none SNAPSHOT");
    assert_eq!(number(&reply, "revision"), 0);
    assert_eq!(wire.reply(), ">3 $10 cfg.synced $4 none :0");
    let mut batch = Vec::new();
    for number in 0..5_000 {
        batch.extend(request(&["CFG.PUT", "s", &format!("/n/{number:05}"), &"v".repeat(number % 300)]));
    }
    writer.send(batch);
    for number in 1..=5_000 {
        assert_eq!(writer.reply(), format!(":{number}"));
    }
    wire.begin("CFG.WATCH s /n/ PREFIX ID w SNAPSHOT");
    wire.begin("CFG.PUT s /n/new 1");
    let reply = wire.reply();
    assert_eq!(number(&reply, "revision"), 5_000);
    let (mut states, mut next) = (0, String::new());
    loop {
        let frame = wire.reply();
        if frame.starts_with(':') {
            assert_eq!(frame, ":5001");
            continue;
        }
        let (kind, _, revision) = head(&frame);
        if kind == "cfg.synced" {
            assert_eq!(revision, 5_000);
            break;
        }
        assert_eq!((kind, revision), ("cfg.event", 5_000));
        for path in frame.split(' ').filter(|word| word.starts_with("/n/")) {
            assert!(*path > *next, "paths are in order");
            path.clone_into(&mut next);
            states += 1;
        }
    }
    assert_eq!(states, 5_000);
    let frame = wire.reply();
    let frame = if frame.starts_with(':') { wire.reply() } else { frame };
    assert_eq!(frame, event("w", 5_001, &[put("/n/new", "1", 5_001, 5_001, 1)]));
}

#[test]
fn who_comes_back_goes_on_where_history_reaches() {
    let weir = Weir::in_memory();
    let (mut writer, mut wire) = (weir.wire(), watcher(&weir));
    for value in 1..=20 {
        writer.is(&format!("CFG.PUT s /a {value}"), &format!(":{value}"));
    }
    writer.run("CFG.DEL s /a");
    writer.is("CFG.COMPACT s 21", "+OK");
    writer.is("CFG.PUT s /a x", ":22");
    let epoch = number(&writer.run("CFG.INFO s"), "epoch");
    wire.is("CFG.WATCH s /a FROM 21", "-CFGCOMPACTED 21");
    wire.is("CFG.WATCH s /a FROM 24", "-CFGFUTURE 22");
    wire.is(&format!("CFG.WATCH s /a FROM 22 EPOCH {}", epoch + 1), &format!("-CFGEPOCH {epoch}"));
    let reply = wire.run(&format!("CFG.WATCH s /a FROM 22 EPOCH {epoch} ID w"));
    assert_eq!(reply, format!("%3 $2 id $1 w $8 revision :22 $5 epoch :{epoch}"));
    assert_eq!(wire.reply(), event("w", 22, &[put("/a", "x", 22, 22, 1)]));
    // A delete at the very revision that is compacted has been told before.
    writer.run("CFG.DEL s /a");
    writer.is("CFG.COMPACT s 23", "+OK");
    writer.is("CFG.PUT s /a y", ":24");
    assert_eq!(wire.reply(), event("w", 23, &[del("/a", 23)]));
    assert_eq!(wire.reply(), event("w", 24, &[put("/a", "y", 24, 24, 1)]));
}

#[test]
fn who_wants_to_know_is_told_before_history_goes_and_of_quiet_times() {
    let weir = Weir::in_memory();
    let (mut writer, mut wire) = (weir.wire(), watcher(&weir));
    wire.run("CFG.WATCH s /quiet ID long PROGRESS 0");
    wire.run("CFG.WATCH s /quiet ID none");
    for value in 1..=10 {
        writer.is(&format!("CFG.PUT s /a {value}"), &format!(":{value}"));
    }
    writer.is("CFG.COMPACT s 5", "+OK");
    assert_eq!(wire.reply(), ">3 $12 cfg.progress $4 long :10");
    writer.is("CFG.COMPACT s 8", "+OK");
    wire.is("PING", "+PONG");
    wire.run("CFG.WATCH s /a ID short PROGRESS 20");
    for _ in 0..3 {
        assert_eq!(wire.reply(), ">3 $12 cfg.progress $5 short :10");
    }
}

#[test]
fn a_revision_that_is_not_whole_is_not_compacted() {
    let weir = Weir::in_memory();
    let (mut writer, mut wire) = (weir.wire(), watcher(&weir));
    writer.is("CFG.PUT s /a 1", ":1");
    wire.run("CFG.WATCH s /a ID w");
    for words in ["MULTI", "CFG.PUT s /a 2", "CFG.COMPACT s 2", "CFG.COMPACT s 1"] {
        writer.run(words);
    }
    writer.is("EXEC", "*3 :2 -CFGFUTURE 1 +OK");
    assert_eq!(wire.reply(), event("w", 2, &[put("/a", "2", 1, 2, 2)]));
    writer.is("CFG.COMPACT s 2", "+OK");
}

#[test]
fn whatever_takes_a_store_away_cancels() {
    let weir = Weir::in_memory();
    let mut writer = weir.wire();
    let mut wire = watcher(&weir);
    wire.run("SELECT 1");
    wire.run("CFG.WATCH waits /a ID waits");
    wire.run("SELECT 0");
    writer.run("CFG.PUT other /a 1");
    let dump = {
        let mut client = weir.client();
        redis::cmd("DUMP").arg("other").query::<Vec<u8>>(&mut client).expect("DUMP")
    };
    for (action, reason) in [
        ("DEL s", "deleted"),
        ("FLUSHALL", "deleted"),
        ("FLUSHDB", "deleted"),
        ("RENAME s t", "deleted"),
        ("SWAPDB 0 5", "deleted"),
        ("PEXPIRE s 1", "deleted"),
        ("COPY other s REPLACE", "epoch"),
        ("RENAME other s", "epoch"),
        ("SET s x", "deleted"),
        ("RESTORE", "epoch"),
    ] {
        writer.run("DEL s");
        writer.run("CFG.PUT other /a 1");
        writer.run("CFG.PUT s /a 1");
        let reply = wire.run("CFG.WATCH s / PREFIX ID w");
        assert!(reply.starts_with('%'), "{reply}");
        if action == "RESTORE" {
            let mut client = weir.client();
            let restored: String =
                redis::cmd("RESTORE").arg("s").arg(0).arg(&dump).arg("REPLACE").query(&mut client).expect("RESTORE");
            assert_eq!(restored, "OK");
        } else {
            assert!(!writer.run(action).starts_with('-'), "{action}");
        }
        let frame = wire.reply();
        assert!(
            frame.starts_with(&format!(">4 $10 cfg.cancel $1 w ${} {reason} :", reason.len())),
            "{action}: {frame}"
        );
        wire.is("CFG.UNWATCH w", "-CFGWATCH no such id on this connection");
    }
    // Who waits for a store that was in neither database waits on.
    writer.run("SELECT 1");
    writer.is("CFG.PUT waits /a 1", ":1");
    assert_eq!(wire.reply(), event("waits", 1, &[put("/a", "1", 1, 1, 1)]));
    assert_eq!(weir.info("cfg_watches"), 1);
}

#[test]
fn a_poll_answers_what_it_missed_and_waits_for_what_comes() {
    let weir = Weir::in_memory();
    let (mut writer, mut wire) = (weir.wire(), weir.wire());
    wire.is("CFG.POLL STORES 1 s /a EXACT 1 0", "$-1");
    wire.is("CFG.POLL BLOCK 600001 STORES 1 s /a EXACT 1 0", "-CFGLIMIT BLOCK is at most 600000 ms");
    wire.is("CFG.POLL BLOCK 1 JITTER 1 STORES 1 s /a EXACT 1 0", "$-1");
    wire.is("CFG.POLL STORES 2 s /a EXACT 1 0", "-ERR syntax error");
    // It waits for a store that is not there.
    wire.begin("CFG.POLL BLOCK 60000 STORES 1 s /a EXACT 1 0");
    eventually("it waits", || weir.info("blocked_clients") == 1);
    writer.is("CFG.PUT s /b 1", ":1");
    assert_eq!(weir.info("blocked_clients"), 1);
    writer.is("CFG.PUT s /a 1", ":2");
    let epoch = number(&writer.run("CFG.INFO s"), "epoch");
    let answer = |revision, events: &[String]| {
        let events = events.iter().map(|event| format!(" {}", event.replace(" _ ", " $-1 "))).collect::<String>();
        let count = events.matches("*7").count();
        format!("*2 $1 s *6 $5 epoch :{epoch} $8 revision :{revision} $6 events *{count}{events}")
    };
    assert_eq!(wire.reply(), answer(2, &[put("/a", "1", 2, 2, 1)]));
    let poll = |from: u64, epoch: u64| {
        format!("CFG.POLL COUNT 2 STORES 2 s /a EXACT {from} {epoch} s /c PREFIX {from} {epoch}")
    };
    wire.is(&poll(3, epoch + 1), &format!("-CFGEPOCH {epoch}"));
    wire.is(&poll(4, epoch), "-CFGFUTURE 2");
    writer.is("CFG.PUT s /c/d 1", ":3");
    writer.run("MULTI");
    for path in ["/a", "/c/e", "/c/f"] {
        writer.run(&format!("CFG.PUT s {path} 2"));
    }
    writer.run("EXEC");
    writer.run("CFG.DEL s /a");
    wire.is(&poll(3, epoch), &answer(3, &[put("/c/d", "1", 3, 3, 1)]));
    let whole = [put("/a", "2", 2, 4, 2), put("/c/e", "2", 4, 4, 1), put("/c/f", "2", 4, 4, 1)];
    wire.is(&poll(4, epoch), &answer(4, &whole));
    wire.is(&poll(5, epoch), &answer(5, &[del("/a", 5)]));
    wire.is(&poll(6, epoch), "$-1");
    // Before its revision goes, it is told that nothing has happened.
    wire.begin(&poll(6, epoch).replace("COUNT 2", "BLOCK 60000"));
    eventually("it waits", || weir.info("cfg_polls") == 2);
    writer.is("CFG.PUT s /x 1", ":6");
    writer.is("CFG.PUT s /x 2", ":7");
    writer.is("CFG.COMPACT s 6", "+OK");
    assert_eq!(wire.reply(), answer(7, &[]));
    wire.is(&poll(6, epoch), "-CFGCOMPACTED 6");
    // Nothing waits in a transaction.
    wire.run("MULTI");
    wire.run(&poll(8, epoch).replace("COUNT 2", "BLOCK 0"));
    wire.is("EXEC", "*1 $-1");
    // A store that goes ends the wait.
    wire.begin(&poll(8, epoch).replace("COUNT 2", "BLOCK 60000"));
    eventually("it waits", || weir.info("cfg_polls") == 2);
    writer.is("DEL s", ":1");
    assert_eq!(wire.reply(), "-CFGEPOCH 0");
    assert_eq!(weir.info("cfg_polls"), 0);
    weir.comes_to_rest();
}

#[test]
fn who_reads_nothing_stalls_nobody_and_goes_on_from_history() {
    let weir = Weir::in_memory();
    let mut writer = weir.wire();
    writer.run("CFG.PUT s /a 0");
    writer.is("CFG.SET s history 100000", "+OK");
    let (mut slow, mut quick) = (watcher(&weir), watcher(&weir));
    slow.run("CFG.WATCH s /a ID slow");
    quick.run("CFG.WATCH s /a ID quick");
    let value = "v".repeat(10_000);
    let longest = (2..3_002).map(|revision| {
        let told = weir.time(|| {
            assert_eq!(writer.call(&["CFG.PUT", "s", "/a", &value]), format!(":{revision}"));
            assert_eq!(head(&quick.reply()), ("cfg.event", "quick", revision));
        });
        told.1
    });
    let longest = longest.max().unwrap_or_default();
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    assert!(weir.info("cfg_lagging_watches") >= 1);
    // It is not sent more than a little, and its commands go on.
    let address = slow.address();
    let waiting = weir.client_field(&address, "omem").and_then(|bytes| bytes.parse::<u64>().ok()).unwrap_or_default();
    assert!(waiting < 4 * 1024 * 1024, "{waiting} bytes wait");
    for revision in 2..3_002 {
        assert_eq!(head(&slow.reply()), ("cfg.event", "slow", revision));
    }
    eventually("nobody is behind", || weir.info("cfg_lagging_watches") == 0);
    weir.comes_to_rest();
}

#[test]
fn who_rests_when_history_goes_is_cancelled_and_connected_still() {
    let weir = Weir::in_memory();
    let mut writer = weir.wire();
    writer.run("CFG.PUT s /a 0");
    let mut slow = watcher(&weir);
    slow.run("CFG.WATCH s /a ID slow");
    let value = "v".repeat(100_000);
    for revision in 2..502 {
        assert_eq!(writer.call(&["CFG.PUT", "s", "/a", &value]), format!(":{revision}"));
    }
    writer.is("CFG.COMPACT s 500", "+OK");
    let mut next = 2;
    loop {
        let frame = slow.reply();
        let (kind, _, revision) = head(&frame);
        if kind == "cfg.cancel" {
            assert_eq!(frame, ">4 $10 cfg.cancel $4 slow $9 compacted :500");
            break;
        }
        assert_eq!(revision, next);
        next += 1;
    }
    assert!(next < 500, "it was told of all");
    slow.is("PING", "+PONG");
    assert_eq!(weir.info("cfg_cancels_compacted"), 1);
}

#[test]
fn a_new_epoch_forces_a_new_list() {
    let weir = Weir::appending("everysec");
    let mut wire = watcher(&weir);
    wire.run("CFG.PUT s /a 1");
    wire.is("CFG.PUT kept /a 1", ":1");
    wire.is("CFG.SET kept durable yes", "+OK");
    let epoch = number(&wire.run("CFG.INFO s"), "epoch");
    let kept = number(&wire.run("CFG.INFO kept"), "epoch");
    let weir = Start::appending("everysec").folder(weir.stop()).start();
    let mut wire = watcher(&weir);
    let now = number(&wire.run("CFG.INFO s"), "epoch");
    assert_ne!(epoch, now);
    wire.is(&format!("CFG.WATCH s /a FROM 2 EPOCH {epoch}"), &format!("-CFGEPOCH {now}"));
    wire.is(&format!("CFG.POLL STORES 1 s /a EXACT 2 {epoch}"), &format!("-CFGEPOCH {now}"));
    assert!(wire.run(&format!("CFG.WATCH kept /a FROM 2 EPOCH {kept}")).starts_with('%'));
}

/// What a watcher has seen, by revision.
type Seen = BTreeMap<u64, String>;

/// A connection to a server that may be gone just now.
fn connect(port: &AtomicU16) -> Option<Wire> {
    let address = (Ipv4Addr::LOCALHOST, port.load(Ordering::Relaxed));
    Some(Wire::over(TcpStream::connect(address).ok()?))
}

/// A reply; `None` when the server is gone.
fn reply_of(wire: &mut Wire, words: &str) -> Option<String> {
    wire.begin(words);
    wire.try_reply()
}

/// Watches a store, goes and comes back, until it has seen what is written last.
fn watch(port: &AtomicU16, watcher: u64) -> Seen {
    let mut seen = Seen::new();
    let (mut next, mut epoch) = (1, None);
    loop {
        let Some(mut wire) = connect(port) else {
            thread::sleep(Duration::from_millis(5));
            continue;
        };
        let from = epoch.map_or("FROM 1".to_owned(), |epoch: u64| format!("FROM {next} EPOCH {epoch}"));
        if reply_of(&mut wire, "HELLO 3").is_none_or(|reply| !reply.starts_with('%')) {
            continue;
        }
        let Some(reply) = reply_of(&mut wire, &format!("CFG.WATCH s / PREFIX ID w {from}")) else { continue };
        if reply.starts_with("-LOADING") {
            thread::sleep(Duration::from_millis(5));
            continue;
        }
        assert!(reply.starts_with('%'), "watcher {watcher} {from}: {reply}");
        epoch = Some(number(&reply, "epoch"));
        // It leaves after a while that differs.
        for _ in 0..200 + 97 * watcher {
            let Some(frame) = wire.try_reply() else { break };
            let (kind, _, revision) = head(&frame);
            assert_eq!(kind, "cfg.event", "{frame}");
            assert!(revision >= next, "watcher {watcher} was told of {revision} after {next}");
            next = revision + 1;
            let is_last = frame.contains("/the-end");
            seen.insert(revision, frame);
            if is_last {
                return seen;
            }
        }
    }
}

/// Writes until it is told to end.
fn write(port: &AtomicU16, number: u64, end: &AtomicBool) -> u64 {
    let (mut written, mut round) = (0, number);
    while !end.load(Ordering::Relaxed) {
        let Some(mut wire) = connect(port) else {
            thread::sleep(Duration::from_millis(5));
            continue;
        };
        while !end.load(Ordering::Relaxed) {
            round += 1;
            let path = format!("/w{}/{}", round % 3, round * 7 % 50);
            let alive = match round % 8 {
                0 => reply_of(&mut wire, &format!("CFG.DEL s {path}")),
                1 => {
                    for words in [
                        "MULTI".to_owned(),
                        format!("CFG.PUT s {path} {round}"),
                        format!("CFG.PUT s /both/{number} {round}"),
                        format!("CFG.DEL s /both/{}", round % 4),
                        "EXEC".to_owned(),
                    ] {
                        wire.begin(&words);
                    }
                    (0..5).map_while(|_| wire.try_reply()).last()
                }
                _ => reply_of(&mut wire, &format!("CFG.PUT s {path} {number}-{round}")),
            };
            if alive.is_none() {
                break;
            }
            written += 1;
        }
    }
    written
}

/// Ten watchers that come and go see what four writers write, all the same, although the server is killed in the middle. The
/// seconds that it lasts: `WEIR_REGISTRY_SECONDS`.
#[test]
fn every_watcher_sees_the_same_history_over_reconnects_and_kills() {
    let seconds = std::env::var("WEIR_REGISTRY_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(4);
    let mut weir = Weir::appending("everysec");
    let mut wire = weir.wire();
    wire.run("CFG.PUT s /first 1");
    for setting in ["history 1000000", "history-ms 0", "durable yes"] {
        wire.is(&format!("CFG.SET s {setting}"), "+OK");
    }
    let (port, end) = (AtomicU16::new(weir.port), AtomicBool::new(false));
    let mut kills = 0;
    let (weir, seen, written) = thread::scope(|scope| {
        let (port, end) = (&port, &end);
        let watchers: Vec<_> = (0..10).map(|number| scope.spawn(move || watch(port, number))).collect();
        let writers: Vec<_> = (0..4).map(|number| scope.spawn(move || write(port, number, end))).collect();
        let until = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < until {
            thread::sleep(Duration::from_secs((seconds / 4).clamp(1, 10)));
            weir = Start::appending("everysec").folder(weir.killed()).start();
            kills += 1;
            port.store(weir.port, Ordering::Relaxed);
        }
        end.store(true, Ordering::Relaxed);
        let written: u64 = writers.into_iter().map(|writer| writer.join().expect("a writer")).sum();
        weir.wire().run("CFG.PUT s /the-end 1");
        let seen: Vec<Seen> = watchers.into_iter().map(|watcher| watcher.join().expect("a watcher")).collect();
        (weir, seen, written)
    });
    let mut reference = Seen::new();
    let mut wire = watcher(&weir);
    wire.run("CFG.WATCH s / PREFIX ID w FROM 1");
    loop {
        let frame = wire.reply();
        let revision = head(&frame).2;
        let is_last = frame.contains("/the-end");
        reference.insert(revision, frame);
        if is_last {
            break;
        }
    }
    println!("{written} writes, {} revisions with events, {kills} kills", reference.len());
    assert!(reference.len() as u64 > written / 4, "{written} writes, {} revisions", reference.len());
    for (number, seen) in seen.iter().enumerate() {
        let differs = reference.iter().zip(seen).find(|(a, b)| a != b);
        assert!(differs.is_none(), "watcher {number} differs at {differs:?}");
        assert_eq!(seen.len(), reference.len(), "watcher {number} has missed some or seen more");
    }
}

/// Sends a command many times, a thousand at once, and drops the replies.
fn many(wire: &mut Wire, count: usize, words: impl Fn(usize) -> Vec<String>) {
    for first in (0..count).step_by(1000) {
        let mut batch = Vec::new();
        for at in first..count.min(first + 1000) {
            let words = words(at);
            batch.extend(request(&words.iter().map(String::as_str).collect::<Vec<_>>()));
        }
        wire.send(batch);
        for _ in first..count.min(first + 1000) {
            let reply = wire.reply();
            assert!(!reply.starts_with('-'), "{reply}");
        }
    }
}

#[test]
fn a_watch_takes_no_more_than_250_bytes() {
    const WATCHES: usize = 100_000;
    const CONNECTIONS: usize = 2_000;
    let weir = Weir::in_memory();
    let mut wire = watcher(&weir);
    wire.run("CFG.PUT s /a 1");
    let watch = |path: String| ["CFG.WATCH".to_owned(), "s".to_owned(), path].to_vec();
    many(&mut wire, 1, |_| watch("/a".to_owned()));
    let before = weir.info("used_memory");
    many(&mut wire, WATCHES, |at| watch(format!("/app/service-{at:06}")));
    let each = (weir.info("used_memory") - before) / WATCHES as u64;
    println!("{each} bytes for each of {WATCHES} watches of one connection");
    assert!(each <= 250, "{each} bytes");
    drop(wire);
    eventually("they are gone", || weir.info("cfg_watches") == 0);
    let mut wires: Vec<Wire> = (0..CONNECTIONS).map(|_| watcher(&weir)).collect();
    // What connections need for being used is no watch's: the first time does not count.
    let mut before = 0;
    for words in ["CFG.WATCH s /a ID w", "CFG.UNWATCH w", "CFG.WATCH s /a ID w"] {
        before = weir.info("used_memory");
        wires.iter_mut().for_each(|wire| assert!(!wire.run(words).starts_with('-')));
    }
    let each = (weir.info("used_memory") - before) / CONNECTIONS as u64;
    println!("{each} bytes for one watch of each of {CONNECTIONS} connections");
    assert!(each <= 250, "{each} bytes");
}

/// So many are told of one change; how many, and how often: `WEIR_REGISTRY_WATCHERS`.
#[test]
fn thousands_are_told_of_one_change() {
    let count = std::env::var("WEIR_REGISTRY_WATCHERS").ok().and_then(|text| text.parse().ok()).unwrap_or(500);
    let weir = Weir::in_memory();
    let mut writer = weir.wire();
    let mut wires: Vec<Wire> = (0..count).map(|_| watcher(&weir)).collect();
    for wire in &mut wires {
        assert!(wire.run("CFG.WATCH s /a ID w").starts_with('%'));
    }
    for revision in 1..=5 {
        let began = Instant::now();
        writer.is(&format!("CFG.PUT s /a {revision}"), &format!(":{revision}"));
        let put = began.elapsed();
        for wire in &mut wires {
            assert_eq!(head(&wire.reply()), ("cfg.event", "w", revision));
        }
        println!("{count} watchers told within {:?}, the writer within {put:?}", began.elapsed());
    }
    eventually("nobody is behind", || weir.info("cfg_lagging_watches") == 0);
}
