//! A small collection as one run of bytes: the elements one after the other, read from the front.
//!
//! Most hashes, sets and sorted sets are small, and of a small collection the overhead is larger than the data. So its
//! elements are stored as densely as they can be and found by walking, which in a few cache lines is faster than any table:
//!
//! ```text
//!  | count: u16 LE | element | element | ...        nothing at all is an empty collection
//!
//!  0xxxxxxx            an integer of 7 bits              1110xxxx +1 length, bytes    up to 4095 bytes
//!  10xxxxxx, bytes     up to 63 bytes                    11110000 +4 length, bytes    up to 2^32 - 1 bytes
//!  110xxxxx +1         a signed integer of 13 bits       11110001 .. 11110100         an integer of 16, 24, 32, 64 bits
//! ```
//!
//! These are the element encodings of a listpack, without the length behind each element that only walking backwards
//! needs, and without its header and its end mark. What it means that elements follow each other (field and value, member
//! and score) is the business of whoever uses this.
//!
//! What must stay true:
//! - bytes that read as an integer's only text are stored as that integer, in the shortest encoding that holds it, and
//!   other bytes with the shortest length. So equal elements are equal bytes, and looking one up compares bytes only;
//! - the count is the number of elements, or `0xFFFF` for that many and more;
//! - a reader takes any bytes: where they stop making sense, the elements end.

use std::cmp::Ordering;
use std::ops::{Deref, Range};

use crate::number::{I64_TEXT_MAX, IntegerText, format_i64, parse_i64};

/// Bytes in front of the first element.
pub const COUNT_BYTES: usize = 2;
/// The count that says: this many or more, walk to know.
const COUNT_UNKNOWN: u16 = u16::MAX;
/// Longest head of an element: what precedes a string's bytes, or all of an integer.
const HEAD_BYTES_MAX: usize = 9;

const STRING_6: u8 = 0x80;
const INT_13: u8 = 0xC0;
const STRING_12: u8 = 0xE0;
const STRING_32: u8 = 0xF0;
const INT_16: u8 = 0xF1;
const INT_24: u8 = 0xF2;
const INT_32: u8 = 0xF3;
const INT_64: u8 = 0xF4;

/// One element, as it was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element<'a> {
    /// An integer; as bytes, its decimal text.
    Int(i64),
    /// Any other bytes.
    Bytes(&'a [u8]),
}

impl<'a> Element<'a> {
    /// The element's bytes; of an integer its text, made on the stack.
    #[inline]
    pub fn text(self) -> ElementText<'a> {
        match self {
            Element::Int(value) => ElementText::Int(format_i64(value)),
            Element::Bytes(bytes) => ElementText::Bytes(bytes),
        }
    }

    /// Length of the text in bytes.
    #[inline]
    pub fn text_len(self) -> usize {
        match self {
            Element::Int(value) => format_i64(value).len(),
            Element::Bytes(bytes) => bytes.len(),
        }
    }

    /// The integer whose only text the element is.
    #[inline]
    pub fn as_i64(self) -> Option<i64> {
        match self {
            Element::Int(value) => Some(value),
            Element::Bytes(bytes) => parse_i64(bytes),
        }
    }

    /// Whether the text is these bytes.
    #[inline]
    pub fn equals(self, bytes: &[u8]) -> bool {
        match self {
            Element::Int(value) => bytes.len() <= I64_TEXT_MAX && *format_i64(value) == *bytes,
            Element::Bytes(own) => own == bytes,
        }
    }

    /// The order of the texts, byte by byte.
    #[inline]
    pub fn compare(self, bytes: &[u8]) -> Ordering {
        (*self.text()).cmp(bytes)
    }

    /// Reads the element that `bytes` begin with; how many bytes it takes. `None` for bytes that are no element or end
    /// inside of one.
    #[inline]
    pub fn decode(bytes: &'a [u8]) -> Option<(Element<'a>, usize)> {
        let (&first, rest) = bytes.split_first()?;
        let string = |head: usize, len: usize| {
            let end = head.checked_add(len)?;
            Some((Element::Bytes(bytes.get(head..end)?), end))
        };
        let int = |value: i64, len: usize| Some((Element::Int(value), len));
        match first {
            0..STRING_6 => int(i64::from(first), 1),
            STRING_6..INT_13 => string(1, usize::from(first & 0x3F)),
            INT_13..STRING_12 => {
                let raw = i64::from(first & 0x1F) << 8 | i64::from(*rest.first()?);
                int(if raw < 1 << 12 { raw } else { raw - (1 << 13) }, 2)
            }
            STRING_12..STRING_32 => string(2, usize::from(first & 0x0F) << 8 | usize::from(*rest.first()?)),
            STRING_32 => string(5, u32::from_le_bytes(*rest.first_chunk()?) as usize),
            INT_16 => int(i64::from(i16::from_le_bytes(*rest.first_chunk()?)), 3),
            INT_24 => {
                let [low, middle, high] = *rest.first_chunk()?;
                int(i64::from(i32::from_le_bytes([0, low, middle, high]) >> 8), 4)
            }
            INT_32 => int(i64::from(i32::from_le_bytes(*rest.first_chunk()?)), 5),
            INT_64 => int(i64::from_le_bytes(*rest.first_chunk()?), 9),
            _ => None,
        }
    }
}

/// An element's bytes, borrowed from the collection or made of an integer.
#[derive(Debug, Clone, Copy)]
pub enum ElementText<'a> {
    /// Text of an integer.
    Int(IntegerText),
    /// Bytes of the collection.
    Bytes(&'a [u8]),
}

impl ElementText<'_> {
    /// The bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            ElementText::Int(text) => text,
            ElementText::Bytes(bytes) => bytes,
        }
    }
}

impl Deref for ElementText<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.as_bytes()
    }
}

/// Length of the element that `bytes` begin with. `None` as for [`Element::decode`].
#[inline]
pub fn element_bytes(bytes: &[u8]) -> Option<usize> {
    let &first = bytes.first()?;
    let short = usize::from(SHORT_BYTES[usize::from(first)]);
    let len = if short != 0 {
        short
    } else {
        match first {
            STRING_12..STRING_32 => 2 + (usize::from(first & 0x0F) << 8 | usize::from(*bytes.get(1)?)),
            STRING_32 => 5usize.checked_add(u32::from_le_bytes(*bytes.get(1..)?.first_chunk()?) as usize)?,
            _ => return None,
        }
    };
    (len <= bytes.len()).then_some(len)
}

/// Whether elements with this first byte are all of one length.
#[inline]
pub(crate) fn length_is_in_first_byte(first: u8) -> bool {
    SHORT_BYTES[usize::from(first)] != 0
}

/// Lengths of the elements whose first byte says it all; 0 for others.
static SHORT_BYTES: [u8; 256] = {
    let mut table = [0; 256];
    let mut first = 0;
    while first < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
        let byte = first as u8;
        table[first] = match byte {
            0..STRING_6 => 1,
            STRING_6..INT_13 => 1 + (byte & 0x3F),
            INT_13..STRING_12 => 2,
            INT_16 => 3,
            INT_24 => 4,
            INT_32 => 5,
            INT_64 => 9,
            _ => 0,
        };
        first += 1;
    }
    table
};

/// An element ready to be stored: a head on the stack, and for a string the bytes themselves, which are not copied.
#[derive(Debug, Clone, Copy)]
pub struct Encoded<'a> {
    head: [u8; HEAD_BYTES_MAX],
    head_len: u8,
    tail: &'a [u8],
}

impl<'a> Encoded<'a> {
    /// Of bytes: an integer if they are the text of one.
    ///
    /// 4 GiB and more panic: the protocol's limits are far below.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Encoded<'a> {
        if let [b'-' | b'0'..=b'9', ..] = bytes
            && bytes.len() <= I64_TEXT_MAX
            && let Some(value) = parse_i64(bytes)
        {
            return Encoded::int(value);
        }
        Encoded::string(bytes)
    }

    /// Of an integer.
    #[inline]
    pub fn int(value: i64) -> Encoded<'static> {
        let mut head = [0; HEAD_BYTES_MAX];
        let bytes = value.to_le_bytes();
        let head_len = match value {
            0..=127 => {
                head[0] = bytes[0];
                1
            }
            -4096..=4095 => {
                head[0] = INT_13 | bytes[1] & 0x1F;
                head[1] = bytes[0];
                2
            }
            _ => {
                let (mark, len) = match value {
                    -0x8000..=0x7FFF => (INT_16, 2),
                    -0x80_0000..=0x7F_FFFF => (INT_24, 3),
                    -0x8000_0000..=0x7FFF_FFFF => (INT_32, 4),
                    _ => (INT_64, 8),
                };
                head[0] = mark;
                head[1..].copy_from_slice(&bytes);
                len + 1
            }
        };
        Encoded { head, head_len, tail: &[] }
    }

    #[inline]
    fn string(bytes: &'a [u8]) -> Encoded<'a> {
        let mut head = [0; HEAD_BYTES_MAX];
        let len = u32::try_from(bytes.len()).expect("elements are below 4 GiB");
        let [low, high, ..] = len.to_le_bytes();
        let head_len = match len {
            0..=0x3F => {
                head[0] = STRING_6 | low;
                1
            }
            0x40..=0xFFF => {
                head[0] = STRING_12 | high;
                head[1] = low;
                2
            }
            _ => {
                head[0] = STRING_32;
                head[1..5].copy_from_slice(&len.to_le_bytes());
                5
            }
        };
        Encoded { head, head_len, tail: bytes }
    }

    /// Length of the element when it is stored.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "an element is never empty")]
    pub fn len(&self) -> usize {
        usize::from(self.head_len) + self.tail.len()
    }

    /// What is to be written, one after the other.
    #[inline]
    pub fn pieces(&self) -> [&[u8]; 2] {
        [self.head(), self.tail]
    }

    /// Appends it.
    #[inline]
    pub fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(self.head());
        to.extend_from_slice(self.tail);
    }

    /// Writes it to the start of `to`, which must be long enough; gives what is behind it.
    #[inline]
    pub(crate) fn write_to<'t>(&self, to: &'t mut [u8]) -> &'t mut [u8] {
        put(put(to, self.head()), self.tail)
    }

    #[inline]
    fn head(&self) -> &[u8] {
        &self.head[..usize::from(self.head_len)]
    }

    /// Whether this is the element that `bytes` begin with.
    #[inline]
    pub(crate) fn starts(&self, bytes: &[u8]) -> bool {
        let head_len = usize::from(self.head_len);
        bytes.get(..head_len) == Some(self.head())
            && bytes.get(head_len..head_len + self.tail.len()).is_some_and(|tail| equal(tail, self.tail))
    }
}

/// Copies bytes to the start of `to`, and gives what is behind them. One or two of them, which heads and lengths mostly are,
/// not by a call.
#[inline]
pub(crate) fn put<'t>(to: &'t mut [u8], bytes: &[u8]) -> &'t mut [u8] {
    let (here, behind) = to.split_at_mut(bytes.len());
    match (here, bytes) {
        ([here], [byte]) => *here = *byte,
        ([first, second], [a, b]) => (*first, *second) = (*a, *b),
        (here, bytes) => here.copy_from_slice(bytes),
    }
    behind
}

/// Compares bytes of equal length, their ends first: names of one collection tend to begin alike.
#[inline]
fn equal(a: &[u8], b: &[u8]) -> bool {
    match (a.last_chunk::<8>(), b.last_chunk::<8>()) {
        (Some(a_end), Some(b_end)) => {
            u64::from_le_bytes(*a_end) == u64::from_le_bytes(*b_end) && (a.len() == 8 || a == b)
        }
        _ => match (a.first_chunk::<4>(), a.last_chunk::<4>(), b.first_chunk::<4>(), b.last_chunk::<4>()) {
            (Some(a_start), Some(a_end), Some(b_start), Some(b_end)) => a_start == b_start && a_end == b_end,
            _ => a.iter().eq(b),
        },
    }
}

/// Where an element is, and what it is. Offsets count from the start of the collection's bytes, its count included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item<'a> {
    /// Offset of its first byte.
    pub start: usize,
    /// Offset behind its last byte.
    pub end: usize,
    /// The element.
    pub element: Element<'a>,
}

/// What [`Packed::find`] finds. Offsets as in [`Item`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// How many elements are in front of it.
    pub index: usize,
    /// Offset of its first byte.
    pub start: usize,
    /// Offset behind its last byte, which is where the next element starts.
    pub end: usize,
}

/// Reads a packed collection.
#[derive(Debug, Clone, Copy)]
pub struct Packed<'a> {
    bytes: &'a [u8],
}

impl<'a> Packed<'a> {
    /// Of the bytes of a collection: a count and elements, or nothing.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Packed<'a> {
        Packed { bytes }
    }

    /// Number of elements. Constant time below 65,535, else a walk.
    #[inline]
    pub fn len(self) -> usize {
        match self.bytes.first_chunk() {
            None => 0,
            Some(&count) => match u16::from_le_bytes(count) {
                COUNT_UNKNOWN => self.walked_len(),
                count => usize::from(count),
            },
        }
    }

    #[cold]
    fn walked_len(self) -> usize {
        let (mut at, mut count) = (COUNT_BYTES, 0);
        while let Some(end) = self.skip(at) {
            at = end;
            count += 1;
        }
        count
    }

    /// Whether there is no element.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.bytes.len() <= COUNT_BYTES
    }

    /// All bytes, the count included.
    #[inline]
    pub fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The element that starts at an offset.
    #[inline]
    pub fn at(self, start: usize) -> Option<Item<'a>> {
        let (element, len) = Element::decode(self.bytes.get(start..)?)?;
        Some(Item { start, end: start + len, element })
    }

    /// Offset behind the element that starts at an offset.
    #[inline]
    pub fn skip(self, start: usize) -> Option<usize> {
        Some(start + element_bytes(self.bytes.get(start..)?)?)
    }

    /// The element with so many in front of it. Walks there.
    pub fn nth(self, index: usize) -> Option<Item<'a>> {
        let mut at = COUNT_BYTES;
        for _ in 0..index {
            at = self.skip(at)?;
        }
        self.at(at)
    }

    /// All elements, in order.
    #[inline]
    pub fn iter(self) -> Iter<'a> {
        Iter { packed: self, at: COUNT_BYTES }
    }

    /// Two elements at a time: field and value, member and score. An odd one at the end is left out.
    #[inline]
    pub fn pairs(self) -> impl Iterator<Item = (Item<'a>, Item<'a>)> {
        let mut items = self.iter();
        std::iter::from_fn(move || Some((items.next()?, items.next()?)))
    }

    /// The first element equal to the needle, among those with a multiple of `step` elements in front (`step` of 1: all).
    /// A few nanoseconds for each element passed. A `step` of 0 panics.
    #[inline]
    pub fn find(self, needle: &[u8], step: usize) -> Option<Found> {
        self.find_encoded(&Encoded::new(needle), step)
    }

    /// The same for a needle that is looked for in more than one collection.
    pub fn find_encoded(self, needle: &Encoded<'_>, step: usize) -> Option<Found> {
        assert!(step > 0);
        let first = needle.head[0];
        let (mut at, mut index) = (COUNT_BYTES, 0);
        loop {
            let rest = self.bytes.get(at..)?;
            if *rest.first()? == first && needle.starts(rest) {
                return Some(Found { index, start: at, end: at + needle.len() });
            }
            for _ in 0..step {
                at = self.skip(at)?;
            }
            index += step;
        }
    }

    /// What the same elements take as a listpack, its header and end included: what DEBUG commands report. Walks.
    pub fn listpack_bytes(self) -> usize {
        LISTPACK_FRAME_BYTES
            + self.iter().map(|item| item.end - item.start).map(|len| len + backlen_bytes(len)).sum::<usize>()
    }
}

impl<'a> IntoIterator for Packed<'a> {
    type Item = Item<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Elements in order; ends where bytes stop being elements.
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    packed: Packed<'a>,
    at: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Item<'a>;

    #[inline]
    fn next(&mut self) -> Option<Item<'a>> {
        let item = self.packed.at(self.at)?;
        self.at = item.end;
        Some(item)
    }
}

/// Header and end mark of a listpack.
const LISTPACK_FRAME_BYTES: usize = 7;

/// Bytes that a listpack spends behind an element of `len` bytes, to say this length backwards.
#[inline]
pub fn backlen_bytes(len: usize) -> usize {
    match len {
        0..=127 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    }
}

/// Bytes of a packed collection that can be changed where they are kept.
pub trait Splice {
    /// All bytes; empty for an empty collection.
    fn bytes(&self) -> &[u8];

    /// Replaces `removed` bytes at `at`, both inside of the bytes, by `inserted`, one piece after the other.
    fn splice(&mut self, at: usize, removed: usize, inserted: &[&[u8]]);
}

impl Splice for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn splice(&mut self, at: usize, removed: usize, inserted: &[&[u8]]) {
        match inserted {
            _ if at == self.len() => inserted.iter().for_each(|piece| self.extend_from_slice(piece)),
            _ => drop(Vec::splice(self, at..at + removed, inserted.concat())),
        }
    }
}

/// Most elements that one insertion or replacement takes.
pub const ELEMENTS_AT_ONCE_MAX: usize = 4;

/// Puts up to four elements at an offset where an element starts or the last one ends. In an empty collection every
/// offset is the start.
pub fn insert(target: &mut impl Splice, at: usize, elements: &[Encoded<'_>]) {
    replace(target, at..at, 0, elements);
}

/// Puts up to four elements at the end.
pub fn push(target: &mut impl Splice, elements: &[Encoded<'_>]) {
    insert(target, target.bytes().len(), elements);
}

/// Puts all elements of another collection at the end.
pub fn append(target: &mut impl Splice, other: Packed<'_>) {
    if other.is_empty() {
        return;
    }
    let bytes = target.bytes();
    if bytes.len() < COUNT_BYTES {
        target.splice(0, bytes.len(), &[other.as_bytes()]);
        return;
    }
    let (count, end) = (count_bytes(Packed::new(bytes).len() + other.len()), bytes.len());
    target.splice(0, COUNT_BYTES, &[&count]);
    target.splice(end, 0, &[&other.as_bytes()[COUNT_BYTES..]]);
}

/// Removes `count` elements, which are the bytes of a range. With the last element the collection becomes empty.
pub fn remove(target: &mut impl Splice, range: Range<usize>, count: usize) {
    replace(target, range, count, &[]);
}

/// Puts up to four elements in the place of `removed` ones, which are the bytes of a range.
pub fn replace(target: &mut impl Splice, range: Range<usize>, removed: usize, elements: &[Encoded<'_>]) {
    let mut pieces: [&[u8]; 1 + 2 * ELEMENTS_AT_ONCE_MAX] = [&[]; 1 + 2 * ELEMENTS_AT_ONCE_MAX];
    for (places, element) in pieces[1..].chunks_exact_mut(2).zip(elements) {
        places.copy_from_slice(&element.pieces());
    }
    assert!(elements.len() <= ELEMENTS_AT_ONCE_MAX);
    let pieces_used = 1 + 2 * elements.len();
    let bytes = target.bytes();
    if bytes.len() < COUNT_BYTES {
        if !elements.is_empty() {
            let count = count_bytes(elements.len());
            pieces[0] = &count;
            target.splice(0, bytes.len(), &pieces[..pieces_used]);
        }
        return;
    }
    let whole = COUNT_BYTES..bytes.len();
    if elements.is_empty() && range == whole {
        target.splice(0, whole.end, &[]);
        return;
    }
    if elements.len() != removed {
        let old = Packed::new(bytes);
        // A count that cannot be told stays so until a walk can tell it again.
        let count = count_bytes((old.len() + elements.len()).saturating_sub(removed));
        if bytes.first_chunk() != Some(&count) {
            target.splice(0, COUNT_BYTES, &[&count]);
        }
    }
    target.splice(range.start, range.len(), &pieces[1..pieces_used]);
}

/// How a number of elements is written in front of them.
#[inline]
pub fn count_bytes(count: usize) -> [u8; COUNT_BYTES] {
    u16::try_from(count).unwrap_or(COUNT_UNKNOWN).to_le_bytes()
}

/// Builds a packed collection from its elements.
#[derive(Debug, Default)]
pub struct Builder {
    bytes: Vec<u8>,
    count: usize,
}

impl Builder {
    /// An empty one.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// An empty one with room for so many bytes.
    pub fn with_capacity(bytes: usize) -> Builder {
        Builder { bytes: Vec::with_capacity(bytes), count: 0 }
    }

    /// Appends an element.
    #[inline]
    pub fn push(&mut self, element: &Encoded<'_>) {
        if self.bytes.is_empty() {
            self.bytes.extend_from_slice(&[0; COUNT_BYTES]);
        }
        element.write(&mut self.bytes);
        self.count += 1;
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The bytes; none for an empty collection.
    pub fn finish(mut self) -> Vec<u8> {
        if let Some(count) = self.bytes.first_chunk_mut() {
            *count = count_bytes(self.count);
        }
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rng;

    fn texts(bytes: &[u8]) -> Vec<Vec<u8>> {
        Packed::new(bytes).iter().map(|item| item.element.text().to_vec()).collect()
    }

    fn packed(elements: &[&[u8]]) -> Vec<u8> {
        let mut builder = Builder::new();
        elements.iter().for_each(|element| builder.push(&Encoded::new(element)));
        builder.finish()
    }

    /// Elements at and around every border between encodings.
    fn borders() -> Vec<Vec<u8>> {
        let mut all: Vec<Vec<u8>> =
            [0, 1, 7, 8, 62, 63, 64, 65, 4094, 4095, 4096, 70_000].iter().map(|&len| vec![b'x'; len]).collect();
        for bits in [0, 7, 12, 13, 15, 16, 23, 24, 31, 32, 62, 63] {
            for near in -2i64..=2 {
                let value = (1u64 << bits).cast_signed().wrapping_add(near);
                all.push(value.to_string().into_bytes());
                all.push(value.wrapping_neg().to_string().into_bytes());
            }
        }
        all.extend(
            ["-0", "00", "+1", "01", "9223372036854775808", "-9223372036854775809", "1.5", " 1", "-"].map(Vec::from),
        );
        all
    }

    #[test]
    fn every_element_is_read_as_it_was_written_and_takes_what_was_predicted() {
        for element in borders() {
            let encoded = Encoded::new(&element);
            let mut bytes = Vec::new();
            encoded.write(&mut bytes);
            assert_eq!((bytes.len(), &bytes), (encoded.len(), &encoded.pieces().concat()));
            bytes.extend_from_slice(b"\x85after");
            let (read, len) = Element::decode(&bytes).expect("an element");
            assert_eq!(len, encoded.len());
            assert_eq!(element_bytes(&bytes), Some(len));
            assert_eq!(*read.text(), *element);
            assert_eq!(read.text_len(), element.len());
            assert!(read.equals(&element) && read.compare(&element).is_eq());
            assert_eq!(read.as_i64(), parse_i64(&element));
            assert_eq!(matches!(read, Element::Int(_)), parse_i64(&element).is_some());
            for cut in 0..len.min(20) {
                assert_eq!(Element::decode(&bytes[..cut]), None);
                assert_eq!(element_bytes(&bytes[..cut]), None);
            }
        }
    }

    #[test]
    fn encodings_are_those_of_a_listpack() {
        for (text, bytes) in [
            ("0", &[0][..]),
            ("127", &[0x7F]),
            ("128", &[0xC0, 0x80]),
            ("-1", &[0xDF, 0xFF]),
            ("4095", &[0xCF, 0xFF]),
            ("-4096", &[0xD0, 0x00]),
            ("4096", &[0xF1, 0x00, 0x10]),
            ("-32769", &[0xF2, 0xFF, 0x7F, 0xFF]),
            ("8388608", &[0xF3, 0x00, 0x00, 0x80, 0x00]),
            ("2147483648", &[0xF4, 0, 0, 0, 0x80, 0, 0, 0, 0]),
            ("", &[0x80]),
            ("ab", &[0x82, b'a', b'b']),
        ] {
            assert_eq!(Encoded::new(text.as_bytes()).pieces().concat(), bytes, "{text}");
        }
        assert_eq!(Encoded::new(&[b'x'; 64]).pieces()[0], [0xE0, 64]);
        assert_eq!(Encoded::new(&[b'x'; 4095]).pieces()[0], [0xEF, 0xFF]);
        assert_eq!(Encoded::new(&[b'x'; 4096]).pieces()[0], [0xF0, 0, 0x10, 0, 0]);
    }

    #[test]
    fn every_element_is_found_where_it_is_and_no_other() {
        let all = borders();
        let refs: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
        let bytes = packed(&refs);
        let view = Packed::new(&bytes);
        assert_eq!(texts(&bytes), all);
        for step in 1..=3 {
            for element in &all {
                let expected = (0..all.len()).step_by(step).find(|&index| all[index] == *element);
                let found = view.find(element, step);
                assert_eq!(found.map(|found| found.index), expected);
                if let Some(found) = found {
                    let item = view.nth(found.index).expect("it is there");
                    assert_eq!((item.start, item.end), (found.start, found.end));
                    assert!(item.element.equals(element));
                }
            }
        }
        for absent in ["absent", "xy", "xxxxxxxy", "yxxxxxxx", "yxxxxxxxx", "3", "-"] {
            assert_eq!(view.find(absent.as_bytes(), 1).is_some(), all.iter().any(|own| own == absent.as_bytes()));
        }
    }

    #[test]
    fn edits_do_what_they_do_to_a_vector() {
        let mut rng = Rng::new(1);
        let all = borders();
        let any = |rng: &mut Rng| all[rng.below(all.len())].clone();
        for _ in 0..30 {
            let (mut bytes, mut model) = (Vec::new(), Vec::<Vec<u8>>::new());
            for _ in 0..200 {
                let index = rng.below(model.len() + 1);
                let at = (0..index).fold(COUNT_BYTES, |at, _| Packed::new(&bytes).skip(at).expect("it is there"));
                let removed = rng.below((model.len() - index).min(3) + 1);
                let end = (0..removed).fold(at, |at, _| Packed::new(&bytes).skip(at).expect("it is there"));
                let new: Vec<Vec<u8>> = (0..rng.below(ELEMENTS_AT_ONCE_MAX + 1)).map(|_| any(&mut rng)).collect();
                let encoded: Vec<Encoded<'_>> = new.iter().map(|element| Encoded::new(element)).collect();
                match (removed, encoded.is_empty()) {
                    (0, _) if index == model.len() => push(&mut bytes, &encoded),
                    (0, _) => insert(&mut bytes, at, &encoded),
                    (_, true) => remove(&mut bytes, at..end, removed),
                    _ => replace(&mut bytes, at..end, removed, &encoded),
                }
                drop(model.splice(index..index + removed, new));
                assert_eq!(texts(&bytes), model);
                assert_eq!(Packed::new(&bytes).len(), model.len());
                assert_eq!(Packed::new(&bytes).is_empty(), model.is_empty());
                assert_eq!(bytes.is_empty(), model.is_empty());
                let mut twice = bytes.clone();
                append(&mut twice, Packed::new(&bytes));
                assert_eq!(texts(&twice), [model.as_slice(), &model].concat());
                assert_eq!(Packed::new(&twice).len(), 2 * model.len());
            }
        }
    }

    #[test]
    fn counts_beyond_16_bits_are_walked() {
        let mut bytes = packed(&vec![&b"1"[..]; 65_533]);
        for count in 65_534..65_540 {
            push(&mut bytes, &[Encoded::int(1)]);
            assert_eq!(Packed::new(&bytes).len(), count);
        }
        for count in (65_530..65_539).rev() {
            remove(&mut bytes, 2..3, 1);
            assert_eq!(Packed::new(&bytes).len(), count);
        }
    }

    #[test]
    fn any_bytes_are_read_to_an_end() {
        let mut rng = Rng::new(2);
        for _ in 0..20_000 {
            let bytes: Vec<u8> =
                (0..rng.below(40)).map(|_| rng.next().to_le_bytes()[0] | 0x80 & rng.next().to_le_bytes()[1]).collect();
            let view = Packed::new(&bytes);
            let mut at = COUNT_BYTES;
            for item in view {
                assert_eq!((item.start, Some(item.end)), (at, view.skip(at)));
                at = item.end;
            }
            assert_eq!(view.skip(at), None);
            assert!(view.listpack_bytes() < 3 * bytes.len() + 8);
            let _ = (view.len(), view.find(b"ab", 2), view.pairs().count());
        }
    }

    #[test]
    fn sizes_as_a_listpack_are_those_that_a_peer_reports() {
        assert_eq!(Packed::new(&packed(&[b"field", b"1"])).listpack_bytes(), 6 + 7 + 2 + 1);
        assert_eq!(Packed::new(&packed(&[&[b'x'; 200]])).listpack_bytes(), 6 + 202 + 2 + 1);
    }
}
