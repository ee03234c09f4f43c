//! A big set: a table of members.

use crate::frozen::{FrozenHead, FrozenPart, Kept};
use crate::keyspace::KeyHasher;
use crate::members::{MemberRef, Members};
use crate::number::format_i64;
use crate::packed::Element;

use super::Member;

/// Members whose memory is requested together.
const WINDOW: usize = 16;

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

    /// Adds many members. Says how many of them are new. Faster than adding one after the other, since memory is requested
    /// for several of them ahead.
    pub fn add_each<'m>(&mut self, members: impl Iterator<Item = &'m [u8]>) -> usize {
        self.for_windows(members, |members, position, member| {
            let is_new = members.get(position, member).is_none();
            if is_new {
                members.insert(position, member, None, None);
            }
            is_new
        })
    }

    /// Removes many members. Says how many of them were there.
    pub fn remove_each<'m>(&mut self, members: impl Iterator<Item = &'m [u8]>) -> usize {
        self.for_windows(members, Members::remove)
    }

    /// Gives members with their positions to `change`, in their order; for how many it says yes.
    #[inline]
    fn for_windows<'m>(
        &mut self,
        mut members: impl Iterator<Item = &'m [u8]>,
        mut change: impl FnMut(&mut Members, u64, &'m [u8]) -> bool,
    ) -> usize {
        let mut window: [(u64, &[u8]); WINDOW] = [(0, &[]); WINDOW];
        let mut changed = 0;
        loop {
            let mut len = 0;
            for (place, member) in window.iter_mut().zip(&mut members) {
                *place = (self.members.position(member), member);
                self.members.prefetch_bucket(place.0);
                len += 1;
            }
            if len > 1 {
                window[..len].iter().for_each(|&(position, _)| {
                    self.members.prefetch_member(position);
                });
            }
            for &(position, member) in &window[..len] {
                changed += usize::from(change(&mut self.members, position, member));
            }
            if len < WINDOW {
                return changed;
            }
        }
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
