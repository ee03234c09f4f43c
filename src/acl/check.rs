//! May a user make this call?
//!
//! Each selector is asked by itself, in the order databases, commands, keys, channels, and the first that allows all of it
//! is enough. If none does, the reason that came furthest in that order is told: who may run the command but not with this
//! key is told about the key.

use super::path::PathName;
use super::selector::{Databases, KeyPattern, Patterns, Selector};
use super::user::User;
use crate::command::args::is;
use crate::command::spec::{Acl, ChannelArgs, DatabaseArgs, Flags, KeyFlags, Spec};
use weir_resp::Argv;
use weir_structs::glob::GlobPattern;

bitflags::bitflags! {
    /// What may be done with keys.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Access: u8 {
        /// Their data may be returned, copied or compared.
        const READ = 1 << 0;
        /// They may be changed, added to or removed.
        const WRITE = 1 << 1;
    }
}

impl Access {
    /// What a command needs that does this with a key. Nothing where it only looks whether and what it is.
    pub fn needed(flags: KeyFlags) -> Access {
        let mut access = Access::empty();
        access.set(Access::READ, flags.contains(KeyFlags::ACCESS));
        access.set(Access::WRITE, flags.intersects(KeyFlags::INSERT | KeyFlags::DELETE | KeyFlags::UPDATE));
        access
    }
}

/// A call that somebody wants to make. Copied, not moved, into each selector.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// The command or subcommand.
    pub spec: &'static Spec,
    /// Its number in the catalog.
    pub id: usize,
    /// Its name and arguments.
    pub argv: Argv<'a>,
    /// The database that it would run on.
    pub db: usize,
    /// How many databases there are.
    pub databases: usize,
}

/// Why a call is refused. Later ones are told rather than earlier ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Reason {
    /// A database is not allowed.
    Database,
    /// The command is not.
    Command,
    /// A key is not, or not for this.
    Key,
    /// Name or password were wrong.
    Auth,
    /// A channel is not.
    Channel,
    /// A certificate names nobody.
    Certificate,
}

impl Reason {
    /// As ACL LOG calls it.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Command => "command",
            Reason::Database => "database",
            Reason::Key => "key",
            Reason::Auth => "auth",
            Reason::Channel => "channel",
            Reason::Certificate => "tls-cert",
        }
    }
}

/// A call was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Denied {
    /// Why.
    pub reason: Reason,
    /// Because of which argument; 0, the name, where it is none in particular.
    pub at: usize,
    /// What the argument means, where it is a part of something.
    pub object: Option<Box<[u8]>>,
}

impl Denied {
    fn new(reason: Reason, at: usize) -> Denied {
        Denied { reason, at, object: None }
    }

    /// What is refused.
    pub fn object<'d>(&'d self, argv: Argv<'d>) -> &'d [u8] {
        self.object.as_deref().unwrap_or_else(|| argv.at(self.at))
    }
}

/// Something that a call uses and patterns for keys are asked about.
pub trait Name: Copy {
    /// Which argument it is, or the most telling one of several.
    fn at(&self) -> usize;

    /// What is done with it.
    fn access(&self) -> Access;

    /// What patterns are compared with; `scratch` is there to put it together.
    fn text<'t>(&'t self, argv: Argv<'t>, scratch: &'t mut Vec<u8>) -> &'t [u8];

    /// Whether a pattern allows it, `text` being its text.
    fn is_meant_by(&self, pattern: &GlobPattern, text: &[u8]) -> bool;

    /// What a refusal names, if it is not the argument.
    fn object(&self) -> Option<Box<[u8]>>;
}

/// A key: its place among the arguments, and what is done with it.
impl Name for (usize, KeyFlags) {
    #[inline]
    fn at(&self) -> usize {
        self.0
    }

    #[inline]
    fn access(&self) -> Access {
        Access::needed(self.1)
    }

    #[inline]
    fn text<'t>(&'t self, argv: Argv<'t>, _: &'t mut Vec<u8>) -> &'t [u8] {
        argv.at(self.0)
    }

    #[inline]
    fn is_meant_by(&self, pattern: &GlobPattern, text: &[u8]) -> bool {
        pattern.matches(text)
    }

    fn object(&self) -> Option<Box<[u8]>> {
        None
    }
}

impl User {
    /// Whether this user may make a call with these keys, or what stands in the place of keys.
    ///
    /// # Errors
    /// The reason that is told; see above.
    #[inline]
    pub fn check<N: Name>(&self, call: Call<'_>, keys: impl Iterator<Item = N> + Clone) -> Result<(), Denied> {
        let mut told: Option<Denied> = None;
        for selector in self.all_selectors() {
            match selector.check(call, keys.clone()) {
                Ok(()) => return Ok(()),
                Err(denied) => {
                    let further = told.as_ref().is_none_or(|told| (denied.reason, denied.at) > (told.reason, told.at));
                    told = if further { Some(denied) } else { told };
                }
            }
        }
        Err(told.unwrap_or(Denied::new(Reason::Command, 0)))
    }

    /// Whether one selector allows the call and, besides, the reading of every key: for calls that read keys whose names
    /// nobody knows beforehand.
    pub fn may_read_every_key(&self, call: Call<'_>, keys: impl Iterator<Item = (usize, KeyFlags)> + Clone) -> bool {
        self.all_selectors().any(|one| one.reads_every_key() && one.check(call, keys.clone()).is_ok())
    }

    /// Whether the keys of a call must be known to check it.
    pub fn asks_for_keys(&self) -> bool {
        self.all_selectors().any(|selector| matches!(selector.keys, Patterns::Some(_)))
    }

    /// Whether something in a store may be used in this way, whatever the command: what is observed may go on being.
    pub fn allows_path(&self, name: &PathName<'_>) -> bool {
        let mut scratch = Vec::new();
        let text = name.virtual_key(&mut scratch);
        self.all_selectors().any(|selector| match &selector.keys {
            Patterns::All => true,
            Patterns::Some(patterns) => {
                patterns.iter().any(|one| one.access.contains(name.access) && name.is_meant_by(&one.pattern.glob, text))
            }
        })
    }

    /// Whether a subscription may go on: to a channel, or with `as_pattern` to all that match.
    pub fn allows_subscription(&self, channel: &[u8], as_pattern: bool) -> bool {
        self.all_selectors().any(|selector| selector.allows_channel(channel, as_pattern))
    }
}

impl Selector {
    #[inline]
    fn check<N: Name>(&self, call: Call<'_>, mut keys: impl Iterator<Item = N>) -> Result<(), Denied> {
        if let Databases::Some(list) = &self.databases {
            check_databases(list, call)?;
        }
        let allowed = self.allows_command(call.id)
            || call.spec.flags.contains(Flags::NO_AUTH)
            || self.allows_first_arg(call.id, call.argv.get(1));
        if !allowed {
            return Err(Denied::new(Reason::Command, 0));
        }
        if let Patterns::Some(patterns) = &self.keys
            && let Some(name) = keys.find(|name| !allows(patterns, name, call.argv))
        {
            return Err(Denied { object: name.object(), ..Denied::new(Reason::Key, name.at()) });
        }
        if let Patterns::Some(_) = &self.channels {
            self.check_channels(call)?;
        }
        Ok(())
    }

    fn check_channels(&self, call: Call<'_>) -> Result<(), Denied> {
        let (mut places, as_pattern) = match call.spec.channels {
            ChannelArgs::None => return Ok(()),
            ChannelArgs::First => (1..2, false),
            ChannelArgs::All => (1..call.argv.len(), false),
            ChannelArgs::AllPatterns => (1..call.argv.len(), true),
            ChannelArgs::Behind(at, word) => {
                let at = usize::from(at);
                let names_one = call.argv.get(at).is_some_and(|arg| is(arg, word)) && at + 1 < call.argv.len();
                (if names_one { at + 1..at + 2 } else { 0..0 }, false)
            }
        };
        match places.find(|&at| !self.allows_channel(call.argv.at(at), as_pattern)) {
            Some(at) => Err(Denied::new(Reason::Channel, at)),
            None => Ok(()),
        }
    }
}

#[inline]
fn allows(patterns: &[KeyPattern], name: &impl Name, argv: Argv<'_>) -> bool {
    let (needed, mut scratch) = (name.access(), Vec::new());
    let text = name.text(argv, &mut scratch);
    patterns.iter().any(|one| one.access.contains(needed) && name.is_meant_by(&one.pattern.glob, text))
}

/// A database that an argument names, and the one that the command works on if it touches data at all. What is no database
/// is left to the command.
fn check_databases(allowed: &[u32], call: Call<'_>) -> Result<(), Denied> {
    let allows = |index: usize| u32::try_from(index).is_ok_and(|index| allowed.binary_search(&index).is_ok());
    let denied = |at: usize| Err(Denied::new(Reason::Database, at));
    let named_and_refused = |at: usize| {
        let index = crate::command::args::int(call.argv.at(at)).ok().and_then(|index| usize::try_from(index).ok());
        index.is_some_and(|index| index < call.databases && !allows(index))
    };
    match call.spec.databases {
        DatabaseArgs::Current => {}
        DatabaseArgs::At(places) => {
            if let Some(at) = places.iter().map(|&at| usize::from(at)).find(|&at| named_and_refused(at)) {
                return denied(at);
            }
            if !call.spec.has_keys() {
                return Ok(());
            }
        }
        DatabaseArgs::Behind(word) => {
            let named = (4..call.argv.len()).filter(|&at| is(call.argv.at(at - 1), word));
            if let Some(at) = named.into_iter().find(|&at| named_and_refused(at)) {
                return denied(at);
            }
        }
        DatabaseArgs::Every => {
            return if (0..call.databases).all(allows) { Ok(()) } else { denied(0) };
        }
    }
    let touches_data = call.spec.has_keys() || call.spec.acl.intersects(Acl::KEYSPACE | Acl::READ | Acl::WRITE);
    if touches_data && !allows(call.db) { denied(0) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::super::catalog::sample;
    use super::*;
    use crate::command::spec::Group;
    use weir_resp::Batch;

    static GET: Spec = Spec::new("get", 2, Flags::READONLY, Acl::READ, Group::String, "1.0.0");
    static PUBLISH: Spec =
        Spec::new("publish", 3, Flags::PUBSUB, Acl::PUBSUB, Group::PubSub, "2.0.0").channels(ChannelArgs::First);
    static PSUBSCRIBE: Spec = Spec::new("psubscribe", -2, Flags::PUBSUB, Acl::PUBSUB, Group::PubSub, "2.0.0")
        .channels(ChannelArgs::AllPatterns);
    static AUTH: Spec = Spec::new("auth", -2, Flags::NO_AUTH, Acl::CONNECTION, Group::Connection, "1.0.0");
    const READ: KeyFlags = KeyFlags::RO.union(KeyFlags::ACCESS);

    fn user(rules: &[&str]) -> User {
        let mut user = User::new(b"joe", sample(), false);
        for rule in rules {
            user.apply(rule.as_bytes(), sample(), false).unwrap();
        }
        user
    }

    fn check(
        rules: &[&str],
        spec: &'static Spec,
        line: &[&[u8]],
        keys: &[(usize, KeyFlags)],
    ) -> Result<(), (Reason, usize)> {
        let mut batch = Batch::new();
        batch.push_command(line.iter().copied()).unwrap();
        let id = sample().find(spec.name.as_bytes()).unwrap_or(usize::MAX);
        let call = Call { spec, id, argv: batch.command(0), db: 0, databases: 16 };
        user(rules).check(call, keys.iter().copied()).map_err(|denied| (denied.reason, denied.at))
    }

    #[test]
    fn a_key_that_is_only_looked_for_needs_any_permission_on_it() {
        for (flags, rules, allowed) in [
            (KeyFlags::RO, "%W~a", true),
            (KeyFlags::RO, "~b", false),
            (READ, "%W~a", false),
            (READ, "%R~a", true),
            (KeyFlags::RW | KeyFlags::INSERT, "%W~a", true),
            (KeyFlags::RM | KeyFlags::DELETE, "%R~a", false),
            (KeyFlags::RW | KeyFlags::ACCESS | KeyFlags::UPDATE, "%R~a", false),
            (KeyFlags::RW | KeyFlags::ACCESS | KeyFlags::UPDATE, "%RW~a", true),
        ] {
            assert_eq!(
                check(&["+get", rules], &GET, &[b"get", b"a"], &[(1, flags)]).is_ok(),
                allowed,
                "{flags:?} {rules}"
            );
        }
    }

    #[test]
    fn kinds_of_access_of_several_patterns_do_not_add_up() {
        let both = KeyFlags::RW | KeyFlags::ACCESS | KeyFlags::UPDATE;
        assert!(check(&["+get", "%R~a*", "%W~*b"], &GET, &[b"get", b"ab"], &[(1, both)]).is_err());
        assert!(check(&["+get", "%R~a", "%W~a"], &GET, &[b"get", b"a"], &[(1, both)]).is_ok());
    }

    #[test]
    fn nobody_knows_a_command_without_a_number_and_everybody_may_log_in() {
        assert_eq!(check(&[], &AUTH, &[b"auth", b"x"], &[]), Ok(()));
        assert_eq!(check(&[], &GET, &[b"get", b"x"], &[]), Err((Reason::Command, 0)));
    }

    #[test]
    fn patterns_to_subscribe_to_must_be_the_very_same() {
        let rules = ["+@pubsub", "&a*", "&b"];
        assert_eq!(check(&rules, &PUBLISH, &[b"publish", b"ab", b"x"], &[]), Ok(()));
        assert_eq!(check(&rules, &PUBLISH, &[b"publish", b"ba", b"x"], &[]), Err((Reason::Channel, 1)));
        assert_eq!(check(&rules, &PSUBSCRIBE, &[b"psubscribe", b"b", b"a*"], &[]), Ok(()));
        assert_eq!(check(&rules, &PSUBSCRIBE, &[b"psubscribe", b"b", b"ab"], &[]), Err((Reason::Channel, 2)));
    }

    #[test]
    fn a_channel_behind_a_word_is_one_only_there() {
        static BIND: Spec = Spec::new("publish", -5, Flags::WRITE, Acl::MQADMIN, Group::Broker, "1.0.0")
            .channels(ChannelArgs::Behind(2, "CHANNEL"));
        let rules = ["+publish", "&a*"];
        assert_eq!(check(&rules, &BIND, &[b"bind", b"x", b"channel", b"ab", b"k"], &[]), Ok(()));
        assert_eq!(check(&rules, &BIND, &[b"bind", b"x", b"Channel", b"b"], &[]), Err((Reason::Channel, 3)));
        assert_eq!(check(&rules, &BIND, &[b"bind", b"x", b"queue", b"b", b"channel", b"c"], &[]), Ok(()));
        assert_eq!(check(&rules, &BIND, &[b"bind", b"x", b"channel"], &[]), Ok(()));
    }

    /// Bounded by the product of the lengths; a matcher that tried every way to share the text among the stars would not
    /// come back.
    #[test]
    fn patterns_full_of_stars_take_bounded_time() {
        let pattern = format!("~{}b", "a*".repeat(2_000));
        let key = "a".repeat(20_000);
        assert!(check(&["+get", &pattern], &GET, &[b"get", key.as_bytes()], &[(1, READ)]).is_err());
    }

    #[test]
    fn any_bytes_are_a_rule_or_are_refused_and_any_key_is_checked() {
        let mut seed = 7u64;
        let mut next = move |bound: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % bound
        };
        for _ in 0..20_000 {
            let mut user = User::new(b"joe", sample(), false);
            let rule: Vec<u8> = (0..next(12)).map(|_| b"+-@~%RW&()|<>#! get*?[]\\db=,0\"'\xff\0"[next(33)]).collect();
            let known = user.apply(&rule, sample(), false).is_ok();
            let line = user.line();
            assert!(known || line == User::new(b"joe", sample(), false).line());
            let key: Vec<u8> = (0..next(6)).map(|_| b"get*[\\"[next(6)]).collect();
            let mut batch = Batch::new();
            batch.push_command([&b"get"[..], &key]).unwrap();
            let call = Call { spec: &GET, id: 0, argv: batch.command(0), db: next(3), databases: 2 };
            let _ = user.check(call, [(1, READ), (9, READ)].into_iter());
        }
    }
}
