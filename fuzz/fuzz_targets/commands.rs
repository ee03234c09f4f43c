//! Bytes as a conversation of several clients with a server that has no sockets, and what must hold after each step; see
//! `tests/random_commands`. `WEIR_FUZZ_TELL=1` tells each step, to look at an input that fails.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

#[path = "../../tests/random_commands/mod.rs"]
mod random_commands;

use random_commands::Telling;

static TELLING: LazyLock<Telling> = LazyLock::new(|| match std::env::var_os("WEIR_FUZZ_TELL") {
    Some(_) => Telling::Steps,
    None => Telling::Nothing,
});

fuzz_target!(|input: &[u8]| {
    random_commands::hold(input, *TELLING);
});
