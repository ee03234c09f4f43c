//! Whom a path concerns: an index of what is observed, in three parts.
//!
//! ```text
//!  path  /app/db/host ──► exact     one table, by a hash of the whole path
//!                    ──► prefixes  the same, by hashes of its beginnings, of each length that any prefix has
//!                    ──► ranges    a tree of intervals
//! ```
//!
//! The hash is one that grows byte by byte, so that going along a path once gives the hashes of all its beginnings. It costs
//! what the path is long, one look for each length of a prefix that occurs, and what is found: never anything for those
//! whom the path does not concern. The bytes of what is observed are kept by whoever has the index, once.

use super::ranges::Ranges;
use hashbrown::HashTable;
use std::collections::BTreeMap;
use weir_structs::tree::Span;

/// An index of spans, each with a number.
#[derive(Debug)]
pub(super) struct Index {
    exact: HashTable<(u32, u32)>,
    prefixes: HashTable<(u32, u32)>,
    /// How many prefixes have which length.
    lengths: BTreeMap<u32, u32>,
    ranges: Ranges,
    keys: [u64; 2],
}

/// The hash of a path as far as it was gone along.
#[derive(Clone, Copy)]
struct Rolling {
    state: u64,
    key: u64,
}

impl Rolling {
    #[inline]
    fn byte(&mut self, byte: u8) {
        let product = u128::from(self.state ^ u64::from(byte)) * u128::from(self.key);
        self.state = (product as u64) ^ ((product >> 64) as u64);
    }

    fn bytes(mut self, bytes: &[u8]) -> Rolling {
        bytes.iter().for_each(|byte| self.byte(*byte));
        self
    }

    /// A part of it that tells most paths apart without a look at them.
    #[expect(clippy::cast_possible_truncation, reason = "a part of it")]
    fn tag(self) -> u32 {
        (self.state >> 24) as u32
    }
}

impl Index {
    /// An empty one. Who does not know the seed cannot make paths whose hashes are alike.
    pub(super) fn new(seed: u64) -> Index {
        let spread = |salt: u64| {
            let mut hash = Rolling { state: seed, key: 0x9E37_79B9_7F4A_7C15 ^ salt };
            (0..4).for_each(|byte| hash.byte(byte));
            hash.state
        };
        Index {
            exact: HashTable::new(),
            prefixes: HashTable::new(),
            lengths: BTreeMap::new(),
            ranges: Ranges::new(spread(3)),
            keys: [spread(1), spread(2) | 1],
        }
    }

    fn rolling(&self) -> Rolling {
        Rolling { state: self.keys[0], key: self.keys[1] }
    }

    /// The number of a span, if it is there. `text_of` gives the path or prefix of a number: the index has none of those bytes.
    pub(super) fn get<'t>(&self, span: Span<'_>, text_of: impl Fn(u32) -> &'t [u8]) -> Option<u32> {
        match span {
            Span::One(path) => find(&self.exact, self.rolling().bytes(path), path, &text_of),
            Span::Prefix(prefix) => find(&self.prefixes, self.rolling().bytes(prefix), prefix, &text_of),
            Span::Range(begin, end) => self.ranges.get(begin, end),
            Span::Children(_) => None,
        }
    }

    /// Adds a span, which is not there yet. Children are not observed.
    pub(super) fn add<'t>(&mut self, span: Span<'_>, at: u32, text_of: impl Fn(u32) -> &'t [u8]) {
        let rolling = self.rolling();
        let (table, text) = match span {
            Span::One(path) => (&mut self.exact, path),
            Span::Prefix(prefix) => {
                *self.lengths.entry(len_of(prefix)).or_default() += 1;
                (&mut self.prefixes, prefix)
            }
            Span::Range(begin, end) => return self.ranges.add(begin, end, at),
            Span::Children(_) => return,
        };
        let new = rolling.bytes(text);
        table.insert_unique(new.state, (new.tag(), at), |(_, at)| rolling.bytes(text_of(*at)).state);
    }

    /// Removes a span.
    pub(super) fn remove(&mut self, span: Span<'_>, at: u32) {
        let rolling = self.rolling();
        let (table, text) = match span {
            Span::One(path) => (&mut self.exact, path),
            Span::Prefix(prefix) => {
                if let Some(count) = self.lengths.get_mut(&len_of(prefix)) {
                    *count -= 1;
                    if *count == 0 {
                        self.lengths.remove(&len_of(prefix));
                    }
                }
                (&mut self.prefixes, prefix)
            }
            Span::Range(begin, end) => return self.ranges.remove(begin, end),
            Span::Children(_) => return,
        };
        if let Ok(entry) = table.find_entry(rolling.bytes(text).state, |(_, found)| *found == at) {
            entry.remove();
        }
    }

    /// Calls `found` with the number of each span that a path is in.
    pub(super) fn containing<'t>(&self, path: &[u8], text_of: impl Fn(u32) -> &'t [u8], mut found: impl FnMut(u32)) {
        let mut hash = self.rolling();
        let mut gone = 0;
        for len in self.lengths.keys().map(|len| *len as usize) {
            let (Some(next), Some(prefix)) = (path.get(gone..len), path.get(..len)) else { break };
            hash = hash.bytes(next);
            gone = len;
            if let Some(at) = find(&self.prefixes, hash, prefix, &text_of) {
                found(at);
            }
        }
        if !self.exact.is_empty() {
            let hash = hash.bytes(path.get(gone..).unwrap_or_default());
            if let Some(at) = find(&self.exact, hash, path, &text_of) {
                found(at);
            }
        }
        if !self.ranges.is_empty() {
            self.ranges.containing(path, &mut found);
        }
    }
}

/// The length of a prefix, which is no longer than a path.
fn len_of(prefix: &[u8]) -> u32 {
    u32::try_from(prefix.len()).unwrap_or(u32::MAX)
}

#[inline]
fn find<'t>(
    table: &HashTable<(u32, u32)>,
    hash: Rolling,
    text: &[u8],
    text_of: &impl Fn(u32) -> &'t [u8],
) -> Option<u32> {
    table.find(hash.state, |(tag, at)| *tag == hash.tag() && text_of(*at) == text).map(|(_, at)| *at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::SmallRng;
    use rand::seq::IndexedRandom;
    use rand::{Rng, SeedableRng};

    #[derive(Clone, PartialEq, Debug)]
    enum Wanted {
        One(Vec<u8>),
        Prefix(Vec<u8>),
        Range(Vec<u8>, Vec<u8>),
    }

    impl Wanted {
        fn span(&self) -> Span<'_> {
            match self {
                Wanted::One(path) => Span::One(path),
                Wanted::Prefix(prefix) => Span::Prefix(prefix),
                Wanted::Range(begin, end) => Span::Range(begin, end),
            }
        }

        fn text(&self) -> &[u8] {
            match self {
                Wanted::One(text) | Wanted::Prefix(text) | Wanted::Range(text, _) => text,
            }
        }
    }

    fn path(random: &mut SmallRng) -> Vec<u8> {
        let mut path = b"/".to_vec();
        for _ in 0..random.random_range(0..9) {
            path.push(*b"ab/c".choose(random).expect("there are some"));
        }
        path
    }

    #[test]
    fn who_is_found_is_who_looks_at_everything() {
        let mut random = SmallRng::seed_from_u64(11);
        let mut index = Index::new(random.random());
        let mut all: Vec<Option<Wanted>> = Vec::new();
        for round in 0..30_000 {
            let grows = round % 10_000 < 5_000;
            if random.random_bool(if grows { 0.7 } else { 0.3 }) {
                let wanted = match random.random_range(0..3) {
                    0 => Wanted::One(path(&mut random)),
                    1 => Wanted::Prefix(path(&mut random)),
                    _ => Wanted::Range(path(&mut random), path(&mut random)),
                };
                let is_there = all.iter().flatten().any(|other| *other == wanted);
                let text_of = |at: u32| all[at as usize].as_ref().map_or(&b""[..], Wanted::text);
                assert_eq!(index.get(wanted.span(), text_of).is_some(), is_there);
                if !is_there {
                    index.add(wanted.span(), all.len() as u32, text_of);
                    all.push(Some(wanted));
                }
            } else if !all.is_empty() {
                let at = random.random_range(0..all.len());
                if let Some(wanted) = &all[at] {
                    index.remove(wanted.span(), at as u32);
                    all[at] = None;
                }
            }
            if round % 100 != 0 {
                continue;
            }
            for _ in 0..20 {
                let path = path(&mut random);
                let text_of = |at: u32| all[at as usize].as_ref().map_or(&b""[..], Wanted::text);
                let mut found = Vec::new();
                index.containing(&path, text_of, |at| found.push(at));
                found.sort_unstable();
                let naive = all.iter().enumerate().filter(|(_, it)| match it {
                    None => false,
                    Some(Wanted::One(one)) => *one == path,
                    Some(Wanted::Prefix(prefix)) => path.starts_with(prefix),
                    Some(Wanted::Range(begin, end)) => *begin <= path && path < *end,
                });
                assert_eq!(found, naive.map(|(at, _)| at as u32).collect::<Vec<_>>(), "{path:?}");
            }
        }
    }

    #[test]
    fn a_path_of_the_greatest_length_meets_prefixes_of_every_length() {
        let mut index = Index::new(5);
        let path = vec![b'/'; 4096];
        for len in 1..=path.len() {
            index.add(Span::Prefix(&path[..len]), len as u32, |at| &path[..at as usize]);
        }
        let mut found = 0;
        index.containing(&path, |at| &path[..at as usize], |_| found += 1);
        assert_eq!(found, 4096);
    }
}
