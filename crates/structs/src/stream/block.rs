//! A block: some dozens of entries that follow each other, in as few bytes as they need.
//!
//! Entries of a stream mostly have the same fields, and ids that grow by little. So the fields of the first entry are
//! stored once for the block, and an entry says only what differs:
//!
//! ```text
//!  | number of fields | length, field | length, field | ...            of the first entry
//!  | head | [length] | [id] | value | value | ...                      an entry with the same fields
//!  | head | [length] | [id] | number | length, field, value | ...      an entry with others
//!
//!  head   d o ii llll
//!         │ │ │  └ bytes behind the head, 15: a length of its own follows
//!         │ │ └ the id: 0 one above the entry before   1 same ms; difference of seq   2 difference of ms; seq 0
//!         │ │           3 difference of ms; seq
//!         │ └ other fields than the first entry's
//!         └ deleted
//! ```
//!
//! Numbers are in base 128, lowest digits first, the top bit saying that more follows. Values are elements as
//! [`crate::packed`] has them: integers as integers. Three sensor readings in a row take ten bytes, ids included.
//!
//! An entry is deleted by its bit; its bytes stay until the block goes, since the ids behind it count from it.
//!
//! What must stay true: the first entry's id is `first`, the last one's (deleted or not) is `last`; `live` counts entries
//! without the bit, `total` all; `listpack_bytes` is what Redis's listpack of the same entries would take, because
//! `stream-node-max-bytes` is measured in it. A reader takes any bytes: where they stop making sense, the block ends.

use super::StreamId;
use super::log::{Entry, Value};
use super::runs::Item;
use crate::frozen::weight;
use crate::packed::{Element, Encoded, backlen_bytes};

const DELETED: u8 = 0x80;
const OTHER_FIELDS: u8 = 0x40;
const ID_SHIFT: u32 = 4;
const ID_NEXT: u8 = 0;
const ID_SEQ: u8 = 1;
const ID_MS: u8 = 2;
const ID_BOTH: u8 = 3;
const LENGTH_MASK: u8 = 0x0F;
const LENGTH_FOLLOWS: u8 = 15;

/// Room that is kept for the next block.
const ROOM_BYTES_MAX: usize = 1 << 16;

/// Longest number: 64 bits in digits of 7.
const NUMBER_BYTES_MAX: usize = 10;

/// Entries that follow each other.
#[derive(Clone, Debug)]
pub(super) struct Block {
    first: StreamId,
    last: StreamId,
    bytes: Vec<u8>,
    entries_start: u32,
    /// Where the last entry is.
    last_at: u32,
    live: u32,
    total: u32,
    /// Without the counts of live and deleted entries, whose length varies: see [`Block::listpack_bytes`].
    listpack_body: u32,
}

impl Item for Block {
    const IS_LARGE: bool = true;

    #[inline]
    fn id(&self) -> StreamId {
        self.first
    }

    fn owned_bytes(&self) -> usize {
        self.memory_bytes()
    }

    fn weight(&self) -> usize {
        (self.total as usize).max(weight(self.bytes.len()))
    }
}

/// An entry in its bytes: where its head is, and what follows the id.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raw<'a> {
    pub(super) at: usize,
    pub(super) id: StreamId,
    head: u8,
    pairs: &'a [u8],
}

impl Raw<'_> {
    #[inline]
    pub(super) fn is_deleted(&self) -> bool {
        self.head & DELETED != 0
    }
}

impl Block {
    /// A block of one entry, `id` with these pairs. It takes over `room`, which is empty.
    pub(super) fn new<'p>(
        id: StreamId,
        pairs: impl Iterator<Item = (&'p [u8], &'p [u8])> + Clone,
        room: Vec<u8>,
    ) -> Block {
        let (count, payload) = pairs.clone().fold((0_usize, 0_usize), |(count, payload), (field, value)| {
            (count + 1, payload + field.len() + value.len())
        });
        let mut bytes = room;
        bytes.reserve_exact(payload + 4 + count * 3);
        write_number(&mut bytes, count as u64);
        // Counts of live and deleted entries are left out; the number of fields, the fields and the mark of their end.
        let mut listpack_body = LISTPACK_FRAME_BYTES + listpack_int(count as i64) + listpack_int(0);
        for (field, _) in pairs.clone() {
            write_number(&mut bytes, field.len() as u64);
            bytes.extend_from_slice(field);
            listpack_body += listpack_element(&Encoded::new(field));
        }
        let mut block = Block {
            first: id,
            last: StreamId { ms: id.ms, seq: id.seq.wrapping_sub(1) },
            entries_start: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            last_at: 0,
            bytes,
            live: 0,
            total: 0,
            listpack_body: saturated(listpack_body),
        };
        block.push(id, pairs);
        block
    }

    #[inline]
    pub(super) fn first(&self) -> StreamId {
        self.first
    }

    #[inline]
    pub(super) fn last(&self) -> StreamId {
        self.last
    }

    /// Entries that are not deleted.
    #[inline]
    pub(super) fn live(&self) -> u32 {
        self.live
    }

    /// All entries.
    #[inline]
    pub(super) fn total(&self) -> u32 {
        self.total
    }

    /// Bytes that are allocated.
    #[inline]
    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// What Redis's listpack of the same entries takes.
    #[inline]
    pub(super) fn listpack_bytes(&self) -> u64 {
        let counts = listpack_int(i64::from(self.live)) + listpack_int(i64::from(self.total - self.live));
        u64::from(self.listpack_body) + counts as u64
    }

    /// Makes the block exact in size, and returns the room that it had, for the next block to grow in.
    ///
    /// A copy, since allocators tend to leave a block that shrinks where and as large as it is.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        let exact = self.bytes.as_slice().to_vec();
        let mut room = std::mem::replace(&mut self.bytes, exact);
        room.clear();
        if room.capacity() > ROOM_BYTES_MAX { Vec::new() } else { room }
    }

    /// Appends an entry; `id` is above the last one.
    pub(super) fn push<'p>(&mut self, id: StreamId, pairs: impl Iterator<Item = (&'p [u8], &'p [u8])> + Clone) {
        let same_fields = self.has_fields(pairs.clone().map(|(field, _)| field));
        let mut id_bytes = [0; 2 * NUMBER_BYTES_MAX];
        let (id_mode, id_len) = self.id_difference(id, &mut id_bytes);

        // What the entry takes at most decides where its bytes begin, so that they need not be moved afterwards.
        let mut count = 0_usize;
        let most = pairs.clone().fold(id_len, |most, (field, value)| {
            count += 1;
            let field_bytes = if same_fields { 0 } else { field.len() + number_bytes(field.len() as u64) };
            most + field_bytes + value.len() + if value.len() < 64 { 1 } else { 5 }
        }) + if same_fields { 0 } else { number_bytes(count as u64) };
        let length_bytes = if most < usize::from(LENGTH_FOLLOWS) { 0 } else { number_bytes(most as u64) };

        let at = self.bytes.len();
        self.bytes.reserve(1 + length_bytes + most);
        self.bytes.push(0);
        self.bytes.resize(at + 1 + length_bytes, 0);
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&id_bytes[..id_len]);
        // Flags, both differences of the id, and the number of elements that Redis needs to walk backwards.
        let mut listpack = listpack_int(0)
            + listpack_int(id.ms.wrapping_sub(self.first.ms) as i64)
            + listpack_int(id.seq.wrapping_sub(self.first.seq) as i64);
        if same_fields {
            listpack += listpack_int(count as i64 + 3);
        } else {
            write_number(&mut self.bytes, count as u64);
            listpack += listpack_int(count as i64 * 2 + 4) + listpack_int(count as i64);
        }
        for (field, value) in pairs {
            if !same_fields {
                write_number(&mut self.bytes, field.len() as u64);
                self.bytes.extend_from_slice(field);
                listpack += listpack_element(&Encoded::new(field));
            }
            let value = Encoded::new(value);
            value.write(&mut self.bytes);
            listpack += listpack_element(&value);
        }
        let len = self.bytes.len() - start;
        let mut length = LENGTH_FOLLOWS;
        if len < usize::from(LENGTH_FOLLOWS) {
            length = len as u8;
            self.bytes.copy_within(start.., at + 1);
            self.bytes.truncate(at + 1 + len);
        } else {
            write_number_padded(&mut self.bytes[at + 1..start], len as u64);
        }
        self.bytes[at] = (if same_fields { 0 } else { OTHER_FIELDS }) | id_mode << ID_SHIFT | length;
        self.last = id;
        self.last_at = u32::try_from(at).unwrap_or(u32::MAX);
        self.live += 1;
        self.total += 1;
        self.listpack_body = self.listpack_body.saturating_add(saturated(listpack));
    }

    /// All entries in order, deleted ones too.
    #[inline]
    pub(super) fn walk(&self) -> Walk<'_> {
        let entries_start = self.entries_start as usize;
        Walk {
            bytes: &self.bytes,
            at: entries_start,
            id: StreamId { ms: self.first.ms, seq: self.first.seq.wrapping_sub(1) },
            fields: self.bytes.get(..entries_start).unwrap_or_default(),
        }
    }

    /// The last entry that is not deleted. O(1), unless entries at the end were deleted.
    pub(super) fn last_entry(&self) -> Option<Entry<'_>> {
        let walk = self.walk();
        self.very_last_entry()
            .or_else(|| walk.clone().filter(|raw| !raw.is_deleted()).last().map(|raw| walk.entry(raw)))
    }

    /// The entry with the id [`Block::last`], unless it was deleted. O(1).
    #[inline]
    pub(super) fn very_last_entry(&self) -> Option<Entry<'_>> {
        let walk = self.walk();
        // The id comes out wrong where it counts from the entry before, but it is known.
        let raw = Walk { at: self.last_at as usize, ..walk.clone() }.next()?;
        (!raw.is_deleted()).then(|| walk.entry(Raw { id: self.last, ..raw }))
    }

    /// Where the entry `id` is, deleted or not.
    pub(super) fn find(&self, id: StreamId) -> Option<Raw<'_>> {
        let mut walk = self.walk();
        walk.by_ref().find(|raw| raw.id >= id).filter(|raw| raw.id == id)
    }

    /// Deletes the entry whose head is at `at`, if it is not yet.
    pub(super) fn delete(&mut self, at: usize) -> bool {
        match self.bytes.get_mut(at) {
            Some(head) if *head & DELETED == 0 => {
                *head |= DELETED;
                self.live -= 1;
                true
            }
            _ => false,
        }
    }

    /// Whether the block's fields are these, in this order.
    #[inline]
    fn has_fields<'p>(&self, fields: impl Iterator<Item = &'p [u8]>) -> bool {
        let mut own = &self.bytes[..self.entries_start as usize];
        let Some(mut left) = take_number(&mut own) else { return false };
        for field in fields {
            if left == 0 || take_bytes(&mut own) != Some(field) {
                return false;
            }
            left -= 1;
        }
        left == 0
    }

    /// How `id` differs from the last one: the mode, and the bytes that follow the head.
    #[inline]
    fn id_difference(&self, id: StreamId, bytes: &mut [u8; 2 * NUMBER_BYTES_MAX]) -> (u8, usize) {
        let ms = id.ms.wrapping_sub(self.last.ms);
        if ms == 0 {
            let seq = id.seq.wrapping_sub(self.last.seq);
            return if seq == 1 { (ID_NEXT, 0) } else { (ID_SEQ, put_number(bytes, 0, seq)) };
        }
        let len = put_number(bytes, 0, ms);
        if id.seq == 0 { (ID_MS, len) } else { (ID_BOTH, put_number(bytes, len, id.seq)) }
    }
}

/// Entries of a block in order.
#[derive(Clone, Debug)]
pub(super) struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    id: StreamId,
    fields: &'a [u8],
}

impl<'a> Walk<'a> {
    /// No entries.
    pub(super) fn nothing() -> Walk<'a> {
        Walk { bytes: &[], at: 0, id: StreamId::MIN, fields: &[] }
    }

    /// The entry with its fields and values.
    #[inline]
    pub(super) fn entry(&self, raw: Raw<'a>) -> Entry<'a> {
        let (mut fields, mut pairs) = (self.fields, raw.pairs);
        let same_fields = raw.head & OTHER_FIELDS == 0;
        let left = take_number(if same_fields { &mut fields } else { &mut pairs }).unwrap_or(0);
        Entry { id: raw.id, pairs: Pairs { fields, values: pairs, same_fields, left: left as usize } }
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Raw<'a>;

    #[inline]
    fn next(&mut self) -> Option<Raw<'a>> {
        let at = self.at;
        let (&head, mut rest) = self.bytes.get(at..)?.split_first()?;
        let len = match head & LENGTH_MASK {
            LENGTH_FOLLOWS => usize::try_from(take_number(&mut rest)?).ok()?,
            len => usize::from(len),
        };
        let mut pairs = rest.get(..len)?;
        self.at = self.bytes.len() - rest.len() + len;
        match head >> ID_SHIFT & 3 {
            ID_NEXT => self.id.seq = self.id.seq.wrapping_add(1),
            ID_SEQ => self.id.seq = self.id.seq.wrapping_add(take_number(&mut pairs)?),
            mode => {
                self.id.ms = self.id.ms.wrapping_add(take_number(&mut pairs)?);
                self.id.seq = if mode == ID_MS { 0 } else { take_number(&mut pairs)? };
            }
        }
        Some(Raw { at, id: self.id, head, pairs })
    }
}

/// The fields and values of an entry, in the order in which they were added. Its length is the number of pairs.
#[derive(Clone, Copy, Debug)]
pub struct Pairs<'a> {
    fields: &'a [u8],
    values: &'a [u8],
    same_fields: bool,
    left: usize,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], Value<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let field = take_bytes(if self.same_fields { &mut self.fields } else { &mut self.values })?;
        let (element, len) = Element::decode(self.values)?;
        self.values = self.values.get(len..)?;
        Some((
            field,
            match element {
                Element::Int(number) => Value::Int(number),
                Element::Bytes(bytes) => Value::Bytes(bytes),
            },
        ))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Pairs<'_> {}

/// Header and end mark of a listpack.
const LISTPACK_FRAME_BYTES: usize = 7;

fn listpack_element(element: &Encoded<'_>) -> usize {
    element.len() + backlen_bytes(element.len())
}

#[inline]
fn listpack_int(value: i64) -> usize {
    if (0..128).contains(&value) { 2 } else { listpack_element(&Encoded::int(value)) }
}

fn saturated(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[inline]
fn number_bytes(value: u64) -> usize {
    (value | 1).ilog2() as usize / 7 + 1
}

#[inline]
fn write_number(to: &mut Vec<u8>, value: u64) {
    let mut bytes = [0; 2 * NUMBER_BYTES_MAX];
    let len = put_number(&mut bytes, 0, value);
    to.extend_from_slice(&bytes[..len]);
}

/// Writes a number at `at` and returns where it ends.
#[inline]
fn put_number(bytes: &mut [u8; 2 * NUMBER_BYTES_MAX], at: usize, value: u64) -> usize {
    let end = at + number_bytes(value);
    write_number_padded(&mut bytes[at..end], value);
    end
}

/// Writes a number that fills `to`, with zeros on top where it is shorter.
#[inline]
fn write_number_padded(to: &mut [u8], mut value: u64) {
    let last = to.len() - 1;
    for (index, byte) in to.iter_mut().enumerate() {
        *byte = (value & 0x7F) as u8 | if index < last { 0x80 } else { 0 };
        value >>= 7;
    }
}

/// Reads a number off the front.
#[inline]
fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let (&first, mut rest) = bytes.split_first()?;
    let mut value = u64::from(first & 0x7F);
    let mut byte = first;
    let mut shift = 7;
    while byte & 0x80 != 0 {
        (byte, rest) = rest.split_first().map(|(byte, rest)| (*byte, rest))?;
        if shift >= 64 {
            return None;
        }
        value |= u64::from(byte & 0x7F) << shift;
        shift += 7;
    }
    *bytes = rest;
    Some(value)
}

/// Reads a length and that many bytes off the front.
#[inline]
fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(take_number(bytes)?).ok()?;
    let (taken, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rng;

    type Texts = Vec<(Vec<u8>, Vec<u8>)>;

    fn pairs<'p>(list: &'p [(&'p [u8], &'p [u8])]) -> impl Iterator<Item = (&'p [u8], &'p [u8])> + Clone {
        list.iter().copied()
    }

    fn texts(entry: &Entry<'_>) -> Texts {
        let list: Vec<_> =
            entry.pairs().map(|(field, value)| (field.to_vec(), value.with_text(<[u8]>::to_vec))).collect();
        assert_eq!(list.len(), entry.pairs().len());
        list
    }

    #[test]
    fn numbers_come_back_padded_or_not() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut bytes = Vec::new();
            write_number(&mut bytes, value);
            assert_eq!(bytes.len(), number_bytes(value));
            assert_eq!(take_number(&mut &bytes[..]), Some(value));
            assert_eq!(take_number(&mut &bytes[..bytes.len() - 1]), None);
            let mut padded = [0; NUMBER_BYTES_MAX];
            write_number_padded(&mut padded, value);
            assert_eq!(take_number(&mut &padded[..]), Some(value));
        }
        assert_eq!(take_number(&mut &[0x80; 20][..]), None);
    }

    #[test]
    fn entries_come_back_whatever_their_ids_fields_and_lengths() {
        let mut rng = Rng::new(5);
        for _ in 0..300 {
            let mut id = StreamId::new(rng.next() >> rng.below(64), rng.next() >> rng.below(64));
            let mut expected: Vec<(StreamId, Texts)> = Vec::new();
            let mut block: Option<Block> = None;
            for _ in 0..1 + rng.below(40) {
                let list: Texts = (0..1 + rng.below(3))
                    .map(|field| {
                        let value = match rng.below(4) {
                            0 => vec![b'x'; rng.below(200)],
                            1 => format!("{}", (rng.next() as i64) >> rng.below(64)).into_bytes(),
                            2 => format!("{}", rng.below(1_000)).into_bytes(),
                            _ => vec![rng.next() as u8; rng.below(12)],
                        };
                        (format!("field{}", if rng.below(9) == 0 { 7 } else { field }).into_bytes(), value)
                    })
                    .collect();
                let given = list.iter().map(|(field, value)| (&field[..], &value[..]));
                match &mut block {
                    Some(block) => block.push(id, given),
                    None => block = Some(Block::new(id, given, Vec::new())),
                }
                expected.push((id, list));
                let above = match rng.below(4) {
                    0 => id.next(),
                    1 => id.seq.checked_add(1 + (rng.next() >> rng.below(64) >> 1)).map(|seq| StreamId { seq, ..id }),
                    2 => id.ms.checked_add(1 + (rng.next() >> rng.below(64) >> 1)).map(|ms| StreamId::new(ms, 0)),
                    _ => id.ms.checked_add(1).map(|ms| StreamId::new(ms, rng.next())),
                };
                let Some(above) = above else { break };
                id = above;
            }
            let block = block.unwrap();
            let walk = block.walk();
            let found: Vec<_> = block.walk().map(|raw| (raw.id, texts(&walk.entry(raw)))).collect();
            assert_eq!(found, expected);
            assert_eq!((block.first(), block.last()), (expected[0].0, expected[expected.len() - 1].0));
            assert_eq!(block.last_entry().map(|entry| (entry.id, texts(&entry))).as_ref(), expected.last());
            for (id, _) in &expected {
                assert_eq!(block.find(*id).map(|raw| raw.id), Some(*id));
            }
            assert_eq!(block.total() as usize, expected.len());
        }
    }

    #[test]
    fn readings_with_the_same_fields_take_a_few_bytes_each() {
        let fields: [&[u8]; 2] = [b"sensor", b"temp"];
        let mut block = Block::new(
            StreamId::new(1_700_000_000_000, 0),
            pairs(&[(fields[0], b"1"), (fields[1], b"20")]),
            Vec::new(),
        );
        for seq in 1..100 {
            let (sensor, temperature) = (format!("{seq}"), format!("{}", seq * 10));
            let list = [(fields[0], sensor.as_bytes()), (fields[1], temperature.as_bytes())];
            block.push(StreamId::new(1_700_000_000_000, seq), pairs(&list));
        }
        block.finish();
        assert!(block.memory_bytes() < 420, "{}", block.memory_bytes());
    }

    #[test]
    fn torn_bytes_end_the_walk_without_harm() {
        let mut block = Block::new(StreamId::new(5, 5), pairs(&[(b"field", b"value")]), Vec::new());
        block.push(StreamId::new(9, 9), pairs(&[(b"other", &[b'x'; 300]), (b"field", b"17")]));
        let whole = block.bytes.clone();
        let mut rng = Rng::new(3);
        for _ in 0..20_000 {
            block.bytes.clone_from(&whole);
            block.bytes.truncate(rng.below(whole.len() + 1).max(block.entries_start as usize));
            for _ in 0..rng.below(4) {
                let at = rng.below(block.bytes.len());
                block.bytes[at] = rng.next() as u8;
            }
            let walk = block.walk();
            for raw in block.walk() {
                for (field, value) in walk.entry(raw).pairs() {
                    assert!(field.len() + value.with_text(<[u8]>::len) <= whole.len() + 20);
                }
            }
            let _ = block.find(StreamId::new(9, 9));
        }
    }
}
