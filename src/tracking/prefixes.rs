//! Prefixes of keys that clients want to hear of, and who wants each.
//!
//! ```text
//!   (root) ── "user:" ─┬─ "1"      prefixes user:1, user:2, and orders:
//!          │           └─ "2"
//!          └─ "orders:"
//! ```
//!
//! A radix tree: a node has the bytes that lead to it from its parent, and its children begin with different bytes. So all
//! prefixes that a key has are found on one way down, in time that depends on the key and not on how many prefixes there
//! are.
//!
//! What must stay true: a node that is no prefix has at least two children, except for the root.

use super::table::TrackerId;
use hashbrown::HashMap;

const ROOT: usize = 0;

#[derive(Debug, Default)]
struct Node {
    label: Box<[u8]>,
    parent: usize,
    /// By the first byte of their labels.
    children: Vec<usize>,
    /// Numbers by place. None for a node that is no prefix.
    wanted_by: Option<HashMap<u32, u32>>,
}

/// A prefix that somebody wants to hear of; good until the next change of [`Prefixes`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PrefixAt(usize);

/// All prefixes.
#[derive(Debug)]
pub struct Prefixes {
    nodes: Vec<Node>,
    free: Vec<usize>,
    len: usize,
}

impl Default for Prefixes {
    fn default() -> Prefixes {
        Prefixes { nodes: vec![Node::default()], free: Vec::new(), len: 0 }
    }
}

impl Prefixes {
    /// How many different ones.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A client wants to hear of the keys with a prefix.
    pub fn add(&mut self, prefix: &[u8], client: TrackerId) {
        let mut at = ROOT;
        let mut rest = prefix;
        while !rest.is_empty() {
            let child = match self.child(at, rest[0]) {
                Ok(found) => self.nodes[at].children[found],
                Err(place) => {
                    let leaf = self.new_node(rest.into(), at);
                    self.nodes[at].children.insert(place, leaf);
                    leaf
                }
            };
            let alike = alike(&self.nodes[child].label, rest);
            at = if alike < self.nodes[child].label.len() { self.split(child, alike) } else { child };
            rest = &rest[alike..];
        }
        let node = &mut self.nodes[at];
        self.len += usize::from(node.wanted_by.is_none());
        node.wanted_by.get_or_insert_default().insert(client.place, client.number);
    }

    /// It does not want to any more.
    pub fn remove(&mut self, prefix: &[u8], client: TrackerId) {
        let mut at = ROOT;
        let mut rest = prefix;
        while let Some(&first) = rest.first() {
            let Ok(found) = self.child(at, first) else { return };
            at = self.nodes[at].children[found];
            match rest.strip_prefix(&*self.nodes[at].label) {
                Some(more) => rest = more,
                None => return,
            }
        }
        let Some(wanted_by) = &mut self.nodes[at].wanted_by else { return };
        wanted_by.remove(&client.place);
        if wanted_by.is_empty() {
            self.nodes[at].wanted_by = None;
            self.len -= 1;
            self.tidy(at);
        }
    }

    /// Gives every prefix that a key has, and its length, to `f`, shorter ones first.
    pub fn of_key(&self, key: &[u8], mut f: impl FnMut(PrefixAt, usize)) {
        let mut at = ROOT;
        let mut rest = key;
        loop {
            let node = &self.nodes[at];
            if node.wanted_by.is_some() {
                f(PrefixAt(at), key.len() - rest.len());
            }
            let Some(&first) = rest.first() else { return };
            let Ok(found) = self.child(at, first) else { return };
            at = node.children[found];
            match rest.strip_prefix(&*self.nodes[at].label) {
                Some(more) => rest = more,
                None => return,
            }
        }
    }

    /// Who wants to hear of a prefix.
    pub fn wanted_by(&self, prefix: PrefixAt) -> impl Iterator<Item = TrackerId> {
        let wanted_by = self.nodes.get(prefix.0).and_then(|node| node.wanted_by.as_ref());
        wanted_by.into_iter().flatten().map(|(&place, &number)| TrackerId { place, number })
    }

    /// Bytes of memory, estimated.
    pub fn memory_bytes(&self) -> usize {
        let behind = |node: &Node| {
            node.label.len()
                + node.children.capacity() * size_of::<usize>()
                + node.wanted_by.as_ref().map_or(0, |wanted| wanted.capacity() * 9)
        };
        self.nodes.capacity() * size_of::<Node>() + self.nodes.iter().map(behind).sum::<usize>()
    }

    /// Which of a node's children begins with a byte, or where it would be.
    fn child(&self, at: usize, first: u8) -> Result<usize, usize> {
        self.nodes[at].children.binary_search_by_key(&Some(&first), |&child| self.nodes[child].label.first())
    }

    fn new_node(&mut self, label: Box<[u8]>, parent: usize) -> usize {
        let node = Node { label, parent, children: Vec::new(), wanted_by: None };
        match self.free.pop() {
            Some(at) => {
                self.nodes[at] = node;
                at
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() - 1
            }
        }
    }

    /// Puts a node in the middle of another's label; returns the new one.
    fn split(&mut self, lower: usize, at: usize) -> usize {
        let label = std::mem::take(&mut self.nodes[lower].label);
        let parent = self.nodes[lower].parent;
        let upper = self.new_node(label[..at].into(), parent);
        self.nodes[upper].children.push(lower);
        for child in &mut self.nodes[parent].children {
            if *child == lower {
                *child = upper;
            }
        }
        self.nodes[lower].label = label[at..].into();
        self.nodes[lower].parent = upper;
        upper
    }

    /// A node is no prefix any more: takes it out if nothing needs it, and then looks at its parent.
    fn tidy(&mut self, at: usize) {
        let node = &self.nodes[at];
        if at == ROOT || node.wanted_by.is_some() {
            return;
        }
        let parent = node.parent;
        match node.children[..] {
            [] => {
                self.nodes[parent].children.retain(|&child| child != at);
                self.nodes[at] = Node::default();
                self.free.push(at);
                self.tidy_only_child(parent);
            }
            [only] => self.join(at, only),
            _ => {}
        }
    }

    fn tidy_only_child(&mut self, at: usize) {
        if at != ROOT
            && self.nodes[at].wanted_by.is_none()
            && let [only] = self.nodes[at].children[..]
        {
            self.join(at, only);
        }
    }

    /// Takes out a node with one child, whose label becomes both of theirs.
    fn join(&mut self, at: usize, only: usize) {
        let parent = self.nodes[at].parent;
        let label = [&*self.nodes[at].label, &*self.nodes[only].label].concat();
        self.nodes[only].label = label.into();
        self.nodes[only].parent = parent;
        for child in &mut self.nodes[parent].children {
            if *child == at {
                *child = only;
            }
        }
        self.nodes[at] = Node::default();
        self.free.push(at);
    }
}

/// How many bytes two have in common at their beginning.
fn alike(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn id(place: u32) -> TrackerId {
        TrackerId { place, number: place }
    }

    fn found(prefixes: &Prefixes, key: &[u8]) -> Vec<u32> {
        let mut all = Vec::new();
        prefixes.of_key(key, |prefix, len| {
            assert!(len <= key.len());
            let mut wanted: Vec<_> = prefixes.wanted_by(prefix).map(|c| c.place).collect();
            wanted.sort_unstable();
            all.extend(wanted);
        });
        all
    }

    #[test]
    fn finds_all_prefixes_of_a_key() {
        let mut prefixes = Prefixes::default();
        for (prefix, place) in [("user:", 1), ("user:1", 2), ("us", 3), ("", 4), ("order:", 5)] {
            prefixes.add(prefix.as_bytes(), id(place));
        }
        assert_eq!(prefixes.len(), 5);
        assert_eq!(found(&prefixes, b"user:17"), [4, 3, 1, 2]);
        assert_eq!(found(&prefixes, b"user:2"), [4, 3, 1]);
        assert_eq!(found(&prefixes, b"u"), [4]);
        assert_eq!(found(&prefixes, b""), [4]);
        prefixes.remove(b"user:", id(1));
        prefixes.remove(b"user:", id(1));
        prefixes.remove(b"user:7", id(1));
        assert_eq!(found(&prefixes, b"user:17"), [4, 3, 2]);
        prefixes.remove(b"", id(4));
        assert_eq!(found(&prefixes, b"order:17"), [5]);
        assert_eq!(prefixes.len(), 3);
    }

    #[test]
    fn holds_what_a_model_holds_and_gives_every_node_back() {
        let mut prefixes = Prefixes::default();
        let mut model: BTreeMap<Vec<u8>, BTreeSet<u32>> = BTreeMap::new();
        let mut seed = 3u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        for _ in 0..50_000 {
            let prefix: Vec<u8> = (0..random(6)).map(|_| b'a' + random(3) as u8).collect();
            let place = random(3) as u32;
            if random(2) == 0 {
                prefixes.add(&prefix, id(place));
                model.entry(prefix).or_default().insert(place);
            } else {
                prefixes.remove(&prefix, id(place));
                if let Some(wanted) = model.get_mut(&prefix) {
                    wanted.remove(&place);
                    if wanted.is_empty() {
                        model.remove(&prefix);
                    }
                }
            }
            assert_eq!(prefixes.len(), model.len());
            let key: Vec<u8> = (0..random(8)).map(|_| b'a' + random(3) as u8).collect();
            let known: Vec<u32> = (0..=key.len())
                .filter_map(|len| model.get(&key[..len]))
                .flat_map(|wanted| wanted.iter().copied())
                .collect();
            assert_eq!(found(&prefixes, &key), known);
        }
        for (prefix, wanted) in model {
            for place in wanted {
                prefixes.remove(&prefix, id(place));
            }
        }
        assert!(prefixes.is_empty() && prefixes.nodes[ROOT].children.is_empty());
        assert_eq!(prefixes.free.len() + 1, prefixes.nodes.len());
    }
}
