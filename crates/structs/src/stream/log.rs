//! The entries of a stream, and the counters that survive trimming.
//!
//! Entries lie in [blocks](super::block), blocks in an index ordered by the id of their first entry. The last block is
//! being filled; when it is full by `stream-node-max-bytes` or `stream-node-max-entries` it is made exact in size and the
//! next one begins. Trimming takes whole blocks from the front. Redis keeps its nodes by the same rules, and shows
//! them: how much approximate trimming leaves and what XINFO STREAM says of the radix tree depend on them.
//!
//! What must stay true: `len` is the number of entries that are not deleted, and no block is without any; `first_id` is
//! the id of the first of them, `0-0` if there is none; no id is above `last_id`; `payload_bytes` is what blocks have
//! allocated.

use super::StreamId;
use super::block::{Block, Pairs, Raw, Walk};
use super::frozen::FrozenRuns;
use super::runs::{Place, Runs};
use crate::number::format_i64;

/// Bytes (as a listpack) and entries that a block takes at most where the directives set no limit: within one block
/// an entry is found by walking.
const BLOCK_BYTES_MAX: u64 = 1 << 20;
const BLOCK_ENTRIES_MAX: u64 = 1 << 16;

/// When a block is full: `stream-node-max-bytes` and `stream-node-max-entries`. 0 sets no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    /// At most so many entries are looked at, whether they go or stay; 0 sets no limit. Counts only if `approximate`.
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
    pub(super) pairs: Pairs<'a>,
}

impl<'a> Entry<'a> {
    /// Fields and values in the order in which they were added.
    #[inline]
    pub fn pairs(&self) -> Pairs<'a> {
        self.pairs
    }
}

/// The entries of a stream and the counters that survive trimming.
#[derive(Clone, Debug, Default)]
pub struct Log {
    blocks: Runs<Block>,
    len: u64,
    first_id: StreamId,
    last_id: StreamId,
    max_deleted_id: StreamId,
    entries_added: u64,
    payload_bytes: usize,
}

impl Log {
    /// Number of entries. O(1).
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

    /// The id of the first entry, `0-0` if there is none (`recorded-first-entry-id`). O(1).
    #[inline]
    pub fn first_id(&self) -> StreamId {
        self.first_id
    }

    /// The highest id that was deleted, `0-0` if none was. Trimming does not count as deletion.
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
        self.range(StreamId::MIN, StreamId::MAX).next()
    }

    /// The last entry. O(1), unless entries at the end were deleted; then O(entries of a block).
    pub fn last(&self) -> Option<Entry<'_>> {
        self.blocks.last()?.last_entry()
    }

    /// The entry with this id. O(log blocks + entries of a block).
    pub fn get(&self, id: StreamId) -> Option<Entry<'_>> {
        let block = self.blocks.at(self.blocks.at_or_below(id)?)?;
        block.find(id).filter(|raw| !raw.is_deleted()).map(|raw| block.walk().entry(raw))
    }

    /// Whether there is an entry with this id. O(log blocks + entries of a block).
    pub fn contains(&self, id: StreamId) -> bool {
        self.get(id).is_some()
    }

    /// Entries from `start` to `end`, both included, ascending. O(log blocks + entries of a block) to begin.
    #[inline]
    pub fn range(&self, start: StreamId, end: StreamId) -> Range<'_> {
        let mut range = Range { log: self, start, end, next_block: None, walk: Walk::nothing() };
        if start <= end {
            range.next_block = match self.blocks.at_or_below(start) {
                Some(place) if self.blocks.at(place).is_some_and(|block| block.last() < start) => {
                    self.blocks.after(place)
                }
                Some(place) => Some(place),
                None => self.blocks.at_or_above(start),
            };
        }
        range
    }

    /// Entries from `end` down to `start`, both included, descending.
    pub fn range_reversed(&self, start: StreamId, end: StreamId) -> RangeReversed<'_> {
        let next_block = if start <= end { self.blocks.at_or_below(end) } else { None };
        RangeReversed { log: self, start, end, next_block, rest: None, walk: Walk::nothing(), found: Vec::new() }
    }

    /// Number of blocks: what Redis calls `radix-tree-keys`. O(1).
    pub fn node_count(&self) -> u64 {
        self.blocks.len() as u64
    }

    /// Number of nodes that Redis's radix tree over the same blocks has (`radix-tree-nodes`). O(blocks).
    ///
    /// Its keys are the blocks' first ids, 16 bytes each, high byte first. A node stands for each key's end, for each
    /// place where keys part, and for each stretch of bytes in between.
    pub fn radix_tree_nodes(&self) -> u64 {
        let mut nodes = 0;
        // Depths (in bytes) at which the keys so far part from each other, along the path to the last one.
        let mut parted: Vec<u32> = Vec::with_capacity(ID_BYTES as usize);
        let mut last: Option<u128> = None;
        let mut close = |parted: &mut Vec<u32>, down_to: Option<u32>| {
            while let Some(depth) = parted.pop_if(|depth| down_to.is_none_or(|down_to| *depth > down_to)) {
                let parent = parted.last().copied().max(down_to);
                nodes += 1 + u64::from(parent.map_or(depth > 0, |parent| depth > parent + 1));
            }
        };
        let mut leaves = 0;
        for block in self.blocks.iter() {
            let key = u128::from(block.first().ms) << 64 | u128::from(block.first().seq);
            if let Some(last) = last {
                let depth = (last ^ key).leading_zeros() / 8;
                let branch = parted.last().copied().map_or(depth, |top| top.max(depth));
                leaves += 1 + u64::from(ID_BYTES > branch + 1);
                close(&mut parted, Some(depth));
                if parted.last() != Some(&depth) {
                    parted.push(depth);
                }
            }
            last = Some(key);
        }
        match (last, parted.last().copied()) {
            (None, _) => return 1,
            (Some(_), None) => return 2,
            (Some(_), Some(branch)) => leaves += 1 + u64::from(ID_BYTES > branch + 1),
        }
        close(&mut parted, None);
        leaves + nodes
    }

    /// How many entries were ever added up to and with `id`, as far as that can be known: `None` when deletions have
    /// left gaps that nobody counted, and for ids above the last one.
    pub fn entries_up_to(&self, id: StreamId) -> Option<u64> {
        if self.entries_added == 0 {
            return Some(0);
        }
        if self.len == 0 && id <= self.last_id {
            return Some(self.entries_added);
        }
        if id != StreamId::MIN && id < self.max_deleted_id {
            return None;
        }
        match id.cmp(&self.last_id) {
            std::cmp::Ordering::Equal => return Some(self.entries_added),
            std::cmp::Ordering::Greater => return None,
            std::cmp::Ordering::Less => {}
        }
        // Without a deletion behind the first entry, what is missing was missing from the front.
        if self.max_deleted_id == StreamId::MIN || self.max_deleted_id < self.first_id {
            match id.cmp(&self.first_id) {
                std::cmp::Ordering::Less => return self.entries_added.checked_sub(self.len),
                std::cmp::Ordering::Equal => return self.entries_added.checked_sub(self.len)?.checked_add(1),
                std::cmp::Ordering::Greater => {}
            }
        }
        None
    }

    /// Whether an entry at or above `start` was deleted, so that counting on from there is not exact.
    pub(super) fn has_gap_from(&self, start: StreamId) -> bool {
        self.len > 0 && self.max_deleted_id != StreamId::MIN && start <= self.max_deleted_id
    }

    /// Freezes the blocks. O(1).
    pub(super) fn freeze(&mut self) {
        self.blocks.freeze();
    }

    /// Whether blocks of the frozen state are still to be given.
    pub(super) fn is_frozen(&self) -> bool {
        self.blocks.is_frozen()
    }

    /// Gives blocks of the frozen state to `visit`. What is left of the budget.
    pub(super) fn give_frozen(&mut self, budget: usize, visit: impl FnMut(&Block)) -> usize {
        self.blocks.give_frozen(budget, visit)
    }

    /// Forgets the frozen state; what is left of it is handed out.
    pub(super) fn thaw(&mut self) -> Option<Box<FrozenRuns<Block>>> {
        self.blocks.thaw()
    }

    /// All bytes that the log owns besides itself. O(1).
    #[inline]
    pub(super) fn memory_bytes(&self) -> usize {
        self.payload_bytes + self.blocks.memory_bytes()
    }

    /// Appends an entry, unless its id is not above the last one.
    pub(super) fn append<'p>(
        &mut self,
        id: StreamId,
        pairs: impl Iterator<Item = (&'p [u8], &'p [u8])> + Clone,
        limits: NodeLimits,
    ) -> bool {
        if id <= self.last_id {
            return false;
        }
        let (mut fits, mut room) = (false, Vec::new());
        if let Some(block) = self.blocks.last_mut() {
            let payload = pairs.clone().fold(0, |sum, (field, value)| sum + (field.len() + value.len()) as u64);
            let entries_max =
                if limits.entries == 0 { BLOCK_ENTRIES_MAX } else { limits.entries.min(BLOCK_ENTRIES_MAX) };
            let bytes_max = if limits.bytes == 0 { BLOCK_BYTES_MAX } else { limits.bytes.min(BLOCK_BYTES_MAX) };
            fits = u64::from(block.total()) < entries_max && block.listpack_bytes() + payload < bytes_max;
            self.payload_bytes -= block.memory_bytes();
            if fits {
                block.push(id, pairs.clone());
            } else {
                room = block.finish();
            }
            self.payload_bytes += block.memory_bytes();
        }
        if !fits {
            let block = Block::new(id, pairs, room);
            self.payload_bytes += block.memory_bytes();
            self.blocks.insert(block);
        }
        self.len += 1;
        self.entries_added = self.entries_added.saturating_add(1);
        self.last_id = id;
        if self.len == 1 {
            self.first_id = id;
        }
        true
    }

    /// Deletes one entry. False if there is none of this id.
    pub(super) fn delete(&mut self, id: StreamId) -> bool {
        let Some(place) = self.blocks.at_or_below(id) else { return false };
        let found = self.blocks.at(place).and_then(|block| block.find(id)).filter(|raw| !raw.is_deleted());
        let Some(at) = found.map(|raw| raw.at) else { return false };
        let Some(block) = self.blocks.at_mut(place) else { return false };
        if !block.delete(at) {
            return false;
        }
        if block.live() == 0 {
            self.remove_block(place);
        }
        self.len -= 1;
        self.max_deleted_id = self.max_deleted_id.max(id);
        if id == self.first_id {
            self.find_first_id();
        }
        true
    }

    /// Deletes entries from the front until the threshold holds, and returns how many.
    ///
    /// Without `may_go` whole blocks go unread. With it each entry up to `kept_above` is asked for; those that may not
    /// go stay, and trimming passes over them. Entries above `kept_above` stay unasked.
    pub(super) fn trim(
        &mut self,
        trim: Trim,
        kept_above: StreamId,
        mut may_go: Option<&mut dyn FnMut(StreamId) -> bool>,
    ) -> u64 {
        let (mut looked_at, mut deleted) = (0, 0);
        while may_go.is_none()
            && let Some(gone) = self.trim_run(trim, kept_above, looked_at)
        {
            looked_at += gone;
            deleted += gone;
        }
        let mut next = self.blocks.at_or_above(StreamId::MIN);
        while let Some(place) = next {
            let Some(block) = self.blocks.at(place) else { break };
            let live = u64::from(block.live());
            if matches!(trim.threshold, Threshold::MaxLen(max) if self.len <= max)
                || (trim.approximate && trim.limit > 0 && looked_at + live > trim.limit)
                || block.first() > kept_above
            {
                break;
            }
            looked_at += live;
            let whole = match trim.threshold {
                Threshold::MaxLen(max) => self.len - live >= max,
                Threshold::MinId(id) => block.last() < id,
            };
            if trim.approximate && !whole {
                break;
            }
            let before = block.live();
            if whole && may_go.is_none() {
                self.len -= live;
                deleted += live;
                next = self.remove_block_and_go_on(place);
                continue;
            }
            // Where each entry is asked for, or the block stays in part.
            let mut over = match trim.threshold {
                Threshold::MaxLen(max) => self.len - max,
                Threshold::MinId(_) => u64::MAX,
            };
            let mut go = Vec::new();
            for raw in block.walk() {
                if over == 0 || raw.id > kept_above || matches!(trim.threshold, Threshold::MinId(id) if raw.id >= id) {
                    break;
                }
                if !raw.is_deleted() && may_go.as_mut().is_none_or(|may_go| may_go(raw.id)) {
                    go.push(raw.at);
                    over -= 1;
                }
            }
            if go.is_empty() {
                if !whole {
                    break;
                }
                next = self.blocks.after(place);
                continue;
            }
            let Some(block) = self.blocks.at_mut(place) else { break };
            for at in go {
                block.delete(at);
            }
            let gone = u64::from(before - block.live());
            let emptied = block.live() == 0;
            self.len -= gone;
            deleted += gone;
            next = if emptied { self.remove_block_and_go_on(place) } else { self.blocks.after(place) };
            if !whole {
                break;
            }
        }
        if deleted > 0 {
            self.find_first_id();
        }
        deleted
    }

    /// Deletes all blocks of the first run, if all of them are to go, and returns how many entries that were. A step for each
    /// block, which is not looked into.
    fn trim_run(&mut self, trim: Trim, kept_above: StreamId, looked_at: u64) -> Option<u64> {
        let last = self.blocks.first_run().next_back()?;
        let (last_block, last_id) = (last.first(), last.last());
        let (live, bytes) = self
            .blocks
            .first_run()
            .fold((0, 0), |(live, bytes), block| (live + u64::from(block.live()), bytes + block.memory_bytes()));
        let whole = match trim.threshold {
            Threshold::MaxLen(max) => self.len > max && self.len - live >= max,
            Threshold::MinId(id) => last_id < id,
        };
        if !whole || last_block > kept_above || trim.approximate && trim.limit > 0 && looked_at + live > trim.limit {
            return None;
        }
        self.blocks.discard_first_run();
        self.payload_bytes -= bytes;
        self.len -= live;
        Some(live)
    }

    /// Sets the last id and, where given, the counters.
    pub(super) fn set_id(&mut self, last_id: StreamId, entries_added: Option<u64>, max_deleted_id: Option<StreamId>) {
        self.last_id = last_id;
        self.entries_added = entries_added.unwrap_or(self.entries_added);
        self.max_deleted_id = max_deleted_id.unwrap_or(self.max_deleted_id);
    }

    #[cfg(test)]
    pub(super) fn check(&self) {
        assert_eq!(self.payload_bytes, self.blocks.iter().map(Block::memory_bytes).sum::<usize>());
        assert_eq!(self.len, self.blocks.iter().map(|block| u64::from(block.live())).sum::<u64>());
        self.blocks.check_bytes();
    }

    fn remove_block(&mut self, place: Place) {
        if let Some(block) = self.blocks.at(place) {
            self.payload_bytes -= block.memory_bytes();
            self.blocks.discard_at(place);
        }
    }

    /// Removes a block and returns where the one behind it is now.
    fn remove_block_and_go_on(&mut self, place: Place) -> Option<Place> {
        let id = self.blocks.at(place)?.first();
        self.remove_block(place);
        self.blocks.at_or_above(id)
    }

    fn find_first_id(&mut self) {
        self.first_id = self
            .blocks
            .first()
            .and_then(|block| block.walk().find(|raw| !raw.is_deleted()))
            .map_or(StreamId::MIN, |raw| raw.id);
    }
}

/// Bytes of an id as a key of Redis's radix tree.
const ID_BYTES: u32 = 16;

/// Entries in ascending order of id.
#[derive(Clone, Debug)]
pub struct Range<'a> {
    log: &'a Log,
    start: StreamId,
    end: StreamId,
    next_block: Option<Place>,
    walk: Walk<'a>,
}

impl<'a> Iterator for Range<'a> {
    type Item = Entry<'a>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            while let Some(raw) = self.walk.next() {
                if raw.id > self.end {
                    (self.walk, self.next_block) = (Walk::nothing(), None);
                    return None;
                }
                if !raw.is_deleted() && raw.id >= self.start {
                    return Some(self.walk.entry(raw));
                }
            }
            let place = self.next_block?;
            self.walk = self.log.blocks.at(place)?.walk();
            self.next_block = self.log.blocks.after(place);
        }
    }
}

/// Entries in descending order of id.
#[derive(Clone, Debug)]
pub struct RangeReversed<'a> {
    log: &'a Log,
    start: StreamId,
    end: StreamId,
    next_block: Option<Place>,
    /// A block whose last entry was given without walking it: often nobody asks for more.
    rest: Option<Place>,
    walk: Walk<'a>,
    /// What is still to come of a block, which can only be walked forwards.
    found: Vec<Raw<'a>>,
}

impl<'a> Iterator for RangeReversed<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            if let Some(raw) = self.found.pop() {
                return Some(self.walk.entry(raw));
            }
            let (start, mut end) = (self.start, self.end);
            let block = if let Some(rest) = self.rest.take() {
                let block = self.log.blocks.at(rest)?;
                end = block.last().previous()?;
                block
            } else {
                let place = self.next_block?;
                let block = self.log.blocks.at(place)?;
                if block.last() < start {
                    self.next_block = None;
                    return None;
                }
                self.next_block = self.log.blocks.before(place);
                if block.last() <= end
                    && let Some(last) = block.very_last_entry()
                {
                    self.rest = Some(place);
                    return Some(last);
                }
                block
            };
            self.walk = block.walk();
            let inside = self.walk.clone().skip_while(|raw| raw.id < start).take_while(|raw| raw.id <= end);
            self.found.extend(inside.filter(|raw| !raw.is_deleted()));
        }
    }
}
