//! Values and snapshots of RDB: what is read is refused or made, and what is made can be written and read again.
//!
//! The input: whose form it is; then the bytes of a payload without its foot, or with bit 1 of the first byte a snapshot
//! file without its magic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_rdb::build::{Builder, Limits};
use weir_rdb::encode::Forms;
use weir_rdb::value::Dialect;
use weir_rdb::{Record, Snapshot, payload};
use weir_structs::hash::HashLimits;
use weir_structs::keyspace::{KeyHasher, Keyspace};
use weir_structs::list::Limits as ListLimits;
use weir_structs::set::SetLimits;
use weir_structs::stream::NodeLimits;
use weir_structs::zset::ZsetLimits;

const KEY: &[u8] = b"key";
const NOW_MS: i64 = 1_700_000_000_000;

fn builder() -> Builder {
    let limits = Limits {
        list: ListLimits::new(4, 0),
        set: SetLimits { ints_max: 4, packed_max: 4, packed_len_max: 8 },
        hash: HashLimits { fields: 4, value_bytes: 8 },
        zset: ZsetLimits { entries: 4, value_bytes: 8 },
        stream: NodeLimits { bytes: 64, entries: 4 },
    };
    Builder::new(KeyHasher::new(1), limits, NOW_MS)
}

fuzz_target!(|input: &[u8]| {
    let Some((&choice, bytes)) = input.split_first() else { return };
    let dialect = if choice & 1 == 0 { Dialect::Redis } else { Dialect::Valkey };
    let mut builder = builder();
    if choice & 2 != 0 {
        let magic: &[u8] = if dialect == Dialect::Redis { b"REDIS0012" } else { b"VALKEY080" };
        let Ok(mut snapshot) = Snapshot::open(std::io::Read::chain(magic, bytes), true) else { return };
        while let Ok(record) = snapshot.next_record() {
            match record {
                Record::Key { kind, .. } => {
                    let read = snapshot.value(kind, &mut builder);
                    if read.is_err() || builder.take().is_err() {
                        return;
                    }
                }
                Record::End => return,
                _ => {}
            }
        }
        return;
    }
    let made = payload::read(dialect, bytes, &mut builder).and_then(|()| builder.take());
    let Ok(Some(value)) = made else { return };
    let mut keyspace = Keyspace::new(KeyHasher::new(1));
    let position = keyspace.position(KEY);
    keyspace.insert_taken(position, KEY, value, 0);
    let entry = keyspace.get(position, KEY).expect("it was put there");
    let written = payload::dump(entry, Forms { compress: choice & 4 != 0, dialect });
    let (dialect, value) = payload::open(&written, payload::Trust::Strict).expect("a whole payload");
    let mut again = self::builder();
    payload::read(dialect, value, &mut again).expect("what was written is read");
    assert!(again.take().expect("it fits together").is_some());
});
