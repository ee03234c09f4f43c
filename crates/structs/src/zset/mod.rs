//! Big sorted sets.

use crate::members::Members;

/// One of them.
#[derive(Clone, Debug)]
pub struct Zset {
    members: Members,
}

impl Zset {
    /// All bytes that it owns. O(1).
    pub fn memory_bytes(&self) -> usize {
        self.members.memory_bytes()
    }

    /// The part of them that the global allocator does not know of. O(1).
    pub fn mapped_bytes(&self) -> usize {
        self.members.mapped_bytes()
    }

    /// Number of pieces. O(1).
    pub fn items(&self) -> usize {
        self.members.len()
    }
}
