//! Observers: clients that want to hear of changes, and those who wait for them in a poll.
//!
//! ```text
//!  sealed: a revision is complete ──► index: whom do its paths concern? ──► targets are touched ──► observers are behind
//!                                                                                                    │
//!  frames for clients ◄── history, from each one's cursor on ◄── deliver, bring_up, in slices ◄──────┘
//! ```
//!
//! An observer is a cursor into its store's history. Nothing is kept for it but that: what it has not seen is read from
//! history when there is time and its connection takes it. So one that is slow costs nobody anything, and is only lost where
//! history is. What it is told is each revision that concerns it, once, whole, in order.
//!
//! What must stay true: a revision is told when its unit is over, never before; what a client is told stands in front of the
//! reply to any command that runs later, unless the client rests.

mod deliver;
mod frames;
mod index;
mod paces;
mod polls;
mod ranges;
mod slots;
mod table;
#[cfg(test)]
mod tests;
mod watch;

pub use deliver::{Served, Sight};
pub use frames::{Message, put_event};
pub use polls::{PollEntry, Polled};
pub use table::{LastAnswer, Marks, OBSERVERS_MAX, ObserverFigures, Observers, Standing};
pub use watch::{Watching, Wish};

/// A client for which so many bytes wait is told nothing until its connection has taken some.
pub const OUTPUT_BYTES_MAX: u32 = 1024 * 1024;
