//! Latency spikes by cause, for the `LATENCY` command: what took longer than `latency-monitor-threshold`, and when.
//!
//! Every cause (an *event*: `command`, `aof-fsync-always`, `expire-cycle`, ..) has a ring of 160 samples, at most one a
//! second: within a second only the longest counts. That is enough to see a pattern, and no flood of spikes can make it
//! more.
//!
//! Invariants: events are named by the code, never by clients, so their number is bounded; nothing is recorded while
//! the threshold is 0; wall-clock seconds come in as a parameter.

use std::fmt::Write;

/// Samples kept of an event.
pub const SAMPLES_MAX: usize = 160;

/// A spike: the longest of its second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LatencySample {
    /// When, Unix seconds.
    pub unix_time_s: i64,
    /// How long.
    pub latency_ms: u32,
}

/// The spikes of one cause.
#[derive(Debug, Clone)]
pub struct LatencyEvent {
    name: &'static str,
    samples: Vec<LatencySample>,
    /// Where the next sample goes once the ring is full.
    next: usize,
    all_time_max_ms: u32,
    sum_ms: u64,
    count: u64,
}

impl LatencyEvent {
    fn new(name: &'static str) -> LatencyEvent {
        LatencyEvent { name, samples: Vec::new(), next: 0, all_time_max_ms: 0, sum_ms: 0, count: 0 }
    }

    fn record(&mut self, sample: LatencySample) {
        self.all_time_max_ms = self.all_time_max_ms.max(sample.latency_ms);
        self.sum_ms = self.sum_ms.saturating_add(u64::from(sample.latency_ms));
        self.count += 1;
        let newest = (self.next + self.samples.len()).checked_sub(1).map(|at| at % SAMPLES_MAX);
        if let Some(newest) = newest.and_then(|at| self.samples.get_mut(at))
            && newest.unix_time_s == sample.unix_time_s
        {
            newest.latency_ms = newest.latency_ms.max(sample.latency_ms);
        } else if self.samples.len() < SAMPLES_MAX {
            self.samples.push(sample);
        } else {
            self.samples[self.next] = sample;
            self.next = (self.next + 1) % SAMPLES_MAX;
        }
    }

    /// What the event is called.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Samples from the oldest to the newest; there is at least one.
    pub fn history(&self) -> impl ExactSizeIterator<Item = LatencySample> {
        let (newer, older) = self.samples.split_at(self.next);
        Samples { older: older.iter(), newer: newer.iter() }
    }

    /// The newest sample.
    pub fn latest(&self) -> Option<LatencySample> {
        self.history().last()
    }

    /// The longest spike since the event was reset, also if its sample is gone.
    pub fn all_time_max_ms(&self) -> u32 {
        self.all_time_max_ms
    }

    /// Sum of all spikes since the event was reset, those of one second counted apart.
    pub fn sum_ms(&self) -> u64 {
        self.sum_ms
    }

    /// Number of all spikes since the event was reset, those of one second counted apart.
    pub fn count(&self) -> u64 {
        self.count
    }

    fn figures(&self, now_s: i64) -> Figures {
        let len = (self.samples.len() as u64).max(1);
        let values = || self.samples.iter().map(|sample| u64::from(sample.latency_ms));
        let average_ms = values().sum::<u64>() / len;
        let oldest_s = self.history().next().map_or(now_s, |oldest| oldest.unix_time_s);
        Figures {
            spikes: self.samples.len(),
            average_ms,
            mean_deviation_ms: values().map(|value| value.abs_diff(average_ms)).sum::<u64>() / len,
            period_s: now_s.saturating_sub(oldest_s).max(0) as f64 / len as f64,
        }
    }
}

/// The two halves of a ring, oldest first.
struct Samples<'a> {
    older: std::slice::Iter<'a, LatencySample>,
    newer: std::slice::Iter<'a, LatencySample>,
}

impl Iterator for Samples<'_> {
    type Item = LatencySample;

    fn next(&mut self) -> Option<LatencySample> {
        self.older.next().or_else(|| self.newer.next()).copied()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = self.older.len() + self.newer.len();
        (len, Some(len))
    }
}

impl ExactSizeIterator for Samples<'_> {}

/// What `LATENCY DOCTOR` says of an event.
struct Figures {
    spikes: usize,
    average_ms: u64,
    mean_deviation_ms: u64,
    period_s: f64,
}

/// All events.
#[derive(Debug, Clone, Default)]
pub struct LatencyMonitor {
    threshold_ms: u64,
    /// In the order in which they first happened.
    events: Vec<LatencyEvent>,
}

impl LatencyMonitor {
    /// Spikes of so many milliseconds or more are recorded; 0 turns the monitor off.
    pub fn set_threshold_ms(&mut self, threshold_ms: u64) {
        self.threshold_ms = threshold_ms;
    }

    /// The threshold, as set.
    pub fn threshold_ms(&self) -> u64 {
        self.threshold_ms
    }

    /// Whether anything is recorded.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.threshold_ms > 0
    }

    /// Whether a duration is a spike: the one question that is asked for each command.
    #[inline]
    pub fn wants(&self, latency_ms: u64) -> bool {
        self.threshold_ms > 0 && latency_ms >= self.threshold_ms
    }

    /// Records a duration if it is a spike.
    pub fn record(&mut self, event: &'static str, latency_ms: u64, unix_time_s: i64) {
        if !self.wants(latency_ms) {
            return;
        }
        let sample = LatencySample { unix_time_s, latency_ms: u32::try_from(latency_ms).unwrap_or(u32::MAX) };
        let at = self.events.iter().position(|known| known.name == event).unwrap_or_else(|| {
            self.events.push(LatencyEvent::new(event));
            self.events.len() - 1
        });
        self.events[at].record(sample);
    }

    /// Every event that ever happened, for `LATENCY LATEST`.
    pub fn events(&self) -> &[LatencyEvent] {
        &self.events
    }

    /// An event by its name, as a client writes it.
    pub fn event(&self, name: &[u8]) -> Option<&LatencyEvent> {
        self.events.iter().find(|event| event.name.as_bytes() == name)
    }

    /// Forgets an event; whether there was one.
    pub fn reset(&mut self, name: &[u8]) -> bool {
        let before = self.events.len();
        self.events.retain(|event| event.name.as_bytes() != name);
        self.events.len() < before
    }

    /// Forgets all events; how many there were.
    pub fn reset_all(&mut self) -> usize {
        std::mem::take(&mut self.events).len()
    }

    /// The `LATENCY GRAPH` of an event: a header and lines of columns, oldest left, each with its age below it.
    pub fn graph(&self, name: &[u8], now_s: i64) -> Option<String> {
        let event = self.event(name)?;
        let samples: Vec<_> = event.history().collect();
        let high = samples.iter().map(|sample| sample.latency_ms).max()?;
        let low = samples.iter().map(|sample| sample.latency_ms).min()?;
        let mut text = format!(
            "{} - high {high} ms, low {low} ms (all time high {} ms)\n{}\n",
            event.name,
            event.all_time_max_ms,
            "-".repeat(COLUMNS_MAX)
        );
        for (block, samples) in samples.chunks(COLUMNS_MAX).enumerate() {
            if block > 0 {
                text.push('\n');
            }
            draw(&mut text, samples, low, high, now_s);
        }
        Some(text)
    }

    /// The `LATENCY DOCTOR` report: what was seen, and what to do about it.
    pub fn doctor(&self, facts: DoctorFacts, now_s: i64) -> String {
        if self.threshold_ms == 0 {
            return "Latency monitoring is off, so there is nothing to look at. Turn it on with \
                    'CONFIG SET latency-monitor-threshold <milliseconds>' and ask again after some traffic.\n"
                .to_owned();
        }
        if self.events.is_empty() {
            return "All clear: since monitoring was turned on or last reset, nothing took as long as the threshold.\n"
                .to_owned();
        }
        let mut text = "Latency spikes were seen on this server:\n\n".to_owned();
        for (index, event) in self.events.iter().enumerate() {
            let Figures { spikes, average_ms, mean_deviation_ms, period_s } = event.figures(now_s);
            let written = writeln!(
                text,
                "{}. {}: {spikes} latency spikes (average {average_ms}ms, mean deviation {mean_deviation_ms}ms, period \
                 {period_s:.2} sec). Worst all time event {}ms.",
                index + 1,
                event.name,
                event.all_time_max_ms
            );
            debug_assert!(written.is_ok(), "a String takes everything");
        }
        let advice = self.advice(facts);
        if advice.is_empty() {
            text.push_str("\nNothing in the configuration explains them.\n");
        } else {
            text.push_str("\nWhat may help:\n\n");
            for sentence in advice {
                text.push_str("- ");
                text.push_str(&sentence);
                text.push('\n');
            }
        }
        text
    }

    fn advice(&self, facts: DoctorFacts) -> Vec<String> {
        let any = |wanted: fn(&str) -> bool| self.events.iter().any(|event| wanted(event.name));
        let mut advice = Vec::new();
        let threshold_us = self.threshold_ms.saturating_mul(1_000);
        if any(|name| name == "command") {
            match u64::try_from(facts.slowlog_threshold_us) {
                Err(_) => advice.push(format!(
                    "The slow log is off, so the commands behind the spikes are unknown. Use 'CONFIG SET \
                     slowlog-log-slower-than {threshold_us}'."
                )),
                Ok(slowlog_us) if slowlog_us > threshold_us => advice.push(format!(
                    "The slow log starts above the threshold of this monitor and misses some of the spikes. Use \
                     'CONFIG SET slowlog-log-slower-than {threshold_us}'."
                )),
                Ok(_) => {}
            }
            advice.push(
                "Look up in SLOWLOG GET which commands are slow, and what their arguments have in common.".to_owned(),
            );
        }
        if any(|name| name == "fast-command") {
            advice.push(
                "Commands that are never slow by themselves had to wait: for a busy processor, for swapped-out memory, \
                 or for the hypervisor. Compare with 'redis-cli --intrinsic-latency 100' on this machine."
                    .to_owned(),
            );
        }
        if any(|name| name == "aof-fsync-always") {
            advice.push(
                "With 'appendfsync always' every reply waits for the disk. 'everysec' risks a second of writes instead."
                    .to_owned(),
            );
        }
        if any(|name| name.starts_with("aof-write")) {
            advice.push(
                "Writes to the append-only file were held up. See what else uses the disk, keep the file off network \
                 volumes, and consider 'no-appendfsync-on-rewrite yes' if it happens during rewrites."
                    .to_owned(),
            );
        }
        if any(|name| matches!(name, "aof-fstat" | "aof-rename" | "rdb-unlink-temp-file")) {
            advice
                .push("Operations on files took long: the file system or its disk is overloaded or remote.".to_owned());
        }
        if any(|name| name.starts_with("expire") || name.starts_with("eviction")) {
            advice.push(
                "Keys that expire or are evicted in great numbers at once hold commands up. Spread their deadlines, and \
                 let 'active-expire-effort' and 'maxmemory-eviction-tenacity' be small."
                    .to_owned(),
            );
        }
        if facts.transparent_huge_pages {
            advice.push(
                "Transparent huge pages are on for this process. Their faults take long: 'echo madvise > \
                 /sys/kernel/mm/transparent_hugepage/enabled' and restart."
                    .to_owned(),
            );
        }
        advice
    }
}

/// What else the doctor looks at.
#[derive(Debug, Clone, Copy, Default)]
pub struct DoctorFacts {
    /// `slowlog-log-slower-than`; below 0 is off.
    pub slowlog_threshold_us: i64,
    /// Whether this process gets transparent huge pages.
    pub transparent_huge_pages: bool,
}

const COLUMNS_MAX: usize = 80;
/// Lines of a block's columns.
const ROWS: usize = 4;

/// Columns of four lines with three heights in each line, a blank line, and ages downwards.
fn draw(text: &mut String, samples: &[LatencySample], low: u32, high: u32, now_s: i64) {
    const HEIGHTS: [char; 3] = ['_', 'o', '#'];
    let steps = HEIGHTS.len() * ROWS;
    let range = u64::from(high - low).max(1);
    let step_of = |sample: &LatencySample| {
        let step = u64::from(sample.latency_ms - low) * steps as u64 / range;
        (step as usize).min(steps - 1)
    };
    for row in 0..ROWS {
        let below = (ROWS - 1 - row) * HEIGHTS.len();
        text.extend(samples.iter().map(|sample| match step_of(sample).checked_sub(below) {
            None => ' ',
            Some(step) => HEIGHTS.get(step).copied().unwrap_or('|'),
        }));
        text.push('\n');
    }
    text.extend(samples.iter().map(|_| ' '));
    text.push('\n');
    let ages: Vec<String> = samples.iter().map(|sample| age(now_s.saturating_sub(sample.unix_time_s))).collect();
    for line in 0..ages.iter().map(String::len).max().unwrap_or(0) {
        text.extend(ages.iter().map(|age| age.as_bytes().get(line).map_or(' ', |&byte| byte as char)));
        text.push('\n');
    }
}

fn age(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3_600 => format!("{}m", seconds / 60),
        seconds @ 3_600..86_400 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn monitor(threshold_ms: u64, samples: &[(i64, u64)]) -> LatencyMonitor {
        let mut monitor = LatencyMonitor::default();
        monitor.set_threshold_ms(threshold_ms);
        for &(time, latency) in samples {
            monitor.record("command", latency, time);
        }
        monitor
    }

    fn history(monitor: &LatencyMonitor) -> Vec<(i64, u32)> {
        monitor
            .event(b"command")
            .map(|event| event.history().map(|sample| (sample.unix_time_s, sample.latency_ms)).collect())
            .unwrap_or_default()
    }

    #[test]
    fn only_spikes_are_recorded() {
        assert!(monitor(0, &[(1, 1_000)]).events().is_empty());
        assert_eq!(history(&monitor(5, &[(1, 4), (2, 5), (3, 6)])), [(2, 5), (3, 6)]);
    }

    #[test]
    fn a_second_keeps_its_longest() {
        let monitor = monitor(1, &[(1, 5), (1, 9), (1, 7), (2, 3)]);
        assert_eq!(history(&monitor), [(1, 9), (2, 3)]);
        let event = &monitor.events()[0];
        assert_eq!((event.sum_ms(), event.count(), event.all_time_max_ms()), (24, 4, 9));
        assert_eq!(event.latest(), Some(LatencySample { unix_time_s: 2, latency_ms: 3 }));
    }

    #[test]
    fn the_ring_keeps_the_last_160() {
        for len in [159, 160, 161, 320, 333] {
            let samples: Vec<_> = (0..len).map(|time| (time, 10)).collect();
            let monitor = monitor(1, &samples);
            let expected: Vec<_> = ((len - 160).max(0)..len).map(|time| (time, 10)).collect();
            assert_eq!(history(&monitor), expected);
        }
        let mut samples: Vec<_> = (0..161).map(|time| (time, 10)).collect();
        samples.push((160, 99));
        assert_eq!(history(&monitor(1, &samples)).last(), Some(&(160, 99)));
    }

    #[test]
    fn events_are_forgotten_one_by_one_or_all() {
        let mut monitor = monitor(1, &[(1, 5)]);
        monitor.record("expire-cycle", 7, 1);
        assert!(!monitor.reset(b"nosuch"));
        assert!(monitor.reset(b"command"));
        assert!(monitor.event(b"command").is_none());
        assert_eq!(monitor.reset_all(), 1);
        assert!(monitor.events().is_empty());
    }

    /// Drawn by a Redis 8.0.6 for the same samples.
    #[test]
    fn graphs_are_those_of_redis() {
        let dashes = "-".repeat(80);
        let latencies = [6, 50, 10, 300, 20, 7, 150, 80, 6, 200, 30, 12];
        let samples: Vec<_> = (102..114).zip(latencies).collect();
        let expected = format!(
            "command - high 300 ms, low 6 ms (all time high 300 ms)\n\
             {dashes}\n   #        \n   |     o  \n   |  #_ |  \n\
             _o_|__||_|__\n            \n111987654321\n210sssssssss\nsss         \n"
        );
        assert_eq!(monitor(1, &samples).graph(b"command", 114), Some(expected));
        let expected =
            format!("command - high 22 ms, low 5 ms (all time high 22 ms)\n{dashes}\n# \n| \n| \n|_\n  \n21\nss\n");
        assert_eq!(monitor(1, &[(38, 22), (39, 5)]).graph(b"command", 40), Some(expected));
        let expected =
            format!("command - high 22 ms, low 22 ms (all time high 22 ms)\n{dashes}\n \n \n \n_\n \n1\ns\n");
        assert_eq!(monitor(1, &[(38, 22)]).graph(b"command", 39), Some(expected));
        assert_eq!(monitor(1, &[]).graph(b"command", 39), None);
    }

    #[test]
    fn long_graphs_go_on_in_a_second_block() {
        let samples: Vec<_> = (0..100).map(|time| (time, 10 + time as u64)).collect();
        let graph = monitor(1, &samples).graph(b"command", 4_000).unwrap_or_default();
        let widths: Vec<_> = graph.lines().skip(2).map(str::len).collect();
        assert_eq!(widths, [80, 80, 80, 80, 80, 80, 80, 0, 20, 20, 20, 20, 20, 20, 20]);
        assert_eq!(graph.lines().nth(7).map(|ages| &ages[..3]), Some("111"));
    }

    #[test]
    fn ages_grow_from_seconds_to_days() {
        for (seconds, expected) in
            [(-5, "0s"), (59, "59s"), (60, "1m"), (3_599, "59m"), (3_600, "1h"), (86_399, "23h"), (172_800, "2d")]
        {
            assert_eq!(age(seconds), expected);
        }
    }

    #[test]
    fn the_doctor_gives_the_figures_of_redis() {
        let latencies = [6, 50, 10, 300, 20, 7, 150, 80, 6, 200, 30, 12];
        let samples: Vec<_> = (102..114).zip(latencies).collect();
        let report =
            monitor(5, &samples).doctor(DoctorFacts { slowlog_threshold_us: 10_000, ..Default::default() }, 114);
        assert!(report.contains(
            "1. command: 12 latency spikes (average 72ms, mean deviation 73ms, period 1.00 sec). Worst all time \
             event 300ms."
        ));
        assert!(report.contains("slowlog-log-slower-than 5000"));
        assert!(monitor(0, &[]).doctor(DoctorFacts::default(), 1).contains("latency-monitor-threshold"));
        assert!(monitor(5, &[]).doctor(DoctorFacts::default(), 1).starts_with("All clear"));
    }
}
