//! The files of the append-only file and its manifest, changed together so that a crash leaves one state or the next.
//!
//! The manifest is replaced as a whole, and everything that it names is on disk before it is: so what a manifest names is
//! there. What is no longer named, and what no manifest has named yet, is only litter, and is taken away.
//!
//! ```text
//!   rewrite begins:  new increment made, folder forced ──► manifest with both increments
//!   rewrite is done: base renamed, folder forced ──► manifest: new base, history ──► manifest without history ──► files removed
//! ```

use super::journal;
use super::keeper::JournalPlace;
use super::manifest::{MANIFEST_BYTES, Manifest, ManifestError, Part};
use crate::disk::{DataFile, Disk, FileLock, replace_file};
use std::fmt;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why the files cannot be used.
#[derive(Debug)]
pub enum FolderError {
    /// The system says so.
    Io {
        /// Where.
        path: PathBuf,
        /// What.
        error: io::Error,
    },
    /// The manifest is wrong.
    Manifest {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        error: ManifestError,
    },
    /// A server uses them.
    InUse(PathBuf),
}

impl fmt::Display for FolderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FolderError::Io { path, error } => write!(f, "{} cannot be used: {error}", path.display()),
            FolderError::Manifest { path, error } => write!(f, "the AOF manifest {}, {error}", path.display()),
            FolderError::InUse(path) => write!(
                f,
                "another server is writing the append-only file in {}. Two would destroy it: give one of them another \
                 dir, appenddirname or appendfilename",
                path.display()
            ),
        }
    }
}

/// The folder, and what its manifest says.
#[derive(Debug)]
pub struct AofFolder {
    disk: Arc<dyn Disk>,
    /// Of the server.
    dir: PathBuf,
    folder: PathBuf,
    /// What the names of all files begin with.
    file_name: String,
    manifest: Manifest,
    /// Held while files are written.
    lock: Option<Box<dyn FileLock>>,
}

impl AofFolder {
    /// Reads the manifest, if there is one: without, there are no files. `dir` is the folder of the server, `folder_name` that of
    /// the append-only file in it.
    ///
    /// # Errors
    /// The manifest cannot be read, or is refused.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, folder_name: &str, file_name: &str) -> Result<AofFolder, FolderError> {
        let mut this = AofFolder {
            disk,
            dir: dir.to_owned(),
            folder: dir.join(folder_name),
            file_name: file_name.to_owned(),
            manifest: Manifest::default(),
            lock: None,
        };
        this.read_manifest()?;
        Ok(this)
    }

    /// Reads the manifest again.
    ///
    /// # Errors
    /// Those of [`AofFolder::open`].
    pub fn read_manifest(&mut self) -> Result<(), FolderError> {
        let path = self.manifest_path();
        let failed = |error| FolderError::Io { path: path.clone(), error };
        let mut text = Vec::new();
        match self.disk.open(&path, 0) {
            Ok((file, _)) => {
                file.take(MANIFEST_BYTES as u64).read_to_end(&mut text).map_err(failed)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.manifest = Manifest::default();
                self.leave_orphans();
                return Ok(());
            }
            Err(error) => return Err(failed(error)),
        }
        self.manifest = Manifest::parse(&text).map_err(|error| FolderError::Manifest { path: path.clone(), error })?;
        Ok(())
    }

    /// There is no manifest: files of one that was lost are not written over.
    fn leave_orphans(&mut self) {
        let names = self.disk.list(&self.folder).unwrap_or_default();
        let orphans = names.iter().filter(|name| self.manifest.pass_over(&self.file_name, name.as_bytes())).count();
        if orphans > 0 {
            tracing::warn!(
                "{} is missing, so {orphans} files of an append-only file beside it are not read. They are left as they are: \
                 to have their data, stop the server and put the manifest back",
                self.manifest_path().display()
            );
        }
    }

    /// What the manifest says.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Where the manifest is.
    pub fn manifest_path(&self) -> PathBuf {
        self.folder.join(format!("{}.manifest", self.file_name))
    }

    /// Where a file is.
    pub fn path(&self, part: &Part) -> PathBuf {
        part.path(&self.folder)
    }

    /// The files to be loaded, in order, and their sizes in bytes.
    ///
    /// # Errors
    /// One is missing or is no file.
    pub fn parts(&self) -> Result<Vec<(PathBuf, u64)>, FolderError> {
        let sized = |part: &Part| {
            let path = self.path(part);
            match self.disk.open(&path, 0) {
                Ok((_, bytes)) => Ok((path, bytes)),
                Err(error) => Err(FolderError::Io { path, error }),
            }
        };
        self.manifest.loaded().map(sized).collect()
    }

    /// Whether there is something to load: a manifest that names files, or the single file of old servers.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn is_used(&self) -> Result<bool, FolderError> {
        Ok(self.manifest.loaded().next().is_some() || self.exists(&self.old_path())?)
    }

    /// Takes over the single file that servers up to Redis 6 write: it becomes the base. An upgrade that was interrupted goes on.
    /// Returns whether there was one.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn upgrade(&mut self) -> Result<bool, FolderError> {
        let old = self.old_path();
        let new = self.folder.join(&self.file_name);
        let fresh = self.manifest.loaded().next().is_none();
        let interrupted = self.manifest.is_only_base(&self.file_name) && !self.exists(&new)?;
        if !(fresh || interrupted) || !self.exists(&old)? {
            return Ok(false);
        }
        if self.disk.list(&old).is_ok() {
            return Err(FolderError::Io { path: old, error: io::ErrorKind::IsADirectory.into() });
        }
        self.make_folder()?;
        if fresh {
            let mut manifest = self.manifest.clone();
            manifest.set_old_base(&self.file_name);
            self.put_manifest(manifest)?;
        }
        self.io(&old, |disk| disk.rename(&old, &new))?;
        self.sync()?;
        self.io(&self.dir, |disk| disk.sync_folder(&self.dir))?;
        Ok(true)
    }

    /// Sees to it that no other server writes these files, for as long as this is there or until [`AofFolder::unlock`].
    ///
    /// # Errors
    /// One does, or the folder cannot be made.
    pub fn lock(&mut self) -> Result<(), FolderError> {
        if self.lock.is_some() {
            return Ok(());
        }
        self.make_folder()?;
        let path = self.lock_path();
        let locked = self.io(&path, |disk| disk.lock(&path))?;
        self.lock = Some(locked.ok_or_else(|| FolderError::InUse(self.folder.clone()))?);
        Ok(())
    }

    /// Lets others write.
    pub fn unlock(&mut self) {
        self.lock = None;
    }

    /// Makes an increment behind all others and opens it. Unless `held_back`, the manifest names it from now on.
    ///
    /// # Errors
    /// Those of the file system; the manifest is then as before.
    pub fn add_increment(&mut self) -> Result<Box<dyn DataFile>, FolderError> {
        self.make_folder()?;
        let mut manifest = self.manifest.clone();
        let path = self.path(&manifest.next_increment(&self.file_name));
        let file = self.io(&path, |disk| disk.create(&path))?;
        self.sync()?;
        self.put_manifest(manifest)?;
        Ok(file)
    }

    /// Opens the last increment to go on with it; `None` if there is none.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open_last_increment(&self) -> Result<Option<Box<dyn DataFile>>, FolderError> {
        let Some(part) = self.manifest.increments.last() else { return Ok(None) };
        let path = self.path(part);
        self.io(&path, |disk| disk.append(&path)).map(Some)
    }

    /// Makes the file for what is changed while the first base is being written, which no manifest names until that is done.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn make_temporary_increment(&mut self) -> Result<Box<dyn DataFile>, FolderError> {
        self.make_folder()?;
        let path = self.temporary_increment();
        self.io(&path, |disk| disk.create(&path))
    }

    /// Takes that file away.
    pub fn remove_temporary_increment(&self) {
        let path = self.temporary_increment();
        match self.disk.remove(&path) {
            Ok(()) => tracing::info!("Removing the temp incr aof file {}", path.display()),
            Err(error) => tracing::warn!("could not remove {}: {error}", path.display()),
        }
    }

    /// Puts a base in place that was written, and forced to disk, at `written`: it stands for everything but the last
    /// `increments`, which are 0 if nothing is being written. `snapshot`: it is in the form of snapshots. `with_temporary`:
    /// the last one is the file of [`AofFolder::make_temporary_increment`], which gets its name.
    ///
    /// # Errors
    /// Those of the file system; the manifest is then as before.
    pub fn put_base(
        &mut self,
        written: &Path,
        snapshot: bool,
        increments: usize,
        with_temporary: bool,
    ) -> Result<(), FolderError> {
        self.make_folder()?;
        let mut manifest = self.manifest.clone();
        let base = manifest.next_base(&self.file_name, snapshot);
        let path = base.path(&self.folder);
        if with_temporary {
            let increment = self.path(&manifest.next_increment(&self.file_name));
            let temporary = self.temporary_increment();
            self.io(&increment, |disk| disk.rename(&temporary, &increment))?;
        }
        manifest.retire_increments(increments);
        self.io(&path, |disk| disk.rename(written, &path))?;
        self.sync()?;
        self.put_manifest(manifest)
    }

    /// Removes files that were replaced. Fails silently but for the log: they are only litter.
    pub fn remove_history(&mut self) {
        if self.manifest.history.is_empty() {
            return;
        }
        let mut manifest = self.manifest.clone();
        let history = std::mem::take(&mut manifest.history);
        if let Err(error) = self.put_manifest(manifest) {
            tracing::warn!("replaced append-only files are left: {error}");
            return;
        }
        for part in history {
            // Whoever has edited the manifest may have named a file twice.
            let own = [self.manifest_path(), self.lock_path(), self.journal_path()];
            let is_needed =
                own.contains(&self.path(&part)) || self.manifest.loaded().any(|other| other.name == part.name);
            if is_needed {
                tracing::warn!("{} is history in the manifest, and is needed all the same: it stays", part.shown());
                continue;
            }
            let path = self.path(&part);
            match self.disk.remove(&path) {
                Ok(()) => tracing::info!("Removing the history file {}", part.shown()),
                Err(error) => tracing::warn!("could not remove {}: {error}", path.display()),
            }
        }
    }

    /// Removes what rewrites that were interrupted have left. Only for who has the lock.
    pub fn remove_leftovers(&self) {
        let temporary = |name: &[u8]| {
            let base = self.temporary_base_name();
            let rewrite =
                name.strip_prefix(base.as_bytes()).is_some_and(|rest| rest.is_empty() || rest.ends_with(b".part"));
            rewrite
                || name == self.temporary_increment_name().as_bytes()
                || name == self.temporary_manifest().as_bytes()
        };
        let names = self.disk.list(&self.folder).unwrap_or_default();
        for name in names.iter().filter(|name| temporary(name.as_bytes())) {
            // Only litter.
            let _ = self.disk.remove(&self.folder.join(name));
        }
    }

    /// Puts back what the increments lack after the machine was switched off, from their journal. Only for who has the lock.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn restore(&self) -> Result<(), FolderError> {
        let path = self.journal_path();
        let names: Vec<&[u8]> = self.manifest.increments.iter().map(|part| part.name.as_slice()).collect();
        let restored = self.io(&path, |disk| journal::restore(disk, &path, &self.folder, &names))?;
        if restored.bytes > 0 {
            tracing::warn!(
                "{} bytes at the end of the append-only file were put back from its journal",
                restored.bytes
            );
        }
        if restored.changed {
            tracing::warn!(
                "the append-only file was changed after its journal {} was written: nothing more is put back",
                path.display()
            );
        }
        Ok(())
    }

    /// Where the journal of the last increment is.
    pub fn journal_path(&self) -> PathBuf {
        self.folder.join(format!("{}.journal", self.file_name))
    }

    /// A journal of so many bytes for the last increment.
    pub fn journal(&self, bytes: u64) -> Option<JournalPlace> {
        let name = self.manifest.increments.last()?.name.clone();
        Some(JournalPlace { disk: Arc::clone(&self.disk), path: self.journal_path(), bytes, name })
    }

    /// Where the next base is to be written, before [`AofFolder::put_base`].
    pub fn temporary_base(&self) -> PathBuf {
        self.folder.join(self.temporary_base_name())
    }

    fn temporary_base_name(&self) -> String {
        format!("temp-rewriteaof-bg-{}.aof", self.file_name)
    }

    /// Makes the folder if it is not there, and forces it to disk.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn make_folder(&self) -> Result<(), FolderError> {
        if self.exists(&self.folder)? && self.disk.list(&self.folder).is_ok() {
            return Ok(());
        }
        self.io(&self.folder, |disk| disk.make_folder(&self.folder))?;
        self.io(&self.dir, |disk| disk.sync_folder(&self.dir))
    }

    fn put_manifest(&mut self, manifest: Manifest) -> Result<(), FolderError> {
        let path = self.manifest_path();
        let temporary = self.folder.join(self.temporary_manifest());
        let text = manifest.text();
        self.io(&path, |disk| replace_file(disk, &path, &temporary, |file| file.write_all(&text)))?;
        self.manifest = manifest;
        Ok(())
    }

    fn lock_path(&self) -> PathBuf {
        self.folder.join(format!("{}.lock", self.file_name))
    }

    fn old_path(&self) -> PathBuf {
        self.dir.join(&self.file_name)
    }

    fn temporary_increment(&self) -> PathBuf {
        self.folder.join(self.temporary_increment_name())
    }

    fn temporary_increment_name(&self) -> String {
        format!("temp-{}.incr", self.file_name)
    }

    fn temporary_manifest(&self) -> String {
        format!("temp-{}.manifest", self.file_name)
    }

    fn exists(&self, path: &Path) -> Result<bool, FolderError> {
        self.io(path, |disk| disk.exists(path))
    }

    fn sync(&self) -> Result<(), FolderError> {
        self.io(&self.folder, |disk| disk.sync_folder(&self.folder))
    }

    fn io<T>(&self, path: &Path, call: impl FnOnce(&dyn Disk) -> io::Result<T>) -> Result<T, FolderError> {
        call(&*self.disk).map_err(|error| FolderError::Io { path: path.to_owned(), error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::faults::{Call, Fault, FaultyDisk, Survives};

    fn open(disk: &FaultyDisk) -> Result<AofFolder, FolderError> {
        AofFolder::open(Arc::new(disk.clone()), Path::new(""), "dir", "a.aof")
    }

    /// Everything that the manifest names, in order.
    fn loaded(disk: &FaultyDisk) -> Vec<u8> {
        let folder = open(disk).expect("a good manifest");
        let read = |(path, _)| disk.contents(path).expect("the file is there");
        folder.parts().expect("all files are there").into_iter().flat_map(read).collect()
    }

    fn write(file: &mut dyn DataFile, bytes: &[u8]) -> Result<(), FolderError> {
        let written = file.write_all(bytes).and_then(|()| file.sync_data());
        written.map_err(|error| FolderError::Io { path: PathBuf::new(), error })
    }

    fn write_base(disk: &FaultyDisk, folder: &AofFolder, bytes: &[u8]) -> Result<PathBuf, FolderError> {
        let path = folder.temporary_base();
        let write = || {
            let mut file = disk.create(&path)?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        write().map_err(|error| FolderError::Io { path: path.clone(), error })?;
        Ok(path)
    }

    /// A life: it begins empty, writes, is rewritten, writes. `acknowledged` hears of each byte that was forced to disk.
    fn live(disk: &FaultyDisk, acknowledged: &mut Vec<u8>) -> Result<(), FolderError> {
        let mut folder = open(disk)?;
        folder.lock()?;
        folder.upgrade()?;
        if folder.manifest().base.is_none() {
            let base = write_base(disk, &folder, b"")?;
            folder.put_base(&base, true, 0, false)?;
        }
        let mut increment = folder.add_increment()?;
        let mut say = |increment: &mut Box<dyn DataFile>, bytes: &[u8]| {
            write(&mut **increment, bytes)?;
            acknowledged.extend_from_slice(bytes);
            Ok::<(), FolderError>(())
        };
        say(&mut increment, b"one ")?;
        let everything = loaded_by(disk, &folder);
        increment = folder.add_increment()?;
        say(&mut increment, b"two ")?;
        let base = write_base(disk, &folder, &everything)?;
        folder.put_base(&base, true, 1, false)?;
        say(&mut increment, b"three ")?;
        folder.remove_history();
        say(&mut increment, b"four ")
    }

    fn loaded_by(disk: &FaultyDisk, folder: &AofFolder) -> Vec<u8> {
        folder.manifest().loaded().flat_map(|part| disk.contents(folder.path(part)).unwrap_or_default()).collect()
    }

    fn crash_everywhere(prepare: fn(&FaultyDisk), before: &[u8]) {
        let disk = FaultyDisk::new();
        prepare(&disk);
        let from = disk.calls();
        let mut all = before.to_vec();
        live(&disk, &mut all).expect("a healthy disk");
        assert_eq!(loaded(&disk), all);
        for call in from..=disk.calls() {
            for survives in Survives::ALL {
                let disk = FaultyDisk::new();
                prepare(&disk);
                disk.crash_at(call);
                let mut acknowledged = before.to_vec();
                let ended = live(&disk, &mut acknowledged);
                let disk = disk.restarted(survives);
                let mut folder = open(&disk).unwrap_or_else(|error| panic!("call {call}, {survives:?}: {error}"));
                folder.upgrade().unwrap_or_else(|error| panic!("call {call}, {survives:?}: {error}"));
                let found = loaded(&disk);
                assert!(
                    found.starts_with(&acknowledged) && all.starts_with(&found),
                    "call {call}, {survives:?}, {ended:?}: {} after {}",
                    found.escape_ascii(),
                    acknowledged.escape_ascii()
                );
                // It goes on from there.
                folder.lock().expect("nobody else is there");
                folder.remove_leftovers();
                let mut increment = folder.add_increment().expect("a healthy disk");
                write(&mut *increment, b"again").expect("a healthy disk");
                assert_eq!(loaded(&disk), [&found[..], b"again"].concat());
            }
        }
    }

    #[test]
    fn a_crash_between_any_two_calls_loses_nothing_that_was_forced_to_disk() {
        crash_everywhere(|_| {}, b"");
    }

    #[test]
    fn a_crash_while_an_old_file_is_taken_over_loses_nothing() {
        crash_everywhere(|disk| disk.put("a.aof", b"old "), b"old ");
    }

    #[test]
    fn the_temporary_increment_is_named_with_the_first_base() {
        let disk = FaultyDisk::new();
        let mut folder = open(&disk).expect("an empty disk");
        let mut increment = folder.make_temporary_increment().expect("a healthy disk");
        write(&mut *increment, b"later").expect("a healthy disk");
        assert!(!folder.is_used().expect("a healthy disk"));
        let base = write_base(&disk, &folder, b"sooner ").expect("a healthy disk");
        folder.put_base(&base, false, 1, true).expect("a healthy disk");
        assert_eq!(loaded(&disk), b"sooner later");
        let text = String::from_utf8(disk.contents("dir/a.aof.manifest").expect("it is there")).expect("plain text");
        assert_eq!(text, "file a.aof.1.base.aof seq 1 type b\nfile a.aof.1.incr.aof seq 1 type i\n");
    }

    #[test]
    fn leftovers_go_and_everything_else_stays() {
        let disk = FaultyDisk::new();
        let mut folder = open(&disk).expect("an empty disk");
        drop(folder.add_increment().expect("a healthy disk"));
        let litter = [
            "temp-rewriteaof-bg-a.aof.aof",
            "temp-rewriteaof-bg-a.aof.aof.0.part",
            "temp-a.aof.incr",
            "temp-a.aof.manifest",
        ];
        for name in litter.iter().chain(&["temp-b.aof.incr", "mine", "b.aof.1.incr.aof"]) {
            disk.put(format!("dir/{name}"), b"x");
        }
        folder.remove_leftovers();
        let mut names = disk.list(Path::new("dir")).expect("the folder");
        names.sort();
        assert_eq!(names, ["a.aof.1.incr.aof", "a.aof.manifest", "b.aof.1.incr.aof", "mine", "temp-b.aof.incr"]);
    }

    #[test]
    fn files_whose_manifest_is_lost_are_not_written_over() {
        let disk = FaultyDisk::new();
        disk.make_folder(Path::new("dir")).expect("a healthy disk");
        for name in ["a.aof.3.base.rdb", "a.aof.4.incr.aof", "b.aof.9.incr.aof"] {
            disk.put(format!("dir/{name}"), b"mine");
        }
        let mut folder = open(&disk).expect("no manifest");
        assert!(folder.parts().expect("nothing is named").is_empty() && !folder.is_used().expect("a healthy disk"));
        let base = write_base(&disk, &folder, b"new ").expect("a healthy disk");
        folder.put_base(&base, true, 0, false).expect("a healthy disk");
        drop(folder.add_increment().expect("a healthy disk"));
        let names: Vec<String> = folder.manifest().loaded().map(Part::shown).collect();
        assert_eq!(names, ["a.aof.4.base.rdb", "a.aof.5.incr.aof"]);
        assert_eq!(disk.contents("dir/a.aof.3.base.rdb").as_deref(), Some(&b"mine"[..]));
        assert_eq!(disk.contents("dir/a.aof.4.incr.aof").as_deref(), Some(&b"mine"[..]));
    }

    #[test]
    fn history_that_is_needed_is_not_removed() {
        let disk = FaultyDisk::new();
        disk.make_folder(Path::new("dir")).expect("a healthy disk");
        let text = "file x seq 1 type i\nfile x seq 1 type h\nfile a.aof.manifest seq 2 type h\nfile y seq 3 type h\n";
        disk.put("dir/a.aof.manifest", text.as_bytes());
        disk.put("dir/x", b"data");
        disk.put("dir/y", b"old");
        let mut folder = open(&disk).expect("a good manifest");
        folder.remove_history();
        assert_eq!(loaded(&disk), b"data");
        assert_eq!(disk.contents("dir/y"), None);
    }

    #[test]
    fn the_old_file_is_taken_over_where_a_manifest_names_history_alone() {
        let disk = FaultyDisk::new();
        disk.make_folder(Path::new("dir")).expect("a healthy disk");
        disk.put("dir/a.aof.manifest", b"file x seq 1 type h\n");
        disk.put("a.aof", b"old");
        let mut folder = open(&disk).expect("a good manifest");
        assert!(folder.is_used().expect("a healthy disk") && folder.upgrade().expect("a healthy disk"));
        assert_eq!(loaded(&disk), b"old");
    }

    #[test]
    fn a_missing_file_and_a_folder_in_its_place_are_told() {
        let disk = FaultyDisk::new();
        disk.make_folder(Path::new("dir")).expect("a healthy disk");
        disk.put("dir/a.aof.manifest", b"file x seq 1 type i\n");
        let error = open(&disk).expect("a good manifest").parts().expect_err("nothing is there");
        assert!(error.to_string().contains("dir/x cannot be used: No such file or directory"), "{error}");
        disk.put("dir/a.aof.manifest", b"file x seq 1 type y\n");
        let error = open(&disk).expect_err("a bad manifest").to_string();
        assert_eq!(error, "the AOF manifest dir/a.aof.manifest, line 1: Unknown AOF file type");
    }

    #[test]
    fn whatever_fails_the_manifest_of_before_is_in_force() {
        for call in [Call::Create, Call::SyncAll, Call::Rename, Call::Write] {
            let disk = FaultyDisk::new();
            let mut folder = open(&disk).expect("an empty disk");
            let mut increment = folder.add_increment().expect("a healthy disk");
            write(&mut *increment, b"one").expect("a healthy disk");
            let manifest = folder.manifest().clone();
            disk.fail(call, Fault::Error(libc::EIO));
            drop(folder.add_increment().expect_err("a failing disk"));
            assert_eq!(*folder.manifest(), manifest, "{call:?}");
            disk.heal();
            assert_eq!(loaded(&disk), b"one", "{call:?}");
        }
    }
}
