//! Commands on strings.

pub mod counter;
pub mod get;
pub mod set;
pub(in crate::command) mod text;
