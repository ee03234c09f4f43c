//! ACL LOG: who was refused what.
//!
//! Somebody who is refused the same again within a minute is one entry with a count, as long as it is among the newest;
//! names and keys are cut. So whatever clients try, the log takes no more than its length times a few hundred bytes.

use super::check::Reason;
use std::collections::VecDeque;

/// Where a refused call came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Context {
    /// From a client.
    TopLevel,
    /// Between MULTI and EXEC, or by EXEC.
    Multi,
    /// From a script.
    Lua,
    /// From a module.
    Module,
}

impl Context {
    /// As ACL LOG calls it.
    pub fn name(self) -> &'static str {
        match self {
            Context::TopLevel => "toplevel",
            Context::Multi => "multi",
            Context::Lua => "lua",
            Context::Module => "module",
        }
    }
}

/// A refusal.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    /// Why.
    pub reason: Reason,
    /// In which context.
    pub context: Context,
    /// What was refused: the command, key, channel or database.
    pub object: &'a [u8],
    /// Whose call it was, or who somebody claimed to be.
    pub username: &'a [u8],
    /// The client, as CLIENT LIST shows it.
    pub client: String,
}

/// One line of the log.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its number, counted up from 0.
    pub id: u64,
    /// How often this happened.
    pub count: u64,
    /// See [`Event`].
    pub reason: Reason,
    /// See [`Event`].
    pub context: Context,
    /// See [`Event`]; cut.
    pub object: Box<[u8]>,
    /// See [`Event`]; cut.
    pub username: Box<[u8]>,
    /// The client that it happened to last.
    pub client: String,
    /// Unix time when it first happened, in ms.
    pub created_ms: i64,
    /// Unix time when it last happened, in ms.
    pub updated_ms: i64,
}

/// The log, newest first.
#[derive(Debug, Default)]
pub struct AclLog {
    entries: VecDeque<Entry>,
    len_max: usize,
    next_id: u64,
}

/// How long after the last time the same is counted and not listed again, in ms.
const SAME_WITHIN_MS: i64 = 60_000;
/// Newest entries that are searched for the same.
const SEARCHED: usize = 10;
/// Bytes of an object or a name that are kept.
const TEXT_MAX: usize = 1024;
/// Bytes of the description of a client that are kept.
const CLIENT_TEXT_MAX: usize = 4096;

impl AclLog {
    /// Sets how many entries are kept when the next one is written.
    pub fn set_len_max(&mut self, len_max: usize) {
        self.len_max = len_max;
    }

    /// Writes a refusal down.
    pub fn record(&mut self, event: Event<'_>, now_ms: i64) {
        let Event { reason, context, object, username, mut client } = event;
        let (object, username) = (cut(object), cut(username));
        while client.len() > CLIENT_TEXT_MAX {
            client.pop();
        }
        let same = self.entries.iter().take(SEARCHED).position(|entry| {
            (entry.reason, entry.context) == (reason, context)
                && *entry.object == *object
                && *entry.username == *username
                && (now_ms - entry.updated_ms).abs() <= SAME_WITHIN_MS
        });
        let entry = match same.and_then(|at| self.entries.remove(at)) {
            Some(entry) => Entry { count: entry.count + 1, client, updated_ms: now_ms, ..entry },
            None => {
                let id = self.next_id;
                self.next_id += 1;
                let (object, username) = (object.into(), username.into());
                Entry {
                    id,
                    count: 1,
                    reason,
                    context,
                    object,
                    username,
                    client,
                    created_ms: now_ms,
                    updated_ms: now_ms,
                }
            }
        };
        self.entries.push_front(entry);
        self.entries.truncate(self.len_max);
    }

    /// Forgets all entries; numbers go on.
    pub fn reset(&mut self) {
        self.entries.clear();
    }

    /// The newest entries, newest first.
    pub fn latest(&self, count: usize) -> impl ExactSizeIterator<Item = &Entry> {
        self.entries.iter().take(count)
    }

    /// Bytes of heap behind it, nearly.
    pub fn heap_bytes(&self) -> usize {
        let texts: usize =
            self.entries.iter().map(|one| one.object.len() + one.username.len() + one.client.len()).sum();
        self.entries.capacity() * size_of::<Entry>() + texts
    }
}

fn cut(text: &[u8]) -> &[u8] {
    text.get(..TEXT_MAX).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(len_max: usize, events: &[(&str, i64)]) -> AclLog {
        let mut log = AclLog::default();
        log.set_len_max(len_max);
        for (object, now_ms) in events {
            let event = Event {
                reason: Reason::Key,
                context: Context::TopLevel,
                object: object.as_bytes(),
                username: b"joe",
                client: format!("at {now_ms}"),
            };
            log.record(event, *now_ms);
        }
        log
    }

    fn shown(log: &AclLog) -> Vec<(u64, u64, String)> {
        let entries = log.latest(usize::MAX);
        entries.map(|entry| (entry.id, entry.count, String::from_utf8_lossy(&entry.object).into_owned())).collect()
    }

    #[test]
    fn the_same_within_a_minute_is_counted_and_comes_first() {
        let log = log(10, &[("a", 0), ("b", 1), ("a", 60_000), ("a", 120_001)]);
        assert_eq!(shown(&log), [(2, 1, "a".into()), (0, 2, "a".into()), (1, 1, "b".into())]);
        let first = log.latest(3).nth(1).unwrap();
        assert_eq!((first.created_ms, first.updated_ms, &*first.client), (0, 60_000, "at 60000"));
    }

    #[test]
    fn only_the_newest_are_searched_for_the_same() {
        let names: Vec<String> = (0..11).map(|number| format!("k{number}")).collect();
        let events: Vec<(&str, i64)> =
            names.iter().map(|name| (name.as_str(), 0)).chain([("k0", 1), ("k2", 1)]).collect();
        let log = log(100, &events);
        assert_eq!(shown(&log)[..2], [(2, 2, "k2".into()), (11, 1, "k0".into())]);
    }

    #[test]
    fn length_and_texts_are_limited() {
        let long = "x".repeat(1 << 20);
        let mut log = log(2, &[("a", 0), ("b", 0), (&long, 0)]);
        assert_eq!(log.latest(9).len(), 2);
        assert!(log.heap_bytes() < 8_000, "{}", log.heap_bytes());
        log.reset();
        assert_eq!(log.latest(9).len(), 0);
        assert_eq!(shown(&self::log(0, &[("a", 0)])), []);
    }
}
