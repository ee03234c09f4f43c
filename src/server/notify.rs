//! Keyspace events: from what commands, time and eviction did to messages for whoever listens.
//!
//! An event goes out as two messages, `__keyspace@0__:key` with the event's name and `__keyevent@0__:event` with the key's,
//! as far as `notify-keyspace-events` wants them. Commands record events of wanted classes while they run, and the store
//! records keys and fields whose time has come; both are told here, after the command, in the order in which they happened.
//!
//! What must stay true: nothing is recorded while nobody subscribes to anything or nothing is wanted, so that events cost
//! nothing then.

use super::Server;
use crate::command::effects::{EventClass, KeyEvent};
use crate::config::NotifyFlags;
use crate::store::{ExpiredFields, Gone};
use std::io::Write;

/// What is wanted of events.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    keyspace: bool,
    keyevent: bool,
    classes: EventClass,
    /// Classes that are recorded: none while nobody listens.
    recorded: EventClass,
    /// What the store had recorded when somebody else wanted to know, not told yet.
    departures: Vec<KeyEvent>,
}

const CLASSES: [(NotifyFlags, EventClass); 14] = [
    (NotifyFlags::GENERIC, EventClass::GENERIC),
    (NotifyFlags::STRING, EventClass::STRING),
    (NotifyFlags::LIST, EventClass::LIST),
    (NotifyFlags::SET, EventClass::SET),
    (NotifyFlags::HASH, EventClass::HASH),
    (NotifyFlags::ZSET, EventClass::ZSET),
    (NotifyFlags::EXPIRED, EventClass::EXPIRED),
    (NotifyFlags::EVICTED, EventClass::EVICTED),
    (NotifyFlags::STREAM, EventClass::STREAM),
    (NotifyFlags::KEY_MISS, EventClass::MISS),
    (NotifyFlags::MODULE, EventClass::MODULE),
    (NotifyFlags::NEW, EventClass::NEW),
    (NotifyFlags::OVERWRITTEN, EventClass::OVERWRITTEN),
    (NotifyFlags::TYPE_CHANGED, EventClass::TYPE_CHANGED),
];

/// What the store records.
const STORES: EventClass =
    EventClass::EXPIRED.union(EventClass::EVICTED).union(EventClass::HASH).union(EventClass::GENERIC);

impl Server {
    /// The setting may have changed.
    pub(super) fn configure_events(&mut self) {
        let flags = self.config.notify_keyspace_events;
        let classes = CLASSES.iter().filter(|(flag, _)| flags.has_all(*flag)).map(|&(_, class)| class).collect();
        let (keyspace, keyevent) = (flags.has_all(NotifyFlags::KEYSPACE), flags.has_all(NotifyFlags::KEYEVENT));
        (self.events.keyspace, self.events.keyevent, self.events.classes) = (keyspace, keyevent, classes);
        self.arm_events();
    }

    /// The setting, or whether anybody listens, may have changed.
    pub(super) fn arm_events(&mut self) {
        let listens = !self.pubsub.is_empty() && (self.events.keyspace || self.events.keyevent);
        let recorded = if listens { self.events.classes } else { EventClass::empty() };
        if recorded != self.events.recorded {
            // What was recorded for others is not for whoever comes now.
            self.tell_events();
            self.events.recorded = recorded;
            self.effects.want(recorded);
            self.arm_store();
        }
    }

    /// Has the store record what expires and is evicted as long as anybody wants to know.
    pub(super) fn arm_store(&mut self) {
        self.store.tell_expired(self.events.recorded.intersects(STORES) || self.feed.is_wanted());
    }

    /// The store's records, that somebody else has taken, are to be told as well.
    pub(super) fn note_departures(&mut self, expired: Vec<Gone>, evicted: Vec<Gone>, fields: Vec<ExpiredFields>) {
        if self.events.recorded.is_empty() {
            return;
        }
        let records = &mut self.events.departures;
        for Gone { number, db, key } in expired {
            records.push(KeyEvent { number, class: EventClass::EXPIRED, name: "expired", key, db });
        }
        for Gone { number, db, key } in evicted {
            records.push(KeyEvent { number, class: EventClass::EVICTED, name: "evicted", key, db });
        }
        for ExpiredFields { number, db, key, key_gone, .. } in fields {
            let emptied = key_gone.then(|| key.clone());
            records.push(KeyEvent { number, class: EventClass::HASH, name: "hexpired", key, db });
            let removed = |key| KeyEvent { number, class: EventClass::GENERIC, name: "del", key, db };
            records.extend(emptied.map(removed));
        }
    }

    /// Tells everybody who listens what has happened since the last call.
    #[inline]
    pub(super) fn tell_events(&mut self) {
        if !self.events.recorded.is_empty() {
            self.tell_recorded();
        }
    }

    #[cold]
    fn tell_recorded(&mut self) {
        if self.store.has_gone() {
            let (expired, evicted) = (self.store.take_expired(), self.store.take_evicted());
            let fields = self.store.take_expired_fields();
            self.note_departures(expired, evicted, fields);
        }
        let mut records = std::mem::take(&mut self.events.departures);
        let mut events = self.effects.take_events();
        if !records.is_empty() {
            events.append(&mut records);
            events.sort_by_key(|event| event.number);
        }
        for KeyEvent { class, name, key, db, .. } in events {
            self.tell_event(class, name, &key, db);
        }
    }

    fn tell_event(&mut self, class: EventClass, name: &str, key: &[u8], db: usize) {
        if !self.events.recorded.intersects(class) {
            return;
        }
        let mut channel = Vec::with_capacity(24 + key.len().max(name.len()));
        if self.events.keyspace {
            // Writing to a vector cannot fail.
            let _ = write!(channel, "__keyspace@{db}__:");
            channel.extend_from_slice(key);
            self.publish(&channel, name.as_bytes());
        }
        if self.events.keyevent {
            channel.clear();
            let _ = write!(channel, "__keyevent@{db}__:{name}");
            self.publish(&channel, key);
        }
    }
}
