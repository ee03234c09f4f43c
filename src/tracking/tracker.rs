//! What a client has chosen with CLIENT TRACKING, and whether a choice fits the one before.

use std::collections::BTreeSet;
use std::ops::Bound;

bitflags::bitflags! {
    /// How a client tracks.
    #[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
    pub struct Mode: u8 {
        /// It is told of keys with its prefixes, whoever has read them.
        const BCAST = 1 << 0;
        /// Only keys of commands behind CLIENT CACHING YES are remembered.
        const OPTIN = 1 << 1;
        /// All but those behind CLIENT CACHING NO are.
        const OPTOUT = 1 << 2;
        /// It is not told of its own changes.
        const NOLOOP = 1 << 3;
        /// CLIENT CACHING was called for the next command.
        const CACHING = 1 << 4;
        /// The client that gets its messages has gone.
        const BROKEN_REDIRECT = 1 << 5;
    }
}

/// One client's choice.
#[derive(Clone, Debug, Default)]
pub struct Tracker {
    /// See [`Mode`].
    pub mode: Mode,
    /// Number of the client that gets the messages; `None` if it is the same.
    pub redirect: Option<u64>,
    /// Prefixes of keys that it wants to hear of; none of them is the beginning of another, but for the empty one.
    prefixes: BTreeSet<Box<[u8]>>,
    prefix_bytes: usize,
}

/// What CLIENT TRACKING ON asks for.
#[derive(Clone, Debug, Default)]
pub struct Request<'a> {
    /// Of [`Mode`], what can be asked for.
    pub mode: Mode,
    /// Number of the client that shall get the messages.
    pub redirect: Option<u64>,
    /// Prefixes, in their order.
    pub prefixes: Vec<&'a [u8]>,
}

/// Why a choice is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refused {
    /// Prefixes, but not BCAST.
    PrefixWithoutBcast,
    /// BCAST on or off while the client tracks the other way.
    BcastSwitched,
    /// OPTIN or OPTOUT with BCAST.
    OptionWithBcast,
    /// Both OPTIN and OPTOUT.
    OptinAndOptout,
    /// OPTIN while it is OPTOUT, or the reverse.
    OptionSwitched,
    /// A prefix and one that the client has already, one of which is the beginning of the other.
    OverlapsExisting(Box<[u8]>, Box<[u8]>),
    /// The same of two that were given together.
    OverlapsGiven(Box<[u8]>, Box<[u8]>),
}

impl Tracker {
    /// Whether the keys of the client's next command are remembered, should it read any.
    pub fn remembers(&self) -> bool {
        let caching = self.mode.contains(Mode::CACHING);
        let wanted =
            if self.mode.contains(Mode::OPTIN) { caching } else { !(self.mode.contains(Mode::OPTOUT) && caching) };
        wanted && !self.mode.contains(Mode::BCAST)
    }

    /// Its prefixes, in the order of their bytes.
    pub fn prefixes(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.prefixes.iter().map(|prefix| &**prefix)
    }

    /// Bytes of heap behind it: the prefixes, here and where they are looked up.
    pub fn heap_bytes(&self) -> usize {
        /// Of a node in the tree of prefixes and its part of a node here.
        const PREFIX_BYTES: usize = 128;
        size_of::<Tracker>() + self.prefixes.len() * PREFIX_BYTES + 2 * self.prefix_bytes
    }

    /// Changes the choice. Returns the prefixes that came to it.
    ///
    /// # Errors
    /// [`Refused`]; nothing has changed then. `tracks` says whether the client tracks already.
    pub fn choose<'a>(&mut self, tracks: bool, request: &Request<'a>) -> Result<Vec<&'a [u8]>, Refused> {
        let wants = request.mode;
        let bcast = wants.contains(Mode::BCAST);
        if !bcast && !request.prefixes.is_empty() {
            return Err(Refused::PrefixWithoutBcast);
        }
        if tracks && self.mode.contains(Mode::BCAST) != bcast {
            return Err(Refused::BcastSwitched);
        }
        if bcast && wants.intersects(Mode::OPTIN | Mode::OPTOUT) {
            return Err(Refused::OptionWithBcast);
        }
        if wants.contains(Mode::OPTIN | Mode::OPTOUT) {
            return Err(Refused::OptinAndOptout);
        }
        let switched = |from, to| self.mode.contains(from) && wants.contains(to);
        if switched(Mode::OPTIN, Mode::OPTOUT) || switched(Mode::OPTOUT, Mode::OPTIN) {
            return Err(Refused::OptionSwitched);
        }
        self.check_prefixes(&request.prefixes)?;
        self.mode = wants | self.mode & Mode::CACHING;
        self.redirect = request.redirect;
        let mut new = request.prefixes.clone();
        if bcast && new.is_empty() {
            new.push(b"");
        }
        new.retain(|&prefix| self.prefixes.insert(prefix.into()));
        self.prefix_bytes += new.iter().map(|prefix| prefix.len()).sum::<usize>();
        Ok(new)
    }

    /// Refuses the first prefix that overlaps another one: one that the client has, or one behind it.
    fn check_prefixes(&self, given: &[&[u8]]) -> Result<(), Refused> {
        let among_given = first_overlap(given);
        let end = among_given.map_or(given.len(), |(first, _)| first + 1);
        for &prefix in &given[..end] {
            if let Some(existing) = self.overlapping(prefix) {
                return Err(Refused::OverlapsExisting(prefix.into(), existing.into()));
            }
        }
        match among_given {
            Some((first, second)) => Err(Refused::OverlapsGiven(given[first].into(), given[second].into())),
            None => Ok(()),
        }
    }

    /// One of its prefixes that is the beginning of `prefix`, or begins with it.
    fn overlapping(&self, prefix: &[u8]) -> Option<&[u8]> {
        if let Some(first) = self.prefixes.first().filter(|first| first.is_empty()) {
            return Some(first);
        }
        // Since they do not overlap each other, only neighbours can.
        let up_to = self.prefixes.range::<[u8], _>((Bound::Unbounded, Bound::Included(prefix))).next_back();
        let beyond = self.prefixes.range::<[u8], _>((Bound::Excluded(prefix), Bound::Unbounded)).next();
        let found = up_to.filter(|shorter| prefix.starts_with(shorter));
        found.or_else(|| beyond.filter(|longer| longer.starts_with(prefix))).map(|found| &**found)
    }
}

/// The first of some prefixes that overlaps a later one, and the first one that it overlaps.
fn first_overlap(given: &[&[u8]]) -> Option<(usize, usize)> {
    let mut order: Vec<usize> = (0..given.len()).collect();
    order.sort_by_key(|&at| given[at]);
    // In the order of their bytes, what a prefix begins with lies on a stack of those that were met and go on.
    let mut open: Vec<usize> = Vec::new();
    let mut first = None;
    for at in order {
        while open.last().is_some_and(|&top| !given[at].starts_with(given[top])) {
            open.pop();
        }
        if let Some(&top) = open.last() {
            // Whatever is further down the stack was counted when `top` was put on it.
            first = [first, Some(at), Some(top)].into_iter().flatten().min();
        }
        open.push(at);
    }
    let first = first?;
    let overlaps = |other: &&[u8]| other.starts_with(given[first]) || given[first].starts_with(other);
    let second = given.iter().skip(first + 1).position(overlaps)?;
    Some((first, first + 1 + second))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request<'a>(mode: Mode, prefixes: &[&'a str]) -> Request<'a> {
        Request { mode, redirect: None, prefixes: prefixes.iter().map(|p| p.as_bytes()).collect() }
    }

    #[test]
    fn modes_exclude_each_other() {
        let ask =
            |mode, prefixes: &[&'static str]| Tracker::default().choose(false, &request(mode, prefixes)).map(|_| ());
        assert_eq!(ask(Mode::empty(), &["a"]), Err(Refused::PrefixWithoutBcast));
        assert_eq!(ask(Mode::BCAST | Mode::OPTIN, &[]), Err(Refused::OptionWithBcast));
        assert_eq!(ask(Mode::OPTIN | Mode::OPTOUT, &[]), Err(Refused::OptinAndOptout));
        assert_eq!(ask(Mode::BCAST, &["a", "b"]), Ok(()));
        let mut tracker = Tracker::default();
        assert!(tracker.choose(false, &request(Mode::OPTIN, &[])).is_ok());
        assert_eq!(tracker.choose(true, &request(Mode::BCAST, &[])), Err(Refused::BcastSwitched));
        assert_eq!(tracker.choose(true, &request(Mode::OPTOUT, &[])), Err(Refused::OptionSwitched));
        assert!(tracker.choose(true, &request(Mode::empty(), &[])).is_ok());
    }

    #[test]
    fn caching_decides_where_it_is_asked_for() {
        for (mode, remembers) in [
            (Mode::empty(), true),
            (Mode::OPTIN, false),
            (Mode::OPTIN | Mode::CACHING, true),
            (Mode::OPTOUT, true),
            (Mode::OPTOUT | Mode::CACHING, false),
            (Mode::BCAST, false),
            (Mode::NOLOOP, true),
        ] {
            assert_eq!(Tracker { mode, ..Tracker::default() }.remembers(), remembers, "{mode:?}");
        }
    }

    #[test]
    fn prefixes_must_not_overlap() {
        let overlap = |a: &str, b: &str| (a.as_bytes().into(), b.as_bytes().into());
        let mut first = Tracker::default();
        assert!(first.choose(false, &request(Mode::BCAST, &["foo", "bar"])).is_ok());
        let given = |a, b| Err(Refused::OverlapsGiven(a, b));
        let (a, b) = overlap("x", "xy");
        assert_eq!(first.choose(true, &request(Mode::BCAST, &["q", "x", "r", "xy"])), given(a, b));
        let (a, b) = overlap("barb", "bar");
        assert_eq!(
            first.choose(true, &request(Mode::BCAST, &["barb", "x", "x"])),
            Err(Refused::OverlapsExisting(a, b))
        );
        let (a, b) = overlap("fo", "foo");
        assert_eq!(first.choose(true, &request(Mode::BCAST, &["fo"])), Err(Refused::OverlapsExisting(a, b)));
        assert_eq!(first.prefixes().collect::<Vec<_>>(), [b"bar", b"foo"]);
    }

    #[test]
    fn the_first_overlap_is_the_one_that_looking_at_all_pairs_finds() {
        let mut seed = 9u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        for _ in 0..20_000 {
            let given: Vec<Vec<u8>> =
                (0..random(6)).map(|_| (0..random(4)).map(|_| b'a' + random(3) as u8).collect()).collect();
            let given: Vec<&[u8]> = given.iter().map(Vec::as_slice).collect();
            let mut pairs = (0..given.len()).flat_map(|a| (a + 1..given.len()).map(move |b| (a, b)));
            let slow = pairs.find(|&(a, b)| given[a].starts_with(given[b]) || given[b].starts_with(given[a]));
            assert_eq!(first_overlap(&given), slow, "{given:?}");
        }
    }
}
