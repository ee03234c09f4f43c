//! What the configuration may say about the log, with the names that the configuration file uses.

use std::path::PathBuf;

/// All that [`Logging::start`](super::Logging::start) needs to know.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// `loglevel`.
    pub level: LogLevel,
    /// `log-format`.
    pub format: LogFormat,
    /// `log-timestamp-format`.
    pub timestamp: TimestampFormat,
    /// `logfile`; `None` (an empty string in the file) is standard output.
    pub logfile: Option<PathBuf>,
    /// `syslog-enabled`: lines go to syslog too.
    pub syslog_enabled: bool,
    /// `syslog-ident`.
    pub syslog_ident: String,
    /// `syslog-facility`.
    pub syslog_facility: SyslogFacility,
    /// Whose lines they are at first.
    pub role: LogRole,
}

impl Default for LogSettings {
    fn default() -> LogSettings {
        LogSettings {
            level: LogLevel::Notice,
            format: LogFormat::Legacy,
            timestamp: TimestampFormat::Legacy,
            logfile: None,
            syslog_enabled: false,
            syslog_ident: "weir".to_owned(),
            syslog_facility: SyslogFacility::Local0,
            role: LogRole::Primary,
        }
    }
}

/// Enums of the configuration: a byte for an atomic, a name for the file.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// All values, in order.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// The name in the configuration.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)+ }
            }

            /// The value of that name, whatever its case.
            #[must_use]
            pub fn from_name(name: &str) -> Option<$name> {
                $name::ALL.iter().copied().find(|value| value.name().eq_ignore_ascii_case(name))
            }

            /// Back from `self as u8` out of an atomic; an unknown byte is the first value.
            #[must_use]
            pub fn from_byte(byte: u8) -> $name {
                $name::ALL.get(usize::from(byte)).copied().unwrap_or($name::ALL[0])
            }
        }
    };
}

named! {
    /// Which lines are written, from none to all.
    LogLevel {
        /// No lines at all.
        Nothing = "nothing",
        /// `error!` and `warn!`.
        Warning = "warning",
        /// And `info!`: the default.
        Notice = "notice",
        /// And `debug!`.
        Verbose = "verbose",
        /// And `trace!`.
        Debug = "debug",
    }
}

named! {
    /// The look of a line.
    LogFormat {
        /// `12345:M 22 Nov 2026 12:15:21.123 * Server initialized`
        Legacy = "legacy",
        /// `pid=12345 role=primary timestamp="22 Nov 2026 12:15:21.123" level=notice message="Server initialized"`
        Logfmt = "logfmt",
        /// The same fields as one JSON object a line.
        Json = "json",
    }
}

named! {
    /// The look of the time in a line.
    TimestampFormat {
        /// `22 Nov 2026 12:15:21.123`, local time.
        Legacy = "legacy",
        /// `2026-11-22T12:15:21.123+01:00`, local time.
        Iso8601 = "iso8601",
        /// Milliseconds since 1970.
        Milliseconds = "milliseconds",
    }
}

named! {
    /// Whose line it is.
    LogRole {
        /// `M`: a server that takes writes.
        Primary = "primary",
        /// `S`: a server that follows another.
        Replica = "replica",
        /// `X`: a sentinel.
        Sentinel = "sentinel",
        /// `C`: a process that only prepares or saves.
        Child = "RDB/AOF",
    }
}

named! {
    /// The syslog facility.
    SyslogFacility {
        /// Facility 1.
        User = "user",
        /// Facility 16.
        Local0 = "local0",
        /// Facility 17.
        Local1 = "local1",
        /// Facility 18.
        Local2 = "local2",
        /// Facility 19.
        Local3 = "local3",
        /// Facility 20.
        Local4 = "local4",
        /// Facility 21.
        Local5 = "local5",
        /// Facility 22.
        Local6 = "local6",
        /// Facility 23.
        Local7 = "local7",
    }
}

impl LogRole {
    pub(super) fn mark(self) -> char {
        match self {
            LogRole::Primary => 'M',
            LogRole::Replica => 'S',
            LogRole::Sentinel => 'X',
            LogRole::Child => 'C',
        }
    }
}

impl SyslogFacility {
    pub(super) fn code(self) -> u8 {
        match self {
            SyslogFacility::User => 1,
            local => 15 + local as u8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_bytes_lead_back_to_the_value() {
        for &level in LogLevel::ALL {
            assert_eq!(LogLevel::from_name(&level.name().to_uppercase()), Some(level));
            assert_eq!(LogLevel::from_byte(level as u8), level);
        }
        assert_eq!(LogLevel::from_name("loud"), None);
        assert_eq!(LogRole::from_byte(200), LogRole::Primary);
    }

    #[test]
    fn facilities_have_the_codes_of_syslog() {
        assert_eq!(SyslogFacility::User.code(), 1);
        assert_eq!(SyslogFacility::Local0.code(), 16);
        assert_eq!(SyslogFacility::Local7.code(), 23);
    }
}
