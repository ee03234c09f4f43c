//! One state of a path: numbers and value in one block, shared by all who have it.
//!
//! ```text
//!  counter 4 │ length 4 │ create 8 │ modified 8 │ version 8 │ lease 8 │ flags 8 │ value
//! ```
//!
//! What must stay true: nothing but the counter changes while a block is shared; the block is freed by whoever gives the
//! last one back, with the length it was made with.

use std::alloc::{self, Layout};
use std::fmt;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering, fence};

use super::{LeaseId, Revision};

/// Bytes that a value can have in a block; what stores allow is less.
pub const VALUE_BYTES_MAX: usize = u32::MAX as usize;

/// Above so many there is no telling how many there are.
const SHARED_MAX: u32 = u32::MAX / 2;

#[repr(C)]
struct Head {
    shared: AtomicU32,
    len: u32,
    is: Numbers,
}

/// What is known of a state beside its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Numbers {
    pub(super) create: Revision,
    pub(super) modified: Revision,
    pub(super) version: u64,
    pub(super) lease: LeaseId,
    pub(super) flags: u64,
}

/// One state of a path. A clone is the same block.
pub struct Version(NonNull<Head>);

// SAFETY: nothing but the counter changes while it is shared, and that is atomic.
unsafe impl Send for Version {}
// SAFETY: as above.
unsafe impl Sync for Version {}

impl Version {
    /// One allocation.
    ///
    /// # Panics
    /// If the value is longer than [`VALUE_BYTES_MAX`].
    pub(super) fn new(value: &[u8], is: Numbers) -> Version {
        let len = u32::try_from(value.len()).expect("whoever writes has checked how long the value is");
        let layout = layout(len);
        // SAFETY: the layout is not empty.
        let Some(head) = NonNull::new(unsafe { alloc::alloc(layout) }.cast::<Head>()) else {
            alloc::handle_alloc_error(layout)
        };
        // SAFETY: the block is ours, large enough for head and value, and aligned for the head.
        unsafe {
            head.write(Head { shared: AtomicU32::new(1), len, is });
            head.add(1).cast::<u8>().copy_from_nonoverlapping(NonNull::from(value).cast(), value.len());
        }
        Version(head)
    }

    /// The same with another lease, in a block of its own.
    pub(super) fn with_lease(&self, lease: LeaseId) -> Version {
        Version::new(self.value(), Numbers { lease, ..self.numbers() })
    }

    /// The value.
    #[inline]
    pub fn value(&self) -> &[u8] {
        let len = self.head().len as usize;
        // SAFETY: behind the head lie so many bytes, written when the block was made.
        unsafe { std::slice::from_raw_parts(self.0.add(1).cast::<u8>().as_ptr(), len) }
    }

    /// The revision in which the path was created.
    #[inline]
    pub fn create(&self) -> Revision {
        self.head().is.create
    }

    /// The revision in which it became this.
    #[inline]
    pub fn modified(&self) -> Revision {
        self.head().is.modified
    }

    /// How many revisions have written it since it was created, that one included: 1 at first.
    #[inline]
    pub fn version(&self) -> u64 {
        self.head().is.version
    }

    /// The lease that it is attached to; 0: none.
    #[inline]
    pub fn lease(&self) -> LeaseId {
        self.head().is.lease
    }

    /// What the writer wanted to be kept beside the value.
    #[inline]
    pub fn flags(&self) -> u64 {
        self.head().is.flags
    }

    /// Whether both are the same block.
    #[inline]
    pub fn ptr_eq(&self, other: &Version) -> bool {
        self.0 == other.0
    }

    pub(super) fn numbers(&self) -> Numbers {
        self.head().is
    }

    /// Bytes of the block.
    #[inline]
    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Head>() + self.head().len as usize
    }

    #[inline]
    fn head(&self) -> &Head {
        // SAFETY: the block lives for as long as we have a share in it, and its head was written when it was made.
        unsafe { self.0.as_ref() }
    }
}

fn layout(len: u32) -> Layout {
    Layout::from_size_align(size_of::<Head>() + len as usize, align_of::<Head>()).expect("four gigabytes and a head")
}

impl Clone for Version {
    #[inline]
    fn clone(&self) -> Version {
        // Whoever has a share may hand out another one without any order: it was made before.
        if self.head().shared.fetch_add(1, Ordering::Relaxed) > SHARED_MAX {
            std::process::abort();
        }
        Version(self.0)
    }
}

impl Drop for Version {
    #[inline]
    fn drop(&mut self) {
        // What others did with the block comes before it is freed.
        if self.head().shared.fetch_sub(1, Ordering::Release) > 1 {
            return;
        }
        fence(Ordering::Acquire);
        let layout = layout(self.head().len);
        // SAFETY: nobody else has a share, and the block was allocated with this layout.
        unsafe { alloc::dealloc(self.0.cast().as_ptr(), layout) };
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Version) -> bool {
        self.ptr_eq(other) || (self.numbers() == other.numbers() && self.value() == other.value())
    }
}

impl Eq for Version {}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Version")
            .field("value", &String::from_utf8_lossy(self.value()))
            .field("is", &self.numbers())
            .finish()
    }
}
