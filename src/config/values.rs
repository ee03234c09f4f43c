//! The types that settings have when they are more than a number, a flag or a text.
//!
//! An enumerated setting is a Rust enum whose names stand beside its variants; the first variant is what a blank
//! [`super::Config`] starts from before the rows' defaults are applied, and is not itself the default.

/// A setting with a closed list of names.
pub(super) trait Choice: Copy + 'static {
    /// Every accepted name, in the order in which an error message lists them.
    const NAMES: &'static [&'static str];

    /// The name that `CONFIG GET` shows.
    fn label(self) -> &'static str;

    /// Finds a value by any of its names, ignoring ASCII case.
    fn from_label(name: &str) -> Option<Self>;
}

macro_rules! named_enum {
    ($(#[$meta:meta])* $name:ident {
        $first:ident = $first_text:literal,
        $($(#[$vmeta:meta])* $variant:ident = $text:literal $(| $also:literal)*,)*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub enum $name {
            #[doc = concat!("`", $first_text, "`")]
            #[default]
            $first,
            $(#[doc = concat!("`", $text, "`")] $(#[$vmeta])* $variant,)*
        }

        impl $name {
            /// The name as written in a file and shown by `CONFIG GET`.
            pub fn name(self) -> &'static str {
                match self {
                    Self::$first => $first_text,
                    $(Self::$variant => $text,)*
                }
            }
        }

        impl Choice for $name {
            const NAMES: &'static [&'static str] = &[$first_text, $($text, $($also,)*)*];

            fn label(self) -> &'static str {
                self.name()
            }

            fn from_label(name: &str) -> Option<Self> {
                if name.eq_ignore_ascii_case($first_text) {
                    return Some(Self::$first);
                }
                $(if name.eq_ignore_ascii_case($text) $(|| name.eq_ignore_ascii_case($also))* {
                    return Some(Self::$variant);
                })*
                None
            }
        }
    };
}

named_enum! {
    /// Which keys are evicted when `maxmemory` is reached.
    MaxmemoryPolicy {
        VolatileLru = "volatile-lru",
        VolatileLfu = "volatile-lfu",
        VolatileRandom = "volatile-random",
        VolatileTtl = "volatile-ttl",
        VolatileLrm = "volatile-lrm",
        AllkeysLru = "allkeys-lru",
        AllkeysLfu = "allkeys-lfu",
        AllkeysRandom = "allkeys-random",
        AllkeysLrm = "allkeys-lrm",
        Noeviction = "noeviction",
    }
}

impl MaxmemoryPolicy {
    /// Whether the policy ranks keys by how often they are used.
    pub fn is_lfu(self) -> bool {
        matches!(self, Self::VolatileLfu | Self::AllkeysLfu)
    }

    /// Whether the policy ranks keys by when they were last used.
    pub fn is_lru(self) -> bool {
        matches!(self, Self::VolatileLru | Self::AllkeysLru)
    }

    /// Whether the policy ranks keys by when they were last changed.
    pub fn is_lrm(self) -> bool {
        matches!(self, Self::VolatileLrm | Self::AllkeysLrm)
    }

    /// Whether only keys with a deadline may be evicted.
    pub fn is_volatile(self) -> bool {
        matches!(
            self,
            Self::VolatileLru | Self::VolatileLfu | Self::VolatileRandom | Self::VolatileTtl | Self::VolatileLrm
        )
    }
}

named_enum! {
    /// When the append-only file is forced to disk.
    AppendFsync { Everysec = "everysec", Always = "always", No = "no", }
}

named_enum! {
    /// The least important message that is still logged.
    LogLevel {
        Debug = "debug",
        Verbose = "verbose",
        Notice = "notice",
        Warning = "warning",
        Nothing = "nothing",
    }
}

named_enum! {
    /// The look of a log line.
    LogFormat { Legacy = "legacy", Logfmt = "logfmt", Json = "json", }
}

named_enum! {
    /// The look of the time in a log line.
    LogTimestampFormat { Legacy = "legacy", Iso8601 = "iso8601", Milliseconds = "milliseconds", }
}

named_enum! {
    /// Who may use a dangerous command or setting.
    LocalAccess {
        No = "no",
        Yes = "yes",
        /// Only connections from this machine.
        Local = "local",
    }
}

impl LocalAccess {
    /// Whether a client may; `local` says that it is connected over loopback or a Unix socket.
    pub fn allows(self, local: bool) -> bool {
        match self {
            Self::No => false,
            Self::Yes => true,
            Self::Local => local,
        }
    }
}

named_enum! {
    /// How the kernel's out-of-memory score of this process is set.
    OomScoreAdj {
        No = "no",
        /// Added to the score the process started with.
        Relative = "yes" | "relative",
        /// Replaces the score the process started with.
        Absolute = "absolute",
    }
}

named_enum! {
    /// The supervisor that is told about readiness.
    Supervised { Upstart = "upstart", Systemd = "systemd", Auto = "auto", No = "no", }
}

named_enum! {
    /// The syslog facility.
    SyslogFacility {
        User = "user",
        Local0 = "local0",
        Local1 = "local1",
        Local2 = "local2",
        Local3 = "local3",
        Local4 = "local4",
        Local5 = "local5",
        Local6 = "local6",
        Local7 = "local7",
    }
}

named_enum! {
    /// Which channels a new ACL user may use.
    AclPubsubDefault { AllChannels = "allchannels", ResetChannels = "resetchannels", }
}

named_enum! {
    /// What a primary or replica does when the command stream it passes on cannot be applied.
    PropagationErrorBehavior { Ignore = "ignore", Panic = "panic", PanicOnReplicas = "panic-on-replicas", }
}

named_enum! {
    /// How a replica loads a full synchronisation from the socket.
    ReplDisklessLoad {
        Disabled = "disabled",
        OnEmptyDb = "on-empty-db",
        Swapdb = "swapdb",
        FlushBeforeLoad = "flush-before-load",
    }
}

named_enum! {
    /// Whether payloads of RESTORE and RDB files are checked deeply.
    SanitizeDump { No = "no", Yes = "yes", Clients = "clients", }
}

named_enum! {
    /// Whose form snapshots and payloads have.
    RdbDialect { Redis = "redis", Valkey = "valkey", }
}

named_enum! {
    /// Whether an RDB file of a newer version may be loaded.
    RdbVersionCheck { Strict = "strict", Relaxed = "relaxed", }
}

named_enum! {
    /// Whether TLS clients must present a certificate.
    TlsAuthClients { No = "no", Yes = "yes", Optional = "optional", }
}

named_enum! {
    /// The certificate field that names the ACL user of a TLS client.
    TlsAuthClientsUser { CommonName = "CN", Uri = "URI", Off = "off", }
}

named_enum! {
    /// How cluster redirections name a node.
    EndpointType { Ip = "ip", Hostname = "hostname", UnknownEndpoint = "unknown-endpoint", }
}

named_enum! {
    /// Whether a failure to save the cluster's node file is fatal.
    ClusterSaveBehavior { Sync = "sync", BestEffort = "best-effort", }
}

/// One condition of `save`: so many changes within so many seconds start a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavePoint {
    /// Length of the window, at least 1.
    pub seconds: u64,
    /// Changes within it.
    pub changes: u64,
}

/// The classes of clients whose output buffers are limited separately; also the index into
/// `config.client_output_buffer_limit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientClass {
    /// Ordinary clients, MONITOR included.
    Normal = 0,
    /// Links to replicas.
    Replica = 1,
    /// Clients with at least one subscription.
    Pubsub = 2,
}

/// When a client is disconnected for leaving its replies unread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputBufferLimit {
    /// At this size at once; 0 means never.
    pub hard_bytes: u64,
    /// At this size when it lasts for `soft_seconds`; 0 means never.
    pub soft_bytes: u64,
    /// How long `soft_bytes` may be exceeded.
    pub soft_seconds: u64,
}

impl OutputBufferLimit {
    /// Whether a client may leave as much unread as it likes.
    pub fn is_unlimited(self) -> bool {
        self == Self::default()
    }
}

/// An amount of memory, absolute or as a share of `maxmemory`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryOrPercent {
    /// So many bytes; 0 means no limit.
    Bytes(u64),
    /// So many hundredths of `maxmemory`, 1 to 100.
    Percent(u8),
}

impl Default for MemoryOrPercent {
    fn default() -> Self {
        Self::Bytes(0)
    }
}

impl MemoryOrPercent {
    /// The limit in bytes under the given `maxmemory`; `None` when there is none. A share of an unlimited `maxmemory`
    /// is no limit.
    pub fn bytes(self, maxmemory: u64) -> Option<u64> {
        let bytes = match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => {
                let share = u128::from(maxmemory) * u128::from(percent) / 100;
                u64::try_from(share).unwrap_or(u64::MAX)
            }
        };
        (bytes != 0).then_some(bytes)
    }
}

/// Where this server replicates from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaOf {
    /// Name or address of the primary.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// One `user` line; the rules are the ACL room's to judge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserLine {
    /// The user's name.
    pub name: Vec<u8>,
    /// The rules behind it, in order.
    pub rules: Vec<Vec<u8>>,
}

/// One `rename-command` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenamedCommand {
    /// The command's own name.
    pub from: String,
    /// Its new name; empty takes the command away.
    pub to: String,
}

/// One `loadmodule` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleLine {
    /// Path of the shared object.
    pub path: String,
    /// What is passed to it.
    pub arguments: Vec<Vec<u8>>,
}

/// What to do when the process is told to end by a signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShutdownFlags(pub(super) u8);

impl ShutdownFlags {
    /// Names and bits, in the order in which they are shown. `default` is the absence of all others.
    pub(super) const NAMES: [(&'static str, u8); 7] = [
        ("default", 0),
        ("save", 1),
        ("nosave", 1 << 1),
        ("now", 1 << 2),
        ("force", 1 << 3),
        ("safe", 1 << 4),
        ("failover", 1 << 5),
    ];

    /// The data are saved, whether or not save points are configured.
    pub fn saves(self) -> bool {
        self.0 & 1 != 0
    }

    /// The data are not saved.
    pub fn saves_nothing(self) -> bool {
        self.0 & 1 << 1 != 0
    }

    /// The process ends even if they could not be saved.
    pub fn forces(self) -> bool {
        self.0 & 1 << 3 != 0
    }

    /// Nothing was asked for: save when save points are configured.
    pub fn is_default(self) -> bool {
        self.0 == 0
    }

    /// Save even when no save point is configured.
    pub fn save(self) -> bool {
        self.0 & 1 != 0
    }

    /// Do not save even when save points are configured.
    pub fn nosave(self) -> bool {
        self.0 & 1 << 1 != 0
    }

    /// Do not wait for replicas that lag behind.
    pub fn now(self) -> bool {
        self.0 & 1 << 2 != 0
    }

    /// Go down in spite of errors that would prevent it.
    pub fn force(self) -> bool {
        self.0 & 1 << 3 != 0
    }

    /// Refuse while this node serves slots of a cluster as a primary.
    pub fn safe(self) -> bool {
        self.0 & 1 << 4 != 0
    }

    /// Hand over to a replica first.
    pub fn failover(self) -> bool {
        self.0 & 1 << 5 != 0
    }
}

/// Which keyspace events are published (`notify-keyspace-events`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NotifyFlags(u16);

impl NotifyFlags {
    /// `K`: publish to `__keyspace@<db>__` channels.
    pub const KEYSPACE: Self = Self(1);
    /// `E`: publish to `__keyevent@<db>__` channels.
    pub const KEYEVENT: Self = Self(1 << 1);
    /// `g`: commands of no particular type.
    pub const GENERIC: Self = Self(1 << 2);
    /// `$`: string commands.
    pub const STRING: Self = Self(1 << 3);
    /// `l`: list commands.
    pub const LIST: Self = Self(1 << 4);
    /// `s`: set commands.
    pub const SET: Self = Self(1 << 5);
    /// `h`: hash commands.
    pub const HASH: Self = Self(1 << 6);
    /// `z`: sorted set commands.
    pub const ZSET: Self = Self(1 << 7);
    /// `x`: expirations.
    pub const EXPIRED: Self = Self(1 << 8);
    /// `e`: evictions.
    pub const EVICTED: Self = Self(1 << 9);
    /// `t`: stream commands.
    pub const STREAM: Self = Self(1 << 10);
    /// `m`: reads of absent keys.
    pub const KEY_MISS: Self = Self(1 << 11);
    /// `d`: events of modules.
    pub const MODULE: Self = Self(1 << 12);
    /// `n`: new keys.
    pub const NEW: Self = Self(1 << 13);
    /// `o`: values replaced as a whole.
    pub const OVERWRITTEN: Self = Self(1 << 14);
    /// `c`: values replaced by such of another type.
    pub const TYPE_CHANGED: Self = Self(1 << 15);
    /// `A`: all classes but `m`, `n`, `o` and `c`.
    pub const ALL: Self = Self(0b0001_0111_1111_1100);

    /// Letters in the order in which they are shown when `A` does not cover them.
    const LETTERS: [(char, Self); 11] = [
        ('g', Self::GENERIC),
        ('$', Self::STRING),
        ('l', Self::LIST),
        ('s', Self::SET),
        ('h', Self::HASH),
        ('z', Self::ZSET),
        ('x', Self::EXPIRED),
        ('e', Self::EVICTED),
        ('t', Self::STREAM),
        ('d', Self::MODULE),
        ('n', Self::NEW),
    ];
    const TAIL: [(char, Self); 5] = [
        ('K', Self::KEYSPACE),
        ('E', Self::KEYEVENT),
        ('m', Self::KEY_MISS),
        ('o', Self::OVERWRITTEN),
        ('c', Self::TYPE_CHANGED),
    ];

    /// Reads a string of letters; `None` when one is unknown.
    pub fn parse(text: &str) -> Option<Self> {
        text.chars().try_fold(Self(0), |flags, letter| {
            if letter == 'A' {
                return Some(flags.with(Self::ALL));
            }
            let mut known = Self::LETTERS.iter().chain(&Self::TAIL);
            known.find(|(name, _)| *name == letter).map(|(_, flag)| flags.with(*flag))
        })
    }

    /// The letters, `A` standing for all it covers. As in Redis, `n` is not shown beside `A`.
    pub fn letters(self) -> String {
        let classes = if self.has_all(Self::ALL) { String::from("A") } else { self.shown(&Self::LETTERS) };
        classes + &self.shown(&Self::TAIL)
    }

    fn shown(self, letters: &[(char, Self)]) -> String {
        letters.iter().filter(|(_, flag)| self.has_all(*flag)).map(|(letter, _)| *letter).collect()
    }

    /// Both sets together.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether every flag of `other` is set.
    pub const fn has_all(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether nothing is published.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_classes_are_shown_in_redis_order() {
        let cases = [
            ("", ""),
            ("KEA", "AKE"),
            ("Kg$lshzxetd", "AK"),
            ("KEg$lshzxetdmn", "AKEm"),
            ("Knm", "nKm"),
            ("KEgh", "ghKE"),
            ("nd", "dn"),
            ("$KE", "$KE"),
        ];
        for (given, shown) in cases {
            assert_eq!(NotifyFlags::parse(given).map(NotifyFlags::letters).as_deref(), Some(shown));
        }
        assert_eq!(NotifyFlags::parse("Kq"), None);
        assert_eq!(NotifyFlags::parse("k"), None);
    }

    #[test]
    fn two_names_of_one_value_show_the_first() {
        assert_eq!(OomScoreAdj::from_label("RELATIVE").map(OomScoreAdj::name), Some("yes"));
        assert_eq!(OomScoreAdj::NAMES, ["no", "yes", "relative", "absolute"]);
        assert_eq!(OomScoreAdj::from_label("maybe"), None);
    }

    #[test]
    fn a_share_of_unlimited_memory_is_no_limit() {
        assert_eq!(MemoryOrPercent::Percent(5).bytes(0), None);
        assert_eq!(MemoryOrPercent::Percent(5).bytes(1000), Some(50));
        assert_eq!(MemoryOrPercent::Percent(100).bytes(u64::MAX), Some(u64::MAX));
        assert_eq!(MemoryOrPercent::Bytes(0).bytes(1000), None);
    }
}
