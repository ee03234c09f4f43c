//! Commands on strings.

pub mod counter;
pub mod get;
pub mod set;
mod text;
