//! `struct`: packing values into strings by a format, and back, as version 0.2 of the library with that name does it.
//!
//! | letter | packs | | letter | packs |
//! |---|---|---|---|---|
//! | `<` `>` | little, big endian from here on | | `i`n `I`n | integer of n bytes, 1 to 32; 4 without n |
//! | `!`n | alignment to at most n, a power of two; 8 without n | | `f` `d` | float, double |
//! | `b` `B` `h` `H` `l` `L` `T` | 1, 2, 8, 8 bytes, signed and unsigned | | `s` | string and a NUL |
//! | `x` blank | a NUL, nothing | | `c`n | n bytes; `c0`: all of a string, or as many as the number before |
//!
//! Numbers that do not fit become what C on x86-64 makes of them, since formats are used to exchange data with programs
//! that exist. A size that is only claimed allocates nothing: it is compared with the data first.

use super::stack::{Buffer, BufferOf, Stack};

/// Pushes the library.
pub(super) fn open(stack: Stack<'_>) {
    stack.new_table();
    stack.add_function(c"pack", pack, None);
    stack.add_function(c"unpack", unpack, None);
    stack.add_function(c"size", size, None);
}

/// Largest integer, in bytes.
const INTEGER_MAX: usize = 32;

const ALIGNMENT_DEFAULT: i32 = 8;

/// Reads a format. It ends at its first NUL.
struct Format<'f> {
    stack: Stack<'f>,
    text: &'f [u8],
    at: usize,
    big_endian: bool,
    /// A power of two.
    alignment_max: usize,
}

impl<'f> Format<'f> {
    /// The first argument.
    fn argument(stack: Stack<'f>) -> Format<'f> {
        Format { stack, text: stack.argument_bytes(1), at: 0, big_endian: false, alignment_max: 1 }
    }

    /// The next letter.
    fn letter(&mut self) -> Option<u8> {
        let letter = self.text.get(self.at).copied().filter(|letter| *letter != 0)?;
        self.at += 1;
        Some(letter)
    }

    /// The number that stands here, or `default`.
    fn number(&mut self, default: i32) -> i32 {
        let mut number = None;
        while let Some(digit) = self.text.get(self.at).filter(|byte| byte.is_ascii_digit()) {
            let next =
                number.unwrap_or(0i32).checked_mul(10).and_then(|tens| tens.checked_add(i32::from(digit - b'0')));
            if next.is_none() {
                self.stack.raise(format_args!("integral size overflow"));
            }
            number = next;
            self.at += 1;
        }
        number.unwrap_or(default)
    }

    /// Bytes that `letter` takes; 0 if that depends on the value, or it takes none.
    fn size_of(&mut self, letter: u8) -> usize {
        match letter {
            b'B' | b'b' | b'x' => 1,
            b'H' | b'h' => 2,
            b'f' => 4,
            b'L' | b'l' | b'T' | b'd' => 8,
            b'c' => self.number(1) as usize,
            b'I' | b'i' => {
                let size = self.number(4);
                if size as usize > INTEGER_MAX {
                    self.stack.raise(format_args!("integral size {size} is larger than limit of {INTEGER_MAX}"));
                }
                size as usize
            }
            _ => 0,
        }
    }

    /// Bytes to leave out at `position` so that what has `size` is aligned.
    fn padding(&self, position: usize, letter: u8, size: usize) -> usize {
        if size == 0 || letter == b'c' {
            return 0;
        }
        // With sizes that are no powers of two this is what C makes of it.
        let size = size.min(self.alignment_max);
        (size - (position & (size - 1))) & (size - 1)
    }

    /// What is not a value: byte order, alignment, blanks. Raises for anything else.
    fn control(&mut self, letter: u8) {
        match letter {
            b' ' => {}
            b'>' => self.big_endian = true,
            b'<' => self.big_endian = false,
            b'!' => {
                let alignment = self.number(ALIGNMENT_DEFAULT);
                if alignment <= 0 || alignment & (alignment - 1) != 0 {
                    self.stack.raise(format_args!("alignment {alignment} is not a power of 2"));
                }
                self.alignment_max = alignment as usize;
            }
            _ => self.stack.raise_argument_letter(1, "invalid format option '", letter),
        }
    }
}

fn pack(stack: Stack<'_>) -> i32 {
    let mut format = Format::argument(stack);
    // The first argument that is missing reads as nil.
    stack.push_nil();
    let mut output = Buffer::open(stack, BufferOf::Output);
    let mut argument = 2;
    let mut position = 0usize;
    while let Some(letter) = format.letter() {
        let mut size = format.size_of(letter);
        let padding = format.padding(position, letter, size);
        position = position.wrapping_add(padding);
        for _ in 0..padding {
            output.push(0);
        }
        match letter {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                let value = integer_of(stack.argument_number(argument));
                argument += 1;
                // Bytes beyond eight are zero, whatever the sign.
                let mut bytes = [0; INTEGER_MAX];
                bytes[..8].copy_from_slice(&value.to_le_bytes());
                let bytes = &mut bytes[..size];
                if format.big_endian {
                    bytes.reverse();
                }
                output.extend(bytes);
            }
            b'x' => output.push(0),
            b'f' => {
                let value = stack.argument_number(argument) as f32;
                argument += 1;
                output.extend(&if format.big_endian { value.to_be_bytes() } else { value.to_le_bytes() });
            }
            b'd' => {
                let value = stack.argument_number(argument);
                argument += 1;
                output.extend(&if format.big_endian { value.to_be_bytes() } else { value.to_le_bytes() });
            }
            b'c' | b's' => {
                let bytes = stack.argument_bytes(argument);
                argument += 1;
                if size == 0 {
                    size = bytes.len();
                }
                match bytes.get(..size) {
                    Some(bytes) => output.extend(bytes),
                    // The number in the error is one too high, in the library as well.
                    None => stack.raise_argument(argument, format_args!("string too short")),
                }
                if letter == b's' {
                    output.push(0);
                    size += 1;
                }
            }
            _ => format.control(letter),
        }
        position = position.wrapping_add(size);
    }
    output.finish();
    1
}

fn unpack(stack: Stack<'_>) -> i32 {
    let mut format = Format::argument(stack);
    let data = stack.argument_bytes(2);
    let offset = stack.argument_integer_or(3, 1) as usize;
    if offset == 0 {
        stack.raise_argument(3, format_args!("offset must be 1 or greater"));
    }
    let mut position = offset - 1;
    let mut results = 0;
    while let Some(letter) = format.letter() {
        let mut size = format.size_of(letter);
        position = position.wrapping_add(format.padding(position, letter, size));
        let mut bytes = part(stack, data, position, size);
        // The value, and the position at the end.
        stack.reserve_or_raise(2, "too many results");
        match letter {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                stack.push_number(integer_from(bytes, format.big_endian, letter.is_ascii_lowercase()));
                results += 1;
            }
            b'x' => {}
            b'f' => {
                let bytes: [u8; 4] = bytes.try_into().unwrap_or_default();
                let value = if format.big_endian { f32::from_be_bytes(bytes) } else { f32::from_le_bytes(bytes) };
                stack.push_number(f64::from(value));
                results += 1;
            }
            b'd' => {
                let bytes: [u8; 8] = bytes.try_into().unwrap_or_default();
                stack.push_number(if format.big_endian {
                    f64::from_be_bytes(bytes)
                } else {
                    f64::from_le_bytes(bytes)
                });
                results += 1;
            }
            b'c' => {
                if size == 0 {
                    if results == 0 || !stack.is_numeric(-1) {
                        stack.raise(format_args!("format 'c0' needs a previous size"));
                    }
                    size = unsigned_of(stack.number(-1)) as usize;
                    stack.pop(1);
                    results -= 1;
                    bytes = part(stack, data, position, size);
                }
                stack.push_bytes(bytes);
                results += 1;
            }
            b's' => {
                let rest = data.get(position..).unwrap_or_default();
                let Some(len) = rest.iter().position(|&byte| byte == 0) else {
                    stack.raise(format_args!("unfinished string in data"));
                };
                stack.push_bytes(rest.get(..len).unwrap_or_default());
                size = len + 1;
                results += 1;
            }
            _ => format.control(letter),
        }
        position = position.wrapping_add(size);
    }
    stack.push_number((position.wrapping_add(1)) as i64 as f64);
    results + 1
}

/// `size` bytes of the data from `position` on, or an error.
fn part<'d>(stack: Stack<'_>, data: &'d [u8], position: usize, size: usize) -> &'d [u8] {
    match position.checked_add(size).and_then(|end| data.get(position..end)) {
        Some(bytes) => bytes,
        None => stack.raise_argument(2, format_args!("data string too short")),
    }
}

fn size(stack: Stack<'_>) -> i32 {
    let mut format = Format::argument(stack);
    let mut position = 0usize;
    while let Some(letter) = format.letter() {
        let size = format.size_of(letter);
        position = position.wrapping_add(format.padding(position, letter, size));
        match letter {
            b's' => stack.raise_argument(1, format_args!("option 's' has no fixed size")),
            b'c' if size == 0 => stack.raise_argument(1, format_args!("option 'c0' has no fixed size")),
            // Letters without a meaning pass here, in the library as well.
            _ if letter.is_ascii_alphanumeric() => {}
            _ => format.control(letter),
        }
        position = position.wrapping_add(size);
    }
    stack.push_number(position as i64 as f64);
    1
}

/// The 64 bits of a number: of a negative one its two's complement.
fn integer_of(value: f64) -> u64 {
    if value < 0.0 { signed_of(value) as u64 } else { unsigned_of(value) }
}

/// A double as a signed integer, as x86-64 converts it: what does not fit is the smallest number.
fn signed_of(value: f64) -> i64 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if (-LIMIT..LIMIT).contains(&value) { value as i64 } else { i64::MIN }
}

/// A double as an unsigned integer, as C on x86-64 converts it: from 2^64 on 0, negative numbers wrap.
fn unsigned_of(value: f64) -> u64 {
    const HALF: f64 = 9_223_372_036_854_775_808.0;
    if value >= HALF { signed_of(value - HALF) as u64 ^ 1 << 63 } else { signed_of(value) as u64 }
}

/// An integer of 0 to 32 bytes. Of more than eight, the lowest eight count.
fn integer_from(bytes: &[u8], big_endian: bool, signed: bool) -> f64 {
    let add = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
    let value = if big_endian { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) };
    if !signed {
        return value as f64;
    }
    // From the sign on. With more than eight bytes the distance wraps, as it does in the library.
    let mask = u64::MAX.wrapping_shl((bytes.len() as u32 * 8).wrapping_sub(1));
    (if value & mask != 0 { value | mask } else { value }) as i64 as f64
}
