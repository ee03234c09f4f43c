//! What a frozen store has to remember.
//!
//! ```text
//!  leases          as they were: where one went or came, that is saved
//!  paths           as they were at the compaction: the history knows, and is not freed meanwhile
//!  events          up to the last one then; where one has been changed since, it is saved as it was
//! ```
//!
//! A store knows what it was by itself, as far as its history goes: so nothing has to be saved before a path is written. What was
//! compacted stays until all is given. Only the revision that was being written when it was frozen may still change, and paths
//! may lose their lease without a revision.
//!
//! What must stay true: of what was not given yet, everything is as it was then, or saved, or known to the history.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::codec::{EventsWriter, PIECE_BYTES, PIECE_EVENTS, PIECE_LEASES, PIECE_PATHS, put_lease, put_path};
use super::history::{EventNumber, History};
use super::{Event, LeaseId, Revision, Spanned, Tree, Version};
use crate::frozen::{FrozenHead, FrozenPart, Kept, weight};

/// What something saved takes, about.
const SAVED_BYTES: usize = size_of::<(EventNumber, SavedEvent)>() * 3 / 2;

/// The state of a frozen store.
#[derive(Debug)]
pub(super) struct Frozen {
    ticket: u64,
    /// The head, as long as it was not given.
    head: Option<Vec<u8>>,
    /// The first lease that was not given yet; `None`: all were.
    leases_from: Option<LeaseId>,
    /// What a lease was, if it was there: how long it lasts, and whether it is a connection's.
    saved_leases: BTreeMap<LeaseId, Option<(u64, bool)>>,
    /// Which paths were given.
    paths: Given,
    /// Paths whose versions of that time no event knows.
    saved_paths: BTreeMap<Arc<[u8]>, Version>,
    /// Paths are given as they were before this event.
    base: EventNumber,
    /// Events that were not given yet.
    events: Range<EventNumber>,
    saved_events: BTreeMap<EventNumber, SavedEvent>,
    bytes: usize,
}

#[derive(Debug)]
struct SavedEvent {
    when: (Revision, u64),
    event: Event,
}

/// How far paths have been given.
#[derive(Debug, PartialEq, Eq)]
enum Given {
    None,
    UpTo(Arc<[u8]>),
    All,
}

impl Frozen {
    /// Before an event is changed, if the store is frozen.
    #[inline]
    pub(super) fn save_event(frozen: &mut Option<Box<Frozen>>, history: &History, number: EventNumber) {
        let Some(frozen) = frozen else { return };
        if !frozen.events.contains(&number) || frozen.saved_events.contains_key(&number) {
            return;
        }
        if let (Some(event), Some(when)) = (history.event(number), history.revision_of(number)) {
            frozen.bytes += SAVED_BYTES;
            frozen.saved_events.insert(number, SavedEvent { when, event: event.clone() });
        }
    }

    /// A lease came, or is about to go.
    pub(super) fn save_lease(&mut self, id: LeaseId, was: Option<(u64, bool)>) {
        if self.leases_from.is_some_and(|from| id >= from) && !self.saved_leases.contains_key(&id) {
            self.bytes += SAVED_BYTES;
            self.saved_leases.insert(id, was);
        }
    }

    /// A path whose last event is `last` was this until now.
    pub(super) fn save_path(&mut self, path: &Arc<[u8]>, last: EventNumber, was: Version) {
        let is_given = match &self.paths {
            Given::None => false,
            Given::UpTo(given) => path <= given,
            Given::All => true,
        };
        if last < self.base && !is_given && !self.saved_paths.contains_key(path) {
            self.bytes += SAVED_BYTES + was.memory_bytes();
            self.saved_paths.insert(path.clone(), was);
        }
    }

    /// Bytes on the heap, about.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Frozen>() + self.bytes + self.head.as_ref().map_or(0, Vec::capacity)
    }

    fn is_over(&self) -> bool {
        self.leases_from.is_none() && self.paths == Given::All && self.events.is_empty()
    }
}

impl Tree {
    /// Freezes it: what it is now is given out in parts by [`Tree::give_frozen`], whatever becomes of it meanwhile. What is
    /// compacted is not freed until then. O(log n).
    pub fn freeze(&mut self, ticket: u64) {
        let base = self.history.first_above(self.compacted());
        if self.compacted() == self.revision() {
            // What a further write of this revision does is no part of what is given, and no event tells it otherwise.
            self.history.split();
        }
        self.frozen = Some(Box::new(Frozen {
            ticket,
            head: Some(self.put_head(self.epoch())),
            leases_from: Some(0),
            saved_leases: BTreeMap::new(),
            paths: Given::None,
            saved_paths: BTreeMap::new(),
            base,
            events: base..self.history.next(),
            saved_events: BTreeMap::new(),
            bytes: 0,
        }));
    }

    /// The ticket with which it was frozen.
    pub fn frozen_ticket(&self) -> Option<u64> {
        self.frozen.as_ref().map(|frozen| frozen.ticket)
    }

    /// What it was when it was frozen: a store.
    pub fn frozen_head(&self) -> Option<FrozenHead> {
        self.frozen.as_ref().map(|_| FrozenHead::Tree)
    }

    /// Gives the next pieces of what it was, about `budget` paths and events: what [`Tree::encode`] would have given, in other
    /// pieces. Says whether there is more; otherwise it is thawed.
    pub fn give_frozen(&mut self, mut budget: usize, visit: &mut dyn FnMut(FrozenPart<'_>)) -> bool {
        let Some(mut frozen) = self.frozen.take() else { return false };
        if let Some(head) = frozen.head.take() {
            visit(FrozenPart::Piece(&head));
        }
        let mut piece = Vec::new();
        while budget > 0 && !frozen.is_over() {
            piece.clear();
            if frozen.leases_from.is_some() {
                piece.push(PIECE_LEASES);
                self.give_leases(&mut frozen, &mut piece, &mut budget);
            } else if frozen.paths != Given::All {
                piece.push(PIECE_PATHS);
                self.give_paths(&mut frozen, &mut piece, &mut budget);
            } else {
                piece.push(PIECE_EVENTS);
                self.give_events(&mut frozen, &mut piece, &mut budget);
            }
            if piece.len() > 1 {
                visit(FrozenPart::Piece(&piece));
            }
        }
        let goes_on = !frozen.is_over();
        if goes_on {
            self.frozen = Some(frozen);
        }
        goes_on
    }

    /// Forgets what it was. What had been kept is handed out, to be dropped elsewhere.
    pub fn thaw(&mut self) -> Option<Kept> {
        Some(self.frozen.take()?)
    }

    /// Adds leases to a piece until it is full, or the budget is used up.
    fn give_leases(&self, frozen: &mut Frozen, piece: &mut Vec<u8>, budget: &mut usize) {
        let Some(mut from) = frozen.leases_from else { return };
        let mut live = self.leases_from(from).peekable();
        while *budget > 0 && piece.len() < PIECE_BYTES {
            let saved = frozen.saved_leases.first_key_value().map(|(&id, _)| id);
            let next = live.peek().map(|(id, _)| *id);
            let Some(id) = [saved, next].into_iter().flatten().min() else {
                frozen.leases_from = None;
                return;
            };
            let now = live.next_if(|(next, _)| *next == id).map(|(_, lease)| (lease.ttl_ms, lease.conn));
            let was = if saved == Some(id) {
                frozen.bytes -= SAVED_BYTES;
                frozen.saved_leases.pop_first().and_then(|(_, was)| was)
            } else {
                now
            };
            if let Some((ttl_ms, conn)) = was {
                put_lease(piece, id, ttl_ms, conn);
            }
            *budget -= 1;
            from = id + 1;
        }
        frozen.leases_from = Some(from);
    }

    /// The same with paths.
    fn give_paths(&self, frozen: &mut Frozen, piece: &mut Vec<u8>, budget: &mut usize) {
        let behind = match &frozen.paths {
            Given::UpTo(path) => Some(path.clone()),
            _ => None,
        };
        let mut all = Spanned::all(self, behind.as_deref(), frozen.base);
        let mut last = None;
        while *budget > 0 && piece.len() < PIECE_BYTES {
            let Some((path, was)) = all.step_any::<false>() else {
                frozen.paths = Given::All;
                return;
            };
            let saved = frozen.saved_paths.remove(path);
            frozen.bytes -= saved.as_ref().map_or(0, |saved| SAVED_BYTES + saved.memory_bytes());
            if let Some(was) = saved.as_ref().or(was) {
                put_path(piece, path, was);
                *budget = budget.saturating_sub(weight(was.value().len()));
            } else {
                *budget -= 1;
            }
            last = Some(path);
        }
        if let Some(path) = last {
            frozen.paths = Given::UpTo(path.clone());
        }
    }

    /// The same with events.
    fn give_events(&self, frozen: &mut Frozen, piece: &mut Vec<u8>, budget: &mut usize) {
        let mut writer = EventsWriter::default();
        while *budget > 0 && piece.len() < PIECE_BYTES {
            let Some(number) = frozen.events.next() else { return };
            let saved = frozen.saved_events.remove(&number);
            frozen.bytes -= if saved.is_some() { SAVED_BYTES } else { 0 };
            let was = match &saved {
                Some(SavedEvent { when, event }) => Some((*when, event)),
                None => self.history.revision_of(number).zip(self.history.event(number)),
            };
            let Some((when, event)) = was else { continue };
            writer.put(piece, when, &event.path, event.after.as_ref());
            let bytes = event.after.as_ref().map_or(0, |after| after.value().len());
            *budget = budget.saturating_sub(weight(bytes));
        }
    }
}
