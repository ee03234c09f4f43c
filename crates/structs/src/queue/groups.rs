//! Groups: messages that go one at a time, in order.
//!
//! ```text
//!  group "a"    12 unacked   17 ready   31 ready       nobody is offered: 12 is out
//!  group "b"    14 ready     15 ready                  14 is offered
//!  group "c"    13 parked    16 ready                  nobody is offered: 13 comes first
//! ```
//!
//! A group knows the places of its messages that are ready, parked or unacked. What is delayed or held is not in order yet;
//! what is dead does not hold back others.
//!
//! What must stay true: of a group the first message is offered, if it is ready and none is out; no other one ever is.

use std::collections::BTreeMap;

use super::State;
use super::keys::Keys;

/// What a group takes beside its name, about: its entry in the tree, with its slack.
const GROUP_BYTES: usize = (size_of::<(Box<[u8]>, Group)>()) * 3 / 2 + 16;
/// What a message takes in its group, about.
const MEMBER_BYTES: usize = 12;

/// The groups of a queue.
#[derive(Clone, Debug, Default)]
pub(super) struct Groups {
    by_name: BTreeMap<Box<[u8]>, Group>,
    bytes: usize,
}

#[derive(Clone, Debug, Default)]
struct Group {
    members: Keys,
    /// How many of them are unacked.
    out: u32,
    offered: Option<u64>,
}

/// What is to be done after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offers {
    /// This one is offered no more.
    pub(super) off: Option<u64>,
    /// This one is offered now.
    pub(super) on: Option<u64>,
}

impl Groups {
    /// A message of a group was in one state, and is in another one; `None`: was not there, is not there any more.
    /// `is_ready` tells whether the message at a place is ready.
    pub(super) fn change(
        &mut self,
        name: &[u8],
        key: u64,
        from: Option<State>,
        to: Option<State>,
        is_ready: impl FnOnce(u64) -> bool,
    ) -> Offers {
        let is_member = |state: &State| matches!(state, State::Ready | State::Parked | State::Unacked);
        let (from, to) = (from.filter(is_member), to.filter(is_member));
        if !self.by_name.contains_key(name) {
            if to.is_none() {
                return Offers { off: None, on: None };
            }
            self.bytes += GROUP_BYTES + name.len();
            self.by_name.insert(name.into(), Group::default());
        }
        let Some(group) = self.by_name.get_mut(name) else { return Offers { off: None, on: None } };
        group.out += u32::from(to == Some(State::Unacked));
        group.out -= u32::from(from == Some(State::Unacked));
        match (from, to) {
            (None, Some(_)) => {
                group.members.insert(key);
                self.bytes += MEMBER_BYTES;
            }
            (Some(_), None) => {
                group.members.remove(key);
                self.bytes -= MEMBER_BYTES;
            }
            _ => {}
        }
        let first = if group.out == 0 { group.members.first() } else { None };
        let offered = first.filter(|first| is_ready(*first));
        let before = std::mem::replace(&mut group.offered, offered);
        if group.members.is_empty() {
            self.by_name.remove(name);
            self.bytes -= GROUP_BYTES + name.len();
        }
        match before == offered {
            true => Offers { off: None, on: None },
            false => Offers { off: before, on: offered },
        }
    }

    /// Number of groups.
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Bytes on the heap, about.
    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes
    }
}
