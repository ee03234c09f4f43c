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

use std::collections::{BTreeMap, btree_map};
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::quality::RandomState;

use super::Version;
use super::history::EventNumber;
use super::path::{Bounds, between};
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
            paths.slots.push(slot);
            let Paths { hashes, index, slots, .. } = &mut paths;
            index.insert(hash, number(at), |&at| hash_of(hashes, &slots.get(at).path));
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
        self.find(path).map(|at| self.slots.get(at))
    }

    /// The same, to be changed; but its name stays.
    #[inline]
    pub(super) fn get_mut(&mut self, path: &[u8]) -> Option<&mut Slot> {
        let at = self.find(path)?;
        Some(self.slots.get_mut(at))
    }

    #[inline]
    fn find(&self, path: &[u8]) -> Option<u32> {
        self.index.find(self.hash(path), |&at| *self.slots.get(at).path == *path).copied()
    }

    #[inline]
    fn hash(&self, path: &[u8]) -> u64 {
        hash_of(&self.hashes, path)
    }

    /// Adds a path that is not there.
    ///
    /// # Panics
    /// If there are more than 32 bits can count.
    pub(super) fn insert(&mut self, slot: Slot) {
        let (hash, at) = (self.hash(&slot.path), number(self.slots.len()));
        self.order.insert(slot.path.clone(), at);
        self.slots.push(slot);
        let Paths { hashes, index, slots, .. } = self;
        index.insert(hash, at, |&at| hash_of(hashes, &slots.get(at).path));
    }

    /// Removes a path.
    pub(super) fn remove(&mut self, path: &[u8]) -> Option<Slot> {
        let hash = self.hash(path);
        let Paths { hashes, index, slots, order } = self;
        let hash_at = |&at: &u32| hash_of(hashes, &slots.get(at).path);
        let at = index.remove(hash, |&at| *slots.get(at).path == *path, hash_at)?;
        order.remove(path);
        let last = number(slots.len() - 1);
        if at != last {
            let moved = &slots.get(last).path;
            if let Some(there) = index.find_mut(hash_of(hashes, moved), |&there| there == last) {
                *there = at;
            }
            if let Some(there) = order.get_mut(moved) {
                *there = at;
            }
        }
        slots.swap_remove(at)
    }

    /// The paths between bounds, in order.
    pub(super) fn range(&self, bounds: &Bounds<'_>) -> Range<'_> {
        Range { order: between(&self.order, bounds), slots: &self.slots }
    }

    /// Heap bytes, about; paths and versions are not among them. O(1).
    pub(super) fn memory_bytes(&self) -> usize {
        self.index.memory_bytes() + self.slots.len() * (size_of::<Slot>() + ORDER_BYTES)
    }
}

fn number(at: usize) -> u32 {
    u32::try_from(at).expect("no store has so many paths")
}

#[inline]
fn hash_of(hashes: &RandomState, path: &[u8]) -> u64 {
    hashes.hash_one(path)
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
        self.order.next().map(|(_, &at)| self.slots.get(at))
    }
}

impl DoubleEndedIterator for Range<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        self.order.next_back().map(|(_, &at)| self.slots.get(at))
    }
}

/// Slots by number, in blocks: all but the last one are full.
#[derive(Clone, Debug, Default)]
struct Slots {
    blocks: Vec<Vec<Slot>>,
}

impl Slots {
    fn len(&self) -> usize {
        self.blocks.last().map_or(0, |last| (self.blocks.len() - 1) * BLOCK_SLOTS + last.len())
    }

    /// The number is that of a slot.
    #[inline]
    fn get(&self, at: u32) -> &Slot {
        &self.blocks[at as usize / BLOCK_SLOTS][at as usize % BLOCK_SLOTS]
    }

    #[inline]
    fn get_mut(&mut self, at: u32) -> &mut Slot {
        &mut self.blocks[at as usize / BLOCK_SLOTS][at as usize % BLOCK_SLOTS]
    }

    fn push(&mut self, slot: Slot) {
        match self.blocks.last_mut() {
            Some(last) if last.len() < BLOCK_SLOTS => last.push(slot),
            _ => self.blocks.push(vec![slot]),
        }
    }

    /// Takes out a slot; the last one has its number then.
    fn swap_remove(&mut self, at: u32) -> Option<Slot> {
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
