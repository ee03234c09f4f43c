//! The limit on memory: before each command, and where that is not enough, between commands.
//!
//! A command that finds more memory in use than `maxmemory` first has entries evicted, for as long as
//! `maxmemory-eviction-tenacity` allows; what is left to do is done in slices at the end of turns. Commands that may need
//! memory are refused while nothing can be evicted, and let through while eviction is only late: as in Redis.
//!
//! What counts is what the allocator and the store have given out, less what is on its way back: a large value that was
//! evicted is freed on another thread, and must not be the reason for the next one to go.
//!
//! What must stay true: nothing is evicted inside of a command, be it a script that goes on for many turns, nor while writes
//! are paused; [`Armed::MEMORY`] is set exactly while commands that need memory are to be refused.

use super::Server;
use super::gates::Armed;
use crate::config::MaxmemoryPolicy;
use crate::store::{Eviction, EvictionOrder, EvictionScope};

/// Steps of eviction between looks at the clock.
const STEPS_A_LOOK: u32 = 16;

/// The state of the limit.
#[derive(Debug)]
pub(super) struct MemoryLimit {
    /// `maxmemory`; the greatest number if there is none.
    bytes: usize,
    /// There was more than that when it was last looked at.
    exceeded: bool,
    /// Eviction goes on between commands.
    evicting: bool,
    /// When the limit was exceeded, on the clock for durations.
    exceeded_since: Option<u64>,
}

impl Default for MemoryLimit {
    fn default() -> MemoryLimit {
        MemoryLimit { bytes: usize::MAX, exceeded: false, evicting: false, exceeded_since: None }
    }
}

/// What becomes of a limit that is exceeded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Relief {
    /// It is not exceeded any more.
    Done,
    /// There was no time to evict enough.
    Late,
    /// Nothing more can be evicted.
    Impossible,
}

impl MaxmemoryPolicy {
    /// Which entries give way, and in which order; `None` if none do.
    fn eviction(self) -> Option<(EvictionScope, EvictionOrder)> {
        use MaxmemoryPolicy as Policy;
        let order = match self {
            Policy::Noeviction => return None,
            Policy::VolatileLru | Policy::AllkeysLru | Policy::VolatileLrm | Policy::AllkeysLrm => {
                EvictionOrder::Oldest
            }
            Policy::VolatileLfu | Policy::AllkeysLfu => EvictionOrder::Rarest,
            Policy::VolatileRandom | Policy::AllkeysRandom => EvictionOrder::Random,
            Policy::VolatileTtl => EvictionOrder::Deadline,
        };
        Some((if self.is_volatile() { EvictionScope::Volatile } else { EvictionScope::All }, order))
    }
}

impl Server {
    /// Whether memory was short, and nothing could be done about it, when the command that runs began; of nested commands,
    /// the outermost one. Commands that need memory are refused then.
    pub fn out_of_memory(&self) -> bool {
        self.armed.contains(Armed::MEMORY) && !self.is_loading()
    }

    /// Takes over the limit from the configuration.
    pub(super) fn configure_memory_limit(&mut self) {
        let bytes = match self.config.maxmemory {
            0 => usize::MAX,
            bytes => usize::try_from(bytes).unwrap_or(usize::MAX),
        };
        self.memory.bytes = bytes;
        // Commands are not the place to learn of it: there may be none.
        self.memory.evicting = bytes < usize::MAX;
        if bytes == usize::MAX {
            self.relieve_memory();
        }
    }

    /// How long more memory than the limit has been in use, in microseconds; 0 while there is not.
    pub(super) fn memory_exceeded_us(&self) -> u64 {
        let since = self.memory.exceeded_since;
        since.map_or(0, |since| self.stats.ticks.elapsed_ns(since, self.stats.now()) / 1000)
    }

    /// Before a command: sees to it that there is memory, if that can be done. Returns whether that has taken time.
    #[inline]
    pub(super) fn mind_memory(&mut self) -> bool {
        if self.memory.bytes == usize::MAX || self.armed.contains(Armed::BUSY) {
            return false;
        }
        let near = self.used_memory() > self.memory.bytes;
        if near || self.memory.exceeded {
            self.relieve_memory();
        }
        near
    }

    /// Between commands: goes on with what is not done yet.
    pub(super) fn evict_slice(&mut self) {
        if self.eviction_goes_on() {
            self.relieve_memory();
        }
    }

    /// Whether eviction wants another slice at once.
    pub(super) fn eviction_goes_on(&self) -> bool {
        self.memory.evicting && self.pause.current().is_none() && !self.armed.contains(Armed::BUSY)
    }

    /// Evicts, if the limit is exceeded, and draws the conclusions.
    fn relieve_memory(&mut self) {
        let began = self.stats.now();
        let exceeded = self.memory_is_exceeded();
        let relief = if exceeded { self.evict(began) } else { Relief::Done };
        self.memory.evicting = relief == Relief::Late;
        self.memory.exceeded = relief != Relief::Done;
        self.armed.set(Armed::MEMORY, relief == Relief::Impossible);
        if relief != Relief::Done {
            self.memory.exceeded_since.get_or_insert(began);
        } else if let Some(since) = self.memory.exceeded_since.take() {
            let us = self.stats.ticks.elapsed_ns(since, self.stats.now()) / 1000;
            self.stats.counters.total_eviction_exceeded_us += us;
        }
        if exceeded {
            self.spike("eviction-cycle", began);
        }
    }

    /// What counts against the limit is more than it. Never during a pause: nothing may be done about it then.
    fn memory_is_exceeded(&self) -> bool {
        if self.memory.bytes == usize::MAX || self.pause.current().is_some() {
            return false;
        }
        let coming_back = self.background.pending_bytes() + self.store.garbage_bytes();
        self.used_memory().saturating_sub(coming_back) > self.memory.bytes
    }

    fn evict(&mut self, began: u64) -> Relief {
        let Some((scope, order)) = self.config.maxmemory_policy.eviction() else { return Relief::Impossible };
        let samples = usize::try_from(self.config.maxmemory_samples).unwrap_or(1);
        let limit_ns = time_limit_ns(self.config.maxmemory_eviction_tenacity);
        let watch_each = self.stats.latency.is_on();
        loop {
            for _ in 0..STEPS_A_LOOK {
                let step_began = if watch_each { self.stats.now() } else { 0 };
                match self.store.evict_step(scope, order, samples) {
                    Eviction::Impossible => return Relief::Impossible,
                    Eviction::Searching => {}
                    Eviction::Evicted => {
                        if watch_each {
                            self.spike("eviction-del", step_began);
                        }
                        if !self.memory_is_exceeded() {
                            return Relief::Done;
                        }
                    }
                }
            }
            if self.stats.ticks.elapsed_ns(began, self.stats.now()) > limit_ns {
                return Relief::Late;
            }
        }
    }

    /// Tells the latency monitor of something that has just ended, if it took long.
    pub(super) fn spike(&mut self, event: &'static str, began: u64) {
        if !self.stats.latency.is_on() {
            return;
        }
        let ms = self.stats.ticks.elapsed_ns(began, self.stats.now()) / 1_000_000;
        if self.stats.latency.wants(ms) {
            self.stats.latency.record(event, ms, self.store.now_ms() / 1000);
        }
    }
}

/// How long eviction may hold up a command, for `maxmemory-eviction-tenacity`: up to 10 in steps of 50 us, then 15 % longer
/// with each step, which comes to two minutes; with 100 as long as it takes.
fn time_limit_ns(tenacity: u32) -> u64 {
    const STEP_NS: u64 = 50_000;
    match tenacity {
        0..=10 => u64::from(tenacity) * STEP_NS,
        11..=99 => ((10 * STEP_NS) as f64 * 1.15f64.powf(f64::from(tenacity) - 10.0)) as u64,
        _ => u64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_tenacity_is_more_time() {
        assert_eq!((time_limit_ns(0), time_limit_ns(10), time_limit_ns(100)), (0, 500_000, u64::MAX));
        assert!((0..100).all(|tenacity| time_limit_ns(tenacity) < time_limit_ns(tenacity + 1)));
    }
}
