//! The safe face of table, entries and slab: a map from keys to values with expiry and access clock.
//!
//! A `Keyspace` owns every block that its table points to. It is what makes the pieces below it safe: blocks are built, put
//! into the table, replaced and freed only here, and what is handed out borrows the keyspace.
//!
//! Positions are computed by the caller once per key ([`Keyspace::position`]) and passed in, so that a batch can prefetch:
//! first [`Keyspace::prefetch_bucket`] for all keys, then [`Keyspace::prefetch_entry`] for all, then the operations.
//!
//! What must stay true:
//! - every block in the table is complete and was built with this slab; no block is in the table twice;
//! - the counts of long blocks and of owned values agree with the blocks: `drop` relies on them to know that nothing needs
//!   to be looked at.

use std::fmt::Write as _;
use std::hash::Hasher as _;
use std::mem::ManuallyDrop;
use std::sync::Arc;

use foldhash::SharedSeed;

use crate::arena::PAGE_BYTES;
use crate::dict::{Dict, SlotRef};
use crate::entry::{self, BLOB_MIN, Blob, EntryLayout, EntryRef, Freed, Kind, Owned, Payload, Shape, StrView};
use crate::exchange::Exchange;
use crate::hash::Hash;
use crate::list::List;
use crate::packed;
use crate::queue::Queue;
use crate::set::Set;
use crate::slab::Slab;
use crate::stream::Stream;
use crate::tree::Tree;
use crate::value::{Big, Collection, PackedKind};
use crate::zset::Zset;

/// A blob that grows gets room for as much again, up to this many bytes.
const BLOB_RESERVE_MAX: usize = 1024 * 1024;

/// Computes positions: a keyed hash, since keys come from clients.
#[derive(Clone, Debug)]
pub struct KeyHasher {
    seed: u64,
    shared: SharedSeed,
}

impl KeyHasher {
    /// A hasher whose results depend on `seed`, which should be random and not known outside.
    pub fn new(seed: u64) -> KeyHasher {
        KeyHasher { seed, shared: SharedSeed::from_u64(seed.rotate_left(32)) }
    }

    /// The position of a key: 64 well mixed bits.
    #[inline]
    pub fn position(&self, key: &[u8]) -> u64 {
        let mut hasher = foldhash::quality::FoldHasher::with_seed(self.seed, &self.shared);
        hasher.write(key);
        hasher.finish()
    }
}

/// A string value to be stored.
#[derive(Clone, Debug)]
pub enum NewStr<'a> {
    /// An integer, stored as such.
    Int(i64),
    /// Bytes. More than [`BLOB_MIN`] become a blob.
    Bytes(&'a [u8]),
    /// Bytes that shall be reported as raw-encoded. More than [`BLOB_MIN`] become a blob.
    Raw(&'a [u8]),
    /// A large value that already exists; it is shared, not copied.
    Blob(Blob),
}

/// A value to be stored.
#[derive(Debug)]
pub enum NewValue<'a> {
    /// A string.
    Str(NewStr<'a>),
    /// A small collection.
    Packed(PackedKind, &'a [u8]),
    /// A big collection.
    Big(Big),
}

impl<'a> From<NewStr<'a>> for NewValue<'a> {
    #[inline]
    fn from(string: NewStr<'a>) -> NewValue<'a> {
        NewValue::Str(string)
    }
}

impl From<Big> for NewValue<'_> {
    fn from(big: Big) -> Self {
        NewValue::Big(big)
    }
}

/// What to do about an expiry when a value is overwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpireChange {
    /// Leave it as it is; a new entry has none.
    Keep,
    /// The entry does not expire.
    Clear,
    /// It expires at this time, in Unix milliseconds.
    At(i64),
}

/// What [`Keyspace::upsert`] has done.
#[derive(Debug)]
pub struct Upserted {
    /// There was no such key before.
    pub inserted: bool,
    /// When the overwritten entry would have expired, in Unix milliseconds.
    pub old_expire_at: Option<i64>,
    /// What the overwritten value owned.
    pub freed: Freed,
}

/// A value without an entry.
#[derive(Clone, Debug)]
pub enum OwnedValue {
    /// An integer.
    Int(i64),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Bytes, reported as raw-encoded.
    Raw(Vec<u8>),
    /// A large value.
    Blob(Blob),
    /// A small collection.
    Packed(PackedKind, Vec<u8>),
    /// A big collection.
    Big(Big),
}

/// An entry's contents after the entry is gone.
#[derive(Clone, Debug)]
pub struct TakenValue {
    /// The value.
    pub value: OwnedValue,
    /// When the entry would have expired, in Unix milliseconds.
    pub expire_at: Option<i64>,
    /// Its access clock.
    pub clock: u16,
}

/// Keys and values of one database.
///
/// Not shared between threads, but it may move: dropping a large one elsewhere is cheap for everybody else.
pub struct Keyspace {
    dict: Dict<EntryLayout>,
    slab: Slab,
    hasher: KeyHasher,
    heap: HeapCounts,
}

/// What the entries have outside of the slab.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct HeapCounts {
    long_blocks: usize,
    long_bytes: usize,
    owned_values: usize,
    owned: Owned,
}

impl Keyspace {
    /// An empty keyspace. Some kilobytes; no pages.
    pub fn new(hasher: KeyHasher) -> Keyspace {
        Keyspace { dict: Dict::new(), slab: Slab::new(), hasher, heap: HeapCounts::default() }
    }

    /// An empty keyspace whose table has room for so many keys. O(that number).
    pub fn with_capacity(hasher: KeyHasher, keys: usize) -> Keyspace {
        Keyspace { dict: Dict::with_capacity(keys), slab: Slab::new(), hasher, heap: HeapCounts::default() }
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.dict.len()
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.dict.is_empty()
    }

    /// The position of a key, which the other operations want.
    #[inline]
    pub fn position(&self, key: &[u8]) -> u64 {
        self.hasher.position(key)
    }

    /// Hints that a key with this position will be looked up: first step.
    #[inline]
    pub fn prefetch_bucket(&self, position: u64) {
        self.dict.prefetch_bucket(position);
    }

    /// Hints that a key with this position will be looked up: second step, some time after the first.
    #[inline]
    pub fn prefetch_entry(&self, position: u64) {
        self.dict.prefetch_block(position);
    }

    /// The entry of a key.
    #[inline]
    pub fn get(&self, position: u64, key: &[u8]) -> Option<EntryRef<'_>> {
        let block = self.dict.get(position, key)?;
        // SAFETY: a block in the table is complete, and stays while the keyspace is borrowed.
        Some(unsafe { EntryRef::new(block) })
    }

    /// The entry of a key, to be changed.
    #[inline]
    pub fn get_mut(&mut self, position: u64, key: &[u8]) -> Option<EntryMut<'_>> {
        let slot = self.dict.find(position, key)?;
        Some(EntryMut { keyspace: self, slot, position })
    }

    /// Adds a key, which must not be there yet.
    pub fn insert<'v>(
        &mut self,
        position: u64,
        key: &[u8],
        value: impl Into<NewValue<'v>>,
        expire_at: Option<i64>,
        clock: u16,
    ) -> EntryMut<'_> {
        debug_assert_eq!(position, self.position(key));
        debug_assert!(self.dict.get(position, key).is_none(), "the key is there already");
        let slot = self.add(position, key, Stored::new(value.into()), expire_at, clock);
        EntryMut { keyspace: self, slot, position }
    }

    /// The entry of a key, to be changed; where there is none it is made, without expiry, with the value and access clock
    /// that `make` gives. One search. Says whether it was made.
    #[inline]
    pub fn get_or_insert<'v>(
        &mut self,
        position: u64,
        key: &[u8],
        make: impl FnOnce() -> (NewValue<'v>, u16),
    ) -> (EntryMut<'_>, bool) {
        let found = self.dict.find(position, key);
        let slot = found.unwrap_or_else(|| {
            let (value, clock) = make();
            self.add(position, key, Stored::new(value), None, clock)
        });
        (EntryMut { keyspace: self, slot, position }, found.is_none())
    }

    /// Adds a key or overwrites its value; one search. In place if the block's size allows. `clock` says what the access
    /// clock becomes, given the entry as it was, if it was there.
    #[inline]
    pub fn upsert<'v>(
        &mut self,
        position: u64,
        key: &[u8],
        value: impl Into<NewValue<'v>>,
        expire: ExpireChange,
        clock: impl FnOnce(Option<EntryRef<'_>>) -> u16,
    ) -> Upserted {
        debug_assert_eq!(position, self.position(key));
        let Some(slot) = self.dict.find(position, key) else {
            let expire_at = if let ExpireChange::At(at) = expire { Some(at) } else { None };
            self.add(position, key, Stored::new(value.into()), expire_at, clock(None));
            return Upserted { inserted: true, old_expire_at: None, freed: Freed::Nothing };
        };
        let old = self.entry(slot);
        let (old_expire_at, clock) = (old.expire_at(), clock(Some(old)));
        let expire_at = match expire {
            ExpireChange::Keep => old_expire_at,
            ExpireChange::Clear => None,
            ExpireChange::At(at) => Some(at),
        };
        let freed = self.overwrite(slot, Stored::new(value.into()), expire_at, clock);
        Upserted { inserted: false, old_expire_at, freed }
    }

    /// Walks on from a cursor (0 is the start), giving the entries of one bucket to `visit`; returns the next cursor, 0 at
    /// the end, always below 2^56. Entries that are there from the first to the last call are given at least once, whatever
    /// else comes and goes meanwhile.
    pub fn scan(&self, cursor: u64, visit: &mut dyn FnMut(EntryRef<'_>)) -> u64 {
        // SAFETY: a block in the table is complete, and stays while the keyspace is borrowed.
        self.dict.scan(cursor, |block| visit(unsafe { EntryRef::new(block) }))
    }

    /// Hints that [`Keyspace::scan`] will be called with this cursor and those that follow.
    pub fn prefetch_scan(&self, cursor: u64) {
        self.dict.prefetch_scan(cursor);
    }

    /// One step of a walk over all access clocks, with the cursor of [`Keyspace::scan`]: `age` says what a clock becomes.
    pub fn sweep_clocks(&mut self, cursor: u64, age: &mut dyn FnMut(u16) -> Option<u16>) -> u64 {
        self.dict.scan(cursor, &mut |block| {
            // SAFETY: a block in the table is complete, and stays while the keyspace is borrowed.
            let clock = unsafe { EntryRef::new(block) }.clock();
            if let Some(aged) = age(clock) {
                // SAFETY: the block is in the keyspace that we borrow exclusively, and no reference to it is left.
                unsafe { entry::set_clock(block, aged) };
            }
        })
    }

    /// Inserts contents that were taken from another entry. The key must be absent.
    pub fn insert_taken(&mut self, position: u64, key: &[u8], taken: TakenValue, clock: u16) {
        let value = match taken.value {
            OwnedValue::Int(int) => NewStr::Int(int).into(),
            OwnedValue::Bytes(ref bytes) => NewStr::Bytes(bytes).into(),
            OwnedValue::Raw(ref bytes) => NewStr::Raw(bytes).into(),
            OwnedValue::Blob(blob) => NewStr::Blob(blob).into(),
            OwnedValue::Packed(kind, ref bytes) => NewValue::Packed(kind, bytes),
            OwnedValue::Big(big) => NewValue::Big(big),
        };
        self.insert(position, key, value, taken.expire_at, clock);
    }

    /// An entry by chance, each with the same probability; `rng` gives 64 random bits a call.
    pub fn random(&self, rng: &mut dyn FnMut() -> u64) -> Option<EntryRef<'_>> {
        let block = self.dict.random(rng)?;
        // SAFETY: a block in the table is complete, and stays while the keyspace is borrowed.
        Some(unsafe { EntryRef::new(block) })
    }

    /// Some entries by chance, those of one bucket, for `visit`; returns how many. Each entry is among them with the same
    /// probability. 0 only if there are none, or hardly any in a table made for many; see [`Keyspace::random`] then.
    pub fn sample(&self, rng: &mut dyn FnMut() -> u64, visit: &mut dyn FnMut(EntryRef<'_>)) -> usize {
        // SAFETY: a block in the table is complete, and stays while the keyspace is borrowed.
        self.dict.sample(rng, |block| visit(unsafe { EntryRef::new(block) }))
    }

    /// Hints what the next two calls of [`Keyspace::sample`] will look at, if `rng` gives the numbers that theirs will.
    pub fn prefetch_samples(&self, rng: &mut dyn FnMut() -> u64) {
        self.dict.prefetch_samples(rng);
    }

    /// All entries, in no meaningful order.
    pub fn iter(&self) -> impl Iterator<Item = EntryRef<'_>> {
        // SAFETY: a block in the table is complete, and stays while the keyspace is borrowed.
        self.dict.iter().map(|block| unsafe { EntryRef::new(block) })
    }

    /// The entries whose position has these top 48 bits (`position >> 16`): hardly ever more than one.
    pub fn find_by_position48(&self, prefix48: u64, visit: &mut dyn FnMut(EntryRef<'_>)) {
        self.dict.by_position48(prefix48, &|key| self.hasher.position(key), |block| {
            // SAFETY: a block in the table is complete, and stays while the keyspace is borrowed.
            visit(unsafe { EntryRef::new(block) });
        });
    }

    /// The entries with exactly this position: hardly ever more than one.
    pub fn find_by_position(&self, position: u64, visit: &mut dyn FnMut(EntryRef<'_>)) {
        self.dict.by_position(position, &|key| self.hasher.position(key), |block| {
            // SAFETY: a block in the table is complete, and stays while the keyspace is borrowed.
            visit(unsafe { EntryRef::new(block) });
        });
    }

    /// The part of [`Keyspace::live_bytes`] that is mapped from the system and so unknown to the global allocator: entries
    /// in slab pages, segments of the table in pages, and what collections have in pages of their own.
    pub fn mapped_bytes(&self) -> usize {
        self.slab.live_bytes() + self.dict.mapped_bytes() + self.heap.owned.mapped
    }

    /// Bytes in use: entries, what they own, and the table.
    pub fn live_bytes(&self) -> usize {
        self.slab.live_bytes() + self.heap.long_bytes + self.heap.owned.bytes + self.table_bytes()
    }

    /// Whether it has more than a new one: entries, or memory that has been kept for more of them.
    pub fn has_memory(&self) -> bool {
        self.dict.has_segments() || self.slab.pages() > 0 || self.heap.long_bytes > 0
    }

    /// Bytes of the table.
    pub fn table_bytes(&self) -> usize {
        self.dict.memory_bytes()
    }

    /// Bytes of the pages that hold short entries; what exceeds [`Keyspace::slab_live_bytes`] is fragmentation.
    pub fn slab_bytes(&self) -> usize {
        self.slab.pages() * PAGE_BYTES
    }

    /// Bytes of the short entries.
    pub fn slab_live_bytes(&self) -> usize {
        self.slab.live_bytes()
    }

    #[inline]
    fn entry(&self, slot: SlotRef) -> EntryRef<'_> {
        // SAFETY: every slot used in this file was found or made under the borrow that is still going on.
        let block = unsafe { self.dict.block(slot) };
        // SAFETY: a block in the table is complete, and stays while the keyspace is borrowed.
        unsafe { EntryRef::new(block) }
    }

    #[inline]
    fn add(&mut self, position: u64, key: &[u8], value: Stored<'_>, expire_at: Option<i64>, clock: u16) -> SlotRef {
        let block = entry::build(&mut self.slab, value.kind, key, value.payload(), expire_at, clock);
        // SAFETY: it was just built.
        self.heap.block_made(unsafe { EntryRef::new(block) });
        self.heap.value_stored(value.owned);
        let hasher = &self.hasher;
        // SAFETY: the block is complete and stays until it is removed from the table; the callers know the key is absent.
        unsafe { self.dict.insert_new(position, block, &|key| hasher.position(key)) }
    }

    /// Puts another value, expiry and clock in an entry.
    fn overwrite(&mut self, slot: SlotRef, value: Stored<'_>, expire_at: Option<i64>, clock: u16) -> Freed {
        let old = self.entry(slot);
        let (block, key) = (old.block(), old.key());
        let fits = Shape::new(key.len(), value.payload().len(), expire_at.is_some()).fits(old);
        // SAFETY: the payload is overwritten or freed below.
        let freed = unsafe { old.take_owned() };
        if fits {
            // SAFETY: the block fits, what it owned was taken, and a new value cannot lie in a keyspace borrowed exclusively.
            unsafe { entry::rewrite(block, value.kind, value.payload(), expire_at, clock) };
        } else {
            // SAFETY: the slot's block, whose payload was taken.
            unsafe { self.rebuild(slot, value.kind, value.payload(), expire_at, clock) };
        }
        self.heap.value_taken(&freed);
        self.heap.value_stored(value.owned);
        freed
    }

    /// Gives an entry another block, with the same key. `payload` may lie in the old one. Ownership that the old payload
    /// expresses either is in the new one too or was taken.
    ///
    /// # Safety
    /// The slot is an entry's; what its payload owned was taken or is in `payload`, unchanged.
    unsafe fn rebuild(&mut self, slot: SlotRef, kind: Kind, payload: Payload<'_>, expire_at: Option<i64>, clock: u16) {
        // SAFETY: the caller's slot is an entry's.
        let old = unsafe { self.dict.block(slot) };
        // SAFETY: the old block is complete and stays until it is freed below.
        let old_entry = unsafe { EntryRef::new(old) };
        let new = entry::build(&mut self.slab, kind, old_entry.key(), payload, expire_at, clock);
        // SAFETY: it was just built.
        self.heap.block_made(unsafe { EntryRef::new(new) });
        self.heap.block_gone(old_entry);
        // SAFETY: the slot is still good, and the key is the same.
        unsafe { self.dict.replace(slot, new) };
        // SAFETY: nothing points to the old block any more.
        unsafe { entry::free(&mut self.slab, old) };
    }

    /// Takes an entry out and frees its block.
    fn take_out(&mut self, slot: SlotRef, position: u64) -> Freed {
        // SAFETY: the slot is an entry's, found for this position.
        let block = unsafe { self.dict.remove_at(position, slot) };
        // SAFETY: it is complete until it is freed below.
        let entry = unsafe { EntryRef::new(block) };
        // SAFETY: the block is freed below.
        let freed = unsafe { entry.take_owned() };
        self.heap.value_taken(&freed);
        self.heap.block_gone(entry);
        // SAFETY: the table has forgotten the block, and nobody else knows it.
        unsafe { entry::free(&mut self.slab, block) };
        freed
    }

    /// Asserts that table, blocks and counts agree. Reads everything.
    #[cfg(any(test, debug_assertions))]
    pub fn check(&self) {
        self.dict.check(&|key| self.hasher.position(key));
        let mut counts = HeapCounts::default();
        let mut short_bytes = 0;
        for entry in self.iter() {
            counts.block_made(entry);
            if !entry.is_long() {
                short_bytes += entry.block_bytes();
            }
            counts.value_stored(entry.owned());
        }
        assert_eq!(counts, self.heap);
        assert_eq!(short_bytes, self.slab.live_bytes());
    }
}

impl std::fmt::Debug for Keyspace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyspace").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Drop for Keyspace {
    fn drop(&mut self) {
        if self.heap.long_blocks == 0 && self.heap.owned_values == 0 {
            return;
        }
        for block in self.dict.iter() {
            // SAFETY: blocks in the table are complete, and each is seen once.
            let entry = unsafe { EntryRef::new(block) };
            // SAFETY: the table is never looked at again.
            drop(unsafe { entry.take_owned() });
            if entry.is_long() {
                // SAFETY: likewise; the slab's blocks go with the slab.
                unsafe { entry::free(&mut self.slab, block) };
            }
        }
    }
}

impl HeapCounts {
    #[inline]
    fn block_made(&mut self, entry: EntryRef<'_>) {
        if entry.is_long() {
            self.long_blocks += 1;
            self.long_bytes += entry.block_bytes();
        }
    }

    #[inline]
    fn block_gone(&mut self, entry: EntryRef<'_>) {
        if entry.is_long() {
            self.long_blocks -= 1;
            self.long_bytes -= entry.block_bytes();
        }
    }

    #[inline]
    fn value_stored(&mut self, owned: Option<Owned>) {
        if let Some(owned) = owned {
            self.owned_values += 1;
            self.owned.bytes += owned.bytes;
            self.owned.mapped += owned.mapped;
        }
    }

    /// What a value owns has changed.
    #[inline]
    fn value_changed(&mut self, before: Owned, after: Owned) {
        self.owned.bytes = self.owned.bytes - before.bytes + after.bytes;
        self.owned.mapped = self.owned.mapped - before.mapped + after.mapped;
    }

    #[inline]
    fn value_taken(&mut self, freed: &Freed) {
        if let Some(owned) = freed.owned() {
            self.owned_values -= 1;
            self.owned.bytes -= owned.bytes;
            self.owned.mapped -= owned.mapped;
        }
    }
}

/// A value as its payload will be.
struct Stored<'a> {
    kind: Kind,
    word: [u8; 8],
    inline: Option<&'a [u8]>,
    /// What is outside of the block, if the payload owns something.
    owned: Option<Owned>,
}

impl<'a> Stored<'a> {
    #[inline]
    fn new(value: NewValue<'a>) -> Stored<'a> {
        match value {
            NewValue::Str(string) => Stored::string(string),
            NewValue::Packed(kind, bytes) => {
                Stored { kind: kind.kind(), word: [0; 8], inline: Some(bytes), owned: None }
            }
            NewValue::Big(big) => {
                let (kind, owned) = (big.kind(), Some(Owned::big(&big)));
                Stored { kind, word: big.into_address().to_ne_bytes(), inline: None, owned }
            }
        }
    }

    #[inline]
    fn string(value: NewStr<'a>) -> Stored<'a> {
        match value {
            NewStr::Int(int) => Stored { kind: Kind::Int, word: int.to_le_bytes(), inline: None, owned: None },
            NewStr::Bytes(bytes) => Stored::inline(Kind::Str, bytes),
            NewStr::Raw(bytes) => Stored::inline(Kind::StrRaw, bytes),
            NewStr::Blob(blob) => Stored::blob(blob),
        }
    }

    #[inline]
    fn inline(kind: Kind, bytes: &'a [u8]) -> Stored<'a> {
        if bytes.len() > BLOB_MIN {
            return Stored::blob(Arc::new(bytes.to_vec()));
        }
        Stored { kind, word: [0; 8], inline: Some(bytes), owned: None }
    }

    fn blob(blob: Blob) -> Stored<'a> {
        let owned = Some(Owned::blob(&blob));
        Stored { kind: Kind::Blob, word: entry::blob_payload(blob), inline: None, owned }
    }

    #[inline]
    fn payload(&self) -> Payload<'_> {
        Payload::of(self.inline.unwrap_or(&self.word))
    }
}

/// An entry that may be changed. Borrows the keyspace.
pub struct EntryMut<'a> {
    keyspace: &'a mut Keyspace,
    slot: SlotRef,
    position: u64,
}

impl<'a> EntryMut<'a> {
    /// The entry, to look at for as long as the keyspace was borrowed.
    #[inline]
    pub fn into_ref(self) -> EntryRef<'a> {
        let EntryMut { keyspace, slot, .. } = self;
        let keyspace: &'a Keyspace = keyspace;
        keyspace.entry(slot)
    }
}

/// Of a small collection; others have no bytes.
impl packed::Splice for EntryMut<'_> {
    #[inline]
    fn bytes(&self) -> &[u8] {
        self.packed().map_or(&[], |(_, bytes)| bytes)
    }

    #[inline]
    fn splice(&mut self, at: usize, removed: usize, inserted: &[&[u8]]) {
        EntryMut::splice(self, at, removed, inserted);
    }
}

impl EntryMut<'_> {
    /// The entry, to look at.
    #[inline]
    pub fn as_ref(&self) -> EntryRef<'_> {
        self.keyspace.entry(self.slot)
    }

    /// Sets the access clock.
    #[inline]
    pub fn set_clock(&mut self, clock: u16) {
        let block = self.as_ref().block();
        // SAFETY: the block is in the keyspace that we borrow exclusively.
        unsafe { entry::set_clock(block, clock) };
    }

    /// Sets when the entry expires, in Unix milliseconds; `None` for never. Moves the block if it had no expiry before or
    /// has none afterwards.
    pub fn set_expire(&mut self, expire_at: Option<i64>) {
        let entry = self.as_ref();
        match (entry.expire_at(), expire_at) {
            (None, None) => {}
            (Some(_), Some(at)) => {
                let block = entry.block();
                // SAFETY: the block has an expiry and is in the keyspace that we borrow exclusively.
                unsafe { entry::set_expire_at(block, at) };
            }
            _ => {
                let (kind, clock) = (entry.kind(), entry.clock());
                let block = entry.block();
                // SAFETY: the block stays until `rebuild` has copied the payload and frees it.
                let payload = unsafe { EntryRef::new(block) }.payload();
                // SAFETY: the payload is the old one, unchanged.
                unsafe { self.keyspace.rebuild(self.slot, kind, Payload::of(payload), expire_at, clock) };
            }
        }
    }

    /// Puts another value in; expiry and clock stay.
    #[inline]
    pub fn set_value<'v>(&mut self, value: impl Into<NewValue<'v>>) -> Freed {
        let (expire_at, clock) = (self.as_ref().expire_at(), self.as_ref().clock());
        self.keyspace.overwrite(self.slot, Stored::new(value.into()), expire_at, clock)
    }

    /// Puts another integer in the place of one; says whether there was one.
    #[inline]
    pub fn set_int_in_place(&mut self, int: i64) -> bool {
        if self.as_ref().kind() != Kind::Int {
            return false;
        }
        let block = self.as_ref().block();
        // SAFETY: the block is in the keyspace that we borrow exclusively; an integer's payload is 8 bytes.
        unsafe { entry::payload_mut(block) }.copy_from_slice(&int.to_le_bytes());
        true
    }

    /// The value's bytes, to be changed in place; the value is raw afterwards. `None` for an integer and for what is no
    /// string. A large value that somebody else shares is copied first.
    pub fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        let block = self.as_ref().block();
        match self.as_ref().kind() {
            Kind::Str | Kind::StrRaw => {
                // SAFETY: the block is in the keyspace that we borrow exclusively; both kinds' payloads are the bytes.
                unsafe { entry::set_kind(block, Kind::StrRaw) };
                // SAFETY: likewise, for as long as `self` is borrowed.
                Some(unsafe { entry::payload_mut(block) })
            }
            Kind::Blob => Some(self.change_blob(|bytes| std::ptr::from_mut(bytes.as_mut_slice()))).map(|bytes| {
                // SAFETY: the blob is not shared and belongs to the entry, which is borrowed for as long as the slice.
                unsafe { &mut *bytes }
            }),
            _ => None,
        }
    }

    /// Appends to the value, which becomes a raw string if it was not one (an integer its decimal digits first); gives
    /// the new length in bytes. Amortised for large values.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        self.grow(Payload::of(bytes))
    }

    /// Makes the value at least `len` bytes long, filling with zero bytes; it becomes a raw string as by
    /// [`EntryMut::append`]. The caller has checked `len` against its limits.
    pub fn resize_zero(&mut self, len: usize) {
        let old_len = match self.as_ref().str() {
            Some(StrView::Int(int)) => decimal_digits(int).len(),
            Some(StrView::Bytes(bytes)) => bytes.len(),
            Some(StrView::Blob(blob)) => blob.len(),
            None => return,
        };
        match self.as_ref().kind() {
            _ if len > old_len => {}
            // Nothing grows; it only counts as modified from here on.
            Kind::Str | Kind::StrRaw => {
                let block = self.as_ref().block();
                // SAFETY: the block is in the keyspace that we borrow exclusively; both kinds' payloads are the bytes.
                return unsafe { entry::set_kind(block, Kind::StrRaw) };
            }
            Kind::Blob => return,
            _ => {}
        }
        self.grow(Payload { zeros: len.saturating_sub(old_len), ..Payload::of(&[]) });
    }

    /// Writes `bytes` from `offset` on; the value grows with zero bytes as needed and becomes a raw string. Gives the new
    /// length in bytes. The caller has checked it against its limits.
    pub fn overwrite(&mut self, offset: usize, bytes: &[u8]) -> usize {
        self.resize_zero(offset + bytes.len());
        let Some(value) = self.bytes_mut() else { return 0 };
        value[offset..offset + bytes.len()].copy_from_slice(bytes);
        value.len()
    }

    /// The bytes of a small collection.
    #[inline]
    pub fn packed(&self) -> Option<(PackedKind, &[u8])> {
        let entry = self.as_ref();
        Some((PackedKind::of(entry.kind())?, entry.payload()))
    }

    /// The bytes of a small collection, to be changed where they are.
    pub fn packed_mut(&mut self) -> Option<(PackedKind, &mut [u8])> {
        let kind = PackedKind::of(self.as_ref().kind())?;
        let block = self.as_ref().block();
        // SAFETY: the block is in the keyspace that we borrow exclusively, for as long as `self` is borrowed.
        Some((kind, unsafe { entry::payload_mut(block) }))
    }

    /// Replaces `removed` bytes at `at` of a small collection's by others. Panics on other values, and on places outside:
    /// both are mistakes of the caller. Moves at most the bytes that follow, and the block where its size does not allow
    /// the new length.
    pub fn splice(&mut self, at: usize, removed: usize, inserted: &[&[u8]]) {
        let entry = self.as_ref();
        let kind = entry.kind();
        assert!(PackedKind::of(kind).is_some(), "no packed collection: {kind:?}");
        let old_len = entry.payload().len();
        assert!(at <= old_len && removed <= old_len - at, "{removed} bytes at {at} of {old_len}");
        let len = old_len - removed + entry::total_len(inserted);
        let (block, expire_at, clock) = (entry.block(), entry.expire_at(), entry.clock());
        let shape = Shape::new(entry.key().len(), len, expire_at.is_some());
        if shape.fits(entry) {
            // SAFETY: the block fits the new length and is in the keyspace that we borrow exclusively; so the pieces lie
            // elsewhere.
            unsafe { entry::edit(block, at, removed, inserted, old_len) };
            // SAFETY: likewise.
            unsafe { entry::set_payload_len(block, len) };
            return;
        }
        if shape.is_long() && entry.is_long() {
            self.resize_spliced(at, removed, inserted, old_len, len);
            return;
        }
        // SAFETY: the block stays until `rebuild` has copied the payload and frees it.
        let old = unsafe { EntryRef::new(block) }.payload();
        let payload = Payload { head: &old[..at], middle: inserted, tail: &old[at + removed..], zeros: 0 };
        // SAFETY: packed payloads own nothing.
        unsafe { self.keyspace.rebuild(self.slot, kind, payload, expire_at, clock) };
    }

    /// [`EntryMut::splice`] of a long block that stays long: the allocator can often do it without a copy.
    fn resize_spliced(&mut self, at: usize, removed: usize, inserted: &[&[u8]], old_len: usize, len: usize) {
        let old = self.as_ref().block();
        let long_bytes = &mut self.keyspace.heap.long_bytes;
        *long_bytes = *long_bytes - old_len + len;
        let edit = |block| {
            // SAFETY: both before a shrinkage and after a growth the block has room for the new length; it is in the
            // keyspace that we borrow exclusively, so the pieces lie elsewhere.
            unsafe { entry::edit(block, at, removed, inserted, old_len) };
        };
        let grows = len > old_len;
        if !grows {
            edit(old);
        }
        // SAFETY: the block is long and stays long, and its old address is replaced below.
        let new = unsafe { entry::resize_long(old, len) };
        if grows {
            edit(new);
        }
        // SAFETY: the block has been given the room that this length needs.
        unsafe { entry::set_payload_len(new, len) };
        // SAFETY: the slot is still good, and the key is the same.
        unsafe { self.keyspace.dict.replace(self.slot, new) };
    }

    /// The big hash that this entry owns, to be changed.
    pub fn hash_mut(&mut self) -> Option<BigMut<'_, Hash>> {
        self.big_mut()
    }

    /// The big set that this entry owns, to be changed.
    pub fn set_mut(&mut self) -> Option<BigMut<'_, Set>> {
        self.big_mut()
    }

    /// The big sorted set that this entry owns, to be changed.
    pub fn zset_mut(&mut self) -> Option<BigMut<'_, Zset>> {
        self.big_mut()
    }

    /// The big list that this entry owns, to be changed.
    pub fn list_mut(&mut self) -> Option<BigMut<'_, List>> {
        self.big_mut()
    }

    /// The stream that this entry owns, to be changed.
    pub fn stream_mut(&mut self) -> Option<BigMut<'_, Stream>> {
        self.big_mut()
    }

    /// The queue that this entry owns, to be changed.
    pub fn queue_mut(&mut self) -> Option<BigMut<'_, Queue>> {
        self.big_mut()
    }

    /// The exchange that this entry owns, to be changed.
    pub fn exchange_mut(&mut self) -> Option<BigMut<'_, Exchange>> {
        self.big_mut()
    }

    /// The store of the registry that this entry owns, to be changed.
    pub fn tree_mut(&mut self) -> Option<BigMut<'_, Tree>> {
        self.big_mut()
    }

    /// What computes positions, for a collection that is being made.
    pub fn hasher(&self) -> &KeyHasher {
        &self.keyspace.hasher
    }

    fn big_mut<C: Collection>(&mut self) -> Option<BigMut<'_, C>> {
        if self.as_ref().kind() != C::KIND {
            return None;
        }
        let mut pointer = self.as_ref().big_as::<C>();
        // SAFETY: the entry owns the collection and is in the keyspace that we borrow exclusively.
        let it = unsafe { pointer.as_mut() };
        let before = Owned::of(it);
        Some(BigMut { it, before, heap: &mut self.keyspace.heap })
    }

    /// Removes the entry.
    pub fn remove(self) -> Freed {
        self.keyspace.take_out(self.slot, self.position)
    }

    /// Removes the entry and gives its contents.
    pub fn remove_take(self) -> TakenValue {
        let entry = self.as_ref();
        if !entry.kind().is_big() {
            let taken = entry.copy_value();
            // What the entry shared with the copy is the copy's alone from here on.
            drop(self.remove());
            return taken;
        }
        let (expire_at, clock) = (entry.expire_at(), entry.clock());
        let Freed::Big(big) = self.remove() else { unreachable!("a big kind owns a collection") };
        TakenValue { value: OwnedValue::Big(big), expire_at, clock }
    }

    fn grow(&mut self, more: Payload<'_>) -> usize {
        let entry = self.as_ref();
        let (expire_at, clock, block) = (entry.expire_at(), entry.clock(), entry.block());
        let kind = entry.kind();
        debug_assert!(kind.is_str(), "not a string");
        if kind == Kind::Blob {
            return self.change_blob(|bytes| {
                push(bytes, more);
                bytes.len()
            });
        }
        let digits;
        let old: &[u8] = if kind == Kind::Int {
            digits = decimal_digits(entry.int());
            digits.as_bytes()
        } else {
            // SAFETY: the block stays until the payload has been copied.
            unsafe { EntryRef::new(block) }.payload()
        };
        let len = old.len() + more.len();
        if len > BLOB_MIN {
            let mut bytes = old.to_vec();
            push(&mut bytes, more);
            self.keyspace.overwrite(self.slot, Stored::blob(Arc::new(bytes)), expire_at, clock);
            return len;
        }
        let in_place = kind != Kind::Int && Shape::new(entry.key().len(), len, expire_at.is_some()).fits(entry);
        if in_place && !entry.is_long() {
            // SAFETY: the block is short, has room, and is in the keyspace that we borrow exclusively.
            unsafe { entry::extend(block, Kind::StrRaw, more) };
        } else {
            let payload = Payload { head: old, middle: &[], tail: more.head, zeros: more.zeros };
            debug_assert!(more.tail.is_empty());
            // SAFETY: these kinds own nothing.
            unsafe { self.keyspace.rebuild(self.slot, Kind::StrRaw, payload, expire_at, clock) };
        }
        len
    }

    /// Changes a large value, copying it first if it is shared.
    fn change_blob<R>(&mut self, change: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let entry = self.as_ref();
        debug_assert_eq!(entry.kind(), Kind::Blob);
        let block = entry.block();
        // SAFETY: the payload's count is used here without being given up: whatever happens, this copy is not dropped.
        let mut blob = ManuallyDrop::new(unsafe { entry.blob() });
        let before = Owned::blob(&blob);
        if Arc::get_mut(&mut blob).is_none() {
            let own = Arc::new(Vec::clone(&blob));
            let shared = std::mem::replace(&mut *blob, own);
            // SAFETY: the block is in the keyspace that we borrow exclusively; a blob's payload is 8 bytes.
            unsafe { entry::payload_mut(block) }.copy_from_slice(&entry::blob_word(&blob));
            drop(shared);
        }
        let Some(bytes) = Arc::get_mut(&mut blob) else { unreachable!("a blob that was copied is not shared") };
        let result = change(bytes);
        self.keyspace.heap.value_changed(before, Owned::blob(&blob));
        result
    }
}

/// A big collection that is being changed. Keeps the account of memory right when it is dropped.
pub struct BigMut<'a, C: Collection> {
    it: &'a mut C,
    before: Owned,
    heap: &'a mut HeapCounts,
}

impl<C: Collection> std::ops::Deref for BigMut<'_, C> {
    type Target = C;

    #[inline]
    fn deref(&self) -> &C {
        self.it
    }
}

impl<C: Collection> std::ops::DerefMut for BigMut<'_, C> {
    #[inline]
    fn deref_mut(&mut self) -> &mut C {
        self.it
    }
}

impl<C: Collection> Drop for BigMut<'_, C> {
    #[inline]
    fn drop(&mut self) {
        self.heap.value_changed(self.before, Owned::of(&*self.it));
    }
}

/// Appends to a large value, with room for more.
fn push(bytes: &mut Vec<u8>, more: Payload<'_>) {
    let len = bytes.len() + more.len();
    if len > bytes.capacity() {
        let capacity = len + len.min(BLOB_RESERVE_MAX);
        if more.zeros > bytes.len() {
            // Zero bytes from the system are not touched before somebody needs them.
            let mut grown = vec![0; capacity];
            grown.truncate(len);
            let (old, rest) = grown.split_at_mut(bytes.len());
            old.copy_from_slice(bytes);
            rest[..more.head.len()].copy_from_slice(more.head);
            *bytes = grown;
            return;
        }
        bytes.reserve_exact(capacity - bytes.len());
    }
    bytes.extend_from_slice(more.head);
    bytes.extend_from_slice(more.tail);
    bytes.resize(len, 0);
}

fn decimal_digits(int: i64) -> String {
    let mut digits = String::with_capacity(20);
    let Ok(()) = write!(digits, "{int}") else { unreachable!("writing to a string does not fail") };
    digits
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::testing::Rng;
    use crate::value::ValueRef;

    fn keyspace() -> Keyspace {
        Keyspace::new(KeyHasher::new(42))
    }

    /// What an entry shall be.
    #[derive(Clone, Debug, PartialEq, Eq)]
    struct Model {
        int: Option<i64>,
        bytes: Vec<u8>,
        is_raw: bool,
        expire_at: Option<i64>,
        clock: u16,
    }

    impl Model {
        fn of(entry: EntryRef<'_>) -> Model {
            let (int, bytes) = match entry.str() {
                Some(StrView::Int(int)) => (Some(int), Vec::new()),
                Some(StrView::Bytes(bytes)) => (None, bytes.to_vec()),
                Some(StrView::Blob(blob)) => (None, blob.as_bytes().to_vec()),
                None => panic!("all kinds are strings"),
            };
            Model { int, bytes, is_raw: entry.is_raw(), expire_at: entry.expire_at(), clock: entry.clock() }
        }

        fn set(&mut self, value: &NewStr<'_>) {
            (self.int, self.bytes, self.is_raw) = match value {
                NewStr::Int(int) => (Some(*int), Vec::new(), false),
                NewStr::Bytes(bytes) => (None, bytes.to_vec(), bytes.len() > BLOB_MIN),
                NewStr::Raw(bytes) => (None, bytes.to_vec(), true),
                NewStr::Blob(blob) => (None, blob.to_vec(), true),
            };
        }

        fn make_raw(&mut self) {
            if let Some(int) = self.int.take() {
                self.bytes = int.to_string().into_bytes();
            }
            self.is_raw = true;
        }
    }

    /// Lengths around every limit, mostly short.
    fn some_len(rng: &mut Rng) -> usize {
        match rng.below(100) {
            0..70 => rng.below(100),
            70..85 => 230 + rng.below(300),
            85..95 => 500 + rng.below(2_000),
            95..98 => BLOB_MIN - 2 + rng.below(4),
            _ => BLOB_MIN + rng.below(3 * BLOB_MIN),
        }
    }

    fn some_bytes(rng: &mut Rng) -> Vec<u8> {
        let first = rng.next() as u8;
        (0..some_len(rng)).map(|i| first.wrapping_add(i as u8)).collect()
    }

    fn some_value<'a>(rng: &mut Rng, bytes: &'a [u8]) -> NewStr<'a> {
        match rng.below(8) {
            0..2 => NewStr::Int(rng.next().cast_signed() >> rng.below(64)),
            2..6 => NewStr::Bytes(bytes),
            6 => NewStr::Raw(bytes),
            _ => NewStr::Blob(Arc::new(bytes.to_vec())),
        }
    }

    fn some_expiry(rng: &mut Rng) -> Option<i64> {
        (rng.below(2) == 0).then(|| rng.next().cast_signed())
    }

    fn some_key(rng: &mut Rng) -> Vec<u8> {
        let number = rng.below(900);
        let len = match number % 30 {
            0 => 250 + number / 30 % 10,
            1 => 500 + number,
            _ => number % 40,
        };
        let mut key = number.to_le_bytes()[..2].to_vec();
        key.resize(key.len() + len, b'k');
        if number == 2 { Vec::new() } else { key }
    }

    #[test]
    fn packed_bytes_are_edited_where_they_are_at_every_length() {
        let mut keys = keyspace();
        let mut rng = Rng::new(11);
        for key in [b"k".as_slice(), &[b'k'; 300]] {
            let position = keys.position(key);
            for longest in [40, 700, 9_000] {
                let mut model = Vec::new();
                keys.insert(position, key, NewValue::Packed(PackedKind::List, &[]), Some(5), 7);
                for _ in 0..4_000 {
                    let at = rng.below(model.len() + 1);
                    let removed = if model.len() < longest { rng.below(3) } else { rng.below(longest) };
                    let removed = removed.min(model.len() - at);
                    let pieces = [vec![1; rng.below(9)], vec![2; rng.below(longest / 16)], Vec::new()];
                    let mut entry = keys.get_mut(position, key).unwrap();
                    entry.splice(at, removed, &pieces.each_ref().map(Vec::as_slice));
                    model.splice(at..at + removed, pieces.concat());
                    let entry = keys.get(position, key).unwrap();
                    assert!(matches!(entry.value(), ValueRef::Packed(PackedKind::List, bytes) if bytes == model));
                    assert_eq!((entry.expire_at(), entry.clock(), entry.key()), (Some(5), 7, key));
                }
                keys.check();
                keys.get_mut(position, key).unwrap().remove();
                keys.check();
            }
        }
    }

    #[test]
    fn agrees_with_a_map_through_every_operation() {
        let mut keys = keyspace();
        let mut model: HashMap<Vec<u8>, Model> = HashMap::new();
        let mut rng = Rng::new(11);
        // Blobs that stay shared, as by a reply that is being written.
        let mut shared: Vec<(Blob, Vec<u8>)> = Vec::new();
        for step in 0..60_000_u32 {
            let key = some_key(&mut rng);
            let position = keys.position(&key);
            let bytes = some_bytes(&mut rng);
            let value = some_value(&mut rng, &bytes);
            let clock = step as u16;
            let Some(expected) = model.get_mut(&key) else {
                assert!(keys.get(position, &key).is_none() && keys.get_mut(position, &key).is_none());
                let mut new = Model { int: None, bytes: Vec::new(), is_raw: false, expire_at: None, clock };
                new.set(&value);
                if rng.below(2) == 0 {
                    new.expire_at = some_expiry(&mut rng);
                    keys.insert(position, &key, value, new.expire_at, clock);
                } else {
                    let upserted = keys.upsert(position, &key, value, ExpireChange::Keep, |_| clock);
                    assert!(upserted.inserted && upserted.old_expire_at.is_none());
                }
                model.insert(key, new);
                continue;
            };
            let mut entry = keys.get_mut(position, &key).unwrap();
            assert_eq!(entry.as_ref().key(), key);
            assert_eq!(Model::of(entry.as_ref()), *expected);
            match rng.below(14) {
                0 => {
                    expected.set(&value);
                    entry.set_value(value);
                }
                1..4 => {
                    expected.expire_at = some_expiry(&mut rng);
                    entry.set_expire(expected.expire_at);
                }
                4 => {
                    expected.clock = clock;
                    entry.set_clock(clock);
                }
                5 => {
                    let int = rng.next().cast_signed();
                    assert_eq!(entry.set_int_in_place(int), expected.int.is_some());
                    if expected.int.is_some() {
                        expected.int = Some(int);
                    }
                }
                6 => match entry.bytes_mut() {
                    None => assert!(expected.int.is_some()),
                    Some(bytes) => {
                        assert_eq!(bytes, expected.bytes);
                        expected.is_raw = true;
                        if let Some(at) = bytes.len().checked_sub(1) {
                            bytes[at] = clock as u8;
                            expected.bytes[at] = clock as u8;
                        }
                    }
                },
                7 => {
                    let more = &bytes[..bytes.len() / 2];
                    expected.make_raw();
                    expected.bytes.extend_from_slice(more);
                    assert_eq!(entry.append(more), expected.bytes.len());
                }
                8 => {
                    let len = some_len(&mut rng);
                    expected.make_raw();
                    expected.bytes.resize(len.max(expected.bytes.len()), 0);
                    entry.resize_zero(len);
                }
                9 => {
                    if let Some(StrView::Blob(blob)) = entry.as_ref().str() {
                        shared.push((Blob::clone(&blob), expected.bytes.clone()));
                    }
                }
                10 => {
                    entry.remove();
                    model.remove(&key);
                }
                11 => {
                    let taken = entry.remove_take();
                    assert_eq!((taken.expire_at, taken.clock), (expected.expire_at, expected.clock));
                    let clock = taken.clock;
                    keys.insert_taken(position, &key, taken, clock);
                }
                _ => {
                    let expire = match rng.below(3) {
                        0 => ExpireChange::Keep,
                        1 => ExpireChange::Clear,
                        _ => ExpireChange::At(i64::from(step)),
                    };
                    let old_expire_at = expected.expire_at;
                    expected.set(&value);
                    expected.clock = clock;
                    expected.expire_at = match expire {
                        ExpireChange::Keep => old_expire_at,
                        ExpireChange::Clear => None,
                        ExpireChange::At(at) => Some(at),
                    };
                    let upserted = keys.upsert(position, &key, value, expire, |_| clock);
                    assert_eq!((upserted.inserted, upserted.old_expire_at), (false, old_expire_at));
                }
            }
            if let Some(expected) = model.get(&key) {
                assert_eq!(Model::of(keys.get(position, &key).unwrap()), *expected);
            }
            if step.is_multiple_of(6_000) {
                keys.check();
                shared.retain(|(blob, bytes)| {
                    assert_eq!(**blob, *bytes, "a shared value was changed under its holder");
                    rng.below(2) == 0
                });
            }
        }
        keys.check();
        assert_eq!(keys.len(), model.len());
        for entry in keys.iter() {
            assert_eq!(Model::of(entry), model[entry.key()]);
        }
        let mut names: Vec<_> = model.into_keys().collect();
        names.sort();
        for key in names {
            keys.get_mut(keys.position(&key), &key).unwrap().remove();
        }
        keys.check();
        assert_eq!(keys.live_bytes(), keys.table_bytes());
    }

    #[test]
    fn blocks_have_the_bytes_of_the_budget() {
        let mut keys = keyspace();
        let key = b"0123456789abcdef";
        let position = keys.position(key);
        let mut block_bytes = |value: NewStr<'_>, expire| {
            keys.upsert(position, key, value, expire, |_| 0);
            keys.slab_live_bytes()
        };
        assert_eq!(block_bytes(NewStr::Bytes(&[7; 16]), ExpireChange::Clear), 36);
        assert_eq!(block_bytes(NewStr::Bytes(&[7; 64]), ExpireChange::Clear), 84);
        assert_eq!(block_bytes(NewStr::Int(7), ExpireChange::Clear), 28);
        assert_eq!(block_bytes(NewStr::Bytes(&[7; 16]), ExpireChange::At(1)), 44);
    }

    #[test]
    fn an_overwritten_or_removed_large_value_is_handed_out() {
        let mut keys = keyspace();
        let position = keys.position(b"k");
        let big = vec![1; BLOB_MIN + 1];
        keys.upsert(position, b"k", NewStr::Bytes(&big), ExpireChange::Keep, |_| 0);
        let blob = match keys.get(position, b"k").unwrap().str() {
            Some(StrView::Blob(blob)) => Blob::clone(&blob),
            other => panic!("{other:?}"),
        };
        let upserted = keys.upsert(position, b"k", NewStr::Int(1), ExpireChange::Keep, |_| 0);
        assert!(matches!(upserted.freed, Freed::Blob(freed) if Arc::ptr_eq(&freed, &blob)));
        assert_eq!(Arc::strong_count(&blob), 1);
        keys.get_mut(position, b"k").unwrap().set_value(NewStr::Blob(Arc::clone(&blob)));
        assert!(matches!(keys.get_mut(position, b"k").unwrap().remove(), Freed::Blob(_)));
        assert_eq!(Arc::strong_count(&blob), 1);
        keys.insert(position, b"k", NewStr::Blob(Arc::clone(&blob)), Some(5), 0);
        std::thread::spawn(move || drop(keys)).join().unwrap();
        assert_eq!(Arc::strong_count(&blob), 1, "a dropped keyspace gives its values up");
    }

    #[test]
    fn a_shared_large_value_is_copied_before_it_is_changed() {
        let mut keys = keyspace();
        let position = keys.position(b"k");
        let blob = Arc::new(vec![1; BLOB_MIN * 2]);
        let mut entry = keys.insert(position, b"k", NewStr::Blob(Arc::clone(&blob)), None, 0);
        entry.bytes_mut().unwrap()[0] = 9;
        assert_eq!(entry.append(b"x"), BLOB_MIN * 2 + 1);
        assert_eq!((blob[0], blob.len(), Arc::strong_count(&blob)), (1, BLOB_MIN * 2, 1));
        keys.check();
    }

    #[test]
    fn appending_to_a_large_value_copies_it_rarely() {
        let mut keys = keyspace();
        let position = keys.position(b"k");
        let mut entry = keys.insert(position, b"k", NewStr::Bytes(&vec![0; BLOB_MIN + 1]), None, 0);
        let mut moves = 0;
        let mut last = std::ptr::null();
        for _ in 0..40_000 {
            entry.append(&[7; 50]);
            let Some(StrView::Blob(blob)) = entry.as_ref().str() else { panic!("still large") };
            moves += usize::from(blob.as_ptr() != last);
            last = blob.as_ptr();
        }
        assert!(moves < 20, "{moves} moves");
        keys.check();
    }

    #[test]
    fn positions_depend_on_the_seed_and_the_whole_key() {
        let (a, b) = (KeyHasher::new(1), KeyHasher::new(2));
        assert_ne!(a.position(b"key"), b.position(b"key"));
        assert_eq!(a.position(b"key"), a.clone().position(b"key"));
        let long = vec![0; 5_000];
        assert_ne!(a.position(&long), a.position(&long[1..]));
        assert_ne!(a.position(b""), a.position(b"\0"));
    }

    #[test]
    fn scan_random_and_positions_reach_the_entries() {
        let mut keys = keyspace();
        for number in 0..20_000_i64 {
            let key = format!("key:{number}");
            keys.insert(keys.position(key.as_bytes()), key.as_bytes(), NewStr::Int(number), None, 0);
        }
        let mut seen = vec![false; 20_000];
        let mut cursor = 0;
        loop {
            cursor = keys.scan(cursor, &mut |entry| {
                let Some(StrView::Int(number)) = entry.str() else { panic!("an integer") };
                seen[number as usize] = true;
            });
            if cursor == 0 {
                break;
            }
        }
        assert!(seen.iter().all(|&seen| seen));
        let mut rng = Rng::new(1);
        for _ in 0..100 {
            let key = keys.random(&mut || rng.next()).unwrap().key();
            let mut found = 0;
            keys.find_by_position48(keys.position(key) >> 16, &mut |entry| found += usize::from(entry.key() == key));
            assert_eq!(found, 1);
        }
        keys.check();
    }
}
