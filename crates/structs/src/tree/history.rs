//! What has happened, revision by revision, and for each path from one event back to the one before.
//!
//! ```text
//!  blocks      │ e1 e2 e3 e4 │ e5 e6 e7 │ e8 ...       events by number; a revision is all in one block
//!  prev           ◄──── e3 ◄────── e6 ◄─ e8            the event before, of the same path
//!  jump        ◄────────────────── e6                  one that lies further back
//! ```
//!
//! Jumps are laid as in a skew-binary list: from any event, an earlier one of its path is O(log n) steps away, and a step more
//! of history costs one link. Events and whole blocks go at the front only, so that a link to what is gone is one to a number below the
//! first.
//!
//! What must stay true: a path has at most one event in a revision (but see [`History::split`]); nothing leads to an event but
//! later ones of its path and the number that the tree keeps for it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Revision, Version};

/// A block is complete with so many events.
const BLOCK_EVENTS: usize = 256;
/// Or when their values come to so many bytes.
const BLOCK_BYTES: usize = 64 * 1024;

/// What has become of a path in a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The path.
    pub path: Arc<[u8]>,
    /// What it is since; `None`: deleted.
    pub after: Option<Version>,
    /// What it was before the revision.
    pub before: Option<Version>,
}

/// A revision and what it did.
#[derive(Clone, Copy, Debug)]
pub struct Change<'t> {
    /// Its number.
    pub revision: Revision,
    /// When, Unix milliseconds.
    pub time_ms: u64,
    /// One event for each path.
    pub events: &'t [Event],
}

/// The number of an event: 1 is the first, 0 stands for none.
pub(super) type EventNumber = u64;

/// The events of a store. Numbers of events that are gone, and 0, are below [`History::first`].
#[derive(Clone, Debug)]
pub(super) struct History {
    blocks: VecDeque<Block>,
    next: EventNumber,
    /// Events of the last revision that another write may change.
    open_from: EventNumber,
    /// Heap bytes of the blocks, about; paths and versions are not among them.
    bytes: usize,
}

#[derive(Clone, Debug)]
struct Block {
    first: EventNumber,
    events: Vec<Event>,
    links: Vec<Link>,
    revisions: Vec<Start>,
    /// Of the values that its events brought.
    value_bytes: usize,
}

/// Where the events of a revision begin.
#[derive(Clone, Copy, Debug)]
struct Start {
    revision: Revision,
    time_ms: u64,
    at: usize,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    prev: EventNumber,
    jump: EventNumber,
    /// Events of the path before this one; it may wrap around.
    depth: u32,
}

/// What an event takes with its link, and its share of a revision.
const EVENT_BYTES: usize = size_of::<Event>() + size_of::<Link>();
const REVISION_BYTES: usize = size_of::<Start>();

impl Default for History {
    fn default() -> History {
        History { blocks: VecDeque::new(), next: 1, open_from: 1, bytes: 0 }
    }
}

impl History {
    /// The first event that is kept; [`History::next`] if there is none.
    #[inline]
    pub(super) fn first(&self) -> EventNumber {
        self.blocks.front().map_or(self.next, |block| block.first)
    }

    /// What the next event will have.
    #[inline]
    pub(super) fn next(&self) -> EventNumber {
        self.next
    }

    /// Heap bytes, about.
    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes
    }

    /// Adds an event, whose path had `prev` before; begins the revision if it is not the last one.
    pub(super) fn push(
        &mut self,
        (revision, time_ms): (Revision, u64),
        event: Event,
        prev: EventNumber,
    ) -> EventNumber {
        if !self.is_begun(revision) {
            self.begin(revision, time_ms);
        }
        let link = self.link_behind(prev);
        let number = self.next;
        self.next += 1;
        self.bytes += EVENT_BYTES;
        if let Some(block) = self.blocks.back_mut() {
            block.value_bytes += event.after.as_ref().map_or(0, Version::memory_bytes);
            block.events.push(event);
            block.links.push(link);
        }
        number
    }

    fn last_revision(&self) -> Option<Revision> {
        Some(self.blocks.back()?.revisions.last()?.revision)
    }

    /// Whether the revision that is being written has begun.
    pub(super) fn is_begun(&self, revision: Revision) -> bool {
        self.last_revision() == Some(revision)
    }

    /// Begins a revision.
    fn begin(&mut self, revision: Revision, time_ms: u64) {
        self.open_from = self.next;
        let block = self.blocks.back_mut();
        // One whose events have all been taken back was none.
        if let Some(block) =
            block.filter(|block| block.revisions.last().is_some_and(|last| last.at == block.events.len()))
        {
            block.revisions.pop();
            self.bytes -= REVISION_BYTES;
        }
        let is_full = |block: &Block| match block.events.len() {
            0 => false,
            len => len >= BLOCK_EVENTS || block.value_bytes >= BLOCK_BYTES,
        };
        if self.blocks.back().is_none_or(is_full) {
            let new = Block { first: self.next, events: vec![], links: vec![], revisions: vec![], value_bytes: 0 };
            self.bytes += size_of::<Block>();
            self.blocks.push_back(new);
        }
        if let Some(block) = self.blocks.back_mut() {
            block.revisions.push(Start { revision, time_ms, at: block.events.len() });
            self.bytes += REVISION_BYTES;
        }
    }

    fn link_behind(&self, prev: EventNumber) -> Link {
        let Some(last) = self.link(prev) else { return Link { prev: 0, jump: 0, depth: 0 } };
        let depth = last.depth.wrapping_add(1);
        let far = self.link(last.jump);
        let farther = far.and_then(|far| self.link(far.jump));
        let jump = match (far, farther) {
            // Both jumps are of one length: one over both.
            (Some(far), Some(farther))
                if last.depth.wrapping_sub(far.depth) == far.depth.wrapping_sub(farther.depth) =>
            {
                far.jump
            }
            _ => prev,
        };
        Link { prev, jump, depth }
    }

    /// Whether an event is of the revision that is being written, so that a further write of its path becomes a part of it.
    #[inline]
    pub(super) fn is_open(&self, number: EventNumber, revision: Revision) -> bool {
        number >= self.open_from && number >= self.first() && self.is_begun(revision)
    }

    /// Further writes of the revision become events of their own.
    pub(super) fn split(&mut self) {
        self.open_from = self.next;
    }

    fn block_at(&self, number: EventNumber) -> Option<usize> {
        let last = self.blocks.back()?;
        if number >= last.first {
            return (number < self.next).then_some(self.blocks.len() - 1);
        }
        self.blocks.partition_point(|block| block.first <= number).checked_sub(1)
    }

    fn place(&self, number: EventNumber) -> Option<(&Block, usize)> {
        let block = self.blocks.get(self.block_at(number)?)?;
        Some((block, (number - block.first) as usize))
    }

    #[inline]
    fn link(&self, number: EventNumber) -> Option<Link> {
        let (block, at) = self.place(number)?;
        block.links.get(at).copied()
    }

    /// An event that is kept.
    #[inline]
    pub(super) fn event(&self, number: EventNumber) -> Option<&Event> {
        let (block, at) = self.place(number)?;
        block.events.get(at)
    }

    /// The event before, of the same path, if it is kept.
    pub(super) fn prev(&self, number: EventNumber) -> Option<EventNumber> {
        self.link(number).map(|link| link.prev).filter(|&prev| prev >= self.first())
    }

    /// Which revision an event belongs to, and when that was.
    pub(super) fn revision_of(&self, number: EventNumber) -> Option<(Revision, u64)> {
        let (block, at) = self.place(number)?;
        let start = block.revisions.partition_point(|start| start.at <= at).checked_sub(1)?;
        block.revisions.get(start).map(|start| (start.revision, start.time_ms))
    }

    /// An event that is kept, to be changed.
    pub(super) fn event_mut(&mut self, number: EventNumber) -> Option<&mut Event> {
        let at = self.block_at(number)?;
        let block = self.blocks.get_mut(at)?;
        let at = (number - block.first) as usize;
        block.events.get_mut(at)
    }

    /// Takes back an event of the revision that is being written. The last event has its number from now on. Gives the number of
    /// the event before, of its path.
    pub(super) fn take_back(&mut self, number: EventNumber) -> Option<EventNumber> {
        let prev = self.prev(number);
        let block = self.blocks.back_mut()?;
        let at = (number - block.first) as usize;
        block.events.swap_remove(at);
        block.links.swap_remove(at);
        self.next -= 1;
        self.bytes -= EVENT_BYTES;
        prev
    }

    /// The first event above a revision; [`History::next`] if there is none. O(log n).
    pub(super) fn first_above(&self, revision: Revision) -> EventNumber {
        let Some((block, at)) = self.start_above(revision) else { return self.next };
        block.first + block.revisions[at].at as u64
    }

    /// The first revision above one.
    fn start_above(&self, revision: Revision) -> Option<(&Block, usize)> {
        let (block, at) = self.start_at_above(revision)?;
        Some((&self.blocks[block], at))
    }

    fn start_at_above(&self, revision: Revision) -> Option<(usize, usize)> {
        let last_of = |block: &Block| block.revisions.last().map_or(0, |start| start.revision);
        let len = self.blocks.len();
        // Most ask for what is last.
        let block = match len.checked_sub(2).and_then(|at| self.blocks.get(at)) {
            Some(before) if last_of(before) <= revision => len - 1,
            _ => self.blocks.partition_point(|block| last_of(block) <= revision),
        };
        let at = self.blocks.get(block)?.revisions.partition_point(|start| start.revision <= revision);
        (at < self.blocks[block].revisions.len()).then_some((block, at))
    }

    /// The revisions above one that did something, oldest first. O(log n) to find the first.
    pub(super) fn changes_above(&self, revision: Revision) -> impl DoubleEndedIterator<Item = Change<'_>> + use<'_> {
        let (block, at) = self.start_at_above(revision).unwrap_or((self.blocks.len(), 0));
        let first = self.blocks.get(block).into_iter().flat_map(move |block| block.changes(at));
        let others = self.blocks.range((block + 1).min(self.blocks.len())..).flat_map(|block| block.changes(0));
        first.chain(others).filter(|change| !change.events.is_empty())
    }

    /// A revision that did something. O(log n).
    pub(super) fn change(&self, revision: Revision) -> Option<Change<'_>> {
        let (block, at) = self.start_above(revision.checked_sub(1)?)?;
        block.change(at).filter(|change| change.revision == revision && !change.events.is_empty())
    }

    /// Of a path whose last event is `last`: the first one that is not below `from`. O(log n).
    pub(super) fn earliest(&self, last: EventNumber, from: EventNumber) -> Option<EventNumber> {
        let from = from.max(self.first());
        if last < from {
            return None;
        }
        let mut at = last;
        while let Some(link) = self.link(at) {
            if link.jump >= from {
                at = link.jump;
            } else if link.prev >= from {
                at = link.prev;
            } else {
                break;
            }
        }
        Some(at)
    }

    /// Takes out the first block if nothing above a revision is in it.
    pub(super) fn pop_front(&mut self, up_to: Revision) -> Option<std::vec::IntoIter<Event>> {
        if !self.has_over(up_to) {
            return None;
        }
        let Block { events, revisions, .. } = self.blocks.pop_front()?;
        self.bytes -= size_of::<Block>() + events.len() * EVENT_BYTES + revisions.len() * REVISION_BYTES;
        Some(events.into_iter())
    }

    /// Whether [`History::pop_front`] would give something.
    pub(super) fn has_over(&self, up_to: Revision) -> bool {
        let last = self.blocks.front().map(|block| block.revisions.last());
        last.is_some_and(|last| last.is_none_or(|last| last.revision <= up_to))
    }

    /// The last revision before a time; 0: none.
    pub(super) fn last_before(&self, time_ms: u64) -> Revision {
        let is_before = |start: &Start| start.time_ms < time_ms;
        let block = self.blocks.partition_point(|block| block.revisions.first().is_some_and(is_before));
        let Some(block) = block.checked_sub(1).and_then(|at| self.blocks.get(at)) else { return 0 };
        let at = block.revisions.partition_point(is_before);
        at.checked_sub(1).and_then(|at| block.revisions.get(at)).map_or(0, |start| start.revision)
    }

    /// How many events there are.
    pub(super) fn len(&self) -> usize {
        (self.next - self.first()) as usize
    }
}

impl Block {
    fn change(&self, at: usize) -> Option<Change<'_>> {
        let start = self.revisions.get(at)?;
        let end = self.revisions.get(at + 1).map_or(self.events.len(), |next| next.at);
        Some(Change { revision: start.revision, time_ms: start.time_ms, events: self.events.get(start.at..end)? })
    }

    fn changes(&self, from: usize) -> impl DoubleEndedIterator<Item = Change<'_>> {
        (from..self.revisions.len()).filter_map(|at| self.change(at))
    }
}
