//! Commands on hashes.
//!
//! They see a hash through its face in `weir_structs::hash`, which hides whether it is packed or a table, and hides fields
//! whose deadline has passed. Fields that are due are taken out by the store; where a command meets one that is still there
//! and sets it anew, it tells that the old one expired.

pub(in crate::command) mod access;
pub mod expire;
mod fed;
pub mod read;
pub mod write;
