//! One rule at a time.

use super::super::{Span, Tree, TreeOptions, Version, Write, check_path};

fn put<'w>(path: &'w [u8], value: &'w [u8]) -> Write<'w> {
    Write::Put { path, value, lease: 0, flags: 0 }
}

fn numbers(version: Option<&Version>) -> Option<(u64, u64, u64)> {
    version.map(|version| (version.create(), version.modified(), version.version()))
}

#[test]
fn a_path_that_is_written_twice_in_a_revision_counts_up_once() {
    let mut tree = Tree::new(1);
    tree.write(1, 10, put(b"/a", b"1"));
    tree.write(2, 20, put(b"/a", b"2"));
    tree.write(2, 20, put(b"/a", b"3"));
    assert_eq!(numbers(tree.get(b"/a")), Some((1, 2, 2)));
    let change = tree.change(2).unwrap();
    assert_eq!((change.time_ms, change.events.len()), (20, 1));
    assert_eq!(change.events[0].before.as_ref().unwrap().value(), b"1");
    assert!(change.events[0].after.as_ref().unwrap().ptr_eq(tree.get(b"/a").unwrap()));
}

#[test]
fn a_path_that_comes_and_goes_in_a_revision_has_no_event() {
    let mut tree = Tree::new(1);
    tree.write(1, 0, put(b"/a", b"1"));
    tree.write(1, 0, put(b"/b", b"1"));
    tree.write(1, 0, put(b"/c", b"1"));
    assert!(tree.write(1, 0, Write::Del { path: b"/a" }));
    let events: Vec<_> = tree.change(1).unwrap().events.iter().map(|event| event.path.to_vec()).collect();
    assert_eq!(events, [b"/c", b"/b"]);
    tree.write(2, 0, put(b"/x", b"1"));
    tree.write(2, 0, Write::Del { path: b"/x" });
    assert_eq!((tree.revision(), tree.change(2).is_none()), (2, true));
    assert_eq!(tree.changes(0).map(|change| change.revision).collect::<Vec<_>>(), [1]);
}

#[test]
fn nothing_to_delete_begins_no_revision() {
    let mut tree = Tree::new(1);
    assert!(!tree.write(1, 0, Write::Del { path: b"/a" }));
    assert_eq!(tree.revision(), 0);
}

#[test]
fn deleted_and_written_again_is_a_new_path() {
    let mut tree = Tree::new(1);
    tree.write(1, 0, put(b"/a", b"1"));
    tree.write(2, 0, Write::Del { path: b"/a" });
    tree.write(2, 0, put(b"/a", b"2"));
    assert_eq!(numbers(tree.get(b"/a")), Some((2, 2, 1)));
    let event = &tree.change(2).unwrap().events[0];
    assert_eq!((numbers(event.before.as_ref()), numbers(event.after.as_ref())), (Some((1, 1, 1)), Some((2, 2, 1))));
}

#[test]
fn what_is_deleted_at_the_compaction_revision_is_gone_and_later_events_are_there() {
    let mut tree = Tree::new(1);
    tree.write(1, 0, put(b"/a", b"1"));
    tree.write(2, 0, Write::Del { path: b"/a" });
    tree.write(3, 0, put(b"/b", b"1"));
    assert!(tree.compact(2) && !tree.compact(2) && !tree.compact(1));
    assert_eq!(tree.get_at(b"/a", 2), None);
    assert_eq!(tree.changes(0).map(|change| change.revision).collect::<Vec<_>>(), [3]);
    assert!(tree.change(2).is_none());
    while tree.tidy(1) {}
    assert_eq!(tree.versions(b"/a", u64::MAX).count(), 0);
    assert_eq!(tree.changes(0).map(|change| change.revision).collect::<Vec<_>>(), [3]);
}

#[test]
fn leases_have_the_paths_that_name_them() {
    let mut tree = Tree::new(1);
    assert!(tree.grant(5, 1_000, false, 1_500) && !tree.grant(5, 1, true, 1) && !tree.grant(0, 1, true, 1));
    tree.grant(6, 500, true, 1_200);
    assert_eq!(tree.first_lease_due(), Some((1_200, 6)));
    let attached = |path, lease| Write::Put { path, value: b"", lease, flags: 0 };
    tree.write(1, 0, attached(b"/a", 5));
    tree.write(1, 0, attached(b"/b", 5));
    tree.write(2, 0, attached(b"/b", 6));
    tree.write(2, 0, attached(b"/c", 99));
    let paths = |tree: &Tree, id| tree.lease(id).unwrap().paths().map(|path| path.to_vec()).collect::<Vec<_>>();
    assert_eq!((paths(&tree, 5), paths(&tree, 6)), (vec![b"/a".to_vec()], vec![b"/b".to_vec()]));
    assert_eq!(tree.get(b"/c").unwrap().lease(), 0);
    assert!(tree.keep_alive(6, 9_000) && !tree.keep_alive(7, 9_000));
    assert_eq!(tree.first_lease_due(), Some((1_500, 5)));
    tree.renew_leases(100);
    assert_eq!(tree.first_lease_due(), Some((600, 6)));
    assert!(tree.forget_lease(5) && !tree.forget_lease(5));
    assert_eq!(numbers(tree.get(b"/a")), Some((1, 1, 1)));
    assert_eq!(tree.get(b"/a").unwrap().lease(), 0);
    tree.grant(5, 1_000, false, 0);
    assert!(tree.lease(5).unwrap().is_empty());
}

#[test]
fn a_history_that_is_too_long_or_too_old_is_said_to_be() {
    let mut tree = Tree::new(1);
    *tree.options_mut() = TreeOptions { history_max: 80, history_ms: 1_000, ..TreeOptions::default() };
    for revision in 1..=90 {
        tree.write(revision, revision * 10, put(b"/a", b""));
    }
    assert_eq!(tree.beyond(900), None);
    tree.write(91, 910, put(b"/a", b""));
    assert_eq!(tree.beyond(910), Some(11));
    assert_eq!(tree.beyond(1_510), Some(50));
    tree.compact(50);
    assert_eq!(tree.beyond(1_510), None);
    assert_eq!(tree.beyond(10_000), Some(91));
    tree.options_mut().history_ms = 0;
    assert_eq!(tree.beyond(10_000), None);
}

#[test]
fn paths_are_parts_with_slashes_before_them() {
    for good in [&b"/a"[..], b"/a/b", b"/ /\xFF", &[b"/".as_slice(), &[b'x'; 4095]].concat()] {
        assert_eq!(check_path(good), Ok(()), "{good:?}");
    }
    for bad in
        [&b""[..], b"/", b"a", b"//", b"/a/", b"/a//b", b"/a\0", b"\0/a", &[b"/".as_slice(), &[b'x'; 4096]].concat()]
    {
        assert!(check_path(bad).is_err_and(|why| !why.text().is_empty()), "{bad:?}");
    }
}

#[test]
fn children_pass_over_what_lies_deeper() {
    let mut tree = Tree::new(1);
    for path in [&b"/a"[..], b"/a/x", b"/a/x-1", b"/a/x/deep", b"/a/x/deep/er", b"/a/x0", b"/a/y/deep", b"/ab", b"/b"] {
        tree.write(1, 0, put(path, b""));
    }
    let paths = |span| tree.span(span, None).map(|(path, _)| path.to_vec()).collect::<Vec<_>>();
    assert_eq!(paths(Span::Children(b"/a")), [&b"/a/x"[..], b"/a/x-1", b"/a/x0"]);
    assert_eq!(paths(Span::Children(b"/")), [&b"/a"[..], b"/ab", b"/b"]);
    assert_eq!(paths(Span::Children(b"")), [&b"/a"[..], b"/ab", b"/b"]);
    assert_eq!(paths(Span::Children(b"/a/x/deep")), [&b"/a/x/deep/er"[..]]);
}
