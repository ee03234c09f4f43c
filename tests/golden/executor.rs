//! The server without its network: what `net` does with sockets is done here with buffers, under a clock that moves only
//! when told.
//!
//! ```text
//!  send ──► Batch, Parser ──► Job ──► Server::run ──► received
//!                                        │
//!                       orders (push, close, resume) are carried out at once
//! ```
//!
//! What must stay true: the order in which things happen is that of `net`: jobs, their replies, orders, the end of the
//! turn, orders.

use std::cell::Cell;
use std::path::PathBuf;
use std::time::Duration;
use weir::command::reply::Output;
use weir::config::{Sources, load};
use weir::server::client::{Accepted, ClientId, Slot};
use weir::server::message::{Job, JobState, Order};
use weir::server::{Facts, Server};
use weir_resp::{Batch, Limits, Need, Parser, ProtocolError};
use weir_structs::glob::glob_match;

/// What the server is started with, beside its defaults: as the real ones are for `replay.py`.
const OPTIONS: [&str; 6] = ["--enable-debug-command", "yes", "--save", "", "--appendonly", "no"];
/// When a block begins: 2026-01-01 00:00:00.123456 UTC.
const BEGIN_US: i64 = 1_767_225_600_123_456;
/// Steps that follow from one request before the runner takes it for an endless loop.
const ROUNDS_MAX: usize = 100_000;

thread_local! {
    static NOW_US: Cell<i64> = const { Cell::new(BEGIN_US) };
}

fn wall_clock_us() -> i64 {
    NOW_US.get()
}

fn pass(time: Duration) {
    NOW_US.set(NOW_US.get() + i64::try_from(time.as_micros()).expect("a transcript waits for less than an age"));
}

/// DEBUG SLEEP: moves the clock, and really sleeps as well, because durations of commands are taken from the processor's
/// counter, and slow commands are what it is used for.
fn sleep(time: Duration) {
    pass(time);
    std::thread::sleep(time);
}

/// Which client: the number of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer(usize);

/// A server and its clients.
pub(crate) struct Executor {
    server: Server,
    connections: Vec<Connection>,
}

struct Connection {
    slot: Slot,
    id: ClientId,
    parser: Parser,
    batch: Batch,
    /// Commands of the batch that are done.
    next: usize,
    error: Option<ProtocolError>,
    /// There are commands, or bytes that may hold some.
    ready: bool,
    paused: bool,
    blocked: bool,
    closed: bool,
    received: Vec<u8>,
}

impl Executor {
    /// A server that has just started. There is one a thread at most, for they share the thread's clock.
    pub(crate) fn start() -> Executor {
        NOW_US.set(BEGIN_US);
        let options = OPTIONS.iter().map(|option| option.as_bytes().to_vec()).collect();
        let (config, _) =
            load(Sources { file: None, stdin: None, options, glob: glob_match }).expect("the options are valid");
        let facts = Facts {
            run_id: "0123456789abcdef0123456789abcdef01234567".to_owned(),
            started_ms: BEGIN_US / 1000,
            config_file: None,
            executable: PathBuf::from("/usr/bin/weir"),
            version: env!("CARGO_PKG_VERSION"),
            startup_bytes: 0,
            wall_clock_us,
            heap_bytes: || 1 << 20,
            log: None,
            sleep,
            apply: |_, _| Ok(()),
            give_back_memory: || {},
            tidy_memory: || {},
            allocator_report: || "the allocator of the tests".to_owned(),
            still_turns: || (),
            can_listen: |_, _| Ok(()),
        };
        let mut server = Server::new(config, facts, 1);
        server.begin_turn();
        Executor { server, connections: Vec::new() }
    }

    /// Connects a client.
    pub(crate) fn connect(&mut self) -> Peer {
        let peer = Peer(self.connections.len());
        let addr = format!("127.0.0.1:{}", 50_000 + peer.0);
        let laddr = "127.0.0.1:6379".to_owned();
        let fd = i32::try_from(8 + peer.0).expect("few clients");
        let (slot, received) = match self.server.connect(Accepted { addr, laddr, fd, unix: false, local: true }) {
            Ok(slot) => (Some(slot), Vec::new()),
            Err(refusal) => (None, refusal),
        };
        let id = slot.and_then(|slot| self.server.clients.get(slot)).map_or(ClientId(0), |client| client.id);
        self.connections.push(Connection {
            slot: slot.unwrap_or(Slot(u32::MAX)),
            id,
            parser: Parser::new(),
            batch: Batch::new(),
            next: 0,
            error: None,
            ready: false,
            paused: false,
            blocked: false,
            closed: slot.is_none(),
            received,
        });
        peer
    }

    /// Sends bytes as a client, and executes what follows from it.
    pub(crate) fn send(&mut self, peer: Peer, bytes: &[u8]) {
        let connection = &mut self.connections[peer.0];
        if connection.closed {
            return;
        }
        connection.batch.read_buffer().extend_from_slice(bytes);
        connection.ready = true;
        self.server.begin_turn();
        if let Some(client) = self.server.clients.get_mut(connection.slot) {
            client.io.net_in += bytes.len() as u64;
            client.io.query_bytes = bytes.len();
        }
        self.execute();
        self.end_turn();
    }

    /// Lets time pass; timers that fall due meanwhile run.
    pub(crate) fn pass(&mut self, time_ms: i64) {
        let end_us = NOW_US.get() + time_ms * 1000;
        while NOW_US.get() < end_us {
            let left = Duration::from_micros(end_us.abs_diff(NOW_US.get()));
            pass(self.server.idle_time().max(Duration::from_millis(1)).min(left));
            self.server.begin_turn();
            self.execute();
            self.end_turn();
        }
    }

    /// What a client has received and nobody has taken.
    pub(crate) fn received(&mut self, peer: Peer) -> &mut Vec<u8> {
        &mut self.connections[peer.0].received
    }

    /// Whether the server has closed a client's connection.
    pub(crate) fn is_closed(&self, peer: Peer) -> bool {
        self.connections[peer.0].closed
    }

    fn end_turn(&mut self) {
        self.server.end_turn();
        self.do_orders();
        // The end of a pause lets commands go on.
        self.execute();
    }

    /// Executes until nobody has anything left that can be executed now.
    fn execute(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let mut jobs: Vec<Job> = Vec::new();
            for connection in &mut self.connections {
                jobs.extend(connection.cut(&self.server));
            }
            if jobs.is_empty() {
                return;
            }
            self.server.run(&mut jobs);
            for job in jobs {
                self.settle(job);
            }
            self.do_orders();
        }
        panic!("the server does not come to rest");
    }

    fn settle(&mut self, job: Job) {
        let Job { slot, mut batch, next, error, out, state, .. } = job;
        let Some(connection) = self.connections.iter_mut().find(|c| c.slot == slot && !c.closed) else { return };
        put_output(&mut connection.received, out);
        connection.error = error;
        connection.next = next;
        match state {
            JobState::Paused => connection.paused = true,
            JobState::Blocked => connection.blocked = true,
            JobState::Full => connection.ready = true,
            JobState::Ready => panic!("the server has left a job without saying why"),
            JobState::Done => {
                batch.discard_complete();
                connection.next = 0;
            }
            JobState::CloseAfterReply => {}
        }
        connection.batch = batch;
        if let Some(client) = self.server.clients.get_mut(slot) {
            client.io.query_bytes = connection.batch.tail().len();
        }
        if state == JobState::CloseAfterReply {
            connection.closed = true;
            self.server.disconnect(slot);
        }
    }

    fn do_orders(&mut self) {
        while !self.server.outbox.is_empty() {
            for order in self.server.outbox.take() {
                match order {
                    Order::Push(id, message) => {
                        if let Some(connection) = self.open(id) {
                            connection.received.extend_from_slice(&message);
                        }
                    }
                    Order::FanOut(fan_out) => {
                        let (recipients, mut frames) = fan_out.into_parts();
                        for slot in recipients {
                            let Some((id, resp)) = self.server.clients.get(slot).map(|c| (c.id, c.resp)) else {
                                continue;
                            };
                            let message = frames.encoded(resp).clone();
                            if let Some(connection) = self.open(id) {
                                connection.received.extend_from_slice(&message);
                            }
                        }
                    }
                    Order::Answer(id, out) => {
                        if let Some(connection) = self.open(id) {
                            put_output(&mut connection.received, out);
                            connection.blocked = false;
                            connection.ready = true;
                        }
                    }
                    Order::Close(id) => {
                        // Replies are received as they are written, so none is ever on its way.
                        if let Some(connection) = self.open(id) {
                            connection.closed = true;
                            let slot = connection.slot;
                            self.server.disconnect(slot);
                        }
                    }
                    Order::Resume => {
                        for connection in self.connections.iter_mut().filter(|c| c.paused) {
                            connection.paused = false;
                            connection.ready = true;
                        }
                    }
                    // There is nothing to listen on.
                    Order::Listen => {}
                }
            }
        }
    }

    fn open(&mut self, id: ClientId) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|c| c.id == id && !c.closed)
    }
}

impl Connection {
    /// Cuts what has come in, and makes a job of it if there is something to execute.
    fn cut(&mut self, server: &Server) -> Option<Job> {
        if !self.ready || self.closed {
            return None;
        }
        self.ready = false;
        if self.error.is_none() {
            let limits = Limits {
                proto_max_bulk_len: server.config.proto_max_bulk_len,
                authenticated: server.clients.get(self.slot).is_some_and(|client| client.is_authenticated()),
                ..Limits::default()
            };
            match self.parser.parse(&mut self.batch, &limits) {
                Ok(progress) => self.ready = progress.need == Need::Execute,
                Err(error) => self.error = Some(error),
            }
        }
        if self.paused || self.blocked || (self.next == self.batch.len() && self.error.is_none()) {
            return None;
        }
        Some(Job {
            slot: self.slot,
            batch: std::mem::take(&mut self.batch),
            next: self.next,
            error: self.error.take(),
            out: Output::default(),
            state: JobState::Ready,
            out_bytes_max: usize::MAX,
            ends_at_max: false,
        })
    }
}

/// Appends replies with the big values that they only refer to.
fn put_output(received: &mut Vec<u8>, out: Output) {
    let (bytes, blobs) = out.into_parts();
    let mut from = 0;
    for blob in blobs {
        received.extend_from_slice(&bytes[from..blob.at]);
        received.extend_from_slice(&blob.blob);
        from = blob.at;
    }
    received.extend_from_slice(&bytes[from..]);
}
