//! Locks and elections: one of many, with a number that rises.
//!
//! ```text
//!  name /jobs/nightly     the lock; nothing else is below it
//!    /jobs/nightly/77     the key of its holder, who has lease 77; the revision that created it is the token
//!
//!  LOCK ──► nothing below the name, nobody in line: the key is put ──► held until the key goes, whyever
//!    └────► else: to the end of the line ──────────► first in line when the key goes: the command runs again
//! ```
//!
//! An election is the same with a value. A holder who was away too long has lost the lease and with it the key, and whoever
//! comes next has a higher token: what the lock protects can tell them apart.
//!
//! Lines are by database, store and name; who stands in them is a client whose command waits in the server.
//!
//! What must stay true: whoever is first in a line is woken when the key goes or the one before him leaves; nobody passes those who
//! stand in line; a client stands in one line at most, and only while it waits.

use super::writer::Writer;
use super::{Registry, check_path, check_value};
use crate::command::error::Error;
use hashbrown::HashMap;
use std::collections::{BTreeMap, VecDeque};
use weir_structs::number::{format_u64, parse_u64};
use weir_structs::tree::{Change, LeaseId, Revision, Span, Tree, Version};

/// So many paths below a name are looked at for a key.
const LOOKED_AT: usize = 64;

/// Who holds a lock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// The key.
    pub key: Vec<u8>,
    /// The revision that created it.
    pub token: Revision,
}

/// Takes a lock for a lease, if it is free and `is_next`, or says that the lease has it already. `value`: of an election, what
/// the key is to say. `None`: somebody else has it or comes first.
///
/// # Errors
/// There is no such lease, the name is no path, the value too long.
pub fn hold(
    writer: &mut Writer<'_>,
    name: &[u8],
    lease: LeaseId,
    value: Option<&[u8]>,
    is_next: bool,
) -> Result<Option<Held>, Error> {
    let key = [name, b"/", &*format_u64(lease)].concat();
    check_path(&key)?;
    let tree = writer.tree();
    check_value(tree, value.unwrap_or_default())?;
    if tree.lease(lease).is_none() {
        return Err(Error::CFG_NO_LEASE);
    }
    let own = tree.get(&key).filter(|own| own.lease() == lease);
    let says_so = own.is_some_and(|own| value.is_none_or(|value| own.value() == value));
    let is_held = own.is_some();
    let below = &key[..=name.len()];
    if !is_held && (!is_next || tree.span(Span::Prefix(below), None).next().is_some()) {
        return Ok(None);
    }
    if !says_so {
        writer.put(&key, value.unwrap_or_default(), lease, 0);
    }
    let token = writer.tree().get(&key).map_or(0, Version::create);
    Ok(Some(Held { key, token }))
}

/// The holder's key below a name, with its state.
pub fn holder<'t>(tree: &'t Tree, name: &[u8]) -> Option<(&'t [u8], &'t Version)> {
    let below = [name, b"/"].concat();
    let mut paths = tree.span(Span::Prefix(&below), None).take(LOOKED_AT);
    // The closure's result lives as long as the tree, the span's bounds do not.
    let found = paths.find(|(path, version)| is_key(path, version) && path.len() > below.len());
    found.map(|(path, version)| (&**path, version))
}

/// Whether a path is the key of a lock: its last part is the number of its lease.
fn is_key(path: &[u8], version: &Version) -> bool {
    let last = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    version.lease() != 0 && parse_u64(last) == Some(version.lease())
}

/// The state of a key that somebody holds a lock with.
///
/// # Errors
/// There is none, or it is another path.
fn held<'t>(tree: &'t Tree, key: &[u8]) -> Result<&'t Version, Error> {
    check_path(key)?;
    match tree.get(key) {
        None => Err(Error::cfg_lock("nobody holds this key")),
        Some(version) if is_key(key, version) => Ok(version),
        Some(_) => Err(Error::cfg_lock("this path is not the key of a lock")),
    }
}

/// Gives a lock back. Gives the revision.
///
/// # Errors
/// Nobody holds this key.
pub fn release(writer: &mut Writer<'_>, key: &[u8]) -> Result<Revision, Error> {
    held(writer.tree(), key)?;
    writer.delete(key);
    Ok(writer.revision())
}

/// The holder of a key says something else. Gives the revision.
///
/// # Errors
/// Nobody holds this key; the value is too long.
pub fn proclaim(writer: &mut Writer<'_>, key: &[u8], value: &[u8]) -> Result<Revision, Error> {
    let tree = writer.tree();
    let (lease, flags) = held(tree, key).map(|version| (version.lease(), version.flags()))?;
    check_value(tree, value)?;
    writer.put(key, value, lease, flags);
    Ok(writer.revision())
}

/// So many names with lines are compared with a path that is gone; of more, those above it are looked up.
const NAMES_WALKED: usize = 8;

/// Those who wait at one name: their places, and what lease each of them has.
type Line = BTreeMap<u64, (u64, LeaseId)>;
type Key = (usize, Box<[u8]>);

/// Everybody who waits for a lock.
#[derive(Debug, Default)]
pub(super) struct Lines {
    stores: HashMap<Key, HashMap<Box<[u8]>, Line>>,
    /// Where a client stands: store, name and place.
    by_client: HashMap<u64, (Key, Box<[u8]>, u64)>,
    /// Whose command is to run again.
    woken: VecDeque<u64>,
    last_place: u64,
}

impl Lines {
    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.by_client.len()
    }

    /// Whether nobody else comes before a client.
    pub(super) fn is_next(&self, db: usize, store: &[u8], name: &[u8], client: u64) -> bool {
        if self.by_client.is_empty() {
            return true;
        }
        let line = self.stores.get(&(db, store.into())).and_then(|names| names.get(name));
        line.and_then(|line| line.first_key_value()).is_none_or(|(_, (first, _))| *first == client)
    }

    /// A client waits at the end of a line, unless it stands in it.
    pub(super) fn join(&mut self, db: usize, store: &[u8], name: &[u8], client: u64, lease: LeaseId) {
        if let Some((key, at, _)) = self.by_client.get(&client) {
            if (key.0, &*key.1, &**at) == (db, store, name) {
                return;
            }
            self.leave(client);
        }
        self.last_place += 1;
        let key: Key = (db, store.into());
        let line = self.stores.entry(key.clone()).or_default().entry(name.into()).or_default();
        line.insert(self.last_place, (client, lease));
        self.by_client.insert(client, (key, name.into(), self.last_place));
    }

    /// A client waits no longer. Whoever was behind it is first now, perhaps.
    pub(super) fn leave(&mut self, client: u64) {
        if let Some(next) = self.take_out(client) {
            self.woken.push_back(next);
        }
    }

    /// A client has what it waited for.
    pub(super) fn served(&mut self, client: u64) {
        self.take_out(client);
    }

    /// Takes a client out of its line. Gives who is first now, if that was this one.
    fn take_out(&mut self, client: u64) -> Option<u64> {
        let (key, name, place) = self.by_client.remove(&client)?;
        let names = self.stores.get_mut(&key)?;
        let line = names.get_mut(&name)?;
        let was_first = line.first_key_value().is_some_and(|(first, _)| *first == place);
        line.remove(&place);
        if let Some((_, (next, _))) = line.first_key_value() {
            return was_first.then_some(*next);
        }
        names.remove(&name);
        if names.is_empty() {
            self.stores.remove(&key);
        }
        None
    }

    /// A revision of a store is whole: where paths are gone, the first in line have their turn.
    pub(super) fn sealed(&mut self, db: usize, store: &[u8], change: Change<'_>) {
        if self.by_client.is_empty() {
            return;
        }
        let Some(names) = self.stores.get(&(db, store.into())) else { return };
        let first = |line: &Line| line.first_key_value().map(|(_, (client, _))| *client);
        for event in change.events.iter().filter(|event| event.after.is_none()) {
            // Whatever is below a name keeps its lock.
            let is_below = |name: &[u8]| event.path.strip_prefix(name).is_some_and(|rest| rest.first() == Some(&b'/'));
            let lines = names.iter().filter(|(name, _)| is_below(name)).map(|(_, line)| line);
            if names.len() <= NAMES_WALKED {
                self.woken.extend(lines.filter_map(first));
                continue;
            }
            let ends = event.path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
            let above = ends.filter_map(|end| event.path.get(..end)).filter_map(|name| names.get(name));
            self.woken.extend(above.filter_map(first));
        }
    }

    /// A lease has ended: who waits with it waits in vain.
    pub(super) fn lease_ended(&mut self, db: usize, store: &[u8], lease: LeaseId) {
        if self.by_client.is_empty() {
            return;
        }
        let lines = self.stores.get(&(db, store.into())).into_iter().flat_map(HashMap::values);
        let vain = lines.flat_map(BTreeMap::values).filter(|(_, of)| *of == lease).map(|(client, _)| *client);
        self.woken.extend(vain);
    }

    /// What was at a key is gone: all who wait there are to hear of it.
    pub(super) fn store_gone(&mut self, db: usize, store: &[u8]) {
        if self.by_client.is_empty() {
            return;
        }
        let lines = self.stores.get(&(db, store.into())).into_iter().flat_map(HashMap::values);
        self.woken.extend(lines.flat_map(BTreeMap::values).map(|(client, _)| *client));
    }

    /// The same of all keys of a database.
    pub(super) fn database_gone(&mut self, db: usize) {
        let stores = self.stores.iter().filter(|((of, _), _)| *of == db).map(|(_, names)| names);
        let lines = stores.flat_map(HashMap::values);
        self.woken.extend(lines.flat_map(BTreeMap::values).map(|(client, _)| *client));
    }

    /// A client whose command is to run again.
    pub(super) fn next_woken(&mut self) -> Option<u64> {
        self.woken.pop_front()
    }
}

impl Registry {
    /// Whether nobody waits for a lock before a client.
    pub fn is_next_in_line(&self, db: usize, store: &[u8], name: &[u8], client: u64) -> bool {
        self.lines.is_next(db, store, name, client)
    }

    /// A client waits for a lock from now on; it keeps its place if it has one.
    pub fn join_line(&mut self, db: usize, store: &[u8], name: &[u8], client: u64, lease: LeaseId) {
        self.lines.join(db, store, name, client, lease);
    }

    /// A client has the lock that it waited for.
    pub fn has_lock(&mut self, client: u64) {
        self.lines.served(client);
    }

    /// A client waits no longer.
    pub fn leave_line(&mut self, client: u64) {
        self.lines.leave(client);
    }

    /// Clients that wait for a lock.
    pub fn waiting_for_locks(&self) -> usize {
        self.lines.len()
    }

    /// Whether the command of a client is to run again.
    #[inline]
    pub fn has_woken(&self) -> bool {
        !self.lines.woken.is_empty()
    }

    /// A client whose command is to run again, since what it waits for is its own now, or never will be.
    pub fn next_woken(&mut self) -> Option<u64> {
        self.lines.next_woken()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_structs::tree::Write;

    fn woken(lines: &mut Lines) -> Vec<u64> {
        std::iter::from_fn(|| lines.next_woken()).collect()
    }

    /// Deletes paths of a store, in one revision, and lets the lines know.
    fn delete(lines: &mut Lines, store: &[u8], paths: &[&str]) -> Vec<u64> {
        let mut tree = Tree::new(1);
        for path in paths {
            tree.write(1, 0, Write::Put { path: path.as_bytes(), value: b"", lease: 0, flags: 0 });
        }
        for path in paths {
            tree.write(2, 0, Write::Del { path: path.as_bytes() });
        }
        lines.sealed(0, store, tree.change(2).expect("it has events"));
        woken(lines)
    }

    fn lines(names: &[(&str, &[u64])]) -> Lines {
        let mut lines = Lines::default();
        for (name, clients) in names {
            for client in *clients {
                lines.join(0, b"s", name.as_bytes(), *client, client * 10);
            }
        }
        lines
    }

    #[test]
    fn the_first_in_line_is_woken_when_something_below_the_name_goes() {
        for others in [0, 20] {
            let mut lines = lines(&[("/a", &[1, 2]), ("/a/b", &[3]), ("/ab", &[4])]);
            // Of many names they are found another way.
            for client in 0..others {
                lines.join(0, b"s", format!("/other/{client}").as_bytes(), 100 + client, 1);
            }
            assert_eq!(delete(&mut lines, b"s", &["/a/7"]), [1]);
            assert_eq!(delete(&mut lines, b"s", &["/ab/7"]), [4]);
            let mut both = delete(&mut lines, b"s", &["/a/b/7"]);
            both.sort_unstable();
            assert_eq!(both, [1, 3]);
            assert!(delete(&mut lines, b"s", &["/a", "/abc/7", "/x"]).is_empty());
            assert!(delete(&mut lines, b"t", &["/a/7"]).is_empty());
        }
    }

    #[test]
    fn who_leaves_from_the_front_wakes_the_next_and_nobody_else_does() {
        let mut lines = lines(&[("/a", &[1, 2, 3])]);
        assert!(
            lines.is_next(0, b"s", b"/a", 1) && !lines.is_next(0, b"s", b"/a", 2) && lines.is_next(0, b"s", b"/b", 2)
        );
        lines.join(0, b"s", b"/a", 1, 10);
        assert!(lines.is_next(0, b"s", b"/a", 1), "who joins again keeps the place");
        lines.leave(2);
        assert!(woken(&mut lines).is_empty());
        lines.leave(1);
        assert_eq!(woken(&mut lines), [3]);
        lines.served(3);
        lines.leave(3);
        assert_eq!((woken(&mut lines), lines.len(), lines.stores.len()), (vec![], 0, 0));
    }

    #[test]
    fn all_who_wait_in_vain_are_woken() {
        let mut lines = lines(&[("/a", &[1, 2]), ("/b", &[3])]);
        lines.join(1, b"s", b"/a", 4, 20);
        lines.lease_ended(0, b"s", 20);
        assert_eq!(woken(&mut lines), [2]);
        lines.store_gone(0, b"s");
        let mut all = woken(&mut lines);
        all.sort_unstable();
        assert_eq!(all, [1, 2, 3]);
        lines.database_gone(1);
        assert_eq!(woken(&mut lines), [4]);
    }
}
