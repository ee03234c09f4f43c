//! The file that tells others the server's process id.

use std::io;
use std::path::{Path, PathBuf};

/// Where a daemon's process id goes when the configuration names no file.
pub const PID_FILE_DEFAULT: &str = "/var/run/redis.pid";

/// A pid file that this process has written.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    text: String,
}

impl PidFile {
    /// The file to write, if any: the configured one, or the default one for a daemon.
    #[must_use]
    pub fn path_for(configured: Option<&Path>, is_daemon: bool) -> Option<PathBuf> {
        configured
            .filter(|path| !path.as_os_str().is_empty())
            .map_or_else(|| is_daemon.then(|| PathBuf::from(PID_FILE_DEFAULT)), |path| Some(path.to_owned()))
    }

    /// Writes the process id and a line feed. To be called after `daemonize`.
    ///
    /// Errors: the file cannot be written; a server tells so and goes on.
    pub fn create(path: &Path) -> io::Result<PidFile> {
        let text = format!("{}\n", std::process::id());
        std::fs::write(path, &text)?;
        // The working directory may change before the end.
        let path = std::path::absolute(path)?;
        Ok(PidFile { path, text })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the file, unless another process has put its own id there by now.
    ///
    /// Errors: the file cannot be read or removed.
    pub fn remove(self) -> io::Result<()> {
        if std::fs::read_to_string(&self.path)? == self.text {
            std::fs::remove_file(&self.path)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_daemon_has_a_pid_file_unasked() {
        assert_eq!(PidFile::path_for(None, false), None);
        assert_eq!(PidFile::path_for(Some(Path::new("")), false), None);
        assert_eq!(PidFile::path_for(None, true), Some(PathBuf::from(PID_FILE_DEFAULT)));
        assert_eq!(PidFile::path_for(Some(Path::new("x")), false), Some(PathBuf::from("x")));
    }

    #[test]
    fn the_file_holds_the_pid_and_goes_away_with_its_server_only() {
        let path = std::env::temp_dir().join(format!("weir-pid-{}", std::process::id()));
        let file = PidFile::create(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        assert_eq!(file.path(), path);
        file.remove().unwrap();
        assert!(!path.exists());
        let file = PidFile::create(&path).unwrap();
        std::fs::write(&path, "1\n").unwrap();
        file.remove().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1\n");
        std::fs::remove_file(&path).unwrap();
        assert!(PidFile::create(Path::new("/no/such/folder/pid")).is_err());
    }
}
