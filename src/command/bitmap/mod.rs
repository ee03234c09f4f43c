//! Commands on the bits of strings: single bits, counts and searches, combinations of strings, and integers of odd widths.
//!
//! Bit 0 is the highest bit of the first byte. The loops over bits are `weir_structs::bits`.

pub mod bitfield;
pub mod bits;

use super::{Cx, Error};
use weir_resp::BATCH_BYTES_MAX;

/// How many bytes a string may grow to by writing bits.
fn string_bytes_max(cx: &Cx<'_>) -> u64 {
    cx.config.proto_max_bulk_len.min(BATCH_BYTES_MAX as u64)
}

/// A bit offset, which lies within the longest string there may be. Where `field_bits` is given, `#n` is the beginning of
/// the `n`th field of so many bits.
fn bit_offset(cx: &Cx<'_>, arg: &[u8], field_bits: Option<u32>) -> Result<u64, Error> {
    let (digits, unit) = match (arg, field_bits) {
        ([b'#', digits @ ..], Some(bits)) => (digits, u64::from(bits)),
        _ => (arg, 1),
    };
    let number = super::args::int(digits).ok().and_then(|number| u64::try_from(number).ok());
    let offset = number.and_then(|number| number.checked_mul(unit));
    offset.filter(|offset| offset / 8 < string_bytes_max(cx)).ok_or(Error::BIT_OFFSET)
}
