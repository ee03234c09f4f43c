//! Going to the background: `daemonize yes`.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsRawFd;

/// Turns the process into a daemon: it leaves the terminal's session for good (two forks, so that it cannot even get a
/// terminal by accident), and its standard streams go to `/dev/null`. The working directory and umask stay.
///
/// The caller's process ends with exit code 0 as soon as the first child exists; this returns in the grandchild, with
/// a new pid. To be called while the process has one thread and before it has made sockets or an event loop.
///
/// Errors: the process has more than one thread (a fork would leave their locks locked for ever), or the system
/// refuses; the process then still runs in the foreground or, after the first fork, detached from it.
pub fn daemonize() -> io::Result<()> {
    let threads = std::fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        return Err(io::Error::other(format!("a process with {threads} threads cannot become a daemon")));
    }
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    fork_and_leave_parent()?;
    // SAFETY: takes and returns plain integers.
    check(unsafe { libc::setsid() })?;
    fork_and_leave_parent()?;
    for stream in 0..=2 {
        // SAFETY: two open descriptors as plain integers; what the standard streams pointed to is nobody's by type.
        check(unsafe { libc::dup2(null.as_raw_fd(), stream) })?;
    }
    Ok(())
}

/// Returns in the child only.
fn fork_and_leave_parent() -> io::Result<()> {
    // SAFETY: the process has one thread, so the child's memory is whole: no lock is held by a thread that is not there.
    let pid = check(unsafe { libc::fork() })?;
    if pid > 0 {
        // Not `std::process::exit`: buffers and exit handlers belong to the child now.
        // SAFETY: ends the process at once and touches nothing.
        unsafe { libc::_exit(0) };
    }
    Ok(())
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::lone_process::{in_fork, lone_word, run_test_alone};
    use std::io::{Read, Write};
    use std::os::unix::net::{UnixListener, UnixStream};

    /// Started by the test below; the word is the path of its socket.
    #[test]
    fn daemon_child() {
        let Some(path) = lone_word() else { return };
        in_fork(|| {
            daemonize().unwrap();
            let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
            let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
            let streams = [0, 1, 2].map(|fd| std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap());
            let null = streams.iter().all(|target| target.as_os_str() == "/dev/null");
            let (session, terminal) = (fields[3], fields[4]);
            let pid = std::process::id();
            let mut socket = UnixStream::connect(path).unwrap();
            write!(socket, "{pid} {session} {terminal} {null}").unwrap();
        });
    }

    #[test]
    fn a_daemon_has_no_terminal_and_leads_no_session() {
        let path = std::env::temp_dir().join(format!("weir-daemon-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let output = run_test_alone(module_path!(), "daemon_child", path.to_str().unwrap());
        assert!(output.status.success(), "the starter ends well and at once: {output:?}");
        let mut text = String::new();
        listener.accept().unwrap().0.read_to_string(&mut text).unwrap();
        std::fs::remove_file(&path).unwrap();
        let parts: Vec<&str> = text.split(' ').collect();
        assert_ne!(parts[0], parts[1], "pid and session");
        assert_eq!(parts[2..], ["0", "true"], "terminal and streams");
    }

    #[test]
    fn a_process_with_threads_is_refused() {
        let (leave, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || wait.recv());
        assert!(daemonize().unwrap_err().to_string().contains("threads"));
        drop(leave);
        assert!(thread.join().unwrap().is_err());
    }
}
