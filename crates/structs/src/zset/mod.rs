//! Sorted sets: members with scores, in the order of scores and among equal ones of names.
//!
//! ```text
//!  ZsetRef, ZsetMut     the face: commands do not see which form a sorted set has
//!  ├─ packed            few short members: one run of bytes in the entry, `member score member score ...` in order
//!  └─ Zset              everything else: a table of members with their scores, and a tree of them in order
//! ```
//!
//! A sorted set begins packed and becomes a table when it gets more members, or a longer one, than its limits allow. Every
//! range, by score or by name, is first made a range of ranks; walking, counting and removing know only those.
//!
//! What must stay true: no score is NaN; no member occurs twice; a packed set is in order.

mod face;
mod fill;
mod packed;
mod range;
mod table;
#[cfg(test)]
mod tests;

pub use face::{AddRule, Added, ZsetLimits, ZsetMut, ZsetRef};
pub use fill::{ZsetFill, ZsetForm};
pub use range::{LexBound, LexRange, ScoreRange};
pub use table::Zset;
