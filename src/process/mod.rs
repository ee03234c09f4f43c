//! The server as a process among others: what the operating system and those who watch over processes want from it.
//!
//! ```text
//!  configuration read, log open
//!    └─ Supervisor::new ─ daemonize ─ PidFile::create ─ Signals::install ─ raise_open_files ─ OomScore::apply
//!         └─ ProcessTitle::claim ─ ports are open ─ banner ─ data loaded ─ Supervisor::ready ─ ... ─ Supervisor::stopping
//! ```
//!
//! `daemonize` and `ProcessTitle::claim` come before the first thread. The banner comes after the ports are open: test
//! harnesses take its `PID:` for the promise that the server answers.
//!
//! What must stay true: nothing here fails a start but the file limit and `daemonize`; all else is told and gone without.

mod banner;
mod crash;
mod daemon;
mod huge_pages;
#[cfg(test)]
mod lone_process;
mod oom_score;
mod open_files;
mod pid_file;
mod signals;
mod stack;
mod supervisor;
mod title;

pub use banner::{
    Banner, READY_TCP, READY_TLS, READY_UNIX, SERVER_INITIALIZED, log_clock, log_configuration, log_start, shows_banner,
};
pub use crash::{CrashFacts, feed_watchdog, report_crashes, set_crash_reports, set_watchdog};
pub use daemon::daemonize;
pub use huge_pages::disable_huge_pages;
pub use oom_score::{OomScore, OomScoreMode, ProcessClass};
pub use open_files::{OpenFiles, RESERVED_FILES, TooFewFiles, raise_open_files};
pub use pid_file::{PID_FILE_DEFAULT, PidFile};
pub use signals::{Signals, StopSignal};
pub use supervisor::{Supervision, Supervisor};
pub use title::{ProcessTitle, TITLE_BYTES_MAX};
