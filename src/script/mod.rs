//! Scripts: Lua 5.1 in a box.
//!
//! This room knows Lua and nothing of the server: an engine compiles a script, runs it on a stack of its own, and stops
//! whenever the script wants something that only the server can do. [`lib`] holds the libraries that scripts find beside
//! Lua's own.

pub mod lib;
