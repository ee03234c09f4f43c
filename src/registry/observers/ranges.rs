//! Ranges of paths, and which of them a path is in.
//!
//! A treap: a search tree by the ranges' beginnings that is balanced by random weights, in which every node also knows the
//! furthest end below it. Who looks for a path leaves out whatever begins behind it and whatever ends before it:
//!
//! ```text
//!             [d, k) ..p               path g: left, since somebody there ends at p;
//!            /          \              itself, since d <= g < k;
//!     [a, p) ..p      [h, z) ..z       right has only what begins with h or later
//! ```
//!
//! Finding costs the logarithm of all, and as much again for each that is found.

use std::cmp::Ordering;
use std::sync::Arc;

/// A range with the number of who wants it.
#[derive(Debug)]
struct Node {
    begin: Box<[u8]>,
    /// Not in it any more.
    end: Arc<[u8]>,
    value: u32,
    weight: u64,
    /// The furthest end at this node or below it.
    furthest: Arc<[u8]>,
    left: Link,
    right: Link,
}

type Link = Option<Box<Node>>;

/// All ranges; each once.
#[derive(Debug)]
pub(super) struct Ranges {
    root: Link,
    state: u64,
}

impl Node {
    fn cmp(&self, begin: &[u8], end: &[u8]) -> Ordering {
        begin.cmp(&self.begin).then_with(|| end.cmp(&self.end))
    }

    fn sum_up(&mut self) {
        let below = [&self.left, &self.right].into_iter().flatten().map(|node| &node.furthest);
        self.furthest = Arc::clone(below.fold(&self.end, Ord::max));
    }
}

impl Ranges {
    /// None yet. The seed is where their weights come from: who does not know it cannot unbalance them.
    pub(super) fn new(seed: u64) -> Ranges {
        Ranges { root: None, state: seed | 1 }
    }

    /// Adds a range, which is not there yet.
    pub(super) fn add(&mut self, begin: &[u8], end: &[u8], value: u32) {
        // xorshift: what is asked of it is only that nobody outside knows it.
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let end: Arc<[u8]> = end.into();
        let furthest = Arc::clone(&end);
        let new = Node { begin: begin.into(), end, value, weight: self.state, furthest, left: None, right: None };
        self.root = Some(insert(self.root.take(), Box::new(new)));
    }

    /// Removes a range.
    pub(super) fn remove(&mut self, begin: &[u8], end: &[u8]) {
        self.root = remove(self.root.take(), begin, end);
    }

    /// The number that belongs to a range.
    pub(super) fn get(&self, begin: &[u8], end: &[u8]) -> Option<u32> {
        let mut at = &self.root;
        while let Some(node) = at {
            at = match node.cmp(begin, end) {
                Ordering::Less => &node.left,
                Ordering::Greater => &node.right,
                Ordering::Equal => return Some(node.value),
            };
        }
        None
    }

    /// Whether there are none.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// Calls `found` with the number of each range that a path is in.
    pub(super) fn containing(&self, path: &[u8], found: &mut impl FnMut(u32)) {
        containing(self.root.as_deref(), path, found);
    }
}

fn insert(tree: Link, new: Box<Node>) -> Box<Node> {
    let Some(mut node) = tree else { return new };
    if new.weight > node.weight {
        let (left, right) = split(Some(node), &new);
        let mut new = new;
        (new.left, new.right) = (left, right);
        new.sum_up();
        return new;
    }
    if node.cmp(&new.begin, &new.end) == Ordering::Less {
        node.left = Some(insert(node.left.take(), new));
    } else {
        node.right = Some(insert(node.right.take(), new));
    }
    node.sum_up();
    node
}

/// What stands before a range, and what behind.
fn split(tree: Link, by: &Node) -> (Link, Link) {
    let Some(mut node) = tree else { return (None, None) };
    if node.cmp(&by.begin, &by.end) == Ordering::Less {
        let (before, behind) = split(node.left.take(), by);
        node.left = behind;
        node.sum_up();
        (before, Some(node))
    } else {
        let (before, behind) = split(node.right.take(), by);
        node.right = before;
        node.sum_up();
        (Some(node), behind)
    }
}

fn merge(before: Link, behind: Link) -> Link {
    match (before, behind) {
        (None, other) | (other, None) => other,
        (Some(mut before), Some(behind)) if before.weight >= behind.weight => {
            before.right = merge(before.right.take(), Some(behind));
            before.sum_up();
            Some(before)
        }
        (before, Some(mut behind)) => {
            behind.left = merge(before, behind.left.take());
            behind.sum_up();
            Some(behind)
        }
    }
}

fn remove(tree: Link, begin: &[u8], end: &[u8]) -> Link {
    let mut node = tree?;
    match node.cmp(begin, end) {
        Ordering::Less => node.left = remove(node.left.take(), begin, end),
        Ordering::Greater => node.right = remove(node.right.take(), begin, end),
        Ordering::Equal => return merge(node.left.take(), node.right.take()),
    }
    node.sum_up();
    Some(node)
}

fn containing(mut tree: Option<&Node>, path: &[u8], found: &mut impl FnMut(u32)) {
    while let Some(node) = tree {
        if *node.furthest <= *path {
            return;
        }
        containing(node.left.as_deref(), path, found);
        if *path < *node.begin {
            return;
        }
        if *path < *node.end {
            found(node.value);
        }
        tree = node.right.as_deref();
    }
}
