//! Commands on data: what a command is ([`spec`], [`table`]), what it sees ([`cx`], [`args`]), where it answers
//! ([`reply`], [`error`]), what it says of its changes ([`effects`]) and of its wish to wait ([`blocking`]), and the
//! families themselves.
//!
//! Invariant: nothing here knows sockets, clients or the server. Adding a command touches one file of a family: a row in
//! its `COMMANDS` and the function that the row names.

pub mod args;
pub mod bitmap;
pub mod blocking;
pub mod cursor;
pub mod cx;
pub mod effects;
pub mod error;
pub mod generic;
pub mod geo;
pub mod ground;
pub mod hash;
pub mod hyperloglog;
mod kept_words;
pub mod list;
mod repeats;
pub mod reply;
pub mod set;
pub mod sort;
pub mod spec;
pub mod stream;
pub mod string;
pub mod table;
mod value_type;
pub mod zset;

pub use cx::Cx;
pub use error::Error;
pub use generic::dump::{value_forms, value_limits};
pub use table::{DataFn, Row};

/// Every family's rows.
pub const FAMILIES: &[&[Row<DataFn>]] = &[
    bitmap::bitfield::COMMANDS,
    bitmap::bits::COMMANDS,
    generic::database::COMMANDS,
    generic::dump::COMMANDS,
    generic::expire::COMMANDS,
    generic::keys::COMMANDS,
    generic::object::COMMANDS,
    generic::scan::COMMANDS,
    hash::expire::COMMANDS,
    hash::read::COMMANDS,
    hash::write::COMMANDS,
    geo::index::COMMANDS,
    geo::search::COMMANDS,
    hyperloglog::COMMANDS,
    list::blocking::COMMANDS,
    list::pop::COMMANDS,
    list::push::COMMANDS,
    list::read::COMMANDS,
    set::algebra::COMMANDS,
    set::members::COMMANDS,
    set::random::COMMANDS,
    sort::COMMANDS,
    stream::acknowledge::COMMANDS,
    stream::append::COMMANDS,
    stream::groups::COMMANDS,
    stream::info::COMMANDS,
    stream::pending::COMMANDS,
    stream::read::COMMANDS,
    stream::read_group::COMMANDS,
    stream::remove::COMMANDS,
    string::counter::COMMANDS,
    string::get::COMMANDS,
    string::set::COMMANDS,
    zset::algebra::COMMANDS,
    zset::pop::COMMANDS,
    zset::range::COMMANDS,
    zset::read::COMMANDS,
    zset::write::COMMANDS,
];
