//! Random conversations with a server that has no sockets: from bytes to steps of several clients, and what must hold
//! after each. Shared by the test beside it and by the fuzz target `commands`.
//!
//! ```text
//!  bytes ──► Choices ──► steps ──► World: clients, their bytes, the clock, Server ──► replies ──► checks
//!                          ▲
//!            commands: rows of the command table, odd numbers, few keys
//! ```
//!
//! The same bytes are the same conversation, so that a failure can be looked at again: [`Telling::Steps`] writes every
//! step to the standard error as `redis-cli` would take it. (The one thing that differs between runs is how far work in
//! slices of time gets.)

mod choices;
mod commands;
mod conversation;
#[path = "../in_process/mod.rs"]
pub(crate) mod in_process;
mod replies;
mod world;

pub(crate) use conversation::{Telling, hold};
