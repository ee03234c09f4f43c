//! Big lists.

/// One of them.
#[derive(Clone, Debug)]
pub struct List {
    bytes: Vec<u8>,
}

impl List {
    /// All bytes that it owns. O(1).
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// The part of them that the global allocator does not know of. O(1).
    pub fn mapped_bytes(&self) -> usize {
        0
    }

    /// Number of pieces. O(1).
    pub fn items(&self) -> usize {
        1
    }
}
