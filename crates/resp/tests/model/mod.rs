//! What the parser must do, said as plainly as possible: one command at a time, from its first byte, copying everything,
//! remembering nothing. Shared by the tests and the fuzz target.

use weir_resp::{Batch, Limits, Need, Parser, ProtocolError, reply_bytes};

pub(crate) type Command = Vec<Vec<u8>>;

/// What a stream of bytes comes to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) commands: Vec<Command>,
    pub(crate) error: Option<ProtocolError>,
    /// Bytes behind the last complete command; not compared after an error.
    pub(crate) tail_bytes: usize,
}

enum Step {
    /// A command, or a line that is none, and how many bytes it took.
    Taken(Option<Command>, usize),
    Unfinished,
}

/// The outcome by the plain rules.
pub(crate) fn expected(stream: &[u8], limits: &Limits) -> Outcome {
    let mut outcome = Outcome { commands: Vec::new(), error: None, tail_bytes: stream.len() };
    while outcome.tail_bytes > 0 {
        match step(&stream[stream.len() - outcome.tail_bytes..], limits) {
            Ok(Step::Taken(command, taken)) => {
                outcome.commands.extend(command);
                outcome.tail_bytes -= taken;
            }
            Ok(Step::Unfinished) => break,
            Err(error) => {
                outcome.error = Some(error);
                outcome.tail_bytes = 0;
            }
        }
    }
    outcome
}

fn step(bytes: &[u8], limits: &Limits) -> Result<Step, ProtocolError> {
    if bytes[0] != b'*' {
        let Some(line) = line(bytes, b'\n', true, limits, ProtocolError::InlineTooBig)? else {
            return Ok(Step::Unfinished);
        };
        let words = words(line).ok_or(ProtocolError::UnbalancedQuotes)?;
        return Ok(Step::Taken((!words.is_empty()).then_some(words), line.len() + 1));
    }
    let Some(header) = line(bytes, b'\r', false, limits, ProtocolError::MultibulkCountTooBig)? else {
        return Ok(Step::Unfinished);
    };
    let count = number(&header[1..])
        .filter(|count| *count <= limits.multibulk_max as i128)
        .ok_or(ProtocolError::MultibulkLenInvalid)?;
    if count > 10 && !limits.authenticated {
        return Err(ProtocolError::MultibulkLenUnauthenticated);
    }
    let mut at = header.len() + 2;
    if count <= 0 {
        return Ok(Step::Taken(None, at));
    }
    let mut args = Vec::new();
    for _ in 0..count {
        let Some(header) = line(&bytes[at..], b'\r', false, limits, ProtocolError::BulkCountTooBig)? else {
            return Ok(Step::Unfinished);
        };
        match header.first() {
            Some(b'$') => {}
            other => return Err(ProtocolError::DollarExpected { got: *other.unwrap_or(&b'\r') }),
        }
        let len = number(&header[1..])
            .filter(|len| (0..=limits.proto_max_bulk_len as i128).contains(len))
            .ok_or(ProtocolError::BulkLenInvalid)? as usize;
        if len > 16384 && !limits.authenticated {
            return Err(ProtocolError::BulkLenUnauthenticated);
        }
        at += header.len() + 2;
        if bytes.len() < at + len + 2 {
            return Ok(Step::Unfinished);
        }
        args.push(bytes[at..at + len].to_vec());
        at += len + 2;
    }
    Ok(Step::Taken(Some(args), at))
}

/// What comes before `end` (which is `\n`, or `\r` and one byte that has to be there as well).
fn line<'a>(
    bytes: &'a [u8],
    end: u8,
    nul_hides: bool,
    limits: &Limits,
    too_long: ProtocolError,
) -> Result<Option<&'a [u8]>, ProtocolError> {
    let line_max = limits.inline_max as usize;
    let found = bytes.iter().position(|byte| *byte == end).filter(|found| !(nul_hides && bytes[..*found].contains(&0)));
    match found {
        Some(found) if found <= line_max => {
            Ok(if end == b'\r' && found + 1 == bytes.len() { None } else { Some(&bytes[..found]) })
        }
        _ if bytes.len() > line_max => Err(too_long),
        _ => Ok(None),
    }
}

fn number(text: &[u8]) -> Option<i128> {
    let text = std::str::from_utf8(text).ok()?;
    let value = text.parse::<i64>().ok()?;
    (value.to_string() == text).then_some(i128::from(value))
}

/// The words of an inline command, by a machine with one state for each kind of place.
fn words(line: &[u8]) -> Option<Command> {
    #[derive(Clone, Copy, PartialEq)]
    enum Place {
        Between,
        Bare,
        Double,
        Single,
        /// Right behind a closing quote.
        Closed,
    }
    let blank = |byte: u8| b" \t\n\x0b\x0c\r".contains(&byte);
    let mut words: Command = Vec::new();
    let mut place = Place::Between;
    let mut rest = line;
    while let Some((&byte, mut after)) = rest.split_first() {
        if place == Place::Between && !blank(byte) {
            words.push(Vec::new());
            place = Place::Bare;
        }
        match place {
            Place::Between => {}
            Place::Bare => match byte {
                b'"' => place = Place::Double,
                b'\'' => place = Place::Single,
                b' ' | b'\t' | b'\r' | b'\n' => place = Place::Between,
                _ => words.last_mut()?.push(byte),
            },
            Place::Closed => {
                if !blank(byte) {
                    return None;
                }
                place = Place::Between;
            }
            Place::Single => match (byte, after.first()) {
                (b'\\', Some(b'\'')) => {
                    words.last_mut()?.push(b'\'');
                    after = &after[1..];
                }
                (b'\'', _) => place = Place::Closed,
                _ => words.last_mut()?.push(byte),
            },
            Place::Double => match (byte, after.first()) {
                (b'\\', Some(&escaped)) => {
                    let hex = after.get(1..3).filter(|hex| escaped == b'x' && hex.iter().all(u8::is_ascii_hexdigit));
                    let (byte, taken) = match (hex, escaped) {
                        (Some(hex), _) => (u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?, 3),
                        (None, b'n') => (b'\n', 1),
                        (None, b'r') => (b'\r', 1),
                        (None, b't') => (b'\t', 1),
                        (None, b'b') => (8, 1),
                        (None, b'a') => (7, 1),
                        (None, other) => (other, 1),
                    };
                    words.last_mut()?.push(byte);
                    after = &after[taken..];
                }
                (b'"', _) => place = Place::Closed,
                _ => words.last_mut()?.push(byte),
            },
        }
        rest = after;
    }
    (place != Place::Double && place != Place::Single).then_some(words)
}

/// What becomes of a batch between two reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Commands pile up in it.
    Keep,
    /// Its commands are executed, and it goes on with the tail.
    Discard,
    /// It is handed away, and another goes on with the tail.
    Carry,
}

/// The outcome by the parser, given the stream in `pieces`.
pub(crate) fn parsed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, limits: &Limits, turn: Turn) -> Outcome {
    let (mut parser, mut batch) = (Parser::new(), Batch::new());
    let mut outcome = Outcome { commands: Vec::new(), error: None, tail_bytes: 0 };
    let (mut arrived, mut consumed, mut counted) = (0, 0, 0);
    for piece in pieces {
        batch.read_buffer().extend_from_slice(piece);
        arrived += piece.len();
        loop {
            let parsed = parser.parse(&mut batch, limits);
            let need = match parsed {
                Ok(progress) => {
                    consumed += progress.consumed;
                    match progress.need {
                        Need::Nothing => assert_eq!(consumed, arrived),
                        Need::More | Need::Bytes(1..) => assert!(consumed < arrived),
                        Need::Bytes(0) => panic!("zero bytes are no need"),
                        Need::Execute => assert!(!batch.is_empty() && consumed < arrived),
                    }
                    progress.need
                }
                Err(error) => {
                    outcome.error = Some(error);
                    take_commands(&batch, &mut outcome, &mut counted);
                    return outcome;
                }
            };
            if turn == Turn::Carry {
                let mut next = Batch::new();
                batch.carry_into(&mut next);
                assert!(batch.tail().is_empty());
                take_commands(&batch, &mut outcome, &mut counted);
                batch = next;
            } else if turn == Turn::Discard || need == Need::Execute {
                take_commands(&batch, &mut outcome, &mut counted);
                batch.discard_complete();
            }
            assert_eq!(batch.tail().len(), arrived - consumed);
            if need != Need::Execute {
                break;
            }
        }
    }
    take_commands(&batch, &mut outcome, &mut counted);
    assert!(counted <= consumed);
    outcome.tail_bytes = batch.tail().len();
    outcome
}

fn take_commands(batch: &Batch, outcome: &mut Outcome, counted: &mut usize) {
    for argv in batch.commands() {
        if let Some(request) = argv.multibulk() {
            let mut written = Vec::new();
            reply_bytes::array_header(&mut written, argv.len());
            argv.iter().for_each(|arg| reply_bytes::bulk(&mut written, arg));
            assert_eq!(request.escape_ascii().to_string(), written.escape_ascii().to_string());
        }
    }
    outcome.commands.extend(batch.commands().map(|argv| argv.iter().map(<[u8]>::to_vec).collect::<Command>()));
    *counted += (0..batch.len()).map(|index| batch.command_bytes(index)).sum::<usize>();
}

/// Limits small enough for short streams to reach them.
pub(crate) fn small_limits(authenticated: bool) -> Limits {
    Limits { proto_max_bulk_len: 40_000, inline_max: 40, multibulk_max: 20, commands_max: 3, authenticated }
}

/// Checks that `stream`, cut at `cuts`, comes to what the plain rules say, whatever becomes of the batches.
pub(crate) fn check(stream: &[u8], cuts: &[usize], limits: &Limits) {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
    cuts.sort_unstable();
    let expected = expected(stream, limits);
    for turn in [Turn::Keep, Turn::Discard, Turn::Carry] {
        let starts = std::iter::once(0).chain(cuts.iter().copied());
        let ends = cuts.iter().copied().chain(std::iter::once(stream.len()));
        let pieces = starts.zip(ends).map(|(start, end)| &stream[start..end]);
        let parsed = parsed(pieces, limits, turn);
        assert_eq!(parsed, expected, "{turn:?}, cut at {cuts:?}: {}", stream.escape_ascii());
    }
}
