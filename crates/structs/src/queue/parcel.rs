//! A message as it was published: one block of bytes, shared by all queues that have it.
//!
//! ```text
//!  flags 1 │ lengths of exchange and routing key, 1 each │ publication 6 │ exchange │ routing key │ body
//!
//!  with WIDE, lengths are of 8 bytes each; with EXTRAS, there is between routing key and body:
//!  length 8 │ reply-to, correlation, group: length, bytes, if flagged │ number of CC │ each │ number of headers │ each
//! ```
//!
//! A plain message is 9 bytes longer than its exchange, routing key and body. Numbers within the extras are varints.
//!
//! What must stay true: whatever a parcel is made of was written by [`Parcel::new`] or checked by
//! [`Parcel::from_bytes`] to the last byte, so that reading it cannot fail.

use std::fmt;
use std::sync::Arc;

use crate::bytes::{Reader, put_bytes, put_varint, varint_len};

/// Lengths of exchange and routing key take 8 bytes each, not one.
const WIDE: u8 = 1;
/// There are extras.
const EXTRAS: u8 = 2;
const REPLY_TO: u8 = 4;
const CORRELATION: u8 = 8;
const GROUP: u8 = 16;
/// All of them.
const KNOWN_FLAGS: u8 = WIDE | EXTRAS | REPLY_TO | CORRELATION | GROUP;

/// Bytes of the time of publication.
const TS_BYTES: usize = 6;
/// Latest time of publication; later ones count as this.
const TS_MS_MAX: u64 = (1 << (8 * TS_BYTES)) - 1;
/// What a shared block takes besides its bytes: two counters.
const SHARED_BYTES: usize = 2 * size_of::<usize>();

/// What a message is made of. Everything may be any bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Envelope<'a> {
    /// The exchange to which it was published.
    pub exchange: &'a [u8],
    /// Its routing key.
    pub rkey: &'a [u8],
    /// Further routing keys.
    pub cc: &'a [&'a [u8]],
    /// Names and values of its headers.
    pub headers: &'a [(&'a [u8], &'a [u8])],
    /// The group whose messages go one at a time.
    pub group: Option<&'a [u8]>,
    /// Where an answer should go.
    pub reply_to: Option<&'a [u8]>,
    /// What an answer should be known by.
    pub correlation: Option<&'a [u8]>,
    /// When it was published, Unix milliseconds; what does not fit in 48 bits counts as the latest time that does.
    pub ts_ms: u64,
    /// What it is about.
    pub body: &'a [u8],
}

/// A message as it was published. A clone is the same block.
#[derive(Clone, PartialEq, Eq)]
pub struct Parcel(Arc<[u8]>);

impl Parcel {
    /// Writes a message into one block. One allocation.
    pub fn new(envelope: &Envelope<'_>) -> Parcel {
        let Envelope { exchange, rkey, cc, headers, group, reply_to, correlation, ts_ms, body } = *envelope;
        let is_wide = exchange.len() > usize::from(u8::MAX) || rkey.len() > usize::from(u8::MAX);
        let options = [(reply_to, REPLY_TO), (correlation, CORRELATION), (group, GROUP)];
        let mut flags = if is_wide { WIDE } else { 0 };
        let mut extras_len = 0;
        for (text, flag) in options {
            if let Some(text) = text {
                flags |= flag;
                extras_len += bytes_len(text);
            }
        }
        if flags & !WIDE != 0 || !cc.is_empty() || !headers.is_empty() {
            flags |= EXTRAS;
            extras_len += varint_len(cc.len() as u64) + cc.iter().map(|rkey| bytes_len(rkey)).sum::<usize>();
            extras_len += varint_len(headers.len() as u64);
            extras_len += headers.iter().map(|(name, value)| bytes_len(name) + bytes_len(value)).sum::<usize>();
        }
        let has_extras = flags & EXTRAS != 0;
        let head_len = 1 + if is_wide { 16 } else { 2 } + TS_BYTES;
        let len = head_len + exchange.len() + rkey.len() + if has_extras { 8 + extras_len } else { 0 } + body.len();

        // Filled with zeros first: the only way to a block of that length that is shared from the start.
        let mut block: Arc<[u8]> = std::iter::repeat_n(0, len).collect();
        let mut to = Arc::get_mut(&mut block).expect("nobody else has it yet");
        let mut put = |bytes: &[u8]| {
            let (head, rest) = std::mem::take(&mut to).split_at_mut(bytes.len());
            head.copy_from_slice(bytes);
            to = rest;
        };
        put(&[flags]);
        match is_wide {
            true => {
                put(&(exchange.len() as u64).to_le_bytes());
                put(&(rkey.len() as u64).to_le_bytes());
            }
            false => put(&[exchange.len() as u8, rkey.len() as u8]),
        }
        put(&ts_ms.min(TS_MS_MAX).to_le_bytes()[..TS_BYTES]);
        put(exchange);
        put(rkey);
        if has_extras {
            let mut extras = Vec::with_capacity(extras_len);
            options.iter().filter_map(|(text, _)| *text).for_each(|text| put_bytes(&mut extras, text));
            put_varint(&mut extras, cc.len() as u64);
            cc.iter().for_each(|rkey| put_bytes(&mut extras, rkey));
            put_varint(&mut extras, headers.len() as u64);
            for (name, value) in headers {
                put_bytes(&mut extras, name);
                put_bytes(&mut extras, value);
            }
            debug_assert_eq!(extras.len(), extras_len);
            put(&(extras_len as u64).to_le_bytes());
            put(&extras);
        }
        put(body);
        debug_assert!(to.is_empty());
        Parcel(block)
    }

    /// Reads what [`Parcel::as_bytes`] gave. Everything is checked; `None` if anything is not as it should be. Allocates
    /// as much as there is.
    pub fn from_bytes(bytes: &[u8]) -> Option<Parcel> {
        let layout = Layout::checked(bytes)?;
        if let Some(extras) = layout.extras {
            let mut reader = Reader::new(bytes.get(extras.0..extras.1)?);
            for flag in [REPLY_TO, CORRELATION, GROUP] {
                if bytes[0] & flag != 0 {
                    reader.bytes()?;
                }
            }
            for _ in 0..reader.varint()? {
                reader.bytes()?;
            }
            for _ in 0..reader.varint()? {
                reader.bytes()?;
                reader.bytes()?;
            }
            if !reader.is_empty() {
                return None;
            }
        }
        Some(Parcel(bytes.into()))
    }

    /// The whole block.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The exchange to which it was published. O(1).
    pub fn exchange(&self) -> &[u8] {
        let layout = Layout::of(&self.0);
        &self.0[layout.exchange..layout.rkey]
    }

    /// Its routing key. O(1).
    pub fn rkey(&self) -> &[u8] {
        let layout = Layout::of(&self.0);
        &self.0[layout.rkey..layout.rkey_end]
    }

    /// What it is about. O(1).
    #[inline]
    pub fn body(&self) -> &[u8] {
        &self.0[Layout::of(&self.0).body..]
    }

    /// When it was published, Unix milliseconds. O(1).
    pub fn ts_ms(&self) -> u64 {
        let layout = Layout::of(&self.0);
        let mut ts_ms = [0; 8];
        ts_ms[..TS_BYTES].copy_from_slice(&self.0[layout.exchange - TS_BYTES..layout.exchange]);
        u64::from_le_bytes(ts_ms)
    }

    /// The group whose messages go one at a time. O(1).
    pub fn group(&self) -> Option<&[u8]> {
        self.option(GROUP)
    }

    /// Where an answer should go. O(1).
    pub fn reply_to(&self) -> Option<&[u8]> {
        self.option(REPLY_TO)
    }

    /// What an answer should be known by. O(1).
    pub fn correlation(&self) -> Option<&[u8]> {
        self.option(CORRELATION)
    }

    /// Further routing keys. O(1) for the first.
    pub fn cc(&self) -> impl Iterator<Item = &[u8]> {
        let mut reader = self.behind_options();
        let count = reader.varint().unwrap_or(0);
        (0..count).map_while(move |_| reader.bytes())
    }

    /// Names and values of its headers, as they were given. O(number of CC) for the first.
    pub fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut reader = self.behind_options();
        let cc = reader.varint().unwrap_or(0);
        for _ in 0..cc {
            reader.bytes();
        }
        let count = reader.varint().unwrap_or(0);
        (0..count).map_while(move |_| Some((reader.bytes()?, reader.bytes()?)))
    }

    /// The value of a header, of the first one with the name. O(number of headers).
    pub fn header(&self, name: &[u8]) -> Option<&[u8]> {
        self.headers().find(|(own, _)| *own == name).map(|(_, value)| value)
    }

    /// Length of the block.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "it never is")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Length of the body. O(1).
    #[inline]
    pub fn body_len(&self) -> usize {
        self.0.len() - Layout::of(&self.0).body
    }

    /// How many have this block, the asker included.
    pub fn shared_by(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// Whether both are the same block.
    pub fn is_same(&self, other: &Parcel) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// What the block takes on the heap.
    #[inline]
    pub fn memory_bytes(&self) -> usize {
        SHARED_BYTES + self.0.len()
    }

    fn option(&self, wanted: u8) -> Option<&[u8]> {
        let flags = self.0[0];
        if flags & wanted == 0 {
            return None;
        }
        let mut reader = self.extras();
        for flag in [REPLY_TO, CORRELATION, GROUP] {
            if flags & flag != 0 {
                let text = reader.bytes();
                if flag == wanted {
                    return text;
                }
            }
        }
        None
    }

    fn extras(&self) -> Reader<'_> {
        let (from, to) = Layout::of(&self.0).extras.unwrap_or((0, 0));
        Reader::new(&self.0[from..to])
    }

    fn behind_options(&self) -> Reader<'_> {
        let mut reader = self.extras();
        let options = (self.0[0] & (REPLY_TO | CORRELATION | GROUP)).count_ones();
        for _ in 0..options {
            reader.bytes();
        }
        reader
    }
}

impl fmt::Debug for Parcel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parcel")
            .field("exchange", &String::from_utf8_lossy(self.exchange()))
            .field("rkey", &String::from_utf8_lossy(self.rkey()))
            .field("body_len", &self.body_len())
            .finish()
    }
}

fn bytes_len(bytes: &[u8]) -> usize {
    varint_len(bytes.len() as u64) + bytes.len()
}

/// Where what begins.
struct Layout {
    exchange: usize,
    rkey: usize,
    rkey_end: usize,
    /// From where to where the extras are.
    extras: Option<(usize, usize)>,
    body: usize,
}

impl Layout {
    /// Of a block that is as it should be.
    #[inline]
    fn of(block: &[u8]) -> Layout {
        let flags = block[0];
        if flags & (WIDE | EXTRAS) == 0 {
            let exchange = 3 + TS_BYTES;
            let rkey = exchange + usize::from(block[1]);
            let body = rkey + usize::from(block[2]);
            return Layout { exchange, rkey, rkey_end: body, extras: None, body };
        }
        Layout::checked(block).expect("a parcel was checked when it was made")
    }

    /// Of any bytes. What is within the extras is not looked at.
    fn checked(block: &[u8]) -> Option<Layout> {
        let flags = *block.first()?;
        let (exchange_len, rkey_len, exchange) = match flags & WIDE {
            0 => (usize::from(*block.get(1)?), usize::from(*block.get(2)?), 3 + TS_BYTES),
            _ => (length(block, 1)?, length(block, 9)?, 17 + TS_BYTES),
        };
        let rkey = exchange.checked_add(exchange_len)?;
        let rkey_end = rkey.checked_add(rkey_len)?;
        let extras = match flags & EXTRAS {
            0 => None,
            _ => {
                let from = rkey_end.checked_add(8)?;
                Some((from, from.checked_add(length(block, rkey_end)?)?))
            }
        };
        let body = extras.map_or(rkey_end, |(_, to)| to);
        let is_known = flags & !KNOWN_FLAGS == 0;
        let says_extras = extras.is_some() || flags & !WIDE == 0;
        (is_known && says_extras && body <= block.len()).then_some(Layout { exchange, rkey, rkey_end, extras, body })
    }
}

/// The length of 8 bytes at a place.
fn length(block: &[u8], at: usize) -> Option<usize> {
    let bytes = block.get(at..at.checked_add(8)?)?;
    usize::try_from(u64::from_le_bytes(bytes.try_into().ok()?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Parcel {
        Parcel::new(&Envelope {
            exchange: b"events",
            rkey: b"order.created",
            cc: &[b"one", b""],
            headers: &[(b"kind", b"a"), (b"", b""), (b"kind", b"b")],
            group: Some(b"customer 7"),
            reply_to: Some(b"token"),
            correlation: Some(b""),
            ts_ms: 1_790_000_000_123,
            body: b"the body",
        })
    }

    #[test]
    fn all_parts_come_back() {
        let parcel = full();
        for parcel in [parcel.clone(), Parcel::from_bytes(parcel.as_bytes()).unwrap()] {
            assert_eq!(parcel.exchange(), b"events");
            assert_eq!(parcel.rkey(), b"order.created");
            assert_eq!(parcel.cc().collect::<Vec<_>>(), [&b"one"[..], b""]);
            let headers: Vec<_> = parcel.headers().collect();
            assert_eq!(headers, [(&b"kind"[..], &b"a"[..]), (b"", b""), (b"kind", b"b")]);
            assert_eq!(parcel.header(b"kind"), Some(&b"a"[..]));
            assert_eq!(parcel.header(b"none"), None);
            assert_eq!(parcel.group(), Some(&b"customer 7"[..]));
            assert_eq!(parcel.reply_to(), Some(&b"token"[..]));
            assert_eq!(parcel.correlation(), Some(&b""[..]));
            assert_eq!(parcel.ts_ms(), 1_790_000_000_123);
            assert_eq!((parcel.body(), parcel.body_len()), (&b"the body"[..], 8));
        }
    }

    #[test]
    fn a_plain_message_is_nine_bytes_longer_than_its_parts() {
        let parcel =
            Parcel::new(&Envelope { rkey: b"orders", body: &[7; 128], ts_ms: u64::MAX, ..Envelope::default() });
        assert_eq!(parcel.len(), 9 + 6 + 128);
        assert_eq!((parcel.exchange(), parcel.rkey(), parcel.body_len()), (&b""[..], &b"orders"[..], 128));
        assert_eq!((parcel.cc().count(), parcel.headers().count(), parcel.group()), (0, 0, None));
        assert_eq!(parcel.ts_ms(), TS_MS_MAX);
        let long = vec![b'x'; 300];
        let parcel = Parcel::new(&Envelope { exchange: &long, body: b"b", ..Envelope::default() });
        assert_eq!((parcel.exchange(), parcel.rkey(), parcel.body()), (&long[..], &b""[..], &b"b"[..]));
        assert!(Parcel::from_bytes(parcel.as_bytes()).unwrap() == parcel);
    }

    #[test]
    fn bytes_of_any_kind_are_read_or_refused() {
        let parcel = full();
        let bytes = parcel.as_bytes();
        let body_from = bytes.len() - parcel.body_len();
        for len in 0..bytes.len() {
            assert_eq!(Parcel::from_bytes(&bytes[..len]).is_some(), len >= body_from, "cut at {len}");
        }
        let mut rng = crate::testing::Rng::new(5);
        for _ in 0..200_000 {
            let mut mutated = bytes.to_vec();
            for _ in 0..=rng.below(3) {
                let at = rng.below(mutated.len());
                mutated[at] = if rng.below(2) == 0 { 0xFF } else { rng.next() as u8 };
            }
            if let Some(parcel) = Parcel::from_bytes(&mutated) {
                let headers: usize = parcel.headers().map(|(name, value)| name.len() + value.len()).sum();
                let texts = [parcel.group(), parcel.reply_to(), parcel.correlation()];
                let texts: usize = texts.iter().flatten().map(|text| text.len()).sum();
                let cc: usize = parcel.cc().map(<[u8]>::len).sum();
                let own = parcel.exchange().len() + parcel.rkey().len() + parcel.body_len();
                assert!(headers + texts + cc + own < mutated.len());
            }
        }
    }
}
