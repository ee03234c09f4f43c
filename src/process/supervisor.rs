//! Word to the service manager that started us: `supervised`.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// `supervised`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Supervision {
    /// Nobody watches.
    No,
    /// Upstart waits for the process to stop itself (SIGSTOP) when it is ready.
    Upstart,
    /// systemd waits for a message on the socket in `NOTIFY_SOCKET`.
    Systemd,
    /// Whichever of the two has left its sign in the environment.
    Auto,
}

impl Supervision {
    /// The value of that name in the configuration.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Supervision> {
        match name.to_ascii_lowercase().as_str() {
            "no" => Some(Supervision::No),
            "upstart" => Some(Supervision::Upstart),
            "systemd" => Some(Supervision::Systemd),
            "auto" => Some(Supervision::Auto),
            _ => None,
        }
    }
}

/// The service manager, if there is one. Whatever fails here is logged and changes nothing else.
#[derive(Debug)]
pub struct Supervisor {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    None,
    Upstart,
    Systemd(Notify),
}

#[derive(Debug)]
struct Notify {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl Supervisor {
    /// Looks for the service manager that the configuration names, in the environment that `variable` reads.
    pub fn new(supervision: Supervision, variable: &dyn Fn(&str) -> Option<OsString>) -> Supervisor {
        let (upstart_job, notify_socket) = (variable("UPSTART_JOB"), variable("NOTIFY_SOCKET"));
        let kind = match supervision {
            Supervision::No => Kind::None,
            Supervision::Auto if notify_socket.is_none() && upstart_job.is_none() => Kind::None,
            Supervision::Systemd => Self::systemd(notify_socket.as_deref()),
            Supervision::Auto if notify_socket.is_some() => Self::systemd(notify_socket.as_deref()),
            Supervision::Upstart | Supervision::Auto if upstart_job.is_some() => Kind::Upstart,
            Supervision::Upstart | Supervision::Auto => {
                tracing::warn!("supervised by upstart is configured, but UPSTART_JOB is not in the environment");
                Kind::None
            }
        };
        let supervisor = Supervisor { kind };
        supervisor.status("Weir is loading...");
        supervisor
    }

    /// True if a manager watches this process: it must then not become a daemon.
    #[must_use]
    pub fn is_present(&self) -> bool {
        !matches!(self.kind, Kind::None)
    }

    /// The server takes connections now. Upstart: stops the process until upstart lets it go on.
    pub fn ready(&mut self) {
        match &self.kind {
            Kind::None => {}
            Kind::Systemd(notify) => notify.send("STATUS=Ready to accept connections\nREADY=1\n"),
            Kind::Upstart => {
                tracing::info!("supervised by upstart: stopping to say that the server is ready");
                // Once only: nobody lets the process go on a second time.
                self.kind = Kind::None;
                // SAFETY: takes a plain integer; runs no code of ours.
                if unsafe { libc::raise(libc::SIGSTOP) } != 0 {
                    tracing::warn!("stopping for upstart failed: {}", io::Error::last_os_error());
                }
            }
        }
    }

    /// A line about what the server is doing, for `systemctl status`; without control characters.
    pub fn status(&self, text: &str) {
        if let Kind::Systemd(notify) = &self.kind {
            notify.send(&format!("STATUS={}\n", text.replace(|c: char| c.is_control(), " ")));
        }
    }

    /// The server shuts down.
    pub fn stopping(&self) {
        if let Kind::Systemd(notify) = &self.kind {
            notify.send("STOPPING=1\n");
        }
    }

    fn systemd(notify_socket: Option<&OsStr>) -> Kind {
        match notify_socket.map(Notify::new) {
            Some(Ok(notify)) => {
                tracing::info!("supervised by systemd. Mind the values of TimeoutStartSec and TimeoutStopSec");
                Kind::Systemd(notify)
            }
            Some(Err(error)) => {
                tracing::warn!("the socket in NOTIFY_SOCKET cannot be used: {error}");
                Kind::None
            }
            None => {
                tracing::warn!("supervised by systemd is configured, but NOTIFY_SOCKET is not in the environment");
                Kind::None
            }
        }
    }
}

impl Notify {
    /// The variable holds a path, or `@` and a name in the abstract namespace.
    fn new(variable: &OsStr) -> io::Result<Notify> {
        let address = match variable.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(variable)?,
            _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a path nor an abstract name")),
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Notify { socket, address })
    }

    fn send(&self, message: &str) {
        if let Err(error) = self.socket.send_to_addr(message.as_bytes(), &self.address) {
            tracing::warn!("systemd could not be told '{}': {error}", message.trim_end());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn receive(socket: &UnixDatagram) -> String {
        let mut taken = [0; 200];
        let count = socket.recv(&mut taken).unwrap();
        String::from_utf8(taken[..count].to_vec()).unwrap()
    }

    #[test]
    fn systemd_hears_loading_ready_and_stopping() {
        let path: PathBuf = std::env::temp_dir().join(format!("weir-notify-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let abstract_name = format!("weir-notify-{}", std::process::id());
        let by_path = UnixDatagram::bind(&path).unwrap();
        let by_name =
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(abstract_name.as_bytes()).unwrap()).unwrap();
        for (socket, variable, supervision) in [
            (by_path, path.clone().into_os_string(), Supervision::Systemd),
            (by_name, format!("@{abstract_name}").into(), Supervision::Auto),
        ] {
            let mut supervisor =
                Supervisor::new(supervision, &|name| (name == "NOTIFY_SOCKET").then(|| variable.clone()));
            assert!(supervisor.is_present());
            supervisor.ready();
            supervisor.status("a\nREADY=0");
            supervisor.stopping();
            assert_eq!(receive(&socket), "STATUS=Weir is loading...\n");
            assert_eq!(receive(&socket), "STATUS=Ready to accept connections\nREADY=1\n");
            assert_eq!(receive(&socket), "STATUS=a READY=0\n");
            assert_eq!(receive(&socket), "STOPPING=1\n");
        }
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_manager_that_is_not_there_is_gone_without() {
        for supervision in [Supervision::No, Supervision::Upstart, Supervision::Systemd, Supervision::Auto] {
            let mut supervisor = Supervisor::new(supervision, &|_| None);
            assert!(!supervisor.is_present());
            supervisor.ready();
            supervisor.stopping();
        }
        let supervisor = Supervisor::new(Supervision::Systemd, &|_| Some("/no/such/socket".into()));
        supervisor.stopping();
        let supervisor = Supervisor::new(Supervision::Systemd, &|_| Some("vsock:1:2".into()));
        assert!(!supervisor.is_present());
        let supervisor = Supervisor::new(Supervision::Auto, &|name| (name == "UPSTART_JOB").then(|| "x".into()));
        assert!(supervisor.is_present());
        assert_eq!(Supervision::from_name("AUTO"), Some(Supervision::Auto));
        assert_eq!(Supervision::from_name("runit"), None);
    }
}
