//! A part of a list: elements in one run of bytes, or one large element by itself, or either of them compressed.
//!
//! ```text
//!  open    |  room  | element length | element length | ... |  room  |
//!                   start                                   end
//! ```
//!
//! A list is mostly pushed to and popped from at its ends, at the front as often as at the back, so an open chunk has room
//! on both sides: a push writes into it, a pop moves one number. Where room is missing, the buffer grows by half, and the
//! new room is on the side that wanted it. A chunk that others follow on its side is sealed: what room it has left is given
//! back.
//!
//! What must stay true: `count` elements lie between `start` and `end`; a chunk in a list is never empty.

use super::body::{self, Link};
use super::limits::Limits;
use crate::entry::Blob;
use crate::lzf;
use crate::packed;
use std::ops::Range;

/// The smallest buffer that is worth being shrunk.
const SHRINK_BYTES_MIN: usize = 256;
/// The first buffer of a chunk.
const BUFFER_BYTES_MIN: usize = 64;
/// What is shorter is not compressed, nor what would become smaller by less.
const SQUEEZE_BYTES_MIN: usize = 48;
const SQUEEZE_GAIN_MIN: usize = 8;
/// A single element that is longer is not compressed: it would hold everybody up.
const SQUEEZE_APART_MAX: usize = 1 << 20;
/// What a shared value needs besides its bytes: two counts and the vector's three words.
const BLOB_OVERHEAD_BYTES: usize = 40;

/// One of the two ends of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The head, `LEFT`.
    Front,
    /// The tail, `RIGHT`.
    Back,
}

/// An element of a list, as it is stored.
#[derive(Clone, Copy, Debug)]
pub enum Element<'a> {
    /// An integer; as bytes, its decimal text.
    Int(i64),
    /// Bytes in a chunk.
    Bytes(&'a [u8]),
    /// A large one by itself, which can be shared.
    Blob(&'a Blob),
}

impl<'a> From<packed::Element<'a>> for Element<'a> {
    #[inline]
    fn from(element: packed::Element<'a>) -> Element<'a> {
        match element {
            packed::Element::Int(int) => Element::Int(int),
            packed::Element::Bytes(bytes) => Element::Bytes(bytes),
        }
    }
}

impl<'a> Element<'a> {
    /// The element's bytes; of an integer its text, made on the stack.
    #[inline]
    pub fn text(self) -> packed::ElementText<'a> {
        match self {
            Element::Int(value) => packed::Element::Int(value).text(),
            Element::Bytes(bytes) => packed::ElementText::Bytes(bytes),
            Element::Blob(blob) => packed::ElementText::Bytes(blob),
        }
    }

    /// A copy that outlives the list; a large one is shared.
    pub fn keep(self) -> KeptElement {
        match self {
            Element::Int(value) => KeptElement::Int(value),
            Element::Bytes(bytes) => KeptElement::Bytes(bytes.into()),
            Element::Blob(blob) => KeptElement::Blob(Blob::clone(blob)),
        }
    }
}

/// An element that outlives its list.
#[derive(Clone, Debug)]
pub enum KeptElement {
    /// An integer.
    Int(i64),
    /// Copied bytes.
    Bytes(Box<[u8]>),
    /// A shared large one.
    Blob(Blob),
}

impl KeptElement {
    /// To look at it.
    pub fn as_element(&self) -> Element<'_> {
        match self {
            KeptElement::Int(value) => Element::Int(*value),
            KeptElement::Bytes(bytes) => Element::Bytes(bytes),
            KeptElement::Blob(blob) => Element::Blob(blob),
        }
    }
}

/// Elements in a buffer with room at both ends.
#[derive(Debug)]
pub(super) struct Open {
    buffer: Box<[u8]>,
    start: u32,
    end: u32,
    count: u32,
}

/// A part of a list.
#[derive(Debug)]
pub(super) enum Chunk {
    /// Elements as they are.
    Open(Open),
    /// One large element.
    Apart(Blob),
    /// Compressed; `is_apart` tells which of the two it was.
    Squeezed { bytes: Box<[u8]>, len: usize, count: u32, is_apart: bool },
}

/// What a chunk holds, uncompressed.
pub(super) enum View<'a> {
    Body(&'a [u8], usize),
    Apart(&'a Blob),
}

impl Open {
    /// One with a single element in a buffer of at least `bytes`, with all room at one end.
    fn with_room(element: &Link<'_>, room: End, bytes: usize) -> Open {
        let bytes = bytes.max(element.len());
        let mut open = Open { buffer: vec![0; bytes].into_boxed_slice(), start: 0, end: 0, count: 0 };
        let start = match room {
            End::Front => bytes,
            End::Back => 0,
        };
        open.set(start, start);
        open.push(room, element, bytes);
        open
    }

    /// Of elements that are `count`.
    pub(super) fn of_body(body: &[u8], count: usize) -> Open {
        let mut open = Open { buffer: body.into(), start: 0, end: 0, count: 0 };
        open.set(0, body.len());
        open.set_count(count);
        open
    }

    /// The elements.
    #[inline]
    pub(super) fn body(&self) -> &[u8] {
        &self.buffer[self.start as usize..self.end as usize]
    }

    #[inline]
    pub(super) fn count(&self) -> usize {
        self.count as usize
    }

    #[inline]
    fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "a chunk's buffer is a few MiB at most: see `Limits`")]
    fn set(&mut self, start: usize, end: usize) {
        debug_assert!(start <= end && end <= self.buffer.len() && self.buffer.len() < 1 << 31);
        (self.start, self.end) = (start as u32, end as u32);
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "an element takes two bytes, and a chunk's buffer is a few MiB"
    )]
    fn set_count(&mut self, count: usize) {
        self.count = count as u32;
    }

    /// Adds an element at an end. `bytes_max` is what a chunk's body can become.
    #[inline]
    pub(super) fn push(&mut self, end: End, element: &Link<'_>, bytes_max: usize) {
        let len = element.len();
        match end {
            End::Front => {
                if (self.start as usize) < len {
                    self.make_room(end, len, bytes_max);
                }
                let start = self.start as usize - len;
                element.write(&mut self.buffer[start..]);
                self.set(start, self.end as usize);
            }
            End::Back => {
                if self.buffer.len() - (self.end as usize) < len {
                    self.make_room(end, len, bytes_max);
                }
                let end = self.end as usize;
                element.write(&mut self.buffer[end..]);
                self.set(self.start as usize, end + len);
            }
        }
        self.count += 1;
    }

    /// Makes room for `len` bytes at an end: by moving the elements where that gains much, or else in a larger buffer.
    #[cold]
    fn make_room(&mut self, side: End, len: usize, bytes_max: usize) {
        let capacity = self.buffer.len();
        let needed = self.len() + len;
        let other_room = match side {
            End::Front => capacity - self.end as usize,
            End::Back => self.start as usize,
        };
        let slides = needed <= capacity
            && (self.len() <= capacity / 2 || capacity >= bytes_max)
            && capacity - needed >= capacity / 8;
        let capacity = if slides {
            capacity
        } else if capacity < bytes_max {
            (needed + needed / 2).max(BUFFER_BYTES_MIN).min(bytes_max.max(needed))
        } else {
            needed + needed / 4
        };
        let free = capacity - needed;
        let start = match side {
            End::Front => len + free - other_room.min(free / 2),
            End::Back => other_room.min(free / 2),
        };
        let from = self.start as usize..self.end as usize;
        let end = start + from.len();
        if slides {
            self.buffer.copy_within(from, start);
        } else {
            let mut buffer = vec![0; capacity].into_boxed_slice();
            buffer[start..end].copy_from_slice(&self.buffer[from]);
            self.buffer = buffer;
        }
        self.set(start, end);
    }

    /// Inserts an element at an offset of the body. Moves the shorter side.
    pub(super) fn insert(&mut self, at: usize, element: &Link<'_>) {
        let len = element.len();
        self.open_gap(at, len);
        let gap = self.start as usize + at;
        element.write(&mut self.buffer[gap..gap + len]);
        self.count += 1;
    }

    /// Makes a gap of `len` bytes at an offset of the body.
    fn open_gap(&mut self, at: usize, len: usize) {
        let (start, end) = (self.start as usize, self.end as usize);
        let (front_room, back_room) = (start, self.buffer.len() - end);
        let cut = start + at;
        let front_is_shorter = at < end - cut;
        if front_room >= len && (front_is_shorter || back_room < len) {
            self.buffer.copy_within(start..cut, start - len);
            self.set(start - len, end);
        } else if back_room >= len {
            self.buffer.copy_within(cut..end, cut + len);
            self.set(start, end + len);
        } else {
            let needed = end - start + len;
            let mut buffer = vec![0; needed + needed / 8].into_boxed_slice();
            buffer[..at].copy_from_slice(&self.buffer[start..cut]);
            buffer[at + len..needed].copy_from_slice(&self.buffer[cut..end]);
            self.buffer = buffer;
            self.set(0, needed);
        }
    }

    /// Puts an element in the place of another.
    pub(super) fn replace(&mut self, range: Range<usize>, element: &Link<'_>) {
        let (old, new) = (range.len(), element.len());
        if new > old {
            self.open_gap(range.end, new - old);
        } else {
            self.close_gap(range.start + new..range.end);
        }
        let at = self.start as usize + range.start;
        element.write(&mut self.buffer[at..at + new]);
    }

    /// Removes `count` elements that lie in a range of the body. Moves the shorter side.
    pub(super) fn remove(&mut self, range: Range<usize>, count: usize) {
        self.close_gap(range);
        self.set_count(self.count() - count);
        self.shrink_if_mostly_empty();
    }

    fn close_gap(&mut self, range: Range<usize>) {
        let (start, end) = (self.start as usize, self.end as usize);
        if range.start < end - start - range.end {
            self.buffer.copy_within(start..start + range.start, start + range.len());
            self.set(start + range.len(), end);
        } else {
            self.buffer.copy_within(start + range.end..end, start + range.start);
            self.set(start, end - range.len());
        }
    }

    /// Removes the elements that start at these offsets, which ascend.
    pub(super) fn remove_each(&mut self, offsets: &[u32]) {
        let start = self.start as usize;
        let (mut kept_end, mut at) = (start, start);
        for &offset in offsets {
            let from = start + offset as usize;
            self.buffer.copy_within(at..from, kept_end);
            kept_end += from - at;
            let len = body::next(self.body(), offset as usize).expect("an element starts here") - offset as usize;
            at = from + len;
        }
        let end = self.end as usize;
        self.buffer.copy_within(at..end, kept_end);
        self.set(start, kept_end + end - at);
        self.set_count(self.count() - offsets.len());
        self.shrink_if_mostly_empty();
    }

    /// Removes elements at an end.
    pub(super) fn pop(&mut self, end: End, count: usize) {
        let left = self.count() - count;
        match end {
            End::Front => {
                let at = body::offset_of(self.body(), self.count(), count);
                self.set(self.start as usize + at, self.end as usize);
            }
            End::Back => {
                let at = body::offset_of(self.body(), self.count(), left);
                self.set(self.start as usize, self.start as usize + at);
            }
        }
        self.set_count(left);
        self.shrink_if_mostly_empty();
    }

    /// Removes the element at an end, of several, after a look at it.
    #[inline]
    fn pop_one<T>(&mut self, end: End, look: impl FnOnce(Element<'_>) -> T) -> T {
        let body = self.body();
        let range = match end {
            End::Front => 0..body::next(body, 0).expect("there is a first element"),
            End::Back => body::previous(body, body.len()).expect("there is a last element")..body.len(),
        };
        let result = look(body::element(body, range.start).expect("an element starts here").into());
        match end {
            End::Front => self.set(self.start as usize + range.end, self.end as usize),
            End::Back => self.set(self.start as usize, self.start as usize + range.start),
        }
        self.count -= 1;
        self.shrink_if_mostly_empty();
        result
    }

    #[inline]
    fn shrink_if_mostly_empty(&mut self) {
        let len = self.len();
        if self.buffer.len() > SHRINK_BYTES_MIN && len < self.buffer.len() / 4 {
            self.shrink();
        }
    }

    #[cold]
    fn shrink(&mut self) {
        let len = self.len();
        let mut buffer = vec![0; 2 * len].into_boxed_slice();
        buffer[len / 2..len / 2 + len].copy_from_slice(self.body());
        self.buffer = buffer;
        self.set(len / 2, len / 2 + len);
    }

    /// Gives room back, if that is more than a few bytes.
    fn seal(&mut self) {
        let len = self.len();
        if self.buffer.len() - len > len / 64 {
            *self = Open::of_body(self.body(), self.count());
        }
    }

    /// Cuts off what starts at an offset, which has `count` elements in front of it.
    pub(super) fn split_off(&mut self, at: usize, count: usize) -> Open {
        let behind = Open::of_body(&self.body()[at..], self.count() - count);
        *self = Open::of_body(&self.body()[..at], count);
        behind
    }

    /// Adds all elements of another one behind or, at the front, before its own.
    pub(super) fn join(&mut self, end: End, other: &Open) {
        let body = match end {
            End::Front => [other.body(), self.body()].concat(),
            End::Back => [self.body(), other.body()].concat(),
        };
        *self = Open::of_body(&body, self.count() + other.count());
    }
}

impl Chunk {
    /// One with a single element.
    pub(super) fn with(value: Element<'_>, limits: &Limits) -> Chunk {
        Chunk::with_room(value, End::Back, 0, limits)
    }

    /// One with a single element, and room for more at one end, `bytes` in all; less if a chunk does not become so large.
    pub(super) fn with_room(value: Element<'_>, room: End, bytes: usize, limits: &Limits) -> Chunk {
        let open = |link: &Link<'_>| Chunk::Open(Open::with_room(link, room, bytes.min(limits.body_bytes_max())));
        match value {
            Element::Int(int) => open(&Link::int(int)),
            Element::Bytes(bytes) if limits.is_apart(bytes.len()) => Chunk::Apart(Blob::new(bytes.to_vec())),
            Element::Bytes(bytes) => open(&Link::new(bytes)),
            Element::Blob(blob) if limits.is_apart(blob.len()) => Chunk::Apart(Blob::clone(blob)),
            Element::Blob(blob) => open(&Link::new(blob)),
        }
    }

    /// Number of elements.
    #[inline]
    pub(super) fn count(&self) -> usize {
        match self {
            Chunk::Open(open) => open.count(),
            Chunk::Apart(_) => 1,
            Chunk::Squeezed { count, .. } => *count as usize,
        }
    }

    /// Bytes that it owns besides itself.
    #[inline]
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Chunk::Open(open) => open.buffer.len(),
            Chunk::Apart(blob) => blob.capacity() + BLOB_OVERHEAD_BYTES,
            Chunk::Squeezed { bytes, .. } => bytes.len(),
        }
    }

    /// The elements as they are, if they are not compressed and not a single large one.
    #[inline]
    pub(super) fn as_open(&self) -> Option<&Open> {
        match self {
            Chunk::Open(open) => Some(open),
            _ => None,
        }
    }

    #[inline]
    pub(super) fn as_open_mut(&mut self) -> Option<&mut Open> {
        match self {
            Chunk::Open(open) => Some(open),
            _ => None,
        }
    }

    #[inline]
    pub(super) fn is_squeezed(&self) -> bool {
        matches!(self, Chunk::Squeezed { .. })
    }

    /// Looks at what it holds; a compressed one is decompressed for that.
    #[inline]
    pub(super) fn with_view<T>(&self, look: impl FnOnce(View<'_>) -> T) -> T {
        match self {
            Chunk::Open(open) => look(View::Body(open.body(), open.count())),
            Chunk::Apart(blob) => look(View::Apart(blob)),
            Chunk::Squeezed { .. } => match self.decompressed() {
                Chunk::Apart(blob) => look(View::Apart(&blob)),
                Chunk::Open(open) => look(View::Body(open.body(), open.count())),
                Chunk::Squeezed { .. } => unreachable!("it was decompressed"),
            },
        }
    }

    #[cold]
    fn decompressed(&self) -> Chunk {
        match self {
            Chunk::Squeezed { bytes, len, count, is_apart } => {
                let raw = lzf::decompress(bytes, *len).expect("what was compressed can be decompressed");
                if *is_apart { Chunk::Apart(Blob::new(raw)) } else { Chunk::Open(Open::of_body(&raw, *count as usize)) }
            }
            _ => self.clone(),
        }
    }

    /// Decompresses it; whether it was compressed.
    #[inline]
    pub(super) fn unsqueeze(&mut self) -> bool {
        let squeezed = self.is_squeezed();
        if squeezed {
            *self = self.decompressed();
        }
        squeezed
    }

    /// Compresses it, if that is worth it.
    pub(super) fn squeeze(&mut self) {
        let (raw, count, is_apart): (&[u8], _, _) = match self {
            Chunk::Open(open) => (open.body(), open.count, false),
            Chunk::Apart(blob) if blob.len() <= SQUEEZE_APART_MAX => (blob, 1, true),
            Chunk::Apart(_) | Chunk::Squeezed { .. } => return,
        };
        let len = raw.len();
        if len < SQUEEZE_BYTES_MIN {
            return;
        }
        if let Some(bytes) = lzf::compress(raw, len - SQUEEZE_GAIN_MIN) {
            *self = Chunk::Squeezed { bytes: bytes.into_boxed_slice(), len, count, is_apart };
        }
    }

    /// Gives back what room is left for more elements.
    pub(super) fn seal(&mut self) {
        if let Chunk::Open(open) = self {
            open.seal();
        }
    }

    /// Adds an element at an end, if it has room; says whether it had. It is not compressed afterwards.
    #[inline]
    pub(super) fn push(&mut self, end: End, value: Element<'_>, limits: &Limits) -> bool {
        self.unsqueeze();
        let Chunk::Open(open) = self else { return false };
        let mut push = |link: &Link<'_>, len: usize| {
            let has_room = !limits.is_apart(len) && limits.takes(open.len(), open.count(), len);
            if has_room {
                open.push(end, link, limits.body_bytes_max());
            }
            has_room
        };
        match value {
            Element::Int(int) => push(&Link::int(int), value.text().len()),
            Element::Bytes(bytes) => push(&Link::new(bytes), bytes.len()),
            Element::Blob(blob) => push(&Link::new(blob), blob.len()),
        }
    }

    /// Removes the element at an end after a look at it.
    ///
    /// # Errors
    /// It is the only one, or compressed. Nobody has looked then.
    #[inline]
    pub(super) fn pop_one<T, F: FnOnce(Element<'_>) -> T>(&mut self, end: End, look: F) -> Result<T, F> {
        match self {
            Chunk::Open(open) if open.count > 1 => Ok(open.pop_one(end, look)),
            _ => Err(look),
        }
    }

    /// Removes elements at an end; some must be left, and it must not be compressed.
    #[inline]
    pub(super) fn pop(&mut self, end: End, count: usize) {
        debug_assert!(count < self.count());
        if let Chunk::Open(open) = self {
            open.pop(end, count);
        }
    }
}

impl Clone for Chunk {
    /// Without room to grow.
    fn clone(&self) -> Chunk {
        match self {
            Chunk::Open(open) => Chunk::Open(Open::of_body(open.body(), open.count())),
            Chunk::Apart(blob) => Chunk::Apart(Blob::clone(blob)),
            Chunk::Squeezed { bytes, len, count, is_apart } => {
                Chunk::Squeezed { bytes: bytes.clone(), len: *len, count: *count, is_apart: *is_apart }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rng;

    fn texts(open: &Open) -> Vec<Vec<u8>> {
        let (mut at, mut all) = (0, Vec::new());
        while let Some(end) = body::next(open.body(), at) {
            all.push(body::element(open.body(), at).expect("an element").text().to_vec());
            at = end;
        }
        assert_eq!(at, open.body().len());
        assert_eq!(all.len(), open.count());
        all
    }

    #[test]
    fn an_open_chunk_does_what_a_vector_does() {
        let mut rng = Rng::new(5);
        for round in 0..60 {
            let (mut open, mut model) = (Open::with_room(&Link::new(b"first"), End::Back, 0), vec![b"first".to_vec()]);
            let bytes_max = [200, 1000, 4089][round % 3];
            for step in 0..600_usize {
                let value = match rng.below(3) {
                    0 => step.to_string().into_bytes(),
                    1 => vec![b'v'; rng.below(150)],
                    _ => vec![b'w'; rng.below(8)],
                };
                let link = Link::new(&value);
                let index = rng.below(model.len());
                let at = body::offset_of(open.body(), open.count(), index);
                let end = body::next(open.body(), at).expect("an element");
                match rng.below(if round % 2 == 0 { 9 } else { 7 }) {
                    0 | 1 if open.len() < bytes_max => {
                        open.push(End::Front, &link, bytes_max);
                        model.insert(0, value);
                    }
                    2 | 3 if open.len() < bytes_max => {
                        open.push(End::Back, &link, bytes_max);
                        model.push(value);
                    }
                    4 => {
                        open.replace(at..end, &link);
                        model[index] = value;
                    }
                    5 => {
                        open.insert(at, &link);
                        model.insert(index, value);
                    }
                    6 if model.len() > 1 => {
                        open.remove(at..end, 1);
                        model.remove(index);
                    }
                    7 if model.len() > 2 => {
                        open.pop(End::Front, 2);
                        model.drain(..2);
                    }
                    8 if model.len() > 2 => {
                        let offsets: Vec<u32> = [0, model.len() - 1]
                            .map(|index| body::offset_of(open.body(), open.count(), index) as u32)
                            .to_vec();
                        open.remove_each(&offsets);
                        model.remove(0);
                        model.pop();
                    }
                    _ => open.seal(),
                }
                assert_eq!(texts(&open), model);
                assert!(open.buffer.len() <= SHRINK_BYTES_MIN.max(4 * open.len() + 2 * bytes_max));
            }
            let index = rng.below(model.len());
            let behind = open.split_off(body::offset_of(open.body(), open.count(), index), index);
            assert_eq!((texts(&open), texts(&behind)), (model[..index].to_vec(), model[index..].to_vec()));
            open.join(End::Front, &behind);
            model.rotate_left(index);
            assert_eq!(texts(&open), model);
        }
    }

    #[test]
    fn a_queue_inside_of_a_chunk_stays_in_its_buffer() {
        let mut open = Open::with_room(&Link::new(b"0123456789"), End::Back, 0);
        for _ in 0..3 {
            open.push(End::Back, &Link::new(b"0123456789"), 8185);
        }
        for end in [End::Back, End::Front] {
            let other = if end == End::Back { End::Front } else { End::Back };
            for _ in 0..10_000 {
                open.push(end, &Link::new(b"0123456789"), 8185);
                open.pop(other, 1);
                assert!(open.buffer.len() <= 256, "{}", open.buffer.len());
            }
        }
    }

    #[test]
    fn what_was_compressed_is_as_before() {
        let limits = Limits::new(-2, 1);
        let mut chunk = Chunk::with(Element::Bytes(&[b'x'; 3000]), &limits);
        let before = chunk.heap_bytes();
        chunk.squeeze();
        assert!(chunk.is_squeezed() && chunk.heap_bytes() < before / 10);
        chunk.with_view(|view| assert!(matches!(view, View::Body(body, 1) if body.len() > 3000)));
        assert!(chunk.unsqueeze() && !chunk.unsqueeze());
        let mut apart = Chunk::with(Element::Bytes(&[b'x'; 10_000]), &limits);
        assert!(matches!(apart, Chunk::Apart(_)));
        apart.squeeze();
        assert!(apart.is_squeezed());
        apart.with_view(|view| assert!(matches!(view, View::Apart(blob) if blob[..] == [b'x'; 10_000])));
    }
}
