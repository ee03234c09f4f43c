//! CLIENT PAUSE: holding back commands for a while.

/// What is held back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Held {
    /// Commands that may change data.
    Writes,
    /// Everything.
    All,
}

/// The pause in force.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Pause {
    current: Option<(Held, i64)>,
}

impl Pause {
    /// Pauses until `until_ms` (unix). A pause that is already on is never shortened, and never weakened from all
    /// commands to writes.
    pub fn begin(&mut self, held: Held, until_ms: i64) {
        self.current = Some(match self.current {
            None => (held, until_ms),
            Some((old, old_until)) => (old.max(held), old_until.max(until_ms)),
        });
    }

    /// Ends it.
    pub fn end(&mut self) {
        self.current = None;
    }

    /// What is held back, and until when (unix ms).
    pub fn current(&self) -> Option<(Held, i64)> {
        self.current
    }

    /// Ends it if its time is over. Returns whether it ended now.
    pub fn expire(&mut self, now_ms: i64) -> bool {
        let over = self.current.is_some_and(|(_, until)| until <= now_ms);
        if over {
            self.current = None;
        }
        over
    }
}
