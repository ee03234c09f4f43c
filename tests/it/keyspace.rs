//! The data set at a size where work in slices, and on another thread, shows.

use crate::weir::{Weir, eventually};
use crate::wire::request;
use std::collections::BTreeSet;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// No command may take longer than this while something big goes on in the background. Generous: caches are cold where many
/// tests run at once.
const HICCUP_MAX: Duration = Duration::from_secs(1);

/// Asks PING until told to end. Returns the longest time that it took.
fn longest_ping(weir: &Weir, go_on: &AtomicBool) -> Duration {
    let mut wire = weir.wire();
    let mut longest = Duration::ZERO;
    while go_on.load(Ordering::Relaxed) {
        let ((), took) = weir.time(|| wire.ask("PING\r\n", "+PONG\r\n"));
        longest = longest.max(took);
    }
    longest
}

#[test]
fn a_hundred_thousand_keys_expire_although_nobody_asks_for_them() {
    let weir = Weir::with([]);
    let mut wire = weir.wire();
    let mut sender = wire.sender();
    let sending = thread::spawn(move || {
        for thousand in 0..100 {
            let mut bytes = Vec::new();
            for number in 0..1000 {
                bytes.extend(request(&["SET", &format!("key:{thousand}:{number}"), "v", "PX", "3000"]));
            }
            sender.write_all(&bytes).expect("the server reads");
        }
    });
    (0..100_000).for_each(|_| wire.expect("+OK\r\n"));
    sending.join().expect("the sender");
    wire.ask("SET stays v\r\n", "+OK\r\n");
    let go_on = AtomicBool::new(true);
    let longest = thread::scope(|scope| {
        let pinging = scope.spawn(|| longest_ping(&weir, &go_on));
        eventually("only the key without a deadline is left", || wire.run("DBSIZE") == ":1");
        go_on.store(false, Ordering::Relaxed);
        pinging.join().expect("the pings")
    });
    assert!(longest < HICCUP_MAX, "{longest:?}");
    assert_eq!(weir.info("expired_keys"), 100_000);
}

#[test]
fn flushall_of_a_big_data_set_holds_nobody_up() {
    let weir = Weir::with(["--enable-debug-command", "local"]);
    let mut wire = weir.wire();
    for _ in 0..2 {
        wire.is("DEBUG POPULATE 200000 key 40", "+OK");
        wire.is("DBSIZE", ":200000");
        let go_on = AtomicBool::new(true);
        let (longest, took) = thread::scope(|scope| {
            let pinging = scope.spawn(|| longest_ping(&weir, &go_on));
            let ((), took) = weir.time(|| wire.is("FLUSHALL", "+OK"));
            wire.is("DBSIZE", ":0");
            eventually("everything is freed", || weir.info("lazyfree_pending_objects") == 0);
            go_on.store(false, Ordering::Relaxed);
            (pinging.join().expect("the pings"), took)
        });
        assert!(longest < HICCUP_MAX && took < HICCUP_MAX, "PING {longest:?}, FLUSHALL {took:?}");
    }
}

#[test]
fn scan_shows_every_key_that_is_there_all_the_time_while_others_come_and_go() {
    let weir = Weir::with([]);
    let mut wire = weir.wire();
    let steady: BTreeSet<String> = (0..5_000).map(|number| format!("steady:{number}")).collect();
    let mut words = vec!["MSET"];
    steady.iter().for_each(|name| words.extend([name.as_str(), "v"]));
    assert_eq!(wire.call(&words), "+OK");
    let go_on = AtomicBool::new(true);
    thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let mut writer = weir.wire();
            let mut round = 0;
            while go_on.load(Ordering::Relaxed) {
                // The table grows and shrinks under the cursors.
                let names: Vec<String> = (0..2_000).map(|number| format!("passing:{round}:{number}")).collect();
                let mut set = vec!["MSET"];
                names.iter().for_each(|name| set.extend([name.as_str(), "v"]));
                assert_eq!(writer.call(&set), "+OK");
                let mut delete = vec!["DEL"];
                delete.extend(names.iter().map(String::as_str));
                assert_eq!(writer.call(&delete), ":2000");
                round += 1;
            }
            round
        });
        for count in ["10", "100", "1000"] {
            let mut seen = BTreeSet::new();
            let mut cursor = "0".to_owned();
            loop {
                let reply = wire.call(&["SCAN", &cursor, "COUNT", count]);
                let words: Vec<&str> = reply.split(' ').collect();
                seen.extend(words.iter().filter(|word| word.starts_with("steady:")).map(|word| (*word).to_owned()));
                cursor = words[2].to_owned();
                if cursor == "0" {
                    break;
                }
            }
            let missing: Vec<_> = steady.difference(&seen).collect();
            assert!(
                missing.is_empty(),
                "COUNT {count}: {} keys are missing, {:?} among them",
                missing.len(),
                missing.first()
            );
        }
        go_on.store(false, Ordering::Relaxed);
        assert!(writing.join().expect("the writer") > 0);
    });
}

#[test]
fn memory_comes_back_when_big_values_go() {
    let weir = Weir::with([]);
    let mut wire = weir.wire();
    let before = weir.info("used_memory");
    let value = "v".repeat(1 << 20);
    for number in 0..64 {
        assert_eq!(wire.call(&["SET", &format!("big:{number}"), &value]), "+OK");
    }
    assert!(weir.info("used_memory") > before + (64 << 20));
    wire.is("FLUSHALL", "+OK");
    eventually("used_memory is what it was", || weir.info("used_memory") < before + (1 << 20));
}
