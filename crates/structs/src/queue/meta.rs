//! What a queue knows of a message beside its parcel, as bytes.
//!
//! ```text
//!  flags 1 │ state and reason 1 │ priority 1? │ end of life? │ acquired, deliveries? │ place? │ due? │ story? │ dedup?
//! ```
//!
//! What is usual is left out: a plain ready message has two bytes. Who has a message that was handed out is not said:
//! it is ready where these bytes are read, and may have been handed out before.

use super::record::{NEVER, Record};
use super::{Corrupt, Death, DeathReason, FirstDeath, MessageId, Parcel, State, Story};
use crate::bytes::{Reader, put_bytes, put_option, put_varint};

const PRIORITY: u8 = 1;
const EXPIRES: u8 = 2;
const COUNTS: u8 = 4;
const PLACE: u8 = 8;
const STORY: u8 = 16;
const REDELIVERED: u8 = 32;
const DEDUP: u8 = 64;
const KNOWN_FLAGS: u8 = 127;

/// The reason stands above the state.
const REASON_SHIFT: u32 = 4;

/// Producer and id of a message as its producer knows it.
pub(super) type DedupName<'a> = (&'a [u8], &'a [u8]);

/// Appends what there is to say of a message at a place.
pub(super) fn put_meta(to: &mut Vec<u8>, key: u64, record: &Record, dedup: Option<DedupName<'_>>) {
    let state = match record.state() {
        State::Unacked => State::Ready,
        state => state,
    };
    let expires_ms = record.expires_ms();
    let has_counts = record.acquired > 0 || record.deliveries > 0;
    let flags = [
        (PRIORITY, record.priority > 0),
        (EXPIRES, expires_ms != NEVER),
        (COUNTS, has_counts),
        (PLACE, record.own_id().is_some()),
        (STORY, record.story().is_some()),
        (REDELIVERED, record.is_redelivered() || record.state() == State::Unacked),
        (DEDUP, dedup.is_some()),
    ];
    to.push(flags.iter().filter(|(_, is_set)| *is_set).fold(0, |flags, (flag, _)| flags | flag));
    to.push(state as u8 | record.reason().map_or(0, |reason| reason as u8) << REASON_SHIFT);
    if record.priority > 0 {
        to.push(record.priority);
    }
    if expires_ms != NEVER {
        put_varint(to, expires_ms);
    }
    if has_counts {
        put_varint(to, u64::from(record.acquired));
        put_varint(to, u64::from(record.deliveries));
    }
    if record.own_id().is_some() {
        put_varint(to, key);
    }
    if let Some(due_ms) = record.due_ms() {
        put_varint(to, due_ms);
    }
    if let Some(story) = record.story() {
        put_story(to, story);
    }
    if let Some((producer, id)) = dedup {
        put_bytes(to, producer);
        put_bytes(to, id);
    }
}

/// What was read of a message.
pub(super) struct Meta<'a> {
    pub(super) key: u64,
    pub(super) record: Record,
    pub(super) dedup: Option<DedupName<'a>>,
}

/// Reads what [`put_meta`] wrote of the message with this id.
pub(super) fn read_meta(bytes: &[u8], id: MessageId, parcel: Parcel) -> Result<Meta<'_>, Corrupt> {
    read(&mut Reader::new(bytes), id, parcel).ok_or(Corrupt)
}

fn read<'a>(from: &mut Reader<'a>, id: MessageId, parcel: Parcel) -> Option<Meta<'a>> {
    let (flags, state) = (from.byte()?, from.byte()?);
    let has = |flag| flags & flag != 0;
    let reason = usize::from(state >> REASON_SHIFT);
    let state = match state & ((1 << REASON_SHIFT) - 1) {
        0 => State::Ready,
        1 => State::Delayed,
        2 => State::Parked,
        3 => State::Held,
        5 => State::Dead,
        _ => return None,
    };
    let reason = *DeathReason::ALL.get(reason)?;
    if flags & !KNOWN_FLAGS != 0 || (reason as u8 != 0 && state != State::Dead) {
        return None;
    }
    let priority = if has(PRIORITY) { from.byte()? } else { 0 };
    let mut record = Record::new(parcel, priority);
    let expires_ms = if has(EXPIRES) { from.varint()? } else { NEVER };
    if has(COUNTS) {
        record.acquired = u32::try_from(from.varint()?).ok()?;
        record.deliveries = u16::try_from(from.varint()?).ok()?;
    }
    let key = if has(PLACE) { MessageId::from_u64(from.varint()?) } else { id };
    let in_range = |id: MessageId| id > MessageId::MIN && id < MessageId::END;
    if !in_range(id) || !in_range(key) {
        return None;
    }
    match state {
        State::Ready | State::Unacked => {}
        State::Dead => record.set_dead(reason, from.varint()?),
        _ => record.set_state(state, from.varint()?),
    }
    record.set_times(expires_ms, record.due_ms().unwrap_or(NEVER));
    if key != id {
        record.set_own_id(id);
    }
    if has(STORY) {
        record.set_story(Some(Box::new(read_story(from)?)));
    }
    if has(REDELIVERED) {
        record.set_redelivered();
    }
    let dedup = if has(DEDUP) { Some((from.bytes()?, from.bytes()?)) } else { None };
    from.is_empty().then_some(Meta { key: key.to_u64(), record, dedup })
}

/// Appends a story.
fn put_story(to: &mut Vec<u8>, story: &Story) {
    put_varint(to, story.deaths.len() as u64);
    for death in &story.deaths {
        put_bytes(to, &death.queue);
        to.push(death.reason as u8);
        put_varint(to, death.count);
        put_varint(to, death.time_ms);
        put_bytes(to, &death.exchange);
        put_varint(to, death.rkeys.len() as u64);
        death.rkeys.iter().for_each(|rkey| put_bytes(to, rkey));
        put_option(to, death.original_ttl_ms, put_varint);
        put_option(to, death.note.as_deref(), put_bytes);
    }
    put_option(to, story.first.as_ref(), |to, first| {
        put_bytes(to, &first.queue);
        to.push(first.reason as u8);
        put_bytes(to, &first.exchange);
    });
    put_option(to, story.exchange.as_deref(), put_bytes);
    put_option(to, story.rkey.as_deref(), put_bytes);
}

/// Reads a story. Grows with what is there, not with what is claimed.
fn read_story(from: &mut Reader<'_>) -> Option<Story> {
    let mut story = Story::default();
    for _ in 0..from.varint()? {
        let (queue, reason) = (from.bytes()?.into(), read_reason(from)?);
        let (count, time_ms) = (from.varint()?, from.varint()?);
        let exchange = from.bytes()?.into();
        let mut rkeys = Vec::new();
        for _ in 0..from.varint()? {
            rkeys.push(from.bytes()?.into());
        }
        let original_ttl_ms = from.option(Reader::varint)?;
        let note = from.option(|from| Some(from.bytes()?.into()))?;
        story.deaths.push(Death { queue, reason, count, time_ms, exchange, rkeys, original_ttl_ms, note });
    }
    story.first = from.option(|from| {
        let (queue, reason) = (from.bytes()?.into(), read_reason(from)?);
        Some(Box::new(FirstDeath { queue, reason, exchange: from.bytes()?.into() }))
    })?;
    story.exchange = from.option(|from| Some(from.bytes()?.into()))?;
    story.rkey = from.option(|from| Some(from.bytes()?.into()))?;
    Some(story)
}

fn read_reason(from: &mut Reader<'_>) -> Option<DeathReason> {
    DeathReason::ALL.get(usize::from(from.byte()?)).copied()
}
