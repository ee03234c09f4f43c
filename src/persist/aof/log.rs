//! The end of the append-only file that is written: bytes go to the system at once, and to disk by a thread.
//!
//! ```text
//!  append ─► buffer ─► write ─► the system ··· fdatasync on the thread ··· on disk
//!          accepted           written                                    synced        (positions, counted over all files)
//! ```
//!
//! One fdatasync covers everything that was written when it began, so however many wait for the disk, there is one at a
//! time. Where clients wait for each of them, the next one begins when about as much has come as the last two rounds had
//! together, or a fraction of the time that one takes has gone by: those who were just answered come again at once, and one
//! fdatasync for all of them is twice as good as one for the quicker and one for the slower. What was not written whole is cut off again, so that the file ends behind whole commands; the rest stays in the
//! buffer until the disk takes it.
//!
//! What must stay true: `synced <= written <= accepted`, and whatever lies below `synced` is on disk.

use crate::disk::DataFile;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// With so many bytes in the buffer a write is no longer put off because the disk is busy: the loop waits for it.
const BEHIND_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The same after so many ms.
const BEHIND_MS_MAX: i64 = 2_000;
/// How often, in ms, written bytes are forced to disk where that is not done at once.
const SYNC_EVERY_MS: i64 = 1_000;
/// The thread waits so long at most for others to come along: this part of what the disk has taken the last time,
const GATHER_PART: u32 = 4;
/// and no more than this.
const GATHER_MAX: Duration = Duration::from_millis(4);
/// Memory that an empty buffer keeps.
const BUFFER_KEEP_BYTES: usize = 1024 * 1024;

/// When bytes are forced to disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SyncPolicy {
    /// Before anybody hears of what they say.
    Always,
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

    /// There is no file any more. What was written is forced to disk by the thread; what was not is forgotten.
    pub fn close(&mut self) {
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

    /// Writes what is in the buffer, then `fresh`, which are whole commands; has it forced to disk as `policy` says. What
    /// could not be written is in the buffer afterwards. `may_sync`: the thread may be asked now. `forced`: nothing is put
    /// off.
    pub fn write(&mut self, fresh: &[u8], policy: SyncPolicy, now_ms: i64, may_sync: bool, forced: bool) -> Written {
        if self.buffer.is_empty() && fresh.is_empty() {
            self.sync(policy, now_ms, may_sync);
            return Written::All;
        }
        // While it is being forced to disk, some systems let a write wait for that.
        if policy == SyncPolicy::EverySecond && !forced && self.syncer.is_busy() {
            let since_ms = *self.put_off_ms.get_or_insert(now_ms);
            let behind_bytes = self.buffer.len() + fresh.len();
            if (0..BEHIND_MS_MAX).contains(&(now_ms - since_ms)) && behind_bytes < BEHIND_BYTES_MAX {
                self.append(fresh);
                return Written::PutOff;
            }
            self.delayed += 1;
            tracing::warn!(
                "the append-only file is forced to disk more slowly than changes come: is the disk busy? Writing without \
                 waiting for it, which may slow the server down"
            );
        }
        self.put_off_ms = None;
        if let Err(error) = self.write_out(fresh) {
            return Written::Failed(error);
        }
        self.sync(policy, now_ms, may_sync);
        Written::All
    }

    fn write_out(&mut self, fresh: &[u8]) -> io::Result<()> {
        if self.buffer.is_empty() {
            // What comes in a turn goes to the system from where it is.
            let (left, result) = self.write_to_file(fresh);
            self.buffer.extend_from_slice(left);
            return result;
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.extend_from_slice(fresh);
        let (left, result) = self.write_to_file(&buffer);
        let taken = buffer.len() - left.len();
        buffer.drain(..taken);
        buffer.shrink_to(BUFFER_KEEP_BYTES);
        self.buffer = buffer;
        result
    }

    /// Gives what is left to be written; all of it where only a part was taken, which is cut off again.
    fn write_to_file<'b>(&mut self, bytes: &'b [u8]) -> (&'b [u8], io::Result<()>) {
        let Some(file) = &mut self.file else { return (bytes, Ok(())) };
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
            match file.set_len(self.len) {
                Ok(()) => left = bytes,
                // Then the part stays, and what is left is what goes behind it.
                Err(cut) => {
                    tracing::error!("could not cut a half-written append-only file off at byte {}: {cut}", self.len);
                }
            }
        }
        let taken = (bytes.len() - left.len()) as u64;
        self.len += taken;
        self.written += taken;
        (left, result)
    }

    fn sync(&mut self, policy: SyncPolicy, now_ms: i64, may_sync: bool) {
        let due = match policy {
            // Where that has failed, what is on disk is not known any more: trying again would prove nothing.
            SyncPolicy::Always => !self.syncer.has_failed(),
            SyncPolicy::EverySecond => {
                may_sync
                    && !(0..SYNC_EVERY_MS).contains(&(now_ms - self.synced_ms))
                    && (!self.syncer.is_busy() || self.syncer.has_failed())
            }
            SyncPolicy::Never => false,
        };
        if due && self.synced() < self.written {
            self.synced_ms = now_ms;
            self.syncer.request(self.written, policy == SyncPolicy::Always);
        }
    }

    /// Writes and forces everything to disk before it returns.
    ///
    /// # Errors
    /// What failed.
    pub fn sync_now(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            return Ok(());
        }
        self.write_out(&[])?;
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

    /// Bytes of heap behind the buffer.
    pub fn buffer_bytes(&self) -> usize {
        self.buffer.capacity()
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

    /// Says whether somebody waits for bytes to be on disk: only then the thread calls `wake` when they are.
    pub fn await_sync(&self, awaited: bool) {
        self.syncer.shared.awaited.store(awaited, Ordering::SeqCst);
    }
}

/// The thread that forces files to disk.
struct Syncer {
    shared: Arc<Shared>,
    thread: Option<thread::JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    progress: Condvar,
    synced: AtomicU64,
    busy: AtomicBool,
    failed: AtomicBool,
    awaited: AtomicBool,
    wake: Wake,
}

#[derive(Default)]
struct State {
    /// The files that are not on disk as a whole, the one that is written to last.
    files: VecDeque<Unsynced>,
    error: Option<io::Error>,
    ends: bool,
    /// More is likely to come at once.
    gathers: bool,
    /// Bytes that the last round forced to disk, and that had come for the next one when it ended.
    last_bytes: u64,
    next_bytes: u64,
    /// How long it took.
    last_took: Duration,
}

impl State {
    /// Bytes that wait to be forced to disk.
    fn waiting_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.target - file.done).sum()
    }

    /// Whether to wait for more before the next round.
    fn gathers_more(&self) -> bool {
        self.gathers && !self.ends && self.files.len() == 1 && self.waiting_bytes() < self.last_bytes + self.next_bytes
    }
}

struct Unsynced {
    file: Arc<Mutex<Box<dyn DataFile>>>,
    /// Up to where it was forced to disk, and is to be.
    done: u64,
    target: u64,
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
            wake,
        };
        Syncer { shared: Arc::new(shared), thread: None }
    }

    fn start(&mut self) -> io::Result<()> {
        if self.thread.is_none() {
            let shared = Arc::clone(&self.shared);
            let thread = thread::Builder::new().name("weir-aof".to_owned()).spawn(move || shared.run())?;
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
        }
        let file = Arc::new(Mutex::new(file));
        state.files.push_back(Unsynced { file, done: written, target: written, wanted: false });
        self.shared.work.notify_one();
    }

    fn request(&self, written: u64, gathers: bool) {
        let mut state = self.shared.state();
        state.gathers = gathers;
        if let Some(last) = state.files.back_mut() {
            last.target = last.target.max(written);
        }
        for file in &mut state.files {
            file.wanted |= file.target > file.done;
        }
        self.shared.work.notify_one();
    }

    /// What lies below this position is of no interest any more, whether it is on disk or not.
    fn give_up(&self, position: u64) {
        let mut state = self.shared.state();
        state.files.retain_mut(|file| file.wanted && file.target > file.done);
        if state.files.is_empty() {
            self.shared.synced.store(position, Ordering::SeqCst);
        }
        state.error = None;
        self.shared.failed.store(false, Ordering::SeqCst);
    }

    fn wait(&self, position: u64) -> io::Result<()> {
        let waiting = |state: &mut State| {
            let tries = state.files.iter().any(|file| file.wanted && file.target > file.done);
            self.synced() < position && (tries || self.is_busy())
        };
        let mut state =
            self.shared.progress.wait_while(self.shared.state(), waiting).unwrap_or_else(PoisonError::into_inner);
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

    fn run(&self) {
        let mut state = self.state();
        let mut gathered = false;
        loop {
            while state.files.len() > 1 && state.files.front().is_some_and(|file| file.done >= file.target) {
                state.files.pop_front();
            }
            let next = state.files.iter().find(|file| file.done < file.target);
            let is_wanted = next.is_some_and(|next| next.wanted);
            if is_wanted && !gathered && state.gathers_more() {
                let patience = (state.last_took / GATHER_PART).min(GATHER_MAX);
                let waited = self.work.wait_timeout_while(state, patience, |state| state.gathers_more());
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
                gathered = true;
                continue;
            }
            gathered = false;
            let Some((file, target)) = next.filter(|_| is_wanted).map(|next| (Arc::clone(&next.file), next.target))
            else {
                if state.ends {
                    return;
                }
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            self.busy.store(true, Ordering::SeqCst);
            state.last_bytes = state.waiting_bytes();
            drop(state);
            let began = Instant::now();
            let result = file.lock().unwrap_or_else(PoisonError::into_inner).sync_data();
            state = self.state();
            self.busy.store(false, Ordering::SeqCst);
            let failed = result.is_err();
            if let Some(synced) = state.files.iter_mut().find(|other| Arc::ptr_eq(&other.file, &file)) {
                if failed {
                    synced.wanted = false;
                } else {
                    synced.done = target;
                }
                synced.wanted &= synced.done < synced.target;
            }
            state.last_took = began.elapsed();
            state.next_bytes = state.waiting_bytes();
            state.error = result.err();
            self.failed.store(failed, Ordering::SeqCst);
            if !failed {
                self.synced.fetch_max(target, Ordering::SeqCst);
            }
            self.progress.notify_all();
            if failed || self.awaited.load(Ordering::SeqCst) {
                (self.wake)();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Disk;
    use crate::disk::faults::{Call, Fault, FaultyDisk, Survives};
    use std::path::Path;

    fn open(disk: &FaultyDisk) -> Log {
        let mut log = Log::new(Arc::new(|| {}));
        let file = disk.create(Path::new("a")).expect("a healthy disk");
        disk.sync_folder(Path::new("")).expect("a healthy disk");
        log.switch(file, 0).expect("a thread");
        log
    }

    fn write(log: &mut Log, bytes: &[u8]) -> Written {
        log.write(bytes, SyncPolicy::Never, 0, true, false)
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
            assert!(matches!(write(&mut log, b"three "), Written::Failed(_)));
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
            let written = log.write(bytes, SyncPolicy::EverySecond, now_ms, true, false);
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
        assert!(matches!(log.write(b"re", SyncPolicy::EverySecond, 20_000, true, false), Written::PutOff));
        assert!(matches!(log.write(b"", SyncPolicy::EverySecond, 21_999, true, false), Written::PutOff));
        assert_eq!(log.delayed(), 0);
        assert!(matches!(log.write(b"", SyncPolicy::EverySecond, 22_000, true, false), Written::All));
        assert_eq!((log.delayed(), log.waiting_bytes()), (1, 0));
        assert!(matches!(log.write(b"forced", SyncPolicy::EverySecond, 22_001, true, true), Written::All));
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
        assert!(matches!(log.write(b"one", SyncPolicy::Always, 0, true, false), Written::All));
        log.syncer.wait(3).expect("a healthy disk");
        while woken.load(Ordering::SeqCst) == 0 {
            thread::yield_now();
        }
        assert_eq!(log.synced(), 3);
    }
}
