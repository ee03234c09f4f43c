//! Everything that the server counts, and the thresholds that decide what is remembered.

use crate::command::error::Error;
use crate::config::Config;
use crate::stats::{
    CommandLogs, CommandStats, ErrorStats, LatencyMonitor, LogKind, Rates, ServerCounters, Ticks, rates::RateInputs,
};

/// A command that has run.
pub(super) struct Done<'e> {
    /// The command's id.
    pub command: usize,
    /// How long it took.
    pub ticks: u64,
    /// Bytes of its request, framing included.
    pub request_bytes: usize,
    /// Bytes of its reply.
    pub reply_bytes: usize,
    /// The error it was answered with.
    pub error: Option<&'e Error>,
}

/// Statistics of the server.
#[derive(Debug)]
pub struct Statistics {
    /// The clock for durations.
    pub ticks: Ticks,
    /// INFO stats.
    pub counters: ServerCounters,
    /// By command id.
    pub commands: Vec<CommandStats>,
    /// INFO errorstats.
    pub errors: ErrorStats,
    /// SLOWLOG and COMMANDLOG.
    pub logs: CommandLogs,
    /// LATENCY.
    pub latency: LatencyMonitor,
    /// Rates of the last seconds.
    pub rates: Rates,
    /// The most memory that was ever in use, in bytes.
    pub peak_bytes: usize,
    /// Unix time of that, in ms.
    pub peak_ms: i64,
    latency_tracking: bool,
    /// Below so many ticks no log and no monitor wants to know of a command.
    notable_ticks: u64,
    /// The same for the bytes of requests and replies.
    notable_bytes: usize,
    turn_began: u64,
    /// How many commands had run by then.
    turn_began_commands: u64,
}

impl Statistics {
    /// All zero.
    pub(super) fn new(config: &Config, commands: usize) -> Statistics {
        let mut this = Statistics {
            ticks: Ticks::start(),
            counters: ServerCounters::default(),
            commands: std::iter::repeat_with(CommandStats::default).take(commands).collect(),
            errors: ErrorStats::default(),
            logs: CommandLogs::default(),
            latency: LatencyMonitor::default(),
            rates: Rates::default(),
            peak_bytes: 0,
            peak_ms: 0,
            latency_tracking: true,
            notable_ticks: 0,
            notable_bytes: 0,
            turn_began: 0,
            turn_began_commands: 0,
        };
        this.configure(config);
        this
    }

    /// Takes over thresholds and limits.
    pub(super) fn configure(&mut self, config: &Config) {
        let len = |len: u64| usize::try_from(len).unwrap_or(usize::MAX);
        let kinds = [
            (LogKind::Slow, config.slowlog_log_slower_than, config.slowlog_max_len),
            (LogKind::LargeRequest, config.commandlog_request_larger_than, config.commandlog_large_request_max_len),
            (LogKind::LargeReply, config.commandlog_reply_larger_than, config.commandlog_large_reply_max_len),
        ];
        for (kind, threshold, len_max) in kinds {
            let log = self.logs.get_mut(kind);
            log.set_threshold(threshold);
            log.set_len_max(len(len_max));
        }
        self.latency.set_threshold_ms(config.latency_monitor_threshold);
        self.latency_tracking = config.latency_tracking;
        self.find_notable();
    }

    /// Works out below what nothing needs a closer look.
    fn find_notable(&mut self) {
        let threshold = |kind| {
            let log = self.logs.get(kind);
            u64::try_from(log.threshold()).ok().filter(|_| log.len_max() > 0)
        };
        let slow_us = threshold(LogKind::Slow);
        let latency_us = Some(self.latency.threshold_ms()).filter(|&ms| ms > 0).map(|ms| ms.saturating_mul(1000));
        let us = slow_us.into_iter().chain(latency_us).min();
        self.notable_ticks = us.map_or(u64::MAX, |us| self.ticks_of_us(us));
        let bytes = threshold(LogKind::LargeRequest).into_iter().chain(threshold(LogKind::LargeReply)).min();
        self.notable_bytes = bytes.map_or(usize::MAX, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    }

    /// So many ticks that no duration below them is that many microseconds long.
    pub(super) fn ticks_of_us(&self, us: u64) -> u64 {
        let ns_per_1024_ticks = self.ticks.to_ns(1024).max(1);
        let ticks = u128::from(us) * 1000 * 1024 / u128::from(ns_per_1024_ticks);
        // A little less: the ratio is still being measured.
        u64::try_from(ticks - ticks / 256).unwrap_or(u64::MAX)
    }

    /// A reading of the clock for durations.
    #[inline(always)]
    pub(super) fn now(&self) -> u64 {
        self.ticks.now()
    }

    /// Counts a command that has run. Returns whether a log may want it.
    #[inline]
    pub(super) fn command_done(&mut self, done: &Done<'_>) -> bool {
        self.counters.total_commands_processed += 1;
        let ns = self.ticks.to_ns(done.ticks);
        self.counters.eventloop_duration_cmd_ns += ns;
        if let Some(stats) = self.commands.get_mut(done.command) {
            stats.record(ns, done.error.is_some(), self.latency_tracking);
        }
        if let Some(error) = done.error {
            self.error(error);
        }
        done.ticks >= self.notable_ticks || done.request_bytes.max(done.reply_bytes) >= self.notable_bytes
    }

    /// Counts a command that was refused before it ran.
    #[cold]
    pub(super) fn command_rejected(&mut self, command: Option<usize>, error: &Error) {
        if let Some(stats) = command.and_then(|id| self.commands.get_mut(id)) {
            stats.rejected_calls += 1;
        }
        self.error(error);
    }

    fn error(&mut self, error: &Error) {
        if error.is_counted() {
            return;
        }
        self.counters.total_error_replies += 1;
        if self.errors.record(error.text()) {
            tracing::warn!("too many different error codes: INFO errorstats is off until CONFIG RESETSTAT");
        }
    }

    /// A turn of the loop begins.
    pub(super) fn turn_begins(&mut self) {
        self.turn_began = self.now();
        self.turn_began_commands = self.counters.total_commands_processed;
    }

    /// Work that comes round many times a second has taken the time since then.
    pub(super) fn cron_took(&mut self, began: u64) {
        self.counters.eventloop_duration_cron_us += self.ticks.elapsed_ns(began, self.now()) / 1000;
    }

    /// What was changed was given to the append-only file; that has taken the time since then.
    pub(super) fn append_only_written(&mut self, began: u64) {
        self.counters.eventloop_duration_aof_ns += self.ticks.elapsed_ns(began, self.now());
    }

    /// How long the turn of the loop has lasted so far, in microseconds.
    pub(super) fn turn_us(&self) -> u64 {
        self.ticks.elapsed_ns(self.turn_began, self.now()) / 1000
    }

    /// A turn of the loop ends.
    pub(super) fn turn_ends(&mut self) {
        let us = self.ticks.elapsed_ns(self.turn_began, self.now()) / 1000;
        self.counters.eventloop_cycles += 1;
        self.counters.eventloop_duration_us += us;
        self.counters.eventloop_duration_max_us = self.counters.eventloop_duration_max_us.max(us);
        // A reset in the middle of the turn has set the count back.
        let commands = self.counters.total_commands_processed.saturating_sub(self.turn_began_commands);
        self.counters.eventloop_cmd_per_cycle_max = self.counters.eventloop_cmd_per_cycle_max.max(commands);
    }

    /// Active expiry has taken so long.
    pub(super) fn expiry_took(&mut self, ns: u64) {
        self.counters.expire_cycle_cpu_us += ns / 1000;
    }

    /// Takes samples for rates and peaks, every time cron runs.
    pub(super) fn sample(&mut self, used_bytes: usize, now_ms: i64) {
        if used_bytes > self.peak_bytes {
            self.peak_bytes = used_bytes;
            self.peak_ms = now_ms;
        }
        self.ticks.recalibrate();
        self.find_notable();
        let counters = &self.counters;
        let inputs = RateInputs {
            commands: counters.total_commands_processed,
            input_bytes: counters.total_net_input_bytes,
            output_bytes: counters.total_net_output_bytes,
            repl_input_bytes: 0,
            repl_output_bytes: 0,
            loop_cycles: counters.eventloop_cycles,
            loop_duration_us: counters.eventloop_duration_us,
        };
        self.rates.track(self.ticks.to_ns(self.now()) / 1000, &inputs);
    }

    /// CONFIG RESETSTAT.
    pub(super) fn reset(&mut self) {
        self.counters.reset();
        self.commands.iter_mut().for_each(|stats| *stats = CommandStats::default());
        self.errors.reset();
        self.rates.reset();
    }
}
