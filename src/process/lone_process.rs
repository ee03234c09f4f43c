//! For tests of what only a process with one thread may do: the test harness runs every test in a thread of its own.
//!
//! The test starts its own program again for one test only, and that forks: the child has the forking thread alone.

use std::panic::{UnwindSafe, catch_unwind};
use std::process::{Command, Output};

const VARIABLE: &str = "WEIR_TEST_LONE_PROCESS";

/// Runs the test of that path (as `module_path!()` and its name) in a new process, with a word for [`lone_word`].
pub(super) fn run_test_alone(module: &str, test: &str, word: &str) -> Output {
    let module = module.split_once("::").map_or(module, |(_, module)| module);
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", &format!("{module}::{test}")])
        .env(VARIABLE, word)
        .output()
        .unwrap()
}

/// The word of [`run_test_alone`], or `None` in an ordinary run of all tests.
pub(super) fn lone_word() -> Option<String> {
    std::env::var(VARIABLE).ok()
}

/// Runs the body in a fork of this thread and waits for its end; panics if it panicked.
pub(super) fn in_fork(body: impl FnOnce() + UnwindSafe) {
    // SAFETY: the only other thread is the harness's, which waits for this one and holds no lock.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        let code = i32::from(catch_unwind(body).is_err());
        // SAFETY: ends the process at once and touches nothing.
        unsafe { libc::_exit(code) };
    }
    let mut status = 0;
    // SAFETY: the pointer is to a live local that the call fills.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    assert_eq!(status, 0, "the fork failed");
}
