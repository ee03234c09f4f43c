//! Which fields of a hash have deadlines, the earliest first.

use std::collections::BTreeMap;

use crate::members::MemberPtr;

/// Members in the order of their deadlines, in ms.
///
/// Knows where members are, and never looks at one: whoever moves or removes one, or changes its deadline, says so here.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    order: BTreeMap<(i64, usize), MemberPtr>,
}

// SAFETY: the pointers are addresses here, which nothing follows.
unsafe impl Send for Deadlines {}

/// What an entry of a tree of this kind takes, its share of nodes that are not full included.
const ENTRY_BYTES: usize = 36;

impl Deadlines {
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn insert(&mut self, deadline_ms: i64, member: MemberPtr) {
        self.order.insert((deadline_ms, place(member)), member);
    }

    pub(super) fn remove(&mut self, deadline_ms: i64, member: MemberPtr) {
        self.order.remove(&(deadline_ms, place(member)));
    }

    /// The earliest.
    pub(super) fn first(&self) -> Option<(i64, MemberPtr)> {
        self.order.first_key_value().map(|(&(deadline_ms, _), &member)| (deadline_ms, member))
    }

    /// How many deadlines are at `now_ms` or before.
    pub(super) fn due(&self, now_ms: i64) -> usize {
        match self.first() {
            Some((first_ms, _)) if first_ms <= now_ms => self.order.range(..=(now_ms, usize::MAX)).count(),
            _ => 0,
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.order.len() * ENTRY_BYTES
    }
}

fn place(member: MemberPtr) -> usize {
    member.address().as_ptr().addr()
}
