//! One event as one line: the three looks, and the escaping that keeps a line a line.
//!
//! What must stay true: the text that came from outside (messages and field values may hold a client's bytes) adds no
//! line break, no terminal control and, in logfmt and JSON, no field; and the whole is at most [`LINE_BYTES_MAX`].

use std::fmt::{self, Write};

use super::local_time::LocalTime;
use super::{LogFormat, LogRole, TimestampFormat};

/// A line with its line feed: what POSIX promises to put into a pipe in one piece.
pub const LINE_BYTES_MAX: usize = 4096;

/// What an event may say in its message, after escaping.
const MESSAGE_BYTES_MAX: usize = 3000;
/// What its other fields may take together; those that do not fit are left out.
const FIELDS_BYTES_MAX: usize = 768;
/// What the value of one field may take.
const VALUE_BYTES_MAX: usize = 512;
const CUT_MARK: &str = "...";

/// How grave an event is, in `tracing`'s terms; [`mark`](Severity::mark) and [`name`](Severity::name) are Redis's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Severity {
    fn mark(self) -> char {
        match self {
            Severity::Error | Severity::Warn => '#',
            Severity::Info => '*',
            Severity::Debug => '-',
            Severity::Trace => '.',
        }
    }

    /// Redis knows nothing graver than a warning; our own JSON tells the two apart.
    fn name(self, format: LogFormat) -> &'static str {
        match self {
            Severity::Error if format == LogFormat::Json => "error",
            Severity::Error | Severity::Warn => "warning",
            Severity::Info => "notice",
            Severity::Debug => "verbose",
            Severity::Trace => "debug",
        }
    }
}

/// What stands before the message in every line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) format: LogFormat,
    pub(super) timestamp: TimestampFormat,
    pub(super) role: LogRole,
    pub(super) pid: u32,
    pub(super) severity: Severity,
    pub(super) time: LocalTime,
}

/// The texts of an event, escaped for a format while they are collected.
#[derive(Debug)]
pub(super) struct Body {
    format: LogFormat,
    message: String,
    fields: String,
}

impl Body {
    pub(super) fn new(format: LogFormat) -> Body {
        Body { format, message: String::new(), fields: String::new() }
    }

    pub(super) fn set_message(&mut self, message: fmt::Arguments<'_>) {
        self.message.clear();
        let escape = match self.format {
            LogFormat::Legacy => Escape::Plain,
            LogFormat::Logfmt => Escape::Logfmt,
            LogFormat::Json => Escape::Json,
        };
        write_escaped(&mut self.message, escape, MESSAGE_BYTES_MAX, message);
    }

    /// A field whose value is quoted where the format asks for it.
    pub(super) fn add_text(&mut self, name: &str, value: fmt::Arguments<'_>) {
        let mut field = self.begin_field(name);
        match self.format {
            LogFormat::Json => {
                field.push('"');
                write_escaped(&mut field, Escape::Json, VALUE_BYTES_MAX, value);
                field.push('"');
            }
            LogFormat::Legacy | LogFormat::Logfmt => {
                let mut text = String::new();
                write_escaped(&mut text, Escape::Logfmt, VALUE_BYTES_MAX, value);
                let quoted = text.is_empty() || text.contains([' ', '=', '\\', '"']);
                let quote = if quoted { "\"" } else { "" };
                // Writing to a String cannot fail.
                let _ = write!(field, "{quote}{text}{quote}");
            }
        }
        self.end_field(&field);
    }

    /// A number or a truth value: as it is in every format.
    pub(super) fn add_bare(&mut self, name: &str, value: fmt::Arguments<'_>) {
        let mut field = self.begin_field(name);
        let _ = field.write_fmt(value);
        self.end_field(&field);
    }

    fn begin_field(&self, name: &str) -> String {
        // The names of the head belong to the head.
        let clash = matches!(name, "pid" | "role" | "timestamp" | "level" | "message");
        let clash = if clash && self.format != LogFormat::Legacy { "_" } else { "" };
        match self.format {
            LogFormat::Json => format!(",\"{name}{clash}\":"),
            LogFormat::Legacy | LogFormat::Logfmt => format!(" {name}{clash}="),
        }
    }

    fn end_field(&mut self, field: &str) {
        if self.fields.len() + field.len() <= FIELDS_BYTES_MAX {
            self.fields.push_str(field);
        }
    }

    /// The message as it would stand in a legacy line, with its fields.
    pub(super) fn plain(&self) -> String {
        format!("{}{}", self.message, self.fields)
    }
}

/// The whole line, with its line feed.
pub(super) fn render(head: &Head, body: &Body) -> String {
    let Head { pid, role, severity, .. } = *head;
    let time = Stamp(head);
    let level = severity.name(head.format);
    let Body { message, fields, .. } = body;
    let line = match head.format {
        LogFormat::Legacy => format!("{pid}:{} {time} {} {message}{fields}\n", role.mark(), severity.mark()),
        LogFormat::Logfmt => {
            format!("pid={pid} role={} timestamp=\"{time}\" level={level} message=\"{message}\"{fields}\n", role.name())
        }
        LogFormat::Json => {
            let quote = if head.timestamp == TimestampFormat::Milliseconds { "" } else { "\"" };
            format!(
                "{{\"pid\":{pid},\"role\":\"{}\",\"timestamp\":{quote}{time}{quote},\"level\":\"{level}\",\
                 \"message\":\"{message}\"{fields}}}\n",
                role.name()
            )
        }
    };
    debug_assert!(line.len() <= LINE_BYTES_MAX);
    line
}

/// The time of a line in its look.
struct Stamp<'a>(&'a Head);

impl fmt::Display for Stamp<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = &self.0.time;
        let LocalTime { year, month, day, hour, minute, second, .. } = *time;
        let millisecond = time.millisecond();
        match self.0.timestamp {
            TimestampFormat::Legacy => {
                let month = time.month_name();
                write!(f, "{day:02} {month} {year} {hour:02}:{minute:02}:{second:02}.{millisecond:03}")
            }
            TimestampFormat::Iso8601 => {
                let sign = if time.utc_offset_s < 0 { '-' } else { '+' };
                let offset_minutes = time.utc_offset_s.unsigned_abs() / 60;
                let (offset_h, offset_m) = (offset_minutes / 60, offset_minutes % 60);
                write!(
                    f,
                    "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}\
                     {sign}{offset_h:02}:{offset_m:02}"
                )
            }
            TimestampFormat::Milliseconds => write!(f, "{}", time.unix_ms),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escape {
    /// Only what would break the line or reach the terminal.
    Plain,
    /// And quotes and backslashes.
    Logfmt,
    Json,
}

fn write_escaped(out: &mut String, escape: Escape, bytes_max: usize, text: fmt::Arguments<'_>) {
    let end = out.len() + bytes_max - CUT_MARK.len();
    // Fails where the text is cut, or where somebody's Display does: what was written by then is worth keeping.
    if (Escaper { out, escape, end }).write_fmt(text).is_err() {
        out.push_str(CUT_MARK);
    }
}

struct Escaper<'a> {
    out: &'a mut String,
    escape: Escape,
    /// Length that the text must not exceed.
    end: usize,
}

impl Write for Escaper<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            let code: String;
            let mut utf8 = [0; 4];
            let escaped = match (c, self.escape) {
                ('\n', _) => "\\n",
                ('\r', _) => "\\r",
                ('\t', _) => "\\t",
                ('"', Escape::Logfmt | Escape::Json) => "\\\"",
                ('\\', Escape::Logfmt | Escape::Json) => "\\\\",
                _ if is_harmful(c) => {
                    code = match self.escape {
                        Escape::Json => format!("\\u{:04x}", u32::from(c)),
                        _ if u32::from(c) < 0x100 => format!("\\x{:02x}", u32::from(c)),
                        _ => format!("\\u{{{:x}}}", u32::from(c)),
                    };
                    &code
                }
                _ => c.encode_utf8(&mut utf8),
            };
            if self.out.len() + escaped.len() > self.end {
                return Err(fmt::Error);
            }
            self.out.push_str(escaped);
        }
        Ok(())
    }
}

/// Controls (C0, DEL, C1), and the characters that break lines or turn the direction of text in a terminal.
fn is_harmful(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: LocalTime = LocalTime {
        unix_ms: 1_795_350_640_011,
        year: 2026,
        month: 11,
        day: 2,
        hour: 12,
        minute: 30,
        second: 5,
        utc_offset_s: -19_800,
    };

    fn line(format: LogFormat, timestamp: TimestampFormat, fill: &dyn Fn(&mut Body)) -> String {
        let mut body = Body::new(format);
        fill(&mut body);
        let head = Head { format, timestamp, role: LogRole::Primary, pid: 123, severity: Severity::Info, time: TIME };
        render(&head, &body)
    }

    fn event(body: &mut Body) {
        body.set_message(format_args!("Ready to accept connections {}", "tcp"));
        body.add_bare("port", format_args!("{}", 6379));
        body.add_text("name", format_args!("two words"));
        body.add_text("kind", format_args!("tcp"));
    }

    #[test]
    fn every_format_has_its_look() {
        use {LogFormat as F, TimestampFormat as T};
        for (format, timestamp, expected) in [
            (
                F::Legacy,
                T::Legacy,
                "123:M 02 Nov 2026 12:30:05.011 * Ready to accept connections tcp port=6379 name=\"two words\" kind=tcp\n",
            ),
            (
                F::Legacy,
                T::Milliseconds,
                "123:M 1795350640011 * Ready to accept connections tcp port=6379 name=\"two words\" kind=tcp\n",
            ),
            (
                F::Logfmt,
                T::Iso8601,
                "pid=123 role=primary timestamp=\"2026-11-02T12:30:05.011-05:30\" level=notice message=\"Ready to accept connections tcp\" port=6379 name=\"two words\" kind=tcp\n",
            ),
            (
                F::Json,
                T::Legacy,
                "{\"pid\":123,\"role\":\"primary\",\"timestamp\":\"02 Nov 2026 12:30:05.011\",\"level\":\"notice\",\"message\":\"Ready to accept connections tcp\",\"port\":6379,\"name\":\"two words\",\"kind\":\"tcp\"}\n",
            ),
            (
                F::Json,
                T::Milliseconds,
                "{\"pid\":123,\"role\":\"primary\",\"timestamp\":1795350640011,\"level\":\"notice\",\"message\":\"Ready to accept connections tcp\",\"port\":6379,\"name\":\"two words\",\"kind\":\"tcp\"}\n",
            ),
        ] {
            assert_eq!(line(format, timestamp, &event), expected);
        }
    }

    #[test]
    fn the_bytes_of_a_client_cannot_forge_a_line_or_a_field() {
        let evil = "a\r\n1:M 01 Jan 2000 * forged\u{1b}[2J\u{85}\u{2028}\u{202e}\0\" level=x \\";
        for &format in LogFormat::ALL {
            let text = line(format, TimestampFormat::Legacy, &|body| {
                body.set_message(format_args!("said {evil}"));
                body.add_text("field", format_args!("{evil}"));
            });
            let inner = text.strip_suffix('\n').unwrap();
            assert!(!inner.contains(is_harmful), "{inner}");
            if format != LogFormat::Legacy {
                let bare_quotes = inner.replace("\\\\", "").replace("\\\"", "").matches('"').count();
                assert_eq!(bare_quotes % 2, 0, "{inner}");
                assert!(!inner.replace("\\\"", "").contains("\" level=x"), "{inner}");
            }
        }
        let text = line(LogFormat::Legacy, TimestampFormat::Legacy, &|body| body.set_message(format_args!("{evil}")));
        assert!(
            text.contains("a\\r\\n1:M 01 Jan 2000 * forged\\x1b[2J\\x85\\u{2028}\\u{202e}\\x00\" level=x \\\n"),
            "{text}"
        );
    }

    #[test]
    fn a_line_stays_within_its_bound_and_says_where_it_was_cut() {
        for unit in ["x", "\u{1}", "\"", "\u{2028}", "\u{10ffff}", "é"] {
            let long = unit.repeat(100_000);
            for &format in LogFormat::ALL {
                let text = line(format, TimestampFormat::Iso8601, &|body| {
                    body.set_message(format_args!("{long}"));
                    for name in ["a", "b", "c"] {
                        body.add_text(name, format_args!("{long}"));
                    }
                });
                assert!(text.len() <= LINE_BYTES_MAX, "{}", text.len());
                assert!(text.contains("..."));
                assert!(text.contains(" a=") || text.contains(",\"a\":"));
            }
        }
    }

    #[test]
    fn fields_named_like_the_head_do_not_replace_it() {
        let text = line(LogFormat::Json, TimestampFormat::Milliseconds, &|body| {
            body.set_message(format_args!("x"));
            body.add_bare("pid", format_args!("7"));
        });
        assert!(text.ends_with("\"message\":\"x\",\"pid_\":7}\n"), "{text}");
    }
}
