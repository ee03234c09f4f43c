//! A sorted set made of members that come from a file: in order, in the opposite order, or in none.
//!
//! What comes in order needs no search in the tree, which is built as a whole at the end. Otherwise the members are sorted once.

use std::ops::Range;
use std::ptr::NonNull;

use super::ZsetLimits;
use super::packed::ScoreBytes;
use super::table::Zset;
use crate::keyspace::KeyHasher;
use crate::members::{MemberPtr, Members};
use crate::packed::{Builder, Encoded};
use crate::rank_tree::{RankTree, score_order_key};

/// Members whose places in a table are requested from memory before the first of them is put there.
const WINDOW: usize = 32;

/// A sorted set in one of its forms.
#[derive(Debug)]
pub enum ZsetForm {
    /// Packed.
    Packed(Vec<u8>),
    /// A table and a tree.
    Big(Box<Zset>),
}

/// A sorted set that is being filled.
#[derive(Debug)]
pub struct ZsetFill {
    limits: ZsetLimits,
    hasher: KeyHasher,
    /// While it is small: scores, and where in `text` the members are. Of a big one those that are not in its table yet.
    few: Vec<Few>,
    text: Vec<u8>,
    big: Option<Big>,
    /// A member came twice.
    twice: bool,
}

#[derive(Clone, Debug)]
struct Few {
    position: u64,
    score: f64,
    member: Range<usize>,
}

#[derive(Debug)]
struct Big {
    table: Members,
    /// In the order in which they came.
    places: Vec<NonNull<u8>>,
    ascends: bool,
    descends: bool,
}

// SAFETY: the places are blocks of the table, which belongs to this set alone and does not depend on a thread.
unsafe impl Send for Big {}

impl ZsetFill {
    /// An empty one.
    pub fn new(limits: ZsetLimits, hasher: KeyHasher) -> ZsetFill {
        ZsetFill { limits, hasher, few: Vec::new(), text: Vec::new(), big: None, twice: false }
    }

    /// Makes it as it was when it was new.
    pub fn clear(&mut self) {
        self.few.clear();
        self.text.clear();
        self.big = None;
        self.twice = false;
    }

    /// Makes room in an empty one for about so many members.
    pub fn expect(&mut self, members: usize) {
        if members > self.limits.entries {
            self.make_big(members);
        }
    }

    /// Adds a member, which must be none that is there; `score` is not NaN.
    pub fn add(&mut self, member: &[u8], score: f64) {
        if self.big.is_none() {
            if self.few.len() >= self.limits.entries || member.len() > self.limits.value_bytes {
                self.make_big(0);
            }
        } else if self.few.len() >= WINDOW {
            self.move_few();
        }
        let position = self.hasher.position(member);
        if let Some(big) = &self.big {
            // It is looked for when the others of the window have come.
            big.table.prefetch_bucket(position);
        }
        let start = self.text.len();
        self.text.extend_from_slice(member);
        self.few.push(Few { position, score, member: start..self.text.len() });
    }

    fn make_big(&mut self, members: usize) {
        let table = Members::with_capacity(self.hasher.clone(), members);
        self.big = Some(Big { table, places: Vec::with_capacity(members), ascends: true, descends: true });
        self.move_few();
    }

    /// Puts the members of the window into the table.
    fn move_few(&mut self) {
        let Some(big) = &mut self.big else { return };
        for Few { position, score, member } in self.few.drain(..) {
            self.twice |= !big.add(position, &self.text[member], score);
        }
        self.text.clear();
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        self.few.len() + self.big.as_ref().map_or(0, |big| big.places.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sorted set; `None` if a member came twice. What it was filled in is empty again.
    pub fn finish(&mut self) -> Option<ZsetForm> {
        self.move_few();
        let form = match self.big.take() {
            Some(big) if !self.twice => Some(ZsetForm::Big(Box::new(big.finish()))),
            Some(_) => None,
            None => self.finish_small(),
        };
        self.clear();
        form
    }

    fn finish_small(&mut self) -> Option<ZsetForm> {
        let name = |few: &Few| &self.text[few.member.clone()];
        // Members that are equal have equal positions.
        let mut positions: Vec<u64> = self.few.iter().map(|few| few.position).collect();
        positions.sort_unstable();
        if positions.windows(2).any(|pair| pair[0] == pair[1]) {
            let mut names: Vec<&[u8]> = self.few.iter().map(name).collect();
            names.sort_unstable();
            if names.windows(2).any(|pair| pair[0] == pair[1]) {
                return None;
            }
        }
        let order = |few: &Few| (score_order_key(few.score), &self.text[few.member.clone()]);
        if !self.few.is_sorted_by(|a, b| order(a) < order(b)) {
            self.few.sort_unstable_by(|a, b| order(a).cmp(&order(b)));
        }
        let mut packed = Builder::with_capacity(self.text.len() + 8 * self.few.len() + 8);
        for few in &self.few {
            packed.push(&Encoded::new(&self.text[few.member.clone()]));
            packed.push(&ScoreBytes::new(few.score).encoded());
        }
        Some(ZsetForm::Packed(packed.finish()))
    }
}

impl Big {
    fn add(&mut self, position: u64, member: &[u8], score: f64) -> bool {
        if self.table.get(position, member).is_some() {
            return false;
        }
        let place = self.table.insert(position, member, None, Some(score.to_bits())).address();
        if let Some(&last) = self.places.last()
            && (self.ascends || self.descends)
        {
            // SAFETY: all places are members of the table, which are never removed while it is being filled.
            let is_above = unsafe { order_of(last) < order_of(place) };
            self.ascends &= is_above;
            self.descends &= !is_above;
        }
        self.places.push(place);
        true
    }

    fn finish(mut self) -> Zset {
        if self.descends && self.places.len() > 1 {
            self.places.reverse();
        } else if !self.ascends {
            // Scores beside the places, so that members are looked at only where those are equal.
            let mut keyed: Vec<(u64, NonNull<u8>)> = self
                .places
                .iter()
                // SAFETY: as above.
                .map(|&place| (unsafe { order_of(place) }.0, place))
                .collect();
            // SAFETY: as above.
            keyed.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| unsafe { order_of(a.1).1.cmp(order_of(b.1).1) }));
            self.places = keyed.into_iter().map(|(_, place)| place).collect();
        }
        // SAFETY: the members are in the table, each with its score, and stay there until the tree forgets them.
        let order = unsafe { RankTree::from_sorted(self.places) };
        Zset::of_parts(self.table, order)
    }
}

/// What a member is ordered by.
///
/// # Safety
/// It is in a table, and stays there for as long as what this returns is used.
unsafe fn order_of<'a>(place: NonNull<u8>) -> (u64, &'a [u8]) {
    // SAFETY: the caller's promise.
    let member = unsafe { MemberPtr::from_address(place).member() };
    (score_order_key(f64::from_bits(member.extra().unwrap_or_default())), member.key())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packed::Packed;
    use crate::testing::Rng;
    use std::collections::BTreeMap;

    const LIMITS: ZsetLimits = ZsetLimits { entries: 20, value_bytes: 14 };

    fn all(form: &ZsetForm) -> Vec<(Vec<u8>, f64)> {
        match form {
            ZsetForm::Packed(bytes) => super::super::packed::pairs(Packed::new(bytes))
                .map(|(member, score)| (member.element.text().to_vec(), score))
                .collect(),
            ZsetForm::Big(zset) => {
                zset.check();
                zset.iter_from(0).map(|(member, score)| (member.to_vec(), score)).collect()
            }
        }
    }

    #[test]
    fn it_is_in_order_however_the_members_came_and_no_member_may_come_twice() {
        let mut rng = Rng::new(5);
        let mut fill = ZsetFill::new(LIMITS, KeyHasher::new(7));
        for round in 0..300_u64 {
            let count = [1, 2, 15, 16, 17, 20, 21, 400][round as usize % 8];
            let mut model = BTreeMap::new();
            let spread = if round % 5 == 0 { count * 2 } else { 1 << 40 };
            let mut members: Vec<(String, f64)> =
                (0..count).map(|n| (format!("m{}", rng.below(spread)), (n / 3) as f64 - 2.5)).collect();
            match round % 3 {
                0 => members.reverse(),
                1 => members.sort_by_cached_key(|_| rng.below(1000)),
                _ => {}
            }
            if round % 2 == 0 {
                fill.expect(members.len());
            }
            for (member, score) in &members {
                fill.add(member.as_bytes(), *score);
                model.entry(member.clone()).or_insert(*score);
            }
            if model.len() < members.len() {
                assert!(fill.finish().is_none() && fill.is_empty());
                continue;
            }
            assert_eq!(fill.len(), members.len());
            let mut expected: Vec<(Vec<u8>, f64)> =
                model.into_iter().map(|(member, score)| (member.into_bytes(), score)).collect();
            expected.sort_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
            let is_small = expected.len() <= LIMITS.entries && expected.iter().all(|(member, _)| member.len() <= 14);
            let form = fill.finish().expect("no member twice");
            assert_eq!(matches!(form, ZsetForm::Packed(_)), is_small);
            assert_eq!(all(&form), expected);
            assert!(fill.is_empty());
        }
    }
}
