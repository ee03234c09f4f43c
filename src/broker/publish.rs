//! From a publisher to queues: where a message goes, and how it gets in.
//!
//! ```text
//!  exchange ──► bindings ──► queues, streams, channels
//!     ▲           └──► further exchanges ─┐
//!     └───────────────────────────────────┘   each exchange once, each destination once
//! ```

use super::dead::Buried;
use super::{Broker, ForChannel};
use crate::command::error::Error;
use crate::command::ground::Ground;
use crate::command::stream::append_fields;
use hashbrown::HashSet;
use weir_structs::exchange::Target;
use weir_structs::queue::{
    DeathReason, Envelope, Left, MessageId, NewMessage, Overflow, Parcel, Paused, Queue, Story, Wait, When,
};

/// So many moves of messages from one full queue to the next one follow from each other at most; what is left stays where
/// it is, and is tried again later.
const MOVES_MAX: usize = 32;

/// What a publisher wants.
#[derive(Clone, Copy, Debug)]
pub struct Publication<'a> {
    /// The exchange; empty for the one that leads to every queue by its name.
    pub exchange: &'a [u8],
    /// The routing key.
    pub rkey: &'a [u8],
    /// Further routing keys.
    pub cc: &'a [&'a [u8]],
    /// The message itself.
    pub body: &'a [u8],
    /// Its headers.
    pub headers: &'a [(&'a [u8], &'a [u8])],
    /// 0 is the lowest.
    pub priority: u8,
    /// After so many ms in a queue it expires.
    pub ttl_ms: Option<u64>,
    /// When it may be taken.
    pub when: When,
    /// The group whose messages are taken one at a time.
    pub group: Option<&'a [u8]>,
    /// Who publishes, and what that one calls the message: the same twice is one message.
    pub idmp: Option<(&'a [u8], &'a [u8])>,
    /// Where an answer is expected.
    pub reply_to: Option<&'a [u8]>,
    /// What the answer is to be told apart by.
    pub correlation: Option<&'a [u8]>,
    /// If one of several queues refuses it, none is to have it.
    pub all_or_none: bool,
}

/// Why a queue does not take a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// It is full.
    Full(Box<[u8]>),
    /// It takes nothing at the moment.
    Paused(Box<[u8]>),
    /// It is full, and its publishers wait until it is not.
    Wait(Box<[u8]>),
}

impl Refusal {
    /// Whether the publisher is not to wait.
    fn is_final(&self) -> bool {
        !matches!(self, Refusal::Wait(_))
    }

    /// The error for the publisher.
    pub fn error(&self) -> Error {
        match self {
            Refusal::Full(queue) | Refusal::Wait(queue) => Error::mq_rejected("maxlen", queue),
            Refusal::Paused(queue) => Error::mq_paused(queue),
        }
    }
}

/// What became of a publication.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Published {
    /// Queues that have it, and under which ids.
    pub queues: Vec<(Box<[u8]>, MessageId)>,
    /// Streams and channels that it went to.
    pub others: usize,
    /// A queue that does not have it.
    pub refused: Option<Refusal>,
}

/// Destinations of a message, each once, in the order in which they were found.
#[derive(Debug, Default)]
pub(super) struct Found {
    names: Vec<u8>,
    ends: Vec<(Target, usize)>,
    seen: HashSet<(Target, Box<[u8]>)>,
    /// Whether a destination could come twice: only then names are compared.
    compares: bool,
}

impl Found {
    fn clear(&mut self) {
        self.names.clear();
        self.ends.clear();
        self.seen.clear();
        self.compares = false;
    }

    /// From now on a destination may come twice.
    fn compare(&mut self) {
        if !self.compares {
            self.compares = true;
            self.seen =
                (0..self.ends.len()).map(|at| self.at(at)).map(|(target, name)| (target, name.into())).collect();
        }
    }

    pub(super) fn push(&mut self, target: Target, name: &[u8]) {
        if self.compares && !self.seen.insert((target, name.into())) {
            return;
        }
        self.names.extend_from_slice(name);
        self.ends.push((target, self.names.len()));
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn at(&self, at: usize) -> (Target, &[u8]) {
        let begin = at.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |(_, end)| *end);
        match self.ends.get(at) {
            Some(&(target, end)) => (target, self.names.get(begin..end).unwrap_or_default()),
            None => (Target::Queue, &[]),
        }
    }
}

/// A message on its way into queues.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incoming<'a> {
    pub(super) parcel: &'a Parcel,
    pub(super) priority: u8,
    pub(super) ttl_ms: Option<u64>,
    pub(super) when: When,
    pub(super) idmp: Option<(&'a [u8], &'a [u8])>,
    /// Of a dead letter.
    pub(super) story: Option<&'a Story>,
    /// Queues with a higher number are not meant: they were made later.
    pub(super) newest: u64,
}

/// What a queue did with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum PutIn {
    /// It has it under this id.
    In(MessageId),
    /// It has had it before, under this one.
    Known(MessageId),
    /// It does not have it.
    Refused(Refusal),
    /// There is no such queue.
    NoQueue,
}

/// What a queue would do with it.
enum Admission {
    Put(MessageId),
    Known(MessageId),
    /// The queue is another one than was meant.
    NotMeant,
    Paused,
    Full,
    Wait,
    /// Its oldest message has to go first.
    Room(MessageId),
    /// It is dead at once, here.
    Bury,
}

impl Broker {
    /// Publishes a message. Who waits for it is not served here.
    ///
    /// # Errors
    /// There is no such exchange, or it is not for publishers; nothing has happened then. A queue that refuses it is told of
    /// in the result.
    pub fn publish(&mut self, ground: &mut Ground<'_>, publication: &Publication<'_>) -> Result<Published, Error> {
        let published = self.publish_or(ground, publication, |_, _, _, _| false)?;
        Ok(published.unwrap_or_default())
    }

    /// The same, unless `instead` takes it over when it is clear where it goes: then `None`.
    pub(super) fn publish_or(
        &mut self,
        ground: &mut Ground<'_>,
        publication: &Publication<'_>,
        instead: impl FnOnce(&mut Broker, usize, &mut Found, Incoming<'_>) -> bool,
    ) -> Result<Option<Published>, Error> {
        let Publication { exchange, rkey, cc, body, headers, group, reply_to, correlation, .. } = *publication;
        let ts_ms = ground.now_ms();
        let envelope = Envelope { exchange, rkey, cc, headers, group, reply_to, correlation, ts_ms, body };
        let parcel = Parcel::new(&envelope);
        let incoming = Incoming {
            parcel: &parcel,
            priority: publication.priority,
            ttl_ms: publication.ttl_ms,
            when: publication.when,
            idmp: publication.idmp,
            story: None,
            newest: u64::MAX,
        };
        let mut found = std::mem::take(&mut self.found);
        let result = self.publish_to(ground, publication, incoming, &mut found, instead);
        self.found = found;
        result
    }

    fn publish_to(
        &mut self,
        ground: &mut Ground<'_>,
        publication: &Publication<'_>,
        incoming: Incoming<'_>,
        found: &mut Found,
        instead: impl FnOnce(&mut Broker, usize, &mut Found, Incoming<'_>) -> bool,
    ) -> Result<Option<Published>, Error> {
        if !publication.exchange.is_empty() {
            let exchange = ground.exchange(publication.exchange)?;
            let exchange = exchange.ok_or_else(|| Error::mq_no_exchange(publication.exchange))?;
            if exchange.options().internal {
                return Err(Error::mq_internal(publication.exchange));
            }
        }
        self.route(ground, publication.exchange, publication.rkey, publication.cc, publication.headers, found)?;
        if instead(self, ground.db, found, incoming) {
            return Ok(None);
        }
        // Who has to wait waits before anything has happened; of one queue that shows when the message comes there.
        if publication.all_or_none || found.len() > 1 {
            for at in 0..found.len() {
                if let (Target::Queue, name) = found.at(at)
                    && let Some(refusal) = self.would_refuse(ground, name, incoming)?
                    && (publication.all_or_none || matches!(refusal, Refusal::Wait(_)))
                {
                    if refusal.is_final() {
                        self.count_rejected(ground, name)?;
                    }
                    return Ok(Some(Published { refused: Some(refusal), ..Published::default() }));
                }
            }
        }
        self.put_into_all(ground, found, incoming).map(Some)
    }

    /// Puts a message into everything that was found.
    pub(super) fn put_into_all(
        &mut self,
        ground: &mut Ground<'_>,
        found: &Found,
        incoming: Incoming<'_>,
    ) -> Result<Published, Error> {
        let published = self.put_into_each(ground, found, incoming);
        self.feed_puts(ground);
        published
    }

    fn put_into_each(
        &mut self,
        ground: &mut Ground<'_>,
        found: &Found,
        incoming: Incoming<'_>,
    ) -> Result<Published, Error> {
        let mut published = Published::default();
        for at in 0..found.len() {
            let (target, name) = found.at(at);
            match self.put_into(ground, target, name, incoming, &mut published)? {
                Some(PutIn::In(id) | PutIn::Known(id)) => published.queues.push((name.into(), id)),
                Some(PutIn::Refused(refusal)) => published.refused = Some(refusal),
                Some(PutIn::NoQueue) | None => {}
            }
        }
        Ok(published)
    }

    /// Puts a message into one thing that was found. What a queue did with it is the result; others are counted.
    pub(super) fn put_into(
        &mut self,
        ground: &mut Ground<'_>,
        target: Target,
        name: &[u8],
        incoming: Incoming<'_>,
        published: &mut Published,
    ) -> Result<Option<PutIn>, Error> {
        match target {
            Target::Queue => {
                let put = self.put_in(ground, name, incoming)?;
                if let PutIn::Refused(refusal) = &put
                    && refusal.is_final()
                {
                    self.count_rejected(ground, name)?;
                }
                return Ok(Some(put));
            }
            Target::Channel => {
                // A body that cannot be read has no place where that could be said.
                if let Ok(body) = incoming.parcel.body(Wait::UntilRead) {
                    self.for_channels.push(ForChannel { channel: name.into(), body: body.into() });
                    published.others += 1;
                }
            }
            Target::Stream => {
                // Where the key is no stream, or one that takes no more entries, it is as if nothing were bound: who
                // publishes has no part in it, and other destinations have the message.
                if self.append_to_stream(ground, name, incoming).is_ok() {
                    published.others += 1;
                }
            }
            Target::Exchange => {}
        }
        Ok(None)
    }

    /// Finds where a message goes: over any topology, each exchange is asked once, and each destination found once. An
    /// exchange that finds nothing is taken the place of by its alternate.
    pub(super) fn route(
        &mut self,
        ground: &mut Ground<'_>,
        exchange: &[u8],
        rkey: &[u8],
        cc: &[&[u8]],
        headers: &[(&[u8], &[u8])],
        found: &mut Found,
    ) -> Result<(), Error> {
        found.clear();
        if !cc.is_empty() {
            found.compare();
        }
        if exchange.is_empty() {
            for name in std::iter::once(rkey).chain(cc.iter().copied()) {
                // Whether there is one shows when the message comes there.
                found.push(Target::Queue, name);
            }
            return Ok(());
        }
        let random = ground.store.random_u64();
        let mut sieve = std::mem::take(&mut self.sieve);
        // Exchanges that are still to be asked, and all that ever were.
        let mut exchanges: Vec<Box<[u8]>> = Vec::new();
        let mut asked: HashSet<Box<[u8]>> = HashSet::new();
        let mut current: Option<Box<[u8]>> = None;
        loop {
            let name: &[u8] = current.as_deref().unwrap_or(exchange);
            if let Ok(Some(at)) = ground.exchange(name) {
                let before = found.len() + exchanges.len();
                let mut any = false;
                for key in std::iter::once(rkey).chain(cc.iter().copied()) {
                    let ids = at.route(key, headers, random, &mut sieve);
                    any |= !ids.is_empty();
                    for &id in ids {
                        match at.destination(id) {
                            (Target::Exchange, name) => exchanges.push(name.into()),
                            (target, name) => found.push(target, name),
                        }
                    }
                }
                if !any {
                    let alternate = at.options().alternate.as_deref().or_else(|| self.policies.alternate(name));
                    exchanges.extend(alternate.map(Box::from));
                }
                if exchanges.len() + found.len() > before && !exchanges.is_empty() {
                    found.compare();
                }
            }
            if exchanges.is_empty() {
                break;
            }
            asked.insert(name.into());
            while exchanges.last().is_some_and(|next| asked.contains(next)) {
                exchanges.pop();
            }
            current = exchanges.pop();
            if current.is_none() {
                break;
            }
        }
        self.sieve = sieve;
        Ok(())
    }

    /// Whether a queue would refuse a message at the moment.
    fn would_refuse(
        &mut self,
        ground: &mut Ground<'_>,
        name: &[u8],
        incoming: Incoming<'_>,
    ) -> Result<Option<Refusal>, Error> {
        let Some(queue) = ground.queue(name)? else { return Ok(None) };
        if queue.paused().contains(Paused::IN) {
            return Ok(Some(Refusal::Paused(name.into())));
        }
        // The rules may be those of another time by a policy; then it is refused when it comes.
        let full = is_full_for(queue, incoming, takes_place_of(queue, incoming));
        Ok(match queue.rules().overflow {
            Overflow::Block if full => Some(Refusal::Wait(name.into())),
            Overflow::Reject | Overflow::RejectDl if full => Some(Refusal::Full(name.into())),
            _ => None,
        })
    }

    /// Puts a message into a queue, and makes room for it as the queue's rules say.
    pub(super) fn put_in(
        &mut self,
        ground: &mut Ground<'_>,
        name: &[u8],
        incoming: Incoming<'_>,
    ) -> Result<PutIn, Error> {
        let (now_ms, feeds) = (ground.now_ms(), ground.effects.feeds());
        let key = ground.store.key(name);
        let mut meta = std::mem::take(&mut self.meta);
        meta.clear();
        loop {
            let mut replaced = None;
            let admission = self.change(ground, key, |queue| {
                let admission = admit(queue, incoming, now_ms, &mut replaced);
                let put = if let Admission::Put(id) = admission { Some(id) } else { None };
                if let Some(id) = put.filter(|_| feeds) {
                    queue.put_meta_known(id, incoming.idmp, &mut meta);
                }
                (put.is_some() || replaced.is_some(), admission)
            })?;
            let Some(admission) = admission else { return Ok(PutIn::NoQueue) };
            if let Some(old) = replaced {
                self.feed_end(ground, name, &[old]);
                self.happened.messages.count_left(Left::Dropped, 1);
            }
            match admission {
                Admission::Put(id) => {
                    self.happened.messages.published += 1;
                    ground.effects.changed(1);
                    ground.event("mq.push", name);
                    self.feed_put(ground, name, id, incoming.parcel, &meta);
                    self.meta = meta;
                    self.has_news(ground, name)?;
                    return Ok(PutIn::In(id));
                }
                Admission::Known(id) => return Ok(PutIn::Known(id)),
                Admission::NotMeant => return Ok(PutIn::NoQueue),
                Admission::Paused => return Ok(PutIn::Refused(Refusal::Paused(name.into()))),
                Admission::Full => return Ok(PutIn::Refused(Refusal::Full(name.into()))),
                Admission::Wait => return Ok(PutIn::Refused(Refusal::Wait(name.into()))),
                Admission::Room(oldest) => {
                    if self.moves >= MOVES_MAX {
                        return Ok(PutIn::Refused(Refusal::Full(name.into())));
                    }
                    if self.bury(ground, name, oldest, DeathReason::MaxLen)? == Buried::Retained {
                        return Ok(PutIn::Refused(Refusal::Full(name.into())));
                    }
                }
                Admission::Bury => {
                    self.bury_unborn(ground, name, incoming)?;
                    return Ok(PutIn::Refused(Refusal::Full(name.into())));
                }
            }
        }
    }

    /// A queue has refused a publisher. A dead letter that it does not take is offered again.
    fn count_rejected(&mut self, ground: &mut Ground<'_>, name: &[u8]) -> Result<(), Error> {
        if self.moves > 0 {
            return Ok(());
        }
        self.count(ground, name, |counters| counters.rejected += 1)
    }

    /// Adds a message to a stream that an exchange is bound to: routing key, exchange, body, and the headers behind `h:`.
    fn append_to_stream(&mut self, ground: &mut Ground<'_>, name: &[u8], incoming: Incoming<'_>) -> Result<(), Error> {
        let key = ground.store.key(name);
        let parcel = incoming.parcel;
        let body = parcel.body(Wait::UntilRead).map_err(|_| Error::MQ_UNREADABLE)?;
        let named: Vec<(Vec<u8>, &[u8])> =
            parcel.headers().map(|(name, value)| ([b"h:", name].concat(), value)).collect();
        let mut fields: Vec<(&[u8], &[u8])> =
            vec![(b"exchange", parcel.exchange()), (b"rkey", parcel.rkey()), (b"body", &body)];
        fields.extend(named.iter().map(|(name, value)| (&**name, *value)));
        let limits = self.stream_limits;
        append_fields(ground.store, ground.effects, ground.db, key, &fields, limits)
    }
}

/// The message with the same last value that a message takes the place of. What comes later does that when it is there.
fn takes_place_of(queue: &Queue, incoming: Incoming<'_>) -> Option<MessageId> {
    let header = queue.rules().last_value.as_deref().filter(|_| matches!(incoming.when, When::Now))?;
    queue.same_value(incoming.parcel.header(header)?)
}

/// Whether a message would be more than a queue's limits let in, when the one is gone that it takes the place of.
fn is_full_for(queue: &Queue, incoming: Incoming<'_>, old: Option<MessageId>) -> bool {
    let old_bytes = old.and_then(|old| queue.message(old)).map_or(0, |old| old.parcel.body_len() as u64);
    let more_bytes = (incoming.parcel.body_len() as u64).saturating_sub(old_bytes);
    matches!(incoming.when, When::Now) && queue.exceeds(u64::from(old.is_none()), more_bytes)
}

/// Puts a message into a queue, or says why not. A message whose value it replaces goes to `replaced`.
fn admit(queue: &mut Queue, incoming: Incoming<'_>, now_ms: u64, replaced: &mut Option<MessageId>) -> Admission {
    if queue.uid() > incoming.newest {
        return Admission::NotMeant;
    }
    if queue.paused().contains(Paused::IN) {
        return Admission::Paused;
    }
    if let Some((producer, id)) = incoming.idmp
        && let Some(known) = queue.known(producer, id, now_ms)
    {
        return Admission::Known(known);
    }
    let old = takes_place_of(queue, incoming);
    if is_full_for(queue, incoming, old) {
        return match (queue.rules().overflow, queue.oldest_ready()) {
            (Overflow::DropHead, Some(oldest)) => Admission::Room(oldest),
            (Overflow::DropHead, None) | (Overflow::RejectDl, _) => Admission::Bury,
            (Overflow::Reject, _) => Admission::Full,
            (Overflow::Block, _) => Admission::Wait,
        };
    }
    if let Some(old) = old {
        queue.remove(old);
        queue.counters_mut().count_left(Left::Dropped, 1);
        *replaced = Some(old);
    }
    let ttl_ms = queue.rules().msg_ttl_ms.into_iter().chain(incoming.ttl_ms).min();
    let from_ms = if let When::At(at_ms) = incoming.when { at_ms.max(now_ms) } else { now_ms };
    queue.counters_mut().published += 1;
    Admission::Put(queue.add(
        NewMessage {
            parcel: incoming.parcel.clone(),
            priority: incoming.priority,
            expires_ms: ttl_ms.map(|ttl| from_ms.saturating_add(ttl)),
            when: incoming.when,
            dedup: incoming.idmp,
            story: incoming.story.cloned().map(Box::new),
        },
        now_ms,
    ))
}
