//! Which processors the server runs on: `server-cpulist`.

use std::io;

/// Puts the calling thread, and those that it starts later, on the processors of a list such as `0-3,6` or `0-7:2` (every
/// second one).
///
/// # Errors
/// The list cannot be read, or the system has none of these processors.
pub fn run_on(list: &str) -> io::Result<()> {
    let processors = parse(list).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no list of processors"))?;
    // SAFETY: a set of processors is plain bits, and none of them set is a valid value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for processor in processors {
        // SAFETY: `parse` gives nothing that lies outside of the set.
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
