//! Execution: from batches of arguments to replies.
//!
//! Commands are taken in windows over all jobs of a turn. First every command of the window is looked up, its first key
//! hashed and the bucket where that key would be requested from memory; then the entries; then the commands run, in
//! order, on memory that is there. With one command a client this works across clients, with pipelines inside them.

use super::client::{ClientFlags, Slot};
use super::gates::{self, Armed, Verdict};
use super::message::{Job, JobState};
use super::running::Frame;
use super::scripting::Caller;
use super::statistics::Done;
use super::table::{Command, Missing, Run};
use super::transaction::Queue;
use super::{Server, ServerCx, redact};
use crate::command::blocking::Block;
use crate::command::cx::Cx;
use crate::command::error::Error;
use crate::command::reply::{Mark, Output, Reply, Resp};
use crate::command::spec::{Flags, Group};
use crate::stats::LogKind;
use crate::store::{Key, MemberAhead};
use weir_resp::Argv;

/// Commands that are prepared together: enough to hide a memory access behind others, few enough to stay in the first
/// cache.
const WINDOW: usize = 64;

/// No other command begins after so many microseconds: what is left is for the next turn, so that everybody else has theirs.
const RUN_US: u64 = 500;

/// A command of the window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Planned {
    job: usize,
    index: usize,
    command: Option<&'static Command>,
    /// Database and position of its first key, where it has one.
    key: Option<(usize, u64)>,
}

/// One run of a command.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    /// For whom.
    pub(super) slot: Slot,
    /// On which database.
    pub(super) db: usize,
    /// In which protocol the reply is written.
    pub(super) resp: Resp,
    /// The command.
    pub(super) command: &'static Command,
    /// Its name and arguments.
    pub(super) argv: Argv<'a>,
    /// Database and position of its first key, if they are known.
    pub(super) key: Option<(usize, u64)>,
}

impl Server {
    /// Executes jobs, in order, until each is done or has to wait, or time is over. The store's time must have been set for this
    /// turn.
    pub fn run(&mut self, jobs: &mut [Job]) {
        let now_ms = self.store.now_ms();
        for job in &mut *jobs {
            if let Some(client) = self.clients.get_mut(job.slot) {
                client.active_ms = now_ms;
                client.heard_ms = now_ms;
                client.flags.remove(ClientFlags::PAUSED | ClientFlags::UNFINISHED);
            }
            self.begin_running(job.slot);
        }
        let mut plan = std::mem::take(&mut self.plan);
        let (mut at_job, mut at_command) = (0, jobs.first().map_or(0, |j| j.next));
        let mut reached = usize::MAX;
        let enough = self.stats.now().saturating_add(self.stats.ticks_of_us(RUN_US));
        'run: loop {
            plan.clear();
            let names_members = self.plan_window(jobs, &mut at_job, &mut at_command, &mut plan);
            if plan.is_empty() {
                break;
            }
            for planned in &plan {
                if let Some((db, position)) = planned.key {
                    self.store.prefetch_entry(db, position);
                }
            }
            // For a single command that would not be earlier than the command itself.
            if names_members && plan.len() > 1 {
                self.prefetch_members(jobs, &plan);
            }
            let mut began = self.stats.now();
            for planned in &plan {
                let job = &mut jobs[planned.job];
                if job.state == JobState::Ready {
                    if self.outbox.is_full() {
                        job.state = JobState::Full;
                    } else {
                        self.step(job, *planned, &mut began);
                        if began >= enough {
                            reached = planned.job;
                            break 'run;
                        }
                    }
                }
            }
        }
        self.plan = plan;
        for (at, job) in jobs.iter_mut().enumerate() {
            self.finish(job, at <= reached);
        }
        self.running_subscribers.clear();
        self.settle();
    }

    /// Looks up the next commands and requests the buckets of their keys. Says whether any of them names a member of the
    /// collection at its key.
    fn plan_window(&self, jobs: &[Job], at_job: &mut usize, at_command: &mut usize, plan: &mut Vec<Planned>) -> bool {
        let mut last: (&[u8], Option<&'static Command>) = (b"", None);
        let mut names_members = false;
        while let Some(job) = jobs.get(*at_job) {
            let db = self.clients.get(job.slot).map_or(0, |c| c.db);
            while *at_command < job.batch.len() && job.state == JobState::Ready {
                if plan.len() == WINDOW {
                    return names_members;
                }
                let argv = job.batch.command(*at_command);
                let name = argv.name();
                if name != last.0 {
                    last = (name, self.names.find(name));
                    names_members |= last.1.is_some_and(|command| command.spec.member_at.is_some());
                }
                let command = last.1;
                let mut key = None;
                if let Some(at) = command.and_then(|c| c.first_key_at)
                    && let Some(name) = argv.get(usize::from(at))
                {
                    let position = self.store.key(name).position;
                    self.store.prefetch_bucket(db, position);
                    key = Some((db, position));
                }
                plan.push(Planned { job: *at_job, index: *at_command, command, key });
                *at_command += 1;
            }
            *at_job += 1;
            *at_command = jobs.get(*at_job).map_or(0, |j| j.next);
        }
        names_members
    }

    /// Requests the members that the commands of a window speak of: first where they would be, then themselves.
    fn prefetch_members(&self, jobs: &[Job], plan: &[Planned]) {
        let ahead = |planned: &Planned| {
            let (command, (db, position)) = (planned.command?, planned.key?);
            let argv = jobs.get(planned.job)?.batch.command(planned.index);
            let member = argv.get(usize::from(command.spec.member_at?))?;
            let name = argv.get(usize::from(command.first_key_at?))?;
            self.store.prefetch_member_bucket(db, Key { name, position }, member)
        };
        let mut members = [None; WINDOW];
        for (member, planned) in members.iter_mut().zip(plan) {
            *member = ahead(planned);
        }
        members.into_iter().flatten().for_each(MemberAhead::prefetch);
    }

    /// Runs one command and does what follows from it.
    #[inline]
    fn step(&mut self, job: &mut Job, planned: Planned, began: &mut u64) {
        let Job { slot, batch, out, .. } = job;
        let slot = *slot;
        let argv = batch.command(planned.index);
        if self.mind_memory() {
            // Clients that keep copies hear of it in front of the reply. The time that it took is not the command's.
            self.feed_departures();
            self.tell_changes(None);
            *began = self.stats.now();
        }
        let Some(client) = self.clients.get_mut(slot) else {
            job.state = JobState::CloseAfterReply;
            return;
        };
        if client.flags.contains(ClientFlags::OBSERVES) && !self.bring_up(slot) {
            self.leave_behind(job, began);
            return;
        }
        let Some(client) = self.clients.get_mut(slot) else { return };
        if client.flags.contains(ClientFlags::PUSHED) {
            client.take_pushes(out);
        }
        let (mark, out_before) = (out.mark(), out.len());
        let (resp, db, armed, flags) = (client.resp, client.db, client.armed | self.armed, client.flags);
        if flags.contains(ClientFlags::KILLED) || self.shutdown.is_some() {
            job.state = JobState::CloseAfterReply;
            return;
        }
        let command = match self.admit(slot, planned, argv, armed) {
            Admitted::Run(command) => command,
            turned_away => {
                self.turn_away(turned_away, job, planned);
                *began = self.stats.now();
                return;
            }
        };
        if flags.intersects(SPECIAL) {
            self.before_special(slot);
        }
        let result = self.invoke(Call { slot, db, resp, command, argv, key: planned.key }, out);
        if self.scripts.just_suspended() {
            self.leave_suspended(slot, command, job, planned.index, mark);
            *began = self.stats.now();
            return;
        }
        let now = self.stats.now();
        if let Some(block) = self.effects.block.take() {
            let ticks = now.wrapping_sub(*began);
            *began = now;
            self.begin_waiting(slot, command, job, planned, *block, ticks);
            return;
        }
        let done = Done {
            command: command.id,
            ticks: now.wrapping_sub(*began),
            request_bytes: batch.command_bytes(planned.index),
            reply_bytes: out.len() - out_before,
            error: result.as_ref().err(),
        };
        *began = now;
        self.count_hot_keys(command, argv, done.ticks, done.request_bytes + done.reply_bytes);
        if self.stats.command_done(&done) {
            self.log_command(slot, command, argv, &done);
        }
        self.propagate(slot, db, argv);
        self.end_unit();
        if flags.contains(ClientFlags::REMEMBERS) {
            self.remember_keys(slot, command, argv, planned.key);
        }
        if !self.waiters.is_empty() {
            self.serve_waiters();
        }
        if !self.clients.monitors.is_empty() {
            self.feed_monitors(slot, command, argv);
        }
        if let Some(client) = self.clients.get_mut(slot) {
            client.last_command = Some(command);
            client.commands += 1;
        }
        if flags.intersects(SPECIAL) || matches!(command.run, Run::Server(_)) {
            self.after_special(slot, Some(command), job, mark);
        }
        self.advance(job, planned);
    }

    /// A client is to be told so much before its next command that the command waits for the next turn.
    #[cold]
    fn leave_behind(&mut self, job: &mut Job, began: &mut u64) {
        job.state = JobState::Unfinished;
        if let Some(client) = self.clients.get_mut(job.slot) {
            client.flags.insert(ClientFlags::UNFINISHED);
        }
        *began = self.stats.now();
    }

    /// Does with a command that is not run now what the gates have decided.
    #[inline(never)]
    fn turn_away(&mut self, admitted: Admitted, job: &mut Job, planned: Planned) {
        let slot = job.slot;
        let Some(client) = self.clients.get(slot) else {
            job.state = JobState::CloseAfterReply;
            return;
        };
        let (resp, in_multi, special) =
            (client.resp, client.armed.contains(Armed::MULTI), client.flags.intersects(SPECIAL));
        let mark = job.out.mark();
        match admitted {
            Admitted::Run(_) => unreachable!("it is run"),
            Admitted::Hang => job.state = JobState::CloseAfterReply,
            Admitted::Hold => job.state = JobState::Paused,
            Admitted::Refuse(command, error) => {
                if special {
                    self.before_special(slot);
                }
                let runs_queued = command.is_some_and(|command| command.flags().contains(Flags::RUNS_QUEUED));
                let error = if in_multi || runs_queued { self.refuse_queued(slot, command, error) } else { error };
                self.stats.command_rejected(command.map(|c| c.id), &error);
                Reply::new(&mut job.out, resp).error(&error);
                self.after_special(slot, command, job, mark);
                self.advance(job, planned);
            }
            Admitted::Queue(command) => {
                if special {
                    self.before_special(slot);
                }
                self.queue(slot, command, job.batch.command(planned.index));
                if let Some(client) = self.clients.get_mut(slot) {
                    client.last_command = Some(command);
                }
                Reply::new(&mut job.out, resp).simple("QUEUED");
                if special {
                    self.after_special(slot, Some(command), job, mark);
                }
                self.advance(job, planned);
            }
        }
    }

    /// A job's command is done.
    #[inline]
    fn advance(&mut self, job: &mut Job, planned: Planned) {
        job.next = planned.index + 1;
        if job.out.len() >= job.out_bytes_max {
            self.stop_full(job);
        }
    }

    /// As many bytes of replies wait as may.
    #[cold]
    fn stop_full(&mut self, job: &mut Job) {
        if job.ends_at_max {
            // The network ends the connection; until then nobody is to see it any more.
            if let Some(client) = self.clients.get_mut(job.slot) {
                client.flags.insert(ClientFlags::KILLED);
            }
            self.forget_weight(job.slot);
            if job.state == JobState::Ready {
                job.state = JobState::CloseAfterReply;
            }
        } else if job.state == JobState::Ready && job.next < job.batch.len() {
            job.state = JobState::Full;
        }
    }

    /// Runs a command that may run. An error is written as its reply as well.
    #[inline(always)]
    fn invoke(&mut self, call: Call<'_>, out: &mut Output) -> Result<(), Error> {
        let Call { slot, db, resp, command, argv, key } = call;
        let mark = out.mark();
        let frame = Frame::new(command, argv, db, slot, &self.clients);
        frame.enter();
        let result = match command.run {
            Run::Data(run) => {
                let at = usize::from(command.first_key_at.unwrap_or_default());
                run(&mut Cx {
                    store: &mut self.store,
                    db_index: db,
                    argv,
                    first_key: key.map(|(_, position)| (at, position)),
                    reply: Reply::new(out, resp),
                    effects: &mut self.effects,
                    config: &self.config,
                })
            }
            Run::Server(run) => {
                let reply = Reply::new(out, resp);
                run(&mut ServerCx { server: self, slot, command, argv, reply })
            }
            Run::Nothing => Err(Error::arity(command.full_name)),
        };
        frame.leave();
        if let Err(error) = &result {
            out.truncate(mark);
            let resp = self.clients.get(slot).map_or(resp, |c| c.resp);
            Reply::new(out, resp).error(error);
        }
        result
    }

    /// Runs a command inside another one that is running (EXEC, a script), which has asked the gates. It is counted, logged
    /// and propagated like any other; who waits for what it made is served when the outer command is over.
    pub(super) fn call(&mut self, call: Call<'_>, request_bytes: usize, out: &mut Output) -> Result<(), Error> {
        let Call { slot, command, argv, .. } = call;
        let (began, out_before) = (self.stats.now(), out.len());
        let result = self.invoke(call, out);
        if self.scripts.just_suspended() {
            // It is counted when it is over.
            return result;
        }
        let done = Done {
            command: command.id,
            ticks: self.stats.now().wrapping_sub(began),
            request_bytes,
            reply_bytes: out.len() - out_before,
            error: result.as_ref().err(),
        };
        if self.stats.command_done(&done) {
            self.log_command(slot, command, argv, &done);
        }
        self.propagate(slot, call.db, argv);
        if self.clients.get(slot).is_some_and(|client| client.flags.contains(ClientFlags::REMEMBERS)) {
            self.remember_keys(slot, command, argv, call.key);
        }
        if !self.clients.monitors.is_empty() {
            self.feed_monitors(slot, command, argv);
        }
        result
    }

    /// Runs a command of a record that is repeated: no gate is asked, nobody is told, nothing is counted.
    pub(super) fn repeat(&mut self, slot: Slot, argv: Argv<'_>) -> Repeated {
        let found = self.names.find(argv.name()).or_else(|| super::table::find(argv.name()));
        let Some(Ok(command)) = found.map(|command| command.resolve(argv.get(1))) else { return Repeated::Unknown };
        if !command.spec.arity_fits(argv.len()) {
            return Repeated::Impossible(Error::arity(command.full_name));
        }
        if !is_repeatable(command) {
            return Repeated::Refused(Error::NOT_REPEATED);
        }
        let db = self.clients.get(slot).map_or(0, |client| client.db);
        let may_block = std::mem::replace(&mut self.effects.may_block, false);
        let mut out = Output::default();
        let result = self.invoke(Call { slot, db, resp: Resp::V2, command, argv, key: None }, &mut out);
        self.effects.may_block = may_block;
        self.note_layer_changes();
        self.effects.clear();
        if self.scripts.just_suspended() {
            self.suspension_noted();
            self.effects.may_block = true;
            return Repeated::GoesOn;
        }
        match result {
            Ok(()) => Repeated::Done,
            Err(error) => Repeated::Refused(error),
        }
    }

    /// Runs what a client has queued, from the command at `from` on, one reply after the other. Nothing waits for data here.
    /// Returns whether a script has interrupted it; then the rest runs when that is over.
    pub(super) fn call_queued(
        &mut self,
        exec: Caller<'_>,
        queue: Queue,
        from: usize,
        exec_began: u64,
        out: &mut Output,
    ) -> bool {
        let slot = exec.slot;
        let may_block = std::mem::replace(&mut self.effects.may_block, false);
        let mut interrupted = None;
        for (index, (command, argv, request_bytes)) in queue.iter().enumerate().skip(from) {
            let Some(client) = self.clients.get_mut(slot) else { break };
            client.commands += 1;
            let call = Call { slot, db: client.db, resp: client.resp, command, argv, key: None };
            if let Err(error) = self.check_queued(exec, command, argv) {
                Reply::new(out, call.resp).error(&error);
                continue;
            }
            let (began, out_before) = (self.stats.now(), out.len());
            // The error is in the reply, and the others run all the same.
            let _ = self.call(call, request_bytes, out);
            if self.scripts.just_suspended() {
                interrupted = Some(index + 1);
                break;
            }
            let bytes = request_bytes + (out.len() - out_before);
            self.count_hot_keys(command, argv, self.stats.now().wrapping_sub(began), bytes);
        }
        self.effects.may_block = may_block;
        if let Some(next) = interrupted {
            self.keep_rest(queue, next, exec, exec_began);
        }
        interrupted.is_some()
    }

    /// A command has left a script suspended: its client's job ends here for now.
    #[cold]
    fn leave_suspended(&mut self, slot: Slot, command: &'static Command, job: &mut Job, index: usize, mark: Mark) {
        self.suspension_noted();
        self.store.set_touch(true);
        if let Some(client) = self.clients.get_mut(slot) {
            client.last_command = Some(command);
            if client.flags.intersects(ClientFlags::REPLY_OFF | ClientFlags::REPLY_SKIP) {
                job.out.truncate(mark);
                client.flags.remove(ClientFlags::REPLY_SKIP);
            }
            if client.flags.contains(ClientFlags::PUSHED) {
                client.take_pushes(&mut job.out);
            }
            // From here on, messages and the reply that it waits for go the same way.
            client.flags.remove(ClientFlags::RUNNING);
        }
        job.next = index + 1;
        job.state = JobState::Suspended;
    }

    /// A command of a client in MULTI was refused. Gives the error for it.
    #[cold]
    fn refuse_queued(&mut self, slot: Slot, command: Option<&'static Command>, error: Error) -> Error {
        if command.is_some_and(|command| command.flags().contains(Flags::RUNS_QUEUED)) {
            self.end_transaction(slot);
            return Error::exec_abort(&error);
        }
        self.abort_transaction(slot);
        error
    }

    /// A command has found nothing and wants to wait: its client's job ends here for now. It counts as a call when the
    /// waiting has ended.
    #[cold]
    fn begin_waiting(
        &mut self,
        slot: Slot,
        command: &'static Command,
        job: &mut Job,
        planned: Planned,
        block: Block,
        ticks: u64,
    ) {
        let argv = job.batch.command(planned.index);
        let db = self.clients.get(slot).map_or(0, |client| client.db);
        self.propagate(slot, db, argv);
        self.end_unit();
        if self.clients.get(slot).is_some_and(|client| client.flags.contains(ClientFlags::REMEMBERS)) {
            self.remember_keys(slot, command, argv, planned.key);
        }
        self.wait(slot, db, command, argv, block, ticks);
        if !self.clients.monitors.is_empty() {
            self.feed_monitors(slot, command, argv);
        }
        self.store.set_touch(true);
        if let Some(client) = self.clients.get_mut(slot) {
            client.last_command = Some(command);
            client.flags.remove(ClientFlags::REPLY_SKIP);
            if client.flags.contains(ClientFlags::PUSHED) {
                client.take_pushes(&mut job.out);
            }
            // From here on, messages and the reply that it waits for go the same way.
            client.flags.remove(ClientFlags::RUNNING);
        }
        job.next = planned.index + 1;
        job.state = JobState::Blocked;
    }

    /// Puts a command into the logs that want it.
    #[cold]
    pub(super) fn log_command(&mut self, slot: Slot, command: &'static Command, argv: Argv<'_>, done: &Done<'_>) {
        let us = self.stats.ticks.to_ns(done.ticks) / 1000;
        if self.stats.latency.wants(us / 1000) {
            let event = if command.flags().contains(Flags::FAST) { "fast-command" } else { "command" };
            self.stats.latency.record(event, us / 1000, self.store.now_ms() / 1000);
        }
        if command.flags().contains(Flags::SKIP_SLOWLOG) {
            return;
        }
        let Some(client) = self.clients.get(slot) else { return };
        let shown: Vec<&[u8]> = (0..argv.len()).map(|at| redact::shown(command, argv, at)).collect();
        let logs = &mut self.stats.logs;
        let trim = logs.trim;
        let values = [
            (LogKind::Slow, us),
            (LogKind::LargeRequest, done.request_bytes as u64),
            (LogKind::LargeReply, done.reply_bytes as u64),
        ];
        for (kind, value) in values {
            let log = logs.get_mut(kind);
            if log.wants(value) {
                log.record(value, self.store.now_ms() / 1000, shown.iter().copied(), trim, &client.addr, &client.name);
            }
        }
    }

    /// Which command it is, and whether it may run now.
    #[inline]
    fn admit(&mut self, slot: Slot, planned: Planned, argv: Argv<'_>, armed: Armed) -> Admitted {
        let resolved = match planned.command {
            Some(command) if command.subs.is_empty() => Ok(command),
            Some(container) => container.resolve(argv.get(1)),
            None => Err(Missing::Command),
        };
        if resolved.is_err() && is_http(argv.name()) {
            let addr = self.clients.get(slot).map_or("", |c| &c.addr);
            tracing::warn!(
                "possible security attack: {addr} sends POST or Host:, which a web browser does when a page makes it \
                 talk to this server. The connection is ended."
            );
            return Admitted::Hang;
        }
        let fits = resolved.map(|command| (command, command.spec.arity_fits(argv.len())));
        let command = match fits {
            Ok((command, true)) => command,
            // Who has not logged in is not told which commands there are.
            Ok((command, false)) if armed.contains(Armed::AUTH) && !command.flags().contains(Flags::NO_AUTH) => {
                return Admitted::Refuse(Some(command), Error::NO_AUTH);
            }
            Ok((command, false)) => return Admitted::Refuse(Some(command), Error::arity(command.full_name)),
            Err(_) if armed.contains(Armed::AUTH) => return Admitted::Refuse(None, Error::NO_AUTH),
            Err(missing) => return Admitted::Refuse(None, missing.error(argv)),
        };
        let calm = !command.flags().intersects(gates::ALWAYS);
        if armed.is_empty() && calm {
            return Admitted::Run(command);
        }
        let verdict = if armed == Armed::ACL && calm {
            gates::check_permissions(self, slot, command, argv)
        } else {
            gates::check(self, slot, command, argv)
        };
        match verdict {
            Verdict::Pass => Admitted::Run(command),
            Verdict::Refuse(error) => Admitted::Refuse(Some(command), error),
            Verdict::Hold => Admitted::Hold,
            Verdict::Queue => Admitted::Queue(command),
        }
    }

    /// Before a command of a client that has asked for something unusual.
    #[cold]
    fn before_special(&mut self, slot: Slot) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        if client.flags.contains(ClientFlags::REPLY_SKIP_NEXT) {
            client.flags.remove(ClientFlags::REPLY_SKIP_NEXT);
            client.flags.insert(ClientFlags::REPLY_SKIP);
        }
        self.store.set_touch(!client.flags.contains(ClientFlags::NO_TOUCH));
    }

    /// After a command that may have changed what its client asks for, or of a client that has asked for something.
    fn after_special(&mut self, slot: Slot, command: Option<&'static Command>, job: &mut Job, mark: Mark) {
        self.store.set_touch(true);
        let Some(client) = self.clients.get_mut(slot) else { return };
        if client.flags.intersects(ClientFlags::REPLY_OFF | ClientFlags::REPLY_SKIP) {
            job.out.truncate(mark);
            client.flags.remove(ClientFlags::REPLY_SKIP);
        }
        if client.flags.contains(ClientFlags::CACHING) {
            client.caching_is_over(command);
        }
        if client.flags.contains(ClientFlags::CLOSE_AFTER_REPLY) {
            job.state = JobState::CloseAfterReply;
        }
    }

    /// What is left when a job's commands are done: the protocol error behind them, if there is one. `reached`: it had its turn.
    fn finish(&mut self, job: &mut Job, reached: bool) {
        let now_ms = self.store.now_ms();
        if let Some(client) = self.clients.get_mut(job.slot) {
            client.flags.remove(ClientFlags::RUNNING);
            if client.flags.contains(ClientFlags::PUSHED) {
                client.take_pushes(&mut job.out);
            }
            client.reply_peak.replied(job.out.len(), now_ms, self.reply_peaks);
        }
        self.weigh(job.slot);
        if job.state != JobState::Ready {
            return;
        }
        if job.next < job.batch.len() {
            job.state = if reached { JobState::Unfinished } else { JobState::Untouched };
            if let Some(client) = self.clients.get_mut(job.slot) {
                client.flags.insert(ClientFlags::UNFINISHED);
            }
            return;
        }
        job.state = JobState::Done;
        if let Some(error) = job.error.take() {
            let silent = ClientFlags::REPLY_OFF | ClientFlags::REPLY_SKIP_NEXT;
            if self.clients.get(job.slot).is_some_and(|c| !c.flags.intersects(silent)) {
                error.append_reply(job.out.bytes_mut());
            }
            job.state = JobState::CloseAfterReply;
        }
    }
}

/// Words that a browser sends and no client: a page may make it talk to a server on the same network, to which nobody
/// else has a way.
fn is_http(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"POST") || name.eq_ignore_ascii_case(b"Host:")
}

/// Flags of a client that cost every command of it a look.
const SPECIAL: ClientFlags = ClientFlags::REPLY_OFF
    .union(ClientFlags::REPLY_SKIP)
    .union(ClientFlags::REPLY_SKIP_NEXT)
    .union(ClientFlags::NO_TOUCH)
    .union(ClientFlags::CACHING)
    .union(ClientFlags::CLOSE_AFTER_REPLY);

/// Whether a command may be repeated: not what is about the server or a connection, such as SHUTDOWN, CONFIG, RESET and SUBSCRIBE. Scripts
/// are denied that as well. No file has it unless somebody has put it there.
fn is_repeatable(command: &Command) -> bool {
    let changes = Flags::WRITE | Flags::MAY_REPLICATE;
    !command.flags().contains(Flags::NOSCRIPT)
        || command.flags().intersects(changes | Flags::PROTECTED)
        || command.spec.group == Group::Scripting
}

/// What became of a command that was repeated.
pub(super) enum Repeated {
    /// It has run.
    Done,
    /// There is no such command.
    Unknown,
    /// No server has ever run it like that.
    Impossible(Error),
    /// It was answered with an error.
    Refused(Error),
    /// It is a script, which is in the middle of what it does.
    GoesOn,
}

/// What became of a command at the gates.
enum Admitted {
    Run(&'static Command),
    Refuse(Option<&'static Command>, Error),
    /// It is put into its client's transaction.
    Queue(&'static Command),
    Hold,
    /// The connection is ended without a reply.
    Hang,
}
