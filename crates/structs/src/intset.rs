//! A set of integers as a sorted array of bytes, for small sets of nothing but integers.
//!
//! ```text
//!  byte 0   width of a number: 2, 4 or 8 bytes
//!  byte 1   the numbers, ascending, each once, two's complement, little endian, not aligned
//! ```
//!
//! No bytes at all are the empty set. The width is that of the widest number that was ever in the set: a number that does
//! not fit widens all of them (it is then the first or the last), and none is narrowed again.
//!
//! The bytes belong to somebody else, who may have them in the middle of a larger block. So a change is not made here but
//! described, as an [`Edit`]: which bytes go and which come in their place. Membership is a binary search without
//! branches that depend on the data.
//!
//! What must stay true: whatever an [`Edit`] is applied to is in this form again afterwards. No input makes anything here
//! panic or read outside; of bytes that are not in this form the answers are merely wrong ([`is_valid`] tells).

use std::iter::FusedIterator;
use std::ops::Range;

const WIDTH_BYTES: usize = 1;

/// How many bytes a number takes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Width {
    Two,
    Four,
    Eight,
}

impl Width {
    fn of(value: i64) -> Width {
        if i16::try_from(value).is_ok() {
            Width::Two
        } else if i32::try_from(value).is_ok() {
            Width::Four
        } else {
            Width::Eight
        }
    }

    fn of_bytes(bytes: &[u8]) -> Width {
        match bytes.first() {
            None | Some(2) => Width::Two,
            Some(4) => Width::Four,
            Some(_) => Width::Eight,
        }
    }

    fn bytes(self) -> usize {
        match self {
            Width::Two => 2,
            Width::Four => 4,
            Width::Eight => 8,
        }
    }

    fn mark(self) -> u8 {
        self.bytes() as u8
    }
}

/// A set to be looked at.
#[derive(Clone, Copy)]
pub struct IntSet<'a> {
    numbers: &'a [u8],
    width: Width,
}

impl<'a> IntSet<'a> {
    /// The empty set.
    pub const EMPTY: IntSet<'static> = IntSet { numbers: &[], width: Width::Two };

    /// The set that these bytes are.
    #[inline]
    pub fn of(bytes: &'a [u8]) -> IntSet<'a> {
        IntSet { numbers: bytes.get(WIDTH_BYTES..).unwrap_or_default(), width: Width::of_bytes(bytes) }
    }

    /// How many numbers are in it.
    #[inline]
    pub fn len(self) -> usize {
        self.numbers.len() / self.width.bytes()
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.numbers.is_empty()
    }

    /// The number with `index` smaller ones.
    #[inline]
    pub fn get(self, index: usize) -> Option<i64> {
        match self.width {
            Width::Two => self.chunks::<2>().get(index).map(read),
            Width::Four => self.chunks::<4>().get(index).map(read),
            Width::Eight => self.chunks::<8>().get(index).map(read),
        }
    }

    /// The smallest number.
    pub fn first(self) -> Option<i64> {
        self.get(0)
    }

    /// The greatest number.
    pub fn last(self) -> Option<i64> {
        self.get(self.len().checked_sub(1)?)
    }

    /// Whether a number is in it. O(log n).
    #[inline]
    pub fn contains(self, value: i64) -> bool {
        self.search(value).is_ok()
    }

    /// How many numbers are smaller than this one: `Ok` if it is in the set, else `Err`. O(log n).
    #[inline]
    pub fn search(self, value: i64) -> Result<usize, usize> {
        match self.width {
            Width::Two => search(self.chunks::<2>(), value),
            Width::Four => search(self.chunks::<4>(), value),
            Width::Eight => search(self.chunks::<8>(), value),
        }
    }

    /// All numbers, ascending.
    #[inline]
    pub fn iter(self) -> Iter<'a> {
        Iter { set: self, left: 0..self.len() }
    }

    #[inline]
    fn chunks<const N: usize>(self) -> &'a [[u8; N]] {
        self.numbers.as_chunks().0
    }
}

/// Reads a number of `N` bytes.
#[inline(always)]
fn read<const N: usize>(bytes: &[u8; N]) -> i64 {
    let mut wide = [0; 8];
    wide[8 - N..].copy_from_slice(bytes);
    // Shifting down from the top carries the sign along.
    i64::from_le_bytes(wide) >> (64 - 8 * N)
}

#[inline]
fn search<const N: usize>(numbers: &[[u8; N]], value: i64) -> Result<usize, usize> {
    let (mut base, mut size) = (0, numbers.len());
    if size == 0 {
        return Err(0);
    }
    // The sought number, or the last smaller one, is in `base..base + size`.
    while size > 1 {
        let half = size / 2;
        let middle = base + half;
        base = if read(&numbers[middle]) <= value { middle } else { base };
        size -= half;
    }
    match read(&numbers[base]).cmp(&value) {
        std::cmp::Ordering::Equal => Ok(base),
        std::cmp::Ordering::Less => Err(base + 1),
        std::cmp::Ordering::Greater => Err(base),
    }
}

/// The numbers of a set, see [`IntSet::iter`].
#[derive(Clone)]
pub struct Iter<'a> {
    set: IntSet<'a>,
    left: Range<usize>,
}

impl Iter<'_> {
    /// How many numbers are smaller than the next one.
    #[inline]
    pub fn passed(&self) -> usize {
        self.left.start
    }
}

impl Iterator for Iter<'_> {
    type Item = i64;

    #[inline]
    fn next(&mut self) -> Option<i64> {
        self.set.get(self.left.next()?)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.left.size_hint()
    }
}

impl ExactSizeIterator for Iter<'_> {}
impl FusedIterator for Iter<'_> {}

/// A change of a set's bytes: `removed` bytes from `at` on give way to [`Edit::inserted`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Edit {
    /// Where the change begins.
    pub at: usize,
    /// How many bytes go there.
    pub removed: usize,
    inserted: Inserted,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Inserted {
    /// The first of these; room for a width and a number.
    Few([u8; WIDTH_BYTES + 8], u8),
    Many(Vec<u8>),
}

impl Edit {
    /// The bytes that come.
    pub fn inserted(&self) -> &[u8] {
        match &self.inserted {
            Inserted::Few(bytes, len) => &bytes[..usize::from(*len)],
            Inserted::Many(bytes) => bytes,
        }
    }
}

/// What adds `value` to the set of these bytes; `None` if it is in it. O(log n), and O(n) where it widens the numbers.
pub fn insert(bytes: &[u8], value: i64) -> Option<Edit> {
    let (set, wanted) = (IntSet::of(bytes), Width::of(value));
    if bytes.is_empty() {
        let mut few = [0; WIDTH_BYTES + 8];
        few[0] = wanted.mark();
        few[WIDTH_BYTES..].copy_from_slice(&value.to_le_bytes());
        let len = (WIDTH_BYTES + wanted.bytes()) as u8;
        return Some(Edit { at: 0, removed: 0, inserted: Inserted::Few(few, len) });
    }
    if wanted > set.width {
        // It did not fit among them, so it comes before or after all of them.
        let (before, after) = if value < 0 { (Some(value), None) } else { (None, Some(value)) };
        let all = before.into_iter().chain(set.iter()).chain(after);
        return Some(Edit {
            at: 0,
            removed: bytes.len(),
            inserted: Inserted::Many(written(wanted, set.len() + 1, all)),
        });
    }
    let index = set.search(value).err()?;
    let mut few = [0; WIDTH_BYTES + 8];
    few[..8].copy_from_slice(&value.to_le_bytes());
    let width = set.width.bytes();
    Some(Edit { at: WIDTH_BYTES + index * width, removed: 0, inserted: Inserted::Few(few, width as u8) })
}

/// What removes `value` from the set of these bytes; `None` if it is not in it. O(log n).
pub fn remove(bytes: &[u8], value: i64) -> Option<Edit> {
    remove_at(bytes, IntSet::of(bytes).search(value).ok()?)
}

/// What removes the number with `index` smaller ones; `None` if there is none.
pub fn remove_at(bytes: &[u8], index: usize) -> Option<Edit> {
    let set = IntSet::of(bytes);
    let width = set.width.bytes();
    let (at, removed) = match set.len() {
        // The last one takes the width with it: the empty set has no bytes.
        1 if index == 0 => (0, bytes.len()),
        len if index < len => (WIDTH_BYTES + index * width, width),
        _ => return None,
    };
    Some(Edit { at, removed, inserted: Inserted::Few([0; WIDTH_BYTES + 8], 0) })
}

/// The bytes of the set of these numbers, which are ascending; a number that comes more than once in a row is taken
/// once.
pub fn from_ascending(numbers: &[i64]) -> Vec<u8> {
    union(&[], numbers)
}

/// The bytes of a set with more numbers, which are ascending; those that are in it already, or come more than once in a
/// row, are taken once. O(n), for adding many.
pub fn union(bytes: &[u8], numbers: &[i64]) -> Vec<u8> {
    let set = IntSet::of(bytes);
    let widest = [numbers.first(), numbers.last()].into_iter().flatten().map(|&value| Width::of(value)).max();
    let Some(widest) = widest else { return bytes.to_vec() };
    let width = if bytes.is_empty() { widest } else { widest.max(set.width) };
    let (mut ours, mut theirs) = (set.iter().peekable(), numbers.iter().copied().peekable());
    let mut last = None;
    let merged = std::iter::from_fn(|| {
        loop {
            let next = match (ours.peek(), theirs.peek()) {
                (Some(our), Some(their)) if our <= their => ours.next(),
                (Some(_), None) => ours.next(),
                _ => theirs.next(),
            }?;
            if last.replace(next) != Some(next) {
                return Some(next);
            }
        }
    });
    written(width, set.len() + numbers.len(), merged)
}

/// Whether bytes from elsewhere are a set: not empty, of a known width, whole numbers, strictly ascending. O(n).
pub fn is_valid(bytes: &[u8]) -> bool {
    let set = IntSet::of(bytes);
    matches!(bytes.first(), Some(2 | 4 | 8))
        && !set.is_empty()
        && set.numbers.len().is_multiple_of(set.width.bytes())
        && set.iter().zip(set.iter().skip(1)).all(|(one, next)| one < next)
}

fn written(width: Width, count: usize, numbers: impl Iterator<Item = i64>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(WIDTH_BYTES + count * width.bytes());
    bytes.push(width.mark());
    for number in numbers {
        bytes.extend_from_slice(&number.to_le_bytes()[..width.bytes()]);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::testing::Rng;

    fn apply(bytes: &mut Vec<u8>, edit: &Edit) {
        bytes.splice(edit.at..edit.at + edit.removed, edit.inserted().iter().copied());
    }

    fn agrees(bytes: &[u8], model: &BTreeSet<i64>) {
        let set = IntSet::of(bytes);
        assert!(set.iter().eq(model.iter().copied()));
        assert_eq!(set.len(), model.len());
        assert_eq!(set.is_empty(), model.is_empty());
        assert_eq!(set.first(), model.first().copied());
        assert_eq!(set.last(), model.last().copied());
        assert_eq!(is_valid(bytes), !model.is_empty());
        assert_eq!(bytes.is_empty(), model.is_empty());
    }

    /// Numbers near the borders between widths come up often.
    fn number(rng: &mut Rng, bits: usize) -> i64 {
        let edges = [0, i64::from(i16::MAX), i64::from(i16::MIN), i64::from(i32::MAX), i64::from(i32::MIN)];
        match rng.below(4) {
            0 => edges[rng.below(bits.min(5))].wrapping_add(rng.below(5) as i64 - 2),
            _ => (rng.next() as i64) >> (64 - bits),
        }
    }

    #[test]
    fn agrees_with_an_ordered_set() {
        for (seed, bits) in [(1, 6), (2, 9), (3, 16), (4, 17), (5, 32), (6, 33), (7, 64)] {
            let mut rng = Rng::new(seed);
            let (mut bytes, mut model) = (Vec::new(), BTreeSet::new());
            for _ in 0..4_000 {
                let value = number(&mut rng, bits);
                match rng.below(5) {
                    0 | 1 => {
                        let edit = insert(&bytes, value);
                        assert_eq!(edit.is_some(), model.insert(value));
                        edit.iter().for_each(|edit| apply(&mut bytes, edit));
                    }
                    2 => {
                        let edit = remove(&bytes, value);
                        assert_eq!(edit.is_some(), model.remove(&value));
                        edit.iter().for_each(|edit| apply(&mut bytes, edit));
                    }
                    3 => {
                        let index = rng.below(model.len() + 2);
                        let there = model.iter().nth(index).copied();
                        assert_eq!(IntSet::of(&bytes).get(index), there);
                        let edit = remove_at(&bytes, index);
                        assert_eq!(edit.is_some(), there.is_some());
                        edit.iter().for_each(|edit| apply(&mut bytes, edit));
                        there.iter().for_each(|value| assert!(model.remove(value)));
                    }
                    _ => {
                        let mut many: Vec<i64> = (0..rng.below(4)).map(|_| number(&mut rng, bits)).collect();
                        many.sort_unstable();
                        bytes = union(&bytes, &many);
                        model.extend(&many);
                    }
                }
                assert_eq!(IntSet::of(&bytes).contains(value), model.contains(&value));
                let smaller = model.range(..value).count();
                let found = if model.contains(&value) { Ok(smaller) } else { Err(smaller) };
                assert_eq!(IntSet::of(&bytes).search(value), found);
                agrees(&bytes, &model);
            }
        }
    }

    #[test]
    fn numbers_take_the_width_of_the_widest() {
        for (numbers, width) in [
            (&[-32_768, 32_767][..], 2),
            (&[32_768], 4),
            (&[-32_769, 1, 2], 4),
            (&[-2_147_483_648, 2_147_483_647], 4),
            (&[0, 2_147_483_648], 8),
            (&[i64::MIN, 0, i64::MAX], 8),
        ] {
            let bytes = from_ascending(numbers);
            assert_eq!(bytes.len(), 1 + width * numbers.len());
            assert!(IntSet::of(&bytes).iter().eq(numbers.iter().copied()));
            let mut one_by_one = Vec::new();
            for &number in numbers.iter().rev() {
                let edit = insert(&one_by_one, number).unwrap();
                apply(&mut one_by_one, &edit);
            }
            assert_eq!(one_by_one, bytes);
        }
    }

    #[test]
    fn bytes_that_are_no_set_are_found_out_and_harm_nobody() {
        let twice = [2, 1, 0, 1, 0];
        let descending = [2, 2, 0, 1, 0];
        for bytes in [&[][..], &[2], &[3, 0, 0], &[2, 0], &[4, 1, 0], &[0, 0], &twice, &descending] {
            assert!(!is_valid(bytes), "{bytes:?}");
        }
        let mut rng = Rng::new(9);
        for _ in 0..2_000 {
            let bytes: Vec<u8> = (0..rng.below(40)).map(|_| rng.next() as u8 % 9).collect();
            let value = number(&mut rng, 64);
            let set = IntSet::of(&bytes);
            let _ = (set.contains(value), set.first(), set.last(), set.iter().count(), set.get(rng.below(50)));
            for edit in [insert(&bytes, value), remove(&bytes, value), remove_at(&bytes, rng.below(50))] {
                edit.iter().for_each(|edit| apply(&mut bytes.clone(), edit));
            }
            let _ = (is_valid(&bytes), union(&bytes, &[value]));
        }
    }
}
