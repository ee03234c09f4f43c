//! What the executor is doing, told to whoever reports a crash.
//!
//! Each command that runs has a [`Frame`] on the stack, and one pointer leads to the innermost; that is all it costs. The
//! report reads it in the middle of whatever went wrong, on the executor's own thread and never on another one, so
//! nothing is freed or moved meanwhile, but anything may be half changed. So the reporter first writes what needs none of
//! this, and nothing here allocates.

use super::client::{Clients, Slot};
use super::redact;
use super::table::Command;
use std::fmt::{self, Write};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use weir_resp::Argv;

/// Arguments that are told of one command.
const ARGS_MAX: usize = 32;
/// Bytes that are told of one argument.
const ARG_BYTES_MAX: usize = 128;
/// Commands inside each other that are told of.
const DEPTH_MAX: usize = 8;

static INNERMOST: AtomicPtr<Frame<'static>> = AtomicPtr::new(ptr::null_mut());

/// A command that runs.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    command: &'static Command,
    argv: Argv<'a>,
    db: usize,
    slot: Slot,
    clients: *const Clients,
    outer: *mut Frame<'static>,
}

impl<'a> Frame<'a> {
    /// A command that is about to run. It must be entered where it stays.
    #[inline(always)]
    pub(super) fn new(
        command: &'static Command,
        argv: Argv<'a>,
        db: usize,
        slot: Slot,
        clients: &Clients,
    ) -> Frame<'a> {
        Frame { command, argv, db, slot, clients, outer: INNERMOST.load(Ordering::Relaxed) }
    }

    /// From here on it is what runs.
    #[inline(always)]
    pub(super) fn enter(&self) {
        INNERMOST.store(ptr::from_ref(self).cast_mut().cast(), Ordering::Relaxed);
    }

    /// It has run.
    #[inline(always)]
    pub(super) fn leave(&self) {
        INNERMOST.store(self.outer, Ordering::Relaxed);
    }
}

/// Figures for the report, taken many times a second.
pub(super) static FIGURES: Figures = Figures::new();

/// See [`FIGURES`].
#[derive(Debug)]
pub(super) struct Figures {
    pub(super) connected_clients: AtomicU64,
    pub(super) used_memory: AtomicU64,
    pub(super) keys: AtomicU64,
    pub(super) total_commands_processed: AtomicU64,
    /// Arguments are not told (`hide-user-data-from-log`).
    pub(super) hides_user_data: AtomicBool,
}

impl Figures {
    const fn new() -> Figures {
        Figures {
            connected_clients: AtomicU64::new(0),
            used_memory: AtomicU64::new(0),
            keys: AtomicU64::new(0),
            total_commands_processed: AtomicU64::new(0),
            hides_user_data: AtomicBool::new(false),
        }
    }
}

/// Tells the figures. Allocates nothing and may be called anywhere.
///
/// # Errors
/// Those of `out`.
pub fn tell_figures(out: &mut dyn Write) -> fmt::Result {
    let figures = [
        ("connected_clients", &FIGURES.connected_clients),
        ("used_memory", &FIGURES.used_memory),
        ("keys", &FIGURES.keys),
        ("total_commands_processed", &FIGURES.total_commands_processed),
    ];
    figures.iter().try_for_each(|(name, figure)| writeln!(out, "{name}:{}", figure.load(Ordering::Relaxed)))
}

/// Tells which command runs, innermost first, for which client and with which arguments; secrets are not told. Allocates
/// nothing. To be called on the executor's thread only, wherever that is just now.
///
/// # Errors
/// Those of `out`.
pub fn tell_commands(out: &mut dyn Write) -> fmt::Result {
    let mut at = INNERMOST.load(Ordering::Relaxed).cast_const();
    if at.is_null() {
        return writeln!(out, "No command was running.");
    }
    for _ in 0..DEPTH_MAX {
        // SAFETY: a frame is entered where it lives and left before it goes; this thread is above it on the stack.
        let Some(frame) = (unsafe { at.as_ref() }) else { break };
        frame.tell(out)?;
        at = frame.outer;
        if !at.is_null() {
            writeln!(out, "inside of:")?;
        }
    }
    Ok(())
}

impl Frame<'_> {
    fn tell(&self, out: &mut dyn Write) -> fmt::Result {
        writeln!(out, "command: {} in database {}", self.command.full_name, self.db)?;
        // SAFETY: the clients belong to the server whose command this is, which cannot go before the command returns.
        // They may be in the middle of a change, which is why this is told only after all else.
        if let Some(client) = unsafe { self.clients.as_ref() }.and_then(|clients| clients.get(self.slot)) {
            let (id, addr, name) = (client.id.0, &client.addr, client.name.escape_ascii());
            writeln!(out, "client: id={id} addr={addr} name={name}")?;
        }
        let hides = FIGURES.hides_user_data.load(Ordering::Relaxed);
        for at in 0..self.argv.len().min(ARGS_MAX) {
            let arg = if hides && at > 0 { b"*redacted*" } else { redact::shown(self.command, self.argv, at) };
            let cut = arg.get(..ARG_BYTES_MAX).unwrap_or(arg);
            write!(out, "argv[{at}]: '{}'", cut.escape_ascii())?;
            match arg.len() - cut.len() {
                0 => writeln!(out)?,
                left => writeln!(out, " and {left} more bytes")?,
            }
        }
        match self.argv.len().saturating_sub(ARGS_MAX) {
            0 => Ok(()),
            left => writeln!(out, "and {left} more arguments"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::table::commands;
    use weir_resp::Batch;

    fn told() -> String {
        let mut text = String::new();
        tell_commands(&mut text).unwrap();
        text
    }

    #[test]
    fn commands_are_told_inside_out_without_secrets_and_cut() {
        assert_eq!(told(), "No command was running.\n");
        let clients = Clients::default();
        let find = |name| commands().iter().find(|command| command.full_name == name).unwrap();
        let mut batch = Batch::new();
        batch.push_command([&b"AUTH"[..], b"user", b"secret"]).unwrap();
        batch.push_command([&b"SET"[..], b"k\n", &[b'v'; 1000]]).unwrap();
        let outer = Frame::new(find("auth"), batch.command(0), 3, Slot(0), &clients);
        outer.enter();
        let inner = Frame::new(find("set"), batch.command(1), 3, Slot(0), &clients);
        inner.enter();
        let expected = format!(
            "command: set in database 3\nargv[0]: 'SET'\nargv[1]: 'k\\n'\nargv[2]: '{}' and 872 more bytes\ninside of:\n\
             command: auth in database 3\nargv[0]: 'AUTH'\nargv[1]: '(redacted)'\nargv[2]: '(redacted)'\n",
            "v".repeat(ARG_BYTES_MAX)
        );
        assert_eq!(told(), expected);
        inner.leave();
        outer.leave();
        assert_eq!(told(), "No command was running.\n");
    }
}
