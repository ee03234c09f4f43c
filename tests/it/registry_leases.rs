//! Leases, locks and elections of the registry, and permissions on its paths, through the protocol, with kills and thousands of
//! clients.

use crate::weir::{Start, Weir, eventually};
use crate::wire::{Wire, number};
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const GONE: &str = "-CFGLEASE no such lease";

fn token_of(reply: &str) -> u64 {
    number(reply, "token")
}

fn revision(wire: &mut Wire) -> u64 {
    number(&wire.run("CFG.INFO s"), "revision")
}

/// Waits until so many clients wait for something.
fn until_waiting(weir: &Weir, count: u64) {
    eventually("clients wait", || weir.info("blocked_clients") == count);
}

#[test]
fn a_lease_that_ends_takes_all_its_paths_in_one_revision() {
    let weir = Weir::in_memory();
    let mut wire = weir.wire();
    wire.is("CFG.PUT s /stays v", ":1");
    // At once, or it might be over before it has them all.
    wire.is("MULTI", "+OK");
    wire.is("CFG.LEASE GRANT s 150 ID 7", "+QUEUED");
    for path in ["/a", "/b", "/c/d"] {
        wire.is(&format!("CFG.PUT s {path} v LEASE 7"), "+QUEUED");
    }
    wire.is("CFG.LEASE TTL s 7 KEYS", "+QUEUED");
    let reply = wire.run("EXEC");
    assert!(reply.starts_with("*5 *4 $2 id :7 $3 ttl :150 :2 :2 :2 "), "{reply}");
    assert!(reply.ends_with("$4 type $4 time $4 keys *3 $2 /a $2 /b $4 /c/d"), "{reply}");
    let before = 2;
    eventually("the lease is over", || wire.run("CFG.LEASE LIST s") == "*0");
    assert_eq!(revision(&mut wire), before + 1);
    wire.is("CFG.GET s /stays", "$1 v");
    for path in ["/a", "/b", "/c/d"] {
        wire.is(&format!("CFG.GET s {path}"), "$-1");
        wire.is(&format!("CFG.GET s {path} AT {before}"), "$1 v");
        wire.is(&format!("CFG.GET s {path} AT {}", before + 1), "$-1");
    }
}

#[test]
fn who_keeps_a_lease_alive_and_who_ends_it_never_both_win() {
    let weir = Weir::in_memory();
    let mut wire = weir.wire();
    let mut outcomes = (0, 0);
    // Grows where nobody is in time.
    let mut unit_ms = 1;
    for round in 0..60 {
        let ttl_ms = (10 + round % 7) * unit_ms;
        let id = 100 + round;
        wire.run(&format!("CFG.LEASE GRANT s {ttl_ms} ID {id}"));
        wire.run(&format!("CFG.PUT s /p{id} v LEASE {id}"));
        let mut kept = 0;
        loop {
            wire.is("MULTI", "+OK");
            wire.is(&format!("CFG.LEASE KEEPALIVE s {id}"), "+QUEUED");
            wire.is(&format!("CFG.GET s /p{id}"), "+QUEUED");
            let reply = wire.run("EXEC");
            if reply == format!("*2 *1 :{ttl_ms} $1 v") {
                outcomes.0 += 1;
                kept += 1;
                // About as long as the lease, so that either may be first.
                let wait_ms = if kept == 3 { ttl_ms * 3 } else { ttl_ms };
                std::thread::sleep(Duration::from_millis(wait_ms));
                continue;
            }
            assert_eq!(reply, format!("*2 {GONE} $-1"));
            outcomes.1 += 1;
            if kept == 0 {
                unit_ms = 100.min(2 * unit_ms);
            }
            break;
        }
        // It does not come back.
        wire.is(&format!("CFG.LEASE KEEPALIVE s {id}"), GONE);
        wire.is(&format!("CFG.PUT s /p{id} v LEASE {id}"), GONE);
    }
    assert!(outcomes.0 >= 20 && outcomes.1 == 60, "{outcomes:?}");
}

#[test]
fn whoever_names_no_lease_is_granted_one() {
    let weir = Weir::in_memory();
    let mut wire = weir.wire();
    for _ in 0..64 {
        let granted = wire.run("CFG.LEASE GRANT s 60000");
        assert!(granted.starts_with("*4"), "{granted}");
    }
}

#[test]
fn what_is_wrong_with_a_lease_is_said_and_changes_nothing() {
    let weir = Weir::in_memory();
    let mut wire = weir.wire();
    for ttl in ["0", "-1", "315360000001", "9223372036854775807"] {
        wire.is(&format!("CFG.LEASE GRANT s {ttl}"), "-CFGLEASE the time to live is 1 to 315360000000 ms");
    }
    for wrong in ["abc", "9223372036854775808", "1.5"] {
        wire.is(&format!("CFG.LEASE GRANT s {wrong}"), "-ERR value is not an integer or out of range");
    }
    wire.is("CFG.LEASE GRANT s 1000 ID 0", "-CFGLEASE an id is above 0");
    wire.is("CFG.LEASE GRANT s 1000 ID -4", "-CFGLEASE an id is above 0");
    wire.is("CFG.LEASE GRANT s 1000 ID", "-ERR syntax error");
    wire.is("CFG.LEASE GRANT s 1000 FOREVER", "-ERR syntax error");
    wire.is("EXISTS s", ":0");
    wire.run("CFG.LEASE GRANT s 60000 ID 1");
    wire.run("CFG.LEASE GRANT s 60000 ID 2");
    wire.is("CFG.LEASE GRANT s 60000 ID 1", "-CFGLEASE this id is taken");
    wire.is("CFG.LEASE GRANT s 60000 ID 9223372036854775807", "-CFGLEASE this id is too large");
    wire.is("CFG.PUT s /a v LEASE 1", ":1");
    wire.is("CFG.PUT s /a w LEASE 2", "-CFGLEASE path is attached to lease 1");
    wire.is("CFG.PUT s /a w LEASE 3", GONE);
    wire.is("CFG.GET s /a", "$1 v");
    wire.is("CFG.LEASE KEEPALIVE s 3", GONE);
    wire.is("CFG.LEASE KEEPALIVE s 1 3 2", "*3 :60000 :-1 :60000");
    wire.is("CFG.LEASE KEEPALIVE nowhere 3", GONE);
    wire.is("CFG.LEASE REVOKE s 3", GONE);
    wire.is("CFG.LEASE TTL s 3", GONE);
    wire.is("CFG.LEASE LIST s", "*2 :1 :2");
    wire.is("CFG.LEASE LIST nowhere", "*0");
    assert_eq!(revision(&mut wire), 1);
    wire.is("CFG.LEASE REVOKE s 2", "*4 $7 deleted :0 $8 revision :1");
    wire.is("CFG.LEASE REVOKE s 1", "*4 $7 deleted :1 $8 revision :2");
    wire.is("SET string x", "+OK");
    wire.is("CFG.LEASE GRANT string 1000", "-WRONGTYPE Operation against a key holding the wrong kind of value");
    let (one, other) = (wire.run("CFG.LEASE GRANT s 60000"), wire.run("CFG.LEASE GRANT s 60000"));
    assert_ne!(number(&one, "id"), number(&other, "id"));
}

#[test]
fn a_lease_of_a_connection_ends_with_it_or_when_it_falls_silent() {
    let weir = Weir::in_memory();
    let (mut wire, mut own) = (weir.wire(), weir.wire());
    own.run("CFG.LEASE GRANT s 60000 ID 1 CONN");
    own.run("CFG.PUT s /closed v LEASE 1");
    drop(own);
    eventually("the connection's path is gone", || wire.run("CFG.GET s /closed") == "$-1");
    let mut ttl = Duration::from_millis(300);
    let mut own = loop {
        let (mut own, began) = (weir.wire(), Instant::now());
        own.run(&format!("CFG.LEASE GRANT s {} ID 2 CONN", ttl.as_millis()));
        own.run("CFG.PUT s /silent v LEASE 2");
        let (mut said, mut longest, mut lives) = (began, Duration::ZERO, true);
        while lives && began.elapsed() < 2 * ttl {
            std::thread::sleep(ttl / 6);
            let says = Instant::now();
            own.is("PING", "+PONG");
            lives = wire.run("CFG.GET s /silent") == "$1 v";
            longest = longest.max(said.elapsed());
            said = says;
        }
        if lives {
            break own;
        }
        assert!(longest >= ttl, "it was never silent for longer than {longest:?} of {ttl:?}");
        ttl *= 2;
    };
    eventually("it was silent for too long", || wire.run("CFG.GET s /silent") == "$-1");
    own.is("CFG.LEASE KEEPALIVE s 2", GONE);
    // What it is sent is no sign of life.
    let mut deaf = weir.wire();
    deaf.run("CFG.LEASE GRANT s 300 ID 4 CONN");
    deaf.run("CFG.PUT s /deaf v LEASE 4");
    assert!(deaf.run("SUBSCRIBE news").starts_with('*'));
    eventually("nobody has heard of it", || {
        wire.is("PUBLISH news x", ":1");
        wire.run("CFG.GET s /deaf") == "$-1"
    });
    drop(deaf);
    // The number of a lease may be given again; who had it before has nothing to do with that one.
    let mut first = weir.wire();
    first.run("CFG.LEASE GRANT s 60000 ID 3 CONN");
    wire.run("CFG.LEASE REVOKE s 3");
    wire.run("CFG.LEASE GRANT s 60000 ID 3");
    wire.run("CFG.PUT s /other v LEASE 3");
    drop(first);
    eventually("the first one is gone", || weir.info("connected_clients") == 3);
    wire.is("CFG.GET s /other", "$1 v");
    wire.is("CFG.LEASE LIST s", "*1 :3");
}

#[test]
fn leases_begin_anew_after_a_kill_and_end_all_the_same() {
    for rewrite in [false, true] {
        // Longer where they end before there was a look at them.
        let in_time = [1_500, 6_000, 24_000, 96_000].iter().any(|ttl_ms| begin_anew_after_a_kill(rewrite, *ttl_ms));
        assert!(in_time, "rewritten: {rewrite}");
    }
}

/// Whether that could be seen before they ended.
fn begin_anew_after_a_kill(rewrite: bool, ttl_ms: u64) -> bool {
    let ttl = Duration::from_millis(ttl_ms);
    let mut weir = Weir::appending("always");
    let mut wire = weir.wire();
    let mut held = weir.wire();
    let granted = Instant::now();
    wire.run(&format!("CFG.LEASE GRANT s {ttl_ms} ID 1"));
    wire.run("CFG.LEASE GRANT s 600000 ID 2");
    held.run(&format!("CFG.LEASE GRANT s {ttl_ms} ID 3 CONN"));
    for id in 1..=3 {
        wire.run(&format!("CFG.PUT s /{id} v LEASE {id}"));
        wire.run(&format!("CFG.LOCK s /lock{id} LEASE {id}"));
    }
    wire.run("CFG.LEASE GRANT s 600000 ID 4");
    wire.run("CFG.PUT s /4 v LEASE 4");
    wire.run("CFG.LEASE REVOKE s 4");
    if rewrite {
        wire.run("BGREWRITEAOF");
        eventually("the file is rewritten", || weir.info("aof_rewrite_in_progress") == 0);
    }
    let folder = weir.killed();
    let restarted = Instant::now();
    if granted.elapsed() >= ttl {
        return false;
    }
    weir = Start::appending("always").folder(folder).start();
    let mut wire = weir.wire();
    let looks = ["CFG.LEASE LIST s", "CFG.GET s /1", "CFG.GET s /2", "CFG.GET s /3", "CFG.LOCK s /lock2 LEASE 1"];
    let seen = looks.map(|words| wire.run(words));
    let before = revision(&mut wire);
    if restarted.elapsed() >= ttl {
        return false;
    }
    assert_eq!(seen, ["*3 :1 :2 :3", "$1 v", "$1 v", "$1 v", "$-1"]);
    eventually("nobody keeps two of them alive", || wire.run("CFG.LEASE LIST s") == "*1 :2");
    assert_eq!(revision(&mut wire), before + 2);
    wire.is("CFG.GET s /1", "$-1");
    wire.is("CFG.GET s /3", "$-1");
    // What ended by itself has ended in the file too.
    weir = Start::appending("always").folder(weir.killed()).start();
    let mut wire = weir.wire();
    wire.is("CFG.LEASE LIST s", "*1 :2");
    assert_eq!(revision(&mut wire), before + 2);
    wire.is("CFG.GET s /1", "$-1");
    wire.is("CFG.GET s /2", "$1 v");
    true
}

#[test]
fn nothing_ends_during_a_pause_or_a_script() {
    let weir = Weir::in_memory();
    let (mut wire, mut other) = (weir.wire(), weir.wire());
    other.is("MULTI", "+OK");
    for words in ["CFG.LEASE GRANT s 60 ID 1", "CFG.PUT s /paused v LEASE 1", "CLIENT PAUSE 100000 WRITE"] {
        other.is(words, "+QUEUED");
    }
    other.is("EXEC", "*3 *4 $2 id :1 $3 ttl :60 :1 +OK");
    for _ in 0..25 {
        std::thread::sleep(Duration::from_millis(10));
        wire.is("CFG.GET s /paused", "$1 v");
    }
    other.is("CLIENT UNPAUSE", "+OK");
    eventually("the pause is over", || wire.run("CFG.GET s /paused") == "$-1");
    let script = "redis.call('CFG.LEASE', 'GRANT', 's', 20, 'ID', 2) redis.call('CFG.PUT', 's', '/p', 'v', 'LEASE', 2) \
                  local n = 0 for i = 1, 30000000 do n = n + i % 7 end return redis.call('CFG.GET', 's', '/p')";
    assert_eq!(other.call(&["EVAL", script, "1", "s"]), "$1 v");
    eventually("the script is over", || wire.run("CFG.GET s /p") == "$-1");
}

#[test]
fn a_lock_goes_to_who_has_waited_longest_and_its_token_rises() {
    let weir = Weir::in_memory();
    let mut wire = weir.wire();
    for id in 1..=4 {
        wire.run(&format!("CFG.LEASE GRANT s 60000 ID {id}"));
    }
    let first = wire.run("CFG.LOCK s /jobs/nightly LEASE 1");
    assert_eq!(first, "*4 $3 key $15 /jobs/nightly/1 $5 token :1");
    // The same lease has it already.
    wire.is("CFG.LOCK s /jobs/nightly LEASE 1", &first);
    wire.is("CFG.LOCK s /jobs/nightly LEASE 2", "$-1");
    wire.is("CFG.LOCK s /jobs/nightly LEASE 2 BLOCK 1", "$-1");
    let mut waiting: Vec<Wire> = (2..=4).map(|_| weir.wire()).collect();
    for (at, one) in waiting.iter_mut().enumerate() {
        one.begin(&format!("CFG.LOCK s /jobs/nightly LEASE {} BLOCK 0", at + 2));
        until_waiting(&weir, at as u64 + 1);
    }
    // However the key goes.
    wire.run("CFG.UNLOCK s /jobs/nightly/1");
    let second = waiting[0].reply();
    assert!(token_of(&second) > token_of(&first), "{second}");
    // Whoever does not stand in line does not get in between.
    wire.is("MULTI", "+OK");
    wire.is("CFG.DEL s /jobs PREFIX", "+QUEUED");
    wire.is("CFG.LOCK s /jobs/nightly LEASE 1 BLOCK 0", "+QUEUED");
    assert!(wire.run("EXEC").ends_with(" $-1"));
    let third = waiting[1].reply();
    assert!(third.contains("/jobs/nightly/3") && token_of(&third) > token_of(&second), "{third}");
    wire.run("CFG.LEASE REVOKE s 3");
    let fourth = waiting[2].reply();
    assert!(fourth.contains("/jobs/nightly/4") && token_of(&fourth) > token_of(&third), "{fourth}");
    until_waiting(&weir, 0);
}

#[test]
fn who_waits_in_vain_is_told_or_leaves_the_line() {
    let weir = Weir::in_memory();
    let mut wire = weir.wire();
    for id in 1..=9 {
        wire.run(&format!("CFG.LEASE GRANT s 60000 ID {id}"));
    }
    wire.run("CFG.LOCK s /l LEASE 1");
    let mut waiting: Vec<Wire> = (2..=6).map(|_| weir.wire()).collect();
    for (at, one) in waiting.iter_mut().enumerate() {
        let block_ms = if at == 1 { 200 } else { 0 };
        one.begin(&format!("CFG.LOCK s /l LEASE {} BLOCK {block_ms}", at + 2));
        let address = one.address();
        eventually("it stands in line", || weir.client_field(&address, "cmd").as_deref() == Some("cfg.lock"));
    }
    // One vanishes, of one the time is over, one loses its lease.
    drop(waiting.remove(0));
    assert_eq!(waiting.remove(0).reply(), "$-1");
    wire.run("CFG.LEASE REVOKE s 4");
    assert_eq!(waiting.remove(0).reply(), GONE);
    until_waiting(&weir, 2);
    wire.run("CFG.UNLOCK s /l/1");
    assert!(waiting[0].reply().contains("/l/5"));
    until_waiting(&weir, 1);
    // The store goes, whyever, while somebody waits.
    for how in ["DEL s", "UNLINK s", "RENAME s elsewhere", "FLUSHALL", "FLUSHDB ASYNC", "SET s x", "PEXPIRE s 1"] {
        wire.run("DEL s");
        wire.run("CFG.LEASE GRANT s 60000 ID 1");
        wire.run("CFG.LEASE GRANT s 60000 ID 2");
        wire.run("CFG.LOCK s /l LEASE 1");
        waiting.clear();
        let mut one = weir.wire();
        until_waiting(&weir, 0);
        one.begin("CFG.LOCK s /l LEASE 2 BLOCK 0");
        until_waiting(&weir, 1);
        assert!(!wire.run(how).starts_with('-'), "{how}");
        let reply = one.reply();
        assert!(reply == GONE || how == "SET s x" && reply.starts_with("-WRONGTYPE"), "{how}: {reply}");
        one.is("PING", "+PONG");
    }
    // An operator ends the waiting.
    wire.run("DEL s");
    wire.run("CFG.LEASE GRANT s 60000 ID 1");
    wire.run("CFG.LEASE GRANT s 60000 ID 2");
    wire.run("CFG.LOCK s /l LEASE 1");
    let mut one = weir.wire();
    let id = one.run("CLIENT ID")[1..].to_owned();
    one.begin("CFG.LOCK s /l LEASE 2 BLOCK 0");
    until_waiting(&weir, 1);
    wire.is(&format!("CLIENT UNBLOCK {id} ERROR"), ":1");
    assert!(one.reply().starts_with("-UNBLOCKED"));
    wire.run("CFG.UNLOCK s /l/1");
    assert!(wire.run("CFG.LOCK s /l LEASE 1").contains("/l/1"));
}

#[test]
fn nobody_waits_inside_of_a_transaction_or_a_script() {
    let weir = Weir::in_memory();
    let mut wire = weir.wire();
    wire.run("CFG.LEASE GRANT s 60000 ID 1");
    wire.run("CFG.LEASE GRANT s 60000 ID 2");
    wire.run("CFG.LOCK s /l LEASE 1");
    wire.is("MULTI", "+OK");
    wire.is("CFG.LOCK s /l LEASE 2 BLOCK 0", "+QUEUED");
    wire.is("CFG.ELECT CAMPAIGN s /l v LEASE 2 BLOCK 0", "+QUEUED");
    wire.is("EXEC", "*2 $-1 $-1");
    let script = "return redis.call('CFG.LOCK', 's', '/l', 'LEASE', 2, 'BLOCK', 0)";
    assert_eq!(wire.call(&["EVAL", script, "1", "s"]), "$-1");
    // A lock that was held within one transaction alone was held by nobody else meanwhile.
    wire.is("MULTI", "+OK");
    wire.run("CFG.UNLOCK s /l/1");
    wire.run("CFG.LOCK s /l LEASE 2");
    assert!(wire.run("EXEC").contains("/l/2"));
}

#[test]
fn what_is_no_key_of_a_lock_is_not_given_back() {
    let weir = Weir::in_memory();
    let mut wire = weir.wire();
    wire.run("CFG.LEASE GRANT s 60000 ID 1");
    wire.run("CFG.LEASE GRANT s 60000 ID 2");
    wire.run("CFG.LOCK s /l LEASE 1");
    wire.run("CFG.PUT s /plain v");
    wire.run("CFG.PUT s /leased v LEASE 2");
    let before = revision(&mut wire);
    wire.is("CFG.UNLOCK s /l/2", "-CFGLOCK nobody holds this key");
    wire.is("CFG.UNLOCK s /plain", "-CFGLOCK this path is not the key of a lock");
    wire.is("CFG.UNLOCK s /leased", "-CFGLOCK this path is not the key of a lock");
    wire.is("CFG.ELECT PROCLAIM s /l/2 v", "-CFGLOCK nobody holds this key");
    wire.is("CFG.ELECT RESIGN s /l/2", "-CFGLOCK nobody holds this key");
    wire.is("CFG.UNLOCK nowhere /l/2", "-CFGLOCK nobody holds this key");
    assert!(wire.run("CFG.UNLOCK s l").starts_with("-CFGPATH"));
    for wrong in ["/", "", "/l/", "l", "//", "/a//b"] {
        let reply = wire.call(&["CFG.LOCK", "s", wrong, "LEASE", "1"]);
        assert!(reply.starts_with("-CFGPATH"), "{wrong}: {reply}");
    }
    let longest = format!("/{}", "x".repeat(4095));
    assert!(wire.run(&format!("CFG.LOCK s {longest} LEASE 1")).starts_with("-CFGPATH"));
    wire.is("CFG.LOCK s /l LEASE 3", GONE);
    wire.is("CFG.LOCK s /l LEASE 0", "-CFGLEASE an id is above 0");
    wire.is("CFG.LOCK s /l LEASE 1 BLOCK -1", "-ERR timeout is negative");
    wire.is("CFG.LOCK s /l LEASE 1 WAIT 5", "-ERR syntax error");
    assert_eq!(revision(&mut wire), before);
    wire.is("EXISTS nowhere", ":0");
    // Whatever is below the name keeps others out.
    wire.run("CFG.PUT s /busy/deep/down v");
    wire.is("CFG.LOCK s /busy LEASE 1", "$-1");
    let mut one = weir.wire();
    one.begin("CFG.LOCK s /busy LEASE 1 BLOCK 0");
    until_waiting(&weir, 1);
    wire.run("CFG.DEL s /busy/deep/down");
    assert!(one.reply().contains("/busy/1"));
}

#[test]
fn the_leader_of_an_election_says_who_it_is_until_it_resigns_or_is_gone() {
    let weir = Weir::in_memory();
    let (mut wire, mut two, mut three) = (weir.wire(), weir.wire(), weir.wire());
    for id in 1..=3 {
        wire.run(&format!("CFG.LEASE GRANT s 60000 ID {id}"));
    }
    wire.is("CFG.ELECT LEADER s /lead", "$-1");
    wire.is("CFG.ELECT CAMPAIGN s /lead one LEASE 1", "*4 $3 key $7 /lead/1 $5 token :1");
    wire.is("CFG.ELECT LEADER s /lead", "*10 $3 key $7 /lead/1 $5 value $3 one $5 token :1 $8 revision :1 $5 lease :1");
    wire.is("CFG.ELECT CAMPAIGN s /lead zwei LEASE 2", "$-1");
    two.begin("CFG.ELECT CAMPAIGN s /lead two LEASE 2 BLOCK 0");
    until_waiting(&weir, 1);
    three.begin("CFG.ELECT CAMPAIGN s /lead three LEASE 3 BLOCK 60000");
    until_waiting(&weir, 2);
    wire.is("CFG.ELECT PROCLAIM s /lead/1 again", ":2");
    wire.is("CFG.ELECT CAMPAIGN s /lead again LEASE 1", "*4 $3 key $7 /lead/1 $5 token :1");
    wire.is("CFG.ELECT CAMPAIGN s /lead once LEASE 1", "*4 $3 key $7 /lead/1 $5 token :1");
    assert!(wire.run("CFG.ELECT LEADER s /lead").contains("$4 once $5 token :1 $8 revision :3"));
    wire.is("CFG.ELECT RESIGN s /lead/1", ":4");
    assert_eq!(two.reply(), "*4 $3 key $7 /lead/2 $5 token :5");
    wire.is("CFG.ELECT PROCLAIM s /lead/1 late", "-CFGLOCK nobody holds this key");
    wire.run("CFG.LEASE REVOKE s 2");
    assert_eq!(three.reply(), "*4 $3 key $7 /lead/3 $5 token :7");
    assert!(wire.run("CFG.ELECT LEADER s /lead").contains("$5 three"));
}

/// What a lock protects: it takes no token below one that it has seen.
#[derive(Default)]
struct Protected {
    last: Mutex<u64>,
    refused: AtomicU64,
}

impl Protected {
    fn write(&self, token: u64) -> bool {
        let mut last = self.last.lock().expect("nobody panicked");
        if token < *last {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        *last = token;
        true
    }
}

#[test]
fn of_a_thousand_clients_one_has_the_lock_and_who_was_away_is_told_apart_by_the_token() {
    const CLIENTS: u64 = 1_000;
    const ROUNDS: u64 = 2;
    let weir = Weir::in_memory();
    let (protected, inside) = (Protected::default(), AtomicBool::new(false));
    let (tokens, stale) = (Mutex::new(BTreeSet::new()), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for number in 1..=CLIENTS {
            let (weir, protected, inside, tokens, stale) = (&weir, &protected, &inside, &tokens, &stale);
            let client = move || {
                let mut wire = weir.wire();
                for round in 0..ROUNDS {
                    let id = number * 10 + round;
                    // Some vanish with the lock, some sleep until their lease is over.
                    let (vanishes, sleeps) = (number % 50 == 1, number % 50 == 2);
                    let conn = if vanishes { " CONN" } else { "" };
                    assert!(wire.run(&format!("CFG.LEASE GRANT s 600000 ID {id}{conn}")).starts_with('*'));
                    wire.begin(&format!("CFG.LOCK s /lock LEASE {id} BLOCK 0"));
                    let reply = wire.reply();
                    let token = token_of(&reply);
                    assert!(tokens.lock().expect("nobody panicked").insert(token), "{token} was given twice");
                    if vanishes {
                        assert!(protected.write(token));
                        wire = weir.wire();
                        continue;
                    }
                    if sleeps {
                        // As if its time had run out while it was away: the next one has the lock already when it comes back.
                        assert!(wire.run(&format!("CFG.LEASE REVOKE s {id}")).starts_with('*'));
                        while *protected.last.lock().expect("nobody panicked") <= token {
                            std::thread::sleep(Duration::from_millis(1));
                            if tokens.lock().expect("nobody panicked").len() as u64 == CLIENTS * ROUNDS {
                                break;
                            }
                        }
                        if !protected.write(token) {
                            stale.fetch_add(1, Ordering::Relaxed);
                        }
                        continue;
                    }
                    assert!(!inside.swap(true, Ordering::SeqCst), "two are inside");
                    assert!(protected.write(token), "a holder was refused");
                    inside.store(false, Ordering::SeqCst);
                    assert!(wire.run(&format!("CFG.UNLOCK s /lock/{id}")).starts_with(':'));
                    assert!(wire.run(&format!("CFG.LEASE REVOKE s {id}")).starts_with('*'));
                }
            };
            std::thread::Builder::new().stack_size(256 * 1024).spawn_scoped(scope, client).expect("a thread");
        }
    });
    assert_eq!(tokens.lock().expect("nobody panicked").len() as u64, CLIENTS * ROUNDS);
    assert!(stale.load(Ordering::Relaxed) > 0, "nobody was told apart");
    let mut wire = weir.wire();
    eventually("all leases are over", || wire.run("CFG.LEASE LIST s") == "*0");
    assert_eq!(number(&wire.run("CFG.RANGE s /lock PREFIX COUNTONLY"), "count"), 0);
    assert_eq!(weir.info("blocked_clients"), 0);
}

/// A call that is refused, and the name that the refusal tells.
type Refused = (&'static str, &'static str);
/// A command with calls that are allowed and such that are not.
type Asked = (&'static str, &'static [&'static str], &'static [Refused]);

/// Each command of the registry, with calls that a user may make who reads below /r, writes below /w, and does both below /b; then
/// such that it may not make, with the name that the refusal tells. A lease 1 has /w/leased, a lease 2 has /other.
const CALLS: &[Asked] = &[
    (
        "cfg.put",
        &[
            "CFG.PUT s /w/a v",
            "CFG.PUT s /w/a PREV",
            "CFG.PUT s /b/a v PREV",
            "CFG.PUT s /w/a v LEASE 1 IFMOD 3 FLAGS 5",
        ],
        &[
            ("CFG.PUT s /r/a v", "s:/r/a"),
            ("CFG.PUT s /w v", "s:/w"),
            ("CFG.PUT s /w/a v PREV", "s:/w/a"),
            ("CFG.PUT other /w/a v", "other:/w/a"),
        ],
    ),
    (
        "cfg.create",
        &[
            "CFG.CREATE s /w/a v",
            "CFG.CREATE s /w/a SEQ",
            "CFG.CREATE s /w/n- v SEQ",
            "CFG.CREATE s /w/x/y/z v PARENT",
            "CFG.CREATE s /deep/x/y PARENT",
        ],
        &[
            ("CFG.CREATE s /w v", "s:/w"),
            ("CFG.CREATE s /one v SEQ", "s:/one*"),
            ("CFG.CREATE s /new/x v PARENT", "s:/new/x"),
            ("CFG.CREATE s /deep/x/y v PARENT", "s:/deep"),
            ("CFG.CREATE s /deep/x v", "s:/deep/x"),
        ],
    ),
    (
        "cfg.del",
        &["CFG.DEL s /w/a", "CFG.DEL s /w/ PREFIX", "CFG.DEL s /b/a PREV", "CFG.DEL s /one"],
        &[
            ("CFG.DEL s /r/a", "s:/r/a"),
            ("CFG.DEL s /w PREFIX", "s:/w*"),
            ("CFG.DEL s /one PREFIX", "s:/one*"),
            ("CFG.DEL s /w/a IFMOD 5 PREV", "s:/w/a"),
        ],
    ),
    (
        "cfg.get",
        &["CFG.GET s /r/a", "CFG.GET s /b/a AT 1 META"],
        &[("CFG.GET s /w/a", "s:/w/a"), ("CFG.GET s /r", "s:/r"), ("CFG.GET s2 /r/a", "s2:/r/a")],
    ),
    (
        "cfg.range",
        &[
            "CFG.RANGE s /r/a",
            "CFG.RANGE s /r/ PREFIX",
            "CFG.RANGE s /r CHILDREN",
            "CFG.RANGE s /r/a TO /r/c",
            "CFG.RANGE s /r/a LIMIT 5 SORT MOD DESC",
        ],
        &[
            ("CFG.RANGE s /r PREFIX", "s:/r*"),
            ("CFG.RANGE s / PREFIX", "s:/*"),
            ("CFG.RANGE s / CHILDREN", "s:/*"),
            ("CFG.RANGE s /r/ TO /r0", "s:/r*"),
            ("CFG.RANGE s /w/a", "s:/w/a"),
        ],
    ),
    (
        "cfg.txn",
        &[
            "CFG.TXN s IF 1 /r/a VALUE = x THEN 1 PUT /w/a v ELSE 1 GET /b/a",
            "CFG.TXN s IF 1 EXISTS /r/a THEN 2 DEL /w/ PREFIX RANGE /r CHILDREN",
            "CFG.TXN s IF 0",
            "CFG.TXN s IF 9 nonsense",
        ],
        &[
            ("CFG.TXN s IF 1 /w/a VALUE = x THEN 0", "s:/w/a"),
            ("CFG.TXN s IF 1 EXISTS /x THEN 0", "s:/x"),
            ("CFG.TXN s THEN 1 PUT /r/a v", "s:/r/a"),
            ("CFG.TXN s THEN 0 ELSE 1 DEL /w PREFIX", "s:/w*"),
            ("CFG.TXN s THEN 2 PUT /w/a PUT GET /w/a", "s:/w/a"),
            ("CFG.TXN s THEN 1 RANGE / PREFIX", "s:/*"),
            ("CFG.TXN s2 IF 0", "s2"),
        ],
    ),
    ("cfg.history", &["CFG.HISTORY s /r/a", "CFG.HISTORY s /b/a COUNT 5"], &[("CFG.HISTORY s /w/a", "s:/w/a")]),
    (
        "cfg.watch",
        &["CFG.WATCH s /r/a", "CFG.WATCH s /r/ PREFIX", "CFG.WATCH s /r/a ID PREFIX FROM 1 PREV"],
        &[("CFG.WATCH s /w/a", "s:/w/a"), ("CFG.WATCH s /r PREFIX", "s:/r*"), ("CFG.WATCH s /r/a TO /s", "s:/*")],
    ),
    ("cfg.unwatch", &["CFG.UNWATCH id"], &[]),
    ("cfg.progress", &["CFG.PROGRESS id"], &[]),
    (
        "cfg.poll",
        &["CFG.POLL BLOCK 1 STORES 2 s /r/a EXACT 1 0 s /r/ PREFIX 1 0"],
        &[
            ("CFG.POLL STORES 2 s /r/a EXACT 1 0 s /r PREFIX 1 0", "s:/r*"),
            ("CFG.POLL STORES 2 s /r/a EXACT 1 0 t /r/a EXACT 1 0", "t:/r/a"),
        ],
    ),
    ("cfg.lease|grant", &["CFG.LEASE GRANT s 1000 ID 9"], &[("CFG.LEASE GRANT t 1000", "t")]),
    ("cfg.lease|keepalive", &["CFG.LEASE KEEPALIVE s 2"], &[("CFG.LEASE KEEPALIVE t 1", "t")]),
    (
        "cfg.lease|revoke",
        &["CFG.LEASE REVOKE s 1", "CFG.LEASE REVOKE s 77"],
        &[("CFG.LEASE REVOKE s 2", "s:/other"), ("CFG.LEASE REVOKE t 1", "t")],
    ),
    (
        "cfg.lease|ttl",
        &["CFG.LEASE TTL s 1", "CFG.LEASE TTL s 2", "CFG.LEASE TTL s 77 KEYS"],
        &[("CFG.LEASE TTL s 1 KEYS", "s:/w/leased"), ("CFG.LEASE TTL t 1", "t")],
    ),
    ("cfg.lease|list", &[], &[("CFG.LEASE LIST s", "s")]),
    ("cfg.lock", &["CFG.LOCK s /w/l LEASE 1", "CFG.LOCK s /one LEASE 1"], &[("CFG.LOCK s /r/l LEASE 1", "s:/r/l")]),
    ("cfg.unlock", &["CFG.UNLOCK s /w/l/1", "CFG.UNLOCK s /one/1"], &[("CFG.UNLOCK s /w/1", "s:/w")]),
    (
        "cfg.elect|campaign",
        &["CFG.ELECT CAMPAIGN s /w/e v LEASE 1"],
        &[("CFG.ELECT CAMPAIGN s /r/e v LEASE 1", "s:/r/e")],
    ),
    ("cfg.elect|proclaim", &["CFG.ELECT PROCLAIM s /w/e/1 v"], &[("CFG.ELECT PROCLAIM s /r/e/1 v", "s:/r/e")]),
    ("cfg.elect|resign", &["CFG.ELECT RESIGN s /w/e/1"], &[("CFG.ELECT RESIGN s /r/e/1", "s:/r/e")]),
    ("cfg.elect|leader", &["CFG.ELECT LEADER s /r/e"], &[("CFG.ELECT LEADER s /w/e", "s:/w/e")]),
    ("cfg.info", &[], &[("CFG.INFO s", "s")]),
    ("cfg.set", &[], &[("CFG.SET s history-max 5", "s")]),
    ("cfg.compact", &[], &[("CFG.COMPACT s 1", "s")]),
    ("cfg.effect", &[], &[("CFG.EFFECT REVOKE s 1", "s")]),
    (
        "cfg.draft|set",
        &["CFG.DRAFT SET s /w a v", "CFG.DRAFT SET s /w /x/a v"],
        &[("CFG.DRAFT SET s /r a v", "s:/r/a")],
    ),
    ("cfg.draft|del", &["CFG.DRAFT DEL s /w a"], &[("CFG.DRAFT DEL s /r a", "s:/r/a")]),
    ("cfg.draft|show", &["CFG.DRAFT SHOW s /r"], &[("CFG.DRAFT SHOW s /w", "s:/w/*")]),
    ("cfg.draft|discard", &["CFG.DRAFT DISCARD s /w"], &[("CFG.DRAFT DISCARD s /one", "s:/one/*")]),
    ("cfg.publish", &["CFG.PUBLISH s /w"], &[("CFG.PUBLISH s /one", "s:/one/*"), ("CFG.PUBLISH s /r", "s:/r/*")]),
    ("cfg.releases", &["CFG.RELEASES s /r"], &[("CFG.RELEASES s /w", "s:/w/*")]),
    ("cfg.rollback", &["CFG.ROLLBACK s /w TO -1"], &[("CFG.ROLLBACK s /r TO -1", "s:/r/*")]),
    (
        "cfg.gray|set",
        &["CFG.GRAY SET s /w g PRIORITY 1 RULE 1 label EQ x"],
        &[("CFG.GRAY SET s /r g PRIORITY 1 RULE 1 label EQ x", "s:/r/*")],
    ),
    ("cfg.gray|promote", &["CFG.GRAY PROMOTE s /w g"], &[("CFG.GRAY PROMOTE s /r g", "s:/r/*")]),
    ("cfg.gray|abandon", &["CFG.GRAY ABANDON s /w g"], &[("CFG.GRAY ABANDON s /r g", "s:/r/*")]),
    ("cfg.gray|list", &["CFG.GRAY LIST s /r"], &[("CFG.GRAY LIST s /w", "s:/w/*")]),
    ("cfg.client|labels", &["CFG.CLIENT LABELS 1 k v"], &[]),
    ("cfg.client|who", &["CFG.CLIENT WHO s /r"], &[("CFG.CLIENT WHO s /w", "s:/w/*")]),
    ("cfg.import", &["CFG.IMPORT s /w FORMAT json {}"], &[("CFG.IMPORT s /r FORMAT json {}", "s:/r/*")]),
    ("cfg.export", &["CFG.EXPORT s /r FORMAT json"], &[("CFG.EXPORT s /w FORMAT json", "s:/w/*")]),
];

#[test]
fn a_user_of_some_paths_may_do_with_each_command_what_they_say_and_no_more() {
    let weir = Weir::in_memory();
    let mut wire = weir.wire();
    for setup in [
        "ACL SETUSER joe on >pw +@all %R~s:/r/* %W~s:/w/* %RW~s:/b/* ~s:/one ~s:/deep/x/y",
        "ACL SETUSER whole on >pw +@all ~s",
        "ACL SETUSER reader on >pw +@all %R~s",
        // The same in selectors, none of which would do for both halves of a transaction.
        "ACL SETUSER split on >pw +@all (+@all %R~s:/r/*) (+@all %W~s:/w/*)",
        "CFG.PUT s /r/a v",
        "CFG.LEASE GRANT s 600000 ID 1",
        "CFG.LEASE GRANT s 600000 ID 2",
        "CFG.PUT s /w v",
        "CFG.PUT s /w/leased v LEASE 1",
        "CFG.PUT s /other v LEASE 2",
    ] {
        assert!(!wire.run(setup).starts_with('-'), "{setup}");
    }
    let commands = wire.run("COMMAND LIST FILTERBY PATTERN cfg.*");
    let known = |name: &str| commands.split(' ').any(|word| word == name);
    let mut asked = BTreeSet::new();
    for (name, allowed, denied) in CALLS {
        if !known(name) {
            continue;
        }
        asked.insert(*name);
        for call in *allowed {
            wire.is(&format!("ACL DRYRUN joe {call}"), "+OK");
        }
        for (call, object) in *denied {
            let reply = wire.run(&format!("ACL DRYRUN joe {call}"));
            assert!(
                reply.ends_with(&format!("User joe has no permissions to access the '{object}' key")),
                "{call}: {reply}"
            );
        }
        let all = allowed.iter().copied().chain(denied.iter().map(|(call, _)| *call));
        for call in all.filter(|call| call.split(' ').any(|word| word == "s") && !call.contains(" t ")) {
            wire.is(&format!("ACL DRYRUN whole {call}"), "+OK");
        }
    }
    // Whoever adds a command says what it uses.
    let subcommands: BTreeSet<&str> =
        CALLS.iter().map(|(name, ..)| name.split('|').next().unwrap_or_default()).collect();
    for command in commands.split(' ').filter(|word| word.starts_with("cfg.") && !word.ends_with("|help")) {
        let is_container = !command.contains('|') && subcommands.contains(command) && !asked.contains(command);
        assert!(asked.contains(command) || is_container, "{command} is not in the table");
    }
    wire.is("ACL DRYRUN reader CFG.RANGE s / PREFIX", "+OK");
    wire.is("ACL DRYRUN reader CFG.LEASE TTL s 2 KEYS", "+OK");
    for call in ["CFG.PUT s /w/a v", "CFG.LEASE GRANT s 1", "CFG.TXN s THEN 1 DEL /a", "CFG.LOCK s /r LEASE 1"] {
        assert!(wire.run(&format!("ACL DRYRUN reader {call}")).contains("no permissions"), "{call}");
    }
    wire.is("ACL DRYRUN split CFG.TXN s IF 1 EXISTS /r/a THEN 0", "+OK");
    wire.is("ACL DRYRUN split CFG.TXN s IF 0 THEN 1 PUT /w/a v", "+OK");
    let reply = wire.run("ACL DRYRUN split CFG.TXN s IF 1 EXISTS /r/a THEN 1 PUT /w/a v");
    assert!(reply.contains("'s:/"), "{reply}");
}

#[test]
fn who_is_refused_a_path_is_told_and_written_down_whichever_way_the_call_came() {
    let weir = Weir::in_memory();
    let (mut wire, mut joe) = (weir.wire(), weir.wire());
    wire.is("ACL SETUSER joe on >pw +@all -@dangerous %R~s:/r/* %W~s:/w/*", "+OK");
    wire.run("CFG.PUT s /r/a v");
    wire.run("CFG.LEASE GRANT s 600000 ID 1");
    joe.is("AUTH joe pw", "+OK");
    joe.is("CFG.GET s /r/a", "$1 v");
    joe.is("CFG.PUT s /r/a w", "-NOPERM No permissions to access a key");
    joe.is("GET s:/r/a", "$-1");
    assert_eq!(joe.call(&["EVAL", "return redis.call('CFG.GET', 's', '/r/a')", "0"]), "$1 v");
    let reply = joe.call(&["EVAL", "return redis.call('CFG.GET', 's', '/x')", "0"]);
    assert!(reply.starts_with("-ERR ACL failure in script: No permissions to access a key"), "{reply}");
    joe.is("MULTI", "+OK");
    joe.is("CFG.RANGE s /r PREFIX", "-NOPERM No permissions to access a key");
    assert!(joe.run("EXEC").starts_with("-EXECABORT"));
    for object in ["s:/r*", "s:/x", "s:/r/a"] {
        let log = wire.run("ACL LOG");
        assert!(log.contains(&format!(" $6 object ${} {object} ", object.len())), "{object}: {log}");
    }
    // Rules that change while somebody waits are in force when he has his turn.
    wire.run("CFG.LOCK s /w/l LEASE 1");
    wire.run("CFG.LEASE GRANT s 600000 ID 2");
    joe.begin("CFG.LOCK s /w/l LEASE 2 BLOCK 0");
    until_waiting(&weir, 1);
    wire.is("ACL SETUSER joe resetkeys %R~s:/r/*", "+OK");
    wire.run("CFG.UNLOCK s /w/l/1");
    assert_eq!(joe.reply(), "-NOPERM No permissions to access a key");
    assert!(wire.run("CFG.LOCK s /w/l LEASE 1").contains("/w/l/1"));
    // Cluster clients are told the store.
    wire.is("COMMAND GETKEYS CFG.PUT s /r/a w", "*1 $1 s");
    wire.is("COMMAND GETKEYS CFG.LOCK s /r/a LEASE 5", "*1 $1 s");
    wire.is("COMMAND GETKEYS CFG.LEASE KEEPALIVE s 5", "*1 $1 s");
    for category in ["cfgread", "cfgwrite", "cfgpublish", "cfgadmin"] {
        assert!(wire.run("ACL CAT").contains(category));
    }
}

#[test]
fn who_observes_what_he_may_not_read_any_more_is_hung_up_on() {
    let weir = Weir::in_memory();
    let mut wire = weir.wire();
    wire.is("ACL SETUSER joe on >pw +@all %R~s:/r/* ~s:/own", "+OK");
    let mut observers: Vec<Wire> = ["/r/a", "/r/ PREFIX", "/own"]
        .into_iter()
        .map(|path| {
            let mut one = weir.wire();
            assert!(one.run("HELLO 3 AUTH joe pw").starts_with('%'));
            one.is("CFG.WATCH s /x", "-NOPERM No permissions to access a key");
            assert!(!one.run(&format!("CFG.WATCH s {path}")).starts_with('-'), "{path}");
            one
        })
        .collect();
    wire.is("ACL SETUSER joe %W~s:/other", "+OK");
    observers.iter_mut().for_each(|one| one.is("PING", "+PONG"));
    wire.is("ACL SETUSER joe resetkeys %R~s:/r/a ~s:/own", "+OK");
    assert!(observers[1].is_closed());
    observers[0].is("PING", "+PONG");
    wire.is("ACL SETUSER joe resetkeys ~s:/own", "+OK");
    assert!(observers[0].is_closed());
    observers[2].is("PING", "+PONG");
}
