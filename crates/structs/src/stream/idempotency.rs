//! Which messages of which producers were added already (XADD IDMP and IDMPAUTO).
//!
//! A producer that does not know whether its message arrived sends it again, with the same message id. For some time, and
//! for so many messages a producer, the stream remembers which entry a message became, and answers with that one.
//!
//! Messages of a producer are forgotten in the order in which they came: by age and by number. Each is in a table (to be
//! found) and in a queue (to be forgotten). Producers of whom nothing is left go as well, a few with each message that is
//! remembered, so that producers who never come back do not stay.
//!
//! What must stay true: table and queue of a producer name the same messages; `messages` is their number over all
//! producers; no producer has more than `messages_max`; `bytes` is what tables and queues own; while it is
//! [frozen](frozen), a producer is kept before it changes.

mod frozen;

pub use frozen::{MessagePart, ProducerPart, ProducersPart};

use std::collections::{BTreeMap, VecDeque};
use std::ops::{Bound, RangeInclusive};

use xxhash_rust::xxh3::Xxh3;

use super::StreamId;
use super::frozen::Frozen;
use crate::frozen::Kept;
use frozen::FrozenTable;
pub(super) use frozen::TablePart;

/// How long messages may be remembered, in seconds.
pub const IDMP_DURATION_S: RangeInclusive<u64> = 1..=86_400;
/// How many messages of a producer may be remembered.
pub const IDMP_MESSAGES: RangeInclusive<u64> = 1..=10_000;

/// How long a message is remembered unless XCFGSET says otherwise, in seconds.
pub(super) const DURATION_S: u64 = 100;
/// How many messages of a producer are remembered unless XCFGSET says otherwise.
pub(super) const MESSAGES_MAX: u64 = 100;

/// What a stream without producers answers.
pub(super) static NOTHING_KNOWN: Idempotency = Idempotency::new();

/// Producers that are looked at for old messages whenever one is remembered.
const SWEPT_PRODUCERS: usize = 2;

/// Settings and tables of a stream's producers.
#[derive(Clone, Debug)]
pub struct Idempotency {
    duration_s: u64,
    messages_max: u64,
    producers: BTreeMap<Box<[u8]>, Producer>,
    counts: IdempotencyCounts,
    bytes: usize,
    /// The producer that was swept last.
    swept: Vec<u8>,
    frozen: Frozen<FrozenTable>,
}

/// What XINFO STREAM tells of producers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IdempotencyCounts {
    /// Producers of whom a message is remembered.
    pub producers: u64,
    /// Messages that are remembered.
    pub messages: u64,
    /// Messages that were ever added with an id of their own.
    pub added: u64,
    /// Messages that were refused as duplicates.
    pub duplicates: u64,
}

#[derive(Clone, Debug, Default)]
struct Producer {
    entries: BTreeMap<Box<[u8]>, StreamId>,
    /// Oldest first: when each was added.
    order: VecDeque<(u64, Box<[u8]>)>,
}

impl Producer {
    /// The messages, oldest first.
    fn in_order(&self) -> impl Iterator<Item = (&[u8], StreamId)> {
        self.order.iter().filter_map(|(_, message)| Some((&message[..], *self.entries.get(message)?)))
    }
}

impl Idempotency {
    pub(super) const fn new() -> Idempotency {
        Idempotency {
            duration_s: DURATION_S,
            messages_max: MESSAGES_MAX,
            producers: BTreeMap::new(),
            counts: IdempotencyCounts { producers: 0, messages: 0, added: 0, duplicates: 0 },
            bytes: 0,
            swept: Vec::new(),
            frozen: Frozen(None),
        }
    }

    /// Whether there is anything that a stream must not lose: a message, or a setting.
    pub(super) fn remembers(&self) -> bool {
        self.counts.messages > 0 || !self.head().has_usual_settings()
    }

    /// How long a message is remembered, in seconds.
    pub fn duration_s(&self) -> u64 {
        self.duration_s
    }

    /// How many messages of a producer are remembered.
    pub fn messages_max(&self) -> u64 {
        self.messages_max
    }

    /// The counters. O(1). Messages that are too old count until they are met.
    pub fn counts(&self) -> IdempotencyCounts {
        IdempotencyCounts { producers: self.producers.len() as u64, ..self.counts }
    }

    /// The entry that the producer's message was added as, if that is still remembered.
    pub fn get(&self, producer: &[u8], message: &[u8], now_ms: u64) -> Option<StreamId> {
        let producer = self.producers.get(producer)?;
        let id = *producer.entries.get(message)?;
        // The queue is in order of time, so only when its head is too old the message itself may be.
        if producer.order.front().is_some_and(|(added_ms, _)| self.is_old(*added_ms, now_ms)) {
            let (added_ms, _) = producer.order.iter().find(|(_, other)| **other == *message)?;
            return (!self.is_old(*added_ms, now_ms)).then_some(id);
        }
        Some(id)
    }

    /// The producers in the order of their names, each with the number of its messages and these, oldest first: what it calls
    /// the message, and the entry.
    pub fn producers(&self) -> impl Iterator<Item = (&[u8], usize, impl Iterator<Item = (&[u8], StreamId)>)> {
        self.producers.iter().map(|(name, producer)| (&name[..], producer.order.len(), producer.in_order()))
    }

    /// All bytes that are owned, its own included. O(1).
    pub(super) fn memory_bytes(&self) -> usize {
        let frozen = self.frozen.0.as_ref().map_or(0, |frozen| frozen.memory_bytes());
        size_of::<Idempotency>() + self.bytes + self.swept.capacity() + frozen
    }

    /// What there is to say besides producers and messages.
    pub fn head(&self) -> ProducersPart {
        ProducersPart { duration_s: self.duration_s, messages_max: self.messages_max, counts: self.counts() }
    }

    /// Freezes it. O(1).
    pub(super) fn freeze(&mut self) {
        self.frozen = Frozen(Some(Box::new(FrozenTable::new(self.head()))));
    }

    /// What was to say when it was frozen, if it is.
    pub(super) fn frozen_head(&self) -> Option<ProducersPart> {
        self.frozen.0.as_ref().map(|frozen| frozen.head)
    }

    /// Gives producers and messages of the frozen state, about as many as the budget allows. What is left of it; if anything
    /// is, that was all, and it is not frozen any more.
    pub(super) fn give_frozen(&mut self, budget: usize, visit: &mut dyn FnMut(TablePart<'_>)) -> usize {
        let Some(frozen) = &mut self.frozen.0 else { return budget };
        let left = frozen.give(&self.producers, budget, visit);
        if left > 0 {
            self.frozen.0 = None;
        }
        left
    }

    /// Forgets the frozen state.
    pub(super) fn thaw(&mut self) -> Option<Kept> {
        let frozen = self.frozen.0.take()?;
        Some(Box::new(frozen))
    }

    fn keep(&mut self, producer: &[u8]) {
        if let Some(frozen) = &mut self.frozen.0 {
            frozen.keep(producer, self.producers.get(producer));
        }
    }

    pub(super) fn configure(&mut self, duration_s: Option<u64>, messages_max: Option<u64>) {
        let (duration_s, messages_max) =
            (duration_s.unwrap_or(self.duration_s), messages_max.unwrap_or(self.messages_max));
        if (duration_s, messages_max) != (self.duration_s, self.messages_max) {
            (self.duration_s, self.messages_max) = (duration_s, messages_max);
            if let Some(frozen) = &mut self.frozen.0 {
                frozen.keep_all(&mut self.producers, self.bytes);
            }
            self.producers.clear();
            self.counts.messages = 0;
            self.bytes = 0;
        }
    }

    pub(super) fn find(&mut self, producer: &[u8], message: &[u8], now_ms: u64) -> Option<StreamId> {
        self.forget(producer, now_ms, None);
        let id = *self.producers.get(producer)?.entries.get(message)?;
        self.counts.duplicates += 1;
        Some(id)
    }

    pub(super) fn remember(&mut self, producer: &[u8], message: &[u8], id: StreamId, now_ms: u64) {
        self.counts.added += 1;
        self.put(producer, message, id, now_ms);
        for _ in 0..SWEPT_PRODUCERS {
            let next = self.producers.range::<[u8], _>((Bound::Excluded(&self.swept[..]), Bound::Unbounded));
            let Some(next) = next.map(|(name, _)| name.clone()).next() else {
                self.swept.clear();
                break;
            };
            self.forget(&next, now_ms, None);
            self.swept = next.into();
        }
    }

    /// Sets the numbers of messages that were ever added and refused (loading).
    pub(super) fn set_counts(&mut self, added: u64, duplicates: u64) {
        (self.counts.added, self.counts.duplicates) = (added, duplicates);
    }

    /// Remembers without counting (loading). Does nothing, and says so, if the message is known.
    pub(super) fn put(&mut self, producer: &[u8], message: &[u8], id: StreamId, added_ms: u64) -> bool {
        self.forget(producer, added_ms, Some(self.messages_max.saturating_sub(1)));
        self.keep(producer);
        if !self.producers.contains_key(producer) {
            self.bytes += PRODUCER_BYTES + producer.len();
            self.producers.insert(producer.into(), Producer::default());
        }
        let Some(known) = self.producers.get_mut(producer) else { return false };
        if known.entries.contains_key(message) {
            return false;
        }
        known.entries.insert(message.into(), id);
        // A clock that was set back must not put the queue out of order.
        let added_ms = known.order.back().map_or(added_ms, |(last_ms, _)| added_ms.max(*last_ms));
        known.order.push_back((added_ms, message.into()));
        self.bytes += MESSAGE_BYTES + 2 * message.len();
        self.counts.messages += 1;
        true
    }

    /// Forgets what is too old of a producer, and what is above `messages_max` if that is given; the producer as well if
    /// nothing is left.
    fn forget(&mut self, name: &[u8], now_ms: u64, messages_max: Option<u64>) {
        let duration_ms = self.duration_ms();
        let goes = |producer: &Producer| {
            producer.order.front().is_some_and(|(added_ms, _)| {
                now_ms.saturating_sub(*added_ms) >= duration_ms
                    || messages_max.is_some_and(|max| producer.order.len() as u64 > max)
            })
        };
        if !self.producers.get(name).is_some_and(goes) {
            return;
        }
        self.keep(name);
        let Some(producer) = self.producers.get_mut(name) else { return };
        while goes(producer) {
            let Some((_, message)) = producer.order.pop_front() else { break };
            producer.entries.remove(&message);
            self.bytes -= MESSAGE_BYTES + 2 * message.len();
            self.counts.messages -= 1;
        }
        if producer.order.is_empty() {
            self.producers.remove(name);
            self.bytes -= PRODUCER_BYTES + name.len();
        }
    }

    fn is_old(&self, added_ms: u64, now_ms: u64) -> bool {
        now_ms.saturating_sub(added_ms) >= self.duration_ms()
    }

    fn duration_ms(&self) -> u64 {
        self.duration_s.saturating_mul(1000)
    }
}

/// What a producer takes besides its name and messages, about.
const PRODUCER_BYTES: usize = size_of::<Producer>() + size_of::<Box<[u8]>>() * 2;

/// What a message takes besides two copies of its id, about: its places in the table and in the queue, with their slack.
const MESSAGE_BYTES: usize = (size_of::<(Box<[u8]>, StreamId)>() + size_of::<(u64, Box<[u8]>)>()) * 3 / 2;

/// The message id that IDMPAUTO gives: a digest of all fields and values. Equal for the same pairs, in whatever order: their
/// own digests are added up, which knows no order but, unlike an exclusive or, does not lose a pair that is there twice.
pub fn automatic_message_id<'p>(pairs: impl Iterator<Item = (&'p [u8], &'p [u8])>) -> [u8; 16] {
    let mut sum = 0_u128;
    for (field, value) in pairs {
        let mut digest = Xxh3::new();
        // The length keeps apart what is divided differently.
        digest.update(&(field.len() as u64).to_le_bytes());
        digest.update(field);
        digest.update(value);
        sum = sum.wrapping_add(digest.digest128());
    }
    sum.to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64) -> StreamId {
        StreamId::new(ms, 0)
    }

    #[test]
    fn a_message_is_known_until_it_is_too_old() {
        let mut known = Idempotency::new();
        known.remember(b"p", b"a", id(1), 1_000);
        assert_eq!(known.get(b"p", b"a", 1_000 + DURATION_S * 1_000 - 1), Some(id(1)));
        assert_eq!(known.get(b"p", b"a", 1_000 + DURATION_S * 1_000), None);
        assert_eq!(known.find(b"p", b"a", 50_000), Some(id(1)));
        assert_eq!(known.find(b"q", b"a", 50_000), None);
        assert_eq!(known.counts(), IdempotencyCounts { producers: 1, messages: 1, added: 1, duplicates: 1 });
        assert_eq!(known.find(b"p", b"a", 1_000 + DURATION_S * 1_000), None);
        assert_eq!(known.counts(), IdempotencyCounts { producers: 0, messages: 0, added: 1, duplicates: 1 });
        assert_eq!(known.bytes, 0);
    }

    #[test]
    fn the_oldest_messages_go_when_there_are_too_many() {
        let mut known = Idempotency::new();
        known.configure(None, Some(3));
        for ms in 1..=5 {
            known.remember(b"p", &[ms as u8], id(ms), ms);
        }
        let kept: Vec<_> = (1..=5).filter(|ms| known.get(b"p", &[*ms as u8], 6).is_some()).collect();
        assert_eq!(kept, [3, 4, 5]);
        known.configure(Some(DURATION_S), Some(3));
        assert_eq!(known.counts().messages, 3, "the same settings forget nothing");
        known.configure(Some(DURATION_S + 1), None);
        assert_eq!((known.counts().messages, known.counts().added, known.bytes), (0, 5, 0));
    }

    #[test]
    fn producers_that_never_come_back_do_not_stay() {
        let mut known = Idempotency::new();
        for number in 0_u64..1_000 {
            known.remember(&number.to_be_bytes(), b"m", id(number + 1), number);
        }
        let later = 1_000 * (DURATION_S + 2);
        for number in 0_u64..1_000 {
            known.remember(b"still here", &number.to_be_bytes(), id(5_000 + number), later);
        }
        assert_eq!((known.counts().producers, known.counts().messages), (1, MESSAGES_MAX));
        assert_eq!(known.producers().map(|(_, messages, _)| messages as u64).sum::<u64>(), MESSAGES_MAX);
    }

    #[test]
    fn automatic_ids_tell_apart_what_is_divided_differently() {
        let one =
            |pairs: &[(&str, &str)]| automatic_message_id(pairs.iter().map(|(f, v)| (f.as_bytes(), v.as_bytes())));
        assert_eq!(one(&[("a", "b")]), one(&[("a", "b")]));
        assert_ne!(one(&[("a", "b")]), one(&[("ab", "")]));
        assert_eq!(one(&[("a", "b"), ("c", "d")]), one(&[("c", "d"), ("a", "b")]));
        assert_ne!(one(&[("a", "b"), ("c", "d")]), one(&[("a", "d"), ("c", "b")]));
        assert_ne!(one(&[("a", "b"), ("a", "b")]), one(&[("a", "c"), ("a", "c")]));
    }
}
