//! Bytes as text in quotes, as MONITOR, `redis-cli`, configuration files and the manifest of an append-only file have them.

use std::io::Write;

/// Appends bytes in double quotes; what is not printable is escaped.
pub fn put_quoted(text: &mut Vec<u8>, bytes: &[u8]) {
    text.push(b'"');
    for &byte in bytes {
        match byte {
            b'\\' | b'"' => text.extend_from_slice(&[b'\\', byte]),
            b'\n' => text.extend_from_slice(b"\\n"),
            b'\r' => text.extend_from_slice(b"\\r"),
            b'\t' => text.extend_from_slice(b"\\t"),
            7 => text.extend_from_slice(b"\\a"),
            8 => text.extend_from_slice(b"\\b"),
            b' '..=b'~' => text.push(byte),
            _ => {
                // Writing to a vector cannot fail.
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
    }
    text.push(b'"');
}

/// Reads what stands between quotes, from behind the first one on, and appends it to `word`. In double quotes (`quote` is
/// `"`) a backslash begins an escape, in single ones (`'`) it does so before a `'` only. Gives what follows on the last
/// quote; `None` if there is none.
pub fn take_quoted<'a>(mut text: &'a [u8], quote: u8, word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let (byte, after) = match text {
            [] => return None,
            [byte, after @ ..] if *byte == quote => return Some(after),
            [b'\\', b'\'', after @ ..] if quote == b'\'' => (b'\'', after),
            [b'\\', escape @ ..] if quote == b'"' => escaped(escape)?,
            [byte, after @ ..] => (*byte, after),
        };
        word.push(byte);
        text = after;
    }
}

/// What stands behind a backslash: the byte that it means, and what follows.
fn escaped(text: &[u8]) -> Option<(u8, &[u8])> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    if let [b'x', high, low, after @ ..] = text
        && let (Some(high), Some(low)) = (digit(high), digit(low))
    {
        return Some(((high << 4 | low) as u8, after));
    }
    let (byte, after) = text.split_first()?;
    let byte = match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        other => *other,
    };
    Some((byte, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_quotes_is_read_back() {
        let bytes: Vec<u8> = (0..=255).collect();
        let mut text = Vec::new();
        put_quoted(&mut text, &bytes);
        text.extend_from_slice(b" more");
        let mut word = Vec::new();
        assert_eq!(take_quoted(&text[1..], b'"', &mut word), Some(&b" more"[..]));
        assert_eq!(word, bytes);
    }

    #[test]
    fn escapes_are_those_of_the_quote() {
        let read = |text: &[u8], quote| {
            let mut word = Vec::new();
            take_quoted(text, quote, &mut word).map(|rest| (word, rest.to_vec()))
        };
        let both = |word: &[u8], rest: &[u8]| Some((word.to_vec(), rest.to_vec()));
        assert_eq!(read(br#"a\x41\x4\xzz\q\"\'"b"#, b'"'), both(b"aAx4xzzq\"'", b"b"));
        assert_eq!(read(br"a\x41\n'b", b'\''), both(br"a\x41\n", b"b"));
        assert_eq!(read(br"it\'s'", b'\''), both(b"it's", b""));
        for open in [&b""[..], b"a", br"a\", br#"\""#, br"\x4"] {
            assert_eq!(read(open, b'"'), None, "{}", open.escape_ascii());
        }
        assert_eq!(read(br"\'", b'\''), None);
    }

    #[test]
    fn what_cannot_be_printed_is_escaped() {
        let mut text = b"> ".to_vec();
        put_quoted(&mut text, b"a \"b\"\\\n\r\t\x07\x08\0\xff~");
        assert_eq!(text, br#"> "a \"b\"\\\n\r\t\a\b\x00\xff~""#);
    }
}
