//! Numbers as text, read as strictly as Redis reads them and written without allocation.
//!
//! What a client sends as a number becomes an integer encoding, a score, a timeout: text that one server takes and the
//! other refuses is a bug in both directions. So there is one reader for each of Redis's three:
//!
//! | reader | used for | takes |
//! |---|---|---|
//! | [`parse_i64`], [`parse_u64`] | counters, encodings, limits | exactly what the writer would write |
//! | [`parse_f64`] | scores, coordinates | C's notation, also hexadecimal; no blanks, NaN, overflow |
//! | [`parse_score_bound`] | `ZRANGEBYSCORE` | a C string: also empty, also out of range; no hexadecimal |
//!
//! Invariant: `parse_i64(format_i64(n)) == n`, and no other text gives `n`.

/// Longest text of an integer of 64 bits, sign included.
pub const I64_TEXT_MAX: usize = 20;

/// Reads a signed integer: digits, perhaps after `-`; no `+`, no blanks, no leading zero, no `-0`.
///
/// `None` for anything else and for what does not fit.
#[inline]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    match text {
        [b'-', digits @ ..] => match parse_u64(digits)? {
            0 => None,
            // -2^63 is the one value whose magnitude is not an i64.
            magnitude if magnitude <= 1 << 63 => Some((magnitude as i64).wrapping_neg()),
            _ => None,
        },
        digits => i64::try_from(parse_u64(digits)?).ok(),
    }
}

/// Reads an unsigned integer: digits without a leading zero, or `0`.
///
/// `None` for anything else and for what does not fit.
#[inline]
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    match text {
        [digit] => digit_value(*digit),
        [b'1'..=b'9', ..] if text.len() <= I64_TEXT_MAX => {
            // 19 digits always fit; only the twentieth can overflow.
            let (head, last) = if text.len() == I64_TEXT_MAX { text.split_at(19) } else { (text, &[][..]) };
            let mut value = 0;
            for &byte in head {
                value = value * 10 + digit_value(byte)?;
            }
            match last {
                [byte] => value.checked_mul(10)?.checked_add(digit_value(*byte)?),
                _ => Some(value),
            }
        }
        _ => None,
    }
}

#[inline]
fn digit_value(byte: u8) -> Option<u64> {
    let value = byte.wrapping_sub(b'0');
    (value < 10).then_some(u64::from(value))
}

/// Reads a double: decimal or hexadecimal C notation, `inf` or `infinity` in any case, each with an optional sign.
///
/// `None` for blanks, for NaN, for trailing bytes, for what is too large, and for what is not zero but too small for
/// any double. Costs a few dozen nanoseconds, and is linear in the length whatever the digits.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    if let Some(hex) = HexFloat::parse(text) {
        let value = hex.to_f64();
        return (value.is_finite() && (value != 0.0 || hex.is_zero())).then_some(value);
    }
    let value = parse_decimal_f64(text)?;
    let unsigned = unsigned(text);
    if value.is_infinite() && !matches!(unsigned, [b'i' | b'I', ..]) {
        return None;
    }
    if value == 0.0 && mantissa_has_digit_above_zero(unsigned) {
        return None;
    }
    Some(value)
}

/// Reads a bound of a score range, without the `(`: as a C string, so it ends at the first NUL; empty is 0; what is out
/// of range becomes an infinity or zero; hexadecimal is refused.
///
/// `None` for blanks, for NaN and for anything else that is no number.
pub fn parse_score_bound(text: &[u8]) -> Option<f64> {
    let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
    let text = &text[..end];
    if text.is_empty() { Some(0.0) } else { parse_decimal_f64(text) }
}

/// Rust's grammar of floats is C's without hexadecimal and blanks, and both round to nearest, ties to even.
fn parse_decimal_f64(text: &[u8]) -> Option<f64> {
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (!value.is_nan()).then_some(value)
}

fn unsigned(text: &[u8]) -> &[u8] {
    match text {
        [b'+' | b'-', rest @ ..] => rest,
        _ => text,
    }
}

fn mantissa_has_digit_above_zero(unsigned: &[u8]) -> bool {
    unsigned.iter().take_while(|byte| !matches!(byte, b'e' | b'E')).any(|byte| matches!(byte, b'1'..=b'9'))
}

/// A hexadecimal float: `[+-]0x` digits with perhaps a point, perhaps `p` and a decimal exponent of two.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HexFloat {
    pub(crate) negative: bool,
    /// The leading bits: all of them, or at least 125.
    pub(crate) mantissa: u128,
    /// Whether bits below the mantissa were dropped that are not all zero.
    pub(crate) sticky: bool,
    /// The value is `mantissa * 2^exponent` and a little more if `sticky`.
    pub(crate) exponent: i64,
}

impl HexFloat {
    /// `None` if the text is not all of one hexadecimal float.
    pub(crate) fn parse(text: &[u8]) -> Option<HexFloat> {
        let negative = text.first() == Some(&b'-');
        let [b'0', b'x' | b'X', rest @ ..] = unsigned(text) else { return None };
        let (mut mantissa, mut sticky, mut exponent) = (0u128, false, 0i64);
        let (mut digits, mut after_point, mut at) = (0usize, false, 0);
        while let Some(&byte) = rest.get(at) {
            if byte == b'.' && !after_point {
                after_point = true;
            } else if let Some(digit) = (byte as char).to_digit(16) {
                digits += 1;
                if mantissa >> 124 == 0 {
                    mantissa = mantissa << 4 | u128::from(digit);
                } else {
                    sticky |= digit != 0;
                    exponent += 4;
                }
                if after_point {
                    exponent -= 4;
                }
            } else {
                break;
            }
            at += 1;
        }
        if digits == 0 {
            return None;
        }
        match &rest[at..] {
            [] => {}
            [b'p' | b'P', power @ ..] => exponent += parse_exponent(power)?,
            _ => return None,
        }
        Some(HexFloat { negative, mantissa, sticky, exponent })
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.mantissa == 0
    }

    /// Nearest double, ties to even; out of range gives an infinity or zero.
    pub(crate) fn to_f64(self) -> f64 {
        let sign = if self.negative { -1.0 } else { 1.0 };
        if self.mantissa == 0 {
            return 0.0 * sign;
        }
        let zeros = self.mantissa.leading_zeros();
        // Normalised: 1.x times 2^top.
        let mantissa = self.mantissa << zeros;
        let top = self.exponent - i64::from(zeros) + 127;
        if top > 1023 {
            return f64::INFINITY * sign;
        }
        if top < -1075 {
            return 0.0 * sign;
        }
        // Of 128 bits, normal doubles keep 53, and others fewer the further they are below 2^-1022: down to none.
        let kept_bits = (53 - (-1022 - top).max(0)) as u32;
        let kept = mantissa.checked_shr(128 - kept_bits).unwrap_or(0) as u64;
        let rest = mantissa << kept_bits;
        let half = 1u128 << 127;
        let rounded = kept + u64::from(rest > half || (rest == half && (self.sticky || kept & 1 == 1)));
        // `kept` has its leading bit as bit 52 for normal doubles, where it adds 1 to the exponent field; a carry out
        // of the mantissa does so once more, up to infinity.
        let biased = (top.max(-1022) + 1022) as u64;
        f64::from_bits((biased << 52) + rounded) * sign
    }
}

/// Decimal exponent after `e` or `p`: optional sign and at least one digit; held within +-2^40, which is past any
/// range.
pub(crate) fn parse_exponent(text: &[u8]) -> Option<i64> {
    const LIMIT: i64 = 1 << 40;
    let digits = unsigned(text);
    if digits.is_empty() {
        return None;
    }
    let mut value = 0i64;
    for &byte in digits {
        value = (value * 10 + digit_value(byte)? as i64).min(LIMIT);
    }
    Some(if text[0] == b'-' { -value } else { value })
}

/// Number of decimal digits of `value`, 1 to 20.
#[inline]
pub fn decimal_len(value: u64) -> usize {
    value.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// An integer as text, on the stack.
#[derive(Clone, Copy)]
pub struct IntegerText {
    bytes: [u8; I64_TEXT_MAX],
    start: u8,
}

impl IntegerText {
    /// The text.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[usize::from(self.start)..]
    }
}

impl std::ops::Deref for IntegerText {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl std::fmt::Debug for IntegerText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(std::str::from_utf8(self).unwrap_or_default())
    }
}

/// Writes a signed integer in a few nanoseconds.
#[inline]
pub fn format_i64(value: i64) -> IntegerText {
    let mut text = format_u64(value.unsigned_abs());
    if value < 0 {
        // The magnitude is at most 2^63, which has 19 digits: there is room for the sign.
        text.start -= 1;
        text.bytes[usize::from(text.start)] = b'-';
    }
    text
}

/// Writes an unsigned integer in a few nanoseconds.
#[inline]
pub fn format_u64(mut value: u64) -> IntegerText {
    let mut bytes = [0; I64_TEXT_MAX];
    let mut start = I64_TEXT_MAX;
    while value >= 100 {
        let pair = (value % 100) as usize * 2;
        value /= 100;
        start -= 2;
        bytes[start..start + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    }
    if value >= 10 {
        let pair = value as usize * 2;
        start -= 2;
        bytes[start..start + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    } else {
        start -= 1;
        bytes[start] = b'0' + value as u8;
    }
    IntegerText { bytes, start: start as u8 }
}

/// `00` to `99`: two digits for one division.
static PAIRS: [u8; 200] = {
    let mut pairs = [0; 200];
    let mut number = 0;
    while number < 100 {
        pairs[number * 2] = b'0' + (number / 10) as u8;
        pairs[number * 2 + 1] = b'0' + (number % 10) as u8;
        number += 1;
    }
    pairs
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_only_in_the_form_they_are_written_in() {
        for (text, expected) in [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-9223372036854775809", None),
            ("18446744073709551616", None),
            ("99999999999999999999", None),
            ("100000000000000000000", None),
            ("", None),
            ("-", None),
            ("-0", None),
            ("+1", None),
            ("01", None),
            ("-01", None),
            ("00", None),
            ("1 ", None),
            (" 1", None),
            ("0x10", None),
            ("1\0", None),
            ("1/", None),
            ("1:", None),
        ] {
            assert_eq!(parse_i64(text.as_bytes()), expected, "{text:?}");
        }
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_u64(b"18446744073709551616"), None);
        assert_eq!(parse_u64(b"-1"), None);
    }

    #[test]
    fn integers_survive_the_way_to_text_and_back() {
        let mut value = 1i64;
        for step in 0..64 {
            for near in [value.wrapping_sub(1), value, value.wrapping_add(1), value.wrapping_neg()] {
                assert_eq!(&*format_i64(near), near.to_string().as_bytes());
                assert_eq!(parse_i64(&format_i64(near)), Some(near));
                let unsigned = near as u64;
                assert_eq!(&*format_u64(unsigned), unsigned.to_string().as_bytes());
                assert_eq!(parse_u64(&format_u64(unsigned)), Some(unsigned));
                assert_eq!(decimal_len(unsigned), unsigned.to_string().len());
            }
            value = if step % 2 == 0 { value.wrapping_mul(10) } else { value.wrapping_mul(3) };
        }
        for edge in [0, i64::MIN, i64::MAX, 9, 10, 99, 100] {
            assert_eq!(parse_i64(&format_i64(edge)), Some(edge));
        }
    }

    /// Each row was answered by `ZADD` of a Redis 8.0.6.
    const DOUBLES: &[(&str, Option<f64>)] = &[
        ("inf", Some(f64::INFINITY)),
        ("+inf", Some(f64::INFINITY)),
        ("-Infinity", Some(f64::NEG_INFINITY)),
        ("INF", Some(f64::INFINITY)),
        ("infin", None),
        ("nan", None),
        ("-nan", None),
        ("nan(1)", None),
        ("1e400", None),
        ("-1e400", None),
        ("1e-400", None),
        ("2e-324", None),
        ("4.9e-324", Some(5e-324)),
        ("0e99999999999999999999", Some(0.0)),
        ("1e99999999999999999999", None),
        ("1e-99999999999999999999", None),
        ("0x10", Some(16.0)),
        ("-0x10", Some(-16.0)),
        ("0x1p4", Some(16.0)),
        ("0x1.8p1", Some(3.0)),
        ("0X1P-2", Some(0.25)),
        ("0x1.", Some(1.0)),
        ("0x.8", Some(0.5)),
        ("0x", None),
        ("0x.", None),
        ("0xp1", None),
        ("0x1p", None),
        ("0x1pz", None),
        ("0x-1", None),
        ("00x1", None),
        ("0x0p99999", Some(0.0)),
        ("0x1p99999", None),
        ("0x1p-1074", Some(5e-324)),
        ("0x1p-1075", None),
        ("0x1.8p-1075", Some(5e-324)),
        ("0x0.00000001p-1042", Some(5e-324)),
        ("0x1.fffffffffffff8p0", Some(2.0)),
        ("0x1.fffffffffffff7p0", Some(1.999_999_999_999_999_8)),
        ("0x1.fffffffffffff8p1023", None),
        ("0x1.fffffffffffff7p1023", Some(f64::MAX)),
        ("", None),
        (" 1", None),
        ("1 ", None),
        ("\t1", None),
        ("1.", Some(1.0)),
        (".5", Some(0.5)),
        (".", None),
        ("1e", None),
        ("1E+5", Some(1e5)),
        ("1e+", None),
        ("+1", Some(1.0)),
        ("+-1", None),
        ("1_0", None),
        ("1f", None),
        ("e5", None),
        ("1\0", None),
        ("-", None),
    ];

    #[test]
    fn doubles_are_read_as_redis_reads_scores() {
        for (text, expected) in DOUBLES {
            assert_eq!(parse_f64(text.as_bytes()), *expected, "{text:?}");
        }
        assert_eq!(parse_f64(format!("{}1", "0".repeat(9_000)).as_bytes()), Some(1.0));
        assert_eq!(parse_f64(format!("0x{}1", "0".repeat(9_000)).as_bytes()), Some(1.0));
        assert_eq!(parse_f64(format!("0x0.{}1p36004", "0".repeat(9_000)).as_bytes()), Some(1.0));
        assert_eq!(parse_f64(b"\xff"), None);
        assert!(parse_f64(b"-0").is_some_and(f64::is_sign_negative));
        assert!(parse_f64(b"-0x.0p0").is_some_and(f64::is_sign_negative));
    }

    #[test]
    fn hexadecimal_rounds_to_nearest_even_everywhere() {
        for bits in [1u64, 2, 3, 0x000f_ffff_ffff_ffff, 0x0010_0000_0000_0000, 0x3ff0_0000_0000_0001] {
            let value = f64::from_bits(bits);
            let (mantissa, power) = match bits >> 52 {
                0 => (bits, -1074),
                biased => (bits & ((1 << 52) - 1) | 1 << 52, biased as i64 - 1075),
            };
            assert_eq!(parse_f64(format!("0x{mantissa:x}p{power}").as_bytes()), Some(value));
            let above = f64::from_bits(bits + 1);
            let tie = if bits & 1 == 0 { value } else { above };
            assert_eq!(parse_f64(format!("0x{mantissa:x}.8p{power}").as_bytes()), Some(tie));
            assert_eq!(parse_f64(format!("0x{mantissa:x}.80000000000000001p{power}").as_bytes()), Some(above));
            assert_eq!(parse_f64(format!("0x{mantissa:x}.7ffffffffffffffffp{power}").as_bytes()), Some(value));
        }
    }

    #[test]
    fn score_bounds_are_read_as_c_strings() {
        for (text, expected) in [
            ("", Some(0.0)),
            ("1e400", Some(f64::INFINITY)),
            ("-1e400", Some(f64::NEG_INFINITY)),
            ("1e-400", Some(0.0)),
            ("1\0x", Some(1.0)),
            ("\0", Some(0.0)),
            ("0x1", None),
            ("nan", None),
            (" 1", None),
            ("1x", None),
            ("inf ", None),
        ] {
            assert_eq!(parse_score_bound(text.as_bytes()), expected, "{text:?}");
        }
    }
}
