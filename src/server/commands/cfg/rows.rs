//! What rows of the registry's commands have in common.
//!
//! Categories: `@cfgread` is reading and observing, `@cfgwrite` changing paths, drafts, leases and locks, `@cfgpublish` making
//! drafts what everybody sees, `@cfgadmin` what concerns a store as a whole.

use crate::command::spec::{Acl, Arg, ArgKind, Flags, Group, KeyFlags, KeySpec, Spec};
use crate::server::commands::row_parts::{self, int};

pub(super) const READS: Flags = Flags::READONLY;
pub(super) const READS_FAST: Flags = Flags::READONLY.union(Flags::FAST);
pub(super) const WRITES: Flags = Flags::WRITE;
pub(super) const WRITES_FAST: Flags = Flags::WRITE.union(Flags::FAST);
/// What may need more memory.
pub(super) const ADDS: Flags = Flags::WRITE.union(Flags::DENYOOM);
pub(super) const ADDS_FAST: Flags = ADDS.union(Flags::FAST);

/// A store is read.
pub(super) const READ: &[KeySpec] = &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))];
/// Something is put into a store, or changed.
pub(super) const CHANGED: &[KeySpec] = &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE))];
/// Both, and what was there is told.
pub(super) const READ_AND_CHANGED: &[KeySpec] =
    &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE))];
/// Something is taken out of a store.
pub(super) const EMPTIED: &[KeySpec] = &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE))];
/// The same of subcommands, whose store stands one word later.
pub(super) const READ_BY_SUB: &[KeySpec] = &[KeySpec::one(2, KeyFlags::RO.union(KeyFlags::ACCESS))];
pub(super) const CHANGED_BY_SUB: &[KeySpec] = &[KeySpec::one(2, KeyFlags::RW.union(KeyFlags::UPDATE))];

/// A row's facts, with the categories that follow from its flags.
pub(super) const fn spec(name: &'static str, arity: i16, flags: Flags, own: Acl) -> Spec {
    row_parts::spec(name, arity, flags, own, Group::Registry)
}

/// A command that only has subcommands.
pub(super) const fn container(name: &'static str, summary: &'static str) -> Spec {
    row_parts::container(name, Group::Registry, summary)
}

/// The store.
pub(super) const fn store() -> Arg {
    Arg::key("store", 0)
}

/// A lease that something belongs to.
pub(super) const fn lease() -> Arg {
    row_parts::option(int("lease-id"), "LEASE")
}

/// A number of ms.
pub(super) const fn ms(name: &'static str) -> Arg {
    Arg::new(name, ArgKind::Integer)
}
