//! What is repeated in place of commands on streams: ids are given, trimming is exact, and of consumer groups it is said who
//! has which entry since when.

use super::trim::TrimmedTo;
use crate::command::Cx;
use crate::command::effects::Effects;
use weir_resp::Argv;
use weir_structs::number::{format_i64, format_u64};
use weir_structs::stream::{GroupMut, StreamId};

/// Ids that are named in one command.
const FED_IDS: usize = 256;

/// Has an entry added with the id that it got.
pub(super) fn feed_entry(cx: &mut Cx<'_>, key: &[u8], id: StreamId, trimmed: &TrimmedTo, pairs: Argv<'_>) {
    let id = id.text();
    let trim = trimmed.words();
    let first = [b"XADD".as_slice(), key].into_iter().chain(trim.iter().map(|word| &**word)).chain([&id[..]]);
    cx.effects.feed_words(3 + trim.len() + pairs.len(), first.chain(pairs.iter()));
}

/// Has a stream trimmed to where it was trimmed.
pub(super) fn feed_trim(cx: &mut Cx<'_>, key: &[u8], trimmed: &TrimmedTo) {
    let trim = trimmed.words();
    let words = [b"XTRIM".as_slice(), key].into_iter().chain(trim.iter().map(|word| &**word));
    cx.effects.feed_words(2 + trim.len(), words);
}

/// What a command has done to a consumer group.
#[derive(Debug, Default)]
pub(super) struct GroupFeed {
    wanted: bool,
    created_consumer: bool,
    /// Entries that the consumer has now.
    claimed: Vec<Claim>,
    /// Entries that are pending no longer.
    gone: Vec<StreamId>,
    /// How far the group has read, if it has read on.
    position: Option<(StreamId, Option<u64>)>,
    last_delivered: StreamId,
}

#[derive(Clone, Copy, Debug)]
struct Claim {
    id: StreamId,
    delivery_ms: u64,
    deliveries: u64,
}

impl Claim {
    fn goes_with(&self, other: &Claim) -> bool {
        (self.delivery_ms, self.deliveries) == (other.delivery_ms, other.deliveries)
    }
}

impl GroupFeed {
    /// Nothing so far.
    pub(super) fn new(effects: &Effects) -> GroupFeed {
        GroupFeed { wanted: effects.feeds(), ..GroupFeed::default() }
    }

    /// The consumer is new.
    pub(super) fn created_consumer(&mut self, created: bool) {
        self.created_consumer = created;
    }

    /// An entry is the consumer's now.
    #[inline]
    pub(super) fn claimed(&mut self, id: StreamId, delivery_ms: u64, deliveries: u64) {
        if self.wanted {
            self.claimed.push(Claim { id, delivery_ms, deliveries });
        }
    }

    /// An entry is pending no longer.
    pub(super) fn gone(&mut self, id: StreamId) {
        if self.wanted {
            self.gone.push(id);
        }
    }

    /// The group has read on.
    pub(super) fn read_on(&mut self, group: &GroupMut<'_>) {
        self.position = Some((group.last_delivered(), group.entries_read()));
    }

    /// The command is over for this group.
    pub(super) fn ends(&mut self, group: &GroupMut<'_>) {
        self.last_delivered = group.last_delivered();
    }

    /// Has all of it repeated, and nothing else in place of the command.
    pub(super) fn feed(&self, effects: &mut Effects, key: &[u8], group: &[u8], consumer: &[u8]) {
        if !self.wanted {
            return;
        }
        effects.feed_nothing();
        if self.created_consumer && self.claimed.is_empty() {
            effects.feed_as(&[b"XGROUP", b"CREATECONSUMER", key, group, consumer]);
        }
        let last_id = self.last_delivered.text();
        for run in self.claimed.chunk_by(Claim::goes_with) {
            let Some(Claim { delivery_ms, deliveries, .. }) = run.first() else { continue };
            let (delivery_ms, deliveries) = (format_u64(*delivery_ms), format_u64(*deliveries));
            for claims in run.chunks(FED_IDS) {
                let ids: Vec<_> = claims.iter().map(|claim| claim.id.text()).collect();
                let first = [b"XCLAIM".as_slice(), key, group, consumer, b"0"];
                let options: [&[u8]; 8] =
                    [b"TIME", &delivery_ms, b"RETRYCOUNT", &deliveries, b"FORCE", b"JUSTID", b"LASTID", &last_id];
                let words = first.into_iter().chain(ids.iter().map(|id| &id[..])).chain(options);
                effects.feed_words(first.len() + ids.len() + options.len(), words);
            }
        }
        for gone in self.gone.chunks(FED_IDS) {
            let ids: Vec<_> = gone.iter().map(|id| id.text()).collect();
            let first = [b"XACK".as_slice(), key, group];
            effects.feed_words(first.len() + ids.len(), first.into_iter().chain(ids.iter().map(|id| &id[..])));
        }
        if let Some((id, entries_read)) = self.position {
            let read = format_i64(entries_read.and_then(|read| i64::try_from(read).ok()).unwrap_or(-1));
            effects.feed_as(&[b"XGROUP", b"SETID", key, group, &id.text(), b"ENTRIESREAD", &read]);
        }
    }
}
