//! `bit`: operations on 32 bits, as LuaBitOp 1.0.2 does them.
//!
//! An argument is a number of any size, taken modulo 2^32 after rounding to the nearest integer, ties to even; a result
//! is signed. Shifts use the lower five bits of their distance.

use super::stack::Stack;

/// Pushes the library.
pub(super) fn open(stack: Stack<'_>) {
    stack.new_table();
    stack.add_function(c"tobit", tobit, None);
    stack.add_function(c"bnot", bnot, None);
    stack.add_function(c"band", band, None);
    stack.add_function(c"bor", bor, None);
    stack.add_function(c"bxor", bxor, None);
    stack.add_function(c"lshift", lshift, None);
    stack.add_function(c"rshift", rshift, None);
    stack.add_function(c"arshift", arshift, None);
    stack.add_function(c"rol", rol, None);
    stack.add_function(c"ror", ror, None);
    stack.add_function(c"bswap", bswap, None);
    stack.add_function(c"tohex", tohex, None);
}

/// Adding 2^52 + 2^51 puts the integer nearest to a double into the low bits of its mantissa.
const TO_INTEGER: f64 = 6_755_399_441_055_744.0;

fn bits(stack: Stack<'_>, index: i32) -> u32 {
    let bits = (stack.number(index) + TO_INTEGER).to_bits() as u32;
    if bits == 0 && !stack.is_numeric(index) {
        stack.raise_not_a_number(index);
    }
    bits
}

fn answer(stack: Stack<'_>, bits: u32) -> i32 {
    stack.push_number(f64::from(bits as i32));
    1
}

fn tobit(stack: Stack<'_>) -> i32 {
    answer(stack, bits(stack, 1))
}

fn bnot(stack: Stack<'_>) -> i32 {
    answer(stack, !bits(stack, 1))
}

/// All arguments put together; which of several bad ones is complained about is the first, then the last.
fn fold(stack: Stack<'_>, operation: fn(u32, u32) -> u32) -> i32 {
    let first = bits(stack, 1);
    let all = (2..=stack.top()).rev().fold(first, |all, index| operation(all, bits(stack, index)));
    answer(stack, all)
}

fn band(stack: Stack<'_>) -> i32 {
    fold(stack, |a, b| a & b)
}

fn bor(stack: Stack<'_>) -> i32 {
    fold(stack, |a, b| a | b)
}

fn bxor(stack: Stack<'_>) -> i32 {
    fold(stack, |a, b| a ^ b)
}

fn shift(stack: Stack<'_>, operation: fn(u32, u32) -> u32) -> i32 {
    let value = bits(stack, 1);
    let distance = bits(stack, 2) & 31;
    answer(stack, operation(value, distance))
}

fn lshift(stack: Stack<'_>) -> i32 {
    shift(stack, |value, distance| value << distance)
}

fn rshift(stack: Stack<'_>) -> i32 {
    shift(stack, |value, distance| value >> distance)
}

fn arshift(stack: Stack<'_>) -> i32 {
    shift(stack, |value, distance| (value as i32 >> distance) as u32)
}

fn rol(stack: Stack<'_>) -> i32 {
    shift(stack, u32::rotate_left)
}

fn ror(stack: Stack<'_>) -> i32 {
    shift(stack, u32::rotate_right)
}

fn bswap(stack: Stack<'_>) -> i32 {
    answer(stack, bits(stack, 1).swap_bytes())
}

/// The lowest digits, as many as the second argument says, 8 if it is missing; a negative number wants capitals.
fn tohex(stack: Stack<'_>) -> i32 {
    let value = bits(stack, 1);
    let wanted = if stack.is_absent(2) { 8 } else { bits(stack, 2) as i32 };
    // The smallest number has no positive counterpart in 32 bits, but the magnitude does.
    let count = wanted.unsigned_abs().min(8) as usize;
    let digits: &[u8; 16] = if wanted < 0 { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
    let mut text = [0; 8];
    for (at, place) in text.iter_mut().take(count).enumerate() {
        *place = digits[(value >> (4 * (count - 1 - at)) & 15) as usize];
    }
    stack.push_bytes(&text[..count]);
    1
}
