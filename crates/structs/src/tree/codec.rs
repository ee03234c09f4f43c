//! A store as bytes: for files, for copies, and for those who follow what happens.
//!
//! ```text
//!  head │ piece │ piece │ ...          as many pieces as there are
//!  piece of leases    1 │ (number, time, whether it is a connection's)*
//!  piece of paths     2 │ (path, value, numbers)*        as they were at the compaction, in order
//!  piece of events    3 │ (what, [revision, time], path, [value, lease, flags])*        what has happened since
//! ```
//!
//! What the paths are now is not written: it is what they were, and what has happened since. So tree and history share their
//! versions again when they are read, and numbers that can be counted cannot be wrong.
//!
//! Readers take any bytes: whatever no store would have written is [`Corrupt`], and nothing is allocated by a length
//! that is only claimed.

use std::fmt;
use std::sync::Arc;

use super::history::EventNumber;
use super::paths::{Paths, Slot};
use super::value::REVISION_MAX;
use super::version::Numbers;
use super::{
    Event, LeaseId, Revision, Spanned, Tree, TreeOptions, VALUE_BYTES_MAX, Version, check_stored_path, is_hidden,
};
use crate::bytes::{Reader, put_bytes, put_varint};

/// The layout of everything that is written here.
const VERSION: u8 = 1;
/// A piece is complete when it is this long.
pub(super) const PIECE_BYTES: usize = 64 * 1024;
/// First byte of a piece of leases.
pub(super) const PIECE_LEASES: u8 = 1;
/// First byte of a piece of paths.
pub(super) const PIECE_PATHS: u8 = 2;
/// First byte of a piece of events.
pub(super) const PIECE_EVENTS: u8 = 3;

/// The path was written, not deleted.
const PUT: u8 = 1;
/// The revision and its time follow: it is another one than that of the event before in the piece.
const BEGINS: u8 = 2;
/// The path was created in this revision.
const CREATED: u8 = 4;

/// What was read is not what a store wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt;

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not the contents of a store")
    }
}

impl std::error::Error for Corrupt {}

impl Tree {
    /// Gives the head, then pieces of about 64 KiB; more if a value is longer. When leases are due is not in them.
    pub fn encode(&self, give: &mut dyn FnMut(&[u8])) {
        self.encode_with(self.epoch(), give);
    }

    /// The same without the epoch: two stores in which the same has happened give the same.
    pub fn encode_contents(&self, give: &mut dyn FnMut(&[u8])) {
        self.encode_with(0, give);
    }

    fn encode_with(&self, epoch: u64, give: &mut dyn FnMut(&[u8])) {
        give(&self.put_head(epoch));
        let mut piece = Piece::new(PIECE_LEASES);
        for (id, lease) in self.leases() {
            put_lease(piece.next(give), id, lease.ttl_ms, lease.conn);
        }
        piece.give(give);
        let mut piece = Piece::new(PIECE_PATHS);
        let base = self.history.first_above(self.compacted());
        for (path, version) in Spanned::all(self, None, base) {
            put_path(piece.next(give), path, version);
        }
        piece.give(give);
        let mut piece = Piece::new(PIECE_EVENTS);
        let mut events = EventsWriter::default();
        for change in self.changes(0) {
            for event in change.events {
                let to = piece.next(give);
                events.put(to, (change.revision, change.time_ms), &event.path, event.after.as_ref());
            }
        }
        piece.give(give);
    }

    pub(super) fn put_head(&self, epoch: u64) -> Vec<u8> {
        let TreeOptions { history_max, history_ms, value_max, txn_max, durable, releases_max } = *self.options();
        let mut head = vec![VERSION];
        let numbers = [epoch, self.revision(), self.compacted(), history_max, history_ms, value_max];
        numbers.into_iter().for_each(|number| put_varint(&mut head, number));
        put_varint(&mut head, u64::from(txn_max));
        put_varint(&mut head, u64::from(releases_max));
        head.push(u8::from(durable));
        head
    }
}

/// Appends a lease to a piece.
pub(super) fn put_lease(to: &mut Vec<u8>, id: LeaseId, ttl_ms: u64, conn: bool) {
    put_varint(to, id);
    put_varint(to, ttl_ms);
    to.push(u8::from(conn));
}

/// Appends a path and what it is to a piece.
pub(super) fn put_path(to: &mut Vec<u8>, path: &[u8], version: &Version) {
    put_bytes(to, path);
    put_bytes(to, version.value());
    let Numbers { create, modified, version, lease, flags } = version.numbers();
    [create, modified - create, version, lease, flags].into_iter().for_each(|number| put_varint(to, number));
}

/// Writes events, one behind the other.
#[derive(Debug, Default)]
pub(super) struct EventsWriter {
    /// That of the last event in the piece.
    revision: Revision,
}

impl EventsWriter {
    /// Appends an event to a piece.
    pub(super) fn put(
        &mut self,
        to: &mut Vec<u8>,
        (revision, time_ms): (Revision, u64),
        path: &[u8],
        after: Option<&Version>,
    ) {
        let begins = to.len() == 1 || self.revision != revision;
        let created = after.is_some_and(|after| after.create() == revision);
        let bit = |is: bool, bit: u8| if is { bit } else { 0 };
        to.push(bit(after.is_some(), PUT) | bit(begins, BEGINS) | bit(created, CREATED));
        if begins {
            put_varint(to, revision);
            put_varint(to, time_ms);
            self.revision = revision;
        }
        put_bytes(to, path);
        if let Some(after) = after {
            put_bytes(to, after.value());
            put_varint(to, after.lease());
            put_varint(to, after.flags());
        }
    }
}

/// A piece that is being written.
struct Piece(Vec<u8>);

impl Piece {
    fn new(kind: u8) -> Piece {
        Piece(vec![kind])
    }

    /// Where the next item is to be appended.
    fn next(&mut self, give: &mut dyn FnMut(&[u8])) -> &mut Vec<u8> {
        if self.0.len() >= PIECE_BYTES {
            self.give(give);
        }
        &mut self.0
    }

    fn give(&mut self, give: &mut dyn FnMut(&[u8])) {
        if self.0.len() > 1 {
            give(&self.0);
            self.0.truncate(1);
        }
    }
}

/// Builds a store from what [`Tree::encode`] gave: the head first, then the pieces.
#[derive(Debug)]
pub struct TreeBuilder {
    tree: Tree,
    /// Of the store; what has been read may be before it.
    revision: Revision,
    /// The paths, until the first event.
    paths: Vec<Slot>,
    /// How many paths name a lease.
    attached: usize,
}

impl TreeBuilder {
    /// Reads the head.
    ///
    /// # Errors
    /// It is none.
    pub fn new(head: &[u8]) -> Result<TreeBuilder, Corrupt> {
        read_head(head).ok_or(Corrupt)
    }

    /// Reads a piece.
    ///
    /// # Errors
    /// It does not belong there.
    pub fn piece(&mut self, piece: &[u8]) -> Result<(), Corrupt> {
        let from = &mut Reader::new(piece);
        let kind = from.byte().ok_or(Corrupt)?;
        if kind == PIECE_EVENTS {
            return self.events(from).ok_or(Corrupt);
        }
        while !from.is_empty() {
            let read = match kind {
                PIECE_LEASES => self.lease(from),
                PIECE_PATHS => self.path(from),
                _ => None,
            };
            read.ok_or(Corrupt)?;
        }
        Ok(())
    }

    /// The store. It has no uid, and its leases are due never until [`Tree::renew_leases`].
    ///
    /// # Errors
    /// Something is missing.
    pub fn finish(mut self) -> Result<Tree, Corrupt> {
        self.settle_paths();
        let TreeBuilder { mut tree, revision, attached, .. } = self;
        if tree.revision() > revision || tree.leases.attached() != attached {
            return Err(Corrupt);
        }
        tree.set_revision(revision);
        Ok(tree)
    }

    fn lease(&mut self, from: &mut Reader<'_>) -> Option<()> {
        let id = from.varint().filter(|&id| id <= REVISION_MAX)?;
        let (ttl_ms, conn) = (from.varint()?, from.flag()?);
        let is_first = self.paths.is_empty() && self.tree.is_unwritten();
        (is_first && self.tree.grant(id, ttl_ms, conn, u64::MAX)).then_some(())
    }

    fn path(&mut self, from: &mut Reader<'_>) -> Option<()> {
        let path = read_path(from)?;
        let value = read_value(from)?;
        let create = from.varint()?;
        let modified = create.checked_add(from.varint()?)?;
        let (version, lease, flags) = (from.varint()?, from.varint()?, from.varint()?);
        let is_next = self.tree.is_unwritten() && self.paths.last().is_none_or(|last| *last.path < *path);
        let counts = create > 0 && version > 0 && version - 1 <= modified - create;
        if !is_next || !counts || modified > self.tree.compacted() || lease > REVISION_MAX {
            return None;
        }
        let (path, version) =
            (Arc::from(path), Version::new(value, Numbers { create, modified, version, lease, flags }));
        self.tree.leases.attach(lease, &path);
        self.attached += usize::from(lease != 0);
        self.paths.push(Slot { path, version, last: 0 });
        Some(())
    }

    /// All paths have come.
    fn settle_paths(&mut self) {
        if !self.paths.is_empty() {
            self.tree.set_paths(std::mem::take(&mut self.paths));
        }
    }

    fn events(&mut self, from: &mut Reader<'_>) -> Option<()> {
        self.settle_paths();
        let mut when = None;
        while !from.is_empty() {
            let what = from.byte()?;
            if what & BEGINS != 0 {
                let (revision, time_ms) = (from.varint()?, from.varint()?);
                let is_next = revision > self.tree.compacted()
                    && revision >= self.tree.revision()
                    && (when.is_none() || revision > self.tree.revision())
                    && revision <= self.revision;
                if !is_next {
                    return None;
                }
                when = Some((revision, time_ms));
            }
            let path = read_path(from)?;
            let after = match what & !BEGINS {
                0 => None,
                what if what & !CREATED == PUT => {
                    let (value, lease, flags) = (read_value(from)?, from.varint()?, from.varint()?);
                    Some(After { value, lease, flags, is_new: what & CREATED != 0 })
                }
                _ => return None,
            };
            self.event(when?, path, after)?;
        }
        Some(())
    }

    fn event(&mut self, when: (Revision, u64), path: &[u8], after: Option<After<'_>>) -> Option<()> {
        let (old_lease, new_lease) = self.tree.replay(when, path, after)?;
        self.attached += usize::from(new_lease != 0);
        self.attached -= usize::from(old_lease != 0);
        Some(())
    }
}

/// What an event has made of a path.
struct After<'a> {
    value: &'a [u8],
    lease: LeaseId,
    flags: u64,
    is_new: bool,
}

fn read_head(bytes: &[u8]) -> Option<TreeBuilder> {
    let from = &mut Reader::new(bytes);
    if from.byte()? != VERSION {
        return None;
    }
    let mut tree = Tree::new(from.varint()?);
    let (revision, compacted) = (from.varint()?, from.varint()?);
    *tree.options_mut() = TreeOptions {
        history_max: from.varint()?,
        history_ms: from.varint()?,
        value_max: from.varint()?,
        txn_max: from.varint()?.try_into().ok()?,
        releases_max: from.varint()?.try_into().ok()?,
        durable: from.flag()?,
    };
    if !from.is_empty() || compacted > revision || revision > REVISION_MAX {
        return None;
    }
    tree.set_revision(compacted);
    tree.compact(compacted);
    Some(TreeBuilder { tree, revision, paths: Vec::new(), attached: 0 })
}

fn read_path<'a>(from: &mut Reader<'a>) -> Option<&'a [u8]> {
    from.bytes().filter(|path| check_stored_path(path).is_ok())
}

fn read_value<'a>(from: &mut Reader<'a>) -> Option<&'a [u8]> {
    from.bytes().filter(|value| value.len() <= VALUE_BYTES_MAX)
}

impl Tree {
    /// Whether nothing was written yet since it was made.
    fn is_unwritten(&self) -> bool {
        self.live.len() == 0 && self.history.len() == 0
    }

    /// Puts in all paths, in order, of a store that has none.
    fn set_paths(&mut self, paths: Vec<Slot>) {
        for slot in &paths {
            self.count_path(&slot.path);
            self.bytes += slot.version.memory_bytes();
            self.hidden += usize::from(is_hidden(&slot.path));
        }
        self.live = Paths::from_sorted(paths);
    }

    /// An event as it was written: says which lease the path was attached to, and which one it is now.
    fn replay(&mut self, when: (Revision, u64), path: &[u8], after: Option<After<'_>>) -> Option<(LeaseId, LeaseId)> {
        let (revision, _) = when;
        let is_open = |tree: &Tree, last: EventNumber| tree.history.is_open(last, revision);
        let Some(slot) = self.live.get(path) else {
            let After { value, lease, flags, .. } =
                after.filter(|after| after.is_new && after.lease <= REVISION_MAX)?;
            if self.gone.get(path).is_some_and(|&last| is_open(self, last)) {
                return None;
            }
            self.create(when, path, value, lease, flags);
            return Some((0, lease));
        };
        let (old, last) = (slot.version.numbers(), slot.last);
        if is_open(self, last) {
            return None;
        }
        let Some(After { value, lease, flags, is_new }) = after else {
            self.delete(when, path);
            return Some((old.lease, 0));
        };
        if lease > REVISION_MAX {
            return None;
        }
        let (create, version) = if is_new { (revision, 1) } else { (old.create, old.version + 1) };
        let new = Version::new(value, Numbers { create, modified: revision, version, lease, flags });
        self.bytes += new.memory_bytes();
        self.revision = revision;
        let slot = self.live.get_mut(path)?;
        let before = std::mem::replace(&mut slot.version, new.clone());
        let path = &slot.path;
        slot.last = self.history.push(when, Event { path: path.clone(), after: Some(new), before: Some(before) }, last);
        self.leases.detach(old.lease, path);
        self.leases.attach(lease, path);
        Some((old.lease, lease))
    }
}
