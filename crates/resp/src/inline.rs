//! Inline commands: a line of words, as a person types it into telnet.
//!
//! Words are cut where they stand. Only a quoted part changes anything, and what it stands for is never longer than how
//! it is written, so it is rewritten in place, leftwards:
//!
//! ```text
//!   SET key pre"a\tb"       line
//!           ▲──▲             bare part, left alone
//!              "a\tb"        read position runs ahead ...
//!              a⇥b           ... of the write position; the argument is `prea⇥b`
//! ```
//!
//! The rules are Redis 8's, learnt by trying: a word is a bare part, then perhaps one quoted part, which ends it. Inside
//! double quotes `\xHH \n \r \t \b \a` stand for bytes and a backslash before anything else for that thing; inside
//! single quotes only `\'` is special. (Valkey 9 is laxer and lets bare and quoted parts alternate.)

use crate::batch::ArgRange;

/// A quote was left open, or a closing one has something other than blank space behind it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UnbalancedQuotes;

/// Cuts `line`, which starts at offset `base` of the batch and has lost its line end, into words appended to `args`.
///
/// On an error some words may have been appended and some of the line rewritten. Linear in the line; allocates only
/// for growth of `args`.
pub(crate) fn split_line(line: &mut [u8], base: usize, args: &mut Vec<ArgRange>) -> Result<(), UnbalancedQuotes> {
    let mut read = 0;
    loop {
        read += line.get(read..).unwrap_or_default().iter().take_while(|byte| is_blank(**byte)).count();
        let word = line.get_mut(read..).unwrap_or_default();
        if word.is_empty() {
            return Ok(());
        }
        let bare = word.iter().position(|byte| ends_bare_part(*byte)).unwrap_or(word.len());
        let (len, taken) = match word.get(bare) {
            Some(b'"') => unquote(word, bare, b'"')?,
            Some(b'\'') => unquote(word, bare, b'\'')?,
            _ => (bare, bare),
        };
        args.push(ArgRange::new(base + read, len));
        read += taken;
    }
}

/// Rewrites the quoted part that opens at `word[open]` in place. Returns the length of the whole word once rewritten,
/// and how many bytes of the line it took.
fn unquote(word: &mut [u8], open: usize, quote: u8) -> Result<(usize, usize), UnbalancedQuotes> {
    let mut write = open;
    let mut read = open + 1;
    loop {
        let rest = word.get(read..).unwrap_or_default();
        let (byte, taken) = match *rest {
            [first, ..] if first == quote => {
                return match rest.get(1) {
                    Some(next) if !is_blank(*next) => Err(UnbalancedQuotes),
                    _ => Ok((write, read + 1)),
                };
            }
            [b'\\', b'\'', ..] if quote == b'\'' => (b'\'', 2),
            [b'\\', b'x', high, low, ..] if quote == b'"' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (hex_digit(high) << 4 | hex_digit(low), 4)
            }
            [b'\\', escaped, ..] if quote == b'"' => (escape(escaped), 2),
            [plain, ..] => (plain, 1),
            [] => return Err(UnbalancedQuotes),
        };
        // `write` never overtakes `read`: every step writes one byte and reads at least one.
        if let Some(place) = word.get_mut(write) {
            *place = byte;
        }
        write += 1;
        read += taken;
    }
}

/// What C calls space, in its own locale.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Narrower than [`is_blank`]: vertical tab and form feed separate words but don't end one.
fn ends_bare_part(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'"' | b'\'')
}

fn escape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        itself => itself,
    }
}

/// The value of an ASCII hexadecimal digit.
fn hex_digit(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.wrapping_sub(b'A').wrapping_add(10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
        let mut line = line.to_vec();
        let mut args = Vec::new();
        split_line(&mut line, 0, &mut args).ok()?;
        Some(args.iter().map(|arg| arg.of(&line).unwrap().to_vec()).collect())
    }

    fn check(line: &[u8], expected: &[&[u8]]) {
        assert_eq!(words(line), Some(expected.iter().map(|word| word.to_vec()).collect()), "{}", line.escape_ascii());
    }

    #[test]
    fn bare_words_are_cut_at_blank_space() {
        check(b"", &[]);
        check(b" \t\x0b\x0c\r ", &[]);
        check(b"PING", &[b"PING"]);
        check(b"  SET\tk \r v ", &[b"SET", b"k", b"v"]);
        check(b"a\rb", &[b"a", b"b"]);
        check(b"a\xffb\x85\xa0", &[b"a\xffb\x85\xa0"]);
        check(b"\\n a\\ b", &[b"\\n", b"a\\", b"b"]);
    }

    #[test]
    fn vertical_tab_and_form_feed_separate_words_but_do_not_end_one() {
        check(b"a\x0bb", &[b"a\x0bb"]);
        check(b"a\x0b b", &[b"a\x0b", b"b"]);
        check(b"a \x0b\x0cb", &[b"a", b"b"]);
        check(b"\"a\"\x0bb", &[b"a", b"b"]);
    }

    #[test]
    fn double_quotes_unescape() {
        check(br#"PING "a b""#, &[b"PING", b"a b"]);
        check(br#"PING "a\x41\n\q\"b""#, &[b"PING", b"aA\nq\"b"]);
        check(br#""\r\t\b\a\x00z\xfF""#, &[b"\r\t\x08\x07\0z\xff"]);
        check(br#""\xZZ\x4" "\x4g\X41""#, &[b"xZZx4", b"x4gX41"]);
        check(br#""" "" x"#, &[b"", b"", b"x"]);
        check(br#"a"b c" d"#, &[b"ab c", b"d"]);
        check(br#"a"b" c"#, &[b"ab", b"c"]);
    }

    #[test]
    fn single_quotes_know_one_escape() {
        check(br"'a\'b\n'", &[br"a'b\n"]);
        check(br"'\'' 'a\\b'", &[b"'", br"a\\b"]);
        check(br"a'b c'", &[b"ab c"]);
        check(br#"'"' "'""#, &[b"\"", b"'"]);
    }

    #[test]
    fn an_open_quote_or_a_glued_word_is_unbalanced() {
        for line in [
            br#"PING "a"#.as_slice(),
            br"PING 'a",
            br#"""b"#,
            br#""a"b"#,
            br"'a'b",
            br#"a"b"c"#,
            br"a'b c'd",
            br#""a\""#,
            br#""a\"#,
            br"'a\",
            br"'a\'",
            br#""""""#,
            br#"a"b"#,
            br"a'",
            b"\"a\"\x00",
        ] {
            assert_eq!(words(line), None, "{}", line.escape_ascii());
        }
    }
}
