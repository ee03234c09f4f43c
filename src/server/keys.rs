//! Which arguments of a call are keys.
//!
//! The answer comes from the key specs of a command's row. Where those cannot say everything (what is done with a key
//! depends on other arguments, or a word before a key may stand anywhere among options with values of their own), a
//! resolver for that command answers in their place. The caller decides what a call without usable keys means: COMMAND
//! GETKEYS answers an error, ACL rules and cluster slots leave it to the command.
//!
//! Nothing here trusts the arguments: a number of keys that does not fit, words that are missing and ranges that run
//! backwards are [`NoKeys`], and the work is bounded by the number of arguments.

mod broker;
mod registry;

pub(super) use registry::{name_of_span, names_of};

use super::table::Command;
use crate::command::args::{int, is};
use crate::command::spec::{BeginSearch, FindKeys, Group, KeyFlags, KeySpec, Spec};
use weir_resp::Argv;

/// One key of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct KeyUse {
    /// Its place among the arguments; 0 is the command's name.
    pub(super) at: usize,
    /// What is done with it.
    pub(super) flags: KeyFlags,
}

/// The arguments do not have the form that the key specs describe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct NoKeys;

impl Command {
    /// Whether calls have keys at all; arguments that only hash to a slot are none.
    pub(super) fn has_keys(&self) -> bool {
        self.spec.has_keys()
    }
}

/// Puts the keys of a call into `found`, which is emptied first, in the order of the key specs.
///
/// # Errors
/// [`NoKeys`] if a key spec does not fit the arguments or cannot name every key; `found` then holds what was found.
pub(super) fn find_keys(command: &Spec, argv: Argv<'_>, found: &mut Vec<KeyUse>) -> Result<(), NoKeys> {
    found.clear();
    if command.keys.iter().any(says_too_little)
        && let Some((_, resolve)) = resolvers(command.group).iter().find(|(name, _)| *name == command.name)
    {
        resolve(argv, found);
        return Ok(());
    }
    for spec in command.keys {
        if spec.flags.contains(KeyFlags::NOT_KEY) {
            continue;
        }
        let Some(first) = first_key(spec, argv)? else { continue };
        let (first, last, step) = range(spec, argv, first)?;
        let flags = spec.flags.difference(KeyFlags::INCOMPLETE | KeyFlags::VARIABLE_FLAGS);
        found.extend((first..=last).step_by(step).map(|at| KeyUse { at, flags }));
        if spec.flags.contains(KeyFlags::INCOMPLETE) {
            return Err(NoKeys);
        }
    }
    Ok(())
}

/// Whether a key spec leaves open which keys there are or what is done with them.
fn says_too_little(spec: &KeySpec) -> bool {
    spec.flags.intersects(KeyFlags::VARIABLE_FLAGS | KeyFlags::INCOMPLETE) || spec.begin == BeginSearch::Unknown
}

/// Where the keys of a spec begin; `None` if its word is not among the arguments, so that there are none.
fn first_key(spec: &KeySpec, argv: Argv<'_>) -> Result<Option<usize>, NoKeys> {
    match spec.begin {
        BeginSearch::Index(at) => Ok(Some(usize::from(at))),
        BeginSearch::Keyword(word, from) => {
            let hits = |at: &usize| argv.get(*at).is_some_and(|arg| is(arg, word));
            let from_at = usize::from(from.unsigned_abs());
            let found = if from >= 0 {
                (from_at..argv.len()).find(hits)
            } else {
                (1..=argv.len().saturating_sub(from_at)).rev().find(hits)
            };
            Ok(found.map(|at| at + 1))
        }
        BeginSearch::Unknown => Err(NoKeys),
    }
}

/// First and last key and the distance between keys. The last one is an argument that is there.
fn range(spec: &KeySpec, argv: Argv<'_>, first: usize) -> Result<(usize, usize, usize), NoKeys> {
    let argc = argv.len();
    let (first, last, step) = match spec.find {
        FindKeys::Range { last, step, limit } => {
            let back = usize::from(last.unsigned_abs());
            let last = if last >= 0 {
                Some(first + back)
            } else if limit <= 1 {
                argc.checked_sub(back)
            } else {
                let part = argc.saturating_sub(first) / usize::from(limit);
                (first + part).checked_sub(back)
            };
            (first, last, step)
        }
        FindKeys::KeyNum { count_at, first: offset, step } => {
            let count = argv.get(first + usize::from(count_at)).ok_or(NoKeys)?;
            let count = int(count).ok().and_then(|n| usize::try_from(n).ok()).ok_or(NoKeys)?;
            let first = first + usize::from(offset);
            let last = count.checked_sub(1).and_then(|n| n.checked_mul(usize::from(step.max(1))));
            (first, last.and_then(|distance| first.checked_add(distance)), step)
        }
        FindKeys::Unknown => return Err(NoKeys),
    };
    match last {
        Some(last) if first <= last && last < argc => Ok((first, last, usize::from(step.max(1)))),
        _ => Err(NoKeys),
    }
}

/// Puts the keys of a call that has at least as many arguments as the command needs into an empty list.
type Resolver = fn(Argv<'_>, &mut Vec<KeyUse>);

/// Subcommands of the broker have names that other commands have too.
fn resolvers(group: Group) -> &'static [(&'static str, Resolver)] {
    match group {
        Group::Broker => broker::RESOLVERS,
        Group::Registry => registry::RESOLVERS,
        _ => RESOLVERS,
    }
}

const RESOLVERS: &[(&str, Resolver)] = &[
    ("bitfield", bitfield_keys),
    ("delex", delex_keys),
    ("georadius", georadius_keys),
    ("georadiusbymember", georadius_keys),
    ("migrate", migrate_keys),
    ("set", set_keys),
    ("sort", sort_keys),
    ("sort_ro", sort_keys),
];

const READ: KeyFlags = KeyFlags::RO.union(KeyFlags::ACCESS);
const OVERWRITTEN: KeyFlags = KeyFlags::OW.union(KeyFlags::UPDATE);
const CHANGED: KeyFlags = KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE);

/// Behind KEYS if no key stands in front; a word that is the value of another option is none.
fn migrate_keys(argv: Argv<'_>, found: &mut Vec<KeyUse>) {
    let flags = CHANGED.difference(KeyFlags::UPDATE) | KeyFlags::DELETE;
    if !argv.at(3).is_empty() {
        found.push(KeyUse { at: 3, flags });
        return;
    }
    let mut at = 6;
    while let Some(word) = argv.get(at) {
        at += if is(word, "AUTH2") {
            3
        } else if is(word, "AUTH") {
            2
        } else if is(word, "KEYS") {
            found.extend((at + 1..argv.len()).map(|at| KeyUse { at, flags }));
            return;
        } else {
            1
        };
    }
}

/// Without GET the old value does not matter.
fn set_keys(argv: Argv<'_>, found: &mut Vec<KeyUse>) {
    let reads = argv.skip(3).iter().any(|word| is(word, "GET"));
    found.push(KeyUse { at: 1, flags: if reads { CHANGED } else { OVERWRITTEN } });
}

/// Without a condition the value is not looked at.
fn delex_keys(argv: Argv<'_>, found: &mut Vec<KeyUse>) {
    let kind = if argv.len() == 2 { KeyFlags::RM } else { KeyFlags::RW };
    found.push(KeyUse { at: 1, flags: kind | KeyFlags::DELETE });
}

/// Operations that only read leave the key as it is. What is no complete operation may be a write to be: the command
/// refuses it, but whoever asks before that had better think so.
fn bitfield_keys(argv: Argv<'_>, found: &mut Vec<KeyUse>) {
    let mut rest = argv.skip(2);
    let reads = loop {
        let Some(word) = rest.get(0) else { break true };
        let taken = if is(word, "GET") { 3 } else { 2 };
        if !(is(word, "GET") || is(word, "OVERFLOW")) || rest.len() < taken {
            break false;
        }
        rest = rest.skip(taken);
    };
    found.push(KeyUse { at: 1, flags: if reads { READ } else { CHANGED } });
}

/// Of several places to store at the last one counts, whichever of the two words stands before it.
fn georadius_keys(argv: Argv<'_>, found: &mut Vec<KeyUse>) {
    found.push(KeyUse { at: 1, flags: READ });
    let is_store = |at: &usize| argv.get(*at).is_some_and(|word| is(word, "STORE") || is(word, "STOREDIST"));
    if let Some(word_at) = (5..argv.len().saturating_sub(1)).rev().find(is_store) {
        found.push(KeyUse { at: word_at + 1, flags: OVERWRITTEN });
    }
}

/// STORE counts where it stands as a word of its own, not as the value of another option; the last one counts. The
/// keys that BY and GET read depend on the elements, so that nobody can tell them beforehand.
fn sort_keys(argv: Argv<'_>, found: &mut Vec<KeyUse>) {
    found.push(KeyUse { at: 1, flags: READ });
    let stores = argv.get(0).is_some_and(|name| is(name, "SORT"));
    let (mut at, mut destination) = (2, None);
    while let Some(word) = argv.get(at) {
        at += if is(word, "LIMIT") {
            3
        } else if is(word, "BY") || is(word, "GET") {
            2
        } else if stores && is(word, "STORE") {
            destination = (at + 1 < argv.len()).then_some(at + 1).or(destination);
            2
        } else {
            1
        };
    }
    found.extend(destination.map(|at| KeyUse { at, flags: OVERWRITTEN }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::spec::{Acl, Flags, Group};
    use weir_resp::Batch;

    const RW: KeyFlags = KeyFlags::RW;

    fn spec(keys: &'static [KeySpec]) -> Spec {
        Spec::new("test", -1, Flags::empty(), Acl::empty(), Group::Generic, "1.0.0").keys(keys)
    }

    fn keys_of(spec: &Spec, line: &str) -> Result<Vec<String>, NoKeys> {
        let mut batch = Batch::new();
        batch.push_command(line.split(' ').map(str::as_bytes)).unwrap();
        let argv = batch.command(0);
        let mut found = Vec::new();
        find_keys(spec, argv, &mut found)?;
        Ok(found.iter().map(|key| String::from_utf8_lossy(argv.at(key.at)).into_owned()).collect())
    }

    fn check(keys: &'static [KeySpec], cases: &[(&str, &str)]) {
        for (line, wanted) in cases {
            let got = keys_of(&spec(keys), line).map_or_else(|_| "none".to_owned(), |keys| keys.join(" "));
            assert_eq!(got, *wanted, "{line}");
        }
    }

    #[test]
    fn ranges_end_at_an_offset_or_before_the_end() {
        check(
            const { &[KeySpec::range(1, -1, 2, RW)] },
            &[("mset a 1 b 2", "a b"), ("mset a 1 b", "a b"), ("mset", "none")],
        );
        check(const { &[KeySpec::range(1, 1, 1, RW)] }, &[("lcs a b idx", "a b"), ("lcs a", "none")]);
        check(const { &[KeySpec::range(1, -2, 1, RW)] }, &[("blpop a b 0", "a b"), ("blpop a", "none")]);
    }

    #[test]
    fn a_number_of_keys_that_does_not_fit_is_refused() {
        const COUNTED: &[KeySpec] = &[KeySpec::counted(2, RW)];
        check(
            COUNTED,
            &[
                ("eval s 2 a b c", "a b"),
                ("eval s 0 a", "none"),
                ("eval s 5 a b", "none"),
                ("eval s -1 a", "none"),
                ("eval s x a", "none"),
                ("eval s 9223372036854775807 a", "none"),
                ("eval s 18446744073709551615 a", "none"),
                ("eval s", "none"),
                ("eval", "none"),
            ],
        );
        const PAIRS: &[KeySpec] = &[KeySpec {
            flags: RW,
            begin: BeginSearch::Index(1),
            find: FindKeys::KeyNum { count_at: 0, first: 1, step: 2 },
            notes: "",
        }];
        check(PAIRS, &[("msetex 2 a 1 b 2 ex 5", "a b"), ("msetex 4611686018427387905 a 1", "none")]);
    }

    #[test]
    fn keywords_are_looked_for_from_either_end() {
        const STREAMS: &[KeySpec] = &[KeySpec {
            flags: RW,
            begin: BeginSearch::Keyword("STREAMS", 1),
            find: FindKeys::Range { last: -1, step: 1, limit: 2 },
            notes: "",
        }];
        check(
            STREAMS,
            &[
                ("xread streams a b 1 2", "a b"),
                ("xread count 1 streams a", "none"),
                ("xread streams", "none"),
                ("xread count 1", ""),
            ],
        );
        const KEYS: &[KeySpec] = &[KeySpec {
            flags: RW,
            begin: BeginSearch::Keyword("KEYS", -2),
            find: FindKeys::Range { last: -1, step: 1, limit: 0 },
            notes: "",
        }];
        check(KEYS, &[("migrate h 1 x keys a b", "a b"), ("migrate keys", ""), ("migrate", "")]);
    }

    #[test]
    fn resolvers_find_keys_behind_options_and_what_is_done_with_them() {
        const VAGUE: &[KeySpec] =
            &[KeySpec { flags: RW, begin: BeginSearch::Unknown, find: FindKeys::Unknown, notes: "" }];
        let cases = [
            ("sort k", "k RO"),
            ("sort k by store get x* store d", "k RO d OW"),
            ("sort k store d store e", "k RO e OW"),
            ("sort k store d store", "k RO d OW"),
            ("sort k limit 0 store", "k RO"),
            ("sort k limit 1 store e", "k RO"),
            ("sort_ro k store d", "k RO"),
            ("georadius g 1 2 3 m store d", "g RO d OW"),
            ("georadius g 1 2 3 m storedist d STORE e", "g RO e OW"),
            ("georadius g 1 2 3 m store", "g RO"),
            ("georadiusbymember g m 3 km store d", "g RO d OW"),
            ("bitfield k", "k RO"),
            ("bitfield k get u8 0 overflow sat get u8 1", "k RO"),
            ("bitfield k get u8 0 set u8 0 1", "k RW"),
            ("bitfield k overflow set u8 0", "k RW"),
            ("bitfield k get u8", "k RW"),
            ("set k v", "k OW"),
            ("set k v get", "k RW"),
            ("delex k", "k RM"),
            ("delex k ifeq v", "k RW"),
        ];
        for (line, wanted) in cases {
            let name = line.split(' ').next().unwrap_or_default();
            let command = Spec::new(name, -2, Flags::empty(), Acl::empty(), Group::Generic, "1.0.0").keys(VAGUE);
            let mut batch = Batch::new();
            batch.push_command(line.split(' ').map(str::as_bytes)).unwrap();
            let (argv, mut found) = (batch.command(0), Vec::new());
            find_keys(&command, argv, &mut found).unwrap();
            let kind = |flags: KeyFlags| KeyFlags::WIRE.iter().find(|(flag, _)| flags.contains(*flag)).unwrap().1;
            let got: Vec<_> = found
                .iter()
                .map(|key| format!("{} {}", String::from_utf8_lossy(argv.at(key.at)), kind(key.flags)))
                .collect();
            assert_eq!(got.join(" "), wanted, "{line}");
        }
    }

    #[test]
    fn specs_that_cannot_say_everything_find_nothing() {
        const UNKNOWN: &[KeySpec] =
            &[KeySpec { flags: RW, begin: BeginSearch::Unknown, find: FindKeys::Unknown, notes: "" }];
        check(UNKNOWN, &[("sort a", "none")]);
        const INCOMPLETE: &[KeySpec] = &[KeySpec::one(1, RW.union(KeyFlags::INCOMPLETE))];
        check(INCOMPLETE, &[("x a", "none")]);
        const NOT_KEY: &[KeySpec] = &[KeySpec::one(1, RW.union(KeyFlags::NOT_KEY))];
        check(NOT_KEY, &[("spublish a b", "")]);
    }
}
