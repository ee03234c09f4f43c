//! What a frozen chain has to remember: which chunks it had, in order, and those of them that are not there any more as
//! they were.
//!
//! ```text
//!  chunks then     1  2  3  4  5  6  7  8  9                      numbered when the chain is frozen
//!  chunks now      1  2  3  .  5  .  7  .                         a dot: new, or changed since
//!  saved                    4     6     [ 8 9 ]                   copied before they changed, or moved when they went
//!  given           ───────────►
//! ```
//!
//! While nothing happens to a group it only knows the number of its first chunk. With the first change each of its chunks
//! gets its number written beside it, which moves with it wherever it goes; 0 is for those that are new.
//!
//! What must stay true: of the numbers that were not given yet, each is that of one chunk in the chain, which is as it was, or
//! is among the saved ones.

use std::collections::{BTreeMap, VecDeque};

use super::chunk::Chunk;

/// Numbers of a group's chunks. They mean something while the chain is frozen.
#[derive(Debug, Default)]
pub(super) enum Marks {
    /// All chunks are new.
    #[default]
    New,
    /// They are numbered from this one on.
    From(u32),
    /// Each has its own; 0 if it is new.
    #[expect(clippy::box_collection, reason = "a group that nothing happens to stays small")]
    Each(Box<VecDeque<u32>>),
}

impl Marks {
    /// The number of a chunk, 0 if it is new.
    pub(super) fn get(&self, chunk: usize) -> u32 {
        match self {
            Marks::New => 0,
            Marks::From(first) => first + number(chunk),
            Marks::Each(marks) => marks.get(chunk).copied().unwrap_or(0),
        }
    }

    /// Where the chunk with a number is, in a group of `len`.
    fn find(&self, mark: u32, len: usize) -> Option<usize> {
        match self {
            Marks::New => None,
            Marks::From(first) => mark.checked_sub(*first).map(|chunk| chunk as usize).filter(|&chunk| chunk < len),
            Marks::Each(marks) => marks.iter().position(|&own| own == mark),
        }
    }

    /// The chunk has changed; the group has `len`.
    fn forget(&mut self, chunk: usize, len: usize) {
        if let Some(mark) = self.each(len).and_then(|marks| marks.get_mut(chunk)) {
            *mark = 0;
        }
    }

    /// A new chunk was put in a group that had `len`.
    pub(super) fn insert(&mut self, chunk: usize, len: usize) {
        if let Some(marks) = self.each(len) {
            marks.insert(chunk, 0);
        }
    }

    /// A chunk was taken out of a group that had `len`.
    pub(super) fn remove(&mut self, chunk: usize, len: usize) {
        match self {
            Marks::From(first) if chunk == 0 => *first += 1,
            Marks::From(_) if chunk + 1 == len => {}
            _ => {
                if let Some(marks) = self.each(len) {
                    marks.remove(chunk);
                }
            }
        }
    }

    /// Takes those from `chunk` on.
    pub(super) fn split_off(&mut self, chunk: usize) -> Marks {
        match self {
            Marks::New => Marks::New,
            Marks::From(first) => Marks::From(*first + number(chunk)),
            Marks::Each(marks) => Marks::Each(Box::new(marks.split_off(chunk))),
        }
    }

    fn each(&mut self, len: usize) -> Option<&mut VecDeque<u32>> {
        if let Marks::From(first) = *self {
            *self = Marks::Each(Box::new((first..first + number(len)).collect()));
        }
        match self {
            Marks::Each(marks) => Some(marks),
            _ => None,
        }
    }
}

/// The state of a frozen chain.
#[derive(Debug)]
pub(super) struct FrozenChain {
    pub(super) ticket: u64,
    /// Numbers of elements and of chunks then.
    pub(super) items: usize,
    pub(super) chunks: usize,
    /// The number of the next chunk to be given, from 1 on.
    pub(super) next: u32,
    /// Where the last chunk that was given from the chain was: the next one is not far.
    pub(super) group_hint: usize,
    /// Saved chunks with consecutive numbers, by the first one's.
    saved: BTreeMap<u32, VecDeque<Chunk>>,
    /// Saved chunks of which the first is the next to be given.
    ready: VecDeque<Chunk>,
    bytes: usize,
}

impl FrozenChain {
    pub(super) fn new(ticket: u64, items: usize, chunks: usize) -> FrozenChain {
        FrozenChain {
            ticket,
            items,
            chunks,
            next: 1,
            group_hint: 0,
            saved: BTreeMap::new(),
            ready: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Bytes on the heap.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<FrozenChain>() + self.bytes
    }

    /// Whether all chunks were given.
    pub(super) fn is_over(&self) -> bool {
        self.next as usize > self.chunks
    }

    /// Before a chunk in a group of `len` is changed: copies it if it is still to be given.
    pub(super) fn save(&mut self, marks: &mut Marks, at: usize, len: usize, chunk: &Chunk) {
        let mark = marks.get(at);
        if mark >= self.next {
            self.keep(mark, chunk.clone());
            marks.forget(at, len);
        }
    }

    /// Takes a chunk that goes, if it is still to be given; else gives it back.
    pub(super) fn take(&mut self, mark: u32, chunk: Chunk) -> Option<Chunk> {
        if mark < self.next {
            return Some(chunk);
        }
        self.keep(mark, chunk);
        None
    }

    /// Takes the chunks of a group that goes, as far as they are still to be given. What is left.
    pub(super) fn take_all(&mut self, marks: &Marks, mut chunks: VecDeque<Chunk>) -> VecDeque<Chunk> {
        match marks {
            Marks::New => chunks,
            Marks::From(first) => {
                let given = self.next.saturating_sub(*first) as usize;
                let kept = chunks.split_off(given.min(chunks.len()));
                if !kept.is_empty() {
                    self.bytes += kept.iter().map(bytes_of).sum::<usize>();
                    self.saved.insert((*first).max(self.next), kept);
                }
                chunks
            }
            Marks::Each(marks) => {
                chunks.into_iter().zip(&**marks).filter_map(|(chunk, &mark)| self.take(mark, chunk)).collect()
            }
        }
    }

    fn keep(&mut self, mark: u32, chunk: Chunk) {
        self.bytes += bytes_of(&chunk);
        self.saved.insert(mark, VecDeque::from([chunk]));
    }

    /// The next chunk, if it is a saved one; it is forgotten here.
    pub(super) fn next_saved(&mut self) -> Option<Chunk> {
        if self.ready.is_empty() {
            let first = self.saved.first_entry().filter(|first| *first.key() == self.next)?;
            self.ready = first.remove();
        }
        let chunk = self.ready.pop_front()?;
        self.bytes -= bytes_of(&chunk);
        Some(chunk)
    }

    /// The group of the next chunk, which is not a saved one, and its place there. `groups` tells the marks of a group and how
    /// many chunks it has.
    pub(super) fn find_next<'a>(
        &mut self,
        groups: usize,
        group: impl Fn(usize) -> (&'a Marks, usize),
    ) -> Option<(usize, usize)> {
        let from = self.group_hint.min(groups.saturating_sub(1));
        let in_group = |at: usize| {
            let (marks, len) = group(at);
            marks.find(self.next, len).map(|chunk| (at, chunk))
        };
        // Further and further away from where the last one was.
        let found = (0..groups).find_map(|far| {
            let behind = from + far;
            let found = if behind < groups { in_group(behind) } else { None };
            found.or_else(|| from.checked_sub(far).and_then(in_group))
        });
        self.group_hint = found.map_or(self.group_hint, |(at, _)| at);
        found
    }
}

/// What a saved chunk takes.
fn bytes_of(chunk: &Chunk) -> usize {
    size_of::<Chunk>() + chunk.heap_bytes()
}

fn number(chunk: usize) -> u32 {
    u32::try_from(chunk).unwrap_or(u32::MAX)
}
