//! The scenarios.
//!
//! | name | what is done | figures |
//! |---|---|---|
//! | `put` | paths that are there get new values, so many requests on their way at a time | writes a second; microseconds from asking to the answer |
//! | `get` | the same with reads | the same |
//! | `observe` | observers of one prefix, divided among the connections; a path below it changes, one change after the other | milliseconds from asking for the change until the first, the middle and the last observer has the value |
//! | `flow` | the same, but the changes come as quickly as the registry takes them | values a second that come to observers |
//! | `hold` | observers of single paths are made, and stay | none: says `connected` and `holding` and waits each time for a line, so that memory can be looked at |
//! | `resume` | every path changes once while nobody observes; then an observer wants to be told all of it | milliseconds until it has everything |
//!
//! ZooKeeper keeps no history: who comes back there lists the paths and reads them all.
//!
//! A value begins with a number: that of its path, or of the change. What comes is looked at.

use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

use crate::connections::{At, Connections};
use crate::session::{Heard, Observed, Session};
use crate::{Options, Outcome, Registry};

/// A value holds a number and what tells it from the one before.
pub(crate) const VALUE_BYTES_MIN: usize = 16;
/// Requests on their way while something is prepared.
const PREPARING: u64 = 1000;
const TOP: &[u8] = b"/app";
const BELOW_TOP: &[u8] = b"/app/";
const OBSERVED_TOP: &[u8] = b"/service";
const OBSERVED_PREFIX: &[u8] = b"/service/";
const OBSERVED_PATH: &[u8] = b"/service/flag";

pub(crate) type Figures = Vec<(&'static str, String)>;

pub(crate) fn run(name: &str, options: &Options) -> Outcome<Figures> {
    match name {
        "put" => requests(options, Kind::Put),
        "get" => requests(options, Kind::Get),
        "observe" => observe(options),
        "flow" => flow(options),
        "hold" => hold(options),
        "resume" => resume(options),
        _ => Err(format!("there is no scenario '{name}'").into()),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Create,
    Put,
    Get,
}

/// Asks for things over connections, of which each has its share of what may be on its way.
struct Asking<'o> {
    options: &'o Options,
    kind: Kind,
    /// Whether paths have their turn one after the other, and not far from each other.
    is_in_order: bool,
    count: u64,
    outstanding: u64,
    value: Vec<u8>,
}

impl Asking<'_> {
    /// How long each took, in nanoseconds, how long all of it took, and the last revision.
    fn run(&mut self, connections: &mut Connections, over: &[At]) -> Outcome<(Vec<u64>, Duration, u64)> {
        let (mut asked, mut last_revision) = (0, 0);
        let mut took_ns = Vec::with_capacity(self.count as usize);
        let began = Instant::now();
        let mut asked_ns = vec![0; self.count as usize];
        // All connections begin.
        for turn in 0..self.outstanding {
            self.ask(connections, over[(turn % over.len() as u64) as usize], &mut asked, began, &mut asked_ns);
        }
        for &at in over {
            connections.send(at)?;
        }
        let mut again = Vec::new();
        while (took_ns.len() as u64) < self.count {
            connections.turn(|at, heard| {
                let tag = match heard {
                    Heard::Written(tag, revision) if self.kind != Kind::Get => {
                        last_revision = last_revision.max(revision);
                        tag
                    }
                    Heard::Value(tag, value) if self.kind == Kind::Get => {
                        if number(value.unwrap_or_default())? != self.path_number(tag) {
                            return Err("a path has another value than was put there".into());
                        }
                        tag
                    }
                    other => return Err(format!("{other:?} came instead of an answer").into()),
                };
                let asked_ns = asked_ns.get(tag as usize).ok_or("an answer to nothing")?;
                took_ns.push(began.elapsed().as_nanos() as u64 - asked_ns);
                again.push(at);
                Ok(())
            })?;
            // What follows leaves in as few packets as what came: a connection's answers came together.
            let mut previous = None;
            for at in again.drain(..) {
                if let Some(previous) = previous.replace(at)
                    && previous != at
                {
                    connections.send(previous)?;
                }
                self.ask(connections, at, &mut asked, began, &mut asked_ns);
            }
            if let Some(at) = previous {
                connections.send(at)?;
            }
        }
        Ok((took_ns, began.elapsed(), last_revision))
    }

    /// One request more, if there is one.
    fn ask(&mut self, connections: &mut Connections, at: At, asked: &mut u64, began: Instant, asked_ns: &mut [u64]) {
        if *asked == self.count {
            return;
        }
        let tag = *asked;
        *asked += 1;
        let number = self.path_number(tag);
        let path = path(number);
        self.value[..8].copy_from_slice(&number.to_le_bytes());
        self.value[8..16].copy_from_slice(&tag.to_le_bytes());
        asked_ns[tag as usize] = began.elapsed().as_nanos() as u64;
        let Asking { kind, value, .. } = self;
        connections.ask(at, |session, to| match kind {
            Kind::Create => session.create(tag, &path, value, to),
            Kind::Put => session.put(tag, &path, value, to),
            Kind::Get => session.get(tag, &path, to),
        });
    }

    /// The path of a request.
    fn path_number(&self, tag: u64) -> u64 {
        let chosen = if self.is_in_order { tag } else { tag.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20 };
        chosen % self.options.paths
    }
}

/// Connections, and all paths with their first values; the revision after that.
fn prepare(options: &Options, connections: &mut Connections) -> Outcome<(Vec<At>, u64)> {
    let mut over = Vec::new();
    for _ in 0..options.connections {
        over.push(connections.open(options.port, options.session())?);
    }
    once(connections, over[0], |session, to| session.create(0, TOP, b"", to))?;
    let revision = with_all(options, Kind::Create, connections, over[0])?;
    Ok((over, revision))
}

fn asking(options: &Options, kind: Kind, count: u64, outstanding: u64) -> Asking<'_> {
    Asking { options, kind, is_in_order: false, count, outstanding, value: vec![b'x'; options.size] }
}

/// Does the same once with each path.
fn with_all(options: &Options, kind: Kind, connections: &mut Connections, at: At) -> Outcome<u64> {
    let mut asking = asking(options, kind, options.paths, PREPARING);
    asking.is_in_order = true;
    Ok(asking.run(connections, &[at])?.2)
}

/// Asks for one thing and waits for the answer.
fn once(connections: &mut Connections, at: At, ask: impl FnOnce(&mut dyn Session, &mut Vec<u8>)) -> Outcome<()> {
    connections.ask(at, ask);
    connections.send(at)?;
    let mut is_answered = false;
    while !is_answered {
        connections.turn(|_, heard| {
            is_answered |= matches!(heard, Heard::Written(..) | Heard::Listed(..));
            Ok(())
        })?;
    }
    Ok(())
}

fn requests(options: &Options, kind: Kind) -> Outcome<Figures> {
    let mut connections = Connections::new()?;
    let (over, _) = prepare(options, &mut connections)?;
    let outstanding = options.outstanding.max(options.connections);
    // What compiles itself while it runs, as Java does, has time for it.
    if options.warm > 0 {
        asking(options, kind, options.warm, outstanding).run(&mut connections, &over)?;
    }
    let (mut took_ns, all, _) = asking(options, kind, options.requests, outstanding).run(&mut connections, &over)?;
    took_ns.sort_unstable();
    let us = |share: f64| format!("{:.1}", at_share(&took_ns, share) as f64 / 1000.0);
    let rate = format!("{:.0}", options.requests as f64 / all.as_secs_f64());
    Ok(vec![("rate", rate), ("p50-us", us(0.5)), ("p99-us", us(0.99))])
}

/// Connections with observers of one prefix, and one that writes.
fn with_observers(options: &Options) -> Outcome<(Connections, At)> {
    let mut connections = Connections::new()?;
    let writer = connections.open(options.port, options.session())?;
    once(&mut connections, writer, |session, to| session.create(0, OBSERVED_TOP, b"", to))?;
    once(&mut connections, writer, |session, to| session.create(0, OBSERVED_PATH, &[0; VALUE_BYTES_MIN], to))?;
    let mut made = 0;
    for connection in 0..options.connections {
        let at = connections.open(options.port, options.session())?;
        let mine = options.observers * (connection + 1) / options.connections - made;
        made += mine;
        let observed = Observed { path: OBSERVED_PREFIX, is_prefix: true, from: 0 };
        make_observers(&mut connections, &[at], mine, |_| observed)?;
    }
    Ok((connections, writer))
}

/// Makes observers on each of these connections, numbered from 1, and waits until they are there.
fn make_observers<'a>(
    connections: &mut Connections,
    over: &[At],
    each: u64,
    observed: impl Fn(u64) -> Observed<'a>,
) -> Outcome<()> {
    // Not more than this at a time: who is answered only at the end has all of it in its buffers.
    const AT_ONCE: u64 = 1000;
    for first in (0..each).step_by(AT_ONCE as usize) {
        let numbers = first..each.min(first + AT_ONCE);
        for &at in over {
            for number in numbers.clone() {
                connections.ask(at, |session, to| session.observe(number + 1, observed(number), to));
            }
            connections.send(at)?;
        }
        let mut missing = (numbers.end - numbers.start) * over.len() as u64;
        while missing > 0 {
            connections.turn(|_, heard| {
                missing -= u64::from(matches!(heard, Heard::Observing(_)));
                Ok(())
            })?;
        }
    }
    Ok(())
}

fn observe(options: &Options) -> Outcome<Figures> {
    let (mut connections, writer) = with_observers(options)?;
    let mut value = vec![b'x'; options.size];
    let mut of_all: [Vec<f64>; 6] = Default::default();
    for change in 1..=options.changes * 2 {
        value[..8].copy_from_slice(&change.to_le_bytes());
        let (mut noticed_ns, mut had_ns) = (Vec::new(), Vec::new());
        let mut is_written = false;
        let began = Instant::now();
        connections.ask(writer, |session, to| session.put(0, OBSERVED_PATH, &value, to));
        connections.send(writer)?;
        while had_ns.len() < options.observers as usize || !is_written {
            connections.turn(|_, heard| {
                match heard {
                    Heard::Written(..) => is_written = true,
                    Heard::Notice => noticed_ns.push(began.elapsed().as_nanos() as u64),
                    Heard::Event(value) if number(value)? == change => had_ns.push(began.elapsed().as_nanos() as u64),
                    other => return Err(format!("{other:?} came to an observer").into()),
                }
                Ok(())
            })?;
        }
        // The first half is for who learns while he runs, and is not counted.
        if change > options.changes {
            // Where the value comes with the notice, it is one.
            let noticed_ns = if noticed_ns.is_empty() { had_ns.clone() } else { noticed_ns };
            for (at, of_change) in [had_ns, noticed_ns].into_iter().enumerate() {
                for (share, shown) in [0.0, 0.5, 1.0].into_iter().zip(&mut of_all[3 * at..]) {
                    shown.push(at_share(&of_change, share) as f64 / 1e6);
                }
            }
        }
    }
    let names = ["first-ms", "median-ms", "last-ms", "first-notice-ms", "median-notice-ms", "last-notice-ms"];
    let middle = |mut of_changes: Vec<f64>| {
        of_changes.sort_unstable_by(f64::total_cmp);
        format!("{:.3}", at_share(&of_changes, 0.5))
    };
    Ok(names.into_iter().zip(of_all.map(middle)).collect())
}

fn flow(options: &Options) -> Outcome<Figures> {
    let (mut connections, writer) = with_observers(options)?;
    let wanted = options.requests * options.observers;
    let (mut asked, mut written, mut events) = (0_u64, 0_u64, 0_u64);
    let mut value = vec![b'x'; options.size];
    let began = Instant::now();
    while events < wanted || written < options.requests {
        while asked < options.requests && asked < written + options.outstanding {
            asked += 1;
            value[..8].copy_from_slice(&asked.to_le_bytes());
            connections.ask(writer, |session, to| session.put(0, OBSERVED_PATH, &value, to));
        }
        connections.send(writer)?;
        connections.turn(|_, heard| {
            match heard {
                Heard::Written(..) => written += 1,
                Heard::Event(_) => events += 1,
                Heard::Notice => {}
                other => return Err(format!("{other:?} came to an observer").into()),
            }
            Ok(())
        })?;
    }
    let seconds = began.elapsed().as_secs_f64();
    let rate = |count: u64| format!("{:.0}", count as f64 / seconds);
    Ok(vec![("rate", rate(events)), ("writes", rate(written))])
}

fn hold(options: &Options) -> Outcome<Figures> {
    let mut connections = Connections::new()?;
    let (over, _) = prepare(options, &mut connections)?;
    wait_for_line("connected")?;
    let paths: Vec<Vec<u8>> = (0..options.paths).map(path).collect();
    let observed =
        |number: u64| Observed { path: &paths[(number % options.paths) as usize], is_prefix: false, from: 0 };
    let began = Instant::now();
    make_observers(&mut connections, &over, options.observers / options.connections, observed)?;
    let seconds = began.elapsed().as_secs_f64();
    wait_for_line("holding")?;
    let made = options.observers / options.connections * options.connections;
    Ok(vec![("made", made.to_string()), ("rate", format!("{:.0}", made as f64 / seconds))])
}

fn wait_for_line(saying: &str) -> Outcome<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{saying}")?;
    out.flush()?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    if line.is_empty() { Err("nobody says that it goes on".into()) } else { Ok(()) }
}

fn resume(options: &Options) -> Outcome<Figures> {
    let mut connections = Connections::new()?;
    let (over, revision) = prepare(options, &mut connections)?;
    with_all(options, Kind::Put, &mut connections, over[0])?;
    let mut took_ms = Vec::new();
    for round in 0..options.changes * 2 {
        let at = connections.open(options.port, options.session())?;
        let began = Instant::now();
        if options.registry == Registry::ZooKeeper {
            once(&mut connections, at, |session, to| session.list(0, TOP, to))?;
            with_all(options, Kind::Get, &mut connections, at)?;
        } else {
            let observed = Observed { path: BELOW_TOP, is_prefix: true, from: revision + 1 };
            connections.ask(at, |session, to| session.observe(1, observed, to));
            connections.send(at)?;
            be_told_all(options, &mut connections)?;
        }
        if round >= options.changes {
            took_ms.push(began.elapsed().as_secs_f64() * 1000.0);
        }
    }
    took_ms.sort_unstable_by(f64::total_cmp);
    Ok(vec![
        ("median-ms", format!("{:.2}", at_share(&took_ms, 0.5))),
        ("longest-ms", format!("{:.2}", at_share(&took_ms, 1.0))),
    ])
}

/// Waits for one event of each path.
fn be_told_all(options: &Options, connections: &mut Connections) -> Outcome<()> {
    let mut told = vec![false; options.paths as usize];
    let mut missing = options.paths;
    while missing > 0 {
        connections.turn(|_, heard| {
            if let Heard::Event(value) = heard {
                let told = told.get_mut(number(value)? as usize).ok_or("an event of a path that is not there")?;
                if std::mem::replace(told, true) {
                    return Err("an event came twice".into());
                }
                missing -= 1;
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn path(number: u64) -> Vec<u8> {
    [BELOW_TOP, format!("{number:06}").as_bytes()].concat()
}

fn number(value: &[u8]) -> Outcome<u64> {
    let (number, _) = value.split_first_chunk().ok_or("a value that is too short")?;
    Ok(u64::from_le_bytes(*number))
}

/// The value below which so great a share of the ordered values is.
fn at_share<T: Copy + Default>(ordered: &[T], share: f64) -> T {
    let at = (ordered.len() as f64 * share) as usize;
    ordered.get(at.min(ordered.len().saturating_sub(1))).copied().unwrap_or_default()
}
