//! A store beside a naive one, which copies everything for each revision.

use std::collections::BTreeMap;

use super::super::{Revision, Span, Tree, Version, Write};
use crate::testing::Rng;

/// What a path is: value, create, modified, version, lease, flags.
pub(super) type State = (Vec<u8>, u64, u64, u64, u64, u64);
pub(super) type Paths = BTreeMap<Vec<u8>, State>;

/// All paths at the end of each revision, and when that was.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) revisions: BTreeMap<Revision, (u64, Paths)>,
    pub(super) compacted: Revision,
}

impl Model {
    pub(super) fn now(&self) -> &Paths {
        self.at(Revision::MAX)
    }

    pub(super) fn at(&self, at: Revision) -> &Paths {
        static NONE: Paths = BTreeMap::new();
        self.revisions.range(..=at).next_back().map_or(&NONE, |(_, (_, paths))| paths)
    }

    fn write(&mut self, revision: Revision, now_ms: u64, write: Write<'_>, leases: &[u64]) -> bool {
        let mut paths = self.now().clone();
        let is_there = match write {
            Write::Put { path, value, lease, flags } => {
                let lease = if leases.contains(&lease) { lease } else { 0 };
                let (create, version) = match paths.get(path) {
                    Some(&(_, create, modified, version, ..)) => (create, version + u64::from(modified != revision)),
                    None => (revision, 1),
                };
                paths.insert(path.to_vec(), (value.to_vec(), create, revision, version, lease, flags));
                true
            }
            Write::Del { path } => paths.remove(path).is_some(),
        };
        if is_there {
            let now_ms = self.revisions.get(&revision).map_or(now_ms, |known| known.0);
            self.revisions.insert(revision, (now_ms, paths));
        }
        is_there
    }

    /// The events of a revision, by path.
    fn events(&self, revision: Revision) -> Events {
        let (before, after) = (self.at(revision - 1), self.at(revision));
        if self.revisions.contains_key(&revision) {
            let paths = before.keys().chain(after.keys());
            let both = paths.map(|path| (path.clone(), (before.get(path).cloned(), after.get(path).cloned())));
            return both.filter(|(_, (before, after))| before != after).collect();
        }
        Events::new()
    }
}

/// What a path was before and after.
type Events = BTreeMap<Vec<u8>, (Option<State>, Option<State>)>;

pub(super) fn state(version: &Version) -> State {
    let value = version.value().to_vec();
    (value, version.create(), version.modified(), version.version(), version.lease(), version.flags())
}

/// Compares everything that can be asked.
pub(super) fn check(tree: &Tree, model: &Model, rng: &mut Rng) {
    let last = model.revisions.last_key_value().map_or(0, |(&revision, _)| revision);
    assert_eq!((tree.revision(), tree.compacted()), (last, model.compacted));
    let now = model.now();
    assert_eq!(tree.len(), now.keys().filter(|path| path[0] != 0).count());
    let universe: Vec<Vec<u8>> = (0..PATHS).map(path).collect();
    for at in (model.compacted..=last + 1).rev().take(40) {
        let then = model.at(at);
        for path in &universe {
            assert_eq!(tree.get_at(path, at).map(state), then.get(path).cloned(), "{path:?} at {at}");
        }
        let (one, other) = (&universe[rng.below(PATHS)], &universe[rng.below(PATHS)]);
        let spans = [
            Span::Prefix(b""),
            Span::Prefix(&one[..rng.below(one.len() + 1)]),
            Span::Range(one, other),
            Span::Range(b"", other),
            Span::One(one),
            Span::Children(one),
            Span::Children(b""),
            Span::Children(b"/a"),
            Span::Children(b"/"),
        ];
        for span in spans {
            let expected: Vec<_> = then
                .iter()
                .filter(|(path, _)| span.contains(path))
                .map(|(path, state)| (path.clone(), state.clone()))
                .collect();
            let of = |(path, version): (&std::sync::Arc<[u8]>, &Version)| (path.to_vec(), state(version));
            let given: Vec<_> = tree.span(span, Some(at)).map(of).collect();
            assert_eq!(given, expected, "{span:?} at {at}");
            let back: Vec<_> = tree.span(span, Some(at)).rev().map(of).collect();
            assert_eq!(back, expected.iter().rev().cloned().collect::<Vec<_>>(), "{span:?} at {at}, back");
            let mut walk = tree.span(span, Some(at));
            let (mut front, mut back) = (Vec::new(), Vec::new());
            while let Some(item) = if rng.below(2) == 0 { walk.next() } else { None } {
                front.push(of(item));
            }
            while let Some(item) = walk.next_back() {
                back.push(of(item));
            }
            front.extend(back.into_iter().rev());
            assert_eq!(front, expected, "{span:?} at {at}, from both ends");
        }
    }
    for path in &universe {
        assert_eq!(tree.get(path).map(state), now.get(path).cloned());
    }
    let from = model.compacted + rng.below((last - model.compacted + 2) as usize) as u64;
    let mut changes = tree.changes(from);
    let events: BTreeMap<_, _> =
        (model.compacted + 1..=last).map(|revision| (revision, model.events(revision))).collect();
    for (&revision, expected) in events.range(from..) {
        let change = tree.change(revision);
        assert_eq!(change.is_some(), !expected.is_empty(), "{revision}");
        if let Some(change) = change {
            let events: Events = change
                .events
                .iter()
                .map(|event| (event.path.to_vec(), (event.before.as_ref().map(state), event.after.as_ref().map(state))))
                .collect();
            assert_eq!((events.len(), change.revision), (change.events.len(), revision));
            assert_eq!(&events, expected);
            assert_eq!(change.time_ms, model.revisions[&revision].0);
            let next = changes.next().expect("a change");
            assert_eq!((next.revision, next.events.len()), (revision, change.events.len()));
        }
    }
    assert!(changes.next().is_none());
    assert!(tree.change(model.compacted).is_none() && tree.change(last + 1).is_none());
    for path in &universe {
        let before = from + rng.below(5) as u64;
        let mut expected = Vec::new();
        for (revision, events) in events.range(..before).rev() {
            if let Some((_, after)) = events.get(path) {
                expected.push((*revision, model.revisions[revision].0, after.clone()));
            }
        }
        if let Some(first) = model.at(model.compacted).get(path).cloned().filter(|first| first.2 < before) {
            expected.push((first.2, 0, Some(first)));
        }
        let given: Vec<_> = tree
            .versions(path, before)
            .map(|(revision, time_ms, version)| (revision, time_ms, version.map(state)))
            .collect();
        assert_eq!(given, expected, "{path:?} before {before}, compacted {}", model.compacted);
    }
    let mut attached: BTreeMap<u64, Vec<Vec<u8>>> = BTreeMap::new();
    for (path, state) in now {
        if state.4 != 0 {
            attached.entry(state.4).or_default().push(path.clone());
        }
    }
    for (id, lease) in tree.leases() {
        let paths: Vec<_> = lease.paths().map(|path| path.to_vec()).collect();
        assert_eq!(paths, attached.remove(&id).unwrap_or_default());
    }
    assert!(attached.is_empty());
}

pub(super) const PATHS: usize = 48;

/// Some paths that lie below and beside each other.
pub(super) fn path(number: usize) -> Vec<u8> {
    let parts = ["a", "b", "a-x", "c0"];
    let mut path = match number / 40 {
        0 => format!("/{}", parts[number % 4]),
        _ => format!("\0d/{}", parts[number % 4]),
    };
    if !(number / 4).is_multiple_of(10) {
        path += &format!("/{}", parts[number / 4 % 4]);
    }
    if number / 4 % 10 > 4 {
        path += &format!("/{}", number / 4 % 10);
    }
    path.into_bytes()
}

/// A store and its model, and what happens to them.
#[derive(Debug)]
pub(super) struct Both {
    pub(super) tree: Tree,
    pub(super) model: Model,
    pub(super) leases: Vec<u64>,
    pub(super) rng: Rng,
    /// So many paths are written.
    pub(super) paths: usize,
    now_ms: u64,
    revision: Revision,
}

impl Both {
    pub(super) fn new(seed: u64) -> Both {
        let rng = Rng::new(seed);
        Both {
            tree: Tree::new(7),
            model: Model::default(),
            leases: Vec::new(),
            rng,
            paths: PATHS,
            now_ms: 1_000,
            revision: 0,
        }
    }

    /// A write that is a part of the last revision, or begins one.
    pub(super) fn write(&mut self, begins: bool) {
        let rng = &mut self.rng;
        self.revision += u64::from(begins || self.revision == 0) * (1 + u64::from(rng.below(10) == 0));
        self.now_ms += rng.below(3) as u64;
        let name = path(rng.below(self.paths));
        let value = vec![b'v'; rng.below(40)];
        let lease = if rng.below(3) == 0 { rng.below(4) as u64 } else { 0 };
        let write = match rng.below(3) {
            0 => Write::Del { path: &name },
            _ => Write::Put { path: &name, value: &value, lease, flags: rng.next() },
        };
        let is_there = self.model.write(self.revision, self.now_ms, write, &self.leases);
        assert_eq!(self.tree.write(self.revision, self.now_ms, write), is_there);
    }

    /// All that begins alike goes, in the last revision or in one of its own.
    fn delete_prefix(&mut self) {
        let mut name = path(self.rng.below(self.paths));
        name.truncate(1 + self.rng.below(name.len()));
        self.revision += u64::from(self.rng.below(2) == 0 || self.revision == 0);
        let span = Span::Prefix(&name);
        let paths: Vec<_> = self.model.now().keys().filter(|path| span.contains(path)).cloned().collect();
        for path in &paths {
            assert!(self.model.write(self.revision, self.now_ms, Write::Del { path }, &self.leases));
        }
        assert_eq!(self.tree.delete_prefix(self.revision, self.now_ms, &name), paths.len());
    }

    pub(super) fn step(&mut self) {
        match self.rng.below(100) {
            0..3 => {
                let id = self.rng.below(4) as u64;
                let is_new = id != 0 && !self.leases.contains(&id);
                assert_eq!(self.tree.grant(id, 1_000, id == 1, self.now_ms + 1_000), is_new);
                if is_new {
                    self.leases.push(id);
                }
            }
            3 => {
                let id = self.rng.below(4) as u64;
                let is_known = self.leases.contains(&id);
                assert_eq!(self.tree.forget_lease(id), is_known);
                self.leases.retain(|&known| known != id);
                self.model.free(id);
            }
            4 => {
                let span = self.revision - self.model.compacted;
                let to = self.model.compacted + self.rng.below(span as usize + 1) as u64;
                self.compact(to);
            }
            5..10 => {
                self.tree.tidy(self.rng.below(50));
            }
            10 => self.delete_prefix(),
            11..60 => self.write(false),
            _ => self.write(true),
        }
    }

    pub(super) fn compact(&mut self, to: Revision) {
        let to = to.min(self.tree.revision());
        assert_eq!(self.tree.compact(to), to > self.model.compacted);
        self.model.compacted = self.model.compacted.max(to);
    }

    pub(super) fn check(&mut self) {
        check(&self.tree, &self.model, &mut self.rng);
    }
}

impl Model {
    /// A lease has gone, and with it the number in whatever is attached to it now; history keeps it.
    fn free(&mut self, id: u64) {
        for (path, now) in self.now().clone() {
            if id != 0 && now.4 == id {
                for (_, paths) in self.revisions.range_mut(now.2..).map(|(_, known)| known) {
                    if let Some(state) = paths.get_mut(&path).filter(|state| state.2 == now.2) {
                        state.4 = 0;
                    }
                }
            }
        }
    }
}

#[test]
fn tree_is_what_a_naive_history_says() {
    for seed in 0..12 {
        let mut both = Both::new(seed);
        for step in 0..1_000 {
            both.step();
            if step % 100 == 99 {
                both.check();
            }
        }
        both.compact(u64::MAX);
        while both.tree.tidy(7) {}
        both.check();
        assert!(both.tree.gone.is_empty());
    }
}

#[test]
fn memory_is_counted_to_the_byte_of_what_is_shared() {
    let mut both = Both::new(77);
    let empty = both.tree.memory_bytes();
    for _ in 0..5_000 {
        both.step();
    }
    for number in 0..PATHS {
        both.tree.write(both.revision + 1, 0, Write::Del { path: &path(number) });
    }
    for id in 0..4 {
        both.tree.forget_lease(id);
    }
    both.tree.compact(u64::MAX);
    while both.tree.tidy(100) {}
    assert_eq!(both.tree.memory_bytes(), empty);
    assert_eq!(both.tree.items(), 0);
}
