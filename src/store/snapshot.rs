//! A snapshot: everything as it was at one moment, given out in slices while commands go on.
//!
//! A walk goes over hash space, database by database. Whoever is about to change, remove or make an entry that the walk has
//! not reached has what is at that position given out first, and the position noted as *settled*; so an entry is given
//! once, as it was at the beginning. What this costs: while there is a snapshot, a look at a set of positions for each
//! change, and memory for the positions that were changed ahead of the walk. Entries themselves know nothing of it.
//!
//! ```text
//!  the walk meets it, or somebody is about to change it:
//!    a small entry ─────► given at once
//!    a big collection ──► frozen ─► waits for its turn ─► given in parts
//! ```
//!
//! A big collection is [frozen](weir_structs::frozen) and given in parts, one collection after the other, wherever it has
//! gone meanwhile: to another key, to another database, or out of the keyspace.
//!
//! What must stay true: every path to an [`EntryMut`] that may change more than an access clock calls [`keep_old`] first,
//! before it looks the key up; every database has a walk while there is a snapshot; what is given is never given again; a
//! frozen collection is either at the place that is noted for it, or among the orphans.

use super::db::Meta;
use super::{AccessClock, AccessPolicy, Big, Database, EntryRef, Env, Garbage, Key, Measure, Sizes, Store};
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::fmt::Debug;
use weir_structs::frozen::{FrozenHead, FrozenPart, Kept};
use weir_structs::keyspace::{EntryMut, Keyspace};
use weir_structs::snapshot_walk::SnapshotWalk;

/// Collections of at most so many pieces and bytes are given at once.
const AT_ONCE_ITEMS: usize = 1024;
const AT_ONCE_BYTES: usize = 64 * 1024;
/// Elements of a big collection that one step gives.
const STEP_ELEMENTS: usize = 64;

/// What is told of an entry besides its value and deadline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// It was used this many seconds ago.
    IdleS(u64),
    /// It is used so often, as LFU counts.
    Frequency(u8),
}

/// What is known of a key besides its value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyHead<'k> {
    /// The number that its database had at the beginning.
    pub db: usize,
    /// Its name.
    pub name: &'k [u8],
    /// Its deadline in Unix ms.
    pub expire_at: Option<i64>,
    /// Its last use.
    pub access: Access,
}

/// Who takes down a snapshot.
pub trait Recorder: Debug {
    /// A whole entry. It may come while a big collection is being given: it belongs behind it then.
    fn entry(&mut self, key: KeyHead<'_>, entry: EntryRef<'_>);

    /// A big collection, whose parts follow.
    fn begin_big(&mut self, key: KeyHead<'_>, head: FrozenHead);

    /// A part of the collection that was begun.
    fn part(&mut self, part: FrozenPart<'_>);

    /// The collection is complete.
    fn end_big(&mut self);

    /// That was all.
    fn end(self: Box<Self>);
}

/// What came of a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SnapshotStep {
    /// There is more.
    More,
    /// That was all: [`Store::end_snapshot`] is next.
    Done,
    /// A frozen collection has been lost: the snapshot cannot be completed. This does not happen.
    Lost,
}

/// How far a snapshot has come with the keys of one database.
#[derive(Debug)]
pub(super) struct KeyWalk {
    /// The number that the database had at the beginning.
    db: usize,
    /// Which keyspace it is of: one that a flushed database begins with has another.
    id: u64,
    passed: SnapshotWalk,
}

/// A keyspace that a snapshot walks over.
struct Place<'p> {
    walk: &'p mut KeyWalk,
    keys: &'p mut Keyspace,
    /// Of a database that was not flushed: how many collections take how much memory.
    sizes: Option<&'p mut Sizes>,
}

/// A collection that is frozen.
#[derive(Debug)]
struct Frozen {
    ticket: u64,
    /// Where it is: the id of the keyspace's walk, and the key.
    walk: u64,
    name: Box<[u8]>,
    position: u64,
    /// What it was when it was frozen.
    db: usize,
    old_name: Box<[u8]>,
    expire_at: Option<i64>,
    access: Access,
}

/// A snapshot that is being made.
#[derive(Debug)]
pub(super) struct Capture {
    recorder: Box<dyn Recorder>,
    /// Databases that were flushed before the walk was through with them.
    flushed: Vec<(KeyWalk, Keyspace)>,
    /// Frozen collections in the order in which they are given, which is that of their tickets. The first one may have been
    /// begun.
    frozen: VecDeque<Frozen>,
    is_begun: bool,
    /// Frozen collections that are in no keyspace any more, by ticket: there may be as many as keys.
    orphans: HashMap<u64, Orphan>,
    /// Bytes of all of them.
    orphan_bytes: usize,
    /// Whether the memory of collections is counted by size.
    measures_memory: bool,
    /// The last ticket, or id of a walk.
    last_number: u64,
    /// Keys given so far.
    keys: u64,
}

fn access_of(clock: &AccessClock, entry: EntryRef<'_>) -> Access {
    match clock.policy() {
        AccessPolicy::Lfu { .. } => Access::Frequency(clock.frequency(entry.clock())),
        _ => Access::IdleS(clock.idle_s(entry.clock())),
    }
}

/// Whether a value is given in parts.
fn is_big(entry: EntryRef<'_>) -> bool {
    let pieces = match entry.value() {
        super::ValueRef::Hash(it) => it.len(),
        super::ValueRef::Set(it) => it.len(),
        super::ValueRef::Zset(it) => usize::try_from(it.len()).unwrap_or(usize::MAX),
        super::ValueRef::List(it) => it.len(),
        super::ValueRef::Stream(it) => it.items(),
        super::ValueRef::Queue(it) => it.items(),
        super::ValueRef::Exchange(it) => it.items(),
        super::ValueRef::Tree(it) => it.items(),
        super::ValueRef::Str(_) | super::ValueRef::Packed(..) => return false,
    };
    pieces > AT_ONCE_ITEMS || entry.memory_bytes() > AT_ONCE_BYTES
}

impl Capture {
    fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Gives an entry, unless it is to be given in parts: then its name goes to `big`.
    fn give(&mut self, db: usize, entry: EntryRef<'_>, clock: &AccessClock, big: &mut Vec<Box<[u8]>>) {
        if is_big(entry) {
            return big.push(entry.key().into());
        }
        let access = access_of(clock, entry);
        self.recorder.entry(KeyHead { db, name: entry.key(), expire_at: entry.expire_at(), access }, entry);
        self.keys += 1;
    }

    /// Freezes the collections at these keys.
    fn freeze(&mut self, place: &mut Place<'_>, clock: &AccessClock, names: Vec<Box<[u8]>>) {
        for name in names {
            let position = place.keys.position(&name);
            let Some(mut entry) = place.keys.get_mut(position, &name) else { continue };
            let sizes = place.sizes.as_deref_mut().filter(|_| self.measures_memory);
            let ticket = self.next_number();
            let (expire_at, access) = (entry.as_ref().expire_at(), access_of(clock, entry.as_ref()));
            measured(&mut entry, sizes, |entry| entry.freeze(ticket));
            let (old_name, db, walk) = (name.clone(), place.walk.db, place.walk.id);
            self.frozen.push_back(Frozen { ticket, walk, name, position, db, old_name, expire_at, access });
            self.keys += 1;
        }
    }

    /// Gives what is at a position, or has it frozen.
    fn settle(&mut self, mut place: Place<'_>, clock: &AccessClock, position: u64) {
        if !place.walk.passed.settle(position) {
            return;
        }
        let mut big = Vec::new();
        let Place { walk, keys, .. } = &mut place;
        keys.find_by_position(position, &mut |entry| self.give(walk.db, entry, clock, &mut big));
        self.freeze(&mut place, clock, big);
    }

    /// Gives the entries of a small part of hash space.
    fn step(&mut self, mut place: Place<'_>, clock: &AccessClock) {
        let Place { walk, keys, .. } = &mut place;
        if walk.passed.is_walked() {
            // What is left is to forget what was settled.
            return walk.passed.advance_to(0);
        }
        let mut big = Vec::new();
        keys.prefetch_scan(walk.passed.cursor());
        let next = keys.scan(walk.passed.cursor(), &mut |entry| {
            if walk.passed.covers(keys.position(entry.key())) {
                self.give(walk.db, entry, clock, &mut big);
            }
        });
        walk.passed.advance_to(next);
        self.freeze(&mut place, clock, big);
    }

    /// Takes an orphan out.
    fn take_orphan(&mut self, ticket: u64) -> Option<Big> {
        let Orphan { big, bytes } = self.orphans.remove(&ticket)?;
        self.orphan_bytes -= bytes;
        Some(big)
    }

    /// Gives a part of the first frozen collection. If it was the last one of an orphan, nobody needs that any more: it goes to
    /// `given`.
    fn give_part(&mut self, databases: &mut [Database], given: &mut Option<Big>) -> SnapshotStep {
        let Some(frozen) = self.frozen.front() else { return SnapshotStep::Done };
        let ticket = frozen.ticket;
        let Some(mut big) = find(&mut self.flushed, &mut self.orphans, databases, self.measures_memory, frozen) else {
            return SnapshotStep::Lost;
        };
        if !self.is_begun {
            let Some(head) = big.head() else { return SnapshotStep::Lost };
            let Frozen { db, ref old_name, expire_at, access, .. } = *frozen;
            self.recorder.begin_big(KeyHead { db, name: old_name, expire_at, access }, head);
            self.is_begun = true;
        }
        let recorder = &mut self.recorder;
        if !big.give(STEP_ELEMENTS, &mut |part| recorder.part(part)) {
            self.recorder.end_big();
            self.is_begun = false;
            self.frozen.pop_front();
            *given = self.take_orphan(ticket);
        }
        SnapshotStep::More
    }

    /// A frozen collection has come to another place.
    fn moved(&mut self, ticket: u64, walk: u64, key: Key<'_>) {
        let at = self.frozen.binary_search_by_key(&ticket, |frozen| frozen.ticket);
        if let Some(frozen) = at.ok().and_then(|at| self.frozen.get_mut(at)) {
            (frozen.walk, frozen.name, frozen.position) = (walk, key.name.into(), key.position);
        }
    }
}

/// A frozen collection that has left the keyspace.
#[derive(Debug)]
struct Orphan {
    big: Big,
    /// What it took when it did.
    bytes: usize,
}

/// A frozen collection, wherever it is.
enum Found<'f> {
    /// In a database, or in one that was flushed.
    InKeyspace(EntryMut<'f>, Option<&'f mut Sizes>),
    Orphan(&'f mut Big),
}

impl Found<'_> {
    fn head(&self) -> Option<FrozenHead> {
        match self {
            Found::InKeyspace(entry, _) => entry.frozen_head(),
            Found::Orphan(big) => big.frozen_head(),
        }
    }

    /// Says whether there is more.
    fn give(&mut self, budget: usize, visit: &mut dyn FnMut(FrozenPart<'_>)) -> bool {
        match self {
            Found::InKeyspace(entry, sizes) => {
                measured(entry, sizes.as_deref_mut(), |entry| entry.give_frozen(budget, visit))
            }
            Found::Orphan(big) => big.give_frozen(budget, visit),
        }
    }

    fn thaw(self) -> Option<Kept> {
        match self {
            Found::InKeyspace(mut entry, sizes) => measured(&mut entry, sizes, EntryMut::thaw),
            Found::Orphan(big) => big.thaw(),
        }
    }
}

/// A change of what is kept aside, which counts as memory of the collection.
fn measured<'e, T>(
    entry: &mut EntryMut<'e>,
    sizes: Option<&mut Sizes>,
    change: impl FnOnce(&mut EntryMut<'e>) -> T,
) -> T {
    let Some(sizes) = sizes else { return change(entry) };
    let before = Measure::of(entry.as_ref(), true);
    let result = change(entry);
    sizes.moved(before.memory, Measure::of(entry.as_ref(), true).memory);
    result
}

fn find<'f>(
    flushed: &'f mut [(KeyWalk, Keyspace)],
    orphans: &'f mut HashMap<u64, Orphan>,
    databases: &'f mut [Database],
    measures_memory: bool,
    frozen: &Frozen,
) -> Option<Found<'f>> {
    if let Some(orphan) = orphans.get_mut(&frozen.ticket) {
        return Some(Found::Orphan(&mut orphan.big));
    }
    let in_databases = databases
        .iter_mut()
        .filter(|database| database.meta.walk.as_ref().is_some_and(|walk| walk.id == frozen.walk))
        .map(|Database { keys, meta }| (keys, measures_memory.then_some(&mut meta.memory_sizes)));
    let in_flushed = flushed.iter_mut().filter(|(walk, _)| walk.id == frozen.walk).map(|(_, keys)| (keys, None));
    let (keys, sizes) = in_databases.chain(in_flushed).next()?;
    let entry = keys.get_mut(frozen.position, &frozen.name)?;
    (entry.frozen_ticket() == Some(frozen.ticket)).then_some(Found::InKeyspace(entry, sizes))
}

/// Sees to it that a snapshot has what is at a position, before any of that changes or something comes there.
#[inline]
pub(super) fn keep_old(keys: &mut Keyspace, meta: &mut Meta, env: &mut Env, position: u64) {
    if let Some(walk) = &mut meta.walk {
        give_old(Place { walk, keys, sizes: Some(&mut meta.memory_sizes) }, env, position);
    }
}

#[cold]
fn give_old(place: Place<'_>, env: &mut Env, position: u64) {
    if let Env { capture: Some(capture), access, .. } = env {
        capture.settle(place, access, position);
    }
}

/// The same for a key that is only read, if its time has come and it may be removed for that.
#[inline]
pub(super) fn keep_due(keys: &mut Keyspace, meta: &mut Meta, env: &mut Env, key: Key<'_>) {
    if meta.walk.is_some() {
        let due = |entry: EntryRef<'_>| entry.expire_at().is_some_and(|at| at <= env.due_ms);
        if keys.get(key.position, key.name).is_some_and(due) {
            keep_old(keys, meta, env, key.position);
        }
    }
}

/// An entry has been put at a key: if it is a collection that a snapshot has frozen at another one, the snapshot must know.
#[inline]
pub(super) fn note_place(keys: &mut Keyspace, meta: &Meta, env: &mut Env, key: Key<'_>) {
    if let (Some(walk), Some(capture)) = (&meta.walk, &mut env.capture)
        && let Some(entry) = keys.get_mut(key.position, key.name)
        && let Some(ticket) = entry.frozen_ticket()
    {
        capture.moved(ticket, walk.id, key);
    }
}

impl Store {
    /// Begins a snapshot: `recorder` is given everything as it is now, part by part.
    ///
    /// # Panics
    /// If there is one already.
    pub fn begin_snapshot(&mut self, recorder: Box<dyn Recorder>) {
        assert!(self.env.capture.is_none(), "one snapshot at a time");
        for (db, Database { keys, meta }) in self.databases.iter_mut().enumerate() {
            let mut passed = SnapshotWalk::new();
            if keys.is_empty() {
                passed.advance_to(0);
            }
            meta.walk = Some(Box::new(KeyWalk { db, id: db as u64, passed }));
        }
        self.walking = 0;
        self.env.capture = Some(Box::new(Capture {
            recorder,
            flushed: Vec::new(),
            frozen: VecDeque::new(),
            is_begun: false,
            orphans: HashMap::new(),
            orphan_bytes: 0,
            measures_memory: self.env.measures_memory,
            last_number: self.databases.len() as u64,
            keys: 0,
        }));
    }

    /// Whether a snapshot is being made.
    pub fn has_snapshot(&self) -> bool {
        self.env.capture.is_some()
    }

    /// How many keys the snapshot has so far.
    pub fn snapshot_keys(&self) -> u64 {
        self.env.capture.as_ref().map_or(0, |capture| capture.keys)
    }

    /// Bytes that are kept for the snapshot besides what the recorder keeps, and what collections keep aside.
    pub fn snapshot_bytes(&self) -> usize {
        let Some(capture) = &self.env.capture else { return 0 };
        let walks = self.databases.iter().filter_map(|database| database.meta.walk.as_ref());
        let flushed = capture.flushed.iter().map(|(walk, keys)| walk.passed.memory_bytes() + keys.live_bytes());
        walks.map(|walk| walk.passed.memory_bytes()).chain(flushed).sum::<usize>() + capture.orphan_bytes
    }

    /// Goes a small step on.
    pub fn snapshot_step(&mut self) -> SnapshotStep {
        let Env { capture: Some(capture), access, .. } = &mut self.env else { return SnapshotStep::Done };
        if !capture.frozen.is_empty() {
            let mut given = None;
            let step = capture.give_part(&mut self.databases, &mut given);
            if let Some(big) = given {
                self.env.discard(Garbage::Big(big), 0);
            }
            return step;
        }
        if let Some((mut walk, mut keys)) = capture.flushed.pop() {
            capture.step(Place { walk: &mut walk, keys: &mut keys, sizes: None }, access);
            if walk.passed.is_over() && capture.frozen.is_empty() {
                self.env.discard(Garbage::Keyspace(Box::new(keys)), 0);
            } else {
                capture.flushed.push((walk, keys));
            }
            return SnapshotStep::More;
        }
        while let Some(Database { keys, meta }) = self.databases.get_mut(self.walking) {
            match &mut meta.walk {
                Some(walk) if !walk.passed.is_over() => {
                    capture.step(Place { walk, keys, sizes: Some(&mut meta.memory_sizes) }, access);
                    return SnapshotStep::More;
                }
                _ => self.walking += 1,
            }
        }
        SnapshotStep::Done
    }

    /// Ends the snapshot, whether all was given or not, and hands the recorder back.
    pub fn end_snapshot(&mut self) -> Option<Box<dyn Recorder>> {
        let mut capture = *self.env.capture.take()?;
        while let Some(frozen) = capture.frozen.pop_front() {
            let measures = capture.measures_memory;
            let found = find(&mut capture.flushed, &mut capture.orphans, &mut self.databases, measures, &frozen);
            if let Some(kept) = found.and_then(Found::thaw) {
                self.env.discard(Garbage::Kept(kept), 0);
            }
        }
        for database in &mut self.databases {
            if let Some(walk) = database.meta.walk.take()
                && !walk.passed.is_over()
            {
                self.env.discard(Garbage::Kept(Box::new(walk.passed)), 0);
            }
        }
        let Capture { recorder, flushed, orphans, .. } = capture;
        for (_, keys) in flushed {
            self.env.discard(Garbage::Keyspace(Box::new(keys)), 0);
        }
        for Orphan { big, .. } in orphans.into_values() {
            self.env.discard(Garbage::Big(big), 0);
        }
        Some(recorder)
    }
}

impl Env {
    /// Takes over a database that is flushed, if a snapshot has not seen all of it. Gives it back otherwise.
    pub(super) fn keep_flushed(&mut self, keys: Keyspace, meta: &mut Meta) -> Option<Keyspace> {
        let (Some(capture), Some(walk)) = (&mut self.capture, &mut meta.walk) else { return Some(keys) };
        let needed = !walk.passed.is_over() || capture.frozen.iter().any(|frozen| frozen.walk == walk.id);
        if !needed {
            return Some(keys);
        }
        let mut passed = SnapshotWalk::new();
        passed.advance_to(0);
        let new = Box::new(KeyWalk { db: walk.db, id: capture.next_number(), passed });
        let old = std::mem::replace(walk, new);
        capture.flushed.push((*old, keys));
        None
    }

    /// Takes over a collection that has left the keyspace, if a snapshot has not been given all of it. Gives it back
    /// otherwise.
    #[inline]
    pub(super) fn keep_frozen(&mut self, big: Big) -> Option<Big> {
        let Some(capture) = &mut self.capture else { return Some(big) };
        let Some(ticket) = big.frozen_ticket() else { return Some(big) };
        let bytes = big.memory_bytes();
        capture.orphan_bytes += bytes;
        capture.orphans.insert(ticket, Orphan { big, bytes });
        None
    }
}
