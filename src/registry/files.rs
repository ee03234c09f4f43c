//! Configuration files into a store, and out of it.

use super::formats::{Format, FormatError, Limits};
use super::releases::put_plain;
use super::{Writer, check_path, check_value};
use crate::command::error::Error;
use std::collections::HashSet;
use std::sync::Arc;
use weir_structs::tree::{Revision, Span, Tree};

/// What is read or written in one go.
const LIMITS: Limits = Limits { text_bytes: 16 * 1024 * 1024, entries: 100_000, bytes: 64 * 1024 * 1024 };

/// What came in.
#[derive(Clone, Copy, Debug)]
pub struct Imported {
    /// Paths that the text has, whether they were so already or not.
    pub paths: u64,
    /// Paths that were below the prefix and went.
    pub deleted: u64,
    /// The revision; if there was nothing to do, the last one.
    pub revision: Revision,
}

impl From<FormatError> for Error {
    fn from(error: FormatError) -> Error {
        match error {
            FormatError::Path(why) => Error::cfg_path(&why),
            FormatError::Limit(why) => Error::cfg_limit(&why),
            FormatError::Text(why) => Error::cfg_format(&why),
        }
    }
}

/// A path to put something below; of `/`, nothing.
fn prefix_of(prefix: &[u8]) -> Result<&[u8], Error> {
    let prefix = prefix.strip_suffix(b"/").unwrap_or(prefix);
    if !prefix.is_empty() {
        check_path(prefix)?;
    }
    Ok(prefix)
}

/// Puts what a text says below a path. `replaces`: what else is below it goes. What is so already is not written. All of the
/// text is read and looked at before.
///
/// # Errors
/// The text is not of the format, makes something that is no path, or is beyond a limit.
pub fn import(
    writer: &mut Writer<'_>,
    prefix: &[u8],
    format: Format,
    text: &[u8],
    replaces: bool,
) -> Result<Imported, Error> {
    let prefix = prefix_of(prefix)?;
    let entries = format.read(text, &LIMITS)?;
    let mut paths: HashSet<Vec<u8>> = HashSet::with_capacity(entries.len());
    for (path, value) in &entries {
        let whole = [prefix, path].concat();
        if path.is_empty() {
            return Err(Error::cfg_path("key '/': the value of the whole is no path below the prefix"));
        }
        if let Err(error) = check_path(&whole) {
            let why = String::from_utf8_lossy(error.text()).replace("CFGPATH ", "");
            return Err(Error::cfg_path(&format!("key '{}': {why}", path.escape_ascii())));
        }
        check_value(writer.tree(), value)?;
        paths.insert(whole);
    }
    let mut gone: Vec<Arc<[u8]>> = Vec::new();
    if replaces {
        let below = writer.tree().span(Span::Prefix(&[prefix, b"/"].concat()), None).map(|(path, _)| Arc::clone(path));
        gone.extend(below.filter(|path| !paths.contains(&**path)));
    }
    let deleted = writer.delete_all(&gone);
    for (path, value) in &entries {
        let whole = [prefix, path].concat();
        // A path that is as it should be stays with its lease.
        if writer.tree().get(&whole).is_none_or(|now| now.value() != &**value) {
            put_plain(writer, &whole, value, None);
        }
    }
    Ok(Imported { paths: entries.len() as u64, deleted, revision: writer.last_revision() })
}

/// Everything below a path as text, which [`import`] makes the same of, below the same path.
///
/// # Errors
/// A path or a value is no text; there is more than could be read again.
pub fn export(tree: Option<&Tree>, prefix: &[u8], format: Format) -> Result<String, Error> {
    let prefix = prefix_of(prefix)?;
    let below = [prefix, b"/"].concat();
    let mut entries: Vec<(&[u8], &[u8])> = Vec::new();
    let mut bytes = 0;
    if let Some(tree) = tree {
        for (path, version) in tree.span(Span::Prefix(&below), None) {
            let path = path.get(prefix.len()..).unwrap_or_default();
            bytes += path.len() + version.value().len();
            if entries.len() >= LIMITS.entries || bytes > LIMITS.bytes {
                let Limits { entries, bytes, .. } = LIMITS;
                return Err(Error::cfg_limit(&format!("more than {entries} paths, or {bytes} bytes of them")));
            }
            entries.push((path, version.value()));
        }
    }
    let text = format.write(entries)?;
    if text.len() > LIMITS.text_bytes {
        return Err(Error::cfg_limit(&format!("more than {} bytes of text", LIMITS.text_bytes)));
    }
    Ok(text)
}
