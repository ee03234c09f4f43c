//! A queue as bytes: for files, for copies, and for those who follow what happens.
//!
//! ```text
//!  head │ piece │ piece │ ...          as many pieces as there are
//!  piece of ids        1 │ (producer and id, message, time)*
//!  piece of messages   2 │ (id, what is known of it, form of the parcel, parcel)*     in the order of places
//!
//!  form and parcel     0, 1 │ parcel           1: other queues have it as well
//!                      2    │ number, parcel   the same, and it has a number from now on
//!                      3    │ number           the parcel that was given this number
//! ```
//!
//! Numbers are for queues that are in one file ([`WrittenParcels`](super::WrittenParcels)); by itself a queue is whole.
//!
//! Readers take any bytes: whatever no queue would have written is [`Corrupt`], and nothing is allocated by a length
//! that is only claimed.

use super::dedup::Remembered;
use super::head::{Head, put_head};
use super::meta::{Meta, put_meta, read_meta};
use super::record::Record;
use super::{Corrupt, MessageId, NotRead, Parcel, ParcelPool, Queue, Rules, SharedAs, Wait};
use crate::bytes::{Reader, put_bytes, put_varint};

/// A piece is complete when it is this long.
pub(super) const PIECE_BYTES: usize = 64 * 1024;
/// First byte of a piece of ids.
pub(super) const PIECE_KNOWN: u8 = 1;
/// First byte of a piece of messages.
pub(super) const PIECE_MESSAGES: u8 = 2;

/// A parcel that nobody else has.
const ALONE: u8 = 0;
/// One that others have as well.
const SHARED: u8 = 1;
/// The same, with a number by which it comes again.
const NUMBERED: u8 = 2;
/// One that has come before, by its number.
const BY_NUMBER: u8 = 3;

impl Queue {
    /// Appends what there is to say of a message beside its parcel. Says `false` if there is none with this id.
    pub fn put_meta(&self, id: MessageId, to: &mut Vec<u8>) -> bool {
        self.put_meta_known(id, None, to)
    }

    /// [`Queue::put_meta`], and producer and id by which the message is to be remembered where it is read.
    pub fn put_meta_known(&self, id: MessageId, dedup: Option<(&[u8], &[u8])>, to: &mut Vec<u8>) -> bool {
        let Some(spot) = self.locate(id) else { return false };
        put_meta(to, self.places.key(spot), self.places.record(spot), dedup);
        true
    }

    /// Takes in a message as it was elsewhere, instead of the one with this id if there is one. Nothing happens if the bytes
    /// are corrupt, or another message has its place.
    pub fn put(&mut self, id: MessageId, meta: &[u8], parcel: Parcel) -> Result<(), Corrupt> {
        let Meta { key, mut record, dedup } = read_meta(meta, id, parcel)?;
        record.priority = record.priority.min(self.max_priority());
        if self.places.find(key).is_some_and(|spot| self.id_at(spot) != id) {
            return Err(Corrupt);
        }
        if let Some(spot) = self.locate(id) {
            self.remove_at(spot, id);
        }
        if key != id.to_u64() {
            self.moved.insert(id.to_u64(), key);
        }
        self.last = self.last.max(key).max(id.to_u64());
        self.save_absence(key);
        self.insert(key, record);
        if let Some(name) = dedup {
            self.remember(name, id, id.ms());
        }
        Ok(())
    }

    /// [`Queue::put`] of a message that is there, which keeps its parcel.
    pub fn set(&mut self, id: MessageId, meta: &[u8]) -> Result<(), Corrupt> {
        let spot = self.locate(id).ok_or(Corrupt)?;
        let parcel = self.places.record(spot).parcel.clone();
        self.put(id, meta, parcel)
    }

    /// Gives the head, then pieces of about 64 KiB; more if a message is longer. What is unacked is ready and redelivered in
    /// them. Counters, rules and holders are not. Bodies that are elsewhere are read; a message whose body cannot be read is
    /// not in them, which whoever keeps the bodies knows.
    pub fn encode(&self, give: &mut dyn FnMut(&[u8])) {
        self.encode_with(&mut |_| SharedAs::InFull, give);
    }

    /// [`Queue::encode`], where `share` says how parcels are written that others have as well.
    pub fn encode_with(&self, share: &mut dyn FnMut(&Parcel) -> SharedAs, give: &mut dyn FnMut(&[u8])) {
        give(&self.put_head());
        let mut piece = Piece::new(PIECE_KNOWN);
        if let Some(dedup) = &self.dedup {
            for (_, known) in dedup.range(dedup.numbers()) {
                known.encode(&mut piece.0);
                piece.give_full(give);
            }
        }
        piece.give(give);
        let mut piece = Piece::new(PIECE_MESSAGES);
        for (key, record) in self.places.from(0) {
            let _ = put_message(&mut piece.0, key, record, Wait::UntilRead, share);
            piece.give_full(give);
        }
        piece.give(give);
    }

    pub(super) fn put_head(&self) -> Vec<u8> {
        put_head(&self.options, self.paused(), self.created_ms(), self.last, self.mark)
    }
}

/// Appends a message to a piece. Nothing is there of one whose body could not be read.
pub(super) fn put_message(
    piece: &mut Vec<u8>,
    key: u64,
    record: &Record,
    wait: Wait,
    share: &mut dyn FnMut(&Parcel) -> SharedAs,
) -> Result<(), NotRead> {
    let bytes = record.parcel.bytes(wait)?;
    let id = record.own_id().unwrap_or(MessageId::from_u64(key));
    put_varint(piece, id.to_u64());
    let mut meta = Vec::with_capacity(32);
    put_meta(&mut meta, key, record, None);
    put_bytes(piece, &meta);
    let shared = (record.parcel.shared_by() > 1).then(|| share(&record.parcel));
    let (form, number) = match shared {
        None => (ALONE, None),
        Some(SharedAs::InFull) => (SHARED, None),
        Some(SharedAs::First(number)) => (NUMBERED, Some(number)),
        Some(SharedAs::Again(number)) => (BY_NUMBER, Some(number)),
    };
    piece.push(form);
    if let Some(number) = number {
        put_varint(piece, number);
    }
    if form != BY_NUMBER {
        put_bytes(piece, &bytes);
    }
    Ok(())
}

/// A parcel in one of its forms.
fn read_parcel(from: &mut Reader<'_>, parcels: &mut ParcelPool) -> Option<Parcel> {
    match from.byte()? {
        ALONE => Parcel::from_bytes(from.bytes()?),
        SHARED => parcels.parcel(from.bytes()?),
        NUMBERED => {
            let number = from.varint()?;
            parcels.numbered(number, from.bytes()?)
        }
        BY_NUMBER => parcels.by_number(from.varint()?),
        _ => None,
    }
}

/// A piece that is being written.
struct Piece(Vec<u8>);

impl Piece {
    fn new(kind: u8) -> Piece {
        Piece(vec![kind])
    }

    fn give_full(&mut self, give: &mut dyn FnMut(&[u8])) {
        if self.0.len() >= PIECE_BYTES {
            self.give(give);
        }
    }

    fn give(&mut self, give: &mut dyn FnMut(&[u8])) {
        if self.0.len() > 1 {
            give(&self.0);
            self.0.truncate(1);
        }
    }
}

/// Builds a queue from what [`Queue::encode`] gave: the head first, then the pieces.
#[derive(Debug)]
pub struct QueueBuilder(Queue);

impl QueueBuilder {
    /// Reads the head.
    pub fn new(head: &[u8]) -> Result<QueueBuilder, Corrupt> {
        let Head { options, paused, created_ms, last, mark } = Head::read(head)?;
        let rules = Rules::resolve(&options, &[]);
        let mut queue = Queue::new(options, rules, created_ms);
        queue.set_paused(paused);
        queue.last = last;
        queue.mark = mark;
        Ok(QueueBuilder(queue))
    }

    /// Reads a piece.
    pub fn piece(&mut self, piece: &[u8]) -> Result<(), Corrupt> {
        self.piece_with(piece, &mut ParcelPool::default())
    }

    /// Reads a piece of one of several queues, which may share parcels.
    pub fn piece_with(&mut self, piece: &[u8], parcels: &mut ParcelPool) -> Result<(), Corrupt> {
        let from = &mut Reader::new(piece);
        match from.byte() {
            Some(PIECE_KNOWN) => {
                while !from.is_empty() {
                    let known = Remembered::decode(from).ok_or(Corrupt)?;
                    self.0.dedup.get_or_insert_default().take_in(known);
                }
                Ok(())
            }
            Some(PIECE_MESSAGES) => {
                while !from.is_empty() {
                    let id = MessageId::from_u64(from.varint().ok_or(Corrupt)?);
                    let meta = from.bytes().ok_or(Corrupt)?;
                    let parcel = read_parcel(from, parcels).ok_or(Corrupt)?;
                    // What a queue writes is within what its head says, and each message is there once.
                    if self.0.locate(id).is_some() {
                        return Err(Corrupt);
                    }
                    let last = self.0.last;
                    self.0.put(id, meta, parcel)?;
                    if self.0.last != last {
                        return Err(Corrupt);
                    }
                }
                Ok(())
            }
            _ => Err(Corrupt),
        }
    }

    /// The queue. Its rules are those of its declaration alone, it has no uid, and what may have been handed out counts as
    /// redelivered.
    pub fn finish(self) -> Result<Queue, Corrupt> {
        let mut queue = self.0;
        queue.restarted();
        Ok(queue)
    }
}
