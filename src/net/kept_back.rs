//! What is kept back until changes are on disk.
//!
//! With `appendfsync always` nobody hears of a change, be it as a reply or by what somebody else reads, before it is on
//! disk. Whatever is to be sent meanwhile stands here, in order, each with the position up to which the append-only file
//! must be on disk; positions never fall, so what may go is always in front.

use super::Named;
use crate::command::reply::Output;
use std::collections::VecDeque;
use std::sync::Arc;

/// Something that is to be sent.
#[derive(Debug)]
pub(super) enum Kept {
    /// Replies.
    Replies(Output),
    /// A message.
    Message(Arc<[u8]>),
}

impl Kept {
    /// Bytes.
    pub(super) fn len(&self) -> usize {
        match self {
            Kept::Replies(out) => out.len(),
            Kept::Message(message) => message.len(),
        }
    }
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct KeptBack {
    queue: VecDeque<(u64, Named, Kept)>,
}

impl KeptBack {
    /// Whether nothing is kept back.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// What the last of it waits for.
    #[inline]
    pub(super) fn last_position(&self) -> Option<u64> {
        self.queue.back().map(|(position, ..)| *position)
    }

    /// Keeps something until everything up to `position` is on disk.
    pub(super) fn push(&mut self, position: u64, named: Named, kept: Kept) {
        let position = self.last_position().map_or(position, |last| last.max(position));
        self.queue.push_back((position, named, kept));
    }

    /// Takes the first if everything that it waits for is on disk.
    pub(super) fn take(&mut self, synced: u64) -> Option<(Named, Kept)> {
        let (position, ..) = self.queue.front()?;
        if *position > synced {
            return None;
        }
        self.queue.pop_front().map(|(_, named, kept)| (named, kept))
    }
}
