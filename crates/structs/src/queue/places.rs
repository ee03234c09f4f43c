//! The messages of a queue in the order of their places, and which of them are to be handed out.
//!
//! ```text
//!  tree     first place ──► number of the chunk
//!  chunk    [ m m . m m m . m m ]     up to 64 messages in order; a dot: gone
//!           [ 1 0 . 0 1 1 . 1 1 ]     ready
//!           [ 1 0 . 0 0 1 . 0 1 ]     offered: the same, unless a ready message has to wait for its group
//!  lines    chunks with a bit set     see `lines`
//! ```
//!
//! New messages come at the end, so chunks are filled one after the other. A chunk that has become empty is freed at once,
//! and one that few are left of is put together with its neighbour, so that single messages that stay for long do not
//! keep the memory of those that went. No step looks at more than two chunks.
//!
//! What must stay true: places rise within a chunk and from chunk to chunk; bits are set for messages that are there; the
//! lines name the chunks whose bits they stand for; no chunk but the last is empty.

use std::collections::BTreeMap;

use super::lines::Lines;
use super::record::Record;

/// Messages of a chunk: as many as a word has bits.
const CHUNK_LEN: usize = 64;
/// Two neighbours that have no more messages than this are put together.
const MERGED_LEN_MAX: u32 = 48;
/// A chunk looks at its neighbours whenever so many messages are left: half of the above, and whenever that is halved.
const MERGE_TRIED_AT: [u32; 5] = [24, 12, 6, 3, 1];
/// Chunks of a segment of the table of chunks.
const SEGMENT_LEN: usize = 256;
/// An empty queue keeps the memory of no more messages than this.
const KEPT_LEN_MAX: usize = 16;
/// What a chunk takes beside its messages, about: itself, and its entries in the tree and in a line.
const CHUNK_BYTES: usize = size_of::<Chunk>() + 2 * 24;

/// Where a message is. Good until a message is put in or taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    chunk: u32,
    slot: u8,
}

/// Which bits are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bits {
    /// The message is ready.
    Ready = 0,
    /// It may be handed out now.
    Offered = 1,
}

/// The messages in order.
#[derive(Debug)]
pub(super) struct Places {
    tree: BTreeMap<u64, u32>,
    chunks: Chunks,
    /// The last chunk.
    tail: Option<u32>,
    /// By [`Bits`].
    lines: [Lines; 2],
    /// How many are ready, by priority, where there are several.
    by_priority: Vec<u64>,
    len: u64,
    /// Messages for which there is memory.
    slots: usize,
}

/// Chunks by their numbers. Grows without moving them.
#[derive(Clone, Debug, Default)]
struct Chunks {
    segments: Vec<Vec<Chunk>>,
    free: Vec<u32>,
}

#[derive(Clone, Debug, Default)]
struct Chunk {
    slots: Vec<Slot>,
    live: u64,
    /// By [`Bits`].
    bits: [u64; 2],
}

#[derive(Clone, Debug)]
struct Slot {
    /// The place; it stays when the message goes.
    key: u64,
    record: Option<Record>,
}

impl Places {
    /// For messages of priorities up to `max_priority`.
    pub(super) fn new(max_priority: u8) -> Places {
        Places {
            by_priority: Vec::new(),
            tree: BTreeMap::new(),
            chunks: Chunks::default(),
            tail: None,
            lines: [Lines::new(max_priority), Lines::new(max_priority)],
            len: 0,
            slots: 0,
        }
    }

    /// How many messages of each priority are ready, the highest first; nothing where there is one priority.
    pub(super) fn ready_by_priority(&self) -> impl Iterator<Item = (u8, u64)> + '_ {
        self.by_priority.iter().enumerate().rev().map(|(priority, &count)| (priority as u8, count))
    }

    /// Number of messages.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Bytes on the heap, without what records own. O(number of priorities).
    pub(super) fn memory_bytes(&self) -> usize {
        let levels: usize = self.lines.iter().map(Lines::level_bytes).sum();
        self.slots * size_of::<Slot>() + self.tree.len() * CHUNK_BYTES + levels + self.by_priority.capacity() * 8
    }

    /// Number of pieces of memory, without what records own.
    pub(super) fn pieces(&self) -> usize {
        self.tree.len()
    }

    /// Where the message at a place is.
    #[inline]
    pub(super) fn find(&self, key: u64) -> Option<Spot> {
        let tail = self.tail?;
        // Many queues have one chunk, and who asks whether a new place is taken need not search.
        let chunk = match key >= self.chunks.get(tail).slots[0].key {
            true => tail,
            false => *self.tree.range(..=key).next_back()?.1,
        };
        let slot = self.chunks.get(chunk).find(key)?;
        Some(Spot { chunk, slot: slot as u8 })
    }

    /// The place of a message.
    #[inline]
    pub(super) fn key(&self, spot: Spot) -> u64 {
        self.chunks.get(spot.chunk).slots[usize::from(spot.slot)].key
    }

    /// The message at a spot.
    #[inline]
    pub(super) fn record(&self, spot: Spot) -> &Record {
        self.chunks.get(spot.chunk).record(usize::from(spot.slot))
    }

    /// The message at a spot, to be changed; not its priority.
    #[inline]
    pub(super) fn record_mut(&mut self, spot: Spot) -> &mut Record {
        let slot = &mut self.chunks.get_mut(spot.chunk).slots[usize::from(spot.slot)];
        slot.record.as_mut().expect("a spot is that of a message")
    }

    /// Whether a bit is set.
    #[inline]
    pub(super) fn has(&self, spot: Spot, bits: Bits) -> bool {
        self.chunks.get(spot.chunk).bits[bits as usize] >> spot.slot & 1 == 1
    }

    /// Sets or clears a bit.
    #[inline]
    pub(super) fn set(&mut self, spot: Spot, bits: Bits, is_set: bool) {
        let chunk = self.chunks.get_mut(spot.chunk);
        let at = (chunk.slots[0].key, spot.chunk);
        let priority = chunk.record(usize::from(spot.slot)).priority;
        let before = chunk.bits[bits as usize];
        let bit = 1 << spot.slot;
        let lines = &mut self.lines[bits as usize];
        if lines.has_levels() && bits == Bits::Ready {
            if self.by_priority.len() <= usize::from(priority) {
                self.by_priority.resize(usize::from(priority) + 1, 0);
            }
            let count = &mut self.by_priority[usize::from(priority)];
            *count = if is_set { *count + 1 } else { *count - 1 };
        }
        if is_set {
            chunk.bits[bits as usize] = before | bit;
            lines.enter(at, priority, before == 0);
        } else {
            let after = before & !bit;
            chunk.bits[bits as usize] = after;
            let is_last_of_priority = lines.has_levels() && chunk.first_of(after, Some(priority)).is_none();
            lines.leave(at, priority, after == 0, is_last_of_priority);
        }
    }

    /// The message with the lowest place whose bit is set.
    pub(super) fn oldest(&self, bits: Bits) -> Option<Spot> {
        let (_, chunk) = self.lines[bits as usize].first_of_any()?;
        let slot = self.chunks.get(chunk).bits[bits as usize].trailing_zeros();
        Some(Spot { chunk, slot: slot as u8 })
    }

    /// The message of the highest priority, and of those the one with the lowest place, whose bit is set.
    #[inline]
    pub(super) fn first(&self, bits: Bits) -> Option<Spot> {
        let ((_, number), priority) = self.lines[bits as usize].first()?;
        let chunk = self.chunks.get(number);
        let slot = chunk.first_of(chunk.bits[bits as usize], priority)?;
        Some(Spot { chunk: number, slot: slot as u8 })
    }

    /// The messages whose bit is set, higher priorities first, each in the order of places.
    pub(super) fn in_line(&self, bits: Bits) -> impl DoubleEndedIterator<Item = (u64, &Record)> {
        self.lines[bits as usize]
            .all()
            .flat_map(move |(priority, line)| {
                line.flat_map(move |&(_, number)| {
                    let chunk = self.chunks.get(number);
                    let set = chunk.bits[bits as usize];
                    chunk.live(0).filter(move |(slot, _, record)| {
                        set >> slot & 1 == 1 && priority.is_none_or(|priority| record.priority == priority)
                    })
                })
            })
            .map(|(_, key, record)| (key, record))
    }

    /// The same, behind a message that has, or had, this priority and this place.
    pub(super) fn in_line_behind(&self, bits: Bits, priority: u8, key: u64) -> impl Iterator<Item = (u64, &Record)> {
        let first = self.tree.range(..=key).next_back().map_or(0, |(&first, _)| first);
        self.lines[bits as usize]
            .from(priority, first)
            .flat_map(move |(level, line)| {
                line.flat_map(move |&(_, number)| {
                    let chunk = self.chunks.get(number);
                    let set = chunk.bits[bits as usize];
                    chunk.live(0).filter(move |(slot, own, record)| {
                        let is_behind = level.is_some_and(|level| level < priority) || *own > key;
                        is_behind && set >> slot & 1 == 1 && level.is_none_or(|level| record.priority == level)
                    })
                })
            })
            .map(|(_, key, record)| (key, record))
    }

    /// All messages from a place on.
    pub(super) fn from(&self, key: u64) -> impl Iterator<Item = (u64, &Record)> {
        let from = self.tree.range(..=key).next_back().map_or(key, |(&first, _)| first);
        self.tree
            .range(from..)
            .flat_map(|(_, &number)| self.chunks.get(number).live(0))
            .map(|(_, key, record)| (key, record))
            .skip_while(move |(own, _)| *own < key)
    }

    /// All messages behind place `low` up to place `high`, the last one first.
    pub(super) fn back(&self, low: u64, high: u64) -> impl Iterator<Item = (u64, &Record)> {
        self.tree
            .range(..=high)
            .rev()
            .flat_map(|(_, &number)| self.chunks.get(number).live(0).rev())
            .map(|(_, key, record)| (key, record))
            .skip_while(move |(own, _)| *own > high)
            .take_while(move |(own, _)| *own > low)
    }

    /// Puts a message at a place where none is. Its bits are not set.
    #[inline]
    pub(super) fn insert(&mut self, key: u64, record: Record) -> Spot {
        self.len += 1;
        let Some(tail) = self.tail else { return self.begin_chunk(key, record, 4) };
        let chunk = self.chunks.get_mut(tail);
        let last = chunk.slots.len() - 1;
        if key <= chunk.slots[last].key {
            return self.insert_inside(key, record);
        }
        if last + 1 == CHUNK_LEN {
            return self.begin_chunk(key, record, CHUNK_LEN);
        }
        let before = chunk.slots.capacity();
        chunk.live |= 1 << (last + 1);
        chunk.slots.push(Slot { key, record: Some(record) });
        self.slots += chunk.slots.capacity() - before;
        Spot { chunk: tail, slot: last as u8 + 1 }
    }

    /// Takes a message out. Its bits are not set any more.
    #[inline]
    pub(super) fn take(&mut self, spot: Spot) -> Record {
        self.len -= 1;
        let chunk = self.chunks.get_mut(spot.chunk);
        debug_assert!(chunk.bits.iter().all(|bits| bits >> spot.slot & 1 == 0), "its bits are cleared first");
        let record = chunk.slots[usize::from(spot.slot)].record.take().expect("a spot is that of a message");
        chunk.live &= !(1 << spot.slot);
        let left = chunk.live.count_ones();
        if left == 0 {
            let is_kept = self.tail == Some(spot.chunk)
                && chunk.slots.len() < CHUNK_LEN
                && (self.len > 0 || chunk.slots.capacity() <= KEPT_LEN_MAX);
            if !is_kept {
                self.drop_chunk(spot.chunk);
            }
        } else if MERGE_TRIED_AT.contains(&left) {
            self.merge(spot.chunk);
        }
        record
    }

    /// Parts with every message whose bit says that it is ready, of which there are some; those that stay are `staying`. Gives
    /// the table as it was, to be dropped or to be read: if `copies`, what stays is in it as well. O(1) if nothing stays, else
    /// O(chunks + messages that stay).
    pub(super) fn part_with_ready(&mut self, staying: u64, copies: bool) -> Places {
        let has_levels = self.lines[Bits::Ready as usize].has_levels();
        let mut was = std::mem::replace(self, Places::new(u8::from(has_levels)));
        if staying == 0 {
            return was;
        }
        let mut packed: Vec<(Slot, [bool; 2])> = Vec::new();
        for &number in was.tree.values() {
            let chunk = was.chunks.get_mut(number);
            let mut stays = chunk.live & !chunk.bits[Bits::Ready as usize];
            if stays == chunk.live && stays.count_ones() > MERGED_LEN_MAX / 2 && !copies {
                self.put_packed(&mut packed);
                self.put_chunk(std::mem::take(chunk));
                continue;
            }
            while stays != 0 {
                let slot = &mut chunk.slots[stays.trailing_zeros() as usize];
                let record = if copies { slot.record.clone() } else { slot.record.take() };
                packed.push((Slot { key: slot.key, record }, [false; 2]));
                if packed.len() == CHUNK_LEN {
                    self.put_packed(&mut packed);
                }
                stays &= stays - 1;
            }
        }
        self.put_packed(&mut packed);
        self.len = staying;
        debug_assert_eq!(self.from(0).count() as u64, staying, "what is not ready stays");
        was
    }

    /// Makes a chunk of messages, if there are any.
    fn put_packed(&mut self, packed: &mut Vec<(Slot, [bool; 2])>) {
        if !packed.is_empty() {
            self.put_chunk(Chunk::of(std::mem::take(packed)));
        }
    }

    /// Of a table that is only read any more: drops what is in front of a place, roughly.
    pub(super) fn forget_before(&mut self, key: u64) {
        while let Some(first) = self.tree.first_entry()
            && self.chunks.get(*first.get()).slots.last().is_none_or(|last| last.key < key)
        {
            let number = first.remove();
            self.chunks.get_mut(number).slots = Vec::new();
        }
    }

    /// A message in a chunk of its own, behind all others.
    fn begin_chunk(&mut self, key: u64, record: Record, capacity: usize) -> Spot {
        if let Some(tail) = self.tail
            && self.chunks.get(tail).live == 0
        {
            self.drop_chunk(tail);
        }
        let mut slots = Vec::with_capacity(capacity);
        slots.push(Slot { key, record: Some(record) });
        let chunk = self.put_chunk(Chunk { slots, live: 1, bits: [0; 2] });
        Spot { chunk, slot: 0 }
    }

    /// Puts a message where it is not the last.
    fn insert_inside(&mut self, key: u64, record: Record) -> Spot {
        let number = match self.tree.range(..=key).next_back().or_else(|| self.tree.first_key_value()) {
            Some((_, &number)) => number,
            None => return self.begin_chunk(key, record, 4),
        };
        let old = self.take_chunk(number);
        let at = old.slots.partition_point(|slot| slot.key < key);
        let mut slots: Vec<(Slot, [bool; 2])> = Vec::with_capacity(CHUNK_LEN + 1);
        let mut new = Some(Slot { key, record: Some(record) });
        for (index, slot) in old.slots.into_iter().enumerate() {
            if index == at {
                slots.extend(new.take().map(|new| (new, [false; 2])));
            }
            if slot.record.is_some() {
                slots.push((slot, old.bits.map(|bits| bits >> index & 1 == 1)));
            }
        }
        slots.extend(new.map(|new| (new, [false; 2])));
        let behind = if slots.len() > CHUNK_LEN { slots.split_off(slots.len() / 2) } else { Vec::new() };
        for part in [slots, behind] {
            if !part.is_empty() {
                self.put_chunk(Chunk::of(part));
            }
        }
        self.find(key).expect("it was put in")
    }

    /// Puts a chunk together with a neighbour, if both are small.
    fn merge(&mut self, number: u32) {
        let chunk = self.chunks.get(number);
        let (first, count) = (chunk.slots[0].key, chunk.live.count_ones());
        let is_small = |other: &u32| self.chunks.get(*other).live.count_ones() + count <= MERGED_LEN_MAX;
        let behind = self.tree.range(first + 1..).next().map(|(_, &other)| other).filter(is_small);
        let pair = match behind {
            Some(behind) => Some((number, behind)),
            None => self.tree.range(..first).next_back().map(|(_, &other)| other).filter(is_small).map(|o| (o, number)),
        };
        let Some((front, behind)) = pair else { return };
        let mut slots = Vec::with_capacity(CHUNK_LEN);
        for number in [front, behind] {
            let old = self.take_chunk(number);
            let live = old.slots.into_iter().enumerate().filter(|(_, slot)| slot.record.is_some());
            slots.extend(live.map(|(index, slot)| (slot, old.bits.map(|bits| bits >> index & 1 == 1))));
        }
        self.put_chunk(Chunk::of(slots));
    }

    /// Adds a chunk to the tree and to the lines.
    fn put_chunk(&mut self, chunk: Chunk) -> u32 {
        let first = chunk.slots[0].key;
        self.slots += chunk.slots.capacity();
        let number = self.chunks.put(chunk);
        self.list(number, true);
        self.tree.insert(first, number);
        self.find_tail();
        number
    }

    /// The other way.
    fn take_chunk(&mut self, number: u32) -> Chunk {
        self.list(number, false);
        let chunk = self.chunks.take(number);
        self.slots -= chunk.slots.capacity();
        self.tree.remove(&chunk.slots[0].key);
        self.find_tail();
        chunk
    }

    fn drop_chunk(&mut self, number: u32) {
        drop(self.take_chunk(number));
        if self.len == 0
            && let Some(tail) = self.tail
            && self.chunks.get(tail).slots.capacity() > KEPT_LEN_MAX
        {
            drop(self.take_chunk(tail));
        }
        if self.tree.is_empty() {
            self.chunks = Chunks::default();
        }
    }

    fn find_tail(&mut self) {
        self.tail = self.tree.last_key_value().map(|(_, &number)| number);
    }

    /// Adds a chunk to all lines that it belongs to, or takes it out of them.
    fn list(&mut self, number: u32, is_listed: bool) {
        let chunk = self.chunks.get(number);
        let at = (chunk.slots[0].key, number);
        for (lines, mut bits) in self.lines.iter_mut().zip(chunk.bits) {
            while bits != 0 {
                let priority = chunk.record(bits.trailing_zeros() as usize).priority;
                match is_listed {
                    true => lines.enter(at, priority, true),
                    false => lines.leave(at, priority, true, true),
                }
                bits &= if lines.has_levels() { bits - 1 } else { 0 };
            }
        }
    }

    /// Checks what must stay true.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let (mut len, mut slots, mut last) = (0, 0, None);
        let mut lines = [Vec::new(), Vec::new()];
        for (&first, &number) in &self.tree {
            let chunk = self.chunks.get(number);
            assert_eq!(chunk.slots[0].key, first);
            assert!(chunk.slots.len() <= CHUNK_LEN && (chunk.live != 0 || self.tail == Some(number)));
            slots += chunk.slots.capacity();
            for (index, slot) in chunk.slots.iter().enumerate() {
                assert!(last < Some(slot.key), "places rise");
                last = Some(slot.key);
                assert_eq!(slot.record.is_some(), chunk.live >> index & 1 == 1);
                len += u64::from(slot.record.is_some());
                for (bits, lines) in lines.iter_mut().enumerate() {
                    if chunk.bits[bits] >> index & 1 == 1 {
                        let priority = slot.record.as_ref().expect("a bit is a message's").priority;
                        let priority = if self.lines[bits].has_levels() { priority } else { 0 };
                        lines.push((priority, (first, number)));
                    }
                }
            }
        }
        assert_eq!((len, slots), (self.len, self.slots));
        assert_eq!(self.tail, self.tree.last_key_value().map(|(_, &number)| number));
        for (lines, mut expected) in self.lines.iter().zip(lines) {
            expected.sort_unstable();
            expected.dedup();
            let any = expected.iter().map(|(_, chunk)| *chunk).min();
            let mut listed: Vec<_> =
                lines.all().flat_map(|(level, line)| line.map(move |chunk| (level.unwrap_or(0), *chunk))).collect();
            listed.sort_unstable();
            assert_eq!(listed, expected);
            assert_eq!(lines.first_of_any(), any);
        }
    }
}

impl Clone for Places {
    fn clone(&self) -> Places {
        let mut clone = Places {
            tree: self.tree.clone(),
            chunks: self.chunks.clone(),
            lines: self.lines.clone(),
            by_priority: self.by_priority.clone(),
            ..*self
        };
        // A copy of a chunk has no room to spare.
        clone.slots = clone.tree.values().map(|&number| clone.chunks.get(number).slots.capacity()).sum();
        clone
    }
}

impl Chunk {
    /// Of messages in order with their bits.
    fn of(slots: Vec<(Slot, [bool; 2])>) -> Chunk {
        let mut chunk = Chunk { slots: Vec::with_capacity(slots.len()), live: 0, bits: [0; 2] };
        for (index, (slot, set)) in slots.into_iter().enumerate() {
            chunk.live |= 1 << index;
            for (bits, set) in chunk.bits.iter_mut().zip(set) {
                *bits |= u64::from(set) << index;
            }
            chunk.slots.push(slot);
        }
        chunk
    }

    /// The slot of the message at a place.
    #[inline]
    fn find(&self, key: u64) -> Option<usize> {
        if self.slots.last().is_none_or(|last| last.key < key) {
            return None;
        }
        // Places of messages that came together follow one another.
        let guess = usize::try_from(key.wrapping_sub(self.slots[0].key)).unwrap_or(usize::MAX);
        let slot = match self.slots.get(guess) {
            Some(slot) if slot.key == key => guess,
            _ => self.slots.binary_search_by_key(&key, |slot| slot.key).ok()?,
        };
        (self.live >> slot & 1 == 1).then_some(slot)
    }

    #[inline]
    fn record(&self, slot: usize) -> &Record {
        self.slots[slot].record.as_ref().expect("a spot is that of a message")
    }

    /// The first of the slots with a bit set whose message has the priority.
    #[inline]
    fn first_of(&self, mut bits: u64, priority: Option<u8>) -> Option<usize> {
        while bits != 0 {
            let slot = bits.trailing_zeros() as usize;
            if priority.is_none_or(|priority| self.record(slot).priority == priority) {
                return Some(slot);
            }
            bits &= bits - 1;
        }
        None
    }

    /// The messages from a slot on: slot, place, message.
    fn live(&self, from: usize) -> impl DoubleEndedIterator<Item = (usize, u64, &Record)> {
        let slots = self.slots.iter().enumerate().skip(from);
        slots.filter_map(|(index, slot)| Some((index, slot.key, slot.record.as_ref()?)))
    }
}

impl Chunks {
    #[inline]
    fn get(&self, number: u32) -> &Chunk {
        &self.segments[number as usize / SEGMENT_LEN][number as usize % SEGMENT_LEN]
    }

    #[inline]
    fn get_mut(&mut self, number: u32) -> &mut Chunk {
        &mut self.segments[number as usize / SEGMENT_LEN][number as usize % SEGMENT_LEN]
    }

    fn put(&mut self, chunk: Chunk) -> u32 {
        if let Some(number) = self.free.pop() {
            *self.get_mut(number) = chunk;
            return number;
        }
        if self.segments.last().is_none_or(|segment| segment.len() == SEGMENT_LEN) {
            // The first one of a small queue should be small.
            let capacity = if self.segments.is_empty() { 1 } else { SEGMENT_LEN };
            self.segments.push(Vec::with_capacity(capacity));
        }
        let before = (self.segments.len() - 1) * SEGMENT_LEN;
        let segment = self.segments.last_mut().expect("there is one now");
        segment.push(chunk);
        u32::try_from(before + segment.len() - 1).expect("fewer than 2^38 messages fit in memory")
    }

    fn take(&mut self, number: u32) -> Chunk {
        self.free.push(number);
        std::mem::take(self.get_mut(number))
    }
}
