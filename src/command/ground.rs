//! What rooms work on that change data beside commands: broker, registry.

use super::effects::{Effects, EventClass};
use crate::store::Store;

/// Unix time in ms, which is above 1970.
pub fn now_ms(store: &Store) -> u64 {
    u64::try_from(store.now_ms()).unwrap_or_default()
}

/// The data, and where it is said what was changed.
#[derive(Debug)]
pub struct Ground<'g> {
    /// All databases.
    pub store: &'g mut Store,
    /// Where it is said what was changed.
    pub effects: &'g mut Effects,
    /// The database.
    pub db: usize,
}

impl Ground<'_> {
    /// Unix time in ms.
    pub fn now_ms(&self) -> u64 {
        now_ms(self.store)
    }

    /// Reports an event at a key that is of a type of Weir's own.
    pub fn event(&mut self, name: &'static str, key: &[u8]) {
        self.effects.event(EventClass::MODULE, name, key, self.db);
    }
}
