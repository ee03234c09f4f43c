//! The background thread: frees what would hold up the executor.

use crate::store::Discarded;
use crate::threads;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};

/// Hands things to the background thread. The thread ends when this is dropped and its queue is empty.
#[derive(Debug)]
pub struct Background {
    queue: Option<Sender<Work>>,
    counts: Arc<Counts>,
}

/// What is to be freed.
enum Work {
    /// Of the store.
    Discarded(Discarded),
    /// Anything else.
    Other(#[expect(dead_code, reason = "it is there to be dropped")] Box<dyn Send>),
}

#[derive(Debug, Default)]
struct Counts {
    pending: AtomicUsize,
    pending_bytes: AtomicUsize,
    freed: AtomicUsize,
}

impl Background {
    /// Starts the thread, which calls `begin` first. If the system has none to give, things are freed where they are.
    pub fn start(begin: fn()) -> Background {
        let (queue, work) = mpsc::channel::<Work>();
        let counts = Arc::new(Counts::default());
        let shared = Arc::clone(&counts);
        let thread = threads::spawn("weir-free", move || {
            begin();
            for work in work {
                shared.free(work);
            }
        });
        if let Err(error) = &thread {
            tracing::warn!("no background thread, memory is freed by the executor: {error}");
        }
        Background { queue: thread.is_ok().then_some(queue), counts }
    }

    /// Frees something elsewhere.
    pub fn free(&self, discarded: Discarded) {
        self.counts.pending.fetch_add(discarded.objects, Ordering::Relaxed);
        self.counts.pending_bytes.fetch_add(discarded.bytes, Ordering::Relaxed);
        self.send(Work::Discarded(discarded));
    }

    /// Drops something elsewhere; not counted.
    pub fn drop_elsewhere(&self, something: Box<dyn Send>) {
        self.send(Work::Other(something));
    }

    fn send(&self, work: Work) {
        let refused = match &self.queue {
            Some(queue) => queue.send(work).err().map(|e| e.0),
            None => Some(work),
        };
        if let Some(work) = refused {
            self.counts.free(work);
        }
    }

    /// Values that wait to be freed.
    pub fn pending(&self) -> usize {
        self.counts.pending.load(Ordering::Relaxed)
    }

    /// Bytes that the allocator will get back from them.
    pub fn pending_bytes(&self) -> usize {
        self.counts.pending_bytes.load(Ordering::Relaxed)
    }

    /// Values freed so far.
    pub fn freed(&self) -> usize {
        self.counts.freed.load(Ordering::Relaxed)
    }

    /// Starts counting anew.
    pub fn reset_freed(&self) {
        self.counts.freed.store(0, Ordering::Relaxed);
    }
}

impl Counts {
    fn free(&self, work: Work) {
        let (objects, bytes) = match &work {
            Work::Discarded(discarded) => (discarded.objects, discarded.bytes),
            Work::Other(_) => (0, 0),
        };
        drop(work);
        self.pending_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.pending.fetch_sub(objects, Ordering::Relaxed);
        self.freed.fetch_add(objects, Ordering::Relaxed);
    }
}
