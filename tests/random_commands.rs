//! Some twenty thousand random commands, the same at every run, in conversations of several clients with a server: no
//! panic, whole replies, one for each command, and data that are what is counted.
//!
//! The fuzz target `commands` does the same for as long as it is let, with inputs that it finds by itself. A conversation
//! that fails is held a second time, telling each step.

#[path = "random_commands/mod.rs"]
mod random_commands;

use random_commands::in_process::random::Rng;
use random_commands::{Telling, hold};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};
use weir::allocator::{Counting, bytes_in_use};

#[global_allocator]
static ALLOCATOR: Counting = Counting::new();

const COMMANDS: usize = 20_000;
const INPUT_BYTES: usize = 2_000;
/// Conversations after which everything that is made once is there.
const WARM: u64 = 20;

#[test]
fn twenty_thousand_random_commands_leave_the_server_whole_and_no_memory_behind() {
    let (mut commands, mut seed, mut warm_bytes) = (0, 0, 0);
    while commands < COMMANDS {
        commands += hold_seeded(seed);
        seed += 1;
        if seed == WARM {
            warm_bytes = settled_bytes(0, Duration::from_secs(2));
        }
    }
    assert!(seed > 2 * WARM, "{seed} conversations are too few to see memory grow");
    let limit = warm_bytes + (2 << 20);
    let bytes = settled_bytes(limit, Duration::from_secs(60));
    assert!(bytes <= limit, "{warm_bytes} bytes in use after {WARM} conversations, {bytes} after {seed}");
}

/// Holds the conversation of a seed.
fn hold_seeded(seed: u64) -> usize {
    let mut input = vec![0; INPUT_BYTES];
    let mut rng = Rng(seed);
    for chunk in input.chunks_mut(8) {
        chunk.copy_from_slice(&rng.next().to_le_bytes()[..chunk.len()]);
    }
    catch_unwind(AssertUnwindSafe(|| hold(&input, Telling::Nothing))).unwrap_or_else(|first| {
        eprintln!("the conversation of seed {seed}:");
        let _ = catch_unwind(AssertUnwindSafe(|| hold(&input, Telling::Steps)));
        resume_unwind(first)
    })
}

/// Bytes in use when the servers' background threads are done: waits for at most `limit` bytes, as long as `patience` lasts.
fn settled_bytes(limit: usize, patience: Duration) -> usize {
    let deadline = Instant::now() + patience;
    loop {
        let bytes = bytes_in_use();
        if bytes <= limit || Instant::now() > deadline {
            return bytes;
        }
        std::thread::yield_now();
    }
}
