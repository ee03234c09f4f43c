//! Queues against a plain vector of messages that does everything the long way.

mod bytes;
mod frozen;
mod model;

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::testing::Rng;
use model::Model;

/// No two parcels are equal: those that are would be read as one.
static PARCELS: AtomicU64 = AtomicU64::new(1);

/// A message with a body of so many bytes.
fn parcel(len: usize, group: Option<&[u8]>, value: Option<&[u8]>) -> Parcel {
    let header = [(&b"kind"[..], value.unwrap_or_default())];
    Parcel::new(&Envelope {
        exchange: b"x",
        rkey: b"orders",
        headers: if value.is_some() { &header } else { &[] },
        group,
        body: &vec![b'b'; len],
        ts_ms: PARCELS.fetch_add(1, Ordering::Relaxed),
        ..Envelope::default()
    })
}

fn message(parcel: Parcel) -> NewMessage<'static> {
    NewMessage { parcel, priority: 0, expires_ms: None, when: When::Now, dedup: None, story: None }
}

fn queue(options: QueueOptions) -> Queue {
    let rules = Rules::resolve(&options, &[]);
    Queue::new(options, rules, 1_000)
}

fn story(rng: &mut Rng) -> Option<Box<Story>> {
    if rng.below(12) > 0 {
        return None;
    }
    let mut story = Story { rkey: (rng.below(2) == 0).then(|| (*b"dead").into()), ..Story::default() };
    for number in 0..rng.below(4) {
        story.tell(Death {
            queue: vec![b'q'; number % 2].into(),
            reason: DeathReason::ALL[rng.below(5)],
            count: 1,
            time_ms: rng.below(1_000) as u64,
            exchange: (*b"over").into(),
            rkeys: vec![(*b"one").into(), (*b"").into()],
            original_ttl_ms: (rng.below(2) == 0).then_some(60_000),
            note: (rng.below(2) == 0).then(|| (*b"why").into()),
        });
    }
    Some(Box::new(story))
}

fn kinds_of_queues(rng: &mut Rng) -> QueueOptions {
    QueueOptions {
        max_priority: [None, Some(3), Some(255)][rng.below(3)],
        groups: rng.below(3) == 0,
        last_value: (rng.below(3) == 0).then(|| (*b"kind").into()),
        dedup: Some(DedupWindow { ms: 400, ids_max: 20 }),
        max_len: (rng.below(2) == 0).then_some(40),
        ..QueueOptions::default()
    }
}

#[test]
fn a_queue_does_what_a_vector_would() {
    for seed in 0..120 {
        let mut rng = Rng::new(seed);
        let mut model = Model::new(kinds_of_queues(&mut rng));
        // How long it tends to be, so that chunks fill, empty and merge.
        let aim = [3, 30, 300, 1_000][rng.below(4)];
        let steps = if aim > 100 { 6_000 } else { 3_000 };
        for step in 0..steps {
            model.step(&mut rng, aim);
            if step % (aim / 2 + 3) == 0 {
                model.compare();
            }
        }
        model.compare();
        while !model.messages.is_empty() {
            model.step(&mut rng, 0);
        }
        model.compare();
        assert_eq!(model.queue.figures(), Figures::default());
    }
}

#[test]
fn an_empty_queue_keeps_little_of_what_it_had() {
    let mut queue = queue(QueueOptions::default());
    let empty = queue.memory_bytes();
    for _ in 0..10_000 {
        queue.add(message(parcel(10, None, None)), 7);
    }
    assert!(queue.memory_bytes() > 10_000 * 80);
    assert_eq!(queue.purge(4_000).len(), 4_000);
    assert_eq!((queue.purge(usize::MAX).len(), queue.len()), (6_000, 0));
    assert!(queue.memory_bytes() < empty + 1_000, "{}", queue.memory_bytes());
    for _ in 0..1_000 {
        let id = queue.add(message(parcel(10, None, None)), 7);
        queue.remove(id);
    }
    assert!(queue.memory_bytes() < empty + 1_000, "{}", queue.memory_bytes());
}

#[test]
fn what_is_not_ready_stays_where_it_is_when_all_that_is_goes() {
    for every in [1, 2, 3, 70, 5_000, 20_001] {
        let mut queue = queue(QueueOptions::default());
        let holder = queue.holder(Holder::Named(b"h"));
        let ids: Vec<_> = (0..20_000).map(|_| queue.add(message(parcel(3, None, None)), 7)).collect();
        let out: Vec<_> = ids.iter().copied().step_by(every).skip(usize::from(every > 20_000)).collect();
        out.iter().for_each(|&id| assert!(queue.hand_out(id, holder, None, 8)));
        assert_eq!(queue.purge_ready().0, (ids.len() - out.len()) as u64);
        queue.check();
        assert_eq!(queue.all_ids(MessageId::MIN).collect::<Vec<_>>(), out);
        out.iter().for_each(|&id| assert!(queue.give_back(id, true, None)));
        queue.add(message(parcel(3, None, None)), 9);
        assert_eq!(queue.purge_ready().0, out.len() as u64 + 1);
        queue.check();
        assert_eq!(queue.figures(), Figures::default());
    }
}

#[test]
fn what_stays_for_long_does_not_keep_the_memory_of_what_went() {
    let mut queue = queue(QueueOptions::default());
    let ids: Vec<_> = (0..64_000).map(|_| queue.add(message(parcel(0, None, None)), 7)).collect();
    let each = parcel(0, None, None).memory_bytes();
    for (number, id) in ids.iter().enumerate() {
        if number % 50 != 0 {
            queue.remove(*id);
        }
    }
    queue.check();
    let left = queue.len() as usize;
    assert!(queue.memory_bytes() < left * (each + 260), "{} a message", queue.memory_bytes() / left);
}

#[test]
fn ids_rise_whatever_the_clock_does() {
    let mut queue = queue(QueueOptions::default());
    let mut last = MessageId::MIN;
    for now_ms in [5, 5, 9, 3, 0, u64::MAX, 7, u64::MAX] {
        let id = queue.add(message(parcel(0, None, None)), now_ms);
        assert!(id > last && id < MessageId::END);
        last = id;
    }
    assert!(queue.has_ids_left());
    queue.check();
}

#[test]
fn a_group_goes_one_at_a_time_and_a_retry_holds_it_back() {
    let mut queue = queue(QueueOptions { groups: true, ..QueueOptions::default() });
    let mut add = |group: &[u8]| queue.add(message(parcel(1, Some(group), None)), 1);
    let (a1, a2, b1, b2) = (add(b"a"), add(b"a"), add(b"b"), add(b"b"));
    let holder = queue.holder(Holder::Consumer(1));
    let take = |queue: &mut Queue| match queue.next(1) {
        Next::Ready(id) => queue.hand_out(id, holder, None, 1).then_some(id),
        _ => None,
    };
    assert_eq!([take(&mut queue), take(&mut queue), take(&mut queue)], [Some(a1), Some(b1), None]);
    queue.give_back(a1, true, Some(50));
    assert_eq!(take(&mut queue), None, "the retry is waited for");
    queue.remove(b1);
    assert_eq!(take(&mut queue), Some(b2));
    assert_eq!(queue.first_due(), Some((50, a1, Due::Unpark)));
    queue.unpark(a1);
    assert_eq!([take(&mut queue), take(&mut queue)], [Some(a1), None]);
    queue.die(a1, DeathReason::Rejected, 90);
    assert_eq!([take(&mut queue), take(&mut queue)], [Some(a2), None]);
    queue.check();
}

#[test]
fn after_a_restart_what_was_out_comes_first_and_counts_as_redelivered() {
    let mut queue = queue(QueueOptions::default());
    let ids: Vec<_> = (0..5).map(|_| queue.add(message(parcel(1, None, None)), 1)).collect();
    let holder = queue.holder(Holder::Named(b"me"));
    queue.hand_out(ids[1], holder, Some(9), 1);
    queue.hand_out(ids[2], holder, Some(9), 1);
    queue.remove(ids[1]);
    let clone = queue.clone();
    queue.restarted();
    for queue in [clone, queue] {
        assert_eq!((queue.figures().ready, queue.figures().unacked, queue.first_due()), (4, 0, None));
        let redelivered: Vec<_> = queue.ready_ids().map(|id| queue.message(id).unwrap().redelivered).collect();
        assert_eq!(redelivered, [true, true, false, false], "what was before the mark may have been out as well");
        assert_eq!(queue.message(ids[2]).unwrap().acquired, 1);
        assert_eq!(queue.holder_name(holder), None);
        queue.check();
    }
}

#[test]
fn a_message_lives_through_the_millisecond_in_which_its_time_ends() {
    let mut queue = queue(QueueOptions::default());
    let id = queue.add(NewMessage { expires_ms: Some(10), ..message(parcel(1, None, None)) }, 10);
    assert_eq!((queue.next(10), queue.next(11)), (Next::Ready(id), Next::Expired(id)));
    assert_eq!(queue.first_due(), Some((11, id, Due::Expire)));
    let holder = queue.holder(Holder::Consumer(1));
    queue.hand_out(id, holder, Some(500), 10);
    assert_eq!(queue.first_due(), Some((500, id, Due::Lease)));
    queue.give_back(id, false, None);
    assert_eq!(queue.first_due(), Some((11, id, Due::Expire)));
}

#[test]
fn who_knows_the_effects_has_the_same_queue() {
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let options = kinds_of_queues(&mut rng);
        let (mut first, mut second) = (queue(options.clone()), queue(options));
        let mut meta = Vec::new();
        for step in 0..2_000_u64 {
            let ids: Vec<_> = first.all_ids(MessageId::MIN).collect();
            let some = ids.get(rng.below(ids.len().max(1))).copied();
            match (rng.below(4), some) {
                (0, Some(id)) if rng.below(2) == 0 => {
                    first.remove(id);
                    second.remove(id);
                }
                (1, Some(id)) => {
                    if let Some(key) = first.fire(id, 0).or_else(|| first.commit(id, step)) {
                        assert!(second.fire_as(id, key));
                        assert!(!second.fire_as(id, key));
                    }
                }
                (2, Some(id)) => {
                    let holder = first.holder(Holder::Consumer(1));
                    first.hand_out(id, holder, None, step);
                    first.give_back(id, rng.below(2) == 0, None);
                    meta.clear();
                    assert!(first.put_meta(id, &mut meta));
                    assert_eq!(second.set(id, &meta), Ok(()));
                }
                _ => {
                    let when = [When::Now, When::At(step + 9), When::Held { until_ms: step + 5 }][rng.below(3)];
                    let parcel = parcel(3, Some(&[rng.below(4) as u8]), Some(&[rng.below(4) as u8]));
                    let (priority, name) = (rng.below(256) as u8, [rng.below(30) as u8]);
                    let dedup = Some((&b"p"[..], &name[..])).filter(|_| rng.below(3) == 0);
                    let new = NewMessage { priority, when, dedup, story: story(&mut rng), ..message(parcel.clone()) };
                    let id = first.add(new, step);
                    meta.clear();
                    assert!(first.put_meta_known(id, dedup, &mut meta));
                    assert_eq!(second.put(id, &meta, parcel), Ok(()));
                    if let Some((producer, name)) = dedup {
                        assert_eq!(second.known(producer, name, step), Some(id));
                    }
                }
            }
        }
        second.set_mark(first.mark());
        assert_eq!(bytes::encoded(&first), bytes::encoded(&second), "seed {seed}");
        second.check();
    }
}

#[test]
fn only_a_further_delivery_is_a_redelivery() {
    let mut queue = queue(QueueOptions::default());
    let id = queue.add(message(parcel(1, None, None)), 1);
    let holder = queue.holder(Holder::Consumer(1));
    let is_redelivered = |queue: &Queue| queue.message(id).unwrap().redelivered;
    queue.hand_out(id, holder, None, 1);
    assert_eq!((is_redelivered(&queue), queue.mark()), (false, id));
    queue.give_back(id, false, None);
    assert!(is_redelivered(&queue));
    queue.hand_out(id, holder, None, 1);
    assert!(is_redelivered(&queue));
    queue.restarted();
    queue.hand_out(id, holder, None, 1);
    assert!(queue.remove(id).unwrap().redelivered);
}
