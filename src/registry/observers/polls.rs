//! Polls: one question about many paths, which waits until there is an answer.
//!
//! A poll that finds nothing in history is an observer of each of its paths that wakes its client once. So while it waits it
//! costs what an observer costs, and changes elsewhere in its stores cost it nothing. Woken, it asks again.

use super::index::Index;
use super::table::{Marks, New, Observers, Refused, Standing};
use crate::command::error::Error;
use crate::registry::{Labels, view};
use std::borrow::Cow;
use weir_structs::tree::{Event, Revision, Span, Tree};

/// What is found in one store goes up to about so many bytes of paths and values, in whole revisions.
const BYTES_MAX: usize = 1024 * 1024;
/// More paths of one store than that are looked for by an index.
const FEW: usize = 8;

/// One path, or all with a prefix, of one store.
#[derive(Clone, Copy, Debug)]
pub struct PollEntry<'p> {
    /// The store.
    pub store: &'p [u8],
    /// What of it.
    pub span: Span<'p>,
    /// The first revision that is wanted.
    pub from: Revision,
    /// The epoch of which that is.
    pub epoch: u64,
}

/// What has happened in one store.
#[derive(Debug)]
pub struct Polled<'t> {
    /// Its epoch.
    pub epoch: u64,
    /// Everything up to this revision is in it.
    pub revision: Revision,
    /// Changes of paths, with their revisions; not empty.
    pub events: Vec<(Revision, Cow<'t, Event>)>,
}

/// The entries of one store, to be looked for in changes.
struct Wanted<'e, 'p> {
    entries: &'e [PollEntry<'p>],
    index: Option<Index>,
}

fn text_of<'p>(span: Span<'p>) -> &'p [u8] {
    match span {
        Span::One(text) | Span::Prefix(text) | Span::Children(text) | Span::Range(text, _) => text,
    }
}

impl<'e, 'p> Wanted<'e, 'p> {
    fn new(entries: &'e [PollEntry<'p>], seed: u64) -> Wanted<'e, 'p> {
        if entries.len() <= FEW {
            return Wanted { entries, index: None };
        }
        let mut index = Index::new(seed);
        let text = |at: u32| entries.get(at as usize).map_or(&[][..], |entry| text_of(entry.span));
        let mut by_revision: Vec<(u32, &PollEntry<'_>)> = (0..).zip(entries).collect();
        by_revision.sort_by_key(|(_, entry)| entry.from);
        for (at, entry) in by_revision {
            // Who names a path twice gets what the one wants that wants more.
            if index.get(entry.span, text).is_none() {
                index.add(entry.span, at, text);
            }
        }
        Wanted { entries, index: Some(index) }
    }

    fn wants(&self, revision: Revision, path: &[u8]) -> bool {
        let wants = |entry: &PollEntry<'_>| entry.from <= revision && entry.span.contains(path);
        let Some(index) = &self.index else { return self.entries.iter().any(wants) };
        let text = |at: u32| self.entries.get(at as usize).map_or(&[][..], |entry| text_of(entry.span));
        let mut wanted = false;
        index.containing(path, text, |at| wanted |= self.entries.get(at as usize).is_some_and(wants));
        wanted
    }
}

/// Looks what has happened in a store of what the entries, which are all of this store, want: at most `count` events, but at
/// least one revision. `None` if it is nothing.
///
/// # Errors
/// An entry is of another epoch, or wants what is compacted or in the future.
pub(super) fn poll_store<'t>(
    tree: Option<&'t Tree>,
    standing: Standing,
    entries: &[PollEntry<'_>],
    count: usize,
    labels: &Labels,
    seed: u64,
) -> Result<Option<Polled<'t>>, Error> {
    for entry in entries {
        standing.check(entry.from, Some(entry.epoch))?;
    }
    let (Some(tree), Some(first)) = (tree, entries.iter().map(|entry| entry.from).min()) else { return Ok(None) };
    let mut found = Polled { epoch: standing.epoch, revision: standing.revision, events: Vec::new() };
    if first > standing.revision {
        return Ok(None);
    }
    let wanted = Wanted::new(entries, seed);
    let (mut bytes, mut last) = (0, 0);
    for change in tree.changes(first) {
        let revision = change.revision;
        if revision > standing.revision {
            break;
        }
        let before = found.events.len();
        let seen = view::events(tree, change, Span::Prefix(b"/"), labels);
        let seen = seen.filter(|event| wanted.wants(revision, &event.path));
        found.events.extend(seen.map(|event| (revision, event)));
        let new = found.events.get(before..).unwrap_or_default();
        bytes +=
            new.iter().map(|(_, it)| it.path.len() + it.after.as_ref().map_or(0, |it| it.value().len())).sum::<usize>();
        if before > 0 && (found.events.len() > count || bytes > BYTES_MAX) {
            found.events.truncate(before);
            found.revision = last;
            break;
        }
        last = revision;
    }
    Ok((!found.events.is_empty()).then_some(found))
}

impl Observers {
    /// What has happened in a store, as somebody with these labels sees it; see [`PollEntry`].
    ///
    /// # Errors
    /// An entry is of another epoch, or wants what is compacted or in the future.
    pub fn poll<'t>(
        &self,
        tree: Option<&'t Tree>,
        standing: Standing,
        entries: &[PollEntry<'_>],
        count: usize,
        labels: &Labels,
    ) -> Result<Option<Polled<'t>>, Error> {
        poll_store(tree, standing, entries, count, labels, self.seed())
    }

    /// A client whose poll has found nothing waits. `standings` says of each entry how its store stands.
    ///
    /// # Errors
    /// It has too many observers.
    pub fn wait_in_poll(
        &mut self,
        client: u64,
        db: usize,
        entries: &[PollEntry<'_>],
        standings: &[Standing],
        now_ms: u64,
    ) -> Result<(), Error> {
        self.end_poll(client);
        for (entry, &standing) in entries.iter().zip(standings) {
            let from = standing.revision + 1;
            let new = New { client, id: None, span: entry.span, from, marks: Marks::POLL };
            match self.add(db, entry.store, standing, new) {
                Ok(at) => {
                    self.paces.add(at, 0, now_ms, entry.from);
                    self.note_idle(at, entry.from);
                }
                Err(Refused::IdInUse | Refused::TooMany) => {
                    self.end_poll(client);
                    return Err(Error::CFG_TOO_MANY_OBSERVERS);
                }
            }
        }
        Ok(())
    }
}
