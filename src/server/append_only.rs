//! The append-only file as the server keeps it: what is written when, when it is rewritten, and who waits for the disk.
//!
//! ```text
//!  feed ──► end of a turn ──► Log: write ──► thread: force to disk ──► replies of the turn may go (appendfsync always)
//!  rewrite: new increment ─► snapshot in slices ─► base complete ─► manifest names base and increment, the rest is history
//! ```
//!
//! Where changes are forced to disk before anybody hears of them, the network keeps back all replies that were made while
//! something was not on disk yet ([`Server::replies_wait_for`]); the executor goes on meanwhile.
//!
//! When the disk takes no more, commands that write are refused until it does. Where every reply waits for the disk, there is
//! nothing left to say: the server ends, and what it had not acknowledged it never will.

use super::client::{ClientFlags, ClientId, Slot};
use super::repeat::AofLoad;
use super::snapshots::Purpose;
use super::{Server, ShutdownRequest};
use crate::command::error::Error;
use crate::command::reply::Reply;
use crate::config::AppendFsync;
use crate::disk::DataFile;
use crate::persist::Form;
use crate::persist::aof::{AofFolder, FolderError, Log, SyncPolicy, Wake, Written};
use crate::threads;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// So many rewrites in a row must fail before the next one that begins by itself is put off.
const FAILURES_BEFORE_LIMIT: u32 = 3;
/// It is put off by one minute, then by twice as long each time, up to so many minutes.
const LIMIT_MINUTES_MAX: i64 = 60;
/// Smallest journal that is of use: half of it takes what is forced to disk at once.
const JOURNAL_BYTES_MIN: u64 = 4 * 1024 * 1024;
/// How often, in ms, the log is told of errors that go on.
const TELL_EVERY_MS: i64 = 30_000;
/// After a first rewrite that failed, the next begins after so many seconds.
const RETRY_AFTER_S: i64 = 1;

/// How far the server is with its append-only file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// There is none.
    Off,
    /// The first base is being written, or will be. What is changed meanwhile goes to a file that no manifest names yet.
    Begins,
    /// Changes are written.
    On,
}

/// Everything about the append-only file.
pub(super) struct AppendOnly {
    state: State,
    folder: Option<AofFolder>,
    log: Log,
    /// Bytes of all files but the one that is written to.
    other_bytes: u64,
    /// Bytes of everything when it was last rewritten or read.
    base_bytes: u64,
    rewrite: Option<Rewrite>,
    /// One shall begin as soon as it can.
    scheduled: bool,
    /// When the next one may begin by itself, after failures: Unix time in seconds.
    not_before_s: i64,
    failures: u32,
    /// How long the last one took, in seconds.
    last_took_s: Option<i64>,
    last_ok: bool,
    rewrites: u64,
    write_failure: Option<String>,
    told_ms: i64,
    /// The second of the last timestamp that was written.
    stamped_s: i64,
    /// Who waits for positions to be on disk.
    awaiting: Vec<Awaiting>,
    /// Something was changed in this turn that a client wants to be told is on disk.
    confirming: bool,
    /// Up to here something is to be confirmed.
    confirms_until: u64,
    sleep: Duration,
    /// A thread changes files, and has the folder meanwhile.
    elsewhere: Option<JoinHandle<(AofFolder, Done)>>,
    /// What it has made for a rewrite that is about to begin.
    made: Option<Made>,
    /// Wakes the loop; from any thread.
    pub(super) wake: Wake,
}

/// What a thread has done.
#[derive(Debug)]
enum Done {
    /// The increment of a rewrite is there, if there is to be one.
    Increment(Result<Option<Box<dyn DataFile>>, String>),
    /// A base of so many bytes is in its place.
    Base(Result<u64, String>),
}

/// The increment of a rewrite; `None` if nothing is being written.
#[derive(Debug)]
struct Made(Option<Box<dyn DataFile>>);

/// A rewrite that is under way.
#[derive(Clone, Copy, Debug)]
struct Rewrite {
    began_s: i64,
    /// The new base is in the form of snapshots.
    is_snapshot: bool,
}

/// A client in WAITAOF.
#[derive(Clone, Copy, Debug)]
struct Awaiting {
    id: ClientId,
    position: u64,
    /// It waits for the disk, not for replicas alone.
    for_disk: bool,
    /// It waits for replicas too, which there are not.
    for_replicas: bool,
}

/// Figures for INFO.
#[derive(Clone, Copy, Debug)]
pub(super) struct AofFigures {
    pub(super) is_on: bool,
    pub(super) rewrite_scheduled: bool,
    /// For how many seconds a rewrite has been going on.
    pub(super) rewriting_s: Option<i64>,
    pub(super) last_took_s: i64,
    pub(super) last_ok: bool,
    pub(super) rewrites: u64,
    pub(super) failures: u32,
    pub(super) write_ok: bool,
    pub(super) current_bytes: u64,
    pub(super) base_bytes: u64,
    pub(super) buffer_bytes: usize,
    pub(super) is_syncing: bool,
    pub(super) is_journaling: bool,
    pub(super) delayed: u64,
}

/// It could not be done; the log says why.
#[derive(Clone, Copy, Debug)]
pub(super) struct NotDone;

impl fmt::Debug for AppendOnly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppendOnly").field("state", &self.state).field("log", &self.log).finish_non_exhaustive()
    }
}

impl AppendOnly {
    pub(super) fn new() -> AppendOnly {
        AppendOnly {
            state: State::Off,
            folder: None,
            log: Log::new(Arc::new(|| {})),
            other_bytes: 0,
            base_bytes: 0,
            rewrite: None,
            scheduled: false,
            not_before_s: 0,
            failures: 0,
            last_took_s: None,
            last_ok: true,
            rewrites: 0,
            write_failure: None,
            told_ms: 0,
            stamped_s: 0,
            awaiting: Vec::new(),
            confirming: false,
            confirms_until: 0,
            sleep: Duration::ZERO,
            elsewhere: None,
            made: None,
            wake: Arc::new(|| {}),
        }
    }

    /// Whether what a client in WAITAOF has changed is on disk.
    pub(super) fn is_synced_for(&self, id: ClientId) -> bool {
        let position = self.awaiting.iter().find(|waiter| waiter.id == id).map(|waiter| waiter.position);
        self.state == State::On && position.is_some_and(|position| position <= self.log.synced())
    }

    fn current_bytes(&self) -> u64 {
        self.other_bytes + self.log.len()
    }
}

/// What the system says, without the number behind it.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

impl Server {
    /// The network is woken by this when replies that wait for the disk may go. Before the first turn.
    pub fn wake_by(&mut self, wake: Wake) {
        self.append_only.wake = Arc::clone(&wake);
        self.append_only.log = Log::new(wake);
    }

    /// Where replies that were made by now must wait until everything up to this position is on disk: that position.
    #[inline]
    pub fn replies_wait_for(&self) -> Option<u64> {
        if self.append_only.state != State::On || self.config.appendfsync != AppendFsync::Always {
            return None;
        }
        let accepted = self.append_only.log.accepted();
        (self.append_only.log.synced() < accepted).then_some(accepted)
    }

    /// The same for what a client has published with CONFIRM FSYNC and is to be told of now.
    #[inline]
    pub fn confirmation_waits_for(&mut self, slot: Slot) -> Option<u64> {
        if self.append_only.confirms_until == 0 {
            return None;
        }
        let client = self.clients.get_mut(slot)?;
        if !client.flags.contains(ClientFlags::CONFIRMS) {
            return None;
        }
        client.flags.remove(ClientFlags::CONFIRMS);
        let until = self.append_only.confirms_until;
        (self.append_only.state == State::On && self.append_only.log.synced() < until).then_some(until)
    }

    /// What a client has published, or will have by the end of its command, is to be on disk before it is told of that.
    ///
    /// # Errors
    /// `without_file`, if there is no append-only file.
    pub(super) fn confirm_on_disk(&mut self, slot: Slot, without_file: Error) -> Result<(), Error> {
        if self.append_only.state != State::On {
            return Err(without_file);
        }
        if let Some(client) = self.clients.get_mut(slot) {
            client.flags.insert(ClientFlags::CONFIRMS);
        }
        self.append_only.confirming = true;
        Ok(())
    }

    /// What was changed is to be on disk before anybody is told who waits for that; see [`Server::confirm_what_waits`].
    pub(super) fn confirm_changes(&mut self) {
        self.append_only.confirming |= self.append_only.state == State::On;
    }

    /// Whether anything that was changed is to be on disk before anybody is told of it, and is not yet, as far as is known.
    #[inline]
    pub(super) fn is_confirming(&self) -> bool {
        self.append_only.confirming || self.append_only.log.synced() < self.append_only.confirms_until
    }

    /// A client is told of what others want to be on disk before they are told: so does it.
    pub(super) fn confirm_what_waits(&mut self, slot: Slot) {
        if self.is_confirming()
            && let Some(client) = self.clients.get_mut(slot)
        {
            client.flags.insert(ClientFlags::CONFIRMS);
        }
    }

    /// Up to this position everything is on disk. Replies that wait for more never go if the server cannot go on.
    #[inline]
    pub fn replies_may_go_to(&self) -> u64 {
        self.append_only.log.synced()
    }

    /// Whether the disk is given time for more to come along: whoever sees that nothing does is to say so.
    #[inline]
    pub fn gathers_for_disk(&self) -> bool {
        self.append_only.log.is_gathering()
    }

    /// Nobody has sent anything more: what waits for the disk need not wait for company.
    pub fn nobody_comes(&self) {
        self.append_only.log.hurry();
    }

    fn sync_policy(&self) -> SyncPolicy {
        match self.config.appendfsync {
            AppendFsync::Always => SyncPolicy::Always,
            AppendFsync::Everysec => SyncPolicy::EverySecond,
            AppendFsync::No => SyncPolicy::Never,
        }
    }

    /// Bytes of heap behind what is to be written.
    pub(super) fn append_only_memory(&self) -> usize {
        self.feed.heap_bytes() + self.append_only.log.buffer_bytes()
    }

    /// At the end of a turn: writes what was changed in it.
    #[inline]
    pub(super) fn write_append_only(&mut self) {
        if self.append_only.rewrite.is_some() {
            self.look_elsewhere(false);
            self.go_on_with_rewrite();
        }
        if self.append_only.log.is_open() {
            self.write_changes(false);
        }
    }

    fn write_changes(&mut self, forced: bool) {
        self.write_changes_and(&[], forced);
    }

    /// The same in the middle of a turn, with a request that is not in the feed; says whether there is a file to write it to.
    pub(super) fn write_large(&mut self, request: &[u8]) -> bool {
        let is_open = self.append_only.log.is_open();
        if is_open {
            self.write_changes_and(request, false);
        }
        is_open
    }

    fn write_changes_and(&mut self, request: &[u8], forced: bool) {
        let now_ms = self.store.now_ms();
        let any = !self.feed.over().is_empty() || !request.is_empty();
        if any && self.config.aof_timestamp_enabled && self.append_only.stamped_s != now_ms / 1000 {
            self.append_only.stamped_s = now_ms / 1000;
            self.append_only.log.append(format!("#TS:{}\r\n", now_ms / 1000).as_bytes());
        }
        if (any || self.append_only.log.waiting_bytes() > 0) && !self.append_only.sleep.is_zero() {
            (self.facts.sleep)(self.append_only.sleep);
        }
        let saving = self.config.no_appendfsync_on_rewrite && self.snapshots.purpose().is_some();
        let policy = self.sync_policy();
        let log = &mut self.append_only.log;
        if std::mem::take(&mut self.append_only.confirming) {
            self.append_only.confirms_until = log.accepted() + (self.feed.over().len() + request.len()) as u64;
        }
        let confirms = log.synced() < self.append_only.confirms_until;
        log.await_sync(policy == SyncPolicy::Always || confirms || !self.append_only.awaiting.is_empty());
        let began = self.stats.now();
        // What is to be confirmed is forced to disk at once, together with all that was changed before.
        let now_policy = if confirms && policy != SyncPolicy::Always { SyncPolicy::AtOnce } else { policy };
        let written = log.write([self.feed.over(), request], now_policy, now_ms, !saving, forced);
        self.feed.handed_on();
        self.stats.append_only_written(began);
        self.spike("aof-write", began);
        match written {
            Written::PutOff => {}
            Written::All if self.append_only.write_failure.is_none() && !self.has_sync_failed() => {}
            Written::All => self.look_at_sync(policy),
            Written::Failed(error) => {
                let (synced, what) = (policy == SyncPolicy::Always, reason(&error));
                self.cannot_write(synced, &what, "write to");
            }
        }
    }

    #[inline]
    fn has_sync_failed(&self) -> bool {
        self.append_only.log.has_failed()
    }

    /// The last write was fine, but something was not before, or forcing it to disk is not.
    #[cold]
    fn look_at_sync(&mut self, policy: SyncPolicy) {
        if let Some(what) = self.append_only.log.sync_failure() {
            self.cannot_write(policy == SyncPolicy::Always, &what, "force to disk");
        } else if self.append_only.write_failure.take().is_some() {
            tracing::warn!("AOF write error looks solved. The server can write again.");
            // What failed to be forced to disk may be lost there although it is written: all of it is written anew.
            self.append_only.scheduled = true;
            self.rearm();
        }
    }

    #[cold]
    fn cannot_write(&mut self, everybody_waits: bool, what: &str, doing: &str) {
        let now_ms = self.store.now_ms();
        if everybody_waits {
            tracing::error!(
                "could not {doing} the append-only file: {what}. With appendfsync always nothing can be acknowledged any \
                 more. Exiting..."
            );
            self.shutdown = Some(ShutdownRequest { by: "an error of the disk", failed: true });
            return;
        }
        let known = self.append_only.write_failure.replace(what.to_owned()).is_some();
        if !known || now_ms.abs_diff(self.append_only.told_ms) >= TELL_EVERY_MS.unsigned_abs() {
            self.append_only.told_ms = now_ms;
            tracing::error!(
                "could not {doing} the append-only file: {what}. Commands that write are refused until it works"
            );
        }
        self.rearm();
    }

    /// Why commands that write are refused, if the disk takes no more.
    pub(super) fn append_only_failure(&self) -> Option<&str> {
        self.append_only.write_failure.as_deref()
    }

    /// Many times a second: what was put off, and rewrites that are due.
    pub(super) fn tend_append_only(&mut self) {
        if self.append_only.log.is_open() && self.has_sync_failed() {
            self.look_at_sync(self.sync_policy());
        }
        let append_only = &self.append_only;
        let busy = self.snapshots.purpose().is_some() || self.is_loading() || self.scripts.is_suspended();
        if busy || append_only.rewrite.is_some() || append_only.state == State::Off && !append_only.scheduled {
            return;
        }
        let now_s = self.store.now_ms() / 1000;
        let grown = self.has_grown();
        if !append_only.scheduled && !grown || now_s < append_only.not_before_s {
            return;
        }
        // The failure is in the log, and limits how soon it is tried again.
        let _ = self.begin_rewrite();
    }

    /// Whether it has grown so much that it is to be rewritten.
    fn has_grown(&self) -> bool {
        let percentage = u64::from(self.config.auto_aof_rewrite_percentage);
        let (current, base) = (self.append_only.current_bytes(), self.append_only.base_bytes.max(1));
        let minimum = self.config.auto_aof_rewrite_min_size;
        if self.append_only.state != State::On || percentage == 0 || current <= minimum {
            return false;
        }
        let growth = (current.saturating_mul(100) / base).saturating_sub(100);
        if growth >= percentage && self.store.now_ms() / 1000 >= self.append_only.not_before_s {
            tracing::info!("Starting automatic rewriting of AOF on {growth}% growth");
        }
        growth >= percentage
    }

    /// What BGREWRITEAOF does. In a transaction it is put off until that is over: its changes belong to one side.
    pub(super) fn ask_for_rewrite(&mut self) -> Result<RewriteAnswer, NotDone> {
        if self.append_only.rewrite.is_some() {
            return Ok(RewriteAnswer::InProgress);
        }
        if self.snapshots.purpose().is_some() || !self.effects.may_block {
            self.append_only.failures = 0;
            self.append_only.not_before_s = 0;
            self.append_only.scheduled = true;
            return Ok(RewriteAnswer::Scheduled);
        }
        self.append_only.failures = 0;
        self.begin_rewrite()?;
        Ok(RewriteAnswer::Started)
    }

    /// Begins to write everything anew: the files that it takes are made by a thread, then all that is changed goes to a new
    /// increment, and all that is there to a new base.
    fn begin_rewrite(&mut self) -> Result<(), NotDone> {
        let now_s = self.store.now_ms() / 1000;
        let state = self.append_only.state;
        self.append_only.scheduled = false;
        self.append_only.rewrite = Some(Rewrite { began_s: now_s, is_snapshot: self.config.aof_use_rdb_preamble });
        if state == State::Off {
            // `dir` may be another one than it was, and others may have changed what is there.
            self.append_only.folder = None;
        }
        let begun = self.do_elsewhere(move |folder| {
            let made = folder.lock().and_then(|()| folder.make_folder()).and_then(|()| match state {
                State::Off => Ok(None),
                State::Begins => folder.make_temporary_increment().map(Some),
                State::On => folder.add_increment().map(Some),
            });
            Done::Increment(made.map_err(|error| error.to_string()))
        });
        match begun {
            Ok(()) => {
                self.append_only.rewrites += 1;
                tracing::info!("Background append only file rewriting started");
                Ok(())
            }
            Err(error) => {
                tracing::error!("Can't rewrite append only file in background: {error}");
                self.rewrite_failed();
                Err(NotDone)
            }
        }
    }

    /// Has a thread change files: each step waits for the disk.
    fn do_elsewhere(&mut self, work: impl FnOnce(&mut AofFolder) -> Done + Send + 'static) -> Result<(), String> {
        self.append_only_folder().map_err(|error| error.to_string())?;
        let Some(mut folder) = self.append_only.folder.take() else { return Ok(()) };
        let wake = Arc::clone(&self.append_only.wake);
        let thread = threads::spawn("weir-aof-files", move || {
            let done = work(&mut folder);
            wake();
            (folder, done)
        });
        self.append_only.elsewhere = Some(thread.map_err(|error| error.to_string())?);
        Ok(())
    }

    /// Goes on with what the thread has done, if it has; `wait`: in any case.
    pub(super) fn look_elsewhere(&mut self, wait: bool) {
        let ready = self.append_only.elsewhere.as_ref().is_some_and(|thread| wait || thread.is_finished());
        let Some(thread) = self.append_only.elsewhere.take_if(|_| ready) else { return };
        let (folder, done) = match thread.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        self.append_only.folder = Some(folder);
        match done {
            Done::Increment(Ok(file)) => self.append_only.made = Some(Made(file)),
            Done::Increment(Err(error)) => {
                tracing::error!("Can't rewrite append only file in background: {error}");
                self.rewrite_failed();
            }
            Done::Base(placed) => self.base_placed(placed),
        }
    }

    /// The new increment is there: from here on everything goes to it, and a snapshot of this moment becomes the base. Not in
    /// the middle of a script: what it has done would be in both.
    fn go_on_with_rewrite(&mut self) {
        let possible = self.snapshots.purpose().is_none() && self.feed_is_between_units() && !self.is_loading();
        let Some(Made(file)) = self.append_only.made.take_if(|_| possible) else { return };
        if self.append_only.rewrite.is_none() {
            return;
        }
        let begun = self.switch_increment(file).and_then(|path| {
            self.begin_snapshot(Purpose::AofBase(path)).map_err(|_| "no thread can be started".to_owned())
        });
        if let Err(error) = begun {
            tracing::error!("Can't rewrite append only file in background: {error}");
            self.rewrite_failed();
        }
    }

    fn switch_increment(&mut self, file: Option<Box<dyn DataFile>>) -> Result<PathBuf, String> {
        if self.append_only.log.is_open() {
            self.write_changes(true);
            // Behind the snapshot it would be done a second time.
            if self.append_only.log.waiting_bytes() > 0 {
                return Err("what was changed before could not be written".to_owned());
            }
        }
        let path = self.append_only_folder().map_err(|error| error.to_string())?.temporary_base();
        let Some(file) = file else { return Ok(path) };
        let was = if self.append_only.state == State::On { self.append_only.log.len() } else { 0 };
        self.append_only.log.switch(file, 0).map_err(|error| error.to_string())?;
        if self.append_only.state == State::On {
            self.use_journal();
        }
        self.append_only.other_bytes += was;
        self.append_only.stamped_s = 0;
        self.want_feed(true);
        self.begin_feed_anew();
        Ok(path)
    }

    /// What the base of a rewrite is like.
    pub(super) fn form_of_base(&self) -> Form {
        if self.config.aof_use_rdb_preamble {
            return Form::Snapshot;
        }
        Form::Commands { stamped_s: self.config.aof_timestamp_enabled.then(|| self.store.now_ms() / 1000) }
    }

    /// The folder of the append-only file; opened if it was not used yet.
    fn append_only_folder(&mut self) -> Result<&mut AofFolder, FolderError> {
        if self.append_only.folder.is_none() {
            let config = &self.config;
            let dir = PathBuf::from(&config.dir);
            let folder =
                AofFolder::open(Arc::clone(&self.facts.disk), &dir, &config.appenddirname, &config.appendfilename)?;
            self.append_only.folder = Some(folder);
        }
        Ok(self.append_only.folder.as_mut().expect("it was put there"))
    }

    /// The base of a rewrite is on disk, or could not be written.
    pub(super) fn base_written(&mut self, path: &Path, result: io::Result<u64>) {
        let Some(rewrite) = self.append_only.rewrite else { return };
        let state = self.append_only.state;
        let (path, keeps_history) = (path.to_owned(), self.config.aof_disable_auto_gc);
        let placing = result.map_err(|error| error.to_string()).and_then(|bytes| {
            self.do_elsewhere(move |folder| {
                let increments = usize::from(state != State::Off);
                let placed = folder.put_base(&path, rewrite.is_snapshot, increments, state == State::Begins);
                if placed.is_ok() && !keeps_history {
                    folder.remove_history();
                }
                Done::Base(placed.map(|()| bytes).map_err(|error| error.to_string()))
            })
        });
        if let Err(error) = placing {
            self.base_placed(Err(error));
        }
    }

    /// The new base is in its place, or could not be put there.
    fn base_placed(&mut self, placed: Result<u64, String>) {
        let Some(rewrite) = self.append_only.rewrite.take() else { return };
        let now_s = (self.facts.wall_clock_us)() / 1_000_000;
        self.append_only.last_took_s = Some(now_s - rewrite.began_s);
        let bytes = match placed {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::error!("Background AOF rewrite failed: {error}");
                self.rewrite_failed();
                return;
            }
        };
        self.append_only.other_bytes = bytes;
        // What was changed meanwhile counts as well: if that is much, the next rewrite would begin at once.
        let is_open = self.append_only.log.is_open();
        self.append_only.base_bytes = if is_open { self.append_only.current_bytes() } else { bytes };
        self.append_only.failures = 0;
        self.append_only.not_before_s = 0;
        self.append_only.last_ok = true;
        match self.append_only.state {
            State::Begins => {
                self.append_only.state = State::On;
                // Not before: the increment had another name.
                self.use_journal();
            }
            State::On => {}
            State::Off => {
                if let Some(folder) = &mut self.append_only.folder {
                    folder.unlock();
                }
            }
        }
        tracing::info!("Background AOF rewrite finished successfully: {bytes} bytes");
    }

    /// Takes files away that were replaced, unless that is switched off.
    pub(super) fn remove_old_append_only_files(&mut self) {
        if !self.config.aof_disable_auto_gc
            && let Some(folder) = &mut self.append_only.folder
        {
            folder.remove_history();
        }
    }

    /// Waits for the thread; an increment that it has made is used, but no rewrite follows.
    fn give_up_elsewhere(&mut self) {
        self.look_elsewhere(true);
        self.append_only.made = None;
    }

    fn rewrite_failed(&mut self) {
        let now_s = self.store.now_ms() / 1000;
        self.append_only.rewrite = None;
        self.append_only.last_ok = false;
        self.append_only.failures += 1;
        let failures = self.append_only.failures;
        match self.append_only.state {
            State::Begins => {
                self.forget_first_increment();
                self.append_only.scheduled = true;
                self.append_only.not_before_s = now_s + RETRY_AFTER_S;
            }
            State::Off => {
                if let Some(folder) = &mut self.append_only.folder {
                    folder.unlock();
                }
            }
            State::On => {}
        }
        if failures >= FAILURES_BEFORE_LIMIT {
            let minutes = 1_i64.checked_shl(failures - FAILURES_BEFORE_LIMIT).unwrap_or(LIMIT_MINUTES_MAX);
            let minutes = minutes.clamp(1, LIMIT_MINUTES_MAX);
            self.append_only.not_before_s = now_s + 60 * minutes;
            tracing::warn!(
                "Background AOF rewrite has repeatedly failed and triggered the limit, will retry in {minutes} minutes"
            );
        }
    }

    /// Everything was flushed: a base that is being written is given up, since nothing of it is left, and written anew.
    pub(super) fn begin_base_anew(&mut self) {
        if !matches!(self.snapshots.purpose(), Some(Purpose::AofBase(_))) {
            return;
        }
        tracing::info!("The rewrite of the append-only file begins anew: everything was flushed");
        self.cancel_snapshot();
        self.append_only.rewrite = None;
        self.append_only.scheduled = true;
        match self.append_only.state {
            State::Begins => self.forget_first_increment(),
            State::Off => {
                if let Some(folder) = &mut self.append_only.folder {
                    folder.unlock();
                }
            }
            State::On => {}
        }
    }

    /// What was changed since the beginning of a first rewrite that has failed is in memory, and the next one begins there.
    fn forget_first_increment(&mut self) {
        if self.append_only.log.is_open() {
            self.want_feed(false);
            self.append_only.log.close();
            if let Some(folder) = &self.append_only.folder {
                folder.remove_temporary_increment();
            }
            // Nothing is written until the next one begins, so nothing has to be refused.
            self.append_only.write_failure = None;
            self.rearm();
        }
    }

    /// Whether everything is being written anew, or is about to be.
    pub(super) fn is_rewriting(&self) -> bool {
        self.append_only.rewrite.is_some()
    }

    /// `appendonly` was switched on at run time: begins with a base of what there is.
    ///
    /// # Errors
    /// The log says why.
    pub(super) fn begin_append_only(&mut self) -> Result<(), NotDone> {
        if self.append_only.state != State::Off {
            return Ok(());
        }
        self.give_up_elsewhere();
        self.append_only.state = State::Begins;
        self.append_only.write_failure = None;
        if self.append_only.rewrite.take().is_some() {
            tracing::info!("A rewrite of the append-only file that was under way is given up for a new one");
            self.cancel_snapshot();
        }
        // `dir` may be another one than it was.
        self.append_only.folder = None;
        if let Err(error) = self.append_only_folder().and_then(AofFolder::lock) {
            tracing::error!("the append-only file cannot be written: {error}");
            self.append_only.state = State::Off;
            self.append_only.folder = None;
            return Err(NotDone);
        }
        if self.snapshots.purpose().is_some() {
            self.append_only.scheduled = true;
            tracing::warn!(
                "AOF was enabled but there is already a background operation. An AOF background was scheduled to start when possible."
            );
            return Ok(());
        }
        if !self.effects.may_block {
            self.append_only.scheduled = true;
            tracing::info!(
                "AOF was enabled during a transaction. An AOF background was scheduled to start when possible."
            );
            return Ok(());
        }
        self.begin_rewrite().inspect_err(|_| {
            self.append_only.scheduled = false;
            self.append_only.state = State::Off;
        })
    }

    /// `appendonly` was switched off at run time: what there is stays on disk.
    pub(super) fn end_append_only(&mut self) {
        if self.append_only.state == State::Off {
            return;
        }
        self.give_up_elsewhere();
        if self.append_only.rewrite.take().is_some() {
            tracing::warn!("Killing running AOF child: the rewrite is given up");
            self.cancel_snapshot();
        }
        self.append_only.scheduled = false;
        if self.append_only.state == State::Begins {
            self.forget_first_increment();
        } else {
            self.write_changes(true);
            if let Err(error) = self.append_only.log.sync_now() {
                let always = self.config.appendfsync == AppendFsync::Always;
                self.cannot_write(always, &reason(&error), "force to disk");
            }
        }
        self.append_only.state = State::Off;
        self.want_feed(false);
        self.registry.file_ends(&mut self.store, &mut self.effects);
        self.append_only.log.close();
        self.append_only.write_failure = None;
        if let Some(folder) = &mut self.append_only.folder {
            folder.unlock();
        }
        self.answer_awaiting();
        self.rearm();
    }

    /// Before the process ends: everything goes to disk.
    ///
    /// # Errors
    /// The first base is being written, and nothing is on disk before that. Where that has failed and will be tried again, nothing
    /// keeps the server from ending.
    pub(super) fn prepare_end_of_append_only(&mut self) -> Result<(), NotDone> {
        self.look_elsewhere(true);
        match self.append_only.state {
            State::Off => return Ok(()),
            State::Begins if self.append_only.rewrite.is_some() => {
                tracing::warn!("Writing initial AOF, can't exit");
                return Err(NotDone);
            }
            State::Begins | State::On => {}
        }
        if self.append_only.rewrite.take().is_some() {
            tracing::warn!("There is a rewrite of the append-only file under way. It is given up!");
            self.cancel_snapshot();
        }
        if self.append_only.log.is_open() {
            tracing::info!("Calling fsync() on the AOF file.");
            self.write_changes(true);
            if let Err(error) = self.append_only.log.sync_now() {
                tracing::error!("Fail to fsync the AOF file: {error}");
            }
        }
        Ok(())
    }

    /// Begins to read the append-only file, if there is one; begins one otherwise.
    ///
    /// # Errors
    /// It cannot be used, and what can be done.
    pub(super) fn load_append_only_at_start(&mut self) -> Result<(), String> {
        let opened = self.open_append_only();
        opened.map_err(|error| format!("the append-only file is refused: {error}"))?;
        if let Some(load) = self.append_only_load()? {
            self.begin_loading(Box::new(load));
            return Ok(());
        }
        let snapshot = self.config.path_in_dir(&self.config.dbfilename);
        if snapshot.exists() {
            tracing::warn!(
                "appendonly is on and there is no append-only file: the databases are empty, and what is in {} is not read. \
                 To keep it, start with appendonly no and switch it on by CONFIG SET",
                snapshot.display()
            );
        }
        self.append_only_is_loaded()
    }

    fn open_append_only(&mut self) -> Result<(), FolderError> {
        let folder = self.append_only_folder()?;
        folder.lock()?;
        // Who had it before may have changed it.
        folder.read_manifest()?;
        folder.upgrade()?;
        folder.remove_leftovers();
        folder.restore()
    }

    /// Where every reply waits for the disk, the last increment has a journal, unless that is switched off.
    fn use_journal(&mut self) {
        let bytes = self.config.aof_journal_size;
        let folder = self.append_only.folder.as_ref().filter(|_| bytes > 0);
        if let Some(place) = folder.and_then(|folder| folder.journal(bytes.max(JOURNAL_BYTES_MIN))) {
            self.append_only.log.use_journal(place);
        }
    }

    /// What is to be read of the append-only file; `None` if there is none.
    ///
    /// # Errors
    /// A file is missing.
    pub(super) fn append_only_load(&mut self) -> Result<Option<AofLoad>, String> {
        self.look_elsewhere(true);
        let told = |error: FolderError| format!("the append-only file is refused: {error}");
        let folder = self.append_only_folder().map_err(told)?;
        folder.read_manifest().map_err(told)?;
        let parts = folder.parts().map_err(told)?;
        if parts.is_empty() {
            return Ok(None);
        }
        Ok(Some(AofLoad::new(parts, folder.manifest().base.is_some())))
    }

    /// Everything was read that there is, or there was nothing: from here on it is written.
    pub(super) fn append_only_is_loaded(&mut self) -> Result<(), String> {
        let told = |error: FolderError| format!("the append-only file cannot be written: {error}");
        self.append_only.state = State::On;
        let folder = self.append_only_folder().map_err(told)?;
        let needs_base = folder.manifest().base.is_none() && folder.manifest().increments.is_empty();
        if needs_base {
            self.write_empty_base()?;
        }
        let folder = self.append_only_folder().map_err(told)?;
        let last = folder.open_last_increment().map_err(told)?;
        let file = match last {
            Some(file) => file,
            None => folder.add_increment().map_err(told)?,
        };
        let sizes = folder.parts().map_err(told)?;
        let len = file.len().map_err(|error| error.to_string())?;
        let total: u64 = sizes.iter().map(|(_, bytes)| bytes).sum();
        let base = folder.manifest().base.is_some();
        self.append_only.base_bytes = sizes.first().filter(|_| base).map_or(0, |(_, bytes)| *bytes);
        self.append_only.other_bytes = total.saturating_sub(len);
        self.append_only.log.switch(file, len).map_err(|error| error.to_string())?;
        self.use_journal();
        self.want_feed(true);
        self.begin_feed_anew();
        self.remove_old_append_only_files();
        Ok(())
    }

    fn write_empty_base(&mut self) -> Result<(), String> {
        let told = |error: FolderError| format!("the append-only file cannot be written: {error}");
        let folder = self.append_only_folder().map_err(told)?;
        folder.make_folder().map_err(told)?;
        let path = folder.temporary_base();
        let is_snapshot = self.config.aof_use_rdb_preamble;
        let now_s = self.store.now_ms() / 1000;
        self.append_only.rewrite = Some(Rewrite { began_s: now_s, is_snapshot });
        let state = std::mem::replace(&mut self.append_only.state, State::Off);
        let begun = self.begin_snapshot(Purpose::AofBase(path));
        begun.map_err(|_| "the append-only file cannot be written: see above".to_owned())?;
        // Without the base there is an error below.
        let _ = self.finish_snapshot();
        self.look_elsewhere(true);
        self.append_only.state = state;
        self.append_only.last_took_s = None;
        let folder = self.append_only_folder().map_err(told)?;
        folder.lock().map_err(told)?;
        if folder.manifest().base.is_none() {
            return Err("the append-only file cannot be written: see above".to_owned());
        }
        Ok(())
    }

    /// Before the append-only file is read again (DEBUG LOADAOF): everything is written, and nothing is until
    /// [`Server::go_on_with_append_only`].
    pub(super) fn rest_append_only(&mut self) {
        if self.append_only.log.is_open() {
            self.write_changes(true);
            self.want_feed(false);
        }
    }

    /// It was read again.
    pub(super) fn go_on_with_append_only(&mut self) {
        if self.append_only.log.is_open() {
            self.want_feed(true);
            self.begin_feed_anew();
        }
    }

    /// DEBUG AOF-FLUSH-SLEEP: each write takes so much longer.
    pub(super) fn set_append_only_sleep(&mut self, sleep: Duration) {
        self.append_only.sleep = sleep;
    }

    /// Figures for INFO.
    pub(super) fn append_only_figures(&self) -> AofFigures {
        let append_only = &self.append_only;
        let now_s = self.store.now_ms() / 1000;
        AofFigures {
            is_on: append_only.state != State::Off,
            rewrite_scheduled: append_only.scheduled,
            rewriting_s: append_only.rewrite.map(|rewrite| (now_s - rewrite.began_s).max(0)),
            last_took_s: append_only.last_took_s.unwrap_or(-1),
            last_ok: append_only.last_ok,
            rewrites: append_only.rewrites,
            failures: append_only.failures,
            write_ok: append_only.write_failure.is_none(),
            current_bytes: append_only.current_bytes(),
            base_bytes: append_only.base_bytes,
            buffer_bytes: append_only.log.unwritten_bytes(),
            is_syncing: append_only.log.is_syncing(),
            is_journaling: append_only.log.is_journaling(),
            delayed: append_only.log.delayed(),
        }
    }

    /// For WAITAOF: whether everything that was changed by now is on disk; else the position that it will be at.
    pub(super) fn changes_to_sync(&mut self) -> Option<u64> {
        if self.append_only.log.is_open() {
            self.write_changes(false);
        }
        let accepted = self.append_only.log.accepted();
        (self.append_only.state != State::On || self.append_only.log.synced() < accepted).then_some(accepted)
    }

    /// A client waits until everything up to a position is on disk.
    pub(super) fn await_sync(&mut self, id: ClientId, position: u64, for_disk: bool, for_replicas: bool) {
        self.append_only.awaiting.retain(|waiter| waiter.id != id);
        self.append_only.awaiting.push(Awaiting { id, position, for_disk, for_replicas });
        self.append_only.log.await_sync(true);
    }

    /// At the end of a turn: answers those whose changes are on disk.
    #[inline]
    pub(super) fn answer_awaiting(&mut self) {
        if self.append_only.awaiting.is_empty() {
            return;
        }
        let (synced, state) = (self.append_only.log.synced(), self.append_only.state);
        let mut awaiting = std::mem::take(&mut self.append_only.awaiting);
        awaiting.retain(|waiter| {
            if state == State::Off && waiter.for_disk {
                self.tell_waiter(waiter.id, |reply| reply.error(&Error::WAITAOF_WITHOUT_FILE));
                return false;
            }
            if state != State::On || waiter.for_replicas || waiter.position > synced {
                return self.is_waiting(waiter.id);
            }
            self.tell_waiter(waiter.id, |reply| wait_reply(reply, true));
            false
        });
        self.append_only.awaiting.extend(awaiting);
    }
}

/// What BGREWRITEAOF answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RewriteAnswer {
    Started,
    Scheduled,
    InProgress,
}

/// The reply of WAITAOF: whether changes are on this server's disk, and on how many replicas'.
pub(super) fn wait_reply(reply: &mut Reply<'_>, synced: bool) {
    reply.array(2);
    reply.int(i64::from(synced));
    reply.int(0);
}
