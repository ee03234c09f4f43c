//! Names and the subscribers of each.
//!
//! ```text
//!  name ──hash──► index (256 tables) ──► number ──► slab (chunks) ──► topic: name, subscribers
//! ```
//!
//! A topic has a number, by which its subscribers refer to it in four bytes, and which is used again when it is gone. The
//! index is cut in tables by the top bits of the hash, and the slab in chunks, so that neither grows in one large step
//! when somebody subscribes to a million channels, and both give their memory back.
//!
//! What must stay true: a topic is there exactly as long as it has subscribers.

use hashbrown::HashTable;
use weir_structs::keyspace::KeyHasher;

/// One that subscribes: a small number of the caller's choice, which no other has at the same time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Subscriber(pub u32);

/// Number of a topic.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct TopicId(u32);

impl TopicId {
    /// For hash tables: numbers are dense and not chosen by clients.
    #[inline]
    pub(super) fn hash(self) -> u64 {
        u64::from(self.0).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32)
    }
}

const TABLE_BITS: u32 = 8;
const CHUNK: usize = 1024;
/// End of the list of free places.
const NONE: u32 = u32::MAX;

/// A name and its subscribers. `X` is what else is kept with it.
#[derive(Debug)]
pub(super) struct Topic<X> {
    name: Box<[u8]>,
    subscribers: Subscribers,
    pub(super) extra: X,
}

impl<X> Topic<X> {
    pub(super) fn name(&self) -> &[u8] {
        &self.name
    }

    /// In no particular order.
    pub(super) fn subscribers(&self) -> &[Subscriber] {
        match &self.subscribers {
            Subscribers::One(one) => std::slice::from_ref(one),
            Subscribers::Many(many) => many,
        }
    }
}

/// Most topics have one, and need no memory of their own for it.
#[derive(Debug)]
enum Subscribers {
    One(Subscriber),
    Many(Vec<Subscriber>),
}

#[derive(Debug)]
enum Place<X> {
    Free { next: u32 },
    Taken(Topic<X>),
}

/// Places for [`CHUNK`] topics. Without memory when none is taken.
#[derive(Debug)]
struct Chunk<X> {
    places: Vec<Place<X>>,
    taken: u32,
    /// The first of the places that were left.
    free: u32,
    /// Is in the list of chunks with room.
    listed: bool,
}

#[derive(Clone, Copy, Debug)]
struct IndexEntry {
    tag: u32,
    topic: TopicId,
}

impl IndexEntry {
    /// Both ends of it are used by the table, and one tag is as good as the other.
    fn hash(tag: u32) -> u64 {
        u64::from(tag) << 32 | u64::from(tag)
    }
}

/// All topics of a kind.
#[derive(Debug)]
pub(super) struct Topics<X> {
    hasher: KeyHasher,
    index: Vec<HashTable<IndexEntry>>,
    chunks: Vec<Chunk<X>>,
    /// Chunks with room.
    roomy: Vec<u32>,
    len: usize,
}

/// What [`Topics::leave`] did.
#[derive(Debug)]
pub(super) struct Left<X> {
    /// Who has the place now that the leaver had, if that was not the last one.
    pub(super) moved: Option<Subscriber>,
    /// The topic, if that was its last subscriber.
    pub(super) gone: Option<Topic<X>>,
}

impl<X> Topics<X> {
    pub(super) fn new(hash_seed: u64) -> Topics<X> {
        Topics { hasher: KeyHasher::new(hash_seed), index: Vec::new(), chunks: Vec::new(), roomy: Vec::new(), len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The table of the index where a name is or would be, and the name's tag there.
    fn place_of(&self, name: &[u8]) -> (usize, u32) {
        let hash = self.hasher.position(name);
        ((hash >> (64 - TABLE_BITS)) as usize, hash as u32)
    }

    pub(super) fn find(&self, name: &[u8]) -> Option<TopicId> {
        if self.len == 0 {
            return None;
        }
        let (table, tag) = self.place_of(name);
        let found = self.index.get(table)?.find(IndexEntry::hash(tag), |entry| {
            entry.tag == tag && self.get(entry.topic).is_some_and(|topic| topic.name() == name)
        });
        found.map(|entry| entry.topic)
    }

    #[inline]
    pub(super) fn get(&self, id: TopicId) -> Option<&Topic<X>> {
        match self.chunks.get(id.0 as usize / CHUNK)?.places.get(id.0 as usize % CHUNK)? {
            Place::Taken(topic) => Some(topic),
            Place::Free { .. } => None,
        }
    }

    pub(super) fn get_mut(&mut self, id: TopicId) -> Option<&mut Topic<X>> {
        match self.chunks.get_mut(id.0 as usize / CHUNK)?.places.get_mut(id.0 as usize % CHUNK)? {
            Place::Taken(topic) => Some(topic),
            Place::Free { .. } => None,
        }
    }

    /// All topics, in no particular order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Topic<X>> {
        self.chunks.iter().flat_map(|chunk| &chunk.places).filter_map(|place| match place {
            Place::Taken(topic) => Some(topic),
            Place::Free { .. } => None,
        })
    }

    /// Adds a name that is not there, with its first subscriber, whose place among its subscribers is 0.
    pub(super) fn create(&mut self, name: &[u8], first: Subscriber, extra: X) -> TopicId {
        let (table, tag) = self.place_of(name);
        let topic = self.store(Topic { name: name.into(), subscribers: Subscribers::One(first), extra });
        if self.index.is_empty() {
            self.index.resize_with(1 << TABLE_BITS, HashTable::new);
        }
        let entry = IndexEntry { tag, topic };
        self.index[table].insert_unique(IndexEntry::hash(tag), entry, |entry| IndexEntry::hash(entry.tag));
        self.len += 1;
        topic
    }

    fn store(&mut self, topic: Topic<X>) -> TopicId {
        let number = match self.roomy.last() {
            Some(&number) => number,
            None => {
                let number = self.chunks.len() as u32;
                self.chunks.push(Chunk { places: Vec::new(), taken: 0, free: NONE, listed: true });
                self.roomy.push(number);
                number
            }
        };
        let chunk = &mut self.chunks[number as usize];
        chunk.taken += 1;
        let at = if chunk.free == NONE {
            chunk.places.push(Place::Taken(topic));
            chunk.places.len() - 1
        } else {
            let at = chunk.free as usize;
            if let Place::Free { next } = chunk.places[at] {
                chunk.free = next;
            }
            chunk.places[at] = Place::Taken(topic);
            at
        };
        if chunk.taken as usize == CHUNK {
            chunk.listed = false;
            self.roomy.pop();
        }
        TopicId(number * CHUNK as u32 + at as u32)
    }

    /// Adds a subscriber, who is not among them, to a topic that is there. Returns its place among them.
    pub(super) fn join(&mut self, id: TopicId, subscriber: Subscriber) -> u32 {
        let Some(topic) = self.get_mut(id) else { return 0 };
        match &mut topic.subscribers {
            Subscribers::One(one) => {
                topic.subscribers = Subscribers::Many(vec![*one, subscriber]);
                1
            }
            Subscribers::Many(many) => {
                many.push(subscriber);
                many.len() as u32 - 1
            }
        }
    }

    /// Takes away the subscriber at a place; the topic goes with its last one.
    pub(super) fn leave(&mut self, id: TopicId, at: u32) -> Left<X> {
        let Some(topic) = self.get_mut(id) else { return Left { moved: None, gone: None } };
        let Subscribers::Many(many) = &mut topic.subscribers else {
            return Left { moved: None, gone: self.remove(id) };
        };
        many.swap_remove(at as usize);
        let moved = many.get(at as usize).copied();
        match many.as_slice() {
            [one] => topic.subscribers = Subscribers::One(*one),
            _ if many.len() < many.capacity() / 4 => many.shrink_to(2 * many.len()),
            _ => {}
        }
        Left { moved, gone: None }
    }

    fn remove(&mut self, id: TopicId) -> Option<Topic<X>> {
        let number = id.0 as usize / CHUNK;
        let chunk = self.chunks.get_mut(number)?;
        let place = chunk.places.get_mut(id.0 as usize % CHUNK)?;
        let Place::Taken(topic) = std::mem::replace(place, Place::Free { next: chunk.free }) else { return None };
        chunk.free = id.0 % CHUNK as u32;
        chunk.taken -= 1;
        if chunk.taken == 0 {
            chunk.places = Vec::new();
            chunk.free = NONE;
        }
        if !chunk.listed {
            chunk.listed = true;
            self.roomy.push(number as u32);
        }
        let (table, tag) = self.place_of(&topic.name);
        if let Some(table) = self.index.get_mut(table) {
            if let Ok(entry) = table.find_entry(IndexEntry::hash(tag), |entry| entry.topic == id) {
                entry.remove();
            }
            slim(table, |entry| IndexEntry::hash(entry.tag));
        }
        self.len -= 1;
        if self.len == 0 {
            (self.index, self.chunks, self.roomy) = (Vec::new(), Vec::new(), Vec::new());
        }
        Some(topic)
    }
}

/// Tables up to this many places keep them.
const SLIM_MIN: usize = 64;

/// Gives back memory of a table that is nearly empty. Costs little in the mean: most of its entries have been removed since.
pub(super) fn slim<T>(table: &mut HashTable<T>, hash: impl Fn(&T) -> u64) {
    if table.capacity() > SLIM_MIN && table.len() < table.capacity() / 8 {
        table.shrink_to(2 * table.len(), hash);
    }
}
