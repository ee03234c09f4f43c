//! Versions of watched keys.
//!
//! Only keys that somebody watches have one, so that others cost nothing. A version changes with every change of its key;
//! two different versions say that the key was changed between, and equal ones that it was not.

use hashbrown::HashMap;

/// What a key's version was at some moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Version(u64);

#[derive(Debug, Default)]
struct Watched {
    watchers: u32,
    version: u64,
}

/// Versions of one database's watched keys, by position. Two keys with one position share a version: a change of either
/// is then taken for a change of both, which is safe.
#[derive(Debug, Default)]
pub(super) struct KeyVersions {
    watched: HashMap<u64, Watched>,
}

impl KeyVersions {
    pub(super) fn watch(&mut self, position: u64) -> Version {
        let watched = self.watched.entry(position).or_default();
        watched.watchers += 1;
        Version(watched.version)
    }

    pub(super) fn unwatch(&mut self, position: u64) {
        if let Some(watched) = self.watched.get_mut(&position) {
            watched.watchers -= 1;
            if watched.watchers == 0 {
                self.watched.remove(&position);
            }
        }
    }

    pub(super) fn is_unchanged(&self, position: u64, since: Version) -> bool {
        self.watched.get(&position).is_some_and(|w| w.version == since.0)
    }

    /// The watched positions, in no order.
    pub(super) fn positions(&self) -> impl Iterator<Item = u64> {
        self.watched.keys().copied()
    }

    /// Number of watched positions.
    pub(super) fn len(&self) -> usize {
        self.watched.len()
    }

    #[inline]
    pub(super) fn touch(&mut self, position: u64) {
        if !self.watched.is_empty()
            && let Some(watched) = self.watched.get_mut(&position)
        {
            watched.version += 1;
        }
    }

    /// Changes the versions of the watched positions that `changed` names.
    pub(super) fn touch_where(&mut self, changed: impl Fn(u64) -> bool) {
        for (position, watched) in &mut self.watched {
            if changed(*position) {
                watched.version += 1;
            }
        }
    }
}
