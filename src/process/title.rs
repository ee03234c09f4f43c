//! The process's title, as `ps` shows it: `weir 127.0.0.1:6379`.
//!
//! Linux shows as a process's command line whatever lies in the memory where its arguments were put at the start. That
//! memory belongs to the C runtime, which hands it out by plain pointers, so it is not ours to write to. Instead a block
//! of our own is filled, byte by byte as atomics, and the kernel is told that the arguments are there. Where the kernel
//! refuses (one that was built without checkpoint support, or a strict sandbox) the command line stays as it was.

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};

/// The longest title in bytes; longer ones are cut.
pub const TITLE_BYTES_MAX: usize = 1023;

const BLOCK_BYTES: usize = TITLE_BYTES_MAX + 1;

/// The block that the kernel shows as the command line, with zero bytes after the title.
#[derive(Debug)]
pub struct ProcessTitle {
    /// The last byte stays 0.
    block: &'static [AtomicU8; BLOCK_BYTES],
}

impl ProcessTitle {
    /// Makes the command line a block of our own that says `title`. To be called once, while the process has one thread
    /// (the break of the data segment must not move meanwhile).
    ///
    /// Errors: the kernel refuses, there is more than one thread, or `/proc` is not there; nothing has changed then.
    pub fn claim(title: &str) -> io::Result<ProcessTitle> {
        if std::fs::read_dir("/proc/self/task")?.count() != 1 {
            return Err(io::Error::other("the title must be claimed before the first thread"));
        }
        let block: &'static [AtomicU8; BLOCK_BYTES] = Box::leak(Box::new([const { AtomicU8::new(0) }; BLOCK_BYTES]));
        let process_title = ProcessTitle { block };
        process_title.set(title);
        let begin = block.as_ptr() as u64;
        show_arguments_at(begin)?;
        Ok(process_title)
    }

    /// Changes the title; at most [`TITLE_BYTES_MAX`] bytes of it show. May be called at any time from any thread; who
    /// looks at that very moment may see a mix of the old and the new one.
    pub fn set(&self, title: &str) {
        let bytes = title.bytes().take(TITLE_BYTES_MAX).chain(std::iter::repeat(0));
        for (cell, byte) in self.block.iter().zip(bytes) {
            cell.store(byte, Ordering::Relaxed);
        }
    }
}

/// The kernel's `struct prctl_mm_map`.
#[repr(C)]
struct MemoryMap {
    start_code: u64,
    end_code: u64,
    start_data: u64,
    end_data: u64,
    start_brk: u64,
    brk: u64,
    start_stack: u64,
    arg_start: u64,
    arg_end: u64,
    env_start: u64,
    env_end: u64,
    auxv: u64,
    auxv_size: u32,
    exe_fd: u32,
}

/// Tells the kernel that the command line is at `begin`, and leaves all else as it is.
fn show_arguments_at(begin: u64) -> io::Result<()> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = fields_of(&stat).ok_or_else(|| io::Error::other("/proc/self/stat has not the fields it should"))?;
    // SAFETY: asks for the break and moves nothing.
    let brk = unsafe { libc::sbrk(0) } as u64;
    let map = MemoryMap {
        start_code: fields.start_code,
        end_code: fields.end_code,
        start_data: fields.start_data,
        end_data: fields.end_data,
        start_brk: fields.start_brk,
        brk,
        start_stack: fields.start_stack,
        arg_start: begin,
        // The last byte is zero: else the kernel would read on in the environment.
        arg_end: begin + BLOCK_BYTES as u64,
        env_start: fields.env_start,
        env_end: fields.env_end,
        auxv: 0,
        auxv_size: 0,
        exe_fd: u32::MAX,
    };
    let unused: libc::c_ulong = 0;
    // SAFETY: the pointer is to a live local of the size given, which the kernel reads. The values are the ones in force
    // but for the place of the command line, which only `/proc` readers look at; that block lives for ever.
    let result = unsafe {
        libc::prctl(libc::PR_SET_MM, libc::c_ulong::from(PR_SET_MM_MAP), &raw const map, size_of::<MemoryMap>(), unused)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Replaces the whole memory map description at once; needs no privileges, unlike the requests for single values.
const PR_SET_MM_MAP: u32 = 14;

#[derive(Debug, PartialEq, Eq)]
struct StatFields {
    start_code: u64,
    end_code: u64,
    start_stack: u64,
    start_data: u64,
    end_data: u64,
    start_brk: u64,
    env_start: u64,
    env_end: u64,
}

/// The numbers are the fields' places in proc(5), which counts from 1.
fn fields_of(stat: &str) -> Option<StatFields> {
    // The second field is the command's name in parentheses and may hold anything.
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.trim_end().split(' ').collect();
    let field = |place: usize| fields.get(place.checked_sub(3)?)?.parse::<u64>().ok();
    Some(StatFields {
        start_code: field(26)?,
        end_code: field(27)?,
        start_stack: field(28)?,
        start_data: field(45)?,
        end_data: field(46)?,
        start_brk: field(47)?,
        env_start: field(50)?,
        env_end: field(51)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::lone_process::{in_fork, lone_word, run_test_alone};

    /// Started by the test below.
    #[test]
    fn title_child() {
        if lone_word().is_none() {
            return;
        }
        assert!(ProcessTitle::claim("x").is_err(), "the harness has two threads");
        in_fork(|| {
            let command_line = || String::from_utf8(std::fs::read("/proc/self/cmdline").unwrap()).unwrap();
            let before = command_line();
            let environment = std::fs::read("/proc/self/environ").unwrap();
            match ProcessTitle::claim("weir 127.0.0.1:6379") {
                Ok(title) => {
                    assert_eq!(command_line().trim_end_matches('\0'), "weir 127.0.0.1:6379");
                    let long = "weir ".repeat(500);
                    title.set(&long);
                    assert_eq!(command_line().trim_end_matches('\0'), &long[..TITLE_BYTES_MAX]);
                    title.set("");
                    assert_eq!(command_line().trim_end_matches('\0'), "");
                    // The arguments themselves, and the environment, are where they were.
                    assert!(std::env::args().any(|argument| argument == "--exact"));
                    assert_eq!(std::fs::read("/proc/self/environ").unwrap(), environment);
                    // The heap goes on growing.
                    assert_eq!(vec![1_u8; 50_000].iter().map(|&byte| usize::from(byte)).sum::<usize>(), 50_000);
                    println!("shown");
                }
                Err(error) => {
                    assert_eq!(command_line(), before);
                    println!("refused: {error}");
                }
            }
        });
    }

    #[test]
    fn the_command_line_becomes_the_title_or_stays() {
        let output = run_test_alone(module_path!(), "title_child", "");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && (text.contains("shown") || text.contains("refused")), "{output:?}");
    }

    #[test]
    fn stat_is_read_past_any_command_name() {
        let numbers: Vec<String> = (3..=52).map(|place| place.to_string()).collect();
        let stat = format!("1 (we) ir) (S) {}\n", numbers.join(" "));
        assert_eq!(
            fields_of(&stat).unwrap(),
            StatFields {
                start_code: 26,
                end_code: 27,
                start_stack: 28,
                start_data: 45,
                end_data: 46,
                start_brk: 47,
                env_start: 50,
                env_end: 51,
            }
        );
        assert_eq!(fields_of("1 (weir) S 1 2"), None);
        assert_eq!(fields_of(""), None);
    }
}
