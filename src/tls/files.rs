//! Certificates and private keys from PEM files, keys also if a password protects them.
//!
//! Protected keys are read in the form that OpenSSL has written since 1.0 (PKCS #8 with PBES2: PBKDF2 and AES in CBC
//! mode). Older forms derive the key by one round of MD5 and are refused with what to do about it.

use super::der::{Der, tag};
use aes::cipher::generic_array::GenericArray;
use aes::cipher::{BlockDecrypt, KeyInit};
use ring::pbkdf2;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::fs::{self, File};
use std::io::Read;
use std::num::NonZeroU32;
use std::path::Path;

/// Files that are longer hold something else.
const FILE_BYTES_MAX: u64 = 8 << 20;
/// Files of a folder of certificates that are looked at.
const FOLDER_FILES_MAX: usize = 4096;
/// Rounds of key derivation that are gone through: some seconds.
const ROUNDS_MAX: u32 = 10_000_000;

/// Reads a file as a whole. The error names no file.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("the file is longer than {FILE_BYTES_MAX} bytes"));
    }
    Ok(bytes)
}

/// All certificates of a file, at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = read(path)?;
    let found = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| format!("{error:?}"))?;
    if found.is_empty() { Err("there is no certificate in PEM format in it".into()) } else { Ok(found) }
}

/// All certificates of the files right in a folder. Files that hold none do not matter: keys and requests may lie there
/// as well.
pub(super) fn certificates_of_folder(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let entries = fs::read_dir(path).map_err(|error| error.to_string())?;
    let mut paths: Vec<_> = entries.take(FOLDER_FILES_MAX).filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort_unstable();
    let mut found: Vec<CertificateDer<'static>> = Vec::new();
    for path in paths.into_iter().filter(|path| path.is_file()) {
        for certificate in certificates(&path).unwrap_or_default() {
            // One file is often there twice, once by the name that OpenSSL looks for.
            if !found.contains(&certificate) {
                found.push(certificate);
            }
        }
    }
    Ok(found)
}

/// The private key of a file, which `password` protects if it is protected.
pub(super) fn private_key(path: &Path, password: Option<&[u8]>) -> Result<PrivateKeyDer<'static>, String> {
    let bytes = read(path)?;
    if let Some(protected) = section(&bytes, "ENCRYPTED PRIVATE KEY") {
        let password = password.ok_or("a password protects the key, and tls-key-file-pass is not set")?;
        return unlock(&protected, password).map(|key| PrivatePkcs8KeyDer::from(key).into());
    }
    if bytes.windows(OLD_PROTECTION.len()).any(|window| window == OLD_PROTECTION) {
        return Err("a password protects the key in an old form; convert it with `openssl pkcs8 -topk8`".into());
    }
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => "there is no private key in PEM format in it".into(),
        error => format!("{error:?}"),
    })
}

/// How a key says that a password protects it, before PKCS #8.
const OLD_PROTECTION: &[u8] = b"Proc-Type: 4,ENCRYPTED";

/// The first section of a name in a PEM file, decoded.
fn section(pem: &[u8], name: &str) -> Option<Vec<u8>> {
    let text = String::from_utf8_lossy(pem);
    let (_, behind) = text.split_once(&format!("-----BEGIN {name}-----"))?;
    let (body, _) = behind.split_once(&format!("-----END {name}-----"))?;
    from_base64(body)
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut bits, mut held) = (Vec::with_capacity(text.len() / 4 * 3), 0_u32, 0);
    for byte in text.bytes().filter(|byte| !byte.is_ascii_whitespace()) {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => continue,
            _ => return None,
        };
        bits = bits << 6 | u32::from(six);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    Some(bytes)
}

const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d];
const PBKDF2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0c];
/// In front of the number of a function that keys are derived with.
const HMAC_WITH: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02];
/// In front of the number of a form of AES.
const AES: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01];

/// How a key is protected.
struct Protection<'a> {
    hmac: pbkdf2::Algorithm,
    salt: &'a [u8],
    rounds: NonZeroU32,
    key_bytes: usize,
    iv: &'a [u8],
    protected: &'a [u8],
}

impl<'a> Protection<'a> {
    fn parse(der: &'a [u8]) -> Option<Protection<'a>> {
        let mut outer = Der::new(der).enter(tag::SEQUENCE)?;
        let mut algorithm = outer.enter(tag::SEQUENCE)?;
        let protected = outer.expect(tag::OCTET_STRING)?.content;
        algorithm.expect(tag::OID).filter(|oid| oid.content == PBES2)?;
        let mut parameters = algorithm.enter(tag::SEQUENCE)?;
        let mut derivation = parameters.enter(tag::SEQUENCE)?;
        let mut cipher = parameters.enter(tag::SEQUENCE)?;
        derivation.expect(tag::OID).filter(|oid| oid.content == PBKDF2)?;
        let mut derivation = derivation.enter(tag::SEQUENCE)?;
        let salt = derivation.expect(tag::OCTET_STRING)?.content;
        let rounds = derivation.expect(tag::INTEGER)?.content;
        let rounds = rounds.iter().try_fold(0_u32, |n, &byte| n.checked_mul(256)?.checked_add(byte.into()))?;
        let rounds = NonZeroU32::new(rounds).filter(|rounds| rounds.get() <= ROUNDS_MAX)?;
        derivation.optional(tag::INTEGER);
        let hmac = match derivation.enter(tag::SEQUENCE) {
            None => pbkdf2::PBKDF2_HMAC_SHA1,
            Some(mut function) => match function.expect(tag::OID)?.content.strip_prefix(HMAC_WITH)? {
                [7] => pbkdf2::PBKDF2_HMAC_SHA1,
                [9] => pbkdf2::PBKDF2_HMAC_SHA256,
                [10] => pbkdf2::PBKDF2_HMAC_SHA384,
                [11] => pbkdf2::PBKDF2_HMAC_SHA512,
                _ => return None,
            },
        };
        let key_bytes = match cipher.expect(tag::OID)?.content.strip_prefix(AES)? {
            [2] => 16,
            [22] => 24,
            [42] => 32,
            _ => return None,
        };
        let iv = cipher.expect(tag::OCTET_STRING)?.content;
        Some(Protection { hmac, salt, rounds, key_bytes, iv, protected })
    }
}

/// Takes the protection off a key.
fn unlock(der: &[u8], password: &[u8]) -> Result<Vec<u8>, String> {
    let how = Protection::parse(der)
        .filter(|how| how.iv.len() == BLOCK && !how.protected.is_empty() && how.protected.len() % BLOCK == 0)
        .ok_or("the key is protected in an unknown way; PBES2 with PBKDF2 and AES-CBC is known")?;
    let mut key = vec![0; how.key_bytes];
    pbkdf2::derive(how.hmac, how.rounds, how.salt, password, &mut key);
    let mut plain = how.protected.to_vec();
    let known = match how.key_bytes {
        16 => aes::Aes128::new_from_slice(&key).map(|cipher| decrypt(&cipher, how.iv, &mut plain)),
        24 => aes::Aes192::new_from_slice(&key).map(|cipher| decrypt(&cipher, how.iv, &mut plain)),
        _ => aes::Aes256::new_from_slice(&key).map(|cipher| decrypt(&cipher, how.iv, &mut plain)),
    };
    // With the wrong password what comes out is noise, which ends in valid padding one time in 256, but is no key then.
    let padding = plain.last().map_or(0, |&last| usize::from(last));
    let padded = known.is_ok() && (1..=BLOCK).contains(&padding) && {
        let tail = &plain[plain.len() - padding..];
        tail.iter().all(|&byte| usize::from(byte) == padding)
    };
    plain.truncate(plain.len() - padding.min(plain.len()));
    if padded && Der::new(&plain).enter(tag::SEQUENCE).is_some() {
        Ok(plain)
    } else {
        Err("the password does not fit".into())
    }
}

const BLOCK: usize = 16;

/// CBC: each block is mixed with the one before it.
fn decrypt(cipher: &impl BlockDecrypt, iv: &[u8], bytes: &mut [u8]) {
    let mut previous = iv.to_vec();
    for block in bytes.chunks_exact_mut(BLOCK) {
        let own = block.to_vec();
        cipher.decrypt_block(GenericArray::from_mut_slice(block));
        block.iter_mut().zip(&previous).for_each(|(byte, mask)| *byte ^= mask);
        previous = own;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aes::cipher::BlockEncrypt;

    /// An element of DER; all here are short.
    fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        let mut bytes = vec![tag, 0x81, content.len() as u8];
        bytes.extend(content);
        bytes
    }

    /// Protects bytes as `openssl pkcs8 -topk8` does.
    fn protect(plain: &[u8], password: &[u8]) -> Vec<u8> {
        let (salt, iv, rounds) = ([7; 8], [9; BLOCK], NonZeroU32::new(2048).unwrap());
        let mut key = [0; 32];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, password, &mut key);
        let cipher = aes::Aes256::new_from_slice(&key).unwrap();
        let padding = BLOCK - plain.len() % BLOCK;
        let mut bytes = [plain, &vec![padding as u8; padding]].concat();
        let mut previous = iv.to_vec();
        for block in bytes.chunks_exact_mut(BLOCK) {
            block.iter_mut().zip(&previous).for_each(|(byte, mask)| *byte ^= mask);
            cipher.encrypt_block(GenericArray::from_mut_slice(block));
            previous = block.to_vec();
        }
        let oid = |bytes: &[u8], last: &[u8]| element(tag::OID, &[bytes, last]);
        let function = element(tag::SEQUENCE, &[&oid(HMAC_WITH, &[9]), &[0x05, 0x00]]);
        let rounds = element(tag::INTEGER, &[&[0x08, 0x00]]);
        let derivation = element(tag::SEQUENCE, &[&element(tag::OCTET_STRING, &[&salt]), &rounds, &function]);
        let derivation = element(tag::SEQUENCE, &[&oid(PBKDF2, &[]), &derivation]);
        let cipher = element(tag::SEQUENCE, &[&oid(AES, &[42]), &element(tag::OCTET_STRING, &[&iv])]);
        let algorithm = [oid(PBES2, &[]), element(tag::SEQUENCE, &[&derivation, &cipher])].concat();
        let algorithm = element(tag::SEQUENCE, &[&algorithm]);
        element(tag::SEQUENCE, &[&algorithm, &element(tag::OCTET_STRING, &[&bytes])])
    }

    #[test]
    fn a_protected_key_opens_with_its_password_only() {
        let plain = element(tag::SEQUENCE, &[b"what a key consists of"]);
        let protected = protect(&plain, b"sesame");
        assert_eq!(unlock(&protected, b"sesame"), Ok(plain));
        assert!(unlock(&protected, b"sesamE").is_err());
        for cut in 0..protected.len() {
            assert!(unlock(&protected[..cut], b"sesame").is_err());
        }
    }

    #[test]
    fn a_section_is_found_among_others() {
        let pem =
            b"text\n-----BEGIN A-----\naGk=\n-----END A-----\n-----BEGIN B-----\n\nd2Vp\r\ncg==\n-----END B-----\n";
        assert_eq!(section(pem, "B").unwrap(), b"weir");
        assert_eq!(section(pem, "C"), None);
        assert_eq!(section(b"-----BEGIN A-----\naGk=", "A"), None);
        assert_eq!(from_base64("a?"), None);
    }
}
