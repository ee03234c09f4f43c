//! Writing: numbers, lengths, strings and packed forms, into a buffer that whoever writes the file empties.
//!
//! What is written is what both Redis 7.2 and Valkey load, version [`VERSION`]; only deadlines of fields need a newer form.

use weir_structs::lzf;
use weir_structs::number::parse_i64;
use weir_structs::packed::{Element, Encoded, backlen_bytes};

/// The version that both camps read.
pub const VERSION: u16 = 11;

/// Strings from this length on are compressed, where that is wanted.
const COMPRESS_FROM_BYTES: usize = 21;
/// Texts up to this length may be stored as integers.
const INTEGER_TEXT_MAX: usize = 11;

/// Adds a length.
pub fn put_length(to: &mut Vec<u8>, length: u64) {
    match length {
        0..=0x3F => to.push(length as u8),
        0x40..=0x3FFF => to.extend_from_slice(&(length as u16 | 0x4000).to_be_bytes()),
        _ => match u32::try_from(length) {
            Ok(length) => {
                to.push(0x80);
                to.extend_from_slice(&length.to_be_bytes());
            }
            Err(_) => {
                to.push(0x81);
                to.extend_from_slice(&length.to_be_bytes());
            }
        },
    }
}

/// Adds a string: as an integer, compressed if that is wanted and makes it smaller, or as it is.
pub fn put_string(to: &mut Vec<u8>, bytes: &[u8], compress: bool) {
    if bytes.len() <= INTEGER_TEXT_MAX
        && let Some(value) = parse_i64(bytes)
        && put_small_integer(to, value)
    {
        return;
    }
    if compress && bytes.len() >= COMPRESS_FROM_BYTES {
        // Redis wants to save four bytes at least.
        if let Some(packed) = lzf::compress(bytes, bytes.len() - 4) {
            put_compressed(to, &packed, bytes.len());
            return;
        }
    }
    put_plain_string(to, bytes);
}

/// Adds a string as it is.
pub fn put_plain_string(to: &mut Vec<u8>, bytes: &[u8]) {
    put_length(to, bytes.len() as u64);
    to.extend_from_slice(bytes);
}

/// Adds a string that has been compressed already.
pub fn put_compressed(to: &mut Vec<u8>, packed: &[u8], length: usize) {
    to.push(0xC3);
    put_length(to, packed.len() as u64);
    put_length(to, length as u64);
    to.extend_from_slice(packed);
}

/// Adds an integer as a string.
pub fn put_integer(to: &mut Vec<u8>, value: i64) {
    if !put_small_integer(to, value) {
        put_plain_string(to, &weir_structs::number::format_i64(value));
    }
}

fn put_small_integer(to: &mut Vec<u8>, value: i64) -> bool {
    if let Ok(value) = i8::try_from(value) {
        to.push(0xC0);
        to.extend_from_slice(&value.to_le_bytes());
    } else if let Ok(value) = i16::try_from(value) {
        to.push(0xC1);
        to.extend_from_slice(&value.to_le_bytes());
    } else if let Ok(value) = i32::try_from(value) {
        to.push(0xC2);
        to.extend_from_slice(&value.to_le_bytes());
    } else {
        return false;
    }
    true
}

/// Makes listpacks, one after the other in the same buffer.
#[derive(Debug, Default)]
pub struct ListpackWriter {
    bytes: Vec<u8>,
    count: usize,
}

impl ListpackWriter {
    const HEAD_BYTES: usize = 6;

    /// Begins an empty one.
    pub fn begin(&mut self) {
        self.bytes.clear();
        self.bytes.resize(Self::HEAD_BYTES, 0);
        self.count = 0;
    }

    /// Adds an element.
    pub fn push(&mut self, element: Element<'_>) {
        match element {
            Element::Int(value) => self.push_encoded(&Encoded::int(value)),
            Element::Bytes(bytes) => self.push_encoded(&Encoded::new(bytes)),
        }
    }

    fn push_encoded(&mut self, encoded: &Encoded<'_>) {
        let start = self.bytes.len();
        encoded.write(&mut self.bytes);
        self.close_element(start);
    }

    /// Adds an element that is encoded as in a listpack, without the length behind it.
    pub fn push_bytes(&mut self, encoded: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(encoded);
        self.close_element(start);
    }

    /// Adds elements that are a listpack's already, with the lengths behind them.
    pub fn push_body(&mut self, body: &[u8], count: usize) {
        self.bytes.extend_from_slice(body);
        self.count += count;
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len() + 1
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Ends it. It is valid until the next one begins.
    pub fn finish(&mut self) -> &[u8] {
        self.bytes.push(0xFF);
        let total = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        let count = u16::try_from(self.count).unwrap_or(u16::MAX);
        self.bytes[..4].copy_from_slice(&total.to_le_bytes());
        self.bytes[4..Self::HEAD_BYTES].copy_from_slice(&count.to_le_bytes());
        &self.bytes
    }

    fn close_element(&mut self, start: usize) {
        let len = self.bytes.len() - start;
        let more = backlen_bytes(len);
        for at in (0..more).rev() {
            let seven = (len >> (7 * at)) as u8 & 0x7F;
            // All but the first are marked.
            self.bytes.push(if at + 1 == more { seven } else { seven | 0x80 });
        }
        self.count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packed::Listpack;
    use crate::source::Source;

    #[test]
    fn strings_and_lengths_read_back() {
        let long = vec![b'x'; 100_000];
        let texts: [&[u8]; 12] = [
            b"",
            b"0",
            b"-1",
            b"127",
            b"128",
            b"-32768",
            b"2147483647",
            b"2147483648",
            b"007",
            b"abc",
            &long[..60],
            &long,
        ];
        for compress in [false, true] {
            let mut bytes = Vec::new();
            for text in texts {
                put_string(&mut bytes, text, compress);
            }
            let mut source = Source::new(&bytes[..], false);
            let mut back = Vec::new();
            for text in texts {
                source.string(&mut back).unwrap();
                assert_eq!(back, text);
            }
            assert!(source.is_at_end().unwrap());
        }
        for length in [0, 63, 64, 16_383, 16_384, u64::from(u32::MAX), 1 << 32, u64::MAX] {
            let mut bytes = Vec::new();
            put_length(&mut bytes, length);
            assert_eq!(Source::new(&bytes[..], false).length().unwrap(), length);
        }
    }

    #[test]
    fn a_listpack_reads_back() {
        let mut writer = ListpackWriter::default();
        let long = vec![b'y'; 300_000];
        for lengths in [&[0, 1, 63, 64, 4095][..], &[4096, 126, 127, 128, 16_382, 16_383, 300_000]] {
            writer.begin();
            for &len in lengths {
                writer.push(Element::Bytes(&long[..len]));
                writer.push(Element::Int(len as i64 * -77));
            }
            let bytes = writer.finish().to_vec();
            let mut elements = crate::packed::Elements::Listpack(Listpack::new(&bytes).unwrap());
            for &len in lengths {
                assert_eq!(elements.next().unwrap(), Some(Element::Bytes(&long[..len])));
                assert_eq!(elements.next().unwrap(), Some(Element::Int(len as i64 * -77)));
            }
            assert_eq!(elements.next().unwrap(), None);
        }
    }
}
