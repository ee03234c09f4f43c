//! Writing to one store, as a part of a revision.

use super::options::set_option;
use crate::command::effects::Effects;
use crate::command::error::Error;
use weir_structs::number::format_u64;
use weir_structs::tree::{LeaseId, Revision, Tree, Write};

/// Paths that are named in one record of deletions.
const FED_PATHS: usize = 512;

/// What a command writes to a store with. Whatever it does is in the feed, with its revision and its time.
#[derive(Debug)]
pub struct Writer<'w> {
    pub(super) tree: &'w mut Tree,
    pub(super) effects: &'w mut Effects,
    pub(super) store: &'w [u8],
    pub(super) revision: Revision,
    pub(super) now_ms: u64,
    pub(super) done: Done,
}

/// What was written.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Done {
    pub(super) puts: u64,
    pub(super) deletions: u64,
    /// Leases and settings, which are in no revision.
    pub(super) others: u64,
}

impl Done {
    pub(super) fn any(self) -> bool {
        self.puts + self.deletions + self.others > 0
    }

    pub(super) fn in_revision(self) -> bool {
        self.puts + self.deletions > 0
    }
}

impl Writer<'_> {
    /// The store as it is now.
    pub fn tree(&self) -> &Tree {
        self.tree
    }

    /// Unix time in ms.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// The revision that writes have.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The last revision of the store, with what was written so far.
    pub fn last_revision(&self) -> Revision {
        self.tree.revision()
    }

    /// Sets a path. What may be wrong with it was looked at before: see [`super::check_path`] and its like.
    pub fn put(&mut self, path: &[u8], value: &[u8], lease: LeaseId, flags: u64) {
        self.tree.write(self.revision, self.now_ms, Write::Put { path, value, lease, flags });
        self.done.puts += 1;
        if self.effects.feeds() {
            self.effects.feed_as(&[
                b"CFG.EFFECT",
                b"PUT",
                self.store,
                &format_u64(self.tree.epoch()),
                &format_u64(self.revision),
                &format_u64(self.now_ms),
                path,
                value,
                &format_u64(lease),
                &format_u64(flags),
            ]);
        }
    }

    /// Deletes a path. Says whether it was there.
    pub fn delete(&mut self, path: &[u8]) -> bool {
        self.delete_all(&[path]) > 0
    }

    /// Deletes paths. Says how many were there.
    pub fn delete_all(&mut self, paths: &[impl AsRef<[u8]>]) -> u64 {
        let Writer { tree, revision, now_ms, .. } = self;
        let there: Vec<&[u8]> = paths
            .iter()
            .map(AsRef::as_ref)
            .filter(|path| tree.write(*revision, *now_ms, Write::Del { path }))
            .collect();
        self.done.deletions += there.len() as u64;
        if self.effects.feeds() {
            let epoch = format_u64(self.tree.epoch());
            let (revision, now_ms) = (format_u64(self.revision), format_u64(self.now_ms));
            for paths in there.chunks(FED_PATHS) {
                let first: [&[u8]; 6] = [b"CFG.EFFECT", b"DEL", self.store, &epoch, &revision, &now_ms];
                self.effects.feed_list(&first, paths.iter().copied());
            }
        }
        there.len() as u64
    }

    /// Deletes all paths that begin with some bytes; hidden ones, if those do. Says how many there were.
    pub fn delete_prefix(&mut self, prefix: &[u8]) -> u64 {
        let deleted = self.tree.delete_prefix(self.revision, self.now_ms, prefix) as u64;
        self.done.deletions += deleted;
        if deleted > 0 {
            let epoch = format_u64(self.tree.epoch());
            let (revision, now_ms) = (format_u64(self.revision), format_u64(self.now_ms));
            self.effects.feed_as(&[b"CFG.EFFECT", b"DELPREFIX", self.store, &epoch, &revision, &now_ms, prefix]);
        }
        deleted
    }

    /// Grants a lease. Says whether its id was free. `due_ms`: when it ends, in Unix ms.
    pub fn grant(&mut self, id: LeaseId, ttl_ms: u64, conn: bool, due_ms: u64) -> bool {
        if !self.tree.grant(id, ttl_ms, conn, due_ms) {
            return false;
        }
        self.done.others += 1;
        let kind: &[u8] = if conn { b"CONN" } else { b"TIME" };
        let epoch = format_u64(self.tree.epoch());
        let words: [&[u8]; 7] =
            [b"CFG.EFFECT", b"GRANT", self.store, &epoch, &format_u64(id), &format_u64(ttl_ms), kind];
        self.effects.feed_as(&words);
        true
    }

    /// Ends a lease, whose paths were deleted before. Says whether there was one.
    pub fn forget_lease(&mut self, id: LeaseId) -> bool {
        if !self.tree.forget_lease(id) {
            return false;
        }
        self.done.others += 1;
        self.effects.feed_as(&[b"CFG.EFFECT", b"REVOKE", self.store, &format_u64(id)]);
        true
    }

    /// Changes a setting of the store.
    ///
    /// # Errors
    /// There is none of that name, or it does not take that value.
    pub fn set_option(&mut self, name: &[u8], value: &[u8]) -> Result<(), Error> {
        set_option(self.tree.options_mut(), name, value)?;
        self.done.others += 1;
        let epoch = format_u64(self.tree.epoch());
        self.effects.feed_as(&[b"CFG.EFFECT", b"SET", self.store, &epoch, name, value]);
        Ok(())
    }

    /// Forgets history. Says whether there was any.
    pub(super) fn compact(&mut self, to: Revision) -> bool {
        if !self.tree.compact(to) {
            return false;
        }
        self.done.others += 1;
        self.effects.feed_as(&[b"CFG.EFFECT", b"COMPACT", self.store, &format_u64(to)]);
        true
    }
}
