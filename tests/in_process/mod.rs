//! The server without its network: what `net` does with sockets is done here with buffers, under a clock that moves only
//! when told. Shared by the tests on transcripts and on random commands, and by the bench of the way of a request.
//!
//! ```text
//!  arrive ──► Batch, Parser ──► Job ──► Server::run ──► received
//!                                          │
//!                         orders (push, close, resume) are carried out at once
//! ```
//!
//! What must stay true: the order in which things happen is that of `net`: jobs, their replies, orders, the end of the
//! turn, orders.

#![expect(dead_code, reason = "each of those who share it needs a part")]

pub(crate) mod random;
pub(crate) mod repeat;

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use weir::command::reply::Output;
use weir::config::{Config, Sources, load};
use weir::server::client::{Accepted, ClientId, Slot};
use weir::server::message::{Job, JobState, Order};
use weir::server::{Facts, Server};
use weir_resp::{Batch, Limits, Need, Parser, ProtocolError};
use weir_structs::glob::glob_match;

/// When it begins: 2026-01-01 00:00:00.123456 UTC.
pub(crate) const BEGIN_US: i64 = 1_767_225_600_123_456;
/// Steps that follow from one request before it is taken for an endless loop.
pub(crate) const ROUNDS_MAX: usize = 100_000;

thread_local! {
    static NOW_US: Cell<i64> = const { Cell::new(BEGIN_US) };
}

/// The clock of this thread.
pub(crate) fn now_us() -> i64 {
    NOW_US.get()
}

/// Moves the clock.
pub(crate) fn move_clock(by_us: i64) {
    NOW_US.set(NOW_US.get() + by_us);
}

/// A configuration with these options.
pub(crate) fn config(options: &[&str]) -> Config {
    // Nothing is written to disk unless a test wants that.
    let options = ["--save", ""].iter().chain(options).map(|option| option.as_bytes().to_vec()).collect();
    load(Sources { file: None, stdin: None, options, glob: glob_match }).expect("the options are valid").0
}

/// What a server is told of a process and a system that are not there.
pub(crate) fn facts() -> Facts {
    Facts {
        run_id: "0123456789abcdef0123456789abcdef01234567".to_owned(),
        started_ms: BEGIN_US / 1000,
        config_file: None,
        executable: PathBuf::from("/usr/bin/weir"),
        version: env!("CARGO_PKG_VERSION"),
        startup_bytes: 0,
        wall_clock_us: now_us,
        heap_bytes: || 1 << 20,
        log: None,
        sleep: |time| move_clock(i64::try_from(time.as_micros()).expect("nobody sleeps for an age")),
        apply: |_, _| Ok(()),
        give_back_memory: || {},
        tidy_memory: || {},
        free_in_portions: || {},
        tidy_is_awaited: || false,
        allocator_report: || "the allocator of the tests".to_owned(),
        still_turns: || (),
        disk: Arc::new(weir::disk::RealDisk),
        can_listen: |_, _| Ok(()),
    }
}

/// A local connection that comes from a port of its own.
pub(crate) fn accepted(number: usize, unix: bool) -> Accepted {
    Accepted {
        addr: format!("127.0.0.1:{}", 50_000 + number),
        laddr: "127.0.0.1:6379".to_owned(),
        fd: i32::try_from(8 + number).expect("few clients"),
        unix,
        local: true,
    }
}

/// A server and everybody who has ever been its client.
pub(crate) struct InProcess {
    pub(crate) server: Server,
    pub(crate) connections: Vec<Connection>,
    /// Bytes of replies after which a job has to wait.
    pub(crate) out_bytes_max: usize,
}

/// A client's end and the network's.
pub(crate) struct Connection {
    pub(crate) slot: Slot,
    pub(crate) id: ClientId,
    /// Its address.
    pub(crate) addr: String,
    parser: Parser,
    pub(crate) batch: Batch,
    /// Commands of the batch that are done.
    next: usize,
    error: Option<ProtocolError>,
    /// There are commands, or bytes that may hold some.
    pub(crate) ready: bool,
    pub(crate) paused: bool,
    pub(crate) blocked: bool,
    pub(crate) closed: bool,
    /// What the client has received and nobody has taken.
    pub(crate) received: Vec<u8>,
}

impl InProcess {
    /// A server that has just started. There is one a thread at most, for they share the thread's clock.
    pub(crate) fn start(options: &[&str], facts: Facts) -> InProcess {
        NOW_US.set(BEGIN_US);
        let mut server = Server::new(config(options), facts, 1);
        server.begin_turn();
        InProcess { server, connections: Vec::new(), out_bytes_max: usize::MAX }
    }

    /// Connects a client, and returns which one it is.
    pub(crate) fn connect(&mut self, unix: bool) -> usize {
        let number = self.connections.len();
        let accepted = accepted(number, unix);
        let addr = accepted.addr.clone();
        let (slot, received) = match self.server.connect(accepted) {
            Ok(slot) => (Some(slot), Vec::new()),
            Err(refusal) => (None, refusal),
        };
        let id = slot.and_then(|slot| self.server.clients.get(slot)).map_or(ClientId(0), |client| client.id);
        self.connections.push(Connection {
            slot: slot.unwrap_or(Slot(u32::MAX)),
            id,
            addr,
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
        number
    }

    /// Has a client leave, whatever it is waiting for.
    pub(crate) fn disconnect(&mut self, client: usize) {
        let connection = &mut self.connections[client];
        if !connection.closed {
            connection.closed = true;
            self.server.disconnect(connection.slot);
        }
    }

    /// Bytes that a client has sent arrive.
    pub(crate) fn arrive(&mut self, client: usize, bytes: &[u8]) {
        let connection = &mut self.connections[client];
        if connection.closed || bytes.is_empty() {
            return;
        }
        connection.batch.read_buffer().extend_from_slice(bytes);
        connection.ready = true;
        if let Some(known) = self.server.clients.get_mut(connection.slot) {
            known.io.net_in += bytes.len() as u64;
            known.io.query_bytes = connection.batch.read_buffer().len();
        }
    }

    /// One turn of the event loop.
    pub(crate) fn turn(&mut self) {
        self.turn_unless(|_| false);
    }

    /// One turn of the event loop; a client with commands that `are_forbidden` leaves instead of having them executed.
    pub(crate) fn turn_unless(&mut self, are_forbidden: impl Fn(&Batch) -> bool) {
        self.server.begin_turn();
        self.execute(&are_forbidden);
        self.server.end_turn();
        self.do_orders();
        // The end of a pause lets commands go on.
        self.execute(&are_forbidden);
    }

    /// Lets time pass; timers that fall due meanwhile run.
    pub(crate) fn pass(&mut self, time: Duration) {
        let micros = |time: Duration| i64::try_from(time.as_micros()).expect("nobody waits for an age");
        let end_us = now_us() + micros(time);
        while now_us() < end_us {
            let left = Duration::from_micros(end_us.abs_diff(now_us()));
            move_clock(micros(self.server.idle_time().max(Duration::from_millis(1)).min(left)));
            self.turn();
        }
    }

    /// Executes until nobody has anything left that can be executed now.
    pub(crate) fn execute(&mut self, are_forbidden: &impl Fn(&Batch) -> bool) {
        for _ in 0..ROUNDS_MAX {
            let mut jobs: Vec<Job> = Vec::new();
            for client in 0..self.connections.len() {
                let connection = &mut self.connections[client];
                if !connection.cut(&self.server) {
                    continue;
                }
                if are_forbidden(&connection.batch) {
                    self.disconnect(client);
                } else {
                    jobs.push(connection.job(self.out_bytes_max));
                }
            }
            if jobs.is_empty() {
                if !self.connections.iter().any(|connection| connection.ready && !connection.closed) {
                    return;
                }
                continue;
            }
            self.server.refresh_time();
            self.server.run(&mut jobs);
            self.server.outbox.take_listen();
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
            JobState::Blocked | JobState::Suspended => connection.blocked = true,
            JobState::Full | JobState::Unfinished | JobState::Untouched => connection.ready = true,
            JobState::Ready => panic!("the server has left a job without saying why"),
            JobState::Done => {
                assert_eq!(next, batch.len(), "a job is done when all its commands are");
                batch.discard_complete();
                connection.next = 0;
            }
            JobState::CloseAfterReply => {}
        }
        connection.batch = batch;
        if let Some(known) = self.server.clients.get_mut(slot) {
            known.io.query_bytes = connection.batch.tail().len();
        }
        if state == JobState::CloseAfterReply {
            connection.closed = true;
            self.server.disconnect(slot);
        }
    }

    /// Does what the server has ordered. Replies are received as they are written, so none is ever on its way.
    pub(crate) fn do_orders(&mut self) {
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
                        if let Some(connection) = self.open(id) {
                            connection.closed = true;
                            let slot = connection.slot;
                            self.server.disconnect(slot);
                        }
                    }
                    Order::Resume => self.resume(),
                    // There is nothing to listen on.
                    Order::Listen => {}
                }
            }
        }
    }

    /// Looks again at commands that a pause held back.
    pub(crate) fn resume(&mut self) {
        for connection in self.connections.iter_mut().filter(|c| c.paused) {
            connection.paused = false;
            connection.ready = true;
        }
    }

    fn open(&mut self, id: ClientId) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|c| c.id == id && !c.closed)
    }
}

impl Connection {
    /// Cuts what has come in. Whether there is something to execute.
    fn cut(&mut self, server: &Server) -> bool {
        if !std::mem::take(&mut self.ready) || self.closed {
            return false;
        }
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
        if self.paused || self.blocked {
            self.ready = false;
            return false;
        }
        let something = self.next < self.batch.len() || self.error.is_some();
        if !something {
            self.batch.discard_complete();
            self.next = 0;
        }
        something
    }

    fn job(&mut self, out_bytes_max: usize) -> Job {
        Job {
            slot: self.slot,
            batch: std::mem::take(&mut self.batch),
            next: self.next,
            error: self.error.take(),
            out: Output::default(),
            state: JobState::Ready,
            out_bytes_max,
            ends_at_max: false,
        }
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

/// Appends a command as clients send it.
pub(crate) fn append_command<W: AsRef<[u8]>>(stream: &mut Vec<u8>, words: &[W]) {
    stream.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        stream.extend_from_slice(format!("${}\r\n", word.as_ref().len()).as_bytes());
        stream.extend_from_slice(word.as_ref());
        stream.extend_from_slice(b"\r\n");
    }
}
