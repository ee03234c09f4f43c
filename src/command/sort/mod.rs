//! SORT and SORT_RO: the elements of a list, a set or a sorted set in an order, or what other keys say of them.
//!
//! ```text
//!  run       the commands: options, which elements, what is replied or stored
//!  pattern   the keys that BY and GET name for an element
//!  order     elements with what they are compared by, put in order
//! ```

mod order;
mod pattern;
mod run;

pub use run::COMMANDS;
