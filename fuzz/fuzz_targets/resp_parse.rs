//! Any bytes, cut anywhere, come to what the plain model of the protocol says. The first bytes of the input choose the
//! limits and the cuts, the rest is the stream. `crates/resp/tests/parse.rs` has a short run with a fixed seed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_resp::Limits;

#[path = "../../crates/resp/tests/model/mod.rs"]
mod model;

fuzz_target!(|input: &[u8]| {
    let Some(([flags, cut_count], rest)) = input.split_first_chunk() else { return };
    let authenticated = flags & 1 != 0;
    let limits =
        if flags & 2 != 0 { Limits { authenticated, ..Limits::default() } } else { model::small_limits(authenticated) };
    let Some((cuts, stream)) = rest.split_at_checked(usize::from(cut_count % 16) * 2) else { return };
    let cuts: Vec<usize> =
        cuts.chunks(2).map(|pair| pair.iter().fold(0, |cut, byte| cut << 8 | usize::from(*byte))).collect();
    model::check(stream, &cuts, &limits);
});
