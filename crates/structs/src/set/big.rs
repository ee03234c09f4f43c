//! A big set: a table of members.

use crate::frozen::{FrozenHead, FrozenPart, Kept};
use crate::keyspace::KeyHasher;
use crate::members::{MemberRef, Members};
use crate::number::format_i64;
use crate::packed::Element;

use super::Member;

/// A set that is too large for the forms that lie within an entry.
#[derive(Clone, Debug)]
pub struct Set {
    members: Members,
}

impl Set {
    /// The empty set.
    pub fn new(hasher: KeyHasher) -> Set {
        Set { members: Members::new(hasher) }
    }

    /// A set of these members, which are distinct. Made at once, without growing step by step.
    pub fn of_distinct<'m>(hasher: KeyHasher, members: impl ExactSizeIterator<Item = Member<'m>>) -> Set {
        let mut set = Set { members: Members::with_capacity(hasher, members.len()) };
        members.for_each(|member| match member {
            Element::Int(value) => set.add_absent(&format_i64(value)),
            Element::Bytes(key) => set.add_absent(key),
        });
        set
    }

    /// Number of members.
    #[inline]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Number of pieces. O(1).
    pub fn items(&self) -> usize {
        self.len()
    }

    /// All bytes that it owns. O(1).
    pub fn memory_bytes(&self) -> usize {
        self.members.memory_bytes()
    }

    /// The part of [`Set::memory_bytes`] that the global allocator does not know. O(1).
    pub fn mapped_bytes(&self) -> usize {
        self.members.mapped_bytes()
    }

    /// The table.
    #[inline]
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// Adds a member. Says whether it is new.
    #[inline]
    pub fn add(&mut self, member: &[u8]) -> bool {
        let position = self.members.position(member);
        let is_new = self.members.get(position, member).is_none();
        if is_new {
            self.members.insert(position, member, None, None);
        }
        is_new
    }

    /// Adds a member that is not there.
    #[inline]
    pub fn add_absent(&mut self, member: &[u8]) {
        let position = self.members.position(member);
        self.members.insert(position, member, None, None);
    }

    /// Removes a member. Says whether it was there.
    #[inline]
    pub fn remove(&mut self, member: &[u8]) -> bool {
        let position = self.members.position(member);
        self.members.remove(position, member)
    }

    /// Takes out a member by chance, each with the same probability; `rng` gives 64 random bits a call. Returns what
    /// `look` makes of it.
    pub fn pop<T>(&mut self, rng: &mut dyn FnMut() -> u64, look: impl FnOnce(MemberRef<'_>) -> T) -> Option<T> {
        self.members.take_random(rng, look)
    }

    /// Freezes it: what it is now is given out in parts by [`Set::give_frozen`], whatever becomes of it meanwhile. O(1).
    /// `ticket` tells whose frozen state it is. It must not be frozen yet.
    pub fn freeze(&mut self, ticket: u64) {
        self.members.freeze(ticket, None, false);
    }

    /// The ticket with which it was frozen, if it is.
    #[inline]
    pub fn frozen_ticket(&self) -> Option<u64> {
        self.members.frozen().map(|frozen| frozen.ticket)
    }

    /// What it was when it was frozen, if it is.
    pub fn frozen_head(&self) -> Option<FrozenHead> {
        let frozen = self.members.frozen()?;
        Some(FrozenHead::Set { len: frozen.len })
    }

    /// Gives the next parts of what it was to `visit`, about `budget` members, fewer where they are long; in no
    /// meaningful order.
    /// Says whether there is more; if not, it is not frozen any more. O(budget).
    pub fn give_frozen(&mut self, budget: usize, visit: &mut dyn FnMut(FrozenPart<'_>)) -> bool {
        self.members.give_frozen(budget, &mut |member| visit(FrozenPart::Member(member.key())))
    }

    /// Forgets the frozen state. What is left of it is better dropped on another thread.
    pub fn thaw(&mut self) -> Option<Kept> {
        self.members.thaw()
    }
}
