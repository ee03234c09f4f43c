//! What a frozen stream knew of its producers, given out in the order of their names while messages go on coming in.
//!
//! ```text
//!  names   a ──────────────────────────────────── z
//!            given     │ next
//!                      │  [saved: k]   [saved: s, who was not there]   others are as they were
//! ```
//!
//! A producer ahead is copied aside before one of its messages is remembered or forgotten. One who was not there then is
//! noted as well, for it must not be given. When all is forgotten at once, because settings have changed, everything is
//! moved here.
//!
//! What must stay true: of a name from `next` on, `saved` says what was known if it says anything; otherwise it is what is in
//! `moved`, or where nothing was moved, what is known now.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;

use super::{DURATION_S, IdempotencyCounts, MESSAGE_BYTES, MESSAGES_MAX, PRODUCER_BYTES, Producer};
use crate::stream::StreamId;

type Producers = BTreeMap<Box<[u8]>, Producer>;

/// What is told of producers first, and last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducersPart {
    /// How long a message is remembered, in seconds.
    pub duration_s: u64,
    /// How many messages of a producer are remembered.
    pub messages_max: u64,
    /// Producers and messages then.
    pub counts: IdempotencyCounts,
}

impl ProducersPart {
    /// Whether the settings are those of a stream that was told none.
    pub fn has_usual_settings(&self) -> bool {
        (self.duration_s, self.messages_max) == (DURATION_S, MESSAGES_MAX)
    }
}

/// A producer of whom messages are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerPart<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Number of its messages.
    pub messages: usize,
}

/// A message that is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessagePart<'a> {
    /// By what its producer knows it.
    pub message: &'a [u8],
    /// The entry that it was added as.
    pub id: StreamId,
}

/// What comes next of a frozen table.
pub(in crate::stream) enum TablePart<'a> {
    Producer(ProducerPart<'a>),
    Message(MessagePart<'a>),
}

/// The state of a frozen table.
pub(super) struct FrozenTable {
    pub(super) head: ProducersPart,
    /// The lowest name that was not given.
    next: Box<[u8]>,
    saved: BTreeMap<Box<[u8]>, Option<Saved>>,
    moved: Option<Producers>,
    bytes: usize,
}

/// Messages of a producer as they were, oldest first.
struct Saved(Vec<(Box<[u8]>, StreamId)>);

impl FrozenTable {
    pub(super) fn new(head: ProducersPart) -> FrozenTable {
        FrozenTable { head, next: Box::default(), saved: BTreeMap::new(), moved: None, bytes: 0 }
    }

    /// Bytes on the heap, about.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<FrozenTable>() + self.bytes
    }

    /// Keeps what is known of a producer, which is about to change.
    pub(super) fn keep(&mut self, name: &[u8], producer: Option<&Producer>) {
        if self.moved.is_some() || *name < *self.next || self.saved.contains_key(name) {
            return;
        }
        let saved = producer.map(|producer| Saved(producer.in_order().map(|(id, at)| (id.into(), at)).collect()));
        self.bytes += cost(name, saved.as_ref());
        self.saved.insert(name.into(), saved);
    }

    /// Keeps everything, which is forgotten at once and takes so many bytes.
    pub(super) fn keep_all(&mut self, producers: &mut Producers, bytes: usize) {
        if self.moved.is_none() {
            self.moved = Some(std::mem::take(producers));
            self.bytes += bytes;
        }
    }

    /// Gives producers with their messages, until so many parts were given. What is left of the budget; if anything is, that
    /// was all.
    pub(super) fn give(&mut self, live: &Producers, mut budget: usize, visit: &mut dyn FnMut(TablePart<'_>)) -> usize {
        while budget > 0 {
            let from = (Bound::Included(&*self.next), Bound::Unbounded);
            let there = self.moved.as_ref().unwrap_or(live).range::<[u8], _>(from).next();
            let saved = self.saved.first_key_value().filter(|(name, _)| there.is_none_or(|(other, _)| *name <= other));
            let name = match (saved, there) {
                (Some((name, Some(Saved(messages)))), _) => {
                    let all = messages.iter().map(|(message, id)| (&**message, *id));
                    budget = tell(name, messages.len(), all, budget, visit);
                    name
                }
                (Some((name, None)), _) => {
                    budget -= 1;
                    name
                }
                (None, Some((name, producer))) => {
                    budget = tell(name, producer.order.len(), producer.in_order(), budget, visit);
                    name
                }
                (None, None) => return budget,
            };
            let behind = [name, &b"\0"[..]].concat();
            if let Some(first) = self.saved.first_entry()
                && **first.key() < *behind
            {
                self.bytes -= cost(first.key(), first.get().as_ref());
                first.remove();
            }
            self.next = behind.into();
        }
        0
    }
}

impl fmt::Debug for FrozenTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrozenTable").field("head", &self.head).finish_non_exhaustive()
    }
}

fn cost(name: &[u8], saved: Option<&Saved>) -> usize {
    let messages = saved.map_or(0, |Saved(all)| all.iter().map(|(id, _)| MESSAGE_BYTES + id.len()).sum());
    PRODUCER_BYTES + name.len() + messages
}

/// A producer goes as a whole: there is a limit to its messages.
fn tell<'m>(
    name: &[u8],
    count: usize,
    messages: impl Iterator<Item = (&'m [u8], StreamId)>,
    budget: usize,
    visit: &mut dyn FnMut(TablePart<'_>),
) -> usize {
    visit(TablePart::Producer(ProducerPart { name, messages: count }));
    messages.for_each(|(message, id)| visit(TablePart::Message(MessagePart { message, id })));
    budget.saturating_sub(1 + count)
}
