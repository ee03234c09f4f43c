//! Waiting for data: what a command that found nothing asks for.
//!
//! Such a command changes nothing, says with [`Cx::block`](super::Cx::block) what it waits for, and returns. Its client
//! then waits, and whenever one of the keys was changed and holds what is awaited, the whole command runs again, until it
//! finds something or its time is over.

/// What a client waits for at its keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Awaited {
    /// No data: something that happens in the server.
    Nothing,
    /// A list.
    List,
    /// A sorted set.
    Zset,
    /// A stream.
    Stream,
    /// A stream with a consumer group: the command also runs again when the key is gone or holds something else, to say
    /// so.
    StreamGroup,
    /// A queue with a message that may be handed out.
    Message,
    /// A queue with room for another message.
    Room,
    /// A change in a store of the registry that it observes.
    Change,
    /// Nothing at keys: the server has the reply later.
    Reply,
}

/// The reply when the time is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimeoutReply {
    /// The null of a value.
    Null,
    /// The null of an array.
    NullArray,
    /// Whether what its client has changed is on disk (WAITAOF); the server's own affair.
    Synced,
}

/// A command's wish to wait.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Block {
    /// The keys, as numbers of arguments.
    pub keys: Vec<usize>,
    /// Further keys, which are no arguments.
    pub others: Vec<Box<[u8]>>,
    /// Until when, in Unix ms; `None` for as long as it takes.
    pub until_ms: Option<i64>,
    /// What must be at one of the keys.
    pub awaited: Awaited,
    /// The reply when the time is over.
    pub on_timeout: TimeoutReply,
    /// When the command is to run again although nothing was changed, in Unix ms.
    pub again_at_ms: Option<i64>,
    /// Arguments that have another value when the command runs again: what `$` stands for is known now and not then.
    pub argv: Vec<(usize, Box<[u8]>)>,
}

impl Block {
    /// Of a command that waits for nothing at a key, but for its reply.
    pub fn without_keys(awaited: Awaited, until_ms: Option<i64>, on_timeout: TimeoutReply) -> Block {
        Block {
            keys: Vec::new(),
            others: Vec::new(),
            until_ms,
            awaited,
            on_timeout,
            again_at_ms: None,
            argv: Vec::new(),
        }
    }
}
