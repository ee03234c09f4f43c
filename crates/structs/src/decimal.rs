//! Arithmetic of `INCRBYFLOAT`, `HINCRBYFLOAT` and `INCREX BYFLOAT`: the 80-bit floats of the x87, in software.
//!
//! Redis reads both operands with C's `strtold`, adds, and prints with 17 decimals, all in `long double`. The text that
//! comes out is stored, replicated and compared by clients, so each of the three steps has to give the same bits:
//!
//! ```text
//!   text ──read──► sign, 64-bit mantissa, exponent ──add──► the same ──write──► text
//!          nearest, ties to even         nearest, ties to even      17 decimals, ties to even,
//!                                                                   then zeros at the end go
//! ```
//!
//! A value is `mantissa * 2^exponent` with the top bit of the mantissa set, except next to zero, where the exponent
//! stays at its minimum and the mantissa gets shorter.
//!
//! Reading is exact: short decimals by one 128-bit division, others by integers of any length. The 17 decimals never
//! need more than 128 bits, since below 2^-128 none of them can be other than 0; only large integer parts need long
//! ones.
//!
//! Invariants: text is at most [`TEXT_LEN_MAX`] bytes, and what lies outside the range of the type is known by counting
//! digits before a long number is built, so no exponent makes it long: no number here is longer than 5 KB.

use crate::number::{HexFloat, parse_exponent};
use std::cmp::Ordering;

/// Longest text that is read; Redis copies into a buffer of 5 KB with a NUL at the end.
pub const TEXT_LEN_MAX: usize = 5 * 1024 - 1;

/// Exponent of the values next to zero.
const EXPONENT_MIN: i64 = -16_445;
/// Largest exponent of a finite value.
const EXPONENT_MAX: i64 = 16_320;

/// A number of the x87's extended precision.
#[derive(Debug, Clone, Copy)]
pub struct LongDouble {
    negative: bool,
    magnitude: Magnitude,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Magnitude {
    /// Zero is a mantissa of 0.
    Finite {
        mantissa: u64,
        exponent: i16,
    },
    Infinite,
    Nan,
}

impl LongDouble {
    /// Zero.
    pub const ZERO: LongDouble =
        LongDouble { negative: false, magnitude: Magnitude::Finite { mantissa: 0, exponent: EXPONENT_MIN as i16 } };

    /// Largest finite value, about 1.19e4932.
    pub const MAX: LongDouble = LongDouble {
        negative: false,
        magnitude: Magnitude::Finite { mantissa: u64::MAX, exponent: EXPONENT_MAX as i16 },
    };

    /// Reads C's notation: decimal or hexadecimal, `inf` or `infinity` in any case, each with an optional sign.
    ///
    /// `None` for blanks, for NaN, for trailing bytes, for more than [`TEXT_LEN_MAX`] bytes, for what is too large, and
    /// for what is not zero but becomes zero: what Redis calls `value is not a valid float`. Costs tens of nanoseconds
    /// for numbers of up to 19 digits, at most about a tenth of a millisecond for the longest.
    pub fn parse(text: &[u8]) -> Option<LongDouble> {
        if text.len() > TEXT_LEN_MAX {
            return None;
        }
        if let Some(hex) = HexFloat::parse(text) {
            if hex.is_zero() {
                return Some(LongDouble { negative: hex.negative, ..LongDouble::ZERO });
            }
            let value = rounded(hex.negative, hex.mantissa, hex.sticky, hex.exponent);
            return (!value.is_infinite() && !value.is_zero()).then_some(value);
        }
        let (negative, unsigned) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, text),
        };
        if unsigned.eq_ignore_ascii_case(b"inf") || unsigned.eq_ignore_ascii_case(b"infinity") {
            return Some(LongDouble { negative, magnitude: Magnitude::Infinite });
        }
        let decimal = Decimal::parse(unsigned)?;
        if decimal.digits.is_empty() {
            return Some(LongDouble { negative, ..LongDouble::ZERO });
        }
        let value = decimal.round(negative);
        (!value.is_infinite() && !value.is_zero()).then_some(value)
    }

    /// Neither infinite nor NaN. If a sum is not, Redis says `increment would produce NaN or Infinity`.
    pub fn is_finite(&self) -> bool {
        matches!(self.magnitude, Magnitude::Finite { .. })
    }

    /// Plus or minus infinity.
    pub fn is_infinite(&self) -> bool {
        self.magnitude == Magnitude::Infinite
    }

    /// Plus or minus zero.
    pub fn is_zero(&self) -> bool {
        matches!(self.magnitude, Magnitude::Finite { mantissa: 0, .. })
    }

    /// Below zero; minus zero is not.
    pub fn is_negative(&self) -> bool {
        self.negative && !self.is_zero()
    }

    /// Nearest double, ties to even; infinite if it is past the range of doubles. NaN stays NaN.
    pub fn to_f64(&self) -> f64 {
        let sign = if self.negative { -1.0 } else { 1.0 };
        match self.magnitude {
            Magnitude::Nan => f64::NAN,
            Magnitude::Infinite => f64::INFINITY * sign,
            Magnitude::Finite { mantissa, exponent } => {
                let hex = HexFloat {
                    negative: self.negative,
                    mantissa: u128::from(mantissa),
                    sticky: false,
                    exponent: i64::from(exponent),
                };
                hex.to_f64()
            }
        }
    }

    /// A time in seconds as whole milliseconds, rounded up, as the timeouts of blocking commands are read.
    ///
    /// `None` if it does not fit or is not finite. The product is rounded to the type's precision first, so `0.001` is
    /// 1.
    pub fn seconds_to_ms_ceil(&self) -> Option<i64> {
        let Magnitude::Finite { mantissa, exponent } = self.magnitude else { return None };
        let product = rounded(false, u128::from(mantissa) * 1_000, false, i64::from(exponent));
        let Magnitude::Finite { mantissa, exponent } = product.magnitude else { return None };
        let whole = if exponent >= 0 {
            if mantissa.leading_zeros() <= u32::from(exponent.unsigned_abs()) && mantissa != 0 {
                return None;
            }
            mantissa.checked_shl(u32::from(exponent.unsigned_abs())).unwrap_or(0)
        } else {
            let shift = u32::from(exponent.unsigned_abs());
            let floor = mantissa.checked_shr(shift).unwrap_or(0);
            let exact = floor.checked_shl(shift).unwrap_or(0) == mantissa;
            floor + u64::from(!exact && !self.negative)
        };
        let whole = i64::try_from(whole).ok()?;
        Some(if self.negative { -whole } else { whole })
    }

    /// Appends the text that Redis stores and replies: 17 decimals, then without zeros at the end, without a bare
    /// point, and `0` for minus zero. `inf`, `-inf` and `nan` for what is not finite.
    ///
    /// At most 4,934 bytes. Costs tens of nanoseconds for integer parts below 2^64, at most about a tenth of a
    /// millisecond for the longest.
    pub fn write_human(&self, out: &mut Vec<u8>) {
        let (mantissa, exponent) = match self.magnitude {
            Magnitude::Nan => return out.extend_from_slice(b"nan"),
            Magnitude::Infinite if self.negative => return out.extend_from_slice(b"-inf"),
            Magnitude::Infinite => return out.extend_from_slice(b"inf"),
            Magnitude::Finite { mantissa, exponent } => (mantissa, i64::from(exponent)),
        };
        let start = out.len();
        if self.negative {
            out.push(b'-');
        }
        if exponent >= 0 {
            write_integer(u128::from(mantissa), exponent as usize, out);
            return;
        }
        let (whole, fraction) = split(mantissa, exponent.unsigned_abs());
        if whole == 0 && fraction == 0 {
            out.truncate(start);
            out.push(b'0');
            return;
        }
        write_integer(whole, 0, out);
        if fraction != 0 {
            let digits = format!("{fraction:017}");
            out.push(b'.');
            out.extend_from_slice(digits.trim_end_matches('0').as_bytes());
        }
    }

    /// The text of [`LongDouble::write_human`] by itself.
    pub fn to_human(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(32);
        self.write_human(&mut text);
        text
    }
}

impl From<i64> for LongDouble {
    /// Exact.
    fn from(value: i64) -> LongDouble {
        rounded(value < 0, u128::from(value.unsigned_abs()), false, 0)
    }
}

impl std::ops::Neg for LongDouble {
    type Output = LongDouble;

    fn neg(self) -> LongDouble {
        LongDouble { negative: !self.negative, ..self }
    }
}

impl std::ops::Sub for LongDouble {
    type Output = LongDouble;

    fn sub(self, other: LongDouble) -> LongDouble {
        self + -other
    }
}

impl std::ops::Add for LongDouble {
    type Output = LongDouble;

    /// Nearest to the exact sum, ties to even; infinite if that is too large, NaN for infinities of both signs.
    fn add(self, other: LongDouble) -> LongDouble {
        use Magnitude::{Finite, Infinite, Nan};
        let nan = LongDouble { negative: false, magnitude: Nan };
        let ((m_a, e_a), (m_b, e_b)) = match (self.magnitude, other.magnitude) {
            (Nan, _) | (_, Nan) => return nan,
            (Infinite, Infinite) if self.negative != other.negative => return nan,
            (Infinite, _) => return self,
            (_, Infinite) => return other,
            (Finite { mantissa: m_a, exponent: e_a }, Finite { mantissa: m_b, exponent: e_b }) => {
                ((m_a, e_a), (m_b, e_b))
            }
        };
        // The larger one first. With equal exponents the mantissas decide; with different ones the larger exponent
        // does, since only values at the minimum have mantissas without their top bit.
        let (big_negative, big, small, small_negative, apart, exponent) = if (e_a, m_a) >= (e_b, m_b) {
            (self.negative, m_a, m_b, other.negative, e_a.abs_diff(e_b), e_a)
        } else {
            (other.negative, m_b, m_a, self.negative, e_b.abs_diff(e_a), e_b)
        };
        const GUARD_BITS: u32 = 62;
        let big = u128::from(big) << GUARD_BITS;
        let small = u128::from(small) << GUARD_BITS;
        let shifted = small.checked_shr(u32::from(apart)).unwrap_or(0);
        let lost = shifted.checked_shl(u32::from(apart)).unwrap_or(0) != small;
        let exponent = i64::from(exponent) - i64::from(GUARD_BITS);
        if big_negative == small_negative {
            return rounded(big_negative, big + shifted, lost, exponent);
        }
        // What was lost is taken off too: one less, and something between 0 and 1 on top.
        let difference = big - shifted - u128::from(lost);
        if difference == 0 && !lost {
            return LongDouble::ZERO;
        }
        rounded(big_negative, difference, lost, exponent)
    }
}

impl PartialEq for LongDouble {
    fn eq(&self, other: &LongDouble) -> bool {
        self.partial_cmp(other) == Some(Ordering::Equal)
    }
}

impl PartialOrd for LongDouble {
    /// By value; minus zero equals zero, NaN has no order.
    fn partial_cmp(&self, other: &LongDouble) -> Option<Ordering> {
        let magnitude = |value: &LongDouble| match value.magnitude {
            Magnitude::Nan => None,
            Magnitude::Infinite => Some((i16::MAX, 0)),
            Magnitude::Finite { mantissa: 0, .. } => Some((i16::MIN, 0)),
            Magnitude::Finite { mantissa, exponent } => Some((exponent, mantissa)),
        };
        let (a, b) = (magnitude(self)?, magnitude(other)?);
        Some(match (self.is_negative(), other.is_negative()) {
            (false, false) => a.cmp(&b),
            (true, true) => b.cmp(&a),
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
        })
    }
}

/// Why an increment is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IncrementError {
    /// The stored text or the increment is no float.
    NotAFloat,
    /// The sum is not finite.
    NotFinite,
}

impl std::fmt::Display for IncrementError {
    /// The words of `INCRBYFLOAT` on the wire, without the code in front.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            IncrementError::NotAFloat => "value is not a valid float",
            IncrementError::NotFinite => "increment would produce NaN or Infinity",
        })
    }
}

impl std::error::Error for IncrementError {}

/// `INCRBYFLOAT` as a whole: the text to store and to reply.
///
/// # Errors
/// As [`IncrementError`] says.
pub fn increment(stored: &[u8], by: &[u8]) -> Result<Vec<u8>, IncrementError> {
    let stored = LongDouble::parse(stored).ok_or(IncrementError::NotAFloat)?;
    let by = LongDouble::parse(by).ok_or(IncrementError::NotAFloat)?;
    let sum = stored + by;
    if sum.is_finite() { Ok(sum.to_human()) } else { Err(IncrementError::NotFinite) }
}

/// The value nearest to `(wide + something below 1 if sticky) * 2^exponent`, ties to even.
///
/// With `sticky`, `wide` must have at least 65 bits, so that there is a bit to round by.
fn rounded(negative: bool, wide: u128, sticky: bool, exponent: i64) -> LongDouble {
    if wide == 0 {
        return LongDouble { negative, ..LongDouble::ZERO };
    }
    let bits = i64::from(128 - wide.leading_zeros());
    // How many bits go: all above 64, and more if that would leave the exponent below the minimum.
    let drop = (bits - 64).max(EXPONENT_MIN - exponent);
    let mut exponent = exponent + drop;
    if exponent > EXPONENT_MAX {
        return LongDouble { negative, magnitude: Magnitude::Infinite };
    }
    let mut mantissa = if drop <= 0 {
        debug_assert!(!sticky, "dropped bits need room below the mantissa");
        wide << -drop
    } else if drop > 128 {
        0
    } else {
        let kept = wide.checked_shr(drop as u32).unwrap_or(0);
        let rest = wide << (128 - drop) as u32;
        let half = 1 << 127;
        kept + u128::from(rest > half || (rest == half && (sticky || kept & 1 == 1)))
    };
    if mantissa >> 64 != 0 {
        mantissa >>= 1;
        exponent += 1;
        if exponent > EXPONENT_MAX {
            return LongDouble { negative, magnitude: Magnitude::Infinite };
        }
    }
    if mantissa == 0 {
        return LongDouble { negative, ..LongDouble::ZERO };
    }
    LongDouble { negative, magnitude: Magnitude::Finite { mantissa: mantissa as u64, exponent: exponent as i16 } }
}

/// Integer part and 17 decimals of `mantissa / 2^shift`, rounded ties to even.
fn split(mantissa: u64, shift: u64) -> (u128, u64) {
    const SCALE: u128 = 100_000_000_000_000_000;
    // mantissa * 10^17 has at most 121 bits: past a shift of 122 it is less than half.
    if shift > 122 {
        return (0, 0);
    }
    let whole = u128::from(mantissa) >> shift;
    let scaled = (u128::from(mantissa) - (whole << shift)) * SCALE;
    let fraction = scaled >> shift;
    let rest = scaled - (fraction << shift);
    let half = 1 << (shift - 1);
    let fraction = fraction + u128::from(rest > half || (rest == half && fraction & 1 == 1));
    if fraction == SCALE { (whole + 1, 0) } else { (whole, fraction as u64) }
}

/// Appends `value * 2^shift` in decimal.
fn write_integer(value: u128, shift: usize, out: &mut Vec<u8>) {
    let bits = 128 - value.leading_zeros() as usize;
    if bits + shift <= 128 {
        out.extend_from_slice((value << shift).to_string().as_bytes());
        return;
    }
    let mut number = Natural::from(value);
    number.shift_left(shift);
    number.write_decimal(out);
}

/// An unsigned decimal as it was written: `0.digits * 10^point`.
struct Decimal {
    /// Values 0 to 9, without zeros at either end.
    digits: Vec<u8>,
    /// Exponent of ten of the last digit.
    last_power: i64,
}

impl Decimal {
    /// `None` if it is not digits with perhaps a point, perhaps `e` and an exponent.
    fn parse(text: &[u8]) -> Option<Decimal> {
        let mut digits: Vec<u8> = Vec::with_capacity(text.len().min(64));
        let (mut last_power, mut seen, mut after_point, mut at) = (0i64, false, false, 0);
        while let Some(&byte) = text.get(at) {
            match byte {
                b'.' if !after_point => after_point = true,
                b'0'..=b'9' => {
                    seen = true;
                    if byte != b'0' || !digits.is_empty() {
                        digits.push(byte - b'0');
                    }
                    if after_point {
                        last_power -= 1;
                    }
                }
                _ => break,
            }
            at += 1;
        }
        if !seen {
            return None;
        }
        match &text[at..] {
            [] => {}
            [b'e' | b'E', power @ ..] => last_power += parse_exponent(power)?,
            _ => return None,
        }
        while digits.last() == Some(&0) {
            digits.pop();
            last_power += 1;
        }
        Some(Decimal { digits, last_power })
    }

    /// The nearest value; there is at least one digit.
    fn round(&self, negative: bool) -> LongDouble {
        // The value is at least 10^(top - 1) and below 10^top.
        let top = self.digits.len() as i64 + self.last_power;
        if top > 4_933 {
            return LongDouble { negative, magnitude: Magnitude::Infinite };
        }
        if top < -4_951 {
            return LongDouble { negative, ..LongDouble::ZERO };
        }
        let power = self.last_power.unsigned_abs() as u32;
        if self.digits.len() <= 19 && power <= 27 {
            // 5^27 is below 2^63.
            let value = self.digits.iter().fold(0u64, |value, &digit| value * 10 + u64::from(digit));
            let five_power = u128::from(5u64.pow(power));
            if self.last_power >= 0 {
                return rounded(negative, u128::from(value) * five_power, false, self.last_power);
            }
            // A dividend of 128 bits and a divisor of at most 63: the quotient has at least 65.
            let zeros = value.leading_zeros();
            let dividend = u128::from(value << zeros) << 64;
            let exponent = -64 - i64::from(zeros) - i64::from(power);
            let (quotient, rest) = (dividend / five_power, dividend % five_power);
            return rounded(negative, quotient, rest != 0, exponent);
        }
        let mut number = Natural::default();
        for chunk in self.digits.chunks(19) {
            let value = chunk.iter().fold(0u64, |value, &digit| value * 10 + u64::from(digit));
            number.multiply_add(10u64.pow(chunk.len() as u32), value);
        }
        if self.last_power >= 0 {
            number.multiply_by_power_of_five(power);
            let (wide, sticky, exponent) = number.top_bits();
            return rounded(negative, wide, sticky, exponent + self.last_power);
        }
        let mut divisor = Natural::from(1);
        divisor.multiply_by_power_of_five(power);
        let (quotient, sticky, exponent) = number.divide(divisor);
        rounded(negative, quotient, sticky, exponent + self.last_power)
    }
}

/// A natural number of any length: limbs of 64 bits, least first, the last not 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Natural {
    limbs: Vec<u64>,
}

impl From<u128> for Natural {
    fn from(value: u128) -> Natural {
        let mut number = Natural { limbs: vec![value as u64, (value >> 64) as u64] };
        number.trim();
        number
    }
}

impl Natural {
    fn trim(&mut self) {
        while self.limbs.last() == Some(&0) {
            self.limbs.pop();
        }
    }

    fn bits(&self) -> usize {
        self.limbs.last().map_or(0, |last| self.limbs.len() * 64 - last.leading_zeros() as usize)
    }

    fn multiply_add(&mut self, factor: u64, addend: u64) {
        let mut carry = addend;
        for limb in &mut self.limbs {
            let product = u128::from(*limb) * u128::from(factor) + u128::from(carry);
            *limb = product as u64;
            carry = (product >> 64) as u64;
        }
        if carry != 0 {
            self.limbs.push(carry);
        }
    }

    fn multiply_by_power_of_five(&mut self, mut power: u32) {
        while power > 0 {
            let step = power.min(27);
            self.multiply_add(5u64.pow(step), 0);
            power -= step;
        }
    }

    fn shift_left(&mut self, shift: usize) {
        let (limbs, bits) = (shift / 64, shift % 64);
        if bits > 0 {
            self.multiply_add(1 << bits, 0);
        }
        self.limbs.splice(0..0, std::iter::repeat_n(0, limbs));
    }

    /// Shifts down; whether what fell off was not 0.
    fn shift_right(&mut self, shift: usize) -> bool {
        let (limbs, bits) = (shift / 64, shift % 64);
        let mut lost = self.limbs.drain(..limbs.min(self.limbs.len())).any(|limb| limb != 0);
        if bits > 0 {
            let mut above = 0;
            for limb in self.limbs.iter_mut().rev() {
                let low = *limb << (64 - bits);
                *limb = *limb >> bits | above;
                above = low;
            }
            lost |= above != 0;
        }
        self.trim();
        lost
    }

    /// The top 128 bits, whether there are others that are not 0, and the exponent of two they stand for.
    fn top_bits(mut self) -> (u128, bool, i64) {
        let drop = self.bits().saturating_sub(128);
        let lost = self.shift_right(drop);
        let low = self.limbs.first().copied().unwrap_or(0);
        let high = self.limbs.get(1).copied().unwrap_or(0);
        (u128::from(high) << 64 | u128::from(low), lost, drop as i64)
    }

    /// Quotient of 66 bits or more with the exponent of two it stands for, and whether there is a remainder.
    ///
    /// Long division with digits of 64 bits (Knuth, volume 2, algorithm D) on operands shifted so that it has two
    /// digits.
    fn divide(mut self, mut divisor: Natural) -> (u128, bool, i64) {
        // The divisor's top bit is bit 63 of a limb, and it has two limbs or more.
        let up = (64 - divisor.bits() % 64) % 64;
        let up = if divisor.bits() + up < 128 { up + 64 } else { up };
        divisor.shift_left(up);
        let wanted = divisor.bits() + 66;
        let have = self.bits();
        let mut sticky = false;
        if have <= wanted {
            self.shift_left(wanted - have);
        } else {
            sticky = self.shift_right(have - wanted);
        }
        let exponent = have as i64 - wanted as i64 + up as i64;

        let divisor = &divisor.limbs[..];
        let len = divisor.len();
        let (first, second) = (u128::from(divisor[len - 1]), u128::from(divisor[len - 2]));
        let rest = &mut self.limbs;
        debug_assert_eq!(rest.len(), len + 2);
        let mut quotient = 0u128;
        for at in [1, 0] {
            let top = u128::from(rest[at + len]) << 64 | u128::from(rest[at + len - 1]);
            let mut digit = top / first;
            let mut left = top % first;
            while digit >> 64 != 0 || digit * second > (left << 64 | u128::from(rest[at + len - 2])) {
                digit -= 1;
                left += first;
                if left >> 64 != 0 {
                    break;
                }
            }
            // Takes digit * divisor off; if that was one too many, gives one back.
            let (mut carry, mut borrow) = (0u128, false);
            for (limb, &part) in rest[at..].iter_mut().zip(divisor) {
                let product = digit * u128::from(part) + carry;
                carry = product >> 64;
                let (value, under_a) = limb.overflowing_sub(product as u64);
                let (value, under_b) = value.overflowing_sub(u64::from(borrow));
                *limb = value;
                borrow = under_a | under_b;
            }
            let (value, under_a) = rest[at + len].overflowing_sub(carry as u64);
            let (value, under_b) = value.overflowing_sub(u64::from(borrow));
            rest[at + len] = value;
            if under_a | under_b {
                digit -= 1;
                let mut carry = false;
                for (limb, &part) in rest[at..].iter_mut().zip(divisor) {
                    let (value, over_a) = limb.overflowing_add(part);
                    let (value, over_b) = value.overflowing_add(u64::from(carry));
                    *limb = value;
                    carry = over_a | over_b;
                }
                rest[at + len] = rest[at + len].wrapping_add(u64::from(carry));
            }
            quotient = quotient << 64 | digit;
        }
        sticky |= rest.iter().any(|&limb| limb != 0);
        (quotient, sticky, exponent)
    }

    fn write_decimal(mut self, out: &mut Vec<u8>) {
        let mut chunks = Vec::with_capacity(self.limbs.len() + self.limbs.len() / 50 + 1);
        while !self.limbs.is_empty() {
            let mut rest = 0;
            for limb in self.limbs.iter_mut().rev() {
                (*limb, rest) = divide_by_chunk(rest, *limb);
            }
            self.trim();
            chunks.push(rest);
        }
        let mut chunks = chunks.into_iter().rev();
        if let Some(first) = chunks.next() {
            out.extend_from_slice(first.to_string().as_bytes());
        }
        for chunk in chunks {
            out.extend_from_slice(format!("{chunk:019}").as_bytes());
        }
    }
}

/// The most decimal digits that fit a limb. Its top bit is set, as [`divide_by_chunk`] needs.
const CHUNK: u64 = 10_000_000_000_000_000_000;

/// Quotient and remainder of `high * 2^64 + low` by [`CHUNK`], for `high < CHUNK`: by multiplication with the
/// reciprocal (Möller and Granlund), since a division of 128 bits costs ten times as much.
fn divide_by_chunk(high: u64, low: u64) -> (u64, u64) {
    const RECIPROCAL: u64 = (u128::MAX / CHUNK as u128 - (1 << 64)) as u64;
    let estimate = u128::from(RECIPROCAL) * u128::from(high) + (u128::from(high) << 64 | u128::from(low));
    let (mut quotient, low_part) = (((estimate >> 64) as u64).wrapping_add(1), estimate as u64);
    let mut rest = low.wrapping_sub(quotient.wrapping_mul(CHUNK));
    if rest > low_part {
        quotient = quotient.wrapping_sub(1);
        rest = rest.wrapping_add(CHUNK);
    }
    if rest >= CHUNK {
        quotient = quotient.wrapping_add(1);
        rest -= CHUNK;
    }
    (quotient, rest)
}

#[cfg(test)]
mod tests {
    use super::IncrementError::{NotAFloat, NotFinite};
    use super::*;

    /// Stored text, increment, answer of a Redis 8.0.6 on x86-64.
    type Answer = (&'static str, &'static str, Result<&'static str, IncrementError>);

    const ANSWERS: &[Answer] = &[
        ("0", "0.1", Ok("0.1")),
        ("0.1", "0.2", Ok("0.3")),
        ("3", "1.1", Ok("4.1")),
        ("10.50", "0.1", Ok("10.6")),
        ("5.0e3", "2.0e2", Ok("5200")),
        ("1", "-1.1", Ok("-0.1")),
        ("0", "-0", Ok("0")),
        ("-0", "0", Ok("0")),
        ("0", "-1e-30", Ok("0")),
        ("0.1", "-0.1", Ok("0")),
        ("3.0e3", "200", Ok("3200")),
        ("1.5", "1.5", Ok("3")),
        (".5", "5.", Ok("5.5")),
        ("+5", "+.25", Ok("5.25")),
        ("17179869184", "1", Ok("17179869185")),
        ("9007199254740993", "0", Ok("9007199254740993")),
        ("9223372036854775807", "1", Ok("9223372036854775808")),
        ("-9223372036854775808", "-1", Ok("-9223372036854775809")),
        ("18446744073709551615", "1", Ok("18446744073709551616")),
        ("18446744073709551617", "0", Ok("18446744073709551616")),
        ("36893488147419103234", "0", Ok("36893488147419103232")),
        ("36893488147419103230", "0", Ok("36893488147419103230")),
        ("36893488147419103235", "0", Ok("36893488147419103236")),
        ("18446744073709551615", "0.5", Ok("18446744073709551616")),
        ("18446744073709551614", "0.5", Ok("18446744073709551614")),
        ("9223372036854775808.5", "0", Ok("9223372036854775808")),
        ("9223372036854775809.5", "0.25", Ok("9223372036854775810")),
        ("0.000000000000000005", "0", Ok("0")),
        ("0.00000000000000001", "0", Ok("0.00000000000000001")),
        ("0.0000000000000000149999", "0", Ok("0.00000000000000001")),
        ("0.000000000000000015", "0", Ok("0.00000000000000002")),
        ("0.99999999999999999", "0", Ok("0.99999999999999999")),
        ("0.999999999999999995", "0", Ok("1")),
        ("9.999999999999999999", "0", Ok("10")),
        ("0.999999999999999994", "0", Ok("0.99999999999999999")),
        ("1.00000000000000001", "0", Ok("1.00000000000000001")),
        ("123456789.123456789123456789", "0", Ok("123456789.12345678912242875")),
        ("3.141592653589793238462643383279", "0", Ok("3.14159265358979324")),
        ("2.718281828459045235360287471352", "3.141592653589793238462643383279", Ok("5.85987448204883847")),
        ("1e17", "0.1", Ok("100000000000000000.1015625")),
        ("1e18", "0.1", Ok("1000000000000000000.125")),
        ("1e19", "0.1", Ok("10000000000000000000")),
        ("1e20", "0.1", Ok("100000000000000000000")),
        ("1e22", "-1", Ok("10000000000000000000000")),
        ("1e30", "1", Ok("1000000000000000000024696061952")),
        ("1e-17", "0", Ok("0.00000000000000001")),
        ("1e-18", "0", Ok("0")),
        ("5e-18", "0", Ok("0")),
        ("1e-4950", "0", Ok("0")),
        ("3.6e-4951", "3.6e-4951", Ok("0")),
        ("0x10", "0", Ok("16")),
        ("0x1.8p1", "0x.8", Ok("3.5")),
        ("0x1p-17", "0", Ok("0.00000762939453125")),
        ("-0x1p64", "1", Ok("-18446744073709551615")),
        ("0x1.0000000000000001p63", "0.5", Ok("9223372036854775808")),
        ("1e16", "1e-16", Ok("10000000000000000")),
        ("123456789012345678", "0.123456789", Ok("123456789012345678.125")),
        ("-1.1", "1.1", Ok("0")),
        ("4.35", "100", Ok("104.35")),
        ("1234567890123456789012", "-1234567890123456789011", Ok("0")),
        ("inf", "1", Err(NotFinite)),
        ("1", "-inf", Err(NotFinite)),
        ("inf", "-inf", Err(NotFinite)),
        ("nan", "1", Err(NotAFloat)),
        ("1", " 1", Err(NotAFloat)),
        ("1 ", "1", Err(NotAFloat)),
        ("", "1", Err(NotAFloat)),
        ("1", "", Err(NotAFloat)),
        ("1e4932", "1e4932", Err(NotFinite)),
        ("1.2e4932", "0", Err(NotAFloat)),
        ("1e-4951", "0", Err(NotAFloat)),
        ("1e999999999", "0", Err(NotAFloat)),
        ("1", "1e-999999999", Err(NotAFloat)),
        ("0e999999999", "1", Ok("1")),
        ("0x1p16384", "0", Err(NotAFloat)),
        ("0x1p-16446", "0", Err(NotAFloat)),
        ("0x1.8p-16446", "0", Ok("0")),
        ("1", "0x", Err(NotAFloat)),
        ("1", "1e", Err(NotAFloat)),
        ("1", ".", Err(NotAFloat)),
    ];

    #[test]
    fn answers_are_those_of_redis() {
        for (stored, by, expected) in ANSWERS {
            let answer = increment(stored.as_bytes(), by.as_bytes());
            let answer = answer.as_deref().map(|text| std::str::from_utf8(text).unwrap_or("not UTF-8"));
            assert_eq!(answer, expected.as_ref().copied(), "{stored} + {by}");
        }
    }

    #[test]
    fn the_largest_numbers_are_written_in_full() {
        let largest = LongDouble::MAX.to_human();
        assert_eq!(largest.len(), 4_933);
        assert!(largest.starts_with(b"118973149535723176502126385303097020516906332229462420044032373389173700"));
        assert!(largest.ends_with(b"4156604419552086811989770240"));
        assert_eq!(LongDouble::parse(&largest), Some(LongDouble::MAX));
        let text = (-LongDouble::parse(b"1e4931").unwrap()).to_human();
        assert!(text.starts_with(b"-100000000000000000000601894938796389132383777425453311477378"));
        assert!(text.ends_with(b"35472858935087637937116314108653841811379188662272"));
    }

    #[test]
    fn text_is_read_up_to_5119_bytes() {
        let zeros = |len: usize| format!("{}1", "0".repeat(len - 1)).into_bytes();
        assert_eq!(LongDouble::parse(&zeros(5_119)), Some(LongDouble::from(1)));
        assert_eq!(LongDouble::parse(&zeros(5_120)), None);
        let nines = format!("{}.{}e-100", "9".repeat(2_500), "9".repeat(2_500));
        assert!(LongDouble::parse(nines.as_bytes()).is_some());
        let tiny = format!("0.{}1e5000", "0".repeat(5_000));
        assert_eq!(increment(tiny.as_bytes(), b"0").as_deref(), Ok(&b"0.1"[..]));
    }

    #[test]
    fn texts_that_are_written_are_read_back_as_the_same_value() {
        let mut seed = 11u64;
        for _ in 0..2_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Values from 1 on whose last bit is worth 2^-46 or more: 17 decimals tell them apart.
            let value = rounded(seed & 1 == 1, u128::from(seed | 1 << 63), false, (seed >> 40) as i64 % 100 - 46);
            assert_eq!(LongDouble::parse(&value.to_human()), Some(value));
            let whole = (seed >> 8) as i64 - (1 << 55);
            assert_eq!(LongDouble::from(whole).to_human(), whole.to_string().as_bytes());
        }
    }

    #[test]
    fn sums_do_not_depend_on_the_order() {
        let texts =
            ["0", "1", "-1", "1e30", "-1e30", "1e-30", "0.1", "-3e-4951", "9e4931", "18446744073709551615", "inf"];
        for a in texts {
            for b in texts {
                let (a, b) = (LongDouble::parse(a.as_bytes()).unwrap(), LongDouble::parse(b.as_bytes()).unwrap());
                assert_eq!((a + b).to_human(), (b + a).to_human());
                assert_eq!((-a - b).to_human(), (-(a + b)).to_human());
            }
        }
    }

    #[test]
    fn values_are_ordered() {
        let ascending =
            ["-inf", "-1e4931", "-2", "-1.5", "-3.7e-4951", "0", "3.7e-4951", "1e-4940", "1", "1.5", "2", "inf"];
        let values = ascending.map(|text| LongDouble::parse(text.as_bytes()).unwrap());
        for (i, a) in values.iter().enumerate() {
            for (j, b) in values.iter().enumerate() {
                assert_eq!(a.partial_cmp(b), Some(i.cmp(&j)), "{a:?} {b:?}");
            }
        }
        assert_eq!(LongDouble::parse(b"-0"), Some(LongDouble::ZERO));
        let nan = values[0] + values[11];
        assert!(!nan.is_finite() && nan != nan);
        assert_eq!(nan.to_human(), b"nan");
    }

    #[test]
    fn doubles_are_the_nearest() {
        for text in ["0", "0.1", "1e300", "-1e-320", "123456789.987654321", "9007199254740993", "2.5e-324"] {
            assert_eq!(Some(LongDouble::parse(text.as_bytes()).unwrap().to_f64()), text.parse().ok(), "{text}");
        }
        assert_eq!(LongDouble::MAX.to_f64(), f64::INFINITY);
        assert_eq!(LongDouble::parse(b"-inf").unwrap().to_f64(), f64::NEG_INFINITY);
    }

    #[test]
    fn timeouts_are_rounded_up_to_milliseconds() {
        for (text, expected) in [
            ("0", Some(0)),
            ("0.001", Some(1)),
            ("0.0010001", Some(2)),
            ("0.1", Some(100)),
            ("1.5", Some(1_500)),
            ("-0.0015", Some(-1)),
            ("-2", Some(-2_000)),
            ("1e-4940", Some(1)),
            ("9223372036854775", Some(9_223_372_036_854_775_000)),
            ("9223372036854776", None),
            ("1e30", None),
            ("1e4932", None),
            ("inf", None),
        ] {
            assert_eq!(LongDouble::parse(text.as_bytes()).unwrap().seconds_to_ms_ceil(), expected, "{text}");
        }
    }

    #[test]
    fn chunks_divide_as_wide_integers_do() {
        let mut seed = 5u64;
        for round in 0..10_000u64 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let high = if round % 7 == 0 { CHUNK - 1 } else { seed % CHUNK };
            let low = if round % 5 == 0 { u64::MAX } else { seed.rotate_left(31) };
            let wide = u128::from(high) << 64 | u128::from(low);
            let (quotient, rest) = divide_by_chunk(high, low);
            assert_eq!((u128::from(quotient), u128::from(rest)), (wide / u128::from(CHUNK), wide % u128::from(CHUNK)));
        }
    }
}
