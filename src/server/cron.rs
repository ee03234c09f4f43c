//! What time demands: the beginning and end of each turn, and work that comes round many times a second.

use super::Server;
use super::client::ClientFlags;
use super::message::Order;
use super::running::FIGURES;
use super::snapshots::SnapshotWants;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often, where nothing else happens, a step of building the index of deadlines anew is taken, and the thread that writes a
/// snapshot is looked after.
const STEP_EVERY: Duration = Duration::from_millis(1);
/// Records of the expiry index that are looked at before the time is checked.
const EXPIRY_SLICE_RECORDS: usize = 256;
/// Keys that one step of the clock sweep visits at least, in the mean: a bucket's, in a table that is as empty as one gets.
const SWEEP_STEP_KEYS_MIN: u64 = 3;

/// The same while memory is being freed in portions: how long one takes to be taken back is a tenth of that.
const TIDY_EVERY_AWAITED_MS: i64 = 5;
/// How often the allocator is let do what it has put off, in ms: before it does so by itself, in the middle of something.
const TIDY_EVERY_MS: i64 = 400;

/// Longest wait while DEBUG PAUSE-CRON is on, in ms.
const PAUSED_IDLE_MS: i64 = 100;

/// State of the periodic work.
#[derive(Debug, Default)]
pub(super) struct Cron {
    next_ms: i64,
    /// More keys are due than one slice could remove.
    expiry_behind: bool,
    /// Database whose turn it is.
    expiry_db: usize,
    /// An index of deadlines is being built anew.
    expiry_rebuilding: bool,
    /// When the last slice ended and how long it took, in ticks, and how many commands had run by then.
    expiry_ended: u64,
    expiry_took: u64,
    commands_at_expiry: u64,
    /// Database and cursor of the clock sweep.
    sweep_db: usize,
    sweep_cursor: u64,
    /// When memory was last tidied.
    tidied_ms: i64,
    /// When certificates were last looked at.
    tls_looked_ms: i64,
}

impl Server {
    /// Reads the clock: time stands still until the next turn.
    pub fn begin_turn(&mut self) {
        let now_us = (self.facts.wall_clock_us)();
        self.store.set_now(now_us / 1000);
        self.stats.turn_begins();
    }

    /// Reads the clock again in the middle of a long turn, between commands of different clients. Not for those of a script,
    /// for which time stands still.
    pub fn refresh_time(&mut self) {
        if self.effects.in_script {
            return;
        }
        self.store.set_now((self.facts.wall_clock_us)() / 1000);
    }

    /// How long the turn has lasted so far, in microseconds.
    pub fn turn_us(&self) -> u64 {
        self.stats.turn_us()
    }

    /// Whether keys are removed at their deadlines although nobody asks for them. Not during a pause, nor while waiters are
    /// being served: nothing changes then.
    fn expires_actively(&self) -> bool {
        let undisturbed =
            self.pause.current().is_none() && !self.is_loading() && !self.scripts.is_suspended() && !self.is_serving();
        self.active_expire && undisturbed && self.behind.is_empty()
    }

    /// After the last command of a turn: work that is due, in slices.
    pub fn end_turn(&mut self) {
        let now_ms = self.store.now_ms();
        if self.pause.expire(now_ms) {
            self.rearm();
            self.outbox.order(Order::Resume);
        }
        self.go_on_with_script();
        self.end_if_signalled();
        // Nothing changes data in the middle of a script.
        let suspended = self.scripts.is_suspended();
        self.waiters_time_out();
        if self.is_serving() {
            self.go_on_serving();
        }
        let hz = i64::from(self.config.hz.clamp(1, 500));
        // Further ahead than one period is what a clock that was set back leaves.
        let due = !self.cron_paused && (now_ms >= self.cron.next_ms || self.cron.next_ms > now_ms + 1000 / hz);
        if due {
            self.cron.next_ms = now_ms + 1000 / hz;
            let began = self.stats.now();
            self.periodic(hz);
            self.stats.cron_took(began);
        }
        if !suspended {
            if (self.facts.tidy_is_awaited)() && now_ms >= self.cron.tidied_ms + TIDY_EVERY_AWAITED_MS {
                self.tidy_memory();
            }
            if !self.is_loading() {
                self.evict_slice();
            }
        }
        let expiring = due || self.cron.expiry_rebuilding || self.cron.expiry_behind && self.expiry_may_go_on();
        if expiring && self.expires_actively() {
            self.expire_slice();
        }
        if !self.waiters.is_empty() && !suspended {
            // Keys that have expired may have been waited for, and so may what others were given just now.
            self.serve_waiters();
        }
        self.go_on_loading();
        self.end_migrations();
        self.mind_unsaved();
        self.go_on_with_snapshot();
        self.settle();
        self.stats.turn_ends();
    }

    /// How long the loop may wait for events.
    pub fn idle_time(&self) -> Duration {
        if self.scripts.is_suspended() || self.is_serving() || self.is_loading() {
            return Duration::ZERO;
        }
        if self.eviction_goes_on() || self.cron.expiry_behind && self.expires_actively() {
            return Duration::ZERO;
        }
        let snapshot = self.snapshot_wants();
        if snapshot == SnapshotWants::ASlice {
            return Duration::ZERO;
        }
        let looks = snapshot == SnapshotWants::ALook
            || self.is_migrating()
            || self.cron.expiry_rebuilding && self.expires_actively();
        // While it is paused, only what others wait for counts.
        let mut next_ms = if self.cron_paused { self.store.now_ms() + PAUSED_IDLE_MS } else { self.cron.next_ms };
        if let Some((_, until_ms)) = self.pause.current() {
            next_ms = next_ms.min(until_ms);
        }
        if let Some(timer_ms) = self.waiters.next_timer_ms() {
            next_ms = next_ms.min(timer_ms);
        }
        for alarm_ms in
            [self.broker_alarm_ms(), self.registry_alarm_ms(), self.observers_alarm_ms()].into_iter().flatten()
        {
            next_ms = next_ms.min(alarm_ms);
        }
        if self.background.pending() > 0 {
            // What is being freed comes back in portions.
            next_ms = next_ms.min(self.store.now_ms() + TIDY_EVERY_AWAITED_MS);
        }
        let idle = Duration::from_millis(u64::try_from(next_ms - self.store.now_ms()).unwrap_or(0));
        if looks { idle.min(STEP_EVERY) } else { idle }
    }

    /// Whether as much time has gone by since the last slice of expiry as that slice took, or nobody wants anything: while
    /// many keys are due at once, half of the time is the clients'.
    fn expiry_may_go_on(&self) -> bool {
        let idle = self.stats.counters.total_commands_processed == self.cron.commands_at_expiry;
        idle || self.stats.now().wrapping_sub(self.cron.expiry_ended) >= self.cron.expiry_took
    }

    /// Removes keys that are due, for at most 0.2 ms and 0.05 ms for each step of `active-expire-effort`.
    fn expire_slice(&mut self) {
        let began = self.stats.now();
        let limit_ns = 50_000 * (4 + u64::from(self.config.active_expire_effort));
        self.cron.expiry_behind = false;
        self.cron.expiry_rebuilding = false;
        let databases = self.store.databases();
        'slice: for _ in 0..databases {
            let index = self.cron.expiry_db.min(databases - 1);
            loop {
                let progress = self.store.expire_slice(index, EXPIRY_SLICE_RECORDS);
                self.cron.expiry_rebuilding |= progress.rebuilding;
                if !progress.behind {
                    break;
                }
                if self.stats.ticks.elapsed_ns(began, self.stats.now()) > limit_ns {
                    // The next slice goes on with this database.
                    self.cron.expiry_behind = true;
                    self.stats.counters.expired_time_cap_reached_count += 1;
                    break 'slice;
                }
            }
            self.cron.expiry_db = (index + 1) % databases;
        }
        let ended = self.stats.now();
        self.spike("expire-cycle", began);
        self.cron.expiry_ended = ended;
        self.cron.expiry_took = ended.wrapping_sub(began);
        self.cron.commands_at_expiry = self.stats.counters.total_commands_processed;
        self.stats.expiry_took(self.stats.ticks.elapsed_ns(began, ended));
    }

    fn periodic(&mut self, hz: i64) {
        (self.facts.still_turns)();
        let used = self.used_memory();
        self.note_figures(used);
        self.stats.sample(used, self.store.now_ms());
        self.disconnect_idle();
        self.end_hot_keys_in_time();
        self.end_old_links();
        self.save_if_due();
        self.tend_append_only();
        self.limit_tracking();
        self.sweep_clocks(hz);
        let now_ms = self.store.now_ms();
        // A clock that was set back must not put it off.
        if !(0..TIDY_EVERY_MS).contains(&(now_ms - self.cron.tidied_ms)) {
            self.tidy_memory();
            self.tidy_bodies();
        }
        let every_ms = u64::from(self.config.tls_auto_reload_interval) * 1000;
        if every_ms > 0 && now_ms.abs_diff(self.cron.tls_looked_ms) >= every_ms {
            self.cron.tls_looked_ms = now_ms;
            self.renew_tls();
        }
    }

    fn tidy_memory(&mut self) {
        self.cron.tidied_ms = self.store.now_ms();
        (self.facts.tidy_memory)();
    }

    /// For a report of a crash.
    fn note_figures(&self, used: usize) {
        let note = |figure: &AtomicU64, value: usize| figure.store(value as u64, Ordering::Relaxed);
        note(&FIGURES.connected_clients, self.clients.len());
        note(&FIGURES.used_memory, used);
        note(&FIGURES.keys, (0..self.store.databases()).map(|index| self.store.figures(index).keys).sum());
        FIGURES.total_commands_processed.store(self.stats.counters.total_commands_processed, Ordering::Relaxed);
    }

    /// CONFIG timeout.
    fn disconnect_idle(&mut self) {
        let limit_ms = i64::from(self.config.timeout) * 1000;
        if limit_ms == 0 {
            return;
        }
        let now_ms = self.store.now_ms();
        let exempt = ClientFlags::MONITOR
            | ClientFlags::SUBSCRIBER
            | ClientFlags::OBSERVES
            | ClientFlags::PAUSED
            | ClientFlags::BLOCKED
            | ClientFlags::UNFINISHED;
        let idle: Vec<_> = self
            .clients
            .iter()
            .filter(|c| !c.flags.intersects(exempt) && now_ms - c.active_ms > limit_ms)
            .map(|c| c.id)
            .collect();
        for id in idle {
            tracing::debug!("closing idle client {}", id.0);
            self.outbox.order(Order::Close(id));
        }
    }

    /// Visits so many entries that all are seen within the period that access clocks need.
    fn sweep_clocks(&mut self, hz: i64) {
        let databases = self.store.databases();
        let keys: usize = (0..databases).map(|index| self.store.figures(index).keys).sum();
        let runs = crate::store::SWEEP_PERIOD_S / 2 * hz.unsigned_abs();
        let steps = keys as u64 / runs / SWEEP_STEP_KEYS_MIN + databases as u64 / runs + 1;
        for _ in 0..steps {
            let index = self.cron.sweep_db.min(databases - 1);
            self.cron.sweep_cursor = self.store.sweep_clocks(index, self.cron.sweep_cursor);
            if self.cron.sweep_cursor == 0 {
                self.cron.sweep_db = (index + 1) % databases;
            }
        }
    }
}
