//! What the scenarios ask of a registry, whichever it is: one connection's protocol, without the connection. Requests are
//! appended to what is to be sent, and what has come is handed over as [`Heard`].

use crate::Outcome;

/// What a request is known by; the scenario's own number.
pub(crate) type Tag = u64;

/// What has come. Requests of one session may be answered in any order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard<'a> {
    /// The greeting is over: requests may be made.
    Ready,
    /// A write is done; where the registry says which, the revision it made.
    Written(Tag, u64),
    /// What stands at a path.
    Value(Tag, Option<&'a [u8]>),
    /// The names below a path, or however many there are.
    Listed(Tag, u64),
    /// An observation has begun.
    Observing(Tag),
    /// Something has changed, but what comes later (ZooKeeper).
    Notice,
    /// A path has this value now.
    Event(&'a [u8]),
}

/// What is observed.
#[derive(Clone, Copy)]
pub(crate) struct Observed<'a> {
    pub(crate) path: &'a [u8],
    /// Everything that begins with `path`, and not `path` alone.
    pub(crate) is_prefix: bool,
    /// The first revision that is to be told; 0: from now on.
    pub(crate) from: u64,
}

/// One connection's protocol.
pub(crate) trait Session {
    /// What is said first.
    fn greet(&mut self, to: &mut Vec<u8>);
    /// Makes a path that is not there; where paths have parents, those are there. `value` may be empty.
    fn create(&mut self, tag: Tag, path: &[u8], value: &[u8], to: &mut Vec<u8>);
    /// Gives a path that is there another value.
    fn put(&mut self, tag: Tag, path: &[u8], value: &[u8], to: &mut Vec<u8>);
    fn get(&mut self, tag: Tag, path: &[u8], to: &mut Vec<u8>);
    /// Asks for the names of the paths below `path`, which ends without a slash.
    fn list(&mut self, tag: Tag, path: &[u8], to: &mut Vec<u8>);
    fn observe(&mut self, tag: Tag, observed: Observed<'_>, to: &mut Vec<u8>);
    /// Looks at what has come; how many bytes of it are done with. May answer by itself.
    fn hear(
        &mut self,
        bytes: &[u8],
        to: &mut Vec<u8>,
        heard: &mut dyn FnMut(Heard<'_>) -> Outcome<()>,
    ) -> Outcome<usize>;
}
