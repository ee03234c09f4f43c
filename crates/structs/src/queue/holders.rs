//! Who has messages that were handed out, and which.
//!
//! Names and consumers' numbers are kept once; a pending message has a [`HolderId`]. A holder with a name is forgotten as
//! soon as it has nothing left, or if it never got anything, when the next one is asked for: names come from clients, and
//! must not stay. A consumer is known until it is forgotten on purpose: it will get more.

use std::collections::{BTreeMap, BTreeSet};

use super::{Holder, HolderId, MessageId};

/// What a holder takes beside its name and messages, about.
const HOLDER_BYTES: usize = (size_of::<(u64, Known)>() + size_of::<(Box<[u8]>, u64)>()) * 3 / 2;
/// What a message takes at its holder, about.
const HELD_BYTES: usize = 12;

/// The holders of a queue.
#[derive(Clone, Debug, Default)]
pub(super) struct Holders {
    known: BTreeMap<HolderId, Known>,
    named: BTreeMap<Box<[u8]>, HolderId>,
    consumers: BTreeMap<u64, HolderId>,
    /// A named one that has not got anything yet.
    unused: Option<HolderId>,
    last: u64,
    bytes: usize,
}

#[derive(Clone, Debug)]
struct Known {
    name: Name,
    held: BTreeSet<MessageId>,
}

#[derive(Clone, Debug)]
enum Name {
    Named(Box<[u8]>),
    Consumer(u64),
}

impl Holders {
    /// The holder with this name, who is known from now on.
    pub(super) fn id(&mut self, name: Holder<'_>) -> HolderId {
        let known = match name {
            Holder::Named(name) => self.named.get(name).copied(),
            Holder::Consumer(number) => self.consumers.get(&number).copied(),
        };
        if let Some(unused) = self.unused.filter(|unused| Some(*unused) != known) {
            self.unused = None;
            self.forget(unused);
        }
        if let Some(known) = known {
            return known;
        }
        self.last += 1;
        let id = HolderId(self.last);
        self.bytes += HOLDER_BYTES;
        let name = match name {
            Holder::Named(name) => {
                self.named.insert(name.into(), id);
                self.unused = Some(id);
                self.bytes += 2 * name.len();
                Name::Named(name.into())
            }
            Holder::Consumer(number) => {
                self.consumers.insert(number, id);
                Name::Consumer(number)
            }
        };
        self.known.insert(id, Known { name, held: BTreeSet::new() });
        id
    }

    /// Who it is; `None` if it was forgotten.
    pub(super) fn name(&self, id: HolderId) -> Option<Holder<'_>> {
        Some(match &self.known.get(&id)?.name {
            Name::Named(name) => Holder::Named(name),
            Name::Consumer(number) => Holder::Consumer(*number),
        })
    }

    /// What it has, in the order of ids.
    pub(super) fn held_by(&self, id: HolderId) -> impl Iterator<Item = MessageId> + '_ {
        self.known.get(&id).into_iter().flat_map(|known| known.held.iter().copied())
    }

    /// How much it has.
    pub(super) fn held_count(&self, id: HolderId) -> usize {
        self.known.get(&id).map_or(0, |known| known.held.len())
    }

    /// It has got a message. `false` if it is not known.
    #[inline]
    pub(super) fn take(&mut self, id: HolderId, message: MessageId) -> bool {
        let Some(known) = self.known.get_mut(&id) else { return false };
        if self.unused == Some(id) {
            self.unused = None;
        }
        if known.held.insert(message) {
            self.bytes += HELD_BYTES;
        }
        true
    }

    /// It has a message no more.
    #[inline]
    pub(super) fn give(&mut self, id: HolderId, message: MessageId) {
        let Some(known) = self.known.get_mut(&id) else { return };
        if known.held.remove(&message) {
            self.bytes -= HELD_BYTES;
        }
        if known.held.is_empty() && matches!(known.name, Name::Named(_)) {
            self.forget(id);
        }
    }

    /// Forgets a holder that has nothing.
    pub(super) fn forget(&mut self, id: HolderId) {
        if self.known.get(&id).is_none_or(|known| !known.held.is_empty()) {
            return;
        }
        let Some(known) = self.known.remove(&id) else { return };
        self.bytes -= HOLDER_BYTES;
        match known.name {
            Name::Named(name) => {
                self.bytes -= 2 * name.len();
                self.named.remove(&name);
            }
            Name::Consumer(number) => {
                self.consumers.remove(&number);
            }
        }
    }

    /// All messages that anybody has, and who, in the order of ids.
    #[cfg(test)]
    pub(super) fn all_held(&self) -> BTreeMap<MessageId, HolderId> {
        self.known.iter().flat_map(|(&holder, known)| known.held.iter().map(move |&id| (id, holder))).collect()
    }

    /// Number of holders.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Bytes on the heap, about.
    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_holders_go_with_their_last_message_and_consumers_stay() {
        let mut holders = Holders::default();
        let message = MessageId::new(1, 1);
        let (a, seven) = (holders.id(Holder::Named(b"a")), holders.id(Holder::Consumer(7)));
        assert_eq!((holders.name(a), holders.len()), (None, 1), "it never got anything");
        let a = holders.id(Holder::Named(b"a"));
        assert!(holders.take(a, message) && holders.take(seven, message));
        assert_eq!(holders.id(Holder::Named(b"a")), a);
        holders.forget(a);
        assert_eq!(holders.held_by(a).collect::<Vec<_>>(), [message]);
        holders.give(a, message);
        holders.give(seven, message);
        assert_eq!((holders.name(a), holders.name(seven)), (None, Some(Holder::Consumer(7))));
        assert!(!holders.take(a, message), "its number is not used again");
        assert_ne!(holders.id(Holder::Named(b"a")), a);
        holders.forget(seven);
        assert_eq!(holders.id(Holder::Consumer(8)), holders.id(Holder::Consumer(8)));
        assert_eq!(holders.len(), 1);
    }
}
