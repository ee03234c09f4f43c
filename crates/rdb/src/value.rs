//! Values as they are stored, of every type that Redis up to 8 and Valkey up to 9 have written.
//!
//! A value is not made here: a [`Visitor`] is told of its elements one after the other, as they come, so that a collection
//! of any size passes through a few buffers. What cannot be is refused here as far as it shows without knowing the elements
//! before; that an element is there twice, the visitor sees and says.

use crate::error::{Error, Problem};
use crate::module::{self, ModuleType};
use crate::packed::{Elements, Intset, Listpack, Ziplist, Zipmap};
use crate::source::Source;
use std::io::Read;
use weir_structs::packed::Element;

/// What a collection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Collection {
    /// Elements in order.
    List,
    /// Members.
    Set,
    /// Members with scores.
    Zset,
    /// Fields with values.
    Hash,
}

/// An id of a stream's entry: milliseconds and sequence number.
pub type Id = (u64, u64);

/// Figures of a stream, told behind its entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StreamFigures {
    /// Number of entries.
    pub len: u64,
    /// The highest id that was ever given.
    pub last_id: Id,
    /// The first entry's id; `None` in files from before Redis 7.
    pub first_id: Option<Id>,
    /// The highest id that was ever removed.
    pub max_deleted_id: Id,
    /// How many entries there ever were; `None` in files from before Redis 7.
    pub entries_added: Option<u64>,
}

/// Makes a value of what it is told. A problem that it returns ends the reading.
pub trait Visitor {
    /// The value is a string.
    fn string(&mut self, value: &[u8]) -> Result<(), Problem>;
    /// The value is a collection; its elements, or pairs, follow. About so many: no more than there are bytes for, 0 if nobody knows.
    fn collection(&mut self, kind: Collection, claimed: usize) -> Result<(), Problem>;
    /// The next element of a list or a set.
    fn element(&mut self, element: Element<'_>) -> Result<(), Problem>;
    /// The next member of a sorted set. The score is a number.
    fn scored(&mut self, member: Element<'_>, score: f64) -> Result<(), Problem>;
    /// The next field of a hash, with its deadline in Unix milliseconds.
    fn field(&mut self, field: Element<'_>, value: Element<'_>, expire_at_ms: Option<i64>) -> Result<(), Problem>;
    /// The value is a stream; its entries follow, then its figures, then its groups.
    fn stream(&mut self) -> Result<(), Problem>;
    /// The next entry of a stream: fields and values in turn. Ids ascend.
    fn entry(&mut self, id: Id, pairs: &[Element<'_>]) -> Result<(), Problem>;
    /// The value is one of a module, whose type this is; its pieces follow. Refused unless the visitor knows it.
    fn module(&mut self, kind: ModuleType) -> Result<(), Problem> {
        let _ = kind;
        Err(Problem::Module)
    }
    /// The next piece of such a value.
    fn piece(&mut self, piece: &[u8]) -> Result<(), Problem> {
        let _ = piece;
        Err(Problem::Module)
    }
    /// The stream's figures.
    fn figures(&mut self, figures: &StreamFigures) -> Result<(), Problem>;
    /// The next consumer group. `entries_read` is `None` where it is not known.
    fn group(&mut self, name: &[u8], last_delivered: Id, entries_read: Option<u64>) -> Result<(), Problem>;
    /// The next pending entry of that group.
    fn pending(&mut self, id: Id, delivered_ms: u64, deliveries: u64) -> Result<(), Problem>;
    /// The next consumer of that group, with the times when it was last seen and last got something.
    fn consumer(&mut self, name: &[u8], seen_ms: u64, active_ms: Option<u64>) -> Result<(), Problem>;
    /// The next pending entry of that group that is this consumer's.
    fn consumer_pending(&mut self, id: Id) -> Result<(), Problem>;
    /// For how many seconds messages of producers are remembered, and how many of each.
    fn producers(&mut self, duration_s: u64, messages_max: u64) -> Result<(), Problem> {
        let _ = (duration_s, messages_max);
        Ok(())
    }
    /// A message of a producer, and the entry that it was added as.
    fn message(&mut self, producer: &[u8], message: &[u8], id: Id) -> Result<(), Problem> {
        let _ = (producer, message, id);
        Ok(())
    }
    /// How many messages were ever added, and how many refused because they had been.
    fn counted(&mut self, added: u64, duplicates: u64) -> Result<(), Problem> {
        let _ = (added, duplicates);
        Ok(())
    }
}

/// Whose layouts a file or payload has: the same type numbers mean different things from 22 on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// Redis, and what both have.
    Redis,
    /// Valkey from 9 on.
    Valkey,
}

/// The newest version of Redis that is read: that of 8.8.
const REDIS_VERSION_MAX: u32 = 14;
/// Valkey counts from here on since the formats have parted.
const VALKEY_VERSION_MIN: u32 = 80;
const VALKEY_VERSION_MAX: u32 = 81;

impl Dialect {
    /// Who writes a version; `None` for one that is not known.
    pub fn of_version(version: u32) -> Option<Dialect> {
        match version {
            1..=REDIS_VERSION_MAX => Some(Dialect::Redis),
            VALKEY_VERSION_MIN..=VALKEY_VERSION_MAX => Some(Dialect::Valkey),
            _ => None,
        }
    }

    /// Who most likely writes a version, known or not: those that are too new have the numbers of one or the other.
    pub fn nearest(version: u32) -> Dialect {
        if version < VALKEY_VERSION_MIN { Dialect::Redis } else { Dialect::Valkey }
    }
}

/// Numbers of types.
pub mod code {
    #![expect(missing_docs, reason = "each is the number of the type and the layout that its name says")]
    pub const STRING: u8 = 0;
    pub const LIST: u8 = 1;
    pub const SET: u8 = 2;
    pub const ZSET: u8 = 3;
    pub const HASH: u8 = 4;
    pub const ZSET_BINARY: u8 = 5;
    pub const MODULE_OLD: u8 = 6;
    pub const MODULE: u8 = 7;
    pub const HASH_ZIPMAP: u8 = 9;
    pub const LIST_ZIPLIST: u8 = 10;
    pub const SET_INTSET: u8 = 11;
    pub const ZSET_ZIPLIST: u8 = 12;
    pub const HASH_ZIPLIST: u8 = 13;
    pub const LIST_OF_ZIPLISTS: u8 = 14;
    pub const STREAM: u8 = 15;
    pub const HASH_LISTPACK: u8 = 16;
    pub const ZSET_LISTPACK: u8 = 17;
    pub const LIST_OF_LISTPACKS: u8 = 18;
    pub const STREAM_2: u8 = 19;
    pub const SET_LISTPACK: u8 = 20;
    pub const STREAM_3: u8 = 21;
    /// Redis 7.4's release candidates.
    pub const HASH_TTL_OLD: u8 = 22;
    /// Valkey 9, under the same number.
    pub const HASH_TTL_VALKEY: u8 = 22;
    pub const HASH_LISTPACK_TTL_OLD: u8 = 23;
    pub const HASH_TTL: u8 = 24;
    pub const HASH_LISTPACK_TTL: u8 = 25;
    /// Redis 8.6: with producers.
    pub const STREAM_4: u8 = 26;
    /// Redis 8.8: with entries that were given back.
    pub const STREAM_5: u8 = 27;
}

/// What a type is called, for people.
pub fn name_of_type(kind: u8) -> &'static str {
    match kind {
        code::STRING => "string",
        code::LIST => "list-linked",
        code::SET => "set-hashtable",
        code::ZSET => "zset-v1",
        code::HASH => "hash-hashtable",
        code::ZSET_BINARY => "zset-v2",
        code::MODULE_OLD => "module-pre-release",
        code::MODULE => "module-value",
        code::HASH_ZIPMAP => "hash-zipmap",
        code::LIST_ZIPLIST => "list-ziplist",
        code::SET_INTSET => "set-intset",
        code::ZSET_ZIPLIST => "zset-ziplist",
        code::HASH_ZIPLIST => "hash-ziplist",
        code::LIST_OF_ZIPLISTS => "quicklist",
        code::STREAM => "stream",
        code::HASH_LISTPACK => "hash-listpack",
        code::ZSET_LISTPACK => "zset-listpack",
        code::LIST_OF_LISTPACKS => "quicklist-v2",
        code::STREAM_2 => "stream-v2",
        code::SET_LISTPACK => "set-listpack",
        code::STREAM_3 => "stream-v3",
        code::STREAM_4 => "stream-v4",
        code::STREAM_5 => "stream-v5",
        code::HASH_TTL_OLD | code::HASH_TTL => "hash-hashtable-md",
        code::HASH_LISTPACK_TTL_OLD | code::HASH_LISTPACK_TTL => "hash-listpack-md",
        _ => "unknown",
    }
}

/// What is wrong with a value of a type, in words that people search logs for.
pub fn complaint(kind: u8, problem: Problem) -> String {
    let form = match kind {
        code::HASH_ZIPMAP => "Zipmap",
        code::LIST_ZIPLIST | code::LIST_OF_ZIPLISTS => "Ziplist",
        code::SET_INTSET => "Intset",
        code::ZSET_ZIPLIST => "Zset ziplist",
        code::HASH_ZIPLIST => "Hash ziplist",
        code::HASH_LISTPACK | code::HASH_LISTPACK_TTL | code::HASH_LISTPACK_TTL_OLD => "Hash listpack",
        code::ZSET_LISTPACK => "Zset listpack",
        code::SET_LISTPACK => "Set listpack",
        code::LIST_OF_LISTPACKS => "Listpack",
        code::STREAM | code::STREAM_2 | code::STREAM_3 | code::STREAM_4 | code::STREAM_5 => "Stream listpack",
        other => return format!("{}: {problem}", name_of_type(other)),
    };
    match problem {
        Problem::BadPacked | Problem::BadStream | Problem::Empty => format!("{form} integrity check failed: {problem}"),
        Problem::BadCollection => format!("{form} with dup elements, integrity check failed"),
        _ => format!("{form}: {problem}"),
    }
}

/// Buffers that are used for one value after the other.
#[derive(Debug, Default)]
pub struct Buffers {
    first: Vec<u8>,
    second: Vec<u8>,
}

/// Reads one value of a type and tells a visitor.
///
/// # Errors
/// What is wrong, and where; the visitor may have been told of a part.
pub fn read_value<R: Read>(
    source: &mut Source<R>,
    kind: u8,
    dialect: Dialect,
    buffers: &mut Buffers,
    visitor: &mut impl Visitor,
) -> Result<(), Error> {
    let mut reader = Reader { source, buffers, visitor };
    match kind {
        code::STRING => reader.string(),
        code::LIST => reader.plain(Collection::List),
        code::SET => reader.plain(Collection::Set),
        code::ZSET => reader.zset(Source::text_double),
        code::ZSET_BINARY => reader.zset(Source::binary_double),
        code::HASH => reader.hash(),
        code::HASH_ZIPMAP => reader.packed(Collection::Hash, |bytes| Zipmap::new(bytes).map(Elements::Zipmap)),
        code::LIST_ZIPLIST => reader.packed(Collection::List, ziplist),
        code::SET_INTSET => reader.packed(Collection::Set, |bytes| Intset::new(bytes).map(Elements::Intset)),
        code::ZSET_ZIPLIST => reader.packed(Collection::Zset, ziplist),
        code::HASH_ZIPLIST => reader.packed(Collection::Hash, ziplist),
        code::HASH_LISTPACK => reader.packed(Collection::Hash, listpack),
        code::ZSET_LISTPACK => reader.packed(Collection::Zset, listpack),
        code::SET_LISTPACK => reader.packed(Collection::Set, listpack),
        code::LIST_OF_ZIPLISTS => reader.chunks(false),
        code::LIST_OF_LISTPACKS => reader.chunks(true),
        code::HASH_TTL_VALKEY if dialect == Dialect::Valkey => reader.hash_with_deadlines(Deadlines::Behind),
        code::HASH_TTL_OLD => reader.hash_with_deadlines(Deadlines::Absolute),
        code::HASH_TTL if dialect == Dialect::Redis => reader.hash_with_deadlines(Deadlines::FromLeast),
        code::HASH_LISTPACK_TTL_OLD if dialect == Dialect::Redis => reader.packed_with_deadlines(false),
        code::HASH_LISTPACK_TTL if dialect == Dialect::Redis => reader.packed_with_deadlines(true),
        code::STREAM => reader.stream(1),
        code::STREAM_2 => reader.stream(2),
        code::STREAM_3 => reader.stream(3),
        code::STREAM_4 if dialect == Dialect::Redis => reader.stream(4),
        code::STREAM_5 if dialect == Dialect::Redis => reader.stream(5),
        code::MODULE => reader.module(),
        code::MODULE_OLD => Err(reader.source.error(Problem::Module)),
        unknown => Err(reader.source.error(Problem::UnknownType(unknown))),
    }
}

fn listpack(bytes: &[u8]) -> Option<Elements<'_>> {
    Listpack::new(bytes).map(Elements::Listpack)
}

fn ziplist(bytes: &[u8]) -> Option<Elements<'_>> {
    Ziplist::new(bytes).map(Elements::Ziplist)
}

/// How the deadline of a field is stored in a hash that is not packed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deadlines {
    /// In front of the field, in Unix ms; 0 is none.
    Absolute,
    /// In front of the field, in ms from the least of all, which stands in front of the hash, and one more; 0 is none.
    FromLeast,
    /// Behind the value, in Unix ms; -1 is none.
    Behind,
}

impl<R: Read> Source<R> {
    /// A score as text: its length in a byte, or what cannot be written so.
    fn text_double(&mut self) -> Result<f64, Error> {
        let len = self.byte()?;
        let value = match len {
            253 => f64::NAN,
            254 => f64::INFINITY,
            255 => f64::NEG_INFINITY,
            len => {
                let mut text = Vec::new();
                self.bytes(u64::from(len), &mut text)?;
                let text = std::str::from_utf8(&text).ok();
                text.and_then(|text| text.trim_end_matches('\0').parse().ok()).unwrap_or(f64::NAN)
            }
        };
        self.checked(value)
    }

    fn binary_double(&mut self) -> Result<f64, Error> {
        let value = f64::from_le_bytes(self.array()?);
        self.checked(value)
    }

    fn checked(&self, value: f64) -> Result<f64, Error> {
        if value.is_nan() { Err(self.error(Problem::BadNumber)) } else { Ok(value) }
    }

    fn raw_id(&mut self) -> Result<Id, Error> {
        Ok((u64::from_be_bytes(self.array()?), u64::from_be_bytes(self.array()?)))
    }

    fn id(&mut self) -> Result<Id, Error> {
        Ok((self.length()?, self.length()?))
    }
}

/// Bytes that an element or a pair has, if room is made for it before it is read.
const ELEMENT_BYTES: u64 = 8;

struct Reader<'a, R, V> {
    source: &'a mut Source<R>,
    buffers: &'a mut Buffers,
    visitor: &'a mut V,
}

impl<R: Read, V: Visitor> Reader<'_, R, V> {
    /// The same with the place where the reading is.
    fn here<T>(&self, result: Result<T, Problem>) -> Result<T, Error> {
        result.map_err(|problem| self.source.error(problem))
    }

    /// The number of a collection's elements, which is not 0, after the visitor was told.
    fn begin(&mut self, kind: Collection) -> Result<usize, Error> {
        let count = self.source.count()?;
        if count == 0 {
            return Err(self.source.error(Problem::Empty));
        }
        let told = self.visitor.collection(kind, self.source.believable(count, ELEMENT_BYTES));
        self.here(told)?;
        Ok(count)
    }

    fn string(&mut self) -> Result<(), Error> {
        self.source.string(&mut self.buffers.first)?;
        let told = self.visitor.string(&self.buffers.first);
        self.here(told)
    }

    fn plain(&mut self, kind: Collection) -> Result<(), Error> {
        for _ in 0..self.begin(kind)? {
            self.source.string(&mut self.buffers.first)?;
            let told = self.visitor.element(Element::Bytes(&self.buffers.first));
            self.here(told)?;
        }
        Ok(())
    }

    fn zset(&mut self, score: fn(&mut Source<R>) -> Result<f64, Error>) -> Result<(), Error> {
        for _ in 0..self.begin(Collection::Zset)? {
            self.source.string(&mut self.buffers.first)?;
            let score = score(self.source)?;
            let told = self.visitor.scored(Element::Bytes(&self.buffers.first), score);
            self.here(told)?;
        }
        Ok(())
    }

    fn hash(&mut self) -> Result<(), Error> {
        for _ in 0..self.begin(Collection::Hash)? {
            self.pair(None)?;
        }
        Ok(())
    }

    fn pair(&mut self, expire_at_ms: Option<i64>) -> Result<(), Error> {
        self.source.string(&mut self.buffers.first)?;
        self.source.string(&mut self.buffers.second)?;
        let (field, value) = (Element::Bytes(&self.buffers.first), Element::Bytes(&self.buffers.second));
        let told = self.visitor.field(field, value, expire_at_ms);
        self.here(told)
    }

    fn hash_with_deadlines(&mut self, form: Deadlines) -> Result<(), Error> {
        let least = if form == Deadlines::FromLeast { u64::from_le_bytes(self.source.array()?) } else { 0 };
        for _ in 0..self.begin(Collection::Hash)? {
            if form == Deadlines::Behind {
                self.source.string(&mut self.buffers.first)?;
                self.source.string(&mut self.buffers.second)?;
                let at = i64::from_le_bytes(self.source.array()?);
                if at < -1 {
                    return Err(self.source.error(Problem::BadNumber));
                }
                let (field, value) = (Element::Bytes(&self.buffers.first), Element::Bytes(&self.buffers.second));
                let told = self.visitor.field(field, value, (at >= 0).then_some(at));
                self.here(told)?;
                continue;
            }
            let expire_at_ms = match self.source.length()? {
                0 => None,
                after if form == Deadlines::FromLeast => Some(least.checked_add(after - 1)),
                at => Some(Some(at)),
            };
            let expire_at_ms = expire_at_ms.map(|at| at.and_then(|at| i64::try_from(at).ok()));
            if expire_at_ms == Some(None) {
                return Err(self.source.error(Problem::BadNumber));
            }
            self.pair(expire_at_ms.flatten())?;
        }
        Ok(())
    }

    /// A collection in one packed piece.
    fn packed(&mut self, kind: Collection, open: fn(&[u8]) -> Option<Elements<'_>>) -> Result<(), Error> {
        self.source.string(&mut self.buffers.first)?;
        let told = self.visitor.collection(kind, 0);
        self.here(told)?;
        let told = elements_of(&self.buffers.first, kind, open, self.visitor);
        let told = told.and_then(|any| if any { Ok(()) } else { Err(Problem::Empty) });
        self.here(told)
    }

    /// A list in several packed pieces, or elements alone.
    fn chunks(&mut self, are_listpacks: bool) -> Result<(), Error> {
        let mut any = false;
        for _ in 0..self.begin(Collection::List)? {
            let is_alone = are_listpacks
                && match self.source.length()? {
                    1 => true,
                    2 => false,
                    _ => return Err(self.source.error(Problem::BadCollection)),
                };
            self.source.string(&mut self.buffers.first)?;
            // Nobody writes an empty element by itself.
            let told = if is_alone && self.buffers.first.is_empty() {
                Ok(false)
            } else if is_alone {
                self.visitor.element(Element::Bytes(&self.buffers.first)).map(|()| true)
            } else {
                let open = if are_listpacks { listpack } else { ziplist };
                elements_of(&self.buffers.first, Collection::List, open, self.visitor)
            };
            // A piece without elements is passed over, as long as another has some.
            any |= self.here(told)?;
        }
        if any { Ok(()) } else { Err(self.source.error(Problem::Empty)) }
    }

    /// Fields, values and deadlines in one listpack.
    fn packed_with_deadlines(&mut self, has_least: bool) -> Result<(), Error> {
        if has_least {
            self.source.array::<8>()?;
        }
        self.source.string(&mut self.buffers.first)?;
        let told = self.visitor.collection(Collection::Hash, 0);
        self.here(told)?;
        let told = triples_of(&self.buffers.first, self.visitor);
        self.here(told)
    }

    fn module(&mut self) -> Result<(), Error> {
        let id = self.source.length()?;
        let kind = ModuleType::of(id).ok_or(Problem::Module);
        let told = kind.and_then(|kind| self.visitor.module(kind));
        self.here(told)?;
        loop {
            match self.source.length()? {
                module::END => return Ok(()),
                module::STRING => {
                    self.source.string(&mut self.buffers.first)?;
                    let told = self.visitor.piece(&self.buffers.first);
                    self.here(told)?;
                }
                _ => return Err(self.source.error(Problem::Module)),
            }
        }
    }

    fn stream(&mut self, version: u8) -> Result<(), Error> {
        let told = self.visitor.stream();
        self.here(told)?;
        let mut last = None;
        for _ in 0..self.source.length()? {
            self.source.string(&mut self.buffers.first)?;
            let Some(first_id) = block_id(&self.buffers.first) else {
                return Err(self.source.error(Problem::BadStream));
            };
            self.source.string(&mut self.buffers.second)?;
            let told = entries_of(&self.buffers.second, first_id, &mut last, self.visitor);
            self.here(told)?;
        }
        let mut figures = StreamFigures {
            len: self.source.length()?,
            last_id: self.source.id()?,
            first_id: None,
            max_deleted_id: (0, 0),
            entries_added: None,
        };
        if version >= 2 {
            figures.first_id = Some(self.source.id()?);
            figures.max_deleted_id = self.source.id()?;
            figures.entries_added = Some(self.source.length()?);
        }
        let told = self.visitor.figures(&figures);
        self.here(told)?;
        for _ in 0..self.source.length()? {
            self.group(version)?;
        }
        if version >= 4 { self.producers() } else { Ok(()) }
    }

    fn producers(&mut self) -> Result<(), Error> {
        let (duration_s, messages_max) = (self.source.length()?, self.source.length()?);
        let told = self.visitor.producers(duration_s, messages_max);
        self.here(told)?;
        for _ in 0..self.source.length()? {
            self.source.string(&mut self.buffers.first)?;
            for _ in 0..self.source.length()? {
                self.source.string(&mut self.buffers.second)?;
                let id = self.source.id()?;
                let told = self.visitor.message(&self.buffers.first, &self.buffers.second, id);
                self.here(told)?;
            }
        }
        let (added, duplicates) = (self.source.length()?, self.source.length()?);
        let told = self.visitor.counted(added, duplicates);
        self.here(told)
    }

    fn group(&mut self, version: u8) -> Result<(), Error> {
        self.source.string(&mut self.buffers.first)?;
        let last_delivered = self.source.id()?;
        // Stored as a signed number; -1 says that it is not known.
        let read = if version >= 2 { Some(self.source.length()?).filter(|&read| read != u64::MAX) } else { None };
        let told = self.visitor.group(&self.buffers.first, last_delivered, read);
        self.here(told)?;
        for _ in 0..self.source.length()? {
            let id = self.source.raw_id()?;
            let delivered_ms = u64::from_le_bytes(self.source.array()?);
            let deliveries = self.source.length()?;
            let told = self.visitor.pending(id, delivered_ms, deliveries);
            self.here(told)?;
        }
        for _ in 0..self.source.length()? {
            self.source.string(&mut self.buffers.first)?;
            let seen_ms = u64::from_le_bytes(self.source.array()?);
            let active_ms = match version {
                3.. => Some(i64::from_le_bytes(self.source.array()?)).and_then(|at| u64::try_from(at).ok()),
                _ => Some(seen_ms),
            };
            let told = self.visitor.consumer(&self.buffers.first, seen_ms, active_ms);
            self.here(told)?;
            for _ in 0..self.source.length()? {
                let id = self.source.raw_id()?;
                let told = self.visitor.consumer_pending(id);
                self.here(told)?;
            }
        }
        if version >= 5 {
            // Entries that were given back are nobody's.
            let told = self.visitor.consumer(b"", 0, None);
            self.here(told)?;
            for _ in 0..self.source.length()? {
                let id = self.source.raw_id()?;
                let told = self.visitor.consumer_pending(id);
                self.here(told)?;
            }
        }
        Ok(())
    }
}

/// Tells of all elements of a packed form. Says whether there were any.
fn elements_of(
    bytes: &[u8],
    kind: Collection,
    open: fn(&[u8]) -> Option<Elements<'_>>,
    visitor: &mut impl Visitor,
) -> Result<bool, Problem> {
    let mut elements = open(bytes).ok_or(Problem::BadPacked)?;
    let mut any = false;
    while let Some(element) = elements.next()? {
        any = true;
        match kind {
            Collection::List | Collection::Set => visitor.element(element)?,
            Collection::Hash => {
                let value = elements.next()?.ok_or(Problem::BadPacked)?;
                visitor.field(element, value, None)?;
            }
            Collection::Zset => {
                let score = score_of(elements.next()?.ok_or(Problem::BadPacked)?)?;
                visitor.scored(element, score)?;
            }
        }
    }
    Ok(any)
}

fn score_of(element: Element<'_>) -> Result<f64, Problem> {
    let score = match element {
        #[expect(clippy::cast_precision_loss, reason = "what is stored as an integer was a score that is one")]
        Element::Int(value) => value as f64,
        Element::Bytes(bytes) => weir_structs::number::parse_f64(bytes).ok_or(Problem::BadNumber)?,
    };
    if score.is_nan() { Err(Problem::BadNumber) } else { Ok(score) }
}

fn triples_of(bytes: &[u8], visitor: &mut impl Visitor) -> Result<(), Problem> {
    let mut elements = listpack(bytes).ok_or(Problem::BadPacked)?;
    let mut any = false;
    while let Some(field) = elements.next()? {
        let value = elements.next()?.ok_or(Problem::BadPacked)?;
        let at = elements.next()?.and_then(Element::as_i64).filter(|&at| at >= 0).ok_or(Problem::BadPacked)?;
        visitor.field(field, value, (at > 0).then_some(at))?;
        any = true;
    }
    if any { Ok(()) } else { Err(Problem::Empty) }
}

/// The first id of a block of a stream.
fn block_id(bytes: &[u8]) -> Option<Id> {
    let (ms, rest) = bytes.split_first_chunk()?;
    let (seq, rest) = rest.split_first_chunk()?;
    rest.is_empty().then_some((u64::from_be_bytes(*ms), u64::from_be_bytes(*seq)))
}

/// The entry is no longer there.
const DELETED: i64 = 1;
/// The entry has the fields of the block's first.
const SAME_FIELDS: i64 = 2;
/// Fields of an entry that a listpack can hold.
const FIELDS_MAX: i64 = u32::MAX as i64;

/// Tells of the entries of a stream's block:
///
/// ```text
///  entries, deleted ones, number of fields, field ..., 0
///  { flags, ms, seq (both from the block's id on), [ number of fields ], [ field ], value ..., number of elements } ...
/// ```
fn entries_of(bytes: &[u8], first: Id, last: &mut Option<Id>, visitor: &mut impl Visitor) -> Result<(), Problem> {
    let mut elements = listpack(bytes).ok_or(Problem::BadPacked)?;
    let next_int = |elements: &mut Elements<'_>| match elements.next()? {
        Some(Element::Int(value)) => Ok(value),
        _ => Err(Problem::BadStream),
    };
    let (there, deleted) = (next_int(&mut elements)?, next_int(&mut elements)?);
    let field_count = next_int(&mut elements)?;
    if there < 0 || deleted < 0 || !(0..=FIELDS_MAX).contains(&field_count) {
        return Err(Problem::BadStream);
    }
    let mut fields = Vec::new();
    for _ in 0..field_count {
        fields.push(elements.next()?.ok_or(Problem::BadStream)?);
    }
    if next_int(&mut elements)? != 0 {
        return Err(Problem::BadStream);
    }
    let (mut pairs, mut met_there, mut met_deleted) = (Vec::new(), 0, 0);
    while let Some(flags) = elements.next()? {
        let Element::Int(flags) = flags else { return Err(Problem::BadStream) };
        // Added as the unsigned numbers that they are.
        let (ms, seq) = (next_int(&mut elements)?, next_int(&mut elements)?);
        let id = (first.0.wrapping_add(ms as u64), first.1.wrapping_add(seq as u64));
        pairs.clear();
        let head = if flags & SAME_FIELDS != 0 {
            for &field in &fields {
                pairs.extend([field, elements.next()?.ok_or(Problem::BadStream)?]);
            }
            field_count + 3
        } else {
            let count = next_int(&mut elements)?;
            if !(0..=FIELDS_MAX).contains(&count) {
                return Err(Problem::BadStream);
            }
            for _ in 0..2 * count {
                pairs.push(elements.next()?.ok_or(Problem::BadStream)?);
            }
            2 * count + 4
        };
        if next_int(&mut elements)? != head {
            return Err(Problem::BadStream);
        }
        if flags & DELETED != 0 {
            met_deleted += 1;
            continue;
        }
        met_there += 1;
        // No command makes an entry without fields, nor could any make it again.
        if pairs.is_empty() {
            return Err(Problem::BadStream);
        }
        if last.is_some_and(|last| last >= id) {
            return Err(Problem::BadStream);
        }
        *last = Some(id);
        visitor.entry(id, &pairs)?;
    }
    if (met_there, met_deleted) == (there, deleted) { Ok(()) } else { Err(Problem::BadStream) }
}
