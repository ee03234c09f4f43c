//! A set of integers in bytes does what an ordered set of the standard library does, whatever is added and removed; and no
//! bytes at all can make it panic. The input's first byte says which of the two it is for.

#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use weir_structs::intset::{self, Edit, IntSet};

fuzz_target!(|input: &[u8]| {
    let Some((kind, rest)) = input.split_first() else { return };
    if kind & 1 == 0 { agrees_with_an_ordered_set(rest) } else { takes_any_bytes(rest) }
});

/// One step is a byte for what to do and how wide the number is, and eight for the number.
fn agrees_with_an_ordered_set(steps: &[u8]) {
    let (mut bytes, mut model) = (Vec::new(), BTreeSet::new());
    for step in steps.as_chunks::<9>().0 {
        let [what, number @ ..] = *step;
        let number = i64::from_le_bytes(number) >> (what >> 2);
        match what & 3 {
            0 | 1 => {
                let edit = intset::insert(&bytes, number);
                assert_eq!(edit.is_some(), model.insert(number));
                apply(&mut bytes, edit);
            }
            2 => {
                let edit = intset::remove(&bytes, number);
                assert_eq!(edit.is_some(), model.remove(&number));
                apply(&mut bytes, edit);
            }
            _ => {
                let mut numbers = [number, number.wrapping_add(1), number / 2];
                numbers.sort_unstable();
                bytes = intset::union(&bytes, &numbers);
                model.extend(numbers);
            }
        }
        let set = IntSet::of(&bytes);
        assert_eq!(set.contains(number), model.contains(&number));
        assert_eq!(intset::is_valid(&bytes), !model.is_empty());
        assert!(set.iter().eq(model.iter().copied()));
    }
}

fn takes_any_bytes(input: &[u8]) {
    let Some((number, bytes)) = input.split_first_chunk::<8>() else { return };
    let number = i64::from_le_bytes(*number);
    let set = IntSet::of(bytes);
    let _ = (set.contains(number), set.first(), set.last(), set.iter().count(), intset::union(bytes, &[number]));
    for edit in [
        intset::insert(bytes, number),
        intset::remove(bytes, number),
        intset::remove_at(bytes, number.unsigned_abs() as usize),
    ] {
        apply(&mut bytes.to_vec(), edit);
    }
    if intset::is_valid(bytes) {
        let numbers: Vec<i64> = set.iter().collect();
        assert!(IntSet::of(&intset::from_ascending(&numbers)).iter().eq(set.iter()));
    }
}

fn apply(bytes: &mut Vec<u8>, edit: Option<Edit>) {
    if let Some(edit) = edit {
        bytes.splice(edit.at..edit.at + edit.removed, edit.inserted().iter().copied());
    }
}
