//! Commands on HyperLogLogs, which are strings with a header (`weir_structs::hll`).
//!
//! A dense one is changed in place, two bytes a register; a sparse one is copied, changed and stored again.

use super::effects::EventClass;
use super::spec::{Acl, Arg, ArgKind, Flags, Group, KeyFlags, KeySpec, Spec};
use super::string::text::{Text, with_string};
use super::table::{DataFn, Row};
use super::{Cx, Error};
use crate::store::{ExpireChange, Key, NewStr, StrView, Write};
use std::borrow::Cow;
use weir_structs::hll::{self, COUNT_AT, Corrupted, Encoding, Hll, HllBuf, NotHll, Place, Registers};

const KEY_RW_ACCESS: KeyFlags = KeyFlags::RW.union(KeyFlags::ACCESS);

/// Commands on HyperLogLogs.
pub const COMMANDS: &[Row<DataFn>] = &[
    Row::new(
        Spec::new(
            "pfadd",
            -2,
            Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
            Acl::WRITE.union(Acl::HYPERLOGLOG).union(Acl::FAST),
            Group::HyperLogLog,
            "2.8.9",
        )
        .keys(&[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::INSERT))])
        .doc(
            "O(N) where N is the number of elements given.",
            "Counts elements in a HyperLogLog, which is created where missing.",
        )
        .args(&[Arg::key("key", 0), Arg::new("element", ArgKind::String).optional().multiple()]),
        pfadd_command,
    ),
    Row::new(
        Spec::new(
            "pfcount",
            -2,
            Flags::READONLY.union(Flags::MAY_REPLICATE),
            Acl::READ.union(Acl::HYPERLOGLOG).union(Acl::SLOW),
            Group::HyperLogLog,
            "2.8.9",
        )
        .keys(&[KeySpec::range(1, -1, 1, KEY_RW_ACCESS).notes("May store the count that it computed, hence RW.")])
        .doc(
            "O(N) where N is the number of keys; one key alone is answered from its cached count.",
            "Estimates how many different elements HyperLogLogs have counted together.",
        )
        .args(&[Arg::key("key", 0).multiple()]),
        pfcount_command,
    ),
    Row::new(
        Spec::new(
            "pfmerge",
            -2,
            Flags::WRITE.union(Flags::DENYOOM),
            Acl::WRITE.union(Acl::HYPERLOGLOG).union(Acl::SLOW),
            Group::HyperLogLog,
            "2.8.9",
        )
        .keys(&[
            KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::INSERT)),
            KeySpec::range(2, -1, 1, KeyFlags::RO.union(KeyFlags::ACCESS)),
        ])
        .doc("O(N) where N is the number of HyperLogLogs.", "Merges HyperLogLogs into one.")
        .args(&[Arg::key("destkey", 0), Arg::key("sourcekey", 1).optional().multiple()]),
        pfmerge_command,
    ),
    Row::new(
        Spec::new(
            "pfdebug",
            3,
            Flags::WRITE.union(Flags::DENYOOM).union(Flags::ADMIN).union(Flags::SYSCMD),
            Acl::WRITE.union(Acl::HYPERLOGLOG).union(Acl::ADMIN).union(Acl::SLOW).union(Acl::DANGEROUS),
            Group::HyperLogLog,
            "2.8.9",
        )
        .keys(&[KeySpec::one(2, KEY_RW_ACCESS)])
        .doc("Depends on what it is asked to do.", "Shows the inside of a HyperLogLog.")
        .args(&[Arg::new("subcommand", ArgKind::String), Arg::key("key", 0)]),
        pfdebug_command,
    ),
    Row::new(
        Spec::new(
            "pfselftest",
            1,
            Flags::ADMIN.union(Flags::SYSCMD),
            Acl::HYPERLOGLOG.union(Acl::ADMIN).union(Acl::SLOW).union(Acl::DANGEROUS),
            Group::HyperLogLog,
            "2.8.9",
        )
        .doc("O(1), but takes long.", "Checks the server's own HyperLogLog code."),
        pfselftest_command,
    ),
];

impl From<Corrupted> for Error {
    fn from(_: Corrupted) -> Error {
        Error::HLL_CORRUPTED
    }
}

impl From<NotHll> for Error {
    fn from(_: NotHll) -> Error {
        Error::NOT_HLL
    }
}

/// The number of a reply, as the 64 bits of a count are printed there.
#[expect(clippy::cast_possible_wrap, reason = "a corrupted one may have any count, which is shown as it is elsewhere")]
fn count_number(count: u64) -> i64 {
    count as i64
}

/// The HyperLogLog at a key that is to be changed, with the key's entry.
fn to_change<'s>(cx: &'s mut Cx<'_>, key: Key<'_>) -> Result<Option<(Write<'s>, Encoding)>, Error> {
    let Some(entry) = cx.store.db(cx.db_index).get_mut(key) else { return Ok(None) };
    let encoding = view(&entry)?.encoding()?;
    Ok(Some((entry, encoding)))
}

/// A string that may be a HyperLogLog.
struct Stored<'e>(Cow<'e, [u8]>);

impl Stored<'_> {
    fn hll(&self) -> Result<Hll<'_>, Error> {
        Ok(Hll::of(&self.0)?)
    }

    fn encoding(&self) -> Result<Encoding, Error> {
        self.hll().map(Hll::encoding)
    }
}

/// The string at an entry, borrowed unless it is an integer.
fn view<'e>(entry: &'e Write<'_>) -> Result<Stored<'e>, Error> {
    Ok(Stored(match entry.str().ok_or(Error::WRONG_TYPE)? {
        StrView::Bytes(bytes) => Cow::Borrowed(bytes),
        StrView::Blob(blob) => Cow::Borrowed(blob.as_bytes()),
        // No number is a HyperLogLog.
        StrView::Int(_) => Cow::Borrowed(&[]),
    }))
}

fn pfadd_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (key, db, sparse_max) = (cx.key(1), cx.db_index, cx.config.hll_sparse_max_bytes);
    let places = cx.argv.iter().skip(2).map(Place::of);
    let existing = to_change(cx, key)?;
    let is_new = existing.is_none();
    let mut changes = u64::from(is_new);
    match existing {
        Some((mut entry, Encoding::Dense)) => {
            for place in places {
                let change = view(&entry)?.hll()?.dense_change(place);
                if let Some((at, bytes)) = change {
                    entry.overwrite(at, &bytes);
                    changes += 1;
                }
            }
            if changes > 0 {
                forget_count(&mut entry)?;
            }
        }
        Some((mut entry, Encoding::Sparse)) => {
            let mut changed = HllBuf::copy_of(view(&entry)?.hll()?);
            for place in places {
                changes += u64::from(changed.add(place, sparse_max)?);
            }
            if changes > 0 {
                changed.forget_count();
                entry.set_str(NewStr::Raw(&changed.into_bytes()));
            }
        }
        None => {
            let mut new = HllBuf::new();
            for place in places {
                changes += u64::from(new.add(place, sparse_max)?);
            }
            new.forget_count();
            cx.store.db(db).set(key, NewStr::Raw(&new.into_bytes()), ExpireChange::Clear);
        }
    }
    if changes > 0 {
        cx.effects.changed(changes);
        if is_new {
            cx.effects.event(EventClass::NEW, "new", key.name, db);
        }
        cx.effects.event(EventClass::STRING, "pfadd", key.name, db);
    }
    cx.reply.int(i64::from(changes > 0));
    Ok(())
}

/// Marks the count in an entry's HyperLogLog as out of date.
fn forget_count(entry: &mut Write<'_>) -> Result<(), Error> {
    let at = COUNT_AT + 7;
    let byte = view(entry)?.0.get(at).copied().unwrap_or(0);
    entry.overwrite(at, &[byte | 0x80]);
    Ok(())
}

fn pfcount_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    if cx.argc() == 2 {
        return count_one(cx);
    }
    let mut union = Registers::new();
    for at in 1..cx.argc() {
        merge_key(cx, at, &mut union)?;
    }
    cx.reply.int(count_number(union.count()));
    Ok(())
}

/// Merges the HyperLogLog at argument `at` into `union`; nothing if the key is missing. Says how it is encoded.
fn merge_key(cx: &mut Cx<'_>, at: usize, union: &mut Registers) -> Result<Option<Encoding>, Error> {
    let key = cx.key(at);
    with_string(cx, key, |_, value| {
        let Some(value) = value else { return Ok(None) };
        let text = Text::of(&value);
        let hll = Hll::of(&text)?;
        hll.merge_into(union)?;
        Ok(Some(hll.encoding()))
    })?
}

/// The count of one key, which is stored in it when it has to be computed.
fn count_one(cx: &mut Cx<'_>) -> Result<(), Error> {
    let key = cx.key(1);
    let (count, is_known) = with_string(cx, key, |_, value| {
        let Some(value) = value else { return Ok::<_, Error>((0, true)) };
        let text = Text::of(&value);
        let hll = Hll::of(&text)?;
        match hll.stored_count() {
            Some(count) => Ok((count, true)),
            None => Ok((hll.count()?, false)),
        }
    })??;
    if !is_known {
        if let Some(mut entry) = cx.db().get_mut(key) {
            entry.overwrite(COUNT_AT, &count.to_le_bytes());
        }
        cx.effects.changed(1);
    }
    cx.reply.int(count_number(count));
    Ok(())
}

fn pfmerge_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (key, db, sparse_max) = (cx.key(1), cx.db_index, cx.config.hll_sparse_max_bytes);
    let mut union = Registers::new();
    let mut any_dense = false;
    for at in 1..cx.argc() {
        any_dense |= merge_key(cx, at, &mut union)? == Some(Encoding::Dense);
    }
    let existing = to_change(cx, key)?;
    let is_new = existing.is_none();
    let mut merged = match &existing {
        Some((entry, _)) => HllBuf::copy_of(view(entry)?.hll()?),
        None => HllBuf::new(),
    };
    if any_dense {
        merged.make_dense()?;
    }
    merged.raise_all(&union, sparse_max)?;
    merged.forget_count();
    let bytes = merged.into_bytes();
    match existing {
        Some((mut entry, _)) => entry.set_str(NewStr::Raw(&bytes)),
        None => {
            cx.db().set(key, NewStr::Raw(&bytes), ExpireChange::Clear);
        }
    }
    cx.effects.changed(1);
    if is_new {
        cx.effects.event(EventClass::NEW, "new", key.name, db);
    }
    // The event of PFADD, for what follows from a change is the same.
    cx.effects.event(EventClass::STRING, "pfadd", key.name, db);
    cx.reply.ok();
    Ok(())
}

fn pfdebug_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let what = cx.arg(1);
    let is = |name| super::args::is(what, name);
    if is("SIMD") {
        let on = super::args::is(cx.arg(2), "ON");
        if !on && !super::args::is(cx.arg(2), "OFF") {
            return Err(Error::PFDEBUG_SIMD);
        }
        hll::use_wide_vectors(on);
        cx.reply.simple(if on { "enabled" } else { "disabled" });
        return Ok(());
    }
    let key = cx.key(2);
    let (entry, encoding) = to_change(cx, key)?.ok_or(Error::PFDEBUG_NO_KEY)?;
    if is("GETREG") {
        let (mut registers, made_dense) = (Registers::new(), make_dense(entry, encoding)?);
        merge_key(cx, 2, &mut registers)?;
        cx.effects.changed(u64::from(made_dense));
        cx.reply.array(registers.values().len());
        for register in registers.values() {
            cx.reply.int(i64::from(*register));
        }
    } else if is("DECODE") {
        if encoding == Encoding::Dense {
            return Err(Error::PFDEBUG_NOT_SPARSE);
        }
        let text = view(&entry)?.hll()?.runs_text();
        cx.reply.text(&text);
    } else if is("ENCODING") {
        cx.reply.simple(match encoding {
            Encoding::Dense => "dense",
            Encoding::Sparse => "sparse",
        });
    } else if is("TODENSE") {
        let made_dense = make_dense(entry, encoding)?;
        cx.effects.changed(u64::from(made_dense));
        cx.reply.int(i64::from(made_dense));
    } else {
        return Err(Error::unknown_pfdebug(what));
    }
    Ok(())
}

/// Makes the HyperLogLog at an entry dense. Returns whether it was not.
fn make_dense(mut entry: Write<'_>, encoding: Encoding) -> Result<bool, Error> {
    if encoding == Encoding::Dense {
        return Ok(false);
    }
    let mut dense = HllBuf::copy_of(view(&entry)?.hll()?);
    dense.make_dense()?;
    entry.set_str_unheard(NewStr::Raw(&dense.into_bytes()));
    Ok(true)
}

fn pfselftest_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let seed = cx.store.random_u64();
    hll::self_test(seed).map_err(|failure| Error::new(format!("TESTFAILED {}", failure.0)))?;
    cx.reply.ok();
    Ok(())
}
