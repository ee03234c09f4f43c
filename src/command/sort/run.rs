//! The commands: which elements, in which order, and what is replied or stored of them.
//!
//! Elements are copied first, since what BY and GET name for them may be anywhere, and looking it up may change the store:
//! it removes what has expired and counts. Where no order is asked for, only the part that is wanted is copied.

use super::order::{self, Arena, By, Item, Span};
use super::pattern::Pattern;
use crate::command::args::Words;
use crate::command::effects::EventClass;
use crate::command::spec::{Acl, Arg, ArgKind, BeginSearch, FindKeys, Flags, Group, KeyFlags, KeySpec, Spec};
use crate::command::table::{DataFn, Row};
use crate::command::{Cx, Error};
use crate::store::{EntryRef, Key, PackedKind, Removal};
use std::ops::{ControlFlow, Range};
use weir_structs::list::{self, End, ListMut, ListRef};
use weir_structs::number;
use weir_structs::set::SetRef;
use weir_structs::zset::ZsetRef;

const KEY_RO_ACCESS: KeyFlags = KeyFlags::RO.union(KeyFlags::ACCESS);

/// `SORT` and `SORT_RO`.
pub const COMMANDS: &[Row<DataFn>] = &[
    Row::new(
        Spec::new(
            "sort",
            -2,
            Flags::WRITE.union(Flags::DENYOOM).union(Flags::MOVABLEKEYS).union(Flags::FOREIGN_KEYS),
            Acl::WRITE.union(Acl::SET).union(Acl::SORTEDSET).union(Acl::LIST).union(Acl::SLOW).union(Acl::DANGEROUS),
            Group::Generic,
            "1.0.0",
        )
        .keys(&[
            KeySpec::one(1, KEY_RO_ACCESS),
            KeySpec {
                flags: KEY_RO_ACCESS,
                begin: BeginSearch::Unknown,
                find: FindKeys::Unknown,
                notes: "Keys of BY and GET depend on the elements.",
            },
            KeySpec {
                flags: KeyFlags::OW.union(KeyFlags::UPDATE),
                begin: BeginSearch::Unknown,
                find: FindKeys::Unknown,
                notes: "The key of STORE may stand anywhere among the options.",
            },
        ])
        .doc(
            "O(N+M*log(M)) where N is the number of elements and M how many of them are returned.",
            "Sorts a list, a set or a sorted set by its elements or by other keys, or stores that.",
        )
        .args(&[
            Arg::key("key", 0),
            Arg::new("by-pattern", ArgKind::Pattern).token("BY").display("pattern").optional(),
            Arg::block("limit", &[Arg::new("offset", ArgKind::Integer), Arg::new("count", ArgKind::Integer)])
                .token("LIMIT")
                .optional(),
            Arg::new("get-pattern", ArgKind::Pattern).token("GET").display("pattern").optional().multiple_token(),
            Arg::one_of("order", &[Arg::word("asc", "ASC"), Arg::word("desc", "DESC")]).optional(),
            Arg::word("sorting", "ALPHA").optional(),
            Arg::key("destination", 2).token("STORE").optional(),
        ]),
        sort_command,
    ),
    Row::new(
        Spec::new(
            "sort_ro",
            -2,
            Flags::READONLY.union(Flags::MOVABLEKEYS).union(Flags::FOREIGN_KEYS),
            Acl::READ.union(Acl::SET).union(Acl::SORTEDSET).union(Acl::LIST).union(Acl::SLOW).union(Acl::DANGEROUS),
            Group::Generic,
            "7.0.0",
        )
        .keys(&[
            KeySpec::one(1, KEY_RO_ACCESS),
            KeySpec {
                flags: KEY_RO_ACCESS,
                begin: BeginSearch::Unknown,
                find: FindKeys::Unknown,
                notes: "Keys of BY and GET depend on the elements.",
            },
        ])
        .doc(
            "O(N+M*log(M)) where N is the number of elements and M how many of them are returned.",
            "Sorts a list, a set or a sorted set by its elements or by other keys.",
        )
        .args(&[
            Arg::key("key", 0),
            Arg::new("by-pattern", ArgKind::Pattern).token("BY").display("pattern").optional(),
            Arg::block("limit", &[Arg::new("offset", ArgKind::Integer), Arg::new("count", ArgKind::Integer)])
                .token("LIMIT")
                .optional(),
            Arg::new("get-pattern", ArgKind::Pattern).token("GET").display("pattern").optional().multiple_token(),
            Arg::one_of("order", &[Arg::word("asc", "ASC"), Arg::word("desc", "DESC")]).optional(),
            Arg::word("sorting", "ALPHA").optional(),
        ]),
        sort_ro_command,
    ),
];

/// Values that one SORT replies or stores: elements times GETs, both of which may be as many as a request has room for.
const CELLS_MAX: usize = 1 << 27;
/// Elements that are named in one command in place of SORT.
const FED_ELEMENTS: usize = 1024;
/// Values that are looked up before they are replied, where one element has not more of them already.
const CHUNK_CELLS: usize = 1 << 12;

fn sort_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let request = Request::parse(cx.words(2), true, cx.effects.reads_every_key)?;
    sort(cx, &request)
}

fn sort_ro_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let request = Request::parse(cx.words(2), false, cx.effects.reads_every_key)?;
    sort(cx, &request)
}

/// The options.
struct Request<'a> {
    descending: bool,
    alpha: bool,
    skipped: i64,
    count: i64,
    by: Option<Pattern<'a>>,
    get: Vec<Pattern<'a>>,
    store_at: Option<usize>,
}

impl<'a> Request<'a> {
    fn parse(mut words: Words<'a>, may_store: bool, reads_every_key: bool) -> Result<Request<'a>, Error> {
        let mut request = Request {
            descending: false,
            alpha: false,
            skipped: 0,
            count: -1,
            by: None,
            get: Vec::new(),
            store_at: None,
        };
        while words.peek().is_some() {
            if words.accept("ASC") {
                request.descending = false;
            } else if words.accept("DESC") {
                request.descending = true;
            } else if words.accept("ALPHA") {
                request.alpha = true;
            } else if words.left() > 2 && words.accept("LIMIT") {
                request.skipped = words.expect_int()?;
                request.count = words.expect_int()?;
            } else if words.left() > 1 && may_store && words.accept("STORE") {
                request.store_at = Some(words.at());
                words.expect()?;
            } else if words.left() > 1 && words.accept("BY") {
                let by = words.expect()?;
                if !reads_every_key && by.contains(&b'*') {
                    return Err(Error::SORT_BY_DENIED);
                }
                request.by = Some(Pattern::parse(by));
            } else if words.left() > 1 && words.accept("GET") {
                if !reads_every_key {
                    return Err(Error::SORT_GET_DENIED);
                }
                request.get.push(Pattern::parse(words.expect()?));
            } else {
                return Err(Error::SYNTAX);
            }
        }
        Ok(request)
    }

    /// Whether fields of hashes are looked up, of which some may have expired.
    fn reads_fields(&self) -> bool {
        self.by.iter().chain(&self.get).any(|pattern| matches!(pattern, Pattern::Key { field: Some(_), .. }))
    }

    /// The part of `len` elements that is wanted.
    fn part(&self, len: usize) -> Range<usize> {
        let start = usize::try_from(self.skipped.max(0)).unwrap_or(usize::MAX).min(len);
        let end = usize::try_from(self.count).map_or(len, |count| start.saturating_add(count).min(len));
        start..end
    }
}

/// What is sorted.
#[derive(Clone, Copy)]
enum Source<'a> {
    List(ListRef<'a>),
    Set(SetRef<'a>),
    Zset(ZsetRef<'a>),
}

impl<'a> Source<'a> {
    fn of(entry: EntryRef<'a>) -> Option<Source<'a>> {
        let list = || ListRef::of(entry).map(Source::List);
        let set = || SetRef::of(entry).map(Source::Set);
        list().or_else(set).or_else(|| ZsetRef::of(entry).map(Source::Zset))
    }

    fn len(self) -> usize {
        match self {
            Source::List(list) => list.len(),
            Source::Set(set) => set.len(),
            Source::Zset(zset) => usize::try_from(zset.len()).unwrap_or(usize::MAX),
        }
    }

    /// Copies a part of the elements as they are stored; of lists and sorted sets perhaps of the reverse order.
    fn copy(self, part: Range<usize>, backwards: bool, arena: &mut Arena) -> Vec<Item> {
        let mut items = Vec::with_capacity(part.len());
        let mut keep = |text: &[u8]| {
            let item = Item::new(arena.push(text), items.len());
            items.push(item);
        };
        let len = self.len();
        match self {
            Source::List(list) if !part.is_empty() => {
                let (from, towards) =
                    if backwards { (len - 1 - part.start, End::Front) } else { (part.start, End::Back) };
                list.visit(from, part.len(), towards, |element| {
                    keep(&element.text());
                    ControlFlow::Continue(())
                });
            }
            Source::List(_) => {}
            Source::Set(set) => set.iter().skip(part.start).take(part.len()).for_each(|member| keep(&member.text())),
            Source::Zset(zset) if backwards => {
                let (start, end) = (len - part.end, len - part.start);
                zset.walk_back(start as u64..end as u64, |member, _| keep(member));
            }
            Source::Zset(zset) => zset.walk(part.start as u64..part.end as u64, |member, _| keep(member)),
        }
        items
    }
}

fn sort(cx: &mut Cx<'_>, request: &Request<'_>) -> Result<(), Error> {
    let key = cx.key(1);
    let storing = request.store_at.is_some();
    let (mut alpha, mut by) = (request.alpha, request.by);
    let mut arena = Arena::default();
    let mut items = Vec::new();
    let mut sorts = by.is_none_or(Pattern::names_keys);
    // Of elements that count as equal, those of a set lie as they happen to.
    let mut by_chance = false;
    if let Some(entry) = cx.store.db(cx.db_index).get(key) {
        let source = Source::of(entry).ok_or(Error::WRONG_TYPE)?;
        if (storing || cx.effects.in_script) && !sorts && matches!(source, Source::Set(_)) {
            // What is stored of a set, or done by a script, must not depend on where its members happen to lie.
            (sorts, alpha, by) = (true, true, None);
        }
        by_chance = matches!(source, Source::Set(_));
        let part = if sorts { 0..source.len() } else { request.part(source.len()) };
        items = source.copy(part, !sorts && request.descending, &mut arena);
    } else {
        cx.effects.event(EventClass::MISS, "keymiss", key.name, cx.db_index);
    }
    if sorts {
        let order = if alpha { By::Text } else { By::Score };
        match by {
            Some(pattern) => weigh_by(cx, pattern, order, storing, &mut items, &mut arena)?,
            None => weigh(order, storing, &mut items, &arena)?,
        }
        let part = request.part(items.len());
        order::sort(&mut items, part.clone(), order, request.descending, &arena);
        items.truncate(part.end);
        items.drain(..part.start);
    }

    let columns = request.get.len().max(1);
    let cells = items.len().checked_mul(columns).filter(|&cells| cells <= CELLS_MAX).ok_or(Error::OUT_OF_RANGE)?;
    let elements: Vec<Span> = items.iter().map(|item| item.element).collect();
    drop(items);
    // Either several whole rows, or some columns of one.
    let chunks = elements.chunks((CHUNK_CELLS / columns).max(1)).flat_map(|elements| {
        let mut columns = request.get.chunks(CHUNK_CELLS);
        let first = columns.next().unwrap_or_default();
        std::iter::once(first).chain(columns).map(move |get| (elements, get))
    });
    match request.store_at {
        Some(at) => {
            // What is looked up may be in the very key that is replaced.
            let mut output = Vec::new();
            for (elements, get) in chunks {
                output.append(&mut rows(cx, get, elements, &mut arena));
            }
            store(cx, cx.key(at), &output, &arena, by_chance || request.reads_fields());
        }
        None => {
            cx.reply.array(cells);
            let kept = arena.len();
            for (elements, get) in chunks {
                for value in rows(cx, get, elements, &mut arena) {
                    match value {
                        Some(span) => cx.reply.bulk(arena.get(span)),
                        None => cx.reply.null(),
                    }
                }
                arena.truncate(kept);
            }
        }
    }
    Ok(())
}

/// Compares elements by themselves.
fn weigh(order: By, storing: bool, items: &mut [Item], arena: &Arena) -> Result<(), Error> {
    for item in items {
        match order {
            By::Score => item.set_score(score(arena.get(item.element))?),
            By::Text => item.set_text(collated(item.element, storing, arena), arena),
        }
    }
    Ok(())
}

/// Compares elements by what a pattern names for them. Where that is not there, the score is 0, and a text is before all.
fn weigh_by(
    cx: &mut Cx<'_>,
    pattern: Pattern<'_>,
    order: By,
    storing: bool,
    items: &mut [Item],
    arena: &mut Arena,
) -> Result<(), Error> {
    let elements: Vec<Span> = items.iter().map(|item| item.element).collect();
    let (mut rest, mut failed) = (items.iter_mut(), false);
    pattern.look_up(cx, &elements, arena, &mut |arena, value| {
        let (Some(item), Some(value)) = (rest.next(), value) else { return };
        match order {
            By::Score => match score(value) {
                Ok(score) => item.set_score(score),
                Err(_) => failed = true,
            },
            By::Text => {
                let text = arena.push(value);
                item.set_text(collated(text, storing, arena), arena);
            }
        }
    });
    if failed { Err(Error::SORT_NO_SCORES) } else { Ok(()) }
}

/// The part of a text by which it is compared: the reference servers collate what they reply as C strings, and compare what
/// they store byte by byte.
fn collated(text: Span, storing: bool, arena: &Arena) -> Span {
    if storing { text } else { arena.c_string(text) }
}

/// Reads a score: a decimal number, up to the first NUL.
fn score(text: &[u8]) -> Result<f64, Error> {
    let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
    // What C reads as hexadecimal is no score.
    let decimal = !text.iter().any(|byte| matches!(byte, b'x' | b'X'));
    number::parse_f64(text).filter(|_| decimal).ok_or(Error::SORT_NO_SCORES)
}

/// What is replied or stored for these elements: themselves, or what each GET names for each.
fn rows(cx: &mut Cx<'_>, get: &[Pattern<'_>], elements: &[Span], arena: &mut Arena) -> Vec<Option<Span>> {
    let columns = get.len();
    if columns == 0 {
        return elements.iter().copied().map(Some).collect();
    }
    let mut output = vec![None; elements.len() * columns];
    for (column, pattern) in get.iter().enumerate() {
        let mut cells = output.iter_mut().skip(column).step_by(columns);
        if *pattern == Pattern::Element {
            cells.zip(elements).for_each(|(cell, element)| *cell = Some(*element));
            continue;
        }
        pattern.look_up(cx, elements, arena, &mut |arena, value| {
            if let Some(cell) = cells.next() {
                *cell = value.map(|value| arena.push(value));
            }
        });
    }
    output
}

/// Replaces a key by a list, in which nothing is the empty string, or removes it if there is nothing at all. `name_each`:
/// the same command might store something else when it is repeated.
fn store(cx: &mut Cx<'_>, key: Key<'_>, output: &[Option<Span>], arena: &Arena, name_each: bool) {
    cx.reply.count(output.len());
    if name_each && cx.effects.feeds() {
        if cx.store.view(cx.db_index, key).is_some() {
            cx.effects.feed_as(&[b"DEL", key.name]);
        }
        for portion in output.chunks(FED_ELEMENTS) {
            let elements = portion.iter().map(|value| value.map_or(&[][..], |span| arena.get(span)));
            cx.effects.feed_list(&[b"RPUSH", key.name], elements);
        }
    }
    if output.is_empty() {
        if cx.db().remove(key) == Removal::Removed {
            cx.effects.changed(1);
            cx.effects.event(EventClass::GENERIC, "del", key.name, cx.db_index);
        }
        return;
    }
    let limits = list::Limits::new(
        i64::from(cx.config.list_max_listpack_size),
        usize::try_from(cx.config.list_compress_depth).unwrap_or(usize::MAX),
    );
    cx.overwrites(key, "list");
    let is_new = cx.db().put_packed(key, PackedKind::List, &[]);
    if let Some(mut entry) = cx.db().get_mut(key)
        && let Some(mut list) = ListMut::of(&mut entry.value_mut(), limits)
    {
        for value in output {
            list.push(End::Back, list::Element::Bytes(value.map_or(&[], |span| arena.get(span))));
        }
        list.expect_more(0, 0);
    }
    cx.effects.changed(output.len() as u64);
    if is_new {
        cx.effects.event(EventClass::NEW, "new", key.name, cx.db_index);
    }
    cx.effects.event(EventClass::LIST, "sortstore", key.name, cx.db_index);
}
