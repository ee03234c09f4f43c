//! Commands on lists.

pub mod blocking;
pub(in crate::command) mod ends;
pub mod pop;
pub mod push;
pub mod read;
