//! Releases: what a namespace was at moments that somebody has named, so that it can become that again.
//!
//! ```text
//!  drafts ──► publish ──► namespace ──► release n       what is below the namespace, whoever wrote it
//!     │                      ▲              │
//!     └─────► gray ──► promote              └──► rollback: the namespace becomes that, and release n + 1 says so
//! ```
//!
//! A release keeps all paths of the namespace with values and flags, not what differs from the one before: so it is there as a
//! whole however much of the history is forgotten, and the oldest ones can go. Paths that belong to a lease are what somebody is
//! doing at the moment and no configuration: no release has them, and no rollback touches them.
//!
//! What must stay true: nothing is written before it is sure that all of it can be; a rollback's release has the digest of the release
//! that it went back to; numbers rise one by one and only the oldest releases are missing.

use super::drafts::drafts;
use super::fields::{Fields, put_bytes, put_number};
use super::gray::gray_states;
use super::hidden::{DELETED, drafts_of, gray_of, releases_of, rules_of};
use super::{Writer, check_path};
use crate::command::error::Error;
use std::borrow::Cow;
use std::collections::BTreeMap;
use weir_structs::digest::{DIGEST_HEX_LEN, digest_hex};
use weir_structs::lzf;
use weir_structs::number::parse_u64;
use weir_structs::tree::{Revision, Span, Tree, Version};

/// Bytes that paths and values of a namespace may have for a release to be made of it.
const CONTENT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of a comment at most.
const COMMENT_BYTES_MAX: usize = 4096;
/// Bytes of an operator's name at most.
const OPERATOR_BYTES_MAX: usize = 256;
/// Numbers of releases have so many digits in their paths, so that they are in order.
const NUMBER_DIGITS: usize = 10;
const NUMBER_MAX: u64 = 9_999_999_999;
/// Old releases that go with one new one, where the limit has been lowered.
const FORGOTTEN_AT_ONCE: u64 = 1_000;
/// The form in which releases are kept.
const FORM: u64 = 1;

/// What people say of a release.
#[derive(Clone, Copy, Default, Debug)]
pub struct Note<'n> {
    /// Why.
    pub comment: &'n [u8],
    /// Who.
    pub operator: &'n [u8],
}

impl Note<'_> {
    /// Whether it can be kept.
    ///
    /// # Errors
    /// It is too long.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.comment.len() > COMMENT_BYTES_MAX || self.operator.len() > OPERATOR_BYTES_MAX {
            let why =
                format!("a comment has at most {COMMENT_BYTES_MAX} bytes, an operator's name {OPERATOR_BYTES_MAX}");
            return Err(Error::cfg_limit(&why));
        }
        Ok(())
    }
}

/// How a release came to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin<'o> {
    /// What was drafted was published.
    Publish,
    /// The same for those who see the gray release of this name.
    Gray(&'o [u8]),
    /// The gray release of this name became what everybody sees.
    Promote(&'o [u8]),
    /// The namespace went back to the release of this number.
    Rollback(u64),
}

/// A release.
#[derive(Clone, Copy, Debug)]
pub struct Release<'t> {
    /// 1 is the first of a namespace.
    pub number: u64,
    /// The revision that it was made in.
    pub revision: Revision,
    /// When, Unix milliseconds.
    pub time_ms: u64,
    /// Of what is in it: equal for equal paths, values and flags.
    pub digest: [u8; DIGEST_HEX_LEN],
    /// How it came to be.
    pub origin: Origin<'t>,
    /// What was said of it.
    pub note: Note<'t>,
    /// Bytes of what is in it.
    content_len: usize,
    /// The same, compressed if that made it shorter.
    content: &'t [u8],
}

impl<'t> Release<'t> {
    fn to_bytes(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.content.len() + self.note.comment.len() + 64);
        put_number(&mut out, FORM);
        put_number(&mut out, self.revision);
        put_number(&mut out, self.time_ms);
        put_bytes(&mut out, &self.digest);
        let (kind, name, number): (u64, &[u8], u64) = match self.origin {
            Origin::Publish => (0, b"", 0),
            Origin::Gray(name) => (1, name, 0),
            Origin::Promote(name) => (2, name, 0),
            Origin::Rollback(number) => (3, b"", number),
        };
        put_number(&mut out, kind);
        put_bytes(&mut out, name);
        put_number(&mut out, number);
        put_bytes(&mut out, self.note.comment);
        put_bytes(&mut out, self.note.operator);
        put_number(&mut out, self.content_len as u64);
        put_bytes(&mut out, self.content);
        out
    }

    /// As it was kept; `None` of any other bytes.
    fn from_bytes(number: u64, bytes: &'t [u8]) -> Option<Release<'t>> {
        let mut fields = Fields(bytes);
        if fields.number()? != FORM {
            return None;
        }
        let (revision, time_ms) = (fields.number()?, fields.number()?);
        let digest = fields.bytes()?.try_into().ok()?;
        let (kind, name, of) = (fields.number()?, fields.bytes()?, fields.number()?);
        let origin = match kind {
            0 => Origin::Publish,
            1 => Origin::Gray(name),
            2 => Origin::Promote(name),
            3 => Origin::Rollback(of),
            _ => return None,
        };
        let note = Note { comment: fields.bytes()?, operator: fields.bytes()? };
        let content_len = usize::try_from(fields.number()?).ok().filter(|len| *len <= CONTENT_BYTES_MAX)?;
        Some(Release { number, revision, time_ms, digest, origin, note, content_len, content: fields.bytes()? })
    }

    /// What is in it: paths and states, in order; `None` if it cannot be read.
    fn content(&self) -> Option<Cow<'t, [u8]>> {
        let content: Cow<'t, [u8]> = if self.content.len() == self.content_len {
            Cow::Borrowed(self.content)
        } else {
            Cow::Owned(lzf::decompress(self.content, self.content_len)?)
        };
        (digest_hex(&content) == self.digest).then_some(content)
    }
}

/// A state of a path: its value and its flags.
type State<'s> = (&'s [u8], u64);

/// Paths with states one behind the other, as a release has them.
struct Packed(Vec<u8>);

impl Packed {
    fn push(&mut self, path: &[u8], (value, flags): State<'_>) {
        put_bytes(&mut self.0, path);
        put_bytes(&mut self.0, value);
        put_number(&mut self.0, flags);
    }

    fn states(packed: &[u8]) -> Option<BTreeMap<&[u8], State<'_>>> {
        let (mut fields, mut states) = (Fields(packed), BTreeMap::new());
        while !fields.is_over() {
            let (path, value, flags) = (fields.bytes()?, fields.bytes()?, fields.number()?);
            states.insert(path, (value, flags));
        }
        Some(states)
    }
}

/// What was made.
#[derive(Clone, Copy, Debug)]
pub struct Published {
    /// The release's number.
    pub number: u64,
    /// The revision.
    pub revision: Revision,
    /// Of the namespace as it is since, to those whom it was published for.
    pub digest: [u8; DIGEST_HEX_LEN],
}

/// The configuration of a namespace: its paths, each with the slash behind the namespace, that belong to no lease.
fn plain_states<'t>(tree: &'t Tree, namespace: &[u8]) -> impl Iterator<Item = (&'t [u8], &'t Version)> {
    let (prefix, len) = ([namespace, b"/"].concat(), namespace.len());
    let paths = tree.span(Span::Prefix(&prefix), None).filter(|(_, version)| version.lease() == 0);
    paths.map(move |(path, version)| (path.get(len..).unwrap_or_default(), version))
}

/// Whether the paths of a namespace and what comes to them are few enough for a release.
pub(super) fn check_size(tree: &Tree, namespace: &[u8], more: usize) -> Result<(), Error> {
    // A path, a value and flags have a length each, or are one number.
    let bytes = plain_states(tree, namespace).map(|(path, version)| path.len() + version.value().len() + 20);
    if bytes.fold(more, usize::saturating_add) > CONTENT_BYTES_MAX {
        let why = format!("a release has at most {CONTENT_BYTES_MAX} bytes of paths and values");
        return Err(Error::cfg_limit(&why));
    }
    if last(tree, namespace) >= NUMBER_MAX { Err(Error::cfg_limit("there are no releases left")) } else { Ok(()) }
}

/// The number of the last release; 0: there is none.
fn last(tree: &Tree, namespace: &[u8]) -> u64 {
    numbers(tree, namespace).next_back().map_or(0, |(number, _)| number)
}

fn numbers<'t>(tree: &'t Tree, namespace: &[u8]) -> impl DoubleEndedIterator<Item = (u64, &'t Version)> + use<'t> {
    let prefix = releases_of(namespace);
    let len = prefix.len();
    tree.span(Span::Prefix(&prefix), None)
        .filter_map(move |(path, version)| Some((parse_number(path.get(len..)?)?, version)))
}

fn parse_number(digits: &[u8]) -> Option<u64> {
    let from = digits.iter().position(|byte| *byte != b'0')?;
    parse_u64(digits.get(from..)?)
}

/// Makes a release of what a namespace is now: to everybody, or to who sees a gray release of it.
pub(super) fn make(writer: &mut Writer<'_>, namespace: &[u8], origin: Origin<'_>, note: Note<'_>) -> Published {
    let tree = writer.tree();
    let mut packed = Packed(Vec::new());
    if let Origin::Gray(name) = origin {
        let mut states: BTreeMap<&[u8], &Version> = plain_states(tree, namespace).collect();
        for (path, version) in gray_states(tree, namespace, name) {
            if version.flags() == DELETED {
                states.remove(path)
            } else {
                states.insert(path, version)
            };
        }
        states.into_iter().for_each(|(path, version)| packed.push(path, (version.value(), version.flags())));
    } else {
        plain_states(tree, namespace).for_each(|(path, version)| packed.push(path, (version.value(), version.flags())));
    }
    let (number, Packed(content)) = (last(tree, namespace) + 1, packed);
    let digest = digest_hex(&content);
    let shorter = lzf::compress(&content, content.len().saturating_sub(1));
    let release = Release {
        number,
        revision: writer.revision(),
        time_ms: writer.now_ms(),
        digest,
        origin,
        note,
        content_len: content.len(),
        content: shorter.as_deref().unwrap_or(&content),
    };
    let prefix = releases_of(namespace);
    let path = |number: u64| [prefix.as_slice(), format!("{number:0NUMBER_DIGITS$}").as_bytes()].concat();
    writer.put(&path(number), &release.to_bytes(), 0, 0);
    let kept = u64::from(writer.tree().options().releases_max.max(1));
    let first = numbers(writer.tree(), namespace).next().map(|(first, _)| first);
    if let Some(first) = first {
        // Of a file, the first may be any.
        let gone = (number + 1).saturating_sub(first).saturating_sub(kept).min(FORGOTTEN_AT_ONCE);
        let paths: Vec<Vec<u8>> = (first..first + gone).map(path).collect();
        writer.delete_all(&paths);
    }
    Published { number, revision: writer.revision(), digest }
}

/// Sets a path if it is not so already. Its flags stay where none are given.
pub(super) fn put_plain(writer: &mut Writer<'_>, path: &[u8], value: &[u8], flags: Option<u64>) {
    let now = writer.tree().get(path);
    let flags = flags.or_else(|| now.map(Version::flags)).unwrap_or(0);
    if now.is_none_or(|now| now.value() != value || now.flags() != flags || now.lease() != 0) {
        writer.put(path, value, 0, flags);
    }
}

/// Publishes what is drafted: for everybody, or for those who see a gray release of the namespace.
///
/// # Errors
/// Nothing is drafted; there is no such gray release; the namespace is too large.
pub fn publish(
    writer: &mut Writer<'_>,
    namespace: &[u8],
    gray: Option<&[u8]>,
    note: Note<'_>,
) -> Result<Published, Error> {
    check_path(namespace)?;
    note.check()?;
    let tree = writer.tree();
    if let Some(name) = gray
        && tree.get(&[rules_of(namespace).as_slice(), name].concat()).is_none()
    {
        return Err(Error::cfg_release("no such gray release"));
    }
    let drafted: Vec<(Vec<u8>, Option<Vec<u8>>)> =
        drafts(tree, namespace).map(|draft| ([b"/", draft.path].concat(), draft.value.map(<[u8]>::to_vec))).collect();
    if drafted.is_empty() {
        return Err(Error::cfg_release("nothing is drafted"));
    }
    let gray_bytes = gray.map_or(0, |name| {
        gray_states(tree, namespace, name).map(|(path, version)| path.len() + version.value().len() + 20).sum()
    });
    let drafted_bytes: usize =
        drafted.iter().map(|(path, value)| path.len() + value.as_ref().map_or(0, Vec::len) + 20).sum();
    check_size(tree, namespace, drafted_bytes.saturating_add(gray_bytes))?;
    for (path, value) in &drafted {
        let plain = [namespace, path].concat();
        match (gray, value) {
            (None, Some(value)) => put_plain(writer, &plain, value, None),
            (None, None) => {
                writer.delete(&plain);
            }
            (Some(name), value) => {
                let flags = match value {
                    Some(_) => writer.tree().get(&plain).map_or(0, Version::flags),
                    None => DELETED,
                };
                let path = [gray_of(namespace, name).as_slice(), path].concat();
                writer.put(&path, value.as_deref().unwrap_or_default(), 0, flags);
            }
        }
    }
    writer.delete_prefix(&drafts_of(namespace));
    Ok(make(writer, namespace, gray.map_or(Origin::Publish, Origin::Gray), note))
}

/// The releases of a namespace, newest first.
pub fn releases<'t>(tree: &'t Tree, namespace: &[u8]) -> impl Iterator<Item = Release<'t>> {
    let all = numbers(tree, namespace).rev();
    all.filter_map(|(number, version)| Release::from_bytes(number, version.value()))
}

/// The newest release that everybody sees, or that is seen by who sees a gray release. `None`: that was never published.
pub fn present<'t>(tree: &'t Tree, namespace: &[u8], gray: Option<&[u8]>) -> Option<Release<'t>> {
    releases(tree, namespace).find(|release| match (release.origin, gray) {
        (Origin::Gray(name), Some(gray)) => name == gray,
        (Origin::Gray(_), None) => false,
        (_, gray) => gray.is_none(),
    })
}

/// Makes a namespace what it was in a release, `None`: in the one before the present one. That is a revision and a release like
/// any other.
///
/// # Errors
/// There is no such release.
pub fn roll_back(
    writer: &mut Writer<'_>,
    namespace: &[u8],
    to: Option<u64>,
    note: Note<'_>,
) -> Result<Published, Error> {
    check_path(namespace)?;
    note.check()?;
    let tree = writer.tree();
    let is_plain = |release: &Release<'_>| !matches!(release.origin, Origin::Gray(_));
    let target = match to {
        Some(number) => {
            let digits = format!("{number:0NUMBER_DIGITS$}");
            let kept = tree.get(&[releases_of(namespace).as_slice(), digits.as_bytes()].concat());
            kept.and_then(|kept| Release::from_bytes(number, kept.value()))
        }
        None => releases(tree, namespace).filter(is_plain).nth(1),
    };
    let target = target.ok_or_else(|| Error::cfg_release("no such release"))?;
    let unreadable = || Error::cfg_release(&format!("release {} cannot be read", target.number));
    let content = target.content().ok_or_else(unreadable)?.into_owned();
    let states = Packed::states(&content).ok_or_else(unreadable)?;
    for path in states.keys() {
        if path.first() != Some(&b'/') {
            return Err(unreadable());
        }
        check_path(&[namespace, path].concat())?;
    }
    if last(tree, namespace) >= NUMBER_MAX {
        return Err(Error::cfg_limit("there are no releases left"));
    }
    let (number, gone) = (target.number, plain_states(tree, namespace));
    let gone: Vec<Vec<u8>> =
        gone.filter(|(path, _)| !states.contains_key(path)).map(|(path, _)| [namespace, path].concat()).collect();
    writer.delete_all(&gone);
    for (path, (value, flags)) in states {
        put_plain(writer, &[namespace, path].concat(), value, Some(flags));
    }
    Ok(make(writer, namespace, Origin::Rollback(number), note))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_kept_as_they_are_and_any_bytes_are_read() {
        let mut packed = Packed(Vec::new());
        for n in 0..100 {
            packed.push(format!("/path/{n}").as_bytes(), (b"value", n));
        }
        let content = packed.0;
        let compressed = lzf::compress(&content, content.len()).expect("it is shorter");
        for origin in [Origin::Publish, Origin::Gray(b"a"), Origin::Promote(b"b"), Origin::Rollback(7)] {
            for content_kept in [&content, &compressed] {
                let release = Release {
                    number: 3,
                    revision: 9,
                    time_ms: 1_000,
                    digest: digest_hex(&content),
                    origin,
                    note: Note { comment: b"why", operator: b"who" },
                    content_len: content.len(),
                    content: content_kept,
                };
                let bytes = release.to_bytes();
                let read = Release::from_bytes(3, &bytes).expect("a release");
                assert_eq!((read.number, read.revision, read.time_ms, read.origin), (3, 9, 1_000, origin));
                assert_eq!((read.note.comment, read.note.operator), (b"why".as_slice(), b"who".as_slice()));
                let read_content = read.content().expect("its content");
                assert_eq!(&*read_content, &*content);
                assert_eq!(Packed::states(&read_content).map(|states| states.len()), Some(100));
                for at in 0..bytes.len() {
                    let _ = Release::from_bytes(3, &bytes[..at]).map(|release| release.content().is_some());
                    let mut spoilt = bytes.clone();
                    spoilt[at] ^= 0x55;
                    if let Some(release) = Release::from_bytes(3, &spoilt)
                        && let Some(content_read) = release.content()
                    {
                        assert_eq!(&*content_read, &*content, "{at}");
                    }
                }
            }
        }
        assert!(Packed::states(b"\x01/\x01").is_none());
        assert_eq!(
            (parse_number(b"0000000012"), parse_number(b"0000000000"), parse_number(b"x")),
            (Some(12), None, None)
        );
    }
}
