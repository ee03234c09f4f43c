//! Cutting pipelines of 64 small commands, the way of every request, and writing small replies.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput};
use weir_resp::{Batch, Limits, Need, Parser, number_text, reply_bytes};

const PIPELINE: usize = 64;

fn parse(c: &mut Criterion) {
    let key = "k".repeat(16);
    let get = format!("*2\r\n$3\r\nGET\r\n$16\r\n{key}\r\n");
    let set = |len: usize| format!("*3\r\n$3\r\nSET\r\n$16\r\n{key}\r\n${len}\r\n{}\r\n", "v".repeat(len));
    let mut group = c.benchmark_group("parse");
    group.throughput(Throughput::Elements(PIPELINE as u64));
    for (name, command) in [
        ("get", get.clone()),
        ("set of 64 bytes", set(64)),
        ("set of 512 bytes", set(512)),
        ("inline get", format!("GET {key}\r\n")),
        ("inline quoted set", format!("SET {key} \"some \\x41\\n text\"\r\n")),
    ] {
        let stream = command.repeat(PIPELINE).into_bytes();
        let (mut parser, mut batch) = (Parser::new(), Batch::new());
        batch.read_buffer().extend_from_slice(&stream);
        group.bench_function(name, |b| {
            // Taking the bytes out and in keeps copying them from being measured; inline rewrites them.
            b.iter_batched(
                || stream.clone(),
                |bytes| {
                    batch.clear();
                    *batch.read_buffer() = bytes;
                    let progress = parser.parse(&mut batch, &Limits::default()).unwrap();
                    assert!(batch.len() == PIPELINE && progress.need == Need::Nothing);
                    std::mem::take(batch.read_buffer())
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn write(c: &mut Criterion) {
    let mut group = c.benchmark_group("write");
    let value = [b'v'; 64];
    let mut out = Vec::with_capacity(128);
    group.bench_function("bulk of 64 bytes", |b| {
        b.iter(|| {
            out.clear();
            reply_bytes::bulk(&mut out, black_box(&value));
            out.len()
        });
    });
    group.bench_function("integer of 5 digits", |b| {
        b.iter(|| {
            out.clear();
            reply_bytes::integer(&mut out, black_box(12_345));
            out.len()
        });
    });
    for (name, value) in [("3", 3.0), ("0.25", 0.25), ("17 digits", 0.123_456_789_012_345_67)] {
        group.bench_function(format!("double: {name}"), |b| {
            b.iter(|| number_text::format_double(black_box(value), &mut [0; number_text::DOUBLE_TEXT_MAX]).len());
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    parse(&mut criterion);
    write(&mut criterion);
    criterion.final_summary();
}
