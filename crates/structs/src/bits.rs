//! Kernels on the bits of strings, for the bitmap commands: counting, searching, combining, and integers of odd widths.
//!
//! Bit 0 is the highest bit of byte 0. A string is read as if zero bits without end followed it, where a command says so.
//!
//! Everything is plain safe code over words and bytes, in loops that the compiler turns into vector instructions, the widest
//! that the processor has ([`crate::widest`]).
//!
//! Invariant: no function allocates more than the result that it returns, and none depends on what it reads being well
//! formed: ranges and offsets beyond a string's end are cut or read as zeros.

use crate::widest::widest;
use std::ops::Range;

widest! {
    fn count_ones_widest(bytes: &[u8]) -> u64 = count_ones_kernel;
    fn leading_same_widest(bytes: &[u8], byte: u8) -> usize = leading_same_kernel;
    fn fold_widest(into: &mut [u8], other: &[u8], fold: Fold) = fold_kernel;
    fn fold_twice_widest(once: &mut [u8], twice: &mut [u8], other: &[u8]) = fold_twice_kernel;
}

/// Number of bits that are set.
#[inline]
pub fn count_ones(bytes: &[u8]) -> u64 {
    // Below this the choice of a copy costs more than it brings.
    if bytes.len() < 64 { count_ones_kernel(bytes) } else { count_ones_widest(bytes) }
}

/// Number of bits that are set in a range of bits, which is cut to the string.
pub fn count_ones_in(bytes: &[u8], bits: Range<u64>) -> u64 {
    let Some(cut) = Cut::new(bytes, bits) else { return 0 };
    let edges = u64::from((cut.first & cut.first_mask).count_ones() + (cut.last & cut.last_mask).count_ones());
    edges + count_ones(cut.whole)
}

/// Position of the first bit with this value in a range of bits, which is cut to the string.
pub fn find_bit(bytes: &[u8], bit: bool, bits: Range<u64>) -> Option<u64> {
    let start = bits.start;
    let cut = Cut::new(bytes, bits)?;
    // Looking for a set bit, after turning everything over where a clear one is wanted.
    let turned = |byte: u8| if bit { byte } else { !byte };
    let in_byte = |byte: u8| u64::from(byte.leading_zeros());

    let first = turned(cut.first) & cut.first_mask;
    let byte_start = start & !7;
    if first != 0 {
        return Some(byte_start + in_byte(first));
    }
    let skipped = leading_same(cut.whole, turned(0));
    let whole_start = byte_start + 8;
    if let Some(&byte) = cut.whole.get(skipped) {
        return Some(whole_start + skipped as u64 * 8 + in_byte(turned(byte)));
    }
    let last = turned(cut.last) & cut.last_mask;
    (last != 0).then(|| whole_start + cut.whole.len() as u64 * 8 + in_byte(last))
}

/// A range of bits as its first and last byte, each with the bits that belong to the range, and the bytes between.
struct Cut<'a> {
    first: u8,
    first_mask: u8,
    whole: &'a [u8],
    last: u8,
    /// Zero where the first byte is the last.
    last_mask: u8,
}

impl<'a> Cut<'a> {
    /// `None` if nothing is left of the range within the string.
    fn new(bytes: &'a [u8], bits: Range<u64>) -> Option<Cut<'a>> {
        let end = bits.end.min(bytes.len() as u64 * 8);
        if bits.start >= end {
            return None;
        }
        let last_bit = end - 1;
        // Both lie inside of the string, so they fit.
        let (first_at, last_at) = ((bits.start / 8) as usize, (last_bit / 8) as usize);
        let from_start = 0xFF >> (bits.start % 8);
        let to_end = 0xFF << (7 - last_bit % 8);
        let first = bytes[first_at];
        Some(if first_at == last_at {
            Cut { first, first_mask: from_start & to_end, whole: &[], last: 0, last_mask: 0 }
        } else {
            let whole = &bytes[first_at + 1..last_at];
            Cut { first, first_mask: from_start, whole, last: bytes[last_at], last_mask: to_end }
        })
    }
}

#[inline(always)]
fn count_ones_kernel(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let count: u64 = words.iter().map(|word| u64::from(u64::from_ne_bytes(*word).count_ones())).sum();
    count + rest.iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>()
}

/// How many bytes at the beginning are this one.
#[inline]
fn leading_same(bytes: &[u8], byte: u8) -> usize {
    if bytes.len() < 64 { leading_same_kernel(bytes, byte) } else { leading_same_widest(bytes, byte) }
}

#[inline(always)]
fn leading_same_kernel(bytes: &[u8], byte: u8) -> usize {
    let (blocks, _) = bytes.as_chunks::<128>();
    let differs = |block: &[u8; 128]| block.iter().fold(0, |all, b| all | (b ^ byte)) != 0;
    let same = blocks.iter().position(differs).unwrap_or(blocks.len()) * 128;
    let rest = &bytes[same..];
    same + rest.iter().position(|b| *b != byte).unwrap_or(rest.len())
}

/// How BITOP combines strings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BitOp {
    /// Set in all.
    And,
    /// Set in any.
    Or,
    /// Set in an odd number.
    Xor,
    /// Not set in the first; the others are not looked at.
    Not,
    /// Set in the first and in none of the others.
    Diff,
    /// Set in any of the others and not in the first.
    Diff1,
    /// Set in the first and in any of the others.
    AndOr,
    /// Set in exactly one.
    One,
}

/// Bytes that are worked on at a time: they and their partners stay in the nearest cache.
const BLOCK_BYTES: usize = 4096;

/// Combines strings bit by bit. The result is as long as the longest (of [`BitOp::Not`]: as the first); shorter ones count
/// as filled up with zeros.
pub fn combine(op: BitOp, inputs: &[&[u8]]) -> Vec<u8> {
    let Some((&first, others)) = inputs.split_first() else { return Vec::new() };
    let others = if op == BitOp::Not { &[] } else { others };
    let len = others.iter().map(|input| input.len()).max().unwrap_or(0).max(first.len());
    let mut out = Vec::with_capacity(len);
    let mut scratch = [0; BLOCK_BYTES];
    for at in (0..len).step_by(BLOCK_BYTES) {
        let end = len.min(at + BLOCK_BYTES);
        out.extend_from_slice(part(first, at, end));
        out.resize(end, 0);
        let block = &mut out[at..end];
        let scratch = &mut scratch[..end - at];
        let parts = others.iter().map(|other| part(other, at, end));
        match op {
            BitOp::And => parts.for_each(|part| fold(block, part, Fold::And)),
            BitOp::Or => parts.for_each(|part| fold(block, part, Fold::Or)),
            BitOp::Xor => parts.for_each(|part| fold(block, part, Fold::Xor)),
            BitOp::Not => block.iter_mut().for_each(|byte| *byte = !*byte),
            BitOp::Diff => parts.for_each(|part| fold(block, part, Fold::AndNot)),
            BitOp::Diff1 | BitOp::AndOr => {
                scratch.fill(0);
                parts.for_each(|part| fold(scratch, part, Fold::Or));
                fold(block, scratch, if op == BitOp::AndOr { Fold::And } else { Fold::NotAnd });
            }
            BitOp::One => {
                scratch.fill(0);
                parts.for_each(|part| fold_twice_widest(block, scratch, part));
                fold(block, scratch, Fold::AndNot);
            }
        }
    }
    out
}

/// What a string has between two places.
fn part(input: &[u8], at: usize, end: usize) -> &[u8] {
    &input[at.min(input.len())..end.min(input.len())]
}

/// What becomes of a byte `a` by another one `b`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fold {
    /// `a & b`
    And,
    /// `a | b`
    Or,
    /// `a ^ b`
    Xor,
    /// `a & !b`
    AndNot,
    /// `!a & b`
    NotAnd,
}

/// Folds `other`, which is not longer and counts as filled up with zeros, into `into`.
fn fold(into: &mut [u8], other: &[u8], fold: Fold) {
    let (both, beyond) = into.split_at_mut(other.len());
    fold_widest(both, other, fold);
    if matches!(fold, Fold::And | Fold::NotAnd) {
        beyond.fill(0);
    }
}

#[inline(always)]
fn fold_kernel(into: &mut [u8], other: &[u8], fold: Fold) {
    let pairs = into.iter_mut().zip(other);
    match fold {
        Fold::And => pairs.for_each(|(a, b)| *a &= b),
        Fold::Or => pairs.for_each(|(a, b)| *a |= b),
        Fold::Xor => pairs.for_each(|(a, b)| *a ^= b),
        Fold::AndNot => pairs.for_each(|(a, b)| *a &= !b),
        Fold::NotAnd => pairs.for_each(|(a, b)| *a = !*a & b),
    }
}

/// Keeps which bits were met at all (an odd number of times, or more than twice) and which more than once.
#[inline(always)]
fn fold_twice_kernel(once: &mut [u8], twice: &mut [u8], other: &[u8]) {
    for ((once, twice), other) in once.iter_mut().zip(twice).zip(other) {
        *twice |= *once & other;
        *once |= other;
    }
}

/// Widest field, in bits.
pub const FIELD_BITS_MAX: u32 = 64;
/// Bytes that the widest field can lie in.
const FIELD_BYTES_MAX: usize = 9;

/// The field of `width` bits (1 to 64) at a bit offset, as an unsigned number. Beyond the string's end there are zeros.
pub fn field(bytes: &[u8], offset: u64, width: u32) -> u64 {
    debug_assert!((1..=FIELD_BITS_MAX).contains(&width));
    let shift = 128 - (offset % 8) as u32 - width;
    ((window(bytes, offset) >> shift) & mask(width)) as u64
}

/// The bytes that hold a field, with another number in it.
#[derive(Clone, Copy, Debug)]
pub struct FieldBytes {
    /// Where they begin in the string.
    pub at: usize,
    bytes: [u8; 16],
    len: usize,
}

impl FieldBytes {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// What a string's bytes become when `width` bits (1 to 64) of `value` are stored at a bit offset, which is below what
/// `usize` can count in bytes.
pub fn field_bytes(bytes: &[u8], offset: u64, width: u32, value: u64) -> FieldBytes {
    debug_assert!((1..=FIELD_BITS_MAX).contains(&width));
    let in_byte = (offset % 8) as u32;
    let shift = 128 - in_byte - width;
    let cleared = window(bytes, offset) & !(mask(width) << shift);
    let stored = cleared | ((u128::from(value) & mask(width)) << shift);
    let len = (in_byte + width).div_ceil(8) as usize;
    FieldBytes { at: (offset / 8) as usize, bytes: stored.to_be_bytes(), len }
}

/// The bytes from the one that holds `offset` on, at the high end.
fn window(bytes: &[u8], offset: u64) -> u128 {
    let start = usize::try_from(offset / 8).unwrap_or(usize::MAX);
    let there = bytes.get(start..).unwrap_or_default();
    let there = &there[..there.len().min(FIELD_BYTES_MAX)];
    let mut window = [0; 16];
    window[..there.len()].copy_from_slice(there);
    u128::from_be_bytes(window)
}

fn mask(width: u32) -> u128 {
    (1 << width) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rng;

    fn bit_of(bytes: &[u8], at: u64) -> bool {
        bytes.get((at / 8) as usize).is_some_and(|byte| byte & (0x80 >> (at % 8)) != 0)
    }

    /// Random bytes, with long runs of the same now and then.
    fn random_bytes(rng: &mut Rng, len: usize) -> Vec<u8> {
        let style = rng.below(4);
        (0..len)
            .map(|_| match style {
                0 => rng.next() as u8,
                1 => 0,
                2 => 0xFF,
                _ => [0, 0xFF][usize::from(rng.below(500) == 0)],
            })
            .collect()
    }

    #[test]
    fn counts_and_positions_are_those_of_looking_at_every_bit() {
        let mut rng = Rng::new(1);
        for _ in 0..2_000 {
            let len = [rng.below(4), rng.below(70), rng.below(1_000)][rng.below(3)];
            let bytes = random_bytes(&mut rng, len);
            let bits = len as u64 * 8;
            let (a, b) = (rng.below(len * 8 + 20) as u64, rng.below(len * 8 + 20) as u64);
            let expected = (a..b.min(bits)).filter(|at| bit_of(&bytes, *at)).count() as u64;
            assert_eq!(count_ones_in(&bytes, a..b), expected);
            for bit in [false, true] {
                let expected = (a..b.min(bits)).find(|at| bit_of(&bytes, *at) == bit);
                assert_eq!(find_bit(&bytes, bit, a..b), expected, "{bit} in {a}..{b} of {bytes:?}");
            }
            assert_eq!(count_ones(&bytes), bytes.iter().map(|b| u64::from(b.count_ones())).sum::<u64>());
        }
        assert_eq!(count_ones_in(&[0xFF; 3], 0..u64::MAX), 24);
        assert_eq!(count_ones_in(&[0xFF; 3], u64::MAX - 1..u64::MAX), 0);
        assert_eq!(find_bit(&[], false, 0..u64::MAX), None);
    }

    #[test]
    fn every_copy_of_a_kernel_gives_the_same() {
        let mut rng = Rng::new(2);
        for len in [0, 1, 63, 64, 65, 127, 128, 129, 1_000, 9_999] {
            let (a, b) = (random_bytes(&mut rng, len), random_bytes(&mut rng, len));
            assert_eq!(count_ones_widest(&a), count_ones_kernel(&a));
            for byte in [0, 0xFF] {
                assert_eq!(leading_same_widest(&a, byte), leading_same_kernel(&a, byte));
            }
            for op in [Fold::And, Fold::Or, Fold::Xor, Fold::AndNot, Fold::NotAnd] {
                let (mut wide, mut plain) = (a.clone(), a.clone());
                fold_widest(&mut wide, &b, op);
                fold_kernel(&mut plain, &b, op);
                assert_eq!(wide, plain);
            }
        }
    }

    #[test]
    fn combinations_are_those_of_every_single_bit() {
        let mut rng = Rng::new(3);
        let ops = [BitOp::And, BitOp::Or, BitOp::Xor, BitOp::Not, BitOp::Diff, BitOp::Diff1, BitOp::AndOr, BitOp::One];
        for round in 0..300 {
            let op = ops[round % ops.len()];
            let len_max = [20, 300, 3 * BLOCK_BYTES][rng.below(3)];
            let count = if op == BitOp::Not { 1 } else { 1 + rng.below(6) };
            let inputs: Vec<Vec<u8>> = (0..count)
                .map(|_| {
                    let len = rng.below(len_max);
                    random_bytes(&mut rng, len)
                })
                .collect();
            let slices: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
            let len = slices.iter().map(|s| s.len()).max().unwrap_or(0);
            let got = combine(op, &slices);
            assert_eq!(got.len(), len);
            for at in 0..len as u64 * 8 {
                let set = slices.iter().filter(|s| bit_of(s, at)).count();
                let first = bit_of(slices[0], at);
                let others = set - usize::from(first);
                let expected = match op {
                    BitOp::And => set == count,
                    BitOp::Or => set > 0,
                    BitOp::Xor => set % 2 == 1,
                    BitOp::Not => !first,
                    BitOp::Diff => first && others == 0,
                    BitOp::Diff1 => !first && others > 0,
                    BitOp::AndOr => first && others > 0,
                    BitOp::One => set == 1,
                };
                assert_eq!(bit_of(&got, at), expected, "{op:?} of {count} at {at}");
            }
        }
        assert!(combine(BitOp::Or, &[]).is_empty());
    }

    #[test]
    fn fields_are_the_bits_between_and_leave_the_others_alone() {
        let mut rng = Rng::new(4);
        for _ in 0..3_000 {
            let len = rng.below(24);
            let bytes = random_bytes(&mut rng, len);
            let width = 1 + rng.below(64) as u32;
            let offset = rng.below(200) as u64;
            let expected =
                (offset..offset + u64::from(width)).fold(0, |value, at| value << 1 | u64::from(bit_of(&bytes, at)));
            assert_eq!(field(&bytes, offset, width), expected);

            let value = rng.next();
            let stored = field_bytes(&bytes, offset, width, value);
            let mut changed = bytes.clone();
            changed.resize(changed.len().max(stored.at + stored.bytes().len()), 0);
            changed[stored.at..stored.at + stored.bytes().len()].copy_from_slice(stored.bytes());
            assert_eq!(field(&changed, offset, width), value & mask(width) as u64);
            for at in (0..len as u64 * 8).filter(|at| !(offset..offset + u64::from(width)).contains(at)) {
                assert_eq!(bit_of(&changed, at), bit_of(&bytes, at));
            }
        }
        assert_eq!(field(&[0xFF; 20], u64::MAX, 64), 0);
    }
}
