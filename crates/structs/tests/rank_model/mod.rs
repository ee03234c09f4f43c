//! A rank tree beside a plain sorted list: whatever is done to both, they agree in everything that can be asked.
//!
//! Shared by the tests of the structure and by the fuzz target, which bring `RankTree` and its kind into scope as their own.

use super::{RankTree, Ranked, deadline_order_key, score_order_key};
use std::ptr::NonNull;

/// A member of the model: key, length of the name, name.
pub(crate) struct Plain;

const NAME_AT: usize = 12;

// SAFETY: members are made by `member` below and only read here.
unsafe impl Ranked for Plain {
    unsafe fn order_key(member: NonNull<u8>) -> u64 {
        // SAFETY: a live member begins with its key.
        u64::from_le_bytes(unsafe { member.cast::<[u8; 8]>().read() })
    }

    unsafe fn name<'a>(member: NonNull<u8>) -> &'a [u8] {
        // SAFETY: behind the key there is the length.
        let len_at = unsafe { member.add(8) };
        // SAFETY: as above.
        let len = u32::from_le_bytes(unsafe { len_at.cast::<[u8; 4]>().read() });
        // SAFETY: behind the length there is the name.
        let start = unsafe { member.add(NAME_AT) };
        // SAFETY: it is so long, and lives as long as the member.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), len as usize) }
    }
}

/// A member on the heap, freed by [`free`].
pub(crate) fn member(key: u64, name: &[u8]) -> NonNull<u8> {
    let len = u32::try_from(name.len()).expect("a short name");
    let bytes = [&key.to_le_bytes()[..], &len.to_le_bytes()[..], name].concat().into_boxed_slice();
    NonNull::new(Box::into_raw(bytes).cast::<u8>()).expect("a box is somewhere")
}

pub(crate) fn free(member: NonNull<u8>) {
    // SAFETY: a member is alive until it is freed.
    let len = unsafe { Plain::name(member) }.len() + NAME_AT;
    let bytes = std::ptr::slice_from_raw_parts_mut(member.as_ptr(), len);
    // SAFETY: it was made by `member` from a box of this length, and the caller does not use it any more.
    drop(unsafe { Box::from_raw(bytes) });
}

type Row = (u64, Vec<u8>, NonNull<u8>);

struct Model {
    tree: RankTree<Plain>,
    rows: Vec<Row>,
}

/// Does what `input` says and compares. The first bytes choose what keys and names are like.
pub(crate) fn run(input: &[u8], check: fn(&RankTree<Plain>)) {
    let Some(([keys, names], steps)) = input.split_first_chunk() else { return };
    let mut model = Model { tree: RankTree::new(), rows: Vec::new() };
    for (number, step) in steps.chunks_exact(5).enumerate() {
        let &[what, a, b, c, d] = step else { continue };
        let (short, wide) = (u16::from_le_bytes([a, b]), u32::from_le_bytes([a, b, c, d]));
        match what {
            0..150 => {
                let key = key(*keys, number as u64, wide);
                model.insert(key, &name(*names, number, wide));
            }
            150..200 => model.remove(usize::from(short)),
            200..215 => model.replace(usize::from(short)),
            215..220 => model.take(u64::from(short), u64::from(c)),
            220..222 => model.rebuild(),
            222..224 => model.take_all_from(u64::from(short)),
            _ => model.ask(key(*keys, number as u64, wide), &name(*names, number, wide), usize::from(short)),
        }
        if number % 64 == 0 {
            check(&model.tree);
        }
    }
    model.compare_all();
    check(&model.tree);
    while !model.rows.is_empty() {
        model.remove(model.rows.len() / 2);
    }
    check(&model.tree);
    assert!(model.tree.memory_bytes() <= 1024, "an empty tree keeps little");
}

fn key(kind: u8, number: u64, wide: u32) -> u64 {
    match kind % 10 {
        0 => score_order_key(1.0),
        1 => score_order_key(number as f64 * 0.5),
        2 => score_order_key(-(number as f64)),
        3 => u64::from(wide) << 32 | u64::from(wide),
        4 => score_order_key(f64::from(wide % 7)),
        5 => match wide % 4 {
            0 => score_order_key(f64::INFINITY),
            1 => score_order_key(f64::NEG_INFINITY),
            2 => score_order_key(f64::from(wide)),
            _ => score_order_key(-0.0),
        },
        6 => score_order_key((f64::from(wide) - 2e9) * 10f64.powi((wide % 600) as i32 - 300)),
        7 => deadline_order_key(1_700_000_000_000 + number as i64 * 1000),
        8 => u64::from(wide % 2) * u64::MAX,
        _ => (u64::from(wide)).rotate_right(wide % 64),
    }
}

fn name(kind: u8, number: usize, wide: u32) -> Vec<u8> {
    match kind % 6 {
        0 => format!("member:{number:09}").into_bytes(),
        1 => wide.to_be_bytes()[..(wide % 5) as usize].to_vec(),
        2 => format!("{}{}", "x".repeat((wide % 300) as usize), wide).into_bytes(),
        3 => vec![0; (wide % 200) as usize],
        4 => format!("{:09}", 1_000_000 - number).into_bytes(),
        _ => wide.to_le_bytes().to_vec(),
    }
}

impl Model {
    fn place(&self, key: u64, name: &[u8]) -> Result<usize, usize> {
        self.rows.binary_search_by(|row| (row.0, row.1.as_slice()).cmp(&(key, name)))
    }

    fn insert(&mut self, key: u64, name: &[u8]) {
        if let Err(at) = self.place(key, name) {
            let member = member(key, name);
            self.rows.insert(at, (key, name.to_vec(), member));
            // SAFETY: the member lives until it is taken out, and there is no equal one.
            unsafe { self.tree.insert(member) };
            self.look_at(at);
        } else {
            let member = member(key, name);
            // SAFETY: it is alive.
            assert!(!unsafe { self.tree.remove(member) }, "an equal one is not the same one");
            free(member);
        }
    }

    fn remove(&mut self, pick: usize) {
        if self.rows.is_empty() {
            return;
        }
        let at = pick % self.rows.len();
        let (_, _, member) = self.rows.remove(at);
        // SAFETY: it is alive.
        assert!(unsafe { self.tree.remove(member) });
        // SAFETY: it is alive.
        assert!(!unsafe { self.tree.remove(member) });
        free(member);
        self.look_at(at);
    }

    fn replace(&mut self, pick: usize) {
        if self.rows.is_empty() {
            return;
        }
        let at = pick % self.rows.len();
        let (key, name, old) = &self.rows[at];
        let (old, new) = (*old, member(*key, name));
        // What is freed shall not be looked at; a new member at the same address would hide it.
        free(old);
        // SAFETY: `new` is what `old` was, and lives until it is taken out.
        assert!(unsafe { self.tree.replace(old, new) });
        self.rows[at].2 = new;
        self.look_at(at);
    }

    fn take(&mut self, rank: u64, max: u64) {
        let mut taken = Vec::new();
        let count = self.tree.take(rank, max, |member| taken.push(member));
        assert_eq!(count, taken.len() as u64);
        assert_eq!(count == 0, max == 0 || rank >= self.rows.len() as u64);
        assert!(count <= max);
        if count > 0 {
            let from = rank as usize;
            let rows: Vec<_> = self.rows.drain(from..from + taken.len()).map(|row| row.2).collect();
            assert_eq!(rows, taken);
            rows.into_iter().for_each(free);
        }
        self.look_at(rank as usize);
    }

    fn take_all_from(&mut self, rank: u64) {
        let mut left = (self.rows.len() as u64).saturating_sub(rank);
        while left > 0 {
            let before = self.rows.len();
            self.take(rank, left);
            left -= (before - self.rows.len()) as u64;
        }
        assert!(self.rows.len() as u64 <= rank);
    }

    fn rebuild(&mut self) {
        // SAFETY: all members are alive and in order; the old tree is gone.
        self.tree = unsafe { RankTree::from_sorted(self.rows.iter().map(|row| row.2)) };
    }

    /// Compares what is near a place.
    fn look_at(&self, at: usize) {
        assert_eq!(self.tree.len(), self.rows.len() as u64);
        for at in at.saturating_sub(1)..(at + 2).min(self.rows.len()) {
            let member = self.rows[at].2;
            assert_eq!(self.tree.get(at as u64), Some(member));
            // SAFETY: it is alive.
            assert_eq!(unsafe { self.tree.rank(member) }, Some(at as u64));
        }
        assert_eq!(self.tree.first(), self.rows.first().map(|row| row.2));
        assert_eq!(self.tree.last(), self.rows.last().map(|row| row.2));
        assert_eq!(self.tree.get(self.rows.len() as u64), None);
    }

    fn ask(&self, key: u64, name: &[u8], from: usize) {
        let (Ok(rank) | Err(rank)) = self.place(key, name);
        assert_eq!(self.tree.rank_of(key, name), rank as u64);
        assert_eq!(self.tree.count_below(key), self.rows.partition_point(|row| row.0 < key) as u64);
        assert_eq!(self.tree.count_through(key), self.rows.partition_point(|row| row.0 <= key) as u64);
        let found = self.tree.partition_point(|member| {
            // SAFETY: members in the tree are alive.
            let (k, n) = unsafe { (Plain::order_key(member), Plain::name(member)) };
            (k, n) < (key, name)
        });
        assert_eq!(found, rank as u64);
        let forward: Vec<_> = self.tree.iter_from(from as u64).take(300).collect();
        let expected: Vec<_> = self.rows.iter().skip(from).take(300).map(|row| row.2).collect();
        assert_eq!(forward, expected);
        let back: Vec<_> = self.tree.iter_back_from(from as u64).take(300).collect();
        let expected: Vec<_> = match self.rows.get(..=from) {
            Some(rows) => rows.iter().rev().take(300).map(|row| row.2).collect(),
            None => Vec::new(),
        };
        assert_eq!(back, expected);
    }

    fn compare_all(&self) {
        let rows: Vec<_> = self.rows.iter().map(|row| row.2).collect();
        assert_eq!(self.tree.iter_from(0).collect::<Vec<_>>(), rows);
        let last = self.tree.len().saturating_sub(1);
        assert!(self.tree.iter_back_from(last).eq(rows.iter().rev().copied()));
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.rows.drain(..).for_each(|row| free(row.2));
    }
}
