//! Configuration as text: properties, JSON, TOML and YAML to paths and values, and back.
//!
//! ```text
//!  db:                                    /db        of the key "", see below
//!    "": main            read ──►         /db/host   10.0.0.1
//!    host: 10.0.0.1      ◄── write        /db/ports/0  5432
//!    ports: [5432, 5433]                  /db/ports/1  5433
//! ```
//!
//! Maps become parts of paths, lists become parts that are numbers, and everything else becomes the text that stands there: a number
//! keeps its digits as they were written, whatever their count. What has no value (`null`) is an empty value. A map's own value, which
//! none of the formats knows, stands at the key `""`, as no part of a path is empty.
//!
//! What must stay true: what is written reads as the same paths and values, in every format; reading takes any bytes, in time and
//! memory that are bounded by the length of the text and by [`Limits`], whatever the text says of itself. So anchors, aliases and tags
//! of YAML are refused, and nothing nests deeper than [`DEPTH_MAX`]. A key that occurs twice is refused, where others take one of both.

mod branches;
mod flat;
mod format;
mod json;
mod literals;
mod properties;
#[cfg(test)]
mod tests;
mod toml;
mod yaml;

pub use flat::{DEPTH_MAX, Entry, FormatError, Limits};
pub use format::Format;
