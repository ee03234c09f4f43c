//! What `INFO` takes from the operating system: memory, processor time, names.
//!
//! Nearly everything comes from files under `/proc`, where it can be read without unsafe code. Processor time comes
//! from `getrusage`, since the files count it in hundredths of a second only.
//!
//! Invariants: whatever the system does not tell is `None`, and nothing here fails a command; each call opens a file or
//! makes a system call, so `cron` takes the figures and `INFO` prints what `cron` took.

use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

/// Memory of this process as the kernel counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessMemory {
    /// `used_memory_rss`: resident now.
    pub rss_bytes: u64,
    /// Most that was ever resident.
    pub rss_peak_bytes: u64,
}

/// Resident memory of this process.
pub fn memory() -> Option<ProcessMemory> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    Some(ProcessMemory { rss_bytes: kib_line(&status, "VmRSS:")?, rss_peak_bytes: kib_line(&status, "VmHWM:")? })
}

/// `total_system_memory`: all memory of the machine, bytes.
pub fn total_system_memory_bytes() -> Option<u64> {
    kib_line(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:")
}

/// Bytes in a line like `VmRSS:      1234 kB`.
fn kib_line(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = rest.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kib.checked_mul(1_024)
}

/// Bytes of a page of memory; 4096 if the kernel does not say.
pub fn page_bytes() -> u64 {
    /// `AT_PAGESZ` of the auxiliary vector that the kernel gives to every program.
    const PAGE_SIZE: usize = 6;
    let word = |bytes: &[u8]| bytes.try_into().map_or(0, usize::from_ne_bytes);
    let vector = fs::read("/proc/self/auxv").unwrap_or_default();
    let size = size_of::<usize>();
    vector
        .chunks_exact(2 * size)
        .map(|pair| pair.split_at(size))
        .find_map(|(kind, value)| (word(kind) == PAGE_SIZE).then(|| word(value) as u64))
        .unwrap_or(4_096)
}

/// Processor time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuTime {
    /// In the program: `used_cpu_user..`.
    pub user: Duration,
    /// In the kernel on its behalf: `used_cpu_sys..`.
    pub sys: Duration,
}

/// Whose processor time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CpuTimeOf {
    /// All threads of this process.
    Process,
    /// Processes that this one started and that have ended.
    Children,
    /// The calling thread: call from the executor for `.._main_thread`.
    Thread,
}

/// Processor time so far, to the microsecond. Print in seconds with six decimals.
pub fn cpu_time(of: CpuTimeOf) -> CpuTime {
    let who = match of {
        CpuTimeOf::Process => libc::RUSAGE_SELF,
        CpuTimeOf::Children => libc::RUSAGE_CHILDREN,
        #[cfg(target_os = "linux")]
        CpuTimeOf::Thread => libc::RUSAGE_THREAD,
        #[cfg(not(target_os = "linux"))]
        CpuTimeOf::Thread => libc::RUSAGE_SELF,
    };
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is valid for writes of one `rusage`, which is all that the call does with it.
    let failed = unsafe { libc::getrusage(who, usage.as_mut_ptr()) } != 0;
    if failed {
        return CpuTime::default();
    }
    // SAFETY: `rusage` consists of integers, for which zeroed memory is a value, and the call only wrote values.
    let usage = unsafe { usage.assume_init() };
    CpuTime { user: duration(usage.ru_utime), sys: duration(usage.ru_stime) }
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let micros = u64::try_from(time.tv_usec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(micros)
}

/// The `os` line of `INFO server`: system, release and machine, as `uname -srm` prints them.
pub fn os_name() -> String {
    let kernel = |name: &str, unknown: &str| {
        fs::read_to_string(format!("/proc/sys/kernel/{name}")).map_or(unknown.to_owned(), |text| text.trim().to_owned())
    };
    format!("{} {} {}", kernel("ostype", std::env::consts::OS), kernel("osrelease", "-"), std::env::consts::ARCH)
}

/// The `executable` line of `INFO server`: the file that this process runs.
pub fn executable() -> Option<PathBuf> {
    std::env::current_exe().ok()
}

/// Length of a [`run_id`].
pub const RUN_ID_LEN: usize = 40;

/// A new random name for a run of the server: 40 lower-case hexadecimal digits.
///
/// # Errors
/// If the system's source of randomness cannot be read.
pub fn run_id() -> io::Result<String> {
    let mut random = [0; RUN_ID_LEN / 2];
    fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Bytes for people, as the `_human` lines of `INFO` print them: `512B`, `1.05M`.
pub fn format_bytes_human(bytes: u64) -> String {
    const UNITS: [(u32, char); 5] = [(50, 'P'), (40, 'T'), (30, 'G'), (20, 'M'), (10, 'K')];
    // From 2^60 on there is no unit any more.
    let unit = UNITS.into_iter().find(|&(power, _)| bytes >> power > 0).filter(|_| bytes >> 60 == 0);
    match unit {
        Some((power, unit)) => format!("{:.2}{unit}", bytes as f64 / (1u64 << power) as f64),
        None => format!("{bytes}B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_read_as_in_info() {
        for (bytes, expected) in [
            (0, "0B"),
            (1_023, "1023B"),
            (1_024, "1.00K"),
            (725_912, "708.90K"),
            (14_155_776, "13.50M"),
            (25_276_514_304, "23.54G"),
            (1 << 40, "1.00T"),
            ((1 << 50) - 1, "1024.00T"),
            (1 << 50, "1.00P"),
            (1 << 60, "1152921504606846976B"),
            (u64::MAX, "18446744073709551615B"),
        ] {
            assert_eq!(format_bytes_human(bytes), expected);
        }
    }

    #[test]
    fn run_ids_are_hexadecimal_and_differ() {
        let (one, other) = (run_id().unwrap(), run_id().unwrap());
        assert_eq!(one.len(), RUN_ID_LEN);
        assert!(one.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
        assert_ne!(one, other);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn linux_tells_everything() {
        let memory = memory().unwrap();
        assert!(memory.rss_bytes > 0 && memory.rss_bytes <= memory.rss_peak_bytes);
        assert!(total_system_memory_bytes().unwrap() > memory.rss_bytes);
        assert!(page_bytes().is_power_of_two());
        assert!(os_name().starts_with("Linux "));
        assert_eq!(os_name().split(' ').count(), 3);
        assert!(executable().unwrap().is_absolute());
    }

    #[test]
    fn processor_time_grows_with_work() {
        let before = cpu_time(CpuTimeOf::Thread);
        let mut work = 0u64;
        while cpu_time(CpuTimeOf::Thread) == before {
            work = std::hint::black_box(work + 1);
        }
        let process = cpu_time(CpuTimeOf::Process);
        assert!(process.user + process.sys > Duration::ZERO);
        assert_eq!(cpu_time(CpuTimeOf::Children), cpu_time(CpuTimeOf::Children));
    }

    #[test]
    fn lines_of_proc_files_are_read_strictly() {
        assert_eq!(kib_line("A: 1 kB\nVmRSS:\t  12 kB\n", "VmRSS:"), Some(12 << 10));
        for text in ["", "VmRSS: 12", "VmRSS: x kB", "VmRSS: 99999999999999999999 kB", "VmRSS: 18446744073709551615 kB"]
        {
            assert_eq!(kib_line(text, "VmRSS:"), None, "{text}");
        }
    }
}
