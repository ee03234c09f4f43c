//! The table against `std`'s map, under well spread, skewed and equal positions.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::ptr::NonNull;

use super::segment::{NB_MAX, SLOTS};
use super::table::DISTANCE_MAX;
use super::{Dict, Layout};
use crate::testing::Rng;

/// A block is one length byte and the key.
struct Plain;

// SAFETY: the tests never change a block.
unsafe impl Layout for Plain {
    unsafe fn key<'a>(block: NonNull<u8>) -> &'a [u8] {
        // SAFETY: a block has at least its length byte.
        let len = usize::from(unsafe { block.read() });
        // SAFETY: the key follows it.
        let start = unsafe { block.add(1) };
        // SAFETY: likewise; the block outlives its time in the table.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), len) }
    }
}

fn spread(key: &[u8]) -> u64 {
    Rng::new(key.iter().fold(17, |sum: u64, &b| sum.wrapping_mul(0x0100_0000_01B3) ^ u64::from(b))).next()
}

fn in_one_slot(key: &[u8]) -> u64 {
    spread(key) >> 14 | 0x1234 << 50
}

fn in_few_places(key: &[u8]) -> u64 {
    spread(key) & 0xC000_0000_0000_01FF
}

fn equal(_: &[u8]) -> u64 {
    0xFFFF_0000_FFFF_0000
}

type Position = fn(&[u8]) -> u64;

/// A table and the blocks that it points to.
struct Tested {
    dict: Dict<Plain>,
    blocks: HashMap<Vec<u8>, NonNull<u8>>,
    position: Position,
}

impl Tested {
    fn new(position: Position) -> Tested {
        Tested { dict: Dict::new(), blocks: HashMap::new(), position }
    }

    fn filled(position: Position, count: usize) -> Tested {
        let mut tested = Tested::new(position);
        for number in 0..count {
            tested.insert(&name(number));
        }
        tested
    }

    fn insert(&mut self, key: &[u8]) {
        let block = block_with(key);
        let position = self.position;
        // SAFETY: the block is laid out as `Plain` says, the key is new (the callers see to it).
        let slot = unsafe { self.dict.insert_new(position(key), block, &position) };
        // SAFETY: nothing happened since.
        assert_eq!(unsafe { self.dict.block(slot) }, block);
        assert!(self.blocks.insert(key.to_vec(), block).is_none());
    }

    fn replace(&mut self, key: &[u8]) {
        let block = block_with(key);
        let slot = self.dict.find((self.position)(key), key).unwrap();
        // SAFETY: the slot was found just now, and the keys are equal.
        let old = unsafe { self.dict.replace(slot, block) };
        assert_eq!(self.blocks.insert(key.to_vec(), block), Some(old));
        free(old);
    }

    fn remove(&mut self, key: &[u8]) {
        let block = self.dict.remove((self.position)(key), key);
        assert_eq!(block, self.blocks.remove(key), "{key:?}");
        free(block.unwrap());
    }

    fn get(&self, key: &[u8]) -> Option<NonNull<u8>> {
        let position = (self.position)(key);
        self.dict.prefetch_bucket(position);
        self.dict.prefetch_block(position);
        self.dict.get(position, key)
    }

    fn check(&self) {
        self.dict.check(&self.position);
        assert_eq!(self.dict.len(), self.blocks.len());
        for (key, &block) in &self.blocks {
            assert_eq!(self.get(key), Some(block));
        }
        let all: HashSet<_> = self.dict.iter().collect();
        assert_eq!(all.len(), self.blocks.len());
        assert!(self.blocks.values().all(|block| all.contains(block)));
    }
}

impl Drop for Tested {
    fn drop(&mut self) {
        for (_, block) in self.blocks.drain() {
            free(block);
        }
    }
}

fn name(number: usize) -> Vec<u8> {
    format!("key:{number}").into_bytes()
}

fn block_with(key: &[u8]) -> NonNull<u8> {
    let len = u8::try_from(key.len()).unwrap();
    // SAFETY: the layout's size is not zero.
    let block = NonNull::new(unsafe { std::alloc::alloc(block_layout(len)) }).unwrap();
    // SAFETY: the block has room for its length byte.
    unsafe { block.write(len) };
    // SAFETY: the key follows it.
    let start = unsafe { block.add(1) };
    // SAFETY: the block is new and has room for the key.
    unsafe { std::ptr::copy_nonoverlapping(key.as_ptr(), start.as_ptr(), key.len()) };
    block
}

fn block_layout(key_len: u8) -> std::alloc::Layout {
    std::alloc::Layout::from_size_align(1 + usize::from(key_len), 4).unwrap()
}

fn free(block: NonNull<u8>) {
    // SAFETY: the block is alive.
    let len = unsafe { block.read() };
    // SAFETY: it was allocated with this layout and is forgotten by the caller.
    unsafe { std::alloc::dealloc(block.as_ptr(), block_layout(len)) };
}

/// Random insertions, removals, replacements and searches; tides fill the table and drain it again.
fn agrees_with_a_map(position: Position, keys: usize, steps: usize, seed: u64) {
    let mut tested = Tested::new(position);
    let mut rng = Rng::new(seed);
    for step in 0..steps {
        let key = name(rng.below(keys));
        let insert_more = (step * 6 / steps).is_multiple_of(2);
        match (tested.blocks.contains_key(&key), rng.below(10)) {
            (true, 0..2) => tested.replace(&key),
            (true, draw) if draw < if insert_more { 3 } else { 10 } => tested.remove(&key),
            (false, draw) if draw < if insert_more { 10 } else { 1 } => tested.insert(&key),
            _ => assert_eq!(tested.get(&key), tested.blocks.get(&key).copied()),
        }
        if step.is_multiple_of(steps / 16) {
            tested.check();
        }
    }
    let mut rest: Vec<_> = tested.blocks.keys().cloned().collect();
    rest.sort();
    for key in &rest {
        tested.remove(key);
    }
    tested.check();
    assert_eq!(tested.dict.directory_len(), 1, "an empty table has its smallest directory");
    assert!(tested.dict.memory_bytes() <= 64, "an empty table has no buckets");
}

#[test]
fn agrees_with_a_map_when_positions_are_spread() {
    agrees_with_a_map(spread, 20_000, 120_000, 1);
}

#[test]
fn agrees_with_a_map_when_segments_split_again_and_again() {
    agrees_with_a_map(spread, 150_000, 700_000, 5);
}

#[test]
fn no_insertion_reads_more_than_a_few_keys() {
    let mut dict = Dict::<Plain>::new();
    let (mut reads, mut most) = (0, 0);
    let blocks: Vec<_> = (0..300_000).map(|number| block_with(&name(number))).collect();
    for &block in &blocks {
        let calls = Cell::new(0);
        let position_of = |key: &[u8]| {
            calls.set(calls.get() + 1);
            spread(key)
        };
        // SAFETY: the block is laid out as `Plain` says and outlives the table, and its key is new.
        unsafe { dict.insert_new(spread(Plain::key(block)), block, &position_of) };
        reads += calls.get();
        most = most.max(calls.get());
    }
    assert!(dict.directory_len() >= 64);
    assert!(most <= 100, "{most} keys were read for one insertion");
    assert!(reads < blocks.len() * 3 / 4, "{reads} keys were read");
    dict.check(&(spread as Position));
    drop(dict);
    blocks.into_iter().for_each(free);
}

#[test]
fn agrees_with_a_map_when_it_is_tiny() {
    for keys in 1..40 {
        agrees_with_a_map(spread, keys, 800, keys as u64);
    }
}

#[test]
fn agrees_with_a_map_when_all_keys_are_in_one_slot() {
    agrees_with_a_map(in_one_slot, 10_000, 60_000, 2);
}

#[test]
fn agrees_with_a_map_when_positions_collide() {
    agrees_with_a_map(in_few_places, 5_000, 30_000, 3);
    agrees_with_a_map(equal, 500, 4_000, 4);
}

#[test]
fn thousands_of_equal_positions_cost_no_more_than_the_smallest_directory_limit() {
    let mut tested = Tested::filled(equal, 4_000);
    assert!(tested.dict.directory_len() <= 1 << 16);
    assert!(tested.dict.memory_bytes() < (17 << 16) + 4_000 * 12);
    tested.check();
    for number in 0..4_000 {
        tested.remove(&name(number));
    }
    assert_eq!(tested.dict.directory_len(), 1);
}

#[test]
fn keys_of_one_slot_are_not_crowded() {
    let tested = Tested::filled(in_one_slot, 40_000);
    assert!(tested.dict.directory_len() <= 1 << 16);
    assert!(tested.dict.segment_bytes < 40_000 * 12);
    let farthest = tested.dict.segments().map(|view| view.segment.farthest()).max();
    assert!(farthest <= Some(DISTANCE_MAX), "{farthest:?}");
    tested.dict.check(&(in_one_slot as Position));
}

#[test]
fn alternating_at_a_threshold_does_not_move_items_again_and_again() {
    let mut tested = Tested::filled(spread, 1);
    for number in 1..30_000 {
        tested.insert(&name(number));
        let bytes = tested.dict.memory_bytes();
        tested.remove(&name(number));
        assert_eq!(tested.dict.memory_bytes(), bytes, "what an insertion needed stays after its removal");
        tested.insert(&name(number));
    }
}

#[test]
fn bytes_an_item_stay_in_bounds_at_every_size() {
    let mut tested = Tested::new(spread);
    for number in 0..100_000 {
        tested.insert(&name(number));
        let items = number + 1;
        if items > 1_000 {
            let bytes = tested.dict.memory_bytes();
            assert!(bytes < items * 13, "{bytes} bytes for {items} items");
        }
    }
}

/// Items that are there from the first to the last call are seen, whatever happens in between.
fn scan_sees_what_stays(position: Position, stay: usize, visitors: usize, seed: u64) {
    let mut rng = Rng::new(seed);
    let mut tested = Tested::filled(position, stay);
    let mut present: Vec<usize> = Vec::new();
    let mut next_name = stay;
    let mut growing = true;
    for _ in 0..3 {
        let mut seen = HashSet::new();
        let (mut cursor, mut calls) = (0, 0);
        loop {
            cursor = tested.dict.scan(cursor, |block| {
                seen.insert(block);
            });
            calls += 1;
            assert!(cursor < 1 << 56 && calls < 4 * (stay + visitors));
            if cursor == 0 {
                break;
            }
            growing = if growing { present.len() < visitors } else { present.is_empty() };
            for _ in 0..rng.below(64) {
                if growing {
                    tested.insert(&name(next_name));
                    present.push(next_name);
                    next_name += 1;
                } else if !present.is_empty() {
                    let gone = present.swap_remove(rng.below(present.len()));
                    tested.remove(&name(gone));
                }
            }
        }
        for number in 0..stay {
            assert!(seen.contains(&tested.blocks[&name(number)]), "item {number} was missed");
        }
    }
    tested.check();
}

#[test]
fn scan_sees_what_stays_while_the_table_grows_and_shrinks() {
    scan_sees_what_stays(spread, 10, 20_000, 1);
    scan_sees_what_stays(spread, 3_000, 40_000, 2);
    scan_sees_what_stays(in_one_slot, 1_000, 20_000, 3);
    scan_sees_what_stays(in_few_places, 300, 3_000, 4);
}

#[test]
fn scan_of_an_unchanged_table_gives_every_item_once() {
    for (position, count) in
        [(spread as Position, 50_000), (spread, 0), (spread, 5), (in_few_places, 3_000), (equal, 300)]
    {
        let tested = Tested::filled(position, count);
        let mut seen = Vec::new();
        let mut cursor = 0;
        loop {
            cursor = tested.dict.scan(cursor, |block| seen.push(block));
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(seen.len(), count);
        assert_eq!(seen.iter().collect::<HashSet<_>>().len(), count);
    }
}

#[test]
fn scan_takes_any_cursor_and_ends() {
    let tested = Tested::filled(spread, 20_000);
    let mut rng = Rng::new(9);
    for _ in 0..2_000 {
        let cursor = rng.next() >> rng.below(64);
        let next = tested.dict.scan(cursor, |_| {});
        assert!(next == 0 || next > cursor & ((1 << 56) - 1));
    }
    assert_eq!(tested.dict.scan(u64::MAX, |_| {}), 0);
}

/// Whether each item is drawn as often as the others, by the chi-square test at five standard deviations.
fn draws_evenly(tested: &Tested, draws_an_item: usize) {
    let mut rng = Rng::new(5);
    let mut counts: HashMap<NonNull<u8>, usize> = HashMap::new();
    for _ in 0..tested.dict.len() * draws_an_item {
        let block = tested.dict.random(&mut || rng.next()).unwrap();
        *counts.entry(block).or_default() += 1;
    }
    let expected = draws_an_item as f64;
    let chi_square: f64 = tested
        .blocks
        .values()
        .map(|block| (counts.get(block).copied().unwrap_or(0) as f64 - expected).powi(2) / expected)
        .sum();
    let freedom = (tested.dict.len() - 1) as f64;
    let deviation = (2.0 * freedom).sqrt();
    assert!((chi_square - freedom).abs() < 5.0 * deviation, "chi square {chi_square} at {freedom} degrees of freedom");
}

#[test]
fn random_is_even() {
    draws_evenly(&Tested::filled(spread, 3), 3_000);
    draws_evenly(&Tested::filled(spread, 1_000), 200);
    // About half of the segments are one split deeper than the others.
    draws_evenly(&Tested::filled(spread, 8_000), 30);
}

#[test]
fn random_is_even_when_positions_are_skewed() {
    draws_evenly(&Tested::filled(in_one_slot, 2_000), 10);
    draws_evenly(&Tested::filled(in_few_places, 1_000), 10);
    draws_evenly(&Tested::filled(equal, 300), 20);
}

#[test]
fn random_of_an_empty_table_is_nothing() {
    assert_eq!(Tested::new(spread).dict.random(&mut || 0), None);
    assert_eq!(Tested::new(spread).dict.sample(&mut || 0, |_| unreachable!()), 0);
}

#[test]
fn samples_hold_every_item_equally_often() {
    let tested = Tested::filled(spread, 8_000);
    let mut rng = Rng::new(3);
    let mut times: HashMap<NonNull<u8>, usize> = HashMap::new();
    let mut items = 0;
    for _ in 0..40_000 {
        let mut found = 0;
        items += tested.dict.sample(&mut || rng.next(), |block| {
            found += 1;
            *times.entry(block).or_default() += 1;
        });
        assert!((1..=SLOTS).contains(&found));
    }
    let mean = items as f64 / 8_000.0;
    let far = |&&n: &&usize| (n as f64 - mean).abs() > 6.5 * mean.sqrt();
    assert_eq!((times.len(), times.values().filter(far).count()), (8_000, 0), "{mean}");
}

#[test]
fn items_are_found_by_the_top_of_their_position() {
    for position in [spread as Position, in_one_slot, in_few_places] {
        let tested = Tested::filled(position, 9_000);
        for number in (0..9_000).step_by(7) {
            let key = name(number);
            let prefix = position(&key) >> 16;
            let mut found = HashSet::new();
            tested.dict.by_position48(prefix, &position, |block| assert!(found.insert(block)));
            assert!(found.contains(&tested.blocks[&key]));
            // SAFETY: the blocks are in the table.
            assert!(found.iter().all(|&block| position(unsafe { Plain::key(block) }) >> 16 == prefix));
            if number % 49 > 0 {
                continue;
            }
            let others = tested.blocks.keys().filter(|key| position(key) >> 16 == prefix).count();
            assert_eq!(found.len(), others);
            if std::ptr::fn_addr_eq(position, in_few_places as Position) && number > 700 {
                break;
            }
        }
    }
}

#[test]
fn drain_gives_every_block_and_leaves_nothing() {
    let mut tested = Tested::filled(spread, 10_000);
    let mut drained = HashSet::new();
    tested.dict.drain(|block| assert!(drained.insert(block)));
    assert_eq!(drained.len(), 10_000);
    assert!(tested.dict.is_empty());
    tested.dict.check(&(spread as Position));
}

#[test]
fn a_regular_segment_is_never_larger_than_its_page() {
    let tested = Tested::filled(spread, 100_000);
    assert!(tested.dict.nb_largest <= NB_MAX);
    let farthest = tested.dict.segments().map(|view| view.segment.farthest()).max();
    assert!(farthest < Some(DISTANCE_MAX / 2), "spread items are {farthest:?} buckets from home");
    assert!(tested.dict.segments().all(|view| view.used < NB_MAX * SLOTS));
}
