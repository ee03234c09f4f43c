//! Stores of the configuration registry: paths with values, every change of which has a number.
//!
//! ```text
//!  paths   /app/a ─► version ◄─────┐ after        what is there now
//!          /app/b ─► version ◄──┐  │
//!  gone    /app/c ─┐            │  │              paths that only the history knows
//!                  ▼            │  │
//!  history  ...  events of 41 │ events of 42 │    each with the version before and the version after
//!                  │ ▲───────── earlier event of the path
//!  leases   7 ─► /app/b                           what goes when somebody is not heard of
//! ```
//!
//! A store knows no clients and has no clock: revisions and times come as parameters, and whoever writes has checked what
//! he writes. Values and paths are shared by the tree, its history and whoever was given them.

mod codec;
mod frozen;
mod history;
mod leases;
mod options;
mod path;
mod paths;
mod value;
mod version;
mod walk;

pub use codec::{Corrupt, TreeBuilder};
pub use history::{Change, Event};
pub use leases::Lease;
pub use options::TreeOptions;
pub use path::{HIDDEN_BYTES_MAX, PATH_BYTES_MAX, PathError, Span, check_path, check_stored_path, is_hidden};
pub use value::{REVISION_MAX, Tree, Write};
pub use version::{VALUE_BYTES_MAX, Version};
pub use walk::{Spanned, Versions};

/// The number of a change: 1 is a store's first, 0 stands for none.
pub type Revision = u64;
/// The number of a lease; 0 stands for none.
pub type LeaseId = u64;

#[cfg(test)]
mod tests;
