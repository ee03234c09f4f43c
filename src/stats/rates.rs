//! Rates "right now" for `INFO`: operations and bytes a second, turns of the event loop.
//!
//! `cron` hands in growing counters ten times a second. Each time the growth since the last time is turned into a rate,
//! and the mean of the last 16 is what `INFO` prints: smooth, and about a second and a half old.
//!
//! Invariant: whole numbers throughout, rounded down, so that the figures equal those of Redis for the same counters.

const SAMPLES: usize = 16;

/// The mean of the last rates of one counter.
#[derive(Debug, Clone, Default)]
struct Rate {
    samples: [u64; SAMPLES],
    next: usize,
    last: Option<(u64, u64)>,
}

impl Rate {
    /// `scale` times the growth of `value` for one of `base`.
    fn track(&mut self, value: u64, base: u64, scale: u64) {
        if let Some((last_value, last_base)) = self.last {
            let grown = u128::from(value.saturating_sub(last_value)) * u128::from(scale);
            let sample = grown.checked_div(u128::from(base.saturating_sub(last_base))).unwrap_or(0);
            self.samples[self.next] = u64::try_from(sample).unwrap_or(u64::MAX);
            self.next = (self.next + 1) % SAMPLES;
        }
        self.last = Some((value, base));
    }

    fn mean(&self) -> u64 {
        let sum: u128 = self.samples.iter().map(|&sample| u128::from(sample)).sum();
        (sum / SAMPLES as u128) as u64
    }
}

/// Counters that only grow, as `cron` finds them.
#[derive(Debug, Clone, Copy, Default)]
pub struct RateInputs {
    /// Commands executed.
    pub commands: u64,
    /// Bytes from clients.
    pub input_bytes: u64,
    /// Bytes to clients.
    pub output_bytes: u64,
    /// Bytes from the primary.
    pub repl_input_bytes: u64,
    /// Bytes to replicas.
    pub repl_output_bytes: u64,
    /// Turns of the event loop.
    pub loop_cycles: u64,
    /// Time spent in them, microseconds.
    pub loop_duration_us: u64,
}

/// All rates that `INFO stats` prints.
#[derive(Debug, Clone, Default)]
pub struct Rates {
    commands: Rate,
    input: Rate,
    output: Rate,
    repl_input: Rate,
    repl_output: Rate,
    loop_cycles: Rate,
    loop_duration: Rate,
}

impl Rates {
    /// Takes the counters at a moment of a clock that does not jump, in microseconds. To be called every 100 ms.
    pub fn track(&mut self, now_us: u64, inputs: &RateInputs) {
        const PER_SECOND: u64 = 1_000_000;
        self.commands.track(inputs.commands, now_us, PER_SECOND);
        self.input.track(inputs.input_bytes, now_us, PER_SECOND);
        self.output.track(inputs.output_bytes, now_us, PER_SECOND);
        self.repl_input.track(inputs.repl_input_bytes, now_us, PER_SECOND);
        self.repl_output.track(inputs.repl_output_bytes, now_us, PER_SECOND);
        self.loop_cycles.track(inputs.loop_cycles, now_us, PER_SECOND);
        self.loop_duration.track(inputs.loop_duration_us, inputs.loop_cycles, 1);
    }

    /// Forgets everything, as `CONFIG RESETSTAT` does.
    pub fn reset(&mut self) {
        *self = Rates::default();
    }

    /// `instantaneous_ops_per_sec`.
    pub fn ops_per_s(&self) -> u64 {
        self.commands.mean()
    }

    /// `instantaneous_input_kbps`: KiB a second; print with two decimals.
    pub fn input_kib_per_s(&self) -> f64 {
        kib(&self.input)
    }

    /// `instantaneous_output_kbps`.
    pub fn output_kib_per_s(&self) -> f64 {
        kib(&self.output)
    }

    /// `instantaneous_input_repl_kbps`.
    pub fn repl_input_kib_per_s(&self) -> f64 {
        kib(&self.repl_input)
    }

    /// `instantaneous_output_repl_kbps`.
    pub fn repl_output_kib_per_s(&self) -> f64 {
        kib(&self.repl_output)
    }

    /// `instantaneous_eventloop_cycles_per_sec`.
    pub fn loop_cycles_per_s(&self) -> u64 {
        self.loop_cycles.mean()
    }

    /// `instantaneous_eventloop_duration_usec`: mean length of a turn.
    pub fn loop_duration_us(&self) -> u64 {
        self.loop_duration.mean()
    }
}

fn kib(rate: &Rate) -> f64 {
    rate.mean() as f64 / 1_024.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_counter_shows_its_rate_after_sixteen_samples() {
        let mut rates = Rates::default();
        for tenth in 0..=16 {
            rates.track(
                tenth * 100_000,
                &RateInputs {
                    commands: tenth * 50,
                    input_bytes: tenth * 1_024,
                    loop_cycles: tenth * 10,
                    loop_duration_us: tenth * 700,
                    ..RateInputs::default()
                },
            );
            if tenth == 8 {
                assert_eq!(rates.ops_per_s(), 250);
            }
        }
        assert_eq!(rates.ops_per_s(), 500);
        assert_eq!(rates.input_kib_per_s(), 10.0);
        assert_eq!(rates.output_kib_per_s(), 0.0);
        assert_eq!(rates.loop_cycles_per_s(), 100);
        assert_eq!(rates.loop_duration_us(), 70);
        rates.reset();
        assert_eq!(rates.ops_per_s(), 0);
    }

    #[test]
    fn a_clock_that_stands_and_a_counter_that_was_reset_count_nothing() {
        let mut rate = Rate::default();
        for (value, base) in [(10, 5), (20, 5), (0, 6), (u64::MAX, 6)] {
            rate.track(value, base, 1_000_000);
        }
        assert_eq!(rate.mean(), 0);
    }
}
