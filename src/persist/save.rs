//! Writing a snapshot: the executor puts values together as drafts, a thread makes a file of them.
//!
//! ```text
//!  store ──entries──► Encoder ──drafts──► thread: compress, sum up, write, force to disk, rename
//! ```

use super::aof::base::{CommandEncoder, TakeDrafts};
use crate::disk::{DataFile, Disk, folder_of, replace_file};
use crate::store::{Access, KeyHead, Recorder, Store};
use crate::threads;
use std::collections::{BTreeSet, VecDeque};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use weir_rdb::KeyFacts;
use weir_rdb::encode::{Forms, Needs, put_frozen_end, put_frozen_part};
use weir_rdb::value::Dialect;
use weir_rdb::write::{Compress, Draft};
use weir_rdb::writer::{self, SnapshotWriter};
use weir_structs::entry::EntryRef;
use weir_structs::frozen::{FrozenHead, FrozenPart};
use weir_structs::queue::WrittenParcels;

/// A draft goes to the thread when it has so many bytes.
const DRAFT_BYTES: usize = 256 * 1024;
/// Values of some hundred bytes may come on top of that.
const DRAFT_ROOM_BYTES: usize = DRAFT_BYTES + 16 * 1024;
/// So many bytes are written before the file is forced to disk in between, if that is wanted: so that the end has not to
/// wait for all of them.
const SYNC_EVERY_BYTES: usize = 32 * 1024 * 1024;

/// How long is waited for the thread before the process ends: a disk that does not answer must not hold that up, and a machine
/// that is busy must not have the file left behind.
const GIVE_UP_WAIT: Duration = Duration::from_secs(5);

/// What a snapshot says of the server that wrote it, and how it is to be written.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The version of Redis that it is like.
    pub redis_version: &'static str,
    /// Unix time in seconds.
    pub now_s: i64,
    /// Bytes in use.
    pub used_memory: usize,
    /// How values are written.
    pub forms: Forms,
    /// Whether a checksum is written at the end.
    pub with_checksum: bool,
    /// Whether it is noted how long ago, or how often, keys were used.
    pub with_access: bool,
    /// In which form everything is written.
    pub form: Form,
    /// Whether it is the base of an append-only file.
    pub is_aof_base: bool,
    /// Whether the file is forced to disk in between.
    pub syncs_often: bool,
    /// The sources of the libraries of functions.
    pub functions: &'a [&'a [u8]],
    /// Further commands that belong in front of the keys, as multibulk.
    pub commands: &'a [u8],
}

/// The auxiliary field of a snapshot that has commands.
pub(in crate::persist) const COMMANDS_AUX: &str = "weir-commands";

/// What a file of everything is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// A snapshot.
    Snapshot,
    /// Commands, behind a remark that they are of this time (Unix time in seconds).
    Commands {
        /// The time, if it is to be told.
        stamped_s: Option<i64>,
    },
}

/// A snapshot file that is being written. It replaces the one at its path when it is complete; if it is dropped before
/// that, or something fails, nothing of it stays.
#[derive(Debug)]
pub struct SnapshotFile {
    link: Arc<Link>,
}

/// What executor and thread have in common.
#[derive(Debug, Default)]
struct Link {
    state: Mutex<State>,
    /// There is something to do for the thread.
    work: Condvar,
    /// The thread has come on.
    progress: Condvar,
}

#[derive(Debug, Default)]
struct State {
    drafts: VecDeque<Draft>,
    /// Bytes of them, and of the one in work.
    waiting_bytes: usize,
    /// Bytes that come to the thread when the big collection that they stand behind has been given.
    behind_bytes: usize,
    /// Nothing comes after them.
    is_complete: bool,
    is_cancelled: bool,
    written_bytes: u64,
    result: Option<io::Result<u64>>,
    /// What is to be let go of at the end.
    written: WrittenParcels,
}

impl Link {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SnapshotFile {
    /// Begins a snapshot of everything in `store`, to be written to the file at `path`: the store gives its entries out
    /// with [`Store::snapshot_step`] from now on.
    ///
    /// # Errors
    /// There is no thread for it. What else may go wrong is the result of the file.
    pub fn begin(disk: Arc<dyn Disk>, path: &Path, store: &mut Store, origin: Origin<'_>) -> io::Result<SnapshotFile> {
        let link = Arc::new(Link::default());
        let (shared, path) = (Arc::clone(&link), path.to_owned());
        let how = WriteHow {
            plain: origin.form != Form::Snapshot,
            with_checksum: origin.with_checksum,
            syncs_often: origin.syncs_often,
        };
        threads::spawn("weir-save", move || shared.save(&*disk, &path, how))?;
        match origin.form {
            Form::Snapshot => store.begin_snapshot(Box::new(Encoder::new(store, origin, Arc::clone(&link)))),
            Form::Commands { stamped_s } => {
                let send = Sender(Arc::clone(&link));
                store.begin_snapshot(Box::new(CommandEncoder::new(
                    origin.functions,
                    origin.commands,
                    stamped_s,
                    DRAFT_BYTES,
                    send,
                )));
            }
        }
        Ok(SnapshotFile { link })
    }

    /// Bytes that wait to be written: for the disk, and behind a big collection that is being given.
    pub fn waiting_bytes(&self) -> usize {
        let state = self.link.state();
        state.waiting_bytes + state.behind_bytes
    }

    /// Bytes that wait for nothing but the disk. The others wait for more to be given.
    pub fn ahead_bytes(&self) -> usize {
        self.link.state().waiting_bytes
    }

    /// Bytes of the file so far.
    pub fn written_bytes(&self) -> u64 {
        self.link.state().written_bytes
    }

    /// How it ended, if it has: the size of the file, or what failed.
    pub fn take_result(&mut self) -> Option<io::Result<u64>> {
        self.link.state().result.take()
    }

    /// Waits until no more than `bytes` wait for the disk, or something has failed.
    pub fn wait_below(&self, bytes: usize) {
        let state = self.link.state();
        let done = self.link.progress.wait_while(state, |state| state.waiting_bytes > bytes && state.result.is_none());
        drop(done);
    }

    /// Gives it up, and waits a moment for the file to be taken away: before the process ends.
    pub fn give_up(self) {
        let link = Arc::clone(&self.link);
        drop(self);
        let going_on = |state: &mut State| state.result.is_none();
        drop(link.progress.wait_timeout_while(link.state(), GIVE_UP_WAIT, going_on));
    }

    /// Waits for the end, after everything was given.
    ///
    /// # Errors
    /// What failed.
    pub fn wait(self) -> io::Result<u64> {
        let state = self.link.state();
        let done = self.link.progress.wait_while(state, |state| state.result.is_none());
        done.unwrap_or_else(PoisonError::into_inner).result.take().unwrap_or(Ok(0))
    }
}

impl Drop for SnapshotFile {
    fn drop(&mut self) {
        let mut state = self.link.state();
        state.is_cancelled = true;
        state.drafts.clear();
        self.link.work.notify_one();
    }
}

impl Link {
    /// What the thread does.
    fn save(&self, disk: &dyn Disk, path: &Path, how: WriteHow) {
        let number = Number::take();
        let result = replace_file(disk, path, &temporary_beside(path, &number), |file| self.write(file, how));
        drop(number);
        let mut state = self.state();
        state.drafts.clear();
        state.result = Some(result);
        self.progress.notify_all();
        let written = std::mem::take(&mut state.written);
        drop(state);
        drop(written);
    }

    /// Writes drafts until the last one is written.
    fn write(&self, file: &mut dyn DataFile, how: WriteHow) -> io::Result<u64> {
        let synced = Synced { file, unsynced: 0, often: how.syncs_often };
        if how.plain {
            return self.write_plain(synced);
        }
        let mut writer = SnapshotWriter::new(synced, how.with_checksum);
        while let Some(draft) = self.next()? {
            writer.write(&draft)?;
            let mut state = self.state();
            state.waiting_bytes -= draft.len();
            state.written_bytes = writer.written();
            self.progress.notify_all();
        }
        let (_, bytes) = writer.end()?;
        Ok(bytes)
    }

    fn write_plain(&self, mut file: Synced<'_>) -> io::Result<u64> {
        let mut written = 0;
        while let Some(draft) = self.next()? {
            let waited = draft.len();
            file.write_all(&draft.into_bytes())?;
            written += waited as u64;
            let mut state = self.state();
            state.waiting_bytes -= waited;
            state.written_bytes = written;
            self.progress.notify_all();
        }
        Ok(written)
    }

    /// Waits for the next draft; `None` when all are written.
    fn next(&self) -> io::Result<Option<Draft>> {
        let idle = |state: &mut State| state.drafts.is_empty() && !state.is_complete && !state.is_cancelled;
        let mut state = self.work.wait_while(self.state(), idle).unwrap_or_else(PoisonError::into_inner);
        if state.is_cancelled {
            return Err(io::Error::other("cancelled"));
        }
        Ok(state.drafts.pop_front())
    }

    fn send(&self, draft: Draft) {
        let mut state = self.state();
        if state.result.is_none() && !state.is_cancelled {
            state.waiting_bytes += draft.len();
            state.drafts.push_back(draft);
            self.work.notify_one();
        }
    }
}

/// Hands drafts to the thread.
#[derive(Debug)]
struct Sender(Arc<Link>);

impl TakeDrafts for Sender {
    fn take(&mut self, draft: Draft) {
        self.0.send(draft);
    }

    fn end(&mut self) {
        self.0.state().is_complete = true;
        self.0.work.notify_one();
    }
}

/// How drafts become a file.
#[derive(Clone, Copy)]
struct WriteHow {
    /// Drafts are the file, with nothing around them.
    plain: bool,
    with_checksum: bool,
    syncs_often: bool,
}

/// A file that is forced to disk now and then.
struct Synced<'f> {
    file: &'f mut dyn DataFile,
    unsynced: usize,
    often: bool,
}

impl Write for Synced<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.unsynced += written;
        if self.often && self.unsynced >= SYNC_EVERY_BYTES {
            self.file.sync_data()?;
            self.unsynced = 0;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Makes records of entries.
#[derive(Debug)]
struct Encoder {
    link: Arc<Link>,
    records: Records,
    big: Option<BigRecord>,
    dialect: Dialect,
    with_access: bool,
    /// Keys, and keys with a deadline, of each database, until its first record was written.
    sizes: Vec<Option<(u64, u64)>>,
    written: Written,
}

/// Parcels of queues that were written. Millions may be, and letting go of each is work: that is the thread's.
#[derive(Debug)]
struct Written {
    parcels: WrittenParcels,
    link: Arc<Link>,
}

impl Drop for Written {
    fn drop(&mut self) {
        self.link.state().written = std::mem::take(&mut self.parcels);
    }
}

/// A big collection that is being written.
#[derive(Debug)]
struct BigRecord {
    head: FrozenHead,
    /// Records that belong behind it: drafts that are full, and the next one.
    full: Vec<Draft>,
    behind: Records,
}

/// Records one after the other.
#[derive(Debug)]
struct Records {
    draft: Draft,
    /// The database that the last one belongs to.
    db: Option<usize>,
}

impl Records {
    fn new(compress: Compress) -> Records {
        Records { draft: Draft::with_capacity(compress, DRAFT_ROOM_BYTES), db: None }
    }

    /// The draft, if it is full.
    fn take_full(&mut self) -> Option<Draft> {
        let next = (self.draft.len() >= DRAFT_BYTES).then(|| self.draft.successor(DRAFT_ROOM_BYTES))?;
        Some(std::mem::replace(&mut self.draft, next))
    }

    /// The next record is of this database, of whose size `sizes` tells once.
    fn select(&mut self, db: usize, sizes: &mut [Option<(u64, u64)>]) {
        if self.db != Some(db) {
            self.db = Some(db);
            writer::put_database(&mut self.draft, db as u64);
            if let Some((keys, expires)) = sizes.get_mut(db).and_then(Option::take) {
                writer::put_sizes(&mut self.draft, keys, expires);
            }
        }
    }
}

impl Encoder {
    fn new(store: &Store, origin: Origin<'_>, link: Arc<Link>) -> Encoder {
        let databases = 0..store.databases();
        let figures = |index| store.figures(index);
        let mut records = Records::new(if origin.forms.compress { Compress::AtTheEnd } else { Compress::Never });
        let to = &mut records.draft;
        let needs = Needs {
            expiring_fields: databases.clone().any(|index| figures(index).with_volatile_fields > 0),
            producers: databases.clone().any(|index| figures(index).with_producers > 0),
        };
        writer::put_header(to, needs, origin.forms.dialect);
        writer::put_aux(to, "redis-ver", origin.redis_version.as_bytes());
        writer::put_aux(to, "redis-bits", usize::BITS.to_string().as_bytes());
        writer::put_aux(to, "ctime", origin.now_s.to_string().as_bytes());
        writer::put_aux(to, "used-mem", origin.used_memory.to_string().as_bytes());
        writer::put_aux(to, "aof-base", if origin.is_aof_base { b"1" } else { b"0" });
        for source in origin.functions {
            writer::put_function(to, source);
        }
        if !origin.commands.is_empty() {
            writer::put_aux(to, COMMANDS_AUX, origin.commands);
        }
        let sizes = databases.map(|index| Some((figures(index).keys as u64, figures(index).expires as u64))).collect();
        let (dialect, with_access) = (origin.forms.dialect, origin.with_access);
        let written = Written { parcels: WrittenParcels::default(), link: Arc::clone(&link) };
        Encoder { link, records, big: None, dialect, with_access, sizes, written }
    }

    fn facts(&self, key: KeyHead<'_>) -> KeyFacts {
        let mut facts = KeyFacts { expire_at_ms: key.expire_at, ..KeyFacts::default() };
        if self.with_access {
            match key.access {
                Access::IdleS(idle_s) => facts.idle_s = Some(idle_s),
                Access::Frequency(frequency) => facts.frequency = Some(frequency),
            }
        }
        facts
    }

    /// Sends what has come together, if that is enough.
    fn send_when_full(&mut self) {
        if let Some(draft) = self.records.take_full() {
            self.link.send(draft);
        }
    }
}

impl Recorder for Encoder {
    fn entry(&mut self, key: KeyHead<'_>, entry: EntryRef<'_>) {
        let facts = self.facts(key);
        let Some(BigRecord { full, behind, .. }) = &mut self.big else {
            self.records.select(key.db, &mut self.sizes);
            let written = &mut self.written.parcels;
            writer::put_entry_with(&mut self.records.draft, entry, facts, self.dialect, &mut |it| written.next(it));
            return self.send_when_full();
        };
        let before = behind.draft.len();
        behind.select(key.db, &mut self.sizes);
        // The rest of the big collection comes in front of it, so it may name what has been written and nothing else.
        let written = &self.written.parcels;
        writer::put_entry_with(&mut behind.draft, entry, facts, self.dialect, &mut |it| written.known(it));
        self.link.state().behind_bytes += behind.draft.len() - before;
        full.extend(behind.take_full());
    }

    fn begin_big(&mut self, key: KeyHead<'_>, head: FrozenHead) {
        let facts = self.facts(key);
        self.records.select(key.db, &mut self.sizes);
        writer::put_big_head(&mut self.records.draft, key.name, facts, head, self.dialect);
        let behind = Records { draft: self.records.draft.successor(0), db: None };
        self.big = Some(BigRecord { head, full: Vec::new(), behind });
    }

    fn part(&mut self, part: FrozenPart<'_>) {
        if let FrozenPart::Shared(parcel, how) = part {
            how.set(self.written.parcels.next(parcel));
        } else if let Some(BigRecord { head, .. }) = self.big {
            put_frozen_part(&mut self.records.draft, head, part, self.dialect);
            self.send_when_full();
        }
    }

    fn end_big(&mut self) {
        let Some(BigRecord { head, full, behind }) = self.big.take() else { return };
        put_frozen_end(&mut self.records.draft, head);
        if behind.db.is_none() {
            return;
        }
        let waited = full.iter().map(Draft::len).sum::<usize>() + behind.draft.len();
        self.link.state().behind_bytes -= waited;
        let done = std::mem::replace(&mut self.records, behind);
        self.link.send(done.draft);
        full.into_iter().for_each(|draft| self.link.send(draft));
    }

    fn end(self: Box<Self>) {
        let Encoder { link, records, written, .. } = *self;
        link.send(records.draft);
        drop(written);
        link.state().is_complete = true;
        link.work.notify_one();
    }
}

/// What tells the files apart that are written at the same time: that of a snapshot, and those of some that were given up and
/// are not gone yet. The least one that is free, so that a process with the id of one that was killed, as there always is in a
/// container, writes to the name of what that has left behind and not beside it.
struct Number(u64);

static NUMBERS: Mutex<BTreeSet<u64>> = Mutex::new(BTreeSet::new());

impl Number {
    fn taken() -> MutexGuard<'static, BTreeSet<u64>> {
        NUMBERS.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take() -> Number {
        let mut taken = Number::taken();
        let number = least_free(&taken);
        taken.insert(number);
        Number(number)
    }
}

fn least_free(taken: &BTreeSet<u64>) -> u64 {
    let gap = taken.iter().zip(0..).find(|(number, at)| **number != *at);
    gap.map_or(taken.len() as u64, |(_, at)| at)
}

impl Drop for Number {
    fn drop(&mut self) {
        Number::taken().remove(&self.0);
    }
}

/// A name beside `path` that nobody else uses: neither another process nor the thread of a snapshot that was given up. Of one
/// that is temporary itself, it says whose it is.
fn temporary_beside(path: &Path, Number(number): &Number) -> PathBuf {
    if let Some(name) = path.file_name().filter(|name| name.as_encoded_bytes().starts_with(b"temp-")) {
        let mut name = name.to_owned();
        name.push(format!(".{number}.part"));
        return path.with_file_name(name);
    }
    folder_of(path).join(format!("temp-{}-{number}.rdb", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_same_time_have_names_of_their_own_and_later_ones_those_of_before() {
        for (taken, free) in [(&[][..], 0), (&[0], 1), (&[0, 1, 2], 3), (&[1, 2], 0), (&[0, 2, 3], 1)] {
            assert_eq!(least_free(&taken.iter().copied().collect()), free, "{taken:?}");
        }
        let (first, second) = (Number::take(), Number::take());
        assert_ne!(first.0, second.0);
        drop((first, second));
        let name = |path: &str| temporary_beside(Path::new(path), &Number(7));
        assert_eq!(name("folder/dump.rdb"), PathBuf::from(format!("folder/temp-{}-7.rdb", std::process::id())));
        assert_eq!(name("folder/temp-base.aof"), Path::new("folder/temp-base.aof.7.part"));
    }
}
