//! Sets: operations on two of 100,000 members, look-ups and changes, and how long the longest single step of a set's growth
//! and shrinkage takes.
//!
//! `cargo bench -p weir-structs --bench set -- [members] [members of the set that grows]`. Without arguments a small run.

use std::hint::black_box;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use weir_structs::keyspace::KeyHasher;
use weir_structs::set::{self, OwnedSet, SetLimits, SetMut, SetPlace, SetRef};

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LIMITS: SetLimits = SetLimits { ints_max: 512, packed_max: 128, packed_len_max: 64 };
/// Runs of which the best counts.
const RUNS: usize = 15;

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).map(|arg| arg.parse().ok());
    let mut number = |default: usize| args.next().flatten().unwrap_or(default);
    let (members, grown) = (number(20_000), number(100_000));
    together(members);
    one_by_one(members);
    longest_steps(grown);
}

/// The `number`th member: 16 bytes.
fn member(number: usize) -> Vec<u8> {
    format!("member:{number:09}").into_bytes()
}

fn set_of(members: impl Iterator<Item = Vec<u8>>) -> OwnedSet {
    let mut set = OwnedSet::new(&KeyHasher::new(1));
    members.for_each(|member| {
        SetMut::new(&mut set, &LIMITS).add(&member);
    });
    set
}

/// The best of some runs.
fn best<T>(mut run: impl FnMut() -> T) -> Duration {
    (0..RUNS)
        .map(|_| {
            let began = Instant::now();
            black_box(run());
            began.elapsed()
        })
        .min()
        .unwrap_or_default()
}

fn tell(what: &str, time: Duration, each: usize) {
    println!("{what:32} {:9.1} us  {:6.1} ns each", time.as_secs_f64() * 1e6, time.as_secs_f64() * 1e9 / each as f64);
}

/// How many members an operation gives.
fn count<'s>(run: &dyn for<'e> Fn(set::Emit<'e, 's>)) -> usize {
    let mut count = 0;
    run(&mut |_| {
        count += 1;
        ControlFlow::Continue(())
    });
    count
}

fn both<'s>(one: SetRef<'s>, other: SetRef<'s>) -> Duration {
    best(|| count(&|emit| set::intersection(&mut [one, other], emit)))
}

fn together(members: usize) {
    let (one, other) = (set_of((0..members).map(member)), set_of((members / 2..members * 3 / 2).map(member)));
    let (apart, small) =
        (set_of((2 * members..3 * members).map(member)), set_of((0..members / 100).map(|n| member(n * 100))));
    let (one, other, apart, small) = (one.set(), other.set(), apart.set(), small.set());
    let hasher = KeyHasher::new(1);
    tell("all members", best(|| one.iter().map(|member| member.text_len()).sum::<usize>()), members);
    tell("intersection, half in common", both(one, other), members);
    tell("intersection, nothing in common", both(one, apart), members);
    tell("intersection with a hundredth", both(small, one), members / 100);
    let difference = best(|| count(&|emit| set::difference(one, &mut [other], emit)));
    tell("difference, half in common", difference, members);
    let union = best(|| count(&|emit| set::union(&mut [one, other], &hasher, &LIMITS, emit)));
    tell("union, half in common", union, members * 2);
    let stored = best(|| {
        let mut members = Vec::new();
        set::union(&mut [one, other], &hasher, &LIMITS, &mut |member| {
            members.push(member);
            ControlFlow::Continue(())
        });
        OwnedSet::of_distinct(&members, &hasher, &LIMITS)
    });
    tell("union, stored", stored, members * 2);
}

fn one_by_one(members: usize) {
    let names: Vec<Vec<u8>> = (0..members).map(|number| member(number * 7 % members)).collect();
    let set = set_of(names.iter().cloned());
    tell("add", best(|| set_of(names.iter().cloned())), members);
    tell("contains", best(|| names.iter().filter(|name| set.set().contains(name)).count()), members);
    println!(
        "{:32} {:9.1} bytes a member",
        "memory",
        match set.set() {
            SetRef::Big(set) => set.memory_bytes() as f64 / members as f64,
            _ => 0.0,
        }
    );
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state ^ state >> 29
    };
    tell("random member", best(|| (0..members).filter(|_| set.set().random(&mut random).is_some()).count()), members);
}

/// The longest single insertion and removal, while a set grows and shrinks again.
fn longest_steps(members: usize) {
    let mut set = OwnedSet::new(&KeyHasher::new(1));
    let mut longest = Duration::ZERO;
    for number in 0..members {
        let name = member(number);
        let began = Instant::now();
        SetMut::new(&mut set, &LIMITS).add(&name);
        longest = longest.max(began.elapsed());
    }
    println!("{:32} {:9.1} us", format!("longest of {members} insertions"), longest.as_secs_f64() * 1e6);
    longest = Duration::ZERO;
    for number in 0..members * 9 / 10 {
        let name = member(number);
        let began = Instant::now();
        SetMut::new(&mut set, &LIMITS).remove(&name);
        longest = longest.max(began.elapsed());
    }
    println!("{:32} {:9.1} us", "longest removal", longest.as_secs_f64() * 1e6);
    let began = Instant::now();
    drop(set);
    println!("{:32} {:9.1} us", "dropping what is left", began.elapsed().as_secs_f64() * 1e6);
}
