//! Active expiry: removing keys at their deadlines although nobody asks for them.
//!
//! The index is a timing wheel of hash positions; see its own page for how it works. Here is its owner: which changes
//! put a record in, what happens when one fires, and when the index is built anew because too many of its records are
//! stale (keys whose deadline was moved or that are gone leave theirs behind).

use super::db::{Db, Key};
use super::{EntryRef, Env, Garbage, Store};
use weir_structs::expiry_wheel::{DueKeys, ExpiryWheel};

/// Stale records that are put up with, beside twice the keys with a deadline and a quarter of all keys: with that,
/// building anew costs less per change than the change itself.
const STALE_MAX: usize = 65_536;
/// Hash space that one step of building anew walks, in buckets of the table.
const REBUILD_BUCKETS: usize = 64;
/// A wheel whose time was set back further than this, in ms, is built anew.
const SET_BACK_MAX_MS: i64 = 2_000;

/// Deadlines of one database.
#[derive(Debug)]
pub(super) struct ExpiryIndex {
    wheel: ExpiryWheel,
    keys: usize,
    deadline_sum: i128,
    rebuild_at: Option<u64>,
}

impl ExpiryIndex {
    pub(super) fn new(now_ms: i64) -> ExpiryIndex {
        ExpiryIndex { wheel: ExpiryWheel::new(now_ms), keys: 0, deadline_sum: 0, rebuild_at: None }
    }

    /// A key's deadline went from `old` to `new`.
    #[inline]
    pub(super) fn moved(&mut self, position: u64, old: Option<i64>, new: Option<i64>) {
        if let Some(old) = old {
            self.keys -= 1;
            self.deadline_sum -= i128::from(old);
        }
        if let Some(new) = new {
            self.keys += 1;
            self.deadline_sum += i128::from(new);
            if old.is_none_or(|old| new < old) {
                self.wheel.insert(position, new);
            }
        }
    }

    pub(super) fn into_wheel(self) -> ExpiryWheel {
        self.wheel
    }

    pub(super) fn keys(&self) -> usize {
        self.keys
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
        if db.meta.expiry.wheel.is_empty() && db.meta.expiry.rebuild_at.is_none() {
            return ExpiryProgress::default();
        }
        let mut wheel = std::mem::replace(&mut db.meta.expiry.wheel, ExpiryWheel::new(now_ms));
        let progress = wheel.advance(now_ms, budget, &mut Due { db: &mut db, name: Vec::new() });
        let expiry = &mut db.meta.expiry;
        expiry.wheel = wheel;
        let stale_max = 2 * expiry.keys + db.keys.len() / 4 + STALE_MAX;
        if expiry.rebuild_at.is_none() && (expiry.wheel.len() > stale_max || progress.set_back_ms > SET_BACK_MAX_MS) {
            let stale = std::mem::replace(&mut expiry.wheel, ExpiryWheel::new(now_ms));
            expiry.rebuild_at = Some(0);
            db.env.garbage.push(Garbage::Deadlines(Box::new(stale)));
        }
        let rebuilding = db.rebuild_step();
        ExpiryProgress { expired: self.env.counters.expired - before, behind: progress.behind, rebuilding }
    }

    /// One slice of the sweep that keeps access clocks readable: visits a small part of database `index` from `cursor`
    /// on and returns where to go on; 0 when it is through.
    pub fn sweep_clocks(&mut self, index: usize, cursor: u64) -> u64 {
        let Env { access, rng, .. } = &mut self.env;
        self.databases[index].keys.sweep_clocks(cursor, &mut |clock| access.aged(clock, rng))
    }
}

impl Db<'_> {
    /// Walks a bit of the database to put its deadlines into the new wheel. Returns whether there is more to walk.
    fn rebuild_step(&mut self) -> bool {
        let Some(mut cursor) = self.meta.expiry.rebuild_at else { return false };
        let Db { keys, meta, .. } = self;
        for _ in 0..REBUILD_BUCKETS {
            cursor = keys.scan(cursor, &mut |entry: EntryRef<'_>| {
                if let Some(at) = entry.expire_at() {
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
        let now_ms = self.db.env.now_ms;
        let mut stays = None;
        self.name.clear();
        let name = &mut self.name;
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
            Some(at) => stays = Some(stays.map_or(at, |s: i64| s.min(at))),
            None => {}
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
            if let Some(at) = entry.expire_at() {
                earliest = Some(earliest.map_or(at, |e: i64| e.min(at)));
            }
        });
        earliest
    }
}
