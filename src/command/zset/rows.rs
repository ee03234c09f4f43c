//! Members with scores that a command has computed, to be replied or stored.

use super::place;
use crate::command::effects::EventClass;
use crate::command::reply::Reply;
use crate::command::{Cx, Error};
use crate::store::{Key, PackedKind, Removal};
use std::cmp::Ordering;
use weir_structs::zset::ZsetMut;

#[derive(Clone, Copy, Debug)]
struct Row {
    score: f64,
    start: usize,
    len: usize,
}

/// A list of members with scores; the names lie one behind the other, so that a row costs no allocation.
#[derive(Debug, Default)]
pub(in crate::command) struct Rows {
    names: Vec<u8>,
    rows: Vec<Row>,
    longest: usize,
}

impl Rows {
    /// Adds a member.
    pub(in crate::command) fn push(&mut self, member: &[u8], score: f64) {
        self.rows.push(Row { score, start: self.names.len(), len: member.len() });
        self.names.extend_from_slice(member);
        self.longest = self.longest.max(member.len());
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn name(&self, at: usize) -> &[u8] {
        self.rows.get(at).map_or(&[], |row| name_of(&self.names, row))
    }

    pub(super) fn score_mut(&mut self, at: usize) -> Option<&mut f64> {
        self.rows.get_mut(at).map(|row| &mut row.score)
    }

    /// Keeps the rows for which `keep` holds.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(usize) -> bool) {
        let mut at = 0;
        self.rows.retain(|_| {
            at += 1;
            keep(at - 1)
        });
        self.longest = self.rows.iter().map(|row| row.len).max().unwrap_or(0);
    }

    /// Puts them in the order of a sorted set. Quick where they are nearly so.
    pub(in crate::command) fn sort(&mut self) {
        let names = &self.names;
        self.rows.sort_by(|a, b| {
            // No score is NaN.
            let by_score = a.score.partial_cmp(&b.score).unwrap_or(Ordering::Equal);
            by_score.then_with(|| name_of(names, a).cmp(name_of(names, b)))
        });
    }

    /// Replies them.
    pub(super) fn reply(&self, cx: &mut Cx<'_>, with_scores: bool) {
        open(&mut cx.reply, self.len() as u64, with_scores);
        for row in &self.rows {
            pair(&mut cx.reply, name_of(&self.names, row), row.score, with_scores);
        }
    }

    /// Stores them, which are in order, at a key in the place of whatever is there, or removes that if there are none.
    /// Replies how many there are.
    pub(in crate::command) fn store(&self, cx: &mut Cx<'_>, key: Key<'_>, event: &'static str) -> Result<(), Error> {
        if self.rows.is_empty() {
            if cx.db().remove(key) == Removal::Removed {
                cx.effects.changed(1);
                cx.effects.event(EventClass::GENERIC, "del", key.name, cx.db_index);
            }
            cx.reply.int(0);
            return Ok(());
        }
        let limits = place::limits(cx.config);
        cx.overwrites(key, "zset");
        let is_new = cx.db().put_packed(key, PackedKind::Zset, &[]);
        if let Some(mut write) = cx.db().get_mut(key)
            && let Some(mut zset) = ZsetMut::of(&mut write.value_mut(), limits)
        {
            zset.fill(self.rows.iter().map(|row| (name_of(&self.names, row), row.score)), self.longest);
        }
        cx.effects.changed(1);
        if is_new {
            cx.effects.event(EventClass::NEW, "new", key.name, cx.db_index);
        }
        cx.effects.event(EventClass::ZSET, event, key.name, cx.db_index);
        cx.reply.count(self.len());
        Ok(())
    }
}

fn name_of<'n>(names: &'n [u8], row: &Row) -> &'n [u8] {
    names.get(row.start..row.start + row.len).unwrap_or_default()
}

/// Opens a list of members, with scores perhaps: flat in RESP2, of pairs in RESP3.
#[inline]
pub(super) fn open(reply: &mut Reply<'_>, len: u64, with_scores: bool) {
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    reply.array(if with_scores && !reply.is_resp3() { len.saturating_mul(2) } else { len });
}

/// One member of such a list.
#[inline]
pub(super) fn pair(reply: &mut Reply<'_>, member: &[u8], score: f64, with_scores: bool) {
    if with_scores && reply.is_resp3() {
        reply.array(2);
    }
    reply.bulk(member);
    if with_scores {
        reply.double(score);
    }
}
