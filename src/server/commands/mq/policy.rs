//! MQ.POLICY: options for all queues, or exchanges, whose names match.

use super::ground;
use super::options::{pairs, take_rule};
use crate::broker::{AppliesTo, Policy};
use crate::command::args::{Words, int};
use crate::command::error::Error;
use crate::server::ServerCx;
use weir_resp::Batch;
use weir_structs::queue::QueueOptions;

pub(super) fn set_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let name = cx.arg(2);
    let mut words = cx.words(3);
    let (mut pattern, mut applies_to, mut priority, mut operator) = (None, AppliesTo::All, 0, false);
    let definition = loop {
        if words.accept("PATTERN") {
            pattern = Some(words.expect()?);
        } else if words.accept("APPLY") {
            applies_to = AppliesTo::parse(words.expect()?).ok_or(Error::SYNTAX)?;
        } else if words.accept("PRIORITY") {
            priority = int(words.expect()?)?;
        } else if words.accept("OPERATOR") {
            operator = true;
        } else if words.accept("DEF") {
            break pairs(&mut words)?;
        } else {
            return Err(Error::SYNTAX);
        }
    };
    let Some(pattern) = pattern.filter(|_| words.left() == 0) else { return Err(Error::SYNTAX) };
    let (options, alternate) = options_of(&definition)?;
    let policy = Policy {
        name: name.into(),
        pattern: pattern.into(),
        applies_to,
        priority,
        operator,
        definition: definition.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        options,
        alternate,
    };
    let (broker, ground) = ground(cx);
    broker.set_policy(policy);
    ground.effects.changed(1);
    cx.reply.ok();
    Ok(())
}

/// The exchange that takes over where another has found nothing.
type Alternate = Option<Box<[u8]>>;

/// What a definition says. A value with several words, as that of RETRY, has spaces between them.
fn options_of(definition: &[(&[u8], &[u8])]) -> Result<(QueueOptions, Alternate), Error> {
    let (mut options, mut alternate) = (QueueOptions::default(), None);
    for (name, value) in definition {
        if name.eq_ignore_ascii_case(b"ALTERNATE") {
            alternate = Some((*value).into());
            continue;
        }
        let several = name.eq_ignore_ascii_case(b"RETRY");
        let values: Vec<&[u8]> = if several { value.split(|byte| *byte == b' ').collect() } else { vec![value] };
        let mut batch = Batch::new();
        if batch.push_command(values).is_err() {
            return Err(Error::SYNTAX);
        }
        let mut words = Words::new(batch.command(0), 0);
        if !take_rule(&mut options, name, &mut words)? || words.left() > 0 {
            return Err(Error::SYNTAX);
        }
    }
    Ok((options, alternate))
}

pub(super) fn del_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let name = cx.arg(2);
    let (broker, ground) = ground(cx);
    let was = broker.remove_policy(name);
    ground.effects.changed(u64::from(was));
    cx.reply.int(i64::from(was));
    Ok(())
}

pub(super) fn list_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let ServerCx { server, slot, reply, .. } = cx;
    let (broker, _) = server.ground(*slot);
    let policies = reply.deferred_array();
    let mut count = 0;
    for policy in broker.policies() {
        count += 1;
        reply.map(6);
        reply.text("name");
        reply.bulk(&policy.name);
        reply.text("pattern");
        reply.bulk(&policy.pattern);
        reply.text("apply");
        reply.text(policy.applies_to.name());
        reply.text("priority");
        reply.int(policy.priority);
        reply.text("operator");
        reply.boolean(policy.operator);
        reply.text("definition");
        reply.map(policy.definition.len());
        for (name, value) in &policy.definition {
            reply.bulk(name);
            reply.bulk(value);
        }
    }
    reply.close(policies, count);
    Ok(())
}
