//! FUNCTION and its subcommands, and FCALL, which calls a function.

use crate::command::error::Error;
use crate::command::spec::{Acl, Arg, ArgKind, Flags, Group, KeyFlags, KeySpec, Spec};
use crate::command::table::Row;
use crate::script::functions::{Existing, Library};
use crate::script::{Kind, ScriptFlags};
use crate::server::scripting::{Caller, ScriptCall};
use crate::server::{ServerCx, ServerFn};
use std::sync::Arc;
use weir_structs::glob::glob_match;
use weir_structs::number::parse_i64;

const WRITE_NOSCRIPT: Flags = Flags::WRITE.union(Flags::NOSCRIPT);
const WRITE_DENYOOM_NOSCRIPT: Flags = WRITE_NOSCRIPT.union(Flags::DENYOOM);
const NOSCRIPT_ALLOW_BUSY: Flags = Flags::NOSCRIPT.union(Flags::ALLOW_BUSY);
const LOADING_STALE: Flags = Flags::LOADING.union(Flags::STALE);
const NOSCRIPT_STALE_SKIP_MONITOR_NO_MANDATORY_KEYS_MOVABLEKEYS: Flags = Flags::NOSCRIPT
    .union(Flags::STALE)
    .union(Flags::SKIP_MONITOR)
    .union(Flags::NO_MANDATORY_KEYS)
    .union(Flags::MOVABLEKEYS)
    .union(Flags::RUNS_SCRIPT)
    .union(Flags::BY_FUNCTION);
const ACL_SLOW_SCRIPTING: Acl = Acl::SLOW.union(Acl::SCRIPTING);
const ACL_WRITE_SLOW_SCRIPTING: Acl = ACL_SLOW_SCRIPTING.union(Acl::WRITE);
const ALL_SHARDS_ALL_SUCCEEDED: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];

const CALL_ARGS: &[Arg] = &[
    Arg::new("function", ArgKind::String),
    Arg::new("numkeys", ArgKind::Integer),
    Arg::key("key", 0).optional().multiple(),
    Arg::new("arg", ArgKind::String).optional().multiple(),
];

/// Commands of functions.
pub(super) const COMMANDS: &[Row<ServerFn>] = &[
    Row::new(
        Spec::new(
            "fcall",
            -3,
            NOSCRIPT_STALE_SKIP_MONITOR_NO_MANDATORY_KEYS_MOVABLEKEYS,
            ACL_SLOW_SCRIPTING,
            Group::Scripting,
            "7.0.0",
        )
        .keys(&[KeySpec::counted(2, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE))
            .notes("What a function does with its keys is not known, so it is taken to do everything.")])
        .doc("Depends on the function that is executed.", "Calls a function.")
        .args(CALL_ARGS),
        fcall_command,
    ),
    Row::new(
        Spec::new(
            "fcall_ro",
            -3,
            NOSCRIPT_STALE_SKIP_MONITOR_NO_MANDATORY_KEYS_MOVABLEKEYS.union(Flags::READONLY),
            ACL_SLOW_SCRIPTING,
            Group::Scripting,
            "7.0.0",
        )
        .keys(&[KeySpec::counted(2, KeyFlags::RO.union(KeyFlags::ACCESS))
            .notes("What a function does with its keys is not known, so it is taken to read all of them.")])
        .doc("Depends on the function that is executed.", "Calls a function that changes nothing.")
        .args(CALL_ARGS),
        fcall_ro_command,
    ),
    Row::container(
        Spec::new("function", -2, Flags::empty(), Acl::SLOW, Group::Scripting, "7.0.0")
            .doc("Depends on subcommand.", "Groups the commands about libraries of functions."),
        &[
            Row::new(
                Spec::new("delete", 3, WRITE_NOSCRIPT, ACL_WRITE_SLOW_SCRIPTING, Group::Scripting, "7.0.0")
                    .tips(ALL_SHARDS_ALL_SUCCEEDED)
                    .doc("O(1)", "Deletes a library with its functions.")
                    .args(&[Arg::new("library-name", ArgKind::String)]),
                function_delete_command,
            ),
            Row::new(
                Spec::new("dump", 2, Flags::NOSCRIPT, ACL_SLOW_SCRIPTING, Group::Scripting, "7.0.0").doc(
                    "O(N) where N is the number of functions",
                    "Returns all libraries in a form that can be restored.",
                ),
                function_dump_command,
            ),
            Row::new(
                Spec::new("flush", -2, WRITE_NOSCRIPT, ACL_WRITE_SLOW_SCRIPTING, Group::Scripting, "7.0.0")
                    .tips(ALL_SHARDS_ALL_SUCCEEDED)
                    .doc("O(N) where N is the number of functions deleted", "Deletes all libraries.")
                    .args(&[
                        Arg::one_of("flush-type", &[Arg::word("async", "ASYNC"), Arg::word("sync", "SYNC")]).optional()
                    ]),
                function_flush_command,
            ),
            Row::new(
                Spec::new("help", 2, LOADING_STALE, ACL_SLOW_SCRIPTING, Group::Scripting, "7.0.0")
                    .doc("O(1)", "Lists the subcommands of `FUNCTION` and what they do."),
                function_help_command,
            ),
            Row::new(
                Spec::new("kill", 2, NOSCRIPT_ALLOW_BUSY, ACL_SLOW_SCRIPTING, Group::Scripting, "7.0.0")
                    .tips(&["request_policy:all_shards", "response_policy:one_succeeded"])
                    .doc("O(1)", "Ends the function that runs, if it has written nothing yet."),
                function_kill_command,
            ),
            Row::new(
                Spec::new("list", -2, Flags::NOSCRIPT, ACL_SLOW_SCRIPTING, Group::Scripting, "7.0.0")
                    .tips(&["nondeterministic_output_order"])
                    .doc("O(N) where N is the number of functions", "Describes the libraries and their functions.")
                    .args(&[
                        Arg::new("library-name-pattern", ArgKind::String).token("LIBRARYNAME").optional(),
                        Arg::word("withcode", "WITHCODE").optional(),
                    ]),
                function_list_command,
            ),
            Row::new(
                Spec::new("load", -3, WRITE_DENYOOM_NOSCRIPT, ACL_WRITE_SLOW_SCRIPTING, Group::Scripting, "7.0.0")
                    .tips(ALL_SHARDS_ALL_SUCCEEDED)
                    .doc("O(1) (considering compilation time is redundant)", "Adds a library.")
                    .args(&[Arg::word("replace", "REPLACE").optional(), Arg::new("function-code", ArgKind::String)]),
                function_load_command,
            ),
            Row::new(
                Spec::new("restore", -3, WRITE_DENYOOM_NOSCRIPT, ACL_WRITE_SLOW_SCRIPTING, Group::Scripting, "7.0.0")
                    .tips(ALL_SHARDS_ALL_SUCCEEDED)
                    .doc(
                        "O(N) where N is the number of functions on the payload",
                        "Adds the libraries that were dumped.",
                    )
                    .args(&[
                        Arg::new("serialized-value", ArgKind::String),
                        Arg::one_of(
                            "policy",
                            &[
                                Arg::word("flush", "FLUSH"),
                                Arg::word("append", "APPEND"),
                                Arg::word("replace", "REPLACE"),
                            ],
                        )
                        .optional(),
                    ]),
                function_restore_command,
            ),
            Row::new(
                Spec::new("stats", 2, NOSCRIPT_ALLOW_BUSY, ACL_SLOW_SCRIPTING, Group::Scripting, "7.0.0")
                    .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
                    .doc("O(1)", "Says which function runs, and how many there are."),
                function_stats_command,
            ),
        ],
    ),
];

fn fcall_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    call_function(cx, false)
}

fn fcall_ro_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    call_function(cx, true)
}

fn call_function(cx: &mut ServerCx<'_>, read_only: bool) -> Result<(), Error> {
    if !cx.server.clients.monitors.is_empty() {
        // Before what it calls, which is shown as it runs.
        cx.server.show_to_monitors(cx.slot, cx.command, cx.argv);
    }
    let function = Arc::clone(cx.server.functions.find(cx.arg(1)).ok_or(Error::NO_SUCH_FUNCTION)?);
    let function = &function.registered;
    let keys = parse_i64(cx.arg(2)).ok_or(Error::FUNCTION_NUMKEYS)?;
    if keys > (cx.argc() - 3) as i64 {
        return Err(Error::NUMKEYS_TOO_LARGE);
    }
    let keys = usize::try_from(keys).map_err(|_| Error::KEYS_NEGATIVE)?;
    if read_only && !function.flags.contains(ScriptFlags::NO_WRITES) {
        return Err(Error::SCRIPT_WRITES);
    }
    let call = ScriptCall {
        kind: Kind::Functions,
        compiled: function.compiled,
        name: &function.name,
        flags: function.flags,
        keys_at: 3,
        keys,
    };
    let caller = Caller::of(cx);
    cx.server.run_script(caller, call, cx.reply.output())
}

fn function_load_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let (code_at, mut replace) = (cx.argc() - 1, false);
    for at in 2..code_at {
        if !cx.arg(at).eq_ignore_ascii_case(b"replace") {
            return Err(Error::unknown_load_option(cx.arg(at)));
        }
        replace = true;
    }
    let name = cx.server.load_library(cx.arg(code_at), replace)?;
    cx.server.effects.changed(1);
    cx.reply.text(&name);
    Ok(())
}

fn function_delete_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    if !cx.server.delete_library(cx.arg(2)) {
        return Err(Error::NO_SUCH_LIBRARY);
    }
    cx.server.effects.changed(1);
    cx.reply.ok();
    Ok(())
}

fn function_flush_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    if cx.argc() > 3 {
        return Err(Error::subcommand_syntax(cx.arg(1), "function"));
    }
    let at_once = match cx.argv.get(2) {
        None => !cx.server.config.lazyfree_lazy_user_flush,
        Some(mode) if mode.eq_ignore_ascii_case(b"sync") => true,
        Some(mode) if mode.eq_ignore_ascii_case(b"async") => false,
        Some(_) => return Err(Error::FUNCTION_FLUSH_OPTION),
    };
    cx.server.flush_functions(at_once);
    cx.server.effects.changed(1);
    cx.reply.ok();
    Ok(())
}

fn function_dump_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let dump = cx.server.functions.dump();
    cx.reply.bulk(&dump);
    Ok(())
}

fn function_restore_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let existing = match cx.argv.get(3) {
        _ if cx.argc() > 4 => return Err(Error::subcommand_syntax(cx.arg(1), "function")),
        None => Existing::Keep,
        Some(policy) if policy.eq_ignore_ascii_case(b"append") => Existing::Keep,
        Some(policy) if policy.eq_ignore_ascii_case(b"replace") => Existing::Replace,
        Some(policy) if policy.eq_ignore_ascii_case(b"flush") => Existing::Flush,
        Some(_) => return Err(Error::RESTORE_POLICY),
    };
    cx.server.restore_functions(cx.arg(2), existing)?;
    cx.server.effects.changed(1);
    cx.reply.ok();
    Ok(())
}

fn function_list_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let (mut with_code, mut pattern, mut at) = (false, None, 2);
    while let Some(argument) = cx.argv.get(at) {
        if !with_code && argument.eq_ignore_ascii_case(b"withcode") {
            with_code = true;
        } else if pattern.is_none() && argument.eq_ignore_ascii_case(b"libraryname") {
            at += 1;
            pattern = Some(cx.argv.get(at).ok_or(Error::LIBRARY_PATTERN_MISSING)?);
        } else {
            return Err(Error::unknown_list_argument(argument));
        }
        at += 1;
    }
    let is_wanted =
        |library: &&Library| pattern.is_none_or(|pattern| glob_match(pattern, library.name().as_bytes(), true));
    let wanted: Vec<&Library> = cx.server.functions.libraries().filter(is_wanted).collect();
    cx.reply.array(wanted.len());
    for library in wanted {
        cx.reply.map(if with_code { 4 } else { 3 });
        cx.reply.text("library_name");
        cx.reply.text(library.name());
        cx.reply.text("engine");
        cx.reply.text("LUA");
        cx.reply.text("functions");
        cx.reply.array(library.functions().len());
        for function in library.functions() {
            cx.reply.map(3);
            cx.reply.text("name");
            cx.reply.text(&function.name);
            cx.reply.text("description");
            match &function.description {
                Some(text) => cx.reply.bulk(text),
                None => cx.reply.null(),
            }
            cx.reply.text("flags");
            cx.reply.set(function.flags.names().count());
            for flag in function.flags.names() {
                cx.reply.simple(flag);
            }
        }
        if with_code {
            cx.reply.text("library_code");
            cx.reply.bulk(library.code());
        }
    }
    Ok(())
}

fn function_stats_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let running = cx.server.running_script();
    if running.as_ref().is_some_and(|running| running.kind == Kind::Scripts) {
        return Err(Error::BUSY_SCRIPT);
    }
    cx.reply.map(2);
    cx.reply.text("running_script");
    match running {
        Some(running) => {
            cx.reply.map(3);
            cx.reply.text("name");
            cx.reply.text(running.name);
            cx.reply.text("command");
            cx.reply.array(running.argv.map_or(0, |argv| argv.len()));
            for argument in running.argv.iter().flat_map(|argv| argv.iter()) {
                cx.reply.bulk(argument);
            }
            cx.reply.text("duration_ms");
            cx.reply.int((running.us / 1000) as i64);
        }
        None => cx.reply.null(),
    }
    cx.reply.text("engines");
    cx.reply.map(1);
    cx.reply.text("LUA");
    cx.reply.map(2);
    cx.reply.text("libraries_count");
    cx.reply.count(cx.server.functions.libraries_len());
    cx.reply.text("functions_count");
    cx.reply.count(cx.server.functions.len());
    Ok(())
}

fn function_kill_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.server.kill_script(Kind::Functions)?;
    cx.reply.ok();
    Ok(())
}

fn function_help_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.reply.lines(FUNCTION_HELP);
    Ok(())
}

const FUNCTION_HELP: &[&str] = &[
    "FUNCTION <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "DELETE <LIBRARY NAME>",
    "    Delete a library with all of its functions.",
    "DUMP",
    "    Return all libraries as bytes that FUNCTION RESTORE takes.",
    "FLUSH [ASYNC|SYNC]",
    "    Delete all libraries. Memory is given back at once (SYNC) or later (ASYNC); the",
    "    default is lazyfree-lazy-user-flush.",
    "KILL",
    "    End the function that runs, unless it has changed data already.",
    "LIST [LIBRARYNAME PATTERN] [WITHCODE]",
    "    Describe libraries: name, engine, functions, and with WITHCODE their text. With a",
    "    pattern, only those whose name it matches.",
    "LOAD [REPLACE] <FUNCTION CODE>",
    "    Add a library; REPLACE one that has its name.",
    "RESTORE <PAYLOAD> [FLUSH|APPEND|REPLACE]",
    "    Add libraries that FUNCTION DUMP returned. Where one is there already: fail (APPEND,",
    "    the default), put the new one in its place (REPLACE), or delete all first (FLUSH).",
    "STATS",
    "    Tell which function runs and for how long, and count libraries and functions.",
    "HELP",
    "    Print this help.",
];
