//! Ranges of scores and of names.

use std::cmp::Ordering;

/// Scores between two bounds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ScoreRange {
    /// The lowest.
    pub min: f64,
    /// The highest.
    pub max: f64,
    /// Whether the lowest itself is outside.
    pub min_exclusive: bool,
    /// Whether the highest itself is outside.
    pub max_exclusive: bool,
}

impl ScoreRange {
    /// From one score to another, both inside.
    pub fn new(min: f64, max: f64) -> ScoreRange {
        ScoreRange { min, max, min_exclusive: false, max_exclusive: false }
    }

    /// Whether a score stands before all that are inside.
    #[inline]
    pub fn is_before(&self, score: f64) -> bool {
        score < self.min || self.min_exclusive && score == self.min
    }

    /// Whether a score is not behind all that are inside.
    #[inline]
    pub fn is_not_behind(&self, score: f64) -> bool {
        score < self.max || !self.max_exclusive && score == self.max
    }
}

/// One end of a range of names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LexBound<'a> {
    /// Before every name.
    Lowest,
    /// At this name, which is inside.
    Including(&'a [u8]),
    /// At this name, which is outside.
    Excluding(&'a [u8]),
    /// Behind every name.
    Highest,
}

impl LexBound<'_> {
    fn compare(&self, name: &[u8]) -> Ordering {
        match self {
            LexBound::Lowest => Ordering::Greater,
            LexBound::Including(bound) | LexBound::Excluding(bound) => name.cmp(bound),
            LexBound::Highest => Ordering::Less,
        }
    }
}

/// Names between two bounds. Means something only where all scores are equal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LexRange<'a> {
    /// The lower end.
    pub min: LexBound<'a>,
    /// The upper end.
    pub max: LexBound<'a>,
}

impl LexRange<'_> {
    /// Whether a name stands before all that are inside.
    #[inline]
    pub fn is_before(&self, name: &[u8]) -> bool {
        match self.min.compare(name) {
            Ordering::Less => true,
            Ordering::Equal => matches!(self.min, LexBound::Excluding(_)),
            Ordering::Greater => false,
        }
    }

    /// Whether a name is not behind all that are inside.
    #[inline]
    pub fn is_not_behind(&self, name: &[u8]) -> bool {
        match self.max.compare(name) {
            Ordering::Less => true,
            Ordering::Equal => matches!(self.max, LexBound::Including(_)),
            Ordering::Greater => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_scores_are_inside_unless_they_say_otherwise() {
        let closed = ScoreRange::new(1.0, 2.0);
        let open = ScoreRange { min_exclusive: true, max_exclusive: true, ..closed };
        for (score, in_closed, in_open) in
            [(0.9, false, false), (1.0, true, false), (1.5, true, true), (2.0, true, false)]
        {
            let is_in = |range: &ScoreRange| !range.is_before(score) && range.is_not_behind(score);
            assert_eq!((is_in(&closed), is_in(&open)), (in_closed, in_open), "{score}");
        }
    }

    #[test]
    fn bounds_of_names_are_as_they_say() {
        let range = LexRange { min: LexBound::Excluding(b"b"), max: LexBound::Including(b"d") };
        for (name, inside) in [("a", false), ("b", false), ("b\0", true), ("d", true), ("d\0", false), ("", false)] {
            let name = name.as_bytes();
            assert_eq!(!range.is_before(name) && range.is_not_behind(name), inside, "{name:?}");
        }
        let all = LexRange { min: LexBound::Lowest, max: LexBound::Highest };
        assert!(!all.is_before(b"") && all.is_not_behind(&[255; 9]));
        let none = LexRange { min: LexBound::Highest, max: LexBound::Lowest };
        assert!(none.is_before(b"x") && !none.is_not_behind(b""));
    }
}
