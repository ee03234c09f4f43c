//! What observers are sent, as bytes.
//!
//! ```text
//!  cfg.event id revision [[type path value create mod version lease prev?] ...]
//!  cfg.synced id revision       cfg.progress id revision       cfg.cancel id reason revision
//! ```
//!
//! Many may observe the same under the same id: their frames are the same bytes, written once and shared. A client that is to
//! have several frames gets them put together.

use super::table::Marks;
use hashbrown::{Equivalent, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use weir_resp::reply_bytes;
use weir_structs::tree::{Change, Event, Revision, Span, Version};

/// Frames up to so many bytes are put together; longer ones are shared.
const JOINED_BYTES: usize = 1024;
/// So many bytes that were put together go out as one message.
const MESSAGE_BYTES: usize = 16 * 1024;
/// Shared frames are remembered up to so many bytes.
const REMEMBERED_BYTES: usize = 4 * 1024 * 1024;

/// Whether an observer with these marks wants an event.
#[inline]
fn wants(marks: Marks, event: &Event) -> bool {
    !marks.contains(if event.after.is_some() { Marks::NO_PUT } else { Marks::NO_DEL })
}

fn put_number(out: &mut Vec<u8>, number: u64) {
    reply_bytes::integer(out, i64::try_from(number).unwrap_or(i64::MAX));
}

fn put_head(out: &mut Vec<u8>, parts: usize, kind: &[u8], id: &[u8]) {
    reply_bytes::push_header(out, parts);
    reply_bytes::bulk(out, kind);
    reply_bytes::bulk(out, id);
}

/// Writes a state of a path, or its end in a revision, as an element of a frame.
pub fn put_event(
    out: &mut Vec<u8>,
    path: &[u8],
    after: Option<&Version>,
    revision: Revision,
    before: Option<Option<&Version>>,
    null: &[u8],
) {
    reply_bytes::array_header(out, 7 + usize::from(before.is_some()));
    reply_bytes::bulk(out, if after.is_some() { b"put" } else { b"del" });
    reply_bytes::bulk(out, path);
    match after {
        Some(version) => {
            reply_bytes::bulk(out, version.value());
            for number in [version.create(), version.modified(), version.version(), version.lease()] {
                put_number(out, number);
            }
        }
        None => {
            out.extend_from_slice(null);
            for number in [0, revision, 0, 0] {
                put_number(out, number);
            }
        }
    }
    match before {
        None => {}
        Some(Some(version)) => reply_bytes::bulk(out, version.value()),
        Some(None) => out.extend_from_slice(null),
    }
}

/// The null of RESP3, in which frames are.
const NULL: &[u8] = b"_\r\n";

/// Writes what an observer is told of a revision: of the events that it sees those that it wants. Writes nothing if there are
/// none. Gives their number.
pub(super) fn put_change<'e, E: Iterator<Item = &'e Event>>(
    out: &mut Vec<u8>,
    id: &[u8],
    marks: Marks,
    revision: Revision,
    seen: impl Fn() -> E,
) -> usize {
    let wanted = || seen().filter(|event| wants(marks, event));
    let count = wanted().count();
    if count == 0 {
        return 0;
    }
    put_head(out, 4, b"cfg.event", id);
    put_number(out, revision);
    reply_bytes::array_header(out, count);
    for event in wanted() {
        let before = marks.contains(Marks::PREV).then_some(event.before.as_ref());
        put_event(out, &event.path, event.after.as_ref(), revision, before, NULL);
    }
    count
}

/// A frame of present states that is being written.
#[derive(Debug, Default)]
pub(super) struct StatesFrame {
    states: Vec<u8>,
    count: usize,
}

impl StatesFrame {
    /// Adds a state.
    pub(super) fn add(&mut self, marks: Marks, path: &[u8], version: &Version) {
        let before = marks.contains(Marks::PREV).then_some(None);
        put_event(&mut self.states, path, Some(version), version.modified(), before, NULL);
        self.count += 1;
    }

    /// States in it.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Bytes of them.
    pub(super) fn bytes(&self) -> usize {
        self.states.len()
    }

    /// Writes it, if there are any states.
    pub(super) fn finish(self, out: &mut Vec<u8>, id: &[u8], revision: Revision) {
        if self.count == 0 {
            return;
        }
        put_head(out, 4, b"cfg.event", id);
        put_number(out, revision);
        reply_bytes::array_header(out, self.count);
        out.extend_from_slice(&self.states);
    }
}

/// All of the present state was sent.
pub(super) fn put_synced(out: &mut Vec<u8>, id: &[u8], revision: Revision) {
    put_head(out, 3, b"cfg.synced", id);
    put_number(out, revision);
}

/// Everything up to a revision was sent.
pub(super) fn put_progress(out: &mut Vec<u8>, id: &[u8], revision: Revision) {
    put_head(out, 3, b"cfg.progress", id);
    put_number(out, revision);
}

/// It is over.
pub(super) fn put_cancel(out: &mut Vec<u8>, id: &[u8], reason: &str, revision: Revision) {
    put_head(out, 4, b"cfg.cancel", id);
    reply_bytes::bulk(out, reason.as_bytes());
    put_number(out, revision);
}

/// Frames for a client.
#[derive(Clone, Debug)]
pub struct Message {
    /// They themselves.
    pub bytes: Arc<[u8]>,
    /// Some are of a store whose changes are on disk before anybody hears of them.
    pub durable: bool,
}

/// Frames for one client that have not gone to it yet.
#[derive(Debug, Default)]
pub(super) struct Parcel {
    pub(super) durable: bool,
    shared: Option<Arc<[u8]>>,
    bytes: Vec<u8>,
    sent: usize,
}

impl Parcel {
    /// Bytes that came in so far.
    pub(super) fn len(&self) -> usize {
        self.sent + self.bytes.len() + self.shared.as_ref().map_or(0, |frame| frame.len())
    }

    /// Lets `write` put frames of this client alone behind the others.
    pub(super) fn write<R>(&mut self, send: &mut dyn FnMut(Message), write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        self.join(send);
        let result = write(&mut self.bytes);
        if self.bytes.len() >= MESSAGE_BYTES {
            self.finish(send);
        }
        result
    }

    /// Puts a frame that others get as well behind the others.
    pub(super) fn share(&mut self, send: &mut dyn FnMut(Message), frame: &Arc<[u8]>) {
        self.join(send);
        if self.bytes.is_empty() || frame.len() > JOINED_BYTES {
            self.finish(send);
            self.shared = Some(Arc::clone(frame));
        } else {
            self.write(send, |bytes| bytes.extend_from_slice(frame));
        }
    }

    /// What is shared and short is copied when more comes.
    fn join(&mut self, send: &mut dyn FnMut(Message)) {
        let Some(shared) = self.shared.take() else { return };
        if shared.len() > JOINED_BYTES {
            self.sent += shared.len();
            send(Message { bytes: shared, durable: self.durable });
        } else {
            self.bytes.extend_from_slice(&shared);
        }
    }

    /// Sends what is there.
    pub(super) fn finish(&mut self, send: &mut dyn FnMut(Message)) {
        if let Some(shared) = self.shared.take() {
            self.sent += shared.len();
            send(Message { bytes: shared, durable: self.durable });
        }
        if !self.bytes.is_empty() {
            self.sent += self.bytes.len();
            send(Message { bytes: std::mem::take(&mut self.bytes).into(), durable: self.durable });
        }
    }
}

#[derive(Debug)]
struct FrameKey {
    target: u32,
    revision: Revision,
    marks: Marks,
    id: Box<[u8]>,
}

struct Asked<'a> {
    target: u32,
    revision: Revision,
    marks: Marks,
    id: &'a [u8],
}

impl Hash for FrameKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Asked { target: self.target, revision: self.revision, marks: self.marks, id: &self.id }.hash(state);
    }
}

impl Hash for Asked<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u32(self.target);
        state.write_u64(self.revision);
        state.write_u16(self.marks.bits());
        state.write(self.id);
    }
}

impl PartialEq for FrameKey {
    fn eq(&self, other: &FrameKey) -> bool {
        let FrameKey { target, revision, marks, id } = other;
        Asked { target: *target, revision: *revision, marks: *marks, id }.equivalent(self)
    }
}

impl Eq for FrameKey {}

impl Equivalent<FrameKey> for Asked<'_> {
    fn equivalent(&self, key: &FrameKey) -> bool {
        (self.target, self.revision, self.marks, self.id) == (key.target, key.revision, key.marks, &*key.id)
    }
}

/// The bytes of a frame, unless nothing is told, and how many events it has.
type Shared = (Option<Arc<[u8]>>, usize);

/// Frames that several get, while there are some who have not got them yet.
#[derive(Debug, Default)]
pub(super) struct SharedFrames {
    frames: HashMap<FrameKey, Shared, foldhash::fast::FixedState>,
    bytes: usize,
}

impl SharedFrames {
    /// What an observer of a target is told of a change, and of how many events; `None` for nothing.
    pub(super) fn of(
        &mut self,
        target: u32,
        id: &[u8],
        marks: Marks,
        span: Span<'_>,
        change: Change<'_>,
    ) -> Option<(Arc<[u8]>, usize)> {
        let marks = marks & (Marks::PREV | Marks::NO_PUT | Marks::NO_DEL);
        let asked = Asked { target, revision: change.revision, marks, id };
        if let Some((frame, count)) = self.frames.get(&asked) {
            return frame.as_ref().map(|frame| (Arc::clone(frame), *count));
        }
        let mut bytes = Vec::new();
        let seen = || change.events.iter().filter(|event| span.contains(&event.path));
        let count = put_change(&mut bytes, id, marks, change.revision, seen);
        let frame: Option<Arc<[u8]>> = (count > 0).then(|| bytes.into());
        let len = frame.as_ref().map_or(0, |frame| frame.len()) + size_of::<FrameKey>() + id.len();
        if self.bytes + len > REMEMBERED_BYTES {
            self.clear();
        }
        self.bytes += len;
        let key = FrameKey { target, revision: change.revision, marks, id: id.into() };
        self.frames.insert(key, (frame.clone(), count));
        frame.map(|frame| (frame, count))
    }

    /// Forgets them all: a target's number may stand for another one from now on, or nobody needs them any more.
    pub(super) fn clear(&mut self) {
        if self.bytes > 0 {
            *self = SharedFrames::default();
        }
    }
}
