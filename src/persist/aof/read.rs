//! Commands from an append-only file, one after the other.
//!
//! The form is that of requests, strictly: `*argc` and for each argument `$len` and its bytes. Between commands there may be
//! lines that begin with `#`; `#TS:` and a number says when what follows was written. Memory is that of one command, as far
//! as its bytes are there: a length that is only claimed allocates nothing.

use std::fmt;
use std::io::{self, Read};
use weir_resp::{BATCH_BYTES_MAX, Batch};

/// Bytes that are asked for at once.
const READ_BYTES: usize = 256 * 1024;
/// Longest line with a length.
const LINE_BYTES: usize = 128;
/// A remark has fewer bytes with the end of its line, which is what other servers read.
const REMARK_BYTES: usize = 1024;

/// What stands in the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Item {
    /// A command, which is in the batch.
    Command,
    /// What follows was written at this Unix time in seconds.
    Time(i64),
    /// The end of the file, behind a whole command.
    End,
}

/// Why there is no next item.
#[derive(Debug)]
pub enum ReadProblem {
    /// The system says so.
    Io(io::Error),
    /// The file ends in the middle of a command.
    Torn,
    /// What stands here is no command.
    Format(&'static str),
}

/// A problem, and where.
#[derive(Debug)]
pub struct ReadError {
    /// Offset of the byte at which it was found.
    pub offset: u64,
    /// What it is.
    pub problem: ReadProblem,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.problem {
            ReadProblem::Io(error) => write!(f, "{error} at byte {}", self.offset),
            ReadProblem::Torn => write!(f, "the file ends in the middle of a command, at byte {}", self.offset),
            ReadProblem::Format(what) => write!(f, "{what} at byte {}", self.offset),
        }
    }
}

/// Reads commands.
pub struct CommandReader<R> {
    inner: R,
    buffer: Vec<u8>,
    /// Bytes of the buffer in front of the next item.
    taken: usize,
    /// Bytes of the file in front of the buffer.
    before: u64,
    /// Lines in front of the next item, as `check` shows them.
    lines: u64,
    ended: bool,
}

impl<R> fmt::Debug for CommandReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandReader").field("offset", &self.offset()).finish_non_exhaustive()
    }
}

impl<R: Read> CommandReader<R> {
    /// Begins to read; `offset` is where `inner` stands in its file.
    pub fn new(inner: R, offset: u64) -> CommandReader<R> {
        CommandReader { inner, buffer: Vec::new(), taken: 0, before: offset, lines: 0, ended: false }
    }

    /// Lines so far.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Puts the next command into `batch`, behind what is there.
    ///
    /// # Errors
    /// What is wrong. The reader then still stands in front of it.
    pub fn next(&mut self, batch: &mut Batch) -> Result<Item, ReadError> {
        loop {
            let mut cursor = Cursor { at: self.taken, lines: 0 };
            match cursor.item(&self.buffer, batch) {
                Ok(Cut::Whole(item)) => {
                    self.taken = cursor.at;
                    self.lines += cursor.lines;
                    return Ok(item);
                }
                Ok(Cut::Remark) => {
                    self.taken = cursor.at;
                    self.lines += cursor.lines;
                }
                Ok(Cut::Missing(bytes)) => {
                    if self.ended {
                        return self.at_end(&cursor);
                    }
                    self.fetch(bytes)?;
                }
                Err(what) => return Err(self.error(cursor.at, ReadProblem::Format(what))),
            }
        }
    }

    fn at_end(&self, cursor: &Cursor) -> Result<Item, ReadError> {
        if self.taken == self.buffer.len() {
            return Ok(Item::End);
        }
        Err(self.error(cursor.at, ReadProblem::Torn))
    }

    fn error(&self, at: usize, problem: ReadProblem) -> ReadError {
        ReadError { offset: self.before + at as u64, problem }
    }

    /// Fetches more: in pieces, up to `missing` bytes where an argument is as long as that.
    fn fetch(&mut self, missing: usize) -> Result<(), ReadError> {
        if self.taken > 0 {
            self.buffer.drain(..self.taken);
            self.before += self.taken as u64;
            self.taken = 0;
        }
        if self.buffer.capacity() > 8 * READ_BYTES && self.buffer.len() < READ_BYTES {
            self.buffer.shrink_to(2 * READ_BYTES);
        }
        let begin = self.buffer.len();
        // In proportion to what is there, since that is cut anew from its beginning.
        let wanted = missing.max(READ_BYTES).max(begin);
        while self.buffer.len() - begin < wanted {
            let have = self.buffer.len();
            let piece = (wanted - (have - begin)).min(READ_BYTES);
            self.buffer.resize(have + piece, 0);
            let read = self.inner.read(self.buffer.get_mut(have..).unwrap_or_default());
            self.buffer.truncate(have + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => {
                    self.ended = true;
                    return Ok(());
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.error(self.buffer.len(), ReadProblem::Io(error))),
            }
        }
        Ok(())
    }
}

impl<R> CommandReader<R> {
    /// Bytes of the file in front of the next item.
    pub fn offset(&self) -> u64 {
        self.before + self.taken as u64
    }
}

enum Cut {
    Whole(Item),
    /// Nothing of interest was passed over.
    Remark,
    /// So many bytes more are needed at least.
    Missing(usize),
}

/// Where in the buffer an item is being cut.
struct Cursor {
    at: usize,
    lines: u64,
}

/// A line, or the reason why there is none.
enum Line<'a> {
    Whole(&'a [u8]),
    Missing,
    TooLong,
}

impl Cursor {
    fn line<'a>(&mut self, buffer: &'a [u8], bytes_max: usize) -> Line<'a> {
        let rest = buffer.get(self.at..).unwrap_or_default();
        let looked_at = rest.get(..bytes_max).unwrap_or(rest);
        let Some(end) = looked_at.iter().position(|&byte| byte == b'\n') else {
            return if looked_at.len() == bytes_max { Line::TooLong } else { Line::Missing };
        };
        self.at += end + 1;
        self.lines += 1;
        let line = rest.get(..end).unwrap_or_default();
        Line::Whole(line.strip_suffix(b"\r").unwrap_or(line))
    }

    fn item(&mut self, buffer: &[u8], batch: &mut Batch) -> Result<Cut, &'static str> {
        let begin = self.at;
        match buffer.get(begin) {
            None => Ok(Cut::Missing(1)),
            Some(b'#') => match self.line(buffer, REMARK_BYTES - 1) {
                Line::Missing => Ok(Cut::Missing(1)),
                Line::TooLong => {
                    self.at = begin;
                    Err("a remark that is too long")
                }
                Line::Whole(line) => {
                    let time = line.strip_prefix(b"#TS:").and_then(number);
                    Ok(time.map_or(Cut::Remark, |time| Cut::Whole(Item::Time(time))))
                }
            },
            Some(_) => self.command(buffer, batch),
        }
    }

    fn command(&mut self, buffer: &[u8], batch: &mut Batch) -> Result<Cut, &'static str> {
        let Some(argc) = self.count(buffer, b'*', "no command where one should be")? else {
            return Ok(Cut::Missing(1));
        };
        if argc < 1 || argc > i64::from(i32::MAX) {
            return Err("a command without arguments, or with too many");
        }
        let mut args: Vec<&[u8]> = Vec::new();
        for _ in 0..argc {
            let Some(len) = self.count(buffer, b'$', "no argument where one should be")? else {
                return Ok(Cut::Missing(1));
            };
            let len = usize::try_from(len).ok().filter(|&len| len <= BATCH_BYTES_MAX);
            let len = len.ok_or("an argument of an impossible length")?;
            let end = self.at + len;
            match buffer.get(end..end + 2) {
                None => return Ok(Cut::Missing((end + 2).saturating_sub(buffer.len()))),
                Some(b"\r\n") => {}
                Some(_) => {
                    self.at = end;
                    return Err("an argument that is longer than it says");
                }
            }
            args.push(buffer.get(self.at..end).unwrap_or_default());
            self.at = end + 2;
            self.lines += 1;
        }
        batch.push_command(args).map_err(|_| "a command that is too long")?;
        Ok(Cut::Whole(Item::Command))
    }

    /// A line that begins with `sign` and says how many; `None` if it is not all there.
    fn count(&mut self, buffer: &[u8], sign: u8, otherwise: &'static str) -> Result<Option<i64>, &'static str> {
        let begin = self.at;
        match buffer.get(begin) {
            None => return Ok(None),
            Some(&first) if first == sign => {}
            Some(_) => return Err(otherwise),
        }
        let count = match self.line(buffer, LINE_BYTES) {
            Line::Missing => return Ok(None),
            Line::TooLong => None,
            Line::Whole(line) => line.get(1..).and_then(number),
        };
        count.map(Some).ok_or_else(|| {
            self.at = begin;
            "a number that is none"
        })
    }
}

fn number(digits: &[u8]) -> Option<i64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a few bytes at once.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let len = self.0.len().min(self.1).min(into.len());
            let (now, later) = self.0.split_at(len);
            into[..len].copy_from_slice(now);
            self.0 = later;
            Ok(len)
        }
    }

    fn told(bytes: &[u8], at_once: usize) -> String {
        let mut reader = CommandReader::new(Slow(bytes, at_once), 0);
        let mut told = Vec::new();
        loop {
            let mut batch = Batch::new();
            match reader.next(&mut batch) {
                Ok(Item::Command) => {
                    let args: Vec<_> = batch.command(0).iter().map(|arg| arg.escape_ascii().to_string()).collect();
                    told.push(args.join(" "));
                }
                Ok(Item::Time(at)) => told.push(format!("at {at}")),
                Ok(Item::End) => break told.push(format!("end {}", reader.offset())),
                Err(error) => break told.push(format!("{} {error}", reader.offset())),
            }
        }
        told.join(", ")
    }

    #[test]
    fn commands_and_times_come_in_order_however_the_file_is_read() {
        let file = b"#TS:12\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\n# a remark\r\n*1\r\n$6\r\na\r\nb\0c\r\n#TS:x\r\n";
        for at_once in [1, 2, 3, 7, 1000] {
            assert_eq!(told(file, at_once), format!("at 12, GET , a\\r\\nb\\x00c, end {}", file.len()));
        }
    }

    #[test]
    fn every_cut_is_a_torn_end_but_one_between_commands() {
        let file = b"*2\r\n$3\r\nGET\r\n$1\r\nx\r\n*1\r\n$4\r\nPING\r\n";
        for len in 0..=file.len() {
            let expected = match len {
                0 => "end 0".to_owned(),
                20 => "GET x, end 20".to_owned(),
                34 => "GET x, PING, end 34".to_owned(),
                _ => String::new(),
            };
            let told = told(&file[..len], 5);
            if expected.is_empty() {
                let behind = if len < 20 { "0 the file ends" } else { "GET x, 20 the file ends" };
                assert!(told.starts_with(behind), "{len}: {told}");
            } else {
                assert_eq!(told, expected);
            }
        }
    }

    #[test]
    fn what_is_no_command_is_told_with_its_place() {
        let check = |file: &[u8], expected: &str| assert_eq!(told(file, 1000), expected, "{}", file.escape_ascii());
        check(b"*1\r\n$4\r\nPING\r\n!!!", "PING, 14 no command where one should be at byte 14");
        check(b"PING\r\n", "0 no command where one should be at byte 0");
        check(b"*0\r\n", "0 a command without arguments, or with too many at byte 4");
        check(b"*-1\r\n", "0 a command without arguments, or with too many at byte 5");
        check(b"*9999999999\r\n", "0 a command without arguments, or with too many at byte 13");
        check(b"*x\r\n", "0 a number that is none at byte 0");
        check(b"*1\r\n:4\r\nPING\r\n", "0 no argument where one should be at byte 4");
        check(b"*1\r\n$-1\r\n", "0 an argument of an impossible length at byte 9");
        check(b"*1\r\n$9999999999\r\n", "0 an argument of an impossible length at byte 17");
        check(b"*1\r\n$3\r\nPING\r\n", "0 an argument that is longer than it says at byte 11");
        let long = [&b"*1"[..], &[b'1'; 200]].concat();
        check(&long, "0 a number that is none at byte 0");
    }

    #[test]
    fn remarks_may_be_as_long_as_those_that_other_servers_read() {
        let with = |remark: usize| [b"#", &vec![b'x'; remark - 3][..], b"\r\n*1\r\n$4\r\nPING\r\n"].concat();
        for at_once in [100, 10_000] {
            assert_eq!(told(&with(1023), at_once), "PING, end 1037");
            assert_eq!(told(&with(1024), at_once), "0 a remark that is too long at byte 0");
        }
    }

    #[test]
    fn a_length_that_is_only_claimed_allocates_nothing() {
        let file = b"*1000000000\r\n$4000000000\r\nx";
        let mut reader = CommandReader::new(&file[..], 0);
        let error = reader.next(&mut Batch::new()).expect_err("it is not there");
        assert!(matches!(error.problem, ReadProblem::Torn));
        assert!(reader.buffer.capacity() <= 4 * READ_BYTES, "{}", reader.buffer.capacity());
    }

    #[test]
    fn no_mutation_of_a_file_panics_and_offsets_stay_inside() {
        let seed = b"#TS:1700000000\r\n*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n*1\r\n$5\r\nMULTI\r\n*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n";
        let mut state = 0x2545_F491_4F6C_DD1D_u64;
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state >> 33).unwrap_or(0) % below.max(1)
        };
        let (mut whole, mut refused) = (0, 0);
        let told = std::env::var("WEIR_MUTATIONS").ok().and_then(|count| count.parse().ok());
        let mutations: usize = told.unwrap_or(3_000);
        for _ in 0..mutations {
            let mut file = seed.to_vec();
            for _ in 0..=random(3) {
                let at = random(file.len());
                match random(4) {
                    0 => file.truncate(at),
                    1 => file.insert(at, b"*$#\r\n019-"[random(9)]),
                    2 => drop(file.drain(at..(at + random(9)).min(file.len()))),
                    _ => file.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << random(8)),
                }
            }
            let mut reader = CommandReader::new(&file[..], 0);
            let mut batch = Batch::new();
            let error = loop {
                match reader.next(&mut batch) {
                    Ok(Item::End) => break None,
                    Ok(_) => {}
                    Err(error) => break Some(error),
                }
            };
            assert!(reader.offset() <= file.len() as u64);
            assert!(reader.buffer.capacity() <= 4 * READ_BYTES);
            match error {
                Some(error) => {
                    refused += 1;
                    assert!(error.offset >= reader.offset() && error.offset <= file.len() as u64, "{error:?}");
                }
                None => whole += 1,
            }
        }
        assert!(whole > mutations / 100 && refused > mutations / 100, "{whole} {refused}");
    }
}
