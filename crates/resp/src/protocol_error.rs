//! The ways in which a request can break the protocol, and the words in which the client is told.
//!
//! Each of them ends the connection: after a broken frame nobody knows where the next one starts. The texts are Redis's
//! to the letter, since client libraries and test suites match on them.

use std::fmt::{self, Display, Write};

/// Why the bytes of a connection can't be cut into commands any further.
///
/// `Display` is the text after `-ERR Protocol error: `. [`ProtocolError::append_reply`] writes the whole reply and is
/// exact even where the offending byte isn't text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProtocolError {
    /// An inline command without a line end within [`crate::Limits::inline_max`] bytes.
    InlineTooBig,
    /// An inline command with a quote left open, or with text glued to a closing quote.
    UnbalancedQuotes,
    /// A `*` line without an end within [`crate::Limits::inline_max`] bytes.
    MultibulkCountTooBig,
    /// A `*` line that isn't a canonical decimal number, or is above [`crate::Limits::multibulk_max`].
    MultibulkLenInvalid,
    /// More arguments than a client may send before it has logged in.
    MultibulkLenUnauthenticated,
    /// A `$` line without an end within [`crate::Limits::inline_max`] bytes.
    BulkCountTooBig,
    /// A line that should have announced an argument starts with something else.
    DollarExpected {
        /// The byte in the place of `$`.
        got: u8,
    },
    /// A `$` line that isn't a canonical decimal number, is negative, or is above [`crate::Limits::proto_max_bulk_len`].
    BulkLenInvalid,
    /// A longer argument than a client may send before it has logged in.
    BulkLenUnauthenticated,
    /// One command of more than [`crate::BATCH_BYTES_MAX`] bytes. Redis has no such text: there, the query buffer
    /// limit ends the connection first, as it should here.
    RequestTooBig,
}

impl ProtocolError {
    /// Appends the complete error reply, `-ERR Protocol error: ...\r\n`, to `out`.
    pub fn append_reply(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"-ERR Protocol error: ");
        match self {
            // The only text that may hold a byte that isn't UTF-8; `Display` couldn't pass it on.
            Self::DollarExpected { got } => {
                out.extend_from_slice(b"expected '$', got '");
                out.push(on_one_line(*got));
                out.push(b'\'');
            }
            other => out.extend_from_slice(other.fixed_text().as_bytes()),
        }
        out.extend_from_slice(b"\r\n");
    }

    fn fixed_text(&self) -> &'static str {
        match self {
            Self::InlineTooBig => "too big inline request",
            Self::UnbalancedQuotes => "unbalanced quotes in request",
            Self::MultibulkCountTooBig => "too big mbulk count string",
            Self::MultibulkLenInvalid => "invalid multibulk length",
            Self::MultibulkLenUnauthenticated => "unauthenticated multibulk length",
            Self::BulkCountTooBig => "too big bulk count string",
            Self::DollarExpected { .. } => "expected '$'",
            Self::BulkLenInvalid => "invalid bulk length",
            Self::BulkLenUnauthenticated => "unauthenticated bulk length",
            Self::RequestTooBig => "too big request",
        }
    }
}

impl Display for ProtocolError {
    /// The text of the reply. A byte above 127 in the place of `$` shows as U+FFFD.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.fixed_text())?;
        if let Self::DollarExpected { got } = self {
            f.write_str(", got '")?;
            f.write_char(if got.is_ascii() { char::from(on_one_line(*got)) } else { char::REPLACEMENT_CHARACTER })?;
            f.write_char('\'')?;
        }
        Ok(())
    }
}

impl std::error::Error for ProtocolError {}

/// An error reply is one line: Redis shows a line end inside it as a space.
fn on_one_line(byte: u8) -> u8 {
    if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(error: ProtocolError) -> Vec<u8> {
        let mut out = Vec::new();
        error.append_reply(&mut out);
        out
    }

    #[test]
    fn the_reply_is_the_prefix_and_the_display_text() {
        use ProtocolError::*;
        for error in [
            InlineTooBig,
            UnbalancedQuotes,
            MultibulkCountTooBig,
            MultibulkLenInvalid,
            MultibulkLenUnauthenticated,
            BulkCountTooBig,
            DollarExpected { got: b'x' },
            DollarExpected { got: b'\r' },
            DollarExpected { got: 1 },
            BulkLenInvalid,
            BulkLenUnauthenticated,
            RequestTooBig,
        ] {
            assert_eq!(reply(error), format!("-ERR Protocol error: {error}\r\n").into_bytes());
        }
    }

    #[test]
    fn the_byte_in_place_of_the_dollar_goes_out_raw_but_never_as_a_line_end() {
        assert_eq!(
            reply(ProtocolError::DollarExpected { got: 0xff }),
            b"-ERR Protocol error: expected '$', got '\xff'\r\n"
        );
        assert_eq!(
            reply(ProtocolError::DollarExpected { got: b'\n' }),
            b"-ERR Protocol error: expected '$', got ' '\r\n"
        );
        assert_eq!(ProtocolError::DollarExpected { got: 0xff }.to_string(), "expected '$', got '\u{fffd}'");
    }
}
