//! Pub/sub with real sockets: thousands of subscribers, slow ones, hostile ones, and such that go without a word.

use super::weir::{Weir, eventually};
use super::wire::{Wire, request};
use std::io::Write;
use std::thread;
use std::time::Duration;

/// Longer than anything here may hold up others.
const HELD_UP_MAX: Duration = Duration::from_secs(if cfg!(debug_assertions) { 20 } else { 5 });

fn message(channel: &str, text: &str) -> String {
    format!("*3\r\n$7\r\nmessage\r\n${}\r\n{channel}\r\n${}\r\n{text}\r\n", channel.len(), text.len())
}

fn subscribed(wire: &mut Wire, channel: &str) {
    wire.ask(
        format!("SUBSCRIBE {channel}\r\n"),
        format!("*3\r\n$9\r\nsubscribe\r\n${}\r\n{channel}\r\n:1\r\n", channel.len()),
    );
}

/// How many clients this machine allows for, up to `wanted`.
fn clients(wanted: u32) -> usize {
    let room = weir::process::raise_open_files(wanted + 1_000).expect("room for descriptors").clients_max;
    let count = room.saturating_sub(500).min(wanted);
    if count < wanted {
        eprintln!("only {count} clients: this machine allows too few open files");
    }
    count as usize
}

#[test]
fn ten_thousand_subscribers_get_every_message_once_and_in_order() {
    let count = clients(10_000);
    let weir = Weir::with(["--maxclients", "20000"]);
    let mut publisher = weir.wire();
    let mut subscribers: Vec<Wire> = (0..count).map(|_| weir.wire()).collect();
    for wire in &mut subscribers {
        subscribed(wire, "news");
    }
    assert_eq!(weir.info("pubsub_clients"), count as u64);
    // Alone, in a pipeline, and between messages that only some get.
    subscribers[7].ask("PSUBSCRIBE ne*\r\n", "*3\r\n$10\r\npsubscribe\r\n$3\r\nne*\r\n:2\r\n");
    publisher.ask("PUBLISH news one\r\n", format!(":{}\r\n", count + 1));
    publisher.send("PUBLISH news two\r\nPUBLISH news three\r\nPUBLISH other x\r\nPUBLISH news four\r\n");
    publisher.expect(format!(":{0}\r\n:{0}\r\n:0\r\n:{0}\r\n", count + 1));
    for (number, wire) in subscribers.iter_mut().enumerate() {
        for text in ["one", "two", "three", "four"] {
            wire.expect(message("news", text));
            if number == 7 {
                wire.expect(format!(
                    "*4\r\n$8\r\npmessage\r\n$3\r\nne*\r\n$4\r\nnews\r\n${}\r\n{text}\r\n",
                    text.len()
                ));
            }
        }
    }
    drop(subscribers);
    eventually("all have gone", || weir.info("pubsub_clients") == 0);
    assert_eq!((weir.info("pubsub_channels"), weir.info("pubsub_patterns")), (0, 0));
}

#[test]
fn a_million_subscriptions_of_one_client_hold_nobody_up_for_long_and_leave_nothing() {
    const CHANNELS: usize = 1_000_000;
    const AT_ONCE: usize = 1_000;
    // Confirmations come more quickly than this client takes them.
    let weir = Weir::with(["--client-output-buffer-limit", "pubsub 0 0 0"]);
    let mut other = weir.wire();
    other.ask("PING\r\n", "+PONG\r\n");
    let before = weir.rss_bytes();
    let mut greedy = weir.wire();
    let mut sender = greedy.sender();
    let sending = thread::spawn(move || {
        for at in (0..CHANNELS).step_by(AT_ONCE) {
            let names: Vec<String> = (at..at + AT_ONCE).map(|number| format!("channel:{number:012}")).collect();
            let words: Vec<&str> = ["SUBSCRIBE"].into_iter().chain(names.iter().map(String::as_str)).collect();
            sender.write_all(&request(&words)).expect("the server takes all");
        }
    });
    for number in 0..CHANNELS {
        let name = format!("channel:{number:012}");
        greedy.expect(format!("*3\r\n$9\r\nsubscribe\r\n$20\r\n{name}\r\n:{}\r\n", number + 1));
        if number % 100_000 == 0 {
            let ((), took) = weir.time(|| other.ask("PING\r\n", "+PONG\r\n"));
            assert!(took < HELD_UP_MAX, "{took:?}");
        }
    }
    sending.join().expect("all was sent");
    assert_eq!(weir.info("pubsub_channels"), CHANNELS as u64);
    let each = weir.rss_bytes().saturating_sub(before) / CHANNELS as u64;
    assert!(each < 200, "{each} bytes a subscription");
    other.ask("PUBLISH channel:000000000777 x\r\n", ":1\r\n");
    greedy.expect(message("channel:000000000777", "x"));
    drop(greedy);
    let ((), took) = weir.time(|| eventually("they have gone", || weir.info("pubsub_channels") == 0));
    assert!(took < HELD_UP_MAX, "{took:?}");
    assert_eq!(weir.info("pubsub_clients"), 0);
}

#[test]
fn hostile_patterns_take_bounded_time() {
    let weir = Weir::with([]);
    let mut subscriber = weir.wire();
    // Most of what a matcher can be made to try, many times.
    for number in 0..200 {
        let pattern = format!("{}b{number}", "*a".repeat(100));
        subscriber.send(request(&["PSUBSCRIBE", &pattern]));
        subscriber.reply();
    }
    let mut publisher = weir.wire();
    let ((), took) = weir.time(|| {
        for _ in 0..10 {
            publisher.send(request(&["PUBLISH", &"a".repeat(2_000), "x"]));
            publisher.expect(":0\r\n");
        }
    });
    assert!(took < HELD_UP_MAX, "{took:?}");
}

#[test]
fn a_subscriber_that_reads_nothing_is_ended_by_its_limit_and_no_other() {
    let weir = Weir::with(["--client-output-buffer-limit", "pubsub 1mb 0 0"]);
    let (mut slow, mut publisher, mut normal) = (weir.wire(), weir.wire(), weir.wire());
    subscribed(&mut slow, "news");
    let slow_address = slow.address();
    let text = "x".repeat(10_000);
    let mut sent = 0;
    while weir.client_field(&slow_address, "addr").is_some() {
        publisher.send(request(&["PUBLISH", "news", &text]));
        publisher.reply();
        sent += text.len();
        assert!(sent < 200_000_000, "a subscriber that reads nothing has got {sent} bytes");
    }
    assert!(weir.log().contains("output buffer"), "the log says why");
    assert_eq!(weir.info("pubsub_clients"), 0);
    normal.ask("PING\r\n", "+PONG\r\n");
    assert!(slow.is_closed());
}

#[test]
fn what_waits_for_a_subscriber_is_shown() {
    let weir = Weir::with([]);
    let (mut slow, mut publisher) = (weir.wire(), weir.wire());
    subscribed(&mut slow, "news");
    let address = slow.address();
    let omem = || weir.client_field(&address, "omem").expect("it is connected").parse::<u64>().expect("a number");
    let text = "x".repeat(100_000);
    let mut published = 0;
    eventually("something waits", || {
        publisher.send(request(&["PUBLISH", "news", &text]));
        publisher.reply();
        published += 1;
        omem() > 0
    });
    let field = |name| weir.client_field(&address, name);
    assert_eq!((field("sub").as_deref(), field("flags").as_deref()), (Some("1"), Some("P")));
    // It takes everything after all, in order and whole.
    publisher.send("PUBLISH news end\r\n");
    (0..published).for_each(|_| slow.expect(message("news", &text)));
    slow.expect(message("news", "end"));
    eventually("nothing waits", || omem() == 0);
}

#[test]
fn subscribers_that_vanish_leave_nothing() {
    let weir = Weir::with([]);
    let mut other = weir.wire();
    for round in 0..200 {
        let mut wire = weir.wire();
        wire.send(request(&["SUBSCRIBE", "a", &format!("b{round}"), "c"]));
        wire.send(request(&["PSUBSCRIBE", "a*", &format!("*{round}"), "[c]"]));
        wire.send(request(&["SSUBSCRIBE", "a", &format!("s{round}")]));
        if round % 2 == 0 {
            (0..8).for_each(|_| drop(wire.reply()));
        }
        other.send("PUBLISH a x\r\nSPUBLISH a x\r\n");
        (0..2).for_each(|_| drop(other.reply()));
    }
    eventually("all have gone", || weir.info("pubsub_clients") == 0);
    let left = ["pubsub_channels", "pubsub_patterns", "pubsubshard_channels"].map(|field| weir.info(field));
    assert_eq!(left, [0, 0, 0]);
    other.ask("PUBLISH a x\r\n", ":0\r\n");
    weir.comes_to_rest();
}

#[test]
fn expiry_is_told_without_anybody_asking() {
    let weir = Weir::with(["--notify-keyspace-events", "KEx"]);
    let (mut listener, mut other) = (weir.wire(), weir.wire());
    listener.send("PSUBSCRIBE __key*@0__:*\r\n");
    listener.reply();
    other.ask("SET k v PX 20\r\n", "+OK\r\n");
    listener.expect("*4\r\n$8\r\npmessage\r\n$12\r\n__key*@0__:*\r\n$16\r\n__keyspace@0__:k\r\n$7\r\nexpired\r\n");
    listener.expect("*4\r\n$8\r\npmessage\r\n$12\r\n__key*@0__:*\r\n$22\r\n__keyevent@0__:expired\r\n$1\r\nk\r\n");
}
