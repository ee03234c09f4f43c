//! CONFIG: reading, changing and saving settings while the server runs.
//!
//! A change is staged on a copy of the configuration. What may fail outside of it (opening a port, raising a limit of the
//! process) is tried before the copy is adopted, so that CONFIG SET changes everything or nothing.

use crate::command::error::Error;
use crate::command::spec::{Acl, Arg, ArgKind, Flags, Group, Spec};
use crate::command::table::Row;
use crate::config::{self, Apply, Config, Directive, Effect, SetError};
use crate::logging;
use crate::server::ServerFn;
use crate::server::client::ClientFlags;
use crate::server::message::Order;
use crate::server::{Server, ServerCx};
use crate::tls::Acceptor;
use std::io;
use std::path::Path;
use std::sync::Arc;
use weir_structs::glob::glob_match;

const ADMIN_NOSCRIPT_LOADING_STALE: Flags =
    Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::LOADING).union(Flags::STALE);
const ACL_ADMIN_SLOW_DANGEROUS: Acl = Acl::ADMIN.union(Acl::SLOW).union(Acl::DANGEROUS);

/// `CONFIG` and its subcommands.
pub(super) const COMMANDS: &[Row<ServerFn>] = &[Row::container(
    Spec::new("config", -2, Flags::empty(), Acl::SLOW, Group::Server, "2.0.0")
        .doc("Depends on the subcommand.", "Groups the commands about the configuration."),
    &[
        Row::new(
            Spec::new("get", -3, ADMIN_NOSCRIPT_LOADING_STALE, ACL_ADMIN_SLOW_DANGEROUS, Group::Server, "2.0.0")
                .doc(
                    "O(N) where N is the number of parameters.",
                    "Returns the parameters whose names match any of the given patterns, with their values.",
                )
                .history(&[("7.0.0", "Takes more than one pattern.")])
                .args(&[Arg::new("parameter", ArgKind::String).multiple()]),
            config_get_command,
        ),
        Row::new(
            Spec::new("help", 2, Flags::LOADING.union(Flags::STALE), Acl::SLOW, Group::Server, "5.0.0")
                .doc("O(1)", "Lists the subcommands of `CONFIG` and what they do."),
            config_help_command,
        ),
        Row::new(
            Spec::new("resetstat", 2, ADMIN_NOSCRIPT_LOADING_STALE, ACL_ADMIN_SLOW_DANGEROUS, Group::Server, "2.0.0")
                .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
                .doc("O(1)", "Sets the counters that `INFO` shows back to zero."),
            config_resetstat_command,
        ),
        Row::new(
            Spec::new("rewrite", 2, ADMIN_NOSCRIPT_LOADING_STALE, ACL_ADMIN_SLOW_DANGEROUS, Group::Server, "2.8.0")
                .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
                .doc("O(1)", "Writes the configuration in force into the configuration file."),
            config_rewrite_command,
        ),
        Row::new(
            Spec::new("set", -4, ADMIN_NOSCRIPT_LOADING_STALE, ACL_ADMIN_SLOW_DANGEROUS, Group::Server, "2.0.0")
                .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
                .doc(
                    "O(N) where N is the number of parameters.",
                    "Changes parameters while the server runs, all of them or none.",
                )
                .history(&[("7.0.0", "Takes more than one parameter.")])
                .args(&[Arg::block(
                    "data",
                    &[Arg::new("parameter", ArgKind::String), Arg::new("value", ArgKind::String)],
                )
                .multiple()]),
            config_set_command,
        ),
    ],
)];

fn config_get_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let patterns: Vec<&[u8]> = cx.words(2).collect();
    let found = config::get(&cx.server.config, &patterns, glob_match);
    cx.reply.map(found.len());
    for (name, value) in found {
        cx.reply.bulk(&name);
        cx.reply.bulk(&value);
    }
    Ok(())
}

fn config_help_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.reply.lines(CONFIG_HELP);
    Ok(())
}

fn config_resetstat_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.server.stats.reset();
    cx.server.store.reset_counters();
    cx.server.background.reset_freed();
    cx.server.broker.reset_happened();
    cx.reply.ok();
    Ok(())
}

fn config_rewrite_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let Some(path) = &cx.server.facts.config_file else { return Err(WITHOUT_FILE) };
    // Users of a file of their own are written there, by ACL SAVE.
    let users = cx.server.config.aclfile.is_none();
    let users: Option<Vec<Vec<u8>>> = users.then(|| cx.server.users.iter().map(|user| user.quoted_line()).collect());
    match config::rewrite(&cx.server.config, path, users.as_deref()) {
        Ok(()) => tracing::info!("CONFIG REWRITE executed with success."),
        Err(error) => {
            tracing::warn!("CONFIG REWRITE failed: {error}");
            return Err(Error::new(format!("ERR Rewriting config file: {}", reason(&error))));
        }
    }
    cx.reply.ok();
    Ok(())
}

/// There is nowhere to save settings to.
pub(super) const WITHOUT_FILE: Error = Error::fixed("ERR The server is running without a config file");

fn config_set_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    if cx.argc() % 2 == 1 {
        return Err(Error::SYNTAX);
    }
    let pairs: Vec<(&[u8], &[u8])> = (2..cx.argc()).step_by(2).map(|at| (cx.arg(at), cx.arg(at + 1))).collect();
    let local = cx.client().flags.contains(ClientFlags::LOCAL);
    let waits = |name: &[u8]| config::find(name).is_some_and(|row| row.flags.has(config::Flags::NOT_WHILE_LOADING));
    if cx.server.is_loading() && pairs.iter().any(|(name, _)| waits(name)) {
        return Err(Error::LOADING);
    }
    change(cx.server, &pairs, local).map_err(|error| Error::new(format!("ERR {error}")))?;
    cx.reply.ok();
    Ok(())
}

/// Changes all of the settings or none.
fn change(server: &mut Server, pairs: &[(&[u8], &[u8])], local: bool) -> Result<(), SetError> {
    let mut staged = config::stage(&server.config, pairs, local)?;
    let tls = prepare(server, &mut staged.config, &staged.changed)?;
    server.config = staged.config;
    if tls.is_some() || server.config.tls_port == 0 {
        server.tls = tls;
    }
    server.config_changed();
    if let Some(&directive) = staged.changed.iter().find(|directive| directive.apply == Apply::AppendOnly) {
        switch_append_only(server, directive)?;
    }
    server.remove_old_append_only_files();
    if has(&staged.changed, Apply::Listeners) {
        server.outbox.order(Order::Listen);
    }
    if has(&staged.changed, Apply::Log) {
        adjust_log(server);
    }
    if has(&staged.changed, Apply::DefaultUser) {
        server.users.set_default_password(server.config.requirepass.as_deref());
        server.users_changed();
    }
    for directive in &staged.changed {
        if let Effect::Accepted { .. } = directive.effect {
            tracing::warn!("directive '{}' has no effect in this version (see docs/configuration.md)", directive.name);
        }
    }
    if has(&staged.changed, Apply::MaxMemory) {
        warn_of_small_maxmemory(server);
    }
    Ok(())
}

fn has(changed: &[&Directive], apply: Apply) -> bool {
    changed.iter().any(|directive| directive.apply == apply)
}

/// Begins or ends the append-only file. If it cannot begin, that setting alone is as before.
fn switch_append_only(server: &mut Server, directive: &Directive) -> Result<(), SetError> {
    if !server.config.appendonly {
        server.end_append_only();
        return Ok(());
    }
    server.begin_append_only().map_err(|_| {
        server.config.appendonly = false;
        SetError::not_applied(directive, "Unable to turn on AOF. Check server logs.")
    })
}

/// Tries everything that may fail. Gives what TLS connections are made from where that changes. What was done to the process is taken back if something behind it fails.
fn prepare(
    server: &Server,
    next: &mut Config,
    changed: &[&'static Directive],
) -> Result<Option<Arc<Acceptor>>, SetError> {
    let refuse = |directive: &Directive, reason: &str| Err(SetError::not_applied(directive, reason));
    let mut tls = None;
    for directive in changed {
        match directive.apply {
            Apply::Listeners => {
                if next.tls_port != 0 && server.tls.is_none() && tls.is_none() {
                    match load_tls(server, next) {
                        Ok(loaded) => tls = Some(loaded),
                        Err(reason) => return refuse(directive, reason),
                    }
                }
                let Err(error) = (server.facts.can_listen)(&server.config, next) else { continue };
                tracing::warn!("{error}");
                return refuse(
                    directive,
                    match directive.name {
                        "bind" => "Failed to bind to specified addresses.",
                        _ => "Unable to listen on this port. Check server logs.",
                    },
                );
            }
            Apply::Tls if next.tls_port != 0 && tls.is_none() => match load_tls(server, next) {
                Ok(loaded) => tls = Some(loaded),
                Err(reason) => return refuse(directive, reason),
            },
            Apply::Dir => match folder(Path::new(&next.dir)) {
                Ok(dir) => next.dir = dir,
                Err(error) => return refuse(directive, &reason(&error)),
            },
            _ => {}
        }
    }
    let mut done: Vec<Apply> = Vec::new();
    for directive in changed {
        let apply = directive.apply;
        if done.contains(&apply) {
            continue;
        }
        if let Err(reason) = (server.facts.apply)(apply, next) {
            for apply in done {
                // It was so before, and there is nobody left to tell.
                let _ = (server.facts.apply)(apply, &server.config);
            }
            return refuse(directive, &reason);
        }
        done.push(apply);
    }
    Ok(tls)
}

/// Reads certificates and keys as a configuration names them. The error is for the client.
fn load_tls(server: &Server, next: &Config) -> Result<Arc<Acceptor>, &'static str> {
    Acceptor::load(next, server.facts.wall_clock_us).map(Arc::new).map_err(|error| {
        tracing::warn!("{error}");
        "Unable to update TLS configuration. Check server logs."
    })
}

/// The absolute path of a folder that this process may enter.
fn folder(path: &Path) -> io::Result<String> {
    let path = path.canonicalize()?;
    // Refused for a file, and for a folder that may not be searched.
    path.join(".").metadata()?;
    path.into_os_string().into_string().map_err(|_| io::Error::other("the path is not UTF-8"))
}

/// What the system says, without the number behind it.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

fn adjust_log(server: &Server) {
    let Some(log) = &server.facts.log else { return };
    let config = &server.config;
    if let Some(level) = logging::LogLevel::from_name(config.loglevel.name()) {
        log.set_level(level);
    }
    if let Some(format) = logging::LogFormat::from_name(config.log_format.name()) {
        log.set_format(format);
    }
    if let Some(format) = logging::TimestampFormat::from_name(config.log_timestamp_format.name()) {
        log.set_timestamp_format(format);
    }
}

fn warn_of_small_maxmemory(server: &Server) {
    let (limit, used) = (server.config.maxmemory, server.used_memory() as u64);
    if limit > 0 && limit < used {
        tracing::warn!(
            "WARNING: the new maxmemory of {limit} bytes, set by CONFIG SET, is less than the {used} bytes in use. Keys are \
             evicted as maxmemory-policy says, and commands that need memory are refused where that is not enough."
        );
    }
}

/// `CONFIG HELP`.
const CONFIG_HELP: &[&str] = &[
    "CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "GET <pattern> [<pattern> ...]",
    "    Show the parameters whose names fit a pattern, with their values.",
    "SET <directive> <value> [<directive> <value> ...]",
    "    Change parameters, all or none of them.",
    "RESETSTAT",
    "    Set the counters of INFO back to zero.",
    "REWRITE",
    "    Write the parameters in force to the configuration file.",
    "HELP",
    "    Show these lines.",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_comes_without_its_number() {
        assert_eq!(reason(&io::Error::from_raw_os_error(libc::ENOENT)), "No such file or directory");
        assert_eq!(reason(&folder(Path::new("/proc/self/status")).unwrap_err()), "Not a directory");
    }
}
