//! A stream under random changes beside ordered maps: entries that come, go and are trimmed, and one group that reads,
//! acknowledges, claims and gives back.
//!
//! The input begins with the limits of a block; then each change is what to do, two numbers to do it with, and for a new
//! entry the length of its value.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use weir_structs::stream::{Deletion, NodeLimits, References, Stream, StreamId, Threshold, Trim};

const GROUP: &[u8] = b"group";
const NOBODY: u8 = u8::MAX;

fuzz_target!(|input: &[u8]| {
    let Some((&[bytes, entries], mut rest)) = input.split_first_chunk() else { return };
    let limits = NodeLimits { bytes: u64::from(bytes) * 4, entries: u64::from(entries % 20) };
    let (mut stream, mut model) = (Stream::new(), BTreeMap::<StreamId, Vec<u8>>::new());
    // Of each pending entry: whose it is, when it was delivered, how often.
    let mut pending = BTreeMap::<StreamId, (u8, u64, u64)>::new();
    let mut released = Vec::new();
    let (mut last, mut delivered, mut now_ms) = (StreamId::MIN, StreamId::MIN, 0);
    stream.create_group(GROUP, StreamId::MIN, None);

    while let Some((&[what, a, b], after)) = rest.split_first_chunk() {
        rest = after;
        now_ms += u64::from(what >> 6);
        let id = StreamId::new(u64::from(a), u64::from(b % 4));
        let known = model.range(id..).next().map_or(id, |(id, _)| *id);
        match what % 16 {
            0..=4 => {
                let id = match what >> 4 & 3 {
                    0 => StreamId::new(last.ms << (a % 8), u64::from(b)),
                    1 => StreamId::new(last.ms.saturating_add(u64::from(a)), u64::from(b)),
                    _ => last.next().unwrap_or(last),
                };
                let (value, after) = rest.split_at(usize::from(b).min(rest.len()));
                rest = after;
                let field: &[u8] = if a % 7 == 0 { b"other" } else { b"field" };
                let fits = id > last;
                assert_eq!(stream.append(id, [(field, value)].into_iter(), limits), fits);
                if fits {
                    last = id;
                    model.insert(id, value.to_vec());
                }
            }
            5 | 6 => {
                let references = if b & 1 == 0 { References::Keep } else { References::Delete };
                let deletion = if model.remove(&known).is_some() { Deletion::Deleted } else { Deletion::Missing };
                assert_eq!(stream.delete(known, references), deletion);
                if references == References::Delete {
                    pending.remove(&known);
                }
            }
            7 => {
                let keep = usize::from(a) * model.len() / 256;
                let trim = Trim { threshold: Threshold::MaxLen(keep as u64), approximate: b & 1 == 1, limit: 0 };
                let gone = stream.trim(trim, References::Keep) as usize;
                assert!(gone == model.len() - keep || (trim.approximate && gone < model.len() - keep));
                for _ in 0..gone {
                    model.pop_first();
                }
            }
            8 => {
                let trim = Trim { threshold: Threshold::MinId(known), approximate: false, limit: 0 };
                let left = model.split_off(&known);
                assert_eq!(stream.trim(trim, References::Keep) as usize, model.len());
                model = left;
            }
            9 => {
                let end = StreamId::new(id.ms.saturating_add(u64::from(b)), u64::MAX);
                let expected: Vec<StreamId> = model.range(id..=end).map(|(id, _)| *id).collect();
                assert!(stream.log().range(id, end).map(|entry| entry.id).eq(expected.iter().copied()));
                let reversed = stream.log().range_reversed(id, end).map(|entry| entry.id);
                assert!(reversed.eq(expected.iter().rev().copied()));
            }
            what => {
                let mut group = stream.group_mut(GROUP).expect("it was created");
                let consumer = a % 3;
                let (slot, _) = group.find_or_create_consumer(&[consumer], now_ms);
                let some = pending.range(id..).next().map_or(id, |(id, _)| *id);
                match what {
                    10 | 11 => {
                        let (log, from) = (group.log(), delivered.next().unwrap_or(StreamId::MAX));
                        for entry in log.range(from, StreamId::MAX).take(usize::from(b % 8)) {
                            group.deliver(log, entry.id, slot, now_ms, true);
                            pending.insert(entry.id, (consumer, now_ms, 1));
                            delivered = entry.id;
                        }
                    }
                    12 => assert_eq!(group.acknowledge(some), pending.remove(&some).is_some()),
                    13 => {
                        let deliveries = if b & 1 == 0 { u64::from(b) } else { u64::MAX - u64::from(b) };
                        group.claim(some, slot, now_ms / 2, deliveries);
                        pending.insert(some, (consumer, now_ms / 2, deliveries));
                    }
                    14 => {
                        group.release(some, 7);
                        pending.insert(some, (NOBODY, 0, 7));
                        released.retain(|id| *id != some);
                        released.push(some);
                    }
                    _ => {
                        // What was given back comes first, in the order in which it was.
                        let mut idle: Vec<_> = pending.iter().filter(|(_, rest)| rest.0 != NOBODY).collect();
                        idle.sort_by_key(|(id, rest)| (rest.1, **id));
                        let idle = idle.iter().filter(|(_, rest)| rest.1 <= u64::from(b)).map(|(id, _)| **id);
                        released.retain(|id| pending.get(id).is_some_and(|rest| rest.0 == NOBODY));
                        let expected = released.iter().copied().chain(idle).take(usize::from(a));
                        let found = group.idle_pending(u64::from(b), usize::from(a));
                        assert!(found.iter().map(|pending| pending.id).eq(expected));
                    }
                }
            }
        }
        assert_eq!(stream.items(), model.len());
    }

    let all = stream.log().range(StreamId::MIN, StreamId::MAX);
    assert!(all.map(|entry| entry.id).eq(model.keys().copied()));
    for entry in stream.log().range(StreamId::MIN, StreamId::MAX) {
        let (_, value) = entry.pairs().next().expect("each has one");
        value.with_text(|text| assert_eq!(text, &model[&entry.id][..]));
    }
    let group = stream.group(GROUP).expect("it was created");
    let found = group.pending_range(StreamId::MIN, StreamId::MAX).map(|pending| {
        let name =
            pending.consumer.and_then(|slot| group.consumer(slot)).map_or(NOBODY, |consumer| consumer.name()[0]);
        (pending.id, (name, pending.delivery_ms, pending.deliveries))
    });
    assert!(found.eq(pending.iter().map(|(id, rest)| (*id, *rest))));
    assert!(group.consumers().map(|(_, consumer)| consumer.pending_count()).sum::<u64>() <= group.pending_count());
});
