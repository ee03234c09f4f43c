//! Replies as bytes: one function for each type of RESP2 and RESP3, appending to a `Vec<u8>`.
//!
//! There is no reply tree and no knowledge of which protocol a connection speaks: a caller that writes a
//! [`map_header`] to a RESP2 client has a bug, and it is the layer above that turns a map into an array for those.
//! Aggregates are a header followed by their elements, each appended by itself.
//!
//! What must stay true: no text can end its line early. Where a client's or a script's words may come in
//! (simple strings, errors, big numbers), CR and LF become spaces, as in Redis.
//!
//! | RESP2 | RESP3 adds |
//! |---|---|
//! | `+` [`simple_string`] `-` [`error`] `:` [`integer`] | `,` [`double`] `#` [`boolean`] `(` [`big_number`] |
//! | `$` [`bulk`] `$-1` [`null_bulk`] | `=` [`verbatim`] `_` [`null`] |
//! | `*` [`array_header`] `*-1` [`null_array`] | `%` [`map_header`] `~` [`set_header`] `>` [`push_header`] `\|` [`attribute_header`] |

use crate::batch::Argv;
use crate::number_text::{DOUBLE_TEXT_MAX, I64_TEXT_MAX, decimal_len, format_double, format_i64, write_digits};

/// `+OK\r\n`, the reply of most writes.
pub const OK: &[u8] = b"+OK\r\n";
const LINE_END: &[u8] = b"\r\n";

/// `+text`
#[inline]
pub fn simple_string(out: &mut Vec<u8>, text: &[u8]) {
    line(out, b'+', text);
}

/// `-text`. `text` starts with the error's code: `ERR no such key`.
#[inline]
pub fn error(out: &mut Vec<u8>, text: &[u8]) {
    line(out, b'-', text);
}

/// `(digits`, RESP3: an integer of any length, given in decimal.
#[inline]
pub fn big_number(out: &mut Vec<u8>, digits: &[u8]) {
    line(out, b'(', digits);
}

/// Marker, text with line ends as spaces, line end.
fn line(out: &mut Vec<u8>, marker: u8, text: &[u8]) {
    out.reserve(text.len() + 3);
    out.push(marker);
    let start = out.len();
    out.extend_from_slice(text);
    if memchr::memchr2(b'\r', b'\n', text).is_some() {
        let written = out.get_mut(start..).unwrap_or_default();
        written.iter_mut().filter(|byte| matches!(**byte, b'\r' | b'\n')).for_each(|byte| *byte = b' ');
    }
    out.extend_from_slice(LINE_END);
}

/// `:value`
#[inline]
pub fn integer(out: &mut Vec<u8>, value: i64) {
    match u64::try_from(value) {
        Ok(magnitude) => number_line(out, b':', magnitude),
        Err(_) => long_number_line(out, b':', true, value.unsigned_abs()),
    }
}

/// `$length`, the bytes, a line end. Binary safe.
#[inline]
pub fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(bytes.len() + 16);
    number_line(out, b'$', bytes.len() as u64);
    out.extend_from_slice(bytes);
    out.extend_from_slice(LINE_END);
}

/// The line before the `len` bytes of a bulk that goes out by reference, not through `out`. They, and [`bulk_end`],
/// have to follow.
#[inline]
pub fn bulk_header(out: &mut Vec<u8>, len: usize) {
    number_line(out, b'$', len as u64);
}

/// The line end behind a bulk whose bytes went out by reference.
#[inline]
pub fn bulk_end(out: &mut Vec<u8>) {
    out.extend_from_slice(LINE_END);
}

/// How many bytes [`bulk`] appends for a value of `len` bytes.
#[inline]
pub fn bulk_len(len: usize) -> usize {
    1 + decimal_len(len as u64) + 2 + len + 2
}

/// An integer as a bulk: `$2 42`.
#[inline]
pub fn bulk_integer(out: &mut Vec<u8>, value: i64) {
    bulk(out, format_i64(value, &mut [0; I64_TEXT_MAX]));
}

/// A double as a bulk, which is what RESP2 has for it: `$3 1.5`. The text is [`format_double`]'s.
pub fn bulk_double(out: &mut Vec<u8>, value: f64) {
    bulk(out, format_double(value, &mut [0; DOUBLE_TEXT_MAX]));
}

/// `$-1`, RESP2's null in the place of a string.
#[inline]
pub fn null_bulk(out: &mut Vec<u8>) {
    out.extend_from_slice(b"$-1\r\n");
}

/// `*-1`, RESP2's null in the place of an array.
#[inline]
pub fn null_array(out: &mut Vec<u8>) {
    out.extend_from_slice(b"*-1\r\n");
}

/// `_`, RESP3's only null.
#[inline]
pub fn null(out: &mut Vec<u8>) {
    out.extend_from_slice(b"_\r\n");
}

/// `*count`; `count` elements have to follow.
#[inline]
pub fn array_header(out: &mut Vec<u8>, count: usize) {
    number_line(out, b'*', count as u64);
}

/// `%pairs`, RESP3; a key and a value have to follow for each of `pairs`.
#[inline]
pub fn map_header(out: &mut Vec<u8>, pairs: usize) {
    number_line(out, b'%', pairs as u64);
}

/// `~count`, RESP3; `count` elements have to follow.
#[inline]
pub fn set_header(out: &mut Vec<u8>, count: usize) {
    number_line(out, b'~', count as u64);
}

/// `>count`, RESP3: a message that answers no command. `count` elements have to follow, the first names the kind.
#[inline]
pub fn push_header(out: &mut Vec<u8>, count: usize) {
    number_line(out, b'>', count as u64);
}

/// `|pairs`, RESP3: remarks on the reply behind it. A key and a value have to follow for each of `pairs`.
#[inline]
pub fn attribute_header(out: &mut Vec<u8>, pairs: usize) {
    number_line(out, b'|', pairs as u64);
}

/// What a header of unknown count will count. See [`insert_header`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    /// As [`array_header`].
    Array,
    /// As [`map_header`].
    Map,
    /// As [`set_header`].
    Set,
    /// As [`push_header`].
    Push,
}

/// Puts a header in front of elements that have been appended since `out` was `start` bytes long, for when their
/// count is known only afterwards. Moves those bytes by the header's few; `start` beyond the end counts as the end.
pub fn insert_header(out: &mut Vec<u8>, start: usize, kind: Aggregate, count: usize) {
    let marker = match kind {
        Aggregate::Array => b'*',
        Aggregate::Map => b'%',
        Aggregate::Set => b'~',
        Aggregate::Push => b'>',
    };
    let elements_end = out.len();
    number_line(out, marker, count as u64);
    let header_len = out.len() - elements_end;
    out.get_mut(start.min(elements_end)..).unwrap_or_default().rotate_right(header_len);
}

/// `,value`, RESP3. `inf`, `-inf` and `nan` for what has no digits.
pub fn double(out: &mut Vec<u8>, value: f64) {
    out.push(b',');
    out.extend_from_slice(format_double(value, &mut [0; DOUBLE_TEXT_MAX]));
    out.extend_from_slice(LINE_END);
}

/// `#t` or `#f`, RESP3.
#[inline]
pub fn boolean(out: &mut Vec<u8>, value: bool) {
    out.extend_from_slice(if value { b"#t\r\n" } else { b"#f\r\n" });
}

/// `=length`, the format, a colon, the text: RESP3's string to be shown as it is. `format` is `txt` or `mkd`.
pub fn verbatim(out: &mut Vec<u8>, format: [u8; 3], text: &[u8]) {
    out.reserve(text.len() + 20);
    number_line(out, b'=', text.len() as u64 + 4);
    out.extend_from_slice(&format);
    out.push(b':');
    out.extend_from_slice(text);
    out.extend_from_slice(LINE_END);
}

/// A whole command as a client sends it, an array of bulks: for the append-only file and for replicas.
pub fn command(out: &mut Vec<u8>, argv: Argv<'_>) {
    array_header(out, argv.len());
    argv.iter().for_each(|arg| bulk(out, arg));
}

/// Marker, number, line end: appended in one piece, which is what makes small replies quick.
#[inline]
fn number_line(out: &mut Vec<u8>, marker: u8, number: u64) {
    if number < 10 {
        out.extend_from_slice(&[marker, b'0' + number as u8, b'\r', b'\n']);
    } else if number < 100 {
        let (tens, ones) = (b'0' + (number / 10) as u8, b'0' + (number % 10) as u8);
        out.extend_from_slice(&[marker, tens, ones, b'\r', b'\n']);
    } else {
        long_number_line(out, marker, false, number);
    }
}

fn long_number_line(out: &mut Vec<u8>, marker: u8, negative: bool, magnitude: u64) {
    const DIGITS_END: usize = I64_TEXT_MAX + 2;
    let mut text = [0; DIGITS_END + LINE_END.len()];
    text[DIGITS_END..].copy_from_slice(LINE_END);
    let mut start = write_digits(magnitude, &mut text[..DIGITS_END]) - 1;
    if negative {
        text[start] = b'-';
        start -= 1;
    }
    text[start] = marker;
    out.extend_from_slice(&text[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(write: impl FnOnce(&mut Vec<u8>), expected: &str) {
        let mut out = b"before".to_vec();
        write(&mut out);
        assert_eq!(out.strip_prefix(b"before"), Some(expected.as_bytes()), "{}", out.escape_ascii());
    }

    #[test]
    fn resp2_types() {
        check(|out| simple_string(out, b"PONG"), "+PONG\r\n");
        check(|out| error(out, b"ERR no such key"), "-ERR no such key\r\n");
        check(|out| integer(out, 0), ":0\r\n");
        check(|out| integer(out, 12345), ":12345\r\n");
        check(|out| integer(out, -7), ":-7\r\n");
        check(|out| integer(out, i64::MIN), ":-9223372036854775808\r\n");
        check(|out| integer(out, i64::MAX), ":9223372036854775807\r\n");
        check(|out| bulk(out, b""), "$0\r\n\r\n");
        check(|out| bulk(out, b"a\r\n"), "$3\r\na\r\n\r\n");
        check(|out| bulk_integer(out, -42), "$3\r\n-42\r\n");
        check(|out| bulk_double(out, 3.125), "$5\r\n3.125\r\n");
        check(null_bulk, "$-1\r\n");
        check(null_array, "*-1\r\n");
        check(|out| array_header(out, 0), "*0\r\n");
    }

    #[test]
    fn resp3_types() {
        check(|out| double(out, 3.125), ",3.125\r\n");
        check(|out| double(out, f64::NEG_INFINITY), ",-inf\r\n");
        check(|out| double(out, f64::NAN), ",nan\r\n");
        check(|out| boolean(out, true), "#t\r\n");
        check(|out| boolean(out, false), "#f\r\n");
        check(null, "_\r\n");
        check(
            |out| big_number(out, b"1234567999999999999999999999999999999"),
            "(1234567999999999999999999999999999999\r\n",
        );
        check(|out| verbatim(out, *b"txt", b"This is\nit"), "=14\r\ntxt:This is\nit\r\n");
        check(|out| map_header(out, 3), "%3\r\n");
        check(|out| set_header(out, 10), "~10\r\n");
        check(|out| push_header(out, 99), ">99\r\n");
        check(|out| attribute_header(out, 100), "|100\r\n");
    }

    #[test]
    fn no_text_ends_its_line_early() {
        check(|out| simple_string(out, b"a\r\nb"), "+a  b\r\n");
        check(|out| error(out, b"ERR \n+OK\r"), "-ERR  +OK \r\n");
        check(|out| big_number(out, b"12\r\n3"), "(12  3\r\n");
    }

    #[test]
    fn every_length_has_its_header() {
        for len in [0, 1, 9, 10, 11, 99, 100, 101, 999, 1000, 65_536] {
            let bytes = vec![b'x'; len];
            check(|out| bulk(out, &bytes), &format!("${len}\r\n{}\r\n", "x".repeat(len)));
            let mut by_reference = Vec::new();
            bulk_header(&mut by_reference, len);
            by_reference.extend_from_slice(&bytes);
            bulk_end(&mut by_reference);
            assert_eq!(by_reference.len(), bulk_len(len));
        }
        check(|out| array_header(out, usize::MAX), &format!("*{}\r\n", usize::MAX));
    }

    #[test]
    fn a_header_can_be_put_in_front_once_the_count_is_known() {
        let elements = |out: &mut Vec<u8>, kind, count: usize| {
            let start = out.len();
            (0..count).for_each(|_| integer(out, 1));
            insert_header(out, start, kind, count);
        };
        check(|out| elements(out, Aggregate::Array, 0), "*0\r\n");
        check(|out| elements(out, Aggregate::Set, 2), "~2\r\n:1\r\n:1\r\n");
        check(|out| elements(out, Aggregate::Map, 12), &format!("%12\r\n{}", ":1\r\n".repeat(12)));
        check(|out| insert_header(out, usize::MAX, Aggregate::Push, 5), ">5\r\n");
    }

    #[test]
    fn a_written_command_parses_back() {
        let mut batch = crate::Batch::new();
        batch.push_command([&b"SET"[..], b"k", b"\r\n\0"]).unwrap();
        check(|out| command(out, batch.command(0)), "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3\r\n\r\n\0\r\n");
    }
}
