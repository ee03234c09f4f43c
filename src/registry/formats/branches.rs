//! Paths in the order in which a format with maps in maps writes them, and the map that is at each place.
//!
//! ```text
//!  /a    1      in order of bytes             a: { "": 1, b: 2 }      in order of parts: what is below a path follows it
//!  /a-b  3      a-b is between /a and /a/b    a-b: 3
//!  /a/b  2
//! ```

use super::flat::{DEPTH_MAX, FormatError};
use std::cmp::Ordering;

/// A relative path and its value.
pub(super) type Leaf<'e> = (&'e str, &'e str);

/// Everything at a path and below it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Branch<'b, 'e> {
    /// All that begin with the path, in order of parts. Never empty but for the root.
    leaves: &'b [Leaf<'e>],
    /// Bytes of the path.
    len: usize,
}

/// What a branch is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape<'e> {
    /// A value and nothing below it.
    Value(&'e str),
    /// Its parts are the numbers from 0 on, and it has no value of its own.
    List,
    /// Everything else.
    Map,
}

impl<'b, 'e> Branch<'b, 'e> {
    /// Checks entries and puts them in order.
    pub(super) fn leaves(
        entries: impl IntoIterator<Item = (&'e [u8], &'e [u8])>,
    ) -> Result<Vec<Leaf<'e>>, FormatError> {
        let mut leaves = Vec::new();
        for (path, value) in entries {
            let Ok(path) = std::str::from_utf8(path) else {
                return Err(FormatError::Text(format!("path '{}' is not UTF-8", path.escape_ascii())));
            };
            let Ok(value) = std::str::from_utf8(value) else {
                return Err(FormatError::Text(format!("the value of path '{}' is not UTF-8", path.escape_debug())));
            };
            if path.bytes().filter(|byte| *byte == b'/').count() > DEPTH_MAX {
                let path = path.escape_debug();
                return Err(FormatError::Limit(format!("path '{path}' has more than {DEPTH_MAX} parts")));
            }
            leaves.push((path, value));
        }
        leaves.sort_unstable_by(|a, b| by_parts(a.0, b.0));
        Ok(leaves)
    }

    /// All of them.
    pub(super) fn root(leaves: &'b [Leaf<'e>]) -> Branch<'b, 'e> {
        Branch { leaves, len: 0 }
    }

    /// Whether there is nothing at all.
    pub(super) fn is_empty(self) -> bool {
        self.leaves.is_empty()
    }

    /// The entries themselves.
    pub(super) fn entries(self) -> &'b [Leaf<'e>] {
        self.leaves
    }

    /// The value at the path itself.
    pub(super) fn own(self) -> Option<&'e str> {
        self.leaves.first().filter(|(path, _)| path.len() == self.len).map(|(_, value)| *value)
    }

    /// What it is. The root is a map whatever is in it.
    pub(super) fn shape(self) -> Shape<'e> {
        match self.own() {
            Some(value) if self.leaves.len() == 1 && self.len > 0 => Shape::Value(value),
            Some(_) => Shape::Map,
            None if self.len == 0 => Shape::Map,
            None => {
                let count = self.children().count();
                let is_index = |part: &str| {
                    let plain = part == "0" || !part.starts_with('0') && part.bytes().all(|byte| byte.is_ascii_digit());
                    plain && part.parse::<usize>().is_ok_and(|index| index < count)
                };
                if self.children().all(|(part, _)| is_index(part)) { Shape::List } else { Shape::Map }
            }
        }
    }

    /// The next parts, each with everything below it. A map's own value is not among them.
    pub(super) fn children(self) -> Children<'b, 'e> {
        let from = usize::from(self.own().is_some());
        Children { leaves: self.leaves.get(from..).unwrap_or_default(), len: self.len }
    }

    /// A map's own value, at the empty key, and the next parts.
    pub(super) fn items(self) -> impl Iterator<Item = (&'e str, Item<'b, 'e>)> {
        let own = self.own().map(|value| ("", Item::Value(value)));
        own.into_iter().chain(self.children().map(|(part, child)| (part, child.item())))
    }

    /// The elements of a list.
    pub(super) fn elements(self) -> impl Iterator<Item = Item<'b, 'e>> {
        let mut elements: Vec<_> = self.children().collect();
        elements.sort_unstable_by_key(|(part, _)| part.parse::<usize>().unwrap_or(usize::MAX));
        elements.into_iter().map(|(_, child)| child.item())
    }

    fn item(self) -> Item<'b, 'e> {
        match self.shape() {
            Shape::Value(value) => Item::Value(value),
            Shape::List => Item::List(self),
            Shape::Map => Item::Map(self),
        }
    }
}

/// What is at a key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Item<'b, 'e> {
    /// A value.
    Value(&'e str),
    /// A list, which is not empty.
    List(Branch<'b, 'e>),
    /// A map, which is not empty.
    Map(Branch<'b, 'e>),
}

/// See [`Branch::children`].
#[derive(Debug)]
pub(super) struct Children<'b, 'e> {
    leaves: &'b [Leaf<'e>],
    len: usize,
}

impl<'b, 'e> Iterator for Children<'b, 'e> {
    type Item = (&'e str, Branch<'b, 'e>);

    fn next(&mut self) -> Option<Self::Item> {
        let (first, _) = self.leaves.first()?;
        let begin = self.len + 1;
        let rest = first.get(begin..).unwrap_or_default();
        let part = rest.split('/').next().unwrap_or_default();
        let end = begin + part.len();
        let path = first.get(..end).unwrap_or(first);
        let count = self.leaves.partition_point(|(leaf, _)| {
            leaf.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        let (leaves, rest) = self.leaves.split_at(count.max(1));
        self.leaves = rest;
        Some((part, Branch { leaves, len: end }))
    }
}

/// A slash comes before every other character, so that nothing is between a path and what is below it.
fn by_parts(a: &str, b: &str) -> Ordering {
    a.split('/').cmp(b.split('/'))
}
