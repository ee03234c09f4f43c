//! What a crash leaves behind: a report that says what was going on, and a process that has ended.

use crate::weir::Weir;
use std::time::Duration;

/// A report is there in that time.
const REPORT_TAKES: Duration = Duration::from_secs(180);

fn crash_by(command: &[&str]) -> (Weir, Option<i32>) {
    let mut weir = Weir::with(["--enable-debug-command", "yes", "--pidfile", "{dir}/weir.pid"]);
    let mut wire = weir.wire();
    wire.send(crate::wire::request(command));
    assert!(wire.is_closed_within(REPORT_TAKES));
    let status = weir.wait();
    (weir, std::os::unix::process::ExitStatusExt::signal(&status))
}

#[test]
fn a_panic_ends_the_process_and_says_what_was_running() {
    for (word, reason) in [("PANIC", "DEBUG PANIC was called"), ("ASSERT", "DEBUG ASSERT was called")] {
        let (weir, signal) = crash_by(&["DEBUG", word]);
        assert_eq!(signal, Some(libc::SIGABRT));
        let log = weir.log();
        let stack = if word == "PANIC" { "panic_now" } else { "assert_now" };
        for words in ["BUG REPORT START", reason, "STACK TRACE", stack, "command: debug", "used_memory:", "REPORT END"]
        {
            assert!(log.contains(words), "no {words:?} in {log}");
        }
        assert!(!weir.dir().join("weir.pid").exists());
    }
}

#[test]
fn a_fault_inside_of_transactions_is_reported_from_the_inside_out() {
    let mut weir = Weir::with(["--enable-debug-command", "yes", "--hide-user-data-from-log", "no"]);
    let mut wire = weir.wire();
    wire.is("CLIENT SETNAME culprit", "+OK");
    wire.is("MULTI", "+OK");
    wire.is("DEBUG SEGFAULT", "+QUEUED");
    wire.send("EXEC\r\n");
    assert!(wire.is_closed_within(REPORT_TAKES));
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&weir.wait()), Some(libc::SIGSEGV));
    let log = weir.log();
    for words in [
        "crashed by signal: 11 (SIGSEGV)",
        "REGISTERS",
        "fault_now",
        "command: debug in database 0",
        "argv[1]: 'SEGFAULT'",
        "inside of:\ncommand: exec",
        "name=culprit",
        "REPORT END",
    ] {
        assert!(log.contains(words), "no {words:?} in {log}");
    }
}

#[test]
fn a_signal_from_outside_is_reported_in_the_log_file_unless_reports_are_off() {
    // Where the tests look for it; the standard output itself stays silent then.
    let mut weir = Weir::with(["--logfile", "{dir}/stdout"]);
    // While threads begin, any of them may be the one that the signal finds.
    weir.wire().is("PING", "+PONG");
    weir.signal("ABRT");
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&weir.wait()), Some(libc::SIGABRT));
    let log = weir.log();
    for words in ["crashed by signal: 6", "Killed by PID", "STACK TRACE", "Stack::here", "No command was running."] {
        assert!(log.contains(words), "no {words:?} in {log}");
    }
    let mut silent = Weir::with([]);
    silent.wire().is("CONFIG SET crash-log-enabled no", "+OK");
    silent.signal("ABRT");
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&silent.wait()), Some(libc::SIGABRT));
    assert!(!silent.log().contains("STACK TRACE"), "{}", silent.log());
}

#[test]
fn the_watchdog_says_where_the_server_is_stuck_and_it_goes_on() {
    let weir = Weir::with(["--enable-debug-command", "yes"]);
    let mut wire = weir.wire();
    wire.is("CONFIG SET watchdog-period 200", "+OK");
    wire.is("DEBUG SLEEP 0.8", "+OK");
    weir.wait_for_log("WATCHDOG TIMER EXPIRED");
    let log = weir.log();
    assert!(log.contains("debug_command") && log.contains("command: debug"), "{log}");
    wire.is("CONFIG SET watchdog-period 0", "+OK");
    // On a busy machine it was stuck more than once.
    let said = || weir.log().matches("WATCHDOG TIMER EXPIRED").count();
    let before = said();
    wire.is("DEBUG SLEEP 0.5", "+OK");
    assert_eq!(said(), before);
}
