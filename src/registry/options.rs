//! Settings of a store.

use crate::command::args::is;
use crate::command::error::Error;
use weir_structs::number::parse_u64;
use weir_structs::tree::TreeOptions;

/// A value of a path is never longer, in bytes.
const VALUE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// No transaction has more operations.
const OPERATIONS_MAX: u64 = 100_000;
/// A history is never longer, in revisions.
const HISTORY_MAX: u64 = 100_000_000;
/// A hundred years.
const HISTORY_MS_MAX: u64 = 100 * 366 * 86_400_000;
/// Releases of a namespace are never more.
const RELEASES_MAX: u64 = 1_000_000;

/// Names of all settings and their values, as CFG.INFO shows them and CFG.SET takes them.
pub fn options(of: &TreeOptions) -> [(&'static str, String); 6] {
    [
        ("history", of.history_max.to_string()),
        ("history-ms", of.history_ms.to_string()),
        ("value-max", of.value_max.to_string()),
        ("txn-max", of.txn_max.to_string()),
        ("releases", of.releases_max.to_string()),
        ("durable", if of.durable { "yes" } else { "no" }.to_owned()),
    ]
}

/// Changes a setting.
///
/// # Errors
/// There is none of that name, or it does not take that value.
pub(super) fn set_option(of: &mut TreeOptions, name: &[u8], value: &[u8]) -> Result<(), Error> {
    let number = |min: u64, max: u64| {
        let number = parse_u64(value).filter(|number| (min..=max).contains(number));
        number.ok_or_else(|| Error::cfg_limit(&format!("this setting must be between {min} and {max}")))
    };
    if is(name, "HISTORY") {
        of.history_max = number(1, HISTORY_MAX)?;
    } else if is(name, "HISTORY-MS") {
        of.history_ms = number(0, HISTORY_MS_MAX)?;
    } else if is(name, "VALUE-MAX") {
        of.value_max = number(1, VALUE_BYTES_MAX)?;
    } else if is(name, "TXN-MAX") {
        of.txn_max = u32::try_from(number(1, OPERATIONS_MAX)?).unwrap_or(u32::MAX);
    } else if is(name, "RELEASES") {
        of.releases_max = u32::try_from(number(1, RELEASES_MAX)?).unwrap_or(u32::MAX);
    } else if is(name, "DURABLE") {
        of.durable = match value.to_ascii_lowercase().as_slice() {
            b"yes" => true,
            b"no" => false,
            _ => return Err(Error::cfg_limit("durable must be yes or no")),
        };
    } else {
        return Err(Error::cfg_limit("unknown setting of a store"));
    }
    Ok(())
}
