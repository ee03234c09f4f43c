//! What a frozen queue has to remember.
//!
//! ```text
//!  places then      1 2 3 4 5 6 7 8 9 │ 10 11 ...      those up to the last one then are to be given
//!  given            ───────►
//!  saved                    4   6=∅              as they were, before they changed, went or came
//! ```
//!
//! Messages are given in the order of places: where something was saved, that; else what is there. A message is small and
//! its parcel is shared, so saving one is cheap. Ids of producers are given in the same way, by number.
//!
//! When all that is ready goes at once, the table of places as it was is kept instead, and read from then on.
//!
//! What must stay true: of the places that were not given yet, each has its message of then, or is among the saved ones.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Range;

use super::codec::{PIECE_BYTES, PIECE_KNOWN, PIECE_MESSAGES, put_message};
use super::dedup::Remembered;
use super::places::Places;
use super::record::Record;
use super::{NotRead, Parcel, Queue, SharedAs, Wait};
use crate::frozen::{FrozenHead, FrozenPart, Kept, weight};

/// What a saved message takes beside what it owns, about.
const SAVED_BYTES: usize = size_of::<(u64, Option<Record>)>() * 3 / 2;
/// What a saved id takes, about; its bytes are shared in most cases.
const SAVED_ID_BYTES: usize = size_of::<(u64, Remembered)>() * 3 / 2;

/// A body that was asked for so often, and has always gone again before it was read, is waited for.
const ASKED_MAX: u32 = 5_000;

/// Whether a message was given.
#[derive(PartialEq)]
enum Given {
    Done,
    NotYet,
}

/// The state of a frozen queue.
#[derive(Debug)]
pub(super) struct Frozen {
    ticket: u64,
    /// The head, as long as it was not given.
    head: Option<Vec<u8>>,
    /// Places that were not given yet.
    places: Range<u64>,
    /// What was there.
    saved: BTreeMap<u64, Option<Record>>,
    /// What was there of all that is not saved; else it is there still.
    was: Option<Box<Places>>,
    /// Numbers of ids that were not given yet.
    known: Range<u64>,
    saved_known: BTreeMap<u64, Remembered>,
    bytes: usize,
    /// How often the body of the next message was asked for and was not near.
    asked: u32,
}

impl Frozen {
    /// Before something happens at a place.
    pub(super) fn save(&mut self, key: u64, record: Option<&Record>) {
        if self.was.is_none() && self.places.contains(&key) && !self.saved.contains_key(&key) {
            self.bytes += SAVED_BYTES + record.map_or(0, Record::heap_bytes);
            self.saved.insert(key, record.cloned());
        }
    }

    /// Whether the table of places is to be kept if what is in it changes as a whole.
    pub(super) fn wants_table(&self) -> bool {
        self.was.is_none() && !self.places.is_empty()
    }

    /// Keeps the table of places, which is not that of the queue any more; messages own so many bytes in it.
    pub(super) fn keep_table(&mut self, was: Places, owned_bytes: usize) {
        self.bytes += was.memory_bytes() + owned_bytes;
        self.was = Some(Box::new(was));
    }

    /// An id is forgotten.
    pub(super) fn save_known(&mut self, number: u64, known: Remembered) {
        if self.known.contains(&number) {
            self.bytes += SAVED_ID_BYTES;
            self.saved_known.insert(number, known);
        }
    }

    /// Gives a message. If its body is not near, it is left for another time, and with it the rest of this one.
    fn put(
        &mut self,
        piece: &mut Vec<u8>,
        (key, record): (u64, &Record),
        budget: &mut usize,
        visit: &mut dyn FnMut(FrozenPart<'_>),
    ) -> Given {
        let wait = if self.asked < ASKED_MAX { Wait::Never } else { Wait::UntilRead };
        let mut share = |parcel: &Parcel| {
            let how = Cell::new(SharedAs::InFull);
            visit(FrozenPart::Shared(parcel, &how));
            how.get()
        };
        if put_message(piece, key, record, wait, &mut share) == Err(NotRead::Yet) {
            self.asked += 1;
            *budget = 0;
            return Given::NotYet;
        }
        self.asked = 0;
        *budget = budget.saturating_sub(weight(record.parcel.len()));
        Given::Done
    }

    /// Bytes on the heap, about.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Frozen>() + self.bytes + self.head.as_ref().map_or(0, Vec::capacity)
    }
}

impl Queue {
    /// Freezes it: what it is now is given out in parts by [`Queue::give_frozen`], whatever becomes of it meanwhile. What is
    /// unacked is given as ready and redelivered. O(1).
    pub fn freeze(&mut self, ticket: u64) {
        self.frozen = Some(Box::new(Frozen {
            ticket,
            head: Some(self.put_head()),
            places: 0..self.last + 1,
            saved: BTreeMap::new(),
            was: None,
            known: self.dedup.as_ref().map_or(0..0, |dedup| dedup.numbers()),
            saved_known: BTreeMap::new(),
            bytes: 0,
            asked: 0,
        }));
    }

    /// The ticket with which it was frozen.
    pub fn frozen_ticket(&self) -> Option<u64> {
        self.frozen.as_ref().map(|frozen| frozen.ticket)
    }

    /// What it was when it was frozen: a queue.
    pub fn frozen_head(&self) -> Option<FrozenHead> {
        self.frozen.as_ref().map(|_| FrozenHead::Queue)
    }

    /// Gives the next pieces of what it was, about `budget` messages: what [`Queue::encode`] would have given, in other
    /// pieces. Says whether there is more; otherwise it is thawed.
    pub fn give_frozen(&mut self, mut budget: usize, visit: &mut dyn FnMut(FrozenPart<'_>)) -> bool {
        let Some(mut frozen) = self.frozen.take() else { return false };
        if let Some(head) = frozen.head.take() {
            visit(FrozenPart::Piece(&head));
        }
        let mut piece = Vec::new();
        while budget > 0 && !frozen.known.is_empty() {
            piece.clear();
            piece.push(PIECE_KNOWN);
            self.give_known(&mut frozen, &mut piece, &mut budget);
            if piece.len() > 1 {
                visit(FrozenPart::Piece(&piece));
            }
        }
        while budget > 0 && !frozen.places.is_empty() {
            piece.clear();
            piece.push(PIECE_MESSAGES);
            let was = frozen.was.take();
            give_messages(was.as_deref().unwrap_or(&self.places), &mut frozen, &mut piece, &mut budget, visit);
            frozen.was = was;
            // Not all of it at the end, by who thaws it.
            if let Some(was) = &mut frozen.was {
                was.forget_before(frozen.places.start);
            }
            if piece.len() > 1 {
                visit(FrozenPart::Piece(&piece));
            }
        }
        let goes_on = !frozen.known.is_empty() || !frozen.places.is_empty();
        if goes_on {
            self.frozen = Some(frozen);
        }
        goes_on
    }

    /// Forgets what it was. What had been kept is handed out, to be dropped elsewhere.
    pub fn thaw(&mut self) -> Option<Kept> {
        Some(self.frozen.take()?)
    }

    /// Adds ids to a piece until it is full, or the budget is used up.
    fn give_known(&self, frozen: &mut Frozen, piece: &mut Vec<u8>, budget: &mut usize) {
        while *budget > 0 && piece.len() < PIECE_BYTES && !frozen.known.is_empty() {
            let saved = frozen.saved_known.first_key_value().map(|(&number, _)| number);
            if saved == Some(frozen.known.start) {
                if let Some((number, known)) = frozen.saved_known.pop_first() {
                    frozen.bytes -= SAVED_ID_BYTES;
                    known.encode(piece);
                    frozen.known.start = number + 1;
                    *budget -= 1;
                }
                continue;
            }
            let end = saved.unwrap_or(frozen.known.end);
            let live = self.dedup.as_ref().map(|dedup| dedup.range(frozen.known.start..end));
            frozen.known.start = end;
            for (number, known) in live.into_iter().flatten() {
                if *budget == 0 || piece.len() >= PIECE_BYTES {
                    frozen.known.start = number;
                    break;
                }
                known.encode(piece);
                *budget -= 1;
            }
        }
    }
}

/// Adds messages to a piece until it is full, or the budget is used up.
fn give_messages(
    live: &Places,
    frozen: &mut Frozen,
    piece: &mut Vec<u8>,
    budget: &mut usize,
    visit: &mut dyn FnMut(FrozenPart<'_>),
) {
    while *budget > 0 && piece.len() < PIECE_BYTES && !frozen.places.is_empty() {
        let saved = frozen.saved.first_key_value().map(|(&key, _)| key);
        if saved == Some(frozen.places.start) {
            if let Some((key, record)) = frozen.saved.pop_first() {
                if let Some(record) = &record
                    && frozen.put(piece, (key, record), budget, visit) == Given::NotYet
                {
                    frozen.saved.insert(key, Some(record.clone()));
                    return;
                }
                frozen.bytes -= SAVED_BYTES + record.as_ref().map_or(0, Record::heap_bytes);
                frozen.places.start = key + 1;
            }
            continue;
        }
        let end = saved.unwrap_or(frozen.places.end);
        let those = live.from(frozen.places.start);
        frozen.places.start = end;
        for (key, record) in those {
            if key >= end {
                break;
            }
            if *budget == 0 || piece.len() >= PIECE_BYTES {
                frozen.places.start = key;
                break;
            }
            if frozen.put(piece, (key, record), budget, visit) == Given::NotYet {
                frozen.places.start = key;
                return;
            }
        }
    }
}
