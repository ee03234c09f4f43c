//! Snapshots of everything: when they are written and read, and what the server remembers of it.

use super::{REDIS_VERSION, Server};
use crate::command::value_forms;
use crate::persist::{self, Origin};

/// What is known of snapshots.
#[derive(Debug)]
pub(super) struct Snapshots {
    /// When the last one was written, or the server was started: Unix time in seconds.
    pub(super) last_save_s: i64,
    /// How many have been written.
    pub(super) saves: u64,
    /// Keys that were read at the start, and keys that were not because their time had come.
    pub(super) keys_loaded: u64,
    pub(super) keys_expired: u64,
}

impl Snapshots {
    pub(super) fn new(now_s: i64) -> Snapshots {
        Snapshots { last_save_s: now_s, saves: 0, keys_loaded: 0, keys_expired: 0 }
    }
}

/// Nothing was written or read; the log says why.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failed;

impl Server {
    /// Writes a snapshot before it returns. O(all data).
    pub(super) fn save_snapshot(&mut self) -> Result<(), Failed> {
        let began = self.stats.now();
        let now_s = (self.facts.wall_clock_us)() / 1_000_000;
        let functions: Vec<&[u8]> = self.functions.libraries().map(|library| library.code()).collect();
        let origin = Origin {
            redis_version: REDIS_VERSION,
            now_s,
            used_memory: self.used_memory(),
            forms: value_forms(&self.config),
            with_checksum: self.config.rdbchecksum,
            with_access: ["lru", "lrm", "lfu"].iter().any(|clock| self.config.maxmemory_policy.name().ends_with(clock)),
            functions: &functions,
        };
        let path = self.config.path_in_dir(&self.config.dbfilename);
        match persist::save(&path, &self.store, origin) {
            Ok(bytes) => {
                self.snapshots.last_save_s = now_s;
                self.snapshots.saves += 1;
                self.dirty = 0;
                let ms = self.stats.ticks.elapsed_ns(began, self.stats.now()) / 1_000_000;
                tracing::info!("DB saved on disk: {bytes} bytes in {ms} ms");
                Ok(())
            }
            Err(error) => {
                tracing::error!("could not save the data to {}: {error}", path.display());
                Err(Failed)
            }
        }
    }

    /// Everything that has to be done before the process ends. `save`: whether a snapshot is written; by default it is if
    /// snapshots are wanted at all.
    pub(super) fn prepare_end(&mut self, save: Option<bool>) -> Result<(), Failed> {
        if save.unwrap_or(!self.config.save.is_empty()) { self.save_snapshot() } else { Ok(()) }
    }
}
