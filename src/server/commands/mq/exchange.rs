//! MQ.EXCHANGE, MQ.BIND, MQ.UNBIND and MQ.BINDINGS.

use super::message::put_ms;
use super::options::{Pairs, pairs, rkey, yes_or_no};
use super::{ground, list, put_name};
use crate::broker::PlaceKind;
use crate::command::args::is;
use crate::command::error::Error;
use crate::command::reply::Reply;
use crate::server::ServerCx;
use weir_structs::exchange::{Binding, Bound, ExchangeOptions, ExchangeType, Target};

pub(super) fn declare_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let name = cx.arg(2);
    let (mut kind, mut options, mut passive) = (None, ExchangeOptions::default(), false);
    let mut words = cx.words(3);
    while words.left() > 0 {
        if words.accept("TYPE") {
            kind = Some(ExchangeType::parse(words.expect()?).ok_or(Error::MQ_EXCHANGE_TYPE)?);
        } else if words.accept("ALTERNATE") {
            options.alternate = Some(words.expect()?.into());
        } else if words.accept("AUTODELETE") {
            options.auto_delete = true;
        } else if words.accept("INTERNAL") {
            options.internal = true;
        } else if words.accept("RKACL") {
            options.rkacl = yes_or_no(words.expect()?)?;
        } else if words.accept("PASSIVE") {
            passive = true;
        } else {
            return Err(Error::SYNTAX);
        }
    }
    if name.is_empty() {
        return Err(Error::mq_precondition("the exchange without a name is always there"));
    }
    let (broker, mut ground) = ground(cx);
    match ground.exchange(name)?.map(weir_structs::exchange::Exchange::options) {
        Some(known) if !passive => {
            let kind = kind.ok_or(Error::SYNTAX)?;
            let differences = [
                ("TYPE", known.kind != kind),
                ("ALTERNATE", known.alternate != options.alternate),
                ("AUTODELETE", known.auto_delete != options.auto_delete),
                ("INTERNAL", known.internal != options.internal),
                ("RKACL", known.rkacl != options.rkacl),
            ];
            if let Some((argument, _)) = differences.iter().find(|(_, differs)| *differs) {
                return Err(Error::mq_inequivalent(argument));
            }
            ground.effects.feed_nothing();
        }
        Some(_) => ground.effects.feed_nothing(),
        None if passive => return Err(Error::mq_no_exchange(name)),
        None => {
            options.kind = kind.ok_or(Error::SYNTAX)?;
            broker.declare_exchange(&mut ground, name, options);
        }
    }
    cx.reply.ok();
    Ok(())
}

pub(super) fn delete_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let name = cx.arg(2);
    let mut words = cx.words(3);
    let if_unused = words.accept("IFUNUSED");
    if words.left() > 0 {
        return Err(Error::SYNTAX);
    }
    let (broker, mut ground) = ground(cx);
    let exchange = ground.exchange(name)?.ok_or_else(|| Error::mq_no_exchange(name))?;
    if if_unused && (!exchange.is_empty() || !broker.sources(ground.db, Target::Exchange, name).is_empty()) {
        return Err(Error::mq_precondition("the exchange is in use"));
    }
    broker.delete(&mut ground, name, PlaceKind::Exchange);
    cx.reply.ok();
    Ok(())
}

pub(super) fn info_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let name = cx.arg(2);
    let ServerCx { server, slot, reply, .. } = cx;
    let (broker, ground) = server.ground(*slot);
    let exchange = ground.exchange(name)?.ok_or_else(|| Error::mq_no_exchange(name))?;
    let options = exchange.options();
    reply.map(9);
    reply.text("name");
    reply.bulk(name);
    reply.text("type");
    reply.text(options.kind.name());
    reply.text("created");
    put_ms(reply, exchange.created_ms());
    reply.text("alternate");
    put_name(reply, options.alternate.as_deref());
    reply.text("autodelete");
    reply.boolean(options.auto_delete);
    reply.text("internal");
    reply.boolean(options.internal);
    reply.text("rkacl");
    reply.boolean(options.rkacl);
    reply.text("bindings");
    reply.count(exchange.len());
    reply.text("sources");
    let sources = broker.sources(ground.db, Target::Exchange, name);
    reply.array(sources.len());
    sources.iter().for_each(|source| reply.bulk(source));
    Ok(())
}

pub(super) fn list_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    list(cx, PlaceKind::Exchange)
}

/// Arguments of a binding, checked as far as words go.
fn binding_args<'a>(cx: &ServerCx<'a>) -> Result<Pairs<'a>, Error> {
    let mut words = cx.words(5);
    let args = if words.accept("ARGS") { pairs(&mut words)? } else { Vec::new() };
    if words.left() > 0 { Err(Error::SYNTAX) } else { Ok(args) }
}

pub(super) fn bind_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let args = binding_args(cx)?;
    let target = Target::parse(cx.arg(2)).ok_or(Error::SYNTAX)?;
    let (source, name, rkey) = (cx.arg(1), cx.arg(3), rkey(cx.arg(4))?);
    let (broker, mut ground) = ground(cx);
    let new = broker.bind(&mut ground, source, &Binding { target, name, rkey, args: &args })?;
    cx.reply.int(i64::from(new));
    Ok(())
}

pub(super) fn unbind_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let args = binding_args(cx)?;
    let target = Target::parse(cx.arg(2)).ok_or(Error::SYNTAX)?;
    let (source, name, rkey) = (cx.arg(1), cx.arg(3), rkey(cx.arg(4))?);
    let (broker, mut ground) = ground(cx);
    let was = broker.unbind(&mut ground, source, &Binding { target, name, rkey, args: &args })?;
    cx.reply.int(i64::from(was));
    Ok(())
}

fn put_binding(reply: &mut Reply<'_>, source: &[u8], bound: &Bound<'_>) {
    reply.map(5);
    reply.text("source");
    reply.bulk(source);
    reply.text("type");
    reply.text(bound.target.name());
    reply.text("destination");
    reply.bulk(bound.name);
    reply.text("rkey");
    reply.bulk(bound.rkey);
    reply.text("args");
    reply.map(bound.args().count());
    for (name, value) in bound.args() {
        reply.bulk(name);
        reply.bulk(value);
    }
}

pub(super) fn bindings_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let (which, name) = (cx.arg(1), cx.arg(2));
    let ServerCx { server, slot, reply, .. } = cx;
    let (broker, ground) = server.ground(*slot);
    if is(which, "FROM") {
        let exchange = ground.exchange(name)?.ok_or_else(|| Error::mq_no_exchange(name))?;
        reply.array(exchange.len());
        exchange.bindings().for_each(|bound| put_binding(reply, name, &bound));
        return Ok(());
    }
    if !is(which, "TO") {
        return Err(Error::SYNTAX);
    }
    let bindings = reply.deferred_array();
    let mut count = 0;
    for target in [Target::Queue, Target::Exchange] {
        for source in broker.sources(ground.db, target, name) {
            let Some(exchange) = ground.exchange(&source)? else { continue };
            for bound in exchange.bindings_to(target, name) {
                put_binding(reply, &source, &bound);
                count += 1;
            }
        }
    }
    reply.close(bindings, count);
    Ok(())
}
