//! Libraries that scripts find beside Lua's own: a file each, and a line in [`register`].
//!
//! A library is a table of functions under a global name. It is put there while the engine is built, before the sandbox
//! closes: afterwards the table and the globals are read-only for scripts, so a library need not protect itself. What must
//! stay true of its functions:
//! - they keep no state from one script to the next, other than settings that Redis keeps too;
//! - whatever a script hands in, they return or raise an error: no panic, and no recursion without a bound
//!   ([`DEPTH_MAX`]), since a script runs on a stack of limited size;
//! - memory goes up with what they are given, never with a length that is only claimed; what they build in Lua counts
//!   against the engine's limit by itself, what they build beside it should not outgrow that by orders of magnitude;
//! - an error that Lua raises (`lua_error`, any call that may run out of memory) must not jump over a value with a
//!   destructor. Functions made by [`mlua::Lua::create_function`] see to that themselves; those made of raw C functions have
//!   to.

/// Deepest nesting that a library may follow by recursion. A script has a stack of megabytes.
pub const DEPTH_MAX: usize = 1000;

/// Puts every library into the globals of a fresh engine.
///
/// # Errors
/// Only where there is no memory for them.
pub fn register(_lua: &mlua::Lua) -> mlua::Result<()> {
    Ok(())
}
