//! What is encoded is decoded, whatever happens meanwhile; anything else is refused.

use super::super::BindError;
use super::*;
use crate::frozen::{FrozenHead, FrozenPart};
use crate::testing::Rng;

fn some_exchange(kind: ExchangeType, bindings: usize) -> Exchange {
    let options = ExchangeOptions {
        kind,
        alternate: bindings.is_multiple_of(2).then(|| b"elsewhere"[..].into()),
        auto_delete: bindings.is_multiple_of(3),
        internal: bindings.is_multiple_of(5),
        rkacl: bindings.is_multiple_of(7),
    };
    let mut exchange = Exchange::new(options, 1_700_000_000_000);
    for number in 0..bindings {
        bind(&mut exchange, number).unwrap();
    }
    exchange
}

fn bind(exchange: &mut Exchange, number: usize) -> Result<bool, BindError> {
    let (name, rkey) = (format!("queue-{}", number % 1000), (1 + number).to_string());
    let value = vec![b'v'; number % 50];
    let args: &[(&[u8], &[u8])] = &[(b"b", &value), (b"a", b"1")];
    let (target, args) = (Target::ALL[number % 4], &args[number % 3 % 2..]);
    exchange.bind(&Binding { target, name: name.as_bytes(), rkey: rkey.as_bytes(), args })
}

fn encoded(exchange: &Exchange) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    exchange.encode(&mut |piece| pieces.push(piece.to_vec()));
    pieces
}

fn decoded(pieces: &[Vec<u8>]) -> Result<Exchange, Corrupt> {
    let mut builder = ExchangeBuilder::new(pieces.first().ok_or(Corrupt)?)?;
    for piece in &pieces[1..] {
        builder.piece(piece)?;
    }
    builder.finish()
}

#[test]
fn every_exchange_comes_back() {
    for kind in ExchangeType::ALL {
        for bindings in [0, 1, 2, 15, 5000] {
            let exchange = some_exchange(kind, bindings);
            let pieces = encoded(&exchange);
            let back = decoded(&pieces).unwrap();
            assert_eq!(back.options(), exchange.options());
            assert_eq!((back.created_ms(), back.len(), back.uid()), (exchange.created_ms(), bindings, 0));
            assert_eq!(encoded(&back), pieces);
            assert!(pieces.iter().all(|piece| piece.len() < PIECE_BYTES + 200));
        }
    }
}

#[test]
fn a_frozen_exchange_is_given_as_it_was_while_it_changes() {
    let mut rng = Rng::new(77);
    for kind in [ExchangeType::Topic, ExchangeType::ModHash, ExchangeType::Direct] {
        for bindings in [0, 1, 100, 3000] {
            let mut exchange = some_exchange(kind, bindings);
            // Some have ended that are still there.
            let ended = exchange.end_all(Target::ALL[3], b"queue-3", 0);
            let expected = encoded(&exchange).concat();
            exchange.freeze(5);
            let (mut pieces, mut next) = (Vec::new(), bindings);
            loop {
                for _ in 0..rng.below(40) {
                    if rng.below(2) == 0 {
                        bind(&mut exchange, next).unwrap();
                        next += 1;
                    } else {
                        let number = rng.below(1000);
                        exchange.end_all(Target::ALL[number % 4], format!("queue-{number}").as_bytes(), number % 2);
                        exchange.tidy(rng.below(3));
                    }
                }
                assert_eq!(exchange.frozen_ticket(), Some(5));
                assert_eq!(exchange.frozen_head(), Some(FrozenHead::Exchange));
                let mut visit = |part: FrozenPart<'_>| match part {
                    FrozenPart::Piece(piece) => pieces.push(piece.to_vec()),
                    other => panic!("a part of something else: {other:?}"),
                };
                if !exchange.give_frozen(1 + rng.below(50), &mut visit) {
                    break;
                }
            }
            assert_eq!(exchange.frozen_ticket(), None);
            assert_eq!(pieces.concat(), expected);
            assert_eq!(decoded(&pieces).map(|exchange| exchange.len()), Ok(bindings - ended));
        }
    }
}

#[test]
fn a_frozen_state_is_forgotten_when_told() {
    let mut exchange = some_exchange(ExchangeType::Topic, 100);
    exchange.freeze(1);
    exchange.unbind_all(Target::Queue, b"queue-0");
    let kept = exchange.memory_bytes();
    assert!(exchange.thaw().is_some() && exchange.thaw().is_none());
    assert!(exchange.frozen_ticket().is_none() && exchange.memory_bytes() < kept);
    assert!(!exchange.give_frozen(10, &mut |_| panic!("nothing is frozen")));
}

#[test]
fn bytes_that_are_cut_off_or_too_many_are_refused() {
    let pieces = encoded(&some_exchange(ExchangeType::Headers, 14));
    let [head, piece] = &pieces[..] else { panic!("two pieces") };
    for len in 0..head.len() {
        assert!(ExchangeBuilder::new(&head[..len]).is_err(), "{len}");
    }
    for len in 0..piece.len() {
        assert!(decoded(&[head.clone(), piece[..len].to_vec()]).is_err(), "{len}");
    }
    assert!(decoded(&pieces).is_ok());
    assert!(decoded(&[head.clone(), [&piece[..], &piece[..1]].concat()]).is_err());
    assert!(decoded(&[head.clone(), piece.clone(), piece.clone()]).is_err());
    assert!(decoded(&pieces[..1]).is_err());
    assert!(decoded(&[[&head[..], b"x"].concat(), piece.clone()]).is_err());
}

#[test]
fn whatever_is_decoded_can_be_encoded_and_no_bytes_panic() {
    let mut rng = Rng::new(1234);
    let rounds = 20_000;
    let mut accepted = 0;
    for round in 0..rounds {
        let kind = ExchangeType::ALL[round % 7];
        let mut pieces = encoded(&some_exchange(kind, rng.below(6)));
        for _ in 0..1 + rng.below(3) {
            let count = pieces.len();
            let piece = &mut pieces[rng.below(count)];
            let at = rng.below(piece.len());
            match rng.below(4) {
                0 => piece[at] = rng.next() as u8,
                1 => piece[at] ^= 1 << rng.below(8),
                2 => piece.truncate(at.max(1)),
                _ => piece.insert(at, rng.next() as u8),
            }
        }
        if let Ok(exchange) = decoded(&pieces) {
            accepted += 1;
            let again = encoded(&exchange);
            assert_eq!(decoded(&again).map(|back| encoded(&back)), Ok(again));
        }
    }
    assert!(accepted > 100 && accepted < rounds, "{accepted}");
}
