//! Fields that a command has really changed, to be named in what is repeated in its place.
//!
//! Whether a field has expired is a question of the time. So where a command's effect depends on that, it is repeated as one
//! that names only the fields that it found.

use crate::command::Cx;

/// Fields, in the order in which they were changed.
pub(super) struct Fed<'a> {
    /// Whether they are to be kept.
    pub(super) wanted: bool,
    fields: Vec<&'a [u8]>,
}

impl<'a> Fed<'a> {
    /// None so far; they are kept if somebody repeats commands.
    pub(super) fn new(cx: &Cx<'_>) -> Fed<'a> {
        Fed { wanted: cx.effects.feeds(), fields: Vec::new() }
    }

    /// Keeps a field if it was changed, and says again whether it was.
    #[inline]
    pub(super) fn note(&mut self, changed: bool, field: &'a [u8]) -> bool {
        if changed && self.wanted {
            self.fields.push(field);
        }
        changed
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// How many there are, as an argument.
    pub(super) fn count(&self) -> weir_structs::number::IntegerText {
        weir_structs::number::format_u64(self.fields.len() as u64)
    }

    /// Has a command repeated that begins with `words` and then names all fields; nothing if there are none.
    pub(super) fn feed(&self, cx: &mut Cx<'_>, words: &[&'a [u8]]) {
        if !self.is_empty() {
            cx.effects.feed_list(words, self.fields.iter().copied());
        }
    }
}
