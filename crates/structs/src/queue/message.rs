//! Messages as a queue shows them, and what is said about them.

use super::{DeathReason, MessageId, Parcel, Story};

/// Where a message is in its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// It waits to be handed out.
    Ready = 0,
    /// It is to become ready at a time of its own.
    Delayed = 1,
    /// It came back, and waits before it is ready again.
    Parked = 2,
    /// It was published in two phases, of which the second has not come.
    Held = 3,
    /// It was handed out, and was not settled.
    Unacked = 4,
    /// It is dead, and waits for its target to take it.
    Dead = 5,
}

/// What is to be done with a message when its time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// A delayed message becomes ready.
    Fire,
    /// A parked message becomes ready.
    Unpark,
    /// The lease of an unacked message ended.
    Lease,
    /// Its time to live ended.
    Expire,
    /// A held message was not committed in time.
    Unresolved,
    /// A dead message may try its target again.
    RetryDead,
}

/// When a new message becomes ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// At once.
    #[default]
    Now,
    /// At this time, Unix milliseconds.
    At(u64),
    /// When it is committed.
    Held {
        /// Until when that has to be, Unix milliseconds.
        until_ms: u64,
    },
}

/// A message that comes into a queue.
#[derive(Clone, Debug)]
pub struct NewMessage<'a> {
    /// As it was published.
    pub parcel: Parcel,
    /// Its priority; above the queue's highest one it counts as that.
    pub priority: u8,
    /// When its time to live ends, Unix milliseconds.
    pub expires_ms: Option<u64>,
    /// When it becomes ready.
    pub when: When,
    /// Producer and id by which it is known if it comes again.
    pub dedup: Option<(&'a [u8], &'a [u8])>,
    /// Its earlier deaths.
    pub story: Option<Box<Story>>,
}

/// What there is to hand out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing.
    Nothing,
    /// This message would be next, but its time to live has ended.
    Expired(MessageId),
    /// This message.
    Ready(MessageId),
}

/// A message in a queue.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Its id.
    pub id: MessageId,
    /// Its place: messages of a priority are handed out in the order of their places. The id, unless it was delayed or
    /// held before it was ready.
    pub key: MessageId,
    /// As it was published.
    pub parcel: &'a Parcel,
    /// Where it is.
    pub state: State,
    /// Its priority.
    pub priority: u8,
    /// When its time to live ends, Unix milliseconds.
    pub expires_ms: Option<u64>,
    /// How often it was handed out.
    pub acquired: u32,
    /// How many deliveries failed.
    pub deliveries: u32,
    /// Whether it may have been handed out before; the hand-out by which somebody has it now does not count.
    pub redelivered: bool,
    /// When it becomes ready (delayed, parked), has to be committed (held), or may try again (dead).
    pub due_ms: Option<u64>,
    /// Its earlier deaths.
    pub story: Option<&'a Story>,
    /// Why it is dead, if it is.
    pub reason: Option<DeathReason>,
    /// Who has it, if it was handed out.
    pub holder: Option<HolderId>,
    /// Since when.
    pub since_ms: Option<u64>,
    /// Until when, if there is an end.
    pub lease_until_ms: Option<u64>,
}

impl<'a> Message<'a> {
    /// As it is told of when handing it out settles it at once.
    pub fn as_handed_out(&self) -> Message<'a> {
        Message { acquired: self.acquired.saturating_add(1), ..*self }
    }

    /// The exchange over which it came.
    pub fn exchange(&self) -> &'a [u8] {
        self.story.and_then(|story| story.exchange.as_deref()).unwrap_or_else(|| self.parcel.exchange())
    }

    /// The routing key with which it came.
    pub fn rkey(&self) -> &'a [u8] {
        self.story.and_then(|story| story.rkey.as_deref()).unwrap_or_else(|| self.parcel.rkey())
    }
}

/// A message that is not in its queue any more.
#[derive(Clone, Debug)]
pub struct Removed {
    /// Its id.
    pub id: MessageId,
    /// As it was published.
    pub parcel: Parcel,
    /// Where it was.
    pub state: State,
    /// Its priority.
    pub priority: u8,
    /// When its time to live ends, Unix milliseconds.
    pub expires_ms: Option<u64>,
    /// How often it was handed out.
    pub acquired: u32,
    /// How many deliveries failed.
    pub deliveries: u32,
    /// Whether it may have been handed out before; the hand-out by which somebody had it last does not count.
    pub redelivered: bool,
    /// Why it was dead, if it was.
    pub reason: Option<DeathReason>,
    /// Its earlier deaths.
    pub story: Option<Box<Story>>,
    /// Who had it, if it was handed out. Does not say that the holder is still known.
    pub holder: Option<HolderId>,
}

impl Removed {
    /// The exchange over which it came.
    pub fn exchange(&self) -> &[u8] {
        self.story.as_ref().and_then(|story| story.exchange.as_deref()).unwrap_or_else(|| self.parcel.exchange())
    }

    /// The routing key with which it came.
    pub fn rkey(&self) -> &[u8] {
        self.story.as_ref().and_then(|story| story.rkey.as_deref()).unwrap_or_else(|| self.parcel.rkey())
    }
}

/// How many messages are where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Messages that can be handed out, or wait for their group.
    pub ready: u64,
    /// Messages that were handed out.
    pub unacked: u64,
    /// Messages that become ready at their time.
    pub delayed: u64,
    /// Messages that came back and wait.
    pub parked: u64,
    /// Messages that were not committed yet.
    pub held: u64,
    /// Dead messages that wait for their target.
    pub dead: u64,
    /// Bytes of the bodies of ready messages.
    pub ready_bytes: u64,
    /// Bytes of the bodies of dead messages.
    pub dead_bytes: u64,
    /// Bytes of the bodies of all messages.
    pub bytes: u64,
    /// Those of them that are elsewhere, not in memory.
    pub away_bytes: u64,
}

/// What happened since the queue was made or loaded. For whoever lets it happen to count: a queue by itself cannot tell,
/// say, an acknowledged message from a dropped one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages that came in.
    pub published: u64,
    /// Hand-outs.
    pub delivered: u64,
    /// Messages that were acknowledged.
    pub acked: u64,
    /// Hand-outs of messages that may have been handed out before.
    pub redelivered: u64,
    /// Messages that were given back.
    pub returned: u64,
    /// Messages that were refused.
    pub rejected: u64,
    /// Messages whose time to live ended and that no exchange for dead ones was to have.
    pub expired: u64,
    /// Messages that went to the exchange for dead ones, by the number of their [`DeathReason`].
    pub dead_lettered: [u64; DeathReason::ALL.len()],
    /// Messages that went for good in any other way.
    pub dropped: u64,
    /// Dead letters that were put back to where they came from, or elsewhere.
    pub redriven: u64,
}

/// In which way a message leaves a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// It is done.
    Acked,
    /// Its time to live ended, and nobody was to have it then.
    Expired,
    /// The exchange for dead ones took it.
    DeadLettered(DeathReason),
    /// It was put back to where it came from, or elsewhere.
    Redriven,
    /// Nobody has it any more.
    Dropped,
}

impl Counters {
    /// Counts messages that left, each in exactly one of the counters.
    #[inline]
    pub fn count_left(&mut self, how: Left, messages: u64) {
        *match how {
            Left::Acked => &mut self.acked,
            Left::Expired => &mut self.expired,
            Left::DeadLettered(reason) => &mut self.dead_lettered[reason as usize],
            Left::Redriven => &mut self.redriven,
            Left::Dropped => &mut self.dropped,
        } += messages;
    }
}

/// Which ways of a queue are closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Paused(u8);

impl Paused {
    /// None.
    pub const NONE: Paused = Paused(0);
    /// Nothing comes in.
    pub const IN: Paused = Paused(1);
    /// Nothing goes out.
    pub const OUT: Paused = Paused(2);
    /// Both.
    pub const ALL: Paused = Paused(3);

    /// Whether all of `ways` are closed.
    pub const fn contains(self, ways: Paused) -> bool {
        self.0 & ways.0 == ways.0
    }

    /// The bits: 1 in, 2 out.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The other way; `None` for other bits.
    pub const fn from_bits(bits: u8) -> Option<Paused> {
        if bits <= Paused::ALL.0 { Some(Paused(bits)) } else { None }
    }
}

impl std::ops::BitOr for Paused {
    type Output = Paused;

    fn bitor(self, other: Paused) -> Paused {
        Paused(self.0 | other.0)
    }
}

/// Who has messages that were handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Holder<'a> {
    /// Whoever calls himself so.
    Named(&'a [u8]),
    /// A consumer, by the number that the server gave it.
    Consumer(u64),
}

/// A holder within a queue. The number of one that was forgotten is not used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HolderId(pub(super) u64);

/// What was read is not what a queue wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt;

impl std::fmt::Display for Corrupt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not the contents of a queue")
    }
}

impl std::error::Error for Corrupt {}
