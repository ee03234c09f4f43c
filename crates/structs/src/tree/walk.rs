//! Walks over paths, and over the states that a path had.

use std::borrow::Cow;
use std::collections::btree_map;
use std::ops::Bound;
use std::sync::Arc;

use super::history::EventNumber;
use super::path::{Bounds, between, children_prefix};
use super::paths::Range;
use super::{Revision, Span, Tree, Version};

type Gone<'t> = Ends<btree_map::Range<'t, Arc<[u8]>, EventNumber>>;

/// The paths of a span in order, from both ends.
#[derive(Debug)]
pub struct Spanned<'t> {
    tree: &'t Tree,
    bounds: Bounds<'t>,
    live: Ends<Range<'t>>,
    /// Only if it is about the past: from which event on it has not happened, and the paths that are not there any more.
    past: Option<(EventNumber, Gone<'t>)>,
    /// Of children: bytes that their paths have in common. What has a slash behind that is passed over.
    children: Option<usize>,
}

impl<'t> Spanned<'t> {
    pub(super) fn new(tree: &'t Tree, span: Span<'_>, above: Option<EventNumber>) -> Spanned<'t> {
        let children = match span {
            Span::Children(parent) => Some(children_prefix(parent).len()),
            _ => None,
        };
        let (from, to) = span.bounds();
        let owned = |bound: Bound<Cow<'_, [u8]>>| bound.map(|bytes| Cow::Owned(bytes.into_owned()));
        let bounds = (owned(from), owned(to));
        Spanned {
            live: Ends::new(tree.live.range(&bounds)),
            past: above.map(|above| (above, Ends::new(between(&tree.gone, &bounds)))),
            tree,
            bounds,
            children,
        }
    }

    /// All paths above one, or from the first on, those included that were not there before the event `above`.
    pub(super) fn all(tree: &'t Tree, behind: Option<&[u8]>, above: EventNumber) -> Spanned<'t> {
        let from = behind.map_or(Bound::Unbounded, |path| Bound::Excluded(Cow::Owned(path.to_vec())));
        let bounds = (from, Bound::Unbounded);
        Spanned {
            live: Ends::new(tree.live.range(&bounds)),
            past: Some((above, Ends::new(between(&tree.gone, &bounds)))),
            tree,
            bounds,
            children: None,
        }
    }

    /// The next path in one direction that is or was there, with what it is or was.
    fn step<const BACK: bool>(&mut self) -> Option<(&'t Arc<[u8]>, &'t Version)> {
        loop {
            if let (path, Some(version)) = self.step_any::<BACK>()? {
                return Some((path, version));
            }
        }
    }

    /// The next path in one direction, with what it is or was, if it was there.
    pub(super) fn step_any<const BACK: bool>(&mut self) -> Option<(&'t Arc<[u8]>, Option<&'t Version>)> {
        loop {
            let live = self.live.peek::<BACK>().map(|slot| &slot.path);
            let gone = self.past.as_mut().and_then(|(_, gone)| gone.peek::<BACK>()).map(|(path, _)| path);
            let takes_live = match (live, gone) {
                (None, None) => return None,
                (Some(live), Some(gone)) => (live < gone) != BACK,
                (live, _) => live.is_some(),
            };
            let (path, state) = if takes_live {
                let slot = self.live.take::<BACK>()?;
                let state = match &self.past {
                    Some((above, _)) => self.tree.state_below(slot.last, *above, Some(&slot.version)),
                    None => Some(&slot.version),
                };
                (&slot.path, state)
            } else {
                let (above, gone) = self.past.as_mut()?;
                let (path, &last) = gone.take::<BACK>()?;
                (path, self.tree.state_below(last, *above, None))
            };
            if let Some(common) = self.children {
                if let Some(at) = path[common..].iter().position(|&byte| byte == b'/') {
                    self.pass_over::<BACK>(&path[..common + at]);
                    continue;
                }
                let here = Bound::Excluded(Cow::Borrowed(&path[..]));
                if BACK { self.bounds.1 = here } else { self.bounds.0 = here }
            }
            return Some((path, state));
        }
    }

    /// Goes on behind all that is below a path.
    fn pass_over<const BACK: bool>(&mut self, path: &[u8]) {
        match BACK {
            false => self.bounds.0 = Bound::Included([path, &[b'/' + 1]].concat().into()),
            true => self.bounds.1 = Bound::Excluded([path, b"/"].concat().into()),
        }
        self.live = Ends::new(self.tree.live.range(&self.bounds));
        if let Some((_, gone)) = &mut self.past {
            *gone = Ends::new(between(&self.tree.gone, &self.bounds));
        }
    }
}

impl<'t> Iterator for Spanned<'t> {
    type Item = (&'t Arc<[u8]>, &'t Version);

    fn next(&mut self) -> Option<Self::Item> {
        self.step::<false>()
    }
}

impl DoubleEndedIterator for Spanned<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step::<true>()
    }
}

/// An iterator whose next items can be seen from both ends before they are taken.
#[derive(Debug)]
struct Ends<I: Iterator> {
    within: I,
    front: Option<I::Item>,
    back: Option<I::Item>,
}

impl<I: DoubleEndedIterator<Item: Copy>> Ends<I> {
    fn new(within: I) -> Ends<I> {
        Ends { within, front: None, back: None }
    }

    /// What is next; if only one is left, it is so for both ends.
    fn peek<const BACK: bool>(&mut self) -> Option<I::Item> {
        match BACK {
            false => {
                if self.front.is_none() {
                    self.front = self.within.next();
                }
                self.front.or(self.back)
            }
            true => {
                if self.back.is_none() {
                    self.back = self.within.next_back();
                }
                self.back.or(self.front)
            }
        }
    }

    fn take<const BACK: bool>(&mut self) -> Option<I::Item> {
        let item = self.peek::<BACK>();
        let (near, far) = if BACK { (&mut self.back, &mut self.front) } else { (&mut self.front, &mut self.back) };
        near.take().or_else(|| far.take());
        item
    }
}

/// The states that a path had, newest first.
#[derive(Debug)]
pub struct Versions<'t> {
    tree: &'t Tree,
    /// The event that is next.
    at: Option<EventNumber>,
    /// What it was before all events that are kept.
    first: Option<&'t Version>,
    before: Revision,
}

impl<'t> Versions<'t> {
    pub(super) fn new(tree: &'t Tree, last: EventNumber, now: Option<&'t Version>, before: Revision) -> Versions<'t> {
        let history = &tree.history;
        let kept_from = history.first_above(tree.compacted());
        let from = history.first_above(before.saturating_sub(1));
        let at = match history.earliest(last, from) {
            Some(number) => history.prev(number),
            None => Some(last),
        };
        Versions {
            tree,
            at: at.filter(|&number| number >= kept_from),
            first: tree.state_below(last, kept_from, now),
            before,
        }
    }
}

impl<'t> Iterator for Versions<'t> {
    /// The revision, its time (Unix milliseconds; 0: not known any more), and what the path was since.
    type Item = (Revision, u64, Option<&'t Version>);

    fn next(&mut self) -> Option<Self::Item> {
        let history = &self.tree.history;
        if let Some(number) = self.at.take()
            && let (Some((revision, time_ms)), Some(event)) = (history.revision_of(number), history.event(number))
        {
            let kept_from = history.first_above(self.tree.compacted());
            self.at = history.prev(number).filter(|&number| number >= kept_from);
            return Some((revision, time_ms, event.after.as_ref()));
        }
        let first = self.first.take()?;
        (first.modified() < self.before).then_some((first.modified(), 0, Some(first)))
    }
}
