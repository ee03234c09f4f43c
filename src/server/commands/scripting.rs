//! EVAL and its relatives, and SCRIPT, which looks after what they run.

use crate::command::args::{int, is};
use crate::command::error::Error;
use crate::command::spec::{Acl, Arg, ArgKind, Flags, Group, KeyFlags, KeySpec, Spec};
use crate::command::table::Row;
use crate::script::{Kind, ScriptFlags};
use crate::server::scripting::{Caller, ScriptCall, lower_sha, sha_of};
use crate::server::{ServerCx, ServerFn};

const EVAL: Flags = Flags::NOSCRIPT
    .union(Flags::STALE)
    .union(Flags::SKIP_MONITOR)
    .union(Flags::NO_MANDATORY_KEYS)
    .union(Flags::MOVABLEKEYS)
    .union(Flags::RUNS_SCRIPT);
const NOSCRIPT_STALE: Flags = Flags::NOSCRIPT.union(Flags::STALE);
const SLOW_SCRIPTING: Acl = Acl::SLOW.union(Acl::SCRIPTING);
const WRITES_KEYS: KeyFlags = KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE);
const READS_KEYS: KeyFlags = KeyFlags::RO.union(KeyFlags::ACCESS);
const BY_TEXT_ARGS: &[Arg] = &[
    Arg::new("script", ArgKind::String),
    Arg::new("numkeys", ArgKind::Integer),
    Arg::key("key", 0).optional().multiple(),
    Arg::new("arg", ArgKind::String).optional().multiple(),
];
const BY_HASH_ARGS: &[Arg] = &[
    Arg::new("sha1", ArgKind::String),
    Arg::new("numkeys", ArgKind::Integer),
    Arg::key("key", 0).optional().multiple(),
    Arg::new("arg", ArgKind::String).optional().multiple(),
];
const RUN_COST: &str = "Depends on the script that is executed.";
const EVERYWHERE: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];

/// Commands of scripts.
pub(super) const COMMANDS: &[Row<ServerFn>] = &[
    Row::new(
        Spec::new("eval", -3, EVAL.union(Flags::MAY_REPLICATE), SLOW_SCRIPTING, Group::Scripting, "2.6.0")
            .keys(&[KeySpec::counted(2, WRITES_KEYS)
                .notes("We cannot tell how the keys will be used so we assume the worst, RW and UPDATE")])
            .doc(RUN_COST, "Runs a script in Lua.")
            .args(BY_TEXT_ARGS),
        eval_command,
    ),
    Row::new(
        Spec::new(
            "evalsha",
            -3,
            EVAL.union(Flags::MAY_REPLICATE).union(Flags::BY_HASH),
            SLOW_SCRIPTING,
            Group::Scripting,
            "2.6.0",
        )
        .keys(&[KeySpec::counted(2, WRITES_KEYS)])
        .doc(RUN_COST, "Runs a script that the server knows, by its SHA-1.")
        .args(BY_HASH_ARGS),
        eval_command,
    ),
    Row::new(
        Spec::new("eval_ro", -3, EVAL.union(Flags::READONLY), SLOW_SCRIPTING, Group::Scripting, "7.0.0")
            .keys(&[KeySpec::counted(2, READS_KEYS)
                .notes("We cannot tell how the keys will be used so we assume the worst, RO and ACCESS")])
            .doc(RUN_COST, "Runs a script in Lua that only reads.")
            .args(BY_TEXT_ARGS),
        eval_command,
    ),
    Row::new(
        Spec::new(
            "evalsha_ro",
            -3,
            EVAL.union(Flags::READONLY).union(Flags::BY_HASH),
            SLOW_SCRIPTING,
            Group::Scripting,
            "7.0.0",
        )
        .keys(&[KeySpec::counted(2, READS_KEYS)])
        .doc(RUN_COST, "Runs a script that the server knows and that only reads, by its SHA-1.")
        .args(BY_HASH_ARGS),
        eval_command,
    ),
    Row::container(
        Spec::new("script", -2, Flags::empty(), Acl::SLOW, Group::Scripting, "2.6.0")
            .doc("Depends on subcommand.", "Groups the commands about the scripts that the server knows."),
        &[
            Row::new(
                Spec::new("debug", -3, Flags::NOSCRIPT, SLOW_SCRIPTING, Group::Scripting, "3.2.0")
                    .doc("O(1)", "Sets whether the scripts that follow are debugged.")
                    .args(&[
                        Arg::one_of(
                            "mode",
                            &[Arg::word("yes", "YES"), Arg::word("sync", "SYNC"), Arg::word("no", "NO")],
                        ),
                        Arg::new("engine", ArgKind::String).since("9.1.0").optional(),
                    ]),
                script_debug_command,
            ),
            Row::new(
                Spec::new("exists", -3, NOSCRIPT_STALE, SLOW_SCRIPTING, Group::Scripting, "2.6.0")
                    .tips(&["request_policy:all_shards", "response_policy:agg_logical_and"])
                    .doc(
                        "O(N) with N being the number of scripts to check (so checking a single script is an O(1) \
                         operation).",
                        "Says which scripts the server knows.",
                    )
                    .args(&[Arg::new("sha1", ArgKind::String).multiple()]),
                script_exists_command,
            ),
            Row::new(
                Spec::new("flush", -2, NOSCRIPT_STALE, SLOW_SCRIPTING, Group::Scripting, "2.6.0")
                    .tips(EVERYWHERE)
                    .doc("O(N) with N being the number of scripts in cache", "Forgets all scripts.")
                    .history(&[("6.2.0", "Gained the modes `ASYNC` and `SYNC`.")])
                    .args(&[Arg::one_of("flush-type", &[Arg::word("async", "ASYNC"), Arg::word("sync", "SYNC")])
                        .since("6.2.0")
                        .optional()]),
                script_flush_command,
            ),
            Row::new(
                Spec::new("help", 2, Flags::LOADING.union(Flags::STALE), SLOW_SCRIPTING, Group::Scripting, "5.0.0")
                    .doc("O(1)", "Lists the subcommands of `SCRIPT` and what they do."),
                script_help_command,
            ),
            Row::new(
                Spec::new(
                    "kill",
                    2,
                    Flags::NOSCRIPT.union(Flags::ALLOW_BUSY),
                    SLOW_SCRIPTING,
                    Group::Scripting,
                    "2.6.0",
                )
                .tips(&["request_policy:all_shards", "response_policy:one_succeeded"])
                .doc("O(1)", "Ends the script that is running, unless it has written."),
                script_kill_command,
            ),
            Row::new(
                Spec::new("load", 3, NOSCRIPT_STALE, SLOW_SCRIPTING, Group::Scripting, "2.6.0")
                    .tips(EVERYWHERE)
                    .doc(
                        "O(N) with N being the length in bytes of the script body.",
                        "Compiles a script and keeps it, to be run by its SHA-1.",
                    )
                    .args(&[Arg::new("script", ArgKind::String)]),
                script_load_command,
            ),
            Row::new(
                Spec::new("show", 3, NOSCRIPT_STALE, SLOW_SCRIPTING, Group::Scripting, "8.0.0")
                    .doc("O(1).", "Returns the text of a script that the server knows.")
                    .args(&[Arg::new("sha1", ArgKind::String)]),
                script_show_command,
            ),
        ],
    ),
];

/// Arguments before the keys: the name, the script, the number of keys.
const KEYS_AT: usize = 3;

/// Number of keys, from the argument that says so.
pub(super) fn key_count(cx: &ServerCx<'_>) -> Result<usize, Error> {
    let keys = int(cx.arg(KEYS_AT - 1))?;
    if keys > (cx.argc() - KEYS_AT) as i64 {
        return Err(Error::NUMKEYS_TOO_LARGE);
    }
    usize::try_from(keys).map_err(|_| Error::KEYS_NEGATIVE)
}

fn eval_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let command = cx.command.flags();
    let by_hash = command.contains(Flags::BY_HASH);
    let known = if by_hash { Some(lower_sha(cx.arg(1)).ok_or(Error::NO_SCRIPT)?) } else { None };
    if !cx.server.clients.monitors.is_empty() {
        // Before what it calls, which is shown as it runs.
        cx.server.show_to_monitors(cx.slot, cx.command, cx.argv);
    }
    let keys = key_count(cx)?;
    let sha = match known {
        Some(sha) => sha,
        None => {
            let sha = sha_of(cx.arg(1));
            cx.server.load_script(sha, cx.arg(1), true)?;
            sha
        }
    };
    let (compiled, mut flags) = cx.server.script_to_run(&sha).ok_or(Error::NO_SCRIPT)?;
    if command.contains(Flags::READONLY) {
        if !flags.intersects(ScriptFlags::UNDECLARED | ScriptFlags::NO_WRITES) {
            return Err(Error::SCRIPT_WRITES);
        }
        flags |= ScriptFlags::NO_WRITES;
    }
    let call = ScriptCall {
        kind: Kind::Scripts,
        compiled,
        name: std::str::from_utf8(&sha).unwrap_or_default(),
        flags,
        keys_at: KEYS_AT,
        keys,
    };
    let caller = Caller::of(cx);
    cx.server.run_script(caller, call, cx.reply.output())
}

fn script_load_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let sha = sha_of(cx.arg(2));
    cx.server.load_script(sha, cx.arg(2), false)?;
    cx.reply.bulk(&sha);
    Ok(())
}

fn script_exists_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.reply.array(cx.argc() - 2);
    for at in 2..cx.argc() {
        let known = lower_sha(cx.arg(at)).is_some_and(|sha| cx.server.script_text(&sha).is_some());
        cx.reply.int(i64::from(known));
    }
    Ok(())
}

fn script_show_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let sha = lower_sha(cx.arg(2)).ok_or(Error::NO_SCRIPT)?;
    let text = cx.server.script_text(&sha).ok_or(Error::NO_SCRIPT)?;
    cx.reply.bulk(text);
    Ok(())
}

fn script_flush_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let at_once = match cx.argc() {
        2 => !cx.server.config.lazyfree_lazy_user_flush,
        3 if is(cx.arg(2), "SYNC") => true,
        3 if is(cx.arg(2), "ASYNC") => false,
        _ => return Err(Error::SCRIPT_FLUSH_MODE),
    };
    cx.server.flush_scripts(at_once);
    cx.reply.ok();
    Ok(())
}

fn script_kill_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.server.kill_script(Kind::Scripts)?;
    cx.reply.ok();
    Ok(())
}

fn script_debug_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let mode = cx.arg(2);
    if is(mode, "NO") {
        cx.reply.ok();
        return Ok(());
    }
    Err(if is(mode, "YES") || is(mode, "SYNC") { Error::SCRIPT_DEBUG_ABSENT } else { Error::SCRIPT_DEBUG_MODE })
}

fn script_help_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.reply.lines(&[
        "SCRIPT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "DEBUG (YES|SYNC|NO) [<engine>]",
        "    Sets whether scripts are debugged. There is no debugger, so only NO is accepted.",
        "EXISTS <sha1> [<sha1> ...]",
        "    Says for each hash whether the script is known.",
        "FLUSH [ASYNC|SYNC]",
        "    Forgets all scripts, at once or in the background; `lazyfree-lazy-user-flush` is the default.",
        "KILL",
        "    Ends the script that is running.",
        "LOAD <script>",
        "    Compiles a script and keeps it.",
        "SHOW <sha1>",
        "    Returns the text of a script.",
        "HELP",
        "    Prints this help.",
    ]);
    Ok(())
}
