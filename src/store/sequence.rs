//! The order in which things were recorded in several places.
//!
//! A command records its events in one place, and the store records in another what it finds expired meanwhile. Each record
//! has a number from the same sequence, so that they can be told in the order in which they happened.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts records, wherever they are.
#[derive(Clone, Default, Debug)]
pub struct Sequence(Arc<AtomicU64>);

impl Sequence {
    /// A number above all that were given before.
    pub fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}
