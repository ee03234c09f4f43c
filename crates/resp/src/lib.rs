//! The Redis protocol as bytes, with no idea that a server exists.
//!
//! ```text
//!  socket ──► Batch.bytes ──► Parser ──► Batch { commands ► args ► bytes } ──► Argv
//!  socket ◄── Vec<u8> ◄────── reply_bytes
//! ```
//!
//! - [`Parser`] is what a connection remembers between two reads: 16 bytes.
//! - [`Batch`] is what has been read and cut: one buffer and two lists of ranges into it. It moves between threads.
//! - [`Argv`] is one command of a batch, borrowed.
//! - [`reply_bytes`] writes each RESP2 and RESP3 type at the end of a `Vec<u8>`.
//! - [`number_text`] writes numbers as text the way clients of Redis expect them.
//!
//! What must stay true: no byte of a request can panic this crate, and no length that a request merely claims makes it
//! allocate. Memory grows with the bytes that have arrived and with nothing else.

#![forbid(unsafe_code)]

mod batch;
mod inline;
pub mod number_text;
mod parser;
mod protocol_error;
pub mod reply_bytes;

pub use batch::{Argv, ArgvIter, BATCH_BYTES_MAX, Batch, BatchFull};
pub use parser::{
    COMMANDS_MAX, INLINE_MAX, Limits, MULTIBULK_MAX, Need, PROTO_MAX_BULK_LEN, Parser, Progress,
    UNAUTHENTICATED_BULK_MAX, UNAUTHENTICATED_MULTIBULK_MAX,
};
pub use protocol_error::ProtocolError;
