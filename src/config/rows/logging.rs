//! Directives of the log, the command log and latency.

use super::super::directive::Kind::Special;
use super::super::directive::{Apply, Directive, LONG_MAX, choice, flag, int, row, text};
use super::super::special;
use super::super::values::{LogFormat, LogLevel, LogTimestampFormat, SyslogFacility};

pub(super) static ROWS: &[Directive] = &[
    row("loglevel", choice!(loglevel, LogLevel), "notice")
        .apply(Apply::Log)
        .doc("Least important messages that are still logged."),
    row("logfile", text!(logfile), "").immutable().doc("File to log to; empty logs to standard output."),
    row("log-format", choice!(log_format, LogFormat), "legacy")
        .apply(Apply::Log)
        .doc("Look of a log line: as Redis writes it, as key=value pairs, or as JSON."),
    row("log-timestamp-format", choice!(log_timestamp_format, LogTimestampFormat), "legacy")
        .apply(Apply::Log)
        .doc("Look of the time in a log line."),
    row("syslog-enabled", flag!(syslog_enabled), "no").immutable().doc("Logs to the system log too."),
    row("syslog-ident", text!(syslog_ident), "weir").immutable().doc("Name under which the system log is written."),
    row("syslog-facility", choice!(syslog_facility, SyslogFacility), "local0")
        .immutable()
        .doc("Facility of the system log."),
    row("hide-user-data-from-log", flag!(hide_user_data_from_log), "yes")
        .not_needed("the log never holds keys or values")
        .doc("Leaves keys, values and arguments out of log messages."),
    row("slowlog-log-slower-than", int!(slowlog_log_slower_than, -1, LONG_MAX), "10000")
        .alias("commandlog-execution-slower-than")
        .apply(Apply::CommandLog)
        .doc("Microseconds from which on a command counts as slow; -1 counts none, 0 all."),
    row("slowlog-max-len", int!(slowlog_max_len, 0, LONG_MAX), "128")
        .alias("commandlog-slow-execution-max-len")
        .apply(Apply::CommandLog)
        .doc("Slow commands that are remembered."),
    row("commandlog-request-larger-than", int!(commandlog_request_larger_than, -1, LONG_MAX), "1048576")
        .apply(Apply::CommandLog)
        .doc("Bytes from which on a request counts as large; -1 counts none, 0 all."),
    row("commandlog-large-request-max-len", int!(commandlog_large_request_max_len, 0, LONG_MAX), "128")
        .apply(Apply::CommandLog)
        .doc("Large requests that are remembered."),
    row("commandlog-reply-larger-than", int!(commandlog_reply_larger_than, -1, LONG_MAX), "1048576")
        .apply(Apply::CommandLog)
        .doc("Bytes from which on a reply counts as large; -1 counts none, 0 all."),
    row("commandlog-large-reply-max-len", int!(commandlog_large_reply_max_len, 0, LONG_MAX), "128")
        .apply(Apply::CommandLog)
        .doc("Large replies that are remembered."),
    row("latency-monitor-threshold", int!(latency_monitor_threshold, 0, LONG_MAX), "0")
        .apply(Apply::Latency)
        .doc("Milliseconds from which on the latency monitor remembers an event; 0 turns it off."),
    row("latency-tracking", flag!(latency_tracking), "yes")
        .apply(Apply::Latency)
        .doc("Keeps a histogram of the execution times of each command."),
    row("latency-tracking-info-percentiles", Special(&special::PERCENTILES), "50 99 99.9")
        .multi_arg()
        .apply(Apply::Latency)
        .doc("Percentiles of those histograms that INFO shows."),
];
