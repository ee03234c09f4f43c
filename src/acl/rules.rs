//! Rules as people write them: what can be wrong with one, and how selectors that were cut at spaces are put together.

use std::fmt;

/// Why a rule is refused. Shown, it is the text that clients see.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RuleError {
    /// No such command or category.
    UnknownName,
    /// No rule has this form.
    Syntax,
    /// A pattern for keys where all keys are allowed already.
    AfterAllKeys,
    /// A pattern for channels where all channels are allowed already.
    AfterAllChannels,
    /// A password to remove that is not there.
    NoSuchPassword,
    /// A digest that is none.
    BadDigest,
    /// A first argument of a subcommand.
    FirstArgOfSubcommand,
    /// A database that no server has.
    DatabaseOutOfRange,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RuleError::UnknownName => "Unknown command or category name in ACL",
            RuleError::Syntax => "Syntax error",
            RuleError::AfterAllKeys => {
                "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. \
                 Try 'resetkeys' to start with an empty list of patterns"
            }
            RuleError::AfterAllChannels => {
                "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any \
                 effect. Try 'resetchannels' to start with an empty list of channels"
            }
            RuleError::NoSuchPassword => "The password you are trying to remove from the user does not exist",
            RuleError::BadDigest => {
                "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
            }
            RuleError::FirstArgOfSubcommand => "Allowing first-arg of a subcommand is not supported",
            RuleError::DatabaseOutOfRange => "The provided database ID is out of range",
        })
    }
}

impl std::error::Error for RuleError {}

/// A name that no user may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NameError;

/// Whether a user may be called so.
///
/// # Errors
/// If the name has a space or a NUL in it, which the lines of a file could not hold.
pub fn check_name(name: &[u8]) -> Result<(), NameError> {
    if has_spaces(name) { Err(NameError) } else { Ok(()) }
}

/// Whether text has a space, as C's `isspace` has it, or a NUL in it.
pub(super) fn has_spaces(text: &[u8]) -> bool {
    text.iter().any(|byte| is_space(*byte) || *byte == 0)
}

/// C's `isspace`.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// A selector that is not closed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnmatchedParenthesis {
    /// The argument that opens it.
    pub start: Vec<u8>,
}

/// Puts selectors together that come in several arguments: from one that begins with `(` up to one that ends with `)`.
///
/// # Errors
/// If the last one is not closed.
pub fn merge_selectors<'a>(
    arguments: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<Vec<u8>>, UnmatchedParenthesis> {
    let mut merged: Vec<Vec<u8>> = Vec::new();
    let mut open: Option<(&[u8], Vec<u8>)> = None;
    for argument in arguments {
        let closes = argument.ends_with(b")");
        match &mut open {
            Some((_, selector)) => {
                selector.push(b' ');
                selector.extend_from_slice(argument);
                if closes && let Some((_, selector)) = open.take() {
                    merged.push(selector);
                }
            }
            None if argument.starts_with(b"(") && !closes => open = Some((argument, argument.to_vec())),
            None => merged.push(argument.to_vec()),
        }
    }
    match open {
        Some((start, _)) => Err(UnmatchedParenthesis { start: start.to_vec() }),
        None => Ok(merged),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(line: &str) -> Result<Vec<String>, String> {
        let words = line.split(' ').map(str::as_bytes);
        match merge_selectors(words) {
            Ok(merged) => Ok(merged.iter().map(|rule| String::from_utf8_lossy(rule).into_owned()).collect()),
            Err(UnmatchedParenthesis { start }) => Err(String::from_utf8_lossy(&start).into_owned()),
        }
    }

    #[test]
    fn selectors_are_put_together_from_their_pieces() {
        for (line, wanted) in [
            ("on +get", Ok(vec!["on", "+get"])),
            ("on (+get ~a) off", Ok(vec!["on", "(+get ~a)", "off"])),
            ("( +get ~a )", Ok(vec!["( +get ~a )"])),
            ("(+get) (+set ~b)", Ok(vec!["(+get)", "(+set ~b)"])),
            ("(+get (~a)", Ok(vec!["(+get (~a)"])),
            ("+get)", Ok(vec!["+get)"])),
            ("()", Ok(vec!["()"])),
            ("on (+get ~a", Err("(+get")),
            ("(", Err("(")),
        ] {
            let wanted = wanted.map(|rules| rules.into_iter().map(str::to_owned).collect()).map_err(str::to_owned);
            assert_eq!(merged(line), wanted, "{line}");
        }
    }

    #[test]
    fn names_with_spaces_are_refused() {
        assert!(check_name(b"joe").is_ok() && check_name(b"").is_ok() && check_name(b"\xff").is_ok());
        for name in [&b"a b"[..], b"a\tb", b"a\0", b"\x0b", b"\n"] {
            assert!(check_name(name).is_err());
        }
    }
}
