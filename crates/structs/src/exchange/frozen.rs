//! An exchange as it was, given out while bindings come and go.
//!
//! Bindings do not change, and their numbers rise. So what there was when it was frozen is what has a number below the next
//! one then: of what is still there, and of what was removed since, which is encoded when it goes. What must
//! stay true: a binding that was removed is kept only if its number was not given yet and is below the end.

use std::collections::BTreeMap;

use super::binding::Bound;
use super::codec::{PIECE_BYTES, head, put_binding};
use super::face::Exchange;
use crate::frozen::{Kept, weight};

/// Bytes of what is kept of a binding beside its encoding, about.
const KEPT_BYTES: usize = 48;

/// The state of an exchange that is frozen, or nothing. A copy is not frozen.
#[derive(Debug, Default)]
pub(super) struct Frozen(Option<Box<State>>);

#[derive(Debug)]
struct State {
    ticket: u64,
    /// The number of bindings then; `None` once the head was given.
    head: Option<usize>,
    /// The lowest number that was not given.
    next: u64,
    /// Numbers from here on were given to bindings since.
    end: u64,
    /// What was removed since, encoded.
    removed: BTreeMap<u64, Box<[u8]>>,
    bytes: usize,
}

impl Clone for Frozen {
    fn clone(&self) -> Frozen {
        Frozen(None)
    }
}

impl Frozen {
    /// Of an exchange with so many bindings, whose next one will have this number.
    pub(super) fn new(ticket: u64, end: u64, bindings: usize) -> Frozen {
        let removed = BTreeMap::new();
        Frozen(Some(Box::new(State { ticket, head: Some(bindings), next: 0, end, removed, bytes: 0 })))
    }

    pub(super) fn ticket(&self) -> Option<u64> {
        self.0.as_ref().map(|state| state.ticket)
    }

    /// Bytes on the heap, about. O(1).
    pub(super) fn memory_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |state| size_of::<State>() + state.bytes)
    }

    /// A binding is about to be removed.
    #[inline]
    pub(super) fn save(&mut self, number: u64, bound: &Bound<'_>) {
        let Some(state) = &mut self.0 else { return };
        if state.next <= number && number < state.end {
            let mut bytes = Vec::new();
            put_binding(&mut bytes, bound);
            state.bytes += bytes.len() + KEPT_BYTES;
            state.removed.insert(number, bytes.into());
        }
    }

    /// Gives the next pieces, with about so many bindings. Whether there is more.
    pub(super) fn give(&mut self, exchange: &Exchange, budget: usize, give: &mut dyn FnMut(&[u8])) -> bool {
        let Some(state) = &mut self.0 else { return false };
        if let Some(bindings) = state.head.take() {
            give(&head(exchange, bindings));
        }
        let mut budget = budget;
        let mut piece = Vec::new();
        let mut live = exchange.bindings_from(state.next).take_while(|(number, _)| *number < state.end).peekable();
        loop {
            let removed = state.removed.first_key_value().map(|(number, _)| *number);
            let next = live.peek().map(|(number, _)| *number);
            let before = piece.len();
            match (removed, next) {
                (None, None) => {
                    state.next = state.end;
                    break;
                }
                (Some(number), next) if next.is_none_or(|next| number < next) => {
                    if let Some(bytes) = state.removed.remove(&number) {
                        state.bytes -= bytes.len() + KEPT_BYTES;
                        piece.extend_from_slice(&bytes);
                    }
                    state.next = number + 1;
                }
                _ => {
                    if let Some((number, bound)) = live.next() {
                        put_binding(&mut piece, &bound);
                        state.next = number + 1;
                    }
                }
            }
            budget = budget.saturating_sub(weight(piece.len() - before));
            if piece.len() >= PIECE_BYTES {
                give(&piece);
                piece.clear();
            }
            if budget == 0 {
                break;
            }
        }
        if !piece.is_empty() {
            give(&piece);
        }
        state.next < state.end
    }

    /// What had been kept, to be dropped elsewhere.
    pub(super) fn into_kept(self) -> Option<Kept> {
        Some(Box::new(self.0?))
    }
}
