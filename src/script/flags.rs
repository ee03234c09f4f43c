//! What a script or a function says of itself, in the first line of a script or when a function is registered.

bitflags::bitflags! {
    /// Flags of a script or function.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct ScriptFlags: u8 {
        /// It changes nothing, and what it calls must not either.
        const NO_WRITES = 1;
        /// It may run while memory is short.
        const ALLOW_OOM = 1 << 1;
        /// It may run on a replica that has lost its primary.
        const ALLOW_STALE = 1 << 2;
        /// It must not run in a cluster.
        const NO_CLUSTER = 1 << 3;
        /// It may use keys of several slots.
        const ALLOW_CROSS_SLOT_KEYS = 1 << 4;
        /// It has said nothing, as scripts once did: each of its commands is judged by itself.
        const UNDECLARED = 1 << 7;
    }
}

/// Each flag by its name, in the order in which they are listed.
const NAMES: [(&str, ScriptFlags); 5] = [
    ("no-writes", ScriptFlags::NO_WRITES),
    ("allow-oom", ScriptFlags::ALLOW_OOM),
    ("allow-stale", ScriptFlags::ALLOW_STALE),
    ("no-cluster", ScriptFlags::NO_CLUSTER),
    ("allow-cross-slot-keys", ScriptFlags::ALLOW_CROSS_SLOT_KEYS),
];

impl ScriptFlags {
    /// The flag with a name, in whatever case.
    pub fn named(name: &[u8]) -> Option<ScriptFlags> {
        NAMES.iter().find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name)).map(|(_, flag)| *flag)
    }

    /// Names of the flags that are set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES.iter().filter(move |(_, flag)| self.contains(*flag)).map(|(name, _)| *name)
    }
}
