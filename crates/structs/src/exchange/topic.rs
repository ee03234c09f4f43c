//! Patterns of words: a trie that is walked with a set of states.
//!
//! ```text
//!  patterns                    trie                      the key a.b.c leads to
//!  a.b.c   1            ┌─ a ─┬─ b ── c (1)              before a:  root #(3)
//!  a.*.#   2       root ┤     └─ * ── # (2)              before b:  a #(3)
//!  #.c     3            └─ # ── c (3)                    before c:  b * #(2) #(3)
//!                                                        at the end: c(1) #(2) #(3) c(3)
//! ```
//!
//! `*` is exactly one word; `#` is none or more, so whoever reaches a node reaches its `#` as well, and a `#` that was
//! reached stays. Any other node has one parent and is reached by one word from it, so it is never twice in a set; of
//! the nodes of `#` the sieve knows which were entered. So the work a word is at most one look-up for each state, no state is
//! there twice, and patterns that share no beginning with the key are not looked at, however many they are.
//!
//! An empty key has no words; any other has one more than it has dots, and words may be empty.
//!
//! What must stay true: a node without bindings has a child, apart from the root.

use std::hash::BuildHasher;

use foldhash::quality::RandomState;

use super::bag::Bag;
use super::numbered::Numbered;
use super::sieve::Sieve;
use super::word::Word;
use crate::split_table::SplitTable;

/// No node.
const NONE: u32 = u32::MAX;

/// The root, which is there whenever a node is.
const ROOT: u32 = 0;

/// Where which routing key leads to.
#[derive(Clone, Debug, Default)]
pub(super) struct Topic {
    hasher: RandomState,
    nodes: Numbered<Node>,
    edges: SplitTable<Edge>,
    /// Of long words and of bags.
    bytes: usize,
}

#[derive(Clone, Debug)]
struct Node {
    /// Number of children by words.
    words: u32,
    /// The child by `*`.
    star: u32,
    /// The child by `#`.
    hash: u32,
    /// Where patterns lead that end here.
    ends: Bag,
}

impl Default for Node {
    fn default() -> Node {
        Node { words: 0, star: NONE, hash: NONE, ends: Bag::Empty }
    }
}

/// From a node by a word to another.
#[derive(Clone, Debug)]
struct Edge {
    from: u32,
    to: u32,
    word: Word,
}

/// The words of a key.
pub(super) fn words(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    let none = key.is_empty();
    key.split(|&byte| byte == b'.').filter(move |_| !none)
}

impl Topic {
    /// A pattern leads to a destination, once more. False if there are too many nodes; then nothing changed.
    pub(super) fn add(&mut self, pattern: &[u8], destination: u32) -> bool {
        let further = words(pattern).count() + 1;
        if u32::MAX as usize - self.nodes.end() <= further {
            return false;
        }
        if self.nodes.len() == 0 {
            self.new_node();
        }
        let mut at = ROOT;
        for word in words(pattern) {
            at = match self.child(at, word) {
                NONE => self.grow(at, word),
                child => child,
            };
        }
        let ends = &mut self.nodes[at].ends;
        self.bytes -= ends.memory_bytes();
        ends.add(destination);
        self.bytes += ends.memory_bytes();
        true
    }

    /// A pattern, which was added, leads to a destination once less.
    pub(super) fn remove(&mut self, pattern: &[u8], destination: u32) {
        if self.nodes.len() == 0 {
            return;
        }
        let mut path = vec![ROOT];
        for word in words(pattern) {
            match self.child(path[path.len() - 1], word) {
                NONE => return,
                child => path.push(child),
            }
        }
        let ends = &mut self.nodes[path[path.len() - 1]].ends;
        self.bytes -= ends.memory_bytes();
        ends.remove(destination);
        self.bytes += ends.memory_bytes();

        let words: Vec<_> = words(pattern).collect();
        for (step, word) in path.windows(2).zip(words).rev() {
            if !self.nodes[step[1]].is_useless() {
                return;
            }
            self.cut(step[0], word, step[1]);
        }
        if self.nodes[ROOT].is_useless() {
            self.nodes.remove(ROOT);
        }
    }

    /// Finds where a key leads to.
    pub(super) fn route(&self, key: &[u8], sieve: &mut Sieve) {
        if self.nodes.len() == 0 {
            return;
        }
        sieve.states.push(ROOT);
        self.enter(self.nodes[ROOT].hash, sieve);
        for word in words(key) {
            let hash = self.hasher.hash_one(word);
            let mut next = std::mem::take(&mut sieve.next);
            next.clear();
            for &state in sieve.states.iter().chain(&sieve.hashes) {
                let node = &self.nodes[state];
                if node.star != NONE {
                    next.push(node.star);
                }
                if node.words > 0
                    && let Some(edge) = self.edges.find(edge_hash(hash, state), |edge| edge.is(state, word))
                {
                    next.push(edge.to);
                }
            }
            for &state in &next {
                self.enter(self.nodes[state].hash, sieve);
            }
            sieve.next = std::mem::replace(&mut sieve.states, next);
            if sieve.states.is_empty() && sieve.hashes.is_empty() {
                return;
            }
        }
        let (states, hashes) = (std::mem::take(&mut sieve.states), std::mem::take(&mut sieve.hashes));
        for &state in states.iter().chain(&hashes) {
            self.nodes[state].ends.each(|destination| sieve.add(destination));
        }
        (sieve.states, sieve.hashes) = (states, hashes);
    }

    /// Reaches a node of `#`, if it is one, and what follows it without a word.
    #[inline]
    fn enter(&self, mut node: u32, sieve: &mut Sieve) {
        while node != NONE && sieve.enter(node) {
            node = self.nodes[node].hash;
        }
    }

    /// Bytes on the heap. O(1).
    pub(super) fn memory_bytes(&self) -> usize {
        self.nodes.memory_bytes() + self.edges.memory_bytes() + self.bytes
    }

    /// The child of a node by a word of a pattern.
    fn child(&self, from: u32, word: &[u8]) -> u32 {
        match word {
            b"*" => self.nodes[from].star,
            b"#" => self.nodes[from].hash,
            word => {
                let hash = edge_hash(self.hasher.hash_one(word), from);
                self.edges.find(hash, |edge| edge.is(from, word)).map_or(NONE, |edge| edge.to)
            }
        }
    }

    /// Makes a child that is not there.
    fn grow(&mut self, from: u32, word: &[u8]) -> u32 {
        let to = self.new_node();
        match word {
            b"*" => self.nodes[from].star = to,
            b"#" => self.nodes[from].hash = to,
            word => {
                self.nodes[from].words += 1;
                let edge = Edge { from, to, word: Word::new(word) };
                self.bytes += edge.word.memory_bytes();
                let hasher = &self.hasher;
                self.edges.insert(edge.hash(hasher), edge, |edge| edge.hash(hasher));
            }
        }
        to
    }

    /// Removes a child that has none itself.
    fn cut(&mut self, from: u32, word: &[u8], child: u32) {
        match word {
            b"*" => self.nodes[from].star = NONE,
            b"#" => self.nodes[from].hash = NONE,
            word => {
                self.nodes[from].words -= 1;
                let hasher = &self.hasher;
                let hash = edge_hash(hasher.hash_one(word), from);
                let edge = self.edges.remove(hash, |edge| edge.is(from, word), |edge| edge.hash(hasher));
                self.bytes -= edge.map_or(0, |edge| edge.word.memory_bytes());
            }
        }
        self.nodes.remove(child);
    }

    fn new_node(&mut self) -> u32 {
        self.nodes.add(Node::default()).expect("there are fewer nodes than numbers: `add` has looked")
    }
}

impl Node {
    fn is_useless(&self) -> bool {
        self.words == 0 && self.star == NONE && self.hash == NONE && self.ends.is_empty()
    }
}

impl Edge {
    #[inline]
    fn is(&self, from: u32, word: &[u8]) -> bool {
        self.from == from && self.word.as_bytes() == word
    }

    fn hash(&self, hasher: &RandomState) -> u64 {
        edge_hash(hasher.hash_one(self.word.as_bytes()), self.from)
    }
}

/// The hash of an edge, of that of its word and the node where it begins.
#[inline]
fn edge_hash(word: u64, from: u32) -> u64 {
    let product = u128::from(word ^ u64::from(from)) * u128::from(0x9E37_79B9_7F4A_7C15_u64 ^ u64::from(from) << 32);
    (product >> 64) as u64 ^ product as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rng;

    /// Whether a pattern matches, worked out by trying everything.
    fn matches(pattern: &[&[u8]], key: &[&[u8]]) -> bool {
        match pattern.split_first() {
            None => key.is_empty(),
            Some((&b"#", rest)) => (0..=key.len()).any(|skipped| matches(rest, &key[skipped..])),
            Some((&word, rest)) => {
                key.split_first().is_some_and(|(&first, keys)| (word == b"*" || word == first) && matches(rest, keys))
            }
        }
    }

    fn found(topic: &Topic, key: &[u8], sieve: &mut Sieve) -> Vec<u32> {
        sieve.clear();
        topic.route(key, sieve);
        sieve.finish();
        let mut found: Vec<u32> = sieve.found.iter().map(|id| id.0).collect();
        found.sort_unstable();
        found
    }

    #[track_caller]
    fn check(pattern: &str, matching: &[&str], others: &[&str]) {
        let mut topic = Topic::default();
        assert!(topic.add(pattern.as_bytes(), 5));
        let sieve = &mut Sieve::new();
        for key in matching {
            assert_eq!(found(&topic, key.as_bytes(), sieve), [5], "{pattern} and {key}");
        }
        for key in others {
            assert_eq!(found(&topic, key.as_bytes(), sieve), [0; 0], "{pattern} and {key}");
        }
    }

    #[test]
    fn a_star_is_one_word_and_a_hash_any_number() {
        check("a.#", &["a", "a.b", "a.b.c", "a."], &["", "b", "ab", "b.a"]);
        check("a.*", &["a.b", "a."], &["a", "a.b.c", "b.a"]);
        check("#.b", &["b", "a.b", "a.b.b", "b.b", ".b"], &["", "b.a", "ab"]);
        check("*.#.*", &["a.b", "a.b.c", "."], &["", "a"]);
        check("#.#", &["", "a", "a.b"], &[]);
        check("#", &["", "a", "a.b.c.d", "."], &[]);
        check("*", &["a"], &["", "a.b", "."]);
        check("#.a.#.a.#", &["a.a", "b.a.c.a.d", "a.a.a"], &["a", "b.a.b"]);
        check("", &[""], &["a", "."]);
        check("a..b", &["a..b"], &["a.b", "a.x.b"]);
        check("a*.#b", &["a*.#b"], &["ax.b", "a.b"]);
        check("kern.*.*", &["kern.a.b"], &["kern.a"]);
    }

    #[test]
    fn it_finds_what_trying_everything_finds() {
        let mut rng = Rng::new(11);
        let words = [&b"a"[..], b"b", b"a long word, longer than others", b"", b"*", b"#"];
        let some = |rng: &mut Rng, among: usize, most: usize| {
            let len = rng.below(most + 1);
            (0..len).map(|_| words[rng.below(among)]).collect::<Vec<_>>()
        };
        for _ in 0..300 {
            let (mut topic, mut model) = (Topic::default(), Vec::new());
            let mut sieve = Sieve::new();
            for _ in 0..60 {
                let pattern = some(&mut rng, 6, 5).join(&b'.');
                let destination = rng.below(8) as u32;
                topic.add(&pattern, destination);
                model.push((pattern, destination));
                if rng.below(3) == 0 {
                    let (pattern, destination) = model.swap_remove(rng.below(model.len()));
                    topic.remove(&pattern, destination);
                }
                let key = some(&mut rng, 4, 7).join(&b'.');
                let mut expected: Vec<u32> = model
                    .iter()
                    .filter(|(pattern, _)| {
                        let (pattern, key): (Vec<_>, Vec<_>) =
                            (super::words(pattern).collect(), super::words(&key).collect());
                        matches(&pattern, &key)
                    })
                    .map(|(_, destination)| *destination)
                    .collect();
                expected.sort_unstable();
                expected.dedup();
                assert_eq!(found(&topic, &key, &mut sieve), expected, "{model:?} {key:?}");
            }
            for (pattern, destination) in model {
                topic.remove(&pattern, destination);
            }
            assert_eq!((topic.nodes.len(), topic.edges.len(), topic.bytes, topic.memory_bytes()), (0, 0, 0, 0));
        }
    }

    #[test]
    fn hashes_in_a_row_do_not_multiply() {
        let mut topic = Topic::default();
        let pattern = ["#.a"; 60].join(".");
        topic.add(pattern.as_bytes(), 1);
        topic.add(b"#.#.#.#.#.#", 2);
        let sieve = &mut Sieve::new();
        assert_eq!(found(&topic, ["a"; 10_000].join(".").as_bytes(), sieve), [1, 2]);
        assert_eq!(found(&topic, ["a"; 59].join(".").as_bytes(), sieve), [2]);
        assert!(sieve.memory_bytes() < 16 * 1024);
    }
}
