//! Configuration from files, options and standard input, and what CONFIG SET and CONFIG REWRITE do to a running process.

use crate::weir::{Start, Weir, client_at, eventually, free_port, run};
use crate::wire::Wire;
use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};

fn settings(weir: &Weir) -> BTreeMap<String, String> {
    redis::cmd("CONFIG").arg("GET").arg("*").query(&mut weir.client()).expect("CONFIG GET")
}

#[test]
fn file_then_standard_input_then_options_make_the_configuration() {
    let weir = Start::new()
        .file("# a comment\nport {port}\nbind 127.0.0.1\nmaxclients 100\ntimeout 11\nhz 20\n")
        .stdin("timeout 12\nhz 30\n")
        .options(["--hz", "40"])
        .start();
    let settings = settings(&weir);
    assert_eq!((&*settings["maxclients"], &*settings["timeout"], &*settings["hz"]), ("100", "12", "40"));
}

#[test]
fn standard_input_alone_will_do() {
    let weir = Start::new().stdin("maxclients 55\nproto-max-bulk-len 2mb\n").start();
    let settings = settings(&weir);
    assert_eq!((&*settings["maxclients"], &*settings["proto-max-bulk-len"]), ("55", "2097152"));
}

#[test]
fn check_config_says_whether_a_configuration_is_valid() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("weir.conf");
    let path = path.to_str().expect("a plain name");
    let check = |text: &str| {
        fs::write(path, text).expect("a configuration file");
        let output = run([path, "--check-config"], "");
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let (code, said) = check("port 7000\nsave 900 1\nmaxmemory 1gb\n");
    assert_eq!((code, said.contains("valid")), (Some(0), true), "{said}");
    for (text, line, word) in [
        ("port 7000\nhz abc\n", "2", "hz"),
        ("\n\nno-such-directive yes\n", "3", "no-such-directive"),
        ("port 700000\n", "1", "port"),
        ("logfile \"abc\n", "1", "logfile"),
    ] {
        let (code, said) = check(text);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(line) && said.contains(word), "{said}");
    }
    let output = run(["--check-config", "--hz", "abc"], "");
    assert_eq!(output.status.code(), Some(1));
    let output = run(["-", "--check-config"], "hz 50\n");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn rename_command_takes_long_names_and_removes_what_has_none() {
    let name = "a-name-of-forty-bytes-that-nobody-guesses";
    let file = format!("port {{port}}\nbind 127.0.0.1\nrename-command GET {name}\nrename-command FLUSHALL \"\"\n");
    let weir = Start::new().file(&file).start();
    let mut wire = weir.wire();
    wire.is("SET k v", "+OK");
    assert_eq!(wire.call(&[name, "k"]), "$1 v");
    assert_eq!(wire.call(&[&name.to_uppercase(), "k"]), "$1 v");
    for gone in ["GET", "FLUSHALL"] {
        let reply = wire.call(&[gone, "k"]);
        assert!(reply.starts_with("-ERR unknown command"), "{reply}");
    }
}

#[test]
fn a_rename_that_cannot_be_done_is_a_reason_not_to_start() {
    for (lines, words) in [
        ("rename-command no-such-command abc\n", "no-such-command"),
        ("rename-command GET set\n", "set"),
        ("rename-command GET abc\nrename-command SET ABC\n", "ABC"),
    ] {
        let (status, said) = Start::new().file(&format!("port {{port}}\nbind 127.0.0.1\n{lines}")).fail();
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(said.contains("command") && said.contains(words), "{said}");
        let output = run(["-", "--check-config"], lines);
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("command") && said.contains(words), "{said}");
    }
    // What is renamed makes room for another.
    let output = run(["-", "--check-config"], "rename-command GET abc\nrename-command SET get\n");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_file_that_cannot_be_read_is_a_reason_not_to_start() {
    for path in ["/no/such/weir.conf", "/"] {
        let output = run([path], "");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(path), "{said}");
    }
}

#[test]
fn a_bad_option_is_a_reason_not_to_start() {
    let (status, said) = Start::new().options(["--maxmemory", "lots"]).fail();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("maxmemory"), "{said}");
}

#[test]
fn config_set_port_moves_the_listener_and_leaves_connections_alone() {
    let weir = Weir::with([]);
    let (old, new) = (weir.port, free_port());
    let mut before = weir.wire();
    before.ask(format!("CONFIG SET port {new}\r\n"), "+OK\r\n");
    eventually("the new port is open", || TcpStream::connect((Ipv4Addr::LOCALHOST, new)).is_ok());
    eventually("the old port is closed", || TcpStream::connect((Ipv4Addr::LOCALHOST, old)).is_err());
    Wire::connect((Ipv4Addr::LOCALHOST, new)).ask("PING\r\n", "+PONG\r\n");
    before.ask("PING\r\n", "+PONG\r\n");
}

#[test]
fn config_set_port_changes_nothing_when_the_port_is_taken() {
    let weir = Weir::with([]);
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = taken.local_addr().expect("its address").port();
    let mut wire = weir.wire();
    let reply = wire.call(&["CONFIG", "SET", "port", &port.to_string()]);
    assert!(reply.starts_with("-ERR") && reply.contains("listen"), "{reply}");
    assert_eq!(settings(&weir)["port"], weir.port.to_string());
    weir.wire().ask("PING\r\n", "+PONG\r\n");
}

#[test]
fn config_set_bind_changes_nothing_when_somebody_else_has_the_port_there() {
    let weir = Weir::with([]);
    let _taken = TcpListener::bind(("127.0.0.2", weir.port)).expect("the port of another address");
    let mut wire = weir.wire();
    let error = "-ERR CONFIG SET failed (possibly related to argument 'bind') - Failed to bind to specified addresses.";
    for bind in ["127.0.0.2", "127.0.0.1 127.0.0.2", "127.0.0.3 127.0.0.2"] {
        assert_eq!(wire.call(&["CONFIG", "SET", "bind", bind]), error);
        assert_eq!(settings(&weir)["bind"], "127.0.0.1");
        weir.wire().ask("PING\r\n", "+PONG\r\n");
        assert!(TcpStream::connect(("127.0.0.3", weir.port)).is_err(), "half of {bind} is open");
    }
    wire.ask("PING\r\n", "+PONG\r\n");
}

#[test]
fn config_set_bind_opens_and_closes_addresses() {
    let weir = Weir::with([]);
    let mut wire = weir.wire();
    assert_eq!(wire.call(&["CONFIG", "SET", "bind", "127.0.0.1 127.0.0.2"]), "+OK");
    eventually("the second address is open", || TcpStream::connect(("127.0.0.2", weir.port)).is_ok());
    weir.wire().ask("PING\r\n", "+PONG\r\n");
    wire.is("CONFIG SET bind 127.0.0.1", "+OK");
    eventually("the second address is closed", || TcpStream::connect(("127.0.0.2", weir.port)).is_err());
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        assert_eq!(wire.call(&["CONFIG", "SET", "bind", "127.0.0.1 ::1"]), "+OK");
        eventually("IPv6 is open", || TcpStream::connect((Ipv6Addr::LOCALHOST, weir.port)).is_ok());
    }
}

#[test]
fn a_server_started_with_a_rewritten_file_has_the_same_settings() {
    let text =
        "# what this server is for\nport {port}\nbind 127.0.0.1\ndir {dir}\n\n# limits\nmaxclients 100\ntimeout 0\n";
    let first = Start::new().file(text).start();
    let mut client = first.client();
    let changes = [
        ("maxclients", "200"),
        ("timeout", "300"),
        ("maxmemory", "123456789"),
        ("maxmemory-policy", "allkeys-lfu"),
        ("save", "900 1 300 10"),
        ("client-output-buffer-limit", "normal 1000000 500000 60"),
        ("requirepass", "two words \"and\" \\x00"),
        ("notify-keyspace-events", "KEA"),
        ("lfu-log-factor", "20"),
    ];
    for (name, value) in changes {
        redis::cmd("CONFIG").arg("SET").arg(name).arg(value).exec(&mut client).expect(name);
    }
    redis::cmd("CONFIG").arg("REWRITE").exec(&mut client).expect("CONFIG REWRITE");
    let before: BTreeMap<String, String> =
        redis::cmd("CONFIG").arg("GET").arg("*").query(&mut client).expect("CONFIG GET");
    let port = format!("port {}\n", first.port);
    let folder = first.stop();

    let path = folder.path().join("weir.conf");
    let rewritten = fs::read_to_string(&path).expect("the rewritten file");
    assert!(rewritten.starts_with("# what this server is for\n") && rewritten.contains("\n# limits\n"), "{rewritten}");
    assert!(rewritten.contains(&port), "{rewritten}");
    // Someone else may have taken the port meanwhile.
    let text = rewritten.replace(&port, "port {port}\n");
    let second = Start::new().file(&text).folder(folder).start();
    let password = "two%20words%20%22and%22%20%5Cx00";
    let mut client = client_at(&format!("redis://:{password}@127.0.0.1:{}/", second.port));
    let after: BTreeMap<String, String> =
        redis::cmd("CONFIG").arg("GET").arg("*").query(&mut client).expect("CONFIG GET");
    let differing: Vec<_> =
        before.iter().filter(|(name, value)| *name != "port" && after.get(*name) != Some(value)).collect();
    assert!(differing.is_empty(), "{differing:?}\n{rewritten}");
}

#[test]
fn config_rewrite_without_a_file_is_an_error() {
    let weir = Weir::with([]);
    weir.wire().ask("CONFIG REWRITE\r\n", "-ERR The server is running without a config file\r\n");
}

#[test]
fn config_set_bind_widens_to_every_address_and_narrows_again() {
    let weir = Weir::with(["--protected-mode", "no"]);
    let mut wire = weir.wire();
    wire.is("CONFIG SET bind *", "+OK");
    eventually("other addresses are open", || TcpStream::connect(("127.0.0.2", weir.port)).is_ok());
    weir.wire().ask("PING\r\n", "+PONG\r\n");
    wire.is("CONFIG SET bind 127.0.0.1", "+OK");
    eventually("other addresses are closed", || TcpStream::connect(("127.0.0.2", weir.port)).is_err());
    weir.wire().ask("PING\r\n", "+PONG\r\n");
}

#[test]
fn config_set_bind_from_every_ipv4_address_to_a_taken_ipv6_address_changes_nothing() {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        eprintln!("skipped: this machine has no IPv6");
        return;
    }
    let weir = Weir::with(["--bind", "*", "--protected-mode", "no"]);
    let _taken = TcpListener::bind((Ipv6Addr::LOCALHOST, weir.port)).expect("the port over IPv6");
    let mut wire = weir.wire();
    let reply = wire.run("CONFIG SET bind ::1");
    assert!(reply.starts_with("-ERR") && reply.ends_with("Failed to bind to specified addresses."), "{reply}");
    assert_eq!(settings(&weir)["bind"], "*");
    weir.wire().ask("PING\r\n", "+PONG\r\n");
}
