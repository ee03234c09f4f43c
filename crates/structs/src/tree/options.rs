//! What a store was told to do.

/// Limits and promises of one store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeOptions {
    /// So many revisions are kept, about.
    pub history_max: u64,
    /// Revisions are kept for so long, about; 0: however old they are.
    pub history_ms: u64,
    /// Bytes that a value may have.
    pub value_max: u64,
    /// Operations that a transaction may have.
    pub txn_max: u32,
    /// Replies and frames wait until the change is on disk.
    pub durable: bool,
    /// So many releases of a namespace are kept.
    pub releases_max: u32,
}

impl Default for TreeOptions {
    fn default() -> TreeOptions {
        TreeOptions {
            history_max: 10_000,
            history_ms: 3_600_000,
            value_max: 1 << 20,
            txn_max: 128,
            durable: false,
            releases_max: 1_000,
        }
    }
}
