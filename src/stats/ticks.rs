//! A clock for timing every command: two readings a command, so a reading may cost a few nanoseconds and no system
//! call.
//!
//! On x86-64 it is the processor's time-stamp counter, if the processor promises that it runs at one rate in every
//! power state; elsewhere it is `CLOCK_MONOTONIC` in nanoseconds. How many nanoseconds a tick lasts is measured against
//! `CLOCK_MONOTONIC`: roughly while the server starts, and better with every [`Ticks::recalibrate`] after.
//!
//! ```text
//!   counter   a0 ─────────────────────── a1          ns per tick = (b1 - b0) / (a1 - a0)
//!   monotonic b0 ─────────────────────── b1          error: time of one reading / distance
//! ```
//!
//! Invariants: readings are raw; differences are taken first and converted then, so a better ratio never makes a
//! duration negative. A counter that stands still or runs at an absurd rate is not used.

use std::fmt;
use std::time::{Duration, Instant};

/// How long [`Ticks::start`] watches the counter. Good for about one part in ten thousand.
const FIRST_CALIBRATION: Duration = Duration::from_millis(1);
/// Rates outside of this are taken for a broken counter.
const PLAUSIBLE_TICKS_PER_US: std::ops::RangeInclusive<f64> = 50.0..=20_000.0;

/// The clock, with its ratio.
#[derive(Debug, Clone)]
pub struct Ticks {
    source: Source,
    /// Nanoseconds per tick, times 2^32.
    ratio: u64,
    first: Pair,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    #[cfg(target_arch = "x86_64")]
    TimeStampCounter,
    ClockGettime,
}

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy)]
struct Pair {
    ticks: u64,
    at: Instant,
}

impl Ticks {
    /// Chooses the source and measures its rate. Takes a millisecond with a processor counter, no time without.
    pub fn start() -> Ticks {
        let first = Pair { ticks: 0, at: Instant::now() };
        let fallback = Ticks { source: Source::ClockGettime, ratio: 1 << 32, first };
        #[cfg(target_arch = "x86_64")]
        if invariant_time_stamp_counter() {
            let first = Pair::read();
            while first.at.elapsed() < FIRST_CALIBRATION {
                std::hint::spin_loop();
            }
            if let Some(ratio) = ratio(first, Pair::read()) {
                return Ticks { source: Source::TimeStampCounter, ratio, first };
            }
        }
        fallback
    }

    /// A reading. Only differences of readings of one clock mean anything; see [`Ticks::elapsed_ns`].
    #[inline(always)]
    pub fn now(&self) -> u64 {
        match self.source {
            #[cfg(target_arch = "x86_64")]
            Source::TimeStampCounter => time_stamp_counter(),
            Source::ClockGettime => self.first.at.elapsed().as_nanos() as u64,
        }
    }

    /// A number of ticks in nanoseconds.
    #[inline(always)]
    pub fn to_ns(&self, ticks: u64) -> u64 {
        ((u128::from(ticks) * u128::from(self.ratio)) >> 32) as u64
    }

    /// Nanoseconds between two readings; 0 if they are the wrong way round, as readings on two cores may be by a hair.
    #[inline(always)]
    pub fn elapsed_ns(&self, from: u64, to: u64) -> u64 {
        self.to_ns(to.saturating_sub(from))
    }

    /// Measures the rate again, over all the time since the start. Worth calling every 100 ms in the first seconds;
    /// after ten seconds the ratio is good for a part in ten million. Costs two clock readings.
    pub fn recalibrate(&mut self) {
        #[cfg(target_arch = "x86_64")]
        if self.source == Source::TimeStampCounter
            && let Some(ratio) = ratio(self.first, Pair::read())
        {
            self.ratio = ratio;
        }
    }
}

impl fmt::Display for Ticks {
    /// As the `monotonic_clock` line of `INFO server` names it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source {
            #[cfg(target_arch = "x86_64")]
            Source::TimeStampCounter => {
                let ticks_per_us = 1_000.0 * (1u64 << 32) as f64 / self.ratio as f64;
                write!(f, "X86 TSC @ {ticks_per_us:.0} ticks/us")
            }
            Source::ClockGettime => f.write_str("POSIX clock_gettime"),
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl Pair {
    /// Of a few readings the one least disturbed: with the fewest ticks around the system's clock.
    fn read() -> Pair {
        let mut best: Option<(u64, Pair)> = None;
        for _ in 0..8 {
            let before = time_stamp_counter();
            let at = Instant::now();
            let width = time_stamp_counter().saturating_sub(before);
            if best.is_none_or(|(narrowest, _)| width < narrowest) {
                best = Some((width, Pair { ticks: before + width / 2, at }));
            }
        }
        best.map_or_else(|| Pair { ticks: time_stamp_counter(), at: Instant::now() }, |(_, pair)| pair)
    }
}

/// Nanoseconds per tick times 2^32; `None` if the counter cannot be right.
#[cfg(target_arch = "x86_64")]
fn ratio(from: Pair, to: Pair) -> Option<u64> {
    let ns = to.at.checked_duration_since(from.at)?.as_nanos() as f64;
    let ticks = to.ticks.checked_sub(from.ticks)? as f64;
    PLAUSIBLE_TICKS_PER_US.contains(&(ticks * 1_000.0 / ns)).then(|| (ns / ticks * (1u64 << 32) as f64) as u64)
}

/// Whether the processor says that the counter runs at one rate, whatever its cores do (leaf 0x8000_0007, EDX bit 8).
#[cfg(target_arch = "x86_64")]
fn invariant_time_stamp_counter() -> bool {
    use std::arch::x86_64::__cpuid;
    const HIGHEST_LEAF: u32 = 0x8000_0000;
    const POWER_MANAGEMENT: u32 = 0x8000_0007;
    __cpuid(HIGHEST_LEAF).eax >= POWER_MANAGEMENT && __cpuid(POWER_MANAGEMENT).edx & (1 << 8) != 0
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn time_stamp_counter() -> u64 {
    // SAFETY: every x86-64 processor has the instruction, and it touches no memory.
    unsafe { std::arch::x86_64::_rdtsc() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_agree_with_the_system_clock() {
        let mut ticks = Ticks::start();
        for _ in 0..2 {
            let reading = || (Instant::now(), ticks.now(), Instant::now());
            let begin = reading();
            while begin.2.elapsed() < Duration::from_millis(5) {
                std::hint::spin_loop();
            }
            let end = reading();
            let measured = ticks.elapsed_ns(begin.1, end.1) as f64;
            // The machine may stop this thread between any two readings.
            let (least, most) = ((end.0 - begin.2).as_nanos() as f64, (end.2 - begin.0).as_nanos() as f64);
            assert!((least * 0.9..most * 1.1).contains(&measured), "{measured} is not between {least} and {most}");
            ticks.recalibrate();
        }
    }

    #[test]
    fn readings_the_wrong_way_round_are_no_time() {
        assert_eq!(Ticks::start().elapsed_ns(10, 3), 0);
    }

    #[test]
    fn long_durations_do_not_overflow() {
        let ticks =
            Ticks { source: Source::ClockGettime, ratio: 1 << 32, first: Pair { ticks: 0, at: Instant::now() } };
        assert_eq!(ticks.to_ns(u64::MAX), u64::MAX);
        assert_eq!(ticks.to_string(), "POSIX clock_gettime");
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_counter_is_named_with_its_rate() {
        let ticks = Ticks {
            source: Source::TimeStampCounter,
            ratio: (1_000 << 32) / 2_400,
            first: Pair { ticks: 0, at: Instant::now() },
        };
        assert_eq!(ticks.to_string(), "X86 TSC @ 2400 ticks/us");
    }
}
