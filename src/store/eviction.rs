//! Eviction: which entry gives way when memory is short.
//!
//! The best entry to evict is not looked for, but estimated, as Redis does: some entries are sampled, the best of them go
//! into a pool of candidates, and the best of the pool goes. Here a sample is whole buckets of the table, whose entries the
//! hash has put together by chance: the memory of all of them is requested at once, so seven cost little more than one. A
//! candidate is looked at again before it goes; one that was used since it was pooled stays.
//!
//! Where only keys with a deadline may go, they are sampled in the same way as long as they are many, and drawn from the
//! index of deadlines where they are few, or where the nearest deadline is wanted. Stale records that are drawn there are taken out, so none is met twice.
//!
//! What must stay true: a step looks at a bounded number of entries, however few of them may go.

use super::broker::is_of_broker;
use super::db::{Db, Key};
use super::expiry::Deadlines;
use super::registry::is_of_registry;
use super::{AccessClock, EntryRef, Env, Store};
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};
use weir_structs::expiry_wheel::Drawn;

/// Candidates that are remembered.
const POOL_MAX: usize = 16;
/// Buckets that one step looks at, at most, beside those that the number of samples asks for.
const BUCKETS_MAX: usize = 8;
/// Records of the index of deadlines that are drawn in one step at least.
const DRAWS_MIN: usize = 8;
/// The most of them, and their memory is requested together.
const DRAWS_MAX: usize = 64;
/// Keys with a deadline are sampled in the table if they are at least one in so many.
const MANY_VOLATILE: usize = 4;
/// Parts of the table that a step walks where chance finds no key with a deadline.
const WALK_STEPS: usize = 32;
/// Evictions after which the sizes of databases are looked at again.
const LOTS_KEPT: u32 = 64;

/// Which entries may be evicted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EvictionScope {
    /// All.
    All,
    /// Those with a deadline.
    Volatile,
}

/// Which of them goes first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EvictionOrder {
    /// The one whose access clock has stood still for longest.
    Oldest,
    /// The one that is used least.
    Rarest,
    /// The one whose deadline is nearest.
    Deadline,
    /// Any.
    Random,
}

/// What one step of eviction did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Eviction {
    /// An entry is gone.
    Evicted,
    /// None that may go was found; there are some.
    Searching,
    /// There is none that may go.
    Impossible,
}

/// An entry that may be evicted next.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    /// The lowest goes first: the second of its last use, its frequency, or its deadline.
    rank: i64,
    db: usize,
    /// The top bits of its position.
    position48: u64,
}

/// What is kept between steps.
#[derive(Debug)]
pub(super) struct Evictor {
    /// Best last.
    pool: Vec<Candidate>,
    pooled_by: Option<(EvictionScope, EvictionOrder)>,
    /// Databases with entries that may go, and how many, for lots to be drawn among them.
    lots: Vec<(usize, usize)>,
    lots_total: usize,
    lots_left: u32,
    /// Where the walk goes on.
    walk_db: usize,
    walk_cursor: u64,
    name: Vec<u8>,
    drawn: Vec<Drawn>,
    /// Of its own, so that what it will give next is known one step ahead.
    rng: SmallRng,
}

impl Evictor {
    /// With nothing in the pool.
    pub(super) fn new(random_seed: u64) -> Evictor {
        Evictor {
            pool: Vec::with_capacity(POOL_MAX),
            pooled_by: None,
            lots: Vec::new(),
            lots_total: 0,
            lots_left: 0,
            walk_db: 0,
            walk_cursor: 0,
            name: Vec::new(),
            drawn: Vec::new(),
            rng: SmallRng::seed_from_u64(random_seed),
        }
    }

    /// Takes a candidate in, if it is better than the worst of a full pool.
    #[inline]
    fn offer(&mut self, rank: i64, db: usize, position48: impl FnOnce() -> u64) {
        if self.pool.len() < POOL_MAX || self.pool.first().is_some_and(|worst| rank < worst.rank) {
            self.take_in(Candidate { rank, db, position48: position48() });
        }
    }

    fn take_in(&mut self, candidate: Candidate) {
        let place = self.pool.partition_point(|c| c.rank > candidate.rank);
        let same = |c: &Candidate| c.position48 == candidate.position48 && c.db == candidate.db;
        if self.pool.iter().any(same) {
            return;
        }
        if self.pool.len() == POOL_MAX {
            self.pool.remove(0);
            self.pool.insert(place - 1, candidate);
        } else {
            self.pool.insert(place, candidate);
        }
    }
}

impl Store {
    /// One step of eviction: samples at least `samples` entries if it can, and removes the best candidate. Entries whose
    /// deadline has come are removed as expired ones. Large values are freed elsewhere: [`Store::garbage_bytes`].
    pub fn evict_step(&mut self, scope: EvictionScope, order: EvictionOrder, samples: usize) -> Eviction {
        let Some(mut evictor) = self.evictor.take() else { return Eviction::Searching };
        let done = self.step(&mut evictor, scope, order, samples);
        self.evictor = Some(evictor);
        done
    }

    fn step(&mut self, evictor: &mut Evictor, scope: EvictionScope, order: EvictionOrder, samples: usize) -> Eviction {
        if evictor.pooled_by != Some((scope, order)) {
            evictor.pooled_by = Some((scope, order));
            evictor.pool.clear();
            evictor.lots_left = 0;
        }
        let Some(index) = self.draw_database(evictor, scope) else { return Eviction::Impossible };
        self.db(index).sample_candidates(evictor, scope, order, samples);
        if evictor.pool.is_empty() && scope == EvictionScope::Volatile {
            self.walk_for_candidates(evictor, order);
        }
        while let Some(candidate) = evictor.pool.pop() {
            if self.db(candidate.db).evict_candidate(candidate, evictor, scope, order) {
                return Eviction::Evicted;
            }
        }
        evictor.lots_left = 0;
        Eviction::Searching
    }

    /// A database by chance, in proportion to the entries in it that may go.
    fn draw_database(&mut self, evictor: &mut Evictor, scope: EvictionScope) -> Option<usize> {
        if evictor.lots_left == 0 || evictor.lots.is_empty() {
            evictor.lots.clear();
            let sizes = self.databases[..self.used].iter().map(|db| match scope {
                EvictionScope::All => db.keys.len().saturating_sub(db.meta.broker_keys + db.meta.registry_keys),
                EvictionScope::Volatile => db.meta.expires(),
            });
            evictor.lots.extend(sizes.enumerate().filter(|&(_, size)| size > 0));
            evictor.lots_total = evictor.lots.iter().map(|(_, size)| size).sum();
            evictor.lots_left = LOTS_KEPT;
        }
        evictor.lots_left = evictor.lots_left.saturating_sub(1);
        if let [(only, _)] = *evictor.lots {
            return Some(only);
        }
        let mut lot = below(self.env.rng.next_u64(), evictor.lots_total);
        for &(index, size) in &evictor.lots {
            if lot < size {
                return Some(index);
            }
            lot -= size;
        }
        None
    }

    /// Walks a part of all databases and takes what may go for candidates.
    #[cold]
    fn walk_for_candidates(&mut self, evictor: &mut Evictor, order: EvictionOrder) {
        for _ in 0..WALK_STEPS {
            let index = evictor.walk_db % self.databases.len();
            let database = &self.databases[index];
            if database.meta.expires() == 0 {
                (evictor.walk_db, evictor.walk_cursor) = (index + 1, 0);
                continue;
            }
            let cursor = evictor.walk_cursor;
            evictor.walk_cursor = database.keys.scan(cursor, &mut |entry: EntryRef<'_>| {
                if may_go(entry, EvictionScope::Volatile) {
                    let rank = rank(&self.env.access, order, entry);
                    evictor.offer(rank, index, || database.keys.position(entry.key()) >> 16);
                }
            });
            if evictor.walk_cursor == 0 {
                evictor.walk_db = index + 1;
            }
        }
    }
}

impl Db<'_> {
    fn sample_candidates(&mut self, evictor: &mut Evictor, scope: EvictionScope, order: EvictionOrder, samples: usize) {
        // Those of a bucket are not independent of each other, which is all that chance is about.
        let one = order == EvictionOrder::Random;
        let expires = self.meta.expires();
        let few = expires * MANY_VOLATILE < self.keys.len();
        if scope == EvictionScope::Volatile && (few || order == EvictionOrder::Deadline) {
            self.draw_records(evictor, order, if one { 1 } else { samples });
        } else if one || !self.sample_table(evictor, scope, order, samples) {
            self.pick(evictor, scope, order);
        }
    }

    /// Samples buckets of the table. Returns whether any entry in them may go.
    fn sample_table(
        &mut self,
        evictor: &mut Evictor,
        scope: EvictionScope,
        order: EvictionOrder,
        samples: usize,
    ) -> bool {
        let Db { keys, env, index, .. } = self;
        let mut rng = evictor.rng.clone();
        let mut seen = 0;
        for _ in 0..samples + BUCKETS_MAX {
            keys.sample(&mut || rng.next_u64(), &mut |entry: EntryRef<'_>| {
                if may_go(entry, scope) {
                    seen += 1;
                    evictor.offer(rank(&env.access, order, entry), *index, || keys.position(entry.key()) >> 16);
                }
            });
            if seen >= samples {
                break;
            }
        }
        evictor.rng = rng.clone();
        keys.prefetch_samples(&mut || rng.next_u64());
        seen > 0
    }

    /// Picks entries by chance until one may go.
    fn pick(&mut self, evictor: &mut Evictor, scope: EvictionScope, order: EvictionOrder) {
        let Db { keys, env, index, .. } = self;
        let Env { access, rng, .. } = &mut **env;
        for _ in 0..BUCKETS_MAX * MANY_VOLATILE {
            let Some(entry) = keys.random(&mut || rng.next_u64()) else { return };
            if may_go(entry, scope) {
                return evictor.offer(rank(access, order, entry), *index, || keys.position(entry.key()) >> 16);
            }
        }
    }

    /// Draws records of the index of deadlines.
    fn draw_records(&mut self, evictor: &mut Evictor, order: EvictionOrder, samples: usize) {
        let Db { keys, meta, env, index } = self;
        let wheel = meta.expiry.wheel_mut();
        let mut drawn = std::mem::take(&mut evictor.drawn);
        drawn.clear();
        for number in 0..(2 * samples).clamp(DRAWS_MIN, DRAWS_MAX) {
            let random = env.rng.next_u64();
            // What expires soon lies together. Deadlines may have been put off since, so others are looked at too.
            let early = order == EvictionOrder::Deadline && number % 2 == 0;
            let record = if early { wheel.draw_earliest(random) } else { wheel.draw(random) };
            let Some(record) = record else { break };
            keys.prefetch_bucket(record.position48() << 16);
            drawn.push(record);
        }
        for record in &drawn {
            keys.prefetch_entry(record.position48() << 16);
        }
        for record in &drawn {
            let mut stale = true;
            keys.find_by_position48(record.position48(), &mut |entry: EntryRef<'_>| {
                stale &= Deadlines::of(entry).is_none();
                if may_go(entry, EvictionScope::Volatile) {
                    evictor.offer(rank(&env.access, order, entry), *index, || record.position48());
                }
            });
            if stale {
                wheel.discard(*record);
            }
        }
        evictor.drawn = drawn;
    }

    /// Removes a candidate, unless it has been used since it became one, or is gone.
    fn evict_candidate(
        &mut self,
        candidate: Candidate,
        evictor: &mut Evictor,
        scope: EvictionScope,
        order: EvictionOrder,
    ) -> bool {
        let Db { keys, env, .. } = &*self;
        let name = &mut evictor.name;
        let mut found = false;
        keys.find_by_position48(candidate.position48, &mut |entry: EntryRef<'_>| {
            if !found && may_go(entry, scope) && rank(&env.access, order, entry) <= candidate.rank {
                found = true;
                name.clear();
                name.extend_from_slice(entry.key());
            }
        });
        if !found {
            return false;
        }
        let key = Key { name, position: keys.position(name) };
        self.expire_if_due(key) || self.evict(key)
    }
}

/// Whether an entry may go at all. What is in queues was acknowledged, and is kept; so is configuration.
fn may_go(entry: EntryRef<'_>, scope: EvictionScope) -> bool {
    let kind = entry.kind();
    (scope == EvictionScope::All || entry.expire_at().is_some()) && !is_of_broker(kind) && !is_of_registry(kind)
}

/// What decides how soon an entry goes.
fn rank(access: &AccessClock, order: EvictionOrder, entry: EntryRef<'_>) -> i64 {
    match order {
        EvictionOrder::Oldest => access.last_used_s(entry.clock()),
        EvictionOrder::Rarest => i64::from(access.frequency(entry.clock())),
        EvictionOrder::Deadline => entry.expire_at().unwrap_or(i64::MAX),
        EvictionOrder::Random => 0,
    }
}

/// A number below `limit`, given 64 random bits; 0 if there is none.
fn below(random: u64, limit: usize) -> usize {
    ((u128::from(random) * limit as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::super::{AccessPolicy, ExpireChange, NewStr};
    use super::*;

    fn store(keys: usize, volatile_each: usize) -> Store {
        let mut store = Store::new(2, 1, 2, 1_000_000);
        for number in 0..keys {
            set(&mut store, number, number % volatile_each == 0);
        }
        store
    }

    fn set(store: &mut Store, number: usize, volatile: bool) {
        let name = format!("key:{number}");
        let key = store.key(name.as_bytes());
        let expire = if volatile { ExpireChange::At(10_000_000 + number as i64) } else { ExpireChange::Clear };
        store.db(number % 2).set(key, NewStr::Bytes(b"value"), expire);
    }

    /// Evicts until nothing is left that may go; which numbers went, in order.
    fn evict_all(store: &mut Store, scope: EvictionScope, order: EvictionOrder) -> Vec<usize> {
        store.tell_expired(true);
        let mut gone = Vec::new();
        let mut searched = 0;
        loop {
            match store.evict_step(scope, order, 5) {
                Eviction::Impossible => return gone,
                Eviction::Searching => searched += 1,
                Eviction::Evicted => {}
            }
            assert!(searched < 1000, "stuck with {} gone", gone.len());
            for key in store.take_evicted() {
                gone.push(std::str::from_utf8(&key.key[4..]).unwrap().parse().unwrap());
            }
        }
    }

    const ORDERS: [EvictionOrder; 4] =
        [EvictionOrder::Oldest, EvictionOrder::Rarest, EvictionOrder::Deadline, EvictionOrder::Random];

    #[test]
    fn every_order_evicts_all_that_may_go_and_nothing_else() {
        for order in ORDERS {
            for volatile_each in [1, 2, 50, 999] {
                let mut gone = evict_all(&mut store(1000, volatile_each), EvictionScope::Volatile, order);
                gone.sort_unstable();
                assert_eq!(gone, (0..1000).step_by(volatile_each).collect::<Vec<_>>(), "{order:?}");
            }
            let mut all = store(1000, 10);
            assert_eq!(evict_all(&mut all, EvictionScope::All, order).len(), 1000);
            assert_eq!(all.counters().evicted, 1000);
        }
    }

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let mut store = store(4000, 1);
        store.set_now(1_100_000);
        for number in 0..2000 {
            let name = format!("key:{number}");
            let key = store.key(name.as_bytes());
            store.db(number % 2).get(key);
        }
        let gone = evict_all(&mut store, EvictionScope::All, EvictionOrder::Oldest);
        let mistakes = gone[..1800].iter().filter(|&&number| number < 2000).count();
        assert!(mistakes < 90, "{mistakes}");
    }

    #[test]
    fn what_is_used_least_goes_first() {
        let mut store = Store::new(2, 1, 2, 1_000_000);
        store.set_access_policy(AccessPolicy::Lfu { log_factor: 1, decay_min: 1 });
        (0..2000).for_each(|number| set(&mut store, number, false));
        for _ in 0..30 {
            for number in 0..1000 {
                let name = format!("key:{number}");
                let key = store.key(name.as_bytes());
                store.db(number % 2).get(key);
            }
        }
        let gone = evict_all(&mut store, EvictionScope::All, EvictionOrder::Rarest);
        let mistakes = gone[..800].iter().filter(|&&number| number < 1000).count();
        assert!(mistakes < 20, "{mistakes}");
    }

    #[test]
    fn the_nearest_deadline_goes_first_however_few_there_are() {
        for volatile_each in [1, 20] {
            let mut store = store(20_000, volatile_each);
            let gone = evict_all(&mut store, EvictionScope::Volatile, EvictionOrder::Deadline);
            let early = gone.len() / 2;
            let mistakes = gone[..early].iter().filter(|&&number| number > 12_000).count();
            assert!(mistakes * 50 < early, "{mistakes} of {early}");
        }
    }

    #[test]
    fn only_changes_count_where_changes_are_counted() {
        let mut store = Store::new(2, 1, 2, 1_000_000);
        store.set_access_policy(AccessPolicy::Lrm);
        (0..10).for_each(|number| set(&mut store, number, false));
        store.set_now(1_060_000);
        let key = store.key(b"key:2");
        let read = store.db(0).get(key).map(|entry| entry.clock());
        let key = store.key(b"key:4");
        store.db(0).get_mut(key).unwrap().set_str(NewStr::Bytes(b"changed"));
        let changed = store.db(0).peek(key).map(|entry| entry.clock());
        let idle = |clock: Option<u16>| store.access().idle_s(clock.unwrap());
        assert_eq!((idle(read), idle(changed)), (60, 0));
    }

    #[test]
    fn keys_with_a_deadline_are_found_among_stale_records() {
        let mut store = store(5000, 1);
        for number in 1..5000 {
            set(&mut store, number, false);
        }
        assert_eq!(evict_all(&mut store, EvictionScope::Volatile, EvictionOrder::Oldest), [0]);
    }

    #[test]
    fn chance_is_fair_to_keys_of_all_databases() {
        let mut firsts = [0; 2];
        for seed in 0..400 {
            let mut store = Store::new(2, seed, seed + 1, 1_000_000);
            (0..40).for_each(|number| set(&mut store, if number < 30 { number * 2 } else { number * 2 + 1 }, true));
            store.tell_expired(true);
            store.evict_step(EvictionScope::All, EvictionOrder::Random, 5);
            firsts[store.take_evicted()[0].db] += 1;
        }
        assert!((255..345).contains(&firsts[0]), "{firsts:?}");
    }
}
