//! A snapshot file from the front: read as records, with values for a visitor; and written.

use crate::encode::{Forms, code_of, put_value, version_of};
use crate::error::{Error, Problem};
use crate::source::Source;
use crate::value::{Buffers, Dialect, Visitor, code, read_value};
use crate::write::{put_length, put_string};
use std::io::{self, Read, Seek, Write};
use weir_structs::crc64::crc64;
use weir_structs::entry::EntryRef;

/// The first version with a checksum at its end.
const CHECKSUM_SINCE: u32 = 5;

mod opcode {
    pub(super) const FUNCTION: u8 = 245;
    pub(super) const FUNCTION_OLD: u8 = 246;
    pub(super) const SLOT_INFO: u8 = 244;
    pub(super) const MODULE_AUX: u8 = 247;
    pub(super) const IDLE: u8 = 248;
    pub(super) const FREQUENCY: u8 = 249;
    pub(super) const AUX: u8 = 250;
    pub(super) const RESIZE: u8 = 251;
    pub(super) const EXPIRE_MS: u8 = 252;
    pub(super) const EXPIRE_S: u8 = 253;
    pub(super) const SELECT: u8 = 254;
    pub(super) const END: u8 = 255;
}

/// What a file says in front of a value besides its key.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct KeyFacts {
    /// The deadline, in Unix ms.
    pub expire_at_ms: Option<i64>,
    /// For how many seconds nobody has used it.
    pub idle_s: Option<u64>,
    /// How often it is used, as LFU counts.
    pub frequency: Option<u8>,
}

/// One record of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    /// A fact about the file or its server.
    Aux {
        /// Its name.
        name: Vec<u8>,
        /// What it says.
        value: Vec<u8>,
    },
    /// The keys that follow are of this database.
    Database(u64),
    /// How many keys the database has, and how many of them with a deadline: claims.
    Size {
        /// Keys.
        keys: u64,
        /// Keys with a deadline.
        expires: u64,
    },
    /// A library of functions: its source.
    Function(Vec<u8>),
    /// The data of a module, which was passed over.
    ModuleAux,
    /// A key; its value is next, and must be read by [`Snapshot::value`].
    Key {
        /// Its name.
        name: Vec<u8>,
        /// The type and layout of its value.
        kind: u8,
        /// What else is known.
        facts: KeyFacts,
    },
    /// The end; the checksum was right, if there is one.
    End,
}

/// Reads a snapshot.
#[derive(Debug)]
pub struct Snapshot<R> {
    source: Source<R>,
    version: u32,
    dialect: Dialect,
    buffers: Buffers,
    /// At the end: whether a checksum was there and right. `None` before, and where the version has none.
    has_checksum: Option<bool>,
}

impl<R: Read> Snapshot<R> {
    /// Begins with the header.
    ///
    /// # Errors
    /// It is no snapshot, or of a version that is not known.
    pub fn open(inner: R, with_checksum: bool) -> Result<Snapshot<R>, Error> {
        let mut source = Source::new(inner, with_checksum);
        let magic: [u8; 9] = source.array()?;
        let (dialect, digits) = match &magic {
            [b'R', b'E', b'D', b'I', b'S', digits @ ..] => (Dialect::Redis, &digits[..]),
            [b'V', b'A', b'L', b'K', b'E', b'Y', digits @ ..] => (Dialect::Valkey, &digits[..]),
            _ => return Err(source.error(Problem::NoSnapshot)),
        };
        let version = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
        let version: u32 = version.ok_or_else(|| source.error(Problem::NoSnapshot))?;
        if Dialect::of_version(version) != Some(dialect) {
            return Err(source.error(Problem::Version(version)));
        }
        Ok(Snapshot { source, version, dialect, buffers: Buffers::default(), has_checksum: None })
    }

    /// The version.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Whose layouts it has.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Behind the last record: whether a checksum was there and right. `None` where the version has none.
    pub fn has_checksum(&self) -> Option<bool> {
        self.has_checksum
    }

    /// Bytes read so far.
    pub fn offset(&self) -> u64 {
        self.source.offset()
    }

    /// An error at the place that is being read.
    pub fn error(&self, problem: Problem) -> Error {
        self.source.error(problem)
    }

    /// The next record.
    pub fn next_record(&mut self) -> Result<Record, Error> {
        let mut facts = KeyFacts::default();
        loop {
            match self.source.byte()? {
                opcode::EXPIRE_MS => facts.expire_at_ms = Some(i64::from_le_bytes(self.source.array()?)),
                opcode::EXPIRE_S => {
                    facts.expire_at_ms = Some(i64::from(i32::from_le_bytes(self.source.array()?)) * 1000);
                }
                opcode::FREQUENCY => facts.frequency = Some(self.source.byte()?),
                opcode::IDLE => facts.idle_s = Some(self.source.length()?),
                opcode::SLOT_INFO => {
                    // The slot, its keys and those with a deadline: hints for who makes tables beforehand.
                    for _ in 0..3 {
                        self.source.length()?;
                    }
                }
                opcode::AUX => return Ok(Record::Aux { name: self.string()?, value: self.string()? }),
                opcode::SELECT => return Ok(Record::Database(self.source.length()?)),
                opcode::RESIZE => {
                    return Ok(Record::Size { keys: self.source.length()?, expires: self.source.length()? });
                }
                opcode::FUNCTION => return Ok(Record::Function(self.string()?)),
                opcode::FUNCTION_OLD => return Err(self.source.error(Problem::UnknownType(opcode::FUNCTION_OLD))),
                opcode::MODULE_AUX => {
                    self.skip_module_aux()?;
                    return Ok(Record::ModuleAux);
                }
                opcode::END => {
                    self.check_end()?;
                    return Ok(Record::End);
                }
                kind => return Ok(Record::Key { name: self.string()?, kind, facts }),
            }
        }
    }

    /// Reads the value behind a [`Record::Key`].
    pub fn value(&mut self, kind: u8, visitor: &mut impl Visitor) -> Result<(), Error> {
        read_value(&mut self.source, kind, self.dialect, &mut self.buffers, visitor)
    }

    fn string(&mut self) -> Result<Vec<u8>, Error> {
        let mut string = Vec::new();
        self.source.string(&mut string)?;
        Ok(string)
    }

    fn skip_module_aux(&mut self) -> Result<(), Error> {
        // The module, and when the data would be given to it.
        self.source.length()?;
        self.source.length()?;
        self.source.length()?;
        self.source.skip_module_data()
    }

    fn check_end(&mut self) -> Result<(), Error> {
        if self.version < CHECKSUM_SINCE {
            return Ok(());
        }
        let actual = self.source.checksum();
        self.source.without_checksum();
        let stored = u64::from_le_bytes(self.source.array()?);
        match actual {
            // 0 says that none was made.
            Some(actual) if stored != 0 && actual != stored => {
                Err(self.source.error(Problem::Checksum { stored, actual }))
            }
            _ => {
                self.has_checksum = Some(actual.is_some() && stored != 0);
                Ok(())
            }
        }
    }
}

impl<R: Read + Seek> Snapshot<R> {
    /// Passes over the value that begins at an offset, after reading it has failed. There will be no checksum any more.
    ///
    /// # Errors
    /// Its end cannot be found.
    pub fn pass_over_value(&mut self, kind: u8, began: u64) -> Result<(), Error> {
        self.source.go_back(began)?;
        self.source.skip_value(kind, self.dialect)
    }
}

/// Bytes that are collected before they are written.
const WRITE_BYTES: usize = 256 * 1024;

/// Writes a snapshot file from the front.
///
/// ```text
///  magic and version | aux ... | function ... | { database, sizes, { [deadline], [access], type, key, value } ... } ... | end, checksum
/// ```
#[derive(Debug)]
pub struct SnapshotWriter<W> {
    inner: W,
    buffer: Vec<u8>,
    /// Over what was written; `None`: there will be none.
    checksum: Option<u64>,
    written: u64,
    forms: Forms,
}

impl<W: Write> SnapshotWriter<W> {
    /// Begins with the header. `expiring_fields`: the data have what only newer versions can say.
    ///
    /// # Errors
    /// Those of `inner`, here and below.
    pub fn begin(inner: W, forms: Forms, expiring_fields: bool, with_checksum: bool) -> io::Result<SnapshotWriter<W>> {
        let buffer = Vec::with_capacity(WRITE_BYTES);
        let mut writer = SnapshotWriter { inner, buffer, checksum: with_checksum.then_some(0), written: 0, forms };
        let magic = match (expiring_fields, forms.dialect) {
            (false, _) => format!("REDIS{:04}", crate::write::VERSION),
            (true, Dialect::Redis) => format!("REDIS{:04}", version_of(code::HASH_TTL, Dialect::Redis)),
            (true, Dialect::Valkey) => format!("VALKEY{:03}", version_of(code::HASH_TTL_VALKEY, Dialect::Valkey)),
        };
        writer.buffer.extend_from_slice(magic.as_bytes());
        Ok(writer)
    }

    /// A fact about the file or its server.
    pub fn aux(&mut self, name: &str, value: &[u8]) -> io::Result<()> {
        self.buffer.push(opcode::AUX);
        put_string(&mut self.buffer, name.as_bytes(), false);
        put_string(&mut self.buffer, value, false);
        self.flush_when_full()
    }

    /// The source of a library of functions.
    pub fn function(&mut self, code: &[u8]) -> io::Result<()> {
        self.buffer.push(opcode::FUNCTION);
        put_string(&mut self.buffer, code, self.forms.compress);
        self.flush_when_full()
    }

    /// The entries that follow are of this database, which has so many keys, so many of them with a deadline.
    pub fn database(&mut self, index: u64, keys: u64, expires: u64) -> io::Result<()> {
        self.buffer.push(opcode::SELECT);
        put_length(&mut self.buffer, index);
        self.buffer.push(opcode::RESIZE);
        put_length(&mut self.buffer, keys);
        put_length(&mut self.buffer, expires);
        self.flush_when_full()
    }

    /// An entry, and what is known of its last use.
    pub fn entry(&mut self, entry: EntryRef<'_>, idle_s: Option<u64>, frequency: Option<u8>) -> io::Result<()> {
        let to = &mut self.buffer;
        if let Some(at) = entry.expire_at() {
            to.push(opcode::EXPIRE_MS);
            to.extend_from_slice(&at.to_le_bytes());
        }
        if let Some(idle_s) = idle_s {
            to.push(opcode::IDLE);
            put_length(to, idle_s);
        }
        if let Some(frequency) = frequency {
            to.extend_from_slice(&[opcode::FREQUENCY, frequency]);
        }
        to.push(code_of(entry, self.forms));
        put_string(to, entry.key(), self.forms.compress);
        put_value(to, entry, self.forms);
        self.flush_when_full()
    }

    /// Writes the end, and gives back what was written to, with the number of bytes.
    pub fn end(mut self) -> io::Result<(W, u64)> {
        self.buffer.push(opcode::END);
        self.sum_up();
        // 0 says that none was made.
        let checksum = self.checksum.take().unwrap_or(0);
        self.buffer.extend_from_slice(&checksum.to_le_bytes());
        self.flush()?;
        self.inner.flush()?;
        Ok((self.inner, self.written))
    }

    fn sum_up(&mut self) {
        if let Some(checksum) = &mut self.checksum {
            *checksum = crc64(*checksum, &self.buffer);
        }
    }

    fn flush_when_full(&mut self) -> io::Result<()> {
        if self.buffer.len() < WRITE_BYTES {
            return Ok(());
        }
        self.sum_up();
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.write_all(&self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        // A long value must not keep its room for the rest of the file.
        self.buffer.shrink_to(WRITE_BYTES * 2);
        Ok(())
    }
}
