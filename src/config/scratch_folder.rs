//! A folder of its own for each test that needs files; it is removed with everything in it when the test ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

pub(super) struct ScratchFolder(PathBuf);

impl ScratchFolder {
    pub(super) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("weir-config-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).expect("a writable temporary folder");
        Self(path.canonicalize().expect("the folder just made"))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file in the folder and gives its path.
    pub(super) fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).expect("a writable temporary folder");
        path
    }
}

impl Drop for ScratchFolder {
    fn drop(&mut self) {
        // A leftover in the temporary folder harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}
