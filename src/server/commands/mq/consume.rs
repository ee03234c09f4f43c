//! Taking messages and settling them: MQ.GET, MQ.ACK, MQ.NACK, MQ.TOUCH, MQ.CLAIM, and looking: MQ.PEEK, MQ.PENDING.

use super::message::{put_message, put_ms, put_optional, receipt};
use super::options::{counted, ms, number};
use super::{consumer_name, ground, not_others, receipts};
use crate::broker::{Back, Nack, Receipt, Settled, Taker, Wanted, message_id};
use crate::command::args::{Words, int};
use crate::command::blocking::{Awaited, Block, TimeoutReply};
use crate::command::error::Error;
use crate::server::ServerCx;
use weir_structs::queue::{Holder, MessageId, State, Wait};

/// One command names at most so many queues.
const QUEUES_MAX: usize = 1024;
/// One command gives, or settles, at most so many messages.
const MESSAGES_MAX: usize = 1_000_000;
/// Who asks for messages without BLOCK waits so many ms for the body of one, if that has to come from a slow disk.
const FAR_MS: u64 = 1_000;
/// Why a consumer failed is kept to so many bytes.
const REASON_BYTES_MAX: usize = 1024;

/// Options of MQ.GET.
#[derive(Debug)]
struct GetOptions<'a> {
    consumer: Option<&'a [u8]>,
    count: u64,
    max_bytes: u64,
    block_ms: Option<u64>,
    lease_ms: Option<u64>,
    noack: bool,
    compact: bool,
    queues: Vec<&'a [u8]>,
    /// Which argument the first queue is.
    queues_at: usize,
}

impl<'a> GetOptions<'a> {
    fn parse(mut words: Words<'a>) -> Result<GetOptions<'a>, Error> {
        let mut options = GetOptions {
            consumer: None,
            count: 1,
            max_bytes: u64::MAX,
            block_ms: None,
            lease_ms: None,
            noack: false,
            compact: false,
            queues: Vec::new(),
            queues_at: 0,
        };
        loop {
            let word = words.expect()?;
            match word.to_ascii_uppercase().as_slice() {
                b"CONSUMER" => options.consumer = Some(words.expect()?),
                b"COUNT" => match number(words.expect()?)? {
                    0 => return Err(Error::MQ_ZERO),
                    count => options.count = count.min(MESSAGES_MAX as u64),
                },
                b"MAXBYTES" => options.max_bytes = number(words.expect()?)?,
                b"BLOCK" => options.block_ms = Some(ms(words.expect()?)?),
                b"LEASE" => match ms(words.expect()?)? {
                    0 => return Err(Error::MQ_ZERO),
                    lease_ms => options.lease_ms = Some(lease_ms),
                },
                b"NOACK" => options.noack = true,
                b"COMPACT" => options.compact = true,
                b"QUEUES" => {
                    options.queues_at = words.at() + 1;
                    options.queues = counted(&mut words, QUEUES_MAX)?;
                    if options.queues.is_empty() || words.left() > 0 {
                        return Err(Error::SYNTAX);
                    }
                    return Ok(options);
                }
                _ => return Err(Error::SYNTAX),
            }
        }
    }
}

pub(super) fn get_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let options = GetOptions::parse(cx.words(1))?;
    for queue in &options.queues {
        not_others(cx, queue)?;
        if ground(cx).1.queue(queue)?.is_none() {
            return Err(Error::mq_no_queue(queue));
        }
    }
    cx.server.effects.feed_nothing();
    let own;
    let name = match options.consumer {
        Some(name) => name,
        None => {
            own = consumer_name(cx);
            &own
        }
    };
    let may_wait = cx.server.effects.may_block;
    let wait = if may_wait { Wait::Never } else { Wait::UntilRead };
    let taker = Taker { name, lease_ms: options.lease_ms, noack: options.noack, wait };
    let mut wanted = Wanted { count: options.count, bytes: options.max_bytes, given: 0, far: false };
    let mark = cx.reply.output().mark();
    let messages = cx.reply.deferred_array();
    for queue in &options.queues {
        if wanted.given == wanted.count {
            break;
        }
        let ServerCx { server, slot, reply, .. } = &mut *cx;
        let (broker, mut ground) = server.ground(*slot);
        broker.take(&mut ground, queue, &taker, &mut wanted, &mut |message| {
            if options.compact {
                reply.array(3);
                reply.bulk(queue);
                reply.bulk(&receipt(message));
                reply.bulk(message.parcel.body_here().unwrap_or_default());
            } else {
                // What is handed out has been brought into memory.
                put_message(reply, message);
            }
        })?;
    }
    if wanted.given > 0 {
        cx.reply.close(messages, usize::try_from(wanted.given).unwrap_or(usize::MAX));
        return Ok(());
    }
    cx.reply.output().truncate(mark);
    // Who does not want to wait for messages waits for the body of one that is there, but not for ever.
    let block_ms = options.block_ms.or(wanted.far.then_some(FAR_MS));
    let Some(block_ms) = block_ms.filter(|_| may_wait) else {
        cx.reply.null();
        return Ok(());
    };
    let now_ms = cx.server.store.now_ms();
    let until_ms = (block_ms > 0).then(|| now_ms.saturating_add(i64::try_from(block_ms).unwrap_or(i64::MAX)));
    let mut block = Block::without_keys(Awaited::Message, until_ms, TimeoutReply::Null);
    block.keys = (options.queues_at..options.queues_at + options.queues.len()).collect();
    cx.server.effects.block = Some(Box::new(block));
    Ok(())
}

pub(super) fn peek_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let mut words = cx.words(2);
    let count = if words.accept("COUNT") { int(words.expect()?)? } else { 1 };
    if words.left() > 0 {
        return Err(Error::SYNTAX);
    }
    let name = cx.arg(1);
    not_others(cx, name)?;
    let ServerCx { server, slot, reply, .. } = cx;
    let (_, ground) = server.ground(*slot);
    let now_ms = ground.now_ms();
    let queue = ground.queue(name)?.ok_or_else(|| Error::mq_no_queue(name))?;
    let messages = reply.deferred_array();
    let max = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX).min(MESSAGES_MAX);
    let mut given = 0;
    let mut put = |id: MessageId| {
        let message = queue.message(id).filter(|message| message.expires_ms.is_none_or(|at_ms| at_ms > now_ms));
        if let Some(message) = message {
            given += usize::from(put_message(reply, &message));
        }
        given < max
    };
    if max > 0 {
        let ids = queue.ready_ids();
        if count > 0 {
            let _ = ids.take_while(|id| put(*id)).count();
        } else {
            let _ = ids.rev().take_while(|id| put(*id)).count();
        }
    }
    reply.close(messages, given);
    Ok(())
}

fn settle_reply(cx: &mut ServerCx<'_>, settled: &[Settled]) {
    cx.reply.array(settled.len());
    for settled in settled {
        cx.reply.int(settled.number());
    }
}

/// The receipts behind `IDS`.
fn named_receipts(words: &mut Words<'_>) -> Result<Vec<Receipt>, Error> {
    if !words.accept("IDS") {
        return Err(Error::SYNTAX);
    }
    receipts(&counted(words, MESSAGES_MAX)?)
}

pub(super) fn ack_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let name = cx.arg(1);
    let mut words = cx.words(2);
    let receipts = named_receipts(&mut words)?;
    if words.left() > 0 {
        return Err(Error::SYNTAX);
    }
    not_others(cx, name)?;
    cx.server.effects.feed_nothing();
    let (broker, mut ground) = ground(cx);
    let settled = broker.acknowledge(&mut ground, name, &receipts)?;
    settle_reply(cx, &settled);
    Ok(())
}

pub(super) fn nack_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let name = cx.arg(1);
    let mut words = cx.words(2);
    let how = if words.accept("SILENT") {
        Nack::Silent
    } else if words.accept("FAIL") {
        Nack::Fail
    } else if words.accept("FATAL") {
        Nack::Fatal
    } else {
        return Err(Error::SYNTAX);
    };
    let receipts = named_receipts(&mut words)?;
    let (mut delay_ms, mut reason) = (None, None);
    while words.left() > 0 {
        if words.accept("DELAY") && delay_ms.is_none() && how != Nack::Fatal {
            delay_ms = Some(ms(words.expect()?)?);
        } else if words.accept("REASON") && reason.is_none() {
            reason = Some(words.expect()?).map(|text| text.get(..REASON_BYTES_MAX).unwrap_or(text));
        } else {
            return Err(Error::SYNTAX);
        }
    }
    not_others(cx, name)?;
    cx.server.effects.feed_nothing();
    let (broker, mut ground) = ground(cx);
    let mut settled = Vec::with_capacity(receipts.len());
    for receipt in receipts {
        settled.push(broker.give_back(&mut ground, name, receipt, Back { how, delay_ms, note: reason })?);
    }
    settle_reply(cx, &settled);
    Ok(())
}

pub(super) fn touch_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let name = cx.arg(1);
    let mut words = cx.words(2);
    if !words.accept("LEASE") {
        return Err(Error::SYNTAX);
    }
    let lease_ms = ms(words.expect()?)?;
    if lease_ms == 0 {
        return Err(Error::MQ_ZERO);
    }
    let receipts = named_receipts(&mut words)?;
    if words.left() > 0 {
        return Err(Error::SYNTAX);
    }
    not_others(cx, name)?;
    let (broker, mut ground) = ground(cx);
    let settled = broker.touch(&mut ground, name, &receipts, lease_ms)?;
    settle_reply(cx, &settled);
    Ok(())
}

pub(super) fn claim_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let (name, consumer, min_idle_ms) = (cx.arg(1), cx.arg(2), ms(cx.arg(3))?);
    let mut words = cx.words(4);
    let receipts = named_receipts(&mut words)?;
    if words.left() > 0 {
        return Err(Error::SYNTAX);
    }
    not_others(cx, name)?;
    let ServerCx { server, slot, reply, .. } = cx;
    let (broker, mut ground) = server.ground(*slot);
    let messages = reply.deferred_array();
    let mut given = 0;
    broker.claim(&mut ground, name, consumer, min_idle_ms, &receipts, &mut |message| {
        put_message(reply, message);
        given += 1;
    })?;
    reply.close(messages, given);
    Ok(())
}

/// What MQ.PENDING is asked for besides a summary.
struct Range<'a> {
    idle_ms: u64,
    from: MessageId,
    to: MessageId,
    count: usize,
    consumer: Option<&'a [u8]>,
}

fn pending_range<'a>(words: &mut Words<'a>) -> Result<Option<Range<'a>>, Error> {
    let mut range = Range { idle_ms: 0, from: MessageId::MIN, to: MessageId::MAX, count: usize::MAX, consumer: None };
    if words.left() == 0 {
        return Ok(None);
    }
    while words.left() > 0 {
        if words.accept("IDLE") {
            range.idle_ms = ms(words.expect()?)?;
        } else if words.accept("CONSUMER") {
            range.consumer = Some(words.expect()?);
        } else {
            let (from, to) = (words.expect()?, words.expect()?);
            range.from = if from == b"-" { MessageId::MIN } else { message_id(from)? };
            range.to = if to == b"+" { MessageId::MAX } else { message_id(to)? };
            range.count = usize::try_from(number(words.expect()?)?).unwrap_or(usize::MAX);
        }
    }
    range.count = range.count.min(MESSAGES_MAX);
    Ok(Some(range))
}

pub(super) fn pending_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let name = cx.arg(1);
    let range = pending_range(&mut cx.words(2))?;
    not_others(cx, name)?;
    let ServerCx { server, slot, reply, .. } = cx;
    let (broker, ground) = server.ground(*slot);
    let now_ms = ground.now_ms();
    let queue = ground.queue(name)?.ok_or_else(|| Error::mq_no_queue(name))?;
    let Some(range) = range else {
        let mut ids = queue.pending_ids(MessageId::MIN);
        reply.map(2);
        reply.text("pending");
        put_ms(reply, queue.figures().unacked);
        reply.text("first");
        match ids.next() {
            Some(id) => reply.bulk(&id.text()),
            None => reply.null(),
        }
        return Ok(());
    };
    let entries = reply.deferred_array();
    let mut given = 0;
    for id in queue.pending_ids(range.from) {
        if given == range.count || id > range.to {
            break;
        }
        let Some(message) = queue.message(id).filter(|message| message.state == State::Unacked) else { continue };
        let idle_ms = now_ms.saturating_sub(message.since_ms.unwrap_or(now_ms));
        let holder = message.holder.and_then(|holder| queue.holder_name(holder));
        let consumer: Vec<u8> = match holder {
            Some(Holder::Named(name)) => name.to_vec(),
            Some(Holder::Consumer(number)) => broker.tag_of(number).unwrap_or_default().to_vec(),
            None => Vec::new(),
        };
        if idle_ms < range.idle_ms || range.consumer.is_some_and(|wanted| wanted != consumer) {
            continue;
        }
        given += 1;
        reply.map(6);
        reply.text("id");
        reply.bulk(&id.text());
        reply.text("consumer");
        reply.bulk(&consumer);
        reply.text("idle");
        put_ms(reply, idle_ms);
        reply.text("acquired");
        reply.int(i64::from(message.acquired));
        reply.text("deliveries");
        reply.int(i64::from(message.deliveries));
        reply.text("lease-until");
        put_optional(reply, message.lease_until_ms);
    }
    reply.close(entries, given);
    Ok(())
}
