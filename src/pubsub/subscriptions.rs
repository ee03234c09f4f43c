//! Subscriptions, from both sides: who gets a message, and what one subscribes to.
//!
//! ```text
//!  subscriber 7 ──► { topic 3 at 0, topic 9 at 2 }         topic 9 ──► [ 4, 5, 7 ]
//! ```
//!
//! Each side knows its place in the other, so that a subscription is found, made and ended in constant time, however many
//! others there are. A subscription costs 4 bytes at its topic and 8 at its subscriber, and what the tables leave empty.
//!
//! What must stay true: subscriber `s` has topic `t` with place `p` exactly if `t`'s subscriber number `p` is `s`.

use super::pattern_index::{PatternIndex, PatternPlace};
use super::topics::{Left, Subscriber, TopicId, Topics, slim};
use hashbrown::HashTable;

/// What is subscribed to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A channel by its name (SUBSCRIBE).
    Channel,
    /// All channels that a pattern matches (PSUBSCRIBE).
    Pattern,
    /// A shard channel (SSUBSCRIBE).
    Shard,
}

/// How much one subscribes to.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Channels.
    pub channels: usize,
    /// Patterns.
    pub patterns: usize,
    /// Shard channels.
    pub shards: usize,
}

impl Counts {
    /// All together.
    pub fn total(self) -> usize {
        self.channels + self.patterns + self.shards
    }
}

/// Those who subscribe to one name, as a publisher sees them.
#[derive(Clone, Copy, Debug)]
pub struct Audience<'s> {
    /// The name.
    pub name: &'s [u8],
    /// In no particular order.
    pub subscribers: &'s [Subscriber],
    /// Two audiences with the same key are the same.
    pub key: AudienceKey,
}

/// What tells an [`Audience`] from others, and from itself when it was another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AudienceKey {
    kind: Kind,
    topic: TopicId,
    changes: u64,
}

/// One side of a subscription.
#[derive(Clone, Copy, Debug)]
struct Subscription {
    topic: TopicId,
    /// The subscriber's place among the topic's.
    at: u32,
}

/// Up to so many are found by a look at each.
const FEW_MAX: usize = 16;

/// What one subscribes to, of one kind.
#[derive(Debug)]
enum Subscriptions {
    /// In the order in which they were made.
    Few(Vec<Subscription>),
    /// By topic.
    Many(HashTable<Subscription>),
}

impl Default for Subscriptions {
    fn default() -> Subscriptions {
        Subscriptions::Few(Vec::new())
    }
}

impl Subscriptions {
    fn len(&self) -> usize {
        match self {
            Subscriptions::Few(few) => few.len(),
            Subscriptions::Many(many) => many.len(),
        }
    }

    fn contains(&self, topic: TopicId) -> bool {
        match self {
            Subscriptions::Few(few) => few.iter().any(|s| s.topic == topic),
            Subscriptions::Many(many) => many.find(topic.hash(), |s| s.topic == topic).is_some(),
        }
    }

    fn insert(&mut self, new: Subscription) {
        match self {
            Subscriptions::Few(few) if few.len() < FEW_MAX => few.push(new),
            Subscriptions::Few(few) => {
                let mut many = HashTable::with_capacity(2 * FEW_MAX);
                for &subscription in few.iter().chain([&new]) {
                    many.insert_unique(subscription.topic.hash(), subscription, |s| s.topic.hash());
                }
                *self = Subscriptions::Many(many);
            }
            Subscriptions::Many(many) => {
                many.insert_unique(new.topic.hash(), new, |s| s.topic.hash());
            }
        }
    }

    fn remove(&mut self, topic: TopicId) -> Option<Subscription> {
        match self {
            Subscriptions::Few(few) => {
                let at = few.iter().position(|s| s.topic == topic)?;
                Some(few.remove(at))
            }
            Subscriptions::Many(many) => {
                let (found, _) = many.find_entry(topic.hash(), |s| s.topic == topic).ok()?.remove();
                slim(many, |s| s.topic.hash());
                Some(found)
            }
        }
    }

    fn get_mut(&mut self, topic: TopicId) -> Option<&mut Subscription> {
        match self {
            Subscriptions::Few(few) => few.iter_mut().find(|s| s.topic == topic),
            Subscriptions::Many(many) => many.find_mut(topic.hash(), |s| s.topic == topic),
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Subscription> {
        let (few, many) = match self {
            Subscriptions::Few(few) => (few.as_slice(), None),
            Subscriptions::Many(many) => (&[][..], Some(many.iter())),
        };
        few.iter().chain(many.into_iter().flatten())
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Subscriptions::Few(few) => few.capacity() * size_of::<Subscription>(),
            Subscriptions::Many(many) => many.allocation_size(),
        }
    }
}

/// All that one subscribes to.
#[derive(Debug, Default)]
struct Held {
    channels: Subscriptions,
    patterns: Subscriptions,
    shards: Subscriptions,
}

impl Held {
    fn of(&self, kind: Kind) -> &Subscriptions {
        match kind {
            Kind::Channel => &self.channels,
            Kind::Pattern => &self.patterns,
            Kind::Shard => &self.shards,
        }
    }

    fn of_mut(&mut self, kind: Kind) -> &mut Subscriptions {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
            Kind::Shard => &mut self.shards,
        }
    }

    fn counts(&self) -> Counts {
        Counts { channels: self.channels.len(), patterns: self.patterns.len(), shards: self.shards.len() }
    }
}

/// All subscriptions of all subscribers.
#[derive(Debug)]
pub struct PubSub {
    channels: Topics<()>,
    patterns: Topics<PatternPlace>,
    shards: Topics<()>,
    index: PatternIndex,
    /// By subscriber.
    held: Vec<Option<Box<Held>>>,
    subscribers: usize,
    /// Counts every beginning and end of a subscription.
    changes: u64,
}

impl PubSub {
    /// Nobody subscribes. `hash_seed` keys the hash, so that clients cannot choose names that collide.
    pub fn new(hash_seed: u64) -> PubSub {
        PubSub {
            channels: Topics::new(hash_seed),
            patterns: Topics::new(hash_seed),
            shards: Topics::new(hash_seed),
            index: PatternIndex::new(hash_seed),
            held: Vec::new(),
            subscribers: 0,
            changes: 0,
        }
    }

    /// Subscribes. Says whether that is new.
    pub fn subscribe(&mut self, kind: Kind, subscriber: Subscriber, name: &[u8]) -> bool {
        let at = subscriber.0 as usize;
        if self.held.len() <= at {
            self.held.resize_with(at + 1, || None);
        }
        let held = self.held[at].get_or_insert_with(|| {
            self.subscribers += 1;
            Box::default()
        });
        let subscriptions = held.of_mut(kind);
        self.changes += 1;
        match kind {
            Kind::Channel => join(&mut self.channels, subscriptions, subscriber, name),
            Kind::Shard => join(&mut self.shards, subscriptions, subscriber, name),
            Kind::Pattern => match self.patterns.find(name) {
                Some(topic) => join_topic(&mut self.patterns, subscriptions, subscriber, topic),
                None => {
                    // The index wants the topic's number, and the topic wants to know where it is in the index.
                    let topic = self.patterns.create(name, subscriber, PatternPlace::default());
                    let place = self.index.add(name, topic);
                    if let Some(topic) = self.patterns.get_mut(topic) {
                        topic.extra = place;
                    }
                    subscriptions.insert(Subscription { topic, at: 0 });
                    true
                }
            },
        }
    }

    /// Ends a subscription. Says whether there was one.
    pub fn unsubscribe(&mut self, kind: Kind, subscriber: Subscriber, name: &[u8]) -> bool {
        let topic = match kind {
            Kind::Channel => self.channels.find(name),
            Kind::Pattern => self.patterns.find(name),
            Kind::Shard => self.shards.find(name),
        };
        let (Some(topic), Some(held)) = (topic, self.held_mut(subscriber)) else { return false };
        let Some(subscription) = held.of_mut(kind).remove(topic) else { return false };
        let nothing_left = held.counts().total() == 0;
        self.end(kind, subscription);
        if nothing_left {
            self.remove(subscriber);
        }
        true
    }

    /// Ends all subscriptions of a kind, giving the name of each to `f`.
    pub fn unsubscribe_all(&mut self, kind: Kind, subscriber: Subscriber, mut f: impl FnMut(&[u8])) {
        let Some(held) = self.held_mut(subscriber) else { return };
        let subscriptions = std::mem::take(held.of_mut(kind));
        let nothing_left = held.counts().total() == 0;
        for &subscription in subscriptions.iter() {
            let name = match kind {
                Kind::Channel => self.channels.get(subscription.topic).map(|topic| topic.name()),
                Kind::Pattern => self.patterns.get(subscription.topic).map(|topic| topic.name()),
                Kind::Shard => self.shards.get(subscription.topic).map(|topic| topic.name()),
            };
            f(name.unwrap_or_default());
            self.end(kind, subscription);
        }
        if nothing_left {
            self.remove(subscriber);
        }
    }

    /// Ends all that a subscriber has: it has gone.
    pub fn remove(&mut self, subscriber: Subscriber) {
        let Some(held) = self.held.get_mut(subscriber.0 as usize).and_then(Option::take) else { return };
        self.subscribers -= 1;
        for kind in [Kind::Channel, Kind::Pattern, Kind::Shard] {
            for &subscription in held.of(kind).iter() {
                self.end(kind, subscription);
            }
        }
        if self.subscribers == 0 {
            self.held = Vec::new();
        }
    }

    /// Removes the topic's side of a subscription whose other side is gone already.
    fn end(&mut self, kind: Kind, Subscription { topic, at }: Subscription) {
        self.changes += 1;
        let moved = match kind {
            Kind::Channel => self.channels.leave(topic, at).moved,
            Kind::Shard => self.shards.leave(topic, at).moved,
            Kind::Pattern => {
                let Left { moved, gone } = self.patterns.leave(topic, at);
                if let Some(gone) = gone
                    && let Some((other, place)) = self.index.remove(gone.name(), gone.extra)
                    && let Some(other) = self.patterns.get_mut(other)
                {
                    other.extra = place;
                }
                moved
            }
        };
        if let Some(moved) = moved
            && let Some(held) = self.held_mut(moved)
            && let Some(subscription) = held.of_mut(kind).get_mut(topic)
        {
            subscription.at = at;
        }
    }

    fn held(&self, subscriber: Subscriber) -> Option<&Held> {
        self.held.get(subscriber.0 as usize)?.as_deref()
    }

    fn held_mut(&mut self, subscriber: Subscriber) -> Option<&mut Held> {
        self.held.get_mut(subscriber.0 as usize)?.as_deref_mut()
    }

    /// How much one subscribes to.
    pub fn counts(&self, subscriber: Subscriber) -> Counts {
        self.held(subscriber).map_or(Counts::default(), Held::counts)
    }

    /// Names of what one subscribes to; of few in the order in which it did.
    pub fn names_of(&self, subscriber: Subscriber, kind: Kind) -> impl Iterator<Item = &[u8]> {
        let subscriptions = self.held(subscriber).map(|held| held.of(kind).iter());
        subscriptions.into_iter().flatten().filter_map(move |s| match kind {
            Kind::Channel => self.channels.get(s.topic).map(|topic| topic.name()),
            Kind::Pattern => self.patterns.get(s.topic).map(|topic| topic.name()),
            Kind::Shard => self.shards.get(s.topic).map(|topic| topic.name()),
        })
    }

    /// Bytes of heap behind a subscriber's side of its subscriptions.
    pub fn heap_bytes(&self, subscriber: Subscriber) -> usize {
        self.held(subscriber).map_or(0, |held| {
            size_of::<Held>() + held.channels.heap_bytes() + held.patterns.heap_bytes() + held.shards.heap_bytes()
        })
    }

    /// All subscribers.
    pub fn subscribers(&self) -> impl Iterator<Item = Subscriber> {
        self.held.iter().enumerate().filter(|(_, held)| held.is_some()).map(|(at, _)| Subscriber(at as u32))
    }

    /// Number of those who subscribe to anything.
    pub fn subscribers_len(&self) -> usize {
        self.subscribers
    }

    /// Whether nobody subscribes to anything.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.subscribers == 0
    }

    /// Number of different names of a kind that are subscribed to.
    pub fn len(&self, kind: Kind) -> usize {
        match kind {
            Kind::Channel => self.channels.len(),
            Kind::Pattern => self.patterns.len(),
            Kind::Shard => self.shards.len(),
        }
    }

    /// All names of a kind that are subscribed to, in no particular order.
    pub fn names(&self, kind: Kind) -> Box<dyn Iterator<Item = &[u8]> + '_> {
        match kind {
            Kind::Channel => Box::new(self.channels.iter().map(|topic| topic.name())),
            Kind::Pattern => Box::new(self.patterns.iter().map(|topic| topic.name())),
            Kind::Shard => Box::new(self.shards.iter().map(|topic| topic.name())),
        }
    }

    /// Who subscribes to just this name, in no particular order.
    pub fn subscribers_of(&self, kind: Kind, name: &[u8]) -> &[Subscriber] {
        match kind {
            Kind::Channel => of(&self.channels, name),
            Kind::Pattern => of(&self.patterns, name),
            Kind::Shard => of(&self.shards, name),
        }
    }

    /// The same for a publisher. `None` if there is nobody.
    pub fn audience(&self, kind: Kind, name: &[u8]) -> Option<Audience<'_>> {
        match kind {
            Kind::Channel => self.channels.find(name).and_then(|topic| self.audience_of(kind, &self.channels, topic)),
            Kind::Pattern => self.patterns.find(name).and_then(|topic| self.audience_of(kind, &self.patterns, topic)),
            Kind::Shard => self.shards.find(name).and_then(|topic| self.audience_of(kind, &self.shards, topic)),
        }
    }

    fn audience_of<'s, X>(&self, kind: Kind, topics: &'s Topics<X>, id: TopicId) -> Option<Audience<'s>> {
        let topic = topics.get(id)?;
        let key = AudienceKey { kind, topic: id, changes: self.changes };
        Some(Audience { name: topic.name(), subscribers: topic.subscribers(), key })
    }

    /// Whether a subscriber belongs to an audience, which is still what it was.
    pub fn is_among(&self, subscriber: Subscriber, audience: AudienceKey) -> bool {
        self.held(subscriber).is_some_and(|held| held.of(audience.kind).contains(audience.topic))
    }

    /// Gives those who subscribe to a pattern that a channel matches to `f`, pattern by pattern.
    pub fn matching<'s>(&'s self, channel: &[u8], mut f: impl FnMut(Audience<'s>)) {
        if self.patterns.len() == 0 {
            return;
        }
        let name_of = |topic| self.patterns.get(topic).map_or(&[][..], |topic| topic.name());
        self.index.matching(channel, name_of, |topic| {
            if let Some(audience) = self.audience_of(Kind::Pattern, &self.patterns, topic) {
                f(audience);
            }
        });
    }
}

fn join<X: Default>(
    topics: &mut Topics<X>,
    subscriptions: &mut Subscriptions,
    subscriber: Subscriber,
    name: &[u8],
) -> bool {
    match topics.find(name) {
        Some(topic) => join_topic(topics, subscriptions, subscriber, topic),
        None => {
            let topic = topics.create(name, subscriber, X::default());
            subscriptions.insert(Subscription { topic, at: 0 });
            true
        }
    }
}

fn join_topic<X>(
    topics: &mut Topics<X>,
    subscriptions: &mut Subscriptions,
    subscriber: Subscriber,
    topic: TopicId,
) -> bool {
    if subscriptions.contains(topic) {
        return false;
    }
    let at = topics.join(topic, subscriber);
    subscriptions.insert(Subscription { topic, at });
    true
}

fn of<'t, X>(topics: &'t Topics<X>, name: &[u8]) -> &'t [Subscriber] {
    topics.find(name).and_then(|topic| topics.get(topic)).map_or(&[], |topic| topic.subscribers())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};
    use std::collections::{BTreeMap, BTreeSet};
    use weir_structs::glob::glob_match;

    const KINDS: [Kind; 3] = [Kind::Channel, Kind::Pattern, Kind::Shard];

    type Model = BTreeMap<(u8, Vec<u8>), BTreeSet<u32>>;

    fn number(kind: Kind) -> u8 {
        kind as u8
    }

    /// What the room says of itself, told by its topics.
    fn seen(room: &PubSub) -> Model {
        let mut model = Model::new();
        for kind in KINDS {
            for name in room.names(kind) {
                let of = room.subscribers_of(kind, name).iter().map(|s| s.0).collect::<BTreeSet<_>>();
                assert_eq!(of.len(), room.subscribers_of(kind, name).len(), "nobody is there twice");
                assert!(model.insert((number(kind), name.to_vec()), of).is_none(), "no name is there twice");
            }
            assert_eq!(room.names(kind).count(), room.len(kind));
        }
        model
    }

    /// The same, told by its subscribers.
    fn held(room: &PubSub) -> Model {
        let mut model = Model::new();
        for subscriber in room.subscribers() {
            for kind in KINDS {
                for name in room.names_of(subscriber, kind) {
                    model.entry((number(kind), name.to_vec())).or_default().insert(subscriber.0);
                }
            }
        }
        model
    }

    fn matched(room: &PubSub, channel: &[u8]) -> BTreeMap<Vec<u8>, Vec<u32>> {
        let mut found = BTreeMap::new();
        room.matching(channel, |audience| {
            assert!(audience.subscribers.iter().all(|&subscriber| room.is_among(subscriber, audience.key)));
            let mut all: Vec<u32> = audience.subscribers.iter().map(|s| s.0).collect();
            all.sort_unstable();
            assert!(found.insert(audience.name.to_vec(), all).is_none(), "no pattern matches twice");
        });
        found
    }

    #[test]
    fn both_sides_agree_with_a_model_whatever_happens() {
        let mut rng = SmallRng::seed_from_u64(5);
        let pieces: [&[u8]; 10] = [b"a", b"b", b"*", b"?", b"[ab]", b"[^", b"\\", b"]", b"ab", b"-"];
        let mut names: Vec<Vec<u8>> = (0..120)
            .map(|_| (0..rng.random_range(0..5)).flat_map(|_| pieces[rng.random_range(0..10)].to_vec()).collect())
            .collect();
        names.push(vec![b'a'; 70]);
        names.push([vec![b'a'; 70], b"*".to_vec()].concat());
        names.push([b"*".to_vec(), vec![b'a'; 70]].concat());
        let mut room = PubSub::new(1);
        let mut model = Model::new();
        for step in 0..30_000 {
            let subscriber = rng.random_range(0..12);
            let kind = KINDS[rng.random_range(0..3)];
            let name = &names[rng.random_range(0..names.len())];
            let key = (number(kind), name.clone());
            match rng.random_range(0..100) {
                0 => {
                    room.remove(Subscriber(subscriber));
                    model.values_mut().for_each(|of| _ = of.remove(&subscriber));
                }
                1 => {
                    let mut ended = BTreeSet::new();
                    room.unsubscribe_all(kind, Subscriber(subscriber), |name| _ = ended.insert(name.to_vec()));
                    for ((_, name), of) in model.iter_mut().filter(|((of, _), _)| *of == number(kind)) {
                        assert_eq!(of.remove(&subscriber), ended.contains(name));
                    }
                }
                2..60 => {
                    let new = room.subscribe(kind, Subscriber(subscriber), name);
                    assert_eq!(new, model.entry(key).or_default().insert(subscriber));
                }
                _ => {
                    let was = room.unsubscribe(kind, Subscriber(subscriber), name);
                    assert_eq!(was, model.get_mut(&key).is_some_and(|of| of.remove(&subscriber)));
                }
            }
            model.retain(|_, of| !of.is_empty());
            if step % 100 == 0 {
                assert_eq!(seen(&room), model);
                assert_eq!(held(&room), model);
                for channel in names.iter().filter(|name| name.len() < 4 || name.len() == 70) {
                    let patterns = model.iter().filter(|((kind, _), _)| *kind == number(Kind::Pattern));
                    let expected = patterns.filter(|((_, pattern), _)| glob_match(pattern, channel, false));
                    let expected = expected.map(|((_, p), of)| (p.clone(), of.iter().copied().collect()));
                    assert_eq!(matched(&room, channel), expected.collect::<BTreeMap<_, _>>());
                }
            }
        }
    }

    #[test]
    fn nothing_is_left_when_everybody_has_gone() {
        let mut room = PubSub::new(1);
        for subscriber in 0..100 {
            for name in 0..100u32 {
                let name = format!("{}*{subscriber}", name * (subscriber % 3));
                for kind in KINDS {
                    room.subscribe(kind, Subscriber(subscriber), name.as_bytes());
                }
            }
        }
        assert_eq!(room.subscribers_len(), 100);
        for subscriber in (0..100).rev() {
            room.remove(Subscriber(subscriber));
        }
        assert!(room.is_empty());
        assert!(KINDS.iter().all(|&kind| room.len(kind) == 0));
        assert_eq!(room.index.groups(), 0);
        assert_eq!(room.held.capacity(), 0);
    }

    #[test]
    fn few_subscriptions_keep_their_order() {
        let mut room = PubSub::new(1);
        for name in ["c", "a", "b"] {
            room.subscribe(Kind::Channel, Subscriber(3), name.as_bytes());
        }
        room.unsubscribe(Kind::Channel, Subscriber(3), b"a");
        room.subscribe(Kind::Channel, Subscriber(3), b"a");
        assert_eq!(room.names_of(Subscriber(3), Kind::Channel).collect::<Vec<_>>(), [b"c", b"b", b"a"]);
    }

    #[test]
    fn a_channel_is_tried_only_against_patterns_that_share_its_anchor() {
        let mut room = PubSub::new(1);
        for n in 0..1000 {
            room.subscribe(Kind::Pattern, Subscriber(0), format!("user:{n}:*").as_bytes());
            room.subscribe(Kind::Pattern, Subscriber(0), format!("*:{n}").as_bytes());
        }
        let tried = std::cell::Cell::new(0);
        let name_of = |topic| {
            tried.set(tried.get() + 1);
            room.patterns.get(topic).map_or(&[][..], |topic| topic.name())
        };
        let mut found = 0;
        room.index.matching(b"user:77:5", name_of, |_| found += 1);
        assert_eq!((found, tried.get()), (2, 1), "of `user:77:*` it is known without a look");
    }

    #[test]
    fn a_topic_keeps_its_memory_only_while_it_has_subscribers() {
        let mut room = PubSub::new(1);
        for n in 0..20_000u32 {
            room.subscribe(Kind::Channel, Subscriber(0), &n.to_le_bytes());
        }
        let full = room.heap_bytes(Subscriber(0));
        for n in 1..20_000u32 {
            room.unsubscribe(Kind::Channel, Subscriber(0), &n.to_le_bytes());
        }
        assert!(room.heap_bytes(Subscriber(0)) < full / 16);
        assert_eq!(room.subscribers_of(Kind::Channel, &0u32.to_le_bytes()), [Subscriber(0)]);
    }
}
