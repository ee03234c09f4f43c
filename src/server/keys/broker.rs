//! Keys of the broker's commands, where options in front of them have values of their own.
//!
//! Who publishes to the exchange without a name names queues by routing keys, and those are the keys then. What stands behind
//! options is found by walking over them, so that no value is taken for a word. A word that is unknown counts as one
//! without a value: its command refuses it.

use super::{KeyUse, Resolver};
use crate::command::args::{int, is};
use crate::command::spec::KeyFlags;
use weir_resp::Argv;

pub(super) const RESOLVERS: &[(&str, Resolver)] = &[
    ("declare", declare_keys),
    ("mq.bind", bind_keys),
    ("mq.call", call_keys),
    ("mq.effect", effect_keys),
    ("mq.get", get_keys),
    ("mq.mpub", mpub_keys),
    ("mq.pub", publish_keys),
    ("mq.redrive", redrive_keys),
    ("mq.unbind", unbind_keys),
    ("set", schedule_keys),
];

/// Something is put there.
const INTO: KeyFlags = KeyFlags::RW.union(KeyFlags::INSERT);
/// What it is, or what belongs to it, changes.
const CHANGED: KeyFlags = KeyFlags::RW.union(KeyFlags::UPDATE);
/// Messages are taken from there.
const TAKEN: KeyFlags = KeyFlags::RW.union(KeyFlags::ACCESS);

/// Options with their numbers of values.
pub(super) type Options = &'static [(&'static str, usize)];

const DECLARE: Options = &[
    ("TYPE", 1),
    ("ALTERNATE", 1),
    ("RKACL", 1),
    ("EXPIRES", 1),
    ("MSGTTL", 1),
    ("MAXLEN", 1),
    ("MAXBYTES", 1),
    ("OVERFLOW", 1),
    ("DLX", 1),
    ("DLRK", 1),
    ("DLSTRATEGY", 1),
    ("DELIVERYLIMIT", 1),
    ("RETRY", 3),
    ("LEASE", 1),
    ("MAXPRIORITY", 1),
    ("LASTVALUE", 1),
    ("DEDUP", 2),
    ("TRACK", 1),
];
/// Besides CC, HEADERS and CONFIRM.
const MESSAGE: Options = &[
    ("PRIORITY", 1),
    ("TTL", 1),
    ("DELAY", 1),
    ("AT", 1),
    ("HOLD", 1),
    ("GROUP", 1),
    ("IDMP", 2),
    ("REPLYTO", 1),
    ("CORR", 1),
];
const GET: Options = &[("CONSUMER", 1), ("COUNT", 1), ("MAXBYTES", 1), ("BLOCK", 1), ("LEASE", 1)];
const REDRIVE: Options = &[("TO", 1), ("COUNT", 1), ("REASON", 1)];
const SCHEDULE: Options = &[("CRON", 1), ("EVERY", 1), ("ZONE", 1)];

/// Where the words of options stand, from an argument on.
pub(super) fn words(argv: Argv<'_>, from: usize, options: Options) -> impl Iterator<Item = usize> {
    let mut at = from;
    std::iter::from_fn(move || {
        let word = argv.get(at)?;
        let here = at;
        at += 1 + options.iter().find(|(name, _)| is(word, name)).map_or(0, |(_, values)| *values);
        Some(here)
    })
}

/// The argument at a place, if there is one.
pub(super) fn push(argv: Argv<'_>, found: &mut Vec<KeyUse>, at: usize, flags: KeyFlags) {
    if at < argv.len() {
        found.push(KeyUse { at, flags });
    }
}

/// The exchange, or the queue that the routing key behind it names.
fn push_published(argv: Argv<'_>, found: &mut Vec<KeyUse>, at: usize) {
    let has_no_name = argv.get(at).is_some_and(<[u8]>::is_empty);
    push(argv, found, at + usize::from(has_no_name), INTO);
}

/// `MQ.QUEUE DECLARE q .. DLX ex ..`, `MQ.EXCHANGE DECLARE ex .. ALTERNATE ex2 ..`
fn declare_keys(argv: Argv<'_>, found: &mut Vec<KeyUse>) {
    push(argv, found, 2, CHANGED);
    let leads_on = |at: &usize| is(argv.at(*at), "DLX") || is(argv.at(*at), "ALTERNATE");
    for at in words(argv, 3, DECLARE).filter(leads_on) {
        push(argv, found, at + 1, INTO);
    }
}

/// `MQ.BIND src kind dst ..`: who binds can read what comes to one, and publish to the other.
fn bind_keys(argv: Argv<'_>, found: &mut Vec<KeyUse>) {
    push(argv, found, 1, CHANGED | KeyFlags::ACCESS);
    push_destination(argv, found, INTO);
}

fn unbind_keys(argv: Argv<'_>, found: &mut Vec<KeyUse>) {
    push(argv, found, 1, CHANGED);
    push_destination(argv, found, CHANGED);
}

/// A channel is no key.
fn push_destination(argv: Argv<'_>, found: &mut Vec<KeyUse>, flags: KeyFlags) {
    if argv.get(2).is_some_and(|kind| !is(kind, "CHANNEL")) {
        push(argv, found, 3, flags);
    }
}

/// `MQ.PUB ex rkey body ..`
fn publish_keys(argv: Argv<'_>, found: &mut Vec<KeyUse>) {
    push_published(argv, found, 1);
    if argv.at(1).is_empty() {
        push_copies(argv, found, 4, argv.len());
    }
}

/// `MQ.CALL ex rkey body ..`
fn call_keys(argv: Argv<'_>, found: &mut Vec<KeyUse>) {
    push_published(argv, found, 1);
}

/// Further routing keys among the options of a message, each of which names a queue.
fn push_copies(argv: Argv<'_>, found: &mut Vec<KeyUse>, from: usize, to: usize) {
    let mut at = from;
    while let Some(word) = argv.get(at).filter(|_| at < to) {
        at += 1;
        if is(word, "CC") {
            let count = number(argv, at);
            found.extend((at + 1..to).take(count).map(|at| KeyUse { at, flags: INTO }));
            at = at.saturating_add(count).saturating_add(1);
        } else if is(word, "HEADERS") {
            at = at.saturating_add(number(argv, at).saturating_mul(2)).saturating_add(1);
        } else if is(word, "CONFIRM") {
            at += if argv.get(at).is_some_and(|what| is(what, "REPLICAS")) { 3 } else { 1 };
        } else {
            at += MESSAGE.iter().find(|(name, _)| is(word, name)).map_or(0, |(_, values)| *values);
        }
    }
}

/// A number among the arguments; 0 if there is none.
pub(super) fn number(argv: Argv<'_>, at: usize) -> usize {
    argv.get(at).and_then(|number| int(number).ok()).and_then(|number| usize::try_from(number).ok()).unwrap_or(0)
}

/// `MQ.MPUB ex COUNT n (rkey body nopts opt ..)*`
fn mpub_keys(argv: Argv<'_>, found: &mut Vec<KeyUse>) {
    if !argv.at(1).is_empty() {
        push(argv, found, 1, INTO);
        return;
    }
    let mut at = 4;
    while at < argv.len() {
        push(argv, found, at, INTO);
        let next = number(argv, at + 2).saturating_add(at + 3);
        push_copies(argv, found, at + 3, next.min(argv.len()));
        at = next;
    }
}

/// `MQ.GET .. QUEUES n q ..`
fn get_keys(argv: Argv<'_>, found: &mut Vec<KeyUse>) {
    let Some(at) = words(argv, 1, GET).find(|at| is(argv.at(*at), "QUEUES")) else { return };
    found.extend((at + 2..argv.len()).take(number(argv, at + 1)).map(|at| KeyUse { at, flags: TAKEN }));
}

/// `MQ.REDRIVE dlq [TO q] ..`
fn redrive_keys(argv: Argv<'_>, found: &mut Vec<KeyUse>) {
    push(argv, found, 1, KeyFlags::RW | KeyFlags::ACCESS | KeyFlags::DELETE);
    for at in words(argv, 2, REDRIVE).filter(|at| is(argv.at(*at), "TO")) {
        push(argv, found, at + 1, INTO);
    }
}

/// `MQ.SCHEDULE SET name .. PUB ex rkey ..`
fn schedule_keys(argv: Argv<'_>, found: &mut Vec<KeyUse>) {
    if let Some(at) = words(argv, 3, SCHEDULE).find(|at| is(argv.at(*at), "PUB")) {
        push_published(argv, found, at + 1);
    }
}

/// `MQ.EFFECT PUT parcel n (queue id meta)*`; the others name one queue first.
fn effect_keys(argv: Argv<'_>, found: &mut Vec<KeyUse>) {
    if !argv.get(1).is_some_and(|what| is(what, "PUT")) {
        push(argv, found, 2, CHANGED);
        return;
    }
    found.extend((4..argv.len()).step_by(3).take(number(argv, 3)).map(|at| KeyUse { at, flags: INTO }));
}

#[cfg(test)]
mod tests {
    use super::super::find_keys;
    use super::*;
    use crate::command::spec::{Acl, BeginSearch, FindKeys, Flags, Group, KeySpec, Spec};
    use weir_resp::Batch;

    #[test]
    fn values_of_options_are_not_taken_for_words() {
        const VAGUE: &[KeySpec] =
            &[KeySpec { flags: KeyFlags::RW, begin: BeginSearch::Unknown, find: FindKeys::Unknown, notes: "" }];
        let cases = [
            ("mq.queue declare q", "q update"),
            ("mq.queue declare q exclusive dlx d dlrk dlx", "q update d insert"),
            ("mq.queue declare dlx lastvalue dlx dlx d retry failed dlx dlx", "dlx update d insert"),
            ("mq.queue declare q dedup dlx dlx sac dlx", "q update"),
            ("mq.exchange declare e type topic alternate a rkacl alternate", "e update a insert"),
            ("mq.exchange declare e alternate alternate", "e update alternate insert"),
            ("mq.bind s queue d k", "s access,update d insert"),
            ("mq.bind s channel d k", "s access,update"),
            ("mq.unbind s stream d k", "s update d update"),
            ("mq.pub e r body", "e insert"),
            ("mq.pub  r body", "r insert"),
            ("mq.call  r body timeout 5", "r insert"),
            ("mq.mpub e count 2 a 1 0 b 2 0", "e insert"),
            ("mq.mpub  count 3 a 1 0 b 2 3 ttl 5 mandatory c 3 0", "a insert b insert c insert"),
            ("mq.mpub  count 3 a 1 9223372036854775807 b 2 0", "a insert"),
            ("mq.mpub  count 2 a 1 3 cc 1 b c 2 0", "a insert b insert c insert"),
            ("mq.pub  a x cc 2 b c ttl 5", "a insert b insert c insert"),
            ("mq.pub  a x headers 1 cc 1 idmp cc 1 confirm replicas 1 cc cc 1 b", "a insert b insert"),
            ("mq.pub  a x group cc confirm fsync cc 1 b", "a insert b insert"),
            ("mq.pub  a x cc 9223372036854775807 b", "a insert b insert"),
            ("mq.pub  a x headers 9223372036854775807 cc 1 b", "a insert"),
            ("mq.pub e a x cc 1 b", "e insert"),
            ("mq.mpub  count 3 a", "a insert"),
            ("mq.get consumer queues noack queues 2 a b", "a access b access"),
            ("mq.get queues 1 a b", "a access"),
            ("mq.get queues 9 a b", "a access b access"),
            ("mq.get queues -1 a b", ""),
            ("mq.get count 5 queues", ""),
            ("mq.get count queues", ""),
            ("mq.redrive d reason to to q count 5", "d access,delete q insert"),
            ("mq.redrive d origin", "d access,delete"),
            ("mq.redrive d to", "d access,delete"),
            ("mq.schedule set pub every 5 pub e r b", "e insert"),
            ("mq.schedule set s cron pub zone pub pub  r b", "r insert"),
            ("mq.schedule set s cron pub", ""),
            ("mq.effect put bytes 2 q 1-0 m r 1-0 m", "q insert r insert"),
            ("mq.effect put bytes 18446744073709551615 q", ""),
            ("mq.effect put bytes 5 q", "q insert"),
            ("mq.effect end q 2 1-0 1-1", "q update"),
            ("mq.effect mark", ""),
        ];
        for (line, wanted) in cases {
            let mut name = line.split(' ').next().unwrap_or_default();
            if matches!(name, "mq.queue" | "mq.exchange" | "mq.schedule") {
                name = line.split(' ').nth(1).unwrap_or_default();
            }
            let command = Spec::new(name, -2, Flags::empty(), Acl::empty(), Group::Broker, "1.0.0").keys(VAGUE);
            let mut batch = Batch::new();
            batch.push_command(line.split(' ').map(str::as_bytes)).unwrap();
            let (argv, mut found) = (batch.command(0), Vec::new());
            find_keys(&command, argv, &mut found).unwrap();
            let kinds = |flags: KeyFlags| {
                let all = KeyFlags::WIRE.iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, name)| *name);
                all.filter(|name| !matches!(*name, "RW" | "RO")).collect::<Vec<_>>().join(",")
            };
            let got: Vec<_> = found
                .iter()
                .map(|key| format!("{} {}", String::from_utf8_lossy(argv.at(key.at)), kinds(key.flags)))
                .collect();
            assert_eq!(got.join(" "), wanted, "{line}");
        }
    }
}
