//! Driving the broker: what has come up in it goes out to clients, what is due in it is done.
//!
//! After each command the broker takes note of queues that came or went. At the end of a turn messages go to those who consume
//! them, in slices; frames for a client are put together and sent as one message.

use super::Server;
use super::client::{ClientId, Slot};
use super::commands::mq::message::{put_meta, put_published, receipt};
use super::exec::Repeated;
use super::feed::append_words;
use super::table::Command;
use crate::broker::{Broker, Delivery, End, Finished, Published, Redriving, Waits};
use crate::command::error::Error;
use crate::command::ground::{Ground, now_ms};
use crate::command::reply::{Output, Reply, Resp};
use hashbrown::HashMap;
use rand::TryRngCore;
use weir_resp::{Argv, Batch, Limits, Parser};
use weir_structs::number::parse_u64;

/// Messages that go to the consumers of one queue before those of another have theirs.
const DISPATCH_STEP: usize = 64;
/// A client whose output of so many bytes waits is sent no messages.
const OUTPUT_BYTES_MAX: usize = 1024 * 1024;
/// After so many microseconds of a turn what is left waits for the next one.
const DISPATCH_US: u64 = 1_000;

impl Server {
    /// The broker, and what it works on: the database that a client has chosen.
    pub(super) fn ground(&mut self, slot: Slot) -> (&mut Broker, Ground<'_>) {
        let db = self.clients.get(slot).map_or(0, |client| client.db);
        let Server { broker, store, effects, .. } = self;
        (broker, Ground { store, effects, db })
    }

    /// After each command: what it did to values of Weir's own types as keys.
    #[inline]
    pub(super) fn note_layer_changes(&mut self) {
        self.note_broker_changes();
        self.note_registry_changes();
    }

    #[inline]
    fn note_broker_changes(&mut self) {
        if self.store.has_broker_changes() {
            self.broker.note_changes(&mut self.store, &mut self.effects);
        }
    }

    /// Whether the client may use routing keys, where the exchange wants that to be asked.
    pub(super) fn check_routing(&mut self, slot: Slot, exchange: &[u8], rkeys: &[&[u8]]) -> Result<(), Error> {
        let (_, ground) = self.ground(slot);
        let asks = ground.exchange(exchange)?.is_some_and(|exchange| exchange.options().rkacl);
        let user = self.users.get(self.user_of(slot));
        if asks && rkeys.iter().any(|key| !user.allows_subscription(key, false)) {
            return Err(Error::MQ_RKEY_DENIED);
        }
        Ok(())
    }

    /// Whether a message of so many bytes has room in `mq-maxmemory`.
    pub(super) fn check_broker_memory(&self, bytes: usize) -> Result<(), Error> {
        let max = self.config.mq_maxmemory;
        if max == 0 {
            return Ok(());
        }
        let (_, _, totals) = self.broker.totals();
        let figures = totals.figures();
        if (figures.bytes - figures.away_bytes).saturating_add(bytes as u64) > max {
            Err(Error::MQ_OUT_OF_MEMORY)
        } else {
            Ok(())
        }
    }

    /// Whether the broker has something to do at the end of this turn.
    #[inline]
    fn broker_is_busy(&self) -> bool {
        self.broker.has_due()
            || self.broker.is_giving_back()
            || self.broker.has_orphans()
            || self.broker.has_news_of_policies()
            || self.bodies_are_busy()
            || self.broker.is_untidy()
            || self.broker.has_finished()
            || self.broker.has_tasks(now_ms(&self.store))
    }

    /// At the end of a turn: what is due in queues, and messages for their consumers.
    pub(super) fn tend_broker(&mut self) {
        self.tell_ended();
        self.tend_bodies();
        let now_ms = now_ms(&self.store);
        let alarmed = self.broker.next_alarm_ms().is_some_and(|at_ms| at_ms <= now_ms);
        if !alarmed && !self.broker_is_busy() {
            return;
        }
        if !self.layers_may_work() {
            return;
        }
        let mut frames: HashMap<u64, Output> = HashMap::new();
        loop {
            let Server { broker, store, effects, .. } = self;
            // In turns with everything else, which is not to wait for the end of what takes long.
            let worked = broker.go_on(store, effects);
            if let Some(db) = worked {
                self.propagate_own(db);
            }
            let Server { broker, store, effects, .. } = self;
            let db = broker
                .remove_orphan(store, effects)
                .or_else(|| broker.remove_abandoned(store, effects))
                .or_else(|| broker.give_back_left(store, effects, DISPATCH_STEP))
                .or_else(|| broker.go_on_with_policies(store, effects))
                .or_else(|| broker.tidy_bindings(store, effects))
                .or_else(|| broker.run_due_schedule(store, effects))
                .or_else(|| broker.run_alarm(store, effects))
                .or_else(|| {
                    broker.dispatch(store, effects, DISPATCH_STEP, &mut |client, delivery| {
                        put_delivery(frames.entry(client).or_default(), &delivery);
                    })
                });
            if let Some(db) = db {
                self.propagate_own(db);
            }
            if (db.is_none() && worked.is_none()) || self.turn_us() >= DISPATCH_US {
                break;
            }
        }
        self.tell_finished();
        for (client, out) in frames {
            self.send_frames(client, out);
        }
        self.tell_ended();
        if !self.waiters.is_empty() {
            self.serve_waiters();
        }
    }

    /// When the broker is to be looked after next, in Unix ms.
    pub(super) fn broker_alarm_ms(&self) -> Option<i64> {
        if !self.layers_may_work() {
            return None;
        }
        if self.broker_is_busy() {
            return Some(self.store.now_ms());
        }
        self.broker.next_alarm_ms().map(|at_ms| i64::try_from(at_ms).unwrap_or(i64::MAX))
    }

    /// Whether anything may change without a client's command. While a feed is run, what was due when is in the feed.
    pub(super) fn layers_may_work(&self) -> bool {
        let repeats = self.store.holds_deadlines();
        !repeats
            && !self.is_migrating()
            && self.pause.current().is_none()
            && !self.is_loading()
            && !self.scripts.is_suspended()
            && !self.is_serving()
    }

    /// A token under which a caller can be answered: nobody can guess it.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(super) fn new_call_token(&mut self, slot: Slot) -> Result<Vec<u8>, Error> {
        let id = self.clients.get(slot).map_or(0, |client| client.id.0);
        let mut secret = [0; 16];
        rand::rngs::OsRng.try_fill_bytes(&mut secret).map_err(|error| Error::new(format!("ERR {error}")))?;
        Ok(format!("{id}-{:032x}", u128::from_ne_bytes(secret)).into_bytes())
    }

    /// A client waits for an answer from now on.
    pub(super) fn note_call(&mut self, slot: Slot, token: Vec<u8>) {
        if let Some(client) = self.clients.get(slot) {
            self.calls.insert(client.id, token);
        }
    }

    /// Gives a caller its answer. Says whether it still waits.
    pub(super) fn answer_call(&mut self, token: &[u8], write: impl FnOnce(&mut Reply<'_>)) -> bool {
        let id = token.split(|byte| *byte == b'-').next().and_then(parse_u64).map(ClientId);
        let Some(id) = id.filter(|id| self.calls.get(id).is_some_and(|call| call == token)) else { return false };
        self.calls.remove(&id);
        let waits = self.is_waiting(id);
        self.tell_waiter(id, write);
        waits
    }

    /// A client's output has grown or shrunk: while much of it waits, it is sent no messages.
    #[inline]
    pub(super) fn mind_consumer(&mut self, slot: Slot) {
        if self.broker.consumers() == 0 {
            return;
        }
        let Some(client) = self.clients.get(slot) else { return };
        if self.broker.consumes(client.id.0) {
            self.broker.set_stopped(client.id.0, client.io.output_bytes >= OUTPUT_BYTES_MAX);
        }
    }

    /// Policies and schedules as commands that a snapshot has in front of its keys.
    pub(super) fn commands_of_snapshot(&self) -> Vec<u8> {
        let (mut bytes, mut selected) = (Vec::new(), 0);
        let mut put = |words: &[&[u8]]| append_words(&mut bytes, words.len(), words.iter().copied());
        for (db, words) in self.broker.commands() {
            if db != selected {
                selected = db;
                put(&[b"SELECT", db.to_string().as_bytes()]);
            }
            put(&words.iter().map(|word| &**word).collect::<Vec<_>>());
        }
        if selected != 0 {
            put(&[b"SELECT", b"0"]);
        }
        bytes
    }

    /// Runs the commands of a snapshot.
    ///
    /// # Errors
    /// They are not what this server writes.
    pub(super) fn repeat_commands(&mut self, commands: &[u8]) -> Result<(), String> {
        if commands.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new();
        batch.read_buffer().extend_from_slice(commands);
        let broken = || "the commands in the snapshot are broken".to_owned();
        let limits = Limits { commands_max: u32::MAX, ..Limits::default() };
        Parser::default().parse(&mut batch, &limits).map_err(|_| broken())?;
        if !batch.tail().is_empty() || !batch.commands().all(belongs_in_snapshot) {
            return Err(broken());
        }
        let slot = self.clients.add_repeater(self.store.now_ms());
        for argv in batch.commands() {
            if let Repeated::Refused(error) | Repeated::Impossible(error) = self.repeat(slot, argv) {
                let (name, error) = (argv.name().escape_ascii(), String::from_utf8_lossy(error.text()));
                tracing::warn!("a command in the snapshot, {name}, was answered {error}");
            }
        }
        self.clients.remove(slot);
        Ok(())
    }

    /// Data were loaded: queues, exchanges and stores are where they are, and what was in use then is not any more.
    /// `from_append_only`: from files that what must be on disk is in.
    pub(super) fn layers_loaded(&mut self, from_append_only: bool) {
        self.note_layer_changes();
        self.effects.clear();
        self.registry.loaded(&mut self.store, from_append_only);
        self.broker.loaded(&mut self.store);
    }

    fn send_frames(&mut self, client: u64, out: Output) {
        let slot = self.clients.slot_of(ClientId(client));
        if let Some(slot) = slot.filter(|_| !out.is_empty()) {
            self.push(slot, out.bytes().into());
        }
    }

    /// Tells clients what has come of what was done in slices.
    fn tell_finished(&mut self) {
        for Finished { waits, end } in self.broker.take_finished() {
            let Some(id) = waits.client.map(ClientId) else { continue };
            let result = match end {
                End::Published(published) => self.end_publishing(id, &published, waits),
                End::Redriven(count) => {
                    self.tell_waiter(id, |reply| reply.count(count));
                    Ok(())
                }
                End::Asks(redriving) => self.allow_redriving(id, waits, redriving),
            };
            if let Err(error) = result {
                let resp = self.resp_of(id);
                let mut out = Output::default();
                Reply::new(&mut out, resp).error(&error);
                self.answer_waiter(id, out, Some(&error));
            }
        }
    }

    fn resp_of(&self, id: ClientId) -> Resp {
        let slot = self.clients.slot_of(id);
        slot.and_then(|slot| self.clients.get(slot)).map_or(Resp::V2, |client| client.resp)
    }

    fn end_publishing(&mut self, id: ClientId, published: &Published, waits: Waits) -> Result<(), Error> {
        if let Some(refusal) = &published.refused {
            return Err(refusal.error());
        }
        if waits.mandatory && published.queues.is_empty() && published.others == 0 {
            self.broker.count_returned();
            return Err(Error::MQ_UNROUTABLE);
        }
        if waits.on_disk
            && let Some(slot) = self.clients.slot_of(id)
        {
            self.confirm_on_disk(slot, Error::MQ_NO_FILE)?;
        }
        self.tell_waiter(id, |reply| put_published(reply, published, waits.with_ids));
        Ok(())
    }

    /// Goes on to put messages back, if the client may put them into the queues in which they died.
    fn allow_redriving(&mut self, id: ClientId, waits: Waits, redriving: Redriving) -> Result<(), Error> {
        let Some((slot, command, name)) = self.waiting_command(id) else { return Ok(()) };
        for origin in redriving.origins() {
            self.check_origin(slot, command, &name, origin, redriving.db())?;
        }
        self.broker.go_on_redriving(waits, redriving);
        Ok(())
    }

    /// Whether a client may put messages of a queue back into another one: as if it had named it.
    ///
    /// # Errors
    /// It may not.
    pub(super) fn check_origin(
        &mut self,
        slot: Slot,
        command: &'static Command,
        name: &[u8],
        origin: &[u8],
        db: usize,
    ) -> Result<(), Error> {
        let mut batch = Batch::new();
        let words: [&[u8]; 4] = [b"MQ.REDRIVE", name, b"TO", origin];
        match batch.push_command(words) {
            Ok(_) => self.check_call(slot, command, batch.command(0), db),
            Err(_) => Ok(()),
        }
    }

    /// Tells clients what has become of their consumers.
    fn tell_ended(&mut self) {
        for ended in self.broker.take_ended() {
            let mut out = Output::default();
            let delivery = match ended.reason {
                Some(reason) => Delivery::Cancelled { tag: &ended.tag, reason },
                None => Delivery::Active { tag: &ended.tag, active: true },
            };
            put_delivery(&mut out, &delivery);
            self.send_frames(ended.client, out);
        }
    }

    /// Messages that exchanges have for channels.
    #[inline(always)]
    pub(super) fn publish_for_broker(&mut self) {
        if self.broker.has_for_channels() {
            self.publish_what_is_for_channels();
        }
    }

    #[cold]
    fn publish_what_is_for_channels(&mut self) {
        for message in self.broker.take_for_channels() {
            self.publish(&message.channel, &message.body);
        }
    }
}

/// Writes something for a client as a frame of RESP3.
fn put_delivery(out: &mut Output, delivery: &Delivery<'_>) {
    let mut reply = Reply::new(out, Resp::V3);
    match delivery {
        Delivery::Message { tag, queue, message } => {
            reply.push(6);
            reply.text("mq.deliver");
            reply.bulk(tag);
            reply.bulk(queue);
            reply.bulk(&receipt(message));
            // What is delivered has been brought into memory.
            reply.bulk(message.parcel.body_here().unwrap_or_default());
            put_meta(&mut reply, message);
        }
        Delivery::Cancelled { tag, reason } => {
            reply.push(3);
            reply.text("mq.cancel");
            reply.bulk(tag);
            reply.text(reason);
        }
        Delivery::Active { tag, active } => {
            reply.push(3);
            reply.text("mq.active");
            reply.bulk(tag);
            reply.boolean(*active);
        }
    }
}

/// Whether a snapshot has this command in front of its keys. A file of data must not run anything else.
fn belongs_in_snapshot(argv: Argv<'_>) -> bool {
    let is = |at, words: &[&str]| {
        let word: &[u8] = argv.get(at).unwrap_or_default();
        words.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes()))
    };
    is(0, &["SELECT"])
        || is(0, &["MQ.POLICY"]) && is(1, &["SET"])
        || is(0, &["MQ.SCHEDULE"]) && is(1, &["SET", "PAUSE"])
}
