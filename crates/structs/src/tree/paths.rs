//! The paths that are there: found by their hash, walked in order.
//!
//! ```text
//!  index    hash ──► number                  in parts of bounded size
//!  order    path ──► number                  in order of bytes
//!  slots    │ 0 │ 1 │ 2 │ ...  │ 512 │ ...   in blocks; a path that goes is replaced by the last one
//! ```
//!
//! Most of what is asked and written is one path, and a hash finds it with three steps through memory, where the order takes one for
//! each comparison. No step takes longer because there are many paths.
//!
//! What must stay true: index and order have the same numbers, those of all slots.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, btree_map};
use std::hash::BuildHasher;
use std::ops::Bound;
use std::sync::Arc;

use foldhash::quality::RandomState;

use super::Version;
use super::history::EventNumber;
use super::path::{Bounds, between, is_nothing};
use crate::split_table::SplitTable;

/// Slots of a block.
const BLOCK_SLOTS: usize = 512;

/// What a path takes in the order, about.
const ORDER_BYTES: usize = size_of::<(Arc<[u8]>, u32)>() * 3 / 2;

/// A path that is there.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) path: Arc<[u8]>,
    pub(super) version: Version,
    /// Its last event.
    pub(super) last: EventNumber,
}

/// Paths with their slots.
#[derive(Clone, Debug, Default)]
pub(super) struct Paths {
    hashes: RandomState,
    index: SplitTable<u32>,
    order: BTreeMap<Arc<[u8]>, u32>,
    slots: Slots,
}

impl Paths {
    /// Makes paths of slots in order, none of them twice.
    ///
    /// # Panics
    /// If there are more than 32 bits can count.
    pub(super) fn from_sorted(slots: Vec<Slot>) -> Paths {
        let order = slots.iter().enumerate().map(|(at, slot)| (slot.path.clone(), number(at))).collect();
        let mut paths = Paths { order, ..Paths::default() };
        for (at, slot) in slots.into_iter().enumerate() {
            let hash = paths.hash(&slot.path);
            paths.slots.push(Place { hash, slot });
            let Paths { index, slots, .. } = &mut paths;
            index.insert(hash, number(at), |&at| slots.get(at).hash);
        }
        paths
    }

    /// Number of paths.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// A path.
    #[inline]
    pub(super) fn get(&self, path: &[u8]) -> Option<&Slot> {
        self.find(path).map(|at| &self.slots.get(at).slot)
    }

    /// The same, to be changed; but its name stays.
    #[inline]
    pub(super) fn get_mut(&mut self, path: &[u8]) -> Option<&mut Slot> {
        let at = self.find(path)?;
        Some(&mut self.slots.get_mut(at).slot)
    }

    #[inline]
    fn find(&self, path: &[u8]) -> Option<u32> {
        let hash = self.hash(path);
        self.index.find(hash, |&at| self.slots.get(at).is(hash, path)).copied()
    }

    #[inline]
    fn hash(&self, path: &[u8]) -> u64 {
        self.hashes.hash_one(path)
    }

    /// Adds a path that is not there.
    ///
    /// # Panics
    /// If there are more than 32 bits can count.
    pub(super) fn insert(&mut self, slot: Slot) {
        let (hash, at) = (self.hash(&slot.path), number(self.slots.len()));
        self.order.insert(slot.path.clone(), at);
        self.slots.push(Place { hash, slot });
        let Paths { index, slots, .. } = self;
        index.insert(hash, at, |&at| slots.get(at).hash);
    }

    /// Removes a path.
    pub(super) fn remove(&mut self, path: &[u8]) -> Option<Slot> {
        let at = self.find(path)?;
        self.order.remove(path);
        self.take(at)
    }

    /// Removes the paths between bounds. Gives them in order, each with its name as it stood in the order.
    pub(super) fn remove_range(&mut self, (from, to): &Bounds<'_>) -> Vec<(Arc<[u8]>, Slot)> {
        if is_nothing(from, to) {
            return Vec::new();
        }
        let shared = |bound: &Bound<Cow<'_, [u8]>>| bound.as_ref().map(|bytes| Arc::from(&**bytes));
        let names: Vec<(Arc<[u8]>, u32)> = self.order.extract_if((shared(from), shared(to)), |_, _| true).collect();
        // From the highest number down: what takes the place of a slot stays.
        let mut places: Vec<(u32, usize)> = names.iter().enumerate().map(|(place, (_, at))| (*at, place)).collect();
        places.sort_unstable_by_key(|(at, _)| Reverse(*at));
        let mut slots = vec![None; places.len()];
        for (at, place) in places {
            slots[place] = self.take(at);
        }
        names.into_iter().zip(slots).filter_map(|((name, _), slot)| Some((name, slot?))).collect()
    }

    /// Takes out a slot whose path is not in the order any more.
    fn take(&mut self, at: u32) -> Option<Slot> {
        let Paths { index, slots, order, .. } = self;
        index.remove(slots.get(at).hash, |&there| there == at, |&there| slots.get(there).hash)?;
        let last = number(slots.len() - 1);
        if at != last {
            let moved = slots.get(last);
            if let Some(there) = index.find_mut(moved.hash, |&there| there == last) {
                *there = at;
            }
            if let Some(there) = order.get_mut(&moved.slot.path) {
                *there = at;
            }
        }
        slots.swap_remove(at).map(|place| place.slot)
    }

    /// The paths between bounds, in order.
    pub(super) fn range(&self, bounds: &Bounds<'_>) -> Range<'_> {
        Range { order: between(&self.order, bounds), slots: &self.slots }
    }

    /// Heap bytes, about; paths and versions are not among them. O(1).
    pub(super) fn memory_bytes(&self) -> usize {
        self.index.memory_bytes() + self.slots.len() * (size_of::<Place>() + ORDER_BYTES)
    }
}

fn number(at: usize) -> u32 {
    u32::try_from(at).expect("no store has so many paths")
}

/// Paths in order, from both ends.
#[derive(Clone, Debug)]
pub(super) struct Range<'t> {
    order: btree_map::Range<'t, Arc<[u8]>, u32>,
    slots: &'t Slots,
}

impl<'t> Iterator for Range<'t> {
    type Item = &'t Slot;

    #[inline]
    fn next(&mut self) -> Option<&'t Slot> {
        self.order.next().map(|(_, &at)| &self.slots.get(at).slot)
    }
}

impl DoubleEndedIterator for Range<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        self.order.next_back().map(|(_, &at)| &self.slots.get(at).slot)
    }
}

/// A slot with the hash of its path, which is kept so that a part of the index is split without a look at the paths.
#[derive(Clone, Debug)]
struct Place {
    hash: u64,
    slot: Slot,
}

impl Place {
    #[inline]
    fn is(&self, hash: u64, path: &[u8]) -> bool {
        self.hash == hash && *self.slot.path == *path
    }
}

/// Slots by number, in blocks: all but the last one are full.
#[derive(Clone, Debug, Default)]
struct Slots {
    blocks: Vec<Vec<Place>>,
}

impl Slots {
    fn len(&self) -> usize {
        self.blocks.last().map_or(0, |last| (self.blocks.len() - 1) * BLOCK_SLOTS + last.len())
    }

    /// The number is that of a slot.
    #[inline]
    fn get(&self, at: u32) -> &Place {
        &self.blocks[at as usize / BLOCK_SLOTS][at as usize % BLOCK_SLOTS]
    }

    #[inline]
    fn get_mut(&mut self, at: u32) -> &mut Place {
        &mut self.blocks[at as usize / BLOCK_SLOTS][at as usize % BLOCK_SLOTS]
    }

    fn push(&mut self, place: Place) {
        match self.blocks.last_mut() {
            Some(last) if last.len() < BLOCK_SLOTS => last.push(place),
            _ => self.blocks.push(vec![place]),
        }
    }

    /// Takes out a slot; the last one has its number then.
    fn swap_remove(&mut self, at: u32) -> Option<Place> {
        let last_block = self.blocks.last_mut()?;
        let last = last_block.pop()?;
        if last_block.is_empty() {
            self.blocks.pop();
        }
        if at as usize == self.len() {
            return Some(last);
        }
        Some(std::mem::replace(self.get_mut(at), last))
    }
}
