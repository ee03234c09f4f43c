//! Values that Redis and Valkey have no type for, in the form in which their modules write theirs: whoever does not know them can
//! pass over them, and says which one is missing.
//!
//! ```text
//!  id (name and version) · (5 · string)* · 0
//! ```

use crate::write::Draft;

/// What a module's data begin with.
pub(crate) const STRING: u64 = 5;
pub(crate) const END: u64 = 0;

/// A type that is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ModuleType {
    /// A queue of the broker.
    Queue,
    /// An exchange of the broker.
    Exchange,
    /// A store of the registry.
    Tree,
}

impl ModuleType {
    pub(crate) fn of(id: u64) -> Option<ModuleType> {
        match id {
            QUEUE => Some(ModuleType::Queue),
            EXCHANGE => Some(ModuleType::Exchange),
            TREE => Some(ModuleType::Tree),
            _ => None,
        }
    }
}

/// The id of a type: its name, nine characters of six bits each, and ten bits for the version of its form.
const fn id(name: &[u8; 9], version: u64) -> u64 {
    let mut id = 0;
    let mut at = 0;
    while at < name.len() {
        let code = match name[at] {
            letter @ b'A'..=b'Z' => letter - b'A',
            letter @ b'a'..=b'z' => letter - b'a' + 26,
            digit @ b'0'..=b'9' => digit - b'0' + 52,
            b'-' => 62,
            _ => 63,
        };
        id = id << 6 | code as u64;
        at += 1;
    }
    id << 10 | version
}

/// A queue of the broker.
pub(crate) const QUEUE: u64 = id(b"weir-mq-q", 1);
/// An exchange of the broker.
pub(crate) const EXCHANGE: u64 = id(b"weir-mq-x", 1);
/// A store of the registry.
pub(crate) const TREE: u64 = id(b"weir-cfg-", 1);

/// Adds the next piece of a value.
pub(crate) fn put_piece(to: &mut Draft, piece: &[u8]) {
    to.length(STRING);
    to.string(piece);
}

/// Adds what comes behind the last piece.
pub(crate) fn put_end(to: &mut Draft) {
    to.length(END);
}
