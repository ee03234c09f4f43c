//! What operations on a queue cost, how long the longest of them takes, and what messages take in memory, in a queue of so
//! many messages with bodies of 128 bytes. `cargo bench -p weir-structs --bench queue -- [messages]`; without a number a
//! small run.

mod timing;

use std::hint::black_box;
use std::time::Duration;

use timing::{each, processor_time, report};
use weir_structs::frozen::FrozenPart;
use weir_structs::queue::{
    Due, Envelope, Holder, HolderId, MessageId, NewMessage, Next, Parcel, Queue, QueueBuilder, QueueOptions, Rules,
    When,
};

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let messages = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(100_000);
    let plain = QueueOptions::default;
    println!("{:<28}{:>9} bytes", "record beside its parcel", 48);

    // A message at a time: the queue is all but empty.
    let mut queue = new_queue(plain());
    let holder = queue.holder(Holder::Consumer(1));
    each("add, take, ack: empty", messages, |number| {
        add(&mut queue, number, 0, When::Now);
        let id = take(&mut queue, holder, number);
        queue.remove(id);
    });
    each("the same, parcels apart", messages, |number| drop(black_box(parcel(number, None))));

    // With so many unacked: as consumers with a prefetch of 1,000 have them.
    let mut window = std::collections::VecDeque::new();
    each("the same, 1000 unacked", messages, |number| {
        add(&mut queue, number, 0, When::Now);
        window.push_back(take(&mut queue, holder, number));
        if window.len() > 1_000
            && let Some(id) = window.pop_front()
        {
            queue.remove(id);
        }
    });

    // The whole queue.
    let before = resident_bytes();
    let mut queue = new_queue(plain());
    let holder = queue.holder(Holder::Consumer(1));
    each("add", messages, |number| {
        add(&mut queue, number, 0, When::Now);
    });
    figures("ready", &queue, messages, before);
    each("add, take, ack: behind all", messages, |number| {
        add(&mut queue, number, 0, When::Now);
        let id = take(&mut queue, holder, number);
        queue.remove(id);
    });
    let ids: Vec<_> = queue.all_ids(MessageId::MIN).collect();
    let spread = |number: usize| ids[(number * 7_919) % ids.len()];
    each("look at any", messages, |number| {
        black_box(queue.message(spread(number)).map(|message| message.acquired));
    });
    let mut taken = Vec::new();
    each("take", messages / 2, |number| taken.push(take(&mut queue, holder, number)));
    each("give back", messages / 4, |number| {
        queue.give_back(taken[number], true, None);
    });
    each("park", messages / 4, |number| {
        queue.give_back(taken[messages / 4 + number], true, Some(number as u64));
    });
    each("unpark", messages / 4, |_| {
        if let Some((_, id, Due::Unpark)) = queue.first_due() {
            queue.unpark(id);
        }
    });
    let began = processor_time();
    let mut bytes = 0;
    queue.freeze(1);
    let mut longest = Duration::ZERO;
    loop {
        let before = processor_time();
        let goes_on = queue.give_frozen(1_000, &mut |part| {
            if let FrozenPart::Piece(piece) = part {
                bytes += piece.len();
            }
        });
        longest = longest.max(processor_time() - before);
        if !goes_on {
            break;
        }
    }
    report("give frozen", ids.len(), processor_time() - began, longest);
    println!("{:<28}{:>9.1} bytes a message", "encoded", bytes as f64 / ids.len() as f64);
    let mut pieces = Vec::new();
    queue.encode(&mut |piece| pieces.push(piece.to_vec()));
    let began = processor_time();
    if let Ok(mut builder) = QueueBuilder::new(&pieces[0]) {
        for piece in &pieces[1..] {
            let _ = builder.piece(piece);
        }
        black_box(builder.finish().map(|queue| queue.len()).ok());
    }
    report("decode", ids.len(), processor_time() - began, Duration::ZERO);
    drop(pieces);
    each("remove any", messages * 3 / 4, |number| drop(queue.remove(spread(number))));
    let left = queue.len() as usize;
    println!(
        "{:<28}{:>9.1} bytes a message of {left} by its own account",
        "rest",
        queue.memory_bytes() as f64 / left as f64
    );
    each("purge", left.div_ceil(1_000), |_| drop(queue.purge(1_000)));
    assert_eq!(queue.len(), 0);
    drop(queue);
    drop(ids);

    let before = resident_bytes();
    let mut queue = new_queue(plain());
    each("add delayed", messages, |number| {
        let at_ms = (number * 7_919 % messages) as u64;
        add(&mut queue, number, 0, When::At(at_ms));
    });
    figures("delayed", &queue, messages, before);
    each("fire", messages, |_| {
        if let Some((at_ms, id, Due::Fire)) = queue.first_due() {
            queue.fire(id, at_ms);
        }
    });
    figures("fired", &queue, messages, before);
    drop(queue);

    for (name, options, groups) in [
        ("10 priorities", QueueOptions { max_priority: Some(9), ..plain() }, false),
        ("255 priorities", QueueOptions { max_priority: Some(255), ..plain() }, false),
        ("groups", QueueOptions { groups: true, ..plain() }, true),
    ] {
        let mut queue = new_queue(options);
        let holder = queue.holder(Holder::Consumer(1));
        each(&format!("{name}: add"), messages, |number| {
            let group = (number % 1_000).to_string();
            let group = groups.then_some(group.as_bytes());
            let priority = (number * 7_919 % 256) as u8;
            queue.add(NewMessage { parcel: parcel(number, group), ..new(priority, When::Now) }, number as u64 / 1_000);
        });
        each(&format!("{name}: take, ack"), messages, |number| {
            let id = take(&mut queue, holder, number);
            queue.remove(id);
        });
        assert_eq!(queue.len(), 0);
    }
}

fn new_queue(options: QueueOptions) -> Queue {
    let rules = Rules::resolve(&options, &[]);
    Queue::new(options, rules, 0)
}

fn parcel(number: usize, group: Option<&[u8]>) -> Parcel {
    Parcel::new(&Envelope { rkey: b"orders", ts_ms: number as u64, group, body: &[b'x'; 128], ..Envelope::default() })
}

fn new(priority: u8, when: When) -> NewMessage<'static> {
    let parcel = Parcel::new(&Envelope::default());
    NewMessage { parcel, priority, expires_ms: None, when, dedup: None, story: None }
}

/// A thousand come in a millisecond.
fn add(queue: &mut Queue, number: usize, priority: u8, when: When) -> MessageId {
    let parcel = parcel(number, None);
    queue.add(NewMessage { parcel, priority, expires_ms: None, when, dedup: None, story: None }, number as u64 / 1_000)
}

fn take(queue: &mut Queue, holder: HolderId, number: usize) -> MessageId {
    let Next::Ready(id) = queue.next(0) else { panic!("nothing to take") };
    queue.hand_out(id, holder, None, number as u64 / 1_000);
    id
}

fn figures(what: &str, queue: &Queue, messages: usize, before: usize) {
    let (own, resident) = (queue.memory_bytes(), resident_bytes().saturating_sub(before));
    println!(
        "{what:<28}{:>9.1} bytes a message by its own account, {:.1} in fact",
        own as f64 / messages as f64,
        resident as f64 / messages as f64
    );
}

/// What the process has in memory.
fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * 4096
}
