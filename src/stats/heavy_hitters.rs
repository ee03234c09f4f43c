//! Which keys weigh most, in bounded memory: the space-saving algorithm (Metwally, Agrawal, El Abbadi 2005).
//!
//! So many keys have a counter, with the lightest one on top of a heap. A key that comes without a counter takes that of
//! the lightest, and its weight as the error of the new one: it may have had that much before, unseen. What is told is the
//! weight without the error, which the key has for certain, so a key that came once is never told as a heavy one. A key
//! with more than its share, total weight through counters, always has a counter.

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

/// Longer keys are not counted: nobody reads them, and many of them would fill the memory.
pub const KEY_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug)]
struct Counter {
    key: Box<[u8]>,
    weight: u64,
    error: u64,
    /// Its place in the heap.
    place: usize,
}

/// Keys and their weights.
#[derive(Debug)]
pub struct HeavyHitters {
    counters: Vec<Counter>,
    counters_max: usize,
    /// Counters, the lightest first.
    heap: Vec<usize>,
    by_key: HashTable<usize>,
    hasher: FixedState,
}

impl HeavyHitters {
    /// With at most so many counters. `seed` is for the hash of keys, which clients choose.
    pub fn new(counters_max: usize, seed: u64) -> HeavyHitters {
        HeavyHitters {
            counters: Vec::new(),
            counters_max: counters_max.max(1),
            heap: Vec::new(),
            by_key: HashTable::new(),
            hasher: FixedState::with_seed(seed),
        }
    }

    /// Adds to the weight of a key. O(log counters).
    pub fn add(&mut self, key: &[u8], weight: u64) {
        if weight == 0 || key.len() > KEY_BYTES_MAX {
            return;
        }
        let hash = self.hasher.hash_one(key);
        let counters = &self.counters;
        if let Some(&at) = self.by_key.find(hash, |&at| *counters[at].key == *key) {
            self.counters[at].weight = self.counters[at].weight.saturating_add(weight);
            return self.sink(self.counters[at].place);
        }
        if self.counters.len() < self.counters_max {
            let at = self.counters.len();
            self.counters.push(Counter { key: key.into(), weight, error: 0, place: at });
            self.heap.push(at);
            self.remember(hash, at);
            return self.rise(at);
        }
        let lightest = self.heap[0];
        let old_hash = self.hasher.hash_one(&*self.counters[lightest].key);
        if let Ok(entry) = self.by_key.find_entry(old_hash, |&at| at == lightest) {
            entry.remove();
        }
        let counter = &mut self.counters[lightest];
        counter.key = key.into();
        counter.error = counter.weight;
        counter.weight = counter.weight.saturating_add(weight);
        self.remember(hash, lightest);
        self.sink(0);
    }

    /// The heaviest keys, with the weight that each has for certain, heaviest first.
    pub fn top(&self, keys: usize) -> Vec<(&[u8], u64)> {
        let mut all: Vec<(&[u8], u64)> = self.counters.iter().map(|c| (&*c.key, c.weight - c.error)).collect();
        all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        all.truncate(keys);
        all
    }

    fn remember(&mut self, hash: u64, at: usize) {
        let HeavyHitters { counters, by_key, hasher, .. } = self;
        by_key.insert_unique(hash, at, |&at| hasher.hash_one(&*counters[at].key));
    }

    fn weight_at(&self, place: usize) -> u64 {
        self.counters[self.heap[place]].weight
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.counters[self.heap[a]].place = a;
        self.counters[self.heap[b]].place = b;
    }

    fn rise(&mut self, mut place: usize) {
        while place > 0 && self.weight_at(place) < self.weight_at((place - 1) / 2) {
            self.swap(place, (place - 1) / 2);
            place = (place - 1) / 2;
        }
    }

    fn sink(&mut self, mut place: usize) {
        loop {
            let children = (2 * place + 1)..(2 * place + 3).min(self.heap.len());
            let Some(lighter) = children.min_by_key(|&child| self.weight_at(child)) else { return };
            if self.weight_at(place) <= self.weight_at(lighter) {
                return;
            }
            self.swap(place, lighter);
            place = lighter;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(hitters: &HeavyHitters) {
        for (place, &at) in hitters.heap.iter().enumerate() {
            assert_eq!(hitters.counters[at].place, place);
            assert!(place == 0 || hitters.weight_at((place - 1) / 2) <= hitters.weight_at(place));
        }
        assert_eq!(hitters.by_key.len(), hitters.counters.len());
    }

    #[test]
    fn weights_are_exact_while_there_are_counters_for_all() {
        let mut hitters = HeavyHitters::new(100, 1);
        for round in 0..10u64 {
            for key in 0..100u64 {
                hitters.add(&key.to_le_bytes(), key * round);
            }
        }
        check(&hitters);
        let top = hitters.top(3);
        assert_eq!(top.iter().map(|(_, weight)| *weight).collect::<Vec<_>>(), [99 * 45, 98 * 45, 97 * 45]);
        assert_eq!(top[0].0, 99u64.to_le_bytes());
    }

    #[test]
    fn heavy_keys_are_found_among_any_number_of_others() {
        let mut hitters = HeavyHitters::new(64, 1);
        for number in 0..200_000u64 {
            hitters.add(format!("once:{number}").as_bytes(), 1);
            if number % 20 == 0 {
                hitters.add(format!("hot:{}", number / 20 % 5).as_bytes(), 3);
            }
        }
        check(&hitters);
        let top = hitters.top(5);
        assert!(
            top.iter().all(|(key, weight)| key.starts_with(b"hot:") && *weight > 4_000 && *weight <= 6_000),
            "{top:?}"
        );
    }

    #[test]
    fn keys_beyond_any_use_are_left_out() {
        let mut hitters = HeavyHitters::new(4, 1);
        hitters.add(&vec![b'x'; KEY_BYTES_MAX + 1], 1);
        hitters.add(b"weightless", 0);
        assert!(hitters.top(4).is_empty());
    }
}
