//! What commands of the broker have in common: options of messages and of queues, and counted words.

use crate::command::args::{Words, int};
use crate::command::error::Error;
use weir_structs::number::parse_u64;
use weir_structs::queue::{DedupWindow, DlStrategy, Overflow, QueueOptions, Retry, RetryWhich, When};

/// A message has at most so many headers, and so many further routing keys.
const HEADERS_MAX: usize = 1024;
const CC_MAX: usize = 1024;
/// The longest time that anything may take, in ms: a hundred years.
const MS_MAX: u64 = 100 * 366 * 24 * 3600 * 1000;
/// The longest routing key, in bytes.
pub(super) const RKEY_BYTES_MAX: usize = 255;

/// Names and what they stand for.
pub(super) type Pairs<'a> = Vec<(&'a [u8], &'a [u8])>;

/// What to do where a queue is full.
pub(super) const OVERFLOWS: &[(&str, Overflow)] = &[
    ("drophead", Overflow::DropHead),
    ("reject", Overflow::Reject),
    ("rejectdl", Overflow::RejectDl),
    ("block", Overflow::Block),
];

/// What to do with dead letters that nobody takes.
pub(super) const STRATEGIES: &[(&str, DlStrategy)] = &[("retain", DlStrategy::Retain), ("drop", DlStrategy::Drop)];

/// Which messages wait before they are tried again.
pub(super) const RETRIES: &[(&str, RetryWhich)] = &[
    ("none", RetryWhich::None),
    ("all", RetryWhich::All),
    ("failed", RetryWhich::Failed),
    ("returned", RetryWhich::Returned),
];

/// What a word stands for, in any case.
pub(super) fn named<T: Copy>(names: &[(&str, T)], word: &[u8]) -> Result<T, Error> {
    let found = names.iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()));
    found.map(|(_, it)| *it).ok_or(Error::SYNTAX)
}

/// By which word something is known.
pub(super) fn name_of<T: Copy + PartialEq>(names: &[(&'static str, T)], of: T) -> &'static str {
    names.iter().find(|(_, it)| *it == of).map_or("", |(name, _)| name)
}

/// A whole number from 0 on.
pub(super) fn number(word: &[u8]) -> Result<u64, Error> {
    match parse_u64(word) {
        Some(number) => Ok(number),
        None => int(word).and(Err(Error::MQ_NEGATIVE)),
    }
}

/// A duration in ms.
pub(super) fn ms(word: &[u8]) -> Result<u64, Error> {
    number(word).and_then(|ms| if ms > MS_MAX { Err(Error::MQ_TOO_LONG) } else { Ok(ms) })
}

/// So many words as the next one says.
pub(super) fn counted<'a>(words: &mut Words<'a>, max: usize) -> Result<Vec<&'a [u8]>, Error> {
    let count = usize::try_from(number(words.expect()?)?).unwrap_or(usize::MAX);
    if count > words.left() {
        return Err(Error::SYNTAX);
    }
    if count > max {
        return Err(Error::MQ_TOO_MANY);
    }
    words.take(count).map(Ok).collect()
}

/// Pairs of words, of which the next word says how many they are.
pub(super) fn pairs<'a>(words: &mut Words<'a>) -> Result<Pairs<'a>, Error> {
    let count = usize::try_from(number(words.expect()?)?).unwrap_or(usize::MAX);
    if count > words.left() / 2 {
        return Err(Error::SYNTAX);
    }
    if count > HEADERS_MAX {
        return Err(Error::MQ_TOO_MANY);
    }
    let mut found = Vec::with_capacity(count);
    for _ in 0..count {
        found.push((words.expect()?, words.expect()?));
    }
    Ok(found)
}

/// When a publisher has its reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Confirm {
    /// When the message is on disk.
    Fsync,
    /// When so many replicas have it, or so many ms are over.
    Replicas(u64, u64),
}

/// Options of a message.
#[derive(Clone, Debug, Default)]
pub(super) struct PubOptions<'a> {
    pub(super) headers: Pairs<'a>,
    pub(super) cc: Vec<&'a [u8]>,
    pub(super) priority: u8,
    pub(super) ttl_ms: Option<u64>,
    pub(super) when: When,
    pub(super) group: Option<&'a [u8]>,
    pub(super) idmp: Option<(&'a [u8], &'a [u8])>,
    pub(super) reply_to: Option<&'a [u8]>,
    pub(super) correlation: Option<&'a [u8]>,
    pub(super) mandatory: bool,
    pub(super) all_or_none: bool,
    pub(super) confirm: Option<Confirm>,
    pub(super) with_ids: bool,
}

impl<'a> PubOptions<'a> {
    /// All words that are left.
    pub(super) fn parse(words: &mut Words<'a>, now_ms: u64) -> Result<PubOptions<'a>, Error> {
        let mut options = PubOptions::default();
        let mut delayed = false;
        while let Some(word) = words.next() {
            let mut upper = [0; 16];
            let upper = upper.get_mut(..word.len()).ok_or(Error::SYNTAX)?;
            upper.copy_from_slice(word);
            upper.make_ascii_uppercase();
            match &*upper {
                b"HEADERS" => options.headers = pairs(words)?,
                b"CC" => {
                    options.cc = counted(words, CC_MAX)?;
                    if options.cc.iter().any(|key| key.len() > RKEY_BYTES_MAX) {
                        return Err(Error::MQ_RKEY_TOO_LONG);
                    }
                }
                b"PRIORITY" => {
                    options.priority = u8::try_from(number(words.expect()?)?).map_err(|_| Error::MQ_PRIORITY)?;
                }
                b"TTL" => options.ttl_ms = Some(ms(words.expect()?)?),
                b"DELAY" | b"AT" | b"HOLD" => {
                    if std::mem::replace(&mut delayed, true) {
                        return Err(Error::SYNTAX);
                    }
                    options.when = match &*upper {
                        b"DELAY" => match ms(words.expect()?)? {
                            0 => When::Now,
                            delay_ms => When::At(now_ms.saturating_add(delay_ms)),
                        },
                        b"AT" => {
                            let at_ms = number(words.expect()?)?;
                            if at_ms > now_ms.saturating_add(MS_MAX) {
                                return Err(Error::MQ_TOO_LONG);
                            }
                            if at_ms <= now_ms { When::Now } else { When::At(at_ms) }
                        }
                        _ => When::Held { until_ms: now_ms.saturating_add(ms(words.expect()?)?) },
                    };
                }
                b"GROUP" => options.group = Some(not_empty(words.expect()?)?),
                b"IDMP" => options.idmp = Some((not_empty(words.expect()?)?, not_empty(words.expect()?)?)),
                b"REPLYTO" => options.reply_to = Some(words.expect()?),
                b"CORR" => options.correlation = Some(words.expect()?),
                b"MANDATORY" => options.mandatory = true,
                b"ALLORNONE" => options.all_or_none = true,
                b"WITHIDS" => options.with_ids = true,
                b"CONFIRM" => {
                    options.confirm = Some(if words.accept("FSYNC") {
                        Confirm::Fsync
                    } else if words.accept("REPLICAS") {
                        Confirm::Replicas(number(words.expect()?)?, ms(words.expect()?)?)
                    } else {
                        return Err(Error::SYNTAX);
                    });
                }
                _ => return Err(Error::SYNTAX),
            }
        }
        Ok(options)
    }
}

fn not_empty(word: &[u8]) -> Result<&[u8], Error> {
    if word.is_empty() { Err(Error::SYNTAX) } else { Ok(word) }
}

/// A routing key, which is not too long.
pub(super) fn rkey(word: &[u8]) -> Result<&[u8], Error> {
    if word.len() > RKEY_BYTES_MAX { Err(Error::MQ_RKEY_TOO_LONG) } else { Ok(word) }
}

/// Takes one option of a queue that a policy may set too. Says whether it was one.
pub(super) fn take_rule(options: &mut QueueOptions, name: &[u8], words: &mut Words<'_>) -> Result<bool, Error> {
    let mut upper = [0; 16];
    let Some(upper) = upper.get_mut(..name.len()) else { return Ok(false) };
    upper.copy_from_slice(name);
    upper.make_ascii_uppercase();
    match &*upper {
        b"EXPIRES" => match ms(words.expect()?)? {
            0 => return Err(Error::MQ_ZERO),
            expires_ms => options.expires_ms = Some(expires_ms),
        },
        b"MSGTTL" => options.msg_ttl_ms = Some(ms(words.expect()?)?),
        b"MAXLEN" => options.max_len = Some(number(words.expect()?)?),
        b"MAXBYTES" => options.max_bytes = Some(number(words.expect()?)?),
        b"OVERFLOW" => options.overflow = Some(named(OVERFLOWS, words.expect()?)?),
        b"DLX" => options.dlx = Some(words.expect()?.into()),
        b"DLRK" => options.dl_rkey = Some(rkey(words.expect()?)?.into()),
        b"DLSTRATEGY" => options.dl_strategy = Some(named(STRATEGIES, words.expect()?)?),
        b"DELIVERYLIMIT" => match int(words.expect()?)? {
            limit @ -1..=0x7fff_ffff => options.delivery_limit = Some(limit),
            _ => return Err(Error::MQ_DELIVERY_LIMIT),
        },
        b"RETRY" => {
            let which = named(RETRIES, words.expect()?)?;
            let retry = Retry { which, min_ms: ms(words.expect()?)?, max_ms: ms(words.expect()?)? };
            if retry.min_ms > retry.max_ms {
                return Err(Error::MQ_RETRY);
            }
            options.retry = Some(retry);
        }
        b"LEASE" => match ms(words.expect()?)? {
            0 => return Err(Error::MQ_ZERO),
            lease_ms => options.lease_ms = Some(lease_ms),
        },
        _ => return Ok(false),
    }
    Ok(true)
}

/// All options with which a queue is declared. Says whether it only asks whether there is one.
pub(super) fn queue_options(words: &mut Words<'_>) -> Result<(QueueOptions, bool), Error> {
    let (mut options, mut passive) = (QueueOptions::default(), false);
    while let Some(name) = words.next() {
        if take_rule(&mut options, name, words)? {
            continue;
        }
        match name.to_ascii_uppercase().as_slice() {
            b"EXCLUSIVE" => options.exclusive = true,
            b"AUTODELETE" => options.auto_delete = true,
            b"SAC" => options.sac = true,
            b"GROUPS" => options.groups = true,
            b"PASSIVE" => passive = true,
            b"MAXPRIORITY" => {
                options.max_priority = Some(u8::try_from(number(words.expect()?)?).map_err(|_| Error::MQ_PRIORITY)?);
            }
            b"LASTVALUE" => options.last_value = Some(not_empty(words.expect()?)?.into()),
            b"DEDUP" => {
                options.dedup = Some(DedupWindow { ms: ms(words.expect()?)?, ids_max: number(words.expect()?)? });
            }
            b"TRACK" => options.track = yes_or_no(words.expect()?)?,
            _ => return Err(Error::SYNTAX),
        }
    }
    if options.groups && options.last_value.is_some() {
        return Err(Error::mq_precondition("GROUPS and LASTVALUE exclude each other"));
    }
    Ok((options, passive))
}

/// `yes` or `no`.
pub(super) fn yes_or_no(word: &[u8]) -> Result<bool, Error> {
    match word.to_ascii_lowercase().as_slice() {
        b"yes" => Ok(true),
        b"no" => Ok(false),
        _ => Err(Error::SYNTAX),
    }
}
