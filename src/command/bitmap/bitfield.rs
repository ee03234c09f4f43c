//! BITFIELD and BITFIELD_RO: a string as an array of integers of any width.
//!
//! All operations are read before anything is looked up, and the string grows once, by what the operation that reaches
//! furthest needs, even if overflow then keeps all of them from writing: so do Redis and Valkey.

use super::bit_offset;
use crate::command::args::Words;
use crate::command::effects::EventClass;
use crate::command::spec::{Acl, Arg, ArgKind, Flags, Group, KeyFlags, KeySpec, Spec};
use crate::command::string::text::{Text, with_string};
use crate::command::table::{DataFn, Row};
use crate::command::{Cx, Error};
use crate::store::{BLOB_MIN, ExpireChange, NewStr};
use std::sync::Arc;
use weir_structs::bits;
use weir_structs::number;

const READONLY_FAST: Flags = Flags::READONLY.union(Flags::FAST);
const WRITE_DENYOOM: Flags = Flags::WRITE.union(Flags::DENYOOM);
const ACL_READ_BITMAP_FAST: Acl = Acl::READ.union(Acl::BITMAP).union(Acl::FAST);
const ACL_WRITE_BITMAP_SLOW: Acl = Acl::WRITE.union(Acl::BITMAP).union(Acl::SLOW);
const KEY_RO_ACCESS: KeyFlags = KeyFlags::RO.union(KeyFlags::ACCESS);

/// Commands on integers inside of strings.
pub const COMMANDS: &[Row<DataFn>] = &[
    Row::new(
        Spec::new("bitfield", -2, WRITE_DENYOOM, ACL_WRITE_BITMAP_SLOW, Group::Bitmap, "3.2.0")
            .keys(&[KeySpec::one(
                1,
                KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE).union(KeyFlags::VARIABLE_FLAGS),
            )
            .notes("Reads only, reads and changes, as its operations say.")])
            .doc(
                "O(N) where N is the number of operations.",
                "Reads and changes integers of chosen widths inside a string.",
            )
            .args(&[
                Arg::key("key", 0),
                Arg::one_of(
                    "operation",
                    &[
                        Arg::block(
                            "get-block",
                            &[Arg::new("encoding", ArgKind::String), Arg::new("offset", ArgKind::Integer)],
                        )
                        .token("GET"),
                        Arg::block(
                            "write",
                            &[
                                Arg::one_of(
                                    "overflow-block",
                                    &[Arg::word("wrap", "WRAP"), Arg::word("sat", "SAT"), Arg::word("fail", "FAIL")],
                                )
                                .token("OVERFLOW")
                                .optional(),
                                Arg::one_of(
                                    "write-operation",
                                    &[
                                        Arg::block(
                                            "set-block",
                                            &[
                                                Arg::new("encoding", ArgKind::String),
                                                Arg::new("offset", ArgKind::Integer),
                                                Arg::new("value", ArgKind::Integer),
                                            ],
                                        )
                                        .token("SET"),
                                        Arg::block(
                                            "incrby-block",
                                            &[
                                                Arg::new("encoding", ArgKind::String),
                                                Arg::new("offset", ArgKind::Integer),
                                                Arg::new("increment", ArgKind::Integer),
                                            ],
                                        )
                                        .token("INCRBY"),
                                    ],
                                ),
                            ],
                        ),
                    ],
                )
                .optional()
                .multiple(),
            ]),
        bitfield_command,
    ),
    Row::new(
        Spec::new("bitfield_ro", -2, READONLY_FAST, ACL_READ_BITMAP_FAST, Group::Bitmap, "6.0.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .doc("O(N) where N is the number of operations.", "Reads integers of chosen widths inside a string.")
            .args(&[
                Arg::key("key", 0),
                Arg::block("get-block", &[Arg::new("encoding", ArgKind::String), Arg::new("offset", ArgKind::Integer)])
                    .token("GET")
                    .optional()
                    .multiple_token(),
            ]),
        bitfield_ro_command,
    ),
];

/// Which integers a field holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Field {
    signed: bool,
    /// 1 to 64; to 63 where unsigned, for the protocol's integers are signed.
    bits: u32,
}

impl Field {
    /// `i8`, `u16`.
    fn read(word: &[u8]) -> Result<Field, Error> {
        let (signed, digits, bits_max) = match word {
            [b'i', digits @ ..] => (true, digits, 64),
            [b'u', digits @ ..] => (false, digits, 63),
            _ => return Err(Error::BITFIELD_TYPE),
        };
        let bits = number::parse_i64(digits).filter(|bits| (1..=bits_max).contains(bits));
        let bits = bits.and_then(|bits| u32::try_from(bits).ok()).ok_or(Error::BITFIELD_TYPE)?;
        Ok(Field { signed, bits })
    }

    /// The number that these bits are.
    fn value(self, raw: u64) -> i64 {
        let unused = 64 - self.bits;
        #[expect(clippy::cast_possible_wrap, reason = "the bits are read as a number with a sign on purpose")]
        let high = (raw << unused) as i64;
        if self.signed { high >> unused } else { (high as u64 >> unused) as i64 }
    }

    fn min(self) -> i128 {
        if self.signed { -(1 << (self.bits - 1)) } else { 0 }
    }

    fn max(self) -> i128 {
        (1 << (self.bits - u32::from(self.signed))) - 1
    }

    /// What is stored for a number that may lie outside of the range; `None` where that is refused.
    #[expect(clippy::cast_possible_truncation, reason = "what is above the field's bits is cut on purpose")]
    fn fit(self, number: i128, overflow: Overflow) -> Option<u64> {
        let (min, max) = (self.min(), self.max());
        if (min..=max).contains(&number) {
            return Some(number as u64);
        }
        match overflow {
            Overflow::Wrap => Some(number as u64),
            Overflow::Saturate => Some(number.clamp(min, max) as u64),
            Overflow::Fail => None,
        }
    }
}

/// What becomes of a number that its field cannot hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Overflow {
    /// Its upper bits are lost.
    Wrap,
    /// The nearest number that the field can hold.
    Saturate,
    /// Nothing is stored.
    Fail,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Get,
    Set(i64),
    Increment(i64),
}

/// One operation on one field.
#[derive(Clone, Copy, Debug)]
struct Operation {
    action: Action,
    field: Field,
    offset: u64,
    overflow: Overflow,
}

impl Operation {
    /// The last byte that it touches.
    fn last_byte(self) -> Result<usize, Error> {
        usize::try_from((self.offset + u64::from(self.field.bits) - 1) / 8).map_err(|_| Error::BIT_OFFSET)
    }

    fn read_all(cx: &Cx<'_>, read_only: bool) -> Result<Vec<Operation>, Error> {
        let mut words: Words<'_> = cx.words(2);
        let mut overflow = Overflow::Wrap;
        let mut operations = Vec::new();
        while words.peek().is_some() {
            // A name without all of its arguments is no operation at all.
            let left = words.left();
            let (is_get, is_set) = (left > 2 && words.accept("GET"), left > 3 && words.accept("SET"));
            let is_incrby = !is_get && !is_set && left > 3 && words.accept("INCRBY");
            if !(is_get || is_set || is_incrby) {
                if left < 2 || !words.accept("OVERFLOW") {
                    return Err(Error::SYNTAX);
                }
                overflow = if words.accept("WRAP") {
                    Overflow::Wrap
                } else if words.accept("SAT") {
                    Overflow::Saturate
                } else if words.accept("FAIL") {
                    Overflow::Fail
                } else {
                    return Err(Error::BITFIELD_OVERFLOW);
                };
                continue;
            }
            let field = Field::read(words.expect()?)?;
            let offset = bit_offset(cx, words.expect()?, Some(field.bits))?;
            let action = if is_get {
                Action::Get
            } else {
                let number = words.expect_int()?;
                if is_set { Action::Set(number) } else { Action::Increment(number) }
            };
            operations.push(Operation { action, field, offset, overflow });
        }
        if read_only && operations.iter().any(|operation| !matches!(operation.action, Action::Get)) {
            return Err(Error::BITFIELD_RO_ONLY_GET);
        }
        Ok(operations)
    }

    /// The number for the reply and, unless it only reads, the bits for the field.
    fn outcome(self, raw: u64) -> (Option<i64>, Option<u64>) {
        let old = self.field.value(raw);
        match self.action {
            Action::Get => (Some(old), None),
            Action::Set(number) => {
                // A negative number is a very large one to an unsigned field.
                #[expect(clippy::cast_sign_loss, reason = "see above")]
                let number = if self.field.signed { i128::from(number) } else { i128::from(number as u64) };
                let stored = self.field.fit(number, self.overflow);
                (stored.map(|_| old), stored)
            }
            Action::Increment(by) => {
                let stored = self.field.fit(i128::from(old) + i128::from(by), self.overflow);
                (stored.map(|raw| self.field.value(raw)), stored)
            }
        }
    }
}

fn bitfield_ro_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let operations = Operation::read_all(cx, true)?;
    read_fields(cx, &operations)
}

fn bitfield_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let operations = Operation::read_all(cx, false)?;
    let writes = operations.iter().filter(|operation| !matches!(operation.action, Action::Get));
    let mut last_byte = None;
    for operation in writes {
        last_byte = last_byte.max(Some(operation.last_byte()?));
    }
    match last_byte {
        None => read_fields(cx, &operations),
        Some(last_byte) => change_fields(cx, &operations, last_byte),
    }
}

fn read_fields(cx: &mut Cx<'_>, operations: &[Operation]) -> Result<(), Error> {
    let key = cx.key(1);
    with_string(cx, key, |reply, value| {
        reply.array(operations.len());
        let text = value.as_ref().map(Text::of);
        let bytes = text.as_deref().unwrap_or_default();
        for Operation { field, offset, .. } in operations {
            reply.int(field.value(bits::field(bytes, *offset, field.bits)));
        }
    })
}

/// Carries out operations that write, in a string that reaches to `last_byte` at least.
fn change_fields(cx: &mut Cx<'_>, operations: &[Operation], last_byte: usize) -> Result<(), Error> {
    let (key, db) = (cx.key(1), cx.db_index);
    let existing = cx.store.db(db).get_mut(key);
    let is_new = existing.is_none();
    let mut grown = is_new;
    let mut entry = match existing {
        Some(mut entry) => {
            let value = entry.str().ok_or(Error::WRONG_TYPE)?;
            let at_end = Text::of(&value).get(last_byte).copied();
            grown = at_end.is_none();
            // The value becomes one that was modified in place even if nothing changes.
            if grown {
                entry.overwrite(last_byte, &[0]);
            } else {
                entry.make_raw();
            }
            entry
        }
        None => {
            let zeros = vec![0; last_byte + 1];
            let value = if zeros.len() > BLOB_MIN { NewStr::Blob(Arc::new(zeros)) } else { NewStr::Raw(&zeros) };
            cx.store.db(db).set(key, value, ExpireChange::Clear);
            cx.store.db(db).get_mut(key).ok_or(Error::WRONG_TYPE)?
        }
    };
    let mut changes = 0;
    cx.reply.array(operations.len());
    for operation in operations {
        let (offset, width) = (operation.offset, operation.field.bits);
        let value = entry.str().ok_or(Error::WRONG_TYPE)?;
        let text = Text::of(&value);
        let raw = bits::field(&text, offset, width);
        let (answer, stored) = operation.outcome(raw);
        match answer {
            Some(number) => cx.reply.int(number),
            None => cx.reply.null(),
        }
        let Some(stored) = stored else { continue };
        let bytes = bits::field_bytes(&text, offset, width, stored);
        // A string that grew counts as changed by everything that was written.
        let different = operation.field.value(stored) != operation.field.value(raw);
        changes += u64::from(grown || different);
        if different {
            entry.overwrite(bytes.at, bytes.bytes());
        }
    }
    if is_new {
        cx.effects.event(EventClass::NEW, "new", key.name, db);
    }
    if changes > 0 {
        cx.effects.changed(changes);
        cx.effects.event(EventClass::STRING, "setbit", key.name, db);
    } else if grown {
        // That is none of the changes that are counted, but it can be seen.
        let argv = cx.argv;
        cx.effects.feed_words(argv.len(), argv.iter());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Field, Overflow};

    #[test]
    fn numbers_fit_wrap_saturate_or_fail_at_every_width() {
        for bits in 1..=64 {
            for signed in [false, true] {
                let field = Field { signed, bits };
                if !signed && bits == 64 {
                    continue;
                }
                for number in [field.min(), field.max()] {
                    for overflow in [Overflow::Wrap, Overflow::Saturate, Overflow::Fail] {
                        let stored = field.fit(number, overflow).expect("a number in range");
                        assert_eq!(i128::from(field.value(stored)), number);
                    }
                }
                let (below, above) = (field.min() - 1, field.max() + 1);
                let after = |number, overflow| field.fit(number, overflow).map(|raw| i128::from(field.value(raw)));
                assert_eq!(after(above, Overflow::Wrap), Some(field.min()));
                assert_eq!(after(below, Overflow::Wrap), Some(field.max()));
                assert_eq!(after(above, Overflow::Saturate), Some(field.max()));
                assert_eq!(after(below, Overflow::Saturate), Some(field.min()));
                assert_eq!(after(above, Overflow::Fail).or(after(below, Overflow::Fail)), None);
            }
        }
    }

    #[test]
    fn types_of_fields_are_a_letter_and_a_width() {
        assert_eq!(Field::read(b"i64").ok(), Some(Field { signed: true, bits: 64 }));
        assert_eq!(Field::read(b"u1").ok(), Some(Field { signed: false, bits: 1 }));
        for wrong in ["", "i", "u0", "i0", "i65", "u64", "u-1", "I8", "x8", "u 8", "u08", "i+8", "8"] {
            assert!(Field::read(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
