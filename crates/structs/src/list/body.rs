//! Elements one after the other, each followed by its length, so that they can be walked from both ends.
//!
//! ```text
//!  | element | its length | element | its length | ...
//! ```
//!
//! Elements are encoded as in [`crate::packed`]; the lengths as in a listpack: seven bits a byte, the lowest in the last byte,
//! every byte but the first marked by its top bit. So this is a listpack without its header and its end mark.
//!
//! What must stay true: a reader takes any bytes; where they stop making sense, the elements end.

use crate::packed::{self, Encoded};

/// The longest that the length behind an element can be, in bytes.
const LENGTH_BYTES_MAX: usize = 5;

/// An element and the length behind it, ready to be stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link<'a> {
    encoded: Encoded<'a>,
    length: [u8; LENGTH_BYTES_MAX],
    length_bytes: u8,
}

impl<'a> Link<'a> {
    /// Of the bytes of an element.
    #[inline]
    pub(super) fn new(value: &'a [u8]) -> Link<'a> {
        Link::of(Encoded::new(value))
    }

    /// Of an integer.
    pub(super) fn int(value: i64) -> Link<'static> {
        Link::of(Encoded::int(value))
    }

    #[inline]
    fn of(encoded: Encoded<'a>) -> Link<'a> {
        let len = encoded.len();
        let seven = |shift: u32| (len >> shift) as u8 & 0x7F;
        let more = |shift: u32| seven(shift) | 0x80;
        let (length, length_bytes) = match length_bytes(len) {
            1 => ([seven(0), 0, 0, 0, 0], 1),
            2 => ([seven(7), more(0), 0, 0, 0], 2),
            3 => ([seven(14), more(7), more(0), 0, 0], 3),
            4 => ([seven(21), more(14), more(7), more(0), 0], 4),
            _ => ([seven(28), more(21), more(14), more(7), more(0)], 5),
        };
        Link { encoded, length, length_bytes }
    }

    /// Bytes that it takes.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.encoded.len() + usize::from(self.length_bytes)
    }

    /// What is to be written, one after the other.
    #[inline]
    pub(super) fn pieces(&self) -> [&[u8]; 3] {
        let [head, tail] = self.encoded.pieces();
        [head, tail, &self.length[..usize::from(self.length_bytes)]]
    }

    /// Writes it to the start of `to`, which must be long enough.
    #[inline]
    pub(super) fn write(&self, to: &mut [u8]) {
        packed::put(self.encoded.write_to(to), &self.length[..usize::from(self.length_bytes)]);
    }

    /// The element's last eight bytes as a number, and where they are in it; `None` of a shorter one.
    pub(super) fn last_eight(&self) -> Option<(u64, usize)> {
        let [head, tail] = self.encoded.pieces();
        match tail.last_chunk() {
            Some(last) => Some((u64::from_le_bytes(*last), head.len() + tail.len() - 8)),
            None => head.last_chunk().map(|last| (u64::from_le_bytes(*last), head.len() - 8)),
        }
    }

    /// Whether it is the element at an offset.
    #[inline]
    pub(super) fn is_at(&self, body: &[u8], at: usize) -> bool {
        body.get(at..).is_some_and(|bytes| self.encoded.starts(bytes))
    }
}

/// How many bytes the length of an element of `len` bytes takes.
#[inline]
fn length_bytes(len: usize) -> usize {
    match len {
        0..=127 => 1,
        128..=16_382 => 2,
        16_383..=2_097_150 => 3,
        2_097_151..=268_435_454 => 4,
        _ => 5,
    }
}

/// Offset behind the element at `at` and its length; `None` at the end.
#[inline]
pub(super) fn next(body: &[u8], at: usize) -> Option<usize> {
    let len = packed::element_bytes(body.get(at..)?)?;
    let end = at + len + length_bytes(len);
    (end <= body.len()).then_some(end)
}

/// Offset of the element that ends, with its length, at `end`; `None` at the start.
#[inline]
pub(super) fn previous(body: &[u8], end: usize) -> Option<usize> {
    let before = body.get(..end)?;
    let mut len = 0;
    for (number, &byte) in before.iter().rev().take(LENGTH_BYTES_MAX).enumerate() {
        len |= usize::from(byte & 0x7F) << (7 * number);
        if byte & 0x80 == 0 {
            // An element takes a byte at least: so a walk always comes to an end.
            return if len == 0 { None } else { end.checked_sub(len + number + 1) };
        }
    }
    None
}

/// Walks over many elements. Neighbours tend to be of one length: it guesses that the next one is as long as the last, and the
/// processor goes on with that guess while it is still being checked.
pub(super) struct Stride {
    /// The first byte of an element, or the last byte of the length behind it, which tells how long it is.
    mark: u16,
    bytes: usize,
}

impl Stride {
    pub(super) fn new() -> Stride {
        Stride { mark: u16::MAX, bytes: 0 }
    }

    /// As [`next`]. A walk goes in one direction only.
    #[inline(always)]
    pub(super) fn next(&mut self, body: &[u8], at: usize) -> Option<usize> {
        let &first = body.get(at)?;
        if u16::from(first) == self.mark {
            let end = at + self.bytes;
            return (end <= body.len()).then_some(end);
        }
        let end = next(body, at)?;
        if packed::length_is_in_first_byte(first) {
            *self = Stride { mark: u16::from(first), bytes: end - at };
        }
        Some(end)
    }

    /// As [`previous`]. A walk goes in one direction only.
    #[inline(always)]
    pub(super) fn previous(&mut self, body: &[u8], end: usize) -> Option<usize> {
        let &last = body.get(end.checked_sub(1)?)?;
        if u16::from(last) == self.mark {
            return end.checked_sub(self.bytes);
        }
        let at = previous(body, end)?;
        if last & 0x80 == 0 {
            *self = Stride { mark: u16::from(last), bytes: end - at };
        }
        Some(at)
    }
}

/// The element at an offset.
#[inline]
pub(super) fn element(body: &[u8], at: usize) -> Option<packed::Element<'_>> {
    Some(packed::Element::decode(body.get(at..)?)?.0)
}

/// Offset of the element with `index` in front of it, out of `count`; the length of the body for `index == count`. Walks
/// from the nearer end.
pub(super) fn offset_of(body: &[u8], count: usize, index: usize) -> usize {
    let mut stride = Stride::new();
    if index <= count / 2 {
        (0..index).try_fold(0, |at, _| stride.next(body, at)).unwrap_or(body.len())
    } else {
        (index..count).try_fold(body.len(), |at, _| stride.previous(body, at)).unwrap_or(0)
    }
}

/// Checks bytes from outside, every element and every length, and counts the elements. `None` if they are no body.
pub(super) fn check(body: &[u8]) -> Option<usize> {
    let (mut at, mut count) = (0, 0);
    while at < body.len() {
        let end = next(body, at)?;
        if previous(body, end)? != at {
            return None;
        }
        at = end;
        count += 1;
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(values: &[Vec<u8>]) -> Vec<u8> {
        values.iter().flat_map(|value| Link::new(value).pieces().concat()).collect()
    }

    fn values() -> Vec<Vec<u8>> {
        let strings = [0, 1, 63, 64, 125, 126, 127, 4095, 4096, 16_377, 16_378, 20_000];
        let ints = [0, 127, 128, -1, -4096, 4096, 1 << 20, -(1 << 30), i64::MAX, i64::MIN];
        strings
            .iter()
            .map(|&len| vec![b'x'; len])
            .chain(ints.iter().map(|int: &i64| int.to_string().into_bytes()))
            .collect()
    }

    #[test]
    fn bodies_are_walked_from_both_ends() {
        let values = values();
        let body = joined(&values);
        assert_eq!(check(&body), Some(values.len()));
        let mut offsets = vec![0];
        while let Some(end) = next(&body, offsets[offsets.len() - 1]) {
            offsets.push(end);
        }
        assert_eq!(offsets.len(), values.len() + 1);
        for (index, window) in offsets.windows(2).enumerate() {
            assert_eq!(previous(&body, window[1]), Some(window[0]));
            assert_eq!(offset_of(&body, values.len(), index), window[0]);
            assert_eq!(*element(&body, window[0]).expect("an element").text(), *values[index]);
            assert!(Link::new(&values[index]).is_at(&body, window[0]));
            assert!(!Link::new(b"other").is_at(&body, window[0]));
        }
        assert_eq!(previous(&body, 0), None);
        assert_eq!(next(&body, body.len()), None);
        assert_eq!(offset_of(&body, values.len(), values.len()), body.len());
    }

    #[test]
    fn lengths_are_those_of_a_listpack() {
        for (bytes, length) in [(3, &[4][..]), (126, &[1, 0x80]), (16_378, &[0, 0xFF, 0xFF])] {
            assert_eq!(Link::new(&vec![b'x'; bytes]).pieces()[2], length);
        }
    }

    #[test]
    fn bytes_that_are_no_body_are_refused() {
        let body = joined(&values());
        assert_eq!(check(&body[..body.len() - 1]), None);
        for at in [0, 1, body.len() - 1] {
            let mut broken = body.clone();
            broken[at] ^= 0x55;
            assert_eq!(check(&broken), None, "{at}");
        }
        assert_eq!(check(&[]), Some(0));
        assert_eq!(check(&[0xFF]), None);
        assert_eq!(previous(&[0, 0, 0], 3), None);
        assert_eq!(previous(&[0x80; 9], 9), None);
    }
}
