//! MQ.SCHEDULE: messages that are published again and again.

use super::ground;
use super::message::{put_ms, put_optional};
use super::options::{ms, pairs, rkey};
use crate::broker::{Schedule, Times};
use crate::command::error::Error;
use crate::server::ServerCx;

pub(super) fn set_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let name = cx.arg(2);
    let mut words = cx.words(3);
    let (mut cron, mut every, mut zone) = (None, None, None);
    loop {
        if words.accept("CRON") {
            cron = Some(words.expect()?);
        } else if words.accept("EVERY") {
            every = Some(ms(words.expect()?)?);
        } else if words.accept("ZONE") {
            zone = Some(words.expect()?);
        } else if words.accept("PUB") {
            break;
        } else {
            return Err(Error::SYNTAX);
        }
    }
    let times = match (cron, every) {
        (Some(cron), None) => Times::cron(cron, zone)?,
        (None, Some(0)) => return Err(Error::MQ_ZERO),
        (None, Some(ms)) if zone.is_none() => Times::Every(ms),
        _ => return Err(Error::SYNTAX),
    };
    let (exchange, rkey, body) = (words.expect()?, rkey(words.expect()?)?, words.expect()?);
    let headers = if words.accept("HEADERS") { pairs(&mut words)? } else { Vec::new() };
    if words.left() > 0 {
        return Err(Error::SYNTAX);
    }
    if !exchange.is_empty() {
        cx.server.check_routing(cx.slot, exchange, &[rkey])?;
    }
    let (broker, ground) = ground(cx);
    let schedule = Schedule {
        times,
        db: ground.db,
        exchange: exchange.into(),
        rkey: rkey.into(),
        body: body.into(),
        headers: headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        paused: false,
        next_ms: None,
        runs: 0,
        last_error: None,
    };
    let now_ms = ground.now_ms();
    broker.set_schedule(name, schedule, now_ms);
    ground.effects.changed(1);
    cx.reply.ok();
    Ok(())
}

pub(super) fn del_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let name = cx.arg(2);
    let (broker, ground) = ground(cx);
    let was = broker.remove_schedule(name);
    ground.effects.changed(u64::from(was));
    cx.reply.int(i64::from(was));
    Ok(())
}

fn pause(cx: &mut ServerCx<'_>, paused: bool) -> Result<(), Error> {
    let name = cx.arg(2);
    let (broker, ground) = ground(cx);
    let now_ms = ground.now_ms();
    if !broker.pause_schedule(name, paused, now_ms) {
        return Err(Error::MQ_NO_SCHEDULE);
    }
    ground.effects.changed(1);
    cx.reply.ok();
    Ok(())
}

pub(super) fn pause_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    pause(cx, true)
}

pub(super) fn resume_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    pause(cx, false)
}

pub(super) fn run_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let name = cx.arg(2);
    let (broker, ground) = ground(cx);
    broker.run_schedule(ground.store, ground.effects, name, false).ok_or(Error::MQ_NO_SCHEDULE)??;
    cx.reply.ok();
    Ok(())
}

pub(super) fn list_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let ServerCx { server, slot, reply, .. } = cx;
    let (broker, _) = server.ground(*slot);
    let schedules = reply.deferred_array();
    let mut count = 0;
    for (name, schedule) in broker.schedules() {
        count += 1;
        reply.map(12);
        reply.text("name");
        reply.bulk(name);
        let (cron, zone, every) = match &schedule.times {
            Times::Cron { text, zone, .. } => (Some(&**text), zone.as_deref(), None),
            Times::Every(ms) => (None, None, Some(*ms)),
        };
        reply.text("cron");
        super::put_name(reply, cron);
        reply.text("zone");
        super::put_name(reply, zone);
        for (name, value) in [("every", every), ("next", schedule.next_ms)] {
            reply.text(name);
            put_optional(reply, value);
        }
        reply.text("exchange");
        reply.bulk(&schedule.exchange);
        reply.text("rkey");
        reply.bulk(&schedule.rkey);
        reply.text("body");
        reply.bulk(&schedule.body);
        reply.text("headers");
        reply.map(schedule.headers.len());
        for (name, value) in &schedule.headers {
            reply.bulk(name);
            reply.bulk(value);
        }
        reply.text("paused");
        reply.boolean(schedule.paused);
        reply.text("runs");
        put_ms(reply, schedule.runs);
        reply.text("last-error");
        super::put_name(reply, schedule.last_error.as_ref().map(Error::text));
    }
    reply.close(schedules, count);
    Ok(())
}
