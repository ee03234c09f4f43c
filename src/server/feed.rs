//! The feed: every change of the data as commands, in one stream, in the order in which they were made.
//!
//! ```text
//!   command ──► Effects: as it came, or others ──┐
//!   expired, evicted on the way ──► DEL, UNLINK, HDEL ──► unit ──► [MULTI] .. [EXEC] ──► take(), at the end of a turn
//!   transaction, script: all that theirs did ────┘
//! ```
//!
//! Whoever runs the stream on the data of its beginning gets the data of its end. So nothing in it depends on the clock or
//! on chance: deadlines are moments, what was picked at random is named, what expired is removed by a command of its own.
//! That is why deadlines are held where it is run ([`Server::begin_repeating`]).
//!
//! What a client has asked for at once is a *unit*: a command, a transaction, a script. A unit of several commands stands
//! between MULTI and EXEC, with what expired while it ran: all of it is repeated or nothing. A unit that is not over, as
//! that of a script which takes long, is kept back.
//!
//! What must stay true: while nobody wants it nothing is built; bytes are handed on in whole units. Messages (PUBLISH) are no
//! data and are not in it.

use super::Server;
use crate::command::effects::Repeat;
use crate::store::{ExpiredFields, Gone};
use weir_resp::{Argv, reply_bytes};
use weir_structs::number::format_u64;

/// A request of so many bytes is not copied: it goes to the file from where it is, ahead of the end of the turn.
const LARGE_BYTES: usize = 64 * 1024;
const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";
/// Memory that is kept for the next turn.
const KEEP_BYTES: usize = 1024 * 1024;

/// Changes as commands, encoded as multibulk.
#[derive(Debug, Default)]
pub(super) struct Feed {
    wanted: bool,
    /// Whole units, and behind them the one that is not over.
    bytes: Vec<u8>,
    /// The database that the last command was for.
    db: Option<usize>,
    unit: Unit,
}

/// The unit that is not over.
#[derive(Clone, Copy, Default, Debug)]
struct Unit {
    /// Where it begins.
    begin: usize,
    /// Where the choice of its database ends, if it begins with that; else something in front of it.
    selected: usize,
    commands: usize,
}

impl Feed {
    /// Whether anybody wants it.
    #[inline]
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// All units that are over.
    pub(super) fn over(&self) -> &[u8] {
        self.bytes.get(..self.unit.begin).unwrap_or_default()
    }

    /// They are handed on.
    pub(super) fn handed_on(&mut self) {
        // The unit that is not over, of a script that takes long, may be large, and turns are many.
        if self.unit.begin > 0 {
            self.bytes.drain(..self.unit.begin);
            self.unit.selected = self.unit.selected.saturating_sub(self.unit.begin);
            self.unit.begin = 0;
            self.bytes.shrink_to(KEEP_BYTES);
        }
    }

    /// Bytes of heap behind it.
    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Whoever takes it next begins anew and knows nothing of the databases named so far.
    pub(super) fn begin_anew(&mut self) {
        self.db = None;
    }

    fn select(&mut self, db: usize) {
        if self.db != Some(db) {
            self.db = Some(db);
            let number = format_u64(db as u64);
            append_words(&mut self.bytes, 2, [b"SELECT".as_slice(), &number].into_iter());
            if self.unit.commands == 0 {
                self.unit.selected = self.bytes.len();
            }
        }
    }

    fn as_it_came(&mut self, db: usize, argv: Argv<'_>) {
        self.select(db);
        match argv.multibulk() {
            Some(request) => self.bytes.extend_from_slice(request),
            None => append_words(&mut self.bytes, argv.len(), argv.iter()),
        }
        self.unit.commands += 1;
    }

    /// The same as a unit of its own.
    fn select_alone(&mut self, db: usize) {
        self.select(db);
        self.unit.begin = self.bytes.len();
    }

    fn is_between_units(&self) -> bool {
        self.unit.commands == 0
    }

    fn command<'w>(&mut self, db: usize, count: usize, words: impl Iterator<Item = &'w [u8]>) {
        self.select(db);
        append_words(&mut self.bytes, count, words);
        self.unit.commands += 1;
    }

    fn encoded(&mut self, db: usize, count: usize, commands: &[u8]) {
        if count > 0 {
            self.select(db);
            self.bytes.extend_from_slice(commands);
            self.unit.commands += count;
        }
    }

    fn end_unit(&mut self) {
        if self.unit.commands > 1 {
            // The database is chosen in front of it, as whoever reads such files expects.
            let begin = self.unit.begin.max(self.unit.selected);
            self.bytes.splice(begin..begin, MULTI.iter().copied());
            self.bytes.extend_from_slice(EXEC);
        }
        self.unit = Unit { begin: self.bytes.len(), ..Unit::default() };
    }
}

/// Appends a command as multibulk.
#[inline]
pub(super) fn append_words<'w>(bytes: &mut Vec<u8>, count: usize, words: impl Iterator<Item = &'w [u8]>) {
    reply_bytes::array_header(bytes, count);
    words.for_each(|word| reply_bytes::bulk(bytes, word));
}

/// Something that has gone by itself.
enum Departed<'g> {
    Key(&'g Gone),
    EvictedKey(&'g Gone),
    Fields(&'g ExpiredFields),
}

impl Departed<'_> {
    fn number(&self) -> u64 {
        match self {
            Departed::Key(gone) | Departed::EvictedKey(gone) => gone.number,
            Departed::Fields(fields) => fields.number,
        }
    }
}

impl Server {
    /// Says whether the feed is wanted from now on, beginning with the next command. Whoever wants it calls this before the
    /// first command that it must have, and [`Server::take_feed`] at the end of each turn.
    pub fn want_feed(&mut self, wanted: bool) {
        if self.feed.wanted != wanted {
            // What has gone before is told without it.
            self.tell_events();
            self.feed = Feed { wanted, ..Feed::default() };
            self.effects.set_feeds(wanted);
            self.arm_store();
        }
    }

    /// What the feed has had since the last call, in whole units; see the module. Commands that have run before in the same
    /// turn are in it: who goes on in another file, behind a snapshot that begins now, takes what belongs into the old one
    /// first, and then calls [`Server::begin_feed_anew`].
    pub fn take_feed(&mut self) -> Vec<u8> {
        let taken = self.feed.over().to_vec();
        self.feed.handed_on();
        taken
    }

    /// Whether no unit is under way: what the data are now is what the feed has led to. Only then may a snapshot begin that
    /// the feed goes on from. Not so inside of a transaction or a script.
    pub fn feed_is_between_units(&self) -> bool {
        self.feed.is_between_units() && self.effects.may_block && !self.scripts.is_running()
    }

    /// Whether a script is in the middle of what it does, so that a part of the data is not in the feed yet.
    pub fn is_in_script(&self) -> bool {
        self.scripts.is_suspended()
    }

    /// The next command of the feed names its database, whatever stood before it.
    pub fn begin_feed_anew(&mut self) {
        self.feed.begin_anew();
    }

    /// Commands that run from now on are repeated from a feed: no deadline comes until [`Server::end_repeating`].
    pub fn begin_repeating(&mut self) {
        self.store.hold_deadlines(true);
    }

    /// Time goes on for deadlines.
    pub fn end_repeating(&mut self) {
        self.store.hold_deadlines(false);
    }

    /// After a command that has run on database `db`: puts what is to be repeated of it into the unit that is not over.
    #[inline(never)]
    pub(super) fn feed_command(&mut self, db: usize, argv: Argv<'_>) {
        self.feed_departed(false);
        match self.effects.repeat() {
            Repeat::AsItCame if self.effects.dirty == 0 => {}
            Repeat::AsItCame => {
                if !self.write_large_as_it_came(db, argv) {
                    self.feed.as_it_came(db, argv);
                }
            }
            Repeat::Others(count, commands) => self.feed.encoded(db, count, commands),
        }
    }

    /// The same of something that the server has done by itself.
    pub(super) fn feed_own(&mut self, db: usize) {
        self.feed_departed(false);
        if let Repeat::Others(count, commands) = self.effects.repeat() {
            self.feed.encoded(db, count, commands);
        }
    }

    /// Writes a large request that is a unit of its own, past the feed. Says whether it has.
    #[inline]
    fn write_large_as_it_came(&mut self, db: usize, argv: Argv<'_>) -> bool {
        let request = argv.multibulk().filter(|request| request.len() >= LARGE_BYTES && self.feed.is_between_units());
        request.is_some_and(|request| {
            self.feed.select_alone(db);
            self.write_large(request)
        })
    }

    /// Whether there is something in the unit that is not over.
    #[inline]
    pub(super) fn has_feed_unit(&self) -> bool {
        self.feed.unit.commands > 0
    }

    /// What a client has asked for is over. Not to be called while a script is suspended.
    pub(super) fn end_feed_unit(&mut self) {
        if self.has_feed_unit() {
            self.feed.end_unit();
        }
    }

    /// Between commands: feeds what has expired or was evicted, each as a unit of its own.
    #[inline]
    pub(super) fn feed_departures(&mut self) {
        if self.feed.wanted && self.store.has_gone() {
            self.feed_departed(!self.scripts.is_suspended());
        }
    }

    fn feed_departed(&mut self, one_by_one: bool) {
        if !self.store.has_gone() {
            return;
        }
        let (expired, evicted) = (self.store.take_expired(), self.store.take_evicted());
        let fields = self.store.take_expired_fields();
        let mut departed: Vec<Departed<'_>> = expired.iter().map(Departed::Key).collect();
        departed.extend(evicted.iter().map(Departed::EvictedKey));
        departed.extend(fields.iter().map(Departed::Fields));
        departed.sort_by_key(Departed::number);
        for gone in departed {
            match gone {
                Departed::Key(gone) => self.feed_removal(gone, self.config.lazyfree_lazy_expire),
                Departed::EvictedKey(gone) => self.feed_removal(gone, self.config.lazyfree_lazy_eviction),
                Departed::Fields(ExpiredFields { db, key, fields, .. }) => {
                    let words = [b"HDEL".as_slice(), key].into_iter().chain(fields.iter().map(|field| &**field));
                    self.feed.command(*db, 2 + fields.len(), words);
                }
            }
            if one_by_one {
                self.feed.end_unit();
            }
        }
        self.note_departures(expired, evicted, fields);
    }

    fn feed_removal(&mut self, gone: &Gone, lazily: bool) {
        let name: &[u8] = if lazily { b"UNLINK" } else { b"DEL" };
        self.feed.command(gone.db, 2, [name, &gone.key].into_iter());
    }
}
