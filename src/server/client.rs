//! Connected clients as the executor knows them.
//!
//! A client has a [`Slot`], by which it is found at once and which is used again after it has gone, and a [`ClientId`],
//! which never is. What the network alone knows (buffers, sockets) is not here, except for the figures that it reports
//! for CLIENT LIST ([`IoFacts`]).

use super::client_memory::Weight;
use super::gates::Armed;
use super::message::{Order, Outbox};
use super::table::Command;
use super::transaction::Transaction;
use crate::acl::UserId;
use crate::command::reply::{Output, Resp};
use crate::tracking::Tracker;
use hashbrown::HashMap;
use std::sync::Arc;

/// Place in the table of clients.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Slot(pub u32);

/// Number of a client, counted up from 1 and never used again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ClientId(pub u64);

bitflags::bitflags! {
    /// What a client is or has asked for.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct ClientFlags: u32 {
        /// Over a Unix socket.
        const UNIX_SOCKET = 1 << 0;
        /// In MONITOR.
        const MONITOR = 1 << 1;
        /// CLIENT NO-EVICT ON.
        const NO_EVICT = 1 << 2;
        /// CLIENT NO-TOUCH ON.
        const NO_TOUCH = 1 << 3;
        /// CLIENT REPLY OFF.
        const REPLY_OFF = 1 << 4;
        /// CLIENT REPLY SKIP: no reply to the next command.
        const REPLY_SKIP_NEXT = 1 << 5;
        /// No reply to this command.
        const REPLY_SKIP = 1 << 6;
        /// The connection ends when the reply has gone out.
        const CLOSE_AFTER_REPLY = 1 << 7;
        /// Its commands wait for the end of a pause.
        const PAUSED = 1 << 8;
        /// CLIENT CAPA REDIRECT.
        const CAPA_REDIRECT = 1 << 9;
        /// CLIENT IMPORT-SOURCE ON.
        const IMPORT_SOURCE = 1 << 10;
        /// Came through the loopback interface or a Unix socket.
        const LOCAL = 1 << 11;
        /// CLIENT KILL has ended it; what it has sent is not executed any more.
        const KILLED = 1 << 12;
        /// Waits for data.
        const BLOCKED = 1 << 13;
        /// Commands of it are being executed in this turn.
        const RUNNING = 1 << 14;
        /// Messages wait for their place between its replies.
        const PUSHED = 1 << 15;
        /// Subscribes to a channel, a pattern or a shard channel.
        const SUBSCRIBER = 1 << 16;
        /// READONLY.
        const READONLY = 1 << 17;
        /// Commands of it are left for the next turn.
        const UNFINISHED = 1 << 18;
        /// It is told of what it has just published when that is on disk.
        const CONFIRMS = 1 << 20;
        /// Runs what a file says; it is nobody, and nowhere listed.
        const REPEATER = 1 << 19;
        /// Observes stores of the registry, or has.
        const OBSERVES = 1 << 21;
        /// CLIENT TRACKING ON.
        const TRACKING = 1 << 24;
        /// Keys that it reads now are remembered.
        const REMEMBERS = 1 << 25;
        /// CLIENT CACHING was called for the next command.
        const CACHING = 1 << 26;
    }
}

/// Figures that the network reports after each turn.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct IoFacts {
    /// Bytes received.
    pub net_in: u64,
    /// Bytes sent.
    pub net_out: u64,
    /// Bytes received and not yet executed.
    pub query_bytes: usize,
    /// Bytes of replies that wait.
    pub output_bytes: usize,
    /// Pieces that those are in.
    pub output_chunks: usize,
    /// Bytes of heap behind all its buffers.
    pub buffer_heap: usize,
    /// Bytes of replies that wait and lie elsewhere: values, and messages that several clients get.
    pub referenced_bytes: usize,
}

/// How long the longest reply to a client is remembered, for CLIENT LIST.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReplyPeaks {
    /// So many ms.
    pub(super) kept_ms: i64,
    /// Or, if not, for ever.
    pub(super) forgotten: bool,
}

impl Default for ReplyPeaks {
    fn default() -> ReplyPeaks {
        ReplyPeaks { kept_ms: 5_000, forgotten: true }
    }
}

/// The longest reply to a client in a while.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct ReplyPeak {
    bytes: usize,
    since_ms: i64,
}

impl ReplyPeak {
    /// Its bytes.
    pub(super) fn bytes(self, now_ms: i64, peaks: ReplyPeaks) -> usize {
        let over = peaks.forgotten && now_ms - self.since_ms >= peaks.kept_ms;
        if over { 0 } else { self.bytes }
    }

    /// Replies of so many bytes go out.
    #[inline]
    pub(super) fn replied(&mut self, bytes: usize, now_ms: i64, peaks: ReplyPeaks) {
        let before = self.bytes(now_ms, peaks);
        if bytes >= before {
            *self = ReplyPeak { bytes, since_ms: now_ms };
        }
    }

    /// Bytes of a buffer that takes its replies: what CLIENT LIST shows as its reply buffer. Up to 16 KiB, since longer ones
    /// would go out in pieces.
    pub(super) fn buffer_bytes(self, now_ms: i64, peaks: ReplyPeaks) -> usize {
        self.bytes(now_ms, peaks).clamp(1024, 16 * 1024).next_power_of_two()
    }
}

/// One client.
#[derive(Debug)]
pub struct Client {
    /// Its number.
    pub id: ClientId,
    /// Its place.
    pub slot: Slot,
    /// Its address, `ip:port` or `path:0`.
    pub addr: String,
    /// The server's end of the connection.
    pub laddr: String,
    /// File descriptor, for CLIENT LIST.
    pub fd: i32,
    /// Name set by CLIENT SETNAME; empty if none.
    pub name: Vec<u8>,
    /// Name of its library, set by CLIENT SETINFO.
    pub lib_name: Vec<u8>,
    /// Version of its library.
    pub lib_ver: Vec<u8>,
    /// Unix time of its connection, in ms.
    pub created_ms: i64,
    /// Unix time of its last command or bytes, in ms.
    pub active_ms: i64,
    /// Unix time of its last bytes, in ms, whatever it was sent meanwhile; who waits for this server is heard when that ends.
    pub heard_ms: i64,
    /// Its database.
    pub db: usize,
    /// The protocol it speaks.
    pub resp: Resp,
    /// See [`ClientFlags`].
    pub flags: ClientFlags,
    /// User it has authenticated as; `None` before.
    pub user: Option<UserId>,
    /// What it called last.
    pub last_command: Option<&'static Command>,
    /// Commands it has run.
    pub commands: u64,
    /// Figures from the network.
    pub io: IoFacts,
    /// Gates that may hold up this client although they are open for others.
    pub armed: Armed,
    /// What it has queued since MULTI and which keys it watches.
    pub tx: Option<Box<Transaction>>,
    /// How it tracks keys, if it does.
    pub tracker: Option<Box<Tracker>>,
    /// Messages that go out behind the reply of the command that runs; see [`super::Server::push`].
    pub(super) pushes: Vec<Arc<[u8]>>,
    /// How long replies to it are.
    pub(super) reply_peak: ReplyPeak,
    /// What it took when it was last weighed.
    pub(super) weight: Weight,
}

impl Client {
    /// Its peer's address without the port; empty for a Unix socket.
    pub fn ip(&self) -> &str {
        if self.flags.contains(ClientFlags::UNIX_SOCKET) {
            return "";
        }
        let ip = self.addr.rsplit_once(':').map_or("", |(ip, _)| ip);
        ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(ip)
    }

    /// Bytes of heap that it takes here, buffers not counted.
    pub fn heap_bytes(&self) -> usize {
        size_of::<Client>()
            + self.addr.capacity()
            + self.laddr.capacity()
            + self.name.capacity()
            + self.lib_name.capacity()
            + self.lib_ver.capacity()
            + self.tx.as_ref().map_or(0, |tx| tx.heap_bytes())
            + self.tracker.as_ref().map_or(0, |tracker| tracker.heap_bytes())
    }

    /// Whether MULTI was called and EXEC was not yet.
    pub fn in_transaction(&self) -> bool {
        self.tx.as_ref().is_some_and(|tx| tx.is_open())
    }

    /// Bytes of commands that wait for EXEC.
    pub fn queued_bytes(&self) -> usize {
        self.tx.as_ref().map_or(0, |tx| tx.queued_bytes())
    }

    /// Sends it a message that it has not asked for in this moment. It goes out behind the reply of the command that runs, if
    /// that is its own, and in front of the replies to its later ones.
    #[inline]
    pub(super) fn push(&mut self, outbox: &mut Outbox, message: Arc<[u8]>) {
        if self.flags.contains(ClientFlags::RUNNING) {
            self.pushes.push(message);
            self.flags.insert(ClientFlags::PUSHED);
        } else {
            outbox.order(Order::Push(self.id, message));
        }
    }

    /// Puts the messages that wait behind the replies so far.
    #[cold]
    pub(super) fn take_pushes(&mut self, out: &mut Output) {
        for message in std::mem::take(&mut self.pushes) {
            out.bytes_mut().extend_from_slice(&message);
        }
        self.flags.remove(ClientFlags::PUSHED);
    }

    /// Whether it may do more than AUTH.
    pub fn is_authenticated(&self) -> bool {
        self.user.is_some()
    }
}

/// What the network knows of a connection when it accepts it.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The peer's address.
    pub addr: String,
    /// The server's end.
    pub laddr: String,
    /// File descriptor.
    pub fd: i32,
    /// Over a Unix socket.
    pub unix: bool,
    /// Loopback or Unix socket.
    pub local: bool,
}

/// All connected clients.
#[derive(Debug, Default)]
pub struct Clients {
    slots: Vec<Option<Box<Client>>>,
    free: Vec<u32>,
    last_id: u64,
    by_id: HashMap<ClientId, Slot>,
    /// Slots of clients in MONITOR.
    pub monitors: Vec<Slot>,
    repeaters: usize,
}

impl Clients {
    /// Adds one, who has not logged in.
    pub fn add(&mut self, accepted: Accepted, now_ms: i64) -> Slot {
        self.last_id += 1;
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as u32
        });
        let slot = Slot(index);
        self.by_id.insert(ClientId(self.last_id), slot);
        let mut flags = ClientFlags::empty();
        flags.set(ClientFlags::UNIX_SOCKET, accepted.unix);
        flags.set(ClientFlags::LOCAL, accepted.local);
        self.slots[index as usize] = Some(Box::new(Client {
            id: ClientId(self.last_id),
            slot,
            addr: accepted.addr,
            laddr: accepted.laddr,
            fd: accepted.fd,
            name: Vec::new(),
            lib_name: Vec::new(),
            lib_ver: Vec::new(),
            created_ms: now_ms,
            active_ms: now_ms,
            heard_ms: now_ms,
            db: 0,
            resp: Resp::V2,
            flags,
            user: None,
            last_command: None,
            commands: 0,
            io: IoFacts::default(),
            armed: Armed::default(),
            tx: None,
            tracker: None,
            pushes: Vec::new(),
            reply_peak: ReplyPeak::default(),
            weight: Weight::default(),
        }));
        slot
    }

    /// Adds one who runs what a file says and may do everything. It is not among [`Clients::iter`].
    pub(super) fn add_repeater(&mut self, now_ms: i64) -> Slot {
        let nowhere = String::new;
        let slot = self.add(Accepted { addr: nowhere(), laddr: nowhere(), fd: -1, unix: false, local: true }, now_ms);
        if let Some(client) = self.get_mut(slot) {
            client.flags.insert(ClientFlags::REPEATER);
        }
        self.repeaters += 1;
        slot
    }

    /// Removes one that has gone.
    pub fn remove(&mut self, slot: Slot) -> Option<Box<Client>> {
        let client = self.slots.get_mut(slot.0 as usize)?.take()?;
        self.repeaters -= usize::from(client.flags.contains(ClientFlags::REPEATER));
        self.free.push(slot.0);
        self.by_id.remove(&client.id);
        self.monitors.retain(|&m| m != slot);
        Some(client)
    }

    /// The one at a slot.
    #[inline]
    pub fn get(&self, slot: Slot) -> Option<&Client> {
        self.slots.get(slot.0 as usize)?.as_deref()
    }

    /// The one at a slot, to change it.
    #[inline]
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut Client> {
        self.slots.get_mut(slot.0 as usize)?.as_deref_mut()
    }

    /// Where the one with a number is.
    pub fn slot_of(&self, id: ClientId) -> Option<Slot> {
        self.by_id.get(&id).copied()
    }

    /// All, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Client> {
        self.slots.iter().filter_map(|c| c.as_deref()).filter(|c| !c.flags.contains(ClientFlags::REPEATER))
    }

    /// All, to change them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Client> {
        self.slots.iter_mut().filter_map(|c| c.as_deref_mut())
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len() - self.repeaters
    }

    /// Whether nobody is connected.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
