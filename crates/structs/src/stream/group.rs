//! A consumer group: how far it has read, and which entries its consumers have not acknowledged.

use super::{Log, StreamId};

/// A consumer of a group, by place. Valid until that consumer is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsumerSlot(u32);

/// An entry that was delivered and not acknowledged: a copy, to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The entry.
    pub id: StreamId,
    /// To whom it was delivered last; nobody once it was given back (XNACK).
    pub consumer: Option<ConsumerSlot>,
    /// When it was delivered last; 0 once it was given back.
    pub delivery_ms: u64,
    /// How often it was delivered.
    pub deliveries: u64,
}

/// A consumer: its name and clocks.
#[derive(Clone, Debug)]
pub struct Consumer {
    name: Box<[u8]>,
    seen_ms: u64,
    active_ms: Option<u64>,
}

impl Consumer {
    /// The name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// When the consumer last tried something.
    pub fn seen_ms(&self) -> u64 {
        self.seen_ms
    }

    /// When the consumer was last given something; `None` if never.
    pub fn active_ms(&self) -> Option<u64> {
        self.active_ms
    }

    /// Number of its pending entries. O(1).
    pub fn pending_count(&self) -> u64 {
        0
    }
}

/// A consumer group.
#[derive(Clone, Debug, Default)]
pub struct Group {
    last_delivered: StreamId,
    entries_read: Option<u64>,
}

impl Group {
    /// The highest id that was delivered.
    #[inline]
    pub fn last_delivered(&self) -> StreamId {
        self.last_delivered
    }

    /// How many entries of the stream the group has read, `None` if that is not known.
    #[inline]
    pub fn entries_read(&self) -> Option<u64> {
        self.entries_read
    }

    /// Sets both (XGROUP SETID).
    pub fn set_position(&mut self, last_delivered: StreamId, entries_read: Option<u64>) {
        self.last_delivered = last_delivered;
        self.entries_read = entries_read;
    }

    /// How many entries wait to be read, `None` if that cannot be known.
    pub fn lag(&self, log: &Log) -> Option<u64> {
        let _ = log;
        None
    }

    // Consumers

    /// Number of consumers. O(1).
    pub fn consumer_count(&self) -> usize {
        0
    }

    /// The consumers in the order of their names.
    pub fn consumers(&self) -> impl Iterator<Item = (ConsumerSlot, &Consumer)> {
        std::iter::empty()
    }

    /// The consumer of a name. O(log consumers).
    pub fn find_consumer(&self, name: &[u8]) -> Option<ConsumerSlot> {
        let _ = name;
        None
    }

    /// The consumer in a slot, `None` if it was removed.
    pub fn consumer(&self, slot: ConsumerSlot) -> Option<&Consumer> {
        let _ = slot;
        None
    }

    /// The consumer of a name, created when there is none (then the flag is true), seen at `now_ms` if created.
    pub fn find_or_create_consumer(&mut self, name: &[u8], now_ms: u64) -> (ConsumerSlot, bool) {
        let _ = (name, now_ms);
        (ConsumerSlot(0), false)
    }

    /// Removes a consumer with its pending entries, whose number it returns. O(its pending entries).
    pub fn remove_consumer(&mut self, slot: ConsumerSlot) -> u64 {
        let _ = slot;
        0
    }

    /// Notes that the consumer tried something.
    pub fn mark_seen(&mut self, slot: ConsumerSlot, now_ms: u64) {
        let _ = (slot, now_ms);
    }

    /// Notes that the consumer was given something.
    pub fn mark_active(&mut self, slot: ConsumerSlot, now_ms: u64) {
        let _ = (slot, now_ms);
    }

    // Pending entries

    /// Number of pending entries. O(1).
    pub fn pending_count(&self) -> u64 {
        0
    }

    /// The pending entry `id`. O(log pending).
    pub fn pending(&self, id: StreamId) -> Option<Pending> {
        let _ = id;
        None
    }

    /// The first pending entry at or above `from`. O(log pending).
    pub fn next_pending(&self, from: StreamId) -> Option<Pending> {
        let _ = from;
        None
    }

    /// The pending entry with the highest id. O(1).
    pub fn last_pending(&self) -> Option<Pending> {
        None
    }

    /// Pending entries from `start` to `end`, both included, ascending. O(log pending) to begin.
    pub fn pending_range(&self, start: StreamId, end: StreamId) -> impl Iterator<Item = Pending> {
        let _ = (start, end);
        std::iter::empty()
    }

    /// The consumer's first pending entry at or above `from`. O(log pending).
    pub fn next_pending_of(&self, slot: ConsumerSlot, from: StreamId) -> Option<Pending> {
        let _ = (slot, from);
        None
    }

    /// The consumer's pending entries from `start` to `end`, both included, ascending. O(log pending) an entry.
    pub fn pending_range_of(
        &self,
        slot: ConsumerSlot,
        start: StreamId,
        end: StreamId,
    ) -> impl Iterator<Item = Pending> {
        let _ = (slot, start, end);
        std::iter::empty()
    }

    /// The pending entries that were delivered at or before `until_ms`, longest idle first (given back ones have
    /// delivery time 0), at most `limit` of them (XREADGROUP CLAIM). O(found × log pending) about.
    pub fn idle_pending(&mut self, until_ms: u64, limit: usize) -> Vec<Pending> {
        let _ = (until_ms, limit);
        Vec::new()
    }

    /// The lowest delivery time of all pending entries: when an entry becomes idle enough. O(√pending) about.
    pub fn oldest_delivery_ms(&mut self) -> Option<u64> {
        None
    }

    /// Gives a new entry (above [`Group::last_delivered`]) to a consumer: the group's position and count of entries
    /// read move on; unless `keep` is false (NOACK), the entry is pending from now, delivered once. If it was pending
    /// already (the position was set back), it changes hands.
    pub fn deliver(&mut self, log: &Log, id: StreamId, slot: ConsumerSlot, now_ms: u64, keep: bool) {
        let _ = (log, id, slot, now_ms, keep);
    }

    /// Gives a pending entry again to its consumer: delivered now, once more. False if it is not pending.
    pub fn redeliver(&mut self, id: StreamId, now_ms: u64) -> bool {
        let _ = (id, now_ms);
        false
    }

    /// Makes an entry pending for a consumer, with these clocks, whether it was pending or not (XCLAIM, XAUTOCLAIM,
    /// loading). O(log pending).
    pub fn claim(&mut self, id: StreamId, slot: ConsumerSlot, delivery_ms: u64, deliveries: u64) {
        let _ = (id, slot, delivery_ms, deliveries);
    }

    /// Makes an entry pending for nobody, delivered at time 0, whether it was pending or not (XNACK). O(log pending).
    pub fn release(&mut self, id: StreamId, deliveries: u64) {
        let _ = (id, deliveries);
    }

    /// Forgets a pending entry (XACK). False if it was not pending. O(log pending).
    pub fn acknowledge(&mut self, id: StreamId) -> bool {
        let _ = id;
        false
    }
}
