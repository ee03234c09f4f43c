//! Whatever is put into a rank tree and taken out, it agrees with a sorted list. `crates/structs/src/rank_tree/tests.rs`
//! has a short run with a fixed seed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_structs::rank_tree::{RankTree, Ranked, deadline_order_key, score_order_key};

#[path = "../../crates/structs/tests/rank_model/mod.rs"]
mod model;

fuzz_target!(|input: &[u8]| model::run(input, |_| ()));
