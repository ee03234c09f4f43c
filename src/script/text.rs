//! Functions on strings that Lua's own would do without a bound: `rep`, and those that look for a pattern.
//!
//! Lua 5.1 matches patterns by recursion as deep as the pattern has quantifiers, and for as long as it takes: a few dozen
//! bytes of pattern can run for years, and no instruction of Lua is executed meanwhile, so that nobody could end the script.
//! Here the depth has a limit, and the server is asked now and then whether to go on. What is found is the same to the byte.

use super::engine::Link;
use super::lua::{self, Function, State, Type, upvalue};
use std::ffi::c_int;

/// Under the names that they have in the table `string`.
pub(super) const FUNCTIONS: &[(&str, Function)] =
    &[("find", find), ("gfind", gmatch), ("gmatch", gmatch), ("gsub", gsub), ("match", find_match), ("rep", repeat)];

/// Captures of one pattern.
const CAPTURES_MAX: usize = 32;
/// How deep one part of a pattern may wait for what comes behind it.
const DEPTH_MAX: u32 = 200;
/// Steps of a search between two questions to the server.
const STEPS_PER_PAUSE: u32 = 20_000;
/// Bytes that count as one step where they are compared or copied.
const BYTES_PER_STEP: usize = 64;
/// Longest string that `rep` makes; what is longer does not fit into an argument or a reply either.
const REPEATED_MAX: usize = 1 << 30;
/// Copies of a string that are put together first, so that a short one is not added a million times.
const BLOCK_BYTES: usize = 4096;

const ESCAPE: u8 = b'%';
const SPECIALS: &[u8] = b"^$*+?.([%-";

/// Counts steps, and asks the server now and then.
struct Steps {
    l: State,
    link: Link,
    left: u32,
}

impl Steps {
    fn new(l: State) -> Steps {
        Steps { l, link: Link::own(l), left: STEPS_PER_PAUSE }
    }

    #[inline]
    fn take(&mut self, count: usize) {
        match u32::try_from(count).ok().and_then(|count| self.left.checked_sub(count)) {
            Some(left) => self.left = left,
            None => {
                self.left = STEPS_PER_PAUSE;
                self.link.pause(self.l);
            }
        }
    }
}

extern "C-unwind" fn repeat(l: State) -> c_int {
    let text = l.check_bytes(1);
    let count = l.check_number(2);
    if count < 1.0 || count.is_nan() || text.is_empty() {
        l.push_string(b"");
        return 1;
    }
    let total = count.trunc() * text.len() as f64;
    if total > REPEATED_MAX as f64 {
        l.raise_at_caller(b"not enough memory");
    }
    let count = count as usize;
    let mut steps = Steps::new(l);
    let mut block = [0u8; BLOCK_BYTES];
    let per_block = BLOCK_BYTES / text.len();
    let mut result = lua::Buffer::new();
    result.begin(l);
    let mut left = count;
    if per_block > 1 && count > per_block {
        for chunk in block.chunks_exact_mut(text.len()) {
            chunk.copy_from_slice(text);
        }
        let block = block.get(..per_block * text.len()).unwrap_or_default();
        while left >= per_block {
            steps.take(block.len() / BYTES_PER_STEP);
            result.add(block);
            left -= per_block;
        }
    }
    for _ in 0..left {
        steps.take(text.len() / BYTES_PER_STEP + 1);
        result.add(text);
    }
    result.finish();
    1
}

#[derive(Clone, Copy)]
enum CaptureLen {
    Bytes(usize),
    /// Its end has not been found.
    Open,
    /// It stands for its position.
    Position,
}

/// A search for a pattern.
struct Search<'a> {
    subject: &'a [u8],
    pattern: &'a [u8],
    captures: [(usize, CaptureLen); CAPTURES_MAX],
    level: usize,
    depth: u32,
    steps: Steps,
}

impl<'a> Search<'a> {
    fn new(l: State, subject: &'a [u8], pattern: &'a [u8]) -> Search<'a> {
        let captures = [(0, CaptureLen::Open); CAPTURES_MAX];
        // A pattern ends at its first NUL, as it does for Lua 5.1.
        let pattern = pattern.split(|&byte| byte == 0).next().unwrap_or_default();
        Search { subject, pattern, captures, level: 0, depth: 0, steps: Steps::new(l) }
    }

    fn fail(&self, text: &[u8]) -> ! {
        self.steps.l.raise_at_caller(text)
    }

    /// A byte of the pattern; 0 at its end.
    #[inline]
    fn at(&self, p: usize) -> u8 {
        self.pattern.get(p).copied().unwrap_or(0)
    }

    /// Where the pattern from `p` on, matched at `s`, ends.
    fn find_end(&mut self, s: usize, p: usize) -> Option<usize> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            self.fail(b"pattern too complex");
        }
        let end = self.match_here(s, p);
        self.depth -= 1;
        end
    }

    fn match_here(&mut self, mut s: usize, mut p: usize) -> Option<usize> {
        loop {
            self.steps.take(1);
            match self.at(p) {
                0 => return Some(s),
                b'(' if self.at(p + 1) == b')' => return self.open_capture(s, p + 2, CaptureLen::Position),
                b'(' => return self.open_capture(s, p + 1, CaptureLen::Open),
                b')' => return self.close_capture(s, p + 1),
                b'$' if self.at(p + 1) == 0 => return (s == self.subject.len()).then_some(s),
                ESCAPE if self.at(p + 1) == b'b' => {
                    s = self.match_balance(s, p + 2)?;
                    p += 4;
                    continue;
                }
                ESCAPE if self.at(p + 1) == b'f' => {
                    p += 2;
                    if self.at(p) != b'[' {
                        self.fail(b"missing '[' after '%f' in pattern");
                    }
                    let end = self.class_end(p);
                    let before = s.checked_sub(1).and_then(|at| self.subject.get(at)).copied().unwrap_or(0);
                    let here = self.subject.get(s).copied().unwrap_or(0);
                    if self.in_set(before, p, end - 1) || !self.in_set(here, p, end - 1) {
                        return None;
                    }
                    p = end;
                    continue;
                }
                ESCAPE if self.at(p + 1).is_ascii_digit() => {
                    s = self.match_capture(s, self.at(p + 1))?;
                    p += 2;
                    continue;
                }
                _ => {}
            }
            let end = self.class_end(p);
            let matches = self.matches_one(s, p, end);
            match self.at(end) {
                b'?' => {
                    if matches && let Some(found) = self.find_end(s + 1, end + 1) {
                        return Some(found);
                    }
                    p = end + 1;
                }
                b'*' => return self.match_most(s, p, end),
                b'+' => return if matches { self.match_most(s + 1, p, end) } else { None },
                b'-' => return self.match_least(s, p, end),
                _ if !matches => return None,
                _ => (s, p) = (s + 1, end),
            }
        }
    }

    fn match_most(&mut self, s: usize, p: usize, end: usize) -> Option<usize> {
        let mut count = 0;
        while self.matches_one(s + count, p, end) {
            self.steps.take(1);
            count += 1;
        }
        (0..=count).rev().find_map(|count| self.find_end(s + count, end + 1))
    }

    fn match_least(&mut self, mut s: usize, p: usize, end: usize) -> Option<usize> {
        loop {
            if let Some(found) = self.find_end(s, end + 1) {
                return Some(found);
            }
            if !self.matches_one(s, p, end) {
                return None;
            }
            s += 1;
        }
    }

    fn open_capture(&mut self, s: usize, p: usize, len: CaptureLen) -> Option<usize> {
        let level = self.level;
        match self.captures.get_mut(level) {
            Some(capture) => *capture = (s, len),
            None => self.fail(b"too many captures"),
        }
        self.level = level + 1;
        let found = self.find_end(s, p);
        if found.is_none() {
            self.level -= 1;
        }
        found
    }

    fn close_capture(&mut self, s: usize, p: usize) -> Option<usize> {
        let open = self.captures.iter_mut().take(self.level).rev();
        let last = open.into_iter().position(|capture| matches!(capture.1, CaptureLen::Open));
        let Some(back) = last else { self.fail(b"invalid pattern capture") };
        let level = self.level - 1 - back;
        if let Some(capture) = self.captures.get_mut(level) {
            capture.1 = CaptureLen::Bytes(s - capture.0);
        }
        let found = self.find_end(s, p);
        if found.is_none()
            && let Some(capture) = self.captures.get_mut(level)
        {
            capture.1 = CaptureLen::Open;
        }
        found
    }

    fn match_capture(&mut self, s: usize, digit: u8) -> Option<usize> {
        let level = usize::from(digit).wrapping_sub(usize::from(b'1'));
        let capture = self.captures.iter().take(self.level).nth(level).copied();
        let (start, len) = match capture {
            Some((start, CaptureLen::Bytes(len))) => (start, len),
            Some((_, CaptureLen::Position)) => return None,
            _ => self.fail(b"invalid capture index"),
        };
        self.steps.take(len / BYTES_PER_STEP);
        let (captured, here) = (self.subject.get(start..start + len), self.subject.get(s..s + len));
        (here.is_some() && captured == here).then_some(s + len)
    }

    fn match_balance(&mut self, s: usize, p: usize) -> Option<usize> {
        let (open, close) = (self.at(p), self.at(p + 1));
        if open == 0 || close == 0 {
            self.fail(b"unbalanced pattern");
        }
        if self.subject.get(s) != Some(&open) {
            return None;
        }
        let mut depth = 1usize;
        for (at, &byte) in self.subject.iter().enumerate().skip(s + 1) {
            self.steps.take(1);
            if byte == close {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            } else if byte == open {
                depth += 1;
            }
        }
        None
    }

    /// Where the class that begins at `p` ends.
    fn class_end(&self, mut p: usize) -> usize {
        let first = self.at(p);
        p += 1;
        match first {
            ESCAPE => {
                if self.at(p) == 0 {
                    self.fail(b"malformed pattern (ends with '%')");
                }
                p + 1
            }
            b'[' => {
                if self.at(p) == b'^' {
                    p += 1;
                }
                loop {
                    if self.at(p) == 0 {
                        self.fail(b"malformed pattern (missing ']')");
                    }
                    let escape = self.at(p) == ESCAPE;
                    p += 1;
                    if escape && self.at(p) != 0 {
                        p += 1;
                    }
                    if self.at(p) == b']' {
                        return p + 1;
                    }
                }
            }
            _ => p,
        }
    }

    #[inline]
    fn matches_one(&self, s: usize, p: usize, end: usize) -> bool {
        let Some(&byte) = self.subject.get(s) else { return false };
        match self.at(p) {
            b'.' => true,
            ESCAPE => in_class(byte, self.at(p + 1)),
            b'[' => self.in_set(byte, p, end - 1),
            literal => literal == byte,
        }
    }

    /// Whether a byte is in the set whose brackets are at `p` and `last`.
    fn in_set(&self, byte: u8, mut p: usize, last: usize) -> bool {
        let mut inside = true;
        if self.at(p + 1) == b'^' {
            inside = false;
            p += 1;
        }
        loop {
            p += 1;
            if p >= last {
                return !inside;
            }
            if self.at(p) == ESCAPE {
                p += 1;
                if in_class(byte, self.at(p)) {
                    return inside;
                }
            } else if self.at(p + 1) == b'-' && p + 2 < last {
                p += 2;
                if (self.at(p - 2)..=self.at(p)).contains(&byte) {
                    return inside;
                }
            } else if self.at(p) == byte {
                return inside;
            }
        }
    }

    /// Pushes capture number `index`, or the whole match as the first where there are none.
    fn push_capture(&self, index: usize, whole: &[u8]) {
        let l = self.steps.l;
        if index >= self.level {
            if index != 0 {
                self.fail(b"invalid capture index");
            }
            return l.push_string(whole);
        }
        match self.captures.get(index) {
            Some(&(start, CaptureLen::Bytes(len))) => {
                l.push_string(self.subject.get(start..start + len).unwrap_or_default());
            }
            Some(&(start, CaptureLen::Position)) => l.push_number((start + 1) as f64),
            _ => self.fail(b"unfinished capture"),
        }
    }

    /// Pushes all captures, or the whole match if there are none. Returns how many values these are.
    fn push_captures(&self, whole: Option<&[u8]>) -> c_int {
        let count = if self.level == 0 && whole.is_some() { 1 } else { self.level };
        if !self.steps.l.check_stack(CAPTURES_MAX as c_int) {
            self.fail(b"stack overflow (too many captures)");
        }
        for index in 0..count {
            self.push_capture(index, whole.unwrap_or_default());
        }
        count as c_int
    }

    /// The next match from `s` on, with its end.
    fn next_match(&mut self, s: usize, p: usize, anchored: bool) -> Option<(usize, usize)> {
        for start in s..=self.subject.len() {
            (self.level, self.depth) = (0, 0);
            if let Some(end) = self.find_end(start, p) {
                return Some((start, end));
            }
            if anchored {
                break;
            }
        }
        None
    }
}

/// Whether a byte is in the class of a letter; a capital is its opposite, anything else itself.
fn in_class(byte: u8, class: u8) -> bool {
    let inside = match class.to_ascii_lowercase() {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        b's' => matches!(byte, b' ' | b'\t'..=b'\r'),
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        b'z' => byte == 0,
        _ => return class == byte,
    };
    inside != class.is_ascii_uppercase()
}

extern "C-unwind" fn find(l: State) -> c_int {
    find_in(l, true)
}

extern "C-unwind" fn find_match(l: State) -> c_int {
    find_in(l, false)
}

/// Where a search begins: the third argument, from the end if it is negative.
fn start_of(l: State, len: usize) -> usize {
    let start = l.number_or(3, 1.0).trunc();
    let start = if start < 0.0 { start + len as f64 + 1.0 } else { start };
    if start <= 1.0 { 0 } else { (start as usize - 1).min(len) }
}

fn find_in(l: State, positions: bool) -> c_int {
    let (subject, pattern) = (l.check_bytes(1), l.check_bytes(2));
    let start = start_of(l, subject.len());
    if positions {
        let mut plain = pattern.iter().take_while(|&&byte| byte != 0);
        if l.truth(4) || !plain.any(|byte| SPECIALS.contains(byte)) {
            return find_plain(l, subject, pattern, start);
        }
    }
    let anchored = pattern.first() == Some(&b'^');
    let mut search = Search::new(l, subject, pattern);
    let Some((from, to)) = search.next_match(start, usize::from(anchored), anchored) else {
        l.push_nil();
        return 1;
    };
    if positions {
        l.push_number((from + 1) as f64);
        l.push_number(to as f64);
        return search.push_captures(None) + 2;
    }
    search.push_captures(Some(subject.get(from..to).unwrap_or_default()))
}

fn find_plain(l: State, subject: &[u8], wanted: &[u8], start: usize) -> c_int {
    let mut steps = Steps::new(l);
    let mut at = start;
    let found = loop {
        let Some(rest) = subject.get(at..).filter(|rest| rest.len() >= wanted.len()) else { break None };
        let Some(&first) = wanted.first() else { break Some(at) };
        let last = rest.len() - wanted.len();
        // In pieces, so that the search can be ended anywhere.
        let piece = rest.get(..=last.min(BYTES_PER_STEP * 1024)).unwrap_or_default();
        let skip = piece.iter().position(|&byte| byte == first);
        steps.take(skip.unwrap_or(piece.len()) / BYTES_PER_STEP + 1);
        let Some(skip) = skip else {
            at += piece.len();
            continue;
        };
        at += skip;
        steps.take(wanted.len() / BYTES_PER_STEP);
        if subject.get(at..at + wanted.len()) == Some(wanted) {
            break Some(at);
        }
        at += 1;
    };
    let Some(at) = found else {
        l.push_nil();
        return 1;
    };
    l.push_number((at + 1) as f64);
    l.push_number((at + wanted.len()) as f64);
    2
}

extern "C-unwind" fn gmatch(l: State) -> c_int {
    l.check_bytes(1);
    l.check_bytes(2);
    let link = Link::own(l);
    l.set_top(2);
    l.push_address(link.address());
    l.insert(1);
    l.push_number(0.0);
    l.push_function(gmatch_next, 4);
    1
}

/// Its own values: the link, the subject, the pattern, and where to go on.
extern "C-unwind" fn gmatch_next(l: State) -> c_int {
    let (subject, pattern) = (l.bytes(upvalue(2)), l.bytes(upvalue(3)));
    let start = l.number(upvalue(4)) as usize;
    let mut search = Search::new(l, subject, pattern);
    let Some((from, to)) = search.next_match(start, 0, false) else { return 0 };
    l.push_number(if to == from { to + 1 } else { to } as f64);
    l.replace(upvalue(4));
    search.push_captures(Some(subject.get(from..to).unwrap_or_default()))
}

extern "C-unwind" fn gsub(l: State) -> c_int {
    let (subject, pattern) = (l.check_bytes(1), l.check_bytes(2));
    if !matches!(l.kind(3), Type::Number | Type::String | Type::Table) && !l.is_function(3) {
        l.raise_argument(3, c"string/function/table expected");
    }
    if l.kind(3) == Type::Number {
        // As a string from here on.
        l.bytes(3);
    }
    let most = l.number_or(4, subject.len() as f64 + 1.0);
    let anchored = pattern.first() == Some(&b'^');
    let mut search = Search::new(l, subject, pattern);
    let mut result = lua::Buffer::new();
    result.begin(l);
    let (mut at, mut copied, mut count) = (0, 0, 0.0);
    while count < most {
        (search.level, search.depth) = (0, 0);
        let end = search.find_end(at, usize::from(anchored));
        if let Some(end) = end {
            count += 1.0;
            result.add(subject.get(copied..at).unwrap_or_default());
            add_replacement(l, &search, &mut result, subject.get(at..end).unwrap_or_default());
            copied = end;
        }
        match end {
            Some(end) if end > at => at = end,
            _ if at < subject.len() => at += 1,
            _ => break,
        }
        if anchored {
            break;
        }
    }
    result.add(subject.get(copied..).unwrap_or_default());
    result.finish();
    l.push_number(count);
    2
}

fn add_replacement(l: State, search: &Search<'_>, result: &mut lua::Buffer, whole: &[u8]) {
    match l.kind(3) {
        Type::String => return add_template(l, search, result, whole),
        Type::Table => {
            search.push_capture(0, whole);
            l.get(3);
        }
        _ => {
            l.push_value(3);
            let count = search.push_captures(Some(whole));
            l.call(count, 1);
        }
    }
    match l.kind(-1) {
        Type::String | Type::Number => {}
        _ if !l.truth(-1) => {
            l.pop(1);
            l.push_string(whole);
        }
        kind => {
            let name: &[u8] = match kind {
                Type::Boolean => b"invalid replacement value (a boolean)",
                Type::Table => b"invalid replacement value (a table)",
                _ if l.is_function(-1) => b"invalid replacement value (a function)",
                _ => b"invalid replacement value (a userdata)",
            };
            l.raise_at_caller(name);
        }
    }
    result.add_value();
}

/// Adds a replacement in which `%1` and the like stand for captures.
fn add_template(l: State, search: &Search<'_>, result: &mut lua::Buffer, whole: &[u8]) {
    let mut rest = l.bytes(3);
    while let Some(at) = rest.iter().position(|&byte| byte == ESCAPE) {
        let (plain, escaped) = rest.split_at(at);
        result.add(plain);
        let letter = escaped.get(1).copied().unwrap_or(0);
        match letter {
            b'0' => result.add(whole),
            b'1'..=b'9' => {
                search.push_capture(usize::from(letter - b'1'), whole);
                result.add_value();
            }
            other => result.add(&[other]),
        }
        rest = escaped.get(2..).unwrap_or_default();
    }
    result.add(rest);
}
