//! How long the longest step takes while a collection of so many elements is frozen and changes, and what is kept aside.
//! Processor time, so that what else runs does not count. `cargo bench -p weir-structs --bench frozen -- [elements]`; without
//! a number a small run. With `MIMALLOC_PURGE_DELAY=-1` no step gives memory back to the system, which the server leaves to
//! another thread.

use std::hint::black_box;

use weir_structs::frozen::FrozenPart;
use weir_structs::hash::{FieldDeadline, Hash};
use weir_structs::keyspace::KeyHasher;
use weir_structs::list::{Element, End, Limits, List};
use weir_structs::set::Set;
use weir_structs::stream::{NodeLimits, References, Stream, StreamId, Threshold, Trim};
use weir_structs::value::Big;
use weir_structs::zset::Zset;

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Elements that one step gives.
const BUDGET: usize = 64;
/// Changes between two steps.
const CHANGES: usize = 8;

fn main() {
    let (on, unused): (libc::c_ulong, libc::c_ulong) = (1, 0);
    // As the server does: to make a huge page takes milliseconds.
    // SAFETY: this request takes plain integers.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, on, unused, unused, unused) };
    let elements = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(20_000);
    println!("{elements} elements; microseconds");
    println!(
        "{:<8}{:>9}{:>9}{:>11}{:>11}{:>11}{:>9}{:>11}{:>11}{:>11}{:>9}{:>9}",
        "", "freeze", "give", "p99.9", "p99.99", "worst", "change", "p99.9", "p99.99", "worst", "thaw", "kept MB"
    );
    let hasher = KeyHasher::new(1);
    let mut hash = Hash::new(hasher.clone());
    let set_field = |hash: &mut Hash, number: usize| {
        let field = name(number);
        hash.set(hash.position(&field), &field, &[b'v'; 64], FieldDeadline::Clear, 0);
    };
    (0..elements).for_each(|number| set_field(&mut hash, number));
    measure("hash", Big::from(hash), |big, number| {
        let Big::Hash(hash) = big else { return };
        if number % 3 == 0 {
            let field = name(spread(number, elements));
            hash.remove(hash.position(&field), &field);
        } else {
            set_field(hash, if number % 3 == 1 { spread(number, elements) } else { elements + number });
        }
    });
    let mut set = Set::new(hasher.clone());
    (0..elements).for_each(|number| set.add_absent(&name(number)));
    measure("set", Big::from(set), |big, number| {
        let Big::Set(set) = big else { return };
        match number % 2 {
            0 => {
                black_box(set.remove(&name(spread(number, elements))));
            }
            _ => {
                black_box(set.add(&name(elements + number)));
            }
        }
    });
    let score = |number: usize| (number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as f64;
    let mut zset = Zset::new(hasher);
    (0..elements).for_each(|number| zset.insert(&name(number), score(number)));
    measure("zset", Big::from(zset), |big, number| {
        let Big::Zset(zset) = big else { return };
        match number % 3 {
            0 => {
                black_box(zset.remove(&name(spread(number, elements))));
            }
            1 => zset.set(&name(spread(number, elements)), score(number + 1)),
            _ => zset.set(&name(elements + number), score(number)),
        }
    });
    for (title, limits) in
        [("list", Limits::new(-2, 0)), ("list -5", Limits::new(-5, 0)), ("list lzf", Limits::new(-2, 1))]
    {
        let mut list = List::new();
        (0..elements).for_each(|number| list.push(End::Back, Element::Bytes(&name(number)), &limits));
        measure(title, Big::from(list), |big, number| {
            let Big::List(list) = big else { return };
            match number % 4 {
                0 => drop(list.pop(End::Front, &limits, |_| ())),
                1 => list.push(End::Front, Element::Bytes(&name(number)), &limits),
                2 => {
                    black_box(list.set(spread(number, list.len()), &name(number), &limits));
                }
                _ => list.push(End::Back, Element::Bytes(&name(number)), &limits),
            }
        });
    }
    let mut list = List::new();
    let limits = Limits::new(-2, 0);
    (0..elements).for_each(|number| list.push(End::Back, Element::Bytes(&name(number)), &limits));
    let mut rest = None;
    measure("trimmed", Big::from(list), |big, number| {
        let Big::List(list) = big else { return };
        if number == CHANGES * 20 {
            rest = list.cut(End::Back, elements, &limits);
        }
    });
    let limits = NodeLimits { bytes: 4096, entries: 100 };
    let mut stream = Stream::new();
    stream.create_group(b"group", StreamId::MIN, None);
    for number in 0..elements {
        let id = StreamId::new(number as u64 + 1, 0);
        stream.append(id, [(&b"field"[..], &name(number)[..])].into_iter(), limits);
        let mut group = stream.group_mut(b"group").expect("a group");
        let (slot, _) = group.find_or_create_consumer(&[b'a' + (number % 3) as u8], 1);
        let log = group.log();
        group.deliver(log, id, slot, 1, true);
    }
    let id = |number: usize| StreamId::new(number as u64 + 1, 0);
    measure("stream", Big::from(stream.clone()), |big, number| {
        let Big::Stream(stream) = big else { return };
        match number % 4 {
            0 => {
                black_box(stream.delete(id(spread(number, elements)), References::Keep));
            }
            1 => {
                black_box(stream.append(id(elements + number), [(&b"field"[..], &b"x"[..])].into_iter(), limits));
            }
            2 => {
                black_box(stream.group_mut(b"group").map(|mut group| group.acknowledge(id(spread(number, elements)))));
            }
            _ => {
                let mut group = stream.group_mut(b"group").expect("a group");
                let (slot, _) = group.find_or_create_consumer(b"b", 1);
                group.claim(id(spread(number, elements)), slot, 5, 2);
            }
        }
    });
    let mut rest = None;
    measure("trimmed", Big::from(stream), |big, number| {
        let Big::Stream(stream) = big else { return };
        if number == CHANGES * 20 {
            rest = stream.remove_group(b"group");
        }
        if number == CHANGES * 30 {
            let trim = Trim { threshold: Threshold::MaxLen(100), approximate: false, limit: 0 };
            stream.trim(trim, References::Keep);
        }
    });
}

/// Freezes a collection and has it given, changing it meanwhile; then once more, thawing it half way.
fn measure(title: &str, mut big: Big, mut change: impl FnMut(&mut Big, usize)) {
    let before = big.memory_bytes();
    let mut freeze = Times::default();
    freeze.time(|| each_freeze(&mut big));
    let (mut give, mut changes, mut number, mut kept) = (Times::default(), Times::default(), 0, 0);
    let mut weight = 0;
    while give.time(|| big.give_frozen(BUDGET, &mut |part| weight += weigh(part))) {
        for _ in 0..CHANGES {
            number += 1;
            changes.time(|| change(&mut big, number));
        }
        kept = kept.max(big.memory_bytes().saturating_sub(before));
    }
    black_box(weight);
    each_freeze(&mut big);
    for _ in 0..give.0.len() / 2 {
        big.give_frozen(BUDGET, &mut |part| weight += weigh(part));
        number += 1;
        change(&mut big, number);
    }
    let mut thaw = Times::default();
    let mut rest = None;
    thaw.time(|| rest = big.thaw());
    let [freeze, thaw] = [freeze, thaw].map(|times| times.at(1.0));
    let [give, changes] = [give, changes].map(|mut times| {
        times.0.sort_unstable();
        [0.5, 0.999, 0.9999, 1.0].map(|part| times.at(part))
    });
    let show = |times: [f64; 4]| format!("{:>9.2}{:>11.2}{:>11.2}{:>11.2}", times[0], times[1], times[2], times[3]);
    println!("{title:<8}{freeze:>9.2}{}{}{thaw:>9.2}{:>9.2}", show(give), show(changes), kept as f64 / 1e6);
}

fn each_freeze(big: &mut Big) {
    match big {
        Big::Hash(it) => it.freeze(1),
        Big::Set(it) => it.freeze(1),
        Big::Zset(it) => it.freeze(1),
        Big::List(it) => it.freeze(1),
        Big::Stream(it) => it.freeze(1),
        Big::Queue(it) => it.freeze(1),
        Big::Exchange(it) => it.freeze(1),
        Big::Tree(it) => it.freeze(1),
    }
}

/// Looks at all of a part.
fn weigh(part: FrozenPart<'_>) -> usize {
    match part {
        FrozenPart::Field { field, value, .. } => field.len() + value.len(),
        FrozenPart::Member(member) | FrozenPart::Scored { member, .. } => member.len(),
        FrozenPart::Elements(part) => part.count(),
        FrozenPart::Stream(_) | FrozenPart::Shared(..) => 1,
        FrozenPart::Piece(piece) => piece.len(),
    }
}

/// The `number`th name: 16 bytes.
fn name(number: usize) -> [u8; 16] {
    let mut text = *b"item:00000000000";
    let mut rest = number;
    for digit in text.iter_mut().rev() {
        if rest == 0 {
            break;
        }
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    text
}

fn spread(number: usize, elements: usize) -> usize {
    number.wrapping_mul(7_919) % elements.max(1)
}

/// How long each step took, in nanoseconds of processor time.
#[derive(Default)]
struct Times(Vec<u64>);

impl Times {
    fn time<T>(&mut self, step: impl FnOnce() -> T) -> T {
        let start = processor_ns();
        let result = step();
        self.0.push(processor_ns() - start);
        result
    }

    /// In microseconds; of sorted times.
    fn at(&self, part: f64) -> f64 {
        let at = (self.0.len() as f64 * part) as usize;
        self.0.get(at.min(self.0.len().saturating_sub(1))).map_or(0.0, |&ns| ns as f64 / 1000.0)
    }
}

fn processor_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure is valid for the time to be written into it.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
