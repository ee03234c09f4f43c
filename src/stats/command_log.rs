//! Commands worth remembering: `SLOWLOG`, and the three logs of `COMMANDLOG`.
//!
//! Each log is a ring of the last entries at or above a threshold. Arguments are cut when the entry is made, so that an
//! entry is small whatever the command was.
//!
//! Invariants: an entry holds at most [`TrimLimits::args_max`] arguments of about [`TrimLimits::arg_len_max`] bytes;
//! ids only grow, also over a reset.

use std::collections::VecDeque;

/// What a log is about, and the unit of its threshold and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogKind {
    /// Took long: microseconds. The only one that `SLOWLOG` has.
    Slow,
    /// Came as many bytes on the wire.
    LargeRequest,
    /// Went as many bytes on the wire.
    LargeReply,
}

impl LogKind {
    /// All of them, in the order of [`CommandLogs`].
    pub const ALL: [LogKind; 3] = [LogKind::Slow, LogKind::LargeRequest, LogKind::LargeReply];

    /// Its word as an argument of `COMMANDLOG`.
    pub fn name(self) -> &'static str {
        match self {
            LogKind::Slow => "slow",
            LogKind::LargeRequest => "large-request",
            LogKind::LargeReply => "large-reply",
        }
    }

    /// Reads the argument of `COMMANDLOG`, in any case.
    pub fn parse(argument: &[u8]) -> Option<LogKind> {
        LogKind::ALL.into_iter().find(|kind| kind.name().as_bytes().eq_ignore_ascii_case(argument))
    }
}

/// How much of a command is kept: `slowlog-entry-max-argc` and `slowlog-entry-max-string-len`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrimLimits {
    /// Arguments, the command's name and the note about those left out included. At least 2.
    pub args_max: usize,
    /// Bytes of an argument, without the note about those left out. At least 1.
    pub arg_len_max: usize,
}

impl Default for TrimLimits {
    fn default() -> TrimLimits {
        TrimLimits { args_max: 32, arg_len_max: 128 }
    }
}

/// A remembered command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLogEntry {
    /// Number of the entry since the start, from 0.
    pub id: u64,
    /// When it was made, Unix seconds.
    pub unix_time_s: i64,
    /// Microseconds or bytes, by the log's kind.
    pub value: u64,
    /// Arguments, cut.
    pub argv: Vec<Box<[u8]>>,
    /// Address and port of the client.
    pub client_addr: Box<str>,
    /// Name that the client gave itself; empty if none.
    pub client_name: Box<[u8]>,
}

/// One log.
#[derive(Debug, Clone)]
pub struct CommandLog {
    threshold: i64,
    len_max: usize,
    next_id: u64,
    /// Newest at the back.
    entries: VecDeque<CommandLogEntry>,
}

impl CommandLog {
    /// An empty log. `threshold` as in [`CommandLog::set_threshold`].
    pub fn new(threshold: i64, len_max: usize) -> CommandLog {
        CommandLog { threshold, len_max, next_id: 0, entries: VecDeque::new() }
    }

    /// Whether a command of `value` belongs in the log. Ask before collecting what an entry needs.
    #[inline]
    pub fn wants(&self, value: u64) -> bool {
        self.len_max > 0 && u64::try_from(self.threshold).is_ok_and(|threshold| value >= threshold)
    }

    /// Adds an entry and drops the oldest beyond the limit. Copies at most what `trim` allows.
    pub fn record<'a>(
        &mut self,
        value: u64,
        unix_time_s: i64,
        argv: impl ExactSizeIterator<Item = &'a [u8]>,
        trim: TrimLimits,
        client_addr: &str,
        client_name: &[u8],
    ) {
        if self.len_max == 0 {
            return;
        }
        let entry = CommandLogEntry {
            id: self.next_id,
            unix_time_s,
            value,
            argv: trimmed(argv, trim),
            client_addr: client_addr.into(),
            client_name: client_name.into(),
        };
        self.next_id += 1;
        self.entries.push_back(entry);
        self.cut();
    }

    /// The newest `count` entries, newest first; all of them for `None`.
    pub fn latest(&self, count: Option<usize>) -> impl ExactSizeIterator<Item = &CommandLogEntry> {
        self.entries.iter().rev().take(count.unwrap_or(usize::MAX))
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Drops all entries; ids go on.
    pub fn reset(&mut self) {
        self.entries.clear();
    }

    /// Commands of this value or more are remembered, in the unit of the kind; 0 is all, below 0 none.
    pub fn set_threshold(&mut self, threshold: i64) {
        self.threshold = threshold;
    }

    /// The threshold, as set.
    pub fn threshold(&self) -> i64 {
        self.threshold
    }

    /// Keeps at most so many entries, from now on; 0 turns the log off.
    pub fn set_len_max(&mut self, len_max: usize) {
        self.len_max = len_max;
        self.cut();
    }

    /// The limit, as set.
    pub fn len_max(&self) -> usize {
        self.len_max
    }

    fn cut(&mut self) {
        let surplus = self.entries.len().saturating_sub(self.len_max);
        self.entries.drain(..surplus);
    }
}

/// The three logs with one rule for cutting.
#[derive(Debug, Clone)]
pub struct CommandLogs {
    logs: [CommandLog; 3],
    /// How much of a command is kept.
    pub trim: TrimLimits,
}

impl Default for CommandLogs {
    /// 10 ms, and 1 MiB for both sizes; 128 entries each.
    fn default() -> CommandLogs {
        const SLOW_US: i64 = 10_000;
        const LARGE_BYTES: i64 = 1 << 20;
        const LEN_MAX: usize = 128;
        CommandLogs {
            logs: [SLOW_US, LARGE_BYTES, LARGE_BYTES].map(|threshold| CommandLog::new(threshold, LEN_MAX)),
            trim: TrimLimits::default(),
        }
    }
}

impl CommandLogs {
    /// One of them.
    pub fn get(&self, kind: LogKind) -> &CommandLog {
        let [slow, large_request, large_reply] = &self.logs;
        match kind {
            LogKind::Slow => slow,
            LogKind::LargeRequest => large_request,
            LogKind::LargeReply => large_reply,
        }
    }

    /// One of them, to change.
    pub fn get_mut(&mut self, kind: LogKind) -> &mut CommandLog {
        let [slow, large_request, large_reply] = &mut self.logs;
        match kind {
            LogKind::Slow => slow,
            LogKind::LargeRequest => large_request,
            LogKind::LargeReply => large_reply,
        }
    }

    /// Whether any log wants the command: the one question that is asked for each.
    #[inline]
    pub fn wants(&self, duration_us: u64, request_bytes: u64, reply_bytes: u64) -> bool {
        let [slow, large_request, large_reply] = &self.logs;
        slow.wants(duration_us) || large_request.wants(request_bytes) || large_reply.wants(reply_bytes)
    }
}

fn trimmed<'a>(argv: impl ExactSizeIterator<Item = &'a [u8]>, trim: TrimLimits) -> Vec<Box<[u8]>> {
    let args_max = trim.args_max.max(2);
    let count = argv.len();
    // The note takes the place of an argument.
    let kept = if count > args_max { args_max - 1 } else { count };
    let mut args: Vec<Box<[u8]>> = argv.take(kept).map(|arg| trimmed_arg(arg, trim.arg_len_max)).collect();
    if count > kept {
        args.push(format!("... ({} more arguments)", count - kept).into_bytes().into());
    }
    args
}

fn trimmed_arg(arg: &[u8], len_max: usize) -> Box<[u8]> {
    match arg.split_at_checked(len_max) {
        Some((head, rest)) if !rest.is_empty() => {
            [head, format!("... ({} more bytes)", rest.len()).as_bytes()].concat().into()
        }
        _ => arg.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(threshold: i64, len_max: usize, values: &[u64]) -> CommandLog {
        let mut log = CommandLog::new(threshold, len_max);
        for &value in values.iter().filter(|&&value| CommandLog::new(threshold, len_max).wants(value)) {
            log.record(value, 1, [&b"get"[..]].into_iter(), TrimLimits::default(), "127.0.0.1:1", b"");
        }
        log
    }

    fn ids(log: &CommandLog, count: Option<usize>) -> Vec<u64> {
        log.latest(count).map(|entry| entry.id).collect()
    }

    #[test]
    fn the_threshold_itself_is_remembered() {
        assert_eq!(log(10, 8, &[9, 10, 11]).len(), 2);
        assert_eq!(log(0, 8, &[0]).len(), 1);
        assert_eq!(log(-1, 8, &[0, u64::MAX]).len(), 0);
        assert_eq!(log(0, 0, &[5]).len(), 0);
    }

    #[test]
    fn the_newest_come_first_and_the_oldest_go() {
        let mut log = log(0, 3, &[1, 2, 3, 4, 5]);
        assert_eq!(ids(&log, None), [4, 3, 2]);
        assert_eq!(ids(&log, Some(2)), [4, 3]);
        assert!(ids(&log, Some(0)).is_empty());
        log.set_len_max(1);
        assert_eq!(ids(&log, None), [4]);
        log.reset();
        assert!(log.is_empty());
        log.record(1, 1, [].into_iter(), TrimLimits::default(), "", b"");
        assert_eq!(ids(&log, None), [5]);
    }

    #[test]
    fn many_arguments_become_a_note() {
        let argv = |count| (0..count).map(|_| &b"k"[..]);
        let cut = trimmed(argv(41), TrimLimits::default());
        assert_eq!(cut.len(), 32);
        assert_eq!(&*cut[31], b"... (10 more arguments)");
        assert_eq!(trimmed(argv(32), TrimLimits::default()).len(), 32);
        assert_eq!(&*trimmed(argv(32), TrimLimits::default())[31], b"k");
        assert_eq!(&*trimmed(argv(33), TrimLimits::default())[31], b"... (2 more arguments)");
        let two = TrimLimits { args_max: 0, arg_len_max: 1 };
        assert_eq!(trimmed(argv(5), two), [Box::from(&b"k"[..]), Box::from(&b"... (4 more arguments)"[..])]);
    }

    #[test]
    fn long_arguments_are_cut() {
        assert_eq!(&*trimmed_arg(&[b'x'; 128], 128), [b'x'; 128]);
        assert_eq!(&*trimmed_arg(&[b'x'; 200], 128), [&[b'x'; 128][..], b"... (72 more bytes)"].concat());
        assert_eq!(&*trimmed_arg(b"", 128), b"");
    }

    #[test]
    fn kinds_are_read_in_any_case() {
        assert_eq!(LogKind::parse(b"LARGE-reply"), Some(LogKind::LargeReply));
        assert_eq!(LogKind::parse(b"large"), None);
        let mut logs = CommandLogs::default();
        assert!(!logs.wants(9_999, 0, 0));
        assert!(logs.wants(0, 0, 1 << 20));
        logs.get_mut(LogKind::LargeReply).set_threshold(-1);
        assert!(!logs.wants(0, 0, 1 << 20));
        assert_eq!(logs.get(LogKind::Slow).threshold(), 10_000);
    }
}
