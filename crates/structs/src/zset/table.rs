//! A sorted set that is not small: a table of members with their scores, and a tree that has them in order.
//!
//! What must stay true: the tree points to exactly the members of the table, where they are now, under the scores that they
//! have now. A member is taken out of the tree before its score changes or it is removed.

use std::ops::Range;

use super::packed;
use super::{LexRange, ScoreRange};
use crate::frozen::{FrozenHead, FrozenPart, Kept};
use crate::keyspace::KeyHasher;
use crate::members::{MemberPtr, MemberRef, Members};
use crate::packed::Packed;
use crate::prefetch;
use crate::rank_tree::{ByScore, RankTree, score_order_key};

/// A big sorted set.
pub struct Zset {
    members: Members,
    order: RankTree<ByScore>,
}

// SAFETY: the members' blocks belong to this set alone, and the tree points to nothing else; neither depends on a thread.
unsafe impl Send for Zset {}

impl Zset {
    /// A set without members.
    pub fn new(hasher: KeyHasher) -> Zset {
        Zset { members: Members::new(hasher), order: RankTree::new() }
    }

    /// A set with the members of a packed one.
    pub fn from_packed(set: Packed<'_>, hasher: KeyHasher) -> Zset {
        let mut zset = Zset::new(hasher);
        for (member, score) in packed::pairs(set) {
            let member = member.element.text();
            // Bytes from elsewhere may have a member twice.
            zset.set(&member, score);
        }
        zset
    }

    /// A set of members that come in order, without equal ones. Costs less than to add them.
    pub fn from_sorted<'a>(members: impl Iterator<Item = (&'a [u8], f64)>, hasher: KeyHasher) -> Zset {
        let mut table = Members::new(hasher);
        let places = members.map(|(member, score)| {
            let position = table.position(member);
            table.insert(position, member, None, Some(score.to_bits())).address()
        });
        // SAFETY: the members were just put into the table, where they stay until the tree forgets them.
        let order = unsafe { RankTree::from_sorted(places) };
        Zset { members: table, order }
    }

    /// A set of a table and the tree of its members.
    pub(super) fn of_parts(members: Members, order: RankTree<ByScore>) -> Zset {
        Zset { members, order }
    }

    /// Number of members.
    #[inline]
    pub fn len(&self) -> u64 {
        self.order.len()
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Number of pieces. O(1).
    pub fn items(&self) -> usize {
        self.members.len()
    }

    /// All bytes that it owns, without its own structure. O(1).
    pub fn memory_bytes(&self) -> usize {
        self.members.memory_bytes() + self.order.memory_bytes()
    }

    /// The part of them that is mapped from the system and so unknown to the global allocator. O(1).
    pub fn mapped_bytes(&self) -> usize {
        self.members.mapped_bytes()
    }

    /// A member's score.
    #[inline]
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        self.members.get(self.members.position(member), member).map(score_of)
    }

    /// A member's rank and score. O(log n).
    pub fn rank(&self, member: &[u8]) -> Option<(u64, f64)> {
        let found = self.members.get(self.members.position(member), member)?;
        // SAFETY: the member is in the table.
        let rank = unsafe { self.order.rank(found.ptr().address()) }?;
        Some((rank, score_of(found)))
    }

    /// Ranks of the members with scores in a range. O(log n).
    pub fn score_ranks(&self, range: &ScoreRange) -> Range<u64> {
        let below = |score: f64, and_equal: bool| {
            let key = score_order_key(score);
            if and_equal { self.order.count_through(key) } else { self.order.count_below(key) }
        };
        let start = below(range.min, range.min_exclusive);
        start..below(range.max, !range.max_exclusive).max(start)
    }

    /// Ranks of the members with names in a range, as far as all scores are equal. O(log n).
    pub fn lex_ranks(&self, range: &LexRange<'_>) -> Range<u64> {
        // SAFETY: what the tree points to is in the table.
        let name = |place| unsafe { MemberPtr::from_address(place).member() }.key();
        let start = self.order.partition_point(|place| range.is_before(name(place)));
        start..self.order.partition_point(|place| range.is_not_behind(name(place))).max(start)
    }

    /// Members from a rank on, in order.
    pub fn iter_from(&self, rank: u64) -> impl Iterator<Item = (&[u8], f64)> {
        self.order.iter_from(rank).map(|place| {
            // SAFETY: what the tree points to is in the table, which stays while it is borrowed.
            let member = unsafe { MemberPtr::from_address(place).member() };
            (member.key(), score_of(member))
        })
    }

    /// Members from a rank back to the first.
    pub fn iter_back_from(&self, rank: u64) -> impl Iterator<Item = (&[u8], f64)> {
        self.order.iter_back_from(rank).map(|place| {
            // SAFETY: what the tree points to is in the table, which stays while it is borrowed.
            let member = unsafe { MemberPtr::from_address(place).member() };
            (member.key(), score_of(member))
        })
    }

    /// Walks on from a cursor (0 is the start), giving the members of one bucket to `visit`; returns the next cursor, 0 at
    /// the end. Members that are there from the first to the last call are given at least once.
    pub fn scan(&self, cursor: u64, visit: &mut dyn FnMut(&[u8], f64)) -> u64 {
        self.members.scan(cursor, &mut |member| visit(member.key(), score_of(member)))
    }

    /// Hints that a member will be looked up.
    #[inline]
    pub fn prefetch_bucket(&self, member: &[u8]) {
        self.members.prefetch_bucket(self.members.position(member));
    }

    /// Adds a member that is not there.
    pub fn insert(&mut self, member: &[u8], score: f64) {
        self.insert_at(self.members.position(member), member, score);
    }

    /// Gives a member a score, whether it is there or not.
    pub fn set(&mut self, member: &[u8], score: f64) {
        self.update(member, |_| Some(score));
    }

    /// Looks a member up and gives it the score that `decide` says to its old one, which is `None` for a new member; no
    /// score leaves all as it is. One search.
    #[inline]
    pub fn update(&mut self, member: &[u8], decide: impl FnOnce(Option<f64>) -> Option<f64>) {
        let position = self.members.position(member);
        let Some(mut found) = self.members.get_mut(position, member) else {
            if let Some(score) = decide(None) {
                self.insert_at(position, member, score);
            }
            return;
        };
        let old = score_of(found.as_ref());
        let Some(score) = decide(Some(old)) else { return };
        let place = found.as_ref().ptr().address();
        // SAFETY: the member is in the table and has the score under which it is in the tree.
        let removed = unsafe { self.order.remove(place) };
        debug_assert!(removed);
        found.set_extra(score.to_bits());
        // SAFETY: it stays in the table, with this score, until it is taken out of the tree.
        unsafe { self.order.insert(place) };
    }

    fn insert_at(&mut self, position: u64, member: &[u8], score: f64) {
        let place = self.members.insert(position, member, None, Some(score.to_bits()));
        // SAFETY: the member was just put into the table, where it stays until it is taken out of the tree.
        unsafe { self.order.insert(place.address()) };
    }

    /// Removes a member. Says whether it was there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        let Some(found) = self.members.get_mut(self.members.position(member), member) else { return false };
        // SAFETY: the member is in the table.
        let removed = unsafe { self.order.remove(found.as_ref().ptr().address()) };
        debug_assert!(removed);
        found.remove();
        true
    }

    /// Removes the members of some ranks, each after it was given to `visit`, in order.
    pub fn remove_ranks(&mut self, ranks: Range<u64>, mut visit: impl FnMut(&[u8], f64)) {
        let mut left = ranks.end.min(self.len()).saturating_sub(ranks.start);
        let mut places = Vec::new();
        let mut positions = Vec::new();
        while left > 0 {
            places.clear();
            left -= self.order.take(ranks.start, left, |place| places.push(place));
            if places.is_empty() {
                return;
            }
            places.iter().for_each(|place| prefetch(place.as_ptr()));
            positions.clear();
            positions.extend(places.iter().map(|&place| {
                // SAFETY: what the tree pointed to is in the table.
                let member = unsafe { MemberPtr::from_address(place).member() };
                let position = self.members.position(member.key());
                self.members.prefetch_bucket(position);
                position
            }));
            for (&place, &position) in places.iter().zip(&positions) {
                // SAFETY: the member is in the table until it is removed below.
                let member = unsafe { MemberPtr::from_address(place).member() };
                visit(member.key(), score_of(member));
                if let Some(found) = self.members.get_mut(position, member.key()) {
                    found.remove();
                }
            }
        }
    }

    /// Freezes it: what it is now is given out in parts by [`Zset::give_frozen`], whatever becomes of it meanwhile. O(1).
    /// `ticket` tells whose frozen state it is. It must not be frozen yet.
    pub fn freeze(&mut self, ticket: u64) {
        self.members.freeze(ticket, None, true);
    }

    /// The ticket with which it was frozen, if it is.
    #[inline]
    pub fn frozen_ticket(&self) -> Option<u64> {
        self.members.frozen().map(|frozen| frozen.ticket)
    }

    /// What it was when it was frozen, if it is.
    pub fn frozen_head(&self) -> Option<FrozenHead> {
        let frozen = self.members.frozen()?;
        Some(FrozenHead::Zset { len: frozen.len })
    }

    /// Gives the next parts of what it was to `visit`, about `budget` members, fewer where they are long; from the
    /// highest down, except that those that have changed are given as soon as that is known.
    /// Says whether there is more; if not, it is not frozen any more. O(budget) and O(log n).
    pub fn give_frozen(&mut self, budget: usize, visit: &mut dyn FnMut(FrozenPart<'_>)) -> bool {
        let Zset { members, order } = self;
        // SAFETY: what the tree points to is in the table.
        unsafe {
            members.give_frozen_by_rank(order, budget, &mut |member| {
                visit(FrozenPart::Scored { member: member.key(), score: score_of(member) });
            })
        }
    }

    /// Forgets the frozen state. What is left of it is better dropped on another thread.
    pub fn thaw(&mut self) -> Option<Kept> {
        self.members.thaw()
    }

    /// Asserts that table and tree agree. Reads everything.
    #[cfg(any(test, debug_assertions))]
    pub fn check(&self) {
        self.members.check();
        assert_eq!(self.members.len() as u64, self.order.len());
        let mut last: Option<(f64, &[u8])> = None;
        for (name, score) in self.iter_from(0) {
            assert_eq!(self.score(name).map(f64::to_bits), Some(score.to_bits()));
            assert!(last.is_none_or(|last| last < (score, name)), "out of order");
            last = Some((score, name));
        }
    }
}

#[inline]
fn score_of(member: MemberRef<'_>) -> f64 {
    f64::from_bits(member.extra().unwrap_or(0))
}

impl Clone for Zset {
    /// Copies every member. O(n).
    fn clone(&self) -> Zset {
        Zset::from_sorted(self.iter_from(0), self.members.hasher().clone())
    }
}

impl std::fmt::Debug for Zset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Zset").field("len", &self.len()).finish_non_exhaustive()
    }
}
