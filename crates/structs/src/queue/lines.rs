//! In which chunks there are messages to hand out, by priority.
//!
//! ```text
//!  priority 9   { chunk 4, chunk 7 }
//!  priority 0   { chunk 1, chunk 4, chunk 6, ... }          any   { chunk 1, chunk 4, chunk 6, chunk 7, ... }
//! ```
//!
//! A line does not name messages: which ones of a chunk are meant is a matter of the chunk's bits. So a message that comes
//! back needs no place of its own in a line, and a line changes once for many messages.
//!
//! What must stay true: a chunk is in `any` if one of its bits is set, and in the line of a priority if one is set whose
//! message has this priority. A queue with one priority has no other line than `any`.

use std::collections::{BTreeSet, btree_set};

/// A chunk: the lowest place in it, and its number.
pub(super) type ChunkAt = (u64, u32);

/// What a chunk takes in a line, about.
const LISTED_BYTES: usize = size_of::<ChunkAt>() * 3 / 2;

/// Which chunks are to be looked at.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    any: BTreeSet<ChunkAt>,
    levels: Option<Box<Levels>>,
}

/// A line for each priority.
#[derive(Clone, Debug, Default)]
struct Levels {
    /// By priority, up to the highest one that was ever used.
    lines: Vec<BTreeSet<ChunkAt>>,
    /// A bit for each priority whose line is not empty.
    used: [u64; 4],
}

impl Lines {
    /// For messages of priorities up to `max_priority`.
    pub(super) fn new(max_priority: u8) -> Lines {
        Lines { any: BTreeSet::new(), levels: (max_priority > 0).then(Box::default) }
    }

    /// Whether there is more than one priority.
    #[inline]
    pub(super) fn has_levels(&self) -> bool {
        self.levels.is_some()
    }

    /// A bit was set for a message of this priority; the first one of its chunk?
    #[inline]
    pub(super) fn enter(&mut self, chunk: ChunkAt, priority: u8, is_first: bool) {
        if is_first {
            self.any.insert(chunk);
        }
        if let Some(levels) = &mut self.levels {
            if levels.lines.len() <= usize::from(priority) {
                levels.lines.resize_with(usize::from(priority) + 1, BTreeSet::new);
            }
            levels.lines[usize::from(priority)].insert(chunk);
            levels.used[usize::from(priority / 64)] |= 1 << (priority % 64);
        }
    }

    /// A bit was cleared, the last one of its chunk, or the last one for a message of this priority?
    #[inline]
    pub(super) fn leave(&mut self, chunk: ChunkAt, priority: u8, is_last: bool, is_last_of_priority: bool) {
        if is_last {
            self.any.remove(&chunk);
        }
        if let Some(levels) = &mut self.levels
            && is_last_of_priority
        {
            let line = &mut levels.lines[usize::from(priority)];
            line.remove(&chunk);
            if line.is_empty() {
                levels.used[usize::from(priority / 64)] &= !(1 << (priority % 64));
            }
        }
    }

    /// The first chunk of all.
    #[inline]
    pub(super) fn first_of_any(&self) -> Option<ChunkAt> {
        self.any.first().copied()
    }

    /// The first chunk of the highest priority, and that priority if there are several.
    #[inline]
    pub(super) fn first(&self) -> Option<(ChunkAt, Option<u8>)> {
        let Some(levels) = &self.levels else { return Some((self.first_of_any()?, None)) };
        let (word, bits) = levels.used.iter().enumerate().rev().find(|(_, bits)| **bits != 0)?;
        let priority = word * 64 + 63 - bits.leading_zeros() as usize;
        Some((*levels.lines[priority].first()?, Some(priority as u8)))
    }

    /// The lines, that of the highest priority first; with its priority if there are several.
    pub(super) fn all(&self) -> impl DoubleEndedIterator<Item = (Option<u8>, btree_set::Iter<'_, ChunkAt>)> {
        let (any, levels) = match &self.levels {
            None => (Some((None, self.any.iter())), &[][..]),
            Some(levels) => (None, &levels.lines[..]),
        };
        let levels = (0..levels.len()).rev().map(|priority| (Some(priority as u8), levels[priority].iter()));
        any.into_iter().chain(levels)
    }

    /// The lines from a priority down, that of this one from a chunk on; with their priorities if there are several.
    pub(super) fn from(
        &self,
        priority: u8,
        first: u64,
    ) -> impl Iterator<Item = (Option<u8>, btree_set::Range<'_, ChunkAt>)> {
        let (any, levels) = match &self.levels {
            None => (Some((None, self.any.range((first, 0)..))), &[][..]),
            Some(levels) => (None, levels.lines.get(..=usize::from(priority)).unwrap_or(&levels.lines)),
        };
        let levels = levels.iter().enumerate().rev().map(move |(level, line)| {
            let from = if level == usize::from(priority) { first } else { 0 };
            (Some(level as u8), line.range((from, 0)..))
        });
        any.into_iter().chain(levels)
    }

    /// Bytes on the heap, about, without those of `any`. O(number of priorities).
    pub(super) fn level_bytes(&self) -> usize {
        self.levels.as_ref().map_or(0, |levels| {
            let lines = levels.lines.capacity() * size_of::<BTreeSet<ChunkAt>>();
            lines + levels.lines.iter().map(BTreeSet::len).sum::<usize>() * LISTED_BYTES
        })
    }
}
