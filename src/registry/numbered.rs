//! Paths that are given a number: ten digits behind what they begin with. Of each beginning a hidden counter is kept, so that
//! no number comes twice.

use super::{Writer, check_path, hidden};
use crate::command::error::Error;
use weir_structs::number::{format_u64, parse_u64};
use weir_structs::tree::Tree;

/// Digits of a number at least.
const DIGITS: usize = 10;

/// A path with the number that is next.
#[derive(Debug)]
pub struct Numbered {
    /// The path.
    pub path: Vec<u8>,
    counter: Vec<u8>,
    number: u64,
}

impl Numbered {
    /// The next one of those that begin with some bytes. O(log n).
    ///
    /// # Errors
    /// It is no path; there is no number left.
    pub fn next(tree: &Tree, beginning: &[u8]) -> Result<Numbered, Error> {
        let counter = hidden::counter_of(beginning);
        let last = tree.get(&counter).and_then(|last| parse_u64(last.value()));
        let number = last.map_or(Some(0), |last| last.checked_add(1));
        let number = number.ok_or_else(|| Error::cfg_limit("there are no numbers left"))?;
        let path = [beginning, format!("{number:0DIGITS$}").as_bytes()].concat();
        check_path(&path)?;
        Ok(Numbered { path, counter, number })
    }

    /// The number is taken: whoever comes next has a higher one.
    pub fn take(&self, writer: &mut Writer<'_>) {
        writer.put(&self.counter, &format_u64(self.number), 0, 0);
    }
}
