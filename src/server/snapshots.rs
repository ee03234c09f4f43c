//! Snapshots of everything: when they are written, in slices between commands, and what the server remembers of them.
//!
//! ```text
//!  SAVE, SHUTDOWN ──────────┐                          ┌─► all at once
//!  BGSAVE, save points ─────┼─► begin_snapshot ─► store ┤
//!  a new base of the AOF ───┘                          └─► a slice a turn ─► the file is complete ─► snapshot_ended
//! ```
//!
//! There is one snapshot at a time. A slice lasts a fraction of a millisecond, and while clients want something, at least as
//! much time lies between two of them. When the disk is behind by [`AHEAD_BYTES_MAX`], the walk waits for it; for what stands
//! behind a big collection nobody waits, since only the walk brings it on. What is changed
//! meanwhile has to be kept all the same, until that is [`HELD_FROM_BYTES`]: then changes wait as well.

use super::gates::Behind;
use super::{REDIS_VERSION, Server};
use crate::command::value_forms;
use crate::persist::{Form, Origin, SnapshotFile};
use crate::store::{Recorder, SnapshotStep};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// How long one slice lasts.
const SLICE_US: u64 = 300;
/// Steps of the walk, of a few keys each, before the time is checked.
const SLICE_STEPS: usize = 16;
/// The walk stops while so many bytes wait for the disk.
const AHEAD_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Commands that change data wait from so many bytes on, until there are half as many.
const HELD_FROM_BYTES: usize = 64 * 1024 * 1024;
/// If they wait for so long, in ms, in which nothing is written, the snapshot is given up.
const STUCK_MS: i64 = 30_000;
/// How often, in ms, the log is told how far a snapshot has come.
const TELL_EVERY_MS: i64 = 5_000;
/// After a failure, save points wait so long, in seconds.
const RETRY_AFTER_S: i64 = 5;

/// What a snapshot is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// The snapshot file.
    Rdb,
    /// The base of an append-only file, at this path.
    AofBase(PathBuf),
}

/// What is known of snapshots.
#[derive(Debug)]
pub(super) struct Snapshots {
    /// When the last one was written, or the server was started: Unix time in seconds.
    pub(super) last_save_s: i64,
    /// Whether the last one that was begun in slices was written as well, or one was written all at once since.
    pub(super) last_ok: bool,
    /// How often one was asked for, by a command or by save points.
    pub(super) saves: u64,
    /// How long the last one in slices took, in seconds.
    pub(super) last_took_s: Option<i64>,
    /// Most bytes that were kept for the last one in slices.
    pub(super) last_peak_bytes: usize,
    /// BGSAVE SCHEDULE: one shall begin when it can.
    pub(super) is_scheduled: bool,
    /// Keys that were read at the start, and keys that were not because their time had come.
    pub(super) keys_loaded: u64,
    pub(super) keys_expired: u64,
    running: Option<Running>,
    /// When one was last begun.
    tried_s: i64,
}

/// A snapshot that is being written.
#[derive(Debug)]
struct Running {
    purpose: Purpose,
    /// Everybody waits for it, so who wants it hears how it ends.
    at_once: bool,
    path: PathBuf,
    file: SnapshotFile,
    began: u64,
    began_ms: i64,
    /// Changes when it began, which it has.
    dirty: u64,
    keys: u64,
    /// Keys that it has.
    keys_done: u64,
    peak_bytes: usize,
    all_given: bool,
    /// Bodies of messages that could not be read when it began.
    lost: u64,
    /// When the last slice ended and how long it took, in ticks, and how many commands had run by then.
    slice_ended: u64,
    slice_took: u64,
    commands: u64,
    told_ms: i64,
    /// Bytes that were written when the disk last came on, and when that was.
    written_bytes: u64,
    came_on_ms: i64,
}

/// What the loop does for a snapshot where nothing else happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SnapshotWants {
    /// There is none.
    Nothing,
    /// It waits for the thread that writes, which is to be looked after.
    ALook,
    /// It goes on.
    ASlice,
}

/// Figures of a snapshot that is being written, for INFO.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Figures {
    /// How long it has taken, in seconds.
    pub(super) seconds: Option<i64>,
    /// Keys it has so far, and will have about.
    pub(super) keys_done: u64,
    pub(super) keys: u64,
    /// Bytes that are kept for it now, and were at most.
    pub(super) bytes: usize,
    pub(super) peak_bytes: usize,
}

impl Figures {
    /// How much of it is done, in percent.
    pub(super) fn percent(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let share = self.keys_done as f64 / self.keys.max(1) as f64;
        share.min(1.0) * 100.0
    }
}

impl Snapshots {
    pub(super) fn new(now_s: i64) -> Snapshots {
        Snapshots {
            last_save_s: now_s,
            last_ok: true,
            saves: 0,
            last_took_s: None,
            last_peak_bytes: 0,
            is_scheduled: false,
            keys_loaded: 0,
            keys_expired: 0,
            running: None,
            tried_s: 0,
        }
    }

    /// What the snapshot is for that is being written.
    pub(super) fn purpose(&self) -> Option<&Purpose> {
        self.running.as_ref().map(|running| &running.purpose)
    }
}

/// Nothing was written; the log says why.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failed;

impl Server {
    /// Writes a snapshot before it returns. O(all data). One that is being written in slices for something else is finished
    /// first.
    pub(super) fn save_snapshot(&mut self) -> Result<(), Failed> {
        // Who wanted that one is told elsewhere.
        let _ = self.finish_snapshot();
        self.begin_snapshot(Purpose::Rdb)?;
        if let Some(running) = &mut self.snapshots.running {
            running.at_once = true;
        }
        self.finish_snapshot()
    }

    /// Begins a snapshot for the snapshot file that is written in slices.
    ///
    /// # Errors
    /// Those of [`Server::begin_snapshot`].
    pub(super) fn begin_save(&mut self) -> Result<(), Failed> {
        self.snapshots.saves += 1;
        match self.begin_snapshot(Purpose::Rdb) {
            Ok(()) => {
                tracing::info!("Background saving started");
                Ok(())
            }
            Err(failed) => {
                self.snapshots.last_ok = false;
                Err(failed)
            }
        }
    }

    /// Whether a snapshot is being written, or files are made for one.
    pub(super) fn is_writing_snapshot(&self) -> bool {
        self.snapshots.running.is_some() || self.is_rewriting()
    }

    /// Begins a snapshot of what there is now.
    ///
    /// # Errors
    /// The system has no thread for it.
    ///
    /// # Panics
    /// If there is one already.
    pub(super) fn begin_snapshot(&mut self, purpose: Purpose) -> Result<(), Failed> {
        let now_us = (self.facts.wall_clock_us)();
        let functions: Vec<&[u8]> = self.functions.libraries().map(|library| library.code()).collect();
        let commands = self.commands_of_snapshot();
        let origin = Origin {
            redis_version: REDIS_VERSION,
            now_s: now_us / 1_000_000,
            used_memory: self.used_memory(),
            forms: value_forms(&self.config),
            with_checksum: self.config.rdbchecksum,
            with_access: ["lru", "lrm", "lfu"].iter().any(|clock| self.config.maxmemory_policy.name().ends_with(clock)),
            form: if purpose == Purpose::Rdb { Form::Snapshot } else { self.form_of_base() },
            is_aof_base: matches!(purpose, Purpose::AofBase(_)),
            syncs_often: match purpose {
                Purpose::Rdb => self.config.rdb_save_incremental_fsync,
                Purpose::AofBase(_) => self.config.aof_rewrite_incremental_fsync,
            },
            functions: &functions,
            commands: &commands,
        };
        let path = match &purpose {
            Purpose::Rdb => self.config.path_in_dir(&self.config.dbfilename),
            Purpose::AofBase(path) => path.clone(),
        };
        let file = SnapshotFile::begin(Arc::clone(&self.facts.disk), &path, &mut self.store, origin);
        self.snapshots.tried_s = now_us / 1_000_000;
        let file = file.map_err(|error| {
            tracing::error!("no snapshot can be written: {error}");
            Failed
        })?;
        let now = self.stats.now();
        self.snapshots.running = Some(Running {
            purpose,
            at_once: false,
            path,
            file,
            began: now,
            began_ms: now_us / 1000,
            dirty: self.dirty,
            keys: (0..self.store.databases()).map(|index| self.store.figures(index).keys as u64).sum(),
            keys_done: 0,
            peak_bytes: 0,
            all_given: false,
            lost: self.lost_bodies(),
            slice_ended: now,
            slice_took: 0,
            commands: self.stats.counters.total_commands_processed,
            told_ms: now_us / 1000,
            written_bytes: 0,
            came_on_ms: now_us / 1000,
        });
        Ok(())
    }

    /// Gives the snapshot up that is being written if it is one of the snapshot file.
    pub(super) fn cancel_rdb_snapshot(&mut self) {
        if self.snapshots.purpose() == Some(&Purpose::Rdb) {
            self.cancel_snapshot();
        }
    }

    /// Gives the snapshot up that is being written, if there is one. Nobody is told how it ended.
    pub(super) fn cancel_snapshot(&mut self) {
        drop(self.take_running());
    }

    /// The file of the snapshot that is being written, which gets nothing more.
    fn take_running(&mut self) -> Option<SnapshotFile> {
        let Running { purpose, file, began_ms, .. } = self.snapshots.running.take()?;
        if purpose == Purpose::Rdb {
            self.snapshots.last_took_s = Some((self.facts.wall_clock_us)() / 1_000_000 - began_ms / 1000);
        }
        drop(self.store.end_snapshot());
        self.settle_garbage();
        self.set_behind(Behind::SNAPSHOT, false);
        Some(file)
    }

    /// Writes the rest of the snapshot that is being written, if there is one, and waits for it.
    pub(super) fn finish_snapshot(&mut self) -> Result<(), Failed> {
        let Some(running) = self.snapshots.running.take() else { return Ok(()) };
        let step = loop {
            match self.snapshot_step(running.lost) {
                SnapshotStep::More => running.file.wait_below(AHEAD_BYTES_MAX),
                step => break step,
            }
        };
        let recorder = self.store.end_snapshot();
        let (ended, file) = running.ended();
        let result = if step == SnapshotStep::Done {
            recorder.into_iter().for_each(Recorder::end);
            file.wait()
        } else {
            Err(lost())
        };
        self.settle_garbage();
        let written = result.is_ok();
        self.snapshot_ended(ended, result);
        if written { Ok(()) } else { Err(Failed) }
    }

    /// The turn's share of a snapshot.
    pub(super) fn go_on_with_snapshot(&mut self) {
        let Some(mut running) = self.snapshots.running.take() else { return };
        let step = self.snapshot_slice(&mut running);
        let now_ms = self.store.now_ms();
        if now_ms.abs_diff(running.told_ms) >= TELL_EVERY_MS.unsigned_abs() {
            running.told_ms = now_ms;
            let (done, keys) = (running.keys_done, running.keys);
            tracing::info!("Writing a snapshot: {done} of {keys} keys, {} bytes", running.file.written_bytes());
        }
        let result = match step {
            SnapshotStep::Lost => Some(Err(lost())),
            _ if self.is_stuck(&mut running) => Some(Err(io::ErrorKind::TimedOut.into())),
            _ => running.file.take_result(),
        };
        match result {
            None => self.snapshots.running = Some(running),
            Some(result) => {
                drop(self.store.end_snapshot());
                let (ended, _) = running.ended();
                self.snapshot_ended(ended, result);
            }
        }
    }

    /// Holds changes back while too much waits for the disk. Whether that does not come on at all.
    fn is_stuck(&mut self, running: &mut Running) -> bool {
        let (waiting_bytes, written_bytes) = (running.file.waiting_bytes(), running.file.written_bytes());
        let now_ms = self.store.now_ms();
        let was_held = self.behind.contains(Behind::SNAPSHOT);
        if std::mem::replace(&mut running.written_bytes, written_bytes) != written_bytes || !was_held {
            running.came_on_ms = now_ms;
        }
        let held = waiting_bytes >= if was_held { HELD_FROM_BYTES / 2 } else { HELD_FROM_BYTES };
        if held != was_held {
            self.set_behind(Behind::SNAPSHOT, held);
            if held {
                tracing::warn!(
                    "the disk is slow: changes wait until less of the snapshot does, {waiting_bytes} bytes now"
                );
            }
        }
        held && now_ms.abs_diff(running.came_on_ms) > STUCK_MS.unsigned_abs()
    }

    /// Gives something out. A snapshot that lacks a message is none.
    fn snapshot_step(&mut self, lost: u64) -> SnapshotStep {
        let step = self.store.snapshot_step();
        if self.lost_bodies() == lost { step } else { SnapshotStep::Lost }
    }

    /// Gives entries out for a fraction of a millisecond.
    fn snapshot_slice(&mut self, running: &mut Running) -> SnapshotStep {
        let began = self.stats.now();
        let waiting_bytes = running.file.waiting_bytes();
        running.peak_bytes = running.peak_bytes.max(waiting_bytes + self.store.snapshot_bytes());
        let commands = self.stats.counters.total_commands_processed;
        // While clients want something, half of the time is theirs.
        let resting = commands != running.commands && began.wrapping_sub(running.slice_ended) < running.slice_took;
        if running.all_given || running.file.ahead_bytes() > AHEAD_BYTES_MAX || resting {
            return SnapshotStep::More;
        }
        let limit = self.stats.ticks_of_us(SLICE_US);
        let delay_us = u64::try_from(self.config.rdb_key_save_delay).unwrap_or(0);
        let mut steps = 0;
        let step = loop {
            let elapsed_us = || self.stats.ticks.elapsed_ns(running.began, self.stats.now()) / 1000;
            if delay_us > 0 && self.store.snapshot_keys() * delay_us > elapsed_us() {
                break SnapshotStep::More;
            }
            let step = self.snapshot_step(running.lost);
            steps += 1;
            let over = steps % SLICE_STEPS == 0 && self.stats.now().wrapping_sub(began) >= limit;
            if step != SnapshotStep::More || over {
                break step;
            }
        };
        running.keys_done = self.store.snapshot_keys();
        if step == SnapshotStep::Done {
            running.all_given = true;
            self.store.end_snapshot().into_iter().for_each(Recorder::end);
        }
        running.slice_ended = self.stats.now();
        running.slice_took = running.slice_ended.wrapping_sub(began);
        running.commands = commands;
        step
    }

    /// What a snapshot has the loop do where nothing else happens.
    pub(super) fn snapshot_wants(&self) -> SnapshotWants {
        let Some(running) = &self.snapshots.running else { return SnapshotWants::Nothing };
        let waits = running.file.ahead_bytes() > AHEAD_BYTES_MAX;
        if running.all_given || waits || self.config.rdb_key_save_delay > 0 {
            SnapshotWants::ALook
        } else {
            SnapshotWants::ASlice
        }
    }

    /// A snapshot is on disk, or could not be written.
    fn snapshot_ended(&mut self, ended: Ended, result: io::Result<u64>) {
        self.set_behind(Behind::SNAPSHOT, false);
        let now_s = (self.facts.wall_clock_us)() / 1_000_000;
        let ms = self.stats.ticks.elapsed_ns(ended.began, self.stats.now()) / 1_000_000;
        let snapshots = &mut self.snapshots;
        if ended.purpose != Purpose::Rdb {
            self.base_written(&ended.path, result);
            return;
        }
        if !ended.at_once {
            snapshots.last_peak_bytes = ended.peak_bytes;
            snapshots.last_took_s = Some(now_s - ended.began_ms / 1000);
            snapshots.last_ok = result.is_ok();
        }
        match result {
            Ok(bytes) => {
                snapshots.last_ok = true;
                snapshots.last_save_s = now_s;
                self.dirty = self.dirty.saturating_sub(ended.dirty);
                tracing::info!("DB saved on disk: {bytes} bytes in {ms} ms");
            }
            Err(error) => tracing::error!("could not save the data to {}: {error}", ended.path.display()),
        }
    }

    /// Begins a snapshot if a save point is reached, or one was scheduled.
    pub(super) fn save_if_due(&mut self) {
        if self.is_writing_snapshot() || self.is_loading() || self.scripts.is_suspended() {
            return;
        }
        let now_s = self.store.now_ms() / 1000;
        if !self.snapshots.last_ok && now_s - self.snapshots.tried_s <= RETRY_AFTER_S {
            return;
        }
        let since_s = u64::try_from(now_s - self.snapshots.last_save_s).unwrap_or(0);
        let reached = self.config.save.iter().find(|point| self.dirty >= point.changes && since_s > point.seconds);
        if let Some(point) = reached {
            tracing::info!("{} changes in {} seconds. Saving...", point.changes, point.seconds);
        } else if !self.snapshots.is_scheduled {
            return;
        }
        if self.begin_save().is_ok() {
            self.snapshots.is_scheduled = false;
        }
    }

    /// What INFO shows of the snapshot that is being written to the snapshot file, and how far any snapshot has come.
    pub(super) fn snapshot_figures(&self) -> Figures {
        let Some(running) = &self.snapshots.running else { return Figures::default() };
        Figures {
            seconds: (running.purpose == Purpose::Rdb).then(|| (self.store.now_ms() - running.began_ms) / 1000),
            keys_done: running.keys_done,
            keys: running.keys,
            bytes: running.file.waiting_bytes() + self.store.snapshot_bytes(),
            peak_bytes: running.peak_bytes,
        }
    }

    /// Everything that has to be done before the process ends. `save`: whether a snapshot is written; by default it is if
    /// snapshots are wanted at all.
    pub(super) fn prepare_end(&mut self, save: Option<bool>) -> Result<(), Failed> {
        self.prepare_end_of_append_only().map_err(|_| Failed)?;
        if let Some(file) = self.take_running() {
            tracing::warn!("There is a snapshot being written. It is given up!");
            file.give_up();
        }
        if save.unwrap_or(!self.config.save.is_empty()) { self.save_snapshot() } else { Ok(()) }
    }
}

fn lost() -> io::Error {
    io::Error::other("a part of the data could not be read while it was written: see the log")
}

impl Running {
    /// What remains of it when it has ended, and its file.
    fn ended(self) -> (Ended, SnapshotFile) {
        let Running { purpose, at_once, path, file, began, began_ms, dirty, peak_bytes, .. } = self;
        (Ended { purpose, at_once, path, began, began_ms, dirty, peak_bytes }, file)
    }
}

/// What remains of a snapshot when it has ended.
struct Ended {
    purpose: Purpose,
    at_once: bool,
    path: PathBuf,
    began: u64,
    began_ms: i64,
    dirty: u64,
    peak_bytes: usize,
}
