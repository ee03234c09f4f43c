//! An inner node: for each child its lowest member, how many members it has, and the child.
//!
//! A node also answers for the leaves below it: a [`Leaf`] has no parent and no neighbours to point to, so whatever changes
//! one is done here, on the way back from it.
//!
//! What must stay true, for each child `i`: `keys[i]` and `firsts[i]` are the order key and the address of its lowest member,
//! `counts[i]` is how many members are below it, and that is not zero. All leaves are equally deep.

use super::leaf::{LEAF_JOINED_MAX, LEAF_MAX, LEAF_MIN, Leaf, key_at};
use super::order::{Probe, Ranked};

/// A node that comes to have this many children is split.
pub(super) const CHILDREN_MAX: usize = 64;
/// A node with fewer is joined with a neighbour or filled from it.
const CHILDREN_MIN: usize = CHILDREN_MAX / 4;
/// Two nodes with no more than this together become one.
const CHILDREN_JOINED_MAX: usize = CHILDREN_MAX * 3 / 4;

#[derive(Debug)]
pub(super) enum Children {
    Leaves(Vec<Leaf>),
    Nodes(Vec<Node>),
}

#[derive(Debug)]
pub(super) struct Node {
    keys: Vec<u64>,
    firsts: Vec<u64>,
    counts: Vec<u64>,
    pub(super) children: Children,
}

/// Whether what is below a node lies at the end of the whole tree: there, splitting leaves the one half full, since
/// members that come in order never come back to it.
#[derive(Clone, Copy)]
pub(super) struct Edge {
    pub(super) first: bool,
    pub(super) last: bool,
}

enum Child {
    Leaf(Leaf),
    Node(Node),
}

impl Node {
    /// Without children, which only the root may be.
    pub(super) fn new() -> Node {
        Node { keys: Vec::new(), firsts: Vec::new(), counts: Vec::new(), children: Children::Leaves(Vec::new()) }
    }

    /// Above these, at least one.
    pub(super) fn above(nodes: Vec<Node>) -> Node {
        let mut node = Node {
            keys: nodes.iter().filter_map(|child| child.keys.first().copied()).collect(),
            firsts: nodes.iter().filter_map(|child| child.firsts.first().copied()).collect(),
            counts: nodes.iter().map(Node::count).collect(),
            children: Children::Nodes(nodes),
        };
        node.reserve(0);
        node
    }

    /// Above these, at least one.
    pub(super) fn above_leaves<R: Ranked>(leaves: Vec<Leaf>) -> Node {
        let firsts: Vec<u64> = leaves.iter().map(|leaf| leaf.address(0)).collect();
        let mut node = Node {
            // SAFETY: members in a tree are alive.
            keys: firsts.iter().map(|&first| unsafe { key_at::<R>(first) }).collect(),
            firsts,
            counts: leaves.iter().map(|leaf| leaf.len() as u64).collect(),
            children: Children::Leaves(leaves),
        };
        node.reserve(0);
        node
    }

    pub(super) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Bytes on the heap of this node alone.
    pub(super) fn own_bytes(&self) -> usize {
        let words = self.keys.capacity() + self.firsts.capacity() + self.counts.capacity();
        let children = match &self.children {
            Children::Leaves(leaves) => leaves.capacity() * size_of::<Leaf>(),
            Children::Nodes(nodes) => nodes.capacity() * size_of::<Node>(),
        };
        words * size_of::<u64>() + children
    }

    /// Bytes on the heap, with everything below. Walks all nodes.
    pub(super) fn all_bytes(&self) -> usize {
        let below: usize = match &self.children {
            Children::Leaves(leaves) => leaves.iter().map(Leaf::bytes).sum(),
            Children::Nodes(nodes) => nodes.iter().map(Node::all_bytes).sum(),
        };
        self.own_bytes() + below
    }

    /// The child that has the probe, or where it belongs.
    #[inline]
    fn child_of<R: Ranked>(&self, probe: &Probe<'_>) -> usize {
        let below = self.keys.partition_point(|&key| key < probe.key);
        let rest = &self.keys[below..];
        let equal = match rest.iter().take(2).position(|&key| key > probe.key) {
            Some(equal) => equal,
            None => rest.partition_point(|&key| key <= probe.key),
        };
        let names_fit = self.firsts[below..below + equal]
            // SAFETY: members in a tree are alive, but for one that the probe replaces.
            .partition_point(|&first| unsafe { probe.compare_stored::<R>(first) }.is_le());
        (below + names_fit).saturating_sub(1)
    }

    /// Puts a member in. What is split off behind this node is handed back.
    pub(super) fn insert<R: Ranked>(&mut self, probe: &Probe<'_>, edge: Edge, bytes: &mut usize) -> Option<Node> {
        if self.len() == 0 {
            // SAFETY: the member is alive.
            let leaf = unsafe { Leaf::from_addresses::<R>(&[probe.address]) };
            self.insert_child::<R>(0, Child::Leaf(leaf), bytes);
            return None;
        }
        let at = self.child_of::<R>(probe);
        let child_edge = Edge { first: edge.first && at == 0, last: edge.last && at + 1 == self.len() };
        let split = match &mut self.children {
            Children::Nodes(nodes) => nodes[at].insert::<R>(probe, child_edge, bytes).map(Child::Node),
            Children::Leaves(leaves) => insert_in_leaf::<R>(&mut leaves[at], probe, child_edge, bytes).map(Child::Leaf),
        };
        self.refresh(at, probe, split.is_some());
        if let Some(child) = split {
            self.insert_child::<R>(at + 1, child, bytes);
            if self.len() == CHILDREN_MAX {
                let left = if child_edge.last {
                    CHILDREN_MAX - 1
                } else if child_edge.first {
                    1
                } else {
                    CHILDREN_MAX / 2
                };
                return Some(self.split_off(left, bytes));
            }
        }
        None
    }

    /// Takes a member out. `false` if it is not there.
    pub(super) fn remove<R: Ranked>(&mut self, probe: &Probe<'_>, bytes: &mut usize) -> bool {
        if self.len() == 0 {
            return false;
        }
        let at = self.child_of::<R>(probe);
        let removed = match &mut self.children {
            Children::Nodes(nodes) => nodes[at].remove::<R>(probe, bytes),
            Children::Leaves(leaves) => {
                let leaf = &mut leaves[at];
                leaf.prefetch();
                let found = leaf.find::<R>(probe);
                if let Some(place) = found {
                    let before = leaf.bytes();
                    leaf.remove(place);
                    *bytes = *bytes + leaf.bytes() - before;
                }
                found.is_some()
            }
        };
        if removed {
            self.settle::<R>(at, bytes);
        }
        removed
    }

    /// Takes members from `rank` on out, at most `max` and no more than one leaf has, in order.
    pub(super) fn take<R: Ranked>(&mut self, rank: u64, max: u64, bytes: &mut usize, taken: &mut dyn FnMut(u64)) {
        let Some((at, rank)) = self.child_at_rank(rank) else { return };
        match &mut self.children {
            Children::Nodes(nodes) => nodes[at].take::<R>(rank, max, bytes, taken),
            Children::Leaves(leaves) => {
                let leaf = &mut leaves[at];
                let from = usize::try_from(rank).unwrap_or(usize::MAX).min(leaf.len());
                let len = usize::try_from(max).unwrap_or(usize::MAX).min(leaf.len() - from);
                let before = leaf.bytes();
                leaf.take(from, from + len, taken);
                *bytes = *bytes + leaf.bytes() - before;
            }
        }
        self.settle::<R>(at, bytes);
    }

    /// Puts a member in the place of the one whose address the probe has. `false` if that is not there.
    pub(super) fn replace<R: Ranked>(&mut self, probe: &Probe<'_>, address: u64) -> bool {
        if self.len() == 0 {
            return false;
        }
        let at = self.child_of::<R>(probe);
        let replaced = match &mut self.children {
            Children::Nodes(nodes) => nodes[at].replace::<R>(probe, address),
            Children::Leaves(leaves) => {
                leaves[at].prefetch();
                let found = leaves[at].find::<R>(probe);
                if let Some(place) = found {
                    leaves[at].replace(place, address);
                }
                found.is_some()
            }
        };
        if replaced && self.firsts[at] == probe.address {
            self.firsts[at] = address;
        }
        replaced
    }

    /// Rank of the probe's own member, or of where the probe belongs.
    pub(super) fn rank<R: Ranked>(&self, probe: &Probe<'_>) -> Result<u64, u64> {
        if self.len() == 0 {
            return Err(0);
        }
        let at = self.child_of::<R>(probe);
        let before: u64 = self.counts[..at].iter().sum();
        let found = match &self.children {
            Children::Nodes(nodes) => nodes[at].rank::<R>(probe),
            Children::Leaves(leaves) if probe.address == 0 => {
                leaves[at].position::<R>(probe).map(|place| place as u64).map_err(|place| place as u64)
            }
            Children::Leaves(leaves) => {
                leaves[at].prefetch();
                leaves[at].find::<R>(probe).map(|place| place as u64).ok_or(0)
            }
        };
        found.map(|rank| before + rank).map_err(|rank| before + rank)
    }

    /// Number of members whose key is below `key`, or also those at it.
    pub(super) fn below_key<R: Ranked>(&self, key: u64, and_equal: bool) -> u64 {
        let fit = self.keys.partition_point(|&stored| stored < key || and_equal && stored == key);
        let Some(at) = fit.checked_sub(1) else { return 0 };
        let before: u64 = self.counts[..at].iter().sum();
        before
            + match &self.children {
                Children::Nodes(nodes) => nodes[at].below_key::<R>(key, and_equal),
                Children::Leaves(leaves) => {
                    leaves[at].prefetch();
                    leaves[at].below_key::<R>(key, and_equal) as u64
                }
            }
    }

    /// Number of members for which `fits` holds, which it does for all up to some place and for none behind it.
    pub(super) fn partition_point(&self, fits: &mut dyn FnMut(u64) -> bool) -> u64 {
        let fit = self.firsts.partition_point(|&first| fits(first));
        let Some(at) = fit.checked_sub(1) else { return 0 };
        let before: u64 = self.counts[..at].iter().sum();
        before
            + match &self.children {
                Children::Nodes(nodes) => nodes[at].partition_point(fits),
                Children::Leaves(leaves) => leaves[at].words().partition_point(|&word| fits(word)) as u64,
            }
    }

    /// The leaf with the member of this rank, and the member's place in it.
    pub(super) fn leaf_at(&self, rank: u64) -> Option<(&Leaf, usize)> {
        let (at, rank) = self.child_at_rank(rank)?;
        match &self.children {
            Children::Nodes(nodes) => nodes.get(at)?.leaf_at(rank),
            Children::Leaves(leaves) => Some((leaves.get(at)?, usize::try_from(rank).ok()?)),
        }
    }

    fn child_at_rank(&self, rank: u64) -> Option<(usize, u64)> {
        let mut left = rank;
        for (at, &count) in self.counts.iter().enumerate() {
            if left < count {
                return Some((at, left));
            }
            left -= count;
        }
        None
    }

    /// Brings what is known of child `at` up to date after the probe went into it or, if it was split, behind it.
    #[inline]
    fn refresh(&mut self, at: usize, probe: &Probe<'_>, split: bool) {
        let (first, count) = match &self.children {
            Children::Nodes(nodes) => {
                (nodes[at].firsts[0], if split { nodes[at].count() } else { self.counts[at] + 1 })
            }
            Children::Leaves(leaves) => (leaves[at].address(0), leaves[at].len() as u64),
        };
        self.counts[at] = count;
        if first != self.firsts[at] {
            debug_assert_eq!(first, probe.address);
            self.firsts[at] = first;
            self.keys[at] = probe.key;
        }
    }

    /// Brings what is known of child `at` up to date after members were taken out of it, and sees to it that it is not
    /// too small.
    fn settle<R: Ranked>(&mut self, at: usize, bytes: &mut usize) {
        let len = match &self.children {
            Children::Nodes(nodes) => nodes[at].len(),
            Children::Leaves(leaves) => leaves[at].len(),
        };
        if len == 0 {
            *bytes -= self.remove_child(at, bytes);
            return;
        }
        self.describe::<R>(at);
        let (too_few, joined_max) = match &self.children {
            Children::Nodes(_) => (len < CHILDREN_MIN, CHILDREN_JOINED_MAX),
            Children::Leaves(_) => (len < LEAF_MIN, LEAF_JOINED_MAX),
        };
        if !too_few || self.len() < 2 {
            return;
        }
        let left = if at + 1 < self.len() { at } else { at - 1 };
        let before = self.pair_bytes(left);
        match &mut self.children {
            Children::Nodes(nodes) => {
                if let [a, b] = &mut nodes[left..left + 2] {
                    let both = a.len() + b.len();
                    a.balance(b, if both <= joined_max { both } else { both / 2 });
                }
            }
            Children::Leaves(leaves) => {
                if let [a, b] = &mut leaves[left..left + 2] {
                    let both = a.len() + b.len();
                    a.balance::<R>(b, if both <= joined_max { both } else { both / 2 });
                }
            }
        }
        *bytes = *bytes + self.pair_bytes(left) - before;
        let right_is_empty = match &self.children {
            Children::Nodes(nodes) => nodes[left + 1].len() == 0,
            Children::Leaves(leaves) => leaves[left + 1].len() == 0,
        };
        self.describe::<R>(left);
        if right_is_empty {
            *bytes -= self.remove_child(left + 1, bytes);
        } else {
            self.describe::<R>(left + 1);
        }
    }

    /// Bytes of children `left` and the next one, but not of what is below nodes.
    fn pair_bytes(&self, left: usize) -> usize {
        match &self.children {
            Children::Nodes(nodes) => nodes[left..left + 2].iter().map(Node::own_bytes).sum(),
            Children::Leaves(leaves) => leaves[left..left + 2].iter().map(Leaf::bytes).sum(),
        }
    }

    /// Works out anew what is known of child `at`.
    fn describe<R: Ranked>(&mut self, at: usize) {
        match &self.children {
            Children::Nodes(nodes) => {
                let child = &nodes[at];
                self.counts[at] = child.count();
                self.firsts[at] = child.firsts[0];
                self.keys[at] = child.keys[0];
            }
            Children::Leaves(leaves) => {
                let leaf = &leaves[at];
                self.counts[at] = leaf.len() as u64;
                let first = leaf.address(0);
                if first != self.firsts[at] {
                    self.firsts[at] = first;
                    // SAFETY: members in a tree are alive.
                    self.keys[at] = unsafe { key_at::<R>(first) };
                }
            }
        }
    }

    fn insert_child<R: Ranked>(&mut self, at: usize, child: Child, bytes: &mut usize) {
        let before = self.own_bytes();
        self.reserve(1);
        match (&mut self.children, child) {
            (Children::Leaves(leaves), Child::Leaf(leaf)) => {
                let first = leaf.address(0);
                self.firsts.insert(at, first);
                // SAFETY: members in a tree are alive.
                self.keys.insert(at, unsafe { key_at::<R>(first) });
                self.counts.insert(at, leaf.len() as u64);
                *bytes += leaf.bytes();
                leaves.insert(at, leaf);
            }
            (Children::Nodes(nodes), Child::Node(node)) => {
                self.firsts.insert(at, node.firsts[0]);
                self.keys.insert(at, node.keys[0]);
                self.counts.insert(at, node.count());
                // A node that was split off is in the account already.
                nodes.insert(at, node);
            }
            _ => unreachable!("leaves are all equally deep"),
        }
        *bytes = *bytes + self.own_bytes() - before;
    }

    /// Drops child `at`, which has nothing. Returns the bytes that went with it.
    fn remove_child(&mut self, at: usize, bytes: &mut usize) -> usize {
        let before = self.own_bytes();
        self.keys.remove(at);
        self.firsts.remove(at);
        self.counts.remove(at);
        let gone = match &mut self.children {
            Children::Nodes(nodes) => nodes.remove(at).own_bytes(),
            Children::Leaves(leaves) => leaves.remove(at).bytes(),
        };
        let wanted = child_capacity(self.len() + self.len() / 4);
        if wanted < self.keys.capacity() {
            self.keys.shrink_to(wanted);
            self.firsts.shrink_to(wanted);
            self.counts.shrink_to(wanted);
            match &mut self.children {
                Children::Nodes(nodes) => nodes.shrink_to(wanted),
                Children::Leaves(leaves) => leaves.shrink_to(wanted),
            }
        }
        *bytes = *bytes + self.own_bytes() - before;
        gone
    }

    /// Makes room for `more` children.
    fn reserve(&mut self, more: usize) {
        let wanted = child_capacity(self.len() + more);
        if self.len() + more <= self.keys.capacity() && more > 0 {
            return;
        }
        let missing = wanted - self.len();
        self.keys.reserve_exact(missing);
        self.firsts.reserve_exact(missing);
        self.counts.reserve_exact(missing);
        match &mut self.children {
            Children::Nodes(nodes) => nodes.reserve_exact(missing),
            Children::Leaves(leaves) => leaves.reserve_exact(missing),
        }
    }

    /// Cuts the children from `at` on off into a node of their own.
    fn split_off(&mut self, at: usize, bytes: &mut usize) -> Node {
        let before = self.own_bytes();
        let mut right = Node {
            keys: self.keys.split_off(at),
            firsts: self.firsts.split_off(at),
            counts: self.counts.split_off(at),
            children: match &mut self.children {
                Children::Nodes(nodes) => Children::Nodes(nodes.split_off(at)),
                Children::Leaves(leaves) => Children::Leaves(leaves.split_off(at)),
            },
        };
        self.fit();
        right.fit();
        *bytes = *bytes + self.own_bytes() + right.own_bytes() - before;
        right
    }

    /// Moves children between this node and the one behind it, so that `left_len` are here; perhaps all.
    fn balance(&mut self, right: &mut Node, left_len: usize) {
        move_between(&mut self.keys, &mut right.keys, left_len);
        move_between(&mut self.firsts, &mut right.firsts, left_len);
        move_between(&mut self.counts, &mut right.counts, left_len);
        match (&mut self.children, &mut right.children) {
            (Children::Nodes(a), Children::Nodes(b)) => move_between(a, b, left_len),
            (Children::Leaves(a), Children::Leaves(b)) => move_between(a, b, left_len),
            _ => unreachable!("leaves are all equally deep"),
        }
        self.fit();
        right.fit();
    }

    /// Gives all parts the capacity that the number of children calls for.
    fn fit(&mut self) {
        let wanted = child_capacity(self.len() + 1);
        fit(&mut self.keys, wanted);
        fit(&mut self.firsts, wanted);
        fit(&mut self.counts, wanted);
        match &mut self.children {
            Children::Nodes(nodes) => fit(nodes, wanted),
            Children::Leaves(leaves) => fit(leaves, wanted),
        }
    }

    /// Checks what must stay true; returns the height.
    #[cfg(test)]
    pub(super) fn check<R: Ranked>(&self, is_root: bool) -> usize {
        assert!(self.len() < CHILDREN_MAX && (is_root || self.len() > 0));
        assert!(self.len() == self.firsts.len() && self.len() == self.counts.len());
        let mut heights = Vec::new();
        for at in 0..self.len() {
            let (first, count) = match &self.children {
                Children::Nodes(nodes) => {
                    heights.push(nodes[at].check::<R>(false));
                    (nodes[at].firsts[0], nodes[at].count())
                }
                Children::Leaves(leaves) => {
                    leaves[at].check::<R>();
                    heights.push(0);
                    (leaves[at].address(0), leaves[at].len() as u64)
                }
            };
            assert_eq!(self.firsts[at], first);
            assert_eq!(self.counts[at], count);
            // SAFETY: members in a tree are alive.
            assert_eq!(self.keys[at], unsafe { key_at::<R>(first) });
        }
        heights.dedup();
        assert!(heights.len() <= 1);
        heights.first().map_or(0, |height| height + 1)
    }
}

/// Puts the probe into a leaf; a full one is split and its second half handed back.
fn insert_in_leaf<R: Ranked>(leaf: &mut Leaf, probe: &Probe<'_>, edge: Edge, bytes: &mut usize) -> Option<Leaf> {
    leaf.prefetch();
    let at = leaf.position::<R>(probe).unwrap_or_else(|at| at);
    let before = leaf.bytes();
    let split = if leaf.len() < LEAF_MAX {
        leaf.insert::<R>(at, probe);
        None
    } else if edge.last && at == LEAF_MAX {
        // SAFETY: the member is alive.
        Some(unsafe { Leaf::from_addresses::<R>(&[probe.address]) })
    } else if edge.first && at == 0 {
        // SAFETY: the member is alive.
        let first = unsafe { Leaf::from_addresses::<R>(&[probe.address]) };
        Some(std::mem::replace(leaf, first))
    } else {
        let mut right = leaf.split_off::<R>(LEAF_MAX / 2);
        if at <= LEAF_MAX / 2 {
            leaf.insert::<R>(at, probe);
        } else {
            right.insert::<R>(at - LEAF_MAX / 2, probe);
        }
        Some(right)
    };
    // The other half joins the account with its parent.
    *bytes = *bytes + leaf.bytes() - before;
    split
}

/// Room for so many children: sizes that allocators have.
fn child_capacity(len: usize) -> usize {
    let step = (len.next_power_of_two() / 4).max(4);
    len.max(1).next_multiple_of(step)
}

fn fit<T>(part: &mut Vec<T>, wanted: usize) {
    if part.capacity() > wanted {
        part.shrink_to(wanted);
    } else {
        part.reserve_exact(wanted - part.len());
    }
}

fn move_between<T>(left: &mut Vec<T>, right: &mut Vec<T>, left_len: usize) {
    if left_len >= left.len() {
        let moved = left_len - left.len();
        left.extend(right.drain(..moved));
    } else {
        right.splice(0..0, left.drain(left_len..));
    }
}
