//! What `docs/adr/0002-entry-and-dict.md` rests on: the keyspace and its table against `hashbrown`'s pointer table.
//!
//! A plain `main`, because each figure needs a fresh process (RSS) or minutes of set-up (10 million keys):
//! `cargo bench -p weir-structs --bench keyspace -- <what> [keys]` with `what` one of
//! `speed`, `hashbrown`, `rss <shape>`, `sizes`, `all`. Without arguments a small run of `speed`.

use std::hint::black_box;
use std::time::Instant;

use weir_structs::arena::{SEGMENT_ARENA, SLAB_ARENA};
use weir_structs::entry::StrView;
use weir_structs::keyspace::{ExpireChange, KeyHasher, Keyspace, NewStr};

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 16;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let arg = |at: usize| args.get(at).map_or("", String::as_str);
    let keys = |at: usize, default: usize| arg(at).parse().unwrap_or(default);
    if let Ok(chunk) = std::env::var("HUGE_FROM_CHUNK") {
        SLAB_ARENA.set_huge_from_chunk(chunk.parse().expect("a number of chunks"));
    }
    match arg(0) {
        "speed" => speed(keys(1, 10_000_000)),
        "hashbrown" => hashbrown_speed(keys(1, 10_000_000)),
        "rss" => rss(arg(1), keys(2, 1_000_000)),
        "sizes" => sizes(),
        _ => {
            speed(200_000);
            hashbrown_speed(200_000);
        }
    }
}

/// The `number`th key: 16 bytes.
fn key(number: u64) -> [u8; 16] {
    let mut key = *b"key:000000000000";
    let mut rest = number;
    for digit in key[4..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    key
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((u128::from(mixed ^ (mixed >> 31)) * limit as u128) >> 64) as u64
    }
}

/// Up to two million keys by chance out of `count`, starting with `first`.
fn random_keys(count: usize, first: u64) -> Vec<[u8; 16]> {
    let mut random = Random(1);
    (0..2_000_000.min(count)).map(|_| key(first + random.below(count))).collect()
}

fn rss_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number") * 4096
}

/// Nanoseconds for each of a run's operations: the median of nine runs and, less disturbed by a machine's other work, the
/// best.
struct Timing {
    median: f64,
    best: f64,
}

impl std::fmt::Display for Timing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.0} ns (best {:.0})", self.median, self.best)
    }
}

fn timing(operations: usize, mut work: impl FnMut()) -> Timing {
    let mut runs: Vec<f64> = (0..9)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_nanos() as f64 / operations as f64
        })
        .collect();
    runs.sort_by(f64::total_cmp);
    Timing { median: runs[4], best: runs[0] }
}

/// Prints what single times say about the slowest insertions.
fn print_tail(name: &str, mut worst: Vec<u32>) {
    worst.sort_unstable();
    let at = |share: f64| worst[((worst.len() - 1) as f64 * share) as usize];
    println!(
        "{name}: single insertions, ns: median {}, 99.9% {}, 99.99% {}, 99.999% {}, worst {:?}",
        at(0.5),
        at(0.999),
        at(0.9999),
        at(0.99999),
        &worst[worst.len() - 5..]
    );
}

fn speed(count: usize) {
    let mut keys = Keyspace::new(KeyHasher::new(7));
    let value = [b'v'; 16];
    let start = Instant::now();
    for number in 0..count as u64 {
        let key = key(number);
        keys.upsert(keys.position(&key), &key, NewStr::Bytes(&value), ExpireChange::Keep, |_| 0);
    }
    println!("keyspace: {count} keys, fill {:.0} ns an insertion", per(start, count));
    drop(std::mem::replace(&mut keys, Keyspace::new(KeyHasher::new(7))));
    let mut singles = vec![0; count];
    singles.clear();
    for number in 0..count as u64 {
        let key = key(number);
        let before = Instant::now();
        let position = keys.position(&key);
        keys.upsert(position, &key, NewStr::Bytes(&value), ExpireChange::Keep, |_| 0);
        singles.push(before.elapsed().as_nanos() as u32);
    }
    print_tail("keyspace", singles);
    println!("keyspace: {:.2} table bytes a key", keys.table_bytes() as f64 / count as f64);

    let wanted = random_keys(count, 0);
    let gets = wanted.len();
    // Each search waits for the one before it, as it does when a client waits for its reply.
    let alone = timing(gets, || {
        let mut at = 0;
        while at < gets {
            let entry = keys.get(keys.position(&wanted[at]), &wanted[at]).expect("all are there");
            let Some(StrView::Bytes(value)) = entry.str() else { panic!("bytes were stored") };
            at += 1 + usize::from(value[0] >> 7);
        }
    });
    let absent = random_keys(count, 1_000_000_000);
    let miss = timing(gets, || {
        let mut at = 0;
        while at < gets {
            at += 1 + usize::from(keys.get(keys.position(&absent[at]), &absent[at]).is_some());
        }
    });
    let batched = |prefetch_bucket: bool, prefetch_entry: bool| {
        timing(gets, || {
            for batch in wanted.chunks_exact(BATCH) {
                let positions: [u64; BATCH] = std::array::from_fn(|i| keys.position(&batch[i]));
                if prefetch_bucket {
                    positions.iter().for_each(|&position| keys.prefetch_bucket(position));
                }
                if prefetch_entry {
                    positions.iter().for_each(|&position| keys.prefetch_entry(position));
                }
                for (key, &position) in batch.iter().zip(&positions) {
                    black_box(keys.get(position, key).expect("all are there").str());
                }
            }
        })
    };
    println!("keyspace: get alone {alone}, miss alone {miss}");
    println!("keyspace: batches of {BATCH}: prefetched {}", batched(true, true));
    println!("keyspace: batches of {BATCH}: only buckets prefetched {}", batched(true, false));
    println!("keyspace: batches of {BATCH}: not prefetched {}", batched(false, false));
    let mut set = Random(3);
    let overwrite = timing(gets, || {
        for key in &wanted {
            keys.upsert(keys.position(key), key, NewStr::Bytes(&value), ExpireChange::Keep, |_| 1);
        }
    });
    println!("keyspace: overwrite alone {overwrite}");
    let mut rng = || set.below(usize::MAX);
    let draws = timing(gets / 4, || {
        for _ in 0..gets / 4 {
            black_box(keys.random(&mut rng));
        }
    });
    let start = Instant::now();
    let (mut cursor, mut seen) = (0, 0);
    loop {
        cursor = keys.scan(cursor, &mut |_| seen += 1);
        if cursor == 0 {
            break;
        }
    }
    println!("keyspace: random key {draws}, scan {:.1} ns a key ({seen} seen)", per(start, count));
    let start = Instant::now();
    for number in 0..count as u64 {
        let key = key(number);
        let position = keys.position(&key);
        keys.get_mut(position, &key).expect("all are there").remove();
    }
    println!("keyspace: removal {:.0} ns a key; table afterwards {} bytes", per(start, count), keys.table_bytes());
    println!("keyspace: RSS afterwards {} KiB", rss_bytes() / 1024);
}

/// `hashbrown::HashTable` with pointers to the same kind of blocks (length byte, key, 20 more bytes).
fn hashbrown_speed(count: usize) {
    let hasher = KeyHasher::new(7);
    let mut slab = weir_structs::slab::Slab::new();
    let mut table: hashbrown::HashTable<*const u8> = hashbrown::HashTable::new();
    let key_of = |block: *const u8| {
        // SAFETY: the blocks made below are 36 bytes long and start with 4 bytes of header and 16 of key.
        unsafe { &*block.add(4).cast::<[u8; 16]>() }
    };
    let mut singles = vec![0; count];
    singles.clear();
    let start = Instant::now();
    for number in 0..count as u64 {
        let key = key(number);
        let before = Instant::now();
        let position = hasher.position(&key);
        let found = table.find(position, |&block| *key_of(block) == key);
        assert!(found.is_none());
        let block = slab.alloc(36).as_ptr();
        // SAFETY: the block is 36 bytes long.
        unsafe { block.add(4).cast::<[u8; 16]>().write(key) };
        // SAFETY: likewise.
        unsafe { block.add(20).write(0) };
        table.insert_unique(position, block.cast_const(), |&block| hasher.position(key_of(block)));
        singles.push(before.elapsed().as_nanos() as u32);
    }
    println!("hashbrown: {count} keys, fill {:.0} ns an insertion (clock reads included)", per(start, count));
    print_tail("hashbrown", singles);
    println!("hashbrown: {:.2} table bytes a key", table.allocation_size() as f64 / count as f64);
    let wanted = random_keys(count, 0);
    let gets = wanted.len();
    let find = |key: &[u8; 16], position: u64| {
        let block = *table.find(position, |&block| key_of(block) == key).expect("all are there");
        // SAFETY: the block is 36 bytes long.
        unsafe { block.add(20).read() }
    };
    let alone = timing(gets, || {
        let mut at = 0;
        while at < gets {
            at += 1 + usize::from(find(&wanted[at], hasher.position(&wanted[at])) >> 7);
        }
    });
    let batched = timing(gets, || {
        for batch in wanted.chunks_exact(BATCH) {
            let positions: [u64; BATCH] = std::array::from_fn(|i| hasher.position(&batch[i]));
            // The only way in without comparing keys: take the candidates by their tags and prefetch their blocks.
            for &position in &positions {
                for block in table.iter_hash(position) {
                    #[cfg(target_arch = "x86_64")]
                    // SAFETY: a prefetch cannot fail.
                    unsafe {
                        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
                        _mm_prefetch::<_MM_HINT_T0>(block.cast());
                    }
                }
            }
            for (key, &position) in batch.iter().zip(&positions) {
                black_box(find(key, position));
            }
        }
    });
    println!("hashbrown: get alone {alone}, batches of {BATCH} with their blocks prefetched {batched}");
}

/// Bytes of RSS a key, as the budget counts them.
fn rss(shape: &str, count: usize) {
    let mut keys = Keyspace::new(KeyHasher::new(7));
    // The allocator takes its first 2 MiB and the code's pages come in: not the keys' doing.
    for number in 0..20_000 {
        let key = key(number);
        keys.upsert(keys.position(&key), &key, NewStr::Int(1), ExpireChange::Keep, |_| 0);
    }
    drop(std::mem::replace(&mut keys, Keyspace::new(KeyHasher::new(7))));
    let (value, expire) = match shape {
        "16" => (NewStr::Bytes(&[b'v'; 16]), ExpireChange::Keep),
        "64" => (NewStr::Bytes(&[b'v'; 64]), ExpireChange::Keep),
        "int" => (NewStr::Int(123_456_789), ExpireChange::Keep),
        "ttl" => (NewStr::Bytes(&[b'v'; 16]), ExpireChange::At(1 << 40)),
        other => panic!("no such shape: {other:?} (16, 64, int, ttl)"),
    };
    let before = rss_bytes();
    for number in 0..count as u64 {
        let key = key(number);
        keys.upsert(keys.position(&key), &key, value.clone(), expire, |_| 0);
    }
    let after = rss_bytes();
    println!(
        "{shape} at {count}: {:.2} bytes of RSS a key; blocks {:.2}, table {:.2}; {:?} {:?}",
        (after - before) as f64 / count as f64,
        keys.slab_live_bytes() as f64 / count as f64,
        keys.table_bytes() as f64 / count as f64,
        SLAB_ARENA.stats(),
        SEGMENT_ARENA.stats(),
    );
}

/// Table bytes a key over an octave of sizes: the phase between two splits matters.
fn sizes() {
    let mut keys = Keyspace::new(KeyHasher::new(7));
    let (mut sum, mut samples, mut worst) = (0.0, 0, 0.0_f64);
    let mut at = 1_000_000.0;
    for number in 0..2_000_000_u64 {
        if number as f64 >= at {
            let bytes = keys.table_bytes() as f64 / number as f64;
            println!("{number:>9} keys: {bytes:.2} table bytes a key");
            (sum, samples, worst) = (sum + bytes, samples + 1, worst.max(bytes));
            at *= 2.0_f64.powf(1.0 / 16.0);
        }
        let key = key(number);
        keys.upsert(keys.position(&key), &key, NewStr::Int(1), ExpireChange::Keep, |_| 0);
    }
    println!("over the octave: mean {:.2}, worst {worst:.2}", sum / f64::from(samples));
}

fn per(start: Instant, operations: usize) -> f64 {
    start.elapsed().as_nanos() as f64 / operations as f64
}
