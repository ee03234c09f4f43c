//! Files that must survive a crash: the few calls of the file system that they are written with, and the one way to replace
//! a file.
//!
//! What a program has written is on disk when it was forced there and not before, and so is the name under which it stands:
//! a new name, or one that was exchanged, is forced to disk with its folder. So there is a trait for these calls, and in
//! tests a disk that fails, or forgets what was not forced to it, between any two of them ([`faults`]).
//!
//! ```text
//!  replace_file:  create temporary ─► write ─► sync_all ─► rename ─► sync_folder
//!                 └──────────── the old file ────────────┘└─ old or new ─┘└─ new
//! ```

#[cfg(test)]
pub mod faults;
mod real;

pub use real::RealDisk;

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read, Write};
use std::path::Path;

/// Calls of the file system that data files depend on. All of them may block for as long as the disk takes.
pub trait Disk: fmt::Debug + Send + Sync {
    /// A new and empty file. One that is there already under this name is removed first; a link is not followed.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DataFile>>;
    /// A file to be written to at its end; made if it is not there.
    fn append(&self, path: &Path) -> io::Result<Box<dyn DataFile>>;
    /// A file to be read from the byte at `from` on, and its length in bytes.
    fn open(&self, path: &Path, from: u64) -> io::Result<(Box<dyn Read + Send>, u64)>;
    /// Gives a file another name; a file that has that name is gone.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Takes a file away.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes a folder; one that is there already is fine.
    fn make_folder(&self, path: &Path) -> io::Result<()>;
    /// The names in a folder, in no particular order.
    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>>;
    /// Whether there is something under a name.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Gives one file the permissions of another.
    fn copy_mode(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Forces the names in a folder to disk.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Holds a file, which is made if it is not there, for as long as what is returned is kept, or until the process has
    /// ended in whatever way. `None` if somebody else holds it.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn FileLock>>>;
    /// A new file of so many zero bytes, all of which are on disk, and so is its name. One that is there already under this
    /// name is removed first.
    fn in_place(&self, path: &Path, bytes: u64) -> io::Result<Box<dyn InPlaceFile>>;
    /// Which run of the machine this is: what was written in the same one is there, forced to disk or not. 0 if it is not
    /// known.
    fn boot(&self) -> u128;
}

/// A file whose length stays as it is.
pub trait InPlaceFile: fmt::Debug + Send {
    /// Writes all of `bytes`, which are on disk when this returns. After an error, or where the machine is switched off
    /// meanwhile, any part of them may be.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
}

/// A file is held.
pub trait FileLock: fmt::Debug + Send {}

/// A file that is being written.
pub trait DataFile: Write + fmt::Debug + Send {
    /// Forces what was written to disk.
    fn sync_data(&mut self) -> io::Result<()>;
    /// The same with everything that is known of the file.
    fn sync_all(&mut self) -> io::Result<()>;
    /// Cuts the file off behind `len` bytes; what is written next stands there.
    fn set_len(&mut self, len: u64) -> io::Result<()>;
    /// Another handle to the same file, for another thread.
    fn another(&self) -> io::Result<Box<dyn DataFile>>;
    /// Its length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether there is nothing in it.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Replaces the file at `path` by what `write` writes, or makes it. It is written under the name `temporary`, in the same
/// folder, and gets its own name when all of it is on disk: whatever happens, the old file is there or the new one, whole.
/// Returns what `write` returns. Costs two fsyncs.
///
/// # Errors
/// Those of `write` and of the file system. Where only the last step fails, the new file is in place, but after a crash the
/// old one may be.
pub fn replace_file<T>(
    disk: &dyn Disk,
    path: &Path,
    temporary: &Path,
    write: impl FnOnce(&mut dyn DataFile) -> io::Result<T>,
) -> io::Result<T> {
    let written = (|| {
        let mut file = disk.create(temporary)?;
        let result = write(&mut *file)?;
        file.sync_all()?;
        drop(file);
        disk.rename(temporary, path)?;
        Ok(result)
    })();
    if written.is_err() {
        // The first error is the one to tell; a leftover is only litter.
        let _ = disk.remove(temporary);
        return written;
    }
    disk.sync_folder(folder_of(path))?;
    written
}

/// The folder that a file is in.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::faults::{Call, Fault, FaultyDisk, Survives};
    use super::*;

    fn replace(disk: &FaultyDisk, contents: &[u8]) -> io::Result<()> {
        let (path, temporary) = (Path::new("folder/file"), Path::new("folder/temp-file"));
        replace_file(disk, path, temporary, |file| {
            // In two steps, so that there is a crash between them.
            let (first, second) = contents.split_at(contents.len() / 2);
            file.write_all(first)?;
            file.write_all(second)
        })
    }

    fn with_old_file() -> FaultyDisk {
        let disk = FaultyDisk::new();
        disk.make_folder(Path::new("folder")).expect("a healthy disk");
        disk.sync_folder(Path::new("")).expect("a healthy disk");
        replace(&disk, b"the old contents").expect("a healthy disk");
        disk
    }

    #[test]
    fn a_crash_between_any_two_calls_leaves_the_old_file_or_the_new_one() {
        let disk = with_old_file();
        let before = disk.calls();
        replace(&disk, b"something new").expect("a healthy disk");
        let calls = disk.calls() - before;
        assert!(calls >= 6, "{calls} calls");
        let mut seen = (0, 0);
        for call in 0..=calls {
            for survives in Survives::ALL {
                let disk = with_old_file();
                disk.crash_at(disk.calls() + call);
                let done = replace(&disk, b"something new");
                let disk = disk.restarted(survives);
                let contents = disk.contents("folder/file");
                match contents.as_deref() {
                    Some(b"the old contents") => seen.0 += 1,
                    Some(b"something new") => seen.1 += 1,
                    other => panic!("call {call}, {survives:?}: {other:?}"),
                }
                // What was said to be done is.
                assert!(done.is_err() || contents.as_deref() == Some(b"something new"), "call {call}, {survives:?}");
            }
        }
        assert!(seen.0 > 0 && seen.1 > 0, "{seen:?}");
    }

    #[test]
    fn a_call_that_fails_leaves_the_old_file_and_no_litter_unless_only_the_folder_is_left() {
        for call in [Call::Create, Call::Write, Call::SyncAll, Call::Rename, Call::SyncFolder] {
            let disk = with_old_file();
            disk.fail(call, Fault::Error(libc::EIO));
            let error = replace(&disk, b"something new").expect_err("a failing call");
            assert_eq!(error.raw_os_error(), Some(libc::EIO));
            let new = call == Call::SyncFolder;
            let expected: &[u8] = if new { b"something new" } else { b"the old contents" };
            assert_eq!(disk.contents("folder/file").as_deref(), Some(expected), "{call:?}");
            assert_eq!(disk.list(Path::new("folder")).expect("the folder").len(), 1, "{call:?}");
        }
    }

    #[test]
    fn a_full_disk_leaves_the_old_file() {
        for room in 0..13 {
            let disk = with_old_file();
            disk.set_room(Some(room));
            let error = replace(&disk, b"something new").expect_err("a full disk");
            assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
            assert_eq!(disk.contents("folder/file").as_deref(), Some(&b"the old contents"[..]));
        }
    }

    #[test]
    fn short_writes_make_no_difference() {
        let disk = with_old_file();
        disk.set_write_max(Some(1));
        replace(&disk, b"something new").expect("a slow disk");
        assert_eq!(disk.contents("folder/file").as_deref(), Some(&b"something new"[..]));
    }

    #[test]
    fn nothing_is_written_in_a_folder_that_is_read_only() {
        let disk = with_old_file();
        disk.set_read_only(true);
        let error = replace(&disk, b"something new").expect_err("a read-only folder");
        assert_eq!(error.raw_os_error(), Some(libc::EROFS));
        assert_eq!(disk.contents("folder/file").as_deref(), Some(&b"the old contents"[..]));
    }

    #[test]
    fn the_real_disk_replaces_a_file_and_leaves_no_litter() {
        let folder = std::env::temp_dir().join(format!("weir-disk-{}", std::process::id()));
        RealDisk.make_folder(&folder).expect("a writable folder");
        let (path, temporary) = (folder.join("file"), folder.join("temp-file"));
        std::fs::write(&temporary, "a leftover").expect("a writable folder");
        for contents in ["one", "two"] {
            replace_file(&RealDisk, &path, &temporary, |file| file.write_all(contents.as_bytes())).expect("writable");
            assert_eq!(std::fs::read_to_string(&path).expect("the file"), contents);
        }
        assert_eq!(RealDisk.list(&folder).expect("the folder"), ["file"]);
        let mut file = RealDisk.append(&path).expect("the file");
        assert_eq!(file.len().expect("the file"), 3);
        file.write_all(b" and more").expect("a writable file");
        file.set_len(5).expect("a writable file");
        file.write_all(b"!").expect("a writable file");
        assert_eq!(std::fs::read_to_string(&path).expect("the file"), "two a!");
        std::fs::remove_dir_all(&folder).expect("the folder just made");
    }
}
