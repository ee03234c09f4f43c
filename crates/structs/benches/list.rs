//! What operations on a list cost, and how long the longest of them takes, in a list of so many elements of 16 bytes.
//! `cargo bench -p weir-structs --bench list -- [elements]`; without a number a small run.

use std::hint::black_box;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use weir_structs::list::{Element, End, Limits, List};

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let elements = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(100_000);
    let limits = Limits::new(-2, 0);
    let mut list = List::new();
    for end in [End::Front, End::Back] {
        list = List::new();
        each(&format!("push {end:?}"), elements, |number| {
            list.push(end, Element::Bytes(&element(number)), &limits);
        });
    }
    println!("{:<16}{:>9.2} bytes an element", "memory", list.memory_bytes() as f64 / elements as f64);
    let some = (elements / 100).min(20_000);
    let spread = |number: usize| (number * 7919) % elements;
    each("get", some, |number| {
        black_box(list.get(spread(number), |element| element.text().len()));
    });
    each("get 100 at front", some, |_| visit(&list, 0));
    each("get 100 inside", some, |number| visit(&list, spread(number)));
    each("set", some, |number| {
        list.set(spread(number), &element(number + 1), &limits);
    });
    let few = 20.min(elements);
    each("find in middle", few, |number| {
        list.search(&element(elements / 2 - number), End::Front, usize::MAX, |index| {
            black_box(index);
            ControlFlow::Break(())
        });
    });
    each("insert in middle", few, |number| {
        list.insert_beside(&element(elements / 2 + number * 31), End::Front, b"a new one", &limits);
    });
    each("remove all equal", few, |_| {
        black_box(list.remove_equal(b"is not there", End::Front, usize::MAX, &limits));
    });
    each("pop, push behind", elements, |number| {
        drop(list.pop(End::Front, &limits, |_| ()));
        list.push(End::Back, Element::Bytes(&element(number)), &limits);
    });
    let mut rest = None;
    each("cut off a third", 1, |_| rest = list.cut(End::Front, elements / 3, &limits));
    each("drop that", 1, |_| drop(rest.take()));
    each("pop", list.len(), |_| drop(list.pop(End::Back, &limits, |_| ())));
    assert_eq!(list.len(), 0);
}

/// The `number`th element: 16 bytes.
fn element(number: usize) -> [u8; 16] {
    let mut text = *b"item:00000000000";
    let mut rest = number;
    for digit in text[5..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    text
}

fn visit(list: &List, from: usize) {
    list.visit(from, 100, End::Back, |element| {
        black_box(element.text().len());
        ControlFlow::Continue(())
    });
}

/// Mean and longest time of a step.
fn each(what: &str, times: usize, mut step: impl FnMut(usize)) {
    let (mut longest, began) = (Duration::ZERO, Instant::now());
    let mut before = began;
    for number in 0..times {
        step(number);
        let after = Instant::now();
        longest = longest.max(after - before);
        before = after;
    }
    let mean_ns = (before - began).as_nanos() as f64 / times.max(1) as f64;
    println!("{what:<16}{mean_ns:>12.0} ns, longest {:>8.3} ms", longest.as_secs_f64() * 1e3);
}
