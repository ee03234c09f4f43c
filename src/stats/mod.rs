//! What the server knows about itself: how long commands take, what was slow, how much was done, what the machine
//! gives.
//!
//! Plain data structures that the executor and `cron` feed and that `INFO`, `SLOWLOG`, `COMMANDLOG`, `LATENCY` and
//! `MEMORY DOCTOR` read. Names, figures and layouts are those that monitoring tools parse.
//!
//! Invariants: nothing here knows of clients, commands or sockets; what is called once a command costs nanoseconds and
//! does not allocate after the first time; every structure has a fixed limit. Wall-clock time comes in as a parameter;
//! only [`ticks`] and [`process`] ask the machine for anything.

pub mod command_log;
pub mod counters;
pub mod heavy_hitters;
pub mod histogram;
pub mod latency_monitor;
pub mod memory_doctor;
pub mod process;
pub mod rates;
pub mod ticks;

pub use command_log::{CommandLog, CommandLogEntry, CommandLogs, LogKind, TrimLimits};
pub use counters::{CommandStats, ErrorStats, ServerCounters};
pub use heavy_hitters::HeavyHitters;
pub use histogram::LatencyHistogram;
pub use latency_monitor::LatencyMonitor;
pub use rates::Rates;
pub use ticks::Ticks;
