//! Writing a snapshot in one go.

use crate::disk::{DataFile, RealDisk, folder_of, replace_file};
use crate::store::{AccessPolicy, Store};
use std::io;
use std::path::{Path, PathBuf};
use weir_rdb::SnapshotWriter;
use weir_rdb::encode::Forms;

/// What a snapshot says of the server that wrote it, and how it is to be written.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The version of Redis that it is like.
    pub redis_version: &'static str,
    /// Unix time in seconds.
    pub now_s: i64,
    /// Bytes in use.
    pub used_memory: usize,
    /// How values are written.
    pub forms: Forms,
    /// Whether a checksum is written at the end.
    pub with_checksum: bool,
    /// Whether it is noted how long ago, or how often, keys were used.
    pub with_access: bool,
    /// The sources of the libraries of functions.
    pub functions: &'a [&'a [u8]],
}

/// Writes everything that `store` has to the file at `path`. Returns how many bytes that took. O(all of it).
///
/// # Errors
/// Those of the file system; the file of before is then intact.
pub fn save(path: &Path, store: &Store, origin: Origin<'_>) -> io::Result<u64> {
    replace_file(&RealDisk, path, &temporary_beside(path), |file| write(file, store, origin))
}

fn write(file: &mut dyn DataFile, store: &Store, origin: Origin<'_>) -> io::Result<u64> {
    let databases = 0..store.databases();
    let expiring_fields = databases.clone().any(|index| store.figures(index).with_volatile_fields > 0);
    let mut writer = SnapshotWriter::begin(file, origin.forms, expiring_fields, origin.with_checksum)?;
    writer.aux("redis-ver", origin.redis_version.as_bytes())?;
    writer.aux("redis-bits", usize::BITS.to_string().as_bytes())?;
    writer.aux("ctime", origin.now_s.to_string().as_bytes())?;
    writer.aux("used-mem", origin.used_memory.to_string().as_bytes())?;
    writer.aux("aof-base", b"0")?;
    for function in origin.functions {
        writer.function(function)?;
    }
    let access = store.access();
    let (is_lfu, with_access) = (matches!(access.policy(), AccessPolicy::Lfu { .. }), origin.with_access);
    for index in databases {
        let figures = store.figures(index);
        if figures.keys == 0 {
            continue;
        }
        writer.database(index as u64, figures.keys as u64, figures.expires as u64)?;
        for entry in store.entries(index) {
            let idle_s = (with_access && !is_lfu).then(|| access.idle_s(entry.clock()));
            let frequency = (with_access && is_lfu).then(|| access.frequency(entry.clock()));
            writer.entry(entry, idle_s, frequency)?;
        }
    }
    let (_, bytes) = writer.end()?;
    Ok(bytes)
}

/// A name beside `path` that no other process uses.
fn temporary_beside(path: &Path) -> PathBuf {
    folder_of(path).join(format!("temp-{}.rdb", std::process::id()))
}
