//! Commands about other clients, where real time and real connections matter.

use crate::weir::{Weir, client_at, eventually};
use crate::wire::request;
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn client_list_names_the_real_addresses() {
    let weir = Weir::with([]);
    let mut wire = weir.wire();
    wire.is("CLIENT SETNAME one", "+OK");
    let id: u64 = wire.run("CLIENT ID")[1..].parse().expect("an id");
    let list = weir.wire().run("CLIENT LIST");
    let line = list.lines().find(|line| line.contains(" name=one ")).expect("a line about the first client");
    let wanted =
        [format!("id={id} "), format!(" addr={} ", wire.address()), format!(" laddr=127.0.0.1:{} ", weir.port)];
    for words in wanted {
        assert!(line.contains(&words), "no {words:?} in {line}");
    }
    drop(wire);
    eventually("the first client is gone from the list", || !weir.wire().run("CLIENT LIST").contains(" name=one "));
}

#[test]
fn client_kill_closes_the_connections_it_means_and_no_others() {
    let weir = Weir::with([]);
    let (mut killer, mut by_id, mut by_address, mut bystander) = (weir.wire(), weir.wire(), weir.wire(), weir.wire());
    let id = by_id.run("CLIENT ID")[1..].to_owned();
    bystander.ask("PING\r\n", "+PONG\r\n");
    by_address.ask("PING\r\n", "+PONG\r\n");
    assert_eq!(killer.call(&["CLIENT", "KILL", "ID", &id]), ":1");
    assert!(by_id.is_closed());
    assert_eq!(killer.call(&["CLIENT", "KILL", &by_address.address()]), "+OK");
    assert!(by_address.is_closed());
    bystander.ask("PING\r\n", "+PONG\r\n");
    killer.is("CLIENT KILL TYPE normal SKIPME no", ":2");
    assert!(killer.is_closed() && bystander.is_closed());
}

#[test]
fn a_killed_client_is_neither_counted_nor_listed_nor_executed_any_more() {
    let weir = Weir::with([]);
    let (mut killer, mut victim) = (weir.wire(), weir.wire());
    killer.ask("PING\r\n", "+PONG\r\n");
    let id = victim.run("CLIENT ID")[1..].to_owned();
    weir.while_stopped(|| {
        killer.send(format!("CLIENT KILL ID {id}\r\nCLIENT KILL ID {id}\r\nCLIENT LIST\r\n"));
        // Comes in the same turn, behind its end.
        victim.send("SET k v\r\nPING\r\n");
    });
    killer.expect(":1\r\n:0\r\n");
    let list = killer.reply();
    assert!(!list.contains(&victim.address()) && list.contains(&killer.address()), "{list}");
    assert_eq!(String::from_utf8_lossy(&victim.rest()), "");
    killer.is("EXISTS k", ":0");
}

#[test]
fn a_client_that_takes_over_the_place_of_one_that_quit_gets_exactly_its_own_replies() {
    let weir = Weir::with([]);
    let value = "v".repeat(137);
    let pipeline: Vec<u8> = (0..200).flat_map(|n| request(&["SET", &format!("key{n}"), &value])).collect();
    for _ in 0..5 {
        let mut one = weir.wire();
        one.ask("PING\r\n", "+PONG\r\n");
        let mut other = weir.while_stopped(|| {
            // More than is read at once, so that something is left to be read when its place is taken.
            one.send(["QUIT\r\n", &"PING\r\n".repeat(4_000)].concat());
            let mut other = weir.wire();
            other.send(&pipeline);
            other
        });
        other.expect("+OK\r\n".repeat(200));
        other.ask("DBSIZE\r\n", ":200\r\n");
        other.ask("FLUSHALL\r\n", "+OK\r\n");
        assert!(one.is_closed());
    }
}

#[test]
fn client_list_tells_how_much_of_a_request_has_come_in() {
    let weir = Weir::with([]);
    let mut wire = weir.wire();
    let bytes = request(&["SET", "k", &"v".repeat(1 << 20)]);
    let (part, rest) = bytes.split_at(600_000);
    wire.send(part);
    let address = wire.address();
    // A value as long as this one is collected apart; what was in front of it has been read.
    let of_value = part.len() - part.iter().position(|&byte| byte == b'v').expect("it has begun");
    eventually("all of it is counted", || {
        weir.client_field(&address, "qbuf").is_some_and(|bytes| bytes == of_value.to_string())
    });
    wire.ask(rest, "+OK\r\n");
    assert_eq!(weir.client_field(&address, "qbuf").as_deref(), Some("0"));
}

#[test]
fn client_pause_holds_everybody_back_until_its_time_is_over() {
    let weir = Weir::with([]);
    let (mut one, mut other) = (weir.wire(), weir.wire());
    other.ask("PING\r\n", "+PONG\r\n");
    let began = Instant::now();
    let ((), own) = weir.time(|| {
        one.ask("CLIENT PAUSE 400\r\n", "+OK\r\n");
        other.ask("PING\r\nSET k v\r\nGET k\r\n", "+PONG\r\n+OK\r\n$1\r\nv\r\n");
    });
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(390), "{took:?}");
    assert!(own < Duration::from_secs(5), "{own:?}");
}

#[test]
fn client_pause_write_lets_reads_pass_and_unpause_ends_it_at_once() {
    let weir = Weir::with([]);
    let (mut one, mut writer) = (weir.wire(), weir.wire());
    one.ask("SET k v\r\nCLIENT PAUSE 100000 WRITE\r\nGET k\r\n", "+OK\r\n+OK\r\n$1\r\nv\r\n");
    writer.send("SET k w\r\n");
    assert!(writer.is_silent_for(Duration::from_millis(50)));
    // More than is read at once, all of it held back and nothing lost.
    writer.send("INCR n\r\n".repeat(5_000));
    weir.comes_to_rest();
    one.ask("GET k\r\nCLIENT UNPAUSE\r\n", "$1\r\nv\r\n+OK\r\n");
    writer.expect("+OK\r\n");
    (1..=5_000).for_each(|n| writer.expect(format!(":{n}\r\n")));
}

#[test]
fn a_paused_client_that_leaves_is_forgotten() {
    let weir = Weir::with([]);
    let mut one = weir.wire();
    one.ask("CLIENT PAUSE 100000 WRITE\r\n", "+OK\r\n");
    let mut writer = weir.wire();
    writer.send("SET k v\r\n");
    eventually("it waits", || weir.client_field(&writer.address(), "flags").is_some_and(|flags| flags.contains('b')));
    drop(writer);
    eventually("it is gone", || weir.info("connected_clients") == 2);
    one.ask("CLIENT UNPAUSE\r\nPING\r\n", "+OK\r\n+PONG\r\n");
}

#[test]
fn monitor_shows_commands_as_they_happen() {
    let weir = Weir::with([]);
    let mut monitor = weir.wire();
    monitor.ask("MONITOR\r\n", "+OK\r\n");
    let mut wire = weir.wire();
    assert_eq!(wire.call(&["SET", "k", "a b"]), "+OK");
    let line = monitor.line().expect("a line");
    assert!(line.ends_with(&format!(" [0 {}] \"SET\" \"k\" \"a b\"", wire.address())), "{line}");
    wire.send("PING\r\n".repeat(10_000));
    (0..10_000).for_each(|_| {
        let line = monitor.line().expect("a line");
        assert!(line.ends_with("\"PING\""), "{line}");
    });
    monitor.ask("QUIT\r\n", "+OK\r\n");
    assert!(monitor.is_closed());
    (0..10_000).for_each(|_| wire.expect("+PONG\r\n"));
}

#[test]
fn a_monitor_that_never_reads_is_disconnected_and_slows_nobody_down() {
    let weir = Weir::with(["--client-output-buffer-limit", "pubsub 1mb 0 0"]);
    let mut monitor = weir.wire();
    monitor.ask("MONITOR\r\n", "+OK\r\n");
    let mut wire = weir.wire();
    let value = "v".repeat(100_000);
    eventually("it is disconnected", || {
        assert_eq!(wire.call(&["SET", "k", &value]), "+OK");
        weir.log().contains("output buffer")
    });
    assert!(monitor.is_closed());
    wire.ask("PING\r\n", "+PONG\r\n");
}

#[test]
fn monitor_names_a_client_of_the_unix_socket_by_the_path_alone() {
    let weir = Weir::with(["--unixsocket", "{dir}/weir.sock"]);
    let path = weir.dir().join("weir.sock");
    let mut client = client_at(&format!("redis+unix://{}", path.display()));
    let mut monitor = weir.wire();
    monitor.ask("MONITOR\r\n", "+OK\r\n");
    redis::cmd("GET").arg("k").exec(&mut client).expect("GET");
    let line = monitor.line().expect("a line");
    assert!(line.ends_with(&format!(" [0 unix:{}] \"GET\" \"k\"", path.display())), "{line}");
}

#[test]
fn ids_grow_and_are_never_used_again() {
    let weir = Weir::with([]);
    let mut last = 0;
    for _ in 0..20 {
        let id: u64 = weir.wire().run("CLIENT ID")[1..].parse().expect("an id");
        assert!(id > last, "{id} after {last}");
        last = id;
    }
}

#[test]
fn timeout_closes_who_is_idle_and_nobody_else() {
    // Longer than a busy machine keeps anybody from saying something.
    let weir = Weir::with(["--timeout", "3"]);
    let mut idle = weir.wire();
    idle.ask("PING\r\n", "+PONG\r\n");
    let mut monitor = weir.wire();
    monitor.ask("MONITOR\r\n", "+OK\r\n");
    let mut active = weir.wire();
    let waiting = thread::spawn(move || idle.is_closed());
    eventually("the idle one is closed", || {
        active.ask("PING\r\n", "+PONG\r\n");
        waiting.is_finished()
    });
    assert!(waiting.join().expect("the idle one"));
    active.ask("PING\r\n", "+PONG\r\n");
    assert!(monitor.line().is_some_and(|line| line.contains("PING")), "MONITOR is exempt");
}

#[test]
fn who_caches_a_key_has_heard_of_a_change_when_its_author_has_the_reply() {
    let weir = Weir::with([]);
    let (mut reader, mut writer) = (weir.wire(), weir.wire());
    reader.run("HELLO 3");
    reader.run("CLIENT TRACKING ON");
    let changes: [&[&str]; 3] =
        [&["SET", "k", "1"], &["EVAL", "return redis.call('INCR', KEYS[1])", "1", "k"], &["DEL", "k"]];
    for turn in 0..300 {
        reader.run("GET k");
        writer.send(request(changes[turn % changes.len()]));
        // Who sleeps until its reply is there wakes up too late to see which of the two was first.
        while writer.received().is_empty() {}
        let heard = reader.received();
        assert_eq!(heard.escape_ascii().to_string(), r">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n", "in turn {turn}");
    }
}
