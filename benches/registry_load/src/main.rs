//! Load for a configuration registry: one scenario, once, on one registry. `benches/scenarios/registry.py` starts the registries,
//! runs this in turns and compares; by hand:
//!
//! ```text
//! registry_load SCENARIO weir|etcd|zookeeper PORT [NAME=VALUE ...]
//! ```
//!
//! Prints one line: figures as `NAME=VALUE`. What the options are called, and what they are when they are not given, stands at
//! [`Options`]; what the scenarios are, in [`scenario`]. All registries are met in the same way: by one thread, over connections
//! of their own protocol on 127.0.0.1, by clients that do no more than they must; what is counted is what came back.

mod connections;
mod etcd;
mod http2;
mod scenario;
mod session;
mod weir;
mod zookeeper;

use std::process::ExitCode;

use session::Session;

/// What every step gives: any error ends the run, with its text.
pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What a scenario is done with.
pub(crate) struct Options {
    registry: Registry,
    port: u16,
    /// Writes or reads that are counted.
    requests: u64,
    /// How many are made before, and not counted.
    warm: u64,
    /// Bytes of a value, at least 16.
    size: usize,
    /// Paths that there are.
    paths: u64,
    /// Connections that requests or observers are divided among.
    connections: u64,
    /// Requests that may be on their way without an answer, on all connections together.
    outstanding: u64,
    observers: u64,
    /// How often what they observe changes, or somebody comes back; as often as that again before, and not counted.
    changes: u64,
    /// Weir: whether a write's answer waits for the disk: `durable=yes`.
    is_durable: bool,
    /// etcd: `reads=serializable` instead of linearizable.
    is_serializable: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Registry {
    Weir,
    Etcd,
    ZooKeeper,
}

impl Options {
    fn parse(words: &[String]) -> Outcome<(String, Options)> {
        let [scenario, registry, port, rest @ ..] = words else {
            return Err("registry_load SCENARIO weir|etcd|zookeeper PORT [NAME=VALUE ...]".into());
        };
        let registry = match registry.as_str() {
            "weir" => Registry::Weir,
            "etcd" => Registry::Etcd,
            "zookeeper" => Registry::ZooKeeper,
            other => return Err(format!("'{other}' is no registry").into()),
        };
        let mut options = Options {
            registry,
            port: port.parse()?,
            requests: 100_000,
            warm: 0,
            size: 128,
            paths: 10_000,
            connections: 1,
            outstanding: 1000,
            observers: 10_000,
            changes: 20,
            is_durable: false,
            is_serializable: false,
        };
        for word in rest {
            let (name, value) = word.split_once('=').ok_or_else(|| format!("'{word}' is not NAME=VALUE"))?;
            match name {
                "requests" => options.requests = value.parse::<u64>()?.max(1),
                "warm" => options.warm = value.parse()?,
                "size" => options.size = value.parse::<usize>()?.clamp(scenario::VALUE_BYTES_MIN, 100_000),
                "paths" => options.paths = value.parse::<u64>()?.max(1),
                "connections" => options.connections = value.parse::<u64>()?.max(1),
                "outstanding" => options.outstanding = value.parse::<u64>()?.max(1),
                "observers" => options.observers = value.parse::<u64>()?.max(1),
                "changes" => options.changes = value.parse::<u64>()?.max(1),
                "durable" => options.is_durable = choice(value, "no", "yes")?,
                "reads" => options.is_serializable = choice(value, "linearizable", "serializable")?,
                _ => return Err(format!("there is no option '{name}'").into()),
            }
        }
        Ok((scenario.clone(), options))
    }

    fn session(&self) -> Box<dyn Session> {
        match self.registry {
            Registry::Weir => Box::new(weir::Weir::new(self.is_durable)),
            Registry::Etcd => Box::new(etcd::Etcd::new(self.is_serializable)),
            Registry::ZooKeeper => Box::new(zookeeper::ZooKeeper::default()),
        }
    }
}

fn choice(word: &str, no: &str, yes: &str) -> Outcome<bool> {
    if word == no || word == yes { Ok(word == yes) } else { Err(format!("'{word}' is neither {no} nor {yes}").into()) }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match Options::parse(&words).and_then(|(name, options)| scenario::run(&name, &options)) {
        Ok(figures) => {
            let line: Vec<String> = figures.iter().map(|(name, value)| format!("{name}={value}")).collect();
            println!("{}", line.join(" "));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("registry_load: {error}");
            ExitCode::FAILURE
        }
    }
}
