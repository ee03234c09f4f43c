//! Paths of a store in the place of keys.
//!
//! A store of the registry is one key, and what is in it belongs to many. So a pattern for keys may also match the *virtual
//! key* of a path, `store:path`:
//!
//! ```text
//!   ~cfg              the store cfg: everything in it, and what is done to it as a whole
//!   %R~cfg:/app/*     reading below /app, and observing it
//!   %W~cfg:/app/db    writing this one path
//! ```
//!
//! Each path that a call uses is asked for by itself, so one pattern may allow what is compared and another what is written.
//!
//! What must stay true: many paths at once are allowed by a pattern only if all of them match it, those too that do not
//! exist yet.

use super::check::{Access, Name};
use weir_resp::Argv;
use weir_structs::glob::GlobPattern;

/// Longest name of a store whose paths have virtual keys, in bytes: a call may name thousands of paths, and each is compared
/// together with the store's name.
const STORE_NAME_MAX: usize = 1024;

/// What of a store a call uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extent {
    /// All of it.
    Store,
    /// The path.
    Path,
    /// Everything that begins with the path.
    Beginning,
    /// Nothing that has a path; whoever may use any path may do it.
    Something,
}

/// Something in a store, as patterns see it.
#[derive(Clone, Copy, Debug)]
pub struct PathName<'a> {
    /// The store's key.
    pub store: &'a [u8],
    /// The path, in parts that follow on each other.
    pub parts: [&'a [u8]; 3],
    /// How much of the store is meant.
    pub extent: Extent,
    /// What is done with it.
    pub access: Access,
    /// The argument to be blamed.
    pub at: usize,
}

impl PathName<'_> {
    /// The store's name, and what is meant of it behind a colon if only that is.
    pub(super) fn virtual_key<'t>(&'t self, scratch: &'t mut Vec<u8>) -> &'t [u8] {
        if self.extent == Extent::Store || self.store.len() > STORE_NAME_MAX {
            return self.store;
        }
        scratch.reserve_exact(self.store.len() + 2 + self.parts.iter().map(|part| part.len()).sum::<usize>());
        scratch.extend_from_slice(self.store);
        scratch.push(b':');
        self.parts.iter().for_each(|part| scratch.extend_from_slice(part));
        scratch
    }
}

impl Name for PathName<'_> {
    fn at(&self) -> usize {
        self.at
    }

    fn access(&self) -> Access {
        self.access
    }

    fn text<'t>(&'t self, _: Argv<'t>, scratch: &'t mut Vec<u8>) -> &'t [u8] {
        self.virtual_key(scratch)
    }

    fn is_meant_by(&self, pattern: &GlobPattern, text: &[u8]) -> bool {
        if pattern.matches(self.store) {
            return true;
        }
        let has_path = text.len() > self.store.len();
        has_path
            && match self.extent {
                Extent::Store => false,
                Extent::Path => pattern.matches(text),
                Extent::Beginning => pattern.matches_all_from(text),
                Extent::Something => pattern.may_match_from(text),
            }
    }

    fn object(&self) -> Option<Box<[u8]>> {
        let mut name = self.store.to_vec();
        if matches!(self.extent, Extent::Path | Extent::Beginning) {
            name.push(b':');
            self.parts.iter().for_each(|part| name.extend_from_slice(part));
        }
        if self.extent == Extent::Beginning {
            name.push(b'*');
        }
        Some(name.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_meant(pattern: &str, store: &[u8], path: &str, extent: Extent) -> bool {
        let name = PathName { store, parts: [path.as_bytes(), b"", b""], extent, access: Access::READ, at: 1 };
        let mut scratch = Vec::new();
        let text = name.virtual_key(&mut scratch);
        name.is_meant_by(&GlobPattern::new(pattern.as_bytes(), false), text)
    }

    #[test]
    fn a_pattern_means_a_store_or_paths_of_it() {
        use Extent::{Beginning, Path, Something, Store};
        for (pattern, path, extent, meant) in [
            ("cfg", "", Store, true),
            ("cfg", "/a", Path, true),
            ("cfg", "/", Beginning, true),
            ("cfg", "/", Something, true),
            ("c*", "", Store, true),
            ("cfg:*", "", Store, false),
            ("cfg:*", "/a", Path, true),
            ("cfg:*", "", Beginning, true),
            ("cfg:/app/*", "", Beginning, false),
            ("cfg:/app/*", "/app", Path, false),
            ("cfg:/app/*", "/app/", Path, true),
            ("cfg:/app/*", "/app/db", Path, true),
            ("cfg:/app/*", "/app", Beginning, false),
            ("cfg:/app/*", "/app/", Beginning, true),
            ("cfg:/app/*", "/app/db/x", Beginning, true),
            ("cfg:/app/db", "/app/db", Path, true),
            ("cfg:/app/db", "/app/db", Beginning, false),
            ("cfg:/app/db", "/", Something, true),
            ("cfg:/app/db\\*", "/app/db*", Path, true),
            ("cfg:/app/db\\*", "/app/db", Beginning, false),
            ("cfg:/*/db*", "/app/db", Beginning, true),
            ("cfg:/*/db*", "/app/", Beginning, false),
            ("cfg2:/app", "/", Something, false),
            ("x:*", "/", Something, false),
        ] {
            assert_eq!(is_meant(pattern, b"cfg", path, extent), meant, "{pattern} {path} {extent:?}");
        }
    }

    #[test]
    fn paths_of_a_store_with_a_very_long_name_have_no_virtual_keys() {
        let long = vec![b'x'; STORE_NAME_MAX];
        assert!(is_meant("x*:/a", &long, "/a", Extent::Path));
        let longer = vec![b'x'; STORE_NAME_MAX + 1];
        assert!(!is_meant("x*:/a", &longer, "/a", Extent::Path));
        assert!(is_meant("x*", &longer, "/a", Extent::Beginning));
    }
}
