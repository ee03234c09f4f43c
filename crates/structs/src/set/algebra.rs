//! Several sets together: what is in all of them, in any of them, in the first alone.
//!
//! All three are one walk with look-ups: over the members of one set, asking the others. The walk goes in windows: the
//! memory that a window's look-ups in one set need is requested for all of its members before the first is looked up, so
//! the waits overlap. Who has dropped out is not looked up in the next set. Big sets have their members in the order of
//! their positions, which are the same in all sets: so the look-ups go through the other tables from front to back.
//!
//! Nothing is copied and nothing is allocated for a member. Orders are chosen by size:
//! - the intersection walks the smallest set, and asks the next larger ones first;
//! - the union gives the largest set whole, and of each smaller one the members that no larger one has; where that would
//!   be too many look-ups (many sets of similar size), it collects what it gave instead;
//! - the difference walks the first set and asks the others, the largest first; or, if the others together are smaller,
//!   looks their members up in the first set, notes which are hit, and gives the rest.

use std::collections::HashSet;
use std::ops::ControlFlow;

use foldhash::fast::FixedState;

use crate::intset::IntSet;
use crate::keyspace::KeyHasher;
use crate::members::Members;
use crate::packed::Element;

use super::change::{OwnedSet, SetLimits, SetMut};
use super::{Member, Probe, Set, SetRef};

/// Members that are looked up together; no more than there are bits in a word.
const WINDOW: usize = 32;
/// How many look-ups for each member the union does rather than collecting what it gave.
const LOOKUPS_MAX: usize = 4;

/// What is told each member of a result; it may end the walk.
pub type Emit<'e, 'a> = &'e mut dyn FnMut(Member<'a>) -> ControlFlow<()>;

/// Gives the members that all of the sets have.
///
/// Costs the size of the smallest, times the number of sets.
pub fn intersection<'a>(sets: &mut [SetRef<'a>], emit: Emit<'_, 'a>) {
    sets.sort_by_key(|set| set.len());
    if let Some((smallest, others)) = sets.split_first() {
        let _ = walk(*smallest, others, true, emit);
    }
}

/// Gives the members that any of the sets has, each once. `hasher` and `limits` are for what it may have to collect.
///
/// Costs the sizes of all sets, with a few look-ups for each member.
pub fn union<'a>(sets: &mut [SetRef<'a>], hasher: &KeyHasher, limits: &SetLimits, emit: Emit<'_, 'a>) {
    sets.sort_by_key(|set| std::cmp::Reverse(set.len()));
    let members: usize = sets.iter().map(|set| set.len()).sum();
    let lookups = sets.iter().enumerate().map(|(larger, set)| set.len().saturating_mul(larger));
    if lookups.fold(0, usize::saturating_add) / LOOKUPS_MAX <= members {
        for (larger, set) in sets.iter().enumerate() {
            if walk(*set, &sets[..larger], false, emit).is_break() {
                return;
            }
        }
        return;
    }
    let mut given = OwnedSet::new(hasher);
    let mut given = SetMut::new(&mut given, limits);
    for member in sets.iter().flat_map(|set| set.iter()) {
        if given.add(&member.text()) && emit(member).is_break() {
            return;
        }
    }
}

/// The two ways to a difference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Difference {
    /// Each member of the first set is looked up in the others.
    AskOthers,
    /// Each member of the others is looked up in the first.
    MarkFirst,
}

impl Difference {
    /// The cheaper one, by the estimate of the reference servers: half of the look-ups in other sets are expected to be
    /// spared because an earlier one hits.
    pub fn cheaper(first: SetRef<'_>, others: &[SetRef<'_>]) -> Difference {
        let asking = first.len().saturating_mul(others.len() + 1) / 2;
        let marking = others.iter().fold(first.len(), |sum, set| sum.saturating_add(set.len()));
        if asking <= marking { Difference::AskOthers } else { Difference::MarkFirst }
    }
}

/// Gives the members of the first set that none of the others has.
pub fn difference<'a>(first: SetRef<'a>, others: &mut [SetRef<'a>], emit: Emit<'_, 'a>) {
    match Difference::cheaper(first, others) {
        Difference::AskOthers => {
            others.sort_by_key(|set| std::cmp::Reverse(set.len()));
            let _ = walk(first, others, false, emit);
        }
        Difference::MarkFirst => mark_first(first, others, emit),
    }
}

fn mark_first<'a>(first: SetRef<'a>, others: &[SetRef<'a>], emit: Emit<'_, 'a>) {
    let mut hit = HashSet::with_hasher(FixedState::default());
    let mut window = Vec::with_capacity(WINDOW);
    for other in others {
        let mut members = other.iter();
        while fill(&mut window, &mut members, first.members()) {
            prefetch(&window, first);
            hit.extend(window.iter().filter_map(|probe| first.locate(probe)));
        }
        if hit.len() == first.len() {
            return;
        }
    }
    let mut members = first.iter();
    while let Some((at, member)) = members.next_located() {
        if !hit.contains(&at) && emit(member).is_break() {
            return;
        }
    }
}

/// Gives the members of a set that all of the others have (`wanted`), or that none of them has.
fn walk<'a>(set: SetRef<'a>, others: &[SetRef<'a>], wanted: bool, emit: Emit<'_, 'a>) -> ControlFlow<()> {
    if others.is_empty() {
        return set.iter().try_for_each(emit);
    }
    match set {
        SetRef::Big(set) => return walk_big(set, others, wanted, emit),
        SetRef::Ints(ints) => {
            if let Some(others) = others.iter().map(|other| other.as_ints()).collect::<Option<Vec<_>>>() {
                return walk_ints(ints, &others, wanted, emit);
            }
        }
        SetRef::Packed(_) => {}
    }
    let hashed = others.iter().find_map(|other| other.members());
    let mut window = Vec::with_capacity(WINDOW);
    let mut members = set.iter();
    while fill(&mut window, &mut members, hashed) {
        for &other in others {
            prefetch(&window, other);
            window.retain(|probe| other.locate(probe).is_some() == wanted);
        }
        window.iter().try_for_each(|probe| emit(probe.member()))?;
    }
    ControlFlow::Continue(())
}

/// [`walk`] where all sets are of integers: in step, since all are in order.
fn walk_ints<'a>(set: IntSet<'a>, others: &[IntSet<'a>], wanted: bool, emit: Emit<'_, 'a>) -> ControlFlow<()> {
    let mut rests: Vec<_> = others.iter().map(|other| other.iter().peekable()).collect();
    for value in set.iter() {
        let keeps = rests.iter_mut().all(|rest| {
            while rest.next_if(|&theirs| theirs < value).is_some() {}
            (rest.peek() == Some(&value)) == wanted
        });
        if keeps {
            emit(Element::Int(value))?;
        }
    }
    ControlFlow::Continue(())
}

/// [`walk`] of a big set, whose members are bytes that need not be copied.
fn walk_big<'a>(set: &'a Set, others: &[SetRef<'a>], wanted: bool, emit: Emit<'_, 'a>) -> ControlFlow<()> {
    let hashed = others.iter().find_map(|other| other.members());
    let mut window: Vec<(&[u8], u64)> = Vec::with_capacity(WINDOW);
    let mut members = SetRef::Big(set).iter();
    loop {
        window.clear();
        let keys = members.by_ref().filter_map(|member| match member {
            Element::Bytes(key) => Some(key),
            Element::Int(_) => None,
        });
        match hashed {
            Some(hashed) => window.extend(keys.take(WINDOW).map(|key| (key, hashed.position(key)))),
            None => window.extend(keys.take(WINDOW).map(|key| (key, 0))),
        }
        if window.is_empty() {
            return ControlFlow::Continue(());
        }
        for other in others {
            let Some(table) = other.members() else {
                window.retain(|&(key, _)| other.contains(key) == wanted);
                continue;
            };
            window.iter().for_each(|&(_, position)| table.prefetch_bucket(position));
            if wanted {
                // Most of those that are not there are not even looked at.
                window.retain(|&(_, position)| table.prefetch_member(position));
                window.retain(|&(key, position)| table.get(position, key).is_some());
            } else {
                let mut perhaps = 0u64;
                for (at, &(_, position)) in window.iter().enumerate() {
                    perhaps |= u64::from(table.prefetch_member(position)) << at;
                }
                let mut at = 0;
                window.retain(|&(key, position)| {
                    let asked = perhaps >> at & 1 != 0;
                    at += 1;
                    !asked || table.get(position, key).is_none()
                });
            }
        }
        window.iter().try_for_each(|&(key, _)| emit(Element::Bytes(key)))?;
    }
}

/// Takes the next few members. Says whether there are any.
fn fill<'a>(window: &mut Vec<Probe<'a>>, members: &mut super::SetIter<'a>, hashed: Option<&Members>) -> bool {
    window.clear();
    window.extend(members.take(WINDOW).map(|member| Probe::new(member, hashed)));
    !window.is_empty()
}

fn prefetch(window: &[Probe<'_>], set: SetRef<'_>) {
    if let SetRef::Big(_) = set {
        window.iter().for_each(|probe| set.prefetch_bucket(probe));
        window.iter().for_each(|probe| set.prefetch_member(probe));
    }
}
