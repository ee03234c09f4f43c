//! The server: executes batches of commands, one after the other, on one thread.
//!
//! ```text
//!  Job { client, Batch } ──► exec: plan (look up, hash, prefetch) ──► gates ──► command ──► propagate ──► Job { Output }
//!                                                                                  │
//!                                                    Outbox: orders to the network ◄┘ (push, close, listen anew)
//! ```
//!
//! [`exec`] runs commands, [`gates`] decides what may run now, [`propagate`] tells everybody what changed, [`cron`] does
//! what time demands, [`blocking`] knows who waits for data, [`commands`] holds the commands that need the whole server. The network is reached by messages
//! only ([`message`]), so it may be on other threads.
//!
//! Invariant: nothing here reads or writes a socket, and nothing here asks the operating system for the time in the
//! middle of a turn.

mod append_only;
mod background;
mod blocking;
mod bodies;
mod broker;
pub mod client;
mod client_memory;
pub mod commands;
mod cron;
mod eviction;
mod exec;
mod feed;
mod functions;
mod gates;
mod hot_keys;
mod keys;
mod loading;
pub mod message;
mod migrating;
mod notify;
mod observers;
pub mod pause;
pub mod permissions;
mod propagate;
mod publish;
mod redact;
mod registry;
mod repeat;
pub mod running;
mod scripting;
mod snapshots;
mod statistics;
pub mod table;
mod tls;
mod tracking;
mod transaction;
mod unsaved;

use crate::acl::{AclLog, Users};
use crate::broker::Broker;
use crate::command::effects::Effects;
use crate::command::error::Error;
use crate::command::reply::Reply;
use crate::command::stream::node_limits;
use crate::config::{Apply, Config, OutputBufferLimit};
use crate::disk::Disk;
use crate::pubsub::PubSub;
use crate::registry::Registry;
use crate::script::functions::Functions;
use crate::store::{LazyFree, Store};
use crate::tls::Acceptor;
use background::Background;
use client::{Accepted, Client, ClientFlags, Clients, IoFacts, Slot};
use message::Outbox;
use statistics::Statistics;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use table::{Command, Names};
use weir_resp::Argv;

/// Runs a command that needs the whole server.
pub type ServerFn = fn(&mut ServerCx<'_>) -> Result<(), Error>;

/// What does not change while the server runs.
#[derive(Debug)]
pub struct Facts {
    /// 40 hexadecimal digits, new at every start.
    pub run_id: String,
    /// Unix time of the start, in ms.
    pub started_ms: i64,
    /// The configuration file, if there is one.
    pub config_file: Option<PathBuf>,
    /// The running program.
    pub executable: PathBuf,
    /// Version of Weir.
    pub version: &'static str,
    /// Bytes in use before the first client came.
    pub startup_bytes: usize,
    /// Reads the wall clock, in microseconds since 1970; a fake one in tests.
    pub wall_clock_us: fn() -> i64,
    /// Bytes that the allocator has given out.
    pub heap_bytes: fn() -> usize,
    /// The log, to change its level; `None` in tests.
    pub log: Option<crate::logging::Handle>,
    /// Holds up the thread (DEBUG SLEEP); moves the fake clock in tests.
    pub sleep: fn(Duration),
    /// Does what a changed setting asks of the process: limit of open files, score of the out-of-memory killer, title.
    /// The error is for the client. Does nothing in tests.
    pub apply: fn(Apply, &Config) -> Result<(), String>,
    /// Asks the allocator to give unused pages back to the system (MEMORY PURGE).
    pub give_back_memory: fn(),
    /// Called many times a second, as proof that the executor is not stuck. Does nothing in tests.
    pub still_turns: fn(),
    /// Lets the allocator do what it has put off, such as giving back pages that have been unused for a while. Quick.
    pub tidy_memory: fn(),
    /// Has the calling thread, which frees what others have allocated, do so in portions, and wait for `tidy_memory` between
    /// them.
    pub free_in_portions: fn(),
    /// Whether such a thread waits.
    pub tidy_is_awaited: fn() -> bool,
    /// What the allocator says of itself (MEMORY MALLOC-STATS).
    pub allocator_report: fn() -> String,
    /// Where data files are.
    pub disk: Arc<dyn Disk>,
    /// Whether the addresses of the second configuration can be listened on by a server that listens on those of the first.
    /// Always in tests.
    pub can_listen: fn(&Config, &Config) -> Result<(), String>,
}

/// The version of Redis whose behaviour clients may count on; they read it as `redis_version`.
pub const REDIS_VERSION: &str = "8.0.6";
/// The same for Valkey.
pub const VALKEY_VERSION: &str = "9.1.2";

/// Everything the executor owns.
#[derive(Debug)]
pub struct Server {
    /// All databases.
    pub store: Store,
    /// Queues and exchanges, and who is sent what is in them.
    pub broker: Broker,
    bodies: bodies::Bodies,
    /// Stores of configuration, and who observes them.
    pub registry: Registry,
    /// Who subscribes to what.
    pub pubsub: PubSub,
    /// Settings in force.
    pub config: Config,
    /// Names under which commands are called.
    pub names: Names,
    /// Connected clients.
    pub clients: Clients,
    /// Counters, logs and histograms.
    pub stats: Statistics,
    /// What does not change.
    pub facts: Facts,
    /// What the network is to do.
    pub outbox: Outbox,
    /// CLIENT PAUSE.
    pub pause: pause::Pause,
    /// Who may log in, and what they may do.
    pub users: Users,
    /// Who was refused what.
    pub acl_log: AclLog,
    /// Changes since the last save.
    pub dirty: u64,
    /// Which gates have something to say at all.
    pub armed: gates::Armed,
    /// What holds commands that change data back, because the disk is too far behind.
    behind: gates::Behind,
    /// Whether deadlines are also enforced when nobody asks (DEBUG SET-ACTIVE-EXPIRE).
    pub active_expire: bool,
    /// Whether work that comes round many times a second is left undone (DEBUG PAUSE-CRON).
    pub cron_paused: bool,
    /// Set when the server is to end: the event loop ends after this turn.
    pub shutdown: Option<ShutdownRequest>,
    /// The signal that has asked for the end, while a script holds that up.
    signal_waits: Option<&'static str>,
    /// Name of this history of changes, 40 hexadecimal digits: new at every start, and by DEBUG CHANGE-REPL-ID.
    pub replication_id: String,
    /// Sockets that are listened on, as INFO shows them; told by the network.
    pub listeners: Vec<String>,
    /// What TLS connections are made from, while there is a port for them.
    pub tls: Option<Arc<Acceptor>>,
    /// Frees what would hold up the executor.
    pub background: Background,
    /// Clients that wait for an answer, and under which token.
    calls: hashbrown::HashMap<client::ClientId, Vec<u8>>,
    waiters: blocking::Waiters,
    scripts: scripting::Scripts,
    functions: Functions,
    snapshots: snapshots::Snapshots,
    append_only: append_only::AppendOnly,
    loading: Option<loading::Loading>,
    migrations: migrating::Migrations,
    /// Subscribers whose commands are running, and perhaps some whose commands have run.
    running_subscribers: Vec<Slot>,
    tracking: tracking::Tracking,
    delivery: observers::Delivery,
    client_memory: client_memory::ClientMemory,
    reply_peaks: client::ReplyPeaks,
    /// Keys of the call that is checked; empty in between, kept for its room.
    found_keys: Vec<keys::KeyUse>,
    effects: Effects,
    feed: feed::Feed,
    events: notify::Wanted,
    memory: eviction::MemoryLimit,
    hot_keys: Option<Box<hot_keys::HotKeys>>,
    cron: cron::Cron,
    plan: Vec<exec::Planned>,
}

/// How the server is to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShutdownRequest {
    /// Who asked, for the log.
    pub by: &'static str,
    /// Nobody did: it cannot go on, and the log says why.
    pub failed: bool,
}

impl Server {
    /// A server with empty databases. `hash_seed` keys the hash tables; what commands pick at random depends on the run id.
    pub fn new(config: Config, facts: Facts, hash_seed: u64) -> Server {
        let snapshots = snapshots::Snapshots::new(facts.started_ms / 1000);
        let now_ms = facts.started_ms;
        let random_seed = std::hash::BuildHasher::hash_one(&foldhash::quality::FixedState::default(), &facts.run_id);
        let background = Background::start(facts.free_in_portions);
        let mut server = Server {
            store: Store::new(config.databases as usize, hash_seed, random_seed, now_ms),
            broker: Broker::default(),
            bodies: bodies::Bodies::default(),
            registry: Registry::default(),
            calls: hashbrown::HashMap::new(),
            pubsub: PubSub::new(hash_seed.rotate_left(17)),
            names: Names::new(&config),
            clients: Clients::default(),
            stats: Statistics::new(&config, table::command_count()),
            facts,
            outbox: Outbox::default(),
            pause: pause::Pause::default(),
            users: permissions::initial_users(&config),
            acl_log: AclLog::default(),
            dirty: 0,
            armed: gates::Armed::default(),
            behind: gates::Behind::default(),
            active_expire: true,
            cron_paused: false,
            shutdown: None,
            signal_waits: None,
            replication_id: String::new(),
            listeners: Vec::new(),
            tls: None,
            background,
            waiters: blocking::Waiters::default(),
            scripts: scripting::Scripts::default(),
            functions: Functions::default(),
            snapshots,
            append_only: append_only::AppendOnly::new(),
            loading: None,
            migrations: migrating::Migrations::default(),
            running_subscribers: Vec::new(),
            tracking: tracking::Tracking::default(),
            delivery: observers::Delivery::default(),
            client_memory: client_memory::ClientMemory::default(),
            reply_peaks: client::ReplyPeaks::default(),
            found_keys: Vec::new(),
            effects: Effects::waiting_allowed(),
            feed: feed::Feed::default(),
            events: notify::Wanted::default(),
            memory: eviction::MemoryLimit::default(),
            hot_keys: None,
            cron: cron::Cron::default(),
            plan: Vec::new(),
            config,
        };
        server.effects.set_sequence(server.store.sequence().clone());
        server.change_replication_id();
        if server.config.key_memory_histograms {
            server.store.measure_memory();
        }
        server.config_changed();
        server
    }

    /// Begins a new history of changes.
    pub fn change_replication_id(&mut self) {
        self.replication_id = (0..5).map(|_| format!("{:08x}", self.store.random_u64() as u32)).collect();
    }

    /// Draws the conclusions from the configuration: called at the start and after every change of it.
    pub fn config_changed(&mut self) {
        use crate::store::AccessPolicy;
        let policy = match self.config.maxmemory_policy {
            policy if policy.is_lfu() => {
                AccessPolicy::Lfu { log_factor: self.config.lfu_log_factor, decay_min: self.config.lfu_decay_time }
            }
            policy if policy.is_lrm() => AccessPolicy::Lrm,
            _ => AccessPolicy::Lru,
        };
        if self.store.access().policy() != policy {
            self.store.set_access_policy(policy);
        }
        self.store.set_lazyfree(LazyFree {
            expired: self.config.lazyfree_lazy_expire,
            evicted: self.config.lazyfree_lazy_eviction,
            replaced: self.config.lazyfree_lazy_server_del,
        });
        self.broker.set_stream_limits(node_limits(&self.config));
        let page_after = self.config.mq_page_after;
        self.broker.set_page_after((page_after > 0).then_some(page_after));
        self.stats.configure(&self.config);
        running::FIGURES.hides_user_data.store(self.config.hide_user_data_from_log, Ordering::Relaxed);
        self.configure_events();
        self.configure_memory_limit();
        self.configure_scripts();
        self.limit_tracking();
        self.configure_client_memory();
        self.users.set_all_channels(permissions::all_channels(&self.config));
        self.acl_log.set_len_max(usize::try_from(self.config.acllog_max_len).unwrap_or(usize::MAX));
        self.rearm();
    }

    /// A new connection. Refused with the bytes to send before it is closed.
    pub fn connect(&mut self, accepted: Accepted) -> Result<Slot, Vec<u8>> {
        if self.clients.len() >= self.config.maxclients as usize {
            self.stats.counters.rejected_connections += 1;
            return Err(b"-ERR max number of clients reached\r\n".to_vec());
        }
        if self.config.protected_mode && !self.users.default_has_password() && !accepted.local {
            self.stats.counters.rejected_connections += 1;
            return Err(format!("-{}\r\n", Error::PROTECTED_MODE).into_bytes());
        }
        self.stats.counters.total_connections_received += 1;
        let slot = self.clients.add(accepted, self.store.now_ms());
        self.weigh(slot);
        self.log_in(slot, self.user_of_strangers());
        Ok(slot)
    }

    /// A connection has gone.
    pub fn disconnect(&mut self, slot: Slot) {
        if self.orphan_script(slot) {
            return;
        }
        self.unwatch(slot);
        self.end_subscriptions(slot);
        self.stop_tracking(slot);
        self.forget_weight(slot);
        if let Some(client) = self.clients.remove(slot) {
            self.waiter_gone(client.id);
            self.broker.client_gone(client.id.0);
            self.registry.client_gone(client.id.0);
            self.calls.remove(&client.id);
        }
    }

    /// Sends a client a message; see [`Client::push`].
    pub(super) fn push(&mut self, slot: Slot, message: Arc<[u8]>) {
        if let Some(client) = self.clients.get_mut(slot) {
            client.push(&mut self.outbox, message);
        }
    }

    /// The network has something new to say about a client's buffers.
    #[inline]
    pub fn io_changed(&mut self, slot: Slot, facts: impl FnOnce(&mut IoFacts)) {
        if let Some(client) = self.clients.get_mut(slot) {
            facts(&mut client.io);
            self.weigh(slot);
            self.mind_consumer(slot);
            self.mind_observer(slot);
        }
    }

    /// A signal asks for the end. It does not come if the data should have been saved and could not be.
    pub fn signalled(&mut self, name: &'static str) {
        tracing::warn!("Received {name} scheduling shutdown...");
        self.signal_waits = Some(name);
        self.end_if_signalled();
    }

    /// Does what a signal has asked for, but not in the middle of a script: what that has done so far is not to be saved without
    /// the rest.
    fn end_if_signalled(&mut self) {
        if !self.scripts.is_suspended()
            && let Some(name) = self.signal_waits.take()
        {
            self.end_by_signal(name);
        }
    }

    /// Calls off what a signal has asked for and a script holds up. Whether there was anything.
    fn abort_end(&mut self) -> bool {
        self.signal_waits.take().is_some()
    }

    fn end_by_signal(&mut self, name: &'static str) {
        let flags = if name == "SIGINT" { self.config.shutdown_on_sigint } else { self.config.shutdown_on_sigterm };
        if self.is_loading() {
            // There is nothing yet that could be saved.
            self.shutdown = Some(ShutdownRequest { by: name, failed: false });
            return;
        }
        let save = if flags.saves() { Some(true) } else { flags.saves_nothing().then_some(false) };
        if self.prepare_end(save).is_err() && !flags.forces() {
            tracing::error!("Error trying to save the DB, can't exit.");
            tracing::warn!(
                "{name} received but errors trying to shut down the server, check the logs for more information"
            );
            return;
        }
        self.shutdown = Some(ShutdownRequest { by: name, failed: false });
    }

    /// Whether the end is near: it has been decided on, or comes when a script is over.
    pub fn is_ending(&self) -> bool {
        self.shutdown.is_some() || self.signal_waits.is_some()
    }

    /// The limit on output that waits for a client. Who is in MONITOR without a limit for normal clients is held to the
    /// one for subscribers as well: what it is sent does not depend on what it takes.
    pub fn output_limit(&self, slot: Slot) -> OutputBufferLimit {
        let [normal, _, subscriber] = self.config.client_output_buffer_limit;
        let flags = self.clients.get(slot).map_or(ClientFlags::empty(), |client| client.flags);
        let monitors = flags.contains(ClientFlags::MONITOR) && normal.is_unlimited();
        if monitors || flags.contains(ClientFlags::SUBSCRIBER) { subscriber } else { normal }
    }

    /// Bytes in use: what the allocator gave out, and what the store has beside it.
    pub fn used_memory(&self) -> usize {
        self.store.mapped_bytes() + (self.facts.heap_bytes)()
    }
}

/// What a command that needs the whole server sees.
pub struct ServerCx<'a> {
    /// Everything.
    pub server: &'a mut Server,
    /// Which client calls.
    pub slot: Slot,
    /// The command itself.
    pub command: &'static Command,
    /// The command's name and arguments; of a subcommand the container's name first.
    pub argv: Argv<'a>,
    /// Where the reply goes.
    pub reply: Reply<'a>,
}

impl<'a> ServerCx<'a> {
    /// The calling client.
    pub fn client(&mut self) -> &mut Client {
        self.server.clients.get_mut(self.slot).expect("the calling client is connected")
    }

    /// Number of arguments, the name included.
    pub fn argc(&self) -> usize {
        self.argv.len()
    }

    /// Argument `at`; empty beyond the last.
    pub fn arg(&self, at: usize) -> &'a [u8] {
        self.argv.at(at)
    }

    /// The arguments from `at` on, to be read one by one.
    pub fn words(&self, at: usize) -> crate::command::args::Words<'a> {
        crate::command::args::Words::new(self.argv, at)
    }
}
