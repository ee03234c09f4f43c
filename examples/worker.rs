//! A worker: takes jobs from a queue of Weir, does them, acknowledges them.
//!
//! ```text
//! cargo run --example worker [redis://localhost:6379] [jobs]
//! ```
//!
//! SIGTERM and SIGINT let it finish the job that it is at and give the others back.

use std::error::Error;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use redis::{Client, Connection, RedisResult, cmd};

const LEASE_MS: u64 = 30_000;
const COUNT: u64 = 10;
const BLOCK_MS: u64 = 1_000;

/// With COMPACT a message is its queue, its receipt and its body.
type Message = (String, String, Vec<u8>);

/// What is to be done with a job. An error means that it has failed.
fn handle(job: &[u8]) -> Result<(), Box<dyn Error>> {
    let text = str::from_utf8(job)?;
    if let Some(why) = text.strip_prefix("fail:") {
        return Err(why.trim().into());
    }
    println!("done: {text}");
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "redis://localhost:6379".into());
    let queue = arguments.next().unwrap_or_else(|| "jobs".into());
    let name = format!("worker:{}", process::id());
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, stop.clone())?;
    }
    let client = Client::open(url)?;
    let mut connection = client.get_connection()?;
    declare(&mut connection, &queue)?;
    println!("{name} works on {queue}");
    while !stop.load(Ordering::Relaxed) {
        for (_, receipt, job) in get(&mut connection, &queue, &name)? {
            if stop.load(Ordering::Relaxed) {
                settle(&mut connection, &["MQ.NACK", &queue, "SILENT", "IDS", "1", &receipt])?;
                continue;
            }
            match holding(&client, &queue, &receipt, || handle(&job)) {
                Ok(()) => settle(&mut connection, &["MQ.ACK", &queue, "IDS", "1", &receipt])?,
                Err(error) => {
                    println!("failed: {error}");
                    let reason = error.to_string();
                    settle(&mut connection, &["MQ.NACK", &queue, "FAIL", "IDS", "1", &receipt, "REASON", &reason])?;
                }
            }
        }
    }
    println!("{name} has stopped");
    Ok(())
}

/// The queue, and the one for jobs that failed too often. Declaring what is there with the same options changes nothing.
fn declare(connection: &mut Connection, queue: &str) -> RedisResult<()> {
    let (failed, dead) = (format!("{queue}:failed"), format!("{queue}:dead"));
    cmd("MQ.EXCHANGE").arg("DECLARE").arg(&failed).arg("TYPE").arg("fanout").exec(connection)?;
    cmd("MQ.QUEUE").arg("DECLARE").arg(&dead).exec(connection)?;
    cmd("MQ.BIND").arg(&failed).arg("QUEUE").arg(&dead).arg("").exec(connection)?;
    let mut declare = cmd("MQ.QUEUE");
    declare.arg("DECLARE").arg(queue).arg("DLX").arg(&failed).arg("DELIVERYLIMIT").arg(2);
    declare.arg("RETRY").arg("failed").arg(1_000).arg(60_000).arg("LEASE").arg(LEASE_MS).exec(connection)
}

fn get(connection: &mut Connection, queue: &str, name: &str) -> RedisResult<Vec<Message>> {
    let mut get = cmd("MQ.GET");
    get.arg("CONSUMER").arg(name).arg("COUNT").arg(COUNT).arg("BLOCK").arg(BLOCK_MS).arg("LEASE").arg(LEASE_MS);
    let messages: Option<Vec<Message>> = get.arg("COMPACT").arg("QUEUES").arg(1).arg(queue).query(connection)?;
    Ok(messages.unwrap_or_default())
}

fn settle(connection: &mut Connection, words: &[&str]) -> RedisResult<()> {
    cmd(words[0]).arg(&words[1..]).exec(connection)
}

/// Does something with a message; another thread, with a connection of its own, extends the lease meanwhile.
fn holding<T>(client: &Client, queue: &str, receipt: &str, work: impl FnOnce() -> T) -> T {
    let (over, wait) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            while wait.recv_timeout(Duration::from_millis(LEASE_MS / 3)) == Err(RecvTimeoutError::Timeout) {
                let words = ["MQ.TOUCH", queue, "LEASE", &LEASE_MS.to_string(), "IDS", "1", receipt];
                if let Err(error) = client.get_connection().and_then(|mut connection| settle(&mut connection, &words)) {
                    eprintln!("the lease of {receipt} is not extended: {error}");
                }
            }
        });
        let done = work();
        drop(over);
        done
    })
}
