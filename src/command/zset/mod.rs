//! Commands on sorted sets.
//!
//! Every command sees a set through `ZsetRef` and `ZsetMut`, which hide its form. Ranges of scores and names become ranges
//! of ranks first ([`bounds`]), and everything else works on those.

pub mod algebra;
mod bounds;
pub(in crate::command) mod place;
pub mod pop;
pub mod range;
pub mod read;
pub(in crate::command) mod rows;
pub mod write;
