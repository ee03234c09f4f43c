//! Steps of the broker that concern very many messages, queues or bindings: what is seen of them, what the feed says of them, and
//! what is left when the server is killed in the middle.

use crate::broker::{Messages, fresh, start};
use crate::weir::{Weir, eventually};
use crate::wire::{Wire, request};

/// Sends many commands, each by words without spaces, and wants no error.
fn run_all(wire: &mut Wire, commands: impl Iterator<Item = String>) {
    let commands: Vec<String> = commands.collect();
    for some in commands.chunks(500) {
        wire.send(some.iter().flat_map(|words| request(&words.split(' ').collect::<Vec<_>>())).collect::<Vec<_>>());
        for words in some {
            let reply = wire.reply();
            assert!(!reply.starts_with('-'), "{words}: {reply}");
        }
    }
}

fn written(weir: &Weir) {
    eventually("it is written", || weir.wire().run("WAITAOF 1 0 0").starts_with("*2 :1"));
}

/// What a queue says of itself behind a word.
fn figure(wire: &mut Wire, queue: &str, name: &str) -> u64 {
    let reply = wire.run(&format!("MQ.QUEUE INFO {queue}"));
    let mut words = reply.split(' ').skip_while(|word| *word != name);
    let value = words.nth(1).unwrap_or_default().trim_start_matches(':');
    value.parse().unwrap_or_else(|_| panic!("{name} in {reply}"))
}

#[test]
fn a_purge_takes_what_is_ready_and_nothing_else_and_the_feed_says_the_same() {
    for options in ["", " MAXPRIORITY 5", " GROUPS", " TRACK yes"] {
        let weir = fresh(&["--aof-use-rdb-preamble", "no"]);
        let mut wire = weir.wire();
        let declared = wire.run(&format!("MQ.QUEUE DECLARE q RETRY failed 1 1{options}"));
        assert!(!declared.starts_with('-'), "{declared}");
        let group = |n: usize| if options == " GROUPS" { format!(" GROUP g{}", n % 7) } else { String::new() };
        run_all(&mut wire, (0..3000).map(|n| format!("MQ.PUSH q m{n} PRIORITY {}{}", n % 6, group(n))));
        run_all(&mut wire, (0..300).map(|n| format!("MQ.PUSH q later{n} DELAY 1000000")));
        run_all(&mut wire, (0..10).map(|n| format!("MQ.PUSH q secret{n} HOLD 1000000")));
        let taken = wire.get("COUNT 6 LEASE 100000 QUEUES 1 q");
        assert_eq!(taken.len(), 6);
        // One is parked for long, one has come back from that, which the feed does not say.
        let nack = |wire: &mut Wire, at: usize, delay: &str| {
            wire.is(&format!("MQ.NACK q FAIL IDS 1 {} DELAY {delay}", taken[at].0), "*1 :1");
        };
        nack(&mut wire, 0, "1000000");
        nack(&mut wire, 1, "1");
        eventually("it is ready again", || figure(&mut weir.wire(), "q", "parked") == 1);
        let ready = figure(&mut wire, "q", "ready");
        assert_eq!(ready, 2995);
        wire.is("MQ.QUEUE PURGE q", &format!(":{ready}"));
        wire.is("MQ.QUEUE PURGE q", ":0");
        let names = ["ready", "unacked", "parked", "delayed", "held", "dropped"];
        let figures = names.map(|name| figure(&mut wire, "q", name));
        assert_eq!(figures, [0, 4, 1, 300, 10, ready], "{options}");
        assert_eq!((weir.info("mq_ready"), weir.info("mq_unacked")), (0, 4));
        wire.is("MQ.GET QUEUES 1 q", "$-1");
        wire.run("MQ.PUSH q new");
        assert_eq!(wire.bodies("NOACK QUEUES 1 q"), ["new"]);
        written(&weir);
        let mut rewritten = false;
        let mut folder = weir.killed();
        for _ in 0..2 {
            let weir = start(folder, &["--aof-use-rdb-preamble", "no"]);
            let mut wire = weir.wire();
            let figures = names.map(|name| figure(&mut wire, "q", name));
            assert_eq!(figures[..5], [4, 0, 1, 300, 10], "{options}, rewritten: {rewritten}");
            let mut back = wire.bodies("COUNT 10 LEASE 1 QUEUES 1 q");
            let mut held: Vec<&str> = taken[2..].iter().map(|(_, body)| &**body).collect();
            back.sort();
            held.sort();
            assert_eq!(back, held, "{options}, rewritten: {rewritten}");
            let rewrites = weir.info("aof_rewrites");
            weir.wire().run("BGREWRITEAOF");
            eventually("it is rewritten", || {
                let [rewrites_now, rewriting] = weir.infos(["aof_rewrites", "aof_rewrite_in_progress"]);
                rewrites_now > rewrites && rewriting == 0
            });
            rewritten = true;
            folder = weir.killed();
        }
    }
}

#[test]
fn a_snapshot_has_what_was_purged_after_it_began() {
    let weir = fresh(&["--appendonly", "no", "--rdb-key-save-delay", "200"]);
    let mut wire = weir.wire();
    for queue in ["a", "b", "c"] {
        wire.run(&format!("MQ.QUEUE DECLARE {queue}"));
        run_all(&mut wire, (0..20_000).map(|n| format!("MQ.PUSH {queue} m{n}")));
        wire.get(&format!("COUNT 100 QUEUES 1 {queue}"));
    }
    wire.send(
        ["BGSAVE", "MQ.QUEUE PURGE a", "MQ.QUEUE PURGE b", "MQ.PUSH b new", "MQ.QUEUE PURGE b", "MQ.QUEUE PURGE c"]
            .map(|words| request(&words.split(' ').collect::<Vec<_>>()))
            .concat(),
    );
    assert!(wire.reply().starts_with('+'));
    for wanted in [":19900", ":19900", "$15", ":1", ":19900"] {
        let reply = wire.reply();
        assert!(reply.starts_with(wanted), "{reply}");
    }
    eventually("it is saved", || weir.info("rdb_saves") > 0 && weir.info("rdb_bgsave_in_progress") == 0);
    let weir = start(weir.killed(), &["--appendonly", "no"]);
    let mut wire = weir.wire();
    for queue in ["a", "b", "c"] {
        assert_eq!(figure(&mut wire, queue, "ready"), 20_000, "{queue}");
        assert_eq!(wire.bodies(&format!("NOACK COUNT 2 QUEUES 1 {queue}")), ["m0", "m1"]);
    }
}

#[test]
fn a_queue_with_very_many_bindings_is_gone_at_once_and_what_is_bound_anew_is_new() {
    let weir = fresh(&["--aof-use-rdb-preamble", "no"]);
    let mut wire = weir.wire();
    for (number, kind) in ["direct", "topic", "headers", "fanout", "hash", "modhash"].into_iter().enumerate() {
        let (ex, q) = (format!("ex{number}"), format!("q{number}"));
        wire.is(&format!("MQ.EXCHANGE DECLARE {ex} TYPE {kind}"), "+OK");
        wire.run(&format!("MQ.QUEUE DECLARE {q}"));
        wire.run(&format!("MQ.QUEUE DECLARE {q}:stays"));
        let key = |n: usize| match kind {
            "hash" => format!("1 ARGS 1 n {n}"),
            "headers" => format!("x ARGS 1 n {n}"),
            _ => format!("a.k{n}"),
        };
        run_all(&mut wire, (0..20_000).map(|n| format!("MQ.BIND {ex} QUEUE {q} {}", key(n))));
        let headers = if kind == "headers" { " HEADERS 1 n 5" } else { "" };
        let publish = format!("MQ.PUB {ex} a.k5 body{headers}");
        // One after the other in one turn: nothing of what is there no more is seen in between.
        let commands = [
            (publish.clone(), ":1"),
            (format!("DEL {q}"), ":1"),
            (publish.clone(), ":0"),
            (format!("MQ.BINDINGS FROM {ex}"), "*0"),
            (format!("MQ.BINDINGS TO {q}"), "*0"),
            (format!("MQ.QUEUE DECLARE {q}"), "*8"),
            (publish.clone(), ":0"),
            (format!("MQ.BIND {ex} QUEUE {q} {}", key(5)), ":1"),
            (format!("MQ.BIND {ex} QUEUE {q} {}", key(5)), ":0"),
            (publish.clone(), ":1"),
            (format!("COPY {ex} {ex}:copy"), ":1"),
            (publish.replace(&ex, &format!("{ex}:copy")), ":1"),
            (format!("MQ.UNBIND {ex} QUEUE {q} {}", key(5)), ":1"),
            (format!("MQ.BIND {ex} QUEUE {q}:stays {}", key(5)), ":1"),
            (publish.clone(), ":1"),
        ];
        wire.send(commands.iter().flat_map(|(it, _)| request(&it.split(' ').collect::<Vec<_>>())).collect::<Vec<_>>());
        for (words, wanted) in commands {
            let reply = wire.reply();
            assert!(reply.starts_with(wanted), "{kind}: {words}: {reply}");
        }
        wire.is(&format!("MQ.QUEUE PURGE {q}"), ":2");
        wire.is(&format!("MQ.QUEUE PURGE {q}:stays"), ":1");
        wire.is(&format!("DEL {ex}:copy"), ":1");
    }
    // A snapshot, and the feed, while some are still to be taken out: they have none of them.
    wire.run("MQ.QUEUE DECLARE last");
    run_all(&mut wire, (0..50_000).map(|n| format!("MQ.BIND ex1 QUEUE last b.k{n}")));
    let commands = ["DEL last", "MQ.QUEUE DECLARE last", "MQ.BIND ex1 QUEUE last b.new", "BGREWRITEAOF"];
    wire.send(commands.iter().flat_map(|it| request(&it.split(' ').collect::<Vec<_>>())).collect::<Vec<_>>());
    commands.iter().for_each(|_| assert!(!wire.reply().starts_with('-')));
    eventually("it is rewritten", || weir.info("aof_rewrites") > 0 && weir.info("aof_rewrite_in_progress") == 0);
    let mut folder = weir.killed();
    for _ in 0..2 {
        let weir = start(folder, &["--aof-use-rdb-preamble", "yes"]);
        let mut wire = weir.wire();
        assert_eq!(strings_of(&wire.run("MQ.BINDINGS FROM ex1"), "rkey"), ["a.k5", "b.new"]);
        let rewrites = weir.info("aof_rewrites");
        wire.run("BGREWRITEAOF");
        eventually("it is rewritten", || {
            let [rewrites_now, rewriting] = weir.infos(["aof_rewrites", "aof_rewrite_in_progress"]);
            rewrites_now > rewrites && rewriting == 0
        });
        folder = weir.killed();
    }
}

const MANY: usize = 4_000;

/// An exchange that leads to very many queues.
fn fan_out(wire: &mut Wire) {
    wire.is("MQ.EXCHANGE DECLARE ex TYPE fanout", "+OK");
    run_all(wire, (0..MANY).map(|n| format!("MQ.QUEUE DECLARE q:{n}")));
    run_all(wire, (0..MANY).map(|n| format!("MQ.BIND ex QUEUE q:{n} x")));
}

/// How many messages are ready in each of those queues.
fn each_ready(wire: &mut Wire) -> Vec<u64> {
    (0..MANY).map(|n| figure(wire, &format!("q:{n}"), "ready")).collect()
}

#[test]
fn a_message_to_very_many_queues_is_in_each_once_and_in_none_that_is_new() {
    let weir = fresh(&[]);
    let mut wire = weir.wire();
    fan_out(&mut wire);
    wire.is("MQ.PUB ex k one", &format!(":{MANY}"));
    wire.is("MQ.PUB ex k two CONFIRM FSYNC", &format!(":{MANY}"));
    assert!(wire.run("MQ.PUB ex k three WITHIDS").starts_with(&format!("*{}", 2 * MANY)));
    wire.is("MULTI", "+OK");
    wire.is("MQ.PUB ex k four", "+QUEUED");
    wire.is("EXEC", &format!("*1 :{MANY}"));
    assert_eq!(each_ready(&mut wire), vec![4; MANY]);
    assert_eq!(wire.bodies("COUNT 9 NOACK QUEUES 1 q:77"), ["one", "two", "three", "four"]);

    // Somebody deletes a queue, and makes another one of that name, while a message is on its way.
    let (mut other, last) = (weir.wire(), MANY - 1);
    wire.begin("MQ.PUB ex k five");
    let anew = [format!("DEL q:{last}"), format!("MQ.QUEUE DECLARE q:{last}"), format!("MQ.BIND ex QUEUE q:{last} x")];
    run_all(&mut other, anew.into_iter());
    let reply = wire.reply();
    assert!([MANY, MANY - 1].map(|count| format!(":{count}")).contains(&reply), "{reply}");
    wire.is(&format!("MQ.QUEUE PURGE q:{last}"), ":0");

    // Who leaves has published all the same.
    let mut leaves = weir.wire();
    leaves.begin("MQ.PUB ex k six");
    leaves.finish();
    drop(leaves);
    eventually("all have it", || {
        weir.info("mq_published") == 6 * MANY as u64 || figure(&mut weir.wire(), "q:0", "ready") == 6
    });
    eventually("all have it", || each_ready(&mut weir.wire()).into_iter().skip(100).take(MANY - 200).all(|n| n == 6));

    // A queue that is full holds the publisher, and nobody else.
    wire.run("MQ.QUEUE DECLARE full MAXLEN 1 OVERFLOW block");
    wire.is("MQ.BIND ex QUEUE full x", ":1");
    wire.run("MQ.PUSH full first");
    wire.begin("MQ.PUB ex k seven");
    eventually("the others have it", || figure(&mut weir.wire(), "q:9", "ready") == 7);
    assert!(wire.is_silent_for(std::time::Duration::from_millis(50)));
    let mut other = weir.wire();
    assert_eq!(other.bodies("NOACK QUEUES 1 full"), ["first"]);
    // The first byte of the reply is taken already, if it has come.
    wire.line();
    assert_eq!(other.bodies("NOACK QUEUES 1 full"), ["seven"]);
}

#[test]
fn a_kill_in_the_middle_of_a_message_to_very_many_queues_leaves_it_in_some_of_them_whole() {
    let weir = fresh(&["--appendfsync", "always"]);
    let mut wire = weir.wire();
    fan_out(&mut wire);
    wire.is("MQ.PUB ex k before", &format!(":{MANY}"));
    written(&weir);
    wire.begin("MQ.PUB ex k cut");
    eventually("some have it", || weir.info("mq_ready") > MANY as u64);
    let weir = start(weir.killed(), &[]);
    let mut wire = weir.wire();
    let each = each_ready(&mut wire);
    assert!(each.iter().all(|count| [1, 2].contains(count)));
    assert_eq!(weir.info("mq_ready"), each.iter().sum::<u64>());
    wire.is("MQ.PUB ex k after", &format!(":{MANY}"));
}

#[test]
fn very_many_dead_letters_go_back_in_their_order_to_where_their_mover_may_write() {
    let weir = fresh(&["--aof-use-rdb-preamble", "no"]);
    let mut wire = weir.wire();
    wire.is("MQ.EXCHANGE DECLARE dlx TYPE fanout", "+OK");
    wire.run("MQ.QUEUE DECLARE dead MAXPRIORITY 3");
    wire.is("MQ.BIND dlx QUEUE dead x", ":1");
    wire.run("MQ.QUEUE DECLARE q DLX dlx MAXPRIORITY 3");
    run_all(&mut wire, (0..MANY).map(|n| format!("MQ.PUSH q m{n} PRIORITY {}", n % 3)));
    let in_order = wire.bodies(&format!("COUNT {MANY} LEASE 1 QUEUES 1 q"));
    wire.run("MQ.QUEUE PAUSE q out");
    eventually("they are back", || weir.info("mq_ready") == MANY as u64);
    wire.run("MQ.QUEUE PAUSE q none");
    let receipts: Vec<String> =
        wire.get(&format!("COUNT {MANY} LEASE 100000 QUEUES 1 q")).into_iter().map(|(receipt, _)| receipt).collect();
    wire.run(&format!("MQ.NACK q FATAL IDS {MANY} {}", receipts.join(" ")));
    assert_eq!(figure(&mut wire, "dead", "ready"), MANY as u64);

    wire.is("ACL SETUSER mover on nopass ~dead +@all", "+OK");
    let mut mover = weir.wire();
    mover.is("AUTH mover x", "+OK");
    assert!(mover.run("MQ.REDRIVE dead").starts_with("-NOPERM"));
    assert_eq!(figure(&mut wire, "dead", "ready"), MANY as u64, "nothing has moved");
    wire.is("ACL SETUSER mover ~q", "+OK");
    mover.is("MQ.REDRIVE dead COUNT 700 REASON expired", ":0");
    mover.is("MQ.REDRIVE dead COUNT 700 REASON rejected", ":700");
    // The client is gone, and what has begun for it is done. It begins when it is known that the client may do all of it.
    mover.begin("MQ.REDRIVE dead COUNT 2000");
    eventually("some are back", || figure(&mut weir.wire(), "q", "ready") > 700);
    drop(mover);
    eventually("they are back", || figure(&mut weir.wire(), "q", "ready") >= 2_700);
    wire.is("MQ.REDRIVE dead TO q", &format!(":{}", MANY - 2_700));
    assert_eq!(figure(&mut wire, "dead", "redriven"), MANY as u64);
    written(&weir);
    let weir = start(weir.killed(), &["--aof-use-rdb-preamble", "no"]);
    let mut wire = weir.wire();
    assert_eq!(wire.bodies(&format!("COUNT {} NOACK QUEUES 1 q", MANY + 1)), in_order);
    assert_eq!(figure(&mut wire, "dead", "ready"), 0);

    // In one step where nobody may wait, and whatever becomes of the queues in between.
    wire.run("MQ.QUEUE DECLARE other");
    run_all(&mut wire, (0..MANY).map(|n| format!("MQ.PUSH dead m{n}")));
    wire.is("MULTI", "+OK");
    wire.is("MQ.REDRIVE dead TO other COUNT 1000", "+QUEUED");
    wire.is("EXEC", "*1 :1000");
    wire.begin("MQ.REDRIVE dead TO other");
    let mut other = weir.wire();
    other.is("SWAPDB 0 1", "+OK");
    other.is("FLUSHALL", "+OK");
    let reply = wire.reply();
    assert!(reply.starts_with(':'), "{reply}");
    assert_eq!(weir.info("mq_ready"), 0);
}

/// What stands behind a word, wherever it does.
fn strings_of(reply: &str, name: &str) -> Vec<String> {
    let words: Vec<&str> = reply.split(' ').collect();
    words.windows(3).filter(|three| three[0] == name).map(|three| three[2].to_owned()).collect()
}
