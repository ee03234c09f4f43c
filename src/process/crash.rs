//! What is written when the server dies of a bug, and by the watchdog when it is stuck.
//!
//! A panic in any thread, and the signals of a broken program, end the process: the executor's data may be half changed,
//! and a supervisor starts a new one from what is on disk. Before that a report goes to the log: why, the stack, the
//! registers, figures, and the command that was running. Parts that need less come first, each is written out before the
//! next begins, and whatever goes wrong in the middle of the report ends the process there.
//!
//! Nothing here allocates or locks but for the names of a panic, which is no signal. The log file is opened anew, since
//! the way to it through the log may be what is broken.
//!
//! The headings are Redis's: tools that watch logs look for them.

use super::stack::Stack;
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::ffi::{CString, c_int, c_void};
use std::fmt::{self, Write};
use std::panic::PanicHookInfo;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::{io, mem, ptr};

/// The signals of a broken program.
const FATAL: [(c_int, &str); 5] = [
    (libc::SIGSEGV, "SIGSEGV"),
    (libc::SIGBUS, "SIGBUS"),
    (libc::SIGFPE, "SIGFPE"),
    (libc::SIGILL, "SIGILL"),
    (libc::SIGABRT, "SIGABRT"),
];
/// The report has so many seconds before the process is ended.
const REPORT_S_MAX: u32 = 30;
/// Bytes of the stack on which the executor's signals are handled, so that its own may have overflowed.
const SIGNAL_STACK_BYTES: usize = 256 * 1024;

/// What a report tells beside what the process knows of itself.
#[derive(Debug)]
pub struct CrashFacts {
    /// Version of Weir.
    pub version: &'static str,
    /// The log file; `None` is the standard output.
    pub logfile: Option<CString>,
    /// The pid file, to be removed.
    pub pid_file: Option<CString>,
    /// Writes figures of the server, from anywhere.
    pub tell_figures: Tell,
    /// Writes what the executor is doing; called on its thread only.
    pub tell_commands: Tell,
}

/// Writes a part of the report, without allocating.
pub(super) type Tell = fn(&mut dyn Write) -> fmt::Result;

impl CrashFacts {
    /// A path as it is needed here; `None` if it cannot be one.
    pub fn path(path: &Path) -> Option<CString> {
        CString::new(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str())).ok()
    }
}

static FACTS: OnceLock<CrashFacts> = OnceLock::new();
/// `crash-log-enabled`.
static REPORTS: AtomicBool = AtomicBool::new(true);
/// A report is being written; there is no second one.
static REPORTING: AtomicBool = AtomicBool::new(false);
/// The watchdog's period in ms; 0 while it sleeps.
static WATCHDOG_MS: AtomicI32 = AtomicI32::new(0);

thread_local! {
    static IS_EXECUTOR: Cell<bool> = const { Cell::new(false) };
}

/// Installs the handlers, for as long as the process lives. To be called once, on the executor's thread.
///
/// # Errors
/// The system refuses a handler or memory for its stack.
pub fn report_crashes(facts: CrashFacts) -> io::Result<()> {
    if FACTS.set(facts).is_err() {
        return Ok(());
    }
    IS_EXECUTOR.set(true);
    Stack::prepare();
    use_signal_stack()?;
    for (signal, _) in FATAL {
        handle(signal, on_fatal_signal)?;
    }
    handle(libc::SIGALRM, on_alarm)?;
    std::panic::set_hook(Box::new(on_panic));
    Ok(())
}

/// Changes whether there are reports (`crash-log-enabled`). Without, a crash ends the process as the system does.
pub fn set_crash_reports(enabled: bool) {
    REPORTS.store(enabled, Ordering::Relaxed);
}

/// Sets after how many ms without [`feed_watchdog`] the stack is logged; 0 for never.
pub fn set_watchdog(period_ms: u32) {
    WATCHDOG_MS.store(i32::try_from(period_ms).unwrap_or(i32::MAX), Ordering::Relaxed);
    set_alarm_ms(i64::from(period_ms));
}

/// The executor is not stuck.
pub fn feed_watchdog() {
    let period_ms = WATCHDOG_MS.load(Ordering::Relaxed);
    if period_ms > 0 {
        set_alarm_ms(period_ms.into());
    }
}

fn set_alarm_ms(ms: i64) {
    let once = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let timer =
        libc::itimerval { it_interval: once, it_value: libc::timeval { tv_sec: ms / 1000, tv_usec: ms % 1000 * 1000 } };
    // SAFETY: a timer of this process, set from a live value; without one the watchdog does not bark.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, ptr::null_mut()) };
}

/// Gives this thread a stack to handle signals on.
fn use_signal_stack() -> io::Result<()> {
    let (read_write, private) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: new memory that nobody else knows of, kept for as long as the process lives.
    let memory = unsafe { libc::mmap(ptr::null_mut(), SIGNAL_STACK_BYTES, read_write, private, -1, 0) };
    if memory == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let stack = libc::stack_t { ss_sp: memory, ss_flags: 0, ss_size: SIGNAL_STACK_BYTES };
    // SAFETY: the memory above, of the size that is said.
    if unsafe { libc::sigaltstack(&raw const stack, ptr::null_mut()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

fn handle(signal: c_int, handler: Handler) -> io::Result<()> {
    // SAFETY: all zero is an empty set of signals and no flags.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
    // SAFETY: a live action with a handler of the kind that its flags say.
    if unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

extern "C" fn on_fatal_signal(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    if REPORTS.load(Ordering::Relaxed) && !REPORTING.swap(true, Ordering::SeqCst) {
        // SAFETY: no code of ours runs by this; a report that hangs is ended by it.
        unsafe {
            libc::signal(libc::SIGALRM, libc::SIG_DFL);
            libc::alarm(REPORT_S_MAX);
        }
        // Nobody is left to tell.
        let _ = report_signal(signal, info, context);
        end_report();
    }
    // SAFETY: as it would have been without us; the signal comes again when this returns, or is sent again.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

fn report_signal(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) -> fmt::Result {
    let mut out = Report::open();
    let name = FATAL.iter().find(|(number, _)| *number == signal).map_or("a signal", |(_, name)| name);
    out.begin()?;
    // SAFETY: the kernel's, for the duration of the handler.
    let info = unsafe { info.as_ref() };
    let code = info.map_or(0, |info| info.si_code);
    writeln!(out, "Weir {} crashed by signal: {signal} ({name}), si_code: {code}", version())?;
    if code > 0 {
        // SAFETY: a signal that the kernel sent for an instruction carries an address.
        let address = info.map_or(0, |info| unsafe { info.si_addr() } as usize);
        writeln!(out, "Accessing address: {address:#x}")?;
    } else if code == libc::SI_USER {
        // SAFETY: a signal that a process sent carries its number.
        let sender = info.map_or(0, |info| unsafe { info.si_pid() });
        writeln!(out, "Killed by PID: {sender}")?;
    }
    out.flush();
    writeln!(out, "\n------ REGISTERS ------")?;
    tell_registers(&mut out, context)?;
    out.flush();
    writeln!(out, "\n------ STACK TRACE ------")?;
    Stack::here().tell(&mut out)?;
    out.flush();
    out.tell_server()
}

fn on_panic(info: &PanicHookInfo<'_>) {
    if REPORTS.load(Ordering::Relaxed) && !REPORTING.swap(true, Ordering::SeqCst) {
        // SAFETY: as for a signal.
        unsafe {
            libc::signal(libc::SIGALRM, libc::SIG_DFL);
            libc::alarm(REPORT_S_MAX);
        }
        // Nobody is left to tell.
        let _ = report_panic(info);
        end_report();
    } else {
        eprintln!("{info}");
    }
    std::process::abort();
}

fn report_panic(info: &PanicHookInfo<'_>) -> fmt::Result {
    let mut out = Report::open();
    out.begin()?;
    let thread = std::thread::current();
    writeln!(out, "Weir {} thread '{}' {info}", version(), thread.name().unwrap_or("without a name"))?;
    out.flush();
    out.tell_server()?;
    writeln!(out, "\n------ STACK TRACE ------\n{}", Backtrace::force_capture())
}

fn version() -> &'static str {
    FACTS.get().map_or("", |facts| facts.version)
}

/// The stuck executor, as far as it can be told while it goes on.
extern "C" fn on_alarm(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the number of the last error is this thread's; what is interrupted may be about to look at it.
    let errno = unsafe { *libc::__errno_location() };
    if WATCHDOG_MS.load(Ordering::Relaxed) > 0 && !REPORTING.load(Ordering::Relaxed) {
        // Nobody to tell but the log itself.
        let _ = report_stuck(context);
    }
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

fn report_stuck(context: *mut c_void) -> fmt::Result {
    let mut out = Report::open();
    writeln!(out, "\n--- WATCHDOG TIMER EXPIRED ---")?;
    if IS_EXECUTOR.get() {
        if let Some(facts) = FACTS.get() {
            (facts.tell_commands)(&mut out)?;
        }
        writeln!(out, "------ STACK TRACE ------")?;
        Stack::here().tell(&mut out)?;
    } else {
        // The signal came to another thread, whose stack says nothing.
        tell_registers(&mut out, context)?;
    }
    writeln!(out, "------\n")
}

fn end_report() {
    let mut out = Report::open();
    let _ = writeln!(
        out,
        "\n=== REDIS BUG REPORT END. Please make sure to include from START to END in an issue of the project. ===\n"
    );
    if let Some(path) = FACTS.get().and_then(|facts| facts.pid_file.as_ref()) {
        // SAFETY: a path that ends with a zero byte.
        unsafe { libc::unlink(path.as_ptr()) };
    }
}

/// The log, by a descriptor of its own.
struct Report {
    fd: c_int,
    bytes: [u8; 1024],
    used: usize,
}

impl Report {
    fn open() -> Report {
        let path = FACTS.get().and_then(|facts| facts.logfile.as_ref());
        let opened = path.map_or(libc::STDOUT_FILENO, |path| {
            let flags = libc::O_APPEND | libc::O_CREAT | libc::O_WRONLY | libc::O_CLOEXEC;
            // SAFETY: a path that ends with a zero byte.
            unsafe { libc::open(path.as_ptr(), flags, 0o644) }
        });
        Report { fd: if opened < 0 { libc::STDERR_FILENO } else { opened }, bytes: [0; 1024], used: 0 }
    }

    fn begin(&mut self) -> fmt::Result {
        writeln!(self, "\n\n=== REDIS BUG REPORT START: Cut & paste starting from here ===")
    }

    /// What the server tells of itself.
    fn tell_server(&mut self) -> fmt::Result {
        let Some(facts) = FACTS.get() else { return Ok(()) };
        writeln!(self, "\n------ INFO OUTPUT ------")?;
        (facts.tell_figures)(self)?;
        self.flush();
        if IS_EXECUTOR.get() {
            writeln!(self, "\n------ CURRENT CLIENT INFO ------")?;
            (facts.tell_commands)(self)?;
            self.flush();
        }
        Ok(())
    }

    fn flush(&mut self) {
        let mut rest = &self.bytes[..self.used];
        while !rest.is_empty() {
            // SAFETY: the pointer and length are those of a live slice.
            let count = unsafe { libc::write(self.fd, rest.as_ptr().cast(), rest.len()) };
            match usize::try_from(count) {
                Ok(count) if count > 0 => rest = &rest[count.min(rest.len())..],
                _ if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
                _ => break,
            }
        }
        self.used = 0;
    }
}

impl Write for Report {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            if self.used == self.bytes.len() {
                self.flush();
            }
            self.bytes[self.used] = byte;
            self.used += 1;
        }
        Ok(())
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        self.flush();
        if self.fd > libc::STDERR_FILENO {
            // SAFETY: opened by `open` and used by nobody else.
            unsafe { libc::close(self.fd) };
        }
    }
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn tell_registers(out: &mut dyn Write, context: *mut c_void) -> fmt::Result {
    const NAMES: [(&str, c_int); 18] = [
        ("rip", libc::REG_RIP),
        ("rsp", libc::REG_RSP),
        ("rbp", libc::REG_RBP),
        ("rax", libc::REG_RAX),
        ("rbx", libc::REG_RBX),
        ("rcx", libc::REG_RCX),
        ("rdx", libc::REG_RDX),
        ("rsi", libc::REG_RSI),
        ("rdi", libc::REG_RDI),
        ("r8", libc::REG_R8),
        ("r9", libc::REG_R9),
        ("r10", libc::REG_R10),
        ("r11", libc::REG_R11),
        ("r12", libc::REG_R12),
        ("r13", libc::REG_R13),
        ("r14", libc::REG_R14),
        ("r15", libc::REG_R15),
        ("efl", libc::REG_EFL),
    ];
    // SAFETY: the third argument of a handler with SA_SIGINFO, for as long as the handler runs.
    let Some(context) = (unsafe { context.cast::<libc::ucontext_t>().as_ref() }) else { return Ok(()) };
    for (name, register) in NAMES {
        let value = usize::try_from(register).ok().and_then(|at| context.uc_mcontext.gregs.get(at));
        writeln!(out, "{name:>3}: {:#018x}", value.copied().unwrap_or_default())?;
    }
    Ok(())
}

#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
fn tell_registers(out: &mut dyn Write, context: *mut c_void) -> fmt::Result {
    // SAFETY: the third argument of a handler with SA_SIGINFO, for as long as the handler runs.
    let Some(context) = (unsafe { context.cast::<libc::ucontext_t>().as_ref() }) else { return Ok(()) };
    let machine = &context.uc_mcontext;
    writeln!(out, " pc: {:#018x}\n sp: {:#018x}", machine.pc, machine.sp)?;
    machine.regs.iter().enumerate().try_for_each(|(number, value)| writeln!(out, "x{number:<2}: {value:#018x}"))
}

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
fn tell_registers(_: &mut dyn Write, _: *mut c_void) -> fmt::Result {
    Ok(())
}
