//! Where it listens, and whom it lets in.

use crate::weir::{PATIENCE, Start, Weir, client_at, eventually};
use crate::wire::Wire;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;

#[test]
fn a_port_in_use_is_a_reason_not_to_start() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = taken.local_addr().expect("its address").port().to_string();
    let (status, said) = Start::new().options(["--port", &port]).fail();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("Failed listening") && said.contains(&port) && said.contains("in use"), "{said}");
}

#[test]
fn an_address_of_another_machine_is_a_reason_not_to_start_unless_it_is_optional() {
    let (status, said) = Start::new().options(["--bind", "127.0.0.1", "198.51.100.7"]).fail();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("198.51.100.7"), "{said}");
    let weir = Weir::with(["--bind", "127.0.0.1", "-198.51.100.7"]);
    weir.wire().ask("PING\r\n", "+PONG\r\n");
}

#[test]
fn it_listens_on_every_address_of_bind_and_on_no_other() {
    let weir = Weir::with(["--bind", "127.0.0.1", "127.0.0.2"]);
    for address in ["127.0.0.1", "127.0.0.2"] {
        Wire::connect((address, weir.port)).ask("PING\r\n", "+PONG\r\n");
    }
    assert!(TcpStream::connect(("127.0.0.3", weir.port)).is_err());
}

#[test]
fn it_listens_on_ipv6() {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        eprintln!("skipped: this machine has no IPv6");
        return;
    }
    let weir = Weir::with(["--bind", "::1", "127.0.0.1"]);
    let mut wire = Wire::connect((Ipv6Addr::LOCALHOST, weir.port));
    let info = wire.run("CLIENT INFO");
    assert!(info.contains(&format!(" addr={} ", wire.address())), "{info} is not about {}", wire.address());
    assert!(info.contains(&format!(" laddr=[::1]:{} ", weir.port)), "{info}");
    weir.wire().ask("PING\r\n", "+PONG\r\n");
}

#[test]
fn a_unix_socket_has_the_permissions_asked_for_and_goes_with_the_server() {
    let options = ["--port", "0", "--unixsocket", "{dir}/weir.sock", "--unixsocketperm", "750"];
    let weir = Weir::with(options);
    let path = weir.dir().join("weir.sock");
    let metadata = fs::metadata(&path).expect("a socket");
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o750);
    let mut client = client_at(&format!("redis+unix://{}", path.display()));
    redis::cmd("SET").arg("k").arg("v").exec(&mut client).expect("SET");
    let found: String = redis::cmd("GET").arg("k").query(&mut client).expect("GET");
    assert_eq!(found, "v");
    let info: String = redis::cmd("CLIENT").arg("INFO").query(&mut client).expect("CLIENT INFO");
    assert!(info.contains("weir.sock:0 ") && info.contains(" flags=U"), "{info}");
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, weir.port)).is_err(), "port 0 means no TCP");
    let folder = weir.stop();
    assert!(!folder.path().join("weir.sock").exists(), "the socket is still there");
}

#[test]
fn a_unix_socket_has_the_group_asked_for_if_there_is_one() {
    let group = fs::metadata(".").expect("a folder").gid().to_string();
    let weir = Weir::with(["--unixsocket", "{dir}/weir.sock", "--unixsocketgroup", &group]);
    let socket = fs::metadata(weir.dir().join("weir.sock")).expect("a socket");
    assert_eq!(socket.gid().to_string(), group);
    let options = ["--unixsocket", "{dir}/weir.sock", "--unixsocketgroup", "no such group"];
    let (status, log) = Start::new().options(options).fail();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("there is no group no such group"), "{log}");
}

#[test]
fn a_unix_socket_left_behind_by_a_killed_server_is_no_obstacle() {
    let options = ["--unixsocket", "{dir}/weir.sock"];
    let folder = Weir::with(options).killed();
    assert!(folder.path().join("weir.sock").exists());
    let weir = Start::new().options(options).folder(folder).start();
    let mut client = client_at(&format!("redis+unix://{}", weir.dir().join("weir.sock").display()));
    redis::cmd("PING").exec(&mut client).expect("PING");
}

#[test]
fn a_crowd_at_one_socket_keeps_nobody_waiting_at_the_others() {
    const CROWD: usize = 100;
    let options = ["--bind", "127.0.0.1", "127.0.0.2", "--unixsocket", "{dir}/weir.sock"];
    let weir = Weir::with(options.into_iter().chain(["--max-new-connections-per-cycle", "1"]));
    let path = weir.dir().join("weir.sock");
    for _ in 0..3 {
        let (crowd, mut tcp, mut unix) = weir.while_stopped(|| {
            let crowd: Vec<Wire> = (0..CROWD).map(|_| weir.wire()).collect();
            let tcp = Wire::connect(("127.0.0.2", weir.port));
            (crowd, tcp, UnixStream::connect(&path).expect("a connection"))
        });
        unix.set_read_timeout(Some(PATIENCE)).expect("a limit on waiting");
        unix.write_all(b"CLIENT ID\r\n").expect("the server reads");
        tcp.send("CLIENT ID\r\n");
        let mut unix_reply = String::new();
        BufReader::new(unix).read_line(&mut unix_reply).expect("a reply");
        let number = |reply: &str| reply.trim().trim_start_matches(':').parse::<usize>().expect("an id");
        // Ids are given in the order of acceptance.
        let (tcp_id, unix_id) = (number(&tcp.reply()), number(&unix_reply));
        let mut crowd_ids: Vec<usize> = crowd.into_iter().map(|mut wire| number(&wire.run("CLIENT ID"))).collect();
        crowd_ids.sort_unstable();
        for id in [tcp_id, unix_id] {
            let before = crowd_ids.iter().filter(|&&other| other < id).count();
            assert!(before < 10, "{before} of the crowd came first");
        }
    }
}

/// An address of this machine that others can reach it by.
fn outer_address() -> Option<IpAddr> {
    // Connecting a datagram socket sends nothing: it only asks which address would be used.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

#[test]
fn protected_mode_lets_nobody_in_from_outside_without_a_password() {
    let Some(outer) = outer_address() else {
        eprintln!("skipped: this machine has only its loopback address");
        return;
    };
    let weir = Weir::with(["--bind", "*", "--protected-mode", "yes"]);
    let mut stranger = Wire::connect((outer, weir.port));
    let refusal = String::from_utf8_lossy(&stranger.rest()).into_owned();
    assert!(refusal.starts_with("-DENIED ") && refusal.ends_with("\r\n"), "{refusal:?}");
    let mut local = weir.wire();
    local.ask("PING\r\n", "+PONG\r\n");

    local.is("CONFIG SET protected-mode no", "+OK");
    Wire::connect((outer, weir.port)).ask("PING\r\n", "+PONG\r\n");

    local.is("CONFIG SET protected-mode yes requirepass secret", "+OK");
    let mut stranger = Wire::connect((outer, weir.port));
    stranger.is("PING", "-NOAUTH Authentication required.");
    stranger.is("AUTH secret", "+OK");
    stranger.is("PING", "+PONG");
}

#[test]
fn an_unused_backlog_of_connections_is_accepted_in_the_end() {
    let weir = Weir::with(["--max-new-connections-per-cycle", "1"]);
    let mut wires: Vec<Wire> = (0..100).map(|_| weir.wire()).collect();
    wires.iter_mut().for_each(|wire| wire.ask("PING\r\n", "+PONG\r\n"));
    eventually("all are counted", || weir.info("connected_clients") == 101);
}
