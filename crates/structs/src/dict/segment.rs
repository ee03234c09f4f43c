//! One segment: an array of buckets, where an item may lie in it, and where its memory comes from.
//!
//! A [`Segment`] is a plain pointer with a length; it does not know how many items it has nor which directory entries
//! name it. Small ones and the rare oversize ones are the global allocator's, those in between have an arena page each, in
//! which they grow and shrink in place: only the kernel pages they have touched are resident.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::ops::RangeInclusive;
use std::ptr::NonNull;

use crate::arena::{OS_PAGE_BYTES, PAGE_BYTES, SEGMENT_ARENA, release_tail};

pub(super) const SLOTS: usize = 8;
const BUCKET_BYTES: usize = 64;
/// Buckets of the largest regular segment: an arena page full.
pub(super) const NB_MAX: usize = PAGE_BYTES / BUCKET_BYTES;
/// Up to here a segment is on the global allocator, with exactly the bytes it needs.
const NB_HEAP_MAX: usize = OS_PAGE_BYTES / BUCKET_BYTES;
/// Items that a segment may have, in 32nds of its slots. Against 30 this saves a third of a byte a key; what it costs is
/// in the decision page on entries and their table.
const LOAD_MAX_32NDS: usize = 31;
/// Where a slot's tag starts.
const TAG_SHIFT: u32 = 48;
const TAG_MASK: u64 = !0 << TAG_SHIFT;
/// The two lowest bits of an address are 0, so they have room for the two bits of the position behind the tag.
const NEXT_MASK: u64 = 0b11;
const ADDRESS_MASK: u64 = !(TAG_MASK | NEXT_MASK);

/// Items that the largest regular segment may have.
pub(super) const CAPACITY_MAX: usize = NB_MAX * SLOTS * LOAD_MAX_32NDS / 32;

/// A cache line of slots. A slot is `tag << 48 | address | next bits`, or 0 when it is free; the free ones come last.
#[repr(C, align(64))]
pub(super) struct Bucket {
    slots: [u64; SLOTS],
}

/// What segments without items point to. Never written: [`Segment::capacity`] of the empty segment is 0.
static NOTHING: Bucket = Bucket { slots: [0; SLOTS] };

/// A slot for a block whose key has this position, in a segment whose items share `local_depth` bits. Both next bits are
/// right.
#[inline]
pub(super) fn slot_of(position: u64, local_depth: u32, block: NonNull<u8>) -> u64 {
    let address = block.as_ptr().expose_provenance() as u64;
    assert!(address & !ADDRESS_MASK == 0, "an address with more than 48 bits, or not aligned to 4 bytes");
    let rest = position << local_depth;
    rest & TAG_MASK | address | rest >> (TAG_SHIFT - 2) & NEXT_MASK
}

/// The address in a slot; 0 in a free one.
#[inline]
pub(super) fn address_of(slot: u64) -> *const u8 {
    std::ptr::without_provenance((slot & ADDRESS_MASK) as usize)
}

/// The block of an occupied slot.
#[inline]
pub(super) fn block_of(slot: u64) -> NonNull<u8> {
    debug_assert!(slot & ADDRESS_MASK != 0);
    let block = std::ptr::with_exposed_provenance_mut((slot & ADDRESS_MASK) as usize);
    // SAFETY: an occupied slot's address came from a `NonNull`.
    unsafe { NonNull::new_unchecked(block) }
}

#[inline]
pub(super) fn tag_of(slot: u64) -> u16 {
    (slot >> TAG_SHIFT) as u16
}

/// The slot in one half of its segment: the first next bit becomes the tag's last one, the second the first one, and what
/// is now the second is not known.
#[inline]
pub(super) fn one_bit_deeper(slot: u64) -> u64 {
    slot << 1 & TAG_MASK | (slot >> 1 & 1) << TAG_SHIFT | slot & ADDRESS_MASK | slot << 1 & 0b10
}

/// The slot in a segment made of its own and the neighbour, `upper` if it is in the second of them: the tag's last bit
/// becomes the first next bit, the first one the second.
#[inline]
pub(super) fn one_bit_shallower(slot: u64, upper: bool) -> u64 {
    let tag = slot >> 1 & TAG_MASK | u64::from(upper) << 63;
    tag | slot & ADDRESS_MASK | slot >> (TAG_SHIFT - 1) & 0b10 | slot >> 1 & 1
}

/// The same slot with another block.
#[inline]
pub(super) fn with_block(slot: u64, block: NonNull<u8>) -> u64 {
    slot_of(slot & TAG_MASK, 0, block) | slot & NEXT_MASK
}

/// The smallest permitted number of buckets that has room for `items` items.
pub(super) fn buckets_for(items: usize) -> usize {
    let least = (items * 32).div_ceil(SLOTS * LOAD_MAX_32NDS).max(1);
    // A single bucket keeps one slot free, and the rounding in `capacity` may miss the last item.
    let least = if capacity_of(least) < items { least + 1 } else { least };
    let step = match least {
        ..=16 => 1,
        // An eighth of the octave.
        17..=NB_HEAP_MAX => least.next_power_of_two() / 16,
        // A kernel page: anything finer would be resident anyway.
        _ if least <= NB_MAX => NB_HEAP_MAX,
        _ => least.next_power_of_two() / 16,
    };
    least.next_multiple_of(step)
}

#[inline]
fn capacity_of(nb: usize) -> usize {
    nb * SLOTS * LOAD_MAX_32NDS / 32
}

/// The buckets of one segment. A plain value: whoever copies it sees to it that only one copy frees it.
#[derive(Clone, Copy)]
pub(super) struct Segment {
    buckets: NonNull<Bucket>,
    nb: u32,
}

impl Segment {
    /// The segment that has no memory and no items.
    pub(super) const EMPTY: Segment = Segment { buckets: NonNull::from_ref(&NOTHING), nb: 1 };

    /// Free memory for `nb` buckets, all slots free.
    pub(super) fn new(nb: usize) -> Segment {
        let buckets: NonNull<Bucket> = if is_paged(nb) {
            SEGMENT_ARENA.alloc_page().cast()
        } else {
            let layout = heap_layout(nb);
            // SAFETY: the layout's size is not zero.
            let raw = unsafe { alloc(layout) };
            NonNull::new(raw).unwrap_or_else(|| handle_alloc_error(layout)).cast()
        };
        #[expect(clippy::cast_possible_truncation, reason = "2^32 buckets would be 256 GiB")]
        let segment = Segment { buckets, nb: nb as u32 };
        segment.clear();
        segment
    }

    /// Made of what a directory entry remembers.
    #[inline]
    pub(super) fn from_parts(buckets: NonNull<Bucket>, nb: u32) -> Segment {
        Segment { buckets, nb }
    }

    #[inline]
    pub(super) fn buckets(self) -> NonNull<Bucket> {
        self.buckets
    }

    #[inline]
    pub(super) fn nb(self) -> usize {
        self.nb as usize
    }

    #[inline]
    pub(super) fn is_empty_segment(self) -> bool {
        self.buckets == Segment::EMPTY.buckets
    }

    /// Items it may hold; always less than it has slots.
    #[inline]
    pub(super) fn capacity(self) -> usize {
        if self.is_empty_segment() { 0 } else { capacity_of(self.nb()) }
    }

    /// Resident bytes.
    pub(super) fn bytes(self) -> usize {
        if self.is_empty_segment() {
            0
        } else if is_paged(self.nb()) {
            (self.nb() * BUCKET_BYTES).next_multiple_of(OS_PAGE_BYTES)
        } else {
            self.nb() * BUCKET_BYTES
        }
    }

    /// The arena page it lies in, if it does.
    pub(super) fn page(self) -> Option<NonNull<u8>> {
        (!self.is_empty_segment() && is_paged(self.nb())).then(|| self.buckets.cast())
    }

    /// Gives the memory back.
    ///
    /// # Safety
    /// No copy of this segment is used any more, and it is freed once.
    pub(super) unsafe fn free(self) {
        if self.is_empty_segment() {
            return;
        }
        match self.page() {
            // SAFETY: a paged segment's memory is a page of that arena, and the caller gives it up.
            Some(page) => unsafe { SEGMENT_ARENA.free_page(page) },
            // SAFETY: any other segment's memory was allocated with this layout.
            None => unsafe { dealloc(self.buckets.as_ptr().cast(), heap_layout(self.nb())) },
        }
    }

    /// The bucket where a search for the tag starts.
    #[inline]
    pub(super) fn home(self, tag: u16) -> usize {
        (usize::from(tag) * self.nb()) >> 16
    }

    /// The smallest tag whose home is `bucket`; 2^16 if no tag's is.
    pub(super) fn first_tag(self, bucket: usize) -> u32 {
        (((bucket as u64) << 16).div_ceil(self.nb() as u64)) as u32
    }

    /// The bucket after this one, around the end.
    #[inline]
    pub(super) fn after(self, bucket: usize) -> usize {
        if bucket + 1 == self.nb() { 0 } else { bucket + 1 }
    }

    /// How many buckets lie between, going forward.
    #[inline]
    fn distance(self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.nb() - from }
    }

    #[inline]
    pub(super) fn bucket_ptr(self, bucket: usize) -> NonNull<Bucket> {
        debug_assert!(bucket < self.nb());
        // SAFETY: every caller's number is a home, the successor of one, or counted below `nb`.
        unsafe { self.buckets.add(bucket) }
    }

    /// The slots of a bucket, copied out: eight loads from one cache line.
    #[inline]
    pub(super) fn slots(self, bucket: usize) -> [u64; SLOTS] {
        // SAFETY: the bucket is inside of the segment, initialised when the segment was made, and not being written.
        unsafe { self.bucket_ptr(bucket).read() }.slots
    }

    /// Requests a bucket's memory.
    #[inline]
    pub(super) fn prefetch(self, bucket: usize) {
        crate::prefetch(self.bucket_ptr(bucket).as_ptr().cast());
    }

    #[inline]
    fn slot_ptr(self, bucket: usize, slot: usize) -> NonNull<u64> {
        debug_assert!(slot < SLOTS);
        // SAFETY: the slot's number is below 8.
        unsafe { self.bucket_ptr(bucket).cast::<u64>().add(slot) }
    }

    #[inline]
    pub(super) fn read(self, bucket: usize, slot: usize) -> u64 {
        // SAFETY: the slot is inside of the segment and initialised.
        unsafe { self.slot_ptr(bucket, slot).read() }
    }

    #[inline]
    fn write(self, bucket: usize, slot: usize, value: u64) {
        debug_assert!(!self.is_empty_segment());
        // SAFETY: the slot is inside of the segment; the table is borrowed exclusively by all who write, and nobody
        // writes into the empty segment because its capacity is 0.
        unsafe { self.slot_ptr(bucket, slot).write(value) };
    }

    #[inline]
    pub(super) fn is_full(self, bucket: usize) -> bool {
        self.read(bucket, SLOTS - 1) != 0
    }

    /// How many slots of the bucket are occupied.
    #[inline]
    pub(super) fn count(self, bucket: usize) -> usize {
        self.slots(bucket).iter().map(|&slot| usize::from(slot != 0)).sum()
    }

    /// A bit for each of the bucket's slots whose tag is `tag`. Free slots look like tag 0.
    #[inline]
    pub(super) fn matches(self, bucket: usize, tag: u16) -> u32 {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: SSE2 is part of x86_64; the bucket is inside of the segment, initialised and not being written.
        return unsafe { matching_tags(self.bucket_ptr(bucket), tag) };
        #[cfg(not(target_arch = "x86_64"))]
        {
            let slots = self.slots(bucket);
            (0..SLOTS).fold(0, |bits, i| bits | u32::from(tag_of(slots[i]) == tag) << i)
        }
    }

    /// By what the items of a run are ordered, seen from a bucket of it: the tag, except that items whose home lies behind
    /// the bucket have come around the end and are before all others.
    #[inline]
    fn order(self, tag: u16, bucket: usize) -> u32 {
        u32::from(tag) | u32::from(self.home(tag) <= bucket) << 16
    }

    /// Whether a search for a tag that has come to this bucket may go on to the next: the bucket is full, and nothing in it
    /// is behind the tag.
    #[inline]
    pub(super) fn goes_on(self, bucket: usize, tag: u16) -> bool {
        let last = self.read(bucket, SLOTS - 1);
        last != 0 && self.order(tag_of(last), bucket) <= self.order(tag, bucket)
    }

    /// Puts an item where it belongs; gives the place and how many buckets it is away from the item's home. The caller
    /// has made sure that there is room.
    #[inline]
    pub(super) fn place(self, value: u64) -> (NonNull<u64>, usize) {
        let tag = tag_of(value);
        let home = self.home(tag);
        let mut bucket = home;
        while self.goes_on(bucket, tag) {
            bucket = self.after(bucket);
        }
        let slot = self.rank(bucket, tag);
        let mut next = bucket;
        let mut pushed_out = self.push(bucket, slot, value);
        while pushed_out != 0 {
            next = self.after(next);
            pushed_out = self.push(next, 0, pushed_out);
        }
        (self.slot_ptr(bucket, slot), self.distance(home, bucket))
    }

    /// How many items of a bucket are not behind a tag.
    #[inline]
    fn rank(self, bucket: usize, tag: u16) -> usize {
        let slots = self.slots(bucket);
        let order = self.order(tag, bucket);
        // Those that came around the end are the first; without them the tags alone decide, and a slot starts with its tag.
        if order >> 16 == 1 && self.home(tag_of(slots[0])) <= bucket {
            let bound = u64::from(tag) << TAG_SHIFT | !TAG_MASK;
            return slots.iter().map(|&slot| usize::from(slot != 0) & usize::from(slot <= bound)).sum();
        }
        slots.iter().take_while(|&&slot| slot != 0 && self.order(tag_of(slot), bucket) <= order).count()
    }

    /// Inserts before one of a bucket's slots; gives the last one, which has no room any more, or 0.
    #[inline]
    fn push(self, bucket: usize, slot: usize, value: u64) -> u64 {
        debug_assert!(!self.is_empty_segment());
        let old = self.slots(bucket);
        let shifted = |i: usize| if i == 0 { 0 } else { old[i - 1] };
        // Without branches on the slot's number, which cannot be foretold.
        let slots = std::array::from_fn(|i| {
            if i < slot {
                old[i]
            } else if i == slot {
                value
            } else {
                shifted(i)
            }
        });
        // SAFETY: the bucket is inside of the segment, and the table is borrowed exclusively by all who write.
        unsafe { self.bucket_ptr(bucket).write(Bucket { slots }) };
        old[SLOTS - 1]
    }

    /// Empties all slots and puts the items in; they fit. Gives the longest distance of an item from its home. Linear
    /// when the items come in the order of their tags.
    pub(super) fn refill(self, items: impl Iterator<Item = u64>) -> usize {
        self.clear();
        let (mut bucket, mut count, mut last_tag) = (0, 0, 0);
        let mut farthest = 0;
        for value in items {
            let tag = tag_of(value);
            let home = self.home(tag);
            if home > bucket {
                (bucket, count) = (home, 0);
            } else if count == SLOTS && bucket + 1 < self.nb() {
                (bucket, count) = (bucket + 1, 0);
            }
            // Nothing lies behind the last item, so one that is not before it just follows.
            let distance = if count < SLOTS && tag >= last_tag {
                self.write(bucket, count, value);
                (count, last_tag) = (count + 1, tag);
                bucket - home
            } else {
                // Either it comes around the end, or it is out of order; either way the last bucket may be a later one now.
                let (_, distance) = self.place(value);
                while self.is_full(bucket) && bucket + 1 < self.nb() && self.count(bucket + 1) > 0 {
                    bucket += 1;
                }
                count = self.count(bucket);
                distance
            };
            farthest = farthest.max(distance);
        }
        farthest
    }

    /// Takes an item out, keeping the bucket's items together and every item reachable: what was pushed on from a full
    /// bucket moves back.
    pub(super) fn take(self, bucket: usize, slot: usize) -> u64 {
        let value = self.read(bucket, slot);
        let mut hole = bucket;
        let mut was_full = self.pull(hole, slot);
        while was_full {
            let next = self.after(hole);
            let first = self.read(next, 0);
            if first == 0 || next == hole || self.home(tag_of(first)) == next {
                break;
            }
            self.write(hole, SLOTS - 1, first);
            was_full = self.pull(next, 0);
            hole = next;
        }
        value
    }

    /// Removes from a bucket's items; says whether the bucket was full.
    #[inline]
    fn pull(self, bucket: usize, slot: usize) -> bool {
        let old = self.slots(bucket);
        let shifted = |i: usize| if i + 1 == SLOTS { 0 } else { old[i + 1] };
        let slots = std::array::from_fn(|i| if i < slot { old[i] } else { shifted(i) });
        // SAFETY: the bucket is inside of the segment, and the table is borrowed exclusively by all who write.
        unsafe { self.bucket_ptr(bucket).write(Bucket { slots }) };
        old[SLOTS - 1] != 0
    }

    /// Gives the places of all items with these tags to `visit`, which may write slots with the same tag there.
    #[inline]
    pub(super) fn with_tags(self, tags: RangeInclusive<u16>, mut visit: impl FnMut(NonNull<u64>)) {
        let (mut bucket, last) = (self.home(*tags.start()), *tags.end());
        let mut homes_left = self.home(last) - bucket;
        loop {
            for (slot, value) in self.slots(bucket).into_iter().enumerate() {
                if value != 0 && tags.contains(&tag_of(value)) {
                    visit(self.slot_ptr(bucket, slot));
                }
            }
            if homes_left == 0 && !self.goes_on(bucket, last) {
                return;
            }
            homes_left = homes_left.saturating_sub(1);
            bucket = self.after(bucket);
        }
    }

    /// Appends all items to `items`, in the order of their tags.
    pub(super) fn collect_into(self, items: &mut Vec<u64>) {
        let start = items.len();
        let mut around = 0;
        for bucket in 0..self.nb() {
            for slot in self.slots(bucket).into_iter().take_while(|&slot| slot != 0) {
                // Those that came around the end lie in front of all others.
                around += usize::from(self.home(tag_of(slot)) > bucket);
                items.push(slot);
            }
        }
        if let Some(items) = items.get_mut(start..) {
            items.rotate_left(around);
        }
    }

    /// The same items in `nb` buckets; `self` is not to be used afterwards. In place if both are paged.
    pub(super) fn resized(self, nb: usize) -> Segment {
        with_scratch(|items| {
            self.collect_into(items);
            self.replaced(nb, items.iter().copied())
        })
    }

    /// A segment with `nb` buckets and these items in the place of this one, which is not to be used afterwards.
    pub(super) fn replaced(self, nb: usize, items: impl Iterator<Item = u64>) -> Segment {
        match self.page().filter(|_| is_paged(nb)) {
            Some(page) => {
                #[expect(clippy::cast_possible_truncation, reason = "at most NB_MAX")]
                let segment = Segment { buckets: self.buckets, nb: nb as u32 };
                segment.refill(items);
                if nb < self.nb() {
                    // SAFETY: the page is this segment's, and what lies behind its buckets is not read.
                    unsafe { release_tail(page, nb * BUCKET_BYTES) };
                }
                segment
            }
            None => {
                let segment = Segment::new(nb);
                segment.refill(items);
                // SAFETY: the items are in the new segment, and the caller forgets this one.
                unsafe { self.free() };
                segment
            }
        }
    }

    fn clear(self) {
        debug_assert!(!self.is_empty_segment());
        // SAFETY: the segment's memory is `nb` buckets long, and all-zero is a bucket of free slots.
        unsafe { self.buckets.write_bytes(0, self.nb()) };
    }

    /// The longest distance of an item from its home, in buckets.
    #[cfg(test)]
    pub(super) fn farthest(self) -> usize {
        (0..self.nb())
            .flat_map(|bucket| self.slots(bucket).into_iter().filter(|&slot| slot != 0).map(move |slot| (bucket, slot)))
            .map(|(bucket, slot)| self.distance(self.home(tag_of(slot)), bucket))
            .max()
            .unwrap_or(0)
    }

    /// Asserts what `mod.rs` says about a segment; gives the number of items.
    #[cfg(any(test, debug_assertions))]
    pub(super) fn check(self) -> usize {
        let mut used = 0;
        for bucket in 0..self.nb() {
            let slots = self.slots(bucket);
            let count = self.count(bucket);
            assert!(slots[..count].iter().all(|&slot| slot != 0), "a gap before an item");
            used += count;
            let orders = slots[..count].iter().map(|&slot| self.order(tag_of(slot), bucket));
            assert!(orders.is_sorted(), "items of a bucket out of order");
            for &slot in &slots[..count] {
                let mut at = self.home(tag_of(slot));
                while at != bucket {
                    assert!(self.is_full(at), "an item behind a bucket that is not full");
                    assert!(self.goes_on(at, tag_of(slot)), "an item behind one that belongs behind it");
                    at = self.after(at);
                }
            }
        }
        assert!(used <= self.capacity());
        used
    }
}

/// A bit for each slot with this tag.
///
/// # Safety
/// The bucket may be read.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse2")]
#[inline]
unsafe fn matching_tags(bucket: NonNull<Bucket>, tag: u16) -> u32 {
    use std::arch::x86_64::{
        __m128i, _mm_castps_si128, _mm_castsi128_ps, _mm_cmpeq_epi16, _mm_load_si128, _mm_movemask_ps, _mm_set1_epi16,
        _mm_shuffle_ps,
    };
    /// Of two vectors the upper halves of their four slots.
    const UPPER: i32 = 0b11_01_11_01;
    let lanes = bucket.cast::<__m128i>().as_ptr();
    // SAFETY: a bucket is four aligned vectors of two slots each.
    let two = |i: usize| _mm_castsi128_ps(unsafe { _mm_load_si128(lanes.wrapping_add(i)) });
    let wanted = _mm_set1_epi16(tag.cast_signed());
    // The tag is the upper part of the upper half, hence the half's sign after comparing.
    let four = |a, b| {
        let upper = _mm_castps_si128(_mm_shuffle_ps::<UPPER>(a, b));
        _mm_movemask_ps(_mm_castsi128_ps(_mm_cmpeq_epi16(upper, wanted))).cast_unsigned()
    };
    four(two(0), two(1)) | four(two(2), two(3)) << 4
}

/// Lends a buffer for a segment's items. It is kept for the next time, since allocators would spread such large and
/// short-lived pieces over many pages.
pub(super) fn with_scratch<R>(work: impl FnOnce(&mut Vec<u64>) -> R) -> R {
    thread_local! {
        static SCRATCH: Cell<Vec<u64>> = const { Cell::new(Vec::new()) };
    }
    let mut items = SCRATCH.take();
    items.clear();
    let result = work(&mut items);
    if items.capacity() <= 2 * NB_MAX * SLOTS {
        SCRATCH.set(items);
    }
    result
}

/// Whether a segment of so many buckets has an arena page.
#[inline]
fn is_paged(nb: usize) -> bool {
    nb > NB_HEAP_MAX && nb <= NB_MAX
}

fn heap_layout(nb: usize) -> Layout {
    Layout::array::<Bucket>(nb).expect("a segment's size follows from its items, which are in memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_steps_hold_what_they_are_chosen_for_and_are_tight() {
        let mut last = 0;
        for items in 0..200_000 {
            let nb = buckets_for(items);
            assert!(capacity_of(nb) >= items);
            assert!(capacity_of(nb) < nb * SLOTS);
            assert!(nb >= last, "more items need no fewer buckets");
            assert!(nb > NB_MAX || !is_paged(nb) || nb.is_multiple_of(NB_HEAP_MAX));
            last = nb;
        }
        assert_eq!(buckets_for(capacity_of(NB_MAX)), NB_MAX);
        assert!(buckets_for(capacity_of(NB_MAX) + 1) > NB_MAX);
    }

    #[test]
    fn tags_are_found_in_every_slot() {
        let segment = Segment::new(2);
        let tags = [0x8000_u16, 1, 0x7FFF, 0xFFFF, 0, 1, 0x00FF, 0xFF00];
        for (slot, &tag) in tags.iter().enumerate() {
            segment.write(1, slot, u64::from(tag) << 48 | 0x7FFF_FFFF_FFFC);
        }
        for tag in 0..=u16::MAX {
            let wanted = tags.iter().enumerate().fold(0, |bits, (i, &t)| bits | u32::from(t == tag) << i);
            assert_eq!(segment.matches(1, tag), wanted, "tag {tag:#x}");
        }
        assert_eq!(segment.matches(0, 0), 0xFF);
        // SAFETY: made above and not used any more.
        unsafe { segment.free() };
    }

    #[test]
    fn first_tags_are_the_edges_of_the_homes() {
        for nb in [1, 2, 3, 7, 36, 64, 320, 448, 512, 576, 65_536, 100_000, 131_072] {
            let segment = Segment { buckets: Segment::EMPTY.buckets, nb };
            for tag in 0..=u16::MAX {
                let home = segment.home(tag);
                assert!(segment.first_tag(home) <= u32::from(tag));
                assert!(segment.first_tag(home + 1) > u32::from(tag));
            }
        }
    }
}
