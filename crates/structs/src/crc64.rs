//! The checksum at the end of RDB files and of what DUMP and FUNCTION DUMP answer: CRC-64 by Jones.
//!
//! Polynomial `0xad93d23594c935a9`, bits of a byte lowest first, nothing inverted. Eight tables let a step take eight
//! bytes.

/// The polynomial, with its bits in the order in which they are taken.
const POLYNOMIAL: u64 = 0xad93_d235_94c9_35a9_u64.reverse_bits();

/// `TABLES[n][byte]`: what `byte` followed by `n` zero bytes leaves behind.
static TABLES: [[u64; 256]; 8] = {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let shorter: u64 = tables[table - 1][byte];
            tables[table][byte] = tables[0][(shorter & 0xFF) as usize] ^ shorter >> 8;
            byte += 1;
        }
        table += 1;
    }
    tables
};

/// Goes on with a checksum over more bytes; it begins with 0. Costs less than a nanosecond a byte.
pub fn crc64(crc: u64, bytes: &[u8]) -> u64 {
    let (eights, rest) = bytes.as_chunks::<8>();
    let crc = eights.iter().fold(crc, |crc, eight| {
        let mixed = (crc ^ u64::from_le_bytes(*eight)).to_le_bytes();
        mixed.iter().zip(TABLES.iter().rev()).fold(0, |crc, (byte, table)| crc ^ table[usize::from(*byte)])
    });
    rest.iter().fold(crc, |crc, byte| TABLES[0][usize::from(crc as u8 ^ byte)] ^ crc >> 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_checksum_of_nine_digits_comes_out() {
        assert_eq!(crc64(0, b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        assert_eq!(crc64(0, b""), 0);
    }

    #[test]
    fn it_does_not_matter_how_the_bytes_are_cut() {
        let bytes: Vec<u8> = (0..100u32).map(|n| (n * n) as u8).collect();
        let whole = crc64(0, &bytes);
        for cut in 0..=bytes.len() {
            assert_eq!(crc64(crc64(0, &bytes[..cut]), &bytes[cut..]), whole);
        }
    }
}
