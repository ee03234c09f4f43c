//! What a snapshot that is taken while its table changes has to remember: how far it has come, and what was settled ahead
//! of it.
//!
//! ```text
//!  positions   0 ──────────────────────────────────────────────────────────────────────── 2^64
//!              │ given out; changes here        │ still to be walked
//!              │ do not matter any more         │        x        x  x            x
//!              └────────────────────────────────┴────────┴────────┴──┴────────────┴──────────
//!                                               walk     settled: saved before they were changed, or new
//! ```
//!
//! A table ([`Dict`](crate::dict)) is walked by its cursor, which is a position in hash space. Whoever is about to insert,
//! change or remove an item asks whether its position is *covered*: ahead of the walk and not settled. If so, every item with
//! exactly this position is saved first and the position is settled. The walk passes over what is not covered. So each item
//! of the moment in which the snapshot began is given once, as it was then, and none that came later.
//!
//! Settled positions are forgotten as the walk passes them, a bounded number with each step.
//!
//! What must stay true: the caller settles a position only when all items that have it are saved; and it gives out, of what
//! [`Dict::scan`](crate::dict::Dict::scan) visits, exactly the covered ones.

use std::collections::BTreeSet;

/// A cursor is a position without its lowest bits.
const CURSOR_SHIFT: u32 = 8;
/// Settled positions that a step forgets at most: some microseconds.
const FORGOTTEN_PER_STEP: usize = 64;
/// What a position takes in a [`BTreeSet`], about: nodes are two thirds full.
const SETTLED_BYTES: usize = 16;

/// How far a snapshot of a table has come, see the [module](self).
#[derive(Debug, Default)]
pub struct SnapshotWalk {
    /// Everything below is given out; what has no higher positions either once `is_walked`.
    passed: u64,
    is_walked: bool,
    /// Settled positions; some below `passed` that are still to be forgotten.
    settled: BTreeSet<u64>,
}

impl SnapshotWalk {
    /// Nothing is given out, nothing settled.
    pub fn new() -> SnapshotWalk {
        SnapshotWalk::default()
    }

    /// The cursor with which the walk goes on, as long as it is not walked.
    pub fn cursor(&self) -> u64 {
        self.passed >> CURSOR_SHIFT
    }

    /// Whether items with this position must be saved before one of them is changed or removed, or one is added to them;
    /// and whether one that the walk comes by is to be given out. O(log n) of what is settled.
    #[inline]
    pub fn covers(&self, position: u64) -> bool {
        position >= self.passed && !self.is_walked && !self.settled.contains(&position)
    }

    /// Notes that all items with this position are saved, or that there were none. Says whether the position was covered:
    /// the same as [`SnapshotWalk::covers`] before, in one search.
    #[inline]
    pub fn settle(&mut self, position: u64) -> bool {
        position >= self.passed && !self.is_walked && self.settled.insert(position)
    }

    /// Whether a position ahead of the walk was settled.
    pub fn is_settled(&self, position: u64) -> bool {
        position >= self.passed && !self.is_walked && self.settled.contains(&position)
    }

    /// The walk has given out everything before `cursor`, which is what the scan returned: 0 at the end.
    pub fn advance_to(&mut self, cursor: u64) {
        if cursor == 0 {
            self.is_walked = true;
        } else {
            self.passed = self.passed.max(cursor << CURSOR_SHIFT);
        }
        for _ in 0..FORGOTTEN_PER_STEP {
            match self.settled.first() {
                Some(&first) if self.is_walked || first < self.passed => self.settled.pop_first(),
                _ => return,
            };
        }
    }

    /// Whether the walk has come to the end of the table. Nothing is covered any more.
    pub fn is_walked(&self) -> bool {
        self.is_walked
    }

    /// Whether the walk is at its end and all settled positions are forgotten, so that dropping it costs nothing. Until then
    /// `advance_to(0)` goes on forgetting.
    pub fn is_over(&self) -> bool {
        self.is_walked && self.settled.is_empty()
    }

    /// Bytes on the heap, about. O(1).
    pub fn memory_bytes(&self) -> usize {
        self.settled.len() * SETTLED_BYTES
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::keyspace::{ExpireChange, KeyHasher, Keyspace, NewStr};
    use crate::testing::Rng;

    #[test]
    fn a_position_is_covered_until_it_is_settled_or_passed() {
        let mut walk = SnapshotWalk::new();
        let high = u64::MAX;
        assert!(walk.covers(0) && walk.covers(high));
        assert!(walk.settle(0) && !walk.settle(0) && walk.is_settled(0));
        assert!(walk.settle(high) && !walk.covers(high) && walk.covers(high - 1));
        walk.advance_to(5);
        assert_eq!(walk.cursor(), 5);
        assert!(!walk.covers((5 << 8) - 1) && walk.covers(5 << 8) && !walk.is_settled(0) && walk.is_settled(high));
        walk.advance_to(0);
        assert!(walk.is_over() && !walk.covers(high - 1) && !walk.settle(high - 1) && !walk.is_settled(high));
        assert_eq!(walk.memory_bytes(), 0);
    }

    #[test]
    fn what_is_settled_is_forgotten_a_bounded_number_at_a_time() {
        let mut walk = SnapshotWalk::new();
        for position in 0..1_000 {
            walk.settle(position);
        }
        walk.advance_to(1 << 30);
        assert_eq!(walk.settled.len(), 1_000 - FORGOTTEN_PER_STEP);
        assert!(!walk.covers(999) && !walk.is_settled(999));
        let mut steps = 0;
        while !walk.is_over() {
            walk.advance_to(0);
            steps += 1;
        }
        assert_eq!(steps, 1_000_usize.div_ceil(FORGOTTEN_PER_STEP) - 1);
    }

    fn saved(keys: &Keyspace, walk: &mut SnapshotWalk, position: u64, given: &mut Vec<(Vec<u8>, String)>) {
        if walk.settle(position) {
            keys.find_by_position(position, &mut |entry| {
                given.push((entry.key().to_vec(), format!("{:?}", entry.value())))
            });
        }
    }

    #[test]
    fn a_keyspace_that_changes_is_given_as_it_was() {
        for seed in 0..20 {
            let mut rng = Rng::new(seed);
            let mut keys = Keyspace::new(KeyHasher::new(seed));
            let names = 10 << rng.below(12);
            let set = |keys: &mut Keyspace, name: &[u8], value: usize| {
                let position = keys.position(name);
                let value = NewStr::Int(value as i64);
                keys.upsert(position, name, value, ExpireChange::Keep, |_| 0);
            };
            for number in 0..names {
                set(&mut keys, format!("k{number}").as_bytes(), number);
            }
            let model: HashMap<_, _> =
                keys.iter().map(|entry| (entry.key().to_vec(), format!("{:?}", entry.value()))).collect();
            let (mut walk, mut given) = (SnapshotWalk::new(), Vec::new());
            let grows = rng.below(2) == 0;
            let mut added = names;
            while !walk.is_over() {
                for _ in 0..rng.below(40) {
                    let number = rng.below(names);
                    let is_removed = rng.below(3) > 0 && !grows;
                    let is_added = rng.below(3) > 0 && grows;
                    added += usize::from(is_added);
                    let name = format!("k{}", if is_added { added } else { number }).into_bytes();
                    let position = keys.position(&name);
                    saved(&keys, &mut walk, position, &mut given);
                    if is_removed {
                        if let Some(entry) = keys.get_mut(position, &name) {
                            drop(entry.remove());
                        }
                    } else {
                        set(&mut keys, &name, rng.below(1_000_000));
                    }
                }
                for _ in 0..rng.below(4) {
                    let next = keys.scan(walk.cursor(), &mut |entry| {
                        if walk.covers(keys.position(entry.key())) {
                            given.push((entry.key().to_vec(), format!("{:?}", entry.value())));
                        }
                    });
                    walk.advance_to(if walk.is_walked() { 0 } else { next });
                }
            }
            assert_eq!(given.len(), model.len());
            assert_eq!(given.into_iter().collect::<HashMap<_, _>>(), model, "seed {seed}");
        }
    }
}
