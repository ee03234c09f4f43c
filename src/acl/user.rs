//! A user: name, passwords, and the selectors, of which the root one is always there.

use super::catalog::Catalog;
use super::password::Digest;
use super::rules::RuleError;
use super::selector::Selector;
use crate::config::split_arguments;

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

    /// Its name and all its rules on one line, which lead to the same user again.
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
            put(&[b"(", &*selector.all_rules(), b")"].concat());
        }
        line
    }

    /// Bytes of heap behind it, nearly.
    pub fn heap_bytes(&self) -> usize {
        let selectors: usize = self.selectors.iter().map(|one| size_of::<Selector>() + one.heap_bytes()).sum();
        self.name.len() + size_of_val(&*self.passwords) + self.root.heap_bytes() + selectors
    }
}
