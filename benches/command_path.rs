//! The way of a request without its sockets: bytes that came in, cut into a batch, executed, replies in a buffer.
//!
//! A plain `main` that prints nanoseconds of processor time a command, the median of several passes over one million keys:
//! `cargo bench --bench command_path -- [keys] [command..] [shape..]`. Run by anything but `cargo bench` it is short, and a test that
//! the path works.
//!
//! ```text
//!  stream ──► Parser ──► Batch ──► Job ──► begin_turn, Server::run, end_turn ──► Output
//!  └────── "cut" ──────┘
//!  └──────────────────────────────── "whole" ────────────────────────────────────────┘
//! ```
//!
//! A turn takes what several clients have sent: `50 x 1` is what fifty clients without a pipeline look like, `1 x 64` one
//! with a deep one. What must stay true: buffers are reused as the network does it, and every key asked for exists.

#[path = "../tests/in_process/mod.rs"]
mod in_process;

use in_process::{accepted, append_command, facts};
use std::hint::black_box;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use weir::allocator::{self, Counting};
use weir::command::reply::Output;
use weir::config::Config;
use weir::server::client::Slot;
use weir::server::message::{Job, JobState};
use weir::server::{Facts, Server};
use weir_resp::{Batch, Limits, Need, Parser};

#[global_allocator]
static ALLOCATOR: Counting = Counting::new();

/// Clients that have sent something in a turn, and how many commands each.
const SHAPES: [(usize, usize); 5] = [(1, 1), (50, 1), (1, 16), (1, 64), (50, 16)];
/// Passes of which the median is taken.
const PASSES: usize = 5;
/// Keys of one MGET.
const MGET_KEYS: usize = 10;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let measured = args.iter().any(|arg| arg == "--bench");
    let keys = args.iter().find_map(|arg| arg.parse().ok()).unwrap_or(if measured { 1_000_000 } else { 10_000 });
    let commands = if measured { 1_000_000 } else { 10_000 };
    let mut path = Path::new(50, keys);
    println!("{keys} keys; nanoseconds of processor time a command, median of {PASSES} passes\n");
    println!("{:<10} {:>18} {:>8} {:>8} {:>8}", "command", "clients x pipeline", "cut", "execute", "whole");
    let named = |kind: &Kind| args.iter().any(|arg| kind.label().to_ascii_lowercase().starts_with(arg));
    let all = Kind::ALL.into_iter();
    let chosen: Vec<Kind> = if Kind::ALL.iter().any(named) { all.filter(named).collect() } else { all.collect() };
    let asked = |shape: &(usize, usize)| args.contains(&format!("{}x{}", shape.0, shape.1));
    let shapes: Vec<_> =
        if SHAPES.iter().any(asked) { SHAPES.into_iter().filter(asked).collect() } else { SHAPES.to_vec() };
    for kind in chosen {
        for &(clients, pipeline) in &shapes {
            let turns = (commands / (clients * pipeline)).max(1);
            let streams = Streams::new(kind, keys, clients, pipeline, turns.min(20_000));
            path.check(kind, &streams);
            let cut = median_ns(turns * clients * pipeline, || path.cut(&streams, turns));
            let whole = median_ns(turns * clients * pipeline, || path.run(&streams, turns));
            let shape = format!("{clients} x {pipeline}");
            println!("{:<10} {shape:>18} {cut:>8.1} {:>8.1} {whole:>8.1}", kind.label(), whole - cut);
        }
    }
}

/// What is called.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ping,
    Get,
    /// A value as long as the one that is there.
    SetSame,
    /// A value now shorter, now longer than the one that is there.
    Set,
    Incr,
    Mget,
    /// Elements of 64 bytes, pushed to one end of a list and popped from the other by turns.
    Queue,
}

impl Kind {
    const ALL: [Kind; 7] = [Kind::Ping, Kind::Get, Kind::Set, Kind::SetSame, Kind::Incr, Kind::Mget, Kind::Queue];

    fn label(self) -> &'static str {
        match self {
            Kind::Ping => "PING",
            Kind::Get => "GET",
            Kind::SetSame => "SET same",
            Kind::Set => "SET other",
            Kind::Incr => "INCR",
            Kind::Mget => "MGET of 10",
            Kind::Queue => "RPUSH/LPOP",
        }
    }

    /// How a right reply begins.
    fn reply_start(self) -> &'static [u8] {
        match self {
            Kind::Ping => b"+PONG",
            Kind::Get => b"$",
            Kind::Set | Kind::SetSame => b"+OK",
            Kind::Incr => b":",
            Kind::Mget => b"*10\r\n$",
            Kind::Queue => b"",
        }
    }

    fn append_command(self, stream: &mut Vec<u8>, random: &mut Random, keys: usize) {
        let key = format!("key:{:012}", random.below(keys));
        let counter = format!("counter:{:012}", random.below(keys));
        match self {
            Kind::Ping => append_command(stream, &[b"PING"]),
            Kind::Get => append_command(stream, &[b"GET", key.as_bytes()]),
            Kind::SetSame => append_command(stream, &[b"SET", key.as_bytes(), &[b'w'; 16]]),
            Kind::Set => append_command(stream, &[b"SET", key.as_bytes(), &[b'w'; 64][..8 + random.below(57)]]),
            Kind::Incr => append_command(stream, &[b"INCR", counter.as_bytes()]),
            Kind::Mget => {
                let names: Vec<String> = (0..MGET_KEYS).map(|_| format!("key:{:012}", random.below(keys))).collect();
                let mut words: Vec<&[u8]> = vec![b"MGET"];
                words.extend(names.iter().map(String::as_bytes));
                append_command(stream, &words);
            }
            Kind::Queue if random.below(2) == 0 => append_command(stream, &[&b"RPUSH"[..], b"queue", &[b'e'; 64]]),
            Kind::Queue => append_command(stream, &[&b"LPOP"[..], b"queue"]),
        }
    }
}

/// Requests, made beforehand: for every turn one stream of bytes a client.
struct Streams {
    clients: usize,
    pipeline: usize,
    turns: Vec<Vec<Vec<u8>>>,
}

impl Streams {
    fn new(kind: Kind, keys: usize, clients: usize, pipeline: usize, turns: usize) -> Streams {
        let mut random = Random(1);
        let mut stream = || {
            let mut bytes = Vec::new();
            (0..pipeline).for_each(|_| kind.append_command(&mut bytes, &mut random, keys));
            bytes
        };
        let turns = (0..turns).map(|_| (0..clients).map(|_| stream()).collect()).collect();
        Streams { clients, pipeline, turns }
    }
}

/// A server with its clients, and the buffers that a network would keep.
struct Path {
    server: Server,
    slots: Vec<Slot>,
    parsers: Vec<Parser>,
    batches: Vec<Batch>,
    outputs: Vec<Vec<u8>>,
    jobs: Vec<Job>,
}

impl Path {
    /// A server that holds `keys` strings of 16 bytes, and as many counters beside them.
    fn new(clients: usize, keys: usize) -> Path {
        let facts =
            Facts { wall_clock_us, heap_bytes: allocator::bytes_in_use, started_ms: wall_clock_us() / 1000, ..facts() };
        let mut server = Server::new(Config::default(), facts, 1);
        let slots = (0..clients)
            .map(|number| server.connect(accepted(number, false)).expect("nobody else is connected"))
            .collect();
        let mut path = Path {
            server,
            slots,
            parsers: std::iter::repeat_with(Parser::new).take(clients).collect(),
            batches: std::iter::repeat_with(Batch::new).take(clients).collect(),
            outputs: vec![Vec::new(); clients],
            jobs: Vec::new(),
        };
        for number in 0..keys {
            let mut stream = Vec::new();
            append_command(&mut stream, &[b"SET", format!("key:{number:012}").as_bytes(), &[b'v'; 16]]);
            append_command(&mut stream, &[b"SET", format!("counter:{number:012}").as_bytes(), b"1000"]);
            path.turn(&[stream]);
        }
        for _ in 0..keys {
            let mut stream = Vec::new();
            append_command(&mut stream, &[&b"RPUSH"[..], b"queue", &[b'e'; 64]]);
            path.turn(&[stream]);
        }
        path
    }

    /// Only cuts the streams into commands.
    fn cut(&mut self, streams: &Streams, turns: usize) {
        for turn in streams.turns.iter().cycle().take(turns) {
            for (client, stream) in turn.iter().enumerate() {
                let batch = &mut self.batches[client];
                cut(&mut self.parsers[client], batch, stream);
                black_box(batch.len());
                batch.clear();
            }
        }
    }

    /// Everything.
    fn run(&mut self, streams: &Streams, turns: usize) {
        for turn in streams.turns.iter().cycle().take(turns) {
            self.turn(turn);
        }
    }

    /// One turn: `streams` holds what each of the first clients has sent.
    fn turn(&mut self, streams: &[Vec<u8>]) {
        self.server.begin_turn();
        for (client, stream) in streams.iter().enumerate() {
            let mut batch = std::mem::take(&mut self.batches[client]);
            cut(&mut self.parsers[client], &mut batch, stream);
            self.jobs.push(Job {
                slot: self.slots[client],
                batch,
                next: 0,
                error: None,
                out: Output::reusing(std::mem::take(&mut self.outputs[client])),
                state: JobState::Ready,
                out_bytes_max: usize::MAX,
                ends_at_max: false,
            });
        }
        loop {
            self.server.run(&mut self.jobs);
            // What would be left for another turn belongs to this measurement.
            let left =
                self.jobs.iter_mut().filter(|job| matches!(job.state, JobState::Unfinished | JobState::Untouched));
            if left.map(|job| job.state = JobState::Ready).count() == 0 {
                break;
            }
        }
        for (client, mut job) in self.jobs.drain(..).enumerate() {
            job.batch.clear();
            self.batches[client] = job.batch;
            (self.outputs[client], _) = job.out.into_parts();
            black_box(&self.outputs[client]);
        }
        self.server.end_turn();
    }

    /// The commands do what they are meant to measure.
    fn check(&mut self, kind: Kind, streams: &Streams) {
        self.turn(&streams.turns[0]);
        for out in &self.outputs[..streams.clients] {
            let right = out.starts_with(kind.reply_start()) && !out.starts_with(b"$-1");
            assert!(right, "{}: {}", kind.label(), String::from_utf8_lossy(out));
            let lines = out.split(|&byte| byte == b'\n').count() - 1;
            assert!(lines >= streams.pipeline, "every command has a reply");
        }
    }
}

fn cut(parser: &mut Parser, batch: &mut Batch, stream: &[u8]) {
    batch.read_buffer().extend_from_slice(stream);
    let progress = parser.parse(batch, &Limits::default()).expect("the stream is valid");
    assert!(progress.need == Need::Nothing, "the stream ends with a command");
}

fn wall_clock_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Runs `work` several times; the median of the nanoseconds for each of `commands`.
fn median_ns(commands: usize, mut work: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut passes: Vec<f64> = (0..PASSES)
        .map(|_| {
            let before = used_ns(start);
            work();
            (used_ns(start) - before) as f64 / commands as f64
        })
        .collect();
    passes.sort_by(f64::total_cmp);
    passes[PASSES / 2]
}

/// Processor time of this thread, so that others on the machine do not count; where the system does not tell, time.
fn used_ns(start: Instant) -> u64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let used = told.and_then(|text| text.split(' ').next()?.parse().ok());
    used.unwrap_or_else(|| start.elapsed().as_nanos() as u64)
}

/// Numbers that are the same at every run (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((u128::from(mixed ^ (mixed >> 31)) * limit as u128) >> 64) as usize
    }
}
