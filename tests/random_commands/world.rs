//! A server and its clients without sockets, under a clock that goes where it is told: what `net` does with sockets is
//! done here with buffers, as `tests/golden/executor.rs` does it too, but nothing is taken for granted: bytes arrive in
//! pieces, several clients share a turn, replies may be more than goes out at once, and clients leave at any time.
//!
//! ```text
//!  Client::sent ──(arrive)──► Batch, Parser ──► Job ──► Server::run ──► received ──► Replies
//!                                                 │
//!                              orders (push, close, resume) are carried out at once
//! ```
//!
//! What must stay true: the order in which things happen is that of `net`: jobs, their replies, orders, the end of the
//! turn, orders.

use super::commands::is_forbidden;
use super::replies::{Replies, shown};
use std::cell::Cell;
use std::path::PathBuf;
use std::time::Duration;
use weir::command::reply::{Output, Resp};
use weir::config::{Config, Sources, load};
use weir::server::client::{Accepted, ClientFlags, ClientId, Slot};
use weir::server::message::{Job, JobState, Order};
use weir::server::{Facts, Server};
use weir_resp::{Batch, Limits, Need, Parser, ProtocolError};
use weir_structs::glob::glob_match;

/// What the server is started with. A string of 1 MB is the longest that a client can make, so that an input cannot take
/// all memory by right.
const OPTIONS: [&str; 6] = ["--enable-debug-command", "yes", "--save", "", "--proto-max-bulk-len", "1048576"];
/// When a conversation begins: 2026-01-01 00:00:00.123456 UTC.
const BEGIN_US: i64 = 1_767_225_600_123_456;
/// How far a conversation may move the clock, unix ms: to the years 1970 and 2200.
const CLOCK_MS: std::ops::RangeInclusive<i64> = 0..=7_258_118_400_000;
/// Longest sleep that is believed: a year.
const SLEEP_MAX: Duration = Duration::from_secs(31_536_000);
/// Rounds of execution after which a server is taken for one that never comes to rest.
const ROUNDS_MAX: usize = 100_000;
/// A server that waits for longer than that has no work left that comes in slices.
const SLICE_PAUSE: Duration = Duration::from_millis(10);

thread_local! {
    static NOW_US: Cell<i64> = const { Cell::new(BEGIN_US) };
}

fn wall_clock_us() -> i64 {
    NOW_US.get()
}

fn move_clock(ms: i64) {
    NOW_US.set(NOW_US.get() + ms * 1000);
}

/// DEBUG SLEEP.
fn sleep(time: Duration) {
    move_clock(time.min(SLEEP_MAX).as_millis() as i64);
}

/// A server and everybody who has ever been its client.
pub(super) struct World {
    pub(super) server: Server,
    pub(super) clients: Vec<Client>,
    /// Bytes of replies after which a job has to wait.
    pub(super) out_bytes_max: usize,
    settings: Config,
    /// Bytes of the store when there was nothing in it yet.
    empty_bytes: usize,
}

/// One client, and what it and the network hold.
pub(super) struct Client {
    slot: Slot,
    pub(super) id: ClientId,
    pub(super) addr: String,
    parser: Parser,
    batch: Batch,
    /// Commands of the batch that are done.
    next: usize,
    error: Option<ProtocolError>,
    /// There are commands, or bytes that may hold some.
    ready: bool,
    paused: bool,
    blocked: bool,
    pub(super) closed: bool,
    /// Bytes on their way to the server.
    sent: Vec<u8>,
    received: Vec<u8>,
    replies: Replies,
    /// Replies to whole commands that it has sent; unknown once it has sent anything else, or asked for silence.
    owed: Option<u64>,
}

impl World {
    /// A server that has just started. There is one a thread at most, for they share the thread's clock.
    pub(super) fn start() -> World {
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
        let settings = config.clone();
        let mut server = Server::new(config, facts, 1);
        server.begin_turn();
        let empty_bytes = server.store.live_bytes();
        World { server, clients: Vec::new(), out_bytes_max: usize::MAX, settings, empty_bytes }
    }

    pub(super) fn now_ms(&self) -> i64 {
        NOW_US.get() / 1000
    }

    /// Connects a client, and returns which one it is.
    pub(super) fn connect(&mut self) -> usize {
        let number = self.clients.len();
        let (addr, laddr) = (format!("127.0.0.1:{}", 50_000 + number), "127.0.0.1:6379".to_owned());
        let fd = i32::try_from(8 + number).expect("few clients");
        let accepted = Accepted { addr: addr.clone(), laddr, fd, unix: number % 8 == 7, local: true };
        let (slot, received) = match self.server.connect(accepted) {
            Ok(slot) => (Some(slot), Vec::new()),
            Err(refusal) => (None, refusal),
        };
        let id = slot.and_then(|slot| self.server.clients.get(slot)).map_or(ClientId(0), |client| client.id);
        self.clients.push(Client {
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
            sent: Vec::new(),
            received,
            replies: Replies::default(),
            owed: slot.is_some().then_some(0),
        });
        number
    }

    /// Has a client leave, whatever it is waiting for.
    pub(super) fn disconnect(&mut self, client: usize) {
        let client = &mut self.clients[client];
        if !client.closed {
            client.closed = true;
            self.server.disconnect(client.slot);
        }
    }

    /// Has a client send bytes that may be anything.
    pub(super) fn send_bytes(&mut self, client: usize, bytes: &[u8]) {
        let client = &mut self.clients[client];
        client.sent.extend_from_slice(bytes);
        client.owed = None;
    }

    /// Has a client send a command.
    pub(super) fn send(&mut self, client: usize, words: &[Vec<u8>]) {
        let client = &mut self.clients[client];
        append_command(&mut client.sent, words);
        let named =
            |at: usize, name: &str| words.get(at).is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes()));
        // From then on replies are left out, or others' commands come between them. SHUTDOWN has no reply, a browser's
        // words have none either.
        let silent = named(0, "client") && named(1, "reply")
            || ["monitor", "shutdown", "post", "host:"].iter().any(|n| named(0, n));
        client.owed = client.owed.map(|owed| owed + 1).filter(|_| !silent && !words.is_empty());
    }

    /// So many of the bytes that a client has sent arrive.
    pub(super) fn arrive(&mut self, client: usize, count: usize) {
        let client = &mut self.clients[client];
        let count = count.min(client.sent.len());
        let later = client.sent.split_off(count);
        let arrived = std::mem::replace(&mut client.sent, later);
        if client.closed || count == 0 {
            return;
        }
        client.batch.read_buffer().extend_from_slice(&arrived);
        client.ready = true;
        if let Some(known) = self.server.clients.get_mut(client.slot) {
            known.io.net_in += count as u64;
            known.io.query_bytes = client.batch.read_buffer().len();
        }
    }

    /// How many bytes of a client are on their way.
    pub(super) fn in_flight(&self, client: usize) -> usize {
        self.clients[client].sent.len()
    }

    /// One turn of the event loop.
    pub(super) fn turn(&mut self) {
        self.server.begin_turn();
        self.execute();
        self.server.end_turn();
        self.do_orders();
        self.execute();
        self.check_replies();
    }

    /// Moves the clock, though not out of its range, and lets the server do what it then has to.
    pub(super) fn jump(&mut self, ms: i64) {
        let now_ms = self.now_ms();
        self.pass(now_ms.saturating_add(ms).clamp(*CLOCK_MS.start(), *CLOCK_MS.end()) - now_ms);
    }

    fn pass(&mut self, ms: i64) {
        move_clock(ms);
        self.rest();
    }

    /// Turns until the server has nothing to do but wait.
    fn rest(&mut self) {
        for _ in 0..ROUNDS_MAX {
            self.turn();
            if !self.server.idle_time().is_zero() {
                return;
            }
        }
        panic!("the server does not come to rest");
    }

    /// Executes until nobody has anything left that can be executed now.
    fn execute(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let mut jobs: Vec<Job> = Vec::new();
            let mut leaving: Vec<usize> = Vec::new();
            for (number, client) in self.clients.iter_mut().enumerate() {
                match client.cut(&self.server, self.out_bytes_max) {
                    Cut::Nothing => {}
                    Cut::Job(job) => jobs.push(job),
                    Cut::Forbidden => leaving.push(number),
                }
            }
            for number in leaving {
                self.disconnect(number);
            }
            if jobs.is_empty() {
                if !self.clients.iter().any(|client| client.ready && !client.closed) {
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
        let Some(client) = self.clients.iter_mut().find(|c| c.slot == slot && !c.closed) else { return };
        put_output(&mut client.received, out);
        client.error = error;
        client.next = next;
        match state {
            JobState::Paused => client.paused = true,
            JobState::Blocked => client.blocked = true,
            JobState::Full => client.ready = true,
            JobState::Ready => panic!("the server has left a job without saying why"),
            JobState::Done => {
                assert_eq!(next, batch.len(), "a job is done when all its commands are");
                batch.discard_complete();
                client.next = 0;
            }
            JobState::CloseAfterReply => {}
        }
        client.batch = batch;
        if let Some(known) = self.server.clients.get_mut(slot) {
            known.io.query_bytes = client.batch.tail().len();
        }
        if state == JobState::CloseAfterReply {
            client.closed = true;
            self.server.disconnect(slot);
        }
    }

    fn do_orders(&mut self) {
        while !self.server.outbox.is_empty() {
            for order in self.server.outbox.take() {
                match order {
                    Order::Push(id, message) => {
                        if let Some(client) = self.open(id) {
                            client.received.extend_from_slice(&message);
                        }
                    }
                    Order::FanOut(fan_out) => {
                        let (recipients, mut frames) = fan_out.into_parts();
                        for slot in recipients {
                            let Some((id, resp)) = self.server.clients.get(slot).map(|c| (c.id, c.resp)) else {
                                continue;
                            };
                            let message = frames.encoded(resp).clone();
                            if let Some(client) = self.open(id) {
                                client.received.extend_from_slice(&message);
                            }
                        }
                    }
                    Order::Answer(id, out) => {
                        if let Some(client) = self.open(id) {
                            put_output(&mut client.received, out);
                            client.blocked = false;
                            client.ready = true;
                        }
                    }
                    Order::Close(id) => {
                        if let Some(client) = self.open(id) {
                            client.closed = true;
                            let slot = client.slot;
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

    fn resume(&mut self) {
        for client in self.clients.iter_mut().filter(|c| c.paused) {
            client.paused = false;
            client.ready = true;
        }
    }

    fn open(&mut self, id: ClientId) -> Option<&mut Client> {
        self.clients.iter_mut().find(|c| c.id == id && !c.closed)
    }

    /// Everybody has received whole frames of the protocol that they speak, and one reply for each command.
    fn check_replies(&mut self) {
        for (number, client) in self.clients.iter_mut().enumerate() {
            let known = self.server.clients.get(client.slot).filter(|_| !client.closed);
            client.replies.resp3 |= client.owed.is_none() || known.is_some_and(|known| known.resp == Resp::V3);
            if let Err(what) = client.replies.read(&client.received) {
                panic!("client {number}: {what}; all of it: {}", shown(&client.received));
            }
            client.received.clear();
            assert!(client.closed || known.is_some(), "client {number} is gone, and its connection is not");
            let held = client.paused && !client.closed;
            assert!(
                !held || self.server.pause.current().is_some(),
                "client {number} still waits for the end of a pause"
            );
            let at_rest = !client.closed && !client.paused && !client.blocked && client.sent.is_empty();
            if let Some(owed) = client.owed.filter(|_| at_rest) {
                assert_eq!(client.replies.count, owed, "client {number}: replies to its commands");
            }
        }
    }

    /// The end: all that was sent arrives, nothing is forbidden or held back any more, and everybody who is still there
    /// and in the middle of nothing is served. Then the data are looked at, and thrown away.
    pub(super) fn end(mut self) {
        for client in 0..self.clients.len() {
            self.arrive(client, usize::MAX);
        }
        self.turn();
        self.check_store();
        self.lift();
        // What was held back may have been the next pause, or may wait itself.
        while self.server.pause.current().is_some() || self.clients.iter().any(|c| c.blocked && !c.closed) {
            self.lift();
        }
        self.check_pings();
        self.check_expiry();
        self.check_store();
        self.check_emptying();
    }

    /// Sets everything to how it was at the start that holds back or refuses commands, and lets them run. Who waits for
    /// data goes away.
    fn lift(&mut self) {
        self.server.pause.end();
        self.server.config = self.settings.clone();
        self.server.config_changed();
        for client in self.clients.iter_mut().filter(|c| c.blocked && !c.closed) {
            client.closed = true;
            self.server.disconnect(client.slot);
        }
        self.resume();
        self.rest();
        self.server.active_expire = true;
        self.server.cron_paused = false;
        self.server.config = self.settings.clone();
        self.server.config_changed();
    }

    fn check_pings(&mut self) {
        let fresh = self.connect();
        assert!(!self.clients[fresh].closed, "there is room for a new client");
        for number in 0..self.clients.len() {
            let client = &mut self.clients[number];
            if client.closed || !client.batch.tail().is_empty() {
                continue;
            }
            append_command(&mut client.sent, &[b"CLIENT".to_vec(), b"REPLY".to_vec(), b"ON".to_vec()]);
            append_command(&mut client.sent, &[b"PING".to_vec()]);
            client.owed = None;
            self.arrive(number, usize::MAX);
            self.server.begin_turn();
            self.execute();
            let client = &self.clients[number];
            let locked_out = self.server.clients.get(client.slot).is_some_and(|known| !known.is_authenticated());
            let wanted: &[u8] = if locked_out { b"-NOAUTH " } else { b"+PONG\r\n" };
            let silent =
                self.server.clients.get(client.slot).is_some_and(|known| known.flags.contains(ClientFlags::REPLY_OFF));
            let served = client.received.windows(wanted.len()).any(|window| window == wanted);
            assert!(served || locked_out && silent, "client {number} is not served: {}", shown(&client.received));
            self.turn();
        }
    }

    /// Keys past their deadlines go without being asked for. A clock that was set back may hold that up until it is where it
    /// was, but not for longer than a minute.
    fn check_expiry(&mut self) {
        const LATE_MS: i64 = 2_000;
        const SET_BACK_MS: i64 = 70_000;
        for ms in [1_100, SET_BACK_MS, 1_100] {
            self.pass(ms);
            // Work that is more than a turn's comes in slices with little time between them.
            for _ in 0..ROUNDS_MAX {
                if self.server.idle_time() >= SLICE_PAUSE {
                    break;
                }
                self.pass(1);
            }
        }
        let now_ms = self.now_ms();
        for index in 0..self.server.store.databases() {
            let db = self.server.store.db(index);
            let late = db.iter().find(|entry| entry.expire_at().is_some_and(|at| at < now_ms - LATE_MS));
            if let Some(entry) = late {
                panic!("{} in database {index} is {:?}, it is {now_ms}", shown(entry.key()), entry.expire_at());
            }
        }
    }

    /// What is counted is what is there, and a scan sees all of it.
    pub(super) fn check_store(&mut self) {
        let mut entries_bytes = 0;
        for index in 0..self.server.store.databases() {
            let figures = self.server.store.figures(index);
            let now_ms = self.server.store.now_ms();
            let db = self.server.store.db(index);
            let deadlines: Vec<i64> = db.iter().filter_map(|entry| entry.expire_at()).collect();
            let mut names: Vec<&[u8]> = db.iter().map(|entry| entry.key()).collect();
            names.sort_unstable();
            // An entry's figure has its place in the table in it, which is counted there.
            entries_bytes += db.iter().map(|entry| entry.memory_bytes() - size_of::<u64>()).sum::<usize>();
            assert_eq!((figures.keys, figures.keys), (names.len(), db.len()), "keys of database {index}");
            assert_eq!(figures.expires, deadlines.len(), "keys with a deadline in database {index}");
            if let Ok(count) = i128::try_from(deadlines.len())
                && count > 0
            {
                let mean = deadlines.iter().map(|&at| i128::from(at)).sum::<i128>() / count - i128::from(now_ms);
                assert_eq!(i128::from(figures.avg_ttl_ms), mean.max(0), "mean time to live in database {index}");
            }
            let mut scanned: Vec<Vec<u8>> = Vec::new();
            let mut cursor = 0;
            loop {
                cursor = db.scan(cursor, &mut |entry| scanned.push(entry.key().to_vec()));
                if cursor == 0 {
                    break;
                }
            }
            scanned.sort_unstable();
            scanned.dedup();
            assert_eq!(scanned, names, "a scan of database {index}");
        }
        let tables_bytes = self.tables_bytes();
        assert_eq!(self.server.store.live_bytes(), tables_bytes + entries_bytes, "bytes of {entries_bytes} in entries");
    }

    /// Bytes of all tables and of the indexes of deadlines.
    fn tables_bytes(&self) -> usize {
        let store = &self.server.store;
        (0..store.databases()).map(|index| store.overhead_bytes(index)).map(|(table, index)| table + index).sum()
    }

    /// Every key is found by its name and can be removed, and with the last one its bytes are gone; so they are after
    /// FLUSHALL.
    fn check_emptying(&mut self) {
        for index in 0..self.server.store.databases() {
            let names: Vec<Vec<u8>> = self.server.store.db(index).iter().map(|entry| entry.key().to_vec()).collect();
            for name in names.iter().step_by(2) {
                let key = self.server.store.key(name);
                self.server.store.db(index).expire_now(key);
                assert!(self.server.store.db(index).peek(key).is_none(), "{} stays", shown(name));
            }
            assert_eq!(self.server.store.figures(index).keys, names.len() / 2, "keys that were not removed");
        }
        self.check_store();
        for index in 0..self.server.store.databases() {
            let names: Vec<Vec<u8>> = self.server.store.db(index).iter().map(|entry| entry.key().to_vec()).collect();
            for name in &names {
                let key = self.server.store.key(name);
                self.server.store.db(index).expire_now(key);
            }
        }
        assert_eq!(self.server.store.live_bytes(), self.tables_bytes(), "bytes of entries when there are none");
        let operator = self.connect();
        append_command(&mut self.clients[operator].sent, &[b"FLUSHALL".to_vec()]);
        self.clients[operator].owed = Some(1);
        self.arrive(operator, usize::MAX);
        self.turn();
        assert_eq!(self.server.store.live_bytes(), self.empty_bytes, "bytes of an empty store");
    }
}

/// What there is to be done for a client.
enum Cut {
    Nothing,
    Job(Job),
    /// Its next commands are better not run.
    Forbidden,
}

impl Client {
    /// Cuts what has come in, and makes a job of it if there is something to execute.
    fn cut(&mut self, server: &Server, out_bytes_max: usize) -> Cut {
        if !self.ready || self.closed {
            return Cut::Nothing;
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
        if self.paused || self.blocked {
            self.ready = false;
            return Cut::Nothing;
        }
        if self.next == self.batch.len() && self.error.is_none() {
            self.batch.discard_complete();
            self.next = 0;
            return Cut::Nothing;
        }
        if self.batch.commands().any(|argv| is_forbidden(argv.iter())) {
            return Cut::Forbidden;
        }
        Cut::Job(Job {
            slot: self.slot,
            batch: std::mem::take(&mut self.batch),
            next: self.next,
            error: self.error.take(),
            out: Output::default(),
            state: JobState::Ready,
            out_bytes_max,
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

pub(super) fn append_command(stream: &mut Vec<u8>, words: &[Vec<u8>]) {
    stream.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        stream.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        stream.extend_from_slice(word);
        stream.extend_from_slice(b"\r\n");
    }
}
