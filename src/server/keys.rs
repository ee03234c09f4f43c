//! Which arguments of a call are keys.
//!
//! The answer comes from the key specs of a command's row. Where those cannot say everything (what is done with a key
//! depends on other arguments), a resolver for that command refines what they found. The caller decides what a call
//! without usable keys means: COMMAND GETKEYS answers an error, ACL rules and cluster slots leave it to the command.
//!
//! Nothing here trusts the arguments: a number of keys that does not fit, words that are missing and ranges that run
//! backwards are [`NoKeys`], and the work is bounded by the number of arguments.

use super::table::Command;
use crate::command::args::{int, is};
use crate::command::spec::{BeginSearch, FindKeys, KeyFlags, KeySpec, Spec};
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
        self.spec.keys.iter().any(|key| !key.flags.contains(KeyFlags::NOT_KEY))
    }
}

/// Puts the keys of a call into `found`, which is emptied first, in the order of the key specs.
///
/// # Errors
/// [`NoKeys`] if a key spec does not fit the arguments or cannot name every key; `found` then holds what was found.
pub(super) fn find_keys(command: &Spec, argv: Argv<'_>, found: &mut Vec<KeyUse>) -> Result<(), NoKeys> {
    found.clear();
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
        if spec.flags.contains(KeyFlags::VARIABLE_FLAGS)
            && let Some((_, resolve)) = RESOLVERS.iter().find(|(name, _)| *name == command.name)
        {
            let flags = resolve(argv);
            found.iter_mut().filter(|key| (first..=last).contains(&key.at)).for_each(|key| key.flags = flags);
        }
    }
    Ok(())
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

/// What is done with a key, where that depends on the other arguments.
type Resolver = fn(Argv<'_>) -> KeyFlags;

const RESOLVERS: &[(&str, Resolver)] = &[("delex", delex_flags), ("set", set_flags)];

/// Without GET the old value does not matter.
fn set_flags(argv: Argv<'_>) -> KeyFlags {
    if argv.skip(3).iter().any(|word| is(word, "GET")) {
        KeyFlags::RW | KeyFlags::ACCESS | KeyFlags::UPDATE
    } else {
        KeyFlags::OW | KeyFlags::UPDATE
    }
}

/// Without a condition the value is not looked at.
fn delex_flags(argv: Argv<'_>) -> KeyFlags {
    if argv.len() == 2 { KeyFlags::RM | KeyFlags::DELETE } else { KeyFlags::RW | KeyFlags::DELETE }
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
