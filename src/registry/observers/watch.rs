//! Beginning to observe, asking for progress, and what goes before history does.

use super::paces::default_period_ms;
use super::table::{LastAnswer, Marks, New, Observers, Refused, Standing};
use crate::command::error::Error;
use std::sync::Arc;
use weir_structs::tree::{Revision, Span};

/// What a client wants to observe.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'w> {
    /// Which client.
    pub client: u64,
    /// The database,
    pub db: usize,
    /// and the store, which need not be there.
    pub store: &'w [u8],
    /// Which paths; not children.
    pub span: Span<'w>,
    /// The name of it, 1 to 64 bytes; the client's next number if there is none.
    pub id: Option<&'w [u8]>,
    /// The first revision that it wants to hear of; the next one if that is not said.
    pub from: Option<Revision>,
    /// The epoch of which that is.
    pub epoch: Option<u64>,
    /// The present state first.
    pub snapshot: bool,
    /// `PREV`, `NO_PUT`, `NO_DEL`, `ONCE`.
    pub marks: Marks,
    /// To hear something at least every so many ms; 0 for the default.
    pub progress_ms: Option<u64>,
}

/// What a client that observes is told at once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Watching {
    /// The name of it.
    pub id: Box<[u8]>,
    /// The last revision: what comes is behind it, unless the client has asked for what was before.
    pub revision: Revision,
    /// The store's epoch; 0 if there is none.
    pub epoch: u64,
}

impl Standing {
    /// Whether somebody who has seen everything before `from` in an epoch can go on here.
    ///
    /// # Errors
    /// It was another epoch, what it wants is compacted, or is in the future.
    pub fn check(&self, from: Revision, epoch: Option<u64>) -> Result<(), Error> {
        // Who has found no store, and seen nothing, has missed nothing of one that was created since.
        let from_the_start = epoch == Some(0) && from == 1;
        if epoch.is_some_and(|epoch| epoch != self.epoch) && !from_the_start {
            return Err(Error::cfg_epoch(self.epoch));
        }
        if from <= self.compacted {
            return Err(Error::cfg_compacted(self.compacted));
        }
        if from > self.revision.saturating_add(1) {
            return Err(Error::cfg_future(self.revision));
        }
        Ok(())
    }
}

impl Observers {
    /// A client begins to observe. `random` is where the period of who wants the default one comes from.
    ///
    /// # Errors
    /// The epoch is another, what it wants is compacted or in the future, or it has such an id or too many.
    pub fn observe(
        &mut self,
        wish: &Wish<'_>,
        standing: Standing,
        now_ms: u64,
        random: u64,
    ) -> Result<Watching, Error> {
        let Standing { epoch, revision, .. } = standing;
        let from = wish.from.unwrap_or(revision + 1);
        if wish.from.is_some() || wish.epoch.is_some() {
            standing.check(from, wish.epoch)?;
        }
        let mut marks = wish.marks & (Marks::PREV | Marks::NO_PUT | Marks::NO_DEL | Marks::ONCE);
        marks.set(Marks::SNAPSHOT, wish.snapshot);
        marks.set(Marks::PACED, wish.progress_ms.is_some());
        let new = New { client: wish.client, id: wish.id, span: wish.span, from, marks };
        let at = self.add(wish.db, wish.store, standing, new).map_err(|refused| match refused {
            Refused::IdInUse => Error::CFG_ID_IN_USE,
            Refused::TooMany => Error::CFG_TOO_MANY_OBSERVERS,
        })?;
        if let Some(ms) = wish.progress_ms {
            let period_ms = if ms == 0 { default_period_ms(random) } else { ms };
            self.paces.add(at, period_ms, now_ms, from);
            self.note_idle(at, from);
        }
        let id = self.all.get(at).map(|observer| observer.id.clone()).unwrap_or_default();
        Ok(Watching { id, revision, epoch })
    }

    pub(super) fn note_idle(&mut self, at: u32, revision: Revision) {
        let target = self.all.get(at).and_then(|observer| self.targets.get(observer.target));
        if let Some(place) = target.map(|target| target.place).and_then(|place| self.places.get_mut(place)) {
            place.idle.insert((revision, at));
        }
        self.paces.idle_at(at, revision);
    }

    /// An observer is to be told up to where it has seen everything, as soon as that is so. Says whether there is one of this
    /// id.
    pub fn ask_progress(&mut self, client: u64, id: &[u8]) -> bool {
        let found = self.find(client, id);
        if let Some(at) = found {
            self.ask(at);
        }
        found.is_some()
    }

    fn ask(&mut self, at: u32) {
        let Some(observer) = self.all.get(at) else { return };
        if observer.marks.intersects(Marks::ENDED) {
            return;
        }
        let was_behind = observer.marks.contains(Marks::BEHIND);
        let place = self.targets.get(observer.target).and_then(|target| self.places.get(target.place));
        let sealed = place.map_or(0, |place| place.sealed);
        // Its target may be touched without its having been marked: then it has not seen everything.
        let first = self.first_unseen(at);
        self.fall_behind(at);
        if let Some(observer) = self.all.get_mut(at) {
            observer.marks.insert(Marks::ASKED);
            if !was_behind {
                observer.from = first.unwrap_or(sealed + 1);
            }
        }
    }

    /// When somebody is to be told of progress next, in Unix ms.
    pub fn next_alarm_ms(&self) -> Option<u64> {
        self.paces.next_ms()
    }

    /// Sees to it that those are told of progress who have heard nothing for their period, as long as `may_go_on`.
    pub fn run_alarms(&mut self, now_ms: u64, may_go_on: &mut dyn FnMut() -> bool) {
        while may_go_on()
            && let Some(at) = self.paces.take_due(now_ms)
        {
            self.ask(at);
        }
    }

    /// The history of a store up to `to` is about to go. Those who wanted to know are told: observers of their progress, as soon
    /// as they have seen everything. Polls end, whose clients might come back with a revision that is not known then; one for
    /// which there is something asks again.
    pub fn compacts(&mut self, db: usize, name: &[u8], to: Revision) {
        while let Some(place) = self.named(db, name)
            && let Some(&(revision, at)) = place.idle.first().filter(|(revision, _)| *revision <= to)
        {
            let (epoch, sealed, store) = (place.epoch, place.sealed, Arc::clone(&place.name));
            let Some(observer) = self.all.get(at) else { break };
            let (is_poll, of) = (observer.marks.contains(Marks::POLL), observer.client);
            if is_poll && self.has_missed(of) {
                self.wake(of);
                continue;
            }
            if is_poll {
                let client = self.clients.get(of).map_or(0, |watcher| watcher.number);
                self.answers.push(LastAnswer { client, store, epoch, revision: sealed });
                self.end_poll(client);
                continue;
            }
            let (from, behind) = (observer.from, observer.marks.contains(Marks::BEHIND));
            if !behind && from <= to {
                self.ask(at);
            }
            // Who was told since would come back with a later revision; so would who is told now.
            let next = if behind || from <= to { sealed.max(to) + 1 } else { from };
            let target = self.all.get(at).and_then(|observer| self.targets.get(observer.target));
            if let Some(place) = target.map(|target| target.place).and_then(|place| self.places.get_mut(place)) {
                place.idle.remove(&(revision, at));
            }
            self.note_idle(at, next);
        }
    }

    /// Takes a poll that has ended because history goes.
    pub fn take_answer(&mut self) -> Option<LastAnswer> {
        self.answers.pop()
    }

    /// Whether there are any.
    #[inline]
    pub fn has_answers(&self) -> bool {
        !self.answers.is_empty()
    }
}
