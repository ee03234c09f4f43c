//! The stack of the calling thread with names, in any situation: nothing here allocates, locks or needs the C library's
//! help beyond reading a file.
//!
//! Addresses come from the unwinder that panics use. Names come from the symbol table of the program's own file, which is
//! mapped into memory while they are looked up; a program that was stripped has none, and addresses alone are told.

use std::ffi::c_void;
use std::fmt::{self, Write};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Frames that are told.
const FRAMES_MAX: usize = 64;

/// Where the program lies in memory, less where its file says.
static LOAD_BIAS: AtomicUsize = AtomicUsize::new(0);

/// Return addresses, innermost first.
#[derive(Clone, Copy)]
pub(super) struct Stack {
    addresses: [usize; FRAMES_MAX],
    count: usize,
}

unsafe extern "C" {
    fn _Unwind_Backtrace(each: extern "C" fn(*mut c_void, *mut c_void) -> i32, argument: *mut c_void) -> i32;
    fn _Unwind_GetIP(context: *mut c_void) -> usize;
}

extern "C" fn note_frame(context: *mut c_void, stack: *mut c_void) -> i32 {
    const GO_ON: i32 = 0;
    const STOP: i32 = 4;
    // SAFETY: the stack that `here` passed, which nobody else refers to meanwhile.
    let Some(stack) = (unsafe { stack.cast::<Stack>().as_mut() }) else { return STOP };
    // SAFETY: the context is the unwinder's, for the duration of this call.
    let address = unsafe { _Unwind_GetIP(context) };
    match stack.addresses.get_mut(stack.count) {
        Some(place) => *place = address,
        None => return STOP,
    }
    stack.count += 1;
    GO_ON
}

impl Stack {
    /// The stack of the caller.
    #[inline(never)]
    pub(super) fn here() -> Stack {
        let mut stack = Stack { addresses: [0; FRAMES_MAX], count: 0 };
        // SAFETY: calls back with the pointer that it gets, before it returns.
        unsafe { _Unwind_Backtrace(note_frame, (&raw mut stack).cast()) };
        stack
    }

    /// Notes where the program lies, and makes the unwinder read what it reads once. To be called early.
    pub(super) fn prepare() {
        // SAFETY: asks for a value that the kernel has left.
        let headers = unsafe { libc::getauxval(libc::AT_PHDR) } as usize;
        let image = Image::of_program();
        if let Some(expected) = image.as_ref().and_then(|image| image.header_address()) {
            LOAD_BIAS.store(headers.wrapping_sub(expected), Ordering::Relaxed);
        }
        let _ = Stack::here();
    }

    /// One line for each frame.
    pub(super) fn tell(&self, out: &mut dyn Write) -> fmt::Result {
        let image = Image::of_program();
        let bias = LOAD_BIAS.load(Ordering::Relaxed);
        for (number, address) in self.addresses.iter().take(self.count).enumerate() {
            write!(out, "{number:>3}: {address:#018x}")?;
            // A return address may be right behind a function that does not return.
            let wanted = address.wrapping_sub(bias).wrapping_sub(1) as u64;
            if let Some((name, offset)) = image.as_ref().and_then(|image| image.symbol(wanted)) {
                out.write_str(" ")?;
                write_name(out, name)?;
                write!(out, "+{:#x}", offset + 1)?;
            }
            out.write_str("\n")?;
        }
        Ok(())
    }
}

/// The program's file in memory.
struct Image {
    bytes: &'static [u8],
}

impl Image {
    fn of_program() -> Option<Image> {
        // SAFETY: a path that ends with a zero byte; the descriptor is closed below.
        let fd = unsafe { libc::open(c"/proc/self/exe".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
        if fd < 0 {
            return None;
        }
        // SAFETY: the file is open; it is asked for its length by going to its end.
        let end = unsafe { libc::lseek(fd, 0, libc::SEEK_END) };
        let len = usize::try_from(end).unwrap_or(0);
        // SAFETY: a new mapping, for reading only, of a file that nobody writes to while it runs.
        let mapped = unsafe { libc::mmap(ptr::null_mut(), len, libc::PROT_READ, libc::MAP_PRIVATE, fd, 0) };
        // SAFETY: opened above; the mapping stays without it.
        unsafe { libc::close(fd) };
        if mapped == libc::MAP_FAILED {
            return None;
        }
        // SAFETY: mapped above with this length, until this is dropped.
        Some(Image { bytes: unsafe { std::slice::from_raw_parts(mapped.cast(), len) } })
    }

    fn number(&self, at: usize, bytes: usize) -> Option<u64> {
        let bytes = self.bytes.get(at..at.checked_add(bytes)?)?;
        Some(bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    fn is_elf_64(&self) -> bool {
        self.bytes.starts_with(b"\x7fELF\x02\x01")
    }

    /// The address that the file gives to its table of segments.
    fn header_address(&self) -> Option<usize> {
        if !self.is_elf_64() {
            return None;
        }
        let offset = self.number(0x20, 8)?;
        let (size, count) = (self.number(0x36, 2)? as usize, self.number(0x38, 2)? as usize);
        for at in (0..count).map(|number| offset as usize + number * size) {
            const LOAD: u64 = 1;
            let (kind, begin, address) = (self.number(at, 4)?, self.number(at + 8, 8)?, self.number(at + 16, 8)?);
            if kind == LOAD && begin <= offset && offset < begin + self.number(at + 32, 8)? {
                return usize::try_from(address + (offset - begin)).ok();
            }
        }
        None
    }

    /// The function around an address of the file, and how far into it the address is.
    fn symbol(&self, address: u64) -> Option<(&[u8], u64)> {
        const SYMBOLS: u64 = 2;
        const FUNCTION: u64 = 2;
        if !self.is_elf_64() {
            return None;
        }
        let sections = usize::try_from(self.number(0x28, 8)?).ok()?;
        let (size, count) = (self.number(0x3a, 2)? as usize, self.number(0x3c, 2)? as usize);
        let section = |number: usize| sections.checked_add(number.checked_mul(size)?);
        let table = (0..count).filter_map(section).find(|&at| self.number(at + 4, 4) == Some(SYMBOLS))?;
        let (begin, bytes) = (self.number(table + 0x18, 8)? as usize, self.number(table + 0x20, 8)? as usize);
        let names = section(self.number(table + 0x28, 4)? as usize)?;
        let names = self.number(names + 0x18, 8)? as usize;
        const SYMBOL_BYTES: usize = 24;
        let mut found: Option<(u64, usize)> = None;
        for at in (begin..begin.checked_add(bytes)?).step_by(SYMBOL_BYTES) {
            let (from, len) = (self.number(at + 8, 8)?, self.number(at + 16, 8)?);
            let is_function = self.number(at + 4, 1)? & 0xf == FUNCTION;
            if is_function && from <= address && address - from < len {
                found = Some((from, at));
                break;
            }
        }
        let (from, at) = found?;
        let name = self.bytes.get(names.checked_add(self.number(at, 4)? as usize)?..)?;
        let end = name.iter().position(|&byte| byte == 0)?;
        Some((&name[..end], address - from))
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // SAFETY: mapped by `of_program` with this length, and no reference outlives this.
        unsafe { libc::munmap(self.bytes.as_ptr().cast_mut().cast(), self.bytes.len()) };
    }
}

/// Writes a symbol's name: the parts of a path where it is one as rustc has long written them, else as it is.
fn write_name(out: &mut dyn Write, name: &[u8]) -> fmt::Result {
    let Some(parts) = name.strip_prefix(b"_ZN").and_then(|rest| rest.strip_suffix(b"E")) else {
        return write!(out, "{}", name.escape_ascii());
    };
    let (mut rest, mut first) = (parts, true);
    while !rest.is_empty() {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let len = rest[..digits].iter().fold(0_usize, |n, digit| n.saturating_mul(10) + usize::from(digit - b'0'));
        let Some(part) = rest.get(digits..digits.saturating_add(len)).filter(|_| digits > 0) else {
            return write!(out, "{}", rest.escape_ascii());
        };
        rest = &rest[digits + len..];
        // The last part only tells functions of one name apart.
        if rest.is_empty() && part.len() == 17 && part[0] == b'h' {
            break;
        }
        write!(out, "{}{}", if first { "" } else { "::" }, part.escape_ascii())?;
        first = false;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_stack_has_names() {
        Stack::prepare();
        let mut told = String::new();
        Stack::here().tell(&mut told).unwrap();
        // Others may have been inlined.
        assert!(told.contains("weir::process::stack::Stack::here"), "{told}");
    }

    #[test]
    fn paths_are_taken_apart() {
        let written = |name: &[u8]| {
            let mut text = String::new();
            write_name(&mut text, name).unwrap();
            text
        };
        assert_eq!(written(b"_ZN4weir3net3run17h0123456789abcdefE"), "weir::net::run");
        assert_eq!(written(b"main"), "main");
        assert_eq!(written(b"_ZN99weirE"), "99weir");
        assert_eq!(written(b"_ZN4weirxE"), "weirx");
    }
}
