//! Configuration files: reading any text, and writing what it made in every format.
//!
//! The input: a byte for the format, and the text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use weir::registry::formats::{Format, Limits};

const ALL: [Format; 4] = [Format::Properties, Format::Yaml, Format::Json, Format::Toml];
const LIMITS: Limits = Limits { text_bytes: 1 << 20, entries: 10_000, bytes: 1 << 20 };

fuzz_target!(|input: &[u8]| {
    let Some((format, text)) = input.split_first() else { return };
    let Ok(entries) = ALL[usize::from(*format) % ALL.len()].read(text, &LIMITS) else { return };
    for format in ALL {
        let written = format.write(entries.iter().map(|(path, value)| (&**path, &**value)));
        let written = written.expect("what was read as text is text");
        // It may be longer than what was read.
        let limits = Limits { text_bytes: written.len(), ..LIMITS };
        let again = format.read(written.as_bytes(), &limits).expect("what is written can be read");
        assert_eq!(again, entries, "{format:?}: {written}");
    }
});
