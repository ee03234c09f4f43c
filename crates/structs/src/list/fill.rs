//! A list made of elements that come one after the other, from a file, before it is anybody's value. It gets the form that it
//! would have if a command had pushed them.

use super::big::{Encoding, List};
use super::body::{Link, check};
use super::chunk::{Element, End};
use super::face::PACKED_BYTES_MAX;
use super::limits::Limits;
use crate::packed::{COUNT_BYTES, count_bytes};

/// A list in one of its forms.
#[derive(Debug)]
pub enum ListForm {
    /// Packed.
    Packed(Vec<u8>),
    /// A chain of chunks.
    Big(Box<List>),
}

/// A list that is being filled.
#[derive(Debug)]
pub struct ListFill {
    limits: Limits,
    /// While it is small: a count that is not kept right, and the elements.
    packed: Vec<u8>,
    count: usize,
    big: Option<Box<List>>,
}

impl ListFill {
    /// An empty one.
    pub fn new(limits: Limits) -> ListFill {
        ListFill { limits, packed: Vec::new(), count: 0, big: None }
    }

    /// Makes it as it was when it was new.
    pub fn clear(&mut self) {
        self.packed.clear();
        self.count = 0;
        self.big = None;
    }

    /// Adds an element.
    pub fn push(&mut self, element: Element<'_>) {
        let text = element.text();
        if self.big.as_ref().is_none_or(|list| list.encoding() == Encoding::Listpack) {
            let bytes = match &self.big {
                None => self.packed.len().saturating_sub(COUNT_BYTES),
                Some(list) => list.body_bytes(),
            };
            // Of an integer only that it is one more element counts.
            let more = if let Element::Int(_) = element { 0 } else { text.len() };
            if self.limits.is_exceeded(bytes.saturating_add(more), self.count + 1) {
                self.make_big().set_encoding(Encoding::Quicklist);
            }
        }
        self.count += 1;
        let fits = !self.limits.is_apart(text.len()) && self.packed.len() + text.len() <= PACKED_BYTES_MAX;
        if self.big.is_none() && fits {
            if self.packed.is_empty() {
                self.packed.extend_from_slice(&count_bytes(0));
            }
            for piece in Link::new(&text).pieces() {
                self.packed.extend_from_slice(piece);
            }
            return;
        }
        let limits = self.limits;
        self.make_big().push(End::Back, element, &limits);
    }

    fn make_big(&mut self) -> &mut List {
        let ListFill { packed, big, .. } = self;
        big.get_or_insert_with(|| {
            let body = packed.get(COUNT_BYTES..).unwrap_or_default();
            let count = check(body).expect("what was pushed makes sense");
            Box::new(List::of_body(body, count))
        })
    }

    /// The list; what it was filled in is empty again.
    pub fn finish(&mut self) -> ListForm {
        let form = match self.big.take() {
            Some(list) => ListForm::Big(list),
            None => {
                if let Some(count) = self.packed.first_chunk_mut() {
                    *count = count_bytes(self.count);
                }
                ListForm::Packed(self.packed.clone())
            }
        };
        self.clear();
        form
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::{KeyHasher, Keyspace, NewValue};
    use crate::list::{ListMut, ListRef};
    use crate::testing::Rng;
    use crate::value::PackedKind;

    /// The same elements pushed to an entry.
    fn pushed(elements: &[Vec<u8>], limits: Limits) -> (bool, Encoding, Vec<Vec<u8>>) {
        let mut keys = Keyspace::new(KeyHasher::new(1));
        let position = keys.position(b"k");
        let mut entry = keys.insert(position, b"k", NewValue::Packed(PackedKind::List, &[]), None, 0);
        let mut list = ListMut::of(&mut entry, limits).expect("a list");
        for element in elements {
            list.expect_element(Element::Bytes(element));
            list.push(End::Back, Element::Bytes(element));
        }
        told(ListRef::of(entry.as_ref()).expect("a list"))
    }

    fn told(list: ListRef<'_>) -> (bool, Encoding, Vec<Vec<u8>>) {
        let mut elements = Vec::new();
        list.visit(0, list.len(), End::Back, |element| {
            elements.push(element.text().to_vec());
            std::ops::ControlFlow::Continue(())
        });
        (list.as_big().is_some(), list.encoding(), elements)
    }

    #[test]
    fn it_has_the_form_and_the_elements_that_pushing_gives() {
        let mut rng = Rng::new(3);
        for (size, depth) in [(-2, 0), (5, 1), (-1, 0), (128, 0)] {
            let limits = Limits::new(size, depth);
            let mut fill = ListFill::new(limits);
            for _ in 0..60 {
                let elements: Vec<Vec<u8>> = (0..rng.below(300) + 1)
                    .map(|_| match rng.below(40) {
                        0 => vec![b'x'; rng.below(20_000)],
                        1..20 => rng.below(1 << 40).to_string().into_bytes(),
                        _ => vec![b'y'; rng.below(30)],
                    })
                    .collect();
                let expected = pushed(&elements, limits);
                elements.iter().for_each(|element| fill.push(Element::Bytes(element)));
                let mut keys = Keyspace::new(KeyHasher::new(1));
                let position = keys.position(b"k");
                let entry = match fill.finish() {
                    ListForm::Packed(bytes) => {
                        keys.insert(position, b"k", NewValue::Packed(PackedKind::List, &bytes), None, 0)
                    }
                    ListForm::Big(list) => keys.insert(position, b"k", crate::value::Big::List(list), None, 0),
                };
                assert_eq!(told(ListRef::of(entry.as_ref()).expect("a list")), expected);
            }
        }
    }
}
