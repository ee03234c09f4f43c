//! Scripts as the server runs them: their commands are executed here, and here is decided how long they may take.
//!
//! ```text
//!   EVAL ──► run_script ──► Engine ──► Ask::Call ──► checks, Server::call ──┐
//!                              ▲                                            │
//!                              └────────────────── its reply ◄──────────────┘
//!   longer than busy-reply-threshold:
//!      the client waits, others are told BUSY; at the end of every turn the script goes on for a slice
//! ```
//!
//! Up to the threshold a script simply runs, and nothing else does. Beyond it the script is *suspended* between slices: it
//! stays in the middle of what it does, on a stack of its own, and the server goes on reading, so that somebody can end the
//! script or the server. Until then no command runs that could see what is half done ([`Armed::BUSY`]). What was queued
//! behind the script by MULTI runs when it is over.
//!
//! What must stay true: at most one script is on its way; the clock by which keys expire stands still from its beginning to
//! its end, and what TIME tells a script until that is suspended, so that one that waits for a moment ends; its client is in the table of clients until then, even if the connection has gone.

use super::client::{ClientFlags, Slot};
use super::exec::Call;
use super::gates::Armed;
use super::message::Order;
use super::permissions::refusal_text;
use super::statistics::Done;
use super::table::Command;
use super::transaction::Queue;
use super::{Server, ServerCx};
use crate::acl::Context;
use crate::command::error::Error;
use crate::command::reply::{Output, Reply, Resp};
use crate::command::spec::Flags;
use crate::script::{
    Answer, Ask, Cache, Compiled, Engine, Kind, Outcome, Run, Script, ScriptFlags, Sha, sha1_hex, shebang,
};
use std::ffi::CStr;
use weir_resp::{Argv, Batch};

/// What errors call a script's text.
const CHUNK_NAME: &CStr = c"@user_script";

/// How long a suspended script runs in one turn, in microseconds: others are answered in between.
const SLICE_US: u64 = 2_000;

/// An engine up to so large is given back at once: that is quicker than to let somebody else know of it.
const FREED_AT_ONCE_BYTES: usize = 256 * 1024;

/// Everything about scripts.
#[derive(Debug, Default)]
pub(super) struct Scripts {
    /// EVAL's engine and that of functions: made when they are first needed.
    engines: [Option<Engine>; 2],
    /// What EVAL runs.
    cache: Cache,
    /// The script that is on its way.
    running: Option<Box<Running>>,
    /// It was suspended in the command that runs.
    just_suspended: bool,
    /// Scripts may call what they otherwise may not (DEBUG SET-DISABLE-DENY-SCRIPTS).
    pub(super) may_call_all: bool,
}

/// How a script is to run.
#[derive(Clone, Copy)]
pub(super) struct ScriptCall<'a> {
    /// In which engine.
    pub(super) kind: Kind,
    /// What.
    pub(super) compiled: Compiled,
    /// What errors call it: its hash, or its name.
    pub(super) name: &'a str,
    /// What it has declared.
    pub(super) flags: ScriptFlags,
    /// Where its keys begin among the arguments.
    pub(super) keys_at: usize,
    /// How many they are.
    pub(super) keys: usize,
}

/// The script that is on its way.
#[derive(Debug)]
struct Running {
    kind: Kind,
    slot: Slot,
    command: &'static Command,
    name: String,
    flags: ScriptFlags,
    /// Memory was short when it began.
    short_of_memory: bool,
    /// It has run a command that writes.
    has_written: bool,
    /// Its client's database, which SELECT changes for the script alone.
    db: usize,
    may_block: bool,
    /// The time by which keys expire for its commands, in microseconds since 1970.
    now_us: i64,
    /// What TIME tells it: the same, and with every slice anew once it is suspended.
    told_us: i64,
    /// When it began, in ticks.
    began: u64,
    /// When the slice began that is on.
    slice_began: u64,
    /// Somebody wants it to end, with this error.
    kill: Option<&'static str>,
    /// Others have been told that it is slow.
    is_slow: bool,
    /// What is needed to answer later, once it is suspended.
    suspended: Option<Box<Suspended>>,
}

/// What is left to do when a suspended script is over.
#[derive(Debug)]
struct Suspended {
    /// The command that ran it.
    batch: Batch,
    request_bytes: usize,
    /// What its client gets before the script's reply.
    so_far: Output,
    /// Its client has asked for no reply.
    silent: bool,
    /// Its connection has gone.
    orphaned: bool,
    /// What EXEC has not run yet.
    rest: Option<Rest>,
}

/// A transaction in the middle.
#[derive(Debug)]
struct Rest {
    queue: Queue,
    next: usize,
    exec: &'static Command,
    exec_began: u64,
    exec_batch: Batch,
}

/// What a script that runs looks like to others.
pub(super) struct RunningFigures<'a> {
    /// In which engine.
    pub(super) kind: Kind,
    /// Its name.
    pub(super) name: &'a str,
    /// How long it has run, in microseconds.
    pub(super) us: u64,
    /// The command that ran it, once it is suspended.
    pub(super) argv: Option<Argv<'a>>,
}

impl Scripts {
    /// The engine of a kind, if it has been needed yet.
    pub(super) fn engine(&mut self, kind: Kind) -> Option<&mut Engine> {
        self.engines.get_mut(kind as usize)?.as_mut()
    }

    /// Bytes that the values of an engine take.
    pub(super) fn engine_bytes(&self, kind: Kind) -> usize {
        self.engines.get(kind as usize).and_then(Option::as_ref).map_or(0, Engine::used_memory)
    }

    /// Scripts that are kept.
    pub(super) fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Whether a script is on its way.
    #[inline]
    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Whether a script is on its way, and others are served meanwhile.
    #[inline]
    pub(super) fn is_suspended(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.suspended.is_some())
    }

    /// Whether the command that just ran has left a script suspended. It will be answered later.
    #[inline]
    pub(super) fn just_suspended(&self) -> bool {
        self.just_suspended
    }

    /// What TIME tells the script that runs.
    pub(super) fn told_us(&self) -> Option<i64> {
        self.running.as_ref().map(|running| running.told_us)
    }
}

impl Server {
    /// The engine of a kind; makes it if there is none.
    pub(super) fn engine(&mut self, kind: Kind) -> &mut Engine {
        let limit = script_memory_max(self.config.script_memory_limit);
        let seed = self.store.random_u64();
        let engine = self.scripts.engines.get_mut(kind as usize).expect("there is a place for each kind");
        engine.get_or_insert_with(|| Engine::new(kind, limit, seed))
    }

    /// Takes the limit over from the configuration.
    pub(super) fn configure_scripts(&mut self) {
        let limit = script_memory_max(self.config.script_memory_limit);
        for engine in self.scripts.engines.iter_mut().flatten() {
            engine.set_memory_max(limit);
        }
    }

    /// Compiles a script and keeps it, unless it is kept already. `evaluated`: for EVAL, not SCRIPT LOAD.
    pub(super) fn load_script(&mut self, sha: Sha, text: &[u8], evaluated: bool) -> Result<(), Error> {
        let there = if evaluated { self.scripts.cache.get(&sha).is_some() } else { self.scripts.cache.keep(&sha) };
        if there {
            return Ok(());
        }
        let (flags, body) = shebang::read(text).map_err(|why| Error::of_bytes([b"ERR ", &*why].concat()))?;
        let engine = self.engine(Kind::Scripts);
        let compiled = engine.compile(body, CHUNK_NAME).map_err(|why| Error::script_does_not_compile(&why))?;
        let script = Script { compiled, text: text.into(), flags };
        if let Some(evicted) = self.scripts.cache.insert(sha, script, evaluated) {
            self.stats.counters.evicted_scripts += 1;
            self.engine(Kind::Scripts).forget(evicted.compiled);
        }
        Ok(())
    }

    /// A script that is kept and about to run: what runs, and what it declared.
    pub(super) fn script_to_run(&mut self, sha: &Sha) -> Option<(Compiled, ScriptFlags)> {
        self.scripts.cache.run(sha).map(|script| (script.compiled, script.flags))
    }

    /// The text of a script that is kept.
    pub(super) fn script_text(&self, sha: &Sha) -> Option<&[u8]> {
        self.scripts.cache.get(sha).map(|script| &*script.text)
    }

    /// SCRIPT FLUSH: forgets all scripts, and with them the engine that they are compiled in. Its memory is given back at
    /// once or by somebody else.
    pub(super) fn flush_scripts(&mut self, at_once: bool) {
        self.scripts.cache = Cache::default();
        let Some(engine) = self.scripts.engines.get_mut(Kind::Scripts as usize).and_then(Option::take) else { return };
        if !at_once && engine.used_memory() > FREED_AT_ONCE_BYTES {
            self.background.drop_elsewhere(Box::new(engine));
        }
    }

    /// What a script that is called declares, as flags of the command that calls it: what gates ask for.
    pub(super) fn flags_of_script(&self, command: &Command, argv: Argv<'_>) -> Flags {
        let flags = command.flags();
        let declared = if flags.contains(Flags::BY_HASH) {
            lower_sha(argv.at(1)).and_then(|sha| self.scripts.cache.get(&sha)).map(|script| script.flags)
        } else if flags.contains(Flags::BY_FUNCTION) {
            self.functions.find(argv.at(1)).map(|function| function.registered.flags)
        } else {
            shebang::read(argv.at(1)).ok().map(|(flags, _)| flags)
        };
        declared.map_or(flags, |declared| command_flags(flags, declared))
    }

    /// Runs a script for the client that has called `cx.command`. Its reply is written, or will be when it is over.
    pub(super) fn run_script(&mut self, cx: Caller<'_>, call: ScriptCall<'_>, out: &mut Output) -> Result<(), Error> {
        let Caller { slot, command, argv } = cx;
        let Some(client) = self.clients.get(slot) else { return Ok(()) };
        let declared = !call.flags.contains(ScriptFlags::UNDECLARED);
        if declared && !call.flags.intersects(ScriptFlags::NO_WRITES | ScriptFlags::ALLOW_OOM) && self.out_of_memory() {
            return Err(Error::SCRIPT_OOM);
        }
        let (db, resp) = (client.db, client.resp);
        if declared
            && !call.flags.contains(ScriptFlags::NO_WRITES)
            && let Some(refusal) = self.write_refusal()
        {
            return Err(refusal);
        }
        let began = self.stats.now();
        let now_us = (self.facts.wall_clock_us)();
        self.scripts.running = Some(Box::new(Running {
            kind: call.kind,
            slot,
            command,
            name: call.name.to_owned(),
            flags: call.flags,
            short_of_memory: self.out_of_memory(),
            has_written: false,
            db,
            may_block: std::mem::replace(&mut self.effects.may_block, false),
            now_us,
            told_us: now_us,
            began,
            slice_began: began,
            kill: None,
            is_slow: false,
            suspended: None,
        }));
        let run = Run { function: call.compiled, name: call.name, argv, keys_at: call.keys_at, keys: call.keys, resp };
        self.effects.in_script = true;
        let ask = self.engine(call.kind).start(run);
        let ended = self.drive_script(ask);
        self.effects.in_script = false;
        match ended {
            Some(outcome) => self.end_script(outcome, out),
            None => {
                self.suspend_script(argv);
                self.effects.may_block = true;
                Ok(())
            }
        }
    }

    /// Does what a script asks for until it is over, or has run long enough for now.
    fn drive_script(&mut self, mut ask: Ask) -> Option<Outcome> {
        loop {
            let answer = match ask {
                Ask::Done(outcome) => return Some(outcome),
                Ask::Call(resp) => {
                    self.call_from_script(resp);
                    Answer::Go
                }
                Ask::MayCall => {
                    self.ask_from_script();
                    Answer::Go
                }
                Ask::Slice => self.script_slice()?,
            };
            ask = self.resume_script(answer);
        }
    }

    fn resume_script(&mut self, answer: Answer) -> Ask {
        let kind = self.scripts.running.as_ref().map_or(Kind::Scripts, |running| running.kind);
        self.scripts.engine(kind).expect("a script on its way has an engine").resume(answer)
    }

    /// A script has run for a while. What it is told; `None` if others are to be served first.
    #[inline]
    fn script_slice(&mut self) -> Option<Answer> {
        let now = self.stats.now();
        let threshold_ms = self.config.busy_reply_threshold;
        let running = self.scripts.running.as_mut()?;
        if let Some(error) = running.kill {
            return Some(Answer::Die(error));
        }
        let us = |since: u64| self.stats.ticks.elapsed_ns(since, now) / 1000;
        if threshold_ms == 0 || us(running.began) < threshold_ms.saturating_mul(1000) {
            return Some(Answer::Go);
        }
        if !running.is_slow {
            running.is_slow = true;
            let how = if running.kind == Kind::Scripts { "SCRIPT KILL" } else { "FUNCTION KILL" };
            tracing::warn!(
                "Slow script detected: still in execution after {threshold_ms} milliseconds. It can be ended with {how}. \
                 Its name is: {}",
                running.name
            );
            return None;
        }
        (us(running.slice_began) < SLICE_US).then_some(Answer::Go)
    }

    /// Executes the command that a script asks for.
    fn call_from_script(&mut self, resp: Resp) {
        let Some((kind, slot)) = self.scripts.running.as_ref().map(|running| (running.kind, running.slot)) else {
            return;
        };
        let Some(engine) = self.scripts.engine(kind) else { return };
        let batch = std::mem::take(engine.batch());
        let mut out = Output::reusing(std::mem::take(engine.answer()).into_parts().0);
        let argv = batch.command(0);
        let db = self.clients.get(slot).map_or(0, |client| client.db);
        match self.admit_from_script(slot, argv) {
            Ok(command) => {
                let call = Call { slot, db, resp, command, argv, key: None };
                // An error is in the reply.
                let _ = self.call(call, batch.command_bytes(0), &mut out);
            }
            Err((command, error)) => {
                self.stats.command_rejected(command.map(|command| command.id), &error);
                Reply::new(&mut out, resp).error(&error);
            }
        }
        if let Some(engine) = self.scripts.engine(kind) {
            *engine.batch() = batch;
            *engine.answer() = out;
        }
    }

    /// Which command a script means, and whether it may run: what gates ask a client's commands, scripts are asked here,
    /// with texts of their own.
    fn admit_from_script(
        &mut self,
        slot: Slot,
        argv: Argv<'_>,
    ) -> Result<&'static Command, (Option<&'static Command>, Error)> {
        let found = self.names.find(argv.name());
        let command = match found.map(|command| command.resolve(argv.get(1))) {
            Some(Ok(command)) => command,
            _ => return Err((None, Error::SCRIPT_UNKNOWN_COMMAND)),
        };
        let refuse = |error| Err((Some(command), error));
        if !command.spec.arity_fits(argv.len()) {
            return refuse(Error::SCRIPT_ARITY);
        }
        let flags = command.flags();
        let nests = Flags::RUNS_SCRIPT | Flags::RUNS_QUEUED | Flags::NOT_QUEUED;
        if flags.contains(Flags::NOSCRIPT) && (!self.scripts.may_call_all || flags.intersects(nests)) {
            return refuse(Error::SCRIPT_NOT_ALLOWED);
        }
        let (user, db) = (self.user_of(slot), self.clients.get(slot).map_or(0, |client| client.db));
        if let Err(denied) = self.acl_check(user, command, argv, db) {
            let error = Error::script_denied(&refusal_text(self.users.get(user), command, &denied));
            let running = self.scripts.running.as_ref().map(|running| (running.command, argv.payload_bytes()));
            self.note_denied(slot, running, Context::Lua, command, argv, &denied);
            return refuse(error);
        }
        if flags.contains(Flags::WRITE)
            && let Some(refusal) = self.write_refusal()
        {
            return refuse(refusal);
        }
        let Some(running) = self.scripts.running.as_mut() else { return Ok(command) };
        let writes = flags.contains(Flags::WRITE);
        let changes = flags.intersects(Flags::WRITE | Flags::MAY_REPLICATE);
        if changes && running.flags.contains(ScriptFlags::NO_WRITES) {
            return refuse(Error::SCRIPT_READ_ONLY);
        }
        // In the middle of what it writes it cannot be stopped for want of memory.
        if running.short_of_memory
            && flags.contains(Flags::DENYOOM)
            && !running.has_written
            && !running.flags.contains(ScriptFlags::ALLOW_OOM)
        {
            return refuse(Error::OOM);
        }
        running.has_written |= writes;
        Ok(command)
    }

    /// Answers `redis.acl_check_cmd`.
    fn ask_from_script(&mut self) {
        let Some((kind, slot)) = self.scripts.running.as_ref().map(|running| (running.kind, running.slot)) else {
            return;
        };
        let Some(engine) = self.scripts.engine(kind) else { return };
        let batch = std::mem::take(engine.batch());
        let argv = batch.command(0);
        let found = self.names.find(argv.name()).map(|command| command.resolve(argv.get(1)));
        let mut out = Output::default();
        let mut reply = Reply::new(&mut out, Resp::V2);
        match found {
            Some(Ok(command)) => {
                let (user, db) = (self.user_of(slot), self.clients.get(slot).map_or(0, |client| client.db));
                reply.int(i64::from(self.acl_check(user, command, argv, db).is_ok()));
            }
            _ => reply.error(&Error::SCRIPT_ACL_CHECK),
        }
        if let Some(engine) = self.scripts.engine(kind) {
            *engine.batch() = batch;
            *engine.answer() = out;
        }
    }

    /// A script is over: what it has left in the engine becomes the reply.
    fn end_script(&mut self, outcome: Outcome, out: &mut Output) -> Result<(), Error> {
        let Some(running) = self.scripts.running.take() else { return Ok(()) };
        self.effects.may_block = running.may_block;
        if let Some(client) = self.clients.get_mut(running.slot) {
            client.db = running.db;
        }
        let Some(engine) = self.scripts.engine(running.kind) else { return Ok(()) };
        match outcome {
            Outcome::Value => {
                out.bytes_mut().extend_from_slice(engine.reply().bytes());
                Ok(())
            }
            Outcome::Error { counted } => {
                let text = engine.reply().bytes();
                let text = text.strip_prefix(b"-").unwrap_or(text);
                let error = Error::of_bytes(text.strip_suffix(b"\r\n").unwrap_or(text).to_vec());
                Err(if counted { error.counted() } else { error })
            }
        }
    }

    /// A script takes long: its client waits, and others are told so.
    fn suspend_script(&mut self, argv: Argv<'_>) {
        let mut batch = Batch::new();
        if batch.push_command(argv.iter()).is_err() {
            unreachable!("a command that came in one batch fits into another");
        }
        let Some(running) = self.scripts.running.as_mut() else { return };
        let silent = self.clients.get_mut(running.slot).is_some_and(|client| {
            client.flags.insert(ClientFlags::BLOCKED);
            client.flags.intersects(ClientFlags::REPLY_OFF | ClientFlags::REPLY_SKIP)
        });
        let request_bytes = batch.command_bytes(0);
        running.suspended = Some(Box::new(Suspended {
            batch,
            request_bytes,
            so_far: Output::default(),
            silent,
            orphaned: false,
            rest: None,
        }));
        self.scripts.just_suspended = true;
        self.armed.insert(Armed::BUSY);
    }

    /// The command that left a script suspended has been looked after.
    pub(super) fn suspension_noted(&mut self) {
        self.scripts.just_suspended = false;
    }

    /// EXEC was interrupted by the script of one of its commands: it goes on with the command at `next` when that is over.
    pub(super) fn keep_rest(&mut self, queue: Queue, next: usize, exec: Caller<'_>, exec_began: u64) {
        let mut exec_batch = Batch::new();
        if exec_batch.push_command(exec.argv.iter()).is_err() {
            unreachable!("a command that came in one batch fits into another");
        }
        if let Some(suspended) = self.scripts.running.as_mut().and_then(|running| running.suspended.as_mut()) {
            suspended.rest = Some(Rest { queue, next, exec: exec.command, exec_began, exec_batch });
        }
    }

    /// At the end of every turn: a suspended script goes on.
    pub(super) fn go_on_with_script(&mut self) {
        let Some(running) = self.scripts.running.as_mut().filter(|running| running.suspended.is_some()) else { return };
        running.slice_began = self.stats.now();
        running.told_us = (self.facts.wall_clock_us)();
        let real_ms = self.store.now_ms();
        let frozen_ms = running.now_us / 1000;
        self.store.set_now(frozen_ms);
        let may_block = std::mem::replace(&mut self.effects.may_block, false);
        self.effects.in_script = true;
        let ask = self.resume_script(Answer::Go);
        let ended = self.drive_script(ask);
        self.effects.in_script = false;
        self.effects.may_block = may_block;
        self.store.set_now(real_ms);
        if let Some(outcome) = ended {
            self.end_suspended(outcome);
        }
    }

    /// A script that was suspended is over: answers its client, and goes on with the transaction that it was part of.
    fn end_suspended(&mut self, outcome: Outcome) {
        let Some(suspended) = self.scripts.running.as_mut().and_then(|running| running.suspended.take()) else {
            return;
        };
        let (slot, command, began) = match self.scripts.running.as_ref() {
            Some(running) => (running.slot, running.command, running.began),
            None => return,
        };
        self.armed.remove(Armed::BUSY);
        let Suspended { batch, request_bytes, so_far: mut out, silent, orphaned, rest } = *suspended;
        let out_before = out.len();
        let result = self.end_script(outcome, &mut out);
        // Whoever suspended it may wait, as clients do between commands.
        self.effects.may_block = true;
        let resp = self.clients.get(slot).map_or(Resp::V2, |client| client.resp);
        if let Err(error) = &result {
            Reply::new(&mut out, resp).error(error);
        }
        let reply_bytes = out.len() - out_before;
        self.finish_late(slot, command, began, &batch, request_bytes, reply_bytes, result.as_ref().err());
        if let Some(rest) = rest {
            let Rest { queue, next, exec, exec_began, exec_batch } = rest;
            let caller = Caller { slot, command: exec, argv: exec_batch.command(0) };
            let interrupted = self.call_queued(caller, queue, next, exec_began, &mut out);
            if interrupted {
                // Another script of the same transaction.
                self.suspension_noted();
                if let Some(again) = self.scripts.running.as_mut().and_then(|running| running.suspended.as_mut()) {
                    (again.silent, again.orphaned, again.so_far) = (silent, orphaned, out);
                }
                return;
            }
            self.end_transaction(slot);
            let bytes = exec_batch.command_bytes(0);
            self.finish_late(slot, exec, exec_began, &exec_batch, bytes, out.len(), None);
        }
        self.end_unit();
        self.serve_waiters();
        let Some(client) = self.clients.get_mut(slot) else { return };
        client.flags.remove(ClientFlags::BLOCKED);
        client.active_ms = self.store.now_ms();
        client.heard_ms = client.active_ms;
        let id = client.id;
        if orphaned {
            self.disconnect(slot);
            return;
        }
        self.outbox.order(Order::Answer(id, if silent { Output::default() } else { out }));
    }

    /// What follows from a command that was answered later than it ran.
    #[expect(clippy::too_many_arguments, reason = "they are what is known of one call")]
    fn finish_late(
        &mut self,
        slot: Slot,
        command: &'static Command,
        began: u64,
        batch: &Batch,
        request_bytes: usize,
        reply_bytes: usize,
        error: Option<&Error>,
    ) {
        let ticks = self.stats.now().wrapping_sub(began);
        let done = Done { command: command.id, ticks, request_bytes, reply_bytes, error };
        if self.stats.command_done(&done) {
            self.log_command(slot, command, batch.command(0), &done);
        }
        let db = self.clients.get(slot).map_or(0, |client| client.db);
        self.propagate(slot, db, batch.command(0));
        if let Some(client) = self.clients.get_mut(slot) {
            client.last_command = Some(command);
            client.commands += 1;
        }
    }

    /// A connection has gone. Says whether its client has to stay because its script is on its way.
    pub(super) fn orphan_script(&mut self, slot: Slot) -> bool {
        let Some(running) = self.scripts.running.as_mut().filter(|running| running.slot == slot) else { return false };
        let Some(suspended) = running.suspended.as_mut() else { return false };
        suspended.orphaned = true;
        if let Some(client) = self.clients.get_mut(slot) {
            client.flags.insert(ClientFlags::KILLED);
        }
        true
    }

    /// SCRIPT KILL and FUNCTION KILL: the script that runs is to end.
    pub(super) fn kill_script(&mut self, kind: Kind) -> Result<(), Error> {
        let Some(running) = self.scripts.running.as_mut().filter(|running| running.suspended.is_some()) else {
            return Err(Error::SCRIPT_NOT_BUSY);
        };
        if running.has_written {
            return Err(Error::SCRIPT_UNKILLABLE);
        }
        if running.kind != kind {
            return Err(busy_error(running.kind));
        }
        running.kill = Some(match kind {
            Kind::Scripts => "Script killed by user with SCRIPT KILL.",
            Kind::Functions => "Script killed by user with FUNCTION KILL.",
        });
        Ok(())
    }

    /// The script that is on its way.
    pub(super) fn running_script(&self) -> Option<RunningFigures<'_>> {
        let running = self.scripts.running.as_ref()?;
        let us = self.stats.ticks.elapsed_ns(running.began, self.stats.now()) / 1000;
        let argv = running.suspended.as_ref().map(|suspended| suspended.batch.command(0));
        Some(RunningFigures { kind: running.kind, name: &running.name, us, argv })
    }

    /// Gives an engine up: at once, or on another thread. What was compiled in it is gone.
    pub(super) fn drop_engine(&mut self, kind: Kind, at_once: bool) {
        let engine = self.scripts.engines.get_mut(kind as usize).and_then(Option::take);
        if let Some(engine) = engine.filter(|_| !at_once) {
            self.background.drop_elsewhere(Box::new(engine));
        }
    }

    /// What others are told while a script is suspended.
    pub(super) fn busy_script(&self) -> Option<Error> {
        let running = self.scripts.running.as_ref()?;
        running.suspended.is_some().then(|| busy_error(running.kind))
    }
}

/// Who runs a script.
#[derive(Clone, Copy)]
pub(super) struct Caller<'a> {
    /// The client.
    pub(super) slot: Slot,
    /// The command.
    pub(super) command: &'static Command,
    /// Its name and arguments.
    pub(super) argv: Argv<'a>,
}

impl<'a> Caller<'a> {
    /// That of a command.
    pub(super) fn of(cx: &ServerCx<'a>) -> Caller<'a> {
        Caller { slot: cx.slot, command: cx.command, argv: cx.argv }
    }
}

fn busy_error(kind: Kind) -> Error {
    match kind {
        Kind::Scripts => Error::BUSY_SCRIPT,
        Kind::Functions => Error::BUSY_FUNCTION,
    }
}

/// What a script has declared, as flags of the command that runs it.
pub(super) fn command_flags(flags: Flags, declared: ScriptFlags) -> Flags {
    if declared.contains(ScriptFlags::UNDECLARED) {
        return flags;
    }
    let mut flags = flags - (Flags::STALE | Flags::DENYOOM | Flags::WRITE | Flags::MAY_REPLICATE);
    if !declared.contains(ScriptFlags::NO_WRITES) {
        flags |= Flags::WRITE;
        if !declared.contains(ScriptFlags::ALLOW_OOM) {
            flags |= Flags::DENYOOM;
        }
    }
    flags.set(Flags::STALE, declared.contains(ScriptFlags::ALLOW_STALE));
    flags
}

/// A hash as it is kept; `None` if the argument is none.
pub(super) fn lower_sha(argument: &[u8]) -> Option<Sha> {
    let mut sha: Sha = argument.try_into().ok()?;
    sha.make_ascii_lowercase();
    Some(sha)
}

/// The hash of a script.
pub(super) fn sha_of(text: &[u8]) -> Sha {
    sha1_hex(text)
}

fn script_memory_max(limit: u64) -> usize {
    match limit {
        0 => usize::MAX,
        limit => usize::try_from(limit).unwrap_or(usize::MAX),
    }
}
