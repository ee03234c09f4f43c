//! The generator behind `math.random`: 48 bits, linear, the one that Redis has, so that a script that seeds it gets the
//! numbers that it gets there.

const FACTOR: u64 = 0x5_DEEC_E66D;
const ADDEND: u64 = 0xB;
const MASK: u64 = (1 << 48) - 1;
/// One more than the largest number that is made of a state.
const RANGE: u32 = i32::MAX as u32;

/// The state of a generator that was given a seed.
pub(super) fn seeded(seed: i32) -> u64 {
    (u64::from(seed as u32) << 16) | 0x330E
}

/// The state after one.
pub(super) fn next(state: u64) -> u64 {
    state.wrapping_mul(FACTOR).wrapping_add(ADDEND) & MASK
}

/// A state that has nothing to do with one, for the next script.
pub(super) fn fresh(state: u64) -> u64 {
    let mixed = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (mixed ^ mixed >> 27) & MASK
}

/// The number, from 0 up to 1, that a state stands for.
pub(super) fn unit(state: u64) -> f64 {
    f64::from((state >> 17) as u32 % RANGE) / f64::from(RANGE)
}
