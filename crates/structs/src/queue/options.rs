//! What a queue was told to do, and what that comes to.
//!
//! [`QueueOptions`] are what one place says: the declaration, or a policy. [`Rules`] are what is in force when all of them
//! are taken together.

use super::DeathReason;

/// Options as declared, or as a policy sets them. `None`: not said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueOptions {
    /// Only the connection that declared it may use it, and it goes with the connection.
    pub exclusive: bool,
    /// It goes with its last consumer.
    pub auto_delete: bool,
    /// It goes when it was unused for so long.
    pub expires_ms: Option<u64>,
    /// Messages live so long.
    pub msg_ttl_ms: Option<u64>,
    /// So many messages may be ready.
    pub max_len: Option<u64>,
    /// Bodies of ready messages may come to so many bytes.
    pub max_bytes: Option<u64>,
    /// What happens above these limits.
    pub overflow: Option<Overflow>,
    /// The exchange for dead messages.
    pub dlx: Option<Box<[u8]>>,
    /// The routing key for dead messages instead of their own.
    pub dl_rkey: Option<Box<[u8]>>,
    /// What happens to a dead message that cannot go.
    pub dl_strategy: Option<DlStrategy>,
    /// So many deliveries of a message may fail; -1: any number.
    pub delivery_limit: Option<i64>,
    /// Which messages that come back have to wait.
    pub retry: Option<Retry>,
    /// How long a message that was fetched is held unless the fetcher says otherwise.
    pub lease_ms: Option<u64>,
    /// Highest priority.
    pub max_priority: Option<u8>,
    /// A single active consumer.
    pub sac: bool,
    /// Messages of a group go one at a time.
    pub groups: bool,
    /// Of messages with the same value of this header only the last one stays.
    pub last_value: Option<Box<[u8]>>,
    /// How long and how many ids of messages are remembered.
    pub dedup: Option<DedupWindow>,
    /// Hand-outs are logged.
    pub track: bool,
}

/// What happens when a queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The oldest ready message dies.
    #[default]
    DropHead,
    /// The publisher is refused.
    Reject,
    /// The publisher is refused, and the message dies.
    RejectDl,
    /// The publisher has to wait.
    Block,
}

/// What happens to a dead message that cannot go where it should.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DlStrategy {
    /// It stays in its queue until it can.
    #[default]
    Retain,
    /// It is dropped.
    Drop,
}

/// How long messages that come back have to wait: `min_ms` for each failure, at most `max_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Which messages.
    pub which: RetryWhich,
    /// Milliseconds for each failed delivery.
    pub min_ms: u64,
    /// At most so many milliseconds.
    pub max_ms: u64,
}

/// Which messages that come back have to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryWhich {
    /// None.
    None,
    /// All.
    All,
    /// Those whose delivery failed.
    Failed,
    /// Those that were given back without a failure.
    Returned,
}

/// How long and how many ids of messages a queue remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DedupWindow {
    /// Milliseconds.
    pub ms: u64,
    /// Ids of all producers together.
    pub ids_max: u64,
}

impl DedupWindow {
    /// What holds in a queue that says nothing.
    pub const DEFAULT: DedupWindow = DedupWindow { ms: 300_000, ids_max: 100_000 };
}

/// What is in force in a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Only for the connection that declared it.
    pub exclusive: bool,
    /// It goes with its last consumer.
    pub auto_delete: bool,
    /// It goes when it was unused for so long.
    pub expires_ms: Option<u64>,
    /// Messages live so long.
    pub msg_ttl_ms: Option<u64>,
    /// So many messages may be ready.
    pub max_len: Option<u64>,
    /// Bodies of ready messages may come to so many bytes.
    pub max_bytes: Option<u64>,
    /// What happens above these limits.
    pub overflow: Overflow,
    /// The exchange for dead messages.
    pub dlx: Option<Box<[u8]>>,
    /// The routing key for dead messages instead of their own.
    pub dl_rkey: Option<Box<[u8]>>,
    /// What happens to a dead message that cannot go.
    pub dl_strategy: DlStrategy,
    /// So many deliveries of a message may fail; `None`: any number.
    pub delivery_limit: Option<u32>,
    /// Which messages that come back have to wait; `None`: none.
    pub retry: Option<Retry>,
    /// How long a message that was fetched is held unless the fetcher says otherwise.
    pub lease_ms: u64,
    /// Highest priority.
    pub max_priority: u8,
    /// A single active consumer.
    pub sac: bool,
    /// Messages of a group go one at a time.
    pub groups: bool,
    /// Of messages with the same value of this header only the last one stays.
    pub last_value: Option<Box<[u8]>>,
    /// How long and how many ids of messages are remembered.
    pub dedup: DedupWindow,
    /// Hand-outs are logged.
    pub track: bool,
}

impl Rules {
    /// Failures of a message after which it dies unless somebody says otherwise.
    pub const DELIVERY_LIMIT: u32 = 20;
    /// A message counts no more failures than this, so no limit is higher.
    pub const DELIVERY_LIMIT_MAX: u32 = u16::MAX as u32 - 1;
    /// Lease unless somebody says otherwise.
    pub const LEASE_MS: u64 = 30_000;

    /// What the declaration and the policies (those that win first) come to.
    ///
    /// Of limits and times the smallest one holds, whoever says it. Of what is no number, or where neither direction is
    /// the stricter one, the declaration wins over policies. What a queue is made of is up to the declaration alone:
    /// `exclusive`, `auto_delete`, `max_priority`, `sac`, `groups`, `last_value`, `track`.
    pub fn resolve(declared: &QueueOptions, policies: &[&QueueOptions]) -> Rules {
        let all = || std::iter::once(declared).chain(policies.iter().copied());
        let delivery_limit = all()
            .filter_map(|options| options.delivery_limit)
            .min_by_key(|limit| u64::try_from(*limit).unwrap_or(u64::MAX))
            .map_or(Some(Rules::DELIVERY_LIMIT), |limit| {
                u64::try_from(limit).ok().map(|limit| limit.min(u64::from(Rules::DELIVERY_LIMIT_MAX)) as u32)
            });
        Rules {
            exclusive: declared.exclusive,
            auto_delete: declared.auto_delete,
            expires_ms: all().filter_map(|options| options.expires_ms).min(),
            msg_ttl_ms: all().filter_map(|options| options.msg_ttl_ms).min(),
            max_len: all().filter_map(|options| options.max_len).min(),
            max_bytes: all().filter_map(|options| options.max_bytes).min(),
            overflow: all().find_map(|options| options.overflow).unwrap_or_default(),
            dlx: all().find_map(|options| options.dlx.clone()),
            dl_rkey: all().find_map(|options| options.dl_rkey.clone()),
            dl_strategy: all().find_map(|options| options.dl_strategy).unwrap_or_default(),
            delivery_limit,
            retry: all().find_map(|options| options.retry).filter(|retry| retry.which != RetryWhich::None),
            lease_ms: all().find_map(|options| options.lease_ms).unwrap_or(Rules::LEASE_MS),
            max_priority: declared.max_priority.unwrap_or(0),
            sac: declared.sac,
            groups: declared.groups,
            last_value: declared.last_value.clone(),
            dedup: all().find_map(|options| options.dedup).unwrap_or(DedupWindow::DEFAULT),
            track: declared.track,
        }
    }

    /// How long a message has to wait that comes back now, after so many failures in all; `None`: not at all.
    pub fn retry_delay_ms(&self, failed: bool, deliveries: u32) -> Option<u64> {
        let Retry { which, min_ms, max_ms } = self.retry?;
        let waits = match which {
            RetryWhich::None => false,
            RetryWhich::All => true,
            RetryWhich::Failed => failed,
            RetryWhich::Returned => !failed,
        };
        let delay_ms = min_ms.saturating_mul(u64::from(deliveries)).min(max_ms);
        (waits && delay_ms > 0).then_some(delay_ms)
    }

    /// Whether a message dies that failed so often, and why.
    pub fn is_too_often(&self, deliveries: u32) -> Option<DeathReason> {
        self.delivery_limit.filter(|limit| deliveries > *limit).map(|_| DeathReason::DeliveryLimit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smaller_limits_win_and_declared_names_win() {
        let declared = QueueOptions {
            max_len: Some(10),
            dlx: Some((*b"mine").into()),
            delivery_limit: Some(-1),
            ..QueueOptions::default()
        };
        let policy = QueueOptions {
            max_len: Some(3),
            max_bytes: Some(100),
            dlx: Some((*b"policy's").into()),
            dl_rkey: Some((*b"dead").into()),
            delivery_limit: Some(5),
            groups: true,
            ..QueueOptions::default()
        };
        let rules = Rules::resolve(&declared, &[&policy]);
        assert_eq!((rules.max_len, rules.max_bytes, rules.delivery_limit), (Some(3), Some(100), Some(5)));
        assert_eq!((rules.dlx.as_deref(), rules.dl_rkey.as_deref()), (Some(&b"mine"[..]), Some(&b"dead"[..])));
        assert!(!rules.groups);
        let rules = Rules::resolve(&declared, &[]);
        assert_eq!((rules.delivery_limit, rules.lease_ms, rules.overflow), (None, 30_000, Overflow::DropHead));
        assert_eq!(Rules::resolve(&QueueOptions::default(), &[]).delivery_limit, Some(20));
    }

    #[test]
    fn retries_wait_longer_with_each_failure_up_to_a_limit() {
        let retry = Some(Retry { which: RetryWhich::Failed, min_ms: 100, max_ms: 250 });
        let rules = Rules::resolve(&QueueOptions { retry, ..QueueOptions::default() }, &[]);
        let delays: Vec<_> = (0..4).map(|deliveries| rules.retry_delay_ms(true, deliveries)).collect();
        assert_eq!(delays, [None, Some(100), Some(200), Some(250)]);
        assert_eq!(rules.retry_delay_ms(false, 3), None);
        assert_eq!(rules.is_too_often(20), None);
        assert_eq!(rules.is_too_often(21), Some(DeathReason::DeliveryLimit));
    }
}
