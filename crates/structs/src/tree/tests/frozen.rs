//! A frozen store is given out as it was, whatever happens to it meanwhile.

use super::super::{Tree, Write};
use super::bytes::{decoded, encoded};
use super::model::Both;
use crate::frozen::{FrozenHead, FrozenPart};

#[test]
fn what_is_given_is_what_it_was() {
    let mut thawed_early = 0;
    for seed in 300..340 {
        let mut both = Both::new(seed);
        // Few, so that the same ones are written again and again in a revision.
        both.paths = if seed % 2 == 0 { 6 } else { both.paths };
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

/// What is given of a store that was frozen, as a store.
fn given(tree: &mut Tree) -> Tree {
    let mut pieces = Vec::new();
    while tree.give_frozen(1, &mut |part| {
        if let FrozenPart::Piece(piece) = part {
            pieces.push(piece.to_vec());
        }
    }) {}
    decoded(&pieces).unwrap()
}

fn put<'w>(path: &'w [u8], value: &'w [u8]) -> Write<'w> {
    Write::Put { path, value, lease: 0, flags: 0 }
}

#[test]
fn a_revision_that_is_compacted_while_it_is_written_is_given_as_it_was() {
    let mut tree = Tree::new(1);
    tree.write(1, 0, put(b"/a", b"then"));
    tree.compact(1);
    tree.freeze(1);
    tree.write(1, 0, put(b"/a", b"now"));
    tree.write(1, 0, put(b"/b", b"now"));
    let then = given(&mut tree);
    assert_eq!((then.len(), then.get(b"/a").unwrap().value()), (1, &b"then"[..]));
    assert_eq!(tree.get(b"/a").unwrap().version(), 1);
}

#[test]
fn events_that_are_taken_back_are_given_as_they_were() {
    let mut tree = Tree::new(1);
    tree.write(1, 0, put(b"/a", b"then"));
    tree.write(1, 0, put(b"/b", b"then"));
    let was = encoded(&tree);
    tree.freeze(1);
    tree.write(1, 0, Write::Del { path: b"/a" });
    assert_eq!(encoded(&given(&mut tree)), was);
    assert_eq!((tree.len(), tree.change(1).unwrap().events.len()), (1, 1));
}
