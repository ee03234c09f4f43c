//! Sorted sets as commands see them, whichever form they have.

use std::ops::Range;

use super::packed::{self, ScoreBytes};
use super::{LexRange, ScoreRange, Zset};
use crate::entry::EntryRef;
use crate::keyspace::{EntryMut, NewValue};
use crate::packed::{Builder, Encoded, Packed};
use crate::value::{Big, PackedKind, ValueRef};

/// A packed set that would become longer than this, in bytes, becomes a table whatever its limits say.
const PACKED_BYTES_MAX: usize = 1 << 30;

/// Up to where a sorted set stays packed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ZsetLimits {
    /// Members at most.
    pub entries: usize,
    /// Bytes of a member at most.
    pub value_bytes: usize,
}

/// A sorted set that is being looked at.
#[derive(Clone, Copy, Debug)]
pub enum ZsetRef<'a> {
    /// A small one.
    Packed(Packed<'a>),
    /// A big one.
    Big(&'a Zset),
}

impl<'a> ZsetRef<'a> {
    /// The sorted set of an entry; `None` if it holds something else.
    #[inline]
    pub fn of(entry: EntryRef<'a>) -> Option<ZsetRef<'a>> {
        match entry.value() {
            ValueRef::Packed(PackedKind::Zset, bytes) => Some(ZsetRef::Packed(Packed::new(bytes))),
            ValueRef::Zset(zset) => Some(ZsetRef::Big(zset)),
            _ => None,
        }
    }

    /// Number of members.
    #[inline]
    pub fn len(self) -> u64 {
        match self {
            ZsetRef::Packed(set) => packed::len(set),
            ZsetRef::Big(zset) => zset.len(),
        }
    }

    /// Bytes that the members and what leads to them take, roughly. O(1).
    pub fn memory_bytes(self) -> usize {
        match self {
            ZsetRef::Packed(set) => set.as_bytes().len(),
            ZsetRef::Big(zset) => zset.memory_bytes(),
        }
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// A member's score.
    #[inline]
    pub fn score(self, member: &[u8]) -> Option<f64> {
        match self {
            ZsetRef::Packed(set) => packed::find(set, member).map(|place| place.score),
            ZsetRef::Big(zset) => zset.score(member),
        }
    }

    /// Hints that a member will be looked up soon.
    #[inline]
    pub fn prefetch(self, member: &[u8]) {
        if let ZsetRef::Big(zset) = self {
            zset.prefetch_bucket(member);
        }
    }

    /// A member's rank and score. O(log n).
    #[inline]
    pub fn rank(self, member: &[u8]) -> Option<(u64, f64)> {
        match self {
            ZsetRef::Packed(set) => packed::find(set, member).map(|place| (place.rank, place.score)),
            ZsetRef::Big(zset) => zset.rank(member),
        }
    }

    /// Ranks of the members with scores in a range. O(log n).
    #[inline]
    pub fn score_ranks(self, range: &ScoreRange) -> Range<u64> {
        match self {
            ZsetRef::Packed(set) => packed::score_ranks(set, range),
            ZsetRef::Big(zset) => zset.score_ranks(range),
        }
    }

    /// Ranks of the members with names in a range; means something only where all scores are equal. O(log n).
    pub fn lex_ranks(self, range: &LexRange<'_>) -> Range<u64> {
        match self {
            ZsetRef::Packed(set) => packed::lex_ranks(set, range),
            ZsetRef::Big(zset) => zset.lex_ranks(range),
        }
    }

    /// Gives the members of some ranks to `visit`, name and score, in order. O(log n) and what is visited.
    #[inline]
    pub fn walk(self, ranks: Range<u64>, mut visit: impl FnMut(&[u8], f64)) {
        match self {
            ZsetRef::Packed(set) => packed::walk(set, ranks, false, visit),
            ZsetRef::Big(zset) => {
                let count = usize::try_from(ranks.end.saturating_sub(ranks.start)).unwrap_or(usize::MAX);
                zset.iter_from(ranks.start).take(count).for_each(|(member, score)| visit(member, score));
            }
        }
    }

    /// The same in the opposite order: from rank `ranks.end - 1` down to `ranks.start`.
    #[inline]
    pub fn walk_back(self, ranks: Range<u64>, mut visit: impl FnMut(&[u8], f64)) {
        let end = ranks.end.min(self.len());
        if ranks.start >= end {
            return;
        }
        match self {
            ZsetRef::Packed(set) => packed::walk(set, ranks.start..end, true, visit),
            ZsetRef::Big(zset) => {
                let count = usize::try_from(end - ranks.start).unwrap_or(usize::MAX);
                zset.iter_back_from(end - 1).take(count).for_each(|(member, score)| visit(member, score));
            }
        }
    }

    /// Gives all members to `visit`, in order.
    pub fn for_each(self, visit: impl FnMut(&[u8], f64)) {
        self.walk(0..self.len(), visit);
    }

    /// The member of a rank, if there is one, given to `visit`.
    pub fn at<T>(self, rank: u64, visit: impl FnOnce(&[u8], f64) -> T) -> Option<T> {
        let mut visit = Some(visit);
        let mut result = None;
        self.walk(rank..rank.saturating_add(1), |member, score| {
            result = visit.take().map(|visit| visit(member, score));
        });
        result
    }

    /// Walks on from a cursor (0 is the start), giving some members to `visit`; returns the next cursor, 0 at the end. A
    /// small set is given at once.
    pub fn scan(self, cursor: u64, visit: &mut dyn FnMut(&[u8], f64)) -> u64 {
        match self {
            ZsetRef::Packed(_) => {
                self.for_each(visit);
                0
            }
            ZsetRef::Big(zset) => zset.scan(cursor, visit),
        }
    }
}

/// When a member is added or changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AddRule {
    /// Only members that are not there (NX).
    pub only_new: bool,
    /// Only members that are there (XX).
    pub only_present: bool,
    /// Of members that are there, only to a higher score (GT).
    pub only_higher: bool,
    /// Of members that are there, only to a lower score (LT).
    pub only_lower: bool,
    /// The score is added to the old one (INCR).
    pub increment: bool,
}

/// What adding did.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Added {
    /// The member is new.
    New(f64),
    /// It has another score.
    Changed(f64),
    /// It has the score that it had.
    Same(f64),
    /// The rule did not allow it.
    Refused,
    /// The increment would make it NaN.
    NotANumber,
}

/// A sorted set that is being changed.
pub struct ZsetMut<'w, 'a> {
    entry: &'w mut EntryMut<'a>,
    limits: ZsetLimits,
}

impl<'w, 'a> ZsetMut<'w, 'a> {
    /// The sorted set of an entry; `None` if it holds something else.
    #[inline]
    pub fn of(entry: &'w mut EntryMut<'a>, limits: ZsetLimits) -> Option<ZsetMut<'w, 'a>> {
        ZsetRef::of(entry.as_ref()).is_some().then_some(ZsetMut { entry, limits })
    }

    /// To look at it.
    #[inline]
    pub fn as_ref(&self) -> ZsetRef<'_> {
        // What it was made for does not become something else.
        ZsetRef::of(self.entry.as_ref()).unwrap_or(ZsetRef::Packed(Packed::new(&[])))
    }

    /// Adds a member or changes its score, as far as the rule allows. `score` is not NaN.
    #[inline]
    pub fn add(&mut self, member: &[u8], score: f64, rule: AddRule) -> Added {
        if let Some(mut zset) = self.entry.zset_mut() {
            let mut added = Added::Refused;
            zset.update(member, |old| {
                added = rule.decide(old, score);
                added.to_store()
            });
            return added;
        }
        let set = Packed::new(crate::packed::Splice::bytes(self.entry));
        let Some(place) = packed::find(set, member) else {
            let added = rule.decide(None, score);
            if let Some(score) = added.to_store() {
                self.insert_packed(member, score);
            }
            return added;
        };
        let added = rule.decide(Some(place.score), score);
        if let Some(score) = added.to_store() {
            packed::set_score(self.entry, &place, member, score);
        }
        added
    }

    fn insert_packed(&mut self, member: &[u8], score: f64) {
        let set = Packed::new(crate::packed::Splice::bytes(self.entry));
        let fits = set.len() / 2 < self.limits.entries
            && member.len() <= self.limits.value_bytes
            && set.as_bytes().len().saturating_add(member.len()) < PACKED_BYTES_MAX;
        if fits {
            packed::insert(self.entry, member, score);
            return;
        }
        self.make_big();
        if let Some(mut zset) = self.entry.zset_mut() {
            zset.insert(member, score);
        }
    }

    /// Makes a table of it if so many members, the longest of so many bytes, do not fit into a small set.
    pub fn expect(&mut self, entries: usize, value_bytes: usize) {
        if entries > self.limits.entries || value_bytes > self.limits.value_bytes {
            self.make_big();
        }
    }

    /// Removes a member. Says whether it was there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        if let Some(mut zset) = self.entry.zset_mut() {
            return zset.remove(member);
        }
        let found = packed::find(Packed::new(crate::packed::Splice::bytes(self.entry)), member);
        if let Some(place) = &found {
            packed::remove(self.entry, place);
        }
        found.is_some()
    }

    /// Removes the members of some ranks, each after it was given to `visit`, in order.
    pub fn remove_ranks(&mut self, ranks: Range<u64>, visit: impl FnMut(&[u8], f64)) {
        if let Some(mut zset) = self.entry.zset_mut() {
            zset.remove_ranks(ranks, visit);
            return;
        }
        let ranks = ranks.start..ranks.end.min(self.as_ref().len());
        if ranks.start < ranks.end {
            self.as_ref().walk(ranks.clone(), visit);
            packed::remove_ranks(self.entry, ranks);
        }
    }

    /// Fills a set that is empty with members that come in order, without equal ones, in the form that suits them.
    /// `longest` is the bytes of the longest one.
    pub fn fill<'m>(&mut self, members: impl ExactSizeIterator<Item = (&'m [u8], f64)>, longest: usize) {
        debug_assert!(self.as_ref().is_empty());
        let fits = members.len() <= self.limits.entries
            && longest <= self.limits.value_bytes
            && members.len().saturating_mul(longest + 16) < PACKED_BYTES_MAX;
        let freed = if fits {
            let mut builder = Builder::new();
            for (member, score) in members {
                builder.push(&Encoded::new(member));
                builder.push(&ScoreBytes::new(score).encoded());
            }
            self.entry.set_value(NewValue::Packed(PackedKind::Zset, &builder.finish()))
        } else {
            let zset = Zset::from_sorted(members, self.entry.hasher().clone());
            self.entry.set_value(Big::from(zset))
        };
        // What was there was empty.
        drop(freed);
    }

    fn make_big(&mut self) {
        if let ZsetRef::Packed(set) = self.as_ref() {
            let zset = Zset::from_packed(set, self.entry.hasher().clone());
            drop(self.entry.set_value(Big::from(zset)));
        }
    }
}

impl AddRule {
    /// What becomes of a member with an old score, if it has one.
    #[inline]
    fn decide(self, old: Option<f64>, score: f64) -> Added {
        let Some(old) = old else {
            return if self.only_present { Added::Refused } else { Added::New(score) };
        };
        if self.only_new {
            return Added::Refused;
        }
        let new = if self.increment { old + score } else { score };
        if new.is_nan() {
            return Added::NotANumber;
        }
        if self.only_lower && new >= old || self.only_higher && new <= old {
            return Added::Refused;
        }
        if new == old { Added::Same(new) } else { Added::Changed(new) }
    }
}

impl Added {
    /// The score that has to be stored.
    #[inline]
    fn to_store(self) -> Option<f64> {
        match self {
            Added::New(score) | Added::Changed(score) => Some(score),
            Added::Same(_) | Added::Refused | Added::NotANumber => None,
        }
    }
}
