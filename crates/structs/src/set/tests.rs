//! Sets in every form against ordered sets of `std`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use super::*;
use crate::keyspace::{KeyHasher, Keyspace, NewValue};
use crate::packed::Element;
use crate::testing::Rng;
use crate::value::PackedKind;

const LIMITS: SetLimits = SetLimits { ints_max: 512, packed_max: 128, packed_len_max: 64 };

fn hasher() -> KeyHasher {
    KeyHasher::new(7)
}

fn encoding(set: SetRef<'_>) -> &'static str {
    match set {
        SetRef::Ints(_) => "intset",
        SetRef::Packed(_) => "listpack",
        SetRef::Big(_) => "hashtable",
    }
}

fn members(set: SetRef<'_>) -> BTreeSet<Vec<u8>> {
    let listed: Vec<Vec<u8>> = set.iter().map(|member| member.text().to_vec()).collect();
    let distinct: BTreeSet<Vec<u8>> = listed.iter().cloned().collect();
    assert_eq!(listed.len(), distinct.len());
    assert_eq!(listed.len(), set.len());
    distinct
}

fn ints(range: std::ops::Range<i64>) -> Vec<Vec<u8>> {
    range.map(|number| number.to_string().into_bytes()).collect()
}

fn words(range: std::ops::Range<i64>) -> Vec<Vec<u8>> {
    range.map(|number| format!("m{number}").into_bytes()).collect()
}

/// As SADD with these members does.
fn add_all(set: &mut OwnedSet, new: &[Vec<u8>], limits: &SetLimits) -> usize {
    let first = new.first().map_or(&[][..], Vec::as_slice);
    SetMut::new(set, limits).add_all(first, new.len(), new.iter().map(Vec::as_slice))
}

fn set_of(members: &[Vec<u8>]) -> OwnedSet {
    let mut set = OwnedSet::new(&hasher());
    add_all(&mut set, members, &LIMITS);
    set
}

#[test]
fn forms_follow_the_limits_as_those_of_the_reference_servers() {
    let long = |len: usize| vec![vec![b'x'; len]];
    let same = |member: &str, count: usize| vec![member.as_bytes().to_vec(); count];
    let join = |a: Vec<Vec<u8>>, b: Vec<Vec<u8>>| [a, b].concat();
    for (name, calls, expected) in [
        ("512 integers", vec![ints(0..512)], "intset"),
        ("513 integers", vec![ints(0..513)], "hashtable"),
        ("one integer more", vec![ints(0..512), ints(600..601)], "hashtable"),
        ("the same integer 600 times", vec![same("1", 600)], "hashtable"),
        ("the same integer 600 times to others", vec![ints(0..10), same("1", 600)], "hashtable"),
        ("the same word 129 times to integers", vec![ints(0..10), same("x", 129)], "listpack"),
        ("up to 128 words to integers", vec![ints(0..10), words(0..118)], "listpack"),
        ("one word too many to integers", vec![ints(0..10), words(0..119)], "hashtable"),
        ("a word to 127 integers", vec![ints(0..127), words(0..1)], "listpack"),
        ("a word to 128 integers", vec![ints(0..128), words(0..1)], "hashtable"),
        ("64 bytes", vec![join(ints(0..1), long(64))], "listpack"),
        ("65 bytes", vec![join(ints(0..1), long(65))], "hashtable"),
        ("the same word 129 times", vec![same("a", 129)], "hashtable"),
        ("the same word 128 times to words", vec![words(0..1), same("a", 128)], "listpack"),
        ("the same word 129 times to words", vec![words(0..1), same("a", 129)], "hashtable"),
        ("an integer to 128 words", vec![words(0..128), ints(0..1)], "hashtable"),
        ("an integer and 128 words", vec![join(ints(0..1), words(0..128))], "hashtable"),
        ("an integer and 126 words", vec![join(ints(0..1), words(0..126))], "listpack"),
    ] {
        let mut set = OwnedSet::new(&hasher());
        let mut expected_members = BTreeSet::new();
        for call in &calls {
            let before = expected_members.len();
            expected_members.extend(call.iter().cloned());
            assert_eq!(add_all(&mut set, call, &LIMITS), expected_members.len() - before, "{name}");
        }
        assert_eq!(encoding(set.set()), expected, "{name}");
        assert_eq!(members(set.set()), expected_members, "{name}");
    }
}

#[test]
fn other_limits_and_integers_longer_than_a_packed_member_may_be() {
    let few = |ints_max, packed_max, packed_len_max| SetLimits { ints_max, packed_max, packed_len_max };
    for (limits, calls, expected) in [
        (few(0, 128, 64), vec![ints(1..2)], "listpack"),
        (few(0, 128, 64), vec![ints(0..129)], "hashtable"),
        (few(512, 0, 64), vec![words(0..1)], "hashtable"),
        (few(512, 0, 64), vec![ints(1..2)], "intset"),
        (few(512, 0, 64), vec![ints(1..2), words(0..1)], "hashtable"),
        (few(512, 128, 0), vec![vec![vec![]]], "listpack"),
        (few(512, 128, 0), vec![vec![b"a".to_vec()]], "hashtable"),
        (few(512, 128, 2), vec![ints(100..101), vec![b"a".to_vec()]], "hashtable"),
        (few(512, 128, 2), vec![ints(-10..-9), vec![b"a".to_vec()]], "hashtable"),
        (few(512, 128, 2), vec![ints(10..11), vec![b"a".to_vec()]], "listpack"),
        (few(512, 128, 2), vec![vec![b"a".to_vec()], ints(100..101)], "hashtable"),
    ] {
        let mut set = OwnedSet::new(&hasher());
        let mut expected_members = BTreeSet::new();
        for call in &calls {
            add_all(&mut set, call, &limits);
            expected_members.extend(call.iter().cloned());
        }
        assert_eq!(encoding(set.set()), expected, "{limits:?} {calls:?}");
        assert_eq!(members(set.set()), expected_members);
    }
}

#[test]
fn limits_know_what_they_would_keep_small() {
    for (members, small) in [
        (ints(0..512), true),
        (ints(0..513), false),
        (words(0..128), true),
        (words(0..129), false),
        (vec![vec![b'x'; 64]], true),
        (vec![vec![b'x'; 65]], false),
    ] {
        let mut big = OwnedSet::new(&hasher());
        add_all(&mut big, &members, &LIMITS);
        SetMut::new(&mut big, &LIMITS).make_big();
        assert_eq!(encoding(big.set()), "hashtable");
        assert_eq!(LIMITS.keep_small(big.set()), small);
        assert_eq!(LIMITS.keep_small(set_of(&members).set()), small);
    }
}

/// A member of one of several kinds: such that sets stay small, become packed, or big.
fn any_member(rng: &mut Rng, kind: usize) -> Vec<u8> {
    match kind {
        0 => (rng.below(900) as i64 - 450).to_string().into_bytes(),
        1 => format!("w{}", rng.below(60)).into_bytes(),
        2 => match rng.below(4) {
            0 => (rng.next() as i64 >> rng.below(60)).to_string().into_bytes(),
            1 => vec![b'y'; rng.below(70)],
            _ => format!("v{}", rng.below(90)).into_bytes(),
        },
        _ => rng.below(3_000).to_string().into_bytes(),
    }
}

#[test]
fn agrees_with_an_ordered_set_in_an_entry_of_a_keyspace() {
    for seed in 0..12 {
        let mut rng = Rng::new(seed);
        let mut keys = Keyspace::new(hasher());
        let (key, kind) = (b"a key".as_slice(), seed as usize % 4);
        let position = keys.position(key);
        keys.insert(position, key, NewValue::Packed(PackedKind::SetInts, &[]), None, 0);
        let mut model = BTreeSet::new();
        for step in 0..4_000 {
            let mut entry = keys.get_mut(position, key).unwrap();
            let mut random = Rng::new(rng.next());
            let mut random = || random.next();
            let mut set = SetMut::of(&mut entry, &LIMITS).unwrap();
            let member = any_member(&mut rng, kind);
            match rng.below(if step % 1_000 < 700 { 12 } else { 6 }) {
                0 if rng.below(4) == 0 => {
                    let many: Vec<Vec<u8>> = (0..rng.below(50)).map(|_| any_member(&mut rng, kind)).collect();
                    let expected = many.iter().filter(|member| model.remove(*member)).count();
                    assert_eq!(set.remove_all(many.iter().map(Vec::as_slice)), expected);
                }
                0..3 => assert_eq!(set.remove(&member), model.remove(&member)),
                3 => {
                    let mut popped = Vec::new();
                    let some = set.pop(&mut random, &mut |member| popped.push(member.text().to_vec()));
                    assert_eq!(some, !model.is_empty());
                    assert_eq!(popped.len(), usize::from(some));
                    popped.iter().for_each(|member| assert!(model.remove(member)));
                }
                4 if rng.below(8) == 0 => {
                    let (count, mut popped) = (rng.below(model.len() * 2 + 1), Vec::new());
                    drop(set.pop_several(count, &mut random, &mut |member| popped.push(member.text().to_vec())));
                    assert_eq!(popped.len(), count.min(model.len()));
                    popped.iter().for_each(|member| assert!(model.remove(member)));
                }
                5 => {
                    let many: Vec<Vec<u8>> = (0..1 + rng.below(40)).map(|_| any_member(&mut rng, kind)).collect();
                    let before = model.len();
                    model.extend(many.iter().cloned());
                    let added = set.add_all(&many[0], many.len(), many.iter().map(Vec::as_slice));
                    assert_eq!(added, model.len() - before);
                }
                _ => assert_eq!(set.add(&member), model.insert(member.clone())),
            }
            assert_eq!(set.len(), model.len());
            assert_eq!(set.is_empty(), model.is_empty());
            assert_eq!(set.as_ref().contains(&member), model.contains(&member));
            if step % 400 == 0 {
                assert_eq!(members(set.as_ref()), model);
                let mut scanned = BTreeSet::new();
                let mut cursor = 0;
                loop {
                    cursor = set.as_ref().scan(cursor, &mut |member| {
                        scanned.insert(member.text().to_vec());
                    });
                    if cursor == 0 {
                        break;
                    }
                }
                assert_eq!(scanned, model);
                keys.check();
            }
        }
        let copy = keys.get(position, key).unwrap().copy_value();
        drop(keys.get_mut(position, key).unwrap().remove());
        let mut others = Keyspace::new(hasher());
        others.insert_taken(position, key, copy, 0);
        assert_eq!(members(SetRef::of(others.get(position, key).unwrap()).unwrap()), model);
    }
}

#[test]
fn a_member_is_located_where_the_walk_meets_it() {
    for members in [ints(0..100), words(0..100), words(0..1_000)] {
        let set = set_of(&members);
        let (view, mut seen) = (set.set(), BTreeSet::new());
        let mut walk = view.iter();
        while let Some((at, member)) = walk.next_located() {
            assert!(seen.insert(at));
            let text = member.text();
            assert_eq!(view.locate(&Probe::new(Element::Bytes(&text), view.members())), Some(at));
        }
        assert_eq!(seen.len(), members.len());
        assert_eq!(view.locate(&Probe::new(Element::Bytes(b"absent"), view.members())), None);
        assert_eq!(view.locate(&Probe::new(Element::Int(-5), view.members())), None);
    }
}

/// What an operation gives, each member once; and that it ends when it is told to.
fn collect<'s>(run: &dyn for<'e> Fn(Emit<'e, 's>)) -> BTreeSet<Vec<u8>> {
    let mut listed = Vec::new();
    run(&mut |member| {
        listed.push(member.text().to_vec());
        ControlFlow::Continue(())
    });
    let distinct: BTreeSet<Vec<u8>> = listed.iter().cloned().collect();
    assert_eq!(distinct.len(), listed.len());
    let mut first_two = 0;
    run(&mut |_| {
        first_two += 1;
        if first_two == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(first_two, listed.len().min(2));
    distinct
}

#[test]
fn operations_on_several_sets_agree_with_ordered_sets() {
    let mut rng = Rng::new(3);
    for round in 0..300 {
        let count = if round % 20 == 0 { 12 } else { 1 + rng.below(5) };
        let models: Vec<BTreeSet<Vec<u8>>> = (0..count)
            .map(|_| {
                let (kind, len) = (rng.below(4), [5, 60, 1_500][rng.below(3)]);
                (0..rng.below(len)).map(|_| any_member(&mut rng, kind)).collect()
            })
            .collect();
        let sets: Vec<OwnedSet> = models.iter().map(|model| set_of(&Vec::from_iter(model.iter().cloned()))).collect();
        let views = || sets.iter().map(SetPlace::set).collect::<Vec<_>>();
        let in_all = models[0].iter().filter(|member| models.iter().all(|model| model.contains(*member)));
        assert_eq!(collect(&|emit| intersection(&mut views(), emit)), in_all.cloned().collect());
        let in_any = models.iter().flatten().cloned().collect();
        assert_eq!(collect(&|emit| union(&mut views(), &hasher(), &LIMITS, emit)), in_any);
        let only = models[0].iter().filter(|member| !models[1..].iter().any(|model| model.contains(*member)));
        assert_eq!(collect(&|emit| difference(views()[0], &mut views()[1..], emit)), only.cloned().collect());
    }
}

#[test]
fn the_difference_takes_the_cheaper_way() {
    let (large, small) = (set_of(&words(0..1_000)), set_of(&words(0..100)));
    let (large, small) = (large.set(), small.set());
    assert_eq!(Difference::cheaper(large, &[small]), Difference::AskOthers);
    assert_eq!(Difference::cheaper(large, &[small, small, small]), Difference::MarkFirst);
    assert_eq!(Difference::cheaper(small, &[large, large, large, large]), Difference::AskOthers);
}

/// Whether counts of equally likely things are what chance makes of them: within five standard deviations of chi-square.
fn is_even(counts: &BTreeMap<Vec<u8>, u32>, kinds: usize) -> bool {
    let total: u32 = counts.values().sum();
    let expected = f64::from(total) / kinds as f64;
    let missing = (kinds - counts.len()) as f64 * expected;
    let chi_square = missing + counts.values().map(|&n| (f64::from(n) - expected).powi(2) / expected).sum::<f64>();
    let freedom = (kinds - 1) as f64;
    counts.len() <= kinds && (chi_square - freedom).abs() < 5.0 * (2.0 * freedom).sqrt()
}

#[test]
fn every_member_and_every_pair_has_the_same_chance() {
    for list in [ints(0..50), words(0..50), words(0..200)] {
        let set = set_of(&list);
        let (set, len) = (set.set(), list.len());
        let mut rng = Rng::new(17);
        let mut rng = || rng.next();
        let (mut one, mut repeated, mut pairs) = Default::default();
        let count =
            |counts: &mut BTreeMap<Vec<u8>, u32>, member: &[u8]| *counts.entry(member.to_vec()).or_default() += 1;
        for _ in 0..400 * len {
            count(&mut one, &set.random(&mut rng).unwrap().text());
        }
        set.random_repeated(400 * len, &mut rng, &mut |member| count(&mut repeated, &member.text()));
        assert!(is_even(&one, len) && is_even(&repeated, len));
        for wanted in [1, 2, len / 4, len / 2, len - 1] {
            let mut several = BTreeMap::new();
            for _ in 0..20_000 / wanted {
                let mut taken = BTreeSet::new();
                set.random_distinct(wanted, &mut rng, &mut |member| {
                    count(&mut several, &member.text());
                    assert!(taken.insert(member.text().to_vec()));
                });
                assert_eq!(taken.len(), wanted);
            }
            // Drawing without putting back makes counts more even than chance would, never less.
            let share = f64::from(several.values().sum::<u32>()) / len as f64;
            assert!(several.values().all(|&n| (f64::from(n) - share).abs() < 6.0 * share.sqrt()), "{wanted} of {len}");
        }
        for _ in 0..100_000 {
            let mut pair = Vec::new();
            set.random_distinct(2, &mut rng, &mut |member| pair.push(member.text().to_vec()));
            pair.sort();
            count(&mut pairs, &pair.join(&b' '));
        }
        assert!(is_even(&pairs, len * (len - 1) / 2));
    }
}

#[test]
fn popping_is_as_fair_whichever_way_it_is_done() {
    for list in [ints(0..40), words(0..40), words(0..150)] {
        let len = list.len();
        for count in [1, 2, len / 2, len - 2, len - 1] {
            let (mut rng, mut counts) = (Rng::new(count as u64), BTreeMap::<Vec<u8>, u32>::new());
            let rounds = 40_000 / len;
            for _ in 0..rounds {
                let mut set = set_of(&list);
                let mut popped = BTreeSet::new();
                drop(SetMut::new(&mut set, &LIMITS).pop_several(count, &mut || rng.next(), &mut |member| {
                    *counts.entry(member.text().to_vec()).or_default() += 1;
                    assert!(popped.insert(member.text().to_vec()));
                }));
                assert_eq!((popped.len(), set.set().len()), (count, len - count));
                assert!(members(set.set()).is_disjoint(&popped));
            }
            let share = (rounds * count) as f64 / len as f64;
            assert!(counts.values().all(|&n| (f64::from(n) - share).abs() < 6.0 * share.sqrt()), "{count} of {len}");
        }
    }
}

#[test]
fn popping_nearly_all_of_a_big_set_leaves_a_small_one() {
    for (list, count, expected) in [
        (words(0..200), 190, "listpack"),
        (words(0..200), 100, "hashtable"),
        (words(0..1_000), 999, "listpack"),
        (ints(0..600), 590, "listpack"),
        (ints(0..200), 190, "intset"),
        (words(0..10_000), 9_000, "hashtable"),
    ] {
        let mut set = set_of(&list);
        let mut rng = Rng::new(5);
        drop(SetMut::new(&mut set, &LIMITS).pop_several(count, &mut || rng.next(), &mut |_| {}));
        assert_eq!(encoding(set.set()), expected, "{count} of {}", list.len());
    }
}
