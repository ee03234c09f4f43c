//! The invalidation table: who has read which key.
//!
//! A key comes in when a tracking client reads it and leaves when it is changed, once its readers have been told: they are
//! told once and not again before they read it again. The number of keys is bounded by whoever calls ([`Table::evict`]).
//!
//! An entry is one cache line that holds a short name and a few readers inline, so a client that reads the same keys again
//! and again allocates nothing and touches one line. Entries are spread over small tables, each of which grows alone, so
//! that no read waits until a table of a million keys has moved.
//!
//! Readers are not taken out when they disconnect: they are recognised by a number that no other client has, and make room
//! when their key's readers grow. So a key has at most about twice as many readers as there are places for clients.

use hashbrown::{HashMap, HashTable};

/// Small tables that share the keys.
const SHARDS: usize = 256;
/// Readers that an entry holds inline.
const FEW: usize = 3;
/// Bytes of a name that an entry holds inline.
const SHORT: usize = 22;

/// A client that tracks: its place among the clients, and the lower bits of its number, since places are used again.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct TrackerId {
    /// Place in the table of clients.
    pub place: u32,
    /// Lower half of the client's number.
    pub number: u32,
}

#[derive(Debug)]
enum Name {
    Short(u8, [u8; SHORT]),
    Long(Box<[u8]>),
}

impl Name {
    fn new(name: &[u8]) -> Name {
        let mut bytes = [0; SHORT];
        match (bytes.get_mut(..name.len()), u8::try_from(name.len())) {
            (Some(to), Ok(len)) => {
                to.copy_from_slice(name);
                Name::Short(len, bytes)
            }
            _ => Name::Long(name.into()),
        }
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        match self {
            Name::Short(len, bytes) => &bytes[..usize::from(*len)],
            Name::Long(bytes) => bytes,
        }
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Name::Short(..) => 0,
            Name::Long(bytes) => bytes.len(),
        }
    }
}

/// Who has read one key. Each place is there once.
#[derive(Debug)]
pub struct Readers(Kept);

#[derive(Debug)]
enum Kept {
    Few(u8, [TrackerId; FEW]),
    /// Numbers by place.
    Many(Box<HashMap<u32, u32>>),
}

impl Readers {
    fn one(reader: TrackerId) -> Readers {
        let mut few = [TrackerId::default(); FEW];
        few[0] = reader;
        Readers(Kept::Few(1, few))
    }

    /// How many.
    pub fn len(&self) -> usize {
        match &self.0 {
            Kept::Few(len, _) => usize::from(*len),
            Kept::Many(many) => many.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = TrackerId> {
        let (few, many) = match &self.0 {
            Kept::Few(len, few) => (&few[..usize::from(*len)], None),
            Kept::Many(many) => (&[][..], Some(many)),
        };
        let many = many.into_iter().flat_map(|many| many.iter());
        few.iter().copied().chain(many.map(|(&place, &number)| TrackerId { place, number }))
    }

    /// Adds one; one that had the same place before makes room for it. Readers that `is_there` does not know any more are
    /// taken out when more room would be needed.
    #[inline]
    fn add(&mut self, reader: TrackerId, is_there: impl Fn(TrackerId) -> bool) {
        match &mut self.0 {
            Kept::Few(len, few) => {
                let known = &mut few[..usize::from(*len)];
                if known.contains(&reader) {
                    return;
                }
                if let Some(old) = known.iter_mut().find(|old| old.place == reader.place) {
                    *old = reader;
                } else {
                    self.add_new(reader, is_there);
                }
            }
            Kept::Many(many) => {
                if many.get(&reader.place) != Some(&reader.number) {
                    self.add_new(reader, is_there);
                }
            }
        }
    }

    #[cold]
    fn add_new(&mut self, reader: TrackerId, is_there: impl Fn(TrackerId) -> bool) {
        match &mut self.0 {
            Kept::Few(len, few) => {
                if usize::from(*len) == FEW {
                    let mut kept = 0;
                    for at in 0..FEW {
                        if is_there(few[at]) {
                            few[kept] = few[at];
                            kept += 1;
                        }
                    }
                    *len = kept as u8;
                }
                if let Some(free) = few.get_mut(usize::from(*len)) {
                    *free = reader;
                    *len += 1;
                } else {
                    let all = few.iter().chain([&reader]).map(|r| (r.place, r.number)).collect();
                    self.0 = Kept::Many(Box::new(all));
                }
            }
            Kept::Many(many) => {
                if many.len() == many.capacity() {
                    many.retain(|&place, number| is_there(TrackerId { place, number: *number }));
                }
                many.insert(reader.place, reader.number);
            }
        }
    }

    fn heap_bytes(&self) -> usize {
        match &self.0 {
            Kept::Few(..) => 0,
            Kept::Many(many) => size_of::<HashMap<u32, u32>>() + many.capacity() * 9,
        }
    }
}

#[derive(Debug)]
struct Tracked {
    position: u64,
    name: Name,
    readers: Readers,
}

const _: () = assert!(size_of::<Tracked>() == 64, "an entry is a cache line");

/// Keys and their readers.
#[derive(Debug, Default)]
pub struct Table {
    /// None before the first key comes in.
    shards: Vec<HashTable<Tracked>>,
    keys: usize,
    readers: usize,
    /// Bytes behind entries: long names, many readers.
    heap: usize,
}

/// Bits of a position that choose the bucket; others than those that choose the shard.
#[inline]
fn hash(position: u64) -> u64 {
    position.rotate_left(24)
}

#[inline]
fn shard_of(position: u64) -> usize {
    // Not the first bits, which keys of one cluster slot have in common.
    (position >> 32) as usize % SHARDS
}

impl Table {
    /// Keys in it.
    pub fn keys(&self) -> usize {
        self.keys
    }

    /// Readers of all keys together, those included that have gone since.
    pub fn readers(&self) -> usize {
        self.readers
    }

    /// Bytes of memory.
    pub fn memory_bytes(&self) -> usize {
        let entries: usize = self.shards.iter().map(HashTable::allocation_size).sum();
        self.heap + entries + self.shards.capacity() * size_of::<HashTable<Tracked>>()
    }

    /// A client has read a key, whose place in hash space is `position`. Allocates nothing if it is known.
    #[inline]
    pub fn remember(&mut self, position: u64, name: &[u8], reader: TrackerId, is_there: impl Fn(TrackerId) -> bool) {
        if self.shards.is_empty() {
            self.shards.resize_with(SHARDS, HashTable::new);
        }
        let shard = &mut self.shards[shard_of(position)];
        let found = shard.find_mut(hash(position), |t| t.position == position && t.name.bytes() == name);
        if let Some(tracked) = found {
            let (readers, heap) = (tracked.readers.len(), tracked.readers.heap_bytes());
            tracked.readers.add(reader, is_there);
            self.readers = self.readers + tracked.readers.len() - readers;
            self.heap = self.heap + tracked.readers.heap_bytes() - heap;
            return;
        }
        let tracked = Tracked { position, name: Name::new(name), readers: Readers::one(reader) };
        self.keys += 1;
        self.readers += 1;
        self.heap += tracked.name.heap_bytes();
        shard.insert_unique(hash(position), tracked, |t| hash(t.position));
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys == 0
    }

    /// A key with this position was changed: takes it out and gives its name and its readers to `f`. Should several keys
    /// have the position, it is done for all of them: being told too much is harmless.
    #[inline]
    pub fn invalidate(&mut self, position: u64, mut f: impl FnMut(&[u8], &Readers)) {
        if self.keys == 0 {
            return;
        }
        while let Ok(entry) = self.shards[shard_of(position)].find_entry(hash(position), |t| t.position == position) {
            let (tracked, _) = entry.remove();
            self.forgotten(&tracked);
            f(tracked.name.bytes(), &tracked.readers);
        }
    }

    /// Takes out a key picked at random and gives it to `f`. `random` is any number.
    pub fn evict(&mut self, random: u64, f: impl FnOnce(&[u8], &Readers)) {
        let first = random as usize % SHARDS;
        let shards = self.shards.len();
        let Some(at) = (0..shards).map(|i| (first + i) % shards).find(|&at| !self.shards[at].is_empty()) else {
            return;
        };
        let shard = &mut self.shards[at];
        let nth = (random >> 16) as usize % shard.len();
        let Some(position) = shard.iter().nth(nth).map(|t| t.position) else { return };
        if let Ok(entry) = shard.find_entry(hash(position), |t| t.position == position) {
            let (tracked, _) = entry.remove();
            self.forgotten(&tracked);
            f(tracked.name.bytes(), &tracked.readers);
        }
    }

    fn forgotten(&mut self, tracked: &Tracked) {
        self.keys -= 1;
        self.readers -= tracked.readers.len();
        self.heap -= tracked.name.heap_bytes() + tracked.readers.heap_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn id(place: u32) -> TrackerId {
        TrackerId { place, number: place + 100 }
    }

    fn position(key: u64) -> u64 {
        key.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn all(_: TrackerId) -> bool {
        true
    }

    fn taken(table: &mut Table, position: u64) -> Vec<(Vec<u8>, BTreeSet<u32>)> {
        let mut taken = Vec::new();
        table.invalidate(position, |name, readers| {
            taken.push((name.to_vec(), readers.iter().map(|r| r.place).collect()));
        });
        taken
    }

    #[test]
    fn a_key_is_there_until_it_is_changed() {
        let mut table = Table::default();
        table.remember(7, b"k", id(1), all);
        table.remember(7, b"k", id(1), all);
        table.remember(7, b"k", id(2), all);
        assert_eq!((table.keys(), table.readers()), (1, 2));
        assert_eq!(taken(&mut table, 7), [(b"k".to_vec(), BTreeSet::from([1, 2]))]);
        assert_eq!(taken(&mut table, 7), []);
        assert_eq!((table.keys(), table.readers()), (0, 0));
    }

    #[test]
    fn keys_that_share_a_position_are_kept_apart_and_go_together() {
        let mut table = Table::default();
        table.remember(7, b"a", id(1), all);
        table.remember(7, b"b", id(2), all);
        let mut both = taken(&mut table, 7);
        both.sort();
        assert_eq!(both, [(b"a".to_vec(), BTreeSet::from([1])), (b"b".to_vec(), BTreeSet::from([2]))]);
    }

    #[test]
    fn holds_what_a_model_holds() {
        let mut table = Table::default();
        let mut model: BTreeMap<u64, BTreeSet<u32>> = BTreeMap::new();
        let mut seed = 1u64;
        for _ in 0..200_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (key, place) = ((seed >> 33) % 3000, (seed >> 20) as u32 % 12);
            let name = format!("a name that may be long {key:010}");
            let name = if key % 2 == 0 { &name.as_bytes()[30..] } else { name.as_bytes() };
            if seed >> 60 == 0 {
                let known: Vec<_> = model.remove(&key).map(|r| (name.to_vec(), r)).into_iter().collect();
                assert_eq!(taken(&mut table, position(key)), known);
            } else {
                table.remember(position(key), name, id(place), all);
                model.entry(key).or_default().insert(place);
            }
            assert_eq!(table.keys(), model.len());
        }
        assert_eq!(table.readers(), model.values().map(BTreeSet::len).sum::<usize>());
        for key in 0..3000 {
            taken(&mut table, position(key));
        }
        assert_eq!((table.keys(), table.readers(), table.heap), (0, 0, 0));
    }

    #[test]
    fn eviction_takes_every_key_once() {
        let mut table = Table::default();
        for key in 0..5000u64 {
            table.remember(position(key), &key.to_be_bytes(), id(1), all);
        }
        let mut seen = BTreeSet::new();
        for random in 0..5000u64 {
            table.evict(position(random + 77), |name, _| assert!(seen.insert(name.to_vec())));
        }
        assert_eq!((seen.len(), table.keys()), (5000, 0));
        table.evict(1, |_, _| panic!("nothing is left"));
    }

    #[test]
    fn readers_that_have_gone_do_not_pile_up() {
        let mut table = Table::default();
        for number in 0..100_000 {
            // A hundred places, taken over again and again.
            let reader = TrackerId { place: number % 100, number };
            table.remember(7, b"k", reader, |r| r.number + 50 > number);
        }
        assert!(table.readers() <= 120, "{}", table.readers());
        assert!(table.memory_bytes() < 64 * 1024);
    }
}
