//! Commands on the bits of strings.

use super::Cx;
use super::effects::EventClass;
use super::error::Error;
use super::spec::{Acl, Arg, ArgKind, Flags, Group, KeyFlags, KeySpec, Spec};
use super::string::text::{Text, with_string};
use super::table::{DataFn, Row};
use crate::store::{BLOB_MIN, ExpireChange, NewStr, StrView};
use std::sync::Arc;
use weir_resp::BATCH_BYTES_MAX;

/// Commands on single bits.
pub const COMMANDS: &[Row<DataFn>] = &[
    Row::new(
        Spec::new(
            "getbit",
            3,
            Flags::READONLY.union(Flags::FAST),
            Acl::READ.union(Acl::BITMAP).union(Acl::FAST),
            Group::Bitmap,
            "2.2.0",
        )
        .keys(&[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))])
        .doc("O(1)", "Returns the bit at an offset of a string.")
        .args(&[Arg::key("key", 0), Arg::new("offset", ArgKind::Integer)]),
        getbit_command,
    ),
    Row::new(
        Spec::new(
            "setbit",
            4,
            Flags::WRITE.union(Flags::DENYOOM),
            Acl::WRITE.union(Acl::BITMAP).union(Acl::SLOW),
            Group::Bitmap,
            "2.2.0",
        )
        .keys(&[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE))])
        .doc("O(1)", "Sets or clears the bit at an offset of a string, which grows as needed, and returns what it was.")
        .args(&[Arg::key("key", 0), Arg::new("offset", ArgKind::Integer), Arg::new("value", ArgKind::Integer)]),
        setbit_command,
    ),
];

/// An offset in bits as the byte that holds it and the mask of the bit, counted from the high end.
fn bit_at(cx: &Cx<'_>, at: usize) -> Result<(usize, u8), Error> {
    let offset = cx.int(at).ok().and_then(|offset| u64::try_from(offset).ok());
    let bytes_max = cx.config.proto_max_bulk_len.min(BATCH_BYTES_MAX as u64);
    let offset = offset.filter(|offset| offset >> 3 < bytes_max).ok_or(Error::BIT_OFFSET)?;
    let byte = usize::try_from(offset >> 3).map_err(|_| Error::BIT_OFFSET)?;
    Ok((byte, 0x80 >> (offset & 7)))
}

fn getbit_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (byte, mask) = bit_at(cx, 2)?;
    let key = cx.key(1);
    let bit = with_string(cx, key, |_, value| {
        value.is_some_and(|value| Text::of(&value).get(byte).is_some_and(|b| b & mask != 0))
    })?;
    cx.reply.int(i64::from(bit));
    Ok(())
}

fn setbit_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (byte, mask) = bit_at(cx, 2)?;
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
        // Also where nothing changes, an integer becomes a string of bytes, as in Redis.
        if different || matches!(value, StrView::Int(_)) {
            entry.overwrite(byte, &[if on { bits | mask } else { bits & !mask }]);
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
