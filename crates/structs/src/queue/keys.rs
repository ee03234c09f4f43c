//! Sets of places that mostly have one element.

use std::collections::BTreeSet;

/// Places in order.
#[derive(Clone, Debug, Default)]
pub(super) enum Keys {
    /// None.
    #[default]
    None,
    /// One.
    One(u64),
    /// Several, or fewer for a while.
    Many(BTreeSet<u64>),
}

impl Keys {
    /// The lowest one.
    pub(super) fn first(&self) -> Option<u64> {
        match self {
            Keys::None => None,
            Keys::One(key) => Some(*key),
            Keys::Many(keys) => keys.first().copied(),
        }
    }

    /// The highest one.
    pub(super) fn last(&self) -> Option<u64> {
        match self {
            Keys::None => None,
            Keys::One(key) => Some(*key),
            Keys::Many(keys) => keys.last().copied(),
        }
    }

    pub(super) fn insert(&mut self, key: u64) {
        match self {
            Keys::None => *self = Keys::One(key),
            Keys::One(own) if *own == key => {}
            Keys::One(own) => *self = Keys::Many(BTreeSet::from([*own, key])),
            Keys::Many(keys) => {
                keys.insert(key);
            }
        }
    }

    pub(super) fn remove(&mut self, key: u64) {
        match self {
            Keys::One(own) if *own == key => *self = Keys::None,
            Keys::Many(keys) => {
                keys.remove(&key);
                if keys.is_empty() {
                    *self = Keys::None;
                }
            }
            _ => {}
        }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Keys::None)
    }
}
