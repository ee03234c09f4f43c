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
//! Fairness: a connection is read once a turn, at most [`READ_BYTES`] (more for one big argument); who has more comes
//! again in the next turn, behind everybody else.

mod connection;
mod listener;

pub use listener::ListenError;

use crate::command::reply::Output;
use crate::config::OutputBufferLimit;
use crate::server::Server;
use crate::server::client::{ClientId, IoFacts, Slot};
use crate::server::message::{Job, JobState, Order};
use connection::{Connection, ReadEnd, Wait};
use listener::Listener;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::time::Duration;
use weir_resp::{Batch, Limits, Need, Parser};

/// Most bytes of one connection that are read in a turn.
const READ_BYTES: usize = 16 * 1024;
/// The same while one big argument is coming in.
const READ_BYTES_BIG: usize = 256 * 1024;
/// Connections whose commands are executed together.
const WAVE: usize = 64;
/// Events taken from the system at once.
const EVENTS: usize = 1024;
/// Execution for a connection stops while this many bytes of replies wait for it, unless output limits are configured
/// that end the connection instead.
const OUTPUT_PAUSE_BYTES: usize = 4 * 1024 * 1024;
/// Heap that a buffer may keep when it goes back to be used again.
const BUFFER_KEEP_BYTES: usize = 64 * 1024;
/// Buffers kept to be used again.
const POOL_MAX: usize = 2 * WAVE;

const SIGNAL_TOKEN: Token = Token(usize::MAX - 2);
const LISTENER_TOKENS: usize = usize::MAX / 2;

/// Sockets and the loop around the server.
pub struct EventLoop {
    poll: Poll,
    server: Server,
    connections: Vec<Option<Box<Connection>>>,
    listeners: Vec<ListenerState>,
    signals: Option<SignalSource>,
    /// Connections that may have something to read.
    ready: VecDeque<Slot>,
    /// Connections whose commands can go on.
    resumable: Vec<Slot>,
    jobs: Vec<Job>,
    spare_batches: Vec<Batch>,
    spare_outputs: Vec<Vec<u8>>,
    read_buffer: Vec<u8>,
    /// Not before this time (unix ms) are connections accepted again, after the system ran out of file descriptors.
    accept_after_ms: i64,
}

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
}

impl EventLoop {
    /// Opens the listening sockets of the server's configuration.
    pub fn new(server: Server, signals: Option<SignalSource>) -> Result<EventLoop, ListenError> {
        let failed = |error| ListenError { address: "the event queue".to_owned(), error };
        let poll = Poll::new().map_err(failed)?;
        let mut this = EventLoop {
            poll,
            server,
            connections: Vec::new(),
            listeners: Vec::new(),
            signals,
            ready: VecDeque::new(),
            resumable: Vec::new(),
            jobs: Vec::with_capacity(WAVE),
            spare_batches: Vec::new(),
            spare_outputs: Vec::new(),
            read_buffer: vec![0; READ_BYTES_BIG],
            accept_after_ms: 0,
        };
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

    /// Kind (`tcp`, `unix`) of each listening socket.
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

    /// Runs until the server is told to end.
    pub fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        self.server.begin_turn();
        while self.server.shutdown.is_none() {
            let timeout = self.timeout();
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => events.clear(),
                result => result?,
            }
            self.server.begin_turn();
            self.note(&events);
            self.turn();
        }
        self.flush_all();
        Ok(())
    }

    /// Everything that one look at the system's events leads to.
    fn turn(&mut self) {
        // Who is ready now is served now; who has more comes in the next turn.
        let mut left = self.ready.len();
        while left > 0 {
            let wave = left.min(WAVE);
            left -= wave;
            for _ in 0..wave {
                if let Some(slot) = self.ready.pop_front() {
                    self.read(slot);
                }
            }
            self.execute();
        }
        if !self.resumable.is_empty() {
            for slot in std::mem::take(&mut self.resumable) {
                self.resume(slot);
                if self.jobs.len() == WAVE {
                    self.execute();
                }
            }
            self.execute();
        }
        self.accept();
        self.server.end_turn();
        self.do_orders();
    }

    fn timeout(&self) -> Duration {
        let more = !self.ready.is_empty()
            || !self.resumable.is_empty()
            || self.listeners.iter().any(|l| l.readable) && self.accept_after_ms == 0;
        if more { Duration::ZERO } else { self.server.idle_time() }
    }

    /// Takes note of what the system says.
    fn note(&mut self, events: &Events) {
        for event in events {
            let token = event.token();
            if token == SIGNAL_TOKEN {
                if let Some(name) = self.signals.as_mut().and_then(|s| (s.take)()) {
                    self.server.signalled(name);
                }
            } else if token.0 >= LISTENER_TOKENS {
                if let Some(listener) = self.listeners.get_mut(token.0 - LISTENER_TOKENS) {
                    listener.readable = true;
                }
            } else {
                let slot = Slot(token.0 as u32);
                let Some(connection) = self.connections.get_mut(token.0).and_then(Option::as_deref_mut) else {
                    continue;
                };
                if event.is_read_closed() || event.is_error() {
                    connection.hung_up = true;
                }
                if event.is_readable() || connection.hung_up {
                    connection.readable = true;
                    if !connection.queued {
                        connection.queued = true;
                        self.ready.push_back(slot);
                    }
                }
                if event.is_writable() && connection.pending_bytes() > 0 {
                    self.flush(slot);
                }
            }
        }
    }

    /// Reads a connection once, cuts what came in, and makes a job of it if there is something to execute.
    fn read(&mut self, slot: Slot) {
        let Some(connection) = self.connections.get_mut(slot.0 as usize).and_then(Option::as_deref_mut) else { return };
        connection.queued = false;
        let waiting = connection.wait != Wait::Nothing;
        // A batch that is full of commands takes no more until those are executed.
        let idle = if connection.uncut { waiting } else { !connection.readable };
        if idle || connection.closing || connection.error.is_some() {
            return;
        }
        let (mut batch, next) = match connection.held.take() {
            Some(held) => *held,
            None => (Batch::new(), 0),
        };
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
        let query_limit = usize::try_from(self.server.config.client_query_buffer_limit).unwrap_or(usize::MAX);
        if connection.wait == Wait::Output && batch.read_buffer().len() + READ_BYTES_BIG > query_limit {
            // It asks for more than it takes: the rest stays in its socket until it has taken some.
            connection.held = Some(Box::new((batch, next)));
            return;
        }
        let wanted = if connection.parser.is_mid_command() { READ_BYTES_BIG } else { READ_BYTES };
        let (count, end) = if connection.uncut {
            (0, if connection.readable { ReadEnd::More } else { ReadEnd::Drained })
        } else {
            connection.read(&mut self.read_buffer[..wanted])
        };
        connection.readable = end == ReadEnd::More;
        if end == ReadEnd::Closed {
            self.close(slot);
            return;
        }
        let received = &self.read_buffer[..count];
        self.server.stats.counters.total_net_input_bytes += count as u64;
        self.server.stats.counters.total_reads_processed += 1;
        let client = self.server.clients.get_mut(slot);
        let authenticated = client.as_ref().is_some_and(|c| c.is_authenticated());
        if let Some(client) = client {
            client.io.net_in += count as u64;
            client.io.query_bytes = count;
            client.active_ms = self.server.store.now_ms();
        }
        batch.read_buffer().extend_from_slice(received);
        let limits =
            Limits { proto_max_bulk_len: self.server.config.proto_max_bulk_len, authenticated, ..Limits::default() };
        match connection.parser.parse(&mut batch, &limits) {
            Ok(progress) => {
                if let Need::Bytes(_) = progress.need {
                    let tail = batch.tail().len();
                    batch.read_buffer().reserve(progress.need.reserve_bytes(tail));
                }
                connection.uncut = progress.need == Need::Execute;
            }
            Err(error) => connection.error = Some(error),
        }
        if if connection.uncut { !waiting } else { connection.readable } {
            connection.queued = true;
            self.ready.push_back(slot);
        }
        if batch.tail().len() > query_limit
            || (connection.wait == Wait::Pause && batch.read_buffer().len() > query_limit)
        {
            tracing::warn!(
                "closing client that reached the query buffer limit: {}",
                connection_name(&self.server, slot)
            );
            self.server.stats.counters.client_query_buffer_limit_disconnections += 1;
            self.close(slot);
            return;
        }
        if waiting {
            connection.held = Some(Box::new((batch, next)));
            return;
        }
        if next == batch.len() && connection.error.is_none() {
            if !keep_tail(connection, &mut batch) {
                recycle(&mut self.spare_batches, batch);
            }
            return;
        }
        self.make_job(slot, batch, next);
    }

    fn make_job(&mut self, slot: Slot, batch: Batch, next: usize) {
        let Some(connection) = self.connections.get_mut(slot.0 as usize).and_then(Option::as_deref_mut) else { return };
        let limited = self.server.config.client_output_buffer_limit[0] != OutputBufferLimit::default();
        let waiting = connection.pending_bytes();
        let out_bytes_max = if limited { usize::MAX } else { OUTPUT_PAUSE_BYTES.saturating_sub(waiting).max(1) };
        connection.wait = Wait::Nothing;
        self.jobs.push(Job {
            slot,
            batch,
            next,
            error: connection.error.take(),
            out: Output::reusing(self.spare_outputs.pop().unwrap_or_default()),
            state: JobState::Ready,
            out_bytes_max,
        });
    }

    /// Makes a job of commands that had to wait.
    fn resume(&mut self, slot: Slot) {
        let Some(connection) = self.connections.get_mut(slot.0 as usize).and_then(Option::as_deref_mut) else { return };
        connection.wait = Wait::Nothing;
        if let Some(held) = connection.held.take() {
            let (batch, next) = *held;
            self.make_job(slot, batch, next);
        }
        // What it has sent in the meantime may have been left in its socket.
        if let Some(connection) = self.connections.get_mut(slot.0 as usize).and_then(Option::as_deref_mut)
            && (connection.readable || connection.uncut)
            && !connection.queued
        {
            connection.queued = true;
            self.ready.push_back(slot);
        }
    }

    /// Executes the jobs at hand and sends the replies.
    fn execute(&mut self) {
        if self.jobs.is_empty() {
            return;
        }
        let mut jobs = std::mem::take(&mut self.jobs);
        self.server.run(&mut jobs);
        if !self.server.outbox.is_empty() && self.server.outbox.take_listen() {
            self.listen_anew();
        }
        for job in jobs.drain(..) {
            self.settle(job);
        }
        self.jobs = jobs;
        self.do_orders();
    }

    /// Sends a job's replies and keeps what is left of it.
    fn settle(&mut self, job: Job) {
        let Job { slot, mut batch, next, error, out, state, .. } = job;
        let Some(connection) = self.connections.get_mut(slot.0 as usize).and_then(Option::as_deref_mut) else { return };
        match state {
            JobState::Paused => connection.wait = Wait::Pause,
            JobState::Full => connection.wait = Wait::Output,
            JobState::CloseAfterReply => connection.closing = true,
            JobState::Ready | JobState::Done => {}
        }
        connection.error = error;
        if connection.wait != Wait::Nothing {
            connection.held = Some(Box::new((batch, next)));
        } else if connection.closing || !keep_tail(connection, &mut batch) {
            recycle(&mut self.spare_batches, batch);
        }
        if out.is_empty() {
            let (buffer, _) = out.into_parts();
            self.keep_output(buffer);
        } else {
            match connection.send(out) {
                Ok((sent, buffer)) => {
                    self.server.stats.counters.total_net_output_bytes += sent as u64;
                    self.server.stats.counters.total_writes_processed += 1;
                    if let Some(client) = self.server.clients.get_mut(slot) {
                        client.io.net_out += sent as u64;
                    }
                    if let Some(buffer) = buffer {
                        self.keep_output(buffer);
                    }
                }
                Err(_) => {
                    self.close(slot);
                    return;
                }
            }
        }
        self.after_output(slot);
    }

    fn keep_output(&mut self, mut buffer: Vec<u8>) {
        if self.spare_outputs.len() < POOL_MAX {
            buffer.clear();
            buffer.shrink_to(BUFFER_KEEP_BYTES);
            self.spare_outputs.push(buffer);
        }
    }

    /// Writes what waits for a connection.
    fn flush(&mut self, slot: Slot) {
        let Some(connection) = self.connections.get_mut(slot.0 as usize).and_then(Option::as_deref_mut) else { return };
        match connection.flush() {
            Ok(sent) => {
                self.server.stats.counters.total_net_output_bytes += sent as u64;
                if let Some(client) = self.server.clients.get_mut(slot) {
                    client.io.net_out += sent as u64;
                }
                self.after_output(slot);
            }
            Err(_) => self.close(slot),
        }
    }

    /// Looks at a connection whose output has changed: reports its figures, ends it or lets it go on.
    fn after_output(&mut self, slot: Slot) {
        let Some(connection) = self.connections.get_mut(slot.0 as usize).and_then(Option::as_deref_mut) else { return };
        let waiting = connection.pending_bytes();
        if let Some(client) = self.server.clients.get_mut(slot) {
            let tail = connection.held.as_ref().map_or(0, |h| h.0.tail().len());
            client.io = IoFacts {
                query_bytes: tail,
                output_bytes: waiting,
                output_chunks: connection.pending_chunks(),
                buffer_heap: if waiting > 0 || tail > 0 { connection.heap_bytes() } else { 0 },
                ..client.io
            };
        }
        if waiting == 0 && connection.closing {
            self.close(slot);
            return;
        }
        if connection.wait == Wait::Output && waiting < OUTPUT_PAUSE_BYTES / 2 {
            self.resumable.push(slot);
        }
        if waiting > 0 && self.exceeds_output_limit(slot, waiting) {
            tracing::warn!(
                "closing client whose output buffer exceeds its limit ({waiting} bytes wait): {}",
                connection_name(&self.server, slot)
            );
            self.server.stats.counters.client_output_buffer_limit_disconnections += 1;
            self.close(slot);
        }
    }

    fn exceeds_output_limit(&mut self, slot: Slot, waiting: usize) -> bool {
        let now_ms = self.server.store.now_ms();
        let limit = self.server.output_limit(slot);
        let Some(connection) = self.connections.get_mut(slot.0 as usize).and_then(Option::as_deref_mut) else {
            return false;
        };
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
        now_ms - connection.soft_limit_since_ms
            > i64::try_from(limit.soft_seconds).unwrap_or(i64::MAX).saturating_mul(1000)
    }

    /// Does what the server has ordered.
    fn do_orders(&mut self) {
        while !self.server.outbox.is_empty() {
            for order in self.server.outbox.take() {
                match order {
                    Order::Push(id, message) => {
                        if let Some(slot) = self.slot_of(id)
                            && let Some(connection) = self.connections[slot.0 as usize].as_deref_mut()
                        {
                            connection.push(message);
                            self.flush(slot);
                        }
                    }
                    Order::Close(id) => {
                        if let Some(slot) = self.slot_of(id) {
                            self.close(slot);
                        }
                    }
                    Order::CloseAfterReply(id) => {
                        if let Some(slot) = self.slot_of(id)
                            && let Some(connection) = self.connections[slot.0 as usize].as_deref_mut()
                        {
                            connection.closing = true;
                            self.after_output(slot);
                        }
                    }
                    Order::Resume => {
                        let paused = self.connections.iter().flatten().filter(|c| c.wait == Wait::Pause);
                        self.resumable.extend(paused.map(|c| c.slot));
                    }
                    // Taken out before; one that cron gave would be as good here.
                    Order::Listen => self.listen_anew(),
                }
            }
        }
    }

    fn slot_of(&self, id: ClientId) -> Option<Slot> {
        // Orders name clients by number, since a slot may have been taken over in the meantime.
        let slot = self.server.clients.slot_of(id)?;
        self.connections.get(slot.0 as usize)?.as_ref().filter(|c| c.id == id).map(|c| c.slot)
    }

    /// Opens the TCP sockets anew after `port` or `bind` changed. The server has made sure before that it is possible.
    fn listen_anew(&mut self) {
        let mut kept = Vec::new();
        for mut state in self.listeners.drain(..) {
            // An error means that it is not registered, which is what is wanted.
            let _ = self.poll.registry().deregister(&mut state.listener);
            if !state.listener.is_tcp() {
                kept.push(state.listener);
            }
        }
        match Listener::open_tcp_all(&self.server.config) {
            Ok(opened) => kept.extend(opened),
            Err(error) => tracing::error!("{error}"),
        }
        if let Err(error) = self.listen_on(kept) {
            tracing::error!("could not watch the listening sockets: {error}");
        }
    }

    fn accept(&mut self) {
        if !self.listeners.iter().any(|l| l.readable) {
            return;
        }
        let now_ms = self.server.store.now_ms();
        if now_ms < self.accept_after_ms {
            return;
        }
        self.accept_after_ms = 0;
        let mut room = self.server.config.max_new_connections_per_cycle as usize;
        for index in 0..self.listeners.len() {
            while self.listeners[index].readable && room > 0 {
                room -= 1;
                match self.listeners[index].listener.accept(&self.server.config) {
                    Ok((stream, accepted)) => self.welcome(stream, accepted),
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.listeners[index].readable = false,
                    Err(e)
                        if e.kind() == io::ErrorKind::Interrupted || e.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(error) => {
                        // No descriptors, or no memory for one: whoever is connected goes on, and new ones wait.
                        tracing::warn!("error accepting a client connection: {error}");
                        self.accept_after_ms = now_ms + 100;
                        return;
                    }
                }
            }
        }
    }

    fn welcome(&mut self, mut stream: connection::Stream, accepted: crate::server::client::Accepted) {
        let slot = match self.server.connect(accepted) {
            Ok(slot) => slot,
            Err(refusal) => {
                // It is going to be closed whether it reads this or not.
                let mut refused = Connection::new(stream, Slot(u32::MAX), ClientId(0));
                refused.push(refusal.into());
                let _ = refused.flush();
                return;
            }
        };
        let token = Token(slot.0 as usize);
        if let Err(error) = self.poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE) {
            tracing::warn!("could not watch a client connection: {error}");
            self.server.disconnect(slot);
            return;
        }
        let id = self.server.clients.get(slot).map_or(ClientId(0), |c| c.id);
        if self.connections.len() <= slot.0 as usize {
            self.connections.resize_with(slot.0 as usize + 1, || None);
        }
        self.connections[slot.0 as usize] = Some(Box::new(Connection::new(stream, slot, id)));
    }

    /// Ends a connection.
    fn close(&mut self, slot: Slot) {
        let Some(mut connection) = self.connections.get_mut(slot.0 as usize).and_then(Option::take) else { return };
        // Closing the socket takes it out of the queue as well.
        let _ = self.poll.registry().deregister(&mut connection.stream);
        self.server.disconnect(slot);
    }

    /// Before the end: what can still be written at once is.
    fn flush_all(&mut self) {
        for connection in self.connections.iter_mut().flatten() {
            // The process ends; whoever does not take it now does not get it.
            let _ = connection.flush();
        }
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

fn connection_name(server: &Server, slot: Slot) -> String {
    server
        .clients
        .get(slot)
        .map_or_else(String::new, |c| format!("id={} addr={} name={}", c.id.0, c.addr, c.name.escape_ascii()))
}

const _: () = assert!(size_of::<Parser>() <= 32, "a parser sits in every idle connection");
