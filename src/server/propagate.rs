//! Telling everybody what a command changed.
//!
//! One place, one order. After each command its changes are counted and put into the feed, which comes first since what it
//! must have comes before what anybody may see of it; then clients that keep copies are told, then those who listen to
//! events, then MONITOR; after the last one of a turn what is to be freed goes to the background.

use super::client::Slot;
use super::table::Command;
use super::{Server, redact};
use crate::command::spec::Flags;
use std::sync::Arc;
use weir_resp::Argv;
use weir_structs::quoted::put_quoted;

impl Server {
    /// After each command of a client, which has run on database `db`.
    #[inline]
    pub(super) fn propagate(&mut self, by: Slot, db: usize, argv: Argv<'_>) {
        self.note_layer_changes();
        self.dirty += self.effects.dirty;
        if self.feed.is_wanted() {
            self.feed_command(db, argv);
        }
        self.tell_changes(Some(by));
        self.tell_events();
        if self.effects.flushed_all {
            self.all_flushed();
        }
        self.effects.clear();
        self.publish_for_broker();
    }

    /// After something that the server has done by itself in database `db`.
    pub(super) fn propagate_own(&mut self, db: usize) {
        self.note_layer_changes();
        self.dirty += self.effects.dirty;
        if self.feed.is_wanted() {
            self.feed_own(db);
        }
        self.tell_changes(None);
        self.tell_events();
        self.effects.clear();
        self.end_unit();
        self.publish_for_broker();
    }

    /// After the last command of a turn.
    pub(super) fn settle(&mut self) {
        self.tend_broker();
        self.tend_registry();
        self.tend_observers();
        // What has expired or was evicted between commands.
        self.feed_departures();
        self.tell_changes(None);
        self.tell_events();
        self.broadcast();
        self.write_append_only();
        self.answer_awaiting();
        self.settle_garbage();
    }

    /// Has what the store has discarded freed in the background.
    pub(super) fn settle_garbage(&mut self) {
        if self.store.has_garbage() {
            for discarded in self.store.take_garbage() {
                self.background.free(discarded);
            }
        }
    }

    /// Shows a command that has run to the clients in MONITOR.
    #[cold]
    pub(super) fn feed_monitors(&mut self, slot: Slot, command: &'static Command, argv: Argv<'_>) {
        if !command.flags().intersects(Flags::SKIP_MONITOR | Flags::ADMIN) {
            self.show_to_monitors(slot, command, argv);
        }
    }

    /// The same, of any command.
    #[cold]
    pub(super) fn show_to_monitors(&mut self, slot: Slot, command: &'static Command, argv: Argv<'_>) {
        let Some(client) = self.clients.get(slot) else { return };
        let now_us = (self.facts.wall_clock_us)();
        let mut line = format!("+{}.{:06} [{} ", now_us / 1_000_000, now_us % 1_000_000, client.db).into_bytes();
        if self.scripts.is_running() {
            line.extend_from_slice(b"lua");
        } else if client.flags.contains(super::client::ClientFlags::UNIX_SOCKET) {
            line.extend_from_slice(b"unix:");
            line.extend_from_slice(client.addr.trim_end_matches(":0").as_bytes());
        } else {
            line.extend_from_slice(client.addr.as_bytes());
        }
        line.push(b']');
        for at in 0..argv.len() {
            line.push(b' ');
            put_quoted(&mut line, redact::shown(command, argv, at));
        }
        line.extend_from_slice(b"\r\n");
        let line: Arc<[u8]> = line.into();
        for monitor in self.clients.monitors.clone() {
            self.push(monitor, Arc::clone(&line));
        }
    }
}
