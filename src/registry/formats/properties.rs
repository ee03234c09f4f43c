//! Properties, as Java reads and writes them: lines of a key and a value, comments, lines that go on in the next one, and escapes.
//! The parts of a path have dots between them; a dot with a backslash before it belongs to its part, and Java reads it as a dot.

use super::branches::Branch;
use super::flat::{Flat, FormatError};
use std::borrow::Cow;
use std::str::Chars;

pub(super) fn read(text: &str, flat: &mut Flat<'_>) -> Result<(), FormatError> {
    let mut lines = Lines { rest: text, number: 0 };
    while let Some((number, line)) = lines.next() {
        read_line(&line, flat).map_err(|error| match error {
            FormatError::Path(why) => FormatError::Path(format!("line {number}: {why}")),
            FormatError::Limit(why) => FormatError::Limit(format!("line {number}: {why}")),
            FormatError::Text(why) => FormatError::Text(format!("line {number}: {why}")),
        })?;
    }
    Ok(())
}

fn read_line(line: &str, flat: &mut Flat<'_>) -> Result<(), FormatError> {
    let (mut chars, mut part, mut depth) = (line.chars(), String::new(), 0);
    // A key ends before the first blank, = or : that has no backslash before it.
    let value = loop {
        let before = chars.as_str();
        match chars.next() {
            None => break "",
            Some(' ' | '\t' | '\u{c}' | '=' | ':') => break before,
            Some('.') => {
                enter(flat, &part)?;
                depth += 1;
                part.clear();
            }
            Some('\\') => part.extend(escaped(&mut chars)?),
            Some(character) => part.push(character),
        }
    };
    if depth > 0 {
        enter(flat, &part)?;
    } else {
        flat.enter(&part)?;
    }
    let value = value.trim_start_matches(BLANKS);
    let value = value.strip_prefix(['=', ':']).unwrap_or(value).trim_start_matches(BLANKS);
    if value.contains('\\') {
        let (mut chars, mut plain) = (value.chars(), String::with_capacity(value.len()));
        while let Some(character) = chars.next() {
            if character == '\\' {
                plain.extend(escaped(&mut chars)?);
            } else {
                plain.push(character);
            }
        }
        flat.put(plain.as_bytes())?;
    } else {
        flat.put(value.as_bytes())?;
    }
    (0..=depth).for_each(|_| flat.leave());
    Ok(())
}

/// A part of a key that has several.
fn enter(flat: &mut Flat<'_>, part: &str) -> Result<(), FormatError> {
    if part.is_empty() {
        return Err(FormatError::Path("a key with an empty part".into()));
    }
    flat.enter(part)
}

/// What a backslash and the characters behind it mean; nothing, at the end of a text.
fn escaped(chars: &mut Chars<'_>) -> Result<Option<char>, FormatError> {
    Ok(match chars.next() {
        Some('t') => Some('\t'),
        Some('n') => Some('\n'),
        Some('r') => Some('\r'),
        Some('f') => Some('\u{c}'),
        Some('u') => {
            let first = unit(chars)?;
            let mut units = vec![first];
            if (0xd800..0xdc00).contains(&first) && chars.as_str().starts_with("\\u") {
                chars.nth(1);
                units.push(unit(chars)?);
            }
            let mut decoded = char::decode_utf16(units);
            match (decoded.next(), decoded.next()) {
                (Some(Ok(character)), None) => Some(character),
                _ => return Err(FormatError::Text("half a character behind \\u".into())),
            }
        }
        other => other,
    })
}

fn unit(chars: &mut Chars<'_>) -> Result<u16, FormatError> {
    let digits = chars.as_str().get(..4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let unit = digits.and_then(|digits| u16::from_str_radix(digits, 16).ok());
    chars.nth(3);
    unit.ok_or_else(|| FormatError::Text("\\u without four hexadecimal digits".into()))
}

const BLANKS: [char; 3] = [' ', '\t', '\u{c}'];

/// Lines with something in them, put together where they go on.
struct Lines<'t> {
    rest: &'t str,
    number: usize,
}

impl<'t> Lines<'t> {
    /// The number of the first of its lines, and the line.
    fn next(&mut self) -> Option<(usize, Cow<'t, str>)> {
        loop {
            let line = self.natural()?.trim_start_matches(BLANKS);
            if line.is_empty() || line.starts_with(['#', '!']) {
                continue;
            }
            let (number, mut whole, mut last) = (self.number, Cow::Borrowed(line), line);
            // What is left of a line that went on ends with pairs of backslashes: only the last one needs a look.
            while goes_on(last) {
                last = self.natural().unwrap_or_default().trim_start_matches(BLANKS);
                let whole = whole.to_mut();
                whole.pop();
                whole.push_str(last);
            }
            return Some((number, whole));
        }
    }

    /// The next line as it stands there.
    fn natural(&mut self) -> Option<&'t str> {
        if self.rest.is_empty() {
            return None;
        }
        self.number += 1;
        let end = memchr::memchr2(b'\n', b'\r', self.rest.as_bytes()).unwrap_or(self.rest.len());
        let (line, rest) = self.rest.split_at(end);
        self.rest = rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix(['\n', '\r'])).unwrap_or(rest);
        Some(line)
    }
}

/// Whether the last of a line's backslashes stands for itself, and so for a line that follows.
fn goes_on(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

pub(super) fn write(root: Branch<'_, '_>) -> String {
    let mut out = String::new();
    for (path, value) in root.entries() {
        for (at, part) in path.split('/').skip(1).enumerate() {
            out.push_str(if at > 0 { "." } else { "" });
            put(&mut out, part, true);
        }
        out.push('=');
        put(&mut out, value, false);
        out.push('\n');
    }
    out
}

fn put(out: &mut String, text: &str, is_key: bool) {
    for (at, character) in text.chars().enumerate() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{c}' => out.push_str("\\f"),
            ' ' if is_key || at == 0 => out.push_str("\\ "),
            '=' | ':' | '#' | '!' | '.' if is_key => {
                out.push('\\');
                out.push(character);
            }
            _ if character.is_control() || character == '\u{feff}' => {
                out.push_str(&format!("\\u{:04X}", u32::from(character)))
            }
            _ => out.push(character),
        }
    }
}
