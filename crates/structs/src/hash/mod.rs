//! Hashes: fields with values, and perhaps deadlines.
//!
//! ```text
//!  HashRef, HashMut     the face: commands do not see which form a hash has
//!  ├─ packed            few short fields: one run of bytes in the entry, `field value field value ...`
//!  └─ Hash              everything else: a table of members, their deadlines in a tree beside it
//! ```
//!
//! A hash begins packed and becomes a table when it gets more fields, or a longer field or value, than its limits allow, or
//! when a field gets a deadline. It never goes back.
//!
//! What must stay true:
//! - a field whose deadline has passed is never given out and counts as absent wherever a field is looked up; it stays in the
//!   table, and in the number of fields, until somebody takes it out ([`Hash::take_due`]) or sets it anew;
//! - a packed hash has no deadlines.

mod deadlines;
mod face;
mod sample;
mod table;

pub use face::{HashLimits, HashMut, HashRef};
pub use table::{FieldDeadline, Hash, SetField};
