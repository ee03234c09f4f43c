//! Words that are gathered while they can be seen, to be put into a command later.

/// Texts behind one another in one piece of memory.
#[derive(Debug, Default)]
pub(super) struct KeptWords {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl KeptWords {
    /// Appends one.
    pub(super) fn push(&mut self, word: &[u8]) {
        self.bytes.extend_from_slice(word);
        self.ends.push(self.bytes.len());
    }

    /// All of them, at most `count` at a time.
    pub(super) fn chunks(&self, count: usize) -> impl Iterator<Item = impl ExactSizeIterator<Item = &[u8]>> {
        (0..self.ends.len()).step_by(count.max(1)).map(move |from| {
            let to = from.saturating_add(count.max(1)).min(self.ends.len());
            (from..to).map(|at| {
                let start = at.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
                let end = self.ends.get(at).copied().unwrap_or(start);
                self.bytes.get(start..end).unwrap_or_default()
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::KeptWords;

    #[test]
    fn words_come_back_in_order_and_in_portions() {
        let mut words = KeptWords::default();
        [&b"a"[..], b"", b"bcd", b"e"].iter().for_each(|word| words.push(word));
        let portions: Vec<Vec<&[u8]>> = words.chunks(3).map(Iterator::collect).collect();
        assert_eq!(portions, [vec![&b"a"[..], b"", b"bcd"], vec![b"e"]]);
        assert_eq!(KeptWords::default().chunks(2).count(), 0);
    }
}
