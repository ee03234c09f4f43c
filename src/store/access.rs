//! When, or how often, an entry was used, in the 16 bits that an entry has for it.
//!
//! **LRU**: two bits of scale and 14 bits of time in units of 16^scale seconds: 1 s, 16 s, 4.3 min, 68 min. An access
//! writes scale 0, which tells ages up to 2^14 s = 4.5 h apart; a slow sweep ([`AccessClock::aged`]) rewrites a clock whose
//! age is past half of its scale's window in the next scale, so that ages up to two years stay right to about a
//! thousandth, where 24 bits of seconds would cost every entry a byte more.
//!
//! **LFU**: eight bits of minutes (of the last decrement) and a logarithmic counter of eight bits, as in Redis.
//!
//! What must stay true: the sweep visits every entry at least once in [`SWEEP_PERIOD_S`].

use rand::Rng;

/// Within this time, in seconds, the sweep has seen every entry: below half of the narrowest window (LFU's 256 minutes).
pub const SWEEP_PERIOD_S: u64 = 3600;

/// Counter of a new entry, so that it is not evicted at once.
const LFU_INIT: u8 = 5;

const LRU_BITS: u32 = 14;
const LRU_MASK: i64 = (1 << LRU_BITS) - 1;
/// The greatest age that is written, in units of the widest scale: far enough from the end not to pass it until the sweep
/// comes round.
const LRU_OLDEST: i64 = LRU_MASK / 4 * 3;

/// What is recorded at an access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccessPolicy {
    /// The time.
    Lru,
    /// The time, of changes only.
    Lrm,
    /// The frequency.
    Lfu {
        /// The higher, the more accesses it takes to count up.
        log_factor: u32,
        /// Minutes without an access that count one down; 0 never.
        decay_min: u32,
    },
}

/// Makes and reads the clocks of entries.
#[derive(Clone, Copy, Debug)]
pub struct AccessClock {
    policy: AccessPolicy,
    now_s: i64,
}

impl AccessClock {
    /// For a policy, at a time.
    pub fn new(policy: AccessPolicy, now_ms: i64) -> AccessClock {
        AccessClock { policy, now_s: now_ms / 1000 }
    }

    /// Moves on. Never back: when the system's clock is set back, what was used last must not become what was used longest
    /// ago.
    pub fn set_now(&mut self, now_ms: i64) {
        self.now_s = self.now_s.max(now_ms / 1000);
    }

    /// The policy.
    pub fn policy(&self) -> AccessPolicy {
        self.policy
    }

    /// Of a new entry.
    #[inline]
    pub fn fresh(&self) -> u16 {
        match self.policy {
            AccessPolicy::Lru | AccessPolicy::Lrm => (self.now_s & LRU_MASK) as u16,
            AccessPolicy::Lfu { .. } => self.lfu(LFU_INIT),
        }
    }

    /// After an access to an entry whose clock was `clock`.
    #[inline]
    pub fn accessed(&self, clock: u16, rng: &mut impl Rng) -> u16 {
        match self.policy {
            AccessPolicy::Lru => (self.now_s & LRU_MASK) as u16,
            AccessPolicy::Lrm => clock,
            AccessPolicy::Lfu { log_factor, .. } => {
                let counter = self.frequency(clock);
                let above = f64::from(counter.saturating_sub(LFU_INIT));
                let up = counter < u8::MAX && rng.random::<f64>() < 1.0 / (above * f64::from(log_factor) + 1.0);
                self.lfu(counter + u8::from(up))
            }
        }
    }

    /// After a change of an entry whose clock was `clock`, beside [`AccessClock::accessed`].
    #[inline]
    pub fn changed(&self, clock: u16) -> u16 {
        if self.policy == AccessPolicy::Lrm { self.fresh() } else { clock }
    }

    /// Whether changes move clocks and nothing else does.
    #[inline]
    pub fn counts_changes(&self) -> bool {
        self.policy == AccessPolicy::Lrm
    }

    /// A clock that says the same in a wider scale, where `clock` would soon be misread; `None` if it is fine.
    pub fn aged(&self, clock: u16, rng: &mut impl Rng) -> Option<u16> {
        match self.policy {
            AccessPolicy::Lru | AccessPolicy::Lrm => {
                let (scale, age_units) = self.lru_age(clock);
                if scale == 3 {
                    // Older than two years is as old as can be said.
                    return (age_units > LRU_OLDEST).then(|| self.with_idle_s(u64::MAX));
                }
                if age_units <= LRU_MASK / 2 {
                    return None;
                }
                let seconds = age_units << (4 * scale);
                Some(self.with_idle_s(seconds.unsigned_abs()))
            }
            AccessPolicy::Lfu { decay_min, .. } => {
                let elapsed = u32::from(self.minutes().wrapping_sub((clock >> 8) as u8));
                if elapsed <= 64 || decay_min == 0 {
                    return (elapsed > 64).then(|| self.lfu(clock as u8));
                }
                // What is left of a period that has begun counts by chance, so that decays slower than the sweep happen.
                let left = rng.random_range(0..decay_min) < elapsed % decay_min;
                Some(self.lfu(self.frequency(clock).saturating_sub(u8::from(left))))
            }
        }
    }

    /// Seconds since the last access; 0 under LFU.
    pub fn idle_s(&self, clock: u16) -> u64 {
        match self.policy {
            AccessPolicy::Lru | AccessPolicy::Lrm => {
                let (scale, age_units) = self.lru_age(clock);
                (age_units << (4 * scale)).unsigned_abs()
            }
            AccessPolicy::Lfu { .. } => 0,
        }
    }

    /// The second of the last access, to compare entries by; 0 under LFU.
    #[inline]
    pub fn last_used_s(&self, clock: u16) -> i64 {
        match self.policy {
            AccessPolicy::Lru | AccessPolicy::Lrm => {
                let (scale, age_units) = self.lru_age(clock);
                self.now_s - (age_units << (4 * scale))
            }
            AccessPolicy::Lfu { .. } => 0,
        }
    }

    /// Of an entry that was last used `idle_s` seconds ago (RESTORE IDLETIME, SCAN's sweep).
    pub fn with_idle_s(&self, idle_s: u64) -> u16 {
        let scale = (0..3u32).find(|s| idle_s >> (4 * s) <= (LRU_MASK as u64) / 2).unwrap_or(3);
        let idle = i64::try_from(idle_s).unwrap_or(i64::MAX).min(LRU_OLDEST << (4 * scale));
        let then = (self.now_s - idle) >> (4 * scale);
        (scale << LRU_BITS) as u16 | (then & LRU_MASK) as u16
    }

    /// Of an entry of which one of these is known; `None` if the policy keeps another.
    pub fn with(&self, idle_s: Option<u64>, frequency: Option<u8>) -> Option<u16> {
        match self.policy {
            AccessPolicy::Lru | AccessPolicy::Lrm => idle_s.map(|idle_s| self.with_idle_s(idle_s)),
            AccessPolicy::Lfu { .. } => frequency.map(|frequency| self.lfu(frequency)),
        }
    }

    /// The frequency counter now, after its decay; 0 under LRU.
    pub fn frequency(&self, clock: u16) -> u8 {
        match self.policy {
            AccessPolicy::Lru | AccessPolicy::Lrm => 0,
            AccessPolicy::Lfu { decay_min, .. } => {
                let counter = clock as u8;
                let elapsed = u32::from(self.minutes().wrapping_sub((clock >> 8) as u8));
                let down = elapsed.checked_div(decay_min).unwrap_or(0);
                counter.saturating_sub(down.min(255) as u8)
            }
        }
    }

    fn lru_age(&self, clock: u16) -> (u32, i64) {
        let scale = u32::from(clock >> LRU_BITS);
        let now_units = self.now_s >> (4 * scale);
        (scale, (now_units - i64::from(clock)) & LRU_MASK)
    }

    fn minutes(&self) -> u8 {
        (self.now_s / 60) as u8
    }

    fn lfu(&self, counter: u8) -> u16 {
        u16::from(self.minutes()) << 8 | u16::from(counter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn lru_at(now_s: i64) -> AccessClock {
        AccessClock::new(AccessPolicy::Lru, now_s * 1000)
    }

    #[test]
    fn idle_time_is_exact_for_hours() {
        let clock = lru_at(1_700_000_000).fresh();
        for age in [0, 1, 59, 3600, 8000, 16_000] {
            assert_eq!(lru_at(1_700_000_000 + age).idle_s(clock), age as u64);
        }
    }

    #[test]
    fn idle_time_stays_right_for_a_year_when_swept() {
        let start = 1_700_000_123;
        let mut rng = rand::rngs::SmallRng::seed_from_u64(1);
        let mut clock = lru_at(start).fresh();
        let mut now = start;
        while now < start + 366 * 86_400 {
            now += SWEEP_PERIOD_S as i64;
            clock = lru_at(now).aged(clock, &mut rng).unwrap_or(clock);
            let (told, real) = (lru_at(now).idle_s(clock) as f64, (now - start) as f64);
            assert!((told - real).abs() <= 1.0 + real * 0.002, "{told} for {real}");
        }
    }

    #[test]
    fn a_given_idle_time_is_told_again() {
        for idle in [0, 1, 1000, 8191, 8192, 100_000, 10_000_000] {
            let told = lru_at(1_700_000_000).idle_s(lru_at(1_700_000_000).with_idle_s(idle));
            assert!(told.abs_diff(idle) <= 1 + idle / 500, "{told} for {idle}");
        }
    }

    #[test]
    fn frequency_decays_when_the_period_is_longer_than_the_sweep_s() {
        let policy = AccessPolicy::Lfu { log_factor: 10, decay_min: 600 };
        let mut rng = rand::rngs::SmallRng::seed_from_u64(1);
        let at = |min: i64| AccessClock::new(policy, min * 60_000);
        let mut sum = 0;
        for _ in 0..200 {
            let mut clock = at(0).lfu(100);
            for min in (65..=60_000).step_by(65) {
                clock = at(min).aged(clock, &mut rng).unwrap_or(clock);
            }
            sum += u32::from(clock as u8);
        }
        // 100 periods of 600 minutes; each counts one down.
        assert!(sum / 200 < 8, "{}", sum / 200);
    }

    #[test]
    fn frequency_counts_up_by_use_and_down_by_time() {
        let policy = AccessPolicy::Lfu { log_factor: 10, decay_min: 1 };
        let mut rng = rand::rngs::SmallRng::seed_from_u64(1);
        let at = |min: i64| AccessClock::new(policy, min * 60_000);
        let mut clock = at(1000).fresh();
        assert_eq!(at(1000).frequency(clock), LFU_INIT);
        for _ in 0..1000 {
            clock = at(1000).accessed(clock, &mut rng);
        }
        let high = at(1000).frequency(clock);
        assert!(high > 10 && high < 40, "{high}");
        assert_eq!(at(1007).frequency(clock), high - 7);
        assert_eq!(at(1200).frequency(clock), 0);
    }
}
