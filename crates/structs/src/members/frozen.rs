//! What frozen members have to remember: how far they were given out, and what changed before it was.
//!
//! A hash and a set are walked in the order of positions, a sorted set from the highest member down. Either way a change
//! ahead of the walk first copies the members of its position aside and settles the position, and the walk passes over
//! settled ones.
//!
//! What must stay true: a member that is ahead of the walk, and whose position is not settled, is as it was when the
//! members were frozen.

use std::alloc::dealloc;
use std::collections::{BTreeSet, VecDeque};
use std::ptr::NonNull;

use super::{MemberRef, heap_layout};
use crate::frozen::weight;
use crate::rank_tree::score_order_key;
use crate::snapshot_walk::SnapshotWalk;

/// A piece of copies has so much room, or as much as a longer copy needs.
const PIECE_BYTES: usize = 32 * 1024;
/// A block of its own of so many bytes is moved aside, if it can be, instead of being copied.
pub(super) const MOVED_FROM_BYTES: usize = 16 * 1024;
/// Settled positions that are forgotten at the end for each element that might be given instead.
const FORGOTTEN_PER_WEIGHT: usize = 8;
/// What a position takes in a [`BTreeSet`], about.
const SETTLED_BYTES: usize = 16;

/// The state of frozen members.
pub(crate) struct FrozenMembers {
    pub(crate) ticket: u64,
    /// Number of members then.
    pub(crate) len: usize,
    /// The earliest deadline of one then, in unix ms.
    pub(crate) least_deadline_ms: Option<i64>,
    pub(super) walk: Walk,
    pub(super) aside: Aside,
}

/// In which order members are walked.
pub(super) enum Walk {
    Positions(SnapshotWalk),
    Ranks(RankWalk),
}

/// How far a sorted set was given out, from the highest member down.
#[derive(Default)]
pub(super) struct RankWalk {
    /// Order key and name of the last one that was given.
    mark: Option<(u64, Vec<u8>)>,
    is_walked: bool,
    settled: BTreeSet<u64>,
}

impl FrozenMembers {
    pub(super) fn new(ticket: u64, len: usize, least_deadline_ms: Option<i64>, by_rank: bool) -> FrozenMembers {
        let walk = if by_rank { Walk::Ranks(RankWalk::default()) } else { Walk::Positions(SnapshotWalk::new()) };
        FrozenMembers { ticket, len, least_deadline_ms, walk, aside: Aside::default() }
    }

    /// Bytes on the heap, about.
    pub(super) fn memory_bytes(&self) -> usize {
        let walk = match &self.walk {
            Walk::Positions(walk) => walk.memory_bytes(),
            Walk::Ranks(walk) => walk.settled.len() * SETTLED_BYTES,
        };
        size_of::<FrozenMembers>() + walk + self.aside.bytes
    }

    /// Settles a position. Whether its members have to be saved if they are ahead.
    pub(super) fn settle(&mut self, position: u64) -> bool {
        match &mut self.walk {
            Walk::Positions(walk) => walk.settle(position),
            Walk::Ranks(walk) => !walk.is_walked && walk.settled.insert(position),
        }
    }

    /// Whether a member is ahead of the walk, of which only its position is known to be.
    pub(super) fn is_ahead(&self, member: MemberRef<'_>) -> bool {
        match &self.walk {
            Walk::Positions(_) => true,
            Walk::Ranks(walk) => walk.is_ahead(member),
        }
    }

    /// Gives what was saved. What is left of the budget.
    pub(super) fn give_saved(&mut self, budget: usize, visit: &mut dyn FnMut(MemberRef<'_>)) -> usize {
        self.aside.give(budget, visit)
    }

    /// How far a sorted set was given, if there is anything left of it.
    pub(super) fn rank_walk(&mut self) -> Option<&mut RankWalk> {
        match &mut self.walk {
            Walk::Ranks(walk) if !walk.is_walked => Some(walk),
            _ => None,
        }
    }

    /// After the walk has come to its end: forgets some of what is left. Whether there is nothing any more.
    pub(super) fn is_over(&mut self, budget: usize) -> bool {
        let is_over = match &mut self.walk {
            Walk::Positions(walk) => {
                if walk.is_walked() {
                    walk.advance_to(0);
                }
                walk.is_over()
            }
            Walk::Ranks(walk) => {
                let forgotten = if walk.is_walked { budget.saturating_mul(FORGOTTEN_PER_WEIGHT) } else { 0 };
                for _ in 0..forgotten {
                    if walk.settled.pop_first().is_none() {
                        break;
                    }
                }
                walk.is_walked && walk.settled.is_empty()
            }
        };
        is_over && self.aside.is_empty()
    }
}

impl RankWalk {
    /// Whether a member was not given yet, as far as its score and name tell.
    fn is_ahead(&self, member: MemberRef<'_>) -> bool {
        match &self.mark {
            None => true,
            Some((key, name)) => (order_key(member), member.key()) < (*key, name.as_slice()),
        }
    }

    /// Behind which member the walk goes on: order key and name. `None` at the start.
    pub(super) fn mark(&self) -> Option<(u64, &[u8])> {
        self.mark.as_ref().map(|(key, name)| (*key, name.as_slice()))
    }

    /// Whether a member with this position is to be passed over.
    #[inline]
    pub(super) fn is_settled(&self, position: impl FnOnce() -> u64) -> bool {
        !self.settled.is_empty() && self.settled.contains(&position())
    }

    /// All members down to this one were given, or passed over.
    pub(super) fn advance_to(&mut self, member: MemberRef<'_>) {
        let (key, name) = self.mark.get_or_insert_default();
        *key = order_key(member);
        name.clear();
        name.extend_from_slice(member.key());
    }

    /// All members were.
    pub(super) fn finish(&mut self) {
        self.is_walked = true;
    }
}

fn order_key(member: MemberRef<'_>) -> u64 {
    score_order_key(f64::from_bits(member.extra().unwrap_or(0)))
}

/// Members that were copied or moved aside, first in, first out. All are in the form of their blocks.
#[derive(Default)]
pub(super) struct Aside {
    pieces: VecDeque<Piece>,
    /// Where in the first piece the next one is.
    at: usize,
    bytes: usize,
}

enum Piece {
    Copies(Vec<u8>),
    Block(KeptBlock),
}

/// A block that belonged to the members, and is the global allocator's.
struct KeptBlock {
    block: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the block belongs to nobody else.
unsafe impl Send for KeptBlock {}

impl Drop for KeptBlock {
    fn drop(&mut self) {
        // SAFETY: by the promise of `Aside::adopt` it came from the global allocator with this layout, and is ours.
        unsafe { dealloc(self.block.as_ptr(), heap_layout(self.bytes)) };
    }
}

impl Piece {
    fn start(&self) -> NonNull<u8> {
        match self {
            Piece::Copies(copies) => NonNull::from(copies.as_slice()).cast(),
            Piece::Block(kept) => kept.block,
        }
    }

    fn len(&self) -> usize {
        match self {
            Piece::Copies(copies) => copies.len(),
            Piece::Block(kept) => kept.bytes,
        }
    }

    fn memory_bytes(&self) -> usize {
        match self {
            Piece::Copies(copies) => copies.capacity(),
            Piece::Block(kept) => kept.bytes,
        }
    }
}

impl Aside {
    fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Adds a copy of a member.
    pub(super) fn copy(&mut self, member: MemberRef<'_>) {
        let block = member.block_slice();
        if let Some(Piece::Copies(copies)) = self.pieces.back_mut()
            && copies.capacity() - copies.len() >= block.len()
        {
            copies.extend_from_slice(block);
            return;
        }
        // The first one is small: most collections are thawed before much has changed.
        let room = if self.pieces.is_empty() { PIECE_BYTES / 16 } else { PIECE_BYTES };
        let mut copies = Vec::with_capacity(room.max(block.len()));
        copies.extend_from_slice(block);
        self.push(Piece::Copies(copies));
    }

    /// Adds a member by its block.
    ///
    /// # Safety
    /// The block is complete, `bytes` long, came from the global allocator with [`heap_layout`] of that, and nobody else
    /// knows it any more.
    pub(super) unsafe fn adopt(&mut self, block: NonNull<u8>, bytes: usize) {
        self.push(Piece::Block(KeptBlock { block, bytes }));
    }

    fn push(&mut self, piece: Piece) {
        self.bytes += piece.memory_bytes();
        self.pieces.push_back(piece);
    }

    /// Gives members and forgets them, as many as the budget allows. What is left of it.
    fn give(&mut self, mut budget: usize, visit: &mut dyn FnMut(MemberRef<'_>)) -> usize {
        while budget > 0
            && let Some(piece) = self.pieces.front()
        {
            // SAFETY: there are whole blocks in a piece, and `at` is where one begins.
            let block = unsafe { piece.start().add(self.at) };
            // SAFETY: likewise; the piece is not changed while it is being looked at.
            let member = unsafe { MemberRef::new(block) };
            let bytes = member.block_bytes();
            visit(member);
            budget = budget.saturating_sub(weight(bytes));
            self.at += bytes;
            if self.at >= piece.len() {
                self.bytes -= piece.memory_bytes();
                self.at = 0;
                self.pieces.pop_front();
            }
        }
        budget
    }
}
