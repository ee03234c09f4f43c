//! What an exchange costs: bytes a binding, nanoseconds to bind, to route and to unbind, with so many bindings of each type.
//!
//! A plain `main`: `MIMALLOC_ALLOW_THP=0 cargo bench -p weir-structs --bench exchange -- [bindings]`. Without a number a
//! small run. Resident bytes mean something for the first one only: the others get memory that it left.

use std::hint::black_box;
use std::time::Duration;

use weir_structs::exchange::{Binding, Exchange, ExchangeOptions, ExchangeType, Sieve, Target};

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Headers of a message.
type Headers<'a> = &'a [(&'a [u8], &'a [u8])];

fn main() {
    let bindings = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(10_000);

    // One pattern in ten each has a `*` or a `#`; every key matches about two of them.
    let pattern = |number: u64| match number % 10 {
        0 => format!("region-{}.*.sensor-{number}", number % 50),
        1 => format!("region-{}.#.sensor-{number}", number % 50),
        _ => format!("region-{}.site-{}.sensor-{number}", number % 50, number % 1000),
    };
    let key = |number: u64| format!("region-{}.site-{}.sensor-{number}", number % 50, number % 1000);
    measure("topic", ExchangeType::Topic, bindings, pattern, key);

    let pattern = |number: u64| format!("#.sensor-{number}.#");
    measure("topic, all with # at both ends", ExchangeType::Topic, bindings, pattern, key);

    let pattern = |number: u64| format!("*.*.*.v{number}");
    let none = |number: u64| format!("region.site.sensor.{number}");
    measure("topic, nothing matches", ExchangeType::Topic, bindings, pattern, none);

    measure("direct", ExchangeType::Direct, bindings, key, key);
    measure("headers", ExchangeType::Headers, bindings, key, key);
    let weight = |number: u64| (1 + number % 10).to_string();
    measure("hash, 10 destinations", ExchangeType::Hash, 10, weight, key);
    measure("hash, 1000 destinations", ExchangeType::Hash, 1000, weight, key);
    measure("fanout, 10 destinations", ExchangeType::Fanout, 10, key, key);
    measure("modhash", ExchangeType::ModHash, bindings, key, key);
}

fn measure(
    what: &str,
    kind: ExchangeType,
    bindings: u64,
    pattern: impl Fn(u64) -> String,
    key: impl Fn(u64) -> String,
) {
    const KEYS: u64 = 1 << 16;
    const ROUTES: u64 = 1_000_000;
    println!("{what}, {bindings} bindings");
    let patterns: Vec<_> = (0..bindings).map(|number| (format!("queue-{}", number % 1000), pattern(number))).collect();
    let rss = resident_bytes();
    let mut exchange = Exchange::new(ExchangeOptions { kind, ..ExchangeOptions::default() }, 0);
    let arguments = |number: u64| [number.to_string(), (number % 100).to_string()];
    each(&patterns, "bind", |number, (name, rkey)| {
        with_binding(name, rkey, &arguments(number), |binding| assert_eq!(exchange.bind(binding), Ok(true)));
    });
    let (resident, counted) = (resident_bytes().saturating_sub(rss) as u64, exchange.memory_bytes() as u64);
    println!("    {:<24} {:>8} resident {:>8} counted", "bytes each", resident / bindings, counted / bindings);

    let some = |number: u64| number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % bindings;
    let keys: Vec<_> = (0..KEYS).map(|number| (arguments(some(number)), key(some(number)))).collect();
    let messages: Vec<(Headers<'_>, &[u8])> = keys
        .iter()
        .map(|([one, two], key)| {
            let headers: Headers<'_> = vec![(&b"one"[..], one.as_bytes()), (b"two", two.as_bytes())].leak();
            (headers, key.as_bytes())
        })
        .collect();
    let mut sieve = Sieve::new();
    let mut found = 0;
    let started = thread_time();
    for number in 0..ROUTES {
        let (headers, key) = messages[(number % KEYS) as usize];
        found += black_box(exchange.route(key, headers, number << 40, &mut sieve)).len();
    }
    let elapsed = thread_time() - started;
    let rate = ROUTES as f64 / elapsed.as_secs_f64();
    println!(
        "    {:<24} {:>8.1} ns   {:.2} million a second, {:.2} destinations each",
        "route",
        elapsed.as_nanos() as f64 / ROUTES as f64,
        rate / 1e6,
        found as f64 / ROUTES as f64
    );
    each(&patterns, "unbind", |number, (name, rkey)| {
        with_binding(name, rkey, &arguments(number), |binding| assert!(exchange.unbind(binding)));
    });
    assert!(exchange.is_empty());
}

fn with_binding(name: &str, rkey: &str, [one, two]: &[String; 2], then: impl FnOnce(&Binding<'_>)) {
    let args: Headers<'_> = &[(b"one", one.as_bytes()), (b"two", two.as_bytes())];
    then(&Binding { target: Target::Queue, name: name.as_bytes(), rkey: rkey.as_bytes(), args });
}

/// Does something with each of them; tells the mean and the longest.
fn each<T>(those: &[T], what: &str, mut step: impl FnMut(u64, &T)) {
    let (mut longest, started) = (Duration::ZERO, thread_time());
    let mut last = started;
    for (number, one) in (0..).zip(those) {
        step(number, one);
        let now = thread_time();
        longest = longest.max(now - last);
        last = now;
    }
    let mean = (last - started).as_nanos() as f64 / those.len().max(1) as f64;
    println!("    {what:<24} {mean:>8.1} ns   longest {:.3} ms", longest.as_secs_f64() * 1000.0);
}

/// How long this thread was on a processor.
fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a whole `timespec`.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Resident memory of this process, in bytes; 0 where the system does not tell.
fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}
