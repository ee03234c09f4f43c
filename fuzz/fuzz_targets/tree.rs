//! A store of the registry from any bytes, used as any other: what was read can be written, compacted, asked, frozen and given,
//! and what was given is read again as the same.
//!
//! The input is a head and pieces, each behind its length; what is left over says what is done.

#![no_main]

mod pieces;

use libfuzzer_sys::fuzz_target;
use pieces::Giving;
use weir_structs::tree::{Corrupt, REVISION_MAX, Span, Tree, TreeBuilder, Write, check_path, is_hidden};

/// Revisions that are asked about of a store.
const ASKED: usize = 8;

fuzz_target!(|input: &[u8]| {
    let _ = check_path(input);
    let (pieces, rest) = pieces::split(input);
    let Ok(mut tree) = decoded(&pieces) else { return };
    assert_eq!(written(&decoded(&written(&tree)).expect("a store wrote it")), written(&tree));
    if tree.revision() >= REVISION_MAX / 2 {
        return;
    }
    let mut frozen: Option<Giving> = None;
    for &[what, number] in rest.as_chunks().0 {
        let path = [b"/".as_slice(), &[b'a' + number % 8], if number % 3 == 0 { b"/x" } else { b"" }].concat();
        let revision = (tree.revision() + u64::from(what >> 7)).max(1);
        match what % 8 {
            0 | 1 => {
                let (value, lease) = (&input[..usize::from(number).min(input.len())], u64::from(what >> 4 & 3));
                tree.write(revision, 0, Write::Put { path: &path, value, lease, flags: u64::from(what) });
                assert_eq!(tree.get(&path).map(|version| version.value()), Some(value));
            }
            2 if number % 16 == 15 => {
                let prefix = &path[..path.len() - usize::from(number >> 4) % path.len()];
                let there = tree.span(Span::Prefix(prefix), None).count();
                assert_eq!(tree.delete_prefix(revision, 0, prefix), there);
                assert_eq!(tree.span(Span::Prefix(prefix), None).count(), 0);
            }
            2 => {
                let was_there = tree.get(&path).is_some();
                assert_eq!(tree.write(revision, 0, Write::Del { path: &path }), was_there);
                assert!(tree.get(&path).is_none());
            }
            3 => {
                tree.compact(tree.compacted() + u64::from(number));
            }
            4 => {
                tree.tidy(usize::from(number));
            }
            5 if number % 2 == 0 => {
                tree.grant(u64::from(what >> 4 & 3), 1_000, false, u64::from(number));
            }
            5 => {
                tree.forget_lease(u64::from(what >> 4 & 3));
            }
            6 if tree.frozen_ticket().is_none() => {
                frozen = Some(Giving::new(written(&tree)));
                tree.freeze(1);
            }
            _ => give(&mut tree, &mut frozen, usize::from(number)),
        }
    }
    give(&mut tree, &mut frozen, usize::MAX);
    let all = || tree.span(Span::Prefix(b""), None);
    assert_eq!((all().count(), all().rev().count()), (tree.len(), tree.len()));
    assert!(all().all(|(path, _)| !is_hidden(path)));
    // Going back through the history, event by event, is what the past says.
    let mut now: std::collections::BTreeMap<Vec<u8>, _> =
        all().map(|(path, version)| (path.to_vec(), version.clone())).collect();
    let changes: Vec<_> = tree.changes(0).collect();
    for change in changes.iter().rev().take(ASKED) {
        for event in change.events.iter().filter(|event| !is_hidden(&event.path)) {
            assert_eq!(now.get(&*event.path), event.after.as_ref());
            match &event.before {
                Some(before) => drop(now.insert(event.path.to_vec(), before.clone())),
                None => drop(now.remove(&*event.path)),
            }
        }
        let then = tree.span(Span::Prefix(b""), Some(change.revision - 1));
        assert!(
            then.map(|(path, version)| (&**path, version)).eq(now.iter().map(|(path, version)| (&**path, version)))
        );
    }
    let attached: usize = tree.leases().map(|(_, lease)| lease.len()).sum();
    let naming = tree.span(Span::Prefix(b"\0"), None).chain(all()).filter(|(_, version)| version.lease() != 0);
    assert_eq!(attached, naming.count());
    assert_eq!(written(&tree.clone()), written(&tree));
});

fn decoded(pieces: &[Vec<u8>]) -> Result<Tree, Corrupt> {
    let (head, pieces) = pieces.split_first().ok_or(Corrupt)?;
    let mut builder = TreeBuilder::new(head)?;
    pieces.iter().try_for_each(|piece| builder.piece(piece))?;
    builder.finish()
}

fn written(tree: &Tree) -> Vec<Vec<u8>> {
    pieces::gathered(|give| tree.encode(give))
}

fn give(tree: &mut Tree, frozen: &mut Option<Giving>, budget: usize) {
    let read = |given: &[Vec<u8>]| written(&decoded(given).expect("a store gave it"));
    Giving::go_on(frozen, |visit| tree.give_frozen(budget, visit), read);
}
