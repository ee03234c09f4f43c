//! A queue: what it is made of, and what it can be asked.
//!
//! ```text
//!  places     the messages in order; lines of those that can be handed out
//!  moved      id ──► place, of messages that became ready later than they came
//!  timeline   when something is due, and for which message: at most one entry each; of ready ones it is in `lives`
//!  pending    who has what; holders: who has how much
//!  groups, values, dedup     only in queues that need them
//! ```
//!
//! What must stay true: counts, bytes, lines, timeline, pending, groups and values are what the messages' own states come
//! to; a message that is looked for by its id is at the place that `moved` says, else at the place that equals its id.

use std::collections::{BTreeMap, BTreeSet};

use super::dedup::Dedup;
use super::frozen::Frozen;
use super::groups::Groups;
use super::holders::Holders;
use super::moving::Moved;
use super::places::{Bits, Places, Spot};
use super::record::{NEVER, Record};
use super::values::Values;
use super::{Counters, Due, Figures, Holder, HolderId, Message, MessageId, Next, Paused, QueueOptions, Rules, State};

/// What an entry of the timeline takes, about.
const TIMELINE_BYTES: usize = 28;
/// What an entry of `moved` takes, about.
const MOVED_BYTES: usize = 28;
/// What a pending message takes, about.
const PENDING_BYTES: usize = size_of::<(u64, Pending)>() * 3 / 2;

/// The value of a queue. A clone has no holders and no uid: what is unacked is ready in it, as after
/// [`Queue::restarted`].
#[derive(Debug)]
pub struct Queue {
    pub(super) options: Box<QueueOptions>,
    rules: Box<Rules>,
    created_ms: u64,
    uid: u64,
    paused: Paused,
    counters: Box<Counters>,
    /// The highest id or place that was given.
    pub(super) last: u64,
    /// The highest place that was handed out.
    pub(super) mark: u64,
    /// What was ready up to here may have been handed out before a restart.
    pub(super) restart_mark: u64,
    pub(super) places: Places,
    pub(super) moved: BTreeMap<u64, u64>,
    pub(super) timeline: BTreeSet<(u64, u64)>,
    /// The same of ready messages, which go all at once.
    pub(super) lives: BTreeSet<(u64, u64)>,
    pub(super) pending: BTreeMap<MessageId, Pending>,
    pub(super) holders: Holders,
    /// Messages by state.
    pub(super) counts: [u64; 6],
    pub(super) ready_bytes: u64,
    pub(super) dead_bytes: u64,
    pub(super) bytes: u64,
    /// What the messages own on the heap.
    pub(super) owned_bytes: usize,
    /// What those of them own that are ready.
    pub(super) ready_owned_bytes: usize,
    pub(super) groups: Option<Box<Groups>>,
    pub(super) values: Option<Box<Values>>,
    pub(super) dedup: Option<Box<Dedup>>,
    pub(super) frozen: Option<Box<Frozen>>,
    /// There once bodies have been looked at to be moved elsewhere.
    pub(super) away: Option<Box<Moved>>,
}

/// A message that was handed out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub(super) holder: HolderId,
    pub(super) since_ms: u64,
    /// [`NEVER`] if it has no end.
    pub(super) lease_until_ms: u64,
}

impl Queue {
    /// An empty queue. Whether it has groups, a header of last values and priorities is a matter of `options` for as long as
    /// it lives; everything else, of the rules.
    pub fn new(options: QueueOptions, rules: Rules, created_ms: u64) -> Queue {
        Queue {
            places: Places::new(options.max_priority.unwrap_or(0)),
            groups: options.groups.then(Box::default),
            values: options.last_value.as_ref().map(|header| Box::new(Values::new(header))),
            options: Box::new(options),
            rules: Box::new(rules),
            created_ms,
            uid: 0,
            paused: Paused::NONE,
            counters: Box::default(),
            last: 0,
            mark: 0,
            restart_mark: 0,
            moved: BTreeMap::new(),
            timeline: BTreeSet::new(),
            lives: BTreeSet::new(),
            pending: BTreeMap::new(),
            holders: Holders::default(),
            counts: [0; 6],
            ready_bytes: 0,
            dead_bytes: 0,
            bytes: 0,
            owned_bytes: 0,
            ready_owned_bytes: 0,
            dedup: None,
            frozen: None,
            away: None,
        }
    }

    /// By what it is known while it is at a key; 0 until it is given one, and in clones.
    pub fn uid(&self) -> u64 {
        self.uid
    }

    /// Sets [`Queue::uid`].
    pub fn set_uid(&mut self, uid: u64) {
        self.uid = uid;
    }

    /// As it was declared.
    pub fn options(&self) -> &QueueOptions {
        &self.options
    }

    /// What is in force.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Sets what is in force. Messages that are there stay as they are.
    pub fn set_rules(&mut self, rules: Rules) {
        *self.rules = rules;
    }

    /// When it was declared, Unix milliseconds.
    pub fn created_ms(&self) -> u64 {
        self.created_ms
    }

    /// Which ways are closed. Only kept here: a closed queue does what it is told.
    pub fn paused(&self) -> Paused {
        self.paused
    }

    /// Closes and opens ways.
    pub fn set_paused(&mut self, paused: Paused) {
        self.paused = paused;
    }

    /// How many messages are where. O(1).
    pub fn figures(&self) -> Figures {
        let count = |state: State| self.counts[state as usize];
        Figures {
            ready: count(State::Ready),
            unacked: count(State::Unacked),
            delayed: count(State::Delayed),
            parked: count(State::Parked),
            held: count(State::Held),
            dead: count(State::Dead),
            ready_bytes: self.ready_bytes,
            dead_bytes: self.dead_bytes,
            bytes: self.bytes,
            away_bytes: self.bytes_away(),
        }
    }

    /// What happened.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// To count what happens.
    pub fn counters_mut(&mut self) -> &mut Counters {
        &mut self.counters
    }

    /// Number of messages, wherever they are. O(1).
    pub fn len(&self) -> u64 {
        self.places.len()
    }

    /// Whether there is no message.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The highest id or place that was given; `0-0` at first.
    pub fn last_id(&self) -> MessageId {
        MessageId::from_u64(self.last)
    }

    /// Whether there are ids for more messages than will ever come. Only what a client made up and had restored may lack
    /// them, and is to be refused: with ids used up to their end it could not be read again.
    pub fn has_ids_left(&self) -> bool {
        self.last < MessageId::END.to_u64() / 4 * 3
    }

    /// The highest place that was ever handed out; `0-0` if none was.
    pub fn mark(&self) -> MessageId {
        MessageId::from_u64(self.mark)
    }

    /// As if places up to this one had been handed out; never back.
    pub fn set_mark(&mut self, mark: MessageId) {
        self.mark = self.mark.max(mark.to_u64()).min(MessageId::END.to_u64() - 1);
        self.last = self.last.max(self.mark);
    }

    /// Whether the limits would be exceeded with so many more ready messages and bytes of bodies. Dead messages that wait
    /// here count as well. O(1).
    pub fn exceeds(&self, more: u64, more_bytes: u64) -> bool {
        let count = self.counts[State::Ready as usize] + self.counts[State::Dead as usize];
        let bytes = self.ready_bytes + self.dead_bytes;
        self.rules.max_len.is_some_and(|max| count.saturating_add(more) > max)
            || self.rules.max_bytes.is_some_and(|max| bytes.saturating_add(more_bytes) > max)
    }

    /// The ready message with the lowest place, whatever its priority.
    pub fn oldest_ready(&self) -> Option<MessageId> {
        self.places.oldest(Bits::Ready).map(|spot| self.id_at(spot))
    }

    /// Since when the ready message with the lowest place has had that, Unix milliseconds: since it was published, or was to
    /// be ready. O(log n).
    #[inline]
    pub fn front_ms(&self) -> Option<u64> {
        self.places.oldest(Bits::Ready).map(|spot| MessageId::from_u64(self.places.key(spot)).ms())
    }

    /// The last ready message with this value of the LASTVALUE header. One that came back may be beside it, so whoever
    /// wants none of them asks again after removing it.
    pub fn same_value(&self, value: &[u8]) -> Option<MessageId> {
        self.values.as_ref()?.last(value).and_then(|key| self.id_of(key))
    }

    /// A ready message behind this one with the same value of the LASTVALUE header: then this one is out of date, and
    /// should go when it comes back.
    pub fn newer_value(&self, id: MessageId) -> Option<MessageId> {
        let values = self.values.as_ref()?;
        let spot = self.locate(id)?;
        let newer = values.last(values.of(&self.places.record(spot).parcel)?)?;
        if newer > self.places.key(spot) { self.id_of(newer) } else { None }
    }

    /// A ready message in front of this one with the same value of the LASTVALUE header: it is out of date.
    pub fn older_value(&self, id: MessageId) -> Option<MessageId> {
        let values = self.values.as_ref()?;
        let spot = self.locate(id)?;
        let older = values.first(values.of(&self.places.record(spot).parcel)?)?;
        if older < self.places.key(spot) { self.id_of(older) } else { None }
    }

    /// The message that a producer's message became, if that is still remembered.
    pub fn known(&self, producer: &[u8], id: &[u8], now_ms: u64) -> Option<MessageId> {
        self.dedup.as_ref()?.get(producer, id, now_ms, self.rules.dedup)
    }

    /// What there is to hand out: of the highest priority, the lowest place. A message lives through the millisecond in
    /// which its time to live ends. O(log n).
    #[inline]
    pub fn next(&self, now_ms: u64) -> Next {
        let bits = if self.groups.is_some() { Bits::Offered } else { Bits::Ready };
        let Some(spot) = self.places.first(bits) else { return Next::Nothing };
        let id = self.id_at(spot);
        match now_ms > self.places.record(spot).expires_ms() {
            true => Next::Expired(id),
            false => Next::Ready(id),
        }
    }

    /// A message. O(log n).
    pub fn message(&self, id: MessageId) -> Option<Message<'_>> {
        let spot = self.locate(id)?;
        let record = self.places.record(spot);
        let key = self.places.key(spot);
        let pending = if record.state() == State::Unacked { self.pending.get(&id) } else { None };
        let some = |ms: u64| (ms != NEVER).then_some(ms);
        Some(Message {
            id,
            key: MessageId::from_u64(key),
            parcel: &record.parcel,
            state: record.state(),
            priority: record.priority,
            expires_ms: some(record.expires_ms()),
            acquired: record.acquired,
            deliveries: u32::from(record.deliveries),
            redelivered: self.is_redelivered(key, record),
            due_ms: record.due_ms(),
            story: record.story(),
            reason: record.reason(),
            holder: pending.map(|pending| pending.holder),
            since_ms: pending.map(|pending| pending.since_ms),
            lease_until_ms: pending.and_then(|pending| some(pending.lease_until_ms)),
        })
    }

    /// The holder with this name; known from now on. One with a name is forgotten when it has nothing left, or if it has got
    /// nothing when another one is asked for. O(log n).
    pub fn holder(&mut self, name: Holder<'_>) -> HolderId {
        self.holders.id(name)
    }

    /// Who it is; `None` if it was forgotten.
    pub fn holder_name(&self, holder: HolderId) -> Option<Holder<'_>> {
        self.holders.name(holder)
    }

    /// What it has, in the order of ids.
    pub fn held_by(&self, holder: HolderId) -> impl Iterator<Item = MessageId> + '_ {
        self.holders.held_by(holder)
    }

    /// How much it has. O(log n).
    pub fn held_count(&self, holder: HolderId) -> usize {
        self.holders.held_count(holder)
    }

    /// Forgets a holder, if it has nothing.
    pub fn forget_holder(&mut self, holder: HolderId) {
        self.holders.forget(holder);
    }

    /// What is due first: when, for which message, and what. An unacked message does not expire before it comes back; what
    /// expires is due in the millisecond behind the last one that it lives. O(log n).
    pub fn first_due(&self) -> Option<(u64, MessageId, Due)> {
        let &(due_ms, key) = self.timeline.first().into_iter().chain(self.lives.first()).min()?;
        let spot = self.places.find(key)?;
        let (_, due) = due_of(self.places.record(spot), due_ms)?;
        Some((due_ms, self.id_at(spot), due))
    }

    /// Ready messages in the order in which they would be handed out if none of them had to wait for its group.
    pub fn ready_ids(&self) -> impl DoubleEndedIterator<Item = MessageId> + '_ {
        self.places.in_line(Bits::Ready).map(|(key, record)| record.own_id().unwrap_or(MessageId::from_u64(key)))
    }

    /// Ready messages in the same order with their priorities and places ([`Message::key`]): those behind one that has, or had, this
    /// priority and this place; all of them, if none is given. O(log n) to the first one.
    pub fn ready_behind(&self, one: Option<(u8, u64)>) -> impl Iterator<Item = (MessageId, u8, MessageId)> + '_ {
        let (priority, key) = one.unwrap_or((u8::MAX, 0));
        let those = self.places.in_line_behind(Bits::Ready, priority, key);
        those.map(|(key, record)| {
            let place = MessageId::from_u64(key);
            (record.own_id().unwrap_or(place), record.priority, place)
        })
    }

    /// How many messages of each priority are ready, the highest first; priorities without any are left out.
    pub fn ready_by_priority(&self) -> impl Iterator<Item = (u8, u64)> + '_ {
        let of_one = if self.max_priority() == 0 { self.counts[State::Ready as usize] } else { 0 };
        self.places.ready_by_priority().chain([(0, of_one)]).filter(|(_, count)| *count > 0)
    }

    /// Unacked messages in the order of ids, from one on.
    pub fn pending_ids(&self, from: MessageId) -> impl Iterator<Item = MessageId> + '_ {
        self.pending.range(from..).map(|(&id, _)| id)
    }

    /// All messages in the order of places ([`Message::key`]), from one on.
    pub fn all_ids(&self, from: MessageId) -> impl Iterator<Item = MessageId> + '_ {
        let from = self.places.from(from.to_u64());
        from.map(|(key, record)| record.own_id().unwrap_or(MessageId::from_u64(key)))
    }

    /// Bytes on the heap, about. A parcel counts in each queue that has it. O(number of priorities).
    pub fn memory_bytes(&self) -> usize {
        let said = size_of::<QueueOptions>() + size_of::<Rules>() + size_of::<Counters>();
        let names = [&self.options.dlx, &self.options.dl_rkey, &self.options.last_value];
        let names: usize = names.iter().flat_map(|name| name.as_ref()).map(|name| 2 * name.len()).sum();
        said + names
            + self.owned_bytes
            + self.places.memory_bytes()
            + (self.timeline.len() + self.lives.len()) * TIMELINE_BYTES
            + self.moved.len() * MOVED_BYTES
            + self.pending.len() * PENDING_BYTES
            + self.holders.memory_bytes()
            + self.groups.as_ref().map_or(0, |groups| groups.memory_bytes())
            + self.values.as_ref().map_or(0, |values| values.memory_bytes())
            + self.dedup.as_ref().map_or(0, |dedup| dedup.memory_bytes())
            + self.frozen.as_ref().map_or(0, |frozen| frozen.memory_bytes())
            + self.away.as_ref().map_or(0, |_| size_of::<Moved>())
    }

    /// The part of [`Queue::memory_bytes`] in pages that the allocator does not know: none. O(1).
    pub fn mapped_bytes(&self) -> usize {
        0
    }

    /// Number of pieces of memory that dropping it frees, roughly. O(1).
    pub fn items(&self) -> usize {
        let more =
            self.dedup.as_ref().map_or(0, |dedup| dedup.len()) + self.groups.as_ref().map_or(0, |groups| groups.len());
        usize::try_from(self.len()).unwrap_or(usize::MAX).saturating_add(self.places.pieces() + more)
    }

    /// Where the message with an id is.
    #[inline]
    pub(super) fn locate(&self, id: MessageId) -> Option<Spot> {
        let key = match self.moved.is_empty() {
            true => id.to_u64(),
            false => self.moved.get(&id.to_u64()).copied().unwrap_or(id.to_u64()),
        };
        self.places.find(key).filter(|&spot| self.id_at(spot) == id)
    }

    /// The id of the message at a spot.
    #[inline]
    pub(super) fn id_at(&self, spot: Spot) -> MessageId {
        self.places.record(spot).own_id().unwrap_or_else(|| MessageId::from_u64(self.places.key(spot)))
    }

    fn id_of(&self, key: u64) -> Option<MessageId> {
        self.places.find(key).map(|spot| self.id_at(spot))
    }

    /// Checks what must stay true.
    #[cfg(test)]
    pub(super) fn check(&self) {
        self.places.check();
        let (mut counts, mut bytes, mut owned_bytes, mut bytes_away) = ([0; 6], [0; 7], [0; 2], 0);
        let (mut timeline, mut lives, mut moved) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
        let mut of_groups = BTreeMap::<&[u8], Vec<(u64, State)>>::new();
        for (key, record) in self.places.from(0) {
            let (state, body) = (record.state(), record.parcel.body_len() as u64);
            counts[state as usize] += 1;
            bytes[state as usize] += body;
            bytes[6] += body;
            bytes_away += if record.parcel.is_away() { body } else { 0 };
            owned_bytes[0] += record.heap_bytes();
            owned_bytes[1] += if state == State::Ready { record.heap_bytes() } else { 0 };
            let id = record.own_id().unwrap_or(MessageId::from_u64(key));
            let spot = self.locate(id).expect("it is found by its id");
            assert_eq!(self.places.key(spot), key);
            if id.to_u64() != key {
                moved.insert(id.to_u64(), key);
            }
            let pending = self.pending.get(&id);
            assert_eq!(pending.is_some(), state == State::Unacked);
            let lease_until_ms = pending.map_or(NEVER, |pending| pending.lease_until_ms);
            let due = due_of(record, lease_until_ms).map(|(at_ms, _)| (at_ms, key));
            if state == State::Ready { &mut lives } else { &mut timeline }.extend(due);
            assert_eq!(self.places.has(spot, Bits::Ready), state == State::Ready);
            match record.parcel.group() {
                Some(group) if self.groups.is_some() => {
                    if matches!(state, State::Ready | State::Parked | State::Unacked) {
                        of_groups.entry(group).or_default().push((key, state));
                    }
                }
                _ => {
                    let is_offered = self.groups.is_some() && state == State::Ready;
                    assert_eq!(self.places.has(spot, Bits::Offered), is_offered);
                }
            }
            assert!(key <= self.last && id.to_u64() <= self.last);
        }
        for members in of_groups.values() {
            let is_out = members.iter().any(|(_, state)| *state == State::Unacked);
            for (number, (key, state)) in members.iter().enumerate() {
                let spot = self.places.find(*key).expect("it was found");
                assert_eq!(self.places.has(spot, Bits::Offered), number == 0 && *state == State::Ready && !is_out);
            }
        }
        assert_eq!(self.groups.as_ref().map_or(0, |groups| groups.len()), of_groups.len());
        assert_eq!(counts, self.counts);
        assert_eq!(
            (bytes[State::Ready as usize], bytes[State::Dead as usize], bytes[6]),
            (self.ready_bytes, self.dead_bytes, self.bytes)
        );
        assert_eq!((owned_bytes, bytes_away), ([self.owned_bytes, self.ready_owned_bytes], self.bytes_away()));
        assert_eq!((&timeline, &lives, &moved), (&self.timeline, &self.lives, &self.moved));
        assert_eq!(counts[State::Unacked as usize], self.pending.len() as u64);
        let pending = self.pending.iter().map(|(&id, pending)| (id, pending.holder));
        assert!(pending.eq(self.holders.all_held()));
        assert!(self.mark <= self.last);
    }

    pub(super) fn is_redelivered(&self, key: u64, record: &Record) -> bool {
        // What is delayed or held has never been in line; what is out remembers by itself how it came into line.
        record.is_redelivered() || (key <= self.restart_mark && !matches!(record.state(), State::Delayed | State::Held))
    }
}

/// When something is due for a message, and what. `lease_until_ms` is for one that is unacked.
#[inline]
pub(super) fn due_of(record: &Record, lease_until_ms: u64) -> Option<(u64, Due)> {
    let expires_ms = record.expires_ms();
    let gone_ms = if expires_ms == NEVER { NEVER } else { expires_ms + 1 };
    let due_ms = record.due_ms().unwrap_or(NEVER);
    let or_expire = |due| if gone_ms < due_ms { (gone_ms, Due::Expire) } else { (due_ms, due) };
    let (at_ms, due) = match record.state() {
        State::Ready => (gone_ms, Due::Expire),
        State::Delayed => or_expire(Due::Fire),
        State::Parked => or_expire(Due::Unpark),
        State::Held => or_expire(Due::Unresolved),
        State::Unacked => (lease_until_ms, Due::Lease),
        State::Dead => (due_ms, Due::RetryDead),
    };
    (at_ms != NEVER).then_some((at_ms, due))
}

impl Clone for Queue {
    fn clone(&self) -> Queue {
        let mut clone = Queue {
            options: self.options.clone(),
            rules: self.rules.clone(),
            counters: Box::default(),
            places: self.places.clone(),
            moved: self.moved.clone(),
            timeline: self.timeline.clone(),
            lives: self.lives.clone(),
            pending: self.pending.clone(),
            holders: self.holders.clone(),
            groups: self.groups.clone(),
            values: self.values.clone(),
            dedup: self.dedup.clone(),
            frozen: None,
            away: self.away.clone(),
            uid: 0,
            ..*self
        };
        clone.restarted();
        clone.holders = Holders::default();
        clone
    }
}
