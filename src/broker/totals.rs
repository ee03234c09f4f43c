//! What is in all queues, and what has happened to messages since the start.

use weir_structs::queue::{Counters, Figures};

/// Messages of all queues of a database, by their state.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Totals(pub(super) Figures);

/// The fields of figures, each with that of others.
macro_rules! each_figure {
    ($one:expr, $other:expr, $how:ident) => {
        Figures {
            ready: $one.ready.$how($other.ready),
            unacked: $one.unacked.$how($other.unacked),
            delayed: $one.delayed.$how($other.delayed),
            parked: $one.parked.$how($other.parked),
            held: $one.held.$how($other.held),
            dead: $one.dead.$how($other.dead),
            dead_bytes: $one.dead_bytes.$how($other.dead_bytes),
            ready_bytes: $one.ready_bytes.$how($other.ready_bytes),
            bytes: $one.bytes.$how($other.bytes),
            away_bytes: $one.away_bytes.$how($other.away_bytes),
        }
    };
}

impl Totals {
    /// A queue's figures went from `before` to `after`.
    #[inline]
    pub(super) fn moved(&mut self, before: Figures, after: Figures) {
        let with = each_figure!(self.0, after, wrapping_add);
        self.0 = each_figure!(with, before, wrapping_sub);
    }

    /// All of them together.
    pub fn figures(self) -> Figures {
        self.0
    }

    /// Takes another's in.
    pub(super) fn add(&mut self, other: Totals) {
        self.0 = each_figure!(self.0, other.0, wrapping_add);
    }
}

/// What has happened since the start, or since somebody began to count anew.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Happened {
    /// To messages of all queues, those included that are gone.
    pub messages: Counters,
    /// Messages that a publisher was told were not routed anywhere.
    pub unroutable: u64,
}
