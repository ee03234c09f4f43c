//! Commands on sets: their members one by one, by chance, and of several sets together.

pub mod algebra;
pub mod members;
pub(in crate::command) mod place;
pub mod random;
