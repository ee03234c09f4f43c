//! Things with a small number, and lists through them.
//!
//! There may be a hundred thousand observers: they are kept in pages, so that nothing is moved or held twice when there are
//! more, and know each other by numbers of four bytes. A list costs its members two of those and nothing else; who is in it
//! can leave it without a search.

/// Stands for nobody.
pub(super) const NOBODY: u32 = u32::MAX;

const PAGE: usize = 256;

/// Things that are found by number.
#[derive(Debug)]
pub(super) struct Slots<T> {
    pages: Vec<Box<[Option<T>]>>,
    free: Vec<u32>,
    fresh: u32,
    len: usize,
}

impl<T> Default for Slots<T> {
    fn default() -> Slots<T> {
        Slots { pages: Vec::new(), free: Vec::new(), fresh: 0, len: 0 }
    }
}

impl<T> Slots<T> {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds one and gives its number, which is below [`NOBODY`] as long as there are fewer.
    pub(super) fn add(&mut self, value: T) -> u32 {
        let at = self.free.pop().unwrap_or_else(|| {
            if self.fresh as usize == self.pages.len() * PAGE {
                self.pages.push(std::iter::repeat_with(|| None).take(PAGE).collect());
            }
            self.fresh += 1;
            self.fresh - 1
        });
        self.pages[at as usize / PAGE][at as usize % PAGE] = Some(value);
        self.len += 1;
        at
    }

    /// Takes one out. Its number will be another's.
    pub(super) fn remove(&mut self, at: u32) -> Option<T> {
        let value = self.pages.get_mut(at as usize / PAGE)?.get_mut(at as usize % PAGE)?.take()?;
        self.len -= 1;
        if self.len == 0 {
            // Their memory goes with the last.
            *self = Slots::default();
        } else {
            self.free.push(at);
        }
        Some(value)
    }

    #[inline]
    pub(super) fn get(&self, at: u32) -> Option<&T> {
        self.pages.get(at as usize / PAGE)?.get(at as usize % PAGE)?.as_ref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        self.pages.get_mut(at as usize / PAGE)?.get_mut(at as usize % PAGE)?.as_mut()
    }

    /// All numbers that are in use.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> {
        (0..self.fresh).filter(|at| self.get(*at).is_some())
    }
}

/// The neighbours of a member of a list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Links {
    prev: u32,
    next: u32,
}

impl Links {
    /// Of one who is in no list.
    pub(super) const NONE: Links = Links { prev: NOBODY, next: NOBODY };

    /// Who comes next in the list.
    pub(super) fn next(self) -> Option<u32> {
        (self.next != NOBODY).then_some(self.next)
    }
}

/// Where the links of a kind of list are in a member.
pub(super) type LinksOf<T> = fn(&mut T) -> &mut Links;

/// A list; its members are in [`Slots`], and in no other list of the same kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    first: u32,
    last: u32,
}

impl Default for List {
    fn default() -> List {
        List { first: NOBODY, last: NOBODY }
    }
}

impl List {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.first == NOBODY
    }

    #[inline]
    pub(super) fn first(&self) -> Option<u32> {
        (self.first != NOBODY).then_some(self.first)
    }

    pub(super) fn push_back<T>(&mut self, slots: &mut Slots<T>, at: u32, links: LinksOf<T>) {
        let Some(member) = slots.get_mut(at) else { return };
        *links(member) = Links { prev: self.last, next: NOBODY };
        match slots.get_mut(self.last) {
            Some(last) => links(last).next = at,
            None => self.first = at,
        }
        self.last = at;
    }

    pub(super) fn remove<T>(&mut self, slots: &mut Slots<T>, at: u32, links: LinksOf<T>) {
        let Some(member) = slots.get_mut(at) else { return };
        let Links { prev, next } = std::mem::replace(links(member), Links::NONE);
        match slots.get_mut(prev) {
            Some(before) => links(before).next = next,
            None => self.first = next,
        }
        match slots.get_mut(next) {
            Some(behind) => links(behind).prev = prev,
            None => self.last = prev,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};
    use std::collections::{BTreeMap, VecDeque};

    struct Member {
        name: u64,
        links: Links,
    }

    #[test]
    fn members_of_lists_are_those_of_a_deque() {
        let mut random = SmallRng::seed_from_u64(7);
        let links: LinksOf<Member> = |member| &mut member.links;
        let mut slots: Slots<Member> = Slots::default();
        let mut lists = [List::default(); 3];
        let mut model: [VecDeque<u32>; 3] = Default::default();
        let mut names = BTreeMap::new();
        for round in 0..20_000_u64 {
            let which = random.random_range(0..3);
            match random.random_range(0..if round % 4_000 < 2_000 { 5 } else { 8 }) {
                0..=2 => {
                    let at = slots.add(Member { name: round, links: Links::NONE });
                    assert!(names.insert(at, round).is_none());
                    lists[which].push_back(&mut slots, at, links);
                    model[which].push_back(at);
                }
                3 => {
                    let first = lists[which].first();
                    assert_eq!(first, model[which].pop_front());
                    if let Some(at) = first {
                        lists[which].remove(&mut slots, at, links);
                        assert_eq!(slots.remove(at).map(|member| member.name), names.remove(&at));
                    }
                }
                _ if !model[which].is_empty() => {
                    let place = random.random_range(0..model[which].len());
                    let at = model[which].remove(place).expect("it is there");
                    lists[which].remove(&mut slots, at, links);
                    let to = random.random_range(0..4);
                    if to < 3 {
                        lists[to].push_back(&mut slots, at, links);
                        model[to].push_back(at);
                    } else {
                        assert_eq!(slots.remove(at).map(|member| member.name), names.remove(&at));
                    }
                }
                _ => {}
            }
            assert_eq!(slots.len(), names.len());
            for (list, model) in lists.iter().zip(&model) {
                assert_eq!(list.first(), model.front().copied());
                assert_eq!(list.is_empty(), model.is_empty());
            }
        }
        assert!(slots.numbers().eq(names.keys().copied()));
    }
}
