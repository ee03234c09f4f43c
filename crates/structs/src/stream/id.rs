//! The id of a stream's entry: a time in milliseconds and a number within that millisecond.
//!
//! Ids order entries, so they compare as the pair does. As text they are `<ms>-<seq>`, both in decimal.

use std::fmt;

use crate::number::format_u64;

/// Longest text of an id: two numbers of 20 digits and the dash.
pub const ID_TEXT_MAX: usize = 41;

/// The id of an entry. Ids are ordered by `ms`, then by `seq`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// Milliseconds since 1970 by convention; any number by right.
    pub ms: u64,
    /// Number of the entry within its millisecond.
    pub seq: u64,
}

impl StreamId {
    /// `0-0`, which no entry has.
    pub const MIN: StreamId = StreamId { ms: 0, seq: 0 };
    /// The highest id there is. A stream whose last id this is takes no more entries.
    pub const MAX: StreamId = StreamId { ms: u64::MAX, seq: u64::MAX };

    /// The id of two numbers.
    #[inline]
    pub const fn new(ms: u64, seq: u64) -> StreamId {
        StreamId { ms, seq }
    }

    /// The id right above this one, `None` above [`StreamId::MAX`].
    #[inline]
    pub fn next(self) -> Option<StreamId> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(StreamId { ms: self.ms, seq }),
            None => Some(StreamId { ms: self.ms.checked_add(1)?, seq: 0 }),
        }
    }

    /// The id right below this one, `None` below [`StreamId::MIN`].
    #[inline]
    pub fn previous(self) -> Option<StreamId> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(StreamId { ms: self.ms, seq }),
            None => Some(StreamId { ms: self.ms.checked_sub(1)?, seq: u64::MAX }),
        }
    }

    /// Reads `<ms>-<seq>`, or `<ms>` alone, which then gets `missing_seq`.
    ///
    /// Each number is decimal and may have blanks, a sign and zeros in front, as the C library's reader allows and
    /// Redis therefore does; a zero byte ends it. A negative one stands for its two's complement, so that `--0` is a
    /// sequence number, unless it is written as integers usually are (`-1`): such a one is refused. `None` for
    /// anything else, and for text longer than 127 bytes.
    pub fn parse(text: &[u8], missing_seq: u64) -> Option<StreamId> {
        if text.len() > PARSED_TEXT_MAX {
            return None;
        }
        let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
        match text.iter().position(|&byte| byte == b'-') {
            Some(dash) => Some(StreamId { ms: parse_number(&text[..dash])?, seq: parse_number(&text[dash + 1..])? }),
            None => Some(StreamId { ms: parse_number(text)?, seq: missing_seq }),
        }
    }

    /// The text `<ms>-<seq>`, without allocation.
    pub fn text(self) -> IdText {
        let (ms, seq) = (format_u64(self.ms), format_u64(self.seq));
        let mut text = IdText { bytes: [0; ID_TEXT_MAX], len: (ms.len() + 1 + seq.len()) as u8 };
        text.bytes[..ms.len()].copy_from_slice(&ms);
        text.bytes[ms.len()] = b'-';
        text.bytes[ms.len() + 1..ms.len() + 1 + seq.len()].copy_from_slice(&seq);
        text
    }
}

/// Longest text that is looked at as an id.
const PARSED_TEXT_MAX: usize = 127;

/// Reads one number of an id.
pub(super) fn parse_number(text: &[u8]) -> Option<u64> {
    let blanks = text.iter().take_while(|byte| byte.is_ascii_whitespace() || **byte == 0x0B).count();
    let (digits, negative) = match &text[blanks..] {
        [b'+', digits @ ..] => (digits, false),
        [b'-', digits @ ..] => (digits, true),
        digits => (digits, false),
    };
    if digits.is_empty() {
        return None;
    }
    let number = digits.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 { None } else { value.checked_mul(10)?.checked_add(u64::from(digit)) }
    })?;
    // Redis looks for a signed integer in canonical form first, and refuses it below zero.
    let canonical = blanks == 0 && digits[0] != b'0' && number <= i64::MIN.unsigned_abs();
    match negative {
        true if canonical => None,
        true => Some(number.wrapping_neg()),
        false => Some(number),
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// An id as text, on the stack.
#[derive(Clone, Copy)]
pub struct IdText {
    bytes: [u8; ID_TEXT_MAX],
    len: u8,
}

impl IdText {
    /// The text.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl std::ops::Deref for IdText {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Debug for IdText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(self).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOP: u64 = u64::MAX;

    #[test]
    fn neighbours_carry_over_and_end_at_the_limits() {
        for (low, high) in [
            (StreamId::new(0, 0), StreamId::new(0, 1)),
            (StreamId::new(4, TOP), StreamId::new(5, 0)),
            (StreamId::new(TOP, TOP - 1), StreamId::MAX),
        ] {
            assert_eq!(low.next(), Some(high));
            assert_eq!(high.previous(), Some(low));
            assert!(low < high);
        }
        assert_eq!(StreamId::MAX.next(), None);
        assert_eq!(StreamId::MIN.previous(), None);
    }

    #[test]
    fn text_is_read_as_generously_as_redis_reads_it() {
        for id in [StreamId::MIN, StreamId::MAX, StreamId::new(1_526_919_030_474, 55)] {
            assert_eq!(StreamId::parse(&id.text(), 9), Some(id));
            assert_eq!(id.to_string().as_bytes(), id.text().as_bytes());
        }
        assert_eq!(StreamId::parse(b"7", 9), Some(StreamId::new(7, 9)));
        for text in ["01-1", "1-01", "+1-1", " 1-1", "1- +1", "\t\x0b1-1"] {
            assert_eq!(StreamId::parse(text.as_bytes(), 0), Some(StreamId::new(1, 1)), "{text:?}");
        }
        for (text, seq) in [
            ("1--0", 0),
            ("1- -0", 0),
            ("1--00\0", 0),
            ("1--01", TOP),
            ("1- -1", TOP),
            ("1--18446744073709551615", 1),
            ("1--9223372036854775809", 9_223_372_036_854_775_807),
            ("1- -9223372036854775808", 9_223_372_036_854_775_808),
        ] {
            assert_eq!(StreamId::parse(text.as_bytes(), 0), Some(StreamId::new(1, seq)), "{text:?}");
        }
        for text in ["1--9223372036854775808", "1--18446744073709551616", "1--", "1---0", "1--+0", "-0-1", "1--0-1"] {
            assert_eq!(StreamId::parse(text.as_bytes(), 0), None, "{text:?}");
        }
        for text in ["", "-", "1-", "-1", "1-1-1", "1--5", "1-++1", "1-18446744073709551616", "1-1 ", "*", "0x1-1"] {
            assert_eq!(StreamId::parse(text.as_bytes(), 0), None, "{text:?}");
        }
        assert_eq!(StreamId::parse(&[b'0'; 128], 0), None);
        assert_eq!(StreamId::parse(b"1-1\0x", 0), Some(StreamId::new(1, 1)));
    }
}
