//! What a row is: a directive's name, type, default, flags, effect and meaning, and how its value is read and written.
//!
//! Rows are built by `const fn`s in static tables. A row's [`Kind`] holds typed accessors of one field of [`Config`],
//! made by the macros at the end of this file, so a row can neither name a field that does not exist nor give it a
//! wrong type. Error texts are those that Redis and Valkey send: clients match on them.

use super::model::Config;
use super::syntax::{format_memory, parse_integer, parse_memory, parse_octal, quote};

/// One directive. Rows are static and unique; compare them by address or by `name`.
pub struct Directive {
    /// The name in files and in `CONFIG GET`.
    pub name: &'static str,
    /// A second name that means the same.
    pub alias: Option<&'static str>,
    /// The default, written as in a file.
    pub default: &'static str,
    /// How the directive may be used.
    pub flags: Flags,
    /// Which part of the server must act when the value changes.
    pub apply: Apply,
    /// Whether the value does anything yet.
    pub effect: Effect,
    /// What it means, in one sentence.
    pub doc: &'static str,
    pub(super) kind: Kind,
    adjust: Option<fn(&mut Config)>,
    refuse_change: Option<fn(&Config) -> Option<&'static str>>,
}

impl std::fmt::Debug for Directive {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.name)
    }
}

impl PartialEq for Directive {
    /// Names are unique across all rows, so they stand for the row.
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Directive {}

/// How a directive may be used: a set of the constants below.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    /// Cannot be changed while the server runs.
    pub const IMMUTABLE: Self = Self(1);
    /// `CONFIG GET` shows it only when asked for by its full name.
    pub const HIDDEN: Self = Self(1 << 1);
    /// The value is a secret: keep it out of logs.
    pub const SENSITIVE: Self = Self(1 << 2);
    /// `CONFIG SET` needs `enable-protected-configs`.
    pub const PROTECTED: Self = Self(1 << 3);
    /// Takes several arguments.
    pub const MULTI_ARG: Self = Self(1 << 4);
    /// Exists in files only; neither `CONFIG GET` nor `CONFIG SET` knows it.
    pub const FILE_ONLY: Self = Self(1 << 5);

    /// `CONFIG SET` refuses it while data are being read.
    pub const NOT_WHILE_LOADING: Self = Self(1 << 6);

    /// Whether all flags of `other` are set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Which part of the server must act when a value changes. `Nothing` means that readers simply find the new value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Apply {
    /// Nobody.
    Nothing,
    /// Open the new listening sockets, then close the old ones; may fail.
    Listeners,
    /// Raise the limit of open files and room for clients; may fail.
    MaxClients,
    /// Set up TLS anew; may fail.
    Tls,
    /// The log's level or look.
    Log,
    /// The command log's lengths and thresholds.
    CommandLog,
    /// Percentiles and switches of latency tracking.
    Latency,
    /// The password of the default user.
    DefaultUser,
    /// Check usage against the memory limit, now.
    MaxMemory,
    /// Reset access clocks to what the new policy counts.
    MemoryPolicy,
    /// Check the memory of all clients against the limit.
    ClientMemory,
    /// The housekeeping timer.
    Hz,
    /// Save points.
    Save,
    /// The working folder; may fail.
    Dir,
    /// Start or stop the append-only file; may fail.
    AppendOnly,
    /// The kernel's out-of-memory score; may fail.
    OomScore,
    /// The title of the process.
    ProcTitle,
    /// Whether crashes are reported.
    CrashLog,
    /// When the executor counts as stuck.
    Watchdog,
    /// Which keyspace events are published.
    Notifications,
    /// The number of I/O threads.
    IoThreads,
    /// Collation of SORT ALPHA.
    Locale,
    /// Limits of the client tracking table.
    Tracking,
    /// The length of the ACL log.
    AclLog,
    /// Size of the replication backlog.
    ReplBacklog,
    /// Recount the replicas that are good enough to write.
    GoodReplicas,
    /// What this node tells the cluster about itself.
    ClusterAnnounce,
    /// Flags of this cluster node.
    ClusterFlags,
}

/// Whether a directive does anything in this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// As documented.
    Works,
    /// Kept and shown, without effect until the named piece arrives.
    Accepted {
        /// The piece that brings it.
        until: &'static str,
        /// Why not yet.
        reason: &'static str,
    },
    /// Kept and shown for compatibility; what it tunes does not exist in this server.
    NotNeeded {
        /// Why not.
        reason: &'static str,
    },
}

/// The pieces that bring what is accepted without effect today, in the order of their arrival.
pub(super) mod piece {
    /// Primary and replicas.
    pub(in crate::config) const REPLICATION: &str = "replication";
    /// Many primaries.
    pub(in crate::config) const CLUSTER: &str = "cluster";
    /// Threads that read and write sockets; no date yet.
    pub(in crate::config) const IO_THREADS: &str = "I/O threads";
}

/// The type of a value, with the accessors of its field.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// `yes` or `no`.
    Bool { get: fn(&Config) -> bool, set: fn(&mut Config, bool) },
    /// A whole number between two bounds.
    Int { unit: IntUnit, min: i128, max: i128, get: fn(&Config) -> i128, set: fn(&mut Config, i128) },
    /// One name of a closed list.
    Choice { names: &'static [&'static str], get: fn(&Config) -> &'static str, set: fn(&mut Config, &str) -> bool },
    /// UTF-8 text without NUL.
    Text { get: fn(&Config) -> &str, set: fn(&mut Config, String), check: TextCheck },
    /// The same, where the empty text means "not set".
    OptionalText { get: fn(&Config) -> Option<&str>, set: fn(&mut Config, Option<String>), check: TextCheck },
    /// Any bytes; empty means "not set".
    Secret { get: fn(&Config) -> Option<&[u8]>, set: fn(&mut Config, Option<Vec<u8>>) },
    /// A form of its own.
    Special(&'static Special),
}

/// Says what is wrong with a text, if anything.
pub(super) type TextCheck = fn(&str) -> Result<(), &'static str>;

/// A directive that reads and writes its arguments in a way of its own.
pub(super) struct Special {
    /// The type, for people.
    pub(super) type_name: &'static str,
    /// The value as `CONFIG GET` shows it.
    pub(super) get: fn(&Config) -> Vec<u8>,
    /// Takes the arguments of one line, or of one `CONFIG SET` after [`Special::clear`].
    pub(super) set: fn(&mut Config, &[&[u8]]) -> Result<(), String>,
    /// Empties what repeated lines add to.
    pub(super) clear: fn(&mut Config),
    /// The lines that `CONFIG REWRITE` writes, and whether each differs from the default.
    pub(super) lines: fn(&Config, &Config) -> Vec<(String, bool)>,
}

/// How an integer is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum IntUnit {
    /// Decimal.
    Plain,
    /// Bytes with an optional unit.
    Memory,
    /// Octal.
    Octal,
}

/// Starts a row: mutable, visible, acting on nothing, and working.
pub(super) const fn row(name: &'static str, kind: Kind, default: &'static str) -> Directive {
    Directive {
        name,
        alias: None,
        default,
        flags: Flags(0),
        apply: Apply::Nothing,
        effect: Effect::Works,
        doc: "",
        kind,
        adjust: None,
        refuse_change: None,
    }
}

impl Directive {
    pub(super) const fn alias(self, alias: &'static str) -> Self {
        Self { alias: Some(alias), ..self }
    }

    pub(super) const fn immutable(self) -> Self {
        self.flag(Flags::IMMUTABLE)
    }

    pub(super) const fn hidden(self) -> Self {
        self.flag(Flags::HIDDEN)
    }

    pub(super) const fn sensitive(self) -> Self {
        self.flag(Flags::SENSITIVE)
    }

    pub(super) const fn not_while_loading(self) -> Self {
        self.flag(Flags::NOT_WHILE_LOADING)
    }

    /// As above.
    pub(super) const fn protected(self) -> Self {
        self.flag(Flags::PROTECTED)
    }

    pub(super) const fn multi_arg(self) -> Self {
        self.flag(Flags::MULTI_ARG)
    }

    pub(super) const fn file_only(self) -> Self {
        self.flag(Flags::FILE_ONLY)
    }

    const fn flag(self, flag: Flags) -> Self {
        Self { flags: self.flags.with(flag), ..self }
    }

    pub(super) const fn apply(self, apply: Apply) -> Self {
        Self { apply, ..self }
    }

    pub(super) const fn until(self, until: &'static str, reason: &'static str) -> Self {
        Self { effect: Effect::Accepted { until, reason }, ..self }
    }

    pub(super) const fn not_needed(self, reason: &'static str) -> Self {
        Self { effect: Effect::NotNeeded { reason }, ..self }
    }

    pub(super) const fn doc(self, doc: &'static str) -> Self {
        Self { doc, ..self }
    }

    /// Brings an accepted value into the range that the server really uses.
    pub(super) const fn adjust(self, adjust: fn(&mut Config)) -> Self {
        Self { adjust: Some(adjust), ..self }
    }

    /// Refuses some values at run time that a file may hold.
    pub(super) const fn refuse_change(self, refuse: fn(&Config) -> Option<&'static str>) -> Self {
        Self { refuse_change: Some(refuse), ..self }
    }

    /// Whether `name` is this directive's name or alias, ignoring ASCII case.
    pub fn is_named(&self, name: &[u8]) -> bool {
        self.names().any(|known| known.as_bytes().eq_ignore_ascii_case(name))
    }

    /// The name, then the alias if there is one.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.alias)
    }

    /// The value, exactly as `CONFIG GET` shows it.
    pub fn get(&self, config: &Config) -> Vec<u8> {
        match self.kind {
            Kind::Bool { get, .. } => yes_no(get(config)).into(),
            Kind::Int { unit: IntUnit::Octal, get, .. } => format!("{:o}", get(config)).into(),
            Kind::Int { get, .. } => get(config).to_string().into(),
            Kind::Choice { get, .. } => get(config).into(),
            Kind::Text { get, .. } => get(config).into(),
            Kind::OptionalText { get, .. } => get(config).unwrap_or_default().into(),
            Kind::Secret { get, .. } => get(config).unwrap_or_default().to_vec(),
            Kind::Special(special) => (special.get)(config),
        }
    }

    /// Reads the arguments of one line of a file into `config`. Repeated lines of a list add to it; see
    /// [`Self::clear`].
    ///
    /// # Errors
    /// Says in Redis's words what is wrong; `config` may then hold a part of a list.
    pub(super) fn set_arguments(&self, config: &mut Config, arguments: &[&[u8]]) -> Result<(), String> {
        let done = match (&self.kind, arguments) {
            (Kind::Special(special), _) => (special.set)(config, arguments),
            (_, [value]) => self.set_value(config, value),
            _ => Err("wrong number of arguments".to_owned()),
        };
        if let (Ok(()), Some(adjust)) = (&done, self.adjust) {
            adjust(config);
        }
        done
    }

    /// Replaces the value with one text, as `CONFIG SET` gives it: several arguments are cut at each single space.
    ///
    /// # Errors
    /// Says in Redis's words what is wrong.
    pub(super) fn replace(&self, config: &mut Config, value: &[u8]) -> Result<(), String> {
        self.clear(config);
        if self.flags.has(Flags::MULTI_ARG) {
            self.set_arguments(config, &cut_at_spaces(value))?;
        } else {
            self.set_arguments(config, &[value])?;
        }
        match self.refuse_change.and_then(|refuse| refuse(config)) {
            Some(reason) => Err(reason.to_owned()),
            None => Ok(()),
        }
    }

    /// Empties a list that repeated lines add to; other values stay.
    pub(super) fn clear(&self, config: &mut Config) {
        if let Kind::Special(special) = self.kind {
            (special.clear)(config);
        }
    }

    /// Sets the row's default.
    pub(super) fn set_default(&self, config: &mut Config) {
        let done =
            if self.flags.has(Flags::FILE_ONLY) { Ok(()) } else { self.replace(config, self.default.as_bytes()) };
        if let Err(reason) = done {
            unreachable!("default of {} is refused: {reason}", self.name);
        }
    }

    /// The lines that `CONFIG REWRITE` writes for this directive, and whether each differs from the default.
    pub(super) fn lines(&self, config: &Config, defaults: &Config) -> Vec<(String, bool)> {
        let value = match self.kind {
            Kind::Special(special) => return (special.lines)(config, defaults),
            Kind::Bool { get, .. } => yes_no(get(config)).to_owned(),
            Kind::Int { unit: IntUnit::Memory, get, .. } => match u64::try_from(get(config)) {
                Ok(bytes) => format_memory(bytes),
                Err(_) => get(config).to_string(),
            },
            Kind::Int { unit: IntUnit::Octal, get, .. } => format!("{:o}", get(config)),
            Kind::Int { get, .. } => get(config).to_string(),
            Kind::Choice { get, .. } => get(config).to_owned(),
            Kind::Text { get, .. } => quote(get(config).as_bytes()),
            Kind::OptionalText { get, .. } => match get(config) {
                Some(text) => quote(text.as_bytes()),
                None => return Vec::new(),
            },
            Kind::Secret { get, .. } => match get(config) {
                Some(secret) => quote(secret),
                None => return Vec::new(),
            },
        };
        vec![(format!("{} {value}", self.name), self.get(config) != self.get(defaults))]
    }

    fn set_value(&self, config: &mut Config, value: &[u8]) -> Result<(), String> {
        if let Kind::Secret { set, .. } = self.kind {
            set(config, (!value.is_empty()).then(|| value.to_vec()));
            return Ok(());
        }
        let text = std::str::from_utf8(value).ok().filter(|text| !text.contains('\0'));
        match self.kind {
            Kind::Bool { set, .. } => match text {
                Some(text) if text.eq_ignore_ascii_case("yes") => set(config, true),
                Some(text) if text.eq_ignore_ascii_case("no") => set(config, false),
                _ => return Err("argument must be 'yes' or 'no'".to_owned()),
            },
            Kind::Int { unit, min, max, set, .. } => set(config, bounded(unit, min, max, text.unwrap_or("?"))?),
            Kind::Choice { names, set, .. } => {
                if !text.is_some_and(|text| set(config, text)) {
                    return Err(must_be_one_of(names));
                }
            }
            Kind::Text { set, check, .. } => {
                let text = text.ok_or("argument must be UTF-8 text without NUL bytes")?;
                check(text)?;
                set(config, text.to_owned());
            }
            Kind::OptionalText { set, check, .. } => {
                let text = text.ok_or("argument must be UTF-8 text without NUL bytes")?;
                check(text)?;
                set(config, (!text.is_empty()).then(|| text.to_owned()));
            }
            Kind::Secret { .. } | Kind::Special(_) => {}
        }
        Ok(())
    }
}

fn yes_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

/// The error of a name that is not on a closed list.
pub(super) fn must_be_one_of(names: &[&str]) -> String {
    format!("argument(s) must be one of the following: {}", names.join(", "))
}

/// Cuts at every single space, so that two in a row give an empty argument; an empty text gives none.
fn cut_at_spaces(value: &[u8]) -> Vec<&[u8]> {
    if value.is_empty() { Vec::new() } else { value.split(|byte| *byte == b' ').collect() }
}

/// Reads an integer of the given notation and checks its bounds.
fn bounded(unit: IntUnit, min: i128, max: i128, text: &str) -> Result<i128, String> {
    let value = match unit {
        IntUnit::Plain => parse_integer(text).map(i128::from).ok_or("argument couldn't be parsed into an integer")?,
        IntUnit::Octal => parse_octal(text).map(i128::from).ok_or("argument couldn't be parsed as an octal number")?,
        IntUnit::Memory => {
            let negative = if min < 0 { parse_integer(text).map(i128::from) } else { None };
            negative.or(parse_memory(text).map(i128::from)).ok_or("argument must be a memory value")?
        }
    };
    if (min..=max).contains(&value) {
        return Ok(value);
    }
    Err(match unit {
        IntUnit::Octal => format!("argument must be between {min:o} and {max:o} inclusive"),
        _ => format!("argument must be between {min} and {max} inclusive"),
    })
}

/// The check of a text that may be anything.
pub(super) fn any_text(_: &str) -> Result<(), &'static str> {
    Ok(())
}

/// Integer fields of any width, read and written through one that holds them all.
pub(super) trait Number: Copy {
    /// Loses nothing.
    fn widen(self) -> i128;
    /// Saturates; rows give bounds that fit, so that it never has to.
    fn narrow(value: i128) -> Self;
}

macro_rules! numbers {
    ($($kind:ty),*) => {
        $(impl Number for $kind {
            fn widen(self) -> i128 {
                i128::from(self)
            }

            fn narrow(value: i128) -> Self {
                Self::try_from(value).unwrap_or(if value < 0 { Self::MIN } else { Self::MAX })
            }
        })*
    };
}

numbers!(u8, u16, u32, u64, i32, i64);

/// The largest value of what Redis keeps in a C `int`.
pub(super) const INT_MAX: i128 = i32::MAX as i128;
/// The largest value of what Redis keeps in a C `long long`.
pub(super) const LONG_MAX: i128 = i64::MAX as i128;

macro_rules! flag {
    ($field:ident) => {
        $crate::config::directive::Kind::Bool {
            get: |config| config.$field,
            set: |config, value| config.$field = value,
        }
    };
}

macro_rules! int {
    (@ $unit:ident, $field:ident, $min:expr, $max:expr) => {
        $crate::config::directive::Kind::Int {
            unit: $crate::config::directive::IntUnit::$unit,
            min: $min,
            max: $max,
            get: |config| $crate::config::directive::Number::widen(config.$field),
            set: |config, value| config.$field = $crate::config::directive::Number::narrow(value),
        }
    };
    ($field:ident, $min:expr, $max:expr) => {
        int!(@ Plain, $field, $min, $max)
    };
}

macro_rules! memory {
    ($field:ident, $min:expr, $max:expr) => {
        int!(@ Memory, $field, $min, $max)
    };
}

macro_rules! octal {
    ($field:ident, $min:expr, $max:expr) => {
        int!(@ Octal, $field, $min, $max)
    };
}

macro_rules! choice {
    ($field:ident, $kind:ty) => {
        $crate::config::directive::Kind::Choice {
            names: <$kind as $crate::config::values::Choice>::NAMES,
            get: |config| $crate::config::values::Choice::label(config.$field),
            set: |config, name| match <$kind as $crate::config::values::Choice>::from_label(name) {
                Some(value) => {
                    config.$field = value;
                    true
                }
                None => false,
            },
        }
    };
}

macro_rules! text {
    ($field:ident) => {
        text!($field, $crate::config::directive::any_text)
    };
    ($field:ident, $check:expr) => {
        $crate::config::directive::Kind::Text {
            get: |config| &config.$field,
            set: |config, value| config.$field = value,
            check: $check,
        }
    };
}

macro_rules! optional_text {
    ($field:ident) => {
        optional_text!($field, $crate::config::directive::any_text)
    };
    ($field:ident, $check:expr) => {
        $crate::config::directive::Kind::OptionalText {
            get: |config| config.$field.as_deref(),
            set: |config, value| config.$field = value,
            check: $check,
        }
    };
}

macro_rules! secret {
    ($field:ident) => {
        $crate::config::directive::Kind::Secret {
            get: |config| config.$field.as_deref(),
            set: |config, value| config.$field = value,
        }
    };
}

pub(super) use {choice, flag, int, memory, octal, optional_text, secret, text};
