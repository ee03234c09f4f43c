//! What happens to messages: how they come, go round, and go.
//!
//! Every change is made in the same way: what the message's old state was counted and listed for is undone (`unlink`), the
//! message is changed, and its new state is counted and listed (`link`). Its group is told at last.
//!
//! Whatever names a message that is not in the state that the change begins with does nothing and says `false`.

use super::places::{Bits, Spot};
use super::record::{NEVER, Record};
use super::value::{Pending, due_of};
use super::{DeathReason, HolderId, MessageId, NewMessage, Queue, Removed, State, When};

impl Queue {
    /// Takes in a message, whatever the limits are. O(1) in most cases, else O(log n).
    ///
    /// Its id is above all before it, and that of `now_ms` if the clock has not been set back.
    pub fn add(&mut self, new: NewMessage<'_>, now_ms: u64) -> MessageId {
        let NewMessage { parcel, priority, expires_ms, when, dedup, story } = new;
        let id = self.next_id(now_ms);
        let mut record = Record::new(parcel, priority.min(self.max_priority()));
        let due_ms = match when {
            When::Now => NEVER,
            When::At(ms) => {
                record.set_state(State::Delayed, ms);
                ms
            }
            When::Held { until_ms } => {
                record.set_state(State::Held, until_ms);
                until_ms
            }
        };
        if let Some(expires_ms) = expires_ms {
            record.set_times(expires_ms, due_ms);
        }
        record.set_story(story);
        self.insert(id.to_u64(), record);
        if let Some(name) = dedup {
            // By the queue's own time, as where it is repeated: the clock may have been set back.
            self.remember(name, id, id.ms());
        }
        id
    }

    /// A ready message is handed out to a holder that is known, which may raise [`Queue::mark`]; `lease_until_ms`: until when, Unix milliseconds.
    pub fn hand_out(&mut self, id: MessageId, holder: HolderId, lease_until_ms: Option<u64>, now_ms: u64) -> bool {
        let Some(spot) = self.locate_in(id, State::Ready) else { return false };
        if !self.holders.take(holder, id) {
            return false;
        }
        self.save(spot);
        self.unlink(spot, NEVER);
        let key = self.places.key(spot);
        let is_redelivered = key <= self.restart_mark;
        let record = self.places.record_mut(spot);
        if is_redelivered {
            record.set_redelivered();
        }
        record.acquired = record.acquired.saturating_add(1);
        record.set_state(State::Unacked, NEVER);
        let lease_until_ms = lease_until_ms.unwrap_or(NEVER);
        self.pending.insert(id, Pending { holder, since_ms: now_ms, lease_until_ms });
        self.link(spot, lease_until_ms);
        self.mark = self.mark.max(key);
        self.regroup(spot, Some(State::Ready), Some(State::Unacked));
        true
    }

    /// An unacked message comes back: to its place, or to be ready only later. `failed`: its delivery counts as failed.
    pub fn give_back(&mut self, id: MessageId, failed: bool, park_until_ms: Option<u64>) -> bool {
        let Some(spot) = self.locate_in(id, State::Unacked) else { return false };
        self.save(spot);
        self.unlink_pending(spot, id);
        let record = self.places.record_mut(spot);
        record.deliveries = record.deliveries.saturating_add(u16::from(failed));
        let state = if park_until_ms.is_some() { State::Parked } else { State::Ready };
        record.set_state(state, park_until_ms.unwrap_or(NEVER));
        self.link(spot, NEVER);
        self.regroup(spot, Some(State::Unacked), Some(state));
        true
    }

    /// Takes a message out, in whatever state it is. `None` if there is none with this id.
    pub fn remove(&mut self, id: MessageId) -> Option<Removed> {
        let spot = self.locate(id)?;
        Some(self.remove_at(spot, id))
    }

    /// An unacked message is held until another time.
    pub fn extend_lease(&mut self, id: MessageId, until_ms: u64) -> bool {
        let (Some(spot), Some(pending)) = (self.locate_in(id, State::Unacked), self.pending.get_mut(&id)) else {
            return false;
        };
        let before = std::mem::replace(&mut pending.lease_until_ms, until_ms);
        self.unlink(spot, before);
        self.link(spot, until_ms);
        true
    }

    /// An unacked message goes over to another holder that is known, as a further hand-out. Its lease stays as it is.
    pub fn claim(&mut self, id: MessageId, holder: HolderId, now_ms: u64) -> bool {
        let Some(spot) = self.locate_in(id, State::Unacked) else { return false };
        if !self.holders.take(holder, id) {
            return false;
        }
        self.save(spot);
        let record = self.places.record_mut(spot);
        record.acquired = record.acquired.saturating_add(1);
        if let Some(pending) = self.pending.get_mut(&id) {
            let before = std::mem::replace(&mut pending.holder, holder);
            pending.since_ms = now_ms;
            if before != holder {
                self.holders.give(before, id);
            }
        }
        true
    }

    /// A parked message is ready again, at its place.
    pub fn unpark(&mut self, id: MessageId) -> bool {
        let Some(spot) = self.locate_in(id, State::Parked) else { return false };
        self.restate(spot, State::Parked, State::Ready, NEVER);
        true
    }

    /// A delayed message becomes ready, behind all others. Its id stays; what is returned is its new place.
    pub fn fire(&mut self, id: MessageId, now_ms: u64) -> Option<MessageId> {
        let spot = self.locate_in(id, State::Delayed)?;
        let key = self.next_id(now_ms);
        self.move_to(spot, id, key.to_u64());
        Some(key)
    }

    /// A held message becomes ready, behind all others. Its id stays; what is returned is its new place.
    pub fn commit(&mut self, id: MessageId, now_ms: u64) -> Option<MessageId> {
        let spot = self.locate_in(id, State::Held)?;
        let key = self.next_id(now_ms);
        self.move_to(spot, id, key.to_u64());
        Some(key)
    }

    /// [`Queue::fire`] or [`Queue::commit`] as it was done elsewhere. `false` as well if `key` cannot be its place: some
    /// message has it, or no message could.
    pub fn fire_as(&mut self, id: MessageId, key: MessageId) -> bool {
        let spot = self.locate_in(id, State::Delayed).or_else(|| self.locate_in(id, State::Held));
        let Some(spot) = spot else { return false };
        if key == MessageId::MIN || key >= MessageId::END || self.places.find(key.to_u64()).is_some() {
            return false;
        }
        self.move_to(spot, id, key.to_u64());
        self.last = self.last.max(key.to_u64());
        true
    }

    /// A message dies, and stays to try its target again at `retry_ms`. A dead one gets another time, and the reason.
    pub fn die(&mut self, id: MessageId, reason: DeathReason, retry_ms: u64) -> bool {
        let Some(spot) = self.locate(id) else { return false };
        let state = self.places.record(spot).state();
        self.save(spot);
        match state {
            State::Unacked => self.unlink_pending(spot, id),
            _ => self.unlink(spot, NEVER),
        }
        self.places.record_mut(spot).set_dead(reason, retry_ms);
        self.link(spot, NEVER);
        self.regroup(spot, Some(state), Some(State::Dead));
        true
    }

    /// Takes out up to `max` ready messages, those first that are first in line: their ids.
    pub fn purge(&mut self, max: usize) -> Vec<MessageId> {
        let mut purged = Vec::new();
        while purged.len() < max
            && let Some(spot) = self.places.first(Bits::Ready)
        {
            let id = self.id_at(spot);
            self.remove_at(spot, id);
            purged.push(id);
        }
        purged
    }

    /// After a restart: who had messages is gone, so that these are ready again at their places, and everything that may have
    /// been handed out before counts as redelivered. O(number of unacked messages).
    pub fn restarted(&mut self) {
        while let Some((&id, pending)) = self.pending.first_key_value() {
            let holder = pending.holder;
            self.give_back(id, false, None);
            self.holders.forget(holder);
        }
        self.restart_mark = self.mark;
    }

    /// The next id, for a message that comes now. From the year 2109 on, or with a clock that says so, it is no time any more,
    /// so that ids cannot run out.
    fn next_id(&mut self, now_ms: u64) -> MessageId {
        let by_clock = MessageId::new(now_ms.min(MessageId::END.ms() / 2), 0).to_u64();
        self.last = by_clock.max(self.last + 1);
        MessageId::from_u64(self.last)
    }

    pub(super) fn max_priority(&self) -> u8 {
        self.options.max_priority.unwrap_or(0)
    }

    /// Remembers by what a message's producer knows it.
    pub(super) fn remember(&mut self, name: (&[u8], &[u8]), id: MessageId, now_ms: u64) {
        let window = self.rules().dedup;
        let frozen = &mut self.frozen;
        self.dedup.get_or_insert_default().put(name.0, name.1, id, now_ms, window, &mut |number, forgotten| {
            if let Some(frozen) = frozen {
                frozen.save_known(number, forgotten);
            }
        });
    }

    /// Puts a message at a place where none is.
    pub(super) fn insert(&mut self, key: u64, record: Record) {
        let state = record.state();
        self.bytes += record.parcel.body_len() as u64;
        self.parcel_came(&record.parcel);
        let spot = self.places.insert(key, record);
        self.link(spot, NEVER);
        self.regroup(spot, None, Some(state));
    }

    pub(super) fn remove_at(&mut self, spot: Spot, id: MessageId) -> Removed {
        let key = self.places.key(spot);
        let state = self.places.record(spot).state();
        let redelivered = self.is_redelivered(key, self.places.record(spot));
        self.save(spot);
        let holder = self.pending.get(&id).filter(|_| state == State::Unacked).map(|pending| pending.holder);
        match state {
            State::Unacked => self.unlink_pending(spot, id),
            _ => self.unlink(spot, NEVER),
        }
        self.regroup(spot, Some(state), None);
        let mut record = self.take(spot, id);
        self.bytes -= record.parcel.body_len() as u64;
        self.parcel_left(&record.parcel);
        let expires_ms = record.expires_ms();
        Removed {
            id,
            state,
            priority: record.priority,
            expires_ms: (expires_ms != NEVER).then_some(expires_ms),
            acquired: record.acquired,
            deliveries: u32::from(record.deliveries),
            redelivered,
            reason: record.reason(),
            story: record.take_story(),
            parcel: record.parcel,
            holder,
        }
    }

    /// A message that nobody has changes its state where it is.
    pub(super) fn restate(&mut self, spot: Spot, from: State, to: State, due_ms: u64) {
        self.save(spot);
        self.unlink(spot, NEVER);
        self.places.record_mut(spot).set_state(to, due_ms);
        self.link(spot, NEVER);
        self.regroup(spot, Some(from), Some(to));
    }

    /// A message that is in no order yet becomes ready at a place behind all.
    fn move_to(&mut self, spot: Spot, id: MessageId, key: u64) {
        let state = self.places.record(spot).state();
        self.save(spot);
        self.unlink(spot, NEVER);
        let mut record = self.take(spot, id);
        record.set_state(State::Ready, NEVER);
        if key != id.to_u64() {
            record.set_own_id(id);
            self.moved.insert(id.to_u64(), key);
        }
        self.save_absence(key);
        let spot = self.places.insert(key, record);
        self.link(spot, NEVER);
        self.regroup(spot, Some(state), Some(State::Ready));
    }

    /// Takes a record that is not linked.
    pub(super) fn take(&mut self, spot: Spot, id: MessageId) -> Record {
        let record = self.places.take(spot);
        if !self.moved.is_empty() {
            self.moved.remove(&id.to_u64());
        }
        record
    }

    #[inline]
    pub(super) fn locate_in(&self, id: MessageId, state: State) -> Option<Spot> {
        self.locate(id).filter(|&spot| self.places.record(spot).state() == state)
    }

    /// Undoes [`Queue::link`].
    #[inline]
    pub(super) fn unlink(&mut self, spot: Spot, lease_until_ms: u64) {
        let record = self.places.record(spot);
        let state = record.state();
        self.counts[state as usize] -= 1;
        let heap_bytes = record.heap_bytes();
        self.owned_bytes -= heap_bytes;
        if let Some((at_ms, _)) = due_of(record, lease_until_ms) {
            let timeline = if state == State::Ready { &mut self.lives } else { &mut self.timeline };
            timeline.remove(&(at_ms, self.places.key(spot)));
        }
        match state {
            State::Ready => {
                self.ready_owned_bytes -= heap_bytes;
                self.ready_bytes -= record.parcel.body_len() as u64;
                if let Some(values) = &mut self.values {
                    values.leave(&record.parcel, self.places.key(spot));
                }
                self.places.set(spot, Bits::Ready, false);
            }
            State::Dead => self.dead_bytes -= record.parcel.body_len() as u64,
            _ => {}
        }
    }

    /// Counts and lists a message for the state that it is in.
    #[inline]
    pub(super) fn link(&mut self, spot: Spot, lease_until_ms: u64) {
        let record = self.places.record(spot);
        let state = record.state();
        self.counts[state as usize] += 1;
        let heap_bytes = record.heap_bytes();
        self.owned_bytes += heap_bytes;
        if let Some((at_ms, _)) = due_of(record, lease_until_ms) {
            let timeline = if state == State::Ready { &mut self.lives } else { &mut self.timeline };
            timeline.insert((at_ms, self.places.key(spot)));
        }
        match state {
            State::Ready => {
                self.ready_owned_bytes += heap_bytes;
                self.ready_bytes += record.parcel.body_len() as u64;
                if let Some(values) = &mut self.values {
                    values.enter(&record.parcel, self.places.key(spot));
                }
                self.places.set(spot, Bits::Ready, true);
            }
            State::Dead => self.dead_bytes += record.parcel.body_len() as u64,
            _ => {}
        }
    }

    /// Undoes [`Queue::link`] for an unacked message, and takes it from its holder.
    pub(super) fn unlink_pending(&mut self, spot: Spot, id: MessageId) {
        let lease_until_ms = self.pending.remove(&id).map_or(NEVER, |pending| {
            self.holders.give(pending.holder, id);
            pending.lease_until_ms
        });
        self.unlink(spot, lease_until_ms);
    }

    /// Tells its group of a change, and offers whom the group lets go first now. Without a group it is offered while it is
    /// ready.
    #[inline]
    pub(super) fn regroup(&mut self, spot: Spot, from: Option<State>, to: Option<State>) {
        let Some(groups) = &mut self.groups else { return };
        let places = &self.places;
        let Some(name) = places.record(spot).parcel.group() else {
            let is_offered = to == Some(State::Ready);
            if places.has(spot, Bits::Offered) != is_offered {
                self.places.set(spot, Bits::Offered, is_offered);
            }
            return;
        };
        let is_ready = |key| places.find(key).is_some_and(|spot| places.record(spot).state() == State::Ready);
        let offers = groups.change(name, places.key(spot), from, to, is_ready);
        for (key, is_offered) in [(offers.off, false), (offers.on, true)] {
            if let Some(spot) = key.and_then(|key| self.places.find(key)) {
                self.places.set(spot, Bits::Offered, is_offered);
            }
        }
    }

    /// Before a message is changed: kept as it is if it is still to be given.
    #[inline]
    pub(super) fn save(&mut self, spot: Spot) {
        if let Some(frozen) = &mut self.frozen {
            frozen.save(self.places.key(spot), Some(self.places.record(spot)));
        }
    }

    /// Before a message is put at a place.
    #[inline]
    pub(super) fn save_absence(&mut self, key: u64) {
        if let Some(frozen) = &mut self.frozen {
            frozen.save(key, None);
        }
    }
}
