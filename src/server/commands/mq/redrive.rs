//! MQ.REDRIVE: dead letters go back to where they came from, or elsewhere.

use super::options::number;
use super::publish::wait_for_reply;
use super::{ground, not_others};
use crate::command::error::Error;
use crate::server::ServerCx;
use crate::server::client::ClientFlags;
use weir_structs::queue::DeathReason;

pub(super) fn redrive_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let name = cx.arg(1);
    let (mut to, mut origin, mut count, mut reason) = (None, false, usize::MAX, None);
    let mut words = cx.words(2);
    while words.left() > 0 {
        if words.accept("TO") && !origin && to.is_none() {
            to = Some(words.expect()?);
        } else if words.accept("ORIGIN") && to.is_none() {
            origin = true;
        } else if words.accept("COUNT") {
            count = usize::try_from(number(words.expect()?)?).unwrap_or(usize::MAX);
        } else if words.accept("REASON") {
            reason = Some(DeathReason::parse(words.expect()?).ok_or(Error::SYNTAX)?);
        } else {
            return Err(Error::SYNTAX);
        }
    }
    not_others(cx, name)?;
    if let Some(to) = to {
        not_others(cx, to)?;
        if to == name {
            return Err(Error::mq_precondition("a queue cannot be redriven to itself"));
        }
        if ground(cx).1.queue(to)?.is_none() {
            return Err(Error::mq_no_queue(to));
        }
    }
    let client = cx.client();
    let (number, may_wait) = (client.id.0, !client.flags.contains(ClientFlags::BLOCKED));
    if may_wait && cx.server.effects.may_block {
        // Where they go is not among the arguments: whether it may be is asked when that is known.
        let (broker, ground) = ground(cx);
        if broker.redrive_in_slices(&ground, name, to, count, reason, (number, true))? {
            cx.server.effects.feed_nothing();
            wait_for_reply(cx);
            return Ok(());
        }
    }
    if to.is_none() {
        let (broker, ground) = ground(cx);
        let (origins, db) = (broker.origins(&ground, name, count, reason)?, ground.db);
        for origin in origins {
            cx.server.check_origin(cx.slot, cx.command, name, &origin, db)?;
        }
    }
    cx.server.effects.feed_nothing();
    let (broker, mut ground) = ground(cx);
    let moved = broker.redrive(&mut ground, name, to, count, reason)?;
    cx.reply.count(moved);
    Ok(())
}
