//! Replies, written once: straight into the connection's output, in the protocol version that the client chose.
//!
//! There is no tree of reply values. What RESP3 has and RESP2 has not (maps, sets, doubles, pushes) degrades here, so a
//! command says what it means once. Big values are not copied: [`Output`] remembers where in the stream they go and the
//! connection writes them from where they are.

use super::error::Error;
use crate::store::{Blob, StrView};
use weir_resp::reply_bytes as bytes;
use weir_structs::packed::Element;

/// Version of the protocol that a client speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Resp {
    /// The default.
    #[default]
    V2,
    /// After `HELLO 3`.
    V3,
}

/// What is on its way to one client: bytes, and big values by reference at marked places between them.
#[derive(Debug, Default)]
pub struct Output {
    bytes: Vec<u8>,
    blobs: Vec<BlobAt>,
    blob_bytes: usize,
}

/// A big value that goes out after `at` bytes of [`Output`].
#[derive(Debug)]
pub struct BlobAt {
    /// Number of plain bytes before it.
    pub at: usize,
    /// The value.
    pub blob: Blob,
}

/// A place in an [`Output`] to which it can be cut back.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    bytes: usize,
    blobs: usize,
}

impl Output {
    /// Wraps a buffer that is reused.
    pub fn reusing(mut buffer: Vec<u8>) -> Output {
        buffer.clear();
        Output { bytes: buffer, blobs: Vec::new(), blob_bytes: 0 }
    }

    /// Bytes in all, those of referenced values included.
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes.len() + self.blob_bytes
    }

    /// Whether nothing is in it.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.blobs.is_empty()
    }

    /// The plain bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// To write plain bytes.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The referenced values, in order.
    pub fn blobs(&self) -> &[BlobAt] {
        &self.blobs
    }

    /// Takes it apart into the plain bytes and the values between them.
    pub fn into_parts(self) -> (Vec<u8>, Vec<BlobAt>) {
        (self.bytes, self.blobs)
    }

    /// Adds a value by reference.
    pub fn push_blob(&mut self, blob: &Blob) {
        self.blob_bytes += blob.len();
        self.blobs.push(BlobAt { at: self.bytes.len(), blob: Blob::clone(blob) });
    }

    /// Adds another output behind this one.
    pub fn append(&mut self, other: Output) {
        let offset = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes);
        self.blob_bytes += other.blob_bytes;
        self.blobs.extend(other.blobs.into_iter().map(|b| BlobAt { at: b.at + offset, blob: b.blob }));
    }

    /// Where it ends now.
    #[inline]
    pub fn mark(&self) -> Mark {
        Mark { bytes: self.bytes.len(), blobs: self.blobs.len() }
    }

    /// Forgets what was added since.
    pub fn truncate(&mut self, mark: Mark) {
        self.bytes.truncate(mark.bytes);
        for cut in self.blobs.drain(mark.blobs..) {
            self.blob_bytes -= cut.blob.len();
        }
    }

    /// The first byte added since, if any.
    #[inline]
    pub fn first_byte_since(&self, mark: Mark) -> Option<u8> {
        self.bytes.get(mark.bytes).copied()
    }
}

/// A header whose number of elements is told later.
#[derive(Debug)]
#[must_use = "the header is missing until it is closed"]
pub struct Deferred {
    at: usize,
    blobs: usize,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Array,
    Map,
    Set,
}

/// Writes one reply.
#[derive(Debug)]
pub struct Reply<'a> {
    out: &'a mut Output,
    resp: Resp,
}

impl<'a> Reply<'a> {
    /// Into `out`, in version `resp`.
    pub fn new(out: &'a mut Output, resp: Resp) -> Reply<'a> {
        Reply { out, resp }
    }

    /// The version it writes.
    pub fn resp(&self) -> Resp {
        self.resp
    }

    /// Whether it writes RESP3.
    pub fn is_resp3(&self) -> bool {
        self.resp == Resp::V3
    }

    /// Goes on in another version (HELLO).
    pub fn set_resp(&mut self, resp: Resp) {
        self.resp = resp;
    }

    /// Bytes written into the output so far, from all replies.
    pub fn output_len(&self) -> usize {
        self.out.len()
    }

    /// The output itself, for what is not a reply of a command (pushes, raw frames).
    pub fn output(&mut self) -> &mut Output {
        self.out
    }

    /// `+OK`
    #[inline]
    pub fn ok(&mut self) {
        self.out.bytes.extend_from_slice(b"+OK\r\n");
    }

    /// A simple string.
    pub fn simple(&mut self, text: &str) {
        bytes::simple_string(&mut self.out.bytes, text.as_bytes());
    }

    /// An error.
    pub fn error(&mut self, error: &Error) {
        bytes::error(&mut self.out.bytes, error.text());
    }

    /// An integer.
    #[inline]
    pub fn int(&mut self, value: i64) {
        bytes::integer(&mut self.out.bytes, value);
    }

    /// A number of things.
    #[inline]
    pub fn count(&mut self, value: usize) {
        self.int(i64::try_from(value).unwrap_or(i64::MAX));
    }

    /// A bulk string, copied.
    #[inline]
    pub fn bulk(&mut self, value: &[u8]) {
        bytes::bulk(&mut self.out.bytes, value);
    }

    /// A bulk string of text.
    pub fn text(&mut self, value: &str) {
        self.bulk(value.as_bytes());
    }

    /// A bulk string with a number's digits.
    #[inline]
    pub fn bulk_int(&mut self, value: i64) {
        bytes::bulk_integer(&mut self.out.bytes, value);
    }

    /// A bulk string with an element of a collection.
    #[inline]
    pub fn element(&mut self, value: Element<'_>) {
        match value {
            Element::Int(int) => self.bulk_int(int),
            Element::Bytes(bytes) => self.bulk(bytes),
        }
    }

    /// A bulk string, by reference.
    pub fn bulk_blob(&mut self, value: &Blob) {
        bytes::bulk_header(&mut self.out.bytes, value.len());
        self.out.push_blob(value);
        self.out.bytes.extend_from_slice(b"\r\n");
    }

    /// A bulk string with a stored string: copied, or by reference where it is stored as a blob.
    #[inline]
    pub fn string(&mut self, value: &StrView<'_>) {
        match value {
            StrView::Int(int) => self.bulk_int(*int),
            StrView::Bytes(bytes) => self.bulk(bytes),
            StrView::Blob(blob) => self.bulk_blob(blob),
        }
    }

    /// The null of a value: `$-1`, or RESP3's null.
    #[inline]
    pub fn null(&mut self) {
        self.out.bytes.extend_from_slice(match self.resp {
            Resp::V2 => b"$-1\r\n".as_slice(),
            Resp::V3 => b"_\r\n",
        });
    }

    /// The null of an array: `*-1`, or RESP3's null.
    pub fn null_array(&mut self) {
        self.out.bytes.extend_from_slice(match self.resp {
            Resp::V2 => b"*-1\r\n".as_slice(),
            Resp::V3 => b"_\r\n",
        });
    }

    /// Header of an array of `len` elements, which follow.
    #[inline]
    pub fn array(&mut self, len: usize) {
        bytes::array_header(&mut self.out.bytes, len);
    }

    /// Header of a map of `len` pairs; in RESP2 an array of twice as many.
    pub fn map(&mut self, len: usize) {
        match self.resp {
            Resp::V2 => bytes::array_header(&mut self.out.bytes, len * 2),
            Resp::V3 => bytes::map_header(&mut self.out.bytes, len),
        }
    }

    /// Header of a set; in RESP2 an array.
    pub fn set(&mut self, len: usize) {
        match self.resp {
            Resp::V2 => bytes::array_header(&mut self.out.bytes, len),
            Resp::V3 => bytes::set_header(&mut self.out.bytes, len),
        }
    }

    /// Header of a push; in RESP2 an array.
    pub fn push(&mut self, len: usize) {
        match self.resp {
            Resp::V2 => bytes::array_header(&mut self.out.bytes, len),
            Resp::V3 => bytes::push_header(&mut self.out.bytes, len),
        }
    }

    /// An attribute of `len` pairs; RESP3 only, as RESP2 has nothing to put in its place.
    pub fn attribute(&mut self, len: usize) {
        debug_assert!(self.is_resp3());
        bytes::attribute_header(&mut self.out.bytes, len);
    }

    /// A double; in RESP2 a bulk string.
    pub fn double(&mut self, value: f64) {
        match self.resp {
            Resp::V2 => bytes::bulk_double(&mut self.out.bytes, value),
            Resp::V3 => bytes::double(&mut self.out.bytes, value),
        }
    }

    /// A double whose digits are given, in more of them than a double has; in RESP2 a bulk string.
    pub fn decimal(&mut self, digits: &[u8]) {
        match self.resp {
            Resp::V2 => self.bulk(digits),
            Resp::V3 => {
                self.out.bytes.push(b',');
                self.out.bytes.extend_from_slice(digits);
                self.out.bytes.extend_from_slice(b"\r\n");
            }
        }
    }

    /// A boolean; in RESP2 1 or 0.
    pub fn boolean(&mut self, value: bool) {
        self.out.bytes.extend_from_slice(match (self.resp, value) {
            (Resp::V2, true) => b":1\r\n",
            (Resp::V2, false) => b":0\r\n",
            (Resp::V3, true) => b"#t\r\n",
            (Resp::V3, false) => b"#f\r\n",
        });
    }

    /// A number too big for an integer; in RESP2 a bulk string.
    pub fn big_number(&mut self, digits: &str) {
        match self.resp {
            Resp::V2 => self.text(digits),
            Resp::V3 => bytes::big_number(&mut self.out.bytes, digits.as_bytes()),
        }
    }

    /// Text with a format of three letters (`txt`, `mkd`); in RESP2 a bulk string.
    pub fn verbatim(&mut self, format: &[u8; 3], text: &[u8]) {
        match self.resp {
            Resp::V2 => self.bulk(text),
            Resp::V3 => bytes::verbatim(&mut self.out.bytes, *format, text),
        }
    }

    /// Lines of help, each a simple string.
    pub fn lines(&mut self, lines: &[&str]) {
        self.array(lines.len());
        for line in lines {
            self.simple(line);
        }
    }

    /// An array whose length is told by [`Reply::close`].
    pub fn deferred_array(&mut self) -> Deferred {
        self.deferred(Kind::Array)
    }

    /// A map whose number of pairs is told by [`Reply::close`].
    pub fn deferred_map(&mut self) -> Deferred {
        self.deferred(Kind::Map)
    }

    /// A set whose length is told by [`Reply::close`].
    pub fn deferred_set(&mut self) -> Deferred {
        self.deferred(Kind::Set)
    }

    fn deferred(&mut self, kind: Kind) -> Deferred {
        Deferred { at: self.out.bytes.len(), blobs: self.out.blobs.len(), kind }
    }

    /// Puts the header of `len` elements (pairs, of a map) before what was written since. Moves those bytes once.
    pub fn close(&mut self, deferred: Deferred, len: usize) {
        let mut header = Vec::with_capacity(16);
        match (deferred.kind, self.resp) {
            (Kind::Map, Resp::V3) => bytes::map_header(&mut header, len),
            (Kind::Map, Resp::V2) => bytes::array_header(&mut header, len * 2),
            (Kind::Set, Resp::V3) => bytes::set_header(&mut header, len),
            _ => bytes::array_header(&mut header, len),
        }
        for later in &mut self.out.blobs[deferred.blobs..] {
            later.at += header.len();
        }
        self.out.bytes.splice(deferred.at..deferred.at, header);
    }
}
