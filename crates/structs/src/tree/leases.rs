//! Leases: what is attached to them, and which is due next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::LeaseId;

/// What a lease takes beside its paths, about.
const LEASE_BYTES: usize = (size_of::<(LeaseId, Lease)>() + size_of::<(u64, LeaseId)>()) * 3 / 2;
/// What a path of a lease takes, about; its bytes are the tree's.
const PATH_BYTES: usize = size_of::<Arc<[u8]>>() * 3 / 2;

/// A promise that somebody will be heard of in time.
#[derive(Clone, Debug)]
pub struct Lease {
    pub(super) ttl_ms: u64,
    pub(super) conn: bool,
    due_ms: u64,
    paths: BTreeSet<Arc<[u8]>>,
}

impl Lease {
    /// How long it lasts without a word, milliseconds.
    pub fn ttl_ms(&self) -> u64 {
        self.ttl_ms
    }

    /// Whether it ends with the connection that was granted it.
    pub fn conn(&self) -> bool {
        self.conn
    }

    /// When it ends, Unix milliseconds.
    pub fn due_ms(&self) -> u64 {
        self.due_ms
    }

    /// The paths that go with it, in order.
    pub fn paths(&self) -> impl DoubleEndedIterator<Item = &Arc<[u8]>> {
        self.paths.iter()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.paths.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }
}

/// The leases of a store. What must stay true: `due` has each lease once, with its own time.
#[derive(Clone, Debug, Default)]
pub(super) struct Leases {
    by_id: BTreeMap<LeaseId, Lease>,
    due: BTreeSet<(u64, LeaseId)>,
    attached: usize,
}

impl Leases {
    pub(super) fn grant(&mut self, id: LeaseId, ttl_ms: u64, conn: bool, due_ms: u64) -> bool {
        if id == 0 || self.by_id.contains_key(&id) {
            return false;
        }
        self.by_id.insert(id, Lease { ttl_ms, conn, due_ms, paths: BTreeSet::new() });
        self.due.insert((due_ms, id));
        true
    }

    pub(super) fn get(&self, id: LeaseId) -> Option<&Lease> {
        self.by_id.get(&id)
    }

    pub(super) fn from(&self, id: LeaseId) -> impl DoubleEndedIterator<Item = (LeaseId, &Lease)> {
        self.by_id.range(id..).map(|(&id, lease)| (id, lease))
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn keep_alive(&mut self, id: LeaseId, due_ms: u64) -> bool {
        let Some(lease) = self.by_id.get_mut(&id) else { return false };
        if lease.due_ms != due_ms {
            self.due.remove(&(lease.due_ms, id));
            self.due.insert((due_ms, id));
            lease.due_ms = due_ms;
        }
        true
    }

    /// Takes out a lease and its paths.
    pub(super) fn forget(&mut self, id: LeaseId) -> Option<BTreeSet<Arc<[u8]>>> {
        let lease = self.by_id.remove(&id)?;
        self.due.remove(&(lease.due_ms, id));
        self.attached -= lease.paths.len();
        Some(lease.paths)
    }

    pub(super) fn first_due(&self) -> Option<(u64, LeaseId)> {
        self.due.first().copied()
    }

    pub(super) fn renew(&mut self, now_ms: u64) {
        self.due.clear();
        for (&id, lease) in &mut self.by_id {
            lease.due_ms = now_ms.saturating_add(lease.ttl_ms);
            self.due.insert((lease.due_ms, id));
        }
    }

    pub(super) fn attach(&mut self, id: LeaseId, path: &Arc<[u8]>) {
        if let Some(lease) = self.by_id.get_mut(&id) {
            self.attached += usize::from(lease.paths.insert(path.clone()));
        }
    }

    pub(super) fn detach(&mut self, id: LeaseId, path: &[u8]) {
        if let Some(lease) = self.by_id.get_mut(&id) {
            self.attached -= usize::from(lease.paths.remove(path));
        }
    }

    /// How many paths are attached.
    pub(super) fn attached(&self) -> usize {
        self.attached
    }

    /// Heap bytes, about. O(1).
    pub(super) fn memory_bytes(&self) -> usize {
        self.by_id.len() * LEASE_BYTES + self.attached * PATH_BYTES
    }
}
