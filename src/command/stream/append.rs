//! XADD, and what a stream knows of its producers: XCFGSET and XIDMPRECORD.
//!
//! The common form, `XADD key * field value`, allocates nothing here: fields and values go from the request's bytes into the
//! stream's last block.

use super::entries::reply_id;
use super::fed::feed_entry;
use super::ids::NewId;
use super::trim::{TrimOptions, TrimmedTo};
use super::{ACL_WRITE_STREAM_FAST, KEY_RW_UPDATE, WRITE_DENYOOM_FAST, WRITE_FAST, ids, place};
use crate::command::args::int;
use crate::command::effects::{Effects, EventClass};
use crate::command::spec::{Arg, ArgKind, Group, KeySpec, Spec};
use crate::command::table::{DataFn, Row};
use crate::command::{Cx, Error};
use crate::config::Config;
use crate::store::{Key, Store};
use weir_resp::{Argv, ArgvIter};
use weir_structs::stream::{
    IDMP_DURATION_S, IDMP_MESSAGES, NodeLimits, References, Stream, StreamId, Trim, automatic_message_id,
};

pub(super) const TRIM_PARTS: &[Arg] = &[
    Arg::one_of("strategy", &[Arg::word("maxlen", "MAXLEN"), Arg::word("minid", "MINID").since("6.2.0")]),
    Arg::one_of("operator", &[Arg::word("equal", "="), Arg::word("approximately", "~")]).optional(),
    Arg::new("threshold", ArgKind::String),
    Arg::new("count", ArgKind::Integer).token("LIMIT").since("6.2.0").optional(),
];

/// XADD, XCFGSET and XIDMPRECORD.
pub const COMMANDS: &[Row<DataFn>] = &[
    Row::new(
        Spec::new("xadd", -5, WRITE_DENYOOM_FAST, ACL_WRITE_STREAM_FAST, Group::Stream, "5.0.0")
            .keys(&[KeySpec::one(1, KEY_RW_UPDATE).notes("Trimming deletes entries, hence UPDATE.")])
            .tips(&["nondeterministic_output"])
            .doc(
                "O(1), plus O(N) where N is the number of entries trimmed.",
                "Appends an entry to a stream, creating it where missing and trimming it if asked to.",
            )
            .history(&[
                ("6.2.0", "Gained the `NOMKSTREAM`, `MINID` and `LIMIT` options."),
                ("7.0.0", "An id may be `<ms>-*`."),
                ("8.2.0", "Gained the `KEEPREF`, `DELREF` and `ACKED` options."),
                ("8.6.0", "Gained the `IDMP` and `IDMPAUTO` options."),
            ])
            .args(&[
                Arg::key("key", 0),
                Arg::word("nomkstream", "NOMKSTREAM").since("6.2.0").optional(),
                Arg::one_of(
                    "condition",
                    &[Arg::word("keepref", "KEEPREF"), Arg::word("delref", "DELREF"), Arg::word("acked", "ACKED")],
                )
                .since("8.2.0")
                .optional(),
                Arg::one_of(
                    "idmp",
                    &[
                        Arg::new("producer-id", ArgKind::String).token("IDMPAUTO"),
                        Arg::block(
                            "explicit",
                            &[Arg::new("producer-id", ArgKind::String), Arg::new("idempotent-id", ArgKind::String)],
                        )
                        .token("IDMP"),
                    ],
                )
                .since("8.6.0")
                .optional(),
                Arg::block("trim", TRIM_PARTS).optional(),
                Arg::one_of("id-selector", &[Arg::word("auto-id", "*"), Arg::new("id", ArgKind::String)]),
                Arg::block("data", &[Arg::new("field", ArgKind::String), Arg::new("value", ArgKind::String)])
                    .multiple(),
            ]),
        xadd_command,
    ),
    Row::new(
        Spec::new("xcfgset", -2, WRITE_FAST, ACL_WRITE_STREAM_FAST, Group::Stream, "8.6.0")
            .keys(&[KeySpec::one(1, KEY_RW_UPDATE)])
            .doc("O(1)", "Sets how a stream remembers the ids by which it knows repeated entries.")
            .args(&[
                Arg::key("key", 0),
                Arg::new("duration", ArgKind::Integer).token("IDMP-DURATION").optional(),
                Arg::new("maxsize", ArgKind::Integer).token("IDMP-MAXSIZE").optional(),
            ]),
        xcfgset_command,
    ),
    Row::new(
        Spec::new("xidmprecord", 5, WRITE_DENYOOM_FAST, ACL_WRITE_STREAM_FAST, Group::Stream, "8.6.2")
            .keys(&[KeySpec::one(1, KEY_RW_UPDATE)])
            .doc("O(1)", "Records which entry a producer's id stands for; written by the server for itself.")
            .args(&[
                Arg::key("key", 0),
                Arg::new("pid", ArgKind::String),
                Arg::new("iid", ArgKind::String),
                Arg::new("stream-id", ArgKind::String),
            ]),
        xidmprecord_command,
    ),
];

/// The options of XADD.
#[derive(Clone, Copy)]
struct AddOptions<'a> {
    id: NewId,
    pairs: Pairs<'a>,
    only_existing: bool,
    message: Option<Message<'a>>,
    trim: Option<Trim>,
    references: References,
}

/// By what a producer's message is known.
#[derive(Clone, Copy)]
struct Message<'a> {
    producer: &'a [u8],
    id: MessageId<'a>,
}

#[derive(Clone, Copy)]
enum MessageId<'a> {
    /// As the producer says.
    Given(&'a [u8]),
    /// By its fields and values.
    Automatic([u8; 16]),
}

impl MessageId<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            MessageId::Given(id) => id,
            MessageId::Automatic(digest) => digest,
        }
    }
}

/// Fields and values among the arguments.
#[derive(Clone, Copy)]
struct Pairs<'a> {
    argv: Argv<'a>,
}

impl<'a> Pairs<'a> {
    #[inline]
    fn iter(self) -> PairsIter<'a> {
        PairsIter { args: self.argv.iter() }
    }
}

#[derive(Clone)]
struct PairsIter<'a> {
    args: ArgvIter<'a>,
}

impl<'a> Iterator for PairsIter<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        Some((self.args.next()?, self.args.next()?))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let (low, high) = self.args.size_hint();
        (low / 2, high.map(|high| high / 2))
    }
}

impl<'a> AddOptions<'a> {
    fn parse(cx: &Cx<'a>) -> Result<AddOptions<'a>, Error> {
        let mut words = cx.words(2);
        let mut trim = TrimOptions::default();
        let mut only_existing = false;
        let mut producer: Option<(&[u8], Option<&[u8]>)> = None;
        let id = loop {
            if words.peek() == Some(b"*") {
                words.next();
                break Some(NewId::Now);
            }
            if trim.take(&mut words)? {
                continue;
            }
            if words.accept("NOMKSTREAM") {
                only_existing = true;
                continue;
            }
            let given = words.left() > 2 && words.accept("IDMP");
            if given || (words.left() > 1 && words.accept("IDMPAUTO")) {
                if producer.is_some() {
                    return Err(Error::IDMP_TWICE);
                }
                let name = words.expect()?;
                if name.is_empty() {
                    return Err(if given { Error::IDMP_NO_PRODUCER } else { Error::IDMPAUTO_NO_PRODUCER });
                }
                let message = if given { Some(words.expect()?) } else { None };
                if message.is_some_and(<[u8]>::is_empty) {
                    return Err(Error::IDMP_NO_MESSAGE);
                }
                producer = Some((name, message));
                continue;
            }
            let Some(word) = words.next() else { break None };
            break Some(NewId::parse(word)?);
        };
        let (trim, references) = trim.finish(false, cx.repeats(), cx.config)?;
        let Some(id) = id.filter(|_| words.left() >= 2 && words.left().is_multiple_of(2)) else {
            return Err(Error::arity("xadd"));
        };
        if producer.is_some() && id != NewId::Now {
            return Err(Error::IDMP_WITH_ID);
        }
        if id == NewId::Given(StreamId::MIN) {
            return Err(Error::STREAM_ID_ZERO);
        }
        let pairs = Pairs { argv: cx.argv.skip(words.at()) };
        let message = producer.map(|(producer, message)| Message {
            producer,
            id: match message {
                Some(id) => MessageId::Given(id),
                None => MessageId::Automatic(automatic_message_id(pairs.iter())),
            },
        });
        Ok(AddOptions { id, pairs, only_existing, message, trim, references })
    }

    /// Adds the entry to a stream. Gives its id, and which others were trimmed.
    #[inline]
    fn add(&self, stream: &mut Stream, now_ms: u64, limits: NodeLimits) -> Result<(StreamId, TrimmedTo), Error> {
        if stream.log().last_id() == StreamId::MAX {
            return Err(Error::STREAM_EXHAUSTED);
        }
        let id = match self.id {
            NewId::Now => stream.next_id(now_ms).ok_or(Error::STREAM_EXHAUSTED)?,
            NewId::In(ms) => stream.next_id_in(ms).ok_or(Error::STREAM_ID_NOT_ABOVE)?,
            NewId::Given(id) => id,
        };
        if !stream.append(id, self.pairs.iter(), limits) {
            return Err(Error::STREAM_ID_NOT_ABOVE);
        }
        if let Some(message) = &self.message {
            stream.idempotency_mut().remember(message.producer, message.id.bytes(), id, now_ms);
        }
        let trimmed = self.trim.map_or(TrimmedTo::default(), |trim| TrimmedTo::trim(stream, trim, self.references));
        Ok((id, trimmed))
    }
}

impl AddOptions<'_> {
    /// Has the same entry added again, and remembered if it was sent by a producer.
    fn feed(&self, cx: &mut Cx<'_>, key: &[u8], id: StreamId, trimmed: &TrimmedTo) {
        feed_entry(cx, key, id, trimmed, self.pairs.argv);
        if let Some(message) = &self.message {
            cx.effects.feed_as(&[b"XIDMPRECORD", key, message.producer, message.id.bytes(), &id.text()]);
        }
    }
}

/// When a block of a stream is full.
pub fn node_limits(config: &Config) -> NodeLimits {
    NodeLimits { bytes: config.stream_node_max_bytes, entries: config.stream_node_max_entries }
}

/// Unix time in ms, which is above 1970.
pub(super) fn now_ms(cx: &Cx<'_>) -> u64 {
    u64::try_from(cx.now_ms()).unwrap_or(0)
}

/// Adds an entry with the next id to a stream, which is made if it is not there: as XADD does, for who is no client.
pub fn append_fields(
    store: &mut Store,
    effects: &mut Effects,
    db: usize,
    key: Key<'_>,
    fields: &[(&[u8], &[u8])],
    limits: NodeLimits,
) -> Result<(), Error> {
    let now_ms = u64::try_from(store.now_ms()).unwrap_or(0);
    let add = |stream: &mut Stream| {
        let id = stream.next_id(now_ms).ok_or(Error::STREAM_EXHAUSTED)?;
        if stream.append(id, fields.iter().copied(), limits) { Ok(id) } else { Err(Error::STREAM_ID_NOT_ABOVE) }
    };
    let id = match place::change(store.db(db), key, add, |_| true)? {
        Some(id) => id,
        None => {
            let mut stream = Box::new(Stream::new());
            let id = add(&mut stream)?;
            place::create(store.db(db), key, stream);
            effects.event(EventClass::NEW, "new", key.name, db);
            id
        }
    };
    let words = fields.iter().flat_map(|(field, value)| [*field, *value]);
    effects.feed_words(3 + 2 * fields.len(), [b"XADD".as_slice(), key.name, &id.text()].into_iter().chain(words));
    effects.changed(1);
    effects.event(EventClass::STREAM, "xadd", key.name, db);
    Ok(())
}

fn xadd_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let options = AddOptions::parse(cx)?;
    let key = cx.key(1);
    let now_ms = now_ms(cx);
    if let Some(message) = &options.message {
        let known = place::note(cx.db(), key, |stream| {
            Ok(stream.idempotency_mut().find(message.producer, message.id.bytes(), now_ms))
        })?;
        if let Some(id) = known.flatten() {
            reply_id(&mut cx.reply, id);
            return Ok(());
        }
    }
    let limits = node_limits(cx.config);
    let added = place::change(cx.db(), key, |stream| options.add(stream, now_ms, limits), |_| true)?;
    let (id, trimmed) = match added {
        Some(added) => added,
        None if options.only_existing => {
            cx.reply.null();
            return Ok(());
        }
        None => {
            let mut stream = Box::new(Stream::new());
            let added = options.add(&mut stream, now_ms, limits)?;
            place::create(cx.db(), key, stream);
            cx.effects.event(EventClass::NEW, "new", key.name, cx.db_index);
            added
        }
    };
    reply_id(&mut cx.reply, id);
    if cx.effects.feeds() {
        options.feed(cx, key.name, id, &trimmed);
    }
    cx.effects.changed(1);
    cx.effects.event(EventClass::STREAM, "xadd", key.name, cx.db_index);
    if trimmed.count > 0 {
        cx.effects.event(EventClass::STREAM, "xtrim", key.name, cx.db_index);
    }
    Ok(())
}

fn xcfgset_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    if cx.argc() == 2 {
        return Err(Error::XCFGSET_NOTHING);
    }
    let mut words = cx.words(2);
    let (mut duration_s, mut messages_max) = (None, None);
    while words.left() > 0 {
        let (value, range, error) = if words.accept("IDMP-DURATION") {
            (&mut duration_s, IDMP_DURATION_S, Error::IDMP_DURATION_RANGE)
        } else if words.accept("IDMP-MAXSIZE") {
            (&mut messages_max, IDMP_MESSAGES, Error::IDMP_MAXSIZE_RANGE)
        } else {
            return Err(Error::SYNTAX);
        };
        let number = int(words.expect()?)?;
        let number = u64::try_from(number).ok().filter(|number| range.contains(number));
        *value = Some(number.ok_or(error)?);
    }
    let key = cx.key(1);
    let known = place::note(cx.db(), key, |stream| {
        let so_far = stream.idempotency();
        let changes = duration_s.is_some_and(|s| s != so_far.duration_s())
            || messages_max.is_some_and(|max| max != so_far.messages_max());
        // The same settings again forget nothing.
        if changes {
            stream.idempotency_mut().configure(duration_s, messages_max);
        }
        Ok(())
    })?;
    known.ok_or(Error::NO_SUCH_KEY)?;
    cx.effects.changed(1);
    cx.reply.ok();
    Ok(())
}

fn xidmprecord_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (producer, message) = (cx.arg(2), cx.arg(3));
    if producer.is_empty() {
        return Err(Error::IDMP_NO_PRODUCER);
    }
    if message.is_empty() {
        return Err(Error::IDMP_NO_MESSAGE);
    }
    let id = ids::id(cx.arg(4))?;
    let key = cx.key(1);
    let now_ms = now_ms(cx);
    if cx.repeats() {
        // What was recorded once is so again, from the moment on that the entry tells, even if that is gone already.
        let recorded = place::note(cx.db(), key, |stream| {
            stream.idempotency_mut().remember(producer, message, id, id.ms.min(now_ms));
            Ok(())
        })?;
        cx.effects.changed(u64::from(recorded.is_some()));
        cx.reply.ok();
        return Ok(());
    }
    let recorded = place::note(cx.db(), key, |stream| {
        if !stream.log().contains(id) {
            return Err(Error::IDMP_NO_ENTRY);
        }
        match stream.idempotency_mut().find(producer, message, now_ms) {
            Some(known) if known == id => Ok(false),
            Some(_) => Err(Error::IDMP_OTHER_ENTRY),
            None => {
                stream.idempotency_mut().remember(producer, message, id, now_ms);
                Ok(true)
            }
        }
    })?;
    let recorded = recorded.ok_or(Error::NO_SUCH_KEY)?;
    cx.effects.changed(u64::from(recorded));
    cx.reply.ok();
    Ok(())
}
