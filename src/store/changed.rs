//! Which keys were changed since somebody last asked: for clients that keep copies of values.
//!
//! Nothing is kept while nobody wants to know, and then a change costs one look at a byte. Else it costs eight bytes, and
//! the bytes of the name where names are wanted; so whoever wants to know has to ask often, after every command.

/// What is kept of a changed key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub enum TellChanged {
    /// Nothing.
    #[default]
    Nothing,
    /// Its position.
    Positions,
    /// Its position and its name.
    Names,
}

#[derive(Clone, Copy, Debug)]
struct Changed {
    position: u64,
    /// Where its name ends among the names.
    name_end: usize,
    /// Nobody's command did it: it has expired, or was evicted.
    by_itself: bool,
}

/// Changed keys, in the order of their changes; a key that was changed twice is there twice.
#[derive(Debug, Default)]
pub struct ChangedKeys {
    tell: TellChanged,
    keys: Vec<Changed>,
    names: Vec<u8>,
    flushed: bool,
}

/// One of [`ChangedKeys`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChangedKey<'a> {
    /// Its position in hash space, the same in every database.
    pub position: u64,
    /// Its name, if names were asked for; else empty.
    pub name: &'a [u8],
    /// Nobody's command did it: it has expired, or was evicted.
    pub by_itself: bool,
}

impl ChangedKeys {
    /// Heap that is kept to be used again, in bytes.
    const KEPT_BYTES: usize = 64 * 1024;

    /// Notes one.
    #[inline]
    pub(super) fn note<'n>(&mut self, position: u64, by_itself: bool, name: impl FnOnce() -> &'n [u8]) {
        if self.tell != TellChanged::Nothing {
            let name = if self.tell == TellChanged::Names { name() } else { &[] };
            self.keep(position, by_itself, name);
        }
    }

    #[cold]
    fn keep(&mut self, position: u64, by_itself: bool, name: &[u8]) {
        self.names.extend_from_slice(name);
        self.keys.push(Changed { position, name_end: self.names.len(), by_itself });
    }

    /// All keys of a database were changed.
    pub(super) fn note_flush(&mut self) {
        self.flushed |= self.tell != TellChanged::Nothing;
    }

    pub(super) fn set_tell(&mut self, tell: TellChanged) {
        self.tell = tell;
    }

    /// Whether there is nothing.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && !self.flushed
    }

    /// Whether a database was emptied.
    pub fn flushed(&self) -> bool {
        self.flushed
    }

    /// The keys. Those of a database that was emptied are not among them.
    pub fn iter(&self) -> impl Iterator<Item = ChangedKey<'_>> {
        let mut begin = 0;
        self.keys.iter().map(move |key| {
            let name = self.names.get(begin..key.name_end).unwrap_or_default();
            begin = key.name_end;
            ChangedKey { position: key.position, name, by_itself: key.by_itself }
        })
    }

    /// Hands over what was noted; `spare` takes its place, emptied.
    pub(super) fn take(&mut self, mut spare: ChangedKeys) -> ChangedKeys {
        spare.keys.clear();
        spare.names.clear();
        spare.keys.shrink_to(Self::KEPT_BYTES / size_of::<Changed>());
        spare.names.shrink_to(Self::KEPT_BYTES);
        spare.flushed = false;
        spare.tell = self.tell;
        std::mem::replace(self, spare)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_nothing_that_nobody_wants() {
        let mut changed = ChangedKeys::default();
        changed.note(1, false, || unreachable!());
        changed.note_flush();
        assert!(changed.is_empty());
        changed.set_tell(TellChanged::Positions);
        changed.note(2, true, || unreachable!());
        let taken = changed.take(ChangedKeys::default());
        assert_eq!(taken.iter().collect::<Vec<_>>(), [ChangedKey { position: 2, name: b"", by_itself: true }]);
        assert!(changed.is_empty());
    }

    #[test]
    fn gives_names_in_order() {
        let mut changed = ChangedKeys::default();
        changed.set_tell(TellChanged::Names);
        for name in ["a", "", "ccc"] {
            changed.note(name.len() as u64, false, || name.as_bytes());
        }
        changed.note_flush();
        let taken = changed.take(ChangedKeys::default());
        assert!(taken.flushed());
        let names: Vec<_> = taken.iter().map(|key| key.name).collect();
        assert_eq!(names, [b"a".as_slice(), b"", b"ccc"]);
        // What is given back is empty and goes on with what is wanted.
        assert!(changed.take(taken).is_empty());
        changed.note(1, false, || b"x");
        assert_eq!(changed.iter().next().map(|key| key.name), Some(b"x".as_slice()));
    }
}
