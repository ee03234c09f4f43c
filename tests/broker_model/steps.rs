//! Steps at random: what a few clients do with few queues and exchanges, so that everything meets everything.

use super::in_process::random::Rng;
use super::model::Model;

/// What is done next.
pub(super) enum Step {
    /// Milliseconds go by.
    Pass(usize),
    /// The clock is set back.
    Back(usize),
    /// A command.
    Call(Vec<String>),
}

const QUEUES: &[&str] = &["qa", "qb", "qc", "qd", "qe", "qf"];
const EXCHANGES: &[&str] = &["xa", "xb", "xc", "xd", "xe"];
const KEYS: &[&str] = &["a", "b", "a.b", "b.a", "a.b.c"];
const PATTERNS: &[&str] = &["a", "b", "a.b", "#", "*", "a.*", "#.b", "*.#", "a.#.c"];
const BODIES: &[&str] = &["m", "a body", "one of somewhat more bytes than the others"];

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

fn headers(rng: &mut Rng) -> String {
    match rng.below(3) {
        0 => format!(" HEADERS 1 k {}", rng.below(3)),
        1 => format!(" HEADERS 2 k {} l {}", rng.below(3), rng.below(2)),
        _ => String::new(),
    }
}

fn message(rng: &mut Rng) -> String {
    let mut options = headers(rng);
    for (odds, option) in [
        (4, format!(" TTL {}", rng.below(400))),
        (5, format!(" PRIORITY {}", rng.below(5))),
        (4, format!(" GROUP g{}", rng.below(3))),
        (9, format!(" IDMP p {}", rng.below(60))),
        (12, " MANDATORY".to_owned()),
        (9, " ALLORNONE".to_owned()),
        (4, format!(" {} {}", rng.pick(&["DELAY", "DELAY", "HOLD"]), rng.below(300))),
    ] {
        if rng.one_in(odds) {
            options.push_str(&option);
        }
    }
    options
}

fn declare_queue(rng: &mut Rng) -> String {
    let mut line = format!("MQ.QUEUE DECLARE {}", rng.pick(QUEUES));
    for (odds, option) in [
        (4, format!(" MSGTTL {}", rng.below(1_000))),
        (2, format!(" MAXLEN {}", 1 + rng.below(20))),
        (6, format!(" MAXBYTES {}", 50 + rng.below(4_000))),
        (2, format!(" OVERFLOW {}", rng.pick(&["drophead", "reject", "rejectdl"]))),
        (2, format!(" DLX {}", rng.pick(EXCHANGES))),
        (6, format!(" DLRK {}", rng.pick(KEYS))),
        (3, format!(" DLSTRATEGY {}", rng.pick(&["retain", "drop"]))),
        (3, format!(" DELIVERYLIMIT {}", rng.below(3))),
        (3, format!(" RETRY {} {} {}", rng.pick(&["all", "failed", "returned"]), 1 + rng.below(40), 100)),
        (2, format!(" LEASE {}", 1 + rng.below(500))),
        (3, format!(" MAXPRIORITY {}", rng.below(4))),
        (8, " SAC".to_owned()),
        (3, rng.pick(&[" GROUPS", " LASTVALUE k"]).to_owned()),
        (6, " TRACK yes".to_owned()),
    ] {
        if rng.one_in(odds) {
            line.push_str(&option);
        }
    }
    line
}

fn declare_exchange(rng: &mut Rng) -> String {
    let kind = rng.pick(&["direct", "fanout", "fanout", "topic", "topic", "headers"]);
    let mut line = format!("MQ.EXCHANGE DECLARE {} TYPE {kind}", rng.pick(EXCHANGES));
    if rng.one_in(3) {
        line.push_str(&format!(" ALTERNATE {}", rng.pick(EXCHANGES)));
    }
    if rng.one_in(5) {
        line.push_str(" AUTODELETE");
    }
    if rng.one_in(8) {
        line.push_str(" INTERNAL");
    }
    line
}

fn bind(rng: &mut Rng) -> String {
    let (kind, to) = match rng.below(12) {
        0..=7 => ("QUEUE", rng.pick(QUEUES)),
        8..=10 => ("EXCHANGE", rng.pick(EXCHANGES)),
        _ => ("STREAM", "log"),
    };
    let mut line = format!("MQ.BIND {} {kind} {to} {}", rng.pick(EXCHANGES), rng.pick(PATTERNS));
    if rng.one_in(3) {
        line.push_str(&format!(" ARGS 2 x-match {} k {}", rng.pick(&["all", "any"]), rng.below(3)));
    }
    line
}

fn settle(rng: &mut Rng, model: &Model) -> Option<String> {
    let all = &model.receipts;
    let first = all.get(rng.below(all.len()))?;
    let mut ids = vec![first.text()];
    for receipt in all.iter().filter(|it| it.queue == first.queue) {
        if rng.one_in(3) {
            let text = receipt.text();
            ids.push(if rng.one_in(3) { text.split('@').next().unwrap_or(&text).to_owned() } else { text });
        }
    }
    let ids = format!("IDS {} {}", ids.len(), ids.join(" "));
    let queue = &first.queue;
    Some(match rng.below(12) {
        0..=3 => format!("MQ.ACK {queue} {ids}"),
        4 | 5 => format!("MQ.NACK {queue} SILENT {ids}"),
        6 | 7 => format!("MQ.NACK {queue} FAIL {ids}"),
        8 => format!("MQ.NACK {queue} FAIL {ids} DELAY {}", rng.below(200)),
        9 | 10 => format!("MQ.NACK {queue} FATAL {ids} REASON broken"),
        _ => format!("MQ.TOUCH {queue} LEASE {} {ids}", 1 + rng.below(500)),
    })
}

fn get(rng: &mut Rng) -> String {
    let mut line = format!("MQ.GET CONSUMER {} COUNT {}", rng.pick(&["x", "y"]), 1 + rng.below(4));
    if rng.one_in(4) {
        line.push_str(&format!(" LEASE {}", 1 + rng.below(300)));
    }
    if rng.one_in(6) {
        line.push_str(" NOACK");
    }
    let one = rng.pick(QUEUES);
    if rng.one_in(3) {
        let other = rng.pick(QUEUES);
        if other != one {
            return format!("{line} COMPACT QUEUES 2 {one} {other}");
        }
    }
    format!("{line} COMPACT QUEUES 1 {one}")
}

/// Chooses a step.
pub(super) fn next(rng: &mut Rng, model: &Model) -> Step {
    let queue = rng.pick(QUEUES);
    // Most of them are there most of the time.
    let (queues, exchanges) = model.sizes();
    let line = match rng.below(100) {
        0..=49 if queues < 4 => declare_queue(rng),
        0..=49 if exchanges < 3 => declare_exchange(rng),
        0..=11 => return Step::Pass(1 + rng.below(80)),
        12 if rng.one_in(4) => return Step::Back(rng.below(2_000)),
        12 => return Step::Pass(rng.below(3_000)),
        13..=15 => declare_queue(rng),
        16..=18 => declare_exchange(rng),
        19..=24 => bind(rng),
        25 => {
            let all = model.bindings();
            let Some(binding) = all.get(rng.below(all.len())) else { return Step::Pass(1) };
            return Step::Call([words("MQ.UNBIND"), binding.clone()].concat());
        }
        26..=47 => format!("MQ.PUSH {queue} {}{}", body(rng), message(rng)),
        48..=63 => {
            let mut line = format!("MQ.PUB {} {} {}{}", rng.pick(EXCHANGES), rng.pick(KEYS), body(rng), message(rng));
            if rng.one_in(4) {
                line.push_str(&format!(" CC 2 {} {}", rng.pick(KEYS), rng.pick(KEYS)));
            }
            if rng.one_in(2) {
                line.push_str(" WITHIDS");
            }
            line
        }
        64..=75 => get(rng),
        76..=88 => match settle(rng, model) {
            Some(line) => line,
            None => return Step::Pass(1),
        },
        89..=91 => {
            let held = model.held();
            let Some((queue, id)) = held.get(rng.below(held.len())) else {
                return Step::Pass(1);
            };
            format!("{} {queue} {id}", rng.pick(&["MQ.COMMIT", "MQ.COMMIT", "MQ.ABORT"]))
        }
        92..=94 => match rng.below(3) {
            0 => format!("MQ.REDRIVE {queue} TO {}", rng.pick(QUEUES)),
            1 => format!("MQ.REDRIVE {queue} ORIGIN COUNT {}", 1 + rng.below(4)),
            _ => format!("MQ.REDRIVE {queue} REASON {}", rng.pick(&["rejected", "expired", "maxlen"])),
        },
        95 => format!("MQ.QUEUE PAUSE {queue} {}", rng.pick(&["in", "out", "all", "none", "none", "none"])),
        96 if rng.one_in(2) => format!("MQ.EXCHANGE DELETE {}", rng.pick(EXCHANGES)),
        96 => match rng.below(3) {
            0 => format!("MQ.QUEUE PURGE {queue}"),
            1 => format!("MQ.QUEUE DELETE {queue}"),
            _ => format!("DEL {}", rng.pick(&[QUEUES, EXCHANGES, &["log"]].concat())),
        },
        97 | 98 => {
            let (name, priority) = rng.pick(&["p1 1", "p2 2", "p3 3"]).split_once(' ').expect("two words");
            let limit = match rng.below(2) {
                0 => format!("MAXLEN {}", 1 + rng.below(12)),
                _ => format!("MSGTTL {}", rng.below(500)),
            };
            let pattern = rng.pick(&["q*", "q[a-c]", "qd"]);
            let operator = if rng.one_in(3) { " OPERATOR" } else { "" };
            format!("MQ.POLICY SET {name} PATTERN {pattern} APPLY queues PRIORITY {priority}{operator} DEF 1 {limit}")
        }
        _ => format!("MQ.POLICY DEL {}", rng.pick(&["p1", "p2", "p3"])),
    };
    Step::Call(words(&line))
}

/// A body without spaces.
fn body(rng: &mut Rng) -> String {
    let body = rng.pick(BODIES).replace(' ', "-");
    // Long ones may go to a file.
    if rng.below(3) == 0 { body.repeat(700_usize.div_ceil(body.len())) } else { body }
}
