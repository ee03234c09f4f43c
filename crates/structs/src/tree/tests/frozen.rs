//! A frozen store is given out as it was, whatever happens to it meanwhile.

use super::bytes::{decoded, encoded};
use super::model::Both;
use crate::frozen::{FrozenHead, FrozenPart};

#[test]
fn what_is_given_is_what_it_was() {
    let mut thawed_early = 0;
    for seed in 300..340 {
        let mut both = Both::new(seed);
        for round in 0..8 {
            for _ in 0..both.rng.below(150) {
                both.step();
            }
            if both.rng.below(4) == 0 {
                let to = both.tree.revision();
                both.compact(to);
            }
            let was = encoded(&both.tree);
            both.tree.freeze(round);
            assert_eq!((both.tree.frozen_ticket(), both.tree.frozen_head()), (Some(round), Some(FrozenHead::Tree)));
            let gives_up = both.rng.below(8) == 0;
            let mut pieces = Vec::new();
            loop {
                for _ in 0..both.rng.below(12) {
                    both.step();
                }
                let budget = 1 + both.rng.below(20);
                let goes_on = both.tree.give_frozen(budget, &mut |part| match part {
                    FrozenPart::Piece(piece) => pieces.push(piece.to_vec()),

                    _ => unreachable!("a store gives pieces"),
                });
                if !goes_on {
                    let given = decoded(&pieces).unwrap();
                    assert_eq!(encoded(&given), was, "seed {seed}");
                    break;
                }
                if gives_up && both.rng.below(3) == 0 {
                    thawed_early += 1;
                    assert!(both.tree.thaw().is_some());
                    break;
                }
            }
            assert_eq!((both.tree.frozen_ticket(), both.tree.frozen_head()), (None, None));
            both.check();
        }
    }
    assert!(thawed_early > 0);
}
