//! The packed forms in which small collections are stored: listpack, ziplist, zipmap and intset.
//!
//! Each reader walks a run of bytes from the front and gives its elements. Nothing in the bytes is believed: the lengths in
//! the header must be those of the bytes, every element must lie inside, the lengths that point back must point back, and
//! the count must be right. Whoever reads to the end knows that all of it was so.

use crate::error::Problem;
use weir_structs::packed::{Element, backlen_bytes};

/// Elements of a packed form, read from the front.
pub(crate) enum Elements<'a> {
    Listpack(Listpack<'a>),
    Ziplist(Ziplist<'a>),
    Zipmap(Zipmap<'a>),
    Intset(Intset<'a>),
}

impl<'a> Elements<'a> {
    /// The next one; `None` at a right end.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<Element<'a>>, Problem> {
        let next = match self {
            Elements::Listpack(elements) => elements.next(),
            Elements::Ziplist(elements) => elements.next(),
            Elements::Zipmap(elements) => elements.next(),
            Elements::Intset(elements) => elements.next(),
        };
        next.ok_or(Problem::BadPacked)
    }
}

/// `len` bytes from the front of `bytes`, which loses them.
fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(taken)
}

fn take_array<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

/// Last byte of listpacks, ziplists and zipmaps.
const END: u8 = 0xFF;
/// A count in a header that says: walk to know.
const COUNT_UNKNOWN: u16 = u16::MAX;

/// How many elements there are: as a header says it, and as they are met.
struct Count {
    claimed: u16,
    met: usize,
}

impl Count {
    fn is_right(&self) -> bool {
        self.claimed == COUNT_UNKNOWN || usize::from(self.claimed) == self.met
    }
}

/// A listpack.
///
/// ```text
///  total bytes: u32 LE | count: u16 LE | { encoding, data, length of both backwards } ... | FF
/// ```
pub(crate) struct Listpack<'a> {
    rest: &'a [u8],
    count: Count,
}

impl<'a> Listpack<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Option<Listpack<'a>> {
        let mut rest = bytes;
        let total = u32::from_le_bytes(take_array(&mut rest)?);
        let claimed = u16::from_le_bytes(take_array(&mut rest)?);
        let fits = usize::try_from(total).is_ok_and(|total| total == bytes.len());
        fits.then_some(Listpack { rest, count: Count { claimed, met: 0 } })
    }

    fn next(&mut self) -> Option<Option<Element<'a>>> {
        if let [END] = self.rest {
            return self.count.is_right().then_some(None);
        }
        let (element, len) = Element::decode(self.rest)?;
        take(&mut self.rest, len)?;
        let back = take(&mut self.rest, backlen_bytes(len))?;
        // Seven bits a byte, the most significant first; all but the first byte have the top bit set.
        let mut value = 0;
        for (at, byte) in back.iter().enumerate() {
            if (at > 0) != (byte & 0x80 != 0) {
                return None;
            }
            value = value << 7 | usize::from(byte & 0x7F);
        }
        self.count.met += 1;
        (value == len).then_some(Some(element))
    }
}

/// A ziplist.
///
/// ```text
///  total bytes: u32 LE | offset of the last: u32 LE | count: u16 LE | { length of the one before, encoding, data } ... | FF
/// ```
pub(crate) struct Ziplist<'a> {
    rest: &'a [u8],
    total: usize,
    /// Where the last element is said to begin, and where the one before the next began.
    last_at: usize,
    before_at: usize,
    before_len: usize,
    count: Count,
}

impl<'a> Ziplist<'a> {
    const HEAD_BYTES: usize = 10;

    pub(crate) fn new(bytes: &'a [u8]) -> Option<Ziplist<'a>> {
        let mut rest = bytes;
        let total = usize::try_from(u32::from_le_bytes(take_array(&mut rest)?)).ok()?;
        let last_at = usize::try_from(u32::from_le_bytes(take_array(&mut rest)?)).ok()?;
        let claimed = u16::from_le_bytes(take_array(&mut rest)?);
        (total == bytes.len()).then_some(Ziplist {
            rest,
            total,
            last_at,
            before_at: Self::HEAD_BYTES,
            before_len: 0,
            count: Count { claimed, met: 0 },
        })
    }

    fn next(&mut self) -> Option<Option<Element<'a>>> {
        if let [END] = self.rest {
            return (self.count.is_right() && self.last_at == self.before_at).then_some(None);
        }
        let at = self.total - self.rest.len();
        let before = match take_array::<1>(&mut self.rest)? {
            [0xFE] => usize::try_from(u32::from_le_bytes(take_array(&mut self.rest)?)).ok()?,
            [0xFF] => return None,
            [len] => usize::from(len),
        };
        if before != self.before_len {
            return None;
        }
        let element = self.element()?;
        self.before_at = at;
        self.before_len = self.total - self.rest.len() - at;
        self.count.met += 1;
        Some(Some(element))
    }

    fn element(&mut self) -> Option<Element<'a>> {
        let rest = &mut self.rest;
        let [first] = take_array(rest)?;
        let string_len = match first >> 6 {
            0 => usize::from(first & 0x3F),
            1 => usize::from(u16::from_be_bytes([first & 0x3F, take_array::<1>(rest)?[0]])),
            2 if first == 0x80 => usize::try_from(u32::from_be_bytes(take_array(rest)?)).ok()?,
            2 => return None,
            _ => {
                return Some(Element::Int(match first {
                    0xC0 => i64::from(i16::from_le_bytes(take_array(rest)?)),
                    0xD0 => i64::from(i32::from_le_bytes(take_array(rest)?)),
                    0xE0 => i64::from_le_bytes(take_array(rest)?),
                    0xF0 => {
                        let [low, middle, high] = take_array(rest)?;
                        i64::from(i32::from_le_bytes([0, low, middle, high]) >> 8)
                    }
                    0xFE => i64::from(i8::from_le_bytes(take_array(rest)?)),
                    0xF1..=0xFD => i64::from(first & 0x0F) - 1,
                    _ => return None,
                }));
            }
        };
        take(rest, string_len).map(Element::Bytes)
    }
}

/// A zipmap: what small hashes were until Redis 2.6.
///
/// ```text
///  count: u8 | { length, field, length, free: u8, value, free bytes } ... | FF         254 and more are counted by walking
/// ```
pub(crate) struct Zipmap<'a> {
    rest: &'a [u8],
    claimed: u8,
    /// Fields and values so far.
    met: usize,
}

impl<'a> Zipmap<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Option<Zipmap<'a>> {
        let (&claimed, rest) = bytes.split_first()?;
        Some(Zipmap { rest, claimed, met: 0 })
    }

    fn next(&mut self) -> Option<Option<Element<'a>>> {
        let is_value = self.met % 2 == 1;
        if let [END] = self.rest
            && !is_value
        {
            let is_right = self.claimed >= 254 || usize::from(self.claimed) * 2 == self.met;
            return is_right.then_some(None);
        }
        let len = match take_array::<1>(&mut self.rest)? {
            [254] => usize::try_from(u32::from_le_bytes(take_array(&mut self.rest)?)).ok()?,
            [255] => return None,
            [len] => usize::from(len),
        };
        let free = if is_value { usize::from(take_array::<1>(&mut self.rest)?[0]) } else { 0 };
        let bytes = take(&mut self.rest, len)?;
        take(&mut self.rest, free)?;
        self.met += 1;
        Some(Some(Element::Bytes(bytes)))
    }
}

/// An intset: integers of one width, ascending.
///
/// ```text
///  bytes of each: u32 LE (2, 4 or 8) | count: u32 LE | integers, LE
/// ```
pub(crate) struct Intset<'a> {
    rest: &'a [u8],
    width: usize,
    last: Option<i64>,
}

impl<'a> Intset<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Option<Intset<'a>> {
        let mut rest = bytes;
        let width = usize::try_from(u32::from_le_bytes(take_array(&mut rest)?)).ok()?;
        let count = usize::try_from(u32::from_le_bytes(take_array(&mut rest)?)).ok()?;
        let fits = matches!(width, 2 | 4 | 8) && count.checked_mul(width)? == rest.len();
        fits.then_some(Intset { rest, width, last: None })
    }

    fn next(&mut self) -> Option<Option<Element<'a>>> {
        if self.rest.is_empty() {
            return Some(None);
        }
        let value = match self.width {
            2 => i64::from(i16::from_le_bytes(take_array(&mut self.rest)?)),
            4 => i64::from(i32::from_le_bytes(take_array(&mut self.rest)?)),
            _ => i64::from_le_bytes(take_array(&mut self.rest)?),
        };
        if self.last.is_some_and(|last| last >= value) {
            return None;
        }
        self.last = Some(value);
        Some(Some(Element::Int(value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut elements: Elements<'_>) -> Result<Vec<String>, Problem> {
        let mut found = Vec::new();
        while let Some(element) = elements.next()? {
            found.push(String::from_utf8_lossy(&element.text()).into_owned());
        }
        Ok(found)
    }

    #[test]
    fn reads_a_ziplist_with_integers_and_strings() {
        let body: &[&[u8]] = &[&[0, 0xF3], &[2, 0x02, b'a', b'b'], &[4, 0xC0, 0x00, 0x01], &[4, 0xFE, 0x80]];
        let mut bytes = vec![0; 10];
        for element in body {
            bytes.extend_from_slice(element);
        }
        bytes.push(END);
        let (total, last) = (bytes.len() as u32, bytes.len() as u32 - 4);
        bytes[0..4].copy_from_slice(&total.to_le_bytes());
        bytes[4..8].copy_from_slice(&last.to_le_bytes());
        bytes[8..10].copy_from_slice(&4_u16.to_le_bytes());
        let read = |bytes: &[u8]| all(Elements::Ziplist(Ziplist::new(bytes).ok_or(Problem::BadPacked)?));
        assert_eq!(read(&bytes).unwrap(), ["2", "ab", "256", "-128"]);
        for at in 0..bytes.len() {
            for flip in [1, 0x80, 0xFF] {
                let mut broken = bytes.clone();
                broken[at] ^= flip;
                // Must end, whatever it says; a changed letter is no mistake that could be seen.
                let _ = read(&broken);
            }
            assert!(read(&bytes[..at]).is_err());
        }
    }

    #[test]
    fn reads_a_zipmap_with_free_bytes() {
        let bytes = b"\x02\x01a\x02\x03xy...\x02bc\x00\x00\xff";
        let read = |bytes: &[u8]| all(Elements::Zipmap(Zipmap::new(bytes).ok_or(Problem::BadPacked)?));
        assert_eq!(read(bytes).unwrap(), ["a", "xy", "bc", ""]);
        assert!(read(b"\x01\x01a\x02\x00xy\x02bc\x00\x00\xff").is_err());
        assert!(read(b"\x01\x01a\xff").is_err());
    }

    #[test]
    fn an_intset_ascends_and_is_as_long_as_it_says() {
        let read = |bytes: &[u8]| all(Elements::Intset(Intset::new(bytes).ok_or(Problem::BadPacked)?));
        assert_eq!(read(b"\x02\0\0\0\x02\0\0\0\xff\xff\x05\0").unwrap(), ["-1", "5"]);
        assert!(read(b"\x02\0\0\0\x02\0\0\0\x05\0\xff\xff").is_err());
        assert!(read(b"\x02\0\0\0\x03\0\0\0\xff\xff\x05\0").is_err());
        assert!(read(b"\x03\0\0\0\x01\0\0\0\xff\xff\x05").is_err());
        assert!(read(b"\x08\0\0\0\xff\xff\xff\xff").is_err());
    }
}
