//! A queue from any bytes, used as any other: what was read can be handed out, given back, settled, fired, frozen and written,
//! and what was written is read again as the same.
//!
//! The input is a head and pieces, each behind its length; what is left over says what is done.

#![no_main]

mod pieces;

use libfuzzer_sys::fuzz_target;
use pieces::Giving;
use weir_structs::queue::{
    DeathReason, Due, Envelope, Holder, MessageId, NewMessage, Next, Parcel, Queue, QueueBuilder, When,
};

fuzz_target!(|input: &[u8]| {
    let _ = Parcel::from_bytes(input);
    let _ = MessageId::parse(input);
    let (pieces, rest) = pieces::split(input);
    let Ok(mut queue) = decoded(&pieces) else { return };
    assert_eq!(written(&decoded(&written(&queue)).expect("a queue wrote it")), written(&queue));
    if !queue.has_ids_left() {
        return;
    }
    let holder = queue.holder(Holder::Consumer(1));
    let mut frozen: Option<Giving> = None;
    for &[what, number] in rest.as_chunks().0 {
        let now_ms = u64::from(number);
        let nth = usize::from(number) % (queue.len() as usize + 1);
        let id = queue.all_ids(MessageId::MIN).nth(nth).unwrap_or_default();
        match what % 12 {
            0 => {
                let parcel =
                    Parcel::new(&Envelope { group: Some(&[number % 4]), body: &[what], ..Envelope::default() });
                let when = [When::Now, When::At(now_ms), When::Held { until_ms: now_ms }][usize::from(what >> 4) % 3];
                let (priority, dedup) = (number, Some((&b"p"[..], &input[..1])));
                queue.add(NewMessage { parcel, priority, expires_ms: Some(now_ms), when, dedup, story: None }, now_ms);
            }
            1 | 2 => {
                if let Next::Ready(id) = queue.next(now_ms) {
                    assert!(queue.hand_out(id, holder, Some(now_ms), now_ms));
                }
            }
            3 => drop(queue.give_back(id, number % 2 == 0, (number % 3 == 0).then_some(now_ms))),
            4 => drop(queue.remove(id)),
            5 => drop(queue.fire(id, now_ms)),
            6 => drop(queue.commit(id, now_ms)),
            7 => drop(queue.die(id, DeathReason::Rejected, now_ms)),
            8 => {
                if let Some((_, id, Due::Unpark)) = queue.first_due() {
                    assert!(queue.unpark(id));
                }
            }
            9 if queue.frozen_ticket().is_none() => {
                frozen = Some(Giving::new(written(&queue)));
                queue.freeze(1);
            }
            9 | 10 => give(&mut queue, &mut frozen, usize::from(number)),
            _ => drop(queue.purge(usize::from(number % 4))),
        }
        let figures = queue.figures();
        let all = figures.ready + figures.unacked + figures.delayed + figures.parked + figures.held + figures.dead;
        assert_eq!(all, queue.len());
    }
    give(&mut queue, &mut frozen, usize::MAX);
    assert_eq!(queue.ready_ids().count() as u64, queue.figures().ready);
    assert_eq!(queue.pending_ids(MessageId::MIN).count(), queue.held_by(holder).count());
    assert_eq!(written(&queue.clone()), written(&queue));
});

fn decoded(pieces: &[Vec<u8>]) -> Result<Queue, weir_structs::queue::Corrupt> {
    let (head, pieces) = pieces.split_first().ok_or(weir_structs::queue::Corrupt)?;
    let mut builder = QueueBuilder::new(head)?;
    pieces.iter().try_for_each(|piece| builder.piece(piece))?;
    builder.finish()
}

fn written(queue: &Queue) -> Vec<Vec<u8>> {
    pieces::gathered(|give| queue.encode(give))
}

fn give(queue: &mut Queue, frozen: &mut Option<Giving>, budget: usize) {
    let read = |given: &[Vec<u8>]| written(&decoded(given).expect("a queue gave it"));
    Giving::go_on(frozen, |visit| queue.give_frozen(budget, visit), read);
}
