//! Commands that need the whole server: connections, configuration, and what an operator asks.
//!
//! A family is a file: its rows in `COMMANDS`, below them the functions that the rows name.

mod acl;
mod admin;
pub(super) mod cfg;
mod client;
mod client_filter;
mod client_tracking;
mod cluster;
mod command;
mod config;
mod connection;
mod debug;
mod digest;
mod function;
mod hot_keys;
mod info;
mod latency;
mod log;
mod lolwut;
mod memory;
mod migrate;
pub(super) mod mq;
mod persistence;
mod pubsub;
mod row_parts;
mod scripting;
mod transaction;

use super::ServerFn;
use crate::command::table::Row;

/// Every family's rows.
pub const FAMILIES: &[&[Row<ServerFn>]] = &[
    acl::COMMANDS,
    admin::COMMANDS,
    cfg::client::ROWS,
    cfg::draft::ROWS,
    cfg::gray::ROWS,
    cfg::import::ROWS,
    cfg::lease::ROWS,
    cfg::lock::ROWS,
    cfg::poll::ROWS,
    cfg::put::ROWS,
    cfg::read::ROWS,
    cfg::release::ROWS,
    cfg::store::ROWS,
    cfg::txn::ROWS,
    cfg::watch::ROWS,
    client::COMMANDS,
    cluster::COMMANDS,
    command::COMMANDS,
    config::COMMANDS,
    connection::COMMANDS,
    debug::COMMANDS,
    function::COMMANDS,
    hot_keys::COMMANDS,
    info::COMMANDS,
    latency::COMMANDS,
    log::COMMANDS,
    memory::COMMANDS,
    migrate::COMMANDS,
    mq::COMMANDS,
    persistence::COMMANDS,
    pubsub::COMMANDS,
    scripting::COMMANDS,
    transaction::COMMANDS,
];
