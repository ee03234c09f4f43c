//! What the scenarios ask of a broker, whichever it is.

use crate::Outcome;

/// Where a message goes. Without an exchange the key is the name of a queue.
#[derive(Clone, Copy)]
pub(crate) struct Address<'a> {
    pub(crate) exchange: &'a str,
    pub(crate) key: &'a str,
}

/// What a queue is to be.
#[derive(Clone, Copy, Default)]
pub(crate) struct QueueKind<'a> {
    /// RabbitMQ: a replicated queue, which forces what it confirms to disk.
    pub(crate) is_quorum: bool,
    /// What has waited so long goes to that queue.
    pub(crate) expires_into: Option<(u64, &'a str)>,
}

/// When a publisher may regard a message as taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Confirm {
    /// RabbitMQ says nothing; Weir replies to every command, when the message is in its queue.
    None,
    /// RabbitMQ's publisher confirms. Weir replies when the message is on disk.
    Disk,
}

/// How messages come to a consumer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// The broker sends them.
    Push,
    /// The consumer asks for some at a time. Only Weir.
    Get,
}

/// A connection that prepares things. Requests may be on their way until `sync`, which fails if one of them failed.
pub(crate) trait Admin {
    fn declare_queue(&mut self, name: &str, kind: QueueKind<'_>) -> Outcome<()>;
    fn declare_exchange(&mut self, name: &str, kind: &str) -> Outcome<()>;
    fn bind(&mut self, exchange: &str, queue: &str, key: &str) -> Outcome<()>;
    fn sync(&mut self) -> Outcome<()>;
    /// How many messages of a queue are ready.
    fn ready(&mut self, queue: &str) -> Outcome<u64>;
}

/// A connection that publishes persistent messages.
pub(crate) trait Publisher: Send {
    /// Appends a message to what is to be sent; `due_ms` is Unix time, and only Weir knows it.
    fn put(&mut self, to: Address<'_>, body: &[u8], due_ms: Option<u64>);
    /// Sends what has been appended, if it is so many bytes at least.
    fn flush_from(&mut self, bytes: usize) -> Outcome<()>;
    /// Waits until the broker has read everything, where nothing comes back.
    fn finish(&mut self) -> Outcome<()>;
    /// What comes back, for another thread. `None`: nothing does.
    fn confirms(&self) -> Outcome<Option<Box<dyn Confirms>>>;
}

/// What comes back to a publisher.
pub(crate) trait Confirms: Send {
    /// Waits for more; how many messages are confirmed in all.
    fn wait(&mut self) -> Outcome<u64>;
}

/// A connection that consumes: acknowledges what it has got, many at a time.
pub(crate) trait Consumer: Send {
    /// Waits for messages, and hands over the body of each.
    fn take(&mut self, message: &mut dyn FnMut(&[u8]) -> Outcome<()>) -> Outcome<()>;
    /// Acknowledges what is left, and waits until the broker has done it.
    fn settle(&mut self) -> Outcome<()>;
}
