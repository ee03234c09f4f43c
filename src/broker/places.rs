//! Where queues and exchanges are: by name, by number, and which exchanges lead to which of them.
//!
//! The values themselves are entries of the store, as any other. The store says when one appears or goes, whichever command
//! made that happen; what is known here follows it.

use super::totals::Totals;
use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use weir_structs::exchange::Target;

/// A queue or an exchange that is there.
#[derive(Debug)]
pub(super) struct Place {
    /// Its key.
    pub(super) name: Arc<[u8]>,
    /// What it is.
    pub(super) kind: PlaceKind,
    /// When somebody is to look at it next, in Unix ms.
    alarm_ms: Option<u64>,
    /// Since when its foremost message has been waiting, in Unix ms.
    front_ms: Option<u64>,
    /// The state of the policies that its rules come from.
    pub(super) rules_epoch: u64,
    /// When it was last used, in Unix ms: that is what EXPIRES counts from.
    pub(super) used_ms: u64,
    /// The client that alone may use it, of an exclusive queue.
    pub(super) owner: Option<u64>,
    /// What INFO has last seen of its counters, and when.
    rates: Option<Box<Rates>>,
    /// Who is sent its messages; `None` for nobody ever.
    pub(super) audience: Option<Box<super::consumers::Audience>>,
}

/// Counters at a moment.
#[derive(Clone, Copy, Default, Debug)]
struct Rates {
    at_ms: u64,
    counters: [u64; 3],
    rates: [f64; 3],
}

/// Rates are counted over at least so many ms.
const RATE_MS: u64 = 1_000;

impl Place {
    /// How fast counters have grown between the last two times that somebody asked, a second of time at least apart.
    pub(super) fn rates(&mut self, counters: [u64; 3], now_ms: u64) -> [f64; 3] {
        let last = self.rates.get_or_insert_default();
        let passed_ms = now_ms.saturating_sub(last.at_ms);
        if passed_ms >= RATE_MS {
            let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 * 1000.0 / passed_ms as f64;
            let grown = [0, 1, 2].map(|at: usize| rate(counters[at], last.counters[at]));
            **last = Rates { at_ms: now_ms, counters, rates: if last.at_ms == 0 { [0.0; 3] } else { grown } };
        }
        last.rates
    }
}

/// What is at a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PlaceKind {
    /// A queue.
    Queue,
    /// An exchange.
    Exchange,
}

/// Something that an exchange leads to.
type Destination = (Target, Arc<[u8]>);
pub(super) type Names = BTreeSet<Arc<[u8]>>;

/// Queues and exchanges of one database.
#[derive(Debug, Default)]
pub(super) struct Places {
    by_uid: HashMap<u64, Place, foldhash::fast::FixedState>,
    queues: BTreeMap<Arc<[u8]>, u64>,
    exchanges: BTreeMap<Arc<[u8]>, u64>,
    /// Exchanges that have bindings to a queue or to an exchange.
    sources: BTreeMap<Destination, Names>,
    alarms: BTreeSet<(u64, u64)>,
    /// Queues with ready messages, by how long the foremost has been waiting.
    fronts: BTreeSet<(u64, u64)>,
    /// What is in all queues.
    pub(super) totals: Totals,
}

impl Places {
    /// What has this number.
    #[inline]
    pub(super) fn get(&self, uid: u64) -> Option<&Place> {
        self.by_uid.get(&uid)
    }

    /// The same, to be changed.
    #[inline]
    pub(super) fn get_mut(&mut self, uid: u64) -> Option<&mut Place> {
        self.by_uid.get_mut(&uid)
    }

    fn names_mut(&mut self, kind: PlaceKind) -> &mut BTreeMap<Arc<[u8]>, u64> {
        match kind {
            PlaceKind::Queue => &mut self.queues,
            PlaceKind::Exchange => &mut self.exchanges,
        }
    }

    /// The number of the queue with this name.
    pub(super) fn queue(&self, name: &[u8]) -> Option<u64> {
        self.queues.get(name).copied()
    }

    /// How many queues there are.
    pub(super) fn queues(&self) -> usize {
        self.queues.len()
    }

    /// The numbers of all queues.
    pub(super) fn queue_uids(&self) -> impl Iterator<Item = u64> + '_ {
        self.queues.values().copied()
    }

    /// How many exchanges there are.
    pub(super) fn exchanges(&self) -> usize {
        self.exchanges.len()
    }

    /// Names from one on, in order, with their numbers.
    pub(super) fn names_from<'p>(
        &'p self,
        kind: PlaceKind,
        from: &'p [u8],
    ) -> impl Iterator<Item = (&'p Arc<[u8]>, u64)> {
        let names = match kind {
            PlaceKind::Queue => &self.queues,
            PlaceKind::Exchange => &self.exchanges,
        };
        names.range::<[u8], _>((Bound::Included(from), Bound::Unbounded)).map(|(name, uid)| (name, *uid))
    }

    /// Something is at a name from now on, also if it was at another one before.
    pub(super) fn put(&mut self, uid: u64, name: &[u8], kind: PlaceKind, now_ms: u64) {
        let name: Arc<[u8]> = name.into();
        if let Some(place) = self.by_uid.get_mut(&uid) {
            let old = std::mem::replace(&mut place.name, Arc::clone(&name));
            self.names_mut(kind).remove(&old);
        } else {
            let place = Place {
                name: Arc::clone(&name),
                kind,
                alarm_ms: None,
                front_ms: None,
                rules_epoch: 0,
                used_ms: now_ms,
                owner: None,
                rates: None,
                audience: None,
            };
            self.by_uid.insert(uid, place);
        }
        self.names_mut(kind).insert(name, uid);
    }

    /// Something is gone.
    pub(super) fn remove(&mut self, uid: u64) -> Option<Place> {
        let place = self.by_uid.remove(&uid)?;
        if let Some(ms) = place.alarm_ms {
            self.alarms.remove(&(ms, uid));
        }
        if let Some(ms) = place.front_ms {
            self.fronts.remove(&(ms, uid));
        }
        let names = self.names_mut(place.kind);
        if names.get(&place.name) == Some(&uid) {
            names.remove(&place.name);
        }
        Some(place)
    }

    /// Sees to it that somebody looks at a place at a moment, or earlier.
    #[inline]
    pub(super) fn alarm(&mut self, uid: u64, at_ms: Option<u64>) {
        let (Some(at_ms), Some(place)) = (at_ms, self.by_uid.get_mut(&uid)) else { return };
        if place.alarm_ms.is_none_or(|known| at_ms < known) {
            if let Some(known) = place.alarm_ms.replace(at_ms) {
                self.alarms.remove(&(known, uid));
            }
            self.alarms.insert((at_ms, uid));
        }
    }

    /// Nobody is to look at a place any more.
    pub(super) fn forget_alarm(&mut self, uid: u64) {
        if let Some(at_ms) = self.by_uid.get_mut(&uid).and_then(|place| place.alarm_ms.take()) {
            self.alarms.remove(&(at_ms, uid));
        }
    }

    /// Since when the foremost message of a queue has been waiting, if there is one.
    pub(super) fn set_front(&mut self, uid: u64, front_ms: Option<u64>) {
        let Some(place) = self.by_uid.get_mut(&uid) else { return };
        if let Some(before) = std::mem::replace(&mut place.front_ms, front_ms) {
            self.fronts.remove(&(before, uid));
        }
        self.fronts.extend(front_ms.map(|ms| (ms, uid)));
    }

    /// Since when the message has been waiting that waits the longest.
    pub(super) fn first_front_ms(&self) -> Option<u64> {
        self.fronts.first().map(|(ms, _)| *ms)
    }

    /// When somebody is to look at a place next.
    pub(super) fn next_alarm_ms(&self) -> Option<u64> {
        self.alarms.first().map(|(ms, _)| *ms)
    }

    /// A place whose moment has come; it has no alarm then.
    pub(super) fn take_alarm(&mut self, now_ms: u64) -> Option<u64> {
        let &(at_ms, uid) = self.alarms.first()?;
        if at_ms > now_ms {
            return None;
        }
        self.alarms.pop_first();
        if let Some(place) = self.by_uid.get_mut(&uid) {
            place.alarm_ms = None;
        }
        Some(uid)
    }

    /// An exchange has a binding to something from now on.
    pub(super) fn leads(&mut self, exchange: &[u8], target: Target, name: &[u8]) {
        // Nobody asks who leads to a stream or a channel.
        if matches!(target, Target::Stream | Target::Channel) {
            return;
        }
        self.sources.entry((target, name.into())).or_default().insert(exchange.into());
    }

    /// It has none any more.
    pub(super) fn leads_no_more(&mut self, exchange: &[u8], target: Target, name: &[u8]) {
        let key = (target, Arc::from(name));
        if let Some(from) = self.sources.get_mut(&key) {
            from.remove(exchange);
            if from.is_empty() {
                self.sources.remove(&key);
            }
        }
    }

    /// Nothing leads to something any more. Gives what did, in the order of names.
    pub(super) fn take_sources(&mut self, target: Target, name: &[u8]) -> Names {
        self.sources.remove(&(target, Arc::from(name))).unwrap_or_default()
    }

    /// Whether any exchange leads to something.
    pub(super) fn is_led_to(&self, target: Target, name: &[u8]) -> bool {
        self.sources.contains_key(&(target, Arc::from(name)))
    }

    /// Exchanges that lead to something, in the order of their names.
    pub(super) fn sources(&self, target: Target, name: &[u8]) -> Vec<Arc<[u8]>> {
        self.sources.get(&(target, Arc::from(name))).map_or_else(Vec::new, |from| from.iter().cloned().collect())
    }
}
