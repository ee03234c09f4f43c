//! `cmsgpack`: MessagePack for scripts, as lua-cmsgpack 0.4.0 does it.
//!
//! A table whose keys are exactly 1 to n is an array, also the empty one; any other is a map. A number without a fraction
//! is an integer, another a float if that is exact, else a double. Tables nested deeper than 16 become nil when packed,
//! which ends cycles. What is unpacked may be nested as deep as Lua's 8,000 values a function allow.
//!
//! A length that the input only claims allocates nothing: tables grow by what is read.

use super::stack::{Buffer, BufferOf, Kind, Stack};

/// Deepest table that is packed.
const PACK_DEPTH_MAX: u32 = 16;

/// Pushes the library.
pub(super) fn open(stack: Stack<'_>) {
    stack.new_table();
    stack.add_function(c"pack", pack, None);
    stack.add_function(c"unpack", unpack, None);
    stack.add_function(c"unpack_one", unpack_one, None);
    stack.add_function(c"unpack_limit", unpack_limit, None);
    stack.add_text(c"_NAME", "cmsgpack");
    stack.add_text(c"_VERSION", "lua-cmsgpack 0.4.0");
    stack.add_text(c"_COPYRIGHT", "Copyright (C) 2012, Redis Ltd.");
    stack.add_text(c"_DESCRIPTION", "MessagePack C implementation for Lua");
}

// -- pack

fn pack(stack: Stack<'_>) -> i32 {
    let arguments = stack.top();
    if arguments == 0 {
        stack.raise_argument(0, format_args!("MessagePack pack needs input."));
    }
    if !stack.reserve(arguments) {
        stack.raise_argument(0, format_args!("Too many arguments for MessagePack pack."));
    }
    let mut output = Buffer::open(stack, BufferOf::Output);
    for argument in 1..=arguments {
        stack.push_copy(argument);
        pack_value(stack, 0, &mut output);
        stack.pop(1);
    }
    output.finish();
    1
}

/// Writes the value on top.
fn pack_value(stack: Stack<'_>, depth: u32, output: &mut Buffer<'_>) {
    match stack.kind(-1) {
        Kind::String => pack_bytes(stack.bytes(-1), output),
        Kind::Number => pack_number(stack.number(-1), output),
        Kind::Boolean => output.push(if stack.boolean(-1) { 0xC3 } else { 0xC2 }),
        Kind::Table if depth < PACK_DEPTH_MAX => match array_len(stack) {
            Some(len) => pack_array(stack, len, depth, output),
            None => pack_map(stack, depth, output),
        },
        _ => output.push(0xC0),
    }
}

/// Number of elements of the table on top if its keys are exactly 1 to that number.
fn array_len(stack: Stack<'_>) -> Option<u32> {
    let (mut max, mut count) = (0.0f64, 0u32);
    stack.reserve_or_raise(2, "in function table_is_an_array");
    stack.push_nil();
    while stack.next(-2) {
        stack.pop(1);
        let key = if stack.kind(-1) == Kind::Number { stack.number(-1) } else { 0.0 };
        if !(key > 0.0 && key <= f64::from(i32::MAX) && key.trunc() == key) {
            stack.pop(1);
            return None;
        }
        max = max.max(key);
        count += 1;
    }
    (max == f64::from(count)).then_some(count)
}

fn pack_array(stack: Stack<'_>, len: u32, depth: u32, output: &mut Buffer<'_>) {
    match len {
        0..=15 => output.push(0x90 | len as u8),
        16..=0xFFFF => {
            output.push(0xDC);
            output.extend(&(len as u16).to_be_bytes());
        }
        _ => {
            output.push(0xDD);
            output.extend(&len.to_be_bytes());
        }
    }
    stack.reserve_or_raise(1, "in function mp_encode_lua_table_as_array");
    for at in 1..=len {
        stack.raw_get_at(-1, at as i32);
        pack_value(stack, depth + 1, output);
        stack.pop(1);
    }
}

fn pack_map(stack: Stack<'_>, depth: u32, output: &mut Buffer<'_>) {
    stack.reserve_or_raise(3, "in function mp_encode_lua_table_as_map");
    let mut len = 0u32;
    stack.push_nil();
    while stack.next(-2) {
        stack.pop(1);
        len += 1;
    }
    match len {
        0..=15 => output.push(0x80 | len as u8),
        16..=0xFFFF => {
            output.push(0xDE);
            output.extend(&(len as u16).to_be_bytes());
        }
        _ => {
            output.push(0xDF);
            output.extend(&len.to_be_bytes());
        }
    }
    stack.push_nil();
    while stack.next(-2) {
        stack.push_copy(-2);
        pack_value(stack, depth + 1, output);
        stack.pop(1);
        pack_value(stack, depth + 1, output);
        stack.pop(1);
    }
}

fn pack_bytes(bytes: &[u8], output: &mut Buffer<'_>) {
    // A string of Lua is shorter than 2^32 by the memory that an engine may have.
    let len = bytes.len() as u32;
    match len {
        0..=31 => output.push(0xA0 | len as u8),
        32..=0xFF => output.extend(&[0xD9, len as u8]),
        0x100..=0xFFFF => {
            output.push(0xDA);
            output.extend(&(len as u16).to_be_bytes());
        }
        _ => {
            output.push(0xDB);
            output.extend(&len.to_be_bytes());
        }
    }
    output.extend(bytes);
}

fn pack_number(value: f64, output: &mut Buffer<'_>) {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if (-LIMIT..LIMIT).contains(&value) && value.trunc() == value {
        return pack_integer(value as i64, output);
    }
    let single = value as f32;
    if f64::from(single) == value {
        output.push(0xCA);
        output.extend(&single.to_be_bytes());
    } else {
        output.push(0xCB);
        output.extend(&value.to_be_bytes());
    }
}

fn pack_integer(value: i64, output: &mut Buffer<'_>) {
    match value {
        0..=0x7F => output.push(value as u8),
        0x80..=0xFF => output.extend(&[0xCC, value as u8]),
        0x100..=0xFFFF => {
            output.push(0xCD);
            output.extend(&(value as u16).to_be_bytes());
        }
        0x1_0000..=0xFFFF_FFFF => {
            output.push(0xCE);
            output.extend(&(value as u32).to_be_bytes());
        }
        0x1_0000_0000.. => {
            output.push(0xCF);
            output.extend(&value.to_be_bytes());
        }
        -32..=-1 => output.push(value as i8 as u8),
        -0x80..=-33 => output.extend(&[0xD0, value as i8 as u8]),
        -0x8000..=-0x81 => {
            output.push(0xD1);
            output.extend(&(value as i16).to_be_bytes());
        }
        -0x8000_0000..=-0x8001 => {
            output.push(0xD2);
            output.extend(&(value as i32).to_be_bytes());
        }
        _ => {
            output.push(0xD3);
            output.extend(&value.to_be_bytes());
        }
    }
}

// -- unpack

fn unpack(stack: Stack<'_>) -> i32 {
    unpack_from(stack, 0, 0)
}

fn unpack_one(stack: Stack<'_>) -> i32 {
    let offset = stack.argument_integer_or(2, 0);
    stack.set_top(1);
    unpack_from(stack, 1, offset)
}

fn unpack_limit(stack: Stack<'_>) -> i32 {
    let limit = stack.argument_integer(2);
    let offset = stack.argument_integer_or(3, 0);
    stack.set_top(1);
    unpack_from(stack, limit, offset)
}

/// Unpacks up to `limit` values from `offset` on, and answers the next offset before them, -1 at the end. With 0 and 0,
/// unpacks all values and answers those alone.
fn unpack_from(stack: Stack<'_>, limit: i64, offset: i64) -> i32 {
    let input = stack.argument_bytes(1);
    if offset < 0 || limit < 0 {
        stack.raise(format_args!(
            "Invalid request to unpack with offset of {} and limit of {}.",
            offset as i32,
            input.len() as i32
        ));
    }
    let all = limit == 0 && offset == 0;
    let Some(rest) = input.get(offset as usize..) else {
        stack.raise(format_args!("Start offset {} greater than input length {}.", offset as i32, input.len() as i32));
    };
    let limit = if all { i64::from(i32::MAX) } else { limit };
    let mut reader = Reader { rest };
    let mut nesting = Buffer::open(stack, BufferOf::Nesting);
    let mut results = 0;
    while !reader.rest.is_empty() && i64::from(results) < limit {
        match unpack_value(stack, &mut reader, &mut nesting) {
            Ok(()) => results += 1,
            Err(Malformed::Short) => stack.raise(format_args!("Missing bytes in input.")),
            Err(Malformed::Unknown) => stack.raise(format_args!("Bad data format in input.")),
        }
    }
    if !all {
        stack.reserve_or_raise(1, "in function mp_unpack_full");
        let next = if reader.rest.is_empty() { -1.0 } else { (input.len() - reader.rest.len()) as f64 };
        stack.push_number(next);
        stack.insert(2);
        results += 1;
    }
    results
}

/// What is wrong with the input.
#[derive(Debug, Clone, Copy)]
enum Malformed {
    Short,
    Unknown,
}

struct Reader<'i> {
    rest: &'i [u8],
}

impl<'i> Reader<'i> {
    fn take(&mut self, len: usize) -> Result<&'i [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Malformed::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed::Short)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }
}

/// A table that is being filled. On the stack: the table, and the key of the value that comes next, if it has come.
#[derive(Debug, Clone, Copy)]
struct Filling {
    is_map: bool,
    /// Of a map: the key is on the stack.
    has_key: bool,
    /// Elements, or pairs, that are still to come, the one that is being read included.
    left: u32,
    /// Of an array: index of the element that is being read.
    index: u32,
}

impl Filling {
    fn to_bytes(self) -> [u8; 9] {
        let mut bytes = [u8::from(self.is_map) | u8::from(self.has_key) << 1; 9];
        bytes[1..5].copy_from_slice(&self.left.to_ne_bytes());
        bytes[5..].copy_from_slice(&self.index.to_ne_bytes());
        bytes
    }

    fn from_bytes(bytes: [u8; 9]) -> Filling {
        let [flags, a, b, c, d, e, f, g, h] = bytes;
        Filling {
            is_map: flags & 1 != 0,
            has_key: flags & 2 != 0,
            left: u32::from_ne_bytes([a, b, c, d]),
            index: u32::from_ne_bytes([e, f, g, h]),
        }
    }
}

/// What one type byte stands for.
enum Value<'i> {
    Nil,
    Boolean(bool),
    Number(f64),
    Bytes(&'i [u8]),
    Array(u32),
    Map(u32),
}

fn read_value<'i>(reader: &mut Reader<'i>) -> Result<Value<'i>, Malformed> {
    let kind = reader.u8()?;
    Ok(match kind {
        0x00..=0x7F => Value::Number(f64::from(kind)),
        0x80..=0x8F => Value::Map(u32::from(kind & 15)),
        0x90..=0x9F => Value::Array(u32::from(kind & 15)),
        0xA0..=0xBF => Value::Bytes(reader.take(usize::from(kind & 31))?),
        0xC0 => Value::Nil,
        0xC2 => Value::Boolean(false),
        0xC3 => Value::Boolean(true),
        0xCA => Value::Number(f64::from(f32::from_bits(reader.u32()?))),
        0xCB => Value::Number(f64::from_bits(reader.u64()?)),
        0xCC => Value::Number(f64::from(reader.u8()?)),
        0xCD => Value::Number(f64::from(reader.u16()?)),
        0xCE => Value::Number(f64::from(reader.u32()?)),
        // From 2^63 on negative, since the library takes it for a signed integer.
        0xCF | 0xD3 => Value::Number(reader.u64()? as i64 as f64),
        0xD0 => Value::Number(f64::from(reader.u8()? as i8)),
        0xD1 => Value::Number(f64::from(reader.u16()? as i16)),
        0xD2 => Value::Number(f64::from(reader.u32()? as i32)),
        0xD9 => {
            let len = reader.u8()?;
            Value::Bytes(reader.take(usize::from(len))?)
        }
        0xDA => {
            let len = reader.u16()?;
            Value::Bytes(reader.take(usize::from(len))?)
        }
        0xDB => {
            let len = reader.u32()?;
            Value::Bytes(reader.take(len as usize)?)
        }
        0xDC => Value::Array(u32::from(reader.u16()?)),
        0xDD => Value::Array(reader.u32()?),
        0xDE => Value::Map(u32::from(reader.u16()?)),
        0xDF => Value::Map(reader.u32()?),
        0xE0..=0xFF => Value::Number(f64::from(kind as i8)),
        0xC1 | 0xC4..=0xC9 | 0xD4..=0xD8 => return Err(Malformed::Unknown),
    })
}

/// Pushes the next value, with all that is in it.
fn unpack_value(stack: Stack<'_>, reader: &mut Reader<'_>, around: &mut Buffer<'_>) -> Result<(), Malformed> {
    let mut filling = None::<Filling>;
    loop {
        if reader.rest.is_empty() {
            return Err(Malformed::Short);
        }
        stack.reserve_or_raise(1, "too many return values at once; use unpack_one or unpack_limit instead.");
        let opened = match read_value(reader)? {
            Value::Nil => {
                stack.push_nil();
                None
            }
            Value::Boolean(value) => {
                stack.push_boolean(value);
                None
            }
            Value::Number(value) => {
                stack.push_number(value);
                None
            }
            Value::Bytes(bytes) => {
                stack.push_bytes(bytes);
                None
            }
            Value::Array(len) => {
                stack.new_table();
                stack.reserve_or_raise(1, "in function mp_decode_to_lua_array");
                Some(Filling { is_map: false, has_key: false, left: len, index: 1 })
            }
            Value::Map(len) => {
                stack.new_table();
                Some(Filling { is_map: true, has_key: false, left: len, index: 0 })
            }
        };
        if let Some(opened) = opened.filter(|opened| opened.left > 0) {
            if let Some(filling) = filling {
                around.extend(&filling.to_bytes());
            }
            if !opened.is_map {
                // The element's index, on the stack to keep to the depth that the library has.
                stack.push_number(f64::from(opened.index));
            }
            filling = Some(opened);
            continue;
        }
        // The value on top goes to where it belongs; a table that is full is a value itself.
        loop {
            let Some(inner) = &mut filling else { return Ok(()) };
            if inner.is_map && !inner.has_key {
                inner.has_key = true;
                break;
            }
            stack.raw_set(-3);
            inner.left -= 1;
            if inner.left > 0 {
                if inner.is_map {
                    inner.has_key = false;
                } else {
                    inner.index = inner.index.wrapping_add(1);
                    stack.push_number(f64::from(inner.index));
                }
                break;
            }
            filling = around.pop().map(Filling::from_bytes);
        }
    }
}
