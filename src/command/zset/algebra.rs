//! Commands on several sorted sets together. Plain sets take part too, each member with a score of 1.
//!
//! Sets are worked through from the smallest to the largest, which is also the order in which scores are added up: sums of
//! fractions depend on it. An intersection costs the smallest set and look-ups of its members in the others.

use super::rows::Rows;
use crate::command::args::{self, Words};
use crate::command::effects::EventClass;
use crate::command::spec::{Acl, Arg, ArgKind, Flags, Group, KeyFlags, KeySpec, Spec};
use crate::command::table::{DataFn, Row};
use crate::command::{Cx, Error};
use crate::store::{EntryRef, Store};
use hashbrown::HashTable;
use weir_resp::Argv;
use weir_structs::keyspace::KeyHasher;
use weir_structs::set::SetRef;
use weir_structs::zset::ZsetRef;

const READONLY_MOVABLEKEYS: Flags = Flags::READONLY.union(Flags::MOVABLEKEYS);
const WRITE_DENYOOM_MOVABLEKEYS: Flags = Flags::WRITE.union(Flags::DENYOOM).union(Flags::MOVABLEKEYS);
const ACL_READ_SORTEDSET_SLOW: Acl = Acl::READ.union(Acl::SORTEDSET).union(Acl::SLOW);
const ACL_WRITE_SORTEDSET_SLOW: Acl = Acl::WRITE.union(Acl::SORTEDSET).union(Acl::SLOW);
const KEY_OW_UPDATE: KeyFlags = KeyFlags::OW.union(KeyFlags::UPDATE);
const KEY_RO_ACCESS: KeyFlags = KeyFlags::RO.union(KeyFlags::ACCESS);

/// Commands on several sorted sets together.
pub const COMMANDS: &[Row<DataFn>] = &[
    Row::new(
        Spec::new("zunion", -3, READONLY_MOVABLEKEYS, ACL_READ_SORTEDSET_SLOW, Group::SortedSet, "6.2.0")
            .keys(&[KeySpec::counted(1, KEY_RO_ACCESS)])
            .doc(
                "O(N+M*log(M)) where N is the sum of the sizes of the sets and M the size of the result.",
                "Returns the members that any of the sorted sets has, with combined scores.",
            )
            .history(&[("8.8.0", "Gained the `AGGREGATE COUNT` option.")])
            .args(&[
                Arg::new("numkeys", ArgKind::Integer),
                Arg::key("key", 0).multiple(),
                Arg::new("weight", ArgKind::Integer).token("WEIGHTS").optional().multiple(),
                Arg::one_of(
                    "aggregate",
                    &[
                        Arg::word("sum", "SUM"),
                        Arg::word("min", "MIN"),
                        Arg::word("max", "MAX"),
                        Arg::word("count", "COUNT").since("8.8.0"),
                    ],
                )
                .token("AGGREGATE")
                .optional(),
                Arg::word("withscores", "WITHSCORES").optional(),
            ]),
        zunion_command,
    ),
    Row::new(
        Spec::new("zunionstore", -4, WRITE_DENYOOM_MOVABLEKEYS, ACL_WRITE_SORTEDSET_SLOW, Group::SortedSet, "2.0.0")
            .keys(&[KeySpec::one(1, KEY_OW_UPDATE), KeySpec::counted(2, KEY_RO_ACCESS)])
            .doc(
                "O(N+M*log(M)) where N is the sum of the sizes of the sets and M the size of the result.",
                "Stores the members that any of the sorted sets has, with combined scores.",
            )
            .history(&[("8.8.0", "Gained the `AGGREGATE COUNT` option.")])
            .args(&[
                Arg::key("destination", 0),
                Arg::new("numkeys", ArgKind::Integer),
                Arg::key("key", 1).multiple(),
                Arg::new("weight", ArgKind::Integer).token("WEIGHTS").optional().multiple(),
                Arg::one_of(
                    "aggregate",
                    &[
                        Arg::word("sum", "SUM"),
                        Arg::word("min", "MIN"),
                        Arg::word("max", "MAX"),
                        Arg::word("count", "COUNT").since("8.8.0"),
                    ],
                )
                .token("AGGREGATE")
                .optional(),
            ]),
        zunionstore_command,
    ),
    Row::new(
        Spec::new("zinter", -3, READONLY_MOVABLEKEYS, ACL_READ_SORTEDSET_SLOW, Group::SortedSet, "6.2.0")
            .keys(&[KeySpec::counted(1, KEY_RO_ACCESS)])
            .doc(
                "O(N*K+M*log(M)) where K sets are given, N is the smallest one's size and M the result's.",
                "Returns the members that all of the sorted sets have, with combined scores.",
            )
            .history(&[("8.8.0", "Gained the `AGGREGATE COUNT` option.")])
            .args(&[
                Arg::new("numkeys", ArgKind::Integer),
                Arg::key("key", 0).multiple(),
                Arg::new("weight", ArgKind::Integer).token("WEIGHTS").optional().multiple(),
                Arg::one_of(
                    "aggregate",
                    &[
                        Arg::word("sum", "SUM"),
                        Arg::word("min", "MIN"),
                        Arg::word("max", "MAX"),
                        Arg::word("count", "COUNT").since("8.8.0"),
                    ],
                )
                .token("AGGREGATE")
                .optional(),
                Arg::word("withscores", "WITHSCORES").optional(),
            ]),
        zinter_command,
    ),
    Row::new(
        Spec::new("zinterstore", -4, WRITE_DENYOOM_MOVABLEKEYS, ACL_WRITE_SORTEDSET_SLOW, Group::SortedSet, "2.0.0")
            .keys(&[KeySpec::one(1, KEY_OW_UPDATE), KeySpec::counted(2, KEY_RO_ACCESS)])
            .doc(
                "O(N*K+M*log(M)) where K sets are given, N is the smallest one's size and M the result's.",
                "Stores the members that all of the sorted sets have, with combined scores.",
            )
            .history(&[("8.8.0", "Gained the `AGGREGATE COUNT` option.")])
            .args(&[
                Arg::key("destination", 0),
                Arg::new("numkeys", ArgKind::Integer),
                Arg::key("key", 1).multiple(),
                Arg::new("weight", ArgKind::Integer).token("WEIGHTS").optional().multiple(),
                Arg::one_of(
                    "aggregate",
                    &[
                        Arg::word("sum", "SUM"),
                        Arg::word("min", "MIN"),
                        Arg::word("max", "MAX"),
                        Arg::word("count", "COUNT").since("8.8.0"),
                    ],
                )
                .token("AGGREGATE")
                .optional(),
            ]),
        zinterstore_command,
    ),
    Row::new(
        Spec::new("zintercard", -3, READONLY_MOVABLEKEYS, ACL_READ_SORTEDSET_SLOW, Group::SortedSet, "7.0.0")
            .keys(&[KeySpec::counted(1, KEY_RO_ACCESS)])
            .doc(
                "O(N*K) where K is the number of sorted sets and N the size of the smallest one.",
                "Counts the members that all of the sorted sets have, up to a limit if asked to.",
            )
            .args(&[
                Arg::new("numkeys", ArgKind::Integer),
                Arg::key("key", 0).multiple(),
                Arg::new("limit", ArgKind::Integer).token("LIMIT").optional(),
            ]),
        zintercard_command,
    ),
    Row::new(
        Spec::new("zdiff", -3, READONLY_MOVABLEKEYS, ACL_READ_SORTEDSET_SLOW, Group::SortedSet, "6.2.0")
            .keys(&[KeySpec::counted(1, KEY_RO_ACCESS)])
            .doc(
                "O(L+(N-K)*log(N)) where L is the sum of all sizes, N the first one's and K the result's.",
                "Returns the members of a sorted set that none of the others has.",
            )
            .args(&[
                Arg::new("numkeys", ArgKind::Integer),
                Arg::key("key", 0).multiple(),
                Arg::word("withscores", "WITHSCORES").optional(),
            ]),
        zdiff_command,
    ),
    Row::new(
        Spec::new("zdiffstore", -4, WRITE_DENYOOM_MOVABLEKEYS, ACL_WRITE_SORTEDSET_SLOW, Group::SortedSet, "6.2.0")
            .keys(&[KeySpec::one(1, KEY_OW_UPDATE), KeySpec::counted(2, KEY_RO_ACCESS)])
            .doc(
                "O(L+(N-K)*log(N)) where L is the sum of all sizes, N the first one's and K the result's.",
                "Stores the members of a sorted set that none of the others has.",
            )
            .args(&[Arg::key("destination", 0), Arg::new("numkeys", ArgKind::Integer), Arg::key("key", 1).multiple()]),
        zdiffstore_command,
    ),
];

fn zunion_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    reply(cx, "zunion", Operation::Union)
}

fn zinter_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    reply(cx, "zinter", Operation::Intersection)
}

fn zdiff_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    reply(cx, "zdiff", Operation::Difference)
}

fn zunionstore_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    store(cx, "zunionstore", Operation::Union)
}

fn zinterstore_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    store(cx, "zinterstore", Operation::Intersection)
}

fn zdiffstore_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    store(cx, "zdiffstore", Operation::Difference)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Operation {
    Union,
    Intersection,
    Difference,
}

/// What becomes of the scores of one member in several sets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Aggregate {
    Sum,
    Min,
    Max,
    /// The scores do not matter: weights are added up.
    Count,
}

impl Aggregate {
    /// The score that a set contributes, which may be NaN: an infinity that is weighted with zero.
    fn weigh(self, score: f64, weight: f64) -> f64 {
        if self == Aggregate::Count { weight } else { score * weight }
    }

    fn join(self, so_far: f64, score: f64) -> f64 {
        match self {
            Aggregate::Sum | Aggregate::Count => number(so_far + score),
            Aggregate::Min => {
                if score < so_far {
                    score
                } else {
                    so_far
                }
            }
            Aggregate::Max => {
                if score > so_far {
                    score
                } else {
                    so_far
                }
            }
        }
    }
}

/// What is no number, as when infinities cancel each other, counts as zero.
fn number(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// One of the sets; `None` where there is no key.
#[derive(Clone, Copy)]
enum Input<'a> {
    Missing,
    Zset(ZsetRef<'a>),
    Set(SetRef<'a>),
}

impl<'a> Input<'a> {
    fn of(entry: EntryRef<'a>) -> Option<Input<'a>> {
        ZsetRef::of(entry).map(Input::Zset).or_else(|| SetRef::of(entry).map(Input::Set))
    }

    fn len(self) -> u64 {
        match self {
            Input::Missing => 0,
            Input::Zset(zset) => zset.len(),
            Input::Set(set) => set.len() as u64,
        }
    }

    fn score(self, member: &[u8]) -> Option<f64> {
        match self {
            Input::Missing => None,
            Input::Zset(zset) => zset.score(member),
            Input::Set(set) => set.contains(member).then_some(1.0),
        }
    }

    fn for_each(self, mut visit: impl FnMut(&[u8], f64)) {
        match self {
            Input::Missing => {}
            Input::Zset(zset) => zset.for_each(visit),
            Input::Set(set) => set.iter().for_each(|member| visit(&member.text(), 1.0)),
        }
    }

    /// The same until `visit` says that it is enough.
    fn find(self, mut visit: impl FnMut(&[u8]) -> bool) {
        const STEP: u64 = 128;
        match self {
            Input::Missing => {}
            Input::Zset(zset) => {
                let (mut enough, mut at) = (false, 0);
                while !enough && at < zset.len() {
                    zset.walk(at..(at + STEP).min(zset.len()), |member, _| enough = enough || visit(member));
                    at += STEP;
                }
            }
            Input::Set(set) => _ = set.iter().any(|member| visit(&member.text())),
        }
    }
}

#[derive(Clone, Copy)]
struct Weighted<'a> {
    input: Input<'a>,
    weight: f64,
}

/// What such a command asks for, but for its options.
struct Sources {
    /// Number of keys, and the argument with the first.
    count: usize,
    first: usize,
}

impl Sources {
    /// Reads the number of keys at argument `at` and looks every key up, so that what has expired is gone, hits are
    /// counted, and a wrong type is found before any fault of the options.
    fn look_up(cx: &mut Cx<'_>, command: &str, at: usize) -> Result<Sources, Error> {
        let number = args::int(cx.arg(at))?;
        let count = usize::try_from(number).ok().filter(|&n| n > 0).ok_or_else(|| Error::no_input_key(command))?;
        let first = at + 1;
        if count > cx.argc().saturating_sub(first) {
            return Err(Error::SYNTAX);
        }
        for at in first..first + count {
            let key = cx.key(at);
            match cx.store.db(cx.db_index).get(key) {
                Some(entry) if Input::of(entry).is_none() => return Err(Error::WRONG_TYPE),
                Some(_) => {}
                None => cx.effects.event(EventClass::MISS, "keymiss", key.name, cx.db_index),
            }
        }
        Ok(Sources { count, first })
    }

    fn options<'a>(&self, cx: &Cx<'a>) -> Words<'a> {
        cx.words(self.first + self.count)
    }

    /// All sets, in the order of the arguments.
    fn view<'s>(&self, store: &'s Store, db: usize, argv: Argv<'_>, weights: &[f64]) -> Vec<Weighted<'s>> {
        (0..self.count)
            .map(|at| {
                let key = store.key(argv.get(self.first + at).unwrap_or_default());
                let input = store.view(db, key).and_then(Input::of).unwrap_or(Input::Missing);
                Weighted { input, weight: weights.get(at).copied().unwrap_or(1.0) }
            })
            .collect()
    }
}

struct Options {
    weights: Vec<f64>,
    aggregate: Aggregate,
    with_scores: bool,
}

impl Options {
    fn parse(mut words: Words<'_>, operation: Operation, keys: usize, is_store: bool) -> Result<Options, Error> {
        let mut options = Options { weights: Vec::new(), aggregate: Aggregate::Sum, with_scores: false };
        let joins = operation != Operation::Difference;
        while words.left() > 0 {
            if joins && words.left() > keys && words.accept("WEIGHTS") {
                let weights =
                    words.by_ref().take(keys).map(|weight| args::float(weight).map_err(|_| Error::WEIGHT_NOT_FLOAT));
                options.weights = weights.collect::<Result<_, _>>()?;
            } else if joins && words.left() > 1 && words.accept("AGGREGATE") {
                options.aggregate = if words.accept("SUM") {
                    Aggregate::Sum
                } else if words.accept("MIN") {
                    Aggregate::Min
                } else if words.accept("MAX") {
                    Aggregate::Max
                } else if words.accept("COUNT") {
                    Aggregate::Count
                } else {
                    return Err(Error::SYNTAX);
                };
            } else if !is_store && words.accept("WITHSCORES") {
                options.with_scores = true;
            } else {
                return Err(Error::SYNTAX);
            }
        }
        Ok(options)
    }
}

fn reply(cx: &mut Cx<'_>, command: &str, operation: Operation) -> Result<(), Error> {
    let (rows, with_scores) = run(cx, command, operation, 1)?;
    rows.reply(cx, with_scores);
    Ok(())
}

fn store(cx: &mut Cx<'_>, command: &'static str, operation: Operation) -> Result<(), Error> {
    let (rows, _) = run(cx, command, operation, 2)?;
    let target = cx.key(1);
    rows.store(cx, target, command)
}

fn run(cx: &mut Cx<'_>, command: &str, operation: Operation, at: usize) -> Result<(Rows, bool), Error> {
    let sources = Sources::look_up(cx, command, at)?;
    let options = Options::parse(sources.options(cx), operation, sources.count, at > 1)?;
    let mut inputs = sources.view(cx.store, cx.db_index, cx.argv, &options.weights);
    if operation != Operation::Difference {
        inputs.sort_by_key(|source| source.input.len());
    }
    let hasher = cx.store.hasher();
    let mut rows = match operation {
        Operation::Union => union(&inputs, options.aggregate, hasher),
        Operation::Intersection => intersection(&inputs, options.aggregate),
        Operation::Difference => difference(&inputs, hasher),
    };
    rows.sort();
    Ok((rows, options.with_scores))
}

fn union(inputs: &[Weighted<'_>], aggregate: Aggregate, hasher: &KeyHasher) -> Rows {
    let mut rows = Rows::default();
    let mut places: HashTable<usize> = HashTable::new();
    for (at, source) in inputs.iter().enumerate() {
        // What is in one set alone is never looked for.
        let is_last = at + 1 == inputs.len();
        source.input.for_each(|member, score| {
            let score = number(aggregate.weigh(score, source.weight));
            if inputs.len() == 1 {
                rows.push(member, score);
                return;
            }
            let hash = hasher.position(member);
            match places.find(hash, |&at| rows.name(at) == member) {
                Some(&at) => {
                    if let Some(so_far) = rows.score_mut(at) {
                        *so_far = aggregate.join(*so_far, score);
                    }
                }
                None => {
                    if !is_last {
                        places.insert_unique(hash, rows.len(), |&at| hasher.position(rows.name(at)));
                    }
                    rows.push(member, score);
                }
            }
        });
    }
    rows
}

fn intersection(inputs: &[Weighted<'_>], aggregate: Aggregate) -> Rows {
    let mut rows = Rows::default();
    let Some((smallest, others)) = inputs.split_first() else { return rows };
    smallest.input.for_each(|member, score| {
        let first = number(aggregate.weigh(score, smallest.weight));
        let joined = others.iter().try_fold(first, |so_far, other| {
            let score = other.input.score(member)?;
            Some(aggregate.join(so_far, aggregate.weigh(score, other.weight)))
        });
        if let Some(score) = joined {
            rows.push(member, score);
        }
    });
    rows
}

fn difference(inputs: &[Weighted<'_>], hasher: &KeyHasher) -> Rows {
    let mut rows = Rows::default();
    let Some((first, others)) = inputs.split_first() else { return rows };
    let others_len: u64 = others.iter().map(|other| other.input.len()).sum();
    let lookups = first.input.len().saturating_mul(others.len() as u64);
    if lookups <= first.input.len().saturating_add(others_len) {
        // The larger a set, the sooner a member is found in it.
        let mut others = others.to_vec();
        others.sort_by_key(|other| std::cmp::Reverse(other.input.len()));
        first.input.for_each(|member, score| {
            if others.iter().all(|other| other.input.score(member).is_none()) {
                rows.push(member, score);
            }
        });
        return rows;
    }
    let mut places: HashTable<usize> = HashTable::new();
    first.input.for_each(|member, score| {
        places.insert_unique(hasher.position(member), rows.len(), |&at| hasher.position(rows.name(at)));
        rows.push(member, score);
    });
    let mut is_left = vec![true; rows.len()];
    for other in others {
        other.input.for_each(|member, _| {
            if let Some(&at) = places.find(hasher.position(member), |&at| rows.name(at) == member) {
                is_left[at] = false;
            }
        });
    }
    rows.retain(|at| is_left.get(at).copied().unwrap_or(false));
    rows
}

fn zintercard_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let sources = Sources::look_up(cx, "zintercard", 1)?;
    let mut words = sources.options(cx);
    let mut limit = 0;
    while words.left() > 0 {
        if words.left() < 2 || !words.accept("LIMIT") {
            return Err(Error::SYNTAX);
        }
        limit = args::int(words.expect()?).ok().and_then(|n| u64::try_from(n).ok()).ok_or(Error::LIMIT_NEGATIVE)?;
    }
    let mut inputs = sources.view(cx.store, cx.db_index, cx.argv, &[]);
    inputs.sort_by_key(|source| source.input.len());
    let mut found = 0;
    if let Some((smallest, others)) = inputs.split_first() {
        smallest.input.find(|member| {
            found += u64::from(others.iter().all(|other| other.input.score(member).is_some()));
            limit > 0 && found == limit
        });
    }
    cx.reply.int(i64::try_from(found).unwrap_or(i64::MAX));
    Ok(())
}
