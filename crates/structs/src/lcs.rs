//! The longest common subsequence of two strings, for `LCS`.
//!
//! Let `L(i, j)` be the length for the first `i` bytes of `a` and the first `j` of `b`. The text-book table holds every
//! `L` in four bytes. But along a row `L` grows by 0 or 1 from one column to the next, so one bit a cell says it all,
//! and 64 cells are computed by one addition (Crochemore et al., Hyyrö): with `M` the places of `a[i]` in `b`,
//!
//! ```text
//!   U = V & M        V = (V + U) | (V - U)        a zero bit in V: L grows in this column
//! ```
//!
//! Walking back from the end, Redis goes up if `L(i-1, j) > L(i, j-1)` and left otherwise. Where the bytes differ this
//! is the case exactly if `L` grows in column `j` of row `i`: the bit is the direction. So ranges come out in Redis's
//! order with a 32nd of its memory and time.
//!
//! Invariants: memory is at most an eighth of a byte per cell plus one byte a row; [`check_size`] is asked before.

use std::ops::RangeInclusive;

/// Why strings are refused before anything is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LcsError {
    /// A string of 4 GiB or more.
    StringTooLong,
    /// Redis's table, four bytes a cell, would be larger than `proto-max-bulk-len`.
    TableTooLarge {
        /// What that table would take.
        bytes: u64,
        /// What is allowed.
        bytes_max: u64,
    },
    /// The allocator has no such piece.
    OutOfMemory,
}

impl std::fmt::Display for LcsError {
    /// The words on the wire, without the code in front.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            LcsError::StringTooLong => "String too long for LCS",
            LcsError::TableTooLarge { .. } => {
                "Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"
            }
            LcsError::OutOfMemory => "Insufficient memory, failed allocating transient memory for LCS",
        })
    }
}

impl std::error::Error for LcsError {}

/// Refuses what Redis refuses: by the size of the table that it would allocate, `LEN` included.
///
/// # Errors
/// [`LcsError::StringTooLong`] and [`LcsError::TableTooLarge`].
pub fn check_size(a_len: usize, b_len: usize, bytes_max: u64) -> Result<(), LcsError> {
    let long = |len: usize| len as u64 >= u64::from(u32::MAX) - 1;
    if long(a_len) || long(b_len) {
        return Err(LcsError::StringTooLong);
    }
    // Both are below 2^32 here, so neither product can overflow 64 bits but for the factor 4.
    let bytes = (a_len as u64 + 1).saturating_mul(b_len as u64 + 1).saturating_mul(4);
    if bytes > bytes_max {
        return Err(LcsError::TableTooLarge { bytes, bytes_max });
    }
    Ok(())
}

/// A run of bytes that both strings share; positions from 0, both ends included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LcsMatch {
    /// Where in the first string.
    pub a: RangeInclusive<usize>,
    /// Where in the second string.
    pub b: RangeInclusive<usize>,
}

impl LcsMatch {
    /// Bytes in the run, at least one.
    pub fn run_len(&self) -> usize {
        self.a.end() - self.a.start() + 1
    }
}

/// A longest common subsequence: of several equally long ones, the one that Redis finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lcs {
    /// Its bytes.
    pub text: Vec<u8>,
    /// Its runs from the last to the first, as `IDX` replies.
    pub matches: Vec<LcsMatch>,
}

impl Lcs {
    /// The runs of at least `run_len_min` bytes (`MINMATCHLEN`), in `IDX` order.
    pub fn matches_of_at_least(&self, run_len_min: usize) -> impl Iterator<Item = &LcsMatch> {
        self.matches.iter().filter(move |found| found.run_len() >= run_len_min)
    }
}

/// Length only: `a.len() * b.len() / 64` steps and memory for a few rows.
///
/// # Errors
/// [`LcsError::OutOfMemory`]. Call [`check_size`] first.
pub fn lcs_len(a: &[u8], b: &[u8]) -> Result<usize, LcsError> {
    let mut rows = Rows::new(a, b)?;
    for &byte in a {
        rows.advance(byte);
    }
    Ok(rows.zeros())
}

/// Text and runs: the steps of [`lcs_len`], and a bit for every cell.
///
/// # Errors
/// [`LcsError::OutOfMemory`]. Call [`check_size`] first.
pub fn lcs(a: &[u8], b: &[u8]) -> Result<Lcs, LcsError> {
    let stride = b.len().div_ceil(8);
    let mut grows = Vec::new();
    grows.try_reserve_exact(stride.saturating_mul(a.len())).map_err(|_| LcsError::OutOfMemory)?;
    let mut rows = Rows::new(a, b)?;
    for &byte in a {
        rows.advance(byte);
        let row_start = grows.len();
        grows.extend(rows.row.iter().flat_map(|word| (!word).to_le_bytes()).take(stride));
        debug_assert_eq!(grows.len(), row_start + stride);
    }

    let mut text = Vec::with_capacity(rows.zeros());
    let mut matches = Vec::new();
    let (mut i, mut j) = (a.len(), b.len());
    while i > 0 && j > 0 {
        if a[i - 1] == b[j - 1] {
            let (i_end, j_end) = (i - 1, j - 1);
            while i > 0 && j > 0 && a[i - 1] == b[j - 1] {
                text.push(a[i - 1]);
                i -= 1;
                j -= 1;
            }
            matches.push(LcsMatch { a: i..=i_end, b: j..=j_end });
        } else if grows[(i - 1) * stride + (j - 1) / 8] >> ((j - 1) % 8) & 1 == 1 {
            i -= 1;
        } else {
            j -= 1;
        }
    }
    text.reverse();
    Ok(Lcs { text, matches })
}

/// The row being computed, and where each byte of `a` stands in `b`.
struct Rows {
    /// `V` of the text above.
    row: Vec<u64>,
    /// One bit set of `row.len()` words for each different byte of `a`.
    places: Vec<u64>,
    /// Index of a byte's bit set; only bytes that are in `a` have one.
    place_of: [u16; 256],
    columns: usize,
}

impl Rows {
    fn new(a: &[u8], b: &[u8]) -> Result<Rows, LcsError> {
        const ABSENT: u16 = u16::MAX;
        let words = b.len().div_ceil(64);
        let mut place_of = [ABSENT; 256];
        let mut kinds = 0u16;
        for &byte in a {
            let place = &mut place_of[usize::from(byte)];
            if *place == ABSENT {
                *place = kinds;
                kinds += 1;
            }
        }
        let mut places = zeroed(words.saturating_mul(usize::from(kinds)))?;
        for (column, &byte) in b.iter().enumerate() {
            let place = place_of[usize::from(byte)];
            if place != ABSENT {
                places[usize::from(place) * words + column / 64] |= 1 << (column % 64);
            }
        }
        let mut row = zeroed(words)?;
        row.fill(u64::MAX);
        Ok(Rows { row, places, place_of, columns: b.len() })
    }

    fn advance(&mut self, byte: u8) {
        let words = self.row.len();
        let start = usize::from(self.place_of[usize::from(byte)]) * words;
        let places = &self.places[start..start + words];
        let mut carry = false;
        for (v, &m) in self.row.iter_mut().zip(places) {
            let u = *v & m;
            let (sum, carry_a) = v.overflowing_add(u);
            let (sum, carry_b) = sum.overflowing_add(u64::from(carry));
            carry = carry_a | carry_b;
            *v = sum | (*v & !m);
        }
    }

    fn zeros(&self) -> usize {
        // Bits past the last column are never places, so they stay set.
        debug_assert!(self.columns <= self.row.len() * 64);
        self.row.iter().map(|word| word.count_zeros() as usize).sum()
    }
}

fn zeroed(len: usize) -> Result<Vec<u64>, LcsError> {
    let mut words = Vec::new();
    words.try_reserve_exact(len).map_err(|_| LcsError::OutOfMemory)?;
    words.resize(len, 0);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text-book table and Redis's walk.
    fn model(a: &[u8], b: &[u8]) -> Lcs {
        let mut table = vec![vec![0u32; b.len() + 1]; a.len() + 1];
        for i in 1..=a.len() {
            for j in 1..=b.len() {
                table[i][j] =
                    if a[i - 1] == b[j - 1] { table[i - 1][j - 1] + 1 } else { table[i - 1][j].max(table[i][j - 1]) };
            }
        }
        let (mut i, mut j) = (a.len(), b.len());
        let mut pairs = Vec::new();
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                pairs.push((i - 1, j - 1));
                i -= 1;
                j -= 1;
            } else if table[i - 1][j] > table[i][j - 1] {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        let mut matches: Vec<LcsMatch> = Vec::new();
        for &(i, j) in &pairs {
            match matches.last_mut() {
                Some(last) if *last.a.start() == i + 1 && *last.b.start() == j + 1 => {
                    *last = LcsMatch { a: i..=*last.a.end(), b: j..=*last.b.end() };
                }
                _ => matches.push(LcsMatch { a: i..=i, b: j..=j }),
            }
        }
        assert_eq!(pairs.len(), table[a.len()][b.len()] as usize);
        Lcs { text: pairs.iter().rev().map(|&(i, _)| a[i]).collect(), matches }
    }

    #[test]
    fn bits_and_table_agree() {
        let mut seed = 3u64;
        let mut next = move |bound: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % bound
        };
        for round in 0..3_000 {
            let letters = 1 + next(5);
            let len_max = if round % 10 == 0 { 200 } else { 20 };
            let a: Vec<u8> = (0..next(len_max)).map(|_| b'a' + next(letters) as u8).collect();
            let b: Vec<u8> = (0..next(len_max)).map(|_| b'a' + next(letters) as u8).collect();
            let expected = model(&a, &b);
            assert_eq!(lcs_len(&a, &b), Ok(expected.text.len()));
            assert_eq!(lcs(&a, &b), Ok(expected), "{a:?} {b:?}");
        }
    }

    #[test]
    fn the_example_of_the_documentation() {
        let found = lcs(b"ohmytext", b"mynewtext").unwrap();
        assert_eq!(found.text, b"mytext");
        let ranges: Vec<_> = found.matches.iter().map(|m| (m.a.clone(), m.b.clone(), m.run_len())).collect();
        assert_eq!(ranges, [(4..=7, 5..=8, 4), (2..=3, 0..=1, 2)]);
        assert_eq!(found.matches_of_at_least(4).count(), 1);
        assert_eq!(found.matches_of_at_least(0).count(), 2);
    }

    #[test]
    fn nothing_has_nothing_in_common() {
        for (a, b) in [(&b""[..], &b""[..]), (b"", b"abc"), (b"abc", b""), (b"abc", b"xyz")] {
            assert_eq!(lcs_len(a, b), Ok(0));
            assert_eq!(lcs(a, b), Ok(Lcs { text: Vec::new(), matches: Vec::new() }));
        }
    }

    #[test]
    fn sizes_are_refused_where_redis_refuses_them() {
        let max = 536_870_912;
        assert_eq!(check_size(11_584, 11_584, max), Ok(()));
        assert!(matches!(check_size(11_585, 11_585, max), Err(LcsError::TableTooLarge { .. })));
        assert_eq!(check_size(511, 511, 1_048_576), Ok(()));
        assert!(check_size(512, 511, 1_048_576).is_err());
        assert_eq!(check_size(usize::MAX, 1, max), Err(LcsError::StringTooLong));
        assert!(check_size(u32::MAX as usize - 2, u32::MAX as usize - 2, u64::MAX - 1).is_err());
    }
}
