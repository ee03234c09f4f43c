//! Sorted sets in both forms against a plain sorted list.

use std::ops::Range;

use super::*;
use crate::keyspace::{KeyHasher, Keyspace, NewValue};
use crate::testing::Rng;
use crate::value::PackedKind;

const KEY: &[u8] = b"zset";

struct Model {
    keyspace: Keyspace,
    limits: ZsetLimits,
    rows: Vec<(f64, Vec<u8>)>,
}

impl Model {
    fn new(limits: ZsetLimits) -> Model {
        Model { keyspace: Keyspace::new(KeyHasher::new(9)), limits, rows: Vec::new() }
    }

    fn change<T>(&mut self, change: impl FnOnce(&mut ZsetMut<'_, '_>) -> T) -> T {
        let position = self.keyspace.position(KEY);
        let (mut entry, _) =
            self.keyspace.get_or_insert(position, KEY, || (NewValue::Packed(PackedKind::Zset, &[]), 0));
        change(&mut ZsetMut::of(&mut entry, self.limits).expect("a sorted set"))
    }

    fn look<T>(&mut self, look: impl FnOnce(ZsetRef<'_>, &[(f64, Vec<u8>)]) -> T) -> T {
        let rows = std::mem::take(&mut self.rows);
        let result = self.change(|zset| look(zset.as_ref(), &rows));
        self.rows = rows;
        result
    }

    fn find(&self, member: &[u8]) -> Option<usize> {
        self.rows.iter().position(|row| row.1 == member)
    }

    fn put(&mut self, score: f64, member: &[u8]) {
        let at = self.rows.partition_point(|row| (row.0, row.1.as_slice()) < (score, member));
        self.rows.insert(at, (score, member.to_vec()));
    }

    fn add(&mut self, member: &[u8], score: f64, rule: AddRule) {
        let added = self.change(|zset| zset.add(member, score, rule));
        let old = self.find(member);
        let expected = match old.map(|at| self.rows[at].0) {
            None if rule.only_present => Added::Refused,
            None => Added::New(score),
            Some(_) if rule.only_new => Added::Refused,
            Some(old) => {
                let new = if rule.increment { old + score } else { score };
                match () {
                    () if new.is_nan() => Added::NotANumber,
                    () if rule.only_higher && new <= old || rule.only_lower && new >= old => Added::Refused,
                    () if new == old => Added::Same(new),
                    () => Added::Changed(new),
                }
            }
        };
        assert_eq!(added, expected);
        if let Added::New(new) | Added::Changed(new) = expected {
            if let Some(at) = old {
                self.rows.remove(at);
            }
            self.put(new, member);
        }
    }

    fn compare(&mut self) {
        self.look(|zset, rows| {
            assert_eq!(zset.len(), rows.len() as u64);
            assert_eq!(list(zset, 0..zset.len(), false), rows);
            let mut reversed = rows.to_vec();
            reversed.reverse();
            assert_eq!(list(zset, 0..u64::MAX, true), reversed);
            if let ZsetRef::Big(big) = zset {
                big.check();
                let copy = big.clone();
                copy.check();
                assert!(copy.iter_from(0).eq(big.iter_from(0)));
            }
        });
    }
}

fn list(zset: ZsetRef<'_>, ranks: Range<u64>, backwards: bool) -> Vec<(f64, Vec<u8>)> {
    let mut found = Vec::new();
    let visit = |member: &[u8], score: f64| found.push((score, member.to_vec()));
    if backwards {
        zset.walk_back(ranks, visit)
    } else {
        zset.walk(ranks, visit)
    }
    found
}

fn score(rng: &mut Rng, kind: usize) -> f64 {
    match kind {
        0 => 0.0,
        1 => rng.below(5) as f64,
        2 => rng.below(1000) as f64 * 0.25 - 50.0,
        _ => [f64::INFINITY, f64::NEG_INFINITY, -0.0, 1e300, 0.1, 5e-324][rng.below(6)],
    }
}

fn member(rng: &mut Rng, many: usize) -> Vec<u8> {
    let number = rng.below(many);
    if number.is_multiple_of(3) { number.to_string().into_bytes() } else { format!("m{number}").into_bytes() }
}

#[test]
fn agrees_with_a_sorted_list_in_both_forms() {
    for (entries, many, steps) in [(128, 60, 4_000), (10, 60, 4_000), (0, 600, 6_000), (100_000, 300, 3_000)] {
        for kind in 0..4 {
            let mut rng = Rng::new(kind as u64 + 1);
            let mut model = Model::new(ZsetLimits { entries, value_bytes: 64 });
            for step in 0..steps {
                let name = member(&mut rng, many);
                match rng.below(20) {
                    0..9 => {
                        let score = score(&mut rng, kind);
                        model.add(&name, score, AddRule::default());
                    }
                    9..12 => {
                        let mut chance = || rng.below(4) == 0;
                        let rule = AddRule {
                            only_new: chance(),
                            only_present: chance(),
                            only_higher: chance(),
                            only_lower: chance(),
                            increment: chance(),
                        };
                        let score = score(&mut rng, kind);
                        model.add(&name, score, rule);
                    }
                    12..15 => {
                        let removed = model.change(|zset| zset.remove(&name));
                        let at = model.find(&name);
                        assert_eq!(removed, at.is_some());
                        at.map(|at| model.rows.remove(at));
                    }
                    15 => {
                        let start = rng.below(model.rows.len() + 1);
                        let end = start + rng.below(6);
                        let mut seen = Vec::new();
                        model.change(|zset| {
                            zset.remove_ranks(start as u64..end as u64, |member, score| {
                                seen.push((score, member.to_vec()));
                            });
                        });
                        let end = end.min(model.rows.len());
                        assert_eq!(seen, model.rows.drain(start..end).collect::<Vec<_>>());
                    }
                    16 => {
                        let range = ScoreRange {
                            min: score(&mut rng, kind),
                            max: score(&mut rng, kind),
                            min_exclusive: rng.below(2) == 0,
                            max_exclusive: rng.below(2) == 0,
                        };
                        model.look(|zset, rows| {
                            let start = rows.partition_point(|row| range.is_before(row.0)) as u64;
                            let end = rows.partition_point(|row| range.is_not_behind(row.0)) as u64;
                            assert_eq!(zset.score_ranks(&range), start..end.max(start));
                        });
                    }
                    17 if kind == 0 => {
                        let (low, high) = (member(&mut rng, many), member(&mut rng, many));
                        let (min, max) = match rng.below(3) {
                            0 => (LexBound::Lowest, LexBound::Excluding(&high)),
                            1 => (LexBound::Including(&low), LexBound::Highest),
                            _ => (LexBound::Excluding(&low), LexBound::Including(&high)),
                        };
                        let range = LexRange { min, max };
                        model.look(|zset, rows| {
                            let start = rows.partition_point(|row| range.is_before(&row.1)) as u64;
                            let end = rows.partition_point(|row| range.is_not_behind(&row.1)) as u64;
                            assert_eq!(zset.lex_ranks(&range), start..end.max(start));
                        });
                    }
                    _ => model.look(|zset, rows| {
                        let at = rows.iter().position(|row| row.1 == name);
                        assert_eq!(zset.rank(&name), at.map(|at| (at as u64, rows[at].0)));
                        assert_eq!(zset.score(&name), at.map(|at| rows[at].0));
                        let start = rows.len() / 3;
                        let end = (start + 7).min(rows.len());
                        assert_eq!(list(zset, start as u64..end as u64, false), &rows[start..end]);
                        let at = zset.at(start as u64, |member, score| (score, member.to_vec()));
                        assert_eq!(at.as_ref(), rows.get(start));
                    }),
                }
                if step % 97 == 0 {
                    model.compare();
                }
            }
            model.compare();
            model.look(|zset, rows| {
                let (mut cursor, mut found) = (0, Vec::new());
                loop {
                    cursor = zset.scan(cursor, &mut |member, score| found.push((score, member.to_vec())));
                    if cursor == 0 {
                        break;
                    }
                }
                found.sort_by(|a, b| a.partial_cmp(b).expect("no score is NaN"));
                assert_eq!(found, rows);
            });
        }
    }
}

#[test]
fn becomes_a_table_exactly_when_a_limit_is_passed() {
    let limits = ZsetLimits { entries: 3, value_bytes: 4 };
    let is_big = |model: &mut Model| model.look(|zset, _| matches!(zset, ZsetRef::Big(_)));
    let mut model = Model::new(limits);
    for name in ["a", "b", "cccc"] {
        model.add(name.as_bytes(), 1.0, AddRule::default());
        assert!(!is_big(&mut model));
    }
    model.add(b"a", 2.0, AddRule::default());
    assert!(!is_big(&mut model));
    model.add(b"d", 1.0, AddRule::default());
    assert!(is_big(&mut model));
    model.compare();
    let mut model = Model::new(limits);
    model.add(b"five!", 1.0, AddRule { only_present: true, ..AddRule::default() });
    assert!(!is_big(&mut model));
    model.add(b"five!", 1.0, AddRule::default());
    assert!(is_big(&mut model));
}

#[test]
fn is_filled_in_the_form_that_suits_what_it_gets() {
    for (count, longest, is_big) in [(3, 4, false), (4, 4, true), (3, 5, true), (0, 0, false), (1000, 4, true)] {
        let mut model = Model::new(ZsetLimits { entries: 3, value_bytes: 4 });
        let rows: Vec<(f64, Vec<u8>)> =
            (0..count).map(|i: i32| (f64::from(i) / 2.0, i.to_string().into_bytes())).collect();
        model.change(|zset| zset.fill(rows.iter().map(|row| (row.1.as_slice(), row.0)), longest));
        model.rows = rows;
        model.compare();
        assert_eq!(model.look(|zset, _| matches!(zset, ZsetRef::Big(_))), is_big);
    }
}
