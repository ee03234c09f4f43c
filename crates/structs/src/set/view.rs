//! Looking at a set of any form.

use crate::entry::EntryRef;
use crate::intset::{self, IntSet};
use crate::members::{self, MemberRef, Members};
use crate::number::{I64_TEXT_MAX, parse_i64};
use crate::packed::{self, Element, ElementText, Packed};
use crate::prefetch;
use crate::value::{PackedKind, ValueRef};

use super::Set;

/// How far ahead of the member that it gives an iterator fetches the memory of later ones.
const AHEAD: usize = 16;

/// A set to be looked at.
#[derive(Clone, Copy)]
pub enum SetRef<'a> {
    /// Nothing but integers, few.
    Ints(IntSet<'a>),
    /// Few and short members.
    Packed(Packed<'a>),
    /// Any others.
    Big(&'a Set),
}

/// A member of a set: an integer if it is the text of one and stored so, else bytes.
pub type Member<'a> = Element<'a>;

impl<'a> SetRef<'a> {
    /// The empty set.
    pub const EMPTY: SetRef<'static> = SetRef::Ints(IntSet::EMPTY);

    /// The set that an entry holds; `None` if it holds something else.
    #[inline]
    pub fn of(entry: EntryRef<'a>) -> Option<SetRef<'a>> {
        match entry.value() {
            ValueRef::Packed(PackedKind::SetInts, bytes) => Some(SetRef::Ints(IntSet::of(bytes))),
            ValueRef::Packed(PackedKind::Set, bytes) => Some(SetRef::Packed(Packed::new(bytes))),
            ValueRef::Set(set) => Some(SetRef::Big(set)),
            _ => None,
        }
    }

    /// Number of members.
    #[inline]
    pub fn len(self) -> usize {
        match self {
            SetRef::Ints(ints) => ints.len(),
            SetRef::Packed(packed) => packed.len(),
            SetRef::Big(set) => set.len(),
        }
    }

    /// Bytes that the members and what leads to them take, roughly. O(1).
    pub fn memory_bytes(self) -> usize {
        match self {
            SetRef::Ints(ints) => ints.len() * size_of::<i64>(),
            SetRef::Packed(packed) => packed.as_bytes().len(),
            SetRef::Big(set) => set.memory_bytes(),
        }
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Whether these bytes are a member.
    #[inline]
    pub fn contains(self, member: &[u8]) -> bool {
        match self {
            SetRef::Ints(ints) => as_int(member).is_some_and(|value| ints.contains(value)),
            SetRef::Packed(packed) => packed.find(member, 1).is_some(),
            SetRef::Big(set) => set.members().get(set.members().position(member), member).is_some(),
        }
    }

    /// Where a member is: a number that no other member of this set has. Good until the set is changed.
    #[inline]
    pub fn locate(self, probe: &Probe<'_>) -> Option<usize> {
        match self {
            SetRef::Ints(ints) => ints.search(probe.as_int()?).ok(),
            SetRef::Packed(packed) => Some(packed.find(probe.bytes(), 1)?.start),
            SetRef::Big(set) => {
                let member = set.members().get(probe.position(set.members()), probe.bytes())?;
                Some(member.ptr().address().as_ptr().addr())
            }
        }
    }

    /// All members; integers ascending, others in no meaningful order.
    pub fn iter(self) -> SetIter<'a> {
        SetIter(match self {
            SetRef::Ints(ints) => Form::Ints(ints.iter()),
            SetRef::Packed(packed) => Form::Packed(packed.iter()),
            SetRef::Big(set) => Form::Big(Box::new(Ahead::new(set.members()))),
        })
    }

    /// A step of a walk from a cursor (0 is the start): gives some members to `visit` and returns the next cursor, 0 at the
    /// end. Members that are there from the first to the last step are given at least once. The small forms are given
    /// whole, whatever the cursor.
    pub fn scan(self, cursor: u64, visit: &mut dyn FnMut(Member<'_>)) -> u64 {
        match self {
            SetRef::Big(set) => set.members().scan(cursor, &mut |member| visit(Element::Bytes(member.key()))),
            small => {
                small.iter().for_each(visit);
                0
            }
        }
    }

    /// Hints that a key will be looked up here: first step. Nothing to do for small forms.
    #[inline]
    pub(super) fn prefetch_bucket(self, probe: &Probe<'_>) {
        if let SetRef::Big(set) = self {
            set.members().prefetch_bucket(probe.position(set.members()));
        }
    }

    /// Hints that a key will be looked up here: second step.
    #[inline]
    pub(super) fn prefetch_member(self, probe: &Probe<'_>) {
        if let SetRef::Big(set) = self {
            set.members().prefetch_member(probe.position(set.members()));
        }
    }

    /// The integers, if it is kept as such.
    pub(super) fn as_ints(self) -> Option<IntSet<'a>> {
        match self {
            SetRef::Ints(ints) => Some(ints),
            _ => None,
        }
    }

    /// What positions are computed with, if they are needed at all.
    pub(super) fn members(self) -> Option<&'a Members> {
        match self {
            SetRef::Big(set) => Some(set.members()),
            _ => None,
        }
    }
}

/// The integer that these bytes are the text of.
#[inline]
pub(super) fn as_int(bytes: &[u8]) -> Option<i64> {
    if bytes.len() <= I64_TEXT_MAX { parse_i64(bytes) } else { None }
}

/// A member to be looked up, perhaps in several sets: what has to be known of it is worked out once.
pub struct Probe<'a> {
    member: Member<'a>,
    text: ElementText<'a>,
    /// Its position, by the hasher of the sets that are looked at.
    position: u64,
}

impl<'a> Probe<'a> {
    /// Of a member. Its position is worked out if there are big sets to be looked at, of which `members` is one.
    #[inline]
    pub fn new(member: Member<'a>, members: Option<&Members>) -> Probe<'a> {
        let text = member.text();
        let position = members.map_or(0, |members| members.position(&text));
        Probe { member, text, position }
    }

    /// The member.
    #[inline]
    pub fn member(&self) -> Member<'a> {
        self.member
    }

    /// Its bytes.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.text
    }

    #[inline]
    fn as_int(&self) -> Option<i64> {
        match self.member {
            Element::Int(value) => Some(value),
            Element::Bytes(bytes) => as_int(bytes),
        }
    }

    /// Its position in this table. All sets of a server have the same hasher.
    #[inline]
    fn position(&self, members: &Members) -> u64 {
        debug_assert_eq!(self.position, members.position(self.bytes()));
        self.position
    }
}

/// The members of a set, see [`SetRef::iter`].
pub struct SetIter<'a>(Form<'a>);

enum Form<'a> {
    Ints(intset::Iter<'a>),
    Packed(packed::Iter<'a>),
    Big(Box<Ahead<'a>>),
}

impl<'a> SetIter<'a> {
    /// The next member, and where it is, as [`SetRef::locate`] would say.
    #[inline]
    pub fn next_located(&mut self) -> Option<(usize, Member<'a>)> {
        match &mut self.0 {
            Form::Ints(ints) => {
                let index = ints.passed();
                ints.next().map(|value| (index, Element::Int(value)))
            }
            Form::Packed(items) => items.next().map(|item| (item.start, item.element)),
            Form::Big(ahead) => {
                let member = ahead.next()?;
                Some((member.ptr().address().as_ptr().addr(), Element::Bytes(member.key())))
            }
        }
    }
}

impl<'a> Iterator for SetIter<'a> {
    type Item = Member<'a>;

    #[inline]
    fn next(&mut self) -> Option<Member<'a>> {
        match &mut self.0 {
            Form::Ints(ints) => ints.next().map(Element::Int),
            Form::Packed(items) => items.next().map(|item| item.element),
            Form::Big(ahead) => ahead.next().map(|member| Element::Bytes(member.key())),
        }
    }
}

/// The members of a table, the memory of the next few requested ahead.
struct Ahead<'a> {
    rest: members::Iter<'a>,
    ring: [Option<MemberRef<'a>>; AHEAD],
    at: usize,
}

impl<'a> Ahead<'a> {
    fn new(members: &'a Members) -> Ahead<'a> {
        let mut rest = members.iter();
        let ring = std::array::from_fn(|_| fetched(&mut rest));
        Ahead { rest, ring, at: 0 }
    }

    #[inline]
    fn next(&mut self) -> Option<MemberRef<'a>> {
        let next = std::mem::replace(self.ring.get_mut(self.at)?, fetched(&mut self.rest));
        self.at = (self.at + 1) % AHEAD;
        next
    }
}

#[inline]
fn fetched<'a>(rest: &mut members::Iter<'a>) -> Option<MemberRef<'a>> {
    let member = rest.next()?;
    let block = member.ptr().address().as_ptr();
    prefetch(block);
    prefetch(block.wrapping_add(64));
    Some(member)
}
