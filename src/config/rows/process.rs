//! Directives of the process: folder, signals, title, limits, dangerous commands.

use super::super::directive::Kind::Special;
use super::super::directive::{Apply, Directive, INT_MAX, choice, flag, int, optional_text, piece, row, text};
use super::super::special;
use super::super::values::{LocalAccess, OomScoreAdj, Supervised};

const NO_CHILDREN: &str = "snapshots and rewrites happen without child processes";
/// Bounds of `hz`: what is asked for beyond them is moved to them.
const HZ_MIN: u32 = 1;
const HZ_MAX: u32 = 500;

pub(super) static ROWS: &[Directive] = &[
    row("daemonize", flag!(daemonize), "no").immutable().doc("Runs in the background."),
    row("supervised", choice!(supervised, Supervised), "no")
        .immutable()
        .doc("Tells a supervisor when the server is ready; `auto` finds out which one."),
    row("pidfile", optional_text!(pidfile), "")
        .immutable()
        .doc("File that holds the process id while the server runs."),
    row("dir", Special(&special::DIR), ".")
        .not_while_loading()
        .protected()
        .apply(Apply::Dir)
        .doc("Folder of all files that are named without one."),
    row("databases", int!(databases, 1, INT_MAX), "16").immutable().doc("Numbered databases."),
    row("hz", int!(hz, 0, INT_MAX), "10")
        .adjust(|config| config.hz = config.hz.clamp(HZ_MIN, HZ_MAX))
        .apply(Apply::Hz)
        .doc("Rounds of housekeeping a second, kept between 1 and 500."),
    row("dynamic-hz", flag!(dynamic_hz), "yes")
        .not_needed("a turn of housekeeping costs as much with many clients as with few")
        .doc("Does housekeeping more often when many clients are connected."),
    row("always-show-logo", flag!(always_show_logo), "no")
        .immutable()
        .doc("Shows the start-up banner even when the log is not a terminal."),
    row("set-proc-title", flag!(set_proc_title), "yes").immutable().doc("Gives the process a telling title."),
    row("proc-title-template", text!(proc_title_template, title_template), "{title} {listen-addr} {server-mode}")
        .apply(Apply::ProcTitle)
        .doc(
            "What the title says, with the variables `{title}`, `{listen-addr}`, `{server-mode}`, `{port}`, \
             `{tls-port}`, `{unixsocket}` and `{config-file}`.",
        ),
    row("locale-collate", text!(locale_collate, locale_name), "")
        .apply(Apply::Locale)
        .not_needed("text is compared byte by byte")
        .doc("Locale whose collation orders text."),
    row("ignore-warnings", optional_text!(ignore_warnings), "")
        .not_needed("no warning of the start keeps the server from starting")
        .doc("Start-up warnings that are not fatal, such as `ARM64-COW-BUG`."),
    row("oom-score-adj", choice!(oom_score_adj, OomScoreAdj), "no")
        .apply(Apply::OomScore)
        .doc("Lets the server tell the kernel how readily to kill it when memory runs out."),
    row("oom-score-adj-values", Special(&special::OOM_SCORE_ADJ_VALUES), "0 200 800")
        .multi_arg()
        .apply(Apply::OomScore)
        .doc("The scores of a primary, a replica and a background child."),
    row("disable-thp", flag!(disable_thp), "yes").immutable().doc("Turns transparent huge pages off for this process."),
    row("server-cpulist", optional_text!(server_cpulist), "")
        .alias("server_cpulist")
        .immutable()
        .doc("Processors for the executor, such as `0-3,6` or `0-7:2`."),
    row("bio-cpulist", optional_text!(bio_cpulist), "")
        .alias("bio_cpulist")
        .immutable()
        .doc("Processors for the background threads."),
    row("aof-rewrite-cpulist", optional_text!(aof_rewrite_cpulist), "")
        .alias("aof_rewrite_cpulist")
        .immutable()
        .not_needed(NO_CHILDREN)
        .doc("Processors for the process that rewrites the append-only file."),
    row("bgsave-cpulist", optional_text!(bgsave_cpulist), "")
        .alias("bgsave_cpulist")
        .immutable()
        .not_needed(NO_CHILDREN)
        .doc("Processors for the process that writes snapshots."),
    row("shutdown-timeout", int!(shutdown_timeout, 0, INT_MAX), "10")
        .until(piece::REPLICATION, "there are no replicas to wait for")
        .doc("Seconds for which a shutdown waits for replicas that lag behind."),
    row("shutdown-on-sigint", Special(&special::SHUTDOWN_ON_SIGINT), "default")
        .multi_arg()
        .doc("How to shut down on SIGINT."),
    row("shutdown-on-sigterm", Special(&special::SHUTDOWN_ON_SIGTERM), "default")
        .multi_arg()
        .doc("How to shut down on SIGTERM."),
    row("crash-log-enabled", flag!(crash_log_enabled), "yes")
        .apply(Apply::CrashLog)
        .doc("Logs the state of the server when it crashes."),
    row("crash-memcheck-enabled", flag!(crash_memcheck_enabled), "yes")
        .not_needed("a crash leaves memory as it is")
        .doc("Tests memory after a crash."),
    row("use-exit-on-panic", flag!(use_exit_on_panic), "no")
        .hidden()
        .not_needed("a panic never aborts without running the exit handlers")
        .doc("Leaves by exit instead of abort when an internal check fails; a testing aid."),
    row("watchdog-period", int!(watchdog_period, 0, INT_MAX), "0")
        .hidden()
        .apply(Apply::Watchdog)
        .doc("Milliseconds after which a turn of the loop is logged with its stack; 0 logs none."),
    row("extended-redis-compatibility", flag!(extended_redis_compatibility), "no")
        .not_needed("HELLO and INFO say so in any case")
        .doc("Says `redis` and Redis's version where a client may depend on it."),
    row("availability-zone", text!(availability_zone), "")
        .doc("Zone of this server, shown to clients that prefer a near one."),
    row("enable-debug-command", choice!(enable_debug_command, LocalAccess), "no").immutable().doc("Who may use DEBUG."),
    row("enable-module-command", choice!(enable_module_command, LocalAccess), "no")
        .immutable()
        .not_needed("there are no loadable modules")
        .doc("Who may use MODULE."),
    row("enable-protected-configs", choice!(enable_protected_configs, LocalAccess), "no")
        .immutable()
        .doc("Who may change the directives marked as protected."),
    row("enable-debug-assert", flag!(enable_debug_assert), "no")
        .immutable()
        .hidden()
        .not_needed("checks are compiled in or not")
        .doc("Runs costly internal checks; a testing aid."),
    row("debug-context", optional_text!(debug_context), "")
        .hidden()
        .not_needed("crash reports carry no such field")
        .doc("Text for crash reports; a testing aid."),
    row("hash-seed", optional_text!(hash_seed), "")
        .immutable()
        .doc("Seed of the hash tables, for the same order of SCAN on several servers; empty draws one at random."),
    row("include", Special(&special::INCLUDE), "")
        .multi_arg()
        .immutable()
        .file_only()
        .doc("Reads further files at this place."),
    row("rename-command", Special(&special::RENAME_COMMAND), "")
        .multi_arg()
        .immutable()
        .file_only()
        .doc("Gives a command another name, or with an empty one takes it away."),
    row("loadmodule", Special(&special::LOADMODULE), "")
        .multi_arg()
        .immutable()
        .file_only()
        .not_needed("there are no loadable modules")
        .doc("Loads a module at start."),
];

/// Text with only known `{variables}` in it, and not empty; `{{` is a brace.
fn title_template(text: &str) -> Result<(), &'static str> {
    const VARIABLES: [&str; 7] =
        ["title", "listen-addr", "server-mode", "port", "tls-port", "unixsocket", "config-file"];
    let without_braces = text.replace("{{", "");
    let known = |part: &str| part.split_once('}').is_some_and(|(variable, _)| VARIABLES.contains(&variable));
    if text.is_empty() || !without_braces.split('{').skip(1).all(known) {
        return Err("template format is invalid or contains unknown variables");
    }
    Ok(())
}

/// A name that has the shape of a locale: empty, `C`, `POSIX`, or a language with territory, codeset and modifier.
fn locale_name(text: &str) -> Result<(), &'static str> {
    let base = text.split(['.', '@']).next().unwrap_or_default();
    let is_territory =
        |territory: &str| territory.len() == 2 && territory.bytes().all(|byte| byte.is_ascii_uppercase());
    let is_language =
        |language: &str| matches!(language.len(), 2 | 3) && language.bytes().all(|byte| byte.is_ascii_lowercase());
    let known = matches!(base, "C" | "POSIX")
        || base.split_once('_').is_some_and(|(language, territory)| is_language(language) && is_territory(territory));
    if text.is_empty() || known { Ok(()) } else { Err("Invalid locale name") }
}
