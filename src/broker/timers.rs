//! What time does to queues: delayed messages take their places, leases end, messages and queues expire.
//!
//! Every queue knows when something in it is due first; the places keep one alarm for each queue that has such a moment.

use super::Broker;
use super::places::PlaceKind;
use crate::command::effects::Effects;
use crate::command::ground::{Ground, now_ms};
use crate::store::Store;
use std::sync::Arc;

/// So many messages of a queue have their turn before other queues have theirs.
const MESSAGES_A_TURN: usize = 64;
/// So many queues hear of a policy in a row.
const QUEUES_A_TURN: usize = 64;

impl Broker {
    /// When something is due next in any queue, in Unix ms.
    pub fn next_alarm_ms(&self) -> Option<u64> {
        let queues = self.databases.iter().filter_map(super::Places::next_alarm_ms);
        queues.chain(self.schedules.next_ms()).chain(self.tasks.next_ms()).min()
    }

    /// Does what is due in one queue, a slice of it. Gives the database in which that was; `None` if nothing is due.
    pub fn run_alarm(&mut self, store: &mut Store, effects: &mut Effects) -> Option<usize> {
        let now_ms = now_ms(store);
        for db in 0..self.databases.len() {
            let Some(uid) = self.places(db).take_alarm(now_ms) else { continue };
            let Some(place) = self.places(db).get(uid) else { continue };
            let name = Arc::clone(&place.name);
            let mut ground = Ground { store, effects, db };
            ground.effects.feed_nothing();
            for _ in 0..MESSAGES_A_TURN {
                let due = match ground.queue(&name) {
                    Ok(Some(queue)) => queue.first_due().filter(|(at_ms, ..)| *at_ms <= now_ms),
                    _ => None,
                };
                let Some((_, id, due)) = due else { break };
                // Something else at the key would have been noted: then the queue is gone.
                if self.act(&mut ground, &name, id, due).is_err() {
                    break;
                }
            }
            self.expire_queue(&mut ground, &name, uid);
            self.set_alarm(&ground, &name, uid);
            return Some(db);
        }
        None
    }

    /// Lets some queues hear of policies that have changed. Gives the database in which they are; `None` if all have.
    pub fn go_on_with_policies(&mut self, store: &mut Store, effects: &mut Effects) -> Option<usize> {
        let (db, from) = self.policies.sweep.take()?;
        let places = self.databases.get(db)?;
        let names: Vec<_> = places
            .names_from(PlaceKind::Queue, &from)
            .map(|(name, uid)| (Arc::clone(name), uid))
            .take(QUEUES_A_TURN)
            .collect();
        self.policies.sweep = Some(match names.last() {
            Some((last, _)) => (db, [last, b"\0".as_slice()].concat()),
            None => (db + 1, Vec::new()),
        });
        let mut ground = Ground { store, effects, db };
        ground.effects.feed_nothing();
        for (name, uid) in names {
            let key = ground.store.key(&name);
            // What is there is a queue; its rules are looked at before anything is done to it.
            let _ = self.change(&mut ground, key, |_| (false, ()));
            self.set_alarm(&ground, &name, uid);
            let _ = self.has_news(&mut ground, &name);
        }
        Some(db)
    }

    /// Whether queues have not heard of policies yet.
    pub fn has_news_of_policies(&self) -> bool {
        self.policies.sweep.is_some()
    }

    /// Removes a queue that nobody has used for as long as its rules say.
    fn expire_queue(&mut self, ground: &mut Ground<'_>, name: &[u8], uid: u64) {
        let Ok(Some(queue)) = ground.queue(name) else { return };
        let Some(expires_ms) = queue.rules().expires_ms else { return };
        let now_ms = ground.now_ms();
        let unused = self
            .places(ground.db)
            .get(uid)
            .is_some_and(|place| !place.has_consumers() && place.used_ms.saturating_add(expires_ms) <= now_ms);
        if unused {
            self.delete(ground, name, PlaceKind::Queue);
        }
    }

    /// Sets the alarm of a queue to what is due in it next.
    fn set_alarm(&mut self, ground: &Ground<'_>, name: &[u8], uid: u64) {
        let Ok(Some(queue)) = ground.queue(name) else { return };
        let (due, expires_ms) = (queue.first_due().map(|(ms, ..)| ms), queue.rules().expires_ms);
        let places = self.places(ground.db);
        let expires = places.get(uid).zip(expires_ms).map(|(place, ms)| place.used_ms.saturating_add(ms));
        places.alarm(uid, due);
        // While somebody consumes, it does not expire: it is looked at again in a while.
        let now_ms = ground.now_ms();
        places.alarm(uid, expires.map(|at| at.max(now_ms.saturating_add(1))));
    }

    /// A queue is in use.
    pub fn used(&mut self, ground: &Ground<'_>, name: &[u8]) {
        let now_ms = ground.now_ms();
        let Ok(Some(queue)) = ground.queue(name) else { return };
        if let Some(place) = self.places(ground.db).get_mut(queue.uid()) {
            place.used_ms = now_ms;
        }
    }
}
