//! The end of the append-only file that is written: bytes go to the system at once, and to disk by a thread.
//!
//! ```text
//!  append ─► buffer ─► write ─► the system ··· fdatasync on the thread ··· on disk
//!          accepted           written                                    synced        (positions, counted over all files)
//!                └─ where everybody waits for the disk: pending ─► write, fdatasync on the thread
//! ```
//!
//! Where nobody may hear of anything before it is on disk, there is no hurry to write: the thread does that too, once a
//! round, however many turns have come to it. Bytes that were given to it count as written.
//!
//! One fdatasync covers everything that was written when it began, so however many wait for the disk, there is one at a
//! time. Where clients wait for each of them, the next one begins when about as much has come as the last two rounds had
//! together, when the loop has nothing else to do ([`Log::hurry`]), or when as much time has gone by as one takes: those who
//! were just answered come again at once, and one fdatasync for all of them is twice as good as one for the quicker and one
//! for the slower. Unless the disk is quicker than they come: then it works for one half while the other is on its way. What was not written whole is cut off again, so that the file ends behind whole commands; the rest stays
//! in the buffer until the disk takes it.
//!
//! Such rounds go to a [`Journal`] beside the file instead of forcing the file itself to disk, once there is one; the file is
//! forced there behind them, about once a second.
//!
//! What must stay true: `synced <= written <= accepted`, and whatever lies below `synced` is on disk, in the file or in the
//! journal.

use super::journal::{Journal, Room};
use crate::disk::{DataFile, Disk, folder_of};
use crate::threads;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// With so many bytes in the buffer a write is no longer put off because the disk is busy: the loop waits for it.
const BEHIND_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The same after so many ms.
const BEHIND_MS_MAX: i64 = 2_000;
/// How often, in ms, written bytes are forced to disk where that is not done at once.
const SYNC_EVERY_MS: i64 = 1_000;
/// A round waits for others to come along as long as the last one has taken, and no longer than this.
const GATHER_MAX: Duration = Duration::from_millis(4);
/// Where waiting does not pay, every so manieth round does, to see whether that is still so.
const ROUNDS_UNTIL_LOOK: u32 = 32;
/// The thread is given bytes to write as long as no more than these wait.
const PENDING_BYTES_MAX: usize = 1024 * 1024;
/// What is only in the journal is forced to disk in the file as well after so long.
const SETTLE_AFTER: Duration = Duration::from_secs(1);
/// Memory that an empty buffer keeps.
const BUFFER_KEEP_BYTES: usize = 1024 * 1024;

/// When bytes are forced to disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SyncPolicy {
    /// Before anybody hears of what they say.
    Always,
    /// At once, but not everybody waits for that: bytes go to the system when they come.
    AtOnce,
    /// Within about a second.
    EverySecond,
    /// When the system does it.
    Never,
}

/// How a write has ended.
#[derive(Debug)]
pub enum Written {
    /// Nothing is left in the buffer.
    All,
    /// It was put off: the disk is busy.
    PutOff,
    /// The system takes no more; what it took of a part was cut off again.
    Failed(io::Error),
}

/// A file beside the one that is appended to, for rounds that everybody waits for.
#[derive(Clone, Debug)]
pub struct JournalPlace {
    /// Where it is.
    pub disk: Arc<dyn Disk>,
    /// Its path. Whatever is there is replaced.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// What the file that is appended to is called in it.
    pub name: Vec<u8>,
}

/// Called by the thread when more is on disk than before, if somebody waits for that, or when that has failed.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// The file that is appended to.
pub struct Log {
    file: Option<Box<dyn DataFile>>,
    /// Bytes of the file: whole commands.
    len: u64,
    buffer: Vec<u8>,
    written: u64,
    syncer: Syncer,
    /// Since when (ms) a write is put off.
    put_off_ms: Option<i64>,
    delayed: u64,
    /// When bytes were last forced to disk, or the thread was asked to (ms).
    synced_ms: i64,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("len", &self.len)
            .field("waiting", &self.buffer.len())
            .field("written", &self.written)
            .field("synced", &self.synced())
            .finish_non_exhaustive()
    }
}

impl Log {
    /// Without a file yet. `wake` is called by the thread.
    pub fn new(wake: Wake) -> Log {
        Log {
            file: None,
            len: 0,
            buffer: Vec::new(),
            written: 0,
            syncer: Syncer::new(wake),
            put_off_ms: None,
            delayed: 0,
            synced_ms: 0,
        }
    }

    /// Whether there is a file.
    pub fn is_open(&self) -> bool {
        self.file.is_some()
    }

    /// What is appended from now on goes to this file, which has `len` bytes. The buffer should be empty; what is in it goes
    /// there too. The file of before is forced to disk by the thread.
    ///
    /// # Errors
    /// There is no second handle to it, or no thread; the file of before stays then.
    pub fn switch(&mut self, file: Box<dyn DataFile>, len: u64) -> io::Result<()> {
        let second = file.another()?;
        self.syncer.start()?;
        self.syncer.switch(second, self.written);
        self.file = Some(file);
        self.len = len;
        Ok(())
    }

    /// Rounds that everybody waits for go to this journal from now on, as soon as it is made, which a thread does; the file is
    /// to be one that is found again under its name.
    pub fn use_journal(&mut self, place: JournalPlace) {
        if let Some(last) = self.syncer.shared.state().files.back_mut() {
            last.journal = Some(Arc::new(place));
        }
    }

    /// Whether the last round has gone to a journal.
    pub fn is_journaling(&self) -> bool {
        self.syncer.shared.journaling.load(Ordering::SeqCst)
    }

    /// There is no file any more. What was written is forced to disk by the thread; what was not is forgotten.
    pub fn close(&mut self) {
        self.take_back();
        self.syncer.request(self.written, false);
        self.file = None;
        self.written += self.buffer.len() as u64;
        self.buffer = Vec::new();
        self.put_off_ms = None;
        self.syncer.give_up(self.written);
    }

    /// Adds whole commands, which are written with the next ones.
    pub fn append(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Writes what is in the buffer, then both parts of `fresh`, each of which is whole commands; has it forced to disk as
    /// `policy` says. What could not be written is in the buffer afterwards. `may_sync`: the thread may be asked now.
    /// `forced`: nothing is put off.
    pub fn write(
        &mut self,
        fresh: [&[u8]; 2],
        policy: SyncPolicy,
        now_ms: i64,
        may_sync: bool,
        forced: bool,
    ) -> Written {
        let fresh_bytes = fresh[0].len() + fresh[1].len();
        if self.buffer.is_empty() && fresh_bytes == 0 {
            self.sync(policy, now_ms, may_sync);
            return Written::All;
        }
        // While it is being forced to disk, some systems let a write wait for that.
        if policy == SyncPolicy::EverySecond && !forced && self.syncer.is_busy() {
            let since_ms = *self.put_off_ms.get_or_insert(now_ms);
            let behind_bytes = self.buffer.len() + fresh_bytes;
            if (0..BEHIND_MS_MAX).contains(&(now_ms - since_ms)) && behind_bytes < BEHIND_BYTES_MAX {
                fresh.into_iter().for_each(|part| self.append(part));
                return Written::PutOff;
            }
            self.delayed += 1;
            tracing::warn!(
                "the append-only file is forced to disk more slowly than changes come: is the disk busy? Writing without \
                 waiting for it, which may slow the server down"
            );
        }
        self.put_off_ms = None;
        if policy == SyncPolicy::Always && !forced && self.hand_over(fresh) {
            return Written::All;
        }
        if let Err(error) = self.write_out(fresh) {
            return Written::Failed(error);
        }
        self.sync(policy, now_ms, may_sync);
        Written::All
    }

    /// Has the thread write the buffer and `fresh`, unless these are too many bytes, or it has failed.
    fn hand_over(&mut self, fresh: [&[u8]; 2]) -> bool {
        let parts = [&self.buffer, fresh[0], fresh[1]];
        let bytes: u64 = parts.iter().map(|part| part.len() as u64).sum();
        let taken = !self.has_failed() && self.syncer.hand_over(&parts, self.len, self.written);
        if taken {
            self.buffer.clear();
            self.len += bytes;
            self.written += bytes;
        }
        taken
    }

    /// What the thread was given and has not begun to write is to be written here, in front of everything else.
    fn take_back(&mut self) {
        if let Some(pending) = self.syncer.take_back() {
            self.len -= pending.len() as u64;
            self.written -= pending.len() as u64;
            self.buffer.splice(..0, pending);
        }
    }

    fn write_out(&mut self, fresh: [&[u8]; 2]) -> io::Result<()> {
        self.take_back();
        let mut result = Ok(());
        if self.buffer.is_empty() {
            // What comes in a turn goes to the system from where it is.
            for part in fresh {
                let mut left = part;
                if result.is_ok() {
                    (left, result) = self.write_to_file(part);
                }
                self.buffer.extend_from_slice(left);
            }
            return result;
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        fresh.into_iter().for_each(|part| buffer.extend_from_slice(part));
        let (left, result) = self.write_to_file(&buffer);
        let taken = buffer.len() - left.len();
        buffer.drain(..taken);
        buffer.shrink_to(BUFFER_KEEP_BYTES);
        self.buffer = buffer;
        result
    }

    fn write_to_file<'b>(&mut self, bytes: &'b [u8]) -> (&'b [u8], io::Result<()>) {
        let Some(file) = &mut self.file else { return (bytes, Ok(())) };
        let (left, result) = write_to(&mut **file, self.len, bytes);
        let taken = (bytes.len() - left.len()) as u64;
        self.len += taken;
        self.written += taken;
        (left, result)
    }

    fn sync(&mut self, policy: SyncPolicy, now_ms: i64, may_sync: bool) {
        let due = match policy {
            // Where that has failed, what is on disk is not known any more: trying again would prove nothing.
            SyncPolicy::Always | SyncPolicy::AtOnce => !self.syncer.has_failed(),
            SyncPolicy::EverySecond => {
                may_sync
                    && !(0..SYNC_EVERY_MS).contains(&(now_ms - self.synced_ms))
                    && (!self.syncer.is_busy() || self.syncer.has_failed())
            }
            SyncPolicy::Never => false,
        };
        if due && self.synced() < self.written {
            self.synced_ms = now_ms;
            self.syncer.request(self.written, policy != SyncPolicy::EverySecond);
        }
    }

    /// Writes and forces everything to disk, in the file itself, before it returns. There is no journal then.
    ///
    /// # Errors
    /// What failed.
    pub fn sync_now(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            return Ok(());
        }
        self.write_out([&[], &[]])?;
        self.syncer.shared.state().ends_journal = true;
        self.syncer.request(self.written, false);
        self.syncer.wait(self.written)
    }

    /// Bytes of the file.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing is in the file.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes in the buffer.
    pub fn waiting_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Bytes that were not given to the system yet, those that the thread is to write included. Looks at the thread's state.
    pub fn unwritten_bytes(&self) -> usize {
        self.buffer.len() + self.syncer.pending(Vec::len)
    }

    /// Bytes of heap behind them.
    pub fn buffer_bytes(&self) -> usize {
        self.buffer.capacity() + self.syncer.pending(Vec::capacity)
    }

    /// Position behind everything that was appended.
    pub fn accepted(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Position up to which everything is on disk.
    pub fn synced(&self) -> u64 {
        self.syncer.synced()
    }

    /// How often a write did not wait for the disk any longer.
    pub fn delayed(&self) -> u64 {
        self.delayed
    }

    /// Whether the thread forces something to disk right now.
    pub fn is_syncing(&self) -> bool {
        self.syncer.is_busy()
    }

    /// Whether bytes could not be forced to disk the last time.
    #[inline]
    pub fn has_failed(&self) -> bool {
        self.syncer.has_failed()
    }

    /// Why bytes could not be forced to disk the last time, if so.
    pub fn sync_failure(&self) -> Option<String> {
        self.syncer.failure()
    }

    /// Whether what waits to be forced to disk waits for more to come along. Whoever has nothing else to do then is to
    /// [`Log::hurry`].
    #[inline]
    pub fn is_gathering(&self) -> bool {
        self.syncer.shared.gathering.load(Ordering::SeqCst)
    }

    /// Nothing more comes along: what waits is forced to disk.
    pub fn hurry(&self) {
        self.syncer.hurry();
    }

    /// Says whether somebody waits for bytes to be on disk: only then the thread calls `wake` when they are.
    pub fn await_sync(&self, awaited: bool) {
        self.syncer.shared.awaited.store(awaited, Ordering::SeqCst);
    }
}

/// Writes to a file that has `len` bytes. Gives what is left to be written: all of it where only a part was taken, which is
/// cut off again.
fn write_to<'b>(file: &mut dyn DataFile, len: u64, bytes: &'b [u8]) -> (&'b [u8], io::Result<()>) {
    let mut left = bytes;
    let mut result = Ok(());
    while !left.is_empty() && result.is_ok() {
        match file.write(left) {
            Ok(0) => result = Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => left = left.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => result = Err(error),
        }
    }
    if result.is_err() && left.len() < bytes.len() {
        match file.set_len(len) {
            Ok(()) => left = bytes,
            // Then the part stays, and what is left is what goes behind it.
            Err(cut) => {
                tracing::error!("could not cut a half-written append-only file off at byte {len}: {cut}");
            }
        }
    }
    (left, result)
}

/// The thread that forces files to disk.
struct Syncer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    progress: Condvar,
    synced: AtomicU64,
    busy: AtomicBool,
    failed: AtomicBool,
    awaited: AtomicBool,
    /// A round waits for others to come along.
    gathering: AtomicBool,
    /// The last round has gone to a journal.
    journaling: AtomicBool,
    wake: Wake,
}

#[derive(Default)]
struct State {
    /// The files that are not on disk as a whole, the one that is written to last.
    files: VecDeque<Unsynced>,
    error: Option<io::Error>,
    ends: bool,
    /// Everything is to be on disk in the files, and the journal is to go.
    ends_journal: bool,
    /// The thread does nothing until it is notified.
    rests: bool,
    /// More is likely to come at once.
    gathers: bool,
    /// The next round is not to wait for it any longer.
    hurries: bool,
    /// Nor is any round, for so many threads do nothing else than wait for the disk.
    blocked: u32,
    /// Since when there is something for the next round.
    since: Option<Instant>,
    /// Bytes that the last round forced to disk, and that had come for the next one when it ended.
    last_bytes: u64,
    next_bytes: u64,
    /// How long it took.
    last_took: Duration,
    /// When it ended.
    last_end: Option<Instant>,
    /// The next round has waited for more.
    gathered: bool,
    /// Waiting has not paid when that was last looked at.
    alone: bool,
    rounds: u32,
}

impl State {
    /// Bytes that wait to be forced to disk.
    fn waiting_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.target - file.done).sum()
    }

    fn of(&mut self, file: &Arc<Mutex<Box<dyn DataFile>>>) -> Option<&mut Unsynced> {
        self.files.iter_mut().find(|other| Arc::ptr_eq(&other.file, file))
    }

    /// Whether more bytes a second come to the disk if a round waits as long as this one did, from the end of the last one on.
    fn has_paid(&self, waited: Duration) -> bool {
        let took = self.last_took.as_nanos();
        u128::from(self.waiting_bytes()) * took >= u128::from(self.next_bytes) * (took + waited.as_nanos())
    }

    /// Whether to wait for more before the next round. Where the disk is quicker than who was answered comes again, it is
    /// better to have it work for some while others are on their way.
    fn gathers_more(&self) -> bool {
        let waiting_bytes = self.waiting_bytes();
        self.gathers
            && (!self.alone || self.rounds.is_multiple_of(ROUNDS_UNTIL_LOOK))
            && !self.hurries
            && self.blocked == 0
            && !self.ends
            && self.files.len() == 1
            && waiting_bytes > 0
            && waiting_bytes < self.last_bytes + self.next_bytes
            && self.since.is_none_or(|since| since.elapsed() < self.last_took.min(GATHER_MAX))
    }
}

impl Unsynced {
    /// Whether there is something to be forced to disk.
    fn is_due(&self) -> bool {
        self.done < self.target || self.whole
    }
}

struct Unsynced {
    file: Arc<Mutex<Box<dyn DataFile>>>,
    /// What is to be written to it by the thread, and how many bytes are in front of that.
    pending: Vec<u8>,
    len: u64,
    /// The thread writes to it.
    writes: bool,
    /// Up to where it was forced to disk, and is to be.
    done: u64,
    target: u64,
    journal: Option<Arc<JournalPlace>>,
    /// Some of what is done is in the journal, and not forced to disk in the file.
    unsettled: bool,
    /// The journal is not enough.
    whole: bool,
    /// The thread is to try; not again by itself when it has failed.
    wanted: bool,
}

impl Syncer {
    fn new(wake: Wake) -> Syncer {
        let shared = Shared {
            state: Mutex::default(),
            work: Condvar::new(),
            progress: Condvar::new(),
            synced: AtomicU64::new(0),
            busy: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            awaited: AtomicBool::new(false),
            gathering: AtomicBool::new(false),
            journaling: AtomicBool::new(false),
            wake,
        };
        Syncer { shared: Arc::new(shared), thread: None }
    }

    fn start(&mut self) -> io::Result<()> {
        if self.thread.is_none() {
            let shared = Arc::clone(&self.shared);
            let thread = threads::spawn("weir-aof", move || shared.run())?;
            self.thread = Some(thread);
        }
        Ok(())
    }

    fn switch(&self, file: Box<dyn DataFile>, written: u64) {
        let mut state = self.shared.state();
        if let Some(last) = state.files.back_mut() {
            last.target = written;
        }
        for file in &mut state.files {
            file.wanted = true;
            // What is in the journal for one file makes room for the next.
            file.whole |= file.unsettled;
        }
        state.files.push_back(Unsynced {
            file: Arc::new(Mutex::new(file)),
            pending: Vec::new(),
            len: 0,
            writes: false,
            done: written,
            target: written,
            journal: None,
            unsettled: false,
            whole: false,
            wanted: false,
        });
        self.shared.work.notify_one();
    }

    fn request(&self, written: u64, gathers: bool) {
        self.shared.request(self.shared.state(), written, gathers);
    }

    /// Has the thread write `parts` to the last file, which has `len` bytes, and force them to disk; `written` is the position
    /// in front of them. Not where too much waits already.
    fn hand_over(&self, parts: &[&[u8]], len: u64, written: u64) -> bool {
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        let mut state = self.shared.state();
        let Some(last) = state.files.back_mut().filter(|last| last.pending.len() + bytes <= PENDING_BYTES_MAX) else {
            return false;
        };
        if last.pending.is_empty() && !last.writes {
            last.len = len;
        }
        parts.iter().for_each(|part| last.pending.extend_from_slice(part));
        self.shared.request(state, written + bytes as u64, true);
        true
    }

    fn pending(&self, size: fn(&Vec<u8>) -> usize) -> usize {
        self.shared.state().files.iter().map(|file| size(&file.pending)).sum()
    }

    /// What was handed over and is not being written. Waits for a write that is under way.
    fn take_back(&self) -> Option<Vec<u8>> {
        let writes = |state: &mut State| state.files.back().is_some_and(|last| last.writes);
        let state = self.shared.progress.wait_while(self.shared.state(), writes);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        let last = state.files.back_mut().filter(|last| !last.pending.is_empty())?;
        last.target -= last.pending.len() as u64;
        Some(std::mem::take(&mut last.pending))
    }

    /// What lies below this position is of no interest any more, whether it is on disk or not.
    fn give_up(&self, position: u64) {
        let mut state = self.shared.state();
        state.files.retain(|file| file.wanted && file.is_due());
        if state.files.is_empty() {
            self.shared.synced.store(position, Ordering::SeqCst);
        }
        state.error = None;
        self.shared.failed.store(false, Ordering::SeqCst);
    }

    fn hurry(&self) {
        let mut state = self.shared.state();
        state.hurries = true;
        self.shared.go_on(state);
    }

    fn wait(&self, position: u64) -> io::Result<()> {
        let mut state = self.shared.state();
        state.blocked += 1;
        self.shared.go_on(state);
        let waiting = |state: &mut State| {
            let tries = state.files.iter().any(|file| file.wanted && file.is_due());
            (self.synced() < position || state.ends_journal) && (tries || state.ends_journal || self.is_busy())
        };
        let mut state =
            self.shared.progress.wait_while(self.shared.state(), waiting).unwrap_or_else(PoisonError::into_inner);
        state.blocked -= 1;
        if self.synced() >= position {
            return Ok(());
        }
        Err(state.error.take().unwrap_or_else(|| io::Error::other("it was not forced to disk")))
    }

    fn synced(&self) -> u64 {
        self.shared.synced.load(Ordering::SeqCst)
    }

    fn is_busy(&self) -> bool {
        self.shared.busy.load(Ordering::SeqCst)
    }

    fn has_failed(&self) -> bool {
        self.shared.failed.load(Ordering::SeqCst)
    }

    fn failure(&self) -> Option<String> {
        if !self.has_failed() {
            return None;
        }
        Some(self.shared.state().error.as_ref().map_or_else(|| "unknown".to_owned(), |error| error.to_string()))
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.shared.state().ends = true;
        self.shared.work.notify_one();
        if let Some(thread) = self.thread.take() {
            // It holds files that others may want to remove.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for everything up to `written` to be forced to disk. Wakes the thread only if it has to do something.
    fn request(&self, mut state: MutexGuard<'_, State>, written: u64, gathers: bool) {
        state.gathers = gathers;
        let whole = state.ends_journal;
        if let Some(last) = state.files.back_mut() {
            last.target = last.target.max(written);
        }
        for file in &mut state.files {
            file.whole |= whole && file.unsettled;
            file.wanted |= file.is_due();
        }
        if gathers && state.since.is_none() {
            state.since = Some(Instant::now());
        }
        self.go_on(state);
    }

    /// Begins the next round if the thread rests and there is nothing to wait for.
    fn go_on(&self, mut state: MutexGuard<'_, State>) {
        if !state.rests {
            return;
        }
        let gathering = state.gathers_more();
        state.gathered |= gathering;
        self.gathering.store(gathering, Ordering::SeqCst);
        if !gathering {
            state.rests = false;
            state.hurries = true;
            drop(state);
            self.work.notify_one();
        }
    }

    /// Waits until there is something to do; or until what is only in the journal shall be on disk in the file too, since
    /// nothing has come for so long.
    fn rest<'s>(&'s self, mut state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        state.rests = true;
        if state.files.iter().any(|file| file.unsettled) {
            let (guard, waited) = self.work.wait_timeout(state, SETTLE_AFTER).unwrap_or_else(PoisonError::into_inner);
            state = guard;
            if waited.timed_out() && state.rests {
                for file in state.files.iter_mut().filter(|file| file.unsettled) {
                    (file.whole, file.wanted) = (true, true);
                }
            }
        } else {
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.rests = false;
        state
    }

    fn run(&self) {
        let mut spare = Vec::new();
        let mut keeper = Keeper::new();
        let mut state = self.state();
        loop {
            while state.files.len() > 1 && state.files.front().is_some_and(|file| !file.is_due()) {
                state.files.pop_front();
            }
            let gathers_more = state.gathers_more();
            state.gathered |= gathers_more;
            self.gathering.store(gathers_more, Ordering::SeqCst);
            let ends_journal = state.ends_journal;
            let next = state.files.iter_mut().find(|file| file.is_due());
            let nothing_is_due = next.is_none();
            let Some(next) = next.filter(|next| next.wanted && !gathers_more) else {
                if state.ends {
                    return;
                }
                if ends_journal && !gathers_more {
                    if nothing_is_due {
                        drop(state);
                        keeper.end_journal();
                        state = self.state();
                    }
                    state.ends_journal = false;
                    self.progress.notify_all();
                    continue;
                }
                state = self.rest(state);
                continue;
            };
            let (file, target, len) = (Arc::clone(&next.file), next.target, next.len);
            let mut pending = std::mem::replace(&mut next.pending, spare);
            next.writes = !pending.is_empty();
            // What is in front of it is on disk: so it may be the next record.
            let follows = next.target - next.done == pending.len() as u64 && !next.whole && !ends_journal;
            let journal = next.journal.as_ref().filter(|_| follows && !pending.is_empty()).map(Arc::clone);
            self.busy.store(true, Ordering::SeqCst);
            state.last_bytes = state.waiting_bytes();
            (state.hurries, state.since) = (false, None);
            let began = Instant::now();
            if std::mem::take(&mut state.gathered)
                && let Some(end) = state.last_end
            {
                state.alone = !state.has_paid(began.duration_since(end));
            }
            state.rounds = state.rounds.wrapping_add(1);
            drop(state);
            let mut open = file.lock().unwrap_or_else(PoisonError::into_inner);
            let mut result = Ok(());
            let mut in_journal = false;
            if !pending.is_empty() {
                let (left, written) = write_to(&mut **open, len, &pending);
                let taken = pending.len() - left.len();
                result = written;
                if result.is_ok()
                    && let Some(place) = &journal
                {
                    result = keeper.write(place, &mut **open, len, &pending).map(|written| in_journal = written);
                }
                pending.drain(..taken);
                if let Some(next) = self.state().of(&file) {
                    next.writes = false;
                    next.len = len + taken as u64;
                    // In front of what has come meanwhile.
                    next.pending.splice(..0, pending.drain(..));
                }
                self.progress.notify_all();
            }
            if !in_journal {
                result = result.and_then(|()| keeper.sync(&mut **open));
            }
            drop(open);
            pending.shrink_to(BUFFER_KEEP_BYTES);
            spare = pending;
            state = self.state();
            self.busy.store(false, Ordering::SeqCst);
            let failed = result.is_err();
            if let Some(synced) = state.of(&file) {
                if failed {
                    synced.wanted = false;
                } else {
                    synced.done = target;
                    synced.unsettled = in_journal;
                    synced.whole &= in_journal;
                }
                synced.wanted &= synced.done < synced.target;
            }
            let end = Instant::now();
            (state.last_took, state.last_end) = (end.duration_since(began), Some(end));
            state.next_bytes = state.waiting_bytes();
            state.error = result.err();
            state.ends_journal &= !failed;
            self.failed.store(failed, Ordering::SeqCst);
            self.journaling.store(in_journal, Ordering::SeqCst);
            if !failed {
                self.synced.fetch_max(target, Ordering::SeqCst);
            }
            self.progress.notify_all();
            // Ahead of waking the loop, which looks at it before it waits again.
            self.gathering.store(state.gathers_more(), Ordering::SeqCst);
            if failed || self.awaited.load(Ordering::SeqCst) {
                (self.wake)();
            }
        }
    }
}

/// What the thread has beside the file.
struct Keeper {
    journal: Kept,
    /// Forces the file to disk as far as the record with this sequence reaches.
    settling: Option<(u64, JoinHandle<io::Result<()>>)>,
    settled_at: Instant,
    /// Where the journal is.
    place: Option<Arc<JournalPlace>>,
}

enum Kept {
    /// None yet.
    None,
    Making(JoinHandle<io::Result<Journal>>),
    Ready(Journal),
    /// There can be none.
    Failed,
}

impl Keeper {
    fn new() -> Keeper {
        Keeper { journal: Kept::None, settling: None, settled_at: Instant::now(), place: None }
    }

    /// Writes a record of bytes that stand at `offset` of the file; says whether that was done. Otherwise the file is to be
    /// forced to disk.
    ///
    /// # Errors
    /// The file could not be forced to disk behind earlier records.
    fn write(
        &mut self,
        place: &Arc<JournalPlace>,
        file: &mut dyn DataFile,
        offset: u64,
        bytes: &[u8],
    ) -> io::Result<bool> {
        self.look(place, offset)?;
        let Kept::Ready(journal) = &mut self.journal else { return Ok(false) };
        match journal.write(&place.name, offset, bytes) {
            Ok(Room::Written { turned }) => {
                if self.settling.is_none() && (turned || self.settled_at.elapsed() >= SETTLE_AFTER) {
                    self.settle(file);
                }
                Ok(true)
            }
            Ok(Room::None) => Ok(false),
            Err(error) => {
                tracing::warn!(
                    "the journal {} cannot be written: {error}. The append-only file itself is forced to disk each time",
                    place.path.display()
                );
                self.journal = Kept::Failed;
                Ok(false)
            }
        }
    }

    /// Forces the file to disk.
    fn sync(&mut self, file: &mut dyn DataFile) -> io::Result<()> {
        file.sync_data()?;
        if let Kept::Ready(journal) = &mut self.journal {
            journal.settle(journal.sequence());
            self.settled_at = Instant::now();
        }
        Ok(())
    }

    /// Looks at what threads have done. The first call has the journal made.
    fn look(&mut self, place: &Arc<JournalPlace>, offset: u64) -> io::Result<()> {
        if let Some((sequence, thread)) = self.settling.take_if(|(_, thread)| thread.is_finished()) {
            let settled = joined(thread);
            if let Kept::Ready(journal) = &mut self.journal {
                match &settled {
                    Ok(()) => journal.settle(sequence),
                    // The system may have dropped what it could not write, and the machine need not be switched off for that.
                    Err(_) => drop(journal.distrust(&place.name, offset)),
                }
            }
            settled?;
        }
        self.journal = match std::mem::replace(&mut self.journal, Kept::Failed) {
            Kept::None => {
                let making = Arc::clone(place);
                self.place = Some(Arc::clone(place));
                let make = move || Journal::make(&*making.disk, &making.path, making.bytes);
                threads::spawn("weir-aof-journal", make).map_or_else(|_| Kept::Failed, Kept::Making)
            }
            Kept::Making(thread) if thread.is_finished() => match joined(thread) {
                Ok(journal) => Kept::Ready(journal),
                Err(error) => {
                    tracing::warn!(
                        "there is no journal {}: {error}. The append-only file itself is forced to disk each time",
                        place.path.display()
                    );
                    Kept::Failed
                }
            },
            other => other,
        };
        Ok(())
    }

    /// Has a thread force the file to disk.
    fn settle(&mut self, file: &mut dyn DataFile) {
        let Kept::Ready(journal) = &self.journal else { return };
        self.settled_at = Instant::now();
        let Ok(mut file) = file.another() else { return };
        // Without a thread there is soon no room in the journal, and it is done here.
        let thread = threads::spawn("weir-aof-settle", move || file.sync_data()).ok();
        self.settling = thread.map(|thread| (journal.sequence(), thread));
    }

    /// Everything is on disk in the files: removes the journal.
    fn end_journal(&mut self) {
        self.wait();
        self.journal = Kept::None;
        let Some(place) = self.place.take() else { return };
        let folder = folder_of(&place.path);
        match place.disk.remove(&place.path).and_then(|()| place.disk.sync_folder(folder)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!("could not remove {}: {error}", place.path.display());
            }
            _ => {}
        }
    }

    /// Waits for all threads.
    fn wait(&mut self) {
        if let Kept::Making(thread) = std::mem::replace(&mut self.journal, Kept::None) {
            let _ = joined(thread);
        }
        if let Some((_, thread)) = self.settling.take() {
            // Whoever ends has forced it to disk anew.
            let _ = joined(thread);
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // They hold files that others may want to remove.
        self.wait();
    }
}

fn joined<T>(thread: JoinHandle<T>) -> T {
    match thread.join() {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Disk;
    use crate::disk::faults::{Call, Fault, FaultyDisk, Survives};
    use std::path::Path;
    use std::thread;

    fn open(disk: &FaultyDisk) -> Log {
        let mut log = Log::new(Arc::new(|| {}));
        let file = disk.create(Path::new("a")).expect("a healthy disk");
        disk.sync_folder(Path::new("")).expect("a healthy disk");
        log.switch(file, 0).expect("a thread");
        log
    }

    fn write(log: &mut Log, bytes: &[u8]) -> Written {
        log.write([bytes, b""], SyncPolicy::Never, 0, true, false)
    }

    #[test]
    fn what_is_synced_is_on_disk_and_the_rest_may_not_be() {
        let disk = FaultyDisk::new();
        let mut log = open(&disk);
        assert!(matches!(write(&mut log, b"one "), Written::All));
        log.sync_now().expect("a healthy disk");
        assert_eq!((log.synced(), log.accepted()), (4, 4));
        assert!(matches!(write(&mut log, b"two"), Written::All));
        assert_eq!((log.synced(), log.accepted(), log.len()), (4, 7, 7));
        assert_eq!(disk.restarted(Survives::Nothing).contents("a").as_deref(), Some(&b"one "[..]));
        assert_eq!(disk.contents("a").as_deref(), Some(&b"one two"[..]));
    }

    #[test]
    fn a_write_that_is_cut_short_leaves_whole_commands_and_is_made_up_for() {
        for taken in 1..4 {
            let disk = FaultyDisk::new();
            let mut log = open(&disk);
            assert!(matches!(write(&mut log, b"one "), Written::All));
            disk.fail(Call::Write, Fault::Short(taken, libc::ENOSPC));
            let Written::Failed(error) = write(&mut log, b"two ") else { panic!("the disk is full") };
            assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
            assert_eq!(disk.contents("a").as_deref(), Some(&b"one "[..]), "{taken}");
            assert_eq!((log.len(), log.accepted(), log.waiting_bytes()), (4, 8, 4));
            let both = log.write([b"thr", b"ee "], SyncPolicy::Never, 0, true, false);
            assert!(matches!(both, Written::Failed(_)));
            disk.heal();
            assert!(matches!(write(&mut log, b"four"), Written::All));
            assert_eq!(disk.contents("a").as_deref(), Some(&b"one two three four"[..]), "{taken}");
        }
    }

    #[test]
    fn a_part_that_cannot_be_cut_off_is_gone_on_with() {
        let disk = FaultyDisk::new();
        let mut log = open(&disk);
        disk.fail(Call::Write, Fault::Short(2, libc::ENOSPC));
        disk.fail(Call::SetLen, Fault::Error(libc::EIO));
        assert!(matches!(write(&mut log, b"one "), Written::Failed(_)));
        assert_eq!((log.len(), log.accepted(), log.waiting_bytes()), (2, 4, 2));
        disk.heal();
        assert!(matches!(write(&mut log, b"two"), Written::All));
        assert_eq!(disk.contents("a").as_deref(), Some(&b"one two"[..]));
    }

    #[test]
    fn nothing_counts_as_synced_when_forcing_it_to_disk_fails() {
        let disk = FaultyDisk::new();
        let mut log = open(&disk);
        disk.fail(Call::SyncData, Fault::Error(libc::EIO));
        assert!(matches!(write(&mut log, b"one"), Written::All));
        let error = log.sync_now().expect_err("a failing disk");
        assert_eq!(error.raw_os_error(), Some(libc::EIO));
        assert_eq!(log.synced(), 0);
        assert!(log.sync_failure().is_some());
        disk.heal();
        log.sync_now().expect("a healthy disk");
        assert_eq!((log.synced(), log.sync_failure()), (3, None));
    }

    #[test]
    fn files_are_forced_to_disk_in_order_and_one_sync_covers_all_that_waits() {
        let disk = FaultyDisk::new();
        let mut log = open(&disk);
        for _ in 0..100 {
            assert!(matches!(write(&mut log, b"x"), Written::All));
        }
        let before = disk.syncs();
        log.sync_now().expect("a healthy disk");
        assert_eq!(disk.syncs() - before, 1);
        assert!(matches!(write(&mut log, b"old"), Written::All));
        let next = disk.create(Path::new("b")).expect("a healthy disk");
        log.switch(next, 0).expect("a thread");
        assert!(matches!(write(&mut log, b"new"), Written::All));
        log.sync_now().expect("a healthy disk");
        let after = disk.restarted(Survives::Bytes);
        assert_eq!(log.synced(), 106);
        assert_eq!(disk.contents("b").as_deref(), Some(&b"new"[..]));
        assert!(after.contents("a").is_some_and(|bytes| bytes.ends_with(b"old")));
    }

    #[test]
    fn every_second_asks_the_thread_once_a_second_and_waits_for_a_busy_disk_only_so_long() {
        let disk = FaultyDisk::new();
        let mut log = open(&disk);
        let mut at = |now_ms: i64, bytes: &[u8]| {
            let written = log.write([bytes, b""], SyncPolicy::EverySecond, now_ms, true, false);
            let until = |done: &mut dyn FnMut() -> bool| {
                while !done() {
                    thread::yield_now()
                }
            };
            until(&mut || !log.is_syncing());
            (matches!(written, Written::All), log.accepted())
        };
        assert_eq!(at(10_000, b"one"), (true, 3));
        assert_eq!(at(10_100, b"two"), (true, 6));
        assert_eq!(at(11_100, b"six"), (true, 9));
        log.syncer.shared.busy.store(true, Ordering::SeqCst);
        log.append(b"mo");
        assert!(matches!(log.write([b"re", b""], SyncPolicy::EverySecond, 20_000, true, false), Written::PutOff));
        assert!(matches!(log.write([b"", b""], SyncPolicy::EverySecond, 21_999, true, false), Written::PutOff));
        assert_eq!(log.delayed(), 0);
        assert!(matches!(log.write([b"", b""], SyncPolicy::EverySecond, 22_000, true, false), Written::All));
        assert_eq!((log.delayed(), log.waiting_bytes()), (1, 0));
        assert!(matches!(log.write([b"forced", b""], SyncPolicy::EverySecond, 22_001, true, true), Written::All));
    }

    #[test]
    fn where_everybody_waits_turns_that_come_during_a_round_are_one_write() {
        let disk = FaultyDisk::new();
        let mut log = open(&disk);
        let before = disk.calls();
        let file = log.syncer.shared.state().files.back().map(|last| Arc::clone(&last.file)).expect("it was opened");
        let held = file.lock().expect("nobody has panicked");
        assert!(matches!(log.write([b"one ", b""], SyncPolicy::Always, 0, true, false), Written::All));
        while !log.is_syncing() {
            thread::yield_now();
        }
        for turn in [b"two ".as_slice(), b"three ", b"four "] {
            assert!(matches!(log.write([turn, b""], SyncPolicy::Always, 0, true, false), Written::All));
        }
        assert_eq!((log.accepted(), log.len(), log.synced()), (19, 19, 0));
        drop(held);
        log.syncer.wait(19).expect("a healthy disk");
        assert_eq!(disk.restarted(Survives::Nothing).contents("a").as_deref(), Some(&b"one two three four "[..]));
        // Two rounds of a write and a sync each.
        assert_eq!(disk.calls() - before, 4);
    }

    #[test]
    fn a_round_waits_for_as_many_as_came_the_last_time_unless_nobody_comes() {
        let disk = FaultyDisk::new();
        let mut log = open(&disk);
        // What a round takes is how long the next one waits.
        let slow = log.syncer.shared.state().files.back().map(|last| Arc::clone(&last.file)).expect("it was opened");
        let held = slow.lock().expect("nobody has panicked");
        assert!(matches!(log.write([b"as much as this", b""], SyncPolicy::Always, 0, true, false), Written::All));
        assert!(!log.is_gathering(), "the first one waits for nobody");
        let began = Instant::now();
        while began.elapsed() < GATHER_MAX {
            thread::yield_now();
        }
        drop(held);
        log.syncer.wait(15).expect("a healthy disk");
        let rests = |log: &Log| log.syncer.shared.state().rests;
        while !rests(&log) {
            thread::yield_now();
        }
        assert!(matches!(log.write([b"less", b""], SyncPolicy::Always, 0, true, false), Written::All));
        // Unless the test was interrupted for long, it waits: what was seen before it was over was seen meanwhile.
        let seen = (log.synced(), rests(&log));
        if log.is_gathering() {
            assert_eq!(seen, (15, true));
            log.hurry();
        }
        assert!(!log.is_gathering());
        log.syncer.wait(19).expect("a healthy disk");
        while !rests(&log) {
            thread::yield_now();
        }
        assert!(matches!(
            log.write([b"as much, no need to wait", b""], SyncPolicy::Always, 0, true, false),
            Written::All
        ));
        assert!(!log.is_gathering());
        log.syncer.wait(log.accepted()).expect("a healthy disk");
    }

    #[test]
    fn what_the_thread_was_given_stands_in_front_of_what_is_written_under_another_policy() {
        for _ in 0..100 {
            let disk = FaultyDisk::new();
            let mut log = open(&disk);
            let mut expected = Vec::new();
            for turn in 0..6_u8 {
                let policy = if turn % 3 == 2 { SyncPolicy::AtOnce } else { SyncPolicy::Always };
                assert!(matches!(log.write([&[b'a' + turn; 3], b""], policy, 0, true, false), Written::All));
                expected.extend([b'a' + turn; 3]);
            }
            log.sync_now().expect("a healthy disk");
            assert_eq!(disk.contents("a"), Some(expected));
            assert_eq!((log.len(), log.accepted(), log.synced()), (18, 18, 18));
        }
    }

    #[test]
    fn too_much_for_the_thread_to_have_is_written_at_once_and_in_order() {
        let disk = FaultyDisk::new();
        let mut log = open(&disk);
        assert!(matches!(log.write([b"first", b""], SyncPolicy::Always, 0, true, false), Written::All));
        let large = vec![b'x'; PENDING_BYTES_MAX + 1];
        assert!(matches!(log.write([&large, b""], SyncPolicy::Always, 0, true, false), Written::All));
        let contents = disk.contents("a").expect("the file");
        assert_eq!((contents.len(), contents.starts_with(b"firstx")), (large.len() + 5, true));
        log.syncer.wait(log.accepted()).expect("a healthy disk");
    }

    #[test]
    fn what_the_thread_could_not_write_is_not_lost() {
        for (taken, cut_fails) in [(1, false), (3, false), (2, true)] {
            let disk = FaultyDisk::new();
            let mut log = open(&disk);
            disk.fail(Call::Write, Fault::Short(taken, libc::ENOSPC));
            if cut_fails {
                disk.fail(Call::SetLen, Fault::Error(libc::EIO));
            }
            assert!(matches!(log.write([b"one ", b""], SyncPolicy::Always, 0, true, false), Written::All));
            let error = log.syncer.wait(4).expect_err("the disk is full");
            assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
            assert_eq!(disk.contents("a").map(|bytes| bytes.len()), Some(if cut_fails { taken } else { 0 }));
            assert!(log.has_failed() && log.synced() == 0);
            disk.heal();
            assert!(matches!(log.write([b"two", b""], SyncPolicy::EverySecond, 0, true, false), Written::All));
            assert_eq!(disk.contents("a").as_deref(), Some(&b"one two"[..]));
            log.sync_now().expect("a healthy disk");
            assert_eq!((log.len(), log.synced(), log.has_failed()), (7, 7, false));
        }
    }

    #[test]
    fn whoever_waits_is_woken_when_more_is_on_disk() {
        let disk = FaultyDisk::new();
        let woken = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&woken);
        let mut log = Log::new(Arc::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
        }));
        log.switch(disk.create(Path::new("a")).expect("a healthy disk"), 0).expect("a thread");
        log.await_sync(true);
        assert!(matches!(log.write([b"one", b""], SyncPolicy::Always, 0, true, false), Written::All));
        log.syncer.wait(3).expect("a healthy disk");
        while woken.load(Ordering::SeqCst) == 0 {
            thread::yield_now();
        }
        assert_eq!(log.synced(), 3);
    }

    const JOURNAL: &str = "dir/journal";

    fn use_journal(log: &mut Log, disk: &FaultyDisk, name: &str) {
        // So small that its halves take turns often, and that some rounds are too large for it.
        log.use_journal(JournalPlace {
            disk: Arc::new(disk.clone()),
            path: PathBuf::from(JOURNAL),
            bytes: 64 * 1024,
            name: name.as_bytes().to_vec(),
        });
    }

    fn with_folder() -> FaultyDisk {
        let disk = FaultyDisk::new();
        disk.make_folder(Path::new("dir")).expect("a healthy disk");
        disk.sync_folder(Path::new("")).expect("a healthy disk");
        disk
    }

    /// Writes rounds of every size to two files, one after the other, under policies that change, and ends properly. Returns how
    /// many rounds went to the journal. `acknowledged` hears of what was said to be on disk.
    fn live(disk: &FaultyDisk, acknowledged: &mut Vec<Vec<u8>>) -> io::Result<u32> {
        let mut log = Log::new(Arc::new(|| {}));
        let mut journaled = 0;
        for (number, name) in ["a", "b"].into_iter().enumerate() {
            let file = disk.create(&Path::new("dir").join(name))?;
            disk.sync_folder(Path::new("dir"))?;
            log.switch(file, 0)?;
            use_journal(&mut log, disk, name);
            acknowledged.push(Vec::new());
            for round in 0..90_usize {
                let len = if round % 30 == 7 { 40_000 } else { [5, 400, 9_000, 5_000][(round + number) % 4] };
                let bytes = vec![b'a' + (round % 26) as u8; len];
                let policy = match round {
                    70..80 => SyncPolicy::AtOnce,
                    _ => SyncPolicy::Always,
                };
                if let Written::Failed(error) = log.write([&bytes, b""], policy, 0, true, round == 50) {
                    return Err(error);
                }
                log.syncer.wait(log.accepted())?;
                journaled += u32::from(log.is_journaling());
                acknowledged.last_mut().expect("just pushed").extend(bytes);
            }
        }
        log.sync_now()?;
        Ok(journaled)
    }

    fn check_after(disk: &FaultyDisk, acknowledged: &[Vec<u8>], what: &str) {
        let (path, folder) = (Path::new(JOURNAL), Path::new("dir"));
        super::super::journal::restore(disk, path, folder, &[b"a", b"b"]).expect("a healthy disk");
        for (name, bytes) in ["a", "b"].into_iter().zip(acknowledged) {
            let there = disk.contents(folder.join(name)).unwrap_or_default();
            assert!(there.starts_with(bytes), "{what}: {name} has {} bytes of {}", there.len(), bytes.len());
        }
    }

    #[test]
    fn a_crash_between_any_two_calls_loses_nothing_that_the_journal_had() {
        let disk = with_folder();
        let before = disk.calls();
        let mut acknowledged = Vec::new();
        let journaled = live(&disk, &mut acknowledged).expect("a healthy disk");
        assert!(journaled > 60, "{journaled}");
        assert_eq!(disk.contents(JOURNAL), None, "it ended properly");
        check_after(&disk.restarted(Survives::Nothing), &acknowledged, "after all");
        // Threads make it a little different each time.
        let calls = disk.calls() - before + 20;
        let mut in_the_middle = 0;
        for call in (0..calls).step_by(3) {
            let disk = with_folder();
            disk.crash_at(disk.calls() + call);
            let mut acknowledged = Vec::new();
            in_the_middle += u32::from(live(&disk, &mut acknowledged).is_err());
            for survives in Survives::ALL {
                check_after(&disk.restarted(survives), &acknowledged, &format!("call {call}, {survives:?}"));
            }
        }
        assert!(in_the_middle > 100, "{in_the_middle}");
    }

    #[test]
    fn a_journal_that_cannot_be_made_or_written_is_done_without() {
        for call in [Call::InPlace, Call::WriteAt] {
            let disk = with_folder();
            disk.fail(call, Fault::Error(libc::ENOSPC));
            let mut acknowledged = Vec::new();
            let journaled = live(&disk, &mut acknowledged).expect("a disk that has room for the file");
            assert_eq!(journaled, 0, "{call:?}");
            check_after(&disk.restarted(Survives::Nothing), &acknowledged, "a failing journal");
        }
    }

    #[test]
    fn what_cannot_be_forced_to_disk_behind_the_journal_is_told_and_put_back_even_without_a_crash() {
        let disk = with_folder();
        let mut log = Log::new(Arc::new(|| {}));
        let file = disk.create(Path::new("dir/a")).expect("a healthy disk");
        disk.sync_folder(Path::new("dir")).expect("a healthy disk");
        log.switch(file, 0).expect("a thread");
        use_journal(&mut log, &disk, "a");
        let mut acknowledged = Vec::new();
        let round = |log: &mut Log, acknowledged: &mut Vec<u8>| {
            let bytes = vec![b'a' + (acknowledged.len() / 5_000 % 26) as u8; 5_000];
            let written = log.write([&bytes, b""], SyncPolicy::Always, 0, true, false);
            assert!(matches!(written, Written::All));
            let on_disk = log.syncer.wait(log.accepted());
            acknowledged.extend_from_slice(if on_disk.is_ok() { &bytes } else { b"" });
            on_disk
        };
        while !log.is_journaling() {
            round(&mut log, &mut acknowledged).expect("a healthy disk");
        }
        disk.fail(Call::SyncData, Fault::Error(libc::EIO));
        let mut rounds = 0;
        let error = loop {
            rounds += 1;
            assert!(rounds < 100, "nobody has noticed");
            match round(&mut log, &mut acknowledged) {
                Ok(()) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(error.raw_os_error(), Some(libc::EIO));
        assert!(log.has_failed() && rounds > 2, "{rounds}");
        drop(log);
        disk.heal();
        disk.drop_unforced();
        assert!(disk.contents("dir/a").expect("the file").len() < acknowledged.len());
        check_after(&disk, &[acknowledged], "the same run of the machine");
    }

    #[test]
    fn what_is_only_in_the_journal_is_in_the_file_on_disk_when_nothing_comes() {
        let disk = with_folder();
        let mut log = Log::new(Arc::new(|| {}));
        log.switch(disk.create(Path::new("dir/a")).expect("a healthy disk"), 0).expect("a thread");
        disk.sync_folder(Path::new("dir")).expect("a healthy disk");
        use_journal(&mut log, &disk, "a");
        let mut len = 0;
        while !log.is_journaling() {
            assert!(matches!(log.write([b"one ", b""], SyncPolicy::Always, 0, true, false), Written::All));
            log.syncer.wait(log.accepted()).expect("a healthy disk");
            len += 4;
        }
        let on_disk = || disk.restarted(Survives::Nothing).contents("dir/a").expect("the file").len();
        assert!(on_disk() < len);
        while on_disk() < len {
            thread::yield_now();
        }
    }
}
