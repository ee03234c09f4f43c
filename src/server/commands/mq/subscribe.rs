//! Being sent messages: MQ.SUB, MQ.UNSUB, MQ.QOS.

use super::message::put_ms;
use super::options::{ms, number};
use super::{ground, not_others};
use crate::broker::NewConsumer;
use crate::command::args::int;
use crate::command::error::Error;
use crate::command::reply::Resp;
use crate::server::ServerCx;

/// Messages that a consumer may hold unless it says otherwise.
const PREFETCH: u64 = 100;
/// The longest tag, in bytes.
const TAG_BYTES_MAX: usize = 255;

pub(super) fn sub_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    if cx.client().resp != Resp::V3 {
        return Err(Error::MQ_NO_PROTO);
    }
    let (name, client) = (cx.arg(1), cx.client().id.0);
    let mut words = cx.words(2);
    if !words.accept("TAG") {
        return Err(Error::SYNTAX);
    }
    let tag = words.expect()?;
    if tag.is_empty() || tag.len() > TAG_BYTES_MAX {
        return Err(Error::mq_precondition("a consumer tag has 1 to 255 bytes"));
    }
    let mut new = NewConsumer {
        client,
        tag,
        prefetch: PREFETCH,
        prefetch_bytes: 0,
        priority: 0,
        noack: false,
        exclusive: false,
        lease_ms: None,
    };
    while words.left() > 0 {
        if words.accept("PREFETCH") {
            new.prefetch = number(words.expect()?)?;
        } else if words.accept("PREFETCHBYTES") {
            new.prefetch_bytes = number(words.expect()?)?;
        } else if words.accept("PRIORITY") {
            new.priority = int(words.expect()?)?;
        } else if words.accept("NOACK") {
            new.noack = true;
        } else if words.accept("EXCLUSIVE") {
            new.exclusive = true;
        } else if words.accept("LEASE") {
            new.lease_ms = match ms(words.expect()?)? {
                0 => return Err(Error::MQ_ZERO),
                lease_ms => Some(lease_ms),
            };
        } else {
            return Err(Error::SYNTAX);
        }
    }
    not_others(cx, name)?;
    cx.server.effects.feed_nothing();
    let (broker, mut ground) = ground(cx);
    let subscribed = broker.subscribe(&mut ground, name, &new)?;
    let reply = &mut cx.reply;
    reply.map(3);
    reply.text("tag");
    reply.bulk(tag);
    reply.text("active");
    reply.boolean(subscribed.active);
    reply.text("messages");
    put_ms(reply, subscribed.messages);
    Ok(())
}

pub(super) fn unsub_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let (tag, client) = (cx.arg(1), cx.client().id.0);
    let mut words = cx.words(2);
    let requeue = words.accept("REQUEUE");
    if words.left() > 0 {
        return Err(Error::SYNTAX);
    }
    cx.server.effects.feed_nothing();
    let (broker, _) = ground(cx);
    if !broker.unsubscribe(client, tag, requeue) {
        return Err(Error::mq_precondition("no such consumer tag"));
    }
    cx.reply.ok();
    Ok(())
}

pub(super) fn qos_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let (tag, client) = (cx.arg(1), cx.client().id.0);
    let mut words = cx.words(2);
    if !words.accept("PREFETCH") {
        return Err(Error::SYNTAX);
    }
    let prefetch = number(words.expect()?)?;
    if words.left() > 0 {
        return Err(Error::SYNTAX);
    }
    let (broker, _) = ground(cx);
    if !broker.set_prefetch(client, tag, prefetch) {
        return Err(Error::mq_precondition("no such consumer tag"));
    }
    cx.reply.ok();
    Ok(())
}
