//! Arguments of a binding as one run of bytes: names and values in the order of names, each with its length in front.
//!
//! So two bindings have the same arguments when they have the same bytes. What must stay true: the bytes were made by
//! [`Arguments::new`].

use super::binding::{BINDING_ARGUMENTS_MAX, BindError};
use super::numbers::{put_bytes, take_bytes};

/// Names and values of a binding's arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Arguments(Box<[u8]>);

impl Arguments {
    /// Arguments in any order, each name once.
    pub(super) fn new(pairs: &[(&[u8], &[u8])]) -> Result<Arguments, BindError> {
        if pairs.len() > BINDING_ARGUMENTS_MAX {
            return Err(BindError::TooManyArguments);
        }
        let mut sorted = pairs.to_vec();
        sorted.sort_unstable();
        if sorted.windows(2).any(|two| matches!(two, [(a, _), (b, _)] if a == b)) {
            return Err(BindError::ArgumentTwice);
        }
        let mut bytes = Vec::new();
        for (name, value) in sorted {
            put_bytes(&mut bytes, name);
            put_bytes(&mut bytes, value);
        }
        Ok(Arguments(bytes.into()))
    }

    /// Names and values in the order of names.
    pub(super) fn pairs(&self) -> Pairs<'_> {
        Pairs(&self.0)
    }

    /// The value of a name.
    pub(super) fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.pairs().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// All of them as bytes: the same for the same arguments.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Names and values of a binding's arguments, in the order of names.
#[derive(Clone, Debug)]
pub struct Pairs<'a>(&'a [u8]);

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        Some((take_bytes(&mut self.0)?, take_bytes(&mut self.0)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_in_which_arguments_come_does_not_matter() {
        let one = Arguments::new(&[(b"b", b"2"), (b"a", b"1")]).unwrap();
        let other = Arguments::new(&[(b"a", b"1"), (b"b", b"2")]).unwrap();
        assert_eq!(one, other);
        assert_eq!(one.pairs().collect::<Vec<_>>(), [(&b"a"[..], &b"1"[..]), (b"b", b"2")]);
        assert_eq!((one.get(b"b"), one.get(b"c")), (Some(&b"2"[..]), None));
    }

    #[test]
    fn a_name_twice_and_too_many_names_are_refused() {
        assert_eq!(Arguments::new(&[(b"a", b"1"), (b"a", b"2")]), Err(BindError::ArgumentTwice));
        let many = [(&b"a"[..], &b""[..]); BINDING_ARGUMENTS_MAX + 1];
        assert_eq!(Arguments::new(&many), Err(BindError::TooManyArguments));
    }
}
