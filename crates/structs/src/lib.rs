//! The data structures of Weir: all memory layout, and nearly all of its unsafe code. Nothing here has any idea that a
//! server exists.
//!
//! ```text
//!  keyspace      keys and values of one database: the safe face of the four below
//!  ├─ dict       the table of pointers (segments, directory, cursors)
//!  ├─ entry      one key, its value, expiry and clock in one block
//!  ├─ value      which collections an entry may hold
//!  ├─ slab       blocks of up to 512 bytes without overhead
//!  └─ arena      pages from the kernel, for slab and dict
//!  members       members of a big hash, set or sorted set: a table of its own
//!  stream        logs of entries and their consumer groups
//!  exchange      which destinations a message goes to: bindings and their indexes
//!  expiry_wheel  which keys are due
//!  snapshot_walk how far a snapshot of a table has come that changes meanwhile
//!  frozen        big collections given out as they were, while they change
//!  packed        small collections as one run of bytes
//!  intset        small sets of integers: sorted bytes
//!  queue         queues of messages that are handed out and settled
//!  tree          stores of paths with revisions, history and leases
//!  list          sequences that are pushed to and popped from at both ends
//!  lzf           compression of lists' chunks and of strings in files
//!  rank_tree     members of a collection in order, with their ranks
//!  geo           positions as scores of sorted sets
//!  bits, hll     what bitmaps and HyperLogLogs do with the bytes of strings
//!  number, decimal, glob, lcs, digest   what commands do with bytes
//!  quoted        bytes as text that can be read
//!  crc64         the checksum of files and dumps
//! ```
//!
//! What must stay true: the unsafe code of this crate is sound for every input through its public safe functions; whatever
//! needs a promise of the caller is an `unsafe fn` that names it. A model test stands beside each structure.

pub mod arena;
pub mod bits;
mod bytes;
pub mod crc64;
pub mod decimal;
pub mod dict;
pub mod digest;
pub mod entry;
pub mod exchange;
pub mod expiry_wheel;
pub mod frozen;
pub mod geo;
pub mod glob;
pub mod hash;
pub mod hll;
pub mod intset;
pub mod keyspace;
pub mod lcs;
pub mod list;
pub mod lzf;
pub mod members;
pub mod number;
pub mod packed;
pub mod pieces;
pub mod queue;
pub mod quoted;
pub mod rank_tree;
pub mod set;
pub mod sizes;
pub mod slab;
pub mod snapshot_walk;
mod split_table;
pub mod stream;
pub mod tree;
pub mod value;
mod widest;
pub mod zset;

/// Hints that a cache line will be read soon. Any address is fine.
#[inline(always)]
pub(crate) fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch does not access memory in a way that can fail.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// What several tests need.
#[cfg(test)]
pub(crate) mod testing {
    /// Repeatable random numbers (splitmix64).
    #[derive(Debug)]
    pub(crate) struct Rng(u64);

    impl Rng {
        pub(crate) fn new(seed: u64) -> Rng {
            Rng(seed)
        }

        pub(crate) fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut mixed = self.0;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            mixed ^ (mixed >> 31)
        }

        /// A number below `limit`.
        pub(crate) fn below(&mut self, limit: usize) -> usize {
            ((u128::from(self.next()) * limit as u128) >> 64) as usize
        }
    }
}
