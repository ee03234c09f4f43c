//! Numbers and lengths in front of bytes, as the codec and lists of arguments have them: seven bits a byte, lowest first.

/// Appends a number.
pub(super) fn put_number(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

/// Appends bytes with their length in front.
pub(super) fn put_bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    put_number(to, bytes.len() as u64);
    to.extend_from_slice(bytes);
}

/// Takes a number off the front. `None` if it is cut off or beyond 64 bits.
pub(super) fn take_number(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for place in 0..10 {
        let (&byte, rest) = from.split_first()?;
        *from = rest;
        let bits = u64::from(byte & 0x7F);
        if place == 9 && bits > 1 {
            return None;
        }
        number |= bits << (7 * place);
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// Takes bytes with their length off the front. `None` if they are cut off.
pub(super) fn take_bytes<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(take_number(from)?).ok()?;
    let (bytes, rest) = from.split_at_checked(len)?;
    *from = rest;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_taken() {
        let numbers = [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX - 1, u64::MAX];
        let mut bytes = Vec::new();
        for number in numbers {
            put_number(&mut bytes, number);
            put_bytes(&mut bytes, &vec![7; (number % 1000) as usize]);
        }
        let mut from = &bytes[..];
        for number in numbers {
            assert_eq!(take_number(&mut from), Some(number));
            assert_eq!(take_bytes(&mut from).map(<[u8]>::len), Some((number % 1000) as usize));
        }
        assert!(from.is_empty());
    }

    #[test]
    fn numbers_beyond_64_bits_and_what_is_cut_off_are_refused() {
        for bytes in [&[][..], &[0x80], &[0xFF; 10], &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02]] {
            assert_eq!(take_number(&mut &bytes[..]), None);
        }
        assert_eq!(take_bytes(&mut &[3, 1, 2][..]), None);
        assert_eq!(take_bytes(&mut &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01, 1][..]), None);
    }
}
