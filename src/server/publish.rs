//! Publishing: from what the room of pub/sub knows to messages for clients.
//!
//! A message is encoded once, whoever gets it, and is ordered to be sent to all of them in one go, without a look at any of
//! them; messages in a row to the same ones make one order. Apart from that are subscribers whose own commands are running,
//! which are few: they get it between their replies. Clients subscribe under the number of their slot.
//!
//! What must stay true: a subscriber that is [`ClientFlags::RUNNING`] is in `Server::running_subscribers`; a client has [`ClientFlags::SUBSCRIBER`] exactly while it subscribes to something, and
//! [`Armed::SUBSCRIBED`] while it does so in RESP2.

use super::Server;
use super::client::{Client, ClientFlags, Clients, Slot};
use super::gates::Armed;
use super::message::Outbox;
use crate::command::reply::Resp;
use crate::pubsub::{Audience, Counts, Kind, PubSub, Subscriber};
use weir_resp::reply_bytes;

/// What it takes to send messages.
struct Post<'a> {
    pubsub: &'a PubSub,
    clients: &'a mut Clients,
    outbox: &'a mut Outbox,
    running: &'a [Slot],
}

impl Post<'_> {
    /// Sends a message, given by its elements, to an audience.
    fn send(&mut self, audience: Audience<'_>, parts: &[&[u8]]) {
        let mut served = Vec::new();
        for &slot in self.running {
            let Some(client) = self.clients.get_mut(slot).filter(|c| c.flags.contains(ClientFlags::RUNNING)) else {
                continue;
            };
            if self.pubsub.is_among(subscriber(slot), audience.key) {
                let mut message = Vec::new();
                match client.resp {
                    Resp::V2 => reply_bytes::array_header(&mut message, parts.len()),
                    Resp::V3 => reply_bytes::push_header(&mut message, parts.len()),
                }
                put_parts(&mut message, parts);
                client.push(self.outbox, message.into());
                served.push(slot);
            }
        }
        self.outbox.fan_out(audience, &served, |bytes| {
            reply_bytes::array_header(bytes, parts.len());
            put_parts(bytes, parts);
        });
    }
}

fn put_parts(message: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        reply_bytes::bulk(message, part);
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
        let (mut post, pubsub) = self.post();
        let mut receivers = 0;
        if let Some(audience) = pubsub.audience(Kind::Channel, channel) {
            receivers += audience.subscribers.len();
            post.send(audience, &[b"message", channel, text]);
        }
        pubsub.matching(channel, |audience| {
            receivers += audience.subscribers.len();
            post.send(audience, &[b"pmessage", audience.name, channel, text]);
        });
        receivers
    }

    /// Sends a message to everybody who subscribes to a shard channel. Returns how many they are.
    pub(super) fn publish_to_shard(&mut self, channel: &[u8], text: &[u8]) -> usize {
        let (mut post, pubsub) = self.post();
        let Some(audience) = pubsub.audience(Kind::Shard, channel) else { return 0 };
        post.send(audience, &[b"smessage", channel, text]);
        audience.subscribers.len()
    }

    fn post(&mut self) -> (Post<'_>, &PubSub) {
        let Server { pubsub, clients, outbox, running_subscribers, .. } = self;
        (Post { pubsub, clients, outbox, running: running_subscribers }, pubsub)
    }

    /// Commands of a client begin to be executed: what is published meanwhile goes between its replies.
    #[inline]
    pub(super) fn begin_running(&mut self, slot: Slot) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        client.flags.insert(ClientFlags::RUNNING);
        if client.flags.contains(ClientFlags::SUBSCRIBER) && !self.running_subscribers.contains(&slot) {
            self.running_subscribers.push(slot);
        }
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
            if client.flags.contains(ClientFlags::RUNNING) {
                self.begin_running(slot);
            }
        }
        self.arm_events();
    }

    /// Ends all subscriptions of a client without a word to it.
    pub(super) fn end_subscriptions(&mut self, slot: Slot) {
        if !self.pubsub.is_empty() {
            self.pubsub.remove(subscriber(slot));
            self.subscriptions_changed(slot);
        }
    }
}
