//! Conditions on headers: which bindings a message's headers satisfy.
//!
//! ```text
//!  binding                              rule            noted at the pair
//!  all  format=pdf type=report   ──►    all {1, 2}      1, or 2: where fewer rules are noted
//!  any  type=report lang=de      ──►    any {2, 3}      2 and 3
//!  all  (no arguments)           ──►    always
//! ```
//!
//! Every pair of a name and a value that some binding asks for has a number. Of a message those of its pairs are looked up
//! that have one; each leads to rules of `any`, which are satisfied, and to rules of `all` that are noted there, whose other
//! pairs are then looked for. So rules that have no pair in common with a message are not looked at, and one of `all`
//! usually only if the message has the rarest of its pairs. Bindings with equal conditions share a rule.
//!
//! A message that has a header more than once has all of its values.

use std::hash::BuildHasher;

use foldhash::quality::RandomState;

use super::arguments::Arguments;
use super::bag::Bag;
use super::binding::BindError;
use super::numbered::Numbered;
use super::numbers::put_bytes;
use super::sieve::Sieve;
use crate::split_table::SplitTable;

/// The argument that says how the others are meant.
const MATCH: &[u8] = b"x-match";

/// How a binding wants its pairs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    /// A message has all of them.
    #[default]
    All,
    /// It has one of them.
    Any,
}

/// What a binding wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Condition<'a> {
    mode: Mode,
    pairs: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Condition<'a> {
    /// Of the arguments of a binding.
    pub(super) fn new(args: &'a Arguments) -> Result<Condition<'a>, BindError> {
        let (mode, with_x) = match args.get(MATCH) {
            None | Some(b"all") => (Mode::All, false),
            Some(b"any") => (Mode::Any, false),
            Some(b"all-with-x") => (Mode::All, true),
            Some(b"any-with-x") => (Mode::Any, true),
            Some(_) => return Err(BindError::XMatch),
        };
        let takes_part = |name: &[u8]| name != MATCH && (with_x || !name.starts_with(b"x-"));
        Ok(Condition { mode, pairs: args.pairs().filter(|(name, _)| takes_part(name)).collect() })
    }
}

/// Where which headers lead to.
#[derive(Clone, Debug, Default)]
pub(super) struct Headers {
    hasher: RandomState,
    pairs: Numbered<Pair>,
    /// Numbers of pairs, by name and value.
    by_pair: SplitTable<u32>,
    rules: Numbered<Rule>,
    /// Numbers of rules, by what they want.
    by_rule: SplitTable<u32>,
    /// Destinations of rules that want nothing.
    always: Bag,
    /// Of names, values, and bags.
    bytes: usize,
}

/// A name and a value that rules ask for.
#[derive(Clone, Debug, Default)]
struct Pair {
    /// The name with its length in front, and the value.
    text: Box<[u8]>,
    name_and_length: usize,
    /// Number of rules that ask for it.
    uses: u32,
    /// Rules that want any of several pairs, this among them.
    any: Bag,
    /// Rules that want several pairs, and are noted here.
    all: Bag,
}

#[derive(Clone, Debug, Default)]
struct Rule {
    mode: Mode,
    /// In the order of their numbers.
    pairs: Box<[u32]>,
    /// Where it is noted, one of `all`.
    noted_at: u32,
    destinations: Bag,
}

impl Headers {
    /// A condition leads to a destination, once more. False if there are too many; then nothing changed.
    pub(super) fn add(&mut self, condition: &Condition<'_>, destination: u32) -> bool {
        if condition.pairs.is_empty() {
            if condition.mode == Mode::All {
                add_counted(&mut self.always, destination, &mut self.bytes);
            }
            return true;
        }
        let room = u32::MAX as usize - self.pairs.end().max(self.rules.end());
        if room <= condition.pairs.len() {
            return false;
        }
        let rule = match self.find_rule(condition) {
            Some(rule) => rule,
            None => self.new_rule(condition),
        };
        add_counted(&mut self.rules[rule].destinations, destination, &mut self.bytes);
        true
    }

    /// A condition, which was added, leads to a destination once less.
    pub(super) fn remove(&mut self, condition: &Condition<'_>, destination: u32) {
        if condition.pairs.is_empty() {
            if condition.mode == Mode::All {
                remove_counted(&mut self.always, destination, &mut self.bytes);
            }
            return;
        }
        let Some(number) = self.find_rule(condition) else { return };
        remove_counted(&mut self.rules[number].destinations, destination, &mut self.bytes);
        if self.rules[number].destinations.is_empty() {
            self.remove_rule(number);
        }
    }

    /// Finds where headers lead to.
    pub(super) fn route(&self, headers: &[(&[u8], &[u8])], sieve: &mut Sieve) {
        self.always.each(|destination| sieve.add(destination));
        if self.pairs.len() == 0 {
            return;
        }
        for &(name, value) in headers {
            if let Some(pair) = self.find_pair(name, value) {
                sieve.hold(pair);
            }
        }
        let held = std::mem::take(&mut sieve.pairs);
        for &pair in &held {
            let pair = &self.pairs[pair];
            pair.any.each(|rule| self.rules[rule].destinations.each(|destination| sieve.add(destination)));
            pair.all.each(|rule| {
                let rule = &self.rules[rule];
                if rule.pairs.iter().all(|&pair| sieve.holds(pair)) {
                    rule.destinations.each(|destination| sieve.add(destination));
                }
            });
        }
        sieve.pairs = held;
    }

    /// Bytes on the heap. O(1).
    pub(super) fn memory_bytes(&self) -> usize {
        self.pairs.memory_bytes()
            + self.by_pair.memory_bytes()
            + self.rules.memory_bytes()
            + self.by_rule.memory_bytes()
            + self.bytes
    }

    fn find_pair(&self, name: &[u8], value: &[u8]) -> Option<u32> {
        let is_meant = |&number: &u32| {
            let pair = &self.pairs[number];
            pair.value() == value && pair.name() == name
        };
        self.by_pair.find(pair_hash(&self.hasher, name, value), is_meant).copied()
    }

    fn find_rule(&self, condition: &Condition<'_>) -> Option<u32> {
        let pairs: Option<Vec<u32>> = condition.pairs.iter().map(|(name, value)| self.find_pair(name, value)).collect();
        let mut pairs = pairs?;
        pairs.sort_unstable();
        let hash = rule_hash(&self.hasher, condition.mode, &pairs);
        let is_meant = |&number: &u32| {
            let rule = &self.rules[number];
            rule.mode == condition.mode && *rule.pairs == *pairs
        };
        self.by_rule.find(hash, is_meant).copied()
    }

    fn new_rule(&mut self, condition: &Condition<'_>) -> u32 {
        let mut pairs: Vec<u32> = condition.pairs.iter().map(|(name, value)| self.use_pair(name, value)).collect();
        pairs.sort_unstable();
        let noted_at = pairs.iter().copied().min_by_key(|&pair| self.pairs[pair].all.len()).unwrap_or_default();
        self.bytes += size_of_val(&*pairs);
        let rule = Rule { mode: condition.mode, pairs: pairs.into(), noted_at, destinations: Bag::Empty };
        let hash = rule.hash(&self.hasher);
        let number = self.rules.add(rule).expect("`add` has looked whether there is a number");
        let (rules, hasher) = (&self.rules, &self.hasher);
        self.by_rule.insert(hash, number, |&number| rules[number].hash(hasher));
        match condition.mode {
            Mode::All => add_counted(&mut self.pairs[noted_at].all, number, &mut self.bytes),
            Mode::Any => {
                for &pair in &*self.rules[number].pairs {
                    add_counted(&mut self.pairs[pair].any, number, &mut self.bytes);
                }
            }
        }
        number
    }

    fn remove_rule(&mut self, number: u32) {
        let (rules, hasher) = (&self.rules, &self.hasher);
        self.by_rule.remove(rules[number].hash(hasher), |&other| other == number, |&number| rules[number].hash(hasher));
        let rule = self.rules.remove(number);
        self.bytes -= size_of_val(&*rule.pairs);
        for &pair in &rule.pairs {
            match rule.mode {
                Mode::Any => remove_counted(&mut self.pairs[pair].any, number, &mut self.bytes),
                Mode::All if pair == rule.noted_at => {
                    remove_counted(&mut self.pairs[pair].all, number, &mut self.bytes);
                }
                Mode::All => {}
            }
            self.release_pair(pair);
        }
    }

    /// The number of a pair, which one more rule asks for.
    fn use_pair(&mut self, name: &[u8], value: &[u8]) -> u32 {
        if let Some(number) = self.find_pair(name, value) {
            self.pairs[number].uses += 1;
            return number;
        }
        let mut text = Vec::with_capacity(name.len() + value.len() + 1);
        put_bytes(&mut text, name);
        let name_and_length = text.len();
        text.extend_from_slice(value);
        self.bytes += text.len();
        let pair = Pair { text: text.into(), name_and_length, uses: 1, ..Pair::default() };
        let number = self.pairs.add(pair).expect("`add` has looked whether there are numbers");
        let (pairs, hasher) = (&self.pairs, &self.hasher);
        self.by_pair.insert(pair_hash(hasher, name, value), number, |&number| pairs[number].hash(hasher));
        number
    }

    fn release_pair(&mut self, number: u32) {
        let pair = &mut self.pairs[number];
        pair.uses -= 1;
        if pair.uses > 0 {
            return;
        }
        let (pairs, hasher) = (&self.pairs, &self.hasher);
        let hash = pairs[number].hash(hasher);
        self.by_pair.remove(hash, |&other| other == number, |&number| pairs[number].hash(hasher));
        self.bytes -= self.pairs.remove(number).text.len();
    }
}

impl Pair {
    fn name(&self) -> &[u8] {
        super::numbers::take_bytes(&mut &self.text[..self.name_and_length]).unwrap_or_default()
    }

    fn value(&self) -> &[u8] {
        &self.text[self.name_and_length..]
    }

    fn hash(&self, hasher: &RandomState) -> u64 {
        pair_hash(hasher, self.name(), self.value())
    }
}

impl Rule {
    fn hash(&self, hasher: &RandomState) -> u64 {
        rule_hash(hasher, self.mode, &self.pairs)
    }
}

fn pair_hash(hasher: &RandomState, name: &[u8], value: &[u8]) -> u64 {
    hasher.hash_one((name, value))
}

fn rule_hash(hasher: &RandomState, mode: Mode, pairs: &[u32]) -> u64 {
    hasher.hash_one((mode == Mode::Any, pairs))
}

fn add_counted(bag: &mut Bag, number: u32, bytes: &mut usize) {
    *bytes -= bag.memory_bytes();
    bag.add(number);
    *bytes += bag.memory_bytes();
}

fn remove_counted(bag: &mut Bag, number: u32, bytes: &mut usize) {
    *bytes -= bag.memory_bytes();
    bag.remove(number);
    *bytes += bag.memory_bytes();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rng;

    type Pair = (&'static [u8], &'static [u8]);
    type Owned = Vec<Pair>;

    fn arguments(pairs: &[(&[u8], &[u8])]) -> Arguments {
        Arguments::new(pairs).unwrap()
    }

    fn found(headers: &Headers, message: &[(&[u8], &[u8])], sieve: &mut Sieve) -> Vec<u32> {
        sieve.clear();
        headers.route(message, sieve);
        sieve.finish();
        let mut found: Vec<u32> = sieve.found.iter().map(|id| id.0).collect();
        found.sort_unstable();
        found
    }

    #[track_caller]
    fn check(binding: &[(&[u8], &[u8])], message: &[(&[u8], &[u8])], is_found: bool) {
        let mut headers = Headers::default();
        let args = arguments(binding);
        let condition = Condition::new(&args).unwrap();
        assert!(headers.add(&condition, 3));
        assert_eq!(found(&headers, message, &mut Sieve::new()) == [3], is_found);
        headers.remove(&condition, 3);
        assert_eq!((headers.memory_bytes(), headers.bytes), (0, 0));
    }

    #[test]
    fn all_wants_every_pair_and_any_wants_one() {
        let [a, b, c]: [Pair; 3] = [(b"a", b"1"), (b"b", b"2"), (b"c", b"3")];
        let [any, all]: [Pair; 2] = [(MATCH, b"any"), (MATCH, b"all")];
        check(&[all, a, b], &[b, c, a], true);
        check(&[a, b], &[b, a], true);
        check(&[all, a, b], &[a, c], false);
        check(&[any, a, b], &[b, c], true);
        check(&[any, a, b], &[c], false);
        check(&[any, a], &[(b"a", b"2")], false);
        check(&[all, a, b], &[a, a], false);
        check(&[a], &[(b"a", b"0"), a], true);
        check(&[], &[], true);
        check(&[all], &[a], true);
        check(&[any], &[a], false);
    }

    #[test]
    fn arguments_that_begin_with_x_take_part_when_asked_for() {
        let [a, x]: [Pair; 2] = [(b"a", b"1"), (b"x-b", b"2")];
        check(&[(b"x-match", b"all"), a, x], &[a], true);
        check(&[(b"x-match", b"all-with-x"), a, x], &[a], false);
        check(&[(b"x-match", b"all-with-x"), a, x], &[a, x], true);
        check(&[(b"x-match", b"any"), a, x], &[x], false);
        check(&[(b"x-match", b"any-with-x"), a, x], &[x], true);
        check(&[(b"x-match", b"any"), x], &[x], false);
    }

    #[test]
    fn what_x_match_may_be_is_checked() {
        for value in [&b""[..], b"some", b"ALL", b"all-with-y"] {
            assert_eq!(Condition::new(&arguments(&[(b"x-match", value)])), Err(BindError::XMatch));
        }
    }

    #[test]
    fn it_finds_what_looking_at_every_binding_finds() {
        let mut rng = Rng::new(23);
        let names: [&[u8]; 5] = [b"a", b"b", b"c", b"x-d", b"x-e"];
        let values: [&[u8]; 3] = [b"", b"1", b"2"];
        let modes: [&[u8]; 4] = [b"all", b"any", b"all-with-x", b"any-with-x"];
        for _ in 0..200 {
            let (mut headers, mut model, mut sieve) = (Headers::default(), Vec::<(Owned, u32)>::new(), Sieve::new());
            for _ in 0..60 {
                let mut args: Owned =
                    names.iter().filter(|_| rng.below(3) == 0).map(|&name| (name, b"".as_slice())).collect();
                args.iter_mut().for_each(|pair| pair.1 = values[rng.below(3)]);
                if rng.below(5) > 0 {
                    args.push((MATCH, modes[rng.below(4)]));
                }
                let destination = rng.below(6) as u32;
                assert!(headers.add(&Condition::new(&arguments(&args)).unwrap(), destination));
                model.push((args, destination));
                if rng.below(3) == 0 {
                    let (args, destination) = model.swap_remove(rng.below(model.len()));
                    headers.remove(&Condition::new(&arguments(&args)).unwrap(), destination);
                }
                let message: Owned = (0..rng.below(6)).map(|_| (names[rng.below(5)], values[rng.below(3)])).collect();
                let is_satisfied = |args: &Owned| {
                    let mode = args.iter().find(|pair| pair.0 == MATCH).map_or(&b"all"[..], |pair| pair.1);
                    let mut wanted = args
                        .iter()
                        .filter(|pair| pair.0 != MATCH && (mode.ends_with(b"x") || !pair.0.starts_with(b"x-")));
                    match mode.starts_with(b"all") {
                        true => wanted.all(|pair| message.contains(pair)),
                        false => wanted.any(|pair| message.contains(pair)),
                    }
                };
                let mut expected: Vec<u32> =
                    model.iter().filter(|(args, _)| is_satisfied(args)).map(|(_, destination)| *destination).collect();
                expected.sort_unstable();
                expected.dedup();
                assert_eq!(found(&headers, &message, &mut sieve), expected, "{model:?} {message:?}");
            }
            for (args, destination) in model {
                headers.remove(&Condition::new(&arguments(&args)).unwrap(), destination);
            }
            assert_eq!((headers.memory_bytes(), headers.bytes), (0, 0));
        }
    }
}
