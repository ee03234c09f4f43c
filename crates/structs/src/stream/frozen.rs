//! What a frozen stream has to remember: how far its blocks, and what is pending of each group and each consumer, were given
//! out, and what changed before it was. (What it knows of producers is [frozen by itself](super::idempotency).)
//!
//! ```text
//!  ids         1 ─────────────────────────────────────────────────── 99 ───────►
//!              │ given      │ next                             │ end
//!              │            │      [ saved 20 to 31 ]   [ 57 ] │ whatever is here is new
//! ```
//!
//! Items are in the order of ids, so ids tell what is ahead. Before an item ahead changes, it is copied aside together with
//! the others of its run, or alone if it is large, and the whole range of ids counts as saved: what the [`Runs`] have there
//! from now on is not part of the frozen state. How runs are split and joined makes no difference.
//!
//! What must stay true: an id from `next` to `end` that is in no saved range has the item, or no item, that it had then.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use super::block::Block;
use super::group::{ConsumerSlot, Group, Pending};
use super::idempotency::{Idempotency, MessagePart, ProducerPart, ProducersPart, TablePart};
use super::log::Entry;
use super::runs::{Item, Runs};
use super::{Log, Stream, StreamId};
use crate::frozen::{FrozenPart, Kept};

/// What a node of a [`BTreeMap`] takes for an entry besides the entry, about.
const NODE_BYTES: usize = 16;

/// Items that go one by one are kept together, so many at most.
const JOINED_ITEMS_MAX: usize = 512;

/// Frozen state that a copy does not have.
pub(super) struct Frozen<T>(pub(super) Option<Box<T>>);

impl<T> Clone for Frozen<T> {
    fn clone(&self) -> Frozen<T> {
        Frozen(None)
    }
}

impl<T> Default for Frozen<T> {
    fn default() -> Frozen<T> {
        Frozen(None)
    }
}

impl<T> fmt::Debug for Frozen<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "frozen" } else { "not frozen" })
    }
}

/// The state of frozen items.
pub(super) struct FrozenRuns<T> {
    /// The lowest id that was not given; `None` when all were.
    next: Option<StreamId>,
    /// The highest id then.
    end: StreamId,
    saved: BTreeMap<StreamId, Saved<T>>,
    bytes: usize,
}

/// The items that there were from one id to another.
struct Saved<T> {
    end: StreamId,
    items: VecDeque<T>,
}

impl<T: Item> FrozenRuns<T> {
    pub(super) fn new(first: StreamId, end: StreamId) -> FrozenRuns<T> {
        FrozenRuns { next: Some(first), end, saved: BTreeMap::new(), bytes: 0 }
    }

    /// Bytes on the heap, about.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<FrozenRuns<T>>() + self.bytes
    }

    /// Whether what has this id is to be saved before it is changed, or before something is put there.
    pub(super) fn covers(&self, id: StreamId) -> bool {
        self.next.is_some_and(|next| next <= id) && id <= self.end && self.saved_around(id).is_none()
    }

    /// Until which id the range goes that has this one, if it is saved.
    fn saved_around(&self, id: StreamId) -> Option<StreamId> {
        let (_, saved) = self.saved.range(..=id).next_back()?;
        (saved.end >= id).then_some(saved.end)
    }

    /// Saves what there is from one id to another, as far as that was not done: `copy` gives the items between two ids.
    pub(super) fn save(&mut self, from: StreamId, to: StreamId, copy: impl Fn(StreamId, StreamId) -> VecDeque<T>) {
        let Some(next) = self.next else { return };
        let to = to.min(self.end);
        let mut at = Some(from.max(next));
        while let Some(start) = at.filter(|at| *at <= to) {
            if let Some(end) = self.saved_around(start) {
                at = end.next();
                continue;
            }
            let behind = self.saved.range(start..).next().and_then(|(first, _)| first.previous());
            let end = behind.map_or(to, |behind| behind.min(to));
            self.keep(start, end, copy(start, end));
            at = end.next();
        }
    }

    /// Keeps items that there were from one id to another, all of which were covered.
    pub(super) fn keep(&mut self, start: StreamId, end: StreamId, items: VecDeque<T>) {
        let saved = Saved { end, items };
        self.bytes += saved.memory_bytes();
        self.saved.insert(start, saved);
    }

    /// Keeps an item that was covered and has gone; `before` is the id of the item in front of it that is left. Items that go
    /// one after the other come into one range, so that each costs little.
    pub(super) fn keep_one(&mut self, before: Option<StreamId>, item: T) {
        let id = item.id();
        if let Some((_, saved)) = self.saved.range_mut(..id).next_back()
            && saved.items.len() < JOINED_ITEMS_MAX
            // What there was in between would be left, or have a range of its own.
            && before.is_none_or(|before| before <= saved.end)
        {
            let capacity = saved.items.capacity();
            self.bytes += item.owned_bytes();
            saved.items.push_back(item);
            self.bytes += (saved.items.capacity() - capacity) * size_of::<T>();
            saved.end = id;
            return;
        }
        self.keep(id, id, VecDeque::from([item]));
    }

    /// Whether all ids from one to another are covered.
    pub(super) fn covers_all(&self, from: StreamId, to: StreamId) -> bool {
        self.covers(from) && to <= self.end && self.saved.range(from..=to).next().is_none()
    }

    /// Gives items to `visit`, in order, as many as the budget allows; `live` gives those that there are from an id on. What
    /// is left of the budget.
    pub(super) fn give<'a>(
        &mut self,
        mut budget: usize,
        live: impl Fn(StreamId) -> super::runs::Iter<'a, T>,
        mut visit: impl FnMut(&T),
    ) -> usize
    where
        T: 'a,
    {
        while budget > 0
            && let Some(next) = self.next
        {
            let saved_from = match self.saved.first_entry() {
                Some(mut first) if *first.key() <= next => {
                    let saved = first.get_mut();
                    self.bytes -= saved.memory_bytes();
                    while budget > 0
                        && let Some(item) = saved.items.pop_front()
                    {
                        visit(&item);
                        budget = budget.saturating_sub(item.weight());
                    }
                    self.next = match (saved.items.front(), saved.end.next()) {
                        (Some(item), _) => Some(item.id()),
                        (None, behind) => behind.filter(|behind| *behind <= self.end),
                    };
                    if saved.items.is_empty() {
                        first.remove();
                    } else {
                        self.bytes += saved.memory_bytes();
                    }
                    continue;
                }
                Some(first) => Some(*first.key()),
                None => None,
            };
            self.next = saved_from;
            for item in live(next) {
                let id = item.id();
                if id > self.end || saved_from.is_some_and(|saved_from| saved_from <= id) {
                    break;
                }
                if budget == 0 {
                    self.next = Some(id);
                    break;
                }
                visit(item);
                budget = budget.saturating_sub(item.weight());
            }
        }
        budget
    }

    /// Whether all items were given.
    pub(super) fn is_over(&self) -> bool {
        self.next.is_none()
    }
}

impl<T: Item> Saved<T> {
    fn memory_bytes(&self) -> usize {
        let owned: usize = self.items.iter().map(Item::owned_bytes).sum();
        size_of::<(StreamId, Saved<T>)>() + NODE_BYTES + self.items.capacity() * size_of::<T>() + owned
    }
}

/// A part of a frozen stream. They come in this order: blocks; the figures; for each group what it is, its pending
/// entries, the number of its consumers, and for each of them what it is and the ids of its pending entries; and, if the head
/// says so, what is remembered of producers.
#[derive(Clone, Copy, Debug)]
pub enum StreamPart<'a> {
    /// The next entries: as many parts as the head says.
    Block(BlockPart<'a>),
    /// The figures, once.
    Figures(StreamFigures),
    /// A group: as many as the figures say.
    Group(GroupPart<'a>),
    /// The next pending entry of the group: as many as it says.
    Pending(Pending),
    /// The number of consumers of the group that follow. Where entries were given back, one without a name is among them,
    /// the last: these are its pending entries.
    Consumers(usize),
    /// A consumer of the group.
    Consumer(ConsumerPart<'a>),
    /// The next pending entry of the consumer: as many as it says.
    PendingId(StreamId),
    /// How producers' messages are remembered.
    Producers(ProducersPart),
    /// A producer: as many as that says.
    Producer(ProducerPart<'a>),
    /// The next message of the producer: as many as it says.
    Message(MessagePart<'a>),
    /// The same as [`StreamPart::Producers`], behind the last of them.
    ProducersEnd(ProducersPart),
}

/// Entries of a stream that are given together: there is one at least.
#[derive(Clone, Copy, Debug)]
pub struct BlockPart<'a>(&'a Block);

impl<'a> BlockPart<'a> {
    /// Number of entries.
    pub fn count(&self) -> usize {
        self.0.live() as usize
    }

    /// The entries in order.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        let walk = self.0.walk();
        walk.clone().filter(|raw| !raw.is_deleted()).map(move |raw| walk.entry(raw))
    }
}

/// What there is to say of a stream besides its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamFigures {
    /// Number of entries.
    pub len: u64,
    /// See [`Log::last_id`].
    pub last_id: StreamId,
    /// See [`Log::first_id`].
    pub first_id: StreamId,
    /// See [`Log::max_deleted_id`].
    pub max_deleted_id: StreamId,
    /// See [`Log::entries_added`].
    pub entries_added: u64,
    /// Number of groups.
    pub groups: usize,
}

/// A group of a frozen stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupPart<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// The highest id that was delivered.
    pub last_delivered: StreamId,
    /// How many entries it has read, `None` if that is not known.
    pub entries_read: Option<u64>,
    /// Number of pending entries.
    pub pending: u64,
}

/// A consumer of a group of a frozen stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerPart<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// When it last tried something.
    pub seen_ms: u64,
    /// When it was last given something; `None` if never.
    pub active_ms: Option<u64>,
    /// Number of its pending entries.
    pub pending: u64,
}

impl<'a> ConsumerPart<'a> {
    /// Nobody, to whom so many entries belong that were given back. The name is [`name_of_nobody`].
    pub fn nobody(name: &'a [u8], pending: u64) -> ConsumerPart<'a> {
        ConsumerPart { name, seen_ms: 0, active_ms: None, pending }
    }

    /// Whether it is nobody: every consumer was seen when it was made.
    pub fn is_nobody(&self) -> bool {
        self.seen_ms == 0 && self.active_ms.is_none() && self.name.iter().all(|&byte| byte == 0)
    }
}

/// The name under which entries that were given back are written: none, or zero bytes where a consumer is called so. Others
/// read no group with two consumers of one name.
pub fn name_of_nobody<'n>(consumers: impl Iterator<Item = &'n [u8]>) -> Vec<u8> {
    let zeros = consumers.filter(|name| name.iter().all(|&byte| byte == 0));
    vec![0; zeros.map(|name| name.len() + 1).max().unwrap_or(0)]
}

/// The state of a frozen stream.
pub(super) struct FrozenStream {
    pub(super) ticket: u64,
    pub(super) blocks: usize,
    figures: StreamFigures,
    /// Groups that were not given as a whole, the next one first.
    groups: VecDeque<GroupThen>,
    stage: Stage,
    /// Groups that were removed since, by their numbers.
    gone: BTreeMap<u32, Box<Group>>,
    gone_bytes: usize,
    /// A group that was removed, and has been given.
    finished: Option<Box<Group>>,
    /// Pending entries of nobody in the group that is being given.
    released: Runs<StreamId>,
    /// Whether producers come behind the groups.
    pub(super) has_producers: bool,
}

/// What is given next.
#[derive(Clone, Copy)]
enum Stage {
    Blocks,
    Figures,
    Group,
    Pending,
    Consumer(usize),
    PendingIds(usize),
    Released,
    ReleasedIds,
    Producers,
    Messages(ProducersPart),
    /// Nothing, but there is a group to be freed.
    Freeing,
}

/// A group as it was.
struct GroupThen {
    number: u32,
    name: Box<[u8]>,
    last_delivered: StreamId,
    entries_read: Option<u64>,
    pending: u64,
    released: u64,
    consumers: Vec<ConsumerThen>,
}

struct ConsumerThen {
    slot: ConsumerSlot,
    name: Box<[u8]>,
    seen_ms: u64,
    active_ms: Option<u64>,
    pending: u64,
}

impl GroupThen {
    fn new(number: u32, group: &Group) -> GroupThen {
        let consumers: Vec<_> = group
            .consumers()
            .map(|(slot, consumer)| ConsumerThen {
                slot,
                name: consumer.name().into(),
                seen_ms: consumer.seen_ms(),
                active_ms: consumer.active_ms(),
                pending: consumer.pending_count(),
            })
            .collect();
        let owned: u64 = consumers.iter().map(|consumer| consumer.pending).sum();
        GroupThen {
            number,
            name: group.name().into(),
            last_delivered: group.last_delivered(),
            entries_read: group.entries_read(),
            pending: group.pending_count(),
            released: group.pending_count() - owned,
            consumers,
        }
    }

    fn part(&self) -> GroupPart<'_> {
        GroupPart {
            name: &self.name,
            last_delivered: self.last_delivered,
            entries_read: self.entries_read,
            pending: self.pending,
        }
    }
}

impl FrozenStream {
    /// The state of a stream with these groups, which are frozen as well.
    pub(super) fn new<'g>(
        ticket: u64,
        log: &Log,
        groups: impl Iterator<Item = &'g mut Group>,
        has_producers: bool,
    ) -> FrozenStream {
        let groups: VecDeque<_> = (0..)
            .zip(groups)
            .map(|(number, group)| {
                group.freeze(number);
                GroupThen::new(number, group)
            })
            .collect();
        let figures = StreamFigures {
            len: log.len(),
            last_id: log.last_id(),
            first_id: log.first_id(),
            max_deleted_id: log.max_deleted_id(),
            entries_added: log.entries_added(),
            groups: groups.len(),
        };
        FrozenStream {
            ticket,
            blocks: usize::try_from(log.node_count()).unwrap_or(usize::MAX),
            figures,
            groups,
            stage: Stage::Blocks,
            gone: BTreeMap::new(),
            gone_bytes: 0,
            finished: None,
            released: Runs::default(),
            has_producers,
        }
    }

    /// Bytes on the heap, about.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<FrozenStream>() + self.gone_bytes + self.released.memory_bytes()
    }

    /// A group is removed: kept if it is still to be given, else handed out.
    pub(super) fn take_group(&mut self, group: Box<Group>) -> Option<Box<Group>> {
        let Some(number) = group.frozen_number() else { return Some(group) };
        self.gone_bytes += group.memory_bytes();
        self.gone.insert(number, group);
        None
    }

    /// Gives the next parts of what the stream was, about as many as the budget allows. Whether there are more.
    pub(super) fn give(
        &mut self,
        stream: &mut Stream,
        mut budget: usize,
        visit: &mut dyn FnMut(FrozenPart<'_>),
    ) -> bool {
        let Stream { log, groups, group_bytes, idempotency, .. } = stream;
        let visit = &mut |part: StreamPart<'_>| visit(FrozenPart::Stream(part));
        while budget > 0 {
            match self.stage {
                Stage::Blocks => {
                    budget = log.give_frozen(budget, |block| visit(StreamPart::Block(BlockPart(block))));
                    if !log.is_frozen() {
                        self.stage = Stage::Figures;
                    }
                    continue;
                }
                Stage::Figures => {
                    visit(StreamPart::Figures(self.figures));
                    self.stage = Stage::Group;
                }
                Stage::Freeing => {
                    if self.finished.as_mut().is_none_or(|group| group.shed(budget)) {
                        self.finished = None;
                        self.stage = Stage::Group;
                        continue;
                    }
                    return true;
                }
                Stage::Producers => {
                    let Some(head) = idempotency.as_deref().and_then(Idempotency::frozen_head) else { return false };
                    visit(StreamPart::Producers(head));
                    self.stage = Stage::Messages(head);
                }
                Stage::Messages(head) => {
                    let Some(known) = idempotency.as_deref_mut() else { return false };
                    budget = known.give_frozen(budget, &mut |part| {
                        visit(match part {
                            TablePart::Producer(producer) => StreamPart::Producer(producer),
                            TablePart::Message(message) => StreamPart::Message(message),
                        });
                    });
                    if budget == 0 {
                        return true;
                    }
                    visit(StreamPart::ProducersEnd(head));
                    return false;
                }
                Stage::Group if self.groups.is_empty() => {
                    if !self.has_producers {
                        return false;
                    }
                    self.stage = Stage::Producers;
                    continue;
                }
                Stage::Group => {
                    let Some(group) = self.groups.front() else { return false };
                    visit(StreamPart::Group(group.part()));
                    self.stage = Stage::Pending;
                }
                _ => {
                    let Some(then) = self.groups.front() else { return false };
                    let live = groups.binary_search_by(|group| group.name().cmp(&then.name)).ok();
                    let live =
                        live.map(|at| &mut groups[at]).filter(|group| group.frozen_number() == Some(then.number));
                    let (group, bytes) = match (live, self.gone.get_mut(&then.number)) {
                        (Some(group), _) => (group, &mut *group_bytes),
                        (None, Some(group)) => (group, &mut self.gone_bytes),
                        (None, None) => unreachable!("a frozen group is there, or was kept"),
                    };
                    let before = group.memory_bytes();
                    budget = give_of_group(&mut self.stage, then, group, &mut self.released, budget, visit);
                    let is_over = matches!(self.stage, Stage::Group);
                    if is_over {
                        group.thaw();
                    }
                    *bytes = *bytes + group.memory_bytes() - before;
                    if is_over {
                        if let Some(gone) = self.gone.remove(&then.number) {
                            self.gone_bytes -= gone.memory_bytes();
                            self.finished = Some(gone);
                            self.stage = Stage::Freeing;
                        }
                        self.groups.pop_front();
                    }
                    continue;
                }
            }
            budget -= 1;
        }
        true
    }

    /// Forgets everything; what is left is handed out.
    pub(super) fn thaw(self: Box<Self>, log: &mut Log, groups: &mut [Box<Group>]) -> Kept {
        let rest: Vec<Kept> = groups.iter_mut().filter_map(|group| group.thaw()).collect();
        Box::new((self, log.thaw(), rest))
    }
}

/// Gives what there is next of a group. What is left of the budget.
fn give_of_group(
    stage: &mut Stage,
    then: &GroupThen,
    group: &mut Group,
    released: &mut Runs<StreamId>,
    mut budget: usize,
    visit: &mut impl FnMut(StreamPart<'_>),
) -> usize {
    match *stage {
        Stage::Pending => {
            let (left, is_over) = group.give_frozen_pending(budget, |pending| {
                if pending.consumer.is_none() {
                    released.insert(pending.id);
                }
                visit(StreamPart::Pending(pending));
            });
            if is_over {
                visit(StreamPart::Consumers(then.consumers.len() + usize::from(then.released > 0)));
                *stage = Stage::Consumer(0);
            }
            return left;
        }
        Stage::Consumer(number) => {
            let Some(consumer) = then.consumers.get(number) else {
                *stage = Stage::Released;
                return budget;
            };
            let ConsumerThen { name, seen_ms, active_ms, pending, .. } = consumer;
            let (seen_ms, active_ms, pending) = (*seen_ms, *active_ms, *pending);
            visit(StreamPart::Consumer(ConsumerPart { name, seen_ms, active_ms, pending }));
            *stage = Stage::PendingIds(number);
        }
        Stage::PendingIds(number) => {
            let slot = then.consumers.get(number).map(|consumer| consumer.slot);
            let (left, is_over) = match slot {
                Some(slot) => group.give_frozen_of(slot, budget, |id| visit(StreamPart::PendingId(id))),
                None => (budget, true),
            };
            if is_over {
                *stage = Stage::Consumer(number + 1);
            }
            return left;
        }
        Stage::Released => {
            if then.released == 0 {
                *stage = Stage::Group;
                return budget;
            }
            let name = name_of_nobody(then.consumers.iter().map(|consumer| &*consumer.name));
            visit(StreamPart::Consumer(ConsumerPart::nobody(&name, then.released)));
            *stage = Stage::ReleasedIds;
        }
        _ => {
            while budget > 0
                && let Some(&id) = released.first()
            {
                visit(StreamPart::PendingId(id));
                released.remove(id);
                budget -= 1;
            }
            if released.len() == 0 {
                *stage = Stage::Group;
            }
            return budget;
        }
    }
    budget - 1
}
