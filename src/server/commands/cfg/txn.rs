//! Several changes as one, if what they rest on still holds: CFG.TXN.
//!
//! ```text
//!  CFG.TXN store IF n (path VALUE|VERSION|CREATE|MOD|LEASE =|!=|<|> x | EXISTS path)*
//!                THEN n (PUT path value [LEASE id] [FLAGS n] | DEL path [PREFIX] | GET path | RANGE path ..)*
//!                ELSE n ..
//! ```
//!
//! Everything is looked at before anything is written: a transaction that is refused has changed nothing. What it compares and
//! reads is what is there for those without labels, which is what it writes.

use super::put::{Delete, Put};
use super::read::{Range, put_revision, put_value};
use super::rows::{ADDS, READ_AND_CHANGED, spec, store};
use super::{next_number, put_field};
use crate::acl::Access;
use crate::command::args::{Words, is};
use crate::command::error::Error;
use crate::command::reply::{Output, Reply};
use crate::command::spec::{Acl, Arg};
use crate::command::table::Row;
use crate::registry::{Labels, Writer, check_path};
use crate::server::commands::row_parts::{int, text};
use crate::server::{ServerCx, ServerFn};
use std::cmp::Ordering;
use weir_structs::tree::{Span, Tree, Version};

const CONDITIONS: &[Arg] = &[int("numconditions"), text("condition").optional().multiple()];
const OPERATIONS: &[Arg] = &[int("numoperations"), text("operation").optional().multiple()];

pub(in crate::server::commands) const ROWS: &[Row<ServerFn>] = &[Row::new(
    spec("cfg.txn", -4, ADDS, Acl::CFGREAD.union(Acl::CFGWRITE))
        .keys(READ_AND_CHANGED)
        .doc(
            "O(log(N)) for each condition and operation, N being the paths of the store; more for ranges and prefixes.",
            "Does the one or the other as a single revision, depending on whether conditions hold.",
        )
        .args(&[
            store(),
            Arg::block("conditions", CONDITIONS).token("IF"),
            Arg::block("then", OPERATIONS).token("THEN").optional(),
            Arg::block("else", OPERATIONS).token("ELSE").optional(),
        ]),
    txn_command,
)];

/// What is compared.
#[derive(Clone, Copy, Debug)]
enum Compared<'a> {
    Value(&'a [u8]),
    Version(u64),
    Create(u64),
    Modified(u64),
    Lease(u64),
}

/// How.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Relation {
    Equal,
    Unequal,
    Less,
    Greater,
}

impl Relation {
    fn take(words: &mut Words<'_>) -> Result<Relation, Error> {
        match words.expect()? {
            b"=" => Ok(Relation::Equal),
            b"!=" => Ok(Relation::Unequal),
            b"<" => Ok(Relation::Less),
            b">" => Ok(Relation::Greater),
            _ => Err(Error::SYNTAX),
        }
    }

    fn holds(self, order: Ordering) -> bool {
        match self {
            Relation::Equal => order.is_eq(),
            Relation::Unequal => order.is_ne(),
            Relation::Less => order.is_lt(),
            Relation::Greater => order.is_gt(),
        }
    }
}

/// What must be so.
#[derive(Clone, Copy, Debug)]
enum Condition<'a> {
    Exists(&'a [u8]),
    Compares(&'a [u8], Compared<'a>, Relation),
}

impl<'a> Condition<'a> {
    fn take(words: &mut Words<'a>) -> Result<Condition<'a>, Error> {
        if words.accept("EXISTS") {
            let path = words.expect()?;
            check_path(path)?;
            return Ok(Condition::Exists(path));
        }
        let (path, what) = (words.expect()?, words.expect()?);
        check_path(path)?;
        let relation = Relation::take(words)?;
        let compared = if is(what, "VALUE") {
            Compared::Value(words.expect()?)
        } else if is(what, "VERSION") {
            Compared::Version(next_number(words)?)
        } else if is(what, "CREATE") {
            Compared::Create(next_number(words)?)
        } else if is(what, "MOD") {
            Compared::Modified(next_number(words)?)
        } else if is(what, "LEASE") {
            Compared::Lease(next_number(words)?)
        } else {
            return Err(Error::SYNTAX);
        };
        Ok(Condition::Compares(path, compared, relation))
    }

    /// A path that is not there has 0 for every number, and no value that anything could be compared with.
    fn holds(&self, tree: &Tree) -> bool {
        match *self {
            Condition::Exists(path) => tree.get(path).is_some(),
            Condition::Compares(path, compared, relation) => {
                let now = tree.get(path);
                let number = |of: fn(&Version) -> u64, other: u64| relation.holds(now.map_or(0, of).cmp(&other));
                match compared {
                    Compared::Value(value) => match now {
                        Some(now) => relation.holds(now.value().cmp(value)),
                        None => relation == Relation::Unequal,
                    },
                    Compared::Version(other) => number(Version::version, other),
                    Compared::Create(other) => number(Version::create, other),
                    Compared::Modified(other) => number(Version::modified, other),
                    Compared::Lease(other) => number(Version::lease, other),
                }
            }
        }
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug)]
enum Operation<'a> {
    Put(Put<'a>),
    Delete(Delete<'a>),
    Get(&'a [u8]),
    Range(Range<'a>),
}

impl<'a> Operation<'a> {
    fn take(words: &mut Words<'a>) -> Result<Operation<'a>, Error> {
        if words.accept("PUT") {
            let mut put = Put::take(words)?;
            while put.take_option(words)? {}
            Ok(Operation::Put(put))
        } else if words.accept("DEL") {
            Ok(Operation::Delete(Delete::take(words)?))
        } else if words.accept("GET") {
            let path = words.expect()?;
            check_path(path)?;
            Ok(Operation::Get(path))
        } else if words.accept("RANGE") {
            let mut range = Range::take(words)?;
            while range.take_option(words)? {}
            Ok(Operation::Range(range))
        } else {
            Err(Error::SYNTAX)
        }
    }

    fn check(&self, tree: &Tree) -> Result<(), Error> {
        match self {
            Operation::Put(put) => put.check(tree),
            Operation::Range(range) => range.check(tree),
            Operation::Delete(_) | Operation::Get(_) => Ok(()),
        }
    }

    fn run(&self, writer: &mut Writer<'_>, reply: &mut Reply<'_>) {
        match self {
            Operation::Put(put) => {
                put.write(writer);
                put_revision(writer.revision(), reply);
            }
            Operation::Delete(delete) => {
                let deleted = delete.write(writer);
                reply.map(2);
                put_field(reply, "deleted", deleted);
                put_field(reply, "revision", writer.last_revision());
            }
            Operation::Get(path) => put_value(writer.tree(), path, reply),
            Operation::Range(range) => range.put(Some(writer.tree()), &Labels::default(), reply),
        }
    }
}

/// Whether no path is changed by two of these.
fn check_paths(operations: &[Operation<'_>]) -> Result<(), Error> {
    let mut changed: Vec<(&[u8], bool)> = operations
        .iter()
        .filter_map(|operation| match operation {
            Operation::Put(put) => Some((put.path, false)),
            Operation::Delete(delete) => Some((delete.path, delete.is_prefix)),
            Operation::Get(_) | Operation::Range(_) => None,
        })
        .collect();
    changed.sort_unstable();
    // Whatever begins with a prefix stands right behind it.
    let mut prefix: Option<&[u8]> = None;
    let mut last: Option<&[u8]> = None;
    for (path, is_prefix) in changed {
        if last == Some(path) || prefix.is_some_and(|prefix| path.starts_with(prefix)) {
            return Err(Error::CFG_TWICE);
        }
        last = Some(path);
        if is_prefix {
            prefix = Some(path);
        }
    }
    Ok(())
}

/// So many of something, which follow. What is said to follow is not believed before it is there.
fn take_list<'a, T>(words: &mut Words<'a>, take: impl Fn(&mut Words<'a>) -> Result<T, Error>) -> Result<Vec<T>, Error> {
    let count = next_number(words)?;
    if count > words.left() as u64 {
        return Err(Error::SYNTAX);
    }
    (0..count).map(|_| take(words)).collect()
}

/// A transaction as it is called.
#[derive(Debug, Default)]
struct Transaction<'a> {
    conditions: Vec<Condition<'a>>,
    if_so: Vec<Operation<'a>>,
    if_not: Vec<Operation<'a>>,
}

impl<'a> Transaction<'a> {
    fn parse(mut words: Words<'a>) -> Result<Transaction<'a>, Error> {
        let mut parsed = Transaction::default();
        if words.accept("IF") {
            parsed.conditions = take_list(&mut words, Condition::take)?;
        }
        if words.accept("THEN") {
            parsed.if_so = take_list(&mut words, Operation::take)?;
        }
        if words.accept("ELSE") {
            parsed.if_not = take_list(&mut words, Operation::take)?;
        }
        if words.left() > 0 { Err(Error::SYNTAX) } else { Ok(parsed) }
    }
}

/// Which paths a transaction uses, and what for. `words` begin behind the store.
///
/// # Errors
/// It is none: the command says the same.
pub(in crate::server) fn uses<'a>(words: Words<'a>) -> Result<Vec<(Span<'a>, Access)>, Error> {
    let Transaction { conditions, if_so, if_not } = Transaction::parse(words)?;
    let compared = conditions.into_iter().map(|condition| match condition {
        Condition::Exists(path) | Condition::Compares(path, ..) => (Span::One(path), Access::READ),
    });
    let done = if_so.into_iter().chain(if_not).map(|operation| match operation {
        Operation::Put(put) => (Span::One(put.path), Access::WRITE),
        Operation::Delete(delete) => (delete.span(), Access::WRITE),
        Operation::Get(path) => (Span::One(path), Access::READ),
        Operation::Range(range) => (range.span(), Access::READ),
    });
    Ok(compared.chain(done).collect())
}

fn txn_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let name = cx.arg(1);
    let Transaction { conditions, if_so, if_not } = Transaction::parse(cx.words(2))?;
    check_paths(&if_so)?;
    check_paths(&if_not)?;
    let resp = cx.reply.resp();
    let (succeeded, revision, count, responses) = cx.server.write_registry(cx.slot, name, |writer| {
        let tree = writer.tree();
        let max = tree.options().txn_max as usize;
        if [conditions.len(), if_so.len(), if_not.len()].into_iter().any(|len| len > max) {
            return Err(Error::CFG_TOO_MANY);
        }
        let succeeded = conditions.iter().all(|condition| condition.holds(tree));
        let operations = if succeeded { &if_so } else { &if_not };
        operations.iter().try_for_each(|operation| operation.check(tree))?;
        let mut responses = Output::default();
        let mut reply = Reply::new(&mut responses, resp);
        operations.iter().for_each(|operation| operation.run(writer, &mut reply));
        Ok((succeeded, writer.last_revision(), operations.len(), responses))
    })?;
    let reply = &mut cx.reply;
    reply.map(3);
    reply.text("succeeded");
    reply.boolean(succeeded);
    put_field(reply, "revision", revision);
    reply.text("responses");
    reply.array(count);
    reply.output().append(responses);
    Ok(())
}
