//! Changing paths: CFG.PUT, CFG.CREATE, CFG.DEL.

use super::rows::{ADDS, ADDS_FAST, EMPTIED, READ_AND_CHANGED, WRITES, lease, spec, store};
use super::{next_number, put_field, put_number, put_version};
use crate::command::args::Words;
use crate::command::error::Error;
use crate::command::spec::{Acl, Arg};
use crate::command::table::Row;
use crate::registry::{Numbered, Writer, check_lease, check_path, check_prefix, check_value};
use crate::server::commands::row_parts::{flag, int, option, text};
use crate::server::{ServerCx, ServerFn};
use std::sync::Arc;
use weir_structs::digest::digest_hex;
use weir_structs::tree::{LeaseId, Span, Tree, Version};

pub(in crate::server::commands) const ROWS: &[Row<ServerFn>] = &[
    Row::new(
        spec("cfg.put", -4, ADDS_FAST, Acl::CFGWRITE)
            .keys(READ_AND_CHANGED)
            .doc("O(log(N)), N being the paths of the store.", "Sets a path, perhaps only if it is as expected.")
            .args(&[
                store(),
                text("path"),
                text("value"),
                lease(),
                Arg::one_of("existence", &[Arg::word("nx", "NX"), Arg::word("xx", "XX")]).optional(),
                Arg::one_of(
                    "condition",
                    &[int("revision").token("IFMOD"), int("version").token("IFVER"), text("digest").token("IFDIGEST")],
                )
                .optional(),
                flag("prev", "PREV"),
                option(int("flags"), "FLAGS"),
            ]),
        put_command,
    ),
    Row::new(
        spec("cfg.create", -4, ADDS, Acl::CFGWRITE)
            .keys(READ_AND_CHANGED)
            .doc(
                "O(log(N)), N being the paths of the store; with PARENT for each part of the path.",
                "Creates a path that must not exist, perhaps with a number that rises behind it.",
            )
            .args(&[store(), text("path"), text("value"), flag("seq", "SEQ"), lease(), flag("parent", "PARENT")]),
        create_command,
    ),
    Row::new(
        spec("cfg.del", -3, WRITES, Acl::CFGWRITE)
            .keys(EMPTIED)
            .doc(
                "O(log(N)), N being the paths of the store; with PREFIX for each path that is deleted.",
                "Deletes a path, or all paths that begin with one.",
            )
            .args(&[
                store(),
                text("path"),
                flag("prefix", "PREFIX"),
                option(int("revision"), "IFMOD"),
                flag("prev", "PREV"),
            ]),
        del_command,
    ),
];

/// What must be so for a path to be changed.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum Condition<'a> {
    /// Nothing.
    #[default]
    Any,
    /// It does not exist.
    Missing,
    /// It exists.
    Exists,
    /// It was last changed at this revision; 0: it does not exist.
    Modified(u64),
    /// It has been changed so many times; 0: it does not exist.
    Version(u64),
    /// Its value has this digest.
    Digest(&'a [u8]),
}

impl Condition<'_> {
    fn check(self, now: Option<&Version>) -> Result<(), Error> {
        let holds = match self {
            Condition::Any => true,
            Condition::Missing => now.is_none(),
            Condition::Exists => now.is_some(),
            Condition::Modified(revision) => now.map_or(0, Version::modified) == revision,
            Condition::Version(version) => now.map_or(0, Version::version) == version,
            Condition::Digest(hex) => now.is_some_and(|now| hex.eq_ignore_ascii_case(&digest_hex(now.value()))),
        };
        if holds { Ok(()) } else { Err(Error::cfg_cas(now.map_or(0, Version::modified))) }
    }
}

/// A path to be set, as CFG.PUT and CFG.TXN have it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Put<'a> {
    pub(super) path: &'a [u8],
    pub(super) value: &'a [u8],
    lease: LeaseId,
    flags: u64,
}

impl<'a> Put<'a> {
    /// A path and a value, which follow.
    pub(super) fn take(words: &mut Words<'a>) -> Result<Put<'a>, Error> {
        let path = words.expect()?;
        check_path(path)?;
        Ok(Put { path, value: words.expect()?, lease: 0, flags: 0 })
    }

    /// Takes the next option, if it is one of a path's. Says whether it was.
    pub(super) fn take_option(&mut self, words: &mut Words<'a>) -> Result<bool, Error> {
        if words.accept("LEASE") {
            self.lease = next_number(words)?;
        } else if words.accept("FLAGS") {
            self.flags = next_number(words)?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Whether a store takes it.
    pub(super) fn check(&self, tree: &Tree) -> Result<(), Error> {
        check_value(tree, self.value)?;
        check_lease(tree, self.path, self.lease)
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        writer.put(self.path, self.value, self.lease, self.flags);
    }
}

fn put_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let name = cx.arg(1);
    let mut words = cx.words(2);
    let mut put = Put::take(&mut words)?;
    let (mut existence, mut condition, mut with_previous) = (Condition::Any, Condition::Any, false);
    while words.left() > 0 {
        if put.take_option(&mut words)? {
            continue;
        }
        let (place, new) = if words.accept("NX") {
            (&mut existence, Condition::Missing)
        } else if words.accept("XX") {
            (&mut existence, Condition::Exists)
        } else if words.accept("IFMOD") {
            (&mut condition, Condition::Modified(next_number(&mut words)?))
        } else if words.accept("IFVER") {
            (&mut condition, Condition::Version(next_number(&mut words)?))
        } else if words.accept("IFDIGEST") {
            (&mut condition, Condition::Digest(words.expect()?))
        } else if words.accept("PREV") {
            with_previous = true;
            continue;
        } else {
            return Err(Error::SYNTAX);
        };
        if *place != Condition::Any {
            return Err(Error::SYNTAX);
        }
        *place = new;
    }
    let (revision, previous) = cx.server.write_registry(cx.slot, name, |writer| {
        let now = writer.tree().get(put.path);
        existence.check(now)?;
        condition.check(now)?;
        let previous = now.filter(|_| with_previous).cloned();
        put.check(writer.tree())?;
        put.write(writer);
        Ok((writer.revision(), previous))
    })?;
    if with_previous {
        cx.reply.map(2);
        put_field(&mut cx.reply, "revision", revision);
        cx.reply.text("prev");
        match previous {
            Some(previous) => put_version(&mut cx.reply, None, &previous, true),
            None => cx.reply.null(),
        }
    } else {
        put_number(&mut cx.reply, revision);
    }
    Ok(())
}

fn create_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let (name, stem, value) = (cx.arg(1), cx.arg(2), cx.arg(3));
    let mut words = cx.words(4);
    let (mut lease, mut is_numbered, mut with_parents) = (0, false, false);
    while words.left() > 0 {
        if words.accept("SEQ") {
            is_numbered = true;
        } else if words.accept("LEASE") {
            lease = next_number(&mut words)?;
        } else if words.accept("PARENT") {
            with_parents = true;
        } else {
            return Err(Error::SYNTAX);
        }
    }
    if !is_numbered {
        check_path(stem)?;
    }
    let (revision, path) = cx.server.write_registry(cx.slot, name, |writer| {
        let numbered = if is_numbered { Some(Numbered::next(writer.tree(), stem)?) } else { None };
        let path = numbered.as_ref().map_or(stem, |numbered| &numbered.path);
        Condition::Missing.check(writer.tree().get(path))?;
        check_value(writer.tree(), value)?;
        check_lease(writer.tree(), path, lease)?;
        if let Some(numbered) = &numbered {
            numbered.take(writer);
        }
        if with_parents {
            let ends = path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
            for parent in ends.filter_map(|end| path.get(..end)) {
                if writer.tree().get(parent).is_none() {
                    writer.put(parent, b"", 0, 0);
                }
            }
        }
        writer.put(path, value, lease, 0);
        Ok((writer.revision(), path.to_vec()))
    })?;
    cx.reply.map(2);
    cx.reply.text("path");
    cx.reply.bulk(&path);
    put_field(&mut cx.reply, "revision", revision);
    Ok(())
}

/// Paths to be deleted, as CFG.DEL and CFG.TXN have them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delete<'a> {
    pub(super) path: &'a [u8],
    pub(super) is_prefix: bool,
}

impl<'a> Delete<'a> {
    /// A path, and whether it is the beginning of many, which follow.
    pub(super) fn take(words: &mut Words<'a>) -> Result<Delete<'a>, Error> {
        let path = words.expect()?;
        let is_prefix = words.accept("PREFIX");
        if is_prefix {
            check_prefix(path)?
        } else {
            check_path(path)?
        }
        Ok(Delete { path, is_prefix })
    }

    pub(super) fn span(&self) -> Span<'a> {
        if self.is_prefix { Span::Prefix(self.path) } else { Span::One(self.path) }
    }

    /// Deletes them. Says how many there were.
    pub(super) fn write(&self, writer: &mut Writer<'_>) -> u64 {
        if self.is_prefix { writer.delete_prefix(self.path) } else { u64::from(writer.delete(self.path)) }
    }
}

fn del_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let name = cx.arg(1);
    let mut words = cx.words(2);
    let delete = Delete::take(&mut words)?;
    let (mut condition, mut with_previous) = (Condition::Any, false);
    while words.left() > 0 {
        if words.accept("IFMOD") {
            condition = Condition::Modified(next_number(&mut words)?);
        } else if words.accept("PREV") {
            with_previous = true;
        } else {
            return Err(Error::SYNTAX);
        }
    }
    if delete.is_prefix && condition != Condition::Any {
        return Err(Error::SYNTAX);
    }
    let (deleted, revision, previous) = cx.server.write_registry(cx.slot, name, |writer| {
        condition.check(writer.tree().get(delete.path))?;
        let previous: Vec<(Arc<[u8]>, Version)> = if with_previous {
            writer.tree().span(delete.span(), None).map(|(path, version)| (Arc::clone(path), version.clone())).collect()
        } else {
            Vec::new()
        };
        Ok((delete.write(writer), writer.last_revision(), previous))
    })?;
    cx.reply.map(2 + usize::from(with_previous));
    put_field(&mut cx.reply, "deleted", deleted);
    put_field(&mut cx.reply, "revision", revision);
    if with_previous {
        cx.reply.text("prev");
        cx.reply.array(previous.len());
        for (path, version) in &previous {
            put_version(&mut cx.reply, Some(path), version, true);
        }
    }
    Ok(())
}
