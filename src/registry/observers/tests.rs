//! Observers beside a plain log of everything: what each was told is what the log has.

use super::table::Observers;
use super::{Marks, PollEntry, Served, Sight, Standing, Wish};
use crate::registry::Labels;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};
use weir_structs::tree::{Revision, Span, Tree, Write};

const STORES: [(usize, &[u8]); 4] = [(0, b"a"), (0, b"b"), (1, b"a"), (1, b"c")];

/// An element of a frame.
#[derive(Clone, PartialEq, Debug)]
enum Value {
    Text(Vec<u8>),
    Number(u64),
    Null,
    List(Vec<Value>),
}

impl Value {
    fn text(&self) -> &[u8] {
        match self {
            Value::Text(text) => text,
            other => panic!("{other:?} is no text"),
        }
    }

    fn number(&self) -> u64 {
        match self {
            Value::Number(number) => *number,
            other => panic!("{other:?} is no number"),
        }
    }

    fn list(&self) -> &[Value] {
        match self {
            Value::List(list) => list,
            other => panic!("{other:?} is no list"),
        }
    }

    fn parse(bytes: &mut &[u8]) -> Value {
        let end = bytes.windows(2).position(|at| at == b"\r\n").expect("a line ends");
        let (line, rest) = (&bytes[1..end], &bytes[end + 2..]);
        let number = || std::str::from_utf8(line).expect("text").parse::<u64>().expect("a number");
        let kind = bytes[0];
        *bytes = rest;
        match kind {
            b'$' => {
                let text = bytes[..number() as usize].to_vec();
                *bytes = &bytes[number() as usize + 2..];
                Value::Text(text)
            }
            b':' => Value::Number(number()),
            b'_' => Value::Null,
            b'*' | b'>' => Value::List((0..number()).map(|_| Value::parse(bytes)).collect()),
            other => panic!("{:?} begins nothing", char::from(other)),
        }
    }
}

/// A change of a path as the log has it.
#[derive(Clone, PartialEq, Debug)]
struct Logged {
    path: Vec<u8>,
    after: Option<(Vec<u8>, u64, u64)>,
    before: Option<Vec<u8>>,
}

/// All that ever happened in one store.
#[derive(Default, Debug)]
struct Log {
    changes: BTreeMap<Revision, Vec<Logged>>,
}

impl Log {
    fn state(&self, at: Revision) -> States {
        let mut state = BTreeMap::new();
        for change in self.changes.range(..=at).flat_map(|(_, changes)| changes) {
            match &change.after {
                Some(after) => state.insert(change.path.clone(), after.clone()),
                None => state.remove(&change.path),
            };
        }
        state
    }
}

/// Paths with their values, creation and version.
type States = BTreeMap<Vec<u8>, (Vec<u8>, u64, u64)>;
/// Database, store, what of it, from which revision, in which epoch.
type Polls = Vec<(usize, &'static [u8], Wanted, Revision, u64)>;

#[derive(Clone, Debug)]
enum Wanted {
    One(Vec<u8>),
    Prefix(Vec<u8>),
    Range(Vec<u8>, Vec<u8>),
}

impl Wanted {
    fn span(&self) -> Span<'_> {
        match self {
            Wanted::One(path) => Span::One(path),
            Wanted::Prefix(prefix) => Span::Prefix(prefix),
            Wanted::Range(begin, end) => Span::Range(begin, end),
        }
    }
}

/// What one observer has seen.
#[derive(Debug)]
struct Seen {
    log: usize,
    db: usize,
    store: &'static [u8],
    wanted: Wanted,
    marks: Marks,
    next: Revision,
    /// The revision of its snapshot, and what has come of that.
    snapshot: Option<(Revision, States)>,
    over: bool,
}

impl Seen {
    fn of(&self, log: &Log, revision: Revision) -> Vec<Logged> {
        let changes = log.changes.get(&revision).map(|changes| changes.as_slice()).unwrap_or_default();
        let wants = |logged: &&Logged| {
            let refused = if logged.after.is_some() { Marks::NO_PUT } else { Marks::NO_DEL };
            self.wanted.span().contains(&logged.path) && !self.marks.contains(refused)
        };
        changes.iter().filter(wants).cloned().collect()
    }

    /// Nothing that it wants is before `revision`.
    fn skips_to(&self, log: &Log, revision: Revision) {
        for missed in self.next..revision {
            assert_eq!(self.of(log, missed), [], "{self:?} has missed {missed}");
        }
    }
}

struct World {
    random: SmallRng,
    observers: Observers,
    trees: HashMap<(usize, &'static [u8]), Tree>,
    logs: Vec<Log>,
    log_of: HashMap<(usize, &'static [u8]), usize>,
    seen: BTreeMap<(u64, Vec<u8>), Seen>,
    resting: BTreeMap<u64, bool>,
    polls: BTreeMap<u64, Polls>,
    last_uid: u64,
    now_ms: u64,
    frames: usize,
    cancels: BTreeMap<Vec<u8>, usize>,
}

fn no_labels() -> &'static Labels {
    static NONE: OnceLock<Labels> = OnceLock::new();
    NONE.get_or_init(Labels::default)
}

struct At<'w>(&'w HashMap<(usize, &'static [u8]), Tree>, u64);

impl Sight for At<'_> {
    fn tree(&self, db: usize, name: &[u8]) -> Option<&Tree> {
        let place = STORES.iter().find(|(of, store)| *of == db && *store == name)?;
        self.0.get(place)
    }

    fn labels(&self, _: u64) -> &Labels {
        no_labels()
    }

    fn now_ms(&self) -> u64 {
        self.1
    }
}

impl World {
    fn new(seed: u64) -> World {
        World {
            random: SmallRng::seed_from_u64(seed),
            observers: Observers::default(),
            trees: HashMap::new(),
            logs: vec![Log::default()],
            log_of: HashMap::new(),
            seen: BTreeMap::new(),
            resting: BTreeMap::new(),
            polls: BTreeMap::new(),
            last_uid: 0,
            now_ms: 1_000,
            frames: 0,
            cancels: BTreeMap::new(),
        }
    }

    fn path(&mut self) -> Vec<u8> {
        let parts = ["/a", "/b", "/ab", "/a/x", "/a/y", "/b/x/y", "/c", "/c/d/e"];
        parts.choose(&mut self.random).expect("there are some").as_bytes().to_vec()
    }

    fn wanted(&mut self) -> Wanted {
        let path = self.path();
        match self.random.random_range(0..3) {
            0 => Wanted::One(path),
            1 => {
                let len = self.random.random_range(1..=path.len());
                Wanted::Prefix(path[..len].to_vec())
            }
            _ => Wanted::Range(path, self.path()),
        }
    }

    fn standing(&self, store: (usize, &'static [u8])) -> Standing {
        Standing::of(self.trees.get(&store), None)
    }

    /// A unit writes to a store, perhaps to create it.
    fn write(&mut self, store: (usize, &'static [u8])) {
        let born = !self.trees.contains_key(&store);
        let mut tree = self.trees.remove(&store).unwrap_or_else(|| {
            self.last_uid += 1;
            let mut tree = Tree::new(self.random.random_range(1..1_000_000));
            tree.set_uid(self.last_uid);
            // Who waits for it, waits for this one.
            let log = self.logs.len();
            for seen in self.seen.values_mut().filter(|seen| (seen.db, seen.store) == store && !seen.over) {
                if seen.log == 0 {
                    seen.log = log;
                }
            }
            self.logs.push(Log::default());
            self.log_of.insert(store, log);
            tree
        });
        let revision = tree.revision() + 1;
        for _ in 0..self.random.random_range(1..5) {
            let path = self.path();
            if self.random.random_bool(0.7) {
                let value = self.random.random::<u16>().to_string().into_bytes();
                tree.write(revision, self.now_ms, Write::Put { path: &path, value: &value, lease: 0, flags: 0 });
            } else {
                tree.write(revision, self.now_ms, Write::Del { path: &path });
            }
        }
        if tree.revision() == revision {
            // What was created and deleted in it leaves nothing.
            let events = tree.change(revision).map(|change| change.events).unwrap_or_default();
            let logged = events.iter().map(|event| Logged {
                path: event.path.to_vec(),
                after: event.after.as_ref().map(|it| (it.value().to_vec(), it.create(), it.version())),
                before: event.before.as_ref().map(|it| it.value().to_vec()),
            });
            self.logs[self.log_of[&store]].changes.insert(revision, logged.collect());
            // Where nobody observes, nobody is told.
            if !self.observers.is_empty() {
                if born {
                    self.observers.look(store.0, store.1, Some(&tree), true);
                }
                self.observers.sealed(store.0, store.1, &tree, |touch| {
                    events.iter().for_each(|event| touch(&event.path));
                });
            }
        }
        self.trees.insert(store, tree);
    }

    fn observe(&mut self) {
        let store = *STORES.choose(&mut self.random).expect("there are some");
        let client = self.random.random_range(1..8);
        let wanted = self.wanted();
        let standing = self.standing(store);
        let mut marks = Marks::empty();
        for mark in [Marks::PREV, Marks::NO_PUT, Marks::NO_DEL, Marks::ONCE] {
            marks.set(mark, self.random.random_bool(0.2));
        }
        let named = self.random.random_range(0..4).to_string().into_bytes();
        let from = self.random.random_bool(0.4).then(|| self.random.random_range(0..standing.revision + 4));
        let snapshot = from.is_none() && self.random.random_bool(0.3);
        let epoch = self.random.random_bool(0.3).then(|| standing.epoch + u64::from(self.random.random_bool(0.1)));
        let wish = Wish {
            client,
            db: store.0,
            store: store.1,
            span: wanted.span(),
            id: self.random.random_bool(0.5).then_some(named.as_slice()),
            from,
            epoch,
            snapshot,
            marks,
            progress_ms: self.random.random_bool(0.4).then_some(50),
        };
        let random = self.random.random();
        match self.observers.observe(&wish, standing, self.now_ms, random) {
            Ok(watching) => {
                let rests = self.resting.get(&client).copied().unwrap_or_default();
                self.observers.set_waiting(client, if rests { 1 << 20 } else { 0 }, 1 << 20);
                assert_eq!((watching.revision, watching.epoch), (standing.revision, standing.epoch));
                let log = if standing.epoch == 0 { 0 } else { self.log_of[&store] };
                let seen = Seen {
                    log,
                    db: store.0,
                    store: store.1,
                    wanted,
                    marks,
                    next: from.unwrap_or(standing.revision + 1),
                    snapshot: snapshot.then(|| (standing.revision, BTreeMap::new())),
                    over: false,
                };
                let old = self.seen.insert((client, watching.id.to_vec()), seen);
                assert!(old.is_none_or(|old| old.over), "an id is in use once");
            }
            Err(error) => {
                let text = error.text().to_vec();
                let epoch_is_another = epoch.is_some_and(|epoch| epoch != standing.epoch);
                if text.starts_with(b"CFGEPOCH") {
                    assert!(epoch_is_another);
                } else if text.starts_with(b"CFGCOMPACTED") {
                    assert!(from.expect("it was said") <= standing.compacted);
                } else if text.starts_with(b"CFGFUTURE") {
                    assert!(from.expect("it was said") > standing.revision + 1);
                } else {
                    assert!(self.seen.get(&(client, named)).is_some_and(|seen| !seen.over), "{error:?}");
                }
            }
        }
    }

    fn receive(&mut self, client: u64, mut message: &[u8]) {
        while !message.is_empty() {
            let frame = Value::parse(&mut message);
            self.frames += 1;
            self.receive_frame(client, frame.list());
        }
    }

    fn receive_frame(&mut self, client: u64, frame: &[Value]) {
        let (kind, id) = (frame[0].text(), frame[1].text());
        let seen = self.seen.get_mut(&(client, id.to_vec())).expect("somebody has asked for it");
        assert!(!seen.over, "{frame:?} after the end");
        let log = &self.logs[seen.log];
        let revision = frame[frame.len() - if kind == b"cfg.event" { 2 } else { 1 }].number();
        match kind {
            b"cfg.event" => {
                let events = frame[3].list();
                assert!(!events.is_empty());
                let read = |event: &Value| {
                    let event = event.list();
                    assert_eq!(event.len(), 7 + usize::from(seen.marks.contains(Marks::PREV)));
                    let after = match event[0].text() {
                        b"put" => Some((event[2].text().to_vec(), event[3].number(), event[5].number())),
                        _ => {
                            assert_eq!((&event[2], event[4].number()), (&Value::Null, revision));
                            None
                        }
                    };
                    let before = event.get(7).filter(|it| **it != Value::Null).map(|it| it.text().to_vec());
                    Logged { path: event[1].text().to_vec(), after, before }
                };
                let events: Vec<Logged> = events.iter().map(read).collect();
                if let Some((of, states)) = &mut seen.snapshot {
                    assert_eq!(*of, revision);
                    for event in events {
                        let old = states.insert(event.path, event.after.expect("a state is put"));
                        assert!(old.is_none(), "a state comes once");
                    }
                    return;
                }
                seen.skips_to(log, revision);
                let mut expected = seen.of(log, revision);
                if !seen.marks.contains(Marks::PREV) {
                    expected.iter_mut().for_each(|event| event.before = None);
                }
                assert_eq!(events, expected, "{seen:?} at {revision}");
                seen.next = revision + 1;
                seen.over = seen.marks.contains(Marks::ONCE);
            }
            b"cfg.synced" => {
                let (of, states) = seen.snapshot.take().expect("a snapshot was asked for");
                assert_eq!(of, revision);
                let mut expected = log.state(of);
                expected.retain(|path, _| seen.wanted.span().contains(path));
                assert_eq!(states, expected);
                seen.next = revision + 1;
            }
            b"cfg.progress" => {
                assert!(seen.snapshot.is_none());
                seen.skips_to(log, revision + 1);
                seen.next = seen.next.max(revision + 1);
            }
            b"cfg.cancel" => {
                *self.cancels.entry(frame[2].text().to_vec()).or_default() += 1;
                seen.over = true;
                if frame[2].text() == b"compacted" {
                    assert!(seen.next <= revision || seen.snapshot.is_some());
                }
            }
            other => panic!("{other:?}"),
        }
    }

    fn deliver(&mut self, steps: usize) {
        let mut left = steps;
        let mut messages: Vec<(u64, Arc<[u8]>)> = Vec::new();
        let trees = At(&self.trees, self.now_ms);
        self.observers.deliver(
            &trees,
            &mut || {
                left = left.saturating_sub(1);
                left > 0
            },
            &mut |client, message| messages.push((client, message.bytes)),
        );
        for (client, message) in messages {
            assert!(!self.resting.get(&client).copied().unwrap_or_default(), "who rests is sent nothing");
            self.receive(client, &message);
        }
        while let Some(client) = self.observers.take_woken() {
            if self.polls.contains_key(&client) {
                self.poll_again(client);
            }
        }
    }

    fn bring_up(&mut self, client: u64) {
        let mut messages: Vec<Arc<[u8]>> = Vec::new();
        let trees = At(&self.trees, self.now_ms);
        let served = self.observers.bring_up(client, &trees, &mut || true, &mut |message| messages.push(message.bytes));
        assert_eq!(served, Served::Done);
        messages.iter().for_each(|message| self.receive(client, message));
        if !self.resting.get(&client).copied().unwrap_or_default() {
            self.has_seen_all(|of| of == client);
        }
    }

    fn has_seen_all(&self, who: impl Fn(u64) -> bool) {
        for ((client, _), seen) in self.seen.iter().filter(|((client, _), seen)| who(*client) && !seen.over) {
            let now = self.standing((seen.db, seen.store)).revision;
            assert!(seen.snapshot.is_none(), "{client} has its snapshot");
            seen.skips_to(&self.logs[seen.log], now + 1);
        }
    }

    fn poll(&mut self) {
        let client = self.random.random_range(20..24);
        if self.polls.contains_key(&client) {
            return;
        }
        let mut entries = Vec::new();
        for _ in 0..self.random.random_range(1..14) {
            let store = *STORES.choose(&mut self.random).expect("there are some");
            let standing = self.standing(store);
            let from = self.random.random_range(standing.compacted + 1..=standing.revision + 1);
            entries.push((store.0, store.1, self.wanted(), from, standing.epoch));
        }
        // A poll is about one database.
        let db = entries[0].0;
        entries.retain(|entry| entry.0 == db);
        self.polls.insert(client, entries);
        self.poll_again(client);
    }

    fn poll_again(&mut self, client: u64) {
        let entries = self.polls.remove(&client).expect("it polls");
        let count = self.random.random_range(1..6);
        let mut by_store: BTreeMap<&'static [u8], Vec<PollEntry<'_>>> = BTreeMap::new();
        for (_, store, wanted, from, epoch) in &entries {
            let entry = PollEntry { store, span: wanted.span(), from: *from, epoch: *epoch };
            by_store.entry(store).or_default().push(entry);
        }
        let db = entries[0].0;
        let mut answered = false;
        for (store, entries) in &by_store {
            let place = (db, *store);
            match self.observers.poll(self.trees.get(&place), self.standing(place), entries, count, no_labels()) {
                Err(_) => answered = true,
                Ok(None) => {}
                Ok(Some(polled)) => {
                    answered = true;
                    let log = &self.logs[self.log_of[&place]];
                    let wants = |revision: Revision, path: &[u8]| {
                        entries.iter().any(|entry| entry.from <= revision && entry.span.contains(path))
                    };
                    let changes = log.changes.range(..=polled.revision);
                    let expected = changes
                        .flat_map(|(revision, all)| all.iter().map(move |one| (*revision, one.path.clone())))
                        .filter(|(revision, path)| wants(*revision, path));
                    let found = polled.events.iter().map(|(revision, event)| (*revision, event.path.to_vec()));
                    assert!(found.eq(expected), "a poll sees all, in whole revisions");
                    let first = polled.events[0].0;
                    assert!(polled.events.len() <= count || polled.events.iter().all(|event| event.0 == first));
                }
            }
        }
        if !answered {
            let flat: Vec<PollEntry<'_>> = by_store.values().flatten().copied().collect();
            let standing = |entry: &PollEntry<'_>| {
                let place = STORES.iter().find(|place| place.0 == db && place.1 == entry.store).expect("one of them");
                self.standing(*place)
            };
            let standings: Vec<Standing> = flat.iter().map(standing).collect();
            self.observers.wait_in_poll(client, db, &flat, &standings, self.now_ms).expect("there is room");
            self.polls.insert(client, entries);
        }
    }

    /// Nobody waits who could have an answer.
    fn no_poll_is_forgotten(&mut self) {
        for client in self.polls.keys().copied().collect::<Vec<_>>() {
            self.poll_again(client);
            assert!(self.polls.contains_key(&client), "it was woken before");
        }
    }

    fn compact(&mut self, store: (usize, &'static [u8])) {
        let Some(tree) = self.trees.get(&store) else { return };
        let to = self.random.random_range(tree.compacted()..=tree.revision());
        self.observers.compacts(store.0, store.1, to);
        while let Some(answer) = self.observers.take_answer() {
            assert_eq!((&*answer.store, answer.epoch), (store.1, self.trees[&store].epoch()));
            assert_eq!(answer.revision, self.trees[&store].revision());
            let polls = self.polls.remove(&answer.client).expect("a poll is answered before its revision goes");
            for (_, _, wanted, from, _) in polls.iter().filter(|poll| poll.1 == store.1) {
                let changes = self.logs[self.log_of[&store]].changes.range(from..).flat_map(|(_, changes)| changes);
                assert!(!changes.into_iter().any(|change| wanted.span().contains(&change.path)), "there was something");
            }
        }
        self.deliver(usize::MAX);
        let tree = self.trees.get_mut(&store).expect("it is there");
        tree.compact(to);
        while tree.tidy(1_000) {}
    }

    fn step(&mut self) {
        let store = *STORES.choose(&mut self.random).expect("there are some");
        self.now_ms += self.random.random_range(0..10);
        match self.random.random_range(0..100) {
            0..=39 => self.write(store),
            40..=54 => self.observe(),
            55..=59 => self.poll(),
            60..=63 => {
                let key = self.seen.keys().nth(self.random.random_range(0..self.seen.len().max(1))).cloned();
                if let Some((client, id)) = key {
                    let is_there = !self.seen[&(client, id.clone())].over;
                    // Of one that has ended the client may not have heard yet.
                    let found = self.observers.unobserve(client, &id);
                    assert!(found || !is_there);
                    self.seen.remove(&(client, id));
                }
            }
            64..=65 => {
                let one = self.random.random_range(1..8);
                let gone = if self.random.random_bool(0.2) { 1..30 } else { one..one + 1 };
                for client in gone.clone() {
                    self.observers.client_gone(client);
                }
                self.seen.retain(|(of, _), _| !gone.contains(of));
                self.polls.retain(|of, _| !gone.contains(of));
                self.resting.retain(|of, _| !gone.contains(of));
            }
            66..=70 => {
                let client = self.random.random_range(1..8);
                let rests = self.random.random_bool(0.5);
                let waiting = if rests { 1 << 20 } else { 0 };
                self.observers.set_waiting(client, waiting, 1 << 20);
                self.resting.insert(client, rests);
            }
            71..=74 => self.compact(store),
            75 => {
                if self.trees.remove(&store).is_some() {
                    self.observers.look(store.0, store.1, None, false);
                }
            }
            76 => {
                // Another one takes its place, with a history of its own.
                self.last_uid += 1;
                let mut tree = Tree::new(self.random.random_range(1_000_000..2_000_000));
                tree.set_uid(self.last_uid);
                tree.write(1, self.now_ms, Write::Put { path: b"/a", value: b"new", lease: 0, flags: 0 });
                let put = Logged { path: b"/a".to_vec(), after: Some((b"new".to_vec(), 1, 1)), before: None };
                self.log_of.insert(store, self.logs.len());
                self.logs.push(Log { changes: BTreeMap::from([(1, vec![put])]) });
                self.observers.look(store.0, store.1, Some(&tree), false);
                self.trees.insert(store, tree);
            }
            77..=80 => {
                let key = self.seen.keys().nth(self.random.random_range(0..self.seen.len().max(1))).cloned();
                if let Some((client, id)) = key {
                    self.observers.ask_progress(client, &id);
                }
            }
            81..=84 => {
                let mut left = self.random.random_range(1..20);
                self.observers.run_alarms(self.now_ms, &mut || {
                    left -= 1;
                    left >= 0
                });
            }
            85..=90 => {
                let client = self.random.random_range(1..8);
                self.bring_up(client);
            }
            _ => {
                let steps = self.random.random_range(1..20);
                self.deliver(steps);
            }
        }
    }

    fn settle(&mut self) {
        for client in 1..8 {
            self.observers.set_waiting(client, 0, 1 << 20);
        }
        self.resting.clear();
        self.deliver(usize::MAX);
        assert!(!self.observers.has_work() && !self.observers.has_woken());
        assert_eq!(self.observers.figures().lagging, 0);
        self.has_seen_all(|_| true);
        self.no_poll_is_forgotten();
        let open = self.seen.values().filter(|seen| !seen.over).count();
        assert_eq!(self.observers.figures().watches, open);
    }
}

#[test]
fn what_each_observer_is_told_is_what_happened() {
    let (mut frames, mut cancels) = (0, BTreeMap::new());
    for seed in 0..40 {
        let mut world = World::new(seed);
        for round in 0..3_000 {
            world.step();
            if round % 100 == 99 {
                world.settle();
            }
        }
        for client in 1..30 {
            world.observers.client_gone(client);
        }
        world.deliver(usize::MAX);
        assert!(world.observers.is_empty() && world.observers.is_vacant(), "nothing is left of who is gone");
        frames += world.frames;
        for (reason, count) in world.cancels {
            *cancels.entry(reason).or_insert(0) += count;
        }
    }
    assert!(frames > 10_000, "{frames}");
    assert_eq!(cancels.len(), 3, "{cancels:?}");
}

#[test]
fn a_path_that_a_poll_names_twice_is_told_from_the_earlier_revision_on() {
    let mut tree = Tree::new(5);
    for revision in 1..=2 {
        tree.write(revision, 0, Write::Put { path: b"/a", value: b"", lease: 0, flags: 0 });
    }
    let entry = |path: &'static [u8], from| PollEntry { store: b"s", span: Span::One(path), from, epoch: 5 };
    for others in [0, 20] {
        let mut entries = vec![entry(b"/a", 2), entry(b"/a", 1)];
        entries.extend((0..others).map(|_| entry(b"/b", 3)));
        let polled = Observers::default().poll(Some(&tree), Standing::of(Some(&tree), None), &entries, 9, no_labels());
        let polled = polled.expect("it can be asked").expect("something has happened");
        assert_eq!(polled.events.iter().map(|(revision, _)| *revision).collect::<Vec<_>>(), [1, 2]);
    }
}

#[test]
fn those_who_observe_the_same_share_their_frames() {
    let mut observers = Observers::default();
    let mut tree = Tree::new(5);
    for client in 1..=100 {
        let wish = Wish {
            client,
            db: 0,
            store: b"s",
            span: Span::One(b"/a"),
            id: None,
            from: None,
            epoch: None,
            snapshot: false,
            marks: Marks::empty(),
            progress_ms: None,
        };
        observers.observe(&wish, Standing::of(Some(&tree), None), 0, 0).expect("it observes");
    }
    tree.write(1, 0, Write::Put { path: b"/a", value: &[b'v'; 5000], lease: 0, flags: 0 });
    observers.sealed(0, b"s", &tree, |touch| touch(b"/a"));
    struct One<'t>(&'t Tree);
    impl Sight for One<'_> {
        fn tree(&self, _: usize, _: &[u8]) -> Option<&Tree> {
            Some(self.0)
        }
        fn labels(&self, _: u64) -> &Labels {
            no_labels()
        }
        fn now_ms(&self) -> u64 {
            0
        }
    }
    let mut messages: Vec<Arc<[u8]>> = Vec::new();
    observers.deliver(&One(&tree), &mut || true, &mut |_, message| messages.push(message.bytes));
    assert_eq!(messages.len(), 100);
    assert!(messages.iter().all(|message| Arc::ptr_eq(message, &messages[0])));
}
