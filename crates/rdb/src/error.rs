//! What can be wrong with a file or a payload, and where.

use std::fmt;
use std::io::ErrorKind;

/// Why reading ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Error {
    /// Bytes before the place where it was noticed.
    pub offset: u64,
    /// What it was.
    pub problem: Problem,
}

/// What was wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Problem {
    /// It does not begin as a snapshot does.
    NoSnapshot,
    /// It is of a version that nobody knows yet.
    Version(u32),
    /// It ends in the middle.
    Truncated,
    /// The system could not read.
    Io(ErrorKind),
    /// A length that is none, or one that cannot be.
    BadLength,
    /// A string in an encoding that is unknown, or that cannot be unpacked.
    BadString,
    /// A value of an unknown type.
    UnknownType(u8),
    /// A value of a module that is not here.
    Module,
    /// A packed value that contradicts itself.
    BadPacked,
    /// A number that is none, or a score that is not a number.
    BadNumber,
    /// A collection without elements.
    Empty,
    /// An element that is there twice, or is none of its collection.
    BadCollection,
    /// A stream that contradicts itself.
    BadStream,
    /// A consumer of a stream's group that is there twice.
    ConsumerTwice,
    /// The checksum is another one.
    Checksum {
        /// As it was stored.
        stored: u64,
        /// As it is.
        actual: u64,
    },
    /// A key that was there already.
    KeyTwice,
    /// Bytes behind the end of a payload.
    Trailing,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::NoSnapshot => write!(f, "the file does not begin as a snapshot"),
            Problem::Version(version) => write!(f, "a version that is not known: {version}"),
            Problem::Truncated => write!(f, "the end is missing"),
            Problem::Io(kind) => write!(f, "could not read: {kind}"),
            Problem::BadLength => write!(f, "an impossible length"),
            Problem::BadString => write!(f, "a string that cannot be unpacked"),
            Problem::UnknownType(code) => write!(f, "a value of the unknown type {code}"),
            Problem::Module => write!(f, "a value of a module"),
            Problem::BadPacked => write!(f, "a packed value that contradicts itself"),
            Problem::BadNumber => write!(f, "a number that is none"),
            Problem::Empty => write!(f, "a collection without elements"),
            Problem::BadCollection => write!(f, "an element that is there twice"),
            Problem::BadStream => write!(f, "a stream that contradicts itself"),
            Problem::ConsumerTwice => write!(f, "Duplicate stream consumer detected"),
            Problem::Checksum { stored, actual } => {
                write!(f, "CRC error: the checksum is {actual:016x} and should be {stored:016x}")
            }
            Problem::KeyTwice => write!(f, "a key that was there already"),
            Problem::Trailing => write!(f, "bytes behind the end"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: {}", self.offset, self.problem)
    }
}

impl std::error::Error for Error {}
