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
//! What was not written whole is cut off again, so that the file ends behind whole commands; the rest stays in the buffer until
//! the disk takes it. How the thread forces bytes to disk stands in [`super::syncer`].
//!
//! What must stay true: `synced <= written <= accepted`, and whatever lies below `synced` is on disk.

use super::keeper::JournalPlace;
use super::syncer::{BUFFER_KEEP_BYTES, Syncer, write_to};
use crate::disk::DataFile;
use std::fmt;
use std::io;
use std::sync::Arc;

/// With so many bytes in the buffer a write is no longer put off because the disk is busy: the loop waits for it.
const BEHIND_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The same after so many ms.
const BEHIND_MS_MAX: i64 = 2_000;
/// How often, in ms, written bytes are forced to disk where that is not done at once.
const SYNC_EVERY_MS: i64 = 1_000;

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
        self.syncer.use_journal(place);
    }

    /// Whether the last round has gone to a journal.
    pub fn is_journaling(&self) -> bool {
        self.syncer.is_journaling()
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
        self.syncer.end_journal(self.written);
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
        self.syncer.is_gathering()
    }

    /// Nothing more comes along: what waits is forced to disk.
    pub fn hurry(&self) {
        self.syncer.hurry();
    }

    /// Says whether somebody waits for bytes to be on disk: only then the thread calls `wake` when they are.
    pub fn await_sync(&self, awaited: bool) {
        self.syncer.await_sync(awaited);
    }
}

#[cfg(test)]
mod tests {
    use super::super::syncer::{GATHER_MAX, PENDING_BYTES_MAX};
    use super::*;
    use crate::disk::Disk;
    use crate::disk::faults::{Call, Fault, FaultyDisk, Survives};
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread;
    use std::time::Instant;

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
