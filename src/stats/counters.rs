//! What was done since the start: the counters of `INFO stats`, and the tables behind `commandstats` and `errorstats`.
//!
//! Plain fields, since there is one executor: adding to one costs an instruction. Names are those of `INFO`; where
//! units differ, the field's name says its own.
//!
//! Invariants: counters only grow until [`ServerCounters::reset`]; gauges (what is now) do not belong here; the table
//! of errors has a limit, since scripts make error names up.

use super::histogram::LatencyHistogram;
use std::collections::BTreeMap;

/// Everything in `INFO stats` that only grows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of INFO stats, which documents them")]
pub struct ServerCounters {
    pub total_connections_received: u64,
    pub total_commands_processed: u64,
    pub total_net_input_bytes: u64,
    pub total_net_output_bytes: u64,
    pub total_net_repl_input_bytes: u64,
    pub total_net_repl_output_bytes: u64,
    pub total_net_cluster_slot_import_bytes: u64,
    pub total_net_cluster_slot_export_bytes: u64,
    pub rejected_connections: u64,
    pub sync_full: u64,
    pub sync_partial_ok: u64,
    pub sync_partial_err: u64,
    pub expired_keys: u64,
    pub expired_time_cap_reached_count: u64,
    /// Printed as `expire_cycle_cpu_milliseconds`.
    pub expire_cycle_cpu_us: u64,
    pub evicted_clients: u64,
    pub evicted_scripts: u64,
    /// Printed in milliseconds, as `total_eviction_exceeded_time`. Without the time that still runs.
    pub total_eviction_exceeded_us: u64,
    pub keyspace_hits: u64,
    pub keyspace_misses: u64,
    pub total_forks: u64,
    pub active_defrag_hits: u64,
    pub active_defrag_misses: u64,
    pub active_defrag_key_hits: u64,
    pub active_defrag_key_misses: u64,
    /// Printed in milliseconds, as `total_active_defrag_time`. Without the time that still runs.
    pub total_active_defrag_us: u64,
    pub unexpected_error_replies: u64,
    pub total_error_replies: u64,
    pub dump_payload_sanitizations: u64,
    pub total_reads_processed: u64,
    pub total_writes_processed: u64,
    pub io_threaded_reads_processed: u64,
    pub io_threaded_writes_processed: u64,
    pub io_threaded_freed_objects: u64,
    pub io_threaded_accept_processed: u64,
    pub io_threaded_poll_processed: u64,
    pub io_threaded_total_prefetch_batches: u64,
    pub io_threaded_total_prefetch_entries: u64,
    pub client_query_buffer_limit_disconnections: u64,
    pub client_output_buffer_limit_disconnections: u64,
    pub reply_buffer_shrinks: u64,
    pub reply_buffer_expands: u64,
    pub eventloop_cycles: u64,
    /// Printed as `eventloop_duration_sum`.
    pub eventloop_duration_us: u64,
    /// Printed in microseconds, as `eventloop_duration_cmd_sum`.
    pub eventloop_duration_cmd_ns: u64,
    /// Printed as `eventloop_duration_cron_sum`.
    pub eventloop_duration_cron_us: u64,
    /// Printed in microseconds, as `eventloop_duration_aof_sum`.
    pub eventloop_duration_aof_ns: u64,
    /// The longest turn, printed as `eventloop_duration_max`.
    pub eventloop_duration_max_us: u64,
    /// The most commands in one turn.
    pub eventloop_cmd_per_cycle_max: u64,
    pub acl_access_denied_auth: u64,
    pub acl_access_denied_cmd: u64,
    pub acl_access_denied_key: u64,
    pub acl_access_denied_channel: u64,
    pub acl_access_denied_tls_cert: u64,
    pub acl_access_denied_db: u64,
    /// Of `INFO memory`.
    pub lazyfreed_objects: u64,
}

impl ServerCounters {
    /// All to zero, as `CONFIG RESETSTAT` does, but for refusals: those are counted from the start on.
    pub fn reset(&mut self) {
        *self = ServerCounters {
            acl_access_denied_auth: self.acl_access_denied_auth,
            acl_access_denied_cmd: self.acl_access_denied_cmd,
            acl_access_denied_key: self.acl_access_denied_key,
            acl_access_denied_channel: self.acl_access_denied_channel,
            acl_access_denied_tls_cert: self.acl_access_denied_tls_cert,
            acl_access_denied_db: self.acl_access_denied_db,
            ..ServerCounters::default()
        };
    }
}

/// What is counted of one command.
#[derive(Debug, Clone, Default)]
pub struct CommandStats {
    /// Times that it ran.
    pub calls: u64,
    /// Time spent in it.
    pub duration_ns: u64,
    /// Times that it was refused before it ran: arity, permission, memory and the like.
    pub rejected_calls: u64,
    /// Times that it ran and answered with an error.
    pub failed_calls: u64,
    /// How long it took, while `latency-tracking` is on; none until then.
    pub histogram: Option<Box<LatencyHistogram>>,
}

impl CommandStats {
    /// Counts a run. A few nanoseconds; allocates when the histogram is first used.
    #[inline]
    pub fn record(&mut self, duration_ns: u64, failed: bool, latency_tracking: bool) {
        self.calls += 1;
        self.duration_ns = self.duration_ns.saturating_add(duration_ns);
        self.failed_calls += u64::from(failed);
        if latency_tracking {
            self.histogram.get_or_insert_default().record(duration_ns);
        }
    }

    /// Whether `INFO commandstats` leaves the command out.
    pub fn is_empty(&self) -> bool {
        self.calls == 0 && self.rejected_calls == 0 && self.failed_calls == 0
    }

    /// All to zero; the histogram is freed.
    pub fn reset(&mut self) {
        *self = CommandStats::default();
    }
}

impl std::fmt::Display for CommandStats {
    /// What follows `cmdstat_name:` in `INFO commandstats`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let usec = self.duration_ns / 1_000;
        let usec_per_call = if self.calls == 0 { 0.0 } else { usec as f64 / self.calls as f64 };
        let CommandStats { calls, rejected_calls, failed_calls, .. } = self;
        write!(
            f,
            "calls={calls},usec={usec},usec_per_call={usec_per_call:.2},rejected_calls={rejected_calls},\
             failed_calls={failed_calls}"
        )
    }
}

/// How many replies began with which error code.
///
/// When there are [`ErrorStats::CODES_MAX`] codes and another error comes, of whatever code, the table is emptied and
/// stays off until it is reset: scripts are making codes up, and a table of those helps nobody.
#[derive(Debug, Clone, Default)]
pub struct ErrorStats {
    counts: BTreeMap<Box<[u8]>, u64>,
    disabled: bool,
}

impl ErrorStats {
    /// Codes told apart.
    pub const CODES_MAX: usize = 128;
    /// The only code in the table once it is off.
    pub const DISABLED_CODE: &'static str = "ERRORSTATS_DISABLED";

    /// Counts an error reply, given without the `-` in front. Returns whether this turned the table off, which is worth
    /// a line in the log.
    pub fn record(&mut self, error: &[u8]) -> bool {
        if self.disabled {
            return false;
        }
        if self.counts.len() >= ErrorStats::CODES_MAX {
            self.counts.clear();
            self.counts.insert(ErrorStats::DISABLED_CODE.as_bytes().into(), 1);
            self.disabled = true;
            return true;
        }
        let code = error_code(error);
        match self.counts.get_mut(code) {
            Some(count) => *count += 1,
            None => {
                self.counts.insert(code.into(), 1);
            }
        }
        false
    }

    /// Empties the table and turns it on, as `CONFIG RESETSTAT` does.
    pub fn reset(&mut self) {
        *self = ErrorStats::default();
    }

    /// Codes in byte order with their counts, for `errorstat_CODE:count=N`. What would break a line of `INFO` is `_`.
    pub fn iter(&self) -> impl Iterator<Item = (Vec<u8>, u64)> {
        self.counts.iter().map(|(code, &count)| {
            let printable = |&byte: &u8| if matches!(byte, b'#' | b':' | b'\n' | b'\r') { b'_' } else { byte };
            (code.iter().map(printable).collect(), count)
        })
    }
}

/// The word before the first space, if that is among the first 31 bytes; `ERR` otherwise.
fn error_code(error: &[u8]) -> &[u8] {
    const SEARCHED_LEN: usize = 31;
    let head = error.get(..SEARCHED_LEN).unwrap_or(error);
    head.iter().position(|&byte| byte == b' ').map_or(b"ERR", |end| &head[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(stats: &ErrorStats) -> Vec<(String, u64)> {
        stats.iter().map(|(code, count)| (String::from_utf8_lossy(&code).into_owned(), count)).collect()
    }

    #[test]
    fn codes_are_cut_as_redis_cuts_them() {
        let mut stats = ErrorStats::default();
        for error in ["ERR unknown command", "NOSPACE", "lower case words", "A-B,C:D=1 x", "WRONGTYPE Operation"] {
            stats.record(error.as_bytes());
        }
        stats.record(format!("{} x", "L".repeat(30)).as_bytes());
        stats.record(format!("{} x", "M".repeat(31)).as_bytes());
        let long = "L".repeat(30);
        assert_eq!(
            codes(&stats),
            [("A-B,C_D=1", 1), ("ERR", 3), (&long[..], 1), ("WRONGTYPE", 1), ("lower", 1)]
                .map(|(code, count)| (code.to_owned(), count))
        );
    }

    #[test]
    fn the_129th_error_turns_a_full_table_off() {
        let mut stats = ErrorStats::default();
        for number in 0..ErrorStats::CODES_MAX {
            assert!(!stats.record(format!("E{number} x").as_bytes()));
        }
        assert_eq!(codes(&stats).len(), ErrorStats::CODES_MAX);
        assert!(stats.record(b"E5 x"));
        assert!(!stats.record(b"Z x"));
        assert_eq!(codes(&stats), [("ERRORSTATS_DISABLED".to_owned(), 1)]);
        stats.reset();
        stats.record(b"Z x");
        assert_eq!(codes(&stats), [("Z".to_owned(), 1)]);
    }

    #[test]
    fn commandstats_read_as_in_info() {
        let mut stats = CommandStats::default();
        assert!(stats.is_empty());
        assert_eq!(stats.to_string(), "calls=0,usec=0,usec_per_call=0.00,rejected_calls=0,failed_calls=0");
        stats.record(1_500, false, false);
        assert!(stats.histogram.is_none());
        stats.record(999, true, true);
        stats.rejected_calls += 1;
        assert_eq!(stats.to_string(), "calls=2,usec=2,usec_per_call=1.00,rejected_calls=1,failed_calls=1");
        assert_eq!(stats.histogram.as_ref().map(|histogram| histogram.total()), Some(1));
        stats.reset();
        assert!(stats.is_empty());
    }

    #[test]
    fn a_reset_forgets_every_counter_but_refusals() {
        let refused = ServerCounters { acl_access_denied_db: 2, ..ServerCounters::default() };
        let mut counters = ServerCounters { keyspace_hits: 3, lazyfreed_objects: 1, ..refused.clone() };
        counters.reset();
        assert_eq!(counters, refused);
    }
}
