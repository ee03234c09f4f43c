//! Every setting of the server: what it is called, what it accepts, what it does, and its value.
//!
//! One directive is one row in a table under [`rows`]; loading a file, `CONFIG GET`, `CONFIG SET`, `CONFIG REWRITE`,
//! the reference page and the command line all read that row. The values live in [`Config`], a plain struct, so that
//! reading a setting on the way of a request is a field access.
//!
//! ```text
//!   file, stdin, command line ──► load ──► Config ◄── get ── CONFIG GET
//!                                   │        ▲  │
//!                              rows (one per │  └──► rewrite ── CONFIG REWRITE
//!                              directive)    └── stage, then adopt ── CONFIG SET
//! ```
//!
//! What must stay true: a value reaches [`Config`] only through its row, so a field never holds what its row would
//! refuse; a failed change leaves the old values whole; nothing here knows that a server exists.

mod change;
mod directive;
mod load;
mod model;
mod reference;
mod rewrite;
mod rows;
#[cfg(test)]
mod scratch_folder;
mod special;
mod syntax;
mod values;

pub use change::{SetError, Staged, get, set, stage};
pub use directive::{Apply, Directive, Effect, Flags};
pub use load::{IgnoredLine, LoadError, Loaded, Origin, Sources, load};
pub use model::Config;
pub use reference::reference_tables;
pub use rewrite::{replace_file, rewrite, rewrite_all, rewritten};
pub use rows::{Group, directives, find, groups};
pub use syntax::{format_memory, parse_memory, quote, split_arguments};
pub use values::{
    AclPubsubDefault, AppendFsync, ClientClass, ClusterSaveBehavior, EndpointType, LocalAccess, LogFormat, LogLevel,
    LogTimestampFormat, MaxmemoryPolicy, MemoryOrPercent, ModuleLine, NotifyFlags, OomScoreAdj, OutputBufferLimit,
    PropagationErrorBehavior, RdbDialect, RdbVersionCheck, RenamedCommand, ReplDisklessLoad, ReplicaOf, SanitizeDump,
    SavePoint, ShutdownFlags, Supervised, SyslogFacility, TlsAuthClients, TlsAuthClientsUser, UserLine,
};

/// Matches `pattern` against `text` as the KEYS command does; the last argument asks to ignore ASCII case.
pub type Glob = fn(pattern: &[u8], text: &[u8], nocase: bool) -> bool;
