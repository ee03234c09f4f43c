//! A service whose configuration is in Weir: it loads it, watches it and follows every change without being started again.
//!
//! ```text
//! cargo run --example config [redis://localhost:6379] [shop] [/web/]
//! ```
//!
//! It goes on over lost connections, over history that has been compacted while it was away, and over a new epoch of the store.
//! SIGTERM and SIGINT end it.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use redis::{Client, Connection, FromRedisValue, IntoConnectionInfo, ProtocolVersion, PushKind, Value, cmd};

/// The server says something so often, even if there is nothing to tell; who hears nothing for three times as long is alone.
const PROGRESS_MS: u64 = 2_000;
const PAUSE: Duration = Duration::from_millis(200);

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;
/// Type, path, value (of a deletion none), and what else is known of it.
type Event = (String, String, Option<String>, u64, u64, u64, u64);

/// What stands below a prefix, as it was at a revision of an epoch.
struct Config {
    client: Client,
    store: String,
    prefix: String,
    values: BTreeMap<String, String>,
    /// The revision up to which everything has been seen, and its epoch. None: nothing has, or it can no longer be told what
    /// came behind it.
    seen: Option<(u64, u64)>,
}

impl Config {
    /// Keeps it as it is in the store, until it is to stop.
    fn follow(&mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            if let Err(error) = self.connect().and_then(|mut connection| self.watch(&mut connection, stop)) {
                // The values go on to be used.
                println!("no connection: {error}");
                thread::sleep(PAUSE);
            }
        }
    }

    fn connect(&self) -> Outcome<Connection> {
        let connection = self.client.get_connection()?;
        // Only what the server sends by itself is waited for so long.
        connection.set_read_timeout(Some(Duration::from_millis(3 * PROGRESS_MS)))?;
        Ok(connection)
    }

    /// Watches over one connection, for as long as it lasts.
    fn watch(&mut self, connection: &mut Connection, stop: &AtomicBool) -> Outcome<()> {
        let mut begin = cmd("CFG.WATCH");
        begin.arg(&self.store).arg(&self.prefix).arg("PREFIX").arg("ID").arg("config");
        begin.arg("PROGRESS").arg(PROGRESS_MS);
        match self.seen {
            None => begin.arg("SNAPSHOT"),
            Some((revision, epoch)) => begin.arg("FROM").arg(revision + 1).arg("EPOCH").arg(epoch),
        };
        // What is there at first, while it is not complete.
        let mut loaded = self.seen.is_none().then(BTreeMap::new);
        let mut epoch = 0;
        connection.send_packed_command(&begin.get_packed_command())?;
        while !stop.load(Ordering::Relaxed) {
            let (kind, told) = match connection.recv_response()? {
                Value::Push { kind: PushKind::Other(kind), data } => (kind, data),
                Value::ServerError(error) => {
                    if !matches!(error.code(), "CFGCOMPACTED" | "CFGEPOCH" | "CFGFUTURE") {
                        return Err(format!("{error:?}").into());
                    }
                    // Somebody else's history, or one that is gone: all anew.
                    println!("again from the beginning: {} {}", error.code(), error.details().unwrap_or_default());
                    self.seen = None;
                    return Ok(());
                }
                // The reply. Its epoch is the one that all revisions below belong to.
                reply => {
                    let fields: BTreeMap<String, Value> = FromRedisValue::from_redis_value(reply)?;
                    epoch = u64::from_redis_value_ref(fields.get("epoch").ok_or("a reply without an epoch")?)?;
                    continue;
                }
            };
            // Behind the name of the watch.
            let mut parts = told.into_iter().skip(1);
            let mut next = || parts.next().ok_or("a frame with too few parts");
            match kind.as_str() {
                "cfg.event" => {
                    let (revision, events) = (u64::from_redis_value(next()?)?, Vec::from_redis_value(next()?)?);
                    let values = loaded.as_mut().unwrap_or(&mut self.values);
                    apply(values, events);
                    if loaded.is_none() {
                        self.seen = Some((revision, epoch));
                        self.changed();
                    }
                }
                "cfg.synced" => {
                    self.seen = Some((u64::from_redis_value(next()?)?, epoch));
                    if let Some(loaded) = loaded.take() {
                        self.values = loaded;
                        self.changed();
                    }
                }
                "cfg.progress" => self.seen = Some((u64::from_redis_value(next()?)?, epoch)),
                _ => {
                    println!("again from the beginning: {kind}");
                    self.seen = None;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Here a service would open another log file, change the size of a pool, or show another colour.
    fn changed(&self) {
        let (revision, _) = self.seen.unwrap_or_default();
        println!("revision {revision}: {:?}", self.values);
    }
}

/// One revision, as a whole.
fn apply(values: &mut BTreeMap<String, String>, events: Vec<Event>) {
    for (_, path, value, ..) in events {
        match value {
            Some(value) => values.insert(path, value),
            None => values.remove(&path),
        };
    }
}

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "redis://localhost:6379".into());
    let store = arguments.next().unwrap_or_else(|| "shop".into());
    let prefix = arguments.next().unwrap_or_else(|| "/web/".into());
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, stop.clone())?;
    }
    let at = url.into_connection_info()?;
    let with_pushes = at.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    let client = Client::open(at.set_redis_settings(with_pushes))?;
    Config { client, store, prefix, values: BTreeMap::new(), seen: None }.follow(&stop);
    println!("has stopped");
    Ok(())
}
