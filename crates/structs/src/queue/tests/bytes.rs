//! Queues as bytes.

use super::model::some_queue;
use super::parcel;
use crate::frozen::FrozenPart;
use crate::queue::*;
use crate::testing::Rng;

/// Head and pieces.
pub(super) fn encoded(queue: &Queue) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    queue.encode(&mut |piece| pieces.push(piece.to_vec()));
    pieces
}

pub(super) fn decoded(pieces: &[Vec<u8>]) -> Result<Queue, Corrupt> {
    let (head, pieces) = pieces.split_first().ok_or(Corrupt)?;
    let mut builder = QueueBuilder::new(head)?;
    for piece in pieces {
        builder.piece(piece)?;
    }
    builder.finish()
}

#[test]
fn a_queue_comes_back_from_its_bytes() {
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let aim = [3, 100, 2_000][rng.below(3)];
        let model = some_queue(&mut rng, aim, aim * 5);
        let bytes = encoded(&model.queue);
        let back = decoded(&bytes).unwrap();
        back.check();
        assert_eq!(encoded(&back), bytes);
        let mut restarted = model.queue.clone();
        assert_eq!(back.figures(), Figures { away_bytes: 0, ..restarted.figures() });
        assert!(back.ready_ids().eq(restarted.ready_ids()));
        assert_eq!(back.options(), restarted.options());
        assert_eq!(back.first_due(), restarted.first_due());
        assert_eq!((back.mark(), back.last_id()), (restarted.mark(), restarted.last_id()));
        for id in back.all_ids(MessageId::MIN) {
            let (one, other) = (back.message(id).unwrap(), restarted.message(id).unwrap());
            assert_eq!((one.key, one.state, one.redelivered), (other.key, other.state, other.redelivered));
        }
        restarted.restarted();
    }
}

#[test]
fn queues_that_shared_a_parcel_share_it_again() {
    let mut queues = [super::queue(QueueOptions::default()), super::queue(QueueOptions::default())];
    for len in 0..20 {
        let parcel = parcel(len % 3, None, None);
        for queue in &mut queues {
            queue.add(super::message(parcel.clone()), 1);
        }
    }
    let alone = queues[0].add(super::message(parcel(100, None, None)), 1);
    let mut pool = ParcelPool::default();
    let [first, second] = queues.each_ref().map(encoded).map(|bytes| {
        let mut builder = QueueBuilder::new(&bytes[0]).unwrap();
        bytes[1..].iter().for_each(|piece| builder.piece_with(piece, &mut pool).unwrap());
        builder.finish().unwrap()
    });
    drop(pool);
    for (one, other) in first.all_ids(MessageId::MIN).zip(second.all_ids(MessageId::MIN)) {
        assert!(first.message(one).unwrap().parcel.is_same(second.message(other).unwrap().parcel));
    }
    assert_eq!(first.message(alone).unwrap().parcel.shared_by(), 1);
}

#[test]
fn a_parcel_that_queues_share_is_written_once_where_they_are_written_together() {
    let mut queues = [super::queue(QueueOptions::default()), super::queue(QueueOptions::default())];
    for len in 0..200 {
        let parcel = parcel(100 + len, None, None);
        for queue in &mut queues {
            queue.add(super::message(parcel.clone()), 1);
        }
    }
    queues[1].add(super::message(parcel(100, None, None)), 1);
    let mut written = WrittenParcels::default();
    let [first, second] = &mut queues;
    let mut pieces = [Vec::new(), Vec::new()];
    first.encode_with(&mut |parcel| written.next(parcel), &mut |piece| pieces[0].push(piece.to_vec()));
    second.freeze(1);
    while second.give_frozen(7, &mut |part| match part {
        FrozenPart::Piece(piece) => pieces[1].push(piece.to_vec()),
        FrozenPart::Shared(parcel, how) => how.set(written.next(parcel)),
        part => panic!("{part:?}"),
    }) {}
    let bytes = pieces.each_ref().map(|pieces| pieces.iter().map(Vec::len).sum::<usize>());
    assert!(bytes[0] > 200 * 200 && bytes[1] < 200 * 20, "{bytes:?}");
    let mut pool = ParcelPool::default();
    let read = pieces.each_ref().map(|pieces| {
        let mut builder = QueueBuilder::new(&pieces[0]).unwrap();
        pieces[1..].iter().for_each(|piece| builder.piece_with(piece, &mut pool).unwrap());
        builder.finish().unwrap()
    });
    for (read, queue) in read.iter().zip(&queues) {
        assert_eq!(encoded(read), encoded(queue));
    }
    for (one, other) in read[0].all_ids(MessageId::MIN).zip(read[1].all_ids(MessageId::MIN)) {
        assert!(read[0].message(one).unwrap().parcel.is_same(read[1].message(other).unwrap().parcel));
    }
    // By themselves the one is whole, the other is not; and a number is given once.
    assert!(decoded(&pieces[0]).is_ok() && decoded(&pieces[1]).is_err());
    let mut builder = QueueBuilder::new(&pieces[0][0]).unwrap();
    assert_eq!(builder.piece_with(&pieces[0][1], &mut pool), Err(Corrupt));
}

#[test]
fn all_options_come_back() {
    let options = QueueOptions {
        exclusive: true,
        auto_delete: true,
        expires_ms: Some(1),
        msg_ttl_ms: Some(u64::MAX),
        max_len: Some(0),
        max_bytes: Some(1 << 40),
        overflow: Some(Overflow::Block),
        dlx: Some((*b"dead").into()),
        dl_rkey: Some((*b"").into()),
        dl_strategy: Some(DlStrategy::Drop),
        delivery_limit: Some(-1),
        retry: Some(Retry { which: RetryWhich::Returned, min_ms: 5, max_ms: 6 }),
        lease_ms: Some(7),
        max_priority: Some(255),
        sac: true,
        groups: true,
        last_value: Some((*b"header").into()),
        dedup: Some(DedupWindow { ms: 8, ids_max: 9 }),
        track: true,
    };
    let mut queue = super::queue(options.clone());
    queue.set_paused(Paused::OUT);
    let back = decoded(&encoded(&queue)).unwrap();
    assert_eq!((back.options(), back.paused(), back.created_ms(), back.uid()), (&options, Paused::OUT, 1_000, 0));
}

#[test]
fn cut_bytes_are_refused_or_read_as_far_as_they_go() {
    let mut rng = Rng::new(3);
    let model = some_queue(&mut rng, 30, 400);
    let bytes = encoded(&model.queue);
    for len in 0..bytes[0].len() {
        assert!(QueueBuilder::new(&bytes[0][..len]).is_err(), "head cut at {len}");
    }
    for (at, piece) in bytes.iter().enumerate().skip(1) {
        for len in 0..piece.len() {
            let mut cut = bytes.clone();
            cut[at].truncate(len);
            if let Ok(queue) = decoded(&cut) {
                queue.check();
            }
        }
    }
}

#[test]
fn bytes_of_any_kind_make_a_good_queue_or_none() {
    let mut good = 0;
    for seed in 0..400 {
        let mut rng = Rng::new(seed);
        let aim = 4 + rng.below(10);
        let bytes = encoded(&some_queue(&mut rng, aim, aim * 6).queue);
        for _ in 0..150 {
            let mut mutated = bytes.clone();
            for _ in 0..=rng.below(3) {
                let piece = rng.below(mutated.len());
                let at = rng.below(mutated[piece].len());
                let byte = &mut mutated[piece][at];
                *byte = [0xFF, rng.next() as u8, byte.wrapping_add(1), 0][rng.below(4)];
            }
            let Ok(mut queue) = decoded(&mutated) else { continue };
            good += 1;
            queue.check();
            // It can be used as any other.
            let id = queue.add(super::message(parcel(3, None, None)), 5_000);
            let holder = queue.holder(Holder::Consumer(1));
            while let Next::Ready(id) | Next::Expired(id) = queue.next(5_000) {
                assert!(queue.hand_out(id, holder, None, 5_000));
                queue.remove(id);
            }
            assert!(queue.message(id).is_none_or(|message| message.state != State::Unacked));
            queue.check();
        }
    }
    assert!(good > 1_000, "{good}");
}

#[test]
fn what_is_known_of_a_message_is_read_or_refused_whatever_the_bytes_are() {
    for seed in 0..100 {
        let mut rng = Rng::new(seed);
        let mut model = some_queue(&mut rng, 30, 300);
        let ids: Vec<_> = model.queue.all_ids(MessageId::MIN).collect();
        for id in ids {
            let mut meta = Vec::new();
            assert!(model.queue.put_meta_known(id, Some((b"p", b"name")), &mut meta));
            let parcel = model.queue.message(id).unwrap().parcel.clone();
            for len in 0..meta.len() {
                assert_eq!(model.queue.put(id, &meta[..len], parcel.clone()), Err(Corrupt));
            }
            for _ in 0..20 {
                let mut mutated = meta.clone();
                let at = rng.below(mutated.len());
                mutated[at] = rng.next() as u8;
                let other = MessageId::from_u64(rng.next() >> rng.below(60));
                let _ = model.queue.put(if rng.below(2) == 0 { id } else { other }, &mutated, parcel.clone());
                let _ = model.queue.set(id, &mutated);
                let _ = model.queue.fire_as(other, id);
            }
        }
        model.queue.check();
    }
}
