//! The stream: an append-only log of entries, and the consumer groups that read it.
//!
//! ```text
//!  Stream
//!  ├─ Log          entries in packed blocks, in order of id; counters that survive trimming
//!  ├─ Group ...    how far a group has read; what it was given and has not acknowledged (pending entries)
//!  │   └─ Consumer ...   whose pending entries are whose
//!  └─ Idempotency  which messages of which producers were added already
//! ```
//!
//! The log and the groups know nothing of each other: a pending entry may outlive its entry in the log. What concerns
//! both (deleting an entry with its references) is done here.
//!
//! What must stay true: `memory_bytes` is a running total, so no operation may change a group behind its back;
//! therefore groups are changed through [`GroupMut`].

mod block;
mod frozen;
mod group;
mod id;
mod idempotency;
mod log;
mod runs;

pub use block::Pairs;
pub use frozen::{BlockPart, ConsumerPart, GroupPart, StreamFigures, StreamPart, name_of_nobody};
pub use group::{Consumer, ConsumerSlot, Group, Pending};
pub use id::{ID_TEXT_MAX, IdText, StreamId};
pub use idempotency::{
    IDMP_DURATION_S, IDMP_MESSAGES, Idempotency, IdempotencyCounts, MessagePart, ProducerPart, ProducersPart,
    automatic_message_id,
};
pub use log::{Entry, Log, NodeLimits, Range, RangeReversed, Threshold, Trim, Value};

use crate::frozen::{FrozenHead, FrozenPart, Kept};
use frozen::{Frozen, FrozenStream};

/// What deleting an entry does to the references that groups hold to it (`KEEPREF`, `DELREF`, `ACKED`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum References {
    /// Pending entries stay, although what they name is gone.
    #[default]
    Keep,
    /// Pending entries of every group go as well.
    Delete,
    /// Only an entry goes that every group has read and acknowledged.
    Acked,
}

/// What became of an entry that was to be deleted. The numbers of XDELEX are -1, 1, 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// There is no such entry.
    Missing,
    /// The entry was deleted.
    Deleted,
    /// A group has still to read or to acknowledge it; nothing changed.
    Referenced,
}

/// A stream: the log of entries, its consumer groups, and its producers.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    log: Log,
    /// In the order of their names.
    #[expect(clippy::vec_box, reason = "groups are handed out and inserted in the middle; they are large")]
    groups: Vec<Box<Group>>,
    group_bytes: usize,
    idempotency: Option<Box<Idempotency>>,
    frozen: Frozen<FrozenStream>,
}

impl Stream {
    /// An empty stream, with last id `0-0`.
    pub fn new() -> Stream {
        Stream::default()
    }

    /// The entries and their counters. For what only reads: `stream.log().range(..)`, `.len()`, `.last_id()`.
    #[inline]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Number of entries. O(1).
    #[inline]
    pub fn items(&self) -> usize {
        self.log.len() as usize
    }

    /// All bytes that the stream owns besides itself. O(1).
    #[inline]
    pub fn memory_bytes(&self) -> usize {
        self.log.memory_bytes()
            + self.group_bytes
            + self.groups.capacity() * size_of::<Box<Group>>()
            + self.idempotency.as_ref().map_or(0, |known| known.memory_bytes())
            + self.frozen.0.as_ref().map_or(0, |frozen| frozen.memory_bytes())
    }

    /// The part of [`Stream::memory_bytes`] in pages that the allocator does not know: none. O(1).
    #[inline]
    pub fn mapped_bytes(&self) -> usize {
        0
    }

    /// The id that `XADD *` gives now: `now_ms-0`, or the one above the last id when the clock is not beyond it.
    /// `None` if there is no id above the last one.
    pub fn next_id(&self, now_ms: u64) -> Option<StreamId> {
        let last = self.log.last_id();
        if now_ms > last.ms { Some(StreamId::new(now_ms, 0)) } else { last.next() }
    }

    /// The id that `XADD <ms>-*` gives: the lowest one in `ms` above the last id. `None` if there is none.
    pub fn next_id_in(&self, ms: u64) -> Option<StreamId> {
        let last = self.log.last_id();
        match ms.cmp(&last.ms) {
            std::cmp::Ordering::Less => None,
            std::cmp::Ordering::Equal => Some(StreamId::new(ms, last.seq.checked_add(1)?)),
            std::cmp::Ordering::Greater => Some(StreamId::new(ms, 0)),
        }
    }

    /// Appends an entry with the given fields and values. `pairs` is walked more than once.
    ///
    /// False, and nothing changes, unless `id` is above the last id. O(size of the entry).
    pub fn append<'p>(
        &mut self,
        id: StreamId,
        pairs: impl Iterator<Item = (&'p [u8], &'p [u8])> + Clone,
        limits: NodeLimits,
    ) -> bool {
        self.log.append(id, pairs, limits)
    }

    /// Deletes one entry as XDEL (`References::Keep`), XDELEX and XACKDEL do. What a group read keeps counting as
    /// read. O(log n + entries of a block), and O(groups × log pending) unless references are kept.
    ///
    /// With `References::Delete` pending entries go also when the entry is missing. The number is that of the pending
    /// entries that went.
    pub fn delete(&mut self, id: StreamId, references: References) -> (Deletion, u64) {
        let mut forgotten = 0;
        match references {
            References::Keep => {}
            References::Delete => forgotten = forget_references(&mut self.groups, &mut self.group_bytes, id),
            References::Acked if !self.log.contains(id) => return (Deletion::Missing, 0),
            References::Acked if self.is_referenced(id) => return (Deletion::Referenced, 0),
            References::Acked => {}
        }
        (if self.log.delete(id) { Deletion::Deleted } else { Deletion::Missing }, forgotten)
    }

    /// Deletes entries from the front until the threshold holds; returns how many. O(deleted blocks), and with
    /// `References::Delete` or `Acked` O(entries looked at × groups × log pending).
    ///
    /// With `References::Acked` entries that are still referenced are passed over and stay. They count against the
    /// trim's limit, and none is looked at that some group was not given yet.
    pub fn trim(&mut self, trim: Trim, references: References) -> u64 {
        self.trim_and_tell(trim, references, &mut |_| ())
    }

    /// The same, and gives to `gone` the ids that `References::Acked` lets go, in order: which they are does not follow from
    /// how many are left. Nothing is given where there are no groups.
    pub fn trim_and_tell(&mut self, trim: Trim, references: References, gone: &mut dyn FnMut(StreamId)) -> u64 {
        let Stream { log, groups, group_bytes, .. } = self;
        match references {
            _ if groups.is_empty() => log.trim(trim, StreamId::MAX, None),
            References::Keep => log.trim(trim, StreamId::MAX, None),
            References::Delete => log.trim(
                trim,
                StreamId::MAX,
                Some(&mut |id| {
                    forget_references(groups, group_bytes, id);
                    true
                }),
            ),
            References::Acked => {
                let read_by_all = groups.iter().map(|group| group.last_delivered()).min().unwrap_or(StreamId::MAX);
                let mut may_go = |id| {
                    let goes = !groups.iter().any(|group| group.refers_to(id));
                    if goes {
                        gone(id);
                    }
                    goes
                };
                log.trim(trim, read_by_all, Some(&mut may_go))
            }
        }
    }

    /// Sets the last id and, where given, the counters (XSETID). The caller has checked them against each other and
    /// against the highest entry.
    pub fn set_id(&mut self, last_id: StreamId, entries_added: Option<u64>, max_deleted_id: Option<StreamId>) {
        self.log.set_id(last_id, entries_added, max_deleted_id);
    }

    /// Whether any group has still to read or to acknowledge the entry `id`. O(groups × log pending).
    pub fn is_referenced(&self, id: StreamId) -> bool {
        self.groups.iter().any(|group| group.refers_to(id))
    }
}

/// Removes an entry from all that is pending, and returns from how many groups.
fn forget_references(groups: &mut [Box<Group>], group_bytes: &mut usize, id: StreamId) -> u64 {
    let mut forgotten = 0;
    for group in groups {
        let before = group.memory_bytes();
        forgotten += u64::from(group.acknowledge(id));
        *group_bytes = *group_bytes + group.memory_bytes() - before;
    }
    forgotten
}

/// Consumer groups.
impl Stream {
    /// Number of groups. O(1).
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// The groups in the order of their names.
    pub fn groups(&self) -> impl Iterator<Item = (&[u8], &Group)> {
        self.groups.iter().map(|group| (group.name(), &**group))
    }

    /// The group of a name. O(log groups).
    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        let at = self.search(name).ok()?;
        Some(&self.groups[at])
    }

    /// The group of a name, to be changed. O(log groups).
    pub fn group_mut(&mut self, name: &[u8]) -> Option<GroupMut<'_>> {
        let at = self.search(name).ok()?;
        let Stream { log, groups, group_bytes, .. } = self;
        let group = &mut *groups[at];
        let bytes_before = group.memory_bytes();
        Some(GroupMut { log, group, bytes_before, group_bytes })
    }

    /// Creates a group that has read up to `last_delivered`. False if there is one of that name. O(groups).
    pub fn create_group(&mut self, name: &[u8], last_delivered: StreamId, entries_read: Option<u64>) -> bool {
        let Err(at) = self.search(name) else { return false };
        let group = Box::new(Group::new(name, last_delivered, entries_read));
        self.group_bytes += group.memory_bytes();
        self.groups.insert(at, group);
        true
    }

    /// Removes a group, if there is one of that name, and hands it out, unless the frozen state needs it: dropping it takes
    /// a while when millions of entries are pending. O(groups).
    pub fn remove_group(&mut self, name: &[u8]) -> Option<Option<Box<Group>>> {
        let at = self.search(name).ok()?;
        let group = self.groups.remove(at);
        self.group_bytes -= group.memory_bytes();
        Some(match &mut self.frozen.0 {
            Some(frozen) => frozen.take_group(group),
            None => Some(group),
        })
    }

    fn search(&self, name: &[u8]) -> Result<usize, usize> {
        self.groups.binary_search_by(|group| group.name().cmp(name))
    }
}

/// Frozen streams.
impl Stream {
    /// Freezes it: what it is now is given out in parts by [`Stream::give_frozen`], whatever becomes of it meanwhile.
    /// `ticket` tells whose frozen state it is. O(groups and consumers). It must not be frozen yet.
    pub fn freeze(&mut self, ticket: u64) {
        self.log.freeze();
        let producers = self.idempotency.as_deref_mut().filter(|known| known.remembers());
        if let Some(known) = producers {
            known.freeze();
        }
        let has_producers = self.remembers_producers();
        let groups = self.groups.iter_mut().map(|group| &mut **group);
        self.frozen = Frozen(Some(Box::new(FrozenStream::new(ticket, &self.log, groups, has_producers))));
        self.count_group_bytes();
    }

    /// The ticket with which it was frozen, if it is.
    #[inline]
    pub fn frozen_ticket(&self) -> Option<u64> {
        self.frozen.0.as_ref().map(|frozen| frozen.ticket)
    }

    /// What it was when it was frozen, if it is.
    pub fn frozen_head(&self) -> Option<FrozenHead> {
        let frozen = self.frozen.0.as_ref()?;
        Some(FrozenHead::Stream { blocks: frozen.blocks, producers: frozen.has_producers })
    }

    /// Gives the next parts of what it was to `visit`, in order: with about `budget` entries or pending ones, fewer where they
    /// are long. Says whether there is more; if not, it is not frozen any more. O(budget).
    pub fn give_frozen(&mut self, budget: usize, visit: &mut dyn FnMut(FrozenPart<'_>)) -> bool {
        let Some(mut frozen) = self.frozen.0.take() else { return false };
        let goes_on = frozen.give(self, budget.max(1), visit);
        if goes_on {
            self.frozen.0 = Some(frozen);
        }
        goes_on
    }

    /// Forgets the frozen state. What is left of it is better dropped on another thread. O(groups and consumers).
    pub fn thaw(&mut self) -> Option<Kept> {
        let frozen = self.frozen.0.take()?;
        let producers = self.idempotency.as_deref_mut().and_then(Idempotency::thaw);
        let kept = frozen.thaw(&mut self.log, &mut self.groups);
        self.count_group_bytes();
        Some(Box::new((kept, producers)))
    }

    /// Asserts that what is accounted for is what there is. Reads everything.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        self.log.check();
        self.groups.iter().for_each(|group| group.check());
        assert_eq!(self.group_bytes, self.groups.iter().map(|group| group.memory_bytes()).sum::<usize>());
    }

    fn count_group_bytes(&mut self) {
        self.group_bytes = self.groups.iter().map(|group| group.memory_bytes()).sum();
    }
}

/// Producers.
impl Stream {
    /// What is known of producers: settings, counters and messages (XADD IDMP, XCFGSET, XINFO STREAM).
    pub fn idempotency(&self) -> &Idempotency {
        self.idempotency.as_deref().unwrap_or(&idempotency::NOTHING_KNOWN)
    }

    /// Whether there is anything of producers that must not be lost: a message that is remembered, or a setting. O(1).
    pub fn remembers_producers(&self) -> bool {
        self.idempotency.as_ref().is_some_and(|known| known.remembers())
    }

    /// The same, to be changed.
    pub fn idempotency_mut(&mut self) -> IdempotencyMut<'_> {
        IdempotencyMut { known: self.idempotency.get_or_insert_with(|| Box::new(Idempotency::new())) }
    }
}

/// A group that is being changed, and the log that it reads: `let log = group.log();` can be read while the group is
/// changed. When it is dropped, the stream's memory is accounted.
#[derive(Debug)]
pub struct GroupMut<'a> {
    log: &'a Log,
    group: &'a mut Group,
    bytes_before: usize,
    group_bytes: &'a mut usize,
}

impl<'a> GroupMut<'a> {
    /// The log of the stream.
    #[inline]
    pub fn log(&self) -> &'a Log {
        self.log
    }
}

impl std::ops::Deref for GroupMut<'_> {
    type Target = Group;

    #[inline]
    fn deref(&self) -> &Group {
        self.group
    }
}

impl std::ops::DerefMut for GroupMut<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Group {
        self.group
    }
}

impl Drop for GroupMut<'_> {
    fn drop(&mut self) {
        *self.group_bytes = *self.group_bytes + self.group.memory_bytes() - self.bytes_before;
    }
}

/// What is known of producers, being changed.
#[derive(Debug)]
pub struct IdempotencyMut<'a> {
    known: &'a mut Idempotency,
}

impl IdempotencyMut<'_> {
    /// Sets how long a message is remembered (seconds) and how many a producer (XCFGSET). If that is anything new, what
    /// was remembered is forgotten.
    pub fn configure(&mut self, duration_s: Option<u64>, messages_max: Option<u64>) {
        self.known.configure(duration_s, messages_max);
    }

    /// The entry that the producer's message `message` was added as, if that is still remembered. Counts it as a
    /// duplicate if so.
    pub fn find(&mut self, producer: &[u8], message: &[u8], now_ms: u64) -> Option<StreamId> {
        self.known.find(producer, message, now_ms)
    }

    /// Remembers that the producer's message `message` was added as the entry `id`; the oldest ones above the limit
    /// are forgotten. Counts it as added.
    pub fn remember(&mut self, producer: &[u8], message: &[u8], id: StreamId, now_ms: u64) {
        self.known.remember(producer, message, id, now_ms);
    }

    /// The same without counting it (loading). Does nothing, and says so, if the message is known.
    pub fn restore(&mut self, producer: &[u8], message: &[u8], id: StreamId, added_ms: u64) -> bool {
        self.known.put(producer, message, id, added_ms)
    }

    /// Sets the numbers of messages that were ever added, and refused as duplicates (loading).
    pub fn set_counts(&mut self, added: u64, duplicates: u64) {
        self.known.set_counts(added, duplicates);
    }
}

#[cfg(test)]
mod tests;
