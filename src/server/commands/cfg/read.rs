//! Looking at paths: CFG.GET, CFG.RANGE, CFG.HISTORY.

use super::rows::{READ, READS, READS_FAST, spec, store};
use super::{next_number, put_field, put_number, put_version};
use crate::command::args::Words;
use crate::command::error::Error;
use crate::command::reply::Reply;
use crate::command::spec::{Acl, Arg};
use crate::command::table::Row;
use crate::registry::{Labels, check_path, check_prefix, check_revision, view};
use crate::server::commands::row_parts::{flag, int, option, text};
use crate::server::{ServerCx, ServerFn};
use std::borrow::Cow;
use std::cmp::Reverse;
use weir_structs::tree::{PATH_BYTES_MAX, Revision, Span, Tree, Version};

const WHICH: &[Arg] = &[Arg::word("prefix", "PREFIX"), text("end").token("TO"), Arg::word("children", "CHILDREN")];
const ORDER: &[Arg] = &[
    Arg::one_of(
        "field",
        &[
            Arg::word("key", "KEY"),
            Arg::word("mod", "MOD"),
            Arg::word("create", "CREATE"),
            Arg::word("version", "VERSION"),
        ],
    ),
    Arg::one_of("direction", &[Arg::word("asc", "ASC"), Arg::word("desc", "DESC")]),
];

pub(in crate::server::commands) const ROWS: &[Row<ServerFn>] = &[
    Row::new(
        spec("cfg.get", -3, READS_FAST, Acl::CFGREAD)
            .keys(READ)
            .doc(
                "O(log(N)), N being the paths of the store.",
                "Returns the value of a path, now or at a revision, perhaps with what is known of it.",
            )
            .args(&[store(), text("path"), option(int("revision"), "AT"), flag("meta", "META")]),
        get_command,
    ),
    Row::new(
        spec("cfg.range", -3, READS, Acl::CFGREAD)
            .keys(READ)
            .doc(
                "O(log(N)+M), N being the paths of the store and M those looked at; with SORT O(M*log(M)) beside it.",
                "Returns paths that begin alike, lie between two, or are right below one, now or at a revision.",
            )
            .args(&[
                store(),
                text("path"),
                Arg::one_of("which", WHICH).optional(),
                option(int("revision"), "AT"),
                option(int("limit"), "LIMIT"),
                Arg::one_of("what", &[Arg::word("keysonly", "KEYSONLY"), Arg::word("countonly", "COUNTONLY")])
                    .optional(),
                option(Arg::block("sort", ORDER), "SORT"),
                option(int("min-revision"), "MINMOD"),
                option(int("max-revision"), "MAXMOD"),
            ]),
        range_command,
    ),
    Row::new(
        spec("cfg.history", -3, READS, Acl::CFGREAD)
            .keys(READ)
            .doc(
                "O(log(N)+M), N being the paths of the store and M the states returned.",
                "Returns the states that a path has had, newest first, as far back as the store's history goes.",
            )
            .args(&[store(), text("path"), option(int("count"), "COUNT"), option(int("revision"), "BEFORE")]),
        history_command,
    ),
];

fn get_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let (name, path) = (cx.arg(1), cx.arg(2));
    let (mut at, mut with_meta) = (None, false);
    let mut words = cx.words(3);
    while words.left() > 0 {
        if words.accept("AT") {
            at = Some(next_number(&mut words)?);
        } else if words.accept("META") {
            with_meta = true;
        } else {
            return Err(Error::SYNTAX);
        }
    }
    check_path(path)?;
    let client = cx.client().id.0;
    let (registry, tree) = cx.server.read_registry(cx.slot, name)?;
    let found = match tree {
        Some(tree) => {
            at.map_or(Ok(()), |at| check_revision(tree, at))?;
            view::sees(tree, path, at, registry.labels(client))
        }
        None => None,
    };
    match found {
        Some(version) if with_meta => put_version(&mut cx.reply, None, version, true),
        Some(version) => cx.reply.bulk(version.value()),
        None => cx.reply.null(),
    }
    Ok(())
}

/// By what paths are sorted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Field {
    Key,
    Modified,
    Create,
    Version,
}

impl Field {
    fn of(self, version: &Version) -> u64 {
        match self {
            Field::Key => 0,
            Field::Modified => version.modified(),
            Field::Create => version.create(),
            Field::Version => version.version(),
        }
    }
}

/// Which paths are wanted, and what of them, as CFG.RANGE and CFG.TXN have it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range<'a> {
    span: Span<'a>,
    at: Option<Revision>,
    limit: u64,
    keys_only: bool,
    count_only: bool,
    /// The field, and whether the greatest is first.
    sort: Option<(Field, bool)>,
    modified: (Revision, Revision),
}

/// What goes with a path if `PREFIX` or `TO` follows; `None` if neither does.
pub(super) fn prefix_or_range<'a>(path: &'a [u8], words: &mut Words<'a>) -> Result<Option<Span<'a>>, Error> {
    if words.accept("PREFIX") {
        check_prefix(path)?;
        Ok(Some(Span::Prefix(path)))
    } else if words.accept("TO") {
        let end = words.expect()?;
        check_bound(path)?;
        check_bound(end)?;
        Ok(Some(Span::Range(path, end)))
    } else {
        Ok(None)
    }
}

/// Whether these bytes can stand at either end of a range: a path, or what sorts beside one.
fn check_bound(bound: &[u8]) -> Result<(), Error> {
    if bound.first() < Some(&b'/') || bound.len() > PATH_BYTES_MAX + 1 {
        return Err(Error::cfg_path("the ends of a range begin with '/' or what sorts behind it"));
    }
    Ok(())
}

impl<'a> Range<'a> {
    /// A path and which others go with it, which follow.
    pub(super) fn take(words: &mut Words<'a>) -> Result<Range<'a>, Error> {
        let path = words.expect()?;
        let span = if let Some(span) = prefix_or_range(path, words)? {
            span
        } else if words.accept("CHILDREN") {
            check_prefix(path)?;
            Span::Children(path.strip_suffix(b"/").filter(|rest| !rest.is_empty()).unwrap_or(path))
        } else {
            check_path(path)?;
            Span::One(path)
        };
        Ok(Range {
            span,
            at: None,
            limit: u64::MAX,
            keys_only: false,
            count_only: false,
            sort: None,
            modified: (0, Revision::MAX),
        })
    }

    /// The paths.
    pub(super) fn span(&self) -> Span<'a> {
        self.span
    }

    /// Takes the next option, if it is one of a range's. Says whether it was.
    pub(super) fn take_option(&mut self, words: &mut Words<'a>) -> Result<bool, Error> {
        if words.accept("AT") {
            self.at = Some(next_number(words)?);
        } else if words.accept("LIMIT") {
            self.limit = next_number(words)?;
        } else if words.accept("KEYSONLY") {
            self.keys_only = true;
        } else if words.accept("COUNTONLY") {
            self.count_only = true;
        } else if words.accept("SORT") {
            let field = if words.accept("KEY") {
                Field::Key
            } else if words.accept("MOD") {
                Field::Modified
            } else if words.accept("CREATE") {
                Field::Create
            } else if words.accept("VERSION") {
                Field::Version
            } else {
                return Err(Error::SYNTAX);
            };
            let greatest_first = if words.accept("DESC") {
                true
            } else if words.accept("ASC") {
                false
            } else {
                return Err(Error::SYNTAX);
            };
            self.sort = Some((field, greatest_first));
        } else if words.accept("MINMOD") {
            self.modified.0 = next_number(words)?;
        } else if words.accept("MAXMOD") {
            self.modified.1 = next_number(words)?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Whether a store can tell it.
    pub(super) fn check(&self, tree: &Tree) -> Result<(), Error> {
        self.at.map_or(Ok(()), |at| check_revision(tree, at))
    }

    /// Writes what is there for who has these labels, as a map.
    pub(super) fn put(&self, tree: Option<&Tree>, labels: &Labels, reply: &mut Reply<'_>) {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let wanted = |version: &Version| (self.modified.0..=self.modified.1).contains(&version.modified());
        let all = tree.into_iter().flat_map(|tree| view::seen(tree, self.span, self.at, labels));
        let all = all.filter(|(_, it)| wanted(it));
        let mut found: Vec<(Cow<'_, [u8]>, &Version)> = Vec::new();
        let mut count = 0;
        if self.count_only {
            count = all.count();
        } else if let Some((field, greatest_first)) = self.sort {
            found = all.collect();
            // Paths come in their order, which equal ones keep.
            match (field, greatest_first) {
                (Field::Key, false) => {}
                (Field::Key, true) => found.reverse(),
                (_, false) => found.sort_by_key(|(_, it)| field.of(it)),
                (_, true) => found.sort_by_key(|(_, it)| Reverse(field.of(it))),
            }
        } else {
            // One more tells that there are more.
            found.extend(all.take(limit.saturating_add(1)));
        }
        let has_more = found.len() > limit;
        found.truncate(limit);
        reply.map(5);
        put_field(reply, "revision", tree.map_or(0, Tree::revision));
        put_field(reply, "epoch", tree.map_or(0, Tree::epoch));
        reply.text("count");
        reply.count(if self.count_only { count } else { found.len() });
        reply.text("more");
        reply.boolean(has_more);
        reply.text("kvs");
        reply.array(found.len());
        for (path, version) in found {
            put_version(reply, Some(&path), version, !self.keys_only);
        }
    }
}

fn range_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let name = cx.arg(1);
    let mut words = cx.words(2);
    let mut range = Range::take(&mut words)?;
    while words.left() > 0 {
        if !range.take_option(&mut words)? {
            return Err(Error::SYNTAX);
        }
    }
    let client = cx.client().id.0;
    let (registry, tree) = cx.server.read_registry(cx.slot, name)?;
    match (tree, range.at) {
        (Some(tree), _) => range.check(tree)?,
        (None, Some(1..)) => return Err(Error::cfg_future(0)),
        (None, _) => {}
    }
    range.put(tree, registry.labels(client), &mut cx.reply);
    Ok(())
}

fn history_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let (name, path) = (cx.arg(1), cx.arg(2));
    let (mut count, mut before) = (u64::MAX, Revision::MAX);
    let mut words = cx.words(3);
    while words.left() > 0 {
        if words.accept("COUNT") {
            count = next_number(&mut words)?;
        } else if words.accept("BEFORE") {
            before = next_number(&mut words)?;
        } else {
            return Err(Error::SYNTAX);
        }
    }
    check_path(path)?;
    let (_, tree) = cx.server.read_registry(cx.slot, name)?;
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let states: Vec<_> = tree.into_iter().flat_map(|tree| tree.versions(path, before)).take(count).collect();
    let reply = &mut cx.reply;
    reply.array(states.len());
    for (revision, time_ms, version) in states {
        reply.map(4);
        put_field(reply, "revision", revision);
        put_field(reply, "time", time_ms);
        reply.text("type");
        reply.text(if version.is_some() { "put" } else { "del" });
        reply.text("state");
        match version {
            Some(version) => put_version(reply, None, version, true),
            None => reply.null(),
        }
    }
    Ok(())
}

/// The value of a path, or null: the reply of a GET inside of a transaction.
pub(super) fn put_value(tree: &Tree, path: &[u8], reply: &mut Reply<'_>) {
    match tree.get(path) {
        Some(version) => put_version(reply, Some(path), version, true),
        None => reply.null(),
    }
}

/// Writes a revision as the reply of a change inside of a transaction.
pub(super) fn put_revision(revision: Revision, reply: &mut Reply<'_>) {
    put_number(reply, revision);
}
