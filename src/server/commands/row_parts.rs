//! What rows of Weir's own commands are made of.

use crate::command::spec::{Acl, Arg, ArgKind, Flags, Group, Spec};

/// The first version of Weir.
const SINCE: &str = "1.0.0";

/// A row's facts, with the categories that follow from its flags.
pub(super) const fn spec(name: &'static str, arity: i16, flags: Flags, own: Acl, group: Group) -> Spec {
    let mut acl = own.union(if flags.contains(Flags::FAST) { Acl::FAST } else { Acl::SLOW });
    if flags.contains(Flags::WRITE) {
        acl = acl.union(Acl::WRITE);
    }
    if flags.contains(Flags::READONLY) {
        acl = acl.union(Acl::READ);
    }
    if flags.contains(Flags::BLOCKING) {
        acl = acl.union(Acl::BLOCKING);
    }
    if flags.contains(Flags::ADMIN) {
        acl = acl.union(Acl::ADMIN).union(Acl::DANGEROUS);
    }
    Spec::new(name, arity, flags, acl, group, SINCE)
}

/// A command that only has subcommands.
pub(super) const fn container(name: &'static str, group: Group, summary: &'static str) -> Spec {
    spec(name, -2, Flags::empty(), Acl::empty(), group).doc("Depends on the subcommand.", summary)
}

/// A word of the caller's own.
pub(super) const fn text(name: &'static str) -> Arg {
    Arg::new(name, ArgKind::String)
}

/// A number.
pub(super) const fn int(name: &'static str) -> Arg {
    Arg::new(name, ArgKind::Integer)
}

/// A word that may stand there.
pub(super) const fn flag(name: &'static str, word: &'static str) -> Arg {
    Arg::word(name, word).optional()
}

/// A value that may stand there behind its word.
pub(super) const fn option(arg: Arg, word: &'static str) -> Arg {
    arg.token(word).optional()
}
