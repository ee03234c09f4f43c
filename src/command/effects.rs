//! What a command changed.
//!
//! A data command says here what it did and never calls the append-only file, replicas, notifications or waiters:
//! `server::propagate` reads the effects after the command and does the rest in one place, in one order.

use super::blocking::Block;
use crate::store::Sequence;

bitflags::bitflags! {
    /// Classes of keyspace events, with the letters of `notify-keyspace-events`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct EventClass: u16 {
        /// `g`: commands of any type, such as DEL and EXPIRE.
        const GENERIC = 1 << 0;
        /// `$`
        const STRING = 1 << 1;
        /// `x`: a key expired.
        const EXPIRED = 1 << 2;
        /// `n`: a key is new.
        const NEW = 1 << 3;
        /// `m`: a key was looked for and not there.
        const MISS = 1 << 4;
        /// `l`
        const LIST = 1 << 5;
        /// `s`
        const SET = 1 << 6;
        /// `h`
        const HASH = 1 << 7;
        /// `z`
        const ZSET = 1 << 8;
        /// `t`
        const STREAM = 1 << 9;
        /// `e`: a key was evicted.
        const EVICTED = 1 << 10;
        /// `o`: a key was given another value as a whole.
        const OVERWRITTEN = 1 << 11;
        /// `c`: a key was given a value of another type.
        const TYPE_CHANGED = 1 << 12;
    }
}

/// One keyspace event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyEvent {
    /// When, among all records.
    pub number: u64,
    /// Its class.
    pub class: EventClass,
    /// Its name, as subscribers see it: `set`, `del`, `expire`.
    pub name: &'static str,
    /// The key.
    pub key: Box<[u8]>,
    /// The key's database.
    pub db: usize,
}

/// Filled by a command, emptied by the server. Reused, so that a command allocates nothing for it.
#[derive(Debug, Default)]
pub struct Effects {
    /// Number of changes, as `rdb_changes_since_last_save` counts them.
    pub dirty: u64,
    /// What the command waits for; it has done nothing else then.
    pub block: Option<Box<Block>>,
    /// Whether the client may wait at all.
    pub may_block: bool,
    /// Whether a script has called the command.
    pub in_script: bool,
    /// Whether the client may read keys whose names nobody knows beforehand; said anew before each run of a command with
    /// `Flags::FOREIGN_KEYS`.
    pub reads_every_key: bool,
    wanted: EventClass,
    sequence: Sequence,
    events: Vec<KeyEvent>,
}

impl Effects {
    /// Of a client that may wait for data.
    pub fn waiting_allowed() -> Effects {
        Effects { may_block: true, reads_every_key: true, ..Effects::default() }
    }

    /// Numbers events from now on.
    pub fn set_sequence(&mut self, sequence: Sequence) {
        self.sequence = sequence;
    }

    /// Whether events of a class are listened to.
    #[inline]
    pub fn wants(&self, class: EventClass) -> bool {
        self.wanted.intersects(class)
    }

    /// Sets which classes are listened to; events of others are not even recorded.
    pub fn want(&mut self, classes: EventClass) {
        self.wanted = classes;
    }

    /// Counts `n` changes.
    pub fn changed(&mut self, n: u64) {
        self.dirty += n;
    }

    /// Reports an event at a key.
    #[inline]
    pub fn event(&mut self, class: EventClass, name: &'static str, key: &[u8], db: usize) {
        if self.wanted.intersects(class) {
            self.events.push(KeyEvent { number: self.sequence.next(), class, name, key: key.into(), db });
        }
    }

    /// The events so far, in order, which are forgotten.
    pub fn take_events(&mut self) -> Vec<KeyEvent> {
        std::mem::take(&mut self.events)
    }

    /// Forgets everything.
    #[inline]
    pub fn clear(&mut self) {
        self.dirty = 0;
        self.block = None;
        if !self.events.is_empty() {
            self.events.clear();
        }
    }
}
