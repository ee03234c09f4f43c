//! The server's log: `tracing` events as the lines that Redis's users and their tools know.
//!
//! The rest of the server says `tracing::info!(port, "Server initialized")` and knows nothing of files. Here an event
//! becomes one line, in the classic look, as logfmt or as JSON, and goes to standard output or a file, and to syslog.
//!
//! ```text
//!  tracing event ── level? ──► line (escaped, bounded) ──► stdout or logfile
//!                 subscriber                          └──► syslog
//! ```
//!
//! What must stay true: an event is exactly one line, whatever bytes a client got into it; a line is at most
//! [`LINE_BYTES_MAX`] long; and no full disk, stalled pipe or missing syslog daemon may stop or slow the server: such
//! lines are dropped and counted. Writing happens in the calling thread, so that who sees a reply also finds the
//! lines that led to it.

mod line;
mod local_time;
mod settings;
mod sink;
mod subscriber;
mod syslog;

pub use line::LINE_BYTES_MAX;
pub use settings::{LogFormat, LogLevel, LogRole, LogSettings, SyslogFacility, TimestampFormat};
pub use subscriber::{Handle, LogError, Logging};
