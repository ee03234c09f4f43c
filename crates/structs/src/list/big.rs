//! A list of any length: a chain of chunks.
//!
//! Pushes and pops at the ends touch one chunk and cost the same however long the list is. An index is found by counting
//! over groups of chunks, chunks, and elements, in this order and from the nearer end: a microsecond or two among millions. What
//! looks for an element by its value walks, comparing stored bytes with stored bytes.
//!
//! Inner chunks can be kept compressed. A reader decompresses them aside; a change decompresses them in their place and
//! compresses them again.
//!
//! What must stay true: it makes no difference to any result which chunks are compressed, or how full they are.

use super::body::{self, Link, Stride};
use super::chain::{Chain, ChunkAt};
use super::chunk::{Chunk, Element, End, Open, View};
use super::limits::Limits;
use crate::entry::Blob;
use crate::frozen::{FrozenHead, FrozenPart, Kept, weight};
use std::ops::ControlFlow;

/// The name of a list's encoding, which depends on its size and its history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Encoding {
    /// Small.
    #[default]
    Listpack,
    /// It has been large, and is not small again.
    Quicklist,
}

/// A list of any length.
#[derive(Clone, Debug, Default)]
pub struct List {
    chain: Chain,
    encoding: Encoding,
}

impl List {
    /// An empty list.
    pub fn new() -> List {
        List::default()
    }

    /// A list of the elements of a packed one.
    pub(super) fn of_body(body: &[u8], count: usize) -> List {
        let mut list = List::new();
        if count > 0 {
            list.chain.push(End::Back, Chunk::Open(Open::of_body(body, count)));
        }
        list
    }

    /// Adds elements that are stored as in a listpack, without its header and its end mark, as a chunk at the end. How many
    /// they are; `None`, and nothing done, if these bytes are no such elements.
    pub fn push_body(&mut self, body: &[u8]) -> Option<usize> {
        let count = body::check(body)?;
        if count > 0 {
            self.chain.push(End::Back, Chunk::Open(Open::of_body(body, count)));
        }
        Some(count)
    }

    /// Number of elements.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "a list that is kept is never empty")]
    pub fn len(&self) -> usize {
        self.chain.items()
    }

    /// Bytes of all that it owns.
    pub fn memory_bytes(&self) -> usize {
        self.chain.memory_bytes()
    }

    /// Bytes in pages that the global allocator does not know of: none.
    pub fn mapped_bytes(&self) -> usize {
        0
    }

    /// Number of chunks: what dropping it would free.
    pub fn items(&self) -> usize {
        self.chain.chunks()
    }

    /// What it is called.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Gives it another name.
    pub(super) fn set_encoding(&mut self, encoding: Encoding) {
        self.encoding = encoding;
    }

    /// The elements in one run and their number, if they are in a single chunk, together, and not compressed.
    #[inline]
    pub(super) fn single_body(&self) -> Option<(&[u8], usize)> {
        if self.chain.chunks() != 1 {
            return None;
        }
        let open = self.chain.chunk(self.chain.at_end(End::Front)?).as_open()?;
        Some((open.body(), open.count()))
    }

    /// Bytes of all elements with the lengths behind them. Walks over the chunks.
    pub(super) fn body_bytes(&self) -> usize {
        let mut bytes = 0;
        self.each_chunk(|figures| bytes += figures.bytes);
        bytes
    }

    /// Adds an element at an end. Constant time.
    #[inline]
    pub fn push(&mut self, end: End, value: Element<'_>, limits: &Limits) {
        if self.chain.edit_end(end, |chunk| chunk.push(end, value, limits)) != Some(true) {
            self.push_chunk(end, value, limits);
        }
    }

    /// Adds an element at an end, in a chunk of its own.
    #[cold]
    fn push_chunk(&mut self, end: End, value: Element<'_>, limits: &Limits) {
        self.chain.edit_end(end, Chunk::seal);
        // The longer a list has become, the longer it is likely to become: so much room costs it a quarter at most.
        let room = self.chain.memory_bytes() / 4;
        self.chain.push(end, Chunk::with_room(value, end, room, limits));
        self.settle(limits);
    }

    /// Looks at `count` elements, or until it is told to stop: from the one with `from` in front of it on towards the back,
    /// or towards the front.
    pub fn visit(&self, from: usize, count: usize, towards: End, mut look: impl FnMut(Element<'_>) -> ControlFlow<()>) {
        let Some((mut at, mut index)) = self.chain.find(from) else { return };
        let mut left = count;
        while left > 0 {
            let flow = self.chain.chunk(at).with_view(|view| visit_view(&view, index, towards, &mut left, &mut look));
            let Some(next) = self.chain.beside(at, towards) else { return };
            if flow.is_break() {
                return;
            }
            at = next;
            index = match towards {
                End::Front => self.chain.chunk(at).count() - 1,
                End::Back => 0,
            };
        }
    }

    /// Looks at the element with `index` in front of it.
    pub fn get<T>(&self, index: usize, look: impl FnOnce(Element<'_>) -> T) -> Option<T> {
        let (at, index) = self.chain.find(index)?;
        self.chain.chunk(at).with_view(|view| match view {
            View::Apart(blob) => Some(look(Element::Blob(blob))),
            View::Body(bytes, count) => {
                let at = body::offset_of(bytes, count, index);
                Some(look(body::element(bytes, at)?.into()))
            }
        })
    }

    /// Tells the indexes of elements equal to `value`, walking from `end`, until it is told to stop; no more than `walk_max`
    /// elements are compared.
    pub fn search(&self, value: &[u8], end: End, walk_max: usize, mut found: impl FnMut(usize) -> ControlFlow<()>) {
        let sought = Sought::new(value);
        let mut passed = 0;
        let mut next = self.chain.at_end(end);
        while let Some(at) = next {
            let left = walk_max - passed;
            let chunk = self.chain.chunk(at);
            let flow = chunk.with_view(|view| {
                sought.search(&view, end, left, |number, _| {
                    let number = passed + number;
                    found(match end {
                        End::Front => number,
                        End::Back => self.len() - 1 - number,
                    })
                })
            });
            passed += chunk.count();
            if flow.is_break() || passed >= walk_max {
                return;
            }
            next = self.chain.beside(at, other(end));
        }
    }

    /// Puts a value in the place of the element with `index` in front of it; `false` if there is none.
    pub fn set(&mut self, index: usize, value: &[u8], limits: &Limits) -> bool {
        let Some((at, index)) = self.chain.find(index) else { return false };
        let squeezed = self.chain.edit(at, Chunk::unsqueeze);
        let chunk = self.chain.chunk(at);
        match chunk.as_open() {
            Some(open) if !limits.is_apart(value.len()) => {
                let from = body::offset_of(open.body(), open.count(), index);
                let range = from..body::next(open.body(), from).expect("there is an element");
                self.chain.edit(at, |chunk| {
                    if let Some(open) = chunk.as_open_mut() {
                        open.replace(range, &Link::new(value));
                    }
                });
                self.squeeze_again(at, squeezed);
            }
            Some(open) if open.count() > 1 => {
                let from = body::offset_of(open.body(), open.count(), index);
                let range = from..body::next(open.body(), from).expect("there is an element");
                self.chain.edit(at, |chunk| {
                    if let Some(open) = chunk.as_open_mut() {
                        open.remove(range.clone(), 1);
                    }
                });
                self.insert_at(Place { at, offset: from, index }, End::Front, value, squeezed, limits);
            }
            _ => {
                self.chain.edit(at, |chunk| *chunk = Chunk::with(Element::Bytes(value), limits));
                self.squeeze_again(at, squeezed);
            }
        }
        true
    }

    /// Inserts a value before (`Front`) or behind (`Back`) the first element equal to `pivot`; `false` if there is none.
    pub fn insert_beside(&mut self, pivot: &[u8], side: End, value: &[u8], limits: &Limits) -> bool {
        let sought = Sought::new(pivot);
        let mut next = self.chain.at_end(End::Front);
        while let Some(at) = next {
            let mut place = None;
            let _ = self.chain.chunk(at).with_view(|view| {
                sought.search(&view, End::Front, usize::MAX, |index, offset| {
                    place = Some(match (side, &view) {
                        (End::Front, _) => Place { at, offset, index },
                        (End::Back, View::Body(body, _)) => {
                            Place { at, offset: body::next(body, offset).unwrap_or(body.len()), index: index + 1 }
                        }
                        (End::Back, View::Apart(_)) => Place { at, offset, index: 1 },
                    });
                    ControlFlow::Break(())
                })
            });
            if let Some(place) = place {
                let squeezed = self.chain.edit(at, Chunk::unsqueeze);
                self.insert_at(place, side, value, squeezed, limits);
                return true;
            }
            next = self.chain.beside(at, End::Back);
        }
        false
    }

    /// Inserts a value at a place in a chunk that is not compressed but `was_squeezed`. If the chunk must be split, the value
    /// goes to the half that its pivot is not in: the value is on that `side` of it.
    fn insert_at(&mut self, place: Place, side: End, value: &[u8], was_squeezed: bool, limits: &Limits) {
        let Place { at, offset, index } = place;
        let chunk = self.chain.chunk(at);
        let (len, count) = (chunk.as_open().map_or(0, |open| open.body().len()), chunk.count());
        let is_apart = limits.is_apart(value.len());
        let link = (!is_apart).then(|| Link::new(value));
        if let (Some(link), Some(_)) = (&link, chunk.as_open())
            && limits.takes(len, count, value.len())
        {
            self.chain.edit(at, |chunk| {
                if let Some(open) = chunk.as_open_mut() {
                    open.insert(offset, link);
                }
            });
            return self.squeeze_again(at, was_squeezed);
        }
        // At the edge of a chunk without room, the neighbour may have some.
        let edge = match index {
            0 => Some(End::Front),
            _ if index == count => Some(End::Back),
            _ => None,
        };
        if let Some(side) = edge {
            self.squeeze_again(at, was_squeezed);
            if let Some(beside) = self.chain.beside(at, side) {
                let squeezed = self.chain.edit(beside, Chunk::unsqueeze);
                let taken = self.chain.edit(beside, |chunk| chunk.push(other(side), Element::Bytes(value), limits));
                self.squeeze_again(beside, squeezed);
                if taken {
                    return;
                }
            }
            let (new, _) = self.chain.insert(at, side, Chunk::with(Element::Bytes(value), limits));
            self.squeeze_again(new, was_squeezed);
            return self.settle(limits);
        }
        let behind = self.chain.edit(at, |chunk| chunk.as_open_mut().map(|open| open.split_off(offset, index)));
        let Some(behind) = behind else { return };
        let (behind, mut at) = self.chain.insert(at, End::Back, Chunk::Open(behind));
        let (half, half_end) = match side {
            End::Front => (at, End::Back),
            End::Back => (behind, End::Front),
        };
        if is_apart || !self.chain.edit(half, |chunk| chunk.push(half_end, Element::Bytes(value), limits)) {
            // Splitting makes room, unless the element or what is left of the chunk is large.
            let (new, before) = self.chain.insert(at, End::Back, Chunk::with(Element::Bytes(value), limits));
            self.squeeze_again(new, was_squeezed);
            at = before;
        }
        self.join_neighbours(at, was_squeezed, limits);
        self.settle(limits);
    }

    /// Joins the two halves of a split chunk to their outer neighbours where they fit.
    fn join_neighbours(&mut self, at: ChunkAt, was_squeezed: bool, limits: &Limits) {
        let at = self.join_with(at, End::Front, limits);
        let last = self.chain.beside(at, End::Back).map(|next| match self.chain.chunk(next).as_open() {
            Some(_) => next,
            None => self.chain.beside(next, End::Back).unwrap_or(next),
        });
        self.squeeze_again(at, was_squeezed);
        if let Some(last) = last {
            let last = self.join_with(last, End::Back, limits);
            self.squeeze_again(last, was_squeezed);
        }
    }

    /// Joins a chunk with its neighbour on that side, if both are open and fit into one; where it is then.
    fn join_with(&mut self, at: ChunkAt, side: End, limits: &Limits) -> ChunkAt {
        let Some(beside) = self.chain.beside(at, side) else { return at };
        let (Some(own), Some(other)) = (self.chain.chunk(at).as_open(), self.chain.chunk(beside).as_open()) else {
            return at;
        };
        if limits.is_exceeded(own.body().len() + other.body().len(), own.count() + other.count()) {
            return at;
        }
        let removed = self.chain.remove(beside);
        // Removing what is in front may have moved it by a place, or by a group.
        let at = match side {
            End::Back => at,
            End::Front if beside.group == at.group => ChunkAt { chunk: at.chunk - 1, ..at },
            End::Front if beside.chunk == 0 => ChunkAt { group: at.group - 1, ..at },
            End::Front => at,
        };
        if let Some(other) = removed.as_open() {
            self.chain.edit(at, |chunk| {
                if let Some(open) = chunk.as_open_mut() {
                    open.join(side, other);
                }
            });
        }
        at
    }

    /// Removes up to `max` elements equal to `value`, those nearest to `end`. How many.
    pub fn remove_equal(&mut self, value: &[u8], end: End, max: usize, limits: &Limits) -> usize {
        let sought = Sought::new(value);
        let chunks = self.chain.chunks();
        let mut removed = 0;
        let mut next = self.chain.at_end(end);
        let mut offsets = Vec::new();
        while let Some(at) = next
            && removed < max
        {
            offsets.clear();
            let _ = self.chain.chunk(at).with_view(|view| {
                sought.search(&view, end, usize::MAX, |_, offset| {
                    offsets.push(u32::try_from(offset).unwrap_or(u32::MAX));
                    if removed + offsets.len() < max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                })
            });
            removed += offsets.len();
            if end == End::Back {
                offsets.reverse();
            }
            if offsets.len() == self.chain.chunk(at).count() {
                let groups = self.chain.groups().len();
                self.chain.discard(at);
                let group_is_gone = self.chain.groups().len() < groups;
                // What follows has moved into its place.
                next = match end {
                    End::Front if group_is_gone => self.chain.first_of(at.group),
                    End::Front if at.chunk < self.chain.groups()[at.group].chunks.len() => Some(at),
                    End::Front => self.chain.first_of(at.group + 1),
                    End::Back if !group_is_gone && at.chunk > 0 => Some(ChunkAt { chunk: at.chunk - 1, ..at }),
                    End::Back => at.group.checked_sub(1).and_then(|group| self.chain.last_of(group)),
                };
                continue;
            }
            if !offsets.is_empty() {
                self.chain.edit(at, |chunk| {
                    let squeezed = chunk.unsqueeze();
                    if let Some(open) = chunk.as_open_mut() {
                        open.remove_each(&offsets);
                    }
                    if squeezed {
                        chunk.squeeze();
                    }
                });
            }
            next = self.chain.beside(at, other(end));
        }
        if self.chain.chunks() < chunks {
            self.settle(limits);
        }
        removed
    }

    /// Removes `count` elements at an end, or all there are. Whole chunks of them are handed out, as a list in no particular
    /// order: dropping many is better done on another thread.
    pub fn cut(&mut self, end: End, count: usize, limits: &Limits) -> Option<List> {
        let chunks = self.chain.chunks();
        let (cut, taken) = self.chain.cut(end, count);
        let left = count - taken;
        if left > 0
            && let Some(at) = self.chain.at_end(end)
        {
            self.chain.edit(at, |chunk| {
                chunk.unsqueeze();
                chunk.pop(end, left);
            });
        }
        if self.chain.chunks() < chunks {
            self.settle(limits);
        }
        (cut.chunks() > 0).then(|| List { chain: cut, encoding: Encoding::default() })
    }

    /// Freezes it: what it is now is given out in parts by [`List::give_frozen`], whatever becomes of it meanwhile.
    /// `ticket` tells whose frozen state it is. O(chunks / 128). It must not be frozen yet.
    pub fn freeze(&mut self, ticket: u64) {
        self.chain.freeze(ticket);
    }

    /// The ticket with which it was frozen, if it is.
    #[inline]
    pub fn frozen_ticket(&self) -> Option<u64> {
        self.chain.frozen().map(|frozen| frozen.ticket)
    }

    /// What it was when it was frozen, if it is.
    pub fn frozen_head(&self) -> Option<FrozenHead> {
        let frozen = self.chain.frozen()?;
        Some(FrozenHead::List { len: frozen.items, chunks: frozen.chunks })
    }

    /// Gives the next parts of what it was to `visit`, in order, with about `budget` elements, fewer where they are long. Says
    /// whether there is more; if not, it is not frozen any more. O(budget).
    pub fn give_frozen(&mut self, budget: usize, visit: &mut dyn FnMut(FrozenPart<'_>)) -> bool {
        let mut left = budget.max(1);
        loop {
            let (part_weight, goes_on) = self.chain.give_frozen(|chunk| {
                let part = ListPart(chunk);
                visit(FrozenPart::Elements(part));
                part.weight()
            });
            left = left.saturating_sub(part_weight.unwrap_or(1));
            if !goes_on || left == 0 {
                return goes_on;
            }
        }
    }

    /// Forgets the frozen state. What is left of it is better dropped on another thread.
    pub fn thaw(&mut self) -> Option<Kept> {
        self.chain.thaw().map(|frozen| frozen as Kept)
    }

    /// Removes the element at an end, after a look at it; `None` if there is none. What held it alone is handed out.
    #[inline]
    pub fn pop<T>(
        &mut self,
        end: End,
        limits: &Limits,
        look: impl FnOnce(Element<'_>) -> T,
    ) -> Option<(T, Option<List>)> {
        match self.chain.edit_end(end, |chunk| chunk.pop_one(end, look))? {
            Ok(result) => Some((result, None)),
            Err(look) => self.pop_last_of_chunk(end, limits, look),
        }
    }

    /// The same where the element is alone in its chunk, or the chunk compressed.
    #[cold]
    fn pop_last_of_chunk<T>(
        &mut self,
        end: End,
        limits: &Limits,
        look: impl FnOnce(Element<'_>) -> T,
    ) -> Option<(T, Option<List>)> {
        let index = match end {
            End::Front => 0,
            End::Back => self.len().checked_sub(1)?,
        };
        let result = self.get(index, look)?;
        Some((result, self.cut(end, 1, limits)))
    }

    fn squeeze_again(&mut self, at: ChunkAt, was_squeezed: bool) {
        if was_squeezed {
            self.chain.edit(at, Chunk::squeeze);
        }
    }

    /// After the number of chunks has changed: decompresses those that have come near an end and compresses those that have
    /// come away from it. Looks at the border only, for the others have not moved over it.
    #[inline]
    fn settle(&mut self, limits: &Limits) {
        if limits.compress_depth() > 0 {
            self.settle_border(limits.compress_depth());
        }
    }

    #[cold]
    fn settle_border(&mut self, depth: usize) {
        let chunks = self.chain.chunks();
        for end in [End::Front, End::Back] {
            let inwards = |number: usize| if end == End::Front { number } else { chunks - 1 - number };
            let mut number = depth.min(chunks);
            while self.chain.has_squeezed()
                && number > 0
                && let Some(at) = self.chain.nth_chunk(inwards(number - 1))
                && self.chain.edit(at, Chunk::unsqueeze)
            {
                number -= 1;
            }
            if chunks / 2 >= depth
                && chunks > 2 * depth
                && let Some(at) = self.chain.nth_chunk(inwards(depth))
            {
                self.chain.edit(at, Chunk::squeeze);
            }
        }
    }

    /// Tells of each chunk, in order: number of elements, bytes of the elements, whether it is a single large one, and its
    /// size if it is compressed.
    pub fn each_chunk(&self, mut tell: impl FnMut(ChunkFigures)) {
        for chunk in self.chain.groups().iter().flat_map(|group| &group.chunks) {
            tell(match chunk {
                Chunk::Open(open) => {
                    ChunkFigures { items: open.count(), bytes: open.body().len(), is_apart: false, squeezed: None }
                }
                Chunk::Apart(blob) => ChunkFigures { items: 1, bytes: blob.len(), is_apart: true, squeezed: None },
                Chunk::Squeezed { bytes, len, count, is_apart } => ChunkFigures {
                    items: *count as usize,
                    bytes: *len,
                    is_apart: *is_apart,
                    squeezed: Some(bytes.len()),
                },
            });
        }
    }

    #[cfg(test)]
    pub(crate) fn check(&self) {
        self.chain.check();
    }
}

/// Elements of a list that are given together: see [`List::give_frozen`].
#[derive(Clone, Copy, Debug)]
pub struct ListPart<'a>(&'a Chunk);

/// Elements in the form in which they are stored.
#[derive(Clone, Copy, Debug)]
pub enum ListPartView<'a> {
    /// Some elements as in a listpack, without its header and its end mark.
    Body {
        /// The elements, each with its length behind it.
        bytes: &'a [u8],
        /// How many they are.
        count: usize,
    },
    /// A large one by itself.
    Alone(&'a Blob),
}

impl ListPart<'_> {
    /// Number of elements.
    pub fn count(&self) -> usize {
        self.0.count()
    }

    /// Looks at them as they are stored. What is compressed is decompressed for that.
    pub fn with_view<T>(&self, look: impl FnOnce(ListPartView<'_>) -> T) -> T {
        self.0.with_view(|view| {
            look(match view {
                View::Body(bytes, count) => ListPartView::Body { bytes, count },
                View::Apart(blob) => ListPartView::Alone(blob),
            })
        })
    }

    /// Looks at one after the other.
    pub fn for_each(&self, mut look: impl FnMut(Element<'_>)) {
        self.0.with_view(|view| {
            let mut left = usize::MAX;
            let _ = visit_view(&view, 0, End::Back, &mut left, &mut |element| {
                look(element);
                ControlFlow::Continue(())
            });
        });
    }

    fn weight(self) -> usize {
        self.count().max(weight(self.0.heap_bytes()))
    }
}

/// What [`List::each_chunk`] tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkFigures {
    /// Number of elements.
    pub items: usize,
    /// Bytes that they are stored in, uncompressed.
    pub bytes: usize,
    /// Whether it is one large element by itself.
    pub is_apart: bool,
    /// Bytes that it is compressed to, if it is.
    pub squeezed: Option<usize>,
}

/// A place between elements of a chunk.
#[derive(Clone, Copy, Debug)]
struct Place {
    at: ChunkAt,
    /// In the body.
    offset: usize,
    /// How many elements are in front of it in the chunk.
    index: usize,
}

/// An element that is looked for.
pub(super) struct Sought<'a> {
    value: &'a [u8],
    link: Option<Link<'a>>,
    /// The first byte that the link is stored with,
    first: Option<u8>,
    /// and the last eight of its element.
    last_eight: Option<(u64, usize)>,
}

impl<'a> Sought<'a> {
    pub(super) fn new(value: &'a [u8]) -> Sought<'a> {
        // What is too long for any body is not looked for there.
        let link = u32::try_from(value.len()).is_ok().then(|| Link::new(value));
        let first = link.and_then(|link| link.pieces()[0].first().copied());
        Sought { value, link, first, last_eight: link.and_then(|link| link.last_eight()) }
    }

    /// Whether it is the element at an offset. Elements of a list tend to begin alike, so their ends are compared first.
    #[inline(always)]
    fn is_at(&self, link: &Link<'_>, body: &[u8], at: usize) -> bool {
        if let Some((last, place)) = self.last_eight
            && body
                .get(at + place..)
                .and_then(|end| end.first_chunk())
                .is_none_or(|end| u64::from_le_bytes(*end) != last)
        {
            return false;
        }
        body.get(at).copied() == self.first && link.is_at(body, at)
    }

    /// Goes from `end` over `walk_max` elements, and tells of each that is equal how many were passed before it and its
    /// offset, until it is told to stop.
    pub(super) fn search(
        &self,
        view: &View<'_>,
        end: End,
        walk_max: usize,
        mut found: impl FnMut(usize, usize) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match view {
            View::Apart(blob) if walk_max > 0 && ***blob == *self.value => found(0, 0),
            View::Apart(_) => ControlFlow::Continue(()),
            View::Body(bytes, _) => {
                let Some(link) = &self.link else { return ControlFlow::Continue(()) };
                let (mut passed, mut stride) = (0, Stride::new());
                match end {
                    End::Front => {
                        let mut at = 0;
                        while passed < walk_max
                            && let Some(next) = stride.next(bytes, at)
                        {
                            if self.is_at(link, bytes, at) {
                                found(passed, at)?;
                            }
                            at = next;
                            passed += 1;
                        }
                    }
                    End::Back => {
                        let mut end = bytes.len();
                        while passed < walk_max
                            && let Some(at) = stride.previous(bytes, end)
                        {
                            if self.is_at(link, bytes, at) {
                                found(passed, at)?;
                            }
                            end = at;
                            passed += 1;
                        }
                    }
                }
                ControlFlow::Continue(())
            }
        }
    }
}

/// Looks at elements of one chunk, from the one at `index` on; takes them off `left`.
pub(super) fn visit_view(
    view: &View<'_>,
    index: usize,
    towards: End,
    left: &mut usize,
    look: &mut impl FnMut(Element<'_>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    match view {
        View::Apart(blob) => {
            *left -= 1;
            look(Element::Blob(blob))
        }
        View::Body(bytes, count) => {
            let mut at = body::offset_of(bytes, *count, index);
            while *left > 0
                && let Some(element) = body::element(bytes, at)
            {
                *left -= 1;
                look(element.into())?;
                at = match towards {
                    End::Back => body::next(bytes, at).unwrap_or(bytes.len()),
                    End::Front if at == 0 => break,
                    End::Front => body::previous(bytes, at).unwrap_or(bytes.len()),
                };
            }
            ControlFlow::Continue(())
        }
    }
}

/// The opposite end.
#[inline]
pub(super) fn other(end: End) -> End {
    match end {
        End::Front => End::Back,
        End::Back => End::Front,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rng;
    use std::collections::VecDeque;

    fn all(list: &List) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        list.visit(0, usize::MAX, End::Back, |element| {
            all.push(element.text().to_vec());
            ControlFlow::Continue(())
        });
        all
    }

    fn any_value(rng: &mut Rng, longest: usize) -> Vec<u8> {
        match rng.below(12) {
            0 => vec![b'l'; rng.below(longest)],
            1..4 => rng.next().to_string().into_bytes(),
            4 => Vec::new(),
            _ => rng.below(8).to_string().into_bytes(),
        }
    }

    /// Compares everything that can be asked.
    fn compare(list: &List, model: &VecDeque<Vec<u8>>, rng: &mut Rng) {
        list.check();
        assert_eq!(list.len(), model.len());
        let end = if rng.below(2) == 0 { End::Front } else { End::Back };
        if !model.is_empty() {
            let (from, count) = (rng.below(model.len()), rng.below(model.len() + 2));
            let mut seen = Vec::new();
            list.visit(from, count, end, |element| {
                seen.push(element.text().to_vec());
                if seen.len() == 40 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            let expected: Vec<Vec<u8>> = match end {
                End::Back => model.iter().skip(from).take(count.min(40)).cloned().collect(),
                End::Front => model.iter().take(from + 1).rev().take(count.min(40)).cloned().collect(),
            };
            assert_eq!(seen, expected);
            assert_eq!(list.get(from, |element| element.keep().as_element().text().to_vec()).as_ref(), model.get(from));
            let (walk_max, mut found) = (rng.below(model.len() + 5), Vec::new());
            list.search(&model[from], end, walk_max, |index| {
                found.push(index);
                ControlFlow::Continue(())
            });
            let equal = |&index: &usize| model[index] == model[from];
            let expected: Vec<usize> = match end {
                End::Front => (0..model.len()).take(walk_max).filter(equal).collect(),
                End::Back => (0..model.len()).rev().take(walk_max).filter(equal).collect(),
            };
            assert_eq!(found, expected);
        }
        assert_eq!(list.get(model.len(), |_| ()), None);
    }

    #[test]
    fn a_list_does_what_a_deque_does() {
        let sizes = [-2, -1, 1, 2, 5, 30, -5];
        for round in 0..60_usize {
            let mut rng = Rng::new(round as u64);
            let mut limits = Limits::new(sizes[round % 7], [0, 0, 1, 3][round % 4]);
            if round % 3 == 0 {
                limits = limits.apart_from(60);
            }
            let (mut list, mut model) = (List::new(), VecDeque::<Vec<u8>>::new());
            for step in 0..700 {
                let end = if rng.below(2) == 0 { End::Front } else { End::Back };
                let value = any_value(&mut rng, 9000);
                let pick = if model.is_empty() { 0 } else { rng.below(model.len()) };
                match rng.below(if step < 350 { 14 } else { 17 }) {
                    0..6 => {
                        list.push(end, Element::Bytes(&value), &limits);
                        match end {
                            End::Front => model.push_front(value),
                            End::Back => model.push_back(value),
                        }
                    }
                    6..8 => {
                        assert_eq!(list.set(pick, &value, &limits), !model.is_empty());
                        if let Some(old) = model.get_mut(pick) {
                            *old = value;
                        }
                    }
                    8..12 => {
                        let pivot = model.get(pick).cloned().unwrap_or_default();
                        let at = model.iter().position(|own| *own == pivot);
                        assert_eq!(list.insert_beside(&pivot, end, &value, &limits), at.is_some());
                        if let Some(at) = at {
                            model.insert(if end == End::Front { at } else { at + 1 }, value);
                        }
                    }
                    12 => {
                        let sought = model.get(pick).cloned().unwrap_or_default();
                        let max = 1 + rng.below(5);
                        let mut expected = 0;
                        while expected < max {
                            let equal = |own: &Vec<u8>| *own == sought;
                            let at = match end {
                                End::Front => model.iter().position(equal),
                                End::Back => model.iter().rposition(equal),
                            };
                            let Some(at) = at else { break };
                            model.remove(at);
                            expected += 1;
                        }
                        assert_eq!(list.remove_equal(&sought, end, max, &limits), expected);
                    }
                    13 | 14 if !model.is_empty() => {
                        let (popped, _) =
                            list.pop(end, &limits, |element| element.text().to_vec()).expect("there is one");
                        let expected = match end {
                            End::Front => model.pop_front(),
                            End::Back => model.pop_back(),
                        };
                        assert_eq!(Some(popped), expected);
                    }
                    15 if !model.is_empty() => {
                        let count = rng.below(model.len().min(40) + 1);
                        let before = list.memory_bytes();
                        if let Some(cut) = list.cut(end, count, &limits) {
                            cut.check();
                            assert!(cut.memory_bytes() <= before + 4096 && (1..=count).contains(&cut.len()));
                        }
                        match end {
                            End::Front => drop(model.drain(..count)),
                            End::Back => model.truncate(model.len() - count),
                        }
                    }
                    _ => {
                        let copy = list.clone();
                        assert!(copy.memory_bytes() <= list.memory_bytes() + 4096);
                        list = copy;
                    }
                }
                compare(&list, &model, &mut rng);
            }
            assert!(all(&list).iter().eq(&model));
        }
    }

    #[test]
    fn ten_thousand_chunks_are_found_by_index_from_both_ends() {
        let limits = Limits::new(1, 0);
        let mut list = List::new();
        for number in 0..10_000 {
            list.push(if number % 2 == 0 { End::Front } else { End::Back }, Element::Int(number), &limits);
        }
        list.check();
        assert_eq!(list.items(), 10_000);
        for index in 0..5_000_i64 {
            let (front, back) = (9_998 - 2 * index, 9_999 - 2 * index);
            let at = |index: i64| list.get(index as usize, |element| element.text().to_vec());
            assert_eq!(at(index), Some(front.to_string().into_bytes()));
            assert_eq!(at(9_999 - index), Some(back.to_string().into_bytes()));
        }
        for number in 0..2_000 {
            assert!(list.insert_beside(b"1000", End::Front, format!("new{number}").as_bytes(), &limits));
        }
        list.check();
        assert_eq!(list.remove_equal(b"1000", End::Back, 2, &limits), 1);
        let cut = list.cut(End::Front, 11_000, &limits).expect("whole chunks are cut off");
        assert!(cut.items() == 11_000 && list.len() == 999);
        list.check();
    }

    #[test]
    fn only_chunks_away_from_the_ends_are_compressed() {
        let limits = Limits::new(-1, 2);
        let mut list = List::new();
        for _ in 0..3_000 {
            list.push(End::Back, Element::Bytes(b"a value that compresses well: aaaaaaaaaaaaaaaa"), &limits);
        }
        let squeezed = |list: &List| {
            let mut squeezed = Vec::new();
            list.each_chunk(|figures| squeezed.push(figures.squeezed.is_some()));
            squeezed
        };
        let is_right = |list: &List| {
            let squeezed = squeezed(list);
            let len = squeezed.len();
            squeezed.iter().enumerate().all(|(at, &is)| is == (2..len - 2).contains(&at))
        };
        assert!(is_right(&list) && list.items() > 30);
        while list.items() > 6 {
            for end in [End::Front, End::Back] {
                list.cut(end, 130, &limits);
                assert!(is_right(&list));
            }
        }
        for _ in 0..300 {
            list.push(End::Front, Element::Int(1), &limits);
            assert!(is_right(&list));
        }
    }

    #[test]
    fn a_filled_list_has_little_room_left() {
        let limits = Limits::new(-2, 0);
        for end in [End::Front, End::Back] {
            let mut list = List::new();
            for number in 0..100_000 {
                list.push(end, Element::Bytes(format!("item:{number:011}").as_bytes()), &limits);
            }
            let bytes = list.memory_bytes();
            assert!(bytes < 100_000 * 182 / 10, "{bytes}");
        }
    }
}
