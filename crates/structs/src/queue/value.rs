//! A queue.

use super::*;
use crate::frozen::{FrozenHead, FrozenPart, Kept};

/// The value of a queue. A clone has no holders: what is unacked is ready in it, as after [`Queue::restarted`].
#[derive(Clone, Debug)]
pub struct Queue {
    options: QueueOptions,
    rules: Rules,
    created_ms: u64,
    uid: u64,
    paused: Paused,
    counters: Counters,
}

impl Queue {
    pub fn new(options: QueueOptions, rules: Rules, created_ms: u64) -> Queue {
        Queue { options, rules, created_ms, uid: 0, paused: Paused::NONE, counters: Counters::default() }
    }
    pub fn uid(&self) -> u64 {
        self.uid
    }
    pub fn set_uid(&mut self, uid: u64) {
        self.uid = uid;
    }
    pub fn options(&self) -> &QueueOptions {
        &self.options
    }
    pub fn rules(&self) -> &Rules {
        &self.rules
    }
    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }
    pub fn created_ms(&self) -> u64 {
        self.created_ms
    }
    pub fn paused(&self) -> Paused {
        self.paused
    }
    pub fn set_paused(&mut self, paused: Paused) {
        self.paused = paused;
    }
    pub fn figures(&self) -> Figures {
        Figures::default()
    }
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
    pub fn counters_mut(&mut self) -> &mut Counters {
        &mut self.counters
    }
    pub fn len(&self) -> u64 {
        0
    }
    pub fn is_empty(&self) -> bool {
        true
    }
    pub fn add(&mut self, new: NewMessage<'_>, now_ms: u64) -> MessageId {
        let _ = new;
        MessageId::new(now_ms, 0)
    }
    pub fn known(&self, _producer: &[u8], _id: &[u8], _now_ms: u64) -> Option<MessageId> {
        None
    }
    pub fn exceeds(&self, _more: u64, _more_bytes: u64) -> bool {
        false
    }
    pub fn oldest_ready(&self) -> Option<MessageId> {
        None
    }
    pub fn same_value(&self, _value: &[u8]) -> Option<MessageId> {
        None
    }
    /// Whether a later ready message has the same value of the LASTVALUE header: then one that came back is to go.
    pub fn newer_value(&self, _id: MessageId) -> Option<MessageId> {
        None
    }
    pub fn next(&self, _now_ms: u64) -> Next {
        Next::Nothing
    }
    /// Whether it was ready. Here and below: otherwise nothing happens.
    pub fn hand_out(&mut self, _id: MessageId, _holder: HolderId, _lease_until_ms: Option<u64>, _now_ms: u64) -> bool {
        false
    }
    pub fn message(&self, _id: MessageId) -> Option<Message<'_>> {
        None
    }
    pub fn give_back(&mut self, _id: MessageId, _failed: bool, _park_until_ms: Option<u64>) -> bool {
        false
    }
    pub fn remove(&mut self, _id: MessageId) -> Option<Removed> {
        None
    }
    pub fn extend_lease(&mut self, _id: MessageId, _until_ms: u64) -> bool {
        false
    }
    pub fn claim(&mut self, _id: MessageId, _holder: HolderId, _now_ms: u64) -> bool {
        false
    }
    pub fn unpark(&mut self, _id: MessageId) -> bool {
        false
    }
    /// A delayed message becomes ready, behind all others: its new place, `None` if it is not delayed.
    pub fn fire(&mut self, _id: MessageId) -> Option<MessageId> {
        None
    }
    /// A held message becomes ready, behind all others: its new place, `None` if it is not held.
    pub fn commit(&mut self, _id: MessageId, _now_ms: u64) -> Option<MessageId> {
        None
    }
    /// [`Queue::fire`] or [`Queue::commit`] as it was done elsewhere.
    pub fn fire_as(&mut self, _id: MessageId, _key: MessageId) -> bool {
        false
    }
    /// From any state; a dead one tries again later.
    pub fn die(&mut self, _id: MessageId, _reason: DeathReason, _retry_ms: u64) -> bool {
        false
    }
    pub fn holder(&mut self, _name: Holder<'_>) -> HolderId {
        HolderId { slot: 0, generation: 0 }
    }
    pub fn held_by(&self, _holder: HolderId) -> impl Iterator<Item = MessageId> + '_ {
        std::iter::empty()
    }
    pub fn holder_name(&self, _holder: HolderId) -> Option<Holder<'_>> {
        None
    }
    pub fn forget_holder(&mut self, _holder: HolderId) {}
    pub fn first_due(&self) -> Option<(u64, MessageId, Due)> {
        None
    }
    pub fn ready_ids(&self) -> impl DoubleEndedIterator<Item = MessageId> + '_ {
        std::iter::empty()
    }
    pub fn pending_ids(&self, _from: MessageId) -> impl Iterator<Item = MessageId> + '_ {
        std::iter::empty()
    }
    pub fn all_ids(&self, _from: MessageId) -> impl Iterator<Item = MessageId> + '_ {
        std::iter::empty()
    }
    pub fn purge(&mut self, _max: usize) -> Vec<MessageId> {
        Vec::new()
    }
    /// The highest place that was ever handed out.
    pub fn mark(&self) -> MessageId {
        MessageId::MIN
    }
    pub fn set_mark(&mut self, _mark: MessageId) {}
    pub fn restarted(&mut self) {}
    pub fn last_id(&self) -> MessageId {
        MessageId::MIN
    }
    pub fn put_meta(&self, _id: MessageId, _to: &mut Vec<u8>) -> bool {
        false
    }
    pub fn put(&mut self, _id: MessageId, _meta: &[u8], _parcel: Parcel) -> Result<(), Corrupt> {
        Err(Corrupt)
    }
    pub fn set(&mut self, _id: MessageId, _meta: &[u8]) -> Result<(), Corrupt> {
        Err(Corrupt)
    }
    pub fn encode(&self, _give: &mut dyn FnMut(&[u8])) {}
    pub fn freeze(&mut self, _ticket: u64) {}
    pub fn frozen_ticket(&self) -> Option<u64> {
        None
    }
    pub fn frozen_head(&self) -> Option<FrozenHead> {
        None
    }
    pub fn give_frozen(&mut self, _budget: usize, _visit: &mut dyn FnMut(FrozenPart<'_>)) -> bool {
        false
    }
    pub fn thaw(&mut self) -> Option<Kept> {
        None
    }
    pub fn memory_bytes(&self) -> usize {
        0
    }
    pub fn mapped_bytes(&self) -> usize {
        0
    }
    pub fn items(&self) -> usize {
        0
    }
}

/// Builds a queue from what [`Queue::encode`] gave: head first, then pieces. The rules are those of the declaration alone.
#[derive(Debug)]
pub struct QueueBuilder(Queue);

impl QueueBuilder {
    pub fn new(_head: &[u8]) -> Result<QueueBuilder, Corrupt> {
        Err(Corrupt)
    }
    pub fn piece(&mut self, _piece: &[u8]) -> Result<(), Corrupt> {
        Err(Corrupt)
    }
    pub fn finish(self) -> Result<Queue, Corrupt> {
        Ok(self.0)
    }
}
