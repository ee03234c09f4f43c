//! Parcels that several queues have: written once where queues are written one behind the other, and shared again where they
//! are read.
//!
//! Who writes keeps [`WrittenParcels`], and numbers those that come again or may; who reads keeps a [`ParcelPool`]. A number
//! holds for as long as both: within one file. Where queues are written by themselves, parcels are in full; if several of
//! them are read with one pool, those that are alike are made one.

use std::collections::HashMap;
use xxhash_rust::xxh3::xxh3_64;

use super::{Parcel, Wait};

/// How a parcel that others have as well is to be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SharedAs {
    /// By itself.
    #[default]
    InFull,
    /// In full, and by this number from now on.
    First(u64),
    /// By the number that it was given.
    Again(u64),
}

/// Parcels that have been written to a file, by where they are in memory. It holds on to them, so that no other one can be
/// there.
#[derive(Debug, Default)]
pub struct WrittenParcels(HashMap<usize, (u64, Parcel)>);

impl WrittenParcels {
    /// How a parcel is to be written behind all that was asked for before.
    pub fn next(&mut self, parcel: &Parcel) -> SharedAs {
        let number = self.0.len() as u64;
        match self.known(parcel) {
            SharedAs::InFull => {
                self.0.insert(parcel.address(), (number, parcel.clone()));
                SharedAs::First(number)
            }
            known => known,
        }
    }

    /// The same for one that is to be written somewhere behind what was asked for so far, but perhaps behind more.
    pub fn known(&self, parcel: &Parcel) -> SharedAs {
        self.0.get(&parcel.address()).map_or(SharedAs::InFull, |(number, _)| SharedAs::Again(*number))
    }
}

/// Parcels that several queues have, while these are read: whoever reads the next one finds it here. It holds on to what it
/// knows, so it should go when all is read.
#[derive(Debug, Default)]
pub struct ParcelPool {
    by_digest: HashMap<u64, Parcel>,
    by_number: HashMap<u64, Parcel>,
}

impl ParcelPool {
    /// The parcel of these bytes; `None` if they are none.
    pub(super) fn parcel(&mut self, bytes: &[u8]) -> Option<Parcel> {
        let digest = xxh3_64(bytes);
        match self.by_digest.get(&digest) {
            Some(known) if known.bytes(Wait::Never).as_deref() == Ok(bytes) => Some(known.clone()),
            _ => {
                let parcel = Parcel::from_bytes(bytes)?;
                self.by_digest.insert(digest, parcel.clone());
                Some(parcel)
            }
        }
    }

    /// The same, known by a number from now on; `None` as well if the number is taken.
    pub(super) fn numbered(&mut self, number: u64, bytes: &[u8]) -> Option<Parcel> {
        let parcel = Parcel::from_bytes(bytes)?;
        let before = self.by_number.insert(number, parcel.clone());
        before.is_none().then_some(parcel)
    }

    /// The one with a number.
    pub(super) fn by_number(&self, number: u64) -> Option<Parcel> {
        self.by_number.get(&number).cloned()
    }
}
