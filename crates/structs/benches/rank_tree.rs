//! What the rank tree costs a member: time of each operation and bytes, for scores that come ascending, at random, or are
//! all equal. `cargo bench -p weir-structs --bench rank_tree -- [members]`; without a number a small run.

use std::hint::black_box;
use std::ptr::NonNull;
use std::time::Instant;

use weir_structs::rank_tree::{RankTree, Ranked, score_order_key};

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A member: 8 bytes of key, 16 bytes of name.
struct Plain;

const NAME_BYTES: usize = 16;
const MEMBER_BYTES: usize = 28;

// SAFETY: members are made by `members` below and only read here.
unsafe impl Ranked for Plain {
    unsafe fn order_key(member: NonNull<u8>) -> u64 {
        // SAFETY: a member begins with its key.
        u64::from_le_bytes(unsafe { member.cast::<[u8; 8]>().read() })
    }

    unsafe fn name<'a>(member: NonNull<u8>) -> &'a [u8] {
        // SAFETY: the name stands behind the key.
        let start = unsafe { member.add(8) };
        // SAFETY: it is so long, and the blocks live as long as the program.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), NAME_BYTES) }
    }
}

fn members(count: u64, key: impl Fn(u64) -> u64) -> Vec<NonNull<u8>> {
    let blocks = vec![0u8; count as usize * MEMBER_BYTES].leak();
    blocks
        .chunks_exact_mut(MEMBER_BYTES)
        .zip(0u64..)
        .map(|(block, number)| {
            block[..8].copy_from_slice(&key(number).to_le_bytes());
            block[8..8 + NAME_BYTES].copy_from_slice(format!("member:{number:09}").as_bytes());
            NonNull::from(block).cast()
        })
        .collect()
}

/// Repeatable and without pattern.
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

fn main() {
    let count: u64 = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(50_000);
    println!("{count} members; ns each");
    println!("scores\tinsert\trank\tget\tcount\twalk\treplace\tremove+insert\tbuild\tdrop ms\tbytes");
    run("ascending", members(count, |i| score_order_key(i as f64 * 0.5)));
    run("random", members(count, |i| score_order_key((mix(i) % 1_000_000_000) as f64)));
    run("small ints", members(count, |i| score_order_key((mix(i) % 100) as f64)));
    let mut shuffled = members(count, |_| score_order_key(0.0));
    for at in (1..shuffled.len()).rev() {
        shuffled.swap(at, (mix(at as u64) % (at as u64 + 1)) as usize);
    }
    run("equal", shuffled);
}

fn run(what: &str, members: Vec<NonNull<u8>>) {
    let count = members.len() as u64;
    let mut tree = RankTree::<Plain>::new();
    let pick = |i: u64| members[(mix(i) % count) as usize];
    let mut figures = vec![each(count, |i| {
        // SAFETY: members live as long as the program, never change, and differ in name.
        unsafe { tree.insert(members[i as usize]) };
    })];
    let bytes = tree.memory_bytes() as f64 / count as f64;
    // SAFETY: as above.
    figures.push(each(count, |i| _ = black_box(unsafe { tree.rank(pick(i)) })));
    figures.push(each(count, |i| _ = black_box(tree.get(mix(i) % count))));
    // SAFETY: as above.
    figures.push(each(count, |i| _ = black_box(tree.count_below(unsafe { Plain::order_key(pick(i)) }))));
    let mut walk = tree.iter_from(0);
    // SAFETY: as above.
    figures.push(each(count, |_| _ = black_box(walk.next().map(|m| unsafe { Plain::order_key(m) }))));
    // SAFETY: as above; the member is replaced by itself.
    figures.push(each(count, |i| _ = black_box(unsafe { tree.replace(pick(i), pick(i)) })));
    figures.push(each(count, |i| {
        // SAFETY: as above.
        assert!(unsafe { tree.remove(pick(i)) });
        // SAFETY: as above, and it was just taken out.
        unsafe { tree.insert(pick(i)) };
    }));
    let sorted: Vec<_> = tree.iter_from(0).collect();
    let begin = Instant::now();
    // SAFETY: as above, and they are in order.
    let built = unsafe { RankTree::<Plain>::from_sorted(sorted) };
    figures.push(begin.elapsed().as_nanos() as f64 / count as f64);
    drop(built);
    let begin = Instant::now();
    drop(tree);
    let dropped_ms = begin.elapsed().as_secs_f64() * 1e3;
    let figures: Vec<String> = figures.iter().map(|ns| format!("{ns:.0}")).collect();
    println!("{what}\t{}\t{dropped_ms:.1}\t{bytes:.2}", figures.join("\t"));
}

fn each(count: u64, mut step: impl FnMut(u64)) -> f64 {
    let begin = Instant::now();
    (0..count).for_each(&mut step);
    begin.elapsed().as_nanos() as f64 / count as f64
}
