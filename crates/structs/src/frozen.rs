//! Frozen collections: the state of one moment, given out in parts while the collection goes on changing.
//!
//! ```text
//!  freeze ──► give_frozen, give_frozen, ...                        ──► thawed by itself
//!               │ what was saved since the last time
//!               │ the next part of what is still as it was
//!               ▼
//!  meanwhile  ──► before something is changed that was not given yet, it is copied aside
//! ```
//!
//! What is frozen costs nothing to copy and little to begin: a collection of millions of elements is as long frozen as
//! it takes to write it, and pays for what changes in that time. Tables remember which positions were saved
//! ([`SnapshotWalk`](crate::snapshot_walk)), sorted sets are walked from the highest rank down, lists and streams are given
//! in order. What is large is shared or moved aside instead of copied.
//!
//! What must stay true: the parts that are given, all together, are the collection of the moment in which it was frozen,
//! each element once, and as many as its head says. A collection that is taken out of its entry stays frozen; a copy
//! is not.

use crate::list::ListPart;
use crate::queue::{Parcel, SharedAs};
use crate::stream::StreamPart;
use std::cell::Cell;

/// What is left of a frozen state when it is thawed early: many pieces of memory, better dropped on another thread.
pub type Kept = Box<dyn Send>;

/// What a frozen collection is, as the header of its record wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrozenHead {
    /// A hash of so many fields, expired ones included; the earliest deadline of a field, if any had one.
    Hash {
        /// Number of fields.
        len: usize,
        /// Unix milliseconds.
        least_deadline_ms: Option<i64>,
    },
    /// A set of so many members.
    Set {
        /// Number of members.
        len: usize,
    },
    /// A sorted set of so many members.
    Zset {
        /// Number of members.
        len: usize,
    },
    /// A list.
    List {
        /// Number of elements.
        len: usize,
        /// Number of parts in which they are given.
        chunks: usize,
    },
    /// A stream.
    Stream {
        /// Number of parts in which its entries are given.
        blocks: usize,
        /// Whether what is remembered of producers is given as well.
        producers: bool,
    },
    /// A queue of the broker.
    Queue,
    /// An exchange of the broker.
    Exchange,
    /// A store of the registry.
    Tree,
}

/// A part of a frozen collection.
#[derive(Clone, Copy, Debug)]
pub enum FrozenPart<'a> {
    /// A field of a hash.
    Field {
        /// Its name.
        field: &'a [u8],
        /// Its value.
        value: &'a [u8],
        /// Unix milliseconds; it may have passed.
        deadline_ms: Option<i64>,
    },
    /// A member of a set.
    Member(&'a [u8]),
    /// A member of a sorted set.
    Scored {
        /// Its name.
        member: &'a [u8],
        /// Its score.
        score: f64,
    },
    /// Some elements of a list, the next ones in order.
    Elements(ListPart<'a>),
    /// A part of a stream.
    Stream(StreamPart<'a>),
    /// The next piece of a queue, an exchange or a store, as it encodes itself.
    Piece(&'a [u8]),
    /// A question: how a parcel that other queues have as well is to be written in the piece that comes next. In full, if nobody
    /// answers.
    Shared(&'a Parcel, &'a Cell<SharedAs>),
}

/// What an element counts against a budget: long ones more than short ones.
#[inline]
pub(crate) fn weight(bytes: usize) -> usize {
    1 + bytes / BYTES_PER_WEIGHT
}

/// So many bytes take as long to be encoded as a further short element.
const BYTES_PER_WEIGHT: usize = 512;

mod place;

#[cfg(test)]
mod tests;
