//! Rules of gray releases: who sees them.

use super::fields::{Fields, put_bytes, put_number};
use super::labels::{Labels, PATTERN_BYTES_MAX, is_in_share, read_pattern};
use crate::command::error::Error;
use weir_structs::number::parse_u64;

/// Conditions of a rule at most.
pub const CONDITIONS_MAX: usize = 64;
/// Bytes of a condition's value at most.
const WANTED_BYTES_MAX: usize = 16 * 1024;
/// A share of everything, in ten thousandths.
const ALL: u64 = 10_000;

/// What of a label a condition asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Test {
    /// One of the values that commas separate.
    In,
    /// This value.
    Eq,
    /// All of it matches a pattern.
    Re,
    /// It is in a share of all values, in per cent, with at most two places behind the point.
    Pct,
}

impl Test {
    /// By its name.
    pub fn parse(word: &[u8]) -> Option<Test> {
        let all = [Test::In, Test::Eq, Test::Re, Test::Pct];
        all.into_iter().find(|test| word.eq_ignore_ascii_case(test.name().as_bytes()))
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Test::In => "IN",
            Test::Eq => "EQ",
            Test::Re => "RE",
            Test::Pct => "PCT",
        }
    }
}

/// One condition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Condition<'c> {
    /// The name of the label.
    pub label: &'c [u8],
    /// What is asked of it.
    pub test: Test,
    /// With what.
    pub wanted: &'c [u8],
}

impl Condition<'_> {
    fn check(&self) -> Result<(), Error> {
        if self.label.is_empty() || self.wanted.len() > WANTED_BYTES_MAX {
            return Err(Error::cfg_limit(&format!("a condition is on a label, with at most {WANTED_BYTES_MAX} bytes")));
        }
        match self.test {
            Test::In | Test::Eq => Ok(()),
            Test::Re if read_pattern(self.wanted).is_some() => Ok(()),
            Test::Re => {
                let why =
                    format!("RE wants a regular expression of at most {PATTERN_BYTES_MAX} bytes that is not too large");
                Err(Error::cfg_release(&why))
            }
            Test::Pct if share(self.wanted).is_some() => Ok(()),
            Test::Pct => Err(Error::cfg_release("PCT wants a number from 0 to 100")),
        }
    }

    /// Whether it holds, for the gray release of that name. A label that is missing fulfils nothing.
    fn holds(&self, name: &[u8], labels: &Labels) -> bool {
        let Some(value) = labels.get(self.label) else { return false };
        match self.test {
            Test::In => self.wanted.split(|byte| *byte == b',').any(|one| one == value),
            Test::Eq => self.wanted == value,
            Test::Re => labels.matches(self.wanted, value),
            Test::Pct => is_in_share(name, value, share(self.wanted).unwrap_or(0)),
        }
    }
}

/// Per cent with at most two places behind the point, in ten thousandths.
fn share(text: &[u8]) -> Option<u64> {
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let whole = parse_u64(parts.next()?)?;
    let hundredths = match parts.next() {
        None => 0,
        Some(places) if places.len() <= 2 && places.iter().all(u8::is_ascii_digit) => match places {
            [tens] => u64::from(tens - b'0') * 10,
            [tens, ones] => u64::from(tens - b'0') * 10 + u64::from(ones - b'0'),
            _ => return None,
        },
        Some(_) => return None,
    };
    whole.checked_mul(100)?.checked_add(hundredths).filter(|share| *share <= ALL)
}

/// A rule: all conditions must hold. Of several whose conditions do, that of the highest priority counts, and of those the one
/// whose name is first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule<'r> {
    /// Its priority.
    pub priority: i64,
    /// Its conditions.
    pub conditions: Vec<Condition<'r>>,
}

impl<'r> Rule<'r> {
    /// Whether it can be kept.
    ///
    /// # Errors
    /// It has no conditions, or too many; one of them cannot be asked.
    pub(super) fn check(&self) -> Result<(), Error> {
        if !(1..=CONDITIONS_MAX).contains(&self.conditions.len()) {
            return Err(Error::cfg_limit(&format!("a rule has 1 to {CONDITIONS_MAX} conditions")));
        }
        self.conditions.iter().try_for_each(Condition::check)
    }

    /// As it is kept.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_number(&mut out, self.priority as u64);
        for Condition { label, test, wanted } in &self.conditions {
            put_bytes(&mut out, label);
            put_number(&mut out, *test as u64);
            put_bytes(&mut out, wanted);
        }
        out
    }

    /// As it was kept; `None` of any other bytes.
    pub(super) fn from_bytes(bytes: &'r [u8]) -> Option<Rule<'r>> {
        let mut kept = Kept::new(bytes)?;
        let mut conditions = Vec::new();
        while !kept.conditions.is_over() {
            conditions.push(kept.condition()?);
        }
        Some(Rule { priority: kept.priority, conditions })
    }
}

/// A rule that is read condition by condition, of any bytes.
struct Kept<'k> {
    priority: i64,
    conditions: Fields<'k>,
}

impl<'k> Kept<'k> {
    fn new(bytes: &'k [u8]) -> Option<Kept<'k>> {
        let mut conditions = Fields(bytes);
        Some(Kept { priority: conditions.number()? as i64, conditions })
    }

    fn condition(&mut self) -> Option<Condition<'k>> {
        let label = self.conditions.bytes()?;
        let test = match self.conditions.number()? {
            0 => Test::In,
            1 => Test::Eq,
            2 => Test::Re,
            3 => Test::Pct,
            _ => return None,
        };
        Some(Condition { label, test, wanted: self.conditions.bytes()? })
    }
}

/// The priority of a rule, as it is kept, if all its conditions hold for these labels.
pub(super) fn applies(bytes: &[u8], name: &[u8], labels: &Labels) -> Option<i64> {
    let mut kept = Kept::new(bytes)?;
    if kept.conditions.is_over() {
        return None;
    }
    while !kept.conditions.is_over() {
        if !kept.condition()?.holds(name, labels) {
            return None;
        }
    }
    Some(kept.priority)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn rule(priority: i64, conditions: &[(&'static str, Test, &'static str)]) -> Rule<'static> {
        let condition = |(label, test, wanted): &(&'static str, Test, &'static str)| Condition {
            label: label.as_bytes(),
            test: *test,
            wanted: wanted.as_bytes(),
        };
        Rule { priority, conditions: conditions.iter().map(condition).collect() }
    }

    #[test]
    fn all_conditions_must_hold_and_labels_be_there() {
        let pairs: [(&[u8], &[u8]); 2] = [(b"zone", b"eu-1"), (b"version", b"1.2.3")];
        let labels = Labels::new(&pairs, &Arc::default()).expect("labels");
        let holds = |conditions: &[(&'static str, Test, &'static str)]| {
            applies(&rule(-3, conditions).to_bytes(), b"canary", &labels) == Some(-3)
        };
        assert!(holds(&[("zone", Test::Eq, "eu-1")]));
        assert!(holds(&[("zone", Test::In, "us-1,eu-1"), ("version", Test::Re, r"1\.2\..*")]));
        assert!(!holds(&[("zone", Test::In, "us-1,eu-1"), ("version", Test::Re, r"1\.2")]));
        assert!(!holds(&[("zone", Test::In, "eu-1 ,eu")]));
        assert!(!holds(&[("zone", Test::Eq, "EU-1")]));
        assert!(holds(&[("zone", Test::Pct, "100")]) && !holds(&[("zone", Test::Pct, "0")]));
        assert!(!holds(&[("host", Test::Pct, "100")]) && !holds(&[("host", Test::Eq, "")]));
        assert!(!holds(&[]));
        assert_eq!(applies(b"", b"canary", &labels), None);
        assert_eq!(applies(b"\x01\x05abc", b"canary", &labels), None);
    }

    #[test]
    fn rules_are_kept_as_they_are() {
        let all = rule(
            i64::MIN,
            &[("a", Test::In, "1,2"), ("b", Test::Eq, ""), ("c", Test::Re, "x*"), ("d", Test::Pct, "0.5")],
        );
        assert_eq!(Rule::from_bytes(&all.to_bytes()), Some(all.clone()));
        all.check().expect("a rule");
        let bytes = all.to_bytes();
        for end in 0..bytes.len() {
            let _ = Rule::from_bytes(&bytes[..end]);
        }
        for wrong in ["101", "-1", "1.234", "x", "", "100.01", "1.", "+1"] {
            assert_eq!(share(wrong.as_bytes()), None, "{wrong}");
        }
        for (text, hundredths) in [("0", 0), ("100", 10_000), ("0.5", 50), ("12.34", 1_234), ("7.05", 705)] {
            assert_eq!(share(text.as_bytes()), Some(hundredths));
        }
        assert!(rule(0, &[]).check().is_err());
        assert!(rule(0, &[("a", Test::Re, "(")]).check().is_err());
        assert!(rule(0, &[("a", Test::Pct, "101")]).check().is_err());
        assert!(rule(0, &[("", Test::Eq, "x")]).check().is_err());
    }
}
