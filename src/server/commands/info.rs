//! INFO: facts and figures about the server, for people and for monitoring tools.
//!
//! A section is a function that writes its lines; [`SECTIONS`] is their order. Names are the union of what Redis and Valkey
//! print, in Valkey's order, since tools look for them: what a field is about and this version does not have (replicas,
//! append-only file, scripts) is there and says 0, off or none.

use super::memory::MemoryUse;
use crate::broker::Happened;
use crate::command::args::is;
use crate::command::error::Error;
use crate::command::spec::{Acl, Arg, ArgKind, Flags, Group, Spec};
use crate::command::table::Row;
use crate::pubsub::Kind;
use crate::script::{self, Engine};
use crate::server::ServerFn;
use crate::server::client::ClientFlags;
use crate::server::pause::Held;
use crate::server::table::{Command, commands};
use crate::server::{REDIS_VERSION, Server, ServerCx, VALKEY_VERSION};
use crate::stats::histogram::format_percentiles;
use crate::stats::process::{self, CpuTimeOf, format_bytes_human};
use crate::store::{SizedType, Sizes};
use std::fmt::{Display, Write};
use std::time::Duration;
use weir_structs::queue::DeathReason;
use weir_structs::tree::Tree;

/// Stores of the registry that INFO has a line for.
const CFG_STORES_SHOWN: usize = 100;

/// `INFO`.
pub(super) const COMMANDS: &[Row<ServerFn>] = &[Row::new(
    Spec::new("info", -1, Flags::LOADING.union(Flags::STALE), Acl::SLOW.union(Acl::DANGEROUS), Group::Server, "1.0.0")
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
        .doc("O(1)", "Returns facts and figures about the server, all or of the named sections.")
        .history(&[("7.0.0", "Takes more than one section.")])
        .args(&[Arg::new("section", ArgKind::String).optional().multiple()]),
    info_command,
)];

fn info_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let mut wanted = [false; SECTIONS.len()];
    let words: Vec<&[u8]> = if cx.argc() == 1 { vec![b"default"] } else { cx.words(1).collect() };
    for (section, wanted) in SECTIONS.iter().zip(&mut wanted) {
        *wanted = words.iter().any(|word| section.is_meant_by(word));
    }
    let mut fields = Fields::default();
    for (section, _) in SECTIONS.iter().zip(wanted).filter(|(_, wanted)| *wanted) {
        fields.title(section.title);
        (section.write)(cx.server, &mut fields);
    }
    cx.reply.verbatim(b"txt", fields.0.as_bytes());
    Ok(())
}

/// When a section is printed without being named.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    Always,
    WithAll,
    Never,
}

struct Section {
    title: &'static str,
    shown: Shown,
    write: fn(&Server, &mut Fields),
}

impl Section {
    /// Whether an argument asks for it.
    fn is_meant_by(&self, word: &[u8]) -> bool {
        let name = || self.title.bytes().filter(|byte| *byte != b' ');
        match self.shown {
            Shown::Always if is(word, "default") => true,
            Shown::Always | Shown::WithAll if is(word, "all") || is(word, "everything") => true,
            _ if self.title == "Cluster Info" => is(word, "cluster_info"),
            _ => word.len() == name().count() && word.iter().zip(name()).all(|(a, b)| a.eq_ignore_ascii_case(&b)),
        }
    }
}

const fn section(title: &'static str, shown: Shown, write: fn(&Server, &mut Fields)) -> Section {
    Section { title, shown, write }
}

const SECTIONS: [Section; 21] = [
    section("Server", Shown::Always, server),
    section("TLS", Shown::WithAll, tls),
    section("Clients", Shown::Always, clients),
    section("Memory", Shown::Always, memory),
    section("Persistence", Shown::Always, persistence),
    section("Threads", Shown::Always, threads),
    section("Stats", Shown::Always, stats),
    section("Replication", Shown::Always, replication),
    section("CPU", Shown::Always, cpu),
    section("Modules", Shown::Always, nothing),
    section("Commandstats", Shown::WithAll, command_stats),
    section("Errorstats", Shown::Always, error_stats),
    section("Latencystats", Shown::WithAll, latency_stats),
    section("Cluster", Shown::Always, cluster),
    section("Cluster Info", Shown::WithAll, nothing),
    section("Scripting Engines", Shown::WithAll, scripting_engines),
    section("Keyspace", Shown::Always, keyspace),
    section("Mq", Shown::WithAll, mq),
    section("Cfg", Shown::WithAll, cfg),
    section("Keysizes", Shown::Always, key_sizes),
    section("Debug", Shown::Never, debug),
];

/// The text, line by line. Writing to a string cannot fail.
#[derive(Default)]
struct Fields(String);

impl Fields {
    fn title(&mut self, title: &str) {
        if !self.0.is_empty() {
            self.0.push_str("\r\n");
        }
        let _ = write!(self.0, "# {title}\r\n");
    }

    fn put(&mut self, name: &str, value: impl Display) {
        let _ = write!(self.0, "{name}:{value}\r\n");
    }

    /// Fields about what is not there.
    fn zeros(&mut self, names: &[&str]) {
        names.iter().for_each(|name| self.put(name, 0));
    }

    /// Bytes, and the same for people.
    fn bytes(&mut self, name: &str, bytes: u64) {
        self.put(name, bytes);
        self.put(&format!("{name}_human"), format_bytes_human(bytes));
    }

    fn seconds(&mut self, name: &str, time: Duration) {
        self.put(name, format_args!("{}.{:06}", time.as_secs(), time.subsec_micros()));
    }
}

/// A section that has no lines.
fn nothing(_: &Server, _: &mut Fields) {}

fn server(server: &Server, fields: &mut Fields) {
    let (facts, config) = (&server.facts, &server.config);
    let now_us = (facts.wall_clock_us)();
    let uptime_s = (now_us / 1000 - facts.started_ms).max(0) / 1000;
    fields.put("redis_version", REDIS_VERSION);
    fields.put("server_name", "weir");
    fields.put("valkey_version", VALKEY_VERSION);
    fields.put("valkey_release_stage", "ga");
    fields.put("weir_version", facts.version);
    fields.put("redis_git_sha1", "00000000");
    fields.put("redis_git_dirty", 0);
    fields.put("redis_build_id", "0000000000000000");
    fields.put("server_mode", "standalone");
    fields.put("redis_mode", "standalone");
    fields.put("os", process::os_name());
    fields.put("arch_bits", usize::BITS);
    fields.put("monotonic_clock", &server.stats.ticks);
    fields.put("multiplexing_api", if cfg!(target_os = "linux") { "epoll" } else { "kqueue" });
    fields.put("atomicvar_api", "rust-std");
    // No part of the program was built by it.
    fields.put("gcc_version", "0.0.0");
    fields.put("process_id", std::process::id());
    fields.put("process_supervised", config.supervised.name());
    fields.put("run_id", &facts.run_id);
    fields.put("tcp_port", if config.port == 0 { config.tls_port } else { config.port });
    fields.put("server_time_usec", now_us);
    fields.put("uptime_in_seconds", uptime_s);
    fields.put("uptime_in_days", uptime_s / 86_400);
    for name in ["hz", "configured_hz", "clients_hz"] {
        fields.put(name, config.hz);
    }
    fields.put("lru_clock", (now_us / 1_000_000) & 0xff_ffff);
    fields.put("executable", facts.executable.display());
    fields.put("config_file", facts.config_file.as_deref().unwrap_or("".as_ref()).display());
    fields.put("io_threads_active", 0);
    fields.put("availability_zone", &config.availability_zone);
    for (number, listener) in server.listeners.iter().enumerate() {
        fields.put(&format!("listener{number}"), listener);
    }
}

fn tls(server: &Server, fields: &mut Fields) {
    let tls = server.tls.as_deref();
    let now_s = server.store.now_ms() / 1000;
    let certificates = [
        ("server", tls.map(|tls| &tls.server)),
        ("client", tls.and_then(|tls| tls.client.as_ref())),
        ("ca", tls.and_then(|tls| tls.authority.as_ref())),
    ];
    for (name, facts) in certificates {
        fields.put(&format!("tls_{name}_cert_serial"), facts.map_or("none", |facts| &facts.serial));
        let left_s = facts.map_or(0, |facts| (facts.not_after_s - now_s).max(0));
        fields.put(&format!("tls_{name}_cert_expires_in_seconds"), left_s);
    }
}

fn clients(server: &Server, fields: &mut Fields) {
    let largest = |bytes: fn(&crate::server::client::IoFacts) -> usize| {
        server.clients.iter().map(|client| bytes(&client.io)).max().unwrap_or(0)
    };
    fields.put("connected_clients", server.clients.len());
    fields.put("cluster_connections", 0);
    fields.put("maxclients", server.config.maxclients);
    fields.put("client_recent_max_input_buffer", largest(|io| io.query_bytes));
    fields.put("client_recent_max_output_buffer", largest(|io| io.output_bytes));
    let waiters = server.waiters.figures();
    // Who is held back by a pause counts as well.
    let paused = server.clients.iter().filter(|client| client.flags.contains(ClientFlags::PAUSED)).count();
    fields.put("blocked_clients", waiters.clients + paused);
    fields.put("tracking_clients", server.tracking.figures().clients);
    fields.put("pubsub_clients", server.pubsub.subscribers_len());
    let watching = |client: &&crate::server::client::Client| client.tx.as_ref().is_some_and(|tx| tx.watched() > 0);
    fields.put("watching_clients", server.clients.iter().filter(watching).count());
    fields.put("clients_in_timeout_table", waiters.with_deadline);
    fields.put("total_watched_keys", server.store.watched_keys());
    fields.put("total_blocking_keys", waiters.keys);
    fields.put("total_blocking_keys_on_nokey", waiters.keys_until_gone);
    let now_ms = server.store.now_ms();
    let (reason, actions, left_ms) = match server.pause.current().filter(|(_, until_ms)| *until_ms > now_ms) {
        None => ("none", "none", 0),
        Some((Held::Writes, until_ms)) => ("client_pause", "write", until_ms - now_ms),
        Some((Held::All, until_ms)) => ("client_pause", "all", until_ms - now_ms),
    };
    fields.put("paused_reason", reason);
    fields.put("paused_actions", actions);
    fields.put("paused_timeout_milliseconds", left_ms);
}

fn memory(server: &Server, fields: &mut Fields) {
    let memory = MemoryUse::of(server);
    let (ratio, extra) = (memory.fragmentation_ratio(), memory.fragmentation_bytes());
    fields.bytes("used_memory", memory.used);
    fields.bytes("used_memory_rss", memory.resident);
    fields.bytes("used_memory_peak", memory.peak);
    fields.put("used_memory_peak_perc", format_args!("{:.2}%", memory.peak_percent()));
    fields.put("used_memory_overhead", memory.overhead());
    fields.put("used_memory_startup", memory.startup);
    fields.put("used_memory_dataset", memory.dataset());
    fields.put("used_memory_dataset_perc", format_args!("{:.2}%", memory.dataset_percent()));
    // The allocator does not say how well its pages are filled, so all that is resident counts as active.
    fields.put("allocator_allocated", memory.used);
    fields.put("allocator_active", memory.resident);
    fields.put("allocator_resident", memory.resident);
    fields.put("allocator_muzzy", 0);
    fields.bytes("total_system_memory", process::total_system_memory_bytes().unwrap_or(0));
    let [eval, functions] =
        [script::Kind::Scripts, script::Kind::Functions].map(|kind| server.scripts.engine_bytes(kind));
    let scripts = server.scripts.cache();
    fields.put("used_memory_lua", eval);
    fields.put("used_memory_vm_eval", eval);
    fields.put("used_memory_lua_human", format_bytes_human(eval as u64));
    fields.put("used_memory_scripts_eval", scripts.bytes());
    fields.put("number_of_cached_scripts", scripts.len());
    fields.put("number_of_functions", server.functions.len());
    fields.put("number_of_libraries", server.functions.libraries_len());
    fields.put("used_memory_vm_functions", functions);
    fields.bytes("used_memory_vm_total", (eval + functions) as u64);
    fields.put("used_memory_functions", server.functions.memory());
    fields.bytes("used_memory_scripts", (scripts.bytes() + server.functions.memory()) as u64);
    fields.bytes("maxmemory", server.config.maxmemory);
    fields.put("maxmemory_policy", server.config.maxmemory_policy.name());
    fields.put("allocator_frag_ratio", format_args!("{ratio:.2}"));
    fields.put("allocator_frag_bytes", extra);
    fields.put("allocator_rss_ratio", "1.00");
    fields.put("allocator_rss_bytes", 0);
    fields.put("rss_overhead_ratio", "1.00");
    fields.put("rss_overhead_bytes", 0);
    fields.put("mem_fragmentation_ratio", format_args!("{ratio:.2}"));
    fields.put("mem_fragmentation_bytes", extra);
    fields.zeros(&[
        "mem_not_counted_for_evict",
        "mem_replication_backlog",
        "mem_total_replication_buffers",
        "mem_replicas_repl_buffer",
        "mem_replica_full_sync_buffer",
        "mem_clients_slaves",
    ]);
    fields.put("mem_clients_normal", memory.clients);
    fields.zeros(&["mem_cluster_links", "mem_cluster_slot_import", "mem_cluster_slot_export"]);
    fields.put("mem_aof_buffer", server.append_only_memory());
    fields.put("mem_allocator", "mimalloc");
    fields.zeros(&["mem_overhead_db_hashtable_rehashing", "active_defrag_running"]);
    fields.put("lazyfree_pending_objects", server.background.pending());
    fields.put("lazyfreed_objects", server.background.freed());
}

fn persistence(server: &Server, fields: &mut Fields) {
    fields.put("loading", u8::from(server.is_loading()));
    let figures = server.snapshot_figures();
    fields.zeros(&["async_loading"]);
    fields.put("current_cow_peak", figures.peak_bytes);
    fields.put("current_cow_size", figures.bytes);
    fields.zeros(&["current_cow_size_age"]);
    fields.put("current_fork_perc", format_args!("{:.2}", figures.percent()));
    fields.put("current_save_keys_processed", figures.keys_done);
    fields.put("current_save_keys_total", figures.keys);
    fields.put("rdb_changes_since_last_save", server.dirty);
    fields.put("rdb_bgsave_in_progress", u8::from(figures.seconds.is_some()));
    fields.put("rdb_last_save_time", server.snapshots.last_save_s);
    fields.put("rdb_last_bgsave_status", if server.snapshots.last_ok { "ok" } else { "err" });
    fields.put("rdb_last_bgsave_time_sec", server.snapshots.last_took_s.unwrap_or(-1));
    fields.put("rdb_current_bgsave_time_sec", figures.seconds.unwrap_or(-1));
    fields.put("rdb_saves", server.snapshots.saves);
    fields.put("rdb_last_cow_size", server.snapshots.last_peak_bytes);
    fields.put("rdb_last_load_keys_expired", server.snapshots.keys_expired);
    fields.put("rdb_last_load_keys_loaded", server.snapshots.keys_loaded);
    let aof = server.append_only_figures();
    let status = |ok: bool| if ok { "ok" } else { "err" };
    fields.put("aof_enabled", u8::from(aof.is_on));
    fields.put("aof_rewrite_in_progress", u8::from(aof.rewriting_s.is_some()));
    fields.put("aof_rewrite_scheduled", u8::from(aof.rewrite_scheduled));
    fields.put("aof_last_rewrite_time_sec", aof.last_took_s);
    fields.put("aof_current_rewrite_time_sec", aof.rewriting_s.unwrap_or(-1));
    fields.put("aof_last_bgrewrite_status", status(aof.last_ok));
    fields.put("aof_rewrites", aof.rewrites);
    fields.put("aof_rewrites_consecutive_failures", aof.failures);
    fields.put("aof_last_write_status", status(aof.write_ok));
    fields.zeros(&["aof_last_cow_size", "module_fork_in_progress", "module_fork_last_cow_size"]);
    fields.put("slot_migration_fork_in_progress", 0);
    if aof.is_on {
        fields.put("aof_current_size", aof.current_bytes);
        fields.put("aof_base_size", aof.base_bytes);
        fields.put("aof_pending_rewrite", u8::from(aof.rewrite_scheduled));
        fields.put("aof_buffer_length", aof.buffer_bytes);
        fields.put("aof_pending_bio_fsync", u8::from(aof.is_syncing));
        fields.put("aof_delayed_fsync", aof.delayed);
        fields.put("aof_journal_active", u8::from(aof.is_journaling));
    }
    if let Some(loading) = &server.loading {
        fields.put("loading_start_time", loading.began_s);
        fields.put("loading_total_bytes", loading.total_bytes);
        fields.put("loading_rdb_used_mem", loading.used_memory_then);
        fields.put("loading_loaded_bytes", loading.loaded_bytes);
        fields.put("loading_loaded_perc", format_args!("{:.2}", loading.percent()));
        fields.put("loading_eta_seconds", loading.eta_s(server.store.now_ms()));
    }
}

fn threads(server: &Server, fields: &mut Fields) {
    let counters = &server.stats.counters;
    let (reads, writes) = (counters.total_reads_processed, counters.total_writes_processed);
    fields.put("io_thread_0", format_args!("clients={},reads={reads},writes={writes}", server.clients.len()));
}

fn stats(server: &Server, fields: &mut Fields) {
    let (counters, rates, store) = (&server.stats.counters, &server.stats.rates, server.store.counters());
    fields.put("total_connections_received", counters.total_connections_received);
    fields.put("total_commands_processed", counters.total_commands_processed);
    fields.put("instantaneous_ops_per_sec", rates.ops_per_s());
    fields.put("total_net_input_bytes", counters.total_net_input_bytes);
    fields.put("total_net_output_bytes", counters.total_net_output_bytes);
    fields.put("total_net_repl_input_bytes", counters.total_net_repl_input_bytes);
    fields.put("total_net_repl_output_bytes", counters.total_net_repl_output_bytes);
    fields.put("total_net_cluster_slot_import_bytes", counters.total_net_cluster_slot_import_bytes);
    fields.put("total_net_cluster_slot_export_bytes", counters.total_net_cluster_slot_export_bytes);
    fields.put("instantaneous_input_kbps", format_args!("{:.2}", rates.input_kib_per_s()));
    fields.put("instantaneous_output_kbps", format_args!("{:.2}", rates.output_kib_per_s()));
    fields.put("instantaneous_input_repl_kbps", format_args!("{:.2}", rates.repl_input_kib_per_s()));
    fields.put("instantaneous_output_repl_kbps", format_args!("{:.2}", rates.repl_output_kib_per_s()));
    fields.put("rejected_connections", counters.rejected_connections);
    fields.put("sync_full", counters.sync_full);
    fields.put("sync_partial_ok", counters.sync_partial_ok);
    fields.put("sync_partial_err", counters.sync_partial_err);
    fields.put("expired_subkeys", store.expired_fields);
    fields.put("expired_keys", store.expired);
    fields.put("expired_fields", store.expired_fields);
    // Exact by design: a key whose time has come is found by its deadline, not by sampling.
    fields.put("expired_stale_perc", "0.00");
    fields.put("expired_keys_with_volatile_items_stale_perc", "0.00");
    fields.put("expired_time_cap_reached_count", counters.expired_time_cap_reached_count);
    fields.put("expire_cycle_cpu_milliseconds", counters.expire_cycle_cpu_us / 1000);
    fields.put("evicted_keys", store.evicted);
    fields.put("evicted_clients", counters.evicted_clients);
    fields.put("evicted_scripts", counters.evicted_scripts);
    let exceeded_us = server.memory_exceeded_us();
    fields.put("total_eviction_exceeded_time", (counters.total_eviction_exceeded_us + exceeded_us) / 1000);
    fields.put("current_eviction_exceeded_time", exceeded_us / 1000);
    fields.put("keyspace_hits", store.hits);
    fields.put("keyspace_misses", store.misses);
    fields.put("pubsub_channels", server.pubsub.len(Kind::Channel));
    fields.put("pubsub_patterns", server.pubsub.len(Kind::Pattern));
    fields.put("pubsubshard_channels", server.pubsub.len(Kind::Shard));
    fields.zeros(&["latest_fork_usec"]);
    fields.put("total_forks", counters.total_forks);
    fields.put("migrate_cached_sockets", server.migrations.cached_links());
    fields.zeros(&["slave_expires_tracked_keys"]);
    fields.put("active_defrag_hits", counters.active_defrag_hits);
    fields.put("active_defrag_misses", counters.active_defrag_misses);
    fields.put("active_defrag_key_hits", counters.active_defrag_key_hits);
    fields.put("active_defrag_key_misses", counters.active_defrag_key_misses);
    fields.put("total_active_defrag_time", counters.total_active_defrag_us / 1000);
    fields.put("current_active_defrag_time", 0);
    let tracking = server.tracking.figures();
    fields.put("tracking_total_keys", tracking.keys);
    fields.put("tracking_total_items", tracking.items);
    fields.put("tracking_total_prefixes", tracking.prefixes);
    fields.put("unexpected_error_replies", counters.unexpected_error_replies);
    fields.put("total_error_replies", counters.total_error_replies);
    fields.put("dump_payload_sanitizations", counters.dump_payload_sanitizations);
    fields.put("total_reads_processed", counters.total_reads_processed);
    fields.put("total_writes_processed", counters.total_writes_processed);
    fields.put("io_threaded_reads_processed", counters.io_threaded_reads_processed);
    fields.put("io_threaded_writes_processed", counters.io_threaded_writes_processed);
    fields.put("io_threaded_freed_objects", counters.io_threaded_freed_objects);
    fields.put("io_threaded_accept_processed", counters.io_threaded_accept_processed);
    fields.put("io_threaded_poll_processed", counters.io_threaded_poll_processed);
    fields.put("io_threaded_total_prefetch_batches", counters.io_threaded_total_prefetch_batches);
    fields.put("io_threaded_total_prefetch_entries", counters.io_threaded_total_prefetch_entries);
    fields.put("client_query_buffer_limit_disconnections", counters.client_query_buffer_limit_disconnections);
    fields.put("client_output_buffer_limit_disconnections", counters.client_output_buffer_limit_disconnections);
    fields.put("reply_buffer_shrinks", counters.reply_buffer_shrinks);
    fields.put("reply_buffer_expands", counters.reply_buffer_expands);
    fields.put("eventloop_cycles", counters.eventloop_cycles);
    fields.put("eventloop_duration_sum", counters.eventloop_duration_us);
    fields.put("eventloop_duration_cmd_sum", counters.eventloop_duration_cmd_ns / 1000);
    fields.put("instantaneous_eventloop_cycles_per_sec", rates.loop_cycles_per_s());
    fields.put("instantaneous_eventloop_duration_usec", rates.loop_duration_us());
    fields.put("acl_access_denied_auth", counters.acl_access_denied_auth);
    fields.put("acl_access_denied_cmd", counters.acl_access_denied_cmd);
    fields.put("acl_access_denied_key", counters.acl_access_denied_key);
    fields.put("acl_access_denied_channel", counters.acl_access_denied_channel);
    fields.put("acl_access_denied_tls_cert", counters.acl_access_denied_tls_cert);
    fields.put("acl_access_denied_db", counters.acl_access_denied_db);
}

fn replication(server: &Server, fields: &mut Fields) {
    fields.put("role", "master");
    fields.put("connected_slaves", 0);
    if server.config.min_replicas_to_write > 0 && server.config.min_replicas_max_lag > 0 {
        fields.put("min_slaves_good_slaves", 0);
    }
    fields.put("replicas_waiting_psync", 0);
    fields.put("master_failover_state", "no-failover");
    fields.put("master_replid", &server.replication_id);
    fields.put("master_replid2", "0".repeat(40));
    fields.put("master_repl_offset", 0);
    fields.put("second_repl_offset", -1);
    fields.put("repl_backlog_active", 0);
    fields.put("repl_backlog_size", server.config.repl_backlog_size);
    fields.zeros(&["repl_backlog_first_byte_offset", "repl_backlog_histlen"]);
}

fn cpu(server: &Server, fields: &mut Fields) {
    for (suffix, of) in
        [("", CpuTimeOf::Process), ("_children", CpuTimeOf::Children), ("_main_thread", CpuTimeOf::Thread)]
    {
        let time = process::cpu_time(of);
        fields.seconds(&format!("used_cpu_sys{suffix}"), time.sys);
        fields.seconds(&format!("used_cpu_user{suffix}"), time.user);
    }
    let active = Duration::from_micros(server.stats.counters.eventloop_duration_us);
    fields.seconds("used_active_time_main_thread", active);
}

fn command_stats(server: &Server, fields: &mut Fields) {
    for_each_command(&mut |command| {
        if let Some(stats) = server.stats.commands.get(command.id).filter(|stats| !stats.is_empty()) {
            fields.put(&format!("cmdstat_{}", command.full_name), stats);
        }
    });
}

fn error_stats(server: &Server, fields: &mut Fields) {
    for (code, count) in server.stats.errors.iter() {
        fields.put(&format!("errorstat_{}", String::from_utf8_lossy(&code)), format_args!("count={count}"));
    }
}

fn latency_stats(server: &Server, fields: &mut Fields) {
    if !server.config.latency_tracking {
        return;
    }
    let percentiles = &server.config.latency_tracking_info_percentiles;
    for_each_command(&mut |command| {
        if let Some(histogram) = server.stats.commands.get(command.id).and_then(|stats| stats.histogram.as_deref()) {
            let line = format_percentiles(histogram, percentiles);
            fields.put(&format!("latency_percentiles_usec_{}", command.full_name), line);
        }
    });
}

fn for_each_command(visit: &mut dyn FnMut(&Command)) {
    for command in commands() {
        visit(command);
        command.subs.iter().for_each(&mut *visit);
    }
}

fn cluster(_: &Server, fields: &mut Fields) {
    fields.put("cluster_enabled", 0);
}

fn mq(server: &Server, fields: &mut Fields) {
    let (queues, exchanges, totals) = server.broker.totals();
    let figures = totals.figures();
    fields.put("mq_exchanges", exchanges);
    fields.put("mq_queues", queues);
    fields.put("mq_consumers", server.broker.consumers());
    fields.put("mq_ready", figures.ready);
    fields.put("mq_unacked", figures.unacked);
    fields.put("mq_delayed", figures.delayed + figures.parked);
    fields.put("mq_held", figures.held);
    fields.put("mq_dead", figures.dead);
    fields.put("mq_bytes", figures.bytes);
    let bodies = server.body_figures();
    fields.put("mq_paged_bytes", figures.away_bytes);
    fields.put("mq_page_files", bodies.files);
    fields.put("mq_page_file_bytes", bodies.file_bytes);
    fields.put("mq_page_errors", bodies.errors);
    fields.put("mq_bodies_lost", bodies.lost);
    let now_ms = u64::try_from(server.store.now_ms()).unwrap_or_default();
    fields.put("mq_oldest_age_ms", server.broker.front_ms().map_or(0, |ms| now_ms.saturating_sub(ms)));
    let Happened { messages, unroutable } = server.broker.happened();
    fields.put("mq_published", messages.published);
    fields.put("mq_delivered", messages.delivered);
    fields.put("mq_acked", messages.acked);
    fields.put("mq_redelivered", messages.redelivered);
    for (reason, count) in DeathReason::ALL.into_iter().zip(messages.dead_lettered) {
        fields.put(&format!("mq_deadlettered_{}", reason.text()), count);
    }
    fields.put("mq_returned", unroutable);
    fields.put("mq_rejected", messages.rejected);
    fields.put("mq_expired", messages.expired);
    fields.put("mq_redriven", messages.redriven);
    fields.put("mq_dropped", messages.dropped);
    fields.put("mq_policies", server.broker.policies().count());
}

fn cfg(server: &Server, fields: &mut Fields) {
    let trees = || server.registry.all(&server.store);
    let sum = |of: fn(&Tree) -> usize| trees().map(|(.., tree)| of(tree)).sum::<usize>();
    fields.put("cfg_stores", trees().count());
    fields.put("cfg_keys", sum(Tree::len));
    fields.put("cfg_leases", sum(Tree::lease_count));
    fields.put("cfg_memory", sum(Tree::memory_bytes));
    let observers = server.registry.observers.figures();
    fields.put("cfg_watches", observers.watches);
    fields.put("cfg_polls", observers.polls);
    fields.put("cfg_lagging_watches", observers.lagging);
    fields.put("cfg_events_sent", observers.events);
    fields.put("cfg_cancels_deleted", observers.ended_deleted);
    fields.put("cfg_cancels_epoch", observers.ended_epoch);
    fields.put("cfg_cancels_compacted", observers.ended_compacted);
    let mut shown: Vec<_> = trees().collect();
    shown.sort_unstable_by_key(|(db, name, _)| (*db, *name));
    for (at, (db, name, tree)) in shown.into_iter().take(CFG_STORES_SHOWN).enumerate() {
        fields.put(
            &format!("cfg_store_{at}"),
            format_args!(
                "db={db},revision={},compacted={},epoch={},keys={},leases={},name={}",
                tree.revision(),
                tree.compacted(),
                tree.epoch(),
                tree.len(),
                tree.lease_count(),
                name.escape_ascii(),
            ),
        );
    }
}

fn scripting_engines(server: &Server, fields: &mut Fields) {
    let used: usize = [script::Kind::Scripts, script::Kind::Functions]
        .into_iter()
        .map(|kind| server.scripts.engine_bytes(kind))
        .sum();
    let overhead = size_of::<Engine>();
    fields.put("engines_count", 1);
    fields.put("engines_total_used_memory", used);
    fields.put("engines_total_memory_overhead", overhead);
    fields.put(
        "engine_0",
        format_args!("name=LUA,module=lua,abi_version=4,used_memory={used},memory_overhead={overhead}"),
    );
}

fn keyspace(server: &Server, fields: &mut Fields) {
    for index in 0..server.store.databases() {
        let figures = server.store.figures(index);
        if figures.keys > 0 {
            let line = format!(
                "keys={},expires={},avg_ttl={},keys_with_volatile_items={fields},subexpiry={fields}",
                figures.keys,
                figures.expires,
                figures.avg_ttl_ms,
                fields = figures.with_volatile_fields
            );
            fields.put(&format!("db{index}"), line);
        }
    }
}

/// How many values of each type have which size, by powers of two.
fn key_sizes(server: &Server, fields: &mut Fields) {
    const TYPES: [(SizedType, &str, &str); 5] = [
        (SizedType::String, "strings", "sizes"),
        (SizedType::List, "lists", "items"),
        (SizedType::Set, "sets", "items"),
        (SizedType::Zset, "zsets", "items"),
        (SizedType::Hash, "hashes", "items"),
    ];
    for index in 0..server.store.databases() {
        for (sized, name, unit) in TYPES {
            put_sizes(fields, &format!("db{index}_distrib_{name}_{unit}"), server.store.sizes(index), sized);
        }
        for (sized, name, _) in TYPES {
            put_sizes(fields, &format!("db{index}_distrib_{name}_sizes"), server.store.memory_sizes(index), sized);
        }
    }
}

fn put_sizes(fields: &mut Fields, name: &str, sizes: &Sizes, sized: SizedType) {
    let parts: Vec<String> =
        sizes.of_type(sized).map(|(from, count)| format!("{}={count}", power_of_two(from))).collect();
    if !parts.is_empty() {
        fields.put(name, parts.join(","));
    }
}

/// 0 or a power of two in its largest unit: 512, 1K, 2M.
fn power_of_two(number: u64) -> String {
    const UNITS: [&str; 7] = ["", "K", "M", "G", "T", "P", "E"];
    let unit = number.checked_ilog2().unwrap_or(0) / 10;
    format!("{}{}", number >> (10 * unit), UNITS[unit as usize])
}

fn debug(server: &Server, fields: &mut Fields) {
    let counters = &server.stats.counters;
    fields.put("eventloop_duration_aof_sum", counters.eventloop_duration_aof_ns / 1000);
    fields.put("eventloop_duration_cron_sum", counters.eventloop_duration_cron_us);
    fields.put("eventloop_duration_max", counters.eventloop_duration_max_us);
    fields.put("eventloop_cmd_per_cycle_max", counters.eventloop_cmd_per_cycle_max);
    fields.zeros(&["io_threaded_reads_pending", "io_threaded_writes_pending"]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titles(word: &str) -> Vec<&'static str> {
        SECTIONS.iter().filter(|section| section.is_meant_by(word.as_bytes())).map(|section| section.title).collect()
    }

    #[test]
    fn powers_of_two_are_shown_in_their_largest_unit() {
        let shown: Vec<String> = [0, 1, 512, 1024, 1 << 19, 1 << 20, 1 << 62].map(power_of_two).into();
        assert_eq!(shown, ["0", "1", "512", "1K", "512K", "1M", "4E"]);
    }

    #[test]
    fn words_mean_sections_in_any_case() {
        assert_eq!(titles("cpu"), ["CPU"]);
        assert_eq!(titles("ScriptingEngines"), ["Scripting Engines"]);
        assert_eq!(titles("cluster"), ["Cluster"]);
        assert_eq!(titles("cluster_info"), ["Cluster Info"]);
        assert_eq!(titles("debug"), ["Debug"]);
        assert!(titles("").is_empty() && titles("cp").is_empty() && titles("cpux").is_empty());
    }

    #[test]
    fn default_leaves_out_what_is_long_and_all_does_not() {
        assert!(!titles("default").contains(&"Commandstats"));
        assert_eq!(titles("all"), titles("EVERYTHING"));
        assert_eq!(titles("all").len(), SECTIONS.len() - 1);
    }
}
