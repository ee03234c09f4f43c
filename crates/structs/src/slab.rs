//! Blocks of up to 512 bytes, packed without a header of their own: the memory of short entries.
//!
//! A general allocator rounds sizes up by as much as an eighth or more; entries are so small that this rounding would
//! be the second largest thing in memory after the data. Here a size class exists for every multiple of 4 bytes, and a
//! block costs its class's bytes and nothing else:
//!
//! ```text
//!  chunk  +-- page 0: one 32-byte PageHeader for each page, then one class byte for each page --+
//!         |  page 1:  | block | block | block | ...          all of one class, no gaps          |
//!         |  page 2:  | block   | block   | ...                                                 |
//! ```
//!
//! The class bytes are a copy of what the headers know, packed so densely (128 bytes for 4 MiB of blocks) that they stay
//! in the nearest cache: [`block_bytes`] is on the path of every read, because an entry does not store its value's length.
//! They are shifted by a different amount in each chunk, or all chunks' bytes would compete for one cache set.
//!
//! What must stay true:
//! - a page in the slab's arena belongs to one slab from `alloc_page` until it is given back, and only that slab's owner
//!   touches its header and its class byte;
//! - `used` counts the blocks that are out; a page with `used == 0` is either its class's current page or already gone;
//! - a page is in its class's partial list exactly if it is not the current one and has room;
//! - memory above `fresh` was never written by this owner of the page.
//!
//! A slab is not shared between threads, but may move to another one; dropping it returns its pages without looking at the blocks.

use std::ptr::{NonNull, null_mut};

use crate::arena::{CHUNK_BYTES, OS_PAGE_BYTES, PAGE_BYTES, PAGES_PER_CHUNK, SLAB_ARENA};

/// The longest block, in bytes. Longer ones are the global allocator's.
pub const BLOCK_BYTES_MAX: usize = 512;
/// Classes differ by this many bytes; also every block's alignment.
pub const CLASS_STEP_BYTES: usize = 4;
const CLASSES: usize = BLOCK_BYTES_MAX / CLASS_STEP_BYTES + 1;

/// What is known about a page. Lives in page 0 of the page's chunk, at the page's number.
#[repr(C)]
struct PageHeader {
    /// Neighbours in the class's partial list.
    next: *mut PageHeader,
    prev: *mut PageHeader,
    /// Where `Slab::pages` points to this page.
    index: u32,
    block_bytes: u16,
    capacity: u16,
    used: u16,
    /// The first freed block's number plus one, 0 for none; each freed block's first two bytes continue the list.
    free: u16,
    /// Blocks with this number and above were never handed out.
    fresh: u16,
    listed: bool,
}

const HEADER_BYTES: usize = 32;
const _: () = assert!(size_of::<PageHeader>() == HEADER_BYTES);
const CLASS_BYTES_AT: usize = PAGES_PER_CHUNK * HEADER_BYTES;
const _: () = assert!(CLASS_BYTES_AT.is_multiple_of(OS_PAGE_BYTES) && CLASS_BYTES_AT + OS_PAGE_BYTES <= PAGE_BYTES);

#[derive(Clone, Copy)]
struct Class {
    /// The page that blocks are taken from; null before the first one.
    current: *mut PageHeader,
    /// Other pages with room.
    partial: *mut PageHeader,
}

/// The blocks of one owner.
pub struct Slab {
    classes: Box<[Class; CLASSES]>,
    pages: Vec<NonNull<PageHeader>>,
    live_bytes: usize,
}

// SAFETY: a slab's pages, headers and class bytes are touched by its owner only, and nothing in them depends on the thread.
unsafe impl Send for Slab {}

impl Slab {
    /// A slab without pages.
    pub fn new() -> Slab {
        let empty = Class { current: null_mut(), partial: null_mut() };
        Slab { classes: Box::new([empty; CLASSES]), pages: Vec::new(), live_bytes: 0 }
    }

    /// A block of at least `bytes` bytes (rounded up to a multiple of 4), aligned to 4, contents unspecified.
    /// `1..=BLOCK_BYTES_MAX`; other sizes panic. Constant time; once in hundreds of blocks it fetches a page.
    #[inline]
    pub fn alloc(&mut self, bytes: usize) -> NonNull<u8> {
        assert!((1..=BLOCK_BYTES_MAX).contains(&bytes), "not a slab size: {bytes}");
        let class = class_of(bytes);
        self.live_bytes += class * CLASS_STEP_BYTES;
        let mut page = self.classes[class].current;
        // SAFETY: `current` is null or a page of this slab.
        if page.is_null() || unsafe { (*page).used == (*page).capacity } {
            page = self.next_page(class);
        }
        // SAFETY: `page` is a page of this slab, and nobody else has a reference to its header.
        let header = unsafe { &mut *page };
        header.used += 1;
        let block_bytes = usize::from(header.block_bytes);
        if header.free == 0 {
            let number = header.fresh;
            header.fresh += 1;
            // SAFETY: `used < capacity` and no freed block means `fresh < capacity`, so the block lies inside of the page.
            return unsafe { page_start(page).add(usize::from(number) * block_bytes) };
        }
        let number = header.free - 1;
        // SAFETY: a number in the free list is below `capacity`.
        let block = unsafe { page_start(page).add(usize::from(number) * block_bytes) };
        // SAFETY: the block is free, so its first two bytes are the list's link.
        header.free = unsafe { block.cast::<u16>().read_unaligned() };
        block
    }

    /// Takes a block back.
    ///
    /// # Safety
    /// The block came from this slab's `alloc` and is not used any more.
    #[inline]
    pub unsafe fn free(&mut self, block: NonNull<u8>) {
        let page = header_of(block);
        // SAFETY: the block is from this slab, so its page's header is ours and nobody else has a reference to it.
        let header = unsafe { &mut *page };
        let block_bytes = usize::from(header.block_bytes);
        let offset = block.addr().get() % PAGE_BYTES;
        debug_assert!(header.used > 0 && offset.is_multiple_of(block_bytes), "freed twice, or not a block");
        self.live_bytes -= block_bytes;
        #[cfg(debug_assertions)]
        // SAFETY: the block is `block_bytes` long and free; reading it after this is a bug that tests shall see.
        unsafe {
            block.write_bytes(0xDD, block_bytes);
        }
        // SAFETY: every block is at least 4 bytes long and this one is free.
        unsafe { block.cast::<u16>().write_unaligned(header.free) };
        #[expect(clippy::cast_possible_truncation, reason = "a page has at most 8192 blocks")]
        let number = (offset / block_bytes) as u16;
        header.free = number + 1;
        let was_full = header.used == header.capacity;
        header.used -= 1;
        let (now_empty, listed) = (header.used == 0, header.listed);
        let class = class_of(block_bytes);
        if page == self.classes[class].current {
            return;
        }
        if now_empty {
            if listed {
                self.unlist(class, page);
            }
            self.give_page_back(page);
        } else if was_full {
            self.list(class, page);
        }
    }

    /// Bytes of the blocks that are out.
    pub fn live_bytes(&self) -> usize {
        self.live_bytes
    }

    /// Pages that this slab holds, of [`PAGE_BYTES`] each. What exceeds [`Slab::live_bytes`] is fragmentation.
    pub fn pages(&self) -> usize {
        self.pages.len()
    }

    /// A page with room, made the class's current one.
    #[cold]
    fn next_page(&mut self, class: usize) -> *mut PageHeader {
        let partial = self.classes[class].partial;
        let page = if partial.is_null() {
            self.new_page(class)
        } else {
            self.unlist(class, partial);
            partial
        };
        self.classes[class].current = page;
        page
    }

    fn new_page(&mut self, class: usize) -> *mut PageHeader {
        let start = SLAB_ARENA.alloc_page();
        let page = header_of(start);
        let block_bytes = class * CLASS_STEP_BYTES;
        #[expect(clippy::cast_possible_truncation, reason = "at most 512, 8192 and 128, and 2^32 pages are 128 TiB")]
        let (header, class_byte) = (
            PageHeader {
                next: null_mut(),
                prev: null_mut(),
                index: self.pages.len() as u32,
                block_bytes: block_bytes as u16,
                capacity: (PAGE_BYTES / block_bytes) as u16,
                used: 0,
                free: 0,
                fresh: 0,
                listed: false,
            },
            class as u8,
        );
        // SAFETY: the page is ours since just now, and with it its header.
        unsafe { page.write(header) };
        // SAFETY: likewise its class byte.
        unsafe { class_byte_of(start).write(class_byte) };
        // SAFETY: a header lies inside of a chunk, which is not at address zero.
        self.pages.push(unsafe { NonNull::new_unchecked(page) });
        page
    }

    fn give_page_back(&mut self, page: *mut PageHeader) {
        // SAFETY: `page` is a page of this slab.
        let index = unsafe { (*page).index };
        let at = index as usize;
        self.pages.swap_remove(at);
        if let Some(moved) = self.pages.get(at) {
            // SAFETY: it is a page of this slab.
            unsafe { (*moved.as_ptr()).index = index };
        }
        // SAFETY: no block of the page is out, no list names it, and `pages` has just forgotten it.
        unsafe { SLAB_ARENA.free_page(page_start(page)) };
    }

    fn list(&mut self, class: usize, page: *mut PageHeader) {
        let head = self.classes[class].partial;
        // SAFETY: `page` is a page of this slab and nobody else has a reference to its header.
        let header = unsafe { &mut *page };
        header.listed = true;
        header.prev = null_mut();
        header.next = head;
        if !head.is_null() {
            // SAFETY: what is in the list is a page of this slab, and another one than `page`.
            unsafe { (*head).prev = page };
        }
        self.classes[class].partial = page;
    }

    fn unlist(&mut self, class: usize, page: *mut PageHeader) {
        // SAFETY: `page` is a page of this slab and nobody else has a reference to its header.
        let header = unsafe { &mut *page };
        let (prev, next) = (header.prev, header.next);
        header.listed = false;
        if prev.is_null() {
            self.classes[class].partial = next;
        } else {
            // SAFETY: what is in the list is a page of this slab.
            unsafe { (*prev).next = next };
        }
        if !next.is_null() {
            // SAFETY: likewise.
            unsafe { (*next).prev = prev };
        }
    }
}

impl Default for Slab {
    fn default() -> Slab {
        Slab::new()
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        let mut pages: Vec<NonNull<u8>> = self.pages.iter().map(|page| page_start(page.as_ptr())).collect();
        // SAFETY: all of them came from this arena and are in `self.pages` once each; whoever still holds a block has
        // broken the promise that blocks do not outlive their slab.
        unsafe { SLAB_ARENA.free_pages(&mut pages) };
    }
}

/// The size of the block that was allocated at this address: a multiple of 4.
///
/// # Safety
/// The block came from [`Slab::alloc`] and was not freed.
#[inline]
pub unsafe fn block_bytes(block: NonNull<u8>) -> usize {
    // SAFETY: the page was given to a slab, which wrote its class byte before any block of it was handed out.
    usize::from(unsafe { class_byte_of(block).read() }) * CLASS_STEP_BYTES
}

#[inline]
fn class_of(bytes: usize) -> usize {
    bytes.div_ceil(CLASS_STEP_BYTES)
}

#[inline]
fn chunk_start(address: NonNull<u8>) -> *mut u8 {
    address.as_ptr().map_addr(|a| a & !(CHUNK_BYTES - 1))
}

#[inline]
fn page_number(address: usize) -> usize {
    address % CHUNK_BYTES / PAGE_BYTES
}

/// The header of the page that holds this address.
#[inline]
fn header_of(address: NonNull<u8>) -> *mut PageHeader {
    let at = page_number(address.addr().get()) * HEADER_BYTES;
    chunk_start(address).wrapping_add(at).cast()
}

/// The class byte of the page that holds this address.
#[inline]
fn class_byte_of(address: NonNull<u8>) -> *mut u8 {
    const COLOURS: usize = OS_PAGE_BYTES / PAGES_PER_CHUNK;
    let chunk = chunk_start(address);
    let colour = chunk.addr() / CHUNK_BYTES % COLOURS * PAGES_PER_CHUNK;
    chunk.wrapping_add(CLASS_BYTES_AT + colour + page_number(address.addr().get()))
}

/// Where the page of a header starts.
#[inline]
fn page_start(page: *mut PageHeader) -> NonNull<u8> {
    let number = page.addr() % CHUNK_BYTES / HEADER_BYTES;
    let start = page.cast::<u8>().map_addr(|a| (a & !(CHUNK_BYTES - 1)) + number * PAGE_BYTES);
    // SAFETY: a page lies inside of a chunk, which is not at address zero.
    unsafe { NonNull::new_unchecked(start) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rng;

    #[test]
    fn blocks_of_every_size_keep_their_bytes_until_freed() {
        let mut slab = Slab::new();
        let mut rng = Rng::new(7);
        let mut model: Vec<(NonNull<u8>, usize, u8)> = Vec::new();
        let mut live = 0;
        for step in 0..60_000_u32 {
            let filling = (step / 10_000).is_multiple_of(2);
            if model.is_empty() || rng.below(10) < if filling { 8 } else { 2 } {
                let bytes = 1 + rng.below(BLOCK_BYTES_MAX);
                let block = slab.alloc(bytes);
                let mark = step as u8;
                // SAFETY: the block is `bytes` long and ours.
                unsafe { block.write_bytes(mark, bytes) };
                // SAFETY: it was just allocated.
                assert_eq!(unsafe { block_bytes(block) }, bytes.next_multiple_of(4));
                live += bytes.next_multiple_of(4);
                model.push((block, bytes, mark));
            } else {
                let (block, bytes, mark) = model.swap_remove(rng.below(model.len()));
                for i in 0..bytes {
                    // SAFETY: the block is `bytes` long and written.
                    assert_eq!(unsafe { block.add(i).read() }, mark);
                }
                live -= bytes.next_multiple_of(4);
                // SAFETY: it came from this slab and was forgotten above.
                unsafe { slab.free(block) };
            }
            assert_eq!(slab.live_bytes(), live);
        }
        for (block, _, _) in model {
            // SAFETY: it came from this slab and is freed once.
            unsafe { slab.free(block) };
        }
        assert_eq!(slab.live_bytes(), 0);
        assert!(slab.pages() < CLASSES, "only current pages may stay: {}", slab.pages());
    }

    #[test]
    fn a_page_is_filled_without_gaps_before_the_next_one_is_taken() {
        let mut slab = Slab::new();
        let blocks: Vec<_> = (0..PAGE_BYTES / 84).map(|_| slab.alloc(84)).collect();
        assert_eq!(slab.pages(), 1);
        assert!(blocks.windows(2).all(|w| w[1].addr().get() - w[0].addr().get() == 84));
        slab.alloc(82);
        assert_eq!(slab.pages(), 2);
    }

    #[test]
    fn a_dropped_slab_gives_all_its_pages_back() {
        let mut slab = Slab::new();
        for i in 0..50_000_usize {
            slab.alloc(1 + i % BLOCK_BYTES_MAX);
        }
        let pages = slab.pages();
        assert!(pages > 300);
        std::thread::spawn(move || drop(slab)).join().unwrap();
    }
}
