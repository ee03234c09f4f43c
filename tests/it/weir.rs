//! A running server in a folder of its own.

use crate::wire::Wire;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long anything may take before a test gives up on it: far longer than it takes on a machine where many others work, since
/// nobody waits that long unless something is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// Ports below those that the system gives to outgoing connections.
const PORTS: std::ops::Range<u16> = 12_000..32_000;
/// How often another port is tried, when someone else was quicker.
const ATTEMPTS: usize = 8;

/// Waits until `condition` holds.
///
/// # Panics
/// If it does not within [`PATIENCE`].
#[track_caller]
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A port that nobody listens on, at least just now.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test programs that run at the same time begin at different places.
    let begin = std::process::id() as u16;
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(begin.wrapping_mul(61));
        let port = PORTS.start + step % (PORTS.end - PORTS.start);
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return port;
        }
    }
}

/// How a server is to be started.
#[derive(Default)]
pub(crate) struct Start {
    file: Option<String>,
    options: Vec<String>,
    stdin: Option<String>,
    name: Option<&'static str>,
    open_files_max: Option<u32>,
    folder: Option<TempDir>,
}

impl Start {
    /// With the defaults, on 127.0.0.1.
    pub(crate) fn new() -> Start {
        Start::default()
    }

    /// Without snapshots, and with DEBUG.
    pub(crate) fn in_memory() -> Start {
        Start::new().options(["--enable-debug-command", "yes", "--save", ""])
    }

    /// With an append-only file, written to the disk as `fsync` says, without snapshots, and with DEBUG.
    pub(crate) fn appending(fsync: &str) -> Start {
        Start::in_memory().options(["--appendonly", "yes", "--appendfsync", fsync])
    }

    /// Options of the command line, of which the last of a name holds. `{port}` stands for the port and `{dir}` for the folder,
    /// here and below.
    pub(crate) fn options<'a>(mut self, options: impl IntoIterator<Item = &'a str>) -> Start {
        self.options.extend(options.into_iter().map(str::to_owned));
        self
    }

    /// Text of a configuration file, `{dir}/weir.conf`.
    pub(crate) fn file(mut self, text: &str) -> Start {
        self.file = Some(text.to_owned());
        self
    }

    /// Text on standard input, read because of a last argument `-`.
    pub(crate) fn stdin(mut self, text: &str) -> Start {
        self.stdin = Some(text.to_owned());
        self
    }

    /// Through a link of this name.
    pub(crate) fn named(mut self, name: &'static str) -> Start {
        self.name = Some(name);
        self
    }

    /// With a limit on open files.
    pub(crate) fn open_files(mut self, max: u32) -> Start {
        self.open_files_max = Some(max);
        self
    }

    /// In a folder that another server has left.
    pub(crate) fn folder(mut self, folder: TempDir) -> Start {
        self.folder = Some(folder);
        self
    }

    /// Starts it and waits until it is ready for connections.
    #[track_caller]
    pub(crate) fn start(mut self) -> Weir {
        let mut folder = self.folder.take().unwrap_or_else(|| TempDir::new().expect("a temporary folder"));
        for _ in 0..ATTEMPTS {
            let mut weir = self.spawn(folder);
            eventually("the server is ready or has ended", || weir.is_ready() || weir.has_ended());
            if weir.is_ready() {
                return weir;
            }
            let log = weir.log();
            assert!(log.contains("in use"), "the server did not start:\n{log}");
            folder = weir.take_folder();
        }
        panic!("no free port in {ATTEMPTS} attempts");
    }

    /// Starts it where it is busy reading data for a while, and waits until its port is open.
    #[track_caller]
    pub(crate) fn start_loading(mut self) -> Weir {
        let folder = self.folder.take().unwrap_or_else(|| TempDir::new().expect("a temporary folder"));
        let weir = self.spawn(folder);
        eventually("the port is open", || weir.log().contains("Server initialized"));
        weir
    }

    /// Starts it where it is to fail, and waits for its end.
    #[track_caller]
    pub(crate) fn fail(mut self) -> (ExitStatus, String) {
        let folder = self.folder.take().unwrap_or_else(|| TempDir::new().expect("a temporary folder"));
        let mut weir = self.spawn(folder);
        eventually("the server has ended", || weir.has_ended());
        (weir.wait(), weir.log())
    }

    /// Starts it where it goes into the background: the process that was started ends, with exit code 0.
    #[track_caller]
    pub(crate) fn start_in_background(self) -> Weir {
        let mut weir = self.spawn(TempDir::new().expect("a temporary folder"));
        assert_eq!(weir.wait().code(), Some(0), "{}", weir.log());
        weir
    }

    fn spawn(&self, folder: TempDir) -> Weir {
        let port = free_port();
        let dir = folder.path().to_str().expect("a temporary folder with a plain name").to_owned();
        let fill = |text: &str| text.replace("{port}", &port.to_string()).replace("{dir}", &dir);
        let mut args: Vec<OsString> = Vec::new();
        if let Some(text) = &self.file {
            let path = folder.path().join("weir.conf");
            fs::write(&path, fill(text)).expect("a configuration file");
            args.push(path.into());
        } else {
            let usual = [["--port", "{port}"], ["--bind", "127.0.0.1"], ["--dir", "{dir}"]];
            for pair in usual.iter().filter(|[name, _]| !self.options.iter().any(|option| option == name)) {
                args.extend(pair.map(|arg| fill(arg).into()));
            }
        }
        args.extend(self.options.iter().map(|option| fill(option).into()));
        let mut program = program();
        if let Some(name) = self.name {
            let link = folder.path().join(name);
            if !link.exists() {
                symlink(&program, &link).expect("a link to the program");
            }
            program = link;
        }
        if self.stdin.is_some() {
            args.push("-".into());
        }
        let mut command = match self.open_files_max {
            None => Command::new(&program),
            Some(max) => {
                let mut shell = Command::new("sh");
                shell.arg("-c").arg(format!("ulimit -n {max} && exec \"$0\" \"$@\"")).arg(&program);
                shell
            }
        };
        let log_path = folder.path().join("stdout");
        let log = File::create(&log_path).expect("a file for the log");
        // Where it is not told otherwise it keeps its files in the folder that it is started in.
        command.current_dir(folder.path());
        command.args(args).stdout(log.try_clone().expect("a second handle")).stderr(log);
        command.stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        let mut child = command.spawn().expect("the program starts");
        if let (Some(text), Some(mut stdin)) = (&self.stdin, child.stdin.take()) {
            stdin.write_all(fill(text).as_bytes()).expect("the program reads its standard input");
        }
        Weir { child, folder: Some(folder), log_path, port }
    }
}

/// A running server. It is killed when this is dropped.
pub(crate) struct Weir {
    child: Child,
    folder: Option<TempDir>,
    log_path: PathBuf,
    pub(crate) port: u16,
}

impl Weir {
    /// Starts one with options.
    #[track_caller]
    pub(crate) fn with<'a>(options: impl IntoIterator<Item = &'a str>) -> Weir {
        Start::new().options(options).start()
    }

    /// Starts one as [`Start::in_memory`] says.
    #[track_caller]
    pub(crate) fn in_memory() -> Weir {
        Start::in_memory().start()
    }

    /// Starts one as [`Start::appending`] says.
    #[track_caller]
    pub(crate) fn appending(fsync: &str) -> Weir {
        Start::appending(fsync).start()
    }

    /// Its folder.
    pub(crate) fn dir(&self) -> &Path {
        self.folder.as_ref().expect("the folder is here until it is taken").path()
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard output and standard error.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log_path).unwrap_or_default()).into_owned()
    }

    /// Waits until the log has a line with these words.
    #[track_caller]
    pub(crate) fn wait_for_log(&self, words: &str) {
        eventually(&format!("the log says {words:?}"), || self.log().contains(words));
    }

    /// A connection of the client library.
    #[track_caller]
    pub(crate) fn client(&self) -> redis::Connection {
        client_at(&format!("redis://127.0.0.1:{}/", self.port))
    }

    /// A connection by hand.
    #[track_caller]
    pub(crate) fn wire(&self) -> Wire {
        Wire::connect((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Whether someone answers on its port.
    pub(crate) fn answers(&self) -> bool {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok()
    }

    /// A field of CLIENT LIST about the client with an address; `None` when it is not connected.
    pub(crate) fn client_field(&self, address: &str, field: &str) -> Option<String> {
        let list: String = redis::cmd("CLIENT").arg("LIST").query(&mut self.client()).expect("CLIENT LIST");
        let line = list.lines().find(|line| line.contains(&format!(" addr={address} ")))?;
        Some(line.split(' ').find_map(|pair| pair.strip_prefix(field)?.strip_prefix('='))?.to_owned())
    }

    /// A field of INFO as a number.
    #[track_caller]
    pub(crate) fn info(&self, field: &str) -> u64 {
        let [value] = self.infos([field]);
        value
    }

    /// Fields of one INFO, which belong to the same moment.
    #[track_caller]
    pub(crate) fn infos<const N: usize>(&self, fields: [&str; N]) -> [u64; N] {
        let text: String = redis::cmd("INFO").arg("everything").query(&mut self.client()).expect("INFO");
        fields.map(|field| {
            let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
            let value = value.unwrap_or_else(|| panic!("INFO has no {field}:\n{text}"));
            value.parse().unwrap_or_else(|_| panic!("{field} is {value}"))
        })
    }

    /// Resident memory of the process, in bytes.
    pub(crate) fn rss_bytes(&self) -> u64 {
        self.memory_bytes("VmRSS:")
    }

    /// The most resident memory that the process has had so far, in bytes.
    pub(crate) fn rss_peak_bytes(&self) -> u64 {
        self.memory_bytes("VmHWM:")
    }

    fn memory_bytes(&self, figure: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the status of the process");
        let line = status.lines().find_map(|line| line.strip_prefix(figure)).expect(figure);
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number of kB");
        kib * 1024
    }

    /// Open file descriptors of the process.
    pub(crate) fn open_files(&self) -> BTreeSet<usize> {
        let entries = fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("the descriptors of the process");
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
    }

    /// Waits until the process uses hardly any of the processor time that it could have: nothing goes round in circles.
    #[track_caller]
    pub(crate) fn comes_to_rest(&self) {
        eventually("the server comes to rest", || {
            let (began, before) = (Instant::now(), self.threads());
            thread::sleep(Duration::from_millis(200));
            let (elapsed, after) = (began.elapsed(), self.threads());
            after.iter().all(|(id, now)| {
                let before = before.get(id).copied().unwrap_or_default();
                now.ran - before.ran < elapsed.saturating_sub(now.waited - before.waited) / 4
            })
        });
    }

    /// What its threads have done so far, by their ids.
    fn threads(&self) -> BTreeMap<String, Scheduled> {
        let entries = fs::read_dir(format!("/proc/{}/task", self.pid())).expect("the threads of the process");
        let ids = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        ids.filter_map(|id| Some((id.clone(), Scheduled::of(&format!("{}/task/{id}", self.pid()))?))).collect()
    }

    /// How long something takes that this server does for this thread, as if the machine did nothing else: the time for which
    /// either of them could have gone on and had no processor does not count.
    #[track_caller]
    pub(crate) fn time<T>(&self, act: impl FnOnce() -> T) -> (T, Duration) {
        let executor = format!("{0}/task/{0}", self.pid());
        let waited =
            || [&executor, "thread-self"].map(|who| Scheduled::of(who).expect("a thread that is there").waited);
        let (began, before) = (Instant::now(), waited());
        let result = act();
        let (elapsed, after) = (began.elapsed(), waited());
        let lost = before.iter().zip(after).map(|(before, after)| after - *before).sum();
        (result, elapsed.saturating_sub(lost))
    }

    /// Processor time that the executor has used, when it is at rest.
    #[track_caller]
    pub(crate) fn executor_time(&self) -> Duration {
        eventually("the executor rests", || self.is_in_state('S'));
        Scheduled::of(&format!("{0}/task/{0}", self.pid())).expect("the executor").ran
    }

    fn is_in_state(&self, state: char) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with(state))
    }

    /// Does something while the process is stopped, so that the server finds all of it in one turn.
    #[track_caller]
    pub(crate) fn while_stopped<T>(&self, act: impl FnOnce() -> T) -> T {
        self.signal("STOP");
        eventually("the process is stopped", || self.is_in_state('T'));
        let result = act();
        self.signal("CONT");
        result
    }

    /// Sends a signal, `TERM` for example.
    pub(crate) fn signal(&self, name: &str) {
        send_signal(self.pid(), name);
    }

    /// Waits for the end of the process.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        eventually("the server has ended", || self.has_ended());
        self.child.wait().expect("the server's exit status")
    }

    /// Ends it with SIGTERM and takes its folder.
    #[track_caller]
    pub(crate) fn stop(mut self) -> TempDir {
        self.signal("TERM");
        assert_eq!(self.wait().code(), Some(0), "{}", self.log());
        self.take_folder()
    }

    /// Ends it with SIGKILL and takes its folder.
    #[track_caller]
    pub(crate) fn killed(mut self) -> TempDir {
        self.signal("KILL");
        self.wait();
        self.take_folder()
    }

    /// Takes the folder, to start another server in it.
    pub(crate) fn take_folder(mut self) -> TempDir {
        self.folder.take().expect("the folder is taken once")
    }

    fn is_ready(&self) -> bool {
        let log = self.log();
        log.contains("Ready to accept connections")
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("the server's exit status").is_some()
    }
}

impl Drop for Weir {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            // From its own panic on, if there was one.
            let from = lines.iter().position(|line| line.contains("panicked at")).unwrap_or(usize::MAX);
            let from = from.min(lines.len().saturating_sub(30));
            eprintln!("--- the end of the server's log\n{}\n---", lines[from..].join("\n"));
        }
    }
}

/// What the system has done with a thread so far.
#[derive(Clone, Copy, Default)]
struct Scheduled {
    /// It had a processor.
    ran: Duration,
    /// It could have gone on, and others had the processors.
    waited: Duration,
}

impl Scheduled {
    /// Of a thread below `/proc`; `None` when it has ended.
    fn of(thread: &str) -> Option<Scheduled> {
        let figures = fs::read_to_string(format!("/proc/{thread}/schedstat")).unwrap_or_default();
        let mut nanoseconds = figures.split_whitespace().filter_map(|figure| figure.parse().ok());
        let (ran, waited) = (nanoseconds.next().unwrap_or(0), nanoseconds.next().unwrap_or(0));
        if ran > 0 {
            return Some(Scheduled { ran: Duration::from_nanos(ran), waited: Duration::from_nanos(waited) });
        }
        // A system that does not write this down: user and system time in hundredths of a second, the 12th and 13th words behind
        // the name in parentheses, which may hold anything.
        let stat = fs::read_to_string(format!("/proc/{thread}/stat")).ok()?;
        let ticks = stat.rsplit(") ").next()?.split(' ').skip(11).take(2).filter_map(|word| word.parse::<u64>().ok());
        Some(Scheduled { ran: Duration::from_millis(ticks.sum::<u64>() * 10), waited: Duration::ZERO })
    }
}

/// A connection of the client library to an address.
#[track_caller]
pub(crate) fn client_at(url: &str) -> redis::Connection {
    let client = redis::Client::open(url).expect("a good address");
    let connection = client.get_connection_with_timeout(PATIENCE).expect("a connection");
    connection.set_read_timeout(Some(PATIENCE)).expect("a limit on waiting");
    connection
}

/// The program under test.
pub(crate) fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_weir"))
}

/// Runs the program to its end, with text on standard input.
#[track_caller]
pub(crate) fn run<'a>(args: impl IntoIterator<Item = &'a str>, stdin: &str) -> Output {
    let mut child = Command::new(program())
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // Who does not want it has closed its end.
    let _ = child.stdin.take().expect("a pipe").write_all(stdin.as_bytes());
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().expect("the program's exit status").is_none() {
        if Instant::now() > deadline {
            // It is only to end.
            let _ = child.kill();
            panic!("the program did not end");
        }
        thread::sleep(Duration::from_millis(2));
    }
    child.wait_with_output().expect("the program's output")
}

/// Sends a signal to a process.
pub(crate) fn send_signal(pid: u32, name: &str) {
    let status = Command::new("sh").arg("-c").arg(format!("kill -{name} {pid}")).status().expect("a shell");
    assert!(status.success(), "kill -{name} {pid}");
}
