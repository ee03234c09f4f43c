//! A store: what it is made of, what it can be asked, and how it is written.
//!
//! What must stay true: `gone` has the paths that are not there but have events that are kept, each with its last event, and
//! those paths alone; the number in a slot is that of the path's last event, or below the first one that is kept; a path
//! that is there is attached to the lease that its version names, and only to that.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::frozen::Frozen;
use super::history::{EventNumber, History};
use super::leases::Leases;
use super::paths::{Paths, Slot};
use super::version::Numbers;
use super::{Change, Event, Lease, LeaseId, Revision, Span, Spanned, TreeOptions, Version, Versions, is_hidden};

/// Revisions and leases beyond this are nobody's: there is no use for so many, and what comes behind has to have numbers as
/// well.
pub const REVISION_MAX: Revision = 1 << 62;

/// What a path takes beside its bytes: the counters of what is shared.
const PATH_BYTES: usize = 2 * size_of::<usize>();
/// What a path takes that is not there any more, about; its bytes are counted as those of the others.
const GONE_BYTES: usize = size_of::<(Arc<[u8]>, EventNumber)>() * 3 / 2;
/// Events that a write frees of what was compacted.
const TIDIED_BY_WRITE: usize = 4;

/// What is done to a path.
#[derive(Clone, Copy, Debug)]
pub enum Write<'w> {
    /// It has this value from now on.
    Put {
        /// The path.
        path: &'w [u8],
        /// Its value.
        value: &'w [u8],
        /// What it is attached to; 0: nothing.
        lease: LeaseId,
        /// Kept beside the value.
        flags: u64,
    },
    /// It is gone.
    Del {
        /// The path.
        path: &'w [u8],
    },
}

/// The value of a store. A clone has no uid, and is not frozen.
#[derive(Debug)]
pub struct Tree {
    epoch: u64,
    uid: u64,
    options: Box<TreeOptions>,
    pub(super) revision: Revision,
    compacted: Revision,
    pub(super) live: Paths,
    /// Paths that are not there any more, with their last events.
    pub(super) gone: BTreeMap<Arc<[u8]>, EventNumber>,
    /// How many of those that are there are hidden.
    pub(super) hidden: usize,
    pub(super) history: History,
    /// What was compacted and is not yet freed, and the number of its next event.
    over: Option<(EventNumber, std::vec::IntoIter<Event>)>,
    pub(super) leases: Leases,
    /// Of paths and versions.
    pub(super) bytes: usize,
    pub(super) frozen: Option<Box<Frozen>>,
}

impl Tree {
    /// An empty store.
    pub fn new(epoch: u64) -> Tree {
        Tree {
            epoch,
            uid: 0,
            options: Box::default(),
            revision: 0,
            compacted: 0,
            live: Paths::default(),
            gone: BTreeMap::new(),
            hidden: 0,
            history: History::default(),
            over: None,
            leases: Leases::default(),
            bytes: 0,
            frozen: None,
        }
    }

    /// By what it is known while it is at a key; 0 until it is given one, and in clones.
    pub fn uid(&self) -> u64 {
        self.uid
    }

    /// Sets [`Tree::uid`].
    pub fn set_uid(&mut self, uid: u64) {
        self.uid = uid;
    }

    /// What tells its revisions from those of the same numbers in another life.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Sets [`Tree::epoch`].
    pub fn set_epoch(&mut self, epoch: u64) {
        self.epoch = epoch;
    }

    /// What it was told.
    pub fn options(&self) -> &TreeOptions {
        &self.options
    }

    /// To be told otherwise.
    pub fn options_mut(&mut self) -> &mut TreeOptions {
        &mut self.options
    }

    /// The last revision; 0: none yet.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    pub(super) fn set_revision(&mut self, revision: Revision) {
        self.revision = revision;
    }

    /// Up to which revision the history is forgotten; 0: nothing is.
    pub fn compacted(&self) -> Revision {
        self.compacted
    }

    /// How many paths are there that are not hidden. O(1).
    pub fn len(&self) -> usize {
        self.live.len() - self.hidden
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What a path is. O(log n).
    pub fn get(&self, path: &[u8]) -> Option<&Version> {
        self.live.get(path).map(|slot| &slot.version)
    }

    /// What a path was when `at` was the last revision, which is [`Tree::compacted`] at least. O(log n).
    pub fn get_at(&self, path: &[u8], at: Revision) -> Option<&Version> {
        if at >= self.revision {
            return self.get(path);
        }
        let above = self.history.first_above(at);
        match self.live.get(path) {
            Some(slot) => self.state_below(slot.last, above, Some(&slot.version)),
            None => self.state_below(*self.gone.get(path)?, above, None),
        }
    }

    /// What the path of an event was before any event from `above` on; `now` if there is none.
    pub(super) fn state_below<'t>(
        &'t self,
        last: EventNumber,
        above: EventNumber,
        now: Option<&'t Version>,
    ) -> Option<&'t Version> {
        match self.history.earliest(last, above).and_then(|number| self.history.event(number)) {
            Some(event) => event.before.as_ref(),
            None => now,
        }
    }

    /// The paths of a span in order, as they are, or as they were when `at` (at least [`Tree::compacted`]) was the last
    /// revision. O(log n) for the first, and for each that is passed over because it lies deeper, or was not there then.
    pub fn span(&self, span: Span<'_>, at: Option<Revision>) -> Spanned<'_> {
        let above = at.filter(|&at| at < self.revision).map(|at| self.history.first_above(at));
        Spanned::new(self, span, above)
    }

    /// Writes a path. `revision` is the last one, and then the write becomes a part of it, or a later one, which begins. A
    /// revision has one event for a path, from the state before it to the last one in it, and none if the path was there
    /// neither before nor after; however often it writes a path, its version counts up once.
    ///
    /// A value is put under no lease if there is none of that number. Says whether there was something to delete; if not,
    /// no revision begins. O(log n).
    ///
    /// # Panics
    /// If a value is longer than [`VALUE_BYTES_MAX`](super::VALUE_BYTES_MAX).
    pub fn write(&mut self, revision: Revision, now_ms: u64, write: Write<'_>) -> bool {
        debug_assert!(revision >= self.revision && revision > 0);
        let when = (revision.max(self.revision), now_ms);
        self.tidy(TIDIED_BY_WRITE);
        match write {
            Write::Put { path, value, lease, flags } => {
                debug_assert!(super::check_stored_path(path).is_ok());
                self.put(when, path, value, lease, flags);
                true
            }
            Write::Del { path } => self.delete(when, path),
        }
    }

    fn put(&mut self, when: (Revision, u64), path: &[u8], value: &[u8], lease: LeaseId, flags: u64) {
        let (revision, _) = when;
        let lease = if lease != 0 && self.leases.get(lease).is_some() { lease } else { 0 };
        let Some(slot) = self.live.get_mut(path) else {
            return self.create(when, path, value, lease, flags);
        };
        self.revision = revision;
        let Numbers { create, modified, version, lease: old_lease, .. } = slot.version.numbers();
        let version = version + u64::from(modified != revision);
        let new = Version::new(value, Numbers { create, modified: revision, version, lease, flags });
        self.bytes += new.memory_bytes();
        let old = std::mem::replace(&mut slot.version, new.clone());
        if self.history.is_open(slot.last, revision) {
            self.bytes -= old.memory_bytes();
            Frozen::save_event(&mut self.frozen, &self.history, slot.last);
            if let Some(event) = self.history.event_mut(slot.last) {
                event.after = Some(new);
            }
        } else {
            let event = Event { path: slot.path.clone(), after: Some(new), before: Some(old) };
            slot.last = self.history.push(when, event, slot.last);
        }
        if lease != old_lease {
            self.leases.detach(old_lease, path);
            self.leases.attach(lease, &slot.path);
        }
    }

    /// Puts a path that is not there.
    pub(super) fn create(&mut self, when: (Revision, u64), path: &[u8], value: &[u8], lease: LeaseId, flags: u64) {
        let (revision, _) = when;
        self.revision = revision;
        let new = Version::new(value, Numbers { create: revision, modified: revision, version: 1, lease, flags });
        self.bytes += new.memory_bytes();
        let (path, prev) = match self.gone.remove_entry(path) {
            Some(known) => known,
            None => {
                self.count_path(path);
                (path.into(), 0)
            }
        };
        let mut last = prev;
        if self.history.is_open(prev, revision) {
            Frozen::save_event(&mut self.frozen, &self.history, prev);
            if let Some(event) = self.history.event_mut(prev) {
                event.after = Some(new.clone());
            }
        } else {
            last = self.history.push(when, Event { path: path.clone(), after: Some(new.clone()), before: None }, prev);
        }
        self.leases.attach(lease, &path);
        self.hidden += usize::from(is_hidden(&path));
        self.live.insert(Slot { path, version: new, last });
    }

    pub(super) fn count_path(&mut self, path: &[u8]) {
        self.bytes += PATH_BYTES + path.len();
    }

    pub(super) fn delete(&mut self, when: (Revision, u64), path: &[u8]) -> bool {
        let Some(Slot { path, version: old, last }) = self.live.remove(path) else { return false };
        let (revision, _) = when;
        self.revision = revision;
        self.hidden -= usize::from(is_hidden(&path));
        self.leases.detach(old.lease(), &path);
        if !self.history.is_open(last, revision) {
            let event = Event { path: path.clone(), after: None, before: Some(old) };
            let last = self.history.push(when, event, last);
            self.gone.insert(path, last);
            return true;
        }
        self.bytes -= old.memory_bytes();
        Frozen::save_event(&mut self.frozen, &self.history, last);
        match self.history.event_mut(last) {
            Some(event) if event.before.is_some() => {
                event.after = None;
                self.gone.insert(path, last);
            }
            _ => self.take_back(path, last),
        }
        true
    }

    /// Deletes all paths that begin with some bytes, hidden ones only if those do, as [`Tree::write`] does with each, but
    /// for what it frees of what was compacted. Says how many there were. Much quicker than one by one, if the revision has
    /// no events yet.
    pub fn delete_prefix(&mut self, revision: Revision, now_ms: u64, prefix: &[u8]) -> usize {
        debug_assert!(revision >= self.revision && revision > 0);
        let when = (revision, now_ms);
        self.tidy(TIDIED_BY_WRITE);
        let bounds = Span::Prefix(prefix).bounds();
        if self.history.is_begun(revision) {
            // Some of them may be what the revision has made.
            let paths: Vec<Arc<[u8]>> = self.live.range(&bounds).map(|slot| slot.path.clone()).collect();
            return paths.iter().filter(|path| self.delete(when, path)).count();
        }
        let removed = self.live.remove_range(&bounds);
        let count = removed.len();
        if count == 0 {
            return 0;
        }
        self.revision = revision;
        self.hidden -= if is_hidden(prefix) { count } else { 0 };
        let any_attached = self.leases.attached() > 0;
        let mut gone = Vec::with_capacity(count);
        for (name, Slot { path, version: old, last }) in removed {
            if any_attached {
                self.leases.detach(old.lease(), &path);
            }
            let number = self.history.push(when, Event { path, after: None, before: Some(old) }, last);
            gone.push((name, number));
        }
        if self.gone.len() > count {
            self.gone.extend(gone);
        } else {
            self.gone.append(&mut BTreeMap::from_iter(gone));
        }
        count
    }

    /// A path that was created in the revision that is being written is gone again.
    fn take_back(&mut self, path: Arc<[u8]>, number: EventNumber) {
        Frozen::save_event(&mut self.frozen, &self.history, self.history.next() - 1);
        match self.history.take_back(number) {
            Some(prev) => {
                self.gone.insert(path, prev);
            }
            None => self.bytes -= PATH_BYTES + path.len(),
        }
        // The last event has the number now.
        if let Some(moved) = self.history.event(number).map(|event| event.path.clone()) {
            if let Some(slot) = self.live.get_mut(&moved) {
                slot.last = number;
            } else if let Some(last) = self.gone.get_mut(&moved) {
                *last = number;
            }
        }
    }

    /// A revision that is kept. O(log n).
    pub fn change(&self, revision: Revision) -> Option<Change<'_>> {
        if revision > self.compacted { self.history.change(revision) } else { None }
    }

    /// The revisions from this one on that are kept and did something, oldest first. O(log n) to find the first.
    pub fn changes(&self, from: Revision) -> impl DoubleEndedIterator<Item = Change<'_>> + use<'_> {
        self.history.changes_above(self.compacted.max(from.saturating_sub(1)))
    }

    /// What a path was at last, at first before the revision `before`, newest first: when, and what it was since; `None`:
    /// deleted. The last one is what it was at [`Tree::compacted`], if it was there; of that the time is not known (0).
    pub fn versions(&self, path: &[u8], before: Revision) -> Versions<'_> {
        let (last, now) = match self.live.get(path) {
            Some(slot) => (slot.last, Some(&slot.version)),
            None => (self.gone.get(path).copied().unwrap_or(0), None),
        };
        Versions::new(self, last, now, before)
    }

    /// Forgets what happened up to a revision. Quick: what that frees is freed by [`Tree::tidy`], and by writes. Says
    /// whether anything was still known of it.
    pub fn compact(&mut self, to: Revision) -> bool {
        let to = to.min(self.revision);
        let is_new = to > self.compacted;
        self.compacted = self.compacted.max(to);
        is_new
    }

    /// Frees about so many events of what was compacted. Says whether there is more to do. While the store is frozen nothing
    /// is freed, and there is nothing to do.
    pub fn tidy(&mut self, steps: usize) -> bool {
        if self.frozen.is_some() {
            return false;
        }
        for _ in 0..steps {
            if self.over.is_none() {
                let first = self.history.first();
                self.over = self.history.pop_front(self.compacted).map(|events| (first, events));
            }
            let Some((number, events)) = &mut self.over else { return false };
            let (at, event) = (*number, events.next());
            *number += 1;
            match event {
                Some(event) => self.forget(at, event),
                None => self.over = None,
            }
        }
        self.has_over()
    }

    /// Whether something was compacted that is not freed yet.
    pub fn has_over(&self) -> bool {
        self.over.is_some() || self.history.has_over(self.compacted)
    }

    fn forget(&mut self, number: EventNumber, event: Event) {
        if let Some(before) = &event.before {
            self.bytes -= before.memory_bytes();
        }
        // The last event of a path that is not there.
        if event.after.is_none() && self.gone.get(&event.path) == Some(&number) {
            self.gone.remove(&event.path);
            self.bytes -= PATH_BYTES + event.path.len();
        }
    }

    /// Up to where the history is too old, or longer than it should be by an eighth. O(log n).
    pub fn beyond(&self, now_ms: u64) -> Option<Revision> {
        let TreeOptions { history_max, history_ms, .. } = *self.options;
        let kept = self.revision - self.compacted;
        let mut beyond = 0;
        if kept > history_max.saturating_add(history_max / 8) {
            beyond = self.revision - history_max;
        }
        if history_ms > 0 {
            let since_ms = now_ms.saturating_sub(history_ms);
            beyond = beyond.max(self.history.last_before(since_ms));
        }
        (beyond > self.compacted).then_some(beyond)
    }

    /// Grants a lease. Says `false` if there is one of that number, or it is 0 or above [`REVISION_MAX`].
    pub fn grant(&mut self, id: LeaseId, ttl_ms: u64, conn: bool, due_ms: u64) -> bool {
        let is_granted = id <= REVISION_MAX && self.leases.grant(id, ttl_ms, conn, due_ms);
        if let Some(frozen) = self.frozen.as_mut().filter(|_| is_granted) {
            frozen.save_lease(id, None);
        }
        is_granted
    }

    /// A lease.
    pub fn lease(&self, id: LeaseId) -> Option<&Lease> {
        self.leases.get(id)
    }

    /// All leases, by number.
    pub fn leases(&self) -> impl DoubleEndedIterator<Item = (LeaseId, &Lease)> {
        self.leases.from(0)
    }

    /// Leases from a number on.
    pub fn leases_from(&self, id: LeaseId) -> impl DoubleEndedIterator<Item = (LeaseId, &Lease)> {
        self.leases.from(id)
    }

    /// How many leases there are.
    pub fn lease_count(&self) -> usize {
        self.leases.len()
    }

    /// Has a lease end later, or sooner. Says `false` if there is none of that number.
    pub fn keep_alive(&mut self, id: LeaseId, due_ms: u64) -> bool {
        self.leases.keep_alive(id, due_ms)
    }

    /// Forgets a lease. Paths that are attached to it stay, and are under no lease, without a revision: whoever wants them
    /// gone deletes them before. Says `false` if there is none of that number. O(its paths).
    pub fn forget_lease(&mut self, id: LeaseId) -> bool {
        if let Some(frozen) = &mut self.frozen
            && let Some(lease) = self.leases.get(id)
        {
            frozen.save_lease(id, Some((lease.ttl_ms, lease.conn)));
        }
        let Some(paths) = self.leases.forget(id) else { return false };
        for path in paths {
            let Some(slot) = self.live.get_mut(&path) else { continue };
            let free = slot.version.with_lease(0);
            Frozen::save_event(&mut self.frozen, &self.history, slot.last);
            if let Some(event) = self.history.event_mut(slot.last) {
                event.after = Some(free.clone());
            }
            let attached = std::mem::replace(&mut slot.version, free);
            if let Some(frozen) = &mut self.frozen {
                frozen.save_path(&path, slot.last, attached);
            }
        }
        true
    }

    /// Which lease ends next, and when. O(1).
    pub fn first_lease_due(&self) -> Option<(u64, LeaseId)> {
        self.leases.first_due()
    }

    /// All leases start anew. O(leases).
    pub fn renew_leases(&mut self, now_ms: u64) {
        self.leases.renew(now_ms);
    }

    /// Heap bytes, about. O(1).
    pub fn memory_bytes(&self) -> usize {
        let frozen = self.frozen.as_ref().map_or(0, |frozen| frozen.memory_bytes());
        let paths = self.bytes + self.live.memory_bytes() + self.gone.len() * GONE_BYTES;
        paths + self.history.memory_bytes() + self.leases.memory_bytes() + size_of::<TreeOptions>() + frozen
    }

    /// Bytes that the global allocator does not know of: none.
    pub fn mapped_bytes(&self) -> usize {
        0
    }

    /// Number of pieces that dropping it would free, about. O(1).
    pub fn items(&self) -> usize {
        2 * self.live.len() + self.gone.len() + self.history.len() + self.leases.len()
    }
}

impl Clone for Tree {
    fn clone(&self) -> Tree {
        Tree {
            epoch: self.epoch,
            uid: 0,
            options: self.options.clone(),
            revision: self.revision,
            compacted: self.compacted,
            live: self.live.clone(),
            gone: self.gone.clone(),
            hidden: self.hidden,
            history: self.history.clone(),
            over: self.over.clone(),
            leases: self.leases.clone(),
            bytes: self.bytes,
            frozen: None,
        }
    }
}
