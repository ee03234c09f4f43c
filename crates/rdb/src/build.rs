//! Makes values of what is read.
//!
//! A value is made as commands would make it, element by element and within the same limits, in a keyspace of its own that
//! holds nothing else; when all of it has been read it is taken out. So what is half read can be dropped without a trace.

use crate::error::Problem;
use crate::value::{Collection, Id, StreamFigures, Visitor};
use std::collections::BTreeMap;
use weir_structs::hash::{FieldDeadline, HashLimits, HashMut};
use weir_structs::keyspace::{EntryMut, KeyHasher, Keyspace, NewStr, NewValue, TakenValue};
use weir_structs::list::{End, Limits as ListLimits, ListMut};
use weir_structs::number::parse_i64;
use weir_structs::packed::Element;
use weir_structs::set::{SetLimits, SetMut};
use weir_structs::stream::{ConsumerSlot, NodeLimits, Stream, StreamId};
use weir_structs::value::{Big, PackedKind};
use weir_structs::zset::{AddRule, Added, ZsetLimits, ZsetMut};

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

/// The one key.
const KEY: &[u8] = b"";

/// Makes one value after the other.
#[derive(Debug)]
pub struct Builder {
    keyspace: Keyspace,
    position: u64,
    limits: Limits,
    now_ms: i64,
    left_out: bool,
    stream: Option<Unfinished>,
}

/// A stream that is being read.
#[derive(Debug, Default)]
struct Unfinished {
    stream: Stream,
    group: Vec<u8>,
    consumer: Option<ConsumerSlot>,
    /// Pending entries of the group that no consumer has claimed yet: when they were delivered, and how often.
    pending: BTreeMap<StreamId, (u64, u64)>,
}

impl Builder {
    /// `hasher`: of the keyspace that the values will be in. Fields of hashes whose deadline is before `now_ms` (Unix
    /// milliseconds) are left out.
    pub fn new(hasher: KeyHasher, limits: Limits, now_ms: i64) -> Builder {
        let keyspace = Keyspace::new(hasher);
        let position = keyspace.position(KEY);
        Builder { keyspace, position, limits, now_ms, left_out: false, stream: None }
    }

    /// Takes the value that was read. `None` if nothing is left of it: all its fields had expired.
    ///
    /// # Errors
    /// A stream that does not fit together.
    pub fn take(&mut self) -> Result<Option<TakenValue>, Problem> {
        if let Some(mut unfinished) = self.stream.take() {
            unfinished.end_group()?;
            self.put(NewValue::Big(Big::from(unfinished.stream)));
        }
        let now_ms = self.now_ms;
        let Some(entry) = self.keyspace.get_mut(self.position, KEY) else { return Ok(None) };
        let is_empty = weir_structs::hash::HashRef::of(entry.as_ref()).is_some_and(|hash| hash.live_len(now_ms) == 0);
        let taken = entry.remove_take();
        Ok((!is_empty).then_some(taken))
    }

    /// Whether any field of a hash has been left out so far.
    pub fn has_left_out(&self) -> bool {
        self.left_out
    }

    /// Forgets what has been read of a value.
    pub fn clear(&mut self) {
        self.stream = None;
        if let Some(entry) = self.keyspace.get_mut(self.position, KEY) {
            drop(entry.remove());
        }
    }

    fn put(&mut self, value: NewValue<'_>) {
        self.clear();
        self.keyspace.insert(self.position, KEY, value, None, 0);
    }

    fn entry(&mut self) -> Result<EntryMut<'_>, Problem> {
        self.keyspace.get_mut(self.position, KEY).ok_or(Problem::BadCollection)
    }

    fn unfinished(&mut self) -> Result<&mut Unfinished, Problem> {
        self.stream.as_mut().ok_or(Problem::BadStream)
    }
}

fn id_of((ms, seq): Id) -> StreamId {
    StreamId::new(ms, seq)
}

fn if_new(is_new: bool) -> Result<(), Problem> {
    if is_new { Ok(()) } else { Err(Problem::BadCollection) }
}

impl Visitor for Builder {
    fn string(&mut self, value: &[u8]) -> Result<(), Problem> {
        self.put(NewValue::Str(parse_i64(value).map_or(NewStr::Bytes(value), NewStr::Int)));
        Ok(())
    }

    fn collection(&mut self, kind: Collection, _: usize) -> Result<(), Problem> {
        let kind = match kind {
            Collection::List => PackedKind::List,
            Collection::Set => PackedKind::SetInts,
            Collection::Zset => PackedKind::Zset,
            Collection::Hash => PackedKind::Hash,
        };
        self.put(NewValue::Packed(kind, &[]));
        Ok(())
    }

    fn element(&mut self, element: Element<'_>) -> Result<(), Problem> {
        let limits = self.limits;
        let mut entry = self.entry()?;
        if let Some(mut list) = ListMut::of(&mut entry, limits.list) {
            list.expect_element(element.into());
            list.push(End::Back, element.into());
            return Ok(());
        }
        let mut set = SetMut::of(&mut entry, &limits.set).ok_or(Problem::BadCollection)?;
        if_new(set.add(&element.text()))
    }

    fn scored(&mut self, member: Element<'_>, score: f64) -> Result<(), Problem> {
        let limits = self.limits;
        let mut entry = self.entry()?;
        let mut zset = ZsetMut::of(&mut entry, limits.zset).ok_or(Problem::BadCollection)?;
        if_new(matches!(zset.add(&member.text(), score, AddRule::default()), Added::New(_)))
    }

    fn field(&mut self, field: Element<'_>, value: Element<'_>, expire_at_ms: Option<i64>) -> Result<(), Problem> {
        let (limits, now_ms) = (self.limits, self.now_ms);
        let mut entry = self.entry()?;
        let mut hash = HashMut::of(&mut entry, limits.hash).ok_or(Problem::BadCollection)?;
        if expire_at_ms.is_some_and(|at| at <= now_ms) {
            self.left_out = true;
            return Ok(());
        }
        let deadline = expire_at_ms.map_or(FieldDeadline::Clear, FieldDeadline::At);
        if_new(hash.set(&field.text(), &value.text(), deadline, now_ms).is_new())
    }

    fn stream(&mut self) -> Result<(), Problem> {
        self.clear();
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

    fn figures(&mut self, figures: &StreamFigures) -> Result<(), Problem> {
        let stream = &mut self.unfinished()?.stream;
        let log = stream.log();
        let last_id = id_of(figures.last_id);
        let first_fits = figures.first_id.is_none_or(|first| id_of(first) == log.first_id() || log.is_empty());
        if figures.len != log.len() || last_id < log.last_id() || !first_fits {
            return Err(Problem::BadStream);
        }
        let added = figures.entries_added.unwrap_or(figures.len);
        if added < figures.len {
            return Err(Problem::BadStream);
        }
        stream.set_id(last_id, Some(added), Some(id_of(figures.max_deleted_id)));
        Ok(())
    }

    fn group(&mut self, name: &[u8], last_delivered: Id, entries_read: Option<u64>) -> Result<(), Problem> {
        let unfinished = self.unfinished()?;
        unfinished.end_group()?;
        unfinished.group = name.to_vec();
        let is_new = unfinished.stream.create_group(name, id_of(last_delivered), entries_read);
        if is_new { Ok(()) } else { Err(Problem::BadStream) }
    }

    fn pending(&mut self, id: Id, delivered_ms: u64, deliveries: u64) -> Result<(), Problem> {
        let old = self.unfinished()?.pending.insert(id_of(id), (delivered_ms, deliveries));
        if old.is_none() { Ok(()) } else { Err(Problem::BadStream) }
    }

    fn consumer(&mut self, name: &[u8], seen_ms: u64, active_ms: Option<u64>) -> Result<(), Problem> {
        let unfinished = self.unfinished()?;
        if name.is_empty() && seen_ms == 0 && active_ms.is_none() {
            // Entries that were given back are written as those of one who has no name and was never seen.
            unfinished.consumer = None;
            return Ok(());
        }
        let mut group = unfinished.stream.group_mut(&unfinished.group).ok_or(Problem::BadStream)?;
        let (slot, is_new) = group.find_or_create_consumer(name, seen_ms);
        group.set_consumer_clocks(slot, seen_ms, active_ms);
        unfinished.consumer = Some(slot);
        if is_new { Ok(()) } else { Err(Problem::BadStream) }
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
}

impl Unfinished {
    /// Every pending entry of a group is somebody's.
    fn end_group(&mut self) -> Result<(), Problem> {
        self.consumer = None;
        if std::mem::take(&mut self.pending).is_empty() { Ok(()) } else { Err(Problem::BadStream) }
    }
}
