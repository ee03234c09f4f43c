//! The model: what the broker should do, without any index, and with every message looked at whenever something is asked.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use weir::store::{Store, ValueRef};
use weir_structs::exchange::{Exchange, Sieve, Target};
use weir_structs::glob::glob_match;
use weir_structs::queue::{
    Counters, Death, DeathReason, DlStrategy, Figures, Holder, Left, MessageId, Overflow, Queue, QueueOptions, Retry,
    RetryWhich, Rules, State, Story, Wait,
};

/// A dead letter that nobody took is offered again after so many ms.
const OFFER_AGAIN_MS: u64 = 1_000;
/// Moves of messages that follow from each other.
const MOVES_MAX: usize = 32;
/// Messages of a queue that have their turn before those of another one that are due by then.
const MESSAGES_A_TURN: usize = 64;
/// Receipts that are remembered.
const RECEIPTS: usize = 40;

/// What a server may answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Wanted {
    /// Exactly this, as it is sent.
    Exactly(String),
    /// An error that begins like this.
    Error(&'static str),
}

impl Wanted {
    pub(super) fn fits(&self, got: &str) -> bool {
        match self {
            Wanted::Exactly(wanted) => wanted == got,
            Wanted::Error(word) => got.starts_with('-') && got[1..].starts_with(word),
        }
    }
}

fn ok() -> Wanted {
    Wanted::Exactly("+OK\r\n".to_owned())
}

fn int(number: impl std::fmt::Display) -> String {
    format!(":{number}\r\n")
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

fn array(elements: &[String]) -> String {
    format!("*{}\r\n{}", elements.len(), elements.concat())
}

#[derive(Clone, Debug)]
struct Bound {
    target: Target,
    to: String,
    rkey: String,
    args: Vec<(String, String)>,
}

#[derive(Clone, Debug, Default)]
struct Source {
    kind: String,
    alternate: Option<String>,
    auto_delete: bool,
    internal: bool,
    bindings: Vec<Bound>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Where {
    Ready,
    Delayed(u64),
    Parked(u64),
    Held(u64),
    Unacked(u8, u64),
    Dead(DeathReason, u64),
}

#[derive(Clone, Debug, Default)]
struct Parcel {
    body: String,
    exchange: String,
    rkey: String,
    cc: Vec<String>,
    headers: Vec<(String, String)>,
    group: Option<String>,
    ts: u64,
}

#[derive(Clone, Debug)]
struct Message {
    id: u64,
    place: u64,
    parcel: Parcel,
    priority: u8,
    expires: Option<u64>,
    at: Where,
    acquired: u32,
    deliveries: u32,
    was_out: bool,
    story: Option<Story>,
}

/// A message on its way.
#[derive(Clone, Debug, Default)]
struct Coming {
    parcel: Parcel,
    priority: u8,
    ttl: Option<u64>,
    delay_until: Option<u64>,
    hold_until: Option<u64>,
    idmp: Option<(String, String)>,
    story: Option<Story>,
}

#[derive(Clone, Debug, Default)]
struct Line {
    options: QueueOptions,
    last: u64,
    messages: Vec<Message>,
    paused: u8,
    /// Ids of producers, what they became, and when.
    known: HashMap<(String, String), (u64, u64)>,
    counters: Counters,
}

#[derive(Clone, Debug)]
struct Rule {
    pattern: String,
    priority: i64,
    operator: bool,
    options: QueueOptions,
}

enum Put {
    In(u64),
    Known(u64),
    Refused(&'static str),
    NoQueue,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Back {
    Silent,
    Fail,
    Fatal,
}

/// A hand-out that somebody may want to settle.
#[derive(Clone, Debug)]
pub(super) struct Receipt {
    pub(super) queue: String,
    pub(super) id: u64,
    pub(super) acquired: u32,
}

impl Receipt {
    pub(super) fn text(&self) -> String {
        format!("{}@{}", text(self.id), self.acquired)
    }
}

fn text(id: u64) -> String {
    MessageId::from_u64(id).to_string()
}

#[derive(Debug)]
pub(super) struct Model {
    now: u64,
    exchanges: BTreeMap<String, Source>,
    queues: BTreeMap<String, Line>,
    policies: BTreeMap<String, Rule>,
    streams: BTreeSet<String>,
    all: Counters,
    /// Messages that were there when it began to count, and those that went with their queues since.
    found: u64,
    lost: u64,
    moves: usize,
    pub(super) receipts: Vec<Receipt>,
    /// Over all restarts.
    ever: Counters,
}

impl Line {
    fn next_id(&mut self, now: u64) -> u64 {
        self.last = MessageId::new(now, 0).to_u64().max(self.last + 1);
        self.last
    }

    fn find(&mut self, id: u64) -> Option<&mut Message> {
        self.messages.iter_mut().find(|it| it.id == id)
    }

    fn count(&self, is: impl Fn(&Where) -> bool) -> u64 {
        self.messages.iter().filter(|it| is(&it.at)).count() as u64
    }

    fn bytes(&self, is: impl Fn(&Where) -> bool) -> u64 {
        self.messages.iter().filter(|it| is(&it.at)).map(|it| it.parcel.body.len() as u64).sum()
    }

    fn exceeds(&self, rules: &Rules, more: u64, more_bytes: u64) -> bool {
        let counts = |at: &Where| matches!(at, Where::Ready | Where::Dead(..));
        rules.max_len.is_some_and(|max| self.count(counts) + more > max)
            || rules.max_bytes.is_some_and(|max| self.bytes(counts) + more_bytes > max)
    }

    fn oldest_ready(&self) -> Option<u64> {
        self.messages.iter().filter(|it| it.at == Where::Ready).min_by_key(|it| it.place).map(|it| it.id)
    }

    /// Ready messages in the order in which they would go out.
    fn ready(&self) -> Vec<u64> {
        let mut ready: Vec<&Message> = self.messages.iter().filter(|it| it.at == Where::Ready).collect();
        ready.sort_by_key(|it| (std::cmp::Reverse(it.priority), it.place));
        ready.iter().map(|it| it.id).collect()
    }

    /// Whether the group of a message lets it go.
    fn is_offered(&self, message: &Message) -> bool {
        let Some(group) = message.parcel.group.as_ref().filter(|_| self.options.groups) else { return true };
        let of_group = || self.messages.iter().filter(|it| it.parcel.group.as_ref() == Some(group));
        !of_group().any(|it| matches!(it.at, Where::Unacked(..)))
            && !of_group().any(|it| matches!(it.at, Where::Ready | Where::Parked(_)) && it.place < message.place)
    }

    fn next_out(&self) -> Option<u64> {
        let ready = self.ready();
        ready.into_iter().find(|id| self.messages.iter().any(|it| it.id == *id && self.is_offered(it)))
    }

    /// Ready messages with the same last value, by place.
    fn same_value(&self, value: &str) -> Vec<(u64, u64)> {
        let header = self.options.last_value.as_deref().map(|it| String::from_utf8_lossy(it).into_owned());
        let Some(header) = header else { return Vec::new() };
        let ready = self.messages.iter().filter(|it| it.at == Where::Ready);
        let mut same: Vec<(u64, u64)> =
            ready.filter(|it| value_of(&it.parcel, &header) == Some(value)).map(|it| (it.place, it.id)).collect();
        same.sort_unstable();
        same
    }

    fn own_value(&self, parcel: &Parcel) -> Option<String> {
        let header = String::from_utf8_lossy(self.options.last_value.as_deref()?).into_owned();
        value_of(parcel, &header).map(str::to_owned)
    }

    /// When something is due first, and for which message.
    fn first_due(&self) -> Option<(u64, u64, u64)> {
        let due = |it: &Message| {
            let gone = it.expires.map(|at| at + 1);
            let at = match it.at {
                Where::Ready => gone,
                Where::Delayed(at) | Where::Parked(at) | Where::Held(at) => Some(gone.map_or(at, |gone| gone.min(at))),
                Where::Unacked(_, lease) => Some(lease),
                Where::Dead(_, again) => Some(again),
            };
            at.map(|at| (at, it.place, it.id))
        };
        self.messages.iter().filter_map(due).min()
    }
}

fn value_of<'p>(parcel: &'p Parcel, header: &str) -> Option<&'p str> {
    parcel.headers.iter().find(|(name, _)| name == header).map(|(_, value)| &**value)
}

fn topic_fits(pattern: &[&str], words: &[&str]) -> bool {
    match (pattern.first(), words.first()) {
        (None, None) => true,
        (Some(&"#"), _) => topic_fits(&pattern[1..], words) || (!words.is_empty() && topic_fits(pattern, &words[1..])),
        (Some(&word), Some(&own)) => (word == "*" || word == own) && topic_fits(&pattern[1..], &words[1..]),
        _ => false,
    }
}

impl Bound {
    fn fits(&self, kind: &str, rkey: &str, headers: &[(String, String)]) -> bool {
        match kind {
            "direct" => self.rkey == rkey,
            "fanout" => true,
            "topic" => topic_fits(&self.rkey.split('.').collect::<Vec<_>>(), &rkey.split('.').collect::<Vec<_>>()),
            _ => {
                let wanted: Vec<_> = self.args.iter().filter(|(name, _)| !name.starts_with("x-")).collect();
                let has = |pair: &&(String, String)| headers.iter().any(|own| own == *pair);
                let any = self.args.iter().any(|(name, value)| name == "x-match" && value == "any");
                if any { wanted.iter().any(&has) } else { wanted.iter().all(has) }
            }
        }
    }
}

fn server_queue<'s>(store: &'s Store, name: &str) -> Option<&'s Queue> {
    match store.view(0, store.key(name.as_bytes()))?.value() {
        ValueRef::Queue(queue) => Some(queue),
        _ => None,
    }
}

fn server_exchange<'s>(store: &'s Store, name: &str) -> Option<&'s Exchange> {
    match store.view(0, store.key(name.as_bytes()))?.value() {
        ValueRef::Exchange(exchange) => Some(exchange),
        _ => None,
    }
}

/// Where a message goes: what finds each destination once, over any topology.
impl Model {
    fn route_one(
        &self,
        store: &Store,
        name: &str,
        source: &Source,
        rkey: &str,
        headers: &[(String, String)],
    ) -> Vec<(Target, String)> {
        let fitting = source.bindings.iter().filter(|it| it.fits(&source.kind, rkey, headers));
        let wanted: BTreeSet<(Target, String)> = fitting.map(|it| (it.target, it.to.clone())).collect();
        let Some(exchange) = server_exchange(store, name) else { return wanted.into_iter().collect() };
        let pairs: Vec<(&[u8], &[u8])> = headers.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
        let mut sieve = Sieve::default();
        let found: Vec<(Target, String)> = exchange
            .route(rkey.as_bytes(), &pairs, 0, &mut sieve)
            .iter()
            .map(|id| exchange.destination(*id))
            .map(|(target, name)| (target, String::from_utf8_lossy(name).into_owned()))
            .collect();
        assert_eq!(found.iter().cloned().collect::<BTreeSet<_>>(), wanted, "{name} {source:?} {rkey} {headers:?}");
        assert_eq!(found.len(), wanted.len(), "each destination once");
        found
    }

    fn route(
        &self,
        store: &Store,
        exchange: &str,
        rkeys: &[String],
        headers: &[(String, String)],
    ) -> Vec<(Target, String)> {
        let mut found: Vec<(Target, String)> = Vec::new();
        let add = |found: &mut Vec<(Target, String)>, it: (Target, String)| {
            if !found.contains(&it) {
                found.push(it);
            }
        };
        if exchange.is_empty() {
            rkeys.iter().for_each(|name| add(&mut found, (Target::Queue, name.clone())));
            return found;
        }
        let mut left = vec![exchange.to_owned()];
        let mut asked = BTreeSet::new();
        while let Some(name) = left.pop() {
            if !asked.insert(name.clone()) {
                continue;
            }
            let Some(source) = self.exchanges.get(&name) else { continue };
            let mut any = false;
            for rkey in rkeys {
                for (target, to) in self.route_one(store, &name, source, rkey, headers) {
                    any = true;
                    match target {
                        Target::Exchange => left.push(to),
                        target => add(&mut found, (target, to)),
                    }
                }
            }
            if !any {
                left.extend(source.alternate.clone());
            }
        }
        found
    }
}

/// Into queues and out of them.
impl Model {
    fn rules(&self, name: &str) -> Rules {
        let in_force = |operator: bool| {
            let fits = self
                .policies
                .iter()
                .filter(|(_, it)| it.operator == operator && glob_match(it.pattern.as_bytes(), name.as_bytes(), false));
            fits.max_by_key(|(_, it)| it.priority).map(|(_, it)| &it.options)
        };
        let said: Vec<&QueueOptions> = in_force(false).into_iter().chain(in_force(true)).collect();
        Rules::resolve(&self.queues[name].options, &said)
    }

    fn count(&mut self, name: &str, count: impl Fn(&mut Counters)) {
        count(&mut self.all);
        count(&mut self.ever);
        if let Some(line) = self.queues.get_mut(name) {
            count(&mut line.counters);
        }
    }

    fn line(&mut self, name: &str) -> &mut Line {
        self.queues.get_mut(name).expect("there is such a queue")
    }

    fn put(&mut self, store: &Store, name: &str, coming: &Coming) -> Put {
        if !self.queues.contains_key(name) {
            return Put::NoQueue;
        }
        let now = self.now;
        let is_now = coming.delay_until.is_none() && coming.hold_until.is_none();
        loop {
            let rules = self.rules(name);
            let line = self.line(name);
            if line.paused & 1 != 0 {
                return Put::Refused("PAUSED");
            }
            if let Some((known, at)) = coming.idmp.as_ref().and_then(|key| line.known.get(key))
                && now.saturating_sub(*at) < rules.dedup.ms
            {
                return Put::Known(*known);
            }
            let value = line.own_value(&coming.parcel).filter(|_| is_now);
            let old = value.and_then(|value| line.same_value(&value).last().map(|(_, id)| *id));
            let old_bytes = old.and_then(|id| line.find(id)).map_or(0, |it| it.parcel.body.len() as u64);
            let more_bytes = (coming.parcel.body.len() as u64).saturating_sub(old_bytes);
            if is_now && line.exceeds(&rules, u64::from(old.is_none()), more_bytes) {
                match (rules.overflow, line.oldest_ready()) {
                    (Overflow::DropHead, Some(oldest)) => {
                        if self.moves >= MOVES_MAX || !self.bury(store, name, oldest, DeathReason::MaxLen, None) {
                            return Put::Refused("REJECTED");
                        }
                        continue;
                    }
                    (Overflow::DropHead, None) | (Overflow::RejectDl, _) => {
                        self.bury_unborn(store, name, coming);
                        return Put::Refused("REJECTED");
                    }
                    _ => return Put::Refused("REJECTED"),
                }
            }
            if let Some(old) = old {
                line.messages.retain(|it| it.id != old);
                self.count(name, |counters| counters.dropped += 1);
            }
            let line = self.line(name);
            let ttl = rules.msg_ttl_ms.into_iter().chain(coming.ttl).min();
            let from = coming.delay_until.map_or(now, |at| at.max(now));
            let id = line.next_id(now);
            line.messages.push(Message {
                id,
                place: id,
                parcel: coming.parcel.clone(),
                priority: coming.priority.min(line.options.max_priority.unwrap_or(0)),
                expires: ttl.map(|ttl| from + ttl),
                at: match (coming.delay_until, coming.hold_until) {
                    (Some(at), _) => Where::Delayed(at),
                    (_, Some(until)) => Where::Held(until),
                    _ => Where::Ready,
                },
                acquired: 0,
                deliveries: 0,
                was_out: false,
                story: coming.story.clone(),
            });
            if let Some(key) = &coming.idmp {
                let last = line.known.values().map(|(_, at)| *at).max().unwrap_or(0);
                line.known.insert(key.clone(), (id, last.max(MessageId::from_u64(id).ms())));
            }
            self.count(name, |counters| counters.published += 1);
            return Put::In(id);
        }
    }

    fn put_into_all(
        &mut self,
        store: &Store,
        found: &[(Target, String)],
        coming: &Coming,
    ) -> (Vec<(String, u64)>, usize, Option<&'static str>) {
        let (mut queues, mut others, mut refused) = (Vec::new(), 0, None);
        for (target, name) in found {
            match target {
                Target::Queue => match self.put(store, name, coming) {
                    Put::In(id) | Put::Known(id) => queues.push((name.clone(), id)),
                    Put::Refused(why) => {
                        if self.moves == 0 {
                            self.count(name, |counters| counters.rejected += 1);
                        }
                        refused = Some(why);
                    }
                    Put::NoQueue => {}
                },
                Target::Stream => {
                    self.streams.insert(name.clone());
                    others += 1;
                }
                Target::Channel => others += 1,
                Target::Exchange => {}
            }
        }
        (queues, others, refused)
    }

    fn leave(&mut self, name: &str, id: u64, how: Left) -> bool {
        let line = self.line(name);
        let before = line.messages.len();
        line.messages.retain(|it| it.id != id);
        let left = line.messages.len() < before;
        if left {
            self.count(name, |counters| counters.count_left(how, 1));
        }
        left
    }

    fn dying(
        &self,
        name: &str,
        rules: &Rules,
        parcel: &Parcel,
        story: Option<&Story>,
        ttl: Option<u64>,
        (reason, note): (DeathReason, Option<&str>),
    ) -> (Story, Vec<String>) {
        let mut story = story.cloned().unwrap_or_default();
        let rkey = story.rkey.as_deref().unwrap_or(parcel.rkey.as_bytes());
        let own: Vec<Box<[u8]>> =
            std::iter::once(rkey).chain(parcel.cc.iter().map(|it| it.as_bytes())).map(Box::from).collect();
        let exchange = story.exchange.as_deref().unwrap_or(parcel.exchange.as_bytes()).into();
        let rkeys = match &rules.dl_rkey {
            Some(rkey) => vec![String::from_utf8_lossy(rkey).into_owned()],
            None => own.iter().map(|it| String::from_utf8_lossy(it).into_owned()).collect(),
        };
        story.tell(Death {
            queue: name.as_bytes().into(),
            reason,
            count: 1,
            time_ms: self.now,
            exchange,
            rkeys: own,
            original_ttl_ms: ttl,
            note: note.map(|it| it.as_bytes().into()),
        });
        (story, rkeys)
    }

    /// `None`: nowhere. Otherwise whether it went on.
    fn send_on(
        &mut self,
        store: &Store,
        dlx: &str,
        rkeys: &[String],
        parcel: &Parcel,
        priority: u8,
        mut story: Story,
    ) -> Option<bool> {
        let found = self.route(store, dlx, rkeys, &parcel.headers);
        story.exchange = Some(dlx.as_bytes().into());
        story.rkey = Some(rkeys[0].as_bytes().into());
        let in_circles = |(target, name): &(Target, String)| {
            let since = story.deaths.iter().position(|it| *it.queue == *name.as_bytes());
            *target == Target::Queue
                && since.is_some_and(|at| story.deaths[..=at].iter().all(|it| it.reason != DeathReason::Rejected))
        };
        let (round, open): (Vec<_>, Vec<_>) = found.into_iter().partition(in_circles);
        if open.is_empty() {
            return if round.is_empty() { None } else { Some(false) };
        }
        let coming = Coming { parcel: parcel.clone(), priority, story: Some(story.clone()), ..Coming::default() };
        self.moves += 1;
        let (queues, others, _) = self.put_into_all(store, &open, &coming);
        self.moves -= 1;
        (!queues.is_empty() || others > 0).then_some(true)
    }

    /// Says whether the message is gone from its queue.
    fn bury(&mut self, store: &Store, name: &str, id: u64, reason: DeathReason, note: Option<&str>) -> bool {
        let rules = self.rules(name);
        let now = self.now;
        let Some(message) = self.line(name).find(id).cloned() else { return true };
        let Some(dlx) = &rules.dlx else {
            let how = if reason == DeathReason::Expired { Left::Expired } else { Left::Dropped };
            self.leave(name, id, how);
            return true;
        };
        let ttl = message.expires.map(|at| at.saturating_sub(message.parcel.ts));
        let (story, rkeys) = self.dying(name, &rules, &message.parcel, message.story.as_ref(), ttl, (reason, note));
        let dlx = String::from_utf8_lossy(dlx).into_owned();
        match self.send_on(store, &dlx, &rkeys, &message.parcel, message.priority, story) {
            None if rules.dl_strategy == DlStrategy::Retain => {
                if let Some(message) = self.line(name).find(id) {
                    message.at = Where::Dead(reason, now + OFFER_AGAIN_MS);
                }
                false
            }
            sent => {
                self.leave(name, id, if sent == Some(true) { Left::DeadLettered(reason) } else { Left::Dropped });
                true
            }
        }
    }

    fn bury_unborn(&mut self, store: &Store, name: &str, coming: &Coming) {
        let rules = self.rules(name);
        let Some(dlx) = &rules.dlx else { return };
        let reason = DeathReason::MaxLen;
        let (story, rkeys) =
            self.dying(name, &rules, &coming.parcel, coming.story.as_ref(), coming.ttl, (reason, None));
        let dlx = String::from_utf8_lossy(dlx).into_owned();
        if self.send_on(store, &dlx, &rkeys, &coming.parcel, coming.priority, story) == Some(true) {
            self.count(name, |counters| {
                counters.published += 1;
                counters.count_left(Left::DeadLettered(reason), 1);
            });
        }
    }

    fn drop_outdated(&mut self, name: &str, id: u64) {
        loop {
            let line = self.line(name);
            let Some(message) = line.find(id).cloned() else { return };
            let Some(value) = line.own_value(&message.parcel) else { return };
            let same = line.same_value(&value);
            let newer = same.last().is_some_and(|(place, _)| *place > message.place);
            let older = same.first().filter(|(place, _)| *place < message.place).map(|(_, id)| *id);
            let Some(gone) = (if newer { Some(id) } else { older }) else { return };
            self.leave(name, gone, Left::Dropped);
            if gone == id {
                return;
            }
        }
    }

    fn come_back(&mut self, store: &Store, name: &str, id: u64, how: Back, delay: Option<u64>, note: Option<&str>) {
        let (rules, now) = (self.rules(name), self.now);
        let failed = how != Back::Silent;
        let Some(message) = self.line(name).find(id) else { return };
        message.deliveries += u32::from(failed);
        let deliveries = message.deliveries;
        let over = failed && rules.delivery_limit.is_some_and(|limit| deliveries > limit);
        let park = delay.map_or_else(|| rules.retry_delay_ms(failed, deliveries.max(1)), |ms| (ms > 0).then_some(ms));
        let park = park.filter(|_| !over && how != Back::Fatal);
        message.at = park.map_or(Where::Ready, |ms| Where::Parked(now + ms));
        self.count(name, |counters| counters.returned += 1);
        match (how, over) {
            (Back::Fatal, _) => drop(self.bury(store, name, id, DeathReason::Rejected, note)),
            (_, true) => drop(self.bury(store, name, id, DeathReason::DeliveryLimit, note)),
            _ => self.drop_outdated(name, id),
        }
    }

    fn fire(&mut self, name: &str, id: u64) {
        let now = self.now;
        let line = self.line(name);
        let place = line.next_id(now);
        if let Some(message) = line.find(id) {
            (message.place, message.at) = (place, Where::Ready);
        }
        self.drop_outdated(name, id);
    }

    fn act(&mut self, store: &Store, name: &str, due_ms: u64, id: u64) {
        let Some(message) = self.line(name).find(id).cloned() else { return };
        let expires = message.expires.is_some_and(|at| at + 1 == due_ms);
        match message.at {
            Where::Ready => drop(self.bury(store, name, id, DeathReason::Expired, None)),
            // What has to be done at the same moment comes before the end of its life.
            Where::Delayed(at) if at == due_ms => self.fire(name, id),
            Where::Parked(at) if at == due_ms => {
                if let Some(message) = self.line(name).find(id) {
                    message.at = Where::Ready;
                }
                self.drop_outdated(name, id);
            }
            Where::Held(at) if at == due_ms => drop(self.bury(store, name, id, DeathReason::Unresolved, None)),
            Where::Delayed(_) | Where::Parked(_) | Where::Held(_) => {
                assert!(expires);
                self.bury(store, name, id, DeathReason::Expired, None);
            }
            Where::Unacked(..) => self.come_back(store, name, id, Back::Fail, None, None),
            Where::Dead(reason, _) => drop(self.bury(store, name, id, reason, None)),
        }
    }
}

/// Time.
impl Model {
    pub(super) fn next_due_ms(&self) -> Option<u64> {
        self.queues.values().filter_map(|line| line.first_due().map(|(ms, ..)| ms)).min()
    }

    /// Does what is due: of queues that have something due at the same moment, the one that the server has known longer is first.
    pub(super) fn pass_to(&mut self, now: u64, store: &Store) {
        self.now = now;
        loop {
            let due = self.queues.iter().filter_map(|(name, line)| {
                let (ms, ..) = line.first_due().filter(|(ms, ..)| *ms <= now)?;
                Some((ms, server_queue(store, name).map_or(0, Queue::uid), name.clone()))
            });
            let Some((_, _, name)) = due.min() else { return };
            for _ in 0..MESSAGES_A_TURN {
                let Some((ms, _, id)) = self.queues[&name].first_due().filter(|(ms, ..)| *ms <= now) else { break };
                self.act(store, &name, ms, id);
            }
        }
    }

    /// Another server has read what this one wrote: what was out is ready, and counts begin anew. How often a message was handed
    /// out is known to the server alone, unless its queue keeps track.
    pub(super) fn restarted(&mut self, store: &Store) {
        self.all = Counters::default();
        (self.found, self.lost) = (0, 0);
        for (name, line) in &mut self.queues {
            line.counters = Counters::default();
            let queue = server_queue(store, name);
            for message in &mut line.messages {
                if matches!(message.at, Where::Unacked(..)) {
                    message.at = Where::Ready;
                }
                let known = queue.and_then(|queue| queue.message(MessageId::from_u64(message.id)));
                if let Some(known) = known {
                    let is_known = known.acquired <= message.acquired
                        && (!line.options.track || known.acquired == message.acquired);
                    assert!(is_known, "{name} {message:?} was handed out {} times", known.acquired);
                    message.was_out |= message.acquired > 0;
                    message.acquired = known.acquired;
                }
            }
            self.found += line.messages.len() as u64;
        }
    }

    pub(super) fn has_seen_everything(&self) -> bool {
        let Counters {
            published, delivered, acked, redelivered, returned, rejected, expired, dropped, redriven, ..
        } = self.ever;
        let all = [published, delivered, acked, redelivered, returned, rejected, expired, dropped, redriven];
        all.iter().chain(&self.ever.dead_lettered).all(|count| *count > 0)
    }
}

/// Commands.
impl Model {
    pub(super) fn new(now: u64) -> Model {
        Model {
            now,
            exchanges: BTreeMap::new(),
            queues: BTreeMap::new(),
            policies: BTreeMap::new(),
            streams: BTreeSet::new(),
            all: Counters::default(),
            found: 0,
            lost: 0,
            moves: 0,
            receipts: Vec::new(),
            ever: Counters::default(),
        }
    }

    pub(super) fn call(&mut self, words: &[String], store: &Store) -> Wanted {
        let words: Vec<&str> = words.iter().map(|word| &**word).collect();
        match (words[0], words.get(1).copied().unwrap_or_default()) {
            ("MQ.EXCHANGE", "DECLARE") => self.declare_exchange(&words),
            ("MQ.EXCHANGE", "DELETE") => self.delete_exchange(words[2]),
            ("MQ.QUEUE", "DECLARE") => self.declare_queue(&words),
            ("MQ.QUEUE", "DELETE") => self.delete_queue(words[2]),
            ("MQ.QUEUE", "PURGE") => self.purge(words[2]),
            ("MQ.QUEUE", "PAUSE") => self.pause(words[2], words[3]),
            ("DEL", name) => self.delete(name),
            ("MQ.BIND", _) => self.bind(&words, true),
            ("MQ.UNBIND", _) => self.bind(&words, false),
            ("MQ.POLICY", "SET") => self.set_policy(&words),
            ("MQ.POLICY", _) => Wanted::Exactly(int(i32::from(self.policies.remove(words[2]).is_some()))),
            ("MQ.PUB", exchange) => self.publish(store, exchange, words[2], words[3], &words[4..], false),
            ("MQ.PUSH", queue) => self.publish(store, "", queue, words[2], &words[3..], true),
            ("MQ.GET", _) => self.get(store, &words),
            ("MQ.ACK", queue) => self.settle(store, queue, &words, None),
            ("MQ.NACK", queue) => {
                let how = match words[2] {
                    "SILENT" => Back::Silent,
                    "FAIL" => Back::Fail,
                    _ => Back::Fatal,
                };
                self.settle(store, queue, &words, Some(how))
            }
            ("MQ.TOUCH", queue) => self.touch(queue, &words),
            ("MQ.COMMIT" | "MQ.ABORT", queue) => self.resolve(words[0] == "MQ.COMMIT", queue, words[2]),
            ("MQ.REDRIVE", queue) => self.redrive(store, queue, &words),
            (other, _) => panic!("{other} is not in the model"),
        }
    }

    fn declare_exchange(&mut self, words: &[&str]) -> Wanted {
        let has = |word: &str| words.contains(&word);
        let after = |word: &str| words.iter().position(|it| *it == word).map(|at| words[at + 1].to_owned());
        let new = Source {
            kind: after("TYPE").expect("it has a type"),
            alternate: after("ALTERNATE"),
            auto_delete: has("AUTODELETE"),
            internal: has("INTERNAL"),
            bindings: Vec::new(),
        };
        let known = self.exchanges.entry(words[2].to_owned()).or_insert_with(|| new.clone());
        let same = (&known.kind, &known.alternate, known.auto_delete, known.internal)
            == (&new.kind, &new.alternate, new.auto_delete, new.internal);
        if same { ok() } else { Wanted::Error("PRECONDITION") }
    }

    fn declare_queue(&mut self, words: &[&str]) -> Wanted {
        let mut options = QueueOptions::default();
        let mut rest = words[3..].iter();
        while let Some(word) = rest.next() {
            let mut next = || (*rest.next().expect("a value")).to_owned();
            match *word {
                "MSGTTL" => options.msg_ttl_ms = next().parse().ok(),
                "MAXLEN" => options.max_len = next().parse().ok(),
                "MAXBYTES" => options.max_bytes = next().parse().ok(),
                "OVERFLOW" => {
                    options.overflow = Some(match &*next() {
                        "drophead" => Overflow::DropHead,
                        "reject" => Overflow::Reject,
                        _ => Overflow::RejectDl,
                    });
                }
                "DLX" => options.dlx = Some(next().as_bytes().into()),
                "DLRK" => options.dl_rkey = Some(next().as_bytes().into()),
                "DLSTRATEGY" => {
                    options.dl_strategy = Some(if next() == "drop" { DlStrategy::Drop } else { DlStrategy::Retain });
                }
                "DELIVERYLIMIT" => options.delivery_limit = next().parse().ok(),
                "RETRY" => {
                    let which = match &*next() {
                        "all" => RetryWhich::All,
                        "failed" => RetryWhich::Failed,
                        _ => RetryWhich::Returned,
                    };
                    let (min_ms, max_ms) = (next().parse().expect("ms"), next().parse().expect("ms"));
                    options.retry = Some(Retry { which, min_ms, max_ms });
                }
                "LEASE" => options.lease_ms = next().parse().ok(),
                "MAXPRIORITY" => options.max_priority = next().parse().ok(),
                "SAC" => options.sac = true,
                "GROUPS" => options.groups = true,
                "LASTVALUE" => options.last_value = Some(next().as_bytes().into()),
                "TRACK" => options.track = next() == "yes",
                other => panic!("{other} is not in the model"),
            }
        }
        let name = words[2];
        let created = !self.queues.contains_key(name);
        let line = self.queues.entry(name.to_owned()).or_default();
        if created {
            line.options = options;
        } else if line.options != options {
            return Wanted::Error("PRECONDITION");
        }
        let ready = line.count(|at| *at == Where::Ready);
        let fields = [
            bulk("name"),
            bulk(name),
            bulk("messages"),
            int(ready),
            bulk("consumers"),
            int(0),
            bulk("created"),
            int(i32::from(created)),
        ];
        Wanted::Exactly(array(&fields))
    }

    /// What led to it does not any more; exchanges go that are to go with their last binding.
    fn unbind_all(&mut self, target: Target, name: &str) {
        let mut gone = Vec::new();
        for (own, source) in &mut self.exchanges {
            let before = source.bindings.len();
            source.bindings.retain(|it| (it.target, &*it.to) != (target, name));
            if source.bindings.len() < before && source.bindings.is_empty() && source.auto_delete {
                gone.push(own.clone());
            }
        }
        for own in gone {
            self.exchanges.remove(&own);
            self.unbind_all(Target::Exchange, &own);
        }
    }

    fn delete_exchange(&mut self, name: &str) -> Wanted {
        if self.exchanges.remove(name).is_none() {
            return Wanted::Error("NOEXCHANGE");
        }
        self.unbind_all(Target::Exchange, name);
        ok()
    }

    fn delete_queue(&mut self, name: &str) -> Wanted {
        let Some(line) = self.queues.remove(name) else { return Wanted::Error("NOQUEUE") };
        self.lost += line.messages.len() as u64;
        self.unbind_all(Target::Queue, name);
        Wanted::Exactly(int(line.count(|at| *at == Where::Ready)))
    }

    fn delete(&mut self, name: &str) -> Wanted {
        let was = self.queues.contains_key(name) || self.exchanges.contains_key(name) || self.streams.contains(name);
        self.delete_queue(name);
        self.delete_exchange(name);
        self.streams.remove(name);
        Wanted::Exactly(int(i32::from(was)))
    }

    fn purge(&mut self, name: &str) -> Wanted {
        let Some(line) = self.queues.get(name) else { return Wanted::Error("NOQUEUE") };
        let ready = line.ready();
        for id in &ready {
            self.leave(name, *id, Left::Dropped);
        }
        Wanted::Exactly(int(ready.len()))
    }

    fn pause(&mut self, name: &str, what: &str) -> Wanted {
        let Some(line) = self.queues.get_mut(name) else { return Wanted::Error("NOQUEUE") };
        line.paused = ["none", "in", "out", "all"].iter().position(|it| *it == what).map_or(0, |bits| bits as u8);
        ok()
    }

    fn bind(&mut self, words: &[&str], binds: bool) -> Wanted {
        let (from, to, rkey) = (words[1], words[3].to_owned(), words[4].to_owned());
        let target = match words[2] {
            "QUEUE" => Target::Queue,
            "EXCHANGE" => Target::Exchange,
            "STREAM" => Target::Stream,
            _ => Target::Channel,
        };
        let mut args: Vec<(String, String)> =
            words.get(7..).unwrap_or_default().chunks(2).map(|it| (it[0].to_owned(), it[1].to_owned())).collect();
        args.sort_unstable();
        if binds && target == Target::Queue && !self.queues.contains_key(&to) {
            return Wanted::Error("NOQUEUE");
        }
        if binds && target == Target::Exchange && !self.exchanges.contains_key(&to) {
            return Wanted::Error("NOEXCHANGE");
        }
        let Some(source) = self.exchanges.get_mut(from) else { return Wanted::Error("NOEXCHANGE") };
        let is_it = |it: &Bound| it.target == target && it.to == to && it.rkey == rkey && it.args == args;
        let known = source.bindings.iter().position(is_it);
        if binds {
            if known.is_none() {
                source.bindings.push(Bound { target, to, rkey, args });
            }
            return Wanted::Exactly(int(i32::from(known.is_none())));
        }
        if let Some(at) = known {
            source.bindings.remove(at);
            if source.bindings.is_empty() && source.auto_delete {
                self.delete_exchange(from);
            }
        }
        Wanted::Exactly(int(i32::from(known.is_some())))
    }

    fn set_policy(&mut self, words: &[&str]) -> Wanted {
        let after = |word: &str| words.iter().position(|it| *it == word).and_then(|at| words.get(at + 1)).copied();
        let number = |word: &str| after(word).and_then(|it| it.parse().ok());
        let rule = Rule {
            pattern: after("PATTERN").expect("a pattern").to_owned(),
            priority: after("PRIORITY").and_then(|it| it.parse().ok()).expect("a priority"),
            operator: words.contains(&"OPERATOR"),
            options: QueueOptions {
                msg_ttl_ms: number("MSGTTL"),
                max_len: number("MAXLEN"),
                ..QueueOptions::default()
            },
        };
        self.policies.insert(words[2].to_owned(), rule);
        ok()
    }

    fn publish(
        &mut self,
        store: &Store,
        exchange: &str,
        rkey: &str,
        body: &str,
        options: &[&str],
        is_push: bool,
    ) -> Wanted {
        let mut coming = Coming {
            parcel: Parcel {
                body: body.to_owned(),
                exchange: exchange.to_owned(),
                rkey: rkey.to_owned(),
                ts: self.now,
                ..Parcel::default()
            },
            ..Coming::default()
        };
        let (mut mandatory, mut all_or_none) = (false, false);
        let mut rest = options.iter();
        while let Some(word) = rest.next() {
            let mut next = || (*rest.next().expect("a value")).to_owned();
            let mut number = || next().parse::<u64>().expect("a number");
            match *word {
                "PRIORITY" => coming.priority = number() as u8,
                "TTL" => coming.ttl = Some(number()),
                "DELAY" => coming.delay_until = Some(number()).filter(|ms| *ms > 0).map(|ms| self.now + ms),
                "HOLD" => coming.hold_until = Some(self.now + number()),
                "GROUP" => coming.parcel.group = Some(next()),
                "IDMP" => coming.idmp = Some((next(), next())),
                "CC" => coming.parcel.cc = (0..number()).map(|_| next()).collect(),
                "HEADERS" => coming.parcel.headers = (0..number()).map(|_| (next(), next())).collect(),
                "MANDATORY" => mandatory = true,
                "ALLORNONE" => all_or_none = true,
                "WITHIDS" => {}
                other => panic!("{other} is not in the model"),
            }
        }
        if let Some(source) = Some(exchange).filter(|it| !it.is_empty()).map(|it| self.exchanges.get(it)) {
            match source {
                None => return Wanted::Error("NOEXCHANGE"),
                Some(source) if source.internal => return Wanted::Error("NOPERM"),
                Some(_) => {}
            }
        }
        let rkeys: Vec<String> = std::iter::once(rkey.to_owned()).chain(coming.parcel.cc.clone()).collect();
        let found = self.route(store, exchange, &rkeys, &coming.parcel.headers);
        if all_or_none {
            for (_, name) in
                found.iter().filter(|(target, name)| *target == Target::Queue && self.queues.contains_key(name))
            {
                let (rules, line) = (self.rules(name), &self.queues[name]);
                let is_now = coming.delay_until.is_none() && coming.hold_until.is_none();
                let value = line.own_value(&coming.parcel).filter(|_| is_now);
                let old = value.and_then(|value| line.same_value(&value).last().map(|(_, id)| *id));
                let old_bytes = line.messages.iter().find(|it| Some(it.id) == old).map_or(0, |it| it.parcel.body.len());
                let more_bytes = body.len().saturating_sub(old_bytes) as u64;
                let full = is_now && line.exceeds(&rules, u64::from(old.is_none()), more_bytes);
                let refusal = if line.paused & 1 != 0 {
                    Some("PAUSED")
                } else {
                    (full && rules.overflow != Overflow::DropHead).then_some("REJECTED")
                };
                if let Some(refusal) = refusal {
                    let name = name.clone();
                    self.count(&name, |counters| counters.rejected += 1);
                    return Wanted::Error(refusal);
                }
            }
        }
        let (queues, others, refused) = self.put_into_all(store, &found, &coming);
        if let Some(refused) = refused {
            return Wanted::Error(refused);
        }
        if mandatory && queues.is_empty() && others == 0 {
            return Wanted::Error("UNROUTABLE");
        }
        if is_push {
            return queues.first().map_or(Wanted::Error("NOQUEUE"), |(_, id)| Wanted::Exactly(bulk(&text(*id))));
        }
        if !options.contains(&"WITHIDS") {
            return Wanted::Exactly(int(queues.len() + others));
        }
        let pairs: Vec<String> = queues.iter().flat_map(|(name, id)| [bulk(name), bulk(&text(*id))]).collect();
        Wanted::Exactly(array(&pairs))
    }

    fn get(&mut self, store: &Store, words: &[&str]) -> Wanted {
        let after = |word: &str| words.iter().position(|it| *it == word).and_then(|at| words.get(at + 1)).copied();
        let consumer: u8 = after("CONSUMER").map_or(0, |it| it.as_bytes()[0]);
        let count: usize = after("COUNT").map_or(1, |it| it.parse().expect("a number"));
        let lease: Option<u64> = after("LEASE").and_then(|it| it.parse().ok());
        let noack = words.contains(&"NOACK");
        let queues_at = words.iter().position(|it| *it == "QUEUES").expect("there are queues") + 2;
        if words[queues_at..].iter().any(|name| !self.queues.contains_key(*name)) {
            return Wanted::Error("NOQUEUE");
        }
        let mut given = Vec::new();
        for name in &words[queues_at..] {
            while given.len() < count {
                let (rules, now) = (self.rules(name), self.now);
                let line = self.line(name);
                let by_another = line
                    .messages
                    .iter()
                    .any(|it| matches!(it.at, Where::Unacked(other, _) if other != consumer || noack));
                if line.paused & 2 != 0 || (line.options.sac && by_another) {
                    break;
                }
                let Some(id) = line.next_out() else { break };
                let Some(message) = line.find(id) else { break };
                if message.expires.is_some_and(|at| now > at) {
                    self.bury(store, name, id, DeathReason::Expired, None);
                    continue;
                }
                // After a restart more may say so than were: how far hand-outs got is all that is known.
                let known = server_queue(store, name).and_then(|it| it.message(MessageId::from_u64(id)));
                let again = u64::from(known.is_some_and(|it| it.redelivered) || message.acquired > 0);
                message.acquired += 1;
                message.at = Where::Unacked(consumer, now + lease.unwrap_or(rules.lease_ms));
                let message = message.clone();
                let receipt = Receipt { queue: (*name).to_owned(), id, acquired: message.acquired };
                given.push(array(&[bulk(name), bulk(&receipt.text()), bulk(&message.parcel.body)]));
                self.count(name, |counters| {
                    counters.delivered += 1;
                    counters.redelivered += again;
                });
                if noack {
                    self.leave(name, id, Left::Acked);
                } else {
                    self.receipts.push(receipt);
                    if self.receipts.len() > RECEIPTS {
                        self.receipts.remove(0);
                    }
                }
            }
        }
        Wanted::Exactly(if given.is_empty() { "$-1\r\n".to_owned() } else { array(&given) })
    }

    fn check(&mut self, name: &str, id: u64, acquired: Option<u32>) -> i32 {
        match self.line(name).find(id) {
            Some(message) if matches!(message.at, Where::Unacked(..)) => {
                if acquired.is_some_and(|it| it != message.acquired) { -2 } else { 1 }
            }
            Some(message) if acquired.is_some_and(|it| it <= message.acquired) => -2,
            _ => -1,
        }
    }

    fn settle(&mut self, store: &Store, name: &str, words: &[&str], how: Option<Back>) -> Wanted {
        if !self.queues.contains_key(name) {
            return Wanted::Error("NOQUEUE");
        }
        let after = |word: &str| words.iter().position(|it| *it == word).and_then(|at| words.get(at + 1)).copied();
        let delay = after("DELAY").and_then(|it| it.parse().ok());
        let ids: Vec<(u64, Option<u32>)> = receipts(words);
        let mut settled = Vec::new();
        for (id, acquired) in ids {
            let result = self.check(name, id, acquired);
            settled.push(int(result));
            if result == 1 {
                match how {
                    None => drop(self.leave(name, id, Left::Acked)),
                    Some(how) => self.come_back(store, name, id, how, delay, after("REASON")),
                }
            }
        }
        Wanted::Exactly(array(&settled))
    }

    fn touch(&mut self, name: &str, words: &[&str]) -> Wanted {
        if !self.queues.contains_key(name) {
            return Wanted::Error("NOQUEUE");
        }
        let lease: u64 = words[3].parse().expect("ms");
        let now = self.now;
        let mut settled = Vec::new();
        for (id, acquired) in receipts(words) {
            let result = self.check(name, id, acquired);
            if let Some(message) = self.line(name).find(id).filter(|_| result == 1)
                && let Where::Unacked(_, until) = &mut message.at
            {
                *until = now + lease;
            }
            settled.push(int(result));
        }
        Wanted::Exactly(array(&settled))
    }

    fn resolve(&mut self, commit: bool, name: &str, id: &str) -> Wanted {
        let id = MessageId::parse(id.as_bytes()).expect("an id").to_u64();
        let Some(line) = self.queues.get_mut(name) else { return Wanted::Error("NOQUEUE") };
        let is_held = line.find(id).is_some_and(|it| matches!(it.at, Where::Held(_)));
        match (is_held, commit) {
            (true, true) => self.fire(name, id),
            (true, false) => drop(self.leave(name, id, Left::Dropped)),
            _ => {}
        }
        Wanted::Exactly(int(i32::from(is_held)))
    }

    fn redrive(&mut self, store: &Store, name: &str, words: &[&str]) -> Wanted {
        let after = |word: &str| words.iter().position(|it| *it == word).and_then(|at| words.get(at + 1)).copied();
        let (to, count) = (after("TO"), after("COUNT").map_or(usize::MAX, |it| it.parse().expect("a number")));
        let reason = after("REASON").map(|it| DeathReason::parse(it.as_bytes()).expect("a reason"));
        if let Some(to) = to {
            if to == name {
                return Wanted::Error("PRECONDITION");
            }
            if !self.queues.contains_key(to) {
                return Wanted::Error("NOQUEUE");
            }
        }
        let Some(line) = self.queues.get(name) else { return Wanted::Error("NOQUEUE") };
        let died_for = |id: &u64| {
            let message = line.messages.iter().find(|it| it.id == *id);
            let last = message.and_then(|it| it.story.as_ref()?.deaths.first());
            reason.is_none_or(|reason| last.is_some_and(|death| death.reason == reason))
        };
        let ids: Vec<u64> = line.ready().into_iter().filter(died_for).take(count).collect();
        let mut moved = 0;
        for id in ids {
            let Some(message) = self.line(name).find(id).cloned() else { continue };
            let mut story = message.story.unwrap_or_default();
            let origin = story.deaths.first().map(|it| String::from_utf8_lossy(&it.queue).into_owned());
            let Some(target) = to.map(str::to_owned).or(origin).filter(|it| it != name) else { continue };
            (story.exchange, story.rkey) = (None, None);
            let coming =
                Coming { parcel: message.parcel, priority: message.priority, story: Some(story), ..Coming::default() };
            if matches!(self.put(store, &target, &coming), Put::In(_)) {
                // To make room there may have pushed it out here.
                self.leave(name, id, Left::Redriven);
                moved += 1;
            }
        }
        Wanted::Exactly(int(moved))
    }
}

fn receipts(words: &[&str]) -> Vec<(u64, Option<u32>)> {
    let at = words.iter().position(|it| *it == "IDS").expect("there are ids");
    let count: usize = words[at + 1].parse().expect("a number");
    let parse = |word: &&str| {
        let (id, acquired) = word.split_once('@').map_or((*word, None), |(id, acquired)| (id, acquired.parse().ok()));
        (MessageId::parse(id.as_bytes()).expect("an id").to_u64(), acquired)
    };
    words[at + 2..at + 2 + count].iter().map(parse).collect()
}

/// What is to be compared.
impl Model {
    pub(super) fn names(&self) -> impl Iterator<Item = String> + '_ {
        self.queues.keys().chain(self.exchanges.keys()).chain(&self.streams).cloned()
    }

    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.queues.len(), self.exchanges.len())
    }

    /// Messages of a queue that wait for the second phase.
    pub(super) fn held(&self) -> Vec<(String, String)> {
        let held = |line: &Line| -> Vec<u64> {
            line.messages.iter().filter(|it| matches!(it.at, Where::Held(_))).map(|it| it.id).collect()
        };
        self.queues.iter().flat_map(|(name, line)| held(line).into_iter().map(|id| (name.clone(), text(id)))).collect()
    }

    pub(super) fn bindings(&self) -> Vec<Vec<String>> {
        let words = |from: &str, it: &Bound| {
            let kind = match it.target {
                Target::Queue => "QUEUE",
                Target::Exchange => "EXCHANGE",
                Target::Stream => "STREAM",
                Target::Channel => "CHANNEL",
            };
            let mut words: Vec<String> = [from, kind, &it.to, &it.rkey].map(str::to_owned).into();
            if !it.args.is_empty() {
                words.extend(["ARGS".to_owned(), it.args.len().to_string()]);
                words.extend(it.args.iter().flat_map(|(name, value)| [name.clone(), value.clone()]));
            }
            words
        };
        self.exchanges.iter().flat_map(|(name, it)| it.bindings.iter().map(|bound| words(name, bound))).collect()
    }

    pub(super) fn totals(&self) -> (usize, usize, Figures, Counters) {
        let sum = |of: &dyn Fn(&Line) -> u64| self.queues.values().map(of).sum::<u64>();
        let ready = |at: &Where| *at == Where::Ready;
        let dead = |at: &Where| matches!(at, Where::Dead(..));
        let figures = Figures {
            ready: sum(&|line| line.count(ready)),
            unacked: sum(&|line| line.count(|at| matches!(at, Where::Unacked(..)))),
            delayed: sum(&|line| line.count(|at| matches!(at, Where::Delayed(_)))),
            parked: sum(&|line| line.count(|at| matches!(at, Where::Parked(_)))),
            held: sum(&|line| line.count(|at| matches!(at, Where::Held(_)))),
            dead: sum(&|line| line.count(dead)),
            ready_bytes: sum(&|line| line.bytes(ready)),
            dead_bytes: sum(&|line| line.bytes(dead)),
            bytes: sum(&|line| line.bytes(|_| true)),
            // Where bodies are is nothing that anybody should notice.
            away_bytes: 0,
        };
        (self.queues.len(), self.exchanges.len(), figures, self.all)
    }

    /// Every message that has come is somewhere, once.
    pub(super) fn adds_up(&self) -> Result<(), String> {
        let there: u64 = self.queues.values().map(|line| line.messages.len() as u64).sum();
        let Counters { published, acked, expired, dropped, redriven, dead_lettered, .. } = self.all;
        let gone = acked + expired + dropped + redriven + dead_lettered.iter().sum::<u64>() + self.lost;
        match self.found + published == there + gone {
            true => Ok(()),
            false => Err(format!("{} and {published} came, {there} are there, {gone} are gone", self.found)),
        }
    }

    pub(super) fn compare_exchange(&self, name: &str, exchange: &Exchange) -> Result<(), String> {
        let wanted: BTreeSet<String> = match self.exchanges.get(name) {
            Some(source) => source.bindings.iter().map(|it| format!("{it:?}")).collect(),
            None => return Err(format!("exchange {name} should not be there")),
        };
        let string = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let own = exchange.bindings().map(|it| Bound {
            target: it.target,
            to: string(it.name),
            rkey: string(it.rkey),
            args: it.args().map(|(name, value)| (string(name), string(value))).collect(),
        });
        let own: BTreeSet<String> = own.map(|it| format!("{it:?}")).collect();
        if own == wanted { Ok(()) } else { Err(format!("exchange {name} has {own:?} and should have {wanted:?}")) }
    }

    pub(super) fn compare_queue(&self, name: &str, queue: &Queue) -> Result<(), String> {
        let Some(line) = self.queues.get(name) else { return Err(format!("queue {name} should not be there")) };
        let mut wanted: Vec<&Message> = line.messages.iter().collect();
        wanted.sort_by_key(|it| it.place);
        let ids: Vec<MessageId> = queue.all_ids(MessageId::MIN).collect();
        let own_ids: Vec<MessageId> = wanted.iter().map(|it| MessageId::from_u64(it.id)).collect();
        if ids != own_ids {
            return Err(format!("queue {name} has {ids:?} and should have {own_ids:?}"));
        }
        for message in wanted {
            let own = queue.message(MessageId::from_u64(message.id)).ok_or("an id leads to its message")?;
            let at = match own.state {
                State::Ready => Where::Ready,
                State::Delayed => Where::Delayed(own.due_ms.unwrap_or(0)),
                State::Parked => Where::Parked(own.due_ms.unwrap_or(0)),
                State::Held => Where::Held(own.due_ms.unwrap_or(0)),
                State::Unacked => {
                    let holder = own.holder.and_then(|it| queue.holder_name(it));
                    let consumer = match holder {
                        Some(Holder::Named(name)) => name.first().copied().unwrap_or(0),
                        _ => return Err(format!("nobody holds {message:?} of {name}")),
                    };
                    Where::Unacked(consumer, own.lease_until_ms.unwrap_or(0))
                }
                State::Dead => Where::Dead(own.reason.unwrap_or(DeathReason::MaxLen), own.due_ms.unwrap_or(0)),
            };
            let story = own.story.filter(|story| **story != Story::default());
            let same = at == message.at
                && own.key.to_u64() == message.place
                && own.parcel.body(Wait::UntilRead).as_deref() == Ok(message.parcel.body.as_bytes())
                && own.parcel.rkey() == message.parcel.rkey.as_bytes()
                && own.parcel.ts_ms() == message.parcel.ts
                && own.priority == message.priority
                && own.expires_ms == message.expires
                && own.acquired == message.acquired
                && own.deliveries == message.deliveries
                && story == message.story.as_ref().filter(|story| **story != Story::default());
            if !same {
                return Err(format!("in {name} there is\n  {own:?} and should be\n  {message:?}"));
            }
            let is_out = u32::from(matches!(message.at, Where::Unacked(..)));
            if (message.was_out || message.acquired > is_out) && !own.redelivered {
                return Err(format!("in {name} {message:?} was out before, and does not say so"));
            }
        }
        let counters = *queue.counters();
        if counters != line.counters {
            return Err(format!("queue {name} has counted\n  {counters:?} and should have\n  {:?}", line.counters));
        }
        Ok(())
    }
}
