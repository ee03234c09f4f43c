//! Writing: numbers, lengths, strings and packed forms, into a [`Draft`].
//!
//! What is written is what both Redis 7.2 and Valkey load, version [`VERSION`]; only deadlines of fields and producers of
//! streams need a newer form.
//!
//! Compressing costs several times what the rest does. So a draft can put that off: it remembers where the strings are,
//! and large ones it only refers to, and whoever finishes it, on whichever thread, does the work.

use weir_structs::entry::Blob;
use weir_structs::lzf::Compressor;
use weir_structs::number::parse_i64;
use weir_structs::packed::{Element, Encoded, backlen_bytes};

/// The version that both camps read.
pub const VERSION: u16 = 11;

/// Strings from this length on are compressed, where that is wanted.
const COMPRESS_FROM_BYTES: usize = 21;
/// Texts up to this length may be stored as integers.
const INTEGER_TEXT_MAX: usize = 11;
/// A length takes at most so many bytes.
const LENGTH_BYTES_MAX: usize = 9;

/// What becomes of strings that might be shorter when compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compress {
    /// They stay as they are.
    Never,
    /// They are compressed as they come.
    Now,
    /// They are compressed when the draft is finished.
    AtTheEnd,
}

/// Bytes that are being put together, some of them perhaps not in their last form yet.
#[derive(Debug)]
pub struct Draft {
    bytes: Vec<u8>,
    marks: Vec<Mark>,
    marked_bytes: usize,
    compress: Compress,
    /// Made when strings are compressed as they come.
    compressor: Option<Box<Compressor>>,
}

/// Something that is done when a draft is finished.
#[derive(Debug)]
enum Mark {
    /// The bytes from `at` to `end` are a string as it is, `text` where its own bytes begin.
    Text { at: usize, text: usize, end: usize },
    /// Before the byte at `at` comes this string.
    Blob { at: usize, blob: Blob },
}

impl Draft {
    /// An empty one.
    pub fn new(compress: Compress) -> Draft {
        Draft { bytes: Vec::new(), marks: Vec::new(), marked_bytes: 0, compress, compressor: None }
    }

    /// The same with room for some bytes.
    pub fn with_capacity(compress: Compress, bytes: usize) -> Draft {
        Draft { bytes: Vec::with_capacity(bytes), ..Draft::new(compress) }
    }

    /// An empty one with room for some bytes, for what follows this one.
    pub fn successor(&self, bytes: usize) -> Draft {
        Draft::with_capacity(self.compress, bytes)
    }

    /// Bytes so far, before what is still to be compressed is.
    pub fn len(&self) -> usize {
        self.bytes.len() + self.marked_bytes
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.marks.is_empty()
    }

    /// Bytes of memory that belong to it alone; large strings that it refers to are others' as well.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.marks.capacity() * size_of::<Mark>()
    }

    /// Adds a byte.
    #[inline]
    pub fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    /// Adds bytes.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Adds a length.
    #[inline]
    pub fn length(&mut self, length: u64) {
        put_length(&mut self.bytes, length);
    }

    /// Adds a string: as an integer, compressed if that is wanted and makes it smaller, or as it is.
    pub fn string(&mut self, bytes: &[u8]) {
        if bytes.len() <= INTEGER_TEXT_MAX
            && let Some(value) = parse_i64(bytes)
            && put_small_integer(&mut self.bytes, value)
        {
            return;
        }
        if bytes.len() < COMPRESS_FROM_BYTES {
            return self.plain_string(bytes);
        }
        match self.compress {
            Compress::Never => self.plain_string(bytes),
            Compress::Now => {
                let compressor = self.compressor.get_or_insert_default();
                put_compressed_or_plain(compressor, bytes, &mut |bytes| self.bytes.extend_from_slice(bytes));
            }
            Compress::AtTheEnd => {
                let at = self.bytes.len();
                self.length(bytes.len() as u64);
                let text = self.bytes.len();
                self.bytes.extend_from_slice(bytes);
                self.marks.push(Mark::Text { at, text, end: self.bytes.len() });
            }
        }
    }

    /// Adds a large string, which is not copied if compressing is put off.
    pub fn blob(&mut self, blob: &Blob) {
        if self.compress == Compress::Now || blob.len() < COMPRESS_FROM_BYTES {
            return self.string(blob);
        }
        self.marked_bytes += blob.len();
        self.marks.push(Mark::Blob { at: self.bytes.len(), blob: Blob::clone(blob) });
    }

    /// Adds a string as it is.
    pub fn plain_string(&mut self, bytes: &[u8]) {
        self.length(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    /// Adds an integer as a string.
    pub fn integer(&mut self, value: i64) {
        if !put_small_integer(&mut self.bytes, value) {
            self.plain_string(&weir_structs::number::format_i64(value));
        }
    }

    /// Adds what another one has.
    pub fn append(&mut self, other: Draft) {
        let base = self.bytes.len();
        if self.is_empty() {
            *self = Draft { compress: self.compress, ..other };
            return;
        }
        self.bytes.extend_from_slice(&other.bytes);
        self.marked_bytes += other.marked_bytes;
        self.marks.extend(other.marks.into_iter().map(|mark| match mark {
            Mark::Text { at, text, end } => Mark::Text { at: base + at, text: base + text, end: base + end },
            Mark::Blob { at, blob } => Mark::Blob { at: base + at, blob },
        }));
    }

    /// Gives all bytes in their last form to `take`, piece by piece, in order.
    pub fn finish(&self, compressor: &mut Compressor, take: &mut dyn FnMut(&[u8])) {
        let mut done = 0;
        for mark in &self.marks {
            match mark {
                &Mark::Text { at, text, end } => {
                    take(&self.bytes[done..at]);
                    put_compressed_or_plain(compressor, &self.bytes[text..end], take);
                    done = end;
                }
                Mark::Blob { at, blob } => {
                    take(&self.bytes[done..*at]);
                    done = *at;
                    if self.compress == Compress::Never {
                        put_plain(blob, take);
                    } else {
                        put_compressed_or_plain(compressor, blob, take);
                    }
                }
            }
        }
        take(&self.bytes[done..]);
    }

    /// All bytes in their last form.
    pub fn into_bytes(self) -> Vec<u8> {
        if self.marks.is_empty() {
            return self.bytes;
        }
        let mut bytes = Vec::with_capacity(self.len());
        self.finish(&mut Compressor::new(), &mut |piece| bytes.extend_from_slice(piece));
        bytes
    }
}

fn put_compressed_or_plain(compressor: &mut Compressor, text: &[u8], take: &mut dyn FnMut(&[u8])) {
    // Redis wants to save four bytes at least.
    let Some(packed) = compressor.compress(text, text.len() - 4) else { return put_plain(text, take) };
    let mut head = Vec::with_capacity(2 * LENGTH_BYTES_MAX + 1);
    head.push(0xC3);
    put_length(&mut head, packed.len() as u64);
    put_length(&mut head, text.len() as u64);
    take(&head);
    take(packed);
}

fn put_plain(text: &[u8], take: &mut dyn FnMut(&[u8])) {
    let mut head = Vec::with_capacity(LENGTH_BYTES_MAX);
    put_length(&mut head, text.len() as u64);
    take(&head);
    take(text);
}

/// Adds a length.
fn put_length(to: &mut Vec<u8>, length: u64) {
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
        for compress in [Compress::Never, Compress::Now, Compress::AtTheEnd] {
            let mut draft = Draft::new(compress);
            for text in texts {
                draft.string(text);
                let mut more = Draft::new(compress);
                more.blob(&Blob::new(text.to_vec()));
                draft.append(more);
            }
            let bytes = draft.into_bytes();
            assert_eq!(bytes.len() < 50_000, compress != Compress::Never);
            let mut source = Source::new(&bytes[..], false);
            let mut back = Vec::new();
            for text in texts {
                for _ in 0..2 {
                    source.string(&mut back).unwrap();
                    assert_eq!(back, text);
                }
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
