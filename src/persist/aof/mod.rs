//! The append-only file: every change since a moment as commands, behind all data of that moment.
//!
//! It is several files in a folder of their own, which a [`Manifest`] lists in order ([`AofFolder`] changes both together). What is in
//! them is read by [`CommandReader`] and, where a base is in the form of snapshots, by [`super::Loader`].
//!
//! ```text
//!   appendonlydir/appendonly.aof.manifest ──► base (snapshot or commands), increment, increment ...
//! ```

mod folder;
mod manifest;
mod read;

pub use folder::{AofFolder, FolderError};
pub use manifest::{Manifest, ManifestError, Part, PartKind};
pub use read::{CommandReader, Item, ReadError, ReadProblem};
