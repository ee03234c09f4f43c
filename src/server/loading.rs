//! Reading of data at the start while the port is open: a slice at a time, and clients are answered in between.
//!
//! ```text
//!   load_at_start ─► begin_loading ─► [ a turn of the loop: clients │ go_on_loading: Load::step ] ... ─► all is there
//!                                                                        └► an error: the server ends
//! ```
//!
//! What is read, and how, is the business of a [`Load`]. Until all is there, the gate of commands answers `-LOADING` to those
//! whose rows do not say that they may run meanwhile, and nothing expires or is evicted.

use super::{Server, ShutdownRequest};
use crate::command::value_limits;
use crate::config::RdbVersionCheck;
use crate::persist::{AuxField, LoadError, Loaded, Loader, Reading, Step};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long one slice lasts, in microseconds, if nothing in it takes longer.
const SLICE_US: u64 = 2_000;
/// How long a file is waited for at once where there is no limit.
const PATIENCE: Duration = Duration::from_millis(100);
/// How often, in ms, the log is told how far it is.
const TELL_EVERY_MS: i64 = 5_000;

/// Something that is read into the databases, piece by piece.
pub(super) trait Load: fmt::Debug + Send {
    /// Goes on until the slice is over or nothing is left, which is told at once. It may wait for a file for as long as the
    /// slice lasts.
    ///
    /// # Errors
    /// What is wrong, which file it is in, and what can be done. The databases may have a part of it.
    fn step(&mut self, server: &mut Server, slice: Slice) -> Result<Progress, String>;

    /// Bytes of all files together.
    fn total_bytes(&self) -> u64;

    /// Bytes that have been read.
    fn loaded_bytes(&self) -> u64;

    /// Where data come from, for the log.
    fn source(&self) -> &'static str {
        "disk"
    }

    /// What tools wait for in the log behind an error.
    fn last_words(&self) -> Option<&'static str> {
        None
    }

    /// Bytes in use when the files were written, if they say so.
    fn used_memory_then(&self) -> u64 {
        0
    }
}

/// How far a [`Load`] is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Progress {
    /// There is more.
    Unfinished,
    /// That was all.
    Done,
}

/// Until when a step may last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slice {
    /// In ticks; `None` until nothing is left.
    ends: Option<u64>,
}

impl Slice {
    /// As long as it takes.
    pub(super) const EVERYTHING: Slice = Slice { ends: None };

    /// How much is left of it; `None`: there is no end.
    pub(super) fn rest(self, server: &Server) -> Option<Duration> {
        let ticks = self.ends?.saturating_sub(server.stats.now());
        Some(Duration::from_nanos(server.stats.ticks.to_ns(ticks)))
    }

    /// Whether it is over.
    #[inline]
    pub(super) fn is_over(self, server: &Server) -> bool {
        self.ends.is_some_and(|ends| server.stats.now() >= ends)
    }
}

/// What is known of loading that is under way.
#[derive(Debug)]
pub(super) struct Loading {
    /// Taken out while it goes on.
    load: Option<Box<dyn Load>>,
    /// When it began: Unix time in seconds, and ticks.
    pub(super) began_s: i64,
    began: u64,
    /// As the load says.
    pub(super) total_bytes: u64,
    pub(super) loaded_bytes: u64,
    pub(super) used_memory_then: u64,
    told_ms: i64,
}

impl Loading {
    /// How much of it is done, in percent.
    pub(super) fn percent(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let share = self.loaded_bytes as f64 / self.total_bytes.max(1) as f64;
        share.min(1.0) * 100.0
    }

    /// In how many seconds it will be done if it goes on as it does; 1 while nobody knows.
    pub(super) fn eta_s(&self, now_ms: i64) -> u64 {
        let elapsed_ms = u64::try_from(now_ms - self.began_s * 1000).unwrap_or(0);
        let left = self.total_bytes.saturating_sub(self.loaded_bytes);
        if self.loaded_bytes == 0 || elapsed_ms == 0 {
            return 1;
        }
        let ms = u128::from(elapsed_ms) * u128::from(left) / u128::from(self.loaded_bytes);
        u64::try_from(ms / 1000).unwrap_or(u64::MAX)
    }
}

impl Server {
    /// Begins to read the data that the configuration names. While [`Server::is_loading`], turns of the loop go on with it.
    ///
    /// # Errors
    /// Nothing can be read, and what can be done.
    pub fn load_at_start(&mut self) -> Result<(), String> {
        if self.config.appendonly {
            return self.load_append_only_at_start();
        }
        let path = self.config.path_in_dir(&self.config.dbfilename);
        if let Some(load) = SnapshotLoad::open(self, path, SnapshotUse::default())? {
            self.begin_loading(Box::new(load));
        }
        Ok(())
    }

    /// Whether data are being read.
    #[inline]
    pub fn is_loading(&self) -> bool {
        self.loading.is_some()
    }

    /// Has the turns of the loop read something.
    pub(super) fn begin_loading(&mut self, load: Box<dyn Load>) {
        let now_ms = self.store.now_ms();
        self.loading = Some(Loading {
            began_s: now_ms / 1000,
            began: self.stats.now(),
            total_bytes: load.total_bytes(),
            loaded_bytes: 0,
            used_memory_then: 0,
            told_ms: now_ms,
            load: Some(load),
        });
        self.rearm();
    }

    /// Reads everything before it returns.
    ///
    /// # Errors
    /// Those of [`Load::step`].
    pub(super) fn load_at_once(&mut self, mut load: impl Load) -> Result<(), String> {
        while load.step(self, Slice::EVERYTHING)? == Progress::Unfinished {}
        Ok(())
    }

    /// Adds what is in the snapshot file, if there is one, to what is there, before it returns; `replace`: keys may be there
    /// already.
    ///
    /// # Errors
    /// Those of [`Load::step`].
    pub(super) fn load_snapshot(&mut self, replace: bool) -> Result<(), String> {
        let path = self.config.path_in_dir(&self.config.dbfilename);
        let load = SnapshotLoad::open(self, path, SnapshotUse { replace, ..SnapshotUse::default() })?;
        load.map_or(Ok(()), |load| self.load_at_once(load))
    }

    /// The turn's share of loading.
    pub(super) fn go_on_loading(&mut self) {
        let Some(mut load) = self.loading.as_mut().and_then(|loading| loading.load.take()) else { return };
        let ends = self.stats.now().saturating_add(self.stats.ticks_of_us(SLICE_US));
        let stepped = load.step(self, Slice { ends: Some(ends) });
        let now_ms = self.store.now_ms();
        let Some(loading) = &mut self.loading else { return };
        (loading.total_bytes, loading.loaded_bytes) = (load.total_bytes(), load.loaded_bytes());
        loading.used_memory_then = load.used_memory_then();
        match stepped {
            Ok(Progress::Unfinished) => {
                loading.load = Some(load);
                if now_ms.abs_diff(loading.told_ms) >= TELL_EVERY_MS.unsigned_abs() {
                    loading.told_ms = now_ms;
                    let (percent, eta_s) = (loading.percent(), loading.eta_s(now_ms));
                    tracing::info!("Loading data: {percent:.0} % are there, the rest takes about {eta_s} s more");
                }
            }
            Ok(Progress::Done) => {
                let ns = self.stats.ticks.elapsed_ns(loading.began, self.stats.now());
                self.loading = None;
                self.dirty = 0;
                self.rearm();
                let from = load.source();
                tracing::info!("DB loaded from {from}: {:.3} seconds", Duration::from_nanos(ns).as_secs_f64());
            }
            Err(error) => {
                tracing::error!("{error}");
                if let Some(last_words) = load.last_words() {
                    tracing::error!("{last_words}");
                }
                // It stays: what is there is not to be taken for everything.
                self.shutdown = Some(ShutdownRequest { by: "an error while loading", failed: true });
            }
        }
    }
}

/// What is done with the keys of a snapshot.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct SnapshotUse {
    /// They may be there already. Otherwise that is an error, as it is when the file has them twice.
    pub(super) replace: bool,
    /// Keys whose time has come are put in all the same: what follows the snapshot speaks of them.
    pub(super) keep_expired: bool,
}

/// A snapshot file that is being read.
#[derive(Debug)]
pub(super) struct SnapshotLoad {
    path: PathBuf,
    loader: Loader,
    how: SnapshotUse,
    used_memory_then: u64,
    bytes: u64,
}

impl SnapshotLoad {
    /// Opens the file at `path`; `None` if there is none.
    ///
    /// # Errors
    /// It cannot be opened, or does not begin as a snapshot.
    pub(super) fn open(server: &Server, path: PathBuf, how: SnapshotUse) -> Result<Option<SnapshotLoad>, String> {
        let reading = Reading {
            limits: value_limits(&server.config, &server.store),
            with_checksum: server.config.rdbchecksum && !server.store.skips_checksums(),
            any_version: server.config.rdb_version_check == RdbVersionCheck::Relaxed,
            replace: how.replace,
            keep_expired: how.keep_expired,
        };
        let loader = Loader::open(&path, &server.store, reading).map_err(|error| cannot_load(&path, &error))?;
        Ok(loader.map(|loader| SnapshotLoad { path, loader, how, used_memory_then: 0, bytes: 0 }))
    }

    /// Where the snapshot ends, once all of it has been read.
    pub(super) fn end_offset(&self) -> u64 {
        self.bytes
    }

    /// Tells what the file says of itself.
    fn tell(&mut self, now_ms: i64) {
        for AuxField { name, value } in self.loader.take_aux() {
            match name.as_str() {
                "redis-ver" | "valkey-ver" => tracing::info!("Loading RDB produced by version {value}"),
                "ctime" => {
                    let age_s = (now_ms / 1000).saturating_sub(value.parse().unwrap_or(0)).max(0);
                    tracing::info!("RDB age {age_s} seconds");
                }
                "used-mem" => {
                    self.used_memory_then = value.parse().unwrap_or(0);
                    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
                    let mb = self.used_memory_then as f64 / 1_048_576.0;
                    tracing::info!("RDB memory usage when created {mb:.2} Mb");
                }
                _ => tracing::debug!("the snapshot says: {name} {value}"),
            }
        }
    }

    /// Takes over libraries of functions.
    fn take_libraries(&mut self, server: &mut Server) -> Result<(), String> {
        for code in self.loader.take_functions() {
            server.load_library(&code, self.how.replace).map_err(|error| {
                format!("a library of functions in the snapshot is refused: {}", String::from_utf8_lossy(error.text()))
            })?;
        }
        Ok(())
    }

    /// All of it has been read.
    fn end(&mut self, server: &mut Server) -> Result<(), String> {
        let Loaded { keys, expired, bytes, empty, commands, had_modules } = self.loader.take_loaded();
        self.bytes = bytes;
        server.repeat_commands(&commands)?;
        server.layers_loaded(self.how.keep_expired);
        if had_modules {
            tracing::warn!("data of modules in the snapshot were passed over: there are no modules here");
        }
        (server.snapshots.keys_loaded, server.snapshots.keys_expired) = (keys, expired);
        tracing::info!("Done loading RDB, keys loaded: {keys}, keys expired: {expired}, empty keys skipped: {empty}.");
        Ok(())
    }
}

impl Load for SnapshotLoad {
    fn step(&mut self, server: &mut Server, slice: Slice) -> Result<Progress, String> {
        loop {
            let delay_us = server.config.key_load_delay;
            let keys_max = if delay_us == 0 { usize::MAX } else { 1 };
            let patience = slice.rest(server).unwrap_or(PATIENCE);
            let stepped = self.loader.step(&mut server.store, keys_max, patience);
            self.tell(server.store.now_ms());
            self.take_libraries(server)?;
            match stepped {
                Ok(Step::Keys(keys)) => {
                    if keys > 0 {
                        delay(server, delay_us);
                    }
                    server.note_layer_changes();
                    if slice.is_over(server) {
                        return Ok(Progress::Unfinished);
                    }
                }
                Ok(Step::Done) => {
                    self.end(server)?;
                    return Ok(Progress::Done);
                }
                Err(error) => return Err(cannot_load(&self.path, &error)),
            }
        }
    }

    fn total_bytes(&self) -> u64 {
        self.loader.total_bytes()
    }

    fn loaded_bytes(&self) -> u64 {
        self.loader.loaded_bytes()
    }

    fn used_memory_then(&self) -> u64 {
        self.used_memory_then
    }

    fn last_words(&self) -> Option<&'static str> {
        Some("Terminating server after rdb file reading failure.")
    }
}

/// Waits for so many microseconds, as `key-load-delay` wants; below zero: for one, at one of so many keys.
fn delay(server: &mut Server, us: i32) {
    let is_due = us > 0 || us < 0 && server.store.random_u64().is_multiple_of(u64::from(us.unsigned_abs()));
    if is_due {
        (server.facts.sleep)(Duration::from_micros(u64::try_from(us).unwrap_or(1)));
    }
}

fn cannot_load(path: &Path, error: &LoadError) -> String {
    let begin = if matches!(error, LoadError::Open(_)) { "Fatal error loading the DB: " } else { "" };
    format!(
        "{begin}{} cannot be loaded: {error}. The file is left as it is. Restore it from a copy, or move it away to start with \
         empty databases.",
        path.display()
    )
}
