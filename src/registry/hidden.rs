//! Names of what a store keeps for its namespaces beside the paths that everybody sees. It is in the same tree, at paths that
//! begin with a zero byte, so that revisions, history, the feed and snapshots hold for it too.
//!
//! ```text
//!  \0d <namespace> \0 <path>              a draft: what the path is to be
//!  \0g <namespace> \0 <name>              the rule of a gray release: who sees it
//!  \0o <namespace> \0 <name> \0 <path>    what of a gray release is not as in the namespace
//!  \0r <namespace> \0 <ten digits>        a release
//!  \0s <beginning of paths>               the number that the last path was created with that begins so
//! ```
//!
//! A namespace is a path, and what it has is below it: the paths above are what follows it, with their slash. A state of a path
//! that is to be deleted, or that a gray release has not, is there with the flags [`DELETED`].

use weir_structs::tree::{Revision, Span, Tree, Version};

/// Flags of a draft, or a state in a gray release, that is the absence of the path. Clients cannot give them: they are no number
/// that fits a reply.
pub(super) const DELETED: u64 = u64::MAX;
/// Bytes of the name of a gray release at most.
pub(super) const NAME_BYTES_MAX: usize = 256;

/// What rules of gray releases begin with, whatever their namespace.
pub(super) const RULES: &[u8] = b"\0g";

/// What a hidden path is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hidden<'p> {
    /// The rule of a gray release.
    Rule { namespace: &'p [u8], name: &'p [u8] },
    /// A path in a gray release.
    Gray { namespace: &'p [u8], name: &'p [u8], path: &'p [u8] },
    /// Something that nobody sees as a path.
    Other,
}

/// What a hidden path is; `None` if it is not hidden.
pub(super) fn read(path: &[u8]) -> Option<Hidden<'_>> {
    let [0, rest @ ..] = path else { return None };
    let Some((kind, rest)) = rest.split_first() else { return Some(Hidden::Other) };
    let (mut parts, mut count): ([&[u8]; 3], usize) = ([&[]; 3], 0);
    for (part, found) in parts.iter_mut().zip(rest.splitn(3, |byte| *byte == 0)) {
        *part = found;
        count += 1;
    }
    Some(match (kind, parts, count) {
        (b'g', [namespace, name, _], 2) => Hidden::Rule { namespace, name },
        (b'o', [namespace, name, path], 3) => Hidden::Gray { namespace, name, path },
        _ => Hidden::Other,
    })
}

pub(super) fn drafts_of(namespace: &[u8]) -> Vec<u8> {
    [b"\0d", namespace, b"\0"].concat()
}

pub(super) fn releases_of(namespace: &[u8]) -> Vec<u8> {
    [b"\0r", namespace, b"\0"].concat()
}

pub(super) fn counter_of(beginning: &[u8]) -> Vec<u8> {
    [b"\0s", beginning].concat()
}

pub(super) fn rules_of(namespace: &[u8]) -> Vec<u8> {
    [RULES, namespace, b"\0"].concat()
}

/// What paths of one gray release begin with.
pub(super) fn gray_of(namespace: &[u8], name: &[u8]) -> Vec<u8> {
    [b"\0o", namespace, b"\0", name, b"\0"].concat()
}

/// The same of all gray releases of a namespace.
pub(super) fn grays_of(namespace: &[u8]) -> Vec<u8> {
    [b"\0o", namespace, b"\0"].concat()
}

/// What is at hidden paths that begin alike: the rest of each path, and its state.
pub(super) fn below<'t>(
    tree: &'t Tree,
    prefix: &[u8],
    at: Option<Revision>,
) -> impl DoubleEndedIterator<Item = (&'t [u8], &'t Version)> + use<'t> {
    let len = prefix.len();
    tree.span(Span::Prefix(prefix), at).map(move |(path, version)| (path.get(len..).unwrap_or_default(), version))
}

/// Whether a path belongs to a namespace.
pub(super) fn is_in(namespace: &[u8], path: &[u8]) -> bool {
    path.strip_prefix(namespace).is_some_and(|rest| rest.first() == Some(&b'/'))
}
