//! How many values of each type have which size, by powers of two.
//!
//! Sizes are bytes of strings and elements of collections; streams are not counted. A class is a type and a power of two in
//! sixteen bits, so that whoever changes a value compares two numbers, and nearly always they are equal.

use crate::entry::{EntryRef, Kind, StrView};
use crate::intset::IntSet;
use crate::keyspace::{NewStr, NewValue};
use crate::packed::COUNT_BYTES;
use crate::value::{Big, PackedKind, ValueRef};

/// A type whose sizes are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizedType {
    /// Strings, by their bytes.
    String = 0,
    /// Lists, by their elements, as all that follow.
    List = 1,
    /// Sets.
    Set = 2,
    /// Sorted sets.
    Zset = 3,
    /// Hashes, by their fields.
    Hash = 4,
}

impl SizedType {
    /// All of them.
    pub const ALL: [SizedType; 5] =
        [SizedType::String, SizedType::List, SizedType::Set, SizedType::Zset, SizedType::Hash];

    #[inline]
    fn of(kind: Kind) -> Option<SizedType> {
        Some(match kind {
            Kind::Int | Kind::Str | Kind::StrRaw | Kind::Blob => SizedType::String,
            Kind::ListPacked | Kind::List => SizedType::List,
            Kind::SetInts | Kind::SetPacked | Kind::Set => SizedType::Set,
            Kind::ZsetPacked | Kind::Zset => SizedType::Zset,
            Kind::HashPacked | Kind::Hash => SizedType::Hash,
            Kind::Stream | Kind::Queue | Kind::Exchange | Kind::Tree => return None,
        })
    }
}

/// Powers of two that are told apart, and zero.
const BINS: usize = 64;

/// The class of a value: its type and the power of two below its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeClass(u16);

impl SizeClass {
    /// Of what is not counted: nothing at all, a collection that is still empty, a stream.
    pub const NONE: SizeClass = SizeClass(u16::MAX);

    #[inline]
    fn new(sized: SizedType, size: u64) -> SizeClass {
        if size == 0 && sized != SizedType::String {
            return SizeClass::NONE;
        }
        let bin = (BINS as u32 - size.leading_zeros()).min(BINS as u32 - 1);
        SizeClass(sized as u16 * BINS as u16 + bin as u16)
    }

    /// Of an entry's value. Reads the entry and, of a big collection, its head.
    #[inline]
    pub fn of(entry: EntryRef<'_>) -> SizeClass {
        let Some(sized) = SizedType::of(entry.kind()) else { return SizeClass::NONE };
        SizeClass::new(sized, size_of_value(&entry.value()))
    }

    /// Of a value that is to be stored.
    #[inline]
    pub fn of_new(value: &NewValue<'_>) -> SizeClass {
        match value {
            NewValue::Str(NewStr::Int(int)) => SizeClass::new(SizedType::String, digits(*int)),
            NewValue::Str(NewStr::Bytes(bytes) | NewStr::Raw(bytes)) => {
                SizeClass::new(SizedType::String, bytes.len() as u64)
            }
            NewValue::Str(NewStr::Blob(blob)) => SizeClass::new(SizedType::String, blob.len() as u64),
            NewValue::Packed(kind, bytes) => {
                let Some(sized) = SizedType::of(kind.kind()) else { return SizeClass::NONE };
                SizeClass::new(sized, packed_len(*kind, bytes))
            }
            NewValue::Big(big) => {
                let Some(sized) = SizedType::of(big.kind()) else { return SizeClass::NONE };
                SizeClass::new(sized, big_len(big))
            }
        }
    }

    /// Of memory in bytes, of a value of this class.
    #[inline]
    pub fn of_memory(self, bytes: usize) -> SizeClass {
        match SizedType::ALL.get(usize::from(self.0) / BINS) {
            Some(&sized) if self != SizeClass::NONE => SizeClass::new(sized, bytes as u64),
            _ => SizeClass::NONE,
        }
    }
}

/// Decimal digits of an integer, with its sign.
#[inline]
fn digits(int: i64) -> u64 {
    u64::from(int < 0) + u64::from(int.unsigned_abs().checked_ilog10().unwrap_or(0)) + 1
}

#[inline]
fn size_of_value(value: &ValueRef<'_>) -> u64 {
    match value {
        ValueRef::Str(StrView::Int(int)) => digits(*int),
        ValueRef::Str(StrView::Bytes(bytes)) => bytes.len() as u64,
        ValueRef::Str(StrView::Blob(blob)) => blob.len() as u64,
        ValueRef::Packed(kind, bytes) => packed_len(*kind, bytes),
        ValueRef::Hash(it) => it.len() as u64,
        ValueRef::Set(it) => it.len() as u64,
        ValueRef::Zset(it) => it.len(),
        ValueRef::List(it) => it.len() as u64,
        ValueRef::Stream(_) | ValueRef::Queue(_) | ValueRef::Exchange(_) | ValueRef::Tree(_) => 0,
    }
}

fn big_len(big: &Big) -> u64 {
    match big {
        Big::Hash(it) => it.len() as u64,
        Big::Set(it) => it.len() as u64,
        Big::Zset(it) => it.len(),
        Big::List(it) => it.len() as u64,
        Big::Stream(_) | Big::Queue(_) | Big::Exchange(_) | Big::Tree(_) => 0,
    }
}

/// Elements of a packed collection, as it says itself: of 65,535 and more it says no more than that.
#[inline]
fn packed_len(kind: PackedKind, bytes: &[u8]) -> u64 {
    if kind == PackedKind::SetInts {
        return IntSet::of(bytes).len() as u64;
    }
    let count = bytes.first_chunk::<COUNT_BYTES>().map_or(0, |count| u64::from(u16::from_le_bytes(*count)));
    if matches!(kind, PackedKind::Hash | PackedKind::Zset) { count / 2 } else { count }
}

/// How many values there are of each class. Empty until the first comes.
#[derive(Clone, Debug, Default)]
pub struct Sizes {
    counts: Box<[u64]>,
}

impl Sizes {
    /// A value went from one class to another.
    #[inline]
    pub fn moved(&mut self, from: SizeClass, to: SizeClass) {
        if from != to {
            self.move_one(from, to);
        }
    }

    fn move_one(&mut self, from: SizeClass, to: SizeClass) {
        if self.counts.is_empty() {
            self.counts = vec![0; SizedType::ALL.len() * BINS].into();
        }
        self.count(from, -1);
        self.count(to, 1);
    }

    /// Bytes of heap.
    pub fn memory_bytes(&self) -> usize {
        size_of_val(&*self.counts)
    }

    fn count(&mut self, class: SizeClass, by: i64) {
        if let Some(count) = self.counts.get_mut(usize::from(class.0)) {
            *count = count.wrapping_add_signed(by);
        }
    }

    /// Of one type, the sizes that any value has, smallest first, and how many values have at least that and less than twice
    /// as much.
    pub fn of_type(&self, sized: SizedType) -> impl Iterator<Item = (u64, u64)> {
        let from = sized as usize * BINS;
        let bins = self.counts.iter().skip(from).take(BINS).enumerate();
        bins.filter(|&(_, &count)| count > 0).map(|(bin, &count)| (if bin == 0 { 0 } else { 1 << (bin - 1) }, count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_holds_sizes_up_to_the_next_power_of_two() {
        let class = |size| SizeClass::new(SizedType::String, size);
        assert_eq!(class(4), class(7));
        for (a, b) in [(0, 1), (1, 2), (3, 4), (7, 8), (1 << 40, (1 << 40) - 1)] {
            assert_ne!(class(a), class(b));
        }
        assert_ne!(class(4), SizeClass::new(SizedType::Hash, 4));
        assert_eq!(class(u64::MAX), class(1 << 62));
    }

    #[test]
    fn empty_collections_are_not_counted_and_empty_strings_are() {
        assert_eq!(SizeClass::new(SizedType::List, 0), SizeClass::NONE);
        let mut sizes = Sizes::default();
        sizes.moved(SizeClass::NONE, SizeClass::new(SizedType::String, 0));
        sizes.moved(SizeClass::NONE, SizeClass::new(SizedType::String, 5));
        sizes.moved(SizeClass::NONE, SizeClass::new(SizedType::Zset, 9));
        sizes.moved(SizeClass::new(SizedType::Zset, 9), SizeClass::NONE);
        assert_eq!(sizes.of_type(SizedType::String).collect::<Vec<_>>(), [(0, 1), (4, 1)]);
        assert_eq!(sizes.of_type(SizedType::Zset).count(), 0);
    }

    #[test]
    fn an_integer_is_as_long_as_its_digits() {
        for int in [0, 9, 10, -1, 99, 100, -100, i64::MAX, i64::MIN] {
            assert_eq!(digits(int), int.to_string().len() as u64);
        }
    }
}
