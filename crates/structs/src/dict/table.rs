//! The directory, and the operations that concern one key.
//!
//! Work is bounded by one segment: growth re-places its items by their tags (a few microseconds), a split divides
//! a full regular segment of about 4,000. It reads the keys of items that do not know their next bits, which are none if
//! positions are well spread. Two things are not bounded by that, both of them rare by construction:
//! the directory doubles by copying 17 bytes for each of its entries, which are one for some 2,000 items; and an *oversize*
//! segment, one whose items share so long a prefix that dividing them would take a directory out of proportion to the
//! table, grows by eighths of its own size.
//!
//! Positions that are unevenly spread (in cluster mode their top bits are the slot) crowd a segment's items into a part of
//! it, and make runs of full buckets long. A segment in which an item had to go too far is therefore divided before it is
//! full, for which the directory may have 2^16 entries in any case and more in proportion to the items.
//!
//! Growing and shrinking have room between them: a segment grows at 31/32 of its slots and shrinks below 3/8 of them, to
//! four fifths full; it splits when its items outgrow 512 buckets and merges when it and its neighbour together would fill
//! 3/8 of them. So no sequence of insertions and removals makes the table do either again and again.

use std::marker::PhantomData;
use std::ptr::NonNull;

use super::segment::{
    Bucket, CAPACITY_MAX, NB_MAX, SLOTS, Segment, address_of, block_of, buckets_for, one_bit_deeper, one_bit_shallower,
    slot_of, tag_of, with_block, with_scratch,
};
use crate::arena::SEGMENT_ARENA;
use crate::prefetch;

/// Segments are told apart by at most this many bits of the position.
const DEPTH_MAX: u32 = 26;
/// The directory may have one entry for so many items. In a table of well spread positions it has one for 2,000 to 4,000;
/// the rest is allowance for skewed ones (say, all keys in one cluster slot), about 2 bytes an item.
const ITEMS_PER_ENTRY_MIN: usize = 8;
/// The directory may have this many entries (of 17 bytes) in any case: enough to tell 2^14 cluster slots apart.
const DIRECTORY_FLOOR: usize = 1 << 16;
/// An item that has to go farther than this many buckets from its home shows that the items of its segment are crowded into
/// a part of it, which happens when they share more bits than the segment's own. The segment is then divided, however
/// small. With well spread positions this does not happen.
pub(super) const DISTANCE_MAX: usize = 64;
/// Two neighbours with fewer items than this together become one segment.
const MERGE_BELOW: usize = NB_MAX * SLOTS * 3 / 8;
/// A removal looks for a neighbour to merge with when the number of remaining items is a multiple of this.
const MERGE_CHECK_EVERY: u32 = 64;
/// How many keys ahead of the one it reads a split prefetches, if it has to read keys.
const SPLIT_AHEAD: usize = 12;
/// Next bits are learnt in so many steps, each for as many tags.
const LEARN_STEPS: u8 = 128;
const LEARN_STEP_TAGS: u32 = (1 << 16) / LEARN_STEPS as u32;
/// ... whenever the number of a segment's items comes to a multiple of this. Growing from half full to full, a segment has
/// about 250 such moments.
const LEARN_EVERY: u32 = 8;

/// Items for each segment of a table made for many. A regular segment has room for some more, since positions are not
/// spread quite evenly.
const PRESIZED_ITEMS: usize = NB_MAX * SLOTS * 7 / 8;

/// How far a prefetch follows a run of full buckets.
const PREFETCH_BUCKETS: usize = 4;

/// How far behind the first bytes of a block a key of usual length reaches.
const KEY_REACH_BYTES: usize = 32;

/// Where the blocks of a table have their keys. Blocks are aligned to 4 bytes.
///
/// # Safety
/// `key` gives the same bytes for a block from its insertion to its removal.
pub unsafe trait Layout {
    /// The key of a block.
    ///
    /// # Safety
    /// `block` is in a table with this layout, and stays there unchanged for `'a`.
    unsafe fn key<'a>(block: NonNull<u8>) -> &'a [u8];
}

/// A table of block addresses, see the [module](super).
///
/// The caller computes positions: the same key must always come with the same position, and operations that may have to
/// divide a segment get the function that computes it.
pub struct Dict<L: Layout> {
    directory: Vec<DirEntry>,
    /// The directory has `2^depth` entries.
    depth: u32,
    /// Segments with `local_depth == depth`.
    deepest: usize,
    len: usize,
    pub(super) segment_bytes: usize,
    /// No segment has more buckets than this.
    pub(super) nb_largest: usize,
    /// Of the first entry of each segment with an even depth: how many steps of tags know their next bits. Empty as long as
    /// every segment knows them all.
    known: Vec<u8>,
    layout: PhantomData<fn() -> L>,
}

// SAFETY: the table owns its segments, which nothing else points to; the blocks are only read, and their owner promises
// that they are valid wherever the table is.
unsafe impl<L: Layout> Send for Dict<L> {}

/// A place in a table where an item is. Good until the table is changed by anything else than [`Dict::replace`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotRef(NonNull<u64>);

/// A directory entry: which segment, how many items in it, how many buckets it has (27 bits) and how many leading bits
/// of their positions all its items share (5 bits).
#[derive(Clone, Copy)]
struct DirEntry {
    buckets: NonNull<Bucket>,
    used: u32,
    shape: u32,
}

const _: () = assert!(size_of::<DirEntry>() == 16);
const SHAPE_DEPTH_BITS: u32 = 5;
const _: () = assert!(DEPTH_MAX < 1 << SHAPE_DEPTH_BITS);

impl DirEntry {
    fn new(segment: Segment, local_depth: u32, used: usize) -> DirEntry {
        let nb = u32::try_from(segment.nb()).expect("a segment of fewer than 2^27 buckets");
        assert!(nb < 1 << (u32::BITS - SHAPE_DEPTH_BITS), "a segment of fewer than 2^27 buckets");
        let used = u32::try_from(used).expect("fewer than 2^30 items in a segment");
        DirEntry { buckets: segment.buckets(), used, shape: nb << SHAPE_DEPTH_BITS | local_depth }
    }

    #[inline]
    fn segment(self) -> Segment {
        Segment::from_parts(self.buckets, self.shape >> SHAPE_DEPTH_BITS)
    }

    #[inline]
    fn local_depth(self) -> u32 {
        self.shape & ((1 << SHAPE_DEPTH_BITS) - 1)
    }
}

/// The tag of a position in a segment whose items share `local_depth` bits.
#[inline]
pub(super) fn tag_at(position: u64, local_depth: u32) -> u16 {
    ((position << local_depth) >> 48) as u16
}

impl<L: Layout> Dict<L> {
    /// A table without items; 16 bytes on the heap.
    pub fn new() -> Dict<L> {
        Dict {
            directory: vec![DirEntry::new(Segment::EMPTY, 0, 0)],
            depth: 0,
            deepest: 1,
            len: 0,
            segment_bytes: 0,
            nb_largest: 1,
            known: Vec::new(),
            layout: PhantomData,
        }
    }

    /// A table without items that takes about so many, with well spread positions, without growing on the way.
    pub fn with_capacity(items: usize) -> Dict<L> {
        let mut dict = Dict::new();
        if items == 0 {
            return dict;
        }
        let mut depth = 0;
        while depth < DEPTH_MAX && items >> depth > PRESIZED_ITEMS {
            depth += 1;
        }
        let each = items >> depth;
        // Four standard deviations more than their share: few segments will have to grow.
        let nb = buckets_for(each + if depth > 0 { 4 * each.isqrt() } else { 0 }).min(NB_MAX.max(buckets_for(each)));
        dict.directory = (0..1 << depth).map(|_| DirEntry::new(Segment::new(nb), depth, 0)).collect();
        dict.segment_bytes = dict.directory.iter().map(|entry| entry.segment().bytes()).sum();
        (dict.depth, dict.deepest, dict.nb_largest) = (depth, 1 << depth, nb);
        dict
    }

    /// Number of items.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no items.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Resident bytes of the table: directory and segments, without the blocks.
    pub fn memory_bytes(&self) -> usize {
        self.directory.capacity() * size_of::<DirEntry>() + self.known.capacity() + self.segment_bytes
    }

    /// Whether there is, or was, anything in it.
    pub fn has_segments(&self) -> bool {
        self.segment_bytes > 0
    }

    /// The part of [`Dict::memory_bytes`] in arena pages. A table of a single small segment has none; of a bigger one
    /// every segment is taken for one, which a few small ones may not be.
    pub fn mapped_bytes(&self) -> usize {
        if self.segment_bytes > crate::arena::OS_PAGE_BYTES { self.segment_bytes } else { 0 }
    }

    /// The block with this key. Reads one bucket and the block, nearly always.
    #[inline]
    pub fn get(&self, position: u64, key: &[u8]) -> Option<NonNull<u8>> {
        let (segment, tag) = self.locate(position);
        let (bucket, slot) = search::<L>(segment, tag, key)?;
        Some(block_of(segment.read(bucket, slot)))
    }

    /// Where the item with this key is.
    #[inline]
    pub fn find(&self, position: u64, key: &[u8]) -> Option<SlotRef> {
        let (segment, tag) = self.locate(position);
        let (bucket, slot) = search::<L>(segment, tag, key)?;
        Some(slot_ref(segment, bucket, slot))
    }

    /// The block at a place.
    ///
    /// # Safety
    /// `slot` came from this table, which was not changed since (except by `replace`).
    #[inline]
    pub unsafe fn block(&self, slot: SlotRef) -> NonNull<u8> {
        // SAFETY: the slot is still inside of its segment and occupied.
        block_of(unsafe { slot.0.read() })
    }

    /// Adds a block. Amortised constant time; see the file's header for the worst case.
    ///
    /// # Safety
    /// `block` is laid out as `L` says and stays valid until it is removed or the table is gone. No item has its key, and
    /// `position_of` of its key is `position`.
    #[inline]
    pub unsafe fn insert_new(
        &mut self,
        position: u64,
        block: NonNull<u8>,
        position_of: &impl Fn(&[u8]) -> u64,
    ) -> SlotRef {
        let mut index = self.first_entry(position);
        if self.directory[index].used as usize >= self.directory[index].segment().capacity() {
            index = self.make_room(position, position_of);
        }
        let entry = &mut self.directory[index];
        entry.used += 1;
        let used = entry.used;
        let (place, distance) = entry.segment().place(slot_of(position, entry.local_depth(), block));
        self.len += 1;
        if used.is_multiple_of(LEARN_EVERY) {
            self.learn(index, position_of);
        }
        if distance > DISTANCE_MAX {
            return self.uncrowd(position, block, SlotRef(place), position_of);
        }
        SlotRef(place)
    }

    /// Puts another block in the place of one, which is returned.
    ///
    /// # Safety
    /// As for [`Dict::block`] and [`Dict::insert_new`]; both blocks have the same key.
    #[inline]
    pub unsafe fn replace(&mut self, slot: SlotRef, block: NonNull<u8>) -> NonNull<u8> {
        // SAFETY: the slot is still inside of its segment and occupied.
        let old = unsafe { slot.0.read() };
        // SAFETY: likewise, and the table is borrowed exclusively.
        unsafe { slot.0.write(with_block(old, block)) };
        block_of(old)
    }

    /// Takes an item out and gives its block to the caller. Constant time, except when the segment shrinks or merges.
    ///
    /// # Safety
    /// As for [`Dict::block`]; `position` is that of the item's key.
    pub unsafe fn remove_at(&mut self, position: u64, slot: SlotRef) -> NonNull<u8> {
        let index = self.first_entry(position);
        let segment = self.directory[index].segment();
        let offset = slot.0.addr().get() - segment.buckets().addr().get();
        let number = offset / size_of::<u64>();
        let value = segment.take(number / SLOTS, number % SLOTS);
        self.directory[index].used -= 1;
        self.len -= 1;
        let used = self.directory[index].used;
        if (used as usize) < segment.nb() * SLOTS * 3 / 8 && (segment.nb() > 1 || used == 0) {
            self.shrink_segment(index);
        }
        if used.is_multiple_of(MERGE_CHECK_EVERY) {
            self.merge_around(position);
        }
        block_of(value)
    }

    /// Takes the item with this key out.
    pub fn remove(&mut self, position: u64, key: &[u8]) -> Option<NonNull<u8>> {
        let slot = self.find(position, key)?;
        // SAFETY: the slot was found just now, for this position.
        Some(unsafe { self.remove_at(position, slot) })
    }

    /// Hints that the bucket of a position will be read, and the next one, where items of a well filled segment often are.
    #[inline]
    pub fn prefetch_bucket(&self, position: u64) {
        let (segment, tag) = self.locate(position);
        let bucket = segment.bucket_ptr(segment.home(tag)).cast().as_ptr();
        prefetch(bucket);
        prefetch(bucket.wrapping_add(64));
    }

    /// Hints that the block of a position will be read: looks for its tag, as a search would (the buckets should be near by
    /// now), and prefetches the first two cache lines of the blocks that have it. Says whether there may be such a block:
    /// if not, nothing with this position is in the table.
    #[inline]
    pub fn prefetch_block(&self, position: u64) -> bool {
        let (segment, tag) = self.locate(position);
        let (mut bucket, mut found) = (segment.home(tag), false);
        for _ in 0..PREFETCH_BUCKETS {
            let mut matches = segment.matches(bucket, tag);
            found |= matches != 0;
            while matches != 0 {
                // Of a free slot this is address 0, which may be prefetched like any other.
                let block = address_of(segment.read(bucket, matches.trailing_zeros() as usize));
                matches &= matches - 1;
                prefetch(block);
                prefetch(block.wrapping_add(64));
            }
            if !segment.goes_on(bucket, tag) {
                return found;
            }
            bucket = segment.after(bucket);
        }
        true
    }

    /// Gives every block to `visit` and leaves the table empty.
    pub fn drain(&mut self, mut visit: impl FnMut(NonNull<u8>)) {
        let old = std::mem::take(self);
        old.iter().for_each(&mut visit);
    }

    /// The segment that a position belongs to, and the position's tag in it.
    #[inline]
    fn locate(&self, position: u64) -> (Segment, u16) {
        let entry = self.directory[self.entry_index(position)];
        (entry.segment(), tag_at(position, entry.local_depth()))
    }

    #[inline]
    fn entry_index(&self, position: u64) -> usize {
        // In two steps, because at depth 0 it is 64 bits.
        (position >> 1 >> (63 - self.depth)) as usize
    }

    /// The first entry of the segment that a position belongs to.
    #[inline]
    fn first_entry(&self, position: u64) -> usize {
        let index = self.entry_index(position);
        index & !(self.entries_of(index) - 1)
    }

    /// How many entries the segment of this entry has.
    #[inline]
    fn entries_of(&self, index: usize) -> usize {
        1 << (self.depth - self.directory[index].local_depth())
    }

    /// The segments in the order of their positions.
    pub(super) fn segments(&self) -> impl Iterator<Item = SegmentView> + '_ {
        let mut index = 0;
        std::iter::from_fn(move || {
            let (view, next) = self.view(index)?;
            index = next;
            Some(view)
        })
    }

    /// The segment that a position belongs to.
    pub(super) fn segment_at(&self, position: u64) -> SegmentView {
        self.view_of(self.first_entry(position))
    }

    /// The segment whose first entry is `index`, and the next one's first entry; nothing at the directory's end.
    pub(super) fn view(&self, index: usize) -> Option<(SegmentView, usize)> {
        (index < self.directory.len()).then(|| (self.view_of(index), index + self.entries_of(index)))
    }

    fn view_of(&self, first: usize) -> SegmentView {
        let entry = self.directory[first];
        SegmentView {
            segment: entry.segment(),
            local_depth: entry.local_depth(),
            start: ((first as u128) << (64 - self.depth)) as u64,
            used: entry.used as usize,
        }
    }

    /// The segment behind a directory entry chosen by chance, and how many entries it has, as a power of two.
    pub(super) fn segment_by_chance(&self, chance: u64) -> (Segment, u32) {
        let entry = self.directory[(chance as usize) & (self.directory.len() - 1)];
        (entry.segment(), self.depth - entry.local_depth())
    }

    /// Makes the segment of a position large enough for one more item; gives its first entry.
    #[cold]
    fn make_room(&mut self, position: u64, position_of: &impl Fn(&[u8]) -> u64) -> usize {
        loop {
            let index = self.first_entry(position);
            let entry = self.directory[index];
            let (segment, used) = (entry.segment(), entry.used as usize);
            if used < segment.capacity() {
                return index;
            }
            if segment.nb() >= NB_MAX && self.may_split(entry.local_depth()) {
                self.split(index, position_of);
            } else {
                self.resize_segment(index, buckets_for(used + 1));
            }
        }
    }

    fn may_split(&self, local_depth: u32) -> bool {
        if local_depth >= DEPTH_MAX {
            return false;
        }
        let entries_max = (self.len / ITEMS_PER_ENTRY_MIN).max(DIRECTORY_FLOOR);
        local_depth < self.depth || self.directory.len() * 2 <= entries_max
    }

    /// Divides the segment of a crowded item (once: the next crowded item continues) and finds the item again.
    #[cold]
    fn uncrowd(
        &mut self,
        position: u64,
        block: NonNull<u8>,
        slot: SlotRef,
        position_of: &impl Fn(&[u8]) -> u64,
    ) -> SlotRef {
        let index = self.first_entry(position);
        if !self.may_split(self.directory[index].local_depth()) {
            return slot;
        }
        self.split(index, position_of);
        let (segment, tag) = self.locate(position);
        let mut bucket = segment.home(tag);
        loop {
            let found = segment.slots(bucket).into_iter().position(|slot| slot != 0 && block_of(slot) == block);
            if let Some(found) = found {
                return slot_ref(segment, bucket, found);
            }
            assert!(segment.is_full(bucket), "an item is where its tag says");
            bucket = segment.after(bucket);
        }
    }

    /// Gives a segment another number of buckets.
    fn resize_segment(&mut self, index: usize, nb: usize) {
        let entry = self.directory[index];
        let old = entry.segment();
        self.segment_bytes -= old.bytes();
        let used = entry.used as usize;
        let new = if nb == 0 {
            // SAFETY: it has no items, and its entries are overwritten below.
            unsafe { old.free() };
            Segment::EMPTY
        } else {
            old.resized(nb)
        };
        self.adopt(index, new, entry.local_depth(), used);
    }

    /// Enters a segment into all its directory entries.
    fn adopt(&mut self, first: usize, segment: Segment, local_depth: u32, used: usize) {
        self.segment_bytes += segment.bytes();
        self.nb_largest = if self.depth == 0 { segment.nb() } else { self.nb_largest.max(segment.nb()) };
        let count = 1 << (self.depth - local_depth);
        let entry = DirEntry::new(segment, local_depth, used);
        self.directory[first..first + count].fill(entry);
    }

    /// Divides a segment by the next bit of its items' positions. One of the two may stay empty.
    fn split(&mut self, index: usize, position_of: &impl Fn(&[u8]) -> u64) {
        let local_depth = self.directory[index].local_depth();
        let mut index = index;
        if local_depth == self.depth {
            self.double_directory();
            index *= 2;
        }
        let entry = self.directory[index];
        let old = entry.segment();
        self.segment_bytes -= old.bytes();
        let half = 1 << (self.depth - local_depth - 1);
        let mut lower_len = 0;
        let known_below = self.known_below(index);
        let (lower, upper) = with_scratch(|items| {
            old.collect_into(items);
            // In the order of their tags, the lower half's items come first, and those that know their next bits.
            lower_len = items.partition_point(|&item| tag_of(item) >> 15 == 0);
            let known = items.partition_point(|&item| u32::from(tag_of(item)) < known_below);
            let (known, unknown) = items.split_at_mut(known);
            for item in known {
                *item = one_bit_deeper(*item);
            }
            for i in 0..unknown.len() {
                if let Some(&ahead) = unknown.get(i + SPLIT_AHEAD) {
                    prefetch(block_of(ahead).as_ptr());
                }
                // SAFETY: the block is in this table.
                let position = position_of(unsafe { L::key(block_of(unknown[i])) });
                debug_assert_eq!(tag_at(position, local_depth), tag_of(unknown[i]), "a position that is not the key's");
                unknown[i] = slot_of(position, local_depth + 1, block_of(unknown[i]));
            }
            let (lower, upper) = items.split_at(lower_len);
            // The upper one first: its memory is new, the lower one takes the old one's.
            let (upper, _) = built(upper);
            let lower = if lower.is_empty() {
                // SAFETY: its items are in `upper`, and its entries are overwritten below.
                unsafe { old.free() };
                Segment::EMPTY
            } else {
                old.replaced(buckets_for(lower.len()), lower.iter().copied())
            };
            (lower, upper)
        });
        let upper_len = entry.used as usize - lower_len;
        self.adopt(index, lower, local_depth + 1, lower_len);
        self.adopt(index + half, upper, local_depth + 1, upper_len);
        if local_depth + 1 == self.depth {
            self.deepest += 2;
        }
        if local_depth % 2 == 1 {
            self.set_known(index, if lower_len == 0 { LEARN_STEPS } else { 0 });
            self.set_known(index + half, if upper_len == 0 { LEARN_STEPS } else { 0 });
        }
    }

    /// All tags below this one know the next bits that a split of this segment needs.
    fn known_below(&self, first: usize) -> u32 {
        let has_one_known = self.directory[first].local_depth() % 2 == 1;
        let steps = if has_one_known { LEARN_STEPS } else { self.known_steps(first) };
        u32::from(steps) * LEARN_STEP_TAGS
    }

    #[inline]
    fn known_steps(&self, first: usize) -> u8 {
        self.known.get(first).copied().unwrap_or(LEARN_STEPS)
    }

    fn set_known(&mut self, first: usize, steps: u8) {
        if self.known.is_empty() && steps < LEARN_STEPS {
            self.known = vec![LEARN_STEPS; self.directory.len()];
        }
        if let Some(known) = self.known.get_mut(first) {
            *known = steps;
        }
    }

    /// Reads a few keys of a segment that has just grown and does not know all of its next bits, so that the split to come
    /// finds them known.
    #[inline]
    fn learn(&mut self, first: usize, position_of: &impl Fn(&[u8]) -> u64) {
        let entry = self.directory[first];
        let steps = self.known_steps(first);
        if steps < LEARN_STEPS && entry.local_depth().is_multiple_of(2) && entry.segment().nb() <= NB_MAX {
            self.learn_from(first, steps, position_of);
        }
    }

    #[cold]
    fn learn_from(&mut self, first: usize, steps: u8, position_of: &impl Fn(&[u8]) -> u64) {
        let entry = self.directory[first];
        let (segment, local_depth) = (entry.segment(), entry.local_depth());
        // Uneven halves may leave a segment that is nearly full.
        let moments_left = (CAPACITY_MAX as u32).saturating_sub(entry.used) / LEARN_EVERY + 1;
        let more = u32::from(LEARN_STEPS - steps).div_ceil(moments_left);
        let from_tag = u32::from(steps) * LEARN_STEP_TAGS;
        let last_tag = from_tag + more * LEARN_STEP_TAGS - 1;
        let tags = from_tag as u16..=last_tag as u16;
        segment.with_tags(tags.clone(), |place| {
            // SAFETY: the place is an occupied slot of the segment.
            let block = block_of(unsafe { place.read() }).as_ptr();
            prefetch(block);
            prefetch(block.wrapping_add(KEY_REACH_BYTES));
        });
        segment.with_tags(tags, |place| {
            // SAFETY: as above.
            let value = unsafe { place.read() };
            // SAFETY: the block is in this table.
            let position = position_of(unsafe { L::key(block_of(value)) });
            debug_assert_eq!(tag_at(position, local_depth), tag_of(value), "a position that is not the key's");
            // SAFETY: as above, and the table is borrowed exclusively.
            unsafe { place.write(slot_of(position, local_depth, block_of(value))) };
        });
        self.known[first] = steps + more as u8;
    }

    fn double_directory(&mut self) {
        let mut doubled = Vec::with_capacity(self.directory.len() * 2);
        for &entry in &self.directory {
            doubled.push(entry);
            doubled.push(entry);
        }
        self.directory = doubled;
        self.known = self.known.iter().flat_map(|&steps| [steps; 2]).collect();
        self.depth += 1;
        self.deepest = 0;
    }

    /// After a removal: fewer buckets for a segment that has become sparse.
    #[cold]
    fn shrink_segment(&mut self, index: usize) {
        let entry = self.directory[index];
        let used = entry.used as usize;
        let nb = if used == 0 { 0 } else { buckets_for(used + used / 4) };
        if nb < entry.segment().nb() {
            self.resize_segment(index, nb);
        }
    }

    /// Makes one segment of two neighbours with few items, as often as that is possible around a position.
    fn merge_around(&mut self, position: u64) {
        loop {
            let index = self.first_entry(position);
            let entry = self.directory[index];
            let local_depth = entry.local_depth();
            if local_depth == 0 {
                return;
            }
            let count = self.entries_of(index);
            let buddy = self.directory[index ^ count];
            if buddy.local_depth() != local_depth || (entry.used + buddy.used) as usize >= MERGE_BELOW {
                return;
            }
            if !self.merge(index & !count, index | count) {
                return;
            }
        }
    }

    /// Says no when the items would be crowded in one segment.
    fn merge(&mut self, lower: usize, upper: usize) -> bool {
        let (a, b) = (self.directory[lower], self.directory[upper]);
        let local_depth = a.local_depth();
        let len = (a.used + b.used) as usize;
        let (merged, distance) = with_scratch(|items| {
            a.segment().collect_into(items);
            b.segment().collect_into(items);
            for (i, item) in items.iter_mut().enumerate() {
                *item = one_bit_shallower(*item, i >= a.used as usize);
            }
            built(items)
        });
        if distance > DISTANCE_MAX / 2 {
            // SAFETY: nobody else has seen it; the items are still in the two.
            unsafe { merged.free() };
            return false;
        }
        self.segment_bytes -= a.segment().bytes() + b.segment().bytes();
        for entry in [a, b] {
            // SAFETY: its items are in `merged`, and its entries are overwritten below.
            unsafe { entry.segment().free() };
        }
        if local_depth == self.depth {
            self.deepest -= 2;
        }
        self.adopt(lower, merged, local_depth - 1, len);
        self.set_known(lower, LEARN_STEPS);
        while self.deepest == 0 && self.depth > 0 {
            self.halve_directory();
        }
        true
    }

    /// Drops every other entry, which no segment needs.
    fn halve_directory(&mut self) {
        let halved: Vec<DirEntry> = self.directory.iter().copied().step_by(2).collect();
        self.directory = halved;
        self.depth -= 1;
        // What two segments became one of knows all of its next bits.
        let known = self.known.iter().copied().step_by(2);
        self.known = if self.depth == 0 { Vec::new() } else { known.collect() };
        let depth = self.depth;
        self.deepest = self.directory.iter().filter(|entry| entry.local_depth() == depth).count();
        if self.nb_largest > NB_MAX {
            self.nb_largest = self.segments().map(|view| view.segment.nb()).max().unwrap_or(1);
        }
    }

    /// Asserts everything that `mod.rs` says must stay true. Reads all keys.
    #[cfg(any(test, debug_assertions))]
    pub fn check(&self, position_of: &impl Fn(&[u8]) -> u64) {
        assert_eq!(self.directory.len(), 1 << self.depth);
        let (mut len, mut bytes, mut deepest) = (0, 0, 0);
        for view in self.segments() {
            assert_eq!(view.segment.check(), view.used);
            len += view.used;
            bytes += view.segment.bytes();
            deepest += usize::from(view.local_depth == self.depth);
            assert!(view.segment.nb() <= self.nb_largest);
            let mut items = Vec::new();
            view.segment.collect_into(&mut items);
            for item in items {
                // SAFETY: the block is in this table.
                let position = position_of(unsafe { L::key(block_of(item)) });
                assert_eq!(tag_at(position, view.local_depth), tag_of(item));
                if u32::from(tag_of(item)) < self.known_below(self.first_entry(position)) {
                    // At an even depth both bits are known, at an odd one the first is.
                    let right = slot_of(position, view.local_depth, block_of(item));
                    let bits = if view.local_depth % 2 == 0 { 0b11 } else { 0b10 };
                    assert_eq!(item & bits, right & bits, "next bits that are not the position's");
                }
                assert_eq!(self.segment_at(position).start, view.start);
            }
        }
        assert_eq!((len, bytes, deepest), (self.len, self.segment_bytes, self.deepest));
    }

    /// Entries in the directory.
    #[cfg(test)]
    pub(super) fn directory_len(&self) -> usize {
        self.directory.len()
    }
}

impl<L: Layout> Default for Dict<L> {
    fn default() -> Dict<L> {
        Dict::new()
    }
}

impl<L: Layout> Drop for Dict<L> {
    fn drop(&mut self) {
        let mut pages = Vec::new();
        for view in self.segments() {
            match view.segment.page() {
                Some(page) => pages.push(page),
                // SAFETY: every segment is visited once, and the directory is not used afterwards.
                None => unsafe { view.segment.free() },
            }
        }
        // SAFETY: the pages are those of segments that are gone with the directory.
        unsafe { SEGMENT_ARENA.free_pages(&mut pages) };
    }
}

/// A segment and where it stands.
#[derive(Clone, Copy)]
pub(super) struct SegmentView {
    pub(super) segment: Segment,
    pub(super) local_depth: u32,
    /// The lowest position that belongs to it.
    pub(super) start: u64,
    pub(super) used: usize,
}

/// A new segment with these items, and the longest distance of one from its home.
fn built(items: &[u64]) -> (Segment, usize) {
    if items.is_empty() {
        return (Segment::EMPTY, 0);
    }
    let segment = Segment::new(buckets_for(items.len()));
    let distance = segment.refill(items.iter().copied());
    (segment, distance)
}

#[inline]
fn slot_ref(segment: Segment, bucket: usize, slot: usize) -> SlotRef {
    // SAFETY: the slot is inside of the segment.
    SlotRef(unsafe { segment.bucket_ptr(bucket).cast::<u64>().add(slot) })
}

/// Bucket and slot of a key.
#[inline]
fn search<L: Layout>(segment: Segment, tag: u16, key: &[u8]) -> Option<(usize, usize)> {
    let mut bucket = segment.home(tag);
    loop {
        let mut matches = segment.matches(bucket, tag);
        while matches != 0 {
            let slot = matches.trailing_zeros() as usize;
            matches &= matches - 1;
            let value = segment.read(bucket, slot);
            // A free slot looks like tag 0, and there are only free ones behind it.
            if value == 0 {
                break;
            }
            // SAFETY: the block is in this table, which is borrowed by our caller.
            if unsafe { L::key(block_of(value)) } == key {
                return Some((bucket, slot));
            }
        }
        if !segment.goes_on(bucket, tag) {
            return None;
        }
        bucket = segment.after(bucket);
    }
}
