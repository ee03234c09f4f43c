//! Things with numbers: places that are used again, in runs of bounded size, so that growing moves little.

/// Places in a run.
const RUN: usize = 256;

/// Things by their numbers. What was taken away leaves its default until the number is given again.
#[derive(Clone, Debug)]
pub(super) struct Numbered<T> {
    runs: Vec<Vec<T>>,
    free: Vec<u32>,
    len: usize,
}

impl<T> Default for Numbered<T> {
    fn default() -> Numbered<T> {
        Numbered { runs: Vec::new(), free: Vec::new(), len: 0 }
    }
}

impl<T: Default> Numbered<T> {
    /// Number of things.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Numbers that were ever given are below this.
    pub(super) fn end(&self) -> usize {
        self.len + self.free.len()
    }

    /// Bytes on the heap, without what the things own. O(1).
    pub(super) fn memory_bytes(&self) -> usize {
        let last = self.runs.last().map_or(0, Vec::capacity);
        let places = self.runs.len().saturating_sub(1) * RUN + last;
        places * size_of::<T>() + self.runs.capacity() * size_of::<Vec<T>>() + self.free.capacity() * size_of::<u32>()
    }

    /// All things, with the default in the place of those that were taken away.
    pub(super) fn all(&self) -> impl Iterator<Item = &T> {
        self.runs.iter().flatten()
    }

    /// Adds a thing; `None` if all numbers are given. The highest one never is.
    pub(super) fn add(&mut self, thing: T) -> Option<u32> {
        if let Some(number) = self.free.pop() {
            self.len += 1;
            self[number] = thing;
            return Some(number);
        }
        let number = u32::try_from(self.len).ok().filter(|&number| number < u32::MAX)?;
        match self.runs.last_mut() {
            Some(run) if run.len() < RUN => run.push(thing),
            _ => {
                let mut run = Vec::with_capacity(if self.runs.is_empty() { 1 } else { RUN });
                run.push(thing);
                self.runs.push(run);
            }
        }
        self.len += 1;
        Some(number)
    }

    /// Takes a thing away. Its number is there.
    pub(super) fn remove(&mut self, number: u32) -> T {
        let thing = std::mem::take(&mut self[number]);
        self.len -= 1;
        if self.len == 0 {
            *self = Numbered::default();
        } else {
            self.free.push(number);
        }
        thing
    }
}

impl<T> std::ops::Index<u32> for Numbered<T> {
    type Output = T;

    #[inline]
    fn index(&self, number: u32) -> &T {
        &self.runs[number as usize / RUN][number as usize % RUN]
    }
}

impl<T> std::ops::IndexMut<u32> for Numbered<T> {
    #[inline]
    fn index_mut(&mut self, number: u32) -> &mut T {
        &mut self.runs[number as usize / RUN][number as usize % RUN]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::testing::Rng;

    #[test]
    fn numbers_stay_and_are_given_again() {
        let mut rng = Rng::new(5);
        let (mut things, mut model) = (Numbered::default(), BTreeMap::new());
        for round in 0..5000_u64 {
            if rng.below(3) > 0 || model.is_empty() {
                let number = things.add(round).unwrap();
                assert_eq!(model.insert(number, round), None);
            } else {
                let (&number, &thing) = model.iter().nth(rng.below(model.len())).unwrap();
                model.remove(&number);
                assert_eq!(things.remove(number), thing);
            }
            assert_eq!(things.len(), model.len());
            assert!(model.keys().all(|&number| (number as usize) < things.end()));
        }
        assert!(model.iter().all(|(&number, &thing)| things[number] == thing));
        for number in model.into_keys() {
            things.remove(number);
        }
        assert_eq!(things.memory_bytes(), 0);
    }
}
