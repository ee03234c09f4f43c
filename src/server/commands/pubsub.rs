//! Pub/sub: subscriptions, messages, and who subscribes to what.

use crate::command::error::Error;
use crate::command::reply::{Output, Reply};
use crate::command::spec::{Acl, Arg, ArgKind, ChannelArgs, Flags, Group, KeyFlags, KeySpec, Spec};
use crate::command::table::Row;
use crate::pubsub::{Counts, Kind};
use crate::server::client::ClientFlags;
use crate::server::publish::subscriber;
use crate::server::{ServerCx, ServerFn};
use weir_structs::glob::GlobPattern;

const PUBSUB_LOADING_STALE: Flags = Flags::PUBSUB.union(Flags::LOADING).union(Flags::STALE);
const SUBSCRIBES: Flags = PUBSUB_LOADING_STALE.union(Flags::NOSCRIPT).union(Flags::SUBSCRIBED_OK);
const ACL_PUBSUB_SLOW: Acl = Acl::PUBSUB.union(Acl::SLOW);
const ACL_PUBSUB_FAST: Acl = Acl::PUBSUB.union(Acl::FAST);

/// Commands of pub/sub.
pub(super) const COMMANDS: &[Row<ServerFn>] = &[
    Row::new(
        Spec::new("psubscribe", -2, SUBSCRIBES, ACL_PUBSUB_SLOW, Group::PubSub, "2.0.0")
            .channels(ChannelArgs::AllPatterns)
            .doc(
                "O(N) where N is the number of patterns to subscribe to.",
                "Subscribes to all channels that one of the patterns matches.",
            )
            .args(&[Arg::new("pattern", ArgKind::Pattern).multiple()]),
        |cx| subscribe(cx, Kind::Pattern),
    ),
    Row::new(
        Spec::new("publish", 3, PUBSUB_LOADING_STALE.union(Flags::FAST).union(Flags::MAY_REPLICATE), ACL_PUBSUB_FAST, Group::PubSub, "2.0.0")
            .channels(ChannelArgs::First)
            .doc(
                "O(N+M) where N is the number of clients subscribed to the receiving channel and M is the total number of \
                 subscribed patterns (by any client).",
                "Sends a message to those who subscribe to the channel.",
            )
            .args(&[Arg::new("channel", ArgKind::String), Arg::new("message", ArgKind::String)]),
        publish_command,
    ),
    Row::container(
        Spec::new("pubsub", -2, Flags::empty(), Acl::SLOW, Group::PubSub, "2.8.0")
            .doc("Depends on subcommand.", "Tells who subscribes to what."),
        &[
            Row::new(
                Spec::new("channels", -2, PUBSUB_LOADING_STALE, ACL_PUBSUB_SLOW, Group::PubSub, "2.8.0")
                    .doc(
                        "O(N) where N is the number of active channels, and assuming constant time pattern matching \
                         (relatively short channels and patterns)",
                        "Returns the channels that somebody subscribes to by name.",
                    )
                    .args(&[Arg::new("pattern", ArgKind::Pattern).optional()]),
                |cx| channels(cx, Kind::Channel),
            ),
            Row::new(
                Spec::new("help", 2, Flags::LOADING.union(Flags::STALE), Acl::SLOW, Group::PubSub, "6.2.0")
                    .doc("O(1)", "Describes the subcommands."),
                pubsub_help_command,
            ),
            Row::new(
                Spec::new("numpat", 2, PUBSUB_LOADING_STALE, ACL_PUBSUB_SLOW, Group::PubSub, "2.8.0")
                    .doc("O(1)", "Returns how many different patterns are subscribed to."),
                pubsub_numpat_command,
            ),
            Row::new(
                Spec::new("numsub", -2, PUBSUB_LOADING_STALE, ACL_PUBSUB_SLOW, Group::PubSub, "2.8.0")
                    .doc(
                        "O(N) for the NUMSUB subcommand, where N is the number of requested channels",
                        "Returns how many subscribe to each of the channels by name.",
                    )
                    .args(&[Arg::new("channel", ArgKind::String).optional().multiple()]),
                |cx| subscriber_counts(cx, Kind::Channel),
            ),
            Row::new(
                Spec::new("shardchannels", -2, PUBSUB_LOADING_STALE, ACL_PUBSUB_SLOW, Group::PubSub, "7.0.0")
                    .doc(
                        "O(N) where N is the number of active shard channels, and assuming constant time pattern matching \
                         (relatively short shard channels).",
                        "Returns the shard channels that somebody subscribes to.",
                    )
                    .args(&[Arg::new("pattern", ArgKind::Pattern).optional()]),
                |cx| channels(cx, Kind::Shard),
            ),
            Row::new(
                Spec::new("shardnumsub", -2, PUBSUB_LOADING_STALE, ACL_PUBSUB_SLOW, Group::PubSub, "7.0.0")
                    .doc(
                        "O(N) for the SHARDNUMSUB subcommand, where N is the number of requested shard channels",
                        "Returns how many subscribe to each of the shard channels.",
                    )
                    .args(&[Arg::new("shardchannel", ArgKind::String).optional().multiple()]),
                |cx| subscriber_counts(cx, Kind::Shard),
            ),
        ],
    ),
    Row::new(
        Spec::new("punsubscribe", -1, SUBSCRIBES, ACL_PUBSUB_SLOW, Group::PubSub, "2.0.0")
            .doc(
                "O(N) where N is the number of patterns to unsubscribe.",
                "Ends subscriptions to patterns; all of them unless some are named.",
            )
            .args(&[Arg::new("pattern", ArgKind::Pattern).optional().multiple()]),
        |cx| unsubscribe(cx, Kind::Pattern),
    ),
    Row::new(
        Spec::new("spublish", 3, PUBSUB_LOADING_STALE.union(Flags::FAST).union(Flags::MAY_REPLICATE), ACL_PUBSUB_FAST, Group::PubSub, "7.0.0")
            .channels(ChannelArgs::First)
            .keys(&[KeySpec::one(1, KeyFlags::NOT_KEY)])
            .doc(
                "O(N) where N is the number of clients subscribed to the receiving shard channel.",
                "Sends a message to those who subscribe to the shard channel.",
            )
            .args(&[Arg::new("shardchannel", ArgKind::String), Arg::new("message", ArgKind::String)]),
        spublish_command,
    ),
    Row::new(
        Spec::new("ssubscribe", -2, SUBSCRIBES, ACL_PUBSUB_SLOW, Group::PubSub, "7.0.0")
            .channels(ChannelArgs::All)
            .keys(&[KeySpec::range(1, -1, 1, KeyFlags::NOT_KEY)])
            .doc(
                "O(N) where N is the number of shard channels to subscribe to.",
                "Subscribes to shard channels, whose messages stay in their shard.",
            )
            .args(&[Arg::new("shardchannel", ArgKind::String).multiple()]),
        ssubscribe_command,
    ),
    Row::new(
        Spec::new("subscribe", -2, SUBSCRIBES, ACL_PUBSUB_SLOW, Group::PubSub, "2.0.0")
            .channels(ChannelArgs::All)
            .doc("O(N) where N is the number of channels to subscribe to.", "Subscribes to channels.")
            .args(&[Arg::new("channel", ArgKind::String).multiple()]),
        |cx| subscribe(cx, Kind::Channel),
    ),
    Row::new(
        Spec::new("sunsubscribe", -1, SUBSCRIBES, ACL_PUBSUB_SLOW, Group::PubSub, "7.0.0")
            .keys(&[KeySpec::range(1, -1, 1, KeyFlags::NOT_KEY)])
            .doc(
                "O(N) where N is the number of shard channels to unsubscribe.",
                "Ends subscriptions to shard channels; all of them unless some are named.",
            )
            .args(&[Arg::new("shardchannel", ArgKind::String).optional().multiple()]),
        |cx| unsubscribe(cx, Kind::Shard),
    ),
    Row::new(
        Spec::new("unsubscribe", -1, SUBSCRIBES, ACL_PUBSUB_SLOW, Group::PubSub, "2.0.0")
            .doc(
                "O(N) where N is the number of channels to unsubscribe.",
                "Ends subscriptions to channels; all of them unless some are named.",
            )
            .args(&[Arg::new("channel", ArgKind::String).optional().multiple()]),
        |cx| unsubscribe(cx, Kind::Channel),
    ),
];

/// What the confirmations of a kind count: shard channels apart from the other two.
fn counted(counts: Counts, kind: Kind) -> usize {
    match kind {
        Kind::Channel | Kind::Pattern => counts.channels + counts.patterns,
        Kind::Shard => counts.shards,
    }
}

/// Lets `write` confirm what becomes of subscriptions. Confirmations are messages, though they come where replies do: who
/// has turned replies off gets them all the same.
fn confirm(cx: &mut ServerCx<'_>, write: impl FnOnce(&mut ServerCx<'_>, &mut Reply<'_>)) {
    let (slot, resp) = (cx.slot, cx.reply.resp());
    let mut out = Output::default();
    if cx.client().flags.intersects(ClientFlags::REPLY_OFF | ClientFlags::REPLY_SKIP) {
        write(cx, &mut Reply::new(&mut out, resp));
        cx.server.push(slot, out.bytes().into());
    } else {
        std::mem::swap(cx.reply.output(), &mut out);
        write(cx, &mut Reply::new(&mut out, resp));
        *cx.reply.output() = out;
    }
    cx.server.subscriptions_changed(slot);
}

fn confirmation(reply: &mut Reply<'_>, what: &str, name: Option<&[u8]>, count: usize) {
    reply.push(3);
    reply.text(what);
    match name {
        Some(name) => reply.bulk(name),
        None => reply.null(),
    }
    reply.count(count);
}

fn subscribe(cx: &mut ServerCx<'_>, kind: Kind) -> Result<(), Error> {
    let name = cx.command.spec.name;
    confirm(cx, |cx, reply| {
        let subscriber = subscriber(cx.slot);
        for channel in cx.argv.skip(1).iter() {
            cx.server.pubsub.subscribe(kind, subscriber, channel);
            confirmation(reply, name, Some(channel), counted(cx.server.pubsub.counts(subscriber), kind));
        }
    });
    Ok(())
}

fn ssubscribe_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    if !cx.server.effects.may_block {
        return Err(Error::SSUBSCRIBE_DENIED);
    }
    subscribe(cx, Kind::Shard)
}

fn unsubscribe(cx: &mut ServerCx<'_>, kind: Kind) -> Result<(), Error> {
    let name = cx.command.spec.name;
    confirm(cx, |cx, reply| {
        let (subscriber, pubsub) = (subscriber(cx.slot), &mut cx.server.pubsub);
        for channel in cx.argv.skip(1).iter() {
            pubsub.unsubscribe(kind, subscriber, channel);
            confirmation(reply, name, Some(channel), counted(pubsub.counts(subscriber), kind));
        }
        if cx.argv.len() > 1 {
            return;
        }
        let before = pubsub.counts(subscriber);
        let of_kind = pubsub.names_of(subscriber, kind).count();
        let mut left = counted(before, kind);
        if of_kind == 0 {
            confirmation(reply, name, None, left);
        }
        pubsub.unsubscribe_all(kind, subscriber, |channel| {
            left -= 1;
            confirmation(reply, name, Some(channel), left);
        });
    });
    Ok(())
}

fn publish_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let receivers = cx.server.publish(cx.argv.at(1), cx.argv.at(2));
    cx.reply.count(receivers);
    Ok(())
}

fn spublish_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let receivers = cx.server.publish_to_shard(cx.argv.at(1), cx.argv.at(2));
    cx.reply.count(receivers);
    Ok(())
}

fn channels(cx: &mut ServerCx<'_>, kind: Kind) -> Result<(), Error> {
    if cx.argc() > 3 {
        return Err(Error::subcommand_syntax(cx.argv.at(1), "pubsub"));
    }
    let pattern = cx.argv.get(2).map(|pattern| GlobPattern::new(pattern, false));
    let names = cx.server.pubsub.names(kind);
    let array = cx.reply.deferred_array();
    let mut count = 0;
    for name in names.filter(|name| pattern.as_ref().is_none_or(|pattern| pattern.matches(name))) {
        cx.reply.bulk(name);
        count += 1;
    }
    cx.reply.close(array, count);
    Ok(())
}

fn subscriber_counts(cx: &mut ServerCx<'_>, kind: Kind) -> Result<(), Error> {
    let names = cx.argv.skip(2);
    cx.reply.array(2 * names.len());
    for name in names.iter() {
        cx.reply.bulk(name);
        cx.reply.count(cx.server.pubsub.subscribers_of(kind, name).len());
    }
    Ok(())
}

fn pubsub_numpat_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.reply.count(cx.server.pubsub.len(Kind::Pattern));
    Ok(())
}

fn pubsub_help_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.reply.lines(PUBSUB_HELP);
    Ok(())
}

const PUBSUB_HELP: &[&str] = &[
    "PUBSUB <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CHANNELS [<pattern>]",
    "    Show the channels that somebody subscribes to by name, or those of them that",
    "    match <pattern>.",
    "NUMPAT",
    "    Show how many different patterns are subscribed to.",
    "NUMSUB [<channel> ...]",
    "    Show for each channel how many subscribe to it by name.",
    "SHARDCHANNELS [<pattern>]",
    "    Show the shard channels that somebody subscribes to, or those of them that",
    "    match <pattern>.",
    "SHARDNUMSUB [<shardchannel> ...]",
    "    Show for each shard channel how many subscribe to it.",
    "HELP",
    "    Show these lines.",
];
