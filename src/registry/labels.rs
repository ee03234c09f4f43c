//! Labels of connections, and whether the rule of a gray release is about them.

use crate::command::error::Error;
use hashbrown::HashMap;
use regex::bytes::{Regex, RegexBuilder};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use weir_structs::digest::digest;

/// Labels of one connection at most.
const LABELS_MAX: usize = 64;
/// Bytes of a label's name at most.
const NAME_BYTES_MAX: usize = 128;
/// Bytes of a label's value at most.
const VALUE_BYTES_MAX: usize = 1024;
/// Bytes of a pattern at most.
pub(super) const PATTERN_BYTES_MAX: usize = 1024;
/// Bytes that a pattern may take when it is read: what is repeated in it is laid out.
const PROGRAM_BYTES_MAX: usize = 256 * 1024;
/// Patterns that are kept ready.
const PATTERNS_MAX: usize = 256;

/// A name and a value.
type Label = (Box<[u8]>, Box<[u8]>);

/// What a connection has said of itself, by name. A clone is another handle; equal ones see the same.
#[derive(Clone, Default)]
pub struct Labels(Option<Arc<Said>>);

struct Said {
    /// In order of names.
    pairs: Box<[Label]>,
    patterns: Arc<Patterns>,
}

impl Labels {
    /// Names and values; of a name that occurs twice the last value.
    ///
    /// # Errors
    /// They are too many, or too long.
    pub(super) fn new(pairs: &[(&[u8], &[u8])], patterns: &Arc<Patterns>) -> Result<Labels, Error> {
        let mut sorted: Vec<Label> = Vec::new();
        for (name, value) in pairs.iter().rev() {
            if name.is_empty() || name.len() > NAME_BYTES_MAX || value.len() > VALUE_BYTES_MAX {
                let why = format!(
                    "a label has a name of 1 to {NAME_BYTES_MAX} bytes and a value of at most {VALUE_BYTES_MAX}"
                );
                return Err(Error::cfg_limit(&why));
            }
            match sorted.binary_search_by(|(known, _)| (**known).cmp(name)) {
                Ok(_) => {}
                Err(at) => sorted.insert(at, ((*name).into(), (*value).into())),
            }
            if sorted.len() > LABELS_MAX {
                return Err(Error::cfg_limit(&format!("a connection has at most {LABELS_MAX} labels")));
            }
        }
        if sorted.is_empty() {
            return Ok(Labels(None));
        }
        Ok(Labels(Some(Arc::new(Said { pairs: sorted.into(), patterns: Arc::clone(patterns) }))))
    }

    /// Whether there are none: then no gray release is seen.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Names and values, in order of names.
    pub fn pairs(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        self.said().iter().map(|(name, value)| (&**name, &**value))
    }

    /// Bytes of memory, where no other handle shares them.
    pub fn memory_bytes(&self) -> usize {
        self.said().iter().map(|(name, value)| 32 + name.len() + value.len()).sum()
    }

    /// A label's value.
    pub(super) fn get(&self, name: &[u8]) -> Option<&[u8]> {
        let said = self.said();
        let at = said.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        said.get(at).map(|(_, value)| &**value)
    }

    /// Whether a pattern matches the whole of a value.
    pub(super) fn matches(&self, pattern: &[u8], value: &[u8]) -> bool {
        self.0.as_ref().is_some_and(|said| said.patterns.matches(pattern, value))
    }

    fn said(&self) -> &[Label] {
        self.0.as_ref().map_or(&[], |said| &said.pairs)
    }
}

impl PartialEq for Labels {
    fn eq(&self, other: &Labels) -> bool {
        self.said() == other.said()
    }
}

impl Eq for Labels {}

impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.said().hash(state);
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.said().iter().map(|(name, value)| (name.escape_ascii(), value.escape_ascii())))
            .finish()
    }
}

/// Whether a value is in the share of all values that a gray release is for, which is the same for a value at all times and on
/// all machines. Shares of different gray releases have nothing to do with each other. `share`: in ten thousandths.
pub(super) fn is_in_share(name: &[u8], value: &[u8], share: u64) -> bool {
    digest(&[name, b"\0", value].concat()) % 10_000 < share
}

/// Patterns that have been read before: reading one costs more than many a match. Matching takes time in proportion to value and
/// pattern, whatever they are.
#[derive(Debug, Default)]
pub(super) struct Patterns(Mutex<HashMap<Box<[u8]>, Option<Regex>>>);

impl Patterns {
    fn matches(&self, pattern: &[u8], value: &[u8]) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains_key(pattern) {
            if known.len() >= PATTERNS_MAX {
                known.clear();
            }
            known.insert(pattern.into(), read_pattern(pattern));
        }
        known.get(pattern).is_some_and(|pattern| pattern.as_ref().is_some_and(|regex| regex.is_match(value)))
    }
}

/// Reads a pattern, which is to match all of a value; `None` if it is none, or too large.
pub(super) fn read_pattern(pattern: &[u8]) -> Option<Regex> {
    let pattern = std::str::from_utf8(pattern).ok().filter(|pattern| pattern.len() <= PATTERN_BYTES_MAX)?;
    let build = |pattern: &str| RegexBuilder::new(pattern).size_limit(PROGRAM_BYTES_MAX).build().ok();
    // By itself first: parentheses that do not fit each other would fit the ones around it.
    build(pattern)?;
    build(&format!(r"\A(?:{pattern})\z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&[u8], &[u8])]) -> Labels {
        Labels::new(pairs, &Arc::default()).expect("labels")
    }

    #[test]
    fn the_last_of_labels_with_the_same_name_counts() {
        let all = labels(&[(b"zone", b"a"), (b"app", b"web"), (b"zone", b"b")]);
        assert_eq!(all.pairs().collect::<Vec<_>>(), [(b"app".as_slice(), b"web".as_slice()), (b"zone", b"b")]);
        assert_eq!((all.get(b"zone"), all.get(b"none")), (Some(b"b".as_slice()), None));
        assert_eq!(all, labels(&[(b"zone", b"b"), (b"app", b"web")]));
        assert!(labels(&[]).is_empty() && labels(&[]) == Labels::default());
    }

    #[test]
    fn labels_have_limits() {
        let patterns = Arc::default();
        let names: Vec<String> = (0..65).map(|n| format!("label{n}")).collect();
        let pairs: Vec<(&[u8], &[u8])> = names.iter().map(|name| (name.as_bytes(), b"".as_slice())).collect();
        assert!(Labels::new(&pairs[..64], &patterns).is_ok());
        assert!(Labels::new(&pairs, &patterns).is_err());
        assert!(Labels::new(&[(b"", b"x")], &patterns).is_err());
        assert!(Labels::new(&[(b"x", &[b'x'; 1025])], &patterns).is_err());
    }

    #[test]
    fn a_pattern_matches_all_of_a_value_and_has_a_size() {
        let all = labels(&[(b"host", b"web10")]);
        for (pattern, matches) in [
            ("web1", false),
            ("web1.", true),
            ("web[0-9]+", true),
            ("eb10", false),
            ("a|web10", true),
            ("web|web10", true),
        ] {
            assert_eq!(all.matches(pattern.as_bytes(), b"web10"), matches, "{pattern}");
        }
        for none in ["a)|(b", "(", "[", r"(a{1000}){1000}", "\u{0}(", &"a".repeat(1025)] {
            assert!(read_pattern(none.as_bytes()).is_none(), "{none}");
        }
        assert!(read_pattern(b"\xff").is_none());
        // What other engines take exponential time for.
        let hostile = [b"a".repeat(1_000), b"!".to_vec()].concat();
        assert!(!all.matches(b"(a*)*b?(a|a)*(a|aa)+", &hostile));
        for n in 0..1_000 {
            assert!(all.matches(format!("web10|{n}").as_bytes(), b"web10"));
        }
    }

    #[test]
    fn a_share_is_stable_and_about_as_large_as_it_says() {
        let values: Vec<String> = (0..10_000).map(|n| format!("host-{n}")).collect();
        let chosen =
            |name: &[u8], share| values.iter().filter(|value| is_in_share(name, value.as_bytes(), share)).count();
        assert!((900..1_100).contains(&chosen(b"canary", 1_000)));
        assert_eq!((chosen(b"canary", 0), chosen(b"canary", 10_000)), (0, 10_000));
        let both = values.iter().filter(|value| {
            is_in_share(b"canary", value.as_bytes(), 1_000) && is_in_share(b"other", value.as_bytes(), 1_000)
        });
        assert!(both.count() < 200);
        // Whoever is in a share stays in it when it grows.
        let grows =
            |value: &String| !is_in_share(b"x", value.as_bytes(), 500) || is_in_share(b"x", value.as_bytes(), 2_500);
        assert!(values.iter().all(grows));
        let known: Vec<usize> =
            (0..100).filter(|n| is_in_share(b"canary", format!("host-{n}").as_bytes(), 1_000)).collect();
        assert_eq!(known, KNOWN_SHARE);
    }

    /// Of the first hundred hosts: in every version of this server.
    const KNOWN_SHARE: [usize; 11] = [2, 21, 26, 29, 33, 46, 50, 51, 84, 86, 96];
}
