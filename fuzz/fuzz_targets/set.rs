//! Sets of any form do what ordered sets of the standard library do: two of them, changed by steps of the input, and put
//! together after each. The first three bytes choose the limits, so that forms change often.

#![no_main]

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use libfuzzer_sys::fuzz_target;
use weir_structs::keyspace::KeyHasher;
use weir_structs::set::{self, Emit, OwnedSet, SetLimits, SetMut, SetPlace, SetRef};

type Model = BTreeSet<Vec<u8>>;

fuzz_target!(|input: &[u8]| {
    let Some(([ints_max, packed_max, packed_len_max], mut steps)) = input.split_first_chunk() else { return };
    let limits = SetLimits {
        ints_max: usize::from(*ints_max),
        packed_max: usize::from(*packed_max),
        packed_len_max: usize::from(*packed_len_max),
    };
    let hasher = KeyHasher::new(1);
    let mut sets = [OwnedSet::new(&hasher), OwnedSet::new(&hasher)];
    let mut models = [Model::new(), Model::new()];
    // A step: what is done, how long a member is, and the member.
    while let Some((&[what, len], rest)) = steps.split_first_chunk() {
        let (member, rest) = rest.split_at(usize::from(len % 80).min(rest.len()));
        steps = rest;
        let (place, model) = match what & 1 {
            0 => (&mut sets[0], &mut models[0]),
            _ => (&mut sets[1], &mut models[1]),
        };
        let mut seed = u64::from(what) << 8 | u64::from(len);
        let mut random = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            seed ^ seed >> 31
        };
        let mut set = SetMut::new(place, &limits);
        match what >> 1 & 7 {
            0 | 1 => assert_eq!(set.add(member), model.insert(member.to_vec())),
            2 => {
                let before = model.len();
                let pieces = || member.chunks(3);
                model.extend(pieces().map(<[u8]>::to_vec));
                if let Some(first) = pieces().next() {
                    assert_eq!(set.add_all(first, pieces().len(), pieces()), model.len() - before);
                }
            }
            3 | 4 => assert_eq!(set.remove(member), model.remove(member)),
            5 => {
                let before = model.len();
                let there = set.pop(&mut random, &mut |member| assert!(model.remove(&*member.text())));
                assert_eq!(there, before > 0);
            }
            6 => {
                let count = usize::from(len);
                drop(set.pop_several(count, &mut random, &mut |member| assert!(model.remove(&*member.text()))));
            }
            _ => {
                let (count, mut seen) = (usize::from(len), Model::new());
                set.as_ref().random_distinct(count, &mut random, &mut |member| {
                    assert!(seen.insert(member.text().to_vec()));
                });
                assert_eq!(seen.len(), count.min(model.len()));
                assert!(seen.is_subset(model));
            }
        }
        assert_eq!(set.len(), model.len());
        assert_eq!(set.as_ref().contains(member), model.contains(member));
    }
    let [one, other] = [sets[0].set(), sets[1].set()];
    let [first, second] = &models;
    assert_eq!(members(&|emit| set::intersection(&mut [one], emit)), *first);
    assert_eq!(members(&|emit| set::intersection(&mut [one, other], emit)), first & second);
    assert_eq!(members(&|emit| set::union(&mut [one, other], &hasher, &limits, emit)), first | second);
    assert_eq!(members(&|emit| set::difference(one, &mut [other], emit)), first - second);
    assert_eq!(members(&|emit| set::difference(one, &mut [other; 5], emit)), first - second);
    let all: Vec<_> = one.iter().collect();
    let copy = OwnedSet::of_distinct(&all, &hasher, &limits);
    assert_eq!(members(&|emit| set::intersection(&mut [copy.set()], emit)), *first);
    assert_eq!(limits.keep_small(one), !matches!(copy.set(), SetRef::Big(_)));
});

/// What an operation gives, each member once.
fn members<'s>(run: &dyn for<'e> Fn(Emit<'e, 's>)) -> Model {
    let mut members = Model::new();
    run(&mut |member| {
        assert!(members.insert(member.text().to_vec()));
        ControlFlow::Continue(())
    });
    members
}
