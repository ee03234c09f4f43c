//! What the thread that forces the append-only file to disk has beside it: the journal, and threads that make it and settle it.

use super::journal::{Journal, Room};
use crate::disk::{DataFile, Disk, folder_of};
use crate::threads;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What is only in the journal is forced to disk in the file as well after so long.
pub(super) const SETTLE_AFTER: Duration = Duration::from_secs(1);

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

/// What the thread has beside the file.
pub(super) struct Keeper {
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
    pub(super) fn new() -> Keeper {
        Keeper { journal: Kept::None, settling: None, settled_at: Instant::now(), place: None }
    }

    /// Writes a record of bytes that stand at `offset` of the file; says whether that was done. Otherwise the file is to be
    /// forced to disk.
    ///
    /// # Errors
    /// The file could not be forced to disk behind earlier records.
    pub(super) fn write(
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
    pub(super) fn sync(&mut self, file: &mut dyn DataFile) -> io::Result<()> {
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
        let is_known = self.place.as_ref().is_some_and(|known| Arc::ptr_eq(known, place));
        if !is_known && matches!(self.journal, Kept::Failed) {
            // With the next file it is tried again.
            self.journal = Kept::None;
        }
        self.place = Some(Arc::clone(place));
        self.journal = match std::mem::replace(&mut self.journal, Kept::Failed) {
            Kept::None => {
                let making = Arc::clone(place);
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
    pub(super) fn end_journal(&mut self) {
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
