//! Numbers as `cjson` reads and writes them: C's `strtod` and `printf("%.14g")`, without C's locale and its cost.
//!
//! A number that is an integer, and nearly all are, costs no more here than its digits. The rest is rounded once, from the
//! exact value, as C does.

use std::fmt::{self, Write as _};

use weir_structs::number::{format_i64, parse_f64};

/// Longest text of a number with 17 digits: sign, digit, point, digits, `e-308`, or zeros after the point instead.
const TEXT_MAX: usize = 32;

/// A number as text.
pub(super) struct NumberText {
    bytes: [u8; TEXT_MAX],
    len: usize,
}

impl NumberText {
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn add(&mut self, bytes: &[u8]) {
        // Longer texts do not occur: see TEXT_MAX.
        let taken = bytes.len().min(TEXT_MAX - self.len);
        self.bytes[self.len..self.len + taken].copy_from_slice(&bytes[..taken]);
        self.len += taken;
    }
}

impl fmt::Write for NumberText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.add(text.as_bytes());
        Ok(())
    }
}

/// `value` with at most `precision` significant digits, 1 to 17, as C's `%.{precision}g` writes it.
pub(super) fn format_significant(value: f64, precision: usize) -> NumberText {
    let precision = precision.clamp(1, 17);
    let mut text = NumberText { bytes: [0; TEXT_MAX], len: 0 };
    // Every integer below ten to the power of the precision has all its digits written. 2^53 is below 10^16.
    if value.abs() < EXACT_BELOW[precision.min(15)] && value.trunc() == value {
        if value == 0.0 && value.is_sign_negative() {
            text.add(b"-");
        }
        text.add(&format_i64(value as i64));
        return text;
    }
    if value.is_nan() {
        text.add(if value.is_sign_negative() { b"-nan" } else { b"nan" });
        return text;
    }
    if value.is_infinite() {
        text.add(if value < 0.0 { b"-inf" } else { b"inf" });
        return text;
    }
    let mut scientific = NumberText { bytes: [0; TEXT_MAX], len: 0 };
    let _ = write!(scientific, "{:.*e}", precision - 1, value.abs());
    let (mantissa, exponent) = split_at_e(scientific.as_bytes());
    // Digits alone: what stands before the point is one digit.
    let mut digits = [b'0'; TEXT_MAX];
    let mut count = 0;
    for &byte in mantissa.iter().filter(|byte| byte.is_ascii_digit()) {
        digits[count] = byte;
        count += 1;
    }
    while count > 1 && digits[count - 1] == b'0' {
        count -= 1;
    }
    let digits = &digits[..count];
    if value.is_sign_negative() {
        text.add(b"-");
    }
    if exponent < -4 || exponent >= precision as i32 {
        text.add(&digits[..1]);
        if count > 1 {
            text.add(b".");
            text.add(&digits[1..]);
        }
        let _ = write!(text, "e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.unsigned_abs());
    } else if exponent < 0 {
        text.add(b"0.");
        text.add(&b"000"[..(-exponent - 1) as usize]);
        text.add(digits);
    } else {
        let whole = exponent as usize + 1;
        if count <= whole {
            text.add(digits);
            text.add(&b"00000000000000000"[..whole - count]);
        } else {
            text.add(&digits[..whole]);
            text.add(b".");
            text.add(&digits[whole..]);
        }
    }
    text
}

/// Powers of ten, up to the last below 2^53.
const EXACT_BELOW: [f64; 16] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// Of Rust's `1.25e-7`.
fn split_at_e(scientific: &[u8]) -> (&[u8], i32) {
    let at = scientific.iter().position(|&byte| byte == b'e').unwrap_or(scientific.len());
    let exponent = scientific.get(at + 1..).and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
    (&scientific[..at], exponent.unwrap_or(0))
}

/// The number at the start of `text`, and the length of its text; `None` if there is none.
///
/// Takes what `strtod` takes of a text that does not begin with a blank: decimal and hexadecimal notation, `inf`,
/// `infinity`, `nan`, `nan(...)`, each with an optional sign. What is too large is an infinity, what is too small is zero.
pub(super) fn parse_prefix(text: &[u8]) -> Option<(f64, usize)> {
    let negative = text.first() == Some(&b'-');
    let sign_len = usize::from(matches!(text.first(), Some(b'+' | b'-')));
    let unsigned = &text[sign_len..];
    // Up to 15 digits make an integer below 2^53, and nothing that follows would change it.
    let digits = digits_len(unsigned);
    if (1..=15).contains(&digits) && !matches!(unsigned.get(digits), Some(b'.' | b'e' | b'E' | b'x' | b'X')) {
        let value = unsigned[..digits].iter().fold(0u64, |value, digit| value * 10 + u64::from(digit - b'0')) as f64;
        return Some((if negative { -value } else { value }, sign_len + digits));
    }
    let (magnitude, len) = match unsigned {
        [b'0', b'x' | b'X', rest @ ..] => match hexadecimal_len(rest) {
            Some(len) => (hexadecimal(&unsigned[..len + 2]), len + 2),
            // The zero alone.
            None => (0.0, 1),
        },
        [b'0'..=b'9' | b'.', ..] => {
            let len = decimal_len(unsigned)?;
            (std::str::from_utf8(&unsigned[..len]).ok()?.parse().ok()?, len)
        }
        _ if begins_with(unsigned, b"infinity") => (f64::INFINITY, 8),
        _ if begins_with(unsigned, b"inf") => (f64::INFINITY, 3),
        _ if begins_with(unsigned, b"nan") => (f64::NAN, 3 + nan_payload_len(&unsigned[3..])),
        _ => return None,
    };
    Some((if negative { -magnitude } else { magnitude }, sign_len + len))
}

fn digits_len(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// Length of the decimal number at the start: digits with perhaps a point, perhaps an exponent that has digits.
fn decimal_len(text: &[u8]) -> Option<usize> {
    let whole = digits_len(text);
    let mut len = whole;
    if text.get(whole) == Some(&b'.') {
        let fraction = digits_len(&text[whole + 1..]);
        if whole + fraction == 0 {
            return None;
        }
        len += 1 + fraction;
    }
    Some(len + exponent_len(&text[len..], b'e'))
}

/// Length of the digits after `0x`, with perhaps a point, and an exponent; `None` if there is no digit.
fn hexadecimal_len(text: &[u8]) -> Option<usize> {
    let hex_digits_len = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let whole = hex_digits_len(text);
    let mut len = whole;
    if text.get(whole) == Some(&b'.') {
        let fraction = hex_digits_len(&text[whole + 1..]);
        if whole + fraction == 0 {
            return None;
        }
        len += 1 + fraction;
    } else if whole == 0 {
        return None;
    }
    Some(len + exponent_len(&text[len..], b'p'))
}

/// Length of `e`, sign and digits, or 0 if digits are missing.
fn exponent_len(text: &[u8], letter: u8) -> usize {
    if !text.first().is_some_and(|byte| byte.eq_ignore_ascii_case(&letter)) {
        return 0;
    }
    let sign = usize::from(matches!(text.get(1), Some(b'+' | b'-')));
    match digits_len(&text[1 + sign..]) {
        0 => 0,
        digits => 1 + sign + digits,
    }
}

/// Value of a complete hexadecimal number without a sign.
fn hexadecimal(text: &[u8]) -> f64 {
    parse_f64(text).unwrap_or_else(|| {
        // Out of range, on one side or the other: the sign of the power of the leading digit says on which.
        let mut power = 0i64;
        let (mut seen_point, mut seen_digit) = (false, false);
        for (at, &byte) in text.iter().enumerate().skip(2) {
            match byte {
                b'.' => seen_point = true,
                b'p' | b'P' => {
                    let digits = &text[at + 1 + usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')))..];
                    let size = digits.iter().fold(0i64, |size, digit| {
                        (size.saturating_mul(10).saturating_add(i64::from(digit - b'0'))).min(1 << 40)
                    });
                    power += if text.get(at + 1) == Some(&b'-') { -size } else { size };
                    break;
                }
                _ => {
                    seen_digit |= byte != b'0';
                    // A digit before the point makes it larger once there is one, a zero behind it smaller before.
                    power += match (seen_point, seen_digit) {
                        (false, true) => 4,
                        (true, false) => -4,
                        _ => 0,
                    };
                }
            }
        }
        if power > 0 { f64::INFINITY } else { 0.0 }
    })
}

fn begins_with(text: &[u8], word: &[u8]) -> bool {
    text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
}

/// Length of `(letters, digits and underscores)`, or 0.
fn nan_payload_len(text: &[u8]) -> usize {
    if text.first() != Some(&b'(') {
        return 0;
    }
    let inside = text[1..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
    if text.get(1 + inside) == Some(&b')') { inside + 2 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: f64, precision: usize) -> String {
        String::from_utf8(format_significant(value, precision).as_bytes().to_vec()).expect("ASCII")
    }

    #[test]
    fn numbers_are_written_as_lua_writes_them() {
        let lua = mlua::Lua::new();
        let format: mlua::Function = lua.load("string.format").eval().expect("a function");
        let mut bits = 0x9E37_79B9_7F4A_7C15u64;
        let mut values = vec![0.0, -0.0, 1.0, 0.1, 1e15, 1e14, 99999999999999.5, 1e-4, 1e-5, 9.99999999999999e-5];
        values.extend([0.5, 123456789.12345679, f64::MAX, f64::MIN_POSITIVE, 5e-324, 1e100, 0.3, 2.5, 3.5, -1.5e300]);
        for step in 0..20_000u64 {
            bits ^= bits << 13;
            bits ^= bits >> 7;
            bits ^= bits << 17;
            let value = f64::from_bits(bits);
            values.extend([value, (bits % 1_000_000) as f64 / 1000.0, (bits as i64 >> (step % 60)) as f64]);
        }
        for value in values {
            if !value.is_finite() {
                continue;
            }
            for precision in [1, 2, 5, 13, 14, 17] {
                let expected: String = format.call((format!("%.{precision}g"), value)).expect("a text");
                assert_eq!(written(value, precision), expected, "{value:?} with {precision}");
            }
        }
    }

    #[test]
    fn the_longest_number_at_the_start_is_read() {
        for (text, expected) in [
            ("1", Some((1.0, 1))),
            ("-12]", Some((-12.0, 3))),
            ("1.5e3,", Some((1500.0, 5))),
            ("1.e5", Some((1e5, 4))),
            ("1e", Some((1.0, 1))),
            ("1e+", Some((1.0, 1))),
            ("1e+2x", Some((100.0, 4))),
            ("1.", Some((1.0, 2))),
            (".5", Some((0.5, 2))),
            (".", None),
            ("-", None),
            ("+", None),
            ("", None),
            ("- 1", None),
            ("0x10", Some((16.0, 4))),
            ("0x", Some((0.0, 1))),
            ("0xg", Some((0.0, 1))),
            ("-0x.8p1z", Some((-1.0, 7))),
            ("0x.", Some((0.0, 1))),
            ("0x1p99999", Some((f64::INFINITY, 9))),
            ("0x0.0001p-1070", Some((0.0, 14))),
            ("0x1p-1075", Some((0.0, 9))),
            ("inf", Some((f64::INFINITY, 3))),
            ("-Infinity", Some((f64::NEG_INFINITY, 9))),
            ("infinit", Some((f64::INFINITY, 3))),
            ("in", None),
            ("1e400", Some((f64::INFINITY, 5))),
            ("-1e-400", Some((-0.0, 7))),
            ("00012", Some((12.0, 5))),
            ("123456789012345678901", Some((123_456_789_012_345_678_901.0, 21))),
            ("999999999999999", Some((999_999_999_999_999.0, 15))),
            ("9999999999999999", Some((9_999_999_999_999_999.0, 16))),
        ] {
            assert_eq!(parse_prefix(text.as_bytes()), expected, "{text:?}");
        }
        for (text, len) in [("nan", 3), ("NaN(a_1)", 8), ("nan(", 3), ("nan(-)", 3), ("-nan", 4)] {
            let (value, taken) = parse_prefix(text.as_bytes()).expect("a number");
            assert!(value.is_nan(), "{text:?}");
            assert_eq!(taken, len, "{text:?}");
        }
    }
}
