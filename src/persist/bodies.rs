//! Bodies of long queues in files: memory that is elsewhere.
//!
//! ```text
//!  executor                        thread
//!   parcels of a queue ──────────► written behind each other into the queue's segment
//!   places            ◄──────────
//!   exchanges them
//!   ...
//!   reads, not waiting ──► near: that is all
//!        not near      ──────────► reads what is there and behind it, so that the system has it in memory
//!   tries again       ◄──────────
//! ```
//!
//! Segments have no name: they are made in the data folder and belong to nobody but this process, so that the system takes
//! them back when the last body in them is gone, or the process is, in whatever way. Nothing is forced to disk: what must
//! outlive the process is in the append-only file or in a snapshot, which hold bodies as if they were in memory. A segment is
//! written to its end and never again; room in it is free when nothing in it is needed any more.

use super::aof::Wake;
use crate::threads;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use weir_structs::queue::{BodyFile, BodyPlace, NotRead, Parcel, Segment, Wait};

/// A segment takes no more bodies when it has so many bytes ...
const SEGMENT_BYTES: u64 = 32 * 1024 * 1024;
/// ... or as much as there are bytes elsewhere in so many segments, so that there are never too many files; but never more
/// than can be told as an offset.
const SEGMENTS_AIM: u64 = 64;
const SEGMENT_BYTES_MAX: u64 = 1 << 31;
/// Queues that have a segment of their own that is being filled.
const FILLED_MAX: usize = 16;
/// So much is brought near at once.
const NEAR_BYTES: usize = 4 * 1024 * 1024;
/// Pieces that one write is made of.
const PIECES_MAX: usize = 512;

/// What became of bodies that were to be moved.
#[derive(Debug)]
pub struct Moved {
    /// Which ones: what [`BodyMover::submit`] was told.
    pub token: u64,
    /// Where each of them is now.
    pub places: io::Result<Vec<BodyPlace>>,
}

/// Moves bodies to files.
#[derive(Debug)]
pub struct BodyMover {
    jobs: Option<Sender<Job>>,
    results: Receiver<Moved>,
    shared: Arc<Shared>,
}

/// What the thread and the files say.
#[derive(Debug, Default)]
struct Shared {
    /// Bodies that could not be read, or were not what was written.
    lost: AtomicU64,
    /// How often something was brought near.
    brought: AtomicU64,
    /// Segments that are there, and their bytes.
    files: AtomicU64,
    file_bytes: AtomicU64,
}

enum Job {
    Move { token: u64, queue: u64, folder: PathBuf, parcels: Vec<Parcel> },
    BringNear { file: Arc<Opened>, offset: u64 },
    Close(Arc<Opened>),
    Tidy,
}

/// An open segment.
#[derive(Debug)]
struct Opened {
    file: File,
    len: AtomicU64,
    /// Something in it was asked for and is not near yet.
    asked: AtomicBool,
}

impl BodyMover {
    /// Starts the thread; it calls `wake` whenever there is something new.
    pub fn start(wake: Wake) -> BodyMover {
        let (jobs, work) = mpsc::channel();
        let (results_to, results) = mpsc::channel();
        let shared = Arc::<Shared>::default();
        let mut mover = Mover {
            jobs: jobs.clone(),
            results: results_to,
            shared: Arc::clone(&shared),
            filled: HashMap::new(),
            wake,
        };
        let thread = threads::spawn("weir-bodies", move || mover.run(&work));
        if let Err(error) = &thread {
            tracing::warn!("no thread to move messages to disk, they stay in memory: {error}");
        }
        BodyMover { jobs: thread.is_ok().then_some(jobs), results, shared }
    }

    /// Has the bodies of a queue moved; `token` comes back with what became of them. The parcels must have their bodies in
    /// memory. Says `false` if nobody does it.
    pub fn submit(&self, token: u64, queue: u64, folder: &Path, parcels: Vec<Parcel>) -> bool {
        let Some(jobs) = &self.jobs else { return false };
        jobs.send(Job::Move { token, queue, folder: folder.to_owned(), parcels }).is_ok()
    }

    /// What has been moved, or could not be.
    pub fn take_moved(&self) -> Option<Moved> {
        self.results.try_recv().ok()
    }

    /// How often bodies were brought near so far: when it has grown, who waits for one should try again.
    #[inline]
    pub fn brought(&self) -> u64 {
        self.shared.brought.load(Ordering::Acquire)
    }

    /// Bodies that could not be read so far, each time that somebody wanted to.
    #[inline]
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// Has segments closed that nothing is in any more, although they would take more. To be called now and then.
    pub fn tidy(&self) {
        if let Some(jobs) = self.jobs.as_ref().filter(|_| self.files().0 > 0) {
            let _ = jobs.send(Job::Tidy);
        }
    }

    /// Number of files, and their bytes.
    pub fn files(&self) -> (u64, u64) {
        (self.shared.files.load(Ordering::Relaxed), self.shared.file_bytes.load(Ordering::Relaxed))
    }
}

/// The thread's own.
struct Mover {
    jobs: Sender<Job>,
    results: Sender<Moved>,
    shared: Arc<Shared>,
    /// Segments that take more, by queue.
    filled: HashMap<u64, Filled>,
    wake: Wake,
}

/// A segment that takes more.
#[derive(Debug)]
struct Filled {
    folder: PathBuf,
    opened: Arc<Opened>,
    segment: Arc<Segment>,
    used: u64,
}

impl Mover {
    fn run(&mut self, work: &Receiver<Job>) {
        let mut number = 0;
        let mut near = Vec::new();
        for job in work {
            number += 1;
            match job {
                Job::Move { token, queue, folder, parcels } => {
                    let places = self.move_all(queue, &folder, &parcels, number);
                    drop(parcels);
                    if self.results.send(Moved { token, places }).is_err() {
                        return;
                    }
                }
                Job::BringNear { file, offset } => {
                    near.resize(NEAR_BYTES, 0);
                    bring_near(&file.file, &mut near, offset);
                    file.asked.store(false, Ordering::Release);
                    self.shared.brought.fetch_add(1, Ordering::Release);
                }
                Job::Close(opened) => {
                    self.shared.files.fetch_sub(1, Ordering::Relaxed);
                    self.shared.file_bytes.fetch_sub(opened.len.load(Ordering::Relaxed), Ordering::Relaxed);
                    continue;
                }
                Job::Tidy => {
                    self.filled.retain(|_, filled| Arc::strong_count(&filled.segment) > 1);
                    continue;
                }
            }
            (self.wake)();
        }
    }

    fn move_all(&mut self, queue: u64, folder: &Path, parcels: &[Parcel], number: u64) -> io::Result<Vec<BodyPlace>> {
        let mut filled = match self.filled.remove(&queue).filter(|filled| filled.folder == folder) {
            Some(filled) => filled,
            None => self.begin(folder)?,
        };
        let mut places = Vec::with_capacity(parcels.len());
        let mut left = parcels;
        while !left.is_empty() {
            if filled.opened.len.load(Ordering::Relaxed) >= self.segment_bytes() {
                filled = self.begin(folder)?;
            }
            let (now, later) = left.split_at(left.len().min(PIECES_MAX));
            left = later;
            filled.append(now, &mut places, &self.shared)?;
        }
        filled.used = number;
        if self.filled.len() >= FILLED_MAX
            && let Some(oldest) = self.filled.iter().min_by_key(|(_, filled)| filled.used).map(|(&queue, _)| queue)
        {
            self.filled.remove(&oldest);
        }
        self.filled.insert(queue, filled);
        Ok(places)
    }

    fn segment_bytes(&self) -> u64 {
        let all = self.shared.file_bytes.load(Ordering::Relaxed);
        (all / SEGMENTS_AIM).clamp(SEGMENT_BYTES, SEGMENT_BYTES_MAX)
    }

    fn begin(&self, folder: &Path) -> io::Result<Filled> {
        let file = nameless_file(folder)?;
        let opened = Arc::new(Opened { file, len: AtomicU64::new(0), asked: AtomicBool::new(false) });
        self.shared.files.fetch_add(1, Ordering::Relaxed);
        let segment =
            SegmentFile { opened: Arc::clone(&opened), jobs: self.jobs.clone(), shared: Arc::clone(&self.shared) };
        Ok(Filled { folder: folder.to_owned(), opened, segment: Segment::new(Box::new(segment)), used: 0 })
    }
}

impl Filled {
    fn append(&mut self, parcels: &[Parcel], places: &mut Vec<BodyPlace>, shared: &Shared) -> io::Result<()> {
        let bodies: Vec<&[u8]> = parcels.iter().map(|parcel| parcel.body_here().unwrap_or_default()).collect();
        let mut slices: Vec<IoSlice<'_>> = bodies.iter().map(|body| IoSlice::new(body)).collect();
        let begin = self.opened.len.load(Ordering::Relaxed);
        let mut slices = &mut slices[..];
        while !slices.is_empty() {
            let written = match (&self.opened.file).write_vectored(slices) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                result => result,
            }?;
            self.opened.len.fetch_add(written as u64, Ordering::Relaxed);
            shared.file_bytes.fetch_add(written as u64, Ordering::Relaxed);
            IoSlice::advance_slices(&mut slices, written);
        }
        let mut offset = begin;
        for body in bodies {
            let too_far = |_| io::Error::from(io::ErrorKind::FileTooLarge);
            let place = (u32::try_from(offset).map_err(too_far)?, u32::try_from(body.len()).map_err(too_far)?);
            places.push(BodyPlace::new(Arc::clone(&self.segment), place.0, place.1, BodyPlace::check_of(body)));
            offset += body.len() as u64;
        }
        Ok(())
    }
}

/// A segment as parcels know it.
#[derive(Debug)]
struct SegmentFile {
    opened: Arc<Opened>,
    jobs: Sender<Job>,
    shared: Arc<Shared>,
}

impl SegmentFile {
    fn lose(&self, offset: u64, why: &dyn std::fmt::Display) -> NotRead {
        self.shared.lost.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(
            "the body of a message that was moved to disk, at byte {offset} of its file, cannot be read: {why}"
        );
        NotRead::Ever
    }

    /// Has what is at `offset` brought near.
    fn ask(&self, offset: u64) -> NotRead {
        if !self.opened.asked.swap(true, Ordering::AcqRel) {
            // Whoever asks in vain because the thread is gone waits for it in the end, and reads it then.
            let _ = self.jobs.send(Job::BringNear { file: Arc::clone(&self.opened), offset });
        }
        NotRead::Yet
    }
}

impl BodyFile for SegmentFile {
    fn read(&self, offset: u64, to: &mut [u8], wait: Wait) -> Result<(), NotRead> {
        let mut from = offset;
        let mut left = &mut *to;
        while wait == Wait::Never && !left.is_empty() {
            match read_what_is_near(&self.opened.file, left, from) {
                Ok(0) => break,
                Ok(len) => {
                    from += len as u64;
                    left = left.get_mut(len..).unwrap_or_default();
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Err(self.ask(from)),
                // A file system that cannot tell, or an error that reading by waiting tells of as well.
                Err(_) => break,
            }
        }
        self.opened.file.read_exact_at(left, from).map_err(|error| self.lose(offset, &error))
    }

    fn is_damaged(&self, offset: u64) {
        self.lose(offset, &"it is not what was written");
    }
}

impl Drop for SegmentFile {
    /// The system takes its time to take back a long file: that is the thread's.
    fn drop(&mut self) {
        let _ = self.jobs.send(Job::Close(Arc::clone(&self.opened)));
    }
}

/// Reads what the system has in memory, and nothing from the disk.
#[cfg(target_os = "linux")]
fn read_what_is_near(file: &File, to: &mut [u8], from: u64) -> rustix::io::Result<usize> {
    rustix::io::preadv2(file, &mut [IoSliceMut::new(to)], from, rustix::io::ReadWriteFlags::NOWAIT)
}

/// Nothing can be known of that here.
#[cfg(not(target_os = "linux"))]
fn read_what_is_near(_: &File, _: &mut [u8], _: u64) -> rustix::io::Result<usize> {
    Err(rustix::io::Errno::OPNOTSUPP)
}

/// Reads a stretch of a file for nothing but to have it in the system's memory, and begins with the one behind it.
fn bring_near(file: &File, into: &mut [u8], offset: u64) {
    #[cfg(target_os = "linux")]
    {
        let next = offset + into.len() as u64;
        let len = std::num::NonZeroU64::new(into.len() as u64);
        // It is no more than a wish.
        let _ = rustix::fs::fadvise(file, next, len, rustix::fs::Advice::WillNeed);
    }
    let mut done = 0;
    while let Some(left) = into.get_mut(done..).filter(|left| !left.is_empty()) {
        match file.read_at(left, offset + done as u64) {
            Ok(0) => return,
            Ok(len) => done += len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Who wanted to read it will see for himself.
            Err(_) => return,
        }
    }
}

/// A new file in a folder that has no name, or none any more.
fn nameless_file(folder: &Path) -> io::Result<File> {
    #[cfg(target_os = "linux")]
    {
        let flags = rustix::fs::OFlags::TMPFILE.bits() as i32;
        let opened = OpenOptions::new().read(true).write(true).mode(0o600).custom_flags(flags).open(folder);
        match opened {
            // Not every file system has such files.
            Err(error) if !matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::IsADirectory) => {
                return Err(error);
            }
            Ok(file) => return Ok(file),
            Err(_) => {}
        }
    }
    let path = folder.join(format!("temp-bodies-{}.mq", std::process::id()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;
    use std::time::Duration;
    use weir_structs::queue::Envelope;

    const PATIENCE_MS: usize = 20_000;

    fn parcel(number: usize, len: usize) -> Parcel {
        Parcel::new(&Envelope { rkey: b"r", body: &vec![number as u8; len], ..Envelope::default() })
    }

    fn mover() -> BodyMover {
        BodyMover::start(Arc::new(|| ()))
    }

    /// Looks again every millisecond or so, for as many as a busy machine may need.
    fn comes<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
        for _ in 0..PATIENCE_MS {
            if let Some(found) = look() {
                return found;
            }
            thread::park_timeout(Duration::from_millis(1));
        }
        panic!("{what}");
    }

    fn moved(mover: &BodyMover) -> Moved {
        comes("nothing was moved", || mover.take_moved())
    }

    fn comes_to(what: &str, is: impl Fn() -> bool) {
        comes(what, || is().then_some(()));
    }

    #[test]
    fn bodies_go_to_a_file_without_a_name_and_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let mover = mover();
        let parcels: Vec<Parcel> = (0..1_500).map(|number| parcel(number, number)).collect();
        assert!(mover.submit(7, 1, folder.path(), parcels.clone()));
        let Moved { token, places } = moved(&mover);
        let places = places.unwrap();
        assert_eq!((token, places.len()), (7, parcels.len()));
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
        assert_eq!(mover.files(), (1, (0..1_500).sum()));
        let away: Vec<Parcel> = parcels.iter().zip(places).map(|(parcel, place)| parcel.with_body_at(place)).collect();
        for (away, parcel) in away.iter().zip(&parcels) {
            assert!(away == parcel);
        }
        // What was just written is near, where that can be told.
        assert!(away.iter().all(|away| away.body(Wait::Never).is_ok()));
        assert_eq!(mover.lost(), 0);
        mover.tidy();
        assert!(mover.submit(8, 2, folder.path(), vec![parcel(1, 1)]));
        drop(moved(&mover));
        assert_eq!(mover.files().0, 2, "a file with bodies stays");
        drop(away);
        comes_to("the files are closed", || {
            mover.tidy();
            mover.files() == (0, 0)
        });
    }

    #[test]
    fn there_are_only_so_many_files_that_take_more() {
        let folder = tempfile::tempdir().unwrap();
        let mover = mover();
        for queue in 0..3 * FILLED_MAX as u64 {
            assert!(mover.submit(queue, queue, folder.path(), vec![parcel(1, 1)]));
            drop(moved(&mover).places.unwrap());
        }
        comes_to("the older ones are closed", || mover.files().0 == FILLED_MAX as u64);
    }

    #[test]
    fn where_nothing_can_be_written_nothing_is_moved() {
        let folder = tempfile::tempdir().unwrap();
        let mover = mover();
        assert!(mover.submit(1, 1, &folder.path().join("none"), vec![parcel(1, 600)]));
        assert_eq!(moved(&mover).places.unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(mover.submit(2, 1, folder.path(), vec![parcel(1, 600)]));
        assert!(moved(&mover).places.is_ok());
    }

    #[test]
    fn a_file_that_was_cut_loses_what_was_in_it_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let (jobs, _work) = mpsc::channel();
        let shared = Arc::<Shared>::default();
        let file = nameless_file(folder.path()).unwrap();
        let opened = Arc::new(Opened { file, len: AtomicU64::new(0), asked: AtomicBool::new(false) });
        let own = SegmentFile { opened: Arc::clone(&opened), jobs, shared: Arc::clone(&shared) };
        let segment = Segment::new(Box::new(own));
        let mut filled = Filled { folder: folder.path().into(), opened: Arc::clone(&opened), segment, used: 0 };
        let (mut places, parcel) = (Vec::new(), parcel(3, 5_000));
        filled.append(std::slice::from_ref(&parcel), &mut places, &shared).unwrap();
        let away = parcel.with_body_at(places.remove(0));
        assert!(away == parcel);
        opened.file.write_all_at(b"??", 100).unwrap();
        assert_eq!((away.body(Wait::UntilRead), shared.lost.load(Ordering::Relaxed)), (Err(NotRead::Ever), 1));
        opened.file.set_len(10).unwrap();
        assert_eq!((away.body(Wait::Never), shared.lost.load(Ordering::Relaxed)), (Err(NotRead::Ever), 2));
    }
}
