//! Keys that somebody waits for.
//!
//! Only those cost anything: a change of one is noted, in order, and whoever serves the waiters takes the notes.

use hashbrown::HashMap;

#[derive(Debug, Default)]
struct Awaited {
    waiters: u32,
    noted: bool,
}

/// Keys of one database that are waited for, by position. A change of another key with the same position is noted too,
/// which is harmless: whoever serves the waiters looks what is there.
#[derive(Debug, Default)]
pub(super) struct AwaitedKeys {
    awaited: HashMap<u64, Awaited>,
    /// Positions of changed ones, in the order of their first change.
    changed: Vec<u64>,
}

impl AwaitedKeys {
    /// Somebody waits for a key from now on.
    pub(super) fn add(&mut self, position: u64) {
        self.awaited.entry(position).or_default().waiters += 1;
    }

    /// The end of one [`AwaitedKeys::add`].
    pub(super) fn remove(&mut self, position: u64) {
        if let Some(awaited) = self.awaited.get_mut(&position) {
            awaited.waiters -= 1;
            if awaited.waiters == 0 {
                self.awaited.remove(&position);
            }
        }
    }

    /// Notes the change of a key, if anybody waits for it.
    #[inline]
    pub(super) fn touch(&mut self, position: u64) {
        if !self.awaited.is_empty() {
            self.note(position);
        }
    }

    #[cold]
    fn note(&mut self, position: u64) {
        if let Some(awaited) = self.awaited.get_mut(&position).filter(|a| !a.noted) {
            awaited.noted = true;
            self.changed.push(position);
        }
    }

    /// Notes the change of all keys that `changed` names.
    pub(super) fn touch_where(&mut self, changed: impl Fn(u64) -> bool) {
        let positions: Vec<u64> = self.awaited.keys().copied().filter(|&position| changed(position)).collect();
        for position in positions {
            self.note(position);
        }
    }

    /// The changed ones, in order; what changes from now on is noted anew.
    pub(super) fn take_changed(&mut self) -> Vec<u64> {
        for position in &self.changed {
            if let Some(awaited) = self.awaited.get_mut(position) {
                awaited.noted = false;
            }
        }
        std::mem::take(&mut self.changed)
    }
}
