//! A snapshot: everything as it was at one moment, given out in slices while commands go on.
//!
//! A walk goes over hash space, database by database. Whoever is about to change, remove or make an entry that the walk has
//! not reached has what is at that position given out first, and the position noted as *settled*; so an entry is given
//! once, as it was at the beginning. What this costs: while there is a snapshot, a look at a set of positions for each change, and
//! memory for the positions that were changed ahead of the walk. Entries themselves know nothing of it.
//!
//! What must stay true: every path to an [`EntryMut`](super::EntryMut) that may change more than an access clock calls
//! [`keep_old`] first, before it looks the key up; every database has a walk while there is a snapshot; what is given is
//! never given again.

use super::db::Meta;
use super::{AccessClock, AccessPolicy, Database, EntryRef, Env, Garbage, Key, Store};
use std::fmt::Debug;
use weir_structs::keyspace::Keyspace;
use weir_structs::snapshot_walk::SnapshotWalk;

/// What is told of an entry besides its value and deadline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// It was used this many seconds ago.
    IdleS(u64),
    /// It is used so often, as LFU counts.
    Frequency(u8),
}

/// Who takes down a snapshot.
pub trait Recorder: Debug {
    /// An entry of a database, by the number that the database had at the beginning.
    fn entry(&mut self, db: usize, entry: EntryRef<'_>, access: Access);

    /// That was all.
    fn end(self: Box<Self>);
}

/// How far a snapshot has come with the keys of one database.
#[derive(Debug)]
pub(super) struct KeyWalk {
    /// The number that the database had at the beginning.
    db: usize,
    passed: SnapshotWalk,
}

/// A snapshot that is being made.
#[derive(Debug)]
pub(super) struct Capture {
    recorder: Box<dyn Recorder>,
    /// Databases that were flushed before the walk was through with them.
    flushed: Vec<(KeyWalk, Keyspace)>,
    /// Keys given so far.
    keys: u64,
}

impl Capture {
    fn give(&mut self, db: usize, entry: EntryRef<'_>, clock: &AccessClock) {
        let access = match clock.policy() {
            AccessPolicy::Lfu { .. } => Access::Frequency(clock.frequency(entry.clock())),
            _ => Access::IdleS(clock.idle_s(entry.clock())),
        };
        self.recorder.entry(db, entry, access);
        self.keys += 1;
    }

    /// Gives the entries of a small part of hash space.
    fn step(&mut self, walk: &mut KeyWalk, keys: &Keyspace, clock: &AccessClock) {
        if walk.passed.is_walked() {
            // What is left is to forget what was settled.
            return walk.passed.advance_to(0);
        }
        let next = keys.scan(walk.passed.cursor(), &mut |entry| {
            if walk.passed.covers(keys.position(entry.key())) {
                self.give(walk.db, entry, clock);
            }
        });
        walk.passed.advance_to(next);
    }
}

/// Sees to it that a snapshot has what is at a position, before any of that changes or something comes there.
#[inline]
pub(super) fn keep_old(keys: &Keyspace, meta: &mut Meta, env: &mut Env, position: u64) {
    if let Some(walk) = &mut meta.walk {
        give_old(keys, walk, env, position);
    }
}

#[cold]
fn give_old(keys: &Keyspace, walk: &mut KeyWalk, env: &mut Env, position: u64) {
    let Env { capture: Some(capture), access, .. } = env else { return };
    if walk.passed.settle(position) {
        keys.find_by_position(position, &mut |entry| capture.give(walk.db, entry, access));
    }
}

/// The same for a key that is only read, if its time has come and it may be removed for that.
#[inline]
pub(super) fn keep_due(keys: &Keyspace, meta: &mut Meta, env: &mut Env, key: Key<'_>) {
    if meta.walk.is_some() {
        let due = |entry: EntryRef<'_>| entry.expire_at().is_some_and(|at| at <= env.due_ms);
        if keys.get(key.position, key.name).is_some_and(due) {
            keep_old(keys, meta, env, key.position);
        }
    }
}

impl Store {
    /// Begins a snapshot: `recorder` is given everything as it is now, part by part.
    ///
    /// # Panics
    /// If there is one already.
    pub fn begin_snapshot(&mut self, recorder: Box<dyn Recorder>) {
        assert!(self.env.capture.is_none(), "one snapshot at a time");
        self.env.capture = Some(Box::new(Capture { recorder, flushed: Vec::new(), keys: 0 }));
        for (db, Database { keys, meta }) in self.databases.iter_mut().enumerate() {
            let mut passed = SnapshotWalk::new();
            if keys.is_empty() {
                passed.advance_to(0);
            }
            meta.walk = Some(Box::new(KeyWalk { db, passed }));
        }
        self.walking = 0;
    }

    /// Whether a snapshot is being made.
    pub fn has_snapshot(&self) -> bool {
        self.env.capture.is_some()
    }

    /// How many keys the snapshot has so far.
    pub fn snapshot_keys(&self) -> u64 {
        self.env.capture.as_ref().map_or(0, |capture| capture.keys)
    }

    /// Bytes that are kept for the snapshot besides what the recorder keeps.
    pub fn snapshot_bytes(&self) -> usize {
        let walks = self.databases.iter().filter_map(|database| database.meta.walk.as_ref());
        let flushed = self.env.capture.iter().flat_map(|capture| &capture.flushed);
        walks.map(|walk| walk.passed.memory_bytes()).sum::<usize>()
            + flushed.map(|(walk, keys)| walk.passed.memory_bytes() + keys.live_bytes()).sum::<usize>()
    }

    /// Goes a small step on. Says whether there is more: if not, [`Store::end_snapshot`] is next.
    pub fn snapshot_step(&mut self) -> bool {
        let Env { capture: Some(capture), access, .. } = &mut self.env else { return false };
        if let Some((mut walk, keys)) = capture.flushed.pop() {
            capture.step(&mut walk, &keys, access);
            if walk.passed.is_over() {
                self.env.discard(Garbage::Keyspace(Box::new(keys)), 0);
            } else {
                capture.flushed.push((walk, keys));
            }
            return true;
        }
        while let Some(Database { keys, meta }) = self.databases.get_mut(self.walking) {
            match &mut meta.walk {
                Some(walk) if !walk.passed.is_over() => {
                    capture.step(walk, keys, access);
                    return true;
                }
                _ => self.walking += 1,
            }
        }
        false
    }

    /// Ends the snapshot, whether all was given or not, and hands the recorder back.
    pub fn end_snapshot(&mut self) -> Option<Box<dyn Recorder>> {
        for database in &mut self.databases {
            database.meta.walk = None;
        }
        let Capture { recorder, flushed, .. } = *self.env.capture.take()?;
        for (_, keys) in flushed {
            self.env.discard(Garbage::Keyspace(Box::new(keys)), 0);
        }
        Some(recorder)
    }
}

impl Env {
    /// Takes over a database that is flushed, if a snapshot has not seen all of it. Gives it back otherwise.
    pub(super) fn keep_flushed(&mut self, keys: Keyspace, meta: &mut Meta) -> Option<Keyspace> {
        let (Some(capture), Some(walk)) = (&mut self.capture, &mut meta.walk) else { return Some(keys) };
        if walk.passed.is_over() {
            return Some(keys);
        }
        let mut over = SnapshotWalk::new();
        over.advance_to(0);
        let old = std::mem::replace(walk, Box::new(KeyWalk { db: walk.db, passed: over }));
        capture.flushed.push((*old, keys));
        None
    }
}
