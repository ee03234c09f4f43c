//! The id of a message: a time in milliseconds and a number within that millisecond, in one word.
//!
//! ```text
//!  63                                        20 19              0
//!  ├──────────────── milliseconds ─────────────┼──── number ────┤
//! ```
//!
//! Ids rise strictly within a queue, whatever the clock does: when more than a million messages come in one millisecond, or
//! the clock is set back, ids run ahead of the clock. A queue gives no id from [`MessageId::END`] on: its clock ends half way
//! there, in the year 2109, and the other half is more than it can ever use up, so that giving the next one cannot fail.

use std::fmt;

use crate::number::format_u64;

/// Bits of an id that number the messages of a millisecond.
const SEQ_BITS: u32 = 20;
/// Longest text of an id: 14 digits, a dash, 7 digits.
pub const MESSAGE_ID_TEXT_MAX: usize = 22;

/// The id of a message in its queue. Ids are ordered as the messages were published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(u64);

impl MessageId {
    /// `0-0`, which no message has.
    pub const MIN: MessageId = MessageId(0);
    /// The highest id there is; for ranges, no message has it.
    pub const MAX: MessageId = MessageId(u64::MAX);
    /// Messages have ids below this one.
    pub const END: MessageId = MessageId(1 << 63);
    /// Highest milliseconds of an id.
    pub const MS_MAX: u64 = u64::MAX >> SEQ_BITS;
    /// Highest number within a millisecond.
    pub const SEQ_MAX: u64 = (1 << SEQ_BITS) - 1;

    /// The id of two numbers; each that is out of range counts as the highest that is not.
    #[inline]
    pub const fn new(ms: u64, seq: u64) -> MessageId {
        let ms = if ms > Self::MS_MAX { Self::MS_MAX } else { ms };
        let seq = if seq > Self::SEQ_MAX { Self::SEQ_MAX } else { seq };
        MessageId((ms << SEQ_BITS) | seq)
    }

    /// Unix milliseconds.
    #[inline]
    pub const fn ms(self) -> u64 {
        self.0 >> SEQ_BITS
    }

    /// Number within the millisecond.
    #[inline]
    pub const fn seq(self) -> u64 {
        self.0 & Self::SEQ_MAX
    }

    /// The id right above this one, `None` above [`MessageId::MAX`].
    #[inline]
    pub const fn next(self) -> Option<MessageId> {
        match self.0.checked_add(1) {
            Some(number) => Some(MessageId(number)),
            None => None,
        }
    }

    /// The id as a number that orders as ids do.
    #[inline]
    pub const fn to_u64(self) -> u64 {
        self.0
    }

    /// The other way.
    #[inline]
    pub const fn from_u64(number: u64) -> MessageId {
        MessageId(number)
    }

    /// Reads `<ms>-<seq>`: digits only, no zeros in front of others, both in range. `None` for anything else.
    pub fn parse(text: &[u8]) -> Option<MessageId> {
        if text.len() > MESSAGE_ID_TEXT_MAX {
            return None;
        }
        let dash = text.iter().position(|&byte| byte == b'-')?;
        let (ms, seq) = (parse_digits(&text[..dash])?, parse_digits(&text[dash + 1..])?);
        (ms <= Self::MS_MAX && seq <= Self::SEQ_MAX).then(|| MessageId::new(ms, seq))
    }

    /// The text `<ms>-<seq>`, without allocation.
    pub fn text(self) -> MessageIdText {
        let (ms, seq) = (format_u64(self.ms()), format_u64(self.seq()));
        let mut text = MessageIdText { bytes: [0; MESSAGE_ID_TEXT_MAX], len: (ms.len() + 1 + seq.len()) as u8 };
        text.bytes[..ms.len()].copy_from_slice(&ms);
        text.bytes[ms.len()] = b'-';
        text.bytes[ms.len() + 1..ms.len() + 1 + seq.len()].copy_from_slice(&seq);
        text
    }
}

/// Reads a number of at most 14 digits, as nobody else writes it.
fn parse_digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 14 || (text[0] == b'0' && text.len() > 1) {
        return None;
    }
    text.iter().try_fold(0_u64, |value, byte| byte.is_ascii_digit().then(|| value * 10 + u64::from(byte - b'0')))
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms(), self.seq())
    }
}

/// An id as text, on the stack.
#[derive(Clone, Copy)]
pub struct MessageIdText {
    bytes: [u8; MESSAGE_ID_TEXT_MAX],
    len: u8,
}

impl MessageIdText {
    /// The text.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl std::ops::Deref for MessageIdText {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Debug for MessageIdText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(self).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_order_as_their_two_numbers_do() {
        let last_of_ms = MessageId::new(4, MessageId::SEQ_MAX);
        assert_eq!(last_of_ms.next(), Some(MessageId::new(5, 0)));
        assert!(MessageId::new(4, 7) < last_of_ms && last_of_ms < MessageId::new(5, 0));
        assert_eq!(MessageId::MAX.next(), None);
        assert_eq!(MessageId::new(u64::MAX, u64::MAX), MessageId::MAX);
        assert_eq!((last_of_ms.ms(), last_of_ms.seq()), (4, MessageId::SEQ_MAX));
    }

    #[test]
    fn text_is_read_strictly() {
        for id in [MessageId::MIN, MessageId::MAX, MessageId::new(1_790_000_000_123, 45)] {
            assert_eq!(MessageId::parse(&id.text()), Some(id));
            assert_eq!(id.to_string().as_bytes(), id.text().as_bytes());
        }
        assert_eq!(MessageId::MAX.text().len(), MESSAGE_ID_TEXT_MAX);
        for text in [
            "",
            "-",
            "1",
            "1-",
            "-1",
            "01-1",
            "1-01",
            "+1-1",
            " 1-1",
            "1-1 ",
            "1--1",
            "1-1-1",
            "1-x",
            "a-1",
            "17592186044416-0",
            "1-1048576",
            "99999999999999999999-1",
            "1-99999999999999999999",
            "1-1\0",
        ] {
            assert_eq!(MessageId::parse(text.as_bytes()), None, "{text:?}");
        }
    }
}
