//! What is read of an X.509 certificate besides what rustls checks: serial number, end of validity, names, public key.

use super::der::{Der, tag};

/// Object identifiers, as their bytes.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// A certificate taken apart. Borrows from its DER form.
#[derive(Clone, Copy, Debug)]
pub(super) struct Certificate<'a> {
    serial: &'a [u8],
    not_after_s: i64,
    subject: Der<'a>,
    public_key: &'a [u8],
    extensions: Option<Der<'a>>,
}

impl<'a> Certificate<'a> {
    /// Reads one; `None` if the bytes are no certificate. Checks no signature.
    pub(super) fn parse(der: &'a [u8]) -> Option<Certificate<'a>> {
        let mut certificate = Der::new(der).enter(tag::SEQUENCE)?;
        let mut body = certificate.enter(tag::SEQUENCE)?;
        body.optional(tag::CONTEXT_0);
        let serial = body.expect(tag::INTEGER)?.content;
        body.expect(tag::SEQUENCE)?;
        body.expect(tag::SEQUENCE)?;
        let mut validity = body.enter(tag::SEQUENCE)?;
        validity.any()?;
        let not_after = validity.any()?;
        let not_after_s = time(not_after.tag, not_after.content)?;
        let subject = body.enter(tag::SEQUENCE)?;
        let public_key = body.expect(tag::SEQUENCE)?.whole;
        let extensions = body.find(|element| element.tag == tag::CONTEXT_3);
        let extensions = extensions.and_then(|element| Der::new(element.content).enter(tag::SEQUENCE));
        Some(Certificate { serial, not_after_s, subject, public_key, extensions })
    }

    /// The serial number in hexadecimal digits, two for each byte.
    pub(super) fn serial(&self) -> String {
        let bytes = match self.serial {
            // Only there to make the number positive.
            [0, rest @ ..] if !rest.is_empty() => rest,
            bytes => bytes,
        };
        bytes.iter().map(|byte| format!("{byte:02X}")).collect()
    }

    /// When it expires, in unix seconds.
    pub(super) fn not_after_s(&self) -> i64 {
        self.not_after_s
    }

    /// Its public key with algorithm, in DER.
    pub(super) fn public_key(&self) -> &'a [u8] {
        self.public_key
    }

    /// The first common name of its subject, if it is text.
    pub(super) fn common_name(&self) -> Option<&'a str> {
        self.subject.flat_map(|set| Der::new(set.content)).find_map(|attribute| {
            let mut attribute = Der::new(attribute.content);
            attribute.expect(tag::OID).filter(|oid| oid.content == COMMON_NAME)?;
            let value = attribute.any()?;
            match value.tag {
                tag::UTF8 | tag::PRINTABLE | tag::T61 | tag::IA5 => text(value.content),
                _ => None,
            }
        })
    }

    /// The URIs among its alternative names, in their order.
    pub(super) fn uris(&self) -> Vec<&'a str> {
        let Some(extensions) = self.extensions else { return Vec::new() };
        let names = extensions.into_iter().find_map(|extension| {
            let mut extension = Der::new(extension.content);
            extension.expect(tag::OID).filter(|oid| oid.content == SUBJECT_ALTERNATIVE_NAME)?;
            // Whether it is critical may stand between.
            let value = extension.find(|element| element.tag == tag::OCTET_STRING)?;
            Der::new(value.content).enter(tag::SEQUENCE)
        });
        let uris = names.into_iter().flatten().filter(|name| name.tag == tag::URI);
        uris.filter_map(|uri| text(uri.content)).collect()
    }
}

/// Text that may be a name: a zero byte in it is meant to deceive.
fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| !text.is_empty() && !text.contains('\0'))
}

/// A point in time, in unix seconds.
fn time(kind: u8, text: &[u8]) -> Option<i64> {
    let digits = text.strip_suffix(b"Z")?;
    let (year, rest) = match kind {
        tag::UTC_TIME if digits.len() == 12 => {
            let short = number(&digits[..2])?;
            (if short < 50 { 2000 + short } else { 1900 + short }, &digits[2..])
        }
        tag::GENERALIZED_TIME if digits.len() == 14 => (number(&digits[..4])?, &digits[4..]),
        _ => return None,
    };
    let mut parts = rest.chunks_exact(2).map(number);
    let mut part = || parts.next().flatten();
    let (month, day, hour, minute, second) = (part()?, part()?, part()?, part()?, part()?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    Some(((days_since_1970(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0')))
}

/// Days between 1970 and a date of the Gregorian calendar. Years are taken to begin in March, so that the day that comes
/// and goes is their last; a month then begins after 30.6 days for each before it.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    365 * year + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_since_1970() {
        assert_eq!(time(tag::UTC_TIME, b"700101000000Z"), Some(0));
        assert_eq!(time(tag::UTC_TIME, b"000229120000Z"), Some(951_825_600));
        assert_eq!(time(tag::UTC_TIME, b"491231235959Z"), Some(2_524_607_999));
        assert_eq!(time(tag::GENERALIZED_TIME, b"20500101000000Z"), Some(2_524_608_000));
        assert_eq!(time(tag::GENERALIZED_TIME, b"99991231235959Z"), Some(253_402_300_799));
        for bad in [&b""[..], b"Z", b"7001010000Z", b"70010100000xZ", b"701301000000Z", b"700100000000Z"] {
            assert_eq!(time(tag::UTC_TIME, bad), None, "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn names_with_a_zero_byte_are_none() {
        assert_eq!(text(b"admin\0.example"), None);
        assert_eq!(text(b""), None);
        assert_eq!(text("Zoë".as_bytes()), Some("Zoë"));
    }
}
