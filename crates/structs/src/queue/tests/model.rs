//! A queue that is a vector.

use super::super::away::testing::FileInMemory;
use super::{kinds_of_queues, message, parcel, queue, story};
use crate::queue::*;
use crate::testing::Rng;

const GROUPS: [&[u8]; 3] = [b"a", b"b", b"c"];

/// A message of the vector.
#[derive(Clone, Debug)]
pub(super) struct Own {
    id: MessageId,
    key: MessageId,
    parcel: Parcel,
    /// Which of [`GROUPS`].
    group: Option<usize>,
    state: State,
    priority: u8,
    expires_ms: Option<u64>,
    due_ms: Option<u64>,
    acquired: u32,
    deliveries: u32,
    reason: Option<DeathReason>,
    story: Option<Box<Story>>,
    /// It was ready below the mark after a restart when it was handed out.
    was_out: bool,
    holder: Option<u64>,
    since_ms: Option<u64>,
    lease_until_ms: Option<u64>,
}

/// A queue, and the same messages in a vector, in the order of places.
pub(super) struct Model {
    pub(super) queue: Queue,
    pub(super) messages: Vec<Own>,
    options: QueueOptions,
    now_ms: u64,
    known: Vec<(Vec<u8>, MessageId, u64)>,
    mark: MessageId,
    restart_mark: MessageId,
    /// Names and numbers of those who have been asked for.
    consumers: u64,
    may_restart: bool,
    /// Where bodies go.
    file: FileInMemory,
}

impl Model {
    pub(super) fn new(options: QueueOptions) -> Model {
        Model {
            queue: queue(options.clone()),
            messages: Vec::new(),
            options,
            now_ms: 1_000,
            known: Vec::new(),
            mark: MessageId::MIN,
            restart_mark: MessageId::MIN,
            consumers: 5,
            may_restart: true,
            file: FileInMemory::default(),
        }
    }

    /// Something happens; the queue tends to have `aim` messages.
    pub(super) fn step(&mut self, rng: &mut Rng, aim: usize) {
        if rng.below(3) == 0 {
            self.now_ms += rng.below(4) as u64;
        }
        let grows = rng.below(self.messages.len() + aim + 1) < aim;
        let some = (!self.messages.is_empty()).then(|| rng.below(self.messages.len()));
        self.file.set_near(rng.below(8) > 0);
        match rng.below(22) {
            0..=7 if grows => self.add(rng),
            0..=3 => self.remove(rng, some),
            4..=9 => self.hand_out(rng),
            10..=12 => self.give_back(rng, some),
            13 => self.lease(rng, some),
            14 => self.fire(rng, some),
            15 => self.die(rng, some),
            16 => self.do_due(rng),
            17 if self.may_restart && aim > 0 && rng.below(50) == 0 => self.restart(rng),
            18 if rng.below(30) == 0 => self.purge(rng),
            19 => self.replace(rng, some),
            20 => self.move_bodies(rng),
            21 => self.bring_back(some),
            _ => {}
        }
        self.compare_next();
    }

    /// The same without restarts, which make another queue of it.
    pub(super) fn step_frozen(&mut self, rng: &mut Rng, aim: usize) {
        let may_restart = std::mem::replace(&mut self.may_restart, false);
        self.step(rng, aim);
        self.may_restart = may_restart;
    }

    fn add(&mut self, rng: &mut Rng) {
        let group = rng.below(3);
        let len = rng.below(40) + if rng.below(6) == 0 { MOVED_BODY_BYTES_MIN } else { 0 };
        let group = (rng.below(4) > 0).then_some(group);
        let parcel = parcel(
            len,
            group.map(|group| GROUPS[group]),
            (rng.below(3) > 0).then_some(&[b"v", b"w"][rng.below(2)][..]),
        );
        let when = match rng.below(6) {
            0 => When::At(self.now_ms + rng.below(30) as u64),
            1 => When::Held { until_ms: self.now_ms + rng.below(30) as u64 },
            _ => When::Now,
        };
        let priority = if rng.below(3) == 0 { rng.below(256) as u8 } else { 0 };
        let expires_ms = (rng.below(4) == 0).then(|| self.now_ms + rng.below(60) as u64);
        let name = [rng.below(40) as u8];
        let dedup = (rng.below(4) == 0).then_some((&b"p"[..], &name[..]));
        let story = story(rng);
        // What is shared would be written in another way.
        let copy = Parcel::from_bytes(&parcel.bytes(Wait::UntilRead).unwrap()).unwrap();
        let id = self.queue.add(
            NewMessage { priority, expires_ms, when, dedup, story: story.clone(), ..message(parcel) },
            self.now_ms,
        );
        assert!(self.messages.last().is_none_or(|last| last.key < id && last.id < id));
        let (state, due_ms) = match when {
            When::Now => (State::Ready, None),
            When::At(ms) => (State::Delayed, Some(ms)),
            When::Held { until_ms } => (State::Held, Some(until_ms)),
        };
        self.messages.push(Own {
            id,
            key: id,
            parcel: copy,
            group,
            state,
            priority: priority.min(self.options.max_priority.unwrap_or(0)),
            expires_ms,
            due_ms,
            acquired: 0,
            deliveries: 0,
            reason: None,
            story,
            was_out: false,
            holder: None,
            since_ms: None,
            lease_until_ms: None,
        });
        if dedup.is_some() {
            self.known.retain(|(own, _, _)| own[..] != name);
            self.known.push((name.to_vec(), id, self.now_ms));
            let window = self.options.dedup.unwrap();
            for _ in 0..3 {
                let is_old = self.known.first().is_some_and(|(_, _, at_ms)| self.now_ms - at_ms >= window.ms);
                if is_old || self.known.len() as u64 > window.ids_max {
                    self.known.remove(0);
                }
            }
        }
    }

    fn remove(&mut self, rng: &mut Rng, some: Option<usize>) {
        let at = match self.messages.iter().position(|own| own.state == State::Unacked) {
            Some(at) if rng.below(3) > 0 => Some(at),
            _ => some,
        };
        let Some(at) = at else {
            assert!(self.queue.remove(MessageId::new(self.now_ms, 9)).is_none());
            return;
        };
        let own = self.messages.remove(at);
        let removed = self.queue.remove(own.id).unwrap();
        assert_eq!((removed.state, removed.id, removed.priority), (own.state, own.id, own.priority));
        assert_eq!((removed.acquired, removed.deliveries), (own.acquired, own.deliveries));
        assert_eq!((removed.expires_ms, removed.reason), (own.expires_ms, own.reason));
        assert_eq!((removed.redelivered, &removed.story), (self.is_redelivered(&own), &own.story));
        assert_eq!(removed.rkey(), own.story.as_ref().and_then(|story| story.rkey.as_deref()).unwrap_or(b"orders"));
        assert!(removed.parcel == own.parcel);
        assert!(self.queue.remove(own.id).is_none() && self.queue.message(own.id).is_none());
    }

    fn hand_out(&mut self, rng: &mut Rng) {
        let Next::Ready(id) = self.queue.next(self.now_ms) else { return };
        let number = 1 + rng.below(self.consumers as usize) as u64;
        let lease = (rng.below(2) == 0).then(|| self.now_ms + rng.below(50) as u64);
        let holder = self.holder(number);
        assert!(self.queue.hand_out(id, holder, lease, self.now_ms));
        assert!(!self.queue.hand_out(id, holder, lease, self.now_ms));
        let now_ms = self.now_ms;
        let restart_mark = self.restart_mark;
        let own = self.find(id);
        own.was_out |= own.key <= restart_mark;
        own.state = State::Unacked;
        own.acquired += 1;
        (own.holder, own.since_ms, own.lease_until_ms) = (Some(number), Some(now_ms), lease);
        let key = own.key;
        self.mark = self.mark.max(key);
    }

    /// Odd numbers are consumers, even ones have names.
    fn holder(&mut self, number: u64) -> HolderId {
        match number % 2 {
            1 => self.queue.holder(Holder::Consumer(number)),
            _ => self.queue.holder(Holder::Named(&[number as u8])),
        }
    }

    fn give_back(&mut self, rng: &mut Rng, some: Option<usize>) {
        let Some(own) = some.map(|at| &mut self.messages[at]) else { return };
        let (failed, park) = (rng.below(2) == 0, (rng.below(3) == 0).then(|| self.now_ms + rng.below(20) as u64));
        assert_eq!(self.queue.give_back(own.id, failed, park), own.state == State::Unacked);
        if own.state == State::Unacked {
            own.deliveries += u32::from(failed);
            (own.state, own.due_ms) = (if park.is_some() { State::Parked } else { State::Ready }, park);
            (own.holder, own.since_ms, own.lease_until_ms) = (None, None, None);
        }
    }

    fn lease(&mut self, rng: &mut Rng, some: Option<usize>) {
        let Some(at) = some else { return };
        let (id, now_ms) = (self.messages[at].id, self.now_ms);
        let is_unacked = self.messages[at].state == State::Unacked;
        if rng.below(2) == 0 {
            let until_ms = now_ms + rng.below(90) as u64;
            assert_eq!(self.queue.extend_lease(id, until_ms), is_unacked);
            self.messages[at].lease_until_ms = is_unacked.then_some(until_ms);
        } else {
            let number = 1 + rng.below(6) as u64;
            let holder = self.holder(number);
            assert_eq!(self.queue.claim(id, holder, now_ms), is_unacked);
            if is_unacked {
                let own = &mut self.messages[at];
                own.acquired += 1;
                (own.holder, own.since_ms) = (Some(number), Some(now_ms));
            }
        }
    }

    fn fire(&mut self, rng: &mut Rng, some: Option<usize>) {
        let Some(at) = some else { return };
        let own = &self.messages[at];
        let last = self.queue.last_id();
        let key = match (own.state, rng.below(2)) {
            (State::Parked, _) => {
                assert!(self.queue.unpark(own.id));
                (self.messages[at].state, self.messages[at].due_ms) = (State::Ready, None);
                return;
            }
            (State::Delayed, _) => self.queue.fire(own.id, self.now_ms),
            (State::Held, _) => self.queue.commit(own.id, self.now_ms),
            (_, 0) => self.queue.fire(own.id, self.now_ms),
            _ => self.queue.commit(own.id, self.now_ms),
        };
        assert_eq!(key.is_some(), matches!(own.state, State::Delayed | State::Held));
        assert!(!self.queue.unpark(own.id));
        if let Some(key) = key {
            assert!(key > last && self.queue.last_id() == key);
            let mut own = self.messages.remove(at);
            (own.state, own.due_ms, own.key) = (State::Ready, None, key);
            self.messages.push(own);
        }
    }

    fn die(&mut self, rng: &mut Rng, some: Option<usize>) {
        let Some(own) = some.map(|at| &mut self.messages[at]) else { return };
        let (reason, retry_ms) = (DeathReason::ALL[rng.below(5)], self.now_ms + rng.below(50) as u64);
        assert!(self.queue.die(own.id, reason, retry_ms));
        (own.state, own.reason, own.due_ms) = (State::Dead, Some(reason), Some(retry_ms));
        (own.holder, own.since_ms, own.lease_until_ms) = (None, None, None);
    }

    /// What is due first is done, as a server would.
    fn do_due(&mut self, rng: &mut Rng) {
        let Some((at_ms, id, due)) = self.queue.first_due() else { return };
        if at_ms > self.now_ms && rng.below(8) > 0 {
            return;
        }
        let at = self.messages.iter().position(|own| own.id == id);
        match due {
            Due::Fire | Due::Unpark => self.fire(rng, at),
            Due::Lease => self.give_back(rng, at),
            Due::Expire | Due::Unresolved if rng.below(2) == 0 => self.die(rng, at),
            Due::Expire | Due::Unresolved | Due::RetryDead => {
                self.messages.retain(|own| own.id != id);
                assert!(self.queue.remove(id).is_some());
            }
        }
    }

    fn restart(&mut self, rng: &mut Rng) {
        match rng.below(3) {
            0 => self.queue.restarted(),
            1 => {
                self.compare();
                self.queue = self.queue.clone();
            }
            _ => self.queue = super::bytes::decoded(&super::bytes::encoded(&self.queue)).unwrap(),
        }
        for own in &mut self.messages {
            if own.state == State::Unacked {
                own.state = State::Ready;
                (own.holder, own.since_ms, own.lease_until_ms) = (None, None, None);
            }
        }
        self.restart_mark = self.mark;
    }

    fn is_redelivered(&self, own: &Own) -> bool {
        let before = if own.state == State::Unacked { own.acquired - 1 } else { own.acquired };
        let was_in_line = !matches!(own.state, State::Delayed | State::Held);
        before > 0 || own.was_out || (was_in_line && own.state != State::Unacked && own.key <= self.restart_mark)
    }

    fn purge(&mut self, rng: &mut Rng) {
        if rng.below(2) == 0 {
            return self.purge_ready(rng);
        }
        let max = rng.below(30);
        let expected: Vec<_> = self.ready().into_iter().take(max).collect();
        assert_eq!(self.queue.purge(max), expected);
        self.messages.retain(|own| !expected.contains(&own.id));
    }

    /// All that is ready goes at once, here or as it is repeated elsewhere.
    fn purge_ready(&mut self, rng: &mut Rng) {
        let ready = self.ready();
        if rng.below(2) == 0 {
            let (count, _) = self.queue.purge_ready();
            assert_eq!(count, ready.len() as u64);
        } else {
            // Who repeats it takes for ready what is out, or was parked.
            let others: Vec<_> = self.queue.out_of_line();
            let ids: Vec<_> = others.iter().chain(&ready).copied().filter(|_| rng.below(3) > 0).collect();
            drop(self.queue.purge_others(&ids));
            let parked = |own: &Own| own.state == State::Parked || own.state == State::Ready;
            self.messages.retain(|own| !parked(own) || ids.contains(&own.id));
            return;
        }
        self.messages.retain(|own| own.state != State::Ready);
    }

    /// A message is written as it is and put in its own place.
    fn replace(&mut self, rng: &mut Rng, some: Option<usize>) {
        let Some(own) = some.map(|at| &mut self.messages[at]) else { return };
        if own.state == State::Unacked || rng.below(3) > 0 {
            return;
        }
        let mut meta = Vec::new();
        assert!(self.queue.put_meta(own.id, &mut meta));
        if rng.below(2) == 0 {
            assert_eq!(self.queue.set(own.id, &meta), Ok(()));
        } else {
            let copy = Parcel::from_bytes(&own.parcel.bytes(Wait::UntilRead).unwrap()).unwrap();
            assert_eq!(self.queue.put(own.id, &meta, copy), Ok(()));
        }
    }

    /// Bodies go elsewhere: those that came last, and none of who has somebody.
    fn move_bodies(&mut self, rng: &mut Rng) {
        let keep = rng.below(20_000) as u64;
        let before = self.queue.figures();
        let (bytes_max, look) = (rng.below(20_000) as u64, 1 + rng.below(60));
        let mut found = self.queue.to_move(keep, bytes_max, look);
        if rng.below(4) == 0 {
            self.queue.put_back(&found);
            let again = self.queue.to_move(keep, bytes_max, look);
            assert!(again.more == found.more && again.messages == found.messages);
            found = again;
        }
        let ToMove { messages, more, .. } = found;
        assert!(before.bytes - before.away_bytes > keep || (messages.is_empty() && !more));
        assert!(messages.is_sorted_by_key(|(id, _)| self.queue.message(*id).unwrap().key));
        for (id, parcel) in messages {
            assert!(self.queue.message(id).unwrap().state != State::Unacked && !parcel.is_away());
            let away = self.file.take(&parcel);
            assert!(!self.queue.exchange_parcel(id, &away, parcel.clone()));
            assert!(self.queue.exchange_parcel(id, &parcel, away));
            assert!(self.queue.message(id).unwrap().parcel.is_away());
        }
        if rng.below(10) == 0 {
            self.queue.sweep_again();
        }
    }

    fn bring_back(&mut self, some: Option<usize>) {
        let Some(own) = some.map(|at| &self.messages[at]) else { return };
        let before = self.queue.figures();
        let was_away = self.queue.message(own.id).unwrap().parcel.is_away();
        match self.queue.bring_back(own.id, Wait::Never) {
            Ok(is_back) => assert_eq!(is_back, was_away),
            Err(why) => {
                assert!(was_away && why == NotRead::Yet && self.queue.figures() == before);
                assert_eq!(self.queue.bring_back(own.id, Wait::UntilRead), Ok(true));
            }
        }
        let back = if was_away { own.parcel.body_len() as u64 } else { 0 };
        assert_eq!(self.queue.figures(), Figures { away_bytes: before.away_bytes - back, ..before });
    }

    fn find(&mut self, id: MessageId) -> &mut Own {
        self.messages.iter_mut().find(|own| own.id == id).unwrap()
    }

    fn ready(&self) -> Vec<MessageId> {
        let mut ready: Vec<_> = self.messages.iter().filter(|own| own.state == State::Ready).collect();
        ready.sort_by_key(|own| (u8::MAX - own.priority, own.key));
        ready.into_iter().map(|own| own.id).collect()
    }

    /// Those that may be next, in the order of places: where a group goes one at a time the first of each, unless one is out.
    fn offered(&self) -> impl Iterator<Item = &Own> {
        let is_out = |group| self.messages.iter().any(|own| own.group == Some(group) && own.state == State::Unacked);
        let mut is_over: [bool; GROUPS.len()] = std::array::from_fn(is_out);
        self.messages.iter().filter(move |own| match own.group.filter(|_| self.options.groups) {
            Some(group) if matches!(own.state, State::Ready | State::Parked) => {
                !std::mem::replace(&mut is_over[group], true) && own.state == State::Ready
            }
            Some(_) => false,
            None => own.state == State::Ready,
        })
    }

    /// What is looked at after each step: what comes next, and what is due first.
    fn compare_next(&self) {
        if self.messages.len() > 60 && !self.messages.len().is_multiple_of(16) {
            return;
        }
        let first = self.offered().min_by_key(|own| (u8::MAX - own.priority, own.key));
        let expected = first.map_or(Next::Nothing, |own| match own.expires_ms {
            Some(at_ms) if at_ms < self.now_ms => Next::Expired(own.id),
            _ => Next::Ready(own.id),
        });
        assert_eq!(self.queue.next(self.now_ms), expected);
        let due = self.messages.iter().filter_map(|own| Some((Self::due(own)?, own.key))).min();
        let due =
            due.map(|((at_ms, due), key)| (at_ms, self.messages.iter().find(|own| own.key == key).unwrap().id, due));
        assert_eq!(self.queue.first_due().map(|(at_ms, id, due)| (at_ms, id, Rank(due))), due);
    }

    fn due(own: &Own) -> Option<(u64, Rank)> {
        let gone_ms = own.expires_ms.map(|at_ms| (at_ms + 1, Rank(Due::Expire)));
        let with = |due| {
            let own = own.due_ms.map(|at_ms| (at_ms, Rank(due)));
            match (own, gone_ms) {
                (Some(own), Some(gone)) => Some(if gone.0 < own.0 { gone } else { own }),
                (own, gone) => own.or(gone),
            }
        };
        match own.state {
            State::Ready => gone_ms,
            State::Delayed => with(Due::Fire),
            State::Parked => with(Due::Unpark),
            State::Held => with(Due::Unresolved),
            State::Unacked => own.lease_until_ms.map(|at_ms| (at_ms, Rank(Due::Lease))),
            State::Dead => own.due_ms.map(|at_ms| (at_ms, Rank(Due::RetryDead))),
        }
    }

    /// Everything that can be asked is asked.
    pub(super) fn compare(&self) {
        let queue = &self.queue;
        queue.check();
        let count = |state| self.messages.iter().filter(|own| own.state == state).count() as u64;
        let bytes = |state: Option<State>| {
            let of = self.messages.iter().filter(|own| state.is_none_or(|state| own.state == state));
            of.map(|own| own.parcel.body_len() as u64).sum::<u64>()
        };
        let figures = Figures {
            ready: count(State::Ready),
            unacked: count(State::Unacked),
            delayed: count(State::Delayed),
            parked: count(State::Parked),
            held: count(State::Held),
            dead: count(State::Dead),
            ready_bytes: bytes(Some(State::Ready)),
            dead_bytes: bytes(Some(State::Dead)),
            bytes: bytes(None),
            // What that comes to is checked by the queue itself.
            away_bytes: queue.figures().away_bytes,
        };
        assert_eq!(queue.figures(), figures);
        if let Some(max) = self.options.max_len {
            let more = max.saturating_sub(figures.ready + figures.dead);
            assert_eq!(queue.exceeds(more, 0), figures.ready + figures.dead > max);
            assert!(queue.exceeds(more + 1, 0));
        }
        let ready = self.ready();
        assert_eq!(queue.ready_ids().collect::<Vec<_>>(), ready);
        assert!(queue.ready_ids().rev().eq(ready.iter().rev().copied()));
        let (mut behind, mut walked) = (None, Vec::new());
        while let Some((id, priority, key)) = queue.ready_behind(behind).next() {
            walked.push(id);
            behind = Some((priority, key.to_u64()));
        }
        assert_eq!(walked, ready);
        let mut by_priority = std::collections::BTreeMap::new();
        for own in self.messages.iter().filter(|own| own.state == State::Ready) {
            *by_priority.entry(own.priority).or_insert(0) += 1;
        }
        assert!(queue.ready_by_priority().eq(by_priority.into_iter().rev()));
        let oldest = self.messages.iter().filter(|own| own.state == State::Ready).map(|own| own.id).next();
        assert_eq!(queue.oldest_ready(), oldest);
        let from = self.messages.get(self.messages.len() / 3).map_or(MessageId::MIN, |own| own.key);
        let all = self.messages.iter().filter(|own| own.key >= from).map(|own| own.id);
        assert!(queue.all_ids(from).eq(all));
        let mut pending: Vec<_> = self.messages.iter().filter(|own| own.holder.is_some()).collect();
        pending.sort_by_key(|own| own.id);
        assert!(queue.pending_ids(MessageId::MIN).eq(pending.iter().map(|own| own.id)));
        let mut held = std::collections::BTreeMap::new();
        for own in pending {
            let holder = queue.message(own.id).unwrap().holder.unwrap();
            let name = queue.holder_name(holder).unwrap();
            let number = own.holder.unwrap();
            match number % 2 {
                1 => assert_eq!(name, Holder::Consumer(number)),
                _ => assert_eq!(name, Holder::Named(&[number as u8])),
            }
            held.entry(holder).or_insert_with(Vec::new).push(own.id);
        }
        for (holder, ids) in held {
            assert!(queue.held_by(holder).eq(ids));
        }
        for own in &self.messages {
            let message = queue.message(own.id).unwrap();
            assert_eq!((message.id, message.key, message.state), (own.id, own.key, own.state));
            assert_eq!((message.priority, message.expires_ms), (own.priority, own.expires_ms));
            assert_eq!((message.acquired, message.deliveries), (own.acquired, own.deliveries));
            assert_eq!((message.due_ms, message.reason), (own.due_ms, own.reason));
            assert_eq!(message.redelivered, self.is_redelivered(own), "{own:?}");
            assert_eq!((message.since_ms, message.lease_until_ms), (own.since_ms, own.lease_until_ms));
            assert_eq!(message.story, own.story.as_deref());
            assert!(message.parcel == &own.parcel);
        }
        for name in 0..40_u8 {
            let known = self.known.iter().find(|(own, _, at_ms)| own[..] == [name] && self.now_ms - at_ms < 400);
            assert_eq!(queue.known(b"p", &[name], self.now_ms), known.map(|(_, id, _)| *id));
        }
        if self.options.last_value.is_some() {
            for value in [&b"v"[..], b"w", b"none"] {
                let mut with = self.messages.iter().filter(|own| {
                    own.state == State::Ready && own.parcel.header(b"kind").is_some_and(|own| own == value)
                });
                assert_eq!(queue.same_value(value), with.next_back().map(|own| own.id));
            }
        }
    }
}

/// So that pairs of a time and this can be compared; only the time ever decides.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rank(Due);

impl Eq for Rank {}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Rank) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Rank {
    fn cmp(&self, _: &Rank) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

/// A queue of some kind after so many steps.
pub(super) fn some_queue(rng: &mut Rng, aim: usize, steps: usize) -> Model {
    let mut model = Model::new(kinds_of_queues(rng));
    (0..steps).for_each(|_| model.step(rng, aim));
    model
}
