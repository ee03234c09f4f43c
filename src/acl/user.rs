//! A user: name, passwords, and the selectors, of which the root one is always there.

use super::catalog::Catalog;
use super::password::Digest;
use super::rules::RuleError;
use super::selector::Selector;
use crate::config::{quote, split_arguments};

/// Somebody who may log in.
#[derive(Clone, Debug)]
pub struct User {
    name: Box<[u8]>,
    enabled: bool,
    any_password: bool,
    passwords: Vec<Digest>,
    root: Selector,
    selectors: Vec<Selector>,
    /// Whether one of its selectors allows everything; worked out after each change.
    unrestricted: bool,
}

impl User {
    /// A user who cannot log in and may do nothing, except, where that is the default, use all channels.
    pub fn new(name: &[u8], catalog: &Catalog, all_channels: bool) -> User {
        User {
            name: name.into(),
            enabled: false,
            any_password: false,
            passwords: Vec::new(),
            root: Selector::nothing(catalog, all_channels),
            selectors: Vec::new(),
            unrestricted: false,
        }
    }

    /// Follows one rule. `all_channels`: whether new selectors allow all channels.
    ///
    /// # Errors
    /// See [`RuleError`]; the user is as it was.
    pub fn apply(&mut self, rule: &[u8], catalog: &Catalog, all_channels: bool) -> Result<(), RuleError> {
        let is = |word: &str| rule.eq_ignore_ascii_case(word.as_bytes());
        if is("on") || is("off") {
            self.enabled = is("on");
        } else if is("nopass") || is("resetpass") {
            self.any_password = is("nopass");
            self.passwords.clear();
        } else if is("sanitize-payload") || is("skip-sanitize-payload") {
            // Every payload is checked, whoever sends it.
        } else if is("clearselectors") {
            self.selectors.clear();
        } else if is("reset") {
            *self = User::new(&self.name, catalog, all_channels);
        } else {
            match rule {
                [] => {}
                [b'>', password @ ..] => self.add_password(Digest::of(password)),
                [b'#', hex @ ..] => self.add_password(Digest::from_hex(hex).ok_or(RuleError::BadDigest)?),
                [b'<', password @ ..] => self.remove_password(Digest::of(password))?,
                [b'!', hex @ ..] => self.remove_password(Digest::from_hex(hex).ok_or(RuleError::BadDigest)?)?,
                [b'(', inner @ .., b')'] => {
                    let mut selector = Selector::nothing(catalog, all_channels);
                    for rule in split_arguments(inner).ok_or(RuleError::Syntax)? {
                        selector.apply(&rule, catalog)?;
                    }
                    self.selectors.push(selector);
                }
                _ => self.root.apply(rule, catalog)?,
            }
        }
        let unrestricted = self.all_selectors().any(|selector| selector.allows_everything(catalog));
        self.unrestricted = unrestricted;
        Ok(())
    }

    fn add_password(&mut self, digest: Digest) {
        if !self.passwords.contains(&digest) {
            self.passwords.push(digest);
        }
        self.any_password = false;
    }

    fn remove_password(&mut self, digest: Digest) -> Result<(), RuleError> {
        let at = self.passwords.iter().position(|known| *known == digest).ok_or(RuleError::NoSuchPassword)?;
        self.passwords.remove(at);
        Ok(())
    }

    /// Its name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Whether it may log in.
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Whether any password will do.
    pub fn takes_any_password(&self) -> bool {
        self.any_password
    }

    /// Whether it may do everything, so that nothing need be checked.
    #[inline]
    pub fn is_unrestricted(&self) -> bool {
        self.unrestricted
    }

    /// Its passwords' SHA-256 digests, in hexadecimal.
    pub fn password_digests(&self) -> impl ExactSizeIterator<Item = String> {
        self.passwords.iter().map(|digest| digest.to_hex())
    }

    pub(super) fn digests(&self) -> &[Digest] {
        &self.passwords
    }

    /// `on` or `off`, and `nopass`.
    pub fn flags(&self) -> impl Iterator<Item = &'static str> {
        let enabled = if self.enabled { "on" } else { "off" };
        std::iter::once(enabled).chain(self.any_password.then_some("nopass"))
    }

    /// The selector that is always there.
    pub fn root(&self) -> &Selector {
        &self.root
    }

    /// The others.
    pub fn selectors(&self) -> &[Selector] {
        &self.selectors
    }

    #[inline]
    pub(super) fn all_selectors(&self) -> impl Iterator<Item = &Selector> {
        std::iter::once(&self.root).chain(&self.selectors)
    }

    /// Its name and all its rules on one line, cut at single spaces, which lead to the same user again.
    pub fn line(&self) -> Vec<u8> {
        let mut line = self.name.to_vec();
        let mut put = |text: &[u8]| {
            line.push(b' ');
            line.extend_from_slice(text);
        };
        self.flags().for_each(|flag| put(flag.as_bytes()));
        for digest in &self.passwords {
            put(format!("#{}", digest.to_hex()).as_bytes());
        }
        put(&self.root.all_rules());
        for selector in &self.selectors {
            // Words of a selector may be quoted, and must be where they would end it or open a quote themselves.
            put(&[b"(", &*words_quoted(&selector.all_rules(), b"\"'()"), b")"].concat());
        }
        line
    }

    /// The same for a file whose words may be quoted, as the configuration's.
    pub fn quoted_line(&self) -> Vec<u8> {
        words_quoted(&self.line(), b"\"'")
    }

    /// Bytes of heap behind it, nearly.
    pub fn heap_bytes(&self) -> usize {
        let selectors: usize = self.selectors.iter().map(|one| size_of::<Selector>() + one.heap_bytes()).sum();
        self.name.len() + size_of_val(&*self.passwords) + self.root.heap_bytes() + selectors
    }
}

/// Puts those of the words that have one of these bytes in them into quotes.
fn words_quoted(line: &[u8], special: &[u8]) -> Vec<u8> {
    let words = line.split(|&byte| byte == b' ').map(|word| {
        let is_special = word.iter().any(|byte| special.contains(byte));
        if is_special { quote(word).into_bytes() } else { word.to_vec() }
    });
    words.collect::<Vec<_>>().join(&b' ')
}

#[cfg(test)]
mod tests {
    use super::super::catalog::sample;
    use super::super::rules::merge_selectors;
    use super::*;

    fn user(rules: &str) -> User {
        let mut user = User::new(b"joe", sample(), false);
        for rule in merge_selectors(rules.split(' ').map(str::as_bytes)).unwrap() {
            user.apply(&rule, sample(), false).unwrap_or_else(|error| panic!("{rules}: {error}"));
        }
        user
    }

    fn line(rules: &str) -> String {
        String::from_utf8(user(rules).line()).unwrap()
    }

    #[test]
    fn only_a_selector_that_allows_everything_makes_a_user_unrestricted() {
        for (rules, unrestricted) in [
            ("on", false),
            ("allkeys allchannels allcommands", true),
            ("~* &* +@all -get", false),
            ("~* &* +@all -get +get", true),
            ("~* &* +@all db=0", false),
            ("~* +@all", false),
            ("~a %RW~* &* +@all", true),
            ("%R~* &* +@all", false),
            ("(~* &* +@all)", true),
            ("~* &* (+@all)", false),
            ("~* &* +@all reset", false),
            ("(~* &* +@all) clearselectors", false),
        ] {
            assert_eq!(user(rules).is_unrestricted(), unrestricted, "{rules}");
        }
    }

    #[test]
    fn a_category_reaches_subcommands_through_their_container() {
        let allowed = |rules: &str| {
            let user = user(rules);
            let names = sample().iter().filter(|(id, _)| user.root().allows_command(*id)).map(|(_, facts)| facts.name);
            names.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(allowed("+@dangerous"), "config|get config|set");
        assert_eq!(allowed("+@slow"), "set config config|get config|set psubscribe");
        assert_eq!(allowed("+@slow -@dangerous"), "set config psubscribe");
        assert_eq!(allowed("+config -config|set"), "config config|get");
        assert_eq!(allowed("+config|set"), "config|set");
        assert_eq!(allowed("+select|0"), "");
    }

    #[test]
    fn first_arguments_go_with_any_rule_about_their_command() {
        let allows = |rules: &str| user(rules).root().allows_first_arg(5, Some(b"ZERO"));
        assert!(allows("+select|zero") && allows("+select|x +select|zero +get"));
        for rules in ["+select|x", "+select|zero -select", "+select|zero -@fast", "+select|zero -@all", "on"] {
            assert!(!allows(rules), "{rules}");
        }
        assert!(!user("+select|zero").root().allows_first_arg(5, None));
    }

    #[test]
    fn rules_that_are_refused_change_nothing() {
        for rule in [
            "+nosuch",
            "-nosuch",
            "+@nosuch",
            "~a b",
            "%~x",
            "&a b",
            "db=1,x",
            "(+get",
            "(+get +nosuch)",
            "#12",
            "<no",
            "x",
        ] {
            let mut user = user("on >pw ~a &b +get db=1 (+set)");
            let before = user.line();
            assert!(user.apply(rule.as_bytes(), sample(), false).is_err(), "{rule}");
            assert_eq!(user.line(), before, "{rule}");
        }
    }

    /// Whatever rules somebody gives, the line that says them again leads to the same user.
    #[test]
    fn the_line_of_a_user_reads_back_as_the_same_user() {
        const PIECES: &[&str] = &[
            "on",
            "off",
            "nopass",
            "resetpass",
            ">a",
            ">b",
            "<a",
            "~a*",
            "~b",
            "%R~a*",
            "%W~b",
            "%RW~*",
            "allkeys",
            "resetkeys",
            "&x",
            "&y*",
            "allchannels",
            "resetchannels",
            "+get",
            "-get",
            "+set",
            "+config",
            "-config",
            "+config|get",
            "-config|set",
            "+select|0",
            "+select|1",
            "-select",
            "+getset",
            "-getset",
            "+@read",
            "-@read",
            "+@slow",
            "-@slow",
            "+@all",
            "-@all",
            "db=0",
            "db=3,1",
            "alldbs",
            "resetdbs",
            "(+get ~a)",
            "(%R~b +@all -set &z db=2)",
            "clearselectors",
            "reset",
            "~\\*",
            "~[",
            "~a\"b",
            "&'",
            "~c)",
            "(\"~a\\\"b\" '&x)' +get)",
            "(\"~(\")",
            "+select|a\"b",
            "nosuch",
        ];
        let mut seed = 42u64;
        let mut next = move |bound: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % bound
        };
        for _ in 0..3_000 {
            let mut user = User::new(b"joe", sample(), false);
            for _ in 0..next(12) {
                // Some are refused where they stand.
                let _ = user.apply(PIECES[next(PIECES.len())].as_bytes(), sample(), false);
            }
            let said = user.line();
            let rules = merge_selectors(said.split(|&byte| byte == b' ').skip(1)).unwrap();
            let mut again = User::new(b"joe", sample(), false);
            for rule in rules {
                again
                    .apply(&rule, sample(), false)
                    .unwrap_or_else(|error| panic!("{:?}: {error}", said.escape_ascii()));
            }
            assert_eq!(again.line(), said);
            assert_eq!(again.is_unrestricted(), user.is_unrestricted());
            let words = split_arguments(&user.quoted_line()).expect("quotes that end");
            let mut again_quoted = User::new(b"joe", sample(), false);
            for rule in merge_selectors(words.iter().skip(1).map(Vec::as_slice)).unwrap() {
                again_quoted.apply(&rule, sample(), false).unwrap();
            }
            assert_eq!(again_quoted.line(), said);
            for (one, other) in again.all_selectors().zip(user.all_selectors()) {
                for (id, facts) in sample().iter() {
                    assert_eq!(
                        one.allows_command(id),
                        other.allows_command(id),
                        "{} in {}",
                        facts.name,
                        said.escape_ascii()
                    );
                    let first =
                        |selector: &Selector| [&b"0"[..], b"1"].map(|word| selector.allows_first_arg(id, Some(word)));
                    assert_eq!(first(one), first(other));
                }
            }
        }
    }

    #[test]
    fn acl_pubsub_default_is_for_what_is_new() {
        let mut user = User::new(b"joe", sample(), true);
        assert_eq!(user.root().channel_rules(), b"&*");
        user.apply(b"(+get)", sample(), false).unwrap();
        user.apply(b"(+get)", sample(), true).unwrap();
        let rules: Vec<_> = user.selectors().iter().map(Selector::channel_rules).collect();
        assert_eq!(rules, [&b""[..], b"&*"]);
        assert_eq!(line("reset"), "joe off resetchannels -@all");
    }
}
