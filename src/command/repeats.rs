//! The limit of replies that show members at random which may repeat: SRANDMEMBER, ZRANDMEMBER and HRANDFIELD with a negative
//! count. A few bytes of request choose how long such a reply gets, whatever the collection holds; so it is the bytes that
//! are limited, and before the first of them is written.

use super::Error;

/// Bytes that such a reply may take, as far as they can be estimated.
const REPLY_BYTES_MAX: u64 = 512 << 20;
/// Bytes that a member takes in a reply beside its own: header, line ends, some digits.
const MEMBER_OVERHEAD_BYTES: u64 = 16;

/// Checks that `count` members may be shown of a collection that has `members` of them in `memory_bytes`: their mean decides.
/// As many as there are may always be shown. Of an empty collection nothing is shown.
///
/// # Errors
/// The reply would be too long.
pub(super) fn check(count: u64, members: u64, memory_bytes: usize) -> Result<(), Error> {
    if count <= members || members == 0 {
        return Ok(());
    }
    let each = (memory_bytes as u64 / members).saturating_add(MEMBER_OVERHEAD_BYTES);
    if count.saturating_mul(each) > REPLY_BYTES_MAX { Err(Error::OUT_OF_RANGE) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn bytes_decide_not_the_number() {
        assert!(check(1 << 24, 10, 160).is_ok());
        assert!(check((1 << 24) + 1, 10, 160).is_err());
        assert!(check(2, 1, 300 << 20).is_err());
        assert!(check(u64::MAX, 1, usize::MAX).is_err());
    }

    #[test]
    fn as_many_as_there_are_may_be_shown() {
        assert!(check(1, 1, usize::MAX).is_ok());
        assert!(check(u64::MAX, 0, 0).is_ok());
    }
}
