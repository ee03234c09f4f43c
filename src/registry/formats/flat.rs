//! What reading makes: a list of paths and values, within limits.

use std::fmt;

/// How deep maps and lists may be in one another.
pub const DEPTH_MAX: usize = 64;
/// Bytes of a path at most. What it is put below adds to that; the tree has the last word.
const PATH_BYTES_MAX: usize = 4096;
/// Bytes of a key that an error shows.
const SHOWN_BYTES: usize = 64;

/// A path, relative, and its value.
pub type Entry = (Box<[u8]>, Box<[u8]>);

/// What a text may become.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of text.
    pub text_bytes: usize,
    /// Paths.
    pub entries: usize,
    /// Bytes of all paths and values: few bytes of text may stand below a long path many times.
    pub bytes: usize,
}

/// Why a text cannot be read, or paths cannot be written. Names the line or the key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FormatError {
    /// A key makes no path.
    Path(String),
    /// A limit.
    Limit(String),
    /// It is not of the format.
    Text(String),
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (FormatError::Path(why) | FormatError::Limit(why) | FormatError::Text(why)) = self;
        f.write_str(why)
    }
}

/// The list under construction, and the place in the text: the path of the map or the list that is being read.
#[derive(Debug)]
pub(super) struct Flat<'l> {
    limits: &'l Limits,
    path: Vec<u8>,
    /// Length of the path at each level above.
    above: Vec<usize>,
    entries: Vec<Entry>,
    bytes: usize,
}

impl Flat<'_> {
    pub(super) fn new(limits: &Limits) -> Flat<'_> {
        Flat { limits, path: Vec::new(), above: Vec::new(), entries: Vec::new(), bytes: 0 }
    }

    /// How many paths may be added.
    pub(super) fn entries_max(&self) -> usize {
        self.limits.entries
    }

    /// Goes to what a map has at a key. The empty key is the map itself; [`Flat::leave`] follows all the same.
    pub(super) fn enter(&mut self, key: &str) -> Result<(), FormatError> {
        let why = if key.contains('/') {
            "a part of a path has no '/'"
        } else if key.contains('\0') {
            "a path has no NUL"
        } else if self.path.len() + 1 + key.len() > PATH_BYTES_MAX {
            "a path that long"
        } else {
            self.above.push(self.path.len());
            if !key.is_empty() {
                self.path.push(b'/');
                self.path.extend_from_slice(key.as_bytes());
            }
            return Ok(());
        };
        Err(FormatError::Path(format!("key {}: {why}", self.shown(key))))
    }

    /// Goes to an element of a list.
    pub(super) fn enter_element(&mut self, index: usize) -> Result<(), FormatError> {
        self.enter(&index.to_string())
    }

    /// Goes back to where [`Flat::enter`] came from.
    pub(super) fn leave(&mut self) {
        if let Some(len) = self.above.pop() {
            self.path.truncate(len);
        }
    }

    /// What is at this place is a map or a list.
    pub(super) fn open(&self) -> Result<(), FormatError> {
        if self.above.len() >= DEPTH_MAX {
            return Err(FormatError::Limit(format!("key {}: nested more than {DEPTH_MAX} deep", self.here())));
        }
        match self.above.last() {
            Some(&above) if above == self.path.len() => {
                Err(FormatError::Path(format!("key {}: the empty key holds a single value", self.shown(""))))
            }
            _ => Ok(()),
        }
    }

    /// What is at this place is a value.
    pub(super) fn put(&mut self, value: &[u8]) -> Result<(), FormatError> {
        self.bytes = self.bytes.saturating_add(self.path.len() + value.len());
        if self.entries.len() >= self.limits.entries {
            return Err(FormatError::Limit(format!("more than {} values", self.limits.entries)));
        }
        if self.bytes > self.limits.bytes {
            return Err(FormatError::Limit(format!("more than {} bytes of paths and values", self.limits.bytes)));
        }
        self.entries.push((self.path.as_slice().into(), value.into()));
        Ok(())
    }

    /// What is wrong with what is at this place.
    pub(super) fn wrong(&self, why: impl fmt::Display) -> FormatError {
        FormatError::Text(format!("key {}: {why}", self.here()))
    }

    /// A key that is in a map already.
    pub(super) fn twice(&self, key: &str) -> FormatError {
        FormatError::Text(format!("key {} occurs twice", self.shown(key)))
    }

    /// The list, in order.
    pub(super) fn finish(mut self) -> Result<Vec<Entry>, FormatError> {
        self.entries.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        for pair in self.entries.windows(2) {
            if let [(a, _), (b, _)] = pair
                && a == b
            {
                let shown = show(&String::from_utf8_lossy(a));
                return Err(FormatError::Text(format!("key {shown} occurs twice")));
            }
        }
        Ok(self.entries)
    }

    fn here(&self) -> String {
        show(&String::from_utf8_lossy(&self.path))
    }

    fn shown(&self, key: &str) -> String {
        show(&format!("{}/{key}", String::from_utf8_lossy(&self.path)))
    }
}

/// A key as an error shows it: its end, without characters that are not to be seen.
fn show(key: &str) -> String {
    let from = (key.len().saturating_sub(SHOWN_BYTES)..=key.len()).find(|at| key.is_char_boundary(*at)).unwrap_or(0);
    let (dots, end) = (if from > 0 { "..." } else { "" }, key.get(from..).unwrap_or_default());
    format!("'{dots}{}'", end.escape_debug())
}
