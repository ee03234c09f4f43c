//! Exchanges as bytes: a head, then bindings in the order in which they were made.
//!
//! ```text
//!  head     version 1 · type · flags · created_ms · [alternate] · number of bindings
//!  piece    binding ...            binding: target · name · key · number of arguments · (name · value) ...
//! ```
//!
//! Numbers are of seven bits a byte, names and values have their length in front. What is read may be anything: it is an
//! exchange that could have been made by binding, or it is refused; and nothing is allocated by a length that is
//! not there.

use std::fmt;

use super::binding::{BINDING_ARGUMENTS_MAX, Binding, Bound};
use super::face::Exchange;
use super::numbers::{put_bytes, put_number, take_bytes, take_number};
use super::options::{ExchangeOptions, ExchangeType, Target};

const VERSION: u64 = 1;

/// A piece is given when it has become as long.
pub(super) const PIECE_BYTES: usize = 64 * 1024;

const AUTO_DELETE: u64 = 1;
const INTERNAL: u64 = 2;
const RKACL: u64 = 4;
const ALTERNATE: u64 = 8;
const FLAGS: u64 = AUTO_DELETE | INTERNAL | RKACL | ALTERNATE;

/// Bytes are not what an exchange is encoded to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt;

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an encoded exchange")
    }
}

impl std::error::Error for Corrupt {}

impl Exchange {
    /// Gives the exchange as pieces of bytes: a head, then bindings in pieces of 64 KiB and not much more, unless single ones
    /// are longer. [`ExchangeBuilder`] makes it of them again.
    pub fn encode(&self, give: &mut dyn FnMut(&[u8])) {
        give(&head(self, self.len()));
        let mut piece = Vec::new();
        for bound in self.bindings() {
            put_binding(&mut piece, &bound);
            if piece.len() >= PIECE_BYTES {
                give(&piece);
                piece.clear();
            }
        }
        if !piece.is_empty() {
            give(&piece);
        }
    }
}

/// The head of an exchange that has, or had, so many bindings.
pub(super) fn head(exchange: &Exchange, bindings: usize) -> Vec<u8> {
    let options = exchange.options();
    let flag = |is_set: bool, flag: u64| if is_set { flag } else { 0 };
    let mut head = Vec::new();
    put_number(&mut head, VERSION);
    put_number(&mut head, kind_code(options.kind));
    put_number(
        &mut head,
        flag(options.auto_delete, AUTO_DELETE)
            | flag(options.internal, INTERNAL)
            | flag(options.rkacl, RKACL)
            | flag(options.alternate.is_some(), ALTERNATE),
    );
    put_number(&mut head, exchange.created_ms());
    if let Some(alternate) = &options.alternate {
        put_bytes(&mut head, alternate);
    }
    put_number(&mut head, bindings as u64);
    head
}

/// Appends a binding to a piece.
pub(super) fn put_binding(piece: &mut Vec<u8>, bound: &Bound<'_>) {
    put_number(piece, target_code(bound.target));
    put_bytes(piece, bound.name);
    put_bytes(piece, bound.rkey);
    put_number(piece, bound.args().count() as u64);
    for (name, value) in bound.args() {
        put_bytes(piece, name);
        put_bytes(piece, value);
    }
}

/// Makes an exchange of the pieces that [`Exchange::encode`] gave. The bytes may be anything.
#[derive(Debug)]
pub struct ExchangeBuilder {
    exchange: Exchange,
    /// How many bindings have still to come.
    missing: u64,
}

impl ExchangeBuilder {
    /// Begins with the head, the first piece.
    pub fn new(head: &[u8]) -> Result<ExchangeBuilder, Corrupt> {
        let (options, created_ms, missing) = take_head(head).ok_or(Corrupt)?;
        Ok(ExchangeBuilder { exchange: Exchange::new(options, created_ms), missing })
    }

    /// Takes the next piece.
    pub fn piece(&mut self, mut piece: &[u8]) -> Result<(), Corrupt> {
        while !piece.is_empty() {
            self.take_binding(&mut piece).ok_or(Corrupt)?;
        }
        Ok(())
    }

    /// The exchange, if all of it has come.
    pub fn finish(self) -> Result<Exchange, Corrupt> {
        if self.missing == 0 { Ok(self.exchange) } else { Err(Corrupt) }
    }

    fn take_binding(&mut self, piece: &mut &[u8]) -> Option<()> {
        let code = take_number(piece)?;
        let target = Target::ALL.into_iter().find(|target| target_code(*target) == code)?;
        let (name, rkey) = (take_bytes(piece)?, take_bytes(piece)?);
        let count = take_number(piece)?;
        if count > BINDING_ARGUMENTS_MAX as u64 {
            return None;
        }
        let mut args = Vec::new();
        for _ in 0..count {
            args.push((take_bytes(piece)?, take_bytes(piece)?));
        }
        self.missing = self.missing.checked_sub(1)?;
        let is_new = self.exchange.bind(&Binding { target, name, rkey, args: &args }).ok()?;
        is_new.then_some(())
    }
}

fn take_head(mut head: &[u8]) -> Option<(ExchangeOptions, u64, u64)> {
    if take_number(&mut head)? != VERSION {
        return None;
    }
    let code = take_number(&mut head)?;
    let kind = ExchangeType::ALL.into_iter().find(|kind| kind_code(*kind) == code)?;
    let flags = take_number(&mut head)?;
    if flags & !FLAGS != 0 {
        return None;
    }
    let created_ms = take_number(&mut head)?;
    let alternate = if flags & ALTERNATE != 0 { Some(take_bytes(&mut head)?.into()) } else { None };
    let bindings = take_number(&mut head)?;
    let options = ExchangeOptions {
        kind,
        alternate,
        auto_delete: flags & AUTO_DELETE != 0,
        internal: flags & INTERNAL != 0,
        rkacl: flags & RKACL != 0,
    };
    head.is_empty().then_some((options, created_ms, bindings))
}

/// Numbers of types in files.
fn kind_code(kind: ExchangeType) -> u64 {
    match kind {
        ExchangeType::Direct => 0,
        ExchangeType::Fanout => 1,
        ExchangeType::Topic => 2,
        ExchangeType::Headers => 3,
        ExchangeType::Hash => 4,
        ExchangeType::ModHash => 5,
        ExchangeType::Random => 6,
    }
}

/// Numbers of kinds of destinations in files.
fn target_code(target: Target) -> u64 {
    match target {
        Target::Queue => 0,
        Target::Exchange => 1,
        Target::Stream => 2,
        Target::Channel => 3,
    }
}

#[cfg(test)]
mod tests;
