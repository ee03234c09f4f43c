//! The `tracing` subscriber: picks the events that the log level lets through and hands them to the sinks.
//!
//! There are no spans: an event says all it has to say. Events of other crates count from warnings on only, since
//! nothing of theirs is meant for an operator below that.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};

use super::line::{Body, Head, Severity, render};
use super::local_time::{LocalTime, unix_now_ms};
use super::sink::Sink;
use super::syslog::Syslog;
use super::{LogFormat, LogLevel, LogRole, LogSettings, TimestampFormat};

/// Crates whose events are ours at every level begin with this.
const OWN_CRATES: &str = "weir";

/// The way into the log.
#[derive(Debug)]
pub struct Logging;

impl Logging {
    /// Opens the log and makes it the process's `tracing` subscriber.
    ///
    /// Starts no thread, so it may come before the process becomes a daemon; standard output is looked up anew for
    /// each line. Errors: the file cannot be opened for appending; there is a subscriber already.
    pub fn start(settings: LogSettings) -> Result<Handle, LogError> {
        let handle = Handle { shared: Arc::new(Shared::open(settings, Path::new(Syslog::PATH))?) };
        let subscriber = LogSubscriber { shared: Arc::clone(&handle.shared) };
        tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::AlreadyStarted)?;
        Ok(handle)
    }
}

/// Why there is no log.
#[derive(Debug)]
pub enum LogError {
    /// The file of `logfile` cannot be opened for appending.
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The process has a `tracing` subscriber already.
    AlreadyStarted,
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogError::Open { path, error } => write!(f, "Can't open the log file '{}': {error}", path.display()),
            LogError::AlreadyStarted => f.write_str("The log has been started already"),
        }
    }
}

impl std::error::Error for LogError {}

impl From<LogError> for String {
    fn from(error: LogError) -> String {
        error.to_string()
    }
}

/// Changes the log while it runs. Cheap to clone; may be used from any thread.
#[derive(Debug, Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    /// Changes which lines are written, at once and for all threads.
    pub fn set_level(&self, level: LogLevel) {
        self.shared.level.store(level as u8, Ordering::Relaxed);
        // The macros remember whether anybody wants an event.
        tracing::callsite::rebuild_interest_cache();
    }

    /// Which lines are written now.
    #[must_use]
    pub fn level(&self) -> LogLevel {
        self.shared.level()
    }

    /// Changes whose lines they are from now on.
    pub fn set_role(&self, role: LogRole) {
        self.shared.role.store(role as u8, Ordering::Relaxed);
    }

    /// Changes the look of the lines from now on.
    pub fn set_format(&self, format: LogFormat) {
        self.shared.format.store(format as u8, Ordering::Relaxed);
    }

    /// Changes the look of their time from now on.
    pub fn set_timestamp_format(&self, format: TimestampFormat) {
        self.shared.timestamp.store(format as u8, Ordering::Relaxed);
    }

    /// Opens the log file anew. Lines follow a file that was moved by themselves; this is for who wants to be told.
    ///
    /// Errors: the file cannot be opened; the old one stays in use.
    pub fn reopen(&self) -> io::Result<()> {
        self.shared.outputs().sink.reopen()
    }

    /// Writes text as it is, if the level lets notices through: for the banner. It must end with a line feed, and hold
    /// nothing that came from outside.
    pub fn write_raw(&self, text: &str) {
        if self.level() >= LogLevel::Notice {
            self.shared.outputs().sink.write(text);
        }
    }

    /// Lines lost since the start: on a full disk, into a pipe that nobody read, or to a syslog that was not there.
    #[must_use]
    pub fn dropped_lines(&self) -> u64 {
        let outputs = self.shared.outputs();
        outputs.dropped + outputs.sink.dropped() + outputs.syslog.as_ref().map_or(0, Syslog::dropped)
    }
}

#[derive(Debug)]
struct Shared {
    level: AtomicU8,
    role: AtomicU8,
    format: AtomicU8,
    timestamp: AtomicU8,
    outputs: Mutex<Outputs>,
}

#[derive(Debug)]
struct Outputs {
    sink: Sink,
    syslog: Option<Syslog>,
    /// Lines that the sink had lost when last it was told so in the log.
    dropped: u64,
}

impl Shared {
    fn open(settings: LogSettings, syslog_path: &Path) -> Result<Shared, LogError> {
        let sink = match settings.logfile {
            None => Sink::stdout(),
            Some(path) => Sink::file(&path).map_err(|error| LogError::Open { path, error })?,
        };
        let syslog =
            settings.syslog_enabled.then(|| Syslog::new(syslog_path, &settings.syslog_ident, settings.syslog_facility));
        Ok(Shared {
            level: AtomicU8::new(settings.level as u8),
            role: AtomicU8::new(settings.role as u8),
            format: AtomicU8::new(settings.format as u8),
            timestamp: AtomicU8::new(settings.timestamp as u8),
            outputs: Mutex::new(Outputs { sink, syslog, dropped: 0 }),
        })
    }

    fn level(&self) -> LogLevel {
        LogLevel::from_byte(self.level.load(Ordering::Relaxed))
    }

    fn outputs(&self) -> MutexGuard<'_, Outputs> {
        // A thread that died while it wrote a line has broken nothing that the next line needs.
        self.outputs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        let own = metadata.target().starts_with(OWN_CRATES);
        let limit = filter_of(self.level());
        metadata.is_event() && *metadata.level() <= if own { limit } else { limit.min(LevelFilter::WARN) }
    }

    fn head(&self, severity: Severity) -> Head {
        Head {
            format: LogFormat::from_byte(self.format.load(Ordering::Relaxed)),
            timestamp: TimestampFormat::from_byte(self.timestamp.load(Ordering::Relaxed)),
            role: LogRole::from_byte(self.role.load(Ordering::Relaxed)),
            // Asked for each line: it changes when the process becomes a daemon.
            pid: std::process::id(),
            severity,
            time: LocalTime::at(unix_now_ms()),
        }
    }

    fn write(&self, severity: Severity, fill: &mut dyn FnMut(&mut Body)) {
        let head = self.head(severity);
        let mut body = Body::new(head.format);
        fill(&mut body);
        let line = render(&head, &body);
        let mut outputs = self.outputs();
        if let Some(syslog) = &mut outputs.syslog {
            syslog.send(severity, head.pid, &head.time, &body.plain());
        }
        outputs.tell_dropped(&head);
        outputs.sink.write(&line);
    }
}

impl Outputs {
    /// Says in the log itself how many lines were lost before the one to come.
    fn tell_dropped(&mut self, head: &Head) {
        let lines = self.sink.take_dropped();
        if lines == 0 {
            return;
        }
        let mut body = Body::new(head.format);
        body.set_message(format_args!("Log lines were lost because they could not be written"));
        body.add_bare("lines", format_args!("{lines}"));
        self.sink.write(&render(&Head { severity: Severity::Warn, ..*head }, &body));
        if self.sink.take_dropped() > 0 {
            self.sink.add_dropped(lines);
        } else {
            self.dropped += lines;
        }
    }
}

fn filter_of(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Nothing => LevelFilter::OFF,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Notice => LevelFilter::INFO,
        LogLevel::Verbose => LevelFilter::DEBUG,
        LogLevel::Debug => LevelFilter::TRACE,
    }
}

fn severity_of(level: Level) -> Severity {
    match level {
        Level::ERROR => Severity::Error,
        Level::WARN => Severity::Warn,
        Level::INFO => Severity::Info,
        Level::DEBUG => Severity::Debug,
        Level::TRACE => Severity::Trace,
    }
}

struct LogSubscriber {
    shared: Arc<Shared>,
}

impl Subscriber for LogSubscriber {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.shared.wants(metadata) { Interest::always() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(filter_of(self.shared.level()))
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.shared.wants(metadata)
    }

    fn event(&self, event: &Event<'_>) {
        let severity = severity_of(*event.metadata().level());
        self.shared.write(severity, &mut |body| event.record(&mut Fields(body)));
    }

    // Spans are never enabled, so none of these is asked.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Sorts an event's fields into its body.
struct Fields<'a>(&'a mut Body);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format_args!("{value:?}"));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, format_args!("{value}"));
    }
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.add(field, format_args!("{value}"));
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.add_bare(field.name(), format_args!("{value}"));
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.add_bare(field.name(), format_args!("{value}"));
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.add_bare(field.name(), format_args!("{value}"));
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.0.add_bare(field.name(), format_args!("{value}"));
        } else {
            self.0.add_text(field.name(), format_args!("{value}"));
        }
    }
}

impl Fields<'_> {
    fn add(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        if field.name() == "message" {
            self.0.set_message(value);
        } else {
            self.0.add_text(field.name(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    /// A log into a file of its own; what the closure logs on this thread.
    fn lines_of(name: &str, settings: LogSettings, run: impl FnOnce(&Handle)) -> Vec<String> {
        let path = std::env::temp_dir().join(format!("weir-subscriber-{}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let settings = LogSettings { logfile: Some(path.clone()), ..settings };
        let syslog_path = path.with_extension("socket");
        let handle = Handle { shared: Arc::new(Shared::open(settings, &syslog_path).unwrap()) };
        let subscriber = LogSubscriber { shared: Arc::clone(&handle.shared) };
        tracing::subscriber::with_default(subscriber, || run(&handle));
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// One event of each level, as a crate of ours.
    fn speak() {
        tracing::error!(target: "weir", "e");
        tracing::warn!(target: "weir", "w");
        tracing::info!(target: "weir::net", "i");
        tracing::debug!(target: "weir", "d");
        tracing::trace!(target: "weir", "t");
    }

    fn marks(lines: &[String]) -> String {
        lines.iter().map(|line| line.split(' ').skip(5).collect::<Vec<_>>().concat() + " ").collect()
    }

    #[test]
    fn the_level_decides_at_any_time_which_lines_are_written() {
        let lines = lines_of("level", LogSettings::default(), |handle| {
            for &level in LogLevel::ALL {
                handle.set_level(level);
                assert_eq!(handle.level(), level);
                speak();
            }
        });
        assert_eq!(marks(&lines), "#e #w #e #w *i #e #w *i -d #e #w *i -d .t ");
    }

    #[test]
    fn other_crates_are_heard_from_warnings_on() {
        let settings = LogSettings { level: LogLevel::Debug, ..LogSettings::default() };
        let lines = lines_of("crates", settings, |_| {
            tracing::info!(target: "mio::poll", "chatter");
            tracing::warn!(target: "mio::poll", "trouble");
        });
        assert_eq!(marks(&lines), "#trouble ");
    }

    #[test]
    fn role_format_and_fields_show_in_the_line() {
        let lines = lines_of("role", LogSettings::default(), |handle| {
            tracing::info!(target: "weir", "one");
            handle.set_role(LogRole::Replica);
            tracing::info!(target: "weir", port = 6379, name = "a b", "two {}", 2);
            handle.set_format(LogFormat::Json);
            handle.set_timestamp_format(TimestampFormat::Milliseconds);
            tracing::error!(target: "weir", ratio = 0.5, ok = true, bad = f64::NAN, what = ?Some("x"), "three\nlines");
        });
        let pid = std::process::id();
        assert!(lines[0].starts_with(&format!("{pid}:M ")) && lines[0].ends_with(" * one"), "{}", lines[0]);
        assert!(lines[1].starts_with(&format!("{pid}:S ")), "{}", lines[1]);
        assert!(lines[1].ends_with(" * two 2 port=6379 name=\"a b\""), "{}", lines[1]);
        let expected = ",\"level\":\"error\",\"message\":\"three\\nlines\",\"ratio\":0.5,\"ok\":true,\"bad\":\"NaN\",\
                        \"what\":\"Some(\\\"x\\\")\"}";
        assert!(lines[2].ends_with(expected), "{}", lines[2]);
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn syslog_gets_the_message_without_the_head() {
        let path = std::env::temp_dir().join(format!("weir-subscriber-{}-syslog", std::process::id()));
        let socket_path = path.with_extension("socket");
        let _ = std::fs::remove_file(&socket_path);
        let daemon = UnixDatagram::bind(&socket_path).unwrap();
        let settings = LogSettings { syslog_enabled: true, ..LogSettings::default() };
        let lines = lines_of("syslog", settings, |handle| {
            tracing::warn!(target: "weir", slot = 5, "moved");
            assert_eq!(handle.dropped_lines(), 0);
        });
        assert_eq!(lines.len(), 1);
        let mut taken = [0; 200];
        let count = daemon.recv(&mut taken).unwrap();
        let text = std::str::from_utf8(&taken[..count]).unwrap();
        assert!(text.starts_with("<132>"), "{text}");
        assert!(text.ends_with(&format!("weir[{}]: moved slot=5", std::process::id())), "{text}");
        std::fs::remove_file(&socket_path).unwrap();
    }

    #[test]
    fn raw_text_is_written_as_it_is_unless_notices_are_off() {
        let lines = lines_of("raw", LogSettings::default(), |handle| {
            handle.write_raw("  picture\n PID: 1\n");
            handle.set_level(LogLevel::Warning);
            handle.write_raw("hidden\n");
        });
        assert_eq!(lines, ["  picture", " PID: 1"]);
    }

    #[test]
    fn lost_lines_are_counted() {
        let settings = LogSettings { logfile: Some("/dev/full".into()), ..LogSettings::default() };
        let handle = Handle { shared: Arc::new(Shared::open(settings, Path::new("/none")).unwrap()) };
        let subscriber = LogSubscriber { shared: Arc::clone(&handle.shared) };
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..5 {
                tracing::info!(target: "weir", "lost");
            }
        });
        assert_eq!(handle.dropped_lines(), 5);
    }

    #[test]
    fn a_log_file_that_cannot_be_opened_is_an_error_with_its_path() {
        let settings = LogSettings { logfile: Some("/no/such/folder/log".into()), ..LogSettings::default() };
        let error = Shared::open(settings, Path::new("/none")).unwrap_err();
        let text = String::from(error);
        assert!(text.starts_with("Can't open the log file '/no/such/folder/log': No such file"), "{text}");
    }
}
