//! Signals: how a person or a supervisor asks the server to stop.
//!
//! | signal | what happens |
//! |---|---|
//! | SIGTERM, SIGINT | the event loop is woken and finds a [`StopSignal`] |
//! | SIGINT while the server is stopping | the process ends at once, with exit code 1 |
//! | SIGHUP, SIGPIPE, SIGXFSZ | ignored |
//! | SIGUSR1 and the others | left as they are, as Redis does: they end the process |
//!
//! The handlers set flags and write one byte into a socket pair, which is all a handler may do.

use std::io::{self, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

/// Which signal asked for the stop: each has its own configuration (`shutdown-on-sigint`, `shutdown-on-sigterm`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM: a supervisor.
    Terminate,
}

impl StopSignal {
    /// The signal's name, for the log.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            StopSignal::Interrupt => "SIGINT",
            StopSignal::Terminate => "SIGTERM",
        }
    }
}

/// The process's signal handlers. There should be one in a process; its end of the socket pair, from
/// [`as_raw_fd`](AsRawFd::as_raw_fd), becomes readable when a signal came.
#[derive(Debug)]
pub struct Signals {
    wake: UnixStream,
    interrupted: Arc<AtomicBool>,
    terminated: Arc<AtomicBool>,
    /// A stop is under way: the next SIGINT insists.
    stopping: Arc<AtomicBool>,
}

impl Signals {
    /// Installs the handlers, for as long as the process lives.
    ///
    /// Errors: the system has no descriptors left, or refuses a handler.
    pub fn install() -> io::Result<Signals> {
        for signal in [libc::SIGHUP, libc::SIGPIPE, libc::SIGXFSZ] {
            // SAFETY: sets a disposition that runs no code of ours.
            if unsafe { libc::signal(signal, libc::SIG_IGN) } == libc::SIG_ERR {
                return Err(io::Error::last_os_error());
            }
        }
        let (wake, waker) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        waker.set_nonblocking(true)?;
        let (interrupted, terminated, stopping) = <(Arc<_>, Arc<_>, Arc<_>)>::default();
        // Handlers of a signal run in this order: the first SIGINT must not find the flag that it sets itself.
        flag::register_conditional_shutdown(SIGINT, 1, Arc::clone(&stopping))?;
        for (signal, seen) in [(SIGINT, &interrupted), (SIGTERM, &terminated)] {
            flag::register(signal, Arc::clone(&stopping))?;
            flag::register(signal, Arc::clone(seen))?;
            low_level::pipe::register(signal, waker.try_clone()?)?;
        }
        Ok(Signals { wake, interrupted, terminated, stopping })
    }

    /// The signal that came since the last call, if any. Clears the descriptor; never waits.
    pub fn take(&mut self) -> Option<StopSignal> {
        let mut bytes = [0; 64];
        while (&self.wake).read(&mut bytes).is_ok_and(|count| count == bytes.len()) {}
        if self.terminated.swap(false, Ordering::Relaxed) {
            Some(StopSignal::Terminate)
        } else {
            self.interrupted.swap(false, Ordering::Relaxed).then_some(StopSignal::Interrupt)
        }
    }

    /// To be called when the stop did not come about (`SHUTDOWN ABORT`, or data could not be saved): the next SIGINT asks again
    /// instead of ending the process.
    pub fn when_abandoned(&self) -> impl Fn() + use<> {
        let stopping = Arc::clone(&self.stopping);
        move || stopping.store(false, Ordering::Relaxed)
    }
}

impl AsRawFd for Signals {
    fn as_raw_fd(&self) -> RawFd {
        self.wake.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::lone_process::{lone_word, run_test_alone};

    /// Started by the test below in a process of its own, since signals are for the whole process.
    #[test]
    fn signals_child() {
        if lone_word().is_none() {
            return;
        }
        let mut signals = Signals::install().unwrap();
        assert_eq!(signals.take(), None);
        low_level::raise(libc::SIGHUP).unwrap();
        low_level::raise(libc::SIGPIPE).unwrap();
        assert_eq!(signals.take(), None);
        let readable = |signals: &Signals| {
            let mut poll = libc::pollfd { fd: signals.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: one live pollfd, and a count of one.
            unsafe { libc::poll(&raw mut poll, 1, 0) == 1 }
        };
        for (signal, expected) in [(SIGTERM, StopSignal::Terminate), (SIGINT, StopSignal::Interrupt)] {
            low_level::raise(signal).unwrap();
            assert!(readable(&signals));
            assert_eq!(signals.take(), Some(expected));
            assert!(!readable(&signals));
            assert_eq!(signals.take(), None);
            signals.when_abandoned()();
        }
        println!("all but the last");
        low_level::raise(SIGTERM).unwrap();
        low_level::raise(SIGINT).unwrap();
        println!("not reached");
    }

    #[test]
    fn signals_ask_for_a_stop_and_an_interrupt_on_top_ends_the_process() {
        let output = run_test_alone(module_path!(), "signals_child", "");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("all but the last") && !text.contains("not reached"), "{text}");
        assert_eq!(output.status.code(), Some(1));
    }
}
