//! Policies: options that an operator sets for all queues, or exchanges, whose names match.
//!
//! Of those that match, the one with the highest priority counts, and beside it one *operator policy*, which only limits.

use super::Pair;
use weir_structs::glob::GlobPattern;
use weir_structs::queue::{QueueOptions, Rules};

/// What a policy is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AppliesTo {
    /// Queues.
    Queues,
    /// Exchanges.
    Exchanges,
    /// Both.
    All,
}

impl AppliesTo {
    /// By its name, in any case.
    pub fn parse(name: &[u8]) -> Option<AppliesTo> {
        [AppliesTo::Queues, AppliesTo::Exchanges, AppliesTo::All]
            .into_iter()
            .find(|it| name.eq_ignore_ascii_case(it.name().as_bytes()))
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            AppliesTo::Queues => "queues",
            AppliesTo::Exchanges => "exchanges",
            AppliesTo::All => "all",
        }
    }
}

/// A policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Its name.
    pub name: Box<[u8]>,
    /// Which names it is for.
    pub pattern: Box<[u8]>,
    /// What it is for.
    pub applies_to: AppliesTo,
    /// The highest one counts.
    pub priority: i64,
    /// It limits beside others.
    pub operator: bool,
    /// What it says, as it was given.
    pub definition: Vec<Pair>,
    /// The same as options of a queue.
    pub options: QueueOptions,
    /// The alternate of exchanges.
    pub alternate: Option<Box<[u8]>>,
}

/// All policies.
#[derive(Debug, Default)]
pub(super) struct Policies {
    /// By name.
    list: Vec<Policy>,
    epoch: u64,
    /// Where the walk over all queues is that have not heard of the last change: the database, and the name behind which it
    /// goes on.
    pub(super) sweep: Option<(usize, Vec<u8>)>,
}

impl Policies {
    /// Changes whenever any policy does.
    #[inline]
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    fn changed(&mut self) {
        self.epoch += 1;
        self.sweep = Some((0, Vec::new()));
    }

    /// Adds a policy, or replaces the one with its name.
    pub(super) fn set(&mut self, policy: Policy) {
        self.changed();
        match self.list.binary_search_by(|it| it.name.cmp(&policy.name)) {
            Ok(at) => {
                if let Some(old) = self.list.get_mut(at) {
                    *old = policy;
                }
            }
            Err(at) => self.list.insert(at, policy),
        }
    }

    /// Removes a policy. Says whether there was one.
    pub(super) fn remove(&mut self, name: &[u8]) -> bool {
        let found = self.list.binary_search_by(|it| (*it.name).cmp(name));
        if let Ok(at) = found {
            self.list.remove(at);
            self.changed();
        }
        found.is_ok()
    }

    /// All of them, by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Policy> {
        self.list.iter()
    }

    fn in_force(&self, name: &[u8], operator: bool, exchanges: bool) -> Option<&Policy> {
        let other = if exchanges { AppliesTo::Queues } else { AppliesTo::Exchanges };
        let fits = |it: &&Policy| {
            it.operator == operator && it.applies_to != other && GlobPattern::new(&it.pattern, false).matches(name)
        };
        self.list.iter().filter(fits).max_by_key(|it| it.priority)
    }

    /// The policy, and the operator policy, that are in force for a queue.
    pub(super) fn of_queue(&self, name: &[u8]) -> (Option<&Policy>, Option<&Policy>) {
        if self.list.is_empty() {
            return (None, None);
        }
        (self.in_force(name, false, false), self.in_force(name, true, false))
    }

    /// What is in force for a queue.
    pub(super) fn rules(&self, name: &[u8], declared: &QueueOptions) -> Rules {
        let (policy, operator) = self.of_queue(name);
        let said: Vec<&QueueOptions> = policy.into_iter().chain(operator).map(|it| &it.options).collect();
        Rules::resolve(declared, &said)
    }

    /// The alternate that a policy gives an exchange.
    pub(super) fn alternate(&self, name: &[u8]) -> Option<&[u8]> {
        if self.list.is_empty() {
            return None;
        }
        self.in_force(name, false, true)?.alternate.as_deref()
    }
}
