//! The index of an exchange: of its type, and what it is asked.

use super::arguments::Arguments;
use super::bag::Bag;
use super::binding::BindError;
use super::hashing::{Shares, key_hash, weight};
use super::headers::{Condition, Headers};
use super::options::{ExchangeType, Target};
use super::sieve::Sieve;
use super::topic::Topic;
use super::word::Word;
use crate::split_table::SplitTable;

use std::hash::BuildHasher;

use foldhash::quality::RandomState;

/// Which bindings a message takes.
#[derive(Clone, Debug)]
pub(super) enum Index {
    Direct(Direct),
    Fanout(Bag),
    Topic(Topic),
    Headers(Headers),
    Hash(Shares),
    ModHash(Lines),
    Random(Lines),
}

/// One binding, as indexes see it.
#[derive(Clone, Copy)]
pub(super) struct Indexed<'a> {
    /// Bindings that were made later have higher ones.
    pub(super) number: u64,
    pub(super) destination: u32,
    pub(super) target: Target,
    pub(super) name: &'a [u8],
    pub(super) rkey: &'a [u8],
    pub(super) args: &'a Arguments,
}

impl Index {
    pub(super) fn new(kind: ExchangeType) -> Index {
        match kind {
            ExchangeType::Direct => Index::Direct(Direct::default()),
            ExchangeType::Fanout => Index::Fanout(Bag::default()),
            ExchangeType::Topic => Index::Topic(Topic::default()),
            ExchangeType::Headers => Index::Headers(Headers::default()),
            ExchangeType::Hash => Index::Hash(Shares::default()),
            ExchangeType::ModHash => Index::ModHash(Lines::default()),
            ExchangeType::Random => Index::Random(Lines::default()),
        }
    }

    /// Adds a binding that is not there.
    pub(super) fn add(&mut self, binding: Indexed<'_>) -> Result<(), BindError> {
        let Indexed { number, destination, target, name, rkey, args } = binding;
        let fits = match self {
            Index::Direct(direct) => {
                direct.add(rkey, destination);
                true
            }
            Index::Fanout(all) => {
                all.add(destination);
                true
            }
            Index::Topic(topic) => topic.add(rkey, destination),
            Index::Headers(headers) => headers.add(&Condition::new(args)?, destination),
            Index::Hash(shares) => {
                shares.add(target, name, destination, weight(rkey).ok_or(BindError::Weight)?);
                true
            }
            Index::ModHash(lines) | Index::Random(lines) => {
                lines.0.push((number, destination));
                true
            }
        };
        if fits { Ok(()) } else { Err(BindError::Full) }
    }

    /// Removes a binding that was added.
    pub(super) fn remove(&mut self, binding: Indexed<'_>) {
        let Indexed { number, destination, target, name, rkey, args } = binding;
        match self {
            Index::Direct(direct) => direct.remove(rkey, destination),
            Index::Fanout(all) => all.remove(destination),
            Index::Topic(topic) => topic.remove(rkey, destination),
            Index::Headers(headers) => {
                if let Ok(condition) = Condition::new(args) {
                    headers.remove(&condition, destination);
                }
            }
            Index::Hash(shares) => shares.remove(target, name, destination, weight(rkey).unwrap_or_default()),
            Index::ModHash(lines) | Index::Random(lines) => lines.remove(number),
        }
    }

    /// Removes all bindings to a destination at once, in an index that lets it leave so.
    pub(super) fn leave(&mut self, target: Target, name: &[u8], destination: u32) {
        match self {
            Index::Direct(_) | Index::Topic(_) | Index::Headers(_) => {}
            Index::Fanout(all) => all.remove_all(destination),
            Index::Hash(shares) => shares.leave(target, name, destination),
            Index::ModHash(lines) | Index::Random(lines) => {
                lines.0.retain(|line| line.1 != destination);
                lines.0.shrink_to(lines.0.len() * 2);
            }
        }
    }

    /// Whether [`Index::leave`] does so. If not, bindings are removed one by one.
    pub(super) fn lets_leave(&self) -> bool {
        !matches!(self, Index::Direct(_) | Index::Topic(_) | Index::Headers(_))
    }

    /// Finds destinations; the caller begins and finishes with the sieve.
    #[inline]
    pub(super) fn route(&self, rkey: &[u8], headers: &[(&[u8], &[u8])], random: u64, sieve: &mut Sieve) {
        match self {
            Index::Direct(direct) => direct.route(rkey, sieve),
            Index::Fanout(all) => all.each(|destination| sieve.add(destination)),
            Index::Topic(topic) => topic.route(rkey, sieve),
            Index::Headers(index) => index.route(headers, sieve),
            Index::Hash(shares) => shares.route(rkey).into_iter().for_each(|destination| sieve.add(destination)),
            Index::ModHash(lines) => lines.pick(|count| key_hash(rkey) % count, sieve),
            Index::Random(lines) => {
                lines.pick(|count| ((u128::from(random) * u128::from(count)) >> 64) as u64, sieve);
            }
        }
    }

    /// Bytes on the heap. O(1).
    pub(super) fn memory_bytes(&self) -> usize {
        match self {
            Index::Direct(direct) => direct.keys.memory_bytes() + direct.bytes,
            Index::Fanout(all) => all.memory_bytes(),
            Index::Topic(topic) => topic.memory_bytes(),
            Index::Headers(headers) => headers.memory_bytes(),
            Index::Hash(shares) => shares.memory_bytes(),
            Index::ModHash(lines) | Index::Random(lines) => lines.0.capacity() * size_of::<(u64, u32)>(),
        }
    }
}

/// Destinations by key.
#[derive(Clone, Debug, Default)]
pub(super) struct Direct {
    hasher: RandomState,
    keys: SplitTable<(Word, Bag)>,
    /// Of long keys and of bags.
    bytes: usize,
}

impl Direct {
    fn add(&mut self, rkey: &[u8], destination: u32) {
        let Direct { hasher, keys, bytes } = self;
        let hash = hasher.hash_one(rkey);
        match keys.find_mut(hash, |(key, _)| key.as_bytes() == rkey) {
            Some((_, bag)) => {
                *bytes -= bag.memory_bytes();
                bag.add(destination);
                *bytes += bag.memory_bytes();
            }
            None => {
                let key = Word::new(rkey);
                *bytes += key.memory_bytes();
                keys.insert(hash, (key, Bag::One(destination, 1)), |(key, _)| hasher.hash_one(key.as_bytes()));
            }
        }
    }

    fn remove(&mut self, rkey: &[u8], destination: u32) {
        let Direct { hasher, keys, bytes } = self;
        let hash = hasher.hash_one(rkey);
        let Some((_, bag)) = keys.find_mut(hash, |(key, _)| key.as_bytes() == rkey) else { return };
        *bytes -= bag.memory_bytes();
        bag.remove(destination);
        *bytes += bag.memory_bytes();
        if bag.is_empty() {
            let is_meant = |(key, _): &(Word, Bag)| key.as_bytes() == rkey;
            let gone = keys.remove(hash, is_meant, |(key, _)| hasher.hash_one(key.as_bytes()));
            *bytes -= gone.map_or(0, |(key, _)| key.memory_bytes());
        }
    }

    #[inline]
    fn route(&self, rkey: &[u8], sieve: &mut Sieve) {
        if let Some((_, bag)) = self.keys.find(self.hasher.hash_one(rkey), |(key, _)| key.as_bytes() == rkey) {
            bag.each(|destination| sieve.add(destination));
        }
    }
}

/// Bindings in the order in which they were made: their numbers, and where they lead. Removing one moves those behind it.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines(Vec<(u64, u32)>);

impl Lines {
    fn remove(&mut self, number: u64) {
        if let Ok(at) = self.0.binary_search_by_key(&number, |line| line.0) {
            self.0.remove(at);
        }
        if self.0.len() < self.0.capacity() / 4 {
            self.0.shrink_to(self.0.len() * 2);
        }
    }

    /// The one that is chosen of so many.
    fn pick(&self, choose: impl Fn(u64) -> u64, sieve: &mut Sieve) {
        if !self.0.is_empty()
            && let Some((_, destination)) = self.0.get(choose(self.0.len() as u64) as usize)
        {
            sieve.add(*destination);
        }
    }
}
