//! Which numbers there are, and how often: nothing, one, or many.
//!
//! Nearly every key of a binding leads to one destination, and some lead to a hundred thousand: so one number takes no
//! allocation, and adding and removing is never linear.

use std::collections::BTreeMap;

/// Bytes of a number among many, with its part of a node.
const BYTES_EACH: usize = 16;

/// Numbers with counts, in their order.
#[derive(Clone, Debug, Default)]
#[expect(clippy::box_collection, reason = "there are as many bags as keys, and nearly all of them hold one number")]
pub(super) enum Bag {
    #[default]
    Empty,
    One(u32, u32),
    Many(Box<BTreeMap<u32, u32>>),
}

impl Bag {
    /// Adds a number once more.
    pub(super) fn add(&mut self, number: u32) {
        match self {
            Bag::Empty => *self = Bag::One(number, 1),
            Bag::One(known, count) if *known == number => *count += 1,
            Bag::One(known, count) => *self = Bag::Many(Box::new(BTreeMap::from([(*known, *count), (number, 1)]))),
            Bag::Many(counts) => *counts.entry(number).or_default() += 1,
        }
    }

    /// Takes a number away once; it is there.
    pub(super) fn remove(&mut self, number: u32) {
        match self {
            Bag::Empty => {}
            Bag::One(known, count) => {
                debug_assert_eq!(*known, number);
                *count -= 1;
                if *count == 0 {
                    *self = Bag::Empty;
                }
            }
            Bag::Many(counts) => {
                if let Some(count) = counts.get_mut(&number) {
                    *count -= 1;
                    if *count == 0 {
                        counts.remove(&number);
                    }
                }
                if counts.len() <= 1 {
                    *self = counts.pop_first().map_or(Bag::Empty, |(number, count)| Bag::One(number, count));
                }
            }
        }
    }

    /// Takes a number away, however often it is there.
    pub(super) fn remove_all(&mut self, number: u32) {
        let count = match self {
            Bag::One(known, count) if *known == number => count,
            Bag::Many(counts) => match counts.get_mut(&number) {
                Some(count) => count,
                None => return,
            },
            _ => return,
        };
        *count = 1;
        self.remove(number);
    }

    /// How many different numbers there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Bag::Empty => 0,
            Bag::One(..) => 1,
            Bag::Many(counts) => counts.len(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Bag::Empty)
    }

    /// Shows each number once.
    #[inline]
    pub(super) fn each(&self, mut visit: impl FnMut(u32)) {
        match self {
            Bag::Empty => {}
            Bag::One(number, _) => visit(*number),
            Bag::Many(counts) => counts.keys().for_each(|&number| visit(number)),
        }
    }

    /// Bytes on the heap, about. O(1).
    pub(super) fn memory_bytes(&self) -> usize {
        match self {
            Bag::Empty | Bag::One(..) => 0,
            Bag::Many(counts) => size_of::<BTreeMap<u32, u32>>() + counts.len() * BYTES_EACH,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rng;

    #[test]
    fn it_counts_as_a_map_does() {
        let mut rng = Rng::new(3);
        let (mut bag, mut model) = (Bag::default(), BTreeMap::<u32, u32>::new());
        for _ in 0..10_000 {
            let number = rng.below(4) as u32;
            if rng.below(2) == 0 && model.contains_key(&number) {
                bag.remove(number);
                *model.get_mut(&number).unwrap() -= 1;
                model.retain(|_, count| *count > 0);
            } else if model.values().sum::<u32>() < 12 {
                bag.add(number);
                *model.entry(number).or_default() += 1;
            }
            let mut seen = Vec::new();
            bag.each(|number| seen.push(number));
            assert_eq!(seen, model.keys().copied().collect::<Vec<_>>());
            assert_eq!((bag.len(), bag.is_empty()), (model.len(), model.is_empty()));
            assert_eq!(matches!(bag, Bag::Many(_)), model.len() > 1);
        }
    }
}
