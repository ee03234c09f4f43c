//! What is limited: clients, buffers, file descriptors. Whoever exceeds a limit is refused or closed, and nobody else.

use crate::weir::{Start, Weir, eventually};
use crate::wire::{Wire, request};
use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

#[test]
fn maxclients_refuses_one_more_and_takes_it_when_another_has_gone() {
    let weir = Weir::with(["--maxclients", "10"]);
    let mut wires: Vec<Wire> = (0..10).map(|_| weir.wire()).collect();
    wires.iter_mut().for_each(|wire| wire.ask("PING\r\n", "+PONG\r\n"));
    assert_eq!(weir.wire().rest(), b"-ERR max number of clients reached\r\n");
    wires.iter_mut().for_each(|wire| wire.ask("PING\r\n", "+PONG\r\n"));
    wires.pop();
    eventually("another one is let in", || {
        let mut wire = weir.wire();
        wire.send("PING\r\n");
        wire.line().is_some_and(|line| line == "+PONG")
    });
}

#[test]
fn refused_connections_are_counted_apart_from_those_received() {
    let weir = Weir::with(["--maxclients", "10"]);
    let mut wires: Vec<Wire> = (0..10).map(|_| weir.wire()).collect();
    wires.iter_mut().for_each(|wire| wire.ask("PING\r\n", "+PONG\r\n"));
    (0..5).for_each(|_| assert!(weir.wire().is_closed()));
    let stats = wires[0].run("INFO stats");
    for line in ["total_connections_received:10\r\n", "rejected_connections:5\r\n"] {
        assert!(stats.contains(line), "no {line:?} in {stats}");
    }
}

#[test]
fn a_query_buffer_beyond_its_limit_closes_the_connection_and_is_logged() {
    let weir = Weir::with(["--client-query-buffer-limit", "1mb"]);
    let mut other = weir.wire();
    let mut wire = weir.wire();
    wire.send("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000000\r\n");
    wire.send("v".repeat(2 << 20));
    assert!(wire.is_closed());
    weir.wait_for_log("query buffer limit");
    other.ask("GET k\r\n", "$-1\r\n");
    assert_eq!(weir.info("client_query_buffer_limit_disconnections"), 1);
}

#[test]
fn arguments_below_the_query_buffer_limit_may_be_many() {
    let weir = Weir::with(["--client-query-buffer-limit", "1mb"]);
    let mut wire = weir.wire();
    let mut sender = wire.sender();
    let bytes = request(&["SET", "k", &"v".repeat(500_000)]).repeat(20);
    let sending = thread::spawn(move || std::io::Write::write_all(&mut sender, &bytes));
    (0..20).for_each(|_| wire.expect("+OK\r\n"));
    sending.join().expect("the sender").expect("everything was taken");
}

#[test]
fn an_output_buffer_beyond_its_hard_limit_closes_the_connection_and_is_logged() {
    let weir = Weir::with(["--client-output-buffer-limit", "normal 1mb 0 0"]);
    let mut other = weir.wire();
    assert_eq!(other.call(&["SET", "k", &"v".repeat(100_000)]), "+OK");
    let mut wire = weir.wire();
    // Far more than the socket's buffers hold.
    wire.send(request(&["GET", "k"]).repeat(1_000));
    weir.wait_for_log("output buffer");
    assert!(wire.is_closed());
    other.ask("PING\r\n", "+PONG\r\n");
    assert_eq!(weir.info("client_output_buffer_limit_disconnections"), 1);
}

#[test]
fn a_pipeline_of_big_replies_costs_no_more_than_the_hard_limit_and_ends_the_connection() {
    let weir = Weir::with(["--client-output-buffer-limit", "normal 10mb 0 0"]);
    let mut other = weir.wire();
    assert_eq!(other.call(&["SET", "k", &"v".repeat(1 << 20)]), "+OK");
    let before = weir.rss_bytes();
    let mut wire = weir.wire();
    // A part of a value is a copy; only the whole is lent.
    wire.send(request(&["GETRANGE", "k", "1", "-1"]).repeat(400));
    weir.wait_for_log("output buffer");
    let grown = weir.rss_peak_bytes().saturating_sub(before);
    assert!(grown < 40 << 20, "{grown} bytes under a limit of 10 MB");
    assert!(wire.is_closed());
    other.ask("PING\r\n", "+PONG\r\n");
    assert_eq!(weir.info("client_output_buffer_limit_disconnections"), 1);
}

#[test]
fn an_output_buffer_beyond_its_soft_limit_closes_the_connection_after_a_while() {
    let weir = Weir::with(["--client-output-buffer-limit", "normal 1gb 1mb 100000"]);
    let mut other = weir.wire();
    assert_eq!(other.call(&["SET", "k", &"v".repeat(100_000)]), "+OK");
    let mut wire = weir.wire();
    wire.send(request(&["GET", "k"]).repeat(200));
    let address = wire.address();
    eventually("the reply waits", || weir.client_field(&address, "omem").is_some_and(|bytes| bytes.len() >= 7));
    weir.comes_to_rest();
    assert!(!weir.log().contains("output buffer"), "{}", weir.log());
    assert_eq!(other.call(&["CONFIG", "SET", "client-output-buffer-limit", "normal 1gb 1mb 1"]), "+OK");
    eventually("it is disconnected", || weir.client_field(&address, "omem").is_none());
    assert!(weir.log().contains("output buffer"), "{}", weir.log());
    other.ask("PING\r\n", "+PONG\r\n");
}

#[test]
fn a_small_limit_on_open_files_lowers_maxclients_and_is_told() {
    let weir = Start::new().open_files(100).start();
    let found: (String, usize) =
        redis::cmd("CONFIG").arg("GET").arg("maxclients").query(&mut weir.client()).expect("CONFIG GET");
    assert!((32..100).contains(&found.1), "maxclients is {}", found.1);
    assert!(weir.log().contains("maxclients"), "{}", weir.log());
    let mut wires: Vec<Wire> = (0..found.1).map(|_| weir.wire()).collect();
    wires.iter_mut().for_each(|wire| wire.ask("PING\r\n", "+PONG\r\n"));
    assert_eq!(weir.wire().rest(), b"-ERR max number of clients reached\r\n");
}

#[test]
fn too_few_open_files_are_a_reason_not_to_start() {
    let (status, said) = Start::new().open_files(12).fail();
    assert_eq!(status.code(), Some(1), "{said}");
}

#[test]
fn without_free_descriptors_old_clients_are_served_and_new_ones_wait() {
    if Command::new("prlimit").arg("--version").output().is_err() {
        eprintln!("skipped: prlimit is missing (package util-linux)");
        return;
    }
    let weir = Weir::with([]);
    let mut old: Vec<Wire> = (0..5).map(|_| weir.wire()).collect();
    old.iter_mut().for_each(|wire| wire.ask("PING\r\n", "+PONG\r\n"));
    let limit = |max: &str| {
        let status =
            Command::new("prlimit").args(["--pid", &weir.pid().to_string(), &format!("--nofile={max}:")]).status();
        assert!(status.expect("prlimit").success());
    };
    let limits = fs::read_to_string(format!("/proc/{}/limits", weir.pid())).expect("the limits of the process");
    let usual = limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next());
    let complaints = || weir.log().lines().filter(|line| line.contains("error accepting")).count();

    let open = weir.open_files();
    let third_free = (0..).filter(|number| !open.contains(number)).nth(2).expect("numbers do not end");
    limit(&(third_free + 1).to_string());
    let mut waiting: Vec<Wire> = (0..10).map(|_| weir.wire()).collect();
    waiting.iter_mut().for_each(|wire| wire.send("PING\r\n"));
    let mut served: Vec<Wire> = Vec::new();
    let mut are_served = |count: usize| {
        for mut wire in std::mem::take(&mut waiting) {
            let answered = !wire.is_silent_for(Duration::from_millis(1));
            if answered { served.push(wire) } else { waiting.push(wire) }
        }
        served.len() >= count
    };
    eventually("three are let in", || are_served(3));
    eventually("it complains", || complaints() > 0);
    assert!(!are_served(4));
    for _ in 0..200 {
        old.iter_mut().for_each(|wire| wire.ask("PING\r\n", "+PONG\r\n"));
    }
    weir.comes_to_rest();
    assert!(complaints() < 200, "{} lines in the log", complaints());

    // Who leaves makes room for who waits; more room lets all in.
    old.truncate(2);
    eventually("three more are let in", || are_served(6));
    limit(usual.expect("a limit on open files"));
    eventually("all are let in", || are_served(10));
    old.iter_mut().for_each(|wire| wire.ask("PING\r\n", "+PONG\r\n"));
}
