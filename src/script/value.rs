//! Values on their way between Lua and the protocol: replies of commands become values, what a script returns or raises
//! becomes its reply.
//!
//! What the protocol has and Lua has not is a table with one field that says what it is: `ok`, `err`, `double`, `map`, `set`,
//! `big_number`, `verbatim_string`. An absent value is false for a script that speaks RESP2 and nil for one that speaks
//! RESP3.

use super::engine::{Link, Outcome, Shared};
use super::lua::{State, Type};
use crate::command::error::Error;
use crate::command::reply::{BlobAt, Output, Reply, Resp};
use std::ffi::c_int;

/// Bytes of an error's text that a script's reply repeats where it is no error of a command.
const FAULT_TEXT_MAX: usize = 100;

/// Stack that one level of a nested value needs.
const LEVEL_SLOTS: c_int = 6;

/// Pushes an error as scripts see it: a table with its text, code first. `counted`: it is one of a command, which INFO
/// counts already. A text that begins with `-` has a code, any other gets one.
pub(super) fn push_error(l: State, text: &[u8], counted: bool) {
    let text = text.strip_suffix(b"\r\n").unwrap_or(text);
    l.push_table(0, 4);
    match text.strip_prefix(b"-") {
        Some(coded) if coded.contains(&b' ') => l.push_string(coded),
        other => {
            // On the C stack and the Lua stack only: this may raise an error.
            let mut buffer = super::lua::Buffer::new();
            buffer.begin(l);
            buffer.add(b"ERR ");
            buffer.add(other.unwrap_or(text));
            buffer.finish();
        }
    }
    l.set_raw_field(-2, "err");
    if counted {
        l.push_bool(true);
        l.set_raw_field(-2, "ignore_error_stats_update");
    }
}

/// Makes whatever was raised into a table that says where: called by Lua with the error as its only argument.
pub(super) extern "C-unwind" fn on_error(l: State) -> c_int {
    l.set_top(1);
    let mut place = l.place(1);
    if place.is_some_and(|place| place.native) {
        place = l.place(2);
    }
    if l.kind(1) != Type::Table {
        // An error of a library may be an object that knows its text.
        let mut buffer = super::lua::Buffer::new();
        buffer.begin(l);
        buffer.add(b"ERR ");
        push_text(l, 1);
        buffer.add_value();
        buffer.finish();
        l.push_table(0, 3);
        l.insert(-2);
        l.set_raw_field(-2, "err");
        l.replace(1);
    }
    if let Some(place) = place {
        l.push_string(place.source().to_bytes());
        l.set_raw_field(1, "source");
        l.push_number(f64::from(place.line));
        l.set_raw_field(1, "line");
    }
    l.set_top(1);
    1
}

/// Pushes a value as text.
pub(super) fn push_text(l: State, at: c_int) {
    match l.kind(at) {
        Type::String | Type::Number => {
            l.push_value(at);
            l.bytes(-1);
        }
        Type::Nil | Type::None => l.push_string(b"nil"),
        Type::Boolean => l.push_string(if l.truth(at) { b"true" } else { b"false" }),
        Type::Table => l.push_string(b"table"),
        Type::Other => {
            if !l.call_meta(at, c"__tostring") {
                l.push_string(b"a value without text");
            }
        }
    }
}

/// Writes a fault of the engine, or what is no table, as the reply of a script.
pub(super) fn write_fault(shared: &mut Shared, text: &[u8]) {
    let text = String::from_utf8_lossy(text.get(..FAULT_TEXT_MAX).unwrap_or(text)).into_owned();
    let error = Error::script_failed(&shared.name, &text);
    shared.reply = Output::default();
    Reply::new(&mut shared.reply, shared.client_resp).error(&error);
    shared.outcome = Outcome::Error { counted: false };
}

/// Writes the error on top of the stack, which has been through [`on_error`], as the reply of the script.
pub(super) fn write_error(l: State, link: Link) {
    if l.kind(-1) != Type::Table {
        let text = if matches!(l.kind(-1), Type::String | Type::Number) { l.bytes(-1) } else { b"execution failure" };
        link.with(|shared| write_fault(shared, text));
        return;
    }
    let error = l.top();
    l.raw_field(error, "source");
    l.raw_field(error, "line");
    let known = |at| matches!(l.kind(at), Type::String | Type::Number);
    let placed = known(error + 1) && known(error + 2);
    let (source, line): (&[u8], &[u8]) = if placed { (l.bytes(error + 1), l.bytes(error + 2)) } else { (b"", b"") };
    l.raw_field(error, "err");
    let text: &[u8] = if known(-1) { l.bytes(-1) } else { b"ERR unknown error" };
    l.raw_field(error, "ignore_error_stats_update");
    let counted = l.kind(-1) == Type::Boolean && l.truth(-1);
    link.with(|shared| {
        let mut whole = text.to_vec();
        if placed {
            let name = shared.name.as_bytes();
            whole.extend_from_slice(&[b" script: ", name, b", on ", source, b":", line, b"."].concat());
        }
        shared.reply = Output::default();
        Reply::new(&mut shared.reply, shared.client_resp).error(&Error::of_bytes(whole));
        shared.outcome = Outcome::Error { counted };
    });
}

/// Writes the value on top of the stack as the reply of the script.
pub(super) fn write_reply(l: State, link: Link) {
    let (script, client) = link.with(|shared| (shared.resp, shared.client_resp));
    let at = l.top();
    if let Some(counted) = error_in(l, at) {
        link.with(|shared| shared.outcome = Outcome::Error { counted });
    }
    write_value(l, link, script, client, at);
}

/// Whether the value at a place is an error, and whether that is counted already.
fn error_in(l: State, at: c_int) -> Option<bool> {
    if l.kind(at) != Type::Table {
        return None;
    }
    l.raw_field(at, "err");
    let is_error = l.kind(-1) == Type::String;
    l.raw_field(at, "ignore_error_stats_update");
    let counted = l.kind(-1) == Type::Boolean && l.truth(-1);
    l.pop(2);
    is_error.then_some(counted)
}

/// Lua's number as an integer, as C makes one of it on common machines.
fn integer(number: f64) -> i64 {
    // Both bounds are powers of two, and exact.
    if number >= i64::MIN as f64 && number < -(i64::MIN as f64) { number as i64 } else { i64::MIN }
}

fn write_value(l: State, link: Link, script: Resp, client: Resp, at: c_int) {
    let write = |what: &dyn Fn(&mut Reply<'_>)| {
        link.with(|shared| what(&mut Reply::new(&mut shared.reply, client)));
    };
    match l.kind(at) {
        Type::String => {
            let bytes = l.bytes(at);
            write(&|reply| reply.bulk(bytes));
        }
        Type::Number => {
            let value = integer(l.number(at));
            write(&|reply| reply.int(value));
        }
        Type::Boolean if script == Resp::V3 => {
            let value = l.truth(at);
            write(&|reply| reply.boolean(value));
        }
        Type::Boolean if l.truth(at) => write(&|reply| reply.int(1)),
        Type::Table if !l.check_stack(LEVEL_SLOTS) => write(&|reply| reply.error(&Error::SCRIPT_STACK_LIMIT)),
        Type::Table => write_table(l, link, script, client, at),
        _ => write(&|reply| reply.null()),
    }
}

/// Writes a table: as what one of its fields says that it is, or its elements up to the first that is nil.
fn write_table(l: State, link: Link, script: Resp, client: Resp, at: c_int) {
    let top = l.top();
    let write = |what: &mut dyn FnMut(&mut Reply<'_>)| {
        link.with(|shared| what(&mut Reply::new(&mut shared.reply, client)));
        l.set_top(top);
    };
    let field = |name, kind| {
        l.raw_field(at, name);
        let there = l.kind(-1) == kind;
        if !there {
            l.pop(1);
        }
        there
    };
    if field("err", Type::String) {
        let text = l.bytes(-1).to_vec();
        return write(&mut |reply| reply.error(&Error::of_bytes(text.clone())));
    }
    if field("ok", Type::String) {
        let text = l.bytes(-1);
        return write(&mut |reply| weir_resp::reply_bytes::simple_string(reply.output().bytes_mut(), text));
    }
    if field("double", Type::Number) {
        let value = l.number(-1);
        return write(&mut |reply| reply.double(value));
    }
    if field("map", Type::Table) {
        let count = count_fields(l, top + 1);
        link.with(|shared| Reply::new(&mut shared.reply, client).map(count));
        l.push_nil();
        while l.next(top + 1) {
            write_value(l, link, script, client, top + 2);
            write_value(l, link, script, client, top + 3);
            l.pop(1);
        }
        return l.set_top(top);
    }
    if field("set", Type::Table) {
        let count = count_fields(l, top + 1);
        link.with(|shared| Reply::new(&mut shared.reply, client).set(count));
        l.push_nil();
        while l.next(top + 1) {
            l.pop(1);
            write_value(l, link, script, client, top + 2);
        }
        return l.set_top(top);
    }
    if field("big_number", Type::String) {
        let digits = l.bytes(-1);
        return write(&mut |reply| {
            // A line end would end the number.
            let digits = String::from_utf8_lossy(digits).replace(['\r', '\n'], " ");
            reply.big_number(&digits);
        });
    }
    if field("verbatim_string", Type::Table) {
        l.raw_field(top + 1, "format");
        l.raw_field(top + 1, "string");
        if l.kind(top + 2) == Type::String && l.kind(top + 3) == Type::String {
            let (format, text) = (l.bytes(top + 2), l.bytes(top + 3));
            let letter = |at: usize| format.get(at).copied().unwrap_or(b' ');
            return write(&mut |reply| reply.verbatim(&[letter(0), letter(1), letter(2)], text));
        }
        l.set_top(top);
    }
    write_elements(l, link, script, client, at);
}

fn count_fields(l: State, table: c_int) -> usize {
    let mut count = 0;
    l.push_nil();
    while l.next(table) {
        l.pop(1);
        count += 1;
    }
    count
}

fn write_elements(l: State, link: Link, script: Resp, client: Resp, at: c_int) {
    let element = |index: usize| l.raw_at(at, c_int::try_from(index).unwrap_or(c_int::MAX));
    // Looked at twice, so that what is written need not be moved to make room for the number.
    let mut count = 0;
    loop {
        element(count + 1);
        let ends = l.kind(-1) == Type::Nil;
        l.pop(1);
        if ends {
            break;
        }
        count += 1;
    }
    link.with(|shared| Reply::new(&mut shared.reply, client).array(count));
    for index in 1..=count {
        element(index);
        let place = l.top();
        write_value(l, link, script, client, place);
        l.set_top(place - 1);
    }
}

/// Pushes the reply to a command as a value. Returns whether it is an error.
pub(super) fn push_answer(l: State, link: Link) -> bool {
    let (bytes, blobs) = link.answer();
    let mut reader = Answered { bytes, at: 0, blobs };
    let script = link.with(|shared| shared.resp);
    let is_error = reader.bytes.first() == Some(&b'-');
    reader.push_value(l, script);
    is_error
}

/// A reply that is read: its bytes, and long values that stand between them.
struct Answered<'a> {
    bytes: &'a [u8],
    at: usize,
    blobs: &'a [BlobAt],
}

impl<'a> Answered<'a> {
    fn line(&mut self) -> &'a [u8] {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let len = rest.iter().position(|&byte| byte == b'\r').unwrap_or(rest.len());
        self.at += len + 2;
        rest.get(..len).unwrap_or_default()
    }

    /// A line that is a number.
    #[inline]
    fn int(&mut self) -> i64 {
        let (mut value, mut negative) = (0i64, false);
        while let Some(&byte) = self.bytes.get(self.at) {
            self.at += 1;
            match byte {
                b'0'..=b'9' => value = value.wrapping_mul(10).wrapping_sub(i64::from(byte - b'0')),
                b'-' => negative = true,
                b'\r' => break,
                _ => {}
            }
        }
        self.at += 1;
        if negative { value } else { value.wrapping_neg() }
    }

    /// The bytes of a string of a length that was read.
    #[inline]
    fn text(&mut self, len: usize) -> &'a [u8] {
        let text = match self.blobs.split_first() {
            Some((blob, rest)) if blob.at == self.at => {
                self.blobs = rest;
                &*blob.blob
            }
            _ => {
                let text = self.bytes.get(self.at..self.at + len).unwrap_or_default();
                self.at += len;
                text
            }
        };
        self.at += 2;
        text
    }

    fn push_value(&mut self, l: State, script: Resp) {
        let Some(&kind) = self.bytes.get(self.at) else { return l.push_nil() };
        self.at += 1;
        match kind {
            b'$' => match usize::try_from(self.int()) {
                Ok(len) => l.push_string(self.text(len)),
                Err(_) => push_absent(l, script),
            },
            b':' => l.push_number(self.int() as f64),
            b'+' => {
                l.push_table(0, 1);
                l.push_string(self.line());
                l.set_raw_field(-2, "ok");
            }
            b'-' => {
                l.push_table(0, 2);
                l.push_string(self.line());
                l.set_raw_field(-2, "err");
                l.push_bool(true);
                l.set_raw_field(-2, "ignore_error_stats_update");
            }
            b'*' | b'>' => match usize::try_from(self.int()) {
                Ok(len) => self.push_elements(l, script, len),
                Err(_) => push_absent(l, script),
            },
            b'%' => {
                let len = self.int().max(0) as usize;
                self.push_wrapped(l, "map", |this| this.push_pairs(l, script, len));
            }
            b'~' => {
                let len = self.int().max(0) as usize;
                self.push_wrapped(l, "set", |this| this.push_members(l, script, len));
            }
            b'|' => {
                // Attributes are about the value that follows, and not for scripts.
                let len = self.int().max(0);
                for _ in 0..2 * len {
                    self.push_value(l, script);
                    l.pop(1);
                }
                self.push_value(l, script);
            }
            b',' => {
                let line = self.line();
                let value = std::str::from_utf8(line).ok().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN);
                self.push_wrapped(l, "double", |_| l.push_number(value));
            }
            b'#' => l.push_bool(self.line() == b"t"),
            b'_' => {
                self.line();
                l.push_nil();
            }
            b'(' => {
                let digits = self.line();
                self.push_wrapped(l, "big_number", |_| l.push_string(digits));
            }
            b'=' => {
                let len = self.int().max(0) as usize;
                let text = self.text(len);
                let (format, text) = (text.get(..3).unwrap_or_default(), text.get(4..).unwrap_or_default());
                self.push_wrapped(l, "verbatim_string", |_| {
                    l.push_table(0, 2);
                    l.push_string(text);
                    l.set_raw_field(-2, "string");
                    l.push_string(format);
                    l.set_raw_field(-2, "format");
                });
            }
            _ => l.push_nil(),
        }
    }

    fn push_wrapped(&mut self, l: State, name: &str, push: impl FnOnce(&mut Self)) {
        l.push_table(0, 1);
        push(self);
        l.set_raw_field(-2, name);
    }

    fn push_elements(&mut self, l: State, script: Resp, len: usize) {
        make_room(l);
        l.push_table(len, 0);
        for index in 1..=len {
            self.push_value(l, script);
            l.set_raw_at(-2, c_int::try_from(index).unwrap_or(c_int::MAX));
        }
    }

    fn push_pairs(&mut self, l: State, script: Resp, len: usize) {
        make_room(l);
        l.push_table(0, len);
        for _ in 0..len {
            self.push_value(l, script);
            self.push_value(l, script);
            set_or_drop(l);
        }
    }

    fn push_members(&mut self, l: State, script: Resp, len: usize) {
        make_room(l);
        l.push_table(0, len);
        for _ in 0..len {
            self.push_value(l, script);
            l.push_bool(true);
            set_or_drop(l);
        }
    }
}

/// Pops a value and a key into the table below, unless the key can be none.
fn set_or_drop(l: State) {
    if l.kind(-2) == Type::Nil { l.pop(2) } else { l.raw_set(-3) }
}

fn make_room(l: State) {
    if !l.check_stack(LEVEL_SLOTS) {
        push_error(l, b"reached lua stack limit", false);
        l.raise();
    }
}

fn push_absent(l: State, script: Resp) {
    match script {
        Resp::V2 => l.push_bool(false),
        Resp::V3 => l.push_nil(),
    }
}
