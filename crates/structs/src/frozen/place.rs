//! Freezing of a collection wherever it is: at a key, or without one.

use super::{FrozenHead, FrozenPart, Kept};
use crate::keyspace::EntryMut;
use crate::value::{Big, ValueRef, each};

/// [`each`] for the value of an entry, with another expression for what is no big collection.
macro_rules! each_value {
    ($entry:expr, $it:ident => $what:expr, $otherwise:expr) => {
        match $entry.as_ref().value() {
            ValueRef::Hash($it) => $what,
            ValueRef::Set($it) => $what,
            ValueRef::Zset($it) => $what,
            ValueRef::List($it) => $what,
            ValueRef::Stream($it) => $what,
            ValueRef::Queue($it) => $what,
            ValueRef::Exchange($it) => $what,
            ValueRef::Tree($it) => $what,
            ValueRef::Str(_) | ValueRef::Packed(..) => $otherwise,
        }
    };
}

/// The collection is changed through the entry, which counts its memory.
macro_rules! each_entry {
    ($entry:expr, $it:ident => $what:expr, $otherwise:expr) => {
        match $entry.as_ref().value() {
            ValueRef::Hash(_) => $entry.hash_mut().map_or($otherwise, |mut $it| $what),
            ValueRef::Set(_) => $entry.set_mut().map_or($otherwise, |mut $it| $what),
            ValueRef::Zset(_) => $entry.zset_mut().map_or($otherwise, |mut $it| $what),
            ValueRef::List(_) => $entry.list_mut().map_or($otherwise, |mut $it| $what),
            ValueRef::Stream(_) => $entry.stream_mut().map_or($otherwise, |mut $it| $what),
            ValueRef::Queue(_) => $entry.queue_mut().map_or($otherwise, |mut $it| $what),
            ValueRef::Exchange(_) => $entry.exchange_mut().map_or($otherwise, |mut $it| $what),
            ValueRef::Tree(_) => $entry.tree_mut().map_or($otherwise, |mut $it| $what),
            ValueRef::Str(_) | ValueRef::Packed(..) => $otherwise,
        }
    };
}

impl Big {
    /// The ticket with which it was frozen.
    pub fn frozen_ticket(&self) -> Option<u64> {
        each!(self, it => it.frozen_ticket())
    }

    /// What it was when it was frozen.
    pub fn frozen_head(&self) -> Option<FrozenHead> {
        each!(self, it => it.frozen_head())
    }

    /// Gives the next parts of what it was, about `budget` elements. Says whether there is more; otherwise it is thawed.
    pub fn give_frozen(&mut self, budget: usize, visit: &mut dyn FnMut(FrozenPart<'_>)) -> bool {
        each!(self, it => it.give_frozen(budget, visit))
    }

    /// Forgets what it was. What had been kept is handed out, to be dropped elsewhere.
    pub fn thaw(&mut self) -> Option<Kept> {
        each!(self, it => it.thaw())
    }
}

impl EntryMut<'_> {
    /// What a big collection is now is to be given in parts. Nothing happens to other values.
    pub fn freeze(&mut self, ticket: u64) {
        each_entry!(self, it => it.freeze(ticket), ());
    }

    /// The ticket with which it was frozen.
    pub fn frozen_ticket(&self) -> Option<u64> {
        each_value!(self, it => it.frozen_ticket(), None)
    }

    /// What it was when it was frozen.
    pub fn frozen_head(&self) -> Option<FrozenHead> {
        each_value!(self, it => it.frozen_head(), None)
    }

    /// Gives the next parts of what it was, about `budget` elements. Says whether there is more; otherwise it is thawed.
    pub fn give_frozen(&mut self, budget: usize, visit: &mut dyn FnMut(FrozenPart<'_>)) -> bool {
        each_entry!(self, it => it.give_frozen(budget, visit), false)
    }

    /// Forgets what it was. What had been kept is handed out, to be dropped elsewhere.
    pub fn thaw(&mut self) -> Option<Kept> {
        each_entry!(self, it => it.thaw(), None)
    }
}
