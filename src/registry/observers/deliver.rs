//! Telling observers: what they have not seen comes from the store's history, oldest first.
//!
//! ```text
//!  line of clients ──► one client ──► one observer: cancelled? · snapshot, piece by piece, then synced · changes since · progress
//!                        └ has as much as may wait for it: rests, and stands in line again when its connection has drained
//! ```
//!
//! Work comes in steps that are bounded, and whoever drives it says after each whether there is time for another. A cursor
//! is kept in the observer, so it makes no difference where it was interrupted, nor for how long somebody rested: what it is
//! told is what history has.

use super::frames::{Message, Parcel, StatesFrame, put_cancel, put_change, put_progress, put_synced};
use super::table::{Marks, Observers};
use crate::registry::{Labels, view};
use weir_structs::tree::{Revision, Span, Tree};

/// Changes that are looked at in one step.
const STEP_CHANGES: usize = 128;
/// States in one frame of a snapshot,
const STATES_MAX: usize = 256;
/// and their bytes, after which it takes no more.
const STATES_BYTES: usize = 64 * 1024;

/// Where stores are, and who sees what of them.
pub trait Sight {
    /// The store at a name.
    fn tree(&self, db: usize, name: &[u8]) -> Option<&Tree>;
    /// What a client has said of itself.
    fn labels(&self, client: u64) -> &Labels;
    /// Unix time in ms.
    fn now_ms(&self) -> u64;
}

/// How far a client was served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Served {
    /// It has been told everything, or rests until its connection has taken what it was sent.
    Done,
    /// There was no time for the rest.
    Interrupted,
}

impl Observers {
    /// Whether there is somebody to be told something.
    #[inline]
    pub fn has_work(&self) -> bool {
        !self.line.is_empty() || self.has_unmarked()
    }

    /// Tells observers what they have not seen, as long as `may_go_on` says so after each step. `send` gets messages with the
    /// clients that they are for.
    pub fn deliver(
        &mut self,
        sight: &dyn Sight,
        may_go_on: &mut dyn FnMut() -> bool,
        send: &mut dyn FnMut(u64, Message),
    ) {
        if !self.mark(may_go_on) {
            return;
        }
        while let Some(client) = self.line.pop_front() {
            let Some(watcher) = self.clients.get_mut(client) else { continue };
            watcher.in_line = false;
            let number = watcher.number;
            if self.serve(client, sight, may_go_on, &mut |message| send(number, message)) == Served::Interrupted {
                if let Some(watcher) = self.clients.get_mut(client) {
                    watcher.in_line = true;
                    self.line.push_front(client);
                }
                return;
            }
            self.forget_client(client);
        }
        self.shared.clear();
    }

    /// The same for one client: everything, before its next command.
    pub fn bring_up(
        &mut self,
        client: u64,
        sight: &dyn Sight,
        may_go_on: &mut dyn FnMut() -> bool,
        send: &mut dyn FnMut(Message),
    ) -> Served {
        if !self.mark(may_go_on) {
            return Served::Interrupted;
        }
        // It leaves the line when its turn there comes.
        self.client_at(client).map_or(Served::Done, |client| self.serve(client, sight, may_go_on, send))
    }

    fn serve(
        &mut self,
        client: u32,
        sight: &dyn Sight,
        may_go_on: &mut dyn FnMut() -> bool,
        send: &mut dyn FnMut(Message),
    ) -> Served {
        let mut parcel = Parcel::default();
        let mut served = Served::Done;
        while let Some(watcher) = self.clients.get(client)
            && let Some(first) = watcher.behind.first()
            && parcel.len() < watcher.room()
        {
            self.step(first, sight, &mut parcel, send);
            if !may_go_on() {
                served = Served::Interrupted;
                break;
            }
        }
        parcel.finish(send);
        if let Some(watcher) = self.clients.get_mut(client) {
            watcher.sent = watcher.sent.saturating_add(u32::try_from(parcel.len()).unwrap_or(u32::MAX));
        }
        served
    }

    /// Tells an observer a part of what it has not seen; bounded.
    fn step(&mut self, at: u32, sight: &dyn Sight, parcel: &mut Parcel, send: &mut dyn FnMut(Message)) {
        let Some(observer) = self.all.get(at) else { return };
        let (marks, from) = (observer.marks, observer.from);
        if marks.intersects(Marks::ENDED) {
            parcel.write(send, |out| put_cancel(out, &observer.id, marks.reason(), from));
            return self.remove(at);
        }
        let Some(place) = self.targets.get(observer.target).and_then(|target| self.places.get(target.place)) else {
            return;
        };
        let (sealed, epoch) = (place.sealed, place.epoch);
        let tree = sight.tree(place.db, &place.name).filter(|tree| tree.epoch() == epoch);
        let Some(tree) = tree else {
            if epoch != 0 {
                return self.end(at, Marks::DELETED, sealed);
            }
            self.snapshots.remove(&at);
            return self.has_caught_up(at, sealed, sight, parcel, send);
        };
        parcel.durable |= tree.options().durable;
        if marks.contains(Marks::SNAPSHOT) {
            // The cursor says where its next change is; the snapshot is of the revision before.
            let of = from.saturating_sub(1);
            if of < tree.compacted() {
                return self.end(at, Marks::COMPACTED, tree.compacted());
            }
            return self.send_states(at, tree, of, sight, parcel, send);
        }
        if from > sealed {
            return self.has_caught_up(at, sealed, sight, parcel, send);
        }
        if from <= tree.compacted() {
            return self.end(at, Marks::COMPACTED, tree.compacted());
        }
        self.send_changes(at, tree, sealed, sight, parcel, send);
    }

    fn send_changes(
        &mut self,
        at: u32,
        tree: &Tree,
        sealed: Revision,
        sight: &dyn Sight,
        parcel: &mut Parcel,
        send: &mut dyn FnMut(Message),
    ) {
        let Observers { all, targets, shared, clients, figures, .. } = self;
        let Some(observer) = all.get_mut(at) else { return };
        let Some(target) = targets.get(observer.target) else { return };
        let Some(watcher) = clients.get(observer.client) else { return };
        let (room, labels) = (watcher.room(), sight.labels(watcher.number));
        let (mut frames, mut left, mut at_end) = (false, STEP_CHANGES, true);
        for change in tree.changes(observer.from) {
            if change.revision > sealed {
                break;
            }
            if left == 0 || parcel.len() >= room {
                at_end = false;
                break;
            }
            left -= 1;
            let is_plain = labels.is_empty() || !view::has_rules(tree, &change);
            let events = if !is_plain {
                let seen: Vec<_> = view::events(tree, change, target.span(), labels).collect();
                let seen = || seen.iter().map(|event| &**event);
                parcel.write(send, |out| put_change(out, &observer.id, observer.marks, change.revision, seen))
            } else if target.members > 1 {
                let frame = shared.of(observer.target, &observer.id, observer.marks, target.span(), change);
                frame.map_or(0, |(frame, events)| {
                    parcel.share(send, &frame);
                    events
                })
            } else {
                let span = target.span();
                let seen = || change.events.iter().filter(|event| span.contains(&event.path));
                parcel.write(send, |out| put_change(out, &observer.id, observer.marks, change.revision, seen))
            };
            observer.from = change.revision + 1;
            if events > 0 {
                frames = true;
                figures.events += events as u64;
                if observer.marks.contains(Marks::ONCE) {
                    break;
                }
            }
        }
        if frames {
            if observer.marks.contains(Marks::ONCE) {
                return self.remove(at);
            }
            self.paces.heard(at, sight.now_ms());
        }
        if at_end {
            self.has_caught_up(at, sealed, sight, parcel, send);
        }
    }

    /// Sends a piece of the state of a moment.
    fn send_states(
        &mut self,
        at: u32,
        tree: &Tree,
        of: Revision,
        sight: &dyn Sight,
        parcel: &mut Parcel,
        send: &mut dyn FnMut(Message),
    ) {
        let Some(observer) = self.all.get(at) else { return };
        let Some(target) = self.targets.get(observer.target) else { return };
        let span = target.span();
        let end;
        let rest = match (self.snapshots.get(&at), span) {
            (None, _) => span,
            (Some(next), Span::Range(_, end)) => Span::Range(next, end),
            (Some(next), Span::Prefix(prefix) | Span::Children(prefix) | Span::One(prefix)) => {
                end = behind_prefix(prefix);
                Span::Range(next, &end)
            }
        };
        let mut frame = StatesFrame::default();
        let mut next = None;
        let number = self.clients.get(observer.client).map_or(0, |watcher| watcher.number);
        for (path, version) in view::seen(tree, rest, Some(of), sight.labels(number)) {
            if frame.count() == STATES_MAX || frame.bytes() >= STATES_BYTES {
                next = Some(Box::from(&path[..]));
                break;
            }
            frame.add(observer.marks, &path, version);
        }
        self.figures.events += frame.count() as u64;
        parcel.write(send, |out| frame.finish(out, &observer.id, of));
        if let Some(next) = next {
            self.snapshots.insert(at, next);
            return;
        }
        parcel.write(send, |out| put_synced(out, &observer.id, of));
        self.snapshots.remove(&at);
        if let Some(observer) = self.all.get_mut(at) {
            observer.marks.remove(Marks::SNAPSHOT);
        }
        // What came meanwhile is told in the next step.
        self.paces.heard(at, sight.now_ms());
    }

    /// An observer has seen everything up to its place's last revision.
    fn has_caught_up(
        &mut self,
        at: u32,
        sealed: Revision,
        sight: &dyn Sight,
        parcel: &mut Parcel,
        send: &mut dyn FnMut(Message),
    ) {
        let Some(observer) = self.all.get_mut(at) else { return };
        let told = observer.marks;
        observer.marks.remove(Marks::SNAPSHOT | Marks::ASKED);
        if told.contains(Marks::SNAPSHOT) {
            // Of a store that is not there.
            parcel.write(send, |out| put_synced(out, &observer.id, sealed));
        }
        if told.contains(Marks::ASKED) {
            parcel.write(send, |out| put_progress(out, &observer.id, sealed));
        }
        if told.intersects(Marks::SNAPSHOT | Marks::ASKED) {
            self.paces.heard(at, sight.now_ms());
        }
        self.catch_up(at, sealed);
    }
}

/// The first path behind all that begin with a prefix. Those have a byte below 255 in it, the first one.
fn behind_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    end
}
