//! What routing needs while it runs, kept between messages so that none of them allocates.
//!
//! What must stay true: between two calls no bit is set in any of the sets.

use super::binding::DestinationId;

/// What routing needs while it runs. Whoever routes keeps one, for all exchanges.
#[derive(Debug, Default)]
pub struct Sieve {
    pub(super) found: Vec<DestinationId>,
    /// Which destinations are among those found.
    seen: Bits,
    /// Nodes of a pattern's trie that the words so far lead to, without those that are in `hashes`.
    pub(super) states: Vec<u32>,
    pub(super) next: Vec<u32>,
    /// Nodes of `#` that the words so far lead to: each stays to the end.
    pub(super) hashes: Vec<u32>,
    entered: Bits,
    /// Which pairs of bindings' arguments a message has.
    pub(super) pairs: Vec<u32>,
    held: Bits,
}

impl Sieve {
    /// An empty one.
    pub fn new() -> Sieve {
        Sieve::default()
    }

    /// Bytes on the heap.
    pub fn memory_bytes(&self) -> usize {
        let numbers = [&self.states, &self.next, &self.hashes, &self.pairs].map(|numbers| numbers.capacity());
        let words = [&self.seen, &self.entered, &self.held].map(|bits| bits.0.capacity());
        self.found.capacity() * size_of::<DestinationId>()
            + numbers.iter().sum::<usize>() * size_of::<u32>()
            + words.iter().sum::<usize>() * size_of::<u64>()
    }

    /// A destination was found, perhaps once more.
    #[inline]
    pub(super) fn add(&mut self, destination: u32) {
        if self.seen.set(destination) {
            self.found.push(DestinationId(destination));
        }
    }

    /// A node of `#` was reached, perhaps once more.
    #[inline]
    pub(super) fn enter(&mut self, node: u32) -> bool {
        let new = self.entered.set(node);
        if new {
            self.hashes.push(node);
        }
        new
    }

    /// The message has a pair, perhaps once more.
    pub(super) fn hold(&mut self, pair: u32) {
        if self.held.set(pair) {
            self.pairs.push(pair);
        }
    }

    /// Whether the message has a pair.
    pub(super) fn holds(&self, pair: u32) -> bool {
        self.held.has(pair)
    }

    /// Begins with nothing found.
    pub(super) fn clear(&mut self) {
        self.found.clear();
    }

    /// Ends: what was found is in `found`, and all else forgotten.
    pub(super) fn finish(&mut self) {
        self.found.iter().for_each(|id| self.seen.unset(id.0));
        self.hashes.drain(..).for_each(|node| self.entered.unset(node));
        self.pairs.drain(..).for_each(|pair| self.held.unset(pair));
        self.states.clear();
    }
}

/// A set of numbers that is emptied by whoever knows them.
#[derive(Debug, Default)]
struct Bits(Vec<u64>);

impl Bits {
    /// Whether a number was not there before.
    #[inline]
    fn set(&mut self, number: u32) -> bool {
        let (word, bit) = (number as usize / 64, 1 << (number % 64));
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        let new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        new
    }

    #[inline]
    fn unset(&mut self, number: u32) {
        if let Some(word) = self.0.get_mut(number as usize / 64) {
            *word &= !(1 << (number % 64));
        }
    }

    #[inline]
    fn has(&self, number: u32) -> bool {
        self.0.get(number as usize / 64).is_some_and(|word| word & (1 << (number % 64)) != 0)
    }
}
