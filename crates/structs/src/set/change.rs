//! Changing a set of any form, and when it takes another form.
//!
//! The rules, which are those of the reference servers because clients read the names of encodings:
//!
//! | when | the set becomes |
//! |---|---|
//! | it is made: the first member is an integer, and so many members are announced as integers may be | integers |
//! | it is made: as many members are announced as may be packed | packed |
//! | more members are announced than its form may have, new or not | big |
//! | a set of integers gets more of them than it may have | big |
//! | a set of integers gets another member, and packed it would be within the limits | packed |
//! | a packed set gets a new member beyond the limits, in number or length | big |
//!
//! Nothing is converted back, except that SPOP of nearly everything makes a new set of the rest.

use std::ops::DerefMut;

use crate::entry::{Freed, Kind};
use crate::intset::{self, IntSet};
use crate::keyspace::{EntryMut, KeyHasher, NewValue};
use crate::number::decimal_len;
use crate::packed::{self, Element, Encoded, Packed, Splice};
use crate::value::{Big, PackedKind};

use super::view::as_int;
use super::{Member, Set, SetRef};

/// More integers than this are not kept sorted, whatever the configuration says.
const INTS_MAX: usize = 1 << 30;
/// More bytes than this are not packed, whatever the configuration says.
const PACKED_BYTES_MAX: usize = 1 << 30;

/// Up to where sets are kept in the small forms.
#[derive(Clone, Copy, Debug)]
pub struct SetLimits {
    /// Most members of a set of integers.
    pub ints_max: usize,
    /// Most members of a packed set.
    pub packed_max: usize,
    /// Longest member of a packed set, in bytes.
    pub packed_len_max: usize,
}

impl SetLimits {
    /// Whether a set made of these members would be in one of the small forms. Reads all members at most.
    pub fn keep_small(&self, set: SetRef<'_>) -> bool {
        let len = set.len();
        let all_ints = len <= self.ints_max.min(INTS_MAX)
            && set.iter().all(|member| match member {
                Element::Int(_) => true,
                Element::Bytes(bytes) => as_int(bytes).is_some(),
            });
        all_ints || len <= self.packed_max && set.iter().all(|member| member.text_len() <= self.packed_len_max)
    }
}

/// Where a set lies: within an entry, or by itself.
///
/// The bytes of [`Splice`] are those of the small forms.
pub trait SetPlace: Splice {
    /// The set.
    fn set(&self) -> SetRef<'_>;

    /// The table of a big set; `None` in the small forms.
    fn big(&mut self) -> Option<impl DerefMut<Target = Set>>;

    /// Puts another set in its place, and gives what the old one owned.
    fn put(&mut self, form: SetForm) -> Freed;

    /// What positions of members are computed with.
    fn hasher(&self) -> &KeyHasher;
}

/// A set without an entry, in one of the three forms.
#[derive(Debug)]
pub enum SetForm {
    /// Bytes of a set of integers.
    Ints(Vec<u8>),
    /// Bytes of a packed set.
    Packed(Vec<u8>),
    /// A big set.
    Big(Box<Set>),
}

impl SetPlace for EntryMut<'_> {
    /// Of an entry with another value, the empty set.
    #[inline]
    fn set(&self) -> SetRef<'_> {
        SetRef::of(self.as_ref()).unwrap_or(SetRef::EMPTY)
    }

    #[inline]
    fn big(&mut self) -> Option<impl DerefMut<Target = Set>> {
        self.set_mut()
    }

    fn put(&mut self, form: SetForm) -> Freed {
        self.set_value(match &form {
            SetForm::Ints(bytes) => NewValue::Packed(PackedKind::SetInts, bytes),
            SetForm::Packed(bytes) => NewValue::Packed(PackedKind::Set, bytes),
            SetForm::Big(_) => {
                let SetForm::Big(set) = form else { unreachable!("just seen") };
                NewValue::Big(Big::Set(set))
            }
        })
    }

    fn hasher(&self) -> &KeyHasher {
        EntryMut::hasher(self)
    }
}

/// A set that belongs to nobody's entry yet: the result of an operation on its way into one.
#[derive(Debug)]
pub struct OwnedSet {
    form: SetForm,
    hasher: KeyHasher,
}

impl OwnedSet {
    /// The empty set, in the smallest form. All sets of a server have the same hasher.
    pub fn new(hasher: &KeyHasher) -> OwnedSet {
        OwnedSet { form: SetForm::Ints(Vec::new()), hasher: hasher.clone() }
    }

    /// The set of these members, which are distinct, in the smallest form within limits.
    pub fn of_distinct(members: &[Member<'_>], hasher: &KeyHasher, limits: &SetLimits) -> OwnedSet {
        let count = members.len();
        let ints = (count <= limits.ints_max.min(INTS_MAX)).then(|| members.iter().map(|member| member.as_i64()));
        let form = if let Some(mut ints) = ints.and_then(Iterator::collect::<Option<Vec<i64>>>) {
            ints.sort_unstable();
            SetForm::Ints(intset::from_ascending(&ints))
        } else if count <= limits.packed_max && members.iter().all(|member| member.text_len() <= limits.packed_len_max)
        {
            let mut packed = packed::Builder::new();
            for member in members {
                match member {
                    Element::Int(value) => packed.push(&Encoded::int(*value)),
                    Element::Bytes(bytes) => packed.push(&Encoded::new(bytes)),
                }
            }
            SetForm::Packed(packed.finish())
        } else {
            SetForm::Big(Box::new(Set::of_distinct(hasher.clone(), members.iter().copied())))
        };
        OwnedSet { form, hasher: hasher.clone() }
    }

    /// The empty set, packed.
    pub(super) fn new_packed(hasher: &KeyHasher) -> OwnedSet {
        OwnedSet { form: SetForm::Packed(Vec::new()), hasher: hasher.clone() }
    }

    /// The set.
    pub fn into_form(self) -> SetForm {
        self.form
    }

    /// Adds a member that is not in the set.
    #[inline]
    pub fn add_absent(&mut self, member: Member<'_>, limits: &SetLimits) {
        SetMut::new(self, limits).add_absent(&member.text());
    }
}

impl Splice for OwnedSet {
    fn bytes(&self) -> &[u8] {
        match &self.form {
            SetForm::Ints(bytes) | SetForm::Packed(bytes) => bytes,
            SetForm::Big(_) => &[],
        }
    }

    fn splice(&mut self, at: usize, removed: usize, inserted: &[&[u8]]) {
        match &mut self.form {
            SetForm::Ints(bytes) | SetForm::Packed(bytes) => Splice::splice(bytes, at, removed, inserted),
            SetForm::Big(_) => {}
        }
    }
}

impl SetPlace for OwnedSet {
    fn set(&self) -> SetRef<'_> {
        match &self.form {
            SetForm::Ints(bytes) => SetRef::Ints(IntSet::of(bytes)),
            SetForm::Packed(bytes) => SetRef::Packed(Packed::new(bytes)),
            SetForm::Big(set) => SetRef::Big(set),
        }
    }

    fn big(&mut self) -> Option<impl DerefMut<Target = Set>> {
        match &mut self.form {
            SetForm::Big(set) => Some(&mut **set),
            _ => None,
        }
    }

    fn put(&mut self, form: SetForm) -> Freed {
        match std::mem::replace(&mut self.form, form) {
            SetForm::Big(set) => Freed::Big(Big::Set(set)),
            _ => Freed::Nothing,
        }
    }

    fn hasher(&self) -> &KeyHasher {
        &self.hasher
    }
}

/// Which form a set has, to decide what to do before the set itself is borrowed to do it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Ints,
    Packed,
    Big,
}

impl<'a, 'e> SetMut<'a, EntryMut<'e>> {
    /// The set that an entry holds, to be kept within limits; `None` if the entry holds something else.
    #[inline]
    pub fn of(entry: &'a mut EntryMut<'e>, limits: &SetLimits) -> Option<SetMut<'a, EntryMut<'e>>> {
        let is_set = matches!(entry.as_ref().kind(), Kind::SetInts | Kind::SetPacked | Kind::Set);
        is_set.then(|| SetMut::new(entry, limits))
    }
}

/// A set to be changed.
///
/// It may become empty here; whoever owns the place does not leave it so.
pub struct SetMut<'a, P: SetPlace> {
    pub(super) place: &'a mut P,
    pub(super) limits: SetLimits,
}

impl<'a, P: SetPlace> SetMut<'a, P> {
    /// The set at a place, to be kept within limits.
    #[inline]
    pub fn new(place: &'a mut P, limits: &SetLimits) -> SetMut<'a, P> {
        SetMut { place, limits: *limits }
    }

    /// To look at it.
    #[inline]
    pub fn as_ref(&self) -> SetRef<'_> {
        self.place.set()
    }

    /// Number of members.
    #[inline]
    pub fn len(&self) -> usize {
        self.as_ref().len()
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.as_ref().is_empty()
    }

    /// Announces that `count` members are going to be added, `first` before the others: chooses the form of a set that is
    /// empty and not big, and that of another if so many would be too many even for an empty one.
    pub fn expect(&mut self, first: &[u8], count: usize) {
        let form = self.form();
        if !self.is_empty() || form == Form::Big {
            if form == Form::Ints && count > self.ints_max() || form == Form::Packed && count > self.limits.packed_max {
                self.make_big();
            }
        } else if as_int(first).is_some() && count <= self.ints_max() {
            if form != Form::Ints {
                self.put_small(SetForm::Ints(Vec::new()));
            }
        } else if count <= self.limits.packed_max {
            if form != Form::Packed {
                self.put_small(SetForm::Packed(Vec::new()));
            }
        } else {
            self.make_big();
        }
    }

    /// Adds a member. Says whether it is new.
    #[inline]
    pub fn add(&mut self, member: &[u8]) -> bool {
        match self.form() {
            Form::Big => self.place.big().is_some_and(|mut set| set.add(member)),
            Form::Packed => {
                let is_new = Packed::new(self.place.bytes()).find(member, 1).is_none();
                if is_new {
                    self.push(member);
                }
                is_new
            }
            Form::Ints => match as_int(member) {
                Some(value) => self.add_int(value),
                None => {
                    self.leave_ints(member.len());
                    self.add_absent(member);
                    true
                }
            },
        }
    }

    /// Adds a member that is not in the set.
    #[inline]
    pub fn add_absent(&mut self, member: &[u8]) {
        match self.form() {
            Form::Big => {
                if let Some(mut set) = self.place.big() {
                    set.add_absent(member);
                }
            }
            Form::Packed => self.push(member),
            Form::Ints => {
                self.add(member);
            }
        }
    }

    /// Adds many members at once, of which `first` and `count` are known before. Returns how many are new.
    pub fn add_all<'m>(&mut self, first: &[u8], count: usize, members: impl Iterator<Item = &'m [u8]>) -> usize {
        self.expect(first, count);
        let mut added = 0;
        let mut members = members.peekable();
        // The integers in front are brought into order and merged, instead of moving the later ones for each.
        if count >= MERGE_FROM && self.form() == Form::Ints {
            let mut values = Vec::with_capacity(count.min(self.ints_max()));
            while let Some(value) = members.peek().and_then(|member| as_int(member)) {
                values.push(value);
                members.next();
            }
            values.sort_unstable();
            let before = self.len();
            let bytes = intset::union(self.place.bytes(), &values);
            added = IntSet::of(&bytes).len() - before;
            let old_len = self.place.bytes().len();
            self.place.splice(0, old_len, &[&bytes]);
            if before + added > self.ints_max() {
                self.make_big();
            }
        }
        while self.form() != Form::Big {
            let Some(member) = members.next() else { return added };
            added += usize::from(self.add(member));
        }
        added + self.place.big().map_or(0, |mut set| set.add_each(members))
    }

    /// Removes many members at once. Returns how many were there.
    pub fn remove_all<'m>(&mut self, members: impl Iterator<Item = &'m [u8]>) -> usize {
        match self.form() {
            Form::Big => self.place.big().map_or(0, |mut set| set.remove_each(members)),
            Form::Packed | Form::Ints => members.filter(|member| self.remove(member)).count(),
        }
    }

    /// Removes a member. Says whether it was there.
    #[inline]
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match self.form() {
            Form::Big => self.place.big().is_some_and(|mut set| set.remove(member)),
            Form::Packed => match Packed::new(self.place.bytes()).find(member, 1) {
                Some(found) => {
                    packed::remove(self.place, found.start..found.end, 1);
                    true
                }
                None => false,
            },
            Form::Ints => {
                let edit = as_int(member).and_then(|value| intset::remove(self.place.bytes(), value));
                if let Some(edit) = &edit {
                    self.place.splice(edit.at, edit.removed, &[edit.inserted()]);
                }
                edit.is_some()
            }
        }
    }

    /// Makes it big, whatever it is.
    pub fn make_big(&mut self) {
        if self.form() == Form::Big {
            return;
        }
        let set = self.as_ref();
        let members: Vec<Member<'_>> = set.iter().collect();
        let big = Set::of_distinct(self.place.hasher().clone(), members.into_iter());
        self.put_small(SetForm::Big(Box::new(big)));
    }

    /// Puts a form in the place of a small one, which owns nothing.
    fn put_small(&mut self, form: SetForm) {
        let freed = self.place.put(form);
        debug_assert!(matches!(freed, Freed::Nothing), "a small form owns nothing");
    }

    #[inline]
    fn form(&self) -> Form {
        match self.as_ref() {
            SetRef::Ints(_) => Form::Ints,
            SetRef::Packed(_) => Form::Packed,
            SetRef::Big(_) => Form::Big,
        }
    }

    fn ints_max(&self) -> usize {
        self.limits.ints_max.min(INTS_MAX)
    }

    fn add_int(&mut self, value: i64) -> bool {
        let Some(edit) = intset::insert(self.place.bytes(), value) else { return false };
        self.place.splice(edit.at, edit.removed, &[edit.inserted()]);
        if self.len() > self.ints_max() {
            self.make_big();
        }
        true
    }

    /// Adds an absent member to a packed set, which becomes big if it has no place for it.
    fn push(&mut self, member: &[u8]) {
        let (limits, bytes) = (self.limits, self.place.bytes());
        let fits = Packed::new(bytes).len() < limits.packed_max
            && member.len() <= limits.packed_len_max
            && bytes.len() + member.len() <= PACKED_BYTES_MAX;
        if fits {
            packed::push(self.place, &[Encoded::new(member)]);
        } else {
            self.make_big();
            self.add_absent(member);
        }
    }

    /// Makes a set of integers one that can take a member of another kind, `len` bytes long.
    fn leave_ints(&mut self, len: usize) {
        let SetRef::Ints(ints) = self.as_ref() else { return };
        let limits = self.limits;
        let longest = [ints.first(), ints.last()].into_iter().flatten().map(text_len).max().unwrap_or(0);
        let fits = ints.len() < limits.packed_max && longest.max(len) <= limits.packed_len_max;
        if !fits {
            return self.make_big();
        }
        let mut packed = packed::Builder::with_capacity(self.place.bytes().len());
        for value in ints.iter() {
            packed.push(&Encoded::int(value));
        }
        self.put_small(SetForm::Packed(packed.finish()));
    }
}

/// Adding so many at once is worth sorting them.
const MERGE_FROM: usize = 8;

fn text_len(value: i64) -> usize {
    decimal_len(value.unsigned_abs()) + usize::from(value < 0)
}
