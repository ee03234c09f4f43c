//! A queue is emptied: everything that is ready goes in one step, however much it is, and is freed elsewhere.

use super::Broker;
use crate::command::error::Error;
use crate::command::ground::Ground;
use weir_structs::queue::{Left, MessageId};

/// So many messages that are not ready are named to whoever repeats a purge. Where there are more, those are named that go.
const NAMED_MAX: u64 = 100_000;

impl Broker {
    /// Removes all ready messages. Says how many they were. Takes time for those that are unacked or parked; for others only if
    /// there are very many of these.
    ///
    /// # Errors
    /// There is no such queue.
    pub fn purge(&mut self, ground: &mut Ground<'_>, name: &[u8]) -> Result<u64, Error> {
        let queue = ground.queue(name)?.ok_or_else(|| Error::mq_no_queue(name))?;
        let figures = queue.figures();
        if figures.ready == 0 {
            return Ok(0);
        }
        let names_others = figures.unacked.saturating_add(figures.parked) <= NAMED_MAX;
        let feeds = ground.effects.feeds();
        let others = if feeds && names_others { queue.out_of_line() } else { Vec::new() };
        let gone: Vec<MessageId> = if feeds && !names_others { queue.ready_ids().collect() } else { Vec::new() };
        let key = ground.store.key(name);
        let purged = self.change(ground, key, |queue| {
            let purged = queue.purge_ready();
            queue.counters_mut().count_left(Left::Dropped, purged.0);
            (true, purged)
        })?;
        let (count, rest) = purged.ok_or_else(|| Error::mq_no_queue(name))?;
        ground.store.discard_elsewhere(rest);
        self.happened.messages.count_left(Left::Dropped, count);
        ground.effects.changed(count);
        if names_others {
            self.feed_purge(ground, name, &others);
        } else {
            self.feed_end(ground, name, &gone);
        }
        Ok(count)
    }
}
