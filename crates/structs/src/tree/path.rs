//! Paths, and sets of them.
//!
//! A path is a `/` and a part, once or more often. Paths that begin with a zero byte are *hidden*: nobody names them from outside.
//! They sort before all others.

use std::borrow::Cow;
use std::collections::{BTreeMap, btree_map};
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

/// Bytes that a path may have.
pub const PATH_BYTES_MAX: usize = 4096;
/// Bytes that a hidden path may have: it is made of some paths and names.
pub const HIDDEN_BYTES_MAX: usize = 4 * PATH_BYTES_MAX;

/// Why something is no path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathError {
    /// It does not begin with a slash.
    NoSlash,
    /// It has a part without bytes, or ends with a slash.
    EmptyPart,
    /// It has a zero byte.
    Nul,
    /// It is longer than [`PATH_BYTES_MAX`].
    TooLong,
}

impl PathError {
    /// The reason in a few words.
    pub fn text(self) -> &'static str {
        match self {
            PathError::NoSlash => "a path begins with '/'",
            PathError::EmptyPart => "a path has no empty parts and does not end with '/'",
            PathError::Nul => "a path has no zero bytes",
            PathError::TooLong => "a path has at most 4096 bytes",
        }
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for PathError {}

/// Whether these bytes are a path that anybody may name. O(length).
///
/// # Errors
/// Why not.
pub fn check_path(path: &[u8]) -> Result<(), PathError> {
    if path.len() > PATH_BYTES_MAX {
        return Err(PathError::TooLong);
    }
    if path.first() != Some(&b'/') {
        return Err(PathError::NoSlash);
    }
    let mut last = 0;
    for &byte in path {
        match byte {
            0 => return Err(PathError::Nul),
            b'/' if last == b'/' => return Err(PathError::EmptyPart),
            _ => last = byte,
        }
    }
    if last == b'/' { Err(PathError::EmptyPart) } else { Ok(()) }
}

/// Whether these bytes may be a path of a store, hidden or not. O(length).
///
/// # Errors
/// Why not.
pub fn check_stored_path(path: &[u8]) -> Result<(), PathError> {
    match is_hidden(path) {
        true if path.len() > HIDDEN_BYTES_MAX => Err(PathError::TooLong),
        true => Ok(()),
        false => check_path(path),
    }
}

/// Whether a path is one that nobody names from outside.
#[inline]
pub fn is_hidden(path: &[u8]) -> bool {
    path.first() == Some(&0)
}

/// Some paths, by their bytes. Hidden paths are in it only if its own bytes begin with a zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Span<'s> {
    /// This path.
    One(&'s [u8]),
    /// All that begin with these bytes.
    Prefix(&'s [u8]),
    /// From the first up to the second, which is not in it.
    Range(&'s [u8], &'s [u8]),
    /// All that have one part more than this path. Of an empty path, and of `/`: all with one part.
    Children(&'s [u8]),
}

impl<'s> Span<'s> {
    /// Whether a path is in it.
    pub fn contains(&self, path: &[u8]) -> bool {
        let (first, is_in) = match *self {
            Span::One(one) => return path == one,
            Span::Prefix(prefix) => (prefix, path.starts_with(prefix)),
            Span::Range(from, to) => (from, from <= path && path < to),
            Span::Children(parent) => {
                let rest = path.strip_prefix(parent);
                let rest =
                    if parent.last() == Some(&b'/') { rest } else { rest.and_then(|rest| rest.strip_prefix(b"/")) };
                (parent, rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(&b'/')))
            }
        };
        is_in && (is_hidden(first) || !is_hidden(path))
    }

    /// Between which bytes its paths are. Of children: what is below as well.
    pub(super) fn bounds(&self) -> Bounds<'s> {
        let (from, to) = match *self {
            Span::One(one) => return (Bound::Included(one.into()), Bound::Included(one.into())),
            Span::Prefix(prefix) => (prefix.into(), above(prefix)),
            Span::Range(from, to) => (from.into(), Bound::Excluded(to.into())),
            Span::Children(parent) => {
                let prefix = children_prefix(parent);
                let to = above(&prefix);
                (prefix, to)
            }
        };
        // The lowest path that is not hidden is above one zero byte and whatever follows it.
        let from: Cow<'s, [u8]> = if from.is_empty() { Cow::Borrowed(&[1]) } else { from };
        (Bound::Included(from), to)
    }
}

/// A lower and an upper bound.
pub(super) type Bounds<'b> = (Bound<Cow<'b, [u8]>>, Bound<Cow<'b, [u8]>>);

/// What the paths of a path's children begin with.
pub(super) fn children_prefix(parent: &[u8]) -> Cow<'_, [u8]> {
    if parent.last() == Some(&b'/') { parent.into() } else { [parent, b"/"].concat().into() }
}

/// The lowest bytes above all that begin with these.
fn above<'a>(prefix: &[u8]) -> Bound<Cow<'a, [u8]>> {
    match prefix.iter().rposition(|&byte| byte < u8::MAX) {
        Some(at) => {
            let mut above = prefix[..=at].to_vec();
            above[at] += 1;
            Bound::Excluded(above.into())
        }
        None => Bound::Unbounded,
    }
}

/// Whether nothing can lie between bounds, which maps do not take then.
pub(super) fn is_nothing(from: &Bound<Cow<'_, [u8]>>, to: &Bound<Cow<'_, [u8]>>) -> bool {
    match (from, to) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => from >= to,
    }
}

/// What of a map lies between bounds; nothing if the lower one is not below the upper one.
pub(super) fn between<'t, T>(
    map: &'t BTreeMap<Arc<[u8]>, T>,
    (from, to): &Bounds<'_>,
) -> btree_map::Range<'t, Arc<[u8]>, T> {
    if is_nothing(from, to) {
        return btree_map::Range::default();
    }
    let borrowed = |bound| Bound::map(Bound::as_ref(bound), |bytes: &Cow<'_, [u8]>| &**bytes);
    let (from, to): (Bound<&[u8]>, Bound<&[u8]>) = (borrowed(from), borrowed(to));
    map.range::<[u8], _>((from, to))
}
