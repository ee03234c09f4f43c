//! Pub/sub: who subscribes to which channels, patterns and shard channels.
//!
//! ```text
//!  PUBLISH news.art ──► channels ── name ──► [ subscribers ]
//!                   └─► patterns ── index ─► candidates ── matcher ──► [ subscribers ], pattern by pattern
//!  SPUBLISH orders  ──► shard channels ── name ──► [ subscribers ]
//! ```
//!
//! [`subscriptions`] is what others see; [`topics`] holds names with their subscribers; [`pattern_index`] finds the few
//! patterns that a channel may match, so that a message is not tried against all of them. Nothing is sent from here: a
//! publisher asks who is to get a message, and the server delivers.

mod pattern_index;
mod subscriptions;
mod topics;

pub use subscriptions::{Audience, AudienceKey, Counts, Kind, PubSub};
pub use topics::Subscriber;
