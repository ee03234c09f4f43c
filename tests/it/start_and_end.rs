//! Starting and ending: what an operator, an init script and a supervisor rely on.

use crate::weir::{Start, Weir, eventually, run, send_signal};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

#[track_caller]
fn ends_cleanly_on(signal: &str) {
    let mut weir = Weir::with(["--pidfile", "{dir}/weir.pid"]);
    let pid_file = weir.dir().join("weir.pid");
    assert_eq!(fs::read_to_string(&pid_file).expect("a pid file").trim(), weir.pid().to_string());
    let mut client = weir.client();
    redis::cmd("SET").arg("k").arg("v").exec(&mut client).expect("SET");
    weir.signal(signal);
    assert_eq!(weir.wait().code(), Some(0));
    assert!(!pid_file.exists(), "the pid file is still there");
    let log = weir.log();
    for words in ["Server initialized", "Ready to accept connections", signal, "bye bye"] {
        assert!(log.contains(words), "no {words:?} in the log:\n{log}");
    }
}

#[test]
fn sigterm_ends_it_with_exit_code_0_and_without_a_pid_file() {
    ends_cleanly_on("TERM");
}

#[test]
fn sigint_ends_it_with_exit_code_0_and_without_a_pid_file() {
    ends_cleanly_on("INT");
}

#[test]
fn sigterm_ends_it_while_clients_are_busy_or_silent() {
    let mut weir = Weir::with([]);
    let mut silent = weir.wire();
    silent.ask("PING\r\n", "+PONG\r\n");
    let mut half = weir.wire();
    half.send("*2\r\n$3\r\nGET\r\n$100\r\nabc");
    let mut busy = weir.wire();
    let mut sender = busy.sender();
    let load =
        std::thread::spawn(move || while std::io::Write::write_all(&mut sender, &b"PING\r\n".repeat(1000)).is_ok() {});
    busy.expect("+PONG\r\n");
    weir.signal("TERM");
    assert_eq!(weir.wait().code(), Some(0));
    assert!(silent.is_closed() && half.is_closed());
    busy.is_closed();
    load.join().expect("the load ends with the server");
}

#[test]
fn signals_about_terminals_and_pipes_do_not_end_it() {
    let weir = Weir::with([]);
    for signal in ["HUP", "PIPE"] {
        weir.signal(signal);
        weir.wire().ask("PING\r\n", "+PONG\r\n");
    }
}

#[test]
fn shutdown_ends_it_and_closes_the_connection() {
    let mut weir = Weir::with([]);
    let mut wire = weir.wire();
    wire.send("SHUTDOWN NOSAVE\r\n");
    assert_eq!(wire.rest(), b"");
    assert_eq!(weir.wait().code(), Some(0));
}

#[test]
fn nothing_is_executed_or_answered_behind_shutdown() {
    let mut weir = Weir::with([]);
    let (mut monitor, mut one, mut other) = (weir.wire(), weir.wire(), weir.wire());
    one.ask("PING\r\n", "+PONG\r\n");
    other.ask("PING\r\n", "+PONG\r\n");
    monitor.ask("MONITOR\r\n", "+OK\r\n");
    weir.while_stopped(|| {
        one.send("SET before 1\r\nSHUTDOWN NOSAVE\r\nSET behind 1\r\nPING\r\n");
        other.send("SET beside 1\r\nPING\r\n");
    });
    assert_eq!(String::from_utf8_lossy(&one.rest()), "+OK\r\n");
    assert_eq!(String::from_utf8_lossy(&other.rest()), "");
    let seen = String::from_utf8_lossy(&monitor.rest()).into_owned();
    assert!(seen.ends_with("\"SET\" \"before\" \"1\"\r\n") && seen.lines().count() == 1, "{seen}");
    assert_eq!(weir.wait().code(), Some(0));
}

#[test]
fn a_link_named_redis_server_starts_it_as_redis_is_started() {
    let weir = Start::new()
        .named("redis-server")
        .file("port {port}\nbind 127.0.0.1\n")
        .options(["--maxclients", "77"])
        .start();
    let found: (String, String) =
        redis::cmd("CONFIG").arg("GET").arg("maxclients").query(&mut weir.client()).expect("CONFIG GET");
    assert_eq!(found.1, "77");
    let version = Command::new(weir.dir().join("redis-server")).arg("--version").output().expect("the program starts");
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    assert!(version.contains("v="), "{version}");
}

#[test]
fn help_and_version_are_printed_without_starting_anything() {
    for flag in ["--help", "-h"] {
        let output = run([flag], "");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.contains("weir [CONFIG_FILE | -]"), "{text}");
    }
    for flag in ["--version", "-v"] {
        let output = run([flag], "");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.contains(env!("CARGO_PKG_VERSION")), "{text}");
    }
}

#[test]
fn daemonize_leaves_a_process_of_its_own_behind() {
    let options =
        "daemonize yes\npidfile {dir}/weir.pid\nlogfile {dir}/weir.log\nport {port}\nbind 127.0.0.1\ndir {dir}\n";
    let parent = Start::new().file(options).start_in_background();
    let pid_file = parent.dir().join("weir.pid");
    let pid = || fs::read_to_string(&pid_file).ok()?.trim().parse::<u32>().ok();
    eventually("the pid file holds a number", || pid().is_some());
    let daemon = Daemon(pid().expect("seen just now"));
    assert_ne!(daemon.0, parent.pid());
    eventually("the daemon answers", || parent.answers());
    let log = || fs::read_to_string(parent.dir().join("weir.log")).expect("a log");
    eventually("it says so", || log().contains("Ready to accept connections"));
    send_signal(daemon.0, "TERM");
    eventually("the pid file is gone", || !pid_file.exists());
    eventually("the daemon is gone", || !daemon.is_alive());
}

/// A process that is not a child. It is killed when a test fails.
struct Daemon(u32);

impl Daemon {
    fn is_alive(&self) -> bool {
        // Who has ended but was not waited for is gone as well.
        let status = fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap_or_default();
        Path::new(&format!("/proc/{}", self.0)).exists() && !status.contains(") Z ")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.is_alive() {
            send_signal(self.0, "KILL");
        }
    }
}

#[test]
fn the_executor_and_the_threads_beside_it_run_on_the_processors_that_they_are_given() {
    let available = std::thread::available_parallelism().map_or(1, usize::from);
    if available < 2 {
        eprintln!("skipped: there is one processor");
        return;
    }
    let weir = Start::appending("everysec").options(["--server-cpulist", "0", "--bio-cpulist", "1"]).start();
    weir.wire().is("BGSAVE", "+Background saving started");
    let tasks = format!("/proc/{}/task", weir.pid());
    let mut seen = BTreeMap::new();
    for task in fs::read_dir(tasks).expect("the threads").filter_map(Result::ok) {
        // One may have ended meanwhile.
        let Ok(status) = fs::read_to_string(task.path().join("status")) else { continue };
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.unwrap_or_default().trim().to_owned()
        };
        seen.insert(field("Name"), field("Cpus_allowed_list"));
    }
    let on = |name: &str| seen.get(name).map(String::as_str);
    assert_eq!((on("weir"), on("weir-free"), on("weir-aof")), (Some("0"), Some("1"), Some("1")), "{seen:?}");
    let weir = Weir::with(["--bio-cpulist", "0-"]);
    assert!(weir.log().contains("bio-cpulist '0-' cannot be followed"), "{}", weir.log());
}
