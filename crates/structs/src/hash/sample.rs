//! Fields by chance, each as likely as the others.
//!
//! Of a table a field is picked in constant time, expired ones among them, which are thrown away and picked again. Where
//! most have expired, or many fields are wanted, walking all of them is cheaper than guessing.

use std::collections::HashSet;

use super::deadlines::deadline_of;
use super::face::{HashRef, elements};
use crate::members::MemberRef;
use crate::packed::Element;

impl<'a> HashRef<'a> {
    /// One field with its value.
    pub fn random(self, now_ms: i64, rng: &mut dyn FnMut() -> u64) -> Option<(Element<'a>, Element<'a>)> {
        let mut picked = None;
        self.random_repeated(1, now_ms, rng, |field, value| picked = Some((field, value)));
        picked
    }

    /// Gives `count` fields to `visit`, perhaps some of them more than once; none if there is no field. Memory in
    /// proportion to the number of fields, not to `count`.
    pub fn random_repeated(
        self,
        count: usize,
        now_ms: i64,
        rng: &mut dyn FnMut() -> u64,
        mut visit: impl FnMut(Element<'a>, Element<'a>),
    ) {
        let len = self.live_len(now_ms);
        if len == 0 {
            return;
        }
        match self {
            HashRef::Packed(packed) if count == 1 => {
                let field = packed.nth(2 * below(rng, len));
                if let Some((field, value)) = field.and_then(|field| Some((field, packed.at(field.end)?))) {
                    visit(field.element, value.element);
                }
            }
            HashRef::Table(hash) if 2 * len > hash.len() => {
                let mut left = count;
                while left > 0
                    && let Some(member) = hash.random(rng)
                {
                    if deadline_of(member).is_none_or(|at_ms| at_ms > now_ms) {
                        let (field, value) = elements(member);
                        visit(field, value);
                        left -= 1;
                    }
                }
            }
            _ => {
                let mut all = Vec::with_capacity(len);
                self.for_each(now_ms, |field, value| all.push((field, value)));
                for _ in 0..count {
                    let (field, value) = all[below(rng, all.len())];
                    visit(field, value);
                }
            }
        }
    }

    /// Gives `count` different fields to `visit`, or all if there are not so many; every choice of so many fields is as
    /// likely as any other, but their order is no surprise.
    pub fn random_distinct(
        self,
        count: usize,
        now_ms: i64,
        rng: &mut dyn FnMut() -> u64,
        mut visit: impl FnMut(Element<'a>, Element<'a>),
    ) {
        let mut left = self.live_len(now_ms);
        let mut wanted = count.min(left);
        match self {
            HashRef::Table(hash) if wanted < left / 3 && 2 * left > hash.len() => {
                let mut taken = HashSet::with_capacity(wanted);
                while wanted > 0
                    && let Some(member) = hash.random(rng)
                {
                    let is_live = deadline_of(member).is_none_or(|at_ms| at_ms > now_ms);
                    if is_live && taken.insert(MemberRef::ptr(member)) {
                        let (field, value) = elements(member);
                        visit(field, value);
                        wanted -= 1;
                    }
                }
            }
            // Each of those left is taken with the probability that it is among those wanted.
            _ => self.for_each(now_ms, |field, value| {
                if wanted == left || wanted > 0 && below(rng, left) < wanted {
                    visit(field, value);
                    wanted -= 1;
                }
                left -= 1;
            }),
        }
    }
}

/// A number below `limit`, which is not zero.
fn below(rng: &mut dyn FnMut() -> u64, limit: usize) -> usize {
    ((u128::from(rng()) * limit as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::super::table::{FieldDeadline, Hash};
    use super::*;
    use crate::keyspace::KeyHasher;
    use crate::packed::{self, Encoded, Packed};
    use crate::testing;

    const NOW_MS: i64 = 1_000;

    fn packed_hash(fields: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for field in 0..fields as i64 {
            packed::push(&mut bytes, &[Encoded::int(field), Encoded::int(-field)]);
        }
        bytes
    }

    /// A table of so many fields that have not expired, and so many that have.
    fn table(live: usize, expired: usize) -> Hash {
        let mut hash = Hash::new(KeyHasher::new(3));
        for field in 0..live + expired {
            let deadline = match field {
                _ if field >= live => FieldDeadline::At(NOW_MS - (field % 7) as i64),
                _ if field % 3 == 0 => FieldDeadline::At(NOW_MS + 1),
                _ => FieldDeadline::Clear,
            };
            let name = field.to_string().into_bytes();
            hash.set(hash.position(&name), &name, format!("-{field}").as_bytes(), deadline, NOW_MS);
        }
        hash
    }

    /// Picks often in every way, and holds the number of times that each field came against an even spread.
    fn is_fair(hash: HashRef<'_>, live: usize) {
        let mut rng = testing::Rng::new(5);
        let mut rng = || rng.next();
        let picks = 200 * live;
        for way in 0..4 {
            let mut counts = BTreeMap::<i64, f64>::new();
            let mut picked = 0;
            let mut note = |field: Element<'_>, value: Element<'_>| {
                let number = field.as_i64().expect("a number");
                assert_eq!(
                    *value.text(),
                    *if number == 0 && value.as_i64().is_some() { "0".into() } else { format!("-{number}") }
                        .into_bytes()
                );
                *counts.entry(number).or_default() += 1.0;
                picked += 1;
            };
            match way {
                0 => (0..picks).for_each(|_| {
                    let (field, value) = hash.random(NOW_MS, &mut rng).expect("there are fields");
                    note(field, value);
                }),
                1 => hash.random_repeated(picks, NOW_MS, &mut rng, note),
                way => {
                    let count = if way == 2 { live / 5 } else { live / 2 };
                    for _ in 0..picks / count {
                        let mut seen = BTreeSet::new();
                        hash.random_distinct(count, NOW_MS, &mut rng, |field, value| {
                            assert!(seen.insert(field.as_i64()));
                            note(field, value);
                        });
                        assert_eq!(seen.len(), count);
                    }
                }
            }
            let expected = f64::from(picked) / live as f64;
            let chi_square: f64 = (0..live as i64)
                .map(|field| (counts.get(&field).copied().unwrap_or_default() - expected).powi(2))
                .sum::<f64>()
                / expected;
            // The sum has a mean of the degrees of freedom and a variance of twice that: five deviations are never passed.
            let freedom = (live - 1) as f64;
            assert!(counts.keys().all(|&field| field < live as i64));
            assert!(chi_square < freedom + 5.0 * (2.0 * freedom).sqrt(), "{chi_square} of {freedom} in way {way}");
        }
    }

    #[test]
    fn every_field_is_as_likely_as_the_others() {
        let bytes = packed_hash(60);
        is_fair(HashRef::Packed(Packed::new(&bytes)), 60);
        is_fair(HashRef::Table(&table(60, 0)), 60);
        is_fair(HashRef::Table(&table(300, 100)), 300);
        is_fair(HashRef::Table(&table(100, 300)), 100);
    }

    #[test]
    fn more_than_there_are_is_all_and_nothing_comes_of_nothing() {
        let mut rng = || 0;
        for (hash, live) in [(table(10, 0), 10), (table(10, 30), 10), (table(0, 10), 0)] {
            let hash = HashRef::Table(&hash);
            let mut seen = BTreeSet::new();
            hash.random_distinct(usize::MAX, NOW_MS, &mut rng, |field, _| {
                seen.insert(field.as_i64());
            });
            assert_eq!(seen.len(), live);
            assert_eq!(hash.random(NOW_MS, &mut rng).is_some(), live > 0);
            hash.random_distinct(0, NOW_MS, &mut rng, |_, _| unreachable!("none is wanted"));
        }
        assert!(HashRef::Packed(Packed::new(&[])).random(NOW_MS, &mut rng).is_none());
    }
}
