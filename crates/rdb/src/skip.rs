//! Passing over values without looking into them: only lengths are believed, so that the end of a value that contradicts itself
//! is found as long as its strings are where they should be.

use crate::error::{Error, Problem};
use crate::source::{Length, Source};
use crate::value::{Dialect, code};
use std::io::Read;

/// Bytes of the id of a pending entry, of a time, and of a score.
const RAW_ID_BYTES: u64 = 16;
const TIME_BYTES: u64 = 8;
const SCORE_BYTES: u64 = 8;
/// From this on the length of a score stands for the score itself.
const SCORE_NAMES: u8 = 253;

impl<R: Read> Source<R> {
    /// Passes over the value of a type.
    pub(crate) fn skip_value(&mut self, kind: u8, dialect: Dialect) -> Result<(), Error> {
        match kind {
            code::STRING
            | code::HASH_ZIPMAP
            | code::LIST_ZIPLIST
            | code::SET_INTSET
            | code::ZSET_ZIPLIST
            | code::HASH_ZIPLIST
            | code::HASH_LISTPACK
            | code::ZSET_LISTPACK
            | code::SET_LISTPACK => self.skip_string(),
            code::LIST | code::SET | code::LIST_OF_ZIPLISTS => self.each(Source::skip_string),
            code::ZSET => self.each(|source| {
                source.skip_string()?;
                match source.byte()? {
                    SCORE_NAMES.. => Ok(()),
                    len => source.skip(u64::from(len)),
                }
            }),
            code::ZSET_BINARY => self.each(|source| {
                source.skip_string()?;
                source.skip(SCORE_BYTES)
            }),
            code::HASH => self.each(Source::skip_pair),
            code::HASH_TTL_VALKEY if dialect == Dialect::Valkey => self.each(|source| {
                source.skip_pair()?;
                source.skip(TIME_BYTES)
            }),
            code::HASH_TTL_OLD => self.skip_pairs_behind_lengths(),
            code::HASH_TTL if dialect == Dialect::Redis => {
                self.skip(TIME_BYTES)?;
                self.skip_pairs_behind_lengths()
            }
            code::HASH_LISTPACK_TTL_OLD if dialect == Dialect::Redis => self.skip_string(),
            code::HASH_LISTPACK_TTL if dialect == Dialect::Redis => {
                self.skip(TIME_BYTES)?;
                self.skip_string()
            }
            code::LIST_OF_LISTPACKS => self.each(|source| {
                source.length()?;
                source.skip_string()
            }),
            code::STREAM => self.skip_stream(1),
            code::STREAM_2 => self.skip_stream(2),
            code::STREAM_3 => self.skip_stream(3),
            code::STREAM_4 if dialect == Dialect::Redis => self.skip_stream(4),
            code::STREAM_5 if dialect == Dialect::Redis => self.skip_stream(5),
            code::MODULE => {
                self.length()?;
                self.skip_module_data()
            }
            unknown => Err(self.error(Problem::UnknownType(unknown))),
        }
    }

    /// Passes over what a module has written, as far as its end mark.
    pub(crate) fn skip_module_data(&mut self) -> Result<(), Error> {
        loop {
            match self.length()? {
                0 => return Ok(()),
                1 | 2 => self.length().map(drop)?,
                3 => self.skip(4)?,
                4 => self.skip(8)?,
                5 => self.skip_string()?,
                _ => return Err(self.error(Problem::Module)),
            }
        }
    }

    fn each(&mut self, skip: impl Fn(&mut Source<R>) -> Result<(), Error>) -> Result<(), Error> {
        for _ in 0..self.length()? {
            skip(self)?;
        }
        Ok(())
    }

    fn skip_string(&mut self) -> Result<(), Error> {
        match self.length_or_encoding()? {
            Length::Of(length) => self.skip(length),
            Length::Encoding(0) => self.skip(1),
            Length::Encoding(1) => self.skip(2),
            Length::Encoding(2) => self.skip(4),
            Length::Encoding(3) => {
                let packed = self.length()?;
                self.length()?;
                self.skip(packed)
            }
            Length::Encoding(_) => Err(self.error(Problem::BadString)),
        }
    }

    fn skip_pair(&mut self) -> Result<(), Error> {
        self.skip_string()?;
        self.skip_string()
    }

    fn skip_pairs_behind_lengths(&mut self) -> Result<(), Error> {
        self.each(|source| {
            source.length()?;
            source.skip_pair()
        })
    }

    fn skip_lengths(&mut self, count: usize) -> Result<(), Error> {
        (0..count).try_for_each(|_| self.length().map(drop))
    }

    fn skip_stream(&mut self, version: u8) -> Result<(), Error> {
        self.each(Source::skip_pair)?;
        // How many entries there are, and ids of two lengths each, and how many there ever were.
        self.skip_lengths(if version >= 2 { 8 } else { 3 })?;
        self.each(|source| {
            source.skip_string()?;
            source.skip_lengths(if version >= 2 { 3 } else { 2 })?;
            source.each(|source| {
                source.skip(RAW_ID_BYTES + TIME_BYTES)?;
                source.skip_lengths(1)
            })?;
            source.each(|source| {
                source.skip_string()?;
                source.skip(if version >= 3 { 2 * TIME_BYTES } else { TIME_BYTES })?;
                source.each(|source| source.skip(RAW_ID_BYTES))
            })?;
            if version >= 5 { source.each(|source| source.skip(RAW_ID_BYTES)) } else { Ok(()) }
        })?;
        if version < 4 {
            return Ok(());
        }
        // Settings; messages of producers, each with the id of its entry; two counters.
        self.skip_lengths(2)?;
        self.each(|source| {
            source.skip_string()?;
            source.each(|source| {
                source.skip_string()?;
                source.skip_lengths(2)
            })
        })?;
        self.skip_lengths(2)
    }
}
