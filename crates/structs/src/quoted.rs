//! Bytes as text in double quotes, as MONITOR, `redis-cli` and the manifest of an append-only file have them.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_printed_is_escaped() {
        let mut text = b"> ".to_vec();
        put_quoted(&mut text, b"a \"b\"\\\n\r\t\x07\x08\0\xff~");
        assert_eq!(text, br#"> "a \"b\"\\\n\r\t\a\b\x00\xff~""#);
    }
}
