//! One key with all that belongs to it, in one block of memory.
//!
//! ```text
//!  byte 0   kind: 5 bits | has expiry: 1 bit | pad: 2 bits     pad = unused bytes at the block's end
//!  byte 1   key length; 255 = the long form
//!  byte 2   access clock, 16 bits, little endian; its meaning belongs to the store
//!  byte 4   [long form only: key length, payload length, 32 bits each]
//!           [expire-at, Unix ms, 64 bits, if there is an expiry]
//!           key
//!           payload
//! ```
//!
//! The short form has no payload length: the block's size is known from its address (`slab::block_bytes`), and what is left
//! of it after key and pad is the payload. That is worth two bytes a key. A block is in short form exactly if its key is
//! shorter than 255 bytes and the whole fits into a slab block; otherwise it is the global allocator's, with its exact size.
//! Numbers are not aligned.
//!
//! What must stay true: kind and lengths always describe a block completely; a payload that owns something (see [`Kind`])
//! is given up exactly once, by whoever frees or overwrites the block.
//!
//! A collection is packed into the payload while it is small; a big one is a [`Big`], to which the payload is a pointer.
//! Other modules know what is in a payload; here payloads are only copied, edited as bytes, and given up.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;

use crate::dict;
use crate::slab::{self, BLOCK_BYTES_MAX, Slab};
use crate::value::{Big, Collection, PackedKind, ValueRef};

/// A value that is large enough to be shared instead of copied: a reply can hold on to it, and another thread can drop it.
pub type Blob = Arc<Vec<u8>>;
/// Values longer than this, in bytes, are blobs.
pub const BLOB_MIN: usize = 16 * 1024;

const LONG_MARK: u8 = 255;
const SHORT_HEADER: usize = 4;
const LONG_HEADER: usize = 12;
const EXPIRY_BYTES: usize = 8;
const EXPIRY_FLAG: u8 = 1 << 5;
const KIND_MASK: u8 = 31;
const PAD_SHIFT: u32 = 6;
/// What a shared value needs on the heap besides its bytes: two counts and the vector's three words.
const BLOB_OVERHEAD: usize = 40;

/// How a value is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A 64-bit integer.
    Int = 0,
    /// Bytes in the block.
    Str = 1,
    /// Bytes in the block that were once modified in place; `OBJECT ENCODING` tells them apart.
    StrRaw = 2,
    /// A pointer to a [`Blob`].
    Blob = 3,
    /// A small hash.
    HashPacked = 4,
    /// A small set of integers.
    SetInts = 5,
    /// Another small set.
    SetPacked = 6,
    /// A small sorted set.
    ZsetPacked = 7,
    /// A small list.
    ListPacked = 8,
    /// A pointer to a big hash.
    Hash = 9,
    /// A pointer to a big set.
    Set = 10,
    /// A pointer to a big sorted set.
    Zset = 11,
    /// A pointer to a big list.
    List = 12,
    /// A pointer to a stream.
    Stream = 13,
    /// A pointer to a queue of the broker.
    Queue = 14,
    /// A pointer to an exchange of the broker.
    Exchange = 15,
    /// A pointer to a store of the registry.
    Tree = 16,
}

impl Kind {
    #[inline]
    fn from_bits(bits: u8) -> Kind {
        match bits & KIND_MASK {
            0 => Kind::Int,
            1 => Kind::Str,
            2 => Kind::StrRaw,
            3 => Kind::Blob,
            4 => Kind::HashPacked,
            5 => Kind::SetInts,
            6 => Kind::SetPacked,
            7 => Kind::ZsetPacked,
            8 => Kind::ListPacked,
            9 => Kind::Hash,
            10 => Kind::Set,
            11 => Kind::Zset,
            12 => Kind::List,
            13 => Kind::Stream,
            14 => Kind::Queue,
            15 => Kind::Exchange,
            16 => Kind::Tree,
            other => unreachable!("no such kind: {other}"),
        }
    }

    /// Whether the value is a string.
    #[inline]
    pub fn is_str(self) -> bool {
        (self as u8) <= Kind::Blob as u8
    }

    /// Whether the payload is a pointer to a [`Big`].
    #[inline]
    pub fn is_big(self) -> bool {
        self as u8 >= Kind::Hash as u8
    }
}

/// What a value that was removed or overwritten owned outside of its block. It is handed out instead of dropped, because
/// dropping something large is better done on another thread.
#[derive(Debug)]
pub enum Freed {
    /// Nothing to drop.
    Nothing,
    /// A large value; other holders may still share it.
    Blob(Blob),
    /// A big collection.
    Big(Big),
}

impl Freed {
    /// What the value was counted with besides its block; `None` for nothing.
    pub(crate) fn owned(&self) -> Option<Owned> {
        match self {
            Freed::Nothing => None,
            Freed::Blob(blob) => Some(Owned::blob(blob)),
            Freed::Big(big) => Some(Owned::big(big)),
        }
    }
}

/// Bytes that a value has outside of its entry's block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owned {
    /// All of them.
    pub(crate) bytes: usize,
    /// The part that is mapped from the system, unknown to the global allocator.
    pub(crate) mapped: usize,
}

impl Owned {
    pub(crate) fn blob(blob: &Blob) -> Owned {
        Owned { bytes: blob_bytes(blob), mapped: 0 }
    }

    pub(crate) fn big(big: &Big) -> Owned {
        Owned { bytes: big.memory_bytes(), mapped: big.mapped_bytes() }
    }

    #[inline]
    pub(crate) fn of<C: Collection>(it: &C) -> Owned {
        Owned { bytes: it.memory_bytes(), mapped: it.mapped_bytes() }
    }
}

/// Bytes that a blob takes on the heap.
pub(crate) fn blob_bytes(blob: &Blob) -> usize {
    blob.capacity() + BLOB_OVERHEAD
}

/// A string value as it is stored.
#[derive(Debug)]
pub enum StrView<'a> {
    /// An integer.
    Int(i64),
    /// Bytes in the entry.
    Bytes(&'a [u8]),
    /// A large value; clone it to keep it.
    Blob(BlobRef<'a>),
}

impl<'a> StrView<'a> {
    /// The bytes, if they are stored as such; `None` for an integer.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            StrView::Int(_) => None,
            StrView::Bytes(bytes) => Some(bytes),
            StrView::Blob(blob) => Some(blob),
        }
    }
}

/// A [`Blob`] that belongs to an entry. Derefs to it, so `Blob::clone(&blob)` makes one that outlives the entry.
#[derive(Debug)]
pub struct BlobRef<'a> {
    blob: ManuallyDrop<Blob>,
    entry: PhantomData<&'a Blob>,
}

impl<'a> BlobRef<'a> {
    /// The bytes, for as long as the entry is borrowed.
    pub fn as_bytes(&self) -> &'a [u8] {
        let bytes: *const [u8] = self.blob.as_slice();
        // SAFETY: the entry keeps the blob alive and nobody changes it while the entry is borrowed for 'a.
        unsafe { &*bytes }
    }
}

impl Deref for BlobRef<'_> {
    type Target = Blob;

    fn deref(&self) -> &Blob {
        &self.blob
    }
}

/// An entry that is being looked at.
#[derive(Clone, Copy)]
pub struct EntryRef<'a> {
    block: NonNull<u8>,
    entry: PhantomData<&'a u8>,
}

impl<'a> EntryRef<'a> {
    /// # Safety
    /// `block` is a complete block that stays alive and unchanged for `'a`.
    #[inline]
    pub(crate) unsafe fn new(block: NonNull<u8>) -> EntryRef<'a> {
        EntryRef { block, entry: PhantomData }
    }

    /// The block's address.
    #[inline]
    pub(crate) fn block(self) -> NonNull<u8> {
        self.block
    }

    /// How the value is stored.
    #[inline]
    pub fn kind(self) -> Kind {
        Kind::from_bits(self.byte(0))
    }

    /// The key.
    #[inline]
    pub fn key(self) -> &'a [u8] {
        self.bytes(self.key_at(), self.key_len())
    }

    /// When the entry expires, in Unix milliseconds; `None` if it does not.
    #[inline]
    pub fn expire_at(self) -> Option<i64> {
        self.has_expiry().then(|| {
            let at = if self.is_long() { LONG_HEADER } else { SHORT_HEADER };
            i64::from_le_bytes(self.array(at))
        })
    }

    /// The access clock; its meaning belongs to the store.
    #[inline]
    pub fn clock(self) -> u16 {
        u16::from_le_bytes(self.array(2))
    }

    /// The value, if it is a string.
    #[inline]
    pub fn str(self) -> Option<StrView<'a>> {
        Some(match self.kind() {
            Kind::Int => StrView::Int(self.int()),
            Kind::Str | Kind::StrRaw => StrView::Bytes(self.payload()),
            Kind::Blob => {
                // SAFETY: the payload owns a count of this blob for as long as the entry lives; the copy made here is
                // never dropped, so the count stays the payload's.
                let blob = ManuallyDrop::new(unsafe { self.blob() });
                StrView::Blob(BlobRef { blob, entry: PhantomData })
            }
            _ => return None,
        })
    }

    /// The value, whatever it is. Inlined, so that who asks for one type pays for one comparison.
    #[inline(always)]
    pub fn value(self) -> ValueRef<'a> {
        // SAFETY: of the big kinds: the payload owns one of that type for as long as the entry lives.
        unsafe {
            match self.kind() {
                Kind::Hash => ValueRef::Hash(self.big_as().as_ref()),
                Kind::Set => ValueRef::Set(self.big_as().as_ref()),
                Kind::Zset => ValueRef::Zset(self.big_as().as_ref()),
                Kind::List => ValueRef::List(self.big_as().as_ref()),
                Kind::Stream => ValueRef::Stream(self.big_as().as_ref()),
                Kind::Queue => ValueRef::Queue(self.big_as().as_ref()),
                Kind::Exchange => ValueRef::Exchange(self.big_as().as_ref()),
                Kind::Tree => ValueRef::Tree(self.big_as().as_ref()),
                kind => match (PackedKind::of(kind), self.str()) {
                    (Some(packed), _) => ValueRef::Packed(packed, self.payload()),
                    (None, Some(string)) => ValueRef::Str(string),
                    (None, None) => unreachable!("neither a collection nor a string"),
                },
            }
        }
    }

    /// The big collection that the payload points to.
    #[inline]
    pub(crate) fn big_as<C: Collection>(self) -> NonNull<C> {
        debug_assert_eq!(self.kind(), C::KIND);
        let address = usize::from_ne_bytes(self.array(self.payload_at()));
        let raw = std::ptr::with_exposed_provenance_mut(address);
        // SAFETY: the payload of a big kind is the address of a box.
        unsafe { NonNull::new_unchecked(raw) }
    }

    /// A copy of the contents. A large string is shared, not copied; of a big collection every element is copied.
    pub fn copy_value(self) -> crate::keyspace::TakenValue {
        use crate::keyspace::OwnedValue;
        let value = match self.value() {
            ValueRef::Str(StrView::Int(int)) => OwnedValue::Int(int),
            ValueRef::Str(StrView::Bytes(bytes)) if self.is_raw() => OwnedValue::Raw(bytes.to_vec()),
            ValueRef::Str(StrView::Bytes(bytes)) => OwnedValue::Bytes(bytes.to_vec()),
            ValueRef::Str(StrView::Blob(blob)) => OwnedValue::Blob(Blob::clone(&blob)),
            ValueRef::Packed(kind, bytes) => OwnedValue::Packed(kind, bytes.to_vec()),
            ValueRef::Hash(it) => OwnedValue::Big(it.clone().into()),
            ValueRef::Set(it) => OwnedValue::Big(it.clone().into()),
            ValueRef::Zset(it) => OwnedValue::Big(it.clone().into()),
            ValueRef::List(it) => OwnedValue::Big(it.clone().into()),
            ValueRef::Stream(it) => OwnedValue::Big(it.clone().into()),
            ValueRef::Queue(it) => OwnedValue::Big(it.clone().into()),
            ValueRef::Exchange(it) => OwnedValue::Big(it.clone().into()),
            ValueRef::Tree(it) => OwnedValue::Big(it.clone().into()),
        };
        crate::keyspace::TakenValue { value, expire_at: self.expire_at(), clock: self.clock() }
    }

    /// Whether the value was once modified in place, or is large: its encoding's name is "raw".
    #[inline]
    pub fn is_raw(self) -> bool {
        matches!(self.kind(), Kind::StrRaw | Kind::Blob)
    }

    /// Bytes of the entry: block, what the value owns outside of it, and the table's slot.
    pub fn memory_bytes(self) -> usize {
        self.block_bytes() + self.owned().map_or(0, |owned| owned.bytes) + size_of::<u64>()
    }

    /// What the value has outside of the block; `None` if it is all in it.
    pub(crate) fn owned(self) -> Option<Owned> {
        Some(match self.value() {
            ValueRef::Str(StrView::Blob(blob)) => Owned::blob(&blob),
            ValueRef::Str(_) | ValueRef::Packed(..) => return None,
            ValueRef::Hash(it) => Owned::of(it),
            ValueRef::Set(it) => Owned::of(it),
            ValueRef::Zset(it) => Owned::of(it),
            ValueRef::List(it) => Owned::of(it),
            ValueRef::Stream(it) => Owned::of(it),
            ValueRef::Queue(it) => Owned::of(it),
            ValueRef::Exchange(it) => Owned::of(it),
            ValueRef::Tree(it) => Owned::of(it),
        })
    }

    #[inline]
    pub(crate) fn has_expiry(self) -> bool {
        self.byte(0) & EXPIRY_FLAG != 0
    }

    #[inline]
    pub(crate) fn is_long(self) -> bool {
        self.byte(1) == LONG_MARK
    }

    /// Bytes of the block alone.
    #[inline]
    pub(crate) fn block_bytes(self) -> usize {
        if self.is_long() {
            self.payload_at() + self.long_payload_len()
        } else {
            // SAFETY: a short block is a slab's, and alive.
            unsafe { slab::block_bytes(self.block) }
        }
    }

    /// The bytes after the key, whatever they mean.
    #[inline]
    pub(crate) fn payload(self) -> &'a [u8] {
        let at = self.payload_at();
        let len = if self.is_long() {
            self.long_payload_len()
        } else {
            self.block_bytes() - at - usize::from(self.byte(0) >> PAD_SHIFT)
        };
        self.bytes(at, len)
    }

    #[inline]
    pub(crate) fn payload_at(self) -> usize {
        self.key_at() + self.key_len()
    }

    /// What the payload owns, taken out of it.
    ///
    /// # Safety
    /// The payload is not used any more: the block is freed or overwritten.
    pub(crate) unsafe fn take_owned(self) -> Freed {
        match self.kind() {
            // SAFETY: the payload's count passes to the result, and the caller forgets the payload.
            Kind::Blob => Freed::Blob(unsafe { self.blob() }),
            kind if kind.is_big() => {
                let address = usize::from_ne_bytes(self.array(self.payload_at()));
                // SAFETY: the payload's ownership passes to the result, and the caller forgets the payload.
                Freed::Big(unsafe { Big::from_address(kind, address) })
            }
            _ => Freed::Nothing,
        }
    }

    #[inline]
    pub(crate) fn int(self) -> i64 {
        i64::from_le_bytes(self.array(self.payload_at()))
    }

    /// The payload's pointer as what it points to.
    ///
    /// # Safety
    /// The kind is `Blob`, and the result is either not dropped or stands for the payload's own count.
    pub(crate) unsafe fn blob(self) -> Blob {
        let address = usize::from_ne_bytes(self.array(self.payload_at()));
        let raw = std::ptr::with_exposed_provenance::<Vec<u8>>(address);
        // SAFETY: the payload of this kind was made by `blob_word`.
        unsafe { Arc::from_raw(raw) }
    }

    #[inline]
    fn key_at(self) -> usize {
        let header = if self.is_long() { LONG_HEADER } else { SHORT_HEADER };
        header + if self.has_expiry() { EXPIRY_BYTES } else { 0 }
    }

    #[inline]
    fn key_len(self) -> usize {
        if self.is_long() { u32::from_le_bytes(self.array(4)) as usize } else { usize::from(self.byte(1)) }
    }

    #[inline]
    fn long_payload_len(self) -> usize {
        u32::from_le_bytes(self.array(8)) as usize
    }

    #[inline]
    fn byte(self, at: usize) -> u8 {
        // SAFETY: a block is complete: all offsets that its header implies lie inside of it.
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

/// How a table finds the key of an entry's block.
pub(crate) struct EntryLayout;

// SAFETY: a block's key is written once, when the block is made; a block that replaces another has the same key.
unsafe impl dict::Layout for EntryLayout {
    #[inline]
    unsafe fn key<'a>(block: NonNull<u8>) -> &'a [u8] {
        // SAFETY: the table's blocks are complete, and the caller keeps this one unchanged.
        unsafe { EntryRef::new(block) }.key()
    }
}

/// A block's payload before it is written: pieces and zeros, one after the other.
#[derive(Clone, Copy)]
pub(crate) struct Payload<'a> {
    pub(crate) head: &'a [u8],
    pub(crate) middle: &'a [&'a [u8]],
    pub(crate) tail: &'a [u8],
    pub(crate) zeros: usize,
}

impl<'a> Payload<'a> {
    #[inline]
    pub(crate) fn of(bytes: &'a [u8]) -> Payload<'a> {
        Payload { head: bytes, middle: &[], tail: &[], zeros: 0 }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.head.len() + total_len(self.middle) + self.tail.len() + self.zeros
    }

    /// # Safety
    /// `self.len()` bytes may be written at `to`, which none of the pieces overlaps.
    #[inline]
    unsafe fn write(&self, to: NonNull<u8>) {
        // SAFETY: the caller's promise.
        unsafe { copy(self.head, to) };
        // SAFETY: behind the head there is room for the rest.
        let mut to = unsafe { to.add(self.head.len()) };
        for piece in self.middle {
            // SAFETY: the caller's promise.
            unsafe { copy(piece, to) };
            // SAFETY: behind the piece there is room for the rest.
            to = unsafe { to.add(piece.len()) };
        }
        // SAFETY: the caller's promise.
        unsafe { copy(self.tail, to) };
        // SAFETY: behind the tail there is room for the zeros.
        let to = unsafe { to.add(self.tail.len()) };
        // SAFETY: the caller's promise.
        unsafe { to.write_bytes(0, self.zeros) };
    }
}

/// Bytes of several pieces together.
#[inline]
pub(crate) fn total_len(pieces: &[&[u8]]) -> usize {
    pieces.iter().map(|piece| piece.len()).sum()
}

/// # Safety
/// `bytes.len()` bytes may be written at `to`, which `bytes` does not overlap.
#[inline]
unsafe fn copy(bytes: &[u8], to: NonNull<u8>) {
    // SAFETY: the caller's promise.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to.as_ptr(), bytes.len()) };
}

/// The eight bytes by which an entry owns a blob.
pub(crate) fn blob_payload(blob: Blob) -> [u8; 8] {
    let word = blob_word(&blob);
    std::mem::forget(blob);
    word
}

/// The same bytes, without passing the ownership on.
pub(crate) fn blob_word(blob: &Blob) -> [u8; 8] {
    const { assert!(size_of::<usize>() == 8) };
    Arc::as_ptr(blob).expose_provenance().to_ne_bytes()
}

/// Where a block with such contents is, and how long it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    is_long: bool,
    /// Bytes with contents; a short block may have up to 3 more.
    bytes: usize,
    has_expiry: bool,
}

impl Shape {
    #[inline]
    pub(crate) fn new(key_len: usize, payload_len: usize, has_expiry: bool) -> Shape {
        let rest = key_len + payload_len + if has_expiry { EXPIRY_BYTES } else { 0 };
        let is_long = key_len >= usize::from(LONG_MARK) || SHORT_HEADER + rest > BLOCK_BYTES_MAX;
        Shape { is_long, bytes: rest + if is_long { LONG_HEADER } else { SHORT_HEADER }, has_expiry }
    }

    /// Whether such a block is the global allocator's.
    #[inline]
    pub(crate) fn is_long(self) -> bool {
        self.is_long
    }

    /// Whether an entry's block can be rewritten to this shape where it is.
    #[inline]
    pub(crate) fn fits(self, entry: EntryRef<'_>) -> bool {
        self.is_long == entry.is_long()
            && self.has_expiry == entry.has_expiry()
            && self.block_bytes() == entry.block_bytes()
    }

    /// Bytes of the block.
    #[inline]
    pub(crate) fn block_bytes(self) -> usize {
        if self.is_long { self.bytes } else { self.bytes.next_multiple_of(slab::CLASS_STEP_BYTES) }
    }

    /// Memory for a block of this shape, contents unspecified.
    #[inline]
    fn alloc(self, slab: &mut Slab) -> NonNull<u8> {
        if !self.is_long {
            return slab.alloc(self.bytes);
        }
        let layout = long_layout(self.bytes);
        // SAFETY: a long block has a header, so its size is not zero.
        let raw = unsafe { alloc(layout) };
        NonNull::new(raw).unwrap_or_else(|| handle_alloc_error(layout))
    }
}

/// Makes a block.
///
/// Keys and payloads of 4 GiB and more panic: the protocol's limits are far below.
#[inline]
pub(crate) fn build(
    slab: &mut Slab,
    kind: Kind,
    key: &[u8],
    payload: Payload<'_>,
    expire_at: Option<i64>,
    clock: u16,
) -> NonNull<u8> {
    let shape = Shape::new(key.len(), payload.len(), expire_at.is_some());
    let block = shape.alloc(slab);
    let key_len = if shape.is_long {
        let lens =
            [key.len(), payload.len()].map(|len| u32::try_from(len).expect("keys and inline values are below 4 GiB"));
        for (i, len) in lens.into_iter().enumerate() {
            // SAFETY: a long block has these two numbers in its header.
            let at = unsafe { block.add(SHORT_HEADER + 4 * i) };
            // SAFETY: likewise.
            unsafe { copy(&len.to_le_bytes(), at) };
        }
        LONG_MARK
    } else {
        #[expect(clippy::cast_possible_truncation, reason = "a short key is shorter than 255 bytes")]
        let len = key.len() as u8;
        len
    };
    // SAFETY: every block has at least 4 bytes.
    unsafe { block.add(1).write(key_len) };
    // SAFETY: the block has this shape, and the lengths in its header are written.
    let payload_at = unsafe { write_header(block, shape, kind, expire_at, clock) } + key.len();
    // SAFETY: the key comes before the payload.
    let key_place = unsafe { block.add(payload_at - key.len()) };
    // SAFETY: the shape was computed from the key's and payload's lengths, and the block is new.
    unsafe { copy(key, key_place) };
    // SAFETY: likewise.
    let payload_place = unsafe { block.add(payload_at) };
    // SAFETY: likewise.
    unsafe { payload.write(payload_place) };
    block
}

/// Writes another payload into a block, leaving the key.
///
/// # Safety
/// The block is complete, `Shape::fits` said yes for it and this payload, the payload does not overlap it, and what the
/// old payload owned was taken.
#[inline]
pub(crate) unsafe fn rewrite(block: NonNull<u8>, kind: Kind, payload: Payload<'_>, expire_at: Option<i64>, clock: u16) {
    // SAFETY: the caller's promise; the reference ends before the first write.
    let (key_len, payload_at) = unsafe { (EntryRef::new(block).key_len(), EntryRef::new(block).payload_at()) };
    let shape = Shape::new(key_len, payload.len(), expire_at.is_some());
    if shape.is_long {
        let len = u32::try_from(payload.len()).expect("inline values are below 4 GiB");
        // SAFETY: a long block has the payload's length here.
        let at = unsafe { block.add(8) };
        // SAFETY: likewise.
        unsafe { copy(&len.to_le_bytes(), at) };
    }
    // SAFETY: the block fits the shape.
    unsafe { write_header(block, shape, kind, expire_at, clock) };
    // SAFETY: the block fits the shape, so key and payload end inside of it.
    let place = unsafe { block.add(payload_at) };
    // SAFETY: likewise.
    unsafe { payload.write(place) };
}

/// Writes what precedes the key, except the lengths; says where the key is.
///
/// # Safety
/// The block has the shape.
#[inline]
unsafe fn write_header(block: NonNull<u8>, shape: Shape, kind: Kind, expire_at: Option<i64>, clock: u16) -> usize {
    #[expect(clippy::cast_possible_truncation, reason = "0 to 3")]
    let pad = (shape.block_bytes() - shape.bytes) as u8;
    let flag = if expire_at.is_some() { EXPIRY_FLAG } else { 0 };
    // SAFETY: every block has at least 4 bytes.
    unsafe { block.write(kind as u8 | flag | pad << PAD_SHIFT) };
    // SAFETY: the block is alive and exclusively the caller's.
    unsafe { set_clock(block, clock) };
    let header = if shape.is_long { LONG_HEADER } else { SHORT_HEADER };
    let Some(at) = expire_at else { return header };
    // SAFETY: a shape with an expiry has its 8 bytes here.
    let place = unsafe { block.add(header) };
    // SAFETY: likewise.
    unsafe { copy(&at.to_le_bytes(), place) };
    header + EXPIRY_BYTES
}

/// # Safety
/// The block is alive and exclusively the caller's.
#[inline]
pub(crate) unsafe fn set_clock(block: NonNull<u8>, clock: u16) {
    // SAFETY: every block has at least 4 bytes.
    let at = unsafe { block.add(2) };
    // SAFETY: likewise.
    unsafe { copy(&clock.to_le_bytes(), at) };
}

/// Changes the kind in place: between kinds whose payload is the same bytes.
///
/// # Safety
/// The block is alive and exclusively the caller's, and its payload is valid for `kind`.
pub(crate) unsafe fn set_kind(block: NonNull<u8>, kind: Kind) {
    // SAFETY: every block has at least 4 bytes.
    let byte = unsafe { block.read() };
    // SAFETY: likewise.
    unsafe { block.write(byte & !KIND_MASK | kind as u8) };
}

/// The expiry of a block that has one.
///
/// # Safety
/// The block is alive and exclusively the caller's, and has an expiry.
pub(crate) unsafe fn set_expire_at(block: NonNull<u8>, at: i64) {
    // SAFETY: the caller's promise; the reference ends here.
    let header = if unsafe { EntryRef::new(block) }.is_long() { LONG_HEADER } else { SHORT_HEADER };
    // SAFETY: an entry with an expiry has its 8 bytes here.
    let place = unsafe { block.add(header) };
    // SAFETY: likewise.
    unsafe { copy(&at.to_le_bytes(), place) };
}

/// Gives a block's memory back; what its payload owned is not touched.
///
/// # Safety
/// The block came from `build` with this slab and is not used any more.
pub(crate) unsafe fn free(slab: &mut Slab, block: NonNull<u8>) {
    // SAFETY: the block is still complete; the reference ends before it is freed.
    let long_bytes = unsafe {
        let entry = EntryRef::new(block);
        entry.is_long().then(|| entry.block_bytes())
    };
    match long_bytes {
        // SAFETY: a long block came from the global allocator with exactly this layout.
        Some(bytes) => unsafe { dealloc(block.as_ptr(), long_layout(bytes)) },
        // SAFETY: a short one is this slab's.
        None => unsafe { slab.free(block) },
    }
}

fn long_layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, slab::CLASS_STEP_BYTES).expect("a block's size is at most 8 GiB")
}

/// Appends to a short block's payload without moving it.
///
/// # Safety
/// The block is short, complete and exclusively the caller's; `kind` holds bytes in the block; `tail` does not overlap it;
/// and it has room: `Shape::fits` said yes for the longer payload.
pub(crate) unsafe fn extend(block: NonNull<u8>, kind: Kind, tail: Payload<'_>) {
    // SAFETY: the caller's promise; the reference ends before the first write.
    let (key_len, expire_at, clock, end, payload_len) = unsafe {
        let entry = EntryRef::new(block);
        let payload_len = entry.payload().len();
        (entry.key_len(), entry.expire_at(), entry.clock(), entry.payload_at() + payload_len, payload_len)
    };
    let shape = Shape::new(key_len, payload_len + tail.len(), expire_at.is_some());
    // SAFETY: the block fits the shape.
    unsafe { write_header(block, shape, kind, expire_at, clock) };
    // SAFETY: the longer payload fits, so it ends inside of the block.
    let place = unsafe { block.add(end) };
    // SAFETY: likewise.
    unsafe { tail.write(place) };
}

/// Replaces `removed` bytes of the payload at `at` by the pieces, moving what follows. The header's idea of the payload's
/// length is not changed: see [`set_payload_len`].
///
/// # Safety
/// The block is complete and exclusively the caller's; `at + removed` is within the payload; the block has room for the new
/// payload; no piece overlaps the block.
pub(crate) unsafe fn edit(block: NonNull<u8>, at: usize, removed: usize, inserted: &[&[u8]], payload_len: usize) {
    // SAFETY: the caller's promise; the reference ends here.
    let payload_at = unsafe { EntryRef::new(block) }.payload_at();
    let rest = payload_len - at - removed;
    // SAFETY: the place lies within the payload.
    let mut to = unsafe { block.add(payload_at + at) };
    // SAFETY: so does what follows the removed bytes.
    let from = unsafe { to.add(removed) };
    // SAFETY: the block has room for the pieces and what follows them.
    let rest_to = unsafe { to.add(total_len(inserted)) };
    // SAFETY: both places are followed by so many bytes of the block.
    unsafe { std::ptr::copy(from.as_ptr(), rest_to.as_ptr(), rest) };
    for piece in inserted {
        // SAFETY: there is room for each up to `rest_to`.
        unsafe { copy(piece, to) };
        // SAFETY: likewise.
        to = unsafe { to.add(piece.len()) };
    }
}

/// Writes into the header how long the payload is.
///
/// # Safety
/// The block is complete and exclusively the caller's, and has just the room that a payload of this length needs.
pub(crate) unsafe fn set_payload_len(block: NonNull<u8>, payload_len: usize) {
    // SAFETY: the caller's promise; the reference ends before the first write.
    let (kind, key_len, expire_at, clock) = unsafe {
        let entry = EntryRef::new(block);
        (entry.kind(), entry.key_len(), entry.expire_at(), entry.clock())
    };
    let shape = Shape::new(key_len, payload_len, expire_at.is_some());
    if shape.is_long {
        let len = u32::try_from(payload_len).expect("inline values are below 4 GiB");
        // SAFETY: a long block has the payload's length here.
        let at = unsafe { block.add(8) };
        // SAFETY: likewise.
        unsafe { copy(&len.to_le_bytes(), at) };
    }
    // SAFETY: the block has this shape.
    unsafe { write_header(block, shape, kind, expire_at, clock) };
}

/// Gives a long block room for a payload of another length, perhaps elsewhere; contents stay as far as there is room, and
/// the header still tells the old length.
///
/// # Safety
/// The block is long, complete and exclusively the caller's; a block with the new payload's length is long too. The old
/// address is not used any more.
pub(crate) unsafe fn resize_long(block: NonNull<u8>, payload_len: usize) -> NonNull<u8> {
    // SAFETY: the caller's promise; the reference ends here.
    let (old_bytes, payload_at) = unsafe { (EntryRef::new(block).block_bytes(), EntryRef::new(block).payload_at()) };
    let bytes = payload_at + payload_len;
    // SAFETY: a long block came from the global allocator with exactly this layout; the new size is not zero.
    let raw = unsafe { realloc(block.as_ptr(), long_layout(old_bytes), bytes) };
    NonNull::new(raw).unwrap_or_else(|| handle_alloc_error(long_layout(bytes)))
}

/// The payload, to be changed.
///
/// # Safety
/// The block is complete and exclusively the caller's for `'a`.
pub(crate) unsafe fn payload_mut<'a>(block: NonNull<u8>) -> &'a mut [u8] {
    // SAFETY: the caller's promise; the reference ends here.
    let (at, len) = unsafe { (EntryRef::new(block).payload_at(), EntryRef::new(block).payload().len()) };
    // SAFETY: the payload lies inside of the block.
    let start = unsafe { block.add(at) };
    // SAFETY: likewise, and nobody else looks at it for 'a.
    unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), len) }
}
