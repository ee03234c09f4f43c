//! The keys that BY and GET name for an element: a pattern whose first `*` stands for the element, perhaps with a field of a
//! hash behind an arrow.

use super::order::{Arena, Span};
use crate::command::Cx;
use crate::command::effects::EventClass;
use crate::store::{EntryRef, Key, StrView};
use weir_structs::hash::HashRef;
use weir_structs::number;

/// How many keys are looked up together.
const WINDOW: usize = 16;

/// What BY or GET names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pattern<'a> {
    /// `#`: the element itself.
    Element,
    /// Without a `*`: nothing.
    Nothing,
    /// A key, and perhaps a field of the hash there.
    Key {
        /// The key before the element.
        before: &'a [u8],
        /// The key behind the element.
        after: &'a [u8],
        /// The field.
        field: Option<&'a [u8]>,
    },
}

impl<'a> Pattern<'a> {
    /// Reads one. An arrow counts behind the `*`, and only if a field follows.
    pub(super) fn parse(text: &'a [u8]) -> Pattern<'a> {
        if text == b"#" {
            return Pattern::Element;
        }
        let Some(star) = text.iter().position(|&byte| byte == b'*') else { return Pattern::Nothing };
        let (before, rest) = (&text[..star], &text[star + 1..]);
        let arrow = rest.windows(2).position(|pair| pair == b"->").filter(|&at| at + 2 < rest.len());
        let (after, field) = match arrow {
            Some(at) => (&rest[..at], Some(&rest[at + 2..])),
            None => (rest, None),
        };
        Pattern::Key { before, after, field }
    }

    /// Whether it names keys that depend on elements.
    pub(super) fn names_keys(self) -> bool {
        matches!(self, Pattern::Key { .. })
    }

    /// Gives to `found`, for one element after the other, the bytes that the pattern names for it, or nothing; they may be
    /// kept in the arena.
    pub(super) fn look_up(
        self,
        cx: &mut Cx<'_>,
        elements: &[Span],
        arena: &mut Arena,
        found: &mut dyn FnMut(&mut Arena, Option<&[u8]>),
    ) {
        let Pattern::Key { before, after, field } = self else {
            return elements.iter().for_each(|_| found(arena, None));
        };
        let mut names: Vec<u8> = Vec::new();
        let mut ends: Vec<usize> = Vec::with_capacity(WINDOW);
        for elements in elements.chunks(WINDOW) {
            names.clear();
            ends.clear();
            for &element in elements {
                for piece in [before, arena.get(element), after] {
                    names.extend_from_slice(piece);
                }
                ends.push(names.len());
            }
            let starts = std::iter::once(0).chain(ends.iter().copied());
            let mut parts = starts.zip(&ends).map(|(start, &end)| names.get(start..end).unwrap_or_default());
            loop {
                let window = cx.store.key_window(cx.db_index, &mut parts);
                if window.is_empty() {
                    break;
                }
                for &key in window.keys() {
                    with_value(cx, key, field, &mut |value| found(arena, value));
                }
            }
        }
    }
}

/// Looks a key up and gives its string, or that of a field of its hash. Counts a hit or a miss, and tells of the miss.
fn with_value(cx: &mut Cx<'_>, key: Key<'_>, field: Option<&[u8]>, found: &mut dyn FnMut(Option<&[u8]>)) {
    let due_ms = cx.due_ms();
    let Some(entry) = cx.store.db(cx.db_index).get(key) else {
        cx.effects.event(EventClass::MISS, "keymiss", key.name, cx.db_index);
        return found(None);
    };
    match field {
        None => with_string(entry, found),
        Some(field) => match HashRef::of(entry).and_then(|hash| hash.get(field, due_ms)) {
            Some(value) => found(Some(&value.text())),
            None => found(None),
        },
    }
}

fn with_string(entry: EntryRef<'_>, found: &mut dyn FnMut(Option<&[u8]>)) {
    match entry.str() {
        None => found(None),
        Some(StrView::Int(value)) => found(Some(&number::format_i64(value))),
        Some(StrView::Bytes(bytes)) => found(Some(bytes)),
        Some(StrView::Blob(blob)) => found(Some(&blob)),
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn patterns_are_cut_at_the_first_star_and_the_first_arrow_behind_it() {
        let key = |before: &'static str, after: &'static str, field: Option<&'static str>| Pattern::Key {
            before: before.as_bytes(),
            after: after.as_bytes(),
            field: field.map(str::as_bytes),
        };
        for (text, expected) in [
            ("#", Pattern::Element),
            ("#x", Pattern::Nothing),
            ("", Pattern::Nothing),
            ("key->field", Pattern::Nothing),
            ("*", key("", "", None)),
            ("w_*", key("w_", "", None)),
            ("w_*_x*", key("w_", "_x*", None)),
            ("w_*->f", key("w_", "", Some("f"))),
            ("w_*:x->f->g", key("w_", ":x", Some("f->g"))),
            ("w_*->", key("w_", "->", None)),
            ("a->b*", key("a->b", "", None)),
            ("*->*", key("", "", Some("*"))),
        ] {
            assert_eq!(Pattern::parse(text.as_bytes()), expected, "{text}");
        }
    }
}
