//! The broker: what it promises, through the protocol, with kills and spoilt files.

use crate::append_only::limit_file_size;
use crate::weir::{Start, Weir, eventually};
use crate::wire::{Wire, request};
use std::fs;
use std::time::Duration;
use tempfile::TempDir;

pub(crate) fn start(folder: TempDir, more: &[&str]) -> Weir {
    Start::appending("everysec").folder(folder).options(more.iter().copied()).start()
}

pub(crate) fn fresh(more: &[&str]) -> Weir {
    start(TempDir::new().expect("a temporary folder"), more)
}

pub(crate) trait Messages {
    /// Takes messages: their receipts and bodies.
    fn get(&mut self, words: &str) -> Vec<(String, String)>;
    /// Bodies alone.
    fn bodies(&mut self, words: &str) -> Vec<String>;
}

impl Messages for Wire {
    #[track_caller]
    fn get(&mut self, words: &str) -> Vec<(String, String)> {
        let reply = self.run(&format!("MQ.GET COMPACT {words}"));
        let strings = strings(&reply);
        strings.chunks_exact(3).map(|message| (message[1].clone(), message[2].clone())).collect()
    }

    #[track_caller]
    fn bodies(&mut self, words: &str) -> Vec<String> {
        self.get(words).into_iter().map(|(_, body)| body).collect()
    }
}

/// The strings of a reply, one behind the other.
pub(crate) fn strings(reply: &str) -> Vec<String> {
    let mut words = reply.split(' ');
    let mut found = Vec::new();
    while let Some(word) = words.next() {
        if word.starts_with('$') && word != "$-1" {
            found.push(words.next().unwrap_or_default().to_owned());
        }
    }
    found
}

pub(crate) fn id_of(reply: &str) -> String {
    strings(reply).into_iter().next().unwrap_or_else(|| panic!("no id: {reply}"))
}

/// A client that can be sent frames.
pub(crate) fn consumer(weir: &Weir) -> Wire {
    let mut wire = weir.wire();
    assert!(wire.run("HELLO 3").starts_with('%'));
    wire
}

/// The next delivery: its receipt and its body.
#[track_caller]
pub(crate) fn delivery(wire: &mut Wire) -> (String, String) {
    let frame = wire.reply();
    let strings = strings(&frame);
    assert!(frame.starts_with('>') && strings[0] == "mq.deliver", "{frame}");
    (strings[3].clone(), strings[4].clone())
}

#[test]
fn every_message_is_somewhere_and_the_counters_add_up() {
    let weir = fresh(&[]);
    let mut wire = weir.wire();
    for declared in ["MQ.QUEUE DECLARE q MAXLEN 40", "MQ.QUEUE DECLARE other"] {
        assert!(wire.run(declared).starts_with('*'));
    }
    for n in 0..100 {
        let how = ["", " DELAY 100000", " HOLD 100000", " TTL 1", " PRIORITY 3"][n % 5];
        assert!(wire.run(&format!("MQ.PUSH q m{n}{how}")).starts_with('$'));
    }
    let taken = wire.get("COUNT 20 QUEUES 1 q");
    for (at, (receipt, _)) in taken.iter().enumerate() {
        match at % 4 {
            0 => wire.is(&format!("MQ.ACK q IDS 1 {receipt}"), "*1 :1"),
            1 => wire.is(&format!("MQ.NACK q FATAL IDS 1 {receipt}"), "*1 :1"),
            2 => wire.is(&format!("MQ.NACK q SILENT IDS 1 {receipt}"), "*1 :1"),
            _ => {}
        }
    }
    eventually("what has a short life is gone", || {
        let [published, acked, expired, dropped, there @ ..] = weir.infos([
            "mq_published",
            "mq_acked",
            "mq_expired",
            "mq_dropped",
            "mq_ready",
            "mq_unacked",
            "mq_delayed",
            "mq_held",
            "mq_dead",
        ]);
        assert_eq!((there.iter().sum::<u64>() + acked + expired + dropped, published), (100, 100));
        expired + dropped >= 20
    });
}

#[test]
fn each_queue_gets_one_copy_over_any_topology_and_cycles_end() {
    let weir = fresh(&[]);
    let mut wire = weir.wire();
    for name in ["a", "b", "c"] {
        wire.is(&format!("MQ.EXCHANGE DECLARE {name} TYPE fanout"), "+OK");
        assert!(wire.run(&format!("MQ.QUEUE DECLARE q{name}")).starts_with('*'));
    }
    for (from, to) in [("a", "b"), ("b", "c"), ("c", "a"), ("a", "c"), ("b", "a")] {
        wire.is(&format!("MQ.BIND {from} EXCHANGE {to} x"), ":1");
    }
    for (from, to) in [("a", "qa"), ("b", "qa"), ("c", "qa"), ("b", "qb"), ("c", "qc"), ("a", "qc")] {
        wire.is(&format!("MQ.BIND {from} QUEUE {to} x"), ":1");
    }
    wire.is("MQ.PUB a x body CC 2 y z", ":3");
    for name in ["qa", "qb", "qc"] {
        assert_eq!(wire.bodies(&format!("COUNT 10 QUEUES 1 {name}")), ["body"], "{name}");
    }
}

#[test]
fn topic_keys_match_words_by_stars_and_any_number_of_them_by_hashes() {
    let weir = fresh(&[]);
    let mut wire = weir.wire();
    wire.is("MQ.EXCHANGE DECLARE t TYPE topic", "+OK");
    let patterns = [("q1", "a.#"), ("q2", "a.*"), ("q3", "#.b"), ("q4", "*.#.*"), ("q5", "#")];
    for (queue, pattern) in patterns {
        assert!(wire.run(&format!("MQ.QUEUE DECLARE {queue}")).starts_with('*'));
        wire.is(&format!("MQ.BIND t QUEUE {queue} {pattern}"), ":1");
    }
    for (key, queues) in [
        ("a", "q1 q5"),
        ("a.b", "q1 q2 q3 q4 q5"),
        ("a.b.c", "q1 q4 q5"),
        ("b", "q3 q5"),
        ("x.y.b", "q3 q4 q5"),
        ("x", "q5"),
    ] {
        let mut reached: Vec<String> = strings(&wire.run(&format!("MQ.PUB t {key} m WITHIDS")));
        reached = reached.into_iter().step_by(2).collect();
        reached.sort();
        assert_eq!(reached.join(" "), queues, "{key}");
    }
}

#[test]
fn what_has_expired_is_never_delivered_wherever_it_stands() {
    let weir = fresh(&[]);
    let mut wire = weir.wire();
    assert!(wire.run("MQ.QUEUE DECLARE q").starts_with('*'));
    for words in ["MQ.PUSH q stays", "MQ.PUSH q goes TTL 30", "MQ.PUSH q held TTL 120"] {
        assert!(wire.run(words).starts_with('$'));
    }
    let first = wire.get("COUNT 1 QUEUES 1 q");
    let held = wire.get("COUNT 2 QUEUES 1 q");
    wire.is(&format!("MQ.NACK q SILENT IDS 1 {}", first[0].0), "*1 :1");
    std::thread::sleep(Duration::from_millis(200));
    for (receipt, _) in &held {
        wire.run(&format!("MQ.NACK q SILENT IDS 1 {receipt}"));
    }
    assert_eq!(wire.bodies("COUNT 10 QUEUES 1 q"), ["stays"]);
    eventually("both have expired", || weir.info("mq_expired") == 2);
}

#[test]
fn after_one_failure_too_many_a_message_is_a_dead_letter_with_its_history() {
    let weir = fresh(&[]);
    let mut wire = weir.wire();
    wire.is("MQ.EXCHANGE DECLARE dlx TYPE fanout", "+OK");
    for words in ["MQ.QUEUE DECLARE q DLX dlx DELIVERYLIMIT 2", "MQ.QUEUE DECLARE dead"] {
        assert!(wire.run(words).starts_with('*'));
    }
    wire.is("MQ.BIND dlx QUEUE dead x", ":1");
    assert!(wire.run("MQ.PUSH q m").starts_with('$'));
    for _ in 0..3 {
        let taken = wire.get("QUEUES 1 q");
        wire.is(&format!("MQ.NACK q FAIL IDS 1 {} REASON broken", taken[0].0), "*1 :1");
    }
    wire.is("MQ.GET QUEUES 1 q", "$-1");
    let dead = wire.run("MQ.PEEK dead");
    assert!(dead.contains("$6 reason $14 delivery_limit $5 count :1") && dead.contains("$4 note $6 broken"), "{dead}");
    // A cycle in which nobody has rejected anything ends.
    wire.is("MQ.EXCHANGE DECLARE round TYPE fanout", "+OK");
    assert!(wire.run("MQ.QUEUE DECLARE loop DLX round MSGTTL 1").starts_with('*'));
    wire.is("MQ.BIND round QUEUE loop x", ":1");
    assert!(wire.run("MQ.PUSH loop m").starts_with('$'));
    eventually("it is dropped", || weir.info("mq_dropped") == 1);
    // Back to where it came from.
    wire.is("MQ.REDRIVE dead ORIGIN", ":1");
    assert_eq!(wire.bodies("QUEUES 1 q"), ["m"]);
}

#[test]
fn what_was_confirmed_is_there_after_a_kill() {
    let mut folder = TempDir::new().expect("a temporary folder");
    let mut confirmed = Vec::new();
    for round in 0..5 {
        let weir = start(folder, &[]);
        let mut wire = weir.wire();
        wire.run("MQ.QUEUE DECLARE q");
        let mut sent = Vec::new();
        for n in 0..200 {
            let body = format!("m{round}-{n}");
            sent.extend(request(&["MQ.PUSH", "q", &body, "CONFIRM", "FSYNC"]));
        }
        wire.send(sent);
        for n in 0..100 + 20 * round {
            assert!(wire.reply().starts_with('$'));
            confirmed.push(format!("m{round}-{n}"));
        }
        folder = weir.killed();
    }
    let weir = start(folder, &[]);
    let there = weir.wire().bodies("COUNT 10000 QUEUES 1 q");
    for body in confirmed {
        assert!(there.contains(&body), "{body} was confirmed and is lost");
    }
    let without = Start::new().start();
    let mut wire = without.wire();
    wire.run("MQ.QUEUE DECLARE q");
    assert!(wire.run("MQ.PUSH q m CONFIRM FSYNC").starts_with("-ERR CONFIRM FSYNC needs"));
}

#[test]
fn what_a_consumer_held_comes_back_in_its_order_when_it_leaves() {
    let weir = fresh(&[]);
    let mut wire = weir.wire();
    wire.run("MQ.QUEUE DECLARE q");
    for n in 0..6 {
        wire.run(&format!("MQ.PUSH q m{n}"));
    }
    let mut gone = consumer(&weir);
    assert!(gone.run("MQ.SUB q TAG t PREFETCH 4").starts_with('%'));
    let held: Vec<_> = (0..4).map(|_| delivery(&mut gone).1).collect();
    assert_eq!(held, ["m0", "m1", "m2", "m3"]);
    drop(gone);
    eventually("they are back", || weir.info("mq_unacked") == 0);
    let messages = wire.run("MQ.PEEK q COUNT 10");
    assert_eq!(messages.matches("$11 redelivered :1").count(), 4, "{messages}");
    assert_eq!(messages.matches("$10 deliveries :1").count(), 4, "{messages}");
    let wanted: Vec<_> = (0..6).map(|n| format!("m{n}")).collect();
    assert_eq!(wire.bodies("COUNT 10 QUEUES 1 q"), wanted);
    // The same after a restart, which nobody was told of.
    eventually("it is written", || weir.wire().run("WAITAOF 1 0 0").starts_with("*2 :1"));
    let weir = start(weir.killed(), &[]);
    let messages = weir.wire().run("MQ.PEEK q COUNT 10");
    assert_eq!(messages.matches("$11 redelivered :1").count(), 6, "{messages}");
    assert_eq!(weir.wire().bodies("COUNT 10 QUEUES 1 q"), wanted);
}

#[test]
fn a_receipt_of_a_hand_out_that_is_over_settles_nothing() {
    let weir = fresh(&[]);
    let mut wire = weir.wire();
    wire.run("MQ.QUEUE DECLARE q");
    wire.run("MQ.PUSH q m");
    let first = wire.get("LEASE 20 QUEUES 1 q");
    eventually("its time is over", || weir.info("mq_ready") == 1);
    wire.is(&format!("MQ.ACK q IDS 1 {}", first[0].0), "*1 :-2");
    let second = wire.get("QUEUES 1 q");
    wire.is(&format!("MQ.ACK q IDS 1 {}", first[0].0), "*1 :-2");
    wire.is(&format!("MQ.TOUCH q LEASE 1000 IDS 1 {}", first[0].0), "*1 :-2");
    wire.is(&format!("MQ.NACK q FAIL IDS 1 {}", first[0].0), "*1 :-2");
    assert_eq!(weir.info("mq_unacked"), 1);
    wire.is(&format!("MQ.ACK q IDS 2 {} 1-1", second[0].0), "*2 :1 :-1");
    wire.is(&format!("MQ.ACK q IDS 1 {}", second[0].0), "*1 :-1");
}

#[test]
fn a_single_active_consumer_is_alone_until_what_it_held_is_settled() {
    let weir = fresh(&[]);
    let mut wire = weir.wire();
    wire.run("MQ.QUEUE DECLARE q SAC");
    let (mut one, mut two) = (consumer(&weir), consumer(&weir));
    assert!(one.run("MQ.SUB q TAG one").contains("$6 active #t"));
    assert!(two.run("MQ.SUB q TAG two").contains("$6 active #f"));
    for n in 0..3 {
        wire.run(&format!("MQ.PUSH q m{n}"));
    }
    let held: Vec<_> = (0..3).map(|_| delivery(&mut one)).collect();
    assert!(two.is_silent_for(Duration::from_millis(100)));
    one.is("MQ.UNSUB one", "+OK");
    wire.run("MQ.PUSH q m3");
    assert!(two.is_silent_for(Duration::from_millis(100)), "the first one holds messages still");
    for (receipt, _) in &held {
        one.is(&format!("MQ.ACK q IDS 1 {receipt}"), "*1 :1");
    }
    assert_eq!(two.reply(), ">3 $9 mq.active $3 two #t");
    assert_eq!(delivery(&mut two).1, "m3");
}

#[test]
fn messages_of_a_group_go_one_at_a_time_in_order_also_after_a_kill() {
    let weir = fresh(&[]);
    let mut wire = weir.wire();
    wire.run("MQ.QUEUE DECLARE q GROUPS");
    for n in 0..3 {
        for group in ["a", "b"] {
            wire.run(&format!("MQ.PUSH q {group}{n} GROUP {group}"));
        }
    }
    let mut taken = wire.get("COUNT 10 QUEUES 1 q");
    assert_eq!(taken.iter().map(|(_, body)| &**body).collect::<Vec<_>>(), ["a0", "b0"]);
    wire.is("MQ.GET QUEUES 1 q", "$-1");
    wire.is(&format!("MQ.ACK q IDS 1 {}", taken[1].0), "*1 :1");
    wire.is(&format!("MQ.NACK q FAIL IDS 1 {} DELAY 100000", taken[0].0), "*1 :1");
    taken = wire.get("COUNT 10 QUEUES 1 q");
    assert_eq!(taken[0].1, "b1", "a retry holds back its group");
    assert_eq!(taken.len(), 1);
    eventually("it is written", || weir.wire().run("WAITAOF 1 0 0").starts_with("*2 :1"));
    let weir = start(weir.killed(), &[]);
    let mut wire = weir.wire();
    let mut order = Vec::new();
    while let Some((receipt, body)) = wire.get("QUEUES 1 q").pop() {
        wire.is(&format!("MQ.ACK q IDS 1 {receipt}"), "*1 :1");
        order.push(body);
    }
    assert_eq!(order, ["b1", "b2"], "the other group waits for its first message");
}

#[test]
fn settling_here_and_publishing_there_in_one_transaction_is_done_or_not_wherever_the_file_ends() {
    let weir = fresh(&[]);
    let mut wire = weir.wire();
    wire.run("MQ.QUEUE DECLARE in");
    wire.run("MQ.QUEUE DECLARE out");
    wire.run("MQ.PUSH in work");
    let id = wire.get("QUEUES 1 in")[0].0.split('@').next().expect("an id").to_owned();
    eventually("it is written", || weir.wire().run("WAITAOF 1 0 0").starts_with("*2 :1"));
    let path = weir.dir().join("appendonlydir/appendonly.aof.1.incr.aof");
    let before = fs::metadata(&path).expect("the increment").len();
    wire.is("MULTI", "+OK");
    wire.is(&format!("MQ.ACK in IDS 1 {id}"), "+QUEUED");
    wire.is("MQ.PUSH out done", "+QUEUED");
    assert!(wire.run("EXEC").starts_with("*2 *1 :1 $"));
    let mut folder = weir.stop();
    let path = folder.path().join("appendonlydir/appendonly.aof.1.incr.aof");
    let whole = fs::read(&path).expect("the increment");
    let first = usize::try_from(before).expect("a small file");
    for end in (first..=whole.len()).rev() {
        fs::write(&path, &whole[..end]).expect("a writable file");
        let weir = start(folder, &[]);
        let mut wire = weir.wire();
        let (left, made) = (wire.run("MQ.PEEK in").contains("work"), wire.run("MQ.PEEK out").contains("done"));
        assert_eq!((left, made), if end == whole.len() { (false, true) } else { (true, false) }, "{end}");
        folder = weir.killed();
    }
}

#[test]
fn a_second_server_that_reads_the_feed_has_the_same_queues() {
    let weir = fresh(&["--aof-use-rdb-preamble", "no"]);
    let mut wire = weir.wire();
    wire.is("MQ.EXCHANGE DECLARE ex TYPE headers", "+OK");
    wire.run("MQ.QUEUE DECLARE q MAXPRIORITY 5 DLX ex RETRY all 100000 200000");
    wire.run("MQ.QUEUE DECLARE dead");
    wire.is("MQ.BIND ex QUEUE dead x ARGS 1 kind bad", ":1");
    wire.is("MQ.POLICY SET p PATTERN q* APPLY queues PRIORITY 1 DEF 1 MAXLEN 50", "+OK");
    wire.is("MQ.SCHEDULE SET s CRON 0.0.1.1.0 PUB ex k b", "-ERR invalid cron expression");
    wire.is("MQ.SCHEDULE SET s EVERY 100000000 PUB ex k b", "+OK");
    for n in 0..60 {
        wire.run(&format!("MQ.PUSH q m{n} PRIORITY {} HEADERS 1 kind {}", n % 7, ["good", "bad"][n % 2]));
    }
    wire.run("MQ.PUSH q later DELAY 1000000");
    wire.run("MQ.PUSH q secret HOLD 1000000");
    let taken = wire.get("COUNT 8 QUEUES 1 q");
    for (at, (receipt, _)) in taken.iter().enumerate() {
        let how = ["SILENT", "FAIL", "FATAL"][at % 3];
        wire.run(&format!("MQ.NACK q {how} IDS 1 {receipt}"));
    }
    let look = |weir: &Weir| {
        let mut wire = weir.wire();
        ["MQ.PEEK q COUNT 100", "MQ.PEEK dead COUNT 100", "MQ.BINDINGS FROM ex", "MQ.POLICY LIST", "MQ.QUEUE LIST"]
            // What was not handed out may seem to have been: of priorities only the highest place is known.
            .map(|words| wire.run(words).replace("redelivered :1", "redelivered :0"))
    };
    let before = look(&weir);
    let figures = |weir: &Weir| weir.infos(["mq_ready", "mq_delayed", "mq_held", "mq_bytes"]);
    let counted = figures(&weir);
    eventually("it is written", || weir.wire().run("WAITAOF 1 0 0").starts_with("*2 :1"));
    let mut folder = weir.killed();
    for rewritten in [false, true, true] {
        let weir = start(folder, &["--aof-use-rdb-preamble", if rewritten { "yes" } else { "no" }]);
        assert_eq!((look(&weir), figures(&weir)), (before.clone(), counted), "rewritten: {rewritten}");
        assert!(weir.wire().run("MQ.SCHEDULE LIST").contains("$1 s"));
        let rewrites = weir.info("aof_rewrites");
        weir.wire().run("BGREWRITEAOF");
        eventually("it is rewritten", || {
            let [rewrites_now, rewriting] = weir.infos(["aof_rewrites", "aof_rewrite_in_progress"]);
            rewrites_now > rewrites && rewriting == 0
        });
        folder = weir.killed();
    }
}

#[test]
fn a_message_that_comes_again_has_its_first_id() {
    let weir = fresh(&[]);
    let mut wire = weir.wire();
    wire.run("MQ.QUEUE DECLARE q");
    let id = id_of(&wire.run("MQ.PUSH q m IDMP me 1"));
    assert_eq!(id_of(&wire.run("MQ.PUSH q m IDMP me 1")), id);
    assert_ne!(id_of(&wire.run("MQ.PUSH q m IDMP me 2")), id);
    assert_ne!(id_of(&wire.run("MQ.PUSH q m IDMP you 1")), id);
    assert_eq!(wire.bodies("COUNT 10 NOACK QUEUES 1 q").len(), 3);
    assert_eq!(id_of(&wire.run("MQ.PUSH q m IDMP me 1")), id, "also when it has been settled");
    eventually("it is written", || weir.wire().run("WAITAOF 1 0 0").starts_with("*2 :1"));
    let weir = start(weir.killed(), &[]);
    assert_eq!(id_of(&weir.wire().run("MQ.PUSH q m IDMP me 1")), id, "and after a restart");
}

#[test]
fn nobody_is_sent_more_than_wanted() {
    let weir = fresh(&[]);
    let mut wire = weir.wire();
    wire.run("MQ.QUEUE DECLARE q");
    let (mut few, mut bytes) = (consumer(&weir), consumer(&weir));
    few.run("MQ.SUB q TAG few PREFETCH 3 PRIORITY 5");
    bytes.run("MQ.SUB q TAG bytes PREFETCH 0 PREFETCHBYTES 20");
    for n in 10..40 {
        wire.run(&format!("MQ.PUSH q message{n}"));
    }
    let mut held: Vec<_> = (0..3).map(|_| delivery(&mut few)).collect();
    assert!(few.is_silent_for(Duration::from_millis(100)));
    for _ in 0..3 {
        delivery(&mut bytes);
    }
    assert!(bytes.is_silent_for(Duration::from_millis(100)), "27 bytes are more than 20");
    for _ in 0..5 {
        let (receipt, _) = held.remove(0);
        few.send(request(&["MQ.ACK", "q", "IDS", "1", &receipt]));
        assert_eq!(few.reply(), "*1 :1");
        held.push(delivery(&mut few));
    }
    assert!(few.is_silent_for(Duration::from_millis(100)));
    few.is("MQ.QOS few PREFETCH 4", "+OK");
    delivery(&mut few);
    assert!(few.is_silent_for(Duration::from_millis(100)));
    assert_eq!(weir.info("mq_unacked"), 7);
    wire.is("MQ.SUB q TAG t", "-NOPROTO pushed messages need RESP3: HELLO 3");
}

#[test]
fn keys_are_evicted_and_queues_are_not() {
    let weir = fresh(&["--maxmemory-policy", "allkeys-lru"]);
    let mut wire = weir.wire();
    wire.run("MQ.QUEUE DECLARE q");
    for n in 0..2_000 {
        wire.run(&format!("MQ.PUSH q m{n}"));
    }
    for n in 0..20_000 {
        wire.send(request(&["SET", &format!("key{n}"), &"v".repeat(100)]));
    }
    (0..20_000).for_each(|_| assert_eq!(wire.reply(), "+OK"));
    let used = weir.info("used_memory");
    wire.is(&format!("CONFIG SET maxmemory {}", used - 1_000_000), "+OK");
    eventually("keys are evicted", || weir.info("evicted_keys") > 1_000);
    assert_eq!(weir.info("mq_ready"), 2_000);
    wire.is("CONFIG SET maxmemory 1", "+OK");
    eventually("nothing is left but the queue", || wire.run("DBSIZE") == ":1");
    assert!(wire.run("MQ.PUSH q more").starts_with("-OOM"));
    let taken = wire.get("COUNT 1 QUEUES 1 q");
    wire.is(&format!("MQ.ACK q IDS 1 {}", taken[0].0), "*1 :1");
    wire.is("CONFIG SET maxmemory 0", "+OK");
    wire.is("CONFIG SET mq-maxmemory 10", "+OK");
    wire.is("MQ.PUSH q more", "-OOM command not allowed: messages take more than 'mq-maxmemory'.");
}

#[test]
fn of_messages_with_the_same_value_only_the_last_one_is_there() {
    let weir = fresh(&[]);
    let mut wire = weir.wire();
    wire.run("MQ.QUEUE DECLARE q LASTVALUE k");
    for words in ["MQ.PUSH q a1 HEADERS 1 k a", "MQ.PUSH q b1 HEADERS 1 k b", "MQ.PUSH q none"] {
        wire.run(words);
    }
    let taken = wire.get("QUEUES 1 q");
    wire.run("MQ.PUSH q b2 HEADERS 1 k b");
    wire.run("MQ.PUSH q a2 HEADERS 1 k a");
    // It comes back, and a later one is there.
    wire.is(&format!("MQ.NACK q SILENT IDS 1 {}", taken[0].0), "*1 :1");
    wire.run("MQ.PUSH q b3 HEADERS 1 k b DELAY 30");
    assert_eq!(wire.run("MQ.PEEK q COUNT 10").matches("$4 body").count(), 3);
    eventually("the delayed one has taken the place of the other", || weir.info("mq_delayed") == 0);
    assert_eq!(wire.bodies("COUNT 10 QUEUES 1 q"), ["none", "a2", "b3"]);
    assert_eq!(weir.info("mq_dropped"), 3);
}

#[test]
fn dead_letters_go_back_only_to_where_their_mover_may_write() {
    let weir = fresh(&[]);
    let mut wire = weir.wire();
    wire.is("MQ.EXCHANGE DECLARE dlx TYPE fanout", "+OK");
    for words in ["MQ.QUEUE DECLARE q DLX dlx", "MQ.QUEUE DECLARE dead", "MQ.PUSH q m"] {
        wire.run(words);
    }
    wire.is("MQ.BIND dlx QUEUE dead x", ":1");
    let taken = wire.get("QUEUES 1 q");
    wire.is(&format!("MQ.NACK q FATAL IDS 1 {}", taken[0].0), "*1 :1");
    wire.is("ACL SETUSER mover on nopass ~dead +@all", "+OK");
    let mut mover = weir.wire();
    mover.is("AUTH mover x", "+OK");
    assert!(mover.run("MQ.REDRIVE dead").starts_with("-NOPERM"));
    wire.is("ACL SETUSER mover ~q", "+OK");
    mover.is("MQ.REDRIVE dead", ":1");
}

#[test]
fn a_full_disk_confirms_nothing_until_it_takes_more_and_what_was_confirmed_is_there() {
    let weir = fresh(&["--auto-aof-rewrite-percentage", "0"]);
    let mut wire = weir.wire();
    wire.run("MQ.QUEUE DECLARE q");
    assert!(wire.run("MQ.PUSH q before CONFIRM FSYNC").starts_with('$'));
    if !limit_file_size(&weir, "20000") {
        println!("skipped: there is no prlimit here");
        return;
    }
    let body = "x".repeat(3000);
    let mut confirmed = 0;
    let mut other = weir.wire();
    loop {
        wire.begin(&format!("MQ.PUSH q {confirmed}{body} CONFIRM FSYNC"));
        let mut received = Vec::new();
        eventually("it is confirmed, or it is said why not", || {
            received.extend(wire.received());
            received.ends_with(b"\r\n") || other.run("INFO persistence").contains("write_status:err")
        });
        if received.is_empty() {
            break;
        }
        assert!(received.starts_with(b"$15\r\n"), "an id: {}", received.escape_ascii());
        confirmed += 1;
        assert!(confirmed < 20, "the disk is full");
    }
    assert!(other.run("MQ.PUSH q refused CONFIRM FSYNC").starts_with("-MISCONF Errors writing to the AOF file"));
    assert!(wire.is_silent_for(Duration::from_millis(200)), "it is not on disk");
    // What could not be confirmed is in its queue, and is counted once.
    assert_eq!(weir.info("mq_ready"), confirmed + 2);
    assert_eq!(weir.info("mq_published"), confirmed + 2);
    assert!(limit_file_size(&weir, "unlimited"));
    assert!(wire.reply().starts_with('$'), "now it is");
    eventually("it takes more", || other.run("MQ.PUSH q after CONFIRM FSYNC").starts_with('$'));
    let weir = start(weir.killed(), &["--aof-load-truncated", "no"]);
    let there = weir.wire().bodies("COUNT 100 QUEUES 1 q");
    assert_eq!(there.len() as u64, confirmed + 3);
    assert_eq!((&*there[0], &*there[there.len() - 1]), ("before", "after"));
    assert!(there[1..there.len() - 1].iter().enumerate().all(|(n, own)| *own == format!("{n}{body}")));
}
