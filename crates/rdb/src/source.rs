//! Bytes that come in: from a file, piece by piece, or from a payload that is all there.
//!
//! Lengths are claims. Whatever reads many bytes does so in pieces of at most [`PIECE_BYTES`], so that a claimed length
//! allocates no more than that beyond what really came.

use crate::error::{Error, Problem};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use weir_structs::crc64::crc64;
use weir_structs::lzf;
use weir_structs::number::format_i64;

/// Bytes that are asked for at once.
const PIECE_BYTES: usize = 1 << 20;
/// The buffer between a file and its reader.
const BUFFER_BYTES: usize = 1 << 18;

/// Reads numbers, lengths and strings, and knows how far it is.
#[derive(Debug)]
pub struct Source<R> {
    inner: R,
    buffer: Vec<u8>,
    /// What of the buffer has been taken.
    taken: usize,
    /// Bytes of the stream before the buffer.
    before: u64,
    /// Over everything before the buffer, and over so much of the buffer.
    checksum: Option<u64>,
    summed: usize,
    /// Bytes of all of it; 0 if that is not known.
    length: u64,
}

impl<R: Read> Source<R> {
    /// Begins to read. The checksum is worked out along the way if it is wanted.
    pub fn new(inner: R, with_checksum: bool) -> Source<R> {
        Source {
            inner,
            buffer: Vec::new(),
            taken: 0,
            before: 0,
            checksum: with_checksum.then_some(0),
            summed: 0,
            length: 0,
        }
    }

    /// Says how many bytes there are.
    pub(crate) fn set_length(&mut self, length: u64) {
        self.length = length;
    }

    /// How many things of at least `bytes` bytes each may follow, of so many that are claimed.
    pub(crate) fn believable(&self, claimed: usize, bytes: u64) -> usize {
        let most = self.length.saturating_sub(self.offset()) / bytes;
        claimed.min(usize::try_from(most).unwrap_or(usize::MAX))
    }

    /// Bytes read so far.
    #[inline]
    pub fn offset(&self) -> u64 {
        self.before + self.taken as u64
    }

    /// The checksum over all bytes read so far; `None` if it was not wanted.
    pub fn checksum(&mut self) -> Option<u64> {
        self.sum_up();
        self.checksum
    }

    /// Works out no checksum any more.
    pub fn without_checksum(&mut self) {
        self.checksum = None;
    }

    fn sum_up(&mut self) {
        if let Some(checksum) = &mut self.checksum {
            *checksum = crc64(*checksum, &self.buffer[self.summed..self.taken]);
            self.summed = self.taken;
        }
    }

    /// An error at the place that is being read.
    pub fn error(&self, problem: Problem) -> Error {
        Error { offset: self.offset(), problem }
    }

    /// Sees to it that `wanted` bytes, at most [`PIECE_BYTES`], are in the buffer behind what was taken.
    #[inline]
    fn need(&mut self, wanted: usize) -> Result<(), Error> {
        if self.buffer.len() - self.taken >= wanted { Ok(()) } else { self.fetch(wanted) }
    }

    #[cold]
    fn fetch(&mut self, wanted: usize) -> Result<(), Error> {
        self.sum_up();
        self.buffer.drain(..self.taken);
        self.before += self.taken as u64;
        (self.taken, self.summed) = (0, 0);
        while self.buffer.len() < wanted {
            let have = self.buffer.len();
            self.buffer.resize(wanted.max(BUFFER_BYTES).max(have), 0);
            let got = self.inner.read(&mut self.buffer[have..]);
            self.buffer.truncate(have + *got.as_ref().unwrap_or(&0));
            match got {
                Ok(0) => return Err(Error { offset: self.before + have as u64, problem: Problem::Truncated }),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.error(Problem::Io(error.kind()))),
            }
        }
        Ok(())
    }

    /// Whether nothing follows.
    pub fn is_at_end(&mut self) -> Result<bool, Error> {
        match self.need(1) {
            Ok(()) => Ok(false),
            Err(Error { problem: Problem::Truncated, .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// The next byte.
    #[inline]
    pub fn byte(&mut self) -> Result<u8, Error> {
        self.need(1)?;
        let byte = self.buffer[self.taken];
        self.taken += 1;
        Ok(byte)
    }

    /// The next bytes, a few.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        const { assert!(N <= PIECE_BYTES) };
        self.need(N)?;
        let mut array = [0; N];
        array.copy_from_slice(&self.buffer[self.taken..self.taken + N]);
        self.taken += N;
        Ok(array)
    }

    /// Puts the next `len` bytes into `to`, which is emptied first.
    pub fn bytes(&mut self, len: u64, to: &mut Vec<u8>) -> Result<(), Error> {
        to.clear();
        self.add_bytes(len, to)
    }

    /// Adds the next `len` bytes to `to`.
    #[inline]
    fn add_bytes(&mut self, len: u64, to: &mut Vec<u8>) -> Result<(), Error> {
        let mut left = len;
        while left > 0 {
            // What is there is taken first, so that a long string goes through the buffer in large pieces.
            let piece = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE_BYTES);
            self.need(piece.min(BUFFER_BYTES))?;
            let here = piece.min(self.buffer.len() - self.taken);
            to.extend_from_slice(&self.buffer[self.taken..self.taken + here]);
            self.taken += here;
            left -= here as u64;
        }
        Ok(())
    }

    /// Passes over `len` bytes.
    pub fn skip(&mut self, len: u64) -> Result<(), Error> {
        let mut left = len;
        while left > 0 {
            let piece = usize::try_from(left).unwrap_or(usize::MAX).min(BUFFER_BYTES);
            self.need(1)?;
            let here = piece.min(self.buffer.len() - self.taken);
            self.taken += here;
            left -= here as u64;
        }
        Ok(())
    }

    /// A length. What says how a string is encoded is none.
    pub fn length(&mut self) -> Result<u64, Error> {
        match self.length_or_encoding()? {
            Length::Of(length) => Ok(length),
            Length::Encoding(_) => Err(self.error(Problem::BadLength)),
        }
    }

    /// A length that counts things of at least one byte each, so that it fits the address space.
    pub fn count(&mut self) -> Result<usize, Error> {
        let length = self.length()?;
        usize::try_from(length).map_err(|_| self.error(Problem::BadLength))
    }

    pub(crate) fn length_or_encoding(&mut self) -> Result<Length, Error> {
        let first = self.byte()?;
        Ok(match first >> 6 {
            0 => Length::Of(u64::from(first)),
            1 => Length::Of(u64::from(u16::from_be_bytes([first & 0x3f, self.byte()?]))),
            3 => Length::Encoding(first & 0x3f),
            _ => match first {
                0x80 => Length::Of(u64::from(u32::from_be_bytes(self.array()?))),
                0x81 => Length::Of(u64::from_be_bytes(self.array()?)),
                _ => return Err(self.error(Problem::BadLength)),
            },
        })
    }

    /// A string, into `to`, which is emptied first. One that was stored as an integer comes as its text.
    pub fn string(&mut self, to: &mut Vec<u8>) -> Result<(), Error> {
        to.clear();
        self.add_string(to)
    }

    /// Adds a string to `to`.
    #[inline]
    pub fn add_string(&mut self, to: &mut Vec<u8>) -> Result<(), Error> {
        match self.length_or_encoding()? {
            Length::Of(length) => self.add_bytes(length, to),
            Length::Encoding(encoding) => {
                let value = match encoding {
                    0 => i64::from(i8::from_le_bytes(self.array()?)),
                    1 => i64::from(i16::from_le_bytes(self.array()?)),
                    2 => i64::from(i32::from_le_bytes(self.array()?)),
                    3 => return self.compressed(to),
                    _ => return Err(self.error(Problem::BadString)),
                };
                to.extend_from_slice(format_i64(value).as_bytes());
                Ok(())
            }
        }
    }

    fn compressed(&mut self, to: &mut Vec<u8>) -> Result<(), Error> {
        let (packed, length) = (self.length()?, self.length()?);
        let mut input = Vec::new();
        self.bytes(packed, &mut input)?;
        let unpacked = usize::try_from(length).ok().and_then(|length| lzf::decompress(&input, length));
        to.extend_from_slice(&unpacked.ok_or_else(|| self.error(Problem::BadString))?);
        Ok(())
    }
}

impl<R: Read + Seek> Source<R> {
    /// Goes on at an offset that has been passed. There is no checksum any more.
    pub(crate) fn go_back(&mut self, offset: u64) -> Result<(), Error> {
        self.inner.seek(SeekFrom::Start(offset)).map_err(|error| self.error(Problem::Io(error.kind())))?;
        self.buffer.clear();
        (self.taken, self.summed, self.before, self.checksum) = (0, 0, offset, None);
        Ok(())
    }
}

/// What stands where a length may.
pub(crate) enum Length {
    Of(u64),
    /// The string that follows is encoded in this way.
    Encoding(u8),
}
