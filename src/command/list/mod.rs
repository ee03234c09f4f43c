//! Commands on lists.

pub mod blocking;
mod ends;
pub mod pop;
pub mod push;
pub mod read;
