//! Scripts: Lua 5.1 in a box.
//!
//! This room knows Lua and nothing of the server: an [`engine`] compiles a script, runs it on a stack of its own, and stops
//! whenever the script wants something that only the server can do. [`api`] is the table `redis`, [`value`] makes values of
//! replies and replies of values, [`sandbox`] is what is left of Lua for scripts, [`lib`] holds the libraries that they find
//! beside it. [`shebang`] reads the first line of a script, and [`Cache`] keeps what was compiled. [`functions`] knows which
//! libraries of functions there are, and [`load`] how they come into an engine.

mod api;
mod cache;
mod engine;
mod flags;
pub mod functions;
pub mod lib;
mod load;
mod lua;
mod random;
mod sandbox;
pub mod shebang;
mod text;
mod value;

pub use api::{VERSIONS, Versions, sha1_hex};
pub use cache::{Cache, Script, Sha};
pub use engine::{Answer, Ask, Compiled, Engine, Kind, Outcome, Run};
pub use flags::ScriptFlags;
