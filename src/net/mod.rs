//! Sockets: reading, cutting into commands, writing replies, on the executor's own thread.
//!
//! One turn of [`EventLoop`]:
//!
//! ```text
//!  poll ──► read every ready connection, parse ──► Jobs ──► Server::run ──► replies out, orders done ──► accept ──► cron
//!           (in waves, so that no turn holds more than a bounded number of batches)
//! ```
//!
//! Events are edge-triggered and registered once for both directions: a connection costs no further system call than
//! its reads and writes. What that asks for is kept in the connection: whether there may be more to read.
//!
//! Fairness: a connection is read once a turn, at most [`READ_BYTES`] (more for one big argument), and written to about
//! as much as fits between two others; who has more comes again in the next turn, behind everybody else. A turn that
//! lasts long stops taking in more and leaves commands that it has taken in for the next one, so that others, new
//! connections, timers and signals have theirs.
//!
//! Who hangs up has what it sent before executed, however many turns that takes, whether anybody takes the replies or not:
//! its connection stays until nothing is left of that. But a command that would wait for data ends it, and so does the
//! end of the peer while CLIENT PAUSE holds its commands back.
//!
//! What must stay true: every list of connections to be looked at names them by slot and number, since a slot may have
//! been taken over when its turn comes; a connection has at most one job at a time.

mod connection;
mod handshakes;
mod kept_back;
mod listener;
mod sleep;
mod tls;

pub use listener::{ListenError, can_listen};

use crate::command::reply::Output;
use crate::config::ClientClass;
use crate::server::Server;
use crate::server::client::{Accepted, ClientFlags, ClientId, IoFacts, Slot};
use crate::server::message::{FanOut, Job, JobState, Order};
use connection::{Connection, ReadEnd, Stream, Wait};
use handshakes::Handshakes;
use kept_back::{Kept, KeptBack};
use listener::Listener;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use sleep::Sleeper;
use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;
use weir_resp::{Batch, Limits, Need, Parser};

/// Most bytes of one connection that are read in a turn.
const READ_BYTES: usize = 16 * 1024;
/// The same while one big argument is coming in.
const READ_BYTES_BIG: usize = 256 * 1024;
/// How often a connection is read in a turn while one big argument is coming in.
const READS_BIG: usize = 4;
/// Connections whose commands are executed together.
const WAVE: usize = 64;
/// Who has sent more commands than that stands behind those who have not, in a wave.
const MANY_COMMANDS: usize = 64;
/// Events taken from the system at once.
const EVENTS: usize = 1024;
/// Execution for a connection stops while this many bytes of replies wait for it, unless output limits are configured
/// that end the connection instead.
const OUTPUT_PAUSE_BYTES: usize = 16 * 1024 * 1024;
/// Heap that a buffer may keep when it goes back to be used again.
const BUFFER_KEEP_BYTES: usize = 64 * 1024;
/// A turn takes in no more than one wave after so many microseconds.
const TURN_US: u64 = 1_000;
/// What does not answer a command of this turn waits for the next one after so many microseconds.
const WRITE_US: u64 = 1_000;
/// How often, in ms, connections with replies that wait are looked at although nothing happens to them.
const LIMITS_CHECK_MS: i64 = 100;
/// How long, in ms, no connection is accepted after the system ran out of file descriptors.
const ACCEPT_PAUSE_MS: i64 = 100;
/// Buffers kept to be used again.
const POOL_MAX: usize = 2 * WAVE;

const WAKE_TOKEN: Token = Token(usize::MAX - 3);
const SIGNAL_TOKEN: Token = Token(usize::MAX - 2);
const LISTENER_TOKENS: usize = usize::MAX / 2;
const HANDSHAKE_TOKENS: usize = usize::MAX / 4;

/// Sockets and the loop around the server.
pub struct EventLoop {
    poll: Poll,
    sleeper: Sleeper,
    server: Server,
    connections: Vec<Option<Box<Connection>>>,
    listeners: Vec<ListenerState>,
    handshakes: Handshakes,
    /// Which listener is asked first for connections; moves on, so that none starves another.
    first_listener: usize,
    signals: Option<SignalSource>,
    /// A signal has asked for the end.
    signalled: bool,
    /// Connections that may have something to read.
    ready: VecDeque<Named>,
    /// Connections whose commands can go on.
    resumable: VecDeque<Named>,
    /// Connections that take more than they were given.
    writable: VecDeque<Named>,
    /// Replies and messages that wait until changes are on disk.
    kept_back: KeptBack,
    jobs: Vec<Job>,
    spare_batches: Vec<Batch>,
    spare_outputs: Vec<Vec<u8>>,
    read_buffer: Vec<u8>,
    /// Not before this time (unix ms) are connections accepted again, after the system ran out of file descriptors.
    accept_after_ms: i64,
    /// When the limits on output are next looked at (unix ms).
    limits_check_ms: i64,
}

/// Where among those who go on they stand for whom no time was left.
#[derive(Clone, Copy)]
enum Left {
    First,
    Last,
}

/// A connection on a list.
type Named = (Slot, ClientId);

struct ListenerState {
    listener: Listener,
    /// A connection may be there to be accepted.
    readable: bool,
}

/// Where the loop hears that the process is to end.
pub struct SignalSource {
    /// Becomes readable when something has arrived.
    pub fd: RawFd,
    /// What has arrived since the last call: the name of a signal that asks for the end.
    pub take: Box<dyn FnMut() -> Option<&'static str>>,
    /// Is told when the process does not end after all.
    pub abandoned: Box<dyn Fn()>,
}

impl EventLoop {
    /// Opens the listening sockets of the server's configuration.
    pub fn new(server: Server, signals: Option<SignalSource>) -> Result<EventLoop, ListenError> {
        let failed = |error| ListenError { address: "the event queue".to_owned(), error };
        let mut this = EventLoop {
            poll: Poll::new().map_err(failed)?,
            sleeper: Sleeper::new(),
            server,
            connections: Vec::new(),
            listeners: Vec::new(),
            handshakes: Handshakes::default(),
            first_listener: 0,
            signals,
            signalled: false,
            ready: VecDeque::new(),
            resumable: VecDeque::new(),
            writable: VecDeque::new(),
            kept_back: KeptBack::default(),
            jobs: Vec::with_capacity(WAVE),
            spare_batches: Vec::new(),
            spare_outputs: Vec::new(),
            read_buffer: vec![0; READ_BYTES_BIG],
            accept_after_ms: 0,
            limits_check_ms: 0,
        };
        let waker = Arc::new(Waker::new(this.poll.registry(), WAKE_TOKEN).map_err(failed)?);
        this.server.wake_by(Arc::new(move || {
            // It fails only when the loop is gone.
            let _ = waker.wake();
        }));
        if let Some(signals) = &this.signals {
            let mut source = SourceFd(&signals.fd);
            this.poll.registry().register(&mut source, SIGNAL_TOKEN, Interest::READABLE).map_err(failed)?;
        }
        let opened = Listener::open_all(&this.server.config)?;
        this.listen_on(opened).map_err(failed)?;
        Ok(this)
    }

    /// The server, before or after the loop.
    pub fn server(&mut self) -> &mut Server {
        &mut self.server
    }

    /// Kind (`tcp`, `tls`, `unix`) of each listening socket.
    pub fn listening(&self) -> Vec<&'static str> {
        let mut kinds: Vec<_> = self.listeners.iter().map(|l| l.listener.kind()).collect();
        kinds.dedup();
        kinds
    }

    fn listen_on(&mut self, opened: Vec<Listener>) -> io::Result<()> {
        for mut listener in opened {
            let token = Token(LISTENER_TOKENS + self.listeners.len());
            self.poll.registry().register(&mut listener, token, Interest::READABLE)?;
            self.listeners.push(ListenerState { listener, readable: true });
        }
        self.server.listeners = self.listeners.iter().map(|l| l.listener.describe()).collect();
        Ok(())
    }

    /// Runs while the server reads its data, or until it is told to end.
    pub fn run_while_loading(&mut self) -> io::Result<()> {
        self.run_while(Server::is_loading)
    }

    /// Runs until the server is told to end.
    pub fn run(&mut self) -> io::Result<()> {
        self.run_while(|_| true)?;
        self.flush_all();
        Ok(())
    }

    fn run_while(&mut self, goes_on: fn(&Server) -> bool) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        self.server.begin_turn();
        while self.server.shutdown.is_none() && goes_on(&self.server) {
            let gathers = self.server.gathers_for_disk();
            let timeout = if gathers { Duration::ZERO } else { self.timeout() };
            // Where replies wait for the disk, who sees to that may need the processor.
            let look_us = if self.kept_back.is_empty() { self.server.config.busy_poll_us } else { 0 };
            let look = Duration::from_micros(u64::from(look_us));
            match self.sleeper.wait(&mut self.poll, &mut events, timeout, look) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => events.clear(),
                result => result?,
            }
            if gathers && events.is_empty() && self.ready.is_empty() && self.resumable.is_empty() {
                self.server.nobody_comes();
            }
            self.server.begin_turn();
            self.note(&events);
            self.turn();
        }
        Ok(())
    }

    /// Everything that one look at the system's events leads to.
    fn turn(&mut self) {
        self.let_go();
        self.flush_writable();
        for _ in 0..self.resumable.len() {
            if self.jobs.len() == WAVE {
                self.execute(Left::First);
                if self.server.turn_us() >= TURN_US {
                    break;
                }
            }
            if let Some(named) = self.resumable.pop_front() {
                self.resume(named);
            }
        }
        // Jobs that were resumed run before their connections are read again.
        self.execute(Left::First);
        // Who is ready now is served now; who has more comes in the next turn.
        let mut left = self.ready.len();
        let mut first = true;
        while left > 0 && (std::mem::take(&mut first) || self.server.turn_us() < TURN_US) {
            let wave = left.min(WAVE);
            left -= wave;
            for _ in 0..wave {
                if let Some(named) = self.ready.pop_front() {
                    self.read(named);
                }
            }
            // Who wants little does not wait for those who want much; they have their turns all the same.
            self.jobs.sort_by_key(|job| job.batch.len() - job.next > MANY_COMMANDS);
            self.execute(Left::Last);
        }
        self.shake_hands();
        self.accept();
        self.check_limits();
        self.server.end_turn();
        if self.signalled && !self.server.is_ending() {
            self.signalled = false;
            self.signals.iter().for_each(|source| (source.abandoned)());
        }
        self.server.evict_clients();
        self.do_orders();
    }

    fn timeout(&self) -> Duration {
        let accepting = self.listeners.iter().any(|l| l.readable) && self.accept_after_ms == 0;
        let more = accepting
            || self.handshakes.any_ready()
            || !self.ready.is_empty()
            || !self.resumable.is_empty()
            || !self.writable.is_empty();
        if more { Duration::ZERO } else { self.server.idle_time() }
    }

    /// Takes note of what the system says.
    fn note(&mut self, events: &Events) {
        for event in events {
            let token = event.token();
            if token == WAKE_TOKEN {
                // What it is about is looked at in every turn.
            } else if token == SIGNAL_TOKEN {
                if let Some(name) = self.signals.as_mut().and_then(|s| (s.take)()) {
                    self.server.signalled(name);
                    self.signalled = true;
                }
            } else if token.0 >= LISTENER_TOKENS {
                if let Some(listener) = self.listeners.get_mut(token.0 - LISTENER_TOKENS) {
                    listener.readable = true;
                }
            } else if token.0 >= HANDSHAKE_TOKENS {
                self.handshakes.note(token.0 - HANDSHAKE_TOKENS);
            } else {
                let Some(connection) = self.connections.get_mut(token.0).and_then(Option::as_deref_mut) else {
                    continue;
                };
                let named = (connection.slot, connection.id);
                connection.hung_up |= event.is_read_closed() || event.is_error();
                if connection.wait == Wait::Data && connection.has_gone_unread() {
                    self.close(named);
                    continue;
                }
                let takes_more = event.is_writable() || event.is_error();
                connection.full &= !takes_more;
                if event.is_readable() || connection.hung_up {
                    connection.readable = !connection.ended;
                    self.enqueue(named);
                }
                if takes_more {
                    self.flush(named);
                }
            }
        }
    }

    /// A connection, if it is still there.
    #[inline]
    fn connection(&mut self, (slot, id): Named) -> Option<&mut Connection> {
        self.connections.get_mut(slot.0 as usize)?.as_deref_mut().filter(|connection| connection.id == id)
    }

    /// Puts a connection on the list of those to be read, if it has something to read and is not on it.
    fn enqueue(&mut self, named: Named) {
        if let Some(connection) = self.connection(named)
            && !connection.queued
            && connection.wants_turn()
        {
            connection.queued = true;
            self.ready.push_back(named);
        }
    }

    /// What commands of a connection have waited for is there: puts it on the list of those that go on.
    fn resume_later(&mut self, named: Named) {
        if let Some(connection) = self.connection(named)
            && !matches!(connection.wait, Wait::Nothing | Wait::Turn)
        {
            connection.wait = Wait::Turn;
            self.resumable.push_back(named);
        }
    }

    /// Reads a connection: once, or a few times while one big argument is coming in, which is no work for the executor.
    fn read(&mut self, named: Named) {
        for _ in 0..READS_BIG {
            match self.read_once(named) {
                Some(true) => {}
                Some(false) => break,
                None => return,
            }
        }
        // Behind the job, so that what it leaves is what comes first.
        self.enqueue(named);
    }

    /// Reads a connection once, cuts what came in, and makes a job of it if there is something to execute. Says whether more
    /// should be read at once; `None` if nothing is to be read at all.
    fn read_once(&mut self, named: Named) -> Option<bool> {
        let query_limit = usize::try_from(self.server.config.client_query_buffer_limit).unwrap_or(usize::MAX);
        let unlimited = self.server.config.output_buffer_limit(ClientClass::Normal).is_unlimited();
        let found = self.connections.get_mut(named.0.0 as usize).and_then(Option::as_deref_mut);
        let connection = found.filter(|c| c.id == named.1)?;
        connection.queued = false;
        if !connection.wants_turn() || connection.closing || connection.error.is_some() {
            return None;
        }
        if connection.wait == Wait::Nothing && unlimited && connection.pending_bytes() >= OUTPUT_PAUSE_BYTES {
            connection.wait = Wait::Output;
        }
        let waiting = connection.wait != Wait::Nothing;
        let (mut batch, next) = match connection.held.take() {
            Some(held) => *held,
            None => (Batch::new(), 0),
        };
        if connection.wait == Wait::Output && batch.read_buffer().len() + READ_BYTES_BIG > query_limit {
            // It asks for more than it takes: the rest stays in its socket until it has taken some.
            connection.held = Some(Box::new((batch, next)));
            return None;
        }
        if batch.is_empty() && batch.tail().len() < READ_BYTES {
            // What was kept of the last read goes on in a buffer of the loop's.
            let mut roomy = self.spare_batches.pop().unwrap_or_else(|| {
                let mut fresh = Batch::new();
                fresh.read_buffer().reserve(2 * READ_BYTES);
                fresh
            });
            batch.carry_into(&mut roomy);
            batch = roomy;
        }
        if !connection.uncut {
            let wanted = if connection.missing > READ_BYTES { READ_BYTES_BIG } else { READ_BYTES };
            let (count, end) = connection.read(&mut self.read_buffer[..wanted], batch.read_buffer());
            // Room that was made in its socket lets more of a big argument come in at once: that is read before others, who have
            // sent theirs behind it, have their turns.
            let more_comes = wanted == READ_BYTES_BIG && count > 0 && end == ReadEnd::Drained;
            connection.readable = end == ReadEnd::More || more_comes;
            connection.ended = end == ReadEnd::Closed;
            if count > 0 {
                self.server.stats.counters.total_net_input_bytes += count as u64;
                self.server.stats.counters.total_reads_processed += 1;
            }
            if let Some(client) = self.server.clients.get_mut(named.0) {
                client.io.net_in += count as u64;
                client.io.query_bytes = batch.read_buffer().len();
                client.active_ms = self.server.store.now_ms();
                client.heard_ms = client.active_ms;
            }
        }
        if connection.ended {
            // What it has sent is still executed, and what it is owed still sent; but for who leaves during a pause.
            let client = self.server.clients.get(named.0);
            let paused = client.is_none_or(|client| client.flags.contains(ClientFlags::PAUSED));
            if matches!(connection.wait, Wait::Output | Wait::Script) || connection.wait == Wait::Pause && !paused {
                connection.held = Some(Box::new((batch, next)));
            } else if waiting {
                self.close(named);
            } else {
                connection.closing = true;
                recycle(&mut self.spare_batches, batch);
                if connection.pending_bytes() == 0 || connection.hung_up && connection.is_broken() {
                    self.close(named);
                }
            }
            return None;
        }
        let limits = Limits {
            proto_max_bulk_len: self.server.config.proto_max_bulk_len,
            authenticated: self.server.clients.get(named.0).is_some_and(|c| c.is_authenticated()),
            ..Limits::default()
        };
        match connection.parser.parse(&mut batch, &limits) {
            Ok(progress) => {
                connection.missing = if let Need::Bytes(missing) = progress.need { missing } else { 0 };
                if connection.missing > READ_BYTES {
                    let tail = batch.tail().len();
                    batch.read_buffer().reserve_exact(progress.need.reserve_bytes(tail));
                }
                connection.uncut = progress.need == Need::Execute;
            }
            Err(error) => connection.error = Some(error),
        }
        let held_bytes = if matches!(connection.wait, Wait::Pause | Wait::Data | Wait::Script) {
            batch.read_buffer().len()
        } else {
            batch.tail().len()
        };
        let queued_bytes = self.server.clients.get(named.0).map_or(0, |client| client.queued_bytes());
        if held_bytes + queued_bytes > query_limit {
            tracing::warn!(
                "closing client that reached the query buffer limit: {}",
                client_name(&self.server, named.0)
            );
            self.server.stats.counters.client_query_buffer_limit_disconnections += 1;
            self.close(named);
            return None;
        }
        let done = next == batch.len() && connection.error.is_none();
        if waiting {
            connection.held = Some(Box::new((batch, next)));
        } else if done && !keep_tail(connection, &mut batch) {
            recycle(&mut self.spare_batches, batch);
        } else if !done {
            self.make_job(named, batch, next);
        }
        if waiting || done {
            self.report(named);
        }
        let connection = self.connection(named)?;
        Some(done && !waiting && connection.readable && connection.missing > READ_BYTES)
    }

    fn make_job(&mut self, named: Named, batch: Batch, next: usize) {
        let hard_bytes = self.server.output_limit(named.0).hard_bytes;
        let unlimited = self.server.config.output_buffer_limit(ClientClass::Normal).is_unlimited();
        let out = Output::reusing(self.spare_outputs.pop().unwrap_or_default());
        let Some(connection) = self.connection(named) else { return };
        let waiting = connection.pending_bytes();
        // Where a limit ends the connection, execution goes on as far as the limit and no further.
        let hard_bytes = usize::try_from(hard_bytes).ok().filter(|&bytes| bytes > 0);
        let bytes_max = if unlimited { OUTPUT_PAUSE_BYTES } else { hard_bytes.unwrap_or(usize::MAX) };
        connection.wait = Wait::Nothing;
        let error = connection.error.take();
        self.jobs.push(Job {
            slot: named.0,
            batch,
            next,
            error,
            out,
            state: JobState::Ready,
            out_bytes_max: bytes_max.saturating_sub(waiting).max(1),
            ends_at_max: !unlimited && hard_bytes.is_some(),
        });
    }

    /// Makes a job of commands that had to wait.
    fn resume(&mut self, named: Named) {
        let blocked = self.server.clients.get(named.0).is_some_and(|c| c.flags.contains(ClientFlags::BLOCKED));
        let Some(connection) = self.connection(named) else { return };
        debug_assert!(connection.wait == Wait::Turn && !blocked, "it goes on once, and not while it waits for data");
        connection.wait = Wait::Nothing;
        if let Some(held) = connection.held.take() {
            let (batch, next) = *held;
            self.make_job(named, batch, next);
        }
        // What it has sent in the meantime may have been left in its socket.
        self.enqueue(named);
    }

    /// Executes the jobs at hand and sends the replies. Those who had no turn stand first or last among those who go on; who was
    /// interrupted stands behind them.
    fn execute(&mut self, untouched: Left) {
        self.server.evict_clients();
        if self.jobs.is_empty() {
            return;
        }
        let mut jobs = std::mem::take(&mut self.jobs);
        self.server.refresh_time();
        self.server.run(&mut jobs);
        if !self.server.outbox.is_empty() && self.server.outbox.take_listen() {
            self.listen_anew();
        }
        if self.server.shutdown.is_some() {
            // Whoever sees its connection end finds that there is nobody to connect to any more.
            self.listeners.clear();
        }
        let mut before_messages =
            if self.server.outbox.has_messages() { self.put_recipients_first(&mut jobs) } else { usize::MAX };
        let mut first: Vec<Named> = Vec::new();
        let mut interrupted = None;
        for job in jobs.drain(..) {
            if before_messages == 0 {
                self.do_orders();
            }
            before_messages = before_messages.wrapping_sub(1);
            let (slot, state) = (job.slot, job.state);
            self.settle(job);
            if !matches!(state, JobState::Unfinished | JobState::Untouched) {
                continue;
            }
            let Some(connection) = self.connections.get(slot.0 as usize).and_then(Option::as_deref) else { continue };
            let named = (slot, connection.id);
            match (state, untouched) {
                (JobState::Unfinished, _) => interrupted = Some(named),
                (_, Left::First) => first.push(named),
                (_, Left::Last) => self.resumable.push_back(named),
            }
        }
        first.into_iter().rev().for_each(|named| self.resumable.push_front(named));
        self.resumable.extend(interrupted);
        self.jobs = jobs;
        self.do_orders();
    }

    /// Messages go out before the replies to those whose commands caused them: who has a reply may tell somebody of it, and
    /// that one's cache must know of the change by then. Only who is sent a message gets its own replies in front of it; so do
    /// those who wait for the end of a pause. How many they are.
    #[cold]
    fn put_recipients_first(&self, jobs: &mut [Job]) -> usize {
        let connections =
            jobs.iter().filter_map(|job| self.connections.get(job.slot.0 as usize).and_then(Option::as_deref));
        let clients: Vec<(ClientId, Slot)> = connections.map(|connection| (connection.id, connection.slot)).collect();
        let named = self.server.outbox.named_among(&clients);
        let is_first = |job: &Job| job.state == JobState::Paused || named.contains(&job.slot);
        jobs.sort_by_key(|job| !is_first(job));
        jobs.iter().take_while(|job| is_first(job)).count()
    }

    /// Sends a job's replies and keeps what is left of it.
    fn settle(&mut self, job: Job) {
        let Job { slot, mut batch, next, error, out, state, .. } = job;
        let Some(connection) = self.connections.get_mut(slot.0 as usize).and_then(Option::as_deref_mut) else { return };
        let named = (slot, connection.id);
        connection.error = error;
        match state {
            JobState::Paused => connection.wait = Wait::Pause,
            JobState::Full => connection.wait = Wait::Output,
            JobState::Unfinished | JobState::Untouched => connection.wait = Wait::Turn,
            JobState::Blocked if connection.ended || connection.deaf || connection.has_gone_unread() => {
                // It will never read the reply.
                self.close(named);
                return;
            }
            JobState::Blocked => connection.wait = Wait::Data,
            JobState::Suspended => connection.wait = Wait::Script,
            JobState::CloseAfterReply => connection.closing = true,
            JobState::Ready | JobState::Done => connection.closing |= connection.ended,
        }
        let left = next < batch.len() || connection.error.is_some();
        if connection.wait != Wait::Nothing && (left || !matches!(connection.wait, Wait::Data | Wait::Script)) {
            connection.held = Some(Box::new((batch, next)));
        } else if connection.closing || !keep_tail(connection, &mut batch) {
            recycle(&mut self.spare_batches, batch);
        }
        self.send(named, out);
    }

    /// Sends replies, or keeps them back while changes that they may tell of are not on disk.
    fn send(&mut self, named: Named, out: Output) {
        if !out.is_empty() {
            if self.ends_at_output_limit(named, out.len()) {
                return;
            }
            if let Some(position) = self.waits_for(named) {
                self.keep_back(named, position, Kept::Replies(out));
                return;
            }
        }
        self.send_now(named, out);
    }

    /// Up to where changes must be on disk before anything is sent to a client, if they are not yet. What waits already goes
    /// first.
    #[inline]
    fn waits_for(&mut self, named: Named) -> Option<u64> {
        let position = self.server.replies_wait_for().or_else(|| self.server.confirmation_waits_for(named.0));
        if position.is_some() || self.kept_back.is_empty() {
            return position;
        }
        let waits = self.connection(named).is_some_and(|connection| connection.kept_back > 0);
        self.kept_back.last_position().filter(|_| waits)
    }

    fn keep_back(&mut self, named: Named, position: u64, kept: Kept) {
        let Some(connection) = self.connection(named).filter(|connection| !connection.deaf) else { return };
        connection.kept_back += kept.len();
        self.kept_back.push(position, named, kept);
        self.after_output(named);
    }

    /// Sends what was kept back and may go now.
    fn let_go(&mut self) {
        if self.kept_back.is_empty() {
            return;
        }
        let synced = self.server.replies_may_go_to();
        while let Some((named, kept)) = self.kept_back.take(synced) {
            let Some(connection) = self.connection(named) else { continue };
            connection.kept_back -= kept.len();
            match kept {
                Kept::Replies(out) => self.send_now(named, out),
                Kept::Message(message) => {
                    if connection.hears() {
                        connection.push(message);
                        self.flush(named);
                    }
                }
            }
        }
    }

    fn send_now(&mut self, named: Named, out: Output) {
        let Some(connection) = self.connection(named) else { return };
        if out.is_empty() || connection.deaf {
            let (buffer, _) = out.into_parts();
            self.keep_output(buffer);
        } else {
            match connection.send(out) {
                Ok(sent) => {
                    self.count_sent(named, sent.bytes, sent.more);
                    if let Some(buffer) = sent.buffer {
                        self.keep_output(buffer);
                    }
                }
                Err(_) => {
                    self.cannot_send(named);
                    return;
                }
            }
        }
        self.after_output(named);
    }

    /// Nothing can be sent to a connection any more. It ends when what it has sent before is executed.
    #[cold]
    fn cannot_send(&mut self, named: Named) {
        let Some(connection) = self.connection(named) else { return };
        if connection.closing || connection.wait == Wait::Data {
            self.close(named);
            return;
        }
        connection.deafen();
        // The rest is still in its socket, and its end.
        self.enqueue(named);
        self.after_output(named);
    }

    fn keep_output(&mut self, mut buffer: Vec<u8>) {
        if self.spare_outputs.len() < POOL_MAX {
            buffer.clear();
            buffer.shrink_to(BUFFER_KEEP_BYTES);
            self.spare_outputs.push(buffer);
        }
    }

    /// Sends replies in one of the next turns, behind what waits then.
    fn send_later(&mut self, named: Named, out: Output) {
        if out.is_empty() || self.ends_at_output_limit(named, out.len()) {
            return;
        }
        if let Some(position) = self.waits_for(named) {
            self.keep_back(named, position, Kept::Replies(out));
            return;
        }
        let Some(connection) = self.connection(named).filter(|connection| !connection.deaf) else { return };
        connection.put_behind(out);
        if !connection.flushing {
            connection.flushing = true;
            self.writable.push_back(named);
        }
        self.after_output(named);
    }

    /// Writes to connections that take more, until the turn has lasted long: thousands may have been sent something at once.
    fn flush_writable(&mut self) {
        for _ in 0..self.writable.len() {
            if self.server.turn_us() >= WRITE_US {
                return;
            }
            let Some(named) = self.writable.pop_front() else { return };
            if let Some(connection) = self.connection(named) {
                connection.flushing = false;
                if connection.full {
                    // It is written to when the system says so, but what waits for it has grown.
                    self.after_output(named);
                } else {
                    self.flush(named);
                }
            }
        }
    }

    /// Writes what waits for a connection.
    fn flush(&mut self, named: Named) {
        let Some(connection) = self.connection(named) else { return };
        if connection.pending_bytes() == 0 {
            return;
        }
        match connection.flush() {
            Ok((sent, more)) => {
                self.count_sent(named, sent, more);
                self.after_output(named);
            }
            Err(_) => self.cannot_send(named),
        }
    }

    /// Counts bytes that went out, and sees to it that what could go out at once does so in the next turn.
    fn count_sent(&mut self, named: Named, sent: usize, more: bool) {
        if sent > 0 {
            self.server.stats.counters.total_net_output_bytes += sent as u64;
            self.server.stats.counters.total_writes_processed += 1;
            let now_ms = self.server.store.now_ms();
            if let Some(client) = self.server.clients.get_mut(named.0) {
                client.io.net_out += sent as u64;
                client.active_ms = now_ms;
            }
        }
        if more
            && let Some(connection) = self.connection(named)
            && !connection.flushing
        {
            connection.flushing = true;
            self.writable.push_back(named);
        }
    }

    /// Tells the server what CLIENT LIST shows of a connection's buffers.
    fn report(&mut self, named: Named) {
        let Some(connection) = self.connection(named) else { return };
        let query_bytes = connection.query_bytes();
        let (output_bytes, output_chunks) = (connection.pending_bytes(), connection.pending_chunks());
        let (buffer_heap, referenced_bytes) = (connection.heap_bytes(), connection.referenced_bytes());
        self.server.io_changed(named.0, |io| {
            *io = IoFacts { query_bytes, output_bytes, output_chunks, buffer_heap, referenced_bytes, ..*io };
        });
    }

    /// Looks at a connection whose output has changed: reports its figures, ends it or lets it go on.
    fn after_output(&mut self, named: Named) {
        self.report(named);
        let Some(connection) = self.connection(named) else { return };
        let waiting = connection.pending_bytes();
        if waiting == 0 && connection.closing {
            self.close(named);
            return;
        }
        let wait = connection.wait;
        if waiting == 0 {
            connection.soft_limit_since_ms = 0;
        } else if self.exceeds_output_limit(named, waiting) {
            self.close_at_output_limit(named, waiting);
            return;
        }
        if wait == Wait::Output {
            // Without a limit it has to take most of what waits first; with one it goes on until the limit ends it.
            let hard_bytes = self.server.output_limit(named.0).hard_bytes;
            let enough = if hard_bytes == 0 { OUTPUT_PAUSE_BYTES as u64 / 2 } else { hard_bytes };
            if (waiting as u64) < enough {
                self.resume_later(named);
            }
        }
    }

    /// Ends a connection for which more would wait than is allowed once so much more is added. It gets nothing of that,
    /// however much of it would fit into its socket.
    fn ends_at_output_limit(&mut self, named: Named, more: usize) -> bool {
        let hard_bytes = self.server.output_limit(named.0).hard_bytes;
        let Some(connection) = self.connection(named) else { return false };
        let waiting = connection.pending_bytes() + more;
        let ends = hard_bytes > 0 && waiting as u64 >= hard_bytes;
        if ends {
            self.close_at_output_limit(named, waiting);
        }
        ends
    }

    fn close_at_output_limit(&mut self, named: Named, waiting: usize) {
        tracing::warn!(
            "closing client whose output buffer exceeds its limit ({waiting} bytes wait): {}",
            client_name(&self.server, named.0)
        );
        self.server.stats.counters.client_output_buffer_limit_disconnections += 1;
        self.close(named);
    }

    fn exceeds_output_limit(&mut self, named: Named, waiting: usize) -> bool {
        let now_ms = self.server.store.now_ms();
        let limit = self.server.output_limit(named.0);
        let Some(connection) = self.connection(named) else { return false };
        let waiting = waiting as u64;
        if limit.hard_bytes > 0 && waiting >= limit.hard_bytes {
            return true;
        }
        if limit.soft_bytes == 0 || waiting < limit.soft_bytes {
            connection.soft_limit_since_ms = 0;
            return false;
        }
        if connection.soft_limit_since_ms == 0 {
            connection.soft_limit_since_ms = now_ms;
        }
        let seconds = i64::try_from(limit.soft_seconds).unwrap_or(i64::MAX);
        now_ms - connection.soft_limit_since_ms > seconds.saturating_mul(1000)
    }

    /// Looks at connections with replies that wait although nothing happens to them: time passes, and limits change.
    fn check_limits(&mut self) {
        let now_ms = self.server.store.now_ms();
        if now_ms < self.limits_check_ms && self.limits_check_ms <= now_ms + LIMITS_CHECK_MS {
            return;
        }
        self.limits_check_ms = now_ms + LIMITS_CHECK_MS;
        let waiting = self.connections.iter().flatten().filter(|c| c.pending_bytes() > 0);
        for named in waiting.map(|c| (c.slot, c.id)).collect::<Vec<_>>() {
            self.after_output(named);
        }
    }

    /// Does what the server has ordered. Messages are written at the end, so that several to one client are one write.
    fn do_orders(&mut self) {
        let mut pushed: Vec<Named> = Vec::new();
        while !self.server.outbox.is_empty() {
            let mut orders = self.server.outbox.take().into_iter();
            while let Some(order) = orders.next() {
                match order {
                    Order::FanOut(fan_out) => {
                        let more_follows = orders.len() > 0 || !self.server.outbox.is_empty();
                        self.fan_out(*fan_out, more_follows, &mut pushed);
                    }
                    Order::Push(id, message) => {
                        if let Some(named) = self.server.clients.slot_of(id).map(|slot| (slot, id))
                            && self.connection(named).is_some_and(|connection| connection.hears())
                        {
                            if let Some(position) = self.waits_for(named) {
                                self.keep_back(named, position, Kept::Message(message));
                            } else if let Some(connection) = self.connection(named) {
                                connection.push(message);
                                note_pushed(connection, &mut pushed);
                            }
                        }
                    }
                    Order::Answer(id, out) => {
                        if let Some(named) = self.server.clients.slot_of(id).map(|slot| (slot, id)) {
                            self.resume_later(named);
                            if self.server.turn_us() < WRITE_US {
                                self.send(named, out);
                            } else {
                                self.send_later(named, out);
                            }
                        }
                    }
                    Order::Close(id) => {
                        if let Some(slot) = self.server.clients.slot_of(id) {
                            self.close((slot, id));
                        }
                    }
                    Order::Resume => {
                        let paused = self.connections.iter().flatten().filter(|c| c.wait == Wait::Pause);
                        for named in paused.map(|c| (c.slot, c.id)).collect::<Vec<_>>() {
                            self.resume_later(named);
                        }
                    }
                    Order::Listen => self.listen_anew(),
                }
            }
        }
        if !pushed.is_empty() {
            pushed.retain(|&named| !self.ends_at_output_limit(named, 0));
            self.writable.extend(pushed);
            self.flush_writable();
        }
    }

    /// Sends the same to many clients: at once, unless more may follow for them, or the turn has lasted long.
    fn fan_out(&mut self, fan_out: FanOut, more_follows: bool, pushed: &mut Vec<Named>) {
        let (recipients, mut frames) = fan_out.into_parts();
        let now_ms = self.server.store.now_ms();
        let hard_bytes = self.server.config.output_buffer_limit(ClientClass::Pubsub).hard_bytes;
        let (mut bytes, mut writes) = (0, 0);
        let waits_for = self.server.replies_wait_for();
        for slot in recipients {
            let late = self.server.turn_us() >= WRITE_US;
            let connection = self.connections.get_mut(slot.0 as usize).and_then(Option::as_deref_mut);
            let (Some(connection), Some(client)) = (connection, self.server.clients.get_mut(slot)) else { continue };
            if !connection.hears() {
                continue;
            }
            let message = frames.encoded(client.resp);
            let kept = self.kept_back.last_position().filter(|_| connection.kept_back > 0);
            if let Some(position) = waits_for.or(kept) {
                connection.kept_back += message.len();
                self.kept_back.push(position, (connection.slot, connection.id), Kept::Message(Arc::clone(message)));
                continue;
            }
            let too_long = hard_bytes > 0 && message.len() as u64 >= hard_bytes;
            let at_once = !more_follows && !too_long && connection.pending_bytes() == 0;
            if late || !at_once {
                connection.push(Arc::clone(message));
                note_pushed(connection, pushed);
                continue;
            }
            let named = (connection.slot, connection.id);
            match connection.send_shared(message) {
                Ok(sent) => {
                    client.io.net_out += sent as u64;
                    client.active_ms = now_ms;
                    bytes += sent;
                    writes += usize::from(sent > 0);
                    if sent < message.len() {
                        note_pushed(connection, pushed);
                    }
                }
                Err(_) => self.cannot_send(named),
            }
        }
        self.server.stats.counters.total_net_output_bytes += bytes as u64;
        self.server.stats.counters.total_writes_processed += writes as u64;
    }

    /// Changes the TCP sockets after `port` or `bind` changed. The server has made sure before that it is possible; if it
    /// is not after all, the old ones stay.
    fn listen_anew(&mut self) {
        let config = self.server.config.clone();
        let mut listeners: Vec<Listener> = self.listeners.drain(..).map(|state| state.listener).collect();
        for listener in &mut listeners {
            // An error means that it is not registered, which is what is wanted.
            let _ = self.poll.registry().deregister(listener);
        }
        let opened = match Listener::open_tcp_beside(&config, &listeners) {
            Ok(opened) => {
                listeners.retain(|listener| listener.is_wanted(&config));
                opened
            }
            // Perhaps an old socket is in the way of a more general new one.
            Err(_) => {
                let (wanted, old): (Vec<_>, Vec<_>) = listeners.into_iter().partition(|l| l.is_wanted(&config));
                listeners = wanted;
                let places: Vec<_> = old.iter().filter_map(Listener::place).collect();
                drop(old);
                Listener::open_tcp_beside(&config, &listeners).unwrap_or_else(|error| {
                    tracing::error!("{error}; the old addresses stay in use");
                    places.iter().flat_map(|place| Listener::open_at(&config, place)).collect()
                })
            }
        };
        listeners.extend(opened);
        if let Err(error) = self.listen_on(listeners) {
            tracing::error!("could not watch the listening sockets: {error}");
        }
    }

    fn accept(&mut self) {
        if !self.listeners.iter().any(|l| l.readable) {
            return;
        }
        let now_ms = self.server.store.now_ms();
        // A clock that was set back must not keep the door closed for longer.
        if now_ms < self.accept_after_ms && self.accept_after_ms <= now_ms + ACCEPT_PAUSE_MS {
            return;
        }
        self.accept_after_ms = 0;
        let plain_max = self.server.config.max_new_connections_per_cycle as usize;
        let tls_max = self.server.config.max_new_tls_connections_per_cycle as usize;
        let mut room = [plain_max, tls_max];
        self.first_listener += 1;
        for at in 0..self.listeners.len() {
            let index = (self.first_listener + at) % self.listeners.len();
            let tls = self.listeners[index].listener.is_tls();
            let room = &mut room[usize::from(tls)];
            while self.listeners[index].readable && *room > 0 {
                *room -= 1;
                match self.listeners[index].listener.accept(&self.server.config) {
                    Ok((stream, accepted)) if tls => self.welcome_to_handshake(stream, accepted),
                    Ok((stream, accepted)) => drop(self.welcome(stream, accepted)),
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.listeners[index].readable = false,
                    Err(e) if matches!(e.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted) => {}
                    Err(error) if self.give_up_a_handshake(&error) => return,
                    Err(error) => {
                        // No descriptors, or no memory for one: whoever is connected goes on, and new ones wait.
                        tracing::warn!("error accepting a client connection: {error}");
                        self.accept_after_ms = now_ms + ACCEPT_PAUSE_MS;
                        return;
                    }
                }
            }
        }
    }

    /// A connection becomes a client, unless the server does not want it.
    fn welcome(&mut self, mut stream: Stream, accepted: Accepted) -> Option<Named> {
        let slot = match self.server.connect(accepted) {
            Ok(slot) => slot,
            Err(refusal) => {
                // It is going to be closed whether it reads this or not.
                let mut refused = Connection::new(stream, Slot(u32::MAX), ClientId(0));
                refused.push(refusal.into());
                let _ = refused.flush();
                refused.stream.say_goodbye();
                return None;
            }
        };
        let token = Token(slot.0 as usize);
        if let Err(error) = self.poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE) {
            tracing::warn!("could not watch a client connection: {error}");
            self.server.disconnect(slot);
            return None;
        }
        let id = self.server.clients.get(slot).map_or(ClientId(0), |c| c.id);
        if self.connections.len() <= slot.0 as usize {
            self.connections.resize_with(slot.0 as usize + 1, || None);
        }
        self.connections[slot.0 as usize] = Some(Box::new(Connection::new(stream, slot, id)));
        Some((slot, id))
    }

    /// Ends a connection.
    fn close(&mut self, named: Named) {
        if self.connection(named).is_none() {
            return;
        }
        if let Some(mut connection) = self.connections[named.0.0 as usize].take() {
            // Closing the socket takes it out of the queue as well.
            let _ = self.poll.registry().deregister(&mut connection.stream);
            connection.stream.say_goodbye();
        }
        self.server.disconnect(named.0);
    }

    /// Before the end: what can still be written at once is.
    fn flush_all(&mut self) {
        self.let_go();
        for connection in self.connections.iter_mut().flatten() {
            // The process ends; whoever does not take it now does not get it.
            while let Ok((_, true)) = connection.flush() {}
        }
    }
}

/// Puts a connection that was given a message on the list of those to be written to.
fn note_pushed(connection: &mut Connection, pushed: &mut Vec<Named>) {
    if !std::mem::replace(&mut connection.flushing, true) {
        pushed.push((connection.slot, connection.id));
    }
}

/// Keeps the part of a command that is left when a batch's commands are done. Returns whether it kept the batch itself,
/// which it does only for a long part: a short one is copied, in just the memory that it needs.
fn keep_tail(connection: &mut Connection, batch: &mut Batch) -> bool {
    let tail = batch.tail().len();
    if tail == 0 {
        return false;
    }
    let mut kept = Batch::new();
    if tail < READ_BYTES {
        kept.read_buffer().reserve_exact(tail);
        batch.carry_into(&mut kept);
        connection.held = Some(Box::new((kept, 0)));
        return false;
    }
    batch.discard_complete();
    std::mem::swap(&mut kept, batch);
    connection.held = Some(Box::new((kept, 0)));
    true
}

/// Puts a batch back to be used again.
fn recycle(spare: &mut Vec<Batch>, mut batch: Batch) {
    if spare.len() < POOL_MAX && batch.heap_bytes() > 0 {
        batch.clear();
        batch.shrink_to(BUFFER_KEEP_BYTES);
        spare.push(batch);
    }
}

fn client_name(server: &Server, slot: Slot) -> String {
    let Some(client) = server.clients.get(slot) else { return String::new() };
    format!("id={} addr={} name={}", client.id.0, client.addr, client.name.escape_ascii())
}

const _: () = assert!(size_of::<Parser>() <= 32, "a parser sits in every idle connection");
