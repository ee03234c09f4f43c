//! Members of a big hash, set or sorted set: a table of blocks with one member each.
//!
//! ```text
//!  byte 0   flags: has extra | has value | lies in the slab
//!  byte 1   [extra, 64 bits: a score or a deadline; whose meaning belongs to the type]
//!           key length; 255 = a 32-bit length follows
//!           [value length, likewise, if there is a value]
//!           key
//!           [value]
//! ```
//!
//! A block says by itself how long it is and where it came from. While a collection is small its blocks are the global
//! allocator's: a slab's pages would be many times larger than what is in them. From [`SLAB_FROM`] members on, new
//! blocks come from a slab that belongs to the collection alone, without overhead, and which gives back its pages
//! without looking at the blocks when the collection is dropped. Blocks made before stay where they are.
//!
//! Members can be frozen: then what they were is given out in parts while they change, see `members/frozen.rs`.
//!
//! What must stay true:
//! - a block in the table is complete, was made here, and moves only when its member's value or extra is replaced: an
//!   index of members may point to it in the meantime;
//! - nothing is inserted, changed or removed without a call of `keep` or `keep_or_move` before, for its position;
//! - `heap_blocks` counts the blocks that are not the slab's: if there are none, dropping does not look at blocks.

mod frozen;

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::ptr::NonNull;

use crate::dict::{self, Dict, SlotRef};
use crate::frozen::{Kept, weight};
use crate::keyspace::KeyHasher;
use crate::rank_tree::{ByScore, RankTree};
use crate::slab::{self, BLOCK_BYTES_MAX, Slab};
pub(crate) use frozen::FrozenMembers;
use frozen::{MOVED_FROM_BYTES, Walk};

/// Number of members from which on new blocks come from a slab.
pub const SLAB_FROM: usize = 1024;

/// Members whose memory is requested ahead when all are walked.
const AHEAD: usize = 8;

const HAS_EXTRA: u8 = 1;
const HAS_VALUE: u8 = 1 << 1;
const IN_SLAB: u8 = 1 << 2;
const EXTRA_AT: usize = 1;
const EXTRA_BYTES: usize = 8;
/// In place of a length: the length follows in 32 bits.
const LONG_MARK: u8 = 255;
const LONG_LEN_BYTES: usize = 5;
const BLOCK_ALIGN: usize = slab::CLASS_STEP_BYTES;

/// Where a member's block is. Good until the member is removed or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MemberPtr(NonNull<u8>);

impl MemberPtr {
    /// The address.
    #[inline]
    pub fn address(self) -> NonNull<u8> {
        self.0
    }

    /// A pointer made of an address that [`MemberPtr::address`] gave.
    #[inline]
    pub fn from_address(address: NonNull<u8>) -> MemberPtr {
        MemberPtr(address)
    }

    /// The member.
    ///
    /// # Safety
    /// It has not been removed or replaced, and will not be for `'a`.
    #[inline]
    pub unsafe fn member<'a>(self) -> MemberRef<'a> {
        // SAFETY: the caller's promise.
        unsafe { MemberRef::new(self.0) }
    }
}

/// A member that is being looked at.
#[derive(Clone, Copy)]
pub struct MemberRef<'a> {
    block: NonNull<u8>,
    member: PhantomData<&'a u8>,
}

impl<'a> MemberRef<'a> {
    /// # Safety
    /// `block` is a complete block that stays alive and unchanged for `'a`.
    #[inline]
    unsafe fn new(block: NonNull<u8>) -> MemberRef<'a> {
        MemberRef { block, member: PhantomData }
    }

    /// Where it is.
    #[inline]
    pub fn ptr(self) -> MemberPtr {
        MemberPtr(self.block)
    }

    /// Its key: the field of a hash, the member of a set.
    #[inline]
    pub fn key(self) -> &'a [u8] {
        let (key_at, key_len, _) = self.lens();
        self.bytes(key_at, key_len)
    }

    /// Its value; empty if it has none.
    #[inline]
    pub fn value(self) -> &'a [u8] {
        let (key_at, key_len, value_len) = self.lens();
        self.bytes(key_at + key_len, value_len)
    }

    /// Key and value in one go.
    #[inline]
    pub fn key_and_value(self) -> (&'a [u8], &'a [u8]) {
        let (key_at, key_len, value_len) = self.lens();
        (self.bytes(key_at, key_len), self.bytes(key_at + key_len, value_len))
    }

    /// Its extra word, if it has one.
    #[inline]
    pub fn extra(self) -> Option<u64> {
        (self.byte(0) & HAS_EXTRA != 0).then(|| u64::from_le_bytes(self.array(EXTRA_AT)))
    }

    /// Where the key is, how long it is, and how long the value is.
    #[inline]
    fn lens(self) -> (usize, usize, usize) {
        let flags = self.byte(0);
        let mut at = if flags & HAS_EXTRA != 0 { EXTRA_AT + EXTRA_BYTES } else { EXTRA_AT };
        let key_len = self.len_at(&mut at);
        let value_len = if flags & HAS_VALUE != 0 { self.len_at(&mut at) } else { 0 };
        (at, key_len, value_len)
    }

    #[inline]
    fn len_at(self, at: &mut usize) -> usize {
        let short = self.byte(*at);
        if short != LONG_MARK {
            *at += 1;
            return usize::from(short);
        }
        let len = u32::from_le_bytes(self.array(*at + 1)) as usize;
        *at += LONG_LEN_BYTES;
        len
    }

    /// Bytes of the block that have contents.
    #[inline]
    fn block_bytes(self) -> usize {
        let (key_at, key_len, value_len) = self.lens();
        key_at + key_len + value_len
    }

    /// The whole block.
    fn block_slice(self) -> &'a [u8] {
        self.bytes(0, self.block_bytes())
    }

    #[inline]
    fn in_slab(self) -> bool {
        self.byte(0) & IN_SLAB != 0
    }

    #[inline]
    fn byte(self, at: usize) -> u8 {
        // SAFETY: a block is complete: all offsets that its flags and lengths imply lie inside of it.
        unsafe { self.block.add(at).read() }
    }

    #[inline]
    fn array<const N: usize>(self, at: usize) -> [u8; N] {
        // SAFETY: as in `byte`.
        let start = unsafe { self.block.add(at) };
        // SAFETY: as in `byte`; an array of bytes needs no alignment.
        unsafe { start.cast::<[u8; N]>().read() }
    }

    #[inline]
    fn bytes(self, at: usize, len: usize) -> &'a [u8] {
        // SAFETY: as in `byte`.
        let start = unsafe { self.block.add(at) };
        // SAFETY: as in `byte`, and the block is not changed for 'a.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), len) }
    }
}

impl std::fmt::Debug for MemberRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (key, value) = self.key_and_value();
        write!(f, "{}={} ({:?})", key.escape_ascii(), value.escape_ascii(), self.extra())
    }
}

struct MemberLayout;

// SAFETY: a block's key is written once, when the block is made; one that replaces another has the same key.
unsafe impl dict::Layout for MemberLayout {
    #[inline]
    unsafe fn key<'a>(block: NonNull<u8>) -> &'a [u8] {
        // SAFETY: the table's blocks are complete, and the caller keeps this one unchanged.
        unsafe { MemberRef::new(block) }.key()
    }
}

/// What [`Members::replace`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// Where the member was. Equal to `new` if it did not move, else not to be used any more.
    pub old: MemberPtr,
    /// Where it is.
    pub new: MemberPtr,
}

/// The members of one collection.
///
/// Positions are computed by the caller once per key ([`Members::position`]) and passed in, so that a series of look-ups
/// can prefetch: first the buckets of all keys, then their blocks.
pub struct Members {
    dict: Dict<MemberLayout>,
    slab: Option<Slab>,
    hasher: KeyHasher,
    heap_blocks: usize,
    heap_bytes: usize,
    frozen: Option<Box<FrozenMembers>>,
}

impl Members {
    /// No members.
    pub fn new(hasher: KeyHasher) -> Members {
        Members { dict: Dict::new(), slab: None, hasher, heap_blocks: 0, heap_bytes: 0, frozen: None }
    }

    /// No members, but room for about so many.
    pub fn with_capacity(hasher: KeyHasher, members: usize) -> Members {
        let slab = (members > SLAB_FROM).then(Slab::new);
        Members { dict: Dict::with_capacity(members), slab, hasher, heap_blocks: 0, heap_bytes: 0, frozen: None }
    }

    /// Number of members.
    #[inline]
    pub fn len(&self) -> usize {
        self.dict.len()
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.dict.is_empty()
    }

    /// What positions are computed with.
    pub fn hasher(&self) -> &KeyHasher {
        &self.hasher
    }

    /// The position of a key.
    #[inline]
    pub fn position(&self, key: &[u8]) -> u64 {
        self.hasher.position(key)
    }

    /// Hints that a key with this position will be looked up: first step.
    #[inline]
    pub fn prefetch_bucket(&self, position: u64) {
        self.dict.prefetch_bucket(position);
    }

    /// Hints that a key with this position will be looked up: second step, some time after the first. Says whether it may be
    /// there: if not, it is not.
    #[inline]
    pub fn prefetch_member(&self, position: u64) -> bool {
        self.dict.prefetch_block(position)
    }

    /// Bytes in use: blocks and table. O(1).
    pub fn memory_bytes(&self) -> usize {
        let slab = self.slab.as_ref().map_or(0, Slab::live_bytes);
        let frozen = self.frozen.as_ref().map_or(0, |frozen| frozen.memory_bytes());
        slab + self.heap_bytes + self.dict.memory_bytes() + frozen
    }

    /// The part of [`Members::memory_bytes`] that is mapped from the system and so unknown to the global allocator. O(1).
    pub fn mapped_bytes(&self) -> usize {
        self.slab.as_ref().map_or(0, Slab::live_bytes) + self.dict.mapped_bytes()
    }

    /// Whether dropping it takes long enough to be done elsewhere.
    pub fn is_large(&self) -> bool {
        self.slab.is_some()
    }

    /// The member with a key.
    #[inline]
    pub fn get(&self, position: u64, key: &[u8]) -> Option<MemberRef<'_>> {
        let block = self.dict.get(position, key)?;
        // SAFETY: a block in the table is complete, and stays while the members are borrowed.
        Some(unsafe { MemberRef::new(block) })
    }

    /// The member with a key, to be changed.
    #[inline]
    pub fn get_mut(&mut self, position: u64, key: &[u8]) -> Option<MemberMut<'_>> {
        let slot = self.dict.find(position, key)?;
        Some(MemberMut { members: self, slot, position })
    }

    /// Adds a member, whose key must not be there yet. Keys and values of 4 GiB and more panic: the protocol's limits are
    /// far below.
    pub fn insert(&mut self, position: u64, key: &[u8], value: Option<&[u8]>, extra: Option<u64>) -> MemberPtr {
        debug_assert_eq!(position, self.position(key));
        debug_assert!(self.dict.get(position, key).is_none(), "the key is there already");
        self.keep(position);
        if self.slab.is_none() && self.len() >= SLAB_FROM {
            self.slab = Some(Slab::new());
        }
        let block = self.build(key, value, extra);
        let hasher = &self.hasher;
        // SAFETY: the block is complete and stays until it is removed from the table; the key is absent, and if a caller
        // broke that promise there would be two of them, which harms nobody's memory.
        unsafe { self.dict.insert_new(position, block, &|key| hasher.position(key)) };
        MemberPtr(block)
    }

    /// Gives a member another value and extra. `None` if there is no such key.
    pub fn replace(&mut self, position: u64, key: &[u8], value: Option<&[u8]>, extra: Option<u64>) -> Option<Replaced> {
        Some(self.get_mut(position, key)?.replace(value, extra))
    }

    /// Changes the extra word of a member that has one. Says whether there was such a member.
    pub fn set_extra(&mut self, position: u64, key: &[u8], extra: u64) -> bool {
        self.get_mut(position, key).is_some_and(|mut member| member.set_extra(extra))
    }

    /// Removes a member. Says whether it was there.
    pub fn remove(&mut self, position: u64, key: &[u8]) -> bool {
        let member = self.get_mut(position, key);
        let found = member.is_some();
        if let Some(member) = member {
            member.remove();
        }
        found
    }

    /// Walks on from a cursor (0 is the start), giving the members of one bucket to `visit`; returns the next cursor, 0 at
    /// the end, always below 2^56. Members that are there from the first to the last call are given at least once.
    pub fn scan(&self, cursor: u64, visit: &mut dyn FnMut(MemberRef<'_>)) -> u64 {
        // SAFETY: a block in the table is complete, and stays while the members are borrowed.
        self.dict.scan(cursor, |block| visit(unsafe { MemberRef::new(block) }))
    }

    /// A member by chance, each with the same probability; `rng` gives 64 random bits a call.
    pub fn random(&self, rng: &mut dyn FnMut() -> u64) -> Option<MemberRef<'_>> {
        let block = self.dict.random(rng)?;
        // SAFETY: a block in the table is complete, and stays while the members are borrowed.
        Some(unsafe { MemberRef::new(block) })
    }

    /// Takes out a member by chance, each with the same probability; `rng` gives 64 random bits a call. Returns what `look`
    /// makes of it.
    pub fn take_random<T>(&mut self, rng: &mut dyn FnMut() -> u64, look: impl FnOnce(MemberRef<'_>) -> T) -> Option<T> {
        let block = self.dict.random(rng)?;
        // SAFETY: a block in the table is complete, and this one stays until it is removed below.
        let member = unsafe { MemberRef::new(block) };
        let result = look(member);
        let position = self.hasher.position(member.key());
        let slot = self.dict.find(position, member.key())?;
        MemberMut { members: self, slot, position }.remove();
        Some(result)
    }

    /// All members, in no meaningful order.
    pub fn iter(&self) -> Iter<'_> {
        Iter(self.dict.iter())
    }

    /// Gives all members to `visit`, in no meaningful order. Faster than [`Members::iter`] where members are looked at,
    /// because memory is requested for several of them ahead.
    pub fn for_each<'a>(&'a self, mut visit: impl FnMut(MemberRef<'a>)) {
        let mut waiting: [Option<MemberRef<'a>>; AHEAD] = [None; AHEAD];
        let mut next = 0;
        for member in self.iter() {
            crate::prefetch(member.block.as_ptr());
            if let Some(ready) = waiting[next].replace(member) {
                visit(ready);
            }
            next = (next + 1) % AHEAD;
        }
        let (newer, older) = waiting.split_at(next);
        older.iter().chain(newer).flatten().for_each(|&member| visit(member));
    }

    /// Freezes them: what they are now is given out in parts, in the order of ranks if `by_rank`, for members whose extra is
    /// a score. An earlier frozen state is forgotten.
    pub(crate) fn freeze(&mut self, ticket: u64, least_deadline_ms: Option<i64>, by_rank: bool) {
        self.frozen = Some(Box::new(FrozenMembers::new(ticket, self.len(), least_deadline_ms, by_rank)));
    }

    /// What they were when they were frozen, if they are.
    #[inline]
    pub(crate) fn frozen(&self) -> Option<&FrozenMembers> {
        self.frozen.as_deref()
    }

    /// Forgets the frozen state; what is left of it is handed out.
    pub(crate) fn thaw(&mut self) -> Option<Kept> {
        self.frozen.take().map(|frozen| frozen as Kept)
    }

    /// Gives out some of the frozen state: about `budget` members. Says whether there is more; if not, they are thawed.
    /// For members that are not frozen by rank.
    pub(crate) fn give_frozen(&mut self, budget: usize, visit: &mut dyn FnMut(MemberRef<'_>)) -> bool {
        let Some(frozen) = &mut self.frozen else { return false };
        let mut left = frozen.give_saved(budget, visit);
        while left > 0
            && let Walk::Positions(walk) = &mut frozen.walk
            && !walk.is_walked()
        {
            left -= 1;
            let hasher = &self.hasher;
            let next = self.dict.scan(walk.cursor(), |block| {
                // SAFETY: a block in the table is complete, and stays while the members are borrowed.
                let member = unsafe { MemberRef::new(block) };
                if walk.covers(hasher.position(member.key())) {
                    left = left.saturating_sub(weight(member.block_bytes()));
                    visit(member);
                }
            });
            walk.advance_to(next);
        }
        let is_over = left > 0 && frozen.is_over(left);
        if is_over {
            self.frozen = None;
        }
        !is_over
    }

    /// The same for members that are frozen by rank, which `order` has in order.
    ///
    /// # Safety
    /// `order` points to these members and to nothing else.
    pub(crate) unsafe fn give_frozen_by_rank(
        &mut self,
        order: &RankTree<ByScore>,
        budget: usize,
        visit: &mut dyn FnMut(MemberRef<'_>),
    ) -> bool {
        let Some(frozen) = &mut self.frozen else { return false };
        let mut left = frozen.give_saved(budget, visit);
        if left > 0
            && let Some(walk) = frozen.rank_walk()
        {
            let end = walk.mark().map_or(order.len(), |(key, name)| order.rank_of(key, name));
            let mut ahead = end.checked_sub(1).map(|last| order.iter_back_from(last));
            let mut last = None;
            while left > 0 {
                let Some(place) = ahead.as_mut().and_then(Iterator::next) else {
                    walk.finish();
                    last = None;
                    break;
                };
                // SAFETY: by the caller's promise it is one of these members, which are borrowed.
                let member = unsafe { MemberRef::new(place) };
                left = left.saturating_sub(weight(member.block_bytes()));
                if !walk.is_settled(|| self.hasher.position(member.key())) {
                    visit(member);
                }
                last = Some(member);
            }
            if let Some(last) = last {
                walk.advance_to(last);
            }
        }
        let is_over = left > 0 && frozen.is_over(left);
        if is_over {
            self.frozen = None;
        }
        !is_over
    }

    /// To be called before something with this position is inserted, changed or removed: saves what frozen members had.
    #[inline]
    fn keep(&mut self, position: u64) {
        if self.frozen.is_some() {
            self.save(position, None);
        }
    }

    /// The same before a member's block is given back. Says whether the block is to be handed to `move_aside`
    /// instead.
    #[inline]
    fn keep_or_move(&mut self, position: u64, block: NonNull<u8>) -> bool {
        self.frozen.is_some() && self.save(position, Some(block))
    }

    #[cold]
    fn save(&mut self, position: u64, movable: Option<NonNull<u8>>) -> bool {
        let Some(frozen) = &mut self.frozen else { return false };
        let mut moves = false;
        if frozen.settle(position) {
            let hasher = &self.hasher;
            self.dict.by_position(position, &|key| hasher.position(key), |block| {
                // SAFETY: a block in the table is complete, and stays while the members are borrowed.
                let member = unsafe { MemberRef::new(block) };
                if !frozen.is_ahead(member) {
                    return;
                }
                if movable == Some(block) && !member.in_slab() && member.block_bytes() >= MOVED_FROM_BYTES {
                    moves = true;
                } else {
                    frozen.aside.copy(member);
                }
            });
        }
        moves
    }

    /// Gives a block back, or keeps it for the frozen state.
    ///
    /// # Safety
    /// As for [`Members::free`]; `moves` is what `keep_or_move` said.
    #[inline]
    unsafe fn give_up(&mut self, block: NonNull<u8>, moves: bool) {
        if moves {
            // SAFETY: the caller's promise.
            unsafe { self.move_aside(block) };
        } else {
            // SAFETY: the caller's promise.
            unsafe { self.free(block) };
        }
    }

    /// Keeps a block for the frozen state.
    ///
    /// # Safety
    /// `keep_or_move` said yes for it, and nothing points to it any more.
    unsafe fn move_aside(&mut self, block: NonNull<u8>) {
        // SAFETY: the block is complete.
        let bytes = unsafe { MemberRef::new(block) }.block_bytes();
        self.heap_blocks -= 1;
        self.heap_bytes -= bytes;
        if let Some(frozen) = &mut self.frozen {
            // SAFETY: it is not the slab's, so it came from the global allocator with this layout; and it is nobody's.
            unsafe { frozen.aside.adopt(block, bytes) };
        }
    }

    fn build(&mut self, key: &[u8], value: Option<&[u8]>, extra: Option<u64>) -> NonNull<u8> {
        let bytes = block_bytes(key.len(), value.map(<[u8]>::len), extra.is_some());
        let (block, in_slab) = match &mut self.slab {
            Some(slab) if bytes <= BLOCK_BYTES_MAX => (slab.alloc(bytes), IN_SLAB),
            _ => {
                self.heap_blocks += 1;
                self.heap_bytes += bytes;
                (heap_alloc(bytes), 0)
            }
        };
        // SAFETY: the block is new and has room for exactly this.
        unsafe { write_block(block, in_slab, key, value, extra) };
        block
    }

    /// Gives a block back.
    ///
    /// # Safety
    /// It was made by `build` of these members, and nothing points to it any more.
    unsafe fn free(&mut self, block: NonNull<u8>) {
        // SAFETY: the block is complete until it is freed below.
        let (bytes, in_slab) = unsafe { (MemberRef::new(block).block_bytes(), MemberRef::new(block).in_slab()) };
        if let (true, Some(slab)) = (in_slab, &mut self.slab) {
            // SAFETY: its flag says that it is the slab's.
            unsafe { slab.free(block) };
            return;
        }
        self.heap_blocks -= 1;
        self.heap_bytes -= bytes;
        // SAFETY: it came from the global allocator with exactly this layout.
        unsafe { dealloc(block.as_ptr(), heap_layout(bytes)) };
    }

    /// Asserts that table, blocks and counts agree. Reads everything.
    #[cfg(any(test, debug_assertions))]
    pub fn check(&self) {
        self.dict.check(&|key| self.hasher.position(key));
        let (mut blocks, mut bytes, mut slab_bytes) = (0, 0, 0);
        for member in self.iter() {
            if member.in_slab() {
                slab_bytes += member.block_bytes().next_multiple_of(slab::CLASS_STEP_BYTES);
            } else {
                blocks += 1;
                bytes += member.block_bytes();
            }
        }
        assert_eq!((blocks, bytes), (self.heap_blocks, self.heap_bytes));
        assert_eq!(slab_bytes, self.slab.as_ref().map_or(0, Slab::live_bytes));
    }
}

/// All members, see [`Members::iter`].
pub struct Iter<'a>(dict::Iter<'a, MemberLayout>);

impl<'a> Iterator for Iter<'a> {
    type Item = MemberRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<MemberRef<'a>> {
        // SAFETY: a block in the table is complete, and stays while the members are borrowed.
        self.0.next().map(|block| unsafe { MemberRef::new(block) })
    }
}

impl Clone for Members {
    /// Copies every member. O(n).
    fn clone(&self) -> Members {
        let mut copy = Members::with_capacity(self.hasher.clone(), self.len());
        for member in self.iter() {
            let (key, value) = member.key_and_value();
            let value = member.has_value().then_some(value);
            copy.insert(self.position(key), key, value, member.extra());
        }
        copy
    }
}

impl MemberRef<'_> {
    #[inline]
    fn has_value(self) -> bool {
        self.byte(0) & HAS_VALUE != 0
    }
}

impl std::fmt::Debug for Members {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Members").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        if self.heap_blocks == 0 {
            return;
        }
        let mut left = self.heap_blocks;
        for block in self.dict.iter() {
            // SAFETY: blocks in the table are complete, and each is seen once.
            let (bytes, in_slab) = unsafe { (MemberRef::new(block).block_bytes(), MemberRef::new(block).in_slab()) };
            if !in_slab {
                // SAFETY: it came from the global allocator with this layout; the table is never looked at again.
                unsafe { dealloc(block.as_ptr(), heap_layout(bytes)) };
                left -= 1;
                if left == 0 {
                    return;
                }
            }
        }
    }
}

/// A member that may be changed.
pub struct MemberMut<'a> {
    members: &'a mut Members,
    slot: SlotRef,
    position: u64,
}

impl MemberMut<'_> {
    /// The member, to look at.
    #[inline]
    pub fn as_ref(&self) -> MemberRef<'_> {
        // SAFETY: the slot was found under the borrow that is still going on.
        let block = unsafe { self.members.dict.block(self.slot) };
        // SAFETY: a block in the table is complete, and stays while the members are borrowed.
        unsafe { MemberRef::new(block) }
    }

    /// Changes its extra word, if it has one; says whether it has. It does not move.
    #[inline]
    pub fn set_extra(&mut self, extra: u64) -> bool {
        if self.as_ref().extra().is_none() {
            return false;
        }
        self.members.keep(self.position);
        let block = self.as_ref().block;
        // SAFETY: a block with an extra word has its 8 bytes here, and the members are borrowed exclusively.
        unsafe { write(block, EXTRA_AT, &extra.to_le_bytes()) };
        true
    }

    /// Gives it another value and extra: where it is if the block's size allows, else in another block.
    pub fn replace(&mut self, value: Option<&[u8]>, extra: Option<u64>) -> Replaced {
        let old = self.as_ref().block;
        let moves = self.members.keep_or_move(self.position, old);
        let member = self.as_ref();
        let key = member.key();
        let bytes = block_bytes(key.len(), value.map(<[u8]>::len), extra.is_some());
        let same_room = if member.in_slab() {
            bytes.next_multiple_of(slab::CLASS_STEP_BYTES)
                == member.block_bytes().next_multiple_of(slab::CLASS_STEP_BYTES)
        } else {
            bytes == member.block_bytes()
        };
        if same_room && !moves && extra.is_some() == member.extra().is_some() && value.is_some() == member.has_value() {
            let lens_are_alike = {
                let (_, _, old_len) = member.lens();
                value.is_none_or(|value| len_bytes(value.len()) == len_bytes(old_len))
            };
            if lens_are_alike {
                let (key_at, key_len, _) = member.lens();
                // SAFETY: the block has the same room, flags and places of the lengths as before; neither value nor extra
                // lies in a block of members that are borrowed exclusively.
                unsafe { rewrite_block(old, key_at + key_len, value, extra) };
                return Replaced { old: MemberPtr(old), new: MemberPtr(old) };
            }
        }
        // SAFETY: the old block stays until it is freed below.
        let key = unsafe { MemberRef::new(old) }.key();
        let new = self.members.build(key, value, extra);
        self.put_instead(old, new, moves)
    }

    /// Gives it another extra word, or none, and leaves its value: where it is if it had and has one, else in another
    /// block.
    pub fn replace_extra(&mut self, extra: Option<u64>) -> Replaced {
        let old = self.as_ref().block;
        if extra.is_none() && self.as_ref().extra().is_none() || extra.is_some_and(|extra| self.set_extra(extra)) {
            return Replaced { old: MemberPtr(old), new: MemberPtr(old) };
        }
        let moves = self.members.keep_or_move(self.position, old);
        // SAFETY: the old block stays as it is until it is freed below.
        let member = unsafe { MemberRef::new(old) };
        let (key, value) = member.key_and_value();
        let new = self.members.build(key, member.has_value().then_some(value), extra);
        self.put_instead(old, new, moves)
    }

    /// Puts a new block in the place of the old one, which goes, or is kept for the frozen state if `moves` says so.
    #[inline]
    fn put_instead(&mut self, old: NonNull<u8>, new: NonNull<u8>, moves: bool) -> Replaced {
        // SAFETY: the slot is still good, and the key is the same.
        unsafe { self.members.dict.replace(self.slot, new) };
        // SAFETY: the table does not point to the old block any more.
        unsafe { self.members.give_up(old, moves) };
        Replaced { old: MemberPtr(old), new: MemberPtr(new) }
    }

    /// Removes it.
    pub fn remove(self) {
        let block = self.as_ref().block;
        let moves = self.members.keep_or_move(self.position, block);
        // SAFETY: the slot is the member's, found for this position.
        unsafe { self.members.dict.remove_at(self.position, self.slot) };
        // SAFETY: the table has forgotten the block.
        unsafe { self.members.give_up(block, moves) };
    }
}

/// Bytes in which a length is written.
#[inline]
fn len_bytes(len: usize) -> usize {
    if len < usize::from(LONG_MARK) { 1 } else { LONG_LEN_BYTES }
}

#[inline]
fn block_bytes(key_len: usize, value_len: Option<usize>, has_extra: bool) -> usize {
    let extra = if has_extra { EXTRA_BYTES } else { 0 };
    EXTRA_AT + extra + len_bytes(key_len) + key_len + value_len.map_or(0, |len| len_bytes(len) + len)
}

fn heap_alloc(bytes: usize) -> NonNull<u8> {
    let layout = heap_layout(bytes);
    // SAFETY: a block has a flags byte, so its size is not zero.
    let raw = unsafe { alloc(layout) };
    NonNull::new(raw).unwrap_or_else(|| handle_alloc_error(layout))
}

fn heap_layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, BLOCK_ALIGN).expect("a block's size is at most 8 GiB")
}

/// # Safety
/// `bytes.len()` bytes may be written at `at` of the block, and `bytes` does not overlap them.
#[inline]
unsafe fn write(block: NonNull<u8>, at: usize, bytes: &[u8]) {
    // SAFETY: the caller's promise.
    let place = unsafe { block.add(at) };
    // SAFETY: likewise.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), place.as_ptr(), bytes.len()) };
}

/// Writes a length; gives where what follows goes.
///
/// # Safety
/// `len_bytes(len)` bytes may be written at `at` of the block.
#[inline]
unsafe fn write_len(block: NonNull<u8>, at: usize, len: usize) -> usize {
    match u8::try_from(len) {
        Ok(short) if short != LONG_MARK => {
            // SAFETY: the caller's promise.
            unsafe { write(block, at, &[short]) };
        }
        _ => {
            let long = u32::try_from(len).expect("keys and values are below 4 GiB").to_le_bytes();
            // SAFETY: the caller's promise.
            unsafe { write(block, at, &[LONG_MARK, long[0], long[1], long[2], long[3]]) };
        }
    }
    at + len_bytes(len)
}

/// # Safety
/// The block has `block_bytes` of these, and nothing in it overlaps key and value.
#[inline]
unsafe fn write_block(block: NonNull<u8>, in_slab: u8, key: &[u8], value: Option<&[u8]>, extra: Option<u64>) {
    let flags = in_slab | if extra.is_some() { HAS_EXTRA } else { 0 } | if value.is_some() { HAS_VALUE } else { 0 };
    // SAFETY: the block has room for all that follows, by the caller's promise.
    unsafe { write(block, 0, &[flags]) };
    let mut at = EXTRA_AT;
    if let Some(extra) = extra {
        // SAFETY: likewise.
        unsafe { write(block, at, &extra.to_le_bytes()) };
        at += EXTRA_BYTES;
    }
    // SAFETY: likewise.
    at = unsafe { write_len(block, at, key.len()) };
    if let Some(value) = value {
        // SAFETY: likewise.
        at = unsafe { write_len(block, at, value.len()) };
    }
    // SAFETY: likewise.
    unsafe { write(block, at, key) };
    if let Some(value) = value {
        // SAFETY: likewise.
        unsafe { write(block, at + key.len(), value) };
    }
}

/// Writes another value and extra into a block, leaving flags and key.
///
/// # Safety
/// The block is exclusively the caller's and complete; it has a value exactly if one is given, and an extra likewise; the
/// lengths of old and new value are written in the same number of bytes; the new value ends within the block.
#[inline]
unsafe fn rewrite_block(block: NonNull<u8>, value_at: usize, value: Option<&[u8]>, extra: Option<u64>) {
    let mut at = EXTRA_AT;
    if let Some(extra) = extra {
        // SAFETY: the caller's promise.
        unsafe { write(block, at, &extra.to_le_bytes()) };
        at += EXTRA_BYTES;
    }
    let Some(value) = value else { return };
    // SAFETY: the key's length, one byte or its mark, is behind the extra.
    let key_len_bytes = if unsafe { block.add(at).read() } == LONG_MARK { LONG_LEN_BYTES } else { 1 };
    // SAFETY: the value's length follows the key's, and takes as many bytes as before.
    unsafe { write_len(block, at + key_len_bytes, value.len()) };
    // SAFETY: the caller's promise.
    unsafe { write(block, value_at, value) };
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::testing::Rng;

    type Model = HashMap<Vec<u8>, (Option<Vec<u8>>, Option<u64>)>;

    fn bytes_of_any_length(rng: &mut Rng) -> Vec<u8> {
        let len = match rng.below(20) {
            0 => 250 + rng.below(10),
            1 => 480 + rng.below(600),
            2 => 0,
            _ => rng.below(40),
        };
        (0..len).map(|_| rng.next() as u8).collect()
    }

    fn agrees(members: &Members, model: &Model) {
        members.check();
        assert_eq!(members.len(), model.len());
        for (key, (value, extra)) in model {
            let member = members.get(members.position(key), key).unwrap();
            assert_eq!(member.key(), key.as_slice());
            assert_eq!(member.value(), value.as_deref().unwrap_or_default());
            assert_eq!(member.key_and_value(), (member.key(), member.value()));
            assert_eq!(member.extra(), *extra);
        }
        let mut walked = Vec::new();
        members.for_each(|member| walked.push(member.ptr()));
        assert_eq!(walked, members.iter().map(MemberRef::ptr).collect::<Vec<_>>());
    }

    #[test]
    fn agrees_with_a_map_below_and_above_the_slab() {
        for (keys, seed) in [(300, 1), (6_000, 2)] {
            let mut rng = Rng::new(seed);
            let mut members = Members::new(KeyHasher::new(seed));
            let mut model = Model::new();
            for step in 0..40_000 {
                let mut key = rng.below(keys).to_string().into_bytes();
                if rng.below(30) == 0 {
                    key.resize(260, b'k');
                }
                let position = members.position(&key);
                let value = (rng.below(3) > 0).then(|| bytes_of_any_length(&mut rng));
                let extra = (rng.below(2) > 0).then(|| rng.next());
                match (model.contains_key(&key), rng.below(5)) {
                    (true, 0) => {
                        assert!(members.remove(position, &key));
                        model.remove(&key);
                    }
                    (true, 1) => {
                        let had = model[&key].1.is_some();
                        assert_eq!(members.set_extra(position, &key, 77), had);
                        if had {
                            model.get_mut(&key).unwrap().1 = Some(77);
                        }
                    }
                    (true, 2) => {
                        let done = members.get_mut(position, &key).unwrap().replace_extra(extra);
                        assert_eq!(members.get(position, &key).unwrap().ptr(), done.new);
                        model.get_mut(&key).unwrap().1 = extra;
                    }
                    (true, _) => {
                        let done = members.replace(position, &key, value.as_deref(), extra).unwrap();
                        assert_eq!(members.get(position, &key).unwrap().ptr(), done.new);
                        model.insert(key, (value, extra));
                    }
                    (false, 0) => {
                        assert!(!members.remove(position, &key));
                        assert!(members.replace(position, &key, None, None).is_none());
                    }
                    (false, _) => {
                        members.insert(position, &key, value.as_deref(), extra);
                        model.insert(key, (value, extra));
                    }
                }
                if step % 10_000 == 0 {
                    agrees(&members, &model);
                }
            }
            agrees(&members, &model);
            let copy = members.clone();
            drop(members);
            agrees(&copy, &model);
        }
    }

    #[test]
    fn with_capacity_holds_as_many_and_more_and_takes_no_more_memory() {
        for capacity in [0, 1, 7, 8, 100, 1_024, 1_025, 3_500, 5_000, 60_000] {
            let mut members = Members::with_capacity(KeyHasher::new(4), capacity);
            let mut grown = Members::new(KeyHasher::new(4));
            for number in 0..capacity {
                let key = number.to_string();
                for members in [&mut members, &mut grown] {
                    members.insert(members.position(key.as_bytes()), key.as_bytes(), None, None);
                }
            }
            members.check();
            let (bytes, grown_bytes) = (members.memory_bytes(), grown.memory_bytes());
            assert!(bytes <= grown_bytes + grown_bytes / 4 + 1_024, "{bytes} for {capacity}, grown {grown_bytes}");
            for number in capacity..2 * capacity {
                let key = number.to_string();
                members.insert(members.position(key.as_bytes()), key.as_bytes(), None, None);
            }
            members.check();
            for number in 0..2 * capacity {
                let key = number.to_string();
                assert!(members.remove(members.position(key.as_bytes()), key.as_bytes()));
            }
            members.check();
        }
    }

    #[test]
    fn a_member_of_16_bytes_in_a_large_set_takes_less_than_32_bytes() {
        let mut members = Members::new(KeyHasher::new(3));
        for number in 0..200_000 {
            let key = format!("member:{number:09}");
            members.insert(members.position(key.as_bytes()), key.as_bytes(), None, None);
        }
        let bytes = members.memory_bytes() / members.len();
        assert!(bytes < 32, "{bytes}");
    }
}
