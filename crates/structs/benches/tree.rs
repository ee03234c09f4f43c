//! What operations on a store of the registry cost, how long the longest of them takes, and what paths and changes take in
//! memory, in a store of so many paths with values of 32 bytes. `cargo bench -p weir-structs --bench tree -- [paths]`;
//! without a number a small run.

mod timing;

use std::alloc::{GlobalAlloc, Layout};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use timing::{each, processor_time, report};
use weir_structs::frozen::FrozenPart;
use weir_structs::tree::{Span, Tree, TreeBuilder, Write};

/// Counts what is allocated, in the sizes in which the allocator gives it.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

/// Words up to eight of them, above that four sizes to the next power of two.
fn given(size: usize) -> usize {
    let step = if size <= 64 { 8 } else { size.next_power_of_two() / 8 };
    size.next_multiple_of(step)
}

// SAFETY: everything is left to the allocator that does it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(given(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { mimalloc::MiMalloc.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(given(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { mimalloc::MiMalloc.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATED.fetch_add(given(size), Ordering::Relaxed);
        ALLOCATED.fetch_sub(given(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { mimalloc::MiMalloc.realloc(block, layout, size) }
    }
}

#[global_allocator]
static GLOBAL: Counting = Counting;

const VALUE: &[u8] = &[b'v'; 32];

fn main() {
    let paths: usize = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(20_000);
    let names: Vec<Vec<u8>> = (0..paths).map(name).collect();
    let name_bytes = names.iter().map(Vec::len).sum::<usize>() as f64 / paths as f64;
    println!("{:<28}{name_bytes:>9.1} bytes", "path");
    let spread = |number: usize| &names[number * 7_919 % paths];

    let before = ALLOCATED.load(Ordering::Relaxed);
    let mut tree = Tree::new(1);
    let mut revision = 0;
    each("put a new one", paths, |number| {
        revision += 1;
        put(&mut tree, revision, spread(number));
    });
    // Without history.
    tree.compact(revision);
    while tree.tidy(1_000) {}
    figures("path", &tree, paths, before, name_bytes + VALUE.len() as f64);
    drop(tree);

    let mut tree = Tree::new(1);
    revision = 0;
    each("put new ones in order", paths, |number| {
        revision += 1;
        put(&mut tree, revision, &names[number]);
    });
    tree.compact(revision);
    while tree.tidy(1_000) {}

    let before = ALLOCATED.load(Ordering::Relaxed);
    let own = tree.memory_bytes();
    each("put, history grows", paths, |number| {
        revision += 1;
        put(&mut tree, revision, spread(number * 31));
    });
    let changes = paths as f64;
    println!(
        "{:<28}{:>9.1} bytes by its own account, {:.1} in fact, the version before included",
        "change",
        (tree.memory_bytes() - own) as f64 / changes,
        ALLOCATED.load(Ordering::Relaxed).saturating_sub(before) as f64 / changes
    );
    let old = tree.compacted();
    each("put, 10,000 are kept", paths * 4, |number| {
        revision += 1;
        tree.compact(revision.saturating_sub(10_000));
        put(&mut tree, revision, spread(number * 37));
    });
    each("put, the same path", paths, |_| {
        revision += 1;
        tree.compact(revision.saturating_sub(10_000));
        put(&mut tree, revision, &names[0]);
    });
    assert!(tree.compacted() > old);
    each("get", paths, |number| {
        black_box(tree.get(spread(number)));
    });
    each("get at 5,000 before", paths, |number| {
        black_box(tree.get_at(spread(number), revision - 5_000.min(revision / 2)));
    });
    each("get the hot one in the past", paths, |number| {
        black_box(tree.get_at(&names[0], revision - (number as u64 % 10_000).min(revision / 2)));
    });
    each("span of 100", paths / 100, |number| {
        black_box(tree.span(Span::Range(spread(number), b"/z"), None).take(100).count());
    });
    each("span of 100 in the past", paths / 100, |number| {
        black_box(
            tree.span(Span::Range(spread(number), b"/z"), Some(revision - 5_000.min(revision / 2))).take(100).count(),
        );
    });
    each("change of a revision", paths, |number| {
        black_box(tree.change(revision - (number as u64 % 10_000).min(revision / 2)));
    });
    each("delete and create", paths, |number| {
        revision += 2;
        tree.compact(revision.saturating_sub(10_000));
        tree.write(revision - 1, revision, Write::Del { path: spread(number) });
        put(&mut tree, revision, spread(number));
    });

    let (mut single, mut whole) = (tree.clone(), tree.clone());
    each("delete one by one", paths, |number| {
        single.write(revision + 1, revision, Write::Del { path: &names[number] });
    });
    let began = processor_time();
    black_box(whole.delete_prefix(revision + 1, revision, b"/"));
    report("delete by prefix", paths, processor_time() - began, Duration::ZERO);
    drop((single, whole));

    let (began, mut bytes, mut longest) = (processor_time(), 0, Duration::ZERO);
    tree.freeze(1);
    loop {
        let before = processor_time();
        let goes_on = tree.give_frozen(1_000, &mut |part| {
            if let FrozenPart::Piece(piece) = part {
                bytes += piece.len();
            }
        });
        longest = longest.max(processor_time() - before);
        if !goes_on {
            break;
        }
    }
    report("give frozen", paths + 10_000, processor_time() - began, longest);
    println!("{:<28}{:>9.1} bytes a path or change", "encoded", bytes as f64 / (paths + 10_000) as f64);
    let mut pieces = Vec::new();
    tree.encode(&mut |piece| pieces.push(piece.to_vec()));
    let began = processor_time();
    if let Ok(mut builder) = TreeBuilder::new(&pieces[0]) {
        for piece in &pieces[1..] {
            let _ = builder.piece(piece);
        }
        black_box(builder.finish().map(|tree| tree.len()).ok());
    }
    report("decode", paths + 10_000, processor_time() - began, Duration::ZERO);
}

/// Paths as services have them.
fn name(number: usize) -> Vec<u8> {
    format!("/apps/service-{:03}/host-{:04}/setting-{:02}", number / 500 % 1_000, number / 20 % 10_000, number % 20)
        .into_bytes()
}

fn put(tree: &mut Tree, revision: u64, path: &[u8]) {
    tree.write(revision, revision, Write::Put { path, value: VALUE, lease: 0, flags: 0 });
}

fn figures(what: &str, tree: &Tree, paths: usize, before: usize, payload: f64) {
    let (own, allocated) = (tree.memory_bytes(), ALLOCATED.load(Ordering::Relaxed).saturating_sub(before));
    println!(
        "{what:<28}{:>9.1} bytes beside path and value by its own account, {:.1} in fact",
        own as f64 / paths as f64 - payload,
        allocated as f64 / paths as f64 - payload
    );
}
