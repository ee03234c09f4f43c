//! Databases: keys with their values, deadlines and access clocks.
//!
//! Invariant: every change of the keyspace goes through [`Db`] and [`Write`]. That choke point keeps the expiry index, the
//! key versions of WATCH, the counts behind INFO and the memory account right by construction. Nothing here knows
//! commands, clients or replies, and time comes in through [`Store::set_now`].

mod access;
mod awaited;
mod broker;
mod changed;
mod db;
mod eviction;
mod expiry;
mod loaded;
mod registry;
mod sequence;
mod snapshot;
mod versions;

pub use access::{AccessClock, AccessPolicy, SWEEP_PERIOD_S};
pub use broker::BrokerChange;
pub use changed::{ChangedKey, ChangedKeys, TellChanged};
pub use db::{Db, Key, Removal, ValueMut, Write};
pub use eviction::{Eviction, EvictionOrder, EvictionScope};
pub use expiry::ExpiryProgress;
pub use loaded::{LoadedKey, Room};
pub use registry::RegistryChange;
pub use sequence::Sequence;
pub use snapshot::{Access, KeyHead, Recorder, SnapshotStep};
pub use versions::Version;
pub use weir_structs::entry::{BLOB_MIN, Blob, EntryRef, Kind, StrView};
pub use weir_structs::keyspace::{ExpireChange, NewStr, NewValue, TakenValue};
pub use weir_structs::sizes::{SizedType, Sizes};
pub use weir_structs::value::{Big, PackedKind, ValueRef};

use db::Meta;
use eviction::Evictor;
use hashbrown::HashSet;
use std::collections::VecDeque;
use weir_structs::entry::Freed;
use weir_structs::expiry_wheel::ExpiryWheel;
use weir_structs::frozen::Kept;
use weir_structs::keyspace::{KeyHasher, Keyspace};
use weir_structs::members::Members;
use weir_structs::sizes::SizeClass;

/// Strings of at least this many bytes are freed on the background thread.
const FREE_ELSEWHERE_BYTES: usize = 64 * 1024;
/// Collections of at least this many pieces are freed there.
const FREE_ELSEWHERE_ITEMS: usize = 64;

/// No deadline is earlier.
const HELD_MS: i64 = i64::MIN;

/// Something to be freed away from the executor.
pub enum Garbage {
    /// A big string.
    Blob(Blob),
    /// A big collection.
    Big(Big),
    /// All of a database.
    Keyspace(Box<Keyspace>),
    /// An index of deadlines.
    Deadlines(Box<ExpiryWheel>),
    /// Names of keys.
    Names(VecDeque<Box<[u8]>>),
    /// What was kept for a snapshot.
    Kept(Kept),
}

impl std::fmt::Debug for Garbage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Garbage of {} bytes", self.heap_bytes())
    }
}

impl Garbage {
    /// Bytes that the global allocator gets back when it is freed, if nobody else holds on to them.
    fn heap_bytes(&self) -> usize {
        match self {
            Garbage::Blob(blob) => blob.capacity(),
            Garbage::Big(big) => big.memory_bytes() - big.mapped_bytes(),
            Garbage::Keyspace(keys) => keys.live_bytes() - keys.mapped_bytes(),
            Garbage::Deadlines(wheel) => wheel.memory_bytes(),
            // Not looked at one by one: there may be many.
            Garbage::Names(names) => names.capacity() * size_of::<Box<[u8]>>(),
            Garbage::Kept(_) => 0,
        }
    }
}

/// Something to be freed elsewhere, and what is told of it.
#[derive(Debug)]
pub struct Discarded {
    /// The thing itself.
    pub garbage: Garbage,
    /// Number of values that the configuration wants freed elsewhere. Others are too, since nobody shall wait for them.
    pub objects: usize,
    /// Bytes that the global allocator gets back, if nobody else holds on to them.
    pub bytes: usize,
}

/// Which values are freed elsewhere by configuration: the `lazyfree-lazy-*` directives.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct LazyFree {
    /// Those that expired.
    pub expired: bool,
    /// Those that were evicted.
    pub evicted: bool,
    /// Those that a command replaced or removed by the way.
    pub replaced: bool,
}

/// A key that expired or was evicted, for whoever must be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gone {
    /// When, among all records.
    pub number: u64,
    /// Its database.
    pub db: usize,
    /// Its name.
    pub key: Box<[u8]>,
}

/// Fields of a hash that expired, for whoever must be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExpiredFields {
    /// When, among all records.
    pub number: u64,
    /// The database.
    pub db: usize,
    /// The key of the hash.
    pub key: Box<[u8]>,
    /// The fields, in the order of their deadlines.
    pub fields: Vec<Box<[u8]>>,
    /// They were the last ones: the key is gone too.
    pub key_gone: bool,
}

/// Counted since the start or the last reset.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct StoreCounters {
    /// Reads that found a key.
    pub hits: u64,
    /// Reads that found none.
    pub misses: u64,
    /// Keys that expired.
    pub expired: u64,
    /// Fields of hashes that expired.
    pub expired_fields: u64,
    /// Keys that were evicted.
    pub evicted: u64,
}

/// What all databases share.
#[derive(Debug)]
struct Env {
    hasher: KeyHasher,
    now_ms: i64,
    /// Deadlines up to this moment have come.
    due_ms: i64,
    access: AccessClock,
    touch: bool,
    counters: StoreCounters,
    garbage: Vec<Discarded>,
    garbage_bytes: usize,
    keep_expired: bool,
    tell_expired: bool,
    /// Whether sizes in memory are counted too.
    measures_memory: bool,
    lazyfree: LazyFree,
    sequence: Sequence,
    expired: Vec<Gone>,
    evicted: Vec<Gone>,
    expired_fields: Vec<ExpiredFields>,
    changed: ChangedKeys,
    rng: rand::rngs::SmallRng,
    capture: Option<Box<snapshot::Capture>>,
    broker_changes: Vec<BrokerChange>,
    registry_changes: Vec<RegistryChange>,
    /// Whether there ever was a store of the registry.
    has_had_trees: bool,
    /// Keys that must keep their names, by database and position.
    held_names: HashSet<(usize, u64)>,
}

/// The sizes of a value: what it holds, and what it takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Measure {
    size: SizeClass,
    memory: SizeClass,
}

impl Measure {
    /// Of no value.
    const NOTHING: Measure = Measure { size: SizeClass::NONE, memory: SizeClass::NONE };

    #[inline]
    fn of(entry: EntryRef<'_>, with_memory: bool) -> Measure {
        let size = SizeClass::of(entry);
        // Of strings, what they hold is shown under the same name.
        let memory =
            if with_memory && !entry.kind().is_str() { size.of_memory(entry.memory_bytes()) } else { SizeClass::NONE };
        Measure { size, memory }
    }
}

impl Env {
    #[inline]
    fn holds_deadlines(&self) -> bool {
        self.due_ms == HELD_MS
    }

    #[inline]
    fn measure(&self, entry: EntryRef<'_>) -> Measure {
        Measure::of(entry, self.measures_memory)
    }

    /// Hands something over to be freed elsewhere. `objects`: so many values are by configuration.
    fn discard(&mut self, garbage: Garbage, objects: usize) {
        let bytes = garbage.heap_bytes();
        self.garbage_bytes += bytes;
        self.garbage.push(Discarded { garbage, objects, bytes });
    }

    /// What a command has replaced or cut out.
    #[inline]
    fn free(&mut self, freed: Freed) {
        self.free_as(freed, self.lazyfree.replaced);
    }

    /// Sees to it that something is freed, elsewhere if it is large. `lazily`: the configuration wants that.
    #[inline]
    fn free_as(&mut self, freed: Freed, lazily: bool) {
        match freed {
            Freed::Nothing => {}
            Freed::Blob(blob) => {
                if blob.len() >= FREE_ELSEWHERE_BYTES {
                    // As in Redis, strings do not count, however long: to free one is one step.
                    self.discard(Garbage::Blob(blob), 0);
                }
            }
            Freed::Big(big) => {
                self.note_gone(&big);
                let Some(big) = self.keep_frozen(big) else { return };
                let many = big.items() >= FREE_ELSEWHERE_ITEMS;
                if many || big.memory_bytes() >= FREE_ELSEWHERE_BYTES {
                    self.discard(Garbage::Big(big), usize::from(many && lazily));
                }
            }
        }
    }
}

/// One database.
#[derive(Debug)]
struct Database {
    keys: Keyspace,
    meta: Meta,
}

impl Database {
    fn new(hasher: &KeyHasher, now_ms: i64) -> Database {
        Database { keys: Keyspace::new(hasher.clone()), meta: Meta::new(now_ms) }
    }
}

/// Where a member of a big collection would be.
#[derive(Clone, Copy, Debug)]
pub struct MemberAhead<'s> {
    members: &'s Members,
    position: u64,
}

impl MemberAhead<'_> {
    /// Begins to fetch the member itself, once its bucket is there.
    pub fn prefetch(self) {
        self.members.prefetch_member(self.position);
    }
}

/// Figures of one database for INFO.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DbFigures {
    /// Number of keys.
    pub keys: usize,
    /// Keys with a deadline.
    pub expires: usize,
    /// Hashes with fields that have a deadline.
    pub with_volatile_fields: usize,
    /// Streams that remember what producers have sent, or for how long they are to.
    pub with_producers: usize,
    /// Mean time to live of those, in ms; 0 if there are none.
    pub avg_ttl_ms: i64,
}

/// Whether a key with this position, or one that shares most of it, is there.
fn has_position(keys: &Keyspace, position: u64) -> bool {
    let mut found = false;
    keys.find_by_position48(position >> 16, &mut |_| found = true);
    found
}

/// All databases.
#[derive(Debug)]
pub struct Store {
    databases: Vec<Database>,
    env: Env,
    list_apart_from: Option<usize>,
    skips_checksums: bool,
    /// Taken out while it works.
    evictor: Option<Box<Evictor>>,
    /// No database from here on has ever been used.
    used: usize,
    /// The database that a snapshot is walking over.
    walking: usize,
}

impl Store {
    /// `databases` empty ones. `hash_seed` keys the hash, so that clients cannot choose keys that collide: nothing that is
    /// made from it is ever shown. `random_seed` is for what commands pick.
    pub fn new(databases: usize, hash_seed: u64, random_seed: u64, now_ms: i64) -> Store {
        let hasher = KeyHasher::new(hash_seed);
        Store {
            databases: (0..databases).map(|_| Database::new(&hasher, now_ms)).collect(),
            env: Env {
                hasher,
                now_ms,
                due_ms: now_ms,
                access: AccessClock::new(AccessPolicy::Lru, now_ms),
                touch: true,
                counters: StoreCounters::default(),
                garbage: Vec::new(),
                garbage_bytes: 0,
                keep_expired: false,
                tell_expired: false,
                measures_memory: false,
                lazyfree: LazyFree::default(),
                sequence: Sequence::default(),
                expired: Vec::new(),
                evicted: Vec::new(),
                expired_fields: Vec::new(),
                changed: ChangedKeys::default(),
                rng: rand::SeedableRng::seed_from_u64(random_seed),
                capture: None,
                broker_changes: Vec::new(),
                registry_changes: Vec::new(),
                has_had_trees: false,
                held_names: HashSet::new(),
            },
            list_apart_from: None,
            skips_checksums: false,
            evictor: Some(Box::new(Evictor::new(random_seed))),
            used: 0,
            walking: 0,
        }
    }

    /// Unix time in ms of the current turn.
    #[inline]
    pub fn now_ms(&self) -> i64 {
        self.env.now_ms
    }

    /// Sets the time, once a turn of the loop.
    pub fn set_now(&mut self, now_ms: i64) {
        if !self.env.holds_deadlines() {
            self.env.due_ms = now_ms;
        }
        self.env.now_ms = now_ms;
        self.env.access.set_now(now_ms);
    }

    /// Up to which moment deadlines of keys and of fields have come: [`Store::now_ms`], or the beginning of time while they
    /// are held.
    #[inline]
    pub fn due_ms(&self) -> i64 {
        self.env.due_ms
    }

    /// While deadlines are held none comes: nothing is expired, whatever the time is. So are commands repeated from a record
    /// in which what expired is removed by commands of its own.
    pub fn hold_deadlines(&mut self, hold: bool) {
        self.env.due_ms = if hold { HELD_MS } else { self.env.now_ms };
    }

    /// Whether deadlines are held.
    #[inline]
    pub fn holds_deadlines(&self) -> bool {
        self.env.holds_deadlines()
    }

    /// How accesses are recorded.
    pub fn set_access_policy(&mut self, policy: AccessPolicy) {
        self.env.access = AccessClock::new(policy, self.env.now_ms);
    }

    /// The clock that says how long ago, or how often, an entry was used.
    pub fn access(&self) -> &AccessClock {
        &self.env.access
    }

    /// Whether reads move access clocks (CLIENT NO-TOUCH).
    #[inline]
    pub fn set_touch(&mut self, touch: bool) {
        self.env.touch = touch;
    }

    /// Bytes from which on an element of a list is kept apart from others; `None` for what the size of chunks demands.
    #[inline]
    pub fn list_apart_from(&self) -> Option<usize> {
        self.list_apart_from
    }

    /// Whether what is read is believed whatever its checksum; for tests.
    pub fn skips_checksums(&self) -> bool {
        self.skips_checksums
    }

    /// Sets [`Store::skips_checksums`].
    pub fn set_skips_checksums(&mut self, skips: bool) {
        self.skips_checksums = skips;
    }

    /// Sets [`Store::list_apart_from`]; for tests.
    pub fn set_list_apart_from(&mut self, bytes: Option<usize>) {
        self.list_apart_from = bytes;
    }

    /// A key with its position in hash space.
    #[inline]
    pub fn key<'k>(&self, name: &'k [u8]) -> Key<'k> {
        Key { name, position: self.env.hasher.position(name) }
    }

    /// Number of databases.
    pub fn databases(&self) -> usize {
        self.databases.len()
    }

    /// One database. Panics beyond [`Store::databases`]: indexes are checked where they come in.
    #[inline]
    pub fn db(&mut self, index: usize) -> Db<'_> {
        self.used = self.used.max(index + 1);
        let Database { keys, meta } = &mut self.databases[index];
        Db { keys, meta, env: &mut self.env, index }
    }

    /// The entry of a key that the command has looked up already, for commands that look at several at the same time.
    /// Leaves no trace: counts nothing and removes nothing, but does not show what has expired either.
    pub fn view(&self, db: usize, key: Key<'_>) -> Option<EntryRef<'_>> {
        let entry = self.databases.get(db)?.keys.get(key.position, key.name)?;
        entry.expire_at().is_none_or(|at| at > self.env.due_ms).then_some(entry)
    }

    /// Whether a watched key has still a version, as far as is known without looking at the clock.
    pub fn has_version(&self, db: usize, key: Key<'_>, version: Version) -> bool {
        self.databases.get(db).is_some_and(|database| database.meta.versions.is_unchanged(key.position, version))
    }

    /// Number of keys that somebody watches.
    pub fn watched_keys(&self) -> usize {
        self.databases.iter().map(|database| database.meta.versions.len()).sum()
    }

    /// What computes positions, of keys and of the members of big collections.
    pub fn hasher(&self) -> &KeyHasher {
        &self.env.hasher
    }

    /// Begins to fetch the memory where a key would be.
    #[inline]
    pub fn prefetch_bucket(&self, db: usize, position: u64) {
        if let Some(database) = self.databases.get(db) {
            database.keys.prefetch_bucket(position);
        }
    }

    /// Begins to fetch the entry of a key, once its bucket is there.
    #[inline]
    pub fn prefetch_entry(&self, db: usize, position: u64) {
        if let Some(database) = self.databases.get(db) {
            database.keys.prefetch_entry(position);
        }
    }

    /// Begins to fetch the memory where a member of a big collection would be, once the collection's entry is there.
    pub fn prefetch_member_bucket(&self, db: usize, key: Key<'_>, member: &[u8]) -> Option<MemberAhead<'_>> {
        let members = self.members(db, key)?;
        let position = members.position(member);
        members.prefetch_bucket(position);
        Some(MemberAhead { members, position })
    }

    fn members(&self, db: usize, key: Key<'_>) -> Option<&Members> {
        let entry = self.databases.get(db)?.keys.get(key.position, key.name)?;
        if entry.kind().is_big() { entry.value().members() } else { None }
    }

    /// Empties a database; its memory is freed elsewhere, which counts as asked for if `lazily`. Returns how many keys it
    /// had.
    pub fn flush(&mut self, index: usize, lazily: bool) -> usize {
        let hasher = self.env.hasher.clone();
        let Database { keys, meta } = &mut self.databases[index];
        let count = keys.len();
        self.env.changed.note_flush();
        self.env.broker_changes.push(BrokerChange::Flushed { db: index });
        self.env.note_databases(RegistryChange::Flushed { db: index });
        meta.touched_where(|position| has_position(keys, position));
        let (deadlines, names) = meta.flushed(self.env.now_ms);
        if !names.is_empty() {
            self.env.discard(Garbage::Names(names), 0);
        }
        if !deadlines.is_empty() {
            self.env.discard(Garbage::Deadlines(Box::new(deadlines)), 0);
        }
        // Keys that have gone one by one leave a table and pages behind.
        if keys.has_memory() {
            let old = std::mem::replace(keys, Keyspace::new(hasher));
            if let Some(old) = self.env.keep_flushed(old, meta) {
                self.env.discard(Garbage::Keyspace(Box::new(old)), if lazily { count } else { 0 });
            }
        }
        count
    }

    /// Exchanges the contents of two databases.
    pub fn swap(&mut self, a: usize, b: usize) {
        if a == b {
            return;
        }
        // For who watches it, a key whose time has come is not there, neither before nor after.
        for (watching, index) in [(a, a), (a, b), (b, a), (b, b)] {
            self.expire_watched(watching, index);
        }
        self.used = self.used.max(a + 1).max(b + 1);
        self.databases.swap(a, b);
        // A snapshot may find here what it has not seen yet.
        self.walking = self.walking.min(a).min(b);
        // Watchers and waiters belong to the database that they have chosen, not to the contents: their keys' owner changed.
        let (low, high) = self.databases.split_at_mut(a.max(b));
        let (low, high) = (&mut low[a.min(b)], &mut high[0]);
        std::mem::swap(&mut low.meta.versions, &mut high.meta.versions);
        std::mem::swap(&mut low.meta.awaited, &mut high.meta.awaited);
        self.env.broker_changes.push(BrokerChange::Swapped { a, b });
        self.env.note_databases(RegistryChange::Swapped { a, b });
        // A key that neither had and has is as it was.
        let (low_keys, high_keys) = (&low.keys, &high.keys);
        let changed = |position| has_position(low_keys, position) || has_position(high_keys, position);
        low.meta.touched_where(changed);
        high.meta.touched_where(changed);
    }

    /// Removes those keys of database `index` whose time has come and whose namesakes in database `watching` are watched.
    fn expire_watched(&mut self, watching: usize, index: usize) {
        let (keys, now_ms) = (&self.databases[index].keys, self.env.due_ms);
        let mut due: Vec<Box<[u8]>> = Vec::new();
        for position in self.databases[watching].meta.versions.positions() {
            keys.find_by_position48(position >> 16, &mut |entry| {
                if entry.expire_at().is_some_and(|at| at <= now_ms) {
                    due.push(entry.key().into());
                }
            });
        }
        for name in due {
            let key = self.key(&name);
            self.db(index).expire_if_due(key);
        }
    }

    /// How many values of which sizes a database has.
    pub fn sizes(&self, index: usize) -> &Sizes {
        &self.databases[index].meta.sizes
    }

    /// The same by the memory that collections take; nothing unless [`Store::measure_memory`] was called.
    pub fn memory_sizes(&self, index: usize) -> &Sizes {
        &self.databases[index].meta.memory_sizes
    }

    /// Counts sizes in memory from now on. Called while there are no keys.
    pub fn measure_memory(&mut self) {
        self.env.measures_memory = true;
    }

    /// All entries of a database, those included whose time has come.
    pub fn entries(&self, index: usize) -> impl Iterator<Item = EntryRef<'_>> {
        self.databases[index].keys.iter()
    }

    /// Figures of a database.
    pub fn figures(&self, index: usize) -> DbFigures {
        let Database { keys, meta } = &self.databases[index];
        DbFigures {
            keys: keys.len(),
            expires: meta.expires(),
            with_volatile_fields: meta.expiry.hashes(),
            with_producers: meta.expiry.streams(),
            avg_ttl_ms: meta.mean_deadline_ms().map_or(0, |mean| (mean - self.env.now_ms).max(0)),
        }
    }

    /// Bytes of all entries, values, tables and indexes.
    pub fn live_bytes(&self) -> usize {
        self.databases[..self.used].iter().map(|d| d.keys.live_bytes() + d.meta.memory_bytes()).sum()
    }

    /// The part of [`Store::live_bytes`] that the global allocator does not know of.
    pub fn mapped_bytes(&self) -> usize {
        self.databases[..self.used].iter().map(|d| d.keys.mapped_bytes()).sum()
    }

    /// Bytes of the tables and indexes of one database, and of the deadlines' index.
    pub fn overhead_bytes(&self, index: usize) -> (usize, usize) {
        let Database { keys, meta } = &self.databases[index];
        (keys.table_bytes(), meta.memory_bytes())
    }

    /// Counters for INFO.
    pub fn counters(&self) -> StoreCounters {
        self.env.counters
    }

    /// Sets the counters to zero.
    pub fn reset_counters(&mut self) {
        self.env.counters = StoreCounters::default();
    }

    /// Counts fields that expired and that a command, not active expiry, took out.
    pub fn count_expired_fields(&mut self, fields: usize) {
        self.env.counters.expired_fields += fields as u64;
    }

    /// Whether expired keys stay, unseen by readers, as they must while writes are paused.
    pub fn keep_expired(&mut self, keep: bool) {
        self.env.keep_expired = keep;
    }

    /// Whether expired keys and fields are recorded for [`Store::take_expired`] and [`Store::take_expired_fields`].
    pub fn tell_expired(&mut self, tell: bool) {
        self.env.tell_expired = tell;
    }

    /// Numbers what is recorded here.
    pub fn sequence(&self) -> &Sequence {
        &self.env.sequence
    }

    /// Whether anything is recorded for the next three.
    #[inline]
    pub fn has_gone(&self) -> bool {
        !(self.env.expired.is_empty() && self.env.evicted.is_empty() && self.env.expired_fields.is_empty())
    }

    /// Keys that expired since the last call, in order.
    pub fn take_expired(&mut self) -> Vec<Gone> {
        std::mem::take(&mut self.env.expired)
    }

    /// Keys that were evicted since the last call, in order; recorded as [`Store::tell_expired`] says.
    pub fn take_evicted(&mut self) -> Vec<Gone> {
        std::mem::take(&mut self.env.evicted)
    }

    /// Fields that expired since the last call, in order.
    pub fn take_expired_fields(&mut self) -> Vec<ExpiredFields> {
        std::mem::take(&mut self.env.expired_fields)
    }

    /// What is kept of changed keys for [`Store::take_changed_keys`].
    pub fn set_tell_changed(&mut self, tell: TellChanged) {
        self.env.changed.set_tell(tell);
    }

    /// Whether any key was changed since the last call of [`Store::take_changed_keys`], and is to be told of.
    #[inline]
    pub fn has_changed_keys(&self) -> bool {
        !self.env.changed.is_empty()
    }

    /// Keys that were changed since the last call, in all databases. `spare` is what an earlier call gave, to be used again.
    pub fn take_changed_keys(&mut self, spare: ChangedKeys) -> ChangedKeys {
        self.env.changed.take(spare)
    }

    /// Says which values are freed elsewhere by configuration.
    pub fn set_lazyfree(&mut self, lazyfree: LazyFree) {
        self.env.lazyfree = lazyfree;
    }

    /// What is to be freed elsewhere.
    pub fn take_garbage(&mut self) -> Vec<Discarded> {
        self.env.garbage_bytes = 0;
        std::mem::take(&mut self.env.garbage)
    }

    /// Bytes that the global allocator will get back when what is to be freed elsewhere is freed.
    pub fn garbage_bytes(&self) -> usize {
        self.env.garbage_bytes
    }

    /// Whether there is anything to be freed elsewhere.
    #[inline]
    pub fn has_garbage(&self) -> bool {
        !self.env.garbage.is_empty()
    }

    /// A random number, for commands that pick something.
    pub fn random_u64(&mut self) -> u64 {
        rand::RngCore::next_u64(&mut self.env.rng)
    }
}
