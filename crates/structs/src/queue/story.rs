//! What became of a message that died: which queues let it die, why, how often, and where it is now.

/// Why a message died.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum DeathReason {
    /// A consumer refused it for good.
    Rejected = 0,
    /// Its time to live ended.
    Expired = 1,
    /// Its queue was full.
    MaxLen = 2,
    /// It failed too often.
    DeliveryLimit = 3,
    /// It was published in two phases, and the second did not come in time.
    Unresolved = 4,
}

impl DeathReason {
    /// All of them, each at the place of its number.
    pub const ALL: [DeathReason; 5] = [
        DeathReason::Rejected,
        DeathReason::Expired,
        DeathReason::MaxLen,
        DeathReason::DeliveryLimit,
        DeathReason::Unresolved,
    ];

    /// As it is written to clients.
    pub const fn text(self) -> &'static str {
        match self {
            DeathReason::Rejected => "rejected",
            DeathReason::Expired => "expired",
            DeathReason::MaxLen => "maxlen",
            DeathReason::DeliveryLimit => "delivery_limit",
            DeathReason::Unresolved => "unresolved",
        }
    }

    /// Reads the text of a reason, in lower case.
    pub fn parse(text: &[u8]) -> Option<DeathReason> {
        DeathReason::ALL.into_iter().find(|reason| reason.text().as_bytes() == text)
    }
}

/// Deaths of a message in one queue for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// The queue in which it died.
    pub queue: Box<[u8]>,
    /// Why.
    pub reason: DeathReason,
    /// How often it died there for this reason.
    pub count: u64,
    /// When it did so first, Unix milliseconds.
    pub time_ms: u64,
    /// The exchange over which it had come.
    pub exchange: Box<[u8]>,
    /// The routing keys with which it had come: its own, then those of CC.
    pub rkeys: Vec<Box<[u8]>>,
    /// The time to live that was taken from it.
    pub original_ttl_ms: Option<u64>,
    /// What its consumer said about that, the last time.
    pub note: Option<Box<[u8]>>,
}

/// The first death of a message, which is never forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstDeath {
    /// The queue in which it died.
    pub queue: Box<[u8]>,
    /// Why.
    pub reason: DeathReason,
    /// The exchange over which it had come.
    pub exchange: Box<[u8]>,
}

/// What a message that was dead-lettered carries beside its parcel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Story {
    /// One for each queue and reason, the newest first.
    pub deaths: Vec<Death>,
    /// Set with the first death, unchanged ever after.
    pub first: Option<Box<FirstDeath>>,
    /// The exchange over which it came last, instead of the parcel's.
    pub exchange: Option<Box<[u8]>>,
    /// The routing key with which it came last, instead of the parcel's.
    pub rkey: Option<Box<[u8]>>,
}

impl Story {
    /// Tells of a further death: it is in front afterwards, and counted with earlier ones in this queue for this reason.
    pub fn tell(&mut self, death: Death) {
        if self.first.is_none() {
            let Death { queue, reason, exchange, .. } = &death;
            self.first =
                Some(Box::new(FirstDeath { queue: queue.clone(), reason: *reason, exchange: exchange.clone() }));
        }
        let same = self.deaths.iter().position(|own| own.reason == death.reason && own.queue == death.queue);
        let newest = match same {
            Some(at) => {
                let mut own = self.deaths.remove(at);
                own.count = own.count.saturating_add(death.count);
                own.note = death.note;
                own
            }
            None => death,
        };
        self.deaths.insert(0, newest);
    }

    /// Bytes on the heap, its own included.
    pub(super) fn memory_bytes(&self) -> usize {
        let deaths = self.deaths.iter().map(|death| {
            let rkeys: usize = death.rkeys.iter().map(|rkey| size_of::<Box<[u8]>>() + rkey.len()).sum();
            let note = death.note.as_ref().map_or(0, |note| note.len());
            size_of::<Death>() + note + death.queue.len() + death.exchange.len() + rkeys
        });
        let first =
            self.first.as_ref().map_or(0, |first| size_of::<FirstDeath>() + first.queue.len() + first.exchange.len());
        let place = [&self.exchange, &self.rkey].into_iter().flatten().map(|text| text.len());
        size_of::<Story>() + deaths.sum::<usize>() + first + place.sum::<usize>()
    }
}
