//! Consumers: who is sent the messages of a queue as they come, as many as they have credit for.
//!
//! ```text
//!  subscribe ──► waits for messages ◄──► has no credit: its limit of unsettled messages or bytes is reached
//! ```
//!
//! Among those with credit the highest priority comes first, and in turn within it. What a consumer holds is pending in its
//! queue under its number, and comes back when it leaves.
//!
//! What must stay true: a consumer is in the line of its queue exactly while it has credit; `unacked` and `bytes` are what it
//! holds in the queue.

use super::Broker;
use super::deliver::Back;
use super::places::{Place, PlaceKind};
use crate::command::effects::Effects;
use crate::command::error::Error;
use crate::command::ground::{Ground, now_ms};
use crate::store::Store;
use hashbrown::HashMap;
use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use weir_structs::queue::{DeathReason, Holder, Left, Message, MessageId, Next, NotRead, Paused, Queue, Wait};

/// What a client asks for that wants to be sent messages.
#[derive(Clone, Copy, Debug)]
pub struct NewConsumer<'a> {
    /// The client.
    pub client: u64,
    /// By which name the client knows it.
    pub tag: &'a [u8],
    /// So many messages may be unsettled; 0 for any number.
    pub prefetch: u64,
    /// So many bytes of bodies; 0 for any number.
    pub prefetch_bytes: u64,
    /// The highest comes first.
    pub priority: i64,
    /// What is sent is settled.
    pub noack: bool,
    /// Nobody else may consume.
    pub exclusive: bool,
    /// For how many ms a message is its; as long as its connection lasts if that is not said.
    pub lease_ms: Option<u64>,
}

/// How a subscription began.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subscribed {
    /// Whether it is sent messages now: of a queue with a single active consumer it may have to wait.
    pub active: bool,
    /// Ready messages.
    pub messages: u64,
}

/// Something for a client.
#[derive(Debug)]
pub enum Delivery<'a> {
    /// A message.
    Message {
        /// The consumer.
        tag: &'a [u8],
        /// The queue.
        queue: &'a [u8],
        /// The message, as it is handed out.
        message: &'a Message<'a>,
    },
    /// It is a consumer no more.
    Cancelled {
        /// The consumer.
        tag: &'a [u8],
        /// Why.
        reason: &'a str,
    },
    /// Whether it is the one that is sent messages has changed.
    Active {
        /// The consumer.
        tag: &'a [u8],
        /// Whether it is.
        active: bool,
    },
}

/// Something for a client that is told later.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ended {
    /// The client.
    pub client: u64,
    /// The consumer.
    pub tag: Box<[u8]>,
    /// Why it ended; `None` if it is active now.
    pub reason: Option<&'static str>,
}

/// What is told of a consumer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsumerFigures {
    /// The client.
    pub client: u64,
    /// Its name.
    pub tag: Box<[u8]>,
    /// Its limit of messages.
    pub prefetch: u64,
    /// Its limit of bytes.
    pub prefetch_bytes: u64,
    /// Its priority.
    pub priority: i64,
    /// Whether it is sent messages now.
    pub active: bool,
    /// Whether nobody else may consume.
    pub exclusive: bool,
    /// Whether what it is sent is settled.
    pub noack: bool,
    /// Messages that it holds.
    pub unacked: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
}

#[derive(Debug)]
struct Consumer {
    client: u64,
    db: usize,
    uid: u64,
    tag: Box<[u8]>,
    prefetch: u64,
    prefetch_bytes: u64,
    priority: i64,
    noack: bool,
    exclusive: bool,
    lease_ms: Option<u64>,
    unacked: u64,
    bytes: u64,
    /// Whether it is in the line of its queue.
    lined_up: bool,
    /// Its client takes no more at the moment.
    stopped: bool,
    /// It is sent nothing any more, and stays until what it holds is settled or has come back.
    leaves: bool,
}

impl Consumer {
    fn has_credit(&self) -> bool {
        let messages = self.prefetch == 0 || self.unacked < self.prefetch;
        let bytes = self.prefetch_bytes == 0 || self.bytes < self.prefetch_bytes || self.unacked == 0;
        messages && bytes && !self.stopped && !self.leaves
    }
}

/// Those who consume one queue.
#[derive(Debug, Default)]
pub(super) struct Audience {
    /// All of them, in the order in which they came.
    all: Vec<u64>,
    /// Those with credit, by priority.
    line: BTreeMap<Reverse<i64>, VecDeque<u64>>,
    /// The only one who is sent messages, where that is the rule.
    active: Option<u64>,
    /// It is to be looked at.
    is_due: bool,
}

impl Place {
    /// Whether anybody is sent its messages.
    pub(super) fn has_consumers(&self) -> bool {
        self.audience.as_ref().is_some_and(|audience| !audience.all.is_empty())
    }

    fn audience(&mut self) -> &mut Audience {
        self.audience.get_or_insert_default()
    }
}

/// All consumers.
#[derive(Debug, Default)]
pub(super) struct Consumers {
    by_number: HashMap<u64, Consumer>,
    by_client: HashMap<u64, BTreeMap<Box<[u8]>, u64>>,
    /// Consumers that have left their queues, by client.
    left: HashMap<u64, Vec<u64>>,
    /// Consumers whose messages are to come back.
    giving_back: VecDeque<u64>,
    last_number: u64,
    /// Queues that have messages for somebody, perhaps.
    due: VecDeque<(usize, u64)>,
    ended: Vec<Ended>,
    /// Queues whose last consumer has left.
    abandoned: Vec<(usize, u64)>,
}

impl Broker {
    /// How many consumers there are.
    pub fn consumers(&self) -> usize {
        self.consumers.by_number.len()
    }

    /// Whether a client consumes anything.
    pub fn consumes(&self, client: u64) -> bool {
        self.consumers.by_client.contains_key(&client)
    }

    /// A client is sent the messages of a queue from now on.
    ///
    /// # Errors
    /// There is no such queue; the client has a consumer with this tag; somebody consumes alone.
    pub fn subscribe(
        &mut self,
        ground: &mut Ground<'_>,
        name: &[u8],
        new: &NewConsumer<'_>,
    ) -> Result<Subscribed, Error> {
        let queue = ground.queue(name)?.ok_or_else(|| Error::mq_no_queue(name))?;
        let (uid, ready, sac) = (queue.uid(), queue.figures().ready, queue.rules().sac);
        if self.consumers.by_client.get(&new.client).is_some_and(|tags| tags.contains_key(new.tag)) {
            return Err(Error::mq_tag_in_use(new.tag));
        }
        let others = self.audience_of(ground.db, uid);
        let alone = others.iter().any(|number| self.consumers.by_number.get(number).is_some_and(|it| it.exclusive));
        if alone || (new.exclusive && !others.is_empty()) {
            return Err(Error::mq_consumed_alone(name));
        }
        self.consumers.last_number += 1;
        let number = self.consumers.last_number;
        let consumer = Consumer {
            client: new.client,
            db: ground.db,
            uid,
            tag: new.tag.into(),
            prefetch: new.prefetch,
            prefetch_bytes: new.prefetch_bytes,
            priority: new.priority,
            noack: new.noack,
            exclusive: new.exclusive,
            lease_ms: new.lease_ms,
            unacked: 0,
            bytes: 0,
            lined_up: false,
            stopped: false,
            leaves: false,
        };
        self.consumers.by_number.insert(number, consumer);
        self.consumers.by_client.entry(new.client).or_default().insert(new.tag.into(), number);
        let now_ms = ground.now_ms();
        let Some(place) = self.places(ground.db).get_mut(uid) else { return Err(Error::mq_no_queue(name)) };
        place.used_ms = now_ms;
        let audience = place.audience();
        audience.all.push(number);
        if sac && audience.active.is_none() {
            audience.active = Some(number);
        }
        let active = !sac || audience.active == Some(number);
        self.line_up(number);
        self.hold_name(ground.store, ground.db, name);
        Ok(Subscribed { active, messages: ready })
    }

    fn audience_of(&self, db: usize, uid: u64) -> &[u64] {
        let place = self.databases.get(db).and_then(|places| places.get(uid));
        place.and_then(|place| place.audience.as_ref()).map_or(&[], |audience| &audience.all)
    }

    /// What is told of those who consume a queue.
    pub fn consumers_of(&self, db: usize, uid: u64) -> Vec<ConsumerFigures> {
        let place = self.databases.get(db).and_then(|places| places.get(uid));
        let active = place.and_then(|place| place.audience.as_ref()?.active);
        let all = self.audience_of(db, uid).iter();
        all.filter_map(|number| Some((number, self.consumers.by_number.get(number)?)))
            .map(|(number, it)| ConsumerFigures {
                client: it.client,
                tag: it.tag.clone(),
                prefetch: it.prefetch,
                prefetch_bytes: it.prefetch_bytes,
                priority: it.priority,
                active: active.is_none_or(|active| active == *number),
                exclusive: it.exclusive,
                noack: it.noack,
                unacked: it.unacked,
                bytes: it.bytes,
            })
            .collect()
    }

    /// Puts a consumer into the line of its queue, if it has credit.
    fn line_up(&mut self, number: u64) {
        let Broker { databases, consumers, .. } = self;
        let Some(consumer) = consumers.by_number.get_mut(&number) else { return };
        let place = databases.get_mut(consumer.db).and_then(|places| places.get_mut(consumer.uid));
        let Some(place) = place else { return };
        if consumer.lined_up || !consumer.has_credit() {
            return;
        }
        consumer.lined_up = true;
        let audience = place.audience();
        audience.line.entry(Reverse(consumer.priority)).or_default().push_back(number);
        if !std::mem::replace(&mut audience.is_due, true) {
            consumers.due.push_back((consumer.db, consumer.uid));
        }
    }

    /// There may be messages for those who consume a queue.
    #[inline]
    pub(super) fn has_news(&mut self, ground: &mut Ground<'_>, name: &[u8]) -> Result<(), Error> {
        if self.consumers.by_number.is_empty() {
            return Ok(());
        }
        let Some(queue) = ground.queue(name)? else { return Ok(()) };
        self.is_due(ground.db, queue.uid());
        Ok(())
    }

    fn is_due(&mut self, db: usize, uid: u64) {
        let Broker { databases, consumers, .. } = self;
        let place = databases.get_mut(db).and_then(|places| places.get_mut(uid));
        let Some(audience) = place.and_then(|place| place.audience.as_mut()) else { return };
        if !audience.line.is_empty() && !std::mem::replace(&mut audience.is_due, true) {
            consumers.due.push_back((db, uid));
        }
    }

    /// Whether messages may be waiting for consumers.
    #[inline]
    pub fn has_due(&self) -> bool {
        !self.consumers.due.is_empty()
    }

    /// Sends messages of one queue to those who consume it, at most `max` of them, each through `give`, which gets the client.
    /// Gives the database in which that was; `None` if there is nothing to be sent.
    pub fn dispatch(
        &mut self,
        store: &mut Store,
        effects: &mut Effects,
        max: usize,
        give: &mut dyn FnMut(u64, Delivery<'_>),
    ) -> Option<usize> {
        let (db, uid) = self.consumers.due.pop_front()?;
        let place = self.places(db).get_mut(uid);
        let Some(place) = place else { return Some(db) };
        let name = Arc::clone(&place.name);
        if let Some(audience) = &mut place.audience {
            audience.is_due = false;
        }
        let mut ground = Ground { store, effects, db };
        ground.effects.feed_nothing();
        // An error says that there is no queue any more, which is noted elsewhere.
        let more = self.dispatch_queue(&mut ground, &name, uid, max, give).unwrap_or(false);
        if more {
            self.is_due(db, uid);
        }
        Some(db)
    }

    fn dispatch_queue(
        &mut self,
        ground: &mut Ground<'_>,
        name: &[u8],
        uid: u64,
        max: usize,
        give: &mut dyn FnMut(u64, Delivery<'_>),
    ) -> Result<bool, Error> {
        let now_ms = ground.now_ms();
        let key = ground.store.key(name);
        let (mut gone, mut taken): (Vec<MessageId>, Vec<MessageId>) = (Vec::new(), Vec::new());
        let mut more = true;
        let mut mark = None;
        let mut redelivered = 0;
        for _ in 0..max {
            let Some(number) = self.next_in_line(ground.db, uid) else {
                more = false;
                break;
            };
            let Some(consumer) = self.consumers.by_number.get_mut(&number) else { continue };
            let (client, noack, lease_ms) = (consumer.client, consumer.noack, consumer.lease_ms);
            let tag = consumer.tag.clone();
            enum Step {
                Nothing,
                Expired(MessageId),
                Far,
                Unreadable(MessageId),
                Given(u64),
            }
            let step = self.change(ground, key, |queue| {
                if queue.paused().contains(Paused::OUT) {
                    return (false, Step::Nothing);
                }
                let id = match queue.next(now_ms) {
                    Next::Nothing => return (false, Step::Nothing),
                    Next::Expired(id) => return (false, Step::Expired(id)),
                    Next::Ready(id) => id,
                };
                match queue.bring_back(id, Wait::Never) {
                    Ok(_) => {}
                    Err(NotRead::Yet) => return (false, Step::Far),
                    Err(NotRead::Ever) => return (false, Step::Unreadable(id)),
                }
                let bytes = queue.message(id).map_or(0, |message| message.parcel.body_len() as u64);
                if !noack {
                    let before = queue.mark();
                    let holder = queue.holder(Holder::Consumer(number));
                    queue.hand_out(id, holder, lease_ms.map(|ms| now_ms.saturating_add(ms)), now_ms);
                    mark = Some(queue.mark()).filter(|mark| *mark > before).or(mark);
                }
                let mut again = 0;
                if let Some(message) = queue.message(id) {
                    again = u64::from(message.redelivered);
                    let message = if noack { message.as_handed_out() } else { message };
                    give(client, Delivery::Message { tag: &tag, queue: name, message: &message });
                }
                redelivered += again;
                let counters = queue.counters_mut();
                counters.delivered += 1;
                counters.redelivered += again;
                if noack {
                    queue.remove(id);
                    queue.counters_mut().count_left(Left::Acked, 1);
                    gone.push(id);
                } else {
                    taken.push(id);
                }
                (true, Step::Given(bytes))
            })?;
            match step {
                None | Some(Step::Nothing | Step::Far) => {
                    if let Some(Step::Far) = step {
                        self.bodies.note_far(ground.db, uid);
                    }
                    self.line_up(number);
                    // It has been put back where it waits: nothing is due until there is a message.
                    self.not_due(ground.db, uid);
                    more = false;
                    break;
                }
                Some(Step::Expired(id)) => {
                    self.line_up(number);
                    self.bury(ground, name, id, DeathReason::Expired)?;
                }
                Some(Step::Unreadable(id)) => {
                    self.line_up(number);
                    self.park_unreadable(ground, name, id)?;
                }
                Some(Step::Given(bytes)) => {
                    if !noack && let Some(consumer) = self.consumers.by_number.get_mut(&number) {
                        consumer.unacked += 1;
                        consumer.bytes += bytes;
                    }
                    self.line_up(number);
                }
            }
        }
        let count = gone.len() + taken.len();
        if count > 0 {
            self.happened.messages.delivered += count as u64;
            self.happened.messages.redelivered += redelivered;
            self.happened.messages.count_left(Left::Acked, gone.len() as u64);
            ground.effects.changed(count as u64);
            ground.event("mq.deliver", name);
            self.feed_end(ground, name, &gone);
            if let Some(mark) = mark {
                self.feed_mark(ground, name, mark);
            }
            if ground.queue(name)?.is_some_and(|queue| queue.rules().track) {
                self.feed_set(ground, name, &taken)?;
            }
        }
        Ok(more)
    }

    fn not_due(&mut self, db: usize, uid: u64) {
        if let Some(place) = self.places(db).get_mut(uid)
            && let Some(audience) = &mut place.audience
            && std::mem::take(&mut audience.is_due)
        {
            self.consumers.due.retain(|due| *due != (db, uid));
        }
    }

    /// Takes the one out of the line whose turn it is.
    fn next_in_line(&mut self, db: usize, uid: u64) -> Option<u64> {
        let Broker { databases, consumers, .. } = self;
        let audience = databases.get_mut(db)?.get_mut(uid)?.audience.as_mut()?;
        if let Some(active) = audience.active {
            let consumer = consumers.by_number.get_mut(&active)?;
            if !consumer.lined_up {
                return None;
            }
            consumer.lined_up = false;
            let line = audience.line.get_mut(&Reverse(consumer.priority))?;
            line.retain(|number| *number != active);
            if line.is_empty() {
                let priority = Reverse(consumer.priority);
                audience.line.remove(&priority);
            }
            return Some(active);
        }
        let mut first = audience.line.first_entry()?;
        let number = first.get_mut().pop_front();
        if first.get().is_empty() {
            first.remove();
        }
        if let Some(consumer) = number.and_then(|number| consumers.by_number.get_mut(&number)) {
            consumer.lined_up = false;
        }
        number
    }

    /// A message is about to be no longer pending: whoever held it has credit again.
    pub(super) fn release(&mut self, ground: &mut Ground<'_>, name: &[u8], id: MessageId) -> Result<(), Error> {
        let Some(queue) = ground.queue(name)? else { return Ok(()) };
        let Some(message) = queue.message(id) else { return Ok(()) };
        if let Some((number, bytes)) = consumer_holding(queue, message) {
            self.gets_credit(number, bytes);
        }
        Ok(())
    }

    pub(super) fn gets_credit(&mut self, number: u64, bytes: u64) {
        let Some(consumer) = self.consumers.by_number.get_mut(&number) else { return };
        consumer.unacked = consumer.unacked.saturating_sub(1);
        consumer.bytes = consumer.bytes.saturating_sub(bytes);
        if consumer.leaves && consumer.unacked == 0 {
            self.forget(number);
        } else {
            self.line_up(number);
        }
    }

    /// Whether a client takes messages at the moment: one whose output waits for it does not.
    pub fn set_stopped(&mut self, client: u64, stopped: bool) {
        let numbers: Vec<u64> =
            self.consumers.by_client.get(&client).map_or_else(Vec::new, |tags| tags.values().copied().collect());
        for number in numbers {
            if let Some(consumer) = self.consumers.by_number.get_mut(&number) {
                consumer.stopped = stopped;
            }
            self.line_up(number);
        }
    }

    /// Sets how many messages a consumer may hold. Says whether there is such a consumer.
    pub fn set_prefetch(&mut self, client: u64, tag: &[u8], prefetch: u64) -> bool {
        let Some(&number) = self.consumers.by_client.get(&client).and_then(|tags| tags.get(tag)) else { return false };
        if let Some(consumer) = self.consumers.by_number.get_mut(&number) {
            consumer.prefetch = prefetch;
        }
        self.line_up(number);
        true
    }

    /// A consumer is sent nothing any more. What it holds comes back if `requeue`; otherwise it may still settle that. Says
    /// whether there is such a consumer.
    pub fn unsubscribe(&mut self, client: u64, tag: &[u8], requeue: bool) -> bool {
        let Some(number) = self.consumers.by_client.get_mut(&client).and_then(|tags| tags.remove(tag)) else {
            return false;
        };
        if self.consumers.by_client.get(&client).is_some_and(BTreeMap::is_empty) {
            self.consumers.by_client.remove(&client);
        }
        self.leave(number);
        if requeue {
            self.consumers.giving_back.push_back(number);
        } else if self.consumers.by_number.contains_key(&number) {
            self.consumers.left.entry(client).or_default().push(number);
        }
        true
    }

    /// The tag of a consumer.
    pub fn tag_of(&self, number: u64) -> Option<&[u8]> {
        self.consumers.by_number.get(&number).map(|consumer| &*consumer.tag)
    }

    /// A client is gone: whatever it holds comes back, and queues that were its alone go.
    pub fn client_gone(&mut self, client: u64) {
        self.orphans.extend(self.owned.remove(&client).unwrap_or_default());
        let tags = self.consumers.by_client.remove(&client).unwrap_or_default();
        let left = self.consumers.left.remove(&client).unwrap_or_default();
        for number in tags.into_values().chain(left) {
            self.leave(number);
            self.consumers.giving_back.push_back(number);
        }
    }

    /// Takes a consumer out of its queue's audience.
    fn leave(&mut self, number: u64) {
        let Broker { databases, consumers, .. } = self;
        let Some(consumer) = consumers.by_number.get_mut(&number) else { return };
        consumer.leaves = true;
        let place = databases.get_mut(consumer.db).and_then(|places| places.get_mut(consumer.uid));
        if let Some(audience) = place.and_then(|place| place.audience.as_mut()) {
            audience.all.retain(|it| *it != number);
            if std::mem::take(&mut consumer.lined_up)
                && let Some(line) = audience.line.get_mut(&Reverse(consumer.priority))
            {
                line.retain(|it| *it != number);
                if line.is_empty() {
                    audience.line.remove(&Reverse(consumer.priority));
                }
            }
        }
        if consumer.unacked == 0 {
            self.forget(number);
        }
    }

    /// A consumer that has left holds nothing any more.
    fn forget(&mut self, number: u64) {
        let Broker { databases, consumers, .. } = self;
        let Some(consumer) = consumers.by_number.remove(&number) else { return };
        if let Some(left) = consumers.left.get_mut(&consumer.client) {
            left.retain(|it| *it != number);
            if left.is_empty() {
                consumers.left.remove(&consumer.client);
            }
        }
        let place = databases.get_mut(consumer.db).and_then(|places| places.get_mut(consumer.uid));
        let Some(audience) = place.and_then(|place| place.audience.as_mut()) else { return };
        let was_active = audience.active == Some(number);
        if was_active {
            audience.active = None;
        }
        if audience.all.is_empty() {
            self.consumers.abandoned.push((consumer.db, consumer.uid));
            return;
        }
        if !was_active {
            return;
        }
        // The next one takes over: the highest priority, and of those who came first.
        let priority = |number: &u64| consumers.by_number.get(number).map_or(i64::MIN, |it| it.priority);
        let next = audience.all.iter().rev().max_by_key(|number| priority(number)).copied();
        audience.active = next;
        if let Some(next) = next.and_then(|next| consumers.by_number.get(&next)) {
            consumers.ended.push(Ended { client: next.client, tag: next.tag.clone(), reason: None });
        }
        let (db, uid) = (consumer.db, consumer.uid);
        self.is_due(db, uid);
    }

    /// Lets messages of consumers that have left come back, at most `max`. Gives the database in which that was; `None` if there
    /// are none.
    pub fn give_back_left(&mut self, store: &mut Store, effects: &mut Effects, max: usize) -> Option<usize> {
        let number = *self.consumers.giving_back.front()?;
        let Some(consumer) = self.consumers.by_number.get(&number) else {
            self.consumers.giving_back.pop_front();
            return Some(0);
        };
        let (db, uid) = (consumer.db, consumer.uid);
        let name = self.places(db).get(uid).map(|place| Arc::clone(&place.name));
        let mut ground = Ground { store, effects, db };
        ground.effects.feed_nothing();
        let key = ground.store.key(name.as_deref().unwrap_or_default());
        let ids = self.change(&mut ground, key, |queue| {
            let holder = queue.holder(Holder::Consumer(number));
            let ids: Vec<MessageId> = queue.held_by(holder).take(max).collect();
            if ids.is_empty() {
                queue.forget_holder(holder);
            }
            (false, ids)
        });
        let ids = ids.ok().flatten().unwrap_or_default();
        let done = ids.len() < max;
        for id in ids {
            // An error says that the queue is gone, and the messages with it.
            let _ = self.come_back(&mut ground, name.as_deref().unwrap_or_default(), id, Back::FAILED);
        }
        if done {
            self.consumers.giving_back.pop_front();
            self.forget(number);
        }
        Some(db)
    }

    /// Whether consumers that have left still hold messages that are to come back.
    pub fn is_giving_back(&self) -> bool {
        !self.consumers.giving_back.is_empty()
    }

    /// A queue is gone, and with it those who consumed it.
    pub(super) fn end_audience(&mut self, uid: u64, place: Place, reason: &'static str) {
        let Some(audience) = place.audience else { return };
        for number in audience.all {
            self.cancel(number, reason);
        }
        if self.consumers.left.is_empty() && self.consumers.giving_back.is_empty() {
            return;
        }
        // What they still hold is gone as well.
        let left = self.consumers.by_number.iter().filter(|(_, it)| it.uid == uid).map(|(number, _)| *number);
        for number in left.collect::<Vec<_>>() {
            self.forget(number);
        }
    }

    fn cancel(&mut self, number: u64, reason: &'static str) {
        let Some(consumer) = self.consumers.by_number.remove(&number) else { return };
        if let Some(tags) = self.consumers.by_client.get_mut(&consumer.client) {
            tags.remove(&consumer.tag);
            if tags.is_empty() {
                self.consumers.by_client.remove(&consumer.client);
            }
        }
        self.consumers.ended.push(Ended { client: consumer.client, tag: consumer.tag, reason: Some(reason) });
    }

    /// All queues of a database are gone.
    pub(super) fn end_audiences(&mut self, db: usize, reason: &'static str) {
        let of_db = self.consumers.by_number.iter().filter(|(_, consumer)| consumer.db == db);
        let numbers: Vec<u64> = of_db.map(|(number, _)| *number).collect();
        for number in numbers {
            self.cancel(number, reason);
        }
        self.consumers.due.retain(|due| due.0 != db);
    }

    /// The contents of two databases have changed places: those who consumed them are told, and what they held comes back.
    pub(super) fn cancel_swapped(&mut self, a: usize, b: usize) {
        let other = |db| if db == a { b } else { a };
        for due in &mut self.consumers.due {
            if due.0 == a || due.0 == b {
                due.0 = other(due.0);
            }
        }
        let moved = self.consumers.by_number.values_mut().filter(|it| it.db == a || it.db == b);
        let mut ended = Vec::new();
        for consumer in moved {
            consumer.db = other(consumer.db);
            if !consumer.leaves {
                ended.push((consumer.client, consumer.tag.clone()));
            }
        }
        for (client, tag) in ended {
            self.unsubscribe(client, &tag, true);
            self.consumers.ended.push(Ended { client, tag, reason: Some("swapped") });
        }
    }

    /// What clients are to be told of their consumers.
    pub fn take_ended(&mut self) -> Vec<Ended> {
        std::mem::take(&mut self.consumers.ended)
    }

    /// Removes queues that go with their last consumer. Gives the database in which that was; `None` if there is none.
    pub fn remove_abandoned(&mut self, store: &mut Store, effects: &mut Effects) -> Option<usize> {
        let (db, uid) = self.consumers.abandoned.pop()?;
        let place = self.places(db).get(uid).filter(|place| !place.has_consumers());
        let Some(name) = place.map(|place| Arc::clone(&place.name)) else { return Some(db) };
        let now_ms = now_ms(store);
        self.hold_name(store, db, &name);
        let mut ground = Ground { store, effects, db };
        ground.effects.feed_nothing();
        if let Ok(Some(queue)) = ground.queue(&name) {
            if queue.options().auto_delete {
                self.delete(&mut ground, &name, PlaceKind::Queue);
            } else if let Some(place) = self.places(db).get_mut(uid) {
                place.used_ms = now_ms;
            }
        }
        Some(db)
    }
}

/// The consumer that holds a message, and the bytes that count for it.
pub(super) fn consumer_holding(queue: &Queue, message: Message<'_>) -> Option<(u64, u64)> {
    match queue.holder_name(message.holder?)? {
        Holder::Consumer(number) => Some((number, message.parcel.body_len() as u64)),
        Holder::Named(_) => None,
    }
}
