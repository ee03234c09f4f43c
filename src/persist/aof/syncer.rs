//! The thread that forces the append-only file to disk.
//!
//! One fdatasync covers everything that was written when it began, so however many wait for the disk, there is one at a time: a
//! *round*. Where clients wait for each of them, the next one begins when about as much has come as the last two rounds had
//! together, when the loop has nothing else to do ([`Syncer::hurry`]), or when as much time has gone by as one takes: those
//! who were just answered come again at once, and one fdatasync for all of them is twice as good as one for the quicker and
//! one for the slower. Where that has not paid the next one begins at once, for a disk that is quicker than they come then
//! works for one half while the other is on its way.
//!
//! Such rounds go to a journal beside the file instead, once there is one ([`super::keeper`]); the file is forced to disk
//! behind them, about once a second. A file that is replaced by the next, or ended, is forced to disk as a whole first.

use super::keeper::{JournalPlace, Keeper, SETTLE_AFTER};
use super::log::Wake;
use crate::disk::DataFile;
use crate::threads;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A round waits for others to come along as long as the last one has taken, and no longer than this.
pub(super) const GATHER_MAX: Duration = Duration::from_millis(4);
/// Where waiting does not pay, every so manieth round does, to see whether that is still so.
const ROUNDS_UNTIL_LOOK: u32 = 32;
/// The thread is given bytes to write as long as no more than these wait.
pub(super) const PENDING_BYTES_MAX: usize = 1024 * 1024;
/// Memory that an empty buffer keeps.
pub(super) const BUFFER_KEEP_BYTES: usize = 1024 * 1024;

/// The thread that forces files to disk.
pub(super) struct Syncer {
    pub(super) shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What it shares with who uses it.
pub(super) struct Shared {
    state: Mutex<State>,
    work: Condvar,
    progress: Condvar,
    synced: AtomicU64,
    pub(super) busy: AtomicBool,
    failed: AtomicBool,
    awaited: AtomicBool,
    /// A round waits for others to come along.
    gathering: AtomicBool,
    /// The last round has gone to a journal.
    journaling: AtomicBool,
    wake: Wake,
}

#[derive(Default)]
pub(super) struct State {
    /// The files that are not on disk as a whole, the one that is written to last.
    pub(super) files: VecDeque<Unsynced>,
    error: Option<io::Error>,
    ends: bool,
    /// Everything is to be on disk in the files, and the journal is to go.
    ends_journal: bool,
    /// The thread does nothing until it is notified.
    pub(super) rests: bool,
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

/// A file that is not on disk as a whole.
pub(super) struct Unsynced {
    pub(super) file: Arc<Mutex<Box<dyn DataFile>>>,
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

impl Unsynced {
    /// Whether there is something to be forced to disk.
    fn is_due(&self) -> bool {
        self.done < self.target || self.whole
    }
}

impl Syncer {
    pub(super) fn new(wake: Wake) -> Syncer {
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

    pub(super) fn start(&mut self) -> io::Result<()> {
        if self.thread.is_none() {
            let shared = Arc::clone(&self.shared);
            let thread = threads::spawn("weir-aof", move || shared.run())?;
            self.thread = Some(thread);
        }
        Ok(())
    }

    pub(super) fn switch(&self, file: Box<dyn DataFile>, written: u64) {
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

    pub(super) fn request(&self, written: u64, gathers: bool) {
        self.shared.request(self.shared.state(), written, gathers);
    }

    /// Has the thread write `parts` to the last file, which has `len` bytes, and force them to disk; `written` is the position
    /// in front of them. Not where too much waits already.
    pub(super) fn hand_over(&self, parts: &[&[u8]], len: u64, written: u64) -> bool {
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

    pub(super) fn pending(&self, size: fn(&Vec<u8>) -> usize) -> usize {
        self.shared.state().files.iter().map(|file| size(&file.pending)).sum()
    }

    /// What was handed over and is not being written. Waits for a write that is under way.
    pub(super) fn take_back(&self) -> Option<Vec<u8>> {
        let writes = |state: &mut State| state.files.back().is_some_and(|last| last.writes);
        let state = self.shared.progress.wait_while(self.shared.state(), writes);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        let last = state.files.back_mut().filter(|last| !last.pending.is_empty())?;
        last.target -= last.pending.len() as u64;
        Some(std::mem::take(&mut last.pending))
    }

    /// What lies below this position is of no interest any more, whether it is on disk or not.
    pub(super) fn give_up(&self, position: u64) {
        let mut state = self.shared.state();
        state.files.retain(|file| file.wanted && file.is_due());
        if state.files.is_empty() {
            self.shared.synced.store(position, Ordering::SeqCst);
        }
        state.error = None;
        self.shared.failed.store(false, Ordering::SeqCst);
    }

    pub(super) fn hurry(&self) {
        let mut state = self.shared.state();
        state.hurries = true;
        self.shared.go_on(state);
    }

    pub(super) fn wait(&self, position: u64) -> io::Result<()> {
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

    pub(super) fn synced(&self) -> u64 {
        self.shared.synced.load(Ordering::SeqCst)
    }

    pub(super) fn is_busy(&self) -> bool {
        self.shared.busy.load(Ordering::SeqCst)
    }

    pub(super) fn has_failed(&self) -> bool {
        self.shared.failed.load(Ordering::SeqCst)
    }

    pub(super) fn failure(&self) -> Option<String> {
        if !self.has_failed() {
            return None;
        }
        Some(self.shared.state().error.as_ref().map_or_else(|| "unknown".to_owned(), |error| error.to_string()))
    }

    /// Rounds for the last file go to this journal from now on.
    pub(super) fn use_journal(&self, place: JournalPlace) {
        if let Some(last) = self.shared.state().files.back_mut() {
            last.journal = Some(Arc::new(place));
        }
    }

    /// Has everything up to `written` forced to disk in the files themselves, and the journal removed.
    pub(super) fn end_journal(&self, written: u64) {
        let mut state = self.shared.state();
        state.ends_journal = true;
        self.shared.request(state, written, false);
    }

    pub(super) fn is_journaling(&self) -> bool {
        self.shared.journaling.load(Ordering::SeqCst)
    }

    #[inline]
    pub(super) fn is_gathering(&self) -> bool {
        self.shared.gathering.load(Ordering::SeqCst)
    }

    pub(super) fn await_sync(&self, awaited: bool) {
        self.shared.awaited.store(awaited, Ordering::SeqCst);
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
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
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

/// Writes to a file that has `len` bytes. Gives what is left to be written: all of it where only a part was taken, which is
/// cut off again.
pub(super) fn write_to<'b>(file: &mut dyn DataFile, len: u64, bytes: &'b [u8]) -> (&'b [u8], io::Result<()>) {
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
