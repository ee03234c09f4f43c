//! Payloads: what DUMP answers and RESTORE takes.
//!
//! ```text
//!  type: 1 byte | value | version: u16 LE | checksum of all before it: u64 LE
//! ```

use crate::encode::{Forms, code_of, put_value, version_of};
use crate::error::Problem;
use crate::source::Source;
use crate::value::{Buffers, Dialect, Visitor, read_value};
use crate::write::{Compress, Draft};
use weir_structs::crc64::crc64;
use weir_structs::entry::EntryRef;

/// Bytes behind the value.
const FOOT_BYTES: usize = 10;

/// The payload of an entry's value. O(its size).
pub fn dump(entry: EntryRef<'_>, forms: Forms) -> Vec<u8> {
    let code = code_of(entry, forms.dialect);
    let mut draft = Draft::new(if forms.compress { Compress::Now } else { Compress::Never });
    draft.byte(code);
    put_value(&mut draft, entry, forms.dialect);
    let mut bytes = draft.into_bytes();
    bytes.extend_from_slice(&version_of(code, forms.dialect).to_le_bytes());
    let checksum = crc64(0, &bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

/// What of a payload's foot is believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trust {
    /// The checksum must be right and the version known.
    Strict,
    /// A newer version is read as the newest that is known.
    AnyVersion,
    /// The checksum is not looked at; made for tests.
    NoChecksum,
}

/// The type and value in a payload, if its version is known and its checksum right, and whose form they have.
pub fn open(payload: &[u8], trust: Trust) -> Option<(Dialect, &[u8])> {
    let (value, foot) = payload.split_at_checked(payload.len().checked_sub(FOOT_BYTES)?)?;
    let (version, checksum) = foot.split_first_chunk()?;
    let number = u32::from(u16::from_le_bytes(*version));
    let dialect = match trust {
        Trust::AnyVersion => Dialect::nearest(number),
        Trust::Strict | Trust::NoChecksum => Dialect::of_version(number)?,
    };
    let stored = u64::from_le_bytes(*checksum.first_chunk()?);
    let is_right = trust == Trust::NoChecksum || stored == crc64(crc64(0, value), version);
    is_right.then_some((dialect, value))
}

/// Reads what [`open`] gave.
///
/// # Errors
/// It is no value, or not all of it is one.
pub fn read(dialect: Dialect, value: &[u8], visitor: &mut impl Visitor) -> Result<(), Problem> {
    let mut source = Source::new(value, false);
    let mut read = || {
        let code = source.byte()?;
        read_value(&mut source, code, dialect, &mut Buffers::default(), visitor)?;
        if source.is_at_end()? { Ok(()) } else { Err(source.error(Problem::Trailing)) }
    };
    read().map_err(|error: crate::Error| error.problem)
}
