//! Listening sockets: the addresses of `bind` with `port`, and the Unix socket.

use super::connection::Stream;
use crate::config::Config;
use crate::server::client::Accepted;
use mio::net::{TcpListener, UnixListener};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
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
    Tcp { socket: TcpListener, host: String, addr: SocketAddr },
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
            let opened = open_unix(path, config.unixsocketperm);
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
        for (host, optional) in hosts(config) {
            if open.iter().any(|listener| listener.is_at(host, config.port)) {
                continue;
            }
            match open_tcp(host, config) {
                Ok(listener) => all.push(listener),
                Err(error) if optional && is_absent(&error) => {}
                Err(error) => return Err(ListenError { address: format!("{host}:{}", config.port), error }),
            }
        }
        Ok(all)
    }

    /// One TCP address.
    pub(super) fn open_at(config: &Config, host: &str, port: u16) -> Result<Listener, ListenError> {
        let config = Config { port, ..config.clone() };
        open_tcp(host, &config).map_err(|error| ListenError { address: format!("{host}:{port}"), error })
    }

    /// The configuration's part that has it open: address and port, of TCP.
    pub(super) fn place(&self) -> Option<(String, u16)> {
        match self {
            Listener::Tcp { host, addr, .. } => Some((host.clone(), addr.port())),
            Listener::Unix(..) => None,
        }
    }

    /// Whether a configuration asks for it.
    pub(super) fn is_wanted(&self, config: &Config) -> bool {
        match self {
            Listener::Tcp { .. } => hosts(config).any(|(host, _)| self.is_at(host, config.port)),
            Listener::Unix(..) => true,
        }
    }

    fn is_at(&self, wanted_host: &str, port: u16) -> bool {
        matches!(self, Listener::Tcp { host, addr, .. } if host == wanted_host && addr.port() == port)
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

    /// For the log: `tcp` or `unix`, and where it listens.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Listener::Tcp { .. } => "tcp",
            Listener::Unix(..) => "unix",
        }
    }

    /// Where it listens, for `INFO`.
    pub(super) fn describe(&self) -> String {
        match self {
            Listener::Tcp { addr, .. } => format!("name=tcp,bind={},port={}", addr.ip(), addr.port()),
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
    for (host, optional) in hosts(next) {
        if next.port == current.port && hosts(current).any(|(open, _)| open == host) {
            continue;
        }
        match open_tcp(host, next) {
            Ok(_) => {}
            Err(error) if optional && is_absent(&error) => {}
            // The address is taken by the server itself, by a more general one or a part of it.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_own(current, host, next.port) => {}
            Err(error) => return Err(ListenError { address: format!("{host}:{}", next.port), error }.to_string()),
        }
    }
    Ok(())
}

/// Whether a server's own socket is what stands in the way of another one: on the same port, of the same kind, and one
/// of the two for every address.
fn is_own(current: &Config, host: &str, port: u16) -> bool {
    let wanted = Reach::of(host);
    current.port == port
        && hosts(current)
            .map(|(open, _)| Reach::of(open))
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

/// Addresses to listen on, and whether each may be missing on this machine.
fn hosts(config: &Config) -> impl Iterator<Item = (&str, bool)> {
    let binds = if config.port == 0 { &[][..] } else { &config.bind };
    binds.iter().map(|bind| bind.strip_prefix('-').map_or((bind.as_str(), false), |host| (host, true)))
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

fn open_tcp(host: &str, config: &Config) -> io::Result<Listener> {
    let addr = match host {
        "*" => SocketAddr::from(([0, 0, 0, 0], config.port)),
        "::*" => SocketAddr::from(([0u16; 8], config.port)),
        host => (host, config.port)
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
    Ok(Listener::Tcp { socket: TcpListener::from_std(socket.into()), host: host.to_owned(), addr })
}

fn open_unix(path: &Path, mode: u32) -> io::Result<Listener> {
    // A socket that a server left behind when it was killed stands in the way of its successor.
    if fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket()) {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    if mode != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    Ok(Listener::Unix(listener, path.to_path_buf()))
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
