//! MQ.QUEUE: queues are declared, looked at, emptied, paused and deleted.

use super::message::{put_ms, put_optional};
use super::options::{OVERFLOWS, RETRIES, STRATEGIES, name_of, queue_options};
use super::{ground, list, not_others, put_name};
use crate::broker::PlaceKind;
use crate::command::error::Error;
use crate::command::reply::Reply;
use crate::server::ServerCx;
use weir_structs::exchange::Target;
use weir_structs::queue::{DeathReason, Paused, QueueOptions, Rules};

/// Names of what is closed.
const PAUSES: &[(&str, Paused)] =
    &[("none", Paused::NONE), ("in", Paused::IN), ("out", Paused::OUT), ("all", Paused::ALL)];

pub(super) fn declare_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let name = cx.arg(2);
    let (options, passive) = queue_options(&mut cx.words(3))?;
    not_others(cx, name)?;
    let owner = options.exclusive.then(|| cx.client().id.0);
    let repeats = cx.server.store.holds_deadlines();
    let (broker, mut ground) = ground(cx);
    let existing = ground.queue(name)?.map(|queue| difference(queue.options(), &options));
    let created = match existing {
        None if passive => return Err(Error::mq_no_queue(name)),
        None => {
            broker.declare_queue(&mut ground, name, options, owner.filter(|_| !repeats));
            true
        }
        Some(Some(argument)) if !passive => return Err(Error::mq_inequivalent(argument)),
        Some(_) => {
            broker.used(&ground, name);
            ground.effects.feed_nothing();
            false
        }
    };
    let (messages, consumers) = match ground.queue(name)? {
        Some(queue) => (queue.figures().ready, broker.consumers_of(ground.db, queue.uid()).len()),
        None => (0, 0),
    };
    let reply = &mut cx.reply;
    reply.map(4);
    reply.text("name");
    reply.bulk(name);
    reply.text("messages");
    put_ms(reply, messages);
    reply.text("consumers");
    reply.count(consumers);
    reply.text("created");
    reply.boolean(created);
    Ok(())
}

/// By which argument two declarations differ.
fn difference(one: &QueueOptions, other: &QueueOptions) -> Option<&'static str> {
    let differences = [
        ("EXCLUSIVE", one.exclusive != other.exclusive),
        ("AUTODELETE", one.auto_delete != other.auto_delete),
        ("EXPIRES", one.expires_ms != other.expires_ms),
        ("MSGTTL", one.msg_ttl_ms != other.msg_ttl_ms),
        ("MAXLEN", one.max_len != other.max_len),
        ("MAXBYTES", one.max_bytes != other.max_bytes),
        ("OVERFLOW", one.overflow != other.overflow),
        ("DLX", one.dlx != other.dlx),
        ("DLRK", one.dl_rkey != other.dl_rkey),
        ("DLSTRATEGY", one.dl_strategy != other.dl_strategy),
        ("DELIVERYLIMIT", one.delivery_limit != other.delivery_limit),
        ("RETRY", one.retry != other.retry),
        ("LEASE", one.lease_ms != other.lease_ms),
        ("MAXPRIORITY", one.max_priority != other.max_priority),
        ("SAC", one.sac != other.sac),
        ("GROUPS", one.groups != other.groups),
        ("LASTVALUE", one.last_value != other.last_value),
        ("DEDUP", one.dedup != other.dedup),
        ("TRACK", one.track != other.track),
    ];
    differences.iter().find(|(_, differs)| *differs).map(|(name, _)| *name)
}

pub(super) fn delete_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let name = cx.arg(2);
    let (mut if_empty, mut if_unused) = (false, false);
    let mut words = cx.words(3);
    while words.left() > 0 {
        if words.accept("IFEMPTY") {
            if_empty = true;
        } else if words.accept("IFUNUSED") {
            if_unused = true;
        } else {
            return Err(Error::SYNTAX);
        }
    }
    not_others(cx, name)?;
    let (broker, mut ground) = ground(cx);
    let Some(queue) = ground.queue(name)? else { return Err(Error::mq_no_queue(name)) };
    let (figures, uid) = (queue.figures(), queue.uid());
    if if_empty && !queue.is_empty() {
        return Err(Error::mq_precondition("the queue is not empty"));
    }
    if if_unused && !broker.consumers_of(ground.db, uid).is_empty() {
        return Err(Error::mq_precondition("the queue is in use"));
    }
    broker.delete(&mut ground, name, PlaceKind::Queue);
    put_ms(&mut cx.reply, figures.ready);
    Ok(())
}

pub(super) fn purge_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let name = cx.arg(2);
    not_others(cx, name)?;
    cx.server.effects.feed_nothing();
    let (broker, mut ground) = ground(cx);
    let purged = broker.purge(&mut ground, name)?;
    put_ms(&mut cx.reply, purged);
    Ok(())
}

pub(super) fn pause_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let (name, what) = (cx.arg(2), cx.arg(3));
    not_others(cx, name)?;
    if what.eq_ignore_ascii_case(b"state") {
        let (_, ground) = ground(cx);
        let paused = ground.queue(name)?.ok_or_else(|| Error::mq_no_queue(name))?.paused();
        cx.reply.text(name_of(PAUSES, paused));
        return Ok(());
    }
    let paused = super::options::named(PAUSES, what)?;
    let (broker, mut ground) = ground(cx);
    broker.pause(&mut ground, name, paused)?;
    cx.reply.ok();
    Ok(())
}

pub(super) fn list_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    list(cx, PlaceKind::Queue)
}

pub(super) fn consumers_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let name = cx.arg(2);
    let (broker, ground) = ground(cx);
    let uid = ground.queue(name)?.ok_or_else(|| Error::mq_no_queue(name))?.uid();
    let consumers = broker.consumers_of(ground.db, uid);
    let reply = &mut cx.reply;
    reply.array(consumers.len());
    for consumer in consumers {
        reply.map(10);
        reply.text("tag");
        reply.bulk(&consumer.tag);
        reply.text("client");
        put_ms(reply, consumer.client);
        reply.text("prefetch");
        put_ms(reply, consumer.prefetch);
        reply.text("prefetch-bytes");
        put_ms(reply, consumer.prefetch_bytes);
        reply.text("priority");
        reply.int(consumer.priority);
        reply.text("active");
        reply.boolean(consumer.active);
        reply.text("exclusive");
        reply.boolean(consumer.exclusive);
        reply.text("noack");
        reply.boolean(consumer.noack);
        reply.text("unacked");
        put_ms(reply, consumer.unacked);
        reply.text("unacked-bytes");
        put_ms(reply, consumer.bytes);
    }
    Ok(())
}

/// Names with their numbers.
fn put_numbers(reply: &mut Reply<'_>, numbers: &[(&str, u64)]) {
    for (name, number) in numbers {
        reply.text(name);
        put_ms(reply, *number);
    }
}

/// What is in force, by the words with which it is declared.
fn put_rules(reply: &mut Reply<'_>, options: &QueueOptions, rules: &Rules) {
    reply.map(19);
    reply.text("exclusive");
    reply.boolean(options.exclusive);
    reply.text("autodelete");
    reply.boolean(options.auto_delete);
    reply.text("expires");
    put_optional(reply, rules.expires_ms);
    reply.text("msgttl");
    put_optional(reply, rules.msg_ttl_ms);
    reply.text("maxlen");
    put_optional(reply, rules.max_len);
    reply.text("maxbytes");
    put_optional(reply, rules.max_bytes);
    reply.text("overflow");
    reply.text(name_of(OVERFLOWS, rules.overflow));
    reply.text("dlx");
    put_name(reply, rules.dlx.as_deref());
    reply.text("dlrk");
    put_name(reply, rules.dl_rkey.as_deref());
    reply.text("dlstrategy");
    reply.text(name_of(STRATEGIES, rules.dl_strategy));
    reply.text("deliverylimit");
    reply.int(rules.delivery_limit.map_or(-1, i64::from));
    reply.text("retry");
    match rules.retry {
        None => reply.null(),
        Some(retry) => {
            reply.array(3);
            reply.text(name_of(RETRIES, retry.which));
            put_ms(reply, retry.min_ms);
            put_ms(reply, retry.max_ms);
        }
    }
    reply.text("lease");
    put_ms(reply, rules.lease_ms);
    reply.text("maxpriority");
    reply.int(i64::from(rules.max_priority));
    reply.text("sac");
    reply.boolean(rules.sac);
    reply.text("groups");
    reply.boolean(rules.groups);
    reply.text("lastvalue");
    put_name(reply, rules.last_value.as_deref());
    reply.text("dedup");
    reply.array(2);
    put_ms(reply, rules.dedup.ms);
    put_ms(reply, rules.dedup.ids_max);
    reply.text("track");
    reply.boolean(rules.track);
}

pub(super) fn info_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let name = cx.arg(2);
    let ServerCx { server, slot, reply, .. } = cx;
    let (broker, ground) = server.ground(*slot);
    let now_ms = ground.now_ms();
    let queue = ground.queue(name)?.ok_or_else(|| Error::mq_no_queue(name))?;
    let consumers = broker.consumers_of(ground.db, queue.uid());
    let with_credit = consumers.iter().filter(|it| it.prefetch == 0 || it.unacked < it.prefetch).count();
    let figures = queue.figures();
    reply.map(22);
    reply.text("name");
    reply.bulk(name);
    reply.text("created");
    put_ms(reply, queue.created_ms());
    reply.text("paused");
    reply.text(name_of(PAUSES, queue.paused()));
    put_numbers(
        reply,
        &[
            ("messages", queue.len()),
            ("ready", figures.ready),
            ("unacked", figures.unacked),
            ("delayed", figures.delayed),
            ("parked", figures.parked),
            ("held", figures.held),
            ("dead", figures.dead),
            ("ready-bytes", figures.ready_bytes),
            ("bytes", figures.bytes),
            ("paged-bytes", figures.away_bytes),
        ],
    );
    reply.text("consumers");
    reply.count(consumers.len());
    reply.text("consumer-capacity");
    reply.double(if consumers.is_empty() { 0.0 } else { with_credit as f64 / consumers.len() as f64 });
    reply.text("oldest-age");
    put_optional(reply, queue.front_ms().map(|ms| now_ms.saturating_sub(ms)));
    let counters = queue.counters();
    reply.text("totals");
    reply.map(10);
    put_numbers(
        reply,
        &[
            ("published", counters.published),
            ("delivered", counters.delivered),
            ("acked", counters.acked),
            ("redelivered", counters.redelivered),
            ("returned", counters.returned),
            ("rejected", counters.rejected),
            ("expired", counters.expired),
            ("redriven", counters.redriven),
            ("dropped", counters.dropped),
        ],
    );
    reply.text("deadlettered");
    reply.map(DeathReason::ALL.len());
    for (reason, count) in DeathReason::ALL.into_iter().zip(counters.dead_lettered) {
        reply.text(reason.text());
        put_ms(reply, count);
    }
    reply.text("rates");
    let rates = broker.rates(ground.db, queue.uid(), counters, now_ms);
    let (policy, operator) = broker.policy_names(name);
    reply.map(3);
    for (name, rate) in ["publish", "deliver", "ack"].into_iter().zip(rates) {
        reply.text(name);
        reply.double(rate);
    }
    reply.text("policy");
    put_name(reply, policy);
    reply.text("operator-policy");
    put_name(reply, operator);
    reply.text("exchanges");
    let sources = broker.sources(ground.db, Target::Queue, name);
    reply.array(sources.len());
    sources.iter().for_each(|source| reply.bulk(source));
    reply.text("rules");
    put_rules(reply, queue.options(), queue.rules());
    Ok(())
}
