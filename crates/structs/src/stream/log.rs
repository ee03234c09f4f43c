//! The entries of a stream.

use super::StreamId;
use crate::number::format_i64;

/// When a block is full: `stream-node-max-bytes` and `stream-node-max-entries`. 0 sets no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeLimits {
    /// Bytes that the block would take as Redis's listpack.
    pub bytes: u64,
    /// Entries.
    pub entries: u64,
}

/// Where trimming ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threshold {
    /// At most so many entries stay.
    MaxLen(u64),
    /// Entries below this id go.
    MinId(StreamId),
}

/// How a stream is trimmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trim {
    /// Where trimming ends.
    pub threshold: Threshold,
    /// Whole blocks only (`~`).
    pub approximate: bool,
    /// At most so many entries are deleted; 0 sets no limit. Counts only if `approximate`, as in Redis.
    pub limit: u64,
}

/// A value of an entry: as it is stored, an integer in canonical form or bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// An integer; its text is what was added.
    Int(i64),
    /// Anything else.
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    /// Hands the text to `take`, wherever it lies.
    #[inline]
    pub fn with_text<R>(&self, take: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Value::Int(number) => take(&format_i64(*number)),
            Value::Bytes(bytes) => take(bytes),
        }
    }
}

/// An entry of the log.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The entry's id.
    pub id: StreamId,
    pairs: Pairs<'a>,
}

impl<'a> Entry<'a> {
    /// Fields and values in the order in which they were added.
    #[inline]
    pub fn pairs(&self) -> Pairs<'a> {
        self.pairs
    }
}

/// The fields and values of an entry. Its exact length is the number of pairs.
#[derive(Clone, Copy, Debug)]
pub struct Pairs<'a> {
    fields: &'a [u8],
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let _ = self.fields;
        None
    }
}

impl ExactSizeIterator for Pairs<'_> {}

/// Entries in ascending order of id.
#[derive(Clone, Debug)]
pub struct Range<'a> {
    log: &'a Log,
}

impl<'a> Iterator for Range<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let _ = self.log;
        None
    }
}

/// Entries in descending order of id.
#[derive(Clone, Debug)]
pub struct RangeReversed<'a> {
    log: &'a Log,
}

impl<'a> Iterator for RangeReversed<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let _ = self.log;
        None
    }
}

/// The entries of a stream and the counters that survive trimming.
#[derive(Clone, Debug, Default)]
pub struct Log {
    len: u64,
    last_id: StreamId,
    max_deleted_id: StreamId,
    entries_added: u64,
}

impl Log {
    /// Number of entries.
    #[inline]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are no entries.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The highest id that was ever given, or set by XSETID; `0-0` in a fresh stream.
    #[inline]
    pub fn last_id(&self) -> StreamId {
        self.last_id
    }

    /// The id of the first entry, `0-0` if there is none (`recorded-first-entry-id`). O(entries of a block).
    pub fn first_id(&self) -> StreamId {
        StreamId::MIN
    }

    /// The highest id that was deleted, `0-0` if none was.
    #[inline]
    pub fn max_deleted_id(&self) -> StreamId {
        self.max_deleted_id
    }

    /// How many entries were ever added, unless XSETID said otherwise.
    #[inline]
    pub fn entries_added(&self) -> u64 {
        self.entries_added
    }

    /// The first entry. O(entries of a block).
    pub fn first(&self) -> Option<Entry<'_>> {
        None
    }

    /// The last entry. O(entries of a block).
    pub fn last(&self) -> Option<Entry<'_>> {
        None
    }

    /// The entry with this id. O(log blocks + entries of a block).
    pub fn get(&self, id: StreamId) -> Option<Entry<'_>> {
        let _ = id;
        None
    }

    /// Whether there is an entry with this id. O(log blocks + entries of a block).
    pub fn contains(&self, id: StreamId) -> bool {
        let _ = id;
        false
    }

    /// Entries from `start` to `end`, both included, ascending. O(log blocks + entries of a block) to begin.
    pub fn range(&self, start: StreamId, end: StreamId) -> Range<'_> {
        let _ = (start, end);
        Range { log: self }
    }

    /// Entries from `end` down to `start`, both included, descending.
    pub fn range_reversed(&self, start: StreamId, end: StreamId) -> RangeReversed<'_> {
        let _ = (start, end);
        RangeReversed { log: self }
    }

    /// Number of blocks: what Redis calls `radix-tree-keys`. O(1).
    pub fn node_count(&self) -> u64 {
        0
    }

    /// Number of nodes that Redis's radix tree over the same blocks has (`radix-tree-nodes`). O(blocks).
    pub fn radix_tree_nodes(&self) -> u64 {
        1
    }

    /// How many entries were ever added up to and with `id`, as far as that can be known: `None` when deletions have
    /// left gaps that nobody counted.
    pub fn entries_up_to(&self, id: StreamId) -> Option<u64> {
        let _ = id;
        None
    }
}
