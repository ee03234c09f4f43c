//! Single bits, counting, searching, and BITOP.
//!
//! A big string is never copied to be read, and the result of BITOP is stored as it was computed.

use super::bit_offset;
use crate::command::args;
use crate::command::effects::EventClass;
use crate::command::spec::{Acl, Arg, ArgKind, Flags, Group, KeyFlags, KeySpec, Spec};
use crate::command::string::text::{KeptText, Text, with_string};
use crate::command::table::{DataFn, Row};
use crate::command::{Cx, Error};
use crate::store::{BLOB_MIN, ExpireChange, NewStr, Removal};
use std::ops::Range;
use std::sync::Arc;
use weir_structs::bits::{self, BitOp};

const READONLY_FAST: Flags = Flags::READONLY.union(Flags::FAST);
const WRITE_DENYOOM: Flags = Flags::WRITE.union(Flags::DENYOOM);
const ACL_READ_BITMAP_FAST: Acl = Acl::READ.union(Acl::BITMAP).union(Acl::FAST);
const ACL_READ_BITMAP_SLOW: Acl = Acl::READ.union(Acl::BITMAP).union(Acl::SLOW);
const ACL_WRITE_BITMAP_SLOW: Acl = Acl::WRITE.union(Acl::BITMAP).union(Acl::SLOW);
const KEY_RO_ACCESS: KeyFlags = KeyFlags::RO.union(KeyFlags::ACCESS);

const RANGE_PARTS: &[Arg] = &[
    Arg::new("start", ArgKind::Integer),
    Arg::block(
        "end-unit-block",
        &[
            Arg::new("end", ArgKind::Integer),
            Arg::one_of("unit", &[Arg::word("byte", "BYTE"), Arg::word("bit", "BIT")]).since("7.0.0").optional(),
        ],
    )
    .optional(),
];

/// Commands on single bits and on all bits of a string.
pub const COMMANDS: &[Row<DataFn>] = &[
    Row::new(
        Spec::new("getbit", 3, READONLY_FAST, ACL_READ_BITMAP_FAST, Group::Bitmap, "2.2.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .doc("O(1)", "Returns the bit at an offset of a string.")
            .args(&[Arg::key("key", 0), Arg::new("offset", ArgKind::Integer)]),
        getbit_command,
    ),
    Row::new(
        Spec::new("setbit", 4, WRITE_DENYOOM, ACL_WRITE_BITMAP_SLOW, Group::Bitmap, "2.2.0")
            .keys(&[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE))])
            .doc("O(1)", "Sets or clears the bit at an offset of a string, which grows as needed.")
            .args(&[Arg::key("key", 0), Arg::new("offset", ArgKind::Integer), Arg::new("value", ArgKind::Integer)]),
        setbit_command,
    ),
    Row::new(
        Spec::new("bitcount", -2, Flags::READONLY, ACL_READ_BITMAP_SLOW, Group::Bitmap, "2.6.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .doc(
                "O(N) where N is the number of bytes looked at.",
                "Counts the bits that are set in a string or in a part of it.",
            )
            .history(&[("7.0.0", "Gained the `BYTE` and `BIT` options."), ("8.0.0", "The end may be left out.")])
            .args(&[Arg::key("key", 0), Arg::block("range", RANGE_PARTS).optional()]),
        bitcount_command,
    ),
    Row::new(
        Spec::new("bitpos", -3, Flags::READONLY, ACL_READ_BITMAP_SLOW, Group::Bitmap, "2.8.7")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .doc(
                "O(N) where N is the number of bytes looked at.",
                "Finds the first bit of a string that is set, or clear.",
            )
            .history(&[("7.0.0", "Gained the `BYTE` and `BIT` options.")])
            .args(&[
                Arg::key("key", 0),
                Arg::new("bit", ArgKind::Integer),
                Arg::block("range", RANGE_PARTS).optional(),
            ]),
        bitpos_command,
    ),
    Row::new(
        Spec::new("bitop", -4, WRITE_DENYOOM, ACL_WRITE_BITMAP_SLOW, Group::Bitmap, "2.6.0")
            .keys(&[KeySpec::one(2, KeyFlags::OW.union(KeyFlags::UPDATE)), KeySpec::range(3, -1, 1, KEY_RO_ACCESS)])
            .doc(
                "O(N) where N is the sum of the lengths of the strings.",
                "Combines strings bit by bit and stores the result.",
            )
            .history(&[("8.2.0", "Gained the `DIFF`, `DIFF1`, `ANDOR` and `ONE` operations.")])
            .args(&[
                Arg::one_of(
                    "operation",
                    &[
                        Arg::word("and", "AND"),
                        Arg::word("or", "OR"),
                        Arg::word("xor", "XOR"),
                        Arg::word("not", "NOT"),
                        Arg::word("diff", "DIFF").since("8.2.0"),
                        Arg::word("diff1", "DIFF1").since("8.2.0"),
                        Arg::word("andor", "ANDOR").since("8.2.0"),
                        Arg::word("one", "ONE").since("8.2.0"),
                    ],
                ),
                Arg::key("destkey", 0),
                Arg::key("key", 1).multiple(),
            ]),
        bitop_command,
    ),
];

fn getbit_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let offset = bit_offset(cx, cx.arg(2), None)?;
    let key = cx.key(1);
    let bit = with_string(cx, key, |_, value| value.map_or(0, |value| bits::field(&Text::of(&value), offset, 1)))?;
    cx.reply.int(i64::from(bit != 0));
    Ok(())
}

fn setbit_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let offset = bit_offset(cx, cx.arg(2), None)?;
    let byte = usize::try_from(offset / 8).map_err(|_| Error::BIT_OFFSET)?;
    let mask = 0x80 >> (offset % 8);
    let on = match cx.int(3) {
        Ok(bit @ 0..=1) => bit == 1,
        _ => return Err(Error::BIT_VALUE),
    };
    let key = cx.key(1);
    let mut was = false;
    let mut different = true;
    let mut new = false;
    if let Some(mut entry) = cx.db().get_mut(key) {
        let value = entry.str().ok_or(Error::WRONG_TYPE)?;
        let old = Text::of(&value).get(byte).copied();
        let bits = old.unwrap_or(0);
        was = bits & mask != 0;
        different = old.is_none() || was != on;
        // Also where nothing changes the value becomes one that was modified in place, as in Redis.
        if different {
            entry.overwrite(byte, &[if on { bits | mask } else { bits & !mask }]);
        } else {
            entry.make_raw();
        }
    } else {
        let mut value = vec![0; byte + 1];
        value[byte] = if on { mask } else { 0 };
        let value = if value.len() > BLOB_MIN { NewStr::Blob(Arc::new(value)) } else { NewStr::Raw(&value) };
        cx.db().set(key, value, ExpireChange::Clear);
        new = true;
    }
    if different {
        cx.effects.changed(1);
        let db = cx.db_index;
        if new {
            cx.effects.event(EventClass::NEW, "new", key.name, db);
        }
        cx.effects.event(EventClass::STRING, "setbit", key.name, db);
    }
    cx.reply.int(i64::from(was));
    Ok(())
}

/// Both ends of a range as a client gives it, negative ones counted from the end.
#[derive(Clone, Copy)]
struct GivenRange {
    start: i64,
    /// The end was left out: the last byte.
    end: Option<i64>,
    in_bits: bool,
}

impl GivenRange {
    /// From argument `at` on; `None` if there are no more arguments.
    fn read(cx: &Cx<'_>, at: usize) -> Result<Option<GivenRange>, Error> {
        if cx.argc() <= at {
            return Ok(None);
        }
        if cx.argc() > at + 3 {
            return Err(Error::SYNTAX);
        }
        let start = cx.int(at)?;
        let in_bits = match cx.argv.get(at + 2) {
            None => false,
            Some(unit) if args::is(unit, "BIT") => true,
            Some(unit) if args::is(unit, "BYTE") => false,
            Some(_) => return Err(Error::SYNTAX),
        };
        let end = if cx.argc() > at + 1 { Some(cx.int(at + 1)?) } else { None };
        Ok(Some(GivenRange { start, end, in_bits }))
    }

    /// The bits of a string of so many bytes that it means; `None` if there are none.
    fn bits_of(self, bytes: usize) -> Option<Range<u64>> {
        let bits = i64::try_from(bytes as u64 * 8).ok()?;
        let total = if self.in_bits { bits } else { bits / 8 };
        let place = |from: i64| if from < 0 { from.saturating_add(total).max(0) } else { from };
        let (start, end) = (place(self.start), place(self.end.unwrap_or(-1)).min(total - 1));
        let unit = if self.in_bits { 1 } else { 8 };
        let (first, behind) = (u64::try_from(start).ok()?, u64::try_from(end).ok()? + 1);
        (start <= end).then(|| first * unit..behind * unit)
    }
}

fn bitcount_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let range = GivenRange::read(cx, 2)?;
    let key = cx.key(1);
    let count = with_string(cx, key, |_, value| {
        let Some(value) = value else { return 0 };
        let text = Text::of(&value);
        match range {
            None => bits::count_ones(&text),
            // Before negative ends are cut to the string: two that lie before its beginning would meet there.
            Some(GivenRange { start, end: Some(end), .. }) if end < start && start < 0 => 0,
            Some(range) => range.bits_of(text.len()).map_or(0, |bits| bits::count_ones_in(&text, bits)),
        }
    })?;
    cx.reply.int(i64::try_from(count).unwrap_or(i64::MAX));
    Ok(())
}

fn bitpos_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let bit = match cx.int(2)? {
        0 => false,
        1 => true,
        _ => return Err(Error::BIT_ARGUMENT),
    };
    let given = GivenRange::read(cx, 3)?;
    let range = given.unwrap_or(GivenRange { start: 0, end: None, in_bits: false });
    let key = cx.key(1);
    let found = with_string(cx, key, |_, value| {
        let Some(value) = value else {
            // Nothing is zeros without end.
            return if bit { None } else { Some(0) };
        };
        let text = Text::of(&value);
        let bits = range.bits_of(text.len())?;
        // A string whose end the client does not name goes on with zeros.
        let behind = (!bit && range.end.is_none()).then_some(bits.end);
        bits::find_bit(&text, bit, bits).or(behind)
    })?;
    cx.reply.int(found.and_then(|at| i64::try_from(at).ok()).unwrap_or(-1));
    Ok(())
}

/// What BITOP can do, by name, with the least number of sources.
const OPERATIONS: &[(&str, BitOp, usize)] = &[
    ("AND", BitOp::And, 1),
    ("OR", BitOp::Or, 1),
    ("XOR", BitOp::Xor, 1),
    ("NOT", BitOp::Not, 1),
    ("DIFF", BitOp::Diff, 2),
    ("DIFF1", BitOp::Diff1, 2),
    ("ANDOR", BitOp::AndOr, 2),
    ("ONE", BitOp::One, 1),
];

fn bitop_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let found = OPERATIONS.iter().find(|(name, ..)| args::is(cx.arg(1), name));
    let &(name, op, sources_min) = found.ok_or(Error::SYNTAX)?;
    let sources = cx.argc() - 3;
    if op == BitOp::Not && sources != 1 {
        return Err(Error::BITOP_NOT_SOURCES);
    }
    if sources < sources_min {
        return Err(Error::bitop_sources(name));
    }
    let mut inputs = Vec::with_capacity(sources);
    for at in 3..cx.argc() {
        let key = cx.key(at);
        inputs.push(with_string(cx, key, |_, value| KeptText::of(value))?);
    }
    let texts: Vec<&[u8]> = inputs.iter().map(|input| &**input).collect();
    let result = bits::combine(op, &texts);

    let (target, db, len) = (cx.key(2), cx.db_index, result.len());
    if result.is_empty() {
        if cx.db().remove(target) == Removal::Removed {
            cx.effects.changed(1);
            cx.effects.event(EventClass::GENERIC, "del", target.name, db);
        }
    } else {
        let value = if len > BLOB_MIN { NewStr::Blob(Arc::new(result)) } else { NewStr::Raw(&result) };
        cx.overwrites(target, "string");
        let is_new = cx.db().set(target, value, ExpireChange::Clear);
        cx.effects.changed(1);
        if is_new {
            cx.effects.event(EventClass::NEW, "new", target.name, db);
        }
        cx.effects.event(EventClass::STRING, "set", target.name, db);
    }
    cx.reply.count(len);
    Ok(())
}
