//! Lists: sequences that are pushed to and popped from at both ends, and that can be read and changed anywhere.
//!
//! ```text
//!  face      a list as commands see it, however it is stored: a short one as a count and a body in its entry's block
//!  big       a list of any length: operations on a
//!  chain     the chunks in order, in groups, and how the one with an index is found
//!  frozen    which chunks a frozen chain had
//!  chunk     elements with room at both ends; a large one by itself; compressed
//!  body      elements in one run of bytes, walked from both ends
//!  limits    how large a chunk may become, and which lists count as small
//! ```

mod big;
mod body;
mod chain;
mod chunk;
mod face;
mod fill;
mod frozen;
mod limits;

pub use big::{ChunkFigures, Encoding, List, ListPart, ListPartView};
pub use chunk::{Element, End, KeptElement};
pub use face::{ListMut, ListRef};
pub use fill::{ListFill, ListForm};
pub use limits::Limits;
