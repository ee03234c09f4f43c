//! What the kernels on strings cost: bits, HyperLogLogs, positions. The wide vectors of `widest.rs` rest on it.
//!
//! `cargo bench -p weir-structs --bench bitmaps`; the best of several rounds is printed, in ns and where it means
//! something in GB a second. How the same loops do without wide vectors shows the row named portable.

use std::hint::black_box;
use std::time::Instant;

use weir_structs::bits::{self, BitOp};
use weir_structs::geo::{self, Position, Shape};
use weir_structs::hll::{self, HllBuf, Place, Registers};

const ROUNDS: usize = 15;

fn main() {
    for (name, len) in [("4 KiB", 4 << 10), ("10 MB", 10_000_000)] {
        let a: Vec<u8> = (0..len).map(|at| ((at * 37) >> 3) as u8).collect();
        let b: Vec<u8> = (0..len).map(|at| ((at * 91) >> 5) as u8).collect();
        let zeros = vec![0; len];
        row(&format!("count bits of {name}"), len, || bits::count_ones(black_box(&a)));
        row(&format!("find a set bit in {name} of zeros"), len, || {
            bits::find_bit(black_box(&zeros), true, 0..u64::MAX).unwrap_or(0)
        });
        for op in [BitOp::And, BitOp::Xor, BitOp::Not, BitOp::Diff1, BitOp::One] {
            let inputs: [&[u8]; 2] = [black_box(&a), black_box(&b)];
            row(&format!("{op:?} of two of {name}"), len, || bits::combine(op, &inputs).len() as u64);
        }
        let portable =
            || a.as_chunks::<8>().0.iter().map(|word| u64::from(u64::from_ne_bytes(*word).count_ones())).sum();
        row(&format!("count bits of {name}, portable"), len, portable);
    }

    let mut dense = HllBuf::new();
    for element in 0..100_000_u64 {
        let _ = dense.add(Place::of(&element.to_le_bytes()), 3000);
    }
    let mut registers = Registers::new();
    for (wide, name) in [(true, "merge a dense HyperLogLog"), (false, "merge a dense HyperLogLog, portable")] {
        hll::use_wide_vectors(wide);
        row(name, 0, || u64::from(dense.as_hll().merge_into(black_box(&mut registers)).is_ok()));
    }
    row("estimate from registers", 0, || black_box(&registers).count());
    row("place of an element of 16 bytes", 0, || Place::of(black_box(b"element:00000001")).register as u64);

    let middle = Position { longitude: 15.0, latitude: 37.0 };
    let shape = Shape::circle(middle, 200_000.0);
    let (inside, outside) = (geo::encode(middle) + 12_345_678, geo::encode(Position { longitude: 19.0, ..middle }));
    row("decode a position and find it inside of a circle", 0, || {
        u64::from(shape.distance_m(geo::decode(black_box(inside))).is_some())
    });
    row("decode a position and find it outside", 0, || {
        u64::from(shape.distance_m(geo::decode(black_box(outside))).is_some())
    });
    row("cells of a circle", 0, || Shape::circle(black_box(middle), 200_000.0).cells().count() as u64);
}

/// Prints what one call of `run` costs.
fn row(name: &str, bytes: usize, mut run: impl FnMut() -> u64) {
    let calls = (20_000_000 / (bytes + 200)).max(3);
    let mut best_ns = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..calls {
            black_box(run());
        }
        best_ns = best_ns.min(start.elapsed().as_nanos() as f64 / calls as f64);
    }
    let rate = if bytes > 0 { format!("{:8.1} GB/s", bytes as f64 / best_ns) } else { String::new() };
    println!("{name:<52}{best_ns:14.1} ns{rate}");
}
