//! The interface of Lua, as methods of a pointer to its stack.
//!
//! Nearly all of the unsafe code of scripts is here. The methods are those of the Lua manual, without its prefixes; they are
//! not marked unsafe one by one, since what must be kept to is the same for all of them, and whoever makes a function that
//! takes a [`State`] promises it:
//! - Any method that allocates, compares, indexes with metamethods or calls may raise an error, which goes straight to the
//!   next protected call ([`State::pcall`]) and past every Rust frame on the way. So no frame between holds a value with a
//!   destructor, and no lock. Methods that raise nothing say so.
//! - Indexes are those of values that are there; values popped are there.
//! - Bytes borrowed from a string are used only while that string is on the stack.

use mlua::ffi;
use std::ffi::{CStr, c_int, c_void};
use std::ptr::NonNull;

pub(super) use ffi::{
    LUA_GCCOLLECT, LUA_GLOBALSINDEX as GLOBALS, LUA_MULTRET as MANY, LUA_REGISTRYINDEX as REGISTRY,
    lua_upvalueindex as upvalue,
};

/// Digits of a number, with sign, point and exponent.
const NUMBER_TEXT_MAX: usize = 40;

/// A stack of Lua: of the engine itself or of one of a script's coroutines. As large as a pointer, and never null.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub(super) struct State(NonNull<ffi::lua_State>);

/// A function that Lua calls: arguments are on the stack, results are its topmost values, whose number it returns.
pub(super) type Function = extern "C-unwind" fn(State) -> c_int;

/// A function that Lua calls every so many instructions.
pub(super) type Hook = extern "C-unwind" fn(State, *mut ffi::lua_Debug);

/// Types of values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Type {
    None,
    Nil,
    Boolean,
    Number,
    String,
    Table,
    /// Functions, coroutines, and data that Lua does not look into.
    Other,
}

/// Where a function stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The function is no Lua function.
    pub(super) native: bool,
    /// Line that it is in; -1 if there is none.
    pub(super) line: i32,
    /// Name of its chunk, with the mark that Lua puts before it; it lives as long as the function.
    source: *const std::ffi::c_char,
}

impl Place {
    /// Name of its chunk, with the mark before it.
    pub(super) fn source(&self) -> &CStr {
        // SAFETY: Lua sets it to a string with a NUL at its end, which its function holds; a place is used while that runs.
        unsafe { CStr::from_ptr(self.source) }
    }
}

/// A piece of text on its way into a string, on the C stack and the Lua stack: nothing that would have to be dropped.
pub(super) struct Buffer(std::mem::MaybeUninit<ffi::luaL_Buffer>);

impl Buffer {
    /// Room for one; [`Buffer::begin`] makes it usable.
    pub(super) fn new() -> Buffer {
        Buffer(std::mem::MaybeUninit::uninit())
    }

    /// Begins to fill it. It must not be moved from here on.
    pub(super) fn begin(&mut self, l: State) {
        // SAFETY: Lua initializes what it is given.
        unsafe { ffi::luaL_buffinit(l.0.as_ptr(), self.0.as_mut_ptr()) }
    }

    /// Adds bytes. What was pushed since the last call must have been popped.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        // SAFETY: begun; the bytes are there.
        unsafe { ffi::luaL_addlstring(self.0.as_mut_ptr(), bytes.as_ptr().cast(), bytes.len()) }
    }

    /// Pops a string or number and adds it.
    pub(super) fn add_value(&mut self) {
        // SAFETY: begun.
        unsafe { ffi::luaL_addvalue(self.0.as_mut_ptr()) }
    }

    /// Pushes all of it as one string.
    pub(super) fn finish(&mut self) {
        // SAFETY: begun.
        unsafe { ffi::luaL_pushresult(self.0.as_mut_ptr()) }
    }
}

impl State {
    /// That of an engine.
    ///
    /// # Safety
    /// The pointer is one that Lua has given, and the engine is there as long as the state is used.
    pub(super) unsafe fn from_raw(raw: *mut ffi::lua_State) -> State {
        State(NonNull::new(raw).expect("Lua gives no null for a state"))
    }

    fn raw(self) -> *mut ffi::lua_State {
        self.0.as_ptr()
    }

    /// Number of values on the stack. Raises nothing.
    #[inline]
    pub(super) fn top(self) -> c_int {
        // SAFETY: see the module.
        unsafe { ffi::lua_gettop(self.raw()) }
    }

    /// Cuts the stack or fills it with nil. Raises nothing.
    #[inline]
    pub(super) fn set_top(self, top: c_int) {
        // SAFETY: see the module.
        unsafe { ffi::lua_settop(self.raw(), top) }
    }

    /// Pops values. Raises nothing.
    #[inline]
    pub(super) fn pop(self, count: c_int) {
        self.set_top(-count - 1);
    }

    /// Whether there is room for so many values more; makes it.
    #[inline]
    pub(super) fn check_stack(self, more: c_int) -> bool {
        // SAFETY: see the module.
        unsafe { ffi::lua_checkstack(self.raw(), more) != 0 }
    }

    /// Type of a value. Raises nothing.
    #[inline]
    pub(super) fn kind(self, at: c_int) -> Type {
        // SAFETY: see the module.
        match unsafe { ffi::lua_type(self.raw(), at) } {
            ffi::LUA_TNONE => Type::None,
            ffi::LUA_TNIL => Type::Nil,
            ffi::LUA_TBOOLEAN => Type::Boolean,
            ffi::LUA_TNUMBER => Type::Number,
            ffi::LUA_TSTRING => Type::String,
            ffi::LUA_TTABLE => Type::Table,
            _ => Type::Other,
        }
    }

    /// Whether a value is a function. Raises nothing.
    pub(super) fn is_function(self, at: c_int) -> bool {
        // SAFETY: see the module.
        unsafe { ffi::lua_type(self.raw(), at) == ffi::LUA_TFUNCTION }
    }

    /// Copies a value to the top. Raises nothing.
    #[inline]
    pub(super) fn push_value(self, at: c_int) {
        // SAFETY: see the module.
        unsafe { ffi::lua_pushvalue(self.raw(), at) }
    }

    /// Moves the top to a place, and what is there up. Raises nothing.
    pub(super) fn insert(self, at: c_int) {
        // SAFETY: see the module.
        unsafe { ffi::lua_insert(self.raw(), at) }
    }

    /// Moves the top over a value. Raises nothing.
    pub(super) fn replace(self, at: c_int) {
        // SAFETY: see the module.
        unsafe { ffi::lua_replace(self.raw(), at) }
    }

    /// Takes a value out. Raises nothing.
    pub(super) fn remove(self, at: c_int) {
        // SAFETY: see the module.
        unsafe { ffi::lua_remove(self.raw(), at) }
    }

    /// Pushes nil. Raises nothing.
    #[inline]
    pub(super) fn push_nil(self) {
        // SAFETY: see the module.
        unsafe { ffi::lua_pushnil(self.raw()) }
    }

    /// Pushes a truth value. Raises nothing.
    #[inline]
    pub(super) fn push_bool(self, value: bool) {
        // SAFETY: see the module.
        unsafe { ffi::lua_pushboolean(self.raw(), c_int::from(value)) }
    }

    /// Pushes a number. Raises nothing.
    #[inline]
    pub(super) fn push_number(self, value: f64) {
        // SAFETY: see the module.
        unsafe { ffi::lua_pushnumber(self.raw(), value) }
    }

    /// Pushes a string.
    #[inline]
    pub(super) fn push_string(self, bytes: &[u8]) {
        // SAFETY: see the module; Lua copies the bytes.
        unsafe { ffi::lua_pushlstring_(self.raw(), bytes.as_ptr().cast(), bytes.len()) }
    }

    /// Pushes a number as a command's argument: in the fewest digits that say it.
    pub(super) fn push_number_text(self, value: f64) {
        let mut text = [0u8; NUMBER_TEXT_MAX];
        let len = write_number(value, &mut text);
        self.push_string(text.get(..len).unwrap_or_default());
    }

    /// Pushes a function with the topmost `values` as values of its own, which are popped.
    pub(super) fn push_function(self, function: Function, values: c_int) {
        // SAFETY: a state is as large as a pointer and is one, so the function has the type that Lua expects.
        let function: ffi::lua_CFunction = unsafe { std::mem::transmute(function) };
        // SAFETY: see the module.
        unsafe { ffi::lua_pushcclosure(self.raw(), function, values) }
    }

    /// Calls the native function that is a value of the running one's own, with the arguments of the running one.
    pub(super) fn call_own(self, at: c_int) -> c_int {
        // SAFETY: see the module; what is there is a function that was written for Lua, without values of its own.
        unsafe { ffi::lua_tocfunction(self.raw(), at).map_or(0, |function| function(self.raw())) }
    }

    /// Pushes an address. Raises nothing.
    pub(super) fn push_address(self, address: *const c_void) {
        // SAFETY: see the module.
        unsafe { ffi::lua_pushlightuserdata(self.raw(), address.cast_mut()) }
    }

    /// An address; null if it is none. Raises nothing.
    #[inline]
    pub(super) fn address(self, at: c_int) -> *mut c_void {
        // SAFETY: see the module.
        unsafe { ffi::lua_touserdata(self.raw(), at) }
    }

    /// What tells one table, function or the like from another. Raises nothing.
    #[inline]
    pub(super) fn identity(self, at: c_int) -> *const c_void {
        // SAFETY: see the module.
        unsafe { ffi::lua_topointer(self.raw(), at) }
    }

    /// The bytes of a string, or of a number, which becomes a string; empty for anything else.
    #[inline]
    pub(super) fn bytes<'a>(self, at: c_int) -> &'a [u8] {
        let mut len = 0;
        // SAFETY: see the module.
        let start = unsafe { ffi::lua_tolstring(self.raw(), at, &raw mut len) };
        if start.is_null() {
            return &[];
        }
        // SAFETY: Lua says where the string is and how long. It does not move while it is on the stack.
        unsafe { std::slice::from_raw_parts(start.cast(), len) }
    }

    /// A number, also of a string that reads as one; 0 for anything else. Raises nothing.
    #[inline]
    pub(super) fn number(self, at: c_int) -> f64 {
        // SAFETY: see the module.
        unsafe { ffi::lua_tonumber(self.raw(), at) }
    }

    /// Whether a value is a number or reads as one. Raises nothing.
    pub(super) fn is_number(self, at: c_int) -> bool {
        // SAFETY: see the module.
        unsafe { ffi::lua_isnumber(self.raw(), at) != 0 }
    }

    /// Everything but nil and false. Raises nothing.
    pub(super) fn truth(self, at: c_int) -> bool {
        // SAFETY: see the module.
        unsafe { ffi::lua_toboolean(self.raw(), at) != 0 }
    }

    /// Pushes a new table with room for so many elements.
    #[inline]
    pub(super) fn push_table(self, elements: usize, fields: usize) {
        let count = |n: usize| c_int::try_from(n).unwrap_or(c_int::MAX);
        // SAFETY: see the module.
        unsafe { ffi::lua_createtable(self.raw(), count(elements), count(fields)) }
    }

    /// Pushes a field. Metamethods are not asked. Raises nothing but want of memory.
    pub(super) fn raw_field(self, table: c_int, name: &str) {
        let table = if table < 0 && table > REGISTRY { table - 1 } else { table };
        self.push_string(name.as_bytes());
        self.raw_get(table);
    }

    /// Pops a value into a field. Metamethods are not asked.
    pub(super) fn set_raw_field(self, table: c_int, name: &str) {
        let table = if table < 0 && table > REGISTRY { table - 1 } else { table };
        self.push_string(name.as_bytes());
        self.insert(-2);
        self.raw_set(table);
    }

    /// Pops a key and pushes its value. Metamethods are not asked. Raises nothing.
    #[inline]
    pub(super) fn raw_get(self, table: c_int) {
        // SAFETY: see the module.
        unsafe { ffi::lua_rawget_(self.raw(), table) }
    }

    /// Pops a key and pushes its value, as `table[key]` does.
    pub(super) fn get(self, table: c_int) {
        // SAFETY: see the module.
        unsafe { ffi::lua_gettable_(self.raw(), table) }
    }

    /// Pops a value and a key. Metamethods are not asked.
    #[inline]
    pub(super) fn raw_set(self, table: c_int) {
        // SAFETY: see the module.
        unsafe { ffi::lua_rawset(self.raw(), table) }
    }

    /// Pushes an element. Metamethods are not asked. Raises nothing.
    #[inline]
    pub(super) fn raw_at(self, table: c_int, index: c_int) {
        // SAFETY: see the module.
        unsafe { ffi::lua_rawgeti_(self.raw(), table, index) }
    }

    /// Pops a value into an element. Metamethods are not asked.
    #[inline]
    pub(super) fn set_raw_at(self, table: c_int, index: c_int) {
        // SAFETY: see the module.
        unsafe { ffi::lua_rawseti_(self.raw(), table, index) }
    }

    /// Pops a key and pushes the next one and its value, or nothing at the end. Raises an error where the key is none.
    pub(super) fn next(self, table: c_int) -> bool {
        // SAFETY: see the module.
        unsafe { ffi::lua_next(self.raw(), table) != 0 }
    }

    /// Pushes a value's metatable if it has one. Raises nothing.
    #[inline]
    pub(super) fn metatable(self, at: c_int) -> bool {
        // SAFETY: see the module.
        unsafe { ffi::lua_getmetatable(self.raw(), at) != 0 }
    }

    /// Pops a table, which becomes a value's metatable. Raises nothing.
    pub(super) fn set_metatable(self, at: c_int) {
        // SAFETY: see the module.
        unsafe { ffi::lua_setmetatable(self.raw(), at) };
    }

    /// Number of elements of a table, or bytes of a string. Raises nothing.
    pub(super) fn len(self, at: c_int) -> usize {
        // SAFETY: see the module.
        unsafe { ffi::lua_objlen(self.raw(), at) }
    }

    /// Whether two values are the same. Metamethods are not asked. Raises nothing.
    pub(super) fn raw_equal(self, a: c_int, b: c_int) -> bool {
        // SAFETY: see the module.
        unsafe { ffi::lua_rawequal(self.raw(), a, b) != 0 }
    }

    /// Pops a value and keeps it, until [`State::forget`], under a number.
    pub(super) fn keep(self) -> c_int {
        // SAFETY: see the module.
        unsafe { ffi::luaL_ref(self.raw(), REGISTRY) }
    }

    /// Gives a kept value up.
    pub(super) fn forget(self, number: c_int) {
        // SAFETY: see the module.
        unsafe { ffi::luaL_unref(self.raw(), REGISTRY, number) }
    }

    /// Pushes a kept value. Raises nothing.
    #[inline]
    pub(super) fn push_kept(self, number: c_int) {
        self.raw_at(REGISTRY, number);
    }

    /// Calls the function below so many arguments.
    pub(super) fn call(self, arguments: c_int, results: c_int) {
        // SAFETY: see the module.
        unsafe { ffi::lua_call(self.raw(), arguments, results) }
    }

    /// Calls the function below so many arguments; an error ends here, goes through the function at `handler` if that is not
    /// 0, and is what is on the stack then. Raises nothing itself. Returns what went wrong.
    #[inline]
    pub(super) fn pcall(self, arguments: c_int, results: c_int, handler: c_int) -> Result<(), Fault> {
        // SAFETY: see the module.
        Fault::from_status(unsafe { ffi::lua_pcall(self.raw(), arguments, results, handler) })
    }

    /// Calls a function with an address as its only argument, and no results; an error ends here and is what is on the stack
    /// then. Raises nothing itself.
    pub(super) fn pcall_native(self, function: Function, address: *const c_void) -> Result<(), Fault> {
        // SAFETY: a state is as large as a pointer and is one, so the function has the type that Lua expects.
        let function: ffi::lua_CFunction = unsafe { std::mem::transmute(function) };
        // SAFETY: see the module.
        Fault::from_status(unsafe { ffi::lua_cpcall(self.raw(), function, address.cast_mut()) })
    }

    /// Pops a value and raises it as an error.
    pub(super) fn raise(self) -> ! {
        // SAFETY: see the module.
        unsafe { ffi::lua_error(self.raw()) }
    }

    /// Raises an error with a text, behind the place of the function that called the running one.
    pub(super) fn raise_at_caller(self, text: &[u8]) -> ! {
        // SAFETY: see the module.
        unsafe { ffi::luaL_where(self.raw(), 1) };
        self.push_string(text);
        // SAFETY: see the module.
        unsafe { ffi::lua_concat(self.raw(), 2) };
        self.raise()
    }

    /// Raises an error on an argument.
    pub(super) fn raise_argument(self, at: c_int, text: &CStr) -> ! {
        // SAFETY: see the module.
        unsafe { ffi::luaL_argerror(self.raw(), at, text.as_ptr()) };
        unreachable!("Lua has raised an error")
    }

    /// Raises an error if an argument is no string and no number. Returns its bytes.
    pub(super) fn check_bytes<'a>(self, at: c_int) -> &'a [u8] {
        // SAFETY: see the module.
        unsafe { ffi::luaL_checklstring(self.raw(), at, std::ptr::null_mut()) };
        self.bytes(at)
    }

    /// Raises an error if an argument is no number. Returns it.
    pub(super) fn check_number(self, at: c_int) -> f64 {
        // SAFETY: see the module.
        unsafe { ffi::luaL_checknumber(self.raw(), at) }
    }

    /// The same with a number to take where there is no argument, or nil.
    pub(super) fn number_or(self, at: c_int, default: f64) -> f64 {
        // SAFETY: see the module.
        unsafe { ffi::luaL_optnumber(self.raw(), at, default) }
    }

    /// Raises an error if an argument is no table.
    pub(super) fn check_table(self, at: c_int) {
        // SAFETY: see the module.
        unsafe { ffi::luaL_checktype(self.raw(), at, ffi::LUA_TTABLE) }
    }

    /// Raises an error if an argument is missing.
    pub(super) fn check_any(self, at: c_int) {
        // SAFETY: see the module.
        unsafe { ffi::luaL_checkany(self.raw(), at) }
    }

    /// Calls a metamethod of one argument if there is one, and pushes its result.
    pub(super) fn call_meta(self, at: c_int, name: &CStr) -> bool {
        // SAFETY: see the module.
        unsafe { ffi::luaL_callmeta(self.raw(), at, name.as_ptr()) != 0 }
    }

    /// Pushes the function that a text is, compiled in the environment of this state. The name is used in messages. An error
    /// is pushed instead, as its text.
    ///
    /// A text that begins like compiled code is read as text all the same, and so is refused.
    pub(super) fn compile(self, text: &[u8], name: &[u8]) -> Result<(), Fault> {
        // The compiler makes a string of the name and keeps it where the collector does not see it: this one is the same
        // string, and stays on the stack meanwhile. Lua ends it at its first NUL, and so do we.
        let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
        self.push_string(name);
        let at = self.top();
        // SAFETY: see the module. Lua puts a NUL behind every string.
        let name = unsafe { ffi::lua_tolstring(self.raw(), at, std::ptr::null_mut()) };
        let mut source = Source { head: text.first() == Some(&0x1b), text: text.as_ptr(), len: text.len() };
        // SAFETY: see the module; the reader gets the source that it expects.
        let status = unsafe { ffi::lua_load(self.raw(), read, (&raw mut source).cast(), name) };
        self.remove(at);
        Fault::from_status(status)
    }

    /// Where the function of a level stands: 0 is the running one. Raises nothing but want of memory.
    pub(super) fn place(self, level: c_int) -> Option<Place> {
        let mut record = std::mem::MaybeUninit::<ffi::lua_Debug>::zeroed();
        // SAFETY: see the module; a record of zeros is one.
        let found = unsafe { ffi::lua_getstack(self.raw(), level, record.as_mut_ptr()) };
        if found == 0 {
            return None;
        }
        // SAFETY: the record is that of a level that is there.
        unsafe { ffi::lua_getinfo(self.raw(), c"nSl".as_ptr(), record.as_mut_ptr()) };
        // SAFETY: filled by now, and valid before.
        let record = unsafe { record.assume_init() };
        // SAFETY: one of the words `Lua`, `C`, `main`, `tail`.
        let native = unsafe { CStr::from_ptr(record.what) } == c"C";
        Some(Place { native, line: record.currentline, source: record.source })
    }

    /// Lets a function be called every so many instructions of this stack. Raises nothing.
    pub(super) fn set_hook(self, hook: Hook, instructions: c_int) {
        // SAFETY: a state is as large as a pointer and is one, so the function has the type that Lua expects.
        let hook: ffi::lua_Hook = unsafe { std::mem::transmute(hook) };
        // SAFETY: see the module.
        unsafe { ffi::lua_sethook(self.raw(), Some(hook), ffi::LUA_MASKCOUNT, instructions) };
    }

    /// After how many instructions the hook is called. Raises nothing.
    pub(super) fn hook_instructions(self) -> c_int {
        // SAFETY: see the module.
        unsafe { ffi::lua_gethookcount(self.raw()) }
    }

    /// Asks the collector for something.
    pub(super) fn collect(self, what: c_int, data: c_int) -> c_int {
        // SAFETY: see the module.
        unsafe { ffi::lua_gc(self.raw(), what, data) }
    }
}

/// A text on its way to the compiler.
struct Source {
    /// A blank goes before the text.
    head: bool,
    text: *const u8,
    len: usize,
}

/// Hands the compiler a text: all of it at once, but for a blank before what begins like compiled code.
unsafe extern "C-unwind" fn read(
    _: *mut ffi::lua_State,
    source: *mut c_void,
    len: *mut usize,
) -> *const std::ffi::c_char {
    // SAFETY: `State::compile` gives a source.
    let source = unsafe { &mut *source.cast::<Source>() };
    let (start, count) = if std::mem::take(&mut source.head) {
        (c" ".as_ptr(), 1)
    } else {
        (source.text.cast(), std::mem::take(&mut source.len))
    };
    // SAFETY: Lua gives a place for the length.
    unsafe { *len = count };
    if count == 0 { std::ptr::null() } else { start }
}

/// Why a call or a compilation failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// An error was raised.
    Raised,
    /// There was not enough memory.
    Memory,
}

impl Fault {
    fn from_status(status: c_int) -> Result<(), Fault> {
        match status {
            ffi::LUA_OK => Ok(()),
            ffi::LUA_ERRMEM => Err(Fault::Memory),
            _ => Err(Fault::Raised),
        }
    }
}

/// Integers up to so much are written with all their digits; beyond, with those that tell them from others: 2^62.
const INTEGER_MAX: f64 = (1_u64 << 62) as f64;

/// Writes a number as the peers do: an integer as such, others with the fewest digits that say it, and with an exponent
/// where that is shorter. Returns the length.
fn write_number(value: f64, text: &mut [u8; NUMBER_TEXT_MAX]) -> usize {
    use std::io::Write;
    let room = text.len();
    let mut rest = &mut text[..];
    let integer = value as i64;
    // There is room for the longest of them; writing what does not fit would leave it out.
    if !value.is_finite() {
        let text = match (value.is_nan(), value.is_sign_negative()) {
            (true, false) => "nan",
            (true, true) => "-nan",
            (false, false) => "inf",
            (false, true) => "-inf",
        };
        let _ = rest.write_all(text.as_bytes());
        return room - rest.len();
    }
    if integer as f64 == value && value.abs() <= INTEGER_MAX {
        let _ = write!(rest, "{integer}");
        return room - rest.len();
    }
    let mut scientific = [0u8; NUMBER_TEXT_MAX];
    let mut left = &mut scientific[..];
    let _ = write!(left, "{:e}", value.abs());
    let used = NUMBER_TEXT_MAX - left.len();
    let scientific = std::str::from_utf8(&scientific[..used]).unwrap_or_default();
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (first, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = i32::try_from(1 + fraction.len()).unwrap_or(0);
    let last = exponent - (digits - 1);
    if value < 0.0 {
        let _ = rest.write_all(b"-");
    }
    if (last >= 0 && exponent < digits + 7) || (last < 0 && (last > -7 || exponent.abs() < 4)) {
        let _ = write!(rest, "{}", value.abs());
    } else if fraction.is_empty() {
        let _ = write!(rest, "{first}e{exponent:+}");
    } else {
        let _ = write!(rest, "{first}.{fraction}e{exponent:+}");
    }
    room - rest.len()
}
