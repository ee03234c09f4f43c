//! Protocol versions and ciphers by the names that OpenSSL gives them, since those stand in configuration files.

use rustls::crypto::ring::cipher_suite as suite;
use rustls::{SupportedCipherSuite, SupportedProtocolVersion, version};

/// The versions that `tls-protocols` allows; both when it says nothing.
pub(super) fn versions(protocols: Option<&str>) -> Result<Versions, String> {
    let Some(protocols) = protocols.filter(|text| !text.trim().is_empty()) else {
        return Ok(Versions { allowed: vec![&version::TLS13, &version::TLS12], missing: Vec::new() });
    };
    let mut versions = Versions { allowed: Vec::new(), missing: Vec::new() };
    for word in protocols.split_ascii_whitespace() {
        match word.to_ascii_lowercase().as_str() {
            "tlsv1.3" => versions.allowed.push(&version::TLS13),
            "tlsv1.2" => versions.allowed.push(&version::TLS12),
            "tlsv1.1" | "tlsv1" => versions.missing.push(word.to_owned()),
            _ => {
                return Err(
                    "Invalid tls-protocols specified. Use a combination of 'TLSv1', 'TLSv1.1', 'TLSv1.2' and 'TLSv1.3'."
                        .to_owned(),
                );
            }
        }
    }
    if versions.allowed.is_empty() {
        return Err(format!(
            "tls-protocols '{protocols}' allows neither TLSv1.2 nor TLSv1.3, and older ones are not safe"
        ));
    }
    Ok(versions)
}

/// What `tls-protocols` leads to.
#[derive(Debug)]
pub(super) struct Versions {
    pub(super) allowed: Vec<&'static SupportedProtocolVersion>,
    /// Allowed as well, but not supported.
    pub(super) missing: Vec<String>,
}

/// A suite of TLS 1.2 with OpenSSL's name for it and the words that mean it.
struct Suite12 {
    suite: SupportedCipherSuite,
    name: &'static str,
    words: &'static [&'static str],
}

/// The suites of TLS 1.2 in the order in which a server prefers them.
static SUITES_12: [Suite12; 6] = [
    Suite12 {
        suite: suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        name: "ECDHE-ECDSA-AES256-GCM-SHA384",
        words: &["ECDSA", "AECDSA", "AES", "AESGCM", "AES256", "SHA384"],
    },
    Suite12 {
        suite: suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        name: "ECDHE-ECDSA-AES128-GCM-SHA256",
        words: &["ECDSA", "AECDSA", "AES", "AESGCM", "AES128", "SHA256"],
    },
    Suite12 {
        suite: suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        name: "ECDHE-ECDSA-CHACHA20-POLY1305",
        words: &["ECDSA", "AECDSA", "CHACHA20"],
    },
    Suite12 {
        suite: suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        name: "ECDHE-RSA-AES256-GCM-SHA384",
        words: &["RSA", "ARSA", "AES", "AESGCM", "AES256", "SHA384"],
    },
    Suite12 {
        suite: suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        name: "ECDHE-RSA-AES128-GCM-SHA256",
        words: &["RSA", "ARSA", "AES", "AESGCM", "AES128", "SHA256"],
    },
    Suite12 {
        suite: suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        name: "ECDHE-RSA-CHACHA20-POLY1305",
        words: &["RSA", "ARSA", "CHACHA20"],
    },
];

/// Words that mean each of them.
const ALL_WORDS: [&str; 10] =
    ["ALL", "DEFAULT", "HIGH", "FIPS", "TLSV1.2", "ECDHE", "EECDH", "KECDHE", "KEECDH", "AEAD"];

/// The suites of TLS 1.2 that `tls-ciphers` allows, in its order; all when it says nothing.
///
/// A list of OpenSSL: names or words, several words that must all fit joined by `+`, in front of each `!` (never), `-`
/// (not, so far) or `+` (last). What names no suite is passed over, as OpenSSL does, unless nothing is left.
pub(super) fn ciphers(list: Option<&str>) -> Result<Vec<SupportedCipherSuite>, String> {
    let Some(list) = list.filter(|text| !text.trim().is_empty()) else {
        return Ok(SUITES_12.iter().map(|known| known.suite).collect());
    };
    let (mut chosen, mut never): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
    for item in list.split([':', ',', ' ']).filter(|item| !item.is_empty()) {
        let (sign, words) = match item.as_bytes()[0] {
            sign @ (b'!' | b'-' | b'+') => (sign, &item[1..]),
            _ => (0, item),
        };
        let meant: Vec<usize> = (0..SUITES_12.len()).filter(|&at| SUITES_12[at].is_meant(words)).collect();
        match sign {
            b'!' => {
                chosen.retain(|at| !meant.contains(at));
                never.extend(meant);
            }
            b'-' => chosen.retain(|at| !meant.contains(at)),
            b'+' => chosen.sort_by_key(|at| meant.contains(at)),
            _ => chosen.extend(meant.into_iter().filter(|at| !never.contains(at)).filter({
                let before = chosen.clone();
                move |at| !before.contains(at)
            })),
        }
    }
    if chosen.is_empty() {
        return Err(format!("Failed to configure ciphers: {list}"));
    }
    Ok(chosen.into_iter().map(|at| SUITES_12[at].suite).collect())
}

impl Suite12 {
    fn is_meant(&self, words: &str) -> bool {
        words.eq_ignore_ascii_case(self.name)
            || words.split('+').all(|word| {
                let known = ALL_WORDS.iter().chain(self.words);
                known.into_iter().any(|known| known.eq_ignore_ascii_case(word))
            })
    }
}

/// The suites of TLS 1.3 that `tls-ciphersuites` allows, in its order; all when it says nothing.
pub(super) fn ciphersuites(list: Option<&str>) -> Result<Vec<SupportedCipherSuite>, String> {
    let Some(list) = list.filter(|text| !text.trim().is_empty()) else {
        return Ok(vec![
            suite::TLS13_AES_256_GCM_SHA384,
            suite::TLS13_AES_128_GCM_SHA256,
            suite::TLS13_CHACHA20_POLY1305_SHA256,
        ]);
    };
    let mut chosen = Vec::new();
    for name in list.split([':', ',', ' ']).filter(|name| !name.is_empty()) {
        match name {
            "TLS_AES_256_GCM_SHA384" => chosen.push(suite::TLS13_AES_256_GCM_SHA384),
            "TLS_AES_128_GCM_SHA256" => chosen.push(suite::TLS13_AES_128_GCM_SHA256),
            "TLS_CHACHA20_POLY1305_SHA256" => chosen.push(suite::TLS13_CHACHA20_POLY1305_SHA256),
            // Made for devices without room for GCM; others have all of the above.
            "TLS_AES_128_CCM_SHA256" | "TLS_AES_128_CCM_8_SHA256" => {}
            _ => return Err(format!("Failed to configure ciphersuites: {list}")),
        }
    }
    if chosen.is_empty() { Err(format!("Failed to configure ciphersuites: {list}")) } else { Ok(chosen) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &str) -> Vec<&'static str> {
        let chosen = ciphers(Some(list)).unwrap_or_default();
        let name = |suite: &SupportedCipherSuite| SUITES_12.iter().find(|known| known.suite == *suite).unwrap().name;
        chosen.iter().map(name).collect()
    }

    #[test]
    fn lists_of_openssl_choose_and_order_suites() {
        assert_eq!(names("DEFAULT:!MEDIUM").len(), 6);
        assert_eq!(names("ECDHE+AESGCM").len(), 4);
        assert_eq!(
            names("HIGH:!AES256:!CHACHA20:!aNULL"),
            ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"]
        );
        assert_eq!(
            names("ECDHE-RSA-CHACHA20-POLY1305 ECDHE-RSA-AES128-GCM-SHA256,AES256-SHA"),
            ["ECDHE-RSA-CHACHA20-POLY1305", "ECDHE-RSA-AES128-GCM-SHA256"]
        );
        assert_eq!(names("aRSA:+AES").first(), Some(&"ECDHE-RSA-CHACHA20-POLY1305"));
        assert_eq!(names("!AES:ALL:-ECDSA"), ["ECDHE-RSA-CHACHA20-POLY1305"]);
        assert_eq!(ciphers(Some("foo")), Err("Failed to configure ciphers: foo".to_owned()));
        assert_eq!(ciphers(None).unwrap().len(), 6);
    }

    #[test]
    fn suites_of_tls_1_3_are_named_one_by_one() {
        let chosen = ciphersuites(Some("TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_CCM_SHA256")).unwrap();
        assert_eq!(chosen, [suite::TLS13_CHACHA20_POLY1305_SHA256]);
        assert!(ciphersuites(Some("TLS_AES_256_GCM_SHA384:foo")).is_err());
        assert!(ciphersuites(Some("TLS_AES_128_CCM_SHA256")).is_err());
        assert_eq!(ciphersuites(Some(" ")).unwrap().len(), 3);
    }

    #[test]
    fn versions_that_are_not_safe_are_left_out_and_told() {
        let both = versions(Some("TLSv1.1 tlsv1.2 TLSv1.3")).unwrap();
        assert_eq!((both.allowed.len(), both.missing), (2, vec!["TLSv1.1".to_owned()]));
        assert_eq!(versions(Some("TLSv1.2")).unwrap().allowed, [&version::TLS12]);
        assert_eq!(versions(None).unwrap().allowed.len(), 2);
        assert!(versions(Some("TLSv1 TLSv1.1")).is_err());
        assert!(versions(Some("TLSv1.2 SSLv3")).unwrap_err().starts_with("Invalid tls-protocols specified."));
    }
}
