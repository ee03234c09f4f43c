//! Where the big pieces of memory come from: 32 KiB pages, cut from 4 MiB chunks that are mapped straight from the kernel.
//!
//! ```text
//!  chunk (4 MiB, aligned to 4 MiB)
//!  +-----------+----------+----------+-- --+----------+
//!  | page 0    | page 1   | page 2   |     | page 127 |
//!  | notes     | 32 KiB   | 32 KiB   | ... |          |
//!  +-----------+----------+----------+-- --+----------+
//! ```
//!
//! A general allocator is the wrong tool twice over here. Table segments want address space that costs nothing until it
//! is touched, so that they can grow where they are; and the slab wants to find a block's page, and what is known about
//! that page, from the block's address alone. Both follow from the alignment: clearing the low 22 bits of any address
//! in a page leads to the chunk, whose page 0 is never handed out and belongs to whoever owns the other pages (the slab
//! keeps its page headers there, side by side, where they do not all fall into the same few cache sets).
//!
//! What must stay true:
//! - a page is owned by one holder between [`Arena::alloc_page`] and [`Arena::free_page`]; the arena never touches its bytes;
//! - a page's contents are unspecified when handed out: it may be fresh from the kernel or somebody's leftovers;
//! - chunks are never unmapped. A freed page beyond the few that are kept warm gives its memory back to the kernel
//!   and keeps only its addresses.
//!
//! The lock is taken once a page, never once a key.

use std::alloc::{Layout, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes of one page; pages are aligned to this.
pub const PAGE_BYTES: usize = 32 * 1024;
/// Bytes of one chunk; chunks are aligned to this.
pub const CHUNK_BYTES: usize = 4 * 1024 * 1024;
/// Pages in a chunk, counting page 0, which is never handed out.
pub const PAGES_PER_CHUNK: usize = CHUNK_BYTES / PAGE_BYTES;
/// The kernel's page: the grain in which memory becomes resident and is given back.
pub const OS_PAGE_BYTES: usize = 4096;
/// Freed pages that stay resident for the next taker; the others are given back to the kernel.
const DIRTY_PAGES_MAX: usize = 32;

/// Pages that hold slab blocks.
pub static SLAB_ARENA: Arena = Arena::new();
/// Pages that hold table segments. They are apart from the slab's, because a segment's untouched tail must stay
/// untouched, and huge pages (see [`Arena::set_huge_from_chunk`]) would fill it.
pub static SEGMENT_ARENA: Arena = Arena::new();

/// A process-wide source of pages. Thread-safe.
pub struct Arena {
    inner: Mutex<Inner>,
    huge_from_chunk: AtomicUsize,
}

struct Inner {
    /// The next page of the newest chunk that was never handed out, and how many there are.
    fresh: Option<NonNull<u8>>,
    fresh_count: usize,
    /// Freed pages whose memory is still resident, at most `DIRTY_PAGES_MAX`.
    dirty: Vec<NonNull<u8>>,
    /// Freed pages without memory behind them.
    clean: Vec<NonNull<u8>>,
    chunks: usize,
    pages_used: usize,
}

// SAFETY: the pointers are addresses of pages that nobody else holds; they are not tied to the thread that mapped them.
unsafe impl Send for Inner {}

/// What an arena has and what is in use, in numbers of pages and chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArenaStats {
    /// Chunks mapped so far.
    pub chunks: usize,
    /// Pages that somebody holds.
    pub pages_used: usize,
    /// Pages that were freed and wait for the next taker, and pages that were never used.
    pub pages_free: usize,
}

impl Arena {
    /// An arena without chunks; it maps the first one when the first page is asked for.
    pub const fn new() -> Arena {
        Arena {
            inner: Mutex::new(Inner {
                fresh: None,
                fresh_count: 0,
                dirty: Vec::new(),
                clean: Vec::new(),
                chunks: 0,
                pages_used: 0,
            }),
            huge_from_chunk: AtomicUsize::new(usize::MAX),
        }
    }

    /// Asks the kernel for huge pages in every chunk mapped from now on that has at least `chunk` chunks before it.
    /// `usize::MAX` (the default) never asks. Huge pages become resident 2 MiB at a time.
    pub fn set_huge_from_chunk(&self, chunk: usize) {
        self.huge_from_chunk.store(chunk, Ordering::Relaxed);
    }

    /// A page of [`PAGE_BYTES`], aligned to its size, contents unspecified. The caller owns it until it gives it back.
    /// When the kernel has no more memory the process ends by `handle_alloc_error`, as for any other allocation.
    /// Takes the arena's lock; maps a chunk when no page is left (some microseconds).
    pub fn alloc_page(&self) -> NonNull<u8> {
        let mut inner = self.lock();
        inner.pages_used += 1;
        if let Some(page) = inner.dirty.pop() {
            return page;
        }
        if let Some(page) = inner.clean.pop() {
            return page;
        }
        if inner.fresh_count == 0 {
            let huge = inner.chunks >= self.huge_from_chunk.load(Ordering::Relaxed);
            let chunk = map_chunk(huge);
            // SAFETY: a chunk is longer than one page, so page 1 lies inside of it.
            inner.fresh = Some(unsafe { chunk.add(PAGE_BYTES) });
            inner.fresh_count = PAGES_PER_CHUNK - 1;
            inner.chunks += 1;
        }
        let Some(page) = inner.fresh else { unreachable!("a chunk was just mapped") };
        inner.fresh_count -= 1;
        // SAFETY: `fresh_count` pages follow in this chunk; at zero the result is the chunk's end, which is never read.
        inner.fresh = Some(unsafe { page.add(PAGE_BYTES) });
        page
    }

    /// Gives a page back.
    ///
    /// # Safety
    /// The page came from this arena's `alloc_page`, the caller still owns it, and nobody uses it any more.
    pub unsafe fn free_page(&self, page: NonNull<u8>) {
        let mut inner = self.lock();
        inner.pages_used -= 1;
        if inner.dirty.len() < DIRTY_PAGES_MAX {
            inner.dirty.push(page);
            return;
        }
        drop(inner);
        // SAFETY: the page is ours until it is pushed on the free list below.
        unsafe { give_back(page, PAGE_BYTES) };
        self.lock().clean.push(page);
    }

    /// Gives many pages back. Neighbours are returned to the kernel in one call each run, and the lock is not held
    /// meanwhile, so a big keyspace can be dropped on a background thread without stopping the others. Sorts `pages`.
    ///
    /// # Safety
    /// As for [`Arena::free_page`], for each page; no page occurs twice.
    pub unsafe fn free_pages(&self, pages: &mut [NonNull<u8>]) {
        pages.sort_unstable();
        let mut rest: &[NonNull<u8>] = pages;
        while let Some(&first) = rest.first() {
            let run = rest
                .iter()
                .enumerate()
                .take_while(|&(i, page)| page.addr().get() == first.addr().get() + i * PAGE_BYTES)
                .count();
            // SAFETY: the run's pages are all the caller's, and adjacent.
            unsafe { give_back(first, run * PAGE_BYTES) };
            rest = rest.get(run..).unwrap_or(&[]);
        }
        let mut inner = self.lock();
        inner.pages_used -= pages.len();
        // Popped from the end: the lowest addresses are used again first.
        inner.clean.extend(pages.iter().rev());
    }

    /// Numbers of chunks and pages, for reports.
    pub fn stats(&self) -> ArenaStats {
        let inner = self.lock();
        ArenaStats {
            chunks: inner.chunks,
            pages_used: inner.pages_used,
            pages_free: inner.dirty.len() + inner.clean.len() + inner.fresh_count,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No code that holds the lock can panic half way through a change.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Arena {
    fn default() -> Arena {
        Arena::new()
    }
}

/// Gives the memory behind a page's bytes from `from_offset` on back to the kernel (rounded up to the kernel's page).
/// The addresses stay the caller's; those bytes' contents are unspecified afterwards.
///
/// # Safety
/// The caller owns the page and needs nothing of its tail; `from_offset <= PAGE_BYTES`.
pub unsafe fn release_tail(page: NonNull<u8>, from_offset: usize) {
    debug_assert!(from_offset <= PAGE_BYTES);
    let from = from_offset.next_multiple_of(OS_PAGE_BYTES);
    if from < PAGE_BYTES {
        // SAFETY: `from` is inside of the page.
        let tail = unsafe { page.add(from) };
        // SAFETY: the tail is the caller's, who gives it up.
        unsafe { give_back(tail, PAGE_BYTES - from) };
    }
}

/// Tells the kernel that a range's contents are not needed. A refusal (locked memory, a kernel with larger pages) only
/// means that the memory stays resident: nobody relies on what the range reads as afterwards.
///
/// # Safety
/// The range lies in chunks mapped here and its contents are not needed.
unsafe fn give_back(start: NonNull<u8>, bytes: usize) {
    #[cfg(not(miri))]
    // SAFETY: the range is mapped, private and anonymous; the caller gives its contents up.
    unsafe {
        libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_DONTNEED);
    }
    #[cfg(miri)]
    let _ = (start, bytes);
}

/// A zeroed chunk, aligned to its size.
#[cfg(not(miri))]
fn map_chunk(huge: bool) -> NonNull<u8> {
    let spare = CHUNK_BYTES;
    let reserved = CHUNK_BYTES + spare;
    // SAFETY: a new private anonymous mapping at an address of the kernel's choice affects no existing memory.
    let raw = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            reserved,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    let Some(start) = NonNull::new(raw.cast::<u8>()).filter(|_| raw != libc::MAP_FAILED) else {
        handle_alloc_error(chunk_layout())
    };
    let lead = start.addr().get().next_multiple_of(CHUNK_BYTES) - start.addr().get();
    // SAFETY: `lead < spare`, so the chunk lies inside of the reserved range.
    let chunk = unsafe { start.add(lead) };
    if lead > 0 {
        // SAFETY: the part before the chunk was just mapped and is used by nobody.
        unsafe { libc::munmap(start.as_ptr().cast(), lead) };
    }
    // SAFETY: `lead < spare`, so at least one kernel page follows the chunk inside of the reserved range.
    let tail = unsafe { chunk.add(CHUNK_BYTES) };
    // SAFETY: the part behind the chunk was just mapped and is used by nobody.
    unsafe { libc::munmap(tail.as_ptr().cast(), spare - lead) };
    #[cfg(target_os = "linux")]
    if huge {
        // SAFETY: advice about memory that was just mapped; a refusal changes nothing.
        unsafe { libc::madvise(chunk.as_ptr().cast(), CHUNK_BYTES, libc::MADV_HUGEPAGE) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = huge;
    chunk
}

#[cfg(miri)]
fn map_chunk(_huge: bool) -> NonNull<u8> {
    // SAFETY: the layout's size is not zero.
    let raw = unsafe { std::alloc::alloc_zeroed(chunk_layout()) };
    NonNull::new(raw).unwrap_or_else(|| handle_alloc_error(chunk_layout()))
}

fn chunk_layout() -> Layout {
    const { assert!(CHUNK_BYTES.is_power_of_two()) };
    Layout::from_size_align(CHUNK_BYTES, CHUNK_BYTES).expect("a power of two is a valid alignment")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_aligned_distinct_and_never_page_zero() {
        let arena = Arena::new();
        let mut pages: Vec<_> = (0..2 * PAGES_PER_CHUNK).map(|_| arena.alloc_page()).collect();
        for (i, page) in pages.iter().enumerate() {
            assert_eq!(page.addr().get() % PAGE_BYTES, 0);
            assert_ne!(page.addr().get() % CHUNK_BYTES, 0);
            // SAFETY: the page is ours and at least a byte long.
            unsafe { page.write(u8::try_from(i % 251).unwrap()) };
        }
        for (i, page) in pages.iter().enumerate() {
            // SAFETY: written above.
            assert_eq!(usize::from(unsafe { page.read() }), i % 251);
        }
        assert_eq!(arena.stats().chunks, 3);
        assert_eq!(arena.stats().pages_used, 2 * PAGES_PER_CHUNK);
        // SAFETY: all of them came from this arena and are not used below.
        unsafe { arena.free_pages(&mut pages) };
        assert_eq!(arena.stats().pages_used, 0);
        assert_eq!(arena.stats().pages_free, 3 * (PAGES_PER_CHUNK - 1));
    }

    #[test]
    fn freed_pages_are_handed_out_again_before_new_chunks_are_mapped() {
        let arena = Arena::new();
        for _ in 0..10 {
            let pages: Vec<_> = (0..100).map(|_| arena.alloc_page()).collect();
            for page in pages {
                // SAFETY: the page is ours; its tail is not needed.
                unsafe { release_tail(page, 5000) };
                // SAFETY: it came from this arena and is not used again.
                unsafe { arena.free_page(page) };
            }
        }
        assert_eq!(arena.stats().chunks, 1);
    }
}
