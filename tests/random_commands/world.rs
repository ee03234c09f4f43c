//! A server and its clients without sockets (`tests/in_process`), of which nothing is taken for granted: bytes arrive in
//! pieces, several clients share a turn, replies may be more than goes out at once, clients leave at any time, and the
//! clock goes where it is told.

use super::commands::is_forbidden;
use super::in_process::repeat::{repeat, same};
use super::in_process::{Connection, InProcess, ROUNDS_MAX, append_command, facts, move_clock, now_us};
use super::replies::{Replies, shown};
use std::time::Duration;
use weir::command::reply::Resp;
use weir::config::Config;
use weir::server::Facts;
use weir::server::client::ClientFlags;
use weir_resp::Batch;

/// What the server is started with. A string of 1 MB is the longest that a client can make, so that an input cannot take
/// all memory by right.
const OPTIONS: [&str; 6] = ["--enable-debug-command", "yes", "--save", "", "--proto-max-bulk-len", "1048576"];
/// How far a conversation may move the clock, unix ms: to the years 1970 and 2200.
const CLOCK_MS: std::ops::RangeInclusive<i64> = 0..=7_258_118_400_000;
/// How much later the feed of a conversation is repeated.
const LATER_US: i64 = 1_000_000_000_000;
/// Longest sleep that is believed: a year.
const SLEEP_MAX: Duration = Duration::from_secs(31_536_000);
/// A server that waits for longer than that has no work left that comes in slices.
const SLICE_PAUSE: Duration = Duration::from_millis(10);

/// DEBUG SLEEP.
fn sleep(time: Duration) {
    move_clock(time.min(SLEEP_MAX).as_micros() as i64);
}

/// A server and everybody who has ever been its client.
pub(super) struct World {
    pub(super) host: InProcess,
    /// Of each connection, its client.
    clients: Vec<Client>,
    settings: Config,
    /// What was done to the data, as commands.
    feed: Vec<u8>,
    /// Bytes of the store when there was nothing in it yet.
    empty_bytes: usize,
}

/// What a client knows that the network does not.
struct Client {
    /// Bytes on their way to the server.
    sent: Vec<u8>,
    replies: Replies,
    /// Replies to whole commands that it has sent; unknown once it has sent anything else, or asked for silence.
    owed: Option<u64>,
}

impl World {
    /// A server that has just started. There is one a thread at most, for they share the thread's clock.
    pub(super) fn start() -> World {
        let mut host = InProcess::start(&OPTIONS, Facts { sleep, ..facts() });
        host.server.want_feed(true);
        let settings = host.server.config.clone();
        // A database that has never been used has no table yet.
        for index in 0..host.server.store.databases() {
            host.server.store.db(index);
        }
        let empty_bytes = host.server.store.live_bytes();
        World { host, clients: Vec::new(), settings, empty_bytes, feed: Vec::new() }
    }

    /// Which connections are open.
    pub(super) fn open(&self) -> impl Iterator<Item = (usize, &Connection)> {
        self.host.connections.iter().enumerate().filter(|(_, connection)| !connection.closed)
    }

    pub(super) fn now_ms(&self) -> i64 {
        now_us() / 1000
    }

    /// Connects a client, and returns which one it is.
    pub(super) fn connect(&mut self) -> usize {
        let number = self.host.connect(self.clients.len() % 8 == 7);
        let owed = (!self.host.connections[number].closed).then_some(0);
        self.clients.push(Client { sent: Vec::new(), replies: Replies::default(), owed });
        number
    }

    /// Has a client leave, whatever it is waiting for.
    pub(super) fn disconnect(&mut self, client: usize) {
        self.host.disconnect(client);
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
        // From then on replies are left out, or others' commands and messages come between them. SHUTDOWN has no reply, a
        // browser's words have none either.
        let silent = named(0, "client") && (named(1, "reply") || named(1, "tracking"))
            || ["monitor", "shutdown", "post", "host:"].iter().any(|n| named(0, n))
            || words.first().is_some_and(|word| word.to_ascii_lowercase().ends_with(b"subscribe"));
        client.owed = client.owed.map(|owed| owed + 1).filter(|_| !silent && !words.is_empty());
    }

    /// So many of the bytes that a client has sent arrive.
    pub(super) fn arrive(&mut self, client: usize, count: usize) {
        let sent = &mut self.clients[client].sent;
        let later = sent.split_off(count.min(sent.len()));
        let arrived = std::mem::replace(sent, later);
        self.host.arrive(client, &arrived);
    }

    /// How many bytes of a client are on their way.
    pub(super) fn in_flight(&self, client: usize) -> usize {
        self.clients[client].sent.len()
    }

    /// One turn of the event loop.
    pub(super) fn turn(&mut self) {
        self.host.turn_unless(are_forbidden);
        self.feed.append(&mut self.host.server.take_feed());
        self.check_replies();
    }

    /// Moves the clock, though not out of its range, and lets the server do what it then has to.
    pub(super) fn jump(&mut self, ms: i64) {
        let now_ms = self.now_ms();
        self.pass(now_ms.saturating_add(ms).clamp(*CLOCK_MS.start(), *CLOCK_MS.end()) - now_ms);
    }

    fn pass(&mut self, ms: i64) {
        move_clock(ms * 1000);
        self.rest();
    }

    /// Turns until the server has nothing to do but wait.
    fn rest(&mut self) {
        for _ in 0..ROUNDS_MAX {
            self.turn();
            if !self.host.server.idle_time().is_zero() {
                return;
            }
        }
        panic!("the server does not come to rest");
    }

    /// Everybody has received whole frames of the protocol that they speak, and one reply for each command.
    fn check_replies(&mut self) {
        let InProcess { server, connections, .. } = &mut self.host;
        for (number, (client, connection)) in self.clients.iter_mut().zip(connections).enumerate() {
            let known = server.clients.get(connection.slot).filter(|_| !connection.closed);
            client.replies.resp3 |= client.owed.is_none() || known.is_some_and(|known| known.resp == Resp::V3);
            if let Err(what) = client.replies.read(&connection.received) {
                panic!("client {number}: {what}; all of it: {}", shown(&connection.received));
            }
            connection.received.clear();
            assert!(connection.closed || known.is_some(), "client {number} is gone, and its connection is not");
            let held = connection.paused && !connection.closed;
            assert!(!held || server.pause.current().is_some(), "client {number} still waits for the end of a pause");
            let waits = connection.closed || connection.paused || connection.blocked || !client.sent.is_empty();
            if let Some(owed) = client.owed.filter(|_| !waits) {
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
        while self.host.server.pause.current().is_some() || self.open().any(|(_, connection)| connection.blocked) {
            self.lift();
        }
        self.check_pings();
        self.check_expiry();
        self.check_store();
        self.check_feed();
        self.check_emptying();
    }

    /// What the feed has makes the same data on another server and later.
    fn check_feed(&mut self) {
        self.feed.append(&mut self.host.server.take_feed());
        self.host.server.want_feed(false);
        if self.host.server.is_in_script() {
            // What that has done so far is repeated when it is over.
            return;
        }
        move_clock(LATER_US);
        let other = repeat(&std::mem::take(&mut self.feed), &OPTIONS);
        move_clock(-LATER_US);
        if let Err(what) = other.and_then(|mut other| same(&mut self.host.server, &mut other)) {
            panic!("what the feed has does not do the same: {what}");
        }
    }

    /// Sets everything to how it was at the start that holds back or refuses commands, and lets them run. Who waits for
    /// data goes away.
    fn lift(&mut self) {
        self.host.server.pause.end();
        self.host.server.config = self.settings.clone();
        self.host.server.config_changed();
        let blocked: Vec<usize> = self.open().filter(|(_, connection)| connection.blocked).map(|(at, _)| at).collect();
        for client in blocked {
            self.disconnect(client);
        }
        self.host.resume();
        self.rest();
        self.host.server.active_expire = true;
        self.host.server.cron_paused = false;
        self.host.server.config = self.settings.clone();
        self.host.server.config_changed();
        self.host.server.users.set_default_password(None);
    }

    fn check_pings(&mut self) {
        let fresh = self.connect();
        assert!(!self.host.connections[fresh].closed, "there is room for a new client");
        for number in 0..self.clients.len() {
            let connection = &self.host.connections[number];
            if connection.closed || !connection.batch.tail().is_empty() {
                continue;
            }
            let client = &mut self.clients[number];
            append_command(&mut client.sent, &[&b"CLIENT"[..], b"REPLY", b"ON"]);
            append_command(&mut client.sent, &[b"PING"]);
            client.owed = None;
            self.arrive(number, usize::MAX);
            self.host.server.begin_turn();
            self.host.execute(&are_forbidden);
            let connection = &self.host.connections[number];
            let known = self.host.server.clients.get(connection.slot);
            let locked_out = known.is_some_and(|known| !known.is_authenticated());
            // Where nobody may ask for replies again, in a transaction for example, there are none.
            let silent = known.is_some_and(|known| known.flags.contains(ClientFlags::REPLY_OFF));
            let answers = |wanted: &[u8]| connection.received.windows(wanted.len()).any(|window| window == wanted);
            // Subscribers who speak RESP2 are answered in the form of a message, transactions when they are executed.
            let pong = [&b"+PONG\r\n"[..], b"*2\r\n$4\r\npong\r\n", b"+QUEUED\r\n"].into_iter().any(answers);
            let served = if locked_out { answers(b"-NOAUTH ") } else { pong };
            assert!(served || silent, "client {number} is not served: {}", shown(&connection.received));
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
                if self.host.server.idle_time() >= SLICE_PAUSE {
                    break;
                }
                self.pass(1);
            }
        }
        let now_ms = self.now_ms();
        for index in 0..self.host.server.store.databases() {
            let db = self.host.server.store.db(index);
            let late = db.iter().find(|entry| entry.expire_at().is_some_and(|at| at < now_ms - LATE_MS));
            if let Some(entry) = late {
                panic!("{} in database {index} is {:?}, it is {now_ms}", shown(entry.key()), entry.expire_at());
            }
        }
    }

    /// What is counted is what is there, and a scan sees all of it.
    pub(super) fn check_store(&mut self) {
        let mut entries_bytes = 0;
        for index in 0..self.host.server.store.databases() {
            let figures = self.host.server.store.figures(index);
            let now_ms = self.host.server.store.now_ms();
            let db = self.host.server.store.db(index);
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
        assert_eq!(
            self.host.server.store.live_bytes(),
            tables_bytes + entries_bytes,
            "bytes of {entries_bytes} in entries"
        );
    }

    /// Bytes of all tables and of the indexes of deadlines.
    fn tables_bytes(&self) -> usize {
        let store = &self.host.server.store;
        (0..store.databases()).map(|index| store.overhead_bytes(index)).map(|(table, index)| table + index).sum()
    }

    /// Every key is found by its name and can be removed, and with the last one its bytes are gone; so they are after
    /// FLUSHALL.
    fn check_emptying(&mut self) {
        for index in 0..self.host.server.store.databases() {
            let names: Vec<Vec<u8>> =
                self.host.server.store.db(index).iter().map(|entry| entry.key().to_vec()).collect();
            for name in names.iter().step_by(2) {
                let key = self.host.server.store.key(name);
                self.host.server.store.db(index).expire_now(key);
                assert!(self.host.server.store.db(index).peek(key).is_none(), "{} stays", shown(name));
            }
            assert_eq!(self.host.server.store.figures(index).keys, names.len() / 2, "keys that were not removed");
        }
        self.check_store();
        for index in 0..self.host.server.store.databases() {
            let names: Vec<Vec<u8>> =
                self.host.server.store.db(index).iter().map(|entry| entry.key().to_vec()).collect();
            for name in &names {
                let key = self.host.server.store.key(name);
                self.host.server.store.db(index).expire_now(key);
            }
        }
        assert_eq!(self.host.server.store.live_bytes(), self.tables_bytes(), "bytes of entries when there are none");
        let operator = self.connect();
        append_command(&mut self.clients[operator].sent, &[b"FLUSHALL".to_vec()]);
        self.clients[operator].owed = Some(1);
        self.arrive(operator, usize::MAX);
        self.turn();
        assert_eq!(self.host.server.store.live_bytes(), self.empty_bytes, "bytes of an empty store");
    }
}

/// Whether commands are better not run.
fn are_forbidden(batch: &Batch) -> bool {
    batch.commands().any(|argv| is_forbidden(argv.iter()))
}
