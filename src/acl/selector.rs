//! Selectors: commands, keys, channels and databases that go together.
//!
//! Which commands are allowed is kept twice: as a bit a command, for checks, and as the rules that led there, because only
//! these can say it again in the words of the one who set it. A rule about a command takes the place of earlier rules about
//! the same command or its subcommands.
//!
//! What must stay true: the bits are what the rules, applied to none or to all commands, lead to.

use super::catalog::Catalog;
use super::check::Access;
use super::rules::{RuleError, has_spaces, is_space};
use weir_structs::glob::GlobPattern;

/// One of a user's sets of permissions.
#[derive(Clone, Debug)]
pub struct Selector {
    /// A bit a command.
    allowed: Box<[u64]>,
    /// Whether the rules begin with all commands instead of none.
    begins_with_all: bool,
    rules: Vec<CommandRule>,
    /// Commands that are allowed with these first arguments only, by number.
    first_args: Vec<(usize, Vec<Box<[u8]>>)>,
    pub(super) keys: Patterns<KeyPattern>,
    pub(super) channels: Patterns<Pattern>,
    pub(super) databases: Databases,
}

/// `+get`, `-@read`, `+select|0`.
#[derive(Clone, PartialEq, Eq, Debug)]
struct CommandRule {
    allow: bool,
    /// Without the sign, in lower case.
    name: Vec<u8>,
}

/// What of keys or channels is allowed.
#[derive(Clone, Debug)]
pub(super) enum Patterns<P> {
    All,
    Some(Vec<P>),
}

/// A pattern beside what it was made from.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    pub(super) text: Box<[u8]>,
    pub(super) glob: GlobPattern,
}

/// A pattern for keys and what may be done with those that match.
#[derive(Clone, Debug)]
pub(super) struct KeyPattern {
    pub(super) pattern: Pattern,
    pub(super) access: Access,
}

/// Databases that are allowed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Databases {
    All,
    /// In order, each once.
    Some(Vec<u32>),
}

impl Pattern {
    fn new(text: &[u8]) -> Pattern {
        Pattern { text: text.into(), glob: GlobPattern::new(text, false) }
    }
}

impl KeyPattern {
    /// Whether it allows everything with every key.
    fn is_all(&self) -> bool {
        *self.pattern.text == *b"*" && self.access == Access::all()
    }
}

impl Selector {
    /// Nothing is allowed, except, where that is the default, all channels.
    pub fn nothing(catalog: &Catalog, all_channels: bool) -> Selector {
        Selector {
            allowed: vec![0; catalog.len().div_ceil(64)].into(),
            begins_with_all: false,
            rules: Vec::new(),
            first_args: Vec::new(),
            keys: Patterns::Some(Vec::new()),
            channels: if all_channels { Patterns::All } else { Patterns::Some(Vec::new()) },
            databases: Databases::All,
        }
    }

    /// Follows one rule.
    ///
    /// # Errors
    /// See [`RuleError`]; the selector is as it was.
    pub fn apply(&mut self, rule: &[u8], catalog: &Catalog) -> Result<(), RuleError> {
        let is = |word: &str| rule.eq_ignore_ascii_case(word.as_bytes());
        if is("allkeys") || is("~*") {
            self.keys = Patterns::All;
        } else if is("resetkeys") {
            self.keys = Patterns::Some(Vec::new());
        } else if is("allchannels") || is("&*") {
            self.channels = Patterns::All;
        } else if is("resetchannels") {
            self.channels = Patterns::Some(Vec::new());
        } else if is("alldbs") {
            self.databases = Databases::All;
        } else if is("resetdbs") {
            self.databases = Databases::Some(Vec::new());
        } else if is("allcommands") || is("+@all") {
            self.set_all(true);
        } else if is("nocommands") || is("-@all") {
            self.set_all(false);
        } else {
            return self.apply_named(rule, catalog);
        }
        Ok(())
    }

    /// A rule that names something.
    fn apply_named(&mut self, rule: &[u8], catalog: &Catalog) -> Result<(), RuleError> {
        const DB: usize = 3;
        match rule {
            [b'~', pattern @ ..] => self.add_keys(pattern, Access::all()),
            [b'%', rest @ ..] => {
                let letters = rest.iter().position(|&byte| byte == b'~').unwrap_or(rest.len());
                let mut access = Access::empty();
                for letter in rest.iter().take(letters) {
                    let kind = match letter.to_ascii_uppercase() {
                        b'R' => Access::READ,
                        b'W' => Access::WRITE,
                        _ => return Err(RuleError::Syntax),
                    };
                    if access.contains(kind) {
                        return Err(RuleError::Syntax);
                    }
                    access |= kind;
                }
                self.add_keys(rest.get(letters + 1..).unwrap_or_default(), access)
            }
            [b'&', pattern @ ..] => self.add_channels(pattern),
            [sign @ (b'+' | b'-'), b'@', name @ ..] => {
                let category = Catalog::category(name).ok_or(RuleError::UnknownName)?;
                let allow = *sign == b'+';
                self.note(allow, &[b"@", name].concat());
                for (id, command) in catalog.iter() {
                    if command.acl.intersects(category) {
                        self.set_command(id, allow, catalog);
                    }
                }
                Ok(())
            }
            [b'+', name @ ..] => self.allow_command(name, catalog),
            [b'-', name @ ..] => {
                let id = catalog.find(name).ok_or(RuleError::UnknownName)?;
                self.set_command(id, false, catalog);
                self.note(false, name);
                Ok(())
            }
            _ if rule.get(..DB).is_some_and(|head| head.eq_ignore_ascii_case(b"db=")) => {
                self.databases = Databases::Some(database_list(rule.get(DB..).unwrap_or_default())?);
                Ok(())
            }
            _ => Err(RuleError::Syntax),
        }
    }

    /// `+command`, `+command|subcommand`, or `+command|argument`.
    fn allow_command(&mut self, name: &[u8], catalog: &Catalog) -> Result<(), RuleError> {
        let Some(bar) = name.iter().rposition(|&byte| byte == b'|') else {
            let id = catalog.find(name).ok_or(RuleError::UnknownName)?;
            self.set_command(id, true, catalog);
            self.note(true, name);
            return Ok(());
        };
        let (container, argument) = (name.get(..bar).unwrap_or_default(), name.get(bar + 1..).unwrap_or_default());
        let id = catalog.find(container).ok_or(RuleError::UnknownName)?;
        let facts = catalog.facts(id).ok_or(RuleError::UnknownName)?;
        if facts.is_sub {
            return Err(RuleError::FirstArgOfSubcommand);
        }
        if argument.is_empty() || has_spaces(argument) {
            return Err(RuleError::Syntax);
        }
        if facts.subs.is_empty() {
            self.allow_first_arg(id, argument);
        } else {
            let sub = catalog.find(name).ok_or(RuleError::UnknownName)?;
            self.set_command(sub, true, catalog);
        }
        self.note(true, name);
        Ok(())
    }

    fn allow_first_arg(&mut self, id: usize, argument: &[u8]) {
        let at = self.first_args.iter().position(|(known, _)| *known == id).unwrap_or_else(|| {
            self.first_args.push((id, Vec::new()));
            self.first_args.len() - 1
        });
        let arguments = &mut self.first_args[at].1;
        if !arguments.iter().any(|known| known.eq_ignore_ascii_case(argument)) {
            arguments.push(argument.into());
        }
    }

    /// Allows or forbids a command with all its subcommands, and forgets which first arguments it was allowed with.
    fn set_command(&mut self, id: usize, allow: bool, catalog: &Catalog) {
        self.set_bit(id, allow);
        self.first_args.retain(|(known, _)| *known != id);
        for &sub in catalog.facts(id).map_or(&[][..], |facts| &facts.subs) {
            self.set_bit(sub, allow);
        }
    }

    fn set_bit(&mut self, id: usize, allow: bool) {
        if let Some(word) = self.allowed.get_mut(id / 64) {
            let bit = 1 << (id % 64);
            *word = if allow { *word | bit } else { *word & !bit };
        }
    }

    fn set_all(&mut self, allow: bool) {
        self.allowed.fill(if allow { u64::MAX } else { 0 });
        self.begins_with_all = allow;
        self.rules.clear();
        self.first_args.clear();
    }

    /// Puts a rule about commands behind the others, and takes away those that it makes meaningless.
    fn note(&mut self, allow: bool, name: &[u8]) {
        let name = name.to_ascii_lowercase();
        self.rules.retain(|rule| {
            let rest = rule.name.strip_prefix(&*name);
            !rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"|"))
        });
        self.rules.push(CommandRule { allow, name });
    }

    fn add_keys(&mut self, text: &[u8], access: Access) -> Result<(), RuleError> {
        let Patterns::Some(patterns) = &mut self.keys else { return Err(RuleError::AfterAllKeys) };
        if access.is_empty() || has_spaces(text) {
            return Err(RuleError::Syntax);
        }
        match patterns.iter_mut().find(|known| *known.pattern.text == *text) {
            Some(known) => known.access |= access,
            None => patterns.push(KeyPattern { pattern: Pattern::new(text), access }),
        }
        Ok(())
    }

    fn add_channels(&mut self, text: &[u8]) -> Result<(), RuleError> {
        let Patterns::Some(patterns) = &mut self.channels else { return Err(RuleError::AfterAllChannels) };
        if has_spaces(text) {
            return Err(RuleError::Syntax);
        }
        if !patterns.iter().any(|known| *known.text == *text) {
            patterns.push(Pattern::new(text));
        }
        Ok(())
    }

    /// Whether the command with this number is allowed, whatever its arguments.
    #[inline]
    pub(super) fn allows_command(&self, id: usize) -> bool {
        self.allowed.get(id / 64).is_some_and(|word| word >> (id % 64) & 1 == 1)
    }

    /// Whether a command is allowed because of its first argument.
    pub(super) fn allows_first_arg(&self, id: usize, argument: Option<&[u8]>) -> bool {
        let known = self.first_args.iter().find(|(known, _)| *known == id);
        known
            .zip(argument)
            .is_some_and(|((_, allowed), argument)| allowed.iter().any(|one| one.eq_ignore_ascii_case(argument)))
    }

    /// Whether everything is allowed.
    pub fn allows_everything(&self, catalog: &Catalog) -> bool {
        let all_keys = match &self.keys {
            Patterns::All => true,
            Patterns::Some(patterns) => patterns.iter().any(|one| one.is_all()),
        };
        all_keys
            && matches!(self.channels, Patterns::All)
            && self.databases == Databases::All
            && (0..catalog.len()).all(|id| self.allows_command(id))
    }

    /// Whether all keys are allowed for reading, so that it does not matter which ones.
    pub(super) fn reads_every_key(&self) -> bool {
        match &self.keys {
            Patterns::All => true,
            Patterns::Some(patterns) => {
                patterns.iter().any(|one| one.access.contains(Access::READ) && *one.pattern.text == *b"*")
            }
        }
    }

    /// Whether a message to this channel may be sent or received; with `as_pattern`, whether all messages that the pattern
    /// `channel` stands for may, for which the very same pattern must be allowed.
    pub(super) fn allows_channel(&self, channel: &[u8], as_pattern: bool) -> bool {
        match &self.channels {
            Patterns::All => true,
            Patterns::Some(patterns) if as_pattern => patterns.iter().any(|one| *one.text == *channel),
            Patterns::Some(patterns) => patterns.iter().any(|one| one.glob.matches(channel)),
        }
    }

    /// The rules about commands, as ACL GETUSER shows them.
    pub fn command_rules(&self) -> Vec<u8> {
        let mut text = if self.begins_with_all { b"+@all".to_vec() } else { b"-@all".to_vec() };
        for rule in &self.rules {
            text.extend_from_slice(if rule.allow { b" +" } else { b" -" });
            text.extend_from_slice(&rule.name);
        }
        text
    }

    /// The rules about keys.
    pub fn key_rules(&self) -> Vec<u8> {
        let Patterns::Some(patterns) = &self.keys else { return b"~*".to_vec() };
        joined(patterns.iter().map(|one| {
            let sigil: &[u8] = match (one.access.contains(Access::READ), one.access.contains(Access::WRITE)) {
                (true, false) => b"%R~",
                (false, true) => b"%W~",
                // `~*` among others could not be read back: it allows no pattern behind it.
                _ if one.is_all() && patterns.len() > 1 => b"%RW~",
                _ => b"~",
            };
            [sigil, &*one.pattern.text].concat()
        }))
    }

    /// The rules about channels.
    pub fn channel_rules(&self) -> Vec<u8> {
        let Patterns::Some(patterns) = &self.channels else { return b"&*".to_vec() };
        joined(patterns.iter().map(|pattern| [b"&", &*pattern.text].concat()))
    }

    /// The rules about databases.
    pub fn database_rules(&self) -> String {
        match &self.databases {
            Databases::All => "alldbs".to_owned(),
            Databases::Some(list) if list.is_empty() => String::new(),
            Databases::Some(list) => {
                format!("db={}", list.iter().map(u32::to_string).collect::<Vec<_>>().join(","))
            }
        }
    }

    /// All rules: they lead a selector in which nothing is allowed to where this one is.
    pub fn all_rules(&self) -> Vec<u8> {
        let mut parts: Vec<Vec<u8>> = vec![self.key_rules()];
        if matches!(self.channels, Patterns::Some(_)) {
            parts.push(b"resetchannels".to_vec());
        }
        parts.push(self.channel_rules());
        match &self.databases {
            Databases::All => {}
            Databases::Some(list) if list.is_empty() => parts.push(b"resetdbs".to_vec()),
            Databases::Some(_) => parts.push(self.database_rules().into_bytes()),
        }
        parts.push(self.command_rules());
        joined(parts.into_iter().filter(|part| !part.is_empty()))
    }

    /// Bytes of heap behind it, nearly.
    pub fn heap_bytes(&self) -> usize {
        let patterns = |len: usize, bytes: usize| len * size_of::<KeyPattern>() + 2 * bytes;
        let keys = match &self.keys {
            Patterns::All => 0,
            Patterns::Some(list) => patterns(list.len(), list.iter().map(|one| one.pattern.text.len()).sum()),
        };
        let channels = match &self.channels {
            Patterns::All => 0,
            Patterns::Some(list) => patterns(list.len(), list.iter().map(|one| one.text.len()).sum()),
        };
        let rules: usize = self.rules.iter().map(|rule| size_of::<CommandRule>() + rule.name.len()).sum();
        size_of_val(&*self.allowed) + keys + channels + rules
    }
}

fn joined(parts: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    parts.collect::<Vec<_>>().join(&b' ')
}

/// The numbers behind `db=`, each as C's `strtoll` reads one.
fn database_list(text: &[u8]) -> Result<Vec<u32>, RuleError> {
    let mut list = Vec::new();
    for number in text.split(|&byte| byte == b',') {
        let spaces = number.iter().take_while(|byte| is_space(**byte)).count();
        let number = number.get(spaces..).unwrap_or_default();
        let (negative, digits) = match number {
            [b'-', digits @ ..] => (true, digits),
            [b'+', digits @ ..] => (false, digits),
            digits => (false, digits),
        };
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return Err(RuleError::Syntax);
        }
        let index =
            digits.iter().fold(0u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
        if negative && index > 0 || index > i32::MAX.unsigned_abs().into() {
            return Err(RuleError::DatabaseOutOfRange);
        }
        list.push(u32::try_from(index).map_err(|_| RuleError::DatabaseOutOfRange)?);
    }
    list.sort_unstable();
    list.dedup();
    Ok(list)
}
