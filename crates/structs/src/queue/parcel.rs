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
//! A parcel whose body is elsewhere has a block of its own up to the body, and the place of the rest ([`BodyPlace`]).
//!
//! What must stay true: whatever a parcel is made of was written by [`Parcel::new`] or checked by
//! [`Parcel::from_bytes`] to the last byte, so that reading it cannot fail.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::away::{BodyPlace, NotRead, Wait};
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
#[derive(Clone)]
pub struct Parcel(Form);

#[derive(Clone)]
enum Form {
    Here(Arc<[u8]>),
    Away(Arc<Away>),
}

/// A parcel whose body is not in memory.
struct Away {
    /// The block up to the body.
    head: Box<[u8]>,
    body: BodyPlace,
}

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
        Parcel(Form::Here(block))
    }

    /// Reads what [`Parcel::bytes`] gave. Everything is checked; `None` if anything is not as it should be. Allocates
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
        Some(Parcel(Form::Here(bytes.into())))
    }

    /// The same message with its body elsewhere.
    pub fn with_body_at(&self, body: BodyPlace) -> Parcel {
        debug_assert_eq!(body.len(), self.body_len());
        let head = self.head();
        let head = head.get(..Layout::of(head).body).unwrap_or(head).into();
        Parcel(Form::Away(Arc::new(Away { head, body })))
    }

    /// The same message with its body in memory. A parcel whose body is there is itself.
    ///
    /// # Errors
    /// The body could not be read.
    pub fn with_body_here(&self, wait: Wait) -> Result<Parcel, NotRead> {
        let Form::Away(away) = &self.0 else { return Ok(self.clone()) };
        let len = away.head.len() + away.body.len();
        let mut block: Arc<[u8]> = std::iter::repeat_n(0, len).collect();
        let to = Arc::get_mut(&mut block).expect("nobody else has it yet");
        away.read(to, wait)?;
        Ok(Parcel(Form::Here(block)))
    }

    /// Whether its body is elsewhere.
    #[inline]
    pub fn is_away(&self) -> bool {
        matches!(self.0, Form::Away(_))
    }

    /// The whole block.
    ///
    /// # Errors
    /// The body is elsewhere and could not be read.
    pub fn bytes(&self, wait: Wait) -> Result<Cow<'_, [u8]>, NotRead> {
        match &self.0 {
            Form::Here(block) => Ok(Cow::Borrowed(block)),
            Form::Away(away) => {
                let mut block = vec![0; away.head.len() + away.body.len()];
                away.read(&mut block, wait)?;
                Ok(Cow::Owned(block))
            }
        }
    }

    /// The block, as far as it is in memory: what is not the body is there.
    #[inline]
    fn head(&self) -> &[u8] {
        match &self.0 {
            Form::Here(block) => block,
            Form::Away(away) => &away.head,
        }
    }

    /// The exchange to which it was published. O(1).
    pub fn exchange(&self) -> &[u8] {
        let block = self.head();
        let layout = Layout::of(block);
        &block[layout.exchange..layout.rkey]
    }

    /// Its routing key. O(1).
    pub fn rkey(&self) -> &[u8] {
        let block = self.head();
        let layout = Layout::of(block);
        &block[layout.rkey..layout.rkey_end]
    }

    /// What it is about. O(1) if that is in memory.
    ///
    /// # Errors
    /// It is elsewhere and could not be read.
    #[inline]
    pub fn body(&self, wait: Wait) -> Result<Cow<'_, [u8]>, NotRead> {
        match &self.0 {
            Form::Here(block) => Ok(Cow::Borrowed(&block[Layout::of(block).body..])),
            Form::Away(away) => {
                let mut body = vec![0; away.body.len()];
                away.body.read(&mut body, wait)?;
                Ok(Cow::Owned(body))
            }
        }
    }

    /// What it is about, if that is in memory. O(1).
    #[inline]
    pub fn body_here(&self) -> Option<&[u8]> {
        match &self.0 {
            Form::Here(block) => Some(&block[Layout::of(block).body..]),
            Form::Away(_) => None,
        }
    }

    /// When it was published, Unix milliseconds. O(1).
    pub fn ts_ms(&self) -> u64 {
        let block = self.head();
        let layout = Layout::of(block);
        let mut ts_ms = [0; 8];
        ts_ms[..TS_BYTES].copy_from_slice(&block[layout.exchange - TS_BYTES..layout.exchange]);
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

    /// Length of the block, wherever its body is.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "it never is")]
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Here(block) => block.len(),
            Form::Away(away) => away.head.len() + away.body.len(),
        }
    }

    /// Length of the body. O(1).
    #[inline]
    pub fn body_len(&self) -> usize {
        match &self.0 {
            Form::Here(block) => block.len() - Layout::of(block).body,
            Form::Away(away) => away.body.len(),
        }
    }

    /// How many have this block, the asker included.
    pub fn shared_by(&self) -> usize {
        match &self.0 {
            Form::Here(block) => Arc::strong_count(block),
            Form::Away(away) => Arc::strong_count(away),
        }
    }

    /// Where the block is in memory. As long as it is shared, no other one has the same.
    pub fn address(&self) -> usize {
        match &self.0 {
            Form::Here(block) => Arc::as_ptr(block).addr(),
            Form::Away(away) => Arc::as_ptr(away).addr(),
        }
    }

    /// Whether both are the same block.
    pub fn is_same(&self, other: &Parcel) -> bool {
        match (&self.0, &other.0) {
            (Form::Here(one), Form::Here(other)) => Arc::ptr_eq(one, other),
            (Form::Away(one), Form::Away(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }

    /// What it takes on the heap.
    #[inline]
    pub fn memory_bytes(&self) -> usize {
        SHARED_BYTES
            + match &self.0 {
                Form::Here(block) => block.len(),
                Form::Away(away) => size_of::<Away>() + away.head.len(),
            }
    }

    fn option(&self, wanted: u8) -> Option<&[u8]> {
        let flags = self.head()[0];
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
        let block = self.head();
        let (from, to) = Layout::of(block).extras.unwrap_or((0, 0));
        Reader::new(&block[from..to])
    }

    fn behind_options(&self) -> Reader<'_> {
        let mut reader = self.extras();
        let options = (self.head()[0] & (REPLY_TO | CORRELATION | GROUP)).count_ones();
        for _ in 0..options {
            reader.bytes();
        }
        reader
    }
}

impl Away {
    /// Writes the whole block.
    fn read(&self, to: &mut [u8], wait: Wait) -> Result<(), NotRead> {
        let (head, body) = to.split_at_mut(self.head.len());
        head.copy_from_slice(&self.head);
        self.body.read(body, wait)
    }
}

/// Whether both are the same message, wherever its bodies are; one that cannot be read is like no other.
impl PartialEq for Parcel {
    fn eq(&self, other: &Parcel) -> bool {
        let both = self.bytes(Wait::UntilRead).and_then(|own| Ok(own == other.bytes(Wait::UntilRead)?));
        self.is_same(other) || both == Ok(true)
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
    use super::super::away::testing::FileInMemory;
    use super::*;

    fn bytes_of(parcel: &Parcel) -> Vec<u8> {
        parcel.bytes(Wait::Never).expect("it is here").into_owned()
    }

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
        for parcel in [parcel.clone(), Parcel::from_bytes(&bytes_of(&parcel)).unwrap()] {
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
            assert_eq!((parcel.body_here(), parcel.body_len()), (Some(&b"the body"[..]), 8));
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
        assert_eq!((parcel.exchange(), parcel.rkey(), parcel.body_here()), (&long[..], &b""[..], Some(&b"b"[..])));
        assert!(Parcel::from_bytes(&bytes_of(&parcel)).unwrap() == parcel);
    }

    #[test]
    fn a_body_that_is_elsewhere_is_read_from_there_and_known_again() {
        let file = Arc::new(FileInMemory::default());
        let parcel = full();
        let away = file.take(&parcel);
        assert!(away.is_away() && away.body_here().is_none() && away.body(Wait::Never) == Err(NotRead::Yet));
        assert_eq!((away.exchange(), away.rkey(), away.group()), (parcel.exchange(), parcel.rkey(), parcel.group()));
        assert_eq!((away.header(b"kind"), away.ts_ms()), (parcel.header(b"kind"), parcel.ts_ms()));
        assert_eq!((away.len(), away.body_len()), (parcel.len(), parcel.body_len()));
        assert_eq!(away.body(Wait::UntilRead).as_deref(), Ok(&b"the body"[..]));
        assert!(away == parcel && !away.is_same(&parcel));
        let back = away.with_body_here(Wait::UntilRead).unwrap();
        assert!(!back.is_away() && back == parcel);
        file.spoil();
        assert_eq!(away.body(Wait::UntilRead), Err(NotRead::Ever));
        assert!(away.with_body_here(Wait::UntilRead).is_err() && away.bytes(Wait::UntilRead).is_err());
        assert!(file.was_found_damaged());
    }

    #[test]
    fn a_parcel_takes_two_words_wherever_its_body_is() {
        assert_eq!(size_of::<Parcel>(), 16);
    }

    #[test]
    fn bytes_of_any_kind_are_read_or_refused() {
        let parcel = full();
        let bytes = bytes_of(&parcel);
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
