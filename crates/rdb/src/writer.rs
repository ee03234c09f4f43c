//! A snapshot file, put together: what there is around values, as drafts; and the end of the way, where drafts become bytes of
//! a file.
//!
//! ```text
//!  magic and version | aux ... | function ... | { database, sizes, { [deadline], [access], type, key, value } ... } ... | end, checksum
//! ```

use crate::encode::{Needs, code_of, code_of_frozen, put_frozen_head, put_value_with};
use crate::file::{KeyFacts, opcode};
use crate::value::Dialect;
use crate::write::{Compress, Draft, VERSION};
use std::io::{self, Write};
use weir_structs::crc64::crc64;
use weir_structs::entry::EntryRef;
use weir_structs::frozen::FrozenHead;
use weir_structs::lzf::Compressor;
use weir_structs::queue::{Parcel, SharedAs};

/// Adds the header. `needs`: what the data have that only newer versions can say.
pub fn put_header(to: &mut Draft, needs: Needs, dialect: Dialect) {
    let version = needs.version(dialect);
    let magic = match dialect {
        Dialect::Valkey if version > VERSION => format!("VALKEY{version:03}"),
        _ => format!("REDIS{version:04}"),
    };
    to.bytes(magic.as_bytes());
}

/// Adds a fact about the file or its server.
pub fn put_aux(to: &mut Draft, name: &str, value: &[u8]) {
    to.byte(opcode::AUX);
    to.string(name.as_bytes());
    to.string(value);
}

/// Adds the source of a library of functions.
pub fn put_function(to: &mut Draft, source: &[u8]) {
    to.byte(opcode::FUNCTION);
    to.string(source);
}

/// The entries that follow are of this database.
pub fn put_database(to: &mut Draft, index: u64) {
    to.byte(opcode::SELECT);
    to.length(index);
}

/// The database has about so many keys, so many of them with a deadline.
pub fn put_sizes(to: &mut Draft, keys: u64, expires: u64) {
    to.byte(opcode::RESIZE);
    to.length(keys);
    to.length(expires);
}

/// Adds what comes before a key's type: its deadline, and what is known of its last use.
pub fn put_facts(to: &mut Draft, facts: KeyFacts) {
    if let Some(at) = facts.expire_at_ms {
        to.byte(opcode::EXPIRE_MS);
        to.bytes(&at.to_le_bytes());
    }
    if let Some(idle_s) = facts.idle_s {
        to.byte(opcode::IDLE);
        to.length(idle_s);
    }
    if let Some(frequency) = facts.frequency {
        to.bytes(&[opcode::FREQUENCY, frequency]);
    }
}

/// Adds an entry; its deadline is in `facts`.
pub fn put_entry(to: &mut Draft, entry: EntryRef<'_>, facts: KeyFacts, dialect: Dialect) {
    put_entry_with(to, entry, facts, dialect, &mut |_| SharedAs::InFull);
}

/// [`put_entry`] where `share` says how parcels are written that several queues have.
pub fn put_entry_with(
    to: &mut Draft,
    entry: EntryRef<'_>,
    facts: KeyFacts,
    dialect: Dialect,
    share: &mut dyn FnMut(&Parcel) -> SharedAs,
) {
    put_facts(to, facts);
    to.byte(code_of(entry, dialect));
    to.string(entry.key());
    put_value_with(to, entry, dialect, share);
}

/// Adds what comes before the parts of a big collection.
pub fn put_big_head(to: &mut Draft, name: &[u8], facts: KeyFacts, head: FrozenHead, dialect: Dialect) {
    put_facts(to, facts);
    to.byte(code_of_frozen(head, dialect));
    to.string(name);
    put_frozen_head(to, head, dialect);
}

/// Bytes that are collected before they are written.
const WRITE_BYTES: usize = 256 * 1024;

/// Writes drafts to a file, one after the other: compresses what is to be compressed, and computes the checksum.
#[derive(Debug)]
pub struct SnapshotWriter<W> {
    sink: Sink<W>,
    compressor: Compressor,
}

/// Where bytes go in their last form.
#[derive(Debug)]
struct Sink<W> {
    inner: W,
    buffer: Vec<u8>,
    /// Over what was written; `None`: there will be none.
    checksum: Option<u64>,
    written: u64,
}

impl<W: Write> SnapshotWriter<W> {
    /// Nothing is written yet.
    pub fn new(inner: W, with_checksum: bool) -> SnapshotWriter<W> {
        let buffer = Vec::with_capacity(WRITE_BYTES);
        let sink = Sink { inner, buffer, checksum: with_checksum.then_some(0), written: 0 };
        SnapshotWriter { sink, compressor: Compressor::new() }
    }

    /// Bytes that have gone into the file.
    pub fn written(&self) -> u64 {
        self.sink.written
    }

    /// Writes what is in a draft.
    ///
    /// # Errors
    /// Those of the file.
    pub fn write(&mut self, draft: &Draft) -> io::Result<()> {
        let mut result = Ok(());
        draft.finish(&mut self.compressor, &mut |piece| {
            if result.is_ok() {
                result = self.sink.take(piece);
            }
        });
        result
    }

    /// Writes what `fill` puts into a draft.
    ///
    /// # Errors
    /// Those of the file.
    pub fn put(&mut self, fill: impl FnOnce(&mut Draft)) -> io::Result<()> {
        let mut draft = Draft::new(Compress::AtTheEnd);
        fill(&mut draft);
        self.write(&draft)
    }

    /// Writes the end of the snapshot, and gives back what was written to, with the number of bytes.
    ///
    /// # Errors
    /// Those of the file.
    pub fn end(self) -> io::Result<(W, u64)> {
        let mut sink = self.sink;
        sink.take(&[opcode::END])?;
        sink.flush()?;
        // 0 says that none was made.
        let checksum = sink.checksum.take().unwrap_or(0);
        sink.put(&checksum.to_le_bytes())?;
        sink.inner.flush()?;
        Ok((sink.inner, sink.written))
    }
}

impl<W: Write> Sink<W> {
    fn take(&mut self, piece: &[u8]) -> io::Result<()> {
        if self.buffer.len() + piece.len() > WRITE_BYTES {
            self.flush()?;
        }
        if piece.len() < WRITE_BYTES {
            self.buffer.extend_from_slice(piece);
            return Ok(());
        }
        self.put(piece)
    }

    fn flush(&mut self) -> io::Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        self.put(&buffer)?;
        self.buffer = buffer;
        self.buffer.clear();
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(checksum) = &mut self.checksum {
            *checksum = crc64(*checksum, bytes);
        }
        self.inner.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }
}
