//! A hash table of pointers that grows in small steps: extendible hashing over segments of cache-line buckets.
//!
//! ```text
//!  position (64 bits, the key's hash):  | directory index | tag: the 16 bits after the segment's own prefix | ... |
//!
//!  directory (2^depth entries)        segment (nb buckets)                      bucket (64 bytes, 8 slots)
//!  +------+                           +--------+--------+---  ---+--------+     +------------------------------------+
//!  | 00.. |-------------------------> | 0      | 1      |  ...   | nb - 1 |     | tag:16 | block address:46 | next:2 | x 8
//!  | 01.. |--------\                  +--------+--------+---  ---+--------+     +------------------------------------+
//!  | 10.. |---\     \---------------> +--------+--------+---
//!  | 11.. |---/ (a shallower segment has several entries)
//!  +------+
//! ```
//!
//! An item's home bucket is `tag * nb / 2^16`. That the tag alone decides has three consequences: a segment is made
//! larger or smaller without reading a single key; buckets lie in the order of positions, so a cursor is a position
//! and means the same whatever the table did in the meantime; and two neighbours merge without reading keys too. So no
//! insertion ever waits for more than one segment, and the table's memory follows its contents in steps of one kernel page.
//!
//! A split needs one bit of each item's position behind its tag, and to read thousands of keys for that, all over
//! memory, would take it a large part of a millisecond. Blocks are aligned to 4 bytes, which leaves two bits of a slot for
//! the *next* bits of the position: enough for two splits. What was there before the second of them has none left;
//! while its segment fills up again, one insertion in eight reads some twenty keys (`learn`), so that the third split
//! finds all bits known. Each split takes one bit from all items alike, so whether two or one are there follows from the depth.
//!
//! What must stay true, of every segment:
//! - a bucket's occupied slots come first (so its last slot tells whether it is full);
//! - all buckets from an item's home, on and around the end, up to the one before the item's own are full;
//! - along such a run of buckets, and inside of each, items are in the order of their tags. So a search ends at the first
//!   bucket that is not full or has a later tag, and a missing key is no dearer than a present one however full the
//!   segment is. That allows 31/32 of the slots to be used. The price is paid by insertions, which push the later
//!   items of their run on by one;
//! - at least one slot is free, so every search ends;
//! - at an odd depth every item knows its first next bit; at an even one those know both whose tag is below
//!   what has been learnt. Merging two segments gives each item a bit back that it knows;
//! - `used` in the first of its directory entries is the number of its items; the other entries' are meaningless.
//!
//! The table does not own the blocks. A [`Layout`] tells it where a block has its key.
//!
//! `segment` knows one segment, `table` the directory and the operations on single keys, `visit` everything that walks.

mod segment;
mod table;
#[cfg(test)]
mod tests;
mod visit;

pub use table::{Dict, Layout, SlotRef};
pub use visit::Iter;
