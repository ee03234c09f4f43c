//! The `weir` program: reads the configuration, prepares the process, and runs the server until it is told to end.

use clap::{Arg, ArgAction, Command};
use rand::TryRngCore;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use weir::allocator::{self, Counting};
use weir::check::Tool;
use weir::config::{self, Apply, Config, Loaded, Sources};
use weir::disk::RealDisk;
use weir::logging::{self, Logging};
use weir::net::{EventLoop, SignalSource, can_listen};
use weir::process::{
    self, Banner, CrashFacts, OomScore, OomScoreMode, PidFile, ProcessClass, ProcessTitle, Signals, Supervision,
    Supervisor,
};
use weir::server::permissions::users_of;
use weir::server::running;
use weir::server::table::Names;
use weir::server::{Facts, REDIS_VERSION, Server, VALKEY_VERSION};
use weir::threads;
use weir_structs::glob::glob_match;

#[global_allocator]
static ALLOCATOR: Counting = Counting::new();

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    if let Some((tool, rest)) = Tool::asked_for(&args) {
        return tool.run(rest, wall_clock_us() / 1000);
    }
    let check_only = match command_line(&args) {
        CommandLine::Run => false,
        CommandLine::Check => true,
        CommandLine::Done(code) => return code,
    };
    let args = args.into_iter().skip(1).filter(|arg| arg != "--check-config");
    let (config, loaded) = match config::load(Sources::from_args(args, glob_match)) {
        Ok(read) => read,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    if let Err(error) = Names::check(&config) {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    if check_only {
        if let Err(error) = users_of(&config) {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
        println!("The configuration is valid.");
        return ExitCode::SUCCESS;
    }
    match start(config, &loaded) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error}");
            // The log may go to a file; a person at the terminal wants to know as well.
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// What the command line asks for.
enum CommandLine {
    Run,
    Check,
    Done(ExitCode),
}

fn command_line(args: &[OsString]) -> CommandLine {
    let about =
        "A server that speaks the Redis protocol: cache, data structures, message broker, configuration registry.";
    let after = "Options are directives of the configuration file with two dashes before the name, as with redis-server:\n  \
        weir --port 7000 --save \"\" --bind 127.0.0.1 ::1\n  \
        weir /etc/weir.conf --loglevel verbose\n  \
        echo 'maxmemory 1gb' | weir -\n\
        Started through a link named redis-server or valkey-server it does the same.\n\n\
        weir check-rdb FILE [--stats] [--salvage OUT] says whether a snapshot can be read, and saves what can be saved.\n\
        weir check-aof FILE [--fix] [--truncate-to-timestamp TIMESTAMP] does so with an append-only file, and cuts it off.";
    let mut command = Command::new("weir")
        .about(about)
        .after_help(after)
        .override_usage("weir [CONFIG_FILE | -] [--directive value ...]")
        .disable_version_flag(true)
        .arg(Arg::new("version").short('v').long("version").action(ArgAction::SetTrue).help("Print the version"))
        .arg(
            Arg::new("check-config")
                .long("check-config")
                .action(ArgAction::SetTrue)
                .help("Read the configuration, say whether it is valid, and end"),
        )
        .arg(Arg::new("CONFIG_FILE").help("Configuration file, or - for standard input"));
    // Everything else belongs to the configuration and is read by its rules, so only these words are looked at.
    match args.get(1).and_then(|arg| arg.to_str()) {
        Some("-h" | "--help") => {
            // A closed pipe is the reader's choice.
            let _ = command.print_help();
            CommandLine::Done(ExitCode::SUCCESS)
        }
        Some("-v" | "--version") => {
            println!(
                "Weir server v={VERSION} redis={REDIS_VERSION} valkey={VALKEY_VERSION} malloc=mimalloc bits={}",
                usize::BITS
            );
            CommandLine::Done(ExitCode::SUCCESS)
        }
        _ if args.iter().any(|arg| arg == "--check-config") => CommandLine::Check,
        _ => CommandLine::Run,
    }
}

fn start(mut config: Config, loaded: &Loaded) -> Result<ExitCode, String> {
    let executable = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("weir"));
    std::env::set_current_dir(&config.dir).map_err(|e| format!("can't chdir to '{}': {e}", config.dir))?;
    let log = Logging::start(log_settings(&config)).map_err(|e| e.to_string())?;
    let supervision = Supervision::from_name(config.supervised.name()).unwrap_or(Supervision::No);
    let mut supervisor = Supervisor::new(supervision, &|name| std::env::var_os(name));
    let as_daemon = config.daemonize && !supervisor.is_present();
    if as_daemon {
        process::daemonize().map_err(|e| format!("could not become a daemon: {e}"))?;
    }
    if config.disable_thp {
        // Without it memory is a little larger; nothing else.
        let _ = process::disable_huge_pages();
    }
    process::log_start(VERSION);
    if let Some(list) = &config.server_cpulist
        && let Err(error) = threads::run_on(list)
    {
        tracing::warn!("server-cpulist '{list}' cannot be followed: {error}");
    }
    if let Some(list) = &config.bio_cpulist
        && let Err(error) = threads::run_background_on(list)
    {
        tracing::warn!("bio-cpulist '{list}' cannot be followed: {error}");
    }
    process::log_configuration(loaded.config_file.is_some() || std::env::args_os().count() > 1, &executable);
    for line in &loaded.ignored {
        tracing::warn!("directive '{}' is ignored: {}", line.name, line.reason);
    }
    for directive in &loaded.without_effect {
        tracing::warn!("directive '{}' has no effect in this version (see docs/configuration.md)", directive.name);
    }
    let pid_file = PidFile::path_for(config.pidfile.as_deref().map(Path::new), as_daemon);
    let pid_file = pid_file.and_then(|path| match PidFile::create(&path) {
        Ok(file) => Some(file),
        Err(error) => {
            tracing::warn!("could not write the pid file {}: {error}", path.display());
            None
        }
    });
    let mut signals = Signals::install().map_err(|e| format!("could not handle signals: {e}"))?;
    let crash_facts = CrashFacts {
        version: VERSION,
        logfile: log_settings(&config).logfile.and_then(|path| CrashFacts::path(&path)),
        pid_file: pid_file.as_ref().and_then(|file| CrashFacts::path(file.path())),
        tell_figures: running::tell_figures,
        tell_commands: running::tell_commands,
    };
    process::report_crashes(crash_facts).map_err(|e| format!("could not handle signals: {e}"))?;
    process::set_crash_reports(config.crash_log_enabled);
    set_watchdog(&config);
    let files = process::raise_open_files(config.maxclients).map_err(|e| e.to_string())?;
    config.maxclients = files.clients_max;
    if let Some(title) = claim_title(&config) {
        // Nobody else sets it.
        let _ = TITLE.set(title);
    }
    apply_oom_score(&config)?;

    let facts = Facts {
        run_id: weir::stats::process::run_id().map_err(|e| format!("no random numbers: {e}"))?,
        started_ms: wall_clock_us() / 1000,
        config_file: loaded.config_file.clone(),
        executable,
        version: VERSION,
        startup_bytes: 0,
        wall_clock_us,
        heap_bytes: allocator::bytes_in_use,
        log: Some(log.clone()),
        sleep: std::thread::sleep,
        apply: apply_to_process,
        give_back_memory: allocator::give_back,
        tidy_memory: allocator::tidy,
        free_in_portions: allocator::free_in_portions,
        tidy_is_awaited: allocator::tidy_is_awaited,
        still_turns: process::feed_watchdog,
        allocator_report: allocator::report,
        disk: Arc::new(RealDisk),
        can_listen,
    };
    allocator::start_purger().map_err(|e| format!("could not start a thread: {e}"))?;
    let seed = hash_seed(&config)?;
    let mut server = Server::new(config, facts, seed);
    if let Err(error) = server.load_tls() {
        tracing::error!("{error}");
        return Err("Failed to configure TLS. Check logs for more info.".to_owned());
    }
    server.load_users()?;
    let source = SignalSource {
        fd: std::os::fd::AsRawFd::as_raw_fd(&signals),
        abandoned: Box::new(signals.when_abandoned()),
        take: Box::new(move || signals.take().map(|signal| signal.name())),
    };
    let mut event_loop = EventLoop::new(server, Some(source)).map_err(|e| format!("Failed listening: {e}"))?;
    let startup_bytes = event_loop.server().used_memory();
    event_loop.server().facts.startup_bytes = startup_bytes;
    greet(&mut event_loop, &log);
    event_loop.server().load_at_start()?;
    let mut ended = event_loop.run_while_loading();
    if ended.is_ok() && event_loop.server().shutdown.is_none() {
        tell_ready(&event_loop);
        supervisor.ready();
    }
    ended = ended.and_then(|()| event_loop.run());
    supervisor.stopping();
    let request = event_loop.server().shutdown;
    if let Some(request) = request.filter(|request| !request.failed) {
        tracing::warn!("User requested shutdown ({})", request.by);
    }
    drop(event_loop);
    if let Some(file) = pid_file
        && let Err(error) = file.remove()
    {
        tracing::warn!("could not remove the pid file: {error}");
    }
    ended.map_err(|e| format!("the event loop failed: {e}"))?;
    if request.is_some_and(|request| request.failed) {
        return Ok(ExitCode::FAILURE);
    }
    tracing::warn!("Weir is now ready to exit, bye bye...");
    Ok(ExitCode::SUCCESS)
}

/// The picture or the line in its place, and a line that tools wait for.
fn greet(event_loop: &mut EventLoop, log: &logging::Handle) {
    let config = &event_loop.server().config;
    let banner = Banner {
        version: VERSION,
        mode: "standalone",
        port: if config.port == 0 { config.tls_port } else { config.port },
        pid: std::process::id(),
    };
    let terminal = std::io::stdout().is_terminal();
    if process::shows_banner(config.always_show_logo, !config.logfile.is_empty(), config.syslog_enabled, terminal) {
        log.write_raw(&banner.to_string());
    } else {
        banner.log_line();
    }
    tracing::info!("{}", process::SERVER_INITIALIZED);
}

/// The lines that tools wait for until everything is there.
fn tell_ready(event_loop: &EventLoop) {
    for kind in event_loop.listening() {
        let ready = match kind {
            "unix" => process::READY_UNIX,
            "tls" => process::READY_TLS,
            _ => process::READY_TCP,
        };
        tracing::info!("{ready}");
    }
}

fn log_settings(config: &Config) -> logging::LogSettings {
    let defaults = logging::LogSettings::default();
    logging::LogSettings {
        level: logging::LogLevel::from_name(config.loglevel.name()).unwrap_or(defaults.level),
        format: logging::LogFormat::from_name(config.log_format.name()).unwrap_or(defaults.format),
        timestamp: logging::TimestampFormat::from_name(config.log_timestamp_format.name())
            .unwrap_or(defaults.timestamp),
        logfile: (!config.logfile.is_empty()).then(|| config.path_in_dir(&config.logfile)),
        syslog_enabled: config.syslog_enabled,
        syslog_ident: config.syslog_ident.clone(),
        syslog_facility: logging::SyslogFacility::from_name(config.syslog_facility.name())
            .unwrap_or(defaults.syslog_facility),
        role: defaults.role,
    }
}

/// The process's title and out-of-memory score, which settings change while it runs.
static TITLE: OnceLock<ProcessTitle> = OnceLock::new();
static OOM_SCORE: Mutex<Option<OomScore>> = Mutex::new(None);

fn claim_title(config: &Config) -> Option<ProcessTitle> {
    config.set_proc_title.then(|| ProcessTitle::claim(&title(config)).ok()).flatten()
}

/// `proc-title-template` filled in.
fn title(config: &Config) -> String {
    let address = config.bind.first().map_or("*", |bind| bind.trim_start_matches('-'));
    let port = if config.port == 0 { config.tls_port } else { config.port };
    let listen = match (&config.unixsocket, port) {
        (Some(path), 0) => path.clone(),
        (_, port) => format!("{address}:{port}"),
    };
    let program = std::env::args().next().unwrap_or_else(|| "weir".to_owned());
    let file = std::env::args().nth(1).filter(|arg| !arg.starts_with('-')).unwrap_or_default();
    config
        .proc_title_template
        .replace("{title}", &program)
        .replace("{listen-addr}", &listen)
        .replace("{server-mode}", "")
        .replace("{port}", &config.port.to_string())
        .replace("{tls-port}", &config.tls_port.to_string())
        .replace("{unixsocket}", config.unixsocket.as_deref().unwrap_or_default())
        .replace("{config-file}", &file)
        .trim_end()
        .to_owned()
}

fn apply_oom_score(config: &Config) -> Result<(), String> {
    let mode = OomScoreMode::from_name(config.oom_score_adj.name()).unwrap_or(OomScoreMode::No);
    let mut score = OOM_SCORE.lock().unwrap_or_else(PoisonError::into_inner);
    score.get_or_insert_default().apply(mode, config.oom_score_adj_values, ProcessClass::Primary).map_err(|error| {
        tracing::warn!("could not set the score of the out-of-memory killer: {error}");
        "Failed to apply new oom_score_adj configuration, check server logs.".to_owned()
    })
}

/// Does what a changed setting asks of the process.
fn apply_to_process(apply: Apply, config: &Config) -> Result<(), String> {
    match apply {
        Apply::MaxClients => match process::raise_open_files(config.maxclients) {
            Ok(files) if files.clients_max >= config.maxclients => Ok(()),
            Ok(_) => Err("The operating system is not able to handle the specified number of clients, try with a \
                          lower number"
                .to_owned()),
            Err(error) => Err(error.to_string()),
        },
        Apply::OomScore => apply_oom_score(config),
        Apply::CrashLog => {
            process::set_crash_reports(config.crash_log_enabled);
            Ok(())
        }
        Apply::Watchdog => {
            set_watchdog(config);
            Ok(())
        }
        Apply::ProcTitle => {
            if let Some(claimed) = TITLE.get() {
                claimed.set(&title(config));
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// It is fed once in a period of `hz`, so it needs some more patience than that.
fn set_watchdog(config: &Config) {
    let least_ms = 2 * 1000 / config.hz.clamp(1, 500);
    process::set_watchdog(if config.watchdog_period == 0 { 0 } else { config.watchdog_period.max(least_ms) });
}

fn wall_clock_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Random, so that clients cannot choose keys that collide; from `hash-seed` where servers are to scan in one order.
fn hash_seed(config: &Config) -> Result<u64, String> {
    match &config.hash_seed {
        Some(text) => Ok(std::hash::BuildHasher::hash_one(&foldhash::quality::FixedState::default(), text)),
        None => rand::rngs::OsRng.try_next_u64().map_err(|e| format!("no random numbers: {e}")),
    }
}
