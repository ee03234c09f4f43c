//! The commands that rules speak of: their names, categories and subcommands, by the numbers that bitmaps use.

use crate::command::spec::Acl;
use hashbrown::HashMap;

/// What rules need to know of a command or subcommand.
#[derive(Clone, Debug)]
pub struct CommandFacts {
    /// Full name in lower case: `get`, `config|get`.
    pub name: &'static str,
    /// Its categories.
    pub acl: Acl,
    /// Numbers of its subcommands.
    pub subs: Vec<usize>,
    /// Whether it is a subcommand.
    pub is_sub: bool,
}

/// All commands, found by number or name.
#[derive(Debug)]
pub struct Catalog {
    facts: Vec<CommandFacts>,
    by_name: HashMap<&'static str, usize, foldhash::fast::FixedState>,
}

impl Catalog {
    /// Of all commands; the place of each is its number.
    pub fn new(facts: Vec<CommandFacts>) -> Catalog {
        let by_name = facts.iter().enumerate().map(|(id, facts)| (facts.name, id)).collect();
        Catalog { facts, by_name }
    }

    /// How many there are; numbers are below it.
    pub fn len(&self) -> usize {
        self.facts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.facts.is_empty()
    }

    /// The number of the command with this full name, in upper or lower case.
    pub fn find(&self, name: &[u8]) -> Option<usize> {
        let name = std::str::from_utf8(name).ok()?.to_ascii_lowercase();
        self.by_name.get(&*name).copied()
    }

    /// What is known of a command.
    pub fn facts(&self, id: usize) -> Option<&CommandFacts> {
        self.facts.get(id)
    }

    /// All of them with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &CommandFacts)> {
        self.facts.iter().enumerate()
    }

    /// The category called `name`, without the `@`, in upper or lower case.
    pub fn category(name: &[u8]) -> Option<Acl> {
        Acl::all().iter_names().find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes())).map(|(_, acl)| acl)
    }
}

/// A few commands of each kind, for the tests of this room.
#[cfg(test)]
pub(super) fn sample() -> &'static Catalog {
    static SAMPLE: std::sync::OnceLock<Catalog> = std::sync::OnceLock::new();
    SAMPLE.get_or_init(|| {
        let row =
            |name, acl, subs: &[usize]| CommandFacts { name, acl, subs: subs.to_vec(), is_sub: name.contains('|') };
        Catalog::new(vec![
            row("get", Acl::READ | Acl::FAST, &[]),
            row("set", Acl::WRITE | Acl::SLOW, &[]),
            row("config", Acl::SLOW, &[3, 4]),
            row("config|get", Acl::SLOW | Acl::DANGEROUS, &[]),
            row("config|set", Acl::SLOW | Acl::DANGEROUS, &[]),
            row("select", Acl::FAST, &[]),
            row("publish", Acl::PUBSUB | Acl::FAST, &[]),
            row("psubscribe", Acl::PUBSUB | Acl::SLOW, &[]),
            row("getset", Acl::WRITE | Acl::FAST, &[]),
        ])
    })
}
