//! What a command is, apart from what it does: one [`Spec`] a command or subcommand.
//!
//! A row says everything that `COMMAND INFO`, `COMMAND DOCS`, `COMMAND GETKEYS`, the ACL categories, the arity errors,
//! cluster key extraction, the documentation page and the command line's help need, so that a command is described in
//! one place. Rows are constants: the builders below are `const fn`s, and nothing is computed when the server starts
//! except the lookup table.
//!
//! Invariant: this file knows nothing of clients, databases or the server.

/// Static description of a command or a subcommand.
#[derive(Debug)]
pub struct Spec {
    /// Lower-case name; of a subcommand only its own part (`get` of `config|get`).
    pub name: &'static str,
    /// Number of arguments with the command's name (and the subcommand's); negative: at least so many.
    pub arity: i16,
    /// What the gates and `COMMAND INFO` need to know.
    pub flags: Flags,
    /// Every ACL category that the command belongs to, those implied by flags included.
    pub acl: Acl,
    /// Where keys stand among the arguments.
    pub keys: &'static [KeySpec],
    /// Which argument is a member of the collection at the first key.
    pub member_at: Option<u8>,
    /// Which arguments are channels that the caller must be allowed to use.
    pub channels: ChannelArgs,
    /// Which databases it touches.
    pub databases: DatabaseArgs,
    /// `COMMAND INFO`'s tips for proxies and cluster clients.
    pub tips: &'static [&'static str],
    /// Family, as `COMMAND DOCS` names it.
    pub group: Group,
    /// First version of the protocol's reference servers that had it.
    pub since: &'static str,
    /// Cost, in the notation of the field: `O(1)`, `O(N) where N is ...`.
    pub complexity: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// Version since which it is deprecated, and what to use instead.
    pub deprecated: Option<(&'static str, &'static str)>,
    /// What changed in which version.
    pub history: &'static [(&'static str, &'static str)],
    /// Arguments after the name, for `COMMAND DOCS` and command-line hints.
    pub args: &'static [Arg],
}

impl Spec {
    /// A row with the fields that every command has; the `const` setters below add the rest.
    pub const fn new(
        name: &'static str,
        arity: i16,
        flags: Flags,
        acl: Acl,
        group: Group,
        since: &'static str,
    ) -> Spec {
        Spec {
            name,
            arity,
            flags,
            acl,
            keys: &[],
            member_at: None,
            channels: ChannelArgs::None,
            databases: DatabaseArgs::Current,
            tips: &[],
            group,
            since,
            complexity: "O(1)",
            summary: "",
            deprecated: None,
            history: &[],
            args: &[],
        }
    }

    /// Sets where the keys stand.
    pub const fn keys(mut self, keys: &'static [KeySpec]) -> Spec {
        self.keys = keys;
        self
    }

    /// Says which argument is, in the commonest form, the first member of the collection at the first key: its memory is
    /// requested ahead. A wrong one costs a little time and nothing else.
    pub const fn member(mut self, at: u8) -> Spec {
        self.member_at = Some(at);
        self
    }

    /// Says which arguments are channels.
    pub const fn channels(mut self, channels: ChannelArgs) -> Spec {
        self.channels = channels;
        self
    }

    /// Says which databases it touches besides, or instead of, the client's.
    pub const fn databases(mut self, databases: DatabaseArgs) -> Spec {
        self.databases = databases;
        self
    }

    /// Sets the tips.
    pub const fn tips(mut self, tips: &'static [&'static str]) -> Spec {
        self.tips = tips;
        self
    }

    /// Sets cost and summary.
    pub const fn doc(mut self, complexity: &'static str, summary: &'static str) -> Spec {
        self.complexity = complexity;
        self.summary = summary;
        self
    }

    /// Marks it deprecated since a version, in favour of something.
    pub const fn deprecated(mut self, since: &'static str, replaced_by: &'static str) -> Spec {
        self.deprecated = Some((since, replaced_by));
        self
    }

    /// Sets the history.
    pub const fn history(mut self, history: &'static [(&'static str, &'static str)]) -> Spec {
        self.history = history;
        self
    }

    /// Sets the arguments.
    pub const fn args(mut self, args: &'static [Arg]) -> Spec {
        self.args = args;
        self
    }

    /// Whether calls have keys at all; arguments that only hash to a slot are none.
    pub fn has_keys(&self) -> bool {
        self.keys.iter().any(|key| !key.flags.contains(KeyFlags::NOT_KEY))
    }

    /// Place of the only key and what is done with it, where that is the same for every call that has one, and the key is
    /// all that permissions are asked for.
    pub fn only_key(&self) -> Option<(usize, KeyFlags)> {
        let vague = KeyFlags::NOT_KEY.union(KeyFlags::INCOMPLETE).union(KeyFlags::VARIABLE_FLAGS);
        match self.keys {
            [KeySpec { flags, begin: BeginSearch::Index(at), find: FindKeys::Range { last: 0, .. }, .. }]
                if !flags.intersects(vague)
                    && !self.flags.contains(Flags::FOREIGN_KEYS)
                    && self.group != Group::Registry =>
            {
                Some((usize::from(*at), *flags))
            }
            _ => None,
        }
    }

    /// Whether `argc` arguments (the name included) fit.
    pub const fn arity_fits(&self, argc: usize) -> bool {
        let wanted = self.arity.unsigned_abs() as usize;
        if self.arity < 0 { argc >= wanted } else { argc == wanted }
    }
}

bitflags::bitflags! {
    /// What a command does and where it may run. Names are those of `COMMAND INFO` in lower case.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Flags: u64 {
        /// May change the keyspace.
        const WRITE = 1 << 0;
        /// Never changes the keyspace.
        const READONLY = 1 << 1;
        /// May need more memory: refused above `maxmemory`.
        const DENYOOM = 1 << 2;
        /// An operator's command.
        const ADMIN = 1 << 3;
        /// Pub/sub.
        const PUBSUB = 1 << 4;
        /// Refused in scripts.
        const NOSCRIPT = 1 << 5;
        /// May block the client.
        const BLOCKING = 1 << 6;
        /// Runs while a data set is being loaded.
        const LOADING = 1 << 7;
        /// Runs on a replica with stale data.
        const STALE = 1 << 8;
        /// Not shown to MONITOR.
        const SKIP_MONITOR = 1 << 9;
        /// Not counted in the slow log and command log.
        const SKIP_SLOWLOG = 1 << 10;
        /// Runs before AUTH.
        const NO_AUTH = 1 << 11;
        /// O(1) or O(log n).
        const FAST = 1 << 12;
        /// Refused inside MULTI.
        const NO_MULTI = 1 << 13;
        /// Keys cannot be told from the key specs alone.
        const MOVABLEKEYS = 1 << 14;
        /// Runs without waiting for an asynchronous load.
        const NO_ASYNC_LOADING = 1 << 15;
        /// Runs while a script is over its time limit.
        const ALLOW_BUSY = 1 << 16;
        /// May be propagated although it is not a write (PUBLISH, EVAL).
        const MAY_REPLICATE = 1 << 17;
        /// Redis Cluster's ASKING is implied.
        const ASKING = 1 << 18;
        /// Does not need a database: keys of any database, or none.
        const ALL_DBS = 1 << 19;
        /// Does not care whether its key arguments are all in one slot.
        const NO_MANDATORY_KEYS = 1 << 20;
        /// Touches no key's access clock.
        const TOUCHES_ARBITRARY_KEYS = 1 << 21;
        /// May run while the client is in RESP2 subscribed mode.
        const SUBSCRIBED_OK = 1 << 22;
        /// Not listed to clients (DEBUG helpers, internal ones).
        const HIDDEN = 1 << 23;
        /// Refused to anybody but this server's own links.
        const ONLY_SENTINEL = 1 << 24;
        /// Its arguments hold a secret, never to be logged or shown.
        const SENSITIVE = 1 << 25;
        /// Needs `enable-debug-command`.
        const PROTECTED = 1 << 26;
        /// A tool of the server's makers: COMMAND DOCS calls it `syscmd`.
        const SYSCMD = 1 << 27;
        /// Runs at once inside MULTI, where others are queued.
        const NOT_QUEUED = 1 << 28;
        /// Runs what its client has queued, so that the gates look at that too.
        const RUNS_QUEUED = 1 << 29;
        /// Runs a script, which may have declared what it does.
        const RUNS_SCRIPT = 1 << 41;
        /// Names a script by its hash.
        const BY_HASH = 1 << 42;
        /// Names a function.
        const BY_FUNCTION = 1 << 43;
        /// CLIENT CACHING is about the command behind this one.
        const KEEPS_CACHING = 1 << 40;
        /// Asks whether the server is well: refused, as changes are, while these cannot be kept.
        const TELLS_HEALTH = 1 << 45;
        /// Reads keys that its arguments only describe: refused to who may not read every key.
        const FOREIGN_KEYS = 1 << 44;
    }
}

impl Flags {
    /// The flags that `COMMAND INFO` shows, in its order, with their wire names.
    pub const WIRE: &'static [(Flags, &'static str)] = &[
        (Flags::WRITE, "write"),
        (Flags::READONLY, "readonly"),
        (Flags::DENYOOM, "denyoom"),
        (Flags::ADMIN, "admin"),
        (Flags::PUBSUB, "pubsub"),
        (Flags::NOSCRIPT, "noscript"),
        (Flags::BLOCKING, "blocking"),
        (Flags::LOADING, "loading"),
        (Flags::STALE, "stale"),
        (Flags::SKIP_MONITOR, "skip_monitor"),
        (Flags::SKIP_SLOWLOG, "skip_slowlog"),
        (Flags::ASKING, "asking"),
        (Flags::FAST, "fast"),
        (Flags::NO_AUTH, "no_auth"),
        (Flags::NO_MANDATORY_KEYS, "no_mandatory_keys"),
        (Flags::NO_ASYNC_LOADING, "no_async_loading"),
        (Flags::NO_MULTI, "no_multi"),
        (Flags::MOVABLEKEYS, "movablekeys"),
        (Flags::ALLOW_BUSY, "allow_busy"),
        (Flags::ALL_DBS, "all_dbs"),
    ];
}

bitflags::bitflags! {
    /// ACL categories; the wire name is `@` and the constant's name in lower case.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Acl: u64 {
        /// `@keyspace`
        const KEYSPACE = 1 << 0;
        /// `@read`
        const READ = 1 << 1;
        /// `@write`
        const WRITE = 1 << 2;
        /// `@set`
        const SET = 1 << 3;
        /// `@sortedset`
        const SORTEDSET = 1 << 4;
        /// `@list`
        const LIST = 1 << 5;
        /// `@hash`
        const HASH = 1 << 6;
        /// `@string`
        const STRING = 1 << 7;
        /// `@bitmap`
        const BITMAP = 1 << 8;
        /// `@hyperloglog`
        const HYPERLOGLOG = 1 << 9;
        /// `@geo`
        const GEO = 1 << 10;
        /// `@stream`
        const STREAM = 1 << 11;
        /// `@pubsub`
        const PUBSUB = 1 << 12;
        /// `@admin`
        const ADMIN = 1 << 13;
        /// `@fast`
        const FAST = 1 << 14;
        /// `@slow`
        const SLOW = 1 << 15;
        /// `@blocking`
        const BLOCKING = 1 << 16;
        /// `@dangerous`
        const DANGEROUS = 1 << 17;
        /// `@connection`
        const CONNECTION = 1 << 18;
        /// `@transaction`
        const TRANSACTION = 1 << 19;
        /// `@scripting`
        const SCRIPTING = 1 << 20;
        /// `@mqadmin`: what there is in the broker, and how it is connected.
        const MQADMIN = 1 << 21;
        /// `@mqwrite`: publishing.
        const MQWRITE = 1 << 22;
        /// `@mqread`: taking messages and settling them, and looking.
        const MQREAD = 1 << 23;
        /// `@cfgread`: reading the registry and observing it.
        const CFGREAD = 1 << 24;
        /// `@cfgwrite`: changing paths, drafts, leases and locks.
        const CFGWRITE = 1 << 25;
        /// `@cfgpublish`: making drafts what everybody sees, and taking that back.
        const CFGPUBLISH = 1 << 26;
        /// `@cfgadmin`: settings of a store, its history, and who sees what.
        const CFGADMIN = 1 << 27;
    }
}

/// Family of a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "each is the family of its name")]
pub enum Group {
    Generic,
    String,
    List,
    Set,
    SortedSet,
    Hash,
    PubSub,
    Transactions,
    Connection,
    Server,
    Scripting,
    HyperLogLog,
    Cluster,
    Geo,
    Stream,
    Bitmap,
    Sentinel,
    Broker,
    Registry,
}

impl Group {
    /// As `COMMAND DOCS` spells it.
    pub const fn wire_name(self) -> &'static str {
        match self {
            Group::Generic => "generic",
            Group::String => "string",
            Group::List => "list",
            Group::Set => "set",
            Group::SortedSet => "sorted-set",
            Group::Hash => "hash",
            Group::PubSub => "pubsub",
            Group::Transactions => "transactions",
            Group::Connection => "connection",
            Group::Server => "server",
            Group::Scripting => "scripting",
            Group::HyperLogLog => "hyperloglog",
            Group::Cluster => "cluster",
            Group::Geo => "geo",
            Group::Stream => "stream",
            Group::Bitmap => "bitmap",
            Group::Sentinel => "sentinel",
            Group::Broker => "broker",
            Group::Registry => "registry",
        }
    }
}

bitflags::bitflags! {
    /// What a command does with a key that a key spec finds.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct KeyFlags: u32 {
        /// Reads, never changes it.
        const RO = 1 << 0;
        /// Reads and changes it.
        const RW = 1 << 1;
        /// Overwrites it without looking.
        const OW = 1 << 2;
        /// Removes it.
        const RM = 1 << 3;
        /// Returns, copies or compares its data.
        const ACCESS = 1 << 4;
        /// Changes its data, depending on what is there.
        const UPDATE = 1 << 5;
        /// Adds data and never changes what is there.
        const INSERT = 1 << 6;
        /// Removes data.
        const DELETE = 1 << 7;
        /// Not a key, only something that hashes to a slot.
        const NOT_KEY = 1 << 8;
        /// The spec may not find every key.
        const INCOMPLETE = 1 << 9;
        /// The same argument's flags depend on other arguments.
        const VARIABLE_FLAGS = 1 << 10;
    }
}

impl KeyFlags {
    /// Wire names in the order of `COMMAND INFO`.
    pub const WIRE: &'static [(KeyFlags, &'static str)] = &[
        (KeyFlags::RO, "RO"),
        (KeyFlags::RW, "RW"),
        (KeyFlags::OW, "OW"),
        (KeyFlags::RM, "RM"),
        (KeyFlags::ACCESS, "access"),
        (KeyFlags::UPDATE, "update"),
        (KeyFlags::INSERT, "insert"),
        (KeyFlags::DELETE, "delete"),
        (KeyFlags::NOT_KEY, "not_key"),
        (KeyFlags::INCOMPLETE, "incomplete"),
        (KeyFlags::VARIABLE_FLAGS, "variable_flags"),
    ];
}

/// Where a group of keys begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BeginSearch {
    /// At this argument (0 is the command's name).
    Index(u16),
    /// After this word, looked for from an argument on (negative: backwards from that far from the end).
    Keyword(&'static str, i16),
    /// Cannot be said in this language.
    Unknown,
}

/// Which arguments from there on are keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FindKeys {
    /// Up to `last` (relative; -1 the last argument, -2 the one before it), every `step`-th; `limit` n > 1: only the
    /// first n-th part of the rest.
    Range {
        /// Last key, relative to the first; negative counts from the end of the arguments.
        last: i16,
        /// Distance between keys.
        step: u16,
        /// See above; 0 and 1 mean none.
        limit: u16,
    },
    /// As many as the argument at `count_at` says, the first at `first` (both relative), every `step`-th.
    KeyNum {
        /// Where the number of keys stands.
        count_at: u16,
        /// Where the first key stands.
        first: u16,
        /// Distance between keys.
        step: u16,
    },
    /// Cannot be said in this language.
    Unknown,
}

/// One group of keys among the arguments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeySpec {
    /// What is done with them.
    pub flags: KeyFlags,
    /// Where they begin.
    pub begin: BeginSearch,
    /// Which they are.
    pub find: FindKeys,
    /// A remark for `COMMAND INFO`; may be empty.
    pub notes: &'static str,
}

impl KeySpec {
    /// One key at argument `at`.
    pub const fn one(at: u16, flags: KeyFlags) -> KeySpec {
        KeySpec::range(at, 0, 1, flags)
    }

    /// Keys from argument `at` to `last` (relative to it, or negative from the end), every `step`-th.
    pub const fn range(at: u16, last: i16, step: u16, flags: KeyFlags) -> KeySpec {
        KeySpec { flags, begin: BeginSearch::Index(at), find: FindKeys::Range { last, step, limit: 0 }, notes: "" }
    }

    /// A number of keys at argument `at`, the keys behind it.
    pub const fn counted(at: u16, flags: KeyFlags) -> KeySpec {
        KeySpec {
            flags,
            begin: BeginSearch::Index(at),
            find: FindKeys::KeyNum { count_at: 0, first: 1, step: 1 },
            notes: "",
        }
    }

    /// The same with a remark.
    pub const fn notes(mut self, notes: &'static str) -> KeySpec {
        self.notes = notes;
        self
    }
}

/// Which arguments are channels, for permissions. Commands that end a subscription need none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChannelArgs {
    /// None.
    None,
    /// The first one: PUBLISH.
    First,
    /// All of them: SUBSCRIBE.
    All,
    /// All of them, and they are patterns, for which the very same patterns must be allowed: PSUBSCRIBE.
    AllPatterns,
    /// The one behind this word, if it stands at this place: MQ.BIND.
    Behind(u8, &'static str),
}

/// Which databases a command touches, for permissions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DatabaseArgs {
    /// The client's, if it touches data at all: if it has keys or is of the categories keyspace, read or write.
    Current,
    /// Those that the arguments at these places name, and the client's if it has keys.
    At(&'static [u8]),
    /// Those behind each of this word from the third argument on, and the client's.
    Behind(&'static str),
    /// Every one.
    Every,
}

/// Type of an argument, as `COMMAND DOCS` names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names are those of COMMAND DOCS")]
pub enum ArgKind {
    String,
    Integer,
    Double,
    Key,
    Pattern,
    UnixTime,
    PureToken,
    OneOf,
    Block,
}

impl ArgKind {
    /// Wire name.
    pub const fn wire_name(self) -> &'static str {
        match self {
            ArgKind::String => "string",
            ArgKind::Integer => "integer",
            ArgKind::Double => "double",
            ArgKind::Key => "key",
            ArgKind::Pattern => "pattern",
            ArgKind::UnixTime => "unix-time",
            ArgKind::PureToken => "pure-token",
            ArgKind::OneOf => "oneof",
            ArgKind::Block => "block",
        }
    }
}

/// One argument, or a group of them.
#[derive(Debug)]
pub struct Arg {
    /// Name, of no effect on the wire.
    pub name: &'static str,
    /// What it is.
    pub kind: ArgKind,
    /// Word that stands before it (or is it, of a pure token).
    pub token: Option<&'static str>,
    /// What is shown in place of the name.
    pub display: Option<&'static str>,
    /// Index of the key spec that finds it.
    pub key_spec: Option<u8>,
    /// Version since which it is there, where later than the command.
    pub since: Option<&'static str>,
    /// Version since which it is deprecated.
    pub deprecated_since: Option<&'static str>,
    /// May be left out.
    pub optional: bool,
    /// May be repeated.
    pub multiple: bool,
    /// When repeated, the token is repeated too.
    pub multiple_token: bool,
    /// Parts of a `OneOf` or a `Block`.
    pub parts: &'static [Arg],
}

impl Arg {
    /// A plain argument.
    pub const fn new(name: &'static str, kind: ArgKind) -> Arg {
        Arg {
            name,
            kind,
            token: None,
            display: None,
            key_spec: None,
            since: None,
            deprecated_since: None,
            optional: false,
            multiple: false,
            multiple_token: false,
            parts: &[],
        }
    }

    /// A key that key spec `key_spec` finds.
    pub const fn key(name: &'static str, key_spec: u8) -> Arg {
        let mut arg = Arg::new(name, ArgKind::Key);
        arg.key_spec = Some(key_spec);
        arg
    }

    /// A word that stands for itself.
    pub const fn word(name: &'static str, token: &'static str) -> Arg {
        Arg::new(name, ArgKind::PureToken).token(token)
    }

    /// One of several.
    pub const fn one_of(name: &'static str, parts: &'static [Arg]) -> Arg {
        let mut arg = Arg::new(name, ArgKind::OneOf);
        arg.parts = parts;
        arg
    }

    /// Several that belong together.
    pub const fn block(name: &'static str, parts: &'static [Arg]) -> Arg {
        let mut arg = Arg::new(name, ArgKind::Block);
        arg.parts = parts;
        arg
    }

    /// Sets the word before it.
    pub const fn token(mut self, token: &'static str) -> Arg {
        self.token = Some(token);
        self
    }

    /// Sets what is shown in place of the name.
    pub const fn display(mut self, display: &'static str) -> Arg {
        self.display = Some(display);
        self
    }

    /// Sets the version that brought it.
    pub const fn since(mut self, since: &'static str) -> Arg {
        self.since = Some(since);
        self
    }

    /// Sets the version that deprecated it.
    pub const fn deprecated_since(mut self, since: &'static str) -> Arg {
        self.deprecated_since = Some(since);
        self
    }

    /// May be left out.
    pub const fn optional(mut self) -> Arg {
        self.optional = true;
        self
    }

    /// May be repeated.
    pub const fn multiple(mut self) -> Arg {
        self.multiple = true;
        self
    }

    /// May be repeated, with its token each time.
    pub const fn multiple_token(mut self) -> Arg {
        self.multiple = true;
        self.multiple_token = true;
        self
    }
}
