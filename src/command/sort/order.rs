//! Elements with what they are compared by, put in order.
//!
//! All bytes are copied into one arena, and an element is a few numbers that say where its own are. Comparing two of them
//! is nearly always comparing one number each, their *rank*: of a score its bits, so turned that they order as the scores
//! do; of a text its first eight bytes. Only equal ranks look into the arena.
//!
//! What must stay true: the order is total. Elements of equal score are in the order of their bytes; texts that compare
//! equal stay in the order in which they came. So of a small part only that part need be sorted.

use std::cmp::Ordering;
use std::ops::Range;

/// Where some bytes are in an [`Arena`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    start: usize,
    len: u32,
}

/// Bytes of many elements.
#[derive(Debug, Default)]
pub(super) struct Arena(Vec<u8>);

impl Arena {
    /// Copies some bytes in.
    #[inline]
    pub(super) fn push(&mut self, bytes: &[u8]) -> Span {
        let start = self.0.len();
        self.0.extend_from_slice(bytes);
        Span { start, len: u32::try_from(bytes.len()).expect("elements are below 4 GiB") }
    }

    /// The bytes.
    #[inline]
    pub(super) fn get(&self, span: Span) -> &[u8] {
        self.0.get(span.start..span.start + span.len as usize).unwrap_or_default()
    }

    /// Bytes in here.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Forgets what was copied in behind the first `len` bytes.
    pub(super) fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    /// The same bytes up to the first NUL.
    pub(super) fn c_string(&self, span: Span) -> Span {
        let bytes = self.get(span);
        let len = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        Span { start: span.start, len: u32::try_from(len).unwrap_or(span.len) }
    }
}

/// The rank of the score 0: that of others is greater if they are.
const SCORE_0: u64 = 1 << 63;

/// An element and what it is compared by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    /// The element.
    pub(super) element: Span,
    rank: u64,
    /// What it is compared by if that is a text; nothing comes before everything.
    text: Option<Span>,
    /// How many elements came before.
    index: u32,
}

impl Item {
    /// An element that is not compared yet: its score is 0, and it has no text.
    pub(super) fn new(element: Span, index: usize) -> Item {
        Item { element, rank: SCORE_0, text: None, index: u32::try_from(index).unwrap_or(u32::MAX) }
    }

    /// Compares it by a number, which is no NaN.
    #[inline]
    pub(super) fn set_score(&mut self, score: f64) {
        // Both zeros are equal.
        let bits = (score + 0.0).to_bits();
        self.rank = if bits & SCORE_0 == 0 { bits | SCORE_0 } else { !bits };
    }

    /// Compares it by a text.
    #[inline]
    pub(super) fn set_text(&mut self, text: Span, arena: &Arena) {
        let bytes = arena.get(text);
        let mut first = [0; 8];
        let len = bytes.len().min(first.len());
        first[..len].copy_from_slice(&bytes[..len]);
        self.rank = u64::from_be_bytes(first);
        self.text = Some(text);
    }
}

/// What elements are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// Numbers.
    Score,
    /// Texts.
    Text,
}

/// Puts the items that are in `wanted` when all are in order into their places; where the others are does not matter.
pub(super) fn sort(items: &mut [Item], wanted: Range<usize>, by: By, descending: bool, arena: &Arena) {
    let compare = |a: &Item, b: &Item| {
        let order = match by {
            By::Score => a.rank.cmp(&b.rank).then_with(|| arena.get(a.element).cmp(arena.get(b.element))),
            By::Text => compare_texts(a, b, arena),
        };
        let order = if descending { order.reverse() } else { order };
        order.then(a.index.cmp(&b.index))
    };
    let mut items = items;
    if wanted.end < items.len() && !wanted.is_empty() {
        items = items.select_nth_unstable_by(wanted.end, compare).0;
    }
    if wanted.start > 0 && wanted.start < items.len() {
        items.select_nth_unstable_by(wanted.start, compare);
        items = &mut items[wanted.start..];
    }
    items.sort_unstable_by(compare);
}

#[inline]
fn compare_texts(a: &Item, b: &Item, arena: &Arena) -> Ordering {
    match (a.text, b.text) {
        (Some(one), Some(other)) => a.rank.cmp(&b.rank).then_with(|| arena.get(one).cmp(arena.get(other))),
        (one, other) => one.is_some().cmp(&other.is_some()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(texts: &[&str], wanted: Range<usize>, by: By, descending: bool) -> Vec<String> {
        let mut arena = Arena::default();
        let mut items: Vec<Item> =
            texts.iter().enumerate().map(|(at, text)| Item::new(arena.push(text.as_bytes()), at)).collect();
        for item in &mut items {
            match by {
                By::Score => item.set_score(str::from_utf8(arena.get(item.element)).unwrap().parse().unwrap()),
                By::Text => item.set_text(item.element, &arena),
            }
        }
        sort(&mut items, wanted.clone(), by, descending, &arena);
        items[wanted].iter().map(|item| String::from_utf8(arena.get(item.element).to_vec()).unwrap()).collect()
    }

    #[test]
    fn scores_order_as_numbers_and_equal_ones_by_their_bytes() {
        let texts = ["10", "9", "-1", "-10", "inf", "-inf", "0", "-0", "1e3", "1", "1.0", "01", "-0.5", "1e-320"];
        let expected = ["-inf", "-10", "-1", "-0.5", "-0", "0", "1e-320", "01", "1", "1.0", "9", "10", "1e3", "inf"];
        assert_eq!(sorted(&texts, 0..texts.len(), By::Score, false), expected);
        let back: Vec<&str> = expected.iter().rev().copied().collect();
        assert_eq!(sorted(&texts, 0..texts.len(), By::Score, true), back);
    }

    #[test]
    fn texts_order_by_all_their_bytes() {
        let texts = ["b", "a", "", "abcdefghi", "abcdefgh", "abcdefgha", "C", "a\0", "\u{e4}"];
        let mut expected = texts.to_vec();
        expected.sort_unstable();
        assert_eq!(sorted(&texts, 0..texts.len(), By::Text, false), expected);
        expected.reverse();
        assert_eq!(sorted(&texts, 0..texts.len(), By::Text, true), expected);
    }

    #[test]
    fn every_part_is_that_part_of_the_whole() {
        let texts: Vec<String> = (0..40u32).map(|n| (n * 17 % 23).to_string()).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        for (by, descending) in [(By::Score, false), (By::Score, true), (By::Text, false), (By::Text, true)] {
            let whole = sorted(&texts, 0..40, by, descending);
            for start in 0..=40 {
                for end in start..=40 {
                    assert_eq!(sorted(&texts, start..end, by, descending), whole[start..end], "{start}..{end}");
                }
            }
        }
    }

    #[test]
    fn without_a_text_comes_first_and_equals_stay_as_they_came() {
        let mut arena = Arena::default();
        let mut items: Vec<Item> = ["c", "a", "d", "b"]
            .iter()
            .enumerate()
            .map(|(at, text)| Item::new(arena.push(text.as_bytes()), at))
            .collect();
        let text = arena.push(b"");
        items[0].set_text(text, &arena);
        items[2].set_text(text, &arena);
        for (descending, expected) in [(false, b"abcd"), (true, b"cdab")] {
            let mut items = items.clone();
            sort(&mut items, 0..4, By::Text, descending, &arena);
            let got: Vec<u8> = items.iter().flat_map(|item| arena.get(item.element).to_vec()).collect();
            assert_eq!(got, expected);
        }
    }
}
