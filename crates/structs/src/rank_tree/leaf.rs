//! A leaf: members in order, each an 8-byte word of a pointer and a 16-bit digest of its place.
//!
//! ```text
//!  word   | digest, 16 bits | address, 48 bits |
//! ```
//!
//! Looking into a member is a cache miss; a leaf itself is a few lines of memory side by side. So a word's top bits say
//! roughly where its member stands within the leaf: a lookup searches the digests first and looks only into members whose
//! digest is that of what it looks for, mostly one or none. What a digest is made of depends on the leaf:
//!
//! - [`Digest::Key`]: `(order key >> shift) - base`, the shift being just large enough for the leaf's range of keys;
//! - [`Digest::Name`]: all keys are equal (a set ordered by its names alone): the first two bytes behind what all names
//!   have in common.
//!
//! What must stay true: digests are exact, never clamped: a member whose place they cannot say changes the scale first.
//! Changing the scale by keys needs no look into the members, because dropping low bits of a quotient twice is dropping
//! them at once. Words are sorted by the members' order, so digests never decrease. A leaf is never empty but while it is
//! being changed.

use std::cmp::Ordering;

use super::order::{ADDRESS_BITS, ADDRESS_MASK, Probe, Ranked, member_at};
use crate::prefetch;

/// Members of a leaf at most.
pub(super) const LEAF_MAX: usize = 128;
/// A leaf with fewer is joined with a neighbour or filled from it.
pub(super) const LEAF_MIN: usize = LEAF_MAX / 4;
/// Two leaves with no more than this together become one.
pub(super) const LEAF_JOINED_MAX: usize = LEAF_MAX * 3 / 4;

const DIGEST_MAX: u64 = 0xFFFF;
/// A scale whose digests span less than this is made anew when the leaf is split anyway.
const SPAN_COARSE: u64 = 2048;
/// How far ahead members are asked from memory when many are looked into.
const AHEAD: usize = 8;

#[derive(Clone, Copy, Debug)]
enum Digest {
    Key { shift: u32, base: u64 },
    Name { key: u64, prefix: u32 },
}

/// Where a probe stands to the range that digests can say.
enum Place {
    Before,
    Digest(u64),
    After,
}

#[derive(Debug)]
pub(super) struct Leaf {
    words: Vec<u64>,
    digest: Digest,
}

impl Leaf {
    /// A leaf of members in order, at least one.
    ///
    /// # Safety
    /// They are alive.
    pub(super) unsafe fn from_addresses<R: Ranked>(addresses: &[u64]) -> Leaf {
        let mut words = Vec::with_capacity(capacity_for(addresses.len()));
        words.extend_from_slice(addresses);
        let mut leaf = Leaf { words, digest: Digest::Key { shift: 0, base: 0 } };
        leaf.make_digest::<R>();
        leaf
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.words.len()
    }

    pub(super) fn words(&self) -> &[u64] {
        &self.words
    }

    /// Bytes on the heap.
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        self.words.capacity() * size_of::<u64>()
    }

    #[inline]
    pub(super) fn address(&self, at: usize) -> u64 {
        self.words[at] & ADDRESS_MASK
    }

    /// Asks for all of its memory at once: a search reads several lines of it, each depending on the one before.
    #[inline]
    pub(super) fn prefetch(&self) {
        for line in self.words.chunks(8) {
            prefetch(line.as_ptr().cast());
        }
    }

    /// Where the probe is, or where it belongs.
    #[inline]
    pub(super) fn position<R: Ranked>(&self, probe: &Probe<'_>) -> Result<usize, usize> {
        let digest = match self.place::<R>(probe) {
            Place::Before => return Err(0),
            Place::After => return Err(self.len()),
            Place::Digest(digest) => digest,
        };
        let (low, high) = self.run(digest);
        self.words[low..high]
            // SAFETY: members in a tree are alive, but for one that the probe replaces.
            .binary_search_by(|&word| unsafe { probe.compare_stored::<R>(word & ADDRESS_MASK) })
            .map(|at| low + at)
            .map_err(|at| low + at)
    }

    /// Where the probe's own member is. Looks into one other member at most.
    #[inline]
    pub(super) fn find<R: Ranked>(&self, probe: &Probe<'_>) -> Option<usize> {
        let Place::Digest(digest) = self.place::<R>(probe) else { return None };
        let (low, high) = self.run(digest);
        let word = digest << ADDRESS_BITS | probe.address;
        self.words[low..high].iter().position(|&stored| stored == word).map(|at| low + at)
    }

    /// Number of members whose key is below `key`, or also those at it.
    pub(super) fn below_key<R: Ranked>(&self, key: u64, and_equal: bool) -> usize {
        let fits = |stored: u64| if and_equal { stored <= key } else { stored < key };
        match self.digest {
            Digest::Name { key: stored, .. } => {
                if fits(stored) {
                    self.len()
                } else {
                    0
                }
            }
            Digest::Key { shift, base } => {
                let quotient = key >> shift;
                if quotient < base {
                    return 0;
                }
                if quotient - base > DIGEST_MAX {
                    return self.len();
                }
                let (low, high) = self.run(quotient - base);
                // SAFETY: members in a tree are alive.
                low + self.words[low..high].partition_point(|&word| fits(unsafe { key_at::<R>(word) }))
            }
        }
    }

    /// Puts a member at `at`, which is where it belongs.
    pub(super) fn insert<R: Ranked>(&mut self, at: usize, probe: &Probe<'_>) {
        if self.len() == self.words.capacity() {
            self.words.reserve_exact(capacity_for(self.len() + 1) - self.len());
        }
        let digest = match self.place::<R>(probe) {
            Place::Digest(digest) => digest,
            Place::Before | Place::After => self.make_room::<R>(probe),
        };
        self.words.insert(at, digest << ADDRESS_BITS | probe.address);
    }

    /// Puts a member in the place of another one that is equal in order.
    pub(super) fn replace(&mut self, at: usize, address: u64) {
        self.words[at] = self.words[at] & !ADDRESS_MASK | address;
    }

    pub(super) fn remove(&mut self, at: usize) {
        self.words.remove(at);
        self.shrink();
    }

    /// Takes members out, in order.
    pub(super) fn take(&mut self, from: usize, to: usize, mut taken: impl FnMut(u64)) {
        self.words.drain(from..to).for_each(|word| taken(word & ADDRESS_MASK));
        if !self.words.is_empty() {
            self.shrink();
        }
    }

    /// Cuts the members from `at` on off into a leaf of their own; neither is left empty. No room is left in either:
    /// often only one of them will grow.
    pub(super) fn split_off<R: Ranked>(&mut self, at: usize) -> Leaf {
        let tail = self.words.get(at..).unwrap_or_default();
        let mut words = Vec::with_capacity(capacity_for(tail.len()));
        words.extend_from_slice(tail);
        self.words.truncate(at);
        self.words.shrink_to(capacity_for(at));
        let mut right = Leaf { words, digest: self.digest };
        self.sharpen::<R>();
        right.sharpen::<R>();
        right
    }

    /// Moves members between this leaf and the one behind it, so that `left_len` are here; perhaps all.
    pub(super) fn balance<R: Ranked>(&mut self, right: &mut Leaf, left_len: usize) {
        if left_len >= self.len() {
            let moved = left_len - self.len();
            self.words.reserve_exact(capacity_for(left_len).max(self.len()) - self.len());
            self.words.extend(right.words.drain(..moved));
        } else {
            let mut words = Vec::with_capacity(capacity_for(right.len() + self.len() - left_len));
            words.extend(self.words.drain(left_len..));
            words.append(&mut right.words);
            right.words = words;
        }
        self.shrink();
        self.make_digest::<R>();
        if !right.words.is_empty() {
            right.shrink();
            right.make_digest::<R>();
        }
    }

    #[inline]
    fn place<R: Ranked>(&self, probe: &Probe<'_>) -> Place {
        match self.digest {
            Digest::Key { shift, base } => {
                let quotient = probe.key >> shift;
                if quotient < base {
                    Place::Before
                } else if quotient - base > DIGEST_MAX {
                    Place::After
                } else {
                    Place::Digest(quotient - base)
                }
            }
            Digest::Name { key, prefix } => {
                let prefix = prefix as usize;
                let common = match self.words.first() {
                    // SAFETY: members in a tree are alive, but for one that the probe replaces, which is not looked at.
                    Some(&word) if word & ADDRESS_MASK != probe.address => unsafe {
                        R::name(member_at(word & ADDRESS_MASK))
                    },
                    _ => probe.name,
                };
                let common = common.get(..prefix).unwrap_or(common);
                let head = probe.name.get(..prefix).unwrap_or(probe.name);
                match probe.key.cmp(&key).then_with(|| head.cmp(common)) {
                    Ordering::Less => Place::Before,
                    Ordering::Equal => Place::Digest(name_digest(probe.name, prefix)),
                    Ordering::Greater => Place::After,
                }
            }
        }
    }

    /// The words with this digest.
    #[inline]
    fn run(&self, digest: u64) -> (usize, usize) {
        let from = digest << ADDRESS_BITS;
        let to = from | ADDRESS_MASK;
        let low = self.words.partition_point(|&word| word < from);
        let rest = &self.words[low..];
        // Runs are short: the next word decides nearly always.
        let len = match rest.iter().take(4).position(|&word| word > to) {
            Some(len) => len,
            None => rest.partition_point(|&word| word <= to),
        };
        (low, low + len)
    }

    /// Changes the scale so that it can say the place of the probe, which it could not. Returns the probe's digest.
    #[cold]
    fn make_room<R: Ranked>(&mut self, probe: &Probe<'_>) -> u64 {
        let (Some(&first), Some(&last)) = (self.words.first(), self.words.last()) else {
            // Nothing to be in scale with.
            self.digest = Digest::Name { key: probe.key, prefix: u32::try_from(probe.name.len()).unwrap_or(u32::MAX) };
            return 0;
        };
        match self.digest {
            Digest::Key { shift, base } => {
                let lowest = base + (first >> ADDRESS_BITS);
                let highest = base + (last >> ADDRESS_BITS);
                let fits = |more: u32| {
                    let quotient = probe.key >> (shift + more);
                    let (low, high) = ((lowest >> more).min(quotient), (highest >> more).max(quotient));
                    (high - low <= DIGEST_MAX).then_some((more, low, high))
                };
                // At a shift of 48 any two keys are near enough.
                let (more, low, high) = (0..=48).find_map(fits).expect("quotients of 16 bits");
                // What room is left is left where the probe came from, as the next one often does.
                let new_base = if probe.key >> shift < lowest { high.saturating_sub(DIGEST_MAX) } else { low };
                for word in &mut self.words {
                    let quotient = (base + (*word >> ADDRESS_BITS)) >> more;
                    *word = (quotient - new_base) << ADDRESS_BITS | *word & ADDRESS_MASK;
                }
                self.digest = Digest::Key { shift: shift + more, base: new_base };
                (probe.key >> (shift + more)) - new_base
            }
            Digest::Name { key, prefix } if key == probe.key => {
                // SAFETY: members in a tree are alive.
                let stored = unsafe { R::name(member_at(first & ADDRESS_MASK)) };
                let prefix = common_prefix(stored, probe.name).min(prefix as usize);
                self.digest_names::<R>(key, prefix);
                name_digest(probe.name, prefix)
            }
            Digest::Name { key, .. } => {
                let (low, high) = (key.min(probe.key), key.max(probe.key));
                let (shift, base) = scale(low, high);
                for word in &mut self.words {
                    *word = ((key >> shift) - base) << ADDRESS_BITS | *word & ADDRESS_MASK;
                }
                self.digest = Digest::Key { shift, base };
                (probe.key >> shift) - base
            }
        }
    }

    /// Makes the scale anew if it has become coarse for what is left.
    fn sharpen<R: Ranked>(&mut self) {
        if let (Digest::Key { shift, .. }, Some(&first), Some(&last)) =
            (self.digest, self.words.first(), self.words.last())
        {
            let span = (last >> ADDRESS_BITS) - (first >> ADDRESS_BITS);
            if span == 0 || span < SPAN_COARSE && shift > 0 {
                self.make_digest::<R>();
            }
        }
    }

    /// Makes the scale that suits the members best.
    fn make_digest<R: Ranked>(&mut self) {
        let (Some(&first), Some(&last)) = (self.words.first(), self.words.last()) else { return };
        // SAFETY: members in a tree are alive.
        let low = unsafe { key_at::<R>(first) };
        // SAFETY: members in a tree are alive.
        let high = unsafe { key_at::<R>(last) };
        if low == high {
            // SAFETY: members in a tree are alive.
            let first_name = unsafe { R::name(member_at(first & ADDRESS_MASK)) };
            // SAFETY: members in a tree are alive.
            let last_name = unsafe { R::name(member_at(last & ADDRESS_MASK)) };
            self.digest_names::<R>(low, common_prefix(first_name, last_name));
            return;
        }
        let (shift, base) = scale(low, high);
        self.digest_all(|word| {
            // SAFETY: members in a tree are alive.
            let key = unsafe { key_at::<R>(word) };
            (key >> shift) - base
        });
        self.digest = Digest::Key { shift, base };
    }

    fn digest_names<R: Ranked>(&mut self, key: u64, prefix: usize) {
        // A shorter prefix than there is in common is right too.
        let stored_prefix = u32::try_from(prefix).unwrap_or(u32::MAX);
        let prefix = stored_prefix as usize;
        self.digest_all(|word| {
            // SAFETY: members in a tree are alive.
            let name = unsafe { R::name(member_at(word & ADDRESS_MASK)) };
            name_digest(name, prefix)
        });
        self.digest = Digest::Name { key, prefix: stored_prefix };
    }

    fn digest_all(&mut self, digest: impl Fn(u64) -> u64) {
        for at in 0..self.words.len() {
            if let Some(&later) = self.words.get(at + AHEAD) {
                prefetch(member_at(later & ADDRESS_MASK).as_ptr());
            }
            let word = self.words[at];
            self.words[at] = digest(word) << ADDRESS_BITS | word & ADDRESS_MASK;
        }
    }

    fn shrink(&mut self) {
        // Not at once, lest a removal and an insertion in turn move the leaf each time.
        let wanted = capacity_for(self.len() + 1 + self.len() / 8);
        if wanted < self.words.capacity() {
            self.words.shrink_to(wanted);
        }
    }

    /// Checks what must stay true.
    #[cfg(test)]
    pub(super) fn check<R: Ranked>(&self) {
        assert!(!self.words.is_empty() && self.len() <= LEAF_MAX);
        assert!(self.words.is_sorted_by_key(|word| word >> ADDRESS_BITS), "{:?}", self.digest);
        for &word in &self.words {
            let member = member_at(word);
            // SAFETY: members in a tree are alive.
            let probe = unsafe { Probe::of::<R>(member) };
            let Place::Digest(digest) = self.place::<R>(&probe) else { panic!("outside of the scale") };
            assert_eq!(digest, word >> ADDRESS_BITS, "{:?}", self.digest);
        }
    }
}

/// # Safety
/// The member is alive.
#[inline]
pub(super) unsafe fn key_at<R: Ranked>(word: u64) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { R::order_key(member_at(word & ADDRESS_MASK)) }
}

/// The finest shift and the base by which all keys of a range have digests.
fn scale(low: u64, high: u64) -> (u32, u64) {
    // Bits above the first that differs are the same in both; 16 from there on would do but for a carry into one more.
    let mut shift = (64 - (low ^ high).leading_zeros()).saturating_sub(17);
    while (high >> shift) - (low >> shift) > DIGEST_MAX {
        shift += 1;
    }
    while shift > 0 && (high >> (shift - 1)) - (low >> (shift - 1)) <= DIGEST_MAX {
        shift -= 1;
    }
    (shift, low >> shift)
}

/// Two bytes from `prefix` on, zeros beyond the end.
#[inline]
fn name_digest(name: &[u8], prefix: usize) -> u64 {
    let byte = |at: usize| u64::from(name.get(at).copied().unwrap_or(0));
    byte(prefix) << 8 | byte(prefix.saturating_add(1))
}

fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// Words that a leaf has room for when it holds `len`: sizes that allocators have, an eighth to a quarter apart.
fn capacity_for(len: usize) -> usize {
    let step = (len.next_power_of_two() / 8).max(2);
    len.next_multiple_of(step).min(LEAF_MAX.max(len))
}
