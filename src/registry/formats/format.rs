//! The formats by name, and what reading and writing have in common for all of them.

use super::branches::Branch;
use super::flat::{Entry, Flat, FormatError, Limits};
use super::{json, properties, toml, yaml};

/// A format of configuration files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Lines of keys and values, as Java reads them; the parts of a key have dots between them.
    Properties,
    /// YAML 1.2, one document.
    Yaml,
    /// JSON.
    Json,
    /// TOML 1.1.
    Toml,
}

impl Format {
    /// By its name, in upper or lower case.
    pub fn parse(name: &[u8]) -> Option<Format> {
        match name.to_ascii_lowercase().as_slice() {
            b"properties" => Some(Format::Properties),
            b"yaml" => Some(Format::Yaml),
            b"json" => Some(Format::Json),
            b"toml" => Some(Format::Toml),
            _ => None,
        }
    }

    /// Reads a text: its paths, in order of bytes, relative to wherever it is put. The path of the whole is empty; all
    /// others begin with `/`.
    ///
    /// # Errors
    /// The text is not of this format, has a key that makes no path or that occurs twice, or is beyond a limit.
    pub fn read(self, text: &[u8], limits: &Limits) -> Result<Vec<Entry>, FormatError> {
        if text.len() > limits.text_bytes {
            return Err(FormatError::Limit(format!("more than {} bytes of text", limits.text_bytes)));
        }
        let text = std::str::from_utf8(text).map_err(|error| {
            let line = line_of(text, error.valid_up_to());
            FormatError::Text(format!("line {line}: bytes that are no UTF-8"))
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut flat = Flat::new(limits);
        match self {
            Format::Properties => properties::read(text, &mut flat)?,
            Format::Yaml => yaml::read(text, &mut flat)?,
            Format::Json => json::read(text, &mut flat)?,
            Format::Toml => toml::read(text, &mut flat)?,
        }
        flat.finish()
    }

    /// Writes paths and values, relative ones as [`Format::read`] gives them, in any order, each path once.
    ///
    /// # Errors
    /// A path or a value is no text (UTF-8), or a path is deeper than [`super::DEPTH_MAX`].
    pub fn write<'e>(self, entries: impl IntoIterator<Item = (&'e [u8], &'e [u8])>) -> Result<String, FormatError> {
        let leaves = Branch::leaves(entries)?;
        let root = Branch::root(&leaves);
        Ok(match self {
            Format::Properties => properties::write(root),
            Format::Yaml => yaml::write(root),
            Format::Json => json::write(root),
            Format::Toml => toml::write(root),
        })
    }
}

/// The number of the line in which a byte is, from 1.
pub(super) fn line_of(text: &[u8], at: usize) -> usize {
    1 + memchr::memchr_iter(b'\n', text.get(..at).unwrap_or(text)).count()
}
