//! What a script sees of Lua, and that it can change none of it.
//!
//! ```text
//!   a script's globals        globals               library
//!   ┌─────────────┐ __index  ┌──────────────────┐  ┌─────────────────┐ __index  ┌───────────┐
//!   │ empty       │ ───────► │ KEYS, redis, ... │─►│ empty           │ ───────► │ call, ... │
//!   └─────────────┘          └──────────────────┘  └─────────────────┘          └───────────┘
//!      sealed                  only the engine       sealed                       nobody
//! ```
//!
//! Lua 5.1 has no tables that cannot be changed. So what scripts get their hands on is an empty table in front of the real
//! one, *sealed*: reading goes through to the real one, and writing, which finds nothing there, ends in an error. Functions
//! that change or walk a table without asking its metatable are replaced by ones that know sealed tables. What is left of the
//! base library is a list; everything else (files, the debugger, compiled code, environments) is not there.
//!
//! Functions of Lua that may run long without executing an instruction, or use more of the C stack than is there, are
//! replaced too: see [`super::text`].

use super::engine::Link;
use super::lua::{self, Function, State, Type, upvalue};
use super::{random, text, value};
use std::ffi::c_int;

const READ_ONLY: &[u8] = b"Attempt to modify a readonly table";

/// What is kept of the base library.
const GLOBALS: &[&str] = &[
    "_VERSION",
    "assert",
    "bit",
    "cjson",
    "cmsgpack",
    "coroutine",
    "error",
    "gcinfo",
    "ipairs",
    "math",
    "os",
    "rawequal",
    "redis",
    "select",
    "server",
    "string",
    "struct",
    "table",
    "tonumber",
    "tostring",
    "type",
];

/// Functions that change the table they are given, and only that.
const CHANGERS: &[&str] = &["insert", "remove", "sort"];

/// Values of one `unpack` at most.
const UNPACKED_MAX: f64 = 8000.0;

/// Makes the globals of a fresh engine what scripts see.
pub(super) fn close(l: State, link: Link) {
    l.push_table(0, 48);
    let globals = l.top();
    for name in GLOBALS {
        l.raw_field(lua::GLOBALS, name);
        l.set_raw_field(globals, name);
    }
    replace_functions(l, link, globals);
    // What is left of the system is the clock.
    l.raw_field(globals, "os");
    l.push_table(0, 1);
    l.raw_field(-2, "clock");
    l.set_raw_field(-2, "clock");
    l.set_raw_field(globals, "os");
    l.pop(1);
    seal_strings(l, link, globals);
    seal_libraries(l, link, globals);

    // Where a name is looked for last: there it ends in an error.
    l.push_table(0, 1);
    l.push_function(no_such_global, 0);
    l.set_raw_field(-2, "__index");
    l.set_metatable(globals);

    push_sealed(l, link, globals);
    l.push_value(-1);
    l.set_raw_field(globals, "_G");
    l.replace(lua::GLOBALS);
    l.push_value(globals);
    let kept = l.keep();
    link.with(|shared| shared.globals = kept);
    l.set_top(globals - 1);
}

/// Pushes an empty table in front of the one at a place.
pub(super) fn push_sealed(l: State, link: Link, real: c_int) {
    l.push_table(0, 0);
    let identity = l.identity(-1) as usize;
    l.push_table(0, 2);
    l.push_value(real);
    l.set_raw_field(-2, "__index");
    l.push_function(refuse_change, 0);
    l.set_raw_field(-2, "__newindex");
    l.set_metatable(-2);
    link.with(|shared| shared.sealed.push(identity));
}

/// Puts sealed tables in the place of all tables among the globals; the same one for the same one.
fn seal_libraries(l: State, link: Link, globals: c_int) {
    l.push_table(0, 0);
    let sealed = l.top();
    for name in GLOBALS {
        l.raw_field(globals, name);
        let real = l.top();
        if l.kind(real) == Type::Table && !is_sealed(l, link, real) {
            l.push_value(real);
            l.raw_get(sealed);
            if l.kind(-1) == Type::Nil {
                l.pop(1);
                push_sealed(l, link, real);
                l.push_value(real);
                l.push_value(-2);
                l.raw_set(sealed);
            }
            l.set_raw_field(globals, name);
        }
        l.set_top(sealed);
    }
    l.set_top(sealed - 1);
}

/// Strings have methods, by a metatable that all share: scripts see a sealed one in front of it, which leads to the sealed
/// library.
fn seal_strings(l: State, link: Link, globals: c_int) {
    l.raw_field(globals, "string");
    let library = l.top();
    push_sealed(l, link, library);
    l.push_table(0, 1);
    l.push_value(library + 1);
    l.set_raw_field(-2, "__index");
    push_sealed(l, link, library + 2);
    l.push_string(b"");
    if l.metatable(-1) {
        l.push_value(library + 3);
        l.set_raw_field(-2, "__metatable");
    }
    l.push_value(library + 1);
    l.set_raw_field(globals, "string");
    l.set_top(library - 1);
}

fn replace_functions(l: State, link: Link, globals: c_int) {
    let function = |table: c_int, name: &str, function: Function| {
        l.push_address(link.address());
        l.push_function(function, 1);
        l.set_raw_field(table, name);
    };
    function(globals, "pcall", protected_call);
    function(globals, "xpcall", protected_call_with_handler);
    function(globals, "rawget", raw_get);
    function(globals, "rawset", raw_set);
    function(globals, "getmetatable", get_metatable);
    function(globals, "next", next);
    function(globals, "unpack", unpack);
    function(globals, "load", load);
    function(globals, "loadstring", load_string);
    // With the functions of Lua that they fall back on.
    let wrapped = |table: c_int, from: c_int, name: &str, function: Function| {
        l.push_address(link.address());
        l.raw_field(from, name);
        l.push_function(function, 2);
        l.set_raw_field(table, name);
    };
    wrapped(globals, lua::GLOBALS, "setmetatable", set_metatable);
    wrapped(globals, lua::GLOBALS, "collectgarbage", collect_garbage);
    l.push_address(link.address());
    l.raw_field(lua::GLOBALS, "next");
    l.raw_field(globals, "next");
    l.push_function(pairs, 3);
    l.set_raw_field(globals, "pairs");

    l.raw_field(globals, "table");
    let table = l.top();
    for name in CHANGERS {
        wrapped(table, table, name, change_table);
    }
    function(table, "setn", obsolete_setn);
    l.set_top(table - 1);

    l.raw_field(globals, "math");
    let table = l.top();
    function(table, "random", math_random);
    function(table, "randomseed", math_randomseed);
    l.set_top(table - 1);

    l.raw_field(globals, "string");
    let table = l.top();
    for (name, replacement) in text::FUNCTIONS {
        function(table, name, *replacement);
    }
    l.set_top(table - 1);
}

/// Whether a value is an empty table in front of another.
fn is_sealed(l: State, link: Link, at: c_int) -> bool {
    if l.kind(at) != Type::Table || !l.metatable(at) {
        return false;
    }
    l.pop(1);
    let identity = l.identity(at) as usize;
    link.with(|shared| shared.sealed.contains(&identity))
}

/// Pushes the table that a sealed one stands in front of.
fn push_real(l: State, sealed: c_int) {
    l.metatable(sealed);
    l.raw_field(-1, "__index");
    l.remove(-2);
}

extern "C-unwind" fn refuse_change(l: State) -> c_int {
    l.raise_at_caller(READ_ONLY)
}

/// The same in a function: errors there have no place.
fn refuse(l: State) -> ! {
    l.push_string(READ_ONLY);
    l.raise()
}

/// What is called where a name is looked for and is not there.
pub(super) extern "C-unwind" fn no_such_global(l: State) -> c_int {
    let mut message = lua::Buffer::new();
    message.begin(l);
    message.add(b"Script attempted to access nonexistent global variable '");
    if matches!(l.kind(2), Type::String | Type::Number) {
        l.push_value(2);
        message.add_value();
    }
    message.add(b"'");
    message.finish();
    l.raise_at_caller(l.bytes(-1))
}

/// As Lua's, but an error that is a table with a text becomes that text.
extern "C-unwind" fn protected_call(l: State) -> c_int {
    l.check_any(1);
    let arguments = l.top() - 1;
    l.push_bool(true);
    l.insert(1);
    if l.pcall(arguments, lua::MANY, 0).is_ok() {
        return l.top();
    }
    // Only the truth value and the error are left.
    match l.kind(2) {
        Type::Table => {
            l.raw_field(2, "err");
            if matches!(l.kind(-1), Type::String | Type::Number) {
                l.replace(2);
            }
        }
        Type::Other => {
            value::push_text(l, 2);
            l.replace(2);
        }
        _ => {}
    }
    l.set_top(2);
    l.push_bool(false);
    l.replace(1);
    2
}

/// As Lua's, but for a script that was told to end its handler is not called: it would be called where no hook is, and
/// could not be ended.
extern "C-unwind" fn protected_call_with_handler(l: State) -> c_int {
    l.check_any(2);
    l.set_top(2);
    l.push_address(Link::own(l).address());
    l.push_value(2);
    l.push_function(call_handler, 2);
    l.replace(2);
    l.insert(1);
    let ended_well = l.pcall(0, lua::MANY, 1).is_ok();
    l.push_bool(ended_well);
    l.replace(1);
    l.top()
}

extern "C-unwind" fn call_handler(l: State) -> c_int {
    if Link::own(l).with(|shared| shared.dead.is_none()) {
        l.set_top(1);
        l.push_value(upvalue(2));
        l.insert(1);
        l.call(1, 1);
    }
    1
}

extern "C-unwind" fn raw_get(l: State) -> c_int {
    l.check_table(1);
    l.check_any(2);
    l.set_top(2);
    if is_sealed(l, Link::own(l), 1) {
        push_real(l, 1);
        l.replace(1);
    }
    l.raw_get(1);
    1
}

extern "C-unwind" fn raw_set(l: State) -> c_int {
    l.check_table(1);
    l.check_any(2);
    l.check_any(3);
    l.set_top(3);
    if is_sealed(l, Link::own(l), 1) {
        refuse(l);
    }
    match l.kind(2) {
        Type::Nil => l.raise_at_caller(b"table index is nil"),
        Type::Number if l.number(2).is_nan() => l.raise_at_caller(b"table index is NaN"),
        _ => {}
    }
    l.raw_set(1);
    1
}

extern "C-unwind" fn get_metatable(l: State) -> c_int {
    l.check_any(1);
    let link = Link::own(l);
    if is_sealed(l, link, 1) {
        // The one of the globals is there to be looked at, as is nothing behind it.
        l.push_value(lua::GLOBALS);
        if !l.raw_equal(1, -1) {
            l.push_nil();
            return 1;
        }
        push_real(l, 1);
        if l.metatable(-1) {
            let real = l.top();
            push_sealed_once(l, link, real);
        }
        return 1;
    }
    if !l.metatable(1) {
        l.push_nil();
        return 1;
    }
    l.raw_field(-1, "__metatable");
    if l.kind(-1) == Type::Nil {
        l.pop(1);
    }
    1
}

/// Pushes the sealed table in front of one, and makes it when it is first asked for.
fn push_sealed_once(l: State, link: Link, real: c_int) {
    l.raw_field(real, "__metatable");
    if l.kind(-1) == Type::Nil {
        l.pop(1);
        push_sealed(l, link, real);
        l.push_value(-1);
        l.set_raw_field(real, "__metatable");
    }
}

extern "C-unwind" fn set_metatable(l: State) -> c_int {
    if is_sealed(l, Link::own(l), 1) {
        refuse(l);
    }
    l.call_own(upvalue(2))
}

extern "C-unwind" fn change_table(l: State) -> c_int {
    if is_sealed(l, Link::own(l), 1) {
        refuse(l);
    }
    l.call_own(upvalue(2))
}

extern "C-unwind" fn obsolete_setn(l: State) -> c_int {
    l.check_table(1);
    l.raise_at_caller(b"'setn' is obsolete")
}

extern "C-unwind" fn next(l: State) -> c_int {
    l.check_table(1);
    l.set_top(2);
    if is_sealed(l, Link::own(l), 1) {
        push_real(l, 1);
        l.replace(1);
    }
    if l.next(1) {
        return 2;
    }
    l.push_nil();
    1
}

/// A plain table is walked by Lua's own `next`, a sealed one by the one above.
extern "C-unwind" fn pairs(l: State) -> c_int {
    l.check_table(1);
    let which = if is_sealed(l, Link::own(l), 1) { 3 } else { 2 };
    l.push_value(upvalue(which));
    l.push_value(1);
    l.push_nil();
    3
}

/// As Lua's, which counts its results in 32 bits and so can be led to take few for many.
extern "C-unwind" fn unpack(l: State) -> c_int {
    l.check_table(1);
    let from = l.number_or(2, 1.0).trunc();
    let to = if matches!(l.kind(3), Type::None | Type::Nil) { l.len(1) as f64 } else { l.check_number(3).trunc() };
    if from > to {
        return 0;
    }
    let count = to - from + 1.0;
    let fits = |bound: f64| bound >= f64::from(i32::MIN) && bound <= f64::from(i32::MAX);
    if !(count < UNPACKED_MAX && fits(from) && fits(to) && l.check_stack(count as c_int)) {
        l.raise_at_caller(b"too many results to unpack");
    }
    for index in from as i64..=to as i64 {
        l.raw_at(1, index as c_int);
    }
    count as c_int
}

/// The text of a chunk, as a name for it.
fn compile(l: State, text: &[u8], name_at: c_int, default_is_text: bool) -> c_int {
    let name = match l.kind(name_at) {
        Type::None | Type::Nil if default_is_text => text,
        Type::None | Type::Nil => b"=(load)",
        _ => l.check_bytes(name_at),
    };
    match l.compile(text, name) {
        Ok(()) => 1,
        Err(_) => {
            l.push_nil();
            l.insert(-2);
            2
        }
    }
}

extern "C-unwind" fn load_string(l: State) -> c_int {
    let text = l.check_bytes(1);
    compile(l, text, 2, true)
}

/// As Lua's: the text comes in pieces, from a function. They are put together first.
extern "C-unwind" fn load(l: State) -> c_int {
    if !l.is_function(1) {
        l.raise_argument(1, c"function expected");
    }
    l.set_top(2);
    l.push_function(collect_pieces, 0);
    l.push_value(1);
    if l.pcall(1, 1, 0).is_err() {
        l.push_nil();
        l.insert(-2);
        return 2;
    }
    let text = l.bytes(3);
    compile(l, text, 2, false)
}

/// Calls a function until it has no more pieces, and puts them together.
extern "C-unwind" fn collect_pieces(l: State) -> c_int {
    let mut text = lua::Buffer::new();
    // What the buffer has on the stack stays below what is called.
    text.begin(l);
    loop {
        l.push_value(1);
        l.call(0, 1);
        match l.kind(-1) {
            Type::Nil => {
                l.pop(1);
                break;
            }
            Type::String | Type::Number => {
                if l.bytes(-1).is_empty() {
                    l.pop(1);
                    break;
                }
                text.add_value();
            }
            _ => {
                l.push_string(b"reader function must return a string");
                l.raise();
            }
        }
    }
    text.finish();
    1
}

/// What would change how the collector works for the scripts that follow does nothing.
extern "C-unwind" fn collect_garbage(l: State) -> c_int {
    let harmless = matches!(l.kind(1), Type::None | Type::Nil)
        || !matches!(l.check_bytes(1), b"stop" | b"restart" | b"setpause" | b"setstepmul");
    if harmless {
        return l.call_own(upvalue(2));
    }
    l.push_number(0.0);
    1
}

extern "C-unwind" fn math_random(l: State) -> c_int {
    let unit = Link::own(l).with(|shared| {
        shared.random = random::next(shared.random);
        random::unit(shared.random)
    });
    let (low, high) = match l.top() {
        0 => {
            l.push_number(unit);
            return 1;
        }
        1 => (1.0, l.check_number(1).trunc()),
        2 => (l.check_number(1).trunc(), l.check_number(2).trunc()),
        _ => l.raise_at_caller(b"wrong number of arguments"),
    };
    if low > high || low.is_nan() || high.is_nan() {
        l.raise_argument(l.top(), c"interval is empty");
    }
    l.push_number((unit * (high - low + 1.0)).floor() + low);
    1
}

extern "C-unwind" fn math_randomseed(l: State) -> c_int {
    let seed = l.check_number(1);
    Link::own(l).with(|shared| shared.random = random::seeded(seed as i64 as i32));
    0
}
