//! All that is ready goes at once.
//!
//! ```text
//!  before   places [ u r r r d r r ... ]    lives, values, groups
//!  after    places [ u d ]                  none, none, those of u        what is dropped: the table as it was
//! ```
//!
//! Messages are not taken out one by one: the queue gets another table with what stays in it, and the old one is handed out,
//! to be dropped where nobody waits for it. What is counted of ready messages is set to nothing.

use std::collections::HashSet;

use super::places::Places;
use super::record::{NEVER, Record};
use super::{MessageId, Queue, State};
use crate::frozen::Kept;

impl Queue {
    /// Takes out all ready messages. Says how many they were, and gives what is left of them, to be dropped elsewhere. O(1) if all
    /// messages are ready; else O(n / 64 + m log m), m being the number of those that are not.
    pub fn purge_ready(&mut self) -> (u64, Kept) {
        let count = self.counts[State::Ready as usize];
        if count == 0 {
            return (0, Box::new(()));
        }
        let staying = self.len() - count;
        let keeps = self.frozen.as_ref().is_some_and(|frozen| frozen.wants_table());
        let was = self.places.part_with_ready(staying, keeps);
        let owned_bytes = self.owned_bytes;
        self.counts[State::Ready as usize] = 0;
        self.bytes -= std::mem::take(&mut self.ready_bytes);
        self.owned_bytes -= std::mem::take(&mut self.ready_owned_bytes);
        self.ready_left();
        let lives = std::mem::take(&mut self.lives);
        let values = self.values.as_mut().map(|values| values.forget());
        let moved = std::mem::take(&mut self.moved);
        if staying > 0 && !moved.is_empty() {
            let own = |(key, record): (u64, &Record)| record.own_id().map(|id| (id.to_u64(), key));
            self.moved = self.places.from(0).filter_map(own).collect();
        }
        let groups = self.groups.as_mut().map(std::mem::take);
        if groups.is_some() {
            for id in self.out_of_line() {
                if let Some(spot) = self.locate(id) {
                    let state = self.places.record(spot).state();
                    self.regroup(spot, None, Some(state));
                }
            }
        }
        let was = self.give_table(was, keeps, owned_bytes);
        (count, Box::new((was, lives, values, moved, groups)))
    }

    /// Keeps the old table for whoever reads the queue as it was; otherwise gives it back.
    fn give_table(&mut self, was: Places, keeps: bool, owned_bytes: usize) -> Option<Places> {
        match &mut self.frozen {
            Some(frozen) if keeps => {
                frozen.keep_table(was, owned_bytes);
                None
            }
            _ => Some(was),
        }
    }

    /// Messages that have been in line and are not in it now: those that are unacked or parked. They are ready, or may be, where
    /// what happens is repeated. O(number of messages that are not ready).
    pub fn out_of_line(&self) -> Vec<MessageId> {
        let mut ids: Vec<MessageId> = self.pending.keys().copied().collect();
        let parked = usize::try_from(self.counts[State::Parked as usize]).unwrap_or(usize::MAX);
        if parked > 0 {
            let out = ids.len();
            let spots = self.timeline.iter().filter_map(|&(_, key)| self.places.find(key));
            let spots = spots.filter(|&spot| self.places.record(spot).state() == State::Parked);
            ids.extend(spots.map(|spot| self.id_at(spot)));
            if ids.len() - out < parked {
                // Who is parked until the end of all time is not due.
                ids.truncate(out);
                let records = self.places.from(0).filter(|(_, record)| record.state() == State::Parked);
                ids.extend(records.map(|(key, record)| record.own_id().unwrap_or(MessageId::from_u64(key))));
            }
        }
        ids
    }

    /// [`Queue::purge_ready`] as it was done elsewhere: what is ready or parked here was ready there, apart from `others`.
    pub fn purge_others(&mut self, others: &[MessageId]) -> Kept {
        let known: HashSet<MessageId> = others.iter().copied().collect();
        for id in self.out_of_line() {
            if !known.contains(&id) {
                self.unpark(id);
            }
        }
        let stay: Vec<MessageId> = others.iter().copied().filter(|&id| self.park(id, NEVER - 1)).collect();
        let (_, rest) = self.purge_ready();
        for id in stay {
            self.unpark(id);
        }
        rest
    }
}
