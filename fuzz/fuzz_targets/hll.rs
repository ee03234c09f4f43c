//! HyperLogLogs: any bytes are looked at, changed and merged without a panic, and additions beside plain registers.
//!
//! The first byte of the input chooses: the rest are the bytes of a HyperLogLog, or those behind a right header, or
//! places to be added under a limit of the sparse form.

#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_structs::hll::{Hll, HllBuf, Place, REGISTERS, Registers};

fuzz_target!(|input: &[u8]| {
    let Some((&[what, limit], rest)) = input.split_first_chunk() else { return };
    let sparse_max = u64::from(limit) * 16;
    match what % 3 {
        0 => look_and_change(rest, sparse_max),
        1 => look_and_change(&[b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80", rest].concat(), sparse_max),
        _ => beside_registers(rest, sparse_max),
    }
});

fn look_and_change(bytes: &[u8], sparse_max: u64) {
    let Ok(hll) = Hll::of(bytes) else { return };
    let mut registers = Registers::new();
    let merged = hll.merge_into(&mut registers);
    assert_eq!(merged.is_err(), hll.count().is_err());
    hll.stored_count();
    hll.runs_text();
    let mut changed = HllBuf::copy_of(hll);
    for at in 0..40_u8 {
        let _ = changed.add(Place::of(&[at]), sparse_max);
    }
    let _ = changed.raise_all(&registers, sparse_max);
    if merged.is_ok() {
        assert!(changed.as_hll().count().is_ok());
        assert!(changed.make_dense().is_ok());
    }
}

fn beside_registers(places: &[u8], sparse_max: u64) {
    let (mut hll, mut model) = (HllBuf::new(), vec![0; REGISTERS]);
    for &[a, b, rank] in places.as_chunks::<3>().0 {
        let register = usize::from(u16::from_le_bytes([a, b])) % REGISTERS;
        let place = Place { register, rank: rank % 51 + 1 };
        assert_eq!(hll.add(place, sparse_max), Ok(place.rank > model[register]));
        model[register] = place.rank.max(model[register]);
    }
    let mut registers = Registers::new();
    assert!(hll.as_hll().merge_into(&mut registers).is_ok());
    assert_eq!(registers.values(), model);
    assert_eq!(hll.as_hll().count(), Ok(registers.count()));
}
