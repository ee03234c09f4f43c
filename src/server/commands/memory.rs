//! MEMORY: what takes how much, and whether that is healthy. The figures are also those of INFO memory.

use crate::command::args::int;
use crate::command::error::Error;
use crate::command::spec::{Acl, Arg, ArgKind, Flags, Group, KeyFlags, KeySpec, Spec};
use crate::command::table::Row;
use crate::server::ServerFn;
use crate::server::{Server, ServerCx};
use crate::stats::memory_doctor::MemoryFigures;
use crate::stats::process;

/// `MEMORY` and its subcommands.
pub(super) const COMMANDS: &[Row<ServerFn>] = &[Row::container(
    Spec::new("memory", -2, Flags::empty(), Acl::SLOW, Group::Server, "4.0.0")
        .doc("Depends on the subcommand.", "Groups the commands about memory."),
    &[
        Row::new(
            Spec::new("doctor", 2, Flags::empty(), Acl::SLOW, Group::Server, "4.0.0")
                .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
                .doc("O(1)", "Says in words whether the use of memory shows a problem."),
            memory_doctor_command,
        ),
        Row::new(
            Spec::new("help", 2, Flags::LOADING.union(Flags::STALE), Acl::SLOW, Group::Server, "4.0.0")
                .doc("O(1)", "Lists the subcommands of `MEMORY` and what they do."),
            memory_help_command,
        ),
        Row::new(
            Spec::new("malloc-stats", 2, Flags::LOADING, Acl::SLOW, Group::Server, "4.0.0")
                .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
                .doc("Grows with the memory in use, may be slow.", "Returns the allocator's own report."),
            memory_malloc_stats_command,
        ),
        Row::new(
            Spec::new("purge", 2, Flags::LOADING, Acl::SLOW, Group::Server, "4.0.0")
                .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
                .doc(
                    "Grows with the memory in use, may be slow.",
                    "Asks the allocator to give unused pages back to the system.",
                ),
            memory_purge_command,
        ),
        Row::new(
            Spec::new("stats", 2, Flags::empty(), Acl::SLOW, Group::Server, "4.0.0")
                .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
                .doc("O(1)", "Returns what memory is used for, figure by figure."),
            memory_stats_command,
        ),
        Row::new(
            Spec::new("usage", -3, Flags::READONLY, Acl::READ.union(Acl::SLOW), Group::Server, "4.0.0")
                .keys(&[KeySpec::one(2, KeyFlags::RO)])
                .doc("O(N) where N is the number of samples.", "Estimates how many bytes a key and its value take.")
                .args(&[Arg::key("key", 0), Arg::new("count", ArgKind::Integer).token("SAMPLES").optional()]),
            memory_usage_command,
        ),
    ],
)];

fn memory_doctor_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let memory = MemoryUse::of(cx.server);
    let figures = MemoryFigures {
        used_bytes: memory.used,
        peak_bytes: memory.peak,
        fragmentation_ratio: memory.fragmentation_ratio(),
        fragmentation_bytes: memory.fragmentation_bytes(),
        // The allocator does not tell these apart from the above, and one diagnosis is enough.
        allocator_frag_ratio: 1.0,
        allocator_rss_ratio: 1.0,
        rss_overhead_ratio: 1.0,
        clients_bytes: memory.clients,
        clients: cx.server.clients.len() as u64,
        cached_scripts: cx.server.scripts.cache().len() as u64,
        ..MemoryFigures::default()
    };
    cx.reply.verbatim(b"txt", figures.report().as_bytes());
    Ok(())
}

fn memory_help_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.reply.lines(MEMORY_HELP);
    Ok(())
}

fn memory_malloc_stats_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let report = (cx.server.facts.allocator_report)();
    cx.reply.verbatim(b"txt", report.as_bytes());
    Ok(())
}

fn memory_purge_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    (cx.server.facts.give_back_memory)();
    cx.reply.ok();
    Ok(())
}

fn memory_stats_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let memory = MemoryUse::of(cx.server);
    let (keys, per_key) = (memory.keys(), memory.dataset().checked_div(memory.keys()).unwrap_or(0));
    let ratio = memory.fragmentation_ratio();
    let extra = memory.fragmentation_bytes();
    let scripts = cx.server.scripts.cache().bytes() as u64;
    let functions = cx.server.functions.memory() as u64;
    let feed = cx.server.append_only_memory() as u64;
    let map = cx.reply.deferred_map();
    let mut stats = Pairs { cx, count: 0 };
    stats.bytes("peak.allocated", memory.peak);
    stats.bytes("total.allocated", memory.used);
    stats.bytes("startup.allocated", memory.startup);
    for absent in ["replication.backlog", "replicas.repl.buffer", "clients.slaves"] {
        stats.bytes(absent, 0);
    }
    stats.bytes("clients.normal", memory.clients);
    for absent in ["cluster.links", "cluster.slot_import", "cluster.slot_export"] {
        stats.bytes(absent, 0);
    }
    stats.bytes("aof.buffer", feed);
    stats.bytes("lua.caches", scripts);
    stats.bytes("functions.caches", functions);
    for database in &memory.databases {
        stats.database(database);
    }
    stats.bytes("overhead.db.hashtable.lut", memory.databases.iter().map(|db| db.table).sum());
    stats.bytes("overhead.db.hashtable.rehashing", 0);
    stats.bytes("overhead.total", memory.overhead());
    stats.bytes("db.dict.rehashing.count", 0);
    stats.bytes("keys.count", keys);
    stats.bytes("keys.bytes-per-key", per_key);
    stats.bytes("dataset.bytes", memory.dataset());
    stats.ratio("dataset.percentage", memory.dataset_percent());
    stats.ratio("peak.percentage", memory.peak_percent());
    stats.bytes("allocator.allocated", memory.used);
    stats.bytes("allocator.active", memory.resident);
    stats.bytes("allocator.resident", memory.resident);
    stats.bytes("allocator.muzzy", 0);
    stats.ratio("allocator-fragmentation.ratio", ratio);
    stats.int("allocator-fragmentation.bytes", extra);
    stats.ratio("allocator-rss.ratio", 1.0);
    stats.int("allocator-rss.bytes", 0);
    stats.ratio("rss-overhead.ratio", 1.0);
    stats.int("rss-overhead.bytes", 0);
    stats.ratio("fragmentation", ratio);
    stats.int("fragmentation.bytes", extra);
    let count = stats.count;
    cx.reply.close(map, count);
    Ok(())
}

/// Pairs of MEMORY STATS, counted.
struct Pairs<'c, 'a> {
    cx: &'c mut ServerCx<'a>,
    count: usize,
}

impl Pairs<'_, '_> {
    fn name(&mut self, name: &str) {
        self.count += 1;
        self.cx.reply.text(name);
    }

    fn int(&mut self, name: &str, value: i64) {
        self.name(name);
        self.cx.reply.int(value);
    }

    fn bytes(&mut self, name: &str, value: u64) {
        self.int(name, i64::try_from(value).unwrap_or(i64::MAX));
    }

    fn ratio(&mut self, name: &str, value: f64) {
        self.name(name);
        self.cx.reply.double(value);
    }

    fn database(&mut self, database: &DatabaseUse) {
        self.name(&format!("db.{}", database.index));
        self.cx.reply.map(2);
        for (name, bytes) in
            [("overhead.hashtable.main", database.table), ("overhead.hashtable.expires", database.expiry)]
        {
            self.cx.reply.text(name);
            self.cx.reply.int(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }
}

fn memory_usage_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let mut words = cx.words(3);
    while words.left() > 0 {
        if !words.accept("SAMPLES") {
            return Err(Error::SYNTAX);
        }
        // Strings have no elements to sample, so the number only has to be one.
        if int(words.expect()?)? < 0 {
            return Err(Error::SYNTAX);
        }
    }
    let db = cx.client().db;
    let key = cx.server.store.key(cx.arg(2));
    match cx.server.store.db(db).peek(key) {
        Some(entry) => cx.reply.count(entry.memory_bytes()),
        None => cx.reply.null(),
    }
    Ok(())
}

/// Bytes of the structures around a database's keys.
#[derive(Debug)]
pub(super) struct DatabaseUse {
    index: usize,
    keys: u64,
    /// The table of keys.
    table: u64,
    /// The index of deadlines.
    expiry: u64,
}

/// What memory is used for, in bytes.
#[derive(Debug)]
pub(super) struct MemoryUse {
    /// Everything that was asked for.
    pub(super) used: u64,
    /// Most that `used` has been.
    pub(super) peak: u64,
    /// What the process occupies; what it uses where the system does not say.
    pub(super) resident: u64,
    /// What was in use before the first client came.
    pub(super) startup: u64,
    /// Clients and their buffers.
    pub(super) clients: u64,
    /// Those with keys.
    pub(super) databases: Vec<DatabaseUse>,
}

impl MemoryUse {
    /// Measures a server. Reads a file of the system and looks at every client.
    pub(super) fn of(server: &Server) -> MemoryUse {
        let used = server.used_memory() as u64;
        let store = &server.store;
        let databases = (0..store.databases()).filter_map(|index| {
            let keys = store.figures(index).keys as u64;
            let (table, expiry) = store.overhead_bytes(index);
            (keys > 0).then_some(DatabaseUse { index, keys, table: table as u64, expiry: expiry as u64 })
        });
        MemoryUse {
            used,
            peak: used.max(server.stats.peak_bytes as u64),
            resident: process::memory().map_or(used, |memory| memory.rss_bytes),
            startup: server.facts.startup_bytes as u64,
            clients: server.clients.iter().map(|client| server.client_bytes(client) as u64).sum(),
            databases: databases.collect(),
        }
    }

    fn keys(&self) -> u64 {
        self.databases.iter().map(|db| db.keys).sum()
    }

    /// What is not data.
    pub(super) fn overhead(&self) -> u64 {
        let tables: u64 = self.databases.iter().map(|db| db.table + db.expiry).sum();
        self.startup + self.clients + tables
    }

    /// Keys and values.
    pub(super) fn dataset(&self) -> u64 {
        self.used.saturating_sub(self.overhead())
    }

    /// Share of the data in what has come since the start.
    pub(super) fn dataset_percent(&self) -> f64 {
        percent(self.dataset(), self.used.saturating_sub(self.startup))
    }

    /// Share of the peak that is in use now.
    pub(super) fn peak_percent(&self) -> f64 {
        percent(self.used, self.peak)
    }

    /// Resident over used.
    pub(super) fn fragmentation_ratio(&self) -> f64 {
        if self.used == 0 { 1.0 } else { self.resident as f64 / self.used as f64 }
    }

    /// Resident beyond used.
    pub(super) fn fragmentation_bytes(&self) -> i64 {
        i64::try_from(i128::from(self.resident) - i128::from(self.used)).unwrap_or(i64::MAX)
    }
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

/// `MEMORY HELP`.
const MEMORY_HELP: &[&str] = &[
    "MEMORY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "DOCTOR",
    "    Say whether the use of memory shows a problem.",
    "MALLOC-STATS",
    "    Show what the allocator says of itself.",
    "PURGE",
    "    Have the allocator give back pages that it does not use.",
    "STATS",
    "    Show what memory is used for.",
    "USAGE <key> [SAMPLES <count>]",
    "    Estimate the bytes that a key and its value take, looking at <count> elements",
    "    of a collection (5 unless said otherwise, 0 for all).",
    "HELP",
    "    Show these lines.",
];
