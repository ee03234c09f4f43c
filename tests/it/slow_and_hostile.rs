//! Peers that are slow, broken, malicious or many, and that nobody else notices them.

use crate::weir::{Weir, eventually};
use crate::wire::{Wire, request};
use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};
use std::io::Write;
use std::thread;
use std::time::Duration;

/// How long a well-behaved client may wait for an answer. Generous: caches are cold where many tests run at once.
const ANSWER_MAX: Duration = Duration::from_secs(1);

#[track_caller]
fn answers_quickly(weir: &Weir, wire: &mut Wire) {
    let ((), took) = weir.time(|| wire.ask("PING\r\n", "+PONG\r\n"));
    assert!(took < ANSWER_MAX, "{took:?}");
}

#[test]
fn a_client_that_never_reads_costs_bounded_memory_and_gets_everything_in_the_end() {
    const VALUE_BYTES: usize = 8_000;
    const GETS: usize = 25_000;
    let weir = Weir::with([]);
    let mut other = weir.wire();
    assert_eq!(other.call(&["SET", "k", &"v".repeat(VALUE_BYTES)]), "+OK");
    let before = weir.rss_bytes();
    let mut slow = weir.wire();
    let mut sender = slow.sender();
    // The server may stop reading, so sending may have to wait.
    let sending = thread::spawn(move || sender.write_all(&request(&["GET", "k"]).repeat(GETS)));
    let address = slow.address();
    let mut last = String::new();
    eventually("the server has stopped working for it", || {
        answers_quickly(&weir, &mut other);
        thread::sleep(Duration::from_millis(20));
        let commands = weir.client_field(&address, "tot-cmds").unwrap_or_default();
        commands.len() > 1 && std::mem::replace(&mut last, commands.clone()) == commands
    });
    let grown = weir.rss_bytes().saturating_sub(before);
    assert!(grown < 48 << 20, "{grown} bytes for {} bytes of replies", VALUE_BYTES * GETS);
    weir.comes_to_rest();
    let reply_bytes = format!("${VALUE_BYTES}\r\n\r\n").len() + VALUE_BYTES;
    slow.skip((reply_bytes * GETS) as u64);
    sending.join().expect("the sender").expect("everything was taken");
    slow.ask("PING\r\n", "+PONG\r\n");
}

#[test]
fn big_replies_asked_for_one_by_one_and_not_taken_are_not_made() {
    const GETS: usize = 40;
    let weir = Weir::with([]);
    let mut other = weir.wire();
    assert_eq!(other.call(&["SET", "k", &"v".repeat((1 << 20) + 1)]), "+OK");
    let mut slow = weir.wire();
    let address = slow.address();
    let waiting = || weir.client_field(&address, "omem").map_or(0, |bytes| bytes.parse::<u64>().expect("a number"));
    for _ in 0..GETS {
        slow.begin("GETRANGE k 1 -1");
        // Has been read when this is answered.
        answers_quickly(&weir, &mut other);
        assert!(waiting() < 18 << 20, "{} bytes wait", waiting());
    }
    assert!(waiting() > 15 << 20, "only {} bytes wait: the system's buffers are too big for this", waiting());
    let reply_bytes = format!("${}\r\n\r\n", 1 << 20).len() + (1 << 20);
    slow.skip((reply_bytes * GETS) as u64);
    slow.ask("PING\r\n", "+PONG\r\n");
}

#[test]
fn requests_of_who_takes_no_replies_stay_in_the_socket() {
    let weir = Weir::with([]);
    let mut other = weir.wire();
    assert_eq!(other.call(&["SET", "k", &"v".repeat(8_000)]), "+OK");
    let before = weir.rss_bytes();
    let slow = weir.wire();
    let mut sender = slow.sender();
    sender.set_write_timeout(Some(Duration::from_millis(500))).expect("a limit on waiting");
    let requests = request(&["GET", "k"]).repeat(10_000);
    let taken = (0..1_000).take_while(|_| sender.write_all(&requests).is_ok()).count() * requests.len();
    assert!(taken < 64 << 20, "{taken} bytes of requests were taken without a reply taken");
    let grown = weir.rss_bytes().saturating_sub(before);
    assert!(grown < 48 << 20, "{grown} bytes");
    answers_quickly(&weir, &mut other);
}

#[test]
fn big_values_that_nobody_takes_are_not_copied() {
    let weir = Weir::with([]);
    let mut other = weir.wire();
    assert_eq!(other.call(&["SET", "k", &"v".repeat(8 << 20)]), "+OK");
    let before = weir.rss_bytes();
    let mut slow: Vec<Wire> = (0..20).map(|_| weir.wire()).collect();
    slow.iter_mut().for_each(|wire| wire.send(request(&["GET", "k"])));
    slow.iter().for_each(|wire| {
        let address = wire.address();
        eventually("the reply waits", || weir.client_field(&address, "omem").is_some_and(|bytes| bytes != "0"));
    });
    answers_quickly(&weir, &mut other);
    let grown = weir.rss_bytes().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes for 20 times 8 MB");
}

#[test]
fn requests_that_come_byte_by_byte_are_answered_and_slow_nobody_down() {
    let weir = Weir::with([]);
    let mut other = weir.wire();
    let mut slow = weir.wire();
    let bytes = request(&["SET", "key", "some value with\r\nline ends"]);
    for byte in &bytes {
        slow.send([*byte]);
        answers_quickly(&weir, &mut other);
    }
    slow.expect("+OK\r\n");
    for byte in b"get key\r\n" {
        slow.send([*byte]);
        answers_quickly(&weir, &mut other);
    }
    slow.expect("$26\r\nsome value with\r\nline ends\r\n");
}

#[test]
fn replies_may_be_taken_byte_by_byte() {
    let weir = Weir::with([]);
    let mut wire = weir.wire();
    wire.send("PING\r\n".repeat(500));
    (0..500).for_each(|_| "+PONG\r\n".chars().for_each(|byte| wire.expect(byte.to_string())));
}

#[test]
fn half_a_request_and_then_nothing_leaves_nothing_behind() {
    let weir = Weir::with([]);
    let mut other = weir.wire();
    other.ask("PING\r\n", "+PONG\r\n");
    let requests: [&[u8]; 6] = [
        b"*",
        b"*3\r\n$3\r\nSE",
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000000\r\nabc",
        b"GET",
        b"*2147483647\r\n",
        b"*1\r\n$536870912\r\n",
    ];
    let before = weir.rss_bytes();
    for _ in 0..20 {
        for request in requests {
            weir.wire().send(request);
        }
    }
    eventually("all are gone", || weir.info("connected_clients") == 2);
    answers_quickly(&weir, &mut other);
    other.is("DBSIZE", ":0");
    let grown = weir.rss_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes");
}

#[test]
fn who_will_send_nothing_more_is_gone_when_everything_is_answered() {
    let weir = Weir::with([]);
    let mut other = weir.wire();
    other.ask("PING\r\n", "+PONG\r\n");
    let mut idle = weir.wire();
    idle.finish();
    let mut half = weir.wire();
    half.send("*2\r\n$3\r\nGET\r\n$5\r\nab");
    half.finish();
    assert!(idle.is_closed() && half.is_closed());
    // One that waits for the end of a pause.
    other.ask("CLIENT PAUSE 100000 WRITE\r\n", "+OK\r\n");
    let mut paused = weir.wire();
    paused.send("SET k v\r\n");
    paused.finish();
    weir.comes_to_rest();
    other.ask("CLIENT UNPAUSE\r\n", "+OK\r\n");
    assert!(paused.is_closed());
    eventually("all are gone", || weir.info("connected_clients") == 2);
    weir.comes_to_rest();
}

#[test]
fn who_will_send_nothing_more_still_gets_every_reply_and_has_every_request_executed() {
    const GETS: usize = 40;
    let weir = Weir::with([]);
    let mut other = weir.wire();
    assert_eq!(other.call(&["SET", "k", &"v".repeat((1 << 20) + 1)]), "+OK");
    let mut half = weir.wire();
    half.send(request(&["GETRANGE", "k", "1", "-1"]).repeat(GETS));
    half.begin("SET last 1");
    half.finish();
    let address = half.address();
    eventually("replies wait", || weir.client_field(&address, "omem").is_some_and(|bytes| bytes.len() >= 7));
    weir.comes_to_rest();
    other.is("EXISTS last", ":0");
    let reply_bytes = format!("${}\r\n\r\n", 1 << 20).len() + (1 << 20);
    half.skip((reply_bytes * GETS) as u64);
    assert_eq!(String::from_utf8_lossy(&half.rest()), "+OK\r\n");
    other.is("GET last", "$1 1");
}

#[test]
fn claims_without_bytes_behind_them_cost_nothing() {
    let weir = Weir::with([]);
    let mut other = weir.wire();
    other.ask("PING\r\n", "+PONG\r\n");
    let before = weir.rss_bytes();
    let mut liars: Vec<Wire> = (0..100).map(|_| weir.wire()).collect();
    for (at, liar) in liars.iter_mut().enumerate() {
        liar.send(if at % 2 == 0 {
            "*2147483647\r\n$3\r\nDEL\r\n"
        } else {
            "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nv"
        });
        answers_quickly(&weir, &mut other);
    }
    let grown = weir.rss_bytes().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes for 25 GB of claims");
}

#[test]
fn garbage_is_refused_or_ignored_and_harms_nobody() {
    let weir = Weir::with(["--enable-debug-command", "no"]);
    let mut other = weir.wire();
    let mut random = SmallRng::seed_from_u64(7);
    let bits: [&[u8]; 12] = [
        b"*1\r\n",
        b"*3\r\n",
        b"$3\r\nSET\r\n",
        b"$-1\r\n",
        b"$99999999999\r\n",
        b"*-1\r\n",
        b"\r\n",
        b"\0",
        b"GET k\r\n",
        b"\"",
        b"'x",
        b"*0\r\n",
    ];
    for _ in 0..300 {
        let mut bytes = vec![0; random.random_range(0..2_000)];
        random.fill_bytes(&mut bytes);
        for _ in 0..random.random_range(0..10) {
            let at = random.random_range(0..=bytes.len());
            bytes.splice(at..at, bits[random.random_range(0..bits.len())].iter().copied());
        }
        let mut wire = weir.wire();
        wire.send(&bytes);
        wire.finish();
        assert!(wire.is_closed(), "not closed after {}", bytes.escape_ascii());
        answers_quickly(&weir, &mut other);
    }
    // An endless line has an end.
    let mut wire = weir.wire();
    wire.send("x".repeat(100_000));
    let said = String::from_utf8_lossy(&wire.rest()).into_owned();
    assert!(said.is_empty() || said == "-ERR Protocol error: too big inline request\r\n", "{said}");
}

#[test]
fn a_thousand_clients_come_and_go() {
    let weir = Weir::with([]);
    let mut other = weir.wire();
    other.ask("PING\r\n", "+PONG\r\n");
    let files = weir.open_files().len();
    for number in 0..1_000 {
        let mut wire = weir.wire();
        match number % 3 {
            0 => {}
            1 => wire.send("PING\r\n"),
            _ => wire.ask("PING\r\n", "+PONG\r\n"),
        }
        if number % 50 == 0 {
            answers_quickly(&weir, &mut other);
        }
    }
    eventually("all are gone", || weir.info("connected_clients") == 2);
    eventually("their descriptors too", || weir.open_files().len() <= files);
    assert!(weir.info("total_connections_received") >= 1_000);
}

#[test]
fn two_thousand_idle_clients_are_cheap() {
    let room = weir::process::raise_open_files(4_000).expect("room for descriptors").clients_max as usize;
    let count = room.saturating_sub(500).min(2_000);
    if count < 2_000 {
        eprintln!("only {count} clients: this machine allows too few open files");
    }
    let weir = Weir::with([]);
    let mut other = weir.wire();
    other.ask("PING\r\n", "+PONG\r\n");
    let before = weir.rss_bytes();
    let mut idle: Vec<Wire> = (0..count).map(|_| weir.wire()).collect();
    idle.iter_mut().for_each(|wire| wire.ask("PING\r\n", "+PONG\r\n"));
    let each = weir.rss_bytes().saturating_sub(before) / count.max(1) as u64;
    assert!(each < 4_096, "{each} bytes a client");
    (0..100).for_each(|_| answers_quickly(&weir, &mut other));
    assert_eq!(weir.info("connected_clients"), count as u64 + 2);
    weir.comes_to_rest();
    drop(idle);
    eventually("all are gone", || weir.info("connected_clients") == 2);
}

#[test]
fn a_client_with_endless_requests_leaves_room_for_others() {
    let weir = Weir::with([]);
    let mut other = weir.wire();
    let mut greedy: Vec<Wire> = (0..4).map(|_| weir.wire()).collect();
    let senders: Vec<_> = greedy
        .iter()
        .map(|wire| {
            let mut sender = wire.sender();
            thread::spawn(move || {
                let bytes = request(&["SET", "k", &"v".repeat(100)]).repeat(1_000);
                (0..20).try_for_each(|_| sender.write_all(&bytes))
            })
        })
        .collect();
    let readers: Vec<_> = greedy.drain(..).map(|mut wire| thread::spawn(move || wire.skip(5 * 20_000))).collect();
    while !readers.iter().all(|reader| reader.is_finished()) {
        answers_quickly(&weir, &mut other);
    }
    readers.into_iter().for_each(|reader| reader.join().expect("all replies came"));
    senders.into_iter().for_each(|sender| sender.join().expect("the sender").expect("everything was taken"));
}
