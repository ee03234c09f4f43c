//! One database as commands see it: the only way to its keys.
//!
//! Expired keys are never visible: whoever meets one removes it. What a change means for the expiry index, for watched
//! keys and for the counts is done here, in [`Meta`], and nowhere else.

use super::awaited::AwaitedKeys;
use super::changed::ChangedKeys;
use super::expiry::{Deadlines, ExpiryIndex};
use super::snapshot::{KeyWalk, keep_due, keep_old, note_place};
use super::versions::{KeyVersions, Version};
use super::{
    EntryRef, Env, ExpireChange, Gone, Measure, NewStr, PackedKind, SizeClass, Sizes, Store, StrView, TakenValue,
};
use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use weir_structs::entry::Freed;
use weir_structs::expiry_wheel::ExpiryWheel;
use weir_structs::keyspace::{EntryMut, Keyspace, NewValue};

/// A key's name and its position in hash space, worked out once a command.
#[derive(Clone, Copy, Debug)]
pub struct Key<'k> {
    /// The name.
    pub name: &'k [u8],
    /// Where it is in hash space.
    pub position: u64,
}

/// What belongs to a database beside its keys.
#[derive(Debug)]
pub(super) struct Meta {
    pub(super) expiry: ExpiryIndex,
    pub(super) versions: KeyVersions,
    pub(super) awaited: AwaitedKeys,
    pub(super) sizes: Sizes,
    pub(super) memory_sizes: Sizes,
    /// Keys that hold queues and exchanges.
    pub(super) broker_keys: usize,
    /// Keys that hold stores of the registry.
    pub(super) registry_keys: usize,
    /// While there is a snapshot: how far it has come.
    pub(super) walk: Option<Box<KeyWalk>>,
}

impl Meta {
    pub(super) fn new(now_ms: i64) -> Meta {
        Meta {
            expiry: ExpiryIndex::new(now_ms),
            versions: KeyVersions::default(),
            awaited: AwaitedKeys::default(),
            sizes: Sizes::default(),
            memory_sizes: Sizes::default(),
            broker_keys: 0,
            registry_keys: 0,
            walk: None,
        }
    }

    /// Everything that follows from a change of an entry, its deadlines going from `old` to `new`. `told` is for those who
    /// keep copies.
    #[inline]
    pub(super) fn changed(&mut self, told: &mut ChangedKeys, key: Key<'_>, old: Deadlines, new: Deadlines) {
        self.touched(told, key.position, || key.name);
        self.moved(key.position, old, new);
    }

    /// The same for an entry that is gone, by nobody's command.
    fn expired(&mut self, told: &mut ChangedKeys, key: Key<'_>, old: Deadlines) {
        self.versions.touch(key.position);
        self.awaited.touch(key.position);
        told.note(key.position, true, || key.name);
        self.moved(key.position, old, Deadlines::default());
    }

    /// The sizes of a value went from `old` to `new`.
    #[inline]
    pub(super) fn resized(&mut self, old: Measure, new: Measure) {
        self.sizes.moved(old.size, new.size);
        self.memory_sizes.moved(old.memory, new.memory);
    }

    /// The deadlines of an entry went from `old` to `new`.
    #[inline]
    pub(super) fn moved(&mut self, position: u64, old: Deadlines, new: Deadlines) {
        if old != new {
            self.expiry.moved(position, old, new);
        }
    }

    /// Somebody who watches the key, waits for it or keeps a copy shall know that it was changed.
    #[inline]
    fn touched<'n>(&mut self, told: &mut ChangedKeys, position: u64, name: impl FnOnce() -> &'n [u8]) {
        self.versions.touch(position);
        self.awaited.touch(position);
        told.note(position, false, name);
    }

    /// The same for all keys that `changed` names.
    pub(super) fn touched_where(&mut self, changed: impl Fn(u64) -> bool) {
        self.versions.touch_where(&changed);
        self.awaited.touch_where(&changed);
    }

    /// All entries are gone. Returns the index of their deadlines, to be freed elsewhere.
    pub(super) fn flushed(&mut self, now_ms: i64) -> (ExpiryWheel, VecDeque<Box<[u8]>>) {
        self.sizes = Sizes::default();
        self.memory_sizes = Sizes::default();
        std::mem::replace(&mut self.expiry, ExpiryIndex::new(now_ms)).into_parts()
    }

    pub(super) fn expires(&self) -> usize {
        self.expiry.keys()
    }

    pub(super) fn mean_deadline_ms(&self) -> Option<i64> {
        self.expiry.mean_deadline_ms()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.expiry.memory_bytes()
    }
}

/// One database during one command.
pub struct Db<'a> {
    pub(super) keys: &'a mut Keyspace,
    pub(super) meta: &'a mut Meta,
    pub(super) env: &'a mut Env,
    pub(super) index: usize,
}

/// What [`Db::remove`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Removal {
    /// There was no such key.
    Absent,
    /// It is gone.
    Removed,
}

impl<'a> Db<'a> {
    /// Its number.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Number of keys, expired ones that nobody has met yet included.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.keys.len() == 0
    }

    /// Unix time in ms.
    pub fn now_ms(&self) -> i64 {
        self.env.now_ms
    }

    /// Looks a key up to read it: counts a hit or a miss and moves its access clock.
    #[inline]
    pub fn get(self, key: Key<'_>) -> Option<EntryRef<'a>> {
        keep_due(self.keys, self.meta, self.env, key);
        let Some(mut entry) = self.keys.get_mut(key.position, key.name) else {
            self.env.counters.misses += 1;
            return None;
        };
        let deadline = entry.as_ref().expire_at();
        if deadline.is_some_and(|at| at <= self.env.due_ms) {
            meet_expired(entry, self.meta, self.env, key, self.index);
            self.env.counters.misses += 1;
            return None;
        }
        self.env.counters.hits += 1;
        if self.env.touch {
            let old = entry.as_ref().clock();
            let clock = self.env.access.accessed(old, &mut self.env.rng);
            // A read within the same second leaves the cache line as it is.
            if clock != old {
                entry.set_clock(clock);
            }
        }
        Some(entry.into_ref())
    }

    /// Looks a key up to see something about it: counts a hit or a miss but leaves its access clock alone.
    pub fn look(self, key: Key<'_>) -> Option<EntryRef<'a>> {
        let Db { keys, meta, env, index } = self;
        let seen = live(keys, meta, env, index, key);
        match seen {
            Some(_) => env.counters.hits += 1,
            None => env.counters.misses += 1,
        }
        seen
    }

    /// Looks a key up as [`Db::get`] does and moves its access clock even for a client that asked for that not to happen
    /// (TOUCH).
    pub fn touch(self, key: Key<'_>) -> bool {
        let was = std::mem::replace(&mut self.env.touch, true);
        let Db { keys, meta, env, index } = self;
        let found = Db { keys, meta, env: &mut *env, index }.get(key).is_some();
        env.touch = was;
        found
    }

    /// Looks a key up without leaving a trace: no count, no access clock.
    pub fn peek(self, key: Key<'_>) -> Option<EntryRef<'a>> {
        live(self.keys, self.meta, self.env, self.index, key)
    }

    /// Looks a key up to change it; moves its access clock.
    #[inline]
    pub fn get_mut(self, key: Key<'_>) -> Option<Write<'a>> {
        keep_old(self.keys, self.meta, self.env, key.position);
        let mut entry = self.keys.get_mut(key.position, key.name)?;
        let deadline = entry.as_ref().expire_at();
        if deadline.is_some_and(|at| at <= self.env.due_ms) {
            expire(entry, self.meta, self.env, key, self.index);
            return None;
        }
        if self.env.touch {
            let clock = self.env.access.accessed(entry.as_ref().clock(), &mut self.env.rng);
            entry.set_clock(clock);
        }
        Some(Write { entry, position: key.position, meta: self.meta, env: self.env })
    }

    /// Looks a key up to change it as [`Db::get_mut`] does; where there is none, makes it with an empty collection, which
    /// the command must fill or remove. Says whether it was made. What is there may be of another type.
    #[inline]
    pub fn get_or_create(self, key: Key<'_>, kind: PackedKind) -> (Write<'a>, bool) {
        let Db { keys, meta, env, index } = self;
        keep_old(keys, meta, env, key.position);
        let fresh = env.access.fresh();
        let (mut entry, created) = keys.get_or_insert(key.position, key.name, || (NewValue::Packed(kind, &[]), fresh));
        let deadline = entry.as_ref().expire_at();
        let expired = deadline.is_some_and(|at| at <= env.due_ms);
        if expired {
            let old = Deadlines::of(entry.as_ref());
            meta.resized(env.measure(entry.as_ref()), Measure::NOTHING);
            let freed = entry.set_value(NewValue::Packed(kind, &[]));
            env.free(freed);
            entry.set_expire(None);
            entry.set_clock(fresh);
            meta.changed(&mut env.changed, key, old, Deadlines::default());
            tell_expired(env, key.name, index);
        } else if !created && env.touch {
            let clock = env.access.accessed(entry.as_ref().clock(), &mut env.rng);
            entry.set_clock(clock);
        }
        (Write { entry, position: key.position, meta, env }, created || expired)
    }

    /// Sets a key to a string, whatever it held. Returns whether it is new.
    #[inline]
    pub fn set(self, key: Key<'_>, value: NewStr<'_>, expire_change: ExpireChange) -> bool {
        self.set_value(key, value.into(), expire_change)
    }

    /// Sets a key to a big collection, whatever it held; it has no deadline. Returns whether it is new.
    pub fn put_big(self, key: Key<'_>, big: super::Big) -> bool {
        self.set_value(key, big.into(), ExpireChange::Clear)
    }

    /// Sets a key to a small collection, whatever it held; it has no deadline. Returns whether it is new.
    pub fn put_packed(self, key: Key<'_>, kind: PackedKind, bytes: &[u8]) -> bool {
        self.set_value(key, NewValue::Packed(kind, bytes), ExpireChange::Clear)
    }

    #[inline]
    fn set_value(self, key: Key<'_>, value: NewValue<'_>, expire_change: ExpireChange) -> bool {
        keep_old(self.keys, self.meta, self.env, key.position);
        let due_ms = self.env.due_ms;
        if expire_change == ExpireChange::Keep
            && let Some(entry) = self.keys.get_mut(key.position, key.name)
            && entry.as_ref().expire_at().is_some_and(|at| at <= due_ms)
        {
            expire(entry, self.meta, self.env, key, self.index);
        }
        let Env { access, rng, touch, measures_memory, .. } = &mut *self.env;
        let (measures_memory, mut old_measure) = (*measures_memory, Measure::NOTHING);
        let mut new_measure = Measure { size: SizeClass::of_new(&value), ..Measure::NOTHING };
        let big = if let NewValue::Big(big) = &value { Some((big.kind(), Deadlines::inside_of(big))) } else { None };
        let clock = |old: Option<EntryRef<'_>>| {
            let Some(old) = old else { return access.fresh() };
            old_measure = Measure::of(old, measures_memory);
            if *touch { access.changed(access.accessed(old.clock(), rng)) } else { old.clock() }
        };
        let done = self.keys.upsert(key.position, key.name, value, expire_change, clock);
        if measures_memory && let Some(entry) = self.keys.get(key.position, key.name) {
            new_measure = Measure::of(entry, true);
        }
        self.meta.resized(old_measure, new_measure);
        let old = match &done.freed {
            Freed::Big(big) => Deadlines::inside_of(big),
            _ => Deadlines::default(),
        };
        self.env.free(done.freed);
        let mut inside = Deadlines::default();
        if let Some((kind, deadlines)) = big {
            self.env.note_value(kind, self.index, key.name);
            inside = deadlines;
        }
        let new = match expire_change {
            ExpireChange::Keep => done.old_expire_at,
            ExpireChange::Clear => None,
            ExpireChange::At(at) => Some(at),
        };
        let old = Deadlines { key: done.old_expire_at, ..old };
        self.meta.changed(&mut self.env.changed, key, old, Deadlines { key: new, ..inside });
        let expired = done.old_expire_at.is_some_and(|at| at <= due_ms);
        if expired {
            tell_expired(self.env, key.name, self.index);
        }
        done.inserted || expired
    }

    /// Removes a key.
    pub fn remove(self, key: Key<'_>) -> Removal {
        match self.get_mut(key) {
            None => Removal::Absent,
            Some(entry) => {
                entry.remove();
                Removal::Removed
            }
        }
    }

    /// Removes a key because a client wants that; `lazily` if it, or the configuration, wants its value freed elsewhere.
    pub fn delete(self, key: Key<'_>, lazily: bool) -> Removal {
        let Some(entry) = self.get_mut(key) else { return Removal::Absent };
        entry.delete(lazily);
        Removal::Removed
    }

    /// Removes a key as if its time had come, whatever its deadline: counted and told like every expired key.
    pub fn expire_now(self, key: Key<'_>) -> Removal {
        keep_old(self.keys, self.meta, self.env, key.position);
        match self.keys.get_mut(key.position, key.name) {
            None => Removal::Absent,
            Some(entry) => {
                expire(entry, self.meta, self.env, key, self.index);
                Removal::Removed
            }
        }
    }

    /// Removes a key because memory is short: counted and told as evicted. Returns whether there was one.
    pub(super) fn evict(&mut self, key: Key<'_>) -> bool {
        keep_old(self.keys, self.meta, self.env, key.position);
        let Some(entry) = self.keys.get_mut(key.position, key.name) else { return false };
        let old = Deadlines::of(entry.as_ref());
        self.meta.resized(self.env.measure(entry.as_ref()), Measure::NOTHING);
        let freed = entry.remove();
        self.env.free_as(freed, self.env.lazyfree.evicted);
        self.meta.expired(&mut self.env.changed, key, old);
        self.env.counters.evicted += 1;
        if self.env.tell_expired {
            self.env.evicted.push(Gone { number: self.env.sequence.next(), db: self.index, key: key.name.into() });
        }
        true
    }

    /// Puts a value taken from another key, or another database, at a key that is not there.
    pub fn put(self, key: Key<'_>, taken: TakenValue) {
        self.put_used(key, taken, None, None);
    }

    /// The same for a value that has not been used for `idle_s` seconds, or was used as often as `frequency` says, where the
    /// policy in force keeps that.
    pub fn put_used(self, key: Key<'_>, taken: TakenValue, idle_s: Option<u64>, frequency: Option<u8>) {
        keep_old(self.keys, self.meta, self.env, key.position);
        let access = &self.env.access;
        let clock = access.with(idle_s, frequency).unwrap_or_else(|| access.fresh());
        let deadline = taken.expire_at;
        self.keys.insert_taken(key.position, key.name, taken, clock);
        note_place(self.keys, self.meta, self.env, key);
        let entry = self.keys.get(key.position, key.name);
        if let Some(entry) = entry {
            self.env.note_value(entry.kind(), self.index, key.name);
        }
        let inside = entry.map_or(Deadlines::default(), Deadlines::inside);
        self.meta.resized(Measure::NOTHING, entry.map_or(Measure::NOTHING, |entry| self.env.measure(entry)));
        self.meta.changed(&mut self.env.changed, key, Deadlines::default(), Deadlines { key: deadline, ..inside });
    }

    /// One step of a scan: gives every key of a small part of hash space to `f` and returns the next cursor; 0 is start
    /// and end. A key that is there during a whole scan is given at least once. Expired keys are given too.
    pub fn scan(&self, cursor: u64, f: &mut dyn FnMut(EntryRef<'_>)) -> u64 {
        self.keys.scan(cursor, f)
    }

    /// All entries, expired ones included.
    pub fn iter(&self) -> impl Iterator<Item = EntryRef<'_>> {
        self.keys.iter()
    }

    /// A key picked at random, each with the same probability; expired ones included.
    pub fn random(self) -> Option<EntryRef<'a>> {
        let rng = &mut self.env.rng;
        self.keys.random(&mut || rand::RngCore::next_u64(rng))
    }

    /// Somebody waits for a change of the key with a position from now on.
    pub fn await_position(self, position: u64) {
        self.meta.awaited.add(position);
    }

    /// The end of one [`Db::await_position`].
    pub fn stop_awaiting(self, position: u64) {
        self.meta.awaited.remove(position);
    }

    /// Positions of keys that are waited for and were changed since the last call, in the order of their changes.
    pub fn take_changed(self) -> Vec<u64> {
        self.meta.awaited.take_changed()
    }

    /// Begins to watch a key.
    pub fn watch(mut self, key: Key<'_>) -> Version {
        // One that has expired already is not there: that it is removed later is no change.
        self.expire_if_due(key);
        self.meta.versions.watch(key.position)
    }

    /// Ends a [`Db::watch`].
    pub fn unwatch(self, key: Key<'_>) {
        self.meta.versions.unwatch(key.position);
    }

    /// Whether a watched key was not changed since.
    pub fn is_unchanged(mut self, key: Key<'_>, since: Version) -> bool {
        // One whose time has come since is changed, whether anybody has met it or not.
        self.expire_if_due(key);
        self.meta.versions.is_unchanged(key.position, since)
    }
}

/// The entry of a key, unless its time has come.
fn live<'a>(
    keys: &'a mut Keyspace,
    meta: &mut Meta,
    env: &mut Env,
    index: usize,
    key: Key<'_>,
) -> Option<EntryRef<'a>> {
    keep_due(keys, meta, env, key);
    let entry = keys.get_mut(key.position, key.name)?;
    if entry.as_ref().expire_at().is_some_and(|at| at <= env.due_ms) {
        meet_expired(entry, meta, env, key, index);
        return None;
    }
    Some(entry.into_ref())
}

/// Removes an entry that a reader has met and whose time has come, unless nothing may be removed now: then it is only
/// not shown.
#[cold]
fn meet_expired(entry: EntryMut<'_>, meta: &mut Meta, env: &mut Env, key: Key<'_>, db: usize) {
    if !env.keep_expired {
        expire(entry, meta, env, key, db);
    }
}

/// Removes an entry whose time has come.
fn expire(entry: EntryMut<'_>, meta: &mut Meta, env: &mut Env, key: Key<'_>, db: usize) {
    let old = Deadlines::of(entry.as_ref());
    meta.resized(env.measure(entry.as_ref()), Measure::NOTHING);
    let freed = entry.remove();
    env.free_as(freed, env.lazyfree.expired);
    meta.expired(&mut env.changed, key, old);
    tell_expired(env, key.name, db);
}

fn tell_expired(env: &mut Env, key: &[u8], db: usize) {
    env.counters.expired += 1;
    if env.tell_expired {
        env.expired.push(Gone { number: env.sequence.next(), db, key: key.into() });
    }
}

impl Db<'_> {
    /// Removes a key if its time has come (the active way; [`Db::get`] and its kind do so by themselves).
    pub(super) fn expire_if_due(&mut self, key: Key<'_>) -> bool {
        keep_due(self.keys, self.meta, self.env, key);
        let Some(entry) = self.keys.get_mut(key.position, key.name) else { return false };
        let due = entry.as_ref().expire_at().is_some_and(|at| at <= self.env.due_ms);
        if due {
            expire(entry, self.meta, self.env, key, self.index);
        }
        due
    }
}

/// How many keys are looked up together.
const KEY_WINDOW: usize = 16;

/// A few keys of a command that has many, their memory requested together.
#[derive(Clone, Copy, Debug)]
pub struct KeyWindow<'k> {
    keys: [Key<'k>; KEY_WINDOW],
    len: usize,
}

impl<'k> KeyWindow<'k> {
    /// The keys, in order.
    pub fn keys(&self) -> &[Key<'k>] {
        &self.keys[..self.len]
    }

    /// Whether there were no more names.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Store {
    /// Takes the next few names, works out their positions and begins to fetch the memory of their entries in database
    /// `db`, so that looking them up one after the other does not wait for each in turn.
    pub fn key_window<'k>(&self, db: usize, names: &mut impl Iterator<Item = &'k [u8]>) -> KeyWindow<'k> {
        let mut window = KeyWindow { keys: [Key { name: &[], position: 0 }; KEY_WINDOW], len: 0 };
        for (slot, name) in window.keys.iter_mut().zip(names) {
            *slot = self.key(name);
            self.prefetch_bucket(db, slot.position);
            window.len += 1;
        }
        for key in window.keys() {
            self.prefetch_entry(db, key.position);
        }
        window
    }
}

/// An entry that is being changed.
pub struct Write<'a> {
    entry: EntryMut<'a>,
    position: u64,
    meta: &'a mut Meta,
    env: &'a mut Env,
}

impl<'a> Write<'a> {
    /// To read it.
    #[inline]
    pub fn as_ref(&self) -> EntryRef<'_> {
        self.entry.as_ref()
    }

    /// Its value, if that is a string.
    #[inline]
    pub fn str(&self) -> Option<StrView<'_>> {
        self.entry.as_ref().str()
    }

    /// Its deadline in unix ms.
    pub fn expire_at(&self) -> Option<i64> {
        self.entry.as_ref().expire_at()
    }

    /// Whoever must hear of a change of the key does, and its access clock, if it counts changes.
    #[inline]
    fn touched(&mut self) {
        let Write { entry, meta, env, position } = self;
        meta.touched(&mut env.changed, *position, || entry.as_ref().key());
        if env.access.counts_changes() && env.touch {
            entry.set_clock(env.access.fresh());
        }
    }

    /// Its value, to be changed in whatever way its type knows. Everybody who must hear of a change of this key does, even
    /// if nothing is changed in the end.
    #[inline]
    pub fn value_mut(&mut self) -> ValueMut<'_, 'a> {
        self.touched();
        self.value_mut_unheard()
    }

    /// The same for bookkeeping inside of a value that does not count as a change of the key: nobody who watches it or waits
    /// for it hears of it.
    #[inline]
    pub fn value_mut_unheard(&mut self) -> ValueMut<'_, 'a> {
        let before = Deadlines::inside(self.entry.as_ref());
        let measured = self.env.measure(self.entry.as_ref());
        let Write { entry, env, meta, position } = self;
        ValueMut { entry, env, meta, position: *position, before, measured }
    }

    /// Its value, to be changed or not: `change` says whether it did. Otherwise nobody hears of it. For commands that find
    /// out only while they are at it.
    #[inline]
    pub fn try_change<T>(&mut self, change: impl FnOnce(&mut ValueMut<'_, 'a>) -> (bool, T)) -> T {
        let (changed, result) = change(&mut self.value_mut_unheard());
        if changed {
            self.touched();
        }
        result
    }

    /// Lets those who wait for the key look again, although it counts as unchanged for those who watch it. For bookkeeping
    /// that decides what waiters get.
    pub fn wake_waiters(&mut self) {
        self.meta.awaited.touch(self.position);
    }

    /// Replaces the value by a string; the deadline stays.
    pub fn set_str(&mut self, value: NewStr<'_>) {
        self.set_str_unheard(value);
        self.touched();
    }

    /// The same for a string that means what the one before meant, in another form: nobody hears of it.
    pub fn set_str_unheard(&mut self, value: NewStr<'_>) {
        let freed = self.measured(|entry| entry.set_value(value));
        self.env.free(freed);
    }

    /// A change of an entry that may change its size.
    #[inline]
    fn measured<T>(&mut self, change: impl FnOnce(&mut EntryMut<'a>) -> T) -> T {
        let before = self.env.measure(self.entry.as_ref());
        let result = change(&mut self.entry);
        self.meta.resized(before, self.env.measure(self.entry.as_ref()));
        result
    }

    /// Replaces the value by an integer; the deadline stays.
    #[inline]
    pub fn set_int(&mut self, value: i64) {
        if self.measured(|entry| entry.set_int_in_place(value)) {
            self.touched();
        } else {
            self.set_str(NewStr::Int(value));
        }
    }

    /// Appends to a string. Returns the new length in bytes.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        self.touched();
        self.measured(|entry| entry.append(bytes))
    }

    /// Writes `bytes` at `offset` of a string, which grows with zero bytes as needed. Returns the new length in bytes.
    pub fn overwrite(&mut self, offset: usize, bytes: &[u8]) -> usize {
        self.touched();
        self.measured(|entry| entry.overwrite(offset, bytes))
    }

    /// Makes a string one that was modified in place, as its encoding tells, though nothing in it changes: nobody hears of it.
    pub fn make_raw(&mut self) {
        self.entry.resize_zero(0);
    }

    /// Sets or removes the deadline.
    pub fn set_expire(&mut self, expire_at: Option<i64>) {
        let old = Deadlines::of(self.as_ref());
        if old.key != expire_at {
            self.measured(|entry| entry.set_expire(expire_at));
        }
        self.touched();
        self.meta.moved(self.position, old, Deadlines { key: expire_at, ..old });
    }

    /// Removes the entry.
    pub fn remove(self) {
        let lazily = self.env.lazyfree.replaced;
        self.delete(lazily);
    }

    /// Removes the entry because a client wants that; `lazily` if it, or the configuration, wants it freed elsewhere.
    fn delete(mut self, lazily: bool) {
        let old = Deadlines::of(self.as_ref());
        self.touched();
        self.meta.resized(self.env.measure(self.entry.as_ref()), Measure::NOTHING);
        let freed = self.entry.remove();
        self.env.free_as(freed, lazily);
        self.meta.moved(self.position, old, Deadlines::default());
    }

    /// Removes the entry and keeps its value and deadline.
    pub fn take(mut self) -> TakenValue {
        let old = Deadlines::of(self.as_ref());
        self.touched();
        self.meta.resized(self.env.measure(self.entry.as_ref()), Measure::NOTHING);
        let taken = self.entry.remove_take();
        self.meta.moved(self.position, old, Deadlines::default());
        taken
    }

    /// A copy of the value and deadline.
    pub fn copy(&self) -> TakenValue {
        self.entry.as_ref().copy_value()
    }
}

/// The value of an entry that is being changed. When that has ended, the index of deadlines hears of those of fields.
pub struct ValueMut<'w, 'a> {
    entry: &'w mut EntryMut<'a>,
    env: &'w mut Env,
    meta: &'w mut Meta,
    position: u64,
    before: Deadlines,
    measured: Measure,
}

impl Drop for ValueMut<'_, '_> {
    #[inline]
    fn drop(&mut self) {
        self.meta.resized(self.measured, self.env.measure(self.entry.as_ref()));
        let after = Deadlines::inside(self.entry.as_ref());
        if after != self.before {
            let key = self.entry.as_ref().expire_at();
            self.meta.expiry.moved(self.position, Deadlines { key, ..self.before }, Deadlines { key, ..after });
        }
    }
}

impl ValueMut<'_, '_> {
    /// Sees to what was cut out of the value: large pieces are freed elsewhere.
    pub fn free(&mut self, freed: Freed) {
        self.env.free(freed);
    }
}

impl<'a> Deref for ValueMut<'_, 'a> {
    type Target = EntryMut<'a>;

    #[inline]
    fn deref(&self) -> &EntryMut<'a> {
        self.entry
    }
}

impl DerefMut for ValueMut<'_, '_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.entry
    }
}
