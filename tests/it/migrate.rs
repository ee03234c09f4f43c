//! MIGRATE between two servers: what arrives, what is left, and who waits meanwhile.

use crate::weir::{Weir, eventually};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

fn port(weir: &Weir) -> String {
    weir.info("tcp_port").to_string()
}

#[test]
fn keys_move_with_their_deadlines_or_are_copied() {
    let (from, to) = (Weir::with([]), Weir::with([]));
    from.wire().run("SET text hello EX 1000");
    from.wire().run("HSET hash f v g 7");
    from.wire().run("RPUSH list a b c");
    let port = port(&to);
    from.wire().is(&format!("MIGRATE 127.0.0.1 {port} text 5 100000"), "+OK");
    from.wire().is("EXISTS text", ":0");
    assert_eq!(from.info("migrate_cached_sockets"), 1);
    let mut wire = to.wire();
    wire.run("SELECT 5");
    wire.is("GET text", "$5 hello");
    let ttl: i64 = wire.run("TTL text").trim_start_matches(':').parse().expect("a number");
    assert!((900..=1000).contains(&ttl), "{ttl}");
    let many = ["MIGRATE", "127.0.0.1", &port, "", "0", "100000", "COPY", "KEYS", "hash", "none", "list", "hash"];
    assert_eq!(from.wire().call(&many), "+OK");
    from.wire().is("EXISTS hash list", ":2");
    to.wire().is("HGET hash g", "$1 7");
    assert!(from.wire().call(&many).starts_with("-ERR Target instance replied with error: BUSYKEY"));
    let replacing: Vec<&str> = many.iter().map(|&word| if word == "COPY" { "REPLACE" } else { word }).collect();
    assert_eq!(from.wire().call(&replacing), "+OK");
    from.wire().is("DBSIZE", ":0");
    assert_eq!(from.wire().call(&replacing), "+NOKEY");
    to.wire().is("LRANGE list 0 -1", "*3 $1 a $1 b $1 c");
}

#[test]
fn what_is_wrong_is_told_and_nothing_is_lost() {
    let (from, to) = (Weir::with([]), Weir::with(["--requirepass", "secret"]));
    from.wire().run("SET k v");
    let port = port_of_protected(&to);
    let migrate = |more: &str| from.wire().run(format!("MIGRATE 127.0.0.1 {port} k 0 100000 {more}").trim_end());
    assert!(migrate("").starts_with("-ERR Target instance replied with error: NOAUTH"));
    assert!(migrate("AUTH wrong").starts_with("-ERR Target instance replied with error: WRONGPASS"));
    from.wire().is("GET k", "$1 v");
    assert_eq!(migrate("AUTH2 default secret"), "+OK");
    from.wire().is("EXISTS k", ":0");
    from.wire().run("SET k v");
    assert!(from.wire().run("MIGRATE 127.0.0.1 1 k 0 100000").starts_with("-IOERR error or timeout writing"));
    assert!(
        from.wire().run("MIGRATE 127.0.0.1 1 k 0 100000 KEYS a").starts_with("-ERR When using MIGRATE KEYS option")
    );
    assert!(from.wire().run("MIGRATE 127.0.0.1 1 k 0 x").starts_with("-ERR value is not an integer"));
    assert!(from.wire().run("MIGRATE 127.0.0.1 1 k 0 5 AUTH").starts_with("-ERR syntax error"));
    from.wire().is("GET k", "$1 v");
}

fn port_of_protected(weir: &Weir) -> String {
    let mut wire = weir.wire();
    wire.is("AUTH secret", "+OK");
    let said = wire.run("CONFIG GET port");
    said.split(' ').next_back().expect("a port").to_owned()
}

#[test]
fn only_writers_of_the_keys_wait_while_the_target_is_silent() {
    let from = Weir::with([]);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port().to_string();
    from.wire().run("MSET k old other 1");
    let mut migrating = from.wire();
    migrating.begin(&format!("MIGRATE 127.0.0.1 {port} k 0 100000"));
    let (mut target, _) = listener.accept().expect("a connection");
    let mut request = [0; 64];
    assert!(target.read(&mut request).expect("a request") > 0);
    // Others are served, readers of the key among them.
    from.wire().is("GET k", "$3 old");
    from.wire().is("INCR other", ":2");
    let mut writer = from.wire();
    writer.begin("SET k new");
    let mut transaction = from.wire();
    for line in ["MULTI", "APPEND k er", "EXEC"] {
        transaction.begin(line);
    }
    eventually("both wait", || from.wire().run("CLIENT LIST").matches("cmd=migrate").count() == 1);
    from.wire().is("GET k", "$3 old");
    thread::scope(|scope| {
        scope.spawn(|| target.write_all(b"+OK\r\n+OK\r\n").expect("replies are taken"));
    });
    assert_eq!(migrating.reply(), "+OK");
    assert_eq!(writer.reply(), "+OK");
    assert_eq!((transaction.reply(), transaction.reply()), ("+OK".to_owned(), "+QUEUED".to_owned()));
    assert!(transaction.reply().starts_with("*1 :"), "it ran when the key had gone");
    assert!(from.wire().run("GET k").contains("new") || from.wire().run("GET k").contains("er"));
}

#[test]
fn a_target_that_never_answers_costs_the_timeout_and_the_key_stays() {
    let from = Weir::with([]);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    from.wire().run("SET k v");
    assert!(
        from.wire().run(&format!("MIGRATE 127.0.0.1 {port} k 0 100")).starts_with("-IOERR error or timeout reading")
    );
    from.wire().is("APPEND k w", ":2");
    let mut wire = from.wire();
    wire.run("MULTI");
    wire.call(&["MIGRATE", "127.0.0.1", &port.to_string(), "k", "0", "100"]);
    assert!(wire.run("EXEC").starts_with("*1 -IOERR"), "in a transaction everybody waits");
    from.wire().is("GET k", "$2 vw");
}

/// A target that answers everything with OK. What it has been sent comes back when the other side has hung up.
fn agreeable() -> (String, thread::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port().to_string();
    let heard = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        stream.write_all(b"+OK\r\n+OK\r\n").expect("an answer");
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).expect("the end");
        heard
    });
    (port, heard)
}

#[test]
fn what_is_left_of_the_last_deadline_there_is_is_not_too_much_for_the_target() {
    let from = Weir::with([]);
    from.wire().is("SET k v PXAT 9223372036854775807", "+OK");
    let (port, heard) = agreeable();
    from.wire().is(&format!("MIGRATE 127.0.0.1 {port} k 0 100000"), "+OK");
    from.stop();
    let heard = heard.join().expect("what was heard");
    let words: Vec<&[u8]> = heard.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii_end).collect();
    let at = words.iter().position(|&word| word == b"RESTORE").expect("RESTORE");
    let ttl: i64 = String::from_utf8_lossy(words[at + 4]).parse().expect("a number");
    // Targets add it to their own time, which has gone on meanwhile.
    assert!((1..=i64::MAX / 2).contains(&ttl), "{ttl}");
}
