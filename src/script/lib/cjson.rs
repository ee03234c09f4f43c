//! `cjson`: JSON for scripts, as lua-cjson 2.1.0 does it.
//!
//! ```text
//! encode   table with keys 1..n ──► [..]      null ◄── nil, cjson.null        depth ≤ encode_max_depth
//!          any other table ───────► {..}      (an empty one as well)
//! decode   [..] ──► table 1..n                null ──► cjson.null             depth ≤ decode_max_depth
//! ```
//!
//! Scripts depend on its corners, and so they are kept: `/` and DEL are escaped, an array with too many holes is an error,
//! numbers have 14 digits, hexadecimal and infinite numbers are read unless that is turned off. Settings belong to a
//! library, not to a script: what a script sets stays set until the scripts are flushed.
//!
//! Neither direction recurses: open tables are on the Lua stack, and what else must be known of them in a buffer. So
//! nesting is limited by the settings and by Lua's 8,000 values a function, whatever the size of the program's stack.

use std::ffi::CStr;

use super::number_text::{format_significant, parse_prefix};
use super::stack::{Buffer, BufferOf, Kind, Stack};

/// What a library has been set to.
#[derive(Debug, Clone, Copy)]
struct Settings {
    /// Whether an array with too many holes is written as an object, instead of being an error.
    sparse_convert: bool,
    /// An array has too many holes if it is longer than its elements times this; 0: none ever has.
    sparse_ratio: i32,
    /// .. and longer than this.
    sparse_safe: i32,
    encode_max_depth: i32,
    decode_max_depth: i32,
    encode_invalid_numbers: InvalidNumbers,
    decode_invalid_numbers: bool,
    /// Kept for what it answers: a buffer that is small is kept anyway, one that is large is not.
    keep_buffer: bool,
    number_precision: i32,
}

/// What becomes of NaN and infinities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InvalidNumbers {
    Error,
    Written,
    Null,
}

const DEFAULTS: Settings = Settings {
    sparse_convert: false,
    sparse_ratio: 2,
    sparse_safe: 10,
    encode_max_depth: 1000,
    decode_max_depth: 1000,
    encode_invalid_numbers: InvalidNumbers::Error,
    decode_invalid_numbers: true,
    keep_buffer: true,
    number_precision: 14,
};

/// Pushes a library with settings of its own.
pub(super) fn open(stack: Stack<'_>) {
    stack.new_settings(DEFAULTS);
    let settings = stack.top();
    stack.new_table();
    stack.add_function(c"encode", encode, Some(settings));
    stack.add_function(c"decode", decode, Some(settings));
    stack.add_function(c"encode_sparse_array", encode_sparse_array, Some(settings));
    stack.add_function(c"encode_max_depth", encode_max_depth, Some(settings));
    stack.add_function(c"decode_max_depth", decode_max_depth, Some(settings));
    stack.add_function(c"encode_number_precision", encode_number_precision, Some(settings));
    stack.add_function(c"encode_keep_buffer", encode_keep_buffer, Some(settings));
    stack.add_function(c"encode_invalid_numbers", encode_invalid_numbers, Some(settings));
    stack.add_function(c"decode_invalid_numbers", decode_invalid_numbers, Some(settings));
    stack.add_function(c"new", new, None);
    stack.add_null(c"null");
    stack.add_text(c"_NAME", "cjson");
    stack.add_text(c"_VERSION", "2.1.0");
}

fn new(stack: Stack<'_>) -> i32 {
    open(stack);
    1
}

fn take_one_argument(stack: Stack<'_>) {
    if stack.top() != 1 {
        stack.raise_argument(1, format_args!("expected 1 argument"));
    }
}

// -- encode

/// An open table, but for the one that is written right now.
#[derive(Debug, Clone, Copy)]
enum Open {
    /// On the stack: the table.
    Array { next: i32, len: i32 },
    /// On the stack: the table and the key that was written last.
    Object { first: bool },
}

impl Open {
    fn to_bytes(self) -> [u8; 8] {
        let (a, b) = match self {
            Open::Array { next, len } => (next, len),
            Open::Object { first } => (i32::from(first), 0),
        };
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&a.to_ne_bytes());
        bytes[4..].copy_from_slice(&b.to_ne_bytes());
        bytes
    }

    /// An array's length is never 0.
    fn from_bytes(bytes: [u8; 8]) -> Open {
        let [a, b, c, d, e, f, g, h] = bytes;
        match (i32::from_ne_bytes([a, b, c, d]), i32::from_ne_bytes([e, f, g, h])) {
            (first, 0) => Open::Object { first: first != 0 },
            (next, len) => Open::Array { next, len },
        }
    }
}

fn encode(stack: Stack<'_>) -> i32 {
    take_one_argument(stack);
    let settings = stack.settings::<Settings>();
    let mut output = Buffer::open(stack, BufferOf::Output);
    let mut around = Buffer::open(stack, BufferOf::Nesting);
    let mut depth = 0;
    // What is open innermost. On the stack above everything that is around it.
    let mut open = None;
    loop {
        // The value on top: written, or opened.
        if stack.kind(-1) == Kind::Table {
            depth += 1;
            if let Some(open) = open {
                around.extend(&Open::to_bytes(open));
            }
            open = Some(open_table(stack, &settings, depth, &mut output));
        } else {
            encode_scalar(stack, &settings, -1, &mut output);
            if open.is_some() {
                stack.pop(1);
            }
        }
        // Onwards to the next value, out of as many tables as have ended.
        loop {
            match &mut open {
                None => {
                    output.finish();
                    return 1;
                }
                Some(Open::Array { next, len }) if *next < *len => {
                    output_comma(*next > 0, &mut output);
                    *next += 1;
                    stack.raw_get_at(-1, *next);
                    break;
                }
                Some(Open::Array { .. }) => output.push(b']'),
                Some(Open::Object { first }) => {
                    if stack.next(-2) {
                        output_comma(!*first, &mut output);
                        *first = false;
                        encode_key(stack, &settings, &mut output);
                        break;
                    }
                    output.push(b'}');
                }
            }
            depth -= 1;
            open = around.pop().map(Open::from_bytes);
            if open.is_some() {
                // The table that has ended. The outermost one is the argument.
                stack.pop(1);
            }
        }
    }
}

#[inline]
fn output_comma(wanted: bool, output: &mut Buffer<'_>) {
    if wanted {
        output.push(b',');
    }
}

/// Begins the table on top, and pushes what its walk needs.
fn open_table(stack: Stack<'_>, settings: &Settings, depth: i32, output: &mut Buffer<'_>) -> Open {
    // A key, a value, and one for an error.
    if depth > settings.encode_max_depth || !stack.reserve(3) {
        stack.raise(format_args!("Cannot serialise, excessive nesting ({depth})"));
    }
    match array_len(stack, settings) {
        Some(len) if len > 0 => {
            output.push(b'[');
            Open::Array { next: 0, len }
        }
        _ => {
            output.push(b'{');
            stack.push_nil();
            Open::Object { first: true }
        }
    }
}

/// Largest key of the table on top if all of them are integers from 1 on; `None` if not.
fn array_len(stack: Stack<'_>, settings: &Settings) -> Option<i32> {
    let (mut max, mut items) = (0i32, 0i32);
    stack.push_nil();
    while stack.next(-2) {
        let key = if stack.kind(-2) == Kind::Number { stack.number(-2) } else { 0.0 };
        if !(key >= 1.0 && key.floor() == key) {
            stack.pop(2);
            return None;
        }
        if key > f64::from(max) {
            // What does not fit counts as the smallest number, so that such a table is written as an object.
            max = if key <= f64::from(i32::MAX) { key as i32 } else { i32::MIN };
        }
        items = items.wrapping_add(1);
        stack.pop(1);
    }
    let too_sparse =
        settings.sparse_ratio > 0 && max > items.wrapping_mul(settings.sparse_ratio) && max > settings.sparse_safe;
    if too_sparse && !settings.sparse_convert {
        refuse(stack, -1, "excessively sparse array");
    }
    (!too_sparse).then_some(max)
}

/// Writes the key below the top.
#[inline]
fn encode_key(stack: Stack<'_>, settings: &Settings, output: &mut Buffer<'_>) {
    match stack.kind(-2) {
        Kind::String => encode_string(stack.bytes(-2), output),
        Kind::Number => {
            output.push(b'"');
            encode_number(stack, settings, -2, output);
            output.push(b'"');
        }
        _ => refuse(stack, -2, "table key must be a number or string"),
    }
    output.push(b':');
}

fn encode_scalar(stack: Stack<'_>, settings: &Settings, index: i32, output: &mut Buffer<'_>) {
    match stack.kind(index) {
        Kind::String => encode_string(stack.bytes(index), output),
        Kind::Number => encode_number(stack, settings, index, output),
        Kind::Boolean => output.extend(if stack.boolean(index) { b"true" } else { b"false" }),
        Kind::Nil | Kind::Null => output.extend(b"null"),
        Kind::Table | Kind::Other => refuse(stack, index, "type not supported"),
    }
}

fn encode_number(stack: Stack<'_>, settings: &Settings, index: i32, output: &mut Buffer<'_>) {
    let value = stack.number(index);
    if !value.is_finite() {
        match settings.encode_invalid_numbers {
            InvalidNumbers::Error => refuse(stack, index, "must not be NaN or Inf"),
            InvalidNumbers::Null => return output.extend(b"null"),
            InvalidNumbers::Written if value.is_nan() => return output.extend(b"nan"),
            InvalidNumbers::Written => {}
        }
    }
    output.extend(format_significant(value, settings.number_precision as usize).as_bytes());
}

/// Writes a string in runs: what needs no escape is copied as it is.
fn encode_string(bytes: &[u8], output: &mut Buffer<'_>) {
    output.push(b'"');
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|&byte| MUST_ESCAPE[usize::from(byte)]) {
        let (plain, tail) = rest.split_at(at);
        output.extend(plain);
        let byte = tail.first().copied().unwrap_or_default();
        match byte {
            b'"' => output.extend(b"\\\""),
            b'\\' => output.extend(b"\\\\"),
            b'/' => output.extend(b"\\/"),
            0x08 => output.extend(b"\\b"),
            0x09 => output.extend(b"\\t"),
            0x0A => output.extend(b"\\n"),
            0x0C => output.extend(b"\\f"),
            0x0D => output.extend(b"\\r"),
            _ => output.extend(&[b'\\', b'u', b'0', b'0', hex_digit(byte >> 4), hex_digit(byte & 15)]),
        }
        rest = tail.get(1..).unwrap_or_default();
    }
    output.extend(rest);
    output.push(b'"');
}

static MUST_ESCAPE: [bool; 256] = {
    let mut must = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        must[byte] =
            byte < 0x20 || byte == 0x7F || byte == b'"' as usize || byte == b'\\' as usize || byte == b'/' as usize;
        byte += 1;
    }
    must
};

fn hex_digit(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'a' + value - 10 }
}

fn refuse(stack: Stack<'_>, index: i32, why: &str) -> ! {
    stack.raise(format_args!("Cannot serialise {}: {why}", stack.type_name(index)))
}

// -- decode

/// One word of JSON.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Token<'t> {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    /// Without escapes: the bytes themselves.
    Plain(&'t [u8]),
    /// With escapes: what they stand for is in the buffer.
    Escaped,
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Error(&'static str),
}

impl Token<'_> {
    /// How errors call it.
    fn name(self) -> &'static str {
        match self {
            Token::ObjectBegin => "T_OBJ_BEGIN",
            Token::ObjectEnd => "T_OBJ_END",
            Token::ArrayBegin => "T_ARR_BEGIN",
            Token::ArrayEnd => "T_ARR_END",
            Token::Plain(_) | Token::Escaped => "T_STRING",
            Token::Number(_) => "T_NUMBER",
            Token::Boolean(_) => "T_BOOLEAN",
            Token::Null => "T_NULL",
            Token::Colon => "T_COLON",
            Token::Comma => "T_COMMA",
            Token::End => "T_END",
            Token::Error(why) => why,
        }
    }
}

/// Reads words. The text ends at its first NUL, or at its end.
struct Words<'t> {
    text: &'t [u8],
    /// Of the next byte.
    at: usize,
    /// Where the last word began, or where it was wrong.
    word_at: usize,
    invalid_numbers: bool,
}

impl<'t> Words<'t> {
    #[inline]
    fn byte(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn rest(&self) -> &'t [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn error(&mut self, why: &'static str) -> Token<'t> {
        self.word_at = self.at;
        Token::Error(why)
    }

    fn take(&mut self, len: usize, token: Token<'t>) -> Token<'t> {
        self.at += len;
        token
    }

    fn next(&mut self, unescaped: &mut Buffer<'_>) -> Token<'t> {
        while matches!(self.byte(0), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        self.word_at = self.at;
        match self.byte(0) {
            b'"' => self.string(unescaped),
            b',' => self.take(1, Token::Comma),
            b':' => self.take(1, Token::Colon),
            b'{' => self.take(1, Token::ObjectBegin),
            b'}' => self.take(1, Token::ObjectEnd),
            b'[' => self.take(1, Token::ArrayBegin),
            b']' => self.take(1, Token::ArrayEnd),
            b'-' | b'0'..=b'9' => {
                if !self.invalid_numbers && self.is_invalid_number() {
                    return self.error("invalid number");
                }
                self.number()
            }
            0 => Token::End,
            b't' if self.rest().starts_with(b"true") => self.take(4, Token::Boolean(true)),
            b'f' if self.rest().starts_with(b"false") => self.take(5, Token::Boolean(false)),
            b'n' if self.rest().starts_with(b"null") => self.take(4, Token::Null),
            b'f' | b'i' | b'I' | b'n' | b'N' | b't' | b'+' if self.invalid_numbers && self.is_invalid_number() => {
                self.number()
            }
            _ => self.error("invalid token"),
        }
    }

    fn number(&mut self) -> Token<'t> {
        match parse_prefix(self.rest()) {
            Some((value, len)) => self.take(len, Token::Number(value)),
            None => self.error("invalid number"),
        }
    }

    /// Whether a number begins here that JSON does not have: with a plus, leading zeros, hexadecimal, not finite.
    fn is_invalid_number(&self) -> bool {
        let rest = self.rest();
        let unsigned = match rest {
            [b'+', ..] => return true,
            [b'-', unsigned @ ..] => unsigned,
            _ => rest,
        };
        match unsigned {
            [b'0', b'x' | b'X' | b'0'..=b'9', ..] => true,
            [b'0', ..] => false,
            [first, ..] if *first <= b'9' => false,
            _ => unsigned
                .get(..3)
                .is_some_and(|word| word.eq_ignore_ascii_case(b"inf") || word.eq_ignore_ascii_case(b"nan")),
        }
    }

    fn string(&mut self, unescaped: &mut Buffer<'_>) -> Token<'t> {
        self.at += 1;
        let rest = self.rest();
        let plain = rest.iter().position(|&byte| matches!(byte, b'"' | b'\\' | 0)).unwrap_or(rest.len());
        self.at += plain;
        if self.byte(0) == b'"' {
            self.at += 1;
            return Token::Plain(rest.get(..plain).unwrap_or_default());
        }
        unescaped.clear();
        unescaped.extend(rest.get(..plain).unwrap_or_default());
        loop {
            let escape = match (self.byte(0), self.byte(1)) {
                (b'"', _) => {
                    self.at += 1;
                    return Token::Escaped;
                }
                (b'\\', escape) => escape,
                (0, _) => return self.error("unexpected end of string"),
                // Where there is one escape there are often more, with a few bytes between them.
                (byte, _) => {
                    unescaped.push(byte);
                    self.at += 1;
                    continue;
                }
            };
            let byte = match escape {
                b'"' | b'\\' | b'/' => escape,
                b'b' => 0x08,
                b't' => b'\t',
                b'n' => b'\n',
                b'f' => 0x0C,
                b'r' => b'\r',
                b'u' => {
                    let Some((character, len)) = self.unicode_escape() else {
                        return self.error("invalid unicode escape code");
                    };
                    unescaped.extend(character.encode_utf8(&mut [0; 4]).as_bytes());
                    self.at += len;
                    continue;
                }
                _ => return self.error("invalid escape code"),
            };
            unescaped.push(byte);
            self.at += 2;
        }
    }

    /// The character of a `\uXXXX` here, or of a pair of them, and its length.
    fn unicode_escape(&self) -> Option<(char, usize)> {
        let high = self.hex4(2)?;
        if high & 0xF800 != 0xD800 {
            return Some((char::from_u32(high)?, 6));
        }
        if high & 0x400 != 0 || self.byte(6) != b'\\' || self.byte(7) != b'u' {
            return None;
        }
        let low = self.hex4(8)?;
        if low & 0xFC00 != 0xDC00 {
            return None;
        }
        Some((char::from_u32(((high & 0x3FF) << 10 | low & 0x3FF) + 0x1_0000)?, 12))
    }

    fn hex4(&self, ahead: usize) -> Option<u32> {
        (0..4).try_fold(0, |value, at| Some(value << 4 | (self.byte(ahead + at) as char).to_digit(16)?))
    }
}

/// What an open table needs kept: the number of elements of an array, or this for an object.
const OBJECT: u32 = u32::MAX;

fn decode(stack: Stack<'_>) -> i32 {
    take_one_argument(stack);
    let settings = stack.settings::<Settings>();
    let text = stack.argument_bytes(1);
    if text.len() >= 2 && (text[0] == 0 || text[1] == 0) {
        stack.raise(format_args!("JSON parser does not support UTF-16 or UTF-32"));
    }
    let mut words = Words { text, at: 0, word_at: 0, invalid_numbers: settings.decode_invalid_numbers };
    let mut unescaped = Buffer::open(stack, BufferOf::Output);
    let mut around = Buffer::open(stack, BufferOf::Nesting);
    let mut depth = 0;
    // The innermost open table: OBJECT, or the number of elements that an array has.
    let mut open = None::<u32>;
    let mut token = words.next(&mut unescaped);
    loop {
        // A value: pushed, or opened.
        match token {
            Token::Plain(bytes) => stack.push_bytes(bytes),
            Token::Escaped => stack.push_bytes(unescaped.as_bytes()),
            Token::Number(value) => stack.push_number(value),
            Token::Boolean(value) => stack.push_boolean(value),
            Token::Null => stack.push_null(),
            Token::ObjectBegin | Token::ArrayBegin => {
                let is_object = token == Token::ObjectBegin;
                depth += 1;
                // A table with a value, or a key and a value.
                if depth > settings.decode_max_depth || !stack.reserve(if is_object { 3 } else { 2 }) {
                    stack.raise(format_args!(
                        "Found too many nested data structures ({depth}) at character {}",
                        words.at
                    ));
                }
                stack.new_table();
                token = words.next(&mut unescaped);
                if token != (if is_object { Token::ObjectEnd } else { Token::ArrayEnd }) {
                    if let Some(open) = open {
                        around.extend(&open.to_ne_bytes());
                    }
                    open = Some(if is_object { OBJECT } else { 0 });
                    if is_object {
                        push_key(stack, token, &mut words, &mut unescaped);
                        token = words.next(&mut unescaped);
                    }
                    continue;
                }
                depth -= 1;
            }
            _ => unexpected(stack, "value", token, &words),
        }
        // The value on top goes into the table below, which may end with it, and be a value itself.
        loop {
            token = words.next(&mut unescaped);
            match &mut open {
                None => {
                    if token != Token::End {
                        unexpected(stack, "the end", token, &words);
                    }
                    return 1;
                }
                Some(OBJECT) => {
                    stack.raw_set(-3);
                    match token {
                        Token::Comma => {
                            token = words.next(&mut unescaped);
                            push_key(stack, token, &mut words, &mut unescaped);
                            token = words.next(&mut unescaped);
                            break;
                        }
                        Token::ObjectEnd => {}
                        _ => unexpected(stack, "comma or object end", token, &words),
                    }
                }
                Some(elements) => {
                    *elements += 1;
                    stack.raw_set_at(-2, *elements as i32);
                    match token {
                        Token::Comma => {
                            token = words.next(&mut unescaped);
                            break;
                        }
                        Token::ArrayEnd => {}
                        _ => unexpected(stack, "comma or array end", token, &words),
                    }
                }
            }
            depth -= 1;
            open = around.pop().map(u32::from_ne_bytes);
        }
    }
}

/// Pushes the key that `token` must be, and takes the colon behind it.
fn push_key(stack: Stack<'_>, token: Token<'_>, words: &mut Words<'_>, unescaped: &mut Buffer<'_>) {
    match token {
        Token::Plain(bytes) => stack.push_bytes(bytes),
        Token::Escaped => stack.push_bytes(unescaped.as_bytes()),
        _ => unexpected(stack, "object key string", token, words),
    }
    let colon = words.next(unescaped);
    if colon != Token::Colon {
        unexpected(stack, "colon", colon, words);
    }
}

fn unexpected(stack: Stack<'_>, expected: &str, found: Token<'_>, words: &Words<'_>) -> ! {
    stack.raise(format_args!("Expected {expected} but found {} at character {}", found.name(), words.word_at + 1))
}

// -- settings: each answers what it is set to, and takes a new setting if it is given one

/// Fills up to `count` arguments with nil; raises if there are more.
fn take_up_to(stack: Stack<'_>, count: i32) -> Settings {
    if stack.top() > count {
        stack.raise_argument(count + 1, format_args!("found too many arguments"));
    }
    stack.set_top(count);
    stack.settings()
}

fn integer_setting(stack: Stack<'_>, index: i32, setting: &mut i32, min: i32, max: i32) {
    if stack.kind(index) != Kind::Nil {
        // C keeps the low half.
        let value = stack.argument_integer(index) as i32;
        if value < min || value > max {
            stack.raise_argument(1, format_args!("expected integer between {min} and {max}"));
        }
        *setting = value;
    }
    stack.push_number(f64::from(*setting));
}

/// Which of `names` the argument is, the position in them; a boolean is `off` or `on`.
fn named_setting(stack: Stack<'_>, index: i32, names: &[&'static CStr]) -> usize {
    match stack.kind(index) {
        Kind::Boolean => usize::from(stack.boolean(index)),
        _ => stack.argument_option(index, names),
    }
}

fn switch_setting(stack: Stack<'_>, index: i32, setting: &mut bool) {
    if stack.kind(index) != Kind::Nil {
        *setting = named_setting(stack, index, &[c"off", c"on"]) == 1;
    }
    stack.push_boolean(*setting);
}

fn encode_sparse_array(stack: Stack<'_>) -> i32 {
    let mut settings = take_up_to(stack, 3);
    // What is right is set even if what follows is wrong.
    switch_setting(stack, 1, &mut settings.sparse_convert);
    stack.set_settings(settings);
    integer_setting(stack, 2, &mut settings.sparse_ratio, 0, i32::MAX);
    stack.set_settings(settings);
    integer_setting(stack, 3, &mut settings.sparse_safe, 0, i32::MAX);
    stack.set_settings(settings);
    3
}

fn encode_max_depth(stack: Stack<'_>) -> i32 {
    let mut settings = take_up_to(stack, 1);
    integer_setting(stack, 1, &mut settings.encode_max_depth, 1, i32::MAX);
    stack.set_settings(settings);
    1
}

fn decode_max_depth(stack: Stack<'_>) -> i32 {
    let mut settings = take_up_to(stack, 1);
    integer_setting(stack, 1, &mut settings.decode_max_depth, 1, i32::MAX);
    stack.set_settings(settings);
    1
}

fn encode_number_precision(stack: Stack<'_>) -> i32 {
    let mut settings = take_up_to(stack, 1);
    integer_setting(stack, 1, &mut settings.number_precision, 1, 14);
    stack.set_settings(settings);
    1
}

fn encode_keep_buffer(stack: Stack<'_>) -> i32 {
    let mut settings = take_up_to(stack, 1);
    switch_setting(stack, 1, &mut settings.keep_buffer);
    stack.set_settings(settings);
    1
}

fn encode_invalid_numbers(stack: Stack<'_>) -> i32 {
    let mut settings = take_up_to(stack, 1);
    if stack.kind(1) != Kind::Nil {
        settings.encode_invalid_numbers = match named_setting(stack, 1, &[c"off", c"on", c"null"]) {
            0 => InvalidNumbers::Error,
            1 => InvalidNumbers::Written,
            _ => InvalidNumbers::Null,
        };
        stack.set_settings(settings);
    }
    match settings.encode_invalid_numbers {
        InvalidNumbers::Error => stack.push_boolean(false),
        InvalidNumbers::Written => stack.push_boolean(true),
        InvalidNumbers::Null => stack.push_bytes(b"null"),
    }
    1
}

fn decode_invalid_numbers(stack: Stack<'_>) -> i32 {
    let mut settings = take_up_to(stack, 1);
    switch_setting(stack, 1, &mut settings.decode_invalid_numbers);
    stack.set_settings(settings);
    1
}
