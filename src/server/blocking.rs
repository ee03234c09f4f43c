//! Clients that wait for data.
//!
//! A command that found nothing may ask to wait (`command::blocking`). Its client then has a *waiter* here, with a copy of
//! the command. The store notes which awaited keys are changed; after every command those are looked at in the order of
//! their changes, and for each its waiters in the order in which they began to wait: if what they wait for is there, their
//! command runs again. So data goes to the longest waiter, before anybody else's next command, and whatever makes data,
//! from LPUSH to RENAME, needs to know nothing of this.
//!
//! Thousands may read one stream. They are served in slices, a part in each turn; until all are, nobody changes that stream,
//! so that it makes no difference to what anybody gets.
//!
//! What must stay true: a client waits exactly if it is in `by_client`, and then it is in the queue of each of its keys,
//! and the store has been told of each.

use super::append_only::wait_reply;
use super::client::{ClientFlags, ClientId, Slot};
use super::gates::Armed;
use super::keys::find_keys;
use super::message::Order;
use super::statistics::Done;
use super::table::{Command, Run};
use super::{Server, ServerCx};
use crate::command::blocking::{Awaited, Block, TimeoutReply};
use crate::command::cx::Cx;
use crate::command::error::Error;
use crate::command::reply::{Output, Reply, Resp};
use crate::command::spec::Flags;
use crate::store::{Kind, ValueRef};
use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use weir_resp::{Argv, Batch};
use weir_structs::queue::{self, Next, Paused};

/// Serving the waiters of a stream goes on in the next turn after so many microseconds of this one,
const SERVE_US: u64 = 500;
/// but so many of them are looked at in any case.
const SERVE_MIN: usize = 64;

/// From this number on, what is awaited is no argument.
const OTHERS_FROM: usize = usize::MAX / 2;

/// What a queue has for somebody who waits at it.
enum Offer {
    /// What is awaited.
    What,
    /// Nothing for anybody.
    Nothing,
    /// Something for others, perhaps.
    Else,
}

fn offers(queue: &queue::Queue, awaited: Awaited, now_ms: i64) -> Offer {
    let now_ms = u64::try_from(now_ms).unwrap_or_default();
    let has_message = queue.figures().ready > 0;
    match awaited {
        Awaited::Message if !has_message => Offer::Nothing,
        Awaited::Message if queue.paused().contains(Paused::OUT) => Offer::Else,
        Awaited::Message if queue.next(now_ms) == Next::Nothing => Offer::Else,
        Awaited::Room if queue.exceeds(1, 0) => Offer::Else,
        Awaited::Message | Awaited::Room => Offer::What,
        _ => Offer::Else,
    }
}

/// Why a client stops waiting without data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unblock {
    /// As if its time were over.
    Timeout,
    /// With an error.
    Error,
}

/// One client that waits.
#[derive(Debug)]
struct Waiter {
    slot: Slot,
    db: usize,
    command: &'static Command,
    /// The command, with the arguments that it asked for.
    batch: Batch,
    block: Block,
    /// Where its keys are in hash space, in that order, and which arguments they are.
    keys: Vec<(u64, usize)>,
    /// Its place in all queues.
    number: u64,
    /// Its client has asked for no reply.
    silent: bool,
    /// How long the command has run so far.
    ticks: u64,
    /// When it is looked at although nothing changes.
    timer_ms: Option<i64>,
}

impl Waiter {
    /// Each position once: a key may be named several times.
    fn positions(&self) -> impl Iterator<Item = u64> {
        self.keys.chunk_by(|a, b| a.0 == b.0).filter_map(|alike| alike.first()).map(|&(position, _)| position)
    }

    fn timer(&self) -> Option<i64> {
        self.block.until_ms.into_iter().chain(self.block.again_at_ms).min()
    }
}

/// Those who wait for one key, longest waiter first.
#[derive(Debug, Default)]
struct Queue {
    waiters: BTreeMap<u64, ClientId>,
    /// How many of them also want to know that the key is gone.
    groups: usize,
}

/// Waiters of a stream that are not all served yet.
#[derive(Debug)]
struct Round {
    db: usize,
    position: u64,
    /// Number of the last one who was looked at.
    after: u64,
}

/// All clients that wait.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    rounds: VecDeque<Round>,
    by_client: HashMap<ClientId, Box<Waiter>>,
    by_key: HashMap<(usize, u64), Queue>,
    timers: BTreeSet<(i64, ClientId)>,
    /// How many queues each database has.
    databases: BTreeMap<usize, usize>,
    last_number: u64,
}

/// Figures for INFO.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct WaiterFigures {
    /// Clients that wait.
    pub(super) clients: usize,
    /// Those of them with a deadline.
    pub(super) with_deadline: usize,
    /// Keys that they wait for.
    pub(super) keys: usize,
    /// Keys whose end somebody waits for.
    pub(super) keys_until_gone: usize,
}

impl Waiters {
    /// Whether nobody waits.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.by_client.is_empty()
    }

    /// For INFO.
    pub(super) fn figures(&self) -> WaiterFigures {
        WaiterFigures {
            clients: self.by_client.len(),
            with_deadline: self.by_client.values().filter(|waiter| waiter.block.until_ms.is_some()).count(),
            keys: self.by_key.len(),
            keys_until_gone: self.by_key.values().filter(|queue| queue.groups > 0).count(),
        }
    }

    /// When the next waiter's time is over, in Unix ms.
    pub(super) fn next_timer_ms(&self) -> Option<i64> {
        self.timers.first().map(|&(ms, _)| ms)
    }

    fn add(&mut self, id: ClientId, waiter: Box<Waiter>) {
        for position in waiter.positions() {
            let queue = self.by_key.entry((waiter.db, position)).or_insert_with(|| {
                *self.databases.entry(waiter.db).or_default() += 1;
                Queue::default()
            });
            queue.waiters.insert(waiter.number, id);
            queue.groups += usize::from(waiter.block.awaited == Awaited::StreamGroup);
        }
        self.set_timer(id, None, waiter.timer_ms);
        self.by_client.insert(id, waiter);
    }

    fn remove(&mut self, id: ClientId) -> Option<Box<Waiter>> {
        let waiter = self.by_client.remove(&id)?;
        self.set_timer(id, waiter.timer_ms, None);
        for position in waiter.positions() {
            let Some(queue) = self.by_key.get_mut(&(waiter.db, position)) else { continue };
            queue.waiters.remove(&waiter.number);
            queue.groups -= usize::from(waiter.block.awaited == Awaited::StreamGroup);
            if !queue.waiters.is_empty() {
                continue;
            }
            self.by_key.remove(&(waiter.db, position));
            if let Some(queues) = self.databases.get_mut(&waiter.db) {
                *queues -= 1;
                if *queues == 0 {
                    self.databases.remove(&waiter.db);
                }
            }
        }
        Some(waiter)
    }

    fn set_timer(&mut self, id: ClientId, old: Option<i64>, new: Option<i64>) {
        if let Some(old) = old {
            self.timers.remove(&(old, id));
        }
        if let Some(new) = new {
            self.timers.insert((new, id));
        }
    }

    /// The one who waits for a key and came next after a number.
    fn next_at(&self, db: usize, position: u64, after: u64) -> Option<(u64, ClientId)> {
        let queue = self.by_key.get(&(db, position))?;
        queue.waiters.range(after + 1..).next().map(|(&number, &id)| (number, id))
    }
}

/// What running a waiter's command again has led to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Again {
    /// It has its reply.
    Served,
    /// It waits on.
    Waits,
    /// It was not run: the key is gone.
    Gone,
    /// It was not run: the key holds something else than what it waits for.
    OtherKind,
}

impl Server {
    /// Lets a client wait, whose command has asked for that.
    pub(super) fn wait(
        &mut self,
        slot: Slot,
        db: usize,
        command: &'static Command,
        argv: Argv<'_>,
        mut block: Block,
        ticks: u64,
    ) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        client.flags.insert(ClientFlags::BLOCKED);
        let silent = client.flags.intersects(ClientFlags::REPLY_OFF | ClientFlags::REPLY_SKIP);
        let id = client.id;
        // Nobody waits twice; whoever thought so is not to harm the lists.
        self.forget_waiter(id);
        let mut changed = std::mem::take(&mut block.argv);
        changed.sort_by_key(|(of, _)| *of);
        let arg = |at| match changed.binary_search_by_key(&at, |(of, _)| *of) {
            Ok(found) => changed.get(found).map_or(argv.at(at), |(_, arg)| arg),
            Err(_) => argv.at(at),
        };
        let mut batch = Batch::new();
        if batch.push_command((0..argv.len()).map(arg)).is_err() {
            unreachable!("a command that came in one batch fits into another");
        }
        let mut keys: Vec<(u64, usize)> =
            block.keys.iter().map(|&at| (self.store.key(argv.at(at)).position, at)).collect();
        let others = block.others.iter().enumerate();
        keys.extend(others.map(|(at, name)| (self.store.key(name).position, OTHERS_FROM + at)));
        keys.sort_unstable();
        self.waiters.last_number += 1;
        let number = self.waiters.last_number;
        let mut waiter =
            Box::new(Waiter { slot, db, command, batch, block, keys, number, silent, ticks, timer_ms: None });
        waiter.timer_ms = waiter.timer();
        for position in waiter.positions() {
            self.store.db(db).await_position(position);
        }
        self.waiters.add(id, waiter);
    }

    /// After a command: serves those who wait for what it has changed. Not in the middle of a script, whatever runs meanwhile:
    /// what it has changed is theirs when it is over.
    pub(super) fn serve_waiters(&mut self) {
        if self.scripts.is_suspended() {
            return;
        }
        loop {
            self.serve_woken();
            let databases: Vec<usize> = self.waiters.databases.keys().copied().collect();
            let changed: Vec<(usize, u64)> = databases
                .into_iter()
                .flat_map(|db| self.store.db(db).take_changed().into_iter().map(move |position| (db, position)))
                .collect();
            if changed.is_empty() {
                return;
            }
            for (db, position) in changed {
                self.serve_key(db, position);
            }
        }
    }

    fn serve_key(&mut self, db: usize, position: u64) {
        // Who was looked at before this change is to be looked at again.
        self.waiters.rounds.retain(|round| (round.db, round.position) != (db, position));
        if let Some(after) = self.serve_slice(db, position, 0) {
            self.waiters.rounds.push_back(Round { db, position, after });
            self.armed.insert(Armed::SERVING);
        }
    }

    /// Goes on with rounds of waiters that are not all served yet; at the end of a turn.
    pub(super) fn go_on_serving(&mut self) {
        while let Some(Round { db, position, after }) = self.waiters.rounds.pop_front() {
            if let Some(after) = self.serve_slice(db, position, after) {
                self.waiters.rounds.push_front(Round { db, position, after });
                return;
            }
        }
        if self.armed.contains(Armed::SERVING) {
            self.armed.remove(Armed::SERVING);
            self.outbox.order(Order::Resume);
        }
    }

    /// Whether waiters are being served, over several turns.
    pub(super) fn is_serving(&self) -> bool {
        !self.waiters.rounds.is_empty()
    }

    /// Whether a command may change what is not served yet. Scripts and transactions may change anything.
    pub(super) fn disturbs_round(&self, command: &Command, flags: Flags, argv: Argv<'_>) -> bool {
        if !self.is_serving() || !flags.intersects(Flags::WRITE | Flags::MAY_REPLICATE) || flags.contains(Flags::PUBSUB)
        {
            return false;
        }
        let mut keys = Vec::new();
        if find_keys(command.spec, argv, &mut keys).is_err() || keys.is_empty() || flags.contains(Flags::MAY_REPLICATE)
        {
            return true;
        }
        let served = |position| self.waiters.rounds.iter().any(|round| round.position == position);
        keys.iter().any(|key| served(self.store.key(argv.at(key.at)).position))
    }

    /// Serves those who wait for a key and came after a number. Where that would hold up everybody else, it stops; then this
    /// gives the number of the last one. Only readers of a stream can be so many: of others each takes something away.
    fn serve_slice(&mut self, db: usize, position: u64, mut after: u64) -> Option<u64> {
        let mut looked_at = 0;
        while let Some((number, id)) = self.waiters.next_at(db, position, after) {
            if looked_at >= SERVE_MIN && self.turn_us() >= SERVE_US {
                return Some(after);
            }
            after = number;
            let awaited = self.waiters.by_client.get(&id).map(|waiter| waiter.block.awaited);
            let groups = self.waiters.by_key.get(&(db, position)).map_or(0, |queue| queue.groups);
            let again = self.run_again(id, Some(position));
            if again == Again::Gone && groups == 0 {
                return None;
            }
            looked_at += usize::from(matches!(awaited, Some(Awaited::Stream | Awaited::StreamGroup)));
        }
        None
    }

    /// A waiter whose turn in a round has not come yet, but who is to be told something else now, is served first. Says whether
    /// it was.
    fn serve_early(&mut self, id: ClientId) -> bool {
        let Some(waiter) = self.waiters.by_client.get(&id) else { return false };
        let lacks = |round: &&Round| {
            round.db == waiter.db && round.after < waiter.number && waiter.positions().any(|at| at == round.position)
        };
        let position = self.waiters.rounds.iter().find(lacks).map(|round| round.position);
        position.is_some_and(|position| self.run_again(id, Some(position)) == Again::Served)
    }

    /// Runs a waiter's command again: because of a change at one of its keys, or because it has asked for that.
    fn run_again(&mut self, id: ClientId, position: Option<u64>) -> Again {
        let Some(waiter) = self.waiters.by_client.get(&id) else { return Again::Waits };
        let (slot, db) = (waiter.slot, waiter.db);
        if let Some(position) = position
            && let Some(not_there) = self.missing(id, position)
        {
            return not_there;
        }
        self.bring_up_waiter(slot);
        let Some(mut waiter) = self.waiters.by_client.remove(&id) else { return Again::Waits };
        let command = waiter.command;
        let argv = waiter.batch.command(0);
        let resp = self.clients.get(slot).map_or(Resp::V2, |client| client.resp);
        let mut out = Output::default();
        if let Err(error) = self.check_call(slot, command, argv, db) {
            Reply::new(&mut out, resp).error(&error);
            self.waiters.by_client.insert(id, waiter);
            self.end_waiting(id, out, Some(&error));
            return Again::Served;
        }
        // Messages about what it does itself go behind its reply.
        self.begin_running(slot);
        let began = self.stats.now();
        let result = match command.run {
            Run::Data(run) => run(&mut Cx {
                store: &mut self.store,
                db_index: db,
                argv,
                first_key: None,
                reply: Reply::new(&mut out, resp),
                effects: &mut self.effects,
                config: &self.config,
            }),
            Run::Server(run) => {
                let reply = Reply::new(&mut out, resp);
                run(&mut ServerCx { server: self, slot, command, argv, reply })
            }
            Run::Nothing => Ok(()),
        };
        let elapsed = self.stats.now().wrapping_sub(began);
        waiter.ticks = waiter.ticks.wrapping_add(elapsed);
        let again = self.effects.block.take();
        self.propagate(slot, db, argv);
        self.end_unit();
        let tracks = self.clients.get(slot).is_some_and(|client| client.flags.contains(ClientFlags::REMEMBERS));
        if tracks {
            self.remember_keys(slot, command, argv, None);
        }
        if let Some(again) = again {
            self.end_running(slot, &mut out);
            // It keeps its place, and its time.
            waiter.block.again_at_ms = again.again_at_ms;
            let (old, new) = (waiter.timer_ms, waiter.timer());
            waiter.timer_ms = new;
            self.waiters.set_timer(id, old, new);
            self.waiters.by_client.insert(id, waiter);
            if !out.is_empty() {
                self.outbox.order(Order::Push(id, out.bytes().into()));
            }
            return Again::Waits;
        }
        if let Err(error) = &result {
            out = Output::default();
            Reply::new(&mut out, resp).error(error);
        }
        self.waiters.by_client.insert(id, waiter);
        self.end_waiting(id, out, result.err().as_ref());
        Again::Served
    }

    /// Runs the command of a client that waits for nothing at a key again, if it still waits.
    pub(super) fn wake(&mut self, id: ClientId) {
        self.run_again(id, None);
    }

    /// Why what a waiter waits for cannot be at its key with this position; `None` if it may be.
    fn missing(&mut self, id: ClientId, position: u64) -> Option<Again> {
        let waiter = self.waiters.by_client.get(&id)?;
        let argv = waiter.batch.command(0);
        let first = waiter.keys.partition_point(|&(of, _)| of < position);
        let mut found = Again::Gone;
        for &(_, at) in waiter.keys.iter().skip(first).take_while(|&&(of, _)| of == position) {
            let other = at.checked_sub(OTHERS_FROM).and_then(|at| waiter.block.others.get(at));
            let key = self.store.key(other.map_or(argv.at(at), |name| name));
            let now_ms = self.store.now_ms();
            let entry = self.store.db(waiter.db).peek(key);
            let kind = entry.map(|entry| entry.kind());
            if let Some(ValueRef::Queue(queue)) = entry.map(|entry| entry.value()) {
                match offers(queue, waiter.block.awaited, now_ms) {
                    Offer::What => return None,
                    Offer::Nothing => found = Again::Gone,
                    Offer::Else => found = Again::OtherKind,
                }
                continue;
            }
            let fits = match waiter.block.awaited {
                Awaited::Nothing | Awaited::Change => false,
                Awaited::List => matches!(kind, Some(Kind::ListPacked | Kind::List)),
                Awaited::Zset => matches!(kind, Some(Kind::ZsetPacked | Kind::Zset)),
                Awaited::Stream => kind == Some(Kind::Stream),
                // To say that there is no queue any more.
                Awaited::Message | Awaited::Room => true,
                Awaited::StreamGroup | Awaited::Reply => true,
            };
            if fits {
                return None;
            }
            if kind.is_some() {
                found = Again::OtherKind;
            }
        }
        Some(found)
    }

    /// The command of one who waits, and its first argument.
    pub(super) fn waiting_command(&self, id: ClientId) -> Option<(Slot, &'static Command, Vec<u8>)> {
        let waiter = self.waiters.by_client.get(&id)?;
        Some((waiter.slot, waiter.command, waiter.batch.command(0).at(1).to_vec()))
    }

    /// Gives one who waits for nothing but a reply that reply, if it still waits.
    pub(super) fn answer_waiter(&mut self, id: ClientId, out: Output, error: Option<&Error>) {
        self.end_waiting(id, out, error);
    }

    /// Whether a client waits.
    pub(super) fn is_waiting(&self, id: ClientId) -> bool {
        self.waiters.by_client.contains_key(&id)
    }

    /// The same, of a reply that is no error.
    pub(super) fn tell_waiter(&mut self, id: ClientId, write: impl FnOnce(&mut Reply<'_>)) {
        let Some(waiter) = self.waiters.by_client.get(&id) else { return };
        let resp = self.clients.get(waiter.slot).map_or(Resp::V2, |client| client.resp);
        let mut out = Output::default();
        write(&mut Reply::new(&mut out, resp));
        self.end_waiting(id, out, None);
    }

    /// Gives a waiter its reply and lets its client go on.
    fn end_waiting(&mut self, id: ClientId, out: Output, error: Option<&Error>) {
        let Some(waiter) = self.forget_waiter(id) else { return };
        if self.clients.get(waiter.slot).is_some_and(|client| !client.flags.contains(ClientFlags::RUNNING)) {
            self.bring_up_waiter(waiter.slot);
        }
        let done = Done {
            command: waiter.command.id,
            ticks: waiter.ticks,
            request_bytes: waiter.batch.command_bytes(0),
            reply_bytes: out.len(),
            error,
        };
        if self.stats.command_done(&done) {
            self.log_command(waiter.slot, waiter.command, waiter.batch.command(0), &done);
        }
        if let Some(client) = self.clients.get_mut(waiter.slot) {
            client.flags.remove(ClientFlags::BLOCKED);
            client.commands += 1;
            client.active_ms = self.store.now_ms();
            client.heard_ms = client.active_ms;
        }
        let mut out = if waiter.silent { Output::default() } else { out };
        self.end_running(waiter.slot, &mut out);
        self.outbox.order(Order::Answer(id, out));
    }

    /// A waiter's command has run: puts messages that came meanwhile behind its reply.
    fn end_running(&mut self, slot: Slot, out: &mut Output) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        client.flags.remove(ClientFlags::RUNNING);
        if client.flags.contains(ClientFlags::PUSHED) {
            client.take_pushes(out);
        }
    }

    /// Takes a waiter out of all lists.
    fn forget_waiter(&mut self, id: ClientId) -> Option<Box<Waiter>> {
        let waiter = self.waiters.remove(id)?;
        self.registry.leave_line(id.0);
        if waiter.block.awaited == Awaited::Change {
            self.registry.observers.end_poll(id.0);
        }
        for position in waiter.positions() {
            self.store.db(waiter.db).stop_awaiting(position);
        }
        Some(waiter)
    }

    /// Its client has gone.
    pub(super) fn waiter_gone(&mut self, id: ClientId) {
        if !self.waiters.is_empty() {
            self.forget_waiter(id);
            self.broker.leaves_tasks(id.0);
        }
    }

    /// Ends the waiting of a client, if it waits. Says whether it did.
    pub(super) fn unblock(&mut self, id: ClientId, how: Unblock) -> bool {
        if self.serve_early(id) {
            return false;
        }
        let Some(waiter) = self.waiters.by_client.get(&id) else { return false };
        if waiter.block.awaited == Awaited::Reply {
            // It is on its way, and there is no other.
            return false;
        }
        let resp = self.clients.get(waiter.slot).map_or(Resp::V2, |client| client.resp);
        let mut out = Output::default();
        let mut reply = Reply::new(&mut out, resp);
        let error = match (how, waiter.block.on_timeout) {
            (Unblock::Error, _) => {
                reply.error(&Error::UNBLOCKED);
                Some(Error::UNBLOCKED)
            }
            (Unblock::Timeout, TimeoutReply::Synced) => {
                wait_reply(&mut reply, self.append_only.is_synced_for(id));
                None
            }
            (Unblock::Timeout, TimeoutReply::Null) => {
                reply.null();
                None
            }
            (Unblock::Timeout, TimeoutReply::NullArray) => {
                reply.null_array();
                None
            }
        };
        self.end_waiting(id, out, error.as_ref());
        true
    }

    /// Answers those whose time is over.
    pub(super) fn waiters_time_out(&mut self) {
        let now_ms = self.store.now_ms();
        while let Some(&(ms, id)) = self.waiters.timers.first()
            && ms <= now_ms
        {
            self.waiters.timers.pop_first();
            let Some(waiter) = self.waiters.by_client.get_mut(&id) else { continue };
            waiter.timer_ms = None;
            if waiter.block.until_ms.is_some_and(|at| at <= now_ms) {
                self.unblock(id, Unblock::Timeout);
            } else if let Some((_, pause_until_ms)) = self.pause.current() {
                // It might change something.
                self.postpone(id, pause_until_ms);
            } else if self.is_migrating() || self.run_again(id, None) != Again::Served {
                // What it waits for now is later; else it would come round here for ever.
                self.postpone(id, now_ms + 1);
            }
        }
    }

    /// Sees to it that a waiter is not looked at before a moment.
    fn postpone(&mut self, id: ClientId, not_before_ms: i64) {
        let Some(waiter) = self.waiters.by_client.get_mut(&id) else { return };
        let (old, new) = (waiter.timer_ms, waiter.timer().map(|ms| ms.max(not_before_ms)));
        waiter.timer_ms = new;
        self.waiters.set_timer(id, old, new);
    }
}
