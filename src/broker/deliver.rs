//! From queues to consumers and back: taking, acknowledging, giving back.
//!
//! What is taken is *unacked* until it is settled, by its id or by a receipt that also says which of its hand-outs is meant.

use super::Broker;
use super::bodies::UNREADABLE_MS;
use super::consumers::consumer_holding;
use super::dead::Buried;
use crate::command::error::Error;
use crate::command::ground::Ground;
use weir_structs::number::parse_u64;
use weir_structs::queue::{
    DeathReason, Due, Holder, HolderId, Left, Message, MessageId, Next, NotRead, Paused, Queue, State, Wait,
};

/// Which message a client speaks of: in the text `id` or `id@acquired`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Receipt {
    /// The message.
    pub id: MessageId,
    /// Which of its hand-outs; the current one if that is not said.
    pub acquired: Option<u32>,
}

impl Receipt {
    /// `None` if the text is neither.
    pub fn parse(text: &[u8]) -> Option<Receipt> {
        let Some(at) = text.iter().position(|byte| *byte == b'@') else {
            return Some(Receipt { id: MessageId::parse(text)?, acquired: None });
        };
        let (id, acquired) = (text.get(..at)?, text.get(at + 1..)?);
        Some(Receipt { id: MessageId::parse(id)?, acquired: Some(u32::try_from(parse_u64(acquired)?).ok()?) })
    }
}

/// What became of an attempt to settle a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settled {
    /// It is done.
    Done,
    /// Nobody holds such a message.
    NotPending,
    /// The receipt is of a hand-out that is over.
    Stale,
}

impl Settled {
    /// The number that stands for it in replies.
    pub fn number(self) -> i64 {
        match self {
            Settled::Done => 1,
            Settled::NotPending => -1,
            Settled::Stale => -2,
        }
    }
}

/// Who takes messages, and how.
#[derive(Clone, Copy, Debug)]
pub struct Taker<'a> {
    /// The name under which they are pending.
    pub name: &'a [u8],
    /// For how many ms; what the queue says if that is not said.
    pub lease_ms: Option<u64>,
    /// They are settled at once.
    pub noack: bool,
    /// Whether bodies that are not in memory are waited for.
    pub wait: Wait,
}

/// How much is wanted still.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Messages.
    pub count: u64,
    /// Bytes of bodies; the first message is given however long it is.
    pub bytes: u64,
    /// Messages that were given.
    pub given: u64,
    /// Whether there are more of them, whose bodies are not near yet.
    pub far: bool,
}

/// How a message is given back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Nack {
    /// As if it had not been taken.
    Silent,
    /// Its consumer failed.
    Fail,
    /// It is not to be tried again.
    Fatal,
}

/// In which way a message comes back.
#[derive(Clone, Copy, Debug)]
pub struct Back<'a> {
    /// Whether that counts as a failure.
    pub how: Nack,
    /// For how many ms it is parked, whatever the queue says.
    pub delay_ms: Option<u64>,
    /// Why, for whoever finds it among the dead.
    pub note: Option<&'a [u8]>,
}

impl Back<'static> {
    /// Its consumer is gone, or has let its time go by.
    pub(super) const FAILED: Back<'static> = Back { how: Nack::Fail, delay_ms: None, note: None };
}

/// Whether the message that a receipt names is held by somebody, as it says.
pub(super) fn check(queue: &Queue, receipt: Receipt) -> Settled {
    match queue.message(receipt.id) {
        Some(message) if message.state == State::Unacked => match receipt.acquired {
            Some(acquired) if acquired != message.acquired => Settled::Stale,
            _ => Settled::Done,
        },
        // It was handed out so often before, and has come back.
        Some(message) if receipt.acquired.is_some_and(|acquired| acquired <= message.acquired) => Settled::Stale,
        _ => Settled::NotPending,
    }
}

/// Does something to each message that is held as its receipt says. What came of each receipt.
fn settle_each(queue: &mut Queue, receipts: &[Receipt], mut act: impl FnMut(&mut Queue, MessageId)) -> Vec<Settled> {
    let each = receipts.iter().map(|receipt| {
        let settled = check(queue, *receipt);
        if settled == Settled::Done {
            act(queue, receipt.id);
        }
        settled
    });
    each.collect()
}

impl Broker {
    /// Hands messages of a queue out, each to `give`, until there are as many as wanted or no more.
    ///
    /// # Errors
    /// There is something else at the key.
    pub fn take(
        &mut self,
        ground: &mut Ground<'_>,
        name: &[u8],
        taker: &Taker<'_>,
        wanted: &mut Wanted,
        give: &mut dyn FnMut(&Message<'_>),
    ) -> Result<(), Error> {
        let now_ms = ground.now_ms();
        let key = ground.store.key(name);
        loop {
            let mut out = HandedOut::default();
            let feeds = ground.effects.feeds();
            let done = self.change(ground, key, |queue| {
                let before = queue.mark();
                let end = hand_out(queue, taker, wanted, now_ms, &mut out, give);
                let mark = Some(queue.mark()).filter(|mark| *mark > before);
                let tracks = queue.rules().track;
                (!(out.gone.is_empty() && out.taken.is_empty()), (end, mark, tracks, queue.uid()))
            })?;
            let Some((end, mark, tracks, uid)) = done else { return Ok(()) };
            let HandedOut { gone, taken, redelivered } = out;
            let count = gone.len() + taken.len();
            if count > 0 {
                self.happened.messages.delivered += count as u64;
                self.happened.messages.redelivered += redelivered;
                ground.effects.changed(count as u64);
                ground.event("mq.get", name);
                if feeds {
                    self.feed_end(ground, name, &gone);
                    if let Some(mark) = mark {
                        self.feed_mark(ground, name, mark);
                    }
                    if tracks {
                        self.feed_set(ground, name, &taken)?;
                    }
                }
                self.happened.messages.count_left(Left::Acked, gone.len() as u64);
                self.used(ground, name);
            }
            match end {
                HandOutEnd::Done => return Ok(()),
                HandOutEnd::Far => {
                    wanted.far = true;
                    self.bodies.note_far(ground.db, uid);
                    return Ok(());
                }
                HandOutEnd::Expired(id) => {
                    self.bury(ground, name, id, DeathReason::Expired)?;
                }
                HandOutEnd::Unreadable(id) => self.park_unreadable(ground, name, id)?,
            }
        }
    }

    /// A message whose body cannot be read is out of the way for a while. With an append-only file, a restart has it again.
    #[cold]
    pub(super) fn park_unreadable(&mut self, ground: &mut Ground<'_>, name: &[u8], id: MessageId) -> Result<(), Error> {
        let until_ms = ground.now_ms().saturating_add(UNREADABLE_MS);
        let key = ground.store.key(name);
        self.change(ground, key, |queue| (queue.park(id, until_ms), ()))?;
        Ok(())
    }

    /// Settles messages: they are gone from their queue.
    ///
    /// # Errors
    /// There is no such queue.
    pub fn acknowledge(
        &mut self,
        ground: &mut Ground<'_>,
        name: &[u8],
        receipts: &[Receipt],
    ) -> Result<Vec<Settled>, Error> {
        let key = ground.store.key(name);
        let mut gone = Vec::new();
        let mut released = Vec::new();
        let settled = self.change(ground, key, |queue| {
            let settled = settle_each(queue, receipts, |queue, id| {
                released.extend(queue.message(id).and_then(|message| consumer_holding(queue, message)));
                queue.remove(id);
                gone.push(id);
            });
            queue.counters_mut().count_left(Left::Acked, gone.len() as u64);
            (!gone.is_empty(), settled)
        })?;
        let settled = settled.ok_or_else(|| Error::mq_no_queue(name))?;
        if !gone.is_empty() {
            self.happened.messages.count_left(Left::Acked, gone.len() as u64);
            ground.effects.changed(gone.len() as u64);
            ground.event("mq.ack", name);
            self.feed_end(ground, name, &gone);
            for (number, bytes) in released {
                self.gets_credit(number, bytes);
            }
            self.has_news(ground, name)?;
        }
        Ok(settled)
    }

    /// Gives a message back.
    ///
    /// # Errors
    /// There is no such queue.
    pub fn give_back(
        &mut self,
        ground: &mut Ground<'_>,
        name: &[u8],
        receipt: Receipt,
        back: Back<'_>,
    ) -> Result<Settled, Error> {
        let queue = ground.queue(name)?.ok_or_else(|| Error::mq_no_queue(name))?;
        let settled = check(queue, receipt);
        if settled != Settled::Done {
            return Ok(settled);
        }
        self.come_back(ground, name, receipt.id, back)?;
        Ok(Settled::Done)
    }

    /// A message that somebody held comes back: to its place, to be parked, or it is dead.
    pub(super) fn come_back(
        &mut self,
        ground: &mut Ground<'_>,
        name: &[u8],
        id: MessageId,
        back: Back<'_>,
    ) -> Result<(), Error> {
        let Back { how, delay_ms, note } = back;
        let now_ms = ground.now_ms();
        let key = ground.store.key(name);
        self.release(ground, name, id)?;
        let failed = how != Nack::Silent;
        let over = self.change(ground, key, |queue| {
            let Some(message) = queue.message(id) else { return (false, None) };
            let deliveries = message.deliveries.saturating_add(u32::from(failed));
            let rules = queue.rules();
            let over = rules.is_too_often(deliveries).filter(|_| failed);
            let park_ms = match delay_ms {
                Some(ms) => (ms > 0).then_some(ms),
                None => rules.retry_delay_ms(failed, deliveries.max(1)),
            };
            let parks = park_ms.filter(|_| over.is_none() && how != Nack::Fatal).map(|ms| now_ms.saturating_add(ms));
            queue.give_back(id, failed, parks);
            queue.counters_mut().returned += 1;
            (true, Some(over))
        })?;
        let Some(Some(over)) = over else { return Ok(()) };
        self.happened.messages.returned += 1;
        ground.effects.changed(1);
        ground.event("mq.nack", name);
        match if how == Nack::Fatal { Some(DeathReason::Rejected) } else { over } {
            Some(reason) => {
                if self.bury_with(ground, name, id, reason, note)? == Buried::Retained {
                    return Ok(());
                }
            }
            None => {
                self.feed_set(ground, name, &[id])?;
                self.drop_outdated(ground, name, id)?;
            }
        }
        self.has_news(ground, name)
    }

    /// Of messages with the same last value only the newest one is ready: `id` has become so.
    fn drop_outdated(&mut self, ground: &mut Ground<'_>, name: &[u8], id: MessageId) -> Result<(), Error> {
        loop {
            let Some(queue) = ground.queue(name)? else { return Ok(()) };
            let older = if queue.newer_value(id).is_some() { Some(id) } else { queue.older_value(id) };
            let Some(older) = older else { return Ok(()) };
            self.take_out(ground, name, older, Left::Dropped)?;
            if older == id {
                return Ok(());
            }
        }
    }

    /// Gives a consumer more time.
    ///
    /// # Errors
    /// There is no such queue.
    pub fn touch(
        &mut self,
        ground: &mut Ground<'_>,
        name: &[u8],
        receipts: &[Receipt],
        lease_ms: u64,
    ) -> Result<Vec<Settled>, Error> {
        let until_ms = ground.now_ms().saturating_add(lease_ms);
        let key = ground.store.key(name);
        let settled = self.change(ground, key, |queue| {
            let settled = settle_each(queue, receipts, |queue, id| {
                queue.extend_lease(id, until_ms);
            });
            (false, settled)
        })?;
        ground.effects.feed_nothing();
        settled.ok_or_else(|| Error::mq_no_queue(name))
    }

    /// Gives messages that somebody has held for at least `min_idle_ms` to another consumer; `give` sees each.
    ///
    /// # Errors
    /// There is no such queue.
    pub fn claim(
        &mut self,
        ground: &mut Ground<'_>,
        name: &[u8],
        consumer: &[u8],
        min_idle_ms: u64,
        receipts: &[Receipt],
        give: &mut dyn FnMut(&Message<'_>),
    ) -> Result<(), Error> {
        let now_ms = ground.now_ms();
        let key = ground.store.key(name);
        let mut claimed = Vec::new();
        for receipt in receipts {
            let queue = ground.queue(name)?.ok_or_else(|| Error::mq_no_queue(name))?;
            let idle_ms =
                queue.message(receipt.id).map_or(0, |it| now_ms.saturating_sub(it.since_ms.unwrap_or(now_ms)));
            if check(queue, *receipt) != Settled::Done || idle_ms < min_idle_ms || claimed.contains(&receipt.id) {
                continue;
            }
            self.release(ground, name, receipt.id)?;
            self.change(ground, key, |queue| {
                let holder = queue.holder(Holder::Named(consumer));
                queue.claim(receipt.id, holder, now_ms);
                let until_ms = now_ms.saturating_add(queue.rules().lease_ms);
                queue.extend_lease(receipt.id, until_ms);
                if let Some(message) = queue.message(receipt.id) {
                    give(&message);
                }
                queue.counters_mut().delivered += 1;
                queue.counters_mut().redelivered += 1;
                (true, ())
            })?;
            claimed.push(receipt.id);
        }
        ground.effects.feed_nothing();
        if !claimed.is_empty() {
            self.happened.messages.delivered += claimed.len() as u64;
            self.happened.messages.redelivered += claimed.len() as u64;
            ground.effects.changed(claimed.len() as u64);
            if ground.queue(name)?.is_some_and(|queue| queue.rules().track) {
                self.feed_set(ground, name, &claimed)?;
            }
        }
        Ok(())
    }

    /// Makes a message that was published in two phases one that can be taken, or takes it back. Says whether there was one.
    ///
    /// # Errors
    /// There is no such queue.
    pub fn resolve(
        &mut self,
        ground: &mut Ground<'_>,
        name: &[u8],
        id: MessageId,
        commit: bool,
    ) -> Result<bool, Error> {
        let now_ms = ground.now_ms();
        let queue = ground.queue(name)?.ok_or_else(|| Error::mq_no_queue(name))?;
        if queue.message(id).is_none_or(|message| message.state != State::Held) {
            return Ok(false);
        }
        if !commit {
            return self.take_out(ground, name, id, Left::Dropped);
        }
        let key = ground.store.key(name);
        let place = self.change(ground, key, |queue| (true, queue.commit(id, now_ms)))?;
        ground.effects.changed(1);
        if let Some(Some(place)) = place {
            self.feed_fired(ground, name, &[(id, place)]);
            self.drop_outdated(ground, name, id)?;
        }
        self.has_news(ground, name)?;
        Ok(true)
    }

    /// Does what is due for a message.
    pub(super) fn act(&mut self, ground: &mut Ground<'_>, name: &[u8], id: MessageId, due: Due) -> Result<(), Error> {
        let key = ground.store.key(name);
        match due {
            Due::Fire => {
                let now_ms = ground.now_ms();
                let fired = self.change(ground, key, |queue| (true, queue.fire(id, now_ms)))?;
                if let Some(Some(place)) = fired {
                    self.feed_fired(ground, name, &[(id, place)]);
                    ground.effects.changed(1);
                    self.drop_outdated(ground, name, id)?;
                }
                self.has_news(ground, name)
            }
            Due::Unpark => {
                let unparked = self.change(ground, key, |queue| {
                    let unparked = queue.unpark(id);
                    (unparked, unparked)
                })?;
                if unparked == Some(true) {
                    // Whoever repeats it looks at no clock: without this it would wait there still, and count for no limit.
                    self.feed_set(ground, name, &[id])?;
                    ground.effects.changed(1);
                    self.drop_outdated(ground, name, id)?;
                }
                self.has_news(ground, name)
            }
            Due::Lease => self.come_back(ground, name, id, Back::FAILED),
            Due::Expire => self.bury(ground, name, id, DeathReason::Expired).map(drop),
            Due::Unresolved => self.bury(ground, name, id, DeathReason::Unresolved).map(drop),
            Due::RetryDead => {
                let message = ground.queue(name)?.and_then(|queue| queue.message(id));
                let reason = message.and_then(|message| message.reason).unwrap_or(DeathReason::Rejected);
                self.bury(ground, name, id, reason).map(drop)
            }
        }
    }
}

/// What was handed out.
#[derive(Debug, Default)]
struct HandedOut {
    /// Messages that were settled by that.
    gone: Vec<MessageId>,
    /// Others.
    taken: Vec<MessageId>,
    /// How many of all had been handed out before.
    redelivered: u64,
}

/// Whether somebody else holds messages of a queue that gives them to one consumer at a time.
fn is_held_by_others(queue: &Queue, holder: Option<HolderId>) -> bool {
    let mut pending = queue.pending_ids(MessageId::MIN);
    let first = pending.next().and_then(|id| queue.message(id)?.holder);
    first.is_some() && first != holder
}

/// Why no more messages were handed out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum HandOutEnd {
    /// There are as many as wanted, or no more.
    Done,
    /// The next one has expired.
    Expired(MessageId),
    /// The body of the next one is not near.
    Far,
    /// The body of the next one cannot be read.
    Unreadable(MessageId),
}

/// Hands out what is wanted, until a message is in the way that cannot be handed out.
fn hand_out(
    queue: &mut Queue,
    taker: &Taker<'_>,
    wanted: &mut Wanted,
    now_ms: u64,
    out: &mut HandedOut,
    give: &mut dyn FnMut(&Message<'_>),
) -> HandOutEnd {
    if queue.paused().contains(Paused::OUT) || wanted.count == wanted.given {
        return HandOutEnd::Done;
    }
    let holder = (!taker.noack).then(|| queue.holder(Holder::Named(taker.name)));
    if queue.rules().sac && is_held_by_others(queue, holder) {
        if let Some(holder) = holder {
            queue.forget_holder(holder);
        }
        return HandOutEnd::Done;
    }
    let until_ms = now_ms.saturating_add(taker.lease_ms.unwrap_or(queue.rules().lease_ms));
    let mut end = HandOutEnd::Done;
    while wanted.given < wanted.count {
        let id = match queue.next(now_ms) {
            Next::Nothing => break,
            Next::Expired(id) => {
                end = HandOutEnd::Expired(id);
                break;
            }
            Next::Ready(id) => id,
        };
        let bytes = queue.message(id).map_or(0, |message| message.parcel.body_len() as u64);
        if wanted.given > 0 && bytes > wanted.bytes {
            wanted.count = wanted.given;
            break;
        }
        if let Err(why) = queue.bring_back(id, taker.wait) {
            end = if why == NotRead::Yet { HandOutEnd::Far } else { HandOutEnd::Unreadable(id) };
            break;
        }
        wanted.bytes = wanted.bytes.saturating_sub(bytes);
        wanted.given += 1;
        queue.counters_mut().delivered += 1;
        match holder {
            Some(holder) => {
                queue.hand_out(id, holder, Some(until_ms), now_ms);
                if let Some(message) = queue.message(id) {
                    out.redelivered += u64::from(message.redelivered);
                    give(&message);
                }
                out.taken.push(id);
            }
            None => {
                if let Some(message) = queue.message(id) {
                    out.redelivered += u64::from(message.redelivered);
                    give(&message.as_handed_out());
                }
                queue.remove(id);
                out.gone.push(id);
            }
        }
    }
    let counters = queue.counters_mut();
    counters.redelivered += out.redelivered;
    counters.count_left(Left::Acked, out.gone.len() as u64);
    if let Some(holder) = holder.filter(|_| out.taken.is_empty()) {
        queue.forget_holder(holder);
    }
    end
}
