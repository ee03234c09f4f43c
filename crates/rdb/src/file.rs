//! A snapshot file from the front, read as records, with values for a visitor.

use crate::error::{Error, Problem};
use crate::source::Source;
use crate::value::{Buffers, Dialect, Visitor, read_value};
use std::io::{Read, Seek};

/// The first version with a checksum at its end.
const CHECKSUM_SINCE: u32 = 5;

/// What a record begins with if it is no key.
pub(crate) mod opcode {
    pub(crate) const FUNCTION: u8 = 245;
    pub(crate) const FUNCTION_OLD: u8 = 246;
    /// Of Redis.
    pub(crate) const KEY_META: u8 = 243;
    /// Of Valkey.
    pub(crate) const SLOT_IMPORT: u8 = 243;
    pub(crate) const SLOT_INFO: u8 = 244;
    pub(crate) const MODULE_AUX: u8 = 247;
    pub(crate) const IDLE: u8 = 248;
    pub(crate) const FREQUENCY: u8 = 249;
    pub(crate) const AUX: u8 = 250;
    pub(crate) const RESIZE: u8 = 251;
    pub(crate) const EXPIRE_MS: u8 = 252;
    pub(crate) const EXPIRE_S: u8 = 253;
    pub(crate) const SELECT: u8 = 254;
    pub(crate) const END: u8 = 255;
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
    /// Only the checksum is left.
    is_ending: bool,
    /// At the end: whether a checksum was there and right. `None` before, and where the version has none.
    has_checksum: Option<bool>,
}

impl<R: Read> Snapshot<R> {
    /// Begins with the header.
    ///
    /// # Errors
    /// It is no snapshot, or of a version that is not known.
    pub fn open(inner: R, with_checksum: bool) -> Result<Snapshot<R>, Error> {
        Snapshot::open_as(inner, with_checksum, false)
    }

    /// The same; `any_version`: one that is too new is read as the newest that is known.
    ///
    /// # Errors
    /// As before.
    pub fn open_as(inner: R, with_checksum: bool, any_version: bool) -> Result<Snapshot<R>, Error> {
        let mut source = Source::new(inner, with_checksum);
        let magic: [u8; 9] = source.array()?;
        let (dialect, digits) = match &magic {
            [b'R', b'E', b'D', b'I', b'S', digits @ ..] => (Dialect::Redis, &digits[..]),
            [b'V', b'A', b'L', b'K', b'E', b'Y', digits @ ..] => (Dialect::Valkey, &digits[..]),
            _ => return Err(source.error(Problem::NoSnapshot)),
        };
        let version = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
        let version: u32 = version.ok_or_else(|| source.error(Problem::NoSnapshot))?;
        let is_known = Dialect::of_version(version) == Some(dialect);
        if !(is_known || any_version && version > 0) {
            return Err(source.error(Problem::Version(version)));
        }
        Ok(Snapshot { source, version, dialect, buffers: Buffers::default(), is_ending: false, has_checksum: None })
    }

    /// The version.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Says how many bytes there are, so that room for large values can be made beforehand.
    pub fn set_length(&mut self, length: u64) {
        self.source.set_length(length);
    }

    /// Whose layouts it has.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Behind the last record: whether a checksum was there and right. `None` where the version has none.
    pub fn has_checksum(&self) -> Option<bool> {
        self.has_checksum
    }

    /// Whether all records were read, so that what goes wrong is the checksum.
    pub fn is_ending(&self) -> bool {
        self.is_ending
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
                opcode::SLOT_IMPORT if self.dialect == Dialect::Valkey => {
                    // Slots that were on their way to a node of a cluster: the name of the transfer, and ranges of slots.
                    self.string()?;
                    for _ in 0..self.source.length()? {
                        self.source.length()?;
                        self.source.length()?;
                    }
                }
                opcode::KEY_META => {
                    // What modules have to say of the key, each behind its number.
                    for _ in 0..self.source.length()? {
                        self.source.array::<4>()?;
                        self.source.skip_module_data()?;
                    }
                }
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
                    self.is_ending = true;
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

    /// Reads the value behind a [`Record::Key`] that is a string, and adds it to `to`.
    pub fn string_value(&mut self, to: &mut Vec<u8>) -> Result<(), Error> {
        self.source.add_string(to)
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
