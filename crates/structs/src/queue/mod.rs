//! Queues of a broker: messages that wait, are handed out, are settled or come back.
//!
//! ```text
//!              add                     hand_out                    remove
//!  publisher ───────► Ready ─────────────────────► Unacked ──────────────► gone
//!      │                ▲ ▲ ◄───────────────────────  │ give_back
//!      ├─► Delayed ─────┘ └──────────── Parked ◄──────┘
//!      └─► Held ────────┘               any ──die──► Dead: waits for its target
//! ```
//!
//! A queue knows no keys, no exchanges and no clients, and has no clock: times come as parameters, and what is due is
//! asked for ([`Queue::first_due`]) and done by whoever asks.

mod away;
mod change;
mod codec;
mod dedup;
mod frozen;
mod groups;
mod head;
mod holders;
mod id;
mod keys;
mod lines;
mod message;
mod meta;
mod moving;
mod options;
mod parcel;
mod places;
mod pool;
mod purge;
mod record;
mod story;
mod value;
mod values;

pub use away::{BodyFile, BodyPlace, NotRead, Segment, Wait};
pub use codec::QueueBuilder;
pub use id::{MESSAGE_ID_TEXT_MAX, MessageId, MessageIdText};
pub use message::{
    Corrupt, Counters, Due, Figures, Holder, HolderId, Left, Message, NewMessage, Next, Paused, Removed, State, When,
};
pub use moving::{MOVED_BODY_BYTES_MIN, ToMove};
pub use options::{DedupWindow, DlStrategy, Overflow, QueueOptions, Retry, RetryWhich, Rules};
pub use parcel::{Envelope, Parcel};
pub use pool::{ParcelPool, SharedAs, WrittenParcels};
pub use story::{Death, DeathReason, FirstDeath, Story};
pub use value::Queue;

#[cfg(test)]
mod tests;
