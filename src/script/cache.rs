//! Scripts that are compiled and kept, by their hash.
//!
//! What SCRIPT LOAD brings stays until it is flushed. What came by EVAL alone is kept as long as it is among the last
//! [`EVALUATED_MAX`] that ran: clients that put values into the text instead of into ARGV would fill the memory otherwise.

use super::engine::Compiled;
use super::flags::ScriptFlags;
use hashbrown::HashMap;

/// Scripts that are kept though they only came by EVAL.
const EVALUATED_MAX: usize = 500;

/// A hash: 40 hexadecimal digits, in lower case.
pub type Sha = [u8; 40];

/// Bytes that a script takes beside its text.
const OVERHEAD: usize = size_of::<Entry>() + size_of::<Sha>() + size_of::<u32>();

/// End of a list.
const NONE: u32 = u32::MAX;

/// A script that is kept.
#[derive(Debug)]
pub struct Script {
    /// What runs.
    pub compiled: Compiled,
    /// Its text.
    pub text: Box<[u8]>,
    /// What it declared.
    pub flags: ScriptFlags,
}

#[derive(Debug)]
struct Entry {
    sha: Sha,
    script: Script,
    /// Came by EVAL: in the list, between these.
    listed: Option<(u32, u32)>,
}

/// All of them.
#[derive(Debug)]
pub struct Cache {
    by_sha: HashMap<Sha, u32, foldhash::fast::FixedState>,
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    /// The list of those that only came by EVAL: the one that ran longest ago, and the one that ran last.
    oldest: u32,
    newest: u32,
    listed: usize,
    bytes: usize,
}

impl Default for Cache {
    fn default() -> Cache {
        Cache {
            by_sha: HashMap::default(),
            entries: Vec::new(),
            free: Vec::new(),
            oldest: NONE,
            newest: NONE,
            listed: 0,
            bytes: 0,
        }
    }
}

impl Cache {
    /// Number of scripts.
    pub fn len(&self) -> usize {
        self.by_sha.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_sha.is_empty()
    }

    /// Bytes that they take outside of the engine.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The one with a hash.
    pub fn get(&self, sha: &Sha) -> Option<&Script> {
        let index = *self.by_sha.get(sha)?;
        Some(&self.entries.get(index as usize)?.as_ref()?.script)
    }

    /// The same, which is about to run.
    pub fn run(&mut self, sha: &Sha) -> Option<&Script> {
        let index = *self.by_sha.get(sha)?;
        if self.newest != index && self.unlink(index) {
            self.link(index);
        }
        Some(&self.entries.get(index as usize)?.as_ref()?.script)
    }

    /// Keeps one. `evaluated`: it only came by EVAL. Gives back one that is not kept any longer to make room.
    pub fn insert(&mut self, sha: Sha, script: Script, evaluated: bool) -> Option<Script> {
        let evicted = if evaluated && self.listed >= EVALUATED_MAX { self.remove(self.oldest) } else { None };
        self.bytes += script.text.len() + OVERHEAD;
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            self.entries.len() as u32 - 1
        });
        self.by_sha.insert(sha, index);
        if let Some(entry) = self.entries.get_mut(index as usize) {
            *entry = Some(Entry { sha, script, listed: None });
        }
        if evaluated {
            self.link(index);
        }
        evicted
    }

    /// SCRIPT LOAD of one that is there: it stays. Says whether it is there.
    pub fn keep(&mut self, sha: &Sha) -> bool {
        let Some(&index) = self.by_sha.get(sha) else { return false };
        self.unlink(index);
        true
    }

    fn entry(&mut self, index: u32) -> Option<&mut Entry> {
        self.entries.get_mut(index as usize)?.as_mut()
    }

    fn remove(&mut self, index: u32) -> Option<Script> {
        self.unlink(index);
        let entry = self.entries.get_mut(index as usize)?.take()?;
        self.by_sha.remove(&entry.sha);
        self.free.push(index);
        self.bytes -= entry.script.text.len() + OVERHEAD;
        Some(entry.script)
    }

    /// Puts one behind those in the list.
    fn link(&mut self, index: u32) {
        let last = self.newest;
        let Some(entry) = self.entry(index) else { return };
        entry.listed = Some((last, NONE));
        match self.entry(last).and_then(|last| last.listed.as_mut()) {
            Some(links) => links.1 = index,
            None => self.oldest = index,
        }
        self.newest = index;
        self.listed += 1;
    }

    /// Takes one out of the list. Says whether it was there.
    fn unlink(&mut self, index: u32) -> bool {
        let Some((before, after)) = self.entry(index).and_then(|entry| entry.listed.take()) else { return false };
        match self.entry(before).and_then(|entry| entry.listed.as_mut()) {
            Some(links) => links.1 = after,
            None => self.oldest = after,
        }
        match self.entry(after).and_then(|entry| entry.listed.as_mut()) {
            Some(links) => links.0 = before,
            None => self.newest = before,
        }
        self.listed -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sha(number: usize) -> Sha {
        let mut sha = [b'0'; 40];
        sha[..8].copy_from_slice(format!("{number:08}").as_bytes());
        sha
    }

    fn script(number: usize) -> Script {
        let text = vec![b'x'; number % 7].into();
        Script { compiled: Compiled(number as i32), text, flags: ScriptFlags::UNDECLARED }
    }

    #[test]
    fn only_so_many_that_came_by_eval_are_kept_and_those_that_ran_last() {
        let mut cache = Cache::default();
        for number in 0..EVALUATED_MAX {
            assert!(cache.insert(sha(number), script(number), true).is_none());
        }
        assert!(cache.run(&sha(0)).is_some());
        assert!(cache.keep(&sha(1)));
        let evicted: Vec<i32> = (1000..1003)
            .filter_map(|number| cache.insert(sha(number), script(number), true))
            .map(|script| script.compiled.0)
            .collect();
        assert_eq!(
            evicted,
            [2, 3],
            "the one that ran and the one that is to stay are not the oldest; there was room for one"
        );
        assert!(cache.get(&sha(0)).is_some() && cache.get(&sha(1)).is_some() && cache.get(&sha(2)).is_none());
        assert_eq!(cache.len(), EVALUATED_MAX + 1);
    }
}
