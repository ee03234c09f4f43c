//! Weir: a server that speaks the Redis protocol.
//!
//! The way of a request: [`net`] reads it, [`weir_resp`] cuts it, [`server`] executes it, [`command`] is what it does,
//! [`store`] is what it does it to. `docs/architecture.md` has the rooms and which may use which.

pub mod acl;
pub mod allocator;
pub mod broker;
pub mod check;
pub mod command;
pub mod config;
pub mod disk;
pub mod logging;
pub mod migrate;
pub mod net;
pub mod persist;
pub mod process;
pub mod pubsub;
pub mod registry;
pub mod script;
pub mod server;
pub mod stats;
pub mod store;
pub mod threads;
pub mod tls;
pub mod tracking;
