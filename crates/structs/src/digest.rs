//! The digest of a string value that `DIGEST` shows and that `IFDEQ` and `IFDNE` compare.
//!
//! It is XXH3 with 64 bits, seed 0 and the default secret, written as 16 lower-case hexadecimal digits, most
//! significant first, leading zeros kept. Clients compute it themselves to save a round trip, so not a bit of it may
//! differ.
//!
//! Invariant: equal bytes have equal digests on every machine and in every version; it is no defence against a person
//! who looks for collisions.

/// Length of a digest as text.
pub const DIGEST_HEX_LEN: usize = 16;

/// The digest of a value's bytes. Costs about a nanosecond for 30 bytes.
pub fn digest(value: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(value)
}

/// The digest as text.
pub fn digest_hex(value: &[u8]) -> [u8; DIGEST_HEX_LEN] {
    let digest = digest(value);
    let mut text = [0; DIGEST_HEX_LEN];
    for (position, byte) in text.iter_mut().enumerate() {
        let nibble = (digest >> (60 - 4 * position)) & 0xf;
        *byte = b"0123456789abcdef"[nibble as usize];
    }
    text
}

/// A digest that came as an argument: exactly 16 bytes, digits in either case.
///
/// # Errors
/// [`DigestError`] for any other length, or for a byte that is no hexadecimal digit.
pub fn parse_digest(argument: &[u8]) -> Result<u64, DigestError> {
    if argument.len() != DIGEST_HEX_LEN {
        return Err(DigestError { len: argument.len() });
    }
    argument.iter().try_fold(0u64, |digest, &byte| match (byte as char).to_digit(16) {
        Some(nibble) => Ok(digest << 4 | u64::from(nibble)),
        None => Err(DigestError { len: argument.len() }),
    })
}

/// An argument that is no digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DigestError {
    /// How many bytes came.
    pub len: usize,
}

impl std::fmt::Display for DigestError {
    /// The words on the wire, without the code in front.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("must be exactly 16 hexadecimal characters")
    }
}

impl std::error::Error for DigestError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_the_published_ones() {
        for (value, expected) in [
            ("Hello world", "b6acb9d84a38ff74"),
            ("hello", "9555e8555c62dcfd"),
            ("test", "9ec9f7918d7dfc40"),
            ("Hello, Dragonfly!", "063b4909128e92b7"),
            ("foo", "ab6e5f64077e7d8a"),
            ("", "2d06800538d394c2"),
            (
                "v8lf0c11xh8ymlqztfd3eeq16kfn4sspw7fqmnuuq3k3t75em5wdizgcdw7uc26nnf961u2jkfzkjytls2kwlj7626sd",
                "00006c38adf31777",
            ),
        ] {
            assert_eq!(std::str::from_utf8(&digest_hex(value.as_bytes())), Ok(expected), "{value}");
            assert_eq!(parse_digest(expected.as_bytes()), Ok(digest(value.as_bytes())));
            assert_eq!(parse_digest(expected.to_uppercase().as_bytes()), Ok(digest(value.as_bytes())));
        }
    }

    #[test]
    fn digests_of_any_other_length_are_refused() {
        for argument in ["", "9555e8555c62dcf", "09555e8555c62dcfd", "g555e8555c62dcfd", "+555e8555c62dcfd"] {
            assert!(parse_digest(argument.as_bytes()).is_err(), "{argument}");
        }
    }
}
