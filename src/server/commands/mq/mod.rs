//! The broker's commands: MQ.*.
//!
//! ```text
//!  publish   PUB PUSH MPUB COMMIT ABORT        queue      QUEUE DECLARE, DELETE, PURGE, PAUSE, INFO, LIST, CONSUMERS
//!  consume   GET PEEK ACK NACK TOUCH PENDING CLAIM        exchange   EXCHANGE, BIND, UNBIND, BINDINGS
//!  subscribe SUB UNSUB QOS                     policy     POLICY
//!  call      CALL REPLY                        redrive    REDRIVE
//!  schedule  SCHEDULE
//! ```
//!
//! Their rows are in `rows`.

mod call;
mod consume;
mod exchange;
mod help;
pub(in crate::server) mod message;
mod options;
mod policy;
mod publish;
mod queue;
mod redrive;
mod rows;
mod schedule;
mod subscribe;

pub(super) use rows::COMMANDS;

use crate::broker::{Broker, PlaceKind, Receipt};
use crate::command::args::Words;
use crate::command::error::Error;
use crate::command::ground::Ground;
use crate::command::reply::Reply;
use crate::server::ServerCx;
use weir_structs::glob::GlobPattern;

/// The broker, and what it works on: the database of the calling client.
fn ground<'c>(cx: &'c mut ServerCx<'_>) -> (&'c mut Broker, Ground<'c>) {
    cx.server.ground(cx.slot)
}

fn receipts(words: &[&[u8]]) -> Result<Vec<Receipt>, Error> {
    words.iter().map(|word| Receipt::parse(word).ok_or(Error::MQ_INVALID_ID)).collect()
}

/// Refuses the calling client what is exclusive to another.
fn not_others(cx: &mut ServerCx<'_>, queue: &[u8]) -> Result<(), Error> {
    let client = cx.client().id.0;
    let (broker, ground) = ground(cx);
    match broker.owner(ground.db, queue) {
        Some(owner) if owner != client => Err(Error::mq_locked(queue)),
        _ => Ok(()),
    }
}

/// The name under which a client takes messages that has not said one.
fn consumer_name(cx: &mut ServerCx<'_>) -> Vec<u8> {
    let client = cx.client();
    if client.name.is_empty() { format!("client-{}", client.id.0).into_bytes() } else { client.name.clone() }
}

/// Options of what lists names: a pattern, and how many at most.
fn listing(words: &mut Words<'_>) -> Result<(GlobPattern, usize), Error> {
    let (mut pattern, mut count): (&[u8], _) = (b"*", usize::MAX);
    while words.left() > 0 {
        if words.accept("MATCH") {
            pattern = words.expect()?;
        } else if words.accept("COUNT") {
            count = usize::try_from(options::number(words.expect()?)?).unwrap_or(usize::MAX);
        } else {
            return Err(Error::SYNTAX);
        }
    }
    Ok((GlobPattern::new(pattern, false), count))
}

/// Lists the names of queues, or of exchanges.
fn list(cx: &mut ServerCx<'_>, kind: PlaceKind) -> Result<(), Error> {
    let (pattern, count) = listing(&mut cx.words(2))?;
    let (broker, ground) = ground(cx);
    let names = broker.names(ground.db, kind, &pattern, count);
    cx.reply.array(names.len());
    names.iter().for_each(|name| cx.reply.bulk(name));
    Ok(())
}

/// A name, or nothing.
fn put_name(reply: &mut Reply<'_>, name: Option<&[u8]>) {
    match name {
        Some(name) => reply.bulk(name),
        None => reply.null(),
    }
}

fn effect_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let words = cx.words(1);
    let (broker, mut ground) = ground(cx);
    broker.repeat_effect(&mut ground, words)?;
    cx.reply.ok();
    Ok(())
}
