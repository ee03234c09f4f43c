//! The manifest of the append-only file: which files it is made of, in which order.
//!
//! ```text
//!   file appendonly.aof.2.base.rdb seq 2 type b        the data of one moment
//!   file appendonly.aof.1.incr.aof seq 1 type h        history: replaced, not yet removed
//!   file appendonly.aof.2.incr.aof seq 2 type i        what was changed since, in this order
//!   file appendonly.aof.3.incr.aof seq 3 type i startoffset 4711
//! ```
//!
//! A name with characters that would be hard to see is in quotes, with escapes. Further words in pairs are passed over, so that
//! newer servers may say more, and so are lines that begin with `#`. Nothing else is: a manifest that is not understood as a
//! whole is refused, since data would be missing.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use weir_structs::quoted::{put_quoted, take_quoted};

/// A line of a manifest has fewer bytes.
const LINE_BYTES: usize = 1024;
/// A manifest has fewer bytes: so many rewrites do not fail.
pub(super) const MANIFEST_BYTES: usize = 16 << 20;

/// What a file is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PartKind {
    /// All data of one moment.
    Base,
    /// Changes.
    Increment,
    /// Replaced by others.
    History,
}

impl PartKind {
    fn letter(self) -> char {
        match self {
            PartKind::Base => 'b',
            PartKind::Increment => 'i',
            PartKind::History => 'h',
        }
    }
}

/// One file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// Its name inside the folder, in bytes.
    pub name: Vec<u8>,
    /// Its number among those of its kind.
    pub seq: u64,
    /// What it is for.
    pub kind: PartKind,
    /// Where in the stream for replicas it begins, if a server says so.
    pub start_offset: Option<i64>,
}

impl Part {
    /// Where it is, in the folder of the append-only file.
    pub fn path(&self, folder: &Path) -> PathBuf {
        folder.join(OsStr::from_bytes(&self.name))
    }

    /// Its name for people.
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.name).into_owned()
    }
}

/// All files. Their order is that of the manifest: base, history, increments.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Manifest {
    /// The base, if there is one.
    pub base: Option<Part>,
    /// What waits to be removed, newest first.
    pub history: Vec<Part>,
    /// The increments, by their numbers.
    pub increments: Vec<Part>,
    /// The highest numbers that were used.
    base_seq: u64,
    increment_seq: u64,
}

/// Why a manifest is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ManifestError {
    /// The line, from 1 on; 0 for all of it.
    pub line: usize,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(self.problem),
            line => write!(f, "line {line}: {}", self.problem),
        }
    }
}

const INVALID: &str = "Invalid AOF manifest file format";

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// What is wrong with it, in the words of Redis.
    pub fn parse(text: &[u8]) -> Result<Manifest, ManifestError> {
        let mut manifest = Manifest::default();
        if text.is_empty() {
            return Err(ManifestError { line: 0, problem: "Found an empty AOF manifest" });
        }
        let mut rest = text;
        let mut number = 0;
        while !rest.is_empty() {
            number += 1;
            let at = |problem| ManifestError { line: number, problem };
            let end = rest.iter().position(|&byte| byte == b'\n').filter(|&end| end < LINE_BYTES);
            let (line, behind) = match end {
                Some(end) => (rest.get(..end).unwrap_or_default(), rest.get(end + 1..).unwrap_or_default()),
                None => return Err(at("The AOF manifest file contains too long line")),
            };
            rest = behind;
            if line.first() != Some(&b'#') {
                let part = parse_line(line.trim_ascii()).map_err(at)?;
                manifest.add(part).map_err(at)?;
            }
        }
        if manifest.base.is_none() && manifest.increments.is_empty() && manifest.history.is_empty() {
            return Err(ManifestError { line: 0, problem: "Found an empty AOF manifest" });
        }
        Ok(manifest)
    }

    fn add(&mut self, part: Part) -> Result<(), &'static str> {
        match part.kind {
            PartKind::Base if self.base.is_some() => return Err("Found duplicate base file information"),
            PartKind::Base => {
                self.base_seq = part.seq;
                self.base = Some(part);
            }
            PartKind::History => self.history.push(part),
            PartKind::Increment if part.seq <= self.increment_seq => {
                return Err("Found a non-monotonic sequence number");
            }
            PartKind::Increment => {
                self.increment_seq = part.seq;
                self.increments.push(part);
            }
        }
        Ok(())
    }

    /// The text of the manifest.
    pub fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for part in self.base.iter().chain(&self.history).chain(&self.increments) {
            text.extend_from_slice(b"file ");
            put_name(&mut text, &part.name);
            text.extend_from_slice(format!(" seq {} type {}", part.seq, part.kind.letter()).as_bytes());
            if let Some(offset) = part.start_offset {
                text.extend_from_slice(format!(" startoffset {offset}").as_bytes());
            }
            text.push(b'\n');
        }
        text
    }

    /// Adds a base whose name has no number: the single file of old servers.
    pub fn set_old_base(&mut self, name: &str) {
        self.base_seq = 1;
        self.base = Some(Part { name: name.into(), seq: 1, kind: PartKind::Base, start_offset: None });
    }

    /// Makes the name of the next base, which replaces the one of now: that is history then. `snapshot`: it is in the form of
    /// snapshots.
    pub fn next_base(&mut self, file_name: &str, snapshot: bool) -> &Part {
        if let Some(old) = self.base.take() {
            self.history.insert(0, Part { kind: PartKind::History, ..old });
        }
        self.base_seq += 1;
        let name = |seq| format!("{file_name}.{seq}.base.{}", if snapshot { "rdb" } else { "aof" });
        while self.has_name(name(self.base_seq).as_bytes()) {
            self.base_seq += 1;
        }
        let name = name(self.base_seq).into();
        self.base.insert(Part { name, seq: self.base_seq, kind: PartKind::Base, start_offset: None })
    }

    /// Makes the name of the next increment, which stands behind the others.
    pub fn next_increment(&mut self, file_name: &str) -> Part {
        self.increment_seq += 1;
        let name = |seq| format!("{file_name}.{seq}.incr.aof");
        while self.has_name(name(self.increment_seq).as_bytes()) {
            self.increment_seq += 1;
        }
        let name = name(self.increment_seq).into();
        let part = Part { name, seq: self.increment_seq, kind: PartKind::Increment, start_offset: None };
        self.increments.push(part.clone());
        part
    }

    /// Whether a file has this name: a new one must not, or it would be written over, or removed with history. That happens where
    /// names and numbers do not agree, and where all increments are history.
    fn has_name(&self, name: &[u8]) -> bool {
        self.base.iter().chain(&self.increments).chain(&self.history).any(|part| part.name == name)
    }

    /// Numbers up to that of this file are not used again. `name` is that of any file in the folder.
    pub fn pass_over(&mut self, file_name: &str, name: &[u8]) -> bool {
        let numbered = name.strip_prefix(file_name.as_bytes()).and_then(|rest| rest.strip_prefix(b"."));
        let Some((seq, kind)) = numbered.and_then(|rest| {
            let (digits, kind) = rest.split_at(rest.iter().position(|&byte| byte == b'.')?);
            Some((std::str::from_utf8(digits).ok()?.parse::<u64>().ok()?, kind))
        }) else {
            return false;
        };
        let used = match kind {
            b".base.rdb" | b".base.aof" => &mut self.base_seq,
            b".incr.aof" => &mut self.increment_seq,
            _ => return false,
        };
        // No more than so many numbers are left out, whatever somebody calls a file.
        *used = (*used).max(seq.min(u64::from(u32::MAX)));
        true
    }

    /// All increments but the last `kept` are history.
    pub fn retire_increments(&mut self, kept: usize) {
        let retired = self.increments.len().saturating_sub(kept);
        for part in self.increments.drain(..retired) {
            self.history.insert(0, Part { kind: PartKind::History, ..part });
        }
    }

    /// Whether the whole of it is one base with this name: what an interrupted upgrade leaves.
    pub fn is_only_base(&self, name: &str) -> bool {
        self.increments.is_empty()
            && self.history.is_empty()
            && self.base.as_ref().is_some_and(|base| base.name == name.as_bytes())
    }

    /// The files that are loaded, in order.
    pub fn loaded(&self) -> impl Iterator<Item = &Part> {
        self.base.iter().chain(&self.increments)
    }
}

fn parse_line(line: &[u8]) -> Result<Part, &'static str> {
    let words = split_words(line).ok_or(INVALID)?;
    if words.len() < 6 || words.len() % 2 != 0 {
        return Err(INVALID);
    }
    let (mut name, mut seq, mut kind, mut start_offset) = (None, None, None, None);
    for pair in words.chunks_exact(2) {
        let [key, value] = pair else { continue };
        if key.eq_ignore_ascii_case(b"file") {
            if value.contains(&b'/') || value.is_empty() || **value == *b"." || **value == *b".." {
                return Err("File can't be a path, just a filename");
            }
            name = Some(value.clone());
        } else if key.eq_ignore_ascii_case(b"seq") {
            let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            seq = Some(number.filter(|&number: &u64| number > 0 && number < u64::MAX).ok_or(INVALID)?);
        } else if key.eq_ignore_ascii_case(b"type") {
            kind = Some(match value.first() {
                Some(b'b') => PartKind::Base,
                Some(b'h') => PartKind::History,
                Some(b'i') => PartKind::Increment,
                _ => return Err("Unknown AOF file type"),
            });
        } else if key.eq_ignore_ascii_case(b"startoffset") {
            start_offset = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
        }
    }
    match (name, seq, kind) {
        (Some(name), Some(seq), Some(kind)) => Ok(Part { name, seq, kind, start_offset }),
        _ => Err(INVALID),
    }
}

/// Cuts a line into words, which may be in quotes: double ones with escapes, single ones with `\'` alone. `None` if a quote
/// does not end, or something stands right behind its end.
fn split_words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line.trim_ascii_start();
    while let Some((&first, after)) = rest.split_first() {
        let mut word = Vec::new();
        if matches!(first, b'"' | b'\'') {
            rest = take_quoted(after, first, &mut word)?;
            if rest.first().is_some_and(|byte| !byte.is_ascii_whitespace()) {
                return None;
            }
        } else {
            let (bare, behind) = rest.split_at(rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len()));
            word.extend_from_slice(bare);
            rest = behind;
        }
        words.push(word);
        rest = rest.trim_ascii_start();
    }
    Some(words)
}

/// A name as a word: in quotes if it would not be seen whole otherwise.
fn put_name(text: &mut Vec<u8>, name: &[u8]) {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'"' | b'\'');
    if !name.is_empty() && name.iter().all(plain) {
        text.extend_from_slice(name);
        return;
    }
    put_quoted(text, name);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> (usize, &'static str) {
        let error = Manifest::parse(text.as_bytes()).expect_err(text);
        (error.line, error.problem)
    }

    #[test]
    fn what_is_written_reads_back() {
        for name in ["appendonly.aof", " file seq \n\n.aof ", "a\"b\\c'd", "'begins", "in'side", "ä\u{7}\u{8}\t\r\u{1}"]
        {
            let mut manifest = Manifest::default();
            manifest.next_increment(name);
            manifest.next_base(name, true);
            manifest.next_increment(name);
            manifest.next_base(name, false);
            manifest.retire_increments(1);
            manifest.next_increment(name);
            assert_eq!(Manifest::parse(&manifest.text()).expect("own text"), manifest, "{name:?}");
        }
    }

    #[test]
    fn the_text_is_that_of_redis() {
        let mut manifest = Manifest::default();
        for _ in 0..3 {
            manifest.next_increment("a b");
            manifest.retire_increments(1);
            manifest.next_base("a b", true);
        }
        assert_eq!(
            String::from_utf8(manifest.text()).expect("plain text"),
            "file \"a b.3.base.rdb\" seq 3 type b\n\
             file \"a b.2.base.rdb\" seq 2 type h\n\
             file \"a b.2.incr.aof\" seq 2 type h\n\
             file \"a b.1.base.rdb\" seq 1 type h\n\
             file \"a b.1.incr.aof\" seq 1 type h\n\
             file \"a b.3.incr.aof\" seq 3 type i\n"
        );
    }

    #[test]
    fn no_new_file_has_the_name_of_another() {
        let text = "file a.2.base.rdb seq 1 type b\nfile a.1.incr.aof seq 1 type h\nfile a.4.incr.aof seq 3 type i\n";
        let mut manifest = Manifest::parse(text.as_bytes()).expect("a good manifest");
        assert_eq!(manifest.next_increment("a").shown(), "a.5.incr.aof");
        assert_eq!(manifest.next_base("a", true).shown(), "a.3.base.rdb");
        let mut manifest = Manifest::parse(b"file a.1.incr.aof seq 1 type h\n").expect("a good manifest");
        assert_eq!(manifest.next_increment("a").shown(), "a.2.incr.aof");
        for (name, taken) in
            [("a.7.incr.aof", true), ("a.3.base.aof", true), ("a.x.incr.aof", false), ("a.manifest", false)]
        {
            assert_eq!(manifest.pass_over("a", name.as_bytes()), taken, "{name}");
        }
        assert_eq!(manifest.next_increment("a").shown(), "a.8.incr.aof");
        assert_eq!(manifest.next_base("a", true).shown(), "a.4.base.rdb");
        assert!(manifest.pass_over("a", format!("a.{}.incr.aof", u64::MAX).as_bytes()));
        assert_eq!(manifest.next_increment("a").seq, 1 << 32);
    }

    #[test]
    fn words_of_newer_servers_and_remarks_are_passed_over() {
        let text = "# a remark\nfile x seq 1 type b new word\n file y seq 3 type i startoffset 12 endoffset 19\n\
                    # another\nfile 'it\\'s' seq 5 type i\n";
        let manifest = Manifest::parse(text.as_bytes()).expect("a good manifest");
        let names: Vec<String> = manifest.loaded().map(Part::shown).collect();
        assert_eq!(names, ["x", "y", "it's"]);
        assert_eq!(manifest.increments.first().and_then(|part| part.start_offset), Some(12));
        assert_eq!(manifest.clone().next_increment("z").seq, 6);
        assert_eq!(manifest.clone().next_base("z", true).seq, 2);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let invalid = |line| (line, INVALID);
        assert_eq!(problem(""), (0, "Found an empty AOF manifest"));
        assert_eq!(problem("# nothing\n"), (0, "Found an empty AOF manifest"));
        assert_eq!(problem("file x seq 1 type i\n\nfile y seq 2 type i\n"), invalid(2));
        assert_eq!(problem("filx x seq 1 type i\n"), invalid(1));
        assert_eq!(problem("file x type i\n"), invalid(1));
        assert_eq!(problem("file x seq 1 type i new\n"), invalid(1));
        assert_eq!(problem("file x seq 0 type i\n"), invalid(1));
        assert_eq!(problem("file x seq -1 type i\n"), invalid(1));
        assert_eq!(problem("file x seq 99999999999999999999 type i\n"), invalid(1));
        assert_eq!(problem("file \"x seq 1 type i\n"), invalid(1));
        assert_eq!(problem("file \"x\"y seq 1 type i\n"), invalid(1));
        assert_eq!(problem("file x seq 1 type x\n"), (1, "Unknown AOF file type"));
        assert_eq!(problem("file x seq 2 type i\nfile y seq 2 type i\n"), (2, "Found a non-monotonic sequence number"));
        assert_eq!(problem("file x seq 1 type b\nfile y seq 2 type b\n"), (2, "Found duplicate base file information"));
        for path in ["a/b", "/", "..", ".", "\"\""] {
            let text = format!("file {path} seq 1 type i\n");
            assert_eq!(problem(&text), (1, "File can't be a path, just a filename"));
        }
        assert_eq!(problem("file x seq 1 type i"), (1, "The AOF manifest file contains too long line"));
        let long = format!("file {} seq 1 type i\n", "x".repeat(LINE_BYTES));
        assert_eq!(problem(&long), (1, "The AOF manifest file contains too long line"));
    }

    #[test]
    fn no_mutation_of_a_manifest_panics_and_what_is_accepted_reads_back() {
        let seed =
            "file \"a\\x41 b.3.base.rdb\" seq 3 type b\nfile b seq 2 type h\nfile c seq 3 type i startoffset 5\n#\n";
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state >> 33).unwrap_or(0) % below.max(1)
        };
        let mut accepted = 0;
        for _ in 0..100_000 {
            let mut text = seed.as_bytes().to_vec();
            for _ in 0..=random(4) {
                let at = random(text.len());
                match random(4) {
                    0 => text.truncate(at),
                    1 => text.insert(at, b" \"'\\\n#x0"[random(8)]),
                    2 => drop(text.drain(at..(at + random(9)).min(text.len()))),
                    _ => text.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << random(8)),
                }
            }
            if let Ok(manifest) = Manifest::parse(&text) {
                accepted += 1;
                assert_eq!(Manifest::parse(&manifest.text()).as_ref(), Ok(&manifest), "{}", text.escape_ascii());
            }
        }
        assert!(accepted > 1_000, "{accepted}");
    }
}
