//! A list as commands see it, whether it is short and lies in its entry's block, or is a [`List`] of its own.
//!
//! ```text
//!  | count: u16 LE | element length | element length | ...       up to 1 KiB in the entry's block; nothing is an empty list
//! ```
//!
//! How a list is stored, and what its encoding is called, are two things. The name follows Redis's rules: `listpack` until
//! what is to be added exceeds the limits, then `quicklist` until the list is half as large as they allow and in one piece. A list
//! that is called `listpack` may well have left its entry, since adding to the front of a longer run of bytes moves them all.
//!
//! What must stay true: a list in an entry's block is called `listpack`.

use super::big::{Encoding, List, Sought, visit_view};
use super::body::{self, Link};
use super::chunk::{Element, End, View};
use super::limits::Limits;
use crate::entry::{EntryRef, Freed, Kind};
use crate::keyspace::{EntryMut, NewValue};
use crate::packed::COUNT_BYTES;
use crate::value::{Big, PackedKind, ValueRef};
use std::ops::{ControlFlow, Range};

/// A list of more bytes leaves its entry's block, and comes back when it has become half as long.
pub(super) const PACKED_BYTES_MAX: usize = 1024;

/// A list that is read.
#[derive(Clone, Copy, Debug)]
pub struct ListRef<'a>(Stored<'a>);

#[derive(Clone, Copy, Debug)]
enum Stored<'a> {
    Packed { body: &'a [u8], count: usize },
    Big(&'a List),
}

impl<'a> ListRef<'a> {
    /// Of an entry; `None` if its value is no list.
    #[inline]
    pub fn of(entry: EntryRef<'a>) -> Option<ListRef<'a>> {
        match entry.value() {
            ValueRef::Packed(PackedKind::List, bytes) => Some(ListRef::of_packed(bytes)),
            ValueRef::List(list) => Some(ListRef(Stored::Big(list))),
            _ => None,
        }
    }

    #[inline]
    fn of_packed(bytes: &'a [u8]) -> ListRef<'a> {
        ListRef(match bytes.split_first_chunk() {
            None => Stored::Packed { body: &[], count: 0 },
            Some((&count, body)) => Stored::Packed { body, count: usize::from(u16::from_le_bytes(count)) },
        })
    }

    /// Number of elements.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "only a list that is being made is empty")]
    pub fn len(self) -> usize {
        match self.0 {
            Stored::Packed { count, .. } => count,
            Stored::Big(list) => list.len(),
        }
    }

    /// What its encoding is called.
    pub fn encoding(self) -> Encoding {
        match self.0 {
            Stored::Packed { .. } => Encoding::Listpack,
            Stored::Big(list) => list.encoding(),
        }
    }

    /// The chunks, if it is large enough to have any.
    pub fn as_big(self) -> Option<&'a List> {
        match self.0 {
            Stored::Packed { .. } => None,
            Stored::Big(list) => Some(list),
        }
    }

    /// Bytes of all elements with what is stored about each: the size of a listpack without its header and end mark.
    pub fn body_bytes(self) -> usize {
        match self.0 {
            Stored::Packed { body, .. } => body.len(),
            Stored::Big(list) => list.body_bytes(),
        }
    }

    /// Looks at `count` elements, or until it is told to stop: from the one with `from` in front of it on towards the back,
    /// or towards the front.
    #[inline]
    pub fn visit(self, from: usize, count: usize, towards: End, mut look: impl FnMut(Element<'_>) -> ControlFlow<()>) {
        match self.0 {
            Stored::Packed { body, count: len } => {
                if from < len {
                    let mut left = count;
                    let _ = visit_view(&View::Body(body, len), from, towards, &mut left, &mut look);
                }
            }
            Stored::Big(list) => list.visit(from, count, towards, look),
        }
    }

    /// Looks at the element with `index` in front of it.
    #[inline]
    pub fn get<T>(self, index: usize, look: impl FnOnce(Element<'_>) -> T) -> Option<T> {
        match self.0 {
            Stored::Packed { body, count } => {
                if index >= count {
                    return None;
                }
                Some(look(body::element(body, body::offset_of(body, count, index))?.into()))
            }
            Stored::Big(list) => list.get(index, look),
        }
    }

    /// Tells the indexes of elements equal to `value`, walking from `end`, until it is told to stop; no more than `walk_max`
    /// elements are compared.
    pub fn search(self, value: &[u8], end: End, walk_max: usize, mut found: impl FnMut(usize) -> ControlFlow<()>) {
        match self.0 {
            Stored::Packed { body, count } => {
                let _ = Sought::new(value).search(&View::Body(body, count), end, walk_max, |passed, _| {
                    found(match end {
                        End::Front => passed,
                        End::Back => count - 1 - passed,
                    })
                });
            }
            Stored::Big(list) => list.search(value, end, walk_max, found),
        }
    }
}

/// A list that is changed. Whoever removes its last element has to remove its entry.
pub struct ListMut<'e, 'k> {
    entry: &'e mut EntryMut<'k>,
    limits: Limits,
}

impl<'e, 'k> ListMut<'e, 'k> {
    /// Of an entry; `None` if its value is no list.
    #[inline]
    pub fn of(entry: &'e mut EntryMut<'k>, limits: Limits) -> Option<ListMut<'e, 'k>> {
        matches!(entry.as_ref().kind(), Kind::List | Kind::ListPacked).then_some(ListMut { entry, limits })
    }

    /// To read it.
    #[inline]
    pub fn as_ref(&self) -> ListRef<'_> {
        ListRef::of(self.entry.as_ref()).expect("it is a list")
    }

    /// Adds elements at an end, one after the other. How long the list is then.
    #[inline]
    pub fn extend<'v>(&mut self, end: End, values: impl Iterator<Item = &'v [u8]> + Clone) -> usize {
        if let Some(mut list) = self.entry.list_mut()
            && list.encoding() == Encoding::Quicklist
        {
            // Whatever is added, its name stays.
            values.for_each(|value| list.push(end, Element::Bytes(value), &self.limits));
            return list.len();
        }
        self.extend_small(end, values)
    }

    fn extend_small<'v>(&mut self, end: End, values: impl Iterator<Item = &'v [u8]> + Clone) -> usize {
        let (bytes, count) =
            values.clone().fold((0_usize, 0), |(bytes, count), value| (bytes.saturating_add(value.len()), count + 1));
        self.expect_more(bytes, count);
        for value in values {
            self.push(end, Element::Bytes(value));
        }
        self.as_ref().len()
    }

    /// Says that `count` elements of `bytes` bytes in all are to be added: the encoding changes for all of them at once,
    /// and even if they are not added in the end.
    #[inline]
    pub fn expect_more(&mut self, bytes: usize, count: usize) {
        let list = self.as_ref();
        if list.encoding() == Encoding::Listpack
            && self.limits.is_exceeded(list.body_bytes().saturating_add(bytes), list.len().saturating_add(count))
        {
            self.big(|list, _| list.set_encoding(Encoding::Quicklist));
        }
    }

    /// Adds an element at an end.
    #[inline]
    pub fn push(&mut self, end: End, value: Element<'_>) {
        let text = value.text();
        if let Some((_, bytes)) = self.entry.packed()
            && !self.limits.is_apart(text.len())
            && bytes.len() + text.len() <= PACKED_BYTES_MAX
        {
            let link = Link::new(&text);
            let (len, count) = (bytes.len(), ListRef::of_packed(bytes).len());
            let at = match end {
                End::Front => COUNT_BYTES,
                End::Back => len,
            };
            self.splice(at..at, Some(&link), count + 1);
            return;
        }
        self.big(|list, limits| list.push(end, value, limits));
    }

    /// Says that this element is to be added. Of an integer only the number of elements counts.
    pub fn expect_element(&mut self, element: Element<'_>) {
        let bytes = match element {
            Element::Int(_) => 0,
            element => element.text().len(),
        };
        self.expect_more(bytes, 1);
    }

    /// Removes the element at an end, which must be there, after a look at it. What this returns besides is to be freed, perhaps
    /// on another thread.
    #[inline]
    pub fn pop<T>(&mut self, end: End, look: impl FnOnce(Element<'_>) -> T) -> (T, Freed) {
        let taken = self.take(end, look);
        self.settle();
        taken
    }

    /// Removes the element at one end and adds one at an end: the list is as long as before, and looks at its encoding only
    /// then. What this returns is to be freed.
    pub fn rotate(&mut self, from: End, to: End, element: Element<'_>) -> Freed {
        let ((), rest) = self.take(from, |_| ());
        self.expect_element(element);
        self.push(to, element);
        self.settle();
        rest
    }

    #[inline]
    fn take<T>(&mut self, end: End, look: impl FnOnce(Element<'_>) -> T) -> (T, Freed) {
        if let Some(mut list) = self.entry.list_mut() {
            let (result, rest) = list.pop(end, &self.limits, look).expect("there is an element");
            return (result, rest.map_or(Freed::Nothing, |rest| Freed::Big(rest.into())));
        }
        let list = self.as_ref();
        let index = match end {
            End::Front => 0,
            End::Back => list.len().saturating_sub(1),
        };
        let result = list.get(index, look).expect("there is an element");
        (result, self.cut(end, 1))
    }

    /// Removes `count` elements at an end, or all there are. What this returns is to be freed, perhaps on another thread.
    pub fn cut(&mut self, end: End, count: usize) -> Freed {
        if let Stored::Packed { body, count: len } = self.as_ref().0 {
            let count = count.min(len);
            let range = match end {
                End::Front => 0..body::offset_of(body, len, count),
                End::Back => body::offset_of(body, len, len - count)..body.len(),
            };
            self.remove(range, len - count);
            return Freed::Nothing;
        }
        let rest = self.big(|list, limits| list.cut(end, count, limits));
        self.settle();
        rest.map_or(Freed::Nothing, |rest| Freed::Big(rest.into()))
    }

    /// Puts a value in the place of the element with `index` in front of it; `false` if there is none.
    pub fn set(&mut self, index: usize, value: &[u8]) -> bool {
        if let Stored::Packed { body, count } = self.as_ref().0 {
            if index >= count {
                return false;
            }
            let at = body::offset_of(body, count, index);
            let range = at..body::next(body, at).expect("there is an element");
            if self.keeps_packed(value) {
                self.splice(COUNT_BYTES + range.start..COUNT_BYTES + range.end, Some(&Link::new(value)), count);
                return true;
            }
        }
        let done = self.big(|list, limits| list.set(index, value, limits));
        self.settle();
        done
    }

    /// Inserts a value before (`Front`) or behind (`Back`) the first element equal to `pivot`; `false` if there is none.
    pub fn insert_beside(&mut self, pivot: &[u8], side: End, value: &[u8]) -> bool {
        if let Stored::Packed { body, count } = self.as_ref().0 {
            let mut found = None;
            let _ = Sought::new(pivot).search(&View::Body(body, count), End::Front, usize::MAX, |_, at| {
                found = Some(at);
                ControlFlow::Break(())
            });
            let Some(found) = found else { return false };
            if self.keeps_packed(value) {
                let at = match side {
                    End::Front => found,
                    End::Back => body::next(body, found).unwrap_or(body.len()),
                };
                self.splice(COUNT_BYTES + at..COUNT_BYTES + at, Some(&Link::new(value)), count + 1);
                return true;
            }
        }
        self.big(|list, limits| list.insert_beside(pivot, side, value, limits))
    }

    /// Removes up to `max` elements equal to `value`, those nearest to `end`. How many.
    pub fn remove_equal(&mut self, value: &[u8], end: End, max: usize) -> usize {
        if !matches!(self.as_ref().0, Stored::Packed { .. }) {
            let removed = self.big(|list, limits| list.remove_equal(value, end, max, limits));
            if removed > 0 {
                self.settle();
            }
            return removed;
        }
        let sought = Sought::new(value);
        let mut removed = 0;
        while removed < max
            && let Stored::Packed { body, count } = self.as_ref().0
        {
            let mut found = None;
            let _ = sought.search(&View::Body(body, count), end, usize::MAX, |_, at| {
                found = Some(at);
                ControlFlow::Break(())
            });
            let Some(at) = found else { break };
            let next = body::next(body, at).unwrap_or(body.len());
            self.remove(at..next, count - 1);
            removed += 1;
        }
        removed
    }

    /// Whether a list in an entry's block stays there with a value more.
    fn keeps_packed(&self, value: &[u8]) -> bool {
        let len = self.entry.packed().map_or(0, |(_, bytes)| bytes.len());
        !self.limits.is_apart(value.len()) && len + value.len() <= PACKED_BYTES_MAX
    }

    /// Removes a range of a packed body.
    fn remove(&mut self, range: Range<usize>, count: usize) {
        if count == 0 {
            let len = self.entry.packed().map_or(0, |(_, bytes)| bytes.len());
            self.entry.splice(0, len, &[]);
        } else {
            self.splice(COUNT_BYTES + range.start..COUNT_BYTES + range.end, None, count);
        }
    }

    /// Puts an element, or nothing, in the place of some bytes of a packed list, which then has `count` elements.
    #[inline]
    fn splice(&mut self, range: Range<usize>, link: Option<&Link<'_>>, count: usize) {
        let count = u16::try_from(count).expect("a short list has few elements").to_le_bytes();
        match (link, self.entry.packed_mut()) {
            (Some(link), Some((_, []))) => {
                let [head, tail, length] = link.pieces();
                self.entry.splice(0, 0, &[&count, head, tail, length]);
                return;
            }
            (_, Some((_, bytes))) => bytes[..COUNT_BYTES].copy_from_slice(&count),
            (_, None) => {}
        }
        let pieces = link.map(Link::pieces);
        self.entry.splice(range.start, range.len(), pieces.as_ref().map_or(&[], |pieces| pieces));
    }

    /// Changes it as a list of its own, which it becomes if it is not.
    #[inline]
    fn big<T>(&mut self, change: impl FnOnce(&mut List, &Limits) -> T) -> T {
        if let Stored::Packed { body, count } = self.as_ref().0 {
            let list = List::of_body(body, count);
            // A packed value owns nothing that would have to be freed.
            drop(self.entry.set_value(NewValue::Big(Big::from(list))));
        }
        let mut list = self.entry.list_mut().expect("it is a big list");
        change(&mut list, &self.limits)
    }

    /// After elements were removed or replaced: gives the list the name and the form of a small one where it is one again.
    #[inline]
    fn settle(&mut self) {
        let Stored::Big(list) = self.as_ref().0 else { return };
        let Some((body, count)) = list.single_body() else { return };
        let is_listpack = match list.encoding() {
            Encoding::Listpack => true,
            Encoding::Quicklist => self.limits.is_small_again(body.len(), count),
        };
        if !is_listpack {
            return;
        }
        // What was frozen would be lost.
        if body.len() <= PACKED_BYTES_MAX / 2 && list.frozen_ticket().is_none() {
            let count = u16::try_from(count).expect("a short list has few elements");
            let bytes = [&count.to_le_bytes(), body].concat();
            // One small chunk: nothing that another thread should free.
            drop(self.entry.set_value(NewValue::Packed(PackedKind::List, &bytes)));
        } else {
            self.big(|list, _| list.set_encoding(Encoding::Listpack));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::{KeyHasher, Keyspace};
    use crate::testing::Rng;

    /// A keyspace with one list, and that list beside a vector.
    struct Pair {
        keys: Keyspace,
        position: u64,
        model: Vec<Vec<u8>>,
    }

    impl Pair {
        fn new() -> Pair {
            let hasher = KeyHasher::new(1);
            let position = hasher.position(b"list");
            Pair { keys: Keyspace::new(hasher), position, model: Vec::new() }
        }

        fn change<T>(&mut self, limits: Limits, change: impl FnOnce(&mut ListMut<'_, '_>) -> T) -> T {
            let new = || (NewValue::Packed(PackedKind::List, &[]), 0);
            let (mut entry, _) = self.keys.get_or_insert(self.position, b"list", new);
            let mut list = ListMut::of(&mut entry, limits).expect("it is a list");
            let result = change(&mut list);
            if list.as_ref().len() == 0 {
                drop(entry.remove());
            }
            result
        }

        fn push(&mut self, limits: Limits, value: &[u8]) {
            self.change(limits, |list| {
                list.expect_more(value.len(), 1);
                list.push(End::Back, Element::Bytes(value));
            });
            self.model.push(value.to_vec());
        }

        fn encoding(&mut self) -> Encoding {
            self.change(Limits::new(-2, 0), |list| list.as_ref().encoding())
        }

        fn compare(&mut self, rng: &mut Rng) {
            let Some(entry) = self.keys.get(self.position, b"list") else {
                assert!(self.model.is_empty());
                return;
            };
            let list = ListRef::of(entry).expect("it is a list");
            let mut all = Vec::new();
            list.visit(0, usize::MAX, End::Back, |element| {
                all.push(element.text().to_vec());
                ControlFlow::Continue(())
            });
            assert_eq!((all.len(), &all), (list.len(), &self.model));
            let pick = rng.below(all.len());
            assert_eq!(list.get(pick, |element| element.text().to_vec()).as_ref(), all.get(pick));
            assert_eq!(list.get(all.len(), |_| ()), None);
            let mut first = None;
            list.search(&all[pick], End::Front, usize::MAX, |index| {
                first = Some(index);
                ControlFlow::Break(())
            });
            assert_eq!(first, all.iter().position(|own| *own == all[pick]));
        }
    }

    #[test]
    fn a_list_that_goes_back_and_forth_between_its_forms_does_what_a_vector_does() {
        let mut rng = Rng::new(9);
        for round in 0..40_usize {
            let limits = Limits::new([-2, -1, 4, 128, 60][round % 5], round % 2);
            let mut pair = Pair::new();
            for step in 0..500 {
                let end = if rng.below(2) == 0 { End::Front } else { End::Back };
                let value = match rng.below(20) {
                    0 => vec![b'v'; rng.below(if round % 3 == 0 { 9000 } else { 200 })],
                    _ => rng.below(300).to_string().into_bytes(),
                };
                let len = pair.model.len();
                let pick = rng.below(len.max(1));
                let picked = pair.model.get(pick).cloned();
                match (rng.below(if step % 200 < 120 { 8 } else { 14 }), picked) {
                    (0..5, _) | (_, None) => {
                        pair.change(limits, |list| {
                            list.expect_more(value.len(), 1);
                            list.push(end, Element::Bytes(&value));
                        });
                        pair.model.insert(if end == End::Front { 0 } else { len }, value);
                    }
                    (5, _) => {
                        pair.change(limits, |list| {
                            assert!(list.set(pick, &value));
                            assert!(!list.set(len, &value));
                        });
                        pair.model[pick] = value;
                    }
                    (6 | 7, Some(pivot)) => {
                        pair.change(limits, |list| assert!(list.insert_beside(&pivot, end, &value)));
                        let at = pair.model.iter().position(|own| *own == pivot).expect("it is there");
                        pair.model.insert(if end == End::Front { at } else { at + 1 }, value);
                    }
                    (8 | 9, Some(sought)) => {
                        let removed = pair.change(limits, |list| list.remove_equal(&sought, end, 1));
                        assert_eq!(removed, 1);
                        let equal = |own: &Vec<u8>| *own == sought;
                        let at = match end {
                            End::Front => pair.model.iter().position(equal),
                            End::Back => pair.model.iter().rposition(equal),
                        };
                        pair.model.remove(at.expect("it is there"));
                    }
                    (10 | 11, _) => {
                        let popped = pair.change(limits, |list| list.pop(end, |element| element.text().to_vec()).0);
                        assert_eq!(popped, pair.model[if end == End::Front { 0 } else { len - 1 }]);
                        pair.model.remove(if end == End::Front { 0 } else { len - 1 });
                    }
                    _ => {
                        let count = rng.below(30).min(len);
                        drop(pair.change(limits, |list| list.cut(end, count)));
                        match end {
                            End::Front => drop(pair.model.drain(..count)),
                            End::Back => pair.model.truncate(len - count),
                        }
                    }
                }
                pair.compare(&mut rng);
            }
            let bytes = pair.keys.live_bytes();
            pair.change(limits, |list| drop(list.cut(End::Back, usize::MAX)));
            assert!(pair.keys.live_bytes() < bytes && pair.keys.is_empty());
        }
    }

    #[test]
    fn a_list_is_called_quicklist_from_the_limit_on_until_it_is_half_as_large() {
        let limits = Limits::new(-1, 0);
        let mut pair = Pair::new();
        // A listpack of 4096 bytes has 4089 bytes of elements: 12 of 311 each take 14 more.
        for _ in 0..12 {
            pair.push(limits, &[b'x'; 307]);
            assert_eq!(pair.encoding(), Encoding::Listpack);
        }
        pair.push(limits, &[b'x'; 357]);
        assert_eq!(pair.encoding(), Encoding::Listpack);
        pair.push(limits, b"y");
        assert_eq!(pair.encoding(), Encoding::Quicklist);
        for left in (7..=13).rev() {
            drop(pair.change(limits, |list| list.pop(End::Back, |_| ())));
            assert_eq!(pair.encoding(), Encoding::Quicklist, "{left}");
        }
        drop(pair.change(limits, |list| list.pop(End::Back, |_| ())));
        assert_eq!(pair.encoding(), Encoding::Listpack);
    }

    #[test]
    fn a_list_is_called_quicklist_although_what_was_expected_did_not_come() {
        let limits = Limits::new(3, 0);
        let mut pair = Pair::new();
        for value in [b"a", b"b", b"c"] {
            pair.push(limits, value);
        }
        assert_eq!(pair.encoding(), Encoding::Listpack);
        assert!(!pair.change(limits, |list| {
            list.expect_more(1, 1);
            list.insert_beside(b"none", End::Front, b"d")
        }));
        assert_eq!(pair.encoding(), Encoding::Quicklist);
    }
}
