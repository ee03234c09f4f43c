//! Glob patterns as `KEYS`, `SCAN`, `PSUBSCRIBE`, `CONFIG GET` and the ACL understand them.
//!
//! The dialect is Redis's own and differs from a shell's at the edges, which clients have come to rely on:
//!
//! | pattern | meaning |
//! |---|---|
//! | `?` | exactly one byte |
//! | `*` | any bytes, but a text without bytes matches the empty pattern only |
//! | `\x` | the byte `x`; a lone `\` at the end is itself |
//! | `[a-cx]` | one byte of the class; `[c-a]` is `[a-c]`, `[^..]` negates, `!` does not |
//! | `[]` | a class of nothing; `[^]` one of everything: `]` always closes |
//! | `[ab` | a class that is not closed ends with the pattern |
//!
//! Every element but `*` eats exactly one byte. So when a byte does not fit, only the last `*` can help, by eating one
//! byte more: going back further could not reach a text that this misses.
//!
//! ```text
//! pattern  a * b c        text  a x b b c
//!              ^ resume here         ^ with one byte more for the star
//! ```
//!
//! Invariants: no recursion, no allocation while matching, at most pattern x text steps whatever a client sends.

/// Whether `text` as a whole matches `pattern`; `nocase` ignores the case of ASCII letters.
///
/// Costs at most `pattern.len() * text.len()` steps, and about `text.len()` for patterns people write. A byte that is
/// escaped inside a class is compared with its case even under `nocase`, as Redis does.
pub fn glob_match(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut p, mut t) = (0, 0);
    // Where to go on when a byte does not fit: the element after the last star, and the next byte for it to try.
    let mut star: Option<(usize, usize)> = None;
    while let Some(&byte) = text.get(t) {
        let fits = match pattern.get(p) {
            Some(b'*') => {
                p += 1;
                if p == pattern.len() {
                    return true;
                }
                star = Some((p, t));
                continue;
            }
            Some(_) => match element(pattern, p, byte, nocase) {
                (true, next) => {
                    p = next;
                    t += 1;
                    true
                }
                (false, _) => false,
            },
            None => false,
        };
        if !fits {
            let Some((after, from)) = star else { return false };
            p = after;
            t = from + 1;
            star = Some((after, t));
        }
    }
    pattern[p.min(pattern.len())..].iter().all(|&byte| byte == b'*')
}

/// A pattern looked at once, for commands that try it on many keys.
///
/// Differs from [`glob_match`] in one point, as `KEYS` and `SCAN` do: `*` alone takes every text, the empty one too.
#[derive(Debug, Clone)]
pub struct GlobPattern {
    shape: Shape,
    nocase: bool,
}

#[derive(Debug, Clone)]
enum Shape {
    All,
    /// Escapes resolved.
    Literal(Box<[u8]>),
    /// Bytes (escapes resolved, at least one) and then one star or more.
    Prefix(Box<[u8]>),
    General {
        pattern: Box<[u8]>,
        fixed: Box<[u8]>,
    },
}

impl GlobPattern {
    /// Reads the pattern once; allocates a copy of it.
    pub fn new(pattern: &[u8], nocase: bool) -> GlobPattern {
        if pattern == b"*" {
            return GlobPattern { shape: Shape::All, nocase };
        }
        let mut fixed = Vec::with_capacity(pattern.len());
        let mut p = 0;
        while let Some(&byte) = pattern.get(p) {
            match (byte, pattern.get(p + 1)) {
                (b'*' | b'?' | b'[', _) => break,
                (b'\\', Some(&escaped)) => {
                    fixed.push(escaped);
                    p += 2;
                }
                _ => {
                    fixed.push(byte);
                    p += 1;
                }
            }
        }
        let fixed = fixed.into_boxed_slice();
        let rest = &pattern[p.min(pattern.len())..];
        let shape = if rest.is_empty() {
            Shape::Literal(fixed)
        } else if !fixed.is_empty() && rest.iter().all(|&byte| byte == b'*') {
            Shape::Prefix(fixed)
        } else {
            Shape::General { pattern: pattern.into(), fixed }
        };
        GlobPattern { shape, nocase }
    }

    /// Whether `text` as a whole matches. Literals and prefixes cost one comparison.
    pub fn matches(&self, text: &[u8]) -> bool {
        match &self.shape {
            Shape::All => true,
            Shape::Literal(bytes) => self.equal(bytes, text),
            Shape::Prefix(bytes) => text.get(..bytes.len()).is_some_and(|head| self.equal(bytes, head)),
            Shape::General { pattern, fixed } => {
                text.get(..fixed.len()).is_some_and(|head| self.equal(fixed, head))
                    && glob_match(pattern, text, self.nocase)
            }
        }
    }

    /// Whether it ends with a star and matches `beginning`, and so every text that begins with that.
    pub fn matches_all_from(&self, beginning: &[u8]) -> bool {
        let ends_with_star = match &self.shape {
            Shape::All | Shape::Prefix(_) => true,
            Shape::Literal(_) => false,
            Shape::General { pattern, .. } => last_is_star(pattern),
        };
        ends_with_star && self.matches(beginning)
    }

    /// Whether a text that begins with `beginning` may match. A class of nothing behind there is not seen.
    pub fn may_match_from(&self, beginning: &[u8]) -> bool {
        let text = |bytes: &[u8]| {
            let len = bytes.len().min(beginning.len());
            bytes.get(..len).zip(beginning.get(..len)).is_some_and(|(a, b)| self.equal(a, b))
        };
        match &self.shape {
            Shape::All => true,
            Shape::Literal(bytes) => bytes.len() >= beginning.len() && text(bytes),
            Shape::Prefix(bytes) => text(bytes),
            Shape::General { pattern, .. } => {
                let mut p = 0;
                for &byte in beginning {
                    match pattern.get(p) {
                        Some(b'*') => return true,
                        Some(_) => match element(pattern, p, byte, self.nocase) {
                            (true, next) => p = next,
                            (false, _) => return false,
                        },
                        None => return false,
                    }
                }
                true
            }
        }
    }

    /// Whether it is `*`, so that nothing need be compared.
    pub fn is_all(&self) -> bool {
        matches!(self.shape, Shape::All)
    }

    /// The only text that can match, escapes resolved: one look-up instead of a walk. `None` under `nocase`.
    pub fn literal(&self) -> Option<&[u8]> {
        match &self.shape {
            Shape::Literal(bytes) if !self.nocase => Some(bytes),
            _ => None,
        }
    }

    /// Bytes that every matching text starts with (escapes resolved; compare by ASCII case under `nocase`). Empty if
    /// none is known.
    pub fn fixed_prefix(&self) -> &[u8] {
        match &self.shape {
            Shape::All => &[],
            Shape::Literal(bytes) | Shape::Prefix(bytes) => bytes,
            Shape::General { fixed, .. } => fixed,
        }
    }

    fn equal(&self, a: &[u8], b: &[u8]) -> bool {
        if self.nocase { a.eq_ignore_ascii_case(b) } else { a == b }
    }
}

/// The bytes that every text which matches a pattern begins and ends with, for indexes over patterns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GlobEnds {
    /// Bytes before the first element that is no literal, escapes resolved.
    pub prefix: Vec<u8>,
    /// Bytes behind the last such element; empty if there is none.
    pub suffix: Vec<u8>,
    /// There is no such element: nothing but the prefix matches.
    pub is_literal: bool,
    /// There is nothing behind the prefix but one star or more.
    pub is_prefix_and_stars: bool,
}

impl GlobEnds {
    /// Reads a pattern once.
    pub fn of(pattern: &[u8]) -> GlobEnds {
        let mut ends = GlobEnds { prefix: Vec::new(), suffix: Vec::new(), is_literal: true, is_prefix_and_stars: true };
        let mut p = 0;
        while let Some(&byte) = pattern.get(p) {
            let literal = match byte {
                b'*' | b'?' => {
                    p += 1;
                    None
                }
                b'[' => {
                    (_, p) = class(pattern, p + 1, 0, false);
                    None
                }
                b'\\' if p + 1 < pattern.len() => {
                    p += 2;
                    pattern.get(p - 1).copied()
                }
                _ => {
                    p += 1;
                    Some(byte)
                }
            };
            match literal {
                None => {
                    ends.is_literal = false;
                    ends.suffix.clear();
                }
                Some(literal) if ends.is_literal => ends.prefix.push(literal),
                Some(literal) => ends.suffix.push(literal),
            }
            ends.is_prefix_and_stars &= byte == b'*' || ends.is_literal;
        }
        ends.is_prefix_and_stars &= !ends.is_literal;
        ends
    }
}

/// Whether the last element of a pattern is a star: not an escaped one, and none inside a class.
fn last_is_star(pattern: &[u8]) -> bool {
    let (mut p, mut star) = (0, false);
    while let Some(&byte) = pattern.get(p) {
        star = byte == b'*';
        p = if star { p + 1 } else { element(pattern, p, 0, false).1 };
    }
    star
}

/// Compares `byte` with the element that starts at `p`, which is not a star; also says where the next one starts.
fn element(pattern: &[u8], p: usize, byte: u8, nocase: bool) -> (bool, usize) {
    match &pattern[p..] {
        [b'?', ..] => (true, p + 1),
        [b'[', ..] => class(pattern, p + 1, byte, nocase),
        [b'\\', escaped, ..] => (same(*escaped, byte, nocase), p + 2),
        [literal, ..] => (same(*literal, byte, nocase), p + 1),
        [] => (false, p),
    }
}

/// The class whose first byte after `[` is at `p`.
fn class(pattern: &[u8], mut p: usize, byte: u8, nocase: bool) -> (bool, usize) {
    let negated = pattern.get(p) == Some(&b'^');
    if negated {
        p += 1;
    }
    let mut found = false;
    loop {
        match &pattern[p..] {
            [b'\\', escaped, ..] => {
                found |= *escaped == byte;
                p += 2;
            }
            [b']', ..] => {
                p += 1;
                break;
            }
            [first, b'-', last, ..] => {
                // Ordered before the case is dropped: under `nocase`, `[B-a]` is the empty range from `b` to `a`.
                let (low, high) = (*first.min(last), *first.max(last));
                found |= if nocase {
                    (low.to_ascii_lowercase()..=high.to_ascii_lowercase()).contains(&byte.to_ascii_lowercase())
                } else {
                    (low..=high).contains(&byte)
                };
                p += 3;
            }
            [member, ..] => {
                found |= same(*member, byte, nocase);
                p += 1;
            }
            [] => break,
        }
    }
    (found != negated, p)
}

fn same(a: u8, b: u8, nocase: bool) -> bool {
    a == b || (nocase && a.eq_ignore_ascii_case(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, text: &str, expected: bool) {
        assert_eq!(glob_match(pattern.as_bytes(), text.as_bytes(), false), expected, "{pattern:?} on {text:?}");
        let compiled = GlobPattern::new(pattern.as_bytes(), false);
        let everything = pattern == "*";
        assert_eq!(compiled.matches(text.as_bytes()), expected || everything, "compiled {pattern:?} on {text:?}");
    }

    #[test]
    fn a_pattern_that_ends_with_a_star_takes_all_that_begins_as_it_matches() {
        for (pattern, beginning, all, some) in [
            ("*", "", true, true),
            ("*", "x", true, true),
            ("cfg:/app/*", "cfg:/app/", true, true),
            ("cfg:/app/*", "cfg:/app/db", true, true),
            ("cfg:/app/*", "cfg:/app", false, true),
            ("cfg:/app/*", "cfg:/apple", false, false),
            ("cfg:/app/*", "cfg:/", false, true),
            ("cfg:/app/*", "cfg2:/", false, false),
            ("cfg:/app", "cfg:/app", false, true),
            ("cfg:/app", "cfg:/", false, true),
            ("cfg:/app", "cfg:/app/", false, false),
            ("c?g:/*/db*", "cfg:/app/db/", true, true),
            ("c?g:/*/db*", "cfg:/app/", false, true),
            ("c?g:/*/db", "cfg:/app/db", false, true),
            ("c?g:/*/db\\*", "cfg:/app/db", false, true),
            ("c?g:/*/db\\*", "cfg:/app/db*", false, true),
            ("cfg:/[ab]*", "cfg:/a", true, true),
            ("cfg:/[ab*", "cfg:/a", false, true),
            ("cfg:/[ab\\]*", "cfg:/a", false, true),
            ("cfg:/[ab*]", "cfg:/*", false, true),
            ("cfg:/[ab*]", "cfg:/*x", false, false),
            ("cfg:/a\\\\*", "cfg:/a\\", true, true),
            ("cfg:/a\\*", "cfg:/a*", false, true),
            ("?fg:/a**", "cfg:/a", true, true),
        ] {
            let compiled = GlobPattern::new(pattern.as_bytes(), false);
            assert_eq!(compiled.matches_all_from(beginning.as_bytes()), all, "{pattern} {beginning}");
            assert_eq!(compiled.may_match_from(beginning.as_bytes()), some, "{pattern} {beginning}");
        }
    }

    /// What is claimed of all texts holds for those that there are.
    #[test]
    fn claims_about_beginnings_hold_for_every_text() {
        let mut seed = 3u64;
        let mut next = move |bound: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % bound
        };
        for _ in 0..30_000 {
            let pattern: Vec<u8> = (0..next(8)).map(|_| b"ab*?[]^\\-*"[next(10)]).collect();
            let compiled = GlobPattern::new(&pattern, false);
            let mut text: Vec<u8> = (0..1 + next(3)).map(|_| b"ab*]"[next(4)]).collect();
            let (all, some) = (compiled.matches_all_from(&text), compiled.may_match_from(&text));
            for _ in 0..8 {
                let matches = compiled.matches(&text);
                assert!(!all || matches, "{} {}", pattern.escape_ascii(), text.escape_ascii());
                assert!(!matches || some, "{} {}", pattern.escape_ascii(), text.escape_ascii());
                text.push(b"ab*]"[next(4)]);
            }
        }
    }

    /// Each row was answered by `KEYS` of a Redis 8.0.6.
    const ANSWERS: &[(&str, &str, bool)] = &[
        ("[", "[", false),
        ("[", "a", false),
        ("[a", "a", true),
        ("[a", "b", false),
        ("[^", "a", true),
        ("[^", "^", true),
        ("[]", "a", false),
        ("[]", "]", false),
        ("[]a]", "a", false),
        ("[^]", "a", true),
        ("[^]a", "xa", true),
        ("[a-", "a", true),
        ("[a-", "b", false),
        ("[a-", "-", true),
        ("[a-]", "a", true),
        ("[a-]", "-", false),
        ("[a-]", "]", true),
        ("[a-]", "b", false),
        ("[z-a]", "m", true),
        ("[\\]]", "]", true),
        ("[\\a-c]", "b", false),
        ("[\\a-c]", "-", true),
        ("\\", "\\", true),
        ("a\\", "a\\", true),
        ("a\\", "a", false),
        ("\\*", "*", true),
        ("\\a", "a", true),
        ("*\\", "\\", true),
        ("[a-\\c]", "b", false),
        ("[a-\\c]", "\\", true),
        ("[a-\\c]", "c", true),
        ("[^a-c]", "d", true),
        ("[^a-c]", "b", false),
        ("*[", "[", false),
        ("*[", "a[", false),
        ("a*b*", "ab", true),
        ("?", "", false),
        ("**", "", false),
        ("", "", true),
        ("", "a", false),
        ("**a", "a", true),
        ("?*", "a", true),
        ("[!a]", "b", false),
        ("[!a]", "!", true),
        ("[abc", "c", true),
        ("[abc", "d", false),
        ("x[", "x", false),
        ("[\\", "\\", true),
        ("[\\", "a", false),
        ("[^\\", "a", true),
        ("[a\\", "\\", true),
        ("*]", "]", true),
        ("[--a]", "-", true),
        ("[a-c-e]", "d", false),
        ("[a-c-e]", "-", true),
        ("[-a]", "-", true),
        ("[^^]", "^", false),
        ("[^^]", "a", true),
        ("[a^]", "^", true),
        ("[[]", "[", true),
        ("[^a-", "-", false),
        ("*[a", "a", true),
        ("\\[a]", "[a]", true),
        ("[\\]", "\\", false),
        ("[\\]", "]", true),
        ("[c-a", "b", true),
        ("h*llo", "hello", true),
        ("h*llo", "hallway", false),
        ("*ab", "aab", true),
        ("a*a*b", "aaxaab", true),
    ];

    #[test]
    fn answers_are_those_of_redis() {
        for (pattern, text, expected) in ANSWERS {
            check(pattern, text, *expected);
        }
    }

    #[test]
    fn a_star_alone_needs_a_byte_unless_compiled_for_keys() {
        assert!(!glob_match(b"*", b"", false));
        assert!(GlobPattern::new(b"*", false).matches(b""));
        assert!(!GlobPattern::new(b"**", false).matches(b""));
    }

    #[test]
    fn case_is_ignored_as_config_get_does() {
        for (pattern, expected) in [
            ("[Z-a]ppendonly", false),
            ("[z-a]ppendonly", true),
            ("[A-C]PPENDONLY", true),
            ("[_-b]ppendonly", true),
            ("[B-a]ppendonly", false),
            ("[^A]ppendonly", false),
            ("[\\A]ppendonly", false),
            ("[Z-A]ppendonly", true),
            ("[`-B]ppendonly", false),
            ("\\Append*", true),
            ("APPENDONLY", true),
            ("APP*", true),
        ] {
            assert_eq!(glob_match(pattern.as_bytes(), b"appendonly", true), expected, "{pattern}");
            assert_eq!(GlobPattern::new(pattern.as_bytes(), true).matches(b"appendonly"), expected, "{pattern}");
        }
    }

    #[test]
    fn many_stars_cost_no_more_than_pattern_times_text() {
        let pattern = b"*a".repeat(2_000);
        let text = b"a".repeat(4_000);
        assert!(glob_match(&pattern, &text, false));
        let pattern = [pattern, b"*b".to_vec()].concat();
        assert!(!glob_match(&pattern, &text, false));
    }

    #[test]
    fn shapes_are_recognised() {
        assert!(GlobPattern::new(b"*", false).is_all());
        assert_eq!(GlobPattern::new(b"a\\*b", false).literal(), Some(&b"a*b"[..]));
        assert_eq!(GlobPattern::new(b"ab", true).literal(), None);
        assert_eq!(GlobPattern::new(b"user:*", false).fixed_prefix(), b"user:");
        assert_eq!(GlobPattern::new(b"{tag}:?*", false).fixed_prefix(), b"{tag}:");
        assert_eq!(GlobPattern::new(b"*x", false).fixed_prefix(), b"");
        assert!(GlobPattern::new(b"ab**", false).matches(b"ab"));
    }

    /// The slow and obvious meaning, to hold the fast one against.
    fn model(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.first(), text.first()) {
            (None, first) => first.is_none(),
            (Some(b'*'), _) => model(&pattern[1..], text) || (!text.is_empty() && model(pattern, &text[1..])),
            (Some(_), Some(&byte)) => {
                let (fits, next) = element(pattern, 0, byte, false);
                fits && model(&pattern[next..], &text[1..])
            }
            (Some(_), None) => false,
        }
    }

    #[test]
    fn going_back_to_the_last_star_misses_nothing() {
        let mut seed = 7u64;
        let mut next = move |bound: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % bound
        };
        for _ in 0..20_000 {
            let pattern: Vec<u8> = (0..next(9)).map(|_| b"ab*?*[]-^\\"[next(10)]).collect();
            let text: Vec<u8> = (0..1 + next(8)).map(|_| b"ab]-"[next(4)]).collect();
            assert_eq!(glob_match(&pattern, &text, false), model(&pattern, &text), "{pattern:?} {text:?}");
        }
    }

    #[test]
    fn ends_of_a_pattern_are_the_ends_of_what_matches() {
        let ends = |pattern: &str| {
            let GlobEnds { prefix, suffix, is_literal, is_prefix_and_stars } = GlobEnds::of(pattern.as_bytes());
            let text = |bytes| String::from_utf8(bytes).expect("text");
            (text(prefix), text(suffix), is_literal, is_prefix_and_stars)
        };
        let of = |prefix: &str, suffix: &str, literal, stars| (prefix.to_owned(), suffix.to_owned(), literal, stars);
        assert_eq!(ends(""), of("", "", true, false));
        assert_eq!(ends("abc"), of("abc", "", true, false));
        assert_eq!(ends(r"a\*b\"), of(r"a*b\", "", true, false));
        assert_eq!(ends("abc*"), of("abc", "", false, true));
        assert_eq!(ends("abc***"), of("abc", "", false, true));
        assert_eq!(ends("*"), of("", "", false, true));
        assert_eq!(ends("abc*?"), of("abc", "", false, false));
        assert_eq!(ends("abc?"), of("abc", "", false, false));
        assert_eq!(ends("abc*d"), of("abc", "d", false, false));
        assert_eq!(ends("a*b[cd]e"), of("a", "e", false, false));
        assert_eq!(ends("a[^]b]c"), of("a", "b]c", false, false));
        assert_eq!(ends(r"a[\]b]c"), of("a", "c", false, false));
        assert_eq!(ends("a[b"), of("a", "", false, false));
        assert_eq!(ends("*]"), of("", "]", false, false));
    }
}
