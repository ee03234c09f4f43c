//! Sets in their three forms, and one face for all of them.
//!
//! ```text
//!  form      for                              stored as
//!  integers  nothing but integers, few        sorted numbers (`intset`)
//!  packed    few and short members            one run of elements (`packed`)
//!  big       everything else                  a table of members (`members`)
//! ```
//!
//! A set is made in the smallest form that holds it and goes on to a later one when it outgrows that, never back: at the
//! same limits, and through the same detours, as the reference servers ([`change`] has the rules), because clients read the
//! names of encodings.
//!
//! `big` is the third form as a value of its own; [`view`] looks at a set of any form, [`change`] changes one, [`sample`]
//! takes members by chance, and [`algebra`] puts several sets together.

mod algebra;
mod big;
mod change;
mod sample;
#[cfg(test)]
mod tests;
mod view;

pub use algebra::{Difference, Emit, difference, intersection, union};
pub use big::Set;
pub use change::{OwnedSet, SetForm, SetLimits, SetMut, SetPlace};
pub use sample::Random;
pub use view::{Member, Probe, SetIter, SetRef};
