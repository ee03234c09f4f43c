//! Items in the order of their stream ids, packed into runs: what the blocks of a log, the pending entries of a group
//! and those of a consumer have in common.
//!
//! ```text
//!  runs    [ first 5-0, oldest 90 | first 9-3, oldest 95 | first 12-0, oldest 99 ]     a deque
//!             │                      │                      └ 12-0 13-0                 the last one fills up
//!             │                      └ 9-3 10-0 11-0 11-1                               full: exact in size
//!             └ 7-0 8-1                                                                 drained from the front
//! ```
//!
//! Nearly always items arrive at the end, in order, and leave near the front. Both ends of a deque of deques take that in
//! constant time, full runs carry no slack, and an item anywhere is two binary searches away. Only an insertion into a
//! full run in the middle (an old entry that is claimed) splits it.
//!
//! Each run also keeps a lower bound of its items' ages, so that the oldest few are found without looking at all of
//! them: see [`Runs::oldest`].
//!
//! They can be frozen: then the items that there were are given out in order while they change, see `frozen.rs`.
//!
//! What must stay true: nothing is added, changed or removed without [`Runs::keep`] before; ids ascend strictly, over runs too; no run is empty; `first` is at or below the id of the run's
//! first item and above the last id of the run before; `oldest` is at or below the age of each item, of all as of a run; `bytes` is what the
//! runs' items have allocated.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::StreamId;
use super::frozen::{Frozen, FrozenRuns};

/// Items a run takes. Inserting moves half of them at most: a few kilobytes. With this number runs of ids and of pending
/// entries fill the size classes (seven eighths of a power of two) that fit the pages of allocators best.
const RUN_ITEMS: usize = 224;

/// Something with a place in the order of ids, and perhaps an age.
pub(super) trait Item: Clone {
    /// Whether it is so large that it is saved alone, when it is frozen, and not with its run.
    const IS_LARGE: bool = false;

    /// The id; it never changes.
    fn id(&self) -> StreamId;

    /// What [`Runs::oldest`] orders by.
    fn age(&self) -> u64 {
        0
    }

    /// Bytes on the heap.
    fn owned_bytes(&self) -> usize {
        0
    }

    /// What it counts against a budget.
    fn weight(&self) -> usize {
        1
    }
}

/// Where an item lies. Holds until items are added or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    run: usize,
    item: usize,
}

/// Items in the order of their ids.
#[derive(Clone, Debug)]
pub(super) struct Runs<T> {
    runs: VecDeque<Run<T>>,
    len: usize,
    bytes: usize,
    /// At or below every run's `oldest`.
    oldest: u64,
    frozen: Frozen<FrozenRuns<T>>,
}

#[derive(Clone, Debug)]
struct Run<T> {
    first: StreamId,
    oldest: u64,
    items: VecDeque<T>,
}

impl<T> Default for Runs<T> {
    fn default() -> Runs<T> {
        Runs { runs: VecDeque::new(), len: 0, bytes: 0, oldest: u64::MAX, frozen: Frozen(None) }
    }
}

impl<T: Item> Runs<T> {
    /// Number of items. O(1).
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// All bytes that are allocated, without what items own. O(1).
    #[inline]
    pub(super) fn memory_bytes(&self) -> usize {
        let frozen = self.frozen.0.as_ref().map_or(0, |frozen| frozen.memory_bytes());
        self.bytes + self.runs.capacity() * size_of::<Run<T>>() + frozen
    }

    /// The item with the lowest id. O(1).
    #[inline]
    pub(super) fn first(&self) -> Option<&T> {
        self.runs.front()?.items.front()
    }

    /// The item with the highest id. O(1).
    #[inline]
    pub(super) fn last(&self) -> Option<&T> {
        self.runs.back()?.items.back()
    }

    /// The same, to be changed; its age must not sink. O(1).
    #[inline]
    pub(super) fn last_mut(&mut self) -> Option<&mut T> {
        if self.is_frozen()
            && let Some(last) = self.last()
        {
            self.save(last.id());
        }
        self.runs.back_mut()?.items.back_mut()
    }

    /// The item at a place.
    #[inline]
    pub(super) fn at(&self, place: Place) -> Option<&T> {
        self.runs.get(place.run)?.items.get(place.item)
    }

    /// The same, to be changed; its age must not sink.
    #[inline]
    pub(super) fn at_mut(&mut self, place: Place) -> Option<&mut T> {
        self.keep_at(place);
        self.runs.get_mut(place.run)?.items.get_mut(place.item)
    }

    /// Where the item `id` is, if it is there. O(log n).
    #[inline]
    pub(super) fn find(&self, id: StreamId) -> Option<Place> {
        let run = self.run_of(id)?;
        let item = self.runs.get(run)?.items.binary_search_by(|item| item.id().cmp(&id)).ok()?;
        Some(Place { run, item })
    }

    /// The item `id`. O(log n).
    #[inline]
    pub(super) fn at_id(&self, id: StreamId) -> Option<&T> {
        self.at(self.find(id)?)
    }

    /// Where the first item at or above `id` is. O(log n).
    pub(super) fn at_or_above(&self, id: StreamId) -> Option<Place> {
        let run = self.run_of(id).unwrap_or(0);
        let items = &self.runs.get(run)?.items;
        let item = items.partition_point(|item| item.id() < id);
        if item < items.len() {
            Some(Place { run, item })
        } else {
            (run + 1 < self.runs.len()).then_some(Place { run: run + 1, item: 0 })
        }
    }

    /// Where the last item at or below `id` is. O(log n).
    pub(super) fn at_or_below(&self, id: StreamId) -> Option<Place> {
        let run = self.run_of(id)?;
        match self.runs.get(run)?.items.partition_point(|item| item.id() <= id) {
            0 => self.before(Place { run, item: 0 }),
            above => Some(Place { run, item: above - 1 }),
        }
    }

    /// The place behind one. O(1).
    #[inline]
    pub(super) fn after(&self, place: Place) -> Option<Place> {
        if place.item + 1 < self.runs.get(place.run)?.items.len() {
            Some(Place { item: place.item + 1, ..place })
        } else {
            (place.run + 1 < self.runs.len()).then_some(Place { run: place.run + 1, item: 0 })
        }
    }

    /// The place in front of one. O(1).
    #[inline]
    pub(super) fn before(&self, place: Place) -> Option<Place> {
        if place.item > 0 {
            return Some(Place { item: place.item - 1, ..place });
        }
        let run = place.run.checked_sub(1)?;
        Some(Place { run, item: self.runs.get(run)?.items.len().checked_sub(1)? })
    }

    /// Items from a place on, ascending.
    pub(super) fn iter_from(&self, place: Option<Place>) -> Iter<'_, T> {
        Iter { runs: self, next: place }
    }

    /// All items, ascending.
    pub(super) fn iter(&self) -> Iter<'_, T> {
        self.iter_from((self.len > 0).then_some(Place { run: 0, item: 0 }))
    }

    /// Adds an item, whose id must not be there. O(1) at the end, O(log n) elsewhere.
    pub(super) fn insert(&mut self, item: T) {
        let id = item.id();
        self.keep(id);
        self.len += 1;
        self.oldest = self.oldest.min(item.age());
        if self.last().is_none_or(|last| last.id() < id) {
            if self.runs.back().is_none_or(|run| run.items.len() >= RUN_ITEMS) {
                // Where one run became full the next one will.
                let items = VecDeque::with_capacity(if self.runs.is_empty() { 0 } else { RUN_ITEMS });
                self.bytes += items.capacity() * size_of::<T>();
                self.runs.push_back(Run { first: id, oldest: u64::MAX, items });
            }
            let run = self.runs.len() - 1;
            self.change(run, |run| run.push(item));
            return;
        }
        let mut place = self.run_of(id).unwrap_or(0);
        if self.runs.get(place).is_some_and(|run| run.items.len() >= RUN_ITEMS) {
            let upper = self.change(place, |run| {
                let items = run.items.split_off(RUN_ITEMS / 2);
                run.items.shrink_to_fit();
                items
            });
            let Some(first) = upper.front().map(Item::id) else { return };
            let oldest = self.runs.get(place).map_or(0, |run| run.oldest);
            self.bytes += upper.capacity() * size_of::<T>();
            self.runs.insert(place + 1, Run { first, oldest, items: upper });
            place += usize::from(id > first);
        }
        self.change(place, |run| {
            run.first = run.first.min(id);
            run.oldest = run.oldest.min(item.age());
            let at = run.items.partition_point(|other| other.id() < id);
            run.items.insert(at, item);
        });
    }

    /// Changes the item at a place and returns what `change` does; the id must stay. `None` if none is there. O(1).
    #[inline]
    pub(super) fn update<R>(&mut self, place: Place, change: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.keep_at(place);
        let run = self.runs.get_mut(place.run)?;
        let item = run.items.get_mut(place.item)?;
        let result = change(item);
        run.oldest = run.oldest.min(item.age());
        self.oldest = self.oldest.min(run.oldest);
        Some(result)
    }

    /// Removes the item `id`. O(log n).
    #[inline]
    pub(super) fn remove(&mut self, id: StreamId) -> Option<T> {
        let place = self.find(id)?;
        self.remove_at(place)
    }

    /// Removes the item at a place. O(1) at the ends of a run, else O(items of a run).
    pub(super) fn remove_at(&mut self, place: Place) -> Option<T> {
        self.keep_at(place);
        self.take_out(place)
    }

    /// Removes the item at a place, which goes, unless the frozen state needs it. O(1) at the ends of a run, else O(items of
    /// a run).
    pub(super) fn discard_at(&mut self, place: Place) {
        let Some(item) = self.take_out(place) else { return };
        let id = item.id();
        if self.frozen.0.as_ref().is_some_and(|frozen| frozen.covers(id)) {
            let before = self.at_or_below(id).and_then(|place| self.at(place)).map(Item::id);
            if let Some(frozen) = &mut self.frozen.0 {
                frozen.keep_one(before, item);
            }
        }
    }

    /// Removes all items.
    pub(super) fn clear(&mut self) {
        for run in std::mem::take(&mut self.runs) {
            self.keep_run(run);
        }
        (self.len, self.bytes, self.oldest) = (0, 0, u64::MAX);
    }

    /// The items of the first run, in order.
    pub(super) fn first_run(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.runs.front().into_iter().flat_map(|run| run.items.iter())
    }

    /// Removes the items of the first run, which go, unless the frozen state needs them: then it takes them over in one step.
    pub(super) fn discard_first_run(&mut self) {
        if let Some(run) = self.runs.pop_front() {
            self.len -= run.items.len();
            self.bytes -= run.items.capacity() * size_of::<T>();
            self.keep_run(run);
        }
    }

    fn keep_run(&mut self, run: Run<T>) {
        let Some(frozen) = &mut self.frozen.0 else { return };
        let (Some(first), Some(last)) = (run.items.front(), run.items.back()) else { return };
        let (first, last) = (first.id(), last.id());
        if frozen.covers_all(first, last) {
            frozen.keep(first, last, run.items);
        } else {
            frozen.save(first, last, |from, to| run.between(from, to));
        }
    }

    /// Removes some runs, of items that are of no use any more; at most `max`. How many. What the frozen state needs is lost.
    pub(super) fn shed(&mut self, max: usize) -> usize {
        for shed in 0..max {
            let Some(run) = self.runs.pop_back() else { return shed };
            self.len -= run.items.len();
            self.bytes -= run.items.capacity() * size_of::<T>();
        }
        max
    }

    /// Freezes them: the items that there are now are given out by [`Runs::give_frozen`], whatever becomes of them. O(1).
    pub(super) fn freeze(&mut self) {
        let ends = self.first().zip(self.last()).map(|(first, last)| (first.id(), last.id()));
        self.frozen = Frozen(ends.map(|(first, last)| Box::new(FrozenRuns::new(first, last))));
    }

    /// Whether they are frozen, and some items still to be given.
    #[inline]
    pub(super) fn is_frozen(&self) -> bool {
        self.frozen.0.is_some()
    }

    /// Forgets the frozen state; what is left of it is handed out.
    pub(super) fn thaw(&mut self) -> Option<Box<FrozenRuns<T>>> {
        self.frozen.0.take()
    }

    /// Gives items of the frozen state to `visit`, in order, as many as the budget allows. What is left of it. After the last
    /// one they are thawed.
    pub(super) fn give_frozen(&mut self, budget: usize, visit: impl FnMut(&T)) -> usize {
        let Some(mut frozen) = self.frozen.0.take() else { return budget };
        let left = frozen.give(budget, |from| self.iter_from(self.at_or_above(from)), visit);
        if !frozen.is_over() {
            self.frozen.0 = Some(frozen);
        }
        left
    }

    /// To be called before an item is added, changed or removed: saves what the frozen state had there.
    #[inline]
    fn keep(&mut self, id: StreamId) {
        if self.is_frozen() {
            self.save(id);
        }
    }

    #[inline]
    fn keep_at(&mut self, place: Place) {
        if self.is_frozen()
            && let Some(item) = self.at(place)
        {
            self.save(item.id());
        }
    }

    #[cold]
    fn save(&mut self, id: StreamId) {
        if !self.frozen.0.as_ref().is_some_and(|frozen| frozen.covers(id)) {
            return;
        }
        let run = self.run_of(id).unwrap_or(0);
        let (Some(frozen), Some(run)) = (&mut self.frozen.0, self.runs.get(run)) else { return };
        let (mut from, mut to) = (id, id);
        if let (false, Some(first), Some(last)) = (T::IS_LARGE, run.items.front(), run.items.back()) {
            (from, to) = (id.min(first.id()), id.max(last.id()));
        }
        frozen.save(from, to, |from, to| run.between(from, to));
    }

    fn take_out(&mut self, place: Place) -> Option<T> {
        let removed = self.change_if_there(place.run, |run| run.items.remove(place.item)).flatten()?;
        self.len -= 1;
        self.tidy(place.run);
        Some(removed)
    }

    /// Keeps only the items for which `keep` holds. O(n).
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        if let Some(frozen) = &mut self.frozen.0 {
            for run in &self.runs {
                if let (Some(first), Some(last)) = (run.items.front(), run.items.back()) {
                    frozen.save(first.id(), last.id(), |from, to| run.between(from, to));
                }
            }
        }
        for run in &mut self.runs {
            run.items.retain(&mut keep);
        }
        self.runs.retain(|run| !run.items.is_empty());
        self.runs.shrink_to_fit();
        for run in &mut self.runs {
            if run.items.len() * 2 <= run.items.capacity() {
                run.items.shrink_to_fit();
            }
        }
        self.len = self.runs.iter().map(|run| run.items.len()).sum();
        self.bytes = self.runs.iter().map(|run| run.items.capacity() * size_of::<T>()).sum();
    }

    /// The places of the items with an age of at most `until`, lowest age first, those of one age in the order of ids;
    /// at most `limit` of them.
    ///
    /// O(1) if there are none, else O(runs) to begin and O(items of a run) for each run that has such items. Runs whose
    /// bound has become too low since their oldest items left are measured again, so that the next search passes over
    /// them.
    pub(super) fn oldest(&mut self, until: u64, limit: usize) -> Vec<(u64, Place)> {
        let mut found = Vec::new();
        if self.oldest > until || limit == 0 {
            return found;
        }
        // A run stands for its items until it is the first in line; then its items come in its place. Its bound is at or
        // below their ages, and of one age runs and items stand in order, so nothing is overtaken.
        let mut line: BinaryHeap<Reverse<(u64, u32, u32)>> = (0..)
            .zip(&self.runs)
            .filter(|(_, run)| run.oldest <= until)
            .map(|(index, run)| Reverse((run.oldest, index, 0)))
            .collect();
        while found.len() < limit {
            let Some(Reverse((age, index, item))) = line.pop() else { break };
            if let Some(item) = item.checked_sub(1) {
                found.push((age, Place { run: index as usize, item: item as usize }));
                continue;
            }
            let Some(run) = self.runs.get_mut(index as usize) else { continue };
            run.oldest = u64::MAX;
            for (at, item) in (1..).zip(&run.items) {
                run.oldest = run.oldest.min(item.age());
                if item.age() <= until {
                    line.push(Reverse((item.age(), index, at)));
                }
            }
        }
        self.oldest = self.runs.iter().map(|run| run.oldest).min().unwrap_or(u64::MAX);
        found
    }

    #[cfg(test)]
    pub(super) fn check_bytes(&self) {
        assert_eq!(self.bytes, self.runs.iter().map(|run| run.items.capacity() * size_of::<T>()).sum::<usize>());
        assert_eq!(self.len, self.runs.iter().map(|run| run.items.len()).sum::<usize>());
    }

    /// The last run that may hold `id`: none if `id` is below all of them.
    #[inline]
    fn run_of(&self, id: StreamId) -> Option<usize> {
        let runs = self.runs.len();
        if runs <= 1 || self.runs.get(1).is_some_and(|second| id < second.first) {
            return (runs > 0 && self.runs.front().is_some_and(|run| run.first <= id)).then_some(0);
        }
        if self.runs.back().is_some_and(|last| last.first <= id) {
            return Some(runs - 1);
        }
        self.runs.partition_point(|run| run.first <= id).checked_sub(1)
    }

    /// Changes a run and accounts for what its items allocate.
    #[inline]
    fn change<R>(&mut self, index: usize, change: impl FnOnce(&mut Run<T>) -> R) -> R {
        let run = &mut self.runs[index];
        let before = run.items.capacity();
        let result = change(run);
        self.bytes = self.bytes + run.items.capacity() * size_of::<T>() - before * size_of::<T>();
        result
    }

    #[inline]
    fn change_if_there<R>(&mut self, index: usize, change: impl FnOnce(&mut Run<T>) -> R) -> Option<R> {
        (index < self.runs.len()).then(|| self.change(index, change))
    }

    /// Removes a run that became empty, joins one that became small with the next, and gives back what is not needed.
    #[inline]
    fn tidy(&mut self, index: usize) {
        let len = self.runs[index].items.len();
        if len == 0 {
            if let Some(run) = self.runs.remove(index) {
                self.bytes -= run.items.capacity() * size_of::<T>();
            }
            if self.runs.capacity() > 64 && self.runs.len() * 4 < self.runs.capacity() {
                self.runs.shrink_to(self.runs.len() * 2);
            }
            return;
        }
        if len * 4 <= RUN_ITEMS
            && self.runs.get(index + 1).is_some_and(|next| (len + next.items.len()) * 2 <= RUN_ITEMS)
        {
            let Some(mut next) = self.runs.remove(index + 1) else { return };
            self.bytes -= next.items.capacity() * size_of::<T>();
            self.change(index, |run| {
                run.oldest = run.oldest.min(next.oldest);
                run.items.append(&mut next.items);
                run.items.shrink_to_fit();
            });
        } else if len * 4 <= self.runs[index].items.capacity() && self.runs[index].items.capacity() > 16 {
            self.change(index, |run| run.items.shrink_to(len * 2));
        }
    }
}

impl<T: Item> Run<T> {
    /// Copies of the items from one id to another.
    fn between(&self, from: StreamId, to: StreamId) -> VecDeque<T> {
        let start = self.items.partition_point(|item| item.id() < from);
        self.items.iter().skip(start).take_while(|item| item.id() <= to).cloned().collect()
    }

    #[inline]
    fn push(&mut self, item: T) {
        self.oldest = self.oldest.min(item.age());
        self.items.push_back(item);
    }
}

/// Items from a place on, ascending.
#[derive(Debug)]
pub(super) struct Iter<'a, T> {
    runs: &'a Runs<T>,
    next: Option<Place>,
}

impl<T> Clone for Iter<'_, T> {
    fn clone(&self) -> Self {
        Iter { runs: self.runs, next: self.next }
    }
}

impl<'a, T: Item> Iterator for Iter<'a, T> {
    type Item = &'a T;

    #[inline]
    fn next(&mut self) -> Option<&'a T> {
        let place = self.next?;
        self.next = self.runs.after(place);
        self.runs.at(place)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::testing::Rng;

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Sample(StreamId, u64);

    impl Item for Sample {
        fn id(&self) -> StreamId {
            self.0
        }

        fn age(&self) -> u64 {
            self.1
        }
    }

    fn check(runs: &Runs<Sample>) {
        let mut last = None;
        for (index, run) in runs.runs.iter().enumerate() {
            assert!(!run.items.is_empty() && run.items.len() <= RUN_ITEMS);
            assert!(last.is_none_or(|last| last < run.first) || index == 0);
            for item in &run.items {
                assert!(last.is_none_or(|last| last < item.id()));
                assert!(run.first <= item.id() && run.oldest <= item.age() && runs.oldest <= run.oldest);
                last = Some(item.id());
            }
        }
        assert_eq!(runs.len, runs.runs.iter().map(|run| run.items.len()).sum::<usize>());
        assert_eq!(runs.bytes, runs.runs.iter().map(|run| run.items.capacity() * size_of::<Sample>()).sum::<usize>());
    }

    #[test]
    fn runs_agree_with_a_btree_map() {
        for seed in 0..6 {
            let mut rng = Rng::new(seed);
            let mut runs = Runs::default();
            let mut model: BTreeMap<StreamId, u64> = BTreeMap::new();
            let span = [50, 3_000, 200_000][seed as usize % 3];
            for step in 0..12_000 {
                let id = StreamId::new(rng.below(span) as u64, rng.below(2) as u64);
                match rng.below(if step % 4_000 < 2_500 { 6 } else { 14 }) {
                    0..=1 => {
                        if let std::collections::btree_map::Entry::Vacant(slot) = model.entry(id) {
                            let age = rng.below(1_000) as u64;
                            slot.insert(age);
                            runs.insert(Sample(id, age));
                        }
                    }
                    2 => {
                        let id = model.last_key_value().map_or(id, |(last, _)| last.next().unwrap());
                        model.insert(id, step);
                        runs.insert(Sample(id, step));
                    }
                    3 => {
                        let age = rng.below(1_000) as u64;
                        let changed = runs
                            .find(id)
                            .and_then(|at| runs.update(at, |sample| std::mem::replace(&mut sample.1, age)));
                        assert_eq!(changed, model.get_mut(&id).map(|old| std::mem::replace(old, age)));
                    }
                    4..=7 => {
                        let id = model.range(id..).next().map_or(id, |(id, _)| *id);
                        assert_eq!(runs.remove(id).map(|sample| sample.1), model.remove(&id));
                    }
                    8..=10 => {
                        if let Some((&id, _)) = model.first_key_value() {
                            assert_eq!(runs.remove(id).map(|sample| sample.1), model.remove(&id));
                        }
                    }
                    11 => {
                        let above = runs.at_or_above(id);
                        let expected = model.range(id..).next();
                        assert_eq!(above.and_then(|at| runs.at(at)).map(|s| (&s.0, &s.1)), expected);
                        let below = runs.at_or_below(id);
                        let expected = model.range(..=id).next_back();
                        assert_eq!(below.and_then(|at| runs.at(at)).map(|s| (&s.0, &s.1)), expected);
                    }
                    _ => {
                        let (until, limit) = (rng.below(1_200) as u64, rng.below(40));
                        let mut expected: Vec<_> =
                            model.iter().filter(|(_, age)| **age <= until).map(|(id, age)| (*age, *id)).collect();
                        expected.sort_unstable();
                        expected.truncate(limit);
                        let found: Vec<_> = runs
                            .oldest(until, limit)
                            .into_iter()
                            .map(|(age, place)| (age, runs.at(place).unwrap().0))
                            .collect();
                        assert_eq!(found, expected);
                    }
                }
                assert_eq!(runs.len(), model.len());
                if step % 97 == 0 {
                    check(&runs);
                    assert!(runs.iter().map(|s| (&s.0, &s.1)).eq(model.iter()));
                }
            }
            runs.retain(|sample| sample.1 % 3 == 0);
            model.retain(|_, age| *age % 3 == 0);
            check(&runs);
            assert!(runs.iter().map(|s| (&s.0, &s.1)).eq(model.iter()));
        }
    }

    #[test]
    fn items_in_order_are_packed_without_slack() {
        let mut runs = Runs::default();
        for ms in 0..100_000 {
            runs.insert(Sample(StreamId::new(ms, 0), 0));
        }
        check(&runs);
        assert!(runs.memory_bytes() < 100_000 * (size_of::<Sample>() + 1) + RUN_ITEMS * size_of::<Sample>());
        for ms in 0..100_000 {
            assert!(runs.remove(StreamId::new(ms, 0)).is_some());
        }
        check(&runs);
        assert!(runs.memory_bytes() < 8_192);
    }
}
