//! What SCAN, HSCAN, SSCAN and ZSCAN have in common: cursors, options, how much a step does, and how it answers.
//!
//! A step visits buckets of a table until it has seen `COUNT` elements, and never more than ten times as many buckets:
//! what a filter throws away counts as seen, so a step takes the same time whatever it finds.

use super::args::{self, Words};
use super::error::Error;
use super::reply::{Output, Reply};
use weir_structs::glob::GlobPattern;
use weir_structs::number;

/// Elements that a step looks at where no COUNT is given.
const COUNT_DEFAULT: u64 = 10;
/// Buckets a step may visit, for each element it may look at.
const BUCKETS_PER_ELEMENT: u64 = 10;
/// Types that SCAN can be asked for.
const TYPES: &[&str] = &["string", "list", "set", "zset", "hash", "stream", "mq.queue", "mq.exchange", "cfg.store"];

/// What is walked, which says what options there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Walked {
    /// The keys of a database.
    Keys,
    /// The fields of a hash.
    Hash,
    /// The members of a set.
    Set,
    /// The members of a sorted set.
    Zset,
}

/// The options of a step.
#[derive(Debug)]
pub struct ScanOptions {
    count: u64,
    pattern: Option<GlobPattern>,
    /// `TYPE`: one of the names that TYPE replies.
    pub wanted_type: Option<&'static str>,
    /// `NOVALUES` or `NOSCORES`: only what comes first of each pair.
    pub keys_only: bool,
}

impl ScanOptions {
    /// Reads all words that are left.
    ///
    /// # Errors
    /// An option that there is not, or not here; a count that is no number or none above zero.
    pub fn parse(mut words: Words<'_>, walked: Walked) -> Result<ScanOptions, Error> {
        let mut options = ScanOptions { count: COUNT_DEFAULT, pattern: None, wanted_type: None, keys_only: false };
        while words.peek().is_some() {
            if words.accept("COUNT") {
                options.count = u64::try_from(words.expect_int()?).ok().filter(|&n| n > 0).ok_or(Error::SYNTAX)?;
            } else if words.accept("MATCH") {
                options.pattern = Some(GlobPattern::new(words.expect()?, false)).filter(|pattern| !pattern.is_all());
            } else if walked == Walked::Keys && words.accept("TYPE") {
                let name = words.expect()?;
                let known = TYPES.iter().find(|known| args::is(name, known));
                options.wanted_type = Some(*known.ok_or_else(|| Error::unknown_type(name))?);
            } else if words.accept("NOVALUES") {
                options.keys_only = true;
                if walked != Walked::Hash {
                    return Err(Error::NOVALUES_NOT_HSCAN);
                }
            } else if words.accept("NOSCORES") {
                options.keys_only = true;
                if walked != Walked::Zset {
                    return Err(Error::NOSCORES_NOT_ZSCAN);
                }
            } else {
                return Err(Error::SYNTAX);
            }
        }
        Ok(options)
    }

    /// Whether an element passes `MATCH`.
    #[inline]
    pub fn fits(&self, name: &[u8]) -> bool {
        self.pattern.as_ref().is_none_or(|pattern| pattern.matches(name))
    }

    /// Does one step from `cursor` on. `bucket` visits what is at a cursor, adds what it saw there to the number that it is
    /// given, and returns the next cursor. Returns the cursor to go on from, 0 at the end.
    pub fn step(&self, mut cursor: u64, mut bucket: impl FnMut(u64, &mut u64) -> u64) -> u64 {
        let (mut seen, mut buckets_left) = (0, self.count.saturating_mul(BUCKETS_PER_ELEMENT));
        loop {
            cursor = bucket(cursor, &mut seen);
            buckets_left -= 1;
            if cursor == 0 || buckets_left == 0 || seen >= self.count {
                return cursor;
            }
        }
    }
}

/// Reads a cursor as Redis does: an integer that is not negative, or else whatever C's `strtoull` takes from a string that
/// ends at its first NUL (blanks in front, a sign, any number of zeros).
///
/// # Errors
/// It is no such number.
pub fn parse(arg: &[u8]) -> Result<u64, Error> {
    read(arg).ok_or(Error::INVALID_CURSOR)
}

/// What a step found, collected while the cursor, which stands before it in the reply, is not known yet.
#[derive(Debug, Default)]
pub struct Found {
    elements: Output,
    count: usize,
}

impl Found {
    /// Adds one element.
    pub fn push(&mut self, element: &[u8]) {
        weir_resp::reply_bytes::bulk(self.elements.bytes_mut(), element);
        self.count += 1;
    }

    /// Writes the whole reply.
    pub fn reply(self, reply: &mut Reply<'_>, cursor: u64) {
        reply.array(2);
        reply.bulk(&number::format_u64(cursor));
        reply.array(self.count);
        reply.output().append(self.elements);
    }
}

fn read(arg: &[u8]) -> Option<u64> {
    if let Some(int) = number::parse_i64(arg) {
        return u64::try_from(int).ok();
    }
    let text = arg.split(|&byte| byte == 0).next().unwrap_or_default();
    let blanks = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t'..=b'\r')).count();
    let text = text.get(blanks..).unwrap_or_default();
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let zeros = digits.iter().take_while(|&&byte| byte == b'0').count();
    let magnitude = match digits.get(zeros..).unwrap_or_default() {
        [] if zeros > 0 => 0,
        rest => number::parse_u64(rest)?,
    };
    Some(if negative { magnitude.wrapping_neg() } else { magnitude })
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn cursors_are_read_as_c_reads_them() {
        let cases: &[(&[u8], Option<u64>)] = &[
            (b"0", Some(0)),
            (b"00", Some(0)),
            (b"000000000000000000000000000000000012", Some(12)),
            (b"+5", Some(5)),
            (b" 1", Some(1)),
            (b"\t\n\x0b\x0c\r 7", Some(7)),
            (b" -1", Some(u64::MAX)),
            (b"-0", Some(0)),
            (b"0\0zz", Some(0)),
            (b"18446744073709551615", Some(u64::MAX)),
            (b"-18446744073709551615", Some(1)),
            (b"18446744073709551616", None),
            (b"-18446744073709551616", None),
            (b"-1", None),
            (b"-5", None),
            (b"", None),
            (b" ", None),
            (b"+", None),
            (b"--1", None),
            (b"+-1", None),
            (b"1 ", None),
            (b"0 ", None),
            (b"0x1", None),
            (b"1.5", None),
            (b"\x000", None),
            (b"\x850", None),
            (b"abc", None),
        ];
        for (arg, expected) in cases {
            assert_eq!(read(arg), *expected, "{:?}", String::from_utf8_lossy(arg));
        }
    }
}
