//! The lexical layer: how a line is cut into arguments and quoted again, and how numbers and sizes are written.
//!
//! The rules equal Redis's, because existing files and clients depend on them: a quote may open in the middle of a
//! word, must be followed by white space when it closes, and only double quotes know escapes. Sizes take decimal (`k`,
//! `m`, `g`) and binary (`kb`, `mb`, `gb`) units. Unlike there, a size that does not fit in 64 bits is refused, never
//! wrapped.

use weir_structs::quoted::{put_quoted, take_quoted};

/// Cuts a line into arguments, honouring quotes and escapes.
///
/// Returns `None` when a quote is not closed, or is closed with something other than white space behind it. An empty or
/// blank line gives no arguments. Allocates at most the length of the line.
pub fn split_arguments(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut arguments = Vec::new();
    let mut rest = line;
    loop {
        let start = rest.iter().position(|byte| !is_space(*byte)).unwrap_or(rest.len());
        rest = rest.get(start..)?;
        if rest.is_empty() {
            return Some(arguments);
        }
        let (argument, after) = one_argument(rest)?;
        arguments.push(argument);
        rest = after;
    }
}

/// White space that may stand before an argument, as C's `isspace` has it.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// White space that ends an unquoted argument: narrower than [`is_space`], as it is in Redis.
fn ends_word(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0)
}

/// Takes one argument off the front of `text`; gives it and what follows.
fn one_argument(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut argument = Vec::new();
    let mut rest = text;
    loop {
        match rest.split_first() {
            None => return Some((argument, rest)),
            Some((byte, after)) if ends_word(*byte) => return Some((argument, after)),
            Some((quote @ (b'"' | b'\''), after)) => {
                rest = take_quoted(after, *quote, &mut argument)?;
                return closed(argument, rest);
            }
            Some((byte, after)) => {
                argument.push(*byte);
                rest = after;
            }
        }
    }
}

/// Behind a closing quote only white space or the end may stand.
fn closed(argument: Vec<u8>, rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    match rest.first() {
        Some(byte) if !is_space(*byte) => None,
        _ => Some((argument, rest)),
    }
}

/// Writes bytes as one double-quoted argument that [`split_arguments`] reads back unchanged.
pub fn quote(bytes: &[u8]) -> String {
    let mut text = Vec::with_capacity(bytes.len() + 2);
    put_quoted(&mut text, bytes);
    String::from_utf8_lossy(&text).into_owned()
}

/// Writes bytes as one argument, quoted only when they have to be.
pub(super) fn word(bytes: &[u8]) -> String {
    let plain = !bytes.is_empty() && bytes.iter().all(|byte| byte.is_ascii_graphic() && !b"\"'\\#".contains(byte));
    if plain { String::from_utf8_lossy(bytes).into_owned() } else { quote(bytes) }
}

/// A decimal integer in its only canonical form: no sign but `-`, no leading zero, no blank, within 64 bits.
pub(super) fn parse_integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let canonical = match digits.as_bytes() {
        [b'0'] => digits.len() == text.len(),
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if canonical { text.parse().ok() } else { None }
}

/// An octal number such as `0770`; `None` when a character is no octal digit or the number is beyond 32 bits.
pub(super) fn parse_octal(text: &str) -> Option<i64> {
    i32::from_str_radix(text, 8).ok().map(i64::from)
}

/// A size in bytes: digits and an optional unit `b k kb m mb g gb` in any case.
///
/// `k`, `m` and `g` are powers of 1000, with `b` behind them powers of 1024. As in Redis, no digits mean 0. Returns
/// `None` for a sign, a blank, a fraction, another unit, or a size beyond 64 bits.
pub fn parse_memory(text: &str) -> Option<u64> {
    let digits_len = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, unit) = text.split_at_checked(digits_len)?;
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1_000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    let count: u64 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    count.checked_mul(factor)
}

/// Writes a size with the largest binary unit that divides it: `1gb`, `100mb`, `2kb`, or plain bytes.
pub fn format_memory(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "gb"), (1 << 20, "mb"), (1 << 10, "kb")];
    match UNITS.iter().find(|(size, _)| bytes != 0 && bytes.is_multiple_of(*size)) {
        Some((size, unit)) => format!("{}{unit}", bytes / size),
        None => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str) -> Option<Vec<String>> {
        let arguments = split_arguments(line.as_bytes())?;
        Some(arguments.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect())
    }

    fn strings(words: &[&str]) -> Option<Vec<String>> {
        Some(words.iter().map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn a_line_is_cut_at_white_space_outside_quotes() {
        assert_eq!(split(""), strings(&[]));
        assert_eq!(split(" \t\r\n"), strings(&[]));
        assert_eq!(split("port  6379\t "), strings(&["port", "6379"]));
        assert_eq!(split(r#"a "b c" 'd e'"#), strings(&["a", "b c", "d e"]));
        assert_eq!(split(r#"save """#), strings(&["save", ""]));
        assert_eq!(split(r#"pre"fix ed""#), strings(&["prefix ed"]));
    }

    #[test]
    fn only_double_quotes_know_escapes() {
        assert_eq!(split(r#""\x41\n\t\"\\\q""#), strings(&["A\n\t\"\\q"]));
        assert_eq!(split(r#""\xZZ""#), strings(&["xZZ"]));
        assert_eq!(split(r"'\x41\n it\'s'"), strings(&[r"\x41\n it's"]));
    }

    #[test]
    fn an_open_quote_or_text_behind_a_closing_one_is_refused() {
        for line in [r#"a "b"#, "a 'b", r#"a "b"c"#, "a 'b'c", r#"""x"#, r#""\"#, r#"bad"quote"#] {
            assert_eq!(split(line), None, "{line}");
        }
    }

    #[test]
    fn what_is_quoted_reads_back_unchanged() {
        let every_byte: Vec<u8> = (0..=255).collect();
        for bytes in [&b""[..], b"a b", b"\"\\\n\r\t\x07\x08", &every_byte] {
            assert_eq!(split_arguments(quote(bytes).as_bytes()), Some(vec![bytes.to_vec()]));
        }
    }

    #[test]
    fn integers_are_read_in_canonical_form_only() {
        for (text, value) in
            [("0", 0), ("-1", -1), ("9223372036854775807", i64::MAX), ("-9223372036854775808", i64::MIN)]
        {
            assert_eq!(parse_integer(text), Some(value));
        }
        for text in ["", "-", "00", "01", "-0", "+1", " 1", "1 ", "1.0", "0x1", "9223372036854775808", "١"] {
            assert_eq!(parse_integer(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_take_decimal_and_binary_units_in_any_case() {
        let cases = [
            ("0", 0),
            ("", 0),
            ("k", 0),
            ("01k", 1000),
            ("1b", 1),
            ("1K", 1000),
            ("1kB", 1024),
            ("2m", 2_000_000),
            ("2MB", 2 << 20),
            ("3g", 3_000_000_000),
            ("3gb", 3 << 30),
            ("18446744073709551615", u64::MAX),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_memory(text), Some(bytes), "{text}");
        }
        for text in
            ["-1", "+1", " 1", "1 ", "1 mb", "1.5mb", "1tb", "1kbb", "17179869184gb", "18446744073709551616", "1é"]
        {
            assert_eq!(parse_memory(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_written_with_the_largest_unit_that_divides_them() {
        for (bytes, text) in
            [(0, "0"), (1000, "1000"), (1024, "1kb"), (1 << 30, "1gb"), (100 << 20, "100mb"), (1536, "1536")]
        {
            assert_eq!(format_memory(bytes), text);
            assert_eq!(parse_memory(text), Some(bytes));
        }
    }
}
