//! Ids as clients write them: `1526919030474-55`, without the second part, `-` and `+`, with `(` before the end of a range.

use crate::command::Error;
use weir_structs::stream::StreamId;

/// An id; the number within the millisecond is 0 where it is left out.
pub(super) fn id(arg: &[u8]) -> Result<StreamId, Error> {
    StreamId::parse(arg, 0).ok_or(Error::STREAM_ID)
}

/// An id, or `-` and `+` for the lowest and the highest there are.
pub(super) fn id_or_extreme(arg: &[u8], missing_seq: u64) -> Result<StreamId, Error> {
    match arg {
        b"-" => Ok(StreamId::MIN),
        b"+" => Ok(StreamId::MAX),
        _ => StreamId::parse(arg, missing_seq).ok_or(Error::STREAM_ID),
    }
}

/// The lowest id of a range; with `(` before it the one above.
pub(super) fn range_start(arg: &[u8]) -> Result<StreamId, Error> {
    match arg.strip_prefix(b"(") {
        Some(excluded) => id(excluded)?.next().ok_or(Error::STREAM_RANGE_START),
        None => id_or_extreme(arg, 0),
    }
}

/// The highest id of a range, the last of its millisecond where that alone is given; with `(` before it the one below.
pub(super) fn range_end(arg: &[u8]) -> Result<StreamId, Error> {
    match arg.strip_prefix(b"(") {
        Some(excluded) => {
            let excluded = StreamId::parse(excluded, u64::MAX).ok_or(Error::STREAM_ID)?;
            excluded.previous().ok_or(Error::STREAM_RANGE_END)
        }
        None => id_or_extreme(arg, u64::MAX),
    }
}

/// The id of an entry that is being added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NewId {
    /// `*`
    Now,
    /// `<ms>-*`
    In(u64),
    /// As given.
    Given(StreamId),
}

impl NewId {
    pub(super) fn parse(arg: &[u8]) -> Result<NewId, Error> {
        if arg == b"*" {
            return Ok(NewId::Now);
        }
        match arg.strip_suffix(b"-*") {
            Some(ms) if !ms.contains(&b'-') => Ok(NewId::In(id(ms)?.ms)),
            _ => Ok(NewId::Given(id(arg)?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOP: u64 = u64::MAX;

    #[test]
    fn ends_of_ranges_may_be_excluded_and_incomplete() {
        assert_eq!(range_start(b"5"), Ok(StreamId::new(5, 0)));
        assert_eq!(range_start(b"(5"), Ok(StreamId::new(5, 1)));
        assert_eq!(range_start(b"(5-18446744073709551615"), Ok(StreamId::new(6, 0)));
        assert_eq!(range_end(b"5"), Ok(StreamId::new(5, TOP)));
        assert_eq!(range_end(b"(5"), Ok(StreamId::new(5, TOP - 1)));
        assert_eq!(range_end(b"(5-0"), Ok(StreamId::new(4, TOP)));
        assert_eq!((range_start(b"-"), range_end(b"+")), (Ok(StreamId::MIN), Ok(StreamId::MAX)));
    }

    #[test]
    fn nothing_is_excluded_beyond_the_first_and_the_last_id() {
        assert_eq!(range_start(StreamId::MAX.to_string().as_bytes()), Ok(StreamId::MAX));
        assert_eq!(range_start(format!("({}", StreamId::MAX).as_bytes()), Err(Error::STREAM_RANGE_START));
        assert_eq!(range_end(b"(0-0"), Err(Error::STREAM_RANGE_END));
        for text in ["(-", "(+", "(", "$", "*", ">", ""] {
            assert_eq!(range_start(text.as_bytes()), Err(Error::STREAM_ID), "{text}");
            assert_eq!(range_end(text.as_bytes()), Err(Error::STREAM_ID), "{text}");
        }
    }

    #[test]
    fn an_id_to_be_made_is_whole_or_half_automatic() {
        assert_eq!(NewId::parse(b"*"), Ok(NewId::Now));
        assert_eq!(NewId::parse(b"7-*"), Ok(NewId::In(7)));
        assert_eq!(NewId::parse(b"7-7"), Ok(NewId::Given(StreamId::new(7, 7))));
        assert_eq!(NewId::parse(b"7"), Ok(NewId::Given(StreamId::new(7, 0))));
        for text in ["7*", "**", "*-1", "7-**", "7-1-*", "-*", "-", "+", "7-"] {
            assert_eq!(NewId::parse(text.as_bytes()), Err(Error::STREAM_ID), "{text}");
        }
    }
}
