//! Passwords: kept and compared as SHA-256 digests.
//!
//! A digest has one length whatever the password, and digests are compared in a time that does not depend on where they
//! differ: so neither a password nor the digest of one can be felt for byte by byte.

use rand::TryRngCore;
use sha2::Digest as _;
use subtle::ConstantTimeEq;

/// SHA-256 of a password.
#[derive(Clone, Copy, Debug)]
pub(super) struct Digest([u8; 32]);

/// Digits of a digest.
const HEX_LEN: usize = 64;

impl Digest {
    /// Of a password.
    pub(super) fn of(password: &[u8]) -> Digest {
        Digest(sha2::Sha256::digest(password).into())
    }

    /// Reads 64 hexadecimal digits, letters in lower case.
    pub(super) fn from_hex(hex: &[u8]) -> Option<Digest> {
        if hex.len() != HEX_LEN {
            return None;
        }
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            let [high, low] = pair else { return None };
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Some(Digest(bytes))
    }

    /// 64 hexadecimal digits.
    pub(super) fn to_hex(self) -> String {
        hex(&self.0)
    }

    /// Whether it is one of `others`. Takes as long whichever it is, and if it is none.
    pub(super) fn is_among(&self, others: &[Digest]) -> bool {
        let mut found = subtle::Choice::from(0);
        for other in others {
            found |= self.0.ct_eq(&other.0);
        }
        found.into()
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Digest) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Most bits of a password from [`generate_password`].
pub const GENERATED_BITS_MAX: usize = 4096;

/// A password of at least so many random bits as hexadecimal digits, four bits each, from the operating system's generator.
///
/// # Errors
/// If the system has no random numbers to give.
pub fn generate_password(bits: usize) -> Result<String, String> {
    let digits = bits.min(GENERATED_BITS_MAX).div_ceil(4);
    let mut bytes = vec![0; digits.div_ceil(2)];
    rand::rngs::OsRng.try_fill_bytes(&mut bytes).map_err(|error| error.to_string())?;
    let mut password = hex(&bytes);
    password.truncate(digits);
    Ok(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOO: &str = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";

    #[test]
    fn a_digest_reads_back_from_its_digits_and_nothing_else_is_one() {
        assert_eq!(Digest::of(b"foo").to_hex(), FOO);
        let read = Digest::from_hex(FOO.as_bytes()).unwrap();
        assert!(read.is_among(&[Digest::of(b"bar"), Digest::of(b"foo")]));
        assert!(!read.is_among(&[Digest::of(b"bar")]) && !read.is_among(&[]));
        for bad in ["", "abc", &FOO.to_uppercase(), &format!("{FOO}0"), &FOO.replace('c', "g")] {
            assert!(Digest::from_hex(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn generated_passwords_have_the_digits_that_the_bits_need_and_differ() {
        for (bits, digits) in [(1, 1), (4, 1), (5, 2), (8, 2), (9, 3), (256, 64), (4096, 1024), (9999, 1024)] {
            let password = generate_password(bits).unwrap();
            assert_eq!(password.len(), digits, "{bits}");
            assert!(password.bytes().all(|byte| byte.is_ascii_hexdigit()));
        }
        assert_ne!(generate_password(256), generate_password(256));
    }
}
