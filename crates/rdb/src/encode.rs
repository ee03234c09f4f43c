//! Values of the server as they are written: the type that says how, and the bytes.
//!
//! Small collections become one listpack or intset, as they are there; big ones their elements one by one, lists and streams
//! in blocks of the size that Redis makes them. What is written is complete: an entry borrowed while it is encoded does not
//! change. Collections that are too big for that are frozen, and written part by part; their blocks are then those in which
//! they are stored.

use crate::module;
use crate::value::{Dialect, code};
use crate::write::{Draft, ListpackWriter, VERSION};
use std::ops::ControlFlow;
use weir_structs::entry::{EntryRef, StrView};
use weir_structs::frozen::{FrozenHead, FrozenPart};
use weir_structs::hash::HashRef;
use weir_structs::list::{End, ListPartView, ListRef};
use weir_structs::packed::Element;
use weir_structs::queue::{Parcel, SharedAs};
use weir_structs::set::SetRef;
use weir_structs::stream::{
    ConsumerPart, Entry, Group, GroupPart, MessagePart, Pending, ProducerPart, ProducersPart, Stream, StreamFigures,
    StreamId, StreamPart, name_of_nobody,
};
use weir_structs::value::ValueRef;
use weir_structs::zset::ZsetRef;

/// Most bytes of elements in a listpack of a list; a longer element stands alone.
const LIST_BLOCK_BYTES: usize = 8 * 1024;
/// A list's element in a listpack takes at most so much more than its text.
const ELEMENT_OVERHEAD_BYTES: usize = 11;
/// A block of a list is one element alone, or a listpack.
const ALONE: u64 = 1;
const LISTPACK: u64 = 2;
/// Entries, and bytes of fields and values, in a listpack of a stream.
const STREAM_BLOCK_ENTRIES: usize = 100;
const STREAM_BLOCK_BYTES: usize = 4096;
/// An entry of a stream has the fields of the first in its listpack.
const SAME_FIELDS: i64 = 2;
/// The latest deadline of a field that Redis reads, in Unix ms: it has 48 bits for one, and takes no file with a later one.
const REDIS_DEADLINE_MAX: i64 = (1 << 48) - 2;
/// Scores whose whole digits are written; others have an exponent.
const PLAIN_SCORES: std::ops::Range<f64> = 1e-5..1e17;

/// What may be chosen about how values are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Forms {
    /// Whether strings are compressed where that makes them shorter.
    pub compress: bool,
    /// Whose form is taken where there is none that both read: for deadlines of fields, and for what producers have sent to
    /// a stream, of which only Redis knows.
    pub dialect: Dialect,
}

/// What there is among the values of a file that version 11 has no form for.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Needs {
    /// Fields of hashes with deadlines.
    pub expiring_fields: bool,
    /// Streams that remember producers.
    pub producers: bool,
}

impl Needs {
    /// The lowest version that has a form for all of it, as far as the dialect has one at all.
    pub fn version(self, dialect: Dialect) -> u16 {
        let fields = if self.expiring_fields { version_of(hash_with_deadlines(dialect), dialect) } else { VERSION };
        let stream = version_of(stream_code(self.producers, dialect), dialect);
        fields.max(stream)
    }
}

/// The version that a reader must know for values of this type.
pub fn version_of(code: u8, dialect: Dialect) -> u16 {
    match (code, dialect) {
        (code::STREAM_5.., Dialect::Redis) => 14,
        (code::STREAM_4, Dialect::Redis) => 13,
        (code::HASH_TTL_OLD.., Dialect::Redis) => 12,
        (code::HASH_TTL_VALKEY.., Dialect::Valkey) => 80,
        _ => VERSION,
    }
}

/// The type that says how [`put_value`] writes an entry's value.
pub fn code_of(entry: EntryRef<'_>, dialect: Dialect) -> u8 {
    use weir_structs::value::PackedKind;
    match entry.value() {
        ValueRef::Str(_) => code::STRING,
        ValueRef::Packed(PackedKind::Hash, _) => code::HASH_LISTPACK,
        ValueRef::Packed(PackedKind::SetInts, _) => code::SET_INTSET,
        ValueRef::Packed(PackedKind::Set, _) => code::SET_LISTPACK,
        ValueRef::Packed(PackedKind::Zset, _) => code::ZSET_LISTPACK,
        ValueRef::Packed(PackedKind::List, _) | ValueRef::List(_) => code::LIST_OF_LISTPACKS,
        ValueRef::Hash(hash) if hash.deadlines() == 0 => code::HASH,
        ValueRef::Hash(_) => hash_with_deadlines(dialect),
        ValueRef::Set(_) => code::SET,
        ValueRef::Zset(_) => code::ZSET_BINARY,
        ValueRef::Stream(stream) => stream_code(stream.remembers_producers(), dialect),
        ValueRef::Queue(_) | ValueRef::Exchange(_) | ValueRef::Tree(_) => code::MODULE,
    }
}

/// Adds the value of an entry in the form of [`code_of`], by itself. O(its size).
pub fn put_value(to: &mut Draft, entry: EntryRef<'_>, dialect: Dialect) {
    put_value_with(to, entry, dialect, &mut |_| SharedAs::InFull);
}

/// [`put_value`] where `share` says how parcels are written that several queues have.
pub fn put_value_with(
    to: &mut Draft,
    entry: EntryRef<'_>,
    dialect: Dialect,
    share: &mut dyn FnMut(&Parcel) -> SharedAs,
) {
    if let ValueRef::Str(string) = entry.value() {
        match string {
            StrView::Int(value) => to.integer(value),
            StrView::Bytes(bytes) => to.string(bytes),
            StrView::Blob(blob) => to.blob(&blob),
        }
    } else if let Some(list) = ListRef::of(entry) {
        put_list(to, list);
    } else if let Some(set) = SetRef::of(entry) {
        put_set(to, set);
    } else if let Some(zset) = ZsetRef::of(entry) {
        put_zset(to, zset);
    } else if let Some(hash) = HashRef::of(entry) {
        put_hash(to, hash, dialect);
    } else {
        match entry.value() {
            ValueRef::Stream(stream) => put_stream(to, stream, dialect),
            ValueRef::Queue(queue) => {
                put_frozen_head(to, FrozenHead::Queue, dialect);
                queue.encode_with(share, &mut |piece| module::put_piece(to, piece));
                module::put_end(to);
            }
            ValueRef::Exchange(exchange) => {
                put_frozen_head(to, FrozenHead::Exchange, dialect);
                exchange.encode(&mut |piece| module::put_piece(to, piece));
                module::put_end(to);
            }
            ValueRef::Tree(tree) => {
                put_frozen_head(to, FrozenHead::Tree, dialect);
                tree.encode(&mut |piece| module::put_piece(to, piece));
                module::put_end(to);
            }
            _ => {}
        }
    }
}

/// The type that says how the parts of a big collection are written.
pub fn code_of_frozen(head: FrozenHead, dialect: Dialect) -> u8 {
    match head {
        FrozenHead::Hash { least_deadline_ms: None, .. } => code::HASH,
        FrozenHead::Hash { .. } => hash_with_deadlines(dialect),
        FrozenHead::Set { .. } => code::SET,
        FrozenHead::Zset { .. } => code::ZSET_BINARY,
        FrozenHead::List { .. } => code::LIST_OF_LISTPACKS,
        FrozenHead::Stream { producers, .. } => stream_code(producers, dialect),
        FrozenHead::Queue | FrozenHead::Exchange | FrozenHead::Tree => code::MODULE,
    }
}

/// Valkey has no form for producers: they are left out there.
fn stream_code(producers: bool, dialect: Dialect) -> u8 {
    match dialect {
        Dialect::Redis if producers => code::STREAM_4,
        _ => code::STREAM_3,
    }
}

fn hash_with_deadlines(dialect: Dialect) -> u8 {
    match dialect {
        Dialect::Redis => code::HASH_TTL,
        Dialect::Valkey => code::HASH_TTL_VALKEY,
    }
}

/// Adds what comes before the parts of a big collection.
pub fn put_frozen_head(to: &mut Draft, head: FrozenHead, dialect: Dialect) {
    match head {
        FrozenHead::Hash { len, least_deadline_ms } => put_hash_head(to, len, least_deadline_ms, dialect),
        FrozenHead::Set { len } | FrozenHead::Zset { len } => to.length(len as u64),
        FrozenHead::List { chunks, .. } => to.length(chunks as u64),
        FrozenHead::Stream { blocks, .. } => to.length(blocks as u64),
        FrozenHead::Queue => to.length(module::QUEUE),
        FrozenHead::Exchange => to.length(module::EXCHANGE),
        FrozenHead::Tree => to.length(module::TREE),
    }
}

/// Adds what comes behind the last part of a big collection.
pub fn put_frozen_end(to: &mut Draft, head: FrozenHead) {
    if matches!(head, FrozenHead::Queue | FrozenHead::Exchange | FrozenHead::Tree) {
        module::put_end(to);
    }
}

/// Adds a part of a big collection.
pub fn put_frozen_part(to: &mut Draft, head: FrozenHead, part: FrozenPart<'_>, dialect: Dialect) {
    match part {
        FrozenPart::Field { field, value, deadline_ms } => {
            let least = match head {
                FrozenHead::Hash { least_deadline_ms, .. } => least_deadline_ms,
                _ => None,
            };
            put_field(to, (field, value), deadline_ms, least, dialect);
        }
        FrozenPart::Member(member) => to.string(member),
        FrozenPart::Scored { member, score } => put_scored(to, member, score),
        FrozenPart::Elements(part) => part.with_view(|view| match view {
            ListPartView::Body { bytes, count } => {
                to.length(LISTPACK);
                put_listpack(to, |block| block.push_body(bytes, count));
            }
            ListPartView::Alone(blob) => {
                to.length(ALONE);
                to.blob(blob);
            }
        }),
        FrozenPart::Stream(part) => put_stream_part(to, part, dialect),
        FrozenPart::Piece(piece) => module::put_piece(to, piece),
        // Whoever writes several values answers.
        FrozenPart::Shared(..) => {}
    }
}

fn put_element(to: &mut Draft, element: Element<'_>) {
    match element {
        Element::Int(value) => to.integer(value),
        Element::Bytes(bytes) => to.string(bytes),
    }
}

fn put_list(to: &mut Draft, list: ListRef<'_>) {
    let len = list.len();
    let stands_alone = |bytes: usize| bytes > LIST_BLOCK_BYTES;
    let (mut blocks, mut open_bytes) = (0_u64, None);
    list.visit(0, len, End::Back, |element| {
        let bytes = element.text().len();
        open_bytes = match open_bytes {
            _ if stands_alone(bytes) => {
                blocks += 1;
                None
            }
            Some(open) if open + bytes <= LIST_BLOCK_BYTES => Some(open + bytes + ELEMENT_OVERHEAD_BYTES),
            _ => {
                blocks += 1;
                Some(bytes + ELEMENT_OVERHEAD_BYTES)
            }
        };
        ControlFlow::Continue(())
    });
    to.length(blocks);
    let mut block = ListpackWriter::default();
    let mut open_bytes = None;
    let close = |to: &mut Draft, block: &mut ListpackWriter| {
        to.length(LISTPACK);
        to.string(block.finish());
    };
    list.visit(0, len, End::Back, |element| {
        let text = element.text();
        let fits = open_bytes.is_some_and(|open: usize| open + text.len() <= LIST_BLOCK_BYTES);
        if !fits && open_bytes.is_some() {
            close(to, &mut block);
            open_bytes = None;
        }
        if stands_alone(text.len()) {
            to.length(ALONE);
            to.string(&text);
            return ControlFlow::Continue(());
        }
        if open_bytes.is_none() {
            block.begin();
        }
        open_bytes = Some(open_bytes.unwrap_or(0) + text.len() + ELEMENT_OVERHEAD_BYTES);
        block.push(Element::Bytes(&text));
        ControlFlow::Continue(())
    });
    if open_bytes.is_some() {
        close(to, &mut block);
    }
}

fn put_set(to: &mut Draft, set: SetRef<'_>) {
    match set {
        SetRef::Ints(_) => put_intset(to, set),
        SetRef::Packed(_) => put_listpack(to, |block| set.iter().for_each(|member| block.push(member))),
        SetRef::Big(_) => {
            to.length(set.len() as u64);
            set.iter().for_each(|member| put_element(to, member));
        }
    }
}

/// ```text
///  bytes of an integer: u32 LE | count: u32 LE | { integer: LE } ..., ascending
/// ```
fn put_intset(to: &mut Draft, set: SetRef<'_>) {
    let values: Vec<i64> = set.iter().filter_map(Element::as_i64).collect();
    let all = |fits: fn(i64) -> bool| values.iter().all(|&value| fits(value));
    let width: u32 = match () {
        () if all(|value| i16::try_from(value).is_ok()) => 2,
        () if all(|value| i32::try_from(value).is_ok()) => 4,
        () => 8,
    };
    let mut bytes = Vec::with_capacity(8 + values.len() * width as usize);
    bytes.extend_from_slice(&width.to_le_bytes());
    bytes.extend_from_slice(&u32::try_from(values.len()).unwrap_or(u32::MAX).to_le_bytes());
    for value in values {
        bytes.extend_from_slice(&value.to_le_bytes()[..width as usize]);
    }
    to.string(&bytes);
}

fn put_listpack(to: &mut Draft, fill: impl FnOnce(&mut ListpackWriter)) {
    let mut block = ListpackWriter::default();
    block.begin();
    fill(&mut block);
    to.string(block.finish());
}

fn put_zset(to: &mut Draft, zset: ZsetRef<'_>) {
    match zset {
        ZsetRef::Packed(_) => put_listpack(to, |block| {
            zset.for_each(|member, score| {
                block.push(Element::Bytes(member));
                block.push(Element::Bytes(&score_text(score)));
            });
        }),
        ZsetRef::Big(_) => {
            to.length(zset.len());
            // From the highest score down: so a skip list is filled at its near end.
            zset.walk_back(0..zset.len(), |member, score| put_scored(to, member, score));
        }
    }
}

/// The shortest text that reads as this score.
fn score_text(score: f64) -> Vec<u8> {
    let magnitude = score.abs();
    let text = if score.is_infinite() {
        if score > 0.0 { "inf".to_owned() } else { "-inf".to_owned() }
    } else if magnitude == 0.0 || PLAIN_SCORES.contains(&magnitude) {
        format!("{score}")
    } else {
        format!("{score:e}")
    };
    text.into_bytes()
}

fn put_hash(to: &mut Draft, hash: HashRef<'_>, dialect: Dialect) {
    let table = match hash {
        HashRef::Packed(packed) => {
            return put_listpack(to, |block| packed.iter().for_each(|item| block.push(item.element)));
        }
        HashRef::Table(table) => table,
    };
    let deadlines = || table.members().iter().filter_map(|member| member.extra()).map(u64::cast_signed);
    let least = if table.deadlines() > 0 { deadlines().min() } else { None };
    put_hash_head(to, table.len(), least, dialect);
    for member in table.members().iter() {
        put_field(to, member.key_and_value(), member.extra().map(u64::cast_signed), least, dialect);
    }
}

/// `least`: the earliest deadline of a field, if any has one.
fn put_hash_head(to: &mut Draft, fields: usize, least: Option<i64>, dialect: Dialect) {
    if let (Some(least), Dialect::Redis) = (least, dialect) {
        to.bytes(&least.min(REDIS_DEADLINE_MAX).to_le_bytes());
    }
    to.length(fields as u64);
}

fn put_field(
    to: &mut Draft,
    (field, value): (&[u8], &[u8]),
    deadline: Option<i64>,
    least: Option<i64>,
    dialect: Dialect,
) {
    if let (Some(least), Dialect::Redis) = (least, dialect) {
        // From the least one on, and one more, for 0 is none.
        let [at, least] = [deadline.unwrap_or(least), least].map(|at| at.min(REDIS_DEADLINE_MAX));
        to.length(deadline.map_or(0, |_| at.wrapping_sub(least).cast_unsigned().saturating_add(1)));
    }
    to.string(field);
    to.string(value);
    if least.is_some() && dialect == Dialect::Valkey {
        to.bytes(&deadline.unwrap_or(-1).to_le_bytes());
    }
}

fn put_scored(to: &mut Draft, member: &[u8], score: f64) {
    to.string(member);
    to.bytes(&score.to_le_bytes());
}

fn put_stream(to: &mut Draft, stream: &Stream, dialect: Dialect) {
    let log = stream.log();
    let mut blocks = 0;
    let mut cut = BlockCut::default();
    log.range(StreamId::MIN, StreamId::MAX).for_each(|entry| blocks += u64::from(cut.begins_block(&entry)));
    to.length(blocks);
    let mut entries: Vec<Entry<'_>> = Vec::new();
    let mut cut = BlockCut::default();
    for entry in log.range(StreamId::MIN, StreamId::MAX) {
        if cut.begins_block(&entry) && !entries.is_empty() {
            put_stream_block(to, &entries);
            entries.clear();
        }
        entries.push(entry);
    }
    if !entries.is_empty() {
        put_stream_block(to, &entries);
    }
    put_figures(
        to,
        StreamFigures {
            len: log.len(),
            last_id: log.last_id(),
            first_id: log.first_id(),
            max_deleted_id: log.max_deleted_id(),
            entries_added: log.entries_added(),
            groups: stream.group_count(),
        },
    );
    for (name, group) in stream.groups() {
        put_group(to, name, group);
    }
    if stream_code(stream.remembers_producers(), dialect) != code::STREAM_4 {
        return;
    }
    let known = stream.idempotency();
    put_producers(to, known.head());
    for (name, count, messages) in known.producers() {
        put_producer(to, ProducerPart { name, messages: count });
        messages.for_each(|(message, id)| put_message(to, MessagePart { message, id }));
    }
    put_producers_end(to, known.head());
}

fn put_stream_part(to: &mut Draft, part: StreamPart<'_>, dialect: Dialect) {
    match part {
        StreamPart::Producers(_) | StreamPart::Producer(_) | StreamPart::Message(_) | StreamPart::ProducersEnd(_)
            if dialect != Dialect::Redis => {}
        StreamPart::Producers(head) => put_producers(to, head),
        StreamPart::Producer(producer) => put_producer(to, producer),
        StreamPart::Message(message) => put_message(to, message),
        StreamPart::ProducersEnd(head) => put_producers_end(to, head),
        StreamPart::Block(block) => put_stream_block(to, &block.entries().collect::<Vec<_>>()),
        StreamPart::Figures(figures) => put_figures(to, figures),
        StreamPart::Group(group) => put_group_head(to, group),
        StreamPart::Pending(pending) => put_pending(to, pending),
        StreamPart::Consumers(count) => to.length(count as u64),
        StreamPart::Consumer(consumer) => put_consumer(to, consumer),
        StreamPart::PendingId(id) => put_raw_id(to, id),
    }
}

fn put_figures(to: &mut Draft, figures: StreamFigures) {
    to.length(figures.len);
    put_id(to, figures.last_id);
    put_id(to, figures.first_id);
    put_id(to, figures.max_deleted_id);
    to.length(figures.entries_added);
    to.length(figures.groups as u64);
}

fn put_group_head(to: &mut Draft, group: GroupPart<'_>) {
    to.string(group.name);
    put_id(to, group.last_delivered);
    // -1 says that it is not known.
    to.length(group.entries_read.unwrap_or(u64::MAX));
    to.length(group.pending);
}

fn put_pending(to: &mut Draft, Pending { id, delivery_ms, deliveries, .. }: Pending) {
    put_raw_id(to, id);
    to.bytes(&delivery_ms.to_le_bytes());
    to.length(deliveries);
}

fn put_consumer(to: &mut Draft, consumer: ConsumerPart<'_>) {
    to.string(consumer.name);
    to.bytes(&consumer.seen_ms.to_le_bytes());
    to.bytes(&consumer.active_ms.unwrap_or(u64::MAX).to_le_bytes());
    to.length(consumer.pending);
}

fn put_producers(to: &mut Draft, head: ProducersPart) {
    to.length(head.duration_s);
    to.length(head.messages_max);
    to.length(head.counts.producers);
}

fn put_producer(to: &mut Draft, producer: ProducerPart<'_>) {
    to.string(producer.name);
    to.length(producer.messages as u64);
}

fn put_message(to: &mut Draft, MessagePart { message, id }: MessagePart<'_>) {
    to.string(message);
    put_id(to, id);
}

fn put_producers_end(to: &mut Draft, head: ProducersPart) {
    to.length(head.counts.added);
    to.length(head.counts.duplicates);
}

/// Where a stream is cut into blocks.
#[derive(Default)]
struct BlockCut {
    entries: usize,
    bytes: usize,
}

impl BlockCut {
    /// Takes the next entry in, and says whether a new block begins with it.
    fn begins_block(&mut self, entry: &Entry<'_>) -> bool {
        let bytes: usize =
            entry.pairs().map(|(field, value)| field.len() + value.with_text(<[u8]>::len)).sum::<usize>();
        let begins = self.entries == 0
            || self.entries >= STREAM_BLOCK_ENTRIES
            || self.bytes.saturating_add(bytes) > STREAM_BLOCK_BYTES;
        if begins {
            (self.entries, self.bytes) = (0, 0);
        }
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        begins
    }
}

/// A block: the id of its first entry as a string, and a listpack as [`crate::value`] describes it.
fn put_stream_block(to: &mut Draft, entries: &[Entry<'_>]) {
    let Some(first) = entries.first() else { return };
    let mut key = [0; 16];
    key[..8].copy_from_slice(&first.id.ms.to_be_bytes());
    key[8..].copy_from_slice(&first.id.seq.to_be_bytes());
    to.plain_string(&key);
    put_listpack(to, |block| {
        let int = |value: u64| Element::Int(value.cast_signed());
        block.push(int(entries.len() as u64));
        block.push(int(0));
        block.push(int(first.pairs().len() as u64));
        first.pairs().for_each(|(field, _)| block.push(Element::Bytes(field)));
        block.push(int(0));
        for entry in entries {
            let pairs = entry.pairs();
            let count = pairs.len() as u64;
            let is_same = first.pairs().map(|(field, _)| field).eq(pairs.map(|(field, _)| field));
            block.push(Element::Int(if is_same { SAME_FIELDS } else { 0 }));
            block.push(int(entry.id.ms.wrapping_sub(first.id.ms)));
            block.push(int(entry.id.seq.wrapping_sub(first.id.seq)));
            if !is_same {
                block.push(int(count));
            }
            for (field, value) in entry.pairs() {
                if !is_same {
                    block.push(Element::Bytes(field));
                }
                value.with_text(|text| block.push(Element::Bytes(text)));
            }
            block.push(int(if is_same { count + 3 } else { 2 * count + 4 }));
        }
    });
}

fn put_id(to: &mut Draft, id: StreamId) {
    to.length(id.ms);
    to.length(id.seq);
}

fn put_raw_id(to: &mut Draft, id: StreamId) {
    to.bytes(&id.ms.to_be_bytes());
    to.bytes(&id.seq.to_be_bytes());
}

fn put_group(to: &mut Draft, name: &[u8], group: &Group) {
    let (last_delivered, entries_read) = (group.last_delivered(), group.entries_read());
    put_group_head(to, GroupPart { name, last_delivered, entries_read, pending: group.pending_count() });
    let all = || group.pending_range(StreamId::MIN, StreamId::MAX);
    all().for_each(|pending| put_pending(to, pending));
    // Every pending entry is somebody's in this form. Those that were given back are nobody's, who is written as a consumer.
    let released = || all().filter(|pending| pending.consumer.is_none());
    let released_count = released().count() as u64;
    to.length(group.consumer_count() as u64 + u64::from(released_count > 0));
    for (slot, consumer) in group.consumers() {
        let (seen_ms, active_ms, pending) = (consumer.seen_ms(), consumer.active_ms(), consumer.pending_count());
        put_consumer(to, ConsumerPart { name: consumer.name(), seen_ms, active_ms, pending });
        group.pending_range_of(slot, StreamId::MIN, StreamId::MAX).for_each(|pending| put_raw_id(to, pending.id));
    }
    if released_count > 0 {
        let name = name_of_nobody(group.consumers().map(|(_, consumer)| consumer.name()));
        put_consumer(to, ConsumerPart::nobody(&name, released_count));
        released().for_each(|pending| put_raw_id(to, pending.id));
    }
}
