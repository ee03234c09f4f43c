//! Who is told of progress although nothing happens, and who wants to know before history goes.
//!
//! An observer that asked for it hears at least once in its period up to where it has seen everything: so it can tell a quiet
//! store from a dead connection, and come back with a revision that is still known. A timer that goes off looks whether there
//! were frames meanwhile; so frames cost no timer anything.

use hashbrown::HashMap;
use std::collections::BTreeSet;
use weir_structs::tree::Revision;

/// Told so often, in ms, who does not say how often.
pub(super) const PERIOD_MS: u64 = 600_000;

/// What is known of one observer.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// How often it is to hear something; 0: not by time.
    period_ms: u64,
    heard_ms: u64,
    due_ms: u64,
    /// Under which revision its place has it among those who are to know before that goes.
    idle_at: Revision,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Paces {
    by_observer: HashMap<u32, Pace, foldhash::fast::FixedState>,
    timers: BTreeSet<(u64, u32)>,
}

/// A period of the default length, up to a tenth shorter or longer, so that those who came together do not stay together.
pub(super) fn default_period_ms(random: u64) -> u64 {
    let tenth = PERIOD_MS / 10;
    PERIOD_MS - tenth + random % (2 * tenth + 1)
}

impl Paces {
    /// An observer is to be told at least every so many ms, if that is not 0.
    pub(super) fn add(&mut self, at: u32, period_ms: u64, now_ms: u64, idle_at: Revision) {
        let due_ms = now_ms.saturating_add(period_ms);
        if period_ms > 0 {
            self.timers.insert((due_ms, at));
        }
        self.by_observer.insert(at, Pace { period_ms, heard_ms: now_ms, due_ms, idle_at });
    }

    /// An observer is gone. Gives under which revision its place has it.
    pub(super) fn remove(&mut self, at: u32) -> Option<Revision> {
        if self.by_observer.is_empty() {
            return None;
        }
        let pace = self.by_observer.remove(&at)?;
        self.timers.remove(&(pace.due_ms, at));
        Some(pace.idle_at)
    }

    /// An observer was sent something.
    #[inline]
    pub(super) fn heard(&mut self, at: u32, now_ms: u64) {
        if let Some(pace) = self.by_observer.get_mut(&at) {
            pace.heard_ms = now_ms;
        }
    }

    /// Its place has an observer under another revision from now on.
    pub(super) fn idle_at(&mut self, at: u32, revision: Revision) {
        if let Some(pace) = self.by_observer.get_mut(&at) {
            pace.idle_at = revision;
        }
    }

    /// When a timer goes off next, in Unix ms.
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.timers.first().map(|(ms, _)| *ms)
    }

    /// Takes a timer that is due: an observer that has heard nothing for its period.
    pub(super) fn take_due(&mut self, now_ms: u64) -> Option<u32> {
        loop {
            let &(due_ms, at) = self.timers.first().filter(|(due_ms, _)| *due_ms <= now_ms)?;
            self.timers.pop_first();
            let Some(pace) = self.by_observer.get_mut(&at) else { continue };
            let over_ms = pace.heard_ms.saturating_add(pace.period_ms);
            let is_over = over_ms <= due_ms;
            pace.due_ms = if is_over { now_ms.saturating_add(pace.period_ms) } else { over_ms };
            self.timers.insert((pace.due_ms, at));
            if is_over {
                return Some(at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_heard_nothing_for_a_period_is_due_and_who_did_is_not() {
        let mut paces = Paces::default();
        paces.add(1, 100, 1_000, 7);
        paces.add(2, 100, 1_000, 8);
        paces.add(3, 0, 1_000, 9);
        paces.heard(2, 1_050);
        assert_eq!(paces.next_ms(), Some(1_100));
        assert_eq!(paces.take_due(1_099), None);
        assert_eq!(paces.take_due(1_100), Some(1));
        assert_eq!(paces.take_due(1_100), None);
        assert_eq!(paces.next_ms(), Some(1_150));
        assert_eq!(paces.take_due(1_160), Some(2));
        assert_eq!(paces.remove(2), Some(8));
        assert_eq!(paces.remove(3), Some(9));
        assert_eq!(paces.remove(3), None);
        assert_eq!(paces.next_ms(), Some(1_200));
    }

    #[test]
    fn default_periods_differ_by_a_tenth_at_most() {
        for random in [0, 1, 77_777, u64::MAX] {
            assert!((540_000..=660_000).contains(&default_period_ms(random)));
        }
    }
}
