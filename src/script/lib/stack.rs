//! The Lua stack as the libraries of this folder see it: the only file here with unsafe code.
//!
//! A library function must raise plain strings with the position of the caller in front, as the C libraries do that it
//! stands for; scripts look at those texts after `pcall`. A function that goes through `mlua`'s own conversion raises an
//! opaque object instead, and pays for a protected call, a reference and a copy with every value that it touches. So the
//! libraries are C functions for Lua, and this file is a thin cover over its C interface.
//!
//! What must stay true, since Lua leaves a function that raises an error by `longjmp`, and almost everything that
//! allocates may raise one:
//! - A function that is given a [`Stack`] holds nothing that has a destructor: no `Vec`, no `String`, no `Box`. What needs
//!   room takes a [`Buffer`], whose bytes belong to Lua, count as Lua's memory, and are collected.
//! - Bytes borrowed from a string are used only while that string is on the stack.
//! - A function has room for 20 values beside its arguments; who pushes more asks [`Stack::reserve`] before.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::fmt::{self, Write as _};
use std::marker::PhantomData;

use mlua::ffi;

/// What a buffer keeps for the next call. A larger one is given back to Lua's collector.
const BUFFER_KEPT_MAX: usize = 64 * 1024;

const BUFFER_FIRST: usize = 512;

/// Number of upvalues of a library function: its library's settings, and two buffers.
const UPVALUES: c_int = 3;

/// The stack of one running library function. Indices are Lua's: 1 is the first argument, -1 the top.
#[derive(Clone, Copy)]
pub(super) struct Stack<'l> {
    state: *mut ffi::lua_State,
    running: PhantomData<&'l ()>,
}

/// Types of values that the libraries tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Nil,
    Boolean,
    Number,
    String,
    Table,
    /// A light userdata that is NULL: how `cjson.null` and a decoded `null` look.
    Null,
    /// Functions, userdata, threads.
    Other,
}

/// Calls `fill` with a new library and hands it to Lua as a table.
///
/// `fill` is called when the function that this returns is called, and pushes exactly one table.
pub(super) fn opener(lua: &mlua::Lua, fill: fn(Stack<'_>)) -> mlua::Result<mlua::Table> {
    unsafe extern "C-unwind" fn open(state: *mut ffi::lua_State) -> c_int {
        // SAFETY: the one argument is the light userdata that `opener` pushes, a pointer of exactly this type.
        let fill = unsafe { std::mem::transmute::<*mut c_void, fn(Stack<'_>)>(ffi::lua_touserdata(state, 1)) };
        fill(Stack { state, running: PhantomData });
        1
    }
    // SAFETY: `open` is a C function for Lua that keeps to the rules of this file.
    let open = unsafe { lua.create_c_function(open) }?;
    open.call(mlua::LightUserData(fill as *mut c_void))
}

/// The C function behind a library function. `F` is the function's own type, which has no size and one value.
unsafe extern "C-unwind" fn enter<F: Fn(Stack<'_>) -> i32 + Copy>(state: *mut ffi::lua_State) -> c_int {
    const { assert!(size_of::<F>() == 0) };
    // SAFETY: a type without size has its only value at any aligned address.
    let function = unsafe { std::ptr::NonNull::<F>::dangling().as_ref() };
    function(Stack { state, running: PhantomData })
}

impl<'l> Stack<'l> {
    // -- libraries

    /// Pushes a table for a library.
    pub(super) fn new_table(self) {
        // SAFETY: `state` is the running state; memory errors leave by longjmp past frames without destructors.
        unsafe { ffi::lua_createtable(self.state, 0, 0) }
    }

    /// Gives the table on top a function, with the settings of [`Stack::new_settings`] at `settings` if that is an index,
    /// and two buffers that stay with this function.
    pub(super) fn add_function<F>(self, name: &'static CStr, function: F, settings: Option<i32>)
    where
        F: Fn(Stack<'_>) -> i32 + Copy,
    {
        let _ = function;
        // SAFETY: at most four values are pushed, and a library function has room for 20; the table is on top
        // before and after; the name ends with NUL.
        unsafe {
            match settings {
                Some(index) => ffi::lua_pushvalue(self.state, index),
                None => ffi::lua_pushnil(self.state),
            }
            ffi::lua_pushnil(self.state);
            ffi::lua_pushnil(self.state);
            ffi::lua_pushcclosure(self.state, enter::<F>, UPVALUES);
            ffi::lua_setfield(self.state, -2, name.as_ptr());
        }
    }

    /// Gives the table on top a field with a text.
    pub(super) fn add_text(self, name: &'static CStr, text: &str) {
        self.push_bytes(text.as_bytes());
        // SAFETY: the table is below the value that was pushed; the name ends with NUL.
        unsafe { ffi::lua_setfield(self.state, -2, name.as_ptr()) }
    }

    /// Gives the table on top a field with the NULL of light userdata.
    pub(super) fn add_null(self, name: &'static CStr) {
        self.push_null();
        // SAFETY: the table is below the value that was pushed; the name ends with NUL.
        unsafe { ffi::lua_setfield(self.state, -2, name.as_ptr()) }
    }

    /// Pushes settings that the functions of one library share.
    pub(super) fn new_settings<T: Copy>(self, settings: T) {
        const { assert!(align_of::<T>() <= 8) };
        // SAFETY: Lua aligns userdata to 8 at least, and it has room for a `T`, which needs no destructor, being `Copy`.
        unsafe { ffi::lua_newuserdata(self.state, size_of::<T>()).cast::<T>().write(settings) }
    }

    /// A copy of the settings of the running function's library. `T` is what its library was opened with.
    pub(super) fn settings<T: Copy>(self) -> T {
        // SAFETY: the first upvalue is the userdata of `new_settings` with this type; scripts cannot reach upvalues of
        // C functions.
        unsafe { ffi::lua_touserdata(self.state, ffi::lua_upvalueindex(1)).cast::<T>().read() }
    }

    /// Replaces the settings of the running function's library.
    pub(super) fn set_settings<T: Copy>(self, settings: T) {
        // SAFETY: as in `settings`.
        unsafe { ffi::lua_touserdata(self.state, ffi::lua_upvalueindex(1)).cast::<T>().write(settings) }
    }

    // -- the stack itself

    pub(super) fn top(self) -> i32 {
        // SAFETY: only reads the running state.
        unsafe { ffi::lua_gettop(self.state) }
    }

    /// Cuts the stack, or fills it up with nil, to `count` values.
    pub(super) fn set_top(self, count: i32) {
        // SAFETY: callers cut, or fill up by a few, for which there is room.
        unsafe { ffi::lua_settop(self.state, count) }
    }

    pub(super) fn pop(self, count: i32) {
        self.set_top(-count - 1);
    }

    /// Makes room for `count` more values. False: the function would have more than Lua allows (8,000).
    pub(super) fn reserve(self, count: i32) -> bool {
        // SAFETY: may raise a memory error, and moves the stack, to which nobody here holds pointers.
        unsafe { ffi::lua_checkstack(self.state, count) != 0 }
    }

    /// Like [`Stack::reserve`], or raises `stack overflow (what)`.
    pub(super) fn reserve_or_raise(self, count: i32, what: &str) {
        if !self.reserve(count) {
            self.raise(format_args!("stack overflow ({what})"));
        }
    }

    /// Moves the top value to `index`, those above go up.
    pub(super) fn insert(self, index: i32) {
        // SAFETY: callers name an index of the stack.
        unsafe { ffi::lua_insert(self.state, index) }
    }

    pub(super) fn push_copy(self, index: i32) {
        // SAFETY: callers name an index of the stack.
        unsafe { ffi::lua_pushvalue(self.state, index) }
    }

    pub(super) fn push_nil(self) {
        // SAFETY: there is room by the rule of this file.
        unsafe { ffi::lua_pushnil(self.state) }
    }

    pub(super) fn push_boolean(self, value: bool) {
        // SAFETY: there is room by the rule of this file.
        unsafe { ffi::lua_pushboolean(self.state, c_int::from(value)) }
    }

    pub(super) fn push_number(self, value: f64) {
        // SAFETY: there is room by the rule of this file.
        unsafe { ffi::lua_pushnumber(self.state, value) }
    }

    pub(super) fn push_null(self) {
        // SAFETY: there is room by the rule of this file.
        unsafe { ffi::lua_pushlightuserdata(self.state, std::ptr::null_mut()) }
    }

    pub(super) fn push_bytes(self, bytes: &[u8]) {
        // SAFETY: Lua copies the bytes; there is room by the rule of this file.
        unsafe { ffi::lua_pushlstring_(self.state, bytes.as_ptr().cast::<c_char>(), bytes.len()) }
    }

    // -- values

    #[inline]
    pub(super) fn kind(self, index: i32) -> Kind {
        // SAFETY: only reads; any index is allowed.
        unsafe {
            match ffi::lua_type(self.state, index) {
                ffi::LUA_TNIL | ffi::LUA_TNONE => Kind::Nil,
                ffi::LUA_TBOOLEAN => Kind::Boolean,
                ffi::LUA_TNUMBER => Kind::Number,
                ffi::LUA_TSTRING => Kind::String,
                ffi::LUA_TTABLE => Kind::Table,
                ffi::LUA_TLIGHTUSERDATA if ffi::lua_touserdata(self.state, index).is_null() => Kind::Null,
                _ => Kind::Other,
            }
        }
    }

    /// Lua's name of the type at `index`.
    pub(super) fn type_name(self, index: i32) -> &'static str {
        // SAFETY: Lua's names are constants of its program, in ASCII.
        unsafe {
            CStr::from_ptr(ffi::lua_typename(self.state, ffi::lua_type(self.state, index))).to_str().unwrap_or_default()
        }
    }

    /// Whether there is no argument at `index` at all, not even nil.
    pub(super) fn is_absent(self, index: i32) -> bool {
        // SAFETY: only reads; any index is allowed.
        unsafe { ffi::lua_type(self.state, index) == ffi::LUA_TNONE }
    }

    pub(super) fn boolean(self, index: i32) -> bool {
        // SAFETY: only reads; any index is allowed.
        unsafe { ffi::lua_toboolean(self.state, index) != 0 }
    }

    /// Whether it is a number or a string that reads as one.
    pub(super) fn is_numeric(self, index: i32) -> bool {
        // SAFETY: only reads; any index is allowed.
        unsafe { ffi::lua_isnumber(self.state, index) != 0 }
    }

    /// A number, or a string that reads as one; 0 for anything else.
    #[inline]
    pub(super) fn number(self, index: i32) -> f64 {
        // SAFETY: only reads; any index is allowed.
        unsafe { ffi::lua_tonumber(self.state, index) }
    }

    /// The bytes of the string at `index`, where [`Stack::kind`] said that it is one. A NUL follows them.
    #[inline]
    pub(super) fn bytes(self, index: i32) -> &'l [u8] {
        debug_assert_eq!(self.kind(index), Kind::String);
        let mut len = 0;
        // SAFETY: a string's bytes do not move while it is on the stack, which is as long as they may be used.
        unsafe {
            let start = ffi::lua_tolstring(self.state, index, &raw mut len);
            std::slice::from_raw_parts(start.cast::<u8>(), len)
        }
    }

    // -- tables

    /// Replaces the key on top by the next key and its value, of the table at `index`; at the end only takes the key.
    #[inline]
    pub(super) fn next(self, index: i32) -> bool {
        // SAFETY: callers name a table and have the key of the step before on top; raises only for a key that is none.
        unsafe { ffi::lua_next(self.state, index) != 0 }
    }

    /// Pushes the element `at` of the table at `index`, without metamethods.
    #[inline]
    pub(super) fn raw_get_at(self, index: i32, at: i32) {
        // SAFETY: callers name a table.
        unsafe { ffi::lua_rawgeti_(self.state, index, at) }
    }

    /// Takes the value on top as the element `at` of the table at `index`.
    #[inline]
    pub(super) fn raw_set_at(self, index: i32, at: i32) {
        // SAFETY: callers name a table.
        unsafe { ffi::lua_rawseti_(self.state, index, at) }
    }

    /// Takes the key below the top and the value on top into the table at `index`. Raises for nil or NaN as a key.
    #[inline]
    pub(super) fn raw_set(self, index: i32) {
        // SAFETY: callers name a table.
        unsafe { ffi::lua_rawset(self.state, index) }
    }

    // -- arguments; all raise `bad argument #n to 'name' (...)`

    /// A string or a number as its text. A NUL follows the bytes.
    pub(super) fn argument_bytes(self, index: i32) -> &'l [u8] {
        let mut len = 0;
        // SAFETY: a string's bytes do not move while it is on the stack, which is as long as they may be used.
        unsafe {
            let start = ffi::luaL_checklstring(self.state, index, &raw mut len);
            std::slice::from_raw_parts(start.cast::<u8>(), len)
        }
    }

    pub(super) fn argument_number(self, index: i32) -> f64 {
        // SAFETY: only reads, or raises.
        unsafe { ffi::luaL_checknumber(self.state, index) }
    }

    /// A number without its fraction.
    pub(super) fn argument_integer(self, index: i32) -> i64 {
        // SAFETY: only reads, or raises.
        unsafe { ffi::luaL_checkinteger(self.state, index) as i64 }
    }

    pub(super) fn argument_integer_or(self, index: i32, default: i64) -> i64 {
        if self.kind(index) == Kind::Nil { default } else { self.argument_integer(index) }
    }

    /// Which of `names` the string at `index` is: the position in them. Raises `invalid option` for any other.
    pub(super) fn argument_option(self, index: i32, names: &[&'static CStr]) -> usize {
        let mut list = [std::ptr::null(); 4];
        // The last stays NULL, which ends the list.
        for (place, name) in list.iter_mut().take(3).zip(names) {
            *place = name.as_ptr();
        }
        // SAFETY: the list ends with NULL and its names with NUL; reads, or raises.
        let option = unsafe { ffi::luaL_checkoption(self.state, index, std::ptr::null(), list.as_ptr()) };
        option as usize
    }

    /// Raises `bad argument #index to 'name' (why)`.
    pub(super) fn raise_argument(self, index: i32, why: fmt::Arguments<'_>) -> ! {
        let mut text = Text::new();
        let _ = text.write_fmt(why);
        // SAFETY: the text ends with NUL; nothing on the way out has a destructor.
        unsafe {
            ffi::luaL_argerror(self.state, index, text.as_ptr());
        }
        unreachable!("luaL_argerror does not return")
    }

    /// Raises `bad argument #index to 'name' (before letter')`, whatever byte the letter is.
    pub(super) fn raise_argument_letter(self, index: i32, before: &str, letter: u8) -> ! {
        let mut text = Text::new();
        let _ = text.write_str(before);
        text.push(letter);
        text.push(b'\'');
        // SAFETY: the text ends with NUL; nothing on the way out has a destructor.
        unsafe {
            ffi::luaL_argerror(self.state, index, text.as_ptr());
        }
        unreachable!("luaL_argerror does not return")
    }

    /// Raises `bad argument #index to 'name' (number expected, got ...)`.
    pub(super) fn raise_not_a_number(self, index: i32) -> ! {
        // SAFETY: the name ends with NUL; nothing on the way out has a destructor.
        unsafe {
            ffi::luaL_typerror(self.state, index, c"number".as_ptr());
        }
        unreachable!("luaL_typerror does not return")
    }

    /// Raises a text with the caller's position in front. What is longer than some 200 bytes is cut.
    pub(super) fn raise(self, text: fmt::Arguments<'_>) -> ! {
        let mut written = Text::new();
        let _ = written.write_fmt(text);
        // SAFETY: the stack, which may be full, is emptied first: the text is written already, and nobody will see the
        // values again. Nothing on the way out has a destructor.
        unsafe {
            ffi::lua_settop(self.state, 0);
            ffi::luaL_where(self.state, 1);
            self.push_bytes(written.as_bytes());
            ffi::lua_concat(self.state, 2);
            ffi::lua_error(self.state)
        }
    }
}

/// Text of an error, on the stack of the program, since nothing that raises may own memory.
struct Text {
    bytes: [u8; 200],
    len: usize,
}

impl Text {
    fn new() -> Text {
        Text { bytes: [0; 200], len: 0 }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn push(&mut self, byte: u8) {
        if self.len < self.bytes.len() - 1 {
            self.bytes[self.len] = byte;
            self.len += 1;
        }
    }

    fn as_ptr(&self) -> *const c_char {
        self.bytes.as_ptr().cast()
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // The last byte stays NUL.
        let taken = text.len().min(self.bytes.len() - 1 - self.len);
        self.bytes[self.len..self.len + taken].copy_from_slice(&text.as_bytes()[..taken]);
        self.len += taken;
        Ok(())
    }
}

/// Which of the two buffers of a library function.
#[derive(Debug, Clone, Copy)]
pub(super) enum BufferOf {
    Output = 2,
    Nesting = 3,
}

/// Bytes that grow, in memory that belongs to Lua.
///
/// The memory stays with the function between calls if it is not large; so a script that encodes ten thousand values
/// allocates it once.
pub(super) struct Buffer<'l> {
    stack: Stack<'l>,
    which: BufferOf,
    start: *mut u8,
    len: usize,
    capacity: usize,
}

impl<'l> Buffer<'l> {
    /// An empty buffer. There may be one of each at a time.
    pub(super) fn open(stack: Stack<'l>, which: BufferOf) -> Buffer<'l> {
        let mut buffer = Buffer { stack, which, start: std::ptr::null_mut(), len: 0, capacity: 0 };
        // SAFETY: only reads the upvalue, which is nil or the userdata that `grow` or `give_back` put there.
        unsafe {
            let index = ffi::lua_upvalueindex(which as c_int);
            if ffi::lua_type(stack.state, index) == ffi::LUA_TUSERDATA {
                buffer.capacity = ffi::lua_objlen(stack.state, index);
                buffer.start = ffi::lua_touserdata(stack.state, index).cast();
            }
        }
        if buffer.capacity > BUFFER_KEPT_MAX {
            // An error left it behind.
            buffer.give_back();
        }
        buffer
    }

    #[inline]
    pub(super) fn push(&mut self, byte: u8) {
        if self.len == self.capacity {
            self.grow(1);
        }
        // SAFETY: there is room for one more behind `len`, which is below `capacity`.
        unsafe { self.start.add(self.len).write(byte) };
        self.len += 1;
    }

    #[inline]
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        if bytes.len() > self.capacity - self.len {
            self.grow(bytes.len());
        }
        // SAFETY: there is room behind `len`; `bytes` are not in this buffer, which is borrowed.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.start.add(self.len), bytes.len()) };
        self.len += bytes.len();
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        if self.start.is_null() {
            return &[];
        }
        // SAFETY: the first `len` bytes have been written, and the userdata does not move or go while it is an upvalue.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }

    /// Takes the last `N` bytes off, if there are as many.
    pub(super) fn pop<const N: usize>(&mut self) -> Option<[u8; N]> {
        let taken = *self.as_bytes().last_chunk::<N>()?;
        self.len -= N;
        Some(taken)
    }

    /// Pushes the bytes as a string of Lua, and lets go of a large buffer.
    pub(super) fn finish(mut self) {
        self.stack.push_bytes(self.as_bytes());
        if self.capacity > BUFFER_KEPT_MAX {
            self.give_back();
        }
    }

    /// Makes room for `more` bytes: doubles, so that copying stays in proportion to what is written.
    #[cold]
    fn grow(&mut self, more: usize) {
        let wanted = self.len.saturating_add(more).max(self.capacity.saturating_mul(2)).max(BUFFER_FIRST);
        // SAFETY: one value is pushed and taken; Lua raises an error for what it cannot or must not allocate, and the
        // old userdata stays the upvalue until the new one has the bytes.
        unsafe {
            if ffi::lua_checkstack(self.stack.state, 1) == 0 {
                self.stack.raise(format_args!("stack overflow"));
            }
            let start = ffi::lua_newuserdata(self.stack.state, wanted).cast::<u8>();
            if self.len > 0 {
                std::ptr::copy_nonoverlapping(self.start, start, self.len);
            }
            ffi::lua_replace(self.stack.state, ffi::lua_upvalueindex(self.which as c_int));
            self.start = start;
        }
        self.capacity = wanted;
    }

    fn give_back(&mut self) {
        // SAFETY: one value is pushed and taken.
        unsafe {
            ffi::lua_pushnil(self.stack.state);
            ffi::lua_replace(self.stack.state, ffi::lua_upvalueindex(self.which as c_int));
        }
        (self.start, self.len, self.capacity) = (std::ptr::null_mut(), 0, 0);
    }
}
