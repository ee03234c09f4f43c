//! Kernels on bits beside looking at every single one: counting, searching, combining, fields.
//!
//! The input: an operation, two ends of a range, a field, then strings, each with its length in front.

#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_structs::bits::{self, BitOp};

const OPERATIONS: [BitOp; 8] =
    [BitOp::And, BitOp::Or, BitOp::Xor, BitOp::Not, BitOp::Diff, BitOp::Diff1, BitOp::AndOr, BitOp::One];

fuzz_target!(|input: &[u8]| {
    let Some((&[op, from, from_high, to, to_high, width], mut rest)) = input.split_first_chunk() else { return };
    let mut strings = Vec::new();
    while let Some((&len, after)) = rest.split_first() {
        let (string, after) = after.split_at((usize::from(len) * 8).min(after.len()));
        strings.push(string);
        rest = after;
    }
    let Some(&first) = strings.first() else { return };
    let (from, to) = (u64::from(u16::from_le_bytes([from, from_high])), u64::from(u16::from_le_bytes([to, to_high])));
    let end = to.min(first.len() as u64 * 8);
    assert_eq!(bits::count_ones_in(first, from..to), (from..end).filter(|at| bit(first, *at)).count() as u64);
    for value in [false, true] {
        assert_eq!(bits::find_bit(first, value, from..to), (from..end).find(|at| bit(first, *at) == value));
    }

    let width = u32::from(width % 64) + 1;
    let value = (from..from + u64::from(width)).fold(0, |value, at| value << 1 | u64::from(bit(first, at)));
    assert_eq!(bits::field(first, from, width), value);
    let stored = bits::field_bytes(first, from, width, !value);
    let mut changed = first.to_vec();
    changed.resize(changed.len().max(stored.at + stored.bytes().len()), 0);
    changed[stored.at..stored.at + stored.bytes().len()].copy_from_slice(stored.bytes());
    assert_eq!(bits::field(&changed, from, width), !value & (u64::MAX >> (64 - width)));

    let op = OPERATIONS[usize::from(op) % OPERATIONS.len()];
    let strings = if op == BitOp::Not { &strings[..1] } else { &strings[..] };
    let result = bits::combine(op, strings);
    assert_eq!(result.len(), strings.iter().map(|string| string.len()).max().unwrap_or(0));
    for at in 0..result.len() as u64 * 8 {
        let set = strings.iter().filter(|string| bit(string, at)).count();
        let in_first = bit(first, at);
        let others = set - usize::from(in_first);
        let expected = match op {
            BitOp::And => set == strings.len(),
            BitOp::Or => set > 0,
            BitOp::Xor => set % 2 == 1,
            BitOp::Not => !in_first,
            BitOp::Diff => in_first && others == 0,
            BitOp::Diff1 => !in_first && others > 0,
            BitOp::AndOr => in_first && others > 0,
            BitOp::One => set == 1,
        };
        assert_eq!(bit(&result, at), expected);
    }
});

fn bit(bytes: &[u8], at: u64) -> bool {
    bytes.get((at / 8) as usize).is_some_and(|byte| byte & (0x80 >> (at % 8)) != 0)
}
