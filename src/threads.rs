//! Threads beside the executor, and which processors who runs on: `server-cpulist`, `bio-cpulist`.

use std::io;
use std::sync::OnceLock;
use std::thread::{Builder, JoinHandle};

/// The processors of threads that are started by [`spawn`], where these are not those of who starts them.
static BACKGROUND: OnceLock<Vec<usize>> = OnceLock::new();

/// Starts a thread for work in the background.
///
/// # Errors
/// The system has none to give.
pub fn spawn<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> io::Result<JoinHandle<T>> {
    Builder::new().name(name.to_owned()).spawn(move || {
        if let Some(processors) = BACKGROUND.get() {
            // It was tried when the list was given; a processor that has been taken away since is no reason to do nothing.
            let _ = run_on_processors(processors);
        }
        work()
    })
}

/// Has all threads that [`spawn`] starts from now on run on the processors of a list, as [`run_on`] takes it. Once a process.
///
/// # Errors
/// The list cannot be read, or the system has none of these processors.
pub fn run_background_on(list: &str) -> io::Result<()> {
    let processors = processors(list)?;
    let tried = processors.clone();
    // On a thread of its own, for it holds for who calls it.
    let trial = Builder::new().spawn(move || run_on_processors(&tried))?.join();
    trial.unwrap_or_else(|_| Err(io::Error::other("the trial has failed")))?;
    // A second list is not followed.
    let _ = BACKGROUND.set(processors);
    Ok(())
}

/// Puts the calling thread, and those that it starts later, on the processors of a list such as `0-3,6` or `0-7:2` (every
/// second one).
///
/// # Errors
/// The list cannot be read, or the system has none of these processors.
pub fn run_on(list: &str) -> io::Result<()> {
    run_on_processors(&processors(list)?)
}

fn processors(list: &str) -> io::Result<Vec<usize>> {
    parse(list).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no list of processors"))
}

fn run_on_processors(processors: &[usize]) -> io::Result<()> {
    // SAFETY: a set of processors is plain bits, and none of them set is a valid value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &processor in processors {
        // SAFETY: `parse` gives nothing that lies outside of the set, and they come from there.
        unsafe { libc::CPU_SET(processor, &mut set) };
    }
    // SAFETY: the set is as long as is said; 0 is the calling thread.
    let result = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The processors of a list, each below what a set holds. `None` if it is no list, or an empty one.
fn parse(list: &str) -> Option<Vec<usize>> {
    const PROCESSORS_MAX: usize = libc::CPU_SETSIZE as usize;
    let mut processors = Vec::new();
    for part in list.split(',') {
        let (range, step) = part.split_once(':').unwrap_or((part, "1"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let number = |text: &str| text.trim().parse::<usize>().ok();
        let (first, last, step) = (number(first)?, number(last)?, number(step)?);
        if step == 0 || first > last || last >= PROCESSORS_MAX {
            return None;
        }
        processors.extend((first..=last).step_by(step));
    }
    Some(processors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_taskset_reads_them() {
        assert_eq!(parse("0"), Some(vec![0]));
        assert_eq!(parse("0-3,6"), Some(vec![0, 1, 2, 3, 6]));
        assert_eq!(parse("0-7:2, 9"), Some(vec![0, 2, 4, 6, 9]));
        for bad in ["", "a", "3-1", "0-7:0", "99999999", "0,,1", "-1"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
