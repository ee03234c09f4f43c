//! The scenarios.
//!
//! | name | what is done | figures |
//! |---|---|---|
//! | `flow` | one publisher, one queue, one consumer, at the same time | messages a second from the first to the last acknowledged |
//! | `fanout` | the same through a fanout exchange into several queues, all of one consumer | deliveries a second |
//! | `topic` | a topic exchange with many bindings of which one matches each message | messages a second until the last is in its queue |
//! | `latency` | one message at a time | microseconds from sending to having it, p50 and p99 |
//! | `delay` | messages that fall due one after the other | messages a second put in; how late they come, in microseconds |
//! | `fill` | messages that nobody consumes (`delay-ms` other than 0: delayed) | messages a second |
//! | `queues` | queues are declared | queues a second |
//!
//! A body begins with the number of the message and the time of its sending or of its being due (Unix, microseconds). What
//! is delivered is looked at: of each queue every message once, and in order where all have waited equally long.

use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::broker::{Address, Admin, Confirms, Publisher, QueueKind};
use crate::{Options, Outcome};

/// A body holds two numbers.
pub(crate) const BODY_BYTES_MIN: usize = 16;
/// What is to be sent leaves when it is so long, or when the publisher has to wait.
const SEND_BYTES: usize = 1 << 14;
/// A pause in publishing at a pace.
const PACE_STEP: Duration = Duration::from_millis(1);
/// The queues that bindings of a topic exchange lead to.
const TOPIC_QUEUES: u64 = 100;
/// Connections over which bindings and queues are made.
const CONNECTIONS: u64 = 32;

pub(crate) type Figures = Vec<(&'static str, String)>;

pub(crate) fn run(name: &str, options: &Options) -> Outcome<Figures> {
    match name {
        "flow" => flow(options),
        "fanout" => fanout(options),
        "topic" => topic(options),
        "latency" => latency(options),
        "delay" => delay(options),
        "fill" => fill(options),
        "queues" => queues(options),
        _ => Err(format!("there is no scenario '{name}'").into()),
    }
}

fn flow(options: &Options) -> Outcome<Figures> {
    let mut admin = options.admin()?;
    admin.declare_queue("flow", options.queue_kind())?;
    admin.sync()?;
    let to = Address { exchange: "", key: "flow" };
    publish_and_consume(options, vec!["flow".to_string()], to)
}

fn fanout(options: &Options) -> Outcome<Figures> {
    let mut admin = options.admin()?;
    admin.declare_exchange("fanout", "fanout")?;
    let names: Vec<String> = (0..options.queues).map(|number| format!("fanout-{number}")).collect();
    for name in &names {
        admin.declare_queue(name, options.queue_kind())?;
        admin.bind("fanout", name, "")?;
    }
    admin.sync()?;
    publish_and_consume(options, names, Address { exchange: "fanout", key: "" })
}

fn publish_and_consume(options: &Options, queues: Vec<String>, to: Address<'_>) -> Outcome<Figures> {
    let mut consumer = options.consumer(&queues)?;
    let publisher = options.publisher()?;
    let copies = queues.len() as u64;
    let wanted = options.messages * copies;
    let began = Instant::now();
    let (consumed, publishing) = thread::scope(|scope| {
        let consuming = scope.spawn(move || -> Outcome<()> {
            let mut received = 0;
            // One queue: in order. Several: how often each message has come.
            let mut seen = vec![0_u64; if copies == 1 { 0 } else { options.messages as usize }];
            while received < wanted {
                consumer.take(&mut |body| {
                    let (number, _) = numbers(body)?;
                    if copies > 1 {
                        *seen.get_mut(number as usize).ok_or("a message that was not published")? += 1;
                    } else if number != received {
                        return Err(format!("message {number} came where {received} should have").into());
                    }
                    received += 1;
                    Ok(())
                })?;
            }
            consumer.settle()?;
            if seen.iter().any(|&times| times != copies) {
                return Err("a message did not come once for each queue".into());
            }
            Ok(())
        });
        let published = or_end(publish(options, publisher, |_| to, |_| (now_us(), None)));
        (consuming.join().expect("a consumer does not panic"), published)
    });
    let seconds = began.elapsed().as_secs_f64();
    consumed?;
    Ok(vec![
        ("seconds", format!("{seconds:.3}")),
        ("rate", format!("{:.0}", wanted as f64 / seconds)),
        ("publish-rate", format!("{:.0}", options.messages as f64 / publishing.as_secs_f64())),
    ])
}

fn topic(options: &Options) -> Outcome<Figures> {
    let mut admin = options.admin()?;
    admin.declare_exchange("topic", "topic")?;
    let names: Vec<String> = (0..TOPIC_QUEUES).map(|number| format!("topic-{number}")).collect();
    for name in &names {
        admin.declare_queue(name, options.queue_kind())?;
    }
    admin.sync()?;
    let began = Instant::now();
    over_connections(options, options.bindings, |admin, number| {
        // Four patterns in turn; no message fits two of them.
        let pattern = match number % 4 {
            0 => format!("shop.{number}.created"),
            1 => format!("shop.{number}.*"),
            2 => format!("*.{number}.#"),
            _ => format!("shop.{number}.#.done"),
        };
        admin.bind("topic", &names[(number % TOPIC_QUEUES) as usize], &pattern)
    })?;
    let binding = began.elapsed().as_secs_f64();
    let keys: Vec<String> = (0..options.bindings)
        .map(|number| match number % 4 {
            3 => format!("shop.{number}.sent.done"),
            _ => format!("shop.{number}.created"),
        })
        .collect();
    let key = |number: u64| {
        // Far apart from each other, and every one of them in the end.
        let chosen = (number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20) % options.bindings;
        Address { exchange: "topic", key: &keys[chosen as usize] }
    };
    let publishing = publish(options, options.publisher()?, key, |_| (now_us(), None))?;
    let mut ready = 0;
    for name in &names {
        ready += admin.ready(name)?;
    }
    if ready != options.messages {
        return Err(format!("{ready} messages have arrived of {}", options.messages).into());
    }
    Ok(vec![
        ("bindings-a-second", format!("{:.0}", options.bindings as f64 / binding)),
        ("rate", format!("{:.0}", options.messages as f64 / publishing.as_secs_f64())),
    ])
}

/// Asks for so many things over several connections, for RabbitMQ makes those of one connection one by one.
fn over_connections(
    options: &Options,
    count: u64,
    ask: impl Fn(&mut dyn Admin, u64) -> Outcome<()> + Sync,
) -> Outcome<()> {
    thread::scope(|scope| {
        let ask = &ask;
        let asking: Vec<_> = (0..CONNECTIONS)
            .map(|first| {
                scope.spawn(move || -> Outcome<()> {
                    let mut admin = options.admin()?;
                    for number in (first..count).step_by(CONNECTIONS as usize) {
                        ask(&mut *admin, number)?;
                    }
                    admin.sync()
                })
            })
            .collect();
        asking.into_iter().try_for_each(|asking| asking.join().expect("asking does not panic"))
    })
}

fn latency(options: &Options) -> Outcome<Figures> {
    let mut admin = options.admin()?;
    admin.declare_queue("latency", options.queue_kind())?;
    admin.sync()?;
    let mut consumer = options.consumer(&["latency".to_string()])?;
    let mut publisher = options.publisher()?;
    let mut confirms = publisher.confirms()?;
    let mut took_ns = Vec::with_capacity(options.messages as usize);
    let mut body = vec![b'x'; options.size];
    for number in 0..options.messages {
        put_numbers(&mut body, number, 0);
        publisher.put(Address { exchange: "", key: "latency" }, &body, None);
        let sent = Instant::now();
        publisher.flush_from(0)?;
        consumer.take(&mut |body| {
            took_ns.push(sent.elapsed().as_nanos() as u64);
            if numbers(body)?.0 == number { Ok(()) } else { Err("another message than the one sent".into()) }
        })?;
        if let Some(confirms) = &mut confirms {
            while confirms.wait()? <= number {}
        }
    }
    consumer.settle()?;
    took_ns.sort_unstable();
    let us = |share: f64| format!("{:.1}", at_share(&took_ns, share) as f64 / 1000.0);
    Ok(vec![("p50-us", us(0.5)), ("p99-us", us(0.99)), ("p99.9-us", us(0.999))])
}

fn delay(options: &Options) -> Outcome<Figures> {
    let mut admin = options.admin()?;
    admin.declare_queue("due", options.queue_kind())?;
    let mut to = Address { exchange: "", key: "due" };
    if !options.is_weir {
        // What its own queues can: all of them wait equally long, in another queue, and go on by being dead letters.
        admin.declare_queue(
            "waiting",
            QueueKind { is_quorum: options.is_quorum, expires_into: Some((options.delay_ms, "due")) },
        )?;
        to.key = "waiting";
    }
    admin.sync()?;
    let mut consumer = options.consumer(&["due".to_string()])?;
    let publisher = options.publisher()?;
    let first_ms = now_us() / 1000 + options.delay_ms;
    let due = |number: u64| {
        if options.is_weir {
            let due_ms = first_ms + number * options.span_ms / options.messages;
            (due_ms * 1000, Some(due_ms))
        } else {
            (now_us() + options.delay_ms * 1000, None)
        }
    };
    let (late, publishing) = thread::scope(|scope| {
        let consuming = scope.spawn(move || -> Outcome<Vec<i64>> {
            let mut late = Vec::with_capacity(options.messages as usize);
            let mut seen = vec![false; options.messages as usize];
            while late.len() < options.messages as usize {
                consumer.take(&mut |body| {
                    let now = now_us();
                    let (number, due_us) = numbers(body)?;
                    let seen = seen.get_mut(number as usize).ok_or("a message that was not published")?;
                    if std::mem::replace(seen, true) {
                        return Err(format!("message {number} came twice").into());
                    }
                    late.push(now as i64 - due_us as i64);
                    Ok(())
                })?;
            }
            consumer.settle()?;
            late.sort_unstable();
            Ok(late)
        });
        let published = or_end(publish(options, publisher, |_| to, due));
        (consuming.join().expect("a consumer does not panic"), published)
    });
    let late = late?;
    let is_in_time = publishing.as_millis() < u128::from(options.delay_ms);
    let early = late.iter().filter(|&&late| late < 0).count();
    let at = |share: f64| at_share(&late, share).to_string();
    Ok(vec![
        ("rate", format!("{:.0}", options.messages as f64 / publishing.as_secs_f64())),
        ("all-in-before-the-first-was-due", u8::from(is_in_time).to_string()),
        ("early", early.to_string()),
        ("late-p50-us", at(0.5)),
        ("late-p99-us", at(0.99)),
        ("late-max-us", at(1.0)),
    ])
}

fn fill(options: &Options) -> Outcome<Figures> {
    let mut admin = options.admin()?;
    admin.declare_queue("fill", options.queue_kind())?;
    admin.sync()?;
    let due_ms = (options.delay_ms > 0).then(|| now_us() / 1000 + options.delay_ms);
    let to = Address { exchange: "", key: "fill" };
    let due = |number: u64| (0, due_ms.map(|due_ms| due_ms + number * options.span_ms / options.messages));
    let publishing = publish(options, options.publisher()?, |_| to, due)?;
    Ok(vec![("rate", format!("{:.0}", options.messages as f64 / publishing.as_secs_f64()))])
}

fn queues(options: &Options) -> Outcome<Figures> {
    let began = Instant::now();
    over_connections(options, options.queues, |admin, number| {
        admin.declare_queue(&format!("queue:{number:012}"), options.queue_kind())
    })?;
    Ok(vec![("rate", format!("{:.0}", options.queues as f64 / began.elapsed().as_secs_f64()))])
}

/// Publishes everything; how long it took until the last one was confirmed, or had been read where nothing is.
fn publish<'a>(
    options: &Options,
    mut publisher: Box<dyn Publisher>,
    address: impl Fn(u64) -> Address<'a>,
    stamp: impl Fn(u64) -> (u64, Option<u64>),
) -> Outcome<Duration> {
    let window = publisher.confirms()?.map(|confirms| Window::open(confirms, options.messages));
    let mut body = vec![b'x'; options.size];
    let began = Instant::now();
    for number in 0..options.messages {
        if options.pace > 0 {
            let due = Duration::from_secs_f64(number as f64 / options.pace as f64);
            if began.elapsed() < due {
                publisher.flush_from(0)?;
                while began.elapsed() < due {
                    thread::sleep(PACE_STEP);
                }
            }
        }
        if let Some(window) = &window
            && number >= window.known() + options.outstanding
        {
            publisher.flush_from(0)?;
            window.wait_for(number + 1 - options.outstanding)?;
        }
        let (stamp_us, due_ms) = stamp(number);
        put_numbers(&mut body, number, stamp_us);
        publisher.put(address(number), &body, due_ms);
        publisher.flush_from(SEND_BYTES)?;
    }
    publisher.flush_from(0)?;
    if let Some(window) = window {
        window.wait_for(options.messages)?;
    }
    publisher.finish()?;
    Ok(began.elapsed())
}

/// Ends the program if publishing failed: the consumer beside it would wait for ever.
fn or_end(published: Outcome<Duration>) -> Duration {
    published.unwrap_or_else(|error| {
        eprintln!("broker_load: publishing: {error}");
        std::process::exit(1)
    })
}

/// How many messages are confirmed, as another thread hears it.
struct Window {
    shared: Arc<(Mutex<Heard>, Condvar)>,
    known: std::cell::Cell<u64>,
}

#[derive(Default)]
struct Heard {
    confirmed: u64,
    error: Option<String>,
}

impl Window {
    fn open(mut confirms: Box<dyn Confirms>, all: u64) -> Window {
        let shared = Arc::new((Mutex::new(Heard::default()), Condvar::new()));
        let told = shared.clone();
        thread::spawn(move || {
            let mut confirmed = 0;
            while confirmed < all {
                let heard = confirms.wait();
                let mut state = told.0.lock().expect("no thread panics");
                match heard {
                    Ok(count) => confirmed = count,
                    Err(error) => state.error = Some(error.to_string()),
                }
                state.confirmed = confirmed;
                let is_over = state.error.is_some();
                drop(state);
                told.1.notify_one();
                if is_over {
                    break;
                }
            }
        });
        Window { shared, known: std::cell::Cell::new(0) }
    }

    /// A number of confirmed messages that was true a while ago.
    fn known(&self) -> u64 {
        self.known.get()
    }

    fn wait_for(&self, confirmed: u64) -> Outcome<()> {
        let mut heard = self.shared.0.lock().expect("no thread panics");
        while heard.confirmed < confirmed && heard.error.is_none() {
            heard = self.shared.1.wait(heard).expect("no thread panics");
        }
        self.known.set(heard.confirmed);
        heard.error.take().map_or(Ok(()), |error| Err(error.into()))
    }
}

fn put_numbers(body: &mut [u8], number: u64, stamp_us: u64) {
    body[..8].copy_from_slice(&number.to_le_bytes());
    body[8..16].copy_from_slice(&stamp_us.to_le_bytes());
}

fn numbers(body: &[u8]) -> Outcome<(u64, u64)> {
    let (number, rest) = body.split_first_chunk().ok_or("a body that is too short")?;
    let (stamp, _) = rest.split_first_chunk().ok_or("a body that is too short")?;
    Ok((u64::from_le_bytes(*number), u64::from_le_bytes(*stamp)))
}

fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

/// The value below which so great a share of the ordered values is.
fn at_share<T: Copy + Default>(ordered: &[T], share: f64) -> T {
    let at = (ordered.len() as f64 * share) as usize;
    ordered.get(at.min(ordered.len().saturating_sub(1))).copied().unwrap_or_default()
}
