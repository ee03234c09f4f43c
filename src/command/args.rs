//! Reading arguments: numbers, and words one by one for commands with options.

use super::error::Error;
use weir_resp::Argv;
use weir_structs::decimal::LongDouble;
use weir_structs::number;

/// A signed 64-bit integer in the strict form of the protocol (no sign `+`, no leading zeros, no spaces).
#[inline]
pub fn int(arg: &[u8]) -> Result<i64, Error> {
    number::parse_i64(arg).ok_or(Error::NOT_INTEGER)
}

/// An integer within a range, or the error of the protocol's range check.
pub fn int_in(arg: &[u8], min: i64, max: i64) -> Result<i64, Error> {
    let value = int(arg)?;
    if value < min || value > max { Err(Error::not_in_range(min, max)) } else { Ok(value) }
}

/// A finite or infinite double in decimal notation; not NaN.
pub fn float(arg: &[u8]) -> Result<f64, Error> {
    let is_decimal = !arg.iter().any(|byte| matches!(byte, b'x' | b'X'));
    number::parse_f64(arg).filter(|_| is_decimal).ok_or(Error::NOT_FLOAT)
}

/// Until when a command may wait, in Unix ms, of a timeout in seconds, with a fraction perhaps; `None` for 0, which is as
/// long as it takes.
pub fn timeout_s(arg: &[u8], now_ms: i64) -> Result<Option<i64>, Error> {
    let seconds = LongDouble::parse(arg).ok_or(Error::TIMEOUT_NOT_FLOAT)?;
    match seconds.seconds_to_ms_ceil() {
        Some(ms) => deadline(ms, now_ms),
        None if seconds.is_negative() => Err(Error::TIMEOUT_NEGATIVE),
        None => Err(Error::TIMEOUT_OUT_OF_RANGE),
    }
}

/// The same of a timeout in whole milliseconds.
pub fn timeout_ms(arg: &[u8], now_ms: i64) -> Result<Option<i64>, Error> {
    deadline(number::parse_i64(arg).ok_or(Error::TIMEOUT_NOT_INTEGER)?, now_ms)
}

fn deadline(ms: i64, now_ms: i64) -> Result<Option<i64>, Error> {
    match ms {
        ..0 => Err(Error::TIMEOUT_NEGATIVE),
        0 => Ok(None),
        _ => ms.checked_add(now_ms).map(Some).ok_or(Error::TIMEOUT_OUT_OF_RANGE),
    }
}

/// A unit and a beginning of time in which clients give moments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimeForm {
    /// From now, in seconds.
    Seconds,
    /// From now, in milliseconds.
    Milliseconds,
    /// Unix time in seconds.
    UnixSeconds,
    /// Unix time in milliseconds.
    UnixMilliseconds,
}

impl TimeForm {
    /// The moment in unix ms; `None` if that does not fit.
    pub fn unix_ms(self, number: i64, now_ms: i64) -> Option<i64> {
        match self {
            TimeForm::Seconds => number.checked_mul(1000)?.checked_add(now_ms),
            TimeForm::Milliseconds => number.checked_add(now_ms),
            TimeForm::UnixSeconds => number.checked_mul(1000),
            TimeForm::UnixMilliseconds => Some(number),
        }
    }
}

/// A moment as an option gives it: `EX 10`, `PXAT 1700000000000`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimeOption<'a> {
    /// What the number means.
    pub form: TimeForm,
    /// The number, not read yet.
    pub number: &'a [u8],
}

impl TimeOption<'_> {
    /// The moment in unix ms; perhaps past already if it was given as unix time.
    ///
    /// # Errors
    /// The number is none, is not above zero, or too large for the moment to fit.
    pub fn unix_ms(self, command: &str, now_ms: i64) -> Result<i64, Error> {
        let number = int(self.number)?;
        let moment = if number > 0 { self.form.unix_ms(number, now_ms) } else { None };
        moment.ok_or_else(|| Error::invalid_expire(command))
    }
}

/// What becomes of a key's deadline, as one of the options says that exclude each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExpiryOption<'a> {
    /// `KEEPTTL`
    Keep,
    /// `PERSIST`
    Persist,
    /// `EX`, `PX`, `EXAT`, `PXAT`
    At(TimeOption<'a>),
}

impl<'a> ExpiryOption<'a> {
    /// Takes the next word if it is such an option; of `KEEPTTL` and `PERSIST` a command knows only `known`. The same
    /// option again is fine, and its last number counts.
    ///
    /// # Errors
    /// Another one came before, or there is no number.
    pub fn take(
        words: &mut Words<'a>,
        so_far: &mut Option<ExpiryOption<'a>>,
        known: ExpiryOption<'static>,
    ) -> Result<bool, Error> {
        let form = if words.accept("EX") {
            Some(TimeForm::Seconds)
        } else if words.accept("PX") {
            Some(TimeForm::Milliseconds)
        } else if words.accept("EXAT") {
            Some(TimeForm::UnixSeconds)
        } else if words.accept("PXAT") {
            Some(TimeForm::UnixMilliseconds)
        } else if words.accept(if known == ExpiryOption::Keep { "KEEPTTL" } else { "PERSIST" }) {
            None
        } else {
            return Ok(false);
        };
        let taken = match form {
            Some(form) => ExpiryOption::At(TimeOption { form, number: words.expect()? }),
            None => known,
        };
        let same = match (*so_far, taken) {
            (None, _) => true,
            (Some(ExpiryOption::At(before)), ExpiryOption::At(now)) => before.form == now.form,
            (Some(before), now) => before == now,
        };
        if !same {
            return Err(Error::SYNTAX);
        }
        *so_far = Some(taken);
        Ok(true)
    }
}

/// The arguments of a command from some place on.
#[derive(Clone)]
pub struct Words<'a> {
    argv: Argv<'a>,
    at: usize,
    end: usize,
}

impl<'a> Words<'a> {
    /// From argument `at` on.
    pub fn new(argv: Argv<'a>, at: usize) -> Words<'a> {
        Words { argv, at, end: argv.len() }
    }

    /// Number of words left.
    pub fn left(&self) -> usize {
        self.end.saturating_sub(self.at)
    }

    /// The same words, but only as far as the argument `end`.
    pub fn until(&self, end: usize) -> Words<'a> {
        Words { end: end.min(self.end), ..self.clone() }
    }

    /// Index, among all arguments, of the next word.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The next word, without taking it.
    pub fn peek(&self) -> Option<&'a [u8]> {
        if self.at < self.end { self.argv.get(self.at) } else { None }
    }

    /// Takes the next word if it is `word` (upper or lower case).
    pub fn accept(&mut self, word: &str) -> bool {
        let is = self.peek().is_some_and(|w| w.eq_ignore_ascii_case(word.as_bytes()));
        self.at += usize::from(is);
        is
    }

    /// The next word, or a syntax error where there is none.
    pub fn expect(&mut self) -> Result<&'a [u8], Error> {
        self.next().ok_or(Error::SYNTAX)
    }

    /// The next word as an integer; a syntax error where there is none.
    pub fn expect_int(&mut self) -> Result<i64, Error> {
        int(self.expect()?)
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let word = self.peek()?;
        self.at += 1;
        Some(word)
    }
}

/// Whether two words are the same in upper or lower case.
#[inline]
pub fn is(word: &[u8], name: &str) -> bool {
    word.eq_ignore_ascii_case(name.as_bytes())
}
