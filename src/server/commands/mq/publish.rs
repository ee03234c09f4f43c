//! Publishing: MQ.PUB, MQ.PUSH, MQ.MPUB, and the second phase of what is published in two, MQ.COMMIT and MQ.ABORT.

use super::message::put_published;
use super::options::{Confirm, PubOptions, RKEY_BYTES_MAX, number, rkey};
use super::{ground, not_others};
use crate::broker::{Publication, Published, Refusal, Waits, message_id};
use crate::command::blocking::{Awaited, Block, TimeoutReply};
use crate::command::error::Error;
use crate::server::ServerCx;
use crate::server::client::ClientFlags;

/// One command publishes at most so many messages.
const MESSAGES_MAX: usize = 100_000;

fn publication<'a>(exchange: &'a [u8], rkey: &'a [u8], body: &'a [u8], options: &'a PubOptions<'a>) -> Publication<'a> {
    Publication {
        exchange,
        rkey,
        cc: &options.cc,
        body,
        headers: &options.headers,
        priority: options.priority,
        ttl_ms: options.ttl_ms,
        when: options.when,
        group: options.group,
        idmp: options.idmp,
        reply_to: options.reply_to,
        correlation: options.correlation,
        all_or_none: options.all_or_none,
    }
}

/// What becomes of a publisher.
enum Outcome {
    Published(Published),
    /// It waits until there is room in this queue.
    Waits(Box<[u8]>),
    /// It goes to very many queues: what comes of it is told later.
    Later,
}

/// Publishes, and says what the publisher is to hear of it.
fn publish(cx: &mut ServerCx<'_>, publication: &Publication<'_>, options: &PubOptions<'_>) -> Result<Outcome, Error> {
    if !publication.exchange.is_empty() {
        cx.server.check_routing(cx.slot, publication.exchange, &[publication.rkey])?;
        cx.server.check_routing(cx.slot, publication.exchange, publication.cc)?;
    }
    cx.server.check_broker_memory(publication.body.len())?;
    match options.confirm {
        Some(Confirm::Fsync) => cx.server.confirm_on_disk(cx.slot, Error::MQ_NO_FILE)?,
        Some(Confirm::Replicas(1.., _)) => return Err(Error::MQ_NO_REPLICAS),
        None | Some(Confirm::Replicas(0, _)) => {}
    }
    let client = cx.client();
    // Who has waited for room has done so in one step, and goes on so.
    let may_wait = !client.flags.contains(ClientFlags::BLOCKED);
    let waits = Waits {
        client: Some(client.id.0),
        with_ids: options.with_ids,
        mandatory: options.mandatory,
        on_disk: options.confirm == Some(Confirm::Fsync),
    };
    let may_wait = may_wait && cx.server.effects.may_block;
    let (broker, mut ground) = ground(cx);
    let published = match may_wait {
        true => broker.publish_in_slices(&mut ground, publication, waits)?,
        false => Some(broker.publish(&mut ground, publication)?),
    };
    let Some(published) = published else { return Ok(Outcome::Later) };
    if let Some(refusal) = &published.refused {
        if let Refusal::Wait(queue) = refusal
            && cx.server.effects.may_block
        {
            return Ok(Outcome::Waits(queue.clone()));
        }
        return Err(refusal.error());
    }
    if options.mandatory && published.queues.is_empty() && published.others == 0 {
        cx.server.broker.count_returned();
        return Err(Error::MQ_UNROUTABLE);
    }
    Ok(Outcome::Published(published))
}

/// The reply comes later.
pub(super) fn wait_for_reply(cx: &mut ServerCx<'_>) {
    cx.server.effects.block = Some(Box::new(Block::without_keys(Awaited::Reply, None, TimeoutReply::Null)));
}

fn wait_for_room(cx: &mut ServerCx<'_>, queue: Box<[u8]>) {
    cx.server.effects.feed_nothing();
    let mut block = Block::without_keys(Awaited::Room, None, TimeoutReply::Null);
    block.others = vec![queue];
    cx.server.effects.block = Some(Box::new(block));
}

pub(super) fn pub_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let now_ms = ground(cx).1.now_ms();
    let (exchange, key, body) = (cx.arg(1), rkey(cx.arg(2))?, cx.arg(3));
    let options = PubOptions::parse(&mut cx.words(4), now_ms)?;
    cx.server.effects.feed_nothing();
    match publish(cx, &publication(exchange, key, body, &options), &options)? {
        Outcome::Published(published) => put_published(&mut cx.reply, &published, options.with_ids),
        Outcome::Waits(queue) => wait_for_room(cx, queue),
        Outcome::Later => wait_for_reply(cx),
    }
    Ok(())
}

pub(super) fn push_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let now_ms = ground(cx).1.now_ms();
    let (queue, body) = (cx.arg(1), cx.arg(2));
    let options = PubOptions::parse(&mut cx.words(3), now_ms)?;
    if !options.cc.is_empty() {
        return Err(Error::SYNTAX);
    }
    not_others(cx, queue)?;
    cx.server.effects.feed_nothing();
    match publish(cx, &publication(b"", queue, body, &options), &options)? {
        Outcome::Published(published) => match published.queues.first() {
            Some((_, id)) => cx.reply.bulk(&id.text()),
            None => return Err(Error::mq_no_queue(queue)),
        },
        Outcome::Waits(queue) => wait_for_room(cx, queue),
        Outcome::Later => wait_for_reply(cx),
    }
    Ok(())
}

pub(super) fn mpub_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let now_ms = ground(cx).1.now_ms();
    let exchange = cx.arg(1);
    let mut words = cx.words(2);
    if !words.accept("COUNT") {
        return Err(Error::SYNTAX);
    }
    let count = usize::try_from(number(words.expect()?)?).unwrap_or(usize::MAX);
    if count > words.left() / 3 {
        return Err(Error::SYNTAX);
    }
    if count > MESSAGES_MAX {
        return Err(Error::MQ_TOO_MANY);
    }
    let mut messages = Vec::with_capacity(count);
    for _ in 0..count {
        let (key, body) = (words.expect()?, words.expect()?);
        if key.len() > RKEY_BYTES_MAX && !exchange.is_empty() {
            return Err(Error::MQ_RKEY_TOO_LONG);
        }
        let options = usize::try_from(number(words.expect()?)?).unwrap_or(usize::MAX);
        if options > words.left() {
            return Err(Error::SYNTAX);
        }
        let end = words.at() + options;
        let parsed = PubOptions::parse(&mut words.until(end), now_ms)?;
        words = cx.words(end);
        messages.push((key, body, parsed));
    }
    if words.left() > 0 {
        return Err(Error::SYNTAX);
    }
    if !exchange.is_empty() {
        let (_, ground) = ground(cx);
        ground.exchange(exchange)?.ok_or_else(|| Error::mq_no_exchange(exchange))?;
    }
    cx.server.effects.feed_nothing();
    let may_block = std::mem::replace(&mut cx.server.effects.may_block, false);
    cx.reply.array(messages.len());
    for (key, body, options) in &messages {
        match publish(cx, &publication(exchange, key, body, options), options) {
            Ok(Outcome::Published(published)) => put_published(&mut cx.reply, &published, options.with_ids),
            Ok(Outcome::Waits(queue)) => cx.reply.error(&Refusal::Full(queue).error()),
            Ok(Outcome::Later) => unreachable!("nobody waits in the middle of a command"),
            Err(error) => cx.reply.error(&error),
        }
    }
    cx.server.effects.may_block = may_block;
    Ok(())
}

fn resolve(cx: &mut ServerCx<'_>, commit: bool) -> Result<(), Error> {
    let (queue, id) = (cx.arg(1), message_id(cx.arg(2))?);
    not_others(cx, queue)?;
    cx.server.effects.feed_nothing();
    let (broker, mut ground) = ground(cx);
    let done = broker.resolve(&mut ground, queue, id, commit)?;
    cx.reply.int(i64::from(done));
    Ok(())
}

pub(super) fn commit_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    resolve(cx, true)
}

pub(super) fn abort_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    resolve(cx, false)
}
