//! Client-side caching: what has to be told to clients that keep copies of values.
//!
//! ```text
//!  a client reads a key ──► Table: key ► its readers ──► the key changes: its readers are told, the key leaves
//!  a client gives prefixes ──► Prefixes: prefix ► who wants it ──► keys that change in a turn: one message a prefix
//! ```
//!
//! Two ways of tracking: by default the server remembers which keys a client has read ([`Table`]); a client that chose
//! broadcasting is told of every key that begins with one of its prefixes ([`Prefixes`], [`Broadcast`]). A [`Tracker`] is
//! what a client has chosen.
//!
//! Invariant: nothing here knows connections or sends anything. A client is a [`TrackerId`], and names of keys have no
//! database: as in Redis, a change in any of them counts.

mod broadcast;
mod prefixes;
mod table;
mod tracker;

pub use broadcast::{Broadcast, PrefixChanges};
pub use prefixes::{PrefixAt, Prefixes};
pub use table::{Readers, Table, TrackerId};
pub use tracker::{Mode, Refused, Request, Tracker};
