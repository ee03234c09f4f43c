//! JSON. The texts of the values of a map or a list are cut out first, and read one by one: so a number is the digits that stand
//! there, and the stack is as deep as [`super::DEPTH_MAX`] allows and no deeper.

use super::branches::{Branch, Item};
use super::flat::{Flat, FormatError};
use super::literals::is_literal;
use serde_core::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::HashSet;
use std::fmt;

const INDENT: &str = "  ";

pub(super) fn read(text: &str, flat: &mut Flat<'_>) -> Result<(), FormatError> {
    // Whatever is wrong with the form of the whole is found here, with its line.
    let whole: &RawValue = serde_json::from_str(text).map_err(|error| FormatError::Text(error.to_string()))?;
    if !whole.get().starts_with('{') {
        return Err(FormatError::Text("the whole must be a map".into()));
    }
    read_value(whole.get(), flat)
}

fn read_value(text: &str, flat: &mut Flat<'_>) -> Result<(), FormatError> {
    match text.as_bytes().first() {
        Some(b'{' | b'[') => {
            flat.open()?;
            let mut failed = None;
            let mut deserializer = serde_json::Deserializer::from_str(text);
            let read = Inside { flat: &mut *flat, failed: &mut failed }.deserialize(&mut deserializer);
            match (read, failed) {
                (Ok(()), _) => Ok(()),
                (Err(_), Some(failed)) => Err(failed),
                (Err(error), None) => Err(flat.wrong(error)),
            }
        }
        Some(b'"') => {
            let value: String = serde_json::from_str(text).map_err(|error| flat.wrong(error))?;
            flat.put(value.as_bytes())
        }
        Some(b'n') => flat.put(b""),
        _ => flat.put(text.as_bytes()),
    }
}

/// Reads what is in a map or a list.
struct Inside<'i, 'l> {
    flat: &'i mut Flat<'l>,
    /// What went wrong, where it is not the form of the text.
    failed: &'i mut Option<FormatError>,
}

impl Inside<'_, '_> {
    fn keep<E: serde_core::de::Error>(&mut self, result: Result<(), FormatError>) -> Result<(), E> {
        result.map_err(|error| {
            *self.failed = Some(error);
            E::custom("")
        })
    }
}

impl<'de> DeserializeSeed<'de> for Inside<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Inside<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map or a list")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut keys: HashSet<String> = HashSet::new();
        while let Some((key, value)) = map.next_entry::<String, &RawValue>()? {
            let result = if keys.contains(&key) {
                Err(self.flat.twice(&key))
            } else {
                self.flat.enter(&key).and_then(|()| read_value(value.get(), self.flat))
            };
            self.keep::<A::Error>(result)?;
            self.flat.leave();
            keys.insert(key);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        let mut index = 0;
        while let Some(value) = list.next_element::<&RawValue>()? {
            let result = self.flat.enter_element(index).and_then(|()| read_value(value.get(), self.flat));
            self.keep::<A::Error>(result)?;
            self.flat.leave();
            index += 1;
        }
        Ok(())
    }
}

pub(super) fn write(root: Branch<'_, '_>) -> String {
    let mut out = String::new();
    if root.is_empty() {
        out.push_str("{}");
    } else {
        put_map(&mut out, root, 0);
    }
    out.push('\n');
    out
}

fn put_item(out: &mut String, item: Item<'_, '_>, depth: usize) {
    match item {
        Item::Value(value) if is_literal(value) => out.push_str(value),
        Item::Value(value) => put_text(out, value),
        Item::Map(map) => put_map(out, map, depth),
        Item::List(list) => {
            out.push('[');
            for (at, element) in list.elements().enumerate() {
                put_line(out, at, depth + 1);
                put_item(out, element, depth + 1);
            }
            put_end(out, depth, ']');
        }
    }
}

fn put_map(out: &mut String, map: Branch<'_, '_>, depth: usize) {
    out.push('{');
    for (at, (key, item)) in map.items().enumerate() {
        put_line(out, at, depth + 1);
        put_text(out, key);
        out.push_str(": ");
        put_item(out, item, depth + 1);
    }
    put_end(out, depth, '}');
}

fn put_line(out: &mut String, at: usize, depth: usize) {
    out.push_str(if at > 0 { ",\n" } else { "\n" });
    (0..depth).for_each(|_| out.push_str(INDENT));
}

fn put_end(out: &mut String, depth: usize, end: char) {
    out.push('\n');
    (0..depth).for_each(|_| out.push_str(INDENT));
    out.push(end);
}

fn put_text(out: &mut String, text: &str) {
    out.push_str(&serde_json::Value::from(text).to_string());
}
