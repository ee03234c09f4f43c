//! Members in order, with their ranks: what a sorted set has beside its table of members, and a hash for the deadlines of
//! its fields.
//!
//! ```text
//!            +-------------------------------------+
//!   node     | lowest member | count | child | ... |           up to 63 children
//!            +--------------------------|----------+
//!                   +-------------------+---+
//!                   v                       v
//!   leaf     [ digest|pointer ] ...   [ digest|pointer ] ...   up to 128 members
//!                        |
//!                        v
//!   member   flags | score or deadline | length | name         in the table's block, not here
//! ```
//!
//! An order-statistics B+ tree that owns nothing but pointers: about 9 bytes a member. Members are ordered by a 64-bit
//! number that is made from their score or deadline, and among equal ones by name ([`Ranked`] says how both are read). Rank,
//! selection by rank, and bounds cost a walk down of three levels per million; there is no other structure beside it.
//! What makes it fast is that looking into a member, a cache miss, is avoided: see `leaf.rs`.
//!
//! Leaves grow in steps of an eighth to a quarter, so that they are nearly full whatever the order of insertions; at
//! both ends of the tree a split leaves the old leaf full.
//!
//! What must stay true: every member in a tree is alive and does not change in key or name. That is the promise of whoever
//! puts one in ([`RankTree::insert`] and the other unsafe functions), until it is taken out again.

mod leaf;
mod node;
mod order;
#[cfg(test)]
mod tests;

use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;

use crate::prefetch;
use leaf::{LEAF_MAX, Leaf};
use node::{CHILDREN_MAX, Children, Edge, Node};
pub use order::{ByDeadline, ByScore, Ranked, deadline_order_key, score_order_key};
use order::{Probe, address_of, member_at};

/// Members that a leaf gets when a tree is built from members in order: some room is left.
const LEAF_BUILT: usize = LEAF_MAX / 8 * 7;
/// Children that a node gets then.
const CHILDREN_BUILT: usize = CHILDREN_MAX / 8 * 7;
/// How far ahead of a walk members are asked from memory.
const AHEAD: usize = 6;

/// Pointers to members, in order.
pub struct RankTree<R> {
    root: Node,
    len: u64,
    bytes: usize,
    order: PhantomData<fn() -> R>,
}

impl<R: Ranked> RankTree<R> {
    /// Without members; allocates nothing.
    pub fn new() -> RankTree<R> {
        RankTree { root: Node::new(), len: 0, bytes: 0, order: PhantomData }
    }

    /// A tree of members that come in order, without equal ones. Costs less than to insert them.
    ///
    /// # Safety
    /// As for [`RankTree::insert`], for each.
    pub unsafe fn from_sorted(members: impl IntoIterator<Item = NonNull<u8>>) -> RankTree<R> {
        let mut addresses = Vec::with_capacity(LEAF_BUILT);
        let mut leaves: Vec<Leaf> = Vec::new();
        let mut nodes: Vec<Node> = Vec::new();
        let mut len = 0;
        let mut finish_leaf = |addresses: &mut Vec<u64>, leaves: &mut Vec<Leaf>| {
            // SAFETY: the caller's promise.
            leaves.push(unsafe { Leaf::from_addresses::<R>(addresses) });
            addresses.clear();
            if leaves.len() == CHILDREN_BUILT {
                nodes.push(Node::above_leaves::<R>(std::mem::take(leaves)));
            }
        };
        for member in members {
            addresses.push(address_of(member));
            len += 1;
            if addresses.len() == LEAF_BUILT {
                finish_leaf(&mut addresses, &mut leaves);
            }
        }
        if !addresses.is_empty() {
            finish_leaf(&mut addresses, &mut leaves);
        }
        if !leaves.is_empty() {
            nodes.push(Node::above_leaves::<R>(leaves));
        }
        while nodes.len() > 1 {
            let mut above = Vec::with_capacity(nodes.len().div_ceil(CHILDREN_BUILT));
            let mut rest = nodes.into_iter().peekable();
            while rest.peek().is_some() {
                above.push(Node::above(rest.by_ref().take(CHILDREN_BUILT).collect()));
            }
            nodes = above;
        }
        let root = nodes.pop().unwrap_or_else(Node::new);
        RankTree { bytes: root.all_bytes(), root, len, order: PhantomData }
    }

    /// Number of members.
    #[inline]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no member.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes on the heap. O(1).
    #[inline]
    pub fn memory_bytes(&self) -> usize {
        self.bytes
    }

    /// Puts a member in. O(log n).
    ///
    /// # Safety
    /// `member` is alive, no member of the tree is equal to it, and until it is taken out it stays alive and keeps its
    /// order key and its name.
    pub unsafe fn insert(&mut self, member: NonNull<u8>) {
        // SAFETY: the caller's promise.
        let probe = unsafe { Probe::of::<R>(member) };
        let edge = Edge { first: true, last: true };
        if let Some(right) = self.root.insert::<R>(&probe, edge, &mut self.bytes) {
            let left = std::mem::replace(&mut self.root, Node::new());
            self.root = Node::above(vec![left, right]);
            self.bytes += self.root.own_bytes();
        }
        self.len += 1;
    }

    /// Takes a member out. `false` if it is not there. O(log n).
    ///
    /// # Safety
    /// `member` is alive.
    pub unsafe fn remove(&mut self, member: NonNull<u8>) -> bool {
        // SAFETY: the caller's promise.
        let probe = unsafe { Probe::of::<R>(member) };
        let removed = self.root.remove::<R>(&probe, &mut self.bytes);
        self.len -= u64::from(removed);
        self.lower_root();
        removed
    }

    /// Puts `new` in the place of `old`, which is only an address and not looked at: the member has been moved. `false` if
    /// `old` is not in the tree. O(log n).
    ///
    /// # Safety
    /// As for [`RankTree::insert`]; `new` has the key and the name that `old` had, and everything else in the tree is alive.
    pub unsafe fn replace(&mut self, old: NonNull<u8>, new: NonNull<u8>) -> bool {
        // SAFETY: the caller's promise.
        let probe = Probe { address: address_of(old), ..unsafe { Probe::of::<R>(new) } };
        self.root.replace::<R>(&probe, address_of(new))
    }

    /// Number of members before this one; `None` if it is not in the tree. O(log n).
    ///
    /// # Safety
    /// `member` is alive.
    pub unsafe fn rank(&self, member: NonNull<u8>) -> Option<u64> {
        // SAFETY: the caller's promise.
        let probe = unsafe { Probe::of::<R>(member) };
        self.root.rank::<R>(&probe).ok()
    }

    /// Number of members before a key and a name, whether a member has them or not. O(log n).
    pub fn rank_of(&self, key: u64, name: &[u8]) -> u64 {
        let (Ok(rank) | Err(rank)) = self.root.rank::<R>(&Probe { key, name, address: 0 });
        rank
    }

    /// The member with so many before it. O(log n).
    pub fn get(&self, rank: u64) -> Option<NonNull<u8>> {
        let (leaf, at) = self.root.leaf_at(rank)?;
        leaf.words().get(at).map(|&word| member_at(word))
    }

    /// The first member.
    pub fn first(&self) -> Option<NonNull<u8>> {
        self.get(0)
    }

    /// The last member.
    pub fn last(&self) -> Option<NonNull<u8>> {
        self.get(self.len.checked_sub(1)?)
    }

    /// Number of members whose order key is below `key`. O(log n), and nearly no member is looked into.
    pub fn count_below(&self, key: u64) -> u64 {
        self.root.below_key::<R>(key, false)
    }

    /// Number of members whose order key is not above `key`. O(log n), and nearly no member is looked into.
    pub fn count_through(&self, key: u64) -> u64 {
        self.root.below_key::<R>(key, true)
    }

    /// Number of members at the beginning for which `fits` holds; it must not hold for any behind the first for which it
    /// does not. O(log n) calls.
    pub fn partition_point(&self, mut fits: impl FnMut(NonNull<u8>) -> bool) -> u64 {
        self.root.partition_point(&mut |word| fits(member_at(word)))
    }

    /// All members from the one with rank `from` on.
    pub fn iter_from(&self, from: u64) -> Forward<'_> {
        Forward { root: &self.root, words: &[], rank: from }
    }

    /// All members from the one with rank `from` back to the first. Nothing if there is no such rank.
    pub fn iter_back_from(&self, from: u64) -> Backward<'_> {
        Backward { root: &self.root, words: &[], left: if from < self.len { from + 1 } else { 0 } }
    }

    /// Takes members from rank `from` on out, at most `max` and no more than lie together in one leaf, and gives them to
    /// `taken` in order; 0 only if there is none. To remove a long range, call it again for the rest: each call costs
    /// O(log n), so that others can be served between. Returns how many it took.
    pub fn take(&mut self, from: u64, max: u64, mut taken: impl FnMut(NonNull<u8>)) -> u64 {
        let mut count = 0;
        if max > 0 {
            self.root.take::<R>(from, max, &mut self.bytes, &mut |address| {
                count += 1;
                taken(member_at(address));
            });
        }
        self.len -= count;
        self.lower_root();
        count
    }

    /// A root with a single node below gives way to that.
    fn lower_root(&mut self) {
        while let Children::Nodes(nodes) = &mut self.root.children {
            match nodes.pop() {
                Some(only) if nodes.is_empty() => {
                    self.bytes -= self.root.own_bytes();
                    self.root = only;
                }
                Some(last) => {
                    nodes.push(last);
                    return;
                }
                None => {
                    self.bytes -= self.root.own_bytes();
                    self.root = Node::new();
                }
            }
        }
    }
}

impl<R: Ranked> Default for RankTree<R> {
    fn default() -> RankTree<R> {
        RankTree::new()
    }
}

impl<R> fmt::Debug for RankTree<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RankTree").field("len", &self.len).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// Members in order.
#[derive(Clone)]
pub struct Forward<'a> {
    root: &'a Node,
    /// What is left of the leaf.
    words: &'a [u64],
    /// Of the first member of the next leaf.
    rank: u64,
}

impl Iterator for Forward<'_> {
    type Item = NonNull<u8>;

    #[inline]
    fn next(&mut self) -> Option<NonNull<u8>> {
        if self.words.is_empty() {
            let (leaf, at) = self.root.leaf_at(self.rank)?;
            self.words = leaf.words().get(at..)?;
            self.rank += self.words.len() as u64;
            for &word in self.words.iter().take(AHEAD) {
                prefetch(member_at(word).as_ptr());
            }
        }
        let (&word, rest) = self.words.split_first()?;
        if let Some(&later) = self.words.get(AHEAD) {
            prefetch(member_at(later).as_ptr());
        }
        self.words = rest;
        Some(member_at(word))
    }
}

/// Members in the opposite order.
#[derive(Clone)]
pub struct Backward<'a> {
    root: &'a Node,
    /// What is left of the leaf.
    words: &'a [u64],
    /// Number of members before the leaf's.
    left: u64,
}

impl Iterator for Backward<'_> {
    type Item = NonNull<u8>;

    #[inline]
    fn next(&mut self) -> Option<NonNull<u8>> {
        if self.words.is_empty() {
            let (leaf, at) = self.root.leaf_at(self.left.checked_sub(1)?)?;
            self.words = leaf.words().get(..=at)?;
            self.left -= self.words.len() as u64;
            for &word in self.words.iter().rev().take(AHEAD) {
                prefetch(member_at(word).as_ptr());
            }
        }
        let (&word, rest) = self.words.split_last()?;
        if let Some(&later) = rest.iter().rev().nth(AHEAD - 1) {
            prefetch(member_at(later).as_ptr());
        }
        self.words = rest;
        Some(member_at(word))
    }
}
