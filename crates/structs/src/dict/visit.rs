//! Everything that walks: SCAN's cursor, a random item, all items, the items of a position.
//!
//! A cursor is a position, cut to 56 bits, and says: everything below has been given out. One call gives the items of one
//! home bucket, then moves on to where the next home bucket starts. Since buckets lie in the order of positions at every
//! size of every segment, an item that is there all the time is passed at some call, whatever grows, splits, shrinks or
//! merges between the calls. Only after a shrink may a cursor fall between two tags; the item is then given again.

use std::ptr::NonNull;

use crate::prefetch;

use super::segment::{SLOTS, Segment, block_of, tag_of, with_scratch};
use super::table::{Dict, Layout, tag_at};

/// A cursor is a position without its lowest bits: tags end above them at every depth.
const CURSOR_SHIFT: u32 = 8;
/// How many buckets ahead a walk requests items.
const SCAN_AHEAD: usize = 3;
const CACHE_LINE_BYTES: usize = 64;
/// Tries at a random slot before counting instead.
const RANDOM_TRIES: usize = 128;

impl<L: Layout> Dict<L> {
    /// Gives some items to `visit`: those of one home bucket, possibly none. `cursor` is 0 for the start or what the
    /// last call returned; the return value is 0 at the end, and below 2^56. Any other number is a valid cursor too.
    pub fn scan(&self, cursor: u64, mut visit: impl FnMut(NonNull<u8>)) -> u64 {
        let position = cursor << CURSOR_SHIFT;
        let view = self.segment_at(position);
        let (segment, depth) = (view.segment, view.local_depth);
        let from_tag = tag_at(position, depth);
        let home = segment.home(from_tag);
        let end_tag = segment.first_tag(home + 1);
        let last_tag = u16::try_from(end_tag - 1).unwrap_or(u16::MAX);
        let mut bucket = home;
        loop {
            for slot in segment.slots(bucket).into_iter().take_while(|&slot| slot != 0) {
                prefetch(block_of(slot).as_ptr());
            }
            for slot in segment.slots(bucket).into_iter().take_while(|&slot| slot != 0) {
                let tag = tag_of(slot);
                if tag >= from_tag && segment.home(tag) == home {
                    visit(block_of(slot));
                }
            }
            if !segment.goes_on(bucket, last_tag) {
                break;
            }
            bucket = segment.after(bucket);
        }
        // The start of the next home; past the last one that is the next segment's start, past the last segment 2^64.
        let next = u128::from(view.start) + (u128::from(end_tag) << (48 - depth));
        (next as u64) >> CURSOR_SHIFT
    }

    /// Requests memory that calls of [`Dict::scan`] from `cursor` on will read soon: the items of a bucket some calls ahead, and
    /// a bucket twice as far ahead. For who walks over everything, before each call.
    pub fn prefetch_scan(&self, cursor: u64) {
        let position = cursor << CURSOR_SHIFT;
        let view = self.segment_at(position);
        let segment = view.segment;
        let ahead = segment.home(tag_at(position, view.local_depth)) + SCAN_AHEAD;
        if ahead + SCAN_AHEAD < segment.nb() {
            segment.prefetch(ahead + SCAN_AHEAD);
        }
        if ahead < segment.nb() {
            for slot in segment.slots(ahead).into_iter().take_while(|&slot| slot != 0) {
                let block = block_of(slot).as_ptr();
                prefetch(block);
                // An item of usual size reaches into the next line.
                prefetch(block.wrapping_add(CACHE_LINE_BYTES));
            }
        }
    }

    /// An item by chance, each with the same probability. `rng` gives 64 random bits a call.
    /// A few cache misses; counts through the segments if the items are spread so unevenly that guessing does not work.
    pub fn random(&self, rng: &mut dyn FnMut() -> u64) -> Option<NonNull<u8>> {
        if self.is_empty() {
            return None;
        }
        // A slot is chosen with the same probability wherever it is: the chance of its segment, in proportion to how many
        // directory entries share it, is evened out by accepting the segment in inverse proportion, times its buckets.
        for _ in 0..RANDOM_TRIES {
            let (segment, shared_bits) = self.segment_by_chance(rng());
            if below(rng(), (self.nb_largest as u64) << shared_bits) >= segment.nb() as u64 {
                continue;
            }
            let slots = (segment.nb() * SLOTS) as u64;
            let number = below(rng(), slots) as usize;
            let value = segment.read(number / SLOTS, number % SLOTS);
            if value != 0 {
                return Some(block_of(value));
            }
        }
        let mut rest = below(rng(), self.len() as u64) as usize;
        for view in self.segments() {
            if rest < view.used {
                return with_scratch(|items| {
                    view.segment.collect_into(items);
                    items.get(rest).map(|&slot| block_of(slot))
                });
            }
            rest -= view.used;
        }
        None
    }

    /// Gives the items of one bucket by chance to `visit`, their memory requested together, and returns how many they are.
    /// Each bucket has the same probability, whatever its segment, and so has each item; which items come together is the
    /// hash's choice. 0 if the items are spread so unevenly that guessing found only empty buckets.
    pub fn sample(&self, rng: &mut dyn FnMut() -> u64, mut visit: impl FnMut(NonNull<u8>)) -> usize {
        if self.is_empty() {
            return 0;
        }
        for _ in 0..RANDOM_TRIES {
            let Some((segment, number)) = self.bucket_by_chance(rng) else { return 0 };
            let slots = segment.slots(number);
            let items = slots.into_iter().take_while(|&slot| slot != 0);
            for slot in items.clone() {
                prefetch(block_of(slot).as_ptr());
            }
            let found = items.clone().count();
            items.for_each(|slot| visit(block_of(slot)));
            if found > 0 {
                return found;
            }
        }
        0
    }

    /// Requests the memory that the next two calls of [`Dict::sample`] will read, if `rng` gives what theirs will and the
    /// table stays as it is: the items of the next bucket, which was requested the last time, and the bucket after that.
    pub fn prefetch_samples(&self, rng: &mut dyn FnMut() -> u64) {
        if self.is_empty() {
            return;
        }
        if let Some((segment, number)) = self.bucket_by_chance(rng) {
            for slot in segment.slots(number).into_iter().take_while(|&slot| slot != 0) {
                prefetch(block_of(slot).as_ptr());
            }
        }
        if let Some((segment, number)) = self.bucket_by_chance(rng) {
            segment.prefetch(number);
        }
    }

    /// A bucket by chance, each with the same probability, empty ones included. `None` only if guessing does not work.
    fn bucket_by_chance(&self, rng: &mut dyn FnMut() -> u64) -> Option<(Segment, usize)> {
        for _ in 0..RANDOM_TRIES {
            let (segment, shared_bits) = self.segment_by_chance(rng());
            // One draw for both: the bucket's number, if it is one that this segment has.
            let number = below(rng(), (self.nb_largest as u64) << shared_bits) as usize;
            if number < segment.nb() {
                return Some((segment, number));
            }
        }
        None
    }

    /// All items, in no meaningful order.
    pub fn iter(&self) -> Iter<'_, L> {
        Iter { dict: self, entry: 0, segment: Segment::EMPTY, bucket: 0, slots: [0; SLOTS], slot: 0 }
    }

    /// The items whose position has these top 48 bits. `position_of` is that of the insertions.
    pub fn by_position48(&self, prefix48: u64, position_of: &impl Fn(&[u8]) -> u64, visit: impl FnMut(NonNull<u8>)) {
        self.around(prefix48 << 16, |key| position_of(key) >> 16 == prefix48, visit);
    }

    /// The items with exactly this position. `position_of` is that of the insertions.
    pub fn by_position(&self, position: u64, position_of: &impl Fn(&[u8]) -> u64, visit: impl FnMut(NonNull<u8>)) {
        self.around(position, |key| position_of(key) == position, visit);
    }

    /// The items with the tag of a position whose key is as `is_meant` says.
    fn around(&self, position: u64, is_meant: impl Fn(&[u8]) -> bool, mut visit: impl FnMut(NonNull<u8>)) {
        let view = self.segment_at(position);
        let tag = tag_at(position, view.local_depth);
        let mut bucket = view.segment.home(tag);
        loop {
            for slot in view.segment.slots(bucket).into_iter().take_while(|&slot| slot != 0) {
                if tag_of(slot) == tag {
                    let block = block_of(slot);
                    // SAFETY: the block is in this table.
                    if is_meant(unsafe { L::key(block) }) {
                        visit(block);
                    }
                }
            }
            if !view.segment.goes_on(bucket, tag) {
                return;
            }
            bucket = view.segment.after(bucket);
        }
    }
}

/// All blocks of a table, see [`Dict::iter`].
pub struct Iter<'a, L: Layout> {
    dict: &'a Dict<L>,
    /// The directory entry of the next segment.
    entry: usize,
    segment: Segment,
    /// The bucket that `slots` is a copy of, and the next slot in it.
    bucket: usize,
    slots: [u64; SLOTS],
    slot: usize,
}

impl<L: Layout> Iterator for Iter<'_, L> {
    type Item = NonNull<u8>;

    fn next(&mut self) -> Option<NonNull<u8>> {
        loop {
            if let Some(&value) = self.slots.get(self.slot).filter(|&&value| value != 0) {
                self.slot += 1;
                return Some(block_of(value));
            }
            self.bucket += 1;
            if self.bucket >= self.segment.nb() {
                let (view, next) = self.dict.view(self.entry)?;
                (self.segment, self.entry, self.bucket) = (view.segment, next, 0);
            }
            (self.slots, self.slot) = (self.segment.slots(self.bucket), 0);
        }
    }
}

/// A number below `limit`, as evenly as 64 bits allow.
#[inline]
fn below(random: u64, limit: u64) -> u64 {
    ((u128::from(random) * u128::from(limit)) >> 64) as u64
}
