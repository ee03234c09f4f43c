//! Commands that are left for another turn, because one has lasted long enough: none is lost and none overtakes another,
//! whatever becomes of who sent them, and nobody else waits for them.
//!
//! What takes long here sleeps in the middle of its turn, so that one turn never is enough, however fast the machine.

use crate::scripts::{UNTIL_TOLD, let_scripts_list_clients, tell};
use crate::weir::{Weir, eventually};
use crate::wire::{Wire, request};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

/// Commands in [`long_pipeline`] that leave a number.
const STEPS: usize = 40;

fn weir() -> Weir {
    Weir::with(["--enable-debug-command", "local", "--unixsocket", "{dir}/weir.sock", "--busy-reply-threshold", "50"])
}

/// Commands for many turns, which write down the numbers from 1 on in their order.
fn pipeline_of(steps: usize) -> String {
    (1..=steps).map(|number| format!("DEBUG SLEEP 0.002\r\nRPUSH log {number}\r\n")).collect()
}

/// The replies to them.
fn replies_of(steps: usize) -> String {
    (1..=steps).map(|number| format!("+OK\r\n:{number}\r\n")).collect()
}

fn long_pipeline() -> String {
    pipeline_of(STEPS)
}

fn long_replies() -> String {
    replies_of(STEPS)
}

/// How many commands of the long pipeline have run, which must be the first ones.
#[track_caller]
fn steps_done(weir: &Weir) -> usize {
    let log = weir.wire().run("LRANGE log 0 -1");
    let numbers: Vec<&str> = log.split(' ').skip(2).step_by(2).collect();
    for (at, number) in numbers.iter().enumerate() {
        assert_eq!(*number, (at + 1).to_string(), "{log}");
    }
    numbers.len()
}

#[track_caller]
fn all_steps_are_done(weir: &Weir) {
    eventually("the whole pipeline has run", || steps_done(weir) == STEPS);
    eventually("its client has gone", || weir.info("connected_clients") == 1);
    weir.comes_to_rest();
}

/// How many to try one after the other, where something has to come in the middle and the machine may be slow.
fn more_and_more_steps() -> impl Iterator<Item = usize> {
    (0..8).map(|doubled| STEPS << doubled)
}

/// Waits until some of the pipeline has run, and perhaps all of it.
#[track_caller]
fn in_the_middle(weir: &Weir) {
    eventually("the pipeline has begun", || steps_done(weir) > 0);
}

#[test]
fn all_that_was_sent_in_front_of_the_end_runs_in_order_and_is_answered() {
    let weir = weir();
    let mut wire = weir.wire();
    wire.send(long_pipeline());
    wire.finish();
    assert_eq!(String::from_utf8_lossy(&wire.rest()), long_replies());
    all_steps_are_done(&weir);
}

#[test]
fn all_that_was_sent_runs_although_nobody_is_there_to_take_a_reply() {
    let weir = weir();
    let mut wire = weir.wire();
    wire.send(long_pipeline());
    drop(wire);
    all_steps_are_done(&weir);
}

#[test]
fn all_that_was_sent_runs_although_its_sender_leaves_with_replies_unread() {
    let weir = weir();
    let mut wire = weir.wire();
    wire.send(long_pipeline());
    in_the_middle(&weir);
    // What it has not taken makes the system break the connection instead of ending it.
    drop(wire);
    all_steps_are_done(&weir);
}

#[test]
fn all_that_was_sent_over_a_unix_socket_runs_although_nobody_takes_a_reply() {
    let weir = weir();
    let path = weir.dir().join("weir.sock");
    let mut whole = UnixStream::connect(&path).expect("a connection");
    whole.write_all(long_pipeline().as_bytes()).expect("sent");
    drop(whole);
    all_steps_are_done(&weir);
    weir.wire().run("DEL log");
    // One that takes nothing any more, but is there.
    let mut deaf = UnixStream::connect(&path).expect("a connection");
    deaf.write_all(long_pipeline().as_bytes()).expect("sent");
    deaf.shutdown(std::net::Shutdown::Read).expect("shut down");
    all_steps_are_done(&weir);
    assert_eq!(deaf.read(&mut [0; 1]).expect("the end"), 0);
}

#[test]
fn more_than_a_read_takes_runs_although_its_sender_has_gone() {
    const COUNT: usize = 8_000;
    let weir = weir();
    let mut wire = weir.wire();
    // All of it is in the server's socket before the first reply shows that nobody is there.
    weir.while_stopped(|| {
        wire.send("INCR n\r\n".repeat(COUNT));
        drop(wire);
    });
    let mut other = weir.wire();
    eventually("all were executed", || other.run("GET n") == format!("${} {COUNT}", COUNT.to_string().len()));
    eventually("its client has gone", || weir.info("connected_clients") == 2);
    // Half a command is none.
    let mut wire = weir.wire();
    wire.send("DEBUG SLEEP 0.002\r\n".repeat(5) + "INCR n\r\nINCR");
    drop(wire);
    eventually("the last one was executed", || other.run("GET n") == "$4 8001");
    eventually("its client has gone", || weir.info("connected_clients") == 2);
    other.is("GET n", "$4 8001");
}

#[test]
fn what_is_left_is_executed_up_to_quit_and_not_beyond() {
    let weir = weir();
    let mut wire = weir.wire();
    wire.send(long_pipeline() + "QUIT\r\nRPUSH log beyond\r\n");
    assert_eq!(String::from_utf8_lossy(&wire.rest()), long_replies() + "+OK\r\n");
    all_steps_are_done(&weir);
    weir.wire().run("DEL log");
    // A mistake in the protocol is one, too, and told of in its place.
    let mut wire = weir.wire();
    wire.send(long_pipeline() + "*1\r\n!4\r\nRPUSH log beyond\r\n");
    let error = "-ERR Protocol error: expected '$', got '!'\r\n";
    assert_eq!(String::from_utf8_lossy(&wire.rest()), long_replies() + error);
    all_steps_are_done(&weir);
}

#[test]
fn what_a_killed_client_has_left_is_not_executed() {
    // Nobody waits for the end of so many.
    const STEPS: usize = 10_000;
    let weir = weir();
    for leaves in [false, true] {
        weir.wire().run("DEL log");
        let mut wire = weir.wire();
        let address = wire.address();
        wire.send(pipeline_of(STEPS));
        in_the_middle(&weir);
        if leaves {
            wire.finish();
        }
        let mut other = weir.wire();
        assert_eq!(other.call(&["CLIENT", "KILL", "ADDR", &address]), ":1");
        assert_eq!(weir.client_field(&address, "id"), None);
        let done = steps_done(&weir);
        assert!(done < STEPS, "it was killed too late");
        assert!(wire.is_closed());
        weir.comes_to_rest();
        assert_eq!(steps_done(&weir), done);
    }
}

#[test]
fn a_transaction_is_not_divided_and_runs_if_its_exec_was_sent() {
    let weir = weir();
    let mut wire = weir.wire();
    wire.send(format!("DEBUG SLEEP 0.002\r\nMULTI\r\n{}EXEC\r\nSET after 1\r\n", long_pipeline()));
    drop(wire);
    let mut other = weir.wire();
    eventually("it has run", || {
        let after = other.run("EXISTS after") == ":1";
        let done = steps_done(&weir);
        assert!(done == STEPS || done == 0 && !after, "{done} of {STEPS}");
        after
    });
    // Without an EXEC nothing of it runs.
    let mut wire = weir.wire();
    wire.send("DEBUG SLEEP 0.002\r\nINCR begun\r\nDEBUG SLEEP 0.002\r\nMULTI\r\nRPUSH log more\r\n");
    drop(wire);
    eventually("it has begun", || other.run("EXISTS begun") == ":1");
    eventually("its client has gone", || weir.info("connected_clients") == 2);
    assert_eq!(steps_done(&weir), STEPS);
}

#[test]
fn who_has_gone_when_a_command_that_is_left_would_wait_takes_nothing() {
    let weir = weir();
    let mut other = weir.wire();
    let mut wire = weir.wire();
    wire.send("DEBUG SLEEP 0.002\r\n".repeat(10) + "INCR n\r\nBLPOP list 0\r\nINCR n\r\n");
    drop(wire);
    eventually("it has run as far as it could", || other.run("GET n") == "$1 1");
    eventually("its client has gone", || weir.info("connected_clients") == 2);
    other.is("RPUSH list a", ":1");
    other.is("LRANGE list 0 -1", "*1 $1 a");
    // Who is still there waits, and goes on with what it has sent behind that.
    let mut wire = weir.wire();
    wire.send("DEBUG SLEEP 0.002\r\n".repeat(10) + "BLPOP empty 0\r\nDEBUG SLEEP 0.002\r\nINCR n\r\n");
    eventually("it waits", || weir.info("blocked_clients") == 1);
    wire.finish();
    eventually("its client has gone", || weir.info("connected_clients") == 2);
    assert_eq!(weir.info("blocked_clients"), 0);
    let mut wire = weir.wire();
    wire.send("DEBUG SLEEP 0.002\r\n".repeat(10) + "BLPOP empty 0\r\nDEBUG SLEEP 0.002\r\nINCR n\r\n");
    eventually("it waits", || weir.info("blocked_clients") == 1);
    other.run("RPUSH empty b");
    wire.expect("+OK\r\n".repeat(10));
    wire.expect("*2\r\n$5\r\nempty\r\n$1\r\nb\r\n+OK\r\n:2\r\n");
}

#[test]
fn messages_find_their_place_between_the_replies_of_several_turns() {
    let weir = weir();
    let mut other = weir.wire();
    let mut wire = weir.wire();
    wire.send("DEBUG SLEEP 0.002\r\nSUBSCRIBE news\r\nPING\r\n".to_owned() + &"PING\r\n".repeat(10));
    wire.expect("+OK\r\n*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
    wire.expect("*2\r\n$4\r\npong\r\n$0\r\n\r\n".repeat(11));
    other.is("PUBLISH news a", ":1");
    wire.expect("*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$1\r\na\r\n");
    // In RESP3 it goes on with slow commands while messages come.
    let mut wire = weir.wire();
    assert!(wire.run("HELLO 3").starts_with('%'));
    assert!(wire.run("SUBSCRIBE fresh").starts_with('>'));
    let came_between = |steps: usize| {
        wire.send(pipeline_of(steps));
        in_the_middle(&weir);
        other.is("PUBLISH fresh b", ":1");
        let (mut replies, mut behind) = (Vec::new(), None);
        while replies.len() < 2 * steps || behind.is_none() {
            match wire.reply() {
                push if push.starts_with('>') => {
                    assert_eq!(push, ">3 $7 message $5 fresh $1 b");
                    assert_eq!(behind.replace(replies.len()), None, "it came twice");
                }
                reply => replies.push(reply + "\r\n"),
            }
        }
        assert_eq!(replies.concat(), replies_of(steps));
        other.run("DEL log");
        behind < Some(2 * steps)
    };
    assert!(more_and_more_steps().any(came_between));
}

#[test]
fn a_pause_holds_back_what_is_left_and_who_leaves_meanwhile_is_forgotten() {
    let weir = weir();
    let mut other = weir.wire();
    for leaves in [false, true] {
        let begin = |steps: usize| {
            other.run("DEL log");
            let mut wire = weir.wire();
            wire.send(pipeline_of(steps));
            in_the_middle(&weir);
            other.ask("CLIENT PAUSE 100000 WRITE\r\n", "+OK\r\n");
            let done = steps_done(&weir);
            if done == steps {
                other.ask("CLIENT UNPAUSE\r\n", "+OK\r\n");
            }
            (done < steps).then_some((steps, done, wire))
        };
        let (steps, done, mut wire) = more_and_more_steps().find_map(begin).expect("a pause in the middle");
        let address = wire.address();
        eventually("it is held back", || weir.client_field(&address, "flags").is_some_and(|flags| flags.contains('b')));
        assert_eq!(steps_done(&weir), done);
        if leaves {
            drop(wire);
            eventually("it is forgotten", || weir.client_field(&address, "id").is_none());
            other.ask("CLIENT UNPAUSE\r\n", "+OK\r\n");
            weir.comes_to_rest();
            assert_eq!(steps_done(&weir), done);
        } else {
            other.ask("CLIENT UNPAUSE\r\n", "+OK\r\n");
            wire.expect(replies_of(steps));
            assert_eq!(steps_done(&weir), steps);
        }
    }
}

#[test]
fn what_was_sent_behind_a_slow_script_runs_although_its_sender_has_gone() {
    let weir = weir();
    let mut other = weir.wire();
    let script = format!("{UNTIL_TOLD} return redis.call('rpush', KEYS[1], 0)");
    let_scripts_list_clients(&weir);
    let mut wire = weir.wire();
    wire.send(request(&["EVAL", &script, "1", "began"]));
    wire.send(long_pipeline());
    eventually("others are told", || other.run("PING").starts_with("-BUSY"));
    drop(wire);
    tell(&mut other);
    eventually("the script is over", || other.run("EXISTS began") == ":1");
    drop(other);
    all_steps_are_done(&weir);
    // Also behind one that is killed, and then replies still come to who only sends nothing more.
    let mut other = weir.wire();
    other.run("DEL log");
    let mut wire = weir.wire();
    wire.send(request(&["EVAL", "while true do end", "0"]));
    wire.send(long_pipeline());
    wire.finish();
    eventually("others are told", || other.run("PING").starts_with("-BUSY"));
    other.is("SCRIPT KILL", "+OK");
    assert!(wire.reply().starts_with("-ERR Script killed"));
    assert_eq!(String::from_utf8_lossy(&wire.rest()), long_replies());
    drop(other);
    all_steps_are_done(&weir);
}

#[test]
fn what_waits_until_readers_of_a_stream_are_served_runs_although_its_sender_has_gone() {
    let weir = weir();
    let mut readers: Vec<Wire> = (0..1000).map(|_| weir.wire()).collect();
    readers.iter_mut().for_each(|reader| reader.send("XREAD BLOCK 0 STREAMS log $\r\n"));
    eventually("they wait", || weir.info("blocked_clients") == 1000);
    let mut giver = weir.wire();
    giver.send("XADD log 1-0 f one\r\nXADD log 2-0 f two\r\nINCR done\r\n");
    drop(giver);
    let mut other = weir.wire();
    eventually("all of it has run", || other.run("EXISTS done") == ":1");
    let reply = "*1\r\n*2\r\n$3\r\nlog\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nf\r\n$3\r\none\r\n";
    readers.iter_mut().for_each(|reader| reader.expect(reply));
    other.is("XLEN log", ":2");
}

#[test]
fn who_leaves_with_more_replies_waiting_than_are_held_for_it_has_its_requests_executed() {
    let weir = weir();
    let mut other = weir.wire();
    assert_eq!(other.call(&["SET", "k", &"v".repeat((1 << 20) + 1)]), "+OK");
    let mut wire = weir.wire();
    let address = wire.address();
    wire.send(request(&["GETRANGE", "k", "1", "-1"]).repeat(40));
    wire.begin("SET last 1");
    eventually("replies wait", || weir.client_field(&address, "omem").is_some_and(|bytes| bytes.len() >= 8));
    weir.comes_to_rest();
    other.is("EXISTS last", ":0");
    drop(wire);
    eventually("the last one was executed", || other.run("EXISTS last") == ":1");
    eventually("its client has gone", || weir.client_field(&address, "id").is_none());
}

#[test]
fn an_output_limit_counts_replies_of_all_turns_and_ends_the_connection_for_good() {
    let weir = weir();
    let mut other = weir.wire();
    assert_eq!(other.call(&["CONFIG", "SET", "client-output-buffer-limit", "normal 8mb 0 0"]), "+OK");
    assert_eq!(other.call(&["SET", "k", &"v".repeat((1 << 20) + 1)]), "+OK");
    let mut wire = weir.wire();
    let step = [request(&["DEBUG", "SLEEP", "0.001"]), request(&["GETRANGE", "k", "1", "-1"])].concat();
    wire.send(step.repeat(40));
    wire.begin("SET last 1");
    weir.wait_for_log("output buffer");
    assert!(wire.is_closed());
    weir.comes_to_rest();
    other.is("EXISTS last", ":0");
}

#[test]
fn endless_pipelines_hold_up_neither_others_nor_timers_nor_periodic_work() {
    let weir = Weir::with(["--enable-debug-command", "local", "--timeout", "2", "--hz", "50"]);
    let mut other = weir.wire();
    let mut idle = weir.wire();
    idle.ask("PING\r\n", "+PONG\r\n");
    other.is("SET short-lived v PX 300", "+OK");
    let mut waiting = weir.wire();
    waiting.send("BLPOP list 0.5\r\n");
    let over = [thread::spawn(move || waiting.rest()), thread::spawn(move || idle.rest())];
    let greedy: Vec<Wire> = (0..4).map(|_| weir.wire()).collect();
    let work: Vec<_> = greedy
        .into_iter()
        .map(|mut wire| {
            let (mut sender, address) = (wire.sender(), wire.address());
            thread::spawn(move || {
                let bytes = ["DEBUG SLEEP 0.001\r\n".repeat(20), "INCR n\r\n".repeat(500)].concat();
                // Until it is killed.
                while sender.write_all(bytes.as_bytes()).is_ok() {}
            });
            (address, thread::spawn(move || wire.rest().len()))
        })
        .collect();
    let mut longest = Duration::ZERO;
    while !over.iter().all(thread::JoinHandle::is_finished) {
        let ((), took) = weir.time(|| other.ask("PING\r\n", "+PONG\r\n"));
        longest = longest.max(took);
        // Who is new is let in.
        weir.wire().ask("PING\r\n", "+PONG\r\n");
    }
    assert!(longest < Duration::from_millis(500), "{longest:?}");
    let said = over.map(|one| String::from_utf8_lossy(&one.join().expect("it is ended")).into_owned());
    assert_eq!(said, ["*-1\r\n", ""]);
    assert_eq!(weir.info("expired_keys"), 1);
    for (address, reading) in work {
        assert_eq!(other.call(&["CLIENT", "KILL", "ADDR", &address]), ":1");
        assert!(reading.join().expect("the reader") > 0);
    }
    weir.comes_to_rest();
}
