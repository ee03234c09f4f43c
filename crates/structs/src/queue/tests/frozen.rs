//! Frozen queues against what they were.

use super::bytes::{decoded, encoded};
use super::model::some_queue;
use crate::frozen::{FrozenHead, FrozenPart};
use crate::queue::MessageId;
use crate::testing::Rng;

#[test]
fn a_queue_is_given_as_it_was() {
    for seed in 0..100 {
        let mut rng = Rng::new(seed);
        let aim = [5, 60, 600][rng.below(3)];
        let mut model = some_queue(&mut rng, aim, aim * 4);
        for round in 0..3 {
            let expected = encoded(&model.queue);
            model.queue.freeze(round);
            assert_eq!(model.queue.frozen_head(), Some(FrozenHead::Queue));
            assert_eq!(model.queue.clone().frozen_ticket(), None);
            let (changes, budget) = (rng.below(120), 1 + rng.below(40));
            let to = [0, aim, aim * 3][rng.below(3)];
            let mut given = Vec::new();
            let mut goes_on = true;
            while goes_on {
                assert_eq!(model.queue.frozen_ticket(), Some(round));
                for _ in 0..rng.below(changes + 1) {
                    // A restart would give up what is frozen.
                    model.step_frozen(&mut rng, to);
                }
                goes_on = model.queue.give_frozen(budget, &mut |part| match part {
                    FrozenPart::Piece(piece) => given.push(piece.to_vec()),
                    FrozenPart::Shared(..) => {}
                    part => panic!("{part:?}"),
                });
            }
            assert_eq!(model.queue.frozen_ticket(), None);
            // In other pieces, but the same.
            assert_eq!(encoded(&decoded(&given).unwrap()), expected, "seed {seed}");
            model.compare();
        }
    }
}

#[test]
fn places_that_were_empty_when_it_was_frozen_stay_empty_in_what_is_given() {
    let mut rng = Rng::new(9);
    let mut model = some_queue(&mut rng, 50, 400);
    let expected = encoded(&model.queue);
    model.queue.freeze(1);
    let first = model.queue.all_ids(MessageId::MIN).next().unwrap();
    let mut meta = Vec::new();
    model.queue.put_meta(first, &mut meta);
    let parcel = super::parcel(1, None, None);
    for number in 1..first.to_u64().min(40) {
        let _ = model.queue.put(MessageId::from_u64(number), &[0, 0], parcel.clone());
    }
    let mut given = Vec::new();
    while model.queue.give_frozen(7, &mut |part| {
        if let FrozenPart::Piece(piece) = part {
            given.push(piece.to_vec());
        }
    }) {}
    assert_eq!(encoded(&decoded(&given).unwrap()), expected);
    model.queue.check();
}

#[test]
fn what_was_kept_is_handed_out_when_it_is_thawed_early() {
    let mut rng = Rng::new(4);
    let mut model = some_queue(&mut rng, 50, 400);
    model.queue.freeze(1);
    let before = model.queue.memory_bytes();
    model.queue.purge(20);
    assert!(model.queue.memory_bytes() > before - 20 * 300);
    assert!(model.queue.thaw().is_some());
    assert_eq!((model.queue.frozen_ticket(), model.queue.thaw().is_some()), (None, false));
    model.queue.check();
}
