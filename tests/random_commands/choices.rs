//! Bytes as choices: whoever wrote the bytes, a fuzzer or a generator of random numbers, decides what happens.
//!
//! When the bytes are used up every choice is the first one, so that a conversation can be ended anywhere.

/// What is left of an input.
pub(crate) struct Choices<'a> {
    rest: &'a [u8],
}

impl<'a> Choices<'a> {
    pub(crate) fn new(input: &'a [u8]) -> Choices<'a> {
        Choices { rest: input }
    }

    /// Whether nothing is left to decide.
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    /// A number below `limit`, which is at least 1; takes as many bytes as that needs.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        let (mut number, mut reach) = (0, 1);
        while reach < limit {
            number = number << 8 | usize::from(self.byte());
            reach <<= 8;
        }
        number % limit
    }

    /// Once in `times`, if the bytes are random.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == times - 1
    }

    /// One of a list that is not empty.
    pub(crate) fn pick<'l, T>(&mut self, list: &'l [T]) -> &'l T {
        &list[self.below(list.len())]
    }

    /// The next bytes as they are, fewer at the end of the input.
    pub(crate) fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        taken
    }
}
