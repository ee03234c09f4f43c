//! The disk that there is.

use super::{DataFile, Disk, FileLock, InPlaceFile, folder_of};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// The file system of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DataFile>> {
        // Written at its end as well, so that what was cut off is not missed.
        let new = || OpenOptions::new().append(true).create_new(true).open(path);
        let file = match new() {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(path)?;
                new()?
            }
            opened => opened?,
        };
        Ok(Box::new(RealFile(file)))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn DataFile>> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn open(&self, path: &Path, from: u64) -> io::Result<(Box<dyn Read + Send>, u64)> {
        let mut file = File::open(path)?;
        let facts = file.metadata()?;
        if facts.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if from > 0 {
            file.seek(SeekFrom::Start(from))?;
        }
        Ok((Box::new(file), facts.len()))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn make_folder(&self, path: &Path) -> io::Result<()> {
        match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            made => made,
        }
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect()
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn copy_mode(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::set_permissions(to, fs::metadata(from)?.permissions())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn FileLock>>> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(RealLock(file)))),
            Err(TryLockError::WouldBlock) => Ok(None),
            // A file system without locks: nobody can hold one.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                Ok(Some(Box::new(RealLock(file))))
            }
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn in_place(&self, path: &Path, bytes: u64) -> io::Result<Box<dyn InPlaceFile>> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).custom_flags(libc::O_DSYNC).open(path)?;
        let mut file = InPlace(file);
        // Written, and not only reserved: what is written first to reserved places changes what the file system knows of them.
        let zeros = vec![0; ZEROS_BYTES];
        let filled = (|| {
            let mut at = 0;
            while at < bytes {
                let len = (bytes - at).min(ZEROS_BYTES as u64);
                file.write_at(zeros.get(..len as usize).unwrap_or_default(), at)?;
                at += len;
            }
            file.0.sync_all()?;
            self.sync_folder(folder_of(path))
        })();
        if filled.is_err() {
            // The first error is the one to tell; a leftover is only litter.
            let _ = fs::remove_file(path);
        }
        filled.map(|()| Box::new(file) as Box<dyn InPlaceFile>)
    }

    fn boot(&self) -> u128 {
        let told = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        u128::from_str_radix(&told.trim().replace('-', ""), 16).unwrap_or(0)
    }
}

/// Zeros that are written at once.
const ZEROS_BYTES: usize = 1024 * 1024;

/// Every write of it waits for the disk.
#[derive(Debug)]
struct InPlace(File);

impl InPlaceFile for InPlace {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }
}

/// The lock ends with the descriptor.
#[derive(Debug)]
struct RealLock(#[expect(dead_code, reason = "it is there to be dropped")] File);

impl FileLock for RealLock {}

#[derive(Debug)]
struct RealFile(File);

impl Write for RealFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl DataFile for RealFile {
    fn sync_data(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_all(&mut self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn another(&self) -> io::Result<Box<dyn DataFile>> {
        Ok(Box::new(RealFile(self.0.try_clone()?)))
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}
