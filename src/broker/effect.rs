//! What is repeated of changes in queues: ids, times and choices as they were made.
//!
//! ```text
//!  MQ.EFFECT PUT parcel n (queue id meta)*    a message is in queues
//!  MQ.EFFECT SET queue n (id meta)*           what is known of messages beside what they are
//!  MQ.EFFECT END queue n id*                  messages have gone
//!  MQ.EFFECT PURGE queue n id*                what was in line has gone; these were out, or parked
//!  MQ.EFFECT FIRE queue n (id key)*           delayed messages have taken their places
//!  MQ.EFFECT PIECE key QUEUE|EXCHANGE piece   a part of all that is in a queue or an exchange, which follow each other
//!  MQ.EFFECT WHOLE key                        it is there, of the pieces before
//!  MQ.EFFECT MARK queue id                    everything up to here has been handed out, perhaps
//! ```

use super::{Broker, message_id};
use crate::command::args::Words;
use crate::command::error::Error;
use crate::command::ground::Ground;
use weir_structs::number::format_u64;
use weir_structs::pieces::BigPieces;
use weir_structs::queue::{MessageId, Parcel, ParcelPool, Queue, Wait};

/// Ids that are named in one command.
const FED_IDS: usize = 512;

/// Queues that have a parcel, of which was not fed yet.
#[derive(Debug, Default)]
pub(super) struct Puts {
    parcel: Option<Parcel>,
    /// Queue, id and what else is known, one behind the other.
    bytes: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<usize>,
}

impl Broker {
    /// A message is in a queue, which says `meta` of it. Queues that have the same parcel are told of together, so that a body is
    /// fed, and kept by who repeats it, once: with the next effect of another kind, or by [`Broker::feed_puts`], which whoever
    /// puts calls at last.
    pub(super) fn feed_put(
        &mut self,
        ground: &mut Ground<'_>,
        name: &[u8],
        id: MessageId,
        parcel: &Parcel,
        meta: &[u8],
    ) {
        if !ground.effects.feeds() {
            return;
        }
        let is_open = self.puts.parcel.as_ref().is_some_and(|open| open.is_same(parcel));
        if !is_open || self.puts.ends.len() >= 3 * FED_IDS {
            self.feed_puts(ground);
            self.puts.parcel = Some(parcel.clone());
        }
        let Puts { bytes, ends, .. } = &mut self.puts;
        for word in [name, &id.text(), meta] {
            bytes.extend_from_slice(word);
            ends.push(bytes.len());
        }
    }

    /// Feeds what [`Broker::feed_put`] was told of.
    pub(super) fn feed_puts(&mut self, ground: &mut Ground<'_>) {
        let Some(parcel) = self.puts.parcel.take() else { return };
        let Puts { bytes, ends, .. } = &mut self.puts;
        let count = format_u64(ends.len() as u64 / 3);
        let words = (0..ends.len()).map(|at| {
            let from = at.checked_sub(1).and_then(|before| ends.get(before)).copied().unwrap_or(0);
            ends.get(at).and_then(|to| bytes.get(from..*to)).unwrap_or_default()
        });
        // What cannot be read is lost here as well; where it was put before, it still is.
        if let Ok(parcel) = parcel.bytes(Wait::UntilRead) {
            ground.effects.feed_list(&[b"MQ.EFFECT", b"PUT", &parcel, &count], words);
        }
        bytes.clear();
        ends.clear();
    }

    /// What is known of messages has changed.
    pub(super) fn feed_set(&mut self, ground: &mut Ground<'_>, name: &[u8], ids: &[MessageId]) -> Result<(), Error> {
        if !ground.effects.feeds() {
            return Ok(());
        }
        self.feed_puts(ground);
        for ids in ids.chunks(FED_IDS) {
            let Some(queue) = ground.queue(name)? else { return Ok(()) };
            let mut words: Vec<Vec<u8>> = Vec::with_capacity(2 * ids.len());
            for &id in ids {
                let mut meta = Vec::new();
                if queue.put_meta(id, &mut meta) {
                    words.push(id.text().to_vec());
                    words.push(meta);
                }
            }
            let count = format_u64(words.len() as u64 / 2);
            ground.effects.feed_list(&[b"MQ.EFFECT", b"SET", name, &count], words.iter().map(|word| &**word));
        }
        Ok(())
    }

    /// Messages have gone.
    pub(super) fn feed_end(&mut self, ground: &mut Ground<'_>, name: &[u8], ids: &[MessageId]) {
        if !ground.effects.feeds() {
            return;
        }
        self.feed_puts(ground);
        for ids in ids.chunks(FED_IDS) {
            let texts: Vec<_> = ids.iter().map(|id| id.text()).collect();
            let count = format_u64(ids.len() as u64);
            ground.effects.feed_list(&[b"MQ.EFFECT", b"END", name, &count], texts.iter().map(|text| &**text));
        }
    }

    /// All that was in line has gone. `others` were not: where it is repeated they may be.
    pub(super) fn feed_purge(&mut self, ground: &mut Ground<'_>, name: &[u8], others: &[MessageId]) {
        self.feed_puts(ground);
        let texts: Vec<_> = others.iter().map(|id| id.text()).collect();
        let count = format_u64(others.len() as u64);
        ground.effects.feed_list(&[b"MQ.EFFECT", b"PURGE", name, &count], texts.iter().map(|text| &**text));
    }

    /// Delayed messages have taken their places.
    pub(super) fn feed_fired(&mut self, ground: &mut Ground<'_>, name: &[u8], fired: &[(MessageId, MessageId)]) {
        if !ground.effects.feeds() {
            return;
        }
        self.feed_puts(ground);
        for fired in fired.chunks(FED_IDS) {
            let texts: Vec<_> = fired.iter().flat_map(|(id, key)| [id.text(), key.text()]).collect();
            let count = format_u64(fired.len() as u64);
            ground.effects.feed_list(&[b"MQ.EFFECT", b"FIRE", name, &count], texts.iter().map(|text| &**text));
        }
    }

    /// Messages up to this one may have been handed out.
    pub(super) fn feed_mark(&mut self, ground: &mut Ground<'_>, name: &[u8], mark: MessageId) {
        self.feed_puts(ground);
        ground.effects.feed_as(&[b"MQ.EFFECT", b"MARK", name, &mark.text()]);
    }

    /// Does what an effect says. `words` begin behind `MQ.EFFECT`.
    ///
    /// # Errors
    /// It is not what this server writes, or there is no such queue; what stands in front of the mistake is done.
    pub fn repeat_effect(&mut self, ground: &mut Ground<'_>, mut words: Words<'_>) -> Result<(), Error> {
        let which = words.expect()?;
        match which.to_ascii_uppercase().as_slice() {
            b"PUT" => {
                let parcel = Parcel::from_bytes(words.expect()?).ok_or(Error::MQ_EFFECT)?;
                for _ in 0..words.expect_int()? {
                    let (name, id, meta) = (words.expect()?, message_id(words.expect()?)?, words.expect()?);
                    self.repeat(ground, name, |queue| queue.put(id, meta, parcel.clone()).is_ok())?;
                }
            }
            b"SET" => {
                let name = words.expect()?;
                for _ in 0..words.expect_int()? {
                    let (id, meta) = (message_id(words.expect()?)?, words.expect()?);
                    self.repeat(ground, name, |queue| queue.set(id, meta).is_ok())?;
                }
            }
            b"END" => {
                let name = words.expect()?;
                for _ in 0..words.expect_int()? {
                    let id = message_id(words.expect()?)?;
                    self.repeat(ground, name, |queue| queue.remove(id).is_some())?;
                }
            }
            b"PURGE" => {
                let name = words.expect()?;
                let mut others = Vec::new();
                for _ in 0..words.expect_int()? {
                    others.push(message_id(words.expect()?)?);
                }
                let mut rest = None;
                self.repeat(ground, name, |queue| {
                    rest = Some(queue.purge_others(&others));
                    true
                })?;
                ground.store.discard_elsewhere(Box::new(rest));
            }
            b"FIRE" => {
                let name = words.expect()?;
                for _ in 0..words.expect_int()? {
                    let (id, key) = (message_id(words.expect()?)?, message_id(words.expect()?)?);
                    self.repeat(ground, name, |queue| queue.fire_as(id, key))?;
                }
            }
            b"MARK" => {
                let name = words.expect()?;
                let mark = message_id(words.expect()?)?;
                self.repeat(ground, name, |queue| {
                    queue.set_mark(mark);
                    true
                })?;
            }
            b"PIECE" => {
                let (name, kind, piece) = (words.expect()?, words.expect()?, words.expect()?);
                self.take_piece(kind, ground.db, name, piece).ok_or(Error::MQ_EFFECT)?;
            }
            b"WHOLE" => {
                let name = words.expect()?;
                let begun = self.unfinished.remove(&(ground.db, Box::from(name)));
                let big = begun.and_then(BigPieces::finish).ok_or(Error::MQ_EFFECT)?;
                let key = ground.store.key(name);
                ground.store.db(ground.db).put_big(key, big);
                self.note_changes(ground.store, ground.effects);
                ground.effects.changed(1);
            }
            _ => return Err(Error::SYNTAX),
        }
        if words.left() > 0 { Err(Error::SYNTAX) } else { Ok(()) }
    }

    fn repeat(
        &mut self,
        ground: &mut Ground<'_>,
        name: &[u8],
        change: impl FnOnce(&mut Queue) -> bool,
    ) -> Result<(), Error> {
        let key = ground.store.key(name);
        let done = self.change(ground, key, |queue| (true, change(queue)))?;
        ground.effects.changed(1);
        match done {
            Some(true) => Ok(()),
            Some(false) => Err(Error::MQ_EFFECT),
            None => Err(Error::mq_no_queue(name)),
        }
    }
}

impl Broker {
    /// Takes the next piece; the first one of a key begins it. `None` if it is none.
    fn take_piece(&mut self, kind: &[u8], db: usize, name: &[u8], piece: &[u8]) -> Option<()> {
        let new = match kind {
            b"QUEUE" => BigPieces::queue(),
            b"EXCHANGE" => BigPieces::exchange(),
            _ => return None,
        };
        let key = (db, Box::from(name));
        let mut pieces = self.unfinished.remove(&key).unwrap_or(new);
        pieces.take(piece, &mut ParcelPool::default())?;
        self.unfinished.insert(key, pieces);
        Some(())
    }
}
