//! A base of the append-only file as commands (`aof-use-rdb-preamble no`): those that make the data of the moment.
//!
//! Collections are made in portions, so that no command is long, by the commands with which Redis writes them. Portions of
//! a big collection that is given in parts may stand between those of others: each command names its key, so it makes no
//! difference.

use crate::store::{EntryRef, KeyHead, Recorder};
use std::collections::HashMap;
use std::fmt;
use std::ops::ControlFlow;
use weir_rdb::write::{Compress, Draft};
use weir_resp::reply_bytes;
use weir_structs::entry::StrView;
use weir_structs::frozen::{FrozenHead, FrozenPart};
use weir_structs::hash::HashRef;
use weir_structs::list::{End, ListRef};
use weir_structs::number::{format_i64, format_u64};
use weir_structs::packed::Element;
use weir_structs::set::SetRef;
use weir_structs::stream::{Entry, Pending, ProducersPart, Stream, StreamId, StreamPart};
use weir_structs::value::ValueRef;
use weir_structs::zset::ZsetRef;

/// Elements that one command makes.
const PORTION: usize = 64;
/// About so many bytes of them.
const PORTION_BYTES: usize = 256 * 1024;

/// Who takes what is written.
pub(in crate::persist) trait TakeDrafts: fmt::Debug {
    /// A draft is full.
    fn take(&mut self, draft: Draft);

    /// That was all.
    fn end(&mut self);
}

/// Makes commands of entries.
#[derive(Debug)]
pub(in crate::persist) struct CommandEncoder<S> {
    /// What is full goes there.
    send: S,
    draft: Draft,
    draft_bytes: usize,
    db: Option<usize>,
    /// The collection that is being given in parts.
    big: Option<Big>,
}

#[derive(Debug)]
struct Big {
    db: usize,
    name: Box<[u8]>,
    expire_at: Option<i64>,
    portion: Portion,
    deadlines: Vec<(Box<[u8]>, i64)>,
    /// Of what comes in pieces: what puts them together.
    effect: Option<PieceCommand>,
    stream: StreamInParts,
}

/// A command that is being put together: its name and key, then elements.
#[derive(Default, Debug)]
struct Portion {
    name: &'static str,
    words: Vec<u8>,
    count: usize,
    elements: usize,
}

impl Portion {
    fn new(name: &'static str) -> Portion {
        Portion { name, ..Portion::default() }
    }

    fn word(&mut self, word: &[u8]) {
        reply_bytes::bulk(&mut self.words, word);
        self.count += 1;
    }

    fn is_full(&self) -> bool {
        self.elements >= PORTION || self.words.len() >= PORTION_BYTES
    }

    /// Adds the command, if it has elements, and is empty then.
    fn put(&mut self, to: &mut Vec<u8>, key: &[u8]) {
        if self.count > 0 {
            reply_bytes::array_header(to, self.count + 2);
            reply_bytes::bulk(to, self.name.as_bytes());
            reply_bytes::bulk(to, key);
            to.append(&mut self.words);
        }
        (self.count, self.elements) = (0, 0);
    }

    /// An element is complete.
    fn element(&mut self, to: &mut Vec<u8>, key: &[u8]) {
        self.elements += 1;
        if self.is_full() {
            self.put(to, key);
        }
    }
}

fn command(to: &mut Vec<u8>, words: &[&[u8]]) {
    reply_bytes::array_header(to, words.len());
    words.iter().for_each(|word| reply_bytes::bulk(to, word));
}

/// The commands that put together again what is given in pieces.
#[derive(Clone, Copy, Debug)]
struct PieceCommand {
    name: &'static [u8],
    /// What is put together, where the command has to be told.
    kind: Option<&'static [u8]>,
}

impl PieceCommand {
    const QUEUE: PieceCommand = PieceCommand { name: b"MQ.EFFECT", kind: Some(b"QUEUE") };
    const EXCHANGE: PieceCommand = PieceCommand { name: b"MQ.EFFECT", kind: Some(b"EXCHANGE") };
    const TREE: PieceCommand = PieceCommand { name: b"CFG.EFFECT", kind: None };

    fn of(head: FrozenHead) -> Option<PieceCommand> {
        match head {
            FrozenHead::Queue => Some(PieceCommand::QUEUE),
            FrozenHead::Exchange => Some(PieceCommand::EXCHANGE),
            FrozenHead::Tree => Some(PieceCommand::TREE),
            _ => None,
        }
    }

    fn piece(self, to: &mut Vec<u8>, key: &[u8], piece: &[u8]) {
        match self.kind {
            Some(kind) => command(to, &[self.name, b"PIECE", key, kind, piece]),
            None => command(to, &[self.name, b"PIECE", key, piece]),
        }
    }

    /// That was all.
    fn whole(self, to: &mut Vec<u8>, key: &[u8]) {
        command(to, &[self.name, b"WHOLE", key]);
    }
}

impl<S: TakeDrafts> CommandEncoder<S> {
    /// Begins with the libraries of functions and other commands, and with the time if `stamped_s` (Unix time in seconds) says so.
    pub(in crate::persist) fn new(
        functions: &[&[u8]],
        commands: &[u8],
        stamped_s: Option<i64>,
        draft_bytes: usize,
        send: S,
    ) -> CommandEncoder<S> {
        let draft = Draft::with_capacity(Compress::Never, draft_bytes);
        let mut this = CommandEncoder { send, draft, draft_bytes, db: None, big: None };
        let mut bytes = Vec::new();
        if let Some(at_s) = stamped_s {
            bytes.extend_from_slice(format!("#TS:{at_s}\r\n").as_bytes());
        }
        for source in functions {
            command(&mut bytes, &[b"FUNCTION", b"LOAD", source]);
        }
        bytes.extend_from_slice(commands);
        this.draft.bytes(&bytes);
        this
    }

    fn select(&mut self, db: usize, to: &mut Vec<u8>) {
        if self.db != Some(db) {
            self.db = Some(db);
            command(to, &[b"SELECT", &format_u64(db as u64)]);
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.draft.bytes(bytes);
        if self.draft.len() >= self.draft_bytes {
            let next = Draft::with_capacity(Compress::Never, self.draft_bytes);
            self.send.take(std::mem::replace(&mut self.draft, next));
        }
    }
}

impl<S: TakeDrafts> Recorder for CommandEncoder<S> {
    fn entry(&mut self, key: KeyHead<'_>, entry: EntryRef<'_>) {
        let mut to = Vec::new();
        self.select(key.db, &mut to);
        put_entry(&mut to, key.name, entry);
        put_deadline(&mut to, key.name, key.expire_at);
        self.take(&to);
    }

    fn begin_big(&mut self, key: KeyHead<'_>, head: FrozenHead) {
        let effect = PieceCommand::of(head);
        let name = match head {
            FrozenHead::Hash { .. } => "HMSET",
            FrozenHead::Set { .. } => "SADD",
            FrozenHead::Zset { .. } => "ZADD",
            FrozenHead::List { .. } => "RPUSH",
            FrozenHead::Stream { .. } => "XADD",
            FrozenHead::Queue | FrozenHead::Exchange | FrozenHead::Tree => "",
        };
        self.big = Some(Big {
            db: key.db,
            name: key.name.into(),
            expire_at: key.expire_at,
            portion: Portion::new(name),
            deadlines: Vec::new(),
            effect,
            stream: StreamInParts::default(),
        });
    }

    fn part(&mut self, part: FrozenPart<'_>) {
        let Some(mut big) = self.big.take() else { return };
        match part {
            FrozenPart::Field { field, value, deadline_ms } => {
                big.portion.word(field);
                big.portion.word(value);
                big.deadlines.extend(deadline_ms.map(|at| (Box::from(field), at)));
            }
            FrozenPart::Member(member) => big.portion.word(member),
            FrozenPart::Scored { member, score } => {
                big.portion.word(score_text(score).as_bytes());
                big.portion.word(member);
            }
            FrozenPart::Elements(part) => {
                part.for_each(|element| big.portion.word(&element.text()));
                big.portion.elements += part.count();
            }
            // Each command is whole.
            FrozenPart::Shared(..) => {}
            FrozenPart::Piece(piece) => {
                let mut to = Vec::new();
                self.select(big.db, &mut to);
                if let Some(effect) = big.effect {
                    effect.piece(&mut to, &big.name, piece);
                }
                self.take(&to);
                self.big = Some(big);
                return;
            }
            FrozenPart::Stream(part) => {
                let mut to = Vec::new();
                self.select(big.db, &mut to);
                big.stream.put(&mut to, &big.name, part);
                self.take(&to);
                self.big = Some(big);
                return;
            }
        }
        big.portion.elements += 1;
        if big.portion.is_full() {
            self.put_portion(&mut big);
        }
        self.big = Some(big);
    }

    fn end_big(&mut self) {
        let Some(mut big) = self.big.take() else { return };
        self.put_portion(&mut big);
        let mut to = Vec::new();
        self.select(big.db, &mut to);
        if let Some(effect) = big.effect {
            effect.whole(&mut to, &big.name);
        }
        put_deadline(&mut to, &big.name, big.expire_at);
        self.take(&to);
    }

    fn end(mut self: Box<Self>) {
        self.send.take(self.draft);
        self.send.end();
    }
}

impl<S: TakeDrafts> CommandEncoder<S> {
    fn put_portion(&mut self, big: &mut Big) {
        let mut to = Vec::new();
        self.select(big.db, &mut to);
        big.portion.put(&mut to, &big.name);
        for (field, at) in big.deadlines.drain(..) {
            put_field_deadline(&mut to, &big.name, &field, at);
        }
        self.take(&to);
    }
}

fn put_deadline(to: &mut Vec<u8>, key: &[u8], at: Option<i64>) {
    if let Some(at) = at {
        command(to, &[b"PEXPIREAT", key, &format_i64(at)]);
    }
}

fn put_field_deadline(to: &mut Vec<u8>, key: &[u8], field: &[u8], at: i64) {
    command(to, &[b"HPEXPIREAT", key, &format_i64(at), b"FIELDS", b"1", field]);
}

fn with_text(element: Element<'_>, take: impl FnOnce(&[u8])) {
    match element {
        Element::Int(value) => take(&format_i64(value)),
        Element::Bytes(bytes) => take(bytes),
    }
}

/// The shortest text that reads as this score.
fn score_text(score: f64) -> String {
    match score {
        f64::INFINITY => "inf".to_owned(),
        f64::NEG_INFINITY => "-inf".to_owned(),
        _ if score != 0.0 && !(1e-5..1e17).contains(&score.abs()) => format!("{score:e}"),
        _ => format!("{score}"),
    }
}

fn put_entry(to: &mut Vec<u8>, key: &[u8], entry: EntryRef<'_>) {
    if let ValueRef::Str(string) = entry.value() {
        match string {
            StrView::Int(value) => command(to, &[b"SET", key, &format_i64(value)]),
            StrView::Bytes(bytes) => command(to, &[b"SET", key, bytes]),
            StrView::Blob(blob) => command(to, &[b"SET", key, &blob]),
        }
    } else if let Some(list) = ListRef::of(entry) {
        let mut portion = Portion::new("RPUSH");
        list.visit(0, list.len(), End::Back, |element| {
            portion.word(&element.text());
            portion.element(to, key);
            ControlFlow::Continue(())
        });
        portion.put(to, key);
    } else if let Some(set) = SetRef::of(entry) {
        let mut portion = Portion::new("SADD");
        for member in set.iter() {
            with_text(member, |text| portion.word(text));
            portion.element(to, key);
        }
        portion.put(to, key);
    } else if let Some(zset) = ZsetRef::of(entry) {
        let mut portion = Portion::new("ZADD");
        zset.for_each(|member, score| {
            portion.word(score_text(score).as_bytes());
            portion.word(member);
            portion.element(to, key);
        });
        portion.put(to, key);
    } else if let Some(hash) = HashRef::of(entry) {
        put_hash(to, key, hash);
    } else {
        match entry.value() {
            ValueRef::Stream(stream) => put_stream(to, key, stream),
            ValueRef::Queue(queue) => {
                queue.encode(&mut |piece| PieceCommand::QUEUE.piece(to, key, piece));
                PieceCommand::QUEUE.whole(to, key);
            }
            ValueRef::Exchange(exchange) => {
                exchange.encode(&mut |piece| PieceCommand::EXCHANGE.piece(to, key, piece));
                PieceCommand::EXCHANGE.whole(to, key);
            }
            ValueRef::Tree(tree) => {
                tree.encode(&mut |piece| PieceCommand::TREE.piece(to, key, piece));
                PieceCommand::TREE.whole(to, key);
            }
            _ => {}
        }
    }
}

fn put_hash(to: &mut Vec<u8>, key: &[u8], hash: HashRef<'_>) {
    let mut portion = Portion::new("HMSET");
    match hash {
        HashRef::Packed(packed) => {
            for (at, item) in packed.iter().enumerate() {
                with_text(item.element, |text| portion.word(text));
                if at % 2 == 1 {
                    portion.element(to, key);
                }
            }
            portion.put(to, key);
        }
        HashRef::Table(table) => {
            for member in table.members().iter() {
                let (field, value) = member.key_and_value();
                portion.word(field);
                portion.word(value);
                portion.element(to, key);
            }
            portion.put(to, key);
            for member in table.members().iter() {
                if let Some(at) = member.extra() {
                    put_field_deadline(to, key, member.key_and_value().0, at.cast_signed());
                }
            }
        }
    }
}

/// What is known of the group of a stream that is being given in parts.
#[derive(Default, Debug)]
struct StreamInParts {
    group: Box<[u8]>,
    /// When each pending entry was delivered, and how often: whose it is comes later.
    pending: HashMap<StreamId, (u64, u64)>,
    /// Whose the next ones are; `None`: nobody's.
    consumer: Option<Box<[u8]>>,
    /// Who has sent the next messages.
    producer: Box<[u8]>,
}

impl StreamInParts {
    fn put(&mut self, to: &mut Vec<u8>, key: &[u8], part: StreamPart<'_>) {
        match part {
            StreamPart::Block(block) => block.entries().for_each(|entry| put_stream_entry(to, key, &entry)),
            StreamPart::Figures(figures) => {
                put_stream_figures(
                    to,
                    key,
                    figures.len,
                    figures.last_id,
                    figures.max_deleted_id,
                    figures.entries_added,
                );
            }
            StreamPart::Group(group) => {
                self.group = group.name.into();
                self.pending.clear();
                put_group(to, key, group.name, group.last_delivered, group.entries_read);
            }
            StreamPart::Pending(Pending { id, delivery_ms, deliveries, .. }) => {
                self.pending.insert(id, (delivery_ms, deliveries));
            }
            StreamPart::Consumers(_) => {}
            StreamPart::Consumer(consumer) => {
                self.consumer = (!consumer.is_nobody()).then(|| consumer.name.into());
                if let Some(name) = &self.consumer {
                    put_consumer(to, key, &self.group, name);
                }
            }
            StreamPart::PendingId(id) => {
                let (delivery_ms, deliveries) = self.pending.get(&id).copied().unwrap_or_default();
                put_pending(to, key, &self.group, self.consumer.as_deref(), (id, delivery_ms, deliveries));
            }
            StreamPart::Producers(head) => put_producers(to, key, head),
            StreamPart::Producer(producer) => self.producer = producer.name.into(),
            StreamPart::Message(sent) => put_message(to, key, &self.producer, sent.message, sent.id),
            StreamPart::ProducersEnd(_) => {}
        }
    }
}

fn put_stream_entry(to: &mut Vec<u8>, key: &[u8], entry: &Entry<'_>) {
    let pairs = entry.pairs();
    reply_bytes::array_header(to, 3 + 2 * pairs.len());
    reply_bytes::bulk(to, b"XADD");
    reply_bytes::bulk(to, key);
    reply_bytes::bulk(to, &entry.id.text());
    for (field, value) in pairs {
        reply_bytes::bulk(to, field);
        value.with_text(|text| reply_bytes::bulk(to, text));
    }
}

fn put_stream_figures(to: &mut Vec<u8>, key: &[u8], len: u64, last: StreamId, deleted: StreamId, added: u64) {
    if len == 0 {
        // There is no other command that makes an empty one.
        command(to, &[b"XADD", key, b"MAXLEN", b"0", b"0-1", b"x", b"y"]);
    }
    let (last, deleted, added) = (last.text(), deleted.text(), format_u64(added));
    command(to, &[b"XSETID", key, &last, b"ENTRIESADDED", &added, b"MAXDELETEDID", &deleted]);
}

fn put_group(to: &mut Vec<u8>, key: &[u8], name: &[u8], delivered: StreamId, entries_read: Option<u64>) {
    let read = format_i64(entries_read.and_then(|read| i64::try_from(read).ok()).unwrap_or(-1));
    command(to, &[b"XGROUP", b"CREATE", key, name, &delivered.text(), b"ENTRIESREAD", &read]);
}

fn put_consumer(to: &mut Vec<u8>, key: &[u8], group: &[u8], consumer: &[u8]) {
    command(to, &[b"XGROUP", b"CREATECONSUMER", key, group, consumer]);
}

/// A pending entry; without a consumer it has been given back.
fn put_pending(to: &mut Vec<u8>, key: &[u8], group: &[u8], consumer: Option<&[u8]>, pending: (StreamId, u64, u64)) {
    let (id, time, count) = (pending.0.text(), format_u64(pending.1), format_u64(pending.2));
    let Some(consumer) = consumer else {
        return command(to, &[b"XNACK", key, group, b"SILENT", b"IDS", b"1", &id, b"RETRYCOUNT", &count, b"FORCE"]);
    };
    let words: [&[u8]; 12] =
        [b"XCLAIM", key, group, consumer, b"0", &id, b"TIME", &time, b"RETRYCOUNT", &count, b"JUSTID", b"FORCE"];
    command(to, &words);
}

/// Settings of producers, unless they are the usual ones.
fn put_producers(to: &mut Vec<u8>, key: &[u8], head: ProducersPart) {
    if !head.has_usual_settings() {
        let (duration_s, messages_max) = (format_u64(head.duration_s), format_u64(head.messages_max));
        command(to, &[b"XCFGSET", key, b"IDMP-DURATION", &duration_s, b"IDMP-MAXSIZE", &messages_max]);
    }
}

fn put_message(to: &mut Vec<u8>, key: &[u8], producer: &[u8], message: &[u8], id: StreamId) {
    command(to, &[b"XIDMPRECORD", key, producer, message, &id.text()]);
}

fn put_stream(to: &mut Vec<u8>, key: &[u8], stream: &Stream) {
    let log = stream.log();
    log.range(StreamId::MIN, StreamId::MAX).for_each(|entry| put_stream_entry(to, key, &entry));
    put_stream_figures(to, key, log.len(), log.last_id(), log.max_deleted_id(), log.entries_added());
    for (name, group) in stream.groups() {
        put_group(to, key, name, group.last_delivered(), group.entries_read());
        for (slot, consumer) in group.consumers() {
            put_consumer(to, key, name, consumer.name());
            for Pending { id, delivery_ms, deliveries, .. } in
                group.pending_range_of(slot, StreamId::MIN, StreamId::MAX)
            {
                put_pending(to, key, name, Some(consumer.name()), (id, delivery_ms, deliveries));
            }
        }
        let all = group.pending_range(StreamId::MIN, StreamId::MAX);
        for Pending { id, delivery_ms, deliveries, .. } in all.filter(|pending| pending.consumer.is_none()) {
            put_pending(to, key, name, None, (id, delivery_ms, deliveries));
        }
    }
    let known = stream.idempotency();
    put_producers(to, key, known.head());
    for (producer, _, messages) in known.producers() {
        messages.for_each(|(message, id)| put_message(to, key, producer, message, id));
    }
}
