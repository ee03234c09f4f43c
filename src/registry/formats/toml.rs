//! TOML. The library makes a tree of the whole text; how big that can become is counted beforehand, on the tokens, which takes no
//! memory.

use super::branches::{Branch, Item};
use super::flat::{Flat, FormatError};
use super::format::line_of;
use super::literals::is_literal;
use ::toml::de::{DeInteger, DeTable, DeValue};
use toml_parser::Source;

/// Tokens for each value that there may be: a line of a key and a value has six.
const TOKENS_FOR_EACH: usize = 20;

pub(super) fn read(text: &str, flat: &mut Flat<'_>) -> Result<(), FormatError> {
    let tokens_max = TOKENS_FOR_EACH.saturating_mul(flat.entries_max());
    if Source::new(text).lex().take(tokens_max.saturating_add(1)).count() > tokens_max {
        return Err(FormatError::Limit(format!("more than {tokens_max} tokens")));
    }
    let table = DeTable::parse(text).map_err(|error| {
        let line = line_of(text.as_bytes(), error.span().map_or(0, |span| span.start));
        FormatError::Text(format!("line {line}: {}", error.message()))
    })?;
    read_table(table.get_ref(), flat)
}

fn read_table(table: &DeTable<'_>, flat: &mut Flat<'_>) -> Result<(), FormatError> {
    flat.open()?;
    for (key, value) in table {
        flat.enter(key.get_ref())?;
        read_value(value.get_ref(), flat)?;
        flat.leave();
    }
    Ok(())
}

fn read_value(value: &DeValue<'_>, flat: &mut Flat<'_>) -> Result<(), FormatError> {
    match value {
        DeValue::String(text) => flat.put(text.as_bytes()),
        DeValue::Integer(number) => {
            let digits = decimal(number).ok_or_else(|| flat.wrong("a number that is too large"))?;
            flat.put(digits.as_bytes())
        }
        DeValue::Float(number) => flat.put(number.as_str().as_bytes()),
        DeValue::Boolean(truth) => flat.put(if *truth { b"true" } else { b"false" }),
        DeValue::Datetime(moment) => flat.put(moment.to_string().as_bytes()),
        DeValue::Array(list) => {
            flat.open()?;
            for (index, element) in list.iter().enumerate() {
                flat.enter_element(index)?;
                read_value(element.get_ref(), flat)?;
                flat.leave();
            }
            Ok(())
        }
        DeValue::Table(table) => read_table(table, flat),
    }
}

/// A number's decimal digits: those that stand there, of any count, or what digits of another base mean.
fn decimal(number: &DeInteger<'_>) -> Option<String> {
    match number.radix() {
        10 => Some(number.as_str().to_owned()),
        radix => u64::from_str_radix(number.as_str(), radix).ok().map(|value| value.to_string()),
    }
}

pub(super) fn write(root: Branch<'_, '_>) -> String {
    let mut out = String::new();
    put_table(&mut out, root, &mut Vec::new());
    out
}

/// What stands in a table, and behind it the tables in it, each under a header of its own.
fn put_table<'e>(out: &mut String, table: Branch<'_, 'e>, header: &mut Vec<&'e str>) {
    let is_table = |item: &Item<'_, '_>| matches!(item, Item::Map(_));
    let mut opened = header.is_empty();
    for (key, item) in table.items().filter(|(_, item)| !is_table(item)) {
        if !opened {
            opened = true;
            if !out.is_empty() {
                out.push('\n');
            }
            out.push('[');
            for (at, part) in header.iter().enumerate() {
                out.push_str(if at > 0 { "." } else { "" });
                put_key(out, part);
            }
            out.push_str("]\n");
        }
        put_key(out, key);
        out.push_str(" = ");
        put_item(out, item);
        out.push('\n');
    }
    for (key, item) in table.items() {
        if let Item::Map(below) = item {
            header.push(key);
            put_table(out, below, header);
            header.pop();
        }
    }
}

fn put_item(out: &mut String, item: Item<'_, '_>) {
    match item {
        Item::Value(value) if is_literal(value) => out.push_str(value),
        Item::Value(value) => put_text(out, value),
        Item::List(list) => {
            out.push('[');
            for (at, element) in list.elements().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                put_item(out, element);
            }
            out.push(']');
        }
        Item::Map(map) => {
            out.push_str("{ ");
            for (at, (key, item)) in map.items().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                put_key(out, key);
                out.push_str(" = ");
                put_item(out, item);
            }
            out.push_str(" }");
        }
    }
}

fn put_key(out: &mut String, key: &str) {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !key.is_empty() && key.bytes().all(is_bare) { out.push_str(key) } else { put_text(out, key) }
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
            _ if character.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(character))),
            _ => out.push(character),
        }
    }
    out.push('"');
}
