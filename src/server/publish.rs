//! Publishing: from what the room of pub/sub knows to messages for clients.
//!
//! A message is encoded at most once for each version of the protocol, whoever gets it; what clients are sent refers to
//! that. Clients subscribe under the number of their place in the table of clients, so that each is found at once.
//!
//! What must stay true: a client has [`ClientFlags::SUBSCRIBER`] exactly while it subscribes to something, and
//! [`Armed::SUBSCRIBED`] while it does so in RESP2.

use super::Server;
use super::client::{Client, ClientFlags, Slot};
use super::gates::Armed;
use crate::command::reply::{Output, Reply, Resp};
use crate::pubsub::{Counts, Kind, Subscriber};
use std::sync::Arc;

/// A message that may go to many clients.
pub(super) struct Message<'a> {
    parts: &'a [&'a [u8]],
    resp2: Option<Arc<[u8]>>,
    resp3: Option<Arc<[u8]>>,
}

impl<'a> Message<'a> {
    /// One whose elements are strings.
    pub(super) fn new(parts: &'a [&'a [u8]]) -> Message<'a> {
        Message { parts, resp2: None, resp3: None }
    }

    /// Its bytes in a version of the protocol.
    #[inline]
    pub(super) fn encoded(&mut self, resp: Resp) -> &Arc<[u8]> {
        let known = match resp {
            Resp::V2 => &mut self.resp2,
            Resp::V3 => &mut self.resp3,
        };
        known.get_or_insert_with(|| {
            let mut out = Output::default();
            let mut reply = Reply::new(&mut out, resp);
            reply.push(self.parts.len());
            for part in self.parts {
                reply.bulk(part);
            }
            out.bytes().into()
        })
    }
}

/// Under which number a client subscribes.
pub(super) fn subscriber(slot: Slot) -> Subscriber {
    Subscriber(slot.0)
}

impl Server {
    /// Sends a message to everybody who subscribes to a channel, or to a pattern that it matches. Returns how many it went
    /// to; who has several such subscriptions counts and gets it for each.
    pub(super) fn publish(&mut self, channel: &[u8], text: &[u8]) -> usize {
        if self.pubsub.is_empty() {
            return 0;
        }
        let Server { pubsub, clients, outbox, .. } = self;
        let mut send = |subscribers: &[Subscriber], parts: &[&[u8]]| {
            let mut message = Message::new(parts);
            for subscriber in subscribers {
                if let Some(client) = clients.get_mut(Slot(subscriber.0)) {
                    client.push(outbox, Arc::clone(message.encoded(client.resp)));
                }
            }
        };
        let subscribers = pubsub.subscribers_of(Kind::Channel, channel);
        let mut receivers = subscribers.len();
        send(subscribers, &[b"message", channel, text]);
        pubsub.matching(channel, |pattern, subscribers| {
            receivers += subscribers.len();
            send(subscribers, &[b"pmessage", pattern, channel, text]);
        });
        receivers
    }

    /// Sends a message to everybody who subscribes to a shard channel. Returns how many they are.
    pub(super) fn publish_to_shard(&mut self, channel: &[u8], text: &[u8]) -> usize {
        let Server { pubsub, clients, outbox, .. } = self;
        let subscribers = pubsub.subscribers_of(Kind::Shard, channel);
        let parts: [&[u8]; 3] = [b"smessage", channel, text];
        let mut message = Message::new(&parts);
        for subscriber in subscribers {
            if let Some(client) = clients.get_mut(Slot(subscriber.0)) {
                client.push(outbox, Arc::clone(message.encoded(client.resp)));
            }
        }
        subscribers.len()
    }

    /// How much a client subscribes to.
    pub(super) fn subscriptions(&self, client: &Client) -> Counts {
        if client.flags.contains(ClientFlags::SUBSCRIBER) {
            self.pubsub.counts(subscriber(client.slot))
        } else {
            Counts::default()
        }
    }

    /// What a client subscribes to, of one kind: for who checks whether it still may.
    pub(super) fn subscribed_names(&self, slot: Slot, kind: Kind) -> impl Iterator<Item = &[u8]> {
        self.pubsub.names_of(subscriber(slot), kind)
    }

    /// A client's subscriptions or its version of the protocol may have changed.
    pub(super) fn subscriptions_changed(&mut self, slot: Slot) {
        let subscribes = self.pubsub.counts(subscriber(slot)).total() > 0;
        if let Some(client) = self.clients.get_mut(slot) {
            client.flags.set(ClientFlags::SUBSCRIBER, subscribes);
            client.armed.set(Armed::SUBSCRIBED, subscribes && client.resp == Resp::V2);
        }
    }

    /// Ends all subscriptions of a client without a word to it.
    pub(super) fn end_subscriptions(&mut self, slot: Slot) {
        if !self.pubsub.is_empty() {
            self.pubsub.remove(subscriber(slot));
            self.subscriptions_changed(slot);
        }
    }
}
