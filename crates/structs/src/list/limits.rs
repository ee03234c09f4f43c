//! How large a chunk may become, and which lists count as small: `list-max-listpack-size` and `list-compress-depth`.
//!
//! The sizes compared are those that a listpack of the same elements would have, and the estimates are those of Redis, so that
//! a list changes its encoding, and splits into chunks, where it does there.

use std::num::NonZeroUsize;

/// What a listpack has besides its elements: a header of six bytes and an end mark.
const LISTPACK_FRAME_BYTES: usize = 7;
/// What an element is assumed to need besides its bytes.
const ELEMENT_OVERHEAD_BYTES: usize = 8;
/// The size of a chunk whose limit is a number of elements.
const SAFETY_BYTES: usize = 8192;
/// Elements from this size on are kept apart whatever the configuration says.
const APART_BYTES_MAX: usize = 1 << 20;

/// The limits of chunks and of small lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of a listpack.
    bytes_max: usize,
    /// `None` where only bytes count.
    elements_max: Option<NonZeroUsize>,
    /// Elements of so many bytes and more are kept apart.
    apart_from: usize,
    compress_depth: usize,
}

impl Limits {
    /// `max_listpack_size`: so many elements in a chunk (0 is 1), or -1 to -5 for 4, 8, 16, 32 or 64 KiB; below that as -5.
    /// `compress_depth`: so many chunks at each end are not compressed; 0 for none to be compressed at all.
    #[inline]
    pub fn new(max_listpack_size: i64, compress_depth: usize) -> Limits {
        let (bytes_max, elements_max) = match max_listpack_size {
            ..0 => (4096 << (max_listpack_size.max(-5) + 1).unsigned_abs(), None),
            elements => {
                let elements = usize::try_from(elements).unwrap_or(usize::MAX);
                (SAFETY_BYTES, Some(NonZeroUsize::new(elements).unwrap_or(NonZeroUsize::MIN)))
            }
        };
        Limits { bytes_max, elements_max, apart_from: bytes_max + 1, compress_depth }
    }

    /// Keeps elements of so many bytes and more apart from others, instead of those that exceed a chunk's size. Never more
    /// than 1 MiB. Made for tests.
    #[must_use]
    pub fn apart_from(mut self, bytes: usize) -> Limits {
        self.apart_from = bytes.min(APART_BYTES_MAX);
        self
    }

    /// How many chunks at each end are not compressed; 0 means that no chunk is.
    pub(super) fn compress_depth(&self) -> usize {
        self.compress_depth
    }

    /// Whether an element of so many bytes is kept apart.
    #[inline]
    pub(super) fn is_apart(&self, len: usize) -> bool {
        len >= self.apart_from
    }

    /// Whether a chunk of `count` elements in `body_len` bytes takes one of `len` bytes more.
    #[inline]
    pub(super) fn takes(&self, body_len: usize, count: usize, len: usize) -> bool {
        !self.is_exceeded(body_len + len + ELEMENT_OVERHEAD_BYTES, count + 1)
    }

    /// Whether so many elements in so many bytes are too much for a chunk, and for a small list.
    #[inline]
    pub(super) fn is_exceeded(&self, body_len: usize, count: usize) -> bool {
        body_len.saturating_add(LISTPACK_FRAME_BYTES) > self.bytes_max
            || self.elements_max.is_some_and(|max| count > max.get())
    }

    /// Whether a list that was large is small again: by a margin, or one that goes back and forth over the limit would be
    /// rebuilt each time.
    pub(super) fn is_small_again(&self, body_len: usize, count: usize) -> bool {
        match self.elements_max {
            None => body_len + LISTPACK_FRAME_BYTES <= self.bytes_max / 2,
            Some(max) => count <= max.get() / 2,
        }
    }

    /// The body of a chunk never becomes longer, unless a single element is.
    #[inline]
    pub(super) fn body_bytes_max(&self) -> usize {
        self.bytes_max - LISTPACK_FRAME_BYTES
    }
}
