//! Commands on streams.
//!
//! ```text
//!  append        XADD, XIDMPRECORD, XCFGSET          ids      ids as clients write them
//!  remove        XDEL, XDELEX, XTRIM, XSETID         trim     MAXLEN, MINID, LIMIT, KEEPREF and their like
//!  read          XLEN, XRANGE, XREVRANGE, XREAD      entries  entries as replies
//!  read_group    XREADGROUP                          place    the stream at a key
//!  groups        XGROUP
//!  acknowledge   XACK, XACKDEL, XNACK
//!  pending       XPENDING, XCLAIM, XAUTOCLAIM
//!  info          XINFO                            fed      what is repeated in place of commands
//! ```
//!
//! Unlike other collections an empty stream stays: its last id and its groups outlive its entries.
//!
//! What must stay true: what a consumer group keeps for itself (who has which entry, who was seen when) is no change of
//! the key: it disturbs no transaction that watches the key and wakes nobody who waits for entries. Else two consumers
//! that wait at one key would wake each other for ever.

pub mod acknowledge;
pub mod append;
mod entries;
mod fed;
pub mod groups;
mod ids;
pub mod info;
pub mod pending;
mod place;
pub mod read;
pub mod read_group;
pub mod remove;
mod trim;

pub use append::{append_fields, node_limits};

use super::Error;
use super::spec::{Acl, Flags, KeyFlags};

const WRITE_DENYOOM: Flags = Flags::WRITE.union(Flags::DENYOOM);
const WRITE_DENYOOM_FAST: Flags = WRITE_DENYOOM.union(Flags::FAST);
const WRITE_FAST: Flags = Flags::WRITE.union(Flags::FAST);
const ACL_READ_STREAM_SLOW: Acl = Acl::READ.union(Acl::STREAM).union(Acl::SLOW);
const ACL_STREAM_SLOW: Acl = Acl::STREAM.union(Acl::SLOW);
const ACL_WRITE_STREAM_FAST: Acl = Acl::WRITE.union(Acl::STREAM).union(Acl::FAST);
const ACL_WRITE_STREAM_SLOW: Acl = Acl::WRITE.union(Acl::STREAM).union(Acl::SLOW);
const KEY_RO_ACCESS: KeyFlags = KeyFlags::RO.union(KeyFlags::ACCESS);
const KEY_RW_DELETE: KeyFlags = KeyFlags::RW.union(KeyFlags::DELETE);
const KEY_RW_INSERT: KeyFlags = KeyFlags::RW.union(KeyFlags::INSERT);
const KEY_RW_UPDATE: KeyFlags = KeyFlags::RW.union(KeyFlags::UPDATE);

/// No such key, or no such group of the stream there.
fn no_group(key: &[u8], group: &[u8]) -> Error {
    Error::no_such_group(key, group, "")
}
