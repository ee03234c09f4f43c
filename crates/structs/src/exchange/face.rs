//! The exchange: bindings made, removed, listed, and the way from a message to destinations.
//!
//! ```text
//!  bindings        number ──► destination, key and arguments      in the order in which they were made
//!  known           key, arguments and destination ──► number      is there such a one?
//!  destinations    id ──► kind and name
//!  by_destination  (id, number)                                    which lead there?
//!  index           the type's own: which destinations does a message go to?
//! ```
//!
//! Bindings to a destination that is gone can be very many. They end at once, and are taken out later, some at a time
//! ([`Exchange::end_all`], [`Exchange::tidy`]): the destination loses its name, and what leads to it is passed over.
//!
//! What must stay true: all five are of the same bindings; a destination is there as long as a binding leads to it; nobody
//! is shown a binding that has ended, but who reads the exchange as it was before.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher;

use foldhash::quality::RandomState;

use super::arguments::Arguments;
use super::binding::{BindError, Binding, Bound, DestinationId, ROUTING_KEY_BYTES_MAX};
use super::frozen::Frozen;
use super::index::{Index, Indexed};
use super::numbered::Numbered;
use super::options::{ExchangeOptions, Target};
use super::sieve::Sieve;
use super::word::Word;
use crate::frozen::{FrozenHead, FrozenPart, Kept};
use crate::split_table::SplitTable;

/// Bytes of a binding in the two ordered maps, with its part of their nodes, about.
const BINDING_BYTES: usize = 144;

/// An exchange: what it was declared to be, and its bindings.
#[derive(Clone, Debug)]
pub struct Exchange {
    uid: Uid,
    created_ms: u64,
    options: ExchangeOptions,
    hasher: RandomState,
    pub(super) bindings: BTreeMap<u64, Stored>,
    next_number: u64,
    known: SplitTable<u64>,
    destinations: Numbered<Destination>,
    by_name: SplitTable<u32>,
    by_destination: BTreeSet<(u32, u64)>,
    index: Index,
    /// Destinations that have ended, and have bindings still.
    ended: Vec<u32>,
    /// How many bindings those have.
    ended_bindings: usize,
    /// How often it was frozen.
    freezes: u64,
    /// Of keys, arguments and names.
    text_bytes: usize,
    pub(super) frozen: Frozen,
}

/// Which exchange it is: a copy is none yet.
#[derive(Debug, Default)]
struct Uid(u64);

impl Clone for Uid {
    fn clone(&self) -> Uid {
        Uid(0)
    }
}

/// A binding as it is kept.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    destination: u32,
    rkey: Word,
    args: Arguments,
}

#[derive(Clone, Debug)]
struct Destination {
    target: Target,
    name: Box<[u8]>,
    /// How many lead to it.
    bindings: usize,
    /// If it has ended: how often the exchange had been frozen by then.
    ended: Option<u64>,
}

impl Default for Destination {
    fn default() -> Destination {
        Destination { target: Target::Queue, name: Box::default(), bindings: 0, ended: None }
    }
}

impl Exchange {
    /// An exchange without bindings. `created_ms` is Unix time.
    pub fn new(options: ExchangeOptions, created_ms: u64) -> Exchange {
        let index = Index::new(options.kind);
        Exchange {
            uid: Uid::default(),
            created_ms,
            options,
            hasher: RandomState::default(),
            bindings: BTreeMap::new(),
            next_number: 0,
            known: SplitTable::default(),
            destinations: Numbered::default(),
            by_name: SplitTable::default(),
            by_destination: BTreeSet::new(),
            index,
            ended: Vec::new(),
            ended_bindings: 0,
            freezes: 0,
            text_bytes: 0,
            frozen: Frozen::default(),
        }
    }

    /// What it was declared with.
    pub fn options(&self) -> &ExchangeOptions {
        &self.options
    }

    /// When it was declared, in Unix milliseconds.
    pub fn created_ms(&self) -> u64 {
        self.created_ms
    }

    /// Which exchange it is, whatever its key: 0 in a copy and in what was decoded, until it is set.
    pub fn uid(&self) -> u64 {
        self.uid.0
    }

    /// Says which exchange it is.
    pub fn set_uid(&mut self, uid: u64) {
        self.uid = Uid(uid);
    }

    /// Makes a binding. False if it was there: same destination, key and arguments. O(log bindings), and O(bytes of the
    /// binding).
    pub fn bind(&mut self, binding: &Binding<'_>) -> Result<bool, BindError> {
        if binding.rkey.len() > ROUTING_KEY_BYTES_MAX {
            return Err(BindError::KeyTooLong);
        }
        let args = Arguments::new(binding.args)?;
        let known = self.find_destination(binding.target, binding.name);
        if known.is_some_and(|destination| self.find(destination, binding.rkey, &args).is_some()) {
            return Ok(false);
        }
        let destination = match known {
            Some(destination) => destination,
            None => self.new_destination(binding.target, binding.name).ok_or(BindError::Full)?,
        };
        let number = self.next_number;
        let (target, name, rkey) = (binding.target, binding.name, binding.rkey);
        if let Err(error) = self.index.add(Indexed { number, destination, target, name, rkey, args: &args }) {
            self.remove_destination_if_unused(destination);
            return Err(error);
        }
        self.next_number += 1;
        let stored = Stored { destination, rkey: Word::new(rkey), args };
        self.text_bytes += stored.text_bytes();
        let hash = stored.hash(&self.hasher);
        self.bindings.insert(number, stored);
        self.by_destination.insert((destination, number));
        self.destinations[destination].bindings += 1;
        let (bindings, hasher) = (&self.bindings, &self.hasher);
        self.known.insert(hash, number, |number| bindings.get(number).map_or(0, |stored| stored.hash(hasher)));
        Ok(true)
    }

    /// Removes a binding. False if it was not there. O(log bindings); in exchanges of type modhash and random bindings that
    /// were made later are moved.
    pub fn unbind(&mut self, binding: &Binding<'_>) -> bool {
        let Ok(args) = Arguments::new(binding.args) else { return false };
        let destination = self.find_destination(binding.target, binding.name);
        let number = destination.and_then(|destination| self.find(destination, binding.rkey, &args));
        let Some(number) = number else { return false };
        self.remove(number);
        true
    }

    /// Removes all bindings to a destination; returns how many. O(bindings to that destination × log bindings).
    pub fn unbind_all(&mut self, target: Target, name: &[u8]) -> usize {
        let Some(destination) = self.find_destination(target, name) else { return 0 };
        let mut removed = 0;
        loop {
            let next = self.numbers_to(destination).next();
            let Some(number) = next else { return removed };
            self.remove(number);
            removed += 1;
        }
    }

    /// Ends all bindings to a destination; returns how many. If they are more than `max` they are taken out later, by
    /// [`Exchange::tidy`]. O(`max` × log bindings); in exchanges of type modhash and random O(bindings).
    pub fn end_all(&mut self, target: Target, name: &[u8], max: usize) -> usize {
        let Some(id) = self.find_destination(target, name) else { return 0 };
        let count = self.destinations[id].bindings;
        if count <= max {
            return self.unbind_all(target, name);
        }
        self.forget_name(id);
        self.destinations[id].ended = Some(self.freezes);
        self.index.leave(target, name, id);
        self.ended.push(id);
        self.ended_bindings += count;
        count
    }

    /// Whether bindings have ended that are still to be taken out.
    pub fn is_untidy(&self) -> bool {
        !self.ended.is_empty()
    }

    /// Takes out at most `max` bindings that have ended. Says whether there are more. O(`max` × log bindings).
    pub fn tidy(&mut self, max: usize) -> bool {
        for _ in 0..max {
            let Some(&destination) = self.ended.last() else { return false };
            let next = self.numbers_to(destination).next();
            if let Some(number) = next {
                self.remove(number);
            }
        }
        self.is_untidy()
    }

    /// Finds where a message goes: each destination once, in no order that means anything. `random`, of 64 bits, decides in
    /// exchanges of type random; only those of type headers look at `headers`.
    ///
    /// Bindings that do not match cost nothing, apart from those on headers that share one with the message. Allocates
    /// only while the sieve has still to grow.
    pub fn route<'s>(
        &self,
        rkey: &[u8],
        headers: &[(&[u8], &[u8])],
        random: u64,
        sieve: &'s mut Sieve,
    ) -> &'s [DestinationId] {
        sieve.clear();
        self.index.route(rkey, headers, random, sieve);
        sieve.finish();
        if self.is_untidy() {
            sieve.found.retain(|id| self.destinations[id.0].ended.is_none());
        }
        &sieve.found
    }

    /// What a destination is. It was found by [`Exchange::route`], and no binding was removed since.
    #[inline]
    pub fn destination(&self, id: DestinationId) -> (Target, &[u8]) {
        let destination = &self.destinations[id.0];
        (destination.target, &destination.name)
    }

    /// All destinations, each once. O(destinations that there ever were at once).
    pub fn destinations(&self) -> impl Iterator<Item = (Target, &[u8])> {
        let live = self.destinations.all().filter(|known| known.bindings > 0 && known.ended.is_none());
        live.map(|known| (known.target, &*known.name))
    }

    /// All bindings in the order in which they were made.
    pub fn bindings(&self) -> impl Iterator<Item = Bound<'_>> {
        let live = self.bindings.values().filter(|stored| self.destinations[stored.destination].ended.is_none());
        live.map(|stored| self.bound(stored))
    }

    /// The bindings to a destination in the order in which they were made. O(those × log bindings).
    pub fn bindings_to(&self, target: Target, name: &[u8]) -> impl Iterator<Item = Bound<'_>> {
        let numbers = self.find_destination(target, name).into_iter().flat_map(|id| self.numbers_to(id));
        numbers.filter_map(|number| self.bindings.get(&number)).map(|stored| self.bound(stored))
    }

    /// Number of bindings.
    pub fn len(&self) -> usize {
        self.bindings.len() - self.ended_bindings
    }

    /// Whether there are no bindings.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a binding leads to a destination. O(1).
    pub fn is_bound_to(&self, target: Target, name: &[u8]) -> bool {
        self.find_destination(target, name).is_some()
    }

    /// All bytes that the exchange owns besides itself, about. O(1).
    pub fn memory_bytes(&self) -> usize {
        self.text_bytes
            + self.options.alternate.as_ref().map_or(0, |alternate| alternate.len())
            + self.bindings.len() * BINDING_BYTES
            + self.known.memory_bytes()
            + self.destinations.memory_bytes()
            + self.by_name.memory_bytes()
            + self.index.memory_bytes()
            + self.frozen.memory_bytes()
    }

    /// The part of [`Exchange::memory_bytes`] in pages that the allocator does not know: none. O(1).
    pub fn mapped_bytes(&self) -> usize {
        0
    }

    /// Number of pieces that dropping it would free, roughly. O(1).
    pub fn items(&self) -> usize {
        self.bindings.len()
    }

    fn bound<'a>(&'a self, stored: &'a Stored) -> Bound<'a> {
        let (target, name) = self.destination(DestinationId(stored.destination));
        Bound { target, name, rkey: stored.rkey.as_bytes(), args: &stored.args }
    }

    /// The numbers of bindings that lead to a destination.
    fn numbers_to(&self, destination: u32) -> impl Iterator<Item = u64> {
        self.by_destination.range((destination, 0)..=(destination, u64::MAX)).map(|(_, number)| *number)
    }

    /// The number of a binding.
    fn find(&self, destination: u32, rkey: &[u8], args: &Arguments) -> Option<u64> {
        let is_meant = |number: &u64| {
            self.bindings.get(number).is_some_and(|stored| {
                stored.destination == destination && stored.rkey.as_bytes() == rkey && stored.args == *args
            })
        };
        self.known.find(binding_hash(&self.hasher, destination, rkey, args), is_meant).copied()
    }

    /// Removes a binding that there is.
    fn remove(&mut self, number: u64) {
        let Some(stored) = self.bindings.get(&number) else { return };
        let (destination, hash) = (stored.destination, stored.hash(&self.hasher));
        let Destination { target, name, ended, .. } = &self.destinations[destination];
        let (target, ended, rkey, args) = (*target, *ended, stored.rkey.as_bytes(), &stored.args);
        if ended.is_none_or(|at| at == self.freezes) {
            self.frozen.save(number, &Bound { target, name, rkey, args });
        }
        if ended.is_none() || !self.index.lets_leave() {
            self.index.remove(Indexed { number, destination, target, name, rkey, args });
        }
        self.text_bytes -= stored.text_bytes();
        let (bindings, hasher) = (&self.bindings, &self.hasher);
        self.known.remove(
            hash,
            |other| *other == number,
            |number| bindings.get(number).map_or(0, |stored| stored.hash(hasher)),
        );
        self.bindings.remove(&number);
        self.by_destination.remove(&(destination, number));
        self.destinations[destination].bindings -= 1;
        self.ended_bindings -= usize::from(ended.is_some());
        self.remove_destination_if_unused(destination);
    }

    fn find_destination(&self, target: Target, name: &[u8]) -> Option<u32> {
        let is_meant = |id: &u32| {
            let known = &self.destinations[*id];
            known.target == target && *known.name == *name
        };
        self.by_name.find(name_hash(&self.hasher, target, name), is_meant).copied()
    }

    fn new_destination(&mut self, target: Target, name: &[u8]) -> Option<u32> {
        let id = self.destinations.add(Destination { target, name: name.into(), ..Destination::default() })?;
        self.text_bytes += name.len();
        let (destinations, hasher) = (&self.destinations, &self.hasher);
        let hash = name_hash(hasher, target, name);
        self.by_name.insert(hash, id, |id| destinations[*id].hash(hasher));
        Some(id)
    }

    fn remove_destination_if_unused(&mut self, id: u32) {
        if self.numbers_to(id).next().is_some() {
            return;
        }
        match self.destinations[id].ended {
            None => self.forget_name(id),
            Some(_) => self.ended.retain(|other| *other != id),
        }
        self.text_bytes -= self.destinations.remove(id).name.len();
    }

    /// Nobody finds a destination by its name any more.
    fn forget_name(&mut self, id: u32) {
        let (destinations, hasher) = (&self.destinations, &self.hasher);
        let hash = destinations[id].hash(hasher);
        self.by_name.remove(hash, |other| *other == id, |id| destinations[*id].hash(hasher));
    }
}

/// Frozen exchanges.
impl Exchange {
    /// Freezes it: what it is now is given out in pieces by [`Exchange::give_frozen`], whatever becomes of it meanwhile.
    /// `ticket` tells whose frozen state it is. O(1). It must not be frozen yet.
    pub fn freeze(&mut self, ticket: u64) {
        self.freezes += 1;
        self.frozen = Frozen::new(ticket, self.next_number, self.len());
    }

    /// The ticket with which it was frozen, if it is.
    pub fn frozen_ticket(&self) -> Option<u64> {
        self.frozen.ticket()
    }

    /// What it was when it was frozen, if it is.
    pub fn frozen_head(&self) -> Option<FrozenHead> {
        self.frozen.ticket().map(|_| FrozenHead::Exchange)
    }

    /// Gives the next pieces of what it was, with about `budget` bindings: all of them one after the other are the bytes that
    /// [`Exchange::encode`] gave then. Says whether there is more; if not, it is not frozen any more. O(budget).
    pub fn give_frozen(&mut self, budget: usize, visit: &mut dyn FnMut(FrozenPart<'_>)) -> bool {
        let mut frozen = std::mem::take(&mut self.frozen);
        let goes_on = frozen.give(self, budget.max(1), &mut |piece| visit(FrozenPart::Piece(piece)));
        if goes_on {
            self.frozen = frozen;
        }
        goes_on
    }

    /// Forgets the frozen state, and hands out what had been kept.
    pub fn thaw(&mut self) -> Option<Kept> {
        std::mem::take(&mut self.frozen).into_kept()
    }

    /// Bindings from a number on, with their numbers, without those that had ended when it was frozen last.
    pub(super) fn bindings_from(&self, number: u64) -> impl Iterator<Item = (u64, Bound<'_>)> {
        let had_ended =
            |stored: &Stored| self.destinations[stored.destination].ended.is_some_and(|at| at < self.freezes);
        let those = self.bindings.range(number..).filter(move |(_, stored)| !had_ended(stored));
        those.map(|(number, stored)| (*number, self.bound(stored)))
    }
}

impl Stored {
    fn text_bytes(&self) -> usize {
        self.rkey.memory_bytes() + self.args.as_bytes().len()
    }

    fn hash(&self, hasher: &RandomState) -> u64 {
        binding_hash(hasher, self.destination, self.rkey.as_bytes(), &self.args)
    }
}

impl Destination {
    fn hash(&self, hasher: &RandomState) -> u64 {
        name_hash(hasher, self.target, &self.name)
    }
}

fn binding_hash(hasher: &RandomState, destination: u32, rkey: &[u8], args: &Arguments) -> u64 {
    hasher.hash_one((destination, rkey, args.as_bytes()))
}

fn name_hash(hasher: &RandomState, target: Target, name: &[u8]) -> u64 {
    hasher.hash_one((target as u8, name))
}

#[cfg(test)]
mod tests;
