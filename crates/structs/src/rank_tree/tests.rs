//! The tree against a sorted list, and what it promises about memory.

use super::*;
use crate::testing::Rng;

#[path = "../../tests/rank_model/mod.rs"]
mod model;

use model::{Plain, free, member};

fn check(tree: &RankTree<Plain>) {
    tree.root.check::<Plain>(true);
    assert_eq!(tree.root.count(), tree.len);
    assert_eq!(tree.root.all_bytes(), tree.bytes);
}

#[test]
fn agrees_with_a_sorted_list_for_all_kinds_of_keys_and_names() {
    let mut rng = Rng::new(11);
    for keys in 0..10 {
        for names in 0..6 {
            let steps = if cfg!(miri) { 100 } else { 3_000 };
            let mut input = vec![keys, names];
            input.extend((0..steps * 5).map(|_| rng.next() as u8));
            // Some runs only grow for long.
            if keys % 3 == 0 {
                input[2..].chunks_exact_mut(5).for_each(|step| step[0] %= 201);
            }
            model::run(&input, check);
        }
    }
}

/// Bytes a member of a tree of `count` members with these keys.
fn bytes_each(count: u64, mut key: impl FnMut(u64) -> u64) -> f64 {
    let mut tree = RankTree::<Plain>::new();
    let members: Vec<_> = (0..count).map(|i| member(key(i), &i.to_be_bytes())).collect();
    for &member in &members {
        // SAFETY: members live until the end, and differ in name.
        unsafe { tree.insert(member) };
    }
    check(&tree);
    let each = tree.memory_bytes() as f64 / count as f64;
    members.into_iter().for_each(free);
    each
}

#[test]
fn takes_about_nine_bytes_a_member_in_whatever_order_they_come() {
    let count = if cfg!(miri) { 1_000 } else { 100_000 };
    let mut rng = Rng::new(5);
    for (order, limit, each) in [
        ("ascending", 9.2, bytes_each(count, |i| score_order_key(i as f64 * 0.5))),
        ("descending", 9.2, bytes_each(count, |i| score_order_key(-(i as f64)))),
        ("random", 10.2, bytes_each(count, |_| rng.next())),
        ("equal", 9.2, bytes_each(count, |_| 7)),
    ] {
        assert!(each < limit || cfg!(miri), "{order}: {each}");
    }
    assert!(bytes_each(200, |i| i) < 16.0);
}

#[test]
fn a_tree_that_was_large_and_is_small_gives_its_memory_back() {
    let count = if cfg!(miri) { 500 } else { 20_000 };
    let mut tree = RankTree::<Plain>::new();
    let members: Vec<_> = (0..count).map(|i: u64| member(i.wrapping_mul(0x9E37_79B9_7F4A_7C15), b"")).collect();
    for &member in &members {
        // SAFETY: members live until the end, and differ in key.
        unsafe { tree.insert(member) };
    }
    let full = tree.memory_bytes();
    for &member in &members[..members.len() / 10 * 9] {
        // SAFETY: it is alive.
        assert!(unsafe { tree.remove(member) });
    }
    check(&tree);
    assert!(tree.memory_bytes() < full / 5, "{} of {full}", tree.memory_bytes());
    members.into_iter().for_each(free);
}

#[test]
fn names_beyond_any_prefix_and_equal_ones_up_to_a_zero_are_told_apart() {
    let names: Vec<Vec<u8>> = (0..400usize).map(|len| vec![0; len]).collect();
    let mut tree = RankTree::<Plain>::new();
    let members: Vec<_> = names.iter().map(|name| member(1, name)).collect();
    for &member in members.iter().rev() {
        // SAFETY: members live until the end, and differ in name.
        unsafe { tree.insert(member) };
    }
    check(&tree);
    assert!(tree.iter_from(0).eq(members.iter().copied()));
    members.into_iter().for_each(free);
}
