//! The registry: what its stores promise, through the protocol, with kills and files of several kinds.

use crate::weir::{Start, Weir, eventually};
use crate::wire::{Wire, number};
use std::thread;

/// Everything that a store has in its paths, their history and its settings.
fn contents(wire: &mut Wire, store: &str) -> Vec<String> {
    let mut all = vec![wire.run(&format!("CFG.RANGE {store} / PREFIX"))];
    for path in ["/a", "/b", "/c/d", "/n-0000000001"] {
        all.push(wire.run(&format!("CFG.HISTORY {store} {path}")));
    }
    let info = wire.run(&format!("CFG.INFO {store}"));
    for name in ["revision", "compacted", "paths", "leases"] {
        all.push(format!("{name} {}", number(&info, name)));
    }
    all
}

/// The same without the epoch, which a load changes.
fn contents_but_epoch(wire: &mut Wire, store: &str) -> Vec<String> {
    let epoch = format!(":{}", number(&wire.run(&format!("CFG.INFO {store}")), "epoch"));
    contents(wire, store).into_iter().map(|text| text.replace(&epoch, ":epoch")).collect()
}

#[test]
fn every_change_has_a_revision_and_the_past_can_be_read() {
    let weir = Weir::appending("everysec");
    let mut wire = weir.wire();
    wire.is("CFG.PUT s /a 1", ":1");
    wire.is("CFG.PUT s /b 1", ":2");
    wire.is("CFG.PUT s /a 2", ":3");
    wire.is("CFG.DEL s /b", "*4 $7 deleted :1 $8 revision :4");
    wire.is("CFG.DEL s /b", "*4 $7 deleted :0 $8 revision :4");
    for (at, a, b) in [(1, "$1 1", "$-1"), (2, "$1 1", "$1 1"), (3, "$1 2", "$1 1"), (4, "$1 2", "$-1")] {
        wire.is(&format!("CFG.GET s /a AT {at}"), a);
        wire.is(&format!("CFG.GET s /b AT {at}"), b);
    }
    wire.is("CFG.GET s /a AT 5", "-CFGFUTURE 4");
    wire.is("CFG.GET s /a META", "*12 $5 value $1 2 $6 create :1 $3 mod :3 $7 version :2 $5 lease :0 $5 flags :0");
    wire.is("CFG.COMPACT s 3", "+OK");
    wire.is("CFG.GET s /b AT 3", "$1 1");
    wire.is("CFG.GET s /b AT 2", "-CFGCOMPACTED 3");
    wire.is("CFG.COMPACT s 3", "-CFGCOMPACTED 3");
    wire.is("CFG.COMPACT s 9", "-CFGFUTURE 4");
    // Whoever has lost the end of his history counts on.
    wire.is("CFG.COMPACT s 4", "+OK");
    wire.is("CFG.PUT s /b 7", ":5");
}

#[test]
fn a_transaction_and_a_script_are_one_revision_of_each_store() {
    let weir = Weir::appending("everysec");
    let mut wire = weir.wire();
    wire.is("CFG.PUT s /a 1", ":1");
    wire.is("MULTI", "+OK");
    for words in ["CFG.PUT s /a 2", "CFG.PUT s /b 2", "CFG.PUT t /a 1", "CFG.PUT s /a 3", "CFG.DEL s /b"] {
        wire.is(words, "+QUEUED");
    }
    wire.is("EXEC", "*5 :2 :2 :1 :2 *4 $7 deleted :1 $8 revision :2");
    // One revision later, whatever happened in between.
    wire.is("CFG.GET s /a META", "*12 $5 value $1 3 $6 create :1 $3 mod :2 $7 version :2 $5 lease :0 $5 flags :0");
    wire.is("CFG.HISTORY s /b", "*0");
    let script = "for n = 1, 3 do redis.call('CFG.PUT', KEYS[1], '/c/' .. n, n) end return redis.call('CFG.PUT', KEYS[1], '/a', 4)";
    assert_eq!(wire.call(&["EVAL", script, "1", "s"]), ":3");
    let epoch = number(&wire.run("CFG.INFO s"), "epoch");
    let counted = format!("*10 $8 revision :3 $5 epoch :{epoch} $5 count :3 $4 more :0 $3 kvs *0");
    wire.is("CFG.RANGE s /c CHILDREN COUNTONLY MINMOD 3", &counted);
    wire.is("CFG.PUT s /d 1", ":4");
}

#[test]
fn whoever_compares_before_he_sets_never_undoes_what_another_has_done() {
    let weir = Weir::appending("everysec");
    weir.wire().is("CFG.PUT s /counter 0", ":1");
    let threads: Vec<_> = (0..4)
        .map(|at| {
            let mut wire = weir.wire();
            thread::spawn(move || {
                let mut done = 0;
                while done < 100 {
                    let now = wire.run("CFG.GET s /counter META");
                    let modified = number(&now, "mod");
                    let value: u64 = now.split(' ').nth(4).expect("a value").parse().expect("a number");
                    let reply = if at % 2 == 0 {
                        wire.run(&format!("CFG.PUT s /counter {} IFMOD {modified}", value + 1))
                    } else {
                        for words in ["MULTI", &format!("CFG.PUT s /by-{at} {value}")] {
                            wire.run(words);
                        }
                        wire.run(&format!("CFG.PUT s /counter {} IFMOD {modified}", value + 1));
                        let both = wire.run("EXEC");
                        both.split(' ').nth(2).expect("two replies").to_owned()
                    };
                    if reply.starts_with(':') {
                        done += 1;
                    } else {
                        assert!(reply.starts_with("-CFGCAS"), "{reply}");
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("every call is answered");
    }
    weir.wire().is("CFG.GET s /counter", "$3 400");
}

#[test]
fn conditions_say_which_revision_is_there() {
    let weir = Weir::appending("everysec");
    let mut wire = weir.wire();
    wire.is("CFG.PUT s /a 1 XX", "-CFGCAS 0");
    wire.is("CFG.PUT s /a 1 IFMOD 0", ":1");
    wire.is("CFG.PUT s /a 2 NX", "-CFGCAS 1");
    wire.is("CFG.PUT s /a 2 IFMOD 3", "-CFGCAS 1");
    wire.is(
        "CFG.PUT s /a 2 IFVER 1 XX PREV",
        "*4 $8 revision :2 $4 prev *12 $5 value $1 1 $6 create :1 $3 mod :1 $7 version :1 $5 lease :0 $5 flags :0",
    );
    wire.is("SET string 2", "+OK");
    let digest = wire.run("DIGEST string");
    let digest = digest.split(' ').nth(1).expect("a digest");
    wire.is(&format!("CFG.PUT s /a 3 IFDIGEST {digest}"), ":3");
    wire.is(&format!("CFG.PUT s /a 3 IFDIGEST {digest}"), "-CFGCAS 3");
    wire.is("CFG.DEL s /a IFMOD 2", "-CFGCAS 3");
    wire.is("CFG.PUT s /a 4 NX XX", "-ERR syntax error");
    wire.is("CFG.CREATE s /a 4", "-CFGCAS 3");
    wire.is("CFG.DEL s /a IFMOD 3", "*4 $7 deleted :1 $8 revision :4");
}

#[test]
fn numbers_behind_a_path_rise_over_deletions_restarts_and_kills() {
    let weir = Weir::appending("everysec");
    let mut wire = weir.wire();
    let mut last = String::new();
    let mut create = |wire: &mut Wire| {
        let reply = wire.run("CFG.CREATE s /q/item- x SEQ");
        let path = reply.split(' ').nth(4).expect("a path").to_owned();
        assert!(path > last, "{path} comes after {last}");
        last = path;
    };
    for _ in 0..5 {
        create(&mut wire);
    }
    wire.run("CFG.DEL s /q/ PREFIX");
    wire.run("CFG.SET s DURABLE yes");
    create(&mut wire);
    let weir = Start::appending("everysec").folder(weir.killed()).start();
    create(&mut weir.wire());
    weir.wire().is("BGREWRITEAOF", "+Background append only file rewriting started");
    eventually("the file is rewritten", || weir.wire().run("INFO persistence").contains("aof_rewrite_in_progress:0"));
    create(&mut weir.wire());
    let weir = Start::appending("everysec").folder(weir.killed()).start();
    create(&mut weir.wire());
}

#[test]
fn a_transaction_does_the_one_or_the_other_and_is_refused_as_a_whole() {
    let weir = Weir::appending("everysec");
    let mut wire = weir.wire();
    wire.is("CFG.PUT s /a 1", ":1");
    wire.is(
        "CFG.TXN s IF 3 /a VALUE = 1 /b VERSION = 0 EXISTS /a THEN 4 PUT /a 2 PUT /b 2 GET /a DEL /c ELSE 1 GET /a",
        "*6 $9 succeeded :1 $8 revision :2 $9 responses *4 :2 :2 *14 $4 path $2 /a $5 value $1 2 $6 create :1 $3 mod :2 \
         $7 version :2 $5 lease :0 $5 flags :0 *4 $7 deleted :0 $8 revision :2",
    );
    wire.is(
        "CFG.TXN s IF 1 /a MOD < 2 THEN 1 PUT /a 3 ELSE 1 DEL / PREFIX",
        "*6 $9 succeeded :0 $8 revision :3 $9 responses *1 *4 $7 deleted :2 $8 revision :3",
    );
    // What is refused has changed nothing.
    let before = contents(&mut wire, "s");
    let too_many = format!("CFG.TXN s THEN 129{}", (0..129).map(|n| format!(" PUT /{n} x")).collect::<String>());
    for (words, error) in [
        ("CFG.TXN s THEN 2 PUT /a 1 PUT /a 2", "-ERR duplicate path in one transaction"),
        ("CFG.TXN s THEN 2 PUT /a/b 1 DEL /a PREFIX", "-ERR duplicate path in one transaction"),
        ("CFG.TXN s THEN 2 PUT /a 1 PUT b 2", "-CFGPATH a path begins with '/'"),
        ("CFG.TXN s THEN 2 PUT /a 1 PUT /b 2 LEASE 7", "-CFGLEASE no such lease"),
        ("CFG.TXN s THEN 2 PUT /a 1", "-ERR syntax error"),
        ("CFG.TXN s THEN 9999999999999 PUT /a 1", "-ERR syntax error"),
        ("CFG.TXN s THEN 2 PUT /a 1 RANGE / PREFIX AT 99", "-CFGFUTURE 3"),
        ("CFG.TXN s IF 1 /a SIZE = 2", "-ERR syntax error"),
        (too_many.as_str(), "-CFGLIMIT too many operations in one transaction"),
    ] {
        wire.is(words, error);
    }
    wire.is("CFG.SET s VALUE-MAX 10", "+OK");
    wire.is("CFG.TXN s THEN 2 PUT /a 1 PUT /b 12345678901", "-CFGLIMIT value is longer than the store allows");
    assert_eq!(contents(&mut wire, "s"), before);
}

#[test]
fn what_is_no_path_is_refused_and_nothing_changes() {
    let weir = Weir::appending("everysec");
    let mut wire = weir.wire();
    wire.is("CFG.PUT s /a 1", ":1");
    let long = format!("/{}", "a".repeat(4096));
    let huge = format!("/{}", "a".repeat(65_536));
    for path in ["", "a", "/", "//", "/a//b", "/a/", "/a\0b", long.as_str(), huge.as_str()] {
        for call in [
            vec!["CFG.PUT", "s", path, "x"],
            vec!["CFG.CREATE", "s", path, "x"],
            vec!["CFG.DEL", "s", path],
            vec!["CFG.GET", "s", path],
            vec!["CFG.HISTORY", "s", path],
            vec!["CFG.RANGE", "s", path],
            vec!["CFG.TXN", "s", "THEN", "1", "PUT", path, "x"],
        ] {
            let reply = wire.call(&call);
            assert!(reply.starts_with("-CFGPATH "), "{call:?}: {reply}");
        }
    }
    for (words, error) in [
        ("CFG.RANGE s /a TO b LIMIT x", "-ERR value is not an integer or out of range"),
        ("CFG.RANGE s - TO b", "-CFGPATH the ends of a range begin with '/' or what sorts behind it"),
        ("CFG.RANGE s /a AT 18446744073709551615", "-ERR value is not an integer or out of range"),
        ("CFG.RANGE s /a AT 2", "-CFGFUTURE 1"),
        ("CFG.RANGE none /a AT 1", "-CFGFUTURE 0"),
        ("CFG.INFO none", "-CFGSTORE no such store"),
        ("CFG.COMPACT none 1", "-CFGSTORE no such store"),
        ("CFG.SET s HISTORY 0", "-CFGLIMIT this setting must be between 1 and 100000000"),
        ("CFG.SET s COLOUR red", "-CFGLIMIT unknown setting of a store"),
        ("CFG.PUT s /a 2 LEASE 5", "-CFGLEASE no such lease"),
        ("CFG.PUT s /a 2 FLAGS -1", "-ERR value is not an integer or out of range"),
        ("LPUSH s x", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ] {
        wire.is(words, error);
    }
    wire.is("SET string 1", "+OK");
    wire.is("CFG.PUT string /a 1", "-WRONGTYPE Operation against a key holding the wrong kind of value");
    wire.is("CFG.GET string /a", "-WRONGTYPE Operation against a key holding the wrong kind of value");
    let value = "v".repeat(1024 * 1024 + 1);
    assert_eq!(wire.call(&["CFG.PUT", "s", "/a", &value]), "-CFGLIMIT value is longer than the store allows");
    assert_eq!(number(&wire.run("CFG.INFO s"), "revision"), 1);
}

/// A store with something of everything.
fn fill(wire: &mut Wire, store: &str) {
    for words in [
        "CFG.SET {} HISTORY 50",
        "CFG.PUT {} /a 1 FLAGS 7",
        "CFG.PUT {} /b 1",
        "CFG.PUT {} /c/d 1",
        "CFG.CREATE {} /n- 1 SEQ",
        "CFG.CREATE {} /n- 2 SEQ",
        "CFG.DEL {} /b",
        "CFG.TXN {} IF 0 THEN 2 PUT /x/1 v PUT /x/2 v",
        "CFG.TXN {} IF 0 THEN 2 PUT /y v DEL /x PREFIX",
        "CFG.DEL {} /y PREFIX",
        "CFG.PUT {} /a 2",
        "CFG.COMPACT {} 3",
        "CFG.PUT {} /a 3",
    ] {
        let reply = wire.run(&words.replace("{}", store));
        assert!(!reply.starts_with('-'), "{words}: {reply}");
    }
}

#[test]
fn stores_come_out_of_every_kind_of_file_as_they_went_in() {
    let weir = Start::appending("everysec").options(["--aof-use-rdb-preamble", "no"]).start();
    let mut wire = weir.wire();
    fill(&mut wire, "s");
    for words in ["MULTI", "CFG.PUT s /a 4", "CFG.PUT s /b 4", "CFG.DEL s /c/d", "EXEC"] {
        wire.run(words);
    }
    let before = contents_but_epoch(&mut wire, "s");
    let epoch = |wire: &mut Wire| number(&wire.run("CFG.INFO s"), "epoch");
    let mut epochs = vec![epoch(&mut wire)];
    eventually("it is written", || weir.wire().run("WAITAOF 1 0 0").starts_with("*2 :1"));
    let mut folder = weir.killed();
    for preamble in ["no", "no", "yes", "yes"] {
        let weir = Start::appending("everysec").folder(folder).options(["--aof-use-rdb-preamble", preamble]).start();
        let mut wire = weir.wire();
        assert_eq!(contents_but_epoch(&mut wire, "s"), before, "preamble: {preamble}");
        epochs.push(epoch(&mut wire));
        let rewrites = weir.info("aof_rewrites");
        wire.run("BGREWRITEAOF");
        eventually("it is rewritten", || {
            let [rewrites_now, rewriting] = weir.infos(["aof_rewrites", "aof_rewrite_in_progress"]);
            rewrites_now > rewrites && rewriting == 0
        });
        folder = weir.killed();
    }
    let weir = Start::appending("everysec").folder(folder).start();
    let mut wire = weir.wire();
    // A snapshot, and a copy.
    wire.is("DEBUG RELOAD", "+OK");
    assert_eq!(contents_but_epoch(&mut wire, "s"), before);
    epochs.push(epoch(&mut wire));
    wire.is("COPY s t", ":1");
    assert_eq!(contents_but_epoch(&mut wire, "t"), before);
    epochs.push(number(&wire.run("CFG.INFO t"), "epoch"));
    // What was told of revisions before may not be so any more: each time they are counted anew.
    let all = epochs.len();
    epochs.sort_unstable();
    epochs.dedup();
    assert_eq!(epochs.len(), all);
    wire.is("RENAME t u", "+OK");
    assert_eq!(contents_but_epoch(&mut wire, "u"), before);
    let next = number(&wire.run("CFG.INFO s"), "revision") + 1;
    wire.is("CFG.PUT u /z 1", &format!(":{next}"));
    wire.is("TYPE u", "+cfg.store");
    wire.is("OBJECT ENCODING u", "$4 tree");
    wire.is("DEL u", ":1");
    wire.is("CFG.GET u /a", "$-1");
    wire.is("CFG.PUT u /a 1", ":1");
}

/// The last line of a reply of one value; `None` when the connection ends before.
fn last_line(wire: &mut Wire, words: &str) -> Option<String> {
    wire.begin(words);
    let line = wire.line()?;
    if line.starts_with('$') && line != "$-1" { wire.line() } else { Some(line) }
}

#[test]
fn a_durable_store_has_after_a_kill_what_anybody_was_told_of() {
    let weir = Weir::appending("everysec");
    let mut wire = weir.wire();
    wire.is("CFG.SET s DURABLE yes", "+OK");
    let epoch = number(&wire.run("CFG.INFO s"), "epoch");
    let writers: Vec<_> = (0..3)
        .map(|at| {
            let mut wire = weir.wire();
            thread::spawn(move || {
                let mut told = 0;
                for n in 1.. {
                    let words = format!("CFG.PUT s /{at} {n}");
                    match last_line(&mut wire, &words) {
                        Some(reply) if reply.starts_with(':') => told = n,
                        _ => break,
                    }
                }
                told
            })
        })
        .collect();
    let mut reader = weir.wire();
    let reader = thread::spawn(move || {
        let mut seen = 0;
        while let Some(value) = last_line(&mut reader, "CFG.GET s /0") {
            seen = value.parse().unwrap_or(seen);
        }
        seen
    });
    // Who writes has been told of all but the last of what is there.
    let there = |at: usize| weir.wire().run(&format!("CFG.GET s /{at}")).split(' ').nth(1)?.parse::<u64>().ok();
    eventually("each has been told of many", || (0..3).all(|at| there(at).is_some_and(|value| value > 50)));
    let weir = Start::appending("everysec").folder(weir.killed()).start();
    let mut wire = weir.wire();
    assert_eq!(number(&wire.run("CFG.INFO s"), "epoch"), epoch);
    for (at, writer) in writers.into_iter().enumerate() {
        let told: u64 = writer.join().expect("it ends with its connection");
        let there = wire.run(&format!("CFG.GET s /{at}"));
        let there: u64 = there.split(' ').nth(1).expect("a value").parse().expect("a number");
        assert!(told > 0 && there >= told, "{there} of {told}");
    }
    let seen: u64 = reader.join().expect("it ends with its connection");
    let there = wire.run("CFG.GET s /0");
    let there: u64 = there.split(' ').nth(1).expect("a value").parse().expect("a number");
    assert!(seen <= there, "{seen} was told, {there} is there");
    // Whoever has seen something of it since it is not durable must not go on as if nothing could be lost.
    wire.is("CFG.SET s DURABLE no", "+OK");
    assert_ne!(number(&wire.run("CFG.INFO s"), "epoch"), epoch);
    wire.is("CFG.SET s DURABLE yes", "+OK");
    // Without a file it takes nothing.
    wire.is("CONFIG SET appendonly no", "+OK");
    wire.is("CFG.PUT s /0 x", "-CFGNODURABLE a durable store needs the append-only file: set appendonly yes");
    wire.is("CFG.SET t DURABLE yes", "-CFGNODURABLE a durable store needs the append-only file: set appendonly yes");
}

#[test]
fn old_history_goes_by_itself() {
    let weir = Weir::appending("everysec");
    let mut wire = weir.wire();
    wire.is("CFG.SET s HISTORY 100", "+OK");
    for n in 0..1000 {
        wire.run(&format!("CFG.PUT s /a{} x", n % 10));
    }
    eventually("it is cut", || number(&weir.wire().run("CFG.INFO s"), "compacted") >= 800);
    let compacted = number(&wire.run("CFG.INFO s"), "compacted");
    assert!(compacted <= 900, "a hundred revisions stay");
    wire.is("CFG.SET s HISTORY-MS 1", "+OK");
    wire.is("CFG.PUT s /b x", ":1001");
    eventually("all of it is too old", || number(&weir.wire().run("CFG.INFO s"), "compacted") == 1001);
    wire.is("CFG.GET s /b", "$1 x");
}

#[test]
fn history_is_cut_by_what_a_store_was_told_last_and_wherever_it_goes() {
    let weir = Weir::appending("everysec");
    let mut wire = weir.wire();
    let compacted = |store: &str| number(&weir.wire().run(&format!("CFG.INFO {store}")), "compacted");
    for n in 1..=100 {
        wire.is(&format!("CFG.PUT s /a {n}"), &format!(":{n}"));
    }
    wire.is("CFG.SET s HISTORY 10", "+OK");
    eventually("it is cut without another change", || compacted("s") == 90);
    wire.is("CFG.SET s HISTORY-MS 1", "+OK");
    wire.is("CFG.PUT s /a x", ":101");
    wire.is("RENAME s renamed", "+OK");
    wire.is("COPY renamed copied", ":1");
    for store in ["renamed", "copied"] {
        eventually("all of it is too old", || compacted(store) == 101);
    }
}

#[test]
fn a_store_that_is_renamed_in_a_transaction_is_written_to_in_one_revision() {
    let weir = Weir::appending("everysec");
    let mut wire = weir.wire();
    for words in ["MULTI", "CFG.PUT s /a 1", "RENAME s t", "CFG.PUT t /b 1"] {
        wire.run(words);
    }
    wire.is("EXEC", "*3 :1 +OK :1");
    wire.is("CFG.PUT t /a 2", ":2");
}

#[test]
fn numbers_end_before_anything_is_counted_twice() {
    let weir = Weir::appending("everysec");
    let mut wire = weir.wire();
    wire.is("CONFIG SET appendfsync always", "+OK");
    let effect = |wire: &mut Wire, revision: &str, path: &str, value: &str| {
        wire.call(&["CFG.EFFECT", "PUT", "s", "7", revision, "0", path, value, "0", "0"])
    };
    assert_eq!(effect(&mut wire, "1", "\0s/n", "18446744073709551615"), "+OK");
    wire.is("CFG.CREATE s /n x SEQ", "-CFGLIMIT there are no numbers left");
    let last = (1u64 << 62).to_string();
    assert_eq!(effect(&mut wire, &last, "/a", "v"), "+OK");
    wire.is("CFG.PUT s /a w", "-CFGLIMIT there are no revisions left");
    let weir = Start::appending("everysec").folder(weir.killed()).start();
    weir.wire().is("CFG.GET s /a", "$1 v");
}
