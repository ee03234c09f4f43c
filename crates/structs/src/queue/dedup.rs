//! Which messages of which producers came already.
//!
//! A producer that does not know whether its message arrived sends it again under the same id. For some time, and for so
//! many ids, the queue remembers which message it became. Ids are forgotten in the order in which they came, a few with
//! each new one, so that no step has to forget many.
//!
//! What must stay true: both trees name the same ids; times do not fall from an id to the next.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::{DedupWindow, MessageId};
use crate::bytes::{Reader, put_bytes, put_varint};

/// Ids that are forgotten at most when one comes.
const FORGOTTEN_MAX: usize = 3;
/// What an id takes beside its bytes, about: two counters, two entries with their slack.
const ENTRY_BYTES: usize = 16 + (size_of::<(Name, Came)>() + size_of::<(u64, Name)>()) * 3 / 2;

/// Producer and id as one.
type Name = Arc<[u8]>;

/// The ids that are remembered.
#[derive(Clone, Debug, Default)]
pub(super) struct Dedup {
    known: BTreeMap<Name, Came>,
    /// By number, which counts up.
    order: BTreeMap<u64, Name>,
    next: u64,
    last_ms: u64,
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Came {
    number: u64,
    message: MessageId,
    at_ms: u64,
}

/// An id that was remembered, for the codec.
#[derive(Clone, Debug)]
pub(super) struct Remembered {
    name: Name,
    message: MessageId,
    at_ms: u64,
}

impl Dedup {
    /// The message that the producer's message became, if that is still remembered.
    pub(super) fn get(&self, producer: &[u8], id: &[u8], now_ms: u64, window: DedupWindow) -> Option<MessageId> {
        let came = self.known.get(&name(producer, id)[..])?;
        (!is_old(came.at_ms, now_ms, window)).then_some(came.message)
    }

    /// Remembers what a message became. `forgotten` is told what is not remembered any more, with its number.
    pub(super) fn put(
        &mut self,
        producer: &[u8],
        id: &[u8],
        message: MessageId,
        now_ms: u64,
        window: DedupWindow,
        forgotten: &mut dyn FnMut(u64, Remembered),
    ) {
        self.put_name(name(producer, id).into(), message, now_ms, forgotten);
        for _ in 0..FORGOTTEN_MAX {
            let Some((_, oldest)) = self.order.first_key_value() else { break };
            let at_ms = self.known.get(oldest).map_or(0, |came| came.at_ms);
            if self.known.len() as u64 <= window.ids_max && !is_old(at_ms, now_ms, window) {
                break;
            }
            let oldest = oldest.clone();
            self.forget(&oldest, forgotten);
        }
    }

    fn put_name(&mut self, name: Name, message: MessageId, at_ms: u64, forgotten: &mut dyn FnMut(u64, Remembered)) {
        self.forget(&name, forgotten);
        // A clock that was set back must not put the ids out of order.
        self.last_ms = self.last_ms.max(at_ms);
        self.bytes += ENTRY_BYTES + name.len();
        self.known.insert(name.clone(), Came { number: self.next, message, at_ms: self.last_ms });
        self.order.insert(self.next, name);
        self.next += 1;
    }

    fn forget(&mut self, name: &Name, forgotten: &mut dyn FnMut(u64, Remembered)) {
        let Some(Came { number, message, at_ms }) = self.known.remove(name) else { return };
        self.bytes -= ENTRY_BYTES + name.len();
        if let Some(name) = self.order.remove(&number) {
            forgotten(number, Remembered { name, message, at_ms });
        }
    }

    /// Number of ids.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Bytes on the heap, about.
    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes
    }

    /// The numbers of all ids that are remembered are among these.
    pub(super) fn numbers(&self) -> Range<u64> {
        self.order.first_key_value().map_or(self.next, |(&number, _)| number)..self.next
    }

    /// Ids in the order in which they came, those with these numbers.
    pub(super) fn range(&self, numbers: Range<u64>) -> impl Iterator<Item = (u64, Remembered)> {
        self.order.range(numbers).filter_map(|(&number, name)| {
            let Came { message, at_ms, .. } = *self.known.get(name)?;
            Some((number, Remembered { name: name.clone(), message, at_ms }))
        })
    }

    /// Remembers what was remembered elsewhere; those that come later came later.
    pub(super) fn take_in(&mut self, remembered: Remembered) {
        let Remembered { name, message, at_ms } = remembered;
        self.put_name(name, message, at_ms, &mut |_, _| ());
    }
}

impl Remembered {
    /// Appends it.
    pub(super) fn encode(&self, to: &mut Vec<u8>) {
        put_bytes(to, &self.name);
        put_varint(to, self.message.to_u64());
        put_varint(to, self.at_ms);
    }

    /// Reads what [`Remembered::encode`] wrote.
    pub(super) fn decode(from: &mut Reader<'_>) -> Option<Remembered> {
        let name = from.bytes()?;
        Reader::new(name).bytes()?;
        Some(Remembered { name: name.into(), message: MessageId::from_u64(from.varint()?), at_ms: from.varint()? })
    }
}

fn name(producer: &[u8], id: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(producer.len() + id.len() + 4);
    put_bytes(&mut name, producer);
    name.extend_from_slice(id);
    name
}

fn is_old(at_ms: u64, now_ms: u64, window: DedupWindow) -> bool {
    now_ms.saturating_sub(at_ms) >= window.ms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_known_within_the_window_and_forgotten_behind_it() {
        let window = DedupWindow { ms: 100, ids_max: 3 };
        let mut dedup = Dedup::default();
        let id = |seq| MessageId::new(1, seq);
        let mut forgotten = Vec::new();
        for seq in 0..5 {
            dedup.put(b"p", &[seq as u8], id(seq), 1_000, window, &mut |number, _| forgotten.push(number));
        }
        let known: Vec<_> = (0..5).filter(|seq| dedup.get(b"p", &[*seq], 1_099, window).is_some()).collect();
        assert_eq!((known, forgotten), (vec![2, 3, 4], vec![0, 1]));
        assert_eq!(dedup.get(b"p", &[4], 1_099, window), Some(id(4)));
        assert_eq!(dedup.get(b"p", &[4], 1_100, window), None);
        assert_eq!(dedup.get(b"", b"p\x04", 1_000, window), None, "producer and id are kept apart");
        dedup.put(b"p", &[4], id(9), 1_200, window, &mut |_, _| ());
        assert_eq!((dedup.get(b"p", &[4], 1_200, window), dedup.len()), (Some(id(9)), 1));
        assert_eq!(dedup.bytes, ENTRY_BYTES + 3);
    }
}
