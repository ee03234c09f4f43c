//! Cutting the bytes of one connection into commands.
//!
//! ```text
//!   *3 \r\n $3 \r\n SET \r\n $1 \r\n k \r\n $5 \r\n he...
//!   ▲       ▲       └─ range            ▲       ▲
//!   │       │                           │       └ at: where the next look begins
//!   │       └ args_missing 3 ─ 2 ─ 1 ───┘         bulk_len: 5, known, not all here yet
//!   └ start of the command = batch.consumed
//! ```
//!
//! Everything that has arrived is cut in one pass: a server that executes a pipeline of hundreds of commands at once
//! can prefetch their keys at once. What is remembered about a half-arrived command is where the next look begins, and
//! the ranges cut so far stay in the batch, so a command of a million arguments or one argument of 512 MB costs time
//! linear in its bytes, however small the pieces it comes in.
//!
//! Positions are remembered relative to the start of the unfinished command, which is why a batch can carry its tail
//! somewhere else without telling the parser.
//!
//! The rules are Redis 8's, learnt by trying both it and Valkey 9: numbers are canonical decimals (`0`, or no leading
//! zero, no `+`, no blank); a count of zero or less is skipped; the byte behind `\r` and the two bytes behind an
//! argument are skipped unseen; a line is judged only when it is complete. Two things are set here on purpose. A line
//! is too long if it has no end in its first `inline_max + 1` bytes, however it arrived, where Redis depends on how the
//! network cut it. And a NUL hides the rest of an inline line, as in Redis, but a NUL in a `*` or `$` line is judged
//! at once, as in Valkey.

use crate::batch::{ArgRange, BATCH_BYTES_MAX, Batch, CommandRange, NOT_MULTIBULK};
use crate::inline::split_line;
use crate::protocol_error::ProtocolError;

/// Default of [`Limits::proto_max_bulk_len`]: 512 MiB.
pub const PROTO_MAX_BULK_LEN: u64 = 512 * 1024 * 1024;
/// Default of [`Limits::inline_max`]: 64 KiB.
pub const INLINE_MAX: u32 = 64 * 1024;
/// Default of [`Limits::multibulk_max`].
pub const MULTIBULK_MAX: u32 = i32::MAX as u32;
/// Default of [`Limits::commands_max`].
pub const COMMANDS_MAX: u32 = 4096;
/// The most arguments that a client may send before it has logged in.
pub const UNAUTHENTICATED_MULTIBULK_MAX: u32 = 10;
/// The longest argument, in bytes, that a client may send before it has logged in.
pub const UNAUTHENTICATED_BULK_MAX: u64 = 16 * 1024;

/// What a connection may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest argument of a multibulk command, in bytes. Values above [`BATCH_BYTES_MAX`] (4 GiB less 64 KiB) mean
    /// that: offsets in a batch have 32 bits.
    pub proto_max_bulk_len: u64,
    /// Longest line, in bytes without its end: an inline command, or the number behind `*` or `$`.
    pub inline_max: u32,
    /// Most arguments of a multibulk command.
    pub multibulk_max: u32,
    /// Most commands that one batch collects; 0 counts as 1. It bounds what a connection gets done in one turn and
    /// what the ranges of a batch weigh.
    pub commands_max: u32,
    /// Whether the client has logged in, or needn't. If not, a command has at most [`UNAUTHENTICATED_MULTIBULK_MAX`]
    /// arguments of at most [`UNAUTHENTICATED_BULK_MAX`] bytes. Inline commands are exempt, as in Redis.
    pub authenticated: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            proto_max_bulk_len: PROTO_MAX_BULK_LEN,
            inline_max: INLINE_MAX,
            multibulk_max: MULTIBULK_MAX,
            commands_max: COMMANDS_MAX,
            authenticated: true,
        }
    }
}

/// What [`Parser::parse`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that this call found to be complete commands, framing and blank lines included.
    pub consumed: usize,
    /// What it takes to get further.
    pub need: Need,
}

/// What has to happen before another command can be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Every byte belongs to a complete command; the batch has no tail.
    Nothing,
    /// More bytes, nobody knows how many.
    More,
    /// This many more bytes, at least 1, for the argument that is being received, its line end included. A claim of
    /// the client's, up to [`Limits::proto_max_bulk_len`]: see [`Need::reserve_bytes`] before allocating.
    Bytes(usize),
    /// The batch's commands have to be executed and [discarded](Batch::discard_complete) or
    /// [carried away from](Batch::carry_into); then parse again without waiting for bytes. Either the batch is full,
    /// or what follows is more than a client may send that hasn't logged in, and one of the commands before it may
    /// be the login. (The batch may have no command at all, only bytes to discard.)
    Execute,
}

impl Need {
    /// How many bytes to make room for before the next read, when `arrived` bytes of the unfinished command are here.
    ///
    /// What an argument lacks is reserved exactly, so that it is read into its place, but never more than twice what
    /// has arrived and 64 KiB: a claim of 512 MB costs who makes it half of that in traffic before it costs us memory.
    pub fn reserve_bytes(self, arrived: usize) -> usize {
        const READ_BYTES: usize = 16 * 1024;
        match self {
            Self::Bytes(missing) => missing.min(arrived.saturating_mul(2).saturating_add(4 * READ_BYTES)),
            Self::Nothing | Self::More => READ_BYTES,
            Self::Execute => 0,
        }
    }
}

/// What a connection remembers about a half-arrived command. 16 bytes: it sits in every idle connection.
///
/// It belongs to the tail of one batch at a time, and goes with it when the tail is
/// [carried over](Batch::carry_into).
#[derive(Debug)]
pub struct Parser {
    /// Where the next look begins, from the start of the unfinished command.
    at: u32,
    /// Bytes from there on that are known to hold no line end.
    scanned: u32,
    /// Arguments of the unfinished command that are not cut yet; 0 between commands.
    args_missing: u32,
    /// Length of the argument that starts at `at`, or [`BULK_LEN_UNKNOWN`] if its `$` line does.
    bulk_len: u32,
}

const BULK_LEN_UNKNOWN: u32 = u32::MAX;

const _: () = assert!(size_of::<Parser>() == 16 && BATCH_BYTES_MAX < BULK_LEN_UNKNOWN as usize);

impl Default for Parser {
    fn default() -> Self {
        Self::new()
    }
}

impl Parser {
    /// A parser at the start of a connection.
    pub const fn new() -> Self {
        Self { at: 0, scanned: 0, args_missing: 0, bulk_len: BULK_LEN_UNKNOWN }
    }

    /// Forgets the unfinished command, for when the batch with its bytes is cleared.
    pub fn reset(&mut self) {
        *self = Self::new();
    }

    /// Whether the start of a command has been cut of which the rest is missing. Bytes of an unfinished line don't
    /// count: [`Batch::tail`] shows them.
    pub fn is_mid_command(&self) -> bool {
        self.args_missing != 0
    }

    /// Where the argument that is being received begins, from the start of the unfinished command; `None` between arguments.
    pub fn argument_begins(&self) -> Option<usize> {
        (self.bulk_len != BULK_LEN_UNKNOWN).then_some(self.at as usize)
    }

    /// Cuts every complete command that is in `batch`, behind those already there.
    ///
    /// `batch` must be the one that this parser saw last, or the one into which its tail was carried, with bytes
    /// appended; any other gives wrong commands but no panic. Linear in the bytes that are new; allocates only for
    /// growth of the batch's two lists, which is proportional to bytes that are here.
    ///
    /// # Errors
    /// What is wrong with the bytes behind the last complete command. The commands before it are in the batch and are
    /// to be executed first. The connection is beyond repair then: [append](ProtocolError::append_reply) the reply and
    /// close it.
    pub fn parse(&mut self, batch: &mut Batch, limits: &Limits) -> Result<Progress, ProtocolError> {
        let consumed_before = batch.consumed;
        let need = self.cut(batch, limits)?;
        let consumed = batch.consumed - consumed_before;
        let need = match need {
            Need::More if batch.bytes.len() >= BATCH_BYTES_MAX => self.need_of_oversized(batch, need)?,
            Need::Bytes(missing) if batch.bytes.len().saturating_add(missing) > BATCH_BYTES_MAX => {
                self.need_of_oversized(batch, need)?
            }
            // The end of a command was the end of what offsets reach.
            Need::Nothing if batch.consumed < batch.bytes.len() => Need::Execute,
            _ => need,
        };
        Ok(Progress { consumed, need })
    }

    /// What to do when the unfinished command can't end below [`BATCH_BYTES_MAX`] where it is now.
    #[cold]
    fn need_of_oversized(&self, batch: &mut Batch, need: Need) -> Result<Need, ProtocolError> {
        if !batch.is_empty() {
            return Ok(Need::Execute);
        }
        batch.compact();
        let missing = if let Need::Bytes(missing) = need { missing } else { 0 };
        // With no commands before it, what is in the batch is all of this one.
        if batch.bytes.len().saturating_add(missing) > BATCH_BYTES_MAX {
            return Err(ProtocolError::RequestTooBig);
        }
        Ok(need)
    }

    fn cut(&mut self, batch: &mut Batch, limits: &Limits) -> Result<Need, ProtocolError> {
        let mut first_arg = batch.complete_args();
        let Batch { bytes, args, commands, consumed, .. } = batch;
        let visible = bytes.len().min(BATCH_BYTES_MAX);
        let bytes = bytes.get_mut(..visible).unwrap_or_default();
        let line_max = limits.inline_max as usize;
        let bulk_max = limits.proto_max_bulk_len.min(BATCH_BYTES_MAX as u64) as usize;
        let bulk_max_now =
            if limits.authenticated { bulk_max } else { bulk_max.min(UNAUTHENTICATED_BULK_MAX as usize) };
        let argc_max_now = if limits.authenticated {
            limits.multibulk_max
        } else {
            limits.multibulk_max.min(UNAUTHENTICATED_MULTIBULK_MAX)
        };
        let commands_max = limits.commands_max.max(1) as usize;

        let mut at = *consumed + self.at as usize;
        let mut scanned = self.scanned as usize;
        let mut args_missing = self.args_missing;
        let mut bulk_len = self.bulk_len;

        let stopped = 'stop: loop {
            if args_missing == 0 {
                let Some(first) = bytes.get(at) else { break Ok(Need::Nothing) };
                if commands.len() >= commands_max {
                    break Ok(Need::Execute);
                }
                if *first != b'*' {
                    let line_len = match find_inline_end(bytes.get(at..).unwrap_or_default(), scanned, line_max) {
                        Line::Complete(len) => len,
                        Line::Unfinished { scanned: so_far } => {
                            scanned = so_far;
                            break Ok(Need::More);
                        }
                        Line::TooLong => break Err(ProtocolError::InlineTooBig),
                    };
                    scanned = 0;
                    let line = bytes.get_mut(at..at + line_len).unwrap_or_default();
                    if split_line(line, at, args).is_err() {
                        args.truncate(first_arg);
                        break Err(ProtocolError::UnbalancedQuotes);
                    }
                    at += line_len + 1;
                    *consumed = at;
                    if args.len() > first_arg {
                        commands.push(CommandRange {
                            first_arg: first_arg as u32,
                            argc: (args.len() - first_arg) as u32,
                            begin: NOT_MULTIBULK,
                            end: at as u32,
                        });
                        first_arg = args.len();
                    }
                    continue;
                }
                match short_number_line(bytes, at) {
                    Some((count @ 1.., line_len)) if count <= argc_max_now => {
                        scanned = 0;
                        at += line_len;
                        args_missing = count;
                    }
                    _ => match number_line(bytes.get(at..).unwrap_or_default(), scanned, line_max) {
                        Line::Unfinished { scanned: so_far } => {
                            scanned = so_far;
                            break Ok(Need::More);
                        }
                        Line::TooLong => break Err(ProtocolError::MultibulkCountTooBig),
                        Line::Complete(NumberLine { value, len }) => {
                            let Some(count) = value.filter(|count| *count <= i64::from(limits.multibulk_max)) else {
                                break Err(ProtocolError::MultibulkLenInvalid);
                            };
                            if count > i64::from(argc_max_now) {
                                if !commands.is_empty() {
                                    break Ok(Need::Execute);
                                }
                                break Err(ProtocolError::MultibulkLenUnauthenticated);
                            }
                            scanned = 0;
                            at += len;
                            if count <= 0 {
                                *consumed = at;
                                continue;
                            }
                            args_missing = count as u32;
                        }
                    },
                }
            }
            loop {
                if bulk_len == BULK_LEN_UNKNOWN {
                    match short_dollar_line(bytes, at) {
                        Some((len, line_len)) if len as usize <= bulk_max_now => {
                            scanned = 0;
                            at += line_len;
                            bulk_len = len;
                        }
                        _ => match number_line(bytes.get(at..).unwrap_or_default(), scanned, line_max) {
                            Line::Unfinished { scanned: so_far } => {
                                scanned = so_far;
                                break 'stop Ok(Need::More);
                            }
                            Line::TooLong => break 'stop Err(ProtocolError::BulkCountTooBig),
                            Line::Complete(NumberLine { value, len: line_len }) => {
                                let got = bytes.get(at).copied().unwrap_or_default();
                                if got != b'$' {
                                    break 'stop Err(ProtocolError::DollarExpected { got });
                                }
                                let Some(len) = value.and_then(|len| usize::try_from(len).ok()) else {
                                    break 'stop Err(ProtocolError::BulkLenInvalid);
                                };
                                if len > bulk_max {
                                    break 'stop Err(ProtocolError::BulkLenInvalid);
                                }
                                if len > bulk_max_now {
                                    if !commands.is_empty() {
                                        break 'stop Ok(Need::Execute);
                                    }
                                    break 'stop Err(ProtocolError::BulkLenUnauthenticated);
                                }
                                scanned = 0;
                                at += line_len;
                                bulk_len = len as u32;
                            }
                        },
                    }
                }
                // Below `BATCH_BYTES_MAX` each, so there is no overflow even in 33 bits.
                let end = at + bulk_len as usize + 2;
                if end > visible {
                    break 'stop Ok(Need::Bytes(end - visible));
                }
                args.push(ArgRange::new(at, bulk_len as usize));
                bulk_len = BULK_LEN_UNKNOWN;
                at = end;
                args_missing -= 1;
                if args_missing == 0 {
                    break;
                }
            }
            commands.push(CommandRange {
                first_arg: first_arg as u32,
                argc: (args.len() - first_arg) as u32,
                begin: *consumed as u32,
                end: at as u32,
            });
            *consumed = at;
            first_arg = args.len();
        };
        self.at = (at - *consumed) as u32;
        self.scanned = scanned as u32;
        self.args_missing = args_missing;
        self.bulk_len = bulk_len;
        stopped
    }
}

/// A look for the end of a line.
enum Line<T> {
    Complete(T),
    /// The end isn't here, and not in the first `scanned` bytes either.
    Unfinished {
        scanned: usize,
    },
    /// The end isn't in the first `line_max + 1` bytes.
    TooLong,
}

struct NumberLine {
    /// `None` if it isn't a canonical number of 64 bits.
    value: Option<i64>,
    /// With marker and line end.
    len: usize,
}

/// `*N` or `$N` with one to three digits: nearly all there are. Gives the number and the length of the line with its
/// end; `None` for whatever is longer, odd or unfinished, and for fewer than six bytes, which is what the shortest
/// argument takes. The marker is the caller's matter.
#[inline(always)]
fn short_number_line(bytes: &[u8], at: usize) -> Option<(u32, usize)> {
    let [_, first, second, third, fourth, _] = bytes.get(at..)?.first_chunk()?;
    let digit = |byte: &u8| u32::from(byte.wrapping_sub(b'0'));
    let number = digit(first);
    if number > 9 {
        return None;
    }
    if *second == b'\r' {
        return Some((number, 4));
    }
    let (number, ones) = (number * 10, digit(second));
    if number == 0 || ones > 9 {
        return None;
    }
    if *third == b'\r' {
        return Some((number + ones, 5));
    }
    let (number, ones) = ((number + ones) * 10, digit(third));
    (ones <= 9 && *fourth == b'\r').then_some((number + ones, 6))
}

#[inline(always)]
fn short_dollar_line(bytes: &[u8], at: usize) -> Option<(u32, usize)> {
    if bytes.get(at) == Some(&b'$') { short_number_line(bytes, at) } else { None }
}

/// The number between the first byte of `rest` and `\r`, and one byte behind that, whatever it is.
fn number_line(rest: &[u8], scanned: usize, line_max: usize) -> Line<NumberLine> {
    // A length has few digits; only what isn't one is worth setting up a vector search for.
    const NEAR: usize = 12;
    let window = rest.get(..line_max + 1).unwrap_or(rest);
    let near = window.iter().take(NEAR).position(|byte| *byte == b'\r');
    let end = near.or_else(|| {
        let from = scanned.max(NEAR);
        memchr::memchr(b'\r', window.get(from..)?).map(|found| from + found)
    });
    match end {
        Some(end) if end + 1 < rest.len() => {
            Line::Complete(NumberLine { value: canonical_number(rest.get(1..end).unwrap_or_default()), len: end + 2 })
        }
        Some(end) => Line::Unfinished { scanned: end },
        None if rest.len() > line_max => Line::TooLong,
        None => Line::Unfinished { scanned: rest.len() },
    }
}

/// `0`, or digits that don't start with 0, perhaps after a minus; nothing else, and nothing beyond 64 bits.
fn canonical_number(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] => {}
        _ => return None,
    }
    // Downwards, since there is one more negative number than there are positive ones.
    let value = digits.iter().try_fold(0_i64, |value, digit| {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value.checked_mul(10)?.checked_sub(i64::from(digit))
    })?;
    if negative { Some(value) } else { value.checked_neg() }
}

/// Finds the `\n` that ends an inline command; its length is what comes before. A `\r` before it is blank space to
/// whoever cuts the words.
fn find_inline_end(rest: &[u8], scanned: usize, line_max: usize) -> Line<usize> {
    let window = rest.get(..line_max + 1).unwrap_or(rest);
    let found = window.get(scanned..).and_then(|fresh| memchr::memchr2(b'\n', 0, fresh)).map(|found| scanned + found);
    match found {
        Some(end) if window.get(end) == Some(&b'\n') => Line::Complete(end),
        _ if rest.len() > line_max => Line::TooLong,
        // Nothing behind a NUL counts, so the next look begins at it again.
        Some(nul) => Line::Unfinished { scanned: nul },
        None => Line::Unfinished { scanned: rest.len() },
    }
}
