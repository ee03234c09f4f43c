//! Frozen collections against plain copies of what they were.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::{FrozenHead, FrozenPart};
use crate::hash::{FieldDeadline, Hash};
use crate::keyspace::KeyHasher;
use crate::list::{Element, End, Limits, List};
use crate::set::Set;
use crate::stream::{
    NodeLimits, Pending, ProducersPart, References, Stream, StreamFigures, StreamId, StreamPart, Threshold, Trim,
};
use crate::testing::Rng;
use crate::zset::Zset;

/// How a collection changes while it is frozen.
#[derive(Clone, Copy, PartialEq)]
enum Trend {
    Grows,
    Stays,
    Shrinks,
}

impl Trend {
    fn of(rng: &mut Rng) -> Trend {
        [Trend::Grows, Trend::Stays, Trend::Shrinks][rng.below(3)]
    }

    /// Whether the next change is to remove something, or to add something new.
    fn next(self, rng: &mut Rng) -> (bool, bool) {
        let likely = rng.below(4) > 0;
        match self {
            Trend::Grows => (!likely, likely),
            Trend::Stays => (rng.below(3) == 0, rng.below(3) == 0),
            Trend::Shrinks => (likely, !likely),
        }
    }
}

/// Numbers of elements, up to some segments of a table.
fn size(rng: &mut Rng) -> usize {
    let most = 20 << rng.below(10);
    1 + rng.below(most)
}

fn name(number: usize) -> Vec<u8> {
    let mut name = format!("name:{number}").into_bytes();
    if number.is_multiple_of(97) {
        name.resize(600, b'.');
    }
    name
}

fn value(rng: &mut Rng) -> Vec<u8> {
    let len = match rng.below(200) {
        0 => 15_000 + rng.below(10_000),
        1..5 => 400 + rng.below(300),
        _ => rng.below(30),
    };
    vec![b'a' + rng.below(26) as u8; len]
}

type Fields = HashMap<Vec<u8>, (Vec<u8>, Option<i64>)>;

#[test]
fn a_hash_is_given_as_it_was() {
    for seed in 0..24 {
        let mut rng = Rng::new(seed);
        let mut hash = Hash::new(KeyHasher::new(seed));
        let mut model = Fields::new();
        let (mut names, with_deadlines) = (size(&mut rng), rng.below(2));
        let set = |hash: &mut Hash, model: &mut Fields, rng: &mut Rng, name: Vec<u8>| {
            let value = value(rng);
            let at_ms = (rng.below(3) < with_deadlines).then(|| rng.below(1_000) as i64);
            let deadline = at_ms.map_or(FieldDeadline::Clear, FieldDeadline::At);
            hash.set(hash.position(&name), &name, &value, deadline, i64::MIN);
            model.insert(name, (value, at_ms));
        };
        (0..names).for_each(|number| set(&mut hash, &mut model, &mut rng, name(number)));
        for round in 0..3 {
            hash.freeze(round);
            let frozen = model.clone();
            let least_deadline_ms = frozen.values().filter_map(|(_, at_ms)| *at_ms).min();
            assert_eq!(hash.frozen_head(), Some(FrozenHead::Hash { len: frozen.len(), least_deadline_ms }));
            let (trend, changes, budget) = (Trend::of(&mut rng), rng.below(60), 1 + rng.below(40));
            let mut given = Vec::new();
            let mut goes_on = true;
            while goes_on {
                assert_eq!(hash.frozen_ticket(), Some(round));
                for _ in 0..rng.below(changes + 1) {
                    let (is_removed, is_new) = trend.next(&mut rng);
                    names += usize::from(is_new);
                    let name = name(if is_new { names } else { rng.below(names) });
                    match rng.below(8) {
                        _ if is_removed => {
                            assert_eq!(hash.remove(hash.position(&name), &name), model.remove(&name).is_some());
                        }
                        0 if model.contains_key(&name) => {
                            let at_ms = (rng.below(2) == 0).then(|| rng.below(1_000) as i64);
                            hash.set_deadline(hash.position(&name), &name, at_ms);
                            model.get_mut(&name).unwrap().1 = at_ms;
                        }
                        1 => {
                            hash.take_due(rng.below(100) as i64, 3, &mut |field| drop(model.remove(field)));
                        }
                        _ => set(&mut hash, &mut model, &mut rng, name),
                    }
                }
                goes_on = hash.give_frozen(1 + rng.below(budget), &mut |part| {
                    let FrozenPart::Field { field, value, deadline_ms } = part else { panic!("{part:?}") };
                    given.push((field.to_vec(), (value.to_vec(), deadline_ms)));
                });
            }
            assert_eq!(given.len(), frozen.len());
            assert!(given.into_iter().collect::<Fields>() == frozen, "seed {seed}");
            assert_eq!(hash.frozen_ticket(), None);
            hash.check();
            assert_eq!(hash.len(), model.len());
        }
    }
}

#[test]
fn a_set_is_given_as_it_was() {
    for seed in 0..24 {
        let mut rng = Rng::new(seed);
        let mut set = Set::new(KeyHasher::new(seed));
        let mut names = size(&mut rng);
        (0..names).for_each(|number| set.add_absent(&name(number)));
        set.freeze(7);
        let copy = set.clone();
        assert_eq!((copy.frozen_ticket(), copy.frozen_head()), (None, None));
        assert_eq!(set.frozen_head(), Some(FrozenHead::Set { len: names }));
        let mut expected: Vec<Vec<u8>> = copy.members().iter().map(|member| member.key().to_vec()).collect();
        let (trend, changes, budget) = (Trend::of(&mut rng), rng.below(90), 1 + rng.below(40));
        let mut given = Vec::new();
        let mut goes_on = true;
        while goes_on {
            for _ in 0..rng.below(changes + 1) {
                let (is_removed, is_new) = trend.next(&mut rng);
                names += usize::from(is_new);
                let name = name(if is_new { names } else { rng.below(names) });
                match rng.below(3) {
                    0 if is_removed => {
                        set.pop(&mut || rng.next(), |_| ());
                    }
                    _ if is_removed => {
                        set.remove(&name);
                    }
                    _ => {
                        set.add(&name);
                    }
                }
            }
            goes_on = set.give_frozen(1 + rng.below(budget), &mut |part| {
                let FrozenPart::Member(member) = part else { panic!("{part:?}") };
                given.push(member.to_vec());
            });
        }
        given.sort();
        expected.sort();
        assert!(given == expected, "seed {seed}");
        set.members().check();
    }
}

#[test]
fn a_sorted_set_is_given_as_it_was() {
    for seed in 0..24 {
        let mut rng = Rng::new(seed);
        let mut zset = Zset::new(KeyHasher::new(seed));
        let (mut names, scores) = (size(&mut rng), 1 + rng.below(500));
        let score = |rng: &mut Rng| (rng.below(scores) as f64 - 100.0) / 4.0;
        (0..names).for_each(|number| zset.set(&name(number), score(&mut rng)));
        zset.freeze(7);
        assert_eq!(zset.frozen_head(), Some(FrozenHead::Zset { len: names }));
        let expected: BTreeMap<Vec<u8>, u64> =
            zset.iter_from(0).map(|(member, score)| (member.to_vec(), score.to_bits())).collect();
        let (trend, changes, budget) = (Trend::of(&mut rng), rng.below(90), 1 + rng.below(40));
        let (mut given, mut order) = (Vec::new(), Vec::new());
        let mut goes_on = true;
        let mut changed = 0;
        while goes_on {
            for _ in 0..rng.below(changes + 1) {
                changed += 1;
                let (is_removed, is_new) = trend.next(&mut rng);
                names += usize::from(is_new);
                let name = name(if is_new { names } else { rng.below(names) });
                match rng.below(20) {
                    0 if is_removed => {
                        let from = rng.below(zset.len() as usize + 1) as u64;
                        zset.remove_ranks(from..from + rng.below(60) as u64, |_, _| ());
                    }
                    _ if is_removed => {
                        zset.remove(&name);
                    }
                    _ => zset.set(&name, score(&mut rng)),
                }
            }
            goes_on = zset.give_frozen(1 + rng.below(budget), &mut |part| {
                let FrozenPart::Scored { member, score } = part else { panic!("{part:?}") };
                given.push((member.to_vec(), score.to_bits()));
                order.push((score, member.to_vec()));
            });
        }
        if changed == 0 {
            assert!(order.is_sorted_by(|higher, lower| higher > lower));
        }
        assert_eq!(given.len(), expected.len());
        assert!(given.into_iter().collect::<BTreeMap<_, _>>() == expected, "seed {seed}");
        zset.check();
    }
}

/// A list, and the same elements in a plain one.
struct Lists {
    list: List,
    model: VecDeque<Vec<u8>>,
    limits: Limits,
}

impl Lists {
    fn push(&mut self, end: End, value: Vec<u8>) {
        self.list.push(end, Element::Bytes(&value), &self.limits);
        match end {
            End::Front => self.model.push_front(value),
            End::Back => self.model.push_back(value),
        }
    }

    fn cut(&mut self, end: End, count: usize) {
        let count = count.min(self.model.len());
        drop(self.list.cut(end, count, &self.limits));
        match end {
            End::Front => drop(self.model.drain(..count)),
            End::Back => self.model.truncate(self.model.len() - count),
        }
    }

    fn change(&mut self, rng: &mut Rng, trend: Trend) {
        let end = if rng.below(2) == 0 { End::Front } else { End::Back };
        let (is_removed, is_new) = trend.next(rng);
        let len = self.model.len();
        let new = value(rng);
        let at = rng.below(len.max(1));
        match rng.below(12) {
            0 if is_removed => {
                let most = 1 << rng.below(12);
                let count = rng.below(most);
                self.cut(end, count);
            }
            1 if is_removed && len > 0 => {
                let sought = self.model[at].clone();
                let max = 1 + rng.below(3);
                self.list.remove_equal(&sought, End::Front, max, &self.limits);
                for _ in 0..max {
                    if let Some(at) = self.model.iter().position(|own| *own == sought) {
                        self.model.remove(at);
                    }
                }
            }
            _ if is_removed => {
                drop(self.list.pop(end, &self.limits, |_| ()));
                match end {
                    End::Front => self.model.pop_front(),
                    End::Back => self.model.pop_back(),
                };
            }
            2..4 if len > 0 => {
                let pivot = self.model[at].clone();
                assert!(self.list.insert_beside(&pivot, end, &new, &self.limits));
                let at = self.model.iter().position(|own| *own == pivot).unwrap();
                self.model.insert(at + usize::from(end == End::Back), new);
            }
            _ if len > 0 && !is_new => {
                assert!(self.list.set(at, &new, &self.limits));
                self.model[at] = new;
            }
            _ => self.push(end, new),
        }
    }
}

#[test]
fn a_list_is_given_as_it_was_and_in_order() {
    for seed in 0..150 {
        let mut rng = Rng::new(seed);
        let limits =
            Limits::new([-2, 1, 3, -1, 60][rng.below(5)], rng.below(3)).apart_from([1_000, 9_000][rng.below(2)]);
        let mut lists = Lists { list: List::new(), model: VecDeque::new(), limits };
        for _ in 0..size(&mut rng) / 4 + 1 {
            let end = if rng.below(4) == 0 { End::Front } else { End::Back };
            let value = value(&mut rng);
            lists.push(end, value);
        }
        for round in 0..3 {
            if lists.model.is_empty() {
                break;
            }
            lists.list.freeze(round);
            let Some(FrozenHead::List { len, chunks }) = lists.list.frozen_head() else { panic!("it is a list") };
            let frozen = lists.model.clone();
            assert_eq!(len, frozen.len());
            let (trend, changes, budget) = (Trend::of(&mut rng), rng.below(60), 1 + rng.below(40));
            let (mut given, mut parts) = (VecDeque::new(), 0);
            let mut goes_on = true;
            while goes_on {
                assert_eq!(lists.list.frozen_ticket(), Some(round));
                for _ in 0..rng.below(changes + 1) {
                    lists.change(&mut rng, trend);
                }
                if rng.below(50) == 0 {
                    lists.cut(End::Back, usize::MAX);
                }
                assert_eq!(lists.list.clone().frozen_ticket(), None);
                goes_on = lists.list.give_frozen(1 + rng.below(budget), &mut |part| {
                    let FrozenPart::Elements(part) = part else { panic!("{part:?}") };
                    let before = given.len();
                    part.for_each(|element| given.push_back(element.text().to_vec()));
                    assert_eq!(given.len() - before, part.count());
                    parts += 1;
                });
            }
            assert!(given == frozen, "seed {seed}");
            assert_eq!(parts, chunks);
            lists.list.check();
            let mut all = VecDeque::new();
            lists.list.visit(0, usize::MAX, End::Back, |element| {
                all.push_back(element.text().to_vec());
                std::ops::ControlFlow::Continue(())
            });
            assert!(all == lists.model);
        }
    }
}

/// A part of a stream that has been given, or is expected to be.
#[derive(Clone, Debug, PartialEq)]
enum Told {
    Entry(StreamId, Vec<(Vec<u8>, Vec<u8>)>),
    Figures(StreamFigures),
    Group(Vec<u8>, StreamId, Option<u64>, u64),
    Pending(Pending),
    Consumers(usize),
    Consumer(Vec<u8>, u64, Option<u64>, u64),
    PendingId(StreamId),
    Producers(ProducersPart),
    Producer(Vec<u8>, usize),
    Message(Vec<u8>, StreamId),
}

fn told_entry(entry: crate::stream::Entry<'_>) -> Told {
    let pairs = entry.pairs().map(|(field, value)| (field.to_vec(), value.with_text(<[u8]>::to_vec)));
    Told::Entry(entry.id, pairs.collect())
}

fn told(part: StreamPart<'_>, to: &mut Vec<Told>) {
    to.push(match part {
        StreamPart::Block(block) => {
            let before = to.len();
            to.extend(block.entries().map(told_entry));
            assert_eq!(to.len() - before, block.count());
            return;
        }
        StreamPart::Figures(figures) => Told::Figures(figures),
        StreamPart::Group(group) => {
            Told::Group(group.name.to_vec(), group.last_delivered, group.entries_read, group.pending)
        }
        StreamPart::Pending(pending) => Told::Pending(pending),
        StreamPart::Consumers(count) => Told::Consumers(count),
        StreamPart::Consumer(consumer) => {
            Told::Consumer(consumer.name.to_vec(), consumer.seen_ms, consumer.active_ms, consumer.pending)
        }
        StreamPart::PendingId(id) => Told::PendingId(id),
        StreamPart::Producers(head) | StreamPart::ProducersEnd(head) => Told::Producers(head),
        StreamPart::Producer(producer) => Told::Producer(producer.name.to_vec(), producer.messages),
        StreamPart::Message(message) => Told::Message(message.message.to_vec(), message.id),
    });
}

/// What is to be told of a stream as it is.
fn all_of(stream: &Stream) -> Vec<Told> {
    let log = stream.log();
    let mut all: Vec<Told> = log.range(StreamId::MIN, StreamId::MAX).map(told_entry).collect();
    all.push(Told::Figures(StreamFigures {
        len: log.len(),
        last_id: log.last_id(),
        first_id: log.first_id(),
        max_deleted_id: log.max_deleted_id(),
        entries_added: log.entries_added(),
        groups: stream.group_count(),
    }));
    for (name, group) in stream.groups() {
        let pending = || group.pending_range(StreamId::MIN, StreamId::MAX);
        let released: Vec<_> =
            pending().filter(|pending| pending.consumer.is_none()).map(|pending| pending.id).collect();
        let consumers = group.consumer_count() + usize::from(!released.is_empty());
        all.push(Told::Group(name.to_vec(), group.last_delivered(), group.entries_read(), group.pending_count()));
        all.extend(pending().map(Told::Pending));
        all.push(Told::Consumers(consumers));
        for (slot, consumer) in group.consumers() {
            let (seen_ms, active_ms) = (consumer.seen_ms(), consumer.active_ms());
            all.push(Told::Consumer(consumer.name().to_vec(), seen_ms, active_ms, consumer.pending_count()));
            let own = group.pending_range_of(slot, StreamId::MIN, StreamId::MAX);
            all.extend(own.map(|pending| Told::PendingId(pending.id)));
        }
        if !released.is_empty() {
            all.push(Told::Consumer(Vec::new(), 0, None, released.len() as u64));
            all.extend(released.into_iter().map(Told::PendingId));
        }
    }
    if stream.remembers_producers() {
        let known = stream.idempotency();
        all.push(Told::Producers(known.head()));
        for (name, count, messages) in known.producers() {
            all.push(Told::Producer(name.to_vec(), count));
            all.extend(messages.map(|(message, id)| Told::Message(message.to_vec(), id)));
        }
        all.push(Told::Producers(known.head()));
    }
    all
}

/// Messages of a few producers and of many, in a time that goes on with the ids.
fn change_producers(stream: &mut Stream, rng: &mut Rng) {
    let now_ms = stream.log().last_id().ms * 100;
    let some = [3, 500][rng.below(2)];
    let (producer, message) = (format!("p{}", rng.below(some)), format!("m{}", rng.below(9)));
    let (producer, message) = (producer.as_bytes(), message.as_bytes());
    let mut known = stream.idempotency_mut();
    match rng.below(300) {
        0 => known.configure(Some(1 + rng.below(60) as u64), Some(1 + rng.below(5) as u64)),
        1..100 => drop(known.find(producer, message, now_ms)),
        _ => known.remember(producer, message, StreamId::new(now_ms, 0), now_ms),
    }
}

fn change_stream(stream: &mut Stream, rng: &mut Rng, trend: Trend, limits: NodeLimits) {
    let (is_removed, is_new) = trend.next(rng);
    let last_ms = stream.log().last_id().ms;
    let some_id = |rng: &mut Rng| StreamId::new(rng.below(last_ms as usize + 3) as u64, rng.below(2) as u64);
    let group = vec![b'g', b'0' + rng.below(4) as u8];
    if rng.below(3) == 0 {
        return change_producers(stream, rng);
    }
    match rng.below(60) {
        0 => {
            stream.create_group(&group, StreamId::MIN, None);
        }
        1 if rng.below(20) == 0 => {
            stream.remove_group(&group);
        }
        2 => {
            let threshold = if rng.below(2) == 0 {
                Threshold::MinId(some_id(rng))
            } else {
                Threshold::MaxLen(stream.log().len().saturating_sub(rng.below(60) as u64))
            };
            let references = [References::Keep, References::Delete, References::Acked][rng.below(3)];
            stream.trim(Trim { threshold, approximate: rng.below(2) == 0, limit: 0 }, references);
        }
        3..8 if is_removed => {
            let references = [References::Keep, References::Delete, References::Acked][rng.below(3)];
            stream.delete(some_id(rng), references);
        }
        3..12 if is_new || !is_removed => {
            let pairs: [(&[u8], &[u8]); 2] = [(b"name", &value(rng)), (b"other", b"17")];
            stream.append(StreamId::new(last_ms + 1, 0), pairs[..1 + rng.below(2)].iter().copied(), limits);
        }
        choice => {
            let id = some_id(rng);
            let Some(mut group) = stream.group_mut(&group) else { return };
            let consumer = vec![b'c', b'0' + rng.below(5) as u8];
            let (slot, _) = group.find_or_create_consumer(&consumer, rng.below(9) as u64);
            let deliveries = if rng.below(5) == 0 { u64::MAX - rng.below(9) as u64 } else { rng.below(9) as u64 };
            match choice {
                12 if rng.below(20) == 0 => {
                    group.remove_consumer(slot);
                }
                13..16 => group.release(id, deliveries),
                16..20 => group.claim(id, slot, rng.below(99) as u64, deliveries),
                20..23 => {
                    group.redeliver(id, 100);
                }
                23..26 => group.mark_active(slot, 8),
                _ if is_removed => {
                    group.acknowledge(id);
                }
                _ => {
                    let log = group.log();
                    let next = group.last_delivered().next().and_then(|from| log.range(from, StreamId::MAX).next());
                    if let Some(entry) = next {
                        group.deliver(log, entry.id, slot, 50, true);
                    }
                }
            }
        }
    }
}

#[test]
fn a_stream_is_given_as_it_was_and_in_order() {
    for seed in 0..80 {
        let mut rng = Rng::new(seed);
        let limits = NodeLimits { bytes: [0, 4_096, 300][rng.below(3)], entries: [0, 100, 3][rng.below(3)] };
        let mut stream = Stream::new();
        for _ in 0..size(&mut rng) {
            change_stream(&mut stream, &mut rng, Trend::Grows, limits);
        }
        for round in 0..3 {
            stream.freeze(round);
            let frozen = stream.clone();
            assert_eq!(frozen.frozen_ticket(), None);
            let blocks = frozen.log().node_count() as usize;
            let producers = frozen.remembers_producers();
            assert_eq!(stream.frozen_head(), Some(FrozenHead::Stream { blocks, producers }));
            let (trend, changes, budget) = (Trend::of(&mut rng), rng.below(200), 1 + rng.below(40));
            let (mut given, mut given_blocks) = (Vec::new(), 0);
            let mut goes_on = true;
            while goes_on {
                assert_eq!(stream.frozen_ticket(), Some(round));
                for _ in 0..rng.below(changes + 1) {
                    change_stream(&mut stream, &mut rng, trend, limits);
                }
                goes_on = stream.give_frozen(1 + rng.below(budget), &mut |part| {
                    let FrozenPart::Stream(part) = part else { panic!("{part:?}") };
                    given_blocks += usize::from(matches!(part, StreamPart::Block(_)));
                    told(part, &mut given);
                });
            }
            let expected = all_of(&frozen);
            let differs = given.iter().zip(&expected).position(|(given, expected)| given != expected);
            assert!(
                differs.is_none(),
                "seed {seed}: {:?}, not {:?}",
                given[differs.unwrap()],
                expected[differs.unwrap()]
            );
            assert_eq!((given.len(), given_blocks), (expected.len(), blocks), "seed {seed}");
            stream.check();
        }
    }
}

#[test]
fn what_is_kept_aside_is_accounted_for_and_goes_with_the_frozen_state() {
    let mut hash = Hash::new(KeyHasher::new(1));
    let set = |hash: &mut Hash, number: usize, len: usize| {
        let name = name(number);
        hash.set(hash.position(&name), &name, &vec![b'x'; len], FieldDeadline::Clear, i64::MIN);
    };
    (0..5_000).for_each(|number| set(&mut hash, number, 100));
    set(&mut hash, 5_000, 1 << 20);
    let before = hash.memory_bytes();
    hash.freeze(1);
    (0..5_000).for_each(|number| set(&mut hash, number, 100));
    assert!(hash.memory_bytes() > before + 5_000 * 100);
    let kept = hash.memory_bytes();
    set(&mut hash, 5_000, 10);
    assert!(hash.memory_bytes() > kept, "the large value is kept");
    hash.check();
    assert!(hash.clone().memory_bytes() < before);
    assert!(hash.thaw().is_some() && hash.thaw().is_none());
    assert!(hash.memory_bytes() < before);
    assert!(!hash.give_frozen(10, &mut |part| panic!("{part:?}")));
    hash.check();
}
