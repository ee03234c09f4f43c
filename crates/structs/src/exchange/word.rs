//! Bytes that are short nearly always: in place up to 22 of them, else in a box.

/// Bytes that are kept in place.
const IN_PLACE: usize = 22;

/// A word of a pattern, or a key.
#[derive(Clone, Debug)]
pub(super) enum Word {
    Short { len: u8, bytes: [u8; IN_PLACE] },
    Long(Box<[u8]>),
}

impl Word {
    pub(super) fn new(word: &[u8]) -> Word {
        let mut bytes = [0; IN_PLACE];
        match bytes.get_mut(..word.len()) {
            Some(place) => {
                place.copy_from_slice(word);
                Word::Short { len: word.len() as u8, bytes }
            }
            None => Word::Long(word.into()),
        }
    }

    #[inline]
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Word::Short { len, bytes } => &bytes[..usize::from(*len)],
            Word::Long(bytes) => bytes,
        }
    }

    /// Bytes on the heap.
    pub(super) fn memory_bytes(&self) -> usize {
        match self {
            Word::Short { .. } => 0,
            Word::Long(bytes) => bytes.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_every_length_are_what_they_were() {
        for len in 0..64 {
            let bytes: Vec<u8> = (0..len).collect();
            let word = Word::new(&bytes);
            assert_eq!(word.as_bytes(), bytes);
            assert_eq!(word.memory_bytes() > 0, usize::from(len) > IN_PLACE);
        }
        assert_eq!(size_of::<Word>(), 24);
    }
}
