//! Consistent hashing by drawing lots: for each routing key every destination draws, with chances as its weight has it, and
//! the best draw wins.
//!
//! ```text
//!  key ──► 64 groups draw, those that have members, with all their weights ──► members of one group draw ──► destination
//! ```
//!
//! A draw depends on the key, the destination's name and its weight, and on nothing else: so shares are exactly as
//! weights are, a destination that comes takes its share and nothing else moves, and what it had goes to the others when it
//! leaves. No order of bindings matters, nothing is to be saved, and a restart or another server finds the same. With
//! groups, 64 and a 64th of the destinations draw instead of all; what a newcomer then takes from other groups falls
//! to its neighbours in part, so that at most about twice its share moves.
//!
//! Who draws `u` between 0 and 1 at weight `w` has `-ln(u) / w`, and the least wins: that is how waiting times compare, and
//! the chance to be first is `w` of the sum of all weights.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::binding::WEIGHT_MAX;
use super::options::Target;

/// Into how many groups destinations fall.
const GROUPS: u64 = 64;

/// Hashes are the same everywhere and always, so their seeds are.
const KEY_SEED: u64 = 0x5745_4952_4B45_5931;
const NAME_SEED: u64 = 0x5745_4952_4E41_4D31;

/// Bytes of a member with its part of a node, about.
const MEMBER_BYTES: usize = 48;
/// Bytes of a group without members, about.
const GROUP_BYTES: usize = 96;

/// The hash of a routing key.
#[inline]
pub(super) fn key_hash(key: &[u8]) -> u64 {
    xxh3_64_with_seed(key, KEY_SEED)
}

/// The weight that a binding's key says: a number from 1 on, in decimal without anything in front.
pub(super) fn weight(key: &[u8]) -> Option<u32> {
    let fits = (1..=5).contains(&key.len()) && key[0] != b'0' && key.iter().all(u8::is_ascii_digit);
    let weight = key.iter().fold(0, |weight, digit| weight * 10 + u32::from(digit.wrapping_sub(b'0') % 10));
    (fits && weight <= WEIGHT_MAX).then_some(weight)
}

/// Destinations with weights.
#[derive(Clone, Debug, Default)]
pub(super) struct Shares {
    /// By the part of their hash that says so.
    groups: BTreeMap<u64, Group>,
    members: usize,
}

#[derive(Clone, Debug, Default)]
struct Group {
    weight: u64,
    /// Weights by the hash of the name and the number of a destination.
    members: BTreeMap<(u64, u32), u64>,
}

impl Shares {
    /// A destination gets so much more weight.
    pub(super) fn add(&mut self, target: Target, name: &[u8], destination: u32, weight: u32) {
        let seed = seed(target, name);
        let group = self.groups.entry(seed % GROUPS).or_default();
        group.weight += u64::from(weight);
        let known = group.members.entry((seed, destination)).or_default();
        self.members += usize::from(*known == 0);
        *known += u64::from(weight);
    }

    /// A destination loses so much weight, which it had.
    pub(super) fn remove(&mut self, target: Target, name: &[u8], destination: u32, weight: u32) {
        self.reduce(seed(target, name), destination, u64::from(weight));
    }

    fn reduce(&mut self, seed: u64, destination: u32, weight: u64) {
        let Some(group) = self.groups.get_mut(&(seed % GROUPS)) else { return };
        let Some(known) = group.members.get_mut(&(seed, destination)) else { return };
        *known -= weight;
        group.weight -= weight;
        if *known == 0 {
            group.members.remove(&(seed, destination));
            self.members -= 1;
        }
        if group.members.is_empty() {
            self.groups.remove(&(seed % GROUPS));
        }
    }

    /// A destination loses all its weight.
    pub(super) fn leave(&mut self, target: Target, name: &[u8], destination: u32) {
        let seed = seed(target, name);
        let group = self.groups.get(&(seed % GROUPS));
        let weight = group.and_then(|group| group.members.get(&(seed, destination)));
        if let Some(&weight) = weight {
            self.reduce(seed, destination, weight);
        }
    }

    /// The destination of a routing key. O(64 + a 64th of the destinations).
    pub(super) fn route(&self, key: &[u8]) -> Option<u32> {
        let key = key_hash(key);
        let group = best(self.groups.iter().map(|(&number, group)| (number ^ NAME_SEED, group.weight, group)), key)?;
        best(group.members.iter().map(|(&(seed, destination), &weight)| (seed, weight, destination)), key)
    }

    /// Bytes on the heap, about. O(1).
    pub(super) fn memory_bytes(&self) -> usize {
        self.groups.len() * GROUP_BYTES + self.members * MEMBER_BYTES
    }
}

fn seed(target: Target, name: &[u8]) -> u64 {
    xxh3_64_with_seed(name, NAME_SEED ^ target as u64)
}

/// Who draws best of those with a seed and a weight.
fn best<T>(mut those: impl Iterator<Item = (u64, u64, T)>, key: u64) -> Option<T> {
    let (seed, weight, first) = those.next()?;
    let Some((next_seed, next_weight, next)) = those.next() else { return Some(first) };
    let (mut least, mut winner) = (draw(key, seed, weight), first);
    for (seed, weight, one) in std::iter::once((next_seed, next_weight, next)).chain(those) {
        let drawn = draw(key, seed, weight);
        if drawn < least {
            (least, winner) = (drawn, one);
        }
    }
    Some(winner)
}

/// What somebody draws for a key: the less, the better.
fn draw(key: u64, seed: u64, weight: u64) -> f64 {
    let mut mixed = key ^ seed.rotate_left(23).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    mixed ^= mixed >> 32;
    // Between 0 and 1, never either.
    let chance = ((mixed >> 11) as f64 + 0.5) * (1.0 / (1_u64 << 53) as f64);
    -chance.ln() / weight as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: usize = 40_000;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("queue-{number}")).collect()
    }

    fn shares(weights: &[u32]) -> Shares {
        let mut shares = Shares::default();
        for ((number, name), &weight) in (0..).zip(names(weights.len())).zip(weights) {
            shares.add(Target::Queue, name.as_bytes(), number, weight);
        }
        shares
    }

    fn routes(shares: &Shares) -> Vec<u32> {
        (0..KEYS).map(|key| shares.route(format!("order.{key}").as_bytes()).unwrap()).collect()
    }

    #[test]
    fn shares_are_as_weights_are() {
        for weights in [&[1; 10][..], &[1, 2, 3, 4], &[10_000, 5000, 5000], &[3], &[1; 200]] {
            let mut counts = vec![0; weights.len()];
            routes(&shares(weights)).iter().for_each(|&destination| counts[destination as usize] += 1);
            let all: u32 = weights.iter().sum();
            for (&weight, count) in weights.iter().zip(counts) {
                let expected = KEYS as f64 * f64::from(weight) / f64::from(all);
                // Five times the scatter that chance has.
                assert!((f64::from(count) - expected).abs() < 5.0 * expected.sqrt() + 1.0, "{weights:?} {count}");
            }
        }
    }

    #[test]
    fn who_comes_takes_a_share_and_who_leaves_gives_it_back() {
        for count in [2, 5, 10, 50, 300] {
            let weights = vec![2; count];
            let mut shares = shares(&weights);
            let before = routes(&shares);
            shares.add(Target::Queue, b"newcomer", count as u32, 2);
            let with = routes(&shares);
            let moved = before.iter().zip(&with).filter(|(before, with)| before != with).count();
            let share = KEYS / (count + 1);
            assert!(moved > share * 8 / 10 && moved < share * 25 / 10, "{count}: {moved} moved, {share} is a share");
            shares.remove(Target::Queue, b"newcomer", count as u32, 2);
            assert_eq!(routes(&shares), before);
        }
    }

    #[test]
    fn keys_lead_where_they_led_in_every_version() {
        let shares = shares(&[1, 2, 3]);
        let led: Vec<_> = (0..12).map(|key| shares.route(&[key]).unwrap()).collect();
        assert_eq!(led, [1, 1, 2, 1, 1, 1, 0, 2, 0, 1, 2, 0]);
    }

    #[test]
    fn only_plain_numbers_within_bounds_are_weights() {
        assert_eq!([&b"1"[..], b"20", b"10000"].map(weight), [Some(1), Some(20), Some(10_000)]);
        for key in [&b""[..], b"0", b"01", b"-1", b"+1", b"1.5", b"10001", b"99999", b"100000", b" 1", b"a", b"1a"] {
            assert_eq!(weight(key), None, "{key:?}");
        }
    }

    #[test]
    fn nothing_is_left_when_all_are_gone() {
        let mut shares = shares(&[1, 2]);
        shares.add(Target::Queue, b"queue-1", 1, 5);
        shares.remove(Target::Queue, b"queue-1", 1, 2);
        shares.remove(Target::Queue, b"queue-0", 0, 1);
        assert_eq!(shares.route(b"key"), Some(1));
        shares.remove(Target::Queue, b"queue-1", 1, 5);
        assert_eq!((shares.route(b"key"), shares.memory_bytes()), (None, 0));
    }
}
