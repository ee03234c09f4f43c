//! TLS: certificates, clients that show theirs, renewal while the server runs, and peers that shake no hands.
//!
//! Certificates are made when a test runs, and are gone with its folder.

use crate::weir::{PATIENCE, Start, Weir, eventually, free_port};
use crate::wire::{Wire, request};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// An authority that makes certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate with its key, in PEM.
struct Identity {
    certificate: String,
    key: String,
    serial: String,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Authority");
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    fn identity(&self, name: &str, alternative_names: &[SanType], serial: u64) -> Identity {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = alternative_names.to_vec();
        params.serial_number = Some(serial.into());
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Identity { certificate, key: key.serialize_pem(), serial: format!("{serial:X}") }
    }

    fn server(&self, serial: u64) -> Identity {
        self.identity("server", &[SanType::IpAddress(Ipv4Addr::LOCALHOST.into())], serial)
    }
}

impl Identity {
    /// Writes both files: `NAME.crt` and `NAME.key`.
    fn write(&self, folder: &Path, name: &str) {
        fs::write(folder.join(format!("{name}.crt")), &self.certificate).expect("a file");
        fs::write(folder.join(format!("{name}.key")), &self.key).expect("a file");
    }
}

/// A server with a plain and a TLS port.
struct TlsWeir {
    weir: Weir,
    tls_port: u16,
    authority: Authority,
}

impl TlsWeir {
    #[track_caller]
    fn with<'a>(options: impl IntoIterator<Item = &'a str>) -> TlsWeir {
        let folder = tempfile::TempDir::new().expect("a temporary folder");
        let authority = Authority::new();
        fs::write(folder.path().join("ca.crt"), &authority.pem).expect("a file");
        authority.server(0x1001).write(folder.path(), "server");
        let tls_port = free_port();
        let port = tls_port.to_string();
        let files = ["--tls-cert-file", "server.crt", "--tls-key-file", "server.key", "--tls-ca-cert-file", "ca.crt"];
        let start = Start::new().folder(folder).options(["--tls-port", &port]).options(files);
        TlsWeir { weir: start.options(options).start(), tls_port, authority }
    }

    fn folder(&self) -> &Path {
        self.weir.dir()
    }

    /// What clients need, with or without a certificate of their own.
    fn client_config(&self, identity: Option<&Identity>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.pem.as_bytes()).expect("PEM")).expect("an authority");
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().expect("versions").with_root_certificates(roots);
        match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = vec![CertificateDer::from_pem_slice(identity.certificate.as_bytes()).expect("PEM")];
                let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("PEM");
                builder.with_client_auth_cert(chain, key).expect("a certificate that fits its key")
            }
        }
    }

    #[track_caller]
    fn client(&self, identity: Option<&Identity>) -> TlsWire {
        TlsWire::connect(self.tls_port, Arc::new(self.client_config(identity)))
    }

    /// A connection that does not speak TLS unless its test does.
    fn raw(&self) -> Wire {
        Wire::connect((Ipv4Addr::LOCALHOST, self.tls_port))
    }

    /// What INFO says of the server's certificate.
    fn serial(&self) -> String {
        let info = self.weir.wire().run("INFO tls");
        let line = info.lines().find_map(|line| line.strip_prefix("tls_server_cert_serial:"));
        line.expect("the serial number").trim().to_owned()
    }
}

/// A TLS connection by hand.
struct TlsWire {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

impl TlsWire {
    #[track_caller]
    fn connect(port: u16, config: Arc<ClientConfig>) -> TlsWire {
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a connection");
        socket.set_nodelay(true).expect("no delay");
        socket.set_read_timeout(Some(PATIENCE)).expect("a limit on waiting");
        socket.set_write_timeout(Some(PATIENCE)).expect("a limit on waiting");
        let name = ServerName::IpAddress(Ipv4Addr::LOCALHOST.into());
        let session = ClientConnection::new(config, name).expect("a session");
        TlsWire { stream: StreamOwned::new(session, socket) }
    }

    #[track_caller]
    fn ask(&mut self, bytes: impl AsRef<[u8]>, wanted: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("sent");
        self.expect(wanted);
    }

    #[track_caller]
    fn expect(&mut self, wanted: impl AsRef<[u8]>) {
        let mut got = vec![0; wanted.as_ref().len()];
        self.stream.read_exact(&mut got).expect("a reply");
        assert_eq!(got.escape_ascii().to_string(), wanted.as_ref().escape_ascii().to_string());
    }

    /// Whether the server takes it as a client.
    fn is_welcome(&mut self) -> bool {
        let mut pong = [0; 7];
        self.stream.write_all(b"PING\r\n").is_ok() && self.stream.read_exact(&mut pong).is_ok() && pong == *b"+PONG\r\n"
    }
}

#[test]
fn plain_and_tls_ports_serve_the_same_data_together() {
    let weir = TlsWeir::with(["--tls-auth-clients", "no", "--unixsocket", "{dir}/weir.sock"]);
    let mut tls = weir.client(None);
    tls.ask("SET k v\r\n", "+OK\r\n");
    weir.weir.wire().ask("GET k\r\n", "$1\r\nv\r\n");
    let mut unix = std::os::unix::net::UnixStream::connect(weir.folder().join("weir.sock")).expect("a connection");
    unix.write_all(b"GET k\r\n").expect("sent");
    let mut reply = [0; 7];
    unix.read_exact(&mut reply).expect("a reply");
    assert_eq!(&reply, b"$1\r\nv\r\n");
    // A long pipeline, and values that span records both ways.
    let value = "x".repeat(300_000);
    tls.ask(request(&["SET", "big", &value]), "+OK\r\n");
    let replies = "$1\r\nv\r\n".repeat(20_000);
    tls.ask("GET k\r\n".repeat(20_000), &replies);
    tls.ask("GET big\r\n".repeat(5), format!("$300000\r\n{value}\r\n").repeat(5));
    let list = weir.weir.wire().run("CLIENT LIST");
    assert!(list.contains(&format!("laddr=127.0.0.1:{}", weir.tls_port)), "{list}");
    let info = weir.weir.wire().run("INFO server");
    assert!(info.contains(&format!("name=tls,bind=127.0.0.1,port={}", weir.tls_port)), "{info}");
}

#[test]
fn who_must_show_a_certificate_and_shows_none_or_a_strange_one_stays_outside() {
    let weir = TlsWeir::with([]);
    let known = weir.authority.identity("alice", &[], 7);
    let strange = Authority::new().identity("alice", &[], 7);
    assert!(weir.client(Some(&known)).is_welcome());
    assert!(!weir.client(None).is_welcome());
    assert!(!weir.client(Some(&strange)).is_welcome());
    weir.weir.wait_for_log("Error accepting a client connection");
    let mut plain = weir.weir.wire();
    plain.is("CONFIG SET tls-auth-clients optional", "+OK");
    assert!(weir.client(Some(&known)).is_welcome() && weir.client(None).is_welcome());
    assert!(!weir.client(Some(&strange)).is_welcome());
    plain.is("CONFIG SET tls-auth-clients no", "+OK");
    assert!(weir.client(Some(&strange)).is_welcome());
}

#[test]
fn who_shows_a_certificate_is_the_user_whom_it_names() {
    let weir = TlsWeir::with(["--tls-auth-clients", "optional", "--tls-auth-clients-user", "CN"]);
    let uri = |text: &str| SanType::URI(text.try_into().expect("ASCII"));
    let alice = weir.authority.identity("alice", &[uri("urn:nobody"), uri("urn:weir:alice")], 7);
    let mut plain = weir.weir.wire();
    let who = |identity| {
        let mut wire = weir.client(identity);
        wire.stream.write_all(b"ACL WHOAMI\r\n").expect("sent");
        let mut head = [0; 5];
        wire.stream.read_exact(&mut head).expect("a reply");
        String::from_utf8_lossy(&head).into_owned()
    };
    plain.is("ACL SETUSER alice on nopass ~* +@all", "+OK");
    assert_eq!((who(Some(&alice)), who(None)), ("$5\r\na".to_owned(), "$7\r\nd".to_owned()));
    // Also where strangers must log in.
    plain.is("CONFIG SET requirepass secret", "+OK");
    assert_eq!((who(Some(&alice)), who(None)), ("$5\r\na".to_owned(), "-NOAU".to_owned()));
    plain.is("ACL SETUSER alice off", "+OK");
    assert_eq!(who(Some(&alice)), "-NOAU");
    weir.weir.wire().is("AUTH secret", "+OK");
    let log = plain.run("ACL LOG");
    assert!(log.contains("tls-cert") && log.contains("alice"), "{log}");
    assert!(plain.run("INFO stats").contains("acl_access_denied_tls_cert:1"));
    plain.is("CONFIG SET tls-auth-clients-user URI", "+OK");
    plain.is("ACL SETUSER urn:weir:alice on +@all", "+OK");
    assert_eq!(who(Some(&alice)), "$14\r\n");
}

#[test]
fn a_bad_certificate_leaves_the_old_one_in_force_and_a_good_one_replaces_it() {
    let weir = TlsWeir::with(["--tls-auth-clients", "no"]);
    let mut plain = weir.weir.wire();
    let mut before = weir.client(None);
    before.ask("PING\r\n", "+PONG\r\n");
    let refused = "-ERR CONFIG SET failed (possibly related to argument 'tls-cert-file') - Unable to update TLS \
                   configuration. Check server logs.";
    fs::write(weir.folder().join("bad.crt"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        .expect("a file");
    let next = weir.authority.server(0x2002);
    next.write(weir.folder(), "next");
    // Missing, no certificate, the certificate of another key, none.
    for file in ["nowhere.crt", "bad.crt", "server.key", "next.crt", ""] {
        assert_eq!(plain.call(&["CONFIG", "SET", "tls-cert-file", file]), refused);
    }
    assert_eq!(weir.serial(), "1001");
    assert!(weir.client(None).is_welcome());
    plain.is("CONFIG SET tls-cert-file next.crt tls-key-file next.key", "+OK");
    assert_eq!(weir.serial(), format!("{:0>4}", next.serial));
    assert!(weir.client(None).is_welcome());
    // Whoever is connected notices nothing.
    before.ask("PING\r\n", "+PONG\r\n");
    for (name, value) in [("tls-protocols", "SSLv3"), ("tls-ciphers", "none"), ("tls-ciphersuites", "none")] {
        let reply = plain.call(&["CONFIG", "SET", name, value]);
        assert!(reply.contains(&format!("'{name}') - Unable to update TLS configuration")), "{reply}");
    }
    weir.weir.wait_for_log("Failed to configure ciphersuites: none");
}

#[test]
fn certificates_that_are_renewed_on_disk_are_taken_over_by_themselves() {
    let weir = TlsWeir::with(["--tls-auth-clients", "no", "--tls-auto-reload-interval", "1"]);
    fs::write(weir.folder().join("server.key"), "").expect("a file");
    weir.weir.wait_for_log("the old ones stay in force");
    assert!(weir.client(None).is_welcome());
    weir.authority.server(0x3003).write(weir.folder(), "server");
    eventually("the new certificate is in force", || weir.serial() == "3003");
    assert!(weir.client(None).is_welcome());
}

#[test]
fn ports_open_and_close_while_the_server_runs() {
    let weir = TlsWeir::with(["--tls-auth-clients", "no"]);
    let mut tls = weir.client(None);
    let next = free_port();
    tls.ask(request(&["CONFIG", "SET", "port", "0"]), "+OK\r\n");
    eventually("the plain port is closed", || !weir.weir.answers());
    tls.ask(request(&["CONFIG", "SET", "tls-port", &next.to_string()]), "+OK\r\n");
    assert!(TlsWire::connect(next, Arc::new(weir.client_config(None))).is_welcome());
    eventually("the old port is closed", || TcpStream::connect((Ipv4Addr::LOCALHOST, weir.tls_port)).is_err());
    tls.ask("PING\r\n", "+PONG\r\n");
    let port = weir.weir.port.to_string();
    tls.ask(request(&["CONFIG", "SET", "tls-port", "0", "port", &port]), "+OK\r\n");
    assert!(weir.weir.answers());
    let without = Weir::with([]);
    let reply = without.wire().call(&["CONFIG", "SET", "tls-port", &next.to_string()]);
    assert!(reply.contains("'tls-port') - Unable to update TLS configuration. Check server logs."), "{reply}");
    without.wait_for_log("No tls-cert-file configured!");
}

#[test]
fn a_server_without_a_certificate_for_its_tls_port_does_not_start() {
    let (status, log) = Start::new().options(["--tls-port", &free_port().to_string()]).fail();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("Failed to configure TLS. Check logs for more info."), "{log}");
}

#[test]
fn sessions_are_resumed_unless_caching_is_off() {
    let weir = TlsWeir::with(["--tls-auth-clients", "no"]);
    let mut config = weir.client_config(None);
    config.resumption = Resumption::in_memory_sessions(8);
    let config = Arc::new(config);
    let kind = || {
        let mut wire = TlsWire::connect(weir.tls_port, config.clone());
        assert!(wire.is_welcome());
        wire.stream.conn.handshake_kind()
    };
    assert_eq!((kind(), kind()), (Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)));
    weir.weir.wire().is("CONFIG SET tls-session-caching no", "+OK");
    assert_eq!((kind(), kind()), (Some(HandshakeKind::Full), Some(HandshakeKind::Full)));
}

#[test]
fn records_that_come_in_byte_by_byte_are_put_together() {
    let weir = TlsWeir::with(["--tls-auth-clients", "no"]);
    let name = ServerName::IpAddress(Ipv4Addr::LOCALHOST.into());
    let mut session = ClientConnection::new(Arc::new(weir.client_config(None)), name).expect("a session");
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, weir.tls_port)).expect("a connection");
    socket.set_nodelay(true).expect("no delay");
    socket.set_read_timeout(Some(PATIENCE)).expect("a limit on waiting");
    let send = |session: &mut ClientConnection, socket: &mut TcpStream| {
        let mut bytes = Vec::new();
        while session.wants_write() {
            session.write_tls(&mut bytes).expect("bytes");
        }
        bytes.chunks(1).for_each(|byte| socket.write_all(byte).expect("sent"));
    };
    session.writer().write_all(b"SET k v\r\nGET k\r\n").expect("room");
    let mut got = Vec::new();
    while got.len() < b"+OK\r\n$1\r\nv\r\n".len() {
        send(&mut session, &mut socket);
        session.read_tls(&mut socket).expect("bytes");
        session.process_new_packets().expect("TLS");
        // Nothing there yet is an error of its kind.
        let _ = session.reader().read_to_end(&mut got);
    }
    assert_eq!(got, b"+OK\r\n$1\r\nv\r\n");
}

#[test]
fn a_client_that_never_reads_costs_bounded_memory_and_gets_everything_in_the_end() {
    const VALUE_BYTES: usize = 40_000;
    const GETS: usize = 4_000;
    let weir = TlsWeir::with(["--tls-auth-clients", "no"]);
    let mut other = weir.weir.wire();
    assert_eq!(other.call(&["SET", "k", &"v".repeat(VALUE_BYTES)]), "+OK");
    let before = weir.weir.rss_bytes();
    let mut slow = weir.client(None);
    slow.stream.write_all(&request(&["GET", "k"]).repeat(GETS)).expect("sent");
    let mut last = 0;
    eventually("the server has stopped working for it", || {
        thread::sleep(Duration::from_millis(50));
        let commands = weir.weir.info("total_net_output_bytes");
        let settled = commands.abs_diff(last) < 10_000;
        last = commands;
        settled
    });
    let grown = weir.weir.rss_bytes().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes for {} bytes of replies", VALUE_BYTES * GETS);
    weir.weir.comes_to_rest();
    let reply = format!("${VALUE_BYTES}\r\n{}\r\n", "v".repeat(VALUE_BYTES));
    for _ in 0..GETS {
        slow.expect(&reply);
    }
    slow.ask("PING\r\n", "+PONG\r\n");
}

#[test]
fn keys_that_change_in_the_middle_of_a_connection_do_no_harm() {
    let weir = TlsWeir::with(["--tls-auth-clients", "no"]);
    let mut tls = weir.client(None);
    let value = "v".repeat(50_000);
    tls.ask(request(&["SET", "k", &value]), "+OK\r\n");
    for _ in 0..10 {
        tls.stream.conn.refresh_traffic_keys().expect("new keys");
        tls.ask("GET k\r\n", format!("$50000\r\n{value}\r\n"));
        tls.ask("PING\r\n", "+PONG\r\n");
    }
}

#[test]
fn the_end_of_a_connection_is_said() {
    let weir = TlsWeir::with(["--tls-auth-clients", "no", "--maxclients", "2"]);
    let mut tls = weir.client(None);
    tls.ask("QUIT\r\n", "+OK\r\n");
    // Without the words for it this would be an error.
    assert_eq!(tls.stream.read(&mut [0; 16]).expect("a clean end"), 0);
    // The other way round: what was sent before the end is still answered.
    let mut tls = weir.client(None);
    tls.stream.write_all(b"PING\r\n").expect("sent");
    tls.stream.conn.send_close_notify();
    tls.expect("+PONG\r\n");
    drop(tls);
    let _one = weir.weir.wire();
    eventually("its place is free", || weir.weir.wire().run("PING") == "+PONG");
}

#[test]
fn bytes_that_are_no_handshake_end_their_connection_only() {
    let weir = TlsWeir::with(["--tls-auth-clients", "no"]);
    let mut tls = weir.client(None);
    tls.ask("PING\r\n", "+PONG\r\n");
    let hello = {
        let name = ServerName::IpAddress(Ipv4Addr::LOCALHOST.into());
        let mut session = ClientConnection::new(Arc::new(weir.client_config(None)), name).expect("a session");
        let mut bytes = Vec::new();
        session.write_tls(&mut bytes).expect("bytes");
        bytes
    };
    let mut twice = hello.clone();
    twice.extend(&hello);
    let mut long = vec![0x16, 3, 1, 0x3f, 0xff, 1, 0, 0xff, 0xff];
    long.resize(40_000, 0x16);
    let mut broken = hello.clone();
    for at in (9..broken.len()).step_by(7) {
        broken[at] ^= 0x55;
    }
    let garbage: Vec<u8> = (0..5_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for bytes in
        [&b"PING\r\n"[..], b"GET / HTTP/1.1\r\n\r\n", b"\x80\x2e\x01\x00\x02", &twice, &long, &broken, &garbage]
    {
        let mut raw = weir.raw();
        raw.send(bytes);
        raw.finish();
        assert!(raw.is_closed(), "{}", bytes[..5].escape_ascii());
    }
    // Garbage in the middle of a connection.
    let mut victim = weir.client(None);
    victim.ask("PING\r\n", "+PONG\r\n");
    victim.stream.sock.write_all(&garbage).expect("sent");
    assert!(!victim.is_welcome());
    tls.ask("PING\r\n", "+PONG\r\n");
    weir.weir.comes_to_rest();
}

#[test]
fn thousands_that_never_finish_a_handshake_keep_nobody_outside() {
    const CROWD: usize = 1_800;
    let weir = TlsWeir::with(["--tls-auth-clients", "no"]);
    let mut plain = weir.weir.wire();
    let before = weir.weir.rss_bytes();
    // A record is begun and not ended, as long as it may be.
    let mut begun = vec![0x16, 3, 1, 0x40, 0, 1, 0, 0xff, 0];
    begun.resize(10_000, 0);
    let crowd: Vec<Wire> = (0..CROWD)
        .map(|_| {
            let mut raw = weir.raw();
            raw.send(&begun);
            raw
        })
        .collect();
    assert!(weir.client(None).is_welcome());
    plain.ask("PING\r\n", "+PONG\r\n");
    let grown = weir.weir.rss_bytes().saturating_sub(before);
    assert!(grown < 48 << 20, "{grown} bytes for {CROWD} connections");
    // The first of them had to make room.
    eventually("there is room for no more than a thousand", || weir.weir.open_files().len() < 1_100);
    drop(crowd);
    eventually("all have gone", || weir.weir.open_files().len() < 30);
    weir.weir.comes_to_rest();
    assert!(weir.client(None).is_welcome());
}

#[test]
fn what_was_sent_in_front_of_the_end_runs_over_many_turns_also_if_nobody_takes_the_replies() {
    const STEPS: usize = 40;
    let weir = TlsWeir::with(["--tls-auth-clients", "no", "--enable-debug-command", "local"]);
    let steps: String = (1..=STEPS).map(|number| format!("DEBUG SLEEP 0.002\r\nRPUSH log {number}\r\n")).collect();
    let replies: String = (1..=STEPS).map(|number| format!("+OK\r\n:{number}\r\n")).collect();
    let log = format!(
        "*{STEPS} {}",
        (1..=STEPS).map(|n| format!("${} {n}", n.to_string().len())).collect::<Vec<_>>().join(" ")
    );
    let mut other = weir.weir.wire();
    // It says that it ends, and reads on.
    let mut half = weir.client(None);
    half.stream.write_all(steps.as_bytes()).expect("sent");
    half.stream.conn.send_close_notify();
    half.stream.flush().expect("sent");
    half.expect(&replies);
    assert_eq!(other.run("LRANGE log 0 -1"), log);
    eventually("its client has gone", || weir.weir.info("connected_clients") == 2);
    for takes_some in [false, true] {
        other.run("DEL log");
        let mut gone = weir.client(None);
        gone.ask("PING\r\n", "+PONG\r\n");
        gone.stream.write_all(steps.as_bytes()).expect("sent");
        if takes_some {
            eventually("it has begun", || other.run("EXISTS log") == ":1");
        }
        drop(gone);
        eventually("all of it has run", || other.run("LRANGE log 0 -1") == log);
        eventually("its client has gone", || weir.weir.info("connected_clients") == 2);
    }
}
