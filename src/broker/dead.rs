//! Dead letters: messages that a queue gives up go to its dead letter exchange, with the story of how they got there.

use super::Broker;
use super::publish::{Found, Incoming, PutIn};
use crate::command::error::Error;
use crate::command::ground::Ground;
use std::collections::BTreeSet;
use weir_structs::exchange::Target;
use weir_structs::queue::{Death, DeathReason, DlStrategy, Left, MessageId, Parcel, Queue, Rules, Story, When};

/// A dead letter that nobody took is offered again after so many ms.
pub(super) const OFFER_AGAIN_MS: u64 = 1_000;

/// What became of a message that a queue gave up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Buried {
    /// It is somewhere else now, or gone.
    Left,
    /// It stays where it is until somebody takes it.
    Retained,
}

/// What is known of a message that dies, taken out of its queue.
struct Dying {
    parcel: Parcel,
    priority: u8,
    dlx: Box<[u8]>,
    strategy: DlStrategy,
    /// The routing keys under which it goes on.
    rkeys: Vec<Box<[u8]>>,
    story: Story,
}

impl Dying {
    /// A message that dies in a queue, for a reason and with what its consumer says about that. `None` if its queue has no
    /// dead letter exchange.
    fn new(
        queue: &[u8],
        rules: &Rules,
        life: Incoming<'_>,
        (reason, note): (DeathReason, Option<&[u8]>),
        now_ms: u64,
    ) -> Option<Dying> {
        let dlx = rules.dlx.clone()?;
        let Incoming { parcel, priority, ttl_ms, .. } = life;
        let mut story = life.story.cloned().unwrap_or_default();
        let rkey = story.rkey.as_deref().unwrap_or(parcel.rkey());
        let own: Vec<Box<[u8]>> = std::iter::once(rkey).chain(parcel.cc()).map(Box::from).collect();
        let exchange = story.exchange.as_deref().unwrap_or(parcel.exchange()).into();
        let rkeys = rules.dl_rkey.clone().map_or_else(|| own.clone(), |key| vec![key]);
        story.tell(Death {
            queue: queue.into(),
            reason,
            count: 1,
            time_ms: now_ms,
            exchange,
            rkeys: own,
            original_ttl_ms: ttl_ms,
            note: note.map(Box::from),
        });
        Some(Dying { parcel: parcel.clone(), priority, dlx, strategy: rules.dl_strategy, rkeys, story })
    }
}

/// Whether a message that goes to a queue has been there before, and nobody has rejected it since.
fn goes_in_circles(story: &Story, queue: &[u8]) -> bool {
    let since = story.deaths.iter().position(|death| *death.queue == *queue);
    since.is_some_and(|at| story.deaths.iter().take(at + 1).all(|death| death.reason != DeathReason::Rejected))
}

/// Whether the last death of a message had this reason; any, if none is given.
pub(super) fn died_for(queue: &Queue, id: MessageId, reason: Option<DeathReason>) -> bool {
    let Some(reason) = reason else { return true };
    let newest = queue.message(id).and_then(|message| message.story?.deaths.first());
    newest.is_some_and(|death| death.reason == reason)
}

impl Broker {
    /// A queue gives a message up.
    ///
    /// # Errors
    /// Something else is where the queue was.
    pub(super) fn bury(
        &mut self,
        ground: &mut Ground<'_>,
        name: &[u8],
        id: MessageId,
        reason: DeathReason,
    ) -> Result<Buried, Error> {
        self.bury_with(ground, name, id, reason, None)
    }

    /// The same with what its consumer says about that.
    pub(super) fn bury_with(
        &mut self,
        ground: &mut Ground<'_>,
        name: &[u8],
        id: MessageId,
        reason: DeathReason,
        note: Option<&[u8]>,
    ) -> Result<Buried, Error> {
        let now_ms = ground.now_ms();
        let Some(queue) = ground.queue(name)? else { return Ok(Buried::Left) };
        let Some(message) = queue.message(id) else { return Ok(Buried::Left) };
        let ttl_ms = message.expires_ms.map(|at| at.saturating_sub(message.parcel.ts_ms()));
        let (parcel, priority, story) = (message.parcel, message.priority, message.story);
        let life = Incoming { parcel, priority, ttl_ms, when: When::Now, idmp: None, story, newest: u64::MAX };
        let Some(dying) = Dying::new(name, queue.rules(), life, (reason, note), now_ms) else {
            let how = if reason == DeathReason::Expired { Left::Expired } else { Left::Dropped };
            self.take_out(ground, name, id, how)?;
            return Ok(Buried::Left);
        };
        let taken = self.send_on(ground, &dying)?;
        match (taken, dying.strategy) {
            (Sent::Nowhere, DlStrategy::Retain) => {
                let key = ground.store.key(name);
                self.change(ground, key, |queue| {
                    queue.die(id, reason, now_ms.saturating_add(OFFER_AGAIN_MS));
                    (true, ())
                })?;
                self.feed_set(ground, name, &[id])?;
                Ok(Buried::Retained)
            }
            (sent, _) => {
                let goes_on = sent == Sent::On;
                self.take_out(ground, name, id, if goes_on { Left::DeadLettered(reason) } else { Left::Dropped })?;
                if goes_on {
                    ground.event("mq.deadletter", name);
                }
                Ok(Buried::Left)
            }
        }
    }

    /// A message dies before it has been in its queue: its publisher is refused, and it goes to the dead letter exchange. If
    /// that takes it, it counts as one that came and went.
    pub(super) fn bury_unborn(
        &mut self,
        ground: &mut Ground<'_>,
        name: &[u8],
        incoming: Incoming<'_>,
    ) -> Result<(), Error> {
        let now_ms = ground.now_ms();
        let Some(queue) = ground.queue(name)? else { return Ok(()) };
        let dying = Dying::new(name, queue.rules(), incoming, (DeathReason::MaxLen, None), now_ms);
        let Some(dying) = dying else { return Ok(()) };
        if self.send_on(ground, &dying)? == Sent::On {
            self.count(ground, name, |counters| {
                counters.published += 1;
                counters.count_left(Left::DeadLettered(DeathReason::MaxLen), 1);
            })?;
            ground.event("mq.deadletter", name);
        }
        Ok(())
    }

    /// Sends a dead letter to where its exchange leads.
    fn send_on(&mut self, ground: &mut Ground<'_>, dying: &Dying) -> Result<Sent, Error> {
        let mut found = Found::default();
        let headers: Vec<_> = dying.parcel.headers().collect();
        let mut rkeys = dying.rkeys.iter().map(|key| &**key);
        let first = rkeys.next().unwrap_or_default();
        let others: Vec<&[u8]> = rkeys.collect();
        self.route(ground, &dying.dlx, first, &others, &headers, &mut found)?;
        let mut story = dying.story.clone();
        story.exchange = Some(dying.dlx.clone());
        story.rkey = Some(first.into());
        let mut open = Found::default();
        let mut circles = 0;
        for at in 0..found.len() {
            let (target, name) = found.at(at);
            if target == Target::Queue && goes_in_circles(&story, name) {
                circles += 1;
            } else {
                open.push(target, name);
            }
        }
        if open.len() == 0 {
            return Ok(if circles > 0 { Sent::InCircles } else { Sent::Nowhere });
        }
        let incoming = Incoming {
            parcel: &dying.parcel,
            priority: dying.priority,
            ttl_ms: None,
            when: When::Now,
            idmp: None,
            story: Some(&story),
            newest: u64::MAX,
        };
        self.moves += 1;
        let published = self.put_into_all(ground, &open, incoming);
        self.moves -= 1;
        let published = published?;
        Ok(if published.queues.is_empty() && published.others == 0 { Sent::Nowhere } else { Sent::On })
    }

    /// Puts ready messages of a queue into another one, or back into the one in which they died last, at most `max` of them and,
    /// if `reason` is given, only those that died for it. Those stay that cannot go anywhere. Says how many went.
    ///
    /// # Errors
    /// There is no such queue.
    pub fn redrive(
        &mut self,
        ground: &mut Ground<'_>,
        name: &[u8],
        to: Option<&[u8]>,
        max: usize,
        reason: Option<DeathReason>,
    ) -> Result<usize, Error> {
        let queue = ground.queue(name)?.ok_or_else(|| Error::mq_no_queue(name))?;
        let ids: Vec<MessageId> = queue.ready_ids().filter(|id| died_for(queue, *id, reason)).take(max).collect();
        let mut moved = 0;
        for id in ids {
            moved += usize::from(self.put_back(ground, name, id, to, None)?);
        }
        Ok(moved)
    }

    /// Puts one message into another queue, or back into the one in which it died last, if that is among the `allowed` ones. Says
    /// whether it went.
    pub(super) fn put_back(
        &mut self,
        ground: &mut Ground<'_>,
        name: &[u8],
        id: MessageId,
        to: Option<&[u8]>,
        allowed: Option<&BTreeSet<Box<[u8]>>>,
    ) -> Result<bool, Error> {
        let Some(message) = ground.queue(name)?.and_then(|queue| queue.message(id)) else { return Ok(false) };
        let mut story = message.story.cloned().unwrap_or_default();
        let origin = story.deaths.first().map(|death| death.queue.clone());
        let origin = origin.filter(|origin| allowed.is_none_or(|allowed| allowed.contains(origin)));
        let Some(target) = to.map(Box::from).or(origin).filter(|target| **target != *name) else { return Ok(false) };
        // It goes on as what it was at first.
        (story.exchange, story.rkey) = (None, None);
        let (parcel, priority) = (message.parcel.clone(), message.priority);
        let incoming = Incoming {
            parcel: &parcel,
            priority,
            ttl_ms: None,
            when: When::Now,
            idmp: None,
            story: Some(&story),
            newest: u64::MAX,
        };
        let put = self.put_in(ground, &target, incoming)?;
        self.feed_puts(ground);
        let goes = matches!(put, PutIn::In(_));
        if goes {
            self.take_out(ground, name, id, Left::Redriven)?;
        }
        Ok(goes)
    }

    /// The queues into which [`Broker::redrive`] would put messages back.
    ///
    /// # Errors
    /// There is no such queue.
    pub fn origins(
        &self,
        ground: &Ground<'_>,
        name: &[u8],
        max: usize,
        reason: Option<DeathReason>,
    ) -> Result<BTreeSet<Box<[u8]>>, Error> {
        let queue = ground.queue(name)?.ok_or_else(|| Error::mq_no_queue(name))?;
        let those = queue.ready_ids().filter(|id| died_for(queue, *id, reason)).take(max);
        let deaths = those.filter_map(|id| queue.message(id)?.story?.deaths.first());
        Ok(deaths.map(|death| death.queue.clone()).collect())
    }

    /// Takes a message out of its queue for good.
    pub(super) fn take_out(
        &mut self,
        ground: &mut Ground<'_>,
        name: &[u8],
        id: MessageId,
        how: Left,
    ) -> Result<bool, Error> {
        let key = ground.store.key(name);
        self.release(ground, name, id)?;
        let removed = self.change(ground, key, |queue| {
            let removed = queue.remove(id).is_some();
            queue.counters_mut().count_left(how, u64::from(removed));
            (removed, removed)
        })?;
        if removed != Some(true) {
            return Ok(false);
        }
        self.happened.messages.count_left(how, 1);
        ground.effects.changed(1);
        self.feed_end(ground, name, &[id]);
        Ok(true)
    }
}

/// Where a dead letter got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sent {
    On,
    InCircles,
    Nowhere,
}
