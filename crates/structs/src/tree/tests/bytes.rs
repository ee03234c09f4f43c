//! Stores as bytes: what comes back is the same, and anything else is refused.

use super::super::{Corrupt, Tree, TreeBuilder, Write};
use super::model::{Both, check};
use crate::testing::Rng;

pub(super) fn encoded(tree: &Tree) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    tree.encode(&mut |piece| pieces.push(piece.to_vec()));
    pieces
}

pub(super) fn decoded(pieces: &[Vec<u8>]) -> Result<Tree, Corrupt> {
    let (head, pieces) = pieces.split_first().ok_or(Corrupt)?;
    let mut builder = TreeBuilder::new(head)?;
    for piece in pieces {
        builder.piece(piece)?;
    }
    builder.finish()
}

fn some_store(seed: u64, steps: usize) -> Both {
    let mut both = Both::new(seed);
    for _ in 0..steps {
        both.step();
    }
    both
}

#[test]
fn what_is_read_is_what_was_written() {
    for seed in 100..110 {
        let mut both = some_store(seed, 600);
        let pieces = encoded(&both.tree);
        let tree = decoded(&pieces).unwrap();
        assert_eq!((tree.uid(), tree.epoch(), tree.options()), (0, 7, both.tree.options()));
        assert_eq!(encoded(&tree), pieces);
        let leases =
            |tree: &Tree| tree.leases().map(|(id, lease)| (id, lease.ttl_ms(), lease.conn())).collect::<Vec<_>>();
        assert_eq!(leases(&tree), leases(&both.tree));
        check(&tree, &both.model, &mut both.rng);
        // It goes on as the other one would.
        both.tree = tree;
        for _ in 0..300 {
            both.step();
        }
        both.check();
        let clone = both.tree.clone();
        assert_eq!(encoded(&clone), encoded(&both.tree));
        check(&clone, &both.model, &mut both.rng);
    }
}

#[test]
fn tree_and_history_share_what_is_read() {
    let both = some_store(5, 800);
    let tree = decoded(&encoded(&both.tree)).unwrap();
    let mut original = both.tree;
    while original.tidy(100) {}
    // Blocks end elsewhere, so that more or less of what was compacted may be there.
    assert!(
        tree.memory_bytes() <= original.memory_bytes() + 4_096,
        "{} {}",
        tree.memory_bytes(),
        original.memory_bytes()
    );
    for change in tree.changes(0) {
        for event in change.events {
            let now = tree.get(&event.path).filter(|now| now.modified() == change.revision);
            assert!(now.is_none_or(|now| event.after.as_ref().is_some_and(|after| after.ptr_eq(now))));
        }
    }
}

#[test]
fn large_stores_come_in_several_pieces() {
    let mut tree = Tree::new(1);
    for number in 0..3_000_u64 {
        let path = format!("/a/{number}");
        tree.write(
            1 + number / 1_500,
            0,
            Write::Put { path: path.as_bytes(), value: &[b'v'; 100], lease: 0, flags: 0 },
        );
    }
    tree.compact(1);
    let pieces = encoded(&tree);
    assert!(pieces.len() > 5, "{}", pieces.len());
    let again = decoded(&pieces).unwrap();
    assert_eq!(encoded(&again), pieces);
    assert_eq!((again.len(), again.change(2).unwrap().events.len()), (3_000, 1_500));
}

#[test]
fn no_cut_is_read_and_no_byte_is_believed() {
    let mut rng = Rng::new(3);
    for seed in 200..204 {
        let pieces = encoded(&some_store(seed, 150).tree);
        for at in 0..pieces.len() {
            for len in 0..pieces[at].len() {
                let mut cut = pieces.clone();
                cut[at].truncate(len);
                // A piece may end behind any of its items; then what is missing may or may not be missed.
                if let Ok(tree) = decoded(&cut) {
                    assert!(at > 0);
                    assert_eq!(encoded(&decoded(&encoded(&tree)).unwrap()), encoded(&tree));
                }
            }
            let mut missing = pieces.clone();
            missing.remove(at);
            let _ = decoded(&missing);
        }
        for _ in 0..3_000 {
            let mut other = pieces.clone();
            for _ in 0..1 + rng.below(3) {
                let at = rng.below(other.len());
                let byte = rng.below(other[at].len());
                other[at][byte] =
                    if rng.below(2) == 0 { rng.next() as u8 } else { other[at][byte] ^ 1 << rng.below(8) };
            }
            if let Ok(mut tree) = decoded(&other) {
                assert_eq!(encoded(&decoded(&encoded(&tree)).unwrap()), encoded(&tree));
                let next = tree.revision() + 1;
                tree.write(next, 0, Write::Put { path: b"/a", value: b"", lease: 1, flags: 0 });
                tree.write(next, 0, Write::Del { path: b"/b" });
                tree.compact(next);
                while tree.tidy(10) {}
                assert_eq!(tree.span(super::super::Span::Prefix(b""), None).count(), tree.len());
            }
        }
    }
}

#[test]
fn lengths_that_are_claimed_are_not_allocated() {
    let head = encoded(&Tree::new(1)).remove(0);
    for kind in 0..5 {
        let mut piece = vec![kind];
        piece.extend_from_slice(&[0xFF; 8]);
        piece.push(0x7F);
        piece.extend_from_slice(b"/a");
        assert!(TreeBuilder::new(&head).unwrap().piece(&piece).is_err());
    }
}
