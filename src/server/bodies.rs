//! Driving the move of bodies of long queues to disk: what the broker chooses goes to the thread that writes, what that says
//! goes back to the broker.

use super::Server;
use crate::broker::LongQueue;
use crate::persist::{BodyMover, Moved};
use hashbrown::HashMap;
use std::path::Path;
use std::sync::Arc;

/// Moves that are under way at once.
const MOVES_MAX: usize = 4;
/// After an error nothing is moved for so many ms.
const PAUSE_MS: i64 = 10_000;
/// After so many microseconds of a turn what is left waits for the next one.
const TURN_US: u64 = 1_000;

/// Moves that are under way.
#[derive(Debug, Default)]
pub(super) struct Bodies {
    /// There from the first queue on that is long.
    mover: Option<BodyMover>,
    moves: HashMap<u64, LongQueue>,
    last_token: u64,
    /// What [`BodyMover::brought`] was when somebody was last told.
    brought: u64,
    /// After an error nothing is moved before this, in Unix ms.
    paused_until_ms: i64,
    errors: u64,
}

/// What INFO tells.
pub(super) struct BodyFigures {
    /// Files with bodies, and their bytes.
    pub(super) files: u64,
    pub(super) file_bytes: u64,
    /// Moves that failed.
    pub(super) errors: u64,
    /// Bodies that could not be read.
    pub(super) lost: u64,
}

impl Server {
    /// Whether there are more bodies to be moved, or one has come near that somebody waits for.
    #[inline]
    pub(super) fn bodies_are_busy(&self) -> bool {
        let Some(mover) = &self.bodies.mover else { return false };
        let wants_more = self.broker.has_long_queues()
            && self.bodies.moves.len() < MOVES_MAX
            && self.store.now_ms() >= self.bodies.paused_until_ms;
        wants_more || (self.broker.has_far_queues() && mover.brought() != self.bodies.brought)
    }

    /// At the end of a turn: what has been moved is known to be where it is, what is too much goes.
    pub(super) fn tend_bodies(&mut self) {
        let has_work = self.broker.has_long_queues() || self.broker.has_far_queues() || !self.bodies.moves.is_empty();
        if !has_work || !self.layers_may_work() {
            return;
        }
        if self.bodies.mover.is_none() {
            let wake = Arc::clone(&self.append_only.wake);
            self.bodies.mover = Some(BodyMover::start(wake));
        }
        while let Some(moved) = self.bodies.mover.as_ref().and_then(BodyMover::take_moved) {
            self.note_moved(moved);
        }
        let brought = self.bodies.mover.as_ref().map_or(0, BodyMover::brought);
        if std::mem::replace(&mut self.bodies.brought, brought) != brought {
            self.broker.bodies_are_near(&mut self.store, &mut self.effects);
        }
        if self.store.now_ms() < self.bodies.paused_until_ms {
            return;
        }
        // Something in each turn, however long it has been: what comes in must be able to go.
        while self.broker.has_long_queues() && self.bodies.moves.len() < MOVES_MAX {
            if let Some(queue) = self.broker.next_to_move(&mut self.store, &mut self.effects) {
                self.submit_move(queue);
            }
            if self.turn_us() >= TURN_US {
                break;
            }
        }
    }

    fn submit_move(&mut self, queue: LongQueue) {
        let Bodies { mover, moves, last_token, .. } = &mut self.bodies;
        let parcels = queue.messages.iter().map(|(_, parcel)| parcel.clone()).collect();
        *last_token += 1;
        let token = *last_token;
        if mover.as_ref().is_some_and(|mover| mover.submit(token, queue.uid, Path::new(&self.config.dir), parcels)) {
            moves.insert(token, queue);
        } else {
            self.not_moved(queue);
        }
    }

    fn note_moved(&mut self, moved: Moved) {
        let Some(queue) = self.bodies.moves.remove(&moved.token) else { return };
        match moved.places {
            Ok(places) => self.broker.moved(&mut self.store, &mut self.effects, queue, Some(places)),
            Err(error) => {
                if self.store.now_ms() >= self.bodies.paused_until_ms {
                    let folder = &self.config.dir;
                    tracing::warn!("messages stay in memory, they cannot be moved to a file in {folder}: {error}");
                }
                self.not_moved(queue);
            }
        }
    }

    fn not_moved(&mut self, queue: LongQueue) {
        self.bodies.errors += 1;
        self.bodies.paused_until_ms = self.store.now_ms() + PAUSE_MS;
        self.broker.moved(&mut self.store, &mut self.effects, queue, None);
    }

    /// Now and then: files and parcels are let go that nobody needs.
    pub(super) fn tidy_bodies(&mut self) {
        if let Some(mover) = &self.bodies.mover {
            self.broker.forget_shared_bodies();
            mover.tidy();
        }
    }

    /// What has become of bodies that are elsewhere.
    pub(super) fn body_figures(&self) -> BodyFigures {
        let (files, file_bytes) = self.bodies.mover.as_ref().map_or((0, 0), BodyMover::files);
        BodyFigures { files, file_bytes, errors: self.bodies.errors, lost: self.lost_bodies() }
    }

    /// Bodies that could not be read so far: what is written while this grows lacks something.
    pub(super) fn lost_bodies(&self) -> u64 {
        self.bodies.mover.as_ref().map_or(0, BodyMover::lost)
    }
}
