//! Ranges as clients give them: by rank, by score, by name.

use crate::command::args;
use crate::command::error::Error;
use std::ops::Range;
use weir_structs::number;
use weir_structs::zset::{LexBound, LexRange, ScoreRange, ZsetRef};

/// What a range is said in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum By {
    Rank,
    Score,
    Lex,
}

/// A range of members.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Bounds<'a> {
    /// From one rank to another, both inside; negative ones count from the end.
    Ranks(i64, i64),
    Scores(ScoreRange),
    Names(LexRange<'a>),
}

impl<'a> Bounds<'a> {
    /// Reads both ends.
    ///
    /// # Errors
    /// One of them is none of this kind.
    pub(super) fn parse(by: By, min: &'a [u8], max: &'a [u8]) -> Result<Bounds<'a>, Error> {
        Ok(match by {
            By::Rank => Bounds::Ranks(args::int(min)?, args::int(max)?),
            By::Score => Bounds::Scores(score_range(min, max)?),
            By::Lex => {
                let bound = |text| lex_bound(text).ok_or(Error::NOT_LEX_RANGE);
                Bounds::Names(LexRange { min: bound(min)?, max: bound(max)? })
            }
        })
    }

    /// Ranks of the members inside, perhaps none. Of a range of ranks that is counted from the end, those from the start.
    pub(super) fn ranks(&self, zset: ZsetRef<'_>, from_end: bool) -> Range<u64> {
        match self {
            Bounds::Ranks(first, last) => {
                let (first, last) = rank_range(*first, *last, zset.len());
                if from_end { zset.len() - last..zset.len() - first } else { first..last }
            }
            Bounds::Scores(range) => zset.score_ranks(range),
            Bounds::Names(range) => zset.lex_ranks(range),
        }
    }

    /// Whether which members are inside depends on how the set is kept: a range of names is defined only where all scores
    /// are equal.
    pub(super) fn depend_on_form(&self, zset: ZsetRef<'_>) -> bool {
        let score = |rank| zset.at(rank, |_, score| score);
        matches!(self, Bounds::Names(_)) && score(0) != zset.len().checked_sub(1).and_then(score)
    }
}

/// Two scores; `(` in front of one means that it is outside.
pub(super) fn score_range(min: &[u8], max: &[u8]) -> Result<ScoreRange, Error> {
    let bound = |text: &[u8]| {
        let (number, exclusive) = match text {
            [b'(', number @ ..] => (number, true),
            number => (number, false),
        };
        number::parse_score_bound(number).map(|score| (score, exclusive)).ok_or(Error::NOT_SCORE_RANGE)
    };
    let ((min, min_exclusive), (max, max_exclusive)) = (bound(min)?, bound(max)?);
    Ok(ScoreRange { min, max, min_exclusive, max_exclusive })
}

fn lex_bound(text: &[u8]) -> Option<LexBound<'_>> {
    match text {
        b"-" => Some(LexBound::Lowest),
        b"+" => Some(LexBound::Highest),
        [b'[', name @ ..] => Some(LexBound::Including(name)),
        [b'(', name @ ..] => Some(LexBound::Excluding(name)),
        _ => None,
    }
}

/// Ranks from `first` to `last` of `len`: where they begin, and where they end, not included. Empty ranges are `0..0`.
fn rank_range(first: i64, last: i64, len: u64) -> (u64, u64) {
    let signed_len = i64::try_from(len).unwrap_or(i64::MAX);
    let place = |rank: i64| if rank < 0 { rank.saturating_add(signed_len) } else { rank };
    let (first, last) = (place(first).max(0), place(last).min(signed_len - 1));
    if first > last {
        return (0, 0);
    }
    (first.unsigned_abs(), last.unsigned_abs() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_cut_to_what_is_there() {
        for (first, last, len, expected) in [
            (0, -1, 5, (0, 5)),
            (-2, -1, 5, (3, 5)),
            (-100, 100, 5, (0, 5)),
            (3, 2, 5, (0, 0)),
            (5, 9, 5, (0, 0)),
            (0, -6, 5, (0, 0)),
            (0, 0, 0, (0, 0)),
            (i64::MIN, i64::MAX, 5, (0, 5)),
            (i64::MAX, i64::MIN, 5, (0, 0)),
        ] {
            assert_eq!(rank_range(first, last, len), expected, "{first} {last} {len}");
        }
    }

    #[test]
    fn names_need_a_mark_and_scores_may_have_one() {
        for text in ["", "a", "+a", "-a", "--", "]a"] {
            assert_eq!(lex_bound(text.as_bytes()), None, "{text}");
        }
        assert_eq!(lex_bound(b"["), Some(LexBound::Including(b"")));
        assert_eq!(lex_bound(b"(("), Some(LexBound::Excluding(b"(")));
        let range = score_range(b"(1", b"+inf").expect("a range");
        assert_eq!((range.min, range.min_exclusive, range.max, range.max_exclusive), (1.0, true, f64::INFINITY, false));
        for text in ["nan", "((1", "1 ", "x"] {
            assert_eq!(score_range(b"0", text.as_bytes()), Err(Error::NOT_SCORE_RANGE), "{text}");
        }
    }
}
