//! Driving the observers of the registry: what they are told goes out to their clients.
//!
//! At the end of a turn all who are behind are served, for about a millisecond; before a command of a client that
//! observes, that client is. A client that does not take what it is sent rests, and goes on from history when it does.
//! Polls that have an answer are run again.

use super::Server;
use super::client::{ClientFlags, ClientId, Slot};
use crate::command::ground::now_ms;
use crate::registry::observers::{LastAnswer, OUTPUT_BYTES_MAX, Served};

/// At the end of a turn observers are served until it has lasted so many microseconds,
const DELIVER_UNTIL_US: u64 = 1_500;
/// but for so many in any case.
const DELIVER_US: u64 = 500;
/// Before that, those who have heard nothing for long are looked for, for so many microseconds.
const ALARMS_US: u64 = 500;
/// One client is brought up for so many microseconds; then its command waits for the next turn.
const BRING_UP_US: u64 = 1_000;
/// Histories are cut although observers are behind that do not rest, after having waited for them for so many turns.
const TRIM_PATIENCE: u32 = 256;

/// What is known of the delivery.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    /// Turns for which histories that are to be cut have waited for observers.
    trims_waited: u32,
}

impl Server {
    /// Before a command of a client that observes: what it has not been told comes first. Says whether that is all.
    #[inline]
    pub(super) fn bring_up(&mut self, slot: Slot) -> bool {
        !self.registry.observers.has_work() || self.bring_up_to_date(slot, BRING_UP_US)
    }

    /// The same before a client that waits is answered, for as long as it takes.
    #[inline]
    pub(super) fn bring_up_waiter(&mut self, slot: Slot) {
        if self.registry.observers.has_work()
            && self.clients.get(slot).is_some_and(|client| client.flags.contains(ClientFlags::OBSERVES))
        {
            self.bring_up_to_date(slot, u64::MAX);
        }
    }

    #[cold]
    fn bring_up_to_date(&mut self, slot: Slot, us: u64) -> bool {
        let Some(client) = self.clients.get(slot).map(|client| client.id) else { return true };
        let enough = self.stats.now().saturating_add(self.stats.ticks_of_us(us));
        let mut messages = Vec::new();
        let Server { registry, store, stats, .. } = self;
        let send = &mut |message| messages.push(message);
        let served = registry.bring_up(client.0, store, &mut || stats.now() < enough, send);
        for message in messages {
            if message.durable {
                self.confirm_what_waits(slot);
            }
            self.push(slot, message.bytes);
        }
        served == Served::Done
    }

    /// At the end of a turn: what observers are to be told, and polls that have an answer.
    pub(super) fn tend_observers(&mut self) {
        if self.registry.observers.is_empty() && !self.observers_want_time() || self.is_loading() {
            return;
        }
        let now_ms = now_ms(&self.store);
        if self.registry.observers.next_alarm_ms().is_some_and(|at_ms| at_ms <= now_ms) {
            let enough = self.stats.now().saturating_add(self.stats.ticks_of_us(ALARMS_US));
            let Server { registry, stats, .. } = self;
            registry.observers.run_alarms(now_ms, &mut || stats.now() < enough);
        }
        let left_us = DELIVER_UNTIL_US.saturating_sub(self.turn_us()).max(DELIVER_US);
        let enough = self.stats.now().saturating_add(self.stats.ticks_of_us(left_us));
        self.deliver(enough);
        while let Some(LastAnswer { client, store, epoch, revision }) = self.registry.observers.take_answer() {
            self.tell_waiter(ClientId(client), |reply| {
                let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
                reply.map(1);
                reply.bulk(&store);
                reply.map(3);
                reply.text("epoch");
                reply.int(number(epoch));
                reply.text("revision");
                reply.int(number(revision));
                reply.text("events");
                reply.array(0);
            });
        }
        if self.scripts.is_suspended() || self.is_serving() || self.is_migrating() {
            return;
        }
        while let Some(client) = self.registry.observers.take_woken() {
            self.wake(ClientId(client));
            if self.stats.now() >= enough {
                break;
            }
        }
    }

    /// Serves observers until a moment.
    fn deliver(&mut self, enough: u64) {
        if !self.registry.observers.has_work() {
            return;
        }
        let mut messages = Vec::new();
        let Server { registry, store, stats, .. } = self;
        let send = &mut |client, message| messages.push((client, message));
        registry.deliver(store, &mut || stats.now() < enough, send);
        for (client, message) in messages {
            let Some(slot) = self.clients.slot_of(ClientId(client)) else { continue };
            if message.durable {
                self.confirm_what_waits(slot);
            }
            self.push(slot, message.bytes);
        }
    }

    /// Before history goes: whoever does not rest is told what is in it.
    pub(super) fn deliver_before_compaction(&mut self) {
        self.deliver(u64::MAX);
    }

    /// Whether histories may be cut now: not while observers are behind that will not be for long.
    pub(super) fn may_trim(&mut self) -> bool {
        if self.registry.observers.has_work() && self.delivery.trims_waited < TRIM_PATIENCE {
            self.delivery.trims_waited += 1;
            return false;
        }
        self.delivery.trims_waited = 0;
        true
    }

    /// Whether there is work that did not fit into the turn.
    #[inline]
    fn observers_want_time(&self) -> bool {
        let observers = &self.registry.observers;
        observers.has_work() || observers.has_woken() || observers.has_answers()
    }

    /// When observers are to be looked after next, in Unix ms.
    pub(super) fn observers_alarm_ms(&self) -> Option<i64> {
        if self.observers_want_time() {
            return Some(self.store.now_ms());
        }
        self.registry.observers.next_alarm_ms().map(|at_ms| i64::try_from(at_ms).unwrap_or(i64::MAX))
    }

    /// A client's output has grown or shrunk, or it begins to observe: with much that waits for it, it rests. Where its
    /// connection would be ended for that, it rests long before.
    pub(super) fn mind_observer(&mut self, slot: Slot) {
        let Some(client) = self.clients.get(slot).filter(|client| client.flags.contains(ClientFlags::OBSERVES)) else {
            return;
        };
        let (id, waiting) = (client.id, client.io.output_bytes);
        let limit = self.output_limit(slot);
        let ends_at = [limit.hard_bytes, limit.soft_bytes].into_iter().filter(|bytes| *bytes > 0).min();
        let rests_at = ends_at.map_or(u64::from(OUTPUT_BYTES_MAX), |bytes| bytes / 2);
        self.registry.observers.set_waiting(id.0, waiting, usize::try_from(rests_at).unwrap_or(usize::MAX));
    }

    /// A client begins to observe something.
    pub(super) fn observes(&mut self, slot: Slot) {
        if let Some(client) = self.clients.get_mut(slot) {
            client.flags.insert(ClientFlags::OBSERVES);
        }
        self.mind_observer(slot);
    }

    /// A client observes nothing any more, and is not told so.
    pub(super) fn end_observing(&mut self, slot: Slot) {
        if let Some(client) = self.clients.get_mut(slot)
            && client.flags.contains(ClientFlags::OBSERVES)
        {
            client.flags.remove(ClientFlags::OBSERVES);
            self.registry.observers.client_gone(client.id.0);
        }
    }
}
