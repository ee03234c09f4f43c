//! What a command changed.
//!
//! A data command says here what it did and never calls the append-only file, replicas, notifications or waiters:
//! `server::propagate` reads the effects after the command and does the rest in one place, in one order.

use super::blocking::Block;
use crate::store::Sequence;
use weir_resp::reply_bytes;

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
        /// `d`: commands on types that Redis has in modules.
        const MODULE = 1 << 13;
    }
}

/// Room for commands in place of others that is kept.
const FEED_BYTES_KEPT: usize = 64 * 1024;

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
    /// All databases were emptied.
    pub flushed_all: bool,
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
    feed: Feeding,
}

/// What a command says that is to be repeated in its place.
#[derive(Debug, Default)]
struct Feeding {
    wanted: bool,
    /// It has said so: the command as it came is not to be repeated.
    said: bool,
    commands: usize,
    /// As multibulk, one command behind the other.
    bytes: Vec<u8>,
}

/// What of a command is to be repeated by whoever follows the changes: the append-only file, replicas.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Repeat<'e> {
    /// The command as it came, if it changed anything.
    AsItCame,
    /// So many others, as multibulk; none if that is empty.
    Others(usize, &'e [u8]),
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

    /// Whether anybody repeats commands.
    #[inline]
    pub fn feeds(&self) -> bool {
        self.feed.wanted
    }

    /// Sets whether anybody repeats commands; what is to be repeated is not even recorded otherwise.
    pub fn set_feeds(&mut self, wanted: bool) {
        self.feed.wanted = wanted;
    }

    /// Says that this is to be repeated in place of the command, behind what was said so before. It must do the same
    /// whenever it is run on the same data: it neither waits nor fails, and does not look at the clock.
    #[inline]
    pub fn feed_as(&mut self, words: &[&[u8]]) {
        if self.feed.wanted {
            self.feed_words(words.len(), words.iter().copied());
        }
    }

    /// The same with words that are not all there yet. `count`: how many they are.
    pub fn feed_words<'w>(&mut self, count: usize, words: impl Iterator<Item = &'w [u8]>) {
        if !self.feed.wanted {
            return;
        }
        self.feed.said = true;
        self.feed.commands += 1;
        reply_bytes::array_header(&mut self.feed.bytes, count);
        let mut written = 0;
        for word in words {
            reply_bytes::bulk(&mut self.feed.bytes, word);
            written += 1;
        }
        debug_assert_eq!(written, count, "a command has as many words as it says");
    }

    /// The same with words that follow on a few that are always there.
    pub fn feed_list<'w>(&mut self, first: &[&'w [u8]], rest: impl ExactSizeIterator<Item = &'w [u8]>) {
        self.feed_words(first.len() + rest.len(), first.iter().copied().chain(rest));
    }

    /// Says that nothing is to be repeated in place of the command, but for what else it says.
    #[inline]
    pub fn feed_nothing(&mut self) {
        self.feed.said |= self.feed.wanted;
    }

    /// What the command has said of that.
    pub fn repeat(&self) -> Repeat<'_> {
        if self.feed.said { Repeat::Others(self.feed.commands, &self.feed.bytes) } else { Repeat::AsItCame }
    }

    /// Forgets everything.
    #[inline]
    pub fn clear(&mut self) {
        if self.feed.said {
            self.feed.said = false;
            self.feed.commands = 0;
            self.feed.bytes.clear();
            self.feed.bytes.shrink_to(FEED_BYTES_KEPT);
        }
        self.dirty = 0;
        self.block = None;
        self.flushed_all = false;
        if !self.events.is_empty() {
            self.events.clear();
        }
    }
}
