//! Data on disk: a snapshot of everything written to a file, and read from one.
//!
//! A snapshot replaces the one before as a whole: it is written beside it under another name, forced to disk, and renamed;
//! then the folder is forced to disk. A crash leaves the old file or the new one.

pub mod aof;
mod bodies;
mod load;
mod pipe;
mod save;

pub use bodies::{BodyMover, Moved};
pub use load::{AuxField, LoadError, Loaded, Loader, Reading, Step};
pub use save::{Form, Origin, SnapshotFile};
