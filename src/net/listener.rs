//! Listening sockets: the addresses of `bind` with `port` and with `tls-port`, and the Unix socket.

use super::connection::Stream;
use crate::config::Config;
use crate::server::client::Accepted;
use mio::net::{TcpListener, UnixListener};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::borrow::Cow;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A listening socket of either kind.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp { socket: TcpListener, host: String, addr: SocketAddr, tls: bool },
    Unix(UnixListener, PathBuf),
}

/// Why a socket cannot be listened on.
#[derive(Debug)]
pub struct ListenError {
    /// The address as configured.
    pub address: String,
    /// What the system says.
    pub error: io::Error,
}

impl std::fmt::Display for ListenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "could not listen on {}: {}", self.address, self.error)
    }
}

impl Listener {
    /// Everything that the configuration asks for. An address with a leading `-` may be missing on this machine.
    pub(super) fn open_all(config: &Config) -> Result<Vec<Listener>, ListenError> {
        let mut all = Listener::open_tcp_all(config)?;
        if let Some(path) = &config.unixsocket {
            let path = Path::new(path);
            let opened = open_unix(path, config.unixsocketperm, config.unixsocketgroup.as_deref());
            all.push(opened.map_err(|error| ListenError { address: path.display().to_string(), error })?);
        }
        Ok(all)
    }

    /// The TCP part of it.
    fn open_tcp_all(config: &Config) -> Result<Vec<Listener>, ListenError> {
        Listener::open_tcp_beside(config, &[])
    }

    /// The TCP part of it, but for what is open already.
    pub(super) fn open_tcp_beside(config: &Config, open: &[Listener]) -> Result<Vec<Listener>, ListenError> {
        let mut all = Vec::new();
        for place in places(config) {
            if open.iter().any(|listener| listener.is_at(&place)) {
                continue;
            }
            match open_tcp(&place, config) {
                Ok(listener) => all.push(listener),
                Err(error) if place.optional && is_absent(&error) => {}
                Err(error) => return Err(ListenError { address: place.to_string(), error }),
            }
        }
        Ok(all)
    }

    /// One TCP address.
    pub(super) fn open_at(config: &Config, place: &Place<'_>) -> Result<Listener, ListenError> {
        open_tcp(place, config).map_err(|error| ListenError { address: place.to_string(), error })
    }

    /// The part of a configuration that has it open, of TCP.
    pub(super) fn place(&self) -> Option<Place<'static>> {
        match self {
            Listener::Tcp { host, addr, tls, .. } => {
                Some(Place { host: Cow::Owned(host.clone()), port: addr.port(), tls: *tls, optional: false })
            }
            Listener::Unix(..) => None,
        }
    }

    /// Whether a configuration asks for it.
    pub(super) fn is_wanted(&self, config: &Config) -> bool {
        match self {
            Listener::Tcp { .. } => places(config).any(|place| self.is_at(&place)),
            Listener::Unix(..) => true,
        }
    }

    fn is_at(&self, place: &Place<'_>) -> bool {
        matches!(self, Listener::Tcp { host, addr, tls, .. }
            if *host == place.host && addr.port() == place.port && *tls == place.tls)
    }

    /// Whether its connections begin with a TLS handshake.
    pub(super) fn is_tls(&self) -> bool {
        matches!(self, Listener::Tcp { tls: true, .. })
    }

    /// Takes one connection.
    pub(super) fn accept(&self, config: &Config) -> io::Result<(Stream, Accepted)> {
        match self {
            Listener::Tcp { socket: listener, .. } => {
                let (stream, peer) = listener.accept()?;
                let local = stream.local_addr().map_or_else(|_| String::new(), |a| display(&a));
                // Both only make things worse where they fail, not wrong.
                let _ = stream.set_nodelay(true);
                set_keepalive(&stream, config.tcp_keepalive);
                let loopback = match peer.ip().to_canonical() {
                    IpAddr::V4(ip) => ip.is_loopback(),
                    IpAddr::V6(ip) => ip.is_loopback(),
                };
                let fd = stream.as_raw_fd();
                let accepted = Accepted { addr: display(&peer), laddr: local, fd, unix: false, local: loopback };
                Ok((Stream::Tcp(stream), accepted))
            }
            Listener::Unix(listener, path) => {
                let (stream, _) = listener.accept()?;
                let addr = format!("{}:0", path.display());
                let fd = stream.as_raw_fd();
                let accepted = Accepted { addr: addr.clone(), laddr: addr, fd, unix: true, local: true };
                Ok((Stream::Unix(stream), accepted))
            }
        }
    }

    /// For the log: `tcp`, `tls` or `unix`.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Listener::Tcp { tls: true, .. } => "tls",
            Listener::Tcp { .. } => "tcp",
            Listener::Unix(..) => "unix",
        }
    }

    /// Where it listens, for `INFO`.
    pub(super) fn describe(&self) -> String {
        match self {
            Listener::Tcp { addr, .. } => format!("name={},bind={},port={}", self.kind(), addr.ip(), addr.port()),
            Listener::Unix(_, path) => format!("name=unix,bind={}", path.display()),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Listener::Unix(_, path) = self {
            // Someone else may have removed it already.
            let _ = fs::remove_file(path);
        }
    }
}

impl mio::event::Source for Listener {
    fn register(&mut self, r: &mio::Registry, token: mio::Token, interest: mio::Interest) -> io::Result<()> {
        match self {
            Listener::Tcp { socket: l, .. } => l.register(r, token, interest),
            Listener::Unix(l, _) => l.register(r, token, interest),
        }
    }

    fn reregister(&mut self, r: &mio::Registry, token: mio::Token, interest: mio::Interest) -> io::Result<()> {
        match self {
            Listener::Tcp { socket: l, .. } => l.reregister(r, token, interest),
            Listener::Unix(l, _) => l.reregister(r, token, interest),
        }
    }

    fn deregister(&mut self, r: &mio::Registry) -> io::Result<()> {
        match self {
            Listener::Tcp { socket: l, .. } => l.deregister(r),
            Listener::Unix(l, _) => l.deregister(r),
        }
    }
}

/// Whether the addresses of `next` can be listened on by a server that listens on those of `current`.
///
/// # Errors
/// Which cannot, and why.
pub fn can_listen(current: &Config, next: &Config) -> Result<(), String> {
    for place in places(next) {
        if places(current).any(|open| open.host == place.host && open.port == place.port) {
            continue;
        }
        match open_tcp(&place, next) {
            Ok(_) => {}
            Err(error) if place.optional && is_absent(&error) => {}
            // The address is taken by the server itself, by a more general one or a part of it.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_own(current, &place) => {}
            Err(error) => return Err(ListenError { address: place.to_string(), error }.to_string()),
        }
    }
    if next.port != 0 && next.port == next.tls_port {
        return Err(format!("port and tls-port are both {}", next.port));
    }
    Ok(())
}

/// Whether a server's own socket is what stands in the way of another one: on the same port, of the same kind, and one
/// of the two for every address.
fn is_own(current: &Config, place: &Place<'_>) -> bool {
    let wanted = Reach::of(&place.host);
    places(current)
        .filter(|open| open.port == place.port)
        .map(|open| Reach::of(&open.host))
        .any(|open| open.v6 == wanted.v6 && (open.everywhere || wanted.everywhere))
}

/// What an address to listen on covers.
struct Reach {
    v6: bool,
    everywhere: bool,
}

impl Reach {
    fn of(host: &str) -> Reach {
        Reach { v6: host.contains(':'), everywhere: ["*", "::*", "0.0.0.0", "::"].contains(&host) }
    }
}

/// A TCP socket that a configuration asks for.
pub(super) struct Place<'a> {
    host: Cow<'a, str>,
    port: u16,
    tls: bool,
    /// The address may be missing on this machine.
    optional: bool,
}

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Everything to listen on but the Unix socket.
fn places(config: &Config) -> impl Iterator<Item = Place<'_>> {
    let ports = [(config.port, false), (config.tls_port, true)].into_iter().filter(|(port, _)| *port != 0);
    ports.flat_map(|(port, tls)| {
        config.bind.iter().map(move |bind| match bind.strip_prefix('-') {
            Some(host) => Place { host: Cow::Borrowed(host), port, tls, optional: true },
            None => Place { host: Cow::Borrowed(bind), port, tls, optional: false },
        })
    })
}

/// An address as Redis prints it: IPv6 in brackets only when a port follows.
fn display(addr: &SocketAddr) -> String {
    match addr.ip().to_canonical() {
        IpAddr::V4(ip) => format!("{ip}:{}", addr.port()),
        IpAddr::V6(ip) => format!("[{ip}]:{}", addr.port()),
    }
}

/// Whether an address cannot be listened on because this machine has no such address or protocol.
fn is_absent(error: &io::Error) -> bool {
    const ABSENT: [i32; 6] = [
        libc::EADDRNOTAVAIL,
        libc::EAFNOSUPPORT,
        libc::ENOPROTOOPT,
        libc::EPFNOSUPPORT,
        libc::EPROTONOSUPPORT,
        libc::ESOCKTNOSUPPORT,
    ];
    error.raw_os_error().is_some_and(|code| ABSENT.contains(&code))
}

fn open_tcp(place: &Place<'_>, config: &Config) -> io::Result<Listener> {
    let addr = match &*place.host {
        "*" => SocketAddr::from(([0, 0, 0, 0], place.port)),
        "::*" => SocketAddr::from(([0u16; 8], place.port)),
        host => (host, place.port)
            .to_socket_addrs()?
            .next()
            .ok_or_else(|| io::Error::from_raw_os_error(libc::EADDRNOTAVAIL))?,
    };
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    #[cfg(target_os = "linux")]
    if config.socket_mark_id > 0 {
        socket.set_mark(config.socket_mark_id)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(i32::try_from(config.tcp_backlog).unwrap_or(i32::MAX))?;
    Ok(Listener::Tcp {
        socket: TcpListener::from_std(socket.into()),
        host: place.host.clone().into_owned(),
        addr,
        tls: place.tls,
    })
}

/// Where groups have their names.
const GROUPS_FILE: &str = "/etc/group";

fn open_unix(path: &Path, mode: u32, group: Option<&str>) -> io::Result<Listener> {
    let group = group.map(group_id).transpose()?;
    // A socket that a server left behind when it was killed stands in the way of its successor.
    if fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket()) {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    if group.is_some() {
        std::os::unix::fs::chown(path, None, group)?;
    }
    if mode != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    Ok(Listener::Unix(listener, path.to_path_buf()))
}

/// The number of a group, which may be given itself.
fn group_id(name: &str) -> io::Result<u32> {
    if let Ok(id) = name.parse() {
        return Ok(id);
    }
    let groups = fs::read_to_string(GROUPS_FILE)?;
    // Name, password, number, members.
    let found = groups.lines().map(|line| line.split(':')).find_map(|mut words| {
        let is_it = words.next() == Some(name);
        words.nth(1).filter(|_| is_it)?.parse().ok()
    });
    found.ok_or_else(|| io::Error::other(format!("there is no group {name} in {GROUPS_FILE}")))
}

/// Asks the system to probe a silent peer after `seconds`, and to give up after about as long again; 0: never.
fn set_keepalive(stream: &mio::net::TcpStream, seconds: u32) {
    if seconds == 0 {
        return;
    }
    let probe = TcpKeepalive::new()
        .with_time(Duration::from_secs(seconds.into()))
        .with_interval(Duration::from_secs((seconds / 3).max(1).into()))
        .with_retries(3);
    // A connection without probes works as well as one with.
    let _ = SockRef::from(stream).set_tcp_keepalive(&probe);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listening(port: u16, bind: &[&str]) -> Config {
        Config { port, bind: bind.iter().map(|&b| b.to_owned()).collect(), ..Config::default() }
    }

    #[test]
    fn a_port_that_somebody_else_has_cannot_be_listened_on() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let wanted = listening(port, &["127.0.0.1"]);
        assert!(can_listen(&listening(0, &["127.0.0.1"]), &wanted).is_err());
        // Whoever asks is that somebody.
        assert_eq!(can_listen(&wanted, &wanted), Ok(()));
        assert_eq!(can_listen(&wanted, &listening(0, &["127.0.0.1"])), Ok(()));
        // Only the new address is looked at, on the real port.
        assert!(can_listen(&listening(port, &["127.0.0.2"]), &listening(port, &["127.0.0.2", "127.0.0.1"])).is_err());
    }

    #[test]
    fn an_address_of_another_machine_is_refused_unless_it_is_optional() {
        // Reserved for documentation: nobody has it.
        let current = listening(7000, &["127.0.0.1"]);
        assert!(can_listen(&current, &listening(7000, &["127.0.0.1", "192.0.2.1"])).is_err());
        assert_eq!(can_listen(&current, &listening(7000, &["127.0.0.1", "-192.0.2.1"])), Ok(()));
    }
}
