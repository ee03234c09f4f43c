//! The first lines of a server's log, and the picture among them.
//!
//! Tools wait for some of these phrases, so they are constants: process supervisors and test harnesses look for
//! `Ready to accept connections`, Redis's own test suite for ` PID: <pid>` in the picture.

use std::fmt;
use std::path::Path;

/// Logged when everything is set up but the data.
pub const SERVER_INITIALIZED: &str = "Server initialized";
/// Logged when data is loaded and TCP connections are taken.
pub const READY_TCP: &str = "Ready to accept connections tcp";
/// Logged when data is loaded and TLS connections are taken.
pub const READY_TLS: &str = "Ready to accept connections tls";
/// Logged when data is loaded and connections through the Unix socket are taken.
pub const READY_UNIX: &str = "Ready to accept connections unix";

/// The first lines: who starts.
pub fn log_start(version: &str) {
    let pid = std::process::id();
    tracing::info!("oO0OoO0OoO0Oo Weir is starting oO0OoO0OoO0Oo");
    tracing::info!("Weir version={version}, bits={}, pid={pid}, just started", usize::BITS);
}

/// Where the settings came from: a file or arguments, or nowhere.
pub fn log_configuration(is_configured: bool, program: &Path) {
    if is_configured {
        tracing::info!("Configuration loaded");
    } else {
        tracing::warn!(
            "No configuration file was given, so defaults are used. To use one, start with: {} /path/to/weir.conf",
            program.display()
        );
    }
}

/// Which clock timeouts and latencies are measured with.
pub fn log_clock() {
    tracing::info!("monotonic clock: POSIX clock_gettime");
}

/// Whether the picture is shown (else one line, [`Banner::log_line`]): always if the configuration says so
/// (`always-show-logo yes`), and to a person at a terminal who gets the log on it.
#[must_use]
pub fn shows_banner(always: bool, has_logfile: bool, has_syslog: bool, stdout_is_terminal: bool) -> bool {
    always || (!has_logfile && !has_syslog && stdout_is_terminal)
}

/// What the picture says.
#[derive(Debug, Clone, Copy)]
pub struct Banner<'a> {
    /// The server's version.
    pub version: &'a str,
    /// `standalone`, `cluster` or `sentinel`.
    pub mode: &'a str,
    /// The TCP port (the TLS port if there is no other).
    pub port: u16,
    /// The process.
    pub pid: u32,
}

impl Banner<'_> {
    /// In place of the picture.
    pub fn log_line(&self) {
        tracing::info!("Running mode={}, port={}.", self.mode, self.port);
    }
}

impl fmt::Display for Banner<'_> {
    /// Several lines with a line feed each, to be written into the log as they are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Banner { version, mode, port, pid } = self;
        let bits = usize::BITS;
        write!(
            f,
            r"
   ~ ~~  ~~~ ~~ ~ ~~~ ~~ ~
  ~~~ ~ ~~ ~ ~~~ ~~ ~ ~~~ ~|      Weir {version}, {bits} bit
  =========================|      Mode: {mode}
   | | | | | | | | | | | | \      Port: {port}
   | | | | | | | | | | | | |\     PID: {pid}
   |_|_|_|_|_|_|_|_|_|_|_|_| \~ ~
  /_________________________\ ~~ ~~ ~  ~

"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_says_what_test_harnesses_look_for() {
        let banner = Banner { version: "0.1.0", mode: "standalone", port: 6379, pid: 4711 };
        let text = banner.to_string();
        for phrase in ["Weir 0.1.0", "Mode: standalone", "Port: 6379", " PID: 4711\n"] {
            assert!(text.contains(phrase), "{phrase}");
        }
        assert!(text.starts_with('\n') && text.ends_with("\n\n") && text.is_ascii());
    }

    #[test]
    fn the_picture_is_for_people_unless_it_is_asked_for() {
        assert!(shows_banner(false, false, false, true));
        assert!(!shows_banner(false, false, false, false));
        assert!(!shows_banner(false, true, false, true));
        assert!(!shows_banner(false, false, true, true));
        assert!(shows_banner(true, true, true, false));
    }
}
