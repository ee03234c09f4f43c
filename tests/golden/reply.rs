//! Replies: as they come off the wire, as a transcript writes them, and whether the two agree.
//!
//! A reply is read into [`Found`], whose lines are the transcript's notation; what a transcript expects is [`Expected`].
//! `replay.py` does the same in Python; a rule that changes here changes there and in `README.md`.

use regex::Regex;

/// A reply that was received, or part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// What fits on one line.
    Leaf(String),
    /// Kind and length, and the elements.
    Aggregate(String, Vec<Found>),
}

/// What a transcript expects.
#[derive(Clone, Debug)]
pub(crate) enum Expected {
    /// `...`: one reply, whatever it is.
    Anything,
    /// `~ regex`: one line that matches as a whole.
    Pattern(Regex),
    /// Exactly this line.
    Leaf(String),
    /// Kind and length, how its elements are compared, and these.
    Aggregate(String, Order, Vec<Expected>),
    /// `(none)`: nothing arrives.
    Silence,
    /// `(closed)`: the server has closed the connection.
    Closed,
}

/// How the elements of an aggregate are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// One by one.
    Fixed,
    /// In any order; pairs of a map stay together.
    Any,
    /// In any order, but two by two.
    Pairs,
}

impl Found {
    /// Takes the first reply off `bytes`; `None` if it is not complete yet.
    ///
    /// # Errors
    /// Says what is not RESP.
    pub(crate) fn take(bytes: &mut &[u8]) -> Result<Option<Found>, String> {
        let mut rest = *bytes;
        let found = Self::read(&mut rest)?;
        if found.is_some() {
            *bytes = rest;
        }
        Ok(found)
    }

    fn read(bytes: &mut &[u8]) -> Result<Option<Found>, String> {
        let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
        let (line, rest) = (&bytes[..end], &bytes[end + 2..]);
        let Some((&kind, text)) = line.split_first() else { return Err("an empty line is not RESP".to_owned()) };
        *bytes = rest;
        let kind = char::from(kind);
        let leaf = |line: String| Ok(Some(Found::Leaf(line)));
        match (kind, text) {
            ('+' | '-', _) => leaf(format!("{kind}{}", plain(text))),
            (':' | ',' | '(' | '#', _) => leaf(format!("{kind}{}", latin1(text))),
            ('_', b"") | ('$', b"-1") => leaf("(nil)".to_owned()),
            ('*', b"-1") => leaf("(nil array)".to_owned()),
            ('$' | '=', _) => {
                let len = number(line)?;
                if bytes.len() < len + 2 {
                    return Ok(None);
                }
                let (body, after) = (&bytes[..len], &bytes[len..]);
                if !after.starts_with(b"\r\n") {
                    return Err(format!("{} is not followed by its bytes and CR LF", line.escape_ascii()));
                }
                *bytes = &after[2..];
                match (kind, body.split_at_checked(4)) {
                    ('=', Some((format, body))) => leaf(format!("={}{}", latin1(format), quoted(body))),
                    ('=', None) => Err("verbatim text without its format".to_owned()),
                    _ => leaf(quoted(body)),
                }
            }
            ('*' | '%' | '~' | '>' | '|', _) => {
                let mut elements = Vec::new();
                for _ in 0..elements_of(kind, number(line)?) {
                    match Self::read(bytes)? {
                        Some(element) => elements.push(element),
                        None => return Ok(None),
                    }
                }
                Ok(Some(Found::Aggregate(latin1(line), elements)))
            }
            _ => Err(format!("{} is not RESP", line.escape_ascii())),
        }
    }

    /// As a transcript writes it.
    pub(crate) fn lines(&self) -> Vec<String> {
        match self {
            Found::Leaf(line) => vec![line.clone()],
            Found::Aggregate(header, elements) => indented(header.clone(), elements.iter().map(Found::lines)),
        }
    }
}

impl Expected {
    /// What the text behind `<` expects; the elements of an aggregate are not in it.
    ///
    /// # Errors
    /// A regular expression that is none.
    pub(crate) fn of_line(text: &str) -> Result<Expected, String> {
        Ok(match text {
            "..." => Expected::Anything,
            "(none)" => Expected::Silence,
            "(closed)" => Expected::Closed,
            _ => match text.strip_prefix("~ ") {
                Some(pattern) => {
                    Expected::Pattern(Regex::new(&format!(r"\A(?:{pattern})\z")).map_err(|e| e.to_string())?)
                }
                None => Expected::Leaf(text.to_owned()),
            },
        })
    }

    /// Splits the head of an aggregate into its kind and length, its order, and how many elements follow; `None` if
    /// the text is no such head.
    pub(crate) fn aggregate_head(text: &str) -> Option<(&str, Order, usize)> {
        let (order, head) = match text.strip_prefix("unordered ") {
            None => (Order::Fixed, text),
            Some(rest) => rest.strip_prefix("pairs ").map_or((Order::Any, rest), |head| (Order::Pairs, head)),
        };
        let kind = head.chars().next().filter(|kind| "*%~>|".contains(*kind))?;
        let digits = &head[1..];
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        Some((head, order, elements_of(kind, digits.parse().ok()?)))
    }

    /// Whether `found` is what is expected.
    pub(crate) fn matches(&self, found: &Found) -> bool {
        match (self, found) {
            (Expected::Anything, _) => true,
            (Expected::Pattern(pattern), Found::Leaf(line)) => pattern.is_match(line),
            (Expected::Leaf(wanted), Found::Leaf(line)) => wanted == line,
            (Expected::Aggregate(head, order, wanted), Found::Aggregate(found_head, found)) => {
                head == found_head && elements_match(head, *order, wanted, found)
            }
            _ => false,
        }
    }

    /// As a transcript writes it.
    pub(crate) fn lines(&self) -> Vec<String> {
        match self {
            Expected::Anything => vec!["...".to_owned()],
            Expected::Pattern(pattern) => {
                vec![format!("~ {}", &pattern.as_str()[r"\A(?:".len()..pattern.as_str().len() - r")\z".len()])]
            }
            Expected::Leaf(line) => vec![line.clone()],
            Expected::Silence => vec!["(none)".to_owned()],
            Expected::Closed => vec!["(closed)".to_owned()],
            Expected::Aggregate(head, order, elements) => {
                let order = match order {
                    Order::Fixed => "",
                    Order::Any => "unordered ",
                    Order::Pairs => "unordered pairs ",
                };
                indented(format!("{order}{head}"), elements.iter().map(Expected::lines))
            }
        }
    }
}

/// How many elements an aggregate of this kind and length has: an attribute brings the reply that it describes.
fn elements_of(kind: char, len: usize) -> usize {
    match kind {
        '%' => len * 2,
        '|' => len * 2 + 1,
        _ => len,
    }
}

fn elements_match(head: &str, order: Order, wanted: &[Expected], found: &[Found]) -> bool {
    let together = if order == Order::Pairs || (order == Order::Any && head.starts_with('%')) { 2 } else { 1 };
    let mut left: Vec<&[Found]> = found.chunks(together).collect();
    for group in wanted.chunks(together) {
        // Fixed order looks only at the head; free order takes the first that is left and matches.
        let candidates = if order == Order::Fixed { left.len().min(1) } else { left.len() };
        let fits = |found: &&[Found]| found.len() == group.len() && group.iter().zip(*found).all(|(w, f)| w.matches(f));
        match left[..candidates].iter().position(fits) {
            Some(at) => left.remove(at),
            None => return false,
        };
    }
    left.is_empty()
}

fn indented(head: String, elements: impl Iterator<Item = Vec<String>>) -> Vec<String> {
    let mut lines = vec![head];
    lines.extend(elements.flatten().map(|line| format!("  {line}")));
    lines
}

fn number(line: &[u8]) -> Result<usize, String> {
    let digits = std::str::from_utf8(&line[1..]).ok().and_then(|digits| digits.parse().ok());
    digits.ok_or_else(|| format!("{} has no length", line.escape_ascii()))
}

/// One character for each byte, as the transcripts are read.
pub(crate) fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// Bytes in quotes: printable ASCII as it is, the rest escaped.
fn quoted(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for &byte in bytes {
        match byte {
            b'\\' => text.push_str("\\\\"),
            b'"' => text.push_str("\\\""),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            7 => text.push_str("\\a"),
            8 => text.push_str("\\b"),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text.push('"');
    text
}

/// A simple string or an error: one line by protocol. Odd bytes are escaped, and so is a space at the end.
fn plain(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            b' ' if at + 1 == bytes.len() => text.push_str("\\x20"),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text
}
