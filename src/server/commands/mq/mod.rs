//! The broker's commands: MQ.*.
//!
//! ```text
//!  publish   PUB PUSH MPUB COMMIT ABORT        queue      QUEUE DECLARE, DELETE, PURGE, PAUSE, INFO, LIST, CONSUMERS
//!  consume   GET PEEK ACK NACK TOUCH PENDING CLAIM        exchange   EXCHANGE, BIND, UNBIND, BINDINGS
//!  subscribe SUB UNSUB QOS                     policy     POLICY
//!  call      CALL REPLY                        redrive    REDRIVE
//! ```

mod call;
mod consume;
mod exchange;
pub(in crate::server) mod message;
mod options;
mod policy;
mod publish;
mod queue;
mod redrive;
mod subscribe;

use crate::broker::{Broker, Ground, Receipt};
use crate::command::args::Words;
use crate::command::error::Error;
use crate::command::reply::Reply;
use crate::command::spec::{Acl, Flags, Group, KeyFlags, KeySpec, Spec};
use crate::command::table::Row;
use crate::server::{ServerCx, ServerFn};
use weir_structs::glob::GlobPattern;
use weir_structs::queue::MessageId;

const WRITES: Flags = Flags::WRITE;
const PUBLISHES: Flags = Flags::WRITE.union(Flags::DENYOOM);
const KEY_RW: KeyFlags = KeyFlags::RW.union(KeyFlags::UPDATE);

const FIRST: &[KeySpec] = &[KeySpec::one(1, KEY_RW)];
const SECOND: &[KeySpec] = &[KeySpec::one(2, KEY_RW)];

const fn row(name: &'static str, arity: i8, flags: Flags, run: ServerFn) -> Row<ServerFn> {
    Row::new(Spec::new(name, arity as _, flags, Acl::SLOW, Group::Generic, "1.0.0").keys(FIRST), run)
}

const fn sub(name: &'static str, arity: i8, flags: Flags, run: ServerFn) -> Row<ServerFn> {
    Row::new(Spec::new(name, arity as _, flags, Acl::SLOW, Group::Generic, "1.0.0").keys(SECOND), run)
}

const fn keyless(name: &'static str, arity: i8, flags: Flags, run: ServerFn) -> Row<ServerFn> {
    Row::new(Spec::new(name, arity as _, flags, Acl::SLOW, Group::Generic, "1.0.0"), run)
}

const fn container(name: &'static str, subs: &'static [Row<ServerFn>]) -> Row<ServerFn> {
    Row::container(Spec::new(name, -2, Flags::empty(), Acl::SLOW, Group::Generic, "1.0.0"), subs)
}

/// Commands of the broker.
pub(super) const COMMANDS: &[Row<ServerFn>] = &[
    row("mq.pub", -4, PUBLISHES, publish::pub_command),
    row("mq.push", -3, PUBLISHES, publish::push_command),
    row("mq.mpub", -4, PUBLISHES, publish::mpub_command),
    row("mq.commit", 3, WRITES, publish::commit_command),
    row("mq.abort", 3, WRITES, publish::abort_command),
    Row::new(
        Spec::new("mq.get", -4, WRITES.union(Flags::BLOCKING), Acl::SLOW, Group::Generic, "1.0.0"),
        consume::get_command,
    ),
    row("mq.peek", -2, Flags::READONLY, consume::peek_command),
    row("mq.ack", -5, WRITES, consume::ack_command),
    row("mq.nack", -6, WRITES, consume::nack_command),
    row("mq.touch", -7, WRITES, consume::touch_command),
    row("mq.pending", -2, Flags::READONLY, consume::pending_command),
    row("mq.claim", -7, WRITES, consume::claim_command),
    row("mq.sub", -4, WRITES.union(Flags::NOSCRIPT).union(Flags::NO_MULTI), subscribe::sub_command),
    keyless("mq.unsub", -2, Flags::NOSCRIPT.union(Flags::NO_MULTI), subscribe::unsub_command),
    keyless("mq.qos", 4, Flags::NOSCRIPT.union(Flags::NO_MULTI), subscribe::qos_command),
    keyless(
        "mq.call",
        -4,
        PUBLISHES.union(Flags::NOSCRIPT).union(Flags::NO_MULTI).union(Flags::BLOCKING),
        call::call_command,
    ),
    keyless("mq.reply", -3, Flags::empty(), call::reply_command),
    row("mq.redrive", -2, PUBLISHES, redrive::redrive_command),
    row("mq.bind", -5, WRITES, exchange::bind_command),
    row("mq.unbind", -5, WRITES, exchange::unbind_command),
    keyless("mq.bindings", 3, Flags::READONLY, exchange::bindings_command),
    keyless("mq.effect", -3, WRITES, effect_command),
    container(
        "mq.queue",
        &[
            sub("declare", -3, PUBLISHES, queue::declare_command),
            sub("delete", -3, WRITES, queue::delete_command),
            sub("purge", 3, WRITES, queue::purge_command),
            sub("pause", 4, WRITES, queue::pause_command),
            sub("info", 3, Flags::READONLY, queue::info_command),
            keyless("list", -2, Flags::READONLY, queue::list_command),
            sub("consumers", 3, Flags::READONLY, queue::consumers_command),
        ],
    ),
    container(
        "mq.exchange",
        &[
            sub("declare", -4, PUBLISHES, exchange::declare_command),
            sub("delete", -3, WRITES, exchange::delete_command),
            sub("info", 3, Flags::READONLY, exchange::info_command),
            keyless("list", -2, Flags::READONLY, exchange::list_command),
        ],
    ),
    container(
        "mq.policy",
        &[
            keyless("set", -6, WRITES, policy::set_command),
            keyless("del", 3, WRITES, policy::del_command),
            keyless("list", 2, Flags::READONLY, policy::list_command),
        ],
    ),
];

/// The broker, and what it works on: the database of the calling client.
fn ground<'c>(cx: &'c mut ServerCx<'_>) -> (&'c mut Broker, Ground<'c>) {
    cx.server.ground(cx.slot)
}

/// An id of a message.
fn message_id(word: &[u8]) -> Result<MessageId, Error> {
    MessageId::parse(word).ok_or(Error::MQ_INVALID_ID)
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
