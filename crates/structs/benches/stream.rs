//! What a stream costs: bytes an entry and a pending entry, nanoseconds for each kind of step, and the longest single step
//! while it grows to ten million entries and shrinks again.
//!
//! A plain `main`: `MIMALLOC_ALLOW_THP=0 cargo bench -p weir-structs --bench stream -- [entries]`. Without a number a small
//! run. The variable keeps the kernel from clearing huge pages in the middle of a step, as the server's allocator does.

use std::hint::black_box;
use std::time::Duration;

use weir_structs::number::format_u64;
use weir_structs::stream::{NodeLimits, References, Stream, StreamId, Threshold, Trim};

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LIMITS: NodeLimits = NodeLimits { bytes: 4096, entries: 100 };

fn main() {
    let entries = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(200_000);
    let mut stream = Stream::new();

    let rss = resident_bytes();
    let ms = |number: u64| 1_700_000_000_000 + number / 500;
    steps("append", entries, |number| {
        let (sensor, temperature) = (format_u64(number % 100), format_u64(number % 1000));
        let pairs = [(&b"sensor"[..], sensor.as_bytes()), (&b"temp"[..], temperature.as_bytes())];
        assert!(stream.append(StreamId::new(ms(number), number % 500), pairs.iter().copied(), LIMITS));
    });
    bytes("entry", resident_bytes() - rss, stream.memory_bytes(), entries);

    let started = thread_time();
    let pairs: usize = stream.log().range(StreamId::MIN, StreamId::MAX).map(|entry| entry.pairs().count()).sum();
    each("walk forwards", thread_time() - started, entries);
    let started = thread_time();
    let backwards = stream.log().range_reversed(StreamId::MIN, StreamId::MAX);
    assert_eq!(backwards.map(|entry| entry.pairs().count()).sum::<usize>(), pairs);
    each("walk backwards", thread_time() - started, entries);
    let some = |number: u64| {
        let number = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % entries;
        StreamId::new(ms(number), number % 500)
    };
    steps("look up by chance", entries.min(1_000_000), |number| {
        assert!(black_box(stream.log().get(some(number))).is_some());
    });
    steps("last entry", entries.min(1_000_000), |_| {
        assert!(black_box(stream.log().last()).is_some());
    });

    // Queue: what is delivered is acknowledged soon.
    stream.create_group(b"queue", StreamId::MIN, Some(0));
    steps("deliver and acknowledge, 10 at a time", entries / 10, |number| {
        let mut group = stream.group_mut(b"queue").expect("it was created");
        let (slot, _) = group.find_or_create_consumer(b"consumer", 1);
        let (log, from) = (group.log(), group.last_delivered().next().expect("not the highest"));
        for entry in log.range(from, StreamId::MAX).take(10) {
            group.deliver(log, entry.id, slot, number, true);
        }
        for entry in log.range(from, StreamId::MAX).take(10) {
            assert!(group.acknowledge(entry.id));
        }
    });

    // Backlog: everything is pending, and acknowledged by chance.
    stream.create_group(b"backlog", StreamId::MIN, Some(0));
    let (rss, counted) = (resident_bytes(), stream.memory_bytes());
    steps("deliver, 10 at a time", entries / 10, |number| {
        let mut group = stream.group_mut(b"backlog").expect("it was created");
        let (slot, _) = group.find_or_create_consumer(if number % 2 == 0 { b"one" } else { b"two" }, 1);
        let (log, from) = (group.log(), group.last_delivered().next().expect("not the highest"));
        for entry in log.range(from, StreamId::MAX).take(10) {
            group.deliver(log, entry.id, slot, number, true);
        }
    });
    bytes("pending entry", resident_bytes() - rss, stream.memory_bytes() - counted, entries / 10 * 10);
    steps("100 idle longest", 100, |_| {
        let found = stream.group_mut(b"backlog").map(|mut group| group.idle_pending(u64::MAX, 100).len());
        assert_eq!(found, Some(100.min(entries as usize)));
    });
    steps("claim by chance", entries / 2, |number| {
        let mut group = stream.group_mut(b"backlog").expect("it was created");
        let (slot, _) = group.find_or_create_consumer(b"three", 1);
        group.claim(some(number), slot, entries, 2);
    });
    steps("acknowledge by chance", entries, |number| {
        let mut group = stream.group_mut(b"backlog").expect("it was created");
        black_box(group.acknowledge(some(number)));
    });

    steps("delete by chance", entries / 2, |number| {
        black_box(stream.delete(some(number), References::Keep));
    });
    steps("trim by one", stream.log().len(), |_| {
        let threshold = Threshold::MaxLen(stream.log().len() - 1);
        assert_eq!(stream.trim(Trim { threshold, approximate: false, limit: 0 }, References::Keep), 1);
    });
    println!("{:<40} {:>10} bytes", "left when all is trimmed", stream.memory_bytes());
}

/// Runs a step so many times; tells the mean and the longest, in time of this thread on a processor: what others do on a
/// shared machine is not in it, only that they empty its caches.
fn steps(what: &str, count: u64, mut step: impl FnMut(u64)) {
    let overhead = (0..1000).fold(thread_time(), |_, _| thread_time());
    let overhead = (thread_time() - overhead).max(Duration::from_nanos(50));
    let mut longest = Duration::ZERO;
    let started = thread_time();
    let mut last = started;
    for number in 0..count {
        step(number);
        let now = thread_time();
        longest = longest.max(now - last);
        last = now;
    }
    let mean = (last - started).as_nanos() as f64 / count.max(1) as f64 - overhead.as_nanos() as f64;
    println!("{what:<40} {mean:>10.1} ns   longest {:>8.3} ms", longest.as_secs_f64() * 1000.0);
}

/// How long this thread was on a processor.
fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a whole `timespec`.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn each(what: &str, elapsed: Duration, count: u64) {
    println!("{what:<40} {:>10.1} ns", elapsed.as_nanos() as f64 / count as f64);
}

fn bytes(what: &str, resident: usize, counted: usize, count: u64) {
    let each = |bytes: usize| bytes as f64 / count as f64;
    println!("bytes a {what:<32} {:>10.1} resident   {:.1} counted", each(resident), each(counted));
}

/// Resident memory of this process, in bytes; 0 where the system does not tell.
fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}
