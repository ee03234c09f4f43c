//! What one connection has sent: its bytes, and where in them the commands and their arguments are.
//!
//! ```text
//!            discarded        consumed            bytes.len()
//!                ▼                ▼                    ▼
//!   bytes   ░░░░░[SET k v][GET k] [LPUSH k aaaa bbbb cc
//!                 complete        tail: not yet a command
//!   args          ▪ ▪ ▪    ▪ ▪     ▪     ▪ ▪    ▪         8 bytes each
//!   commands      ▬▬▬▬▬▬▬▬ ▬▬▬▬▬▬                          16 bytes each
//! ```
//!
//! A batch owns its bytes, so that it can be cut on one thread and executed on another, and is reused, so that after a
//! while nothing allocates. The tail goes on in a second batch ([`Batch::carry_into`]) or stays where it is
//! ([`Batch::discard_complete`]); either way the arguments already cut from it are kept and no byte is moved more than a
//! constant number of times, however many turns it takes to execute what is in front of it.
//!
//! What must stay true: `discarded <= consumed <= bytes.len()`; every range of a complete command lies inside
//! `discarded..consumed`; ranges beyond the last complete command belong to the one command in the tail; offsets fit in
//! 32 bits because the parser refuses a command that would end above [`BATCH_BYTES_MAX`].

use crate::number_text::decimal_len;
use std::fmt;
use std::iter::FusedIterator;

/// The most bytes that one batch can hold commands in: 4 GiB less 64 KiB. It bounds one command with all its arguments,
/// and so caps `proto-max-bulk-len` too; offsets take half the space for it.
pub const BATCH_BYTES_MAX: usize = u32::MAX as usize - 64 * 1024;

/// A tail up to this long is copied into a batch that has room for it rather than exchanged for its buffer. Bounded, so
/// that a long argument that comes in in many pieces is not copied again with each of them.
const CARRY_COPY_MAX: usize = 16 * 1024;

/// Where one argument is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ArgRange {
    start: u32,
    len: u32,
}

impl ArgRange {
    /// Both are below [`BATCH_BYTES_MAX`]: the parser looks no further.
    #[inline]
    pub(crate) fn new(start: usize, len: usize) -> Self {
        debug_assert!(start + len <= BATCH_BYTES_MAX);
        Self { start: start as u32, len: len as u32 }
    }

    #[inline]
    pub(crate) fn of(self, bytes: &[u8]) -> Option<&[u8]> {
        let start = self.start as usize;
        bytes.get(start..start + self.len as usize)
    }

    fn moved_left(self, distance: usize) -> Self {
        Self { start: self.start.saturating_sub(distance as u32), len: self.len }
    }
}

/// In place of where a command begins. Above [`BATCH_BYTES_MAX`].
pub(crate) const NOT_MULTIBULK: u32 = u32::MAX;

/// Where one complete command is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CommandRange {
    pub(crate) first_arg: u32,
    pub(crate) argc: u32,
    /// Offset of its first byte if it came as multibulk; [`NOT_MULTIBULK`] if not.
    pub(crate) begin: u32,
    /// Offset just behind the command's last byte.
    pub(crate) end: u32,
}

impl CommandRange {
    fn end_arg(self) -> usize {
        self.first_arg as usize + self.argc as usize
    }

    fn moved_left(self, distance: usize) -> Self {
        let distance = distance as u32;
        let begin = if self.begin == NOT_MULTIBULK { NOT_MULTIBULK } else { self.begin.saturating_sub(distance) };
        Self { begin, end: self.end.saturating_sub(distance), ..self }
    }
}

/// Bytes of one connection and the commands cut from them. See the module's header for the picture.
///
/// The way of a batch: append what was read to [`Batch::read_buffer`]; [`crate::Parser::parse`]; execute
/// [`Batch::commands`]; then [`Batch::discard_complete`] to go on with it, or, where it is executed elsewhere,
/// [`Batch::carry_into`] the next one before it is handed over and [`Batch::clear`] when it comes back.
#[derive(Default)]
pub struct Batch {
    pub(crate) bytes: Vec<u8>,
    pub(crate) args: Vec<ArgRange>,
    pub(crate) commands: Vec<CommandRange>,
    /// Bytes of the front whose commands are gone already but which were not worth moving the rest for.
    discarded: usize,
    /// Offset just behind the last complete command and the blank lines that follow it.
    pub(crate) consumed: usize,
}

impl Batch {
    /// An empty batch. Doesn't allocate.
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), args: Vec::new(), commands: Vec::new(), discarded: 0, consumed: 0 }
    }

    /// How many complete commands are in it.
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// Whether there is no complete command in it. There may be bytes.
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Command number `index`; one without arguments if there is none.
    #[inline]
    pub fn command(&self, index: usize) -> Argv<'_> {
        debug_assert!(index < self.commands.len(), "command {index} of {}", self.commands.len());
        self.commands.get(index).map_or(Argv::EMPTY, |command| self.argv(*command))
    }

    /// All complete commands in the order in which they were sent.
    pub fn commands(&self) -> impl ExactSizeIterator<Item = Argv<'_>> + DoubleEndedIterator + Clone {
        self.commands.iter().map(|command| self.argv(*command))
    }

    #[inline]
    fn argv(&self, command: CommandRange) -> Argv<'_> {
        let args = self.args.get(command.first_arg as usize..command.end_arg()).unwrap_or_default();
        Argv { bytes: &self.bytes, args, begin: command.begin }
    }

    /// How many bytes of the connection command number `index` took, with its framing and any blank lines before it.
    /// The sum over all commands is what a replica counts as its offset. 0 if there is no such command.
    pub fn command_bytes(&self, index: usize) -> usize {
        let Some(command) = self.commands.get(index) else { return 0 };
        let start = match index.checked_sub(1).and_then(|before| self.commands.get(before)) {
            Some(before) => before.end as usize,
            None => self.discarded,
        };
        (command.end as usize).saturating_sub(start)
    }

    /// The buffer to append what was read to. Append only: everything already in it has ranges pointing at it.
    ///
    /// Reading straight into its spare capacity, without zeroing and without `unsafe`, is
    /// `socket.take(n).read_to_end(batch.read_buffer())`, which keeps what it got even if it ends in `WouldBlock`.
    pub fn read_buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The bytes that are not yet part of a complete command.
    pub fn tail(&self) -> &[u8] {
        self.bytes.get(self.consumed..).unwrap_or_default()
    }

    /// Bytes of heap behind this batch, whatever part of them is in use.
    pub fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
            + self.args.capacity() * size_of::<ArgRange>()
            + self.commands.capacity() * size_of::<CommandRange>()
    }

    /// Empties it, tail and all, and keeps its capacity. A parser that was in the middle of the tail has to be
    /// [reset](crate::Parser::reset).
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.args.clear();
        self.commands.clear();
        self.discarded = 0;
        self.consumed = 0;
    }

    /// Gives back capacity until about `heap_bytes_max` bytes are left, as far as what is in it allows. Cheap if there
    /// is nothing to give back.
    pub fn shrink_to(&mut self, heap_bytes_max: usize) {
        if self.heap_bytes() <= heap_bytes_max {
            return;
        }
        // Half for bytes and a quarter for each list is about what pipelined small commands need.
        self.bytes.shrink_to(heap_bytes_max / 2);
        self.args.shrink_to(heap_bytes_max / 4 / size_of::<ArgRange>());
        self.commands.shrink_to(heap_bytes_max / 4 / size_of::<CommandRange>());
    }

    /// Forgets the complete commands, which have been executed, and keeps the tail for the parser to go on with.
    ///
    /// Moves the tail to the front only if that costs no more than what is forgotten, so a long tail behind many short
    /// batches of commands is still linear in total.
    pub fn discard_complete(&mut self) {
        self.args.drain(..self.complete_args());
        self.commands.clear();
        self.discarded = self.consumed;
        if self.bytes.len() - self.consumed <= self.consumed {
            self.compact();
        }
    }

    /// Moves everything that is not yet a complete command into `next`, which must be empty, so that this batch can be
    /// handed to whoever executes it. The parser goes on with `next` as if nothing had happened.
    ///
    /// Copies the shorter of the two parts, or nothing if one of them is empty; a tail of up to [`CARRY_COPY_MAX`] bytes
    /// is copied in any case if `next` has room for it, so that buffers of different sizes stay where they belong.
    ///
    /// # Panics
    /// If `next` holds bytes: they would be lost.
    pub fn carry_into(&mut self, next: &mut Batch) {
        assert!(next.bytes.is_empty() && next.commands.is_empty(), "the batch to carry into is not empty");
        next.clear();
        let (complete, tail) = (self.consumed - self.discarded, self.bytes.len() - self.consumed);
        let roomy = tail <= CARRY_COPY_MAX && next.bytes.capacity() - next.bytes.len() >= tail;
        if tail <= complete || roomy {
            next.bytes.extend_from_slice(self.tail());
            let partial = self.args.drain(self.complete_args()..);
            next.args.extend(partial.map(|arg| arg.moved_left(self.consumed)));
            self.bytes.truncate(self.consumed);
        } else {
            // `next` takes over the buffer with the long tail, this one gets a copy of the short front.
            std::mem::swap(self, next);
            self.bytes.extend_from_slice(next.bytes.get(next.discarded..next.consumed).unwrap_or_default());
            let args = next.args.get(..next.complete_args()).unwrap_or_default();
            self.args.extend(args.iter().map(|arg| arg.moved_left(next.discarded)));
            self.commands.extend(next.commands.iter().map(|command| command.moved_left(next.discarded)));
            self.consumed = self.bytes.len();
            next.discard_complete();
        }
    }

    /// Moves the tail to the very front. Only sound when no complete command is left.
    pub(crate) fn compact(&mut self) {
        debug_assert!(self.commands.is_empty());
        let distance = self.consumed;
        self.bytes.drain(..distance);
        self.args.iter_mut().for_each(|arg| *arg = arg.moved_left(distance));
        self.discarded = 0;
        self.consumed = 0;
    }

    /// Ranges in `args` that belong to complete commands. Those behind are of the command in the tail.
    pub(crate) fn complete_args(&self) -> usize {
        self.commands.last().map_or(0, |command| command.end_arg())
    }

    /// Appends a command that didn't come through a parser: the queue of MULTI, a script's call, a command rewritten
    /// for the log. Copies the arguments. Such a batch mustn't be parsed into while bytes of a command are in its tail.
    ///
    /// # Errors
    /// [`BatchFull`] if the batch would exceed [`BATCH_BYTES_MAX`]; it is then as before.
    ///
    /// # Panics
    /// If there are bytes in the tail.
    pub fn push_command<'a>(&mut self, args: impl IntoIterator<Item = &'a [u8]>) -> Result<(), BatchFull> {
        assert!(self.consumed == self.bytes.len(), "a command can't be put behind half a command");
        let first_arg = self.args.len();
        for arg in args {
            let start = self.bytes.len();
            if BATCH_BYTES_MAX.saturating_sub(start) < arg.len() || self.args.len() >= BATCH_BYTES_MAX {
                self.bytes.truncate(self.consumed);
                self.args.truncate(first_arg);
                return Err(BatchFull);
            }
            self.bytes.extend_from_slice(arg);
            self.args.push(ArgRange::new(start, arg.len()));
        }
        let argc = (self.args.len() - first_arg) as u32;
        self.consumed = self.bytes.len();
        self.commands.push(CommandRange {
            first_arg: first_arg as u32,
            argc,
            begin: NOT_MULTIBULK,
            end: self.consumed as u32,
        });
        Ok(())
    }
}

impl fmt::Debug for Batch {
    /// The commands, and how many bytes of the next one there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("commands", &self.commands().collect::<Vec<_>>())
            .field("tail_bytes", &self.tail().len())
            .finish()
    }
}

/// A batch has no room for a command: it would exceed [`BATCH_BYTES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchFull;

impl fmt::Display for BatchFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a batch holds at most {BATCH_BYTES_MAX} bytes of commands")
    }
}

impl std::error::Error for BatchFull {}

/// One command: its name and arguments, pointing into a [`Batch`]. Copying it copies five words.
#[derive(Clone, Copy)]
pub struct Argv<'a> {
    bytes: &'a [u8],
    args: &'a [ArgRange],
    /// As in [`CommandRange`].
    begin: u32,
}

impl<'a> Argv<'a> {
    const EMPTY: Self = Self { bytes: &[], args: &[], begin: NOT_MULTIBULK };

    /// How many arguments there are, the command's name included.
    #[inline]
    pub fn len(self) -> usize {
        self.args.len()
    }

    /// Whether there isn't even a name. The parser makes no such command.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.args.is_empty()
    }

    /// Argument number `index`; 0 is the command's name.
    #[inline]
    pub fn get(self, index: usize) -> Option<&'a [u8]> {
        self.args.get(index)?.of(self.bytes)
    }

    /// Argument number `index`, or no bytes if there is none: for where the arity has been checked.
    #[inline]
    pub fn at(self, index: usize) -> &'a [u8] {
        self.get(index).unwrap_or_default()
    }

    /// The command's name as it was sent, in whatever case.
    #[inline]
    pub fn name(self) -> &'a [u8] {
        self.at(0)
    }

    /// The arguments from number `index` on, as an `Argv` of its own: a container's subcommand, or the key-value pairs
    /// of a command. Without arguments if there are fewer.
    #[inline]
    pub fn skip(self, index: usize) -> Self {
        let begin = if index == 0 { self.begin } else { NOT_MULTIBULK };
        Self { bytes: self.bytes, args: self.args.get(index..).unwrap_or_default(), begin }
    }

    /// All arguments, the command's name first.
    #[inline]
    pub fn iter(self) -> ArgvIter<'a> {
        ArgvIter { bytes: self.bytes, args: self.args.iter() }
    }

    /// The command as multibulk, exactly as writing its words would make it, if that is how it stands in the batch: which
    /// is so where a client has sent it as clients do. `None` for one that came as a line or was pushed. Linear in the
    /// number of arguments.
    #[inline]
    pub fn multibulk(self) -> Option<&'a [u8]> {
        let first = self.args.first()?;
        let mut end = self.begin as usize + number_line_len(self.args.len() as u64);
        if self.begin == NOT_MULTIBULK || end + number_line_len(u64::from(first.len)) != first.start as usize {
            return None;
        }
        // Marks and numbers are as they are written. Of each line end the parser has not looked at all bytes.
        for arg in self.args {
            let start = arg.start as usize;
            if self.bytes.get(end.checked_sub(2)?..end)? != b"\r\n"
                || self.bytes.get(start.checked_sub(1)?) != Some(&b'\n')
            {
                return None;
            }
            end = start + arg.len as usize + 2;
        }
        if self.bytes.get(end.checked_sub(2)?..end)? != b"\r\n" {
            return None;
        }
        self.bytes.get(self.begin as usize..end)
    }

    /// The sum of the arguments' lengths in bytes, without framing. Linear in their number.
    pub fn payload_bytes(self) -> usize {
        self.args.iter().map(|arg| arg.len as usize).sum()
    }
}

impl<'a> IntoIterator for Argv<'a> {
    type Item = &'a [u8];
    type IntoIter = ArgvIter<'a>;

    fn into_iter(self) -> ArgvIter<'a> {
        self.iter()
    }
}

impl fmt::Debug for Argv<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|arg| arg.escape_ascii().to_string())).finish()
    }
}

/// Bytes of a line `*N` or `$N` with its end.
#[inline]
fn number_line_len(number: u64) -> usize {
    match number {
        0..10 => 4,
        10..100 => 5,
        _ => 3 + decimal_len(number),
    }
}

/// The arguments of one command in order. Made by [`Argv::iter`].
#[derive(Clone)]
pub struct ArgvIter<'a> {
    bytes: &'a [u8],
    args: std::slice::Iter<'a, ArgRange>,
}

impl<'a> Iterator for ArgvIter<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        self.args.next().map(|arg| arg.of(self.bytes).unwrap_or_default())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.args.size_hint()
    }

    fn nth(&mut self, n: usize) -> Option<&'a [u8]> {
        self.args.nth(n).map(|arg| arg.of(self.bytes).unwrap_or_default())
    }
}

impl DoubleEndedIterator for ArgvIter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.args.next_back().map(|arg| arg.of(self.bytes).unwrap_or_default())
    }
}

impl ExactSizeIterator for ArgvIter<'_> {}
impl FusedIterator for ArgvIter<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, Parser};

    fn texts(batch: &Batch) -> Vec<String> {
        batch
            .commands()
            .map(|argv| argv.iter().map(|arg| arg.escape_ascii().to_string()).collect::<Vec<_>>().join(" "))
            .collect()
    }

    fn parsed(bytes: &[u8]) -> (Parser, Batch) {
        let (mut parser, mut batch) = (Parser::new(), Batch::new());
        batch.read_buffer().extend_from_slice(bytes);
        parser.parse(&mut batch, &Limits::default()).unwrap();
        (parser, batch)
    }

    #[test]
    fn a_batch_moves_between_threads() {
        fn assert_send<T: Send + 'static>() {}
        assert_send::<Batch>();
    }

    #[test]
    fn argv_answers_any_index() {
        let (_, batch) = parsed(b"SET k v\r\n");
        let argv = batch.command(0);
        assert_eq!((argv.len(), argv.name(), argv.get(2), argv.get(3)), (3, &b"SET"[..], Some(&b"v"[..]), None));
        assert_eq!((argv.at(usize::MAX), argv.skip(usize::MAX).len()), (&b""[..], 0));
        assert_eq!(argv.skip(1).iter().rev().collect::<Vec<_>>(), [b"v", b"k"]);
        assert_eq!((argv.payload_bytes(), argv.iter().len()), (5, 3));
    }

    #[test]
    fn what_stands_there_as_multibulk_is_what_writing_the_words_makes() {
        let written = |words: &[&[u8]]| {
            let mut bytes = Vec::new();
            crate::reply_bytes::array_header(&mut bytes, words.len());
            words.iter().for_each(|word| crate::reply_bytes::bulk(&mut bytes, word));
            bytes
        };
        for len in [0, 1, 9, 10, 11, 99, 100, 101, 999, 1000, 12345] {
            for argc in [1, 2, 9, 10, 100, 101] {
                let word = vec![b'$'; len];
                let request = written(&vec![word.as_slice(); argc]);
                let (_, batch) = parsed(&[b"\r\nPING\r\n*0\r\n".as_slice(), &request, b"*1\r\n$2\r\n"].concat());
                assert_eq!(batch.command(1).multibulk(), Some(request.as_slice()), "{argc} words of {len}");
                assert_eq!(batch.command(1).skip(1).multibulk(), None);
                assert_eq!(batch.command(0).multibulk(), None);
            }
        }
    }

    #[test]
    fn what_stands_there_in_another_form_is_not_taken_for_multibulk() {
        // The parser passes over the second byte of each line end.
        for odd in ["*2\r.$3\r\nGET\r\n$1\r\nk\r\n", "*2\r\n$3\r.GET\r\n$1\r\nk\r\n", "*2\r\n$3\r\nGET..$1\r\nk\r\n"] {
            let (_, batch) = parsed(odd.as_bytes());
            assert_eq!((texts(&batch), batch.command(0).multibulk()), (vec!["GET k".into()], None), "{odd:?}");
        }
        let (_, batch) = parsed(b"*2\r\n$3\r\nGET\r\n$1\r\nk..");
        assert_eq!((texts(&batch), batch.command(0).multibulk()), (vec!["GET k".into()], None));
        // Lines and pushed commands whose words look like framing.
        let (_, batch) = parsed(b"SET *1 $3\r\n*1\r\n$4\r\nPING\r\n");
        let mut pushed = Batch::new();
        pushed.push_command([b"*1\r\n$3\r\n".as_slice(), b"GET", b"\r\n"]).unwrap();
        pushed.push_command([b"GET".as_slice()]).unwrap();
        assert_eq!(
            (batch.command(0).multibulk(), batch.command(1).multibulk()),
            (None, Some(&b"*1\r\n$4\r\nPING\r\n"[..]))
        );
        assert_eq!((pushed.command(0).multibulk(), pushed.command(0).skip(1).multibulk()), (None, None));
        assert_eq!((pushed.command(1).multibulk(), Batch::new().commands().len()), (None, 0));
    }

    #[test]
    fn carrying_keeps_what_was_cut_from_the_tail_whichever_part_is_longer() {
        for filler in [1, 200] {
            let tail = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$400\r\n{}", "v".repeat(filler));
            let (mut parser, mut batch) = parsed(format!("GET a\r\n*2\r\n$3\r\nGET\r\n$1\r\nb\r\n{tail}").as_bytes());
            let mut next = Batch::new();
            batch.carry_into(&mut next);
            assert_eq!((texts(&batch), batch.tail().len()), (vec!["GET a".into(), "GET b".into()], 0));
            assert_eq!((next.len(), next.tail()), (0, tail.as_bytes()));
            next.read_buffer().extend_from_slice(format!("{}\r\n", "v".repeat(400 - filler)).as_bytes());
            parser.parse(&mut next, &Limits::default()).unwrap();
            assert_eq!(texts(&next), [format!("SET k {}", "v".repeat(400))]);
        }
    }

    #[test]
    fn command_bytes_add_up_to_the_stream_wherever_it_was_cut() {
        let (mut parser, mut batch) = parsed(b"\r\nGET a\r\n*0\r\n*1\r\n$4\r\nPING\r\n\nSET k ");
        assert_eq!((batch.command_bytes(0), batch.command_bytes(1), batch.command_bytes(2)), (9, 18, 0));
        assert_eq!(batch.tail(), b"SET k ");
        batch.discard_complete();
        batch.read_buffer().extend_from_slice(b"v\r\n");
        parser.parse(&mut batch, &Limits::default()).unwrap();
        assert_eq!((texts(&batch), batch.command_bytes(0)), (vec!["SET k v".into()], 9));
    }

    #[test]
    fn discarding_moves_a_long_tail_only_once_it_pays() {
        let (mut parser, mut batch) = parsed(b"GET a\r\nSET k vvvvvvvvvvvvvvv");
        batch.discard_complete();
        assert_eq!((batch.bytes.len(), batch.discarded, batch.tail().len()), (28, 7, 21));
        batch.read_buffer().extend_from_slice(b"\r\nGET");
        parser.parse(&mut batch, &Limits::default()).unwrap();
        assert_eq!((texts(&batch), batch.command_bytes(0)), (vec!["SET k vvvvvvvvvvvvvvv".into()], 23));
        batch.discard_complete();
        assert_eq!((batch.bytes.len(), batch.discarded, batch.tail()), (3, 0, &b"GET"[..]));
    }

    #[test]
    fn clearing_keeps_capacity_and_shrinking_gives_it_back() {
        let (_, mut batch) = parsed("SET k v\r\n".repeat(4000).as_bytes());
        let before = batch.heap_bytes();
        assert!(before > 36_000);
        batch.clear();
        assert_eq!((batch.heap_bytes(), batch.len(), batch.tail().len()), (before, 0, 0));
        batch.shrink_to(4096);
        assert!(batch.heap_bytes() <= 4096);
    }

    #[test]
    fn pushed_commands_read_like_parsed_ones() {
        let mut queue = Batch::new();
        let (_, batch) = parsed(b"SET k \"a b\"\r\nGET k\r\n");
        batch.commands().try_for_each(|argv| queue.push_command(argv)).unwrap();
        queue.push_command([&b"PING"[..], b""]).unwrap();
        assert_eq!(texts(&queue), ["SET k a b", "GET k", "PING "]);
    }

    #[test]
    #[should_panic(expected = "half a command")]
    fn pushing_behind_half_a_command_is_our_bug() {
        let (_, mut batch) = parsed(b"*1\r\n$4\r\nPI");
        let _ = batch.push_command([&b"PING"[..]]);
    }
}
