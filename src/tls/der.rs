//! Reading of DER, as far as certificates and encrypted keys need it.
//!
//! A reader walks over the elements of one level; the content of an element is read by a reader of its own. Nothing is
//! allocated, and whatever is cut off, too long or of another kind is `None`.

/// Tags of the elements that are looked at.
pub(super) mod tag {
    pub(in super::super) const INTEGER: u8 = 0x02;
    pub(in super::super) const OCTET_STRING: u8 = 0x04;
    pub(in super::super) const OID: u8 = 0x06;
    pub(in super::super) const UTF8: u8 = 0x0c;
    pub(in super::super) const PRINTABLE: u8 = 0x13;
    pub(in super::super) const T61: u8 = 0x14;
    pub(in super::super) const IA5: u8 = 0x16;
    pub(in super::super) const UTC_TIME: u8 = 0x17;
    pub(in super::super) const GENERALIZED_TIME: u8 = 0x18;
    pub(in super::super) const SEQUENCE: u8 = 0x30;
    /// `[0]` with elements inside.
    pub(in super::super) const CONTEXT_0: u8 = 0xa0;
    /// `[3]` with elements inside.
    pub(in super::super) const CONTEXT_3: u8 = 0xa3;
    /// `[6]` with bytes inside: a URI among names.
    pub(in super::super) const URI: u8 = 0x86;
}

/// One element.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    /// With its tag and length.
    pub(super) whole: &'a [u8],
}

/// What is left of one level.
#[derive(Clone, Copy, Debug)]
pub(super) struct Der<'a> {
    rest: &'a [u8],
}

impl<'a> Der<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Der<'a> {
        Der { rest: bytes }
    }

    /// The next element, whatever it is.
    pub(super) fn any(&mut self) -> Option<Element<'a>> {
        let (&tag, rest) = self.rest.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let len = if first < 0x80 {
            usize::from(first)
        } else {
            let count = usize::from(first & 0x7f);
            // Longer ones could not be in memory, and no count at all is BER.
            let bytes = rest.get(..count).filter(|_| (1..=4).contains(&count))?;
            rest = &rest[count..];
            bytes.iter().fold(0, |len, &byte| len << 8 | usize::from(byte))
        };
        let content = rest.get(..len)?;
        let behind = &rest[len..];
        let whole = &self.rest[..self.rest.len() - behind.len()];
        self.rest = behind;
        Some(Element { tag, content, whole })
    }

    /// The next element, which must be of a kind.
    pub(super) fn expect(&mut self, tag: u8) -> Option<Element<'a>> {
        self.any().filter(|element| element.tag == tag)
    }

    /// The next element if it is of a kind; any other stays.
    pub(super) fn optional(&mut self, tag: u8) -> Option<Element<'a>> {
        if self.rest.first() == Some(&tag) { self.any() } else { None }
    }

    /// What is inside the next element, which must be of a kind.
    pub(super) fn enter(&mut self, tag: u8) -> Option<Der<'a>> {
        self.expect(tag).map(|element| Der::new(element.content))
    }
}

impl<'a> Iterator for Der<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        self.any()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_come_one_after_the_other_and_into_each_other() {
        let bytes = [0x30, 0x06, 0x02, 0x01, 0x05, 0x04, 0x01, b'x', 0x02, 0x81, 0x01, 0x07];
        let mut der = Der::new(&bytes);
        let mut inner = der.enter(tag::SEQUENCE).unwrap();
        assert_eq!(inner.expect(tag::INTEGER).unwrap().content, [5]);
        assert!(inner.optional(tag::OID).is_none());
        assert_eq!(inner.expect(tag::OCTET_STRING).unwrap().whole, [0x04, 1, b'x']);
        assert!(inner.any().is_none());
        assert_eq!(der.any().unwrap().content, [7]);
    }

    #[test]
    fn no_cut_and_no_length_makes_it_panic() {
        let bytes = [0x30, 0x82, 0x00, 0x04, 0x02, 0x02, 0x01, 0x02];
        for cut in 0..bytes.len() {
            assert!(Der::new(&bytes[..cut]).any().is_none(), "{cut}");
        }
        for length in 0..=255 {
            for count in 0..8 {
                let mut claimed = vec![0x30, length];
                claimed.resize(2 + count, 0xff);
                let _ = Der::new(&claimed).map(|element| Der::new(element.content).count()).sum::<usize>();
            }
        }
    }
}
