//! Load for a message broker: one scenario, once, on one broker. `benches/scenarios/broker.py` starts the brokers, runs this in
//! turns and compares; by hand:
//!
//! ```text
//! broker_load SCENARIO rabbitmq|weir PORT [NAME=VALUE ...]
//! ```
//!
//! Prints one line: figures as `NAME=VALUE`. What the options are called, and what they are when they are not given, stands at
//! [`Options`]; what the scenarios are, in [`scenario`]. Both brokers are met in the same way, over connections of their own
//! protocol on 127.0.0.1, by clients that do no more than they must; what is counted is what came back.

mod amqp;
mod broker;
mod incoming;
mod rabbitmq;
mod scenario;
mod weir;

use std::process::ExitCode;

use broker::{Admin, Confirm, Consumer, Publisher, QueueKind, Way};
use rabbitmq::{RabbitAdmin, RabbitConsumer, RabbitPublisher};
use weir::{WeirAdmin, WeirConsumer, WeirPublisher};

/// What every step gives: any error ends the run, with its text.
pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What a scenario is done with.
pub(crate) struct Options {
    is_weir: bool,
    port: u16,
    /// Messages that are published.
    messages: u64,
    /// Bytes of a body, at least 16.
    size: usize,
    /// Messages that may be on their way to the broker without an answer, where there are answers.
    outstanding: u64,
    /// Whether publishers wait for the disk: `confirm=disk`.
    confirm: Confirm,
    /// RabbitMQ: `queue=quorum` instead of classic.
    is_quorum: bool,
    /// Weir: `consume=get` instead of push.
    way: Way,
    prefetch: u16,
    /// Messages acknowledged together.
    ack_every: u64,
    queues: u64,
    bindings: u64,
    /// How long the first message is delayed.
    delay_ms: u64,
    /// The time over which delayed messages fall due.
    span_ms: u64,
    /// Messages published in a second; 0: as many as go.
    pace: u64,
}

impl Options {
    fn parse(words: &[String]) -> Outcome<(String, Options)> {
        let [scenario, broker, port, rest @ ..] = words else {
            return Err("broker_load SCENARIO rabbitmq|weir PORT [NAME=VALUE ...]".into());
        };
        let mut options = Options {
            is_weir: choice(broker, "rabbitmq", "weir")?,
            port: port.parse()?,
            messages: 100_000,
            size: 128,
            outstanding: 1000,
            confirm: Confirm::None,
            is_quorum: false,
            way: Way::Push,
            prefetch: 1000,
            ack_every: 100,
            queues: 10,
            bindings: 100_000,
            delay_ms: 10_000,
            span_ms: 10_000,
            pace: 0,
        };
        for word in rest {
            let (name, value) = word.split_once('=').ok_or_else(|| format!("'{word}' is not NAME=VALUE"))?;
            match name {
                "messages" => options.messages = value.parse()?,
                "size" => options.size = value.parse::<usize>()?.clamp(scenario::BODY_BYTES_MIN, 100_000),
                "outstanding" => options.outstanding = value.parse::<u64>()?.max(1),
                "confirm" => {
                    options.confirm = if choice(value, "none", "disk")? { Confirm::Disk } else { Confirm::None }
                }
                "queue" => options.is_quorum = choice(value, "classic", "quorum")?,
                "consume" => options.way = if choice(value, "push", "get")? { Way::Get } else { Way::Push },
                "prefetch" => options.prefetch = value.parse()?,
                "ack-every" => options.ack_every = value.parse::<u64>()?.max(1),
                "queues" => options.queues = value.parse::<u64>()?.max(1),
                "bindings" => options.bindings = value.parse::<u64>()?.max(1),
                "delay-ms" => options.delay_ms = value.parse()?,
                "span-ms" => options.span_ms = value.parse()?,
                "pace" => options.pace = value.parse()?,
                _ => return Err(format!("there is no option '{name}'").into()),
            }
        }
        Ok((scenario.clone(), options))
    }

    fn admin(&self) -> Outcome<Box<dyn Admin>> {
        Ok(if self.is_weir {
            Box::new(WeirAdmin::connect(self.port)?)
        } else {
            Box::new(RabbitAdmin::connect(self.port)?)
        })
    }

    fn publisher(&self) -> Outcome<Box<dyn Publisher>> {
        Ok(if self.is_weir {
            Box::new(WeirPublisher::connect(self.port, self.confirm)?)
        } else {
            Box::new(RabbitPublisher::connect(self.port, self.confirm)?)
        })
    }

    fn consumer(&self, queues: &[String]) -> Outcome<Box<dyn Consumer>> {
        Ok(if self.is_weir {
            Box::new(WeirConsumer::connect(self.port, queues, self.way, self.prefetch, self.ack_every)?)
        } else {
            Box::new(RabbitConsumer::connect(self.port, queues, self.prefetch, self.ack_every)?)
        })
    }

    fn queue_kind(&self) -> QueueKind<'static> {
        QueueKind { is_quorum: self.is_quorum, expires_into: None }
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
            eprintln!("broker_load: {error}");
            ExitCode::FAILURE
        }
    }
}
