//! LZF: the fast and simple compression of list chunks and of strings in RDB files.
//!
//! ```text
//!  000lllll, l + 1 bytes                     these bytes as they are                    1 to 32 of them
//!  lllooooo oooooooo                         l + 2 bytes from o + 1 bytes back          3 to 8 of them, l = 1 to 6
//!  111ooooo llllllll oooooooo                l + 9 bytes from o + 1 bytes back          9 to 264 of them
//! ```
//!
//! The compressor remembers where each hash of three bytes was seen last, and copies from there as much as is equal.
//!
//! What must stay true: decompressing takes any bytes, writes no more than it was told to, and reserves no memory that the
//! input could not fill.

/// The longest run of plain bytes.
const PLAIN_MAX: usize = 32;
/// The farthest that a copy reaches back.
const DISTANCE_MAX: usize = 1 << 13;
/// The longest copy.
const COPY_MAX: usize = 264;
const HASH_BITS: u32 = 13;
/// Inputs up to this length use a smaller table.
const SHORT_MAX: usize = 512;
const SHORT_HASH_BITS: u32 = 10;
/// After so many bytes without a copy, every other byte is passed over, after twice as many two of three: what does not
/// compress costs less.
const SKIP_AFTER: usize = 512;
/// Room for output that is kept for the next input.
const OUTPUT_KEPT_BYTES: usize = 64 * 1024;
/// Bytes of output that one byte of input can stand for: the longest copy takes three.
const RATIO_MAX: usize = COPY_MAX / 3;

/// Compresses `input` into at most `output_max` bytes; `None` if it does not become so small. Who compresses often keeps a
/// [`Compressor`].
pub fn compress(input: &[u8], output_max: usize) -> Option<Vec<u8>> {
    Compressor::new().compress(input, output_max).map(<[u8]>::to_vec)
}

/// Compresses one input after the other; what it needs for that it keeps. The result depends on the input alone.
#[derive(Debug)]
pub struct Compressor {
    /// Where each hash was seen last. What is below `base` is of an earlier input.
    seen: Box<[u32; 1 << HASH_BITS]>,
    base: u32,
    output: Vec<u8>,
}

impl Default for Compressor {
    fn default() -> Compressor {
        Compressor { seen: Box::new([0; 1 << HASH_BITS]), base: 1, output: Vec::new() }
    }
}

impl Compressor {
    /// 32 KiB on the heap.
    pub fn new() -> Compressor {
        Compressor::default()
    }

    /// Compresses `input` into at most `output_max` bytes; `None` if it does not become so small. About 2 ns for each byte
    /// that does not compress, less for others.
    pub fn compress(&mut self, input: &[u8], output_max: usize) -> Option<&[u8]> {
        let len = u32::try_from(input.len()).ok()?;
        if self.base.checked_add(len).is_none() {
            self.seen.fill(0);
            self.base = 1;
        }
        let base = self.base;
        // A length that does not fit was refused, or begins anew from 1.
        self.base = base.saturating_add(len);
        // A short input finds its own hashes in the nearest part of the processor's cache.
        let shift = 32 - if input.len() <= SHORT_MAX { SHORT_HASH_BITS } else { HASH_BITS };
        let output = &mut self.output;
        output.clear();
        output.shrink_to(OUTPUT_KEPT_BYTES);
        let (mut at, mut plain_from) = (0, 0);
        while let Some(&[a, b, c]) = input.get(at..).and_then(|rest| rest.first_chunk()) {
            let key = u32::from_le_bytes([a, b, c, 0]);
            let slot = &mut self.seen[(key.wrapping_mul(0x9E37_79B1) >> shift) as usize];
            #[expect(clippy::cast_possible_truncation, reason = "the length fits")]
            let place = base.wrapping_add(at as u32);
            let before = std::mem::replace(slot, place);
            let distance = place.wrapping_sub(before) as usize;
            if before < base || distance > DISTANCE_MAX || input[at - distance..][..3] != [a, b, c] {
                at += 1 + (at - plain_from) / SKIP_AFTER;
                continue;
            }
            let equal = equal_bytes(&input[at - distance..], &input[at..]);
            write_plain(output, &input[plain_from..at]);
            write_copy(output, distance, equal);
            if output.len() > output_max {
                return None;
            }
            at += equal;
            plain_from = at;
        }
        let rest = &input[plain_from..];
        // What does not fit need not be copied.
        if output.len() + rest.len() + rest.len().div_ceil(PLAIN_MAX) > output_max {
            return None;
        }
        write_plain(output, rest);
        Some(output)
    }
}

/// How many bytes two slices have in common at their start, up to the longest copy.
fn equal_bytes(a: &[u8], b: &[u8]) -> usize {
    let (eights, others) = (a.as_chunks::<8>().0, b.as_chunks::<8>().0);
    let whole = eights.iter().zip(others).take(COPY_MAX / 8).take_while(|(a, b)| a == b).count() * 8;
    let rest = a[whole..].iter().zip(&b[whole..]).take(COPY_MAX - whole);
    whole + rest.take_while(|(a, b)| a == b).count()
}

fn write_plain(output: &mut Vec<u8>, bytes: &[u8]) {
    for run in bytes.chunks(PLAIN_MAX) {
        #[expect(clippy::cast_possible_truncation, reason = "at most 32")]
        output.push((run.len() - 1) as u8);
        output.extend_from_slice(run);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a distance has 13 bits and a length is at most 264")]
fn write_copy(output: &mut Vec<u8>, distance: usize, len: usize) {
    let (back, len) = (distance - 1, len - 2);
    let high = (back >> 8) as u8;
    if len < 7 {
        output.push((len as u8) << 5 | high);
    } else {
        output.extend_from_slice(&[7 << 5 | high, (len - 7) as u8]);
    }
    output.push(back as u8);
}

/// Decompresses `input`, which must become exactly `output_len` bytes.
///
/// `None` if it becomes shorter or longer, or refers to bytes before its start. Memory is bounded by 88 times the input.
pub fn decompress(input: &[u8], output_len: usize) -> Option<Vec<u8>> {
    if output_len > input.len().saturating_mul(RATIO_MAX) {
        return None;
    }
    let mut output = Vec::with_capacity(output_len);
    let mut bytes = input.iter();
    while let Some(&control) = bytes.next() {
        let (len, distance) = match control >> 5 {
            0 => {
                let len = usize::from(control) + 1;
                let (plain, rest) = bytes.as_slice().split_at_checked(len)?;
                if len > output_len - output.len() {
                    return None;
                }
                output.extend_from_slice(plain);
                bytes = rest.iter();
                continue;
            }
            7 => (usize::from(*bytes.next()?) + 9, control),
            len => (usize::from(len) + 2, control),
        };
        let distance = (usize::from(distance & 0x1F) << 8 | usize::from(*bytes.next()?)) + 1;
        let from = output.len().checked_sub(distance)?;
        if len > output_len - output.len() {
            return None;
        }
        if distance >= len {
            output.extend_from_within(from..from + len);
        } else {
            // The copy reads what it writes: the last `distance` bytes again and again.
            for at in from..from + len {
                output.push(output[at]);
            }
        }
    }
    (output.len() == output_len).then_some(output)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rng;

    #[test]
    fn what_was_compressed_comes_back() {
        let mut rng = Rng::new(1);
        for round in 0..2_000 {
            let letters = [1, 2, 4, 30, 256][round % 5];
            let mut input: Vec<u8> = Vec::new();
            for _ in 0..rng.below(60) {
                if input.is_empty() || rng.below(3) == 0 {
                    input.extend((0..rng.below(40)).map(|_| rng.below(letters).to_le_bytes()[0]));
                } else {
                    let from = rng.below(input.len());
                    let again: Vec<u8> = input[from..].iter().copied().take(rng.below(700)).collect();
                    input.extend(again);
                }
            }
            let packed = compress(&input, usize::MAX).expect("there is no limit");
            assert!(packed.len() <= input.len() + input.len().div_ceil(PLAIN_MAX));
            assert_eq!(decompress(&packed, input.len()).as_deref(), Some(&input[..]));
            assert_eq!(decompress(&packed, input.len() + 1), None);
            if !input.is_empty() {
                assert_eq!(decompress(&packed, input.len() - 1), None);
                assert_eq!(compress(&input, packed.len() - 1), None);
            }
            assert_eq!(compress(&input, packed.len()), Some(packed));
        }
    }

    #[test]
    fn text_becomes_smaller() {
        let input = b"item:00000000001 item:00000000002 item:00000000003 ".repeat(100);
        let packed = compress(&input, usize::MAX).expect("there is no limit");
        assert!(packed.len() * 20 < input.len(), "{}", packed.len());
    }

    #[test]
    fn any_bytes_are_decompressed_or_refused() {
        let mut rng = Rng::new(2);
        for _ in 0..100_000 {
            let input: Vec<u8> = (0..rng.below(12)).map(|_| rng.next().to_le_bytes()[0]).collect();
            let len = rng.below(40);
            if let Some(output) = decompress(&input, len) {
                assert_eq!(output.len(), len);
            }
        }
        assert_eq!(decompress(&[0, b'a'], usize::MAX), None);
        assert_eq!(decompress(&[0x20, 0], 3), None);
        assert_eq!(decompress(&[0, b'a', 0xE0, 255, 0], 265).map(|bytes| bytes.len()), Some(265));
    }

    #[test]
    fn every_form_of_a_stream_is_read() {
        // Two plain bytes, a short copy that overlaps itself, a long copy, a plain byte.
        let stream = [1, b'a', b'b', 0x60, 1, 0xE0, 3, 6, 0, b'z'];
        assert_eq!(decompress(&stream, 20).as_deref(), Some(&b"abababaabababaababaz"[..]));
    }
}
