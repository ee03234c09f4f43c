//! Exchanges of every type against a plain list of bindings.

use super::super::hashing::key_hash;
use super::super::{ExchangeType, WEIGHT_MAX};
use super::*;
use crate::testing::Rng;

type Pair = (&'static [u8], &'static [u8]);

const TWICE: &[Pair] = &[(b"a", b"1"), (b"a", b"2")];

const MESSAGES: [&[Pair]; 3] = [&[(b"one", b"1")], &[], &[(b"two", b"2"), (b"one", b"1")]];

/// A binding of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Plain {
    target: Target,
    name: Vec<u8>,
    rkey: Vec<u8>,
    args: Vec<Pair>,
}

impl Plain {
    fn binding(&self) -> Binding<'_> {
        Binding { target: self.target, name: &self.name, rkey: &self.rkey, args: &self.args }
    }
}

fn exchange(kind: ExchangeType) -> Exchange {
    Exchange::new(ExchangeOptions { kind, ..ExchangeOptions::default() }, 1)
}

fn queue<'a>(name: &'a [u8], rkey: &'a [u8]) -> Binding<'a> {
    Binding { target: Target::Queue, name, rkey, args: &[] }
}

fn routed(exchange: &Exchange, rkey: &[u8], headers: &[(&[u8], &[u8])], random: u64) -> Vec<(Target, Vec<u8>)> {
    let mut sieve = Sieve::new();
    let found = exchange.route(rkey, headers, random, &mut sieve);
    let mut found: Vec<_> = found.iter().map(|id| exchange.destination(*id)).map(|(t, n)| (t, n.to_vec())).collect();
    found.sort();
    found
}

fn names(exchange: &Exchange, rkey: &str) -> Vec<String> {
    let found = routed(exchange, rkey.as_bytes(), &[], 0);
    found.into_iter().map(|(_, name)| String::from_utf8(name).unwrap()).collect()
}

fn some_binding(rng: &mut Rng, kind: ExchangeType) -> Plain {
    let words = ["a", "b", "*", "#"];
    let rkey = match kind {
        ExchangeType::Hash => (1 + rng.below(3)).to_string(),
        _ => (0..1 + rng.below(3)).map(|_| words[rng.below(4)]).collect::<Vec<_>>().join("."),
    };
    let pairs: [Pair; 3] = [(b"x-match", b"any"), (b"one", b"1"), (b"two", b"2")];
    let args = pairs.into_iter().filter(|_| rng.below(3) == 0).collect();
    let name = format!("destination with a number {}", rng.below(12)).into_bytes();
    Plain { target: Target::ALL[rng.below(4)], name, rkey: rkey.into_bytes(), args }
}

fn topic_matches(pattern: &[&[u8]], key: &[&[u8]]) -> bool {
    match pattern.split_first() {
        None => key.is_empty(),
        Some((&b"#", rest)) => (0..=key.len()).any(|skipped| topic_matches(rest, &key[skipped..])),
        Some((&word, rest)) => {
            key.split_first().is_some_and(|(&first, key)| (word == b"*" || word == first) && topic_matches(rest, key))
        }
    }
}

/// Whether a binding takes a message, for the types in which that does not depend on other bindings.
fn takes(kind: ExchangeType, plain: &Plain, rkey: &[u8], headers: &[Pair]) -> bool {
    let split = |key: &'static [u8]| key.split(|byte| *byte == b'.').collect::<Vec<_>>();
    let leak = |key: &[u8]| -> &'static [u8] { key.to_vec().leak() };
    let any = plain.args.iter().any(|pair| pair.0 == b"x-match");
    let mut wanted = plain.args.iter().filter(|pair| pair.0 != b"x-match");
    match kind {
        ExchangeType::Direct => plain.rkey == rkey,
        ExchangeType::Topic => topic_matches(&split(leak(&plain.rkey)), &split(leak(rkey))),
        ExchangeType::Headers if any => wanted.any(|pair| headers.contains(pair)),
        ExchangeType::Headers => wanted.all(|pair| headers.contains(pair)),
        _ => true,
    }
}

#[test]
fn exchanges_of_every_type_agree_with_a_list() {
    for (kind, seed) in ExchangeType::ALL.into_iter().zip(100..) {
        let mut rng = Rng::new(seed);
        let (mut exchange, mut model) = (exchange(kind), Vec::<Plain>::new());
        for step in 0..3000 {
            let plain = some_binding(&mut rng, kind);
            match rng.below(if step / 500 % 2 == 0 { 10 } else { 4 }) {
                0 | 1 => {
                    assert_eq!(exchange.unbind(&plain.binding()), model.contains(&plain));
                    model.retain(|known| *known != plain);
                }
                2 => {
                    let before = model.len();
                    model.retain(|known| (known.target, &known.name) != (plain.target, &plain.name));
                    let max = rng.below(3);
                    assert_eq!(exchange.end_all(plain.target, &plain.name, max), before - model.len());
                }
                _ => {
                    let is_new = !model.contains(&plain);
                    assert_eq!(exchange.bind(&plain.binding()), Ok(is_new));
                    if is_new {
                        model.push(plain.clone());
                    }
                }
            }
            if rng.below(4) == 0 {
                assert_eq!(exchange.tidy(rng.below(3)), exchange.is_untidy());
            }
            assert_eq!((exchange.len(), exchange.is_empty()), (model.len(), model.is_empty()));
            let is_bound = model.iter().any(|known| (known.target, &known.name) == (plain.target, &plain.name));
            assert_eq!(exchange.is_bound_to(plain.target, &plain.name), is_bound);

            let (rkey, random) = (["a", "a.b", "b.a.a", "b"][rng.below(4)].as_bytes(), rng.next());
            let headers = MESSAGES[rng.below(3)];
            let found = routed(&exchange, rkey, headers, random);
            let mut expected: Vec<_> = model.iter().filter(|known| takes(kind, known, rkey, headers)).collect();
            let taken = match kind {
                ExchangeType::ModHash if !model.is_empty() => Some(key_hash(rkey) % model.len() as u64),
                ExchangeType::Random if !model.is_empty() => {
                    Some(((u128::from(random) * model.len() as u128) >> 64) as u64)
                }
                _ => None,
            };
            if let Some(taken) = taken {
                expected = vec![&model[taken as usize]];
            }
            let mut expected: Vec<_> = expected.into_iter().map(|known| (known.target, known.name.clone())).collect();
            expected.sort();
            expected.dedup();
            match kind {
                ExchangeType::Hash => assert!(
                    found.len() == expected.len().min(1) && expected.contains(&found[0])
                        || expected.is_empty() && found.is_empty()
                ),
                _ => assert_eq!(found, expected, "{kind} {rkey:?} {model:?}"),
            }
            if step % 100 == 0 {
                check(&exchange, &model);
            }
        }
        check(&exchange, &model);
        for plain in &model {
            assert!(exchange.unbind(&plain.binding()));
        }
        assert!(!exchange.tidy(usize::MAX));
        assert_eq!((exchange.len(), exchange.text_bytes, exchange.destinations.len()), (0, 0, 0));
        assert!(exchange.memory_bytes() < 200, "{kind} {}", exchange.memory_bytes());
    }
}

fn check(exchange: &Exchange, model: &[Plain]) {
    let same = |bound: &Bound<'_>, plain: &Plain| {
        let mut args = plain.args.clone();
        args.sort_unstable();
        (bound.target, bound.name, bound.rkey) == (plain.target, &plain.name[..], &plain.rkey[..])
            && bound.args().eq(args)
    };
    assert_eq!(exchange.bindings().count(), model.len());
    assert!(exchange.bindings().zip(model).all(|(bound, plain)| same(&bound, plain)));
    let mut destinations: Vec<_> = model.iter().map(|plain| (plain.target, &plain.name[..])).collect();
    destinations.sort_unstable();
    destinations.dedup();
    let mut listed: Vec<_> = exchange.destinations().collect();
    listed.sort_unstable();
    assert_eq!(listed, destinations);
    for (target, name) in destinations {
        let there: Vec<_> = model.iter().filter(|plain| plain.target == target && plain.name == name).collect();
        let bindings: Vec<_> = exchange.bindings_to(target, name).collect();
        assert_eq!(bindings.len(), there.len());
        assert!(bindings.iter().zip(there).all(|(bound, plain)| same(bound, plain)));
    }
}

#[test]
fn what_has_ended_is_passed_over_and_made_anew_beside_what_is_still_to_be_taken_out() {
    for kind in ExchangeType::ALL {
        let mut exchange = exchange(kind);
        let key = if kind == ExchangeType::Hash { "1" } else { "k" };
        let numbers: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        for number in &numbers {
            let args: [Pair; 1] = [(b"one", number.clone().into_bytes().leak())];
            assert_eq!(exchange.bind(&Binding { args: &args, ..queue(b"q", key.as_bytes()) }), Ok(true));
        }
        assert_eq!(exchange.end_all(Target::Queue, b"q", 10), 100);
        assert_eq!(exchange.end_all(Target::Queue, b"q", 10), 0);
        let one: &[Pair] = &[(b"one", b"5")];
        assert_eq!((exchange.len(), exchange.bindings().count(), exchange.destinations().count()), (0, 0, 0));
        assert_eq!(routed(&exchange, key.as_bytes(), one, 7), []);
        assert_eq!(exchange.bind(&Binding { args: one, ..queue(b"q", key.as_bytes()) }), Ok(true));
        while exchange.is_untidy() {
            assert_eq!(routed(&exchange, key.as_bytes(), one, 7), [(Target::Queue, b"q".to_vec())]);
            assert_eq!(exchange.bindings_to(Target::Queue, b"q").count(), 1);
            assert_eq!(exchange.clone().bindings().count(), 1);
            exchange.tidy(7);
        }
        assert_eq!(routed(&exchange, key.as_bytes(), one, 7), [(Target::Queue, b"q".to_vec())]);
        assert_eq!((exchange.len(), exchange.bindings.len(), exchange.destinations.len()), (1, 1, 1));
    }
}

#[test]
fn topic_keys_match_by_words() {
    let mut topic = exchange(ExchangeType::Topic);
    for key in ["a.#", "a.*", "#.b", "*.#.*"] {
        topic.bind(&queue(key.as_bytes(), key.as_bytes())).unwrap();
    }
    assert_eq!(names(&topic, "a"), ["a.#"]);
    assert_eq!(names(&topic, "a.b"), ["#.b", "*.#.*", "a.#", "a.*"]);
    assert_eq!(names(&topic, "a.b.c"), ["*.#.*", "a.#"]);
    assert_eq!(names(&topic, "b"), ["#.b"]);
    assert_eq!(names(&topic, "x.y.b"), ["#.b", "*.#.*"]);
    assert_eq!(names(&topic, ""), [""; 0]);
}

#[test]
fn a_destination_gets_one_copy_however_many_of_its_bindings_match() {
    let mut topic = exchange(ExchangeType::Topic);
    for key in ["a.#", "#", "a.*", "*.b", "a.b", "#.a.#.b.#"] {
        topic.bind(&queue(b"q", key.as_bytes())).unwrap();
    }
    assert_eq!(names(&topic, "a.b"), ["q"]);
    topic.bind(&Binding { target: Target::Exchange, ..queue(b"q", b"#") }).unwrap();
    assert_eq!(names(&topic, "a.b"), ["q", "q"]);
}

#[test]
fn bindings_differ_by_arguments_in_every_type() {
    for kind in ExchangeType::ALL {
        let mut exchange = exchange(kind);
        let plain = queue(b"q", b"1");
        let with = Binding { args: &[(b"a", b"1"), (b"b", b"2")], ..plain };
        let turned = Binding { args: &[(b"b", b"2"), (b"a", b"1")], ..plain };
        assert_eq!(
            [exchange.bind(&plain), exchange.bind(&with), exchange.bind(&turned)],
            [Ok(true), Ok(true), Ok(false)]
        );
        assert!(exchange.unbind(&turned) && !exchange.unbind(&with) && exchange.is_bound_to(Target::Queue, b"q"));
        assert!(exchange.unbind(&plain) && !exchange.is_bound_to(Target::Queue, b"q"));
    }
}

#[test]
fn what_cannot_be_bound_is_refused_and_changes_nothing() {
    let long = vec![b'a'; ROUTING_KEY_BYTES_MAX + 1];
    for kind in ExchangeType::ALL {
        let mut exchange = exchange(kind);
        assert_eq!(exchange.bind(&queue(b"q", &long)), Err(BindError::KeyTooLong));
        assert_eq!(exchange.bind(&Binding { args: TWICE, ..queue(b"q", b"1") }), Err(BindError::ArgumentTwice));
        assert!(!exchange.unbind(&Binding { args: TWICE, ..queue(b"q", b"1") }));
        let expected = |refuses: ExchangeType, error| if kind == refuses { Err(error) } else { Ok(true) };
        assert_eq!(exchange.bind(&queue(b"q", b"many")), expected(ExchangeType::Hash, BindError::Weight));
        let some = Binding { args: &[(b"x-match", b"some")], ..queue(b"r", b"1") };
        assert_eq!(exchange.bind(&some), expected(ExchangeType::Headers, BindError::XMatch));
        exchange.unbind_all(Target::Queue, b"q");
        exchange.unbind_all(Target::Queue, b"r");
        assert!(!exchange.tidy(usize::MAX));
        assert_eq!((exchange.len(), exchange.text_bytes, exchange.destinations.len()), (0, 0, 0));
    }
    let mut hash = exchange(ExchangeType::Hash);
    assert_eq!(hash.bind(&queue(b"q", WEIGHT_MAX.to_string().as_bytes())), Ok(true));
    assert_eq!(hash.bind(&queue(b"q", (WEIGHT_MAX + 1).to_string().as_bytes())), Err(BindError::Weight));
}

#[test]
fn one_of_many_is_chosen_evenly_by_modhash_and_random() {
    for kind in [ExchangeType::ModHash, ExchangeType::Random] {
        let mut exchange = exchange(kind);
        assert!(names(&exchange, "a").is_empty());
        for number in 0..10 {
            exchange.bind(&queue(format!("{number}").as_bytes(), b"")).unwrap();
        }
        let (mut counts, mut rng, mut sieve) = ([0; 10], Rng::new(9), Sieve::new());
        for key in 0..20_000 {
            let found = exchange.route(format!("key-{key}").as_bytes(), &[], rng.next(), &mut sieve);
            assert_eq!(found.len(), 1);
            counts[found[0].0 as usize] += 1;
        }
        assert!(counts.iter().all(|count| (1800..2200).contains(count)), "{kind} {counts:?}");
    }
}

#[test]
fn a_copy_is_another_exchange() {
    let mut original = exchange(ExchangeType::Topic);
    original.set_uid(7);
    original.bind(&queue(b"q", b"a.*")).unwrap();
    original.freeze(3);
    let mut copy = original.clone();
    assert_eq!((copy.uid(), copy.frozen_ticket()), (0, None));
    copy.bind(&queue(b"r", b"a.*")).unwrap();
    assert_eq!((names(&copy, "a.b").len(), names(&original, "a.b").len()), (2, 1));
    assert_eq!((original.uid(), original.frozen_ticket()), (7, Some(3)));
}

#[test]
fn memory_is_counted_about_as_it_is() {
    let mut topic = exchange(ExchangeType::Topic);
    for number in 0..10_000 {
        topic.bind(&queue(format!("queue-{number}").as_bytes(), format!("a.b.{number}").as_bytes())).unwrap();
    }
    let each = topic.memory_bytes() / 10_000;
    assert!((150..500).contains(&each), "{each}");
}
