//! YAML, as events of the parser: nothing is built but the list of paths, so what refers to something else (anchors, aliases), or
//! says how it wants to be read (tags), is refused where it begins.
//!
//! A value without quotes is the text that stands there: `yes`, `1.10` and `0x1F` stay what they are. What means that there is none
//! (`null`, `~`, nothing) is an empty value.

use super::branches::{Branch, Item};
use super::flat::{Flat, FormatError};
use super::literals::is_literal;
use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use std::collections::HashSet;

/// Keys up to this length may stand before a colon without a question mark; readers look at 1,024 characters.
const SHORT_KEY_CHARS: usize = 1_000;
const INDENT: &str = "  ";

/// Signs that begin or end something, for each value that there may be: in brackets the parser looks ahead as far as the last one
/// before it gives the first event, and keeps what it has seen.
const SIGNS_FOR_EACH: usize = 16;

/// A map or a list that is being read.
#[derive(Debug)]
enum Open {
    /// The keys so far; whether the next scalar is the value of the last one.
    Map { keys: HashSet<String>, at_value: bool },
    /// Elements so far.
    List(usize),
}

pub(super) fn read(text: &str, flat: &mut Flat<'_>) -> Result<(), FormatError> {
    let signs_max = SIGNS_FOR_EACH.saturating_mul(flat.entries_max());
    if text.bytes().filter(|byte| b",:[]{}&*!?\"'".contains(byte)).count() > signs_max {
        return Err(FormatError::Limit(format!("more than {signs_max} signs")));
    }
    let (mut open, mut documents): (Vec<Open>, usize) = (Vec::new(), 0);
    for event in Parser::new_from_str(text) {
        let (event, span) =
            event.map_err(|error| FormatError::Text(format!("line {}: {}", error.marker().line(), error.info())))?;
        let wrong = |why: &str| Err(FormatError::Text(format!("line {}: {why}", span.start.line())));
        let (anchor, tag) = match &event {
            Event::Alias(_) => return wrong("aliases are not read"),
            Event::Scalar(_, _, anchor, tag) | Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) => {
                (*anchor, tag.is_some())
            }
            _ => (0, false),
        };
        if anchor > 0 {
            return wrong("anchors are not read");
        } else if tag {
            return wrong("tags are not read");
        }
        match event {
            Event::DocumentStart(_) => {
                documents += 1;
                if documents > 1 {
                    return wrong("a second document");
                }
            }
            Event::Scalar(text, style, ..) => match open.last_mut() {
                Some(Open::Map { keys, at_value: at_value @ false }) => {
                    if keys.contains(text.as_ref()) {
                        return Err(on_line(span, flat.twice(&text)));
                    }
                    flat.enter(&text).map_err(|error| on_line(span, error))?;
                    keys.insert(text.into_owned());
                    *at_value = true;
                }
                above => {
                    let is_null = style == ScalarStyle::Plain && is_null(&text);
                    let Some(above) = above else {
                        // A document of nothing but comments has one empty scalar.
                        if is_null {
                            continue;
                        }
                        return wrong("the whole must be a map");
                    };
                    begin(above, flat)?;
                    flat.put(if is_null { b"" } else { text.as_bytes() })?;
                    end(Some(above), flat);
                }
            },
            Event::MappingStart(..) | Event::SequenceStart(..) => {
                let is_map = matches!(event, Event::MappingStart(..));
                match open.last_mut() {
                    None if !is_map => return wrong("the whole must be a map"),
                    None => {}
                    Some(Open::Map { at_value: false, .. }) => {
                        let why = format!("line {}: a key must be a text", span.start.line());
                        return Err(FormatError::Path(why));
                    }
                    Some(above) => begin(above, flat)?,
                }
                flat.open().map_err(|error| on_line(span, error))?;
                let map = Open::Map { keys: HashSet::new(), at_value: false };
                open.push(if is_map { map } else { Open::List(0) });
            }
            Event::MappingEnd | Event::SequenceEnd => {
                open.pop();
                end(open.last_mut(), flat);
            }
            _ => {}
        }
    }
    Ok(())
}

/// A value begins, in what is open. (In a map its key has come before.)
fn begin(above: &mut Open, flat: &mut Flat<'_>) -> Result<(), FormatError> {
    match above {
        Open::Map { .. } => Ok(()),
        Open::List(index) => {
            *index += 1;
            flat.enter_element(*index - 1)
        }
    }
}

/// A value is over.
fn end(above: Option<&mut Open>, flat: &mut Flat<'_>) {
    if let Some(Open::Map { at_value, .. }) = &above {
        debug_assert!(*at_value, "a value has a key");
    }
    if let Some(above) = above {
        flat.leave();
        if let Open::Map { at_value, .. } = above {
            *at_value = false;
        }
    }
}

fn on_line(span: Span, error: FormatError) -> FormatError {
    let line = span.start.line();
    match error {
        FormatError::Path(why) => FormatError::Path(format!("line {line}: {why}")),
        FormatError::Limit(why) => FormatError::Limit(format!("line {line}: {why}")),
        FormatError::Text(why) => FormatError::Text(format!("line {line}: {why}")),
    }
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

pub(super) fn write(root: Branch<'_, '_>) -> String {
    let mut out = String::new();
    if root.is_empty() {
        out.push_str("{}\n");
    } else {
        put_map(&mut out, root, 0, false);
    }
    out
}

/// The lines of a map; the first one goes on in the line that is there if `inline`.
fn put_map(out: &mut String, map: Branch<'_, '_>, depth: usize, inline: bool) {
    for (at, (key, item)) in map.items().enumerate() {
        if at > 0 || !inline {
            put_indent(out, depth);
        }
        if key.chars().count() > SHORT_KEY_CHARS {
            out.push_str("? ");
            put_text(out, key);
            out.push('\n');
            put_indent(out, depth);
        } else if is_plain(key) {
            out.push_str(key);
        } else {
            put_text(out, key);
        }
        out.push(':');
        match item {
            Item::Value(value) => put_value(out, value),
            Item::Map(below) => {
                out.push('\n');
                put_map(out, below, depth + 1, false);
            }
            Item::List(below) => {
                out.push('\n');
                put_list(out, below, depth + 1, false);
            }
        }
    }
}

fn put_list(out: &mut String, list: Branch<'_, '_>, depth: usize, inline: bool) {
    for (at, item) in list.elements().enumerate() {
        if at > 0 || !inline {
            put_indent(out, depth);
        }
        out.push('-');
        match item {
            Item::Value(value) => put_value(out, value),
            Item::Map(below) => {
                out.push(' ');
                put_map(out, below, depth + 1, true);
            }
            Item::List(below) => {
                out.push(' ');
                put_list(out, below, depth + 1, true);
            }
        }
    }
}

fn put_value(out: &mut String, value: &str) {
    out.push(' ');
    if is_literal(value) || is_plain(value) {
        out.push_str(value);
    } else {
        put_text(out, value);
    }
    out.push('\n');
}

fn put_indent(out: &mut String, depth: usize) {
    (0..depth).for_each(|_| out.push_str(INDENT));
}

/// Whether a text means itself without quotes, to readers of YAML 1.1 too.
fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 13] =
        ["null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf", "none", "undefined"];
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"_./@+%()= -".contains(&byte);
    text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'/' || byte == b'_')
        && text.bytes().all(inner)
        && !text.ends_with(' ')
        && text.len() <= SHORT_KEY_CHARS
        && !WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}

fn put_text(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                out.push_str(&format!("\\u{:04X}", u32::from(character)));
            }
            _ if character.is_control() => out.push_str(&format!("\\x{:02X}", u32::from(character))),
            _ => out.push(character),
        }
    }
    out.push('"');
}
