//! A small sorted set as packed elements: member, score, member, score, ... in order.
//!
//! A score is an integer element if it is an integer, else a string in the first of these forms that it fits:
//!
//! ```text
//!  | places, bit 7: negative | mantissa, 1 to 6 bytes, little endian |     mantissa / 10^places: most decimal fractions
//!  | the 8 bytes of the double, highest first |
//!  | 0 | the 8 bytes of the double, highest first |                        where those 8 would read as an integer's text
//! ```
//!
//! The decimal form is shorter than the number's text, and read without parsing: both mantissa and power are exact doubles,
//! so their quotient is the double nearest to the decimal, which is what the text would be read as. `-0` becomes 0, as it
//! does in a peer's small form.
//!
//! What must stay true: [`score`] gives what [`encode`] was given, but for the sign of zero.

use std::ops::Range;

use super::{LexRange, ScoreRange};
use crate::number::parse_i64;
use crate::packed::{self, COUNT_BYTES, Element, Encoded, Item, Packed, Splice};

/// Above this, in magnitude, integers are not told apart by doubles any more.
const INTEGER_MAX: f64 = 9_007_199_254_740_992.0;
/// Decimal places of the decimal form at most.
const PLACES_MAX: u8 = 9;
const POWERS: [f64; PLACES_MAX as usize + 1] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
const MANTISSA_BYTES: usize = 6;
const NEGATIVE: u8 = 0x80;

/// A score as it is stored.
pub(super) struct ScoreBytes {
    bytes: [u8; 9],
    len: u8,
    int: Option<i64>,
}

impl ScoreBytes {
    #[expect(clippy::cast_possible_truncation, reason = "checked to be an integer of at most 53 bits")]
    pub(super) fn new(score: f64) -> ScoreBytes {
        if score.abs() <= INTEGER_MAX && score.trunc() == score {
            return ScoreBytes { bytes: [0; 9], len: 0, int: Some(score as i64) };
        }
        let magnitude = score.abs();
        for places in 1..=PLACES_MAX {
            let mantissa = (magnitude * POWERS[usize::from(places)]).round();
            if mantissa >= (1u64 << (8 * MANTISSA_BYTES)) as f64 {
                break;
            }
            if mantissa / POWERS[usize::from(places)] == magnitude {
                let digits = (mantissa as u64).to_le_bytes();
                let used = digits.iter().rposition(|&digit| digit != 0).map_or(1, |last| last + 1);
                let mut bytes = [0; 9];
                bytes[0] = places | if score < 0.0 { NEGATIVE } else { 0 };
                bytes[1..=used].copy_from_slice(&digits[..used]);
                return ScoreBytes { bytes, len: used as u8 + 1, int: None };
            }
        }
        let raw = score.to_be_bytes();
        let mut bytes = [0; 9];
        if parse_i64(&raw).is_some() {
            bytes[1..].copy_from_slice(&raw);
            return ScoreBytes { bytes, len: 9, int: None };
        }
        bytes[..8].copy_from_slice(&raw);
        ScoreBytes { bytes, len: 8, int: None }
    }

    pub(super) fn encoded(&self) -> Encoded<'_> {
        match self.int {
            Some(int) => Encoded::int(int),
            None => Encoded::new(&self.bytes[..usize::from(self.len)]),
        }
    }
}

/// The score that an element says; 0 for what is none.
#[inline]
pub(super) fn score(element: Element<'_>) -> f64 {
    match element {
        Element::Int(int) => int as f64,
        Element::Bytes(bytes) => fraction(bytes),
    }
}

fn fraction(bytes: &[u8]) -> f64 {
    match *bytes {
        [first, ref digits @ ..] if (1..=MANTISSA_BYTES).contains(&digits.len()) => {
            let mantissa = digits.iter().rev().fold(0u64, |so_far, &digit| so_far << 8 | u64::from(digit));
            let power = POWERS.get(usize::from(first & !NEGATIVE)).copied().unwrap_or(1.0);
            let magnitude = mantissa as f64 / power;
            if first & NEGATIVE != 0 { -magnitude } else { magnitude }
        }
        [0, ref raw @ ..] if raw.len() == 8 => raw_score(raw),
        ref raw if raw.len() == 8 => raw_score(raw),
        _ => 0.0,
    }
}

fn raw_score(raw: &[u8]) -> f64 {
    let score = raw.first_chunk().map_or(0.0, |raw| f64::from_be_bytes(*raw));
    if score.is_nan() { 0.0 } else { score }
}

/// Members and scores, in order.
#[inline]
pub(super) fn pairs<'a>(set: Packed<'a>) -> impl Iterator<Item = (Item<'a>, f64)> {
    set.pairs().map(|(member, score_item)| (member, score(score_item.element)))
}

pub(super) fn len(set: Packed<'_>) -> u64 {
    set.len() as u64 / 2
}

/// A member's place.
pub(super) struct Place {
    pub(super) rank: u64,
    pub(super) score: f64,
    /// Its bytes, and those of its score.
    start: usize,
    middle: usize,
    end: usize,
}

pub(super) fn find(set: Packed<'_>, member: &[u8]) -> Option<Place> {
    let found = set.find(member, 2)?;
    let item = set.at(found.end)?;
    Some(Place {
        rank: found.index as u64 / 2,
        score: score(item.element),
        start: found.start,
        middle: item.start,
        end: item.end,
    })
}

/// Ranks of the members with scores in a range.
pub(super) fn score_ranks(set: Packed<'_>, range: &ScoreRange) -> Range<u64> {
    ranks(set, |_, score| range.is_before(score), |_, score| range.is_not_behind(score))
}

/// Ranks of the members with names in a range.
pub(super) fn lex_ranks(set: Packed<'_>, range: &LexRange<'_>) -> Range<u64> {
    ranks(set, |name, _| range.is_before(&name.text()), |name, _| range.is_not_behind(&name.text()))
}

fn ranks(
    set: Packed<'_>,
    before: impl Fn(Element<'_>, f64) -> bool,
    not_behind: impl Fn(Element<'_>, f64) -> bool,
) -> Range<u64> {
    let (mut start, mut end, mut inside) = (0, 0, false);
    for (member, score) in pairs(set) {
        inside = inside || !before(member.element, score);
        if inside {
            if !not_behind(member.element, score) {
                break;
            }
        } else {
            start += 1;
        }
        end += 1;
    }
    start..end.max(start)
}

/// Offset of the member with a rank, or of the end.
fn offset_of(set: Packed<'_>, rank: u64) -> usize {
    let mut at = COUNT_BYTES;
    for _ in 0..rank {
        match set.skip(at).and_then(|at| set.skip(at)) {
            Some(next) => at = next,
            None => return set.as_bytes().len(),
        }
    }
    at
}

/// Gives the members of some ranks to `visit`, in order or in the opposite order.
pub(super) fn walk(set: Packed<'_>, ranks: Range<u64>, backwards: bool, mut visit: impl FnMut(&[u8], f64)) {
    let count = usize::try_from(ranks.end.saturating_sub(ranks.start)).unwrap_or(usize::MAX);
    let mut at = offset_of(set, ranks.start);
    let mut next = || {
        let member = set.at(at)?;
        let score_item = set.at(member.end)?;
        at = score_item.end;
        Some((member.element, score(score_item.element)))
    };
    if backwards {
        let mut found: Vec<(Element<'_>, f64)> = Vec::with_capacity(count.min(len(set) as usize));
        found.extend(std::iter::from_fn(&mut next).take(count));
        found.iter().rev().for_each(|(member, score)| visit(&member.text(), *score));
    } else {
        for _ in 0..count {
            let Some((member, score)) = next() else { return };
            visit(&member.text(), score);
        }
    }
}

/// Whether a stored pair stands before a new one.
fn stands_before(element: Element<'_>, stored: f64, score: f64, member: &[u8]) -> bool {
    stored < score || stored == score && element.compare(member).is_lt()
}

/// Offset at which a member belongs.
fn place_for(set: Packed<'_>, score: f64, member: &[u8]) -> usize {
    pairs(set)
        .find(|(item, stored)| !stands_before(item.element, *stored, score, member))
        .map_or(set.as_bytes().len(), |(item, _)| item.start)
}

/// Adds a member that is not there.
pub(super) fn insert(target: &mut impl Splice, member: &[u8], score: f64) {
    let at = place_for(Packed::new(target.bytes()), score, member);
    packed::insert(target, at, &[Encoded::new(member), ScoreBytes::new(score).encoded()]);
}

/// Gives a member that is there, at its place, another score.
pub(super) fn set_score(target: &mut impl Splice, place: &Place, member: &[u8], score: f64) {
    let at = place_for(Packed::new(target.bytes()), score, member);
    if at == place.start || at == place.end {
        // The order does not change.
        packed::replace(target, place.middle..place.end, 1, &[ScoreBytes::new(score).encoded()]);
        return;
    }
    remove(target, place);
    insert(target, member, score);
}

/// Removes a member that is there.
pub(super) fn remove(target: &mut impl Splice, place: &Place) {
    packed::remove(target, place.start..place.end, 2);
}

/// Removes the members of some ranks.
pub(super) fn remove_ranks(target: &mut impl Splice, ranks: Range<u64>) {
    let set = Packed::new(target.bytes());
    let range = offset_of(set, ranks.start)..offset_of(set, ranks.end);
    let count = usize::try_from(ranks.end.saturating_sub(ranks.start)).unwrap_or(0) * 2;
    if !range.is_empty() {
        packed::remove(target, range, count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rng;

    fn stored_as(score_in: f64) -> (f64, usize) {
        let bytes = ScoreBytes::new(score_in);
        let mut out = Vec::new();
        bytes.encoded().write(&mut out);
        let (element, len) = Element::decode(&out).expect("an element");
        assert_eq!(len, out.len());
        (score(element), len)
    }

    #[test]
    fn every_score_comes_back_as_it_was() {
        let mut scores = vec![
            0.1,
            1.5,
            -10.5,
            0.1 + 0.2,
            1e300,
            -1e-300,
            5e-324,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::MAX,
            INTEGER_MAX,
            INTEGER_MAX * 2.0,
            1e15 + 0.5,
            4_503_599_627_370_495.5,
            1_700_000_000.123_456,
            f64::from_be_bytes(*b"12345678"),
            f64::from_be_bytes(*b"-1234567"),
        ];
        let mut rng = Rng::new(3);
        for _ in 0..20_000 {
            scores.push(f64::from_bits(rng.next()));
            scores.push((rng.next() % 10_000_000) as f64 / 1000.0);
            scores.push((rng.next() % 10_000_000) as f64 * 0.1);
            scores.push(rng.next().cast_signed() as f64);
        }
        for score in scores.into_iter().filter(|score| !score.is_nan()) {
            assert_eq!(stored_as(score).0.to_bits(), score.to_bits(), "{score:e}");
        }
        assert_eq!(stored_as(-0.0).0.to_bits(), 0);
    }

    #[test]
    fn usual_scores_are_short() {
        for (score, len) in [(0.0, 1), (100.0, 1), (1.5, 3), (10.5, 3), (99.99, 4), (123.456, 5), (0.1 + 0.2, 9)] {
            assert_eq!(stored_as(score).1, len, "{score}");
        }
    }

    #[test]
    fn bytes_that_are_no_score_are_read_as_some_number() {
        for bytes in [&b""[..], b"\x7f\x01", b"\xff\xff\xff\xff\xff\xff\xff\xff", b"0123456789", b"\0"] {
            assert!(!fraction(bytes).is_nan());
        }
    }
}
