//! `MEMORY DOCTOR`: which of the usual memory troubles the server has, in words.
//!
//! Works on figures alone, which `INFO memory` prints as well, so that the report can be checked against them. The
//! thresholds are those that Redis uses.
//!
//! Invariant: an instance below [`USED_BYTES_MIN`] gets no diagnosis, since ratios mean nothing there.

use std::fmt::Write;

/// Below this nothing is diagnosed.
pub const USED_BYTES_MIN: u64 = 5 << 20;

const PEAK_RATIO_MAX: f64 = 1.5;
const FRAGMENTATION_RATIO_MAX: f64 = 1.4;
const PART_RATIO_MAX: f64 = 1.1;
/// However bad a ratio, less than this is no trouble.
const WASTE_BYTES_MIN: i64 = 10 << 20;
const CLIENT_BUFFER_BYTES_MAX: u64 = 200 << 10;
const REPLICA_BUFFER_BYTES_MAX: u64 = 10 << 20;
const SCRIPTS_MAX: u64 = 1_000;

/// What the doctor looks at. Ratios are 1 where nothing is lost.
#[derive(Debug, Clone, Copy, Default)]
pub struct MemoryFigures {
    /// `used_memory`.
    pub used_bytes: u64,
    /// `used_memory_peak`.
    pub peak_bytes: u64,
    /// `mem_fragmentation_ratio`: resident over used.
    pub fragmentation_ratio: f64,
    /// `mem_fragmentation_bytes`.
    pub fragmentation_bytes: i64,
    /// `allocator_frag_ratio`: active over allocated.
    pub allocator_frag_ratio: f64,
    /// `allocator_frag_bytes`.
    pub allocator_frag_bytes: i64,
    /// `allocator_rss_ratio`: resident over active, of the allocator.
    pub allocator_rss_ratio: f64,
    /// `allocator_rss_bytes`.
    pub allocator_rss_bytes: i64,
    /// `rss_overhead_ratio`: resident of the process over that of the allocator.
    pub rss_overhead_ratio: f64,
    /// `rss_overhead_bytes`.
    pub rss_overhead_bytes: i64,
    /// `mem_clients_normal`.
    pub clients_bytes: u64,
    /// Clients that this is for.
    pub clients: u64,
    /// `mem_clients_slaves`.
    pub replicas_bytes: u64,
    /// Replicas that this is for.
    pub replicas: u64,
    /// `number_of_cached_scripts`.
    pub cached_scripts: u64,
}

/// A trouble that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryTrouble {
    /// The peak was much higher than now.
    Peak,
    /// Resident is much more than used.
    Fragmentation,
    /// The allocator's pages are poorly filled.
    AllocatorFragmentation,
    /// The allocator holds pages that it does not use.
    AllocatorResident,
    /// Memory that does not come from the allocator.
    ProcessOverhead,
    /// Replicas read too slowly.
    ReplicaBuffers,
    /// Clients send or read too slowly.
    ClientBuffers,
    /// Too many scripts.
    Scripts,
}

impl MemoryTrouble {
    /// What it means and what to do.
    pub fn advice(self) -> &'static str {
        match self {
            MemoryTrouble::Peak => {
                "High peak: the server once used more than one and a half times what it uses now. The allocator may \
                 hold on to that memory, which shows as fragmentation. If it does not come down, a restart gives it \
                 back; if there was no reason for the peak, look for what made it."
            }
            MemoryTrouble::Fragmentation => {
                "High fragmentation: the process occupies more than 1.4 times what the data takes. If the peak is high \
                 too, that is the reason. Otherwise values of many different sizes come and go: consider 'activedefrag \
                 yes', or a restart."
            }
            MemoryTrouble::AllocatorFragmentation => {
                "Poorly filled pages: the allocator's pages have more than a tenth of free room between the values. \
                 'activedefrag yes' moves values together."
            }
            MemoryTrouble::AllocatorResident => {
                "Pages held back: the allocator keeps more than a tenth of free pages instead of returning them. \
                 'MEMORY PURGE' asks it to return them."
            }
            MemoryTrouble::ProcessOverhead => {
                "Memory outside of the allocator: more than a tenth of the resident memory is not from the allocator. \
                 Scripts, libraries and thread stacks are the usual owners."
            }
            MemoryTrouble::ReplicaBuffers => {
                "Large replica buffers: the replicas need more than 10 MB each on average, so they cannot keep up. \
                 Look at the network between, at slow replicas, and at 'client-output-buffer-limit replica'."
            }
            MemoryTrouble::ClientBuffers => {
                "Large client buffers: the clients need more than 200 KB each on average. Some send huge requests, \
                 read replies too slowly or subscribe to more than they can take. 'CLIENT LIST' shows which; \
                 'client-output-buffer-limit' and 'maxmemory-clients' set limits."
            }
            MemoryTrouble::Scripts => {
                "Many scripts: more than a thousand are cached. Pass what changes as KEYS and ARGV instead of writing \
                 it into the text; 'SCRIPT FLUSH' empties the cache."
            }
        }
    }
}

impl MemoryFigures {
    /// The troubles in the order of the report; empty for small instances.
    pub fn troubles(&self) -> Vec<MemoryTrouble> {
        if self.is_small() {
            return Vec::new();
        }
        let wasteful = |ratio: f64, ratio_max: f64, bytes: i64| ratio > ratio_max && bytes > WASTE_BYTES_MIN;
        let each = |bytes: u64, owners: u64| bytes.checked_div(owners).unwrap_or(0);
        [
            (MemoryTrouble::Peak, self.peak_bytes as f64 / self.used_bytes as f64 > PEAK_RATIO_MAX),
            (
                MemoryTrouble::Fragmentation,
                wasteful(self.fragmentation_ratio, FRAGMENTATION_RATIO_MAX, self.fragmentation_bytes),
            ),
            (
                MemoryTrouble::AllocatorFragmentation,
                wasteful(self.allocator_frag_ratio, PART_RATIO_MAX, self.allocator_frag_bytes),
            ),
            (
                MemoryTrouble::AllocatorResident,
                wasteful(self.allocator_rss_ratio, PART_RATIO_MAX, self.allocator_rss_bytes),
            ),
            (
                MemoryTrouble::ProcessOverhead,
                wasteful(self.rss_overhead_ratio, PART_RATIO_MAX, self.rss_overhead_bytes),
            ),
            (MemoryTrouble::ReplicaBuffers, each(self.replicas_bytes, self.replicas) > REPLICA_BUFFER_BYTES_MAX),
            (MemoryTrouble::ClientBuffers, each(self.clients_bytes, self.clients) > CLIENT_BUFFER_BYTES_MAX),
            (MemoryTrouble::Scripts, self.cached_scripts > SCRIPTS_MAX),
        ]
        .into_iter()
        .filter_map(|(trouble, found)| found.then_some(trouble))
        .collect()
    }

    /// The report.
    pub fn report(&self) -> String {
        if self.is_small() {
            return "This server holds less than 5 MB, too little for its memory figures to mean anything. Ask again \
                    when there is data in it.\n"
                .to_owned();
        }
        let troubles = self.troubles();
        if troubles.is_empty() {
            return "No memory trouble found.\n".to_owned();
        }
        let mut report = "Memory troubles found:\n\n".to_owned();
        for trouble in troubles {
            let written = writeln!(report, " * {}\n", trouble.advice());
            debug_assert!(written.is_ok(), "a String takes everything");
        }
        report
    }

    fn is_small(&self) -> bool {
        self.used_bytes < USED_BYTES_MIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn healthy() -> MemoryFigures {
        MemoryFigures { used_bytes: 100 << 20, peak_bytes: 150 << 20, ..MemoryFigures::default() }
    }

    #[test]
    fn small_and_healthy_servers_have_no_trouble() {
        let small = MemoryFigures { used_bytes: USED_BYTES_MIN - 1, cached_scripts: 5_000, ..healthy() };
        assert_eq!(small.troubles(), []);
        assert!(small.report().contains("5 MB"));
        assert_eq!(healthy().troubles(), []);
        assert_eq!(healthy().report(), "No memory trouble found.\n");
    }

    #[test]
    fn every_threshold_is_exclusive() {
        use MemoryTrouble::*;
        let mb = |count: i64| count << 20;
        let at = MemoryFigures {
            fragmentation_ratio: 1.4,
            fragmentation_bytes: mb(11),
            allocator_frag_ratio: 1.2,
            allocator_frag_bytes: mb(10),
            clients_bytes: 400 << 10,
            clients: 2,
            replicas_bytes: 10 << 20,
            replicas: 1,
            cached_scripts: 1_000,
            ..healthy()
        };
        assert_eq!(at.troubles(), []);
        let above = MemoryFigures {
            peak_bytes: (150 << 20) + 1,
            fragmentation_ratio: 1.41,
            allocator_frag_bytes: mb(10) + 1,
            allocator_rss_ratio: 1.11,
            allocator_rss_bytes: mb(11),
            rss_overhead_ratio: 1.11,
            rss_overhead_bytes: mb(11),
            clients_bytes: (400 << 10) + 2,
            replicas_bytes: (10 << 20) + 1,
            cached_scripts: 1_001,
            ..at
        };
        let all = [
            Peak,
            Fragmentation,
            AllocatorFragmentation,
            AllocatorResident,
            ProcessOverhead,
            ReplicaBuffers,
            ClientBuffers,
            Scripts,
        ];
        assert_eq!(above.troubles(), all);
        assert!(all.iter().all(|trouble| above.report().contains(trouble.advice())));
    }

    #[test]
    fn buffers_without_owners_are_no_trouble() {
        assert_eq!(MemoryFigures { clients_bytes: 1 << 40, replicas_bytes: 1 << 40, ..healthy() }.troubles(), []);
    }
}
