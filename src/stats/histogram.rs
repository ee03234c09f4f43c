//! How long a command takes, as a distribution: `INFO latencystats` and `LATENCY HISTOGRAM`.
//!
//! Log-linear like HDR histograms with two significant digits from 1 ns to 1 s: up to 255 ns every nanosecond counts
//! for itself, and each doubling above is cut into 128 equal parts.
//!
//! ```text
//!   row 0, 1     0 .. 255 ns           1 ns wide
//!   row 2        256 .. 511 ns         2 ns wide        128 counters a row; a row is allocated
//!   row 3        512 .. 1,023 ns       4 ns wide        when something falls into it
//!   ..                                 ..
//!   row 23       0.54 .. 1.07 s        4.2 ms wide
//! ```
//!
//! A command's durations live in a few rows of 1 KB each, where an HDR histogram takes 24 KB for every command.
//!
//! Invariant: percentiles and buckets are those that Redis prints for the same durations, to the last digit.

/// Longest duration that is told apart; longer ones count as this.
pub const DURATION_MAX_NS: u64 = 1_000_000_000;

const ROWS: usize = 24;
const ROW_LEN: usize = 128;
/// Largest duration that the last row can hold: where the last bucket of `LATENCY HISTOGRAM` ends.
const LAST_NS: u64 = (1 << 30) - 1;

/// The durations of one command.
#[derive(Debug, Clone, Default)]
pub struct LatencyHistogram {
    rows: [Option<Box<[u64; ROW_LEN]>>; ROWS],
    total: u64,
}

impl LatencyHistogram {
    /// Counts a duration, held within 1 ns and [`DURATION_MAX_NS`]. A few nanoseconds; allocates 1 KB the first time
    /// that a doubling is met.
    #[inline]
    pub fn record(&mut self, duration_ns: u64) {
        let (row, part) = place(duration_ns.clamp(1, DURATION_MAX_NS));
        let row = self.rows[row].get_or_insert_with(|| Box::new([0; ROW_LEN]));
        row[part] += 1;
        self.total += 1;
    }

    /// How many were counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The duration in nanoseconds that `percentile` percent (0 to 100) do not exceed; 0 if nothing was counted.
    pub fn percentile(&self, percentile: f64) -> u64 {
        let share = percentile.clamp(0.0, 100.0) / 100.0;
        let wanted = ((share * self.total as f64 + 0.5) as u64).max(1);
        let mut seen = 0;
        for (lowest, highest, count) in self.filled() {
            seen += count;
            if seen >= wanted {
                return if percentile == 0.0 { lowest } else { highest };
            }
        }
        0
    }

    /// The `histogram_usec` of `LATENCY HISTOGRAM`: upper ends in whole microseconds, each about twice the last, and
    /// how many durations lie below; an end is left out if nothing is new below it.
    pub fn cumulative_buckets(&self) -> Vec<(u64, u64)> {
        const FIRST_POWER: u32 = 10;
        const LAST_POWER: u32 = 29;
        let ends = (FIRST_POWER..=LAST_POWER).map(|power| highest_alike(1 << power)).chain([LAST_NS]);
        let mut buckets = Vec::new();
        let (mut below, mut printed) = (0, 0);
        let mut filled = self.filled().peekable();
        for end in ends {
            while let Some((_, _, count)) = filled.next_if(|&(_, highest, _)| highest <= end) {
                below += count;
            }
            if below > printed {
                buckets.push((end / 1_000, below));
                printed = below;
            }
        }
        buckets
    }

    /// Lowest and highest duration and count of every part that is not empty, in ascending order.
    fn filled(&self) -> impl Iterator<Item = (u64, u64, u64)> {
        self.rows.iter().enumerate().filter_map(|(row, parts)| Some((row, parts.as_deref()?))).flat_map(
            |(row, parts)| {
                parts.iter().enumerate().filter(|&(_, &count)| count > 0).map(move |(part, &count)| {
                    let lowest = lowest(row, part);
                    (lowest, highest_alike(lowest), count)
                })
            },
        )
    }
}

/// `p50=1.003,p99=2.007` with microseconds to three decimals, as a line of `INFO latencystats` ends.
pub fn format_percentiles(histogram: &LatencyHistogram, percentiles: &[f64]) -> String {
    use std::fmt::Write;
    let mut line = String::new();
    for &percentile in percentiles {
        let label = format!("{percentile:.6}");
        let label = label.trim_end_matches('0').trim_end_matches('.');
        let separator = if line.is_empty() { "" } else { "," };
        let us = histogram.percentile(percentile) as f64 / 1_000.0;
        let written = write!(line, "{separator}p{label}={us:.3}");
        debug_assert!(written.is_ok(), "a String takes everything");
    }
    line
}

/// Row and part of a duration from 1 to [`DURATION_MAX_NS`].
#[inline]
fn place(duration_ns: u64) -> (usize, usize) {
    let shift = shift_of(duration_ns);
    let scaled = (duration_ns >> shift) as usize;
    (shift as usize + scaled / ROW_LEN, scaled % ROW_LEN)
}

/// How many low bits are not told apart: those beyond the 8 leading ones.
#[inline]
fn shift_of(duration_ns: u64) -> u32 {
    (64 - (duration_ns | 255).leading_zeros()) - 8
}

fn lowest(row: usize, part: usize) -> u64 {
    match row {
        0 => part as u64,
        _ => ((ROW_LEN + part) as u64) << (row - 1),
    }
}

/// The largest duration in the same part.
fn highest_alike(duration_ns: u64) -> u64 {
    duration_ns | ((1 << shift_of(duration_ns)) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(durations: impl IntoIterator<Item = u64>) -> LatencyHistogram {
        let mut histogram = LatencyHistogram::default();
        durations.into_iter().for_each(|ns| histogram.record(ns));
        histogram
    }

    #[test]
    fn every_duration_lies_in_its_part() {
        let mut last = (0, 0);
        for ns in (1..100_000).chain((1..1_000).map(|step| step * 1_000_003)).chain([DURATION_MAX_NS]) {
            let (row, part) = place(ns);
            assert!(row < ROWS && part < ROW_LEN, "{ns}");
            assert!(lowest(row, part) <= ns && ns <= highest_alike(ns), "{ns}");
            assert_eq!(place(highest_alike(ns)), (row, part), "{ns}");
            assert_eq!(place(lowest(row, part)), (row, part), "{ns}");
            if ns < 100_000 {
                assert!((row, part) >= last);
                last = (row, part);
            }
        }
    }

    #[test]
    fn percentiles_are_those_of_redis() {
        // A Redis that counts whole microseconds prints these for 1, 2, 14, 100, 60 and 3 us.
        for (us, expected) in
            [(1, "1.003"), (2, "2.007"), (14, "14.015"), (100, "100.351"), (60, "60.159"), (3, "3.007")]
        {
            let line = format_percentiles(&of([us * 1_000]), &[50.0, 99.0, 99.9]);
            assert_eq!(line, format!("p50={expected},p99={expected},p99.9={expected}"));
        }
        assert_eq!(format_percentiles(&of([0]), &[50.0]), "p50=0.001");
        assert_eq!(format_percentiles(&of([1_200_000_000]), &[100.0]), "p100=1002438.655");
        assert_eq!(format_percentiles(&LatencyHistogram::default(), &[50.0]), "p50=0.000");
        assert_eq!(format_percentiles(&of([1]), &[]), "");
    }

    #[test]
    fn percentiles_count_from_the_shortest() {
        let histogram = of((1..=100).map(|us| us * 1_000));
        assert_eq!(histogram.percentile(50.0), highest_alike(50_000));
        assert_eq!(histogram.percentile(0.0), 1_000);
        assert_eq!(histogram.percentile(100.0), highest_alike(100_000));
        assert_eq!(histogram.percentile(1_000.0), highest_alike(100_000));
        assert_eq!(histogram.total(), 100);
    }

    #[test]
    fn buckets_end_where_redis_ends_them() {
        // DEBUG SLEEP 0.01, 0.02, .. 0.05 and 1.2 on a Redis 8.0.6.
        let slept = of([10_100_000, 20_100_000, 30_200_000, 40_100_000, 50_100_000, 1_200_000_000]);
        assert_eq!(slept.cumulative_buckets(), [(16_908, 1), (33_816, 3), (67_633, 5), (1_073_741, 6)]);
        let quick = of([1_000, 2_000, 3_000, 8_000, 9_000, 20_000, 500_000]);
        assert_eq!(quick.cumulative_buckets(), [(1, 1), (2, 2), (4, 3), (8, 4), (16, 5), (33, 6), (528, 7)]);
        assert_eq!(of([]).cumulative_buckets(), []);
        assert_eq!(of([1]).cumulative_buckets(), [(1, 1)]);
    }
}
