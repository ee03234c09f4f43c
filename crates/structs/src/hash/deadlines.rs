//! Which fields of a hash have deadlines, the earliest first.

use std::ptr::NonNull;

use crate::members::{MemberPtr, MemberRef, Replaced};
use crate::rank_tree::{RankTree, Ranked, deadline_order_key};

/// A member's deadline in unix ms.
#[inline]
pub(super) fn deadline_of(member: MemberRef<'_>) -> Option<i64> {
    member.extra().map(u64::cast_signed)
}

struct ByDeadline;

// SAFETY: both only read the member.
unsafe impl Ranked for ByDeadline {
    #[inline]
    unsafe fn order_key(member: NonNull<u8>) -> u64 {
        // SAFETY: the caller's promise; the borrow ends with this function.
        let member = unsafe { MemberPtr::from_address(member).member() };
        deadline_order_key(deadline_of(member).unwrap_or(i64::MAX))
    }

    #[inline]
    unsafe fn name<'a>(member: NonNull<u8>) -> &'a [u8] {
        // SAFETY: the caller's promise.
        unsafe { MemberPtr::from_address(member).member() }.key()
    }
}

/// Members in the order of their deadlines.
///
/// It does not own them: while a member is in here, it must stay where it is and keep its deadline, or the caller says at once
/// what has become of it. That is what the unsafe functions are about.
#[derive(Default)]
pub(super) struct Deadlines {
    order: RankTree<ByDeadline>,
}

impl Deadlines {
    pub(super) fn len(&self) -> usize {
        self.order.len() as usize
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.order.memory_bytes()
    }

    /// The earliest deadline.
    pub(super) fn first_ms(&self) -> Option<i64> {
        let first = MemberPtr::from_address(self.order.first()?);
        // SAFETY: members in the tree are alive.
        deadline_of(unsafe { first.member() })
    }

    /// How many deadlines are at `now_ms` or before.
    pub(super) fn due(&self, now_ms: i64) -> usize {
        match self.first_ms() {
            Some(first_ms) if first_ms <= now_ms => self.order.count_through(deadline_order_key(now_ms)) as usize,
            _ => 0,
        }
    }

    /// Puts a member in.
    ///
    /// # Safety
    /// It is alive, has a deadline and is not in here yet.
    pub(super) unsafe fn insert(&mut self, member: MemberPtr) {
        // SAFETY: the caller's promise.
        unsafe { self.order.insert(member.address()) };
    }

    /// Takes a member out.
    ///
    /// # Safety
    /// It is alive.
    pub(super) unsafe fn remove(&mut self, member: MemberPtr) {
        // SAFETY: the caller's promise.
        let removed = unsafe { self.order.remove(member.address()) };
        debug_assert!(removed, "a member with a deadline is in the tree");
    }

    /// A member may have moved, without a change of its deadline.
    ///
    /// # Safety
    /// It was in here where it was, and is alive where it is.
    pub(super) unsafe fn moved(&mut self, member: Replaced) {
        if member.old != member.new {
            // SAFETY: the caller's promise.
            let moved = unsafe { self.order.replace(member.old.address(), member.new.address()) };
            debug_assert!(moved, "a member with a deadline is in the tree");
        }
    }

    /// Takes the members with the earliest deadlines out, some of at most `max`, and gives them to `taken` in order.
    pub(super) fn take(&mut self, max: usize, mut taken: impl FnMut(MemberPtr)) {
        self.order.take(0, max as u64, |address| taken(MemberPtr::from_address(address)));
    }
}
