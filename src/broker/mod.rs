//! The broker: what all queues and exchanges have in common.
//!
//! ```text
//!  publish ──► route: exchanges, their bindings, alternates ──► each queue once ──► make room ──► put in
//!                                                                                     │ dead letters
//!  get, dispatch ◄── queue ◄── settle: acknowledged, given back, dead ────────────────┘
//!                      ▲
//!  alarms: what is delayed, parked, leased, held or expires
//! ```
//!
//! Queues and exchanges are values of keys ([`weir_structs::queue`], [`weir_structs::exchange`]); this room knows where they
//! are, which rules are in force for them, who is sent what is in them, and how a message gets from one to the next. It
//! reaches keys through the store like any command, says what it changed in [`Effects`], and knows neither clients nor
//! connections: whoever drives it takes the deliveries out and sends them.
//!
//! What must stay true: every change of a queue goes through [`Broker::change`], so that totals, alarms and rules are right;
//! what was changed is in the feed as effects, with ids and times in them, never as a choice to be made again.

mod bodies;
mod consumers;
mod dead;
mod declare;
mod deliver;
mod effect;
mod places;
mod policies;
mod publish;
mod purge;
mod schedules;
mod tasks;
mod timers;
mod totals;

pub use bodies::LongQueue;
pub use consumers::{ConsumerFigures, Delivery, Ended, NewConsumer, Subscribed};
pub use deliver::{Back, Nack, Receipt, Settled, Taker, Wanted};
pub use places::PlaceKind;
pub use policies::{AppliesTo, Policy};
pub use publish::{Publication, Published, Refusal};
pub use schedules::{Schedule, Times};
pub use tasks::{End, Finished, Redriving, Waits};
pub use totals::{Happened, Totals};

use crate::command::effects::Effects;
use crate::command::error::Error;
use crate::command::ground::{Ground, now_ms};
use crate::store::{BrokerChange, Key, Store, ValueRef};
use hashbrown::HashMap;
use places::Places;
use policies::Policies;
use std::collections::BTreeSet;
use std::sync::Arc;
use weir_structs::exchange::{Exchange, Sieve, Target};
use weir_structs::pieces::BigPieces;
use weir_structs::queue::{Counters, Figures, MessageId, Queue};
use weir_structs::stream::NodeLimits;

/// So many bindings of an exchange end in the same step as what they lead to; more are taken out later,
const ENDED_AT_ONCE: usize = 16;
/// so many in a row.
const TIDIED_A_STEP: usize = 64;

/// An id of a message as clients and files write it.
///
/// # Errors
/// It is none.
pub fn message_id(word: &[u8]) -> Result<MessageId, Error> {
    MessageId::parse(word).ok_or(Error::MQ_INVALID_ID)
}

impl Ground<'_> {
    /// The queue at a key, to be looked at.
    ///
    /// # Errors
    /// There is something else.
    pub fn queue(&self, name: &[u8]) -> Result<Option<&Queue>, Error> {
        match self.store.view(self.db, self.store.key(name)).map(|entry| entry.value()) {
            None => Ok(None),
            Some(ValueRef::Queue(queue)) => Ok(Some(queue)),
            Some(_) => Err(Error::WRONG_TYPE),
        }
    }

    /// The exchange at a key, to be looked at.
    ///
    /// # Errors
    /// There is something else.
    pub fn exchange(&self, name: &[u8]) -> Result<Option<&Exchange>, Error> {
        match self.store.view(self.db, self.store.key(name)).map(|entry| entry.value()) {
            None => Ok(None),
            Some(ValueRef::Exchange(exchange)) => Ok(Some(exchange)),
            Some(_) => Err(Error::WRONG_TYPE),
        }
    }
}

/// A name, and what it stands for.
pub type Pair = (Box<[u8]>, Box<[u8]>);

/// A message for the subscribers of a channel that an exchange is bound to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForChannel {
    /// The channel.
    pub channel: Box<[u8]>,
    /// The message's body.
    pub body: Box<[u8]>,
}

/// Everything that is not in a queue or an exchange.
#[derive(Debug, Default)]
pub struct Broker {
    databases: Vec<Places>,
    policies: Policies,
    schedules: schedules::Schedules,
    consumers: consumers::Consumers,
    happened: Happened,
    last_uid: u64,
    for_channels: Vec<ForChannel>,
    /// Exclusive queues by the client that has them.
    owned: HashMap<u64, Vec<(usize, u64)>>,
    /// Exclusive queues whose client is gone.
    orphans: Vec<(usize, u64)>,
    /// What is being put together from the pieces of a file.
    unfinished: HashMap<(usize, Box<[u8]>), BigPieces>,
    /// Moves of messages from one queue to the next that are under way.
    moves: usize,
    tasks: tasks::Tasks,
    /// Exchanges with bindings that have ended and are to be taken out.
    untidy: BTreeSet<u64>,
    /// When a block of a stream is full.
    stream_limits: NodeLimits,
    /// Kept for their room.
    found: publish::Found,
    sieve: Sieve,
    meta: Vec<u8>,
    puts: effect::Puts,
    bodies: bodies::Bodies,
}

impl Broker {
    #[inline]
    fn places(&mut self, db: usize) -> &mut Places {
        if self.databases.len() <= db {
            self.databases.resize_with(db + 1, Places::default);
        }
        &mut self.databases[db]
    }

    /// Lets `change` change the queue at a key, under the rules in force. Nobody who watches the key hears of it if `change`
    /// says that it changed nothing.
    #[inline]
    fn change<R>(
        &mut self,
        ground: &mut Ground<'_>,
        key: Key<'_>,
        change: impl FnOnce(&mut Queue) -> (bool, R),
    ) -> Result<Option<R>, Error> {
        let Some(mut entry) = ground.store.db(ground.db).get_mut(key) else { return Ok(None) };
        let Broker { databases, policies, bodies, .. } = self;
        entry.try_change(|value| {
            let Some(mut queue) = value.queue_mut() else { return (false, Err(Error::WRONG_TYPE)) };
            let uid = queue.uid();
            let places = databases.get_mut(ground.db);
            let Some((places, epoch)) = places.and_then(|places| {
                let epoch = places.get(uid)?.rules_epoch;
                Some((places, epoch))
            }) else {
                // It was put there by the same command and is not known yet: nothing is lost by looking at it as it is.
                let (changed, result) = change(&mut queue);
                return (changed, Ok(Some(result)));
            };
            if epoch != policies.epoch() {
                let rules = policies.rules(key.name, queue.options());
                queue.set_rules(rules);
                if let Some(place) = places.get_mut(uid) {
                    place.rules_epoch = policies.epoch();
                }
            }
            let (before, front_ms) = (queue.figures(), queue.front_ms());
            let (changed, result) = change(&mut queue);
            let after = queue.figures();
            places.totals.moved(before, after);
            bodies.note(ground.db, uid, after.bytes - after.away_bytes);
            if queue.front_ms() != front_ms {
                places.set_front(uid, queue.front_ms());
            }
            places.alarm(uid, queue.first_due().map(|(ms, ..)| ms));
            (changed, Ok(Some(result)))
        })
    }

    /// Counts something that happened in a queue, there and among all.
    fn count(&mut self, ground: &mut Ground<'_>, name: &[u8], count: impl Fn(&mut Counters)) -> Result<(), Error> {
        count(&mut self.happened.messages);
        let key = ground.store.key(name);
        self.change(ground, key, |queue| {
            count(queue.counters_mut());
            (false, ())
        })?;
        Ok(())
    }

    /// When a block of a stream is full that an exchange adds messages to.
    pub fn set_stream_limits(&mut self, limits: NodeLimits) {
        self.stream_limits = limits;
    }

    /// Since when the ready message has been waiting that waits the longest, in Unix ms. O(number of databases).
    pub fn front_ms(&self) -> Option<u64> {
        self.databases.iter().filter_map(Places::first_front_ms).min()
    }

    /// Takes note of queues and exchanges that have appeared or gone, by whatever command. What follows from that is done:
    /// bindings that lead nowhere end, and with the last of them perhaps their exchange.
    pub fn note_changes(&mut self, store: &mut Store, effects: &mut Effects) {
        if !store.has_broker_changes() {
            return;
        }
        self.note_each(store, effects);
        for (db, places) in self.databases.iter().enumerate() {
            store.set_broker_keys(db, places.queues() + places.exchanges());
        }
    }

    fn note_each(&mut self, store: &mut Store, effects: &mut Effects) {
        while store.has_broker_changes() {
            for change in store.take_broker_changes() {
                match change {
                    BrokerChange::Appeared { db, name } => self.note_appeared(store, db, &name),
                    BrokerChange::GoneQueue { uid, figures } => {
                        let Some((db, place)) = self.remove_place(uid) else { continue };
                        self.places(db).totals.moved(figures, Figures::default());
                        let mut ground = Ground { store: &mut *store, effects: &mut *effects, db };
                        self.end_bindings_to(&mut ground, Target::Queue, &place.name);
                        self.end_audience(uid, place, "deleted");
                    }
                    BrokerChange::GoneExchange { uid, destinations } => {
                        let Some((db, place)) = self.remove_place(uid) else { continue };
                        for (target, name) in destinations {
                            self.places(db).leads_no_more(&place.name, target, &name);
                            self.hold_name(store, db, &name);
                        }
                        let mut ground = Ground { store: &mut *store, effects: &mut *effects, db };
                        self.end_bindings_to(&mut ground, Target::Exchange, &place.name);
                    }
                    BrokerChange::Flushed { db } => {
                        self.end_audiences(db, "deleted");
                        let places = std::mem::take(self.places(db));
                        store.discard_elsewhere(Box::new(places));
                    }
                    BrokerChange::Swapped { a, b } => {
                        self.places(a.max(b));
                        self.databases.swap(a, b);
                        self.tasks.swap(a, b);
                        self.cancel_swapped(a, b);
                    }
                }
            }
        }
    }

    /// Forgets a place, wherever it is.
    fn remove_place(&mut self, uid: u64) -> Option<(usize, places::Place)> {
        self.databases.iter_mut().enumerate().find_map(|(db, places)| Some((db, places.remove(uid)?)))
    }

    fn note_appeared(&mut self, store: &mut Store, db: usize, name: &[u8]) {
        for to in self.register(store, db, name) {
            self.hold_name(store, db, &to);
        }
    }

    /// Takes note of where a queue or an exchange is. Gives what an exchange leads to.
    fn register(&mut self, store: &mut Store, db: usize, name: &[u8]) -> Vec<Box<[u8]>> {
        let key = store.key(name);
        let now_ms = now_ms(store);
        let Some(mut entry) = store.db(db).get_mut(key) else { return Vec::new() };
        let mut value = entry.value_mut_unheard();
        if let Some(mut queue) = value.queue_mut() {
            if queue.uid() == 0 {
                self.last_uid += 1;
                queue.set_uid(self.last_uid);
                let rules = self.policies.rules(name, queue.options());
                queue.set_rules(rules);
            }
            let (uid, figures) = (queue.uid(), queue.figures());
            let due = queue.first_due().map(|(ms, ..)| ms);
            let front_ms = queue.front_ms();
            let epoch = self.policies.epoch();
            let expires_ms = queue.rules().expires_ms;
            let places = self.places(db);
            if places.get(uid).is_none() {
                places.totals.moved(Default::default(), figures);
            }
            places.put(uid, name, PlaceKind::Queue, now_ms);
            if let Some(place) = places.get_mut(uid) {
                place.rules_epoch = epoch;
            }
            places.set_front(uid, front_ms);
            self.bodies.note(db, uid, figures.bytes - figures.away_bytes);
            let places = self.places(db);
            places.alarm(uid, due);
            places.alarm(uid, expires_ms.map(|ms| now_ms.saturating_add(ms)));
        } else if let Some(mut exchange) = value.exchange_mut() {
            if exchange.uid() == 0 {
                self.last_uid += 1;
                exchange.set_uid(self.last_uid);
            }
            let (uid, is_untidy) = (exchange.uid(), exchange.is_untidy());
            let destinations: Vec<(Target, Box<[u8]>)> =
                exchange.destinations().map(|(target, name)| (target, name.into())).collect();
            let destinations_of: Vec<Box<[u8]>> = destinations.iter().map(|(_, to)| to.clone()).collect();
            let places = self.places(db);
            let old = places.get(uid).map(|place| Arc::clone(&place.name));
            places.put(uid, name, PlaceKind::Exchange, now_ms);
            for (target, to) in destinations {
                if let Some(old) = &old {
                    places.leads_no_more(old, target, &to);
                }
                places.leads(name, target, &to);
            }
            if is_untidy {
                self.tidies(uid);
            }
            return destinations_of;
        }
        Vec::new()
    }

    /// Ends every binding that leads to a name. Where those of an exchange are many, they are taken out of it later.
    fn end_bindings_to(&mut self, ground: &mut Ground<'_>, target: Target, name: &[u8]) {
        let sources = self.places(ground.db).take_sources(target, name);
        for source in &sources {
            let key = ground.store.key(source);
            let Some(mut entry) = ground.store.db(ground.db).get_mut(key) else { continue };
            let (uid, emptied, is_untidy) = {
                let mut value = entry.value_mut();
                let Some(mut exchange) = value.exchange_mut() else { continue };
                let ended = exchange.end_all(target, name, ENDED_AT_ONCE);
                let emptied = ended > 0 && exchange.is_empty() && exchange.options().auto_delete;
                (exchange.uid(), emptied, exchange.is_untidy())
            };
            if emptied {
                entry.remove();
                ground.event("mq.exchange.delete", source);
            } else if is_untidy {
                self.tidies(uid);
            }
        }
        if !sources.is_empty() {
            self.hold_name(ground.store, ground.db, name);
        }
    }

    /// Bindings of an exchange have ended that are to be taken out.
    fn tidies(&mut self, uid: u64) {
        self.untidy.insert(uid);
    }

    /// Takes some bindings out that have ended. Gives the database in which that was; `None` if there are none.
    pub fn tidy_bindings(&mut self, store: &mut Store, effects: &mut Effects) -> Option<usize> {
        let uid = self.untidy.pop_first()?;
        let place = self.databases.iter().enumerate().find_map(|(db, places)| Some((db, places.get(uid)?)));
        // It may be gone itself.
        let Some((db, place)) = place else { return Some(0) };
        effects.feed_nothing();
        let key = store.key(&place.name);
        let goes_on = store.db(db).get_mut(key).is_some_and(|mut entry| {
            let mut value = entry.value_mut_unheard();
            value.exchange_mut().is_some_and(|mut exchange| exchange.uid() == uid && exchange.tidy(TIDIED_A_STEP))
        });
        if goes_on {
            self.untidy.insert(uid);
        }
        Some(db)
    }

    /// Whether there are such bindings.
    pub fn is_untidy(&self) -> bool {
        !self.untidy.is_empty()
    }

    /// Whether a key must keep its name may have changed.
    fn hold_name(&mut self, store: &mut Store, db: usize, name: &[u8]) {
        let places = self.places(db);
        let consumed = places.queue(name).and_then(|uid| places.get(uid)).is_some_and(places::Place::has_consumers);
        let led_to = [Target::Queue, Target::Exchange].iter().any(|target| places.is_led_to(*target, name));
        store.hold_name(db, name, consumed || led_to);
    }

    /// Whether there are messages for channels.
    #[inline]
    pub fn has_for_channels(&self) -> bool {
        !self.for_channels.is_empty()
    }

    /// Messages for channels, since the last call.
    pub fn take_for_channels(&mut self) -> Vec<ForChannel> {
        std::mem::take(&mut self.for_channels)
    }
}
