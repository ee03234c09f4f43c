//! A disk for tests that fails when it is told to.
//!
//! It lives in memory and keeps everything twice: as programs see it, and as it was last forced to disk. A crash ends every
//! call from a chosen one on; what is there afterwards is at least what was forced, and at most what was written
//! ([`Survives`]). Calls are numbered, so that a test can have a crash before each of them.

use super::{DataFile, Disk, FileLock, InPlaceFile};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::io::{self, Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A kind of call.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Call {
    /// `Disk::create`.
    Create,
    /// `Disk::append`.
    Append,
    /// `Disk::open`.
    Open,
    /// Writing to a file.
    Write,
    /// `DataFile::sync_data`.
    SyncData,
    /// `DataFile::sync_all`.
    SyncAll,
    /// `DataFile::set_len`.
    SetLen,
    /// `Disk::rename`.
    Rename,
    /// `Disk::remove`.
    Remove,
    /// `Disk::make_folder`.
    MakeFolder,
    /// `Disk::list`.
    List,
    /// `Disk::sync_folder`.
    SyncFolder,
    /// `Disk::in_place`.
    InPlace,
    /// `InPlaceFile::write_at`.
    WriteAt,
}

/// What becomes of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// It fails with this number of the system, and so does every further one of its kind.
    Error(i32),
    /// The same, but only once.
    Once(i32),
    /// A write takes so many bytes and the next one fails with this number.
    Short(usize, i32),
}

/// What is left after a crash, of that which was written and not forced to disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Survives {
    /// Nothing.
    Nothing,
    /// Names; files under them have the bytes that were forced to disk.
    Names,
    /// Names, and half of the bytes.
    Half,
    /// Bytes of files whose names are on disk, but no name.
    Bytes,
    /// Everything: the process died and the system did not.
    Everything,
}

impl Survives {
    /// All of them.
    pub const ALL: [Survives; 5] =
        [Survives::Nothing, Survives::Names, Survives::Half, Survives::Bytes, Survives::Everything];
}

#[derive(Clone, Default, Debug)]
struct Contents {
    now: Vec<u8>,
    forced: Vec<u8>,
}

#[derive(Clone, Default, Debug)]
struct Names {
    files: BTreeMap<PathBuf, u64>,
    folders: BTreeSet<PathBuf>,
}

#[derive(Default, Debug)]
struct State {
    contents: HashMap<u64, Contents>,
    next_file: u64,
    now: Names,
    forced: Names,
    calls: u64,
    crash_at: Option<u64>,
    faults: HashMap<Call, Fault>,
    read_only: bool,
    room: Option<usize>,
    write_max: Option<usize>,
    syncs: u64,
    boot: u128,
}

impl State {
    /// Counts a call and says whether it works.
    fn call(&mut self, call: Call) -> io::Result<()> {
        let number = self.calls;
        self.calls += 1;
        if self.crash_at.is_some_and(|at| number >= at) {
            return Err(io::Error::other("the machine is off"));
        }
        let changes = !matches!(call, Call::Open | Call::List | Call::SyncData | Call::SyncAll | Call::SyncFolder);
        if self.read_only && changes {
            return Err(io::Error::from_raw_os_error(libc::EROFS));
        }
        match self.faults.get(&call) {
            Some(&Fault::Error(number)) => Err(io::Error::from_raw_os_error(number)),
            Some(&Fault::Once(number)) => {
                self.faults.remove(&call);
                Err(io::Error::from_raw_os_error(number))
            }
            _ => Ok(()),
        }
    }

    fn in_known_folder(&self, path: &Path) -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new(""));
        let known = folder.as_os_str().is_empty() || self.now.folders.contains(folder);
        if known { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ENOENT)) }
    }

    fn new_file(&mut self, path: &Path) -> u64 {
        let file = self.next_file;
        self.next_file += 1;
        self.contents.insert(file, Contents::default());
        self.now.files.insert(path.to_owned(), file);
        file
    }
}

/// The disk. Clones are the same disk.
#[derive(Clone, Default, Debug)]
pub struct FaultyDisk(Arc<Mutex<State>>);

impl FaultyDisk {
    /// An empty and healthy one.
    pub fn new() -> FaultyDisk {
        FaultyDisk::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls so far.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// How often a file was forced to disk.
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// The machine is off from this call on.
    pub fn crash_at(&self, call: u64) {
        self.state().crash_at = Some(call);
    }

    /// Calls of this kind fail from now on.
    pub fn fail(&self, call: Call, fault: Fault) {
        self.state().faults.insert(call, fault);
    }

    /// Nothing fails any more.
    pub fn heal(&self) {
        let mut state = self.state();
        state.faults.clear();
        state.room = None;
        state.read_only = false;
    }

    /// So many bytes can still be written.
    pub fn set_room(&self, bytes: Option<usize>) {
        self.state().room = bytes;
    }

    /// A write takes so many bytes at most.
    pub fn set_write_max(&self, bytes: Option<usize>) {
        self.state().write_max = bytes;
    }

    /// Nothing can be changed.
    pub fn set_read_only(&self, read_only: bool) {
        self.state().read_only = read_only;
    }

    /// Files are as they were last forced to disk: the system has given up what it could not write.
    pub fn drop_unforced(&self) {
        self.state().contents.values_mut().for_each(|contents| contents.now.clone_from(&contents.forced));
    }

    /// The machine was switched off and on, and nothing of what it had written was lost.
    pub fn boot_anew(&self) {
        self.state().boot += 1;
    }

    /// What programs see in a file.
    pub fn contents(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let state = self.state();
        let file = state.now.files.get(path.as_ref())?;
        Some(state.contents.get(file)?.now.clone())
    }

    /// Puts a file there, on disk.
    pub fn put(&self, path: impl AsRef<Path>, bytes: &[u8]) {
        let mut state = self.state();
        let file = state.new_file(path.as_ref());
        state.contents.insert(file, Contents { now: bytes.to_vec(), forced: bytes.to_vec() });
        state.forced.files.insert(path.as_ref().to_owned(), file);
    }

    /// The disk after the machine was switched off and on again.
    pub fn restarted(&self, survives: Survives) -> FaultyDisk {
        let state = self.state();
        let names_survive = matches!(survives, Survives::Names | Survives::Half | Survives::Everything);
        let mut names = if names_survive { state.now.clone() } else { state.forced.clone() };
        let Names { files, folders } = &mut names;
        files.retain(|path, _| path.parent().is_none_or(|folder| folder == Path::new("") || folders.contains(folder)));
        let mut contents = HashMap::new();
        for (&file, bytes) in &state.contents {
            let left = match survives {
                Survives::Nothing | Survives::Names => bytes.forced.clone(),
                Survives::Bytes | Survives::Everything => bytes.now.clone(),
                Survives::Half => {
                    let len = (bytes.forced.len() + bytes.now.len()).div_ceil(2);
                    let mut left = bytes.now.clone();
                    left.truncate(len);
                    left
                }
            };
            contents.insert(file, Contents { now: left.clone(), forced: left });
        }
        let next_file = state.next_file;
        FaultyDisk(Arc::new(Mutex::new(State {
            contents,
            next_file,
            now: names.clone(),
            forced: names,
            boot: state.boot + u128::from(survives != Survives::Everything),
            ..State::default()
        })))
    }
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DataFile>> {
        let mut state = self.state();
        state.call(Call::Create)?;
        state.in_known_folder(path)?;
        let file = state.new_file(path);
        Ok(Box::new(FaultyFile { disk: self.clone(), file }))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn DataFile>> {
        let mut state = self.state();
        state.call(Call::Append)?;
        state.in_known_folder(path)?;
        if state.now.folders.contains(path) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let found = state.now.files.get(path).copied();
        let file = found.unwrap_or_else(|| state.new_file(path));
        Ok(Box::new(FaultyFile { disk: self.clone(), file }))
    }

    fn open(&self, path: &Path, from: u64) -> io::Result<(Box<dyn Read + Send>, u64)> {
        let mut state = self.state();
        state.call(Call::Open)?;
        let found = state.now.files.get(path).and_then(|file| state.contents.get(file));
        let bytes = found.ok_or(io::Error::from_raw_os_error(libc::ENOENT))?.now.clone();
        let len = bytes.len() as u64;
        let mut cursor = Cursor::new(bytes);
        cursor.set_position(from);
        Ok((Box::new(cursor), len))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call(Call::Rename)?;
        state.in_known_folder(to)?;
        let file = state.now.files.remove(from).ok_or(io::Error::from_raw_os_error(libc::ENOENT))?;
        state.now.files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call(Call::Remove)?;
        let removed = state.now.files.remove(path);
        removed.map(drop).ok_or(io::Error::from_raw_os_error(libc::ENOENT))
    }

    fn make_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call(Call::MakeFolder)?;
        if state.now.files.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.now.folders.insert(path.to_owned());
        Ok(())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        let mut state = self.state();
        state.call(Call::List)?;
        if !folder.as_os_str().is_empty() && !state.now.folders.contains(folder) {
            return Err(io::Error::from_raw_os_error(libc::ENOENT));
        }
        let within = state.now.files.keys().filter(|path| path.parent() == Some(folder));
        Ok(within.filter_map(|path| path.file_name()).map(|name| name.to_owned()).collect())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let state = self.state();
        Ok(state.now.files.contains_key(path) || state.now.folders.contains(path))
    }

    fn copy_mode(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call(Call::SyncFolder)?;
        let State { now, forced, .. } = &mut *state;
        let within = |path: &PathBuf| path.parent() == Some(folder);
        forced.files.retain(|path, _| !within(path));
        forced
            .files
            .extend(now.files.iter().filter(|(path, _)| within(path)).map(|(path, &file)| (path.clone(), file)));
        forced.folders.retain(|path| !within(path));
        forced.folders.extend(now.folders.iter().filter(|path| within(path)).cloned());
        Ok(())
    }

    fn lock(&self, _path: &Path) -> io::Result<Option<Box<dyn FileLock>>> {
        Ok(Some(Box::new(NoLock)))
    }

    fn in_place(&self, path: &Path, bytes: u64) -> io::Result<Box<dyn InPlaceFile>> {
        let mut state = self.state();
        state.call(Call::InPlace)?;
        state.in_known_folder(path)?;
        let file = state.new_file(path);
        let zeros = vec![0; usize::try_from(bytes).map_err(|_| io::ErrorKind::InvalidInput)?];
        state.contents.insert(file, Contents { now: zeros.clone(), forced: zeros });
        state.forced.files.insert(path.to_owned(), file);
        Ok(Box::new(FaultyFile { disk: self.clone(), file }))
    }

    fn boot(&self) -> u128 {
        self.state().boot + 1
    }
}

/// There is one program only.
#[derive(Debug)]
struct NoLock;

impl FileLock for NoLock {}

#[derive(Debug)]
struct FaultyFile {
    disk: FaultyDisk,
    file: u64,
}

impl FaultyFile {
    fn sync(&mut self, call: Call) -> io::Result<()> {
        let mut state = self.disk.state();
        state.call(call)?;
        state.syncs += 1;
        if let Some(contents) = state.contents.get_mut(&self.file) {
            contents.forced.clone_from(&contents.now);
        }
        Ok(())
    }
}

impl Write for FaultyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.disk.state();
        state.call(Call::Write)?;
        let mut len = bytes.len().min(state.write_max.unwrap_or(usize::MAX));
        if let Some(&Fault::Short(taken, number)) = state.faults.get(&Call::Write) {
            state.faults.insert(Call::Write, Fault::Error(number));
            len = len.min(taken);
        }
        if let Some(room) = &mut state.room {
            len = len.min(*room);
            *room -= len;
            if len == 0 && !bytes.is_empty() {
                return Err(io::Error::from_raw_os_error(libc::ENOSPC));
            }
        }
        let contents = state.contents.entry(self.file).or_default();
        contents.now.extend_from_slice(&bytes[..len]);
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl InPlaceFile for FaultyFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let is_on = state.crash_at.is_none_or(|at| state.calls <= at);
        let called = state.call(Call::WriteAt);
        // One that fails, or that the machine is switched off in, has written some of it.
        let parts = match called {
            Ok(()) => 0..bytes.len(),
            Err(_) if is_on => bytes.len() / 3..bytes.len() / 2,
            Err(_) => 0..0,
        };
        let contents = state.contents.entry(self.file).or_default();
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        for place in [&mut contents.now, &mut contents.forced] {
            let Some(place) = place.get_mut(at..at + bytes.len()) else {
                return Err(io::ErrorKind::InvalidInput.into());
            };
            if let (Some(place), Some(bytes)) = (place.get_mut(parts.clone()), bytes.get(parts.clone())) {
                place.copy_from_slice(bytes);
            }
        }
        called
    }
}

impl DataFile for FaultyFile {
    fn sync_data(&mut self) -> io::Result<()> {
        self.sync(Call::SyncData)
    }

    fn sync_all(&mut self) -> io::Result<()> {
        self.sync(Call::SyncAll)
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.call(Call::SetLen)?;
        let contents = state.contents.entry(self.file).or_default();
        contents.now.resize(usize::try_from(len).unwrap_or(usize::MAX), 0);
        Ok(())
    }

    fn another(&self) -> io::Result<Box<dyn DataFile>> {
        Ok(Box::new(FaultyFile { disk: self.disk.clone(), file: self.file }))
    }

    fn len(&self) -> io::Result<u64> {
        let state = self.disk.state();
        Ok(state.contents.get(&self.file).map_or(0, |contents| contents.now.len() as u64))
    }
}
