//! The chunks of a list in order, in groups: found by counting over groups first, and no step ever moves more than one group
//! and the short table of groups.
//!
//! ```text
//!  groups   | chunks, items, heap bytes | chunks, items, heap bytes | ...
//!              |
//!              +-- chunk | chunk | ... up to 128
//! ```
//!
//! A chain can be frozen: then the chunks that it had are given out in order while it changes, see `frozen.rs`.
//!
//! What must stay true: no chunk and no group is empty; a group's figures, and the sums here, are those of its chunks. While
//! the chain is frozen, nothing happens to a chunk that was not saved before, if it is still to be given.

use super::chunk::{Chunk, End};
use super::frozen::{FrozenChain, Marks};
use std::collections::VecDeque;

/// A group has no more chunks than this.
const GROUP_CHUNKS_MAX: usize = 128;

#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) chunks: VecDeque<Chunk>,
    pub(super) items: usize,
    heap_bytes: usize,
    marks: Marks,
}

impl Group {
    fn of(chunks: VecDeque<Chunk>) -> Group {
        let items = chunks.iter().map(Chunk::count).sum();
        let heap_bytes = chunks.iter().map(Chunk::heap_bytes).sum();
        Group { chunks, items, heap_bytes, marks: Marks::New }
    }

    fn memory_bytes(&self) -> usize {
        self.heap_bytes + self.chunks.capacity() * size_of::<Chunk>()
    }

    /// Changes one of its chunks, and tells what that means for the sums of all groups.
    #[inline]
    fn edit<T>(
        &mut self,
        pick: impl FnOnce(&mut VecDeque<Chunk>) -> &mut Chunk,
        change: impl FnOnce(&mut Chunk) -> T,
    ) -> (T, Difference) {
        let chunk = pick(&mut self.chunks);
        let (items, heap_bytes, squeezed) = (chunk.count(), chunk.heap_bytes(), chunk.is_squeezed());
        let result = change(chunk);
        let difference = Difference {
            items: chunk.count().wrapping_sub(items),
            heap_bytes: chunk.heap_bytes().wrapping_sub(heap_bytes),
            squeezed: usize::from(chunk.is_squeezed()).wrapping_sub(usize::from(squeezed)),
        };
        self.items = self.items.wrapping_add(difference.items);
        self.heap_bytes = self.heap_bytes.wrapping_add(difference.heap_bytes);
        (result, difference)
    }
}

/// By how much figures have changed; what has become less is a number that wraps around when it is added.
struct Difference {
    items: usize,
    heap_bytes: usize,
    squeezed: usize,
}

/// Where a chunk is: its group, and its place there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChunkAt {
    pub(super) group: usize,
    pub(super) chunk: usize,
}

/// All chunks of a list.
#[derive(Debug, Default)]
pub(super) struct Chain {
    groups: VecDeque<Group>,
    items: usize,
    chunks: usize,
    squeezed: usize,
    /// Of all groups, without the table of groups.
    group_bytes: usize,
    frozen: Option<Box<FrozenChain>>,
}

impl Chain {
    #[inline]
    pub(super) fn items(&self) -> usize {
        self.items
    }

    #[inline]
    pub(super) fn chunks(&self) -> usize {
        self.chunks
    }

    /// Bytes of chunks, groups and their table.
    pub(super) fn memory_bytes(&self) -> usize {
        let frozen = self.frozen.as_ref().map_or(0, |frozen| frozen.memory_bytes());
        self.group_bytes + self.groups.capacity() * size_of::<Group>() + frozen
    }

    /// Freezes it. O(groups).
    pub(super) fn freeze(&mut self, ticket: u64) {
        let mut first = 1;
        for group in &mut self.groups {
            group.marks = Marks::From(first);
            first += u32::try_from(group.chunks.len()).unwrap_or(u32::MAX);
        }
        self.frozen = Some(Box::new(FrozenChain::new(ticket, self.items, self.chunks)));
    }

    /// What it was when it was frozen, if it is.
    #[inline]
    pub(super) fn frozen(&self) -> Option<&FrozenChain> {
        self.frozen.as_deref()
    }

    /// Forgets the frozen state; what is left of it is handed out.
    pub(super) fn thaw(&mut self) -> Option<Box<FrozenChain>> {
        self.frozen.take()
    }

    /// Gives the next chunk of the frozen state to `visit`. Says whether there is more; if not, it is thawed.
    pub(super) fn give_frozen<T>(&mut self, visit: impl FnOnce(&Chunk) -> T) -> (Option<T>, bool) {
        let Some(frozen) = &mut self.frozen else { return (None, false) };
        let result = if frozen.is_over() {
            None
        } else if let Some(chunk) = frozen.next_saved() {
            Some(visit(&chunk))
        } else {
            let groups = &self.groups;
            let at = frozen.find_next(groups.len(), |group| (&groups[group].marks, groups[group].chunks.len()));
            let (group, chunk) = at.expect("a chunk that was neither changed nor given is there");
            Some(visit(&groups[group].chunks[chunk]))
        };
        frozen.next += 1;
        let goes_on = !frozen.is_over();
        if !goes_on {
            self.frozen = None;
        }
        (result, goes_on)
    }

    /// To be called before a chunk is changed: copies it if it is still to be given.
    #[cold]
    fn save(&mut self, at: ChunkAt) {
        if let Some(frozen) = &mut self.frozen {
            let Group { chunks, marks, .. } = &mut self.groups[at.group];
            frozen.save(marks, at.chunk, chunks.len(), &chunks[at.chunk]);
        }
    }

    #[inline]
    pub(super) fn groups(&self) -> &VecDeque<Group> {
        &self.groups
    }

    /// The chunk at an end.
    #[inline]
    pub(super) fn at_end(&self, end: End) -> Option<ChunkAt> {
        match end {
            End::Front if self.groups.is_empty() => None,
            End::Front => Some(ChunkAt { group: 0, chunk: 0 }),
            End::Back => {
                let group = self.groups.len().checked_sub(1)?;
                Some(ChunkAt { group, chunk: self.groups[group].chunks.len() - 1 })
            }
        }
    }

    #[inline]
    pub(super) fn chunk(&self, at: ChunkAt) -> &Chunk {
        &self.groups[at.group].chunks[at.chunk]
    }

    /// The neighbour on that side.
    #[inline]
    pub(super) fn beside(&self, at: ChunkAt, side: End) -> Option<ChunkAt> {
        let ChunkAt { group, chunk } = at;
        match side {
            End::Back if chunk + 1 < self.groups[group].chunks.len() => Some(ChunkAt { group, chunk: chunk + 1 }),
            End::Back => (group + 1 < self.groups.len()).then_some(ChunkAt { group: group + 1, chunk: 0 }),
            End::Front if chunk > 0 => Some(ChunkAt { group, chunk: chunk - 1 }),
            End::Front => {
                let group = group.checked_sub(1)?;
                Some(ChunkAt { group, chunk: self.groups[group].chunks.len() - 1 })
            }
        }
    }

    /// The first chunk of a group, if there is such a group.
    pub(super) fn first_of(&self, group: usize) -> Option<ChunkAt> {
        (group < self.groups.len()).then_some(ChunkAt { group, chunk: 0 })
    }

    /// The last chunk of a group, if there is such a group.
    pub(super) fn last_of(&self, group: usize) -> Option<ChunkAt> {
        let last = self.groups.get(group)?.chunks.len() - 1;
        Some(ChunkAt { group, chunk: last })
    }

    /// The chunk of the element with `index` in front of it, and how many are in front of it in that chunk.
    pub(super) fn find(&self, index: usize) -> Option<(ChunkAt, usize)> {
        if index >= self.items {
            return None;
        }
        let (group, left) = skip(index, self.items, &self.groups, |group| group.items);
        let own = &self.groups[group];
        let (chunk, left) = skip(left, own.items, &own.chunks, Chunk::count);
        Some((ChunkAt { group, chunk }, left))
    }

    /// The chunk with so many in front of it.
    pub(super) fn nth_chunk(&self, number: usize) -> Option<ChunkAt> {
        if number >= self.chunks {
            return None;
        }
        let (group, chunk) = skip(number, self.chunks, &self.groups, |group| group.chunks.len());
        Some(ChunkAt { group, chunk })
    }

    /// Changes a chunk, which must not become empty.
    #[inline]
    pub(super) fn edit<T>(&mut self, at: ChunkAt, change: impl FnOnce(&mut Chunk) -> T) -> T {
        if self.frozen.is_some() {
            self.save(at);
        }
        let group = &mut self.groups[at.group];
        let (result, difference) = group.edit(|chunks| &mut chunks[at.chunk], change);
        self.account(difference);
        result
    }

    /// Changes the chunk at an end, which must not become empty, if there is one.
    #[inline]
    pub(super) fn edit_end<T>(&mut self, end: End, change: impl FnOnce(&mut Chunk) -> T) -> Option<T> {
        if self.frozen.is_some()
            && let Some(at) = self.at_end(end)
        {
            self.save(at);
        }
        let group = match end {
            End::Front => self.groups.front_mut(),
            End::Back => self.groups.back_mut(),
        }?;
        let (result, difference) = group.edit(
            |chunks| {
                let chunk = match end {
                    End::Front => chunks.front_mut(),
                    End::Back => chunks.back_mut(),
                };
                chunk.expect("no group is empty")
            },
            change,
        );
        self.account(difference);
        Some(result)
    }

    #[inline]
    fn account(&mut self, difference: Difference) {
        self.items = self.items.wrapping_add(difference.items);
        self.group_bytes = self.group_bytes.wrapping_add(difference.heap_bytes);
        self.squeezed = self.squeezed.wrapping_add(difference.squeezed);
    }

    /// Whether there is any compressed chunk.
    pub(super) fn has_squeezed(&self) -> bool {
        self.squeezed > 0
    }

    /// Adds a chunk at an end.
    pub(super) fn push(&mut self, end: End, chunk: Chunk) {
        match self.at_end(end) {
            None => self.add_group(0, Group::of(VecDeque::from([chunk]))),
            Some(at) => {
                self.insert(at, end, chunk);
            }
        }
    }

    /// Adds a chunk beside another one; where it is now, and where the other one is.
    pub(super) fn insert(&mut self, at: ChunkAt, side: End, chunk: Chunk) -> (ChunkAt, ChunkAt) {
        let ChunkAt { mut group, chunk: beside } = at;
        let mut place = match side {
            End::Front => beside,
            End::Back => beside + 1,
        };
        let own_len = self.groups[group].chunks.len();
        if own_len == GROUP_CHUNKS_MAX {
            // At the ends a full group stays full, so that a list that only grows there has no half-empty ones.
            if group + 1 == self.groups.len() && place == own_len {
                self.add_group(group + 1, Group::of(VecDeque::from([chunk])));
                return (ChunkAt { group: group + 1, chunk: 0 }, at);
            }
            if group == 0 && place == 0 {
                self.add_group(0, Group::of(VecDeque::from([chunk])));
                return (ChunkAt { group: 0, chunk: 0 }, ChunkAt { group: 1, chunk: beside });
            }
            let mut own = self.take_group(group);
            let half = own.chunks.split_off(GROUP_CHUNKS_MAX / 2);
            let half_marks = own.marks.split_off(GROUP_CHUNKS_MAX / 2);
            own.chunks.shrink_to_fit();
            self.add_group(group, Group { marks: own.marks, ..Group::of(own.chunks) });
            self.add_group(group + 1, Group { marks: half_marks, ..Group::of(half) });
            if place > GROUP_CHUNKS_MAX / 2 {
                group += 1;
                place -= GROUP_CHUNKS_MAX / 2;
            }
        }
        let own = &mut self.groups[group];
        if self.frozen.is_some() {
            own.marks.insert(place, own.chunks.len());
        }
        let before = own.memory_bytes();
        own.items += chunk.count();
        own.heap_bytes += chunk.heap_bytes();
        self.items += chunk.count();
        self.chunks += 1;
        self.squeezed += usize::from(chunk.is_squeezed());
        own.chunks.insert(place, chunk);
        self.group_bytes += own.memory_bytes() - before;
        let here = ChunkAt { group, chunk: place };
        let other = match side {
            End::Front => self.beside(here, End::Back),
            End::Back => self.beside(here, End::Front),
        };
        (here, other.expect("it is beside another one"))
    }

    /// Takes a chunk out; a copy, if the frozen state needs it.
    pub(super) fn remove(&mut self, at: ChunkAt) -> Chunk {
        if self.frozen.is_some() {
            self.save(at);
        }
        self.take_out(at)
    }

    /// Takes a chunk out, and hands it out unless the frozen state needs it.
    pub(super) fn discard(&mut self, at: ChunkAt) -> Option<Chunk> {
        let mark = self.groups[at.group].marks.get(at.chunk);
        let chunk = self.take_out(at);
        match &mut self.frozen {
            Some(frozen) => frozen.take(mark, chunk),
            None => Some(chunk),
        }
    }

    fn take_out(&mut self, at: ChunkAt) -> Chunk {
        let own = &mut self.groups[at.group];
        if self.frozen.is_some() {
            own.marks.remove(at.chunk, own.chunks.len());
        }
        let before = own.memory_bytes();
        let chunk = own.chunks.remove(at.chunk).expect("there is a chunk");
        own.items -= chunk.count();
        own.heap_bytes -= chunk.heap_bytes();
        self.items -= chunk.count();
        self.chunks -= 1;
        self.squeezed -= usize::from(chunk.is_squeezed());
        self.group_bytes -= before - own.memory_bytes();
        if own.chunks.is_empty() {
            self.take_group(at.group);
        }
        chunk
    }

    /// Takes whole chunks off an end that have no more than `items` elements together, and hands them out, in no particular
    /// order, except those that the frozen state needs. How many elements were in all of them.
    pub(super) fn cut(&mut self, end: End, items: usize) -> (Chain, usize) {
        let (mut cut, mut taken) = (Chain::default(), 0);
        while let Some(at) = self.at_end(end)
            && self.groups[at.group].items <= items - taken
        {
            let mut group = self.take_group(at.group);
            taken += group.items;
            if let Some(frozen) = &mut self.frozen {
                group = Group::of(frozen.take_all(&group.marks, group.chunks));
            }
            if !group.chunks.is_empty() {
                cut.add_group(cut.groups.len(), group);
            }
        }
        while let Some(at) = self.at_end(end)
            && self.chunk(at).count() <= items - taken
        {
            taken += self.chunk(at).count();
            if let Some(chunk) = self.discard(at) {
                cut.push(End::Back, chunk);
            }
        }
        (cut, taken)
    }

    fn add_group(&mut self, at: usize, group: Group) {
        self.items += group.items;
        self.chunks += group.chunks.len();
        self.squeezed += squeezed_of(&group);
        self.group_bytes += group.memory_bytes();
        if self.groups.is_empty() {
            // Most lists never have a second one.
            self.groups.reserve_exact(1);
        }
        self.groups.insert(at, group);
    }

    fn take_group(&mut self, at: usize) -> Group {
        let group = self.groups.remove(at).expect("there is a group");
        self.items -= group.items;
        self.chunks -= group.chunks.len();
        if self.squeezed > 0 {
            self.squeezed -= squeezed_of(&group);
        }
        self.group_bytes -= group.memory_bytes();
        group
    }

    #[cfg(test)]
    pub(super) fn check(&self) {
        assert!(self.groups.iter().all(|group| (1..=GROUP_CHUNKS_MAX).contains(&group.chunks.len())));
        assert!(self.groups.iter().flat_map(|group| &group.chunks).all(|chunk| chunk.count() > 0));
        for group in &self.groups {
            assert_eq!(group.items, group.chunks.iter().map(Chunk::count).sum::<usize>());
            assert_eq!(group.heap_bytes, group.chunks.iter().map(Chunk::heap_bytes).sum::<usize>());
        }
        assert_eq!(self.items, self.groups.iter().map(|group| group.items).sum::<usize>());
        assert_eq!(self.chunks, self.groups.iter().map(|group| group.chunks.len()).sum::<usize>());
        assert_eq!(self.squeezed, self.groups.iter().map(squeezed_of).sum::<usize>());
        assert_eq!(self.group_bytes, self.groups.iter().map(Group::memory_bytes).sum::<usize>());
    }
}

impl Clone for Chain {
    fn clone(&self) -> Chain {
        let mut copy = Chain::default();
        for group in &self.groups {
            copy.add_group(copy.groups.len(), Group::of(group.chunks.iter().cloned().collect()));
        }
        copy
    }
}

fn squeezed_of(group: &Group) -> usize {
    group.chunks.iter().filter(|chunk| chunk.is_squeezed()).count()
}

/// Goes over parts until it is in the one that holds number `index` out of `all`; that part, and what is left of the index.
/// From the nearer end.
fn skip<T>(index: usize, all: usize, parts: &VecDeque<T>, size: impl Fn(&T) -> usize) -> (usize, usize) {
    let mut end = all;
    if index < all / 2 {
        let mut left = index;
        for (number, part) in parts.iter().enumerate() {
            let size = size(part);
            if left < size {
                return (number, left);
            }
            left -= size;
        }
    } else {
        for (number, part) in parts.iter().enumerate().rev() {
            end -= size(part);
            if index >= end {
                return (number, index - end);
            }
        }
    }
    unreachable!("{index} of {all} is in none of the parts")
}
