//! What a data command sees: the store, its arguments, where its reply goes and where it says what it changed.
//!
//! Invariant: nothing of the server can be reached from here.

use super::args::Words;
use super::blocking::{Block, TimeoutReply};
use super::effects::{Effects, EventClass};
use super::error::Error;
use super::reply::Reply;
use super::value_type::type_name;
use crate::config::Config;
use crate::store::{Db, Key, Store};
use weir_resp::Argv;

/// One run of a data command.
pub struct Cx<'a> {
    /// All databases.
    pub store: &'a mut Store,
    /// The client's database.
    pub db_index: usize,
    /// The command's name and arguments.
    pub argv: Argv<'a>,
    /// The first key's place among the arguments and its position, where the executor has worked it out ahead.
    pub first_key: Option<(usize, u64)>,
    /// Where the reply goes.
    pub reply: Reply<'a>,
    /// What the command changed.
    pub effects: &'a mut Effects,
    /// Thresholds and limits.
    pub config: &'a Config,
}

/// What a new value replaces.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Replaced {
    overwritten: bool,
    type_changed: bool,
}

impl<'a> Cx<'a> {
    /// The client's database.
    #[inline]
    pub fn db(&mut self) -> Db<'_> {
        self.store.db(self.db_index)
    }

    /// Number of arguments, the name included.
    #[inline]
    pub fn argc(&self) -> usize {
        self.argv.len()
    }

    /// Argument `at`; an empty string beyond the last, which the arity check rules out for those a command needs.
    #[inline]
    pub fn arg(&self, at: usize) -> &'a [u8] {
        self.argv.get(at).unwrap_or_default()
    }

    /// The key at argument `at`.
    #[inline]
    pub fn key(&self, at: usize) -> Key<'a> {
        let name = self.arg(at);
        match self.first_key {
            Some((known_at, position)) if known_at == at => Key { name, position },
            _ => self.store.key(name),
        }
    }

    /// The arguments from `at` on, to be read one by one.
    pub fn words(&self, at: usize) -> Words<'a> {
        Words::new(self.argv, at)
    }

    /// Argument `at` as an integer.
    #[inline]
    pub fn int(&self, at: usize) -> Result<i64, Error> {
        super::args::int(self.arg(at))
    }

    /// Whether a key has a value that one of type `new` is to replace as a whole, and whether that is of another type; only if
    /// somebody listens to that.
    #[inline]
    pub(super) fn replaces(&self, db: usize, key: Key<'_>, new: &'static str) -> Replaced {
        if !self.effects.wants(EventClass::OVERWRITTEN | EventClass::TYPE_CHANGED) {
            return Replaced::default();
        }
        let old = self.store.view(db, key).map(type_name);
        Replaced { overwritten: old.is_some(), type_changed: old.is_some_and(|old| old != new) }
    }

    /// Tells what [`Cx::replaces`] has found.
    #[inline]
    pub(super) fn tell_replaced(&mut self, replaced: Replaced, db: usize, key: Key<'_>) {
        if replaced.overwritten {
            self.effects.event(EventClass::OVERWRITTEN, "overwritten", key.name, db);
        }
        if replaced.type_changed {
            self.effects.event(EventClass::TYPE_CHANGED, "type_changed", key.name, db);
        }
    }

    /// Both, before a key of the client's database gets another value of type `new`.
    #[inline]
    pub(super) fn overwrites(&mut self, key: Key<'_>, new: &'static str) {
        let replaced = self.replaces(self.db_index, key, new);
        self.tell_replaced(replaced, self.db_index, key);
    }

    /// Asks to wait for data, where there is none. A client that may not wait (in a transaction, in a script) gets the
    /// reply at once that it would get when its time is over.
    pub fn block(&mut self, block: Block) {
        if self.effects.may_block {
            self.effects.block = Some(Box::new(block));
            return;
        }
        match block.on_timeout {
            TimeoutReply::Null | TimeoutReply::Synced => self.reply.null(),
            TimeoutReply::NullArray => self.reply.null_array(),
        }
    }

    /// Unix time in milliseconds, the same during the whole command.
    #[inline]
    pub fn now_ms(&self) -> i64 {
        self.store.now_ms()
    }

    /// Whether the command is repeated from a record: the clock is no judge of what it says.
    #[inline]
    pub fn repeats(&self) -> bool {
        self.store.holds_deadlines()
    }

    /// Deadlines up to this moment have come: [`Cx::now_ms`], but for a command that is repeated from a record, for which none
    /// has.
    #[inline]
    pub fn due_ms(&self) -> i64 {
        self.store.due_ms()
    }
}
