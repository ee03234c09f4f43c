//! What clients take: `maxmemory-clients`.
//!
//! Every client is weighed: its buffers, what it has queued and watches, what it subscribes to and tracks. While there is a
//! limit, weights are kept, and clients lie in buckets by them, each twice as wide as the one before; so what has to go
//! when the sum exceeds the limit is found without a look at the others: some client of the heaviest bucket, again and
//! again. Without a limit nothing is kept, and who asks (INFO, CLIENT LIST) has clients weighed then.
//!
//! What must stay true: while there is a limit, `total` is the sum of all clients' `weight.bytes`, and every client that
//! may be evicted lies in the bucket and at the place that its weight names.

use super::Server;
use super::client::{Client, ClientFlags, Slot};
use super::message::Order;
use super::publish::subscriber;

/// Clients lighter than this lie in the first bucket.
const LIGHT_BYTES: usize = 32 * 1024;
/// Number of buckets: the last one begins at 4 GiB.
pub(super) const BUCKETS: usize = 19;

/// A client's last known weight, and where it lies.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Weight {
    bytes: usize,
    /// Bucket and place in it.
    place: Option<(u8, u32)>,
}

/// Weights of all clients.
#[derive(Debug, Default)]
pub(super) struct ClientMemory {
    limit: Option<usize>,
    total: usize,
    buckets: [Bucket; BUCKETS],
}

/// Clients of about the same weight.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    slots: Vec<Slot>,
    bytes: usize,
}

impl Bucket {
    /// Number of clients, and how much they take.
    pub(super) fn figures(&self) -> (usize, usize) {
        (self.slots.len(), self.bytes)
    }
}

/// The bucket for a weight.
fn bucket_of(bytes: usize) -> usize {
    let doublings = (bytes / LIGHT_BYTES).checked_ilog2().map_or(0, |log| log as usize + 1);
    doublings.min(BUCKETS - 1)
}

/// The lowest weight of a bucket, in bytes.
pub(super) fn bucket_begins(bucket: usize) -> usize {
    if bucket == 0 { 0 } else { LIGHT_BYTES << (bucket - 1) }
}

impl ClientMemory {
    /// Whether weights are kept.
    #[inline]
    pub(super) fn is_limited(&self) -> bool {
        self.limit.is_some()
    }

    /// The buckets, if weights are kept.
    pub(super) fn buckets(&self) -> Option<&[Bucket]> {
        self.limit.map(|_| &self.buckets[..])
    }
}

impl Server {
    /// What a client takes, in bytes: itself, its buffers, and all that it has asked to be kept.
    pub(super) fn client_bytes(&self, client: &Client) -> usize {
        let subscribes = client.flags.contains(ClientFlags::SUBSCRIBER);
        let subscriptions = if subscribes { self.pubsub.heap_bytes(subscriber(client.slot)) } else { 0 };
        client.heap_bytes() + client.io.buffer_heap + client.io.referenced_bytes + subscriptions
    }

    /// Takes over the limit from the configuration.
    pub(super) fn configure_client_memory(&mut self) {
        let limit = self.config.maxmemory_clients.bytes(self.config.maxmemory);
        let limit = limit.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        let kept = self.client_memory.is_limited();
        self.client_memory.limit = limit;
        if limit.is_none() {
            self.client_memory = ClientMemory::default();
            for client in self.clients.iter_mut() {
                client.weight = Weight::default();
            }
        } else {
            if !kept {
                let all: Vec<Slot> = self.clients.iter().map(|client| client.slot).collect();
                for slot in all {
                    self.weigh(slot);
                }
            }
            self.evict_clients();
        }
    }

    /// Something that a client takes may have changed.
    #[inline]
    pub(super) fn weigh(&mut self, slot: Slot) {
        if self.client_memory.is_limited() {
            self.weigh_anew(slot);
        }
    }

    fn weigh_anew(&mut self, slot: Slot) {
        let Some(client) = self.clients.get(slot) else { return };
        if client.flags.contains(ClientFlags::KILLED) {
            return;
        }
        let bytes = self.client_bytes(client);
        let evictable = !client.flags.contains(ClientFlags::NO_EVICT);
        let wanted = evictable.then(|| bucket_of(bytes));
        if client.weight.place.map(|(bucket, _)| usize::from(bucket)) == wanted {
            let before = client.weight.bytes;
            let memory = &mut self.client_memory;
            memory.total = memory.total - before + bytes;
            if let Some(bucket) = wanted {
                memory.buckets[bucket].bytes = memory.buckets[bucket].bytes - before + bytes;
            }
            if let Some(client) = self.clients.get_mut(slot) {
                client.weight.bytes = bytes;
            }
            return;
        }
        self.forget_weight(slot);
        let memory = &mut self.client_memory;
        memory.total += bytes;
        let place = wanted.map(|bucket| {
            let slots = &mut memory.buckets[bucket].slots;
            slots.push(slot);
            memory.buckets[bucket].bytes += bytes;
            (bucket as u8, (memory.buckets[bucket].slots.len() - 1) as u32)
        });
        if let Some(client) = self.clients.get_mut(slot) {
            client.weight = Weight { bytes, place };
        }
    }

    /// A client goes, or comes to lie somewhere else.
    pub(super) fn forget_weight(&mut self, slot: Slot) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        let weight = std::mem::take(&mut client.weight);
        let memory = &mut self.client_memory;
        memory.total = memory.total.saturating_sub(weight.bytes);
        let Some((bucket, at)) = weight.place else { return };
        let bucket = &mut memory.buckets[usize::from(bucket)];
        bucket.bytes -= weight.bytes;
        bucket.slots.swap_remove(at as usize);
        let moved = bucket.slots.get(at as usize).copied();
        if let Some((_, place)) = moved.and_then(|s| self.clients.get_mut(s)).and_then(|c| c.weight.place.as_mut()) {
            *place = at;
        }
    }

    /// Ends connections while all clients together take more than the limit: heavy ones first. Between waves of commands.
    #[inline]
    pub fn evict_clients(&mut self) {
        if self.client_memory.limit.is_some_and(|limit| self.client_memory.total > limit) {
            self.evict_heavy_clients();
        }
    }

    #[cold]
    fn evict_heavy_clients(&mut self) {
        let Some(limit) = self.client_memory.limit else { return };
        while self.client_memory.total > limit {
            let heaviest = self.client_memory.buckets.iter().rev().find_map(|bucket| bucket.slots.first());
            // Those who are left may not be evicted.
            let Some(&slot) = heaviest else { return };
            let Some(client) = self.clients.get(slot) else { return };
            tracing::info!(
                "evicting client to make room for others ({} bytes): id={} addr={} name={}",
                client.weight.bytes,
                client.id.0,
                client.addr,
                client.name.escape_ascii()
            );
            self.stats.counters.evicted_clients += 1;
            self.end_client(slot);
        }
    }

    /// Sees to it that a client's connection ends and that it is as good as gone from now on.
    pub(super) fn end_client(&mut self, slot: Slot) {
        self.forget_weight(slot);
        let Some(client) = self.clients.get_mut(slot) else { return };
        client.flags.insert(ClientFlags::KILLED);
        let id = client.id;
        // What it waits for is not given to it any more.
        self.waiter_gone(id);
        self.outbox.order(Order::Close(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_twice_as_wide_as_the_one_before() {
        assert_eq!((bucket_of(0), bucket_of(LIGHT_BYTES - 1)), (0, 0));
        for bucket in 1..BUCKETS {
            let begins = bucket_begins(bucket);
            assert_eq!((bucket_of(begins - 1), bucket_of(begins)), (bucket - 1, bucket));
        }
        assert_eq!(bucket_begins(BUCKETS - 1), 4 << 30);
        assert_eq!(bucket_of(usize::MAX), BUCKETS - 1);
    }
}
