//! Which patterns a channel may match, without a look at the others.
//!
//! Most patterns begin with bytes that mean themselves (`news.*`), some end with such (`*:done`), and some have nothing
//! else (`news\*`). Whatever is longer of both ends, up to [`END_MAX`] bytes, is the pattern's *anchor*, and patterns with
//! the same anchor are in one group. A channel asks for the group of each of its beginnings and ends, of those lengths only
//! that anchors have:
//!
//! ```text
//!  channel news.art.new      lengths in use: beginnings 0, 5    ends 4
//!
//!  beginnings  ""      ──► [ *a*, ?ews* ]      candidates, each tried with the matcher
//!              "news." ──► [ news.*, news.[a-c]* ]           the first is known to match: nothing but a star follows
//!  ends        ".new"  ──► [ *.new ]
//! ```
//!
//! So a message costs at most two look-ups for each length in use, and one trial for each pattern that shares its anchor
//! with the channel. What must stay true: a pattern is in exactly one group, and a channel that it matches asks for it.

use super::topics::{TopicId, slim};
use hashbrown::HashTable;
use weir_structs::glob::{GlobEnds, glob_match};
use weir_structs::keyspace::KeyHasher;

/// Bytes of an anchor at most.
const END_MAX: usize = 64;

/// Where a pattern is in its group.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct PatternPlace(u32);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    First,
    Last,
}

/// What is left to be tried of a pattern whose anchor fits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rest {
    /// It is the anchor: the channel must be as long.
    Nothing,
    /// A star: it fits.
    Star,
    /// More.
    Unknown,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    topic: TopicId,
    rest: Rest,
}

#[derive(Debug)]
struct Group {
    end: End,
    anchor: Box<[u8]>,
    candidates: Vec<Candidate>,
}

/// All patterns, by their anchors.
#[derive(Debug)]
pub(super) struct PatternIndex {
    hasher: KeyHasher,
    groups: HashTable<Group>,
    /// How many groups have anchors of each length, at either end.
    first_lengths: [u32; END_MAX + 1],
    last_lengths: [u32; END_MAX + 1],
}

/// What the index makes of a pattern.
struct Anchored<'p> {
    end: End,
    anchor: &'p [u8],
    rest: Rest,
}

impl<'p> Anchored<'p> {
    fn of(ends: &'p GlobEnds) -> Anchored<'p> {
        let first = &ends.prefix[..ends.prefix.len().min(END_MAX)];
        let last = &ends.suffix[ends.suffix.len().saturating_sub(END_MAX)..];
        if ends.is_literal {
            let rest = if first.len() == ends.prefix.len() { Rest::Nothing } else { Rest::Unknown };
            return Anchored { end: End::First, anchor: first, rest };
        }
        if last.len() > first.len() {
            return Anchored { end: End::Last, anchor: last, rest: Rest::Unknown };
        }
        // A star takes no empty channel; with an anchor before it there is none.
        let star = ends.is_prefix_and_stars && !first.is_empty() && first.len() == ends.prefix.len();
        Anchored { end: End::First, anchor: first, rest: if star { Rest::Star } else { Rest::Unknown } }
    }
}

impl PatternIndex {
    pub(super) fn new(hash_seed: u64) -> PatternIndex {
        PatternIndex {
            hasher: KeyHasher::new(hash_seed),
            groups: HashTable::new(),
            first_lengths: [0; END_MAX + 1],
            last_lengths: [0; END_MAX + 1],
        }
    }

    fn hash(hasher: &KeyHasher, end: End, anchor: &[u8]) -> u64 {
        hasher.position(anchor).rotate_left(if end == End::First { 0 } else { 17 })
    }

    fn lengths(&mut self, end: End) -> &mut [u32; END_MAX + 1] {
        match end {
            End::First => &mut self.first_lengths,
            End::Last => &mut self.last_lengths,
        }
    }

    /// Adds a pattern, which is not there, under its topic's number.
    pub(super) fn add(&mut self, pattern: &[u8], topic: TopicId) -> PatternPlace {
        let ends = GlobEnds::of(pattern);
        let Anchored { end, anchor, rest } = Anchored::of(&ends);
        let hash = Self::hash(&self.hasher, end, anchor);
        let same = |group: &Group| group.end == end && *group.anchor == *anchor;
        let candidate = Candidate { topic, rest };
        let len = anchor.len();
        if let Some(group) = self.groups.find_mut(hash, same) {
            group.candidates.push(candidate);
            return PatternPlace(group.candidates.len() as u32 - 1);
        }
        let hasher = &self.hasher;
        let rehash = |group: &Group| Self::hash(hasher, group.end, &group.anchor);
        let group = Group { end, anchor: anchor.into(), candidates: vec![candidate] };
        self.groups.insert_unique(hash, group, rehash);
        self.lengths(end)[len] += 1;
        PatternPlace(0)
    }

    /// Takes a pattern out. Returns whose place is the pattern's now, if another took it.
    pub(super) fn remove(&mut self, pattern: &[u8], place: PatternPlace) -> Option<(TopicId, PatternPlace)> {
        let ends = GlobEnds::of(pattern);
        let Anchored { end, anchor, .. } = Anchored::of(&ends);
        let hash = Self::hash(&self.hasher, end, anchor);
        let mut entry = self.groups.find_entry(hash, |group| group.end == end && *group.anchor == *anchor).ok()?;
        let candidates = &mut entry.get_mut().candidates;
        candidates.swap_remove(place.0 as usize);
        if let Some(moved) = candidates.get(place.0 as usize) {
            return Some((moved.topic, place));
        }
        if candidates.is_empty() {
            entry.remove();
            self.lengths(end)[anchor.len()] -= 1;
            let hasher = &self.hasher;
            slim(&mut self.groups, |group| Self::hash(hasher, group.end, &group.anchor));
        } else if candidates.len() < candidates.capacity() / 4 {
            candidates.shrink_to(2 * candidates.len());
        }
        None
    }

    /// Gives the patterns that a channel matches to `f`, in no particular order. `name_of` knows a topic's pattern.
    pub(super) fn matching<'t>(
        &self,
        channel: &[u8],
        name_of: impl Fn(TopicId) -> &'t [u8],
        mut f: impl FnMut(TopicId),
    ) {
        let ends = [(End::First, &self.first_lengths), (End::Last, &self.last_lengths)];
        for (end, lengths) in ends {
            for (len, _) in lengths.iter().enumerate().filter(|(_, groups)| **groups > 0) {
                let anchor = match end {
                    End::First => channel.get(..len),
                    End::Last => channel.len().checked_sub(len).and_then(|from| channel.get(from..)),
                };
                // The channel is shorter than all that follow.
                let Some(anchor) = anchor else { break };
                let hash = Self::hash(&self.hasher, end, anchor);
                let found = self.groups.find(hash, |group| group.end == end && *group.anchor == *anchor);
                for candidate in found.map_or(&[][..], |group| &group.candidates) {
                    let fits = match candidate.rest {
                        Rest::Nothing => channel.len() == len,
                        Rest::Star => true,
                        Rest::Unknown => glob_match(name_of(candidate.topic), channel, false),
                    };
                    if fits {
                        f(candidate.topic);
                    }
                }
            }
        }
    }

    #[cfg(test)]
    pub(super) fn groups(&self) -> usize {
        self.groups.len()
    }
}
