//! The stream against a plain one: maps and lists from the standard library, and rules written down as slowly as they
//! read.

use std::collections::BTreeMap;

use super::*;
use crate::testing::Rng;

const LIMITS: NodeLimits = NodeLimits { bytes: 4096, entries: 100 };

type Texts = Vec<(Vec<u8>, Vec<u8>)>;

fn given(texts: &Texts) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
    texts.iter().map(|(field, value)| (&field[..], &value[..]))
}

fn texts(entry: &Entry<'_>) -> Texts {
    entry.pairs().map(|(field, value)| (field.to_vec(), value.with_text(<[u8]>::to_vec))).collect()
}

fn reading(number: u64) -> Texts {
    vec![
        (b"sensor".to_vec(), format!("{}", number % 100).into_bytes()),
        (b"temp".to_vec(), format!("{}", number % 1000).into_bytes()),
    ]
}

fn filled(entries: u64, limits: NodeLimits) -> Stream {
    let mut stream = Stream::new();
    for ms in 1..=entries {
        assert!(stream.append(StreamId::new(ms, 0), given(&reading(ms)), limits));
    }
    stream
}

#[derive(Default)]
struct PlainGroup {
    last_delivered: StreamId,
    pending: BTreeMap<StreamId, (Option<Vec<u8>>, u64, u64)>,
    consumers: Vec<Vec<u8>>,
    released: Vec<StreamId>,
}

#[derive(Default)]
struct Plain {
    entries: BTreeMap<StreamId, Texts>,
    last_id: StreamId,
    max_deleted_id: StreamId,
    added: u64,
    groups: BTreeMap<Vec<u8>, PlainGroup>,
}

impl Plain {
    fn refers(&self, id: StreamId) -> bool {
        self.groups.values().any(|group| id > group.last_delivered || group.pending.contains_key(&id))
    }
}

fn check(stream: &Stream, plain: &Plain) {
    let log = stream.log();
    assert_eq!(log.len() as usize, plain.entries.len());
    assert_eq!(log.first_id(), plain.entries.keys().next().copied().unwrap_or_default());
    assert_eq!(
        (log.last_id(), log.max_deleted_id(), log.entries_added()),
        (plain.last_id, plain.max_deleted_id, plain.added)
    );
    let all: Vec<_> = log.range(StreamId::MIN, StreamId::MAX).map(|entry| (entry.id, texts(&entry))).collect();
    assert!(all.iter().map(|(id, texts)| (id, texts)).eq(plain.entries.iter()));
    assert_eq!(log.last().map(|entry| entry.id), plain.entries.keys().next_back().copied());
    assert_eq!(log.first().map(|entry| entry.id), plain.entries.keys().next().copied());
    assert!(stream.groups().map(|(name, _)| name).eq(plain.groups.keys().map(|name| &name[..])));
    for (name, expected) in &plain.groups {
        let group = stream.group(name).unwrap();
        assert_eq!(group.last_delivered(), expected.last_delivered);
        assert_eq!(group.pending_count() as usize, expected.pending.len());
        let shown = |pending: Pending| {
            let consumer = pending.consumer.map(|slot| group.consumer(slot).unwrap().name().to_vec());
            (pending.id, (consumer, pending.delivery_ms, pending.deliveries))
        };
        let all: Vec<_> = group.pending_range(StreamId::MIN, StreamId::MAX).map(shown).collect();
        assert!(all.iter().map(|(id, rest)| (id, rest)).eq(expected.pending.iter()));
        let mut names = expected.consumers.clone();
        names.sort();
        assert!(group.consumers().map(|(_, consumer)| consumer.name()).eq(names.iter().map(|name| &name[..])));
        for (slot, consumer) in group.consumers() {
            let own: Vec<_> =
                group.pending_range_of(slot, StreamId::MIN, StreamId::MAX).map(|pending| pending.id).collect();
            let owner = Some(consumer.name().to_vec());
            let expected: Vec<_> =
                expected.pending.iter().filter(|(_, rest)| rest.0 == owner).map(|(id, _)| *id).collect();
            assert_eq!((own.len() as u64, own), (consumer.pending_count(), expected));
        }
    }
    // What a deep copy owns is counted anew from allocations without slack.
    assert!(stream.clone().memory_bytes() <= stream.memory_bytes() + 64);
}

#[test]
fn a_stream_agrees_with_a_plain_one() {
    for seed in 0..12 {
        let mut rng = Rng::new(seed);
        let limits =
            [LIMITS, NodeLimits { bytes: 0, entries: 3 }, NodeLimits { bytes: 90, entries: 0 }][seed as usize % 3];
        let (mut stream, mut plain) = (Stream::new(), Plain::default());
        let mut now_ms = 1_000;
        for step in 0..3_000 {
            now_ms += rng.below(3) as u64;
            let some_id = |rng: &mut Rng, plain: &Plain| {
                let span = plain.last_id.ms.max(4);
                let id = StreamId::new(rng.below(span as usize + 2) as u64, rng.below(3) as u64);
                match rng.below(3) {
                    0 => id,
                    1 => plain.entries.range(id..).next().map_or(id, |(id, _)| *id),
                    _ => plain.entries.keys().next().copied().unwrap_or(id),
                }
            };
            let references = [References::Keep, References::Delete, References::Acked][rng.below(3)];
            match rng.below(20) {
                0..=6 => {
                    let id = match rng.below(4) {
                        0 => StreamId::new(plain.last_id.ms, rng.below(4) as u64),
                        1 => StreamId::new(plain.last_id.ms + 1 + rng.below(3) as u64, rng.below(3) as u64),
                        _ => plain.last_id.next().unwrap(),
                    };
                    let mut texts = reading(rng.next());
                    if rng.below(5) == 0 {
                        texts.push((b"note".to_vec(), vec![b'n'; rng.below(60)]));
                    }
                    let fits = id > plain.last_id;
                    assert_eq!(stream.append(id, given(&texts), limits), fits);
                    if fits {
                        plain.entries.insert(id, texts);
                        plain.last_id = id;
                        plain.added += 1;
                    }
                }
                7..=8 => {
                    let id = some_id(&mut rng, &plain);
                    let expected =
                        if references == References::Acked && plain.entries.contains_key(&id) && plain.refers(id) {
                            Deletion::Referenced
                        } else if plain.entries.remove(&id).is_some() {
                            plain.max_deleted_id = plain.max_deleted_id.max(id);
                            Deletion::Deleted
                        } else {
                            Deletion::Missing
                        };
                    let mut forgotten = 0;
                    if references == References::Delete {
                        let gone = plain.groups.values_mut().filter_map(|group| group.pending.remove(&id));
                        forgotten = gone.count() as u64;
                    }
                    assert_eq!(stream.delete(id, references), (expected, forgotten));
                }
                9 => {
                    let threshold = match rng.below(2) {
                        0 => Threshold::MaxLen(plain.entries.len().saturating_sub(rng.below(6)) as u64),
                        _ => Threshold::MinId(some_id(&mut rng, &plain)),
                    };
                    let trim = Trim { threshold, approximate: false, limit: 0 };
                    let mut over = match threshold {
                        Threshold::MaxLen(max) => plain.entries.len() - max as usize,
                        Threshold::MinId(_) => usize::MAX,
                    };
                    let mut go = Vec::new();
                    for id in plain.entries.keys() {
                        if over == 0 || matches!(threshold, Threshold::MinId(min) if *id >= min) {
                            break;
                        }
                        if references != References::Acked || !plain.refers(*id) {
                            go.push(*id);
                            over -= 1;
                        }
                    }
                    // Trimming passes over blocks, and stops behind the first one that stays in part.
                    let deleted = stream.trim(trim, references) as usize;
                    if references == References::Acked {
                        assert!(deleted <= go.len());
                    } else {
                        assert_eq!(deleted, go.len());
                    }
                    for id in go.iter().take(deleted) {
                        plain.entries.remove(id);
                        if references == References::Delete {
                            plain.groups.values_mut().for_each(|group| drop(group.pending.remove(id)));
                        }
                    }
                }
                10 => {
                    let (start, end) = (some_id(&mut rng, &plain), some_id(&mut rng, &plain));
                    let expected: Vec<_> = match start <= end {
                        true => plain.entries.range(start..=end).map(|(id, _)| *id).collect(),
                        false => Vec::new(),
                    };
                    assert!(stream.log().range(start, end).map(|entry| entry.id).eq(expected.iter().copied()));
                    let reversed = stream.log().range_reversed(start, end).map(|entry| entry.id);
                    assert!(reversed.eq(expected.iter().rev().copied()));
                    assert_eq!(stream.log().get(start).map(|entry| texts(&entry)).as_ref(), plain.entries.get(&start));
                }
                _ => {
                    let name = vec![b'g', rng.below(2) as u8];
                    let Some(expected) = plain.groups.get_mut(&name) else {
                        assert!(stream.create_group(&name, StreamId::MIN, None));
                        plain.groups.insert(name, PlainGroup::default());
                        continue;
                    };
                    assert!(!stream.create_group(&name, StreamId::MIN, None));
                    if rng.below(60) == 0 {
                        assert!(stream.remove_group(&name).is_some());
                        plain.groups.remove(&name);
                        continue;
                    }
                    let mut group = stream.group_mut(&name).unwrap();
                    let consumer = vec![b'c'; rng.below(4)];
                    let (slot, created) = group.find_or_create_consumer(&consumer, now_ms);
                    assert_eq!(created, !expected.consumers.contains(&consumer));
                    if created {
                        expected.consumers.push(consumer.clone());
                    }
                    let log = group.log();
                    let id = expected.pending.keys().nth(rng.below(expected.pending.len().max(1))).copied();
                    let id = id.unwrap_or(StreamId::new(1, 0));
                    match rng.below(12) {
                        0..=3 => {
                            let from = expected.last_delivered.next().unwrap();
                            for entry in log.range(from, StreamId::MAX).take(rng.below(5)) {
                                group.deliver(log, entry.id, slot, now_ms, true);
                                expected.pending.insert(entry.id, (Some(consumer.clone()), now_ms, 1));
                                expected.last_delivered = entry.id;
                            }
                        }
                        4..=6 => assert_eq!(group.acknowledge(id), expected.pending.remove(&id).is_some()),
                        7 => {
                            let known = expected.pending.get_mut(&id);
                            assert_eq!(group.redeliver(id, now_ms), known.is_some());
                            if let Some((owner, delivery_ms, deliveries)) = known {
                                *delivery_ms = if owner.is_some() { now_ms } else { 0 };
                                *deliveries = deliveries.saturating_add(1);
                            }
                        }
                        8 => {
                            let deliveries =
                                [1, 7, u64::from(u32::MAX) - 1, u64::from(u32::MAX), i64::MAX as u64][rng.below(5)];
                            group.claim(id, slot, now_ms / 2, deliveries);
                            expected.pending.insert(id, (Some(consumer), now_ms / 2, deliveries));
                        }
                        9 => {
                            group.release(id, 3);
                            expected.pending.insert(id, (None, 0, 3));
                            expected.released.retain(|other| *other != id);
                            expected.released.push(id);
                        }
                        10 => {
                            let until_ms = now_ms.saturating_sub(rng.below(600) as u64);
                            let released = |id: &StreamId| expected.released.iter().position(|other| other == id);
                            let mut idle: Vec<_> = expected
                                .pending
                                .iter()
                                .map(|(id, (owner, ms, _))| {
                                    (owner.is_some(), *ms, released(id).filter(|_| owner.is_none()), *id)
                                })
                                .collect();
                            idle.sort_unstable();
                            assert_eq!(group.oldest_delivery_ms(), idle.first().map(|(_, ms, ..)| *ms));
                            idle.retain(|(_, ms, ..)| *ms <= until_ms);
                            idle.truncate(10);
                            let found = group.idle_pending(until_ms, 10);
                            let found = found.iter().map(|pending| (pending.delivery_ms, pending.id));
                            assert!(found.eq(idle.iter().map(|(_, ms, _, id)| (*ms, *id))));
                        }
                        _ if rng.below(6) == 0 => {
                            let owner = Some(consumer.clone());
                            let before = expected.pending.len();
                            expected.pending.retain(|_, rest| rest.0 != owner);
                            expected.consumers.retain(|name| *name != consumer);
                            assert_eq!(group.remove_consumer(slot) as usize, before - expected.pending.len());
                        }
                        _ => {}
                    }
                }
            }
            if step % 61 == 0 {
                check(&stream, &plain);
            }
        }
        check(&stream, &plain);
    }
}

#[test]
fn readings_take_few_bytes_each() {
    let stream = filled(100_000, LIMITS);
    let bytes = stream.memory_bytes() as f64 / 100_000.0;
    assert!(bytes < 6.5, "{bytes} bytes an entry");
    assert_eq!(stream.log().node_count(), 1_000);
}

#[test]
fn a_pending_entry_takes_fifty_bytes_at_most() {
    let mut stream = filled(100_000, LIMITS);
    let before = stream.memory_bytes();
    stream.create_group(b"g", StreamId::MIN, None);
    let mut group = stream.group_mut(b"g").unwrap();
    let (slot, _) = group.find_or_create_consumer(b"c", 5);
    let log = group.log();
    for entry in log.range(StreamId::MIN, StreamId::MAX) {
        group.deliver(log, entry.id, slot, 5, true);
    }
    drop(group);
    let bytes = (stream.memory_bytes() - before) as f64 / 100_000.0;
    assert!(bytes < 50.0, "{bytes} bytes a pending entry");
    let mut group = stream.group_mut(b"g").unwrap();
    for ms in 1..=100_000 {
        assert!(group.acknowledge(StreamId::new(ms, 0)));
    }
    drop(group);
    assert!(stream.memory_bytes() - before < 10_000);
}

#[test]
fn approximate_trimming_takes_whole_blocks_within_its_limit() {
    let ten = NodeLimits { bytes: 4096, entries: 10 };
    let trim = |threshold, limit| Trim { threshold, approximate: true, limit };
    for (threshold, limit, deleted) in [
        (Threshold::MaxLen(85), 0, 10),
        (Threshold::MaxLen(0), 35, 30),
        (Threshold::MaxLen(0), 9, 0),
        (Threshold::MaxLen(0), 0, 100),
        (Threshold::MaxLen(100), 0, 0),
        (Threshold::MinId(StreamId::new(35, 0)), 0, 30),
        (Threshold::MinId(StreamId::new(31, 0)), 0, 30),
        (Threshold::MinId(StreamId::new(30, 0)), 0, 20),
        (Threshold::MinId(StreamId::MAX), 50, 50),
    ] {
        let mut stream = filled(100, ten);
        assert_eq!(stream.trim(trim(threshold, limit), References::Keep), deleted, "{threshold:?} {limit}");
        assert_eq!(stream.items() as u64, 100 - deleted);
        assert_eq!(stream.log().node_count(), (100 - deleted) / 10);
        assert_eq!(stream.log().max_deleted_id(), StreamId::MIN);
    }
}

#[test]
fn trimming_stops_at_entries_that_are_referenced() {
    let mut stream = filled(30, NodeLimits { bytes: 4096, entries: 10 });
    stream.create_group(b"g", StreamId::new(25, 0), None);
    let mut group = stream.group_mut(b"g").unwrap();
    let (slot, _) = group.find_or_create_consumer(b"c", 1);
    group.claim(StreamId::new(3, 0), slot, 1, 1);
    group.claim(StreamId::new(15, 0), slot, 1, 1);
    drop(group);
    let trim = Trim { threshold: Threshold::MaxLen(5), approximate: false, limit: 0 };
    assert_eq!(stream.trim(trim, References::Acked), 23);
    let left: Vec<_> = stream.log().range(StreamId::MIN, StreamId::MAX).map(|entry| entry.id.ms).collect();
    assert_eq!(left, [3, 15, 26, 27, 28, 29, 30]);
    assert_eq!(stream.delete(StreamId::new(3, 0), References::Acked), (Deletion::Referenced, 0));
    assert_eq!(stream.delete(StreamId::new(26, 0), References::Acked), (Deletion::Referenced, 0));
    assert_eq!(stream.delete(StreamId::new(4, 0), References::Acked), (Deletion::Missing, 0));
    assert_eq!(stream.delete(StreamId::new(3, 0), References::Delete), (Deletion::Deleted, 1));
    assert_eq!(stream.group(b"g").unwrap().pending_count(), 1);
    assert_eq!(stream.trim(trim, References::Delete), 1);
    assert_eq!(stream.group(b"g").unwrap().pending_count(), 0);
}

#[test]
fn ids_go_up_to_the_highest_and_no_further() {
    let mut stream = Stream::new();
    assert_eq!(stream.next_id(0), Some(StreamId::new(0, 1)));
    assert_eq!(stream.next_id_in(0), Some(StreamId::new(0, 1)));
    assert!(!stream.append(StreamId::MIN, given(&reading(1)), LIMITS));
    let high = StreamId::new(5, u64::MAX);
    assert!(stream.append(high, given(&reading(1)), LIMITS));
    assert_eq!((stream.next_id(1), stream.next_id_in(5)), (Some(StreamId::new(6, 0)), None));
    assert!(stream.append(StreamId::MAX, given(&reading(2)), LIMITS));
    assert_eq!((stream.next_id(7), stream.next_id_in(7), stream.next_id_in(u64::MAX)), (None, None, None));
    let both: Vec<_> = stream.log().range(StreamId::MIN, StreamId::MAX).map(|entry| entry.id).collect();
    assert_eq!(both, [high, StreamId::MAX]);
}

#[test]
fn blocks_end_where_the_limits_say() {
    // Of fields and values the stream is given 10 + 1, 10 + 2 or 10 + 3 bytes an entry.
    assert_eq!(filled(7, NodeLimits { bytes: 0, entries: 3 }).log().node_count(), 3);
    assert_eq!(filled(200, NodeLimits { bytes: 4096, entries: 0 }).log().node_count(), 1);
    assert_eq!(filled(200, NodeLimits { bytes: 0, entries: 0 }).log().node_count(), 1);
    assert_eq!(filled(7, NodeLimits { bytes: 1, entries: 0 }).log().node_count(), 7);
    let mut stream = filled(3, NodeLimits { bytes: 0, entries: 3 });
    stream.delete(StreamId::new(2, 0), References::Keep);
    stream.append(StreamId::new(4, 0), given(&reading(4)), NodeLimits { bytes: 0, entries: 3 });
    assert_eq!(stream.log().node_count(), 2, "deleted entries count");
}

#[test]
fn the_radix_tree_has_as_many_nodes_as_in_redis() {
    let each_its_own = NodeLimits { bytes: 0, entries: 1 };
    let nodes = |ids: &[(u64, u64)]| {
        let mut stream = Stream::new();
        for &(ms, seq) in ids {
            assert!(stream.append(StreamId::new(ms, seq), given(&reading(1)), each_its_own));
        }
        stream.log().radix_tree_nodes()
    };
    // Counted by Redis 8 and Valkey 9.
    assert_eq!(nodes(&[]), 1);
    assert_eq!(nodes(&[(1, 1)]), 2);
    assert_eq!(nodes(&[(1, 1), (4, 1)]), 6);
    assert_eq!(nodes(&[(1, 1), (1, 2)]), 4);
    assert_eq!(nodes(&[(1, 1), (1, 2), (2, 0)]), 8);
    assert_eq!(nodes(&[(1, 0), (256, 0), (257, 0), (65_536, 0), (65_536, 256)]), 16);
    assert_eq!(nodes(&(1..50).map(|ms| (ms, ms * 7)).collect::<Vec<_>>()), 100);
    assert_eq!(nodes(&(1..2000).map(|ms| (ms * 300, ms % 3)).collect::<Vec<_>>()), 4010);
    assert_eq!(nodes(&[(1 << 60, 5), ((1 << 60) + 3, 5), (1 << 61, 5)]), 9);
    assert_eq!(nodes(&[(1, 1), (1 << 63, 1)]), 5);
}

#[test]
fn blocks_end_where_redis_ends_them_by_bytes() {
    // Counted by Redis 8 and Valkey 9.
    for (bytes, small, large) in [(64, 192, 150), (100, 101, 100), (200, 48, 43), (1000, 8, 8)] {
        let limits = NodeLimits { bytes, entries: 0 };
        let (mut one, mut other) = (Stream::new(), Stream::new());
        for i in 1..300_u64 {
            let text = |value: u64| value.to_string().into_bytes();
            let mut texts = vec![(b"sensor".to_vec(), text(i % 100)), (b"temp".to_vec(), text(i * 7 % 1000))];
            if i % 7 == 0 {
                texts.push((b"other".to_vec(), b"-77".to_vec()));
            }
            if i % 11 == 0 {
                texts.push((b"s".to_vec(), vec![b'x'; i as usize % 90]));
            }
            assert!(one.append(StreamId::new(i, i % 5), given(&texts), limits));
            let texts =
                vec![(b"12".to_vec(), text(i % 100 * 1000)), (b"temp".to_vec(), text(i * 7_000_000 % 10_000_000_000))];
            assert!(other.append(StreamId::new(i * 1_000_000, i * 70_000), given(&texts), limits));
        }
        assert_eq!((one.log().node_count(), other.log().node_count()), (small, large), "{bytes}");
    }
}

#[test]
fn lag_is_what_waits_as_long_as_that_is_known() {
    let mut stream = filled(5, LIMITS);
    stream.create_group(b"g", StreamId::MIN, None);
    let read = |stream: &mut Stream, count: usize| {
        let mut group = stream.group_mut(b"g").unwrap();
        let (slot, _) = group.find_or_create_consumer(b"c", 1);
        let log = group.log();
        let from = group.last_delivered().next().unwrap();
        for entry in log.range(from, StreamId::MAX).take(count) {
            group.deliver(log, entry.id, slot, 1, false);
        }
    };
    let counts = |stream: &Stream| {
        let group = stream.group(b"g").unwrap();
        (group.entries_read(), group.lag(stream.log()))
    };
    let trimmed_to = |threshold| Trim { threshold, approximate: false, limit: 0 };
    assert_eq!(counts(&stream), (None, Some(5)));
    read(&mut stream, 1);
    assert_eq!(counts(&stream), (Some(1), Some(4)));
    stream.trim(trimmed_to(Threshold::MinId(StreamId::new(4, 0))), References::Keep);
    assert_eq!(counts(&stream), (Some(1), Some(2)));
    read(&mut stream, 1);
    assert_eq!(counts(&stream), (Some(4), Some(1)));
    stream.trim(trimmed_to(Threshold::MaxLen(0)), References::Keep);
    assert_eq!(counts(&stream), (Some(4), Some(0)));
    for ms in 6..=9 {
        stream.append(StreamId::new(ms, 0), given(&reading(ms)), LIMITS);
    }
    read(&mut stream, 2);
    assert_eq!(counts(&stream), (Some(7), Some(2)));
    stream.delete(StreamId::new(8, 0), References::Keep);
    assert_eq!(counts(&stream), (Some(7), None), "nobody counts what was deleted in the middle");
    read(&mut stream, 1);
    assert_eq!(counts(&stream), (Some(9), Some(0)), "at the end all have been read");
}
