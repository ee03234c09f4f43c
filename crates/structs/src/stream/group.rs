//! A consumer group: how far it has read, and which entries its consumers have not acknowledged.
//!
//! ```text
//!  Group   last delivered 9-0, entries read 7
//!  ├─ pending, in order of id      5-0 bob 3×    7-1 alice 1×    9-0 bob 1×      48 bytes each, all told
//!  └─ consumers, in order of name  alice [7-1]   bob [5-0 9-0]
//! ```
//!
//! A pending entry lies once in the group's list, and its id once in the list of its consumer, so both can be walked and
//! searched from any id. There is no list in order of time: each [run](super::runs) knows a bound of its delivery times,
//! and the few entries that are idle longest are found by those.
//!
//! What must stay true: an id is in a consumer's list exactly if the group's list names that consumer; entries that were
//! given back (XNACK) are nobody's, and their delivery time is 0; a count of deliveries that does not fit in 32 bits is in
//! `large_counts`, and nothing else is; `consumer_bytes` is what consumers own; `by_name` names each consumer once.

use std::collections::BTreeMap;

use super::frozen::Frozen;
use super::runs::{Item, Place, Runs};
use super::{Log, StreamId};
use crate::frozen::Kept;

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
    pending: Runs<StreamId>,
}

impl Consumer {
    /// The name.
    #[inline]
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
    #[inline]
    pub fn pending_count(&self) -> u64 {
        self.pending.len() as u64
    }
}

/// A consumer group.
#[derive(Clone, Debug, Default)]
pub struct Group {
    name: Box<[u8]>,
    last_delivered: StreamId,
    entries_read: Option<u64>,
    pending: Runs<Slip>,
    large_counts: BTreeMap<StreamId, u64>,
    consumers: Vec<Option<Box<Consumer>>>,
    free_slots: Vec<u32>,
    by_name: Vec<ConsumerSlot>,
    consumer_bytes: usize,
    /// How often an entry was given back: gives those that were their order.
    releases: u64,
    frozen: Frozen<FrozenGroup>,
}

/// What a frozen group has to remember besides what is pending.
#[derive(Default)]
struct FrozenGroup {
    /// By which the stream knows it.
    number: u32,
    /// What was pending for consumers that were removed since.
    gone: BTreeMap<u32, Runs<StreamId>>,
    /// What was in `large_counts` and is not, or not so, any more.
    large_counts: BTreeMap<StreamId, u64>,
    bytes: usize,
}

impl Group {
    pub(super) fn new(name: &[u8], last_delivered: StreamId, entries_read: Option<u64>) -> Group {
        Group { name: name.into(), last_delivered, entries_read, ..Group::default() }
    }

    /// The name.
    #[inline]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

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

    /// Sets both (XGROUP SETID, XCLAIM LASTID).
    pub fn set_position(&mut self, last_delivered: StreamId, entries_read: Option<u64>) {
        self.last_delivered = last_delivered;
        self.entries_read = entries_read;
    }

    /// How many entries wait to be read, `None` if that cannot be known. Below zero if the group was said to have read more
    /// than there ever was. O(1).
    pub fn lag(&self, log: &Log) -> Option<i64> {
        if log.is_empty() {
            return Some(0);
        }
        // Behind the group's position nothing was deleted from the middle: all that is there waits.
        if self.last_delivered < log.first_id() && log.max_deleted_id() < log.first_id() {
            return Some(log.len() as i64);
        }
        let read = match self.entries_read {
            Some(read) if !log.has_gap_from(self.last_delivered) => Some(read),
            _ => log.entries_up_to(self.last_delivered),
        };
        read.map(|read| (log.entries_added() as i64).wrapping_sub(read as i64))
    }

    /// All bytes that the group owns, its own included. O(1).
    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Group>()
            + self.name.len()
            + self.pending.memory_bytes()
            + self.large_counts.len() * LARGE_COUNT_BYTES
            + self.consumers.capacity() * size_of::<Option<Box<Consumer>>>()
            + self.free_slots.capacity() * size_of::<u32>()
            + self.by_name.capacity() * size_of::<ConsumerSlot>()
            + self.consumer_bytes
            + self.frozen.0.as_ref().map_or(0, |frozen| size_of::<FrozenGroup>() + frozen.bytes)
    }
}

/// Frozen groups.
impl Group {
    /// Freezes what is pending. `number` is what the stream calls the group. O(consumers).
    pub(super) fn freeze(&mut self, number: u32) {
        self.frozen = Frozen(Some(Box::new(FrozenGroup { number, ..FrozenGroup::default() })));
        self.pending.freeze();
        self.each_own(Runs::freeze);
    }

    /// The number with which it was frozen, if it is.
    pub(super) fn frozen_number(&self) -> Option<u32> {
        self.frozen.0.as_ref().map(|frozen| frozen.number)
    }

    /// Forgets the frozen state; what is left of it is handed out. O(consumers).
    pub(super) fn thaw(&mut self) -> Option<Kept> {
        let frozen = self.frozen.0.take()?;
        let mut rest = Vec::new();
        self.each_own(|own| rest.extend(own.thaw()));
        Some(Box::new((frozen, self.pending.thaw(), rest)))
    }

    /// Gives pending entries of the frozen state to `visit`. What is left of the budget, and whether these were all.
    pub(super) fn give_frozen_pending(&mut self, budget: usize, mut visit: impl FnMut(Pending)) -> (usize, bool) {
        let Group { pending, large_counts, frozen, .. } = self;
        let then = frozen.0.as_ref().map(|frozen| &frozen.large_counts);
        let left = pending.give_frozen(budget, |slip| {
            visit(slip.shown(|id| then.and_then(|then| then.get(&id)).or_else(|| large_counts.get(&id)).copied()));
        });
        (left, !pending.is_frozen())
    }

    /// Gives what was pending for a consumer to `visit`. What is left of the budget, and whether these were all.
    pub(super) fn give_frozen_of(
        &mut self,
        slot: ConsumerSlot,
        budget: usize,
        mut visit: impl FnMut(StreamId),
    ) -> (usize, bool) {
        if let Some(frozen) = &mut self.frozen.0
            && let Some(own) = frozen.gone.get_mut(&slot.0)
        {
            let left = own.give_frozen(budget, |id| visit(*id));
            let is_over = !own.is_frozen();
            if is_over && let Some(own) = frozen.gone.remove(&slot.0) {
                frozen.bytes = frozen.bytes.saturating_sub(own.memory_bytes());
            }
            return (left, is_over);
        }
        let (mut left, mut is_over) = (budget, true);
        self.change_own(slot.0, |own| {
            left = own.give_frozen(budget, |id| visit(*id));
            is_over = !own.is_frozen();
        });
        (left, is_over)
    }

    /// Removes some of what is pending in a group that is of no use any more, and its consumers, so that little is left to be
    /// freed at once. Whether there is nothing any more. O(budget).
    pub(super) fn shed(&mut self, budget: usize) -> bool {
        let mut left = budget - self.pending.shed(budget);
        while left > 0
            && let Some(consumer) = self.consumers.last_mut()
        {
            left -= match consumer {
                Some(consumer) => consumer.pending.shed(left),
                None => 0,
            };
            if left > 0 {
                self.consumers.pop();
                left -= 1;
            }
        }
        left > 0
    }

    /// Changes what each consumer has pending, and accounts for it.
    fn each_own(&mut self, mut change: impl FnMut(&mut Runs<StreamId>)) {
        for consumer in self.consumers.iter_mut().flatten() {
            let before = consumer.pending.memory_bytes();
            change(&mut consumer.pending);
            self.consumer_bytes = self.consumer_bytes + consumer.pending.memory_bytes() - before;
        }
    }
}

/// Consumers.
impl Group {
    /// Number of consumers. O(1).
    pub fn consumer_count(&self) -> usize {
        self.by_name.len()
    }

    /// The consumers in the order of their names.
    pub fn consumers(&self) -> impl Iterator<Item = (ConsumerSlot, &Consumer)> {
        self.by_name.iter().filter_map(|&slot| Some((slot, self.consumer(slot)?)))
    }

    /// The consumer of a name. O(log consumers).
    pub fn find_consumer(&self, name: &[u8]) -> Option<ConsumerSlot> {
        self.search(name).ok().map(|at| self.by_name[at])
    }

    /// The consumer in a slot, `None` if it was removed.
    #[inline]
    pub fn consumer(&self, slot: ConsumerSlot) -> Option<&Consumer> {
        self.consumers.get(slot.0 as usize)?.as_deref()
    }

    /// The consumer of a name, created when there is none (then the flag is true), seen at `now_ms` if created.
    /// O(log consumers), and O(consumers) to create one.
    pub fn find_or_create_consumer(&mut self, name: &[u8], now_ms: u64) -> (ConsumerSlot, bool) {
        let at = match self.search(name) {
            Ok(at) => return (self.by_name[at], false),
            Err(at) => at,
        };
        let consumer = Consumer { name: name.into(), seen_ms: now_ms, active_ms: None, pending: Runs::default() };
        self.consumer_bytes += size_of::<Consumer>() + name.len();
        let slot = match self.free_slots.pop() {
            Some(slot) => {
                self.consumers[slot as usize] = Some(Box::new(consumer));
                slot
            }
            None => {
                self.consumers.push(Some(Box::new(consumer)));
                u32::try_from(self.consumers.len() - 1).expect("four thousand million consumers do not fit in memory")
            }
        };
        self.by_name.insert(at, ConsumerSlot(slot));
        (ConsumerSlot(slot), true)
    }

    /// Removes a consumer with its pending entries, whose number it returns. O(its pending entries), in one pass over
    /// the group's if it has many of them.
    pub fn remove_consumer(&mut self, slot: ConsumerSlot) -> u64 {
        let Some(mut consumer) = self.consumers.get_mut(slot.0 as usize).and_then(Option::take) else { return 0 };
        self.consumer_bytes -= size_of::<Consumer>() + consumer.name.len() + consumer.pending.memory_bytes();
        self.by_name.retain(|other| *other != slot);
        self.free_slots.push(slot.0);
        let count = consumer.pending.len();
        if count == self.pending.len() {
            self.pending.clear();
            let ids: Vec<_> = self.large_counts.keys().copied().collect();
            ids.into_iter().for_each(|id| self.set_large_count(id, None));
        } else if count > self.pending.len() / 16 {
            let mut large = Vec::new();
            self.pending.retain(|slip| {
                let keep = slip.consumer != slot.0;
                if !keep && slip.deliveries == COUNT_IS_LARGE {
                    large.push(slip.id);
                }
                keep
            });
            large.into_iter().for_each(|id| self.set_large_count(id, None));
        } else {
            for id in consumer.pending.iter() {
                if self.pending.remove(*id).is_some_and(|slip| slip.deliveries == COUNT_IS_LARGE) {
                    self.set_large_count(*id, None);
                }
            }
        }
        if let Some(frozen) = &mut self.frozen.0
            && consumer.pending.is_frozen()
        {
            // What there is now is nobody's; what there was is still to be given.
            consumer.pending.clear();
            frozen.bytes += consumer.pending.memory_bytes();
            frozen.gone.insert(slot.0, std::mem::take(&mut consumer.pending));
        }
        count as u64
    }

    /// Notes that the consumer tried something.
    pub fn mark_seen(&mut self, slot: ConsumerSlot, now_ms: u64) {
        if let Some(consumer) = self.consumer_mut(slot) {
            consumer.seen_ms = now_ms;
        }
    }

    /// Notes that the consumer was given something.
    pub fn mark_active(&mut self, slot: ConsumerSlot, now_ms: u64) {
        if let Some(consumer) = self.consumer_mut(slot) {
            consumer.active_ms = Some(now_ms);
        }
    }

    /// Sets both clocks of a consumer (loading).
    pub fn set_consumer_clocks(&mut self, slot: ConsumerSlot, seen_ms: u64, active_ms: Option<u64>) {
        if let Some(consumer) = self.consumer_mut(slot) {
            consumer.seen_ms = seen_ms;
            consumer.active_ms = active_ms;
        }
    }

    #[cfg(test)]
    pub(super) fn check(&self) {
        let own = |consumer: &Consumer| {
            consumer.pending.check_bytes();
            size_of::<Consumer>() + consumer.name.len() + consumer.pending.memory_bytes()
        };
        assert_eq!(self.consumer_bytes, self.consumers.iter().flatten().map(|consumer| own(consumer)).sum::<usize>());
        self.pending.check_bytes();
        assert!(self.frozen.0.is_some() || !self.pending.is_frozen());
    }

    fn search(&self, name: &[u8]) -> Result<usize, usize> {
        self.by_name.binary_search_by(|slot| self.consumer(*slot).map_or(&[][..], Consumer::name).cmp(name))
    }

    #[inline]
    fn consumer_mut(&mut self, slot: ConsumerSlot) -> Option<&mut Consumer> {
        self.consumers.get_mut(slot.0 as usize)?.as_deref_mut()
    }
}

/// Pending entries.
impl Group {
    /// Number of pending entries. O(1).
    #[inline]
    pub fn pending_count(&self) -> u64 {
        self.pending.len() as u64
    }

    /// The pending entry `id`. O(log pending).
    pub fn pending(&self, id: StreamId) -> Option<Pending> {
        self.pending.at_id(id).map(|slip| self.shown(slip))
    }

    /// The first pending entry at or above `from`. O(log pending).
    pub fn next_pending(&self, from: StreamId) -> Option<Pending> {
        self.pending.at(self.pending.at_or_above(from)?).map(|slip| self.shown(slip))
    }

    /// The pending entry with the highest id. O(1).
    pub fn last_pending(&self) -> Option<Pending> {
        self.pending.last().map(|slip| self.shown(slip))
    }

    /// Pending entries from `start` to `end`, both included, ascending. O(log pending) to begin.
    pub fn pending_range(&self, start: StreamId, end: StreamId) -> impl Iterator<Item = Pending> {
        let from = self.pending.iter_from(self.pending.at_or_above(start));
        from.take_while(move |slip| slip.id <= end).map(|slip| self.shown(slip))
    }

    /// The consumer's first pending entry at or above `from`. O(log pending).
    pub fn next_pending_of(&self, slot: ConsumerSlot, from: StreamId) -> Option<Pending> {
        let own = &self.consumer(slot)?.pending;
        self.pending(*own.at(own.at_or_above(from)?)?)
    }

    /// The consumer's pending entries from `start` to `end`, both included, ascending. O(log pending) an entry.
    pub fn pending_range_of(
        &self,
        slot: ConsumerSlot,
        start: StreamId,
        end: StreamId,
    ) -> impl Iterator<Item = Pending> {
        let own = self.consumer(slot).map(|consumer| consumer.pending.iter_from(consumer.pending.at_or_above(start)));
        own.into_iter().flatten().take_while(move |id| **id <= end).filter_map(|id| self.pending(*id))
    }

    /// The pending entries that were given back, in the order in which they were, and those that were delivered at or
    /// before `until_ms`, longest idle first and those of one time in the order of ids; at most `limit` of them (XREADGROUP
    /// CLAIM).
    ///
    /// O(pending / 224) to begin, then O(log pending) for each that is found.
    pub fn idle_pending(&mut self, until_ms: u64, limit: usize) -> Vec<Pending> {
        let places = self.pending.oldest(delivered_at(until_ms), limit);
        places.into_iter().filter_map(|(_, place)| Some(self.shown(self.pending.at(place)?))).collect()
    }

    /// The lowest delivery time of all pending entries, 0 of those that were given back: tells when an entry becomes idle
    /// enough. O(pending / 224).
    pub fn oldest_delivery_ms(&mut self) -> Option<u64> {
        let (age, _) = *self.pending.oldest(u64::MAX, 1).first()?;
        Some(age.saturating_sub(DELIVERED))
    }

    /// Gives a new entry (above [`Group::last_delivered`]) to a consumer: the group's position and count of entries
    /// read move on; unless `keep` is false (NOACK), the entry is pending from now, delivered once. If it was pending
    /// already (the position was set back), it changes hands. O(1), unless it was pending.
    #[inline]
    pub fn deliver(&mut self, log: &Log, id: StreamId, slot: ConsumerSlot, now_ms: u64, keep: bool) {
        if id > self.last_delivered {
            let counts_on = self.last_delivered >= log.first_id() && !log.has_gap_from(self.last_delivered);
            self.entries_read = match self.entries_read {
                Some(read) if counts_on => Some(read.saturating_add(1)),
                _ if log.entries_added() > 0 => log.entries_up_to(id),
                unknown => unknown,
            };
            self.last_delivered = id;
        }
        if keep {
            self.claim(id, slot, now_ms, 1);
        }
    }

    /// Gives a pending entry again to its consumer: delivered now, once more. One that was given back is only counted.
    /// False if it is not pending. O(log pending).
    pub fn redeliver(&mut self, id: StreamId, now_ms: u64) -> bool {
        let Some(place) = self.pending.find(id) else { return false };
        let Some(slip) = self.pending.at(place) else { return false };
        let deliveries = self.shown(slip).deliveries.saturating_add(1);
        self.pending.update(place, |slip| {
            if slip.consumer != NOBODY {
                slip.delivery_ms = now_ms;
            }
        });
        self.set_deliveries(place, deliveries);
        true
    }

    /// Makes an entry pending for a consumer, with these clocks, whether it was pending or not (XCLAIM, XAUTOCLAIM,
    /// loading). Nothing happens if there is no such consumer. O(1) above all pending ones, else O(log pending).
    #[inline]
    pub fn claim(&mut self, id: StreamId, slot: ConsumerSlot, delivery_ms: u64, deliveries: u64) {
        if self.consumer(slot).is_some() {
            self.put(id, slot.0, delivery_ms, deliveries);
        }
    }

    /// Makes an entry pending for nobody, delivered at time 0, whether it was pending or not (XNACK). O(log pending).
    pub fn release(&mut self, id: StreamId, deliveries: u64) {
        self.releases += 1;
        self.put(id, NOBODY, self.releases, deliveries);
    }

    /// Forgets a pending entry (XACK). False if it was not pending. O(log pending).
    #[inline]
    pub fn acknowledge(&mut self, id: StreamId) -> bool {
        let Some(slip) = self.pending.remove(id) else { return false };
        if slip.deliveries == COUNT_IS_LARGE {
            self.set_large_count(id, None);
        }
        self.change_own(slip.consumer, |own| {
            own.remove(id);
        });
        true
    }

    /// Whether the entry was not delivered yet, or not acknowledged. O(log pending).
    pub(super) fn refers_to(&self, id: StreamId) -> bool {
        id > self.last_delivered || self.pending.find(id).is_some()
    }

    #[inline]
    fn put(&mut self, id: StreamId, consumer: u32, delivery_ms: u64, deliveries: u64) {
        let known = if self.pending.last().is_none_or(|last| last.id < id) { None } else { self.pending.find(id) };
        if let Some(place) = known {
            let before = self.pending.update(place, |slip| {
                slip.delivery_ms = delivery_ms;
                std::mem::replace(&mut slip.consumer, consumer)
            });
            self.set_deliveries(place, deliveries);
            if let Some(before) = before.filter(|before| *before != consumer) {
                self.change_own(before, |own| {
                    own.remove(id);
                });
                self.change_own(consumer, |own| own.insert(id));
            }
            return;
        }
        let small = u32::try_from(deliveries).unwrap_or(COUNT_IS_LARGE);
        self.pending.insert(Slip { id, delivery_ms, consumer, deliveries: small });
        if small == COUNT_IS_LARGE {
            self.set_large_count(id, Some(deliveries));
        }
        self.change_own(consumer, |own| own.insert(id));
    }

    fn set_deliveries(&mut self, place: Place, deliveries: u64) {
        let small = u32::try_from(deliveries).unwrap_or(COUNT_IS_LARGE);
        let before = self.pending.update(place, |slip| (slip.id, std::mem::replace(&mut slip.deliveries, small)));
        let Some((id, before)) = before else { return };
        if small == COUNT_IS_LARGE {
            self.set_large_count(id, Some(deliveries));
        } else if before == COUNT_IS_LARGE {
            self.set_large_count(id, None);
        }
    }

    #[cold]
    fn set_large_count(&mut self, id: StreamId, count: Option<u64>) {
        let before = match count {
            Some(count) => self.large_counts.insert(id, count),
            None => self.large_counts.remove(&id),
        };
        if let (Some(frozen), Some(before)) = (&mut self.frozen.0, before) {
            // The first one that is replaced is the one that there was, if there was one.
            frozen.large_counts.entry(id).or_insert(before);
        }
    }

    /// Changes what a consumer has pending, and accounts for it.
    #[inline]
    fn change_own(&mut self, consumer: u32, change: impl FnOnce(&mut Runs<StreamId>)) {
        if let Some(consumer) = self.consumers.get_mut(consumer as usize).and_then(Option::as_deref_mut) {
            let before = consumer.pending.memory_bytes();
            change(&mut consumer.pending);
            self.consumer_bytes = self.consumer_bytes + consumer.pending.memory_bytes() - before;
        }
    }

    fn shown(&self, slip: &Slip) -> Pending {
        slip.shown(|id| self.large_counts.get(&id).copied())
    }
}

/// In place of a consumer: the entry was given back. No slot is so high.
const NOBODY: u32 = u32::MAX;

/// In place of a count of deliveries: see `large_counts`.
const COUNT_IS_LARGE: u32 = u32::MAX;

/// What an entry of `large_counts` takes, its share of the tree's nodes included.
const LARGE_COUNT_BYTES: usize = 40;

/// Where an entry that was delivered at this time stands in the order of age: behind all that were given back.
#[inline]
fn delivered_at(delivery_ms: u64) -> u64 {
    DELIVERED | delivery_ms.min(DELIVERED - 1)
}

/// What tells ages of delivered entries from those of entries that were given back.
const DELIVERED: u64 = 1 << 63;

/// A pending entry as it is stored.
#[derive(Clone, Copy, Debug)]
struct Slip {
    id: StreamId,
    /// Of an entry that was given back: its number among these, see `releases`.
    delivery_ms: u64,
    consumer: u32,
    deliveries: u32,
}

impl Slip {
    /// To look at; `large_count` is asked for a count that does not fit.
    #[inline]
    fn shown(&self, large_count: impl FnOnce(StreamId) -> Option<u64>) -> Pending {
        Pending {
            id: self.id,
            consumer: (self.consumer != NOBODY).then_some(ConsumerSlot(self.consumer)),
            delivery_ms: if self.consumer == NOBODY { 0 } else { self.delivery_ms },
            deliveries: match self.deliveries {
                COUNT_IS_LARGE => large_count(self.id).unwrap_or(u64::from(COUNT_IS_LARGE)),
                deliveries => u64::from(deliveries),
            },
        }
    }
}

impl Item for Slip {
    #[inline]
    fn id(&self) -> StreamId {
        self.id
    }

    #[inline]
    fn age(&self) -> u64 {
        if self.consumer == NOBODY { self.delivery_ms } else { delivered_at(self.delivery_ms) }
    }
}

impl Item for StreamId {
    #[inline]
    fn id(&self) -> StreamId {
        *self
    }
}
