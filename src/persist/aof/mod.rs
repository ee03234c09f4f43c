//! The append-only file: every change since a moment as commands, behind all data of that moment.
//!
//! It is several files in a folder of their own, which a [`Manifest`] lists in order ([`AofFolder`] changes both together). What is in
//! them is read by [`CommandReader`] and, where a base is in the form of snapshots, by [`super::Loader`]. What is written goes
//! through a [`Log`].
//!
//! ```text
//!   appendonlydir/appendonly.aof.manifest ──► base (snapshot or commands), increment, increment ...
//!                 appendonly.aof.journal      stands in for the end of the last increment
//! ```

pub(in crate::persist) mod base;
mod folder;
mod journal;
mod keeper;
mod log;
mod manifest;
mod read;
mod syncer;

pub use folder::{AofFolder, FolderError};
pub use keeper::JournalPlace;
pub use log::{Log, SyncPolicy, Wake, Written};
pub use manifest::{Manifest, ManifestError, Part, PartKind};
pub use read::{CommandReader, Item, ReadError, ReadProblem};
