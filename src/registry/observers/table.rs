//! Who observes what: places, targets, observers, and the clients that have them.
//!
//! ```text
//!  place (database, name) ──► target (a path, a prefix or a range) ──► observers: live · behind
//!                                                                        │
//!  client ──► observers: quiet · behind · polls ◄───────────────────────┘
//! ```
//!
//! What many observe is one target. A change touches targets, which takes no time however many observe them; those are marked
//! as behind later, a few at a time. Who is behind is in the line of its client, and what it is told comes from history.
//!
//! What must stay true: an observer is in one list of its target and in one of its client; a target's live observers stand in
//! the order of what they have seen, and those who have not seen the target's last change are in front; whoever is not
//! behind, and whose target is not touched, has seen everything up to its place's last revision.

use super::frames::SharedFrames;
use super::index::Index;
use super::paces::Paces;
use super::slots::{Links, List, NOBODY, Slots};
use hashbrown::{HashMap, HashTable};
use std::collections::{BTreeSet, VecDeque};
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;
use weir_structs::tree::{Revision, Span, Tree};

bitflags::bitflags! {
    /// What an observer wants, and what is the matter with it.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Marks: u16 {
        /// It wants the values of before.
        const PREV = 1 << 0;
        /// It does not want to hear of what is put.
        const NO_PUT = 1 << 1;
        /// It does not want to hear of what is deleted.
        const NO_DEL = 1 << 2;
        /// It ends with its first event.
        const ONCE = 1 << 3;
        /// It wakes its client and is gone.
        const POLL = 1 << 4;
        /// There may be something that it has not been told.
        const BEHIND = 1 << 5;
        /// It is being sent the state of a moment.
        const SNAPSHOT = 1 << 6;
        /// It is told of progress from time to time.
        const PACED = 1 << 7;
        /// It is to be told of its progress as soon as it is not behind.
        const ASKED = 1 << 8;
        /// It has ended: the store is gone,
        const DELETED = 1 << 9;
        /// or is another one,
        const OTHER = 1 << 10;
        /// or what it has not seen is.
        const COMPACTED = 1 << 11;
    }
}

impl Marks {
    /// It has ended and is to be told so.
    pub(super) const ENDED: Marks = Marks::DELETED.union(Marks::OTHER).union(Marks::COMPACTED);

    /// Why it has ended.
    pub(super) fn reason(self) -> &'static str {
        if self.contains(Marks::COMPACTED) {
            "compacted"
        } else if self.contains(Marks::OTHER) {
            "epoch"
        } else {
            "deleted"
        }
    }
}

/// One observer.
#[derive(Debug)]
pub(super) struct Observer {
    /// Under which its client knows it; empty of a poll.
    pub(super) id: Box<[u8]>,
    /// The next revision that it has not seen, unless it is live and has seen all. Of one who has ended, the revision to be told.
    pub(super) from: Revision,
    pub(super) target: u32,
    pub(super) client: u32,
    of_target: Links,
    of_client: Links,
    pub(super) marks: Marks,
}

/// A client that has observers.
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) number: u64,
    quiet: List,
    pub(super) behind: List,
    polls: List,
    last_id: u64,
    observers: u32,
    /// Bytes that wait for it in its connection,
    waiting: u32,
    /// bytes that it was sent since that was last heard of,
    pub(super) sent: u32,
    /// and with how many it rests.
    limit: u32,
    pub(super) in_line: bool,
    gone: bool,
}

impl Watcher {
    /// So many bytes may be sent to it before it rests.
    pub(super) fn room(&self) -> usize {
        self.limit.saturating_sub(self.waiting).saturating_sub(self.sent) as usize
    }
}

/// What is observed of a place.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) place: u32,
    text: Box<[u8]>,
    kind: TargetKind,
    live: List,
    behind: List,
    of_place: Links,
    pub(super) members: u32,
    /// The first and the last revision that have touched it since its observers were last marked.
    first: Revision,
    latest: Revision,
    touched: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum TargetKind {
    One,
    Prefix,
    /// Where the beginning ends and the end begins.
    Range(u32),
}

impl Target {
    pub(super) fn span(&self) -> Span<'_> {
        match self.kind {
            TargetKind::One => Span::One(&self.text),
            TargetKind::Prefix => Span::Prefix(&self.text),
            TargetKind::Range(at) => {
                let (begin, end) = self.text.split_at_checked(at as usize).unwrap_or_default();
                Span::Range(begin, end)
            }
        }
    }
}

/// Where a store is, or may be one day.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) db: usize,
    pub(super) name: Arc<[u8]>,
    /// Number and epoch of the tree that is there; 0 if there is none.
    uid: u64,
    pub(super) epoch: u64,
    /// Its last revision of which all is known.
    pub(super) sealed: Revision,
    index: Index,
    targets: List,
    /// Those who are to be told before a revision that they might come back with is compacted, by that revision.
    pub(super) idle: BTreeSet<(Revision, u32)>,
    /// The store is gone or another one, and this is what observers are told, with a revision.
    ended: Option<(Marks, Revision)>,
}

/// Why somebody cannot observe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refused {
    /// The client has an observer of this id.
    IdInUse,
    /// It has too many.
    TooMany,
}

/// One client has at most so many observers, polls included.
pub const OBSERVERS_MAX: u32 = 1_000_000;

/// A new observer.
#[derive(Clone, Copy, Debug)]
pub(super) struct New<'n> {
    pub(super) client: u64,
    /// `None`: the client's next number.
    pub(super) id: Option<&'n [u8]>,
    pub(super) span: Span<'n>,
    pub(super) from: Revision,
    pub(super) marks: Marks,
}

/// What is known of the store at a place.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Standing {
    /// Number of the tree; 0 if there is none.
    pub uid: u64,
    /// Its epoch; 0 if there is none.
    pub epoch: u64,
    /// The last revision that is complete.
    pub revision: Revision,
    /// The last revision that was compacted.
    pub compacted: Revision,
}

impl Standing {
    /// Of a tree; `open` is the revision that the running unit has begun, if it writes to it.
    pub fn of(tree: Option<&Tree>, open: Option<Revision>) -> Standing {
        let Some(tree) = tree else { return Standing::default() };
        let revision = open.map_or(tree.revision(), |open| open.saturating_sub(1).min(tree.revision()));
        Standing { uid: tree.uid(), epoch: tree.epoch(), revision, compacted: tree.compacted() }
    }
}

/// Figures for INFO.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct ObserverFigures {
    /// Observers that are not polls.
    pub watches: usize,
    /// Paths that clients poll.
    pub polls: usize,
    /// Observers that have not been told everything.
    pub lagging: usize,
    /// Events that were sent.
    pub events: u64,
    /// Observers that ended because their store was gone,
    pub ended_deleted: u64,
    /// was another one,
    pub ended_epoch: u64,
    /// or had been compacted past them.
    pub ended_compacted: u64,
}

/// All observers.
#[derive(Debug)]
pub struct Observers {
    pub(super) all: Slots<Observer>,
    pub(super) clients: Slots<Watcher>,
    pub(super) targets: Slots<Target>,
    pub(super) places: Slots<Place>,
    ids: HashTable<u32>,
    by_number: HashMap<u64, u32, foldhash::fast::RandomState>,
    databases: Vec<HashMap<Arc<[u8]>, u32, foldhash::quality::RandomState>>,
    hasher: foldhash::quality::RandomState,
    /// Targets whose observers are to be marked.
    touched: VecDeque<u32>,
    /// Places whose observers are to be told that it is over.
    ended: VecDeque<u32>,
    /// Clients that are to be sent something.
    pub(super) line: VecDeque<u32>,
    /// Clients that wait in a poll for which there is something.
    woken: VecDeque<u64>,
    pub(super) shared: SharedFrames,
    pub(super) snapshots: HashMap<u32, Box<[u8]>>,
    pub(super) paces: Paces,
    pub(super) figures: ObserverFigures,
    pub(super) lagging: usize,
    polls: usize,
    /// Polls that end because history goes, and what they are answered.
    pub(super) answers: Vec<LastAnswer>,
    /// Kept for its room.
    found: Vec<u32>,
}

/// What a poll is answered that has found nothing, before it would have to know what is not known any more.
#[derive(Clone, Debug)]
pub struct LastAnswer {
    /// Whose poll it is.
    pub client: u64,
    /// A store that it polls.
    pub store: Arc<[u8]>,
    /// The store's epoch.
    pub epoch: u64,
    /// Nothing that the poll wanted has happened up to this revision.
    pub revision: Revision,
}

impl Default for Observers {
    fn default() -> Observers {
        Observers {
            all: Slots::default(),
            clients: Slots::default(),
            targets: Slots::default(),
            places: Slots::default(),
            ids: HashTable::new(),
            by_number: HashMap::default(),
            databases: Vec::new(),
            hasher: foldhash::quality::RandomState::default(),
            touched: VecDeque::new(),
            ended: VecDeque::new(),
            line: VecDeque::new(),
            woken: VecDeque::new(),
            shared: SharedFrames::default(),
            snapshots: HashMap::new(),
            paces: Paces::default(),
            figures: ObserverFigures::default(),
            lagging: 0,
            polls: 0,
            answers: Vec::new(),
            found: Vec::new(),
        }
    }
}

fn of_target(observer: &mut Observer) -> &mut Links {
    &mut observer.of_target
}

fn of_client(observer: &mut Observer) -> &mut Links {
    &mut observer.of_client
}

fn of_place(target: &mut Target) -> &mut Links {
    &mut target.of_place
}

fn text_of(targets: &Slots<Target>, at: u32) -> &[u8] {
    targets.get(at).map_or(&[], |target| &target.text)
}

impl Observers {
    /// Whether there are none, which costs nobody anything. A place that is still to be looked at counts: who comes there
    /// meanwhile relies on what is known of it.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.all.len() + self.places.len() == 0
    }

    /// For INFO.
    pub fn figures(&self) -> ObserverFigures {
        let polls = self.polls;
        ObserverFigures { watches: self.all.len() - polls, polls, lagging: self.lagging, ..self.figures }
    }

    /// How many observers a client has, polls included.
    pub fn count_of(&self, client: u64) -> usize {
        let watcher = self.by_number.get(&client).and_then(|at| self.clients.get(*at));
        watcher.map_or(0, |watcher| watcher.observers as usize)
    }

    /// Everything that anybody observes: the client, the database, the store and the paths. O(observers).
    pub fn observed(&self) -> impl Iterator<Item = (u64, usize, &[u8], Span<'_>)> {
        self.all.numbers().filter_map(|at| {
            let observer = self.all.get(at)?;
            let (client, target) = (self.clients.get(observer.client)?, self.targets.get(observer.target)?);
            let place = self.places.get(target.place)?;
            Some((client.number, place.db, &*place.name, target.span()))
        })
    }

    /// Clients that observe, or poll, anything in a store that begins with some bytes: each once, in order.
    pub fn clients_at(&self, db: usize, name: &[u8], prefix: &[u8]) -> Vec<u64> {
        let mut numbers = Vec::new();
        let mut target_at = self.named(db, name).and_then(|place| place.targets.first());
        while let Some(target) = target_at.and_then(|at| self.targets.get(at)) {
            target_at = target.of_place.next();
            let concerns = match target.span() {
                Span::Prefix(other) => other.starts_with(prefix) || prefix.starts_with(other),
                Span::Range(begin, end) => begin.starts_with(prefix) || (begin < prefix && prefix < end),
                Span::One(path) | Span::Children(path) => path.starts_with(prefix),
            };
            for list in [target.live, target.behind].iter().filter(|_| concerns) {
                let mut at = list.first();
                while let Some(observer) = at.and_then(|at| self.all.get(at)) {
                    at = observer.of_target.next();
                    numbers.extend(self.clients.get(observer.client).map(|client| client.number));
                }
            }
        }
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// Something that nobody outside knows.
    pub(super) fn seed(&self) -> u64 {
        self.hasher.hash_one(self.by_number.len())
    }

    fn id_hash(&self, client: u32, id: &[u8]) -> u64 {
        let mut state = self.hasher.build_hasher();
        client.hash(&mut state);
        id.hash(&mut state);
        state.finish()
    }

    pub(super) fn find(&self, client: u64, id: &[u8]) -> Option<u32> {
        let client = *self.by_number.get(&client)?;
        let is_it = |at: &u32| self.all.get(*at).is_some_and(|it| it.client == client && *it.id == *id);
        self.ids.find(self.id_hash(client, id), is_it).copied()
    }

    fn place_at(&self, db: usize, name: &[u8]) -> Option<u32> {
        self.databases.get(db)?.get(name).copied()
    }

    pub(super) fn named(&self, db: usize, name: &[u8]) -> Option<&Place> {
        self.places.get(self.place_at(db, name)?)
    }

    fn place_for(&mut self, db: usize, name: &[u8], standing: Standing) -> u32 {
        if let Some(at) = self.place_at(db, name) {
            return at;
        }
        let name: Arc<[u8]> = name.into();
        let seed = self.hasher.hash_one((db, &name));
        let at = self.places.add(Place {
            db,
            name: Arc::clone(&name),
            uid: standing.uid,
            epoch: standing.epoch,
            sealed: standing.revision,
            index: Index::new(seed),
            targets: List::default(),
            idle: BTreeSet::new(),
            ended: None,
        });
        if self.databases.len() <= db {
            self.databases.resize_with(db + 1, HashMap::default);
        }
        self.databases[db].insert(name, at);
        at
    }

    fn target_for(&mut self, place: u32, span: Span<'_>) -> u32 {
        let Observers { targets, places, .. } = self;
        let Some(at_place) = places.get_mut(place) else { return NOBODY };
        if let Some(at) = at_place.index.get(span, |at| text_of(targets, at)) {
            return at;
        }
        let (kind, text) = match span {
            Span::One(path) => (TargetKind::One, path.into()),
            Span::Prefix(prefix) | Span::Children(prefix) => (TargetKind::Prefix, prefix.into()),
            Span::Range(begin, end) => {
                let at = u32::try_from(begin.len()).unwrap_or_default();
                (TargetKind::Range(at), [begin, end].concat().into())
            }
        };
        let new = Target {
            place,
            text,
            kind,
            live: List::default(),
            behind: List::default(),
            of_place: Links::NONE,
            members: 0,
            first: 0,
            latest: 0,
            touched: false,
        };
        let at = targets.add(new);
        at_place.targets.push_back(targets, at, of_place);
        at_place.index.add(span, at, |at| text_of(targets, at));
        at
    }

    fn client_for(&mut self, number: u64) -> u32 {
        *self.by_number.entry(number).or_insert_with(|| {
            self.clients.add(Watcher {
                number,
                quiet: List::default(),
                behind: List::default(),
                polls: List::default(),
                last_id: 0,
                observers: 0,
                waiting: 0,
                sent: 0,
                limit: super::OUTPUT_BYTES_MAX,
                in_line: false,
                gone: false,
            })
        })
    }

    /// Adds an observer, who is live if it has seen everything.
    pub(super) fn add(&mut self, db: usize, name: &[u8], standing: Standing, new: New<'_>) -> Result<u32, Refused> {
        let polls = new.marks.contains(Marks::POLL);
        let client = self.client_for(new.client);
        let refused = match self.clients.get(client) {
            Some(watcher) if watcher.observers >= OBSERVERS_MAX => Some(Refused::TooMany),
            _ if new.id.is_some_and(|id| self.find(new.client, id).is_some()) => Some(Refused::IdInUse),
            _ => None,
        };
        if let Some(refused) = refused {
            self.forget_client(client);
            return Err(refused);
        }
        let id: Box<[u8]> = match new.id {
            Some(id) => id.into(),
            None if polls => Box::default(),
            None => self.next_id(new.client, client),
        };
        let place = self.place_for(db, name, standing);
        let target = self.target_for(place, new.span);
        let at = self.all.add(Observer {
            id,
            from: new.from,
            target,
            client,
            of_target: Links::NONE,
            of_client: Links::NONE,
            marks: new.marks,
        });
        if polls {
            self.polls += 1;
        } else {
            let hash = self.all.get(at).map_or(0, |observer| self.id_hash(client, &observer.id));
            let Observers { ids, all, hasher, .. } = self;
            ids.insert_unique(hash, at, |at| {
                let mut state = hasher.build_hasher();
                if let Some(observer) = all.get(*at) {
                    observer.client.hash(&mut state);
                    observer.id.hash(&mut state);
                }
                state.finish()
            });
        }
        if let Some(watcher) = self.clients.get_mut(client) {
            watcher.observers += 1;
        }
        if let Some(target) = self.targets.get_mut(target) {
            target.members += 1;
        }
        self.enlist(at);
        let sealed = self.places.get(place).map_or(0, |place| place.sealed);
        if !polls && (new.from <= sealed || new.marks.contains(Marks::SNAPSHOT)) {
            self.fall_behind(at);
        }
        Ok(at)
    }

    fn next_id(&mut self, number: u64, client: u32) -> Box<[u8]> {
        loop {
            let Some(watcher) = self.clients.get_mut(client) else { return Box::default() };
            watcher.last_id += 1;
            let id = watcher.last_id.to_string().into_bytes().into_boxed_slice();
            if self.find(number, &id).is_none() {
                return id;
            }
        }
    }

    /// Puts an observer, who is in no list, into those in which it belongs.
    fn enlist(&mut self, at: u32) {
        let Observers { all, clients, targets, .. } = self;
        let Some(observer) = all.get(at) else { return };
        let (marks, target, client) = (observer.marks, observer.target, observer.client);
        if let Some(target) = targets.get_mut(target) {
            let list = if marks.contains(Marks::BEHIND) { &mut target.behind } else { &mut target.live };
            list.push_back(all, at, of_target);
        }
        if let Some(watcher) = clients.get_mut(client) {
            watcher.list(marks).push_back(all, at, of_client);
        }
    }

    /// Takes an observer out of its lists.
    fn delist(&mut self, at: u32) {
        let Observers { all, clients, targets, .. } = self;
        let Some(observer) = all.get(at) else { return };
        let (marks, target, client) = (observer.marks, observer.target, observer.client);
        if let Some(target) = targets.get_mut(target) {
            let list = if marks.contains(Marks::BEHIND) { &mut target.behind } else { &mut target.live };
            list.remove(all, at, of_target);
        }
        if let Some(watcher) = clients.get_mut(client) {
            watcher.list(marks).remove(all, at, of_client);
        }
    }

    /// An observer has something to be told, and its client is to be sent it.
    pub(super) fn fall_behind(&mut self, at: u32) {
        let Some(observer) = self.all.get(at) else { return };
        let client = observer.client;
        if !observer.marks.intersects(Marks::BEHIND | Marks::POLL) {
            self.delist(at);
            if let Some(observer) = self.all.get_mut(at) {
                observer.marks.insert(Marks::BEHIND);
            }
            self.enlist(at);
            self.lagging += 1;
        }
        self.stand_in_line(client);
    }

    /// An observer was told everything up to its place's last revision.
    pub(super) fn catch_up(&mut self, at: u32, sealed: Revision) {
        self.delist(at);
        if let Some(observer) = self.all.get_mut(at) {
            if observer.marks.contains(Marks::BEHIND) {
                self.lagging -= 1;
            }
            observer.marks.remove(Marks::BEHIND);
            observer.from = sealed + 1;
        }
        self.enlist(at);
    }

    fn stand_in_line(&mut self, client: u32) {
        if let Some(watcher) = self.clients.get_mut(client)
            && !watcher.in_line
            && !watcher.behind.is_empty()
            && watcher.room() > 0
        {
            watcher.in_line = true;
            self.line.push_back(client);
        }
    }

    /// What the network says of a client: so many bytes wait for it; with so many it rests.
    pub fn set_waiting(&mut self, client: u64, waiting: usize, limit: usize) {
        let Some(&at) = self.by_number.get(&client) else { return };
        if let Some(watcher) = self.clients.get_mut(at) {
            watcher.waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
            watcher.sent = 0;
            watcher.limit = u32::try_from(limit).unwrap_or(u32::MAX).min(super::OUTPUT_BYTES_MAX);
        }
        self.stand_in_line(at);
    }

    /// A unit is over that wrote a revision to a store: `touched` is to call what it is given with every path that looks
    /// different to anybody.
    pub fn sealed(&mut self, db: usize, name: &[u8], tree: &Tree, touched: impl FnOnce(&mut dyn FnMut(&[u8]))) {
        let Some(at) = self.place_at(db, name) else { return };
        if self.places.get(at).is_some_and(|place| place.epoch != 0 && place.epoch != tree.epoch()) {
            return self.look(db, name, Some(tree), false);
        }
        let mut found = std::mem::take(&mut self.found);
        let Observers { places, targets, touched: queue, .. } = self;
        let Some(place) = places.get_mut(at) else { return };
        (place.epoch, place.uid) = (tree.epoch(), tree.uid());
        let revision = tree.revision();
        place.sealed = revision;
        touched(&mut |path| {
            place.index.containing(path, |at| text_of(targets, at), |target| found.push(target));
            for at in found.drain(..) {
                let Some(target) = targets.get_mut(at).filter(|target| !target.live.is_empty()) else { continue };
                if !target.touched {
                    target.touched = true;
                    target.first = revision;
                    queue.push_back(at);
                }
                target.latest = revision;
            }
        });
        self.found = found;
    }

    /// A place may have another store than before, or none. `born`: the store was created by a write of this unit.
    pub fn look(&mut self, db: usize, name: &[u8], tree: Option<&Tree>, born: bool) {
        let Some(at) = self.place_at(db, name) else { return };
        let Some(place) = self.places.get_mut(at) else { return };
        let ended = match tree {
            None if place.epoch == 0 => None,
            None => Some((Marks::DELETED, place.sealed)),
            Some(tree) if place.epoch == 0 && born => {
                (place.epoch, place.uid) = (tree.epoch(), tree.uid());
                None
            }
            Some(tree) if tree.epoch() == place.epoch && tree.uid() == place.uid => None,
            Some(tree) => Some((Marks::OTHER, tree.revision())),
        };
        if ended.is_some() {
            place.ended = ended;
            if let Some(names) = self.databases.get_mut(db) {
                names.remove(name);
            }
            self.ended.push_back(at);
        }
    }

    /// The names of a database at which somebody observes.
    pub fn names(&self, db: usize) -> Vec<Arc<[u8]>> {
        self.databases.get(db).into_iter().flat_map(HashMap::keys).cloned().collect()
    }

    /// Whether anybody is to be marked.
    #[inline]
    pub(super) fn has_unmarked(&self) -> bool {
        !self.touched.is_empty() || !self.ended.is_empty()
    }

    /// Marks observers as behind whose target was touched, and ends those whose place is gone, as long as `may_go_on`. Says
    /// whether all are.
    pub(super) fn mark(&mut self, may_go_on: &mut dyn FnMut() -> bool) -> bool {
        while let Some(&at) = self.ended.front() {
            if !self.end_place(at, may_go_on) {
                return false;
            }
            self.ended.pop_front();
        }
        while let Some(&at) = self.touched.front() {
            while let Some(first) = self.first_to_be_marked(at) {
                if !may_go_on() {
                    return false;
                }
                self.mark_one(first);
            }
            self.touched.pop_front();
            if let Some(target) = self.targets.get_mut(at) {
                target.touched = false;
            }
            self.forget_target_without_members(at);
        }
        true
    }

    /// The first revision that an observer may not have seen although it is not behind: its target is touched, and it is still
    /// to be marked.
    pub(super) fn first_unseen(&self, at: u32) -> Option<Revision> {
        let observer = self.all.get(at)?;
        let target = self.targets.get(observer.target).filter(|target| target.touched)?;
        (observer.from <= target.latest).then(|| observer.from.max(target.first))
    }

    /// Whether something has happened that a client in a poll wants, which has not been woken yet.
    pub(super) fn has_missed(&self, client: u32) -> bool {
        let mut at = self.clients.get(client).and_then(|watcher| watcher.polls.first());
        while let Some((poll, observer)) = at.and_then(|at| Some((at, self.all.get(at)?))) {
            if self.first_unseen(poll).is_some() {
                return true;
            }
            at = observer.of_client.next();
        }
        false
    }

    fn first_to_be_marked(&self, target: u32) -> Option<u32> {
        let target = self.targets.get(target)?;
        let first = target.live.first()?;
        self.all.get(first).filter(|observer| observer.from <= target.latest).map(|_| first)
    }

    fn mark_one(&mut self, at: u32) {
        let Some(observer) = self.all.get_mut(at) else { return };
        if observer.marks.contains(Marks::POLL) {
            let client = observer.client;
            self.wake(client);
            return;
        }
        let first = self.targets.get(observer.target).map_or(0, |target| target.first);
        observer.from = observer.from.max(first);
        self.fall_behind(at);
    }

    /// A client in a poll is to look again.
    pub(super) fn wake(&mut self, client: u32) {
        if let Some(number) = self.clients.get(client).map(|watcher| watcher.number) {
            self.woken.push_back(number);
            self.end_poll(number);
        }
    }

    /// Takes a client that waits in a poll for which there may be something.
    pub fn take_woken(&mut self) -> Option<u64> {
        self.woken.pop_front()
    }

    /// Whether there are any.
    #[inline]
    pub fn has_woken(&self) -> bool {
        !self.woken.is_empty()
    }

    /// A client does not wait in a poll any more.
    pub fn end_poll(&mut self, client: u64) {
        let Some(&client) = self.by_number.get(&client) else { return };
        while let Some(at) = self.clients.get(client).and_then(|watcher| watcher.polls.first()) {
            self.remove(at);
        }
        self.forget_client(client);
    }

    /// Ends observers of a place that is gone. Says whether all are.
    fn end_place(&mut self, at: u32, may_go_on: &mut dyn FnMut() -> bool) -> bool {
        let Some((why, revision)) = self.places.get(at).and_then(|place| place.ended) else { return true };
        while let Some(target) = self.places.get(at).and_then(|place| place.targets.first()) {
            loop {
                let lists = self.targets.get(target).map(|target| (target.live.first(), target.behind.first()));
                let Some(member) = lists.and_then(|(live, behind)| live.or(behind)) else { break };
                if !may_go_on() {
                    return false;
                }
                if self.all.get(member).is_some_and(|observer| observer.marks.contains(Marks::POLL)) {
                    let client = self.all.get(member).map_or(NOBODY, |observer| observer.client);
                    self.wake(client);
                } else {
                    self.end(member, why, revision);
                }
            }
            // With its last member it has gone, unless it is also to be marked; then it goes there.
            let Observers { places, targets, .. } = self;
            if let (Some(place), true) = (places.get_mut(at), targets.get(target).is_some()) {
                place.targets.remove(targets, target, of_place);
                if let Some(target) = targets.get_mut(target) {
                    target.place = NOBODY;
                }
            }
        }
        self.places.remove(at);
        true
    }

    /// An observer has ended and is to be told so: it observes nothing any more.
    pub(super) fn end(&mut self, at: u32, why: Marks, revision: Revision) {
        self.delist(at);
        let Some(observer) = self.all.get_mut(at) else { return };
        let target = std::mem::replace(&mut observer.target, NOBODY);
        if !observer.marks.contains(Marks::BEHIND) {
            self.lagging += 1;
        }
        observer.marks.insert(why | Marks::BEHIND);
        observer.from = revision;
        let client = observer.client;
        self.leave_target(at, target);
        self.enlist(at);
        self.stand_in_line(client);
        match why {
            Marks::DELETED => self.figures.ended_deleted += 1,
            Marks::OTHER => self.figures.ended_epoch += 1,
            _ => self.figures.ended_compacted += 1,
        }
    }

    /// What an observer had at its target and its place goes.
    fn leave_target(&mut self, at: u32, target: u32) {
        self.snapshots.remove(&at);
        let idle_at = self.paces.remove(at);
        let Observers { places, targets, .. } = self;
        if let Some(target) = targets.get_mut(target) {
            target.members -= 1;
            if let (Some(place), Some(idle_at)) = (places.get_mut(target.place), idle_at) {
                place.idle.remove(&(idle_at, at));
            }
        }
        self.forget_target_without_members(target);
    }

    fn forget_target_without_members(&mut self, at: u32) {
        let Observers { places, targets, databases, shared, .. } = self;
        let Some(target) = targets.get(at).filter(|target| target.members == 0 && !target.touched) else { return };
        let at_place = target.place;
        if let Some(place) = places.get_mut(at_place) {
            place.index.remove(target.span(), at);
            place.targets.remove(targets, at, of_place);
            if place.targets.is_empty() && place.ended.is_none() {
                if let Some(names) = databases.get_mut(place.db) {
                    names.remove(&place.name);
                }
                places.remove(at_place);
            }
        }
        targets.remove(at);
        shared.clear();
    }

    /// Removes an observer without a word.
    pub(super) fn remove(&mut self, at: u32) {
        self.delist(at);
        let Some(observer) = self.all.get(at) else { return };
        let (client, target, marks) = (observer.client, observer.target, observer.marks);
        if marks.contains(Marks::POLL) {
            self.polls -= 1;
        } else {
            let hash = self.id_hash(client, &observer.id);
            if let Ok(entry) = self.ids.find_entry(hash, |found| *found == at) {
                entry.remove();
            }
        }
        if marks.contains(Marks::BEHIND) {
            self.lagging -= 1;
        }
        self.leave_target(at, target);
        self.all.remove(at);
        if let Some(watcher) = self.clients.get_mut(client) {
            watcher.observers -= 1;
        }
        if self.all.len() == 0 {
            // The room that was needed at the height of things goes back.
            self.ids = HashTable::new();
        }
    }

    /// Forgets a client that has no observers. While it is connected its ids are counted on, so that none is used twice.
    pub(super) fn forget_client(&mut self, at: u32) {
        let Some(watcher) = self.clients.get(at).filter(|it| it.observers == 0 && !it.in_line) else { return };
        if watcher.gone {
            self.clients.remove(at);
        } else if watcher.last_id == 0 {
            self.by_number.remove(&watcher.number);
            self.clients.remove(at);
        }
    }

    /// A client wants to hear no more under an id. Says whether it did.
    pub fn unobserve(&mut self, client: u64, id: &[u8]) -> bool {
        let Some(at) = self.find(client, id) else { return false };
        self.remove(at);
        true
    }

    /// A client is gone.
    pub fn client_gone(&mut self, client: u64) {
        let Some(at) = self.by_number.remove(&client) else { return };
        loop {
            let watcher = self.clients.get(at);
            let lists = watcher.and_then(|it| it.quiet.first().or(it.behind.first()).or(it.polls.first()));
            let Some(observer) = lists else { break };
            self.remove(observer);
        }
        if let Some(watcher) = self.clients.get_mut(at) {
            watcher.gone = true;
        }
        self.forget_client(at);
    }

    /// Whether nothing is left of anybody.
    #[cfg(test)]
    pub(super) fn is_vacant(&self) -> bool {
        let lists = self.ids.is_empty() && self.by_number.is_empty() && self.snapshots.is_empty();
        let slots = self.clients.len() + self.targets.len() + self.places.len() + self.line.len() == 0;
        lists && slots && self.polls == 0 && self.lagging == 0 && self.paces.next_ms().is_none()
    }

    /// Where a client is, if it has observers.
    pub(super) fn client_at(&self, client: u64) -> Option<u32> {
        self.by_number.get(&client).copied()
    }
}

impl Watcher {
    fn list(&mut self, marks: Marks) -> &mut List {
        if marks.contains(Marks::POLL) {
            &mut self.polls
        } else if marks.contains(Marks::BEHIND) {
            &mut self.behind
        } else {
            &mut self.quiet
        }
    }
}
