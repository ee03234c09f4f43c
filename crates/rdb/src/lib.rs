//! RDB: how Redis and Valkey write values into snapshots and payloads, read and written.
//!
//! ```text
//!   a file   ─► Snapshot ─► records ─┐
//!   a payload ─────────────────────► value::read ─► Visitor: Builder makes a value of it
//!   an entry ─► encode ─► bytes of a value ─► a file, or a payload
//! ```
//!
//! Everything that either has ever written is read: versions 1 to 14 of Redis and Valkey's 80 and 81, which use the same
//! numbers of types for other layouts. (Not arrays, which came with Redis 8.8.) Written is version 11, which both read, and a
//! newer form only for what version 11 cannot say: fields of hashes that expire, and streams that remember producers.
//!
//! Nothing that is read is believed. Lengths allocate no more than what really came, packed forms must agree with
//! themselves, and whoever reads to the end of a value knows that all of it made sense.

pub mod build;
pub mod encode;
mod error;
mod file;
pub mod module;
mod packed;
pub mod payload;
mod skip;
mod source;
pub mod value;
pub mod write;
pub mod writer;

pub use error::{Error, Problem};
pub use file::{KeyFacts, Record, Snapshot};
pub use source::Source;
