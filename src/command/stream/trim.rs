//! The options by which XADD and XTRIM say how a stream is trimmed.

use super::ids;
use crate::command::Error;
use crate::command::args::Words;
use crate::config::Config;
use weir_structs::number::format_u64;
use weir_structs::stream::{References, Stream, StreamId, Threshold, Trim};

/// The most entries that `~` deletes in one go where there is no LIMIT, in blocks, and without a limit of entries a block.
const LIMIT_BLOCKS: u64 = 100;
const LIMIT_UNBOUNDED_BLOCKS: u64 = 10_000;
const LIMIT_MAX: u64 = 1_000_000;

/// What was read of them so far.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct TrimOptions {
    threshold: Option<Threshold>,
    approximate: bool,
    limit: Option<u64>,
    references: Option<References>,
}

impl TrimOptions {
    /// Takes the next words if they are such an option.
    pub(super) fn take(&mut self, words: &mut Words<'_>) -> Result<bool, Error> {
        // The last word is never an option with an argument; of XADD it could not be an option at all.
        let has_argument = words.left() > 1;
        if has_argument && words.accept("MAXLEN") {
            self.take_operator(words)?;
            let entries = words.expect_int()?;
            let entries = u64::try_from(entries).map_err(|_| Error::STREAM_MAXLEN_NEGATIVE)?;
            self.threshold = Some(Threshold::MaxLen(entries));
        } else if has_argument && words.accept("MINID") {
            self.take_operator(words)?;
            self.threshold = Some(Threshold::MinId(ids::id(words.expect()?)?));
        } else if has_argument && words.accept("LIMIT") {
            let limit = words.expect_int()?;
            self.limit = Some(u64::try_from(limit).map_err(|_| Error::STREAM_LIMIT_NEGATIVE)?);
        } else {
            return take_references(words, &mut self.references);
        }
        Ok(true)
    }

    fn take_operator(&mut self, words: &mut Words<'_>) -> Result<(), Error> {
        if self.threshold.is_some() {
            return Err(Error::STREAM_MAXLEN_AND_MINID);
        }
        self.approximate = words.left() > 1 && words.accept("~");
        if !self.approximate && words.left() > 1 {
            words.accept("=");
        }
        Ok(())
    }

    /// What they say together; `None` if nothing is to be trimmed. `repeats`: the command comes from an append-only file, in which
    /// Redis and Valkey make trimming exact and leave the limit of before where it was.
    pub(super) fn finish(
        self,
        required: bool,
        repeats: bool,
        config: &Config,
    ) -> Result<(Option<Trim>, References), Error> {
        let references = self.references.unwrap_or_default();
        if self.threshold.is_none() && self.limit.is_some_and(|limit| limit > 0) {
            return Err(Error::STREAM_LIMIT_WITHOUT_STRATEGY);
        }
        if self.threshold.is_none() && required {
            return Err(Error::STREAM_TRIM_WITHOUT_STRATEGY);
        }
        if self.limit.is_some() && !self.approximate && !repeats {
            return Err(Error::STREAM_LIMIT_WITHOUT_APPROXIMATE);
        }
        let limit = self.limit.unwrap_or_else(|| default_limit(config.stream_node_max_entries));
        let trim = self.threshold.map(|threshold| Trim { threshold, approximate: self.approximate, limit });
        Ok((trim, references))
    }
}

/// What a stream was trimmed to, so that it can be trimmed to that again, however its entries lie in memory.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TrimmedTo {
    /// How many entries went.
    pub(super) count: u64,
    threshold: Option<Threshold>,
    references: References,
}

impl TrimmedTo {
    /// Trims a stream.
    #[inline]
    pub(super) fn trim(stream: &mut Stream, trim: Trim, references: References) -> TrimmedTo {
        let mut last = None;
        let count = stream.trim_and_tell(trim, references, &mut |id| last = Some(id));
        let threshold = (count > 0).then(|| match last.and_then(StreamId::next) {
            Some(next) => Threshold::MinId(next),
            None => Threshold::MaxLen(stream.log().len()),
        });
        TrimmedTo { count, threshold, references }
    }

    /// The options that say so; none if nothing went.
    pub(super) fn words(&self) -> Vec<Box<[u8]>> {
        let references: Option<&[u8]> = match self.references {
            References::Keep => None,
            References::Delete => Some(b"DELREF"),
            References::Acked => Some(b"ACKED"),
        };
        let (name, limit): (&[u8], Box<[u8]>) = match self.threshold {
            None => return Vec::new(),
            Some(Threshold::MaxLen(entries)) => (b"MAXLEN", format_u64(entries)[..].into()),
            Some(Threshold::MinId(id)) => (b"MINID", id.text()[..].into()),
        };
        let mut words: Vec<Box<[u8]>> = vec![name.into(), b"=".as_slice().into(), limit];
        words.extend(references.map(Into::into));
        words
    }
}

/// Takes the next word if it says what becomes of references to entries that are deleted.
pub(super) fn take_references(words: &mut Words<'_>, taken: &mut Option<References>) -> Result<bool, Error> {
    let references = if words.accept("KEEPREF") {
        References::Keep
    } else if words.accept("DELREF") {
        References::Delete
    } else if words.accept("ACKED") {
        References::Acked
    } else {
        return Ok(false);
    };
    if taken.replace(references).is_some() {
        return Err(Error::SYNTAX);
    }
    Ok(true)
}

fn default_limit(node_entries: u64) -> u64 {
    match node_entries.saturating_mul(LIMIT_BLOCKS) {
        0 => LIMIT_UNBOUNDED_BLOCKS,
        limit => limit.min(LIMIT_MAX),
    }
}
