//! Lines to the system's log daemon: one datagram each to its local socket, in the form of the C library's `syslog()`.
//!
//! Not through the C library: its call waits when the daemon does not read, and keeps a pointer to the ident.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use super::SyslogFacility;
use super::line::Severity;
use super::local_time::LocalTime;

/// A connection to the daemon, made anew when it was lost.
#[derive(Debug)]
pub(super) struct Syslog {
    path: PathBuf,
    ident: String,
    facility: SyslogFacility,
    socket: Option<UnixDatagram>,
    dropped: u64,
}

impl Syslog {
    /// Where the daemon listens on Linux.
    pub(super) const PATH: &'static str = "/dev/log";

    /// Connects at the first line: a daemon may start after the server.
    pub(super) fn new(path: &Path, ident: &str, facility: SyslogFacility) -> Syslog {
        // The ident stands before a colon in every line.
        let ident = ident.chars().map(|c| if c.is_ascii_graphic() { c } else { '_' }).take(64).collect();
        Syslog { path: path.to_owned(), ident, facility, socket: None, dropped: 0 }
    }

    /// Sends the message, or drops it and counts it.
    pub(super) fn send(&mut self, severity: Severity, pid: u32, time: &LocalTime, message: &str) {
        let level = match severity {
            Severity::Error => 3,
            Severity::Warn => 4,
            Severity::Info => 5,
            Severity::Debug => 6,
            Severity::Trace => 7,
        };
        let priority = u16::from(self.facility.code()) * 8 + level;
        let LocalTime { day, hour, minute, second, .. } = *time;
        let (month, ident) = (time.month_name(), &self.ident);
        let datagram =
            format!("<{priority}>{month} {day:2} {hour:02}:{minute:02}:{second:02} {ident}[{pid}]: {message}");
        // Once more with a new socket: a daemon that was restarted has left the old one dead.
        if self.try_send(datagram.as_bytes()).is_err() && self.try_send(datagram.as_bytes()).is_err() {
            self.dropped += 1;
        }
    }

    /// Lines that the daemon did not take.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    fn try_send(&mut self, datagram: &[u8]) -> io::Result<()> {
        if self.socket.is_none() {
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            socket.connect(&self.path)?;
            self.socket = Some(socket);
        }
        let Some(socket) = &self.socket else { return Ok(()) };
        let sent = socket.send(datagram).map(drop);
        if sent.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock) {
            self.socket = None;
        }
        sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_datagram_that_a_restarted_daemon_gets_too() {
        let path = std::env::temp_dir().join(format!("weir-syslog-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let mut syslog = Syslog::new(&path, "we ir", SyslogFacility::Local0);
        syslog.send(Severity::Info, 7, &LocalTime::EPOCH, "nobody there");
        assert_eq!(syslog.dropped(), 1);
        for _ in 0..2 {
            let daemon = UnixDatagram::bind(&path).unwrap();
            syslog.send(Severity::Info, 7, &LocalTime::EPOCH, "hello");
            let mut taken = [0; 100];
            let count = daemon.recv(&mut taken).unwrap();
            assert_eq!(&taken[..count], b"<133>Jan  1 00:00:00 we_ir[7]: hello");
            std::fs::remove_file(&path).unwrap();
        }
        assert_eq!(syslog.dropped(), 1);
    }

    #[test]
    fn a_daemon_that_does_not_read_loses_lines_and_blocks_nobody() {
        let path = std::env::temp_dir().join(format!("weir-syslog-full-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let daemon = UnixDatagram::bind(&path).unwrap();
        let mut syslog = Syslog::new(&path, "weir", SyslogFacility::User);
        for _ in 0..3_000 {
            syslog.send(Severity::Warn, 7, &LocalTime::EPOCH, "much ado");
        }
        assert!(syslog.dropped() > 0);
        drop(daemon);
        std::fs::remove_file(&path).unwrap();
    }
}
