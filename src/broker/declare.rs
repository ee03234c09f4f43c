//! Queues, exchanges and bindings are made and removed, and policies set.

use super::Broker;
use super::places::PlaceKind;
use super::policies::Policy;
use crate::command::effects::Effects;
use crate::command::error::Error;
use crate::command::ground::{Ground, now_ms};
use crate::store::{Big, Store};
use std::sync::Arc;
use weir_structs::exchange::{Binding, Exchange, ExchangeOptions, Target};
use weir_structs::glob::GlobPattern;
use weir_structs::queue::{Counters, Paused, Queue, QueueOptions};

impl Broker {
    /// Makes a queue at a key where there is nothing. `owner` is the client that alone may use it.
    pub fn declare_queue(&mut self, ground: &mut Ground<'_>, name: &[u8], options: QueueOptions, owner: Option<u64>) {
        let now_ms = ground.now_ms();
        let rules = self.policies.rules(name, &options);
        let queue = Queue::new(options, rules, now_ms);
        let key = ground.store.key(name);
        ground.store.db(ground.db).put_big(key, Big::Queue(Box::new(queue)));
        ground.effects.changed(1);
        ground.event("mq.queue.declare", name);
        self.note_changes(ground.store, ground.effects);
        let uid = self.places(ground.db).queue(name);
        if let Some(place) = uid.and_then(|uid| self.places(ground.db).get_mut(uid)) {
            place.owner = owner;
        }
        if let Some((uid, owner)) = uid.zip(owner) {
            self.owned.entry(owner).or_default().push((ground.db, uid));
        }
    }

    /// The client that alone may use a queue.
    #[inline]
    pub fn owner(&self, db: usize, name: &[u8]) -> Option<u64> {
        if self.owned.is_empty() {
            return None;
        }
        let places = self.databases.get(db)?;
        places.get(places.queue(name)?)?.owner
    }

    /// Removes a queue that belonged to a client that is gone. Gives the database in which that was; `None` if there is none.
    pub fn remove_orphan(&mut self, store: &mut Store, effects: &mut Effects) -> Option<usize> {
        let (db, uid) = self.orphans.pop()?;
        let name = self.places(db).get(uid).map(|place| Arc::clone(&place.name));
        if let Some(name) = name {
            let mut ground = Ground { store, effects, db };
            ground.effects.feed_nothing();
            self.delete(&mut ground, &name, PlaceKind::Queue);
        }
        Some(db)
    }

    /// Whether queues of clients that are gone are to be removed.
    pub fn has_orphans(&self) -> bool {
        !self.orphans.is_empty()
    }

    /// Data were loaded. Whoever held messages or had queues for himself is of another time: what was held is ready, and those
    /// queues go.
    pub fn loaded(&mut self, store: &mut Store) {
        let now_ms = now_ms(store);
        for (db, places) in self.databases.iter_mut().enumerate() {
            let queues: Vec<_> =
                places.names_from(PlaceKind::Queue, b"").map(|(name, uid)| (Arc::clone(name), uid)).collect();
            for (name, uid) in queues {
                let key = store.key(&name);
                let Some(mut entry) = store.db(db).get_mut(key) else { continue };
                let mut value = entry.value_mut_unheard();
                let Some(mut queue) = value.queue_mut() else { continue };
                let before = queue.figures();
                queue.restarted();
                places.totals.moved(before, queue.figures());
                places.set_front(uid, queue.front_ms());
                // What was due for messages that are gone since is due no more.
                places.forget_alarm(uid);
                places.alarm(uid, queue.first_due().map(|(ms, ..)| ms));
                places.alarm(uid, queue.rules().expires_ms.map(|ms| now_ms.saturating_add(ms)));
                if queue.options().exclusive && places.get(uid).is_some_and(|place| place.owner.is_none()) {
                    self.orphans.push((db, uid));
                }
            }
        }
    }

    /// Makes an exchange at a key where there is nothing.
    pub fn declare_exchange(&mut self, ground: &mut Ground<'_>, name: &[u8], options: ExchangeOptions) {
        let exchange = Exchange::new(options, ground.now_ms());
        let key = ground.store.key(name);
        ground.store.db(ground.db).put_big(key, Big::Exchange(Box::new(exchange)));
        ground.effects.changed(1);
        ground.event("mq.exchange.declare", name);
        self.note_changes(ground.store, ground.effects);
    }

    /// Removes a queue or an exchange, as DEL does.
    pub fn delete(&mut self, ground: &mut Ground<'_>, name: &[u8], kind: PlaceKind) {
        let key = ground.store.key(name);
        ground.store.db(ground.db).remove(key);
        ground.effects.changed(1);
        ground.effects.feed_as(&[b"DEL", name]);
        let event = match kind {
            PlaceKind::Queue => "mq.queue.delete",
            PlaceKind::Exchange => "mq.exchange.delete",
        };
        ground.event(event, name);
        self.note_changes(ground.store, ground.effects);
    }

    /// Binds something to an exchange. Says whether that is new.
    ///
    /// # Errors
    /// There is no such exchange, or nothing of that kind to be bound; the binding is impossible.
    pub fn bind(&mut self, ground: &mut Ground<'_>, source: &[u8], binding: &Binding<'_>) -> Result<bool, Error> {
        match binding.target {
            Target::Queue if ground.queue(binding.name)?.is_none() => return Err(Error::mq_no_queue(binding.name)),
            Target::Exchange if ground.exchange(binding.name)?.is_none() => {
                return Err(Error::mq_no_exchange(binding.name));
            }
            _ => {}
        }
        let key = ground.store.key(source);
        let Some(mut entry) = ground.store.db(ground.db).get_mut(key) else {
            return Err(Error::mq_no_exchange(source));
        };
        let new = entry.try_change(|value| {
            let Some(mut exchange) = value.exchange_mut() else { return (false, Err(Error::WRONG_TYPE)) };
            let bound = exchange.bind(binding).map_err(|error| Error::mq_precondition(error.text()));
            (bound == Ok(true), bound)
        })?;
        if new {
            self.places(ground.db).leads(source, binding.target, binding.name);
            self.hold_name(ground.store, ground.db, binding.name);
            ground.effects.changed(1);
            ground.event("mq.bind", source);
        }
        Ok(new)
    }

    /// Ends a binding. Says whether there was one.
    ///
    /// # Errors
    /// There is no such exchange.
    pub fn unbind(&mut self, ground: &mut Ground<'_>, source: &[u8], binding: &Binding<'_>) -> Result<bool, Error> {
        let key = ground.store.key(source);
        let Some(mut entry) = ground.store.db(ground.db).get_mut(key) else {
            return Err(Error::mq_no_exchange(source));
        };
        let (was, leads, emptied) = entry.try_change(|value| {
            let Some(mut exchange) = value.exchange_mut() else { return (false, Err(Error::WRONG_TYPE)) };
            let was = exchange.unbind(binding);
            let leads = exchange.is_bound_to(binding.target, binding.name);
            (was, Ok((was, leads, exchange.is_empty() && exchange.options().auto_delete)))
        })?;
        if !was {
            return Ok(false);
        }
        if !leads {
            self.places(ground.db).leads_no_more(source, binding.target, binding.name);
            self.hold_name(ground.store, ground.db, binding.name);
        }
        ground.effects.changed(1);
        ground.event("mq.unbind", source);
        if emptied {
            let key = ground.store.key(source);
            ground.store.db(ground.db).remove(key);
            ground.event("mq.exchange.delete", source);
            self.note_changes(ground.store, ground.effects);
        }
        Ok(true)
    }

    /// Closes ways of a queue, or opens them.
    ///
    /// # Errors
    /// There is no such queue.
    pub fn pause(&mut self, ground: &mut Ground<'_>, name: &[u8], paused: Paused) -> Result<(), Error> {
        let key = ground.store.key(name);
        let changed = self.change(ground, key, |queue| {
            let changed = queue.paused() != paused;
            queue.set_paused(paused);
            (changed, changed)
        })?;
        if changed.ok_or_else(|| Error::mq_no_queue(name))? {
            ground.effects.changed(1);
            ground.event("mq.queue.pause", name);
            self.has_news(ground, name)?;
        }
        Ok(())
    }

    /// Names of queues, or of exchanges, that match a pattern, in order, at most `count` of them.
    pub fn names(&self, db: usize, kind: PlaceKind, pattern: &GlobPattern, count: usize) -> Vec<Arc<[u8]>> {
        let Some(places) = self.databases.get(db) else { return Vec::new() };
        let names = places.names_from(kind, b"").map(|(name, _)| name);
        names.filter(|name| pattern.matches(name)).take(count).cloned().collect()
    }

    /// Exchanges that lead to something, in the order of their names.
    pub fn sources(&self, db: usize, target: Target, name: &[u8]) -> Vec<Arc<[u8]>> {
        self.databases.get(db).map_or_else(Vec::new, |places| places.sources(target, name))
    }

    /// Sets a policy. It is in force for a queue from the next time on that this is used.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policies.set(policy);
    }

    /// Removes a policy. Says whether there was one.
    pub fn remove_policy(&mut self, name: &[u8]) -> bool {
        self.policies.remove(name)
    }

    /// All policies, by name.
    pub fn policies(&self) -> impl Iterator<Item = &Policy> {
        self.policies.iter()
    }

    /// The names of the policy, and of the operator policy, that are in force for a queue.
    pub fn policy_names(&self, queue: &[u8]) -> (Option<&[u8]>, Option<&[u8]>) {
        let (policy, operator) = self.policies.of_queue(queue);
        (policy.map(|it| &*it.name), operator.map(|it| &*it.name))
    }

    /// A publisher was told that its message went nowhere.
    pub fn count_returned(&mut self) {
        self.happened.unroutable += 1;
    }

    /// What has happened since the start.
    pub fn happened(&self) -> super::Happened {
        self.happened
    }

    /// Counts anew what happens; queues keep their own counts.
    pub fn reset_happened(&mut self) {
        self.happened = super::Happened::default();
    }

    /// How many queues, exchanges there are, and what is in all queues.
    pub fn totals(&self) -> (usize, usize, super::Totals) {
        let mut totals = super::Totals::default();
        for places in &self.databases {
            totals.add(places.totals);
        }
        let queues = self.databases.iter().map(super::Places::queues).sum();
        let exchanges = self.databases.iter().map(super::Places::exchanges).sum();
        (queues, exchanges, totals)
    }

    /// Messages a second that were published, delivered and settled, between the last two times that somebody asked.
    pub fn rates(&mut self, db: usize, uid: u64, counters: &Counters, now_ms: u64) -> [f64; 3] {
        let Some(place) = self.databases.get_mut(db).and_then(|places| places.get_mut(uid)) else { return [0.0; 3] };
        place.rates([counters.published, counters.delivered, counters.acked], now_ms)
    }
}
