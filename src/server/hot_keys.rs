//! Hot keys: which keys cost most processor time and most bytes on the network, while somebody asks for it.
//!
//! A session counts what each command costs and shares it out evenly among the command's keys. Commands of a transaction
//! count one by one; those of a script are the script's, with the keys that it names. Nothing is counted, and a command
//! pays one comparison for it, while no session runs.

use super::Server;
use super::keys::{KeyUse, find_keys};
use super::table::Command;
use crate::stats::HeavyHitters;
use crate::stats::process::{CpuTime, CpuTimeOf, cpu_time};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use weir_resp::Argv;

/// Counters for each key that is asked for, so that those are exact enough.
const COUNTERS_A_KEY: usize = 16;
const COUNTERS_MIN: usize = 256;

/// What a session shall do.
#[derive(Clone, Copy, Debug)]
pub(super) struct HotKeysOrder {
    /// Keys are ranked by processor time.
    pub(super) cpu: bool,
    /// Keys are ranked by bytes.
    pub(super) net: bool,
    /// Keys that are told of each.
    pub(super) keys: usize,
    /// When it ends by itself, in ms from its begin; 0 never.
    pub(super) duration_ms: i64,
    /// One command in so many is looked at.
    pub(super) ratio: u32,
}

/// A session, running or over.
#[derive(Debug)]
pub(super) struct HotKeys {
    pub(super) order: HotKeysOrder,
    by_cpu_ns: HeavyHitters,
    by_net_bytes: HeavyHitters,
    /// Time and bytes of all commands.
    commands_ns: u64,
    commands_bytes: u64,
    began: Reading,
    ended: Option<Reading>,
    rng: SmallRng,
    keys: Vec<KeyUse>,
}

/// What the whole process has used.
#[derive(Clone, Copy, Debug)]
struct Reading {
    unix_ms: i64,
    cpu: CpuTime,
    net_bytes: u64,
}

/// A session's results.
#[derive(Debug)]
pub(super) struct HotKeysReport<'a> {
    pub(super) active: bool,
    pub(super) order: HotKeysOrder,
    pub(super) began_unix_ms: i64,
    pub(super) duration_ms: i64,
    pub(super) commands_us: u64,
    pub(super) commands_bytes: u64,
    pub(super) cpu_user_ms: u64,
    pub(super) cpu_sys_ms: u64,
    pub(super) net_bytes: u64,
    /// Keys with their microseconds, slowest first.
    pub(super) by_cpu_us: Vec<(&'a [u8], u64)>,
    /// Keys with their bytes, largest first.
    pub(super) by_net_bytes: Vec<(&'a [u8], u64)>,
}

impl HotKeys {
    /// One command has run.
    fn count(&mut self, command: &'static Command, argv: Argv<'_>, ns: u64, bytes: u64) {
        self.commands_ns += ns;
        self.commands_bytes += bytes;
        let ratio = self.order.ratio;
        if ratio > 1 && self.rng.random_range(0..ratio) > 0 {
            return;
        }
        // What is found is used also where a call does not say all its keys.
        let _ = find_keys(command.spec, argv, &mut self.keys);
        let shares = self.keys.len() as u64;
        for key in &self.keys {
            let Some(name) = argv.get(key.at) else { continue };
            if self.order.cpu {
                self.by_cpu_ns.add(name, ns / shares);
            }
            if self.order.net {
                self.by_net_bytes.add(name, bytes / shares);
            }
        }
    }

    fn ends_unix_ms(&self) -> i64 {
        match self.order.duration_ms {
            0 => i64::MAX,
            ms => self.began.unix_ms.saturating_add(ms),
        }
    }
}

impl Server {
    /// Begins a session, in the place of the last one.
    pub(super) fn start_hot_keys(&mut self, order: HotKeysOrder) {
        let counters = (order.keys * COUNTERS_A_KEY).max(COUNTERS_MIN);
        let seed = self.store.random_u64();
        self.hot_keys = Some(Box::new(HotKeys {
            order,
            by_cpu_ns: HeavyHitters::new(counters, seed),
            by_net_bytes: HeavyHitters::new(counters, seed),
            commands_ns: 0,
            commands_bytes: 0,
            began: self.reading(self.store.now_ms()),
            ended: None,
            rng: SmallRng::seed_from_u64(seed),
            keys: Vec::new(),
        }));
    }

    /// Ends the session. `false` if there is none, not even one that is over.
    pub(super) fn stop_hot_keys(&mut self) -> bool {
        let reading = self.reading(self.store.now_ms());
        let Some(session) = self.hot_keys.as_deref_mut() else { return false };
        session.ended.get_or_insert(reading);
        true
    }

    /// Forgets a session that is over. `false` if it is running.
    pub(super) fn reset_hot_keys(&mut self) -> bool {
        self.end_hot_keys_in_time();
        if self.hot_keys_run() {
            return false;
        }
        self.hot_keys = None;
        true
    }

    /// Ends a session whose time is over.
    pub(super) fn end_hot_keys_in_time(&mut self) {
        let ends = self.hot_keys.as_deref().filter(|s| s.ended.is_none()).map_or(i64::MAX, HotKeys::ends_unix_ms);
        if ends <= self.store.now_ms() {
            let reading = self.reading(ends);
            if let Some(session) = self.hot_keys.as_deref_mut() {
                session.ended = Some(reading);
            }
        }
    }

    /// The results so far; `None` if there is no session.
    pub(super) fn hot_keys_report(&self) -> Option<HotKeysReport<'_>> {
        let session = self.hot_keys.as_deref()?;
        let until = session.ended.unwrap_or_else(|| self.reading(self.store.now_ms()));
        let ms = |until: std::time::Duration, from: std::time::Duration| {
            u64::try_from(until.saturating_sub(from).as_millis()).unwrap_or(u64::MAX)
        };
        let by_cpu_ns = session.by_cpu_ns.top(session.order.keys);
        Some(HotKeysReport {
            active: session.ended.is_none(),
            order: session.order,
            began_unix_ms: session.began.unix_ms,
            duration_ms: until.unix_ms - session.began.unix_ms,
            commands_us: session.commands_ns / 1000,
            commands_bytes: session.commands_bytes,
            cpu_user_ms: ms(until.cpu.user, session.began.cpu.user),
            cpu_sys_ms: ms(until.cpu.sys, session.began.cpu.sys),
            net_bytes: until.net_bytes.saturating_sub(session.began.net_bytes),
            by_cpu_us: by_cpu_ns.into_iter().map(|(key, ns)| (key, ns.div_ceil(1000))).collect(),
            by_net_bytes: session.by_net_bytes.top(session.order.keys),
        })
    }

    /// A command has run, for the session, if there is one.
    #[inline]
    pub(super) fn count_hot_keys(&mut self, command: &'static Command, argv: Argv<'_>, ticks: u64, bytes: usize) {
        if self.hot_keys.is_some() {
            self.count_for_session(command, argv, ticks, bytes);
        }
    }

    #[cold]
    fn count_for_session(&mut self, command: &'static Command, argv: Argv<'_>, ticks: u64, bytes: usize) {
        let ns = self.stats.ticks.to_ns(ticks);
        let now_ms = self.store.now_ms();
        let Some(session) = self.hot_keys.as_deref_mut() else { return };
        if session.ended.is_none() && now_ms < session.ends_unix_ms() {
            session.count(command, argv, ns, bytes as u64);
        }
    }

    /// Whether a session is running.
    pub(super) fn hot_keys_run(&self) -> bool {
        self.hot_keys.as_deref().is_some_and(|session| session.ended.is_none())
    }

    fn reading(&self, unix_ms: i64) -> Reading {
        let counters = &self.stats.counters;
        Reading {
            unix_ms,
            cpu: cpu_time(CpuTimeOf::Process),
            net_bytes: counters.total_net_input_bytes + counters.total_net_output_bytes,
        }
    }
}
