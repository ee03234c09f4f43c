//! A hash through its face beside an ordered map, in whichever form its limits make it have.
//!
//! The input begins with the limits; the rest are steps of four bytes: what is done, to which field, with how long a value,
//! and how the clock and deadlines move.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use weir_structs::hash::{FieldDeadline, HashLimits, HashMut, HashRef};
use weir_structs::keyspace::{KeyHasher, Keyspace, NewValue};
use weir_structs::value::PackedKind;

const KEY: &[u8] = b"key";

type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>;

fuzz_target!(|input: &[u8]| {
    let Some(([fields, value_bytes], steps)) = input.split_first_chunk() else { return };
    let limits = HashLimits { fields: usize::from(*fields), value_bytes: usize::from(*value_bytes) };
    let mut keys = Keyspace::new(KeyHasher::new(1));
    let position = keys.position(KEY);
    let (mut model, mut now_ms) = (Model::new(), 1_000);
    for &[what, field, len, time] in steps.as_chunks().0 {
        let (mut entry, _) = keys.get_or_insert(position, KEY, || (NewValue::Packed(PackedKind::Hash, &[]), 0));
        let mut hash = HashMut::of(&mut entry, limits).expect("a hash");
        let name = match field {
            0..100 => field.to_string().into_bytes(),
            100..200 => format!("field:{field}").into_bytes(),
            _ => vec![field; usize::from(len)],
        };
        let value = if len % 3 == 0 {
            (i64::from(len) << (time % 56)).to_string().into_bytes()
        } else {
            vec![b'v'; usize::from(len)]
        };
        let at_ms = now_ms + i64::from(time) - 20;
        let live = model.get(&name).filter(|(_, at)| is_live(*at, now_ms)).cloned();
        match what % 8 {
            0 => {
                assert_eq!(hash.remove(&name, now_ms), live.is_some());
                if live.is_some() {
                    model.remove(&name);
                }
            }
            1 => {
                let new = (time > 40).then_some(at_ms);
                assert_eq!(hash.set_deadline(&name, new, now_ms), live.is_some());
                if live.is_some() {
                    model.get_mut(&name).expect("it is there").1 = new;
                }
            }
            2 => now_ms += i64::from(time),
            3 => {
                drop(hash);
                if let Some(mut table) = entry.hash_mut() {
                    table.take_due(now_ms, usize::from(len), &mut |field| {
                        let (_, at) = model.remove(field).expect("it is there");
                        assert!(!is_live(at, now_ms));
                    });
                    let first = model.values().filter_map(|(_, at)| *at).min();
                    assert_eq!(table.next_deadline(), first);
                }
            }
            4 => {
                let names: Vec<Vec<u8>> = (0..len % 24).map(|step| (field ^ step).to_string().into_bytes()).collect();
                let mut new = 0;
                for name in &names {
                    let old = model.insert(name.clone(), (value.clone(), None));
                    new += usize::from(old.is_none_or(|(_, at)| !is_live(at, now_ms)));
                }
                let pairs = names.iter().map(|name| (name.as_slice(), value.as_slice()));
                assert_eq!(hash.set_each(pairs, names.len(), now_ms, || {}), new);
            }
            what => {
                let (deadline, new) = match what {
                    5 => (FieldDeadline::At(at_ms), Some(at_ms)),
                    6 => (FieldDeadline::Keep, live.as_ref().and_then(|(_, at)| *at)),
                    _ => (FieldDeadline::Clear, None),
                };
                assert_eq!(hash.set(&name, &value, deadline, now_ms).is_new(), live.is_none());
                model.insert(name, (value, new));
            }
        }
        let hash = HashRef::of(entry.as_ref()).expect("a hash");
        assert_eq!(hash.len(), model.len());
    }
    if let Some(entry) = keys.get(position, KEY) {
        agrees(HashRef::of(entry).expect("a hash"), &model, now_ms);
    }
    keys.check();
});

fn is_live(at_ms: Option<i64>, now_ms: i64) -> bool {
    at_ms.is_none_or(|at_ms| at_ms > now_ms)
}

fn agrees(hash: HashRef<'_>, model: &Model, now_ms: i64) {
    let mut given = 0;
    hash.for_each(now_ms, |field, value| {
        let (expected, at_ms) = &model[&*field.text()];
        assert!(value.equals(expected) && is_live(*at_ms, now_ms));
        given += 1;
    });
    assert_eq!((given, given), (hash.live_len(now_ms), model.values().filter(|(_, at)| is_live(*at, now_ms)).count()));
    for (field, (value, at_ms)) in model {
        let found = hash.get(field, now_ms);
        assert_eq!(found.is_some_and(|found| found.equals(value)), is_live(*at_ms, now_ms));
    }
}
