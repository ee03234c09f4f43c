//! Members by chance: each with the same probability, and each group of several distinct ones too.
//!
//! Several distinct members are taken in one of two ways. Few of many are picked one by one, and a pick that came before
//! is picked again. Otherwise the set is walked, and each member is taken with the probability that what is still to be
//! taken has among what is still to come: that gives every group the same chance in one pass, without memory.

use std::collections::HashSet;

use foldhash::fast::FixedState;

use crate::intset;
use crate::packed::{self, Element, Encoded, Packed};

use crate::entry::Freed;

use super::change::{OwnedSet, SetForm, SetMut, SetPlace};
use super::{Member, SetRef};

/// Distinct members are picked one by one if there are more than so many times as many.
const PICK_ONE_IN: usize = 3;
/// SPOP makes a new set of the rest if that is less than one in so many of what goes.
const REST_ONE_IN: usize = 5;

/// Gives 64 random bits a call.
pub type Random<'r> = &'r mut dyn FnMut() -> u64;

/// A number below `limit`, as evenly as 64 bits allow.
#[inline]
fn below(rng: Random<'_>, limit: usize) -> usize {
    ((u128::from(rng()) * limit as u128) >> 64) as usize
}

/// Decides of one thing after the other whether it is among those taken.
struct Draw {
    wanted: usize,
    left: usize,
}

impl Draw {
    #[inline]
    fn takes_next(&mut self, rng: Random<'_>) -> bool {
        let takes = self.wanted > 0 && below(rng, self.left) < self.wanted;
        self.left -= 1;
        self.wanted -= usize::from(takes);
        takes
    }
}

impl<'a> SetRef<'a> {
    /// A member by chance; `None` of the empty set.
    pub fn random(self, rng: Random<'_>) -> Option<Member<'a>> {
        match self {
            SetRef::Big(set) => Some(Element::Bytes(set.members().random(rng)?.key())),
            SetRef::Ints(ints) => ints.get(below(rng, ints.len())).map(Element::Int),
            SetRef::Packed(packed) => Some(packed.nth(below(rng, packed.len()))?.element),
        }
    }

    /// `count` members by chance, the same one perhaps more than once; none of the empty set.
    pub fn random_repeated(self, count: usize, rng: Random<'_>, visit: &mut dyn FnMut(Member<'_>)) {
        match self {
            SetRef::Packed(packed) => {
                let members: Vec<Member<'_>> = packed.iter().map(|item| item.element).collect();
                for _ in 0..count {
                    members.get(below(rng, members.len())).copied().into_iter().for_each(&mut *visit);
                }
            }
            other => (0..count).map_while(|_| other.random(rng)).for_each(visit),
        }
    }

    /// `count` distinct members by chance, or all if there are not more.
    pub fn random_distinct(self, count: usize, rng: Random<'_>, visit: &mut dyn FnMut(Member<'_>)) {
        let len = self.len();
        if count >= len {
            return self.iter().for_each(visit);
        }
        if let SetRef::Big(set) = self
            && count < len / PICK_ONE_IN
        {
            let mut taken = HashSet::with_capacity_and_hasher(count, FixedState::default());
            while taken.len() < count {
                let Some(member) = set.members().random(rng) else { return };
                if taken.insert(member.ptr()) {
                    visit(Element::Bytes(member.key()));
                }
            }
            return;
        }
        let mut draw = Draw { wanted: count, left: len };
        for member in self.iter() {
            if draw.wanted == 0 {
                return;
            }
            if draw.takes_next(rng) {
                visit(member);
            }
        }
    }
}

impl<P: SetPlace> SetMut<'_, P> {
    /// Takes out a member by chance and gives it to `visit`. Says whether there was one.
    pub fn pop(&mut self, rng: Random<'_>, visit: &mut dyn FnMut(Member<'_>)) -> bool {
        if let Some(mut set) = self.place.big() {
            return set.pop(rng, |member| visit(Element::Bytes(member.key()))).is_some();
        }
        match self.place.set() {
            SetRef::Ints(ints) => {
                let index = below(rng, ints.len());
                let Some(value) = ints.get(index) else { return false };
                visit(Element::Int(value));
                if let Some(edit) = intset::remove_at(self.place.bytes(), index) {
                    self.place.splice(edit.at, edit.removed, &[edit.inserted()]);
                }
            }
            SetRef::Packed(packed) => {
                let Some(item) = packed.nth(below(rng, packed.len())) else { return false };
                visit(item.element);
                let range = item.start..item.end;
                packed::remove(self.place, range, 1);
            }
            SetRef::Big(_) => {}
        }
        true
    }

    /// Takes out `count` distinct members by chance, or all if there are not more, and gives them to `visit`. Returns what
    /// the set owned, if another was put in its place.
    pub fn pop_several(&mut self, count: usize, rng: Random<'_>, visit: &mut dyn FnMut(Member<'_>)) -> Freed {
        let len = self.len();
        let count = count.min(len);
        let mut draw = Draw { wanted: count, left: len };
        let rest = match self.place.set() {
            _ if count <= 1 => {
                if count == 1 {
                    self.pop(rng, visit);
                }
                return Freed::Nothing;
            }
            SetRef::Ints(ints) => {
                let mut rest = Vec::with_capacity(len - count);
                for value in ints.iter() {
                    if draw.takes_next(rng) { visit(Element::Int(value)) } else { rest.push(value) }
                }
                SetForm::Ints(intset::from_ascending(&rest))
            }
            SetRef::Packed(packed) => SetForm::Packed(divide(packed, &mut draw, rng, visit)),
            SetRef::Big(set) if (len - count).saturating_mul(REST_ONE_IN) <= count => {
                let mut rest = OwnedSet::new_packed(self.place.hasher());
                for member in SetRef::Big(set).iter() {
                    if draw.takes_next(rng) { visit(member) } else { rest.add_absent(member, &self.limits) }
                }
                rest.into_form()
            }
            SetRef::Big(_) => {
                for _ in 0..count {
                    self.pop(rng, visit);
                }
                return Freed::Nothing;
            }
        };
        self.place.put(rest)
    }
}

/// The bytes of the members that are not drawn.
fn divide(packed: Packed<'_>, draw: &mut Draw, rng: Random<'_>, visit: &mut dyn FnMut(Member<'_>)) -> Vec<u8> {
    let mut rest = packed::Builder::with_capacity(packed.as_bytes().len());
    for item in packed.iter() {
        if draw.takes_next(rng) {
            visit(item.element);
        } else {
            match item.element {
                Element::Int(value) => rest.push(&Encoded::int(value)),
                Element::Bytes(bytes) => rest.push(&Encoded::new(bytes)),
            }
        }
    }
    rest.finish()
}
