//! Clients that wait for data, with real time and real connections.

use crate::weir::{Weir, eventually};
use crate::wire::Wire;
use std::time::{Duration, Instant};

/// Waits until so many clients wait for data.
#[track_caller]
fn until_waiting(weir: &Weir, clients: u64) {
    eventually("clients wait", || weir.info("blocked_clients") == clients);
}

/// Connections that wait, one after the other, for what a request asks for.
fn waiting(weir: &Weir, request: &str, count: u64) -> Vec<Wire> {
    let before = weir.info("blocked_clients");
    (1..=count)
        .map(|number| {
            let mut wire = weir.wire();
            wire.send(request);
            until_waiting(weir, before + number);
            wire
        })
        .collect()
}

#[test]
fn who_has_waited_longest_is_served_first() {
    let weir = Weir::with([]);
    let mut waiters = waiting(&weir, "BLPOP queue 0\r\n", 20);
    let mut giver = weir.wire();
    for (number, waiter) in waiters.iter_mut().enumerate() {
        giver.call(&["RPUSH", "queue", &number.to_string()]);
        waiter.expect(format!("*2\r\n$5\r\nqueue\r\n${}\r\n{number}\r\n", number.to_string().len()));
    }
    assert_eq!(weir.info("blocked_clients"), 0);
    giver.ask("EXISTS queue\r\n", ":0\r\n");
}

#[test]
fn several_elements_at_once_go_to_several_waiters_and_the_rest_stays() {
    let weir = Weir::with([]);
    let mut waiters = waiting(&weir, "BRPOP queue 0\r\n", 2);
    weir.wire().ask("RPUSH queue a b c\r\n", ":3\r\n");
    waiters[0].expect("*2\r\n$5\r\nqueue\r\n$1\r\nc\r\n");
    waiters[1].expect("*2\r\n$5\r\nqueue\r\n$1\r\nb\r\n");
    weir.wire().ask("LRANGE queue 0 -1\r\n", "*1\r\n$1\r\na\r\n");
}

#[test]
fn a_timeout_is_kept_to_the_fraction_of_a_second() {
    let weir = Weir::with([]);
    let mut wire = weir.wire();
    for (request, reply) in [
        ("BLPOP nothing 0.15\r\n", "*-1\r\n"),
        ("BLMOVE nothing other LEFT RIGHT 0.15\r\n", "*-1\r\n"),
        ("BZPOPMIN nothing 0.15\r\n", "*-1\r\n"),
        ("XREAD BLOCK 150 STREAMS nothing $\r\n", "*-1\r\n"),
    ] {
        let began = Instant::now();
        let ((), own) = weir.time(|| wire.ask(request, reply));
        let took = began.elapsed();
        // The server's clock has whole milliseconds, and stands still while it looks at commands.
        assert!(took >= Duration::from_millis(145), "{request} after {took:?}");
        assert!(own < Duration::from_secs(5), "{request} after {own:?}");
    }
}

#[test]
fn what_stands_behind_the_waiting_command_comes_after_its_reply() {
    let weir = Weir::with([]);
    let mut wire = weir.wire();
    wire.send("PING one\r\nBLPOP queue 0\r\nPING two\r\nBLPOP queue 0\r\nPING three\r\n");
    wire.expect("$3\r\none\r\n");
    until_waiting(&weir, 1);
    weir.wire().ask("RPUSH queue a\r\n", ":1\r\n");
    wire.expect("*2\r\n$5\r\nqueue\r\n$1\r\na\r\n$3\r\ntwo\r\n");
    until_waiting(&weir, 1);
    wire.send("PING four\r\n");
    weir.wire().ask("RPUSH queue b\r\n", ":1\r\n");
    wire.expect("*2\r\n$5\r\nqueue\r\n$1\r\nb\r\n$5\r\nthree\r\n$4\r\nfour\r\n");
}

#[test]
fn giver_and_waiter_in_one_turn_do_not_miss_each_other() {
    let weir = Weir::with([]);
    let (mut giver, mut waiter) = (weir.wire(), weir.wire());
    giver.ask("PING\r\n", "+PONG\r\n");
    waiter.ask("PING\r\n", "+PONG\r\n");
    weir.while_stopped(|| {
        waiter.send("BLPOP queue 0\r\nPING\r\n");
        giver.send("RPUSH queue a\r\nRPUSH queue b\r\nLLEN queue\r\n");
    });
    waiter.expect("*2\r\n$5\r\nqueue\r\n$1\r\na\r\n+PONG\r\n");
    // Whoever came first, the waiter has the first one.
    (0..3).for_each(|_| assert!(giver.reply().starts_with(':')));
    weir.wire().ask("LRANGE queue 0 -1\r\n", "*1\r\n$1\r\nb\r\n");
}

#[test]
fn a_waiter_that_has_gone_takes_nothing() {
    let weir = Weir::with([]);
    let mut waiters = waiting(&weir, "BLPOP queue 0\r\n", 3);
    drop(waiters.remove(0));
    until_waiting(&weir, 2);
    weir.wire().ask("RPUSH queue a\r\n", ":1\r\n");
    waiters[0].expect("*2\r\n$5\r\nqueue\r\n$1\r\na\r\n");
    let id = waiters[1].address();
    assert_eq!(weir.wire().call(&["CLIENT", "KILL", &id]), "+OK");
    until_waiting(&weir, 0);
    weir.wire().ask("RPUSH queue b\r\n", ":1\r\n");
    weir.wire().ask("LLEN queue\r\n", ":1\r\n");
}

#[test]
fn client_unblock_ends_the_waiting_as_a_timeout_or_with_an_error() {
    let weir = Weir::with([]);
    let mut waiter = weir.wire();
    let id = waiter.run("CLIENT ID")[1..].to_owned();
    let mut other = weir.wire();
    assert_eq!(other.call(&["CLIENT", "UNBLOCK", &id]), ":0");
    for (how, reply) in
        [("", "*-1\r\n"), (" TIMEOUT", "*-1\r\n"), (" ERROR", "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n")]
    {
        waiter.send("BLPOP queue other 0\r\n");
        until_waiting(&weir, 1);
        assert_eq!(weir.info("total_blocking_keys"), 2);
        other.ask(format!("CLIENT UNBLOCK {id}{how}\r\n"), ":1\r\n");
        waiter.expect(reply);
    }
    assert_eq!(weir.info("total_blocking_keys"), 0);
    waiter.ask("PING\r\n", "+PONG\r\n");
}

#[test]
fn a_value_of_another_type_wakes_nobody_and_a_renamed_list_does() {
    let weir = Weir::with([]);
    let mut waiters = waiting(&weir, "BLPOP queue 0\r\n", 1);
    let mut giver = weir.wire();
    giver.ask("SET queue v\r\nDEL queue\r\nSADD queue m\r\n", "+OK\r\n:1\r\n:1\r\n");
    assert_eq!(weir.info("blocked_clients"), 1);
    giver.ask("RPUSH ready a\r\nRENAME ready queue\r\n", ":1\r\n+OK\r\n");
    waiters[0].expect("*2\r\n$5\r\nqueue\r\n$1\r\na\r\n");
}

#[test]
fn one_element_goes_along_a_chain_of_waiters() {
    let weir = Weir::with([]);
    let mut first = waiting(&weir, "BLMOVE a b LEFT LEFT 0\r\n", 1);
    let mut second = waiting(&weir, "BLMOVE b c LEFT LEFT 0\r\n", 1);
    let mut third = waiting(&weir, "BLPOP c 0\r\n", 1);
    weir.wire().ask("RPUSH a x\r\n", ":1\r\n");
    first[0].expect("$1\r\nx\r\n");
    second[0].expect("$1\r\nx\r\n");
    third[0].expect("*2\r\n$1\r\nc\r\n$1\r\nx\r\n");
    weir.wire().ask("EXISTS a b c\r\n", ":0\r\n");
}

#[test]
fn a_thousand_waiters_cost_nobody_anything_and_all_are_served() {
    let weir = Weir::with([]);
    let mut waiters: Vec<Wire> = (0..1_000).map(|_| weir.wire()).collect();
    for waiter in &mut waiters {
        waiter.send("BLPOP queue 0\r\n");
    }
    until_waiting(&weir, 1_000);
    let mut giver = weir.wire();
    let request: String = (0..1_000).map(|_| "RPUSH queue x\r\n").collect();
    giver.ask(&request, ":1\r\n".repeat(1_000));
    for waiter in &mut waiters {
        waiter.expect("*2\r\n$5\r\nqueue\r\n$1\r\nx\r\n");
    }
    weir.comes_to_rest();
}

#[test]
fn who_waits_for_another_type_does_not_stand_in_the_way() {
    let weir = Weir::with([]);
    let mut first = waiting(&weir, "BZPOPMIN k 0\r\n", 1);
    let mut second = waiting(&weir, "XREAD BLOCK 0 STREAMS k $\r\n", 1);
    let mut third = waiting(&weir, "BLPOP k 0\r\n", 1);
    let mut giver = weir.wire();
    giver.ask("RPUSH k a\r\n", ":1\r\n");
    third[0].expect("*2\r\n$1\r\nk\r\n$1\r\na\r\n");
    giver.ask("XADD k 1-1 f v\r\nDEL k\r\nZADD k 1 m\r\n", "$3\r\n1-1\r\n:1\r\n:1\r\n");
    second[0].expect("*1\r\n*2\r\n$1\r\nk\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n");
    first[0].expect("*3\r\n$1\r\nk\r\n$1\r\nm\r\n$1\r\n1\r\n");
}

#[test]
fn waiting_for_very_many_keys_holds_nobody_up() {
    let weir = Weir::with([]);
    let mut waiter = weir.wire();
    let keys: String = (0..100_000).map(|number| format!("k{number} ")).collect();
    waiter.send(crate::wire::request(
        &["BLPOP"].into_iter().chain(keys.split_whitespace()).chain(["0"]).collect::<Vec<_>>(),
    ));
    until_waiting(&weir, 1);
    assert_eq!(weir.info("total_blocking_keys"), 100_000);
    weir.wire().ask("RPUSH k99999 a\r\n", ":1\r\n");
    waiter.expect("*2\r\n$6\r\nk99999\r\n$1\r\na\r\n");
    assert_eq!(weir.info("total_blocking_keys"), 0);
}

#[test]
fn a_killed_waiter_takes_nothing_even_in_the_same_turn() {
    let weir = Weir::with([]);
    let mut waiter = weir.wire();
    let id = waiter.run("CLIENT ID")[1..].to_owned();
    waiter.send("BLPOP queue 0\r\n");
    until_waiting(&weir, 1);
    weir.wire().ask(format!("CLIENT KILL ID {id}\r\nRPUSH queue v\r\nLLEN queue\r\n"), ":1\r\n:1\r\n:1\r\n");
    assert!(waiter.is_closed());
}

#[test]
fn a_waiter_that_leaves_behind_unread_commands_or_nonsense_is_noticed() {
    let weir = Weir::with([]);
    for behind in ["*x\r\n".to_owned(), "PING\r\n".repeat(6_000)] {
        let mut waiter = weir.wire();
        waiter.send(format!("BLPOP queue 0\r\n{behind}"));
        until_waiting(&weir, 1);
        drop(waiter);
        until_waiting(&weir, 0);
    }
    weir.wire().ask("RPUSH queue v\r\nLLEN queue\r\n", ":1\r\n:1\r\n");
}

#[test]
fn ending_a_pause_twice_does_not_end_the_waiting() {
    let weir = Weir::with([]);
    let mut admin = weir.wire();
    admin.ask("CLIENT PAUSE 100000 WRITE\r\n", "+OK\r\n");
    let mut waiters: Vec<Wire> = (0..100).map(|_| weir.wire()).collect();
    waiters.iter_mut().for_each(|waiter| waiter.send("BLPOP queue 0\r\nPING\r\n"));
    // Their bytes are there: whoever holds them back says so.
    eventually("all of them are held back", || weir.wire().run("CLIENT LIST").matches(" flags=b ").count() == 100);
    admin.ask("CLIENT UNPAUSE\r\nCLIENT UNPAUSE\r\n", "+OK\r\n+OK\r\n");
    until_waiting(&weir, 100);
    assert!(waiters[99].is_silent_for(Duration::from_millis(50)));
    admin.ask("RPUSH queue a\r\n", ":1\r\n");
    waiters[0].expect("*2\r\n$5\r\nqueue\r\n$1\r\na\r\n+PONG\r\n");
}

#[test]
fn what_a_thousand_readers_of_a_stream_wait_for_reaches_them_all_whatever_comes_next() {
    let weir = Weir::with([]);
    let mut readers: Vec<Wire> = (0..1000).map(|_| weir.wire()).collect();
    readers.iter_mut().for_each(|reader| reader.send("XREAD BLOCK 0 STREAMS log other $ $\r\n"));
    until_waiting(&weir, 1000);
    let first = "*1\r\n*2\r\n$3\r\nlog\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nf\r\n$3\r\none\r\n";
    // The same client, and others behind it, take away at once what the readers are to get.
    let mut giver = weir.wire();
    giver.send("XADD log 1-0 f one\r\nXADD log 2-0 f two\r\nXDEL log 1-0\r\nGET unrelated\r\n");
    let mut script = weir.wire();
    script.send("MULTI\r\nDEL log\r\nEXEC\r\n");
    giver.expect("$3\r\n1-0\r\n$3\r\n2-0\r\n:1\r\n$-1\r\n");
    readers.iter_mut().for_each(|reader| reader.expect(first));
    assert_eq!(weir.info("blocked_clients"), 0);
    script.expect("+OK\r\n+QUEUED\r\n*1\r\n:1\r\n");
}

#[test]
fn a_reader_that_is_still_to_be_served_cannot_be_sent_away() {
    let weir = Weir::with([]);
    let mut readers: Vec<Wire> = (0..1000).map(|_| weir.wire()).collect();
    let ids: Vec<String> = readers.iter_mut().map(|reader| reader.run("CLIENT ID")).collect();
    readers.iter_mut().for_each(|reader| reader.send("XREAD BLOCK 0 STREAMS log $\r\n"));
    until_waiting(&weir, 1000);
    let mut giver = weir.wire();
    let last = ids[999].trim_start_matches(':').trim_end();
    giver.send(format!("XADD log 1-0 f one\r\nCLIENT UNBLOCK {last}\r\n"));
    giver.expect("$3\r\n1-0\r\n:0\r\n");
    let reply = "*1\r\n*2\r\n$3\r\nlog\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nf\r\n$3\r\none\r\n";
    readers.iter_mut().for_each(|reader| reader.expect(reply));
}
