//! Makes values of what is read.
//!
//! A value is made by itself, element by element, in the form that commands would give it within the same limits; when all of
//! it has been read it is taken out. So what is half read can be dropped without a trace. What is small goes into buffers that
//! are used for one value after the other.

use crate::error::Problem;
use crate::module::ModuleType;
use crate::value::{Collection, Id, StreamFigures, Visitor};
use std::collections::{BTreeMap, HashSet};
use weir_structs::hash::{FieldDeadline, Hash, HashLimits};
use weir_structs::keyspace::{KeyHasher, NewStr, NewValue, OwnedValue, TakenValue};
use weir_structs::list::{Limits as ListLimits, ListFill, ListForm};
use weir_structs::number::parse_i64;
use weir_structs::packed::{self, COUNT_BYTES, Element, Encoded, Packed};
use weir_structs::pieces::BigPieces;
use weir_structs::queue::ParcelPool;
use weir_structs::set::{OwnedSet, SetForm, SetLimits, SetMut};
use weir_structs::stream::{ConsumerPart, ConsumerSlot, IDMP_DURATION_S, IDMP_MESSAGES, NodeLimits, Stream, StreamId};
use weir_structs::value::{Big, PackedKind};
use weir_structs::zset::{ZsetFill, ZsetForm, ZsetLimits};

/// Until where values have their small forms.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of lists.
    pub list: ListLimits,
    /// Of sets.
    pub set: SetLimits,
    /// Of hashes.
    pub hash: HashLimits,
    /// Of sorted sets.
    pub zset: ZsetLimits,
    /// Of blocks of streams.
    pub stream: NodeLimits,
}

/// Makes one value after the other.
#[derive(Debug)]
pub struct Builder {
    hasher: KeyHasher,
    limits: Limits,
    now_ms: i64,
    left_out: bool,
    kind: Shape,
    /// Text of a string.
    text: Vec<u8>,
    hash: HashFill,
    set: OwnedSet,
    zset: ZsetFill,
    list: ListFill,
    stream: Option<Unfinished>,
    broker: Option<BigPieces>,
    /// What queues that were read have in common.
    parcels: ParcelPool,
    /// The small value that was taken last.
    taken: Vec<u8>,
}

/// What is being read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shape {
    Nothing,
    Str,
    Hash,
    Set,
    Zset,
    List,
    Stream,
    Broker,
}

/// A stream that is being read.
#[derive(Debug, Default)]
struct Unfinished {
    stream: Stream,
    group: Vec<u8>,
    consumer: Option<ConsumerSlot>,
    /// It is from before Redis 7, which did not know how many entries a group had read.
    is_old: bool,
    /// Pending entries of the group that no consumer has claimed yet: when they were delivered, and how often.
    pending: BTreeMap<StreamId, (u64, u64)>,
}

impl Builder {
    /// `hasher`: of the keyspace that the values will be in. Fields of hashes whose deadline is before `now_ms` (Unix
    /// milliseconds) are left out.
    pub fn new(hasher: KeyHasher, limits: Limits, now_ms: i64) -> Builder {
        Builder {
            limits,
            now_ms,
            left_out: false,
            kind: Shape::Nothing,
            text: Vec::new(),
            hash: HashFill::default(),
            set: OwnedSet::new(&hasher),
            zset: ZsetFill::new(limits.zset, hasher.clone()),
            list: ListFill::new(limits.list),
            stream: None,
            broker: None,
            parcels: ParcelPool::default(),
            taken: Vec::new(),
            hasher,
        }
    }

    /// Takes the value that was read. `None` if nothing is left of it: all its fields had expired. The bytes of a small value
    /// stay here until the next one is taken.
    ///
    /// # Errors
    /// A stream that does not fit together.
    pub fn take_new(&mut self) -> Result<Option<NewValue<'_>>, Problem> {
        Ok(match std::mem::replace(&mut self.kind, Shape::Nothing) {
            Shape::Nothing => None,
            Shape::Str => Some(NewValue::Str(parse_i64(&self.text).map_or(NewStr::Bytes(&self.text), NewStr::Int))),
            Shape::Hash => match self.hash.finish(&mut self.taken) {
                Some(hash) => Some(NewValue::Big(Big::Hash(hash))),
                None if self.taken.is_empty() => None,
                None => Some(NewValue::Packed(PackedKind::Hash, &self.taken)),
            },
            Shape::Set => match std::mem::replace(&mut self.set, OwnedSet::new(&self.hasher)).into_form() {
                SetForm::Big(set) => Some(NewValue::Big(Big::Set(set))),
                SetForm::Ints(bytes) => Some(self.small(PackedKind::SetInts, bytes)),
                SetForm::Packed(bytes) => Some(self.small(PackedKind::Set, bytes)),
            },
            Shape::Zset => match self.zset.finish().ok_or(Problem::BadCollection)? {
                ZsetForm::Big(zset) => Some(NewValue::Big(Big::Zset(zset))),
                ZsetForm::Packed(bytes) => Some(self.small(PackedKind::Zset, bytes)),
            },
            Shape::List => match self.list.finish() {
                ListForm::Big(list) => Some(NewValue::Big(Big::List(list))),
                ListForm::Packed(bytes) => Some(self.small(PackedKind::List, bytes)),
            },
            Shape::Stream => {
                let mut unfinished = self.stream.take().ok_or(Problem::BadStream)?;
                unfinished.end_group()?;
                Some(NewValue::Big(Big::from(unfinished.stream)))
            }
            Shape::Broker => {
                let big = self.broker.take().and_then(BigPieces::finish);
                Some(NewValue::Big(big.ok_or(Problem::BadCollection)?))
            }
        })
    }

    fn small(&mut self, kind: PackedKind, bytes: Vec<u8>) -> NewValue<'_> {
        self.taken = bytes;
        NewValue::Packed(kind, &self.taken)
    }

    /// The same as a value of its own.
    ///
    /// # Errors
    /// As before.
    pub fn take(&mut self) -> Result<Option<TakenValue>, Problem> {
        let value = self.take_new()?.map(|value| match value {
            NewValue::Str(NewStr::Int(value)) => OwnedValue::Int(value),
            NewValue::Str(NewStr::Blob(blob)) => OwnedValue::Blob(blob),
            NewValue::Str(NewStr::Bytes(bytes) | NewStr::Raw(bytes)) => OwnedValue::Bytes(bytes.to_vec()),
            NewValue::Packed(kind, bytes) => OwnedValue::Packed(kind, bytes.to_vec()),
            NewValue::Big(big) => OwnedValue::Big(big),
        });
        Ok(value.map(|value| TakenValue { value, expire_at: None, clock: 0 }))
    }

    /// Whether any field of a hash has been left out so far.
    pub fn has_left_out(&self) -> bool {
        self.left_out
    }

    /// Forgets what has been read of a value.
    pub fn clear(&mut self) {
        match std::mem::replace(&mut self.kind, Shape::Nothing) {
            Shape::Nothing => {}
            Shape::Str => self.text.clear(),
            Shape::Hash => self.hash.clear(),
            Shape::Set => self.set = OwnedSet::new(&self.hasher),
            Shape::Zset => self.zset.clear(),
            Shape::List => self.list.clear(),
            Shape::Stream => self.stream = None,
            Shape::Broker => self.broker = None,
        }
    }

    fn begin(&mut self, kind: Shape) {
        self.clear();
        self.kind = kind;
    }

    fn expect(&self, kind: Shape) -> Result<(), Problem> {
        if self.kind == kind { Ok(()) } else { Err(Problem::BadCollection) }
    }

    fn unfinished(&mut self) -> Result<&mut Unfinished, Problem> {
        self.stream.as_mut().ok_or(Problem::BadStream)
    }
}

/// Up to so many fields of a small hash are compared with each other; of more, hashes are kept.
const COMPARED_MAX: usize = 16;
/// Commands take numbers and times up to this one.
const NUMBER_MAX: u64 = i64::MAX.cast_unsigned();
/// Most bytes of a small hash.
const PACKED_BYTES_MAX: usize = 1 << 30;

/// A hash that is being filled.
#[derive(Debug, Default)]
struct HashFill {
    /// While it is small: room for the count, then fields and values.
    packed: Vec<u8>,
    count: usize,
    /// Hashes of the fields, where they are many for a small hash.
    seen: HashSet<u64>,
    big: Option<Box<Hash>>,
}

impl HashFill {
    fn clear(&mut self) {
        self.packed.clear();
        self.count = 0;
        self.seen.clear();
        self.big = None;
    }

    /// Adds a field. Says whether it is new; one that is not changes nothing that matters, for the hash is given up.
    fn add(&mut self, of: &Field<'_>, limits: HashLimits, hasher: &KeyHasher) -> bool {
        let Field { field, value, expire_at_ms, now_ms } = *of;
        if self.big.is_none() {
            let fits = self.count < limits.fields
                && field.len() <= limits.value_bytes
                && value.len() <= limits.value_bytes
                && self.packed.len() <= PACKED_BYTES_MAX
                && expire_at_ms.is_none();
            if fits {
                return self.add_small(field, value, hasher);
            }
            self.big = Some(Box::new(Hash::from_packed(Packed::new(&self.packed), hasher.clone())));
        }
        let Some(hash) = &mut self.big else { return false };
        let deadline = expire_at_ms.map_or(FieldDeadline::Clear, FieldDeadline::At);
        hash.set(hash.position(field), field, value, deadline, now_ms).is_new()
    }

    fn add_small(&mut self, field: &[u8], value: &[u8], hasher: &KeyHasher) -> bool {
        if self.packed.is_empty() {
            // Walked to be known until it is finished.
            self.packed.extend_from_slice(&packed::count_bytes(usize::MAX));
        }
        let there = Packed::new(&self.packed);
        if self.count == COMPARED_MAX {
            self.seen.extend(there.pairs().map(|(field, _)| hasher.position(&field.element.text())));
        }
        let may_be_there = self.count < COMPARED_MAX || !self.seen.insert(hasher.position(field));
        if may_be_there && there.find(field, 2).is_some() {
            return false;
        }
        Encoded::new(field).write(&mut self.packed);
        Encoded::new(value).write(&mut self.packed);
        self.count += 1;
        true
    }

    /// Puts a small hash into `to`, or gives a big one.
    fn finish(&mut self, to: &mut Vec<u8>) -> Option<Box<Hash>> {
        let big = self.big.take();
        to.clear();
        if big.is_none() && self.packed.len() > COUNT_BYTES {
            std::mem::swap(to, &mut self.packed);
            if let Some(count) = to.first_chunk_mut() {
                *count = packed::count_bytes(self.count * 2);
            }
        }
        self.clear();
        big
    }
}

/// A field with what belongs to it, when it is `now_ms`.
struct Field<'a> {
    field: &'a [u8],
    value: &'a [u8],
    expire_at_ms: Option<i64>,
    now_ms: i64,
}

fn id_of((ms, seq): Id) -> StreamId {
    StreamId::new(ms, seq)
}

fn if_new(is_new: bool) -> Result<(), Problem> {
    if is_new { Ok(()) } else { Err(Problem::BadCollection) }
}

impl Visitor for Builder {
    fn string(&mut self, value: &[u8]) -> Result<(), Problem> {
        self.begin(Shape::Str);
        self.text.clear();
        self.text.extend_from_slice(value);
        Ok(())
    }

    fn collection(&mut self, kind: Collection, expected: usize) -> Result<(), Problem> {
        self.begin(match kind {
            Collection::List => Shape::List,
            Collection::Set => Shape::Set,
            Collection::Zset => Shape::Zset,
            Collection::Hash => Shape::Hash,
        });
        if kind == Collection::Zset {
            self.zset.expect(expected);
        }
        Ok(())
    }

    fn element(&mut self, element: Element<'_>) -> Result<(), Problem> {
        if self.kind == Shape::List {
            self.list.push(element.into());
            return Ok(());
        }
        self.expect(Shape::Set)?;
        if_new(SetMut::new(&mut self.set, &self.limits.set).add(&element.text()))
    }

    fn scored(&mut self, member: Element<'_>, score: f64) -> Result<(), Problem> {
        self.expect(Shape::Zset)?;
        self.zset.add(&member.text(), score);
        Ok(())
    }

    fn field(&mut self, field: Element<'_>, value: Element<'_>, expire_at_ms: Option<i64>) -> Result<(), Problem> {
        self.expect(Shape::Hash)?;
        if expire_at_ms.is_some_and(|at| at <= self.now_ms) {
            self.left_out = true;
            return Ok(());
        }
        let (field, value) = (field.text(), value.text());
        let of = Field { field: &field, value: &value, expire_at_ms, now_ms: self.now_ms };
        if_new(self.hash.add(&of, self.limits.hash, &self.hasher))
    }

    fn stream(&mut self) -> Result<(), Problem> {
        self.begin(Shape::Stream);
        self.stream = Some(Unfinished::default());
        Ok(())
    }

    fn entry(&mut self, id: Id, pairs: &[Element<'_>]) -> Result<(), Problem> {
        let limits = self.limits.stream;
        let texts: Vec<_> = pairs.iter().map(|element| element.text()).collect();
        let pairs = texts.chunks_exact(2).map(|pair| (pair[0].as_bytes(), pair[1].as_bytes()));
        let is_above = self.unfinished()?.stream.append(id_of(id), pairs, limits);
        if is_above { Ok(()) } else { Err(Problem::BadStream) }
    }

    fn module(&mut self, kind: ModuleType) -> Result<(), Problem> {
        self.begin(Shape::Broker);
        self.broker = Some(match kind {
            ModuleType::Queue => BigPieces::queue(),
            ModuleType::Exchange => BigPieces::exchange(),
            ModuleType::Tree => BigPieces::tree(),
        });
        Ok(())
    }

    fn piece(&mut self, piece: &[u8]) -> Result<(), Problem> {
        let taken = self.broker.as_mut().and_then(|pieces| pieces.take(piece, &mut self.parcels));
        taken.ok_or(Problem::BadCollection)
    }

    fn figures(&mut self, figures: &StreamFigures) -> Result<(), Problem> {
        let unfinished = self.unfinished()?;
        unfinished.is_old = figures.entries_added.is_none();
        let stream = &mut unfinished.stream;
        let log = stream.log();
        let last_id = id_of(figures.last_id);
        if figures.len != log.len() || last_id < log.last_id() {
            return Err(Problem::BadStream);
        }
        // What follows from the entries is not taken from the file. The other figures are brought to where commands could have
        // brought them: what is beyond that could not be made again by a file of commands.
        let added = figures.entries_added.map_or(figures.len, |added| added.clamp(figures.len, NUMBER_MAX));
        let max_deleted_id = id_of(figures.max_deleted_id).min(last_id);
        stream.set_id(last_id, Some(added), Some(max_deleted_id));
        Ok(())
    }

    fn group(&mut self, name: &[u8], last_delivered: Id, entries_read: Option<u64>) -> Result<(), Problem> {
        let unfinished = self.unfinished()?;
        unfinished.end_group()?;
        unfinished.group = name.to_vec();
        let counted = || unfinished.stream.log().entries_up_to(id_of(last_delivered));
        let known = entries_read.filter(|&read| read <= NUMBER_MAX);
        let entries_read = if unfinished.is_old { counted() } else { known };
        let is_new = unfinished.stream.create_group(name, id_of(last_delivered), entries_read);
        if is_new { Ok(()) } else { Err(Problem::BadStream) }
    }

    fn pending(&mut self, id: Id, delivered_ms: u64, deliveries: u64) -> Result<(), Problem> {
        let known = (delivered_ms.min(NUMBER_MAX), deliveries.min(NUMBER_MAX));
        let old = self.unfinished()?.pending.insert(id_of(id), known);
        if old.is_none() { Ok(()) } else { Err(Problem::BadStream) }
    }

    fn consumer(&mut self, name: &[u8], seen_ms: u64, active_ms: Option<u64>) -> Result<(), Problem> {
        let unfinished = self.unfinished()?;
        if (ConsumerPart { name, seen_ms, active_ms, pending: 0 }).is_nobody() {
            unfinished.consumer = None;
            return Ok(());
        }
        let mut group = unfinished.stream.group_mut(&unfinished.group).ok_or(Problem::BadStream)?;
        let (slot, is_new) = group.find_or_create_consumer(name, seen_ms);
        group.set_consumer_clocks(slot, seen_ms, active_ms);
        unfinished.consumer = Some(slot);
        if is_new { Ok(()) } else { Err(Problem::ConsumerTwice) }
    }

    fn consumer_pending(&mut self, id: Id) -> Result<(), Problem> {
        let unfinished = self.unfinished()?;
        let id = id_of(id);
        let (delivered_ms, deliveries) = unfinished.pending.remove(&id).ok_or(Problem::BadStream)?;
        let mut group = unfinished.stream.group_mut(&unfinished.group).ok_or(Problem::BadStream)?;
        match unfinished.consumer {
            Some(slot) => group.claim(id, slot, delivered_ms, deliveries),
            None => group.release(id, deliveries),
        }
        Ok(())
    }

    fn producers(&mut self, duration_s: u64, messages_max: u64) -> Result<(), Problem> {
        let duration_s = duration_s.clamp(*IDMP_DURATION_S.start(), *IDMP_DURATION_S.end());
        let messages_max = messages_max.clamp(*IDMP_MESSAGES.start(), *IDMP_MESSAGES.end());
        self.unfinished()?.configure(duration_s, messages_max);
        Ok(())
    }

    fn message(&mut self, producer: &[u8], message: &[u8], id: Id) -> Result<(), Problem> {
        let (id, now_ms) = (id_of(id), u64::try_from(self.now_ms).unwrap_or(0));
        // No command makes these, nor could any make them again.
        if producer.is_empty() || message.is_empty() {
            return Err(Problem::BadStream);
        }
        let stream = &mut self.unfinished()?.stream;
        let remembered_ms = stream.idempotency().duration_s().saturating_mul(1000);
        if now_ms.saturating_sub(id.ms) >= remembered_ms {
            return Ok(());
        }
        let is_new = stream.idempotency_mut().restore(producer, message, id, id.ms);
        if is_new { Ok(()) } else { Err(Problem::BadStream) }
    }

    fn counted(&mut self, added: u64, duplicates: u64) -> Result<(), Problem> {
        if (added, duplicates) != (0, 0) {
            self.unfinished()?.stream.idempotency_mut().set_counts(added, duplicates);
        }
        Ok(())
    }
}

impl Unfinished {
    /// What producers have added is remembered for so long, so many of each. Most streams have neither.
    fn configure(&mut self, duration_s: u64, messages_max: u64) {
        let known = self.stream.idempotency();
        if (known.duration_s(), known.messages_max()) != (duration_s, messages_max) {
            self.stream.idempotency_mut().configure(Some(duration_s), Some(messages_max));
        }
    }

    /// Every pending entry of a group is somebody's.
    fn end_group(&mut self) -> Result<(), Problem> {
        self.consumer = None;
        if std::mem::take(&mut self.pending).is_empty() { Ok(()) } else { Err(Problem::BadStream) }
    }
}
