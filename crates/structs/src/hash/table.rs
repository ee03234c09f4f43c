//! A hash that is not small, or whose fields have deadlines: a table of members, and a tree of those with a deadline.
//!
//! A deadline costs eight bytes in the member's block and a place in the tree; a hash without deadlines pays one pointer.
//! Nothing here ever walks all fields to find those that are due.
//!
//! What must stay true: the tree holds exactly the members that have a deadline, at the addresses where they are now and
//! under the deadlines that they have now.

use super::deadlines::{Deadlines, deadline_of};
use crate::frozen::{FrozenHead, FrozenPart, Kept};
use crate::keyspace::KeyHasher;
use crate::members::{MemberPtr, MemberRef, Members};
use crate::packed::Packed;

/// What becomes of the deadline of a field that is set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FieldDeadline {
    /// It has none any more.
    Clear,
    /// As it was; a field that has expired counts as new and has none.
    Keep,
    /// This one, in unix ms.
    At(i64),
}

/// What setting a field did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetField {
    /// There was no such field.
    New,
    /// There was one, but its deadline had passed: for clients it is new.
    Revived,
    /// It has another value.
    Replaced,
}

impl SetField {
    /// Whether the field is new for clients.
    pub fn is_new(self) -> bool {
        self != SetField::Replaced
    }
}

/// A big hash.
///
/// Fields are looked up by name and position ([`Hash::position`]), so that a series of look-ups can prefetch.
pub struct Hash {
    members: Members,
    deadlines: Option<Box<Deadlines>>,
}

// SAFETY: the members' blocks belong to this hash alone, and the tree points to nothing else; neither depends on a thread.
unsafe impl Send for Hash {}

impl Hash {
    /// A hash without fields.
    pub fn new(hasher: KeyHasher) -> Hash {
        Hash { members: Members::new(hasher), deadlines: None }
    }

    /// A hash with the fields and values of a packed one, which should be different from each other: of equal ones the
    /// last counts.
    pub fn from_packed(packed: Packed<'_>, hasher: KeyHasher) -> Hash {
        let mut hash = Hash::new(hasher);
        for (field, value) in packed.pairs() {
            let field = field.element.text();
            hash.set(hash.position(&field), &field, &value.element.text(), FieldDeadline::Clear, i64::MIN);
        }
        hash
    }

    /// Number of fields, those included whose deadline has passed and that nobody has taken out yet.
    #[inline]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether it has no fields.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The same as [`Hash::len`].
    pub fn items(&self) -> usize {
        self.len()
    }

    /// All bytes that it owns, without its own structure. O(1).
    pub fn memory_bytes(&self) -> usize {
        let deadlines = self.deadlines.as_ref().map_or(0, |tree| size_of::<Deadlines>() + tree.memory_bytes());
        self.members.memory_bytes() + deadlines
    }

    /// The part of [`Hash::memory_bytes`] that is mapped from the system and so unknown to the global allocator. O(1).
    pub fn mapped_bytes(&self) -> usize {
        self.members.mapped_bytes()
    }

    /// The position of a field.
    #[inline]
    pub fn position(&self, field: &[u8]) -> u64 {
        self.members.position(field)
    }

    /// Hints that a field with this position will be looked up: first step.
    #[inline]
    pub fn prefetch_bucket(&self, position: u64) {
        self.members.prefetch_bucket(position);
    }

    /// Hints that a field with this position will be looked up: second step, some time after the first.
    #[inline]
    pub fn prefetch_member(&self, position: u64) {
        self.members.prefetch_member(position);
    }

    /// A field, unless its deadline has passed.
    #[inline]
    pub fn get(&self, position: u64, field: &[u8], now_ms: i64) -> Option<MemberRef<'_>> {
        self.members.get(position, field).filter(|member| is_live(*member, now_ms))
    }

    /// All fields whose deadline has not passed, in no meaningful order.
    pub fn for_each<'a>(&'a self, now_ms: i64, mut visit: impl FnMut(MemberRef<'a>)) {
        self.members.for_each(|member| {
            if is_live(member, now_ms) {
                visit(member);
            }
        });
    }

    /// Walks on from a cursor (0 is the start), giving the fields of one bucket whose deadline has not passed to `visit`;
    /// returns the next cursor, 0 at the end. Fields that are there from the first to the last call are given at least
    /// once.
    pub fn scan(&self, cursor: u64, now_ms: i64, visit: &mut dyn FnMut(MemberRef<'_>)) -> u64 {
        self.members.scan(cursor, &mut |member| {
            if is_live(member, now_ms) {
                visit(member);
            }
        })
    }

    /// A field by chance, each with the same probability, those included whose deadline has passed.
    pub fn random(&self, rng: &mut dyn FnMut() -> u64) -> Option<MemberRef<'_>> {
        self.members.random(rng)
    }

    /// Sets a field.
    pub fn set(&mut self, position: u64, field: &[u8], value: &[u8], deadline: FieldDeadline, now_ms: i64) -> SetField {
        let Some(mut member) = self.members.get_mut(position, field) else {
            let at_ms = if let FieldDeadline::At(at_ms) = deadline { Some(at_ms) } else { None };
            let place = self.members.insert(position, field, Some(value), at_ms.map(i64::cast_unsigned));
            if at_ms.is_some() {
                // SAFETY: the member is new.
                unsafe { self.deadlines.get_or_insert_default().insert(place) };
            }
            return SetField::New;
        };
        let old = deadline_of(member.as_ref());
        let has_expired = old.is_some_and(|at_ms| at_ms <= now_ms);
        let new = match deadline {
            FieldDeadline::Clear => None,
            FieldDeadline::Keep => old.filter(|_| !has_expired),
            FieldDeadline::At(at_ms) => Some(at_ms),
        };
        if old != new {
            forget(&mut self.deadlines, member.as_ref());
        }
        let replaced = member.replace(Some(value), new.map(i64::cast_unsigned));
        if new.is_some() {
            let tree = self.deadlines.get_or_insert_default();
            if old == new {
                // SAFETY: the tree has it at its old place, and its deadline is the same.
                unsafe { tree.moved(replaced) };
            } else {
                // SAFETY: it was taken out before it changed.
                unsafe { tree.insert(replaced.new) };
            }
        }
        if has_expired { SetField::Revived } else { SetField::Replaced }
    }

    /// Sets or clears the deadline of a field, whether it has expired or not. Says whether there is such a field.
    pub fn set_deadline(&mut self, position: u64, field: &[u8], deadline_ms: Option<i64>) -> bool {
        let Some(mut member) = self.members.get_mut(position, field) else { return false };
        if deadline_of(member.as_ref()) == deadline_ms {
            return true;
        }
        forget(&mut self.deadlines, member.as_ref());
        let place = member.replace_extra(deadline_ms.map(i64::cast_unsigned)).new;
        if deadline_ms.is_some() {
            // SAFETY: it was taken out before it changed.
            unsafe { self.deadlines.get_or_insert_default().insert(place) };
        }
        true
    }

    /// Removes a field, whether it has expired or not. Says whether there was one.
    pub fn remove(&mut self, position: u64, field: &[u8]) -> bool {
        let Some(member) = self.members.get_mut(position, field) else { return false };
        forget(&mut self.deadlines, member.as_ref());
        member.remove();
        true
    }

    /// The earliest deadline of a field, in unix ms.
    #[inline]
    pub fn next_deadline(&self) -> Option<i64> {
        self.deadlines.as_ref()?.first_ms()
    }

    /// The fields, those that have expired included.
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// Number of fields that have a deadline.
    pub fn deadlines(&self) -> usize {
        self.deadlines.as_ref().map_or(0, |tree| tree.len())
    }

    /// Number of fields that have expired and were not taken out.
    pub fn due(&self, now_ms: i64) -> usize {
        self.deadlines.as_ref().map_or(0, |tree| tree.due(now_ms))
    }

    /// Takes out fields whose deadline has passed, the earliest first and at most `budget` of them, after each was given
    /// to `visit`. Returns how many; whether there are more, [`Hash::next_deadline`] tells. O(log n) for each.
    pub fn take_due(&mut self, now_ms: i64, budget: usize, visit: &mut dyn FnMut(&[u8])) -> usize {
        let wanted = self.due(now_ms).min(budget);
        let (mut due, mut field, mut taken) = (Vec::<MemberPtr>::new(), Vec::new(), 0);
        while taken < wanted
            && let Some(tree) = &mut self.deadlines
        {
            tree.take(wanted - taken, |member| due.push(member));
            if tree.len() == 0 {
                self.deadlines = None;
            }
            taken += due.len();
            for member in due.drain(..) {
                // SAFETY: members in the tree are alive, and this one was in it until just now.
                let key = unsafe { member.member() }.key();
                field.clear();
                field.extend_from_slice(key);
                visit(&field);
                let removed = self.members.remove(self.members.position(&field), &field);
                debug_assert!(removed, "a member in the tree is in the table");
            }
        }
        taken
    }

    /// Freezes it: what it is now is given out in parts by [`Hash::give_frozen`], whatever becomes of it meanwhile. O(1).
    /// `ticket` tells whose frozen state it is. It must not be frozen yet.
    pub fn freeze(&mut self, ticket: u64) {
        self.members.freeze(ticket, self.next_deadline(), false);
    }

    /// The ticket with which it was frozen, if it is.
    #[inline]
    pub fn frozen_ticket(&self) -> Option<u64> {
        self.members.frozen().map(|frozen| frozen.ticket)
    }

    /// What it was when it was frozen, if it is.
    pub fn frozen_head(&self) -> Option<FrozenHead> {
        let frozen = self.members.frozen()?;
        Some(FrozenHead::Hash { len: frozen.len, least_deadline_ms: frozen.least_deadline_ms })
    }

    /// Gives the next parts of what it was to `visit`, about `budget` fields, fewer where they are long; those that
    /// have expired too, in no meaningful order.
    /// Says whether there is more; if not, it is not frozen any more. O(budget).
    pub fn give_frozen(&mut self, budget: usize, visit: &mut dyn FnMut(FrozenPart<'_>)) -> bool {
        self.members.give_frozen(budget, &mut |member| {
            let (field, value) = member.key_and_value();
            visit(FrozenPart::Field { field, value, deadline_ms: deadline_of(member) });
        })
    }

    /// Forgets the frozen state. What is left of it is better dropped on another thread.
    pub fn thaw(&mut self) -> Option<Kept> {
        self.members.thaw()
    }

    /// Asserts that table and tree agree. Reads everything.
    #[cfg(any(test, debug_assertions))]
    pub fn check(&self) {
        self.members.check();
        let in_tree = self.deadlines();
        let mut with_deadline = 0;
        let mut earliest = None;
        for member in self.members.iter() {
            if let Some(at_ms) = deadline_of(member) {
                with_deadline += 1;
                earliest = Some(earliest.map_or(at_ms, |earliest: i64| earliest.min(at_ms)));
            }
        }
        assert_eq!((with_deadline, earliest), (in_tree, self.next_deadline()));
    }
}

#[inline]
fn is_live(member: MemberRef<'_>, now_ms: i64) -> bool {
    deadline_of(member).is_none_or(|at_ms| at_ms > now_ms)
}

/// Takes a member out of the tree, where it may be. The last one takes the tree with it.
fn forget(deadlines: &mut Option<Box<Deadlines>>, member: MemberRef<'_>) {
    let (Some(_), Some(tree)) = (deadline_of(member), deadlines.as_mut()) else { return };
    // SAFETY: the member is being looked at.
    unsafe { tree.remove(member.ptr()) };
    if tree.len() == 0 {
        *deadlines = None;
    }
}

impl Clone for Hash {
    /// Copies every field with its deadline. O(n).
    fn clone(&self) -> Hash {
        let members = self.members.clone();
        let mut deadlines = self.deadlines.is_some().then(Box::<Deadlines>::default);
        if let Some(tree) = &mut deadlines {
            for member in members.iter() {
                if deadline_of(member).is_some() {
                    // SAFETY: each member of the copy is seen once.
                    unsafe { tree.insert(member.ptr()) };
                }
            }
        }
        Hash { members, deadlines }
    }
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hash").field("len", &self.len()).field("deadlines", &self.deadlines()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::testing::Rng;

    type Model = HashMap<Vec<u8>, (Vec<u8>, Option<i64>)>;

    fn agrees(hash: &Hash, model: &Model, now_ms: i64) {
        hash.check();
        assert_eq!(hash.len(), model.len());
        let live = |deadline: &Option<i64>| deadline.is_none_or(|at_ms| at_ms > now_ms);
        assert_eq!(hash.due(now_ms), model.values().filter(|(_, deadline)| !live(deadline)).count());
        assert_eq!(hash.next_deadline(), model.values().filter_map(|(_, deadline)| *deadline).min());
        let mut seen = 0;
        hash.for_each(now_ms, |member| {
            let (value, deadline) = &model[member.key()];
            assert!(live(deadline));
            assert_eq!((member.value(), deadline_of(member)), (value.as_slice(), *deadline));
            seen += 1;
        });
        assert_eq!(seen, model.len() - hash.due(now_ms));
    }

    #[test]
    fn agrees_with_a_map_and_takes_fields_in_the_order_of_their_deadlines() {
        for (fields, seed) in [(60, 1), (5_000, 2)] {
            let mut rng = Rng::new(seed);
            let mut hash = Hash::new(KeyHasher::new(seed));
            let mut model = Model::new();
            let mut now_ms = 1_000;
            for step in 0..30_000 {
                let field = rng.below(fields).to_string().into_bytes();
                let position = hash.position(&field);
                let at_ms = now_ms + rng.below(4_000) as i64 - 500;
                let old = model.get(&field).cloned();
                let old_deadline = old.as_ref().and_then(|(_, deadline)| *deadline);
                let has_expired = old_deadline.is_some_and(|at_ms| at_ms <= now_ms);
                assert_eq!(hash.get(position, &field, now_ms).is_some(), old.is_some() && !has_expired);
                match rng.below(8) {
                    0 => {
                        assert_eq!(hash.remove(position, &field), model.remove(&field).is_some());
                    }
                    1 | 2 => {
                        let new = (rng.below(3) > 0).then_some(at_ms);
                        assert_eq!(hash.set_deadline(position, &field, new), old.is_some());
                        if let Some((_, deadline)) = model.get_mut(&field) {
                            *deadline = new;
                        }
                    }
                    3 if step % 16 == 0 => {
                        now_ms += rng.below(500) as i64;
                        let mut last = i64::MIN;
                        let due = hash.due(now_ms);
                        let budget = rng.below(20);
                        let taken = hash.take_due(now_ms, budget, &mut |field| {
                            let deadline = model.remove(field).expect("it is there").1.expect("it has a deadline");
                            assert!(last <= deadline && deadline <= now_ms);
                            last = deadline;
                        });
                        assert_eq!(taken, due.min(budget));
                    }
                    choice => {
                        let value = vec![b'v'; rng.below(30)];
                        let (deadline, new) = match choice {
                            4 => (FieldDeadline::At(at_ms), Some(at_ms)),
                            5 => (FieldDeadline::Keep, old_deadline.filter(|_| !has_expired)),
                            _ => (FieldDeadline::Clear, None),
                        };
                        let expected = match (&old, has_expired) {
                            (None, _) => SetField::New,
                            (_, true) => SetField::Revived,
                            _ => SetField::Replaced,
                        };
                        assert_eq!(hash.set(position, &field, &value, deadline, now_ms), expected);
                        model.insert(field, (value, new));
                    }
                }
                if step % 3_000 == 0 {
                    agrees(&hash, &model, now_ms);
                }
            }
            agrees(&hash, &model, now_ms);
            let mut copy = hash.clone();
            drop(hash);
            agrees(&copy, &model, now_ms);
            while copy.take_due(i64::MAX, 100, &mut |field| drop(model.remove(field))) > 0 {}
            agrees(&copy, &model, now_ms);
            assert_eq!((copy.deadlines(), copy.next_deadline()), (0, None));
        }
    }
}
