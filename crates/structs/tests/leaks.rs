//! What a keyspace takes, it gives back: blocks, values, segments and pages. Alone in its binary, because the counts are
//! the process's.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, Ordering};

use weir_structs::arena::{SEGMENT_ARENA, SLAB_ARENA};
use weir_structs::entry::BLOB_MIN;
use weir_structs::keyspace::{ExpireChange, KeyHasher, Keyspace, NewStr};

struct Counting;

static LIVE_BYTES: AtomicIsize = AtomicIsize::new(0);

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE_BYTES.fetch_add(layout.size().cast_signed(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size().cast_signed(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static GLOBAL: Counting = Counting;

/// Keys and values of all forms, some of them overwritten and removed again.
fn filled() -> Keyspace {
    let mut keys = Keyspace::new(KeyHasher::new(1));
    let blob = Arc::new(vec![1; 3 * BLOB_MIN]);
    for number in 0..60_000_u32 {
        let key = format!("{number:>width$}", width = (number % 300) as usize);
        let position = keys.position(key.as_bytes());
        let bytes = vec![7; (number % 1_000) as usize];
        let value = match number % 50 {
            0 => NewStr::Blob(Arc::clone(&blob)),
            1 => NewStr::Bytes(&[0; BLOB_MIN + 1]),
            2..10 => NewStr::Int(i64::from(number)),
            _ => NewStr::Bytes(&bytes),
        };
        let expire = if number % 3 == 0 { ExpireChange::At(1) } else { ExpireChange::Keep };
        keys.upsert(position, key.as_bytes(), value, expire, |_| 0);
        if number % 7 == 0 {
            keys.upsert(position, key.as_bytes(), NewStr::Int(1), ExpireChange::Clear, |_| 0);
        }
        if number % 5 == 0
            && let Some(entry) = keys.get_mut(position, key.as_bytes())
        {
            entry.remove();
        }
    }
    keys
}

#[test]
fn a_dropped_keyspace_leaves_nothing_behind() {
    // Once before counting: buffers that are kept, the arenas' lists.
    drop(filled());
    let pages = || SLAB_ARENA.stats().pages_used + SEGMENT_ARENA.stats().pages_used;
    let chunks = || SLAB_ARENA.stats().chunks + SEGMENT_ARENA.stats().chunks;
    assert_eq!(pages(), 0);
    let (bytes_before, chunks_before) = (LIVE_BYTES.load(Ordering::Relaxed), chunks());
    for _ in 0..2 {
        let keys = filled();
        assert!(pages() > 0);
        drop(keys);
        assert_eq!(pages(), 0);
        assert_eq!(LIVE_BYTES.load(Ordering::Relaxed), bytes_before);
        assert_eq!(chunks(), chunks_before, "given-back pages are used before new ones");
    }
}
