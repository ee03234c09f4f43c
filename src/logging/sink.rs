//! Where lines go: standard output, or a file that may be moved away under our feet.
//!
//! *Rotation.* Before a line is written the path is looked up (about a microsecond): if it names another file than the
//! open one, or none, the file is opened anew. So `mv` and `rm` work without a signal, and a relative path follows the
//! working directory, as with Redis.
//!
//! *Never in the way.* A regular file answers at once, even on a full disk. A pipe or terminal that nobody reads would
//! block, so it is asked first; it may hold the server up for [`STALL_PATIENCE_MS`] once, and loses lines from then on
//! until it takes some again. What is lost is counted and said with the next line that gets through.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// How long a reader that has fallen behind may hold up the server, once until it catches up.
const STALL_PATIENCE_MS: i32 = 20;

/// The place that lines are written to.
#[derive(Debug)]
pub(super) struct Sink {
    target: Target,
    /// The last write was cut short: the next one begins with a line feed.
    torn: bool,
    stalled: bool,
    dropped: u64,
}

#[derive(Debug)]
enum Target {
    Stdout,
    File(LogFile),
}

impl Sink {
    pub(super) fn stdout() -> Sink {
        Sink::new(Target::Stdout)
    }

    /// Opens the file to append to it, and creates it if need be.
    pub(super) fn file(path: &Path) -> io::Result<Sink> {
        LogFile::open(path).map(|file| Sink::new(Target::File(file)))
    }

    fn new(target: Target) -> Sink {
        Sink { target, torn: false, stalled: false, dropped: 0 }
    }

    /// Writes the text as it is, or drops it and counts it.
    pub(super) fn write(&mut self, text: &str) {
        if !self.try_write(text.as_bytes()) {
            self.dropped += 1;
        }
    }

    /// Lines dropped since the last call that returned some.
    pub(super) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// Takes back what `take_dropped` gave: the line that would have told of it did not get through either.
    pub(super) fn add_dropped(&mut self, lines: u64) {
        self.dropped += lines;
    }

    /// Lines dropped and not yet taken.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Opens the file anew, whether it was moved or not. Standard output stays as it is.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        match &mut self.target {
            Target::Stdout => Ok(()),
            Target::File(file) => file.reopen(),
        }
    }

    fn try_write(&mut self, text: &[u8]) -> bool {
        let stdout = io::stdout();
        let fd = match &mut self.target {
            Target::Stdout => stdout.as_fd(),
            Target::File(file) => {
                file.follow_path();
                file.file.as_fd()
            }
        };
        let patience_ms = if self.stalled { 0 } else { STALL_PATIENCE_MS };
        self.stalled = !is_writable_within(fd, patience_ms);
        if self.stalled {
            return false;
        }
        if self.torn && write_as_far_as_possible(fd, b"\n") == 0 {
            return false;
        }
        let written = write_as_far_as_possible(fd, text);
        self.torn = written > 0 && written < text.len();
        written == text.len()
    }
}

#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    file: File,
    device: u64,
    inode: u64,
}

impl LogFile {
    fn open(path: &Path) -> io::Result<LogFile> {
        // A named pipe without a reader must fail and not wait; regular files do not care.
        let file = OpenOptions::new().append(true).create(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        let metadata = file.metadata()?;
        Ok(LogFile { path: path.to_owned(), file, device: metadata.dev(), inode: metadata.ino() })
    }

    fn reopen(&mut self) -> io::Result<()> {
        *self = LogFile::open(&self.path)?;
        Ok(())
    }

    /// Opens the path anew if it names another file by now. If that fails, the old file goes on being used.
    fn follow_path(&mut self) {
        let same = std::fs::metadata(&self.path)
            .is_ok_and(|metadata| metadata.dev() == self.device && metadata.ino() == self.inode);
        if !same {
            // Nobody to tell but this very log; the next line tries again.
            let _ = self.reopen();
        }
    }
}

/// The number of bytes written; less than all if an error ended it.
fn write_as_far_as_possible(fd: BorrowedFd<'_>, text: &[u8]) -> usize {
    let mut rest = text;
    while !rest.is_empty() {
        // Standard output's own buffer would keep what could not be written, so it is passed by.
        // SAFETY: the pointer and length are those of a live slice.
        let count = unsafe { libc::write(fd.as_raw_fd(), rest.as_ptr().cast(), rest.len()) };
        match usize::try_from(count) {
            Ok(0) => break,
            Ok(count) => rest = rest.get(count..).unwrap_or_default(),
            Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    text.len() - rest.len()
}

/// Whether a line can be written without waiting: a pipe says so while it has room for `PIPE_BUF` bytes. True on an
/// error, which the write will meet too.
fn is_writable_within(fd: BorrowedFd<'_>, patience_ms: i32) -> bool {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    // SAFETY: one live pollfd, and a count of one.
    let ready = unsafe { libc::poll(&raw mut poll, 1, patience_ms) };
    ready != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    /// A folder of its own that goes away with the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("weir-log-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Folder(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn lines_follow_the_path_when_the_file_is_moved_or_removed() {
        let folder = Folder::new("rotate");
        let (path, old) = (folder.0.join("log"), folder.0.join("log.1"));
        let mut sink = Sink::file(&path).unwrap();
        sink.write("one\n");
        std::fs::rename(&path, &old).unwrap();
        sink.write("two\n");
        assert_eq!(std::fs::read_to_string(&old).unwrap(), "one\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
        std::fs::remove_file(&path).unwrap();
        sink.write("three\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three\n");
        // Appends to what another start left.
        Sink::file(&path).unwrap().write("four\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three\nfour\n");
        assert_eq!(sink.take_dropped(), 0);
    }

    #[test]
    fn the_old_file_is_kept_while_the_path_cannot_be_opened() {
        let folder = Folder::new("gone");
        let inner = folder.0.join("logs");
        std::fs::create_dir(&inner).unwrap();
        let mut sink = Sink::file(&inner.join("log")).unwrap();
        let moved = folder.0.join("moved");
        std::fs::rename(&inner, &moved).unwrap();
        sink.write("still here\n");
        assert_eq!(std::fs::read_to_string(moved.join("log")).unwrap(), "still here\n");
        assert!(sink.reopen().is_err());
        assert_eq!(sink.dropped(), 0);
    }

    #[test]
    fn a_full_device_drops_lines_and_counts_them() {
        let mut sink = Sink::file(Path::new("/dev/full")).unwrap();
        sink.write("lost\n");
        sink.write("lost\n");
        assert_eq!(sink.take_dropped(), 2);
        assert!(!sink.torn);
    }

    #[test]
    fn a_pipe_that_nobody_reads_does_not_hold_the_server_up() {
        let folder = Folder::new("pipe");
        let path = folder.0.join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        assert!(Sink::file(&path).is_err(), "no reader");
        let mut reader = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
        let mut sink = Sink::file(&path).unwrap();
        let line = format!("{}\n", "x".repeat(999));
        for _ in 0..200 {
            sink.write(&line);
        }
        let dropped = sink.take_dropped();
        assert!((100..200).contains(&dropped), "{dropped}");
        let mut taken = vec![0; 1 << 20];
        let count = reader.read(&mut taken).unwrap();
        assert_eq!(count as u64, (200 - dropped) * 1_000);
        sink.write("again\n");
        assert_eq!(reader.read(&mut taken).unwrap(), 6);
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_an_error() {
        assert_eq!(Sink::file(Path::new("/no/such/folder/log")).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(Sink::file(&std::env::temp_dir()).unwrap_err().kind(), io::ErrorKind::IsADirectory);
    }
}
