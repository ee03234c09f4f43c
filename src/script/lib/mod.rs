//! Libraries that scripts find beside Lua's own: a file each, and a line in [`register`].
//!
//! A library is a table of functions under a global name. It is put there while the engine is built, before the sandbox
//! closes: afterwards the table and the globals are read-only for scripts, so a library need not protect itself. What must
//! stay true of its functions:
//! - they keep no state from one script to the next, other than settings that Redis keeps too;
//! - whatever a script hands in, they return or raise an error: no panic, and no recursion that goes as deep as data are
//!   nested, since a script runs on a stack of limited size;
//! - memory goes up with what they are given, never with a length that is only claimed; what they build in Lua counts
//!   against the engine's limit by itself, what they build beside it should not outgrow that by orders of magnitude;
//! - an error that Lua raises (`lua_error`, any call that may run out of memory) must not jump over a value with a
//!   destructor. Functions made by [`mlua::Lua::create_function`] see to that themselves; those made of raw C functions, as
//!   all are here ([`stack`] says why), have to.
//!
//! `cjson`, `cmsgpack`, `struct` and `bit` stand for C libraries that Redis carries, version by version and corner by
//! corner, because scripts in the field were written against those.

mod bit;
mod cjson;
mod cmsgpack;
mod number_text;
mod stack;
mod structs;

#[cfg(test)]
mod tests;

/// Puts every library into the globals of a fresh engine.
///
/// # Errors
/// Only where there is no memory for them.
pub fn register(lua: &mlua::Lua) -> mlua::Result<()> {
    let globals = lua.globals();
    globals.raw_set("cjson", stack::opener(lua, cjson::open)?)?;
    globals.raw_set("cmsgpack", stack::opener(lua, cmsgpack::open)?)?;
    globals.raw_set("struct", stack::opener(lua, structs::open)?)?;
    globals.raw_set("bit", stack::opener(lua, bit::open)?)
}
