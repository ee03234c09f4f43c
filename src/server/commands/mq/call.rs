//! Asking and answering: MQ.CALL publishes a message and waits for what MQ.REPLY gives back.

use super::ground;
use super::message::put_ms;
use super::options::{ms, pairs, rkey};
use crate::broker::Publication;
use crate::command::blocking::{Awaited, Block, TimeoutReply};
use crate::command::error::Error;
use crate::server::ServerCx;
use weir_structs::queue::When;

/// For so many ms a caller waits that does not say for how long.
const TIMEOUT_MS: u64 = 30_000;

pub(super) fn call_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let (exchange, key, body) = (cx.arg(1), rkey(cx.arg(2))?, cx.arg(3));
    let (mut timeout_ms, mut headers) = (TIMEOUT_MS, Vec::new());
    let mut words = cx.words(4);
    while words.left() > 0 {
        if words.accept("TIMEOUT") {
            timeout_ms = ms(words.expect()?)?;
        } else if words.accept("HEADERS") {
            headers = pairs(&mut words)?;
        } else {
            return Err(Error::SYNTAX);
        }
    }
    let token = cx.server.new_call_token(cx.slot)?;
    let publication = Publication {
        exchange,
        rkey: key,
        cc: &[],
        body,
        headers: &headers,
        priority: 0,
        // Nobody is to answer when nobody waits any more.
        ttl_ms: (timeout_ms > 0).then_some(timeout_ms),
        when: When::Now,
        group: None,
        idmp: None,
        reply_to: Some(&token),
        correlation: None,
        all_or_none: false,
    };
    cx.server.effects.feed_nothing();
    if !exchange.is_empty() {
        cx.server.check_routing(cx.slot, exchange, &[key])?;
    }
    cx.server.check_broker_memory(body.len())?;
    let (broker, mut ground) = ground(cx);
    let published = broker.publish(&mut ground, &publication)?;
    if published.queues.is_empty() && published.others == 0 {
        return Err(published.refused.map_or(Error::MQ_UNROUTABLE, |refusal| refusal.error()));
    }
    let now_ms = cx.server.store.now_ms();
    let until_ms = (timeout_ms > 0).then(|| now_ms.saturating_add(i64::try_from(timeout_ms).unwrap_or(i64::MAX)));
    cx.server.note_call(cx.slot, token);
    cx.server.effects.block = Some(Box::new(Block::without_keys(Awaited::Nothing, until_ms, TimeoutReply::Null)));
    Ok(())
}

pub(super) fn reply_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let (token, body) = (cx.arg(1), cx.arg(2));
    let mut words = cx.words(3);
    let headers = if words.accept("HEADERS") { pairs(&mut words)? } else { Vec::new() };
    if words.left() > 0 {
        return Err(Error::SYNTAX);
    }
    let delivered = cx.server.answer_call(token, |reply| {
        if !headers.is_empty() {
            reply.attribute(1);
            reply.text("headers");
            reply.map(headers.len());
            for (name, value) in &headers {
                reply.bulk(name);
                reply.bulk(value);
            }
        }
        reply.bulk(body);
    });
    put_ms(&mut cx.reply, u64::from(delivered));
    Ok(())
}
