//! Weir as the scenarios see it: commands of the Redis protocol, version 3. All paths are in one store, `cfg`.

use std::collections::VecDeque;

use weir_resp::reply_bytes::{array_header, bulk};

use crate::Outcome;
use crate::session::{Heard, Observed, Session, Tag};

const STORE: &[u8] = b"cfg";

/// A connection to Weir.
#[derive(Default)]
pub(crate) struct Weir {
    /// Whether what is written is to be on disk when it is answered.
    is_durable: bool,
    /// What the answers to come belong to.
    asked: VecDeque<(Kind, Tag)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// HELLO, and what else is said first; the last one makes the session ready.
    Greeting,
    LastGreeting,
    Write,
    Get,
    List,
    Observe,
}

impl Weir {
    pub(crate) fn new(is_durable: bool) -> Weir {
        Weir { is_durable, asked: VecDeque::new() }
    }

    fn ask(&mut self, kind: Kind, tag: Tag, words: &[&[u8]], to: &mut Vec<u8>) {
        self.asked.push_back((kind, tag));
        array_header(to, words.len());
        for word in words {
            bulk(to, word);
        }
    }

    fn value(&mut self, value: Value<'_>, heard: &mut dyn FnMut(Heard<'_>) -> Outcome<()>) -> Outcome<()> {
        if value.kind == b'>' {
            return push(value, heard);
        }
        let (kind, tag) = self.asked.pop_front().ok_or("an answer to nothing")?;
        if matches!(value.kind, b'-' | b'!') {
            return Err(format!("Weir answers {}", String::from_utf8_lossy(value.line)).into());
        }
        match kind {
            Kind::Greeting => Ok(()),
            Kind::LastGreeting => heard(Heard::Ready),
            Kind::Write => heard(Heard::Written(tag, number(value.line)?)),
            Kind::Get => heard(Heard::Value(tag, value.text()?)),
            Kind::List => heard(Heard::Listed(tag, 0)),
            Kind::Observe => heard(Heard::Observing(tag)),
        }
    }
}

/// What Weir sends by itself: `cfg.event id revision [[type path value ..] ..]`, or that an observation has caught up.
fn push(value: Value<'_>, heard: &mut dyn FnMut(Heard<'_>) -> Outcome<()>) -> Outcome<()> {
    let mut parts = value.inner();
    match parts.next()?.and_then(|name| name.text().ok().flatten()) {
        Some(b"cfg.event") => {
            parts.next()?;
            parts.next()?;
            let mut events = parts.next()?.ok_or("a frame without events")?.inner();
            while let Some(event) = events.next()? {
                let mut event = event.inner();
                event.next()?;
                event.next()?;
                heard(Heard::Event(event.next()?.ok_or("an event without a value")?.text()?.unwrap_or_default()))?;
            }
            Ok(())
        }
        Some(b"cfg.synced" | b"cfg.progress") => Ok(()),
        _ => Err(format!("Weir sends {}", String::from_utf8_lossy(value.line)).into()),
    }
}

impl Session for Weir {
    fn greet(&mut self, to: &mut Vec<u8>) {
        if self.is_durable {
            self.ask(Kind::Greeting, 0, &[b"CFG.SET", STORE, b"DURABLE", b"yes"], to);
        }
        self.ask(Kind::LastGreeting, 0, &[b"HELLO", b"3"], to);
    }

    fn create(&mut self, tag: Tag, path: &[u8], value: &[u8], to: &mut Vec<u8>) {
        self.put(tag, path, value, to);
    }

    fn put(&mut self, tag: Tag, path: &[u8], value: &[u8], to: &mut Vec<u8>) {
        self.ask(Kind::Write, tag, &[b"CFG.PUT", STORE, path, value], to);
    }

    fn get(&mut self, tag: Tag, path: &[u8], to: &mut Vec<u8>) {
        self.ask(Kind::Get, tag, &[b"CFG.GET", STORE, path], to);
    }

    fn list(&mut self, tag: Tag, path: &[u8], to: &mut Vec<u8>) {
        self.ask(Kind::List, tag, &[b"CFG.RANGE", STORE, &[path, b"/"].concat(), b"PREFIX", b"KEYSONLY"], to);
    }

    fn observe(&mut self, tag: Tag, observed: Observed<'_>, to: &mut Vec<u8>) {
        let (name, from) = (tag.to_string(), observed.from.to_string());
        let mut words: Vec<&[u8]> = vec![b"CFG.WATCH", STORE, observed.path];
        if observed.is_prefix {
            words.push(b"PREFIX");
        }
        words.extend([b"ID".as_slice(), name.as_bytes()]);
        if observed.from > 0 {
            words.extend([b"FROM".as_slice(), from.as_bytes()]);
        }
        self.ask(Kind::Observe, tag, &words, to);
    }

    fn hear(
        &mut self,
        bytes: &[u8],
        _: &mut Vec<u8>,
        heard: &mut dyn FnMut(Heard<'_>) -> Outcome<()>,
    ) -> Outcome<usize> {
        let mut used = 0;
        while let Some(value) = Value::first_of(&bytes[used..])? {
            used += value.bytes;
            self.value(value, heard)?;
        }
        Ok(used)
    }
}

/// A value of the protocol where it lies.
#[derive(Clone, Copy)]
struct Value<'a> {
    kind: u8,
    /// What stands in its first line behind the kind.
    line: &'a [u8],
    /// Everything behind the first line.
    rest: &'a [u8],
    /// How long it is.
    bytes: usize,
}

impl<'a> Value<'a> {
    /// The value that bytes begin with; `None`: it is not whole.
    fn first_of(bytes: &'a [u8]) -> Outcome<Option<Value<'a>>> {
        let Some(first) = line_end(bytes) else { return Ok(None) };
        let (kind, line) = (bytes[0], &bytes[1..first - 2]);
        // Values that are still to come until the first one is whole.
        let (mut open, mut end) = (1_u64, 0_usize);
        while open > 0 {
            let Some(length) = bytes.get(end..).and_then(line_end) else { return Ok(None) };
            let (kind, line) = (bytes[end], &bytes[end + 1..end + length - 2]);
            end += length;
            open -= 1;
            match kind {
                b'$' | b'=' | b'!' if line != b"-1" => end += number(line)? as usize + 2,
                b'*' | b'>' | b'~' if line != b"-1" => open += number(line)?,
                b'%' => open += 2 * number(line)?,
                _ => {}
            }
        }
        Ok(bytes.get(first..end).map(|rest| Value { kind, line, rest, bytes: end }))
    }

    /// A text; `None` for the null.
    fn text(self) -> Outcome<Option<&'a [u8]>> {
        match self.kind {
            b'+' | b':' => Ok(Some(self.line)),
            b'$' if self.line != b"-1" => Ok(self.rest.strip_suffix(b"\r\n")),
            b'$' | b'_' => Ok(None),
            _ => Err(format!("a value of another kind than a text: {}", self.kind as char).into()),
        }
    }

    /// What it is made of; nothing unless it is an aggregate.
    fn inner(self) -> Inner<'a> {
        Inner { rest: if matches!(self.kind, b'*' | b'>' | b'%' | b'~') { self.rest } else { b"" } }
    }
}

/// The values within a value.
struct Inner<'a> {
    rest: &'a [u8],
}

impl<'a> Inner<'a> {
    fn next(&mut self) -> Outcome<Option<Value<'a>>> {
        let value = Value::first_of(self.rest)?;
        self.rest = &self.rest[value.map_or(0, |value| value.bytes)..];
        Ok(value)
    }
}

/// How long the first line is, with its end.
fn line_end(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|&byte| byte == b'\n').map(|at| at + 1).filter(|&length| length >= 3)
}

fn number(digits: &[u8]) -> Outcome<u64> {
    Ok(str::from_utf8(digits)?.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_cut_where_they_end() -> Outcome<()> {
        let whole: [&[u8]; 6] = [
            b"+OK\r\n",
            b":12\r\n",
            b"$5\r\na\r\nbc\r\n",
            b"_\r\n",
            b"*2\r\n*1\r\n:1\r\n$0\r\n\r\n",
            b"%1\r\n+a\r\n*0\r\n",
        ];
        for value in whole {
            for cut in 0..value.len() {
                assert!(Value::first_of(&value[..cut])?.is_none(), "{value:?} to {cut}");
            }
            let more = [value, b"+more\r\n"].concat();
            assert_eq!(Value::first_of(&more)?.map(|found| found.bytes), Some(value.len()));
        }
        assert!(Value::first_of(b"$x\r\n").is_err());
        Ok(())
    }

    #[test]
    fn frames_stand_between_answers() -> Outcome<()> {
        let mut session = Weir::default();
        let mut sent = Vec::new();
        session.put(3, b"/a", b"x", &mut sent);
        session.get(4, b"/a", &mut sent);
        let came =
            b":9\r\n>4\r\n$9\r\ncfg.event\r\n$1\r\n1\r\n:9\r\n*1\r\n*3\r\n+put\r\n$2\r\n/a\r\n$1\r\nx\r\n$1\r\nx\r\n";
        let mut all = Vec::new();
        let used = session.hear(came, &mut sent, &mut |heard| {
            all.push(format!("{heard:?}"));
            Ok(())
        })?;
        assert_eq!(used, came.len());
        assert_eq!(all, ["Written(3, 9)", "Event([120])", "Value(4, Some([120]))"]);
        Ok(())
    }
}
