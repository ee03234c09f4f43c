//! The global allocator: mimalloc, with a count of what is in use.
//!
//! `used_memory` and `maxmemory` must mean what was asked for, not what the process happens to hold, so every allocation
//! is counted where it is made. One atomic addition without ordering is a few nanoseconds, and the way of a request
//! allocates next to nothing.

use crate::threads;
use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::ffi::{CStr, c_char, c_void};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

/// Counts, and lets mimalloc do the work.
pub struct Counting(mimalloc::MiMalloc);

static IN_USE: AtomicUsize = AtomicUsize::new(0);

impl Counting {
    /// For `#[global_allocator]`.
    pub const fn new() -> Counting {
        Counting(mimalloc::MiMalloc)
    }
}

impl Default for Counting {
    fn default() -> Counting {
        Counting::new()
    }
}

/// Bytes that were asked for and not given back, of this process.
pub fn bytes_in_use() -> usize {
    IN_USE.load(Ordering::Relaxed)
}

/// Counts an allocation, if it was made.
#[inline]
fn counted(ptr: *mut u8, bytes: usize) -> *mut u8 {
    if !ptr.is_null() {
        IN_USE.fetch_add(bytes, Ordering::Relaxed);
    }
    ptr
}

/// Asks mimalloc to give unused memory back to the system.
pub fn give_back() {
    // SAFETY: may be called at any time, from any thread.
    unsafe { libmimalloc_sys::mi_collect(true) };
}

/// Blocks that a thread which frees for others may free before their owner has taken them back.
const PORTION_BLOCKS: u32 = 16 * 1024;
/// How long it waits for that; somebody may sleep, or have ended.
const PORTION_WAIT: Duration = Duration::from_millis(100);

thread_local! {
    /// Blocks that this thread may still free before it has to wait; 0 where it never has to.
    static PORTION_LEFT: Cell<u32> = const { Cell::new(0) };
}

/// The thread that frees in portions.
static FREER: OnceLock<Thread> = OnceLock::new();
/// It waits.
static TIDY_AWAITED: AtomicBool = AtomicBool::new(false);

/// From now on this thread frees in portions, and waits between them for the next [`tidy`]. A block that was allocated by another
/// thread goes back to that one, which has work with each: 150,000 at once would hold it up for milliseconds.
pub fn free_in_portions() {
    // A second one would be one too many to be woken; it frees as it likes.
    if FREER.set(thread::current()).is_ok() {
        PORTION_LEFT.set(PORTION_BLOCKS);
    }
}

/// Whether a thread waits for the next [`tidy`].
pub fn tidy_is_awaited() -> bool {
    TIDY_AWAITED.load(Ordering::Relaxed)
}

#[cold]
fn portion_is_freed() {
    PORTION_LEFT.set(PORTION_BLOCKS);
    TIDY_AWAITED.store(true, Ordering::Relaxed);
    // Waking up for nothing once in a while does no harm.
    thread::park_timeout(PORTION_WAIT);
    TIDY_AWAITED.store(false, Ordering::Relaxed);
}

static PURGER: OnceLock<Thread> = OnceLock::new();
/// Bytes in use when [`tidy`] was last called.
static LAST_IN_USE: AtomicUsize = AtomicUsize::new(0);

/// Starts the thread that gives memory back to the system: for a hundred megabytes that takes longer than anybody who waits
/// for a reply should notice. Once a process; without it, MEMORY PURGE and mimalloc itself do so.
pub fn start_purger() -> std::io::Result<()> {
    let purger = threads::spawn("weir-purge", || {
        loop {
            thread::park();
            give_back();
        }
    })?;
    // Another one that was started before does as well.
    let _ = PURGER.set(purger.thread().clone());
    Ok(())
}

/// Lets mimalloc do what it has put off. What other threads have freed becomes free here, on the thread that had allocated
/// it; what is not used any more goes back to the system, on a thread of its own. mimalloc does either by itself only when
/// it allocates, so a server that has nothing more to do would hold on to memory, and one that has would be held up: memory
/// that has been unused for a second is given back by whoever comes along. So this is to be called more often than that.
pub fn tidy() {
    // SAFETY: may be called at any time, from any thread.
    unsafe { libmimalloc_sys::mi_collect(false) };
    if TIDY_AWAITED.swap(false, Ordering::Relaxed)
        && let Some(freer) = FREER.get()
    {
        freer.unpark();
    }
    // Where nothing was allocated or freed there is nothing new to give back.
    let in_use = bytes_in_use();
    if LAST_IN_USE.swap(in_use, Ordering::Relaxed) != in_use
        && let Some(purger) = PURGER.get()
    {
        purger.unpark();
    }
}

/// What mimalloc says of itself, as text.
pub fn report() -> String {
    extern "C" fn append(line: *const c_char, report: *mut c_void) {
        // SAFETY: mimalloc hands over a string that ends in a zero byte.
        let line = unsafe { CStr::from_ptr(line) };
        // SAFETY: it is the string given below, which outlives the call.
        let report = unsafe { &mut *report.cast::<String>() };
        report.push_str(&line.to_string_lossy());
    }
    let mut report = String::new();
    // SAFETY: the function and its argument fit each other, and both are there until the call returns.
    unsafe { libmimalloc_sys::mi_stats_print_out(Some(append), (&raw mut report).cast()) };
    report
}

/// Every block of mimalloc that is long enough begins at a multiple of this, whatever was asked for.
const NATURAL_ALIGN: usize = 16;

/// Whether a block of this size has the alignment by itself. Then it must not be asked for: for a size that is no power of two
/// mimalloc takes a longer block in which the alignment can be found, and half of all sizes then fall into the next class, an
/// eighth to a quarter longer.
#[inline]
fn is_aligned_by_itself(size: usize, align: usize) -> bool {
    align <= NATURAL_ALIGN && align <= size
}

// SAFETY: every call is passed on, so the guarantees are mimalloc's: of alignment, where it is not passed on, that of a block that
// is at least that long.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let block = match is_aligned_by_itself(layout.size(), layout.align()) {
            // SAFETY: any size may be asked for.
            true => unsafe { libmimalloc_sys::mi_malloc(layout.size()) }.cast(),
            // SAFETY: the caller's promises are passed on.
            false => unsafe { self.0.alloc(layout) },
        };
        counted(block, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let block = match is_aligned_by_itself(layout.size(), layout.align()) {
            // SAFETY: any size may be asked for.
            true => unsafe { libmimalloc_sys::mi_zalloc(layout.size()) }.cast(),
            // SAFETY: the caller's promises are passed on.
            false => unsafe { self.0.alloc_zeroed(layout) },
        };
        counted(block, layout.size())
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { self.0.dealloc(ptr, layout) };
        let left = PORTION_LEFT.get();
        if left > 0 {
            PORTION_LEFT.set(left - 1);
            if left == 1 {
                portion_is_freed();
            }
        }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let block = match is_aligned_by_itself(new_size, layout.align()) {
            // SAFETY: the caller's promise: the block is mimalloc's, by whichever way it came.
            true => unsafe { libmimalloc_sys::mi_realloc(ptr.cast(), new_size) }.cast(),
            // SAFETY: the caller's promises are passed on.
            false => unsafe { self.0.realloc(ptr, layout, new_size) },
        };
        let moved = counted(block, new_size);
        if !moved.is_null() {
            IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_aligned_whether_that_was_asked_for_or_not() {
        let allocator = Counting::new();
        for align in [1, 2, 4, 8, 16, 32, 64, 4096] {
            let mut blocks = Vec::new();
            for size in (1..400).chain([1_000, 3_071, 3_072, 10_000, 70_001, 200_000, 5_000_000]) {
                let layout = Layout::from_size_align(size, align).expect("a size and a power of two");
                // SAFETY: the size is not 0.
                let block = unsafe { allocator.alloc(layout) };
                assert!(!block.is_null() && block.addr() % align == 0, "{size} at {align}");
                let new_size = size * 5 % 1_500 + 1;
                // SAFETY: it was allocated with this layout.
                let block = unsafe { allocator.realloc(block, layout, new_size) };
                assert!(!block.is_null() && block.addr() % align == 0, "{new_size} at {align}");
                blocks.push((block, Layout::from_size_align(new_size, align).expect("as above")));
                // SAFETY: the size is not 0.
                let zeroed = unsafe { allocator.alloc_zeroed(layout) };
                assert!(!zeroed.is_null() && zeroed.addr() % align == 0);
                blocks.push((zeroed, layout));
            }
            for (block, layout) in blocks {
                // SAFETY: it was allocated with this layout, and is not used any more.
                unsafe { allocator.dealloc(block, layout) };
            }
        }
    }
}
