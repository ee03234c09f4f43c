//! The protocol over real sockets: with a client library and byte by byte.

use crate::weir::{PATIENCE, Weir, client_at, eventually};
use crate::wire::request;
use redis::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::thread;

#[test]
fn requirepass_lets_in_who_knows_it() {
    let weir = Weir::with(["--requirepass", "secret"]);
    let mut wire = weir.wire();
    wire.is("GET k", "-NOAUTH Authentication required.");
    let refused = wire.run("AUTH wrong");
    assert_eq!(refused, "-WRONGPASS invalid username-password pair or user is disabled.");
    wire.is("AUTH default secret", "+OK");
    wire.is("GET k", "$-1");

    let mut client = client_at(&format!("redis://:secret@127.0.0.1:{}/3", weir.port));
    redis::cmd("SET").arg("k").arg("v").exec(&mut client).expect("SET");
    wire.is("SELECT 3", "+OK");
    wire.is("GET k", "$1 v");
    let wrong = redis::Client::open(format!("redis://:wrong@127.0.0.1:{}/", weir.port)).expect("an address");
    assert!(wrong.get_connection_with_timeout(PATIENCE).is_err());
}

#[test]
fn a_client_library_speaks_resp3() {
    let weir = Weir::with([]);
    let mut client = client_at(&format!("redis://127.0.0.1:{}/?protocol=resp3", weir.port));
    let found: Value = redis::cmd("CONFIG").arg("GET").arg("port").query(&mut client).expect("CONFIG GET");
    assert!(matches!(&found, Value::Map(pairs) if pairs.len() == 1), "{found:?}");
    let missing: Value = redis::cmd("GET").arg("missing").query(&mut client).expect("GET");
    assert_eq!(missing, Value::Nil);
    let hello: BTreeMap<String, Value> = redis::cmd("HELLO").arg("3").query(&mut client).expect("HELLO");
    assert_eq!(hello["proto"], Value::Int(3));
    let mut wire = weir.wire();
    assert!(wire.run("HELLO 3").starts_with('%'));
    wire.ask("GET missing\r\n", "_\r\n");
}

#[test]
fn inline_commands_are_for_people_at_a_terminal() {
    let weir = Weir::with([]);
    let mut wire = weir.wire();
    wire.ask("SET greeting \"hello world\"\r\n", "+OK\r\n");
    wire.ask("get greeting\n", "$11\r\nhello world\r\n");
    wire.ask("\r\n\r\nPING\r\n", "+PONG\r\n");
}

#[test]
fn a_pipeline_of_10_000_commands_is_answered_in_order() {
    let weir = Weir::with([]);
    let mut client = weir.client();
    let mut pipe = redis::pipe();
    for number in 0..5_000 {
        pipe.cmd("SET").arg(format!("key:{number}")).arg(number).ignore();
        pipe.cmd("GET").arg(format!("key:{number}"));
    }
    let found: Vec<i64> = pipe.query(&mut client).expect("the pipeline");
    assert_eq!(found, (0..5_000).collect::<Vec<i64>>());
}

#[test]
fn a_pipeline_sent_at_once_is_answered_although_its_replies_come_later() {
    let weir = Weir::with([]);
    let mut wire = weir.wire();
    let mut sender = wire.sender();
    let mut bytes = request(&["SET", "k", &"v".repeat(1000)]);
    bytes.extend(request(&["GET", "k"]).repeat(10_000));
    let sending = thread::spawn(move || sender.write_all(&bytes));
    wire.expect("+OK\r\n");
    let reply = format!("$1000\r\n{}\r\n", "v".repeat(1000));
    (0..10_000).for_each(|_| wire.expect(&reply));
    sending.join().expect("the sender").expect("everything was taken");
    wire.ask("PING\r\n", "+PONG\r\n");
}

#[test]
fn a_value_of_64_mb_goes_in_and_comes_out_whole() {
    let weir = Weir::with([]);
    let mut client = weir.client();
    // No two pages alike, so that a piece lost or moved is seen.
    let value: Vec<u8> = (0..64 << 20).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    redis::cmd("SET").arg("big").arg(&value).exec(&mut client).expect("SET");
    let len: usize = redis::cmd("STRLEN").arg("big").query(&mut client).expect("STRLEN");
    assert_eq!(len, value.len());
    let found: Vec<u8> = redis::cmd("GET").arg("big").query(&mut client).expect("GET");
    assert!(found == value, "the value came back changed");
    let mut other = weir.client();
    let middle: Vec<u8> =
        redis::cmd("GETRANGE").arg("big").arg(33_000_000).arg(33_000_009).query(&mut other).expect("GETRANGE");
    assert_eq!(middle, &value[33_000_000..=33_000_009]);
}

#[test]
fn a_value_that_is_overwritten_while_it_is_sent_arrives_as_it_was() {
    let weir = Weir::with([]);
    let len = 16 << 20;
    let mut writer = weir.wire();
    writer.send(request(&["SET", "big", &"a".repeat(len)]));
    writer.expect("+OK\r\n");
    let mut reader = weir.wire();
    // It takes nothing until the value has been overwritten.
    reader.begin("GET big");
    let address = reader.address();
    eventually("the reply waits", || weir.client_field(&address, "omem").is_some_and(|bytes| bytes != "0"));
    writer.send(request(&["SET", "big", &"b".repeat(len)]));
    writer.expect("+OK\r\n");
    reader.expect(format!("${len}\r\n"));
    reader.expect("a".repeat(len));
    reader.expect("\r\n");
    reader.send("GETRANGE big 0 3\r\n");
    reader.expect("$4\r\nbbbb\r\n");
}

#[test]
fn a_protocol_error_is_answered_behind_the_replies_before_it_and_closes_the_connection() {
    let weir = Weir::with([]);
    let mut wire = weir.wire();
    wire.send("PING\r\n*1\r\n!4\r\n");
    assert_eq!(wire.rest(), b"+PONG\r\n-ERR Protocol error: expected '$', got '!'\r\n");
    weir.wire().ask("PING\r\n", "+PONG\r\n");
}

#[test]
fn what_was_sent_before_hanging_up_is_executed() {
    let weir = Weir::with([]);
    let mut wire = weir.wire();
    wire.send("SET k v\r\nINCR n\r\n");
    wire.finish();
    wire.expect("+OK\r\n:1\r\n");
    assert!(wire.is_closed());
    drop(wire);
    let mut wire = weir.wire();
    wire.send("INCR n\r\n".repeat(1000));
    drop(wire);
    let mut wire = weir.wire();
    eventually("all thousand were executed", || wire.run("GET n") == "$4 1001");
}
