//! Values that are collections: in their entry's block while they are small, else behind a pointer in it.
//!
//! A *packed* value is a sequence of bytes in the entry's own block, laid out by the module of its type. A *big* one is a
//! structure of its own, which the entry owns through a [`Box`]. [`ValueRef`] shows either; what may be done to them is
//! the types' matter.
//!
//! To add a type of collection: a variant here and in [`Kind`], with [`Collection`] for its structure.

use crate::entry::{Kind, StrView};
use crate::exchange::Exchange;
use crate::hash::Hash;
use crate::list::List;
use crate::members::Members;
use crate::queue::Queue;
use crate::set::Set;
use crate::stream::Stream;
use crate::tree::Tree;
use crate::zset::Zset;

/// A small collection's type and layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackedKind {
    /// Fields and values in turn.
    Hash,
    /// Sorted integers of one width.
    SetInts,
    /// Members.
    Set,
    /// Members and scores in turn, in the order of scores.
    Zset,
    /// Elements that can be walked from both ends.
    List,
}

impl PackedKind {
    /// The kind of an entry with such a value.
    #[inline]
    pub fn kind(self) -> Kind {
        match self {
            PackedKind::Hash => Kind::HashPacked,
            PackedKind::SetInts => Kind::SetInts,
            PackedKind::Set => Kind::SetPacked,
            PackedKind::Zset => Kind::ZsetPacked,
            PackedKind::List => Kind::ListPacked,
        }
    }

    /// The other way; `None` for kinds that are not packed collections.
    #[inline]
    pub fn of(kind: Kind) -> Option<PackedKind> {
        Some(match kind {
            Kind::HashPacked => PackedKind::Hash,
            Kind::SetInts => PackedKind::SetInts,
            Kind::SetPacked => PackedKind::Set,
            Kind::ZsetPacked => PackedKind::Zset,
            Kind::ListPacked => PackedKind::List,
            _ => return None,
        })
    }
}

/// Any value as it is stored.
#[derive(Debug)]
pub enum ValueRef<'a> {
    /// A string.
    Str(StrView<'a>),
    /// A small collection.
    Packed(PackedKind, &'a [u8]),
    /// A big hash.
    Hash(&'a Hash),
    /// A big set.
    Set(&'a Set),
    /// A big sorted set.
    Zset(&'a Zset),
    /// A big list.
    List(&'a List),
    /// A stream.
    Stream(&'a Stream),
    /// A queue of the broker.
    Queue(&'a Queue),
    /// An exchange of the broker.
    Exchange(&'a Exchange),
    /// A store of the registry.
    Tree(&'a Tree),
}

impl<'a> ValueRef<'a> {
    /// The table of members, of a big collection that has one.
    #[inline]
    pub fn members(&self) -> Option<&'a Members> {
        match self {
            ValueRef::Hash(hash) => Some(hash.members()),
            ValueRef::Set(set) => Some(set.members()),
            _ => None,
        }
    }
}

/// The structure behind a big collection.
pub trait Collection: Clone + Send {
    /// The kind of an entry that owns one.
    const KIND: Kind;
    /// All bytes that it owns. O(1).
    fn memory_bytes(&self) -> usize;
    /// The part of them that is mapped from the system, unknown to the global allocator. O(1).
    fn mapped_bytes(&self) -> usize;
    /// Number of pieces that dropping it would free, roughly: says whether another thread should. O(1).
    fn items(&self) -> usize;
}

macro_rules! collections {
    ($($type:ident),*) => { $(
        impl Collection for $type {
            const KIND: Kind = Kind::$type;

            #[inline]
            fn memory_bytes(&self) -> usize {
                size_of::<$type>() + $type::memory_bytes(self)
            }

            #[inline]
            fn mapped_bytes(&self) -> usize {
                $type::mapped_bytes(self)
            }

            fn items(&self) -> usize {
                $type::items(self)
            }
        }
    )* };
}

collections!(Hash, Set, Zset, List, Stream, Queue, Exchange, Tree);

/// A big collection without an entry.
#[derive(Clone, Debug)]
pub enum Big {
    /// A hash.
    Hash(Box<Hash>),
    /// A set.
    Set(Box<Set>),
    /// A sorted set.
    Zset(Box<Zset>),
    /// A list.
    List(Box<List>),
    /// A stream.
    Stream(Box<Stream>),
    /// A queue of the broker.
    Queue(Box<Queue>),
    /// An exchange of the broker.
    Exchange(Box<Exchange>),
    /// A store of the registry.
    Tree(Box<Tree>),
}

/// The same expression for whichever collection it is.
macro_rules! each {
    ($big:expr, $it:ident => $what:expr) => {
        match $big {
            Big::Hash($it) => $what,
            Big::Set($it) => $what,
            Big::Zset($it) => $what,
            Big::List($it) => $what,
            Big::Stream($it) => $what,
            Big::Queue($it) => $what,
            Big::Exchange($it) => $what,
            Big::Tree($it) => $what,
        }
    };
}
pub(crate) use each;

impl Big {
    /// The kind of an entry that owns it.
    pub fn kind(&self) -> Kind {
        fn kind<C: Collection>(_: &C) -> Kind {
            C::KIND
        }
        each!(self, it => kind(&**it))
    }

    /// All bytes that it owns, its structure included. O(1).
    pub fn memory_bytes(&self) -> usize {
        each!(self, it => Collection::memory_bytes(&**it))
    }

    /// The part of them that the global allocator does not know of. O(1).
    pub fn mapped_bytes(&self) -> usize {
        each!(self, it => Collection::mapped_bytes(&**it))
    }

    /// Number of pieces that dropping it would free, roughly. O(1).
    pub fn items(&self) -> usize {
        each!(self, it => Collection::items(&**it))
    }

    /// The address by which an entry owns it from now on.
    pub(crate) fn into_address(self) -> usize {
        each!(self, it => Box::into_raw(it).expose_provenance())
    }

    /// # Safety
    /// The address came from `into_address` of a value of this kind, and stands for its ownership.
    pub(crate) unsafe fn from_address(kind: Kind, address: usize) -> Big {
        // SAFETY: the caller's promise, here and below: the address is that of a box of this type, which nobody else owns.
        unsafe {
            match kind {
                Kind::Hash => Big::Hash(Box::from_raw(std::ptr::with_exposed_provenance_mut(address))),
                Kind::Set => Big::Set(Box::from_raw(std::ptr::with_exposed_provenance_mut(address))),
                Kind::Zset => Big::Zset(Box::from_raw(std::ptr::with_exposed_provenance_mut(address))),
                Kind::List => Big::List(Box::from_raw(std::ptr::with_exposed_provenance_mut(address))),
                Kind::Stream => Big::Stream(Box::from_raw(std::ptr::with_exposed_provenance_mut(address))),
                Kind::Queue => Big::Queue(Box::from_raw(std::ptr::with_exposed_provenance_mut(address))),
                Kind::Exchange => Big::Exchange(Box::from_raw(std::ptr::with_exposed_provenance_mut(address))),
                Kind::Tree => Big::Tree(Box::from_raw(std::ptr::with_exposed_provenance_mut(address))),
                other => unreachable!("not a big kind: {other:?}"),
            }
        }
    }
}

macro_rules! into_big {
    ($($type:ident),*) => { $(
        impl From<$type> for Big {
            fn from(it: $type) -> Big {
                Big::$type(Box::new(it))
            }
        }
    )* };
}

into_big!(Hash, Set, Zset, List, Stream, Queue, Exchange, Tree);
