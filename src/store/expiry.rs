//! Active expiry: removing keys at their deadlines although nobody asks for them.
//!
//! The index is a timing wheel of hash positions; see its own page for how it works. Here is its owner: which changes
//! put a record in, what happens when one fires, and when the index is built anew because too many of its records are
//! stale (keys whose deadline was moved or that are gone leave theirs behind).
//!
//! A hash whose fields have deadlines keeps those in order by itself; here it has one record, for the earliest of them.
//! When that fires, the hash is put in a queue, from which slices take out fields that are due, a few at a time.

use super::db::{Db, Key};
use super::snapshot::keep_old;
use super::{Big, EntryRef, Env, ExpiredFields, Garbage, Measure, Store, ValueRef};
use std::collections::VecDeque;
use weir_structs::expiry_wheel::{DueKeys, ExpiryWheel};

/// Stale records that are put up with, beside twice the keys with a deadline and a quarter of all keys: with that,
/// building anew costs less per change than the change itself.
const STALE_MAX: usize = 65_536;
/// Hash space that one step of building anew walks, in buckets of the table.
const REBUILD_BUCKETS: usize = 64;
/// A wheel whose time was set back further than this, in ms, is built anew.
const SET_BACK_MAX_MS: i64 = 2_000;

/// What time will do to an entry.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Deadlines {
    /// When it expires, in Unix ms.
    pub(super) key: Option<i64>,
    /// When the first of its fields does.
    pub(super) fields: Option<i64>,
    /// Whether it is a stream that remembers producers, which is counted and has no record.
    pub(super) producers: bool,
}

impl Deadlines {
    /// Of an entry.
    #[inline]
    pub(super) fn of(entry: EntryRef<'_>) -> Deadlines {
        Deadlines { key: entry.expire_at(), ..Deadlines::inside(entry) }
    }

    /// Of the value of an entry, without its own.
    #[inline]
    pub(super) fn inside(entry: EntryRef<'_>) -> Deadlines {
        let mut inside = Deadlines::default();
        match entry.kind() {
            super::Kind::Hash => inside.fields = fields_deadline(entry),
            super::Kind::Stream => {
                inside.producers = matches!(entry.value(), ValueRef::Stream(stream) if stream.remembers_producers());
            }
            _ => {}
        }
        inside
    }

    /// Of a big value by itself.
    pub(super) fn inside_of(big: &Big) -> Deadlines {
        match big {
            Big::Hash(hash) => Deadlines { fields: hash.next_deadline(), ..Deadlines::default() },
            Big::Stream(stream) => Deadlines { producers: stream.remembers_producers(), ..Deadlines::default() },
            _ => Deadlines::default(),
        }
    }

    /// Whether time neither removes it nor takes anything out of it.
    pub(super) fn is_none(self) -> bool {
        self.earliest().is_none()
    }

    #[inline]
    fn earliest(self) -> Option<i64> {
        match (self.key, self.fields) {
            (Some(key), Some(fields)) => Some(key.min(fields)),
            (key, fields) => key.or(fields),
        }
    }
}

/// When the first field of an entry expires, in Unix ms.
#[inline]
fn fields_deadline(entry: EntryRef<'_>) -> Option<i64> {
    if entry.kind() != super::Kind::Hash {
        return None;
    }
    let ValueRef::Hash(hash) = entry.value() else { return None };
    hash.next_deadline()
}

/// Deadlines of one database.
#[derive(Debug)]
pub(super) struct ExpiryIndex {
    wheel: ExpiryWheel,
    keys: usize,
    /// Hashes with deadlines on fields.
    hashes: usize,
    /// Streams that remember producers.
    streams: usize,
    /// Names of hashes that have fields to be taken out.
    due_hashes: VecDeque<Box<[u8]>>,
    deadline_sum: i128,
    rebuild_at: Option<u64>,
}

impl ExpiryIndex {
    pub(super) fn new(now_ms: i64) -> ExpiryIndex {
        ExpiryIndex {
            wheel: ExpiryWheel::new(now_ms),
            keys: 0,
            hashes: 0,
            streams: 0,
            due_hashes: VecDeque::new(),
            deadline_sum: 0,
            rebuild_at: None,
        }
    }

    /// A key's deadlines went from `old` to `new`.
    #[inline]
    pub(super) fn moved(&mut self, position: u64, old: Deadlines, new: Deadlines) {
        if let Some(old) = old.key {
            self.keys -= 1;
            self.deadline_sum -= i128::from(old);
        }
        if let Some(new) = new.key {
            self.keys += 1;
            self.deadline_sum += i128::from(new);
        }
        self.hashes -= usize::from(old.fields.is_some());
        self.hashes += usize::from(new.fields.is_some());
        self.streams -= usize::from(old.producers);
        self.streams += usize::from(new.producers);
        if let Some(at) = new.earliest()
            && old.earliest().is_none_or(|old| at < old)
        {
            self.wheel.insert(position, at);
        }
    }

    /// The index itself, to draw lots.
    pub(super) fn wheel_mut(&mut self) -> &mut ExpiryWheel {
        &mut self.wheel
    }

    /// What is to be freed elsewhere.
    pub(super) fn into_parts(self) -> (ExpiryWheel, VecDeque<Box<[u8]>>) {
        (self.wheel, self.due_hashes)
    }

    pub(super) fn keys(&self) -> usize {
        self.keys
    }

    /// Hashes with deadlines on fields.
    pub(super) fn hashes(&self) -> usize {
        self.hashes
    }

    /// Streams that remember producers.
    pub(super) fn streams(&self) -> usize {
        self.streams
    }

    pub(super) fn mean_deadline_ms(&self) -> Option<i64> {
        let count = i128::try_from(self.keys).ok().filter(|&n| n > 0)?;
        i64::try_from(self.deadline_sum / count).ok()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.wheel.memory_bytes()
    }
}

/// What a slice of active expiry did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ExpiryProgress {
    /// Keys removed.
    pub expired: u64,
    /// There is more to do already now.
    pub behind: bool,
    /// The index is being built anew: there is more to walk.
    pub rebuilding: bool,
}

impl Store {
    /// One slice of active expiry in one database: touches at most about `budget` records.
    pub fn expire_slice(&mut self, index: usize, budget: usize) -> ExpiryProgress {
        let before = self.env.counters.expired;
        let mut db = self.db(index);
        let now_ms = db.env.now_ms;
        let idle = db.env.holds_deadlines() || db.meta.expiry.wheel.is_empty() && db.meta.expiry.due_hashes.is_empty();
        if idle && db.meta.expiry.rebuild_at.is_none() {
            return ExpiryProgress::default();
        }
        let mut wheel = std::mem::replace(&mut db.meta.expiry.wheel, ExpiryWheel::new(now_ms));
        let progress = wheel.advance(now_ms, budget, &mut Due { db: &mut db, name: Vec::new() });
        let expiry = &mut db.meta.expiry;
        expiry.wheel = wheel;
        let stale_max = 2 * (expiry.keys + expiry.hashes) + db.keys.len() / 4 + STALE_MAX;
        if expiry.rebuild_at.is_none() && (expiry.wheel.len() > stale_max || progress.set_back_ms > SET_BACK_MAX_MS) {
            let stale = std::mem::replace(&mut expiry.wheel, ExpiryWheel::new(now_ms));
            expiry.rebuild_at = Some(0);
            db.env.discard(Garbage::Deadlines(Box::new(stale)), 0);
        }
        let rebuilding = db.rebuild_step();
        let fields_behind = db.expire_fields(budget.saturating_sub(progress.fired));
        let behind = progress.behind || fields_behind;
        ExpiryProgress { expired: self.env.counters.expired - before, behind, rebuilding }
    }

    /// Removes all keys and fields of all databases whose time has come. O(all that is due).
    pub fn expire_all_due(&mut self) {
        for index in 0..self.databases() {
            loop {
                let progress = self.expire_slice(index, usize::MAX);
                if !progress.behind && !progress.rebuilding {
                    break;
                }
            }
        }
    }

    /// One slice of the sweep that keeps access clocks readable: visits a small part of database `index` from `cursor`
    /// on and returns where to go on; 0 when it is through.
    pub fn sweep_clocks(&mut self, index: usize, cursor: u64) -> u64 {
        let Env { access, rng, .. } = &mut self.env;
        self.databases[index].keys.sweep_clocks(cursor, &mut |clock| access.aged(clock, rng))
    }
}

impl Db<'_> {
    /// Takes due fields out of the hashes in the queue, about `budget` of them. Returns whether there are more.
    fn expire_fields(&mut self, mut budget: usize) -> bool {
        while let Some(name) = self.meta.expiry.due_hashes.pop_front() {
            if budget == 0 {
                self.meta.expiry.due_hashes.push_front(name);
                return true;
            }
            let key = Key { position: self.keys.position(&name), name: &name };
            let taken = self.expire_fields_of(key, budget);
            if taken == budget {
                self.meta.expiry.due_hashes.push_front(name);
                return true;
            }
            // A look costs too, even if nothing is found.
            budget = budget.saturating_sub(taken.max(1));
        }
        false
    }

    /// Takes at most `max` due fields out of a hash; returns how many it were. A hash without fields is removed.
    fn expire_fields_of(&mut self, key: Key<'_>, max: usize) -> usize {
        let Db { keys, meta, env, index } = self;
        keep_old(keys, meta, env, key.position);
        let Some(mut entry) = keys.get_mut(key.position, key.name) else { return 0 };
        let (old, measured) = (Deadlines::of(entry.as_ref()), env.measure(entry.as_ref()));
        let now_ms = env.due_ms;
        let mut fields: Vec<Box<[u8]>> = Vec::new();
        let tell = env.tell_expired;
        let (taken, is_empty) = match entry.hash_mut() {
            None => return 0,
            Some(mut hash) => {
                let taken = hash.take_due(now_ms, max, &mut |field| {
                    if tell {
                        fields.push(field.into());
                    }
                });
                (taken, hash.is_empty())
            }
        };
        if taken == 0 {
            // What was due has been set anew meanwhile; what is due later needs a record, since that one has fired.
            if let Some(at) = old.fields {
                meta.expiry.wheel.insert(key.position, at);
            }
            return 0;
        }
        env.counters.expired_fields += taken as u64;
        if tell {
            let number = env.sequence.next();
            let key = key.name.into();
            env.expired_fields.push(ExpiredFields { number, db: *index, key, fields, key_gone: is_empty });
        }
        let new = if is_empty {
            meta.resized(measured, Measure::NOTHING);
            let freed = entry.remove();
            env.free_as(freed, env.lazyfree.expired);
            Deadlines::default()
        } else {
            meta.resized(measured, env.measure(entry.as_ref()));
            Deadlines::of(entry.as_ref())
        };
        meta.changed(&mut env.changed, key, old, new);
        if let Some(at) = new.fields.filter(|&at| at > now_ms) {
            // Its record has fired: what is due later needs one of its own.
            meta.expiry.wheel.insert(key.position, at);
        }
        taken
    }

    /// Walks a bit of the database to put its deadlines into the new wheel. Returns whether there is more to walk.
    fn rebuild_step(&mut self) -> bool {
        let Some(mut cursor) = self.meta.expiry.rebuild_at else { return false };
        let Db { keys, meta, .. } = self;
        for _ in 0..REBUILD_BUCKETS {
            cursor = keys.scan(cursor, &mut |entry: EntryRef<'_>| {
                if let Some(at) = Deadlines::of(entry).earliest() {
                    meta.expiry.wheel.insert(keys.position(entry.key()), at);
                }
            });
            if cursor == 0 {
                meta.expiry.rebuild_at = None;
                return false;
            }
        }
        meta.expiry.rebuild_at = Some(cursor);
        true
    }
}

/// Hands due records to a database whose wheel was taken out.
struct Due<'a, 'd> {
    db: &'a mut Db<'d>,
    /// Names of the keys found, each behind its length; reused from record to record.
    name: Vec<u8>,
}

impl DueKeys for Due<'_, '_> {
    fn fire(&mut self, position48: u64) -> Option<i64> {
        let now_ms = self.db.env.due_ms;
        let mut stays = None;
        self.name.clear();
        let name = &mut self.name;
        let due_hashes = &mut self.db.meta.expiry.due_hashes;
        // Nearly always one key; several only when 48 bits of position are the same.
        let mut several: Vec<Box<[u8]>> = Vec::new();
        self.db.keys.find_by_position48(position48, &mut |entry: EntryRef<'_>| match entry.expire_at() {
            Some(at) if at <= now_ms => {
                if name.is_empty() && several.is_empty() {
                    name.extend_from_slice(entry.key());
                    if name.is_empty() {
                        several.push(Box::default());
                    }
                } else {
                    several.push(entry.key().into());
                }
            }
            key_at => {
                let fields_at = fields_deadline(entry);
                let fields_due = fields_at.is_some_and(|at| at <= now_ms);
                if fields_due {
                    due_hashes.push_back(entry.key().into());
                }
                let fields = fields_at.filter(|_| !fields_due);
                let later = Deadlines { key: key_at, fields, ..Deadlines::default() };
                if let Some(at) = later.earliest() {
                    stays = Some(stays.map_or(at, |s: i64| s.min(at)));
                }
            }
        });
        if !self.name.is_empty() {
            let key = Key { name: &self.name, position: self.db.keys.position(&self.name) };
            self.db.expire_if_due(key);
        }
        for name in several {
            let key = Key { name: &name, position: self.db.keys.position(&name) };
            self.db.expire_if_due(key);
        }
        stays
    }

    fn deadline_of(&mut self, position48: u64) -> Option<i64> {
        let mut earliest = None;
        self.db.keys.find_by_position48(position48, &mut |entry: EntryRef<'_>| {
            if let Some(at) = Deadlines::of(entry).earliest() {
                earliest = Some(earliest.map_or(at, |e: i64| e.min(at)));
            }
        });
        earliest
    }
}
