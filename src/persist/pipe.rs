//! A queue between the thread that reads a file and the one that owns the data, bounded by the bytes of what is in it.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What can be sent through a [`Pipe`].
pub(super) trait Weighs {
    /// Bytes that it holds.
    fn bytes(&self) -> usize;
}

/// The queue.
#[derive(Debug)]
pub(super) struct Pipe<T> {
    state: Mutex<State<T>>,
    /// Something was put in, or nothing more will be.
    filled: Condvar,
    /// Something was taken out, or nothing more will be.
    drained: Condvar,
    /// The producer waits while so many bytes are in it; a single item may be larger.
    bytes_max: usize,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    bytes: usize,
    /// The consumer has gone.
    closed: bool,
}

impl<T: Weighs> Pipe<T> {
    pub(super) fn new(bytes_max: usize) -> Pipe<T> {
        let state = State { items: VecDeque::new(), bytes: 0, closed: false };
        Pipe { state: Mutex::new(state), filled: Condvar::new(), drained: Condvar::new(), bytes_max }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts something in, when there is room. Says whether anybody still wants it.
    pub(super) fn send(&self, item: T) -> bool {
        let mut state = self.lock();
        while state.bytes >= self.bytes_max && !state.closed {
            state = self.drained.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            return false;
        }
        state.bytes += item.bytes();
        state.items.push_back(item);
        self.filled.notify_one();
        true
    }

    /// Takes what is next; waits for it for so long at most.
    pub(super) fn receive(&self, patience: Duration) -> Option<T> {
        let mut state = self.lock();
        if state.items.is_empty() {
            (state, _) = self.filled.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner);
        }
        let item = state.items.pop_front()?;
        state.bytes -= item.bytes();
        self.drained.notify_one();
        Some(item)
    }

    /// The consumer goes.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.items.clear();
        self.drained.notify_all();
    }
}
