//! Which bodies of a long queue go elsewhere, and how they come back.
//!
//! ```text
//!  first ── handed out next ─────────────────────────────── last
//!  [ in memory ........ ][ elsewhere ....... ][ in memory . ]
//!                                              ◄── a sweep
//! ```
//!
//! What came last is wanted last, so a sweep goes from the last place back, and takes bodies until little enough is left in
//! memory. It covers what has come since the one before it; that keeps memory where it was. Only when that does not help,
//! because what is there now was small or shared or handed out when it was looked at, does one cover the whole queue: after
//! one without success not again before there is a good deal more.
//!
//! What must stay true: `bytes` of [`Moved`] is what the bodies elsewhere come to; a parcel is exchanged for one of the same
//! message only, so that nobody but who counts memory can tell.

use super::places::Spot;
use super::record::Record;
use super::{MessageId, NotRead, Parcel, Queue, State, Wait};

/// Shorter bodies stay: what is kept of a message whose body is elsewhere takes about a hundred bytes.
pub const MOVED_BODY_BYTES_MIN: usize = 512;
/// A body of so many bytes stays: its place could not be told.
const MOVED_BODY_BYTES_MAX: usize = u32::MAX as usize;

/// What a queue knows of bodies that are elsewhere.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moved {
    /// What they come to.
    bytes: u64,
    /// Places up to this one were swept.
    swept: u64,
    /// What is left of the sweep that is under way: places above the first one, up to the second.
    sweep: Option<(u64, u64)>,
    /// What was in memory when a sweep of the whole queue last ended with too much of it.
    in_vain: u64,
}

/// What a step of a sweep found.
#[derive(Debug, Default)]
pub struct ToMove {
    /// How far sweeps were before it.
    before: Option<Moved>,
    /// Messages whose bodies can go, in the order of their places.
    pub messages: Vec<(MessageId, Parcel)>,
    /// Whether the sweep is not over.
    pub more: bool,
}

impl Queue {
    /// Bytes of bodies that are elsewhere. O(1).
    #[inline]
    pub(super) fn bytes_away(&self) -> u64 {
        self.away.as_ref().map_or(0, |away| away.bytes)
    }

    /// The next messages whose bodies should go, so that `keep` bytes of bodies are left in memory; about `bytes_max` of them,
    /// of at most `look` messages. What is elsewhere, handed out, short, or was swept before does not count. O(look).
    pub fn to_move(&mut self, keep: u64, bytes_max: u64, look: usize) -> ToMove {
        let mut found = ToMove { before: self.away.as_deref().copied(), ..ToMove::default() };
        let here = self.bytes - self.bytes_away();
        let excess = here.saturating_sub(keep).min(bytes_max);
        let last = self.last;
        let away = self.away.get_or_insert_default();
        let Some((low, high)) = away.sweep.take().or_else(|| away.begin_sweep(here, last)).filter(|_| excess > 0)
        else {
            return found;
        };
        let (mut bytes, mut looked, mut stopped_at) = (0, 0, None);
        for (key, record) in self.places.back(low, high) {
            if bytes >= excess || looked == look {
                stopped_at = Some(key);
                break;
            }
            looked += 1;
            if can_go(record) {
                bytes += record.parcel.body_len() as u64;
                let id = record.own_id().unwrap_or(MessageId::from_u64(key));
                found.messages.push((id, record.parcel.clone()));
            }
        }
        found.messages.reverse();
        let away = self.away.get_or_insert_default();
        match stopped_at {
            // As much as is wanted at once; perhaps not as much as is wanted.
            Some(key) if bytes < here.saturating_sub(keep) => {
                away.sweep = Some((low, key));
                found.more = true;
            }
            Some(_) => {}
            None if low == 0 => away.in_vain = here - bytes,
            None => {}
        }
        found
    }

    /// The messages of the last step were not taken after all: the next one finds them again.
    pub fn put_back(&mut self, found: &ToMove) {
        if let Some(away) = &mut self.away {
            let before = found.before.unwrap_or_default();
            **away = Moved { bytes: away.bytes, ..before };
        }
    }

    /// Sweeps again what was swept: bodies that were to go have not gone.
    pub fn sweep_again(&mut self) {
        if let Some(away) = &mut self.away {
            (away.swept, away.sweep, away.in_vain) = (0, None, 0);
        }
    }

    /// Exchanges a message's parcel for one of the same message, if it still has that and was not handed out meanwhile.
    pub fn exchange_parcel(&mut self, id: MessageId, old: &Parcel, new: Parcel) -> bool {
        let Some(spot) = self.locate(id) else { return false };
        let record = self.places.record(spot);
        if record.state() == State::Unacked || !record.parcel.is_same(old) {
            return false;
        }
        self.set_parcel(spot, new);
        true
    }

    /// Brings the body of a message into memory. Says whether it was elsewhere; `false` as well if there is no such message.
    ///
    /// # Errors
    /// It could not be read.
    pub fn bring_back(&mut self, id: MessageId, wait: Wait) -> Result<bool, NotRead> {
        if self.bytes_away() == 0 {
            return Ok(false);
        }
        let Some(spot) = self.locate(id) else { return Ok(false) };
        let parcel = &self.places.record(spot).parcel;
        if !parcel.is_away() {
            return Ok(false);
        }
        let parcel = parcel.with_body_here(wait)?;
        self.set_parcel(spot, parcel);
        Ok(true)
    }

    /// A ready message becomes one that is parked: its body cannot be read now.
    pub fn park(&mut self, id: MessageId, until_ms: u64) -> bool {
        let Some(spot) = self.locate_in(id, State::Ready) else { return false };
        self.restate(spot, State::Ready, State::Parked, until_ms);
        true
    }

    fn set_parcel(&mut self, spot: Spot, parcel: Parcel) {
        let record = self.places.record_mut(spot);
        let (before, is_ready) = (record.heap_bytes(), record.state() == State::Ready);
        let old = std::mem::replace(&mut record.parcel, parcel);
        let after = record.heap_bytes();
        self.owned_bytes = self.owned_bytes - before + after;
        if is_ready {
            self.ready_owned_bytes = self.ready_owned_bytes - before + after;
        }
        let new = record.parcel.clone();
        self.parcel_left(&old);
        self.parcel_came(&new);
    }

    /// Of all messages only those that are not ready are left.
    pub(super) fn ready_left(&mut self) {
        let Some(away) = self.away.as_ref().filter(|away| away.bytes > 0) else { return };
        let before = away.bytes;
        let left = self.places.from(0).filter(|(_, record)| record.parcel.is_away());
        let left: u64 = left.map(|(_, record)| record.parcel.body_len() as u64).sum();
        debug_assert!(left <= before);
        if let Some(away) = &mut self.away {
            away.bytes = left;
        }
    }

    /// A message has come in, or got this parcel.
    #[inline]
    pub(super) fn parcel_came(&mut self, parcel: &Parcel) {
        if parcel.is_away() {
            self.away.get_or_insert_default().bytes += parcel.body_len() as u64;
        }
    }

    /// A message has gone, or had this parcel.
    #[inline]
    pub(super) fn parcel_left(&mut self, parcel: &Parcel) {
        if parcel.is_away()
            && let Some(away) = &mut self.away
        {
            away.bytes -= parcel.body_len() as u64;
        }
    }
}

impl Moved {
    /// What is to be swept now, with so many bytes in memory; nothing if that would be in vain.
    fn begin_sweep(&mut self, here: u64, last: u64) -> Option<(u64, u64)> {
        if self.swept < last {
            let low = std::mem::replace(&mut self.swept, last);
            return Some((low, last));
        }
        (here > self.in_vain.saturating_add(self.in_vain / 4)).then_some((0, last))
    }
}

/// Whether the body of a message may go.
fn can_go(record: &Record) -> bool {
    record.state() != State::Unacked
        && !record.parcel.is_away()
        && (MOVED_BODY_BYTES_MIN..=MOVED_BODY_BYTES_MAX).contains(&record.parcel.body_len())
}
