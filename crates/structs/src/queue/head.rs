//! What a queue is beside its messages, as bytes: what it was told, and how far its ids have come.

use super::{Corrupt, DedupWindow, DlStrategy, MessageId, Overflow, Paused, QueueOptions, Retry, RetryWhich};
use crate::bytes::{Reader, put_bytes, put_option, put_varint};

/// The layout of everything that this module and those beside it write.
const VERSION: u8 = 1;

/// What a queue is beside its messages.
pub(super) struct Head {
    pub(super) options: QueueOptions,
    pub(super) paused: Paused,
    pub(super) created_ms: u64,
    pub(super) last: u64,
    pub(super) mark: u64,
}

impl Head {
    /// Reads what [`put_head`] wrote.
    pub(super) fn read(bytes: &[u8]) -> Result<Head, Corrupt> {
        let from = &mut Reader::new(bytes);
        let head = read(from).ok_or(Corrupt)?;
        let ids_are_good = head.mark <= head.last && head.last < MessageId::END.to_u64();
        if from.is_empty() && ids_are_good { Ok(head) } else { Err(Corrupt) }
    }
}

/// Writes a head.
pub(super) fn put_head(options: &QueueOptions, paused: Paused, created_ms: u64, last: u64, mark: u64) -> Vec<u8> {
    let mut head = vec![VERSION, paused.bits()];
    let to = &mut head;
    put_varint(to, created_ms);
    put_varint(to, last);
    put_varint(to, mark);
    let QueueOptions { exclusive, auto_delete, sac, groups, track, .. } = *options;
    let said = [exclusive, auto_delete, sac, groups, track];
    to.push(said.iter().enumerate().fold(0, |bits, (bit, &is_set)| bits | u8::from(is_set) << bit));
    for number in [options.expires_ms, options.msg_ttl_ms, options.max_len, options.max_bytes, options.lease_ms] {
        put_option(to, number, put_varint);
    }
    put_option(to, options.overflow, |to, overflow| to.push(overflow as u8));
    put_option(to, options.dlx.as_deref(), put_bytes);
    put_option(to, options.dl_rkey.as_deref(), put_bytes);
    put_option(to, options.dl_strategy, |to, strategy| to.push(strategy as u8));
    put_option(to, options.delivery_limit, |to, limit| put_varint(to, limit as u64));
    put_option(to, options.retry, |to, retry| {
        to.push(retry.which as u8);
        put_varint(to, retry.min_ms);
        put_varint(to, retry.max_ms);
    });
    put_option(to, options.max_priority, |to, priority| to.push(priority));
    put_option(to, options.last_value.as_deref(), put_bytes);
    put_option(to, options.dedup, |to, window| {
        put_varint(to, window.ms);
        put_varint(to, window.ids_max);
    });
    head
}

fn read(from: &mut Reader<'_>) -> Option<Head> {
    if from.byte()? != VERSION {
        return None;
    }
    let paused = Paused::from_bits(from.byte()?)?;
    let (created_ms, last, mark) = (from.varint()?, from.varint()?, from.varint()?);
    let said = from.byte()?;
    if said >= 1 << 5 {
        return None;
    }
    let says = |bit: u32| said >> bit & 1 == 1;
    let name = |from: &mut Reader<'_>| Some(Box::from(from.bytes()?));
    let options = QueueOptions {
        exclusive: says(0),
        auto_delete: says(1),
        sac: says(2),
        groups: says(3),
        track: says(4),
        expires_ms: from.option(Reader::varint)?,
        msg_ttl_ms: from.option(Reader::varint)?,
        max_len: from.option(Reader::varint)?,
        max_bytes: from.option(Reader::varint)?,
        lease_ms: from.option(Reader::varint)?,
        overflow: from.option(|from| {
            [Overflow::DropHead, Overflow::Reject, Overflow::RejectDl, Overflow::Block]
                .get(usize::from(from.byte()?))
                .copied()
        })?,
        dlx: from.option(name)?,
        dl_rkey: from.option(name)?,
        dl_strategy: from
            .option(|from| [DlStrategy::Retain, DlStrategy::Drop].get(usize::from(from.byte()?)).copied())?,
        delivery_limit: from.option(|from| Some(from.varint()? as i64))?,
        retry: from.option(|from| {
            let which = [RetryWhich::None, RetryWhich::All, RetryWhich::Failed, RetryWhich::Returned];
            let which = *which.get(usize::from(from.byte()?))?;
            Some(Retry { which, min_ms: from.varint()?, max_ms: from.varint()? })
        })?,
        max_priority: from.option(Reader::byte)?,
        last_value: from.option(name)?,
        dedup: from.option(|from| Some(DedupWindow { ms: from.varint()?, ids_max: from.varint()? }))?,
    };
    Some(Head { options, paused, created_ms, last, mark })
}
