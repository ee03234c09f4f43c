//! Numbers and strings of bytes one behind the other: how rules and releases are kept in the value of a hidden path.

/// Takes fields out, of any bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'f>(pub(super) &'f [u8]);

impl<'f> Fields<'f> {
    /// The next one, a number.
    pub(super) fn number(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..u64::BITS).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            number |= bits.checked_shl(shift).filter(|shifted| shifted >> shift == bits)?;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    /// The next one, a string of bytes.
    pub(super) fn bytes(&mut self) -> Option<&'f [u8]> {
        let len = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    /// Whether there are no more.
    pub(super) fn is_over(&self) -> bool {
        self.0.is_empty()
    }
}

/// Adds a number: 7 bits in a byte, the lowest first, as few bytes as will do.
pub(super) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Adds a string of bytes.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_they_were_put_and_nothing_else_is() {
        let numbers = [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX - 1, u64::MAX];
        let mut out = Vec::new();
        for number in numbers {
            put_number(&mut out, number);
            put_bytes(&mut out, &number.to_le_bytes());
        }
        let mut fields = Fields(&out);
        for number in numbers {
            assert_eq!(fields.number(), Some(number));
            assert_eq!(fields.bytes(), Some(number.to_le_bytes().as_slice()));
        }
        assert!(fields.is_over() && fields.number().is_none() && fields.bytes().is_none());
        assert_eq!(Fields(&[0xff; 9]).number(), None);
        assert_eq!(Fields(&[0xff; 20]).number(), None);
        assert_eq!(Fields(b"\x05abcd").bytes(), None);
        assert_eq!(Fields(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0]).bytes(), None);
    }
}
