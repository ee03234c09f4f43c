//! Numbers as text, the way Redis 8 and Valkey 9 write them (learnt by asking them), without allocating.
//!
//! Integers are decimal. Doubles are the shortest digits that read back as the same double, laid out by three rules,
//! for `n` digits whose last one stands for 10^`k` (so `1.5` has `n` 2 and `k` -1), and whose first stands for 10^`e`:
//!
//! | when | layout | examples |
//! |---|---|---|
//! | a whole number between -2^62 and 2^62 | the integer, exactly | `3` `-0` `1234567890123456768` |
//! | `k >= 0` and `e < n + 7` | digits, then zeros | `9223372036854776000` |
//! | `k < 0`, and `k > -7` or `e` within -3..=3 | a decimal point | `0.1` `0.000001` `2.14159265358979` |
//! | otherwise | scientific, the exponent signed | `1e+20` `1.234e-5` `1.2345678912345679e+8` |
//!
//! Redis's own digits are those of an algorithm (Grisu2) that misses the shortest form about once in a thousand random
//! doubles; its `5e22` is `49999999999999996000000`. Here it is `5e+22`: the same double, and the better text.

use std::fmt::Write;

/// Length of the longest text of [`format_i64`].
pub const I64_TEXT_MAX: usize = 20;
/// A bound on the length of [`format_double`]'s texts.
pub const DOUBLE_TEXT_MAX: usize = 32;

/// `value` in decimal, written into the end of `buffer`. Takes a few nanoseconds.
#[inline]
pub fn format_i64(value: i64, buffer: &mut [u8; I64_TEXT_MAX]) -> &[u8] {
    let mut start = write_digits(value.unsigned_abs(), buffer);
    if value < 0 {
        start -= 1;
        buffer[start] = b'-';
    }
    &buffer[start..]
}

/// `value` in decimal, written into the end of `buffer`. Takes a few nanoseconds.
#[inline]
pub fn format_u64(value: u64, buffer: &mut [u8; I64_TEXT_MAX]) -> &[u8] {
    let start = write_digits(value, buffer);
    &buffer[start..]
}

/// How many characters [`format_u64`] gives: 1 to 20.
#[inline]
pub fn decimal_len(value: u64) -> usize {
    value.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// Writes the digits of `value` so that they end with the buffer, which must have room for them. Returns where they
/// start.
#[inline]
pub(crate) fn write_digits(mut value: u64, buffer: &mut [u8]) -> usize {
    let mut start = buffer.len();
    while value >= 100 {
        let pair = (value % 100) as usize;
        value /= 100;
        start -= 2;
        buffer[start] = TENS[pair];
        buffer[start + 1] = ONES[pair];
    }
    if value >= 10 {
        start -= 2;
        buffer[start] = TENS[value as usize];
        buffer[start + 1] = ONES[value as usize];
    } else {
        start -= 1;
        buffer[start] = b'0' + value as u8;
    }
    start
}

/// The digits of 0 to 99: two divisions less for every pair of them.
const TENS: [u8; 100] = digit_table(10);
const ONES: [u8; 100] = digit_table(1);

const fn digit_table(unit: usize) -> [u8; 100] {
    let mut table = [0; 100];
    let mut number = 0;
    while number < 100 {
        table[number] = b'0' + (number / unit % 10) as u8;
        number += 1;
    }
    table
}

/// `value` as the module's header lays it out; `inf`, `-inf` and `nan` for what has no digits.
///
/// Whole numbers and those with up to four decimals take about 10 to 20 ns, others about 100 ns.
pub fn format_double(value: f64, buffer: &mut [u8; DOUBLE_TEXT_MAX]) -> &[u8] {
    /// 2^62 as a double. Up to here Redis takes whole numbers for integers.
    const WHOLE_MAX: f64 = 4_611_686_018_427_387_904.0;
    if !value.is_finite() {
        let text: &[u8] = match (value.is_nan(), value > 0.0) {
            (true, _) => b"nan",
            (false, true) => b"inf",
            (false, false) => b"-inf",
        };
        buffer[..text.len()].copy_from_slice(text);
        return &buffer[..text.len()];
    }
    let mut out = Text { buffer, len: 0 };
    if value.is_sign_negative() {
        out.push(b"-");
    }
    let magnitude = value.abs();
    if magnitude <= WHOLE_MAX && magnitude.trunc() == magnitude {
        out.push(format_u64(magnitude as u64, &mut [0; I64_TEXT_MAX]));
    } else if let Some((scaled, decimals)) = few_decimals(magnitude) {
        lay_out(format_u64(scaled, &mut [0; I64_TEXT_MAX]), -decimals, &mut out);
    } else {
        let (mut digits, mut count) = ([0; DOUBLE_TEXT_MAX], 0);
        let (text, mut text_len) = (&mut [0; DOUBLE_TEXT_MAX], 0);
        let mut scientific = Text { buffer: text, len: 0 };
        // 17 digits, a point and an exponent: it always fits.
        if write!(scientific, "{magnitude:e}").is_ok() {
            text_len = scientific.len;
        }
        let text = &text[..text_len];
        let mantissa_len = text.iter().position(|byte| *byte == b'e').unwrap_or(text_len);
        for digit in text[..mantissa_len].iter().filter(|byte| byte.is_ascii_digit()) {
            digits[count] = *digit;
            count += 1;
        }
        let exponent = text.get(mantissa_len + 1..).and_then(|text| str::from_utf8(text).ok()?.parse::<i32>().ok());
        lay_out(&digits[..count], exponent.unwrap_or(0) - (count as i32 - 1), &mut out);
    }
    let len = out.len;
    &buffer[..len]
}

/// `(m, d)` with the least `d` in 1 to 4 such that m / 10^d is `magnitude`, if there is one and m has at most 15 digits.
///
/// Division rounds correctly and both operands are exact, so m / 10^d being the double is the same as its text reading
/// back as the double. And since no two texts of up to 15 digits read as the same double, it is the shortest.
#[inline]
fn few_decimals(magnitude: f64) -> Option<(u64, i32)> {
    if magnitude >= 1e11 {
        return None;
    }
    [1e1, 1e2, 1e3, 1e4].into_iter().zip(1..).find_map(|(power, decimals)| {
        let scaled = (magnitude * power).round();
        (scaled / power == magnitude && scaled > 0.0).then_some((scaled as u64, decimals))
    })
}

/// Writes `digits`, the last of which stands for 10^`last`, by the table in the module's header.
fn lay_out(digits: &[u8], last: i32, out: &mut Text<'_>) {
    const ZEROS: &[u8] = &[b'0'; 16];
    let count = digits.len() as i32;
    let first = last + count - 1;
    if last >= 0 && first < count + 7 {
        out.push(digits);
        out.push(&ZEROS[..last as usize]);
    } else if last < 0 && (last > -7 || first.abs() < 4) {
        if first >= 0 {
            let (whole, fraction) = digits.split_at(first as usize + 1);
            out.push(whole);
            out.push(b".");
            out.push(fraction);
        } else {
            out.push(b"0.");
            out.push(&ZEROS[..(-first - 1) as usize]);
            out.push(digits);
        }
    } else {
        let (leading, fraction) = digits.split_at(1);
        out.push(leading);
        if !fraction.is_empty() {
            out.push(b".");
            out.push(fraction);
        }
        out.push(if first < 0 { b"e-" } else { b"e+" });
        out.push(format_u64(u64::from(first.unsigned_abs()), &mut [0; I64_TEXT_MAX]));
    }
}

/// Text being written to a buffer that it is known to fit.
struct Text<'a> {
    buffer: &'a mut [u8; DOUBLE_TEXT_MAX],
    len: usize,
}

impl Text<'_> {
    #[inline]
    fn push(&mut self, part: &[u8]) {
        self.buffer[self.len..self.len + part.len()].copy_from_slice(part);
        self.len += part.len();
    }
}

impl Write for Text<'_> {
    fn write_str(&mut self, part: &str) -> std::fmt::Result {
        self.push(part.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn double(value: f64) -> String {
        String::from_utf8(format_double(value, &mut [0; DOUBLE_TEXT_MAX]).to_vec()).unwrap()
    }

    /// The digits alone, without the zeros on either end.
    fn digits(text: &str) -> String {
        let mantissa = text.split('e').next().unwrap_or_default();
        mantissa.chars().filter(char::is_ascii_digit).collect::<String>().trim_matches('0').to_owned()
    }

    #[test]
    fn doubles_look_as_both_servers_write_them() {
        for (value, expected) in [
            (3.0, "3"),
            (0.0, "0"),
            (-0.0, "-0"),
            (0.1, "0.1"),
            (1.5, "1.5"),
            (100.0, "100"),
            (1e15, "1000000000000000"),
            (1e16, "10000000000000000"),
            (1e17, "100000000000000000"),
            (1e18, "1000000000000000000"),
            (1e19, "1e+19"),
            (1e20, "1e+20"),
            (1e21, "1e+21"),
            (1e22, "1e+22"),
            (1.7e18, "1700000000000000000"),
            (1.7e19, "1.7e+19"),
            (1.1e20, "1.1e+20"),
            (1.1e23, "1.1e+23"),
            (1e100, "1e+100"),
            (-1e21, "-1e+21"),
            (0.001, "0.001"),
            (1e-5, "0.00001"),
            (-1e-6, "-0.000001"),
            (1e-7, "1e-7"),
            (1e-8, "1e-8"),
            (2.5e-7, "2.5e-7"),
            (9.5e-5, "0.000095"),
            (-1.5e-5, "-0.000015"),
            (1.234e-6, "1.234e-6"),
            (1.234e-5, "1.234e-5"),
            (1.2345e-4, "1.2345e-4"),
            (1.23456789e-5, "1.23456789e-5"),
            (1.2345678901234567e-5, "1.2345678901234568e-5"),
            (1.5e-10, "1.5e-10"),
            (-1.5e-300, "-1.5e-300"),
            (5e-324, "5e-324"),
            (2.2250738585072014e-308, "2.2250738585072014e-308"),
            (1.7976931348623157e308, "1.7976931348623157e+308"),
            (123456789012345680.0, "123456789012345680"),
            (1234567890123456789.0, "1234567890123456768"),
            (4611686018427387904.0, "4611686018427387904"),
            (9223372036854774784.0, "9223372036854775000"),
            (9223372036854775808.0, "9223372036854776000"),
            (-9223372036854775808.0, "-9223372036854776000"),
            (12345678901234567890.0, "12345678901234567000"),
            (123456789012345678901234.0, "123456789012345690000000"),
            (-1.2345678901234567e21, "-1234567890123456800000"),
            (1.2345e25, "1.2345e+25"),
            (4503599627370497.0, "4503599627370497"),
            (4503599627370498.5, "4503599627370498"),
            (1.2345678901234567e15, "1234567890123456.8"),
            (12345.00001, "12345.00001"),
            (1234567.891, "1234567.891"),
            (123456789.12345679, "1.2345678912345679e+8"),
            (2.14159265358979, "2.14159265358979"),
            (0.30000000000000004, "0.30000000000000004"),
            (99999999999.9, "99999999999.9"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(double(value), expected);
        }
    }

    #[test]
    fn integers_are_decimal_to_either_end() {
        for value in [0, 1, -1, 9, 10, 99, 100, 101, 999, 1000, 12345, -98765, i64::MAX, i64::MIN] {
            assert_eq!(format_i64(value, &mut [0; I64_TEXT_MAX]), value.to_string().as_bytes());
            assert_eq!(decimal_len(value.unsigned_abs()), value.unsigned_abs().to_string().len());
        }
        assert_eq!(format_u64(u64::MAX, &mut [0; I64_TEXT_MAX]), u64::MAX.to_string().as_bytes());
        assert_eq!(decimal_len(u64::MAX), 20);
    }

    proptest! {
        #[test]
        fn any_double_reads_back_as_itself_and_is_shortest(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            let text = double(value);
            prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), bits);
            if value.abs() > 5e18 || value.trunc() != value {
                prop_assert_eq!(digits(&text), digits(&format!("{value:e}")));
            }
        }

        #[test]
        fn any_double_with_few_decimals_is_shortest(scaled in any::<i64>(), shift in 0_u32..40, decimals in 0..9) {
            let value = (scaled >> shift) as f64 / 10_f64.powi(decimals);
            let text = double(value);
            prop_assert_eq!(text.parse::<f64>().unwrap(), value);
            if value.trunc() != value {
                prop_assert_eq!(digits(&text), digits(&format!("{value:e}")));
            }
        }

        #[test]
        fn any_integer_is_decimal(value in any::<i64>(), shift in 0_u32..64) {
            let value = value >> shift;
            let mut buffer = [0; I64_TEXT_MAX];
            prop_assert_eq!(format_i64(value, &mut buffer).to_vec(), value.to_string().into_bytes());
        }
    }
}
