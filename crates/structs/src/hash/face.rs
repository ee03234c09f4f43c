//! A hash as commands see it, whichever form it has.
//!
//! Fields and values are given out as [`Element`]s: borrowed bytes, or the integer that a packed hash has in their place.
//! Everything takes the time, because a field whose deadline has passed does not exist; a packed hash has no such fields.

use std::borrow::Borrow;
use std::ops::Range;

use super::deadlines::deadline_of;
use super::table::{FieldDeadline, Hash, SetField};
use crate::entry::EntryRef;
use crate::keyspace::EntryMut;
use crate::members::MemberRef;
use crate::packed::{self, Element, Encoded, Packed};
use crate::value::{Big, PackedKind, ValueRef};

/// Fields of one look-up whose memory is requested together.
const WINDOW: usize = 16;
/// A packed hash of more bytes becomes a table whatever the limits say: every change may move all of it.
const PACKED_BYTES_MAX: usize = 1 << 30;

/// Until where a hash stays packed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HashLimits {
    /// Most fields.
    pub fields: usize,
    /// Most bytes in a field or a value.
    pub value_bytes: usize,
}

/// A hash that is being read.
#[derive(Clone, Copy, Debug)]
pub enum HashRef<'a> {
    /// Fields and values in turn.
    Packed(Packed<'a>),
    /// A table.
    Table(&'a Hash),
}

impl<'a> HashRef<'a> {
    /// The hash of an entry; `None` if it holds something else.
    #[inline]
    pub fn of(entry: EntryRef<'a>) -> Option<HashRef<'a>> {
        match entry.value() {
            ValueRef::Packed(PackedKind::Hash, bytes) => Some(HashRef::Packed(Packed::new(bytes))),
            ValueRef::Hash(hash) => Some(HashRef::Table(hash)),
            _ => None,
        }
    }

    /// Number of fields, those included that have expired and that nobody has taken out yet.
    #[inline]
    pub fn len(self) -> usize {
        match self {
            HashRef::Packed(packed) => packed.len() / 2,
            HashRef::Table(hash) => hash.len(),
        }
    }

    /// Bytes that the fields and what leads to them take, roughly. O(1).
    pub fn memory_bytes(self) -> usize {
        match self {
            HashRef::Packed(packed) => packed.as_bytes().len(),
            HashRef::Table(hash) => hash.memory_bytes(),
        }
    }

    /// Whether there is no field.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Number of fields that [`HashRef::for_each`] gives.
    #[inline]
    pub fn live_len(self, now_ms: i64) -> usize {
        match self {
            HashRef::Packed(_) => self.len(),
            HashRef::Table(hash) => hash.len() - hash.due(now_ms),
        }
    }

    /// The value of a field.
    #[inline]
    pub fn get(self, field: &[u8], now_ms: i64) -> Option<Element<'a>> {
        match self {
            HashRef::Packed(packed) => Some(packed.at(packed.find(field, 2)?.end)?.element),
            HashRef::Table(hash) => Some(Element::Bytes(hash.get(hash.position(field), field, now_ms)?.value())),
        }
    }

    /// Gives the values of fields to `visit`, in their order, `None` for those that are not there.
    pub fn get_each<'f>(
        self,
        fields: impl Iterator<Item = &'f [u8]>,
        now_ms: i64,
        mut visit: impl FnMut(Option<Element<'a>>),
    ) {
        match self {
            HashRef::Packed(_) => fields.for_each(|field| visit(self.get(field, now_ms))),
            HashRef::Table(hash) => for_windows(hash, &mut { fields }, |hash, position, field| {
                visit(hash.get(position, field, now_ms).map(|member| Element::Bytes(member.value())));
            }),
        }
    }

    /// The deadline of a field in unix ms, `None` inside if it has none; `None` outside if there is no such field.
    #[inline]
    pub fn deadline(self, field: &[u8], now_ms: i64) -> Option<Option<i64>> {
        match self {
            HashRef::Packed(packed) => packed.find(field, 2).map(|_| None),
            HashRef::Table(hash) => hash.get(hash.position(field), field, now_ms).map(deadline_of),
        }
    }

    /// Gives all fields with their values to `visit`.
    pub fn for_each(self, now_ms: i64, mut visit: impl FnMut(Element<'a>, Element<'a>)) {
        match self {
            HashRef::Packed(packed) => packed.pairs().for_each(|(field, value)| visit(field.element, value.element)),
            HashRef::Table(hash) => hash.for_each(now_ms, |member| {
                let (field, value) = elements(member);
                visit(field, value);
            }),
        }
    }

    /// One step of a walk, as [`Hash::scan`]; a packed hash is given at once.
    pub fn scan(self, cursor: u64, now_ms: i64, visit: &mut dyn FnMut(Element<'_>, Element<'_>)) -> u64 {
        match self {
            HashRef::Packed(_) => {
                self.for_each(now_ms, visit);
                0
            }
            HashRef::Table(hash) => hash.scan(cursor, now_ms, &mut |member| {
                let (field, value) = elements(member);
                visit(field, value);
            }),
        }
    }
}

#[inline]
pub(super) fn elements(member: MemberRef<'_>) -> (Element<'_>, Element<'_>) {
    let (field, value) = member.key_and_value();
    (Element::Bytes(field), Element::Bytes(value))
}

/// Where a field and its value are in a packed hash.
struct Place {
    start: usize,
    value: Range<usize>,
}

#[inline]
fn place(packed: Packed<'_>, field: &[u8]) -> Option<Place> {
    let found = packed.find(field, 2)?;
    Some(Place { start: found.start, value: found.end..packed.skip(found.end)? })
}

/// A hash that is being changed. It may be empty, as a new one is; whoever leaves it so removes the key.
pub struct HashMut<'e, 'k> {
    entry: &'e mut EntryMut<'k>,
    limits: HashLimits,
}

impl<'e, 'k> HashMut<'e, 'k> {
    /// The hash of an entry; `None` if it holds something else.
    #[inline]
    pub fn of(entry: &'e mut EntryMut<'k>, limits: HashLimits) -> Option<HashMut<'e, 'k>> {
        HashRef::of(entry.as_ref())?;
        Some(HashMut { entry, limits })
    }

    /// To read it.
    #[inline]
    pub fn as_ref(&self) -> HashRef<'_> {
        HashRef::of(self.entry.as_ref()).expect("an entry that holds a hash goes on holding one")
    }

    /// Sets a field. A packed hash that would pass its limits, or is given a deadline, becomes a table first.
    pub fn set(&mut self, field: &[u8], value: &[u8], deadline: FieldDeadline, now_ms: i64) -> SetField {
        if let HashRef::Packed(packed) = self.as_ref() {
            let fits = self.limits.allow(field, value) && !matches!(deadline, FieldDeadline::At(_));
            match place(packed, field) {
                Some(place) if fits => {
                    packed::replace(self.entry, place.value, 1, &[Encoded::new(value)]);
                    return SetField::Replaced;
                }
                None if fits && self.limits.have_room(packed, 0, field.len() + value.len()) => {
                    packed::push(self.entry, &[Encoded::new(field), Encoded::new(value)]);
                    return SetField::New;
                }
                _ => self.become_table(),
            }
        }
        self.table(|hash| hash.set(hash.position(field), field, value, deadline, now_ms))
    }

    /// Sets `count` fields, without deadlines, and calls `revived` for each that had expired. Of the same field twice the
    /// last value counts. Returns how many are new.
    pub fn set_each<'f>(
        &mut self,
        mut pairs: impl Iterator<Item = (&'f [u8], &'f [u8])>,
        count: usize,
        now_ms: i64,
        mut revived: impl FnMut(),
    ) -> usize {
        let mut new = 0;
        if let HashRef::Packed(_) = self.as_ref() {
            if count <= self.limits.fields {
                new += self.set_each_packed(&mut pairs, count, now_ms);
            } else {
                self.become_table();
            }
        }
        let HashRef::Table(_) = self.as_ref() else { return new };
        let mut change = |hash: &mut Hash| {
            for_windows(hash, &mut pairs, |hash, position, (field, value)| {
                let done = hash.set(position, field, value, FieldDeadline::Clear, now_ms);
                new += usize::from(done.is_new());
                if done == SetField::Revived {
                    revived();
                }
            });
        };
        self.table(&mut change);
        new
    }

    /// Sets fields of a packed hash as long as it may stay packed; makes it a table at the first for which it may not, sets
    /// that one too, and leaves the rest. Returns how many are new.
    fn set_each_packed<'f>(
        &mut self,
        pairs: &mut impl Iterator<Item = (&'f [u8], &'f [u8])>,
        count: usize,
        now_ms: i64,
    ) -> usize {
        // New ones are gathered, so that the hash grows once and not by each.
        let mut added = Vec::new();
        let (mut new, mut too_much) = (0, None);
        for (field, value) in pairs {
            let HashRef::Packed(packed) = self.as_ref() else { break };
            if count == 1 || !self.limits.allow(field, value) {
                too_much = Some((field, value));
                break;
            }
            let gathered = Packed::new(&added);
            if let Some(place) = place(packed, field) {
                packed::replace(self.entry, place.value, 1, &[Encoded::new(value)]);
            } else if let Some(place) = place(gathered, field) {
                packed::replace(&mut added, place.value, 1, &[Encoded::new(value)]);
            } else if self.limits.have_room(packed, new, added.len() + field.len() + value.len()) {
                packed::push(&mut added, &[Encoded::new(field), Encoded::new(value)]);
                new += 1;
            } else {
                too_much = Some((field, value));
                break;
            }
        }
        packed::append(self.entry, Packed::new(&added));
        if let Some((field, value)) = too_much {
            new += usize::from(self.set(field, value, FieldDeadline::Clear, now_ms).is_new());
        }
        new
    }

    /// Sets or clears the deadline of a field that has not expired. Says whether there is such a field.
    pub fn set_deadline(&mut self, field: &[u8], deadline_ms: Option<i64>, now_ms: i64) -> bool {
        if let HashRef::Packed(packed) = self.as_ref() {
            let found = place(packed, field).is_some();
            if !found || deadline_ms.is_none() {
                return found;
            }
            self.become_table();
        }
        self.table(|hash| {
            let position = hash.position(field);
            hash.get(position, field, now_ms).is_some() && hash.set_deadline(position, field, deadline_ms)
        })
    }

    /// Removes a field that has not expired. Says whether there was one.
    pub fn remove(&mut self, field: &[u8], now_ms: i64) -> bool {
        if let HashRef::Packed(packed) = self.as_ref() {
            let Some(place) = place(packed, field) else { return false };
            packed::remove(self.entry, place.start..place.value.end, 2);
            return true;
        }
        self.table(|hash| {
            let position = hash.position(field);
            hash.get(position, field, now_ms).is_some() && hash.remove(position, field)
        })
    }

    fn become_table(&mut self) {
        let HashRef::Packed(packed) = self.as_ref() else { return };
        let hash = Hash::from_packed(packed, self.entry.hasher().clone());
        // A packed value owns nothing that would have to be freed.
        self.entry.set_value(Big::from(hash));
    }

    fn table<T>(&mut self, change: impl FnOnce(&mut Hash) -> T) -> T {
        change(&mut self.entry.hash_mut().expect("a hash that is not packed is a table"))
    }
}

/// What is looked up by a field's name.
trait Named {
    const NONE: Self;
    fn field(&self) -> &[u8];
}

impl Named for &[u8] {
    const NONE: Self = &[];
    fn field(&self) -> &[u8] {
        self
    }
}

impl Named for (&[u8], &[u8]) {
    const NONE: Self = (&[], &[]);
    fn field(&self) -> &[u8] {
        self.0
    }
}

/// Gives items to `visit` with the positions of their fields, in their order, memory for several of them requested ahead.
#[inline]
fn for_windows<T: Named + Copy, H: Borrow<Hash>>(
    mut hash: H,
    items: &mut impl Iterator<Item = T>,
    mut visit: impl FnMut(&mut H, u64, T),
) {
    let mut window = [(0, T::NONE); WINDOW];
    loop {
        let mut len = 0;
        for (place, item) in window.iter_mut().zip(&mut *items) {
            *place = (hash.borrow().position(item.field()), item);
            hash.borrow().prefetch_bucket(place.0);
            len += 1;
        }
        if len > 1 {
            window[..len].iter().for_each(|&(position, _)| hash.borrow().prefetch_member(position));
        }
        window[..len].iter().for_each(|&(position, item)| visit(&mut hash, position, item));
        if len < WINDOW {
            return;
        }
    }
}

impl HashLimits {
    /// Whether a field with its value may be packed.
    #[inline]
    fn allow(self, field: &[u8], value: &[u8]) -> bool {
        field.len() <= self.value_bytes && value.len() <= self.value_bytes
    }

    /// Whether one more field may be packed with those of `packed` and with `more` others, which with it have so many
    /// bytes.
    #[inline]
    fn have_room(self, packed: Packed<'_>, more: usize, bytes: usize) -> bool {
        packed.len() / 2 + more < self.fields && bytes + packed.as_bytes().len() <= PACKED_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::keyspace::{KeyHasher, Keyspace, NewValue};
    use crate::testing::Rng;

    type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>;

    const KEY: &[u8] = b"key";

    fn with_hash<T>(keys: &mut Keyspace, limits: HashLimits, act: impl FnOnce(&mut HashMut<'_, '_>) -> T) -> T {
        let position = keys.position(KEY);
        let (mut entry, _) = keys.get_or_insert(position, KEY, || (NewValue::Packed(PackedKind::Hash, &[]), 0));
        act(&mut HashMut::of(&mut entry, limits).expect("a hash"))
    }

    fn keyspace() -> Keyspace {
        Keyspace::new(KeyHasher::new(7))
    }

    fn is_packed(keys: &mut Keyspace, limits: HashLimits) -> bool {
        with_hash(keys, limits, |hash| matches!(hash.as_ref(), HashRef::Packed(_)))
    }

    /// Fields that are integers, short, and sometimes too long to be packed.
    fn some_field(rng: &mut Rng) -> Vec<u8> {
        match rng.below(3) {
            0 => rng.below(40).to_string().into_bytes(),
            1 => format!("field:{:06}", rng.below(40)).into_bytes(),
            _ => vec![b'f'; rng.below(15)],
        }
    }

    #[test]
    fn agrees_with_a_map_in_both_forms() {
        let mut rng = Rng::new(11);
        for round in 0..60 {
            let mut keys = keyspace();
            let limits = HashLimits { fields: rng.below(100), value_bytes: 13 + rng.below(50) };
            let (mut model, mut now_ms) = (Model::new(), 100);
            let deadlines = round % 3 == 0;
            for _ in 0..400 {
                let field = some_field(&mut rng);
                let value =
                    if rng.below(3) == 0 { rng.next().to_string().into_bytes() } else { vec![b'v'; rng.below(25)] };
                let at_ms = now_ms + rng.below(300) as i64 - 30;
                let is_live = |deadline: Option<i64>| deadline.is_none_or(|at_ms| at_ms > now_ms);
                let live = model.get(&field).filter(|(_, deadline)| is_live(*deadline)).cloned();
                with_hash(&mut keys, limits, |hash| match rng.below(10) {
                    0 | 1 => {
                        assert_eq!(hash.remove(&field, now_ms), live.is_some());
                        if live.is_some() {
                            model.remove(&field);
                        }
                    }
                    2 if deadlines => {
                        let new = (rng.below(3) > 0).then_some(at_ms);
                        assert_eq!(hash.set_deadline(&field, new, now_ms), live.is_some());
                        if live.is_some() {
                            model.get_mut(&field).expect("it is there").1 = new;
                        }
                    }
                    3 => {
                        let fields: Vec<_> = (0..rng.below(20)).map(|_| some_field(&mut rng)).collect();
                        let mut expected = 0;
                        for field in &fields {
                            let old = model.insert(field.clone(), (value.clone(), None));
                            expected += usize::from(old.is_none_or(|(_, deadline)| !is_live(deadline)));
                        }
                        let pairs = fields.iter().map(|field| (field.as_slice(), value.as_slice()));
                        assert_eq!(hash.set_each(pairs, fields.len(), now_ms, || {}), expected);
                    }
                    choice => {
                        let (deadline, new) = match choice {
                            4 if deadlines => (FieldDeadline::At(at_ms), Some(at_ms)),
                            5 => (FieldDeadline::Keep, live.as_ref().and_then(|(_, deadline)| *deadline)),
                            _ => (FieldDeadline::Clear, None),
                        };
                        assert_eq!(hash.set(&field, &value, deadline, now_ms).is_new(), live.is_none());
                        model.insert(field, (value, new));
                    }
                });
                now_ms += rng.below(20) as i64;
            }
            with_hash(&mut keys, limits, |hash| agrees(hash.as_ref(), &model, now_ms));
            keys.check();
        }
    }

    fn agrees(hash: HashRef<'_>, model: &Model, now_ms: i64) {
        assert_eq!(hash.len(), model.len());
        let live: BTreeMap<_, _> =
            model.iter().filter(|(_, (_, deadline))| deadline.is_none_or(|at_ms| at_ms > now_ms)).collect();
        assert_eq!(hash.live_len(now_ms), live.len());
        let mut seen = BTreeSet::new();
        hash.for_each(now_ms, |field, value| {
            assert_eq!(*value.text(), *live[&field.text().to_vec()].0);
            assert!(seen.insert(field.text().to_vec()));
        });
        assert_eq!(seen.len(), live.len());
        let mut scanned = BTreeSet::new();
        let mut cursor = 0;
        loop {
            cursor = hash.scan(cursor, now_ms, &mut |field, _| {
                scanned.insert(field.text().to_vec());
            });
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(scanned, seen);
        for (field, (value, deadline)) in model {
            let expected = live.contains_key(field);
            assert_eq!(hash.get(field, now_ms).map(|value| value.text().to_vec()), expected.then(|| value.clone()));
            assert_eq!(hash.deadline(field, now_ms), expected.then_some(*deadline));
        }
        let asked: Vec<&[u8]> = model.keys().map(Vec::as_slice).chain([&b"absent"[..]]).collect();
        let mut answers = Vec::new();
        hash.get_each(asked.iter().copied(), now_ms, |value| answers.push(value));
        assert_eq!(answers, asked.iter().map(|field| hash.get(field, now_ms)).collect::<Vec<_>>());
    }

    #[test]
    fn a_hash_stays_packed_up_to_its_limits_and_never_comes_back() {
        let limits = HashLimits { fields: 3, value_bytes: 4 };
        let set = |keys: &mut Keyspace, field: &[u8], value: &[u8]| {
            with_hash(keys, limits, |hash| hash.set(field, value, FieldDeadline::Clear, 0));
        };
        let mut keys = keyspace();
        for field in [b"a", b"b", b"c", b"a"] {
            set(&mut keys, field, b"1234");
            assert!(is_packed(&mut keys, limits));
        }
        set(&mut keys, b"d", b"");
        assert!(!is_packed(&mut keys, limits));
        for field in [b"a", b"b", b"c"] {
            with_hash(&mut keys, limits, |hash| hash.remove(field, 0));
        }
        assert!(!is_packed(&mut keys, limits));
        for (field, value) in [(&b"a"[..], &b"12345"[..]), (b"abcde", b"")] {
            let mut keys = keyspace();
            set(&mut keys, field, value);
            assert!(!is_packed(&mut keys, limits));
        }
        let mut keys = keyspace();
        set(&mut keys, b"a", b"1");
        assert!(!with_hash(&mut keys, limits, |hash| hash.set_deadline(b"b", Some(9), 0)));
        assert!(is_packed(&mut keys, limits));
        assert!(with_hash(&mut keys, limits, |hash| hash.set_deadline(b"a", Some(9), 0)));
        assert!(!is_packed(&mut keys, limits));
        let mut keys = keyspace();
        let four = [&b"a"[..]; 4].into_iter().map(|field| (field, field));
        with_hash(&mut keys, limits, |hash| assert_eq!(hash.set_each(four, 4, 0, || {}), 1));
        assert!(
            !is_packed(&mut keys, limits),
            "more pairs than fields are allowed are not looked at for repeated ones"
        );
    }
}
