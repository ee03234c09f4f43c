//! What a connection sees of a store: a namespace with gray releases looks to a connection as the release does that its labels
//! are for.
//!
//! ```text
//!  namespace /app         gray release "canary", for zone = eu      seen with zone = eu    seen by others
//!  /app/a  1              /app/a  9                                  /app/a  9              /app/a  1
//!  /app/b  2                                                         /app/b  2              /app/b  2
//!  /app/c  3              /app/c  deleted                                                   /app/c  3
//! ```
//!
//! Of namespaces in one another the innermost that has something to say of a path says it. A change of rules changes what is
//! seen although no path was written; [`events`] makes the same events of it that writing would have made, for those who see the
//! difference.
//!
//! What must stay true: for every viewer, what was seen at a revision and the events of the next one make what is seen then, and
//! nothing is an event that changes nothing, but writing what was there before. Whoever has no labels pays nothing for that, and nobody
//! pays much in a store without gray releases.

use super::hidden::{self, DELETED, Hidden, RULES, below, is_in};
use super::labels::{Labels, Patterns};
use super::rules::applies;
use crate::command::error::Error;
use hashbrown::HashMap;
use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use weir_structs::tree::{Change, Event, Revision, Span, Spanned, Tree, Version, is_hidden};

/// The labels of all connections that have some.
#[derive(Debug, Default)]
pub(super) struct Viewers {
    labels: HashMap<u64, Labels>,
    patterns: Arc<Patterns>,
    none: Labels,
}

impl Viewers {
    /// A client's labels.
    #[inline]
    pub(super) fn of(&self, client: u64) -> &Labels {
        if self.labels.is_empty() { &self.none } else { self.labels.get(&client).unwrap_or(&self.none) }
    }

    /// Labels of these names and values.
    ///
    /// # Errors
    /// They are too many or too long.
    pub(super) fn labels(&self, pairs: &[(&[u8], &[u8])]) -> Result<Labels, Error> {
        Labels::new(pairs, &self.patterns)
    }

    /// Gives a client labels in place of those that it had.
    pub(super) fn set(&mut self, client: u64, labels: Labels) {
        if labels.is_empty() {
            self.labels.remove(&client);
        } else {
            self.labels.insert(client, labels);
        }
    }

    /// A client is gone.
    pub(super) fn forget(&mut self, client: u64) {
        self.labels.remove(&client);
    }

    /// Clients that have labels.
    pub(super) fn clients(&self) -> impl Iterator<Item = u64> {
        self.labels.keys().copied()
    }
}

/// What a path is to a viewer, now or when `at` (at least [`Tree::compacted`]) was the last revision. O(log n), beside the rules of
/// the namespaces that the path is in, for who has labels.
pub fn sees<'t>(tree: &'t Tree, path: &[u8], at: Option<Revision>, labels: &Labels) -> Option<&'t Version> {
    if labels.is_empty() {
        return match at {
            None => tree.get(path),
            Some(at) => tree.get_at(path, at),
        };
    }
    Eye::new(tree, at, labels, &Span::One(path)).sees(path).version
}

/// The paths of a span as a viewer sees them, in order from both ends. What a gray release has in the span is gathered at first.
pub fn seen<'t>(tree: &'t Tree, span: Span<'_>, at: Option<Revision>, labels: &Labels) -> Seen<'t> {
    let mut gray = VecDeque::new();
    if !labels.is_empty() {
        gray.extend(Eye::new(tree, at, labels, &span).gray_in(&span));
    }
    Seen { plain: tree.span(span, at), front: None, back: None, gray }
}

/// All paths that anybody may see otherwise since a change. May tell a path more than once.
pub fn touched(tree: &Tree, change: Change<'_>, tell: &mut dyn FnMut(&[u8])) {
    let mut namespaces: Vec<&[u8]> = Vec::new();
    for event in change.events {
        match hidden::read(&event.path) {
            None => tell(&event.path),
            Some(Hidden::Gray { namespace, path, .. }) => tell(&[namespace, path].concat()),
            Some(Hidden::Rule { namespace, .. }) if !namespaces.contains(&namespace) => namespaces.push(namespace),
            Some(_) => {}
        }
    }
    // Who sees which release may have changed: all that any of them has, before and after.
    for namespace in namespaces {
        let grays = hidden::grays_of(namespace);
        for at in [change.revision - 1, change.revision] {
            for (rest, _) in below(tree, &grays, Some(at)) {
                if let Some(path) = rest.splitn(2, |byte| *byte == 0).nth(1) {
                    tell(&[namespace, path].concat());
                }
            }
        }
    }
}

/// What a change is to a viewer, in a span: the events that he would have seen if what he sees were all there is. In the order in
/// which they were written, as long as no gray release is concerned; otherwise in order of paths.
pub fn events<'t, 's>(
    tree: &'t Tree,
    change: Change<'t>,
    span: Span<'s>,
    labels: &Labels,
) -> impl Iterator<Item = Cow<'t, Event>> + use<'t, 's> {
    let is_plain = labels.is_empty() || !has_rules(tree, &change);
    let gray = if is_plain { Vec::new() } else { gray_events(tree, change, &span, labels) };
    let plain = if is_plain { change.events } else { &[] };
    let plain = plain.iter().filter(move |event| span.contains(&event.path));
    plain.map(Cow::Borrowed).chain(gray.into_iter().map(Cow::Owned))
}

/// Whether there were any gray releases after a change or before.
pub(super) fn has_rules(tree: &Tree, change: &Change<'_>) -> bool {
    let is_rule = |event: &Event| event.path.starts_with(RULES);
    has_rules_at(tree, Some(change.revision)) || change.events.iter().any(is_rule)
}

fn has_rules_at(tree: &Tree, at: Option<Revision>) -> bool {
    tree.span(Span::Prefix(RULES), at).next().is_some()
}

fn gray_events(tree: &Tree, change: Change<'_>, span: &Span<'_>, labels: &Labels) -> Vec<Event> {
    let old = Eye::new(tree, Some(change.revision - 1), labels, span);
    let new = Eye::new(tree, Some(change.revision), labels, span);
    // Paths that may look otherwise, and whether they were written themselves.
    let mut paths: BTreeMap<Cow<'_, [u8]>, bool> = BTreeMap::new();
    for event in change.events {
        match hidden::read(&event.path) {
            None => {
                paths.insert(Cow::Borrowed(&event.path), true);
            }
            Some(Hidden::Gray { namespace, name, path })
                if old.sees_gray(namespace, name) || new.sees_gray(namespace, name) =>
            {
                paths.entry(Cow::Owned([namespace, path].concat())).or_default();
            }
            Some(_) => {}
        }
    }
    for (eye, other) in [(&old, &new), (&new, &old)] {
        for (namespace, name) in &eye.chosen {
            if !other.sees_gray(namespace, name) {
                for (path, _) in below(tree, &hidden::gray_of(namespace, name), eye.at) {
                    paths.entry(Cow::Owned([namespace, path].concat())).or_default();
                }
            }
        }
    }
    let mut events = Vec::new();
    for (path, is_written) in paths {
        if is_hidden(&path) || !span.contains(&path) {
            continue;
        }
        let (before, after) = (old.sees(&path), new.sees(&path));
        let is_event = match (before.version, after.version) {
            (None, None) => false,
            (Some(a), Some(b)) if before.is_gray == after.is_gray && !before.is_gray => is_written && !a.ptr_eq(b),
            (Some(a), Some(b)) if before.is_gray && after.is_gray && before.origin == after.origin => !a.ptr_eq(b),
            (Some(a), Some(b)) => a.value() != b.value() || a.flags() != b.flags(),
            _ => true,
        };
        if is_event {
            events.push(Event { path: path.into(), after: after.version.cloned(), before: before.version.cloned() });
        }
    }
    events
}

/// The gray release of a namespace that is for these labels, now.
pub fn gray_for<'t>(tree: &'t Tree, namespace: &[u8], labels: &Labels) -> Option<&'t [u8]> {
    let mut best: Option<(i64, &[u8])> = None;
    for (name, rule) in below(tree, &hidden::rules_of(namespace), None) {
        if let Some(priority) = applies(rule.value(), name, labels)
            && best.is_none_or(|(highest, _)| priority > highest)
        {
            best = Some((priority, name));
        }
    }
    best.map(|(_, name)| name)
}

/// What a viewer sees at some moment: which gray releases, of the namespaces that matter for a span.
struct Eye<'t> {
    tree: &'t Tree,
    at: Option<Revision>,
    /// Namespaces and names of gray releases, in order of namespaces, each once.
    chosen: Vec<(&'t [u8], &'t [u8])>,
}

/// What somebody sees at a path.
struct Sight<'t> {
    version: Option<&'t Version>,
    /// Whether a gray release says so.
    is_gray: bool,
    /// Which.
    origin: (&'t [u8], &'t [u8]),
}

impl<'t> Eye<'t> {
    fn new(tree: &'t Tree, at: Option<Revision>, labels: &Labels, span: &Span<'_>) -> Eye<'t> {
        let mut chosen: Vec<(&[u8], &[u8], i64)> = Vec::new();
        let mut choose = |rules: &[u8]| {
            for (path, rule) in tree.span(Span::Prefix(rules), at) {
                let Some(Hidden::Rule { namespace, name }) = hidden::read(path) else { continue };
                if !concerns(span, namespace) {
                    continue;
                }
                let Some(priority) = applies(rule.value(), name, labels) else { continue };
                // Names come in order.
                match chosen.last_mut() {
                    Some(last) if last.0 == namespace => {
                        if priority > last.2 {
                            *last = (namespace, name, priority);
                        }
                    }
                    _ => chosen.push((namespace, name, priority)),
                }
            }
        };
        match *span {
            // Of many namespaces only those that it is in.
            Span::One(path) if has_rules_at(tree, at) => {
                for end in memchr::memchr_iter(b'/', path).filter(|end| *end > 0) {
                    choose(&hidden::rules_of(path.get(..end).unwrap_or_default()));
                }
            }
            Span::One(_) => {}
            _ => choose(RULES),
        }
        // A namespace sorts by the zero byte behind it, which is below every byte of a path: that is the order of slices.
        let chosen = chosen.into_iter().map(|(namespace, name, _)| (namespace, name)).collect();
        Eye { tree, at, chosen }
    }

    fn sees_gray(&self, namespace: &[u8], name: &[u8]) -> bool {
        let at = self.chosen.binary_search_by(|(known, _)| (*known).cmp(namespace));
        at.is_ok_and(|at| self.chosen.get(at).is_some_and(|(_, known)| *known == name))
    }

    /// What a path is.
    fn sees(&self, path: &[u8]) -> Sight<'t> {
        if !self.chosen.is_empty() {
            for end in memchr::memrchr_iter(b'/', path).filter(|end| *end > 0) {
                let (namespace, below) = path.split_at(end);
                let Ok(at) = self.chosen.binary_search_by(|(known, _)| (*known).cmp(namespace)) else { continue };
                let Some(&(namespace, name)) = self.chosen.get(at) else { continue };
                let gray = [hidden::gray_of(namespace, name).as_slice(), below].concat();
                if let Some(version) = self.get(&gray) {
                    let version = (version.flags() != DELETED).then_some(version);
                    return Sight { version, is_gray: true, origin: (namespace, name) };
                }
            }
        }
        Sight { version: self.get(path), is_gray: false, origin: (b"", b"") }
    }

    fn get(&self, path: &[u8]) -> Option<&'t Version> {
        match self.at {
            None => self.tree.get(path),
            Some(at) => self.tree.get_at(path, at),
        }
    }

    /// What gray releases say of the paths in a span, in order of paths.
    fn gray_in(&self, span: &Span<'_>) -> BTreeMap<Vec<u8>, Option<&'t Version>> {
        let mut paths = BTreeMap::new();
        // An inner namespace comes behind the one that it is in, and has the last word.
        for (namespace, name) in &self.chosen {
            for (path, version) in below(self.tree, &hidden::gray_of(namespace, name), self.at) {
                let path = [namespace, path].concat();
                if span.contains(&path) {
                    paths.insert(path, (version.flags() != DELETED).then_some(version));
                }
            }
        }
        paths
    }
}

/// Whether paths of a namespace can be in a span.
fn concerns(span: &Span<'_>, namespace: &[u8]) -> bool {
    match *span {
        Span::One(path) => is_in(namespace, path),
        Span::Prefix(prefix) | Span::Children(prefix) => {
            let common = prefix.len().min(namespace.len());
            prefix.get(..common) == namespace.get(..common)
        }
        Span::Range(..) => true,
    }
}

#[cfg(test)]
mod tests;

/// See [`seen`].
#[derive(Debug)]
pub struct Seen<'t> {
    plain: Spanned<'t>,
    /// Taken from either end of what is plain, and not told yet.
    front: Option<(&'t Arc<[u8]>, &'t Version)>,
    back: Option<(&'t Arc<[u8]>, &'t Version)>,
    gray: VecDeque<(Vec<u8>, Option<&'t Version>)>,
}

impl<'t> Iterator for Seen<'t> {
    type Item = (Cow<'t, [u8]>, &'t Version);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.front.is_none() {
                self.front = self.plain.next().or_else(|| self.back.take());
            }
            let Some((gray, _)) = self.gray.front() else {
                return self.front.take().map(|(path, version)| (Cow::Borrowed(&**path), version));
            };
            if let Some((path, version)) = self.front {
                if **path < **gray {
                    self.front = None;
                    return Some((Cow::Borrowed(path), version));
                } else if **path == **gray {
                    self.front = None;
                }
            }
            if let Some((path, Some(version))) = self.gray.pop_front() {
                return Some((Cow::Owned(path), version));
            }
        }
    }
}

impl DoubleEndedIterator for Seen<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        loop {
            if self.back.is_none() {
                self.back = self.plain.next_back().or_else(|| self.front.take());
            }
            let Some((gray, _)) = self.gray.back() else {
                return self.back.take().map(|(path, version)| (Cow::Borrowed(&**path), version));
            };
            if let Some((path, version)) = self.back {
                if **path > **gray {
                    self.back = None;
                    return Some((Cow::Borrowed(path), version));
                } else if **path == **gray {
                    self.back = None;
                }
            }
            if let Some((path, Some(version))) = self.gray.pop_back() {
                return Some((Cow::Owned(path), version));
            }
        }
    }
}
