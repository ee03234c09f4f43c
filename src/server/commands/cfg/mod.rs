//! The registry's commands: CFG.*.
//!
//! Each file has the rows of its commands and below them what they do: `put` (PUT, CREATE, DEL), `read` (GET, RANGE, HISTORY),
//! `txn`, `watch`, `poll`, `lease`, `lock` (and elections), `draft`, `release` (PUBLISH, RELEASES, ROLLBACK), `gray`, `client`
//! (labels, who sees what), `import` (and EXPORT), `store` (settings, compaction, records of the feed). What their rows have in
//! common is in `rows`.

pub(super) mod client;
pub(super) mod draft;
pub(super) mod gray;
pub(super) mod import;
pub(super) mod lease;
pub(super) mod lock;
pub(super) mod poll;
pub(super) mod put;
pub(super) mod read;
pub(super) mod release;
mod rows;
pub(super) mod store;
pub(in crate::server) mod txn;
pub(super) mod watch;

use crate::command::args::Words;
use crate::command::error::Error;
use crate::command::ground::Ground;
use crate::command::reply::Reply;
use crate::registry::Registry;
use crate::server::ServerCx;
use weir_structs::number::parse_u64;
use weir_structs::tree::Version;

/// Fields of a path besides its name and its value.
const META_FIELDS: usize = 5;

/// The registry, and what it works on: the database of the calling client.
fn ground<'c>(cx: &'c mut ServerCx<'_>) -> (&'c mut Registry, Ground<'c>) {
    cx.server.registry_ground(cx.slot)
}

/// A number from 0 to the largest that replies can tell.
fn number(word: &[u8]) -> Result<u64, Error> {
    parse_u64(word).filter(|number| i64::try_from(*number).is_ok()).ok_or(Error::NOT_INTEGER)
}

/// The same of the next word.
fn next_number(words: &mut Words<'_>) -> Result<u64, Error> {
    number(words.expect()?)
}

/// A number that is at most the largest that fits.
fn put_number(reply: &mut Reply<'_>, number: u64) {
    reply.int(i64::try_from(number).unwrap_or(i64::MAX));
}

fn put_field(reply: &mut Reply<'_>, name: &str, number: u64) {
    reply.text(name);
    put_number(reply, number);
}

/// A state of a path as a map: its path, if that is to be told, and its value, if that is.
fn put_version(reply: &mut Reply<'_>, path: Option<&[u8]>, version: &Version, with_value: bool) {
    reply.map(META_FIELDS + usize::from(path.is_some()) + usize::from(with_value));
    if let Some(path) = path {
        reply.text("path");
        reply.bulk(path);
    }
    if with_value {
        reply.text("value");
        reply.bulk(version.value());
    }
    put_field(reply, "create", version.create());
    put_field(reply, "mod", version.modified());
    put_field(reply, "version", version.version());
    put_field(reply, "lease", version.lease());
    put_field(reply, "flags", version.flags());
}
