//! What a tree is ordered by: 64 bits made of a score or a deadline, and then the member's own bytes.

use std::cmp::Ordering;
use std::ptr::NonNull;

use crate::members::MemberPtr;

/// How a tree reads the members that it points to.
///
/// # Safety
/// The functions do nothing but read a live member, and answer the same as long as nobody changes it.
pub unsafe trait Ranked {
    /// What members are ordered by first.
    ///
    /// # Safety
    /// `member` is alive.
    unsafe fn order_key(member: NonNull<u8>) -> u64;

    /// What members with equal keys are ordered by.
    ///
    /// # Safety
    /// `member` is alive, and stays so and unchanged for `'a`.
    unsafe fn name<'a>(member: NonNull<u8>) -> &'a [u8];
}

/// A score as an integer in the same order; `-0` and `0` are one. Not for NaN, which has no place in an order.
#[inline]
pub fn score_order_key(score: f64) -> u64 {
    debug_assert!(!score.is_nan());
    // Adding zero makes -0 into 0.
    let bits = (score + 0.0).to_bits();
    // Magnitudes are in order as they are; below zero the larger one comes first.
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

/// A deadline, or any other signed integer, as an unsigned one in the same order.
#[inline]
pub fn deadline_order_key(deadline_ms: i64) -> u64 {
    deadline_ms.cast_unsigned() ^ (1 << 63)
}

/// Members of a table whose extra word is a score, as the bits of a double.
#[derive(Debug)]
pub enum ByScore {}

// SAFETY: only reads the member.
unsafe impl Ranked for ByScore {
    #[inline]
    unsafe fn order_key(member: NonNull<u8>) -> u64 {
        // SAFETY: the caller's promise.
        let member = unsafe { MemberPtr::from_address(member).member() };
        score_order_key(f64::from_bits(member.extra().unwrap_or(0)))
    }

    #[inline]
    unsafe fn name<'a>(member: NonNull<u8>) -> &'a [u8] {
        // SAFETY: the caller's promise.
        unsafe { MemberPtr::from_address(member).member() }.key()
    }
}

/// Members of a table whose extra word is a deadline, as a signed integer.
#[derive(Debug)]
pub enum ByDeadline {}

// SAFETY: only reads the member.
unsafe impl Ranked for ByDeadline {
    #[inline]
    unsafe fn order_key(member: NonNull<u8>) -> u64 {
        // SAFETY: the caller's promise.
        let member = unsafe { MemberPtr::from_address(member).member() };
        deadline_order_key(member.extra().unwrap_or(0).cast_signed())
    }

    #[inline]
    unsafe fn name<'a>(member: NonNull<u8>) -> &'a [u8] {
        // SAFETY: the caller's promise.
        unsafe { MemberPtr::from_address(member).member() }.key()
    }
}

/// What is looked for: a place in the order, and perhaps the very member.
#[derive(Clone, Copy)]
pub(super) struct Probe<'a> {
    pub(super) key: u64,
    pub(super) name: &'a [u8],
    /// The member's address, or 0 for none. A stored member with this address is equal to the probe without being looked at.
    pub(super) address: u64,
}

impl<'a> Probe<'a> {
    /// # Safety
    /// `member` is alive and unchanged for `'a`.
    pub(super) unsafe fn of<R: Ranked>(member: NonNull<u8>) -> Probe<'a> {
        // SAFETY: the caller's promise.
        let key = unsafe { R::order_key(member) };
        // SAFETY: the caller's promise.
        let name = unsafe { R::name(member) };
        Probe { key, name, address: address_of(member) }
    }

    /// Where the stored member at `address` stands to this probe.
    ///
    /// # Safety
    /// The member is alive, or its address is the probe's.
    #[inline]
    pub(super) unsafe fn compare_stored<R: Ranked>(&self, address: u64) -> Ordering {
        if address == self.address {
            return Ordering::Equal;
        }
        let member = member_at(address);
        // SAFETY: the caller's promise.
        let key = unsafe { R::order_key(member) };
        // SAFETY: the caller's promise; the borrow ends with this function.
        key.cmp(&self.key).then_with(|| unsafe { R::name(member) }.cmp(self.name))
    }
}

/// A member's address as stored: its upper 16 bits are clear. Panics on a machine that uses them for memory of programs.
#[inline]
pub(super) fn address_of(member: NonNull<u8>) -> u64 {
    let address = member.as_ptr().expose_provenance() as u64;
    assert!(address >> ADDRESS_BITS == 0, "an address beyond 48 bits");
    address
}

/// The member at a stored address.
#[inline]
pub(super) fn member_at(address: u64) -> NonNull<u8> {
    let pointer = std::ptr::with_exposed_provenance_mut((address & ADDRESS_MASK) as usize);
    NonNull::new(pointer).expect("an address that was made from a member")
}

pub(super) const ADDRESS_BITS: u32 = 48;
pub(super) const ADDRESS_MASK: u64 = (1 << ADDRESS_BITS) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_keys_are_in_the_order_of_what_they_are_made_of() {
        let scores = [
            f64::NEG_INFINITY,
            f64::MIN,
            -1.5,
            -1.0,
            -f64::MIN_POSITIVE,
            -5e-324,
            0.0,
            5e-324,
            0.1,
            1.0,
            9_007_199_254_740_992.0,
            f64::MAX,
            f64::INFINITY,
        ];
        assert!(scores.is_sorted_by_key(|&score| score_order_key(score)));
        assert_eq!(score_order_key(-0.0), score_order_key(0.0));
        assert!(scores.windows(2).all(|pair| score_order_key(pair[0]) != score_order_key(pair[1])));
        let deadlines = [i64::MIN, -1, 0, 1, i64::MAX];
        assert!(deadlines.windows(2).all(|pair| deadline_order_key(pair[0]) < deadline_order_key(pair[1])));
    }
}
